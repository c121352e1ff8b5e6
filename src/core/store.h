/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The store's own structures; private to src/core.
 *
 * Glossary.
 * - A *descriptor* is a page's record; a *slice* is 4096 pages of an object; a
 *   *shard* is a share of a pool's slices, with a lock.
 * - An *op context* is what a thread holds while it is inside the store: codec
 *   contexts, a page buffer, numbers kept at hand. There are a few more than
 *   processors; holding one is also how the store knows who is still inside
 *   (see tm_quiesce).
 * - A page is *unlinked* when the index no longer leads to it, *free* when its
 *   descriptor's state word says so, *released* when its bytes and number are
 *   back with allocator and table. In this order.
 *
 * Equations, at any quiet moment (tm_store_check verifies them):
 *
 *	sum of bills of an object's pages + its own  == object.billed_bytes
 *	sum of its objects				== sum of shard.billed_bytes
 *	sum over what a client holds			== client.billed_bytes
 *	live DATA + CONTENT descriptors			== objects of allocators
 *	live LINKs to a content				== its link count
 *	frames of allocators				== arena.used_frames
 *	everything charged				== memory.used_bytes
 *
 * Locks, outermost first (enum tm_rank): store.work_lock > store.control >
 * shard.table > shard.lock > client.lru_lock, dedup group > tables > allocators
 * > arena. Clients, pools, objects, slices and descriptors live in type-stable
 * memory: a stale number may be looked at, and is verified under the lock of
 * the shard it leads to.
 */
#ifndef TM_STORE_H
#define TM_STORE_H

#include <pthread.h>
#include <stdalign.h>
#include <string.h>

#include "arena.h"
#include "clock.h"
#include "core.h"
#include "hash.h"
#include "histogram.h"
#include "index.h"
#include "plug.h"
#include "prefetch.h"

#define TM_SHARDS 16
#define TM_AUTH_MAX 16
/* After so many frees by one context, compaction has another look. */
#define TM_COMPACTION_FREES 1024

/* What a page costs beyond its stored bytes: descriptor, index, allocator's
 * owner word; and for an ephemeral one its place in the LRU list. */
#define TM_PAGE_BILL 48
#define TM_EPHEMERAL_BILL 64
/* What an object costs beyond its pages: record, hash entries, a slice. */
#define TM_OBJECT_BILL 128

/* Volatile half of an object's record. */
struct tm_object {
	struct tm_leaf leaf;
	uint32_t slices;	/* guarded by its home shard's table_lock */
	_Atomic int64_t billed_bytes;
	_Atomic uint16_t is_dead;
	_Atomic uint16_t pool;	/* its slot, whatever the record says */
	uint32_t reap_next;	/* guarded by store.dead_lock */
};
static_assert(sizeof(struct tm_object) == 32 &&
		      TM_POOLS_TOTAL_MAX <= UINT16_MAX,
	      "half a cache line");

struct tm_lru_link {
	uint32_t prev;
	uint32_t next;
	uint32_t stamp;		/* when it was put, in coarse milliseconds */
	uint32_t client;	/* who is billed: a slot number */
};

/* A candidate for sharing, by the keyed hash of its stored bytes. */
struct tm_content {
	struct tm_leaf leaf;
	uint32_t descriptor;
};

#define TM_DEDUP_GROUPS 16
struct tm_dedup_group {
	alignas(TM_CACHE_LINE) struct tm_lock lock;
	uint32_t entries TM_GUARDED_BY(lock);	/* trie */
};

struct tm_shard {
	alignas(TM_CACHE_LINE) struct tm_lock lock;
	uint32_t slices TM_GUARDED_BY(lock);	/* trie */
	uint64_t pages TM_GUARDED_BY(lock);	/* and peeked at: a statistic */
	_Atomic int64_t billed_bytes;

	/* The objects whose home is here. Taken before lock. */
	alignas(TM_CACHE_LINE) struct tm_lock table_lock;
	uint32_t objects TM_GUARDED_BY(table_lock);	/* trie */
	uint64_t object_count TM_GUARDED_BY(table_lock);	/* as pages */
	/* The pool has ended, and what was billed here was credited: changed
	 * with both locks held. */
	_Atomic bool is_settled;
};

