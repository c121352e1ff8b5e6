/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The operations on pages: put, get, flush page, flush object.
 *
 * The problem: compressing takes microseconds, everything else must take
 * nanoseconds, and no lock may be held while a codec runs. So a put does all
 * that takes long on private memory first:
 *
 *	encode	  same-filled? compress into the context's buffer
 *	reserve	  index nodes, descriptor, room for the bytes; may evict
 *	publish	  locked: pool dead, client frozen or over its cap? else
 *		  compute the check, copy the bytes to their room, fill in the
 *		  descriptor, store its state word, link it, and mark the page
 *		  it replaces free
 *	release	  the replaced page's bytes
 *
 * The room is cold: nobody has used it for long. It is asked for as soon as it
 * is known, and has come by the time the page that is replaced was looked up.
 * That is why the copy is made under the lock: were it made before, taking the
 * lock would wait for the copy's last cache line, with nothing else to do. The
 * price is that the lock is held for some 200 ns.
 *
 * A put that fails anywhere after it began drops what the handle held: a get
 * after it must miss, not find the old data.
 *
 * A get pins the page under the lock and decompresses without it. From a
 * private ephemeral pool it drops the page first, so that two gets never share
 * one, and whoever comes upon pages by number never meets one that its lock no
 * longer guards; the pin keeps the bytes. Get-and-remove from any other pool
 * copies first and drops then, so that a persistent page is free in the arena
 * before the answer, and a descriptor that is live is always linked; it starts
 * over when the page was replaced meanwhile.
 *
 * Locks: at most one shard's at a time, and briefly.
 */
#include <config.h>

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "store.h"

/* One call in so many is timed. */
#define SAMPLE_EVERY 16
/* How often a put tries to make room before it is refused. */
#define RESERVE_ATTEMPTS 64
/* Up to its reservation: once more for so many pages in the store. */
#define ATTEMPT_PAGES 32
/* Moves that ride on one operation. */
#define RIDING_MOVES 2
/* When more than this many are due, the background helps. */
#define BACKGROUND_MOVES 64
/* A page that does not shrink by this much is stored as it is: reading it back
 * is then a copy. */
#define WORTH_BYTES 64
/* More than so much asked for ahead of writing only waits in line. */
#define PREFETCH_BYTES 512u

struct page_op {
	struct tm_context *context;
	struct tm_store *store;
	struct tm_client *client;
	struct tm_pool *pool;
	struct tm_shard *shard;
	const struct tmem_oid *oid;
	uint32_t index;
	uint64_t hash;
	uint64_t began_ns;	/* 0: not sampled */
	uint32_t flags;		/* of a put */
	int reason;		/* why a put is refused: a negative errno */
	bool has_replaced;
};

/* A page on its way in. */
struct draft {
	uint64_t state;
	uint64_t place;
	const void *bytes;
	void *room;		/* in the arena, of DATA */
	uint64_t content_hash;
	uint64_t dedup_key;	/* 0: not to be shared */
	uint32_t number;
	uint32_t check;
	bool has_check;
};

static int begin(struct page_op *op, struct tm_client *client, int pool,
		 const struct tmem_oid *oid, uint32_t index)
{
	*op = (struct page_op){
		.store = client->store,
		.client = client,
		.oid = oid,
		.index = index,
	};
	op->context = tm_enter(client->store);
	if (!op->context)
		return -EOWNERDEAD;
	if (pool >= 0 && pool < TMEM_POOLS_MAX)
		op->pool = atomic_load(&client->pools[pool]);
	if (!op->pool) {
		tm_leave(op->context);
		return -ENOENT;
	}
	op->hash = tm_slice_hash(op->store, oid, index >> TM_SLICE_BITS);
	op->shard = tm_shard_of(op->pool, op->hash);
	if (++op->context->sample % SAMPLE_EVERY == 0)
		op->began_ns = tm_clock_now_ns(op->store->clock);
	return 0;
}

static void end(struct page_op *op)
{
	if (op->context->wants_compaction) {
		op->context->wants_compaction = false;
		tm_compact(op->context, RIDING_MOVES);
		if (op->store->compaction_debt > BACKGROUND_MOVES)
			tm_worker_wake(op->store);
	}
	tm_leave(op->context);
}

static void time_op(struct page_op *op, struct tm_histogram *histogram)
{
	if (op->began_ns)
		tm_histogram_add(histogram, tm_clock_now_ns(op->store->clock) -
						    op->began_ns);
}

