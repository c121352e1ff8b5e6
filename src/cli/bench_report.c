/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What `tmem bench store` found, as a table, as JSON, and drawn.
 *
 * Budgets are rows of one table, which all three read: what a figure should
 * reach, for which codec and allocator. A figure beyond its budget is marked;
 * nothing fails for it, since it is the machine's word as much as ours.
 */
#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "cli.h"
#include "plot.h"
#include "report.h"

#define AT(field) offsetof(struct tm_bench_store_result, field)
#define NOWHERE SIZE_MAX

/* What the table shows, in its order, and what is judged of it. */
struct figure {
	const char *name;
	const char *label;
	int decimals;
	size_t value;
	size_t raw;		/* its baseline, or NOWHERE */
	size_t judged;		/* what the budget is about */
	size_t least;		/* of the ratios of the rounds, or NOWHERE */
	size_t most;
};

/* A figure beside its baseline: what is judged is their ratio. */
#define PAIR(name, label, decimals, value, raw, ratios)                        \
	{ name, label, decimals, AT(value), AT(raw), AT(ratios.ratio),         \
	  AT(ratios.ratio_min), AT(ratios.ratio_max) }
/* One that is judged as it is. */
#define LONE(name, label, decimals, value)                                     \
	{ name, label, decimals, AT(value), NOWHERE, AT(value), NOWHERE,       \
	  NOWHERE }

static const struct figure figures[] = {
	PAIR("put", "put, ns", 0, put.ns, raw_compress.ns, put),
	PAIR("put_unstable", "put with the guest copy, ns", 0, put_unstable.ns,
	     raw_compress.ns, put_unstable),
	PAIR("get", "get, check included, ns", 0, get.ns, raw_decompress.ns,
	     get),
	PAIR("get_overwritten", "get, pages overwritten, ns", 0, get_again.ns,
	     raw_decompress_again.ns, get_again),
	LONE("same_filled_put", "same-filled put, ns", 0, same_filled_put_ns),
	LONE("same_filled_get", "same-filled get, ns", 0, same_filled_get_ns),
	PAIR("put_gain", "put, all threads to one", 2, put_gain.store,
	     put_gain.raw, put_gain),
	PAIR("get_gain", "get, all threads to one", 2, get_gain.store,
	     get_gain.raw, get_gain),
	LONE("static", "density, filled", 4, density.fill),
	LONE("churn", "density, overwritten 4 times", 4, density.churn),
	LONE("free70", "density, 70 % just flushed", 4, density.free70),
	LONE("free70_1s", "density, 1 s later", 4, density.free70_1s),
	LONE("overhead", "overhead", 4, overhead),
	LONE("one_page_object", "object of one page, bytes", 0,
	     one_page_object_bytes),
};
#define FIGURES (sizeof(figures) / sizeof(figures[0]))

struct budget {
	const char *name;	/* of a figure */
	const char *codec;	/* NULL: any */
	const char *allocator;
	double limit;
	bool at_least;		/* or at most */
};

static const struct budget budgets[] = {
	{ "put", "lz4", "zsmalloc", 1.12, false },
	{ "put_unstable", "lz4", "zsmalloc", 1.20, false },
	{ "get", "lz4", "zsmalloc", 1.20, false },
	{ "get_overwritten", "lz4", "zsmalloc", 1.20, false },
	{ "same_filled_put", NULL, NULL, 300, false },
	{ "same_filled_get", NULL, NULL, 300, false },
	{ "put_gain", "lz4", "zsmalloc", 0.95, true },
	{ "get_gain", "lz4", "zsmalloc", 0.95, true },
	{ "static", "lz4", "zsmalloc", 0.968, true },
	{ "churn", "lz4", "zsmalloc", 0.955, true },
	{ "free70_1s", "lz4", "zsmalloc", 0.90, true },
	{ "overhead", "lz4", "zsmalloc", 1.07, false },
	{ "overhead", "zstd", "zsmalloc", 1.11, false },
	{ "one_page_object", NULL, NULL, 200, false },
};
#define BUDGETS (sizeof(budgets) / sizeof(budgets[0]))

static double value_at(const struct tm_bench_store_result *result, size_t at)
{
	double value;

	memcpy(&value, (const char *)result + at, sizeof(value));
	return value;
}

static const struct budget *
find_budget(const struct tm_bench_store_result *result,
	    const struct figure *figure)
{
	for (size_t i = 0; i < BUDGETS; i++) {
		const struct budget *b = &budgets[i];

		if (!strcmp(b->name, figure->name) &&
		    (!b->codec ||
		     !strcmp(b->codec, result->codec->table->name)) &&
		    (!b->allocator || !strcmp(b->allocator, result->allocator)))
			return b;
	}
	return NULL;
}

