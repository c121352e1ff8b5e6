/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What saving and migrating a client need: a walk over the pages of a pool, and
 * a log of the persistent pages that go meanwhile.
 *
 * The walk goes through the descriptors of the whole store, in their order, and
 * picks the pool's. It holds nothing between two pages: a page that is dropped,
 * moved or evicted meanwhile is met or not, and nothing is left dangling. A
 * frozen client puts nothing, so a page that stays keeps its descriptor, and is
 * met exactly once.
 *
 * The log is written where a page leaves the accounts, under its shard's lock,
 * by flush, by get-and-remove and by the reaper. It is a list of chunks charged
 * to the store's memory; when a chunk cannot be had, the log is marked as
 * incomplete, and whoever copies must start over. Records are apart from the
 * descriptors: nothing of a page that is gone is looked at again.
 *
 * A log freezes its client, and so may somebody who knows nothing of the log. The
 * two are kept apart: what the one began the end of the other does not undo.
 *
 * Locks: log.lock is taken under a shard's, by a thread that is inside the
 * store: a log that was taken away is freed when all of them have left. Before
 * it says that there is no more the reader reaps, and so waits for whoever
 * does: what was flushed by object is in the log as well.
 */
#include <config.h>

#include <errno.h>

#include "store.h"

#define LOG_CHUNK 126 /* handles: a chunk is nearly a page */
#define REAP_BATCH 1024

struct chunk {
	struct chunk *next;
	uint32_t begin;
	uint32_t end;
	struct tmem_handle handle[LOG_CHUNK];
};

struct tm_log {
	struct tm_lock lock;
	struct chunk *first TM_GUARDED_BY(lock);
	struct chunk *last TM_GUARDED_BY(lock);
	bool is_incomplete TM_GUARDED_BY(lock);
};

static bool grow(struct tm_store *store, struct tm_log *log)
	TM_REQUIRES(log->lock)
{
	struct chunk *chunk =
		tm_memory_alloc(&store->memory, sizeof(*chunk), 0);

	if (!chunk)
		return false;
	if (log->last)
		log->last->next = chunk;
	else
		log->first = chunk;
	log->last = chunk;
	return true;
}

void tm_log_gone(struct tm_context *context, struct tm_pool *pool,
		 uint32_t number)
{
	struct tm_store *store = context->store;
	const struct tm_descriptor *descriptor = tm_descriptor(store, number);
	const struct tm_pool_record *pool_record =
		tm_table_at(&store->pool_table, pool->slot);
	const struct tm_object_record *object =
		tm_object_record(store, descriptor->object);
	struct tm_log *log = atomic_load(&pool->owner->log);
	struct tmem_handle *handle;

	if (!log)
		return;
	tm_lock_acquire(&log->lock);
	if ((log->last && log->last->end < LOG_CHUNK) || grow(store, log)) {
		handle = &log->last->handle[log->last->end++];
		handle->pool = pool_record->id;
		handle->index = descriptor->index;
		for (unsigned i = 0; i < 3; i++)
			handle->oid.word[i] = object->oid[i];
	} else {
		log->is_incomplete = true;
	}
	tm_lock_release(&log->lock);
}

static void free_log(struct tm_store *store, struct tm_log *log)
{
	while (log->first) {
		struct chunk *chunk = log->first;

		log->first = chunk->next;
		tm_memory_free(&store->memory, chunk, sizeof(*chunk));
	}
	tm_lock_destroy(&log->lock);
	tm_memory_free(&store->memory, log, sizeof(*log));
}

static void reap_all(struct tm_store *store)
{
	struct tm_context *context = tm_enter(store);

	if (!context)
		return;
	while (tm_reap(context, REAP_BATCH))
		;
	tm_leave(context);
}

/* What died before must not be in the log: a page may have been put again under
 * the same name since, and that one stays. So puts have ended, and then all that
 * is dead is reaped, before the log is there. What dies in between is not put
 * again. */