static void count(struct page_op *op, enum tm_count what)
{
	tm_client_count(op->client, op->context, what, 1);
}

static uint32_t lookup(struct page_op *op, struct tm_slice **slice)
	TM_REQUIRES(op->shard->lock)
{
	*slice = tm_slice_find(op->context, op->shard, op->hash, op->oid,
			       op->index >> TM_SLICE_BITS);
	if (!*slice)
		return 0;
	return tm_slice_lookup(&op->context->nodes, *slice, op->index,
			       &op->store->descriptor_table);
}

static void retire_slice(struct page_op *op)
{
	tm_slice_retire(op->context, op->pool, op->hash, op->oid,
			op->index >> TM_SLICE_BITS);
}

/*
 * Unlinks and frees @number, which @slice leads to, and unlocks the shard.
 */
static void drop_and_unlock(struct page_op *op, struct tm_slice *slice,
			    uint32_t number) TM_RELEASE(op->shard->lock)
{
	uint64_t state;
	bool is_empty;

	tm_slice_remove(&op->context->nodes, slice, op->index);
	tm_page_restate(op->store, number, slice->object, op->index);
	is_empty = tm_slice_is_empty(slice);
	tm_page_unaccount(op->context, op->pool, op->shard, number);
	state = tm_page_mark_free(op->context, number);
	tm_lock_release(&op->shard->lock);
	tm_page_release(op->context, number, state);
	if (is_empty)
		retire_slice(op);
}

/* Drops what the handle holds, or only @only when that is not 0. */
static bool drop(struct page_op *op, uint32_t only)
{
	struct tm_slice *slice;
	uint32_t number;

	tm_lock_acquire(&op->shard->lock);
	number = op->pool->is_dead ? 0 : lookup(op, &slice);
	if (!number || (only && number != only)) {
		tm_lock_release(&op->shard->lock);
		return false;
	}
	drop_and_unlock(op, slice, number);
	return true;
}

/* --- put ------------------------------------------------------------------ */

/* A caller's page may begin anywhere. */
static uint64_t word_at(const uint8_t *page, size_t n)
{
	uint64_t word;

	memcpy(&word, page + n * sizeof(word), sizeof(word));
	return word;
}

/* Is the page one 8-byte word over and over? */
static bool is_same_filled(const void *page, uint64_t *word)
{
	const uint8_t *bytes = page;

	/* Nearly every page is found out by its first cache line; the rest of
	 * it is cold, and the codec is about to fetch it in order. */
	*word = word_at(bytes, 0);
	if (*word != word_at(bytes, 1) || *word != word_at(bytes, 7))
		return false;
	return !memcmp(bytes, bytes + sizeof(*word),
		       TMEM_PAGE_SIZE - sizeof(*word));
}

/* What packs, or reads, pages of this slot; NULL: of slot 0. */
static struct tm_codec_context *codec_of(const struct page_op *op,
					 uint32_t slot)
{
	return atomic_load_explicit(&op->context->codec[slot],
				    memory_order_acquire);
}

static void encode(struct page_op *op, const void *page, struct draft *draft)
{
	uint32_t codec = atomic_load_explicit(&op->client->codec,
					      memory_order_acquire);
	struct tm_codec_context *codec_context;
	size_t length = 0;

	if (is_same_filled(page, &draft->place)) {
		draft->state = tm_state_make(TM_KIND_SAME, 0, 0, 0);
		return;
	}
	if (codec == TM_CODEC_OF_STORE)
		codec = atomic_load_explicit(&op->store->codec,
					     memory_order_acquire);
	codec_context = codec_of(op, codec);
	if (codec_context)
		length = tm_codec_compress(codec_context, page, TMEM_PAGE_SIZE,
					   TMEM_PAGE_SIZE - WORTH_BYTES);
	if (length) {
		draft->bytes = codec_context->output;
	} else {
		draft->bytes = page;
		length = TMEM_PAGE_SIZE;
		codec = 0;
	}
	draft->state = tm_state_make(TM_KIND_DATA, 0, codec, (uint32_t)length);
}

/* The same oid in another pool is somebody else's. */
static uint64_t check_seed(const struct page_op *op)
{
	return op->hash ^ (uint64_t)op->pool->slot << 32;
}

