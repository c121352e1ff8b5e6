/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tmem top: what each client is doing, sample by sample.
 *
 * A sample is the daemon's list of clients; rates are the difference of two,
 * matched by number and name, over the time between them by our own clock. A
 * client that was not there before, or whose counters fell (it was made anew),
 * has no rates yet. What a client has is a row, and what can be shown of it a
 * row of tm_top_columns; the screen (top_screen.c), batch mode, JSON and the
 * sort keys all walk that table.
 *
 * Batch mode prints a table for each sample (or a line of JSON), the first one
 * after one delay, so that it has rates too.
 */
#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "nearest.h"
#include "report.h"
#include "top.h"

#define NOT_KNOWN (-1.0)

/* --- columns ------------------------------------------------------------- */

#define VALUE(field)                                            \
	static double field##_of(const struct tm_top_row *row)  \
	{                                                       \
		return (double)row->field;                      \
	}
VALUE(number)
VALUE(mem_kib)
VALUE(maxmem_kib)
VALUE(pages)
VALUE(ratio)
VALUE(puts_per_s)
VALUE(gets_per_s)
VALUE(flushes_per_s)
VALUE(hit_pct)
VALUE(evicted)
VALUE(refused)
VALUE(put_p50_us)
VALUE(put_p99_us)
VALUE(get_p50_us)
VALUE(get_p99_us)

static double compressed_of(const struct tm_top_row *row)
{
	return (double)row->compressed_bytes / 1024;
}

const struct tm_top_column tm_top_columns[TM_TOP_COLUMNS] = {
	{ "name", "CLIENT", 'n', 16, NULL, 0 },
	{ "number", "ID", 'i', 4, number_of, 0 },
	{ "mem", "MEM(k)", 'm', 9, mem_kib_of, 0 },
	{ "maxmem", "MAXMEM(k)", 'x', 9, maxmem_kib_of, 0 },
	{ "pages", "PAGES", 'p', 9, pages_of, 0 },
	{ "compressed", "COMPR(k)", 'c', 9, compressed_of, 0 },
	{ "ratio", "RATIO", 'o', 6, ratio_of, 2 },
	{ "puts", "PUT/s", 'u', 8, puts_per_s_of, 0 },
	{ "gets", "GET/s", 'g', 8, gets_per_s_of, 0 },
	{ "flushes", "FLUSH/s", 'f', 8, flushes_per_s_of, 0 },
	{ "hits", "HIT%", 'h', 6, hit_pct_of, 1 },
	{ "evicted", "EVICTED", 'e', 8, evicted_of, 0 },
	{ "refused", "REFUSED", 'r', 8, refused_of, 0 },
	{ "put-p50", "PUT50us", 0, 8, put_p50_us_of, 1 },
	{ "put-p99", "PUT99us", 'U', 8, put_p99_us_of, 1 },
	{ "get-p50", "GET50us", 0, 8, get_p50_us_of, 1 },
	{ "get-p99", "GET99us", 'G', 8, get_p99_us_of, 1 },
};

void tm_top_cell(const struct tm_top_row *row,
		 const struct tm_top_column *column, char *text, size_t size)
{
	double value;

	if (!column->value) {
		snprintf(text, size, "%s", row->name);
		return;
	}
	value = column->value(row);
	if (value < 0)
		snprintf(text, size, "-");
	else
		snprintf(text, size, "%.*f", column->decimals, value);
}

/* --- sorting ------------------------------------------------------------- */

/* Largest first; names and numbers in rising order. */
static int compare(const void *a, const void *b, void *opaque)
{
	const struct tm_top *top = opaque;
	const struct tm_top_row *left = a, *right = b;
	const struct tm_top_column *column = &tm_top_columns[top->sort];
	int order = 0;

	if (!column->value) {
		order = strcmp(left->name, right->name);
	} else {
		double x = column->value(left), y = column->value(right);

		order = (x < y) - (x > y);
		if (column->value == number_of)
			order = -order;
	}
	if (top->is_reversed)
		order = -order;
	return order ? order :
		       (left->number > right->number) -
			       (left->number < right->number);
}

void tm_top_sort(struct tm_top *top)
{
	if (top->row_count)
		qsort_r(top->rows, top->row_count, sizeof(*top->rows), compare,
			top);
}

/* --- samples ------------------------------------------------------------- */

