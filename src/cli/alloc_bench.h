/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Measures an allocator alone: density, moves, metadata and time.
 *
 * The problem: the density of a store is decided by its allocator, but a
 * store's bench shows it mixed with everything else, and is slow. The idea:
 * play a store's calls on a list of sizes, with the store's way of moving
 * objects, against frames that exist in name only.
 *
 *	fill		an alloc() for each size
 *	churn		as often as there are objects, times churn_rounds:
 *			a random object is replaced by one of a random size of
 *			the list (the new one is allocated first)
 *	free70		a random 70 % are freed
 *	free70_1s	then victims() are moved until there are none
 *
 * Whenever free() says that moving pays, that many moves are made at once, at
 * most moves_at_once, as the store does. Density is bytes asked for / bytes
 * of frames held. The same seed gives the same calls.
 */
#ifndef TM_ALLOC_BENCH_H
#define TM_ALLOC_BENCH_H

#include <stdint.h>

#include <tmem/allocator.h>

struct tm_alloc_bench_input {
	const struct tmem_allocator *allocator;
	const int64_t *options; /* in table order, or NULL */
	const uint32_t *sizes; /* bytes, 1 to 4096 */
	uint32_t count;
	uint32_t churn_rounds;
	uint32_t moves_at_once;
	uint32_t keep_sizes; /* churn: an object keeps its size */
	uint64_t seed;
};

struct tm_alloc_bench_density {
	double fill;
	double churn;
	double churn_min;
	double free70;
	double free70_1s;
};

struct tm_alloc_bench_result {
	struct tm_alloc_bench_density density;
	double overhead; /* (frames + metadata) / sizes, filled */
	double metadata_per_object; /* bytes, filled */
	double metadata_per_object_churned;
	double frames_per_run; /* filled */
	double slot_waste; /* of slot bytes, filled */
	double slot_waste_churned;
	double moves_per_put;
	double moves_churn;
	double moves_free70;
	double moves_free70_1s;
	double alloc_ns; /* fill */
	double churn_ns; /* one alloc, one free, no moves */
	double free_ns; /* free70 without moves */
	uint64_t refused;
};

/* 0, or -ENOMEM. */
int tm_alloc_bench_run(const struct tm_alloc_bench_input *input,
		       struct tm_alloc_bench_result *result);

#endif