static void compute_check(struct page_op *op, struct draft *draft)
{
	uint32_t length = tm_state_length(draft->state);

	draft->content_hash =
		length ? op->store->content_hash(draft->bytes, length) :
			 op->store->content_hash(&draft->place,
						 sizeof(draft->place));
	draft->check = tm_page_check(check_seed(op), op->index, draft->state,
				     draft->content_hash);
	draft->has_check = true;
}

/* Are these bytes there already? Then a link is enough. */
static bool share(struct page_op *op, struct draft *draft)
{
	uint32_t content;

	if (!tm_dedup_wants(op->store, op->pool))
		return false;
	draft->dedup_key = tm_dedup_key(op->store, op->client, op->pool,
					draft->state, draft->content_hash);
	content = tm_dedup_share(op->context, draft->dedup_key, draft->state,
				 draft->bytes);
	if (!content)
		return false;
	draft->state = tm_state_make(TM_KIND_LINK, 0,
				     tm_state_codec(draft->state),
				     tm_state_length(draft->state)) |
		       (uint64_t)content << 32;
	draft->place = TM_PLACE_NONE;
	return true;
}

/* Room in the arena for the draft's bytes. */
static bool find_room(struct page_op *op, struct draft *draft)
{
	uint32_t length = tm_state_length(draft->state);
	uint32_t flags = tm_pool_is_ephemeral(op->pool) ? TMEM_ALLOC_EPHEMERAL :
							  0;
	uint32_t slot = atomic_load_explicit(&op->store->allocator,
					     memory_order_acquire);
	uint64_t handle;

	handle = tm_allocator_alloc(op->store->allocators[slot], length,
				    draft->number, flags, &draft->room);
	if (!handle)
		return false;
	tm_prefetch_write(draft->room,
			  length < PREFETCH_BYTES ? length : PREFETCH_BYTES);
	draft->place = tm_place_make(slot, handle);
	return true;
}

static bool settle(struct page_op *op, struct draft *draft)
{
	if (tm_state_kind(draft->state) == TM_KIND_SAME)
		return true;
	if (op->store->flags & TMEM_STORE_DEDUP) {
		compute_check(op, draft);
		if (share(op, draft))
			return true;
	}
	return find_room(op, draft);
}

/* Up to its reservation a client is not refused because what is evicted or
 * reaped gives back little. There is an end even if guests put as fast. */
static bool is_owed_more(const struct page_op *op, uint32_t attempts)
{
	struct tm_store *store = op->store;

	return tm_quota_is_within(op->client) &&
	       attempts < tm_table_end(&store->descriptor_table) /
				  ATTEMPT_PAGES &&
	       (store->has_dead || store->is_reaping ||
		tm_quota_victim(store, op->client));
}

/* Everything that can fail for want of memory, as often as evicting helps. */
static bool reserve(struct page_op *op, struct draft *draft)
{
	struct tm_context *context = op->context;

	for (uint32_t attempt = 0;
	     attempt < RESERVE_ATTEMPTS || is_owed_more(op, attempt);
	     attempt++) {
		bool has_records = tm_context_prepare(context);

		if (has_records && tm_quota_admits(op->store, op->client)) {
			draft->number = tm_magazine_pop(&context->descriptors);
			if ((!tm_pool_is_ephemeral(op->pool) ||
			     tm_lru_prepare(op->store, draft->number)) &&
			    settle(op, draft))
				return true;
			tm_magazine_push(&context->descriptors, draft->number);
		}
		if (!tm_make_room(context, op->client) &&
		    (has_records || !tm_contexts_return_stock(context)))
			return false;
	}
	return false;
}

/* A draft that came to nothing. */
static void discard(struct page_op *op, const struct draft *draft)
{
	if (tm_state_kind(draft->state) == TM_KIND_DATA)
		tm_place_free(op->context, draft->place);
	else if (tm_state_kind(draft->state) == TM_KIND_LINK)
		tm_content_unlink(op->context, tm_state_content(draft->state));
	tm_magazine_push(&op->context->descriptors, draft->number);
}

static bool is_over_cap(const struct page_op *op, int64_t more_bytes)
{
	uint64_t cap = atomic_load_explicit(&op->client->cap_bytes,
					    memory_order_relaxed);
	int64_t billed = atomic_load_explicit(&op->client->billed_bytes,
					      memory_order_relaxed);

	return cap && more_bytes > 0 && billed + more_bytes > (int64_t)cap;
}

