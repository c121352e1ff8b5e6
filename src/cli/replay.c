/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tmem replay: real pages into a store and back.
 *
 * Clients are made of real things: a process or a dump is a client whose
 * anonymous pages go into a persistent pool (as if they were swapped out), a
 * directory one whose files' pages go into an ephemeral pool (as if they were
 * dropped from a page cache), an object for each file. Their pages are copied
 * once, put in turn, so that the clients compete for the memory limit, then
 * got back and compared byte for byte.
 *
 * What must be true: a persistent page that was stored comes back as it was;
 * an ephemeral one comes back as it was or not at all. Anything else is a bug
 * of the store, reported and answered with status 1.
 */
#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "pages.h"
#include "report.h"

#define CLIENTS_MAX 64
/* Pages put for one client before it is the next one's turn. */
#define TURN_PAGES 32
/* Idle while pages of an earlier replay are still there. */
#define CLEAR_MS 10000
#define MOST_PAGES_DEFAULT (UINT64_C(512) << 20 >> 12)

enum kind { KIND_PROCESS, KIND_DIRECTORY, KIND_DUMP };

/* A file of a directory, or all of a process: pages [first, first + count). */
struct object {
	size_t first;
	size_t count;
};

struct replayed {
	enum kind kind;
	const char *source;
	char name[TMEM_CLIENT_NAME_MAX + 1];
	struct tmem_client_config config;
	struct tm_pages pages;
	struct object *objects;
	size_t object_count;
	uint8_t *is_stored;	/* one for each page */
	struct tmem_client *client;
	int pool;
	size_t at_page;
	size_t at_object;
	uint64_t identical;	/* pages like one that came before */
	uint64_t verified;
	uint64_t wrong;
	uint64_t lost;
	struct tmem_counts filled;	/* after the puts */
	struct tmem_counts counts;	/* after the gets */
};

struct replay {
	struct tm_cli_store store_options;
	bool is_json;
	uint64_t most_pages;
	struct replayed clients[CLIENTS_MAX];
	size_t count;
	struct tmem_store *store;
	struct tmem_store_stats stats;	/* after the puts */
	uint64_t *seen;		/* hash set of pages' contents */
	size_t seen_size;
};

/* --- options ---------------------------------------------------------------- */

static int set_attribute(struct replayed *c, const char *option, char *word)
{
	char *value = strchr(word, '=');
	uint64_t number;

	if (!value)
		return tm_cli_error("--%s: \"%s\" is not NAME=VALUE (weight, "
				    "reservation, cap)",
				    option, word);
	*value++ = '\0';
	if (!strcmp(word, "reservation"))
		return tm_cli_set_size(&c->config.reservation_bytes, option,
				       value);
	if (!strcmp(word, "cap"))
		return tm_cli_set_size(&c->config.cap_bytes, option, value);
	if (strcmp(word, "weight"))
		return tm_cli_error("--%s: unknown attribute \"%s\" (weight, "
				    "reservation, cap)",
				    option, word);
	if (tm_cli_set_number(&number, option, value, 0, UINT32_MAX))
		return -EINVAL;
	c->config.weight = (uint32_t)number;
	return 0;
}

/* SOURCE[,weight=N][,reservation=SIZE][,cap=SIZE] */
static int add_client(struct replay *replay, enum kind kind, const char *option,
		      const char *value)
{
	struct replayed *c = &replay->clients[replay->count];
	char *copy, *word;

	if (replay->count == CLIENTS_MAX)
		return tm_cli_error("--%s: at most %d clients", option,
				    CLIENTS_MAX);
	copy = strdup(value);
	if (!copy)
		return -ENOMEM;
	c->kind = kind;
	tmem_client_config_init(&c->config);
	c->source = strsep(&copy, ",");
	snprintf(c->name, sizeof(c->name), "%zu:%s", replay->count + 1,
		 c->source);
	c->config.name = c->name;
	replay->count++;
	while ((word = strsep(&copy, ",")))
		if (set_attribute(c, option, word))
			return -EINVAL;
	return 0;
}

static int set_process(void *target, const char *value)
{
	return add_client(target, KIND_PROCESS, "process", value);
}

static int set_directory(void *target, const char *value)
{
	return add_client(target, KIND_DIRECTORY, "directory", value);
}

static int set_dump(void *target, const char *value)
{
	return add_client(target, KIND_DUMP, "pages", value);
}

