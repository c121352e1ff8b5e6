/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reopening: from the records that a dead process left to a running store.
 *
 * The problem: it may have died between any two instructions, and the file may
 * have been damaged since. The idea: nothing but the records counts, in three
 * passes that never trust a number before it was compared with its bounds:
 *
 *	survey	 read only: which codecs and allocators do live pages need? If
 *		 one is missing the arena is left as it is.
 *	link	 clients, persistent pools, objects, then pages, into volatile
 *		 structures. Of two pages of one handle the successor stays.
 *	adopt	 each page's bytes are handed to its allocator, which refuses
 *		 what overlaps.
 *
 * What does not fit is dropped: silently where a dead record above explains it
 * (an ephemeral pool, a flushed object, the older of two generations), else
 * counted and reported as damage. Records are freed bottom up, so that dying
 * here is like dying before.
 *
 * A page's bytes are not read: its check is verified on get.
 *
 * The time that this takes is the time for which clients wait. Linking works
 * on the index, adopting on the allocators, so a second thread adopts what the
 * first one has linked, some thousand pages behind it. Nobody else is in the
 * store yet.
 */
#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "store.h"

/* Pages that one thread hands to the other at a time. */
#define STRETCH_PAGES (1u << 16)

/* From the thread that links to the one that adopts. */
struct pipeline {
	struct recovery *r;
	pthread_mutex_t lock;
	pthread_cond_t moved;
	/* under the lock */
	uint32_t linked_end; /* descriptors below are linked, or dropped */
	/* the adopter's, until it is joined */
	uint64_t refused; /* places that an allocator did not take */
	int err;
	/* the linker's: pages that turned out to have a successor after they
	 * were handed over */
	uint32_t *losers;
	uint32_t loser_count;
};

struct recovery {
	struct tm_store *store;
	struct tm_context *context;
	uint32_t clients_high;
	uint32_t pools_high;
	uint32_t objects_high;
	uint32_t descriptors_high;
	uint64_t codec_pages[64];
	uint64_t allocator_pages[256];
	uint64_t mended;
	uint64_t damaged;
	/* what the survey found */
	bool has_contents;
	bool has_unsound;
	struct pipeline *pipeline; /* NULL: one thread does it all */
	/* Neighbouring descriptors belong to one object, as a rule: what was
	 * found out about the last one's, so that it is not found out anew. */
	uint32_t last_object;
	bool last_survives;
	struct tm_slice *last_slice;
	uint32_t last_high;
};

/* --- survey ----------------------------------------------------------------
 */

/* A word on its own; see tm_state_seal() for the rest of the descriptor. */
static bool state_is_possible(uint64_t state)
{
	uint32_t length = tm_state_length(state);
	unsigned codec = tm_state_codec(state);
	enum tm_kind kind = tm_state_kind(state);

	if (kind != TM_KIND_LINK && tm_state_content(state))
		return false;
	switch (kind) {
	case TM_KIND_DATA:
	case TM_KIND_LINK:
	case TM_KIND_CONTENT:
		return length && length <= TMEM_PAGE_SIZE &&
		       codec < TM_CODECS_MAX &&
		       (codec || length == TMEM_PAGE_SIZE);
	case TM_KIND_SAME:
		return !length && !codec;
	default:
		return false;
	}
}

static bool state_is_sound(const struct tm_descriptor *d)
{
	bool is_content = tm_state_kind(d->state) == TM_KIND_CONTENT;

	return state_is_possible(d->state) &&
	       tm_state_is_sealed(d->state, is_content ? 0 : d->object,
				  is_content ? 0 : d->index);
}

static enum tm_record_state state_of(uint32_t word, uint32_t expected)
{
	if (!word)
		return TM_RECORD_FREE;
	return word == expected ? (enum tm_record_state)(word & 3)
				: TM_RECORD_DAMAGED;
}

static enum tm_record_state client_state(const struct tm_store *store,
					 const void *at, uint32_t slot)
{
	const struct tm_client_record *record = at;
	enum tm_record_state state = record->state & 3;

	return state_of(record->state,
			tm_client_word(store, record, slot, state));
}

