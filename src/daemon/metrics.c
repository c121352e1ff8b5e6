/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The daemon's numbers as OpenMetrics text, for Prometheus and its like.
 *
 * The format wants all samples of one family together, and the numbers come
 * client by client: so all clients are read first, then the table of families
 * is walked. Latencies are summaries with the quantiles that the store keeps;
 * times are seconds and sizes bytes, as the format asks for.
 *
 * A client's name is a label, escaped; bytes that are not UTF-8 become '?'.
 *
 * Bounds: at most 256 clients, some 3 KiB each. Nothing is locked here.
 */
#include <config.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "balloon_state.h"
#include "control_request.h"

/* A family for each client, out of its struct tmem_counts. */
struct family {
	const char *name;
	const char *type;	/* "gauge" or "counter" */
	const char *unit;	/* at the name's end too; or "" */
	const char *help;
	size_t offset;
};

#define OF(field) offsetof(struct tmem_counts, field)
static const struct family families[] = {
	{ "tmem_client_pages", "gauge", "", "Pages stored.", OF(pages) },
	{ "tmem_client_same_filled_pages", "gauge", "",
	  "Of these, pages of one repeated word.", OF(same_filled) },
	{ "tmem_client_raw_pages", "gauge", "",
	  "Of these, pages stored uncompressed.", OF(raw) },
	{ "tmem_client_compressed_bytes", "gauge", "bytes",
	  "Sum of the stored forms of the pages.", OF(compressed_bytes) },
	{ "tmem_client_billed_bytes", "gauge", "bytes",
	  "Compressed bytes and metadata.", OF(billed_bytes) },
	{ "tmem_client_puts", "counter", "", "Puts that stored.", OF(puts) },
	{ "tmem_client_puts_refused_memory", "counter", "",
	  "Puts refused for want of memory.", OF(refused_memory) },
	{ "tmem_client_puts_refused_cap", "counter", "",
	  "Puts refused by the client's cap.", OF(refused_cap) },
	{ "tmem_client_puts_refused_frozen", "counter", "",
	  "Puts refused because the client was frozen.", OF(refused_frozen) },
	{ "tmem_client_gets", "counter", "", "Gets that hit.", OF(gets) },
	{ "tmem_client_gets_missed", "counter", "", "Gets that missed.",
	  OF(gets_missed) },
	{ "tmem_client_flushes", "counter", "", "Pages flushed one by one.",
	  OF(flushes) },
	{ "tmem_client_duplicates", "counter", "",
	  "Puts that replaced a page.", OF(duplicates) },
	{ "tmem_client_evicted", "counter", "",
	  "Ephemeral pages dropped for want of memory.", OF(evicted) },
	{ "tmem_client_corrupt", "counter", "",
	  "Pages dropped because they failed their check.", OF(corrupt) },
};

struct sampled {
	uint32_t number;
	char label[6 * TMEM_CLIENT_NAME_MAX + 1];
	struct tmem_client_info info;
	struct tmem_counts counts;
	bool is_attached;
};

struct samples {
	struct sampled *clients;
	size_t count;
	size_t room;
};

static bool is_text(const char *name)
{
	json_t *json = json_string(name);

	json_decref(json);
	return json != NULL;
}

static void write_label(char *label, const char *name)
{
	bool is_utf8 = is_text(name);

	for (; *name; name++) {
		unsigned char c = (unsigned char)*name;

		if (c == '\\' || c == '"') {
			*label++ = '\\';
			*label++ = *name;
		} else if (c < 0x20 || c == 0x7f || (c >= 0x80 && !is_utf8)) {
			*label++ = '?';
		} else {
			*label++ = *name;
		}
	}
	*label = 0;
}

static bool sample(struct samples *samples, struct tm_registry *registry,
		   const struct tm_member *member)
{
	struct tm_member_state state;
	struct sampled *s;

	if (samples->count == samples->room) {
		size_t room = samples->room ? 2 * samples->room : 16;

		s = realloc(samples->clients, room * sizeof(*s));
		if (!s)
			return false;
		samples->clients = s;
		samples->room = room;
	}
	tm_registry_state(registry, member, &state);
	s = &samples->clients[samples->count++];
	*s = (struct sampled){
		.number = member->number,
		.info.struct_size = sizeof(s->info),
		.counts.struct_size = sizeof(s->counts),
		.is_attached = state.is_attached,
	};
	write_label(s->label, member->name);
	tmem_client_get_info(member->client, &s->info);
	tmem_client_get_counts(member->client, &s->counts);
	return true;
}