struct tm_pool {
	/* set at creation, then constant until the slot is reused */
	struct tm_store *store;
	uint32_t slot;
	uint32_t flags;
	struct tmem_uuid uuid;
	/* guarded by store.control */
	struct tm_client *owner;
	uint32_t members;
	struct tm_pool *reap_next;	/* guarded by store.dead_lock */

	_Atomic bool is_dead;
	_Atomic uint32_t dying_objects;	/* killed, not yet reaped */
	/* Bills of dead objects that were credited to the client at once,
	 * although the reaper has yet to find their pages. */
	_Atomic int64_t credited_bytes;
	struct tm_shard shards[TM_SHARDS];
};

/* Counters of one client, kept apart for each op context: statistics. */
enum tm_count {
	TM_COUNT_PAGES,
	TM_COUNT_SAME,
	TM_COUNT_RAW,
	TM_COUNT_LINKS,
	TM_COUNT_BYTES,
	TM_COUNT_PUTS,
	TM_COUNT_REFUSED_MEMORY,
	TM_COUNT_REFUSED_CAP,
	TM_COUNT_REFUSED_FROZEN,
	TM_COUNT_GETS,
	TM_COUNT_MISSES,
	TM_COUNT_FLUSHES,
	TM_COUNT_DUPLICATES,
	TM_COUNT_EVICTED,
	TM_COUNT_CORRUPT,
	TM_COUNTS
};

/* Its pages are compressed as the store's are. */
#define TM_CODEC_OF_STORE UINT32_MAX

struct tm_log;

struct tm_stripe {
	alignas(TM_CACHE_LINE) _Atomic int64_t count[TM_COUNTS];
};

struct tm_client {
	/* set at creation, then constant until the slot is reused */
	struct tm_store *store;
	uint32_t slot;
	struct tm_client_record *record;

	/* written under store.control, read anywhere */
	_Atomic uint32_t weight;
	_Atomic uint32_t trust_domain;
	_Atomic uint64_t reservation_bytes;
	_Atomic uint64_t cap_bytes;
	_Atomic uint64_t persistent_cap_bytes;	/* not in the record */
	_Atomic bool is_frozen;		/* stays_frozen, or there is a log */
	_Atomic bool stays_frozen;	/* also without one: somebody froze it */
	_Atomic(struct tm_log *) log;	/* not NULL: it migrates */
	_Atomic uint32_t codec;	/* a slot, or TM_CODEC_OF_STORE */
	_Atomic bool is_attached;
	_Atomic bool is_dead;
	_Atomic(struct tm_pool *) pools[TMEM_POOLS_MAX];
	/* guarded by store.control */
	struct tmem_uuid auth[TM_AUTH_MAX];
	uint32_t auth_count;
	uint64_t call;		/* number of the next change of its pools */

	alignas(TM_CACHE_LINE) _Atomic int64_t billed_bytes;
	_Atomic int64_t ephemeral_bytes;	/* of these */

	alignas(TM_CACHE_LINE) struct tm_lock lru_lock;
	uint32_t lru_head TM_GUARDED_BY(lru_lock);	/* oldest */
	uint32_t lru_tail TM_GUARDED_BY(lru_lock);
	/* racy hint for choosing a victim: 0 when the list is empty */
	_Atomic uint32_t lru_oldest_stamp;
	_Atomic uint32_t lru_pages;

	struct tm_histogram put_ns;
	struct tm_histogram get_ns;
	struct tm_stripe stripes[];	/* one for each op context */
};

struct tm_context {
	alignas(TM_CACHE_LINE) _Atomic uint32_t is_busy;
	_Atomic uint32_t leavings;	/* times it was let go */
	uint32_t number;
	uint32_t sample;
	uint32_t reaps_seen;	/* when somebody here last made room */
	bool wants_compaction;	/* a free() said that moving would pay */
	_Atomic uint32_t frees;	/* places freed; wraps */
	struct tm_store *store;
	struct tm_magazine nodes;
	struct tm_magazine slices;
	struct tm_magazine objects;
	struct tm_magazine descriptors;
	struct tm_magazine contents;
	/* changed under control, by tm_contexts_set_codec() */
	_Atomic(struct tm_codec_context *) codec[TM_CODECS_MAX];
	uint8_t *page;		/* TMEM_PAGE_SIZE bytes of scratch */
};

/* A codec in use, by its slot in the superblock. Slots of a reopened arena may
 * share one, and its contexts. */