static bool is_met(const struct budget *budget, double value)
{
	return budget->at_least ? value >= budget->limit :
				  value <= budget->limit;
}

/* --- the table ------------------------------------------------------------ */

void tm_bench_report_head(const struct tm_bench *bench)
{
	const struct tm_bench_pages *p = &bench->pages;

	printf("%" PRIu32 " pages", p->count);
	if (bench->pages_path)
		printf(" of %s, %" PRIu32 " of them same-filled\n\n",
		       bench->pages_path, p->same_filled);
	else
		printf(", each different: %" PRIu32 " of perl processes, "
		       "%" PRIu32 " of files\n(left out: %" PRIu32
		       " same-filled, %" PRIu32 " duplicates)\n\n",
		       p->of_processes, p->of_files, p->dropped_same_filled,
		       p->dropped_duplicates);
}

static void add_figure(struct tm_report *report, const struct figure *f,
		       const struct tm_bench_store_result *result)
{
	const struct budget *budget = find_budget(result, f);
	double judged = value_at(result, f->judged);

	tm_report_cell(report, "%s", f->label);
	tm_report_cell(report, "%.*f", f->decimals, value_at(result, f->value));
	if (f->raw == NOWHERE) {
		tm_report_cell(report, "%s", "");
		tm_report_cell(report, "%s", "");
	} else {
		tm_report_cell(report, "%.*f", f->decimals,
			       value_at(result, f->raw));
		tm_report_cell(report, "%.3f", judged);
	}
	if (f->least == NOWHERE)
		tm_report_cell(report, "%s", "");
	else
		tm_report_cell(report, "%.2f-%.2f", value_at(result, f->least),
			       value_at(result, f->most));
	if (!budget) {
		tm_report_cell(report, "%s", "");
		tm_report_cell(report, "%s", "");
		return;
	}
	tm_report_cell(report, "%s %g", budget->at_least ? ">=" : "<=",
		       budget->limit);
	tm_report_cell(report, "%s", is_met(budget, judged) ? "" : "SHORT");
}

void tm_bench_report_store(const struct tm_bench_store_result *r)
{
	static const char *const titles[] = {
		"", "tmem", "raw", "ratio", "spread", "budget", "",
	};
	char arena[16], metadata[16];
	struct tm_report report;

	printf("%s over %s\n", r->codec->spec, r->allocator);
	if (r->refused > 0)
		printf("%.0f puts were refused: with more --memory, figures "
		       "would be others\n", r->refused);
	tm_report_begin(&report, titles, sizeof(titles) / sizeof(titles[0]));
	for (size_t i = 0; i < FIGURES; i++)
		add_figure(&report, &figures[i], r);
	tm_report_end(&report, stdout);
	printf("first fill %.0f ns per put (memory touched for the first "
	       "time); memcpy of a page %.0f ns\n", r->grow_ns, r->copy.ns);
	printf("single calls, p50/p99 ns: put %.0f/%.0f, get %.0f/%.0f; with "
	       "%" PRIu32 " threads %.0f puts/s, %.0f gets/s\n",
	       r->put_latency.p50_ns, r->put_latency.p99_ns,
	       r->get_latency.p50_ns, r->get_latency.p99_ns, r->threads,
	       r->put_gain.ops_per_s, r->get_gain.ops_per_s);
	printf("ratio %.2f, effective ratio %.2f; frames %s, metadata %s "
	       "(%.1f bytes per page)\n", r->ratio, r->effective_ratio,
	       tm_report_size((uint64_t)r->arena_bytes, arena, sizeof(arena)),
	       tm_report_size((uint64_t)r->metadata_bytes, metadata,
			      sizeof(metadata)),
	       r->metadata_bytes_per_page);
	printf("moves: %.4f per put while overwriting, %.4f per page flushed "
	       "in the second after\n\n", r->density.moves_per_put,
	       r->density.moves_per_freed);
}

