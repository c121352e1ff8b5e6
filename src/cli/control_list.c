/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tmem list and tmem stats: who is there, and what the store holds.
 *
 * For people a table; for programs the daemon's own JSON, unchanged; for
 * parsers of xl's tmem-list the text they know (--raw), which the daemon makes.
 */
#include <config.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control_client.h"
#include "disk_notes.h"
#include "http_client.h"
#include "report.h"

#define NAME_SIZE (TMEM_CLIENT_NAME_MAX + 1)

struct list {
	struct tm_cli_target target;
	bool is_long;
	bool is_raw;
};

static int set_long(void *target, const char *value)
{
	(void)value;
	((struct list *)target)->is_long = true;
	return 0;
}

static int set_raw(void *target, const char *value)
{
	(void)value;
	((struct list *)target)->is_raw = true;
	return 0;
}

static const struct tm_cli_option list_options[] = {
	TM_CLI_TARGET_OPTIONS,
	{ "long", NULL, "more of each client, and its pools", set_long },
	{ "raw", NULL, "the two-letter text of xl tmem-list", set_raw },
	{ NULL, NULL, NULL, NULL },
};

static const struct tm_cli_letter list_letters[] = {
	{ 'a', "all" },
	{ 'l', "long" },
	{ 0, NULL },
};

/* --- tables -------------------------------------------------------------- */

static void size_cell(struct tm_report *report, uint64_t bytes, bool is_shown)
{
	char text[16];

	tm_report_cell(report, "%s",
		       is_shown ? tm_report_size(bytes, text, sizeof(text)) :
				  "-");
}

static void share_cell(struct tm_report *report, uint64_t part, uint64_t whole)
{
	if (whole)
		tm_report_cell(report, "%.1f%%",
			       100 * (double)part / (double)whole);
	else
		tm_report_cell(report, "-");
}

static void latency_cell(struct tm_report *report, const json_t *object,
			 const char *key)
{
	const json_t *latency = json_object_get(object, key);

	if (tm_cli_number(latency, "samples"))
		tm_report_cell(report, "%.1f/%.1f",
			       (double)tm_cli_number(latency, "p50_ns") / 1e3,
			       (double)tm_cli_number(latency, "p99_ns") / 1e3);
	else
		tm_report_cell(report, "-");
}

/* Of the pages that a codec saw. */
static void ratio_cell(struct tm_report *report, const json_t *counts)
{
	uint64_t stored = tm_cli_number(counts, "compressed_bytes");
	uint64_t pages = tm_cli_number(counts, "pages") -
			 tm_cli_number(counts, "same_filled") -
			 tm_cli_number(counts, "shared_copies");

	if (stored)
		tm_report_cell(report, "%.2f",
			       (double)pages * TMEM_PAGE_SIZE / (double)stored);
	else
		tm_report_cell(report, "-");
}

static const char *state_of(const json_t *client)
{
	if (tm_cli_flag(client, "migrating"))
		return "migrating";
	if (tm_cli_flag(client, "frozen"))
		return "frozen";
	return tm_cli_flag(client, "attached") ? "attached" : "away";
}

static void print_short_row(struct tm_report *report, const json_t *client)
{
	uint64_t reservation = tm_cli_number(client, "reservation_bytes");
	uint64_t cap = tm_cli_number(client, "cap_bytes");
	uint64_t gets = tm_cli_number(client, "gets");
	char name[NAME_SIZE];

	tm_report_cell(report, "%s",
		       tm_cli_text(client, "name", name, sizeof(name)));
	tm_report_cell(report, "%" PRIu64, tm_cli_number(client, "number"));
	tm_report_cell(report, "%s", state_of(client));
	tm_report_cell(report, "%" PRIu64, tm_cli_number(client, "weight"));
	size_cell(report, reservation, reservation);
	size_cell(report, cap, cap);
	tm_report_cell(report, "%" PRIu64, tm_cli_number(client, "pages"));
	size_cell(report, tm_cli_number(client, "compressed_bytes"), true);
	ratio_cell(report, client);
	tm_report_cell(report, "%" PRIu64, tm_cli_number(client, "puts"));
	tm_report_cell(report, "%" PRIu64, gets);
	share_cell(report, gets, gets + tm_cli_number(client, "gets_missed"));
}

/* As `tmem set --codec` takes it. */
static void codec_cell(struct tm_report *report, const json_t *client)
{
	json_int_t level =
		json_integer_value(json_object_get(client, "level"));
	char name[NAME_SIZE];

	tm_cli_text(client, "codec", name, sizeof(name));
	if (level)
		tm_report_cell(report, "%s:%" JSON_INTEGER_FORMAT, name, level);
	else
		tm_report_cell(report, "%s", name);
}