static enum tm_record_state pool_state(const struct tm_store *store,
				       const void *at, uint32_t slot)
{
	const struct tm_pool_record *record = at;
	enum tm_record_state state = record->state & 3;

	return state_of(record->state,
			tm_pool_word(store, record, slot, state));
}

static enum tm_record_state object_state(const struct tm_store *store,
					 const void *at, uint32_t number)
{
	const struct tm_object_record *record = at;
	enum tm_record_state state = record->state & 3;

	return state_of(record->state,
			tm_object_word(store, record, number, state));
}

/* Live; or damaged, and so perhaps live once it is mended. */
static bool is_live(enum tm_record_state state, bool perhaps)
{
	return state == TM_RECORD_LIVE ||
	       (perhaps && state == TM_RECORD_DAMAGED);
}

static bool client_is_live(const struct recovery *r, uint32_t slot,
			   bool perhaps)
{
	return is_live(client_state(r->store,
				    tm_table_at(&r->store->client_table, slot),
				    slot),
		       perhaps);
}

static bool pool_is_live(const struct recovery *r, uint32_t slot, bool perhaps)
{
	const struct tm_pool_record *pool;
	enum tm_record_state state;

	if (!slot || slot >= r->pools_high)
		return perhaps;
	pool = tm_table_at(&r->store->pool_table, slot);
	state = pool_state(r->store, pool, slot);
	if (state == TM_RECORD_DAMAGED)
		return perhaps;
	return state == TM_RECORD_LIVE && pool->flags == TMEM_POOL_PERSISTENT &&
	       pool->client && pool->client < r->clients_high &&
	       pool->id < TMEM_POOLS_MAX &&
	       client_is_live(r, pool->client, perhaps);
}

static bool pool_survives(const struct recovery *r, uint32_t slot)
{
	return pool_is_live(r, slot, false);
}

static bool has_place(uint64_t state)
{
	return tm_state_kind(state) == TM_KIND_DATA ||
	       tm_state_kind(state) == TM_KIND_CONTENT;
}

/* A plugin's slot that was never used, or not since the last reopening. */
static bool is_blank(const struct tm_plugin_record *record)
{
	return !record->name[0] && !record->format &&
	       record->state == TM_RECORD_FREE;
}

static bool link_is_sound(const struct recovery *r, uint64_t state);

/* Is it what some put has written? Says nothing of the bytes. */
static bool page_is_sound(const struct recovery *r,
			  const struct tm_descriptor *d)
{
	const struct tm_superblock *super = r->store->arena.super;
	unsigned codec = tm_state_codec(d->state);

	if (!state_is_sound(d))
		return false;
	/* Pages of a slot that names nobody are damaged; pages of one that is
	 * damaged itself are not: then the arena is refused. */
	if (codec && is_blank(&super->codecs[codec]))
		return false;
	if (has_place(d->state) &&
	    (!tm_place_is_sound(d->place) ||
	     is_blank(&super->allocators[tm_place_allocator(d->place)])))
		return false;
	return tm_state_kind(d->state) != TM_KIND_LINK ||
	       link_is_sound(r, d->state);
}

/* Does a link lead to a content of the same form? */
static bool link_is_sound(const struct recovery *r, uint64_t state)
{
	uint32_t number = tm_state_content(state);
	uint64_t content;

	if (!number || number >= r->descriptors_high)
		return false;
	content = tm_descriptor(r->store, number)->state;
	return tm_state_kind(content) == TM_KIND_CONTENT &&
	       page_is_sound(r, tm_descriptor(r->store, number)) &&
	       tm_state_codec(content) == tm_state_codec(state) &&
	       tm_state_length(content) == tm_state_length(state);
}

static bool object_is_live(const struct recovery *r, uint32_t number,
			   bool perhaps)
{
	enum tm_record_state state;

	if (!number || number >= r->objects_high)
		return false;
	state = object_state(r->store, tm_object_record(r->store, number),
			     number);
	if (state == TM_RECORD_DAMAGED)
		return perhaps;
	return state == TM_RECORD_LIVE &&
	       pool_is_live(r, tm_object_record(r->store, number)->pool,
			    perhaps);
}

static bool object_survives(const struct recovery *r, uint32_t number)
{
	return object_is_live(r, number, false);
}

