/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Compaction: moving objects so that sparse runs become empty ones.
 *
 * An allocator knows which runs are sparse, the store knows who points at
 * what; so the allocator names victims (hints, by the time they are looked
 * at), and each is moved if it is still there:
 *
 *	room in a run that is open already	(else nothing is gained)
 *	lock the shard of the page that owns it
 *	still at this place? not pinned by a reader?
 *	copy, one store to its place, unlock, free the old room
 *
 * The copy is made under the lock, so that the page can neither be freed nor
 * replaced meanwhile; it is a page at most.
 *
 * It rides on operations that freed something, two moves at a time, and runs
 * in the background: nobody has to ask for it.
 */
#include <config.h>

#include <string.h>

#include "store.h"

#define BATCH 64

/* The shard is locked; readers pin under its lock. */
static bool is_movable(const struct tm_spot *spot, uint64_t place)
{
	uint64_t state;

	if (atomic_load_explicit(&spot->descriptor->pins, memory_order_acquire))
		return false;
	state = atomic_load_explicit(&spot->descriptor->state,
				     memory_order_acquire);
	return tm_state_kind(state) == TM_KIND_DATA &&
	       atomic_load_explicit(&spot->descriptor->place,
				    memory_order_relaxed) == place;
}

bool tm_move(struct tm_context *context, uint32_t slot,
	     const struct tmem_victim *victim)
{
	struct tm_store *store = context->store;
	struct tm_allocator *allocator = store->allocators[slot];
	uint64_t from = tm_place_make(slot, victim->handle);
	struct tm_spot spot;
	uint64_t to = 0;
	void *address = NULL;
	uint32_t length;
	bool moved = false;

	/* A look without the lock, so that no room is made for nothing. */
	if (!tm_spot_lock(context, victim->owner, &spot))
		return false;
	moved = is_movable(&spot, from);
	length = tm_state_length(spot.descriptor->state);
	tm_lock_release(&spot.shard->lock);
	if (moved)
		to = tm_allocator_alloc(allocator, length, victim->owner,
					TMEM_ALLOC_MOVE |
						(tm_pool_is_ephemeral(spot.pool) ?
							 TMEM_ALLOC_EPHEMERAL :
							 0),
					&address);
	if (!to)
		return false;
	moved = false;
	if (tm_spot_lock(context, victim->owner, &spot)) {
		const void *bytes = tm_page_bytes(
			store, spot.descriptor->state, from);

		if (is_movable(&spot, from) && bytes &&
		    tm_state_length(spot.descriptor->state) == length) {
			memcpy(address, bytes, length);
			atomic_store_explicit(&spot.descriptor->place,
					      tm_place_make(slot, to),
					      memory_order_release);
			moved = true;
		}
		tm_lock_release(&spot.shard->lock);
	}
	tm_place_free(context, moved ? from : tm_place_make(slot, to));
	if (moved)
		atomic_fetch_add_explicit(&store->moves, 1,
					  memory_order_relaxed);
	return moved;
}

uint32_t tm_compact(struct tm_context *context, uint32_t max)
{
	struct tm_store *store = context->store;
	struct tmem_victim victims[BATCH];
	uint32_t moved = 0;
	uint32_t found = 0;

	if (max > BATCH)
		max = BATCH;
	for (uint32_t slot = 0; slot < TM_ALLOCATORS_MAX && found < max;
	     slot++) {
		uint32_t count;

		if (!store->allocators[slot])
			continue;
		count = tm_allocator_victims(store->allocators[slot], 0,
					     victims, max - found);
		found += count;
		for (uint32_t i = 0; i < count; i++)
			moved += tm_move(context, slot, &victims[i]);
	}
	if (!found)
		atomic_store_explicit(&store->compaction_debt, 0,
				      memory_order_relaxed);
	return moved;
}
