/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Clients and store as JSON, and fields out of a request's JSON.
 *
 * Keys are stable: they are listed in doc/control.md, which a test compares
 * with what is answered. Quantities carry their unit in their name. Names are
 * whatever a client said; nothing in them can break the JSON around them.
 *
 * Bounds: at most 256 clients with 16 pools each, some 1.5 KiB a client. What a
 * client holds is summed from its counters, so its pages do not matter.
 */
#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "control_request.h"
#include "nearest.h"

#define KIB_PER_PAGE (TMEM_PAGE_SIZE / 1024)

json_t *tm_json_text(const char *text)
{
	json_t *json = json_string(text);
	char plain[1024];
	size_t i;

	if (json)
		return json;
	for (i = 0; text[i] && i < sizeof(plain) - 1; i++)
		plain[i] = (unsigned char)text[i] < 0x80 ? text[i] : '?';
	plain[i] = 0;
	return json_string(plain);
}

static void set_number(json_t *object, const char *key, uint64_t number)
{
	json_object_set_new(object, key, json_integer((json_int_t)number));
}

static void set_flag(json_t *object, const char *key, bool flag)
{
	json_object_set_new(object, key, json_boolean(flag));
}

static json_t *json_of_latency(const struct tmem_latency *latency)
{
	json_t *json = json_object();

	set_number(json, "samples", latency->samples);
	set_number(json, "p50_ns", latency->p50_ns);
	set_number(json, "p99_ns", latency->p99_ns);
	set_number(json, "mean_ns", latency->mean_ns);
	return json;
}

static void set_counts(json_t *json, const struct tmem_counts *counts)
{
	set_number(json, "pages", counts->pages);
	set_number(json, "same_filled", counts->same_filled);
	set_number(json, "raw", counts->raw);
	set_number(json, "shared_copies", counts->shared_copies);
	set_number(json, "compressed_bytes", counts->compressed_bytes);
	set_number(json, "billed_bytes", counts->billed_bytes);
	set_number(json, "puts", counts->puts);
	set_number(json, "puts_refused", counts->puts_refused);
	set_number(json, "refused_memory", counts->refused_memory);
	set_number(json, "refused_cap", counts->refused_cap);
	set_number(json, "refused_frozen", counts->refused_frozen);
	set_number(json, "gets", counts->gets);
	set_number(json, "gets_missed", counts->gets_missed);
	set_number(json, "flushes", counts->flushes);
	set_number(json, "duplicates", counts->duplicates);
	set_number(json, "evicted", counts->evicted);
	set_number(json, "corrupt", counts->corrupt);
	json_object_set_new(json, "put", json_of_latency(&counts->put));
	json_object_set_new(json, "get", json_of_latency(&counts->get));
}

/* --- clients -------------------------------------------------------------- */

static json_t *json_of_uuid(const struct tmem_uuid *uuid)
{
	uint64_t high = uuid->word[1], low = uuid->word[0];

	return json_sprintf("%08x-%04x-%04x-%04x-%012" PRIx64,
			    (unsigned)(high >> 32),
			    (unsigned)(high >> 16 & 0xffff),
			    (unsigned)(high & 0xffff), (unsigned)(low >> 48),
			    low & ((UINT64_C(1) << 48) - 1));
}

static json_t *json_of_pools(struct tmem_client *client)
{
	json_t *pools = json_array();

	for (int i = 0; i < TMEM_POOLS_MAX; i++) {
		struct tmem_pool_info info = { .struct_size = sizeof(info) };
		json_t *pool;

		if (tmem_pool_get_info(client, i, &info))
			continue;
		pool = json_object();
		set_number(pool, "id", (uint64_t)i);
		set_flag(pool, "persistent", info.flags & TMEM_POOL_PERSISTENT);
		set_flag(pool, "shared", info.flags & TMEM_POOL_SHARED);
		json_object_set_new(pool, "uuid",
				    info.flags & TMEM_POOL_SHARED ?
					    json_of_uuid(&info.uuid) :
					    json_null());
		set_number(pool, "members", info.members);
		set_number(pool, "pages", info.pages);
		set_number(pool, "objects", info.objects);
		json_array_append_new(pools, pool);
	}
	return pools;
}

static void set_peer(json_t *json, struct tm_control *control,
		     const struct tm_member *member)
{
	struct tm_member_state state;

	tm_registry_state(control->host.registry, member, &state);
	set_flag(json, "attached", state.is_attached);
	if (state.is_attached)
		json_object_set_new(json, "peer",
				    json_pack("{s:i, s:i}", "pid",
					      (int)state.peer_pid, "uid",
					      (int)state.peer_uid));
	else
		json_object_set_new(json, "peer", json_null());
}