static int set_most(void *target, const char *value)
{
	uint64_t bytes;

	if (tm_cli_set_most(&bytes, value))
		return -EINVAL;
	((struct replay *)target)->most_pages = bytes / TMEM_PAGE_SIZE;
	return 0;
}

static int set_json(void *target, const char *value)
{
	(void)value;
	((struct replay *)target)->is_json = true;
	return 0;
}

static const struct tm_cli_option options[] = {
	{ "process", "PID[,ATTRIBUTE...]",
	  "a client of a process's anonymous pages (persistent)", set_process },
	{ "directory", "DIR[,ATTRIBUTE...]",
	  "a client of the files' pages below DIR (ephemeral)", set_directory },
	{ "pages", "DUMP[,ATTRIBUTE...]",
	  "a client of a dump's pages (persistent)", set_dump },
	{ "most", "SIZE", "take at most so much of each source [512M]",
	  set_most },
	TM_CLI_STORE_OPTIONS,
	{ "json", NULL, "print the result as JSON", set_json },
	{ NULL, NULL, NULL, NULL },
};

/* --- the sources -------------------------------------------------------------*/

static int add_object(struct replayed *c, size_t first)
{
	struct object *objects;

	if (c->pages.count == first)
		return 0;
	objects = realloc(c->objects,
			  (c->object_count + 1) * sizeof(*objects));
	if (!objects)
		return -ENOMEM;
	objects[c->object_count++] =
		(struct object){ first, c->pages.count - first };
	c->objects = objects;
	return 0;
}

static int take_file(void *opaque, const char *path)
{
	struct replayed *c = opaque;
	size_t first = c->pages.count;

	/* A file that cannot be read is in nobody's page cache either. */
	if (!c->pages.was_cut)
		tm_pages_of_file(&c->pages, path);
	return add_object(c, first);
}

static int take_pid(struct replayed *c)
{
	uint64_t pid;

	if (tm_cli_set_number(&pid, "process", c->source, 1, INT32_MAX))
		return -EINVAL;
	return tm_pages_of_process(&c->pages, (pid_t)pid);
}

static int load(struct replay *replay, struct replayed *c)
{
	int err = 0;

	c->pages.limit = replay->most_pages;
	switch (c->kind) {
	case KIND_PROCESS:
		err = take_pid(c);
		break;
	case KIND_DUMP:
		err = tm_pages_of_dump(&c->pages, c->source);
		break;
	case KIND_DIRECTORY:
		err = tm_pages_walk(c->source, take_file, c);
		break;
	}
	if (!err && c->kind != KIND_DIRECTORY)
		err = add_object(c, 0);
	if (!err && !c->pages.count)
		err = tm_cli_error("%s: there is no page in it", c->source);
	if (err)
		return err;
	c->is_stored = calloc(c->pages.count, 1);
	return c->is_stored ? 0 : -ENOMEM;
}

/* --- identical pages ---------------------------------------------------------*/

static uint64_t content_hash(const uint8_t *page)
{
	uint64_t hash = 0x9e3779b97f4a7c15, word;

	for (size_t i = 0; i < TMEM_PAGE_SIZE; i += sizeof(word)) {
		memcpy(&word, page + i, sizeof(word));
		hash = (hash ^ word) * UINT64_C(0xff51afd7ed558ccd);
		hash ^= hash >> 32;
	}
	return hash ? hash : 1;
}

static int prepare_seen(struct replay *replay)
{
	size_t pages = 1;

	for (size_t i = 0; i < replay->count; i++)
		pages += replay->clients[i].pages.count;
	replay->seen_size = 2 * pages;
	replay->seen = calloc(replay->seen_size, sizeof(*replay->seen));
	return replay->seen ? 0 : -ENOMEM;
}

static bool was_seen(struct replay *replay, const uint8_t *page)
{
	uint64_t hash = content_hash(page);
	size_t at = hash % replay->seen_size;

	while (replay->seen[at] && replay->seen[at] != hash)
		at = (at + 1) % replay->seen_size;
	if (replay->seen[at])
		return true;
	replay->seen[at] = hash;
	return false;
}

/* --- put and get --------------------------------------------------------------*/

static void read_counts(struct replayed *c, struct tmem_counts *counts)
{
	counts->struct_size = sizeof(*counts);
	tmem_client_get_counts(c->client, counts);
}

/* What an earlier replay left in this arena makes way, before anything is
 * counted: pages of a pool that has ended go in the background. What damage
 * keeps there for good is not waited for. */
