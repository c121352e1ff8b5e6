/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A page's life after it was published: found, pinned, dropped, released.
 *
 * Readers dereference a page's place without a lock while it is pinned. So
 * letting go has three steps, each by whoever finds itself last:
 *
 *	unlink	(shard locked)	the index does not lead to it any more
 *	free	(shard locked)	its state word says so: this is what survives
 *	release	(no lock)	bytes to the allocator, number to its table
 *
 * The release falls to the last reader when there is one. TM_PIN_DOOMED in
 * the pin count is how the two agree.
 *
 * Source: the state transitions are those of doc/arena-format.md.
 */
#include <config.h>

#include <assert.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "store.h"

/* An object's own hash is that of a slice number no slice has. */
#define NO_SLICE (UINT64_C(1) << 32)

static uint64_t hash_of(const struct tm_store *store,
			const struct tmem_oid *oid, uint64_t high)
{
	uint64_t key[4] = { oid->word[0], oid->word[1], oid->word[2], high };

	return XXH3_64bits_withSeed(key, sizeof(key), store->hash_seed);
}

uint64_t tm_slice_hash(const struct tm_store *store, const struct tmem_oid *oid,
		       uint32_t high)
{
	return hash_of(store, oid, high);
}

uint64_t tm_object_hash(const struct tm_store *store,
			const struct tmem_oid *oid)
{
	return hash_of(store, oid, NO_SLICE);
}

/* Keyed, and told apart by number: a record in another's slot shows. */
static uint32_t record_word(const struct tm_store *store, const void *bytes,
			    size_t size, uint32_t number,
			    enum tm_record_state state)
{
	uint64_t hash = XXH3_64bits_withSeed(bytes, size,
					     store->hash_seed + number);

	return tm_record_word(state, (uint32_t)hash);
}

uint32_t tm_client_word(const struct tm_store *store,
			const struct tm_client_record *record, uint32_t slot,
			enum tm_record_state state)
{
	return record_word(store, record->name, sizeof(record->name), slot,
			   state);
}

uint32_t tm_pool_word(const struct tm_store *store,
		      const struct tm_pool_record *record, uint32_t slot,
		      enum tm_record_state state)
{
	return record_word(store, &record->flags,
			   sizeof(*record) - offsetof(struct tm_pool_record,
						      flags),
			   slot, state);
}

uint32_t tm_object_word(const struct tm_store *store,
			const struct tm_object_record *record, uint32_t number,
			enum tm_record_state state)
{
	return record_word(store, record,
			   offsetof(struct tm_object_record, state), number,
			   state);
}

bool tm_object_restate(const struct tm_store *store, uint32_t number,
		       const struct tmem_oid *oid)
{
	struct tm_object_record *record = tm_object_record(store, number);
	struct tm_object_record written;
	uint32_t word;

	/* Another one of the same hash; or this one, and its word shows that the
	 * record is not as it was written. Who is told that it is not there
	 * puts it again, or believes that it is gone; and then a reopening
	 * mends the record. */
	written = (struct tm_object_record){
		.oid = { oid->word[0], oid->word[1], oid->word[2] },
		.pool = tm_object(store, number)->pool,
	};
	word = atomic_load_explicit(&record->state, memory_order_relaxed);
	if (word == tm_object_word(store, record, number, TM_RECORD_LIVE) ||
	    word != tm_object_word(store, &written, number, TM_RECORD_LIVE))
		return false;
	for (unsigned i = 0; i < 3; i++)
		__atomic_store_n(&record->oid[i], written.oid[i],
				 __ATOMIC_RELAXED);
	__atomic_store_n(&record->pool, written.pool, __ATOMIC_RELAXED);
	return true;
}

struct tm_slice *tm_slice_find(struct tm_context *context,
			       struct tm_shard *shard, uint64_t hash,
			       const struct tmem_oid *oid, uint32_t high)
{
	struct tm_store *store = context->store;
	uint32_t number = tm_trie_find(&context->nodes, shard->slices, hash,
				       &store->slice_leaves);

	while (number) {
		struct tm_slice *slice = tm_slice(store, number);

		/* A dead object's slices wait for the reaper. */
		if (slice->high == high &&
		    !tm_object(store, slice->object)->is_dead &&
		    tm_object_is(store, slice->object, oid))
			return slice;
		number = slice->leaf.next;
	}
	return NULL;
}

