/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tmem estimate: what would tmem save here, with every codec and allocator?
 *
 * The problem: whether memory compresses well depends on whose memory it is,
 * and trying it with a whole process takes long. The idea: an even sample of
 * the pages is put into a store of each kind, one after another, and the
 * store's own sums are read: they hold what a formula would forget, such as
 * what an allocator cannot fill and what a descriptor takes.
 *
 * Times are of single calls, a clock reading included (some 30 ns). Puts are
 * timed when they replace a page, so that memory that is touched for the first
 * time does not count. Every page is got back and compared.
 *
 * Bound. Small samples flatter no allocator: each size class of zsmalloc ends
 * in a run that is half empty, which the pages of a big client outweigh.
 */
#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "choice.h"
#include "cli.h"
#include "clock.h"
#include "histogram.h"
#include "pages.h"
#include "plot.h"
#include "report.h"

#define SAMPLE_DEFAULT 16384
/* Puts that are timed, at most: enough for a 99th percentile. */
#define TIMED_PUTS 4096
/* Room beside the pages, for descriptors, index and contexts. */
#define SPARE_BYTES (UINT64_C(64) << 20)

struct result {
	const struct tm_chosen_codec *codec;
	const char *allocator;
	struct tmem_store_stats stats;
	struct tmem_latency put;
	struct tmem_latency get;
};

struct estimate {
	uint64_t pid;
	const char **files;
	size_t file_count;
	const char *dump;
	const char *codecs;
	const char *allocators;
	uint64_t sample;
	const char *plot_path;
	bool is_json;
	struct tm_choice choice;
	struct tm_pages pages;
	uint64_t same_filled;
	struct result *results;
	size_t result_count;
};

/* --- options ------------------------------------------------------------------ */

static int set_pid(void *target, const char *value)
{
	return tm_cli_set_number(&((struct estimate *)target)->pid, "pid",
				 value, 1, INT32_MAX);
}

static int set_file(void *target, const char *value)
{
	struct estimate *estimate = target;

	estimate->files[estimate->file_count++] = value;
	return 0;
}

static int set_dump(void *target, const char *value)
{
	((struct estimate *)target)->dump = value;
	return 0;
}

static int set_codec(void *target, const char *value)
{
	((struct estimate *)target)->codecs = value;
	return 0;
}

static int set_allocator(void *target, const char *value)
{
	((struct estimate *)target)->allocators = value;
	return 0;
}

static int set_sample(void *target, const char *value)
{
	uint64_t *sample = &((struct estimate *)target)->sample;

	if (!strcmp(value, "all")) {
		*sample = 0;
		return 0;
	}
	return tm_cli_set_number(sample, "sample", value, 1, UINT32_MAX);
}

static int set_plot(void *target, const char *value)
{
	((struct estimate *)target)->plot_path = value;
	return 0;
}

static int set_json(void *target, const char *value)
{
	(void)value;
	((struct estimate *)target)->is_json = true;
	return 0;
}

static const struct tm_cli_option options[] = {
	{ "pid", "PID", "for the anonymous pages of this process", set_pid },
	{ "file", "PATH...", "for these files, or all files below PATH",
	  set_file },
	{ "pages", "DUMP", "for the pages of a dump", set_dump },
	{ "codec", "NAME[:LEVEL],...", "with these codecs only", set_codec },
	{ "allocator", "NAME,...", "with these allocators only",
	  set_allocator },
	{ "sample", "N|all", "take at most N pages, evenly spread [16384]",
	  set_sample },
	{ "plot", "FILE.svg", "draw the result, with gnuplot", set_plot },
	{ "json", NULL, "print the result as JSON", set_json },
	{ NULL, NULL, NULL, NULL },
};

static int check_usage(const struct estimate *e)
{
	int sources = !!e->pid + !!e->file_count + !!e->dump;

	if (!sources)
		return tm_cli_error("estimate: for what? Name a --pid, a --file "
				    "or --pages");
	if (sources > 1)
		return tm_cli_error("estimate: one of --pid, --file and --pages "
				    "at a time (operands are files too)");
	return 0;
}

/* --- the pages ------------------------------------------------------------------ */

static bool is_same_filled(const uint8_t *page)
{
	/* Each word is like the one before it. */
	return !memcmp(page, page + 8, TMEM_PAGE_SIZE - 8);
}