static void survey_pages(struct recovery *r)
{
	uint32_t last_object = 0;
	bool is_live = false;

	for (uint32_t i = 1; i < r->descriptors_high; i++) {
		const struct tm_descriptor *d = tm_descriptor(r->store, i);

		if (!d->state)
			continue;
		if (!page_is_sound(r, d)) {
			r->has_unsound = true;
			continue;
		}
		if (tm_state_kind(d->state) == TM_KIND_CONTENT) {
			r->has_contents = true;
		} else {
			if (d->object != last_object)
				is_live = object_is_live(r, d->object, true);
			last_object = d->object;
			if (!is_live)
				continue;
		}
		r->codec_pages[tm_state_codec(d->state)]++;
		if (has_place(d->state))
			r->allocator_pages[tm_place_allocator(d->place)]++;
	}
}

static int refuse_plugin(struct recovery *r, const char *what,
			 const struct tm_plugin_record *record, uint64_t pages)
{
	tm_memory_log(&r->store->memory, TMEM_LOG_ERROR,
		      "arena: %" PRIu64 " pages need the %s \"%.*s\" (format "
		      "%" PRIu32 "), which is missing; install it or name its "
		      "directory in TMEM_PLUGIN_PATH",
		      pages, what, TMEM_PLUGIN_NAME_MAX, record->name,
		      record->format);
	return -EPROTONOSUPPORT;
}

static int open_plugins(struct recovery *r)
{
	struct tm_superblock *super = r->store->arena.super;

	for (uint32_t i = 1; i < TM_CODECS_MAX; i++)
		if (r->codec_pages[i] && tm_codec_slot_reopen(r->store, i))
			return refuse_plugin(r, "codec", &super->codecs[i],
					     r->codec_pages[i]);
	for (uint32_t i = 0; i < TM_ALLOCATORS_MAX; i++)
		if (r->allocator_pages[i] &&
		    tm_allocator_slot_reopen(r->store, i))
			return refuse_plugin(r, "allocator",
					     &super->allocators[i],
					     r->allocator_pages[i]);
	return 0;
}

static void blank(struct tm_plugin_record *record)
{
	if (is_blank(record))
		return;
	record->state = TM_RECORD_FREE;
	memset(record->name, 0, sizeof(record->name));
	record->format = 0;
}

static void free_unused_slots(struct recovery *r)
{
	struct tm_superblock *super = r->store->arena.super;

	for (uint32_t i = 0; i < TM_CODECS_MAX; i++)
		if (!r->codec_pages[i])
			blank(&super->codecs[i]);
	for (uint32_t i = 0; i < TM_ALLOCATORS_MAX; i++)
		if (!r->allocator_pages[i])
			blank(&super->allocators[i]);
}

/* --- link ------------------------------------------------------------------
 */

/* --- mending --- */

typedef enum tm_record_state state_fn(const struct tm_store *store,
				      const void *record, uint32_t number);

union any_record {
	struct tm_client_record client; /* the largest */
	struct tm_pool_record pool;
	struct tm_object_record object;
	uint8_t byte[sizeof(struct tm_client_record)];
};

/* One bit has flipped somewhere in the record: with that bit turned back its
 * check is right again. So what lies behind a pool or a disk is not lost. Which
 * one it is is tried on a copy: two flipped bits would be one too many for
 * whoever comes after us. */
static bool mend_record(const struct tm_store *store, uint8_t *record,
			size_t size, uint32_t number, state_fn *state)
{
	union any_record copy;

	memcpy(copy.byte, record, size);
	for (size_t i = 0; i < size * 8; i++) {
		copy.byte[i / 8] ^= (uint8_t)(1u << i % 8);
		if (state(store, &copy, number) != TM_RECORD_DAMAGED) {
			record[i / 8] = copy.byte[i / 8];
			return true;
		}
		copy.byte[i / 8] ^= (uint8_t)(1u << i % 8);
	}
	return false;
}

static void mend_table(struct recovery *r, struct tm_table *table,
		       uint32_t high, state_fn *state)
{
	for (uint32_t i = 1; i < high; i++) {
		void *record = tm_table_at(table, i);

		if (state(r->store, record, i) != TM_RECORD_DAMAGED)
			continue;
		if (mend_record(r->store, record, table->element_size, i,
				state))
			r->mended++;
		else
			r->damaged++;
	}
}

