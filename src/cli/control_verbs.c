/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The short verbs: freeze, thaw, destroy, set, shared-auth, freeable, flush.
 *
 * Each turns its options into one request on tmemd's control socket. They
 * know the spellings of xl (-a, -w N, -p 0|1, -c CAP, -u UUID, -A 0|1) and of
 * xm (weight=N cap=N compress=N) and their messages, for scripts and fingers
 * that do.
 */
#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control_client.h"
#include "nearest.h"
#include "report.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* What most of them print: nothing, for people. */
static int finish(const struct tm_cli_control *control, json_t *answer)
{
	if (!answer)
		return TM_CLI_FAILED;
	if (control->is_json)
		tm_cli_print_json(answer);
	json_decref(answer);
	return TM_CLI_OK;
}

static int run_simple(const struct tm_cli_verb *verb, int argc, char **argv)
{
	struct tm_cli_target target = { 0 };
	char path[TM_CLI_PATH_SIZE];
	int operands;
	int err = tm_cli_parse(verb, argc, argv, &target, &operands);

	if (err)
		return err > 0 ? TM_CLI_OK : TM_CLI_USAGE;
	if (tm_cli_target_operand(verb, &target, operands, argv))
		return TM_CLI_USAGE;
	tm_cli_client_path(&target, verb->name, path);
	return finish(&target.control,
		      tm_cli_ask(&target.control, "POST", path, NULL));
}

static const struct tm_cli_letter simple_letters[] = {
	{ 'a', "all" },
	{ 0, NULL },
};

static const struct tm_cli_option simple_options[] = {
	TM_CLI_TARGET_OPTIONS,
	{ NULL, NULL, NULL, NULL },
};

const struct tm_cli_verb tm_cli_freeze = {
	.name = "freeze",
	.summary = "refuse a client's puts until it is thawed",
	.usage = "CLIENT|-a",
	.options = simple_options,
	.letters = simple_letters,
	.run = run_simple,
	.was_tmem = true,
};

const struct tm_cli_verb tm_cli_thaw = {
	.name = "thaw",
	.summary = "let a frozen client put again",
	.usage = "CLIENT|-a",
	.options = simple_options,
	.letters = simple_letters,
	.run = run_simple,
	.was_tmem = true,
};

const struct tm_cli_verb tm_cli_destroy = {
	.name = "destroy",
	.summary = "end a client: all its pages go",
	.usage = "CLIENT|-a",
	.options = simple_options,
	.letters = simple_letters,
	.run = run_simple,
	.was_tmem = true,
};

/* --- set ----------------------------------------------------------------- */

struct set {
	struct tm_cli_target target;
	json_t *client;		/* fields of POST /clients/ID/set */
	json_t *store;		/* fields of POST /store/set */
};

static int set_number_field(struct set *set, const char *key, const char *value)
{
	uint64_t number;

	if (tm_cli_set_number(&number, key, value, 0, UINT32_MAX))
		return -EINVAL;
	json_object_set_new(set->client, key, json_integer((json_int_t)number));
	return 0;
}

static int set_size_field(struct set *set, const char *key, const char *value)
{
	uint64_t bytes;

	if (tm_cli_set_size(&bytes, key, value))
		return -EINVAL;
	json_object_set_new(set->client, key, json_integer((json_int_t)bytes));
	return 0;
}

static int set_weight(void *target, const char *value)
{
	return set_number_field(target, "weight", value);
}

static int set_reservation(void *target, const char *value)
{
	return set_size_field(target, "reservation", value);
}

static int set_cap(void *target, const char *value)
{
	return set_size_field(target, "cap", value);
}

static int set_compress(void *target, const char *value)
{
	static const char *const words[] = { "0", "off",  "no",	 "false",
					     "1", "on",	  "yes", "true" };
	struct set *set = target;

	for (size_t i = 0; i < COUNT(words); i++)
		if (!strcmp(value, words[i])) {
			json_object_set_new(set->client, "compress",
					    json_boolean(i >= 4));
			return 0;
		}
	return tm_cli_error("--compress: \"%s\" is neither 0 nor 1", value);
}

