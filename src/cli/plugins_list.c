/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tmem plugins: every codec and allocator that can be had, where it comes
 * from, what can be set, and which modules were refused and why.
 */
#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "report.h"

struct listing {
	bool is_json;
	struct tmem_plugins *plugins;
	char **refused;
	size_t refused_count;
};

static int set_json(void *target, const char *value)
{
	(void)value;
	((struct listing *)target)->is_json = true;
	return 0;
}

static const struct tm_cli_option options[] = {
	{ "json", NULL, "print the result as JSON", set_json },
	{ NULL, NULL, NULL, NULL },
};

/* The registry's log: each refusal, to be shown with the rest. */
static void keep_refusal(void *opaque, enum tmem_log_level level,
			 const char *text)
{
	struct listing *listing = opaque;
	size_t count = listing->refused_count;
	char **refused;

	if (level > TMEM_LOG_WARNING)
		return;
	refused = realloc(listing->refused, (count + 1) * sizeof(*refused));
	if (!refused)
		return;
	listing->refused = refused;
	refused[count] = strdup(text);
	if (refused[count])
		listing->refused_count++;
}

struct flag {
	uint64_t bit;
	const char *name;
};

static const struct flag codec_flags[] = {
	{ TMEM_CODEC_INPUT_MAY_CHANGE, "input-may-change" },
	{ TMEM_CODEC_OUTPUT_MAY_CHANGE, "output-may-change" },
	{ TMEM_CODEC_STORES_RAW, "stores-raw" },
	{ 0, NULL },
};

static bool is_default(const char *name, const char *default_name)
{
	return !strcmp(name, default_name);
}

/* --- for people --------------------------------------------------------------- */

static void flag_cell(struct tm_report *report, uint64_t flags)
{
	char text[64] = "";

	for (const struct flag *f = codec_flags; f->name; f++)
		if (flags & f->bit) {
			strcat(text, text[0] ? "," : "");
			strcat(text, f->name);
		}
	tm_report_cell(report, "%s", text[0] ? text : "-");
}

static void level_cell(struct tm_report *report,
		       const struct tmem_codec *codec)
{
	if (codec->level_min == codec->level_max)
		tm_report_cell(report, "-");
	else
		tm_report_cell(report, "%" PRId32 "..%" PRId32 " [%" PRId32 "]",
			       codec->level_min, codec->level_max,
			       codec->level_default);
}

static void print_codecs(const struct tmem_plugins *plugins)
{
	static const char *const titles[] = {
		"codec", "library", "levels", "flags", "origin",
	};
	const struct tmem_codec *codec;
	struct tm_report report;

	tm_report_begin(&report, titles, sizeof(titles) / sizeof(titles[0]));
	for (size_t i = 0; (codec = tmem_plugins_codec(plugins, i)); i++) {
		tm_report_cell(&report, "%s%s", codec->name,
			       is_default(codec->name, tmem_default_codec()) ?
				       " *" : "");
		tm_report_cell(&report, "%s", codec->library());
		level_cell(&report, codec);
		flag_cell(&report, codec->flags);
		tm_report_cell(&report, "%s",
			       tmem_plugins_origin(plugins, codec->name));
	}
	tm_report_end(&report, stdout);
}

static void print_allocators(const struct tmem_plugins *plugins)
{
	static const char *const titles[] = {
		"allocator", "format", "origin", "description",
	};
	const struct tmem_allocator *a;
	struct tm_report report;

	tm_report_begin(&report, titles, sizeof(titles) / sizeof(titles[0]));
	for (size_t i = 0; (a = tmem_plugins_allocator(plugins, i)); i++) {
		tm_report_cell(&report, "%s%s", a->name,
			       is_default(a->name, tmem_default_allocator()) ?
				       " *" : "");
		tm_report_cell(&report, "%" PRIu32, a->format);
		tm_report_cell(&report, "%s",
			       tmem_plugins_origin(plugins, a->name));
		tm_report_cell(&report, "%s", a->description);
	}
	tm_report_end(&report, stdout);
}

static void print_options(const char *name, const struct tmem_option *option)
{
	for (; option && option->name; option++)
		printf("%s: %s, %" PRId64 " to %" PRId64 " %s%s[%" PRId64
		       "]: %s\n",
		       name, option->name, option->min, option->max,
		       option->unit, option->unit[0] ? " " : "",
		       option->initial, option->help);
}

