/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tmem sim: plays a scenario, and shows what tmem did for its guests.
 *
 * Without --tmem a scenario is played three times: without tmem, with pages
 * stored as they are, and with compression, so that the table has what to
 * compare. Scenarios are found by name in the installation's folder, in
 * TMEM_SCENARIO_PATH, or are files of the user's.
 */
#include <config.h>

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "clock.h"
#include "nearest.h"
#include "pages.h"
#include "plot.h"
#include "report.h"
#include "sim.h"

#define MODES 3
#define NAMES_MAX 256
/* Of the program itself, when no dump is named. */
#define OWN_PAGES 512

static const char *const mode_names[MODES] = { "off", "raw", "on" };

struct sim_verb {
	bool is_list;
	bool is_json;
	bool has_mode;
	enum tm_sim_mode mode;
	bool has_seed;
	uint64_t seed;
	uint64_t grain;
	const char *codec;
	const char *dump;
	const char *plot_path;
	const char *name;
	struct tm_sim_scenario scenario;
	struct tm_pages pages;
	struct tm_sim_result results[MODES];
	bool has_result[MODES];
	uint64_t took_ns;
	uint64_t played;
};

/* --- options -------------------------------------------------------------- */

static int set_list(void *target, const char *value)
{
	(void)value;
	((struct sim_verb *)target)->is_list = true;
	return 0;
}

static int set_json(void *target, const char *value)
{
	(void)value;
	((struct sim_verb *)target)->is_json = true;
	return 0;
}

static int set_mode(void *target, const char *value)
{
	struct sim_verb *v = target;

	v->has_mode = true;
	for (unsigned i = 0; i < MODES; i++)
		if (!strcmp(mode_names[i], value)) {
			v->mode = (enum tm_sim_mode)i;
			return 0;
		}
	return tm_cli_error("--tmem: \"%s\" is none of \"off\", \"raw\" and "
			    "\"on\"",
			    value);
}

static int set_seed(void *target, const char *value)
{
	struct sim_verb *v = target;

	v->has_seed = true;
	return tm_cli_set_number(&v->seed, "seed", value, 0, UINT64_MAX);
}

static int set_grain(void *target, const char *value)
{
	return tm_cli_set_number(&((struct sim_verb *)target)->grain, "grain",
				 value, 1, 1024);
}

static int set_codec(void *target, const char *value)
{
	((struct sim_verb *)target)->codec = value;
	return 0;
}

static int set_pages(void *target, const char *value)
{
	((struct sim_verb *)target)->dump = value;
	return 0;
}

static int set_plot(void *target, const char *value)
{
	((struct sim_verb *)target)->plot_path = value;
	return 0;
}

static const struct tm_cli_option options[] = {
	{ "list", NULL, "name the scenarios that there are", set_list },
	{ "tmem", "off|raw|on", "without tmem, without compression, or with it",
	  set_mode },
	{ "pages", "DUMP", "take the contents of guests' pages from here",
	  set_pages },
	{ "codec", "NAME[:LEVEL]", "compress with this codec", set_codec },
	{ "seed", "N", "instead of the scenario's", set_seed },
	{ "grain", "N", "pages that the model moves as one", set_grain },
	{ "plot", "FILE.svg", "draw memory over time, with gnuplot", set_plot },
	{ "json", NULL, "print the result as JSON", set_json },
	{ NULL, NULL, NULL, NULL },
};

/* --- scenarios ------------------------------------------------------------ */

static const char *folder(void)
{
	const char *path = getenv("TMEM_SCENARIO_PATH");

	return path && *path ? path : SCENARIO_DIR;
}

static int is_scenario(const struct dirent *entry)
{
	size_t length = strlen(entry->d_name);

	return length > 9 && !strcmp(entry->d_name + length - 9, ".scenario");
}

