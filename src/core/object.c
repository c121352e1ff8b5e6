/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Objects and slices: made at the first page, taken away with the last.
 *
 * An object has a home: the shard its oid hashes to, whose table lock guards
 * that it is there, and the list of its slices. The slices themselves lie in
 * any shards. Making or removing a slice holds the home's table lock and the
 * slice's shard lock, in this order, so neither ever dangles.
 */
#include <config.h>

#include <assert.h>
#include <string.h>

#include "store.h"

/* Nodes for one entry more, in the trie of contents. */
#define DEDUP_NODES 16

bool tm_context_prepare(struct tm_context *context)
{
	bool dedup = context->store->flags & TMEM_STORE_DEDUP;

	return tm_magazine_fill(&context->nodes,
				TM_INSERT_NODES_MAX +
					(dedup ? DEDUP_NODES : 0)) &&
	       tm_magazine_fill(&context->slices, 1) &&
	       tm_magazine_fill(&context->objects, 1) &&
	       tm_magazine_fill(&context->descriptors, dedup ? 2 : 1) &&
	       (!dedup || tm_magazine_fill(&context->contents, 1));
}

uint32_t tm_object_find(struct tm_context *context, struct tm_shard *home,
			uint64_t hash, const struct tmem_oid *oid)
{
	struct tm_store *store = context->store;
	uint32_t number = tm_trie_find(&context->nodes, home->objects, hash,
				       &store->object_leaves);

	while (number && !tm_object_is(store, number, oid))
		number = tm_object(store, number)->leaf.next;
	return number;
}

/* That the pool is dead is known before its bills are summed up: what is done in
 * between is part of the sum, and so is the owner's to pay or to get back. */
static void bill_object(struct tm_pool *pool, struct tm_shard *home,
			struct tm_object *object, int64_t sign)
	TM_REQUIRES(home->table_lock)
{
	int64_t bytes = sign * tm_object_bill(pool);

	atomic_fetch_add(&home->billed_bytes, bytes);
	atomic_fetch_add(&object->billed_bytes, bytes);
	if (pool->owner && bytes && !atomic_load(&home->is_settled))
		atomic_fetch_add(&pool->owner->billed_bytes, bytes);
}

/* One writer, and readers that look without the lock. */
static void count_object(struct tm_shard *home, int64_t objects)
	TM_REQUIRES(home->table_lock)
{
	__atomic_store_n(&home->object_count,
			 home->object_count + (uint64_t)objects,
			 __ATOMIC_RELAXED);
}

/* The volatile half of object @number, entered in its home's table. */
void tm_object_enter(struct tm_context *context, struct tm_pool *pool,
		     struct tm_shard *home, uint32_t number, uint64_t hash)
{
	struct tm_store *store = context->store;
	struct tm_object *object = tm_object(store, number);

	object->leaf = (struct tm_leaf){ .hash = hash };
	object->slices = 0;
	object->billed_bytes = 0;
	object->is_dead = 0;
	/* Somebody with a stale number may be looking. */
	atomic_store_explicit(&object->pool, (uint16_t)pool->slot,
			      memory_order_relaxed);
	tm_trie_insert(&context->nodes, &home->objects, &store->object_leaves,
		       number);
	count_object(home, 1);
	atomic_fetch_add_explicit(&store->objects, 1, memory_order_relaxed);
	bill_object(pool, home, object, 1);
}

static uint32_t object_make(struct tm_context *context, struct tm_pool *pool,
			    struct tm_shard *home, uint64_t hash,
			    const struct tmem_oid *oid)
	TM_REQUIRES(home->table_lock)
{
	uint32_t number = tm_magazine_pop(&context->objects);
	struct tm_object_record *record =
		tm_object_record(context->store, number);

	for (unsigned i = 0; i < 3; i++)
		__atomic_store_n(&record->oid[i], oid->word[i],
				 __ATOMIC_RELAXED);
	__atomic_store_n(&record->pool, pool->slot, __ATOMIC_RELAXED);
	atomic_store_explicit(
		&record->state,
		tm_object_word(context->store, record, number, TM_RECORD_LIVE),
		memory_order_release);
	tm_object_enter(context, pool, home, number, hash);
	return number;
}

struct tm_slice *tm_slice_make(struct tm_context *context,
			       struct tm_shard *shard, uint64_t hash,
			       uint32_t object, uint32_t high)
{
	struct tm_store *store = context->store;
	uint32_t number = tm_magazine_pop(&context->slices);
	struct tm_slice *slice = tm_slice(store, number);
	struct tm_object *parent = tm_object(store, object);

	*slice = (struct tm_slice){
		.leaf = { .hash = hash },
		.object = object,
		.high = high,
		.next = parent->slices,
	};
	if (parent->slices)
		tm_slice(store, parent->slices)->prev = number;
	parent->slices = number;
	tm_trie_insert(&context->nodes, &shard->slices, &store->slice_leaves,
		       number);
	return slice;
}