static int read_sources(struct estimate *e)
{
	int err = 0;

	e->pages.sample = e->sample;
	if (e->pid)
		err = tm_pages_of_process(&e->pages, (pid_t)e->pid);
	else if (e->dump)
		err = tm_pages_of_dump(&e->pages, e->dump);
	for (size_t i = 0; !err && i < e->file_count; i++)
		err = tm_pages_of_path(&e->pages, e->files[i]);
	for (size_t i = 0; !err && i < e->pages.count; i++)
		e->same_filled += is_same_filled(tm_pages_at(&e->pages, i));
	return err;
}

/* --- one store -------------------------------------------------------------------- */

struct trial {
	const struct tm_pages *pages;
	struct tmem_store *store;
	struct tmem_client *client;
	int pool;
};

static int open_trial(struct trial *trial, const char *codec,
		      const char *allocator)
{
	struct tmem_client_config client;
	struct tmem_store_config config;
	int err;

	tmem_store_config_init(&config);
	config.memory_bytes =
		SPARE_BYTES + trial->pages->count * UINT64_C(5120);
	config.flags = TMEM_STORE_NO_LOCK;
	config.codec = codec;
	config.allocator = allocator;
	config.log = tm_cli_log;
	err = tmem_store_open(&config, &trial->store);
	if (err)
		return err;
	tmem_client_config_init(&client);
	client.name = "estimate";
	err = tmem_client_attach(trial->store, &client, &trial->client);
	if (err < 0)
		return err;
	trial->pool = tmem_pool_create(trial->client, TMEM_POOL_PERSISTENT,
				       NULL);
	return trial->pool < 0 ? trial->pool : 0;
}

static void close_trial(struct trial *trial)
{
	tmem_client_detach(trial->client);
	tmem_store_close(trial->store);
}

static int put(struct trial *trial, size_t n)
{
	static const struct tmem_oid oid = { { 0, 0, 0 } };
	int result = tmem_put(trial->client, trial->pool, &oid, (uint32_t)n,
			      tm_pages_at(trial->pages, n), 0);

	return result == TMEM_PUT_REFUSED ? -ENOMEM : result;
}

static int fill(struct trial *trial)
{
	for (size_t n = 0; n < trial->pages->count; n++) {
		int result = put(trial, n);

		if (result < 0)
			return result;
	}
	return 0;
}

static uint64_t now_ns(void)
{
	return tm_clock_now_ns(tm_clock_system());
}

static int time_puts(struct trial *trial, struct tmem_latency *latency)
{
	struct tm_histogram *times = calloc(1, sizeof(*times));
	size_t step = trial->pages->count / TIMED_PUTS + 1;
	int err = 0;

	if (!times)
		return -ENOMEM;
	for (size_t n = 0; err >= 0 && n < trial->pages->count; n += step) {
		uint64_t began_ns = now_ns();

		err = put(trial, n);
		tm_histogram_add(times, now_ns() - began_ns);
	}
	tm_histogram_summary(times, latency);
	free(times);
	return err < 0 ? err : 0;
}

/* Each page comes back as it was put. */
static int time_gets(struct trial *trial, struct tmem_latency *latency)
{
	static const struct tmem_oid oid = { { 0, 0, 0 } };
	struct tm_histogram *times = calloc(1, sizeof(*times));
	uint8_t page[TMEM_PAGE_SIZE];
	int err = times ? 0 : -ENOMEM;

	for (size_t n = 0; !err && n < trial->pages->count; n++) {
		uint64_t began_ns = now_ns();
		int result = tmem_get(trial->client, trial->pool, &oid,
				      (uint32_t)n, page, 0);

		tm_histogram_add(times, now_ns() - began_ns);
		if (result < 0)
			err = result;
		else if (result == TMEM_GET_MISS ||
			 memcmp(page, tm_pages_at(trial->pages, n),
				sizeof(page)))
			err = -EBADMSG;
	}
	if (times)
		tm_histogram_summary(times, latency);
	free(times);
	return err;
}

static int read_stats(struct trial *trial, struct tmem_store_stats *stats)
{
	stats->struct_size = sizeof(*stats);
	stats->counts.struct_size = sizeof(stats->counts);
	return tmem_store_get_stats(trial->store, stats);
}

