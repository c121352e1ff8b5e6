/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How densely a store packs, and what its objects cost.
 *
 *	density = compressed bytes alive / bytes of frames held
 *
 * measured after filling, after every page was overwritten four times in
 * random order with random pages of the set, right after a random 70 % of
 * them were flushed, and a second later, in which nobody calls anything.
 */
#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench.h"
#include "cli.h"

#define CHURN_PASSES 4
#define FREED_PCT 70
#define OBJECTS_MAX 65536
#define SEED 1

static double density(struct tm_bench_store *store, uint64_t *moves)
{
	struct tmem_store_stats stats;

	tm_bench_store_stats(store, &stats);
	*moves = stats.moves;
	return stats.arena_bytes ? (double)stats.counts.compressed_bytes /
					   (double)stats.arena_bytes :
				   0;
}

static void shuffle(uint32_t *numbers, uint32_t count, uint64_t *random)
{
	for (uint32_t i = count; i > 1; i--) {
		uint32_t j = (uint32_t)(tm_bench_random(random) % i);
		uint32_t number = numbers[i - 1];

		numbers[i - 1] = numbers[j];
		numbers[j] = number;
	}
}

static int churn(const struct tm_bench_pages *pages,
		 struct tm_bench_store *store, uint32_t *numbers,
		 uint64_t *random)
{
	for (uint32_t pass = 0; pass < CHURN_PASSES; pass++) {
		shuffle(numbers, pages->count, random);
		for (uint32_t i = 0; i < pages->count; i++) {
			uint32_t from = (uint32_t)(tm_bench_random(random) %
						   pages->count);
			int result = tmem_put(store->client, store->pool,
					      tm_bench_oid(), numbers[i],
					      tm_bench_page(pages, from), 0);

			if (result < 0)
				return result;
		}
	}
	return 0;
}

static void flush_some(const struct tm_bench_pages *pages,
		       struct tm_bench_store *store, const uint32_t *numbers)
{
	uint64_t count = (uint64_t)pages->count * FREED_PCT / 100;

	for (uint64_t i = 0; i < count; i++)
		tmem_flush_page(store->client, store->pool, tm_bench_oid(),
				numbers[i]);
}

int tm_bench_store_density(struct tm_bench *bench, struct tm_bench_store *store,
			   struct tm_bench_density *result)
{
	const struct timespec second = { .tv_sec = 1 };
	const struct tm_bench_pages *pages = &bench->pages;
	uint32_t *numbers = malloc(pages->count * sizeof(*numbers));
	uint64_t random = SEED, before, after;
	int err;

	if (!numbers)
		return -ENOMEM;
	for (uint32_t i = 0; i < pages->count; i++)
		numbers[i] = i;
	density(store, &before);
	err = churn(pages, store, numbers, &random);
	if (!err) {
		result->churn = density(store, &after);
		result->moves_per_put = (double)(after - before) /
					((double)pages->count * CHURN_PASSES);
		shuffle(numbers, pages->count, &random);
		flush_some(pages, store, numbers);
		result->free70 = density(store, &before);
		nanosleep(&second, NULL);
		result->free70_1s = density(store, &after);
		result->moves_per_freed =
			(double)(after - before) /
			((double)pages->count * FREED_PCT / 100);
	}
	free(numbers);
	return err;
}

/* --- objects of one page -------------------------------------------------- */

static int put_object(const struct tm_bench_pages *pages,
		      struct tm_bench_store *store, uint64_t *random,
		      uint32_t number)
{
	struct tmem_oid oid;
	uint32_t page = pages->order[number % pages->order_count];

	for (int i = 0; i < 3; i++)
		oid.word[i] = tm_bench_random(random);
	return tmem_put(store->client, store->pool, &oid, 0,
			tm_bench_page(pages, page), 0);
}

int tm_bench_store_small(struct tm_bench *bench,
			 struct tm_bench_store_result *result)
{
	const struct tm_bench_pages *pages = &bench->pages;
	uint32_t count = pages->order_count < OBJECTS_MAX ?
				 pages->order_count :
				 OBJECTS_MAX;
	struct tmem_store_stats before, after;
	struct tm_bench_store store;
	uint64_t random = SEED, bytes = (uint64_t)count * 2 * TMEM_PAGE_SIZE;
	int err = tm_bench_store_open(&store, result->codec->spec,
				      result->allocator,
				      bytes + (UINT64_C(64) << 20));

	if (err)
		return err;
	/* What the first one brings with it is the store's, not an object's. */
	err = put_object(pages, &store, &random, 0);
	tm_bench_store_stats(&store, &before);
	for (uint32_t i = 0; i < count && err == TMEM_PUT_STORED; i++)
		err = put_object(pages, &store, &random, i);
	tm_bench_store_stats(&store, &after);
	if (err == TMEM_PUT_STORED)
		result->one_page_object_bytes =
			((double)after.metadata_bytes -
			 (double)before.metadata_bytes) / count;
	tm_bench_store_close(&store);
	return err < 0 ? err : 0;
}