/* What the client's persistent pools are billed, read without their locks. */
static int64_t persistent_bytes(const struct tm_client *client)
{
	int64_t bytes = 0;

	for (int id = 0; id < TMEM_POOLS_MAX; id++) {
		const struct tm_pool *pool = atomic_load_explicit(
			&client->pools[id], memory_order_acquire);

		if (!pool || tm_pool_is_ephemeral(pool))
			continue;
		for (unsigned i = 0; i < TM_SHARDS; i++)
			bytes += atomic_load_explicit(
				&pool->shards[i].billed_bytes,
				memory_order_relaxed);
		/* What was flushed by object, and is still to be reaped. */
		bytes -= atomic_load_explicit(&pool->credited_bytes,
					      memory_order_relaxed);
	}
	return bytes;
}

static bool is_over_persistent_cap(const struct page_op *op, int64_t more_bytes)
{
	uint64_t cap = atomic_load_explicit(&op->client->persistent_cap_bytes,
					    memory_order_relaxed);

	return cap && more_bytes > 0 && !tm_pool_is_ephemeral(op->pool) &&
	       persistent_bytes(op->client) + more_bytes > (int64_t)cap;
}

/* A frozen client may not grow; replacing is no growth. */
static bool may_while_frozen(const struct page_op *op, uint32_t old)
{
	return old && (op->flags & TMEM_PUT_REPLACE) &&
	       !atomic_load(&op->client->log);
}

static bool may_store(struct page_op *op, uint32_t old, int64_t bill_bytes)
{
	if (atomic_load(&op->client->is_frozen) && !may_while_frozen(op, old)) {
		op->reason = -EBUSY;
		count(op, TM_COUNT_REFUSED_FROZEN);
		return false;
	}
	if (old)
		bill_bytes -= tm_page_bill(
			op->pool,
			tm_state_length(tm_descriptor(op->store, old)->state));
	if (is_over_cap(op, bill_bytes) ||
	    is_over_persistent_cap(op, bill_bytes)) {
		op->reason = -EDQUOT;
		count(op, TM_COUNT_REFUSED_CAP);
		return false;
	}
	return true;
}

/* The words of a descriptor, the state last: from there on the page exists. */
static void write_descriptor(struct page_op *op, const struct draft *draft,
			     uint32_t object, uint32_t old)
{
	struct tm_descriptor *to = tm_descriptor(op->store, draft->number);
	unsigned generation =
		old ? tm_state_generation(
			      tm_descriptor(op->store, old)->state) + 1 :
		      0;
	uint64_t state;

	atomic_store_explicit(&to->place, draft->place, memory_order_relaxed);
	__atomic_store_n(&to->object, object, __ATOMIC_RELAXED);
	__atomic_store_n(&to->index, op->index, __ATOMIC_RELAXED);
	__atomic_store_n(&to->check, draft->check, __ATOMIC_RELAXED);
	atomic_store_explicit(&to->pins, 0, memory_order_relaxed);
	state = tm_state_make(tm_state_kind(draft->state), generation,
			      tm_state_codec(draft->state),
			      tm_state_length(draft->state)) |
		(uint64_t)tm_state_content(draft->state) << 32;
	atomic_store_explicit(&to->state,
			      tm_state_seal(state, object, op->index),
			      memory_order_release);
}

/* The bytes to their room, and the check of them. */
static void move_in(struct page_op *op, struct draft *draft)
{
	uint32_t length = tm_state_length(draft->state);

	if (!draft->has_check)
		compute_check(op, draft);
	if (tm_state_kind(draft->state) == TM_KIND_DATA)
		tm_memory_copy(draft->room, draft->bytes, length);
}

