/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the agent was told: defaults, then [balloon], which holds for all
 * guests, then [balloon NAME] of each guest, then the command line, which holds
 * for all again, so that `--actuator dry-run` makes any configuration harmless.
 * Without a [balloon NAME] there is one guest, whom [balloon] describes.
 *
 * The problem: a floor that was spelt wrong and silently ignored is found out
 * when a guest dies. So whatever is not known is an error that names the
 * nearest known word, and a load makes a new configuration or none.
 *
 * One table of options serves the command line, the file, --help, and the test
 * that compares it with the manual. A key is spelt as its option; where that
 * has "-", "_" will do. Rows without a setter are tunables of the control law,
 * which has a table of its own. Other sections belong to other programs.
 */
#include <config.h>

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent_config.h"
#include "ini.h"
#include "nearest.h"
#include "runtime_dir.h"

#define FILE_DEFAULT "/etc/tmem/tmem.conf"

__attribute__((format(printf, 3, 4))) static int
complain(char *error, size_t error_size, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(error, error_size, format, args);
	va_end(args);
	return -EINVAL;
}

/* --- values ------------------------------------------------------------ */

struct word {
	const char *name; /* first, for tm_nearest() */
	int value;
};

static const struct word sources[] = {
	{ "meminfo", TM_SOURCE_MEMINFO },
	{ "qmp", TM_SOURCE_QMP },
	{ "cgroup", TM_SOURCE_CGROUP },
};
static const struct word actuators[] = {
	{ "dry-run", TM_ACTUATOR_DRY_RUN },
	{ "xen", TM_ACTUATOR_XEN },
	{ "qmp", TM_ACTUATOR_QMP },
	{ "cgroup-reclaim", TM_ACTUATOR_CGROUP_RECLAIM },
	{ "cgroup-high", TM_ACTUATOR_CGROUP_HIGH },
};
static const struct word log_levels[] = {
	{ "error", TM_AGENT_ERROR },
	{ "warning", TM_AGENT_WARNING },
	{ "info", TM_AGENT_INFO },
	{ "debug", TM_AGENT_DEBUG },
};
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const char *name_of(const struct word *words, size_t count, int value)
{
	for (size_t i = 0; i < count; i++)
		if (words[i].value == value)
			return words[i].name;
	return "?";
}

const char *tm_agent_source_name(enum tm_agent_source source)
{
	return name_of(sources, COUNT(sources), (int)source);
}

const char *tm_agent_actuator_name(enum tm_agent_actuator actuator)
{
	return name_of(actuators, COUNT(actuators), (int)actuator);
}

/* Its value, or -EINVAL after a complaint. */
static int find_word(const struct word *words, size_t count, const char *what,
		     const char *value, char *error, size_t error_size)
{
	const char *meant;

	for (size_t i = 0; i < count; i++)
		if (!strcmp(value, words[i].name))
			return words[i].value;
	meant = tm_nearest_meant(value, words, count, sizeof(*words));
	return complain(error, error_size, "unknown %s \"%.64s\"%s", what,
			value, tm_nearest_hint(meant, "\"", "\"").text);
}

static int set_text(const char *value, char *to, size_t size, bool is_path,
		    char *error, size_t error_size)
{
	if (!*value)
		return complain(error, error_size, "the value is empty");
	if (strlen(value) >= size)
		return complain(error, error_size,
				"\"%.64s...\" is longer than %zu bytes", value,
				size - 1);
	if (is_path && *value != '/')
		return complain(error, error_size,
				"\"%.64s\" is not a path that begins with "
				"\"/\"",
				value);
	strcpy(to, value);
	return 0;
}

/* Setters, all alike. */
#define SETTER(name, call)                                                     \
	static int set_##name(struct tm_agent_config *config,                  \
			      struct tm_agent_guest_config *guest,             \
			      const char *value, char *error, size_t size)     \
	{                                                                      \
		(void)config;                                                  \
		(void)guest;                                                   \
		(void)value;                                                   \
		(void)error;                                                   \
		(void)size;                                                    \
		call;                                                          \
	}
#define TEXT(field, is_path)                                                   \
	return set_text(value, field, sizeof(field), is_path, error, size)
#define WORD(type, field, words, what)                                         \
	int found = find_word(words, COUNT(words), what, value, error, size);  \
                                                                               \
	if (found < 0)                                                         \
		return found;                                                  \
	field = (type)found;                                                   \
	return 0

SETTER(source, WORD(enum tm_agent_source, guest->source, sources, "source"))
SETTER(actuator,
       WORD(enum tm_agent_actuator, guest->actuator, actuators, "actuator"))
