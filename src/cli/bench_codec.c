/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tmem bench codec: each codec's own two calls, beside a memcpy of the page.
 *
 * The baseline is what a store that compresses nothing would do at least. All
 * three are measured in turns (bench_arms.c), codec after codec.
 */
#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "cli.h"
#include "plot.h"
#include "report.h"

struct result {
	const struct tm_chosen_codec *codec;
	double ratio;
	uint32_t stored_raw;
	struct tm_bench_arm copy, compress, decompress;
};

static double mb_per_s(double ns)
{
	return ns > 0 ? TMEM_PAGE_SIZE * 1e3 / ns : 0;
}

static int measure_codec(struct tm_bench *bench, struct result *result)
{
	static const struct tm_bench_plan plan = {
		.arms = { tm_bench_memcpy_block, tm_bench_raw_compress_block,
			  tm_bench_raw_decompress_block },
		.arm_count = 3,
	};
	struct tm_bench_plan rounds = plan;
	struct tm_bench_arm arms[TM_BENCH_ARMS_MAX];
	struct tm_bench_packed packed;
	struct tm_bench_lane lane = {
		.pages = &bench->pages,
		.packed = &packed,
		.order = bench->pages.order,
		.order_count = bench->pages.order_count,
	};
	int err = tm_bench_raw_open(&lane.raw, result->codec);

	if (err)
		return err;
	lane.page = lane.raw.page;
	rounds.rounds = bench->rounds;
	err = tm_bench_pack(&packed, &lane.raw, &bench->pages);
	if (!err) {
		err = tm_bench_arms(&lane, &rounds, arms);
		result->copy = arms[0];
		result->compress = arms[1];
		result->decompress = arms[2];
		result->stored_raw = packed.stored_raw;
		result->ratio = (double)lane.order_count * TMEM_PAGE_SIZE /
				(double)packed.size_bytes;
		tm_bench_packed_free(&packed);
	}
	tm_bench_raw_close(&lane.raw);
	return err;
}

/* --- results -------------------------------------------------------------- */

static json_t *json_of(const struct result *r)
{
	return json_pack("{ss si ss sf si sf sf sf sf sf}", "codec",
			 r->codec->table->name, "level", (int)r->codec->level,
			 "library", r->codec->table->library(), "ratio",
			 r->ratio, "stored_raw", (int)r->stored_raw,
			 "compress_ns", r->compress.ns, "decompress_ns",
			 r->decompress.ns, "memcpy_ns", r->copy.ns,
			 "compress_mb_per_s", mb_per_s(r->compress.ns),
			 "decompress_mb_per_s", mb_per_s(r->decompress.ns));
}

static int give_json(const struct tm_bench *bench,
		      const struct result *results)
{
	json_t *head = tm_bench_json_head(bench);
	json_t *list = json_array();

	for (size_t i = 0; i < bench->choice.codec_count; i++)
		json_array_append_new(list, json_of(&results[i]));
	json_object_set_new(head, "results", list);
	return tm_bench_json_finish(bench, head);
}

static void print_table(const struct tm_bench *bench,
			const struct result *results)
{
	static const char *const titles[] = {
		"codec", "library", "ratio", "stored raw", "compress ns",
		"MB/s", "x memcpy", "decompress ns", "MB/s", "x memcpy",
		"memcpy ns",
	};
	struct tm_report report;

	tm_bench_report_head(bench);
	tm_report_begin(&report, titles, sizeof(titles) / sizeof(titles[0]));
	for (size_t i = 0; i < bench->choice.codec_count; i++) {
		const struct result *r = &results[i];

		tm_report_cell(&report, "%s", r->codec->spec);
		tm_report_cell(&report, "%s", r->codec->table->library());
		tm_report_cell(&report, "%.2f", r->ratio);
		tm_report_cell(&report, "%u", r->stored_raw);
		tm_report_cell(&report, "%.0f", r->compress.ns);
		tm_report_cell(&report, "%.0f", mb_per_s(r->compress.ns));
		tm_report_cell(&report, "%.1f", r->compress.ratio);
		tm_report_cell(&report, "%.0f", r->decompress.ns);
		tm_report_cell(&report, "%.0f", mb_per_s(r->decompress.ns));
		tm_report_cell(&report, "%.1f", r->decompress.ratio);
		tm_report_cell(&report, "%.0f", r->copy.ns);
	}
	tm_report_end(&report, stdout);
}

static int draw(const struct tm_bench *bench, const struct result *results)
{
	struct tm_plot plot;
	int err;

	if (!bench->plot_path)
		return 0;
	err = tm_plot_open(&plot, bench->plot_path,
			   "codecs: time per page, raw calls");
	if (err)
		return err;
	fputs("$data << EOD\n", plot.file);
	for (size_t i = 0; i < bench->choice.codec_count; i++)
		fprintf(plot.file, "\"%s\\nratio %.2f\" %g %g %g\n",
			results[i].codec->spec, results[i].ratio,
			results[i].compress.ns, results[i].decompress.ns,
			results[i].copy.ns);
	fputs("EOD\nset style data histograms\nset style fill solid 0.8\n"
	      "set boxwidth 0.9\nset logscale y\nset ylabel 'ns per page'\n"
	      "plot $data using 2:xtic(1) title 'compress', "
	      "'' using 3 title 'decompress', '' using 4 title 'memcpy'\n",
	      plot.file);
	return tm_plot_close(&plot);
}

int tm_bench_codec_run(struct tm_bench *bench)
{
	size_t count = bench->choice.codec_count;
	struct result *results = calloc(count, sizeof(*results));
	struct tm_progress progress;
	int err = results ? 0 : -ENOMEM;

	tm_progress_begin(&progress, "codecs", count);
	for (size_t i = 0; !err && i < count; i++) {
		tm_progress_at(&progress, i);
		results[i].codec = &bench->choice.codecs[i];
		err = measure_codec(bench, &results[i]);
	}
	tm_progress_end(&progress);
	if (!err)
		err = give_json(bench, results);
	if (!err && !bench->is_json)
		print_table(bench, results);
	if (!err)
		err = draw(bench, results);
	free(results);
	return err;
}
