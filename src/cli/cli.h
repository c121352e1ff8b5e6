/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the verbs of the program share: options as data, messages, statuses.
 *
 * A verb is one row of a table, and each of its options one row of another;
 * parser, --help and the test that compares it with the man page read these
 * rows and nothing else.
 */
#ifndef TM_CLI_H
#define TM_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tmem/tmem.h>

enum tm_cli_status {
	TM_CLI_OK = 0,
	TM_CLI_FAILED = 1,	/* something was wrong, or did not work */
	TM_CLI_USAGE = 2,
};

/**
 * struct tm_cli_option - one option of a verb
 * @name: without the dashes
 * @argument: what stands for its argument in --help; NULL: it takes none
 * @help: one line
 * @set: stores @value (NULL without an argument) in the verb's @target; returns
 *	0, or -EINVAL after tm_cli_error()
 */
struct tm_cli_option {
	const char *name;
	const char *argument;
	const char *help;
	int (*set)(void *target, const char *value);
};

/* An option's old spelling, -w for --weight. */
struct tm_cli_letter {
	char letter;
	const char *name;
};

/**
 * struct tm_cli_verb - one verb
 * @name: as typed
 * @summary: one line for `tmem --help`
 * @usage: what follows the name in the usage line
 * @options: ends with a row whose name is NULL
 * @run: gets the arguments after the verb; returns an enum tm_cli_status
 * @letters: old spellings, ends with a row whose letter is 0; NULL: none
 * @was_tmem: xl and xm called it tmem-NAME, which works too
 */
struct tm_cli_verb {
	const char *name;
	const char *summary;
	const char *usage;
	const struct tm_cli_option *options;
	int (*run)(const struct tm_cli_verb *verb, int argc, char **argv);
	const struct tm_cli_letter *letters;
	bool was_tmem;
};

/**
 * tm_cli_parse() - options into a verb's target
 * @verb: whose options
 * @argc: arguments
 * @argv: arguments; on return the operands stand at its beginning
 * @target: passed to each option's set()
 * @operands: how many operands there are
 *
 * --help is known to all verbs: it prints and answers 1.
 *
 * Return: 0, 1 (help was printed: done), -EINVAL (the message was printed).
 */
int tm_cli_parse(const struct tm_cli_verb *verb, int argc, char **argv,
		 void *target, int *operands);

/* "tmem: " and the message on standard error. Answers -EINVAL. */
int tm_cli_error(const char *format, ...)
	__attribute__((format(printf, 1, 2)));
/* A store's log, for struct tmem_store_config: warnings and errors. */
void tm_cli_log(void *opaque, enum tmem_log_level level, const char *text);

/* Ready-made set() bodies. */
int tm_cli_set_size(uint64_t *bytes, const char *option, const char *value);
/* --most, of bytes: at least a page of it. */
int tm_cli_set_most(uint64_t *bytes, const char *value);
int tm_cli_set_number(uint64_t *number, const char *option, const char *value,
		      uint64_t min, uint64_t max);

/*
 * The options that choose how a store is made: --memory --arena --codec
 * --allocator --boot --boot-defaults --config. A verb that has them begins its
 * target with a struct tm_cli_store and its table with TM_CLI_STORE_OPTIONS.
 */
struct tm_cli_store {
	uint64_t memory_bytes;
	const char *arena;
	const char *codec;
	const char *allocator;
	const char *boot;
	const char *config;
	enum tmem_boot_defaults boot_defaults;
	bool was_explained;	/* the store's log has named an error */
};

int tm_cli_set_memory(void *target, const char *value);
int tm_cli_set_arena(void *target, const char *value);
int tm_cli_set_codec(void *target, const char *value);
int tm_cli_set_allocator(void *target, const char *value);
int tm_cli_set_boot(void *target, const char *value);
int tm_cli_set_boot_defaults(void *target, const char *value);
int tm_cli_set_config(void *target, const char *value);

#define TM_CLI_STORE_OPTIONS                                                 \
	{ "memory", "SIZE", "memory limit of the store, such as 64M",         \
	  tm_cli_set_memory },                                                \
	{ "arena", "PATH", "keep the store in this file on tmpfs",            \
	  tm_cli_set_arena },                                                 \
	{ "codec", "NAME[:LEVEL]", "compress with this codec",                \
	  tm_cli_set_codec },                                                 \
	{ "allocator", "NAME", "pack with this allocator",                    \
	  tm_cli_set_allocator },                                             \
	{ "boot", "WORDS", "boot options, such as \"tmem_compress=zstd\"",    \
	  tm_cli_set_boot },                                                  \
	{ "boot-defaults", "tmem|xen", "what boot options begin with",        \
	  tm_cli_set_boot_defaults },                                         \
	{ "config", "FILE", "read [boot] from here, not /etc/tmem/tmem.conf", \
	  tm_cli_set_config }

/**
 * tm_cli_store_open() - a store from the options and all boot sources
 * @options: what was asked for; outlives the store
 * @memory_bytes: the limit when neither options nor boot words say one
 * @flags: TMEM_STORE_* to add
 * @store: set on success
 *
 * Return: 0, or a negative errno after a message that says what to do.
 */
int tm_cli_store_open(struct tm_cli_store *options, uint64_t memory_bytes,
		      uint64_t flags, struct tmem_store **store);

/* The verbs; main.c lists them. */
extern const struct tm_cli_verb tm_cli_estimate;
extern const struct tm_cli_verb tm_cli_capture;
extern const struct tm_cli_verb tm_cli_replay;
extern const struct tm_cli_verb tm_cli_bench;
extern const struct tm_cli_verb tm_cli_plugins;
extern const struct tm_cli_verb tm_cli_list;
extern const struct tm_cli_verb tm_cli_top;
extern const struct tm_cli_verb tm_cli_stats;
extern const struct tm_cli_verb tm_cli_freeze;
extern const struct tm_cli_verb tm_cli_thaw;
extern const struct tm_cli_verb tm_cli_set;
extern const struct tm_cli_verb tm_cli_shared_auth;
extern const struct tm_cli_verb tm_cli_freeable;
extern const struct tm_cli_verb tm_cli_flush;
extern const struct tm_cli_verb tm_cli_destroy;
extern const struct tm_cli_verb tm_cli_save;
extern const struct tm_cli_verb tm_cli_restore;
extern const struct tm_cli_verb tm_cli_migrate;
extern const struct tm_cli_verb tm_cli_disk;
extern const struct tm_cli_verb tm_cli_dom0_mem;
extern const struct tm_cli_verb tm_cli_sim;

#endif