static void print_all(const struct listing *listing)
{
	const struct tmem_allocator *allocator;
	const struct tmem_codec *codec;

	print_codecs(listing->plugins);
	putchar('\n');
	print_allocators(listing->plugins);
	puts("\n* what is used when nothing else is asked for");
	for (size_t i = 0; (codec = tmem_plugins_codec(listing->plugins, i));
	     i++)
		print_options(codec->name, codec->options);
	for (size_t i = 0;
	     (allocator = tmem_plugins_allocator(listing->plugins, i)); i++)
		print_options(allocator->name, allocator->options);
	for (size_t i = 0; i < listing->refused_count; i++)
		printf("refused: %s\n", listing->refused[i]);
}

/* --- for programs -------------------------------------------------------------- */

static json_t *json_of_options(const struct tmem_option *option)
{
	json_t *array = json_array();

	for (; option && option->name; option++)
		json_array_append_new(
			array,
			json_pack("{ss ss ss sI sI sI ss}", "name",
				  option->name, "type",
				  option->type == TMEM_OPTION_BOOLEAN ?
					  "boolean" : "integer",
				  "unit", option->unit, "min",
				  (json_int_t)option->min, "max",
				  (json_int_t)option->max, "initial",
				  (json_int_t)option->initial, "help",
				  option->help));
	return array;
}

static json_t *json_of_flags(uint64_t flags)
{
	json_t *array = json_array();

	for (const struct flag *f = codec_flags; f->name; f++)
		if (flags & f->bit)
			json_array_append_new(array, json_string(f->name));
	return array;
}

static json_t *json_of_codecs(const struct tmem_plugins *plugins)
{
	const struct tmem_codec *codec;
	json_t *array = json_array();

	for (size_t i = 0; (codec = tmem_plugins_codec(plugins, i)); i++)
		json_array_append_new(
			array,
			json_pack("{ss ss ss si si si si so so ss sb}", "name",
				  codec->name, "description",
				  codec->description, "library",
				  codec->library(), "format",
				  (int)codec->format, "level_min",
				  (int)codec->level_min, "level_max",
				  (int)codec->level_max, "level_default",
				  (int)codec->level_default, "flags",
				  json_of_flags(codec->flags), "options",
				  json_of_options(codec->options), "origin",
				  tmem_plugins_origin(plugins, codec->name),
				  "default",
				  is_default(codec->name,
					     tmem_default_codec())));
	return array;
}

static json_t *json_of_allocators(const struct tmem_plugins *plugins)
{
	const struct tmem_allocator *a;
	json_t *array = json_array();

	for (size_t i = 0; (a = tmem_plugins_allocator(plugins, i)); i++)
		json_array_append_new(
			array,
			json_pack("{ss ss si so ss sb}", "name", a->name,
				  "description", a->description, "format",
				  (int)a->format, "options",
				  json_of_options(a->options), "origin",
				  tmem_plugins_origin(plugins, a->name),
				  "default",
				  is_default(a->name,
					     tmem_default_allocator())));
	return array;
}

static void print_json(const struct listing *listing)
{
	json_t *refused = json_array();
	json_t *all;

	for (size_t i = 0; i < listing->refused_count; i++)
		json_array_append_new(refused,
				      json_string(listing->refused[i]));
	all = json_pack("{so so so}", "codecs",
			json_of_codecs(listing->plugins), "allocators",
			json_of_allocators(listing->plugins), "refused",
			refused);
	json_dumpf(all, stdout, JSON_INDENT(2));
	putchar('\n');
	json_decref(all);
}

/* --- the verb -------------------------------------------------------------------- */

static void clean_up(struct listing *listing)
{
	tmem_plugins_close(listing->plugins);
	for (size_t i = 0; i < listing->refused_count; i++)
		free(listing->refused[i]);
	free(listing->refused);
}

static int run(const struct tm_cli_verb *verb, int argc, char **argv)
{
	struct listing listing = { 0 };
	int operands;
	int err = tm_cli_parse(verb, argc, argv, &listing, &operands);

	if (err)
		return err > 0 ? TM_CLI_OK : TM_CLI_USAGE;
	if (operands) {
		tm_cli_error("plugins: wants no operand such as \"%s\"",
			     argv[0]);
		return TM_CLI_USAGE;
	}
	err = tmem_plugins_open(NULL, keep_refusal, &listing,
				&listing.plugins);
	if (err)
		tm_cli_error("plugins: %s", strerror(-err));
	else if (listing.is_json)
		print_json(&listing);
	else
		print_all(&listing);
	clean_up(&listing);
	return err ? TM_CLI_FAILED : TM_CLI_OK;
}

const struct tm_cli_verb tm_cli_plugins = {
	.name = "plugins",
	.summary = "list codecs and allocators, and modules that were refused",
	.usage = "[--json]",
	.options = options,
	.run = run,
};