/* What a descriptor says, read without a lock. */
struct sighting {
	uint64_t state;
	uint32_t object;
	uint32_t index;
	uint32_t pool;
	struct tmem_oid oid;
};

/* Beyond what was ever used the arena has a hole, or ends. */
static bool is_object_number(const struct tm_store *store, uint32_t number)
{
	const struct tm_table *table = &store->object_table;

	return number && number < table->capacity &&
	       number < (uint32_t)atomic_load_explicit(table->high,
						       memory_order_relaxed);
}

static bool sight(const struct tm_store *store,
		  const struct tm_descriptor *descriptor,
		  struct sighting *seen)
{
	const struct tm_object_record *record;
	enum tm_kind kind;

	seen->state = atomic_load_explicit(&descriptor->state,
					   memory_order_acquire);
	kind = tm_state_kind(seen->state);
	if (kind == TM_KIND_FREE || kind == TM_KIND_CONTENT)
		return false;
	seen->object = __atomic_load_n(&descriptor->object, __ATOMIC_RELAXED);
	seen->index = __atomic_load_n(&descriptor->index, __ATOMIC_RELAXED);
	if (!is_object_number(store, seen->object))
		return false;
	record = tm_object_record(store, seen->object);
	seen->pool = atomic_load_explicit(&tm_object(store, seen->object)->pool,
					  memory_order_relaxed);
	for (unsigned i = 0; i < 3; i++)
		seen->oid.word[i] =
			__atomic_load_n(&record->oid[i], __ATOMIC_RELAXED);
	return true;
}

/* Does the index have its object under that oid? Its shard is locked; if not,
 * it may be another one, and what is read here may be changing. */
static bool is_found_by(const struct tm_store *store,
			const struct sighting *seen)
{
	const struct tm_object *object = tm_object(store, seen->object);

	return object->leaf.hash == tm_object_hash(store, &seen->oid);
}

bool tm_spot_lock(struct tm_context *context, uint32_t number,
		  struct tm_spot *spot) TM_NO_THREAD_SAFETY_ANALYSIS
{
	struct tm_store *store = context->store;
	struct sighting seen, again;

	*spot = (struct tm_spot){
		.number = number,
		.descriptor = tm_descriptor(store, number),
	};
	if (!sight(store, spot->descriptor, &seen))
		return false;
	spot->pool = tm_pool_at(store, seen.pool);
	if (!spot->pool)
		return false;
	spot->oid = seen.oid;
	spot->index = seen.index;
	spot->hash = tm_slice_hash(store, &seen.oid,
				   seen.index >> TM_SLICE_BITS);
	spot->shard = tm_shard_of(spot->pool, spot->hash);
	tm_lock_acquire(&spot->shard->lock);
	/* A live descriptor is guarded by the lock that its own words lead to:
	 * if they still lead here, it is this one. */
	if (sight(store, spot->descriptor, &again) &&
	    again.object == seen.object && again.index == seen.index &&
	    again.pool == seen.pool &&
	    !memcmp(&again.oid, &seen.oid, sizeof(seen.oid))) {
		spot->is_sealed = tm_state_is_sealed(again.state, again.object,
						     again.index) &&
				  is_found_by(store, &again);
		return true;
	}
	tm_lock_release(&spot->shard->lock);
	return false;
}