struct tm_codec_slot {
	struct tm_codec *codec;
	char spec[32];
	bool is_asked_for;	/* new pages have been packed with it */
};

struct tm_store {
	/* set at creation, then constant */
	uint64_t flags;
	const struct tmem_plugins *plugins;
	const struct tm_clock *clock;
	struct tm_memory memory;
	struct tm_arena arena;
	uint64_t hash_seed;
	tm_hash_fn *content_hash;
	struct tmem_frames frames;
	struct tm_table client_table;	/* records */
	struct tm_table pool_table;	/* records; beside: struct tm_pool * */
	struct tm_table object_table;	/* records; beside: struct tm_object */
	struct tm_table descriptor_table;	/* with dedup, beside: its entry */
	struct tm_table content_table;
	struct tm_table slice_table;
	struct tm_table node_table;
	struct tm_leaves slice_leaves;
	struct tm_leaves object_leaves;
	struct tm_lru_link *lru;
	_Atomic uint64_t *lru_touched;	/* bitmap of pages of lru */
	uint32_t context_count;
	struct tm_context *contexts;
	uint32_t *alive;	/* reads 0 in a forked child */

	/* what new pages get: slots */
	_Atomic uint32_t codec;		/* 0: stored as they are */
	_Atomic uint32_t allocator;
	_Atomic uint32_t overhead_pct;	/* of that allocator */
	/* filled under control, before the slot is used; codecs are only looked
	 * at under control */
	struct tm_codec_slot codecs[TM_CODECS_MAX];
	struct tm_allocator *_Atomic allocators[TM_ALLOCATORS_MAX];

	struct tm_lock control;
	_Atomic(struct tm_client *) clients[TM_CLIENTS_MAX + 1];
	_Atomic uint32_t client_high;	/* slots below may be in use */
	_Atomic uint64_t weight_sum;
	_Atomic uint32_t reserved_clients;

	struct tm_lock reap_lock;	/* held by whoever reaps */
	struct tm_lock dead_lock;
	uint32_t dead_objects TM_GUARDED_BY(dead_lock);
	struct tm_pool *dead_pools TM_GUARDED_BY(dead_lock);
	_Atomic uint32_t dead_clients;
	_Atomic bool has_dead;		/* hint: there is something to reap */
	_Atomic bool is_reaping;	/* somebody does: has_dead is cleared */
	_Atomic uint32_t reaps;	/* that have freed something; wraps */

	struct tm_dedup_group dedup_groups[TM_DEDUP_GROUPS];

	/* background work */
	pthread_t worker;
	bool has_worker;
	struct tm_lock work_lock;	/* held by the worker while it works */
	_Atomic uint32_t worker_stop;	/* futex */
	_Atomic uint32_t worker_wake;	/* futex */
	_Atomic uint32_t compaction_debt;	/* hint from free() */
	_Atomic bool compaction_due;	/* much was freed since the last time */
	_Atomic bool is_short;		/* hint: a reservation of frames failed */

	/* racy statistics */
	_Atomic uint64_t moves;
	_Atomic uint64_t objects;
	_Atomic uint64_t contents;
	_Atomic uint64_t content_bytes;
	_Atomic uint64_t recovered_pages;
};

static inline struct tm_descriptor *tm_descriptor(const struct tm_store *store,
						  uint32_t number)
{
	return tm_table_at(&store->descriptor_table, number);
}

static inline struct tm_object_record *
tm_object_record(const struct tm_store *store, uint32_t number)
{
	return tm_table_at(&store->object_table, number);
}

static inline struct tm_object *tm_object(const struct tm_store *store,
					  uint32_t number)
{
	return tm_table_beside(&store->object_table, number);
}

static inline struct tm_slice *tm_slice(const struct tm_store *store,
					uint32_t number)
{
	return tm_table_at(&store->slice_table, number);
}

static inline struct tm_pool *tm_pool_at(const struct tm_store *store,
					 uint32_t slot)
{
	struct tm_pool **at = tm_table_beside(&store->pool_table, slot);

	return __atomic_load_n(at, __ATOMIC_ACQUIRE);
}

/* False in a forked child, where nothing of the store may be touched: the
 * arena is not mapped, and a lock may be held by a thread that is not there. */