/* A guest's own memory, where somebody says how much that is. */
static void set_domain(json_t *json, struct tmem_xen_domain *domain)
{
	uint64_t pages = 0, pages_max = TMEM_XEN_PAGES_UNLIMITED;

	if (domain)
		tmem_xen_domain_get_pages(domain, &pages, &pages_max);
	if (pages_max == TMEM_XEN_PAGES_UNLIMITED) {
		json_object_set_new(json, "mem_kib", json_null());
		json_object_set_new(json, "maxmem_kib", json_null());
	} else {
		set_number(json, "mem_kib", pages * KIB_PER_PAGE);
		set_number(json, "maxmem_kib", pages_max * KIB_PER_PAGE);
	}
}

json_t *tm_json_of_client(struct tm_control *control,
			  const struct tm_member *member)
{
	struct tmem_client_info info = { .struct_size = sizeof(info) };
	struct tmem_counts counts = { .struct_size = sizeof(counts) };
	json_t *json = json_object();

	tmem_client_get_info(member->client, &info);
	tmem_client_get_counts(member->client, &counts);
	set_number(json, "number", member->number);
	json_object_set_new(json, "name", tm_json_text(member->name));
	set_peer(json, control, member);
	set_flag(json, "frozen", info.frozen);
	set_flag(json, "migrating", info.migrating);
	set_flag(json, "compress", info.compress);
	json_object_set_new(json, "codec", json_string(info.codec));
	json_object_set_new(json, "level", json_integer(info.level));
	json_object_set_new(json, "allocator", json_string(info.allocator));
	set_number(json, "weight", info.weight);
	set_number(json, "reservation_bytes", info.reservation_bytes);
	set_number(json, "cap_bytes", info.cap_bytes);
	set_number(json, "trust_domain", info.trust_domain);
	set_domain(json, member->domain);
	set_counts(json, &counts);
	json_object_set_new(json, "pools", json_of_pools(member->client));
	return json;
}

json_t *tm_json_of_clients(struct tm_control *control)
{
	struct tm_registry *registry = control->host.registry;
	struct tm_member *member = tm_registry_next(registry, 0);
	json_t *clients = json_array();

	while (member) {
		uint32_t number = member->number;

		json_array_append_new(clients,
				      tm_json_of_client(control, member));
		tm_registry_release(registry, member);
		member = tm_registry_next(registry, number);
	}
	return clients;
}

/* --- disks ----------------------------------------------------------------- */

static json_t *json_of_disk(const struct tm_disk_report *report)
{
	const struct tm_disk_info *disk = &report->disk;
	const struct tm_vhost_info *door = &report->door;
	json_t *json = json_object();

	json_object_set_new(json, "name", tm_json_text(report->name));
	json_object_set_new(json, "kind",
			    json_string(disk->kind == TM_DISK_CACHE ? "cache" :
								      "swap"));
	json_object_set_new(json, "socket", tm_json_text(report->socket));
	json_object_set_new(json, "file",
			    *report->file ? tm_json_text(report->file) :
					    json_null());
	set_flag(json, "connected", door->is_connected);
	set_flag(json, "broken", door->is_broken);
	set_flag(json, "readonly", disk->is_readonly);
	set_flag(json, "paused", disk->is_paused);
	set_flag(json, "needs_discard", disk->was_filled);
	set_number(json, "size_bytes", disk->size_bytes);
	set_number(json, "blocks_in_tmem", disk->blocks_in_tmem);
	set_number(json, "blocks_in_file", disk->blocks_in_file);
	set_number(json, "reads", disk->reads);
	set_number(json, "writes", disk->writes);
	set_number(json, "hits", disk->hits);
	set_number(json, "image_reads", disk->image_reads);
	set_number(json, "fills_dropped", disk->fills_dropped);
	set_number(json, "blocks_refused", disk->blocks_refused);
	set_number(json, "blocks_demoted", disk->blocks_demoted);
	set_number(json, "blocks_discarded", disk->blocks_discarded);
	set_number(json, "errors", disk->errors);
	set_number(json, "requests", door->requests);
	set_number(json, "read_bytes", door->read_bytes);
	set_number(json, "written_bytes", door->written_bytes);
	set_number(json, "request_errors", door->errors);
	set_number(json, "connections", door->connections);
	set_number(json, "connections_dropped", door->dropped);
	return json;
}

json_t *tm_json_of_disks(struct tm_control *control)
{
	const struct tm_control_host *host = &control->host;
	struct tm_disk_report report;
	json_t *disks = json_array();

	for (size_t n = 0; host->disk_ops &&
			   host->disk_ops->report(host->disks, n, &report);
	     n++)
		json_array_append_new(disks, json_of_disk(&report));
	return disks;
}

/* --- the store ------------------------------------------------------------ */