static int set_trust_domain(void *target, const char *value)
{
	struct set *set = target;
	uint64_t number;

	if (tm_cli_set_number(&number, "trust-domain", value, 0, UINT32_MAX))
		return -EINVAL;
	json_object_set_new(set->client, "trust_domain",
			    json_integer((json_int_t)number));
	return 0;
}

/* The client's when one is named, else the store's. */
static int set_codec(void *target, const char *value)
{
	struct set *set = target;

	json_object_set_new(set->store, "codec", json_string(value));
	return 0;
}

static int set_allocator(void *target, const char *value)
{
	struct set *set = target;

	json_object_set_new(set->store, "allocator", json_string(value));
	return 0;
}

static int set_memory(void *target, const char *value)
{
	struct set *set = target;

	json_object_set_new(set->store, "memory", json_string(value));
	return 0;
}

/* How many rows TM_CLI_TARGET_OPTIONS is. */
#define TARGET_OPTIONS 3

static const struct tm_cli_option set_options[] = {
	TM_CLI_TARGET_OPTIONS,
	{ "weight", "N", "share of ephemeral memory", set_weight },
	{ "reservation", "SIZE", "memory that puts are sure of",
	  set_reservation },
	{ "cap", "SIZE", "the most it may hold; 0: no cap", set_cap },
	{ "compress", "0|1", "store new pages as they are, or compressed",
	  set_compress },
	{ "trust-domain", "N", "clients of one share identical pages",
	  set_trust_domain },
	{ "codec", "NAME[:LEVEL]", "for new pages; \"store\": the store's",
	  set_codec },
	{ "allocator", "NAME", "of the store, for new pages", set_allocator },
	{ "memory", "SIZE", "limit of the store", set_memory },
	{ NULL, NULL, NULL, NULL },
};

static const struct tm_cli_letter set_letters[] = {
	{ 'a', "all" },
	{ 'w', "weight" },
	{ 'c', "cap" },
	{ 'p', "compress" },
	{ 0, NULL },
};

static int unknown_setting(const char *name)
{
	const char *meant = tm_nearest_meant(
		name, set_options + TARGET_OPTIONS,
		COUNT(set_options) - 1 - TARGET_OPTIONS, sizeof(*set_options));

	return tm_cli_error("set: unknown setting %s=%s", name,
			    tm_nearest_hint(meant, "", "=").text);
}

/* xm's weight=N among the operands: taken out. */
static int take_words(struct set *set, int *count, char **operands)
{
	const struct tm_cli_option *settings = set_options + TARGET_OPTIONS;
	int left = 0;

	for (int i = 0; i < *count; i++) {
		const struct tm_cli_option *o = settings;
		char *equals = strchr(operands[i], '=');

		if (!equals) {
			operands[left++] = operands[i];
			continue;
		}
		*equals = 0;
		while (o->name && strcmp(o->name, operands[i]))
			o++;
		if (!o->name)
			return unknown_setting(operands[i]);
		if (o->set(set, equals + 1))
			return -EINVAL;
	}
	*count = left;
	return 0;
}

/* With a client, --codec is that client's. */
static int sort_out(const struct tm_cli_verb *verb, struct set *set, int count,
		    char **operands)
{
	json_t *codec = json_object_get(set->store, "codec");
	bool is_for_client = count || set->target.is_all;

	if (!is_for_client && json_object_size(set->client))
		return tm_cli_target_operand(verb, &set->target, 0, operands);
	if (!is_for_client)
		return json_object_size(set->store) ?
			       0 :
			       tm_cli_error("set: No set value specified.");
	if (tm_cli_target_operand(verb, &set->target, count, operands))
		return -EINVAL;
	if (codec) {
		bool is_store = !strcmp(json_string_value(codec), "store");

		json_object_set(set->client, "codec",
				is_store ? json_null() : codec);
		json_object_del(set->store, "codec");
	}
	if (json_object_size(set->store))
		return tm_cli_error("set: --memory and --allocator are the "
				    "store's: leave \"%s\" out",
				    count ? operands[0] : "-a");
	if (!json_object_size(set->client))
		return tm_cli_error("set: No set value specified.");
	return 0;
}

