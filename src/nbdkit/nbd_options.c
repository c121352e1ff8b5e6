/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The plugin's options: kept as they come, then checked together.
 *
 * Each message names the option and what was given, and says what would be
 * right. Whatever a store or a disk can say better (is there a codec of that
 * name, does the file have room) is left to them.
 *
 * No lock: nbdkit calls these one after the other, before it has threads.
 */
#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>

#include "nbd_options.h"
#include "nearest.h"

#define SECTOR_SIZE 512
#define TIMEOUT_SECONDS_MAX 86400

static const char *const names[] = {
#define OPTION_NAME(key, argument, help) #key,
	TM_NBD_OPTIONS(OPTION_NAME)
};

int tm_nbd_options_set(struct tm_nbd_options *options, const char *key,
		       const char *value)
{
	for (int i = 0; i < TM_NBD_OPTION_COUNT; i++) {
		if (strcmp(key, names[i]))
			continue;
		if (options->value[i]) {
			nbdkit_error("%s= is given twice: \"%s\" and \"%s\"",
				     key, options->value[i], value);
			return -EINVAL;
		}
		if (!*value) {
			nbdkit_error("%s= wants a value", key);
			return -EINVAL;
		}
		options->value[i] = value;
		return 0;
	}
	nbdkit_error(
		"unknown option \"%s=\"; the nearest is \"%s=\"", key,
		tm_nearest(key, names, TM_NBD_OPTION_COUNT, sizeof(names[0])));
	return -EINVAL;
}

/* --- values -------------------------------------------------------- */

static int check_size(const struct tm_nbd_options *options,
		      enum tm_nbd_option option, uint64_t *bytes)
{
	const char *value = options->value[option];

	if (!value)
		return 0;
	if (!tmem_size_parse(value, bytes) && *bytes <= INT64_MAX)
		return 0;
	nbdkit_error("%s=%s is not a size such as 64M or 1.5G", names[option],
		     value);
	return -EINVAL;
}

static int check_bool(const struct tm_nbd_options *options,
		      enum tm_nbd_option option, bool *is_set)
{
	int answer;

	if (!options->value[option])
		return 0;
	answer = nbdkit_parse_bool(options->value[option]);
	*is_set = answer == 1;
	return answer < 0 ? -EINVAL : 0;
}

static int check_timeout(struct tm_nbd_options *options)
{
	const char *value = options->value[TM_NBD_timeout];
	uint32_t seconds;

	if (!value)
		return 0;
	if (nbdkit_parse_uint32_t("timeout", value, &seconds))
		return -EINVAL;
	if (!seconds || seconds > TIMEOUT_SECONDS_MAX) {
		nbdkit_error("timeout=%s is not from 1 to %d seconds", value,
			     TIMEOUT_SECONDS_MAX);
		return -EINVAL;
	}
	options->timeout_ms = seconds * 1000;
	return 0;
}

static int check_name(const struct tm_nbd_options *options)
{
	const char *value = options->value[TM_NBD_name];

	if (!value || strlen(value) <= TMEM_CLIENT_NAME_MAX)
		return 0;
	nbdkit_error("name=%s is longer than %d bytes", value,
		     TMEM_CLIENT_NAME_MAX);
	return -EINVAL;
}

/* The server changes its folder before it serves. */
static int make_absolute(struct tm_nbd_options *options)
{
	static const enum tm_nbd_option paths[] = {
		TM_NBD_image,
		TM_NBD_socket,
		TM_NBD_arena,
		TM_NBD_backing,
	};

	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		enum tm_nbd_option option = paths[i];

		if (!options->value[option])
			continue;
		options->path[option] =
			nbdkit_absolute_path(options->value[option]);
		if (!options->path[option])
			return -EINVAL;
		options->value[option] = options->path[option];
	}
	return 0;
}

/* --- values together ----------------------------------------------- */