/* Half a client is none: whoever brought it will not go on. */
static void end_unfinished(struct recovery *r)
{
	struct tm_store *store = r->store;

	for (uint32_t i = 1; i < r->clients_high; i++) {
		struct tm_client_record *record =
			tm_table_at(&store->client_table, i);

		if (client_state(store, record, i) == TM_RECORD_LIVE &&
		    record->unfinished == TM_CLIENT_UNFINISHED)
			record->state = tm_record_word_dead(record->state);
	}
}

/* From here on the arena is changed. */
static void mend(struct recovery *r)
{
	struct tm_store *store = r->store;

	mend_table(r, &store->client_table, r->clients_high, client_state);
	mend_table(r, &store->pool_table, r->pools_high, pool_state);
	mend_table(r, &store->object_table, r->objects_high, object_state);
	end_unfinished(r);
}

static int link_clients(struct recovery *r)
{
	struct tm_store *store = r->store;

	for (uint32_t i = 1; i < r->clients_high; i++) {
		struct tm_client_record *record =
			tm_table_at(&store->client_table, i);
		struct tm_client *client;

		if (client_state(store, record, i) != TM_RECORD_LIVE)
			continue;
		/* Limits may change, so nothing vouches for them. */
		if (record->reservation_bytes >
			    store->arena.super->memory_max_bytes ||
		    (record->cap_bytes &&
		     record->reservation_bytes > record->cap_bytes)) {
			record->reservation_bytes = 0;
			r->damaged++;
		}
		client = tm_client_make(store, i);
		if (!client)
			return -ENOMEM;
		client->weight = record->weight;
		client->trust_domain = record->trust_domain;
		client->reservation_bytes = record->reservation_bytes;
		client->cap_bytes = record->cap_bytes;
		store->clients[i] = client;
	}
	return 0;
}

static int link_pools(struct recovery *r)
{
	struct tm_store *store = r->store;

	for (uint32_t i = 1; i < r->pools_high; i++) {
		struct tm_pool_record *record =
			tm_table_at(&store->pool_table, i);
		struct tm_client *client;
		struct tm_pool *pool;

		if (!pool_survives(r, i))
			continue;
		client = store->clients[record->client];
		if (client->pools[record->id]) {
			/* Its pages go with it, as those of a dead pool. */
			record->state = tm_record_word_dead(record->state);
			r->damaged++;
			continue;
		}
		pool = tm_pool_make(store, i);
		if (!pool)
			return -ENOMEM;
		pool->flags = record->flags;
		pool->owner = client;
		pool->members = 1;
		client->pools[record->id] = pool;
	}
	return 0;
}

static int link_objects(struct recovery *r)
{
	struct tm_store *store = r->store;

	for (uint32_t i = 1; i < r->objects_high; i++) {
		struct tm_object_record *record = tm_object_record(store, i);
		struct tmem_oid oid;
		struct tm_pool *pool;
		struct tm_shard *home;
		uint64_t hash;
		uint32_t twin;

		if (!object_survives(r, i))
			continue;
		/* Nodes only: records must not be taken before the free ones
		 * are known, or every reopening would make the tables grow. */
		if (!tm_magazine_fill(&r->context->nodes, TM_INSERT_NODES_MAX))
			return -ENOMEM;
		memcpy(&oid, record->oid, sizeof(oid));
		pool = tm_pool_at(store, record->pool);
		hash = tm_object_hash(store, &oid);
		home = tm_shard_of(pool, hash);
		tm_lock_acquire(&home->table_lock);
		twin = tm_object_find(r->context, home, hash, &oid);
		if (twin) {
			/* Which one is the newer nobody can tell, and what was
			 * replaced must not come back. */
			tm_object_kill(r->context, pool, home, twin);
			record->state = tm_record_word_dead(record->state);
			r->damaged += 2;
		} else {
			tm_object_enter(r->context, pool, home, i, hash);
		}
		tm_lock_release(&home->table_lock);
	}
	return 0;
}

/* Does @a follow @b? */
static bool is_successor(uint64_t a, uint64_t b)
{
	return tm_state_generation(a) == ((tm_state_generation(b) + 1) & 3);
}

/* @number has a successor: the page goes, at once or, when its place may be
 * adopted meanwhile, when that is over. */