static inline bool tm_is_alive(const struct tm_store *store)
{
	return *(volatile uint32_t *)store->alive;
}

static inline bool tm_pool_is_ephemeral(const struct tm_pool *pool)
{
	return !(pool->flags & TMEM_POOL_PERSISTENT);
}

static inline void tm_client_count(struct tm_client *client,
				   const struct tm_context *context,
				   enum tm_count what, int64_t n)
{
	_Atomic int64_t *count =
		&client->stripes[context->number].count[what];

	/* Only the context's holder writes here. */
	if (n)
		atomic_store_explicit(
			count,
			atomic_load_explicit(count, memory_order_relaxed) + n,
			memory_order_relaxed);
}

static inline int64_t tm_page_bill(const struct tm_pool *pool, uint32_t length)
{
	return (int64_t)length + (tm_pool_is_ephemeral(pool) ?
					  TM_EPHEMERAL_BILL :
					  TM_PAGE_BILL);
}

/* --- context.c: being inside the store ------------------------------------ */

int tm_contexts_init(struct tm_store *store);
void tm_contexts_destroy(struct tm_store *store);
/* NULL in a forked child. Waits when more threads are inside than there are
 * contexts. */
struct tm_context *tm_enter(struct tm_store *store);
void tm_leave(struct tm_context *context);
/* The records in stock with contexts that nobody holds go back to their tables;
 * false: there were none. From inside. */
bool tm_contexts_return_stock(struct tm_context *self);
/* Returns when everyone who was inside at the call has left. Not to be called
 * from inside: two who did would wait for each other. */
void tm_quiesce(struct tm_store *store);
/* Gives every context what it needs for @codec, for each bit in @slots; 0 or
 * -ENOMEM. @replaces: what these slots had goes, no other one has it. Then the
 * caller is not inside. */
int tm_contexts_set_codec(struct tm_store *store, uint32_t slots,
			  struct tm_codec *codec, bool replaces);
/* @slot has what @other has. */
void tm_contexts_share_codec(struct tm_store *store, uint32_t slot,
			     uint32_t other);

/* --- page.c: where a page is, and letting go of it ------------------------- */

uint64_t tm_slice_hash(const struct tm_store *store, const struct tmem_oid *oid,
		       uint32_t high);
uint64_t tm_object_hash(const struct tm_store *store,
			const struct tmem_oid *oid);
static inline struct tm_shard *tm_shard_of(struct tm_pool *pool, uint64_t hash)
{
	return &pool->shards[hash >> 60];
}

/* Turns a flipped bit in the record of object @number back, if it is @oid's. */
bool tm_object_restate(const struct tm_store *store, uint32_t number,
		       const struct tmem_oid *oid);
/* Is object @number, live and of that hash, @oid's? The lock by which it was
 * found is held. */
static inline bool tm_object_is(const struct tm_store *store, uint32_t number,
				const struct tmem_oid *oid)
{
	return !memcmp(tm_object_record(store, number)->oid, oid,
		       sizeof(*oid)) ||
	       tm_object_restate(store, number, oid);
}

/* The live slice of (oid, high), or NULL. */
struct tm_slice *tm_slice_find(struct tm_context *context,
			       struct tm_shard *shard, uint64_t hash,
			       const struct tmem_oid *oid, uint32_t high)
	TM_REQUIRES(shard->lock);

/* A page that a number leads to, found without its handle. */
struct tm_spot {
	uint32_t number;
	struct tm_descriptor *descriptor;
	struct tm_pool *pool;
	struct tm_shard *shard;
	struct tmem_oid oid;
	uint64_t hash;
	uint32_t index;
	/* False: its record, or its object's, is damaged, and it may be another
	 * shard's. */
	bool is_sealed;
};

/* Locks the shard that guards descriptor @number and fills @spot; false, with
 * no lock held, when it is not a page of a live object just now. */
bool tm_spot_lock(struct tm_context *context, uint32_t number,
		  struct tm_spot *spot)
	TM_TRY_ACQUIRE(true, spot->shard->lock);

/* NULL: no place of ours has this form; it is damaged. */
struct tm_allocator *tm_page_allocator(const struct tm_store *store,
				       uint64_t place);
/* The bytes of a DATA or CONTENT page, valid while it is pinned or its shard is
 * locked; NULL when its place is damaged. */
const void *tm_page_bytes(const struct tm_store *store, uint64_t state,
			  uint64_t place);
