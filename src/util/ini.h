/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Configuration files: strict INI, handed over entry by entry (see ini.c).
 */
#ifndef TM_INI_H
#define TM_INI_H

#include <stddef.h>

/* The longest line, in bytes, without its end. */
#define TM_INI_LINE_MAX 1023
/* The largest file, in bytes. */
#define TM_INI_FILE_MAX (1 << 20)
#define TM_INI_SECTIONS_MAX 1024
/* In one section. */
#define TM_INI_KEYS_MAX 128

/*
 * One section header or one "key = value". Strings are valid during the call
 * only.
 *
 * section: "client" of "[client web 1]"
 * name: "web 1", or "" when the header has none
 * key: NULL for the header itself
 * value: may be ""; NULL for the header itself
 * line: counted from 1
 */
struct tm_ini_entry {
	const char *section;
	const char *name;
	const char *key;
	const char *value;
	unsigned line;
};

/*
 * file: its name, for messages; tm_ini_load() opens it
 * entry: called in the order of the file. Returns 0; or a negative errno,
 *	which ends parsing, after writing what is wrong with this entry, without
 *	file and line, to @error.
 * opaque: passed to @entry
 */
struct tm_ini {
	const char *file;
	int (*entry)(void *opaque, const struct tm_ini_entry *entry,
		     char *error, size_t error_size);
	void *opaque;
};

/*
 * Parse @size bytes at @text. On failure @error receives "file:line: what".
 *
 * Return: 0, -EINVAL (not INI), -ENOMEM, or what the callback returned.
 * Entries before the wrong one have been handed over by then.
 */
int tm_ini_parse(const struct tm_ini *ini, const char *text, size_t size,
		 char *error, size_t error_size);

/*
 * Open ini->file and parse it.
 *
 * Return: as tm_ini_parse(); or -EFBIG (above TM_INI_FILE_MAX), or why it
 * cannot be opened or read.
 */
int tm_ini_load(const struct tm_ini *ini, char *error, size_t error_size);

#endif
