/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Dedup: identical pages kept once, within a trust domain.
 *
 * The problem: who owns a page that several hold? If the first does, its end
 * is everybody's problem. The idea: nobody. The first sharing makes an unowned
 * *content* descriptor, which takes over the place of the stored bytes; every
 * holder, the first one too, is a LINK to it: one store to its state word.
 *
 *	content.index == live LINKs to it		(recounted at reopening)
 *	content.object == the complement of that
 *	allocator's owner of the bytes == the content	(so compaction finds it)
 *
 * Pages are compared after compression: equal stored bytes of one codec are
 * equal pages, the hash is needed for the page's check anyway, and comparing is
 * a memcmp of what is already small. It is always made; the hash only finds
 * candidates. It is keyed with the arena's secret, the trust domain and the
 * kind of pool, so that nobody can aim, and nobody meets a stranger.
 *
 * A candidate is either a content or a page that nobody shares yet, and stands
 * in a trie by hash. A page that a reader has pinned is left alone.
 *
 * What it costs: a side channel. Who can time puts can learn whether a page
 * like his is there. Hence off unless asked for, and domains.
 *
 * Locks: a group's lock (TM_RANK_DEDUP, inside a shard's) guards its trie, and
 * of the contents found through it the link count, pins and place. A content
 * itself says which group's it is: compaction has no more than a number, which
 * may be another descriptor's by then.
 *
 * A content's record lies in the arena, where a bit may flip. So which entry it
 * has stands beside it, as a page's does, and is what its end goes by; and a
 * count that its complement does not confirm is nobody's last link: the room is
 * lost until the store is reopened, and nobody's bytes are.
 */
#include <config.h>

#include <string.h>

#include "store.h"

/* Candidates of one hash that are compared. */
#define CANDIDATES_MAX 4

static struct tm_leaves leaves_of(const struct tm_store *store)
{
	return (struct tm_leaves){ store->content_table.base,
				   sizeof(struct tm_content) };
}

static struct tm_content *entry_at(const struct tm_store *store,
				   uint32_t number)
{
	return tm_table_at(&store->content_table, number);
}

static struct tm_dedup_group *group_of_hash(struct tm_store *store,
					    uint64_t hash)
{
	return &store->dedup_groups[hash >> 60];
}

/* A content's check word: bit 0 is it of ephemeral pools, and from bit 1 its
 * group. Recovery leaves bit 0; a content without an entry is the first one's. */
static uint32_t content_word(bool is_ephemeral, uint64_t hash)
{
	return (uint32_t)(hash >> 60) << 1 | is_ephemeral;
}

static struct tm_dedup_group *group_of(struct tm_store *store,
				       const struct tm_descriptor *content)
{
	uint32_t word = __atomic_load_n(&content->check, __ATOMIC_RELAXED);

	/* Of a page it may be anything. */
	return &store->dedup_groups[word >> 1 & (TM_DEDUP_GROUPS - 1)];
}

static uint32_t entry_of(const struct tm_store *store, uint32_t number)
{
	return store->flags & TMEM_STORE_DEDUP ?
		       *tm_candidate_entry(store, number) :
		       0;
}

/* The same, whatever the record says: for who keeps the content where it is. */
static struct tm_dedup_group *home_of(struct tm_store *store, uint32_t number)
{
	uint32_t entry = entry_of(store, number);

	return entry ? group_of_hash(store, entry_at(store, entry)->leaf.hash) :
		       &store->dedup_groups[0];
}

bool tm_dedup_wants(const struct tm_store *store, const struct tm_pool *pool)
{
	return (store->flags & TMEM_STORE_DEDUP) &&
	       (tm_pool_is_ephemeral(pool) ||
		(store->flags & TMEM_STORE_DEDUP_PERSISTENT));
}

uint64_t tm_dedup_key(const struct tm_store *store,
		      const struct tm_client *client,
		      const struct tm_pool *pool, uint64_t state,
		      uint64_t content_hash)
{
	uint32_t domain = client->trust_domain;
	struct tmem_oid key = { {
		content_hash,
		domain ? domain : (uint64_t)client->slot << 32,
		(uint64_t)tm_pool_is_ephemeral(pool) << 32 |
			tm_state_codec(state) << 16 | tm_state_length(state),
	} };

	return tm_slice_hash(store, &key, UINT32_MAX);
}

static bool has_bytes(const struct tm_store *store,
		      const struct tm_descriptor *descriptor, uint64_t state,
		      const void *bytes)
{
	uint32_t length = tm_state_length(state);
	const void *stored;

	if (tm_state_codec(descriptor->state) != tm_state_codec(state) ||
	    tm_state_length(descriptor->state) != length)
		return false;
	stored = tm_page_bytes(store, descriptor->state, descriptor->place);
	return stored && !memcmp(stored, bytes, length);
}

/* --- the trie --------------------------------------------------------------*/

