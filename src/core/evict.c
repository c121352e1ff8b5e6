/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Making room: what happens when memory is short.
 *
 * The problem: evicting the oldest page frees a hole of some bytes in a run of
 * many, but what is wanted are frames. The idea: after the oldest page of the
 * victim went, the run it lay in is emptied: neighbours that belong to the same
 * client and are at least half as old go too, the others are moved to holes
 * elsewhere. Ephemeral objects have runs of their own and fill them in the
 * order they come, so mostly the neighbours are the next oldest anyway. A page
 * that lies in no run (a same-filled one, or one that is shared) goes without
 * giving a frame, and the next oldest goes as well.
 *
 * Bound: one round looks at one run, and at as many pages in none as a run may
 * have. Persistent pages are never touched.
 *
 * Locks: none on entry; a shard's for each page dropped or moved. The caller's
 * context is used, so no codec output in it is disturbed.
 */
#include <config.h>

#include "store.h"

#define NEIGHBOURS_MAX 128
/* Pages freed or moved on behalf of one put, per attempt. */
#define REAP_BATCH 64
#define MOVE_BATCH 32

static uint32_t oldest_of(struct tm_client *client, uint32_t *stamp)
{
	uint32_t number;

	tm_lock_acquire(&client->lru_lock);
	number = client->lru_head;
	if (number)
		*stamp = tm_lru_stamp(client->store, number);
	tm_lock_release(&client->lru_lock);
	return number;
}

/* Drops page @number if it is (still) ephemeral, @client's, and not younger
 * than @stamp. Sets *@place to where its bytes were; 0: it had none, or that is
 * damaged. */
static bool evict_page(struct tm_context *context, struct tm_client *client,
		       uint32_t number, uint32_t stamp, uint64_t *place)
{
	struct tm_store *store = context->store;
	struct tm_spot spot;
	uint64_t state;

	if (!tm_spot_lock(context, number, &spot))
		return false;
	state = spot.descriptor->state;
	if (!tm_pool_is_ephemeral(spot.pool) ||
	    store->lru[number].client != client->slot ||
	    (int32_t)(tm_lru_stamp(store, number) - stamp) > 0) {
		tm_lock_release(&spot.shard->lock);
		return false;
	}
	*place = tm_state_kind(state) == TM_KIND_DATA ? spot.descriptor->place :
							0;
	if (!tm_page_allocator(store, *place))
		*place = 0;
	if (!tm_spot_drop(context, &spot))
		return false;
	tm_client_count(client, context, TM_COUNT_EVICTED, 1);
	return true;
}

static uint32_t empty_run(struct tm_context *context, struct tm_client *client,
			  uint64_t place, uint32_t stamp)
{
	struct tm_store *store = context->store;
	uint32_t slot = tm_place_allocator(place);
	struct tmem_victim victims[NEIGHBOURS_MAX];
	uint32_t now = (uint32_t)tm_clock_coarse_ms(store->clock);
	uint32_t half = stamp + (now - stamp) / 2;
	uint32_t evicted = 0, count;

	count = tm_allocator_victims(store->allocators[slot],
				     tm_place_handle(place), victims,
				     NEIGHBOURS_MAX);
	for (uint32_t i = 0; i < count; i++) {
		uint64_t ignored;

		if (evict_page(context, client, victims[i].owner, half,
			       &ignored))
			evicted++;
		else
			tm_move(context, slot, &victims[i]);
	}
	return evicted;
}

static uint32_t evict_from(struct tm_context *context, struct tm_client *client,
			   bool whole_run)
{
	uint32_t stamp = 0, evicted = 0;
	uint64_t place = 0;

	/* A page that is just going away by itself is not evicted twice. */
	for (int missed = 0; missed < 8;) {
		uint32_t number = oldest_of(client, &stamp);

		if (!number)
			break;
		if (!evict_page(context, client, number, stamp, &place)) {
			/* Or its record is damaged, and it stands in the way. */
			tm_lru_pass_over(client, number);
			missed++;
			continue;
		}
		evicted++;
		if (place && whole_run)
			return evicted +
			       empty_run(context, client, place, stamp);
		if (!whole_run || evicted == NEIGHBOURS_MAX)
			break;
	}
	return evicted;
}

uint32_t tm_evict_round(struct tm_context *context,
			const struct tm_client *client)
{
	struct tm_client *victim = tm_quota_victim(context->store, client);

	return victim ? evict_from(context, victim, true) : 0;
}

bool tm_evict_own(struct tm_context *context, struct tm_client *client)
{
	return evict_from(context, client, false) > 0;
}

/* Since somebody here last looked. */
static bool has_been_reaped(struct tm_context *context)
{
	uint32_t seen = context->reaps_seen;

	context->reaps_seen = context->store->reaps;
	return context->reaps_seen != seen;
}

bool tm_make_room(struct tm_context *context, struct tm_client *client)
{
	struct tm_store *store = context->store;
	uint64_t trimmed;
	bool has_waited;

	/* Idle frames are no use to whoever needs memory for records. When they
	 * are few, the next attempt takes as many again, and more must go. */
	trimmed = tm_arena_trim(&store->arena, store->arena.idle_frames / 2);
	if (trimmed > TMEM_RUN_FRAMES_MAX)
		return true;
	/* What another thread has in hand is free when this one's turn comes;
	 * but whoever flushes without end is no reason not to evict. */
	has_waited = store->has_dead || store->is_reaping;
	if (has_waited && tm_reap(context, REAP_BATCH))
		return true;
	if (store->compaction_debt && tm_compact(context, MOVE_BATCH))
		return true;
	if (tm_evict_round(context, client)) {
		atomic_store(&store->is_short, true);
		tm_worker_wake(store);
		return true;
	}
	/* Who reaped may have come to the end just before it was looked at. */
	return tm_compact(context, MOVE_BATCH) > 0 || trimmed || has_waited ||
	       has_been_reaped(context);
}

/* More than a client or a pool costs, with what their tables grow by. */
#define WAY_BYTES (UINT64_C(32) << 10)

bool tm_make_way(struct tm_store *store)
{
	return tm_store_evict(store, WAY_BYTES) > 0;
}
