/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Boot options: a few words that configure a store, from four sources.
 *
 * The problem: the same words come from a file, a kernel command line, the
 * environment and --boot. Four parsers would differ in some corner, and a
 * word that is silently ignored (a typo in no-tmem) is worse than an error.
 * The idea: one table of options and one function that applies a name and a
 * value; the sources differ only in how they find names and values. The table
 * also feeds the suggestions in errors and the check of the man page.
 *
 * Spellings of a boolean are those of Xen's command line:
 *
 *	name  name=1|yes|on|true|enable  name=0|no|off|false|disable  no-name
 *
 * What Xen's parser shrugs off is an error here: a value after "no-name", an
 * unknown word, an unknown value.
 *
 * On a kernel command line only words that begin with "tmem" or "no-tmem"
 * count, up to a lone "--", and quotes group as they do in Linux. "tmem.NAME"
 * is a parameter of Linux's module of that name (tmem.selfshrink=0), not ours.
 *
 * Everything is applied to a copy, which becomes the result once all words
 * were good: an error has no partial effect. No state, no locks.
 *
 * Source: docs/misc/xen-command-line of Xen 4.12 for the spellings.
 */
#include <config.h>

#include "boot.h"

#include "ini.h"
#include "nearest.h"
#include "size.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONF_FILE "/etc/tmem/tmem.conf"
#define KERNEL_FILE "/proc/cmdline"
/* Far above what any kernel takes (4096 at most on today's machines). */
#define KERNEL_LINE_MAX 65535

/* The longest word, in bytes. */
#define WORD_MAX 255
/* As much of somebody's text as an error message shows. */
#define SHOWN_MAX 63

static const struct tm_boot_option options[] = {
	{ "tmem", TM_BOOT_SWITCH, offsetof(struct tmem_boot, enabled),
	  "[=BOOL]", "Run; when off every operation is refused" },
	{ "tmem_compress", TM_BOOT_CODEC, offsetof(struct tmem_boot, compress),
	  "[=BOOL|CODEC[:LEVEL]]", "Compress pages, and with which codec" },
	{ "tmem_allocator", TM_BOOT_NAME, offsetof(struct tmem_boot, allocator),
	  "=NAME", "Pack compressed pages with this allocator" },
	{ "tmem_dedup", TM_BOOT_SWITCH, offsetof(struct tmem_boot, dedup),
	  "[=BOOL]", "Keep identical pages of a trust domain once" },
	{ "tmem_tze", TM_BOOT_SWITCH, offsetof(struct tmem_boot, tze),
	  "[=BOOL]", "Accepted for old command lines; changes nothing" },
	{ "tmem_shared_auth", TM_BOOT_SWITCH,
	  offsetof(struct tmem_boot, shared_auth), "[=BOOL]",
	  "Clients need authorisation to join a shared pool" },
	{ "tmem_memory", TM_BOOT_SIZE, offsetof(struct tmem_boot, memory_bytes),
	  "=SIZE", "Limit on all the memory of the store" },
};