static bool publish(struct page_op *op, struct draft *draft)
{
	struct tm_slice *slice;
	uint64_t old_state = 0;
	uint32_t old;
	bool is_empty;

	tm_lock_acquire(&op->shard->lock);
	old = lookup(op, &slice);
	if (!slice) {
		tm_lock_release(&op->shard->lock);
		slice = tm_slice_open(op->context, op->pool, op->shard,
				      op->hash, op->oid,
				      op->index >> TM_SLICE_BITS);
		if (slice)
			old = tm_slice_lookup(&op->context->nodes, slice,
					      op->index,
					      &op->store->descriptor_table);
	}
	if (!slice || op->pool->is_dead ||
	    !may_store(op, old,
		       tm_page_bill(op->pool,
				    tm_state_length(draft->state)))) {
		is_empty = slice && tm_slice_is_empty(slice);
		tm_lock_release(&op->shard->lock);
		if (is_empty)
			retire_slice(op);
		return false;
	}
	if (old)
		tm_prefetch_write(tm_descriptor(op->store, old), 1);
	move_in(op, draft);
	if (old)
		tm_page_restate(op->store, old, slice->object, op->index);
	write_descriptor(op, draft, slice->object, old);
	tm_slice_insert(&op->context->nodes, slice, op->index, draft->number,
			&op->store->descriptor_table);
	tm_page_account(op->context, op->pool, op->shard, draft->number, old,
			op->client);
	if (draft->dedup_key && tm_state_kind(draft->state) == TM_KIND_DATA)
		tm_dedup_enter(op->context, draft->number, draft->dedup_key);
	if (old)
		old_state = tm_page_mark_free(op->context, old);
	tm_lock_release(&op->shard->lock);
	op->has_replaced = old;
	if (old) {
		count(op, TM_COUNT_DUPLICATES);
		tm_page_release(op->context, old, old_state);
	}
	return true;
}

/* Nothing is left of what the handle held. */
static int refuse(struct page_op *op)
{
	bool was_there = drop(op, 0);

	if (!(op->flags & TMEM_PUT_EXPLAIN))
		return TMEM_PUT_REFUSED;
	return was_there ? -ENOSPC : op->reason;
}

static int put(struct page_op *op, const void *page)
{
	struct draft draft = { 0 };

	op->reason = -ENOMEM;
	if (op->flags & TMEM_PUT_UNSTABLE) {
		memcpy(op->context->page, page, TMEM_PAGE_SIZE);
		page = op->context->page;
	}
	encode(op, page, &draft);
	while (is_over_cap(op, tm_page_bill(op->pool,
					    tm_state_length(draft.state))) &&
	       tm_evict_own(op->context, op->client))
		;
	if (!reserve(op, &draft)) {
		count(op, TM_COUNT_REFUSED_MEMORY);
		return refuse(op);
	}
	if (!publish(op, &draft)) {
		discard(op, &draft);
		return refuse(op);
	}
	count(op, TM_COUNT_PUTS);
	time_op(op, &op->client->put_ns);
	return op->has_replaced && (op->flags & TMEM_PUT_EXPLAIN) ?
		       TMEM_PUT_REPLACED :
		       TMEM_PUT_STORED;
}

/*
 * It is cold, as a rule; by the time it is looked at, its beginning need not
 * be. A codec reads on at a pace that the processor foresees; a copy does not
 * wait for anything, so what it will read must all be on its way.
 */
static TM_ALWAYS_INLINE void prefetch_page(const void *page, uint32_t flags)
{
	if (flags & TMEM_PUT_UNSTABLE)
		tm_prefetch_read(page, TMEM_PAGE_SIZE);
	else
		tm_prefetch_read(page, 4 * TM_CACHE_LINE);
}

int tm_put(struct tm_client *client, int pool, const struct tmem_oid *oid,
	   uint32_t index, const void *page, uint32_t flags)
{
	struct page_op op;
	int result;

	if (flags & ~(TMEM_PUT_UNSTABLE | TMEM_PUT_EXPLAIN | TMEM_PUT_REPLACE))
		return -EINVAL;
	prefetch_page(page, flags);
	result = begin(&op, client, pool, oid, index);
	if (result)
		return result;
	op.flags = flags;
	result = put(&op, page);
	end(&op);
	return result;
}

/* --- get ------------------------------------------------------------------ */

/* What a get holds on to: a pinned page. */
struct pinned {
	uint32_t number;
	uint32_t object;
	uint64_t state;
	uint64_t place;
	const void *bytes;	/* of DATA; NULL: its place is damaged */
	uint32_t check;
};

static void fill_same(void *page, uint64_t word)
{
	uint8_t *bytes = page;

	for (size_t i = 0; i < TMEM_PAGE_SIZE; i += sizeof(word))
		memcpy(bytes + i, &word, sizeof(word));
}

static int decode_data(struct page_op *op, const struct pinned *pinned,
		       void *page)
{
	uint32_t length = tm_state_length(pinned->state);
	unsigned codec = tm_state_codec(pinned->state);
	const void *bytes = pinned->bytes;

	if (!bytes ||
	    tm_page_check(check_seed(op), op->index, pinned->state,
			  op->store->content_hash(bytes, length)) !=
		    pinned->check)
		return -EBADMSG;
	if (!codec) {
		memcpy(page, bytes, TMEM_PAGE_SIZE);
		return 0;
	}
	return tm_codec_decompress(codec_of(op, codec), bytes, length, page,
				   TMEM_PAGE_SIZE);
}