/* @hash is the slice's; @content_hash is store.content_hash() of those bytes. */
uint32_t tm_page_check(uint64_t hash, uint32_t index, uint64_t state,
		       uint64_t content_hash);

/* Enters a page that was published, billed to @client, in accounts and lists, in
 * the stead of @old when that is not 0. */
void tm_page_account(struct tm_context *context, struct tm_pool *pool,
		     struct tm_shard *shard, uint32_t number, uint32_t old,
		     struct tm_client *client) TM_REQUIRES(shard->lock);
/* Takes one that leaves the index out of them. */
void tm_page_unaccount(struct tm_context *context, struct tm_pool *pool,
		       struct tm_shard *shard, uint32_t number)
	TM_REQUIRES(shard->lock);
/* Its bytes are shared from now on; the shard is locked. */
void tm_page_becomes_link(struct tm_context *context, struct tm_pool *pool,
			  uint32_t number);
/* As tm_page_unaccount(), for a page of a dead object whose bills are credited already. */
void tm_page_forget(struct tm_context *context, struct tm_pool *pool,
		    struct tm_shard *shard, uint32_t number)
	TM_REQUIRES(shard->lock);
/* What the index says of a page that is on its way out, before anybody believes
 * its record, which may be damaged. The shard is locked. */
static inline void tm_page_restate(const struct tm_store *store,
				   uint32_t number, uint32_t object,
				   uint32_t index)
{
	struct tm_descriptor *descriptor = tm_descriptor(store, number);

	__atomic_store_n(&descriptor->object, object, __ATOMIC_RELAXED);
	__atomic_store_n(&descriptor->index, index, __ATOMIC_RELAXED);
}
/* Marks it free, under the shard's lock; tm_page_release() is due after.
 * Returns the state it had. */
uint64_t tm_page_mark_free(struct tm_context *context, uint32_t number);
/* Gives bytes and number back, or leaves that to the last reader. No lock
 * held. @state as tm_page_mark_free() returned it. */
void tm_page_release(struct tm_context *context, uint32_t number,
		     uint64_t state);
/* Of a page that the index leads to: its shard is locked. */
void tm_page_pin(struct tm_store *store, uint32_t number);
void tm_page_unpin(struct tm_context *context, uint32_t number, uint64_t state);
/* Gives the bytes at a place back. */
void tm_place_free(struct tm_context *context, uint64_t place);
/* Unlinks, unaccounts, marks free and releases the page at @spot, whose shard
 * is locked, and unlocks it; false: the index does not lead there. */
bool tm_spot_drop(struct tm_context *context, struct tm_spot *spot)
	TM_RELEASE(spot->shard->lock);
/* A slice became empty: takes it, and perhaps its object, away. No lock held. */
void tm_slice_retire(struct tm_context *context, struct tm_pool *pool,
		     uint64_t hash, const struct tmem_oid *oid, uint32_t high);
/* Copies page @number when it is @pool's: 1, or 0 when it is not. When it is
 * damaged it is dropped: -EBADMSG. @handle's pool is not set. (op.c) */
int tm_page_read(struct tm_context *context, struct tm_client *client,
		 struct tm_pool *pool, uint32_t number,
		 struct tmem_handle *handle, void *page);
/* A persistent page leaves the accounts of an owner who migrates. (migrate.c) */
void tm_log_gone(struct tm_context *context, struct tm_pool *pool,
		 uint32_t number);
/* Under store.control. */
void tm_log_end(struct tm_client *client);
/* Nobody is in the store any more. */
void tm_log_discard(struct tm_client *client);
/* What an object itself is billed to its pool's owner. */
static inline int64_t tm_object_bill(const struct tm_pool *pool)
{
	return pool->flags & TMEM_POOL_SHARED ? 0 : TM_OBJECT_BILL;
}

/* What the state word of such a record must be in that state, under that
 * number. */
uint32_t tm_client_word(const struct tm_store *store,
			const struct tm_client_record *record, uint32_t slot,
			enum tm_record_state state);
uint32_t tm_pool_word(const struct tm_store *store,
		      const struct tm_pool_record *record, uint32_t slot,
		      enum tm_record_state state);
uint32_t tm_object_word(const struct tm_store *store,
			const struct tm_object_record *record, uint32_t number,
			enum tm_record_state state);