/* The commonest first: of equally near ones, that is the one suggested. */
static const struct tm_boot_word words_known[] = {
	{ "on", true },     { "off", false },     { "yes", true },
	{ "no", false },    { "true", true },     { "false", false },
	{ "enable", true }, { "disable", false }, { "1", true },
	{ "0", false },
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Where words go, and where complaints about them do. */
struct load {
	struct tmem_boot boot;
	const char *source; /* put before a complaint; NULL: nothing */
	char *error;
	size_t error_size;
};

const struct tm_boot_option *tm_boot_options(size_t *count)
{
	*count = COUNT(options);
	return options;
}

const struct tm_boot_word *tm_boot_words(size_t *count)
{
	*count = COUNT(words_known);
	return words_known;
}

__attribute__((format(printf, 2, 3))) static int
complain(struct load *load, const char *format, ...)
{
	int used = 0;
	va_list args;

	if (load->source)
		used = snprintf(load->error, load->error_size,
				"%s: ", load->source);
	if (used >= 0 && (size_t)used < load->error_size) {
		va_start(args, format);
		vsnprintf(load->error + used, load->error_size - (size_t)used,
			  format, args);
		va_end(args);
	}
	return -EINVAL;
}

/* Somebody's text, fit for a message: short, and harmless to a terminal. */
struct shown {
	char text[SHOWN_MAX + sizeof("...")];
};

static struct shown show(const char *text)
{
	struct shown shown = { "" };
	size_t i;

	for (i = 0; i < SHOWN_MAX && text[i]; i++)
		shown.text[i] =
			text[i] >= 0x20 && text[i] < 0x7f ? text[i] : '?';
	strcpy(shown.text + i, text[i] ? "..." : "");
	return shown;
}

static bool is_negatable(const struct tm_boot_option *option)
{
	return option->type == TM_BOOT_SWITCH || option->type == TM_BOOT_CODEC;
}

static const struct tm_boot_option *find_option(const char *name)
{
	for (size_t i = 0; i < COUNT(options); i++)
		if (!strcmp(options[i].name, name))
			return &options[i];
	return NULL;
}

/* "no-" forms take part: tmem is no good answer to "notmem". */
static int complain_unknown(struct load *load, const char *name)
{
	char negated[WORD_MAX + 1], best[WORD_MAX + 1] = "";
	unsigned best_distance = ~0u;

	for (size_t i = 0; i < COUNT(options); i++) {
		const char *forms[2] = { options[i].name, negated };
		int form_count = is_negatable(&options[i]) ? 2 : 1;

		snprintf(negated, sizeof(negated), "no-%s", options[i].name);
		for (int form = 0; form < form_count; form++) {
			unsigned distance =
				tm_nearest_distance(name, forms[form]);

			if (distance >= best_distance)
				continue;
			best_distance = distance;
			strcpy(best, forms[form]);
		}
	}
	return complain(load,
			"unknown boot option \"%s\"; the nearest known one is "
			"\"%s\"",
			show(name).text, best);
}

static const struct tm_boot_word *find_word(const char *value)
{
	for (size_t i = 0; i < COUNT(words_known); i++)
		if (!strcmp(words_known[i].word, value))
			return &words_known[i];
	return NULL;
}

/* The rules of plugin names, see plugin.h. */
static bool is_plugin_name(const char *name)
{
	size_t size = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-_");

	return size >= 1 && size <= TMEM_PLUGIN_NAME_MAX && !name[size] &&
	       name[0] >= 'a' && name[0] <= 'z';
}

/* Which names exist is not known here; how they are spelled is. */
static int complain_name(struct load *load, const struct tm_boot_option *option,
			 const char *name)
{
	char small[TMEM_PLUGIN_NAME_MAX + 2] = "";

	for (size_t i = 0; i < sizeof(small) - 1 && name[i]; i++)
		small[i] = name[i] >= 'A' && name[i] <= 'Z'
				   ? (char)(name[i] | 0x20)
				   : name[i];
	if (is_plugin_name(small))
		return complain(load,
				"unknown value \"%s\" for \"%s\"; the nearest "
				"possible one is \"%s\"",
				show(name).text, option->name, small);
	return complain(load,
			"unknown value \"%s\" for \"%s\"; a name is 1 to %d "
			"of a-z, 0-9, - and _, beginning with a letter",
			show(name).text, option->name, TMEM_PLUGIN_NAME_MAX);
}

static bool parse_level(const char *text, int32_t *level)
{
	const char *digits = text + (*text == '-');
	long value;

	if (!*digits || digits[strspn(digits, "0123456789")])
		return false;
	errno = 0;
	value = strtol(text, NULL, 10);
	if (errno || value < INT32_MIN || value > INT32_MAX)
		return false;
	*level = (int32_t)value;
	return true;
}

static int set_switch(struct load *load, const struct tm_boot_option *option,
		      const char *value)
{
	const struct tm_boot_word *word = find_word(value);
	bool *field = (void *)((char *)&load->boot + option->offset);

	if (!word)
		return complain(load,
				"unknown value \"%s\" for \"%s\"; the nearest "
				"known one is \"%s\"",
				show(value).text, option->name,
				tm_nearest(value, words_known,
					   COUNT(words_known),
					   sizeof(words_known[0])));
	*field = word->value;
	return 0;
}

static int set_codec(struct load *load, const struct tm_boot_option *option,
		     const char *value)
{
	char name[WORD_MAX + 1];
	const char *colon = strchr(value, ':');
	size_t size = colon ? (size_t)(colon - value) : strlen(value);
	int32_t level = 0;

	if (!colon && find_word(value))
		return set_switch(load, option, value);
	/* Longer than any name, and cut at where it shows all the same. */
	if (size > WORD_MAX)
		size = WORD_MAX;
	memcpy(name, value, size);
	name[size] = '\0';
	if (colon && find_word(name))
		return complain(
			load,
			"\"%s\" takes no level, in \"%s=%s\": a codec's "
			"name does",
			name, option->name, show(value).text);
	if (!is_plugin_name(name))
		return complain_name(load, option, name);
	if (colon && !parse_level(colon + 1, &level))
		return complain(
			load,
			"\"%s\" is no level, in \"%s=%s\": a level is a "
			"whole number",
			show(colon + 1).text, option->name, show(value).text);
	load->boot.compress = true;
	strcpy(load->boot.codec, name);
	load->boot.has_level = colon;
	load->boot.level = level;
	return 0;
}

static int set_name(struct load *load, const struct tm_boot_option *option,
		    const char *value)
{
	if (!is_plugin_name(value))
		return complain_name(load, option, value);
	strcpy((char *)&load->boot + option->offset, value);
	return 0;
}

static int set_size(struct load *load, const struct tm_boot_option *option,
		    const char *value)
{
	uint64_t *field = (void *)((char *)&load->boot + option->offset);
	uint64_t bytes;
	int r = tm_size_parse(value, &bytes);

	if (r == -ERANGE)
		return complain(load, "\"%s\" is too much for \"%s\"",
				show(value).text, option->name);
	if (r)
		return complain(load,
				"\"%s\" is no size for \"%s\"; 512M or 1.5G "
				"would be",
				show(value).text, option->name);
	if (bytes < TMEM_MEMORY_MIN)
		return complain(load,
				"\"%s\" is too little for \"%s\"; the smallest "
				"store has %" PRIu64 "K",
				show(value).text, option->name,
				TMEM_MEMORY_MIN >> 10);
	*field = bytes;
	return 0;
}

/* @value: NULL when there is no "=" */
static int apply(struct load *load, const char *name, const char *value)
{
	const struct tm_boot_option *option = find_option(name);
	bool negated = false;

	if (!option && !strncmp(name, "no-", 3)) {
		option = find_option(name + 3);
		negated = true;
	}
	if (!option)
		return complain_unknown(load, name);
	if (negated && !is_negatable(option))
		return complain(load, "\"%s\" has no \"no-\": write %s%s",
				option->name, option->name, option->value);
	if (negated && value)
		return complain(load,
				"\"%s\" takes no value; to switch it off, "
				"write %s=off",
				name, option->name);
	if (!value && !is_negatable(option))
		return complain(load, "\"%s\" needs a value: write %s%s", name,
				option->name, option->value);
	if (value && !*value)
		return complain(load, "nothing follows \"%s=\": write %s%s",
				name, option->name, option->value);
	if (!value)
		value = negated ? "off" : "on";
	switch (option->type) {
	case TM_BOOT_SWITCH:
		return set_switch(load, option, value);
	case TM_BOOT_CODEC:
		return set_codec(load, option, value);
	case TM_BOOT_NAME:
		return set_name(load, option, value);
	case TM_BOOT_SIZE:
		return set_size(load, option, value);
	}
	return -EINVAL;
}

/* @word is cut up at its "=". */
static int apply_word(struct load *load, char *word)
{
	char *equals = strchr(word, '=');

	if (equals)
		*equals++ = '\0';
	return apply(load, word, equals);
}

static int complain_long(struct load *load, const char *word)
{
	return complain(load, "\"%s\" is longer than %d bytes", show(word).text,
			WORD_MAX);
}

static int apply_words(struct load *load, const char *words)
{
	static const char blanks[] = " \t\n\v\f\r";
	int r = 0;

	while (!r && *(words += strspn(words, blanks))) {
		size_t size = strcspn(words, blanks);
		char word[WORD_MAX + 1];

		if (size > WORD_MAX)
			return complain_long(load, words);
		memcpy(word, words, size);
		word[size] = '\0';
		r = apply_word(load, word);
		words += size;
	}
	return r;
}

static bool is_kernel_blank(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

/* How long the word at @line is. A quote hides blanks until the next one. */
static size_t kernel_word_size(const char *line)
{
	bool quoted = false;
	size_t i;

	for (i = 0; line[i] && (quoted || !is_kernel_blank(line[i])); i++)
		if (line[i] == '"')
			quoted = !quoted;
	return i;
}

static bool is_kernel_word_ours(const char *word, size_t size)
{
	static const char name[] = "tmem";
	const size_t name_size = sizeof(name) - 1;

	if (size >= 3 && !strncmp(word, "no-", 3)) {
		word += 3;
		size -= 3;
	}
	if (size < name_size || strncmp(word, name, name_size))
		return false;
	return size == name_size || word[name_size] != '.';
}

/*
 * One word of a kernel command line. Linux drops a quote at the beginning of
 * the word or of its value, and one at the end if there was one of these; any
 * other stays.
 */
static int apply_kernel_word(struct load *load, const char *start, size_t size)
{
	char word[WORD_MAX + 1];
	bool quoted = *start == '"';
	char *value;

	start += quoted;
	size -= quoted;
	if (!is_kernel_word_ours(start, size))
		return 0;
	if (size > WORD_MAX)
		return complain_long(load, start);
	memcpy(word, start, size);
	word[size] = '\0';
	value = strchr(word, '=');
	if (value && value[1] == '"') {
		quoted = true;
		memmove(value + 1, value + 2, strlen(value + 2) + 1);
	}
	size = strlen(word);
	if (quoted && size && word[size - 1] == '"')
		word[size - 1] = '\0';
	return apply_word(load, word);
}

static int apply_kernel_line(struct load *load, const char *line)
{
	int r = 0;

	while (!r && *line) {
		size_t size = kernel_word_size(line);

		if (size == 2 && !strncmp(line, "--", 2))
			break; /* the rest is for init */
		if (size)
			r = apply_kernel_word(load, line, size);
		line += size;
		while (is_kernel_blank(*line))
			line++;
	}
	return r;
}

static int apply_kernel_file(struct load *load, const char *path)
{
	char *line = malloc(KERNEL_LINE_MAX + 1);
	FILE *file = fopen(path, "re");
	size_t got;
	int r;

	errno = line ? errno : ENOMEM;
	if (!line || !file)
		goto out_errno;
	got = fread(line, 1, KERNEL_LINE_MAX + 1, file);
	if (got > KERNEL_LINE_MAX)
		errno = EFBIG;
	if (got > KERNEL_LINE_MAX || ferror(file))
		goto out_errno;
	line[got] = '\0';
	r = apply_kernel_line(load, line);
	goto out_free;

out_errno:
	r = -errno;
	complain(load, "cannot read %s: %m", path);
out_free:
	if (file)
		fclose(file);
	free(line);
	return r;
}

static int apply_entry(void *opaque, const struct tm_ini_entry *entry,
		       char *error, size_t error_size)
{
	struct load *load = opaque;
	char *outer_error = load->error;
	size_t outer_size = load->error_size;
	int r = 0;

	if (strcmp(entry->section, "boot"))
		return 0;
	load->error = error;
	load->error_size = error_size;
	if (*entry->name)
		r = complain(load, "[boot] is written without a name");
	else if (entry->key)
		r = apply(load, entry->key, entry->value);
	load->error = outer_error;
	load->error_size = outer_size;
	return r;
}

static int apply_file(struct load *load, const char *path)
{
	const struct tm_ini ini = { path, apply_entry, load };

	return tm_ini_load(&ini, load->error, load->error_size);
}

/* Starts on a copy of @boot; *error is "" until something is wrong. */
static int load_begin(struct load *load, const struct tmem_boot *boot,
		      char *error, size_t error_size)
{
	*load = (struct load){ .error = error, .error_size = error_size };
	if (error_size)
		*error = '\0';
	if (boot->struct_size != sizeof(*boot))
		return complain(load, "the boot options were not initialised");
	load->boot = *boot;
	return 0;
}

/* The copy becomes the result. */
static int load_end(const struct load *load, struct tmem_boot *boot, int r)
{
	if (!r)
		*boot = load->boot;
	return r;
}

int tm_boot_load_sources(struct tmem_boot *boot,
			 const struct tm_boot_sources *sources, char *error,
			 size_t error_size)
{
	struct load load;
	int r = load_begin(&load, boot, error, error_size);

	if (!r && sources->file) {
		r = apply_file(&load, sources->file);
		if (r == -ENOENT && sources->is_file_optional) {
			r = 0;
			if (error_size)
				*error = '\0';
		}
	}
	if (!r && sources->kernel_file) {
		load.source = "kernel command line";
		r = apply_kernel_file(&load, sources->kernel_file);
	}
	if (!r && sources->environment) {
		load.source = "TMEM_BOOT";
		r = apply_words(&load, sources->environment);
	}
	if (!r && sources->words) {
		load.source = "--boot";
		r = apply_words(&load, sources->words);
	}
	return load_end(&load, boot, r);
}

int tm_boot_parse_kernel(struct tmem_boot *boot, const char *line, char *error,
			 size_t error_size)
{
	struct load load;
	int r = load_begin(&load, boot, error, error_size);

	load.source = "kernel command line";
	return load_end(&load, boot, r ? r : apply_kernel_line(&load, line));
}

void tmem_boot_init(struct tmem_boot *boot, enum tmem_boot_defaults defaults)
{
	bool ours = defaults != TMEM_BOOT_DEFAULTS_XEN;

	*boot = (struct tmem_boot){
		.struct_size = sizeof(*boot),
		.enabled = ours,
		.compress = ours,
		.shared_auth = ours,
	};
}

int tmem_boot_parse(struct tmem_boot *boot, const char *words, char *error,
		    size_t error_size)
{
	struct load load;
	int r = load_begin(&load, boot, error, error_size);

	return load_end(&load, boot, r ? r : apply_words(&load, words));
}

int tmem_boot_load(struct tmem_boot *boot, const char *file, const char *words,
		   uint32_t sources, char *error, size_t error_size)
{
	const struct tm_boot_sources places = {
		.file = file ? file : CONF_FILE,
		.is_file_optional = !file,
		.kernel_file = sources & TMEM_BOOT_KERNEL ? KERNEL_FILE : NULL,
		.environment = secure_getenv("TMEM_BOOT"),
		.words = words,
	};

	if (sources & ~TMEM_BOOT_KERNEL) {
		snprintf(error, error_size, "unknown source of boot options");
		return -EINVAL;
	}
	return tm_boot_load_sources(boot, &places, error, error_size);
}

void tmem_boot_apply(const struct tmem_boot *boot,
		     struct tmem_store_config *config, char *codec,
		     size_t codec_size)
{
	const uint64_t ours =
		TMEM_STORE_DISABLED | TMEM_STORE_DEDUP | TMEM_STORE_SHARED_OPEN;
	int size;

	config->flags &= ~ours;
	if (!boot->enabled)
		config->flags |= TMEM_STORE_DISABLED;
	if (boot->dedup)
		config->flags |= TMEM_STORE_DEDUP;
	if (!boot->shared_auth)
		config->flags |= TMEM_STORE_SHARED_OPEN;
	if (boot->memory_bytes)
		config->memory_bytes = boot->memory_bytes;
	config->allocator = *boot->allocator ? boot->allocator : NULL;

	config->codec = NULL;
	if (!boot->compress) {
		config->codec = "none";
	} else if (boot->has_level) {
		size = snprintf(codec, codec_size, "%s:%" PRId32, boot->codec,
				boot->level);
		/* Refused when the store is opened, rather than another one. */
		config->codec =
			size >= 0 && (size_t)size < codec_size ? codec : "";
	} else if (*boot->codec) {
		config->codec = boot->codec;
	}
	if (boot->tze && config->log)
		config->log(config->log_opaque, TMEM_LOG_INFO,
			    "tmem_tze changes nothing: codecs and same-filled "
			    "pages supersede it");
}

int tmem_size_parse(const char *text, uint64_t *bytes)
{
	return tm_size_parse(text, bytes);
}
