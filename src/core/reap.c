/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The reaper: freeing what one store made garbage.
 *
 * Flushing an object, destroying a pool and ending a client mark one record
 * dead and credit what it was billed; the pages follow here, a bounded number
 * at a time, on the next operations and in the background. Two lists say what
 * is dead: objects, and pools (whose objects are killed one by one).
 *
 * Accounts. A page of a dead object in a private pool was credited when the
 * object was killed, so it is only taken off pool.credited_bytes. Operations
 * that were under way then may have changed the object's bill since; what is
 * left of it when the last page is gone is credited then. Pages of a shared
 * pool are billed to several clients, and credited page by page.
 *
 * A slot (of a pool, a client) is reused only after nobody can be inside the
 * store with a pointer to it any more.
 *
 * Locks: reap_lock is held by whoever reaps; dead_lock guards the lists.
 */
#include <config.h>

#include "store.h"

#define BATCH 32
/* Pages freed by whoever ends a pool or a client. */
#define ALONG_BATCH 64

struct batch {
	uint32_t count;
	uint32_t number[BATCH];
	uint64_t state[BATCH];
};

void tm_reap_object(struct tm_store *store, uint32_t number)
{
	tm_lock_acquire(&store->dead_lock);
	tm_object(store, number)->reap_next = store->dead_objects;
	store->dead_objects = number;
	tm_lock_release(&store->dead_lock);
	atomic_store(&store->has_dead, true);
	tm_worker_wake(store);
}

void tm_reap_pool(struct tm_store *store, struct tm_pool *pool)
{
	tm_lock_acquire(&store->dead_lock);
	pool->reap_next = store->dead_pools;
	store->dead_pools = pool;
	tm_lock_release(&store->dead_lock);
	atomic_store(&store->has_dead, true);
	tm_worker_wake(store);
}

static uint32_t pop_object(struct tm_store *store)
{
	uint32_t number;

	tm_lock_acquire(&store->dead_lock);
	number = store->dead_objects;
	if (number)
		store->dead_objects = tm_object(store, number)->reap_next;
	tm_lock_release(&store->dead_lock);
	return number;
}

/* Unlinks up to @max pages of @slice. */
static void empty_slice(struct tm_context *context, struct tm_pool *pool,
			struct tm_shard *shard, struct tm_slice *slice,
			uint32_t max, struct batch *batch)
	TM_REQUIRES(shard->lock)
{
	struct tm_store *store = context->store;

	while (batch->count < max && !tm_slice_is_empty(slice)) {
		uint32_t index;
		uint32_t number = tm_slice_any(&context->nodes, slice, &index,
					       &store->descriptor_table);

		tm_slice_remove(&context->nodes, slice, index);
		tm_page_restate(store, number, slice->object, index);
		if (pool->flags & TMEM_POOL_SHARED)
			tm_page_unaccount(context, pool, shard, number);
		else
			tm_page_forget(context, pool, shard, number);
		batch->number[batch->count] = number;
		batch->state[batch->count++] = tm_page_mark_free(context, number);
	}
}

static void settle(struct tm_pool *pool, struct tm_object *object)
{
	int64_t rest = atomic_exchange(&object->billed_bytes, 0);

	if ((pool->flags & TMEM_POOL_SHARED) || pool->is_dead)
		return;
	atomic_fetch_add(&pool->credited_bytes, rest);
	atomic_fetch_sub(&pool->owner->billed_bytes, rest);
}

/* Frees up to @max pages of a dead object; true when none is left, and the
 * object's number has been given back. */
static bool reap_object(struct tm_context *context, uint32_t number,
			uint32_t max, uint32_t *freed)
{
	struct tm_store *store = context->store;
	struct tm_object *object = tm_object(store, number);
	struct tm_object_record *record = tm_object_record(store, number);
	struct tm_pool *pool = tm_pool_at(store, object->pool);
	struct tm_shard *home = tm_shard_of(pool, object->leaf.hash);

	while (*freed < max) {
		struct batch batch = { 0 };
		uint32_t most = max - *freed < BATCH ? max - *freed : BATCH;
		struct tm_slice *slice;
		struct tm_shard *shard;

		tm_lock_acquire(&home->table_lock);
		if (!object->slices) {
			tm_lock_release(&home->table_lock);
			settle(pool, object);
			atomic_store_explicit(&record->state, TM_RECORD_FREE,
					      memory_order_release);
			tm_magazine_push(&context->objects, number);
			atomic_fetch_sub(&pool->dying_objects, 1);
			return true;
		}
		slice = tm_slice(store, object->slices);
		shard = tm_shard_of(pool, slice->leaf.hash);
		tm_lock_acquire(&shard->lock);
		empty_slice(context, pool, shard, slice, most, &batch);
		if (tm_slice_is_empty(slice))
			tm_slice_unmake(context, shard, slice);
		tm_lock_release(&shard->lock);
		tm_lock_release(&home->table_lock);
		for (uint32_t i = 0; i < batch.count; i++)
			tm_page_release(context, batch.number[i],
					batch.state[i]);
		*freed += batch.count + 1;
	}
	return false;
}

