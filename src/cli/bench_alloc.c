/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tmem bench alloc: allocators alone, on the sizes of real pages, beside
 * malloc.
 *
 * Each codec compresses the pages once, which gives a list of sizes; each
 * allocator then plays a store's calls on it (alloc_bench.h). malloc() plays
 * the same fill and the same frees: what a general allocator costs in time,
 * and (malloc_usable_size, with its header) in room.
 */
#include <config.h>

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "alloc_bench.h"
#include "bench.h"
#include "cli.h"
#include "plot.h"
#include "report.h"

#define CHURN_ROUNDS 4
#define MOVES_AT_ONCE 16
#define SEED 1
/* What stands before each block of glibc's. */
#define MALLOC_HEADER_BYTES 8

struct malloc_result {
	double alloc_ns;
	double free_ns;
	double density;
};

struct result {
	const struct tm_chosen_codec *codec;
	const char *allocator;
	struct tm_alloc_bench_result own;
	struct malloc_result malloc;
};

/* A list of sizes, most recently of one codec. */
struct sizes {
	uint32_t *list;
	uint32_t count;
};

static int get_sizes(struct tm_bench *bench,
		     const struct tm_chosen_codec *codec, struct sizes *sizes)
{
	const struct tm_bench_pages *pages = &bench->pages;
	struct tm_bench_packed packed;
	struct tm_bench_raw raw;
	int err = tm_bench_raw_open(&raw, codec);

	if (err)
		return err;
	err = tm_bench_pack(&packed, &raw, pages);
	if (!err) {
		for (uint32_t i = 0; i < pages->order_count; i++)
			sizes->list[i] = packed.length[pages->order[i]];
		sizes->count = pages->order_count;
		tm_bench_packed_free(&packed);
	}
	tm_bench_raw_close(&raw);
	return err;
}

static void shuffle(void **blocks, uint32_t count)
{
	uint64_t random = SEED;

	for (uint32_t i = count; i > 1; i--) {
		uint32_t j = (uint32_t)(tm_bench_random(&random) % i);
		void *block = blocks[i - 1];

		blocks[i - 1] = blocks[j];
		blocks[j] = block;
	}
}

static int run_malloc(const struct sizes *sizes, struct malloc_result *result)
{
	void **blocks = calloc(sizes->count, sizeof(*blocks));
	uint64_t asked = 0, used = 0, begin, ns;
	bool is_short = false;

	if (!blocks)
		return -ENOMEM;
	begin = tm_bench_now_ns();
	for (uint32_t i = 0; i < sizes->count; i++)
		blocks[i] = malloc(sizes->list[i]);
	ns = tm_bench_now_ns() - begin;
	result->alloc_ns = (double)ns / sizes->count;
	for (uint32_t i = 0; i < sizes->count; i++) {
		is_short = is_short || !blocks[i];
		asked += sizes->list[i];
		used += malloc_usable_size(blocks[i]) + MALLOC_HEADER_BYTES;
	}
	result->density = (double)asked / (double)used;
	shuffle(blocks, sizes->count);
	begin = tm_bench_now_ns();
	for (uint32_t i = 0; i < sizes->count; i++)
		free(blocks[i]);
	ns = tm_bench_now_ns() - begin;
	result->free_ns = (double)ns / sizes->count;
	free(blocks);
	return is_short ? -ENOMEM : 0;
}

static int run_one(const struct sizes *sizes,
		   const struct tmem_allocator *allocator,
		   struct result *result)
{
	const struct tm_alloc_bench_input input = {
		.allocator = allocator,
		.sizes = sizes->list,
		.count = sizes->count,
		.churn_rounds = CHURN_ROUNDS,
		.moves_at_once = MOVES_AT_ONCE,
		.seed = SEED,
	};
	int err = tm_alloc_bench_run(&input, &result->own);

	if (!err)
		err = run_malloc(sizes, &result->malloc);
	result->allocator = allocator->name;
	return err;
}

/* --- results -------------------------------------------------------------- */

static json_t *json_of(const struct result *r)
{
	const struct tm_alloc_bench_result *o = &r->own;

	return json_pack(
		"{ss ss si sf sf sf sf sf sf sf sf sf s{sf sf sf sf}}",
		"allocator", r->allocator, "codec", r->codec->table->name,
		"level", (int)r->codec->level, "alloc_ns", o->alloc_ns,
		"free_ns", o->free_ns, "replace_ns", o->churn_ns,
		"malloc_ns", r->malloc.alloc_ns, "malloc_free_ns",
		r->malloc.free_ns, "malloc_density", r->malloc.density,
		"overhead", o->overhead, "metadata_bytes_per_object",
		o->metadata_per_object, "moves_per_put", o->moves_per_put,
		"density", "static", o->density.fill, "churn",
		o->density.churn, "free70", o->density.free70, "free70_1s",
		o->density.free70_1s);
}