static const json_t *find_before(const json_t *clients, const json_t *client)
{
	const json_t *before;
	size_t i;

	json_array_foreach(clients, i, before)
		if (tm_cli_number(before, "number") ==
			    tm_cli_number(client, "number") &&
		    json_equal(json_object_get(before, "name"),
			       json_object_get(client, "name")))
			return before;
	return NULL;
}

/* How much a counter has risen; negative: not known. */
static double rise(const json_t *before, const json_t *client, const char *key)
{
	uint64_t then = tm_cli_number(before, key);
	uint64_t now = tm_cli_number(client, key);

	return before && now >= then ? (double)(now - then) : NOT_KNOWN;
}

static double rate(double risen, double seconds)
{
	return risen < 0 || seconds <= 0 ? NOT_KNOWN : risen / seconds;
}

static int64_t kib_or_unknown(const json_t *client, const char *key)
{
	const json_t *value = json_object_get(client, key);

	return json_is_integer(value) ? (int64_t)json_integer_value(value) : -1;
}

static void set_latency(const json_t *latency, double *p50_us, double *p99_us)
{
	bool is_known = tm_cli_number(latency, "samples") > 0;

	*p50_us = is_known ? (double)tm_cli_number(latency, "p50_ns") / 1e3 :
			     NOT_KNOWN;
	*p99_us = is_known ? (double)tm_cli_number(latency, "p99_ns") / 1e3 :
			     NOT_KNOWN;
}

static void make_row(struct tm_top_row *row, const json_t *client,
		     const json_t *before, double seconds)
{
	double hits = rise(before, client, "gets");
	double misses = rise(before, client, "gets_missed");
	uint64_t coded = tm_cli_number(client, "pages") -
			 tm_cli_number(client, "same_filled") -
			 tm_cli_number(client, "shared_copies");

	tm_cli_text(client, "name", row->name, sizeof(row->name));
	row->number = tm_cli_number(client, "number");
	row->mem_kib = kib_or_unknown(client, "mem_kib");
	row->maxmem_kib = kib_or_unknown(client, "maxmem_kib");
	row->pages = tm_cli_number(client, "pages");
	row->compressed_bytes = tm_cli_number(client, "compressed_bytes");
	row->ratio = row->compressed_bytes ?
			     (double)coded * TMEM_PAGE_SIZE /
				     (double)row->compressed_bytes :
			     NOT_KNOWN;
	row->puts_per_s = rate(rise(before, client, "puts"), seconds);
	row->gets_per_s = rate(hits, seconds);
	row->flushes_per_s = rate(rise(before, client, "flushes"), seconds);
	row->hit_pct = hits >= 0 && misses >= 0 && hits + misses > 0 ?
			       100 * hits / (hits + misses) :
			       NOT_KNOWN;
	row->evicted = tm_cli_number(client, "evicted");
	row->refused = tm_cli_number(client, "puts_refused");
	set_latency(json_object_get(client, "put"), &row->put_p50_us,
		    &row->put_p99_us);
	set_latency(json_object_get(client, "get"), &row->get_p50_us,
		    &row->get_p99_us);
}

static int make_rows(struct tm_top *top, const json_t *clients, double seconds)
{
	size_t count = json_array_size(clients), i;
	struct tm_top_row *rows = calloc(count + 1, sizeof(*rows));
	const json_t *client;

	if (!rows) {
		tm_cli_error("top: %s", strerror(ENOMEM));
		return -EIO;
	}
	json_array_foreach(clients, i, client)
		make_row(&rows[i], client, find_before(top->clients, client),
			 seconds);
	free(top->rows);
	top->rows = rows;
	top->row_count = count;
	return 0;
}

int tm_top_sample(struct tm_top *top)
{
	json_t *store = tm_cli_ask(&top->control, "GET", "/store", NULL);
	json_t *clients =
		store ? tm_cli_ask(&top->control, "GET", "/clients", NULL) :
			NULL;
	uint64_t now_ns = tm_clock_now_ns(tm_clock_system());
	double seconds = (double)(now_ns - top->sampled_ns) / 1e9;
	int err;

	if (!clients) {
		json_decref(store);
		return -EIO;
	}
	top->used_bytes = tm_cli_number(store, "used_bytes");
	top->memory_bytes = tm_cli_number(store, "memory_bytes");
	top->freeable_bytes = tm_cli_number(store, "freeable_bytes");
	json_decref(store);
	err = make_rows(top, clients, seconds);
	json_decref(top->clients);
	top->clients = clients;
	top->sampled_ns = now_ns;
	tm_top_sort(top);
	return err;
}

