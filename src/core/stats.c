/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Counting up: from stripes to clients to the store; and checking the sums.
 *
 * Nothing here is kept: every number is summed when it is asked for, so that
 * operations only ever add to counters of their own.
 */
#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "store.h"

static uint64_t sum(const struct tm_client *client, enum tm_count what)
{
	int64_t n = 0;

	for (uint32_t i = 0; i < client->store->context_count; i++)
		n += atomic_load_explicit(&client->stripes[i].count[what],
					  memory_order_relaxed);
	return n < 0 ? 0 : (uint64_t)n;
}

static void add_counts(struct tmem_counts *counts,
		       const struct tm_client *client)
{
	int64_t billed = client->billed_bytes;

	counts->pages += sum(client, TM_COUNT_PAGES);
	counts->same_filled += sum(client, TM_COUNT_SAME);
	counts->raw += sum(client, TM_COUNT_RAW);
	counts->shared_copies += sum(client, TM_COUNT_LINKS);
	counts->compressed_bytes += sum(client, TM_COUNT_BYTES);
	counts->billed_bytes += billed > 0 ? (uint64_t)billed : 0;
	counts->puts += sum(client, TM_COUNT_PUTS);
	counts->refused_memory += sum(client, TM_COUNT_REFUSED_MEMORY);
	counts->refused_cap += sum(client, TM_COUNT_REFUSED_CAP);
	counts->refused_frozen += sum(client, TM_COUNT_REFUSED_FROZEN);
	counts->puts_refused = counts->refused_memory + counts->refused_cap +
			       counts->refused_frozen;
	counts->gets += sum(client, TM_COUNT_GETS);
	counts->gets_missed += sum(client, TM_COUNT_MISSES);
	counts->flushes += sum(client, TM_COUNT_FLUSHES);
	counts->duplicates += sum(client, TM_COUNT_DUPLICATES);
	counts->evicted += sum(client, TM_COUNT_EVICTED);
	counts->corrupt += sum(client, TM_COUNT_CORRUPT);
}

int tm_client_get_counts(struct tm_client *client, struct tmem_counts *counts)
{
	if (!tm_is_alive(client->store))
		return -EOWNERDEAD;
	add_counts(counts, client);
	tm_histogram_summary(&client->put_ns, &counts->put);
	tm_histogram_summary(&client->get_ns, &counts->get);
	return 0;
}

static void store_counts(struct tm_store *store, struct tmem_store_stats *stats)
{
	struct tm_histogram put = { 0 }, get = { 0 };

	for (uint32_t i = 1; i < store->client_high; i++) {
		struct tm_client *client = store->clients[i];

		if (!client)
			continue;
		stats->clients += !client->is_dead;
		add_counts(&stats->counts, client);
		tm_histogram_merge(&put, &client->put_ns);
		tm_histogram_merge(&get, &client->get_ns);
	}
	tm_histogram_summary(&put, &stats->counts.put);
	tm_histogram_summary(&get, &stats->counts.get);
}

void tm_store_name_codec(struct tm_store *store, uint32_t slot,
			 char name[TMEM_PLUGIN_NAME_MAX + 1], int32_t *level)
{
	const struct tm_codec *codec = store->codecs[slot].codec;

	snprintf(name, TMEM_PLUGIN_NAME_MAX + 1, "%s",
		 codec ? codec->table.name : "none");
	*level = codec ? codec->level : 0;
}

void tm_store_name_allocator(struct tm_store *store,
			     char name[TMEM_PLUGIN_NAME_MAX + 1])
{
	snprintf(name, TMEM_PLUGIN_NAME_MAX + 1, "%s",
		 store->allocators[store->allocator]->table.name);
}

static void name_plugins(struct tm_store *store, struct tmem_store_stats *stats)
{
	tm_store_name_codec(store, store->codec, stats->codec, &stats->level);
	tm_store_name_allocator(store, stats->allocator);
	for (uint32_t i = 0; i < TM_CODECS_MAX; i++)
		if (tm_codec_slot_is_first(store, i))
			stats->codec_errors +=
				tm_codec_errors(store->codecs[i].codec);
}

int tm_store_get_stats(struct tm_store *store, struct tmem_store_stats *stats)
{
	if (!tm_is_alive(store))
		return -EOWNERDEAD;
	/* Control keeps clients and plugins where they are. */
	tm_lock_acquire(&store->control);
	store_counts(store, stats);
	name_plugins(store, stats);
	stats->needed_bytes = tm_store_needed_bytes(store);
	for (uint32_t i = 1; i < store->client_high; i++)
		if (store->clients[i])
			stats->freeable_bytes +=
				(uint64_t)store->clients[i]->ephemeral_bytes;
	tm_lock_release(&store->control);
	stats->used_bytes = store->memory.used_bytes;
	/* Beyond a limit that was lowered nothing is granted, so that use only
	 * comes down, and what is in force with it. */
	stats->memory_bytes = store->memory.limit_bytes;
	if (stats->memory_bytes < stats->used_bytes)
		stats->memory_bytes = stats->used_bytes;
	stats->arena_bytes = store->arena.used_frames * TMEM_FRAME_SIZE;
	stats->idle_bytes = store->arena.idle_frames * TMEM_FRAME_SIZE;
	stats->freeable_bytes += stats->idle_bytes;
	stats->memory_max_bytes = store->arena.super->memory_max_bytes;
	stats->metadata_bytes = stats->used_bytes - stats->arena_bytes -
				stats->idle_bytes;
	stats->counts.compressed_bytes += store->content_bytes;
	/* One of the links to each content stands for the copy there is. */
	stats->counts.shared_copies -= store->contents;
	stats->objects = store->objects;
	stats->moves = store->moves;
	stats->recovered_pages = store->recovered_pages;
	stats->codec_input_bytes =
		(stats->counts.pages - stats->counts.same_filled -
		 stats->counts.shared_copies) *
		TMEM_PAGE_SIZE;
	return 0;
}