/* All names there are, without their endings; -errno after a message. */
static int find_names(char **names)
{
	struct dirent **entries;
	int count = scandir(folder(), &entries, is_scenario, alphasort);
	int found = 0;

	if (count < 0)
		return tm_cli_error("%s: %s: install tmem, or say in "
				    "TMEM_SCENARIO_PATH where data/scenarios is",
				    folder(), strerror(errno));
	for (int i = 0; i < count; i++) {
		char *name = entries[i]->d_name;

		name[strlen(name) - 9] = '\0';
		if (found < NAMES_MAX && (names[found] = strdup(name)))
			found++;
		free(entries[i]);
	}
	free(entries);
	return found;
}

static void free_names(char **names, int count)
{
	for (int i = 0; i < count; i++)
		free(names[i]);
}

static int load(struct sim_verb *v, const char *name)
{
	bool is_file = strchr(name, '/') || strchr(name, '.');
	char path[512], error[512], *names[NAMES_MAX];
	const char *meant;
	int count;

	snprintf(path, sizeof(path), is_file ? "%s%s" : "%s/%s.scenario",
		 is_file ? "" : folder(), name);
	if (is_file || !access(path, R_OK)) {
		if (!tm_sim_scenario_load(&v->scenario, path, error,
					  sizeof(error)))
			return 0;
		return tm_cli_error("%s", error);
	}
	count = find_names(names);
	if (count < 0)
		return count;
	meant = tm_nearest_meant(name, names, (size_t)count, sizeof(*names));
	tm_cli_error("there is no scenario \"%s\"%s (`tmem sim --list` names "
		     "them)",
		     name, tm_nearest_hint(meant, "\"", "\"").text);
	free_names(names, count);
	return -ENOENT;
}

static int list(struct sim_verb *v)
{
	char *names[NAMES_MAX];
	int count = find_names(names), err = 0;
	json_t *json = json_array();

	for (int i = 0; !err && i < count; i++) {
		err = load(v, names[i]);
		if (!err && v->is_json)
			json_array_append_new(
				json, json_pack("{ss ss}", "scenario", names[i],
						"about", v->scenario.about));
		else if (!err)
			printf("%-16s %s\n", names[i], v->scenario.about);
		tm_sim_scenario_free(&v->scenario);
	}
	if (!err && v->is_json && count >= 0) {
		json_dumpf(json, stdout, JSON_INDENT(2));
		putchar('\n');
	}
	json_decref(json);
	free_names(names, count);
	return count < 0 ? count : err;
}

/* --- runs ----------------------------------------------------------------- */

static int play(struct sim_verb *v, enum tm_sim_mode mode)
{
	const struct tm_sim_config config = { &v->scenario, mode,
					      v->pages.bytes, v->pages.count,
					      v->codec };
	uint64_t began_ns = tm_clock_now_ns(tm_clock_system());
	int err = tm_sim_run(&config, &v->results[mode]);

	v->has_result[mode] = true;
	v->took_ns += tm_clock_now_ns(tm_clock_system()) - began_ns;
	v->played++;
	if (err == -EBADMSG)
		return tm_cli_error("%s: a page came back wrong",
				    v->scenario.name);
	if (err)
		tm_cli_error("%s, --tmem %s: %s", v->scenario.name,
			     mode_names[mode], strerror(-err));
	return err;
}

static bool wants(const struct sim_verb *v, enum tm_sim_mode mode)
{
	if (v->plot_path && mode == TM_SIM_OFF)
		return true;
	if (v->has_mode)
		return mode == v->mode;
	return !v->is_json || mode == TM_SIM_ON;
}

static int play_all(struct sim_verb *v)
{
	struct tm_progress progress;
	int err = 0;

	tm_progress_begin(&progress, "playing", MODES);
	for (unsigned i = 0; !err && i < MODES; i++) {
		tm_progress_at(&progress, i);
		if (wants(v, (enum tm_sim_mode)i))
			err = play(v, (enum tm_sim_mode)i);
	}
	tm_progress_end(&progress);
	return err;
}