struct tm_slice *tm_slice_open(struct tm_context *context, struct tm_pool *pool,
			       struct tm_shard *shard, uint64_t hash,
			       const struct tmem_oid *oid, uint32_t high)
{
	uint64_t home_hash = tm_object_hash(context->store, oid);
	struct tm_shard *home = tm_shard_of(pool, home_hash);
	struct tm_slice *slice = NULL;
	uint32_t object = 0;

	tm_lock_acquire(&home->table_lock);
	if (!pool->is_dead) {
		object = tm_object_find(context, home, home_hash, oid);
		if (!object)
			object = object_make(context, pool, home, home_hash,
					     oid);
	}
	tm_lock_acquire(&shard->lock);
	if (object)
		slice = tm_slice_find(context, shard, hash, oid, high);
	if (object && !slice)
		slice = tm_slice_make(context, shard, hash, object, high);
	tm_lock_release(&home->table_lock);
	return slice;
}

/* Out of trie and list; both locks held. */
void tm_slice_unmake(struct tm_context *context, struct tm_shard *shard,
		     struct tm_slice *slice)
{
	struct tm_store *store = context->store;
	struct tm_object *parent = tm_object(store, slice->object);
	uint32_t number = (uint32_t)(slice - tm_slice(store, 0));

	if (slice->prev)
		tm_slice(store, slice->prev)->next = slice->next;
	else
		parent->slices = slice->next;
	if (slice->next)
		tm_slice(store, slice->next)->prev = slice->prev;
	tm_trie_remove(&context->nodes, &shard->slices, &store->slice_leaves,
		       number);
	tm_magazine_push(&context->slices, number);
}

static void object_unlist(struct tm_context *context, struct tm_shard *home,
			  uint32_t number) TM_REQUIRES(home->table_lock)
{
	struct tm_store *store = context->store;

	tm_trie_remove(&context->nodes, &home->objects, &store->object_leaves,
		       number);
	count_object(home, -1);
	atomic_fetch_sub_explicit(&store->objects, 1, memory_order_relaxed);
}

void tm_slice_retire(struct tm_context *context, struct tm_pool *pool,
		     uint64_t hash, const struct tmem_oid *oid, uint32_t high)
{
	struct tm_store *store = context->store;
	uint64_t home_hash = tm_object_hash(store, oid);
	struct tm_shard *home = tm_shard_of(pool, home_hash);
	struct tm_shard *shard = tm_shard_of(pool, hash);
	struct tm_slice *slice;
	uint32_t object = 0;

	tm_lock_acquire(&home->table_lock);
	tm_lock_acquire(&shard->lock);
	slice = tm_slice_find(context, shard, hash, oid, high);
	if (slice && tm_slice_is_empty(slice) && !pool->is_dead) {
		object = slice->object;
		tm_slice_unmake(context, shard, slice);
	}
	tm_lock_release(&shard->lock);
	if (object && !tm_object(store, object)->slices) {
		object_unlist(context, home, object);
		bill_object(pool, home, tm_object(store, object), -1);
		atomic_store_explicit(&tm_object_record(store, object)->state,
				      TM_RECORD_FREE, memory_order_release);
		tm_magazine_push(&context->objects, object);
	}
	tm_lock_release(&home->table_lock);
}

/* One store makes all its pages garbage; what they were billed is credited at
 * once, where one client holds them all. */
void tm_object_kill(struct tm_context *context, struct tm_pool *pool,
		    struct tm_shard *home, uint32_t number)
{
	struct tm_store *store = context->store;
	struct tm_object *object = tm_object(store, number);
	struct tm_object_record *record = tm_object_record(store, number);

	atomic_store_explicit(&record->state,
			      tm_record_word_dead(record->state),
			      memory_order_release);
	object_unlist(context, home, number);
	atomic_store(&object->is_dead, 1);
	atomic_fetch_add(&pool->dying_objects, 1);
	/* Its own bill goes here; those of its pages as said. */
	bill_object(pool, home, object, -1);
	if (!(pool->flags & TMEM_POOL_SHARED) && !pool->is_dead) {
		int64_t bytes = atomic_exchange(&object->billed_bytes, 0);

		atomic_fetch_add(&pool->credited_bytes, bytes);
		atomic_fetch_sub(&pool->owner->billed_bytes, bytes);
	}
	tm_reap_object(store, number);
}
