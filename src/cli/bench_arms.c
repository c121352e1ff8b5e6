/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Measuring in turns.
 *
 * The problem: two loops over the same pages, one after the other, differ by
 * what else the machine did meanwhile; and two that follow each other block
 * by block differ because the second finds the pages in the cache. The idea:
 * the arms take turns block by block (256 pages: about a millisecond), but
 * each is at another place of the pages, as far from the others as can be:
 *
 *	at turn t of B blocks, arm k of K works on block (t + k B / K) mod B
 *
 * So every arm goes over all pages in the same order, all of them from cold
 * memory, and who begins a turn rotates. A round is one pass of every arm; a
 * result is the median of the rounds, a ratio the median of the rounds' ratios.
 *
 * The clock is the thread's own: what somebody else does with the processor
 * meanwhile does not count. Nor would waiting; a single thread has nobody to
 * wait for but the store's own background thread.
 *
 * Bound: with fewer pages than the caches hold nothing is cold.
 */
#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench.h"
#include "clock.h"

/* Rounds that follow the second are left out once this much time has gone. */
#define ENOUGH_NS (UINT64_C(12) * 1000000000)
#define ROUNDS_MIN 2

uint64_t tm_bench_now_ns(void)
{
	return tm_clock_now_ns(tm_clock_system());
}

uint64_t tm_bench_cpu_ns(void)
{
	struct timespec now = { 0, 0 };

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static int compare_doubles(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* Sorts @values. */
double tm_bench_median(double *values, uint32_t count)
{
	if (!count)
		return 0;
	qsort(values, count, sizeof(*values), compare_doubles);
	return (values[(count - 1) / 2] + values[count / 2]) / 2;
}

uint64_t tm_bench_random(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

/* --- what can be an arm --------------------------------------------------- */

void tm_bench_raw_compress_block(struct tm_bench_lane *lane, uint32_t first,
				 uint32_t count)
{
	for (uint32_t i = first; i < first + count; i++)
		tm_bench_raw_compress(&lane->raw,
				      tm_bench_page(lane->pages,
						    lane->order[i]));
}

void tm_bench_raw_decompress_block(struct tm_bench_lane *lane, uint32_t first,
				   uint32_t count)
{
	const struct tm_bench_packed *packed = lane->packed;
	const struct tm_bench_raw *raw = &lane->raw;

	for (uint32_t i = first; i < first + count; i++) {
		uint32_t number = lane->order[i];
		const uint8_t *from = packed->bytes + packed->offset[number];

		if (packed->length[number] == TMEM_PAGE_SIZE)
			memcpy(lane->page, from, TMEM_PAGE_SIZE);
		else if (raw->table->decompress(raw->context, from,
						packed->length[number],
						lane->page, TMEM_PAGE_SIZE, 0))
			lane->error = -EBADMSG;
	}
}

void tm_bench_memcpy_block(struct tm_bench_lane *lane, uint32_t first,
			   uint32_t count)
{
	for (uint32_t i = first; i < first + count; i++) {
		memcpy(lane->page, tm_bench_page(lane->pages, lane->order[i]),
		       TMEM_PAGE_SIZE);
		/* All of them, not only the last. */
		__asm__ volatile("" : : "r"(lane->page) : "memory");
	}
}

static void put_block(struct tm_bench_lane *lane, uint32_t first,
		      uint32_t count, uint32_t flags)
{
	for (uint32_t i = first; i < first + count; i++) {
		uint32_t number = lane->order[i];
		int result = tmem_put(lane->client, lane->pool, tm_bench_oid(),
				      number,
				      tm_bench_page(lane->pages, number),
				      flags);

		if (result < 0 && !lane->error)
			lane->error = result;
		lane->refused += result == TMEM_PUT_REFUSED;
	}
}

void tm_bench_put_block(struct tm_bench_lane *lane, uint32_t first,
			uint32_t count)
{
	put_block(lane, first, count, 0);
}

void tm_bench_put_unstable_block(struct tm_bench_lane *lane, uint32_t first,
				 uint32_t count)
{
	put_block(lane, first, count, TMEM_PUT_UNSTABLE);
}

void tm_bench_get_block(struct tm_bench_lane *lane, uint32_t first,
			uint32_t count)
{
	for (uint32_t i = first; i < first + count; i++) {
		int result = tmem_get(lane->client, lane->pool, tm_bench_oid(),
				      lane->order[i], lane->page, 0);

		if (result < 0 && !lane->error)
			lane->error = result;
		lane->missed += result == TMEM_GET_MISS;
	}
}

/* --- turns ---------------------------------------------------------------- */

static void one_round(struct tm_bench_lane *lane,
		      const struct tm_bench_plan *plan, uint32_t round,
		      uint64_t *ns)
{
	uint32_t blocks = (lane->order_count + TM_BENCH_BLOCK_PAGES - 1) /
			  TM_BENCH_BLOCK_PAGES;

	memset(ns, 0, sizeof(*ns) * plan->arm_count);
	for (uint32_t turn = 0; turn < blocks; turn++) {
		for (uint32_t k = 0; k < plan->arm_count; k++) {
			uint32_t arm = (turn + round + k) % plan->arm_count;
			uint32_t block = (uint32_t)((turn + (uint64_t)arm *
						     blocks / plan->arm_count) %
						    blocks);
			uint32_t first = block * TM_BENCH_BLOCK_PAGES;
			uint32_t count = lane->order_count - first;
			uint64_t begin;

			if (count > TM_BENCH_BLOCK_PAGES)
				count = TM_BENCH_BLOCK_PAGES;
			begin = tm_bench_cpu_ns();
			plan->arms[arm](lane, first, count);
			ns[arm] += tm_bench_cpu_ns() - begin;
		}
	}
}

int tm_bench_arms(struct tm_bench_lane *lane, const struct tm_bench_plan *plan,
		  struct tm_bench_arm *results)
{
	double per_page[TM_BENCH_ARMS_MAX][TM_BENCH_ROUNDS_MAX];
	double ratios[TM_BENCH_ARMS_MAX][TM_BENCH_ROUNDS_MAX];
	uint64_t ns[TM_BENCH_ARMS_MAX];
	uint64_t begin = tm_bench_now_ns();
	uint32_t rounds = 0;

	/* The first pass fills caches and settles the clock rate. */
	one_round(lane, plan, 0, ns);
	while (rounds < plan->rounds && !lane->error &&
	       (rounds < ROUNDS_MIN || tm_bench_now_ns() - begin < ENOUGH_NS)) {
		one_round(lane, plan, rounds, ns);
		for (uint32_t arm = 0; arm < plan->arm_count; arm++) {
			per_page[arm][rounds] =
				(double)ns[arm] / lane->order_count;
			ratios[arm][rounds] = ns[0] ? (double)ns[arm] /
							      (double)ns[0] :
						      0;
		}
		rounds++;
	}
	for (uint32_t arm = 0; arm < plan->arm_count && rounds; arm++) {
		results[arm].ns = tm_bench_median(per_page[arm], rounds);
		results[arm].ratio = tm_bench_median(ratios[arm], rounds);
		results[arm].ratio_min = ratios[arm][0];
		results[arm].ratio_max = ratios[arm][rounds - 1];
	}
	return lane->error;
}
