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

/* --- options ---------------------------------------------------------------- */

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

static int set_plot(void *target, const char *value)
{
	((struct tm_bench *)target)->plot_path = value;
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
	{ "plot", "FILE.svg", "draw the result, with gnuplot", set_plot },
	{ "json", NULL, "print the result as JSON", set_json },
	{ NULL, NULL, NULL, NULL },
};

/* --- what can be measured ---------------------------------------------------- */

enum choice { CHOOSE_DEFAULT, CHOOSE_ALL, CHOOSE_COMPRESSING };

struct measurement {
	const char *name;
	int (*run)(struct tm_bench *bench);
	/* when no option names some */
	enum choice codecs;
	enum choice allocators;
};

static const struct measurement measurements[] = {
	{ "codec", tm_bench_codec_run, CHOOSE_ALL, CHOOSE_DEFAULT },
	{ "alloc", tm_bench_alloc_run, CHOOSE_COMPRESSING, CHOOSE_ALL },
	{ "store", tm_bench_store_run, CHOOSE_DEFAULT, CHOOSE_DEFAULT },
};
#define MEASUREMENTS (sizeof(measurements) / sizeof(measurements[0]))

static const struct measurement *find_measurement(const char *name)
{
	for (size_t i = 0; i < MEASUREMENTS; i++)
		if (!strcmp(measurements[i].name, name))
			return &measurements[i];
	tm_cli_error("bench: \"%s\" cannot be measured; the nearest is \"%s\" "
		     "(codec, alloc, store)", name,
		     tm_nearest(name, measurements, MEASUREMENTS,
				sizeof(measurements[0])));
	return NULL;
}

/* --- codecs and allocators by name ------------------------------------------- */

static int unknown(const char *kind, const char *name, const char *const *known,
		   size_t count)
{
	const char *nearest = tm_nearest(name, known, count, sizeof(*known));

	return tm_cli_error("bench: unknown %s \"%s\"%s%s%s "
			    "(`tmem plugins` lists them)", kind, name,
			    nearest ? "; the nearest is \"" : "",
			    nearest ? nearest : "", nearest ? "\"" : "");
}

static const struct tmem_codec *find_codec(const struct tm_bench *bench,
					   const char *name)
{
	const char *known[TM_BENCH_CODECS_MAX];
	const struct tmem_codec *table;
	size_t count = 0;

	while (count < TM_BENCH_CODECS_MAX &&
	       (table = tmem_plugins_codec(bench->plugins, count))) {
		if (!strcmp(table->name, name))
			return table;
		known[count++] = table->name;
	}
	unknown("codec", name, known, count);
	return NULL;
}

static int add_codec(struct tm_bench *bench, const struct tmem_codec *table,
		     int32_t level)
{
	struct tm_bench_codec *codec = &bench->codecs[bench->codec_count];

	if (bench->codec_count == TM_BENCH_CODECS_MAX)
		return tm_cli_error("bench: at most %d codecs",
				    TM_BENCH_CODECS_MAX);
	bench->codec_count++;
	codec->table = table;
	codec->level = level;
	if (table->level_min == table->level_max)
		snprintf(codec->spec, sizeof(codec->spec), "%s", table->name);
	else
		snprintf(codec->spec, sizeof(codec->spec), "%s:%" PRId32,
			 table->name, level);
	return 0;
}

/* "NAME" or "NAME:LEVEL" */
static int add_codec_named(struct tm_bench *bench, char *word)
{
	char *level_text = strchr(word, ':'), *end;
	const struct tmem_codec *table;
	long level;

	if (level_text)
		*level_text++ = '\0';
	table = find_codec(bench, word);
	if (!table)
		return -EINVAL;
	if (!level_text)
		return add_codec(bench, table, table->level_default);
	errno = 0;
	level = strtol(level_text, &end, 10);
	if (errno || end == level_text || *end || level < table->level_min ||
	    level > table->level_max)
		return tm_cli_error("bench: \"%s\" is not a level of codec %s: "
				    "%" PRId32 " to %" PRId32, level_text, word,
				    table->level_min, table->level_max);
	return add_codec(bench, table, (int32_t)level);
}