static void print_long_row(struct tm_report *report, const json_t *client)
{
	char allocator[NAME_SIZE];

	size_cell(report, tm_cli_number(client, "billed_bytes"), true);
	codec_cell(report, client);
	tm_report_cell(report, "%s",
		       tm_cli_text(client, "allocator", allocator,
				   sizeof(allocator)));
	tm_report_cell(report, "%" PRIu64,
		       tm_cli_number(client, "trust_domain"));
	for (size_t i = 0; i < 4; i++) {
		static const char *const keys[] = { "puts_refused", "flushes",
						    "evicted", "corrupt" };

		tm_report_cell(report, "%" PRIu64,
			       tm_cli_number(client, keys[i]));
	}
	latency_cell(report, client, "put");
	latency_cell(report, client, "get");
}

static const char *const titles[] = {
	"client", "id",	    "state", "weight", "reserved", "cap",
	"pages",  "stored", "ratio", "puts",   "gets",	   "hits",
	/* of --long */
	"billed", "codec", "allocator", "trust", "refused", "flushes",
	"evicted", "corrupt", "put us", "get us",
};
#define SHORT_TITLES 12
#define LONG_TITLES (sizeof(titles) / sizeof(titles[0]))

static void print_pools(const json_t *clients)
{
	static const char *const pool_titles[] = {
		"client", "pool", "kind", "uuid", "members", "pages", "objects",
	};
	struct tm_report report;
	const json_t *client, *pool;
	size_t i, j;

	putchar('\n');
	tm_report_begin(&report, pool_titles,
			sizeof(pool_titles) / sizeof(pool_titles[0]));
	json_array_foreach(clients, i, client)
		json_array_foreach(json_object_get(client, "pools"), j, pool) {
			bool is_shared = tm_cli_flag(pool, "shared");
			char text[NAME_SIZE];

			tm_report_cell(&report, "%s",
				       tm_cli_text(client, "name", text,
						   sizeof(text)));
			tm_report_cell(&report, "%" PRIu64,
				       tm_cli_number(pool, "id"));
			tm_report_cell(&report, "%s%s",
				       tm_cli_flag(pool, "persistent") ?
					       "persistent" :
					       "ephemeral",
				       is_shared ? " shared" : "");
			tm_cli_text(pool, "uuid", text, sizeof(text));
			tm_report_cell(&report, "%s", *text ? text : "-");
			for (size_t k = 0; k < 3; k++) {
				static const char *const keys[] = {
					"members", "pages", "objects"
				};

				tm_report_cell(&report, "%" PRIu64,
					       tm_cli_number(pool, keys[k]));
			}
		}
	tm_report_end(&report, stdout);
}

static void print_clients(const json_t *clients, bool is_long)
{
	struct tm_report report;
	const json_t *client;
	size_t i;

	tm_report_begin(&report, titles, is_long ? LONG_TITLES : SHORT_TITLES);
	json_array_foreach(clients, i, client) {
		print_short_row(&report, client);
		if (is_long)
			print_long_row(&report, client);
	}
	tm_report_end(&report, stdout);
	if (is_long)
		print_pools(clients);
}

/* --- list ---------------------------------------------------------------- */

static int list_raw(const struct list *list)
{
	char path[TM_CLI_PATH_SIZE], name[3 * TMEM_CLIENT_NAME_MAX + 4] = "";
	char *text;

	if (list->target.client)
		tm_http_encode(list->target.client, name, sizeof(name));
	snprintf(path, sizeof(path), "/list?%s%s%s",
		 list->is_long ? "long=1&" : "", *name ? "client=" : "", name);
	text = tm_cli_ask_text(&list->target.control, path);
	if (!text)
		return TM_CLI_FAILED;
	puts(text);
	free(text);
	return TM_CLI_OK;
}

/* What of a guest's disk is to be said beside its client. */
static void note_disks(const struct list *list)
{
	json_t *disks = tm_cli_ask(&list->target.control, "GET", "/disks", NULL);

	if (!disks)
		return;
	tm_cli_disk_notes(disks);
	json_decref(disks);
}

static int list_clients(const struct list *list)
{
	char path[TM_CLI_PATH_SIZE] = "/clients";
	json_t *answer, *clients;

	if (list->target.client)
		tm_cli_client_path(&list->target, "", path);
	answer = tm_cli_ask(&list->target.control, "GET", path, NULL);
	if (!answer)
		return TM_CLI_FAILED;
	if (list->target.control.is_json) {
		tm_cli_print_json(answer);
	} else if (json_is_array(answer)) {
		print_clients(answer, list->is_long);
		note_disks(list);
	} else {
		clients = json_array();
		json_array_append(clients, answer);
		print_clients(clients, list->is_long);
		json_decref(clients);
	}
	json_decref(answer);
	return TM_CLI_OK;
}

