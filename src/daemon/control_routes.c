/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the control socket answers: one row for each path, one function for
 * each row. doc/control.md says the same for those who ask.
 *
 * A change is all or nothing for each client: the limits are read, changed and
 * written back under one lock, so that neither two operators nor an operator
 * and a reload of the configuration can undo each other, and what was not named
 * stays as it was (xl's read-modify-write with -a, which gave every client the
 * first one's settings, is what this must not do).
 * "all" in place of a client goes through them one by one; those that could
 * not be changed are counted in the error.
 *
 * Locks: the registry's lock of settings, held around changes; never while a
 * peer is waited for.
 */
#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control_request.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static unsigned status_of(int err)
{
	switch (-err) {
	case EINVAL:
		return 400;
	case ENOENT:
		return 404;
	case EBUSY:
	case EEXIST:
	case ENOSPC:
	case ENODEV:
	case EOPNOTSUPP:
		return 409;
	case ENOMEM:
		return 503;
	default:
		return 500;
	}
}


/* --- clients, one or all -------------------------------------------------- */

struct tm_member *tm_request_member(struct tm_request *request)
{
	struct tm_member *member = tm_registry_find(
		request->control->host.registry, request->argument);

	if (!member)
		tm_answer_error(request, 404,
				"there is no client \"%.80s\"; `tmem list` "
				"shows those there are",
				request->argument);
	return member;
}

/* Does something to one client. 0; or a negative errno and, in @why (64 bytes),
 * what went wrong, unless strerror() says it well enough. */
typedef int change_function(struct tm_request *request,
			    struct tm_member *member, const void *how,
			    char *why);
#define WHY_SIZE 160

static const char *reason(const char *why, int err)
{
	return *why ? why : strerror(-err);
}

static void change_one(struct tm_request *request, change_function *change,
		       const void *how)
{
	struct tm_member *member = tm_request_member(request);
	char why[WHY_SIZE] = "";
	int err;

	if (!member)
		return;
	err = change(request, member, how, why);
	if (err)
		tm_answer_error(request, status_of(err), "client \"%s\": %s",
				member->name, reason(why, err));
	else
		tm_answer_json(request, json_pack("{s:i}", "clients", 1));
	tm_registry_release(request->control->host.registry, member);
}

static void change_all(struct tm_request *request, change_function *change,
		       const void *how)
{
	struct tm_registry *registry = request->control->host.registry;
	struct tm_member *member = tm_registry_next(registry, 0);
	char first[TMEM_CLIENT_NAME_MAX + 1] = "", first_why[WHY_SIZE] = "";
	int changed = 0, failed = 0, first_err = 0;

	while (member) {
		char why[WHY_SIZE] = "";
		uint32_t number = member->number;
		int err = change(request, member, how, why);

		if (err && !failed++) {
			memcpy(first, member->name, sizeof(first));
			memcpy(first_why, why, sizeof(why));
			first_err = err;
		}
		changed += !err;
		tm_registry_release(registry, member);
		member = tm_registry_next(registry, number);
	}
	if (failed)
		tm_answer_error(request, status_of(first_err),
				"%d of %d clients stay as they were; the first "
				"is \"%s\": %s",
				failed, failed + changed, first,
				reason(first_why, first_err));
	else
		tm_answer_json(request, json_pack("{s:i}", "clients", changed));
}

static void change(struct tm_request *request, change_function *function,
		   const void *how)
{
	if (strcmp(request->argument, "all"))
		change_one(request, function, how);
	else
		change_all(request, function, how);
}

static void handle_clients(struct tm_request *request)
{
	tm_answer_json(request, tm_json_of_clients(request->control));
}

static void handle_client(struct tm_request *request)
{
	struct tm_member *member = tm_request_member(request);

	if (!member)
		return;
	tm_answer_json(request, tm_json_of_client(request->control, member));
	tm_registry_release(request->control->host.registry, member);
}

static int set_frozen(struct tm_request *request, struct tm_member *member,
		      const void *how, char *why)
{
	int err = tmem_client_set_frozen(member->client, *(const bool *)how);

	(void)request;
	if (err == -EBUSY)
		snprintf(why, WHY_SIZE, "it migrates and stays frozen");
	return err;
}

static void handle_freeze(struct tm_request *request)
{
	const bool frozen = true;

	if (!tm_body_check(request, NULL, 0))
		change(request, set_frozen, &frozen);
}

static void handle_thaw(struct tm_request *request)
{
	const bool frozen = false;

	if (!tm_body_check(request, NULL, 0))
		change(request, set_frozen, &frozen);
}

static int destroy(struct tm_request *request, struct tm_member *member,
		   const void *how, char *why)
{
	struct tm_registry *registry = request->control->host.registry;
	int err;

	(void)how;
	tm_registry_lock_settings(registry);
	err = tm_registry_is_held(registry)
		      ? -EBUSY
		      : tm_registry_destroy(registry, member);
	tm_registry_unlock_settings(registry);
	if (err == -EBUSY)
		snprintf(why, WHY_SIZE, TM_REGISTRY_HELD);
	return err;
}

static void handle_destroy(struct tm_request *request)
{
	if (!tm_body_check(request, NULL, 0))
		change(request, destroy, NULL);
}

/* --- settings of clients -------------------------------------------------- */

/* What is to be changed: only what has its flag. */
struct settings {
	bool has_weight;
	bool has_reservation;
	bool has_cap;
	bool has_trust_domain;
	bool has_compress;
	bool has_codec;
	bool compress;
	const char *codec;	/* NULL: the store's */
	uint64_t weight;
	uint64_t trust_domain;
	uint64_t reservation_bytes;
	uint64_t cap_bytes;
};

static void current_limits(struct tmem_client *client,
			   struct tmem_client_config *config)
{
	struct tmem_client_info info = { .struct_size = sizeof(info) };

	tmem_client_get_info(client, &info);
	tmem_client_config_init(config);
	config->weight = info.weight;
	config->trust_domain = info.trust_domain;
	config->reservation_bytes = info.reservation_bytes;
	config->cap_bytes = info.cap_bytes;
}

static int set_codec(struct tmem_client *client,
		     const struct settings *settings, char *why)
{
	int err = 0;

	if (settings->has_compress)
		err = tmem_client_set_compress(client, settings->compress);
	if (!err && settings->has_codec)
		err = tmem_client_set_codec(client, settings->codec);
	if (err == -EINVAL)
		snprintf(why, WHY_SIZE,
			 "no codec \"%.40s\" here, or no such level of it "
			 "(`tmem plugins` lists them)",
			 settings->codec);
	else if (err == -ENOSPC)
		snprintf(why, WHY_SIZE,
			 "the arena can name no more different codecs");
	return err;
}

static int apply_settings(struct tm_request *request, struct tm_member *member,
			  const void *how, char *why)
{
	const struct settings *settings = how;
	struct tm_registry *registry = request->control->host.registry;
	struct tmem_client_config before, after;
	int err;

	tm_registry_lock_settings(registry);
	current_limits(member->client, &before);
	after = before;
	if (settings->has_weight)
		after.weight = (uint32_t)settings->weight;
	if (settings->has_trust_domain)
		after.trust_domain = (uint32_t)settings->trust_domain;
	if (settings->has_reservation)
		after.reservation_bytes = settings->reservation_bytes;
	if (settings->has_cap)
		after.cap_bytes = settings->cap_bytes;
	err = tmem_client_set(member->client, &after);
	if (err == -EINVAL)
		snprintf(why, WHY_SIZE, "its reservation would be above its "
					"cap; raise the cap first");
	else if (err == -ENOSPC)
		snprintf(why, WHY_SIZE, "the reservations of all clients would "
					"not fit the store's memory limit");
	if (!err) {
		err = set_codec(member->client, settings, why);
		if (err)
			tmem_client_set(member->client, &before);
	}
	if (!err)
		tm_registry_settle(member);
	tm_registry_unlock_settings(registry);
	return err;
}

/* The codec by name, or JSON null for the store's. */
static int body_codec(struct tm_request *request, struct settings *settings)
{
	int is_there;

	if (json_is_null(json_object_get(request->body, "codec"))) {
		settings->has_codec = true;
		return 0;
	}
	is_there = tm_body_text(request, "codec", &settings->codec);
	settings->has_codec = is_there > 0;
	return is_there < 0 ? is_there : 0;
}

static int body_settings(struct tm_request *request, struct settings *s)
{
	static const char *const known[] = {
		"weight",   "reservation", "cap",
		"compress", "codec",	   "trust_domain",
	};
	int weight, reservation, cap, compress, trust;

	if (tm_body_check(request, known, COUNT(known)) ||
	    (weight = tm_body_number(request, "weight", UINT32_MAX,
				     &s->weight)) < 0 ||
	    (trust = tm_body_number(request, "trust_domain", UINT32_MAX,
				    &s->trust_domain)) < 0 ||
	    (reservation = tm_body_size(request, "reservation",
					&s->reservation_bytes)) < 0 ||
	    (cap = tm_body_size(request, "cap", &s->cap_bytes)) < 0 ||
	    (compress = tm_body_flag(request, "compress", &s->compress)) < 0 ||
	    body_codec(request, s))
		return -EINVAL;
	s->has_weight = weight;
	s->has_trust_domain = trust;
	s->has_reservation = reservation;
	s->has_cap = cap;
	s->has_compress = compress;
	return 0;
}

static void handle_client_set(struct tm_request *request)
{
	struct settings settings = { 0 };

	if (body_settings(request, &settings))
		return;
	if (!json_object_size(request->body))
		tm_answer_error(request, 400,
				"nothing to set: weight, reservation, cap, "
				"compress, codec or trust_domain");
	else if (settings.has_codec && settings.has_compress)
		tm_answer_error(request, 400,
				"\"codec\" and \"compress\" exclude each "
				"other; \"codec\": \"none\" compresses "
				"nothing");
	else
		change(request, apply_settings, &settings);
}

/* --- shared pools --------------------------------------------------------- */

/* "abcdef01-2345-6789-1234-567890abcdef": the first half is word 1. */
static bool parse_uuid(const char *text, struct tmem_uuid *uuid)
{
	unsigned nibbles = 0;

	*uuid = (struct tmem_uuid){ { 0, 0 } };
	for (size_t i = 0; i < 36; i++) {
		int digit;
		uint64_t *word = &uuid->word[nibbles < 16];

		if (i == 8 || i == 13 || i == 18 || i == 23) {
			if (text[i] != '-')
				return false;
			continue;
		}
		digit = tm_hex_digit(text[i]);
		if (digit < 0)
			return false;
		*word = *word << 4 | (uint64_t)digit;
		nibbles++;
	}
	return !text[36];
}

struct authorisation {
	struct tmem_uuid uuid;
	bool allowed;
};

static int authorise(struct tm_request *request, struct tm_member *member,
		     const void *how, char *why)
{
	struct tm_registry *registry = request->control->host.registry;
	const struct authorisation *a = how;
	int err;

	tm_registry_lock_settings(registry);
	err = tmem_client_set_shared_auth(member->client, &a->uuid, a->allowed);
	tm_registry_unlock_settings(registry);
	if (err == -ENOSPC)
		snprintf(why, WHY_SIZE,
			 "it is authorised for 16 shared pools already");
	else if (err == -EINVAL)
		snprintf(why, WHY_SIZE,
			 "a UUID of zeros or ones only names no pool");
	return err;
}

static void handle_shared_auth(struct tm_request *request)
{
	static const char *const known[] = { "uuid", "allowed" };
	struct authorisation how;
	const char *uuid;
	int has_uuid, has_allowed;

	if (tm_body_check(request, known, COUNT(known)) ||
	    (has_uuid = tm_body_text(request, "uuid", &uuid)) < 0 ||
	    (has_allowed = tm_body_flag(request, "allowed", &how.allowed)) < 0)
		return;
	if (!has_uuid || !has_allowed)
		tm_answer_error(request, 400,
				"both \"uuid\" and \"allowed\" are needed");
	else if (!parse_uuid(uuid, &how.uuid))
		tm_answer_error(request, 400,
				"\"%.40s\" is no UUID such as "
				"abcdef01-2345-6789-1234-567890abcdef",
				uuid);
	else
		change(request, authorise, &how);
}

/* --- the store ------------------------------------------------------------ */

static void handle_store(struct tm_request *request)
{
	tm_answer_json(request, tm_json_of_store(request->control));
}

static void handle_stats(struct tm_request *request)
{
	tm_answer_json(request, tm_json_of_stats(request->control));
}

static int set_memory(struct tm_request *request, const char *memory)
{
	const struct tm_control_host *host = &request->control->host;
	char error[256] = "";
	uint64_t bytes;
	int err;

	if (host->set_memory) {
		err = host->set_memory(host->opaque, memory, error,
				       sizeof(error));
	} else if (tmem_size_parse(memory, &bytes)) {
		err = -EINVAL;
		snprintf(error, sizeof(error),
			 "\"%.40s\" is not a size such as 64M", memory);
	} else {
		err = tmem_store_set_memory(host->store, bytes);
	}
	if (err == -EBUSY && !*error)
		snprintf(error, sizeof(error), "persistent pages and "
					       "reservations need more");
	else if (err == -EINVAL && !*error)
		snprintf(error, sizeof(error), "less than a store needs, or "
					       "more than this one can grow "
					       "to");
	if (err)
		tm_answer_error(request, status_of(err),
				"the memory limit stays: %s",
				reason(error, err));
	return err;
}

/* The limit as text: a size in bytes, or whatever the host understands. */
static int body_memory(struct tm_request *request, char *text, size_t size)
{
	json_t *value = json_object_get(request->body, "memory");

	*text = 0;
	if (!value)
		return 0;
	if (json_is_integer(value) && json_integer_value(value) > 0) {
		snprintf(text, size, "%" JSON_INTEGER_FORMAT,
			 json_integer_value(value));
		return 1;
	}
	if (json_is_string(value) && json_string_length(value) &&
	    json_string_length(value) < size) {
		memcpy(text, json_string_value(value),
		       json_string_length(value) + 1);
		return 1;
	}
	tm_answer_error(request, 400, "\"memory\" wants a size: bytes, or a "
				      "string such as \"64M\"");
	return -EINVAL;
}

static int set_plugin(struct tm_request *request, const char *kind,
		      const char *name,
		      int (*set)(struct tmem_store *store, const char *name))
{
	int err = name ? set(request->control->host.store, name) : 0;

	if (err == -EINVAL)
		tm_answer_error(request, 400,
				"no %s \"%.40s\" here (`tmem plugins` lists "
				"them)",
				kind, name);
	else if (err)
		tm_answer_error(request, status_of(err), "%s \"%.40s\": %s",
				kind, name, strerror(-err));
	return err;
}

/* All of it or nothing: what was changed before an error is changed back. */
static void apply_to_store(struct tm_request *request, const char *memory,
			   const char *codec, const char *allocator)
{
	struct tmem_store *store = request->control->host.store;
	struct tmem_store_stats before = {
		.struct_size = sizeof(before),
		.counts.struct_size = sizeof(before.counts),
	};
	char codec_before[TMEM_PLUGIN_NAME_MAX + 16];

	tmem_store_get_stats(store, &before);
	snprintf(codec_before, sizeof(codec_before), "%s:%" PRId32,
		 before.codec, before.level);
	if (set_plugin(request, "codec", codec, tmem_store_set_codec))
		return;
	if (set_plugin(request, "allocator", allocator,
		       tmem_store_set_allocator)) {
		if (codec)
			tmem_store_set_codec(store, codec_before);
		return;
	}
	if (memory && set_memory(request, memory)) {
		if (allocator)
			tmem_store_set_allocator(store, before.allocator);
		if (codec)
			tmem_store_set_codec(store, codec_before);
		return;
	}
	tm_answer_json(request, tm_json_of_store(request->control));
}

static void handle_store_set(struct tm_request *request)
{
	static const char *const known[] = { "memory", "codec", "allocator" };
	struct tm_registry *registry = request->control->host.registry;
	const char *codec = NULL, *allocator = NULL;
	char memory[128];
	int has_memory;

	if (tm_body_check(request, known, COUNT(known)) ||
	    (has_memory = body_memory(request, memory, sizeof(memory))) < 0 ||
	    tm_body_text(request, "codec", &codec) < 0 ||
	    tm_body_text(request, "allocator", &allocator) < 0)
		return;
	if (!json_object_size(request->body)) {
		tm_answer_error(request, 400,
				"nothing to set: memory, codec or allocator");
		return;
	}
	tm_registry_lock_settings(registry);
	apply_to_store(request, has_memory ? memory : NULL, codec, allocator);
	tm_registry_unlock_settings(registry);
}

static void handle_freeable(struct tm_request *request)
{
	uint64_t bytes = tm_control_freeable_bytes(request->control);

	tm_answer_json(request,
		       json_pack("{s:I, s:I}", "freeable_bytes",
				 (json_int_t)bytes, "freeable_mib",
				 (json_int_t)(bytes >> 20)));
}

static void handle_flush(struct tm_request *request)
{
	static const char *const known[] = { "bytes" };
	uint64_t bytes = UINT64_MAX;
	int64_t freed;

	if (tm_body_check(request, known, COUNT(known)) ||
	    tm_body_size(request, "bytes", &bytes) < 0)
		return;
	freed = tmem_store_evict(request->control->host.store, bytes);
	if (freed < 0)
		tm_answer_error(request, status_of((int)freed),
				"nothing was given back: %s",
				strerror((int)-freed));
	else
		tm_answer_json(request, json_pack("{s:I}", "freed_bytes",
						  (json_int_t)freed));
}

/* --- disks ------------------------------------------------------------------ */

#define DISK_ERROR_SIZE 1024

/* NULL after an answer. */
static const struct tm_control_disks *disk_ops(struct tm_request *request)
{
	const struct tm_control_disks *ops = request->control->host.disk_ops;

	if (!ops)
		tm_answer_error(request, 501, "no disks are served here");
	return ops;
}

static void handle_disks(struct tm_request *request)
{
	tm_answer_json(request, tm_json_of_disks(request->control));
}

static void handle_disk_add(struct tm_request *request)
{
	static const char *const known[] = { "disk" };
	const struct tm_control_disks *ops = disk_ops(request);
	char error[DISK_ERROR_SIZE] = "";
	const char *text;
	int err;

	if (!ops || tm_body_check(request, known, COUNT(known)))
		return;
	err = tm_body_text(request, "disk", &text);
	if (err < 0)
		return;
	if (!err) {
		tm_answer_error(request, 400, "\"disk\" is needed: "
					      "name=NAME,socket=PATH,...");
		return;
	}
	err = ops->add(request->control->host.disks, text, error,
		       sizeof(error));
	if (err)
		tm_answer_error(request, status_of(err), "%s",
				reason(error, err));
	else
		tm_answer_json(request, json_pack("{s:i}", "disks", 1));
}

static void handle_disk_remove(struct tm_request *request)
{
	const struct tm_control_disks *ops = disk_ops(request);
	char error[DISK_ERROR_SIZE] = "";
	int err;

	if (!ops || tm_body_check(request, NULL, 0))
		return;
	err = ops->remove(request->control->host.disks, request->argument,
			  error, sizeof(error));
	if (err)
		tm_answer_error(request, status_of(err), "%s",
				reason(error, err));
	else
		tm_answer_json(request, json_pack("{s:i}", "disks", 1));
}

static void handle_disk_demote(struct tm_request *request)
{
	static const char *const known[] = { "bytes" };
	const struct tm_control_disks *ops = disk_ops(request);
	char error[DISK_ERROR_SIZE] = "";
	uint64_t bytes = INT64_MAX;
	int64_t demoted;

	if (!ops || tm_body_check(request, known, COUNT(known)) ||
	    tm_body_size(request, "bytes", &bytes) < 0)
		return;
	demoted = ops->demote(request->control->host.disks, request->argument,
			      bytes, error, sizeof(error));
	if (demoted < 0)
		tm_answer_error(request, status_of((int)demoted), "%s",
				reason(error, (int)demoted));
	else
		tm_answer_json(request, json_pack("{s:I}", "demoted_bytes",
						  (json_int_t)demoted));
}

/* --- for other programs --------------------------------------------------- */

static void handle_metrics(struct tm_request *request)
{
	size_t size;
	char *text = tm_metrics_text(request->control, &size);

	tm_answer_text(request,
		       "application/openmetrics-text; version=1.0.0; "
		       "charset=utf-8",
		       text, size);
}

/* More than the longest lines of all clients with all their pools. */
#define LIST_BYTES (4 << 20)

/* The number that the list knows a client by; or negative after an answer. */
static int64_t list_number(struct tm_request *request)
{
	struct tm_registry *registry = request->control->host.registry;
	struct tm_member *member;
	int64_t number;

	if (!tm_request_query(request, "client", request->argument,
			      sizeof(request->argument)))
		return TMEM_XEN_ALL_CLIENTS;
	member = tm_request_member(request);
	if (!member)
		return -ENOENT;
	number = member->number;
	tm_registry_release(registry, member);
	return number;
}

static void handle_list(struct tm_request *request)
{
	struct tmem_xen *xen = request->control->host.xen;
	int64_t number = list_number(request);
	char *text, *shorter;
	int err;

	if (number < 0)
		return;
	if (!xen) {
		tm_answer_error(request, 501,
				"no guests are served here, so there is no "
				"list in their format; GET /clients has more");
		return;
	}
	text = malloc(LIST_BYTES);
	err = text ? tmem_xen_list(xen, (uint32_t)number,
				   tm_request_flag(request, "long"), text,
				   LIST_BYTES) :
		     -ENOMEM;
	if (err) {
		tm_answer_error(request, status_of(err),
				"there is no list of that: %s", strerror(-err));
		free(text);
		return;
	}
	shorter = realloc(text, strlen(text) + 1);
	text = shorter ? shorter : text;
	tm_answer_text(request, "text/plain", text, strlen(text));
}

static void handle_root(struct tm_request *request)
{
	json_t *routes = json_array();

	for (const struct tm_route *r = tm_control_routes; r->method; r++)
		json_array_append_new(routes,
				      json_pack("{s:s, s:s}", "method",
						r->method, "path",
						r->pattern));
	tm_answer_json(request,
		       json_pack("{s:s, s:o}", "version", tmem_version(),
				 "routes", routes));
}

const struct tm_route tm_control_routes[] = {
	{ "GET", "/", false, handle_root },
	{ "GET", "/clients", false, handle_clients },
	{ "GET", "/clients/*", false, handle_client },
	{ "POST", "/clients/*/freeze", false, handle_freeze },
	{ "POST", "/clients/*/thaw", false, handle_thaw },
	{ "POST", "/clients/*/destroy", false, handle_destroy },
	{ "POST", "/clients/*/set", false, handle_client_set },
	{ "POST", "/clients/*/shared-auth", false, handle_shared_auth },
	{ "GET", "/clients/*/save", false, tm_stream_save },
	{ "POST", "/clients/*/restore", true, tm_stream_restore },
	{ "GET", "/clients/*/migration", false, tm_stream_migration },
	{ "POST", "/clients/*/migration/finish", false, tm_stream_finish },
	{ "POST", "/clients/*/migration/hand-over", false,
	  tm_stream_hand_over },
	{ "POST", "/clients/*/migration/cancel", false, tm_stream_cancel },
	{ "GET", "/disks", false, handle_disks },
	{ "POST", "/disks/add", false, handle_disk_add },
	{ "POST", "/disks/*/remove", false, handle_disk_remove },
	{ "POST", "/disks/*/demote", false, handle_disk_demote },
	{ "GET", "/store", false, handle_store },
	{ "POST", "/store/set", false, handle_store_set },
	{ "GET", "/freeable", false, handle_freeable },
	{ "POST", "/flush", false, handle_flush },
	{ "GET", "/stats", false, handle_stats },
	{ "GET", "/metrics", false, handle_metrics },
	{ "GET", "/list", false, handle_list },
	{ NULL, NULL, false, NULL },
};

const struct tm_route tm_control_no_routes[] = {
	{ NULL, NULL, false, NULL },
};

const struct tm_route tm_metrics_routes[] = {
	{ "GET", "/metrics", false, handle_metrics },
	{ NULL, NULL, false, NULL },
};