bool tm_spot_drop(struct tm_context *context, struct tm_spot *spot)
{
	struct tm_store *store = context->store;
	uint32_t index = spot->index;
	struct tm_slice *slice =
		tm_slice_find(context, spot->shard, spot->hash, &spot->oid,
			      index >> TM_SLICE_BITS);
	uint64_t state;
	bool is_empty;

	/* What is dead is the reaper's: its bills are credited already. */
	if (spot->pool->is_dead || !slice ||
	    tm_slice_lookup(&context->nodes, slice, index,
				      &store->descriptor_table) !=
			      spot->number) {
		tm_lock_release(&spot->shard->lock);
		return false;
	}
	tm_slice_remove(&context->nodes, slice, index);
	tm_page_restate(store, spot->number, slice->object, index);
	is_empty = tm_slice_is_empty(slice);
	tm_page_unaccount(context, spot->pool, spot->shard, spot->number);
	state = tm_page_mark_free(context, spot->number);
	tm_lock_release(&spot->shard->lock);
	tm_page_release(context, spot->number, state);
	if (is_empty)
		tm_slice_retire(context, spot->pool, spot->hash, &spot->oid,
				index >> TM_SLICE_BITS);
	return true;
}

struct tm_allocator *tm_page_allocator(const struct tm_store *store,
				       uint64_t place)
{
	if (!tm_place_is_sound(place) || !tm_place_handle(place))
		return NULL;
	return store->allocators[tm_place_allocator(place)];
}

const void *tm_page_bytes(const struct tm_store *store, uint64_t state,
			  uint64_t place)
{
	struct tm_allocator *allocator = tm_page_allocator(store, place);

	return allocator ? tm_allocator_address(allocator,
						tm_place_handle(place),
						tm_state_length(state)) :
			   NULL;
}

/* Seeded with everything that says whose bytes these are, so that a descriptor
 * led astray is caught as well as a flipped bit. A page keeps its check when it
 * becomes a link. */
uint32_t tm_page_check(uint64_t hash, uint32_t index, uint64_t state,
		       uint64_t content_hash)
{
	uint64_t what = (uint64_t)index << 32 |
			(uint64_t)(tm_state_kind(state) == TM_KIND_SAME) << 24 |
			(uint64_t)tm_state_codec(state) << 16 |
			tm_state_length(state);
	uint64_t x = content_hash ^ hash;

	x += what * UINT64_C(0x9e3779b97f4a7c15);
	x ^= x >> 32;
	x *= UINT64_C(0xd6e8feb86659fd93);
	return (uint32_t)(x >> 32);
}

/* --- accounts ------------------------------------------------------------- */

/* What a page adds to the sums it is part of. */
struct shares {
	int64_t billed_bytes;
	int64_t stored_bytes;
	int64_t same;
	int64_t raw;
	int64_t links;
};

static struct shares shares_of(const struct tm_store *store,
			       const struct tm_pool *pool, uint32_t number)
{
	uint64_t state = atomic_load_explicit(
		&tm_descriptor(store, number)->state, memory_order_relaxed);
	enum tm_kind kind = tm_state_kind(state);
	uint32_t length = tm_state_length(state);

	return (struct shares){
		.billed_bytes = tm_page_bill(pool, length),
		.stored_bytes = kind == TM_KIND_DATA ? length : 0,
		.same = kind == TM_KIND_SAME,
		.raw = kind == TM_KIND_DATA && !tm_state_codec(state),
		.links = kind == TM_KIND_LINK,
	};
}

static struct shares difference(struct shares a, struct shares b)
{
	return (struct shares){
		.billed_bytes = a.billed_bytes - b.billed_bytes,
		.stored_bytes = a.stored_bytes - b.stored_bytes,
		.same = a.same - b.same,
		.raw = a.raw - b.raw,
		.links = a.links - b.links,
	};
}

static void count(struct tm_context *context, struct tm_client *client,
		  int64_t pages, struct shares n)
{
	tm_client_count(client, context, TM_COUNT_PAGES, pages);
	tm_client_count(client, context, TM_COUNT_BYTES, n.stored_bytes);
	tm_client_count(client, context, TM_COUNT_SAME, n.same);
	tm_client_count(client, context, TM_COUNT_RAW, n.raw);
	tm_client_count(client, context, TM_COUNT_LINKS, n.links);
}