static int lose(struct recovery *r, uint32_t number)
{
	struct pipeline *pipeline = r->pipeline;
	uint32_t *losers;

	if (!pipeline || number >= pipeline->linked_end) {
		tm_descriptor(r->store, number)->state = 0;
		return 0;
	}
	losers = reallocarray(pipeline->losers, pipeline->loser_count + 1u,
			      sizeof(*losers));
	if (!losers)
		return -ENOMEM;
	pipeline->losers = losers;
	losers[pipeline->loser_count++] = number;
	return 0;
}

static int link_page(struct recovery *r, uint32_t number)
{
	struct tm_store *store = r->store;
	struct tm_context *context = r->context;
	struct tm_descriptor *d = tm_descriptor(store, number);
	struct tm_object_record *record = tm_object_record(store, d->object);
	struct tm_pool *pool = tm_pool_at(store, record->pool);
	uint32_t high = d->index >> TM_SLICE_BITS;
	struct tm_shard *shard;
	struct tm_slice *slice;
	struct tmem_oid oid;
	uint64_t hash;
	uint32_t other;
	int err = 0;

	if (d->object != r->last_object || high != r->last_high)
		r->last_slice = NULL;
	r->last_high = high;
	slice = r->last_slice;
	if (slice) {
		hash = slice->leaf.hash;
	} else {
		memcpy(&oid, record->oid, sizeof(oid));
		hash = tm_slice_hash(store, &oid, high);
	}
	shard = tm_shard_of(pool, hash);
	tm_lock_acquire(&shard->lock);
	if (!slice)
		slice = tm_slice_find(context, shard, hash, &oid, high);
	if (!slice)
		slice = tm_slice_make(context, shard, hash, d->object, high);
	r->last_slice = slice;
	other = tm_slice_lookup(&context->nodes, slice, d->index,
				&store->descriptor_table);
	if (other &&
	    is_successor(tm_descriptor(store, other)->state, d->state)) {
		d->state = 0;
	} else {
		if (other) {
			r->damaged += !is_successor(
				d->state, tm_descriptor(store, other)->state);
			tm_page_unaccount(context, pool, shard, other);
			err = lose(r, other);
		}
		tm_slice_insert(&context->nodes, slice, d->index, number,
				&store->descriptor_table);
		tm_page_account(context, pool, shard, number, 0, pool->owner);
	}
	tm_lock_release(&shard->lock);
	return err;
}

/* Is there a dead record above it that explains why it is garbage? */
static bool is_explained(const struct recovery *r,
			 const struct tm_descriptor *d)
{
	return d->object && d->object < r->objects_high &&
	       tm_object_record(r->store, d->object)->state != TM_RECORD_FREE;
}

/* As object_survives(), of the object that the last page belonged to, too. */
static bool owner_survives(struct recovery *r, uint32_t object)
{
	if (object != r->last_object) {
		r->last_survives = object_survives(r, object);
		r->last_object = object;
		r->last_slice = NULL;
	}
	return r->last_survives;
}

static int link_pages(struct recovery *r, uint32_t begin, uint32_t end)
{
	struct tm_store *store = r->store;

	for (uint32_t i = begin; i < end; i++) {
		struct tm_descriptor *d = tm_descriptor(store, i);
		bool is_sound;

		d->pins = 0;
		if (!d->state)
			continue;
		is_sound = !r->has_unsound || page_is_sound(r, d);
		if (is_sound && tm_state_kind(d->state) == TM_KIND_CONTENT)
			continue;
		if (!tm_magazine_fill(&r->context->nodes,
				      TM_INSERT_NODES_MAX) ||
		    !tm_magazine_fill(&r->context->slices, 1))
			return -ENOMEM;
		if (is_sound && owner_survives(r, d->object)) {
			int err = link_page(r, i);

			if (err)
				return err;
			continue;
		}
		if (!is_sound || !is_explained(r, d))
			r->damaged++;
		d->state = 0;
	}
	return 0;
}

