/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tmem bench store: what a store costs beyond its codec.
 *
 * One store goes through all of it, in an order in which nothing measured
 * spoils what follows:
 *
 *	fill		grow_ns, and what the stored pages take
 *	turns		get; put, put with the guest copy; get again: beside
 *			raw calls
 *	compare		every page must come back as it was
 *	single calls	p50 and p99
 *	threads		puts and gets of several, beside raw calls of several
 *	same-filled	a page that is in the cache, over and over
 *	churn, free	densities (bench_store_density.c)
 *
 * Only the first of these touches memory that was never touched; that is why
 * its puts are shown apart. In the turns a put replaces the page that is
 * there, so it also frees. Afterwards neighbours lie far apart, which a get
 * pays for and the packed pages of its baseline do not: therefore two gets.
 */
#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "cli.h"
#include "histogram.h"
#include "report.h"

#define SAME_FILLED_CALLS 20000
#define SAME_FILLED_INDEX UINT32_MAX

const struct tmem_oid *tm_bench_oid(void)
{
	static const struct tmem_oid oid = { { 1, 2, 3 } };

	return &oid;
}

/* --- a store with one pool ------------------------------------------------ */

int tm_bench_store_open(struct tm_bench_store *store, const char *codec,
			const char *allocator, uint64_t memory_bytes)
{
	struct tmem_client_config client_config;
	struct tmem_store_config config;
	int err;

	*store = (struct tm_bench_store){ 0 };
	tmem_store_config_init(&config);
	config.memory_bytes = memory_bytes;
	config.codec = codec;
	config.allocator = allocator;
	config.log = tm_cli_log;
	err = tmem_store_open(&config, &store->store);
	if (err) {
		tm_cli_error("bench: the store cannot be opened with %s and "
			     "%s: %s", codec, allocator, strerror(-err));
		return err;
	}
	tmem_client_config_init(&client_config);
	client_config.name = "bench";
	err = tmem_client_attach(store->store, &client_config, &store->client);
	if (err >= 0)
		err = store->pool = tmem_pool_create(
			store->client, TMEM_POOL_PERSISTENT, NULL);
	if (err >= 0)
		return 0;
	tm_cli_error("bench: no pool can be made: %s", strerror(-err));
	tm_bench_store_close(store);
	return err;
}

void tm_bench_store_close(struct tm_bench_store *store)
{
	tmem_client_detach(store->client);
	tmem_store_close(store->store);
	*store = (struct tm_bench_store){ 0 };
}

void tm_bench_store_stats(struct tm_bench_store *store,
			  struct tmem_store_stats *stats)
{
	memset(stats, 0, sizeof(*stats));
	stats->struct_size = sizeof(*stats);
	stats->counts.struct_size = sizeof(stats->counts);
	tmem_store_get_stats(store->store, stats);
}

/* --- the whole measurement of one store ----------------------------------- */

struct session {
	struct tm_bench *bench;
	struct tm_bench_store store;
	struct tm_bench_packed packed;
	struct tm_bench_lane lane;
	uint32_t *stored;		/* of the order, those stored */
	struct tm_bench_store_result *result;
};

static double per(double a, double b)
{
	return b > 0 ? a / b : 0;
}

static int fill(struct session *s)
{
	const struct tm_bench_pages *pages = &s->bench->pages;
	struct tm_bench_store_result *r = s->result;
	uint64_t begin, ns = 0;
	uint32_t at = 0, kept = 0, refused = 0;

	for (uint32_t i = 0; i < pages->count; i++) {
		bool in_order = at < pages->order_count &&
				pages->order[at] == i;
		int result;

		begin = tm_bench_now_ns();
		result = tmem_put(s->lane.client, s->lane.pool, tm_bench_oid(),
				  i, tm_bench_page(pages, i), 0);
		if (in_order)
			ns += tm_bench_now_ns() - begin;
		if (result < 0)
			return result;
		if (result == TMEM_PUT_REFUSED)
			refused++;
		else if (in_order)
			s->stored[kept++] = i;
		at += in_order;
	}
	r->grow_ns = per((double)ns, pages->order_count);
	r->refused = refused;
	s->lane.order = s->stored;
	s->lane.order_count = kept;
	return 0;
}