static void bill(struct tm_pool *pool, struct tm_shard *shard,
		 struct tm_object *object, struct tm_client *client,
		 int64_t bytes)
{
	if (!bytes)
		return;
	atomic_fetch_add_explicit(&shard->billed_bytes, bytes,
				  memory_order_relaxed);
	atomic_fetch_add_explicit(&object->billed_bytes, bytes,
				  memory_order_relaxed);
	atomic_fetch_add_explicit(&client->billed_bytes, bytes,
				  memory_order_relaxed);
	if (tm_pool_is_ephemeral(pool))
		atomic_fetch_add_explicit(&client->ephemeral_bytes, bytes,
					  memory_order_relaxed);
}

static struct tm_client *billed_client(struct tm_store *store,
				       struct tm_pool *pool, uint32_t number)
{
	return tm_pool_is_ephemeral(pool) ? tm_lru_client(store, number) :
					    pool->owner;
}

static struct tm_object *object_of(struct tm_store *store, uint32_t number)
{
	return tm_object(store, tm_descriptor(store, number)->object);
}

/* One writer, and readers that look without the lock. */
static void count_shard(struct tm_shard *shard, int64_t pages)
	TM_REQUIRES(shard->lock)
{
	__atomic_store_n(&shard->pages, shard->pages + (uint64_t)pages,
			 __ATOMIC_RELAXED);
}

void tm_page_account(struct tm_context *context, struct tm_pool *pool,
		     struct tm_shard *shard, uint32_t number, uint32_t old,
		     struct tm_client *client)
{
	struct tm_store *store = context->store;
	struct shares shares = shares_of(store, pool, number);
	int64_t pages = 1;

	if (old && !tm_pool_is_ephemeral(pool)) {
		/* The same client pays: only the difference moves. */
		shares = difference(shares, shares_of(store, pool, old));
		pages = 0;
	} else if (old) {
		tm_page_unaccount(context, pool, shard, old);
	}
	count_shard(shard, pages);
	count(context, client, pages, shares);
	bill(pool, shard, object_of(store, number), client,
	     shares.billed_bytes);
	if (tm_pool_is_ephemeral(pool))
		tm_lru_add(store, client, number);
}

void tm_page_unaccount(struct tm_context *context, struct tm_pool *pool,
		       struct tm_shard *shard, uint32_t number)
{
	struct tm_store *store = context->store;
	struct tm_client *client = billed_client(store, pool, number);
	struct shares none = { 0 };
	struct shares shares =
		difference(none, shares_of(store, pool, number));

	count_shard(shard, -1);
	count(context, client, -1, shares);
	bill(pool, shard, object_of(store, number), client,
	     shares.billed_bytes);
	if (!tm_pool_is_ephemeral(pool) &&
	    atomic_load_explicit(&client->log, memory_order_relaxed))
		tm_log_gone(context, pool, number);
	if (tm_pool_is_ephemeral(pool))
		tm_lru_remove(store, number);
}

void tm_page_becomes_link(struct tm_context *context, struct tm_pool *pool,
			  uint32_t number)
{
	struct tm_client *client =
		billed_client(context->store, pool, number);
	struct shares was = shares_of(context->store, pool, number);

	count(context, client, 0,
	      (struct shares){ .stored_bytes = -was.stored_bytes,
			       .raw = -was.raw,
			       .links = 1 });
}

void tm_page_forget(struct tm_context *context, struct tm_pool *pool,
		    struct tm_shard *shard, uint32_t number)
{
	struct tm_store *store = context->store;
	struct tm_client *client = billed_client(store, pool, number);
	struct shares none = { 0 };
	struct shares shares =
		difference(none, shares_of(store, pool, number));

	count_shard(shard, -1);
	count(context, client, -1, shares);
	atomic_fetch_add(&shard->billed_bytes, shares.billed_bytes);
	atomic_fetch_add(&pool->credited_bytes, shares.billed_bytes);
	if (!tm_pool_is_ephemeral(pool) &&
	    atomic_load_explicit(&client->log, memory_order_relaxed))
		tm_log_gone(context, pool, number);
	if (tm_pool_is_ephemeral(pool)) {
		atomic_fetch_add(&client->ephemeral_bytes,
				 shares.billed_bytes);
		tm_lru_remove(store, number);
	}
}

/* --- letting go ------------------------------------------------------------ */