/* What survived says how many links each content has; none: it is garbage. */
static void count_links(struct recovery *r)
{
	struct tm_store *store = r->store;

	for (uint32_t i = 1; i < r->descriptors_high; i++) {
		struct tm_descriptor *d = tm_descriptor(store, i);

		if (tm_state_kind(d->state) != TM_KIND_CONTENT)
			continue;
		d->object = 0;
		d->index = 0;
		d->check = tm_content_is_ephemeral(d);
	}
	for (uint32_t i = 1; i < r->descriptors_high; i++) {
		struct tm_descriptor *d = tm_descriptor(store, i);

		if (tm_state_kind(d->state) != TM_KIND_LINK)
			continue;
		d->place = TM_PLACE_NONE;
		tm_descriptor(store, tm_state_content(d->state))->index++;
	}
	for (uint32_t i = 1; i < r->descriptors_high; i++) {
		struct tm_descriptor *d = tm_descriptor(store, i);

		if (tm_state_kind(d->state) != TM_KIND_CONTENT)
			continue;
		if (!d->index) {
			d->state = 0;
			continue;
		}
		d->object = ~d->index;
		store->contents++;
		store->content_bytes += tm_state_length(d->state);
	}
}

/* --- adopt -----------------------------------------------------------------
 */

/* Its place is somebody else's, or nobody's: the page is lost. */
static void drop_page(struct recovery *r, uint32_t number)
{
	struct tm_descriptor *d = tm_descriptor(r->store, number);
	struct tm_slice *slice;
	struct tm_shard *home;
	struct tm_spot spot;

	r->damaged++;
	if (!tm_spot_lock(r->context, number, &spot))
		return;
	slice = tm_slice_find(r->context, spot.shard, spot.hash, &spot.oid,
			      d->index >> TM_SLICE_BITS);
	tm_page_unaccount(r->context, spot.pool, spot.shard, number);
	tm_slice_remove(&r->context->nodes, slice, d->index);
	d->state = 0;
	tm_lock_release(&spot.shard->lock);
	if (!tm_slice_is_empty(slice))
		return;
	home = tm_shard_of(spot.pool, tm_object_hash(r->store, &spot.oid));
	tm_lock_acquire(&home->table_lock);
	tm_lock_acquire(&spot.shard->lock);
	tm_slice_unmake(r->context, spot.shard, slice);
	tm_lock_release(&spot.shard->lock);
	tm_lock_release(&home->table_lock);
}

/* So are all that link to it. */
static void drop_content(struct recovery *r, uint32_t number)
{
	struct tm_descriptor *content = tm_descriptor(r->store, number);

	for (uint32_t i = 1; i < r->descriptors_high && content->index; i++) {
		uint64_t state = tm_descriptor(r->store, i)->state;

		if (tm_state_kind(state) != TM_KIND_LINK ||
		    tm_state_content(state) != number)
			continue;
		drop_page(r, i);
		content->index--;
	}
	r->store->contents--;
	r->store->content_bytes -= tm_state_length(content->state);
	content->state = 0;
}

static int adopt(struct recovery *r, uint32_t number)
{
	struct tm_descriptor *d = tm_descriptor(r->store, number);

	return tm_allocator_adopt(
		r->store->allocators[tm_place_allocator(d->place)],
		tm_place_handle(d->place), tm_state_length(d->state), number);
}

/* What is refused is told by its place, and dropped when all is linked. */
static int adopt_pages(struct recovery *r, uint32_t begin, uint32_t end,
		       uint64_t *refused)
{
	for (uint32_t i = begin; i < end; i++) {
		struct tm_descriptor *d = tm_descriptor(r->store, i);
		int err;

		if (!has_place(d->state))
			continue;
		err = adopt(r, i);
		if (err == -ENOMEM)
			return err;
		if (err) {
			d->place = TM_PLACE_NONE;
			++*refused;
		}
	}
	return 0;
}

static void drop_refused(struct recovery *r, uint64_t refused)
{
	for (uint32_t i = 1; refused && i < r->descriptors_high; i++) {
		struct tm_descriptor *d = tm_descriptor(r->store, i);

		if (!has_place(d->state) || d->place != TM_PLACE_NONE)
			continue;
		refused--;
		if (tm_state_kind(d->state) == TM_KIND_CONTENT)
			drop_content(r, i);
		else
			drop_page(r, i);
	}
}