/* What is told in full: the mode asked for, or the last. */
static const struct tm_sim_result *chosen(const struct sim_verb *v)
{
	return &v->results[v->has_mode ? v->mode : TM_SIM_ON];
}

/* --- for people ----------------------------------------------------------- */

static double seconds(uint64_t ns)
{
	return (double)ns / 1e9;
}

static uint64_t mib(uint64_t bytes)
{
	return bytes >> 20;
}

static void print_modes(const struct sim_verb *v)
{
	static const char *const titles[] = {
		"tmem",      "disk reads",  "writes",     "faults",
		"in faults", "reads saved", "tmem calls", "of CPU",
		"work",      "finished",    "no memory",
	};
	struct tm_report report;

	tm_report_begin(&report, titles, sizeof(titles) / sizeof(titles[0]));
	for (unsigned i = 0; i < MODES; i++) {
		const struct tm_sim_counts *t = &v->results[i].totals;

		if (!v->has_result[i])
			continue;
		tm_report_cell(&report, "%s", mode_names[i]);
		tm_report_cell(&report, "%" PRIu64, t->disk_reads);
		tm_report_cell(&report, "%" PRIu64, t->disk_writes);
		tm_report_cell(&report, "%" PRIu64, t->faults);
		tm_report_cell(&report, "%.1f s", seconds(t->fault_ns));
		tm_report_cell(&report, "%" PRIu64, t->reads_saved);
		tm_report_cell(&report, "%.1f s", seconds(t->tmem_ns));
		tm_report_cell(&report, "%.2f %%",
			       100 * seconds(t->tmem_ns) /
				       seconds(v->scenario.duration_ns));
		tm_report_cell(&report, "%" PRIu64, t->units);
		if (t->finished_ns)
			tm_report_cell(&report, "%.0f s",
				       seconds(t->finished_ns));
		else
			tm_report_cell(&report, "-");
		tm_report_cell(&report, "%" PRIu64, t->out_of_memory);
	}
	tm_report_end(&report, stdout);
}

static void add_guest_row(struct tm_report *report,
			  const struct tm_sim_series *g)
{
	uint64_t least = UINT64_MAX;
	const struct tm_sim_sample *first = &g->samples[0];
	const struct tm_sim_sample *last = &g->samples[g->count - 1];

	for (size_t i = 0; i < g->count; i++)
		if (g->samples[i].memory_bytes < least)
			least = g->samples[i].memory_bytes;
	tm_report_cell(report, "%s", g->name);
	tm_report_cell(report, "%" PRIu64, mib(first->memory_bytes));
	tm_report_cell(report, "%" PRIu64, mib(least));
	tm_report_cell(report, "%" PRIu64, mib(last->memory_bytes));
	tm_report_cell(report, "%" PRIu64, mib(last->cache_bytes));
	tm_report_cell(report, "%" PRIu64, mib(last->swapped_bytes));
	tm_report_cell(report, "%" PRIu64, last->tmem_pages);
	tm_report_cell(report, "%" PRIu64, mib(last->tmem_bytes));
	tm_report_cell(report, "%" PRIu64, g->counts.disk_reads);
	tm_report_cell(report, "%" PRIu64, g->counts.disk_writes);
	tm_report_cell(report, "%.1f s", seconds(g->counts.fault_ns));
	tm_report_cell(report, "%" PRIu64, g->counts.units);
}

static void print_guests(const struct sim_verb *v)
{
	static const char *const titles[] = {
		"guest", "MiB at first", "least",      "at last",
		"cache", "swapped",      "tmem pages", "MiB there",
		"reads", "writes",       "in faults",  "work",
	};
	const struct tm_sim_result *r = chosen(v);
	struct tm_report report;

	tm_report_begin(&report, titles, sizeof(titles) / sizeof(titles[0]));
	for (size_t i = 0; i < r->guest_count; i++)
		add_guest_row(&report, &r->guests[i]);
	tm_report_end(&report, stdout);
}

