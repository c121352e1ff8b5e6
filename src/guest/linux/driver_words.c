/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The driver's options, as a command line has them.
 *
 * Built into a kernel the driver is off without the word `tmem`, and its
 * options are `tmem.NAME=VALUE` among the words of everybody else. As a module
 * it is on once it is loaded, and its options are all there is. Values are
 * those that a kernel takes for a boolean. All of a line counts, or nothing.
 */
#include <config.h>

#include <stddef.h>

#include <tmem/linux.h>

#include "versions.h"

struct option {
	const char *name;
	size_t offset; /* of its bool in the configuration */
};

static const struct option options[] = {
	{ "cleancache", offsetof(struct tmem_driver_config, use_cleancache) },
	{ "frontswap", offsetof(struct tmem_driver_config, use_frontswap) },
	{ "selfballooning",
	  offsetof(struct tmem_driver_config, use_selfballooning) },
	{ "selfshrinking",
	  offsetof(struct tmem_driver_config, use_selfshrinking) },
};

#define SPACE " \t\r\n\v\f"

/* A word is not terminated: it goes on to @end. */
static int parse_value(const char *value, const char *end, bool *is_on)
{
	char second = end - value > 1 ? value[1] : 0;

	if (value == end)
		return -EINVAL;
	if (strchr("yY1", *value) || ((*value == 'o' || *value == 'O') &&
				      (second == 'n' || second == 'N')))
		*is_on = true;
	else if (strchr("nN0", *value) || ((*value == 'o' || *value == 'O') &&
					   (second == 'f' || second == 'F')))
		*is_on = false;
	else
		return -EINVAL;
	return 0;
}

static int parse_option(struct tmem_driver_config *config, const char *word,
			const char *end)
{
	const char *equals = memchr(word, '=', (size_t)(end - word));
	size_t length = (size_t)((equals ? equals : end) - word);
	bool is_on = true;

	for (size_t i = 0; i < sizeof(options) / sizeof(*options); i++) {
		const struct option *option = &options[i];

		if (strlen(option->name) != length ||
		    memcmp(option->name, word, length))
			continue;
		if (equals && parse_value(equals + 1, end, &is_on))
			return -EINVAL;
		*(bool *)((char *)config + option->offset) = is_on;
		return 0;
	}
	return -EINVAL;
}

static int parse_kernel_word(struct tmem_driver_config *config,
			     const char *word, const char *end)
{
	static const char prefix[] = "tmem.";
	const size_t length = sizeof(prefix) - 1;

	if (end - word == 4 && !memcmp(word, "tmem", 4))
		config->is_enabled = true;
	if ((size_t)(end - word) < length || memcmp(word, prefix, length))
		return 0;
	return parse_option(config, word + length, end);
}

int tmem_driver_parse(struct tmem_driver_config *config,
		      enum tmem_driver_words kind, const char *words)
{
	struct tmem_driver_config changed;

	if (tm_known_check(config, sizeof(*config)) || !words ||
	    (kind != TMEM_DRIVER_KERNEL && kind != TMEM_DRIVER_MODULE))
		return -EINVAL;
	changed = *config;
	if (kind == TMEM_DRIVER_MODULE)
		changed.is_enabled = true;
	for (words += strspn(words, SPACE); *words;) {
		const char *end = words + strcspn(words, SPACE);
		int err = kind == TMEM_DRIVER_MODULE
				  ? parse_option(&changed, words, end)
				  : parse_kernel_word(&changed, words, end);

		if (err)
			return err;
		words = end + strspn(end, SPACE);
	}
	*config = changed;
	return 0;
}