static void enter(struct tm_context *context, struct tm_dedup_group *group,
		  uint64_t key, uint32_t number) TM_REQUIRES(group->lock)
{
	struct tm_store *store = context->store;
	struct tm_leaves leaves = leaves_of(store);
	uint32_t entry = tm_magazine_pop(&context->contents);

	*entry_at(store, entry) = (struct tm_content){
		.leaf = { .hash = key },
		.descriptor = number,
	};
	tm_trie_insert(&context->nodes, &group->entries, &leaves, entry);
	*tm_candidate_entry(store, number) = entry;
}

static void leave(struct tm_context *context, struct tm_dedup_group *group,
		  uint32_t entry) TM_REQUIRES(group->lock)
{
	struct tm_leaves leaves = leaves_of(context->store);

	tm_trie_remove(&context->nodes, &group->entries, &leaves, entry);
	tm_magazine_push(&context->contents, entry);
}

void tm_dedup_enter(struct tm_context *context, uint32_t number, uint64_t key)
{
	struct tm_store *store = context->store;
	struct tm_dedup_group *group = group_of_hash(store, key);
	struct tm_leaves leaves = leaves_of(store);
	uint32_t count = 0, entry;

	tm_lock_acquire(&group->lock);
	for (entry = tm_trie_find(&context->nodes, group->entries, key,
				  &leaves);
	     entry && count < CANDIDATES_MAX;
	     entry = entry_at(store, entry)->leaf.next)
		count++;
	if (count < CANDIDATES_MAX)
		enter(context, group, key, number);
	tm_lock_release(&group->lock);
}

void tm_dedup_forget(struct tm_context *context, uint32_t number)
{
	struct tm_store *store = context->store;
	struct tm_dedup_group *group;
	uint32_t entry;

	/* The shard is locked, so nobody else turns this page into a link. */
	entry = entry_of(store, number);
	if (!entry)
		return;
	group = group_of_hash(store, entry_at(store, entry)->leaf.hash);
	tm_lock_acquire(&group->lock);
	leave(context, group, entry);
	*tm_candidate_entry(store, number) = 0;
	tm_lock_release(&group->lock);
}

/* One writer, and readers who took the descriptor for a page, and find out
 * that it is none. */
static void count_link(struct tm_descriptor *content, uint32_t links)
{
	__atomic_store_n(&content->index, content->index + links,
			 __ATOMIC_RELAXED);
	__atomic_store_n(&content->object, content->object - links,
			 __ATOMIC_RELAXED);
}

/* --- sharing ----------------------------------------------------------------*/

/* A content with these bytes gets one more link; else *@page is a page to be
 * looked at, or 0. */
static uint32_t find_content(struct tm_context *context, uint64_t key,
			     uint64_t state, const void *bytes, uint32_t *page)
{
	struct tm_store *store = context->store;
	struct tm_dedup_group *group = group_of_hash(store, key);
	struct tm_leaves leaves = leaves_of(store);
	uint32_t entry, found = 0;

	*page = 0;
	tm_lock_acquire(&group->lock);
	entry = tm_trie_find(&context->nodes, group->entries, key, &leaves);
	for (unsigned n = 0; entry && n < CANDIDATES_MAX; n++) {
		uint32_t number = entry_at(store, entry)->descriptor;
		struct tm_descriptor *candidate = tm_descriptor(store, number);

		if (tm_state_kind(candidate->state) != TM_KIND_CONTENT) {
			*page = number;
		} else if (has_bytes(store, candidate, state, bytes)) {
			count_link(candidate, 1);
			found = number;
			break;
		}
		entry = entry_at(store, entry)->leaf.next;
	}
	tm_lock_release(&group->lock);
	return found;
}

/* The page's bytes become content's; the page a link to it. Both locked. */
static void make_content(struct tm_context *context, struct tm_spot *spot,
			 uint32_t number, uint32_t entry)
	TM_REQUIRES(spot->shard->lock)
{
	struct tm_store *store = context->store;
	struct tm_descriptor *page = spot->descriptor;
	struct tm_descriptor *content = tm_descriptor(store, number);
	uint64_t state = page->state, place = page->place;

	__atomic_store_n(&content->object, ~UINT32_C(1), __ATOMIC_RELAXED);
	__atomic_store_n(&content->index, 1, __ATOMIC_RELAXED);
	__atomic_store_n(&content->check,
			 content_word(tm_pool_is_ephemeral(spot->pool),
				      entry_at(store, entry)->leaf.hash),
			 __ATOMIC_RELAXED);
	content->pins = 0;
	content->place = place;
	atomic_store_explicit(
		&content->state,
		tm_state_seal(tm_state_make(TM_KIND_CONTENT, 0,
					    tm_state_codec(state),
					    tm_state_length(state)),
			      0, 0),
		memory_order_release);
	tm_allocator_set_owner(store->allocators[tm_place_allocator(place)],
			       tm_place_handle(place), number);
	entry_at(store, entry)->descriptor = number;
	*tm_candidate_entry(store, number) = entry;
	*tm_candidate_entry(store, spot->number) = 0;
	atomic_store_explicit(
		&page->state,
		tm_state_seal(tm_state_make(TM_KIND_LINK,
					    tm_state_generation(state),
					    tm_state_codec(state),
					    tm_state_length(state)) |
				      (uint64_t)number << 32,
			      page->object, page->index),
		memory_order_release);
	atomic_store_explicit(&page->place, TM_PLACE_NONE,
			      memory_order_release);
	atomic_fetch_add(&store->contents, 1);
	atomic_fetch_add(&store->content_bytes, tm_state_length(state));
}