/* What only makes sense beside something else, and what never does. */
struct combination {
	enum tm_nbd_option option;
	enum tm_nbd_option other;
	bool is_needed; /* the other one; else it must not be */
	const char *why;
};

static const struct combination combinations[] = {
	{ TM_NBD_size, TM_NBD_image, false, "the image says the size" },
	{ TM_NBD_memory, TM_NBD_socket, false,
	  "pages are kept in this process or in tmemd" },
	{ TM_NBD_codec, TM_NBD_memory, true,
	  "tmemd chooses for its clients: see tmemd --boot, tmem set" },
	{ TM_NBD_allocator, TM_NBD_memory, true,
	  "tmemd chooses for its clients: see tmemd --boot" },
	{ TM_NBD_arena, TM_NBD_memory, true, "it keeps this process's pages" },
	{ TM_NBD_dedup, TM_NBD_memory, true,
	  "tmemd chooses for its clients: see tmemd --boot" },
	{ TM_NBD_backing, TM_NBD_size, true,
	  "an image keeps every block already" },
	{ TM_NBD_share, TM_NBD_image, true,
	  "only an image's pages are shared" },
	{ TM_NBD_share, TM_NBD_socket, true,
	  "a store in this process has one client" },
	{ TM_NBD_timeout, TM_NBD_socket, true,
	  "a store in this process never goes away" },
};

static int check_combinations(const struct tm_nbd_options *options)
{
	for (size_t i = 0; i < sizeof(combinations) / sizeof(combinations[0]);
	     i++) {
		const struct combination *c = &combinations[i];

		if (!options->value[c->option] ||
		    !options->value[c->other] == !c->is_needed)
			continue;
		nbdkit_error("%s= %s %s=: %s", names[c->option],
			     c->is_needed ? "wants" : "does not go with",
			     names[c->other], c->why);
		return -EINVAL;
	}
	return 0;
}

static int check_sizes(struct tm_nbd_options *options)
{
	if (check_size(options, TM_NBD_size, &options->size_bytes) ||
	    check_size(options, TM_NBD_memory, &options->memory_bytes))
		return -EINVAL;
	if (options->value[TM_NBD_size] &&
	    (!options->size_bytes || options->size_bytes % SECTOR_SIZE)) {
		nbdkit_error("size=%s is not a multiple of %d bytes, and more "
			     "than none",
			     options->value[TM_NBD_size], SECTOR_SIZE);
		return -EINVAL;
	}
	if (options->value[TM_NBD_memory] &&
	    options->memory_bytes < TMEM_MEMORY_MIN) {
		nbdkit_error("memory=%s is too little: a store needs at least "
			     "%" PRIu64 "K",
			     options->value[TM_NBD_memory],
			     TMEM_MEMORY_MIN >> 10);
		return -EINVAL;
	}
	return 0;
}

int tm_nbd_options_check(struct tm_nbd_options *options)
{
	if (!options->value[TM_NBD_size] && !options->value[TM_NBD_image]) {
		nbdkit_error("how big is the disk? Say size=4G, or image=FILE "
			     "for a cache in front of an image");
		return -EINVAL;
	}
	if (!options->value[TM_NBD_memory] && !options->value[TM_NBD_socket]) {
		nbdkit_error("where do pages go? Say memory=1G to keep them in "
			     "this process, or socket=PATH of a tmemd");
		return -EINVAL;
	}
	if (check_combinations(options) || check_sizes(options) ||
	    check_bool(options, TM_NBD_dedup, &options->dedup) ||
	    check_bool(options, TM_NBD_readonly, &options->is_readonly) ||
	    check_timeout(options) || check_name(options))
		return -EINVAL;
	return make_absolute(options);
}

void tm_nbd_options_clear(struct tm_nbd_options *options)
{
	for (int i = 0; i < TM_NBD_OPTION_COUNT; i++) {
		free(options->path[i]);
		options->path[i] = NULL;
		options->value[i] = NULL;
	}
}