static int send_set(struct set *set)
{
	char path[TM_CLI_PATH_SIZE] = "/store/set";
	json_t *body = set->store;

	if (json_object_size(set->client)) {
		tm_cli_client_path(&set->target, "set", path);
		body = set->client;
	}
	return finish(&set->target.control,
		      tm_cli_ask(&set->target.control, "POST", path,
				 json_incref(body)));
}

static int run_set(const struct tm_cli_verb *verb, int argc, char **argv)
{
	struct set set = { .client = json_object(), .store = json_object() };
	int operands, status = TM_CLI_USAGE;
	int err = tm_cli_parse(verb, argc, argv, &set, &operands);

	if (err > 0)
		status = TM_CLI_OK;
	else if (!err && !take_words(&set, &operands, argv) &&
		 !sort_out(verb, &set, operands, argv))
		status = send_set(&set);
	json_decref(set.client);
	json_decref(set.store);
	return status;
}

const struct tm_cli_verb tm_cli_set = {
	.name = "set",
	.summary = "change the limits of a client or of the store",
	.usage = "[CLIENT|-a] [OPTION]... [weight=N]...",
	.options = set_options,
	.letters = set_letters,
	.run = run_set,
	.was_tmem = true,
};

/* --- shared-auth --------------------------------------------------------- */

struct shared_auth {
	struct tm_cli_target target;
	const char *uuid;
	const char *auth;
};

static int set_uuid(void *target, const char *value)
{
	((struct shared_auth *)target)->uuid = value;
	return 0;
}

static int set_auth(void *target, const char *value)
{
	((struct shared_auth *)target)->auth = value;
	if (strcmp(value, "0") && strcmp(value, "1"))
		return tm_cli_error("shared-auth: Invalid auth, valid auth are "
				    "<0|1>.");
	return 0;
}

static const struct tm_cli_option shared_auth_options[] = {
	TM_CLI_TARGET_OPTIONS,
	{ "uuid", "UUID", "which shared pool", set_uuid },
	{ "auth", "0|1", "1: may join it; 0: may not", set_auth },
	{ NULL, NULL, NULL, NULL },
};

static const struct tm_cli_letter shared_auth_letters[] = {
	{ 'a', "all" },
	{ 'u', "uuid" },
	{ 'A', "auth" },
	{ 0, NULL },
};

static int run_shared_auth(const struct tm_cli_verb *verb, int argc,
			   char **argv)
{
	struct shared_auth s = { 0 };
	char path[TM_CLI_PATH_SIZE];
	json_t *body;
	int operands;
	int err = tm_cli_parse(verb, argc, argv, &s, &operands);

	if (err)
		return err > 0 ? TM_CLI_OK : TM_CLI_USAGE;
	if (tm_cli_target_operand(verb, &s.target, operands, argv))
		return TM_CLI_USAGE;
	if (!s.uuid || !s.auth) {
		tm_cli_error("shared-auth: No uuid or auth specified.");
		return TM_CLI_USAGE;
	}
	tm_cli_client_path(&s.target, verb->name, path);
	body = json_pack("{s:s, s:b}", "uuid", s.uuid, "allowed",
			 *s.auth == '1');
	if (!body) {
		tm_cli_error("shared-auth: \"%s\" is no UUID", s.uuid);
		return TM_CLI_USAGE;
	}
	return finish(&s.target.control,
		      tm_cli_ask(&s.target.control, "POST", path, body));
}

const struct tm_cli_verb tm_cli_shared_auth = {
	.name = "shared-auth",
	.summary = "let a client into a shared pool, or not",
	.usage = "CLIENT|-a --uuid UUID --auth 0|1",
	.options = shared_auth_options,
	.letters = shared_auth_letters,
	.run = run_shared_auth,
	.was_tmem = true,
};