static int begin_log(struct tm_client *client)
{
	struct tm_log *log;

	if (!client->is_frozen || client->log)
		return -EBUSY;
	log = tm_memory_alloc(&client->store->memory, sizeof(*log), 0);
	if (!log)
		return -ENOMEM;
	tm_lock_init(&log->lock, TM_RANK_GONE);
	tm_quiesce(client->store);
	reap_all(client->store);
	atomic_store(&client->log, log);
	/* From here on every page that goes is logged. */
	tm_quiesce(client->store);
	return 0;
}

void tm_log_discard(struct tm_client *client)
{
	struct tm_log *log = atomic_exchange(&client->log, NULL);

	if (log)
		free_log(client->store, log);
}

void tm_log_end(struct tm_client *client)
{
	struct tm_log *log = atomic_exchange(&client->log, NULL);

	if (!log)
		return;
	/* From here on nobody has it in hand. */
	tm_quiesce(client->store);
	free_log(client->store, log);
}

int tm_client_set_migrating(struct tm_client *client, bool migrating)
{
	int err = 0;

	if (!tm_is_alive(client->store))
		return -EOWNERDEAD;
	tm_lock_acquire(&client->store->control);
	if (migrating)
		err = begin_log(client);
	else
		tm_log_end(client);
	tm_lock_release(&client->store->control);
	return err;
}

int tm_client_begin_log(struct tm_client *client)
{
	int err;

	if (!tm_is_alive(client->store))
		return -EOWNERDEAD;
	tm_lock_acquire(&client->store->control);
	atomic_store(&client->is_frozen, true);
	err = begin_log(client);
	if (err)
		atomic_store(&client->is_frozen,
			     client->stays_frozen || client->log);
	tm_lock_release(&client->store->control);
	return err;
}

void tm_client_end_log(struct tm_client *client, bool stays_frozen)
{
	if (!tm_is_alive(client->store))
		return;
	tm_lock_acquire(&client->store->control);
	tm_log_end(client);
	if (stays_frozen)
		atomic_store(&client->stays_frozen, true);
	atomic_store(&client->is_frozen, client->stays_frozen);
	tm_lock_release(&client->store->control);
}

static int take_from(struct tm_store *store, struct tm_log *log,
		     struct tmem_handle *handle)
{
	struct chunk *chunk;
	int result = 0;

	tm_lock_acquire(&log->lock);
	chunk = log->first;
	if (log->is_incomplete) {
		result = -ENOMEM;
	} else if (chunk && chunk->begin < chunk->end) {
		*handle = chunk->handle[chunk->begin++];
		result = 1;
		if (chunk->begin == LOG_CHUNK) {
			log->first = chunk->next;
			if (!log->first)
				log->last = NULL;
			tm_memory_free(&store->memory, chunk, sizeof(*chunk));
		}
	}
	tm_lock_release(&log->lock);
	return result;
}

static int take(struct tm_client *client, struct tmem_handle *handle)
{
	struct tm_store *store = client->store;
	int result = -EINVAL;

	tm_lock_acquire(&store->control);
	if (client->log)
		result = take_from(store, client->log, handle);
	tm_lock_release(&store->control);
	return result;
}

int tm_client_next_invalidation(struct tm_client *client,
				struct tmem_handle *handle)
{
	int result;

	if (!tm_is_alive(client->store))
		return -EOWNERDEAD;
	result = take(client, handle);
	if (result)
		return result;
	/* has_dead says nothing of what another thread has in hand. */
	reap_all(client->store);
	return take(client, handle);
}

int tm_client_walk(struct tm_client *client, int id, uint64_t *position,
		   struct tmem_handle *handle, void *page)
{
	struct tm_store *store = client->store;
	struct tm_context *context = tm_enter(store);
	struct tm_pool *pool = NULL;
	uint32_t high;
	int result = 0;

	if (!context)
		return -EOWNERDEAD;
	if (id >= 0 && id < TMEM_POOLS_MAX)
		pool = atomic_load(&client->pools[id]);
	if (!pool)
		result = -ENOENT;
	if (!*position)
		*position = 1;
	high = tm_table_end(&store->descriptor_table);
	while (!result && *position < high)
		result = tm_page_read(context, client, pool,
				      (uint32_t)(*position)++, handle, page);
	if (result == 1 || result == -EBADMSG)
		handle->pool = (uint32_t)id;
	tm_leave(context);
	return result;
}
