/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The simulator: time, work and what is written down.
 *
 * The problem: whether memory that flows between guests helps them shows after
 * minutes, on a machine with a slow disk and many guests; and it must be shown
 * with real compression of real pages. The idea: time is a number. Each virtual
 * CPU is so far; the one that is least far does a unit of work (reads, touches,
 * writes, computing), which moves it on by what its faults and calls cost.
 * Balloons and agents run at every second, samples are taken as often as the
 * scenario says. Only the store is real: every page goes through it.
 *
 * Costs are the scenario's, never measured here, and chance comes from its
 * seed: a run gives the same on every machine.
 *
 * The bound: a unit is done in one go, so that two guests' requests to the
 * disk may be served in another order than they were made, by a unit's length
 * at most. Virtual CPUs do not wait for real ones.
 */
#include <config.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim_guest.h"

#define TICK_NS TM_SIM_NS_PER_S

struct sim {
	const struct tm_sim_scenario *scenario;
	struct tm_sim_host host;
	struct tm_sim_guest *guests;
	size_t booted;
	struct tm_sim_result *result;
	size_t samples_max;
};

/* --- work -------------------------------------------------------------------
 */

/* One in hot_refs_pct of 100 goes to the first hot_pct of 100. */
static uint32_t pick(struct tm_sim_guest *g, uint64_t clusters)
{
	uint64_t hot = clusters * g->spec.hot_pct / 100;
	bool is_hot = tm_sim_guest_random(g, 100) < g->spec.hot_refs_pct;

	if (!hot || hot == clusters)
		return (uint32_t)tm_sim_guest_random(g, clusters);
	return (uint32_t)(is_hot ? tm_sim_guest_random(g, hot)
				 : hot + tm_sim_guest_random(g,
							     clusters - hot));
}

static bool is_finished(const struct tm_sim_guest *g)
{
	return g->spec.units && g->series->counts.units >= g->spec.units;
}

static void do_unit(struct tm_sim_guest *g, struct tm_sim_vcpu *cpu)
{
	const struct tm_sim_guest_spec *s = &g->spec;
	uint64_t began_ns = cpu->now_ns;

	for (uint64_t i = 0; i < s->reads && g->file_clusters; i++)
		tm_sim_guest_read(g, pick(g, g->file_clusters), &cpu->now_ns);
	for (uint64_t i = 0; i < s->touches && g->anon_clusters; i++)
		tm_sim_guest_touch(g, pick(g, g->anon_clusters), &cpu->now_ns);
	for (uint64_t i = 0; i < s->writes && g->file_clusters; i++)
		tm_sim_guest_write(g, pick(g, g->file_clusters), &cpu->now_ns);
	cpu->now_ns += s->cpu_ns;
	g->series->counts.cpu_ns += s->cpu_ns;
	cpu->units++;
	if (++g->series->counts.units == s->units)
		g->series->counts.finished_ns = cpu->now_ns;
	/* It was asked for no more than so much. */
	if (s->rate) {
		uint64_t next_ns =
			began_ns + s->vcpus * TM_SIM_NS_PER_S / s->rate;

		if (cpu->now_ns < next_ns)
			cpu->now_ns = next_ns;
	}
}

static bool works(const struct tm_sim_guest *g)
{
	return !is_finished(g) &&
	       (g->spec.reads || g->spec.touches || g->spec.writes);
}

/* Who is least far and works; NULL: none before @until_ns. */
static struct tm_sim_vcpu *find_next(struct sim *sim, uint64_t until_ns,
				     struct tm_sim_guest **whose)
{
	struct tm_sim_vcpu *next = NULL;

	for (size_t i = 0; i < sim->booted; i++) {
		struct tm_sim_guest *g = &sim->guests[i];

		for (size_t v = 0; works(g) && v < g->spec.vcpus; v++)
			if (g->vcpus[v].now_ns < until_ns &&
			    (!next || g->vcpus[v].now_ns < next->now_ns)) {
				next = &g->vcpus[v];
				*whose = g;
			}
	}
	return next;
}

static int work(struct sim *sim, uint64_t until_ns)
{
	struct tm_sim_guest *g = NULL;
	struct tm_sim_vcpu *cpu;

	while ((cpu = find_next(sim, until_ns, &g))) {
		do_unit(g, cpu);
		if (g->error)
			return g->error;
	}
	return 0;
}

