/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which codecs and allocators a verb works with: all there are, or those that
 * "--codec lz4,zstd:3" and "--allocator zbud" name.
 *
 * Names are looked up before any work is done, so that a wrong one costs a
 * sentence that names the nearest, not a minute.
 */
#ifndef TM_CHOICE_H
#define TM_CHOICE_H

#include <stdint.h>

#include <tmem/tmem.h>

#define TM_CHOICE_MAX 32

struct tm_chosen_codec {
	const struct tmem_codec *table;
	int32_t level;
	char spec[TMEM_PLUGIN_NAME_MAX + 16];	/* "NAME" or "NAME:LEVEL" */
};

struct tm_choice {
	struct tmem_plugins *plugins;
	struct tm_chosen_codec codecs[TM_CHOICE_MAX];
	size_t codec_count;
	const struct tmem_allocator *allocators[TM_CHOICE_MAX];
	size_t allocator_count;
};

/**
 * tm_choice_make() - look names up
 * @choice: filled in; to be freed whatever is returned
 * @codecs: names separated by commas; NULL: all
 * @allocators: likewise
 *
 * Return: 0, -EINVAL after a message (an unknown name or level), -ENOMEM.
 */
int tm_choice_make(struct tm_choice *choice, const char *codecs,
		   const char *allocators);
void tm_choice_free(struct tm_choice *choice);

#endif