static int add_allocator_named(struct tm_bench *bench, char *word)
{
	const char *known[TM_BENCH_ALLOCATORS_MAX];
	const struct tmem_allocator *table;
	size_t count = 0;

	if (bench->allocator_count == TM_BENCH_ALLOCATORS_MAX)
		return tm_cli_error("bench: at most %d allocators",
				    TM_BENCH_ALLOCATORS_MAX);
	while (count < TM_BENCH_ALLOCATORS_MAX &&
	       (table = tmem_plugins_allocator(bench->plugins, count))) {
		if (!strcmp(table->name, word)) {
			bench->allocators[bench->allocator_count++] = table;
			return 0;
		}
		known[count++] = table->name;
	}
	return unknown("allocator", word, known, count);
}

static int each_name(struct tm_bench *bench, const char *names,
		     int (*add)(struct tm_bench *bench, char *word))
{
	char *copy = strdup(names), *rest = copy, *word;
	int err = copy ? 0 : -ENOMEM;

	while (!err && (word = strsep(&rest, ",")))
		err = add(bench, word);
	free(copy);
	return err;
}

static int choose_codecs(struct tm_bench *bench, enum choice choice)
{
	const struct tmem_codec *table;
	int err = 0;

	if (bench->codec_names)
		return each_name(bench, bench->codec_names, add_codec_named);
	if (choice == CHOOSE_DEFAULT)
		return each_name(bench, tmem_default_codec(), add_codec_named);
	for (size_t i = 0;
	     !err && (table = tmem_plugins_codec(bench->plugins, i)); i++)
		if (choice == CHOOSE_ALL ||
		    !(table->flags & TMEM_CODEC_STORES_RAW))
			err = add_codec(bench, table, table->level_default);
	return err;
}

static int choose_allocators(struct tm_bench *bench, enum choice choice)
{
	const struct tmem_allocator *table;

	if (bench->allocator_names)
		return each_name(bench, bench->allocator_names,
				 add_allocator_named);
	if (choice == CHOOSE_DEFAULT)
		return each_name(bench, tmem_default_allocator(),
				 add_allocator_named);
	for (size_t i = 0;
	     i < TM_BENCH_ALLOCATORS_MAX &&
	     (table = tmem_plugins_allocator(bench->plugins, i));
	     i++)
		bench->allocators[bench->allocator_count++] = table;
	return 0;
}

/* --- the verb ------------------------------------------------------------------ */

static int get_pages(struct tm_bench *bench)
{
	if (bench->pages_path)
		return tm_bench_pages_read(&bench->pages, bench->pages_path,
					   bench->most_pages);
	return tm_bench_pages_capture(&bench->pages, bench->most_pages ?
							     bench->most_pages :
							     PAGES_DEFAULT);
}

static int measure(struct tm_bench *bench, const struct measurement *what)
{
	int err = tmem_plugins_open(NULL, tm_cli_log, NULL, &bench->plugins);

	if (!err)
		err = choose_codecs(bench, what->codecs);
	if (!err)
		err = choose_allocators(bench, what->allocators);
	if (!err)
		err = get_pages(bench);
	if (!err)
		err = what->run(bench);
	tm_bench_pages_free(&bench->pages);
	tmem_plugins_close(bench->plugins);
	return err;
}

static int run(const struct tm_cli_verb *verb, int argc, char **argv)
{
	const struct measurement *what;
	struct tm_bench bench = {
		.threads = THREADS_DEFAULT,
		.rounds = ROUNDS_DEFAULT,
	};
	int operands, err;

	err = tm_cli_parse(verb, argc, argv, &bench, &operands);
	if (err)
		return err > 0 ? TM_CLI_OK : TM_CLI_USAGE;
	if (operands != 1) {
		tm_cli_error("bench: what is to be measured? One of codec, "
			     "alloc, store");
		return TM_CLI_USAGE;
	}
	what = find_measurement(argv[0]);
	if (!what)
		return TM_CLI_USAGE;
	return measure(&bench, what) ? TM_CLI_FAILED : TM_CLI_OK;
}

const struct tm_cli_verb tm_cli_bench = {
	.name = "bench",
	.summary = "measure codecs, allocators or the store beside raw baselines",
	.usage = "codec|alloc|store [OPTION]...",
	.options = options,
	.run = run,
};