static void clear(struct replay *replay, struct replayed *c)
{
	struct tmem_counts counts = { .pages = 0 };

	for (int id = 0; id < TMEM_POOLS_MAX; id++)
		tmem_pool_destroy(c->client, id);
	read_counts(c, &counts);
	for (int idle = 0; counts.pages && idle < CLEAR_MS;) {
		if (!tmem_store_step(replay->store)) {
			usleep(1000);
			idle++;
		}
		read_counts(c, &counts);
	}
}

static int attach(struct replay *replay, struct replayed *c)
{
	uint32_t flags = c->kind == KIND_DIRECTORY ? 0 : TMEM_POOL_PERSISTENT;
	int result = tmem_client_attach(replay->store, &c->config, &c->client);

	if (result == -ENODEV)
		tm_cli_error("tmem is switched off (no-tmem)");
	else if (result == -ENOSPC)
		tm_cli_error("%s: its reservation does not fit the memory "
			     "limit beside the others'",
			     c->name);
	else if (result < 0)
		tm_cli_error("%s: cannot attach: %s", c->name,
			     strerror(-result));
	if (result < 0)
		return result;
	if (result == 1)
		clear(replay, c);
	c->pool = tmem_pool_create(c->client, flags, NULL);
	if (c->pool < 0)
		tm_cli_error("%s: cannot make a pool: %s", c->name,
			     strerror(-c->pool));
	return c->pool < 0 ? c->pool : 0;
}

static struct tmem_oid oid_of(size_t object)
{
	return (struct tmem_oid){ { object, 0, 0 } };
}

/* The next page of the client's objects, in order; false: there is none. */
static bool next_page(struct replayed *c, struct tmem_oid *oid, uint32_t *index)
{
	if (c->at_page == c->pages.count)
		return false;
	while (c->at_page >= c->objects[c->at_object].first +
				     c->objects[c->at_object].count)
		c->at_object++;
	*oid = oid_of(c->at_object);
	*index = (uint32_t)(c->at_page - c->objects[c->at_object].first);
	c->at_page++;
	return true;
}

static int put_turn(struct replay *replay, struct replayed *c, uint64_t *done)
{
	struct tmem_oid oid;
	uint32_t index;

	for (int i = 0; i < TURN_PAGES && next_page(c, &oid, &index); i++) {
		size_t n = c->at_page - 1;
		const uint8_t *page = tm_pages_at(&c->pages, n);
		int result = tmem_put(c->client, c->pool, &oid, index, page, 0);

		if (result < 0) {
			tm_cli_error("%s: put failed: %s", c->name,
				     strerror(-result));
			return result;
		}
		c->is_stored[n] = result == TMEM_PUT_STORED;
		c->identical += was_seen(replay, page);
		(*done)++;
	}
	return 0;
}

static uint64_t total_pages(const struct replay *replay)
{
	uint64_t total = 0;

	for (size_t i = 0; i < replay->count; i++)
		total += replay->clients[i].pages.count;
	return total;
}

static int put_all(struct replay *replay)
{
	uint64_t total = total_pages(replay), done = 0;
	struct tm_progress progress;
	int err = 0;

	tm_progress_begin(&progress, "putting", total);
	while (!err && done < total) {
		for (size_t i = 0; !err && i < replay->count; i++)
			err = put_turn(replay, &replay->clients[i], &done);
		tm_progress_at(&progress, done);
	}
	tm_progress_end(&progress);
	replay->stats.struct_size = sizeof(replay->stats);
	replay->stats.counts.struct_size = sizeof(replay->stats.counts);
	tmem_store_get_stats(replay->store, &replay->stats);
	for (size_t i = 0; i < replay->count; i++) {
		read_counts(&replay->clients[i], &replay->clients[i].filled);
		replay->clients[i].at_page = 0;
		replay->clients[i].at_object = 0;
	}
	return err;
}

static void verify(struct replayed *c, size_t n, const struct tmem_oid *oid,
		   uint32_t index)
{
	uint8_t page[TMEM_PAGE_SIZE];
	int result = tmem_get(c->client, c->pool, oid, index, page, 0);

	if (result == TMEM_GET_HIT &&
	    !memcmp(page, tm_pages_at(&c->pages, n), sizeof(page)))
		c->verified++;
	else if (result != TMEM_GET_MISS)
		c->wrong++;
	else if (c->kind != KIND_DIRECTORY && c->is_stored[n])
		c->lost++;
}