static bool sample_all(struct tm_control *control, struct samples *samples)
{
	struct tm_registry *registry = control->host.registry;
	struct tm_member *member = tm_registry_next(registry, 0);

	while (member) {
		uint32_t number = member->number;
		bool is_sampled = sample(samples, registry, member);

		tm_registry_release(registry, member);
		if (!is_sampled)
			return false;
		member = tm_registry_next(registry, number);
	}
	return true;
}

/* --- text ----------------------------------------------------------------- */

static void begin_family(FILE *out, const char *name, const char *type,
			 const char *unit, const char *help)
{
	fprintf(out, "# TYPE %s %s\n", name, type);
	if (*unit)
		fprintf(out, "# UNIT %s %s\n", name, unit);
	fprintf(out, "# HELP %s %s\n", name, help);
}

static const char *suffix(const char *type)
{
	return strcmp(type, "counter") ? "" : "_total";
}

static void print_labels(FILE *out, const struct sampled *s)
{
	fprintf(out, "{client=\"%s\",number=\"%" PRIu32 "\"", s->label,
		s->number);
}

static void print_families(FILE *out, const struct samples *samples)
{
	for (size_t f = 0; f < sizeof(families) / sizeof(families[0]); f++) {
		const struct family *family = &families[f];

		begin_family(out, family->name, family->type, family->unit,
			     family->help);
		for (size_t i = 0; i < samples->count; i++) {
			const struct sampled *s = &samples->clients[i];
			uint64_t value;

			memcpy(&value,
			       (const char *)&s->counts + family->offset,
			       sizeof(value));
			fprintf(out, "%s%s", family->name,
				suffix(family->type));
			print_labels(out, s);
			fprintf(out, "} %" PRIu64 "\n", value);
		}
	}
}

static uint64_t weight_of(const struct sampled *s)
{
	return s->info.weight;
}

static uint64_t reservation_of(const struct sampled *s)
{
	return s->info.reservation_bytes;
}

static uint64_t cap_of(const struct sampled *s)
{
	return s->info.cap_bytes;
}

static uint64_t frozen_of(const struct sampled *s)
{
	return s->info.frozen;
}

static uint64_t attached_of(const struct sampled *s)
{
	return s->is_attached;
}

/* Gauges out of what is not a count. */
struct state {
	const char *name;
	const char *unit;
	const char *help;
	uint64_t (*value)(const struct sampled *s);
};

static const struct state states[] = {
	{ "tmem_client_weight", "", "Share of ephemeral memory; 0: none.",
	  weight_of },
	{ "tmem_client_reservation_bytes", "bytes",
	  "Up to here no put is refused for want of memory.", reservation_of },
	{ "tmem_client_cap_bytes", "bytes",
	  "The most that may be billed; 0: no cap.", cap_of },
	{ "tmem_client_frozen", "", "1 while its puts are refused.",
	  frozen_of },
	{ "tmem_client_attached", "",
	  "1 while somebody is connected as this client.", attached_of },
};

static void print_states(FILE *out, const struct samples *samples)
{
	for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
		const struct state *state = &states[i];

		begin_family(out, state->name, "gauge", state->unit,
			     state->help);
		for (size_t j = 0; j < samples->count; j++) {
			const struct sampled *s = &samples->clients[j];

			fprintf(out, "%s", state->name);
			print_labels(out, s);
			fprintf(out, "} %" PRIu64 "\n", state->value(s));
		}
	}
}

static void print_latency(FILE *out, const char *name, const struct sampled *s,
			  const struct tmem_latency *latency)
{
	fprintf(out, "%s", name);
	print_labels(out, s);
	fprintf(out, ",quantile=\"0.5\"} %.9f\n",
		(double)latency->p50_ns / 1e9);
	fprintf(out, "%s", name);
	print_labels(out, s);
	fprintf(out, ",quantile=\"0.99\"} %.9f\n",
		(double)latency->p99_ns / 1e9);
	fprintf(out, "%s_count", name);
	print_labels(out, s);
	fprintf(out, "} %" PRIu64 "\n", latency->samples);
	fprintf(out, "%s_sum", name);
	print_labels(out, s);
	fprintf(out, "} %.9f\n",
		(double)latency->mean_ns * (double)latency->samples / 1e9);
}

