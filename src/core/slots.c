/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which codecs and allocators the stored pages use, by slot.
 *
 * A page names its codec and allocator by a small number; the superblock says
 * which plugin that is. A slot is written before the first page uses it, and
 * taken anew only at reopening, when no page does. Slot 0 of the codecs is
 * nobody: a page stored as it is.
 *
 * Locks: store.control, or nobody else is there yet.
 */
#include <config.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "store.h"

static void write_slot(struct tm_plugin_record *record, const char *name,
		       uint32_t format)
{
	memset(record->name, 0, sizeof(record->name));
	memcpy(record->name, name, strnlen(name, TMEM_PLUGIN_NAME_MAX));
	record->format = format;
	atomic_store_explicit(&record->state, TM_RECORD_LIVE,
			      memory_order_release);
}

static bool slot_matches(const struct tm_plugin_record *record,
			 const char *name, uint32_t format)
{
	return record->state == TM_RECORD_LIVE && record->format == format &&
	       !strncmp(record->name, name, sizeof(record->name));
}

static int make_codec_slot(struct tm_store *store, struct tm_codec *codec,
			   const char *spec, uint32_t *slot)
{
	struct tm_plugin_record *records = store->arena.super->codecs;
	uint32_t i;
	int err;

	for (i = 1; i < TM_CODECS_MAX; i++)
		if (!store->codecs[i].codec &&
		    (records[i].state == TM_RECORD_FREE ||
		     slot_matches(&records[i], codec->table.name,
				  codec->table.format)))
			break;
	if (i == TM_CODECS_MAX)
		return -ENOSPC;
	store->codecs[i].codec = codec;
	snprintf(store->codecs[i].spec, sizeof(store->codecs[i].spec), "%s",
		 spec);
	err = tm_contexts_add_codec(store, i);
	if (err) {
		for (uint32_t c = 0; c < store->context_count; c++) {
			tm_codec_context_destroy(store->contexts[c].codec[i]);
			store->contexts[c].codec[i] = NULL;
		}
		store->codecs[i].codec = NULL;
		return err;
	}
	if (records[i].state == TM_RECORD_FREE)
		write_slot(&records[i], codec->table.name, codec->table.format);
	*slot = i;
	return 0;
}

int tm_codec_slot_open(struct tm_store *store, const char *spec, uint32_t *slot)
{
	struct tm_codec *codec;
	int err;

	for (uint32_t i = 1; i < TM_CODECS_MAX; i++) {
		if (store->codecs[i].codec &&
		    !strcmp(store->codecs[i].spec, spec)) {
			*slot = i;
			return 0;
		}
	}
	err = tm_codec_open(store->plugins, spec, TMEM_PAGE_SIZE,
			    &store->memory.host, &codec);
	if (err)
		return err;
	if (codec->table.flags & TMEM_CODEC_STORES_RAW) {
		tm_codec_close(codec);
		*slot = 0;
		return 0;
	}
	err = make_codec_slot(store, codec, spec, slot);
	if (err)
		tm_codec_close(codec);
	return err;
}

int tm_codec_slot_reopen(struct tm_store *store, uint32_t slot)
{
	const struct tm_plugin_record *record =
		&store->arena.super->codecs[slot];
	struct tm_codec *codec;
	char name[TMEM_PLUGIN_NAME_MAX + 1];
	int err;

	snprintf(name, sizeof(name), "%.*s", TMEM_PLUGIN_NAME_MAX,
		 record->name);
	err = tm_codec_open(store->plugins, name, TMEM_PAGE_SIZE,
			    &store->memory.host, &codec);
	if (err)
		return err;
	if (!slot_matches(record, codec->table.name, codec->table.format)) {
		tm_codec_close(codec);
		return -EINVAL;
	}
	store->codecs[slot].codec = codec;
	snprintf(store->codecs[slot].spec, sizeof(store->codecs[slot].spec),
		 "%s", name);
	return tm_contexts_add_codec(store, slot);
}

static int open_allocator(struct tm_store *store, uint32_t slot,
			  const char *name)
{
	struct tm_allocator *allocator;
	int err;

	err = tm_allocator_open(store->plugins, name, &store->memory.host,
				&store->frames, &allocator);
	if (!err)
		atomic_store(&store->allocators[slot], allocator);
	return err;
}

int tm_allocator_slot_open(struct tm_store *store, const char *name,
			   uint32_t *slot)
{
	struct tm_plugin_record *records = store->arena.super->allocators;
	uint32_t free_slot = TM_ALLOCATORS_MAX;
	int err;

	for (uint32_t i = 0; i < TM_ALLOCATORS_MAX; i++) {
		if (store->allocators[i] &&
		    !strncmp(records[i].name, name, sizeof(records[i].name))) {
			*slot = i;
			return 0;
		}
		if (!store->allocators[i] &&
		    records[i].state == TM_RECORD_FREE &&
		    free_slot == TM_ALLOCATORS_MAX)
			free_slot = i;
	}
	if (free_slot == TM_ALLOCATORS_MAX)
		return -ENOSPC;
	err = open_allocator(store, free_slot, name);
	if (err)
		return err;
	write_slot(&records[free_slot], name,
		   store->allocators[free_slot]->table.format);
	*slot = free_slot;
	return 0;
}

int tm_allocator_slot_reopen(struct tm_store *store, uint32_t slot)
{
	const struct tm_plugin_record *record =
		&store->arena.super->allocators[slot];
	char name[TMEM_PLUGIN_NAME_MAX + 1];
	int err;

	snprintf(name, sizeof(name), "%.*s", TMEM_PLUGIN_NAME_MAX,
		 record->name);
	err = open_allocator(store, slot, name);
	if (err)
		return err;
	return slot_matches(record, name,
			    store->allocators[slot]->table.format) ?
		       0 :
		       -EINVAL;
}

void tm_slots_close(struct tm_store *store)
{
	for (uint32_t i = 0; i < TM_ALLOCATORS_MAX; i++)
		tm_allocator_close(store->allocators[i]);
	for (uint32_t i = 0; i < TM_CODECS_MAX; i++)
		tm_codec_close(store->codecs[i].codec);
}
