/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What `tmem bench channel` found, as a table and as JSON.
 *
 * A figure that this machine cannot have (a second processor, memcached) is not
 * judged, and left out.
 */
#include <config.h>

#include <inttypes.h>
#include <sched.h>
#include <string.h>

#include "bench_channel.h"
#include "report.h"

static uint32_t count_processors(void)
{
	cpu_set_t cpus;

	if (sched_getaffinity(0, sizeof(cpus), &cpus))
		return 1;
	return (uint32_t)CPU_COUNT(&cpus);
}

struct judged {
	const char *name;
	const char *label;
	double value;
	double budget;
	bool at_least;
	bool is_known;
};

#define JUDGED 6

static void judge(const struct tm_bench_channel_result *r, struct judged judged[JUDGED])
{
	uint32_t cpus = count_processors();
	double share = cpus >= 4 ? 0.9 : 0.45;
	bool has_memcached = r->memcached_one > 0;
	const struct judged all[JUDGED] = {
		{ "put_extra_ns", "put, ns over embedded", r->extra.put, 1500,
		  false, cpus >= 2 },
		{ "get_extra_ns", "get, ns over embedded", r->extra.get, 1500,
		  false, cpus >= 2 },
		{ "memcached_ratio", "put+get to memcached's set+get",
		  r->ratio_one, 5, true, has_memcached },
		{ "memcached_ratio_32", "the same, 32 under way",
		  r->ratio_deep, 5, true, has_memcached },
		{ "put_share", "put, one of two clients to one alone",
		  r->share.put, share, true, cpus >= 2 },
		{ "get_share", "get, one of two clients to one alone",
		  r->share.get, share, true, cpus >= 2 },
	};

	memcpy(judged, all, sizeof(all));
}

static bool is_met(const struct judged *j)
{
	return j->at_least ? j->value >= j->budget : j->value <= j->budget;
}

static void report_result(const struct tm_bench_channel_result *r)
{
	static const char *const titles[] = { "", "measured", "budget", "" };
	struct judged judged[JUDGED];
	struct tm_report report;

	printf("%s over %s\n", r->codec->spec, r->allocator);
	judge(r, judged);
	tm_report_begin(&report, titles, 4);
	for (size_t i = 0; i < JUDGED; i++) {
		const struct judged *j = &judged[i];

		if (!j->is_known)
			continue;
		tm_report_cell(&report, "%s", j->label);
		tm_report_cell(&report, "%.*f", j->budget > 100 ? 0 : 2,
			       j->value);
		tm_report_cell(&report, "%s %g", j->at_least ? ">=" : "<=",
			       j->budget);
		tm_report_cell(&report, "%s", is_met(j) ? "" : "SHORT");
	}
	tm_report_end(&report, stdout);
	printf("ns per call, embedded / channel / 32 under way: put %.0f / "
	       "%.0f / %.0f, get %.0f / %.0f / %.0f\n", r->embedded.put,
	       r->channel.put, r->deep.put, r->embedded.get, r->channel.get,
	       r->deep.get);
	printf("calls/s, put and get, one / 32 under way: tmem %.0f / %.0f",
	       r->rate_one, r->rate_deep);
	if (r->memcached_one > 0)
		printf(", memcached %.0f / %.0f\n\n", r->memcached_one,
		       r->memcached_deep);
	else
		printf("; no memcached was found to compare with\n\n");
}

static json_t *json_of_pair(const struct tm_bench_pair *pair)
{
	return json_pack("{sf sf}", "put", pair->put, "get", pair->get);
}

static json_t *json_of_result(const struct tm_bench_channel_result *r)
{
	struct judged judged[JUDGED];
	json_t *budgets = json_array();
	json_t *object;

	judge(r, judged);
	for (size_t i = 0; i < JUDGED; i++)
		if (judged[i].is_known)
			json_array_append_new(
				budgets,
				json_pack("{ss sf sf sb sb}", "name",
					  judged[i].name, "value",
					  judged[i].value, "budget",
					  judged[i].budget, "at_least",
					  judged[i].at_least, "met",
					  is_met(&judged[i])));
	object = json_pack(
		"{ss si ss so so so so so so so so}", "codec",
		r->codec->table->name, "level", r->codec->level, "allocator",
		r->allocator, "embedded_ns", json_of_pair(&r->embedded),
		"channel_ns", json_of_pair(&r->channel), "channel_32_ns",
		json_of_pair(&r->deep), "extra_ns", json_of_pair(&r->extra),
		"ratio", json_of_pair(&r->ratio), "alone_per_s",
		json_of_pair(&r->alone), "slower_of_two_per_s",
		json_of_pair(&r->slower), "budgets", budgets);
	if (r->memcached_one > 0)
		json_object_set_new(
			object, "memcached",
			json_pack("{sf sf sf sf}", "calls_per_s",
				  r->memcached_one, "calls_per_s_32",
				  r->memcached_deep, "ratio", r->ratio_one,
				  "ratio_32", r->ratio_deep));
	return object;
}

int tm_bench_channel_report(struct tm_bench *bench, const struct tm_bench_channel_result *results,
		      size_t count)
{
	json_t *json = tm_bench_json_head(bench), *list = json_array();

	json_object_set_new(json, "processors",
			    json_integer(count_processors()));
	for (size_t i = 0; i < count; i++)
		json_array_append_new(list, json_of_result(&results[i]));
	json_object_set_new(json, "results", list);
	if (!bench->is_json) {
		tm_bench_report_head(bench);
		for (size_t i = 0; i < count; i++)
			report_result(&results[i]);
	}
	return tm_bench_json_finish(bench, json);
}
