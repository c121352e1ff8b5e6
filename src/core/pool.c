/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Pools: made, joined, ended.
 *
 * A pool's structure is kept with its slot for good, so that a stale pointer
 * to it may be looked at; it is used anew only after the reaper has emptied it
 * and everyone who could have seen it has left the store.
 *
 * Ending a pool is one store to its record; then each lock is taken once, so
 * that whoever publishes afterwards sees that the pool is dead, and the bills
 * of its pages can be summed and credited.
 *
 * Locks: all under store.control.
 */
#include <config.h>

#include <errno.h>
#include <string.h>

#include "store.h"

struct tm_pool *tm_pool_make(struct tm_store *store, uint32_t slot)
{
	struct tm_pool **at = tm_table_beside(&store->pool_table, slot);
	struct tm_pool *pool = *at;

	if (!pool) {
		pool = tm_memory_alloc(&store->memory, sizeof(*pool),
				       TM_CACHE_LINE);
		if (!pool)
			return NULL;
		for (unsigned i = 0; i < TM_SHARDS; i++) {
			tm_lock_init(&pool->shards[i].lock, TM_RANK_SHARD);
			tm_lock_init(&pool->shards[i].table_lock,
				     TM_RANK_POOL);
		}
		__atomic_store_n(at, pool, __ATOMIC_RELEASE);
	}
	pool->store = store;
	pool->slot = slot;
	pool->owner = NULL;
	pool->members = 0;
	pool->dying_objects = 0;
	pool->credited_bytes = 0;
	for (unsigned i = 0; i < TM_SHARDS; i++) {
		pool->shards[i].billed_bytes = 0;
		pool->shards[i].is_settled = false;
	}
	return pool;
}

static bool uuid_is_allowed(const struct tmem_uuid *uuid)
{
	return uuid && (uuid->word[0] || uuid->word[1]) &&
	       (uuid->word[0] != UINT64_MAX || uuid->word[1] != UINT64_MAX);
}

static bool uuid_equals(const struct tmem_uuid *a, const struct tmem_uuid *b)
{
	return a->word[0] == b->word[0] && a->word[1] == b->word[1];
}

static bool is_authorised(const struct tm_client *client,
			  const struct tmem_uuid *uuid)
{
	if (client->store->flags & TMEM_STORE_SHARED_OPEN)
		return true;
	for (uint32_t i = 0; i < client->auth_count; i++)
		if (uuid_equals(&client->auth[i], uuid))
			return true;
	return false;
}

int tm_client_set_shared_auth(struct tm_client *client,
			      const struct tmem_uuid *uuid, bool allowed)
{
	uint32_t i = 0;
	int err = 0;

	if (!uuid_is_allowed(uuid))
		return -EINVAL;
	if (!tm_is_alive(client->store))
		return -EOWNERDEAD;
	tm_lock_acquire(&client->store->control);
	while (i < client->auth_count && !uuid_equals(&client->auth[i], uuid))
		i++;
	if (!allowed && i < client->auth_count)
		client->auth[i] = client->auth[--client->auth_count];
	else if (allowed && i == TM_AUTH_MAX)
		err = -ENOSPC;
	else if (allowed && i == client->auth_count)
		client->auth[client->auth_count++] = *uuid;
	tm_lock_release(&client->store->control);
	return err;
}

static struct tm_pool *find_shared(struct tm_store *store,
				   const struct tmem_uuid *uuid)
{
	for (uint32_t i = 1; i < store->client_high; i++) {
		struct tm_client *client = store->clients[i];

		for (int id = 0; client && id < TMEM_POOLS_MAX; id++) {
			struct tm_pool *pool = client->pools[id];

			if (pool && (pool->flags & TMEM_POOL_SHARED) &&
			    uuid_equals(&pool->uuid, uuid))
				return pool;
		}
	}
	return NULL;
}

static int lowest_free_id(const struct tm_client *client)
{
	for (int id = 0; id < TMEM_POOLS_MAX; id++)
		if (!client->pools[id])
			return id;
	return -ENOSPC;
}