static void print_tables(const struct sim_verb *v)
{
	printf("%s: %s\n%.0f s, seed %" PRIu64 ", a grain of %" PRIu64
	       " pages; contents: %zu pages of %s\n\n",
	       v->scenario.name, v->scenario.about,
	       seconds(v->scenario.duration_ns), v->scenario.seed,
	       v->scenario.grain, v->pages.count,
	       v->dump ? v->dump : "this program");
	print_modes(v);
	printf("\nwith --tmem %s:\n", mode_names[v->has_mode ? v->mode : 2]);
	print_guests(v);
	printf("\n%.0f times as fast as the machine\n",
	       seconds(v->scenario.duration_ns * v->played) /
		       seconds(v->took_ns + 1));
}

/* --- for programs --------------------------------------------------------- */

static json_t *json_of_counts(const struct tm_sim_counts *c)
{
	return json_pack("{sI sI sI sf sf sf sI sI sI sI so sI}", "disk_reads",
			 (json_int_t)c->disk_reads, "disk_writes",
			 (json_int_t)c->disk_writes, "faults",
			 (json_int_t)c->faults, "fault_s", seconds(c->fault_ns),
			 "cpu_s", seconds(c->cpu_ns), "tmem_s",
			 seconds(c->tmem_ns), "reads_saved",
			 (json_int_t)c->reads_saved, "puts",
			 (json_int_t)c->puts, "refused", (json_int_t)c->refused,
			 "units", (json_int_t)c->units, "finished_s",
			 c->finished_ns ? json_real(seconds(c->finished_ns))
					: json_null(),
			 "out_of_memory", (json_int_t)c->out_of_memory);
}

static json_t *json_of_sample(const struct tm_sim_sample *s)
{
	return json_pack("{sf sI sI sI sI sI sI sI}", "t_s", seconds(s->at_ns),
			 "memory_mib", (json_int_t)mib(s->memory_bytes),
			 "page_cache_mib", (json_int_t)mib(s->cache_bytes),
			 "swapped_mib", (json_int_t)mib(s->swapped_bytes),
			 "tmem_pages", (json_int_t)s->tmem_pages, "tmem_mib",
			 (json_int_t)mib(s->tmem_bytes), "disk_reads",
			 (json_int_t)s->disk_reads, "disk_writes",
			 (json_int_t)s->disk_writes);
}

static json_t *json_of_guest(const struct tm_sim_series *g)
{
	json_t *series = json_array();

	for (size_t i = 0; i < g->count; i++)
		json_array_append_new(series, json_of_sample(&g->samples[i]));
	return json_pack("{ss so so}", "name", g->name, "totals",
			 json_of_counts(&g->counts), "series", series);
}

