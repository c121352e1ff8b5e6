/* SPDX-License-Identifier: BSD-2-Clause */
/* Codecs and allocators by name; see choice.h. */
#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "choice.h"
#include "cli.h"
#include "nearest.h"

static int unknown(const char *kind, const char *name, const char *const *known,
		   size_t count)
{
	const char *meant =
		tm_nearest_meant(name, known, count, sizeof(*known));

	return tm_cli_error("unknown %s \"%s\"%s (`tmem plugins` lists them)",
			    kind, name,
			    tm_nearest_hint(meant, "\"", "\"").text);
}

static int too_many(const char *kind)
{
	return tm_cli_error("more than %d %ss at once", TM_CHOICE_MAX, kind);
}

static const struct tmem_codec *find_codec(const struct tm_choice *choice,
					   const char *name)
{
	const char *known[TM_CHOICE_MAX];
	const struct tmem_codec *table;
	size_t count = 0;

	while (count < TM_CHOICE_MAX &&
	       (table = tmem_plugins_codec(choice->plugins, count))) {
		if (!strcmp(table->name, name))
			return table;
		known[count++] = table->name;
	}
	unknown("codec", name, known, count);
	return NULL;
}

static int add_codec(struct tm_choice *choice, const struct tmem_codec *table,
		     int32_t level)
{
	struct tm_chosen_codec *codec = &choice->codecs[choice->codec_count];

	if (choice->codec_count == TM_CHOICE_MAX)
		return too_many("codec");
	choice->codec_count++;
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
static int add_codec_named(struct tm_choice *choice, char *word)
{
	char *level_text = strchr(word, ':'), *end;
	const struct tmem_codec *table;
	long level;

	if (level_text)
		*level_text++ = '\0';
	table = find_codec(choice, word);
	if (!table)
		return -EINVAL;
	if (!level_text)
		return add_codec(choice, table, table->level_default);
	errno = 0;
	level = strtol(level_text, &end, 10);
	if (!errno && end != level_text && !*end &&
	    level >= table->level_min && level <= table->level_max)
		return add_codec(choice, table, (int32_t)level);
	if (table->level_min == table->level_max)
		return tm_cli_error("codec %s has no levels, and none called "
				    "\"%s\"",
				    word, level_text);
	return tm_cli_error("\"%s\" is not a level of codec %s, whose levels "
			    "are %" PRId32 " to %" PRId32,
			    level_text, word, table->level_min,
			    table->level_max);
}

static int add_allocator_named(struct tm_choice *choice, char *word)
{
	const char *known[TM_CHOICE_MAX];
	const struct tmem_allocator *table;
	size_t count = 0;

	if (choice->allocator_count == TM_CHOICE_MAX)
		return too_many("allocator");
	while (count < TM_CHOICE_MAX &&
	       (table = tmem_plugins_allocator(choice->plugins, count))) {
		if (!strcmp(table->name, word)) {
			choice->allocators[choice->allocator_count++] = table;
			return 0;
		}
		known[count++] = table->name;
	}
	return unknown("allocator", word, known, count);
}

static int each_name(struct tm_choice *choice, const char *names,
		     int (*add)(struct tm_choice *choice, char *word))
{
	char *copy = strdup(names), *rest = copy, *word;
	int err = copy ? 0 : -ENOMEM;

	while (!err && (word = strsep(&rest, ",")))
		err = add(choice, word);
	free(copy);
	return err;
}

static int all_codecs(struct tm_choice *choice)
{
	const struct tmem_codec *table;
	int err = 0;

	for (size_t i = 0;
	     !err && (table = tmem_plugins_codec(choice->plugins, i)); i++)
		err = add_codec(choice, table, table->level_default);
	return err;
}

static int all_allocators(struct tm_choice *choice)
{
	const struct tmem_allocator *table;

	for (size_t i = 0;
	     (table = tmem_plugins_allocator(choice->plugins, i)); i++) {
		if (i == TM_CHOICE_MAX)
			return too_many("allocator");
		choice->allocators[choice->allocator_count++] = table;
	}
	return 0;
}

int tm_choice_make(struct tm_choice *choice, const char *codecs,
		   const char *allocators)
{
	int err;

	*choice = (struct tm_choice){ 0 };
	err = tmem_plugins_open(NULL, tm_cli_log, NULL, &choice->plugins);
	if (!err)
		err = codecs ? each_name(choice, codecs, add_codec_named) :
			       all_codecs(choice);
	if (!err)
		err = allocators ?
			      each_name(choice, allocators,
					add_allocator_named) :
			      all_allocators(choice);
	return err;
}

void tm_choice_free(struct tm_choice *choice)
{
	tmem_plugins_close(choice->plugins);
	*choice = (struct tm_choice){ 0 };
}
