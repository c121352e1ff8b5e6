/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * "Did you mean ...?": the known word that is nearest to a wrong one (see
 * nearest.c).
 */
#ifndef TM_NEAREST_H
#define TM_NEAREST_H

#include <stddef.h>

/*
 * How far @known is from what somebody typed: 0 is the same, letter case
 * aside.
 */
unsigned tm_nearest_distance(const char *typed, const char *known);

/*
 * The nearest of @count words, the first of equals; NULL if there is none.
 * @words is an array of structures of @stride bytes, each of which begins
 * with a const char *: a table of options, or plainly an array of strings.
 */
const char *tm_nearest(const char *typed, const void *words, size_t count,
		       size_t stride);

/* The same, but NULL as well when even the nearest is so far that nobody can
 * have meant it. */
const char *tm_nearest_meant(const char *typed, const void *words, size_t count,
			     size_t stride);

struct tm_nearest_hint {
	char text[128];
};

/* "; the nearest is " and @word between @before and @after; "" for NULL. */
struct tm_nearest_hint tm_nearest_hint(const char *word, const char *before,
				       const char *after);

#endif