/* --- the sums -------------------------------------------------------------- */

struct sums {
	struct tm_store *store;
	bool wrong;
	uint64_t pages;		/* live descriptors of live objects */
	uint64_t stored;	/* of these, with bytes of their own */
	uint64_t bytes;
	uint64_t contents;
	uint64_t links;
	uint64_t links_counted;
};

static void expect(struct sums *sums, const char *what, uint64_t have,
		   uint64_t want)
{
	if (have == want)
		return;
	sums->wrong = true;
	tm_memory_log(&sums->store->memory, TMEM_LOG_ERROR,
		      "check: %s: %" PRIu64 " instead of %" PRIu64, what, have,
		      want);
}

static void check_descriptor(struct sums *sums, struct tm_context *context,
			     uint32_t number)
{
	struct tm_store *store = sums->store;
	struct tm_slice *slice;
	struct tm_spot spot;
	uint64_t state;
	uint32_t found = 0;

	if (tm_state_kind(tm_descriptor(store, number)->state) ==
	    TM_KIND_CONTENT) {
		sums->stored++;
		sums->contents++;
		sums->links_counted += tm_descriptor(store, number)->index;
		return;
	}
	if (!tm_spot_lock(context, number, &spot))
		return;
	state = spot.descriptor->state;
	slice = tm_slice_find(context, spot.shard, spot.hash, &spot.oid,
			      spot.descriptor->index >> TM_SLICE_BITS);
	if (slice)
		found = tm_slice_lookup(&context->nodes, slice,
					spot.descriptor->index,
					&store->descriptor_table);
	expect(sums, "index leads elsewhere than its page", found, number);
	expect(sums, "readers of a quiet page", spot.descriptor->pins, 0);
	sums->pages++;
	if (tm_state_kind(state) == TM_KIND_DATA) {
		sums->stored++;
		sums->bytes += tm_state_length(state);
	}
	sums->links += tm_state_kind(state) == TM_KIND_LINK;
	tm_lock_release(&spot.shard->lock);
}

static void check_allocators(struct sums *sums)
{
	struct tm_store *store = sums->store;
	struct tmem_allocator_stats all = { 0 };

	for (uint32_t i = 0; i < TM_ALLOCATORS_MAX; i++) {
		struct tmem_allocator_stats one = { .struct_size =
							    sizeof(one) };

		if (!store->allocators[i])
			continue;
		tm_allocator_stats(store->allocators[i], &one);
		all.objects += one.objects;
		all.frames += one.frames;
	}
	expect(sums, "objects of the allocators", all.objects, sums->stored);
	expect(sums, "frames of the allocators", all.frames,
	       store->arena.used_frames);
}

static void check_clients(struct sums *sums)
{
	struct tm_store *store = sums->store;
	struct tmem_store_stats stats = { 0 };
	int64_t billed = 0, shards = 0;
	uint64_t pages = 0;

	store_counts(store, &stats);
	expect(sums, "pages of the clients", stats.counts.pages, sums->pages);
	expect(sums, "bytes of the clients", stats.counts.compressed_bytes,
	       sums->bytes);
	for (uint32_t i = 1; i < store->client_high; i++)
		if (store->clients[i])
			billed += store->clients[i]->billed_bytes;
	for (uint32_t slot = 1; slot < store->pool_table.ready; slot++) {
		struct tm_pool *pool = tm_pool_at(store, slot);

		for (unsigned i = 0; pool && i < TM_SHARDS; i++) {
			shards += pool->shards[i].billed_bytes;
			pages += pool->shards[i].pages;
		}
	}
	expect(sums, "pages of the pools", pages, sums->pages);
	expect(sums, "bills of the pools", (uint64_t)shards, (uint64_t)billed);
}

static void check_memory(struct sums *sums)
{
	struct tm_store *store = sums->store;
	uint64_t frames = store->arena.used_frames + store->arena.idle_frames;
	uint64_t tables = tm_table_bytes(&store->client_table) +
			  tm_table_bytes(&store->pool_table) +
			  tm_table_bytes(&store->object_table) +
			  tm_table_bytes(&store->descriptor_table) +
			  tm_table_bytes(&store->slice_table) +
			  tm_table_bytes(&store->content_table) +
			  tm_table_bytes(&store->node_table);

	if (frames * TMEM_FRAME_SIZE + tables > store->memory.used_bytes)
		expect(sums, "memory charged for frames and tables",
		       store->memory.used_bytes,
		       frames * TMEM_FRAME_SIZE + tables);
}

/* The store's own thread is kept from its work, and what there is of it is
 * done. */
static void hold_worker(struct tm_store *store) TM_ACQUIRE(store->work_lock)
{
	tm_lock_acquire(&store->work_lock);
	while (tm_store_step(store) || store->has_dead)
		;
}

int tm_store_check(struct tm_store *store)
{
	struct sums sums = { .store = store };
	struct tm_context *context;

	if (!tm_is_alive(store))
		return -EOWNERDEAD;
	hold_worker(store);
	context = tm_enter(store);
	for (uint32_t i = 1; i < store->descriptor_table.bump; i++)
		check_descriptor(&sums, context, i);
	tm_leave(context);
	expect(&sums, "contents", store->contents, sums.contents);
	expect(&sums, "links", sums.links_counted, sums.links);
	check_allocators(&sums);
	check_clients(&sums);
	check_memory(&sums);
	tm_lock_release(&store->work_lock);
	return sums.wrong ? -EBADMSG : 0;
}