/* Its record says whose page it is as the index does; see tm_page_restate(). */
static bool is_sealed(const struct tm_descriptor *descriptor, uint64_t state)
{
	return tm_state_is_sealed(state, descriptor->object,
				  descriptor->index);
}

uint64_t tm_page_mark_free(struct tm_context *context, uint32_t number)
{
	struct tm_descriptor *descriptor =
		tm_descriptor(context->store, number);
	uint64_t state = atomic_load_explicit(&descriptor->state,
					      memory_order_relaxed);

	atomic_store_explicit(&descriptor->state, TM_KIND_FREE,
			      memory_order_release);
	/* Who is not a link, or not for certain, may be a candidate. */
	if (tm_state_kind(state) == TM_KIND_DATA ||
	    !is_sealed(descriptor, state))
		tm_dedup_forget(context, number);
	return state;
}

/* Better to lose this room than to free somebody else's. */
static void log_lost_room(struct tm_store *store)
{
	tm_memory_log(&store->memory, TMEM_LOG_ERROR,
		      "a damaged record: its page's room is lost");
}

void tm_place_free(struct tm_context *context, uint64_t place)
{
	struct tm_store *store = context->store;
	struct tm_allocator *allocator = tm_page_allocator(store, place);
	uint32_t debt, frees;

	if (!allocator) {
		log_lost_room(store);
		return;
	}
	debt = tm_allocator_free(allocator, tm_place_handle(place));
	frees = atomic_load_explicit(&context->frees, memory_order_relaxed) + 1;
	atomic_store_explicit(&context->frees, frees, memory_order_relaxed);
	if (frees % TM_COMPACTION_FREES == 0) {
		atomic_store(&store->compaction_due, true);
		tm_worker_wake(store);
	}
	context->wants_compaction = debt > 0;
	if (atomic_load_explicit(&store->compaction_debt,
				 memory_order_relaxed) != debt)
		atomic_store_explicit(&store->compaction_debt, debt,
				      memory_order_relaxed);
}

static void release_now(struct tm_context *context, uint32_t number,
			uint64_t state)
{
	struct tm_descriptor *descriptor =
		tm_descriptor(context->store, number);

	/* A place has a seal of its own, and a link has none to give back. */
	if (tm_state_kind(state) == TM_KIND_DATA)
		tm_place_free(context,
			      atomic_load_explicit(&descriptor->place,
						   memory_order_relaxed));
	else if (tm_state_kind(state) != TM_KIND_SAME &&
		 !is_sealed(descriptor, state))
		log_lost_room(context->store);
	else if (tm_state_kind(state) == TM_KIND_LINK)
		tm_content_unlink(context, tm_state_content(state));
	atomic_store_explicit(&descriptor->pins, 0, memory_order_release);
	tm_magazine_push(&context->descriptors, number);
}

void tm_page_release(struct tm_context *context, uint32_t number,
		     uint64_t state)
{
	struct tm_descriptor *descriptor =
		tm_descriptor(context->store, number);

	if (atomic_load_explicit(&descriptor->pins, memory_order_acquire) &&
	    (atomic_fetch_or(&descriptor->pins, TM_PIN_DOOMED) &
	     ~TM_PIN_DOOMED))
		return;
	release_now(context, number, state);
}

void tm_page_pin(struct tm_store *store, uint32_t number)
{
	struct tm_descriptor *descriptor = tm_descriptor(store, number);

	/* What the index leads to is not on its way out: a bit has flipped. */
	if (atomic_fetch_add_explicit(&descriptor->pins, 1,
				      memory_order_relaxed) & TM_PIN_DOOMED)
		atomic_fetch_and(&descriptor->pins, ~TM_PIN_DOOMED);
}

void tm_page_unpin(struct tm_context *context, uint32_t number, uint64_t state)
{
	struct tm_descriptor *descriptor =
		tm_descriptor(context->store, number);

	/* It is marked free before it is doomed. */
	if (atomic_fetch_sub(&descriptor->pins, 1) == (TM_PIN_DOOMED | 1) &&
	    atomic_load(&descriptor->state) == TM_KIND_FREE)
		release_now(context, number, state);
}
