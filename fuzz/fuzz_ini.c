/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Any bytes as a configuration file.
 *
 * Whatever they are, an entry has a section and a key that are words, a name
 * and a value without control characters or blanks around them, and a line
 * above the one before; an error is "file:line: what". An entry whose key is
 * "refuse" is refused, so that the callback's way out is taken as well.
 */
#include <config.h>

#include "ini.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MUST(x) ((x) ? (void)0 : fail(#x))

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct walk {
	unsigned line;
	size_t entries;
	bool refused;
};

static _Noreturn void fail(const char *what)
{
	fprintf(stderr, "fuzz_ini: not so: %s\n", what);
	abort();
}

static void check_word(const char *text)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyz"
				      "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789-_.";

	MUST(*text);
	MUST(!text[strspn(text, allowed)]);
}

static void check_text(const char *text)
{
	size_t size = strlen(text);

	MUST(size <= TM_INI_LINE_MAX);
	for (size_t i = 0; i < size; i++)
		MUST((unsigned char)text[i] >= 0x20 || text[i] == '\t');
	MUST(!size ||
	     (!strchr(" \t", text[0]) && !strchr(" \t", text[size - 1])));
}

static int walk_entry(void *opaque, const struct tm_ini_entry *entry,
		      char *error, size_t error_size)
{
	struct walk *walk = opaque;

	MUST(entry->line > walk->line);
	MUST(!walk->refused);
	walk->line = entry->line;
	walk->entries++;
	check_word(entry->section);
	check_text(entry->name);
	MUST(!entry->key == !entry->value);
	MUST(walk->entries > 1 || !entry->key);
	if (!entry->key)
		return 0;
	check_word(entry->key);
	check_text(entry->value);
	if (strcmp(entry->key, "refuse"))
		return 0;
	walk->refused = true;
	snprintf(error, error_size, "refused");
	return -EDOM;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct walk walk = { 0 };
	const struct tm_ini ini = { "f", walk_entry, &walk };
	char error[256] = "";
	unsigned line = 0;
	int at = 0;
	int r;

	r = tm_ini_parse(&ini, (const char *)data, size, error, sizeof(error));
	MUST(r == 0 || r == -EINVAL || r == -EDOM);
	MUST(walk.refused == (r == -EDOM));
	if (!r) {
		MUST(!*error);
		return 0;
	}
	sscanf(error, "f:%u: %n", &line, &at);
	MUST(at && error[at]);
	MUST(line >= walk.line);
	return 0;
}