static int try_pair(struct estimate *e, const struct tm_chosen_codec *codec,
		    const char *allocator)
{
	struct trial trial = { .pages = &e->pages };
	struct result *result = &e->results[e->result_count];
	int err = open_trial(&trial, codec->spec, allocator);

	if (!err)
		err = fill(&trial);
	if (!err)
		err = read_stats(&trial, &result->stats);
	if (!err)
		err = time_puts(&trial, &result->put);
	if (!err)
		err = time_gets(&trial, &result->get);
	close_trial(&trial);
	if (err == -EBADMSG)
		tm_cli_error("%s over %s: a page came back wrong", codec->spec,
			     allocator);
	else if (err)
		tm_cli_error("%s over %s: %s", codec->spec, allocator,
			     strerror(-err));
	if (err)
		return err;
	result->codec = codec;
	result->allocator = allocator;
	e->result_count++;
	return 0;
}

static int try_all(struct estimate *e)
{
	struct tm_choice *choice = &e->choice;
	struct tm_progress progress;
	int err = 0;

	e->results = calloc(choice->codec_count * choice->allocator_count,
			    sizeof(*e->results));
	if (!e->results)
		return -ENOMEM;
	tm_progress_begin(&progress, "trying codecs and allocators",
			  choice->codec_count * choice->allocator_count);
	for (size_t i = 0; !err && i < choice->codec_count; i++)
		for (size_t j = 0; !err && j < choice->allocator_count; j++) {
			tm_progress_at(&progress, e->result_count);
			err = try_pair(e, &choice->codecs[i],
				       choice->allocators[j]->name);
		}
	tm_progress_end(&progress);
	return err;
}

/* --- results ---------------------------------------------------------------------- */

static double per(uint64_t a, uint64_t b)
{
	return b ? (double)a / (double)b : 0;
}

static double ratio(const struct result *r)
{
	return per(r->stats.codec_input_bytes,
		   r->stats.counts.compressed_bytes);
}

static double effective_ratio(const struct estimate *e, const struct result *r)
{
	return per(e->pages.count * TMEM_PAGE_SIZE,
		   r->stats.arena_bytes + r->stats.metadata_bytes);
}

static void print_header(const struct estimate *e)
{
	char size[16];

	printf("%zu pages (%s)", e->pages.count,
	       tm_report_size(e->pages.count * TMEM_PAGE_SIZE, size,
			      sizeof(size)));
	if (e->pages.offered > e->pages.count)
		printf(", a sample of %" PRIu64, e->pages.offered);
	printf("; %" PRIu64 " of one repeated word\n\n", e->same_filled);
}

static void print_table(const struct estimate *e)
{
	static const char *const titles[] = {
		"codec", "allocator", "compressed", "frames", "metadata",
		"ratio", "effective", "put p50/p99 ns", "get p50/p99 ns",
	};
	struct tm_report report;
	char size[16];

	print_header(e);
	tm_report_begin(&report, titles, sizeof(titles) / sizeof(titles[0]));
	for (size_t i = 0; i < e->result_count; i++) {
		const struct result *r = &e->results[i];
		const struct tmem_store_stats *s = &r->stats;

		tm_report_cell(&report, "%s", r->codec->spec);
		tm_report_cell(&report, "%s", r->allocator);
		tm_report_cell(&report, "%s",
			       tm_report_size(s->counts.compressed_bytes, size,
					      sizeof(size)));
		tm_report_cell(&report, "%s",
			       tm_report_size(s->arena_bytes, size,
					      sizeof(size)));
		tm_report_cell(&report, "%s",
			       tm_report_size(s->metadata_bytes, size,
					      sizeof(size)));
		tm_report_cell(&report, "%.2f", ratio(r));
		tm_report_cell(&report, "%.2f", effective_ratio(e, r));
		tm_report_cell(&report, "%" PRIu64 "/%" PRIu64, r->put.p50_ns,
			       r->put.p99_ns);
		tm_report_cell(&report, "%" PRIu64 "/%" PRIu64, r->get.p50_ns,
			       r->get.p99_ns);
	}
	tm_report_end(&report, stdout);
}