static int decode_link(struct page_op *op, const struct pinned *pinned,
		       void *page)
{
	uint32_t content = tm_state_content(pinned->state);
	struct pinned shared = *pinned;
	int err;

	shared.place = tm_content_pin(op->store, content);
	shared.bytes = tm_page_bytes(op->store, pinned->state, shared.place);
	err = decode_data(op, &shared, page);
	tm_content_unpin(op->store, content);
	return err;
}

static int decode_same(struct page_op *op, const struct pinned *pinned,
		       void *page)
{
	if (tm_page_check(check_seed(op), op->index, pinned->state,
			  op->store->content_hash(&pinned->place,
						  sizeof(pinned->place))) !=
	    pinned->check)
		return -EBADMSG;
	fill_same(page, pinned->place);
	return 0;
}

/* What a record says is believed only under its seal. */
static bool is_sealed(const struct page_op *op, const struct pinned *pinned)
{
	return tm_state_is_sealed(pinned->state, pinned->object, op->index);
}

static int decode(struct page_op *op, const struct pinned *pinned, void *page)
{
	if (!is_sealed(op, pinned))
		return -EBADMSG;
	switch (tm_state_kind(pinned->state)) {
	case TM_KIND_DATA:
		return decode_data(op, pinned, page);
	case TM_KIND_LINK:
		return decode_link(op, pinned, page);
	default:
		return decode_same(op, pinned, page);
	}
}

static void pin(struct page_op *op, uint32_t number, struct pinned *pinned)
	TM_REQUIRES(op->shard->lock)
{
	struct tm_descriptor *descriptor = tm_descriptor(op->store, number);

	tm_page_pin(op->store, number);
	pinned->number = number;
	pinned->state = atomic_load_explicit(&descriptor->state,
					     memory_order_relaxed);
	pinned->place = atomic_load_explicit(&descriptor->place,
					     memory_order_relaxed);
	pinned->check = descriptor->check;
	pinned->object = descriptor->object;
	pinned->bytes = NULL;
	if (tm_state_kind(pinned->state) != TM_KIND_DATA)
		return;
	/* What is fetched now is there when the lock is released. */
	pinned->bytes = tm_page_bytes(op->store, pinned->state, pinned->place);
	if (pinned->bytes)
		tm_prefetch_read(pinned->bytes, tm_state_length(pinned->state));
}

static void report_corrupt(struct page_op *op)
{
	const struct tm_client_record *record = op->client->record;
	int64_t seen = 1;

	for (uint32_t i = 0; i < op->store->context_count; i++)
		seen += op->client->stripes[i].count[TM_COUNT_CORRUPT];
	count(op, TM_COUNT_CORRUPT);
	/* The first few, then at every power of two. */
	if (seen > 8 && (seen & (seen - 1)))
		return;
	tm_memory_log(&op->store->memory, TMEM_LOG_ERROR,
		      "client %s: page %016llx.%016llx.%016llx/%u failed its "
		      "check and was dropped (%lld so far)",
		      record->name, (unsigned long long)op->oid->word[0],
		      (unsigned long long)op->oid->word[1],
		      (unsigned long long)op->oid->word[2], op->index,
		      (long long)seen);
}

static int get_miss(struct page_op *op)
{
	count(op, TM_COUNT_MISSES);
	return TMEM_GET_MISS;
}

static int get_done(struct page_op *op, int err)
{
	if (err == -EBADMSG)
		report_corrupt(op);
	if (err)
		return err;
	count(op, TM_COUNT_GETS);
	time_op(op, &op->client->get_ns);
	return TMEM_GET_HIT;
}

/* Private ephemeral: drop, then copy: its release waits for the pin. */
static int get_exclusive(struct page_op *op, void *page)
{
	struct tm_slice *slice;
	struct pinned pinned;
	uint32_t number;
	int err;

	tm_lock_acquire(&op->shard->lock);
	number = op->pool->is_dead ? 0 : lookup(op, &slice);
	if (!number) {
		tm_lock_release(&op->shard->lock);
		return get_miss(op);
	}
	pin(op, number, &pinned);
	drop_and_unlock(op, slice, number);
	err = decode(op, &pinned, page);
	tm_page_unpin(op->context, number, pinned.state);
	return get_done(op, err);
}

