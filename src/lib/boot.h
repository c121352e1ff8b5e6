/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Boot options: what tests and documents need beside the public
 * tmem_boot_*() (see boot.c).
 */
#ifndef TM_BOOT_H
#define TM_BOOT_H

#include <stdbool.h>
#include <stddef.h>

#include <tmem/tmem.h>

enum tm_boot_type {
	TM_BOOT_SWITCH, /* a boolean word, "no-" */
	TM_BOOT_CODEC, /* a boolean word, "no-", or CODEC[:LEVEL] */
	TM_BOOT_NAME, /* a plugin's name */
	TM_BOOT_SIZE, /* a size in bytes */
};

/*
 * One boot option; the table is the only definition there is.
 *
 * name: must come first, for tm_nearest()
 * offset: where in struct tmem_boot; of the bool in front of codec and level
 *	for TM_BOOT_CODEC
 * value: what may follow the name, for documents and messages
 * help: one line, no full stop
 */
struct tm_boot_option {
	const char *name;
	enum tm_boot_type type;
	size_t offset;
	const char *value;
	const char *help;
};

/* A boolean spelling: "on", "no", ... */
struct tm_boot_word {
	const char *word;
	bool value;
};

const struct tm_boot_option *tm_boot_options(size_t *count);
const struct tm_boot_word *tm_boot_words(size_t *count);

/*
 * What tmem_boot_load() reads, in rising order; NULL: this one is not there.
 *
 * file: path of an INI file
 * is_file_optional: it is no error when that file does not exist
 * kernel_file: path of a kernel command line, /proc/cmdline
 * environment: the words of TMEM_BOOT
 * words: the words of --boot
 */
struct tm_boot_sources {
	const char *file;
	bool is_file_optional;
	const char *kernel_file;
	const char *environment;
	const char *words;
};

/* As tmem_boot_load(), which knows the places. */
int tm_boot_load_sources(struct tmem_boot *boot,
			 const struct tm_boot_sources *sources, char *error,
			 size_t error_size);

/* As tmem_boot_parse(), for the words of a kernel command line that are ours.
 */
int tm_boot_parse_kernel(struct tmem_boot *boot, const char *line, char *error,
			 size_t error_size);

#endif