static int give_json(const struct tm_bench *bench,
		      const struct result *results, uint32_t count)
{
	json_t *head = tm_bench_json_head(bench);
	json_t *list = json_array();

	for (uint32_t i = 0; i < count; i++)
		json_array_append_new(list, json_of(&results[i]));
	json_object_set_new(head, "results", list);
	return tm_bench_json_finish(bench, head);
}

static void print_table(const struct tm_bench *bench,
			const struct result *results, uint32_t count)
{
	static const char *const titles[] = {
		"sizes of", "allocator", "static",    "churn",
		"free70",   "free70_1s", "malloc",    "overhead",
		"moves/put", "alloc ns", "malloc ns", "free ns",
		"free() ns",
	};
	struct tm_report report;

	tm_bench_report_head(bench);
	tm_report_begin(&report, titles, sizeof(titles) / sizeof(titles[0]));
	for (uint32_t i = 0; i < count; i++) {
		const struct result *r = &results[i];
		const struct tm_alloc_bench_result *o = &r->own;

		tm_report_cell(&report, "%s", r->codec->spec);
		tm_report_cell(&report, "%s", r->allocator);
		tm_report_cell(&report, "%.4f", o->density.fill);
		tm_report_cell(&report, "%.4f", o->density.churn);
		tm_report_cell(&report, "%.4f", o->density.free70);
		tm_report_cell(&report, "%.4f", o->density.free70_1s);
		tm_report_cell(&report, "%.4f", r->malloc.density);
		tm_report_cell(&report, "%.4f", o->overhead);
		tm_report_cell(&report, "%.4f", o->moves_per_put);
		tm_report_cell(&report, "%.0f", o->alloc_ns);
		tm_report_cell(&report, "%.0f", r->malloc.alloc_ns);
		tm_report_cell(&report, "%.0f", o->free_ns);
		tm_report_cell(&report, "%.0f", r->malloc.free_ns);
	}
	tm_report_end(&report, stdout);
}

static int draw(const struct tm_bench *bench, const struct result *results,
		uint32_t count)
{
	struct tm_plot plot;
	int err;

	if (!bench->plot_path)
		return 0;
	err = tm_plot_open(&plot, bench->plot_path,
			   "allocators: compressed bytes alive per byte of "
			   "frames");
	if (err)
		return err;
	fputs("$data << EOD\n", plot.file);
	for (uint32_t i = 0; i < count; i++)
		fprintf(plot.file, "\"%s\\n%s\" %g %g %g %g\n",
			results[i].codec->spec, results[i].allocator,
			results[i].own.density.fill,
			results[i].own.density.churn,
			results[i].own.density.free70,
			results[i].own.density.free70_1s);
	fputs("EOD\nset style data histograms\nset style fill solid 0.8\n"
	      "set boxwidth 0.9\nset yrange [0:1.2]\nset ylabel 'density'\n"
	      "plot $data using 2:xtic(1) title 'filled', '' using 3 title "
	      "'churned', '' using 4 title '70 % freed', '' using 5 title "
	      "'compacted'\n", plot.file);
	return tm_plot_close(&plot);
}

/* Sizes that are all alike say nothing, unless somebody asks for them. */
static bool is_wanted(const struct tm_bench *bench,
		      const struct tm_chosen_codec *codec)
{
	return bench->codec_names ||
	       !(codec->table->flags & TMEM_CODEC_STORES_RAW);
}

static int run_all(struct tm_bench *bench, struct result *results,
		   uint32_t *count)
{
	const struct tm_choice *choice = &bench->choice;
	struct sizes sizes = { 0 };
	struct tm_progress progress;
	int err = 0;

	sizes.list = malloc(bench->pages.order_count * sizeof(*sizes.list));
	if (!sizes.list)
		return -ENOMEM;
	tm_progress_begin(&progress, "allocators",
			  choice->codec_count * choice->allocator_count);
	for (size_t c = 0; !err && c < choice->codec_count; c++) {
		if (!is_wanted(bench, &choice->codecs[c]))
			continue;
		err = get_sizes(bench, &choice->codecs[c], &sizes);
		for (size_t a = 0; !err && a < choice->allocator_count; a++) {
			results[*count].codec = &choice->codecs[c];
			err = run_one(&sizes, choice->allocators[a],
				      &results[*count]);
			tm_progress_at(&progress, ++*count);
		}
	}
	tm_progress_end(&progress);
	free(sizes.list);
	return err;
}

int tm_bench_alloc_run(struct tm_bench *bench)
{
	const struct tm_choice *choice = &bench->choice;
	struct result *results =
		calloc(choice->codec_count * choice->allocator_count + 1,
		       sizeof(*results));
	uint32_t count = 0;
	int err = results ? run_all(bench, results, &count) : -ENOMEM;

	if (err)
		tm_cli_error("bench: alloc: %s", strerror(-err));
	else
		err = give_json(bench, results, count);
	if (!err && !bench->is_json)
		print_table(bench, results, count);
	if (!err)
		err = draw(bench, results, count);
	free(results);
	return err;
}
