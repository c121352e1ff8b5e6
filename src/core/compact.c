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
 * It rides on operations that freed something, two moves at a time, when the
 * allocator says that much is to be gained; and runs in the background, to the
 * end, when a storm of frees has passed: nobody has to ask for it.
 */
#include <config.h>

#include <string.h>

#include "store.h"

#define BATCH 64

/* A reader may hold the page; readers pin under the lock that is held here. */
static bool is_movable(const struct tm_descriptor *descriptor, uint64_t place)
{
	uint64_t state;

	if (atomic_load_explicit(&descriptor->pins, memory_order_acquire))
		return false;
	state = atomic_load_explicit(&descriptor->state, memory_order_acquire);
	return tm_state_kind(state) == TM_KIND_DATA &&
	       atomic_load_explicit(&descriptor->place,
				    memory_order_relaxed) == place;
}

static bool move_page(struct tm_context *context, uint32_t number,
		      uint32_t length, uint64_t from, uint64_t to,
		      void *address)
{
	struct tm_spot spot;
	const void *bytes;
	bool moved = false;

	if (!tm_spot_lock(context, number, &spot))
		return false;
	if (spot.is_sealed && is_movable(spot.descriptor, from) &&
	    tm_state_length(spot.descriptor->state) == length) {
		bytes = tm_page_bytes(context->store, spot.descriptor->state,
				      from);
		if (bytes) {
			memcpy(address, bytes, length);
			atomic_store_explicit(&spot.descriptor->place, to,
					      memory_order_release);
			moved = true;
		}
	}
	tm_lock_release(&spot.shard->lock);
	return moved;
}

/* What a look without a lock says: @length bytes, to go into which runs. */
static bool is_worth_moving(struct tm_context *context, uint32_t number,
			    uint64_t from, uint32_t *length, uint32_t *flags)
{
	const struct tm_descriptor *descriptor =
		tm_descriptor(context->store, number);
	uint64_t state = atomic_load(&descriptor->state);
	struct tm_spot spot;
	bool is_ephemeral = false;

	if (tm_state_kind(state) == TM_KIND_DATA) {
		if (!tm_spot_lock(context, number, &spot))
			return false;
		is_ephemeral = tm_pool_is_ephemeral(spot.pool);
		tm_lock_release(&spot.shard->lock);
	} else if (tm_state_kind(state) == TM_KIND_CONTENT) {
		is_ephemeral = tm_content_is_ephemeral(descriptor);
	} else {
		return false;
	}
	*length = tm_state_length(state);
	*flags = TMEM_ALLOC_MOVE | (is_ephemeral ? TMEM_ALLOC_EPHEMERAL : 0);
	return atomic_load(&descriptor->place) == from;
}

bool tm_move(struct tm_context *context, uint32_t slot,
	     const struct tmem_victim *victim)
{
	struct tm_store *store = context->store;
	uint64_t from = tm_place_make(slot, victim->handle);
	uint64_t handle, to;
	void *address = NULL;
	uint32_t length, flags;
	bool moved;

	if (!is_worth_moving(context, victim->owner, from, &length, &flags))
		return false;
	handle = tm_allocator_alloc(store->allocators[slot], length,
				    victim->owner, flags, &address);
	if (!handle)
		return false;
	to = tm_place_make(slot, handle);
	moved = move_page(context, victim->owner, length, from, to, address) ||
		tm_content_move(context, victim->owner, length, from, to,
				address);
	tm_place_free(context, moved ? from : to);
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
	if (!found) {
		atomic_store_explicit(&store->compaction_debt, 0,
				      memory_order_relaxed);
		atomic_store_explicit(&store->compaction_due, false,
				      memory_order_relaxed);
	}
	return moved;
}