static void read_sizes(struct session *s)
{
	struct tm_bench_store_result *r = s->result;
	struct tmem_store_stats stats;
	double memory;

	tm_bench_store_stats(&s->store, &stats);
	r->compressed_bytes = (double)stats.counts.compressed_bytes;
	r->arena_bytes = (double)stats.arena_bytes;
	r->metadata_bytes = (double)stats.metadata_bytes;
	memory = r->arena_bytes + r->metadata_bytes;
	r->ratio = per((double)stats.codec_input_bytes, r->compressed_bytes);
	r->effective_ratio =
		per((double)stats.counts.pages * TMEM_PAGE_SIZE, memory);
	r->overhead = per(memory, r->compressed_bytes);
	r->density.fill = per(r->compressed_bytes, r->arena_bytes);
	r->metadata_bytes_per_page =
		per(r->metadata_bytes, (double)stats.counts.pages);
}

static int take_turns(struct session *s)
{
	struct tm_bench_store_result *r = s->result;
	struct tm_bench_arm arms[TM_BENCH_ARMS_MAX];
	const struct tm_bench_plan put = {
		.arms = { tm_bench_raw_compress_block, tm_bench_put_block,
			  tm_bench_put_unstable_block, tm_bench_memcpy_block },
		.arm_count = 4,
		.rounds = s->bench->rounds,
	}, get = {
		.arms = { tm_bench_raw_decompress_block, tm_bench_get_block },
		.arm_count = 2,
		.rounds = s->bench->rounds,
	};
	int err = tm_bench_arms(&s->lane, &get, arms);

	if (err)
		return err;
	r->raw_decompress = arms[0];
	r->get = arms[1];
	err = tm_bench_arms(&s->lane, &put, arms);
	if (err)
		return err;
	r->raw_compress = arms[0];
	r->put = arms[1];
	r->put_unstable = arms[2];
	r->copy = arms[3];
	err = tm_bench_arms(&s->lane, &get, arms);
	r->raw_decompress_again = arms[0];
	r->get_again = arms[1];
	return err;
}

static int compare(struct session *s)
{
	const struct tm_bench_pages *pages = &s->bench->pages;

	for (uint32_t i = 0; i < pages->count; i++) {
		int result = tmem_get(s->lane.client, s->lane.pool,
				      tm_bench_oid(), i, s->lane.page, 0);

		if (result == TMEM_GET_MISS && !s->result->refused &&
		    !s->lane.refused) {
			tm_cli_error("bench: page %u was lost", i);
			return -EIO;
		}
		if (result < 0 ||
		    (result == TMEM_GET_HIT &&
		     memcmp(s->lane.page, tm_bench_page(pages, i),
			    TMEM_PAGE_SIZE))) {
			tm_cli_error("bench: page %u came back wrong", i);
			return -EIO;
		}
	}
	return 0;
}

/* One call at a time, between two looks at the clock. */
static int time_calls(struct session *s, tm_bench_block_fn *call,
		      struct tm_bench_latency *latency)
{
	struct tm_histogram *histogram = calloc(1, sizeof(*histogram));
	struct tmem_latency summary;

	if (!histogram)
		return -ENOMEM;
	for (uint32_t i = 0; i < s->lane.order_count && !s->lane.error; i++) {
		uint64_t begin = tm_bench_now_ns();

		call(&s->lane, i, 1);
		tm_histogram_add(histogram, tm_bench_now_ns() - begin);
	}
	tm_histogram_summary(histogram, &summary);
	free(histogram);
	*latency = (struct tm_bench_latency){
		.p50_ns = (double)summary.p50_ns,
		.p99_ns = (double)summary.p99_ns,
		.mean_ns = (double)summary.mean_ns,
	};
	return s->lane.error;
}

