/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The thread of a ring: takes requests in order, has them carried out, and
 * counts them.
 *
 * The peer's counter is read once for each round, and can only be so far
 * ahead of ours as the ring has entries; anything else, and one that went back
 * is among it, ends the connection. A submission is copied once, before it is
 * looked at. Our own count is kept here: what stands in shared memory is told,
 * never read. Each result is told at once, so that a peer with many requests
 * under way goes on while we do.
 */
#include <config.h>

#include <string.h>

#include "channel.h"

static void serve_one(struct tm_ring *ring)
{
	uint32_t slot = ring->done & (ring->channel->entries - 1);
	struct tm_ring_completion *completion = &ring->completions[slot];
	struct tm_ring_submission submission;
	int result;

	memcpy(&submission, &ring->submissions[slot], sizeof(submission));
	__asm__ volatile("" ::: "memory");
	atomic_store_explicit(&completion->flags, 0, memory_order_relaxed);
	completion->sequence = ring->done;
	result = tm_ring_execute(ring, &submission, completion);
	completion->result = result;
	tm_doorbell_ring(&ring->head->completed.count, ++ring->done,
			 &ring->head->submitted.sleeps,
			 &ring->head->submitted.wake_at);
}

static void serve_some(struct tm_ring *ring, uint32_t count)
{
	struct tm_channel *channel = ring->channel;

	while (count-- &&
	       !atomic_load_explicit(&channel->stop, memory_order_relaxed))
		serve_one(ring);
}

static void wait_for_more(struct tm_ring *ring)
{
	_Atomic uint32_t *submitted = &ring->head->submitted.count;

	if (tm_doorbell_spin(submitted, ring->done, &ring->patience))
		return;
	atomic_store_explicit(&ring->head->completed.wake_at, ring->done + 1,
			      memory_order_relaxed);
	tm_doorbell_sleep_until(submitted, ring->done,
				&ring->head->completed.sleeps,
				&ring->channel->stop);
	tm_patience_learn(&ring->patience);
}

void *tm_ring_serve(void *opaque)
{
	struct tm_ring *ring = opaque;
	struct tm_channel *channel = ring->channel;
	struct tm_ring_server *server = channel->server;

	tm_patience_init(&ring->patience);
	while (!atomic_load_explicit(&channel->stop, memory_order_relaxed)) {
		uint32_t waiting =
			atomic_load_explicit(&ring->head->submitted.count,
					     memory_order_acquire) -
			ring->done;

		if (waiting > channel->entries) {
			tm_channel_break(channel,
					 "a ring's counter cannot be");
			break;
		}
		if (waiting)
			serve_some(ring, waiting);
		else
			wait_for_more(ring);
	}
	if (atomic_fetch_sub(&channel->threads, 1) == 1)
		tm_ring_server_wake(server);
	return NULL;
}