/* Kills some object of some dead pool; false when there is none left. */
static bool kill_next(struct tm_context *context)
{
	struct tm_store *store = context->store;
	struct tm_pool *pool;

	tm_lock_acquire(&store->dead_lock);
	pool = store->dead_pools;
	tm_lock_release(&store->dead_lock);
	for (; pool; pool = pool->reap_next) {
		for (unsigned i = 0; i < TM_SHARDS; i++) {
			struct tm_shard *home = &pool->shards[i];
			uint32_t number;

			tm_lock_acquire(&home->table_lock);
			number = tm_trie_any(&context->nodes, home->objects);
			if (number)
				tm_object_kill(context, pool, home, number);
			tm_lock_release(&home->table_lock);
			if (number)
				return true;
		}
	}
	return false;
}

/* Pages of shared pools that a client who has ended was billed for. */
static bool drop_orphans(struct tm_context *context, uint32_t max)
{
	struct tm_store *store = context->store;
	uint32_t dropped = 0;

	for (uint32_t i = 1; store->dead_clients && i < store->client_high;
	     i++) {
		struct tm_client *client = store->clients[i];

		if (!client || !client->is_dead)
			continue;
		while (dropped < max && tm_evict_own(context, client))
			dropped++;
	}
	return dropped > 0;
}

bool tm_reap(struct tm_context *context, uint32_t max)
{
	struct tm_store *store = context->store;
	uint32_t freed = 0;
	bool did = false;

	tm_lock_acquire(&store->reap_lock);
	/* In this order: whoever sees no flag sees that it is seen to. */
	atomic_store(&store->is_reaping, true);
	atomic_store(&store->has_dead, false);
	while (freed < max) {
		uint32_t number = pop_object(store);

		if (!number) {
			if (kill_next(context))
				continue;
			break;
		}
		did = true;
		if (!reap_object(context, number, max, &freed))
			tm_reap_object(store, number);
	}
	if (drop_orphans(context, max))
		did = true;
	if (freed >= max)
		atomic_store(&store->has_dead, true);
	if (did)
		atomic_fetch_add(&store->reaps, 1);
	atomic_store(&store->is_reaping, false);
	tm_lock_release(&store->reap_lock);
	return did;
}

static bool pool_is_reaped(struct tm_pool *pool)
{
	bool is_empty = !pool->dying_objects;

	for (unsigned i = 0; is_empty && i < TM_SHARDS; i++) {
		tm_lock_acquire(&pool->shards[i].table_lock);
		is_empty = !pool->shards[i].objects;
		tm_lock_release(&pool->shards[i].table_lock);
	}
	return is_empty;
}

static struct tm_pool *take_reaped_pool(struct tm_store *store)
{
	struct tm_pool *pool, **link;

	tm_lock_acquire(&store->reap_lock);
	tm_lock_acquire(&store->dead_lock);
	pool = store->dead_pools;
	tm_lock_release(&store->dead_lock);
	while (pool && !pool_is_reaped(pool))
		pool = pool->reap_next;
	if (pool) {
		tm_lock_acquire(&store->dead_lock);
		for (link = &store->dead_pools; *link != pool;
		     link = &(*link)->reap_next)
			;
		*link = pool->reap_next;
		tm_lock_release(&store->dead_lock);
	}
	tm_lock_release(&store->reap_lock);
	return pool;
}

static bool owns_pools(struct tm_store *store, const struct tm_client *client)
{
	bool found = false;

	tm_lock_acquire(&store->dead_lock);
	for (struct tm_pool *pool = store->dead_pools; pool && !found;
	     pool = pool->reap_next)
		found = pool->owner == client;
	tm_lock_release(&store->dead_lock);
	return found;
}

static bool reap_client_slot(struct tm_store *store, uint32_t slot)
	TM_REQUIRES(store->control)
{
	struct tm_client *client = store->clients[slot];

	if (!client || !client->is_dead || client->lru_pages ||
	    owns_pools(store, client))
		return false;
	atomic_store(&store->clients[slot], NULL);
	tm_quiesce(store);
	atomic_store_explicit(&client->record->state, TM_RECORD_FREE,
			      memory_order_release);
	tm_client_free(client);
	tm_table_give(&store->client_table, &slot, 1);
	atomic_fetch_sub(&store->dead_clients, 1);
	return true;
}

bool tm_reap_slots(struct tm_store *store)
{
	struct tm_pool *pool;
	bool did = false;

	while ((pool = take_reaped_pool(store))) {
		struct tm_pool_record *record =
			tm_table_at(&store->pool_table, pool->slot);

		tm_quiesce(store);
		atomic_store_explicit(&record->state, TM_RECORD_FREE,
				      memory_order_release);
		tm_table_give(&store->pool_table, &pool->slot, 1);
		did = true;
	}
	if (store->dead_clients) {
		tm_lock_acquire(&store->control);
		for (uint32_t i = 1; i < store->client_high; i++)
			did |= reap_client_slot(store, i);
		tm_lock_release(&store->control);
	}
	return did;
}

void tm_reap_along(struct tm_store *store)
{
	struct tm_context *context = tm_enter(store);

	if (!context)
		return;
	tm_reap(context, ALONG_BATCH);
	tm_leave(context);
	tm_reap_slots(store);
}