/* --- object.c --------------------------------------------------------------*/

/* Fills the magazines, so that what follows cannot fail; false: no memory. */
bool tm_context_prepare(struct tm_context *context);
/* The slice of (oid, high), made with its object if need be, or NULL in a dead
 * pool; returns with @shard, which is the hash's, locked. Magazines filled. */
struct tm_slice *tm_slice_open(struct tm_context *context, struct tm_pool *pool,
			       struct tm_shard *shard, uint64_t hash,
			       const struct tmem_oid *oid, uint32_t high)
	TM_ACQUIRE(shard->lock);
/* The object's number, or 0. */
uint32_t tm_object_find(struct tm_context *context, struct tm_shard *home,
			uint64_t hash, const struct tmem_oid *oid)
	TM_REQUIRES(home->table_lock);
void tm_object_enter(struct tm_context *context, struct tm_pool *pool,
		     struct tm_shard *home, uint32_t number, uint64_t hash)
	TM_REQUIRES(home->table_lock);
struct tm_slice *tm_slice_make(struct tm_context *context,
			       struct tm_shard *shard, uint64_t hash,
			       uint32_t object, uint32_t high)
	TM_REQUIRES(shard->lock);
void tm_slice_unmake(struct tm_context *context, struct tm_shard *shard,
		     struct tm_slice *slice) TM_REQUIRES(shard->lock);
/* Takes the object out of its table and queues it for the reaper. */
void tm_object_kill(struct tm_context *context, struct tm_pool *pool,
		    struct tm_shard *home, uint32_t number)
	TM_REQUIRES(home->table_lock);

/* --- lru.c, evict.c, compact.c, reap.c, worker.c --------------------------- */

/* Memory for the link; false: none. */
bool tm_lru_prepare(struct tm_store *store, uint32_t number);
void tm_lru_add(struct tm_store *store, struct tm_client *client,
		uint32_t number);
void tm_lru_remove(struct tm_store *store, uint32_t number);
void tm_lru_touch(struct tm_store *store, uint32_t number);
/* Of a page that may be passed over meanwhile. */
static inline uint32_t tm_lru_stamp(const struct tm_store *store,
				    uint32_t number)
{
	return __atomic_load_n(&store->lru[number].stamp, __ATOMIC_RELAXED);
}
/* The oldest, if it still is, cannot be evicted: becomes the youngest. */
void tm_lru_pass_over(struct tm_client *client, uint32_t number);
/* Whoever gives up memory first, or NULL. */
struct tm_client *tm_quota_victim(struct tm_store *store,
				  const struct tm_client *client);
struct tm_client *tm_lru_client(struct tm_store *store, uint32_t number);

/* Does @client hold less than its reservation? */
bool tm_quota_is_within(const struct tm_client *client);
/* Bytes that other clients' reservations keep from @client. */
uint64_t tm_quota_held_bytes(struct tm_store *store,
			     const struct tm_client *client);
bool tm_quota_admits(struct tm_store *store, const struct tm_client *client);
/* Makes some room on behalf of @client (NULL: the store's); false when nothing
 * could be had. */
bool tm_make_room(struct tm_context *context, struct tm_client *client);
/* Makes memory, not only frames, for a client or a pool; false when there is
 * nothing left to evict. No lock held. */
bool tm_make_way(struct tm_store *store);
#define TM_WAY_ATTEMPTS 8
/* @bytes of reservations, in memory that they may need. */
uint64_t tm_quota_memory_bytes(const struct tm_store *store, uint64_t bytes);
/* Evicts @client's own oldest page; false when it has none. */
bool tm_evict_own(struct tm_context *context, struct tm_client *client);
/* One round of eviction: a page and what shares its run. Pages evicted. */
uint32_t tm_evict_round(struct tm_context *context,
			const struct tm_client *client);

/* Moves up to @max objects; returns how many were moved. */
uint32_t tm_compact(struct tm_context *context, uint32_t max);
/* Moves one object; false when it is pinned, gone, or there is no room. */
bool tm_move(struct tm_context *context, uint32_t allocator,
	     const struct tmem_victim *victim);
/* Frees up to @max dead pages; true when there were any. */
bool tm_reap(struct tm_context *context, uint32_t max);
/* Frees the slots of pools and clients that are reaped, once nobody can be
 * looking at them. Called outside of operations. */