static int run_list(const struct tm_cli_verb *verb, int argc, char **argv)
{
	struct list list = { 0 };
	int operands;
	int err = tm_cli_parse(verb, argc, argv, &list, &operands);

	if (err)
		return err > 0 ? TM_CLI_OK : TM_CLI_USAGE;
	/* Here all is what nobody has to ask for. */
	if ((operands || list.target.is_all) &&
	    tm_cli_target_operand(verb, &list.target, operands, argv))
		return TM_CLI_USAGE;
	if (list.is_raw && list.target.control.is_json) {
		tm_cli_error("list: either --raw or --json, not both");
		return TM_CLI_USAGE;
	}
	return list.is_raw ? list_raw(&list) : list_clients(&list);
}

const struct tm_cli_verb tm_cli_list = {
	.name = "list",
	.summary = "list the daemon's clients",
	.usage = "[CLIENT|-a] [--long] [--raw|--json]",
	.options = list_options,
	.run = run_list,
	.letters = list_letters,
	.was_tmem = true,
};

/* --- stats --------------------------------------------------------------- */

static const struct tm_cli_option stats_options[] = {
	TM_CLI_CONTROL_OPTIONS,
	{ NULL, NULL, NULL, NULL },
};

static void size_line(const char *what, const json_t *object, const char *key)
{
	char text[16];

	printf("%-12s %s\n", what,
	       tm_report_size(tm_cli_number(object, key), text, sizeof(text)));
}

static void number_line(const char *what, const json_t *object, const char *key)
{
	printf("%-12s %" PRIu64 "\n", what, tm_cli_number(object, key));
}

static void latency_line(const char *what, const json_t *latency)
{
	if (tm_cli_number(latency, "samples"))
		printf("%-12s p50 %.1f us, p99 %.1f us\n", what,
		       (double)tm_cli_number(latency, "p50_ns") / 1e3,
		       (double)tm_cli_number(latency, "p99_ns") / 1e3);
}

static void print_stats(const json_t *answer)
{
	const json_t *store = json_object_get(answer, "store");
	const json_t *counts = json_object_get(answer, "counts");
	char text[64];

	printf("%-12s %s", "codec",
	       tm_cli_text(store, "codec", text, sizeof(text)));
	printf(":%" JSON_INTEGER_FORMAT "\n",
	       json_integer_value(json_object_get(store, "level")));
	printf("%-12s %s\n", "allocator",
	       tm_cli_text(store, "allocator", text, sizeof(text)));
	size_line("limit", store, "memory_bytes");
	size_line("used", store, "used_bytes");
	size_line("  pages", store, "arena_bytes");
	size_line("  metadata", store, "metadata_bytes");
	size_line("  idle", store, "idle_bytes");
	size_line("needed", store, "needed_bytes");
	size_line("freeable", store, "freeable_bytes");
	number_line("clients", store, "clients");
	number_line("objects", store, "objects");
	number_line("pages", counts, "pages");
	number_line("same-filled", counts, "same_filled");
	size_line("compressed", counts, "compressed_bytes");
	number_line("puts", counts, "puts");
	number_line("refused", counts, "puts_refused");
	number_line("gets", counts, "gets");
	number_line("missed", counts, "gets_missed");
	number_line("flushes", counts, "flushes");
	number_line("evicted", counts, "evicted");
	number_line("corrupt", counts, "corrupt");
	latency_line("put", json_object_get(counts, "put"));
	latency_line("get", json_object_get(counts, "get"));
}

static int run_stats(const struct tm_cli_verb *verb, int argc, char **argv)
{
	struct tm_cli_control control = { 0 };
	json_t *answer;
	int operands;
	int err = tm_cli_parse(verb, argc, argv, &control, &operands);

	if (err)
		return err > 0 ? TM_CLI_OK : TM_CLI_USAGE;
	if (operands) {
		tm_cli_error("stats: wants no operand such as \"%s\"; `tmem "
			     "list` shows clients",
			     argv[0]);
		return TM_CLI_USAGE;
	}
	answer = tm_cli_ask(&control, "GET", "/stats", NULL);
	if (!answer)
		return TM_CLI_FAILED;
	if (control.is_json)
		tm_cli_print_json(answer);
	else
		print_stats(answer);
	json_decref(answer);
	return TM_CLI_OK;
}

const struct tm_cli_verb tm_cli_stats = {
	.name = "stats",
	.summary = "what the daemon's store holds and has done",
	.usage = "",
	.options = stats_options,
	.run = run_stats,
};