/* Everything that was handed over, until all is. */
static void *adopt_behind(void *opaque)
{
	struct pipeline *pipeline = opaque;
	struct recovery *r = pipeline->r;
	uint32_t begin = 1, end;

	while (begin < r->descriptors_high && !pipeline->err) {
		pthread_mutex_lock(&pipeline->lock);
		while (pipeline->linked_end <= begin)
			pthread_cond_wait(&pipeline->moved, &pipeline->lock);
		end = pipeline->linked_end;
		pthread_mutex_unlock(&pipeline->lock);
		pipeline->err = adopt_pages(r, begin, end, &pipeline->refused);
		begin = end;
	}
	return NULL;
}

static void hand_over(struct pipeline *pipeline, uint32_t end)
{
	pthread_mutex_lock(&pipeline->lock);
	pipeline->linked_end = end;
	pthread_cond_signal(&pipeline->moved);
	pthread_mutex_unlock(&pipeline->lock);
}

/* A page that lost and was adopted all the same gives its place back. */
static void drop_losers(struct recovery *r)
{
	struct pipeline *pipeline = r->pipeline;

	for (uint32_t i = 0; i < pipeline->loser_count; i++) {
		struct tm_descriptor *d =
			tm_descriptor(r->store, pipeline->losers[i]);
		bool is_adopted = has_place(d->state) &&
				  d->place != TM_PLACE_NONE;

		if (has_place(d->state) && !is_adopted)
			pipeline->refused--;
		d->state = 0;
		if (is_adopted)
			tm_place_free(r->context, d->place);
	}
	free(pipeline->losers);
}

static bool start_adopter(struct pipeline *pipeline, pthread_t *thread)
{
	sigset_t all, before;
	bool started;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &before);
	started = !pthread_create(thread, NULL, adopt_behind, pipeline);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return started;
}

/* Links and adopts all pages, by one thread. */
static int take_up_alone(struct recovery *r)
{
	uint64_t refused = 0;
	int err;

	err = link_pages(r, 1, r->descriptors_high);
	if (err)
		return err;
	if (r->has_contents)
		count_links(r);
	err = adopt_pages(r, 1, r->descriptors_high, &refused);
	if (!err)
		drop_refused(r, refused);
	return err;
}

static int take_up(struct recovery *r)
{
	struct pipeline pipeline = {
		.r = r,
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.moved = PTHREAD_COND_INITIALIZER,
		.linked_end = 1,
	};
	pthread_t adopter;
	int err = 0;

	/* Whether a content is wanted is known when all links are. */
	if (r->has_contents || r->descriptors_high < 2 * STRETCH_PAGES ||
	    (r->store->flags & TMEM_STORE_NO_THREADS) ||
	    !start_adopter(&pipeline, &adopter))
		return take_up_alone(r);
	r->pipeline = &pipeline;
	for (uint32_t begin = 1; begin < r->descriptors_high;) {
		uint32_t end = r->descriptors_high - begin > STRETCH_PAGES
				       ? begin + STRETCH_PAGES
				       : r->descriptors_high;

		/* On an error too, so that the adopter comes to its end. */
		if (!err)
			err = link_pages(r, begin, end);
		hand_over(&pipeline, end);
		begin = end;
	}
	pthread_join(adopter, NULL);
	drop_losers(r);
	r->pipeline = NULL;
	err = err ? err : pipeline.err;
	if (!err)
		drop_refused(r, pipeline.refused);
	return err;
}

/* --- what is left -----------------------------------------------------------
 */

static void give(struct tm_table *table, uint32_t number)
{
	tm_table_give(table, &number, 1);
}

/* A live object without pages: the process died before its first page was
 * published, or after its last one went. */
static void drop_empty_objects(struct recovery *r)
{
	struct tm_store *store = r->store;

	for (uint32_t i = 1; i < r->objects_high; i++) {
		struct tm_object_record *record = tm_object_record(store, i);
		struct tm_pool *pool;
		struct tm_shard *home;

		if (!object_survives(r, i) || tm_object(store, i)->slices)
			continue;
		pool = tm_pool_at(store, record->pool);
		home = tm_shard_of(pool, tm_object(store, i)->leaf.hash);
		tm_lock_acquire(&home->table_lock);
		tm_object_kill(r->context, pool, home, i);
		tm_lock_release(&home->table_lock);
	}
}

