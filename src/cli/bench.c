/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tmem bench: which measurement, of which codecs and allocators, over which
 * pages. See bench.h for how things are measured.
 */
#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "cli.h"
#include "nearest.h"

#define PAGES_DEFAULT 65536
#define ROUNDS_DEFAULT 7
#define THREADS_DEFAULT 2

/* --- options -------------------------------------------------------------- */

static int set_pages(void *target, const char *value)
{
	((struct tm_bench *)target)->pages_path = value;
	return 0;
}

static int set_codec(void *target, const char *value)
{
	((struct tm_bench *)target)->codec_names = value;
	return 0;
}

static int set_allocator(void *target, const char *value)
{
	((struct tm_bench *)target)->allocator_names = value;
	return 0;
}

static int set_tmemd(void *target, const char *value)
{
	((struct tm_bench *)target)->tmemd_path = value;
	return 0;
}

static int set_memcached(void *target, const char *value)
{
	((struct tm_bench *)target)->memcached_path = value;
	return 0;
}

static int set_plot(void *target, const char *value)
{
	((struct tm_bench *)target)->plot_path = value;
	return 0;
}

static int set_save(void *target, const char *value)
{
	((struct tm_bench *)target)->save_path = value;
	return 0;
}

static int set_json(void *target, const char *value)
{
	(void)value;
	((struct tm_bench *)target)->is_json = true;
	return 0;
}

static int set_memory(void *target, const char *value)
{
	return tm_cli_set_size(&((struct tm_bench *)target)->memory_bytes,
			       "memory", value);
}

static int set_u32(uint32_t *number, const char *option, const char *value,
		   uint64_t max)
{
	uint64_t wide;
	int err = tm_cli_set_number(&wide, option, value, 1, max);

	if (!err)
		*number = (uint32_t)wide;
	return err;
}

static int set_most(void *target, const char *value)
{
	return set_u32(&((struct tm_bench *)target)->most_pages, "most-pages",
		       value, INT32_MAX);
}

static int set_threads(void *target, const char *value)
{
	return set_u32(&((struct tm_bench *)target)->threads, "threads", value,
		       TM_BENCH_THREADS_MAX);
}

static int set_rounds(void *target, const char *value)
{
	return set_u32(&((struct tm_bench *)target)->rounds, "rounds", value,
		       TM_BENCH_ROUNDS_MAX);
}

static const struct tm_cli_option options[] = {
	{ "pages", "DUMP", "measure with a dump's pages, not captured ones",
	  set_pages },
	{ "most-pages", "N", "capture so many, or take so many of the dump",
	  set_most },
	{ "codec", "NAME[:LEVEL],...", "of these codecs", set_codec },
	{ "allocator", "NAME,...", "of these allocators", set_allocator },
	{ "memory", "SIZE", "store: memory limit [enough for all pages]",
	  set_memory },
	{ "threads", "N", "store: how many threads beside one [2]",
	  set_threads },
	{ "rounds", "N", "passes over the pages; medians of them count [7]",
	  set_rounds },
	{ "tmemd", "PROGRAM", "channel: the daemon to start [tmemd]",
	  set_tmemd },
	{ "memcached", "PROGRAM", "channel: set it beside this [memcached]",
	  set_memcached },
	{ "plot", "FILE.svg", "draw the result, with gnuplot", set_plot },
	{ "save", "FILE.json", "write the result as JSON there as well",
	  set_save },
	{ "json", NULL, "print the result as JSON, not as a table", set_json },
	{ NULL, NULL, NULL, NULL },
};

/* --- what can be measured ------------------------------------------------- */

struct measurement {
	const char *name;
	int (*run)(struct tm_bench *bench);
	/* When no option names some: of the build's default, or of all? */
	bool of_all_codecs;
	bool of_all_allocators;
	/* Of codec `none` as well. */
	bool of_none;
};

static const struct measurement measurements[] = {
	{ "codec", tm_bench_codec_run, true, false, false },
	{ "alloc", tm_bench_alloc_run, true, true, false },
	{ "store", tm_bench_store_run, false, false, false },
	{ "channel", tm_bench_channel_run, false, false, true },
};
#define MEASUREMENTS (sizeof(measurements) / sizeof(measurements[0]))

static const struct measurement *find_measurement(const char *name)
{
	const char *meant;

	for (size_t i = 0; i < MEASUREMENTS; i++)
		if (!strcmp(measurements[i].name, name))
			return &measurements[i];
	meant = tm_nearest_meant(name, measurements, MEASUREMENTS,
				 sizeof(measurements[0]));
	tm_cli_error("bench: \"%s\" cannot be measured%s (codec, alloc, store, "
		     "channel)",
		     name, tm_nearest_hint(meant, "\"", "\"").text);
	return NULL;
}

/* --- the verb ------------------------------------------------------------- */

static int get_pages(struct tm_bench *bench)
{
	if (bench->pages_path)
		return tm_bench_pages_read(&bench->pages, bench->pages_path,
					   bench->most_pages);
	return tm_bench_pages_capture(&bench->pages, bench->most_pages ?
							     bench->most_pages :
							     PAGES_DEFAULT);
}

static int choose(struct tm_bench *bench, const struct measurement *what)
{
	const char *codecs = bench->codec_names;
	const char *allocators = bench->allocator_names;
	char two[TMEM_PLUGIN_NAME_MAX + 8];

	if (!codecs && what->of_none && strcmp(tmem_default_codec(), "none")) {
		snprintf(two, sizeof(two), "%s,none", tmem_default_codec());
		codecs = two;
	} else if (!codecs && !what->of_all_codecs) {
		codecs = tmem_default_codec();
	}
	if (!allocators && !what->of_all_allocators)
		allocators = tmem_default_allocator();
	return tm_choice_make(&bench->choice, codecs, allocators);
}

static int measure(struct tm_bench *bench, const struct measurement *what)
{
	int err = get_pages(bench);

	if (!err)
		err = what->run(bench);
	tm_bench_pages_free(&bench->pages);
	return err;
}

static int run(const struct tm_cli_verb *verb, int argc, char **argv)
{
	const struct measurement *what;
	struct tm_bench bench = {
		.threads = THREADS_DEFAULT,
		.rounds = ROUNDS_DEFAULT,
		.tmemd_path = "tmemd",
	};
	int status = TM_CLI_USAGE;
	int operands, err;

	err = tm_cli_parse(verb, argc, argv, &bench, &operands);
	if (err)
		return err > 0 ? TM_CLI_OK : TM_CLI_USAGE;
	if (operands != 1) {
		tm_cli_error("bench: what is to be measured? One of codec, "
			     "alloc, store, channel");
		return TM_CLI_USAGE;
	}
	what = find_measurement(argv[0]);
	if (!what)
		return TM_CLI_USAGE;
	err = choose(&bench, what);
	if (!err)
		status = measure(&bench, what) ? TM_CLI_FAILED : TM_CLI_OK;
	tm_choice_free(&bench.choice);
	return status;
}

const struct tm_cli_verb tm_cli_bench = {
	.name = "bench",
	.summary = "measure codecs, allocators or the store beside raw baselines",
	.usage = "codec|alloc|store|channel [OPTION]...",
	.options = options,
	.run = run,
};
