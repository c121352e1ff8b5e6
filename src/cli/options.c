/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Options: the parser for every verb's table, and the options of a store.
 *
 * Long options, --name=value or --name value, in any order with operands; --
 * ends them. An unknown one is an error that names the nearest. An option that
 * has an old one-letter spelling knows it the way getopt() did: -w 5, -w5,
 * -la; and -w=5, as xl's manual wrote.
 */
#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "nearest.h"

int tm_cli_error(const char *format, ...)
{
	va_list args;

	fflush(stdout);
	fputs("tmem: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	return -EINVAL;
}

void tm_cli_log(void *opaque, enum tmem_log_level level, const char *text)
{
	(void)opaque;
	if (level <= TMEM_LOG_WARNING)
		tm_cli_error("%s", text);
}

static char letter_of(const struct tm_cli_verb *verb, const char *name)
{
	const struct tm_cli_letter *l = verb->letters;

	while (l && l->letter && strcmp(l->name, name))
		l++;
	return l ? l->letter : 0;
}

static void print_help(const struct tm_cli_verb *verb)
{
	printf("Usage: tmem %s%s%s\n%s\n\n", verb->name,
	       *verb->usage ? " " : "", verb->usage, verb->summary);
	for (const struct tm_cli_option *o = verb->options; o->name; o++) {
		char left[64];

		snprintf(left, sizeof(left), "--%s%s%s", o->name,
			 o->argument ? " " : "",
			 o->argument ? o->argument : "");
		printf("  %-28s %s", left, o->help);
		if (letter_of(verb, o->name))
			printf(" (-%c)", letter_of(verb, o->name));
		putchar('\n');
	}
	printf("  %-28s %s\n", "--help", "this list");
}

static size_t option_count(const struct tm_cli_verb *verb)
{
	size_t count = 0;

	while (verb->options[count].name)
		count++;
	return count;
}

static const struct tm_cli_option *find_option(const struct tm_cli_verb *verb,
					       const char *name, size_t length)
{
	const char *meant;
	char typed[64];

	for (const struct tm_cli_option *o = verb->options; o->name; o++)
		if (strlen(o->name) == length &&
		    !strncmp(o->name, name, length))
			return o;
	snprintf(typed, sizeof(typed), "%.*s", (int)length, name);
	meant = tm_nearest_meant(typed, verb->options, option_count(verb),
				 sizeof(*verb->options));
	tm_cli_error("%s: unknown option --%s%s", verb->name, typed,
		     tm_nearest_hint(meant, "--", "").text);
	return NULL;
}

/* One option at argv[*at]; moves *at past its argument. */
static int parse_option(const struct tm_cli_verb *verb, int argc, char **argv,
			int *at, void *target)
{
	const char *name = argv[*at] + 2;
	const char *equals = strchr(name, '=');
	size_t length = equals ? (size_t)(equals - name) : strlen(name);
	const struct tm_cli_option *option = find_option(verb, name, length);
	const char *value = equals ? equals + 1 : NULL;

	if (!option)
		return -EINVAL;
	if (value && !option->argument)
		return tm_cli_error("%s: --%s takes no value", verb->name,
				    option->name);
	if (option->argument && !value) {
		if (*at + 1 >= argc)
			return tm_cli_error("%s: --%s wants %s", verb->name,
					    option->name, option->argument);
		value = argv[++*at];
	}
	return option->set(target, value);
}

static const struct tm_cli_option *find_letter(const struct tm_cli_verb *verb,
					       char letter)
{
	for (const struct tm_cli_option *o = verb->options; o->name; o++)
		if (letter_of(verb, o->name) == letter)
			return o;
	return NULL;
}

/* Letters at argv[*at]; moves *at past an argument. */
static int parse_letters(const struct tm_cli_verb *verb, int argc, char **argv,
			 int *at, void *target)
{
	for (const char *letter = argv[*at] + 1; *letter; letter++) {
		const struct tm_cli_option *o = find_letter(verb, *letter);
		const char *value = letter[1] == '=' ? letter + 2 : letter + 1;

		if (!o && *letter >= '0' && *letter <= '9')
			return tm_cli_error("%s: \"%s\": a size or a number "
					    "cannot be negative",
					    verb->name, argv[*at]);
		if (!o)
			return tm_cli_error("%s: options are long ones: --%s?",
					    verb->name, letter);
		if (!o->argument) {
			if (o->set(target, NULL))
				return -EINVAL;
			continue;
		}
		if (!letter[1] && *at + 1 >= argc)
			return tm_cli_error("%s: -%c wants %s", verb->name,
					    *letter, o->argument);
		return o->set(target, letter[1] ? value : argv[++*at]);
	}
	return 0;
}

int tm_cli_parse(const struct tm_cli_verb *verb, int argc, char **argv,
		 void *target, int *operands)
{
	bool options_ended = false;

	*operands = 0;
	for (int i = 0; i < argc; i++) {
		if (options_ended || strncmp(argv[i], "-", 1) ||
		    !strcmp(argv[i], "-")) {
			argv[(*operands)++] = argv[i];
		} else if (!strcmp(argv[i], "--")) {
			options_ended = true;
		} else if (!strcmp(argv[i], "--help")) {
			print_help(verb);
			return 1;
		} else if (strncmp(argv[i], "--", 2)) {
			if (parse_letters(verb, argc, argv, &i, target))
				return -EINVAL;
		} else if (parse_option(verb, argc, argv, &i, target)) {
			return -EINVAL;
		}
	}
	return 0;
}

int tm_cli_set_size(uint64_t *bytes, const char *option, const char *value)
{
	if (!tmem_size_parse(value, bytes))
		return 0;
	return tm_cli_error("--%s: \"%s\" is not a size such as 64M or 1.5G",
			    option, value);
}

int tm_cli_set_most(uint64_t *bytes, const char *value)
{
	if (tm_cli_set_size(bytes, "most", value))
		return -EINVAL;
	if (*bytes < TMEM_PAGE_SIZE)
		return tm_cli_error("--most: \"%s\" is less than a page", value);
	return 0;
}

int tm_cli_set_number(uint64_t *number, const char *option, const char *value,
		      uint64_t min, uint64_t max)
{
	char *end;

	errno = 0;
	*number = strtoull(value, &end, 10);
	if (!errno && *value >= '0' && *value <= '9' && !*end &&
	    *number >= min && *number <= max)
		return 0;
	return tm_cli_error("--%s: \"%s\" is not a number from %" PRIu64
			    " to %" PRIu64,
			    option, value, min, max);
}

/* --- the options of a store ------------------------------------------------ */

int tm_cli_set_memory(void *target, const char *value)
{
	struct tm_cli_store *store = target;

	if (tm_cli_set_size(&store->memory_bytes, "memory", value))
		return -EINVAL;
	if (store->memory_bytes < TMEM_MEMORY_MIN)
		return tm_cli_error("--memory: \"%s\" is too little; a store "
				    "needs at least %" PRIu64 "K",
				    value, TMEM_MEMORY_MIN >> 10);
	return 0;
}

int tm_cli_set_arena(void *target, const char *value)
{
	((struct tm_cli_store *)target)->arena = value;
	return 0;
}

int tm_cli_set_codec(void *target, const char *value)
{
	((struct tm_cli_store *)target)->codec = value;
	return 0;
}

int tm_cli_set_allocator(void *target, const char *value)
{
	((struct tm_cli_store *)target)->allocator = value;
	return 0;
}

int tm_cli_set_boot(void *target, const char *value)
{
	struct tmem_boot boot;
	char error[256];

	((struct tm_cli_store *)target)->boot = value;
	tmem_boot_init(&boot, TMEM_BOOT_DEFAULTS_TMEM);
	if (tmem_boot_parse(&boot, value, error, sizeof(error)))
		return tm_cli_error("--boot: %s", error);
	return 0;
}

int tm_cli_set_config(void *target, const char *value)
{
	((struct tm_cli_store *)target)->config = value;
	return 0;
}

int tm_cli_set_boot_defaults(void *target, const char *value)
{
	struct tm_cli_store *store = target;

	if (!strcmp(value, "tmem"))
		store->boot_defaults = TMEM_BOOT_DEFAULTS_TMEM;
	else if (!strcmp(value, "xen"))
		store->boot_defaults = TMEM_BOOT_DEFAULTS_XEN;
	else
		return tm_cli_error("--boot-defaults: \"%s\" is neither "
				    "\"tmem\" nor \"xen\"",
				    value);
	return 0;
}

/* As tm_cli_log(), and remembers that the reason was said. */
static void log_opening(void *opaque, enum tmem_log_level level,
			const char *text)
{
	struct tm_cli_store *options = opaque;

	if (level == TMEM_LOG_ERROR)
		__atomic_store_n(&options->was_explained, true,
				 __ATOMIC_RELAXED);
	tm_cli_log(NULL, level, text);
}

int tm_cli_store_open(struct tm_cli_store *options, uint64_t memory_bytes,
		      uint64_t flags, struct tmem_store **store)
{
	struct tmem_store_config config;
	struct tmem_boot boot;
	char codec[32], error[256];
	int err;

	tmem_boot_init(&boot, options->boot_defaults);
	err = tmem_boot_load(&boot, options->config, options->boot, 0, error,
			     sizeof(error));
	if (err) {
		tm_cli_error("%s", error);
		return err;
	}
	tmem_store_config_init(&config);
	config.memory_bytes = memory_bytes;
	config.log = log_opening;
	config.log_opaque = options;
	tmem_boot_apply(&boot, &config, codec, sizeof(codec));
	config.flags |= flags;
	config.arena = options->arena;
	if (options->memory_bytes)
		config.memory_bytes = options->memory_bytes;
	if (options->codec)
		config.codec = options->codec;
	if (options->allocator)
		config.allocator = options->allocator;
	err = tmem_store_open(&config, store);
	if (err && !options->was_explained)
		tm_cli_error("the store cannot be opened: %s", strerror(-err));
	return err;
}