static void free_slots(struct recovery *r)
{
	struct tm_store *store = r->store;

	for (uint32_t i = r->descriptors_high; i-- > 1;) {
		uint64_t state = tm_descriptor(store, i)->state;

		if (!state)
			give(&store->descriptor_table, i);
		else if (tm_state_kind(state) != TM_KIND_CONTENT)
			store->recovered_pages++;
	}
	for (uint32_t i = r->objects_high; i-- > 1;) {
		struct tm_object_record *record = tm_object_record(store, i);

		/* Killed ones are the reaper's to give. */
		if (object_survives(r, i) || tm_object(store, i)->is_dead)
			continue;
		record->state = TM_RECORD_FREE;
		give(&store->object_table, i);
	}
	for (uint32_t i = r->pools_high; i-- > 1;) {
		struct tm_pool_record *record =
			tm_table_at(&store->pool_table, i);

		if (pool_survives(r, i))
			continue;
		record->state = TM_RECORD_FREE;
		give(&store->pool_table, i);
	}
	for (uint32_t i = r->clients_high; i-- > 1;) {
		struct tm_client_record *record =
			tm_table_at(&store->client_table, i);

		if (store->clients[i])
			continue;
		record->state = TM_RECORD_FREE;
		give(&store->client_table, i);
	}
}

static int restore_tables(struct recovery *r)
{
	struct tm_store *store = r->store;
	int err;

	err = tm_table_restore(&store->client_table, &r->clients_high);
	if (!err)
		err = tm_table_restore(&store->pool_table, &r->pools_high);
	if (!err)
		err = tm_table_restore(&store->object_table, &r->objects_high);
	if (!err)
		err = tm_table_restore(&store->descriptor_table,
				       &r->descriptors_high);
	if (err == -EBADMSG)
		tm_memory_log(&store->memory, TMEM_LOG_ERROR,
			      "arena: a table's length is damaged; it was left "
			      "as it is");
	else if (err)
		tm_memory_log(&store->memory, TMEM_LOG_ERROR,
			      "arena: its file system has no room for its "
			      "tables: %s",
			      strerror(-err));
	return err;
}

static uint64_t in_pages(uint64_t count, size_t size)
{
	uint64_t mask = TMEM_PAGE_SIZE - 1;

	return (count * size + mask) & ~mask;
}

/* File space of all that is not a frame, if no table grew as the process died.
 */
static uint64_t records_bytes(const struct recovery *r)
{
	return in_pages(1, sizeof(struct tm_superblock)) +
	       in_pages(r->clients_high, sizeof(struct tm_client_record)) +
	       in_pages(r->pools_high, sizeof(struct tm_pool_record)) +
	       in_pages(r->objects_high, sizeof(struct tm_object_record)) +
	       in_pages(r->descriptors_high, sizeof(struct tm_descriptor));
}

static int recover(struct recovery *r)
{
	int err;

	err = restore_tables(r);
	if (err)
		return err;
	survey_pages(r);
	err = open_plugins(r);
	if (err)
		return err;
	mend(r);
	err = link_clients(r);
	if (!err)
		err = link_pools(r);
	if (!err)
		err = link_objects(r);
	if (!err)
		err = take_up(r);
	if (err)
		return err;
	/* Only now: pages that died with their pool still named them. */
	free_unused_slots(r);
	drop_empty_objects(r);
	free_slots(r);
	tm_arena_forget_unclaimed(&r->store->arena);
	return tm_arena_fill_holes(&r->store->arena, records_bytes(r));
}

int tm_recover(struct tm_store *store)
{
	struct recovery r = { .store = store };
	uint64_t limit = store->memory.limit_bytes;
	int err;

	r.context = tm_enter(store);
	/* What is there must be taken up, whatever the limit is now. */
	store->memory.limit_bytes = UINT64_MAX / 2;
	err = recover(&r);
	store->memory.limit_bytes = limit;
	tm_leave(r.context);
	if (r.mended)
		tm_memory_log(&store->memory, TMEM_LOG_WARNING,
			      "arena: %" PRIu64 " records had one flipped bit "
			      "each, which was turned back",
			      r.mended);
	if (r.damaged)
		tm_memory_log(&store->memory, TMEM_LOG_ERROR,
			      "arena: %" PRIu64 " damaged records were dropped",
			      r.damaged);
	return err;
}