static int time_same_filled(struct session *s)
{
	double put[TM_BENCH_ROUNDS_MAX], get[TM_BENCH_ROUNDS_MAX];
	struct tm_bench_lane *lane = &s->lane;
	uint64_t begin;
	int last = 0;

	for (uint32_t round = 0; round < s->bench->rounds; round++) {
		memset(lane->page, 7, TMEM_PAGE_SIZE);
		begin = tm_bench_cpu_ns();
		for (int i = 0; i < SAME_FILLED_CALLS; i++)
			last = tmem_put(lane->client, lane->pool,
					tm_bench_oid(), SAME_FILLED_INDEX,
					lane->page, 0);
		put[round] = (double)(tm_bench_cpu_ns() - begin) /
			     SAME_FILLED_CALLS;
		if (last != TMEM_PUT_STORED)
			return last;
		begin = tm_bench_cpu_ns();
		for (int i = 0; i < SAME_FILLED_CALLS; i++)
			last = tmem_get(lane->client, lane->pool,
					tm_bench_oid(), SAME_FILLED_INDEX,
					lane->page, 0);
		get[round] = (double)(tm_bench_cpu_ns() - begin) /
			     SAME_FILLED_CALLS;
		if (last != TMEM_GET_HIT)
			return last;
	}
	tmem_flush_page(lane->client, lane->pool, tm_bench_oid(),
			SAME_FILLED_INDEX);
	s->result->same_filled_put_ns =
		tm_bench_median(put, s->bench->rounds);
	s->result->same_filled_get_ns =
		tm_bench_median(get, s->bench->rounds);
	return 0;
}

static int measure_filled(struct session *s)
{
	struct tm_bench_store_result *r = s->result;
	int err = take_turns(s);

	if (!err)
		err = compare(s);
	if (!err)
		err = time_calls(s, tm_bench_put_block, &r->put_latency);
	if (!err)
		err = time_calls(s, tm_bench_get_block, &r->get_latency);
	if (!err)
		err = tm_bench_store_threads(s->bench, &s->lane, r);
	if (!err)
		err = time_same_filled(s);
	if (!err)
		err = tm_bench_store_density(s->bench, &s->store, &r->density);
	if (!err && tmem_store_check(s->store.store))
		err = -EBADMSG;
	return err;
}

static int measure(struct session *s)
{
	const char *codec = s->result->codec->spec;
	int err = fill(s);

	if (!err && !s->lane.order_count) {
		tm_cli_error("bench: every put was refused: give more "
			     "--memory");
		return -ENOSPC;
	}
	read_sizes(s);
	if (!err)
		err = measure_filled(s);
	s->result->refused += (double)s->lane.refused;
	if (err)
		tm_cli_error("bench: %s over %s: %s", codec,
			     s->result->allocator, strerror(-err));
	return err;
}

/* Everything, should nothing compress; what is not used costs nothing. */
static uint64_t enough_memory(const struct tm_bench *bench)
{
	uint64_t bytes = (uint64_t)bench->pages.count * TMEM_PAGE_SIZE;

	if (bench->memory_bytes)
		return bench->memory_bytes;
	return bytes + bytes / 4 + (UINT64_C(64) << 20);
}

static int run_one(struct tm_bench *bench, struct tm_bench_store_result *r)
{
	struct session s = {
		.bench = bench,
		.result = r,
		.lane = {
			.pages = &bench->pages,
			.order = bench->pages.order,
			.order_count = bench->pages.order_count,
		},
	};
	int err = tm_bench_raw_open(&s.lane.raw, r->codec);

	if (err)
		return err;
	s.lane.page = s.lane.raw.page;
	s.lane.packed = &s.packed;
	s.stored = calloc(bench->pages.order_count, sizeof(*s.stored));
	err = s.stored ? tm_bench_pack(&s.packed, &s.lane.raw, &bench->pages) :
			 -ENOMEM;
	if (!err)
		err = tm_bench_store_open(&s.store, r->codec->spec,
					  r->allocator, enough_memory(bench));
	if (!err) {
		s.lane.client = s.store.client;
		s.lane.pool = s.store.pool;
		err = measure(&s);
		tm_bench_store_close(&s.store);
	}
	tm_bench_packed_free(&s.packed);
	tm_bench_raw_close(&s.lane.raw);
	free(s.stored);
	if (!err)
		err = tm_bench_store_small(bench, r);
	return err;
}

