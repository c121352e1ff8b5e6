/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which codecs and allocators the stored pages use, by slot.
 *
 * A page names its codec and allocator by a small number; the superblock says
 * which plugin that is. A slot is written before the first page uses it, and
 * taken anew only at reopening, when no page does. Slot 0 of the codecs is
 * nobody: a page stored as it is.
 *
 * A slot says nothing of a codec's level, which only matters for packing. So
 * at reopening all slots of one codec share one set of contexts, as good as any
 * for reading, until somebody asks for a level: the first one's contexts take
 * the place of that set, which was nobody's; the next ones get a slot each out
 * of those that are still nobody's. So as many sets and slots are in use as
 * before, and not one more for each reopening.
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

/* --- codecs --- */

bool tm_codec_slot_is_first(const struct tm_store *store, uint32_t slot)
{
	for (uint32_t i = 1; i < slot; i++)
		if (store->codecs[i].codec == store->codecs[slot].codec)
			return false;
	return store->codecs[slot].codec;
}

static bool is_named(const struct tm_codec *codec, const char *spec)
{
	size_t length = strlen(codec->table.name);

	return !strncmp(codec->table.name, spec, length) &&
	       (!spec[length] || spec[length] == ':');
}

/* One that pages were found in and that nobody has asked for since, else a free
 * one, else 0. */
static uint32_t choose_slot(const struct tm_store *store, const char *spec)
{
	const struct tm_plugin_record *records = store->arena.super->codecs;
	uint32_t free_slot = 0;

	for (uint32_t i = 1; i < TM_CODECS_MAX; i++) {
		const struct tm_codec_slot *slot = &store->codecs[i];

		if (slot->codec && !slot->is_asked_for &&
		    is_named(slot->codec, spec))
			return i;
		if (!free_slot && !slot->codec &&
		    records[i].state == TM_RECORD_FREE)
			free_slot = i;
	}
	return free_slot;
}

/* @slot alone, and *@old is NULL; or all that have its codec, *@old, which
 * goes, because nobody has asked for any of them. */
static uint32_t slots_to_fill(const struct tm_store *store, uint32_t slot,
			      struct tm_codec **old)
{
	uint32_t slots = 0;

	*old = store->codecs[slot].codec;
	for (uint32_t i = 1; *old && i < TM_CODECS_MAX; i++) {
		if (store->codecs[i].codec != store->codecs[slot].codec)
			continue;
		slots |= UINT32_C(1) << i;
		if (store->codecs[i].is_asked_for)
			*old = NULL;
	}
	return *old ? slots : UINT32_C(1) << slot;
}

static int fill_slots(struct tm_store *store, uint32_t slots,
		      struct tm_codec *codec, const char *spec, bool replaces)
{
	int err = tm_contexts_set_codec(store, slots, codec, replaces);

	for (uint32_t i = 1; !err && i < TM_CODECS_MAX; i++) {
		if (!(slots >> i & 1))
			continue;
		store->codecs[i].codec = codec;
		snprintf(store->codecs[i].spec, sizeof(store->codecs[i].spec),
			 "%s", spec);
	}
	return err;
}

static int make_codec_slot(struct tm_store *store, const char *spec,
			   uint32_t *slot)
{
	uint32_t at = choose_slot(store, spec);
	struct tm_plugin_record *record = &store->arena.super->codecs[at];
	struct tm_codec *codec, *old;
	uint32_t slots = slots_to_fill(store, at, &old);
	int err;

	/* What goes in a moment has paid for what comes, or nearly. */
	err = tm_codec_open(store->plugins, spec, TMEM_PAGE_SIZE,
			    old ? &store->memory.host_anyway :
				  &store->memory.host,
			    &codec);
	if (err)
		return err;
	if (codec->table.flags & TMEM_CODEC_STORES_RAW) {
		tm_codec_close(codec);
		*slot = 0;
		return 0;
	}
	err = at ? fill_slots(store, slots, codec, spec, old) : -ENOSPC;
	if (err) {
		tm_codec_close(codec);
		return err;
	}
	tm_codec_close(old);
	if (record->state == TM_RECORD_FREE)
		write_slot(record, codec->table.name, codec->table.format);
	*slot = at;
	return 0;
}

int tm_codec_slot_open(struct tm_store *store, const char *spec, uint32_t *slot)
{
	uint32_t i = 1;
	int err = 0;

	while (i < TM_CODECS_MAX && (!store->codecs[i].codec ||
				     strcmp(store->codecs[i].spec, spec) != 0))
		i++;
	if (i == TM_CODECS_MAX)
		err = make_codec_slot(store, spec, &i);
	if (err)
		return err;
	store->codecs[i].is_asked_for = true;
	*slot = i;
	return 0;
}

int tm_codec_slot_reopen(struct tm_store *store, uint32_t slot)
{
	const struct tm_plugin_record *record =
		&store->arena.super->codecs[slot];
	char name[TMEM_PLUGIN_NAME_MAX + 1];
	struct tm_codec *codec;
	int err;

	for (uint32_t i = 1; i < slot; i++) {
		codec = store->codecs[i].codec;
		if (!codec || !slot_matches(record, codec->table.name,
					    codec->table.format))
			continue;
		store->codecs[slot] = store->codecs[i];
		tm_contexts_share_codec(store, slot, i);
		return 0;
	}
	snprintf(name, sizeof(name), "%.*s", TMEM_PLUGIN_NAME_MAX,
		 record->name);
	err = tm_codec_open(store->plugins, name, TMEM_PAGE_SIZE,
			    &store->memory.host, &codec);
	if (err)
		return err;
	err = slot_matches(record, codec->table.name, codec->table.format) ?
		      fill_slots(store, UINT32_C(1) << slot, codec, name,
				 false) :
		      -EINVAL;
	if (err)
		tm_codec_close(codec);
	return err;
}

/* --- allocators --- */

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
	/* From the last, since the first of those that share one closes it. */
	for (uint32_t i = TM_CODECS_MAX; i-- > 1;)
		if (tm_codec_slot_is_first(store, i))
			tm_codec_close(store->codecs[i].codec);
}