static int get_stats(struct tm_control *control, struct tmem_store_stats *stats)
{
	*stats = (struct tmem_store_stats){
		.struct_size = sizeof(*stats),
		.counts.struct_size = sizeof(stats->counts),
	};
	return tmem_store_get_stats(control->host.store, stats);
}

static json_t *json_of_store(const struct tmem_store_stats *stats)
{
	json_t *json = json_object();

	json_object_set_new(json, "version", json_string(tmem_version()));
	set_number(json, "memory_bytes", stats->memory_bytes);
	set_number(json, "used_bytes", stats->used_bytes);
	set_number(json, "arena_bytes", stats->arena_bytes);
	set_number(json, "metadata_bytes", stats->metadata_bytes);
	set_number(json, "idle_bytes", stats->idle_bytes);
	set_number(json, "clients", stats->clients);
	set_number(json, "objects", stats->objects);
	set_number(json, "moves", stats->moves);
	set_number(json, "codec_errors", stats->codec_errors);
	json_object_set_new(json, "codec", json_string(stats->codec));
	json_object_set_new(json, "level", json_integer(stats->level));
	json_object_set_new(json, "allocator", json_string(stats->allocator));
	set_number(json, "recovered_pages", stats->recovered_pages);
	set_number(json, "codec_input_bytes", stats->codec_input_bytes);
	set_number(json, "needed_bytes", stats->needed_bytes);
	set_number(json, "freeable_bytes", stats->freeable_bytes);
	return json;
}

json_t *tm_json_of_store(struct tm_control *control)
{
	struct tmem_store_stats stats;

	return get_stats(control, &stats) ? NULL : json_of_store(&stats);
}

json_t *tm_json_of_stats(struct tm_control *control)
{
	struct tmem_store_stats stats;
	json_t *counts = json_object();

	if (get_stats(control, &stats)) {
		json_decref(counts);
		return NULL;
	}
	set_counts(counts, &stats.counts);
	return json_pack("{s:o, s:o}", "store", json_of_store(&stats), "counts",
			 counts);
}

uint64_t tm_control_freeable_bytes(struct tm_control *control)
{
	struct tmem_store_stats stats;

	return get_stats(control, &stats) ? 0 : stats.freeable_bytes;
}

/* --- fields of a body ----------------------------------------------------- */

static int refuse(struct tm_request *request, const char *key,
		  const char *wanted)
{
	tm_answer_error(request, 400, "\"%s\" wants %s", key, wanted);
	return -EINVAL;
}

int tm_body_size(struct tm_request *request, const char *key, uint64_t *bytes)
{
	const char *wanted = "a size: bytes, or a string such as \"64M\"";
	json_t *value = json_object_get(request->body, key);

	if (!value)
		return 0;
	if (json_is_string(value))
		return tmem_size_parse(json_string_value(value), bytes) ?
			       refuse(request, key, wanted) :
			       1;
	if (!json_is_integer(value) || json_integer_value(value) < 0)
		return refuse(request, key, wanted);
	*bytes = (uint64_t)json_integer_value(value);
	return 1;
}

int tm_body_number(struct tm_request *request, const char *key, uint64_t max,
		   uint64_t *number)
{
	json_t *value = json_object_get(request->body, key);
	char wanted[64];

	if (!value)
		return 0;
	if (json_is_integer(value) && json_integer_value(value) >= 0 &&
	    (uint64_t)json_integer_value(value) <= max) {
		*number = (uint64_t)json_integer_value(value);
		return 1;
	}
	snprintf(wanted, sizeof(wanted), "a number from 0 to %" PRIu64, max);
	return refuse(request, key, wanted);
}

int tm_body_flag(struct tm_request *request, const char *key, bool *flag)
{
	json_t *value = json_object_get(request->body, key);

	if (!value)
		return 0;
	if (!json_is_boolean(value))
		return refuse(request, key, "true or false");
	*flag = json_boolean_value(value);
	return 1;
}

int tm_body_text(struct tm_request *request, const char *key, const char **text)
{
	json_t *value = json_object_get(request->body, key);

	if (!value)
		return 0;
	if (!json_is_string(value) || !json_string_length(value))
		return refuse(request, key, "a string");
	*text = json_string_value(value);
	return 1;
}

int tm_body_check(struct tm_request *request, const char *const *known,
		  size_t count)
{
	const char *key;
	json_t *value;

	json_object_foreach(request->body, key, value) {
		bool is_known = false;

		for (size_t i = 0; i < count; i++)
			is_known |= !strcmp(key, known[i]);
		if (is_known)
			continue;
		if (count)
			tm_answer_error(request, 400,
					"unknown field \"%.60s\"; the nearest "
					"is \"%s\"",
					key,
					tm_nearest(key, known, count,
						   sizeof(*known)));
		else
			tm_answer_error(request, 400,
					"unknown field \"%.60s\"; this takes "
					"none",
					key);
		return -EINVAL;
	}
	return 0;
}