SETTER(qmp, TEXT(guest->qmp, true))
SETTER(device, TEXT(guest->device, false))
SETTER(cgroup, TEXT(guest->cgroup, true))
SETTER(proc, TEXT(guest->proc, true))
SETTER(sys, TEXT(guest->sys, true))
SETTER(state, config->is_state_asked_for = true; TEXT(config->state, true))
SETTER(log_level,
       WORD(enum tm_agent_log_level, config->log_level, log_levels, "level"))
SETTER(file, TEXT(config->file, false))
SETTER(check, config->is_check = true; return 0)
SETTER(help, config->is_help = true; return 0)
SETTER(version, config->is_version = true; return 0)

static const struct tm_agent_option options[] = {
	{ "source", "meminfo|qmp|cgroup", true, true,
	  "what tells how a guest fares [meminfo]", set_source },
	{ "actuator", "dry-run|xen|qmp|cgroup-reclaim|cgroup-high", true, true,
	  "what makes it smaller [dry-run]", set_actuator },
	{ "qmp", "PATH", true, true, "QEMU's monitor, a UNIX socket", set_qmp },
	{ "device", "ID", true, true, "its balloon [the first there is]",
	  set_device },
	{ "cgroup", "PATH", true, true, "folder of a control group, version 2",
	  set_cgroup },
	{ "proc", "PATH", true, true, "where proc is mounted [/proc]",
	  set_proc },
	{ "sys", "PATH", true, true, "where sysfs is mounted [/sys]", set_sys },
	{ "selfballooning", "0|1", true, true,
	  "balloon towards what is committed [1]", NULL },
	{ "selfballoon-interval", "SECONDS", true, true,
	  "time between two steps [5]", NULL },
	{ "selfballoon-downhysteresis", "N", true, true,
	  "shrink by 1/N of the surplus per step [8]", NULL },
	{ "selfballoon-uphysteresis", "N", true, true,
	  "grow by 1/N of the deficit per step [1]", NULL },
	{ "selfballoon-min-usable-mb", "MIB", true, true,
	  "a floor higher than the built-in one [0]", NULL },
	{ "selfballoon-reserved-mb", "MIB", true, true,
	  "head room above what is committed [0]", NULL },
	{ "state", "FILE", true, false,
	  "keep what is known of each guest there, for tmem top", set_state },
	{ "log-level", "error|warning|info|debug", true, false,
	  "what is logged [info]", set_log_level },
	{ "config", "FILE", false, false, "read this file [" FILE_DEFAULT "]",
	  set_file },
	{ "check-config", NULL, false, false,
	  "say whether all that is right, and end", set_check },
	{ "help", NULL, false, false, "this list", set_help },
	{ "version", NULL, false, false, "which tmem this is", set_version },
};

const struct tm_agent_option *tm_agent_options(size_t *count)
{
	*count = COUNT(options);
	return options;
}

/* --- options ----------------------------------------------------------- */

static void respell(char *to, size_t size, const char *name, char from,
		    char into)
{
	snprintf(to, size, "%s", name);
	for (char *c = to; *c; c++)
		*c = *c == from ? into : *c;
}

static int set_tunable(struct tm_agent_guest_config *guest, const char *name,
		       const char *value, char *error, size_t error_size)
{
	char spelt[64];

	respell(spelt, sizeof(spelt), name, '-', '_');
	if (!tm_selfballoon_configure(&guest->tunables, spelt, value))
		return 0;
	return complain(error, error_size,
			"\"%.64s\" is not a whole number that it may be (see "
			"--help; 0 only where the manual says what it means)",
			value);
}

static int set_option(const struct tm_agent_option *option,
		      struct tm_agent_config *config,
		      struct tm_agent_guest_config *guest, const char *value,
		      char *error, size_t error_size)
{
	if (option->set)
		return option->set(config, guest, value, error, error_size);
	return set_tunable(guest, option->name, value, error, error_size);
}

static int unknown(const char *what, const char *typed, char *error,
		   size_t error_size)
{
	const char *meant = tm_nearest_meant(typed, options, COUNT(options),
					     sizeof(options[0]));

	return complain(error, error_size, "unknown %s \"%.64s\"%s", what,
			typed, tm_nearest_hint(meant, "\"", "\"").text);
}

static const struct tm_agent_option *find_option(const char *name,
						 size_t length)
{
	for (size_t i = 0; i < COUNT(options); i++)
		if (strlen(options[i].name) == length &&
		    !strncmp(options[i].name, name, length))
			return &options[i];
	return NULL;
}

