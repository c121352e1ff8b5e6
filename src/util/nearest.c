/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The known word that is nearest to a wrong one.
 *
 * The distance is that of Damerau and Levenshtein (optimal string alignment),
 * weighted by what people do: two letters swapped cost 1, a letter left out
 * or typed once too often 2, a wrong one 3; and a word that only breaks off too
 * early costs 1. Weights of 1 for everything would answer tmem_tze for
 * "tmem_mem", three wrong letters where tmem_memory has three missing ones, and
 * "on" for "n".
 *
 * Who meant a word types more of it right than wrong: a hint that would cost
 * more than a FAR_PARTth of deleting one word and typing the other is no help.
 *
 * Letter case does not count. Words are compared up to WORD_MAX bytes, so the
 * time is bounded whatever is typed. Three rows of the table are kept: a swap
 * looks two rows back.
 *
 * Nothing here is shared: any thread may ask.
 */
#include <config.h>

#include "nearest.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define WORD_MAX 64

#define COST_CUT 1
#define COST_SWAP 1
#define COST_INDEL 2
#define COST_WRONG 3

#define FAR_PART 3

/* Not tolower(): the answer must not hang on the locale. */
static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

static unsigned least(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

static bool begins_with(const char *word, const char *beginning, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (lower(word[i]) != lower(beginning[i]))
			return false;
	return true;
}

unsigned tm_nearest_distance(const char *typed, const char *known)
{
	unsigned rows[3][WORD_MAX + 1];
	size_t m = strnlen(typed, WORD_MAX), n = strnlen(known, WORD_MAX);

	if (m && m < n && begins_with(known, typed, m))
		return COST_CUT;
	for (unsigned j = 0; j <= n; j++)
		rows[0][j] = j * COST_INDEL;
	for (size_t i = 1; i <= m; i++) {
		unsigned *row = rows[i % 3], *up = rows[(i + 2) % 3];
		char a = lower(typed[i - 1]);

		row[0] = (unsigned)i * COST_INDEL;
		for (size_t j = 1; j <= n; j++) {
			char b = lower(known[j - 1]);
			unsigned cost = up[j - 1] + (a == b ? 0 : COST_WRONG);

			cost = least(cost, up[j] + COST_INDEL);
			cost = least(cost, row[j - 1] + COST_INDEL);
			if (i > 1 && j > 1 && a == lower(known[j - 2]) &&
			    b == lower(typed[i - 2]))
				cost = least(cost, rows[(i + 1) % 3][j - 2] +
							   COST_SWAP);
			row[j] = cost;
		}
	}
	return rows[m % 3][n];
}

const char *tm_nearest(const char *typed, const void *words, size_t count,
		       size_t stride)
{
	const char *best = NULL;
	unsigned best_distance = UINT_MAX;

	for (size_t i = 0; i < count; i++) {
		const char *word;
		unsigned distance;

		memcpy(&word, (const char *)words + i * stride, sizeof(word));
		distance = tm_nearest_distance(typed, word);
		if (distance < best_distance) {
			best_distance = distance;
			best = word;
		}
	}
	return best;
}

const char *tm_nearest_meant(const char *typed, const void *words, size_t count,
			     size_t stride)
{
	const char *best = tm_nearest(typed, words, count, stride);
	size_t letters;

	if (!best)
		return NULL;
	letters = strnlen(typed, WORD_MAX) + strnlen(best, WORD_MAX);
	return FAR_PART * tm_nearest_distance(typed, best) <=
			       COST_INDEL * letters
		       ? best
		       : NULL;
}

struct tm_nearest_hint tm_nearest_hint(const char *word, const char *before,
				       const char *after)
{
	struct tm_nearest_hint hint = { "" };

	if (word)
		snprintf(hint.text, sizeof(hint.text),
			 "; the nearest is %s%s%s", before, word, after);
	return hint;
}