static bool is_member(const struct tm_client *client,
		      const struct tm_pool *pool)
{
	for (int id = 0; id < TMEM_POOLS_MAX; id++)
		if (client->pools[id] == pool)
			return true;
	return false;
}

static struct tm_pool *make_pool(struct tm_client *client, int id,
				 uint32_t flags, const struct tmem_uuid *uuid)
{
	struct tm_store *store = client->store;
	struct tm_pool_record *record;
	struct tm_pool *pool;
	uint32_t slot;

	if (!tm_table_take(&store->pool_table, &slot, 1))
		return NULL;
	pool = tm_pool_make(store, slot);
	if (!pool) {
		tm_table_give(&store->pool_table, &slot, 1);
		return NULL;
	}
	pool->flags = flags;
	pool->uuid = uuid ? *uuid : (struct tmem_uuid){ { 0, 0 } };
	if (!(flags & TMEM_POOL_SHARED))
		pool->owner = client;
	record = tm_table_at(&store->pool_table, slot);
	record->flags = flags;
	record->client = client->slot;
	record->id = (uint32_t)id;
	memcpy(record->uuid, &pool->uuid, sizeof(record->uuid));
	atomic_store_explicit(&record->state,
			      tm_pool_word(store, record, slot,
					   TM_RECORD_LIVE),
			      memory_order_release);
	atomic_store(&pool->is_dead, false);
	return pool;
}

/* The number that the caller gave this change, once; 0: none. */
static uint64_t take_call(struct tm_client *client)
{
	uint64_t call = client->call;

	client->call = 0;
	return call;
}

/* A call that says it is the last one again gets the last one's pool. */
static bool is_repeated(const struct tm_client *client, uint64_t call, int *id)
{
	uint64_t last = client->record->call;

	if (!call || tm_call_number(last) != call)
		return false;
	*id = tm_call_pool(last);
	return true;
}

static void record_call(struct tm_client *client, uint64_t call, int id)
{
	if (call)
		atomic_store_explicit(&client->record->call,
				      tm_call_make(call, id),
				      memory_order_release);
}

static int create(struct tm_client *client, int id, uint32_t flags,
		  const struct tmem_uuid *uuid)
{
	uint64_t call = take_call(client);
	struct tm_pool *pool = NULL;

	/* It was made; or the number was written, but the pool was not. */
	if (is_repeated(client, call, &id) && client->pools[id])
		return id;
	if (flags & TMEM_POOL_SHARED) {
		if (!is_authorised(client, uuid))
			return -EACCES;
		pool = find_shared(client->store, uuid);
		if (pool && is_member(client, pool))
			return -EEXIST;
	}
	if (id == TM_POOL_ANY)
		id = lowest_free_id(client);
	else if (client->pools[id])
		return -EEXIST;
	if (id < 0)
		return id;
	record_call(client, call, id);
	if (!pool)
		pool = make_pool(client, id, flags, uuid);
	if (!pool) {
		client->call = call;
		return -ENOMEM;
	}
	pool->members++;
	atomic_store(&client->pools[id], pool);
	return id;
}

int tm_pool_create(struct tm_client *client, int id, uint32_t flags,
		   const struct tmem_uuid *uuid)
{
	int attempts = TM_WAY_ATTEMPTS;
	int result;

	if (flags & ~(TMEM_POOL_PERSISTENT | TMEM_POOL_SHARED))
		return -EINVAL;
	if ((flags & TMEM_POOL_PERSISTENT) && (flags & TMEM_POOL_SHARED))
		return -EPERM;
	if ((flags & TMEM_POOL_SHARED) ? !uuid_is_allowed(uuid) : !!uuid)
		return -EINVAL;
	if (!tm_is_alive(client->store))
		return -EOWNERDEAD;
	do {
		tm_lock_acquire(&client->store->control);
		result = create(client, id, flags, uuid);
		tm_lock_release(&client->store->control);
	} while (result == -ENOMEM && attempts-- && tm_make_way(client->store));
	return result;
}