static void print_json(const struct sim_verb *v)
{
	const struct tm_sim_result *r = chosen(v);
	json_t *guests = json_array(), *totals = json_of_counts(&r->totals);
	json_t *json;

	for (size_t i = 0; i < r->guest_count; i++)
		json_array_append_new(guests, json_of_guest(&r->guests[i]));
	json_object_set_new(totals, "evicted",
			    json_integer((json_int_t)r->evicted));
	json = json_pack(
		"{ss sI ss sI sI so so}", "scenario", v->scenario.name, "seed",
		(json_int_t)v->scenario.seed, "tmem",
		mode_names[v->has_mode ? v->mode : 2], "grain",
		(json_int_t)v->scenario.grain, "duration_s",
		(json_int_t)(v->scenario.duration_ns / TM_SIM_NS_PER_S),
		"guests", guests, "totals", totals);
	json_dumpf(json, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
	putchar('\n');
	json_decref(json);
}

/* --- drawn ---------------------------------------------------------------- */

static uint64_t reads_at(const struct tm_sim_result *r, size_t i)
{
	uint64_t reads = 0;

	for (size_t g = 0; g < r->guest_count; g++)
		reads += r->guests[g].samples[i].disk_reads;
	return reads;
}

/* Columns: time, each guest, tmem, reads saved. */
static void plot_data(const struct sim_verb *v, FILE *file)
{
	const struct tm_sim_result *r = chosen(v);
	const struct tm_sim_result *off = &v->results[TM_SIM_OFF];

	fputs("$data << EOD\n", file);
	for (size_t i = 0; i < r->sample_count; i++) {
		fprintf(file, "%.3f", seconds(r->guests[0].samples[i].at_ns));
		for (size_t g = 0; g < r->guest_count; g++)
			fprintf(file, " %" PRIu64,
				mib(r->guests[g].samples[i].memory_bytes));
		fprintf(file, " %" PRIu64 " %lld\n", mib(r->used_bytes[i]),
			(long long)reads_at(off, i) -
				(long long)reads_at(r, i));
	}
	fputs("EOD\n", file);
}

static int draw(const struct sim_verb *v)
{
	const struct tm_sim_result *r = chosen(v);
	struct tm_plot plot;
	size_t g;
	int err = tm_plot_open(&plot, v->plot_path, v->scenario.name);

	if (err)
		return err;
	plot_data(v, plot.file);
	fputs("set xlabel 's'\nset ylabel 'MiB'\nset yrange [0:*]\n"
	      "set y2label 'disk reads saved'\nset y2tics\n"
	      "set key noenhanced\nplot ",
	      plot.file);
	for (g = 0; g < r->guest_count; g++)
		fprintf(plot.file,
			"$data using 1:%zu with lines lw 2 title '%s', ", g + 2,
			r->guests[g].name);
	fprintf(plot.file,
		"$data using 1:%zu with lines lw 3 lc rgb 'black' title "
		"'tmem', $data using 1:%zu axes x1y2 with lines dt 2 lc rgb "
		"'gray40' title 'reads saved'\n",
		g + 2, g + 3);
	return tm_plot_close(&plot);
}

/* --- the verb ------------------------------------------------------------- */

static int read_pages(struct sim_verb *v)
{
	if (v->dump)
		return tm_pages_of_dump(&v->pages, v->dump);
	v->pages.sample = OWN_PAGES;
	return tm_pages_of_file(&v->pages, "/proc/self/exe");
}

static int simulate(struct sim_verb *v)
{
	int err = load(v, v->name);

	if (!err)
		err = read_pages(v);
	if (err)
		return err;
	if (v->has_seed)
		v->scenario.seed = v->seed;
	if (v->grain)
		v->scenario.grain = v->grain;
	err = play_all(v);
	if (err)
		return err;
	if (v->is_json)
		print_json(v);
	else
		print_tables(v);
	return v->plot_path ? draw(v) : 0;
}

static int run(const struct tm_cli_verb *verb, int argc, char **argv)
{
	struct sim_verb *v = calloc(1, sizeof(*v));
	int operands, err;

	if (!v)
		return TM_CLI_FAILED;
	err = tm_cli_parse(verb, argc, argv, v, &operands);
	if (!err && operands != !v->is_list)
		err = tm_cli_error("sim: one scenario is wanted (`tmem sim "
				   "--list` names them)");
	if (err) {
		free(v);
		return err > 0 ? TM_CLI_OK : TM_CLI_USAGE;
	}
	v->name = argv[0];
	err = v->is_list ? list(v) : simulate(v);
	for (unsigned i = 0; i < MODES; i++)
		tm_sim_result_free(&v->results[i]);
	tm_sim_scenario_free(&v->scenario);
	tm_pages_free(&v->pages);
	free(v);
	return err ? TM_CLI_FAILED : TM_CLI_OK;
}

const struct tm_cli_verb tm_cli_sim = {
	.name = "sim",
	.summary = "guests, balloons and a disk, played over a real store",
	.usage = "(SCENARIO [OPTION]... | --list)",
	.options = options,
	.run = run,
};