static void get_all(struct replay *replay)
{
	struct tm_progress progress;
	uint64_t done = 0;

	tm_progress_begin(&progress, "getting back", total_pages(replay));
	for (size_t i = 0; i < replay->count; i++) {
		struct replayed *c = &replay->clients[i];
		struct tmem_oid oid;
		uint32_t index;

		while (next_page(c, &oid, &index)) {
			verify(c, c->at_page - 1, &oid, index);
			tm_progress_at(&progress, ++done);
		}
		read_counts(c, &c->counts);
	}
	tm_progress_end(&progress);
}

/* --- results -------------------------------------------------------------------*/

static const char *kind_name(enum kind kind)
{
	return kind == KIND_DIRECTORY ? "ephemeral" : "persistent";
}

static double per(uint64_t a, uint64_t b)
{
	return b ? (double)a / (double)b : 0;
}

/* Bytes of the pages that are stored, to bytes of memory. */
static double effective_ratio(const struct tmem_store_stats *stats)
{
	return per(stats->counts.pages * TMEM_PAGE_SIZE,
		   stats->arena_bytes + stats->metadata_bytes);
}

static double ratio(const struct tmem_store_stats *stats)
{
	return per(stats->codec_input_bytes, stats->counts.compressed_bytes);
}

static void print_clients(const struct replay *replay)
{
	static const char *const titles[] = {
		"client",   "pool",    "pages",   "same-filled",
		"identical", "refused", "evicted", "stored",
		"put p50/p99 ns", "get p50/p99 ns", "verified",
	};
	struct tm_report report;
	char size[16];

	tm_report_begin(&report, titles, sizeof(titles) / sizeof(titles[0]));
	for (size_t i = 0; i < replay->count; i++) {
		const struct replayed *c = &replay->clients[i];
		const struct tmem_counts *f = &c->filled;

		tm_report_cell(&report, "%s", c->name);
		tm_report_cell(&report, "%s", kind_name(c->kind));
		tm_report_cell(&report, "%zu", c->pages.count);
		tm_report_cell(&report, "%" PRIu64, f->same_filled);
		tm_report_cell(&report, "%" PRIu64, c->identical);
		tm_report_cell(&report, "%" PRIu64, f->puts_refused);
		tm_report_cell(&report, "%" PRIu64, f->evicted);
		tm_report_cell(&report, "%s",
			       tm_report_size(f->compressed_bytes, size,
					      sizeof(size)));
		tm_report_cell(&report, "%" PRIu64 "/%" PRIu64,
			       c->counts.put.p50_ns, c->counts.put.p99_ns);
		tm_report_cell(&report, "%" PRIu64 "/%" PRIu64,
			       c->counts.get.p50_ns, c->counts.get.p99_ns);
		tm_report_cell(&report, "%" PRIu64, c->verified);
	}
	tm_report_end(&report, stdout);
}

static void print_result(const struct replay *replay)
{
	const struct tmem_store_stats *s = &replay->stats;
	uint64_t verified = 0, wrong = 0, lost = 0;
	char a[16], b[16], c[16], d[16];

	for (size_t i = 0; i < replay->count; i++) {
		verified += replay->clients[i].verified;
		wrong += replay->clients[i].wrong;
		lost += replay->clients[i].lost;
	}
	printf("\n%s over %s, limit %s: %" PRIu64 " pages (%s) in %s of memory, "
	       "metadata included (%s)\n",
	       s->codec, s->allocator,
	       tm_report_size(s->memory_bytes, a, sizeof(a)), s->counts.pages,
	       tm_report_size(s->counts.pages * TMEM_PAGE_SIZE, b, sizeof(b)),
	       tm_report_size(s->arena_bytes + s->metadata_bytes, c, sizeof(c)),
	       tm_report_size(s->metadata_bytes, d, sizeof(d)));
	printf("ratio %.2f, effective ratio %.2f; %" PRIu64 " pages verified, "
	       "%" PRIu64 " wrong, %" PRIu64 " lost\n",
	       ratio(s), effective_ratio(s), verified, wrong, lost);
}

static json_t *json_of_latency(const struct tmem_latency *latency)
{
	return json_pack("{sI sI sI}", "p50", (json_int_t)latency->p50_ns,
			 "p99", (json_int_t)latency->p99_ns, "mean",
			 (json_int_t)latency->mean_ns);
}