/* Who had nothing to do does not catch up on it. */
static void pass_time(struct sim *sim, uint64_t now_ns)
{
	for (size_t i = 0; i < sim->booted; i++)
		for (size_t v = 0; v < sim->guests[i].spec.vcpus; v++)
			if (sim->guests[i].vcpus[v].now_ns < now_ns)
				sim->guests[i].vcpus[v].now_ns = now_ns;
}

/* --- what changes on the way ---------------------------------------------- */

static uint64_t value_at(const struct tm_sim_guest_spec *spec, size_t offset)
{
	uint64_t value;

	memcpy(&value, (const char *)spec + offset, sizeof(value));
	return value;
}

static void apply_changes(struct sim *sim, uint64_t from_ns, uint64_t to_ns)
{
	for (size_t c = 0; c < sim->scenario->change_count; c++) {
		const struct tm_sim_change *change = &sim->scenario->changes[c];
		size_t length = strlen(change->guest);

		if (change->at_ns < from_ns || change->at_ns >= to_ns)
			continue;
		for (size_t i = 0; i < sim->booted; i++) {
			struct tm_sim_guest *g = &sim->guests[i];

			if (strncmp(g->spec.name, change->guest, length) ||
			    g->spec.name[length])
				continue;
			if (value_at(&g->spec, change->offset) == change->value)
				continue;
			memcpy((char *)&g->spec + change->offset,
			       &change->value, sizeof(change->value));
		}
	}
}

/* How much memory programs have grows and shrinks at once, and they wait for
 * it: the first virtual CPU does. */
static void follow_anon(struct tm_sim_guest *g)
{
	tm_sim_guest_set_anon(g, g->spec.anon_bytes, &g->vcpus[0].now_ns);
}

/* The row that holds now, and the rates it says, in units of one touch. */
static void follow_trace(struct tm_sim_guest *g, uint64_t now_ns)
{
	struct tm_sim_guest_spec *s = &g->spec;
	uint64_t cluster_bytes = TMEM_PAGE_SIZE * g->host->scenario->grain;
	const struct tm_sim_trace_row *row;

	if (!s->trace_count)
		return;
	while (g->trace_at + 1 < s->trace_count &&
	       s->trace[g->trace_at + 1].at_ns <= now_ns)
		g->trace_at++;
	row = &s->trace[g->trace_at];
	s->anon_bytes = row->anon_bytes;
	s->committed_bytes = row->committed_bytes;
	s->rate = 1;
	s->touches = (row->touched_bytes + cluster_bytes - 1) / cluster_bytes;
	s->reads = g->file_clusters ? (row->read_bytes + cluster_bytes - 1) /
					      cluster_bytes
				    : 0;
}

/* --- what is written down ------------------------------------------------- */

static uint64_t tmem_pages(const struct tm_sim_guest *g, uint64_t *bytes)
{
	struct tmem_counts counts = { .struct_size = sizeof(counts) };

	*bytes = 0;
	if (!g->client || tmem_client_get_counts(g->client, &counts))
		return 0;
	*bytes = counts.billed_bytes * g->host->scenario->grain;
	return counts.pages * g->host->scenario->grain;
}

static void sample_guest(struct sim *sim, struct tm_sim_guest *g,
			 uint64_t now_ns)
{
	uint64_t cluster_bytes = TMEM_PAGE_SIZE * sim->scenario->grain;
	struct tm_sim_sample *s = &g->series->samples[g->series->count++];

	s->at_ns = now_ns;
	s->memory_bytes = g->balloon.current_pages * cluster_bytes;
	s->cache_bytes = (g->listed[TM_SIM_FILE_INACTIVE] +
			  g->listed[TM_SIM_FILE_ACTIVE]) *
			 cluster_bytes;
	s->swapped_bytes = g->swapped * cluster_bytes;
	s->tmem_pages = tmem_pages(g, &s->tmem_bytes);
	s->disk_reads = g->series->counts.disk_reads;
	s->disk_writes = g->series->counts.disk_writes;
}

static void sample(struct sim *sim, uint64_t now_ns)
{
	struct tmem_store_stats stats = { .struct_size = sizeof(stats) };

	stats.counts.struct_size = sizeof(stats.counts);
	for (size_t i = 0; i < sim->booted; i++)
		sample_guest(sim, &sim->guests[i], now_ns);
	if (sim->host.store && !tmem_store_get_stats(sim->host.store, &stats)) {
		sim->result->used_bytes[sim->result->sample_count] =
			stats.used_bytes * sim->scenario->grain;
		sim->result->evicted =
			stats.counts.evicted * sim->scenario->grain;
	}
	sim->result->sample_count++;
}