/* --- freeable and flush -------------------------------------------------- */

static int refuse_operand(const struct tm_cli_verb *verb, const char *operand)
{
	tm_cli_error("%s: wants no operand such as \"%s\"", verb->name,
		     operand);
	return TM_CLI_USAGE;
}

static const struct tm_cli_option freeable_options[] = {
	TM_CLI_CONTROL_OPTIONS,
	{ NULL, NULL, NULL, NULL },
};

static int run_freeable(const struct tm_cli_verb *verb, int argc, char **argv)
{
	struct tm_cli_control control = { 0 };
	json_t *answer;
	int operands;
	int err = tm_cli_parse(verb, argc, argv, &control, &operands);

	if (err)
		return err > 0 ? TM_CLI_OK : TM_CLI_USAGE;
	if (operands)
		return refuse_operand(verb, argv[0]);
	answer = tm_cli_ask(&control, "GET", "/freeable", NULL);
	if (answer && !control.is_json)
		printf("%" PRIu64 "\n", tm_cli_number(answer, "freeable_mib"));
	return finish(&control, answer);
}

const struct tm_cli_verb tm_cli_freeable = {
	.name = "freeable",
	.summary = "how many MiB could be given back to the host",
	.usage = "",
	.options = freeable_options,
	.run = run_freeable,
	.was_tmem = true,
};

struct flush {
	struct tm_cli_control control;
	bool has_bytes;
	uint64_t bytes;
};

static int set_pages(void *target, const char *value)
{
	struct flush *flush = target;
	uint64_t pages;

	if (tm_cli_set_number(&pages, "pages", value, 1,
			      INT64_MAX / TMEM_PAGE_SIZE))
		return -EINVAL;
	flush->has_bytes = true;
	flush->bytes = pages * TMEM_PAGE_SIZE;
	return 0;
}

static const struct tm_cli_option flush_options[] = {
	TM_CLI_CONTROL_OPTIONS,
	{ "pages", "N", "as SIZE, in pages", set_pages },
	{ NULL, NULL, NULL, NULL },
};

static const struct tm_cli_letter flush_letters[] = {
	{ 'p', "pages" },
	{ 0, NULL },
};

static int flush_operand(struct flush *flush, int count, char **operands)
{
	if (count > 1 || (count && flush->has_bytes))
		return tm_cli_error("flush: one size is enough, what is "
				    "\"%s\"?",
				    operands[count - 1]);
	if (!count)
		return 0;
	flush->has_bytes = true;
	if (!tmem_size_parse(operands[0], &flush->bytes) &&
	    flush->bytes <= INT64_MAX)
		return 0;
	return tm_cli_error("flush: \"%s\" is not a size such as 64M",
			    operands[0]);
}

static int run_flush(const struct tm_cli_verb *verb, int argc, char **argv)
{
	struct flush flush = { 0 };
	json_t *answer, *body = NULL;
	char text[16];
	int operands;
	int err = tm_cli_parse(verb, argc, argv, &flush, &operands);

	if (err)
		return err > 0 ? TM_CLI_OK : TM_CLI_USAGE;
	if (flush_operand(&flush, operands, argv))
		return TM_CLI_USAGE;
	if (flush.has_bytes)
		body = json_pack("{s:I}", "bytes", (json_int_t)flush.bytes);
	answer = tm_cli_ask(&flush.control, "POST", "/flush", body);
	if (answer && !flush.control.is_json)
		printf("%s given back\n",
		       tm_report_size(tm_cli_number(answer, "freed_bytes"),
				      text, sizeof(text)));
	return finish(&flush.control, answer);
}

const struct tm_cli_verb tm_cli_flush = {
	.name = "flush",
	.summary = "give memory of ephemeral pages back to the host",
	.usage = "[SIZE]",
	.options = flush_options,
	.letters = flush_letters,
	.run = run_flush,
	.was_tmem = true,
};
