/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a second thread gains, beside what it gains the raw codec.
 *
 * The problem: two processors share caches, memory and often a clock rate, so
 * a store that scales perfectly still does not double; and on a machine with
 * other work a long measurement compares one minute with another. The idea:
 * short windows, one after another: raw calls by one thread, by all; store
 * calls by one, by all. The gains of each four are compared with each other,
 * and the median of the rounds counts. The windows of a round go over the same
 * pages, and the next round over the next: some pages take ten times as long as
 * others.
 *
 * All threads work on one object of one pool, each on pages of its own, dealt
 * out in hands so that all have pages of all sorts.
 */
#include <config.h>

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "cli.h"

/* Pages of each thread in a window: some 60 ms of puts. */
#define WINDOW_PAGES 12288
/* As many as share a part of the index: threads that happen to be in the same
 * part are not what is measured. */
#define HAND_PAGES 4096

enum gate { GATE_SHUT, GATE_OPEN, GATE_CANCELLED };

struct team {
	pthread_mutex_t lock;
	pthread_cond_t gate_moved;
	enum gate gate;			/* guarded by lock */
	double rate;			/* likewise: pages/s of all */
	tm_bench_block_fn *block;	/* set before the threads start */
};

struct member {
	struct tm_bench_lane lane;
	struct team *team;
	uint32_t *order;		/* the lane's */
	uint32_t at;			/* where the round begins in it */
	pthread_t thread;
};

static enum gate wait_at_gate(struct team *team)
{
	enum gate gate;

	pthread_mutex_lock(&team->lock);
	while (team->gate == GATE_SHUT)
		pthread_cond_wait(&team->gate_moved, &team->lock);
	gate = team->gate;
	pthread_mutex_unlock(&team->lock);
	return gate;
}

static void move_gate(struct team *team, enum gate gate)
{
	pthread_mutex_lock(&team->lock);
	team->gate = gate;
	pthread_cond_broadcast(&team->gate_moved);
	pthread_mutex_unlock(&team->lock);
}

static uint32_t window_pages(const struct member *m)
{
	uint32_t left = m->lane.order_count - m->at;

	return left < WINDOW_PAGES ? left : WINDOW_PAGES;
}

static void work(struct member *m)
{
	uint64_t begin = tm_bench_now_ns(), end;
	uint32_t pages = window_pages(m);

	m->team->block(&m->lane, m->at, pages);
	end = tm_bench_now_ns();
	pthread_mutex_lock(&m->team->lock);
	m->team->rate += (double)pages * 1e9 / (double)(end - begin);
	pthread_mutex_unlock(&m->team->lock);
}

static void *work_in_thread(void *opaque)
{
	struct member *m = opaque;

	if (wait_at_gate(m->team) == GATE_OPEN)
		work(m);
	return NULL;
}

/* Pages per second of @count members; 0 when threads cannot be had. */
static double window(struct member *members, uint32_t count,
		     tm_bench_block_fn *block)
{
	struct team *team = members[0].team;
	uint32_t started = 1;

	team->block = block;
	team->rate = 0;
	team->gate = GATE_SHUT;
	while (started < count &&
	       !pthread_create(&members[started].thread, NULL, work_in_thread,
			       &members[started]))
		started++;
	move_gate(team, started == count ? GATE_OPEN : GATE_CANCELLED);
	if (started == count)
		work(&members[0]);
	for (uint32_t i = 1; i < started; i++)
		pthread_join(members[i].thread, NULL);
	return started == count ? team->rate : 0;
}

static void go_on(struct member *m)
{
	m->at += window_pages(m);
	/* Not a rest too short to be measured. */
	if (m->lane.order_count - m->at < WINDOW_PAGES)
		m->at = 0;
}

static int measure_gain(struct member *members, const struct tm_bench *bench,
			tm_bench_block_fn *raw, tm_bench_block_fn *store,
			struct tm_bench_gain *gain)
{
	double gains[4][TM_BENCH_ROUNDS_MAX];
	uint32_t threads = bench->threads;

	for (uint32_t i = 0; i < bench->rounds; i++) {
		/* Every other round backwards, should something drift. */
		tm_bench_block_fn *first = i & 1 ? store : raw;
		tm_bench_block_fn *second = i & 1 ? raw : store;
		double one[2], all[2];

		one[i & 1] = window(members, 1, first);
		all[i & 1] = window(members, threads, first);
		all[!(i & 1)] = window(members, threads, second);
		one[!(i & 1)] = window(members, 1, second);
		if (one[0] <= 0 || one[1] <= 0 || all[0] <= 0 || all[1] <= 0)
			return -EAGAIN;
		for (uint32_t k = 0; k < threads; k++)
			go_on(&members[k]);
		gains[0][i] = all[0] / one[0];
		gains[1][i] = all[1] / one[1];
		gains[2][i] = gains[1][i] / gains[0][i];
		gains[3][i] = all[1];
	}
	gain->raw = tm_bench_median(gains[0], bench->rounds);
	gain->store = tm_bench_median(gains[1], bench->rounds);
	gain->ratio = tm_bench_median(gains[2], bench->rounds);
	gain->ratio_min = gains[2][0];
	gain->ratio_max = gains[2][bench->rounds - 1];
	gain->ops_per_s = tm_bench_median(gains[3], bench->rounds);
	return 0;
}

/* Every @count-th hand of the lane's pages, from the @number-th on; of few
 * pages one hand each. */
static int deal(struct member *m, const struct tm_bench_lane *lane,
		uint32_t number, uint32_t count)
{
	uint32_t hand = lane->order_count / count, dealt = 0;

	if (hand > HAND_PAGES)
		hand = HAND_PAGES;
	m->order = malloc(((size_t)lane->order_count / count + HAND_PAGES) *
			  sizeof(*m->order));
	if (!m->order)
		return -ENOMEM;
	for (uint32_t i = 0; i < lane->order_count; i++)
		if (i / hand % count == number)
			m->order[dealt++] = lane->order[i];
	m->lane.order = m->order;
	m->lane.order_count = dealt;
	return 0;
}

static int make_members(struct member *members, struct team *team,
			const struct tm_bench_lane *lane,
			const struct tm_chosen_codec *codec, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		struct member *m = &members[i];
		int err;

		m->lane = *lane;
		m->team = team;
		err = deal(m, lane, i, count);
		if (!err)
			err = tm_bench_raw_open(&m->lane.raw, codec);
		if (err)
			return err;
		m->lane.page = m->lane.raw.page;
	}
	return 0;
}

int tm_bench_store_threads(struct tm_bench *bench,
			   const struct tm_bench_lane *lane,
			   struct tm_bench_store_result *result)
{
	uint32_t count = bench->threads;
	struct team team = {
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.gate_moved = PTHREAD_COND_INITIALIZER,
	};
	struct member *members;
	int err;

	result->threads = count;
	if (lane->order_count < count)
		return tm_cli_error("bench: fewer pages than threads");
	members = calloc(count, sizeof(*members));
	if (!members)
		return -ENOMEM;
	err = make_members(members, &team, lane, result->codec, count);
	if (!err)
		err = measure_gain(members, bench, tm_bench_raw_compress_block,
				   tm_bench_put_block, &result->put_gain);
	if (!err)
		err = measure_gain(members, bench,
				   tm_bench_raw_decompress_block,
				   tm_bench_get_block, &result->get_gain);
	for (uint32_t i = 0; i < count; i++) {
		if (members[i].lane.error && !err)
			err = members[i].lane.error;
		tm_bench_raw_close(&members[i].lane.raw);
		free(members[i].order);
	}
	free(members);
	return err;
}
