/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The original's headline beside ours, for one codec.
 *
 * Xen's transcendent memory said of its compression: about 10 times the CPU
 * for an operation, about twice the pages in the same memory. So: two stores,
 * one with the codec, one that stores pages as they are, over a sample of the
 * pages,
 *
 * - put and get by turns (bench_arms.c);
 * - each under a small memory limit, filled until a put is refused.
 */
#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "cli.h"

#define SAMPLE_PAGES 4096
#define CAPACITY_MIN_BYTES (UINT64_C(2) << 20)
#define CAPACITY_MAX_BYTES (UINT64_C(32) << 20)
/* Pages of a set that compresses this well are not worth a headline. */
#define COPIES_MAX 64
#define NONE "none"

/* Two lanes whose blocks an arm each works on: the other store's client sits
 * beside the lane. */
struct pair {
	struct tm_bench_lane lane;	/* `none` */
	struct tm_bench_lane other;	/* the codec */
};

static struct tm_bench_lane *other_of(struct tm_bench_lane *lane)
{
	return &((struct pair *)lane)->other;
}

static void other_put_block(struct tm_bench_lane *lane, uint32_t first,
			    uint32_t count)
{
	tm_bench_put_block(other_of(lane), first, count);
}

static void other_get_block(struct tm_bench_lane *lane, uint32_t first,
			    uint32_t count)
{
	tm_bench_get_block(other_of(lane), first, count);
}

static int measure_cpu(struct tm_bench *bench, struct pair *pair,
		       struct tm_bench_history *h)
{
	struct tm_bench_arm put[TM_BENCH_ARMS_MAX], get[TM_BENCH_ARMS_MAX];
	struct tm_bench_plan plan = {
		.arms = { tm_bench_put_block, other_put_block },
		.arm_count = 2,
		.rounds = bench->rounds,
	};
	int err = tm_bench_arms(&pair->lane, &plan, put);

	if (err)
		return err;
	plan.arms[0] = tm_bench_get_block;
	plan.arms[1] = other_get_block;
	err = tm_bench_arms(&pair->lane, &plan, get);
	if (err || pair->other.error)
		return err ? err : pair->other.error;
	h->cpu_none_ns = (put[0].ns + get[0].ns) / 2;
	h->cpu_ns = (put[1].ns + get[1].ns) / 2;
	if (h->cpu_none_ns > 0)
		h->cpu_factor = h->cpu_ns / h->cpu_none_ns;
	return 0;
}

static int open_lane(struct tm_bench_lane *lane, struct tm_bench_store *store,
		     const char *codec, const char *allocator)
{
	uint64_t bytes = (uint64_t)lane->order_count * TMEM_PAGE_SIZE;
	int err = tm_bench_store_open(store, codec, allocator,
				      2 * bytes + (UINT64_C(64) << 20));

	if (err)
		return err;
	lane->client = store->client;
	lane->pool = store->pool;
	tm_bench_put_block(lane, 0, lane->order_count);
	return lane->error;
}

static int run_cpu(struct tm_bench *bench, const char *allocator,
		   const struct tm_bench_lane *lane,
		   struct tm_bench_history *h)
{
	struct tm_bench_store none = { 0 }, coded = { 0 };
	struct pair pair = { .lane = *lane, .other = *lane };
	uint8_t page[2][TMEM_PAGE_SIZE];
	int err;

	pair.lane.page = page[0];
	pair.other.page = page[1];
	err = open_lane(&pair.lane, &none, NONE, allocator);
	if (!err)
		err = open_lane(&pair.other, &coded, h->codec, allocator);
	if (!err)
		err = measure_cpu(bench, &pair, h);
	if (coded.store)
		tm_bench_store_close(&coded);
	if (none.store)
		tm_bench_store_close(&none);
	return err;
}

/* How many pages fit, or 0: all that we would put. */
static int count_pages(const struct tm_bench_lane *lane, const char *codec,
		       const char *allocator, uint64_t memory_bytes,
		       double *pages)
{
	struct tm_bench_store store;
	uint64_t most = (uint64_t)lane->order_count * COPIES_MAX, i;
	int result = TMEM_PUT_STORED;
	int err = tm_bench_store_open(&store, codec, allocator, memory_bytes);

	if (err)
		return err;
	for (i = 0; i < most && result == TMEM_PUT_STORED; i++)
		result = tmem_put(store.client, store.pool, tm_bench_oid(),
				  (uint32_t)i,
				  tm_bench_page(lane->pages,
						lane->order[i %
							    lane->order_count]),
				  0);
	tm_bench_store_close(&store);
	*pages = result == TMEM_PUT_REFUSED ? (double)(i - 1) : 0;
	return result < 0 ? result : 0;
}

static int run_capacity(const char *allocator, const struct tm_bench_lane *lane,
			struct tm_bench_history *h)
{
	uint64_t bytes = (uint64_t)lane->order_count * TMEM_PAGE_SIZE;
	int err;

	if (bytes < CAPACITY_MIN_BYTES)
		bytes = CAPACITY_MIN_BYTES;
	if (bytes > CAPACITY_MAX_BYTES)
		bytes = CAPACITY_MAX_BYTES;
	h->capacity_bytes = (double)bytes;
	err = count_pages(lane, NONE, allocator, bytes, &h->pages_none);
	if (!err)
		err = count_pages(lane, h->codec, allocator, bytes, &h->pages);
	if (!err && h->pages_none > 0)
		h->pages_factor = h->pages / h->pages_none;
	return err;
}

int tm_bench_store_history(struct tm_bench *bench, const char *allocator,
			   struct tm_bench_history *history)
{
	const struct tm_bench_pages *pages = &bench->pages;
	uint32_t count = pages->order_count < SAMPLE_PAGES ?
				 pages->order_count :
				 SAMPLE_PAGES;
	uint32_t *sample = malloc(count * sizeof(*sample));
	struct tm_bench_lane lane = {
		.pages = pages,
		.order = sample,
		.order_count = count,
	};
	int err;

	if (!sample)
		return -ENOMEM;
	for (uint32_t i = 0; i < count; i++)
		sample[i] = pages->order[(uint64_t)i * pages->order_count /
					 count];
	err = run_cpu(bench, allocator, &lane, history);
	if (!err)
		err = run_capacity(allocator, &lane, history);
	free(sample);
	if (err)
		tm_cli_error("bench: %s beside none: %s", history->codec,
			     strerror(-err));
	return err;
}