static void print_latencies(FILE *out, const struct samples *samples)
{
	begin_family(out, "tmem_client_put_seconds", "summary", "seconds",
		     "How long puts that stored took (one in several is "
		     "measured).");
	for (size_t i = 0; i < samples->count; i++)
		print_latency(out, "tmem_client_put_seconds",
			      &samples->clients[i],
			      &samples->clients[i].counts.put);
	begin_family(out, "tmem_client_get_seconds", "summary", "seconds",
		     "How long gets that hit took (one in several is "
		     "measured).");
	for (size_t i = 0; i < samples->count; i++)
		print_latency(out, "tmem_client_get_seconds",
			      &samples->clients[i],
			      &samples->clients[i].counts.get);
}

static void print_one(FILE *out, const char *name, const char *type,
		      const char *unit, const char *help, uint64_t value)
{
	begin_family(out, name, type, unit, help);
	fprintf(out, "%s%s %" PRIu64 "\n", name, suffix(type), value);
}

static void print_store(FILE *out, const struct tmem_store_stats *stats)
{
	print_one(out, "tmem_store_memory_bytes", "gauge", "bytes",
		  "The limit in force.", stats->memory_bytes);
	print_one(out, "tmem_store_used_bytes", "gauge", "bytes",
		  "Everything the store holds.", stats->used_bytes);
	print_one(out, "tmem_store_arena_bytes", "gauge", "bytes",
		  "Frames that hold pages.", stats->arena_bytes);
	print_one(out, "tmem_store_metadata_bytes", "gauge", "bytes",
		  "Everything else that is in use.", stats->metadata_bytes);
	print_one(out, "tmem_store_idle_bytes", "gauge", "bytes",
		  "Frames kept ready that hold nothing.", stats->idle_bytes);
	print_one(out, "tmem_store_needed_bytes", "gauge", "bytes",
		  "What no eviction can get back.", stats->needed_bytes);
	print_one(out, "tmem_store_freeable_bytes", "gauge", "bytes",
		  "About what eviction could give back.",
		  stats->freeable_bytes);
	print_one(out, "tmem_store_clients", "gauge", "",
		  "Clients, attached or not.", stats->clients);
	print_one(out, "tmem_store_objects", "gauge", "", "Objects alive.",
		  stats->objects);
	print_one(out, "tmem_store_moves", "counter", "",
		  "Pages moved by compaction.", stats->moves);
	print_one(out, "tmem_store_codec_errors", "counter", "",
		  "Times a codec broke its contract.", stats->codec_errors);
	print_one(out, "tmem_store_recovered_pages", "gauge", "",
		  "Persistent pages found when the arena was reopened.",
		  stats->recovered_pages);
	begin_family(out, "tmem_build", "info", "", "What runs here.");
	fprintf(out,
		"tmem_build_info{version=\"%s\",codec=\"%s\",allocator=\"%s\"} "
		"1\n",
		tmem_version(), stats->codec, stats->allocator);
}

/* Guests that the agent drives, as it says it itself. */
static void print_balloon(FILE *out)
{
	char *text;

	if (tm_balloon_state_read(&text))
		return;
	fputs(text, out);
	free(text);
}

char *tm_metrics_text(struct tm_control *control, size_t *size)
{
	struct tmem_store_stats stats = {
		.struct_size = sizeof(stats),
		.counts.struct_size = sizeof(stats.counts),
	};
	struct samples samples = { 0 };
	char *text = NULL;
	bool is_broken;
	FILE *out;

	*size = 0;
	if (tmem_store_get_stats(control->host.store, &stats) ||
	    !sample_all(control, &samples))
		goto out;
	out = open_memstream(&text, size);
	if (!out)
		goto out;
	print_store(out, &stats);
	print_states(out, &samples);
	print_families(out, &samples);
	print_latencies(out, &samples);
	print_balloon(out);
	fputs("# EOF\n", out);
	is_broken = ferror(out);
	if (fclose(out) || is_broken) {
		free(text);
		text = NULL;
	}
out:
	free(samples.clients);
	return text;
}