static void add_up(struct tm_sim_result *result)
{
	struct tm_sim_counts *t = &result->totals;

	for (size_t i = 0; i < result->guest_count; i++) {
		const struct tm_sim_counts *c = &result->guests[i].counts;

		t->disk_reads += c->disk_reads;
		t->disk_writes += c->disk_writes;
		t->faults += c->faults;
		t->fault_ns += c->fault_ns;
		t->cpu_ns += c->cpu_ns;
		t->tmem_ns += c->tmem_ns;
		t->reads_saved += c->reads_saved;
		t->puts += c->puts;
		t->refused += c->refused;
		t->units += c->units;
		t->out_of_memory += c->out_of_memory;
		if (c->finished_ns > t->finished_ns)
			t->finished_ns = c->finished_ns;
	}
}

/* --- a run ---------------------------------------------------------------- */

static int second(struct sim *sim, uint64_t now_ns)
{
	apply_changes(sim, now_ns, now_ns + TICK_NS);
	for (size_t i = 0; i < sim->booted; i++) {
		struct tm_sim_guest *g = &sim->guests[i];

		if (g->spec.start_ns > now_ns)
			continue;
		follow_trace(g, now_ns);
		follow_anon(g);
		tm_sim_guest_tick(g, now_ns);
		if (g->error)
			return g->error;
	}
	/* What the library's threads would have done meanwhile. */
	if (sim->host.store)
		while (tmem_store_step(sim->host.store))
			;
	if (now_ns % sim->scenario->sample_ns < TICK_NS)
		sample(sim, now_ns);
	return work(sim, now_ns + TICK_NS);
}

static int boot_all(struct sim *sim)
{
	const struct tm_sim_scenario *s = sim->scenario;

	for (size_t i = 0; i < s->guest_count; i++)
		for (uint64_t n = 0; n < s->guests[i].count; n++) {
			struct tm_sim_series *series =
				&sim->result->guests[sim->booted];
			int err;

			snprintf(series->name, sizeof(series->name),
				 s->guests[i].count > 1 ? "%s%u" : "%s",
				 s->guests[i].name, (unsigned)n + 1);
			series->samples = calloc(sim->samples_max,
						 sizeof(*series->samples));
			if (!series->samples)
				return -ENOMEM;
			err = tm_sim_guest_boot(&sim->guests[sim->booted],
						&sim->host, &s->guests[i],
						(unsigned)sim->booted, series);
			/* Booted in part is to be ended too. */
			sim->booted++;
			if (err)
				return err;
		}
	return 0;
}

static int allocate(struct sim *sim, const struct tm_sim_config *config)
{
	const struct tm_sim_scenario *s = config->scenario;
	struct tm_sim_result *result = sim->result;
	uint64_t clusters = 0;

	for (size_t i = 0; i < s->guest_count; i++) {
		uint64_t bytes = TMEM_PAGE_SIZE * s->grain;

		result->guest_count += s->guests[i].count;
		clusters += s->guests[i].count *
			    ((s->guests[i].memory_bytes + bytes - 1) / bytes);
	}
	sim->samples_max = s->duration_ns / s->sample_ns + 2;
	result->guests = calloc(result->guest_count, sizeof(*result->guests));
	result->used_bytes =
		calloc(sim->samples_max, sizeof(*result->used_bytes));
	sim->guests = calloc(result->guest_count, sizeof(*sim->guests));
	if (!result->guests || !result->used_bytes || !sim->guests)
		return -ENOMEM;
	return tm_sim_host_open(&sim->host, config, clusters);
}

int tm_sim_run(const struct tm_sim_config *config, struct tm_sim_result *result)
{
	struct sim sim = { .scenario = config->scenario, .result = result };
	uint64_t now_ns = 0;
	int err;

	memset(result, 0, sizeof(*result));
	err = allocate(&sim, config);
	if (!err)
		err = boot_all(&sim);
	for (; !err && now_ns < sim.scenario->duration_ns; now_ns += TICK_NS) {
		pass_time(&sim, now_ns);
		err = second(&sim, now_ns);
	}
	if (!err)
		sample(&sim, now_ns);
	add_up(result);
	for (size_t i = 0; i < sim.booted; i++)
		tm_sim_guest_end(&sim.guests[i]);
	tm_sim_host_close(&sim.host);
	free(sim.guests);
	return err;
}

void tm_sim_result_free(struct tm_sim_result *result)
{
	for (size_t i = 0; result->guests && i < result->guest_count; i++)
		free(result->guests[i].samples);
	free(result->guests);
	free(result->used_bytes);
	memset(result, 0, sizeof(*result));
}
