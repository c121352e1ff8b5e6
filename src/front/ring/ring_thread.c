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
 *
 * A page that comes from another processor takes a tenth of the time of a put
 * to arrive, line by line. So its lines are asked for beforehand: those of a put
 * while the request before it is carried out, or at least looked up; those that
 * a get will write, while it decompresses. Where a page is said to be is not
 * believed for that, only kept within the peer's memory.
 *
 * A kernel that saves processors may put both sides on one, and leave them there
 * for seconds. Then each request costs two switches, as much as two more
 * requests. So a thread that has served some in a row from its own processor
 * forbids itself that one for a moment, which moves it to another. If they are
 * together again at once, that one was no better: it stays twice as long.
 * Where a peer runs is its own word; one that lies has, but for the first few, at
 * most one move in APART_ENOUGH rounds of requests.
 */
#include <config.h>

#include <sched.h>
#include <string.h>

#include "channel.h"
#include "prefetch.h"

static void ask_for_page(const struct tm_channel *channel,
			 const struct tm_ring_submission *s)
{
	uint64_t frame = s->op.frame;
	uint32_t command = s->op.command;
	uint8_t *page;

	if (frame >= channel->hello.memory_bytes / TMEM_PAGE_SIZE)
		return;
	page = (uint8_t *)channel->memory_at + frame * TMEM_PAGE_SIZE;
	if (command == TM_RING_PUT_PAGE)
		tm_prefetch_read(page, TMEM_PAGE_SIZE);
	else if (command == TM_RING_GET_PAGE)
		tm_prefetch_write(page, TMEM_PAGE_SIZE);
}

static void take(const struct tm_ring *ring, uint32_t number,
		 struct tm_ring_submission *submission)
{
	uint32_t slot = number & (ring->channel->entries - 1);

	memcpy(submission, &ring->submissions[slot], sizeof(*submission));
	__asm__ volatile("" ::: "memory");
}

/* The next one is there already, unless @is_last. */
static void serve_one(struct tm_ring *ring, bool is_first, bool is_last)
{
	uint32_t slot = ring->done & (ring->channel->entries - 1);
	struct tm_ring_completion *completion = &ring->completions[slot];
	struct tm_ring_submission submission, next;
	int result;

	take(ring, ring->done, &submission);
	if (is_first)
		ask_for_page(ring->channel, &submission);
	if (!is_last) {
		take(ring, ring->done + 1, &next);
		ask_for_page(ring->channel, &next);
	}
	atomic_store_explicit(&completion->flags, 0, memory_order_relaxed);
	completion->sequence = ring->done;
	result = tm_ring_execute(ring, &submission, completion);
	completion->result = result;
	tm_doorbell_ring(&ring->head->completed, ++ring->done,
			 &ring->head->submitted, &ring->patience);
}

static void serve_some(struct tm_ring *ring, uint32_t count)
{
	struct tm_channel *channel = ring->channel;

	for (uint32_t i = 0; i < count; i++) {
		if (atomic_load_explicit(&channel->stop, memory_order_relaxed))
			return;
		serve_one(ring, i == 0, i + 1 == count);
	}
}

/* --- where it runs ---------------------------------------------------------- */

#define TOGETHER_LEAST 16u
#define TOGETHER_MOST 4096u
#define APART_ENOUGH 1024u	/* and what was before is forgotten */

static void leave_processor(void)
{
	int own = sched_getcpu();
	cpu_set_t all, others;

	/* Fails where there are more processors than a set has bits. */
	if (own < 0 || sched_getaffinity(0, sizeof(all), &all))
		return;
	others = all;
	CPU_CLR(own, &others);
	if (!CPU_COUNT(&others))
		return;
	sched_setaffinity(0, sizeof(others), &others);
	sched_setaffinity(0, sizeof(all), &all);
}

/* At each round of requests. */
static void look_where_it_runs(struct tm_ring *ring)
{
	struct tm_company *company = &ring->company;

	if (!tm_doorbell_is_shared(&ring->head->submitted)) {
		company->together = 0;
		if (company->apart < APART_ENOUGH)
			company->apart++;
		else
			company->leave_after = TOGETHER_LEAST;
		return;
	}
	company->apart = 0;
	if (++company->together < company->leave_after)
		return;
	company->together = 0;
	if (company->leave_after < TOGETHER_MOST)
		company->leave_after *= 2;
	leave_processor();
}

/* --- the thread ------------------------------------------------------------- */

static void wait_for_more(struct tm_ring *ring)
{
	struct tm_ring_line *theirs = &ring->head->submitted;
	struct tm_ring_line *mine = &ring->head->completed;

	if (tm_doorbell_spin(theirs, ring->done, &ring->patience))
		return;
	atomic_store_explicit(&mine->wake_at, ring->done + 1,
			      memory_order_relaxed);
	tm_doorbell_sleep_until(theirs, ring->done, mine, &ring->channel->stop);
	tm_patience_learn(&ring->patience);
}

void *tm_ring_serve(void *opaque)
{
	struct tm_ring *ring = opaque;
	struct tm_channel *channel = ring->channel;
	struct tm_ring_server *server = channel->server;

	tm_patience_init(&ring->patience);
	ring->company.leave_after = TOGETHER_LEAST;
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
		if (!waiting) {
			wait_for_more(ring);
			continue;
		}
		look_where_it_runs(ring);
		serve_some(ring, waiting);
	}
	if (atomic_fetch_sub(&channel->threads, 1) == 1)
		tm_ring_server_wake(server);
	return NULL;
}