/* Turns a page that nobody shares into content, if it has these bytes. */
static uint32_t share_page(struct tm_context *context, uint32_t page,
			   uint64_t key, uint64_t state, const void *bytes)
{
	struct tm_store *store = context->store;
	struct tm_dedup_group *group = group_of_hash(store, key);
	struct tm_spot spot;
	uint32_t entry, number = 0;

	if (!tm_spot_lock(context, page, &spot))
		return 0;
	tm_lock_acquire(&group->lock);
	entry = *tm_candidate_entry(store, page);
	if (entry && spot.is_sealed &&
	    entry_at(store, entry)->leaf.hash == key &&
	    entry_at(store, entry)->descriptor == page &&
	    !atomic_load(&spot.descriptor->pins) &&
	    tm_state_kind(spot.descriptor->state) == TM_KIND_DATA &&
	    has_bytes(store, spot.descriptor, state, bytes)) {
		number = tm_magazine_pop(&context->descriptors);
		tm_page_becomes_link(context, spot.pool, page);
		make_content(context, &spot, number, entry);
		count_link(tm_descriptor(store, number), 1);
	}
	tm_lock_release(&group->lock);
	tm_lock_release(&spot.shard->lock);
	return number;
}

uint32_t tm_dedup_share(struct tm_context *context, uint64_t key,
			uint64_t state, const void *bytes)
{
	uint32_t page;
	uint32_t content = find_content(context, key, state, bytes, &page);

	if (!content && page)
		content = share_page(context, page, key, state, bytes);
	return content;
}

void tm_content_unlink(struct tm_context *context, uint32_t number)
{
	struct tm_store *store = context->store;
	struct tm_descriptor *content = tm_descriptor(store, number);
	struct tm_dedup_group *group;
	uint64_t place = 0;
	bool is_last;

	if (!number || number >= store->descriptor_table.capacity ||
	    tm_state_kind(content->state) != TM_KIND_CONTENT) {
		tm_memory_log(&store->memory, TMEM_LOG_ERROR,
			      "a damaged record: shared pages' room is lost");
		return;
	}
	group = home_of(store, number);
	tm_lock_acquire(&group->lock);
	count_link(content, UINT32_MAX);
	is_last = !content->index && content->object == UINT32_MAX;
	if (is_last) {
		uint32_t entry = entry_of(store, number);

		place = content->place;
		if (entry) {
			leave(context, group, entry);
			*tm_candidate_entry(store, number) = 0;
		}
		atomic_fetch_sub(&store->contents, 1);
		atomic_fetch_sub(&store->content_bytes,
				 tm_state_length(content->state));
		atomic_store_explicit(&content->state, TM_KIND_FREE,
				      memory_order_release);
	}
	tm_lock_release(&group->lock);
	if (!is_last)
		return;
	tm_place_free(context, place);
	tm_magazine_push(&context->descriptors, number);
}

uint64_t tm_content_pin(struct tm_store *store, uint32_t number)
{
	struct tm_descriptor *content = tm_descriptor(store, number);
	struct tm_dedup_group *group = group_of(store, content);
	uint64_t place;

	tm_lock_acquire(&group->lock);
	atomic_fetch_add(&content->pins, 1);
	place = content->place;
	tm_lock_release(&group->lock);
	return place;
}

void tm_content_unpin(struct tm_store *store, uint32_t number)
{
	atomic_fetch_sub(&tm_descriptor(store, number)->pins, 1);
}

bool tm_content_move(struct tm_context *context, uint32_t number,
		     uint32_t length, uint64_t from, uint64_t to,
		     void *address)
{
	struct tm_store *store = context->store;
	struct tm_descriptor *content = tm_descriptor(store, number);
	/* The number may be stale: look at it under the lock it leads to. */
	struct tm_dedup_group *group = group_of(store, content);
	bool moved = false;

	tm_lock_acquire(&group->lock);
	if (tm_state_kind(content->state) == TM_KIND_CONTENT &&
	    tm_state_length(content->state) == length &&
	    group_of(store, content) == group &&
	    home_of(store, number) == group && !atomic_load(&content->pins) &&
	    content->place == from) {
		const void *bytes = tm_page_bytes(store, content->state, from);

		if (bytes) {
			memcpy(address, bytes, length);
			atomic_store_explicit(&content->place, to,
					      memory_order_release);
			moved = true;
		}
	}
	tm_lock_release(&group->lock);
	return moved;
}