static json_t *json_of_client(const struct replayed *c)
{
	const struct tmem_counts *f = &c->filled;

	return json_pack(
		"{ss ss sI sI sI sI sI sI sI sI sI sI so so}", "client",
		c->name, "pool", kind_name(c->kind), "pages",
		(json_int_t)c->pages.count, "same_filled",
		(json_int_t)f->same_filled, "identical",
		(json_int_t)c->identical, "refused",
		(json_int_t)f->puts_refused, "evicted", (json_int_t)f->evicted,
		"compressed_bytes", (json_int_t)f->compressed_bytes,
		"billed_bytes", (json_int_t)f->billed_bytes, "verified",
		(json_int_t)c->verified, "wrong", (json_int_t)c->wrong, "lost",
		(json_int_t)c->lost, "put_ns", json_of_latency(&c->counts.put),
		"get_ns", json_of_latency(&c->counts.get));
}

static void print_json(const struct replay *replay)
{
	const struct tmem_store_stats *s = &replay->stats;
	json_t *clients = json_array();
	json_t *result;

	for (size_t i = 0; i < replay->count; i++)
		json_array_append_new(clients,
				      json_of_client(&replay->clients[i]));
	result = json_pack(
		"{ss ss sI sI sI sI sI sf sf so}", "codec", s->codec,
		"allocator", s->allocator, "memory_bytes",
		(json_int_t)s->memory_bytes, "pages",
		(json_int_t)s->counts.pages, "compressed_bytes",
		(json_int_t)s->counts.compressed_bytes, "arena_bytes",
		(json_int_t)s->arena_bytes, "metadata_bytes",
		(json_int_t)s->metadata_bytes, "ratio", ratio(s),
		"effective_ratio", effective_ratio(s), "clients", clients);
	json_dumpf(result, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
	putchar('\n');
	json_decref(result);
}

/* --- the verb -------------------------------------------------------------------*/

static bool is_faultless(const struct replay *replay)
{
	for (size_t i = 0; i < replay->count; i++) {
		const struct replayed *c = &replay->clients[i];

		if (c->wrong || c->lost) {
			tm_cli_error("%s: %" PRIu64 " pages came back wrong, "
				     "%" PRIu64 " persistent ones were lost",
				     c->name, c->wrong, c->lost);
			return false;
		}
	}
	return true;
}

static int replay_all(struct replay *replay)
{
	uint64_t pages;
	int err = 0;

	for (size_t i = 0; !err && i < replay->count; i++)
		err = load(replay, &replay->clients[i]);
	if (!err)
		err = prepare_seen(replay);
	if (err)
		return err;
	/* Without a limit, half of what there is: something to decide about. */
	pages = total_pages(replay);
	err = tm_cli_store_open(&replay->store_options,
				TMEM_MEMORY_MIN + pages * TMEM_PAGE_SIZE / 2, 0,
				&replay->store);
	for (size_t i = 0; !err && i < replay->count; i++)
		err = attach(replay, &replay->clients[i]);
	if (!err)
		err = put_all(replay);
	if (err)
		return err;
	get_all(replay);
	if (replay->is_json) {
		print_json(replay);
	} else {
		print_clients(replay);
		print_result(replay);
	}
	return is_faultless(replay) ? 0 : -EIO;
}

static void clean_up(struct replay *replay)
{
	for (size_t i = 0; i < replay->count; i++) {
		struct replayed *c = &replay->clients[i];

		tmem_client_detach(c->client);
		tm_pages_free(&c->pages);
		free(c->objects);
		free(c->is_stored);
		free((char *)c->source);
	}
	tmem_store_close(replay->store);
	free(replay->seen);
	free(replay);
}

static int run(const struct tm_cli_verb *verb, int argc, char **argv)
{
	struct replay *replay = calloc(1, sizeof(*replay));
	int operands, err;

	if (!replay)
		return TM_CLI_FAILED;
	replay->most_pages = MOST_PAGES_DEFAULT;
	err = tm_cli_parse(verb, argc, argv, replay, &operands);
	if (!err && operands)
		err = tm_cli_error("replay: \"%s\" is no option; clients are "
				   "named by --process, --directory, --pages",
				   argv[0]);
	if (!err && !replay->count)
		err = tm_cli_error("replay: nothing to replay: name a "
				   "--process, a --directory or --pages");
	if (err) {
		clean_up(replay);
		return err > 0 ? TM_CLI_OK : TM_CLI_USAGE;
	}
	err = replay_all(replay);
	clean_up(replay);
	return err ? TM_CLI_FAILED : TM_CLI_OK;
}

const struct tm_cli_verb tm_cli_replay = {
	.name = "replay",
	.summary = "put real pages of processes and files, get them back, compare",
	.usage = "[--process PID]... [--directory DIR]... [--pages DUMP]... "
		 "[OPTION]...",
	.options = options,
	.run = run,
};