/* --- guests and their balloons ------------------------------------------- */

size_t tm_top_balloon(struct tm_balloon_guest *guests, size_t max)
{
	size_t count;
	char *text;

	if (tm_balloon_state_read(&text))
		return 0;
	count = tm_balloon_state_parse(text, guests, max);
	free(text);
	return count;
}

static void print_balloon(void)
{
	static const char *const titles[] = { "GUEST",	   "HAS(k)",
					      "MOST(k)",   "TARGET(k)",
					      "FLOOR(k)", "TRUSTED" };
	struct tm_balloon_guest guests[TM_TOP_BALLOON_MAX];
	size_t count = tm_top_balloon(guests, TM_TOP_BALLOON_MAX);
	struct tm_report report;

	if (!count)
		return;
	tm_report_begin(&report, titles, 6);
	for (size_t i = 0; i < count; i++) {
		const struct tm_balloon_guest *g = &guests[i];

		tm_report_cell(&report, "%s", g->name);
		tm_report_cell(&report, "%" PRIu64, g->current_bytes >> 10);
		tm_report_cell(&report, "%" PRIu64, g->max_bytes >> 10);
		tm_report_cell(&report, "%" PRIu64, g->target_bytes >> 10);
		tm_report_cell(&report, "%" PRIu64, g->floor_bytes >> 10);
		tm_report_cell(&report, "%s", g->is_trusted ? "yes" : "no");
	}
	tm_report_end(&report, stdout);
	putchar('\n');
}

/* NULL: there are none. */
static json_t *pack_balloon(void)
{
	struct tm_balloon_guest guests[TM_TOP_BALLOON_MAX];
	size_t count = tm_top_balloon(guests, TM_TOP_BALLOON_MAX);
	json_t *all = count ? json_array() : NULL;

	for (size_t i = 0; i < count; i++) {
		const struct tm_balloon_guest *g = &guests[i];

		json_array_append_new(
			all,
			json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:b}",
				  "guest", g->name, "current_bytes",
				  (json_int_t)g->current_bytes, "max_bytes",
				  (json_int_t)g->max_bytes, "target_bytes",
				  (json_int_t)g->target_bytes, "goal_bytes",
				  (json_int_t)g->goal_bytes, "floor_bytes",
				  (json_int_t)g->floor_bytes, "trusted",
				  (int)g->is_trusted));
	}
	return all;
}

/* --- batch mode ---------------------------------------------------------- */

static void print_table(const struct tm_top *top)
{
	const char *titles[TM_TOP_COLUMNS];
	struct tm_report report;
	char used[16], limit[16], text[80];

	printf("used %s of %s, %" PRIu64 "k freeable\n",
	       tm_report_size(top->used_bytes, used, sizeof(used)),
	       tm_report_size(top->memory_bytes, limit, sizeof(limit)),
	       top->freeable_bytes >> 10);
	for (size_t i = 0; i < TM_TOP_COLUMNS; i++)
		titles[i] = tm_top_columns[i].title;
	tm_report_begin(&report, titles, TM_TOP_COLUMNS);
	for (size_t i = 0; i < top->row_count; i++)
		for (size_t j = 0; j < TM_TOP_COLUMNS; j++) {
			tm_top_cell(&top->rows[i], &tm_top_columns[j], text,
				    sizeof(text));
			tm_report_cell(&report, "%s", text);
		}
	tm_report_end(&report, stdout);
	putchar('\n');
	print_balloon();
}

static void print_line(const struct tm_top *top)
{
	json_t *clients = json_array();
	json_t *all, *balloon;

	for (size_t i = 0; i < top->row_count; i++) {
		json_t *row = json_object();

		for (size_t j = 0; j < TM_TOP_COLUMNS; j++) {
			const struct tm_top_column *c = &tm_top_columns[j];
			double value = c->value ? c->value(&top->rows[i]) : 0;
			json_t *cell = json_null();

			if (!c->value)
				cell = json_string(top->rows[i].name);
			else if (value >= 0 && !c->decimals)
				cell = json_integer((json_int_t)value);
			else if (value >= 0)
				cell = json_real(round(value * 100) / 100);
			json_object_set_new(row, c->key, cell);
		}
		json_array_append_new(clients, row);
	}
	all = json_pack("{s:I, s:I, s:I, s:o}", "used_bytes",
			(json_int_t)top->used_bytes, "memory_bytes",
			(json_int_t)top->memory_bytes, "freeable_bytes",
			(json_int_t)top->freeable_bytes, "clients", clients);
	balloon = pack_balloon();
	if (balloon)
		json_object_set_new(all, "balloon", balloon);
	json_dumpf(all, stdout, JSON_COMPACT | JSON_REAL_PRECISION(12));
	putchar('\n');
	json_decref(all);
}