/* Everyone who published before the pool died is done; sums the bills. */
static int64_t settle_shards(struct tm_pool *pool)
{
	int64_t bytes = 0;

	for (unsigned i = 0; i < TM_SHARDS; i++) {
		struct tm_shard *shard = &pool->shards[i];

		tm_lock_acquire(&shard->table_lock);
		tm_lock_acquire(&shard->lock);
		bytes += shard->billed_bytes;
		atomic_store(&shard->is_settled, true);
		tm_lock_release(&shard->lock);
		tm_lock_release(&shard->table_lock);
	}
	return bytes - pool->credited_bytes;
}

static void end_pool(struct tm_client *client, struct tm_pool *pool)
{
	struct tm_store *store = client->store;
	struct tm_pool_record *record =
		tm_table_at(&store->pool_table, pool->slot);
	int64_t bytes;

	atomic_store_explicit(&record->state,
			      tm_record_word_dead(record->state),
			      memory_order_release);
	tm_lock_acquire(&store->reap_lock);
	atomic_store(&pool->is_dead, true);
	bytes = settle_shards(pool);
	if (pool->owner)
		atomic_fetch_sub(&pool->owner->billed_bytes, bytes);
	tm_lock_release(&store->reap_lock);
	tm_reap_pool(store, pool);
}

int tm_pool_leave(struct tm_client *client, int id)
{
	struct tm_pool *pool = client->pools[id];

	if (!pool)
		return -ENOENT;
	atomic_store(&client->pools[id], NULL);
	if (--pool->members == 0)
		end_pool(client, pool);
	return 0;
}

int tm_pool_destroy(struct tm_client *client, int id)
{
	uint64_t call;
	int err;

	if (id < 0 || id >= TMEM_POOLS_MAX)
		return -ENOENT;
	if (!tm_is_alive(client->store))
		return -EOWNERDEAD;
	tm_lock_acquire(&client->store->control);
	call = take_call(client);
	if (is_repeated(client, call, &id) && !client->pools[id]) {
		err = 0;
	} else {
		record_call(client, call, id);
		err = tm_pool_leave(client, id);
	}
	tm_lock_release(&client->store->control);
	if (!err)
		tm_reap_along(client->store);
	return err;
}

int tm_pool_get_info(struct tm_client *client, int id,
		     struct tmem_pool_info *info)
{
	struct tm_pool *pool;

	if (id < 0 || id >= TMEM_POOLS_MAX)
		return -ENOENT;
	if (!tm_is_alive(client->store))
		return -EOWNERDEAD;
	tm_lock_acquire(&client->store->control);
	pool = client->pools[id];
	if (pool) {
		info->flags = pool->flags;
		info->members = pool->members;
		info->uuid = pool->uuid;
		info->pages = 0;
		info->objects = 0;
		for (unsigned i = 0; i < TM_SHARDS; i++) {
			struct tm_shard *shard = &pool->shards[i];

			tm_lock_acquire(&shard->table_lock);
			info->objects += shard->object_count;
			tm_lock_acquire(&shard->lock);
			info->pages += shard->pages;
			tm_lock_release(&shard->lock);
			tm_lock_release(&shard->table_lock);
		}
	}
	tm_lock_release(&client->store->control);
	return pool ? 0 : -ENOENT;
}

int64_t tm_pool_pages(struct tm_client *client, int id)
{
	const struct tm_pool *pool = NULL;
	uint64_t pages = 0, objects = 0;

	if (!tm_is_alive(client->store))
		return -EOWNERDEAD;
	if (id >= 0 && id < TMEM_POOLS_MAX)
		pool = atomic_load(&client->pools[id]);
	if (!pool)
		return -ENOENT;
	for (unsigned i = 0; i < TM_SHARDS; i++) {
		const struct tm_shard *shard = &pool->shards[i];

		pages += __atomic_load_n(&shard->pages, __ATOMIC_RELAXED);
		objects += __atomic_load_n(&shard->object_count,
					   __ATOMIC_RELAXED);
	}
	/* What was flushed by object, and is still to be reaped, is not there. */
	return objects ? (int64_t)pages : 0;
}