/* One word of the command line, and the next one if it takes it: how many. */
static int read_argument(char **argv, int left, const char **value,
			 const struct tm_agent_option **option, char *error,
			 size_t error_size)
{
	const char *word = argv[0];
	const char *equals = strchr(word, '=');
	size_t length;

	if (strncmp(word, "--", 2))
		return complain(error, error_size,
				"\"%.64s\" is no option; see --help", word);
	length = equals ? (size_t)(equals - word) - 2 : strlen(word) - 2;
	*option = find_option(word + 2, length);
	*value = equals ? equals + 1 : NULL;
	if (!*option)
		return unknown("option", word + 2, error, error_size);
	if (!(*option)->argument && equals)
		return complain(error, error_size, "--%s takes no value",
				(*option)->name);
	if (!(*option)->argument || equals)
		return 1;
	if (left < 2)
		return complain(error, error_size, "--%s needs %s",
				(*option)->name, (*option)->argument);
	*value = argv[1];
	return 2;
}

/* @guest: where those of a guest go; what is set of @config is set again. */
static int read_arguments(int argc, char **argv, struct tm_agent_config *config,
			  struct tm_agent_guest_config *guest, char *error,
			  size_t error_size)
{
	char what[TM_AGENT_ERROR_SIZE / 2];

	for (int i = 1; i < argc;) {
		const struct tm_agent_option *option = NULL;
		const char *value = NULL;
		int words = read_argument(argv + i, argc - i, &value, &option,
					  error, error_size);

		if (words < 0)
			return words;
		if (set_option(option, config, guest, value, what,
			       sizeof(what)))
			return complain(error, error_size, "--%s: %s",
					option->name, what);
		i += words;
	}
	return 0;
}

/* --- the file ---------------------------------------------------------- */

struct loading {
	struct tm_agent_config *config;
	struct tm_agent_guest_config *all; /* of [balloon] */
	bool wants_names; /* the second time through */
	size_t guest_count;
};

static bool is_name(const char *name)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyz"
				      "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789._:@+-";
	size_t length = strlen(name);

	return length && length < TM_AGENT_NAME_SIZE &&
	       strspn(name, allowed) == length;
}

static int add_guest(struct loading *loading, const char *name, char *error,
		     size_t error_size)
{
	struct tm_agent_guest_config *guest;
	struct tm_agent_guest_config **end = &loading->config->guests;

	if (!is_name(name))
		return complain(error, error_size,
				"\"%.64s\" cannot be a guest's name: 1 to %d "
				"letters, digits and any of ._:@+-",
				name, TM_AGENT_NAME_SIZE - 1);
	if (loading->guest_count++ == TM_AGENT_GUESTS_MAX)
		return complain(error, error_size, "more than %d guests",
				TM_AGENT_GUESTS_MAX);
	guest = malloc(sizeof(*guest));
	if (!guest)
		return -ENOMEM;
	*guest = *loading->all;
	guest->next = NULL;
	strcpy(guest->name, name);
	while (*end)
		end = &(*end)->next;
	*end = guest;
	return 0;
}

/* The guest whose section is being read is the last one. */
static struct tm_agent_guest_config *last_guest(struct tm_agent_config *config)
{
	struct tm_agent_guest_config *guest = config->guests;

	while (guest && guest->next)
		guest = guest->next;
	return guest;
}

static int take_entry(void *opaque, const struct tm_ini_entry *entry,
		      char *error, size_t error_size)
{
	struct loading *loading = opaque;
	bool has_name = *entry->name;
	const struct tm_agent_option *option;
	char key[64];

	if (strcmp(entry->section, "balloon") ||
	    has_name != loading->wants_names)
		return 0;
	if (!entry->key)
		return has_name ? add_guest(loading, entry->name, error,
					    error_size)
				: 0;
	respell(key, sizeof(key), entry->key, '_', '-');
	option = find_option(key, strlen(key));
	if (!option || !option->is_in_file)
		return unknown("key", key, error, error_size);
	if (has_name && !option->is_of_guest)
		return complain(error, error_size,
				"%s belongs to [balloon], for all guests", key);
	return set_option(option, loading->config,
			  has_name ? last_guest(loading->config) : loading->all,
			  entry->value, error, error_size);
}

static int read_file(struct loading *loading, char *error, size_t error_size)
{
	const char *file = loading->config->file;
	const struct tm_ini ini = { .file = *file ? file : FILE_DEFAULT,
				    .entry = take_entry,
				    .opaque = loading };
	int err = tm_ini_load(&ini, error, error_size);

	/* The usual one need not be there. */
	if (err == -ENOENT && !*file)
		return 0;
	if (err)
		return err;
	loading->wants_names = true;
	return tm_ini_load(&ini, error, error_size);
}

/* --- all of it --------------------------------------------------------- */