/* Any other pool: pin and copy. Unless the answer is -ENODATA, the page is
 * still pinned: its number leads to nothing else until it is let go. */
static int get_shared(struct page_op *op, void *page, struct pinned *pinned)
{
	struct tm_slice *slice;
	uint32_t number;

	tm_lock_acquire(&op->shard->lock);
	number = op->pool->is_dead ? 0 : lookup(op, &slice);
	if (!number) {
		tm_lock_release(&op->shard->lock);
		return -ENODATA;
	}
	pin(op, number, pinned);
	if (tm_pool_is_ephemeral(op->pool))
		tm_lru_touch(op->store, number);
	tm_lock_release(&op->shard->lock);
	return decode(op, pinned, page);
}

static int get(struct page_op *op, void *page, uint32_t flags)
{
	bool removes = flags & TMEM_GET_REMOVE, again;
	struct pinned pinned;
	int err;

	if (op->pool->flags == 0)
		return get_exclusive(op, page);
	do {
		err = get_shared(op, page, &pinned);
		if (err == -ENODATA)
			return get_miss(op);
		again = (err || removes) && !drop(op, pinned.number) && !err;
		tm_page_unpin(op->context, pinned.number, pinned.state);
	} while (again);
	return get_done(op, err);
}

int tm_get(struct tm_client *client, int pool, const struct tmem_oid *oid,
	   uint32_t index, void *page, uint32_t flags)
{
	struct page_op op;
	int result;

	if (flags & ~TMEM_GET_REMOVE)
		return -EINVAL;
	result = begin(&op, client, pool, oid, index);
	if (result)
		return result;
	result = get(&op, page, flags);
	end(&op);
	return result;
}

/* --- walking -------------------------------------------------------------- */

/* The lock that is taken by the spot is the op's: clang cannot know. */
int tm_page_read(struct tm_context *context, struct tm_client *client,
		 struct tm_pool *pool, uint32_t number,
		 struct tmem_handle *handle, void *page)
	TM_NO_THREAD_SAFETY_ANALYSIS
{
	struct page_op op = {
		.context = context,
		.store = context->store,
		.client = client,
		.pool = pool,
		.oid = &handle->oid,
	};
	struct pinned pinned;
	struct tm_spot spot;
	int err;

	if (!tm_spot_lock(context, number, &spot))
		return 0;
	if (spot.pool != pool || pool->is_dead) {
		tm_lock_release(&spot.shard->lock);
		return 0;
	}
	handle->oid = spot.oid;
	handle->index = op.index = spot.index;
	op.hash = spot.hash;
	op.shard = spot.shard;
	if (!spot.is_sealed) {
		tm_spot_drop(context, &spot);
		report_corrupt(&op);
		return -EBADMSG;
	}
	pin(&op, number, &pinned);
	tm_lock_release(&spot.shard->lock);
	err = decode(&op, &pinned, page);
	if (err)
		drop(&op, number);
	tm_page_unpin(context, number, pinned.state);
	if (err == -EBADMSG)
		report_corrupt(&op);
	return err ? err : 1;
}

/* --- flush ---------------------------------------------------------------- */

int tm_flush_page(struct tm_client *client, int pool,
		  const struct tmem_oid *oid, uint32_t index)
{
	struct page_op op;
	int result;

	result = begin(&op, client, pool, oid, index);
	if (result)
		return result;
	result = drop(&op, 0);
	if (result)
		count(&op, TM_COUNT_FLUSHES);
	end(&op);
	return result;
}

int tm_flush_object(struct tm_client *client, int pool,
		    const struct tmem_oid *oid)
{
	struct page_op op;
	struct tm_shard *home;
	uint64_t hash;
	uint32_t object;
	int result;

	result = begin(&op, client, pool, oid, 0);
	if (result)
		return result;
	hash = tm_object_hash(op.store, oid);
	home = tm_shard_of(op.pool, hash);
	tm_lock_acquire(&home->table_lock);
	object = op.pool->is_dead ? 0 :
				    tm_object_find(op.context, home, hash, oid);
	if (object)
		tm_object_kill(op.context, op.pool, home, object);
	tm_lock_release(&home->table_lock);
	if (object)
		tm_reap(op.context, 64);
	end(&op);
	return object != 0;
}