static void wait_s(double seconds)
{
	struct timespec wait = {
		.tv_sec = (time_t)seconds,
		.tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9),
	};

	while (nanosleep(&wait, &wait) && errno == EINTR)
		;
}

static int run_batch(struct tm_top *top)
{
	for (uint64_t i = 0; !top->count || i < top->count; i++) {
		wait_s(top->delay_s);
		if (tm_top_sample(top))
			return TM_CLI_FAILED;
		if (top->control.is_json)
			print_line(top);
		else
			print_table(top);
		if (fflush(stdout))
			return TM_CLI_FAILED;
	}
	return TM_CLI_OK;
}

/* --- the verb ------------------------------------------------------------ */

static int set_batch(void *target, const char *value)
{
	(void)value;
	((struct tm_top *)target)->is_batch = true;
	return 0;
}

static int set_count(void *target, const char *value)
{
	return tm_cli_set_number(&((struct tm_top *)target)->count, "count",
				 value, 1, UINT32_MAX);
}

static int set_delay(void *target, const char *value)
{
	struct tm_top *top = target;
	char *end;

	top->delay_s = strtod(value, &end);
	if (end != value && !*end && top->delay_s >= 0.1 &&
	    top->delay_s <= 3600)
		return 0;
	return tm_cli_error("--delay: \"%s\" is not a number of seconds from "
			    "0.1 to 3600",
			    value);
}

static int set_sort(void *target, const char *value)
{
	struct tm_top *top = target;
	const char *meant;

	for (size_t i = 0; i < TM_TOP_COLUMNS; i++)
		if (!strcmp(tm_top_columns[i].key, value)) {
			top->sort = i;
			return 0;
		}
	meant = tm_nearest_meant(value, tm_top_columns, TM_TOP_COLUMNS,
				 sizeof(tm_top_columns[0]));
	return tm_cli_error("--sort: no column \"%s\"%s", value,
			    tm_nearest_hint(meant, "\"", "\"").text);
}

static const struct tm_cli_option options[] = {
	TM_CLI_CONTROL_OPTIONS,
	{ "batch", NULL, "print tables, without a screen", set_batch },
	{ "count", "N", "end after so many samples", set_count },
	{ "delay", "SECONDS", "time between samples [2]", set_delay },
	{ "sort", "COLUMN", "sort by this [number]", set_sort },
	{ NULL, NULL, NULL, NULL },
};

static const struct tm_cli_letter letters[] = {
	{ 'b', "batch" },
	{ 'n', "count" },
	{ 'd', "delay" },
	{ 0, NULL },
};

static int run_top(struct tm_top *top)
{
	/* What the first rates are measured from; and is anybody there? */
	if (tm_top_sample(top))
		return TM_CLI_FAILED;
	if (top->is_batch || top->control.is_json)
		return run_batch(top);
	if (!isatty(STDOUT_FILENO) || !isatty(STDIN_FILENO)) {
		tm_cli_error("top: this is no terminal; --batch prints tables");
		return TM_CLI_USAGE;
	}
	return tm_top_screen(top);
}

static int run(const struct tm_cli_verb *verb, int argc, char **argv)
{
	struct tm_top top = { .delay_s = 2, .sort = 1 };
	int operands, status = TM_CLI_USAGE;
	int err = tm_cli_parse(verb, argc, argv, &top, &operands);

	if (err > 0)
		return TM_CLI_OK;
	if (!err && operands)
		tm_cli_error("top: wants no operand such as \"%s\"", argv[0]);
	else if (!err)
		status = run_top(&top);
	json_decref(top.clients);
	free(top.rows);
	return status;
}

const struct tm_cli_verb tm_cli_top = {
	.name = "top",
	.summary = "watch the daemon's clients at work",
	.usage = "[--batch] [--count N] [--delay SECONDS] [--sort COLUMN]",
	.options = options,
	.letters = letters,
	.run = run,
};