void tm_bench_report_history(const struct tm_bench_history *history,
			     uint32_t count)
{
	static const char *const titles[] = {
		"beside none", "CPU ns per operation", "none",	 "factor",
		"pages kept",  "none",		       "factor",
	};
	struct tm_report report;

	if (!count)
		return;
	tm_report_begin(&report, titles, sizeof(titles) / sizeof(titles[0]));
	for (uint32_t i = 0; i < count; i++) {
		const struct tm_bench_history *h = &history[i];

		tm_report_cell(&report, "%s", h->codec);
		tm_report_cell(&report, "%.0f", h->cpu_ns);
		tm_report_cell(&report, "%.0f", h->cpu_none_ns);
		tm_report_cell(&report, "%.1f", h->cpu_factor);
		tm_report_cell(&report, "%.0f", h->pages);
		tm_report_cell(&report, "%.0f", h->pages_none);
		tm_report_cell(&report, "%.1f", h->pages_factor);
	}
	tm_report_end(&report, stdout);
	printf("an operation: the mean of a put and a get; pages kept: in %.0f "
	       "MiB.\nXen's tmem said: about 10 times the CPU, about twice "
	       "the pages.\n", history[0].capacity_bytes / (1 << 20));
}

/* --- JSON ----------------------------------------------------------------- */

static void set_real(json_t *object, const char *key, double value)
{
	json_object_set_new(object, key, json_real(value));
}

static void set_integer(json_t *object, const char *key, double value)
{
	json_object_set_new(object, key, json_integer((json_int_t)value));
}

json_t *tm_bench_json_head(const struct tm_bench *bench)
{
	const struct tm_bench_pages *p = &bench->pages;
	json_t *head = json_object();

	set_integer(head, "pages", p->count);
	set_integer(head, "page_size", TMEM_PAGE_SIZE);
	set_integer(head, "same_filled", p->same_filled);
	if (!bench->pages_path)
		json_object_set_new(
			head, "capture",
			json_pack("{si si si si}", "of_processes",
				  (int)p->of_processes, "of_files",
				  (int)p->of_files, "dropped_same_filled",
				  (int)p->dropped_same_filled,
				  "dropped_duplicates",
				  (int)p->dropped_duplicates));
	return head;
}

/* Closes @file. */
static int write_json(const json_t *json, FILE *file, const char *name)
{
	bool is_written = !json_dumpf(json, file,
				      JSON_INDENT(2) | JSON_REAL_PRECISION(6));

	is_written = fputc('\n', file) != EOF && is_written;
	if (file == stdout)
		is_written = !fflush(file) && is_written;
	else
		is_written = !fclose(file) && is_written;
	if (is_written)
		return 0;
	tm_cli_error("bench: %s cannot be written", name);
	return -EIO;
}

int tm_bench_json_finish(const struct tm_bench *bench, json_t *json)
{
	FILE *file;
	int err = 0;

	if (bench->is_json)
		err = write_json(json, stdout, "the result");
	if (!err && bench->save_path) {
		file = fopen(bench->save_path, "we");
		if (file) {
			err = write_json(json, file, bench->save_path);
		} else {
			err = -errno;
			tm_cli_error("%s: cannot be written: %s",
				     bench->save_path, strerror(-err));
		}
	}
	json_decref(json);
	return err;
}

static json_t *json_of_latency(const struct tm_bench_latency *latency)
{
	json_t *object = json_object();

	set_integer(object, "p50", latency->p50_ns);
	set_integer(object, "p99", latency->p99_ns);
	set_integer(object, "mean", latency->mean_ns);
	return object;
}

static json_t *json_of_density(const struct tm_bench_density *density)
{
	return json_pack("{sf sf sf sf}", "static", density->fill, "churn",
			 density->churn, "free70", density->free70,
			 "free70_1s", density->free70_1s);
}

static json_t *json_of_gain(const struct tm_bench_gain *gain)
{
	return json_pack("{sf sf sf}", "raw", gain->raw, "store", gain->store,
			 "ratio", gain->ratio);
}

static json_t *json_of_budgets(const struct tm_bench_store_result *result)
{
	json_t *list = json_array();

	for (size_t i = 0; i < FIGURES; i++) {
		const struct budget *budget = find_budget(result, &figures[i]);
		double value = value_at(result, figures[i].judged);

		if (budget)
			json_array_append_new(
				list,
				json_pack("{ss sf sf sb sb}", "name",
					  figures[i].name, "value", value,
					  "budget", budget->limit, "at_least",
					  budget->at_least, "met",
					  is_met(budget, value)));
	}
	return list;
}

