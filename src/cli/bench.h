/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * `tmem bench`: every figure beside its raw baseline, from one run.
 *
 * The problem: a machine that others use too gives another number every
 * minute, and a number alone says nothing about a store, only about its
 * processor. The idea: whatever is measured is measured in turns with what it
 * is made of (the codec's own call, a memcpy, malloc), on the same pages, by
 * the same thread and clock, a block of pages at a time. What disturbs one
 * disturbs the other, and their ratio stays.
 *
 * Glossary.
 * - An *arm* is one of the things measured in turns.
 * - A *lane* is what one thread works with: pages, codec context, client.
 * - *Packed*: the compressed forms of all pages, one after another in memory:
 *   what the raw decompression reads.
 *
 * Nothing here asserts a time: a figure beyond its budget is marked, and the
 * exit status is 0.
 */
#ifndef TM_BENCH_H
#define TM_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <jansson.h>
#include <tmem/tmem.h>

#include "choice.h"
#include "pages.h"

#define TM_BENCH_BLOCK_PAGES 256
#define TM_BENCH_ARMS_MAX 4
#define TM_BENCH_ROUNDS_MAX 99
#define TM_BENCH_THREADS_MAX 64
/* What a store asks of a codec: fewer bytes than this, or it keeps the page
 * as it is. */
#define TM_BENCH_WORTH_BYTES (TMEM_PAGE_SIZE - 64)

/* --- pages (bench_pages.c) ------------------------------------------------ */

struct tm_bench_pages {
	struct tm_pages all;
	uint32_t count;
	uint32_t same_filled;		/* among @count */
	uint32_t *order;		/* the others' numbers */
	uint32_t order_count;
	/* a capture only */
	uint32_t of_processes;
	uint32_t of_files;
	uint32_t dropped_same_filled;
	uint32_t dropped_duplicates;
};

static inline const uint8_t *tm_bench_page(const struct tm_bench_pages *pages,
					   uint32_t number)
{
	return tm_pages_at(&pages->all, number);
}

/* The first @count pages of a dump, as they are. All of these: 0, or a
 * negative errno after having said why. */
int tm_bench_pages_read(struct tm_bench_pages *pages, const char *path,
			uint32_t count);
/* @count different pages of processes of its own and of installed files. */
int tm_bench_pages_capture(struct tm_bench_pages *pages, uint32_t count);
void tm_bench_pages_free(struct tm_bench_pages *pages);

/* --- one codec, called directly (bench_raw.c) ----------------------------- */

struct tm_bench_raw {
	const struct tmem_codec *table;
	struct tmem_host host;
	void *params;
	void *context;
	uint8_t *out;			/* bound bytes */
	uint8_t *page;			/* a page */
};

struct tm_bench_packed {
	uint8_t *bytes;
	size_t size_bytes;
	uint32_t *length;		/* by page number; 0: same-filled */
	size_t *offset;
	uint32_t stored_raw;
};

int tm_bench_raw_open(struct tm_bench_raw *raw,
		      const struct tm_chosen_codec *codec);
void tm_bench_raw_close(struct tm_bench_raw *raw);

static inline size_t tm_bench_raw_compress(struct tm_bench_raw *raw,
					   const uint8_t *page)
{
	return raw->table->compress(raw->context, page, TMEM_PAGE_SIZE,
				    raw->out, TM_BENCH_WORTH_BYTES, 0);
}

int tm_bench_pack(struct tm_bench_packed *packed, struct tm_bench_raw *raw,
		  const struct tm_bench_pages *pages);
void tm_bench_packed_free(struct tm_bench_packed *packed);

/* --- measuring in turns (bench_arms.c) ------------------------------------ */

struct tm_bench_lane {
	const struct tm_bench_pages *pages;
	const struct tm_bench_packed *packed;
	const uint32_t *order;		/* the pages it works on */
	uint32_t order_count;
	struct tm_bench_raw raw;
	struct tmem_client *client;
	int pool;
	uint8_t *page;			/* where gets go */
	uint64_t refused;
	uint64_t missed;
	int error;			/* the first one */
};

/* Works on lane->order[first] and the @count - 1 after it. */
typedef void tm_bench_block_fn(struct tm_bench_lane *lane, uint32_t first,
			       uint32_t count);

tm_bench_block_fn tm_bench_raw_compress_block, tm_bench_raw_decompress_block,
	tm_bench_memcpy_block, tm_bench_put_block, tm_bench_put_unstable_block,
	tm_bench_get_block;

struct tm_bench_arm {
	double ns;			/* per page, median of the rounds */
	double ratio;			/* to the first arm, likewise */
	double ratio_min;
	double ratio_max;
};

struct tm_bench_plan {
	tm_bench_block_fn *arms[TM_BENCH_ARMS_MAX];
	uint32_t arm_count;
	uint32_t rounds;
};

/* 0, or the lane's error. */
int tm_bench_arms(struct tm_bench_lane *lane, const struct tm_bench_plan *plan,
		  struct tm_bench_arm *results);

/* The wall's clock, and the thread's. */
uint64_t tm_bench_now_ns(void);
uint64_t tm_bench_cpu_ns(void);
double tm_bench_median(double *values, uint32_t count);
uint64_t tm_bench_random(uint64_t *state);

/* --- the program ---------------------------------------------------------- */

struct tm_bench {
	/* options; 0 or NULL: not given */
	bool is_json;
	const char *save_path;
	const char *plot_path;
	const char *pages_path;
	const char *codec_names;
	const char *allocator_names;
	const char *tmemd_path;
	const char *memcached_path;
	uint64_t memory_bytes;
	uint32_t threads;
	uint32_t rounds;
	uint32_t most_pages;
	/* what they lead to */
	struct tm_choice choice;
	struct tm_bench_pages pages;
};

/* The measurements: 0, or a negative errno after having said why. */
int tm_bench_codec_run(struct tm_bench *bench);
int tm_bench_alloc_run(struct tm_bench *bench);
int tm_bench_store_run(struct tm_bench *bench);
int tm_bench_channel_run(struct tm_bench *bench);

/* --- what a store is asked (bench_store*.c) ------------------------------- */

struct tm_bench_latency {
	double p50_ns;
	double p99_ns;
	double mean_ns;
};

struct tm_bench_density {
	double fill;
	double churn;
	double free70;
	double free70_1s;
	double moves_per_put;		/* of the churn */
	double moves_per_freed;		/* in the second after */
};

struct tm_bench_gain {
	double raw;			/* ops/s of all threads / of one */
	double store;
	double ratio;			/* store / raw */
	double ratio_min;
	double ratio_max;
	double ops_per_s;		/* the store's, all threads */
};

struct tm_bench_store_result {
	const struct tm_chosen_codec *codec;
	const char *allocator;
	uint32_t threads;
	double refused;
	double compressed_bytes;
	double arena_bytes;
	double metadata_bytes;
	double ratio;
	double effective_ratio;
	double overhead;
	double grow_ns;
	double metadata_bytes_per_page;
	double one_page_object_bytes;
	double same_filled_put_ns;
	double same_filled_get_ns;
	struct tm_bench_arm raw_compress, put, put_unstable, copy;
	struct tm_bench_arm raw_decompress, get;
	/* after all pages were overwritten */
	struct tm_bench_arm raw_decompress_again, get_again;
	struct tm_bench_latency put_latency, get_latency;
	struct tm_bench_gain put_gain, get_gain;
	struct tm_bench_density density;
};

/* One codec beside `none`: what the original boasted of. 0: not known. */
struct tm_bench_history {
	const char *codec;
	double cpu_ns;			/* a put and a get, mean */
	double cpu_none_ns;
	double cpu_factor;
	double pages;			/* in capacity_bytes */
	double pages_none;
	double pages_factor;
	double capacity_bytes;
};

/* A store with one client and one persistent pool. */
struct tm_bench_store {
	struct tmem_store *store;
	struct tmem_client *client;
	int pool;
};

int tm_bench_store_open(struct tm_bench_store *store, const char *codec,
			const char *allocator, uint64_t memory_bytes);
void tm_bench_store_close(struct tm_bench_store *store);
void tm_bench_store_stats(struct tm_bench_store *store,
			  struct tmem_store_stats *stats);
const struct tmem_oid *tm_bench_oid(void);

int tm_bench_store_threads(struct tm_bench *bench,
			   const struct tm_bench_lane *lane,
			   struct tm_bench_store_result *result);
int tm_bench_store_density(struct tm_bench *bench, struct tm_bench_store *store,
			   struct tm_bench_density *density);
/* Fills in one_page_object_bytes, with a store of its own. */
int tm_bench_store_small(struct tm_bench *bench,
			 struct tm_bench_store_result *result);
/* Of history->codec, at its default level. */
int tm_bench_store_history(struct tm_bench *bench, const char *allocator,
			   struct tm_bench_history *history);

/* --- results (bench_report.c) --------------------------------------------- */

void tm_bench_report_store(const struct tm_bench_store_result *result);
void tm_bench_report_history(const struct tm_bench_history *history,
			     uint32_t count);
json_t *tm_bench_json_store(const struct tm_bench_store_result *result);
json_t *tm_bench_json_history(const struct tm_bench_history *history);

/* {"pages","page_size","same_filled",...}, to which results are added. */
json_t *tm_bench_json_head(const struct tm_bench *bench);
void tm_bench_report_head(const struct tm_bench *bench);
/* Prints and saves it as the options say, and lets go of it. */
int tm_bench_json_finish(const struct tm_bench *bench, json_t *json);

/* --plot: 0, or a negative errno after having said why. */
int tm_bench_plot_store(const char *path,
			const struct tm_bench_store_result *result);

#endif
