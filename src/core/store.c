/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The store: opened, closed, steered, asked.
 *
 * Opening goes from the bottom up (memory, arena, tables, contexts, plugins,
 * what the arena holds, worker), closing the other way round; a failed open is
 * a close of what there is so far.
 */
#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "store.h"

#define FLAGS_KNOWN                                                  \
	(TMEM_STORE_NO_LOCK | TMEM_STORE_NO_THREADS | TMEM_STORE_DEDUP | \
	 TMEM_STORE_DEDUP_PERSISTENT | TMEM_STORE_SHARED_OPEN |          \
	 TMEM_STORE_MUST_EXIST)
#define CHUNK_MAX (UINT64_C(256) << 10)

static uint64_t machine_bytes(void)
{
	long pages = sysconf(_SC_PHYS_PAGES);

	return pages < 1 ? 0 :
			   (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static int check_config(const struct tmem_store_config *config,
			const struct tm_memory *memory)
{
	uint64_t most = config->memory_max_bytes > config->memory_bytes ?
				config->memory_max_bytes :
				config->memory_bytes;

	if (config->flags & ~FLAGS_KNOWN) {
		tm_memory_log(memory, TMEM_LOG_ERROR,
			      "store: unknown flags %#" PRIx64,
			      config->flags & ~FLAGS_KNOWN);
		return -EINVAL;
	}
	if (config->memory_bytes < TMEM_MEMORY_MIN || most > TM_MEMORY_MAX) {
		tm_memory_log(memory, TMEM_LOG_ERROR,
			      "store: a memory limit of %" PRIu64 " bytes is "
			      "out of range: %" PRIu64 " KiB to %" PRIu64
			      " GiB",
			      most, TMEM_MEMORY_MIN >> 10, TM_MEMORY_MAX >> 30);
		return -EINVAL;
	}
	if (config->memory_max_bytes &&
	    config->memory_max_bytes < config->memory_bytes) {
		tm_memory_log(memory, TMEM_LOG_ERROR,
			      "store: the largest memory limit is below the "
			      "memory limit");
		return -EINVAL;
	}
	return 0;
}

static int open_arena(struct tm_store *store,
		      const struct tmem_store_config *config)
{
	struct tm_arena_config arena = {
		.memory = &store->memory,
		.path = config->arena,
		.memory_bytes = config->memory_bytes,
		.memory_max_bytes = config->memory_max_bytes,
		.must_exist = config->flags & TMEM_STORE_MUST_EXIST,
		.no_lock = config->flags & TMEM_STORE_NO_LOCK,
	};
	int err;

	if (!arena.memory_max_bytes) {
		arena.memory_max_bytes = machine_bytes();
		if (arena.memory_max_bytes < config->memory_bytes)
			arena.memory_max_bytes = config->memory_bytes;
	}
	err = tm_arena_open(&store->arena, &arena);
	if (err)
		return err;
	store->hash_seed = store->arena.super->hash_seed;
	store->frames = (struct tmem_frames){
		.struct_size = sizeof(store->frames),
		.opaque = &store->arena,
		.base = store->arena.frame_base,
		.frame_count = store->arena.frame_count,
		.get = tm_arena_get_frames,
		.put = tm_arena_put_frames,
		.claim = tm_arena_claim_frames,
	};
	return tm_arena_check_limit(&arena, store->arena.super);
}

/* How much is evicted for a codec's contexts: at first, and at most. */
#define CODEC_WAY_BYTES (UINT64_C(64) << 10)
#define CODEC_WAY_MAX_BYTES (UINT64_C(64) << 20)

/* Memory is taken in steps of about 1/1024 of the limit. */
static uint32_t chunk_bytes(uint64_t memory_bytes)
{
	uint64_t chunk = TMEM_PAGE_SIZE;

	while (chunk < CHUNK_MAX && chunk * 1024 < memory_bytes)
		chunk *= 2;
	return (uint32_t)chunk;
}

static int init_record_table(struct tm_store *store, struct tm_table *table,
			     const struct tm_region *region,
			     struct tm_table_config config)
{
	config.memory = &store->memory;
	config.base = tm_arena_region(&store->arena, region);
	config.capacity = (uint32_t)region->count;
	config.fd = store->arena.fd;
	config.fd_offset = (off_t)region->offset_bytes;
	return tm_table_init(table, &config);
}

static int init_record_tables(struct tm_store *store, uint32_t chunk)
{
	struct tm_superblock *super = store->arena.super;
	int err;

	err = init_record_table(
		store, &store->client_table, &super->clients,
		(struct tm_table_config){
			.element_size = sizeof(struct tm_client_record),
			.link_offset = offsetof(struct tm_client_record,
						reservation_bytes),
			.chunk_bytes = TMEM_PAGE_SIZE,
			.high = &super->clients_high });
	if (!err)
		err = init_record_table(
			store, &store->pool_table, &super->pools,
			(struct tm_table_config){
				.element_size = sizeof(struct tm_pool_record),
				.sidecar_size = sizeof(struct tm_pool *),
				.link_offset = offsetof(struct tm_pool_record,
							uuid),
				.chunk_bytes = TMEM_PAGE_SIZE,
				.high = &super->pools_high });
	if (!err)
		err = init_record_table(
			store, &store->object_table, &super->objects,
			(struct tm_table_config){
				.element_size = sizeof(struct tm_object_record),
				.sidecar_size = sizeof(struct tm_object),
				.link_offset = offsetof(struct tm_object_record,
							oid),
				.chunk_bytes = chunk,
				.high = &super->objects_high });
	if (!err)
		err = init_record_table(
			store, &store->descriptor_table, &super->descriptors,
			(struct tm_table_config){
				.element_size = sizeof(struct tm_descriptor),
				.sidecar_size = store->flags & TMEM_STORE_DEDUP ?
							sizeof(uint32_t) :
							0,
				.link_offset = offsetof(struct tm_descriptor,
							object),
				.chunk_bytes = chunk,
				.high = &super->descriptors_high });
	return err;
}

static int init_index_tables(struct tm_store *store, uint32_t chunk)
{
	uint32_t most = store->descriptor_table.capacity;
	int err;

	err = tm_table_init(&store->slice_table,
			    &(struct tm_table_config){
				    .memory = &store->memory,
				    .element_size = sizeof(struct tm_slice),
				    .capacity = most,
				    .chunk_bytes = chunk });
	if (!err)
		err = tm_table_init(&store->node_table,
				    &(struct tm_table_config){
					    .memory = &store->memory,
					    .element_size =
						    sizeof(struct tm_node),
					    .capacity = most,
					    .chunk_bytes = chunk });
	if (!err)
		err = tm_table_init(&store->content_table,
				    &(struct tm_table_config){
					    .memory = &store->memory,
					    .element_size =
						    sizeof(struct tm_content),
					    .capacity = most,
					    .chunk_bytes = chunk });
	store->slice_leaves = (struct tm_leaves){ store->slice_table.base,
						  sizeof(struct tm_slice) };
	store->object_leaves = (struct tm_leaves){ store->object_table.sidecar,
						   sizeof(struct tm_object) };
	return err;
}

static size_t lru_bytes(const struct tm_store *store)
{
	return (size_t)store->descriptor_table.capacity *
	       sizeof(struct tm_lru_link);
}

/* A bit for each page of the links. */
static size_t lru_touched_bytes(const struct tm_store *store)
{
	return (lru_bytes(store) / TMEM_PAGE_SIZE / 64 + 1) * sizeof(uint64_t);
}

static int init_tables(struct tm_store *store, uint64_t memory_bytes)
{
	uint32_t chunk = chunk_bytes(memory_bytes);
	int err;

	err = init_record_tables(store, chunk);
	if (!err)
		err = init_index_tables(store, chunk);
	if (err)
		return err;
	store->lru = tm_memory_reserve(lru_bytes(store));
	store->lru_touched = tm_memory_reserve(lru_touched_bytes(store));
	return store->lru && store->lru_touched ? 0 : -ENOMEM;
}

static void init_locks(struct tm_store *store)
{
	tm_lock_init(&store->work_lock, TM_RANK_WORK);
	tm_lock_init(&store->control, TM_RANK_CONTROL);
	tm_lock_init(&store->reap_lock, TM_RANK_REAP);
	tm_lock_init(&store->dead_lock, TM_RANK_DEAD);
	for (unsigned i = 0; i < TM_DEDUP_GROUPS; i++)
		tm_lock_init(&store->dedup_groups[i].lock, TM_RANK_DEDUP);
}

static int set_plugins(struct tm_store *store,
		       const struct tmem_store_config *config)
{
	uint64_t limit = store->memory.limit_bytes;
	int err;

	/* An arena may be full of what no eviction gets back: as before it was
	 * closed, but for some bytes. Nobody else is in the store yet. */
	if (store->arena.reopened)
		store->memory.limit_bytes = UINT64_MAX / 2;
	err = tm_store_set_codec(store, config->codec);
	if (!err)
		err = tm_store_set_allocator(store, config->allocator);
	store->memory.limit_bytes = limit;
	return err;
}

/* A file that was made for a store that then could not be opened goes again,
 * while it is locked, so that it is nobody else's. */
static void unmake_arena(struct tm_store *store,
			 const struct tmem_store_config *config)
{
	if (store->arena.fd >= 0 && !store->arena.reopened && config->arena &&
	    strcmp(config->arena, "memfd") &&
	    strncmp(config->arena, "fd:", 3))
		unlink(config->arena);
}

int tm_store_open(const struct tmem_store_config *config,
		  const struct tmem_plugins *plugins, struct tm_store **out)
{
	struct tm_store *store = aligned_alloc(TM_CACHE_LINE, sizeof(*store));
	int err;

	if (!store)
		return -ENOMEM;
	memset(store, 0, sizeof(*store));
	tm_memory_init(&store->memory, config->memory_bytes);
	store->memory.log = config->log;
	store->memory.log_opaque = config->log_opaque;
	store->flags = config->flags;
	store->plugins = plugins;
	store->clock = tm_clock_system();
	store->content_hash = tm_hash_best();
	store->client_high = 1;
	store->arena.fd = -1;
	init_locks(store);
	err = check_config(config, &store->memory);
	if (!err)
		err = open_arena(store, config);
	if (!err)
		err = init_tables(store, config->memory_bytes);
	if (!err)
		err = tm_contexts_init(store);
	if (!err && store->arena.reopened)
		err = tm_recover(store);
	if (!err)
		err = set_plugins(store, config);
	if (!err && !(config->flags & TMEM_STORE_NO_THREADS))
		err = tm_worker_start(store);
	if (err) {
		unmake_arena(store, config);
		tm_store_close(store);
		return err;
	}
	tm_memory_charge_anyway(&store->memory, sizeof(*store));
	*out = store;
	return 0;
}

static void free_clients_and_pools(struct tm_store *store)
{
	for (uint32_t i = 1; i < store->client_high; i++)
		if (store->clients[i])
			tm_client_free(store->clients[i]);
	if (!store->pool_table.base)
		return;
	for (uint32_t i = 1; i < store->pool_table.ready; i++)
		if (tm_pool_at(store, i))
			tm_memory_free(&store->memory, tm_pool_at(store, i),
				       sizeof(struct tm_pool));
}

void tm_store_close(struct tm_store *store)
{
	if (!store)
		return;
	/* In a forked child there is no worker, and no arena. */
	if (!store->alive || tm_is_alive(store)) {
		tm_worker_stop(store);
		tm_contexts_destroy(store);
		tm_slots_close(store);
		free_clients_and_pools(store);
		if (store->lru)
			munmap(store->lru, lru_bytes(store));
		if (store->lru_touched)
			munmap(store->lru_touched, lru_touched_bytes(store));
		tm_table_destroy(&store->content_table);
		tm_table_destroy(&store->node_table);
		tm_table_destroy(&store->slice_table);
		tm_table_destroy(&store->descriptor_table);
		tm_table_destroy(&store->object_table);
		tm_table_destroy(&store->pool_table);
		tm_table_destroy(&store->client_table);
		tm_arena_close(&store->arena);
	} else if (store->arena.fd >= 0) {
		close(store->arena.fd);
	}
	free(store);
}

/* What is used changes all the time: it is read once. */
static void evict_above(struct tm_store *store, uint64_t limit_bytes)
{
	uint64_t used_bytes = store->memory.used_bytes;

	if (used_bytes > limit_bytes)
		tm_store_evict(store, used_bytes - limit_bytes);
}

/* A codec's contexts are memory like any other: what is ephemeral makes way. */
int tm_store_choose_codec(struct tm_store *store, const char *codec,
			  _Atomic uint32_t *choice)
{
	uint64_t bytes = CODEC_WAY_BYTES;
	uint32_t slot;
	int err;

	if (!tm_is_alive(store))
		return -EOWNERDEAD;
	do {
		tm_lock_acquire(&store->control);
		err = tm_codec_slot_open(store, codec, &slot);
		if (!err)
			atomic_store(choice, slot);
		tm_lock_release(&store->control);
		bytes *= 4;
	} while (err == -ENOMEM && bytes <= CODEC_WAY_MAX_BYTES &&
		 tm_store_evict(store, bytes) > 0);
	/* What took another's place is not refused; ephemeral pages make way. */
	if (!err)
		evict_above(store, store->memory.limit_bytes);
	if (err == -ENOMEM)
		tm_memory_log(&store->memory, TMEM_LOG_ERROR,
			      "codec %s: its contexts do not fit the memory "
			      "limit",
			      codec);
	return err;
}

int tm_store_set_codec(struct tm_store *store, const char *codec)
{
	return tm_store_choose_codec(store, codec, &store->codec);
}

int tm_store_set_allocator(struct tm_store *store, const char *allocator)
{
	uint32_t slot;
	int err;

	if (!tm_is_alive(store))
		return -EOWNERDEAD;
	tm_lock_acquire(&store->control);
	err = tm_allocator_slot_open(store, allocator, &slot);
	if (!err) {
		store->overhead_pct =
			tm_allocator_overhead_pct(store, allocator);
		atomic_store(&store->allocator, slot);
	}
	tm_lock_release(&store->control);
	return err;
}

uint64_t tm_store_needed_bytes(const struct tm_store *store)
{
	uint64_t bytes = 0;

	for (uint32_t i = 1; i < store->client_high; i++) {
		const struct tm_client *client = store->clients[i];
		int64_t persistent;

		if (!client)
			continue;
		persistent = client->billed_bytes - client->ephemeral_bytes;
		bytes += persistent > (int64_t)client->reservation_bytes ?
				 (uint64_t)persistent :
				 client->reservation_bytes;
	}
	return bytes;
}

int tm_store_set_memory(struct tm_store *store, uint64_t memory_bytes)
{
	int err = 0;

	if (!tm_is_alive(store))
		return -EOWNERDEAD;
	if (memory_bytes < TMEM_MEMORY_MIN ||
	    memory_bytes > store->arena.super->memory_max_bytes)
		return -EINVAL;
	tm_lock_acquire(&store->control);
	if (memory_bytes < tm_store_needed_bytes(store))
		err = -EBUSY;
	else
		atomic_store(&store->memory.limit_bytes, memory_bytes);
	tm_lock_release(&store->control);
	if (!err)
		evict_above(store, memory_bytes);
	return err;
}

static uint64_t ephemeral_pages(const struct tm_store *store)
{
	uint64_t pages = 0;

	for (uint32_t i = 1; i < store->client_high; i++) {
		const struct tm_client *client = store->clients[i];

		if (client)
			pages += client->lru_pages;
	}
	return pages;
}

static uint64_t less_used(const struct tm_store *store, uint64_t before)
{
	uint64_t now = store->memory.used_bytes;

	return now < before ? before - now : 0;
}

/* Guests may take at once what is given back here. It counts all the same, and
 * what they put meanwhile is not evicted in its turn: so there is an end. */
int64_t tm_store_evict(struct tm_store *store, uint64_t bytes)
{
	uint64_t before = store->memory.used_bytes, given = 0;
	struct tm_context *context = tm_enter(store);
	uint64_t pages, rounds;

	if (!context)
		return -EOWNERDEAD;
	pages = ephemeral_pages(store);
	/* A page goes, or is moved; then frames are given back. */
	rounds = 2 * (uint64_t)tm_table_end(&store->descriptor_table) + 64;
	while (given < bytes && less_used(store, before) < bytes && rounds--) {
		uint64_t frames = tm_arena_trim(&store->arena, 0);
		uint32_t evicted;

		given += frames * TMEM_FRAME_SIZE;
		if (frames)
			continue;
		evicted = pages ? tm_evict_round(context, NULL) : 0;
		pages -= evicted < pages ? evicted : pages;
		if (!evicted && !tm_reap(context, 64) &&
		    !tm_compact(context, 64))
			break;
	}
	tm_leave(context);
	before = less_used(store, before);
	return (int64_t)(given > before ? given : before);
}