/* What `tmem estimate` says of a store, too. */
static void set_sizes(json_t *object, const struct tm_bench_store_result *r)
{
	json_object_set_new(object, "codec",
			    json_string(r->codec->table->name));
	json_object_set_new(object, "allocator", json_string(r->allocator));
	set_integer(object, "level", r->codec->level);
	set_integer(object, "compressed_bytes", r->compressed_bytes);
	set_integer(object, "arena_bytes", r->arena_bytes);
	set_integer(object, "metadata_bytes", r->metadata_bytes);
	set_real(object, "ratio", r->ratio);
	set_real(object, "effective_ratio", r->effective_ratio);
	json_object_set_new(object, "put_ns", json_of_latency(&r->put_latency));
	json_object_set_new(object, "get_ns", json_of_latency(&r->get_latency));
}

json_t *tm_bench_json_store(const struct tm_bench_store_result *r)
{
	json_t *object = json_object();

	set_sizes(object, r);
	set_real(object, "raw_compress_ns", r->raw_compress.ns);
	set_real(object, "raw_decompress_ns", r->raw_decompress.ns);
	set_real(object, "memcpy_ns", r->copy.ns);
	set_real(object, "grow_ns", r->grow_ns);
	set_real(object, "put_ratio", r->put.ratio);
	set_real(object, "put_unstable_ratio", r->put_unstable.ratio);
	set_real(object, "get_ratio", r->get.ratio);
	set_real(object, "get_overwritten_ratio", r->get_again.ratio);
	set_real(object, "same_filled_put_ns", r->same_filled_put_ns);
	set_real(object, "same_filled_get_ns", r->same_filled_get_ns);
	set_integer(object, "threads", r->threads);
	set_real(object, "puts_per_s", r->put_gain.ops_per_s);
	set_real(object, "gets_per_s", r->get_gain.ops_per_s);
	json_object_set_new(object, "put_gain", json_of_gain(&r->put_gain));
	json_object_set_new(object, "get_gain", json_of_gain(&r->get_gain));
	json_object_set_new(object, "density", json_of_density(&r->density));
	set_real(object, "overhead", r->overhead);
	set_real(object, "metadata_bytes_per_page", r->metadata_bytes_per_page);
	set_real(object, "one_page_object_bytes", r->one_page_object_bytes);
	set_real(object, "moves_per_put", r->density.moves_per_put);
	set_real(object, "moves_per_flushed", r->density.moves_per_freed);
	set_integer(object, "refused", r->refused);
	json_object_set_new(object, "budgets", json_of_budgets(r));
	return object;
}

json_t *tm_bench_json_history(const struct tm_bench_history *h)
{
	json_t *object = json_object();

	json_object_set_new(object, "codec", json_string(h->codec));
	set_real(object, "cpu_ns", h->cpu_ns);
	set_real(object, "cpu_none_ns", h->cpu_none_ns);
	set_real(object, "cpu_factor", h->cpu_factor);
	set_integer(object, "memory_bytes", h->capacity_bytes);
	set_integer(object, "pages", h->pages);
	set_integer(object, "pages_none", h->pages_none);
	set_real(object, "pages_factor", h->pages_factor);
	return object;
}

/* --- drawn ---------------------------------------------------------------- */

/* Each figure that has a budget, as a share of it: at 1 it is just met. What
 * should be at least something stands upside down. */
int tm_bench_plot_store(const char *path,
			const struct tm_bench_store_result *r)
{
	struct tm_plot plot;
	char title[128];
	int err;

	snprintf(title, sizeof(title), "%s over %s: figures as shares of "
		 "their budgets (lower is better)", r->codec->spec,
		 r->allocator);
	err = tm_plot_open(&plot, path, title);
	if (err)
		return err;
	fputs("$data << EOD\n", plot.file);
	for (size_t i = 0; i < FIGURES; i++) {
		const struct budget *budget = find_budget(r, &figures[i]);
		double value = value_at(r, figures[i].judged);

		if (!budget || value <= 0)
			continue;
		fprintf(plot.file, "\"%s: %.4g (%s %g)\" %g %d\n",
			figures[i].label, value, budget->at_least ? ">=" : "<=",
			budget->limit,
			budget->at_least ? budget->limit / value :
					   value / budget->limit,
			is_met(budget, value) ? 0x3060a0 : 0xc04020);
	}
	fputs("EOD\nset style fill solid 0.8\nunset key\nset xrange [0:*]\n"
	      "set ytics noenhanced\nset grid xtics noytics\n"
	      "set arrow from first 1, graph 0 to first 1, graph 1 nohead "
	      "lw 2 lc rgb '#c00000' front\n"
	      "plot $data using (0):(-$0):(0):2:(-$0-0.35):(-$0+0.35):3:"
	      "ytic(1) with boxxyerror lc rgb variable\n", plot.file);
	return tm_plot_close(&plot);
}