static json_t *json_of_latency(const struct tmem_latency *latency)
{
	return json_pack("{sI sI sI}", "p50", (json_int_t)latency->p50_ns,
			 "p99", (json_int_t)latency->p99_ns, "mean",
			 (json_int_t)latency->mean_ns);
}

static json_t *json_of_result(const struct estimate *e, const struct result *r)
{
	const struct tmem_store_stats *s = &r->stats;

	return json_pack("{ss ss si sI sI sI sf sf so so}", "codec", s->codec,
			 "allocator", s->allocator, "level", (int)s->level,
			 "compressed_bytes",
			 (json_int_t)s->counts.compressed_bytes, "arena_bytes",
			 (json_int_t)s->arena_bytes, "metadata_bytes",
			 (json_int_t)s->metadata_bytes, "ratio", ratio(r),
			 "effective_ratio", effective_ratio(e, r), "put_ns",
			 json_of_latency(&r->put), "get_ns",
			 json_of_latency(&r->get));
}

static void print_json(const struct estimate *e)
{
	json_t *results = json_array();
	json_t *json;

	for (size_t i = 0; i < e->result_count; i++)
		json_array_append_new(results,
				      json_of_result(e, &e->results[i]));
	json = json_pack("{sI si sI so}", "pages", (json_int_t)e->pages.count,
			 "page_size", TMEM_PAGE_SIZE, "same_filled",
			 (json_int_t)e->same_filled, "results", results);
	json_dumpf(json, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
	putchar('\n');
	json_decref(json);
}

/* Bars: how many times as many pages the same memory holds. */
static int draw(const struct estimate *e)
{
	struct tm_plot plot;
	int err = tm_plot_open(&plot, e->plot_path,
			       "Pages in the memory of one page");

	if (err)
		return err;
	fputs("$data << EOD\n", plot.file);
	for (size_t i = 0; i < e->result_count; i++)
		fprintf(plot.file, "\"%s\\n%s\" %.4f %.4f\n",
			e->results[i].codec->spec, e->results[i].allocator,
			effective_ratio(e, &e->results[i]),
			ratio(&e->results[i]));
	fputs("EOD\n"
	      "set style data histograms\n"
	      "set style histogram clustered gap 1\n"
	      "set style fill solid 0.8 border -1\n"
	      "set yrange [0:*]\n"
	      "set xtics noenhanced font ',10'\n"
	      "set ylabel 'ratio'\n"
	      "plot $data using 2:xtic(1) title 'effective ratio, metadata "
	      "included', '' using 3 title 'ratio of the codec alone'\n",
	      plot.file);
	return tm_plot_close(&plot);
}

/* --- the verb ------------------------------------------------------------------------ */

static int estimate_all(struct estimate *e)
{
	int err = read_sources(e);

	if (!err)
		err = try_all(e);
	if (err)
		return err;
	if (e->is_json)
		print_json(e);
	else
		print_table(e);
	return e->plot_path ? draw(e) : 0;
}

static void clean_up(struct estimate *e)
{
	tm_pages_free(&e->pages);
	tm_choice_free(&e->choice);
	free(e->results);
	free(e->files);
}

static int run(const struct tm_cli_verb *verb, int argc, char **argv)
{
	struct estimate estimate = { .sample = SAMPLE_DEFAULT };
	int operands, err;

	estimate.files = calloc((size_t)argc + 1, sizeof(*estimate.files));
	if (!estimate.files)
		return TM_CLI_FAILED;
	err = tm_cli_parse(verb, argc, argv, &estimate, &operands);
	if (!err) {
		for (int i = 0; i < operands; i++)
			set_file(&estimate, argv[i]);
		err = check_usage(&estimate);
	}
	if (!err)
		err = tm_choice_make(&estimate.choice, estimate.codecs,
				     estimate.allocators);
	if (err) {
		clean_up(&estimate);
		return err > 0 ? TM_CLI_OK : TM_CLI_USAGE;
	}
	err = estimate_all(&estimate);
	clean_up(&estimate);
	return err ? TM_CLI_FAILED : TM_CLI_OK;
}

const struct tm_cli_verb tm_cli_estimate = {
	.name = "estimate",
	.summary = "what would tmem save here, with each codec and allocator?",
	.usage = "(--pid PID | --file PATH... | --pages DUMP) [OPTION]...",
	.options = options,
	.run = run,
};