bool tm_reap_slots(struct tm_store *store);
/* Some of both, for whoever made something dead: so slots come back as fast as
 * they are used up, with or without a worker. No lock held. */
void tm_reap_along(struct tm_store *store);
void tm_reap_object(struct tm_store *store, uint32_t number);
void tm_reap_pool(struct tm_store *store, struct tm_pool *pool);

int tm_worker_start(struct tm_store *store);
void tm_worker_stop(struct tm_store *store);
void tm_worker_wake(struct tm_store *store);

/* --- dedup.c ---------------------------------------------------------------- */

static inline uint32_t *tm_candidate_entry(const struct tm_store *store,
					   uint32_t number)
{
	return tm_table_beside(&store->descriptor_table, number);
}

bool tm_dedup_wants(const struct tm_store *store, const struct tm_pool *pool);
uint64_t tm_dedup_key(const struct tm_store *store,
		      const struct tm_client *client,
		      const struct tm_pool *pool, uint64_t state,
		      uint64_t content_hash);
/* A content of these bytes with one link more, for the caller; or 0. Takes a
 * descriptor from the context's magazine, at most. No lock held. */
uint32_t tm_dedup_share(struct tm_context *context, uint64_t key,
			uint64_t state, const void *bytes);
/* Page @number, whose shard is locked, can be shared from now on; no more. */
void tm_dedup_enter(struct tm_context *context, uint32_t number, uint64_t key);
void tm_dedup_forget(struct tm_context *context, uint32_t number);
/* One link less. */
void tm_content_unlink(struct tm_context *context, uint32_t number);
/* The place of its bytes, good until unpinned; the caller's page is a link. */
uint64_t tm_content_pin(struct tm_store *store, uint32_t number);
void tm_content_unpin(struct tm_store *store, uint32_t number);
/* Which runs its bytes belong in. */
static inline bool tm_content_is_ephemeral(const struct tm_descriptor *content)
{
	return __atomic_load_n(&content->check, __ATOMIC_RELAXED) & 1;
}

/* Copies its bytes and switches its place, if that is still @from. */
bool tm_content_move(struct tm_context *context, uint32_t number,
		     uint32_t length, uint64_t from, uint64_t to,
		     void *address);

/* --- setup ----------------------------------------------------------------- */

int tm_codec_slot_open(struct tm_store *store, const char *spec,
		       uint32_t *slot);
int tm_allocator_slot_open(struct tm_store *store, const char *name,
			   uint32_t *slot);
/* What no eviction can get back, in memory. Under store.control. (store.c) */
uint64_t tm_store_needed_bytes(const struct tm_store *store);
/* Opens a codec and writes its slot to @choice, evicting what is ephemeral for
 * its contexts. As tmem_store_set_codec(). (store.c) */
int tm_store_choose_codec(struct tm_store *store, const char *codec,
			  _Atomic uint32_t *choice);
/* What a slot's codec is called, and what packs new pages; control is held.
 * (stats.c) */
void tm_store_name_codec(struct tm_store *store, uint32_t slot,
			 char name[TMEM_PLUGIN_NAME_MAX + 1], int32_t *level);
void tm_store_name_allocator(struct tm_store *store,
			     char name[TMEM_PLUGIN_NAME_MAX + 1]);
/* Does no lower slot have the same codec? False when there is none. */
bool tm_codec_slot_is_first(const struct tm_store *store, uint32_t slot);
/* The plugin that a slot of a reopened arena names; 0 or an error. */
int tm_codec_slot_reopen(struct tm_store *store, uint32_t slot);
int tm_allocator_slot_reopen(struct tm_store *store, uint32_t slot);
void tm_slots_close(struct tm_store *store);
/* Memory for so many billed bytes, at worst, as far as sizes matter. */
uint32_t tm_allocator_overhead_pct(struct tm_store *store, const char *name);
/* Takes the client out of its pool number @id; the last one ends it. Control lock
 * held. 0 or -ENOENT. */
int tm_pool_leave(struct tm_client *client, int id);
struct tm_client *tm_client_make(struct tm_store *store, uint32_t slot);
void tm_client_free(struct tm_client *client);
struct tm_pool *tm_pool_make(struct tm_store *store, uint32_t slot);
int tm_recover(struct tm_store *store);

#endif
