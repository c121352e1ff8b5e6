/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reservations and weights: who may take memory, and who gives it up.
 *
 * A reservation is a guarantee against everybody else. So whoever is beyond
 * his own must leave free what the others have not used of theirs yet:
 *
 *	held(c) = sum over clients d != c of max(0, reservation(d) - billed(d))
 *	c may take frames while active + held(c) * overhead <= limit
 *
 * where active is what is used less idle frames, and overhead what a billed
 * byte costs in frames (rounding, partly filled runs): measured on the pages
 * stored now, and never taken for less than the allocator needs when sizes
 * suit it badly (see overhead.c), and an eighth.
 *
 * The victim of an eviction is whoever is furthest above its weight's share of
 * all ephemeral bytes; without weights, whoever has the oldest page. A client
 * within its reservation is nobody's victim but its own.
 *
 * All numbers are read without locks: a decision taken on numbers that are
 * some operations old is as good.
 */
#include <config.h>

#include "store.h"

/* What a put may take at once: the longest run, and slabs of metadata. */
#define TAKE_BYTES (UINT64_C(16) * TMEM_FRAME_SIZE)
#define SLACK_PCT 12

static uint64_t billed(const struct tm_client *client)
{
	int64_t bytes = atomic_load_explicit(&client->billed_bytes,
					     memory_order_relaxed);

	return bytes > 0 ? (uint64_t)bytes : 0;
}

bool tm_quota_is_within(const struct tm_client *client)
{
	return billed(client) < client->reservation_bytes;
}

static uint64_t active_bytes(const struct tm_store *store)
{
	uint64_t used = atomic_load_explicit(&store->memory.used_bytes,
					     memory_order_relaxed);
	uint64_t idle = atomic_load_explicit(&store->arena.idle_frames,
					     memory_order_relaxed) *
			TMEM_FRAME_SIZE;

	return used > idle ? used - idle : 0;
}

/* @bytes as billed, in bytes of memory. */
uint64_t tm_quota_memory_bytes(const struct tm_store *store, uint64_t bytes)
{
	uint64_t all = 0, frames, measured = 0;
	uint64_t least = (uint64_t)((double)bytes *
				    (store->overhead_pct + SLACK_PCT) / 100);

	for (uint32_t i = 1; i < store->client_high; i++) {
		const struct tm_client *client = store->clients[i];

		if (client)
			all += billed(client);
	}
	frames = store->arena.used_frames * TMEM_FRAME_SIZE;
	/* Of few pages every run is nearly empty: they say nothing. */
	if (all >= (UINT64_C(1) << 20))
		measured = frames > 2 * all ?
				   2 * bytes :
				   (uint64_t)((double)bytes * (double)frames /
					      (double)all);
	return measured > least ? measured : least;
}

uint64_t tm_quota_held_bytes(struct tm_store *store,
			     const struct tm_client *client)
{
	uint64_t held = 0;

	if (!store->reserved_clients ||
	    (client && tm_quota_is_within(client)))
		return 0;
	for (uint32_t i = 1; i < store->client_high; i++) {
		const struct tm_client *other = store->clients[i];

		if (other && other != client && tm_quota_is_within(other))
			held += other->reservation_bytes - billed(other);
	}
	return held ? tm_quota_memory_bytes(store, held) + TAKE_BYTES : 0;
}

bool tm_quota_admits(struct tm_store *store, const struct tm_client *client)
{
	uint64_t held = tm_quota_held_bytes(store, client);

	return !held || active_bytes(store) + TAKE_BYTES + held <=
				store->memory.limit_bytes;
}

/* How far above its share, as a part of all ephemeral bytes. */
static double excess(const struct tm_client *client, double all_bytes,
		     double all_weights)
{
	return (double)client->ephemeral_bytes / all_bytes -
	       (double)client->weight / all_weights;
}

static bool is_older(uint32_t stamp, uint32_t than)
{
	return (int32_t)(stamp - than) < 0;
}

struct tm_client *tm_quota_victim(struct tm_store *store,
				  const struct tm_client *client)
{
	double all_bytes = 1, all_weights = (double)store->weight_sum;
	struct tm_client *victim = NULL;

	/* Each slot is read once: its client may be reaped in between, but goes
	 * on existing until the caller has left. */
	for (uint32_t i = 1; i < store->client_high; i++) {
		const struct tm_client *c = store->clients[i];

		if (c)
			all_bytes += (double)c->ephemeral_bytes;
	}
	for (uint32_t i = 1; i < store->client_high; i++) {
		struct tm_client *c = store->clients[i];

		if (!c || !c->lru_pages ||
		    (c != client && tm_quota_is_within(c)))
			continue;
		if (!victim ||
		    (all_weights > 0 ?
			     excess(c, all_bytes, all_weights) >
				     excess(victim, all_bytes, all_weights) :
			     is_older(c->lru_oldest_stamp,
				      victim->lru_oldest_stamp)))
			victim = c;
	}
	return victim;
}