static int check_guest(const struct tm_agent_guest_config *guest, char *error,
		       size_t error_size)
{
	static const unsigned fitting[] = {
		[TM_SOURCE_MEMINFO] = 1u << TM_ACTUATOR_XEN,
		[TM_SOURCE_QMP] = 1u << TM_ACTUATOR_QMP,
		[TM_SOURCE_CGROUP] = 1u << TM_ACTUATOR_CGROUP_RECLAIM |
				     1u << TM_ACTUATOR_CGROUP_HIGH,
	};
	unsigned fits = fitting[guest->source] | 1u << TM_ACTUATOR_DRY_RUN;

	if (!(fits & 1u << guest->actuator))
		return complain(error, error_size,
				"guest %s: what the source %s tells is of "
				"another guest than the actuator %s drives",
				guest->name,
				tm_agent_source_name(guest->source),
				tm_agent_actuator_name(guest->actuator));
	if (guest->source == TM_SOURCE_QMP && !*guest->qmp)
		return complain(error, error_size,
				"guest %s: the source qmp needs qmp, the "
				"path of a socket",
				guest->name);
	if (guest->source == TM_SOURCE_CGROUP && !*guest->cgroup)
		return complain(error, error_size,
				"guest %s: the source cgroup needs cgroup, "
				"the path of a folder",
				guest->name);
	return 0;
}

/* Two that drive the same thing would pull it to and fro; and a monitor of
 * QEMU's speaks with one at a time, even of those that only look. */
static bool are_the_same(const struct tm_agent_guest_config *a,
			   const struct tm_agent_guest_config *b)
{
	bool is_dry = a->actuator == TM_ACTUATOR_DRY_RUN ||
		      b->actuator == TM_ACTUATOR_DRY_RUN;

	if (a->source == TM_SOURCE_QMP && b->source == TM_SOURCE_QMP)
		return !strcmp(a->qmp, b->qmp);
	if (is_dry || a->source != b->source)
		return false;
	switch (a->source) {
	case TM_SOURCE_MEMINFO:
		return !strcmp(a->sys, b->sys);
	case TM_SOURCE_QMP:
		break;
	case TM_SOURCE_CGROUP:
		return !strcmp(a->cgroup, b->cgroup);
	}
	return false;
}

static int check_config(const struct tm_agent_config *config, char *error,
			size_t error_size)
{
	const struct tm_agent_guest_config *a, *b;

	for (a = config->guests; a; a = a->next) {
		if (check_guest(a, error, error_size))
			return -EINVAL;
		for (b = a->next; b; b = b->next)
			if (are_the_same(a, b))
				return complain(error, error_size,
						"guests %s and %s are one and "
						"the same",
						a->name, b->name);
	}
	return 0;
}

static int load(int argc, char **argv, struct loading *loading, char *error,
		size_t error_size)
{
	struct tm_agent_config *config = loading->config;
	struct tm_agent_guest_config scratch = *loading->all;
	int err;

	/* For --config, and for what is wrong whatever the file says. */
	err = read_arguments(argc, argv, config, &scratch, error, error_size);
	if (err || config->is_help || config->is_version)
		return err;
	err = read_file(loading, error, error_size);
	if (!err && !config->guests)
		err = add_guest(loading, "self", error, error_size);
	for (struct tm_agent_guest_config *guest = config->guests;
	     guest && !err; guest = guest->next)
		err = read_arguments(argc, argv, config, guest, error,
				     error_size);
	return err ? err : check_config(config, error, error_size);
}

int tm_agent_config_load(int argc, char **argv, struct tm_agent_config **out,
			 char *error, size_t error_size)
{
	struct tm_agent_guest_config all = { .proc = "/proc", .sys = "/sys" };
	struct tm_agent_config *config = calloc(1, sizeof(*config));
	struct loading loading = { .config = config, .all = &all };
	int err;

	if (!config) {
		complain(error, error_size, "%s", strerror(ENOMEM));
		return -ENOMEM;
	}
	tm_selfballoon_defaults(&all.tunables);
	/* What is in a guest's swap cannot be pulled back from here. */
	all.tunables.frontswap_selfshrinking = 0;
	config->log_level = TM_AGENT_INFO;
	if (tm_default_balloon(config->state, sizeof(config->state)))
		*config->state = '\0';
	err = load(argc, argv, &loading, error, error_size);
	if (err) {
		tm_agent_config_free(config);
		return err;
	}
	*out = config;
	return 0;
}

void tm_agent_config_free(struct tm_agent_config *config)
{
	struct tm_agent_guest_config *next;

	for (struct tm_agent_guest_config *guest = config->guests; guest;
	     guest = next) {
		next = guest->next;
		free(guest);
	}
	free(config);
}