/* --- the original's headline, and results --------------------------------- */

struct report {
	struct tm_bench_store_result *results;
	uint32_t count;
	struct tm_bench_history *history;
	uint32_t history_count;
};

static int run_history(struct tm_bench *bench, struct report *report)
{
	const struct tm_choice *choice = &bench->choice;
	const struct tmem_codec *table;

	report->history = calloc(TM_CHOICE_MAX, sizeof(*report->history));
	if (!report->history)
		return -ENOMEM;
	for (size_t i = 0; i < TM_CHOICE_MAX &&
			   (table = tmem_plugins_codec(choice->plugins, i));
	     i++) {
		struct tm_bench_history *h =
			&report->history[report->history_count];
		int err;

		if (table->flags & TMEM_CODEC_STORES_RAW)
			continue;
		h->codec = table->name;
		err = tm_bench_store_history(bench, choice->allocators[0]->name,
					     h);
		if (err)
			return err;
		report->history_count++;
	}
	return 0;
}

static int run_all(struct tm_bench *bench, struct report *report)
{
	const struct tm_choice *choice = &bench->choice;
	size_t total = choice->codec_count * choice->allocator_count;
	struct tm_progress progress;
	int err = 0;

	report->results = calloc(total, sizeof(*report->results));
	if (!report->results)
		return -ENOMEM;
	tm_progress_begin(&progress, "stores", total + 1);
	for (size_t i = 0; !err && i < total; i++) {
		struct tm_bench_store_result *r = &report->results[i];

		tm_progress_at(&progress, i);
		r->codec = &choice->codecs[i / choice->allocator_count];
		r->allocator =
			choice->allocators[i % choice->allocator_count]->name;
		err = run_one(bench, r);
		report->count++;
	}
	tm_progress_at(&progress, total);
	if (!err)
		err = run_history(bench, report);
	tm_progress_end(&progress);
	return err;
}

/* Who measures one codec over one allocator finds its figures at the top. */
static void repeat_first(json_t *head, json_t *result)
{
	static const char *const keys[] = {
		"raw_compress_ns", "raw_decompress_ns", "memcpy_ns",
		"grow_ns",	   "puts_per_s",	"gets_per_s",
		"overhead",	   "density",
	};

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		json_object_set(head, keys[i], json_object_get(result, keys[i]));
}

static int give_json(const struct tm_bench *bench, const struct report *report)
{
	json_t *head = tm_bench_json_head(bench);
	json_t *results = json_array(), *history = json_array();

	for (uint32_t i = 0; i < report->count; i++)
		json_array_append_new(
			results, tm_bench_json_store(&report->results[i]));
	for (uint32_t i = 0; i < report->history_count; i++)
		json_array_append_new(
			history, tm_bench_json_history(&report->history[i]));
	json_object_set_new(head, "results", results);
	json_object_set_new(head, "history", history);
	repeat_first(head, json_array_get(results, 0));
	return tm_bench_json_finish(bench, head);
}

int tm_bench_store_run(struct tm_bench *bench)
{
	struct report report = { 0 };
	int err = run_all(bench, &report);

	if (!err)
		err = give_json(bench, &report);
	if (!err && !bench->is_json) {
		tm_bench_report_head(bench);
		for (uint32_t i = 0; i < report.count; i++)
			tm_bench_report_store(&report.results[i]);
		tm_bench_report_history(report.history, report.history_count);
	}
	if (!err && bench->plot_path)
		err = tm_bench_plot_store(bench->plot_path, &report.results[0]);
	free(report.results);
	free(report.history);
	return err;
}
