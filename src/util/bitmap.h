/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Bitmaps: an array of 64-bit words, bit b in word b / 64.
 *
 * The caller owns the words, knows how many bits count, and locks: nothing
 * here is atomic. Searches skip a whole word at a time and answer the number
 * of bits when there is nothing to be found. Bits past the last one that
 * counts are never looked at, so they may hold anything.
 */
#ifndef TM_BITMAP_H
#define TM_BITMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TM_BITMAP_WORD_BITS 64

/* How many words a bitmap of @bits needs. */
static inline size_t tm_bitmap_words(size_t bits)
{
	return bits / TM_BITMAP_WORD_BITS + !!(bits % TM_BITMAP_WORD_BITS);
}

static inline void tm_bitmap_set(uint64_t *words, size_t bit)
{
	words[bit / TM_BITMAP_WORD_BITS] |= UINT64_C(1)
					    << (bit % TM_BITMAP_WORD_BITS);
}

static inline void tm_bitmap_clear(uint64_t *words, size_t bit)
{
	words[bit / TM_BITMAP_WORD_BITS] &=
		~(UINT64_C(1) << (bit % TM_BITMAP_WORD_BITS));
}

static inline bool tm_bitmap_test(const uint64_t *words, size_t bit)
{
	return words[bit / TM_BITMAP_WORD_BITS] >> (bit % TM_BITMAP_WORD_BITS) &
	       1;
}

/*
 * The bits of word @word that lie in [from, end), as a mask. The word must
 * overlap that range.
 */
static inline uint64_t tm_bitmap_mask(size_t word, size_t from, size_t end)
{
	size_t first = word * TM_BITMAP_WORD_BITS;
	uint64_t mask = ~UINT64_C(0);

	if (from > first)
		mask <<= from - first;
	if (end - first < TM_BITMAP_WORD_BITS)
		mask &= (UINT64_C(1) << (end - first)) - 1;
	return mask;
}

static inline void tm_bitmap_set_range(uint64_t *words, size_t from,
				       size_t count)
{
	size_t end = from + count;

	if (!count)
		return;
	for (size_t w = from / TM_BITMAP_WORD_BITS;
	     w <= (end - 1) / TM_BITMAP_WORD_BITS; w++)
		words[w] |= tm_bitmap_mask(w, from, end);
}

static inline void tm_bitmap_clear_range(uint64_t *words, size_t from,
					 size_t count)
{
	size_t end = from + count;

	if (!count)
		return;
	for (size_t w = from / TM_BITMAP_WORD_BITS;
	     w <= (end - 1) / TM_BITMAP_WORD_BITS; w++)
		words[w] &= ~tm_bitmap_mask(w, from, end);
}

/* How many of the @count bits from @from on are set. */
static inline size_t tm_bitmap_count(const uint64_t *words, size_t from,
				     size_t count)
{
	size_t end = from + count, sum = 0;

	if (!count)
		return 0;
	for (size_t w = from / TM_BITMAP_WORD_BITS;
	     w <= (end - 1) / TM_BITMAP_WORD_BITS; w++)
		sum += (size_t)__builtin_popcountll(
			words[w] & tm_bitmap_mask(w, from, end));
	return sum;
}

/* @flip is 0 to search for a set bit, ~0 for a zero. */
static inline size_t tm_bitmap_find(const uint64_t *words, size_t bits,
				    size_t from, uint64_t flip)
{
	if (from >= bits)
		return bits;
	for (size_t w = from / TM_BITMAP_WORD_BITS;
	     w <= (bits - 1) / TM_BITMAP_WORD_BITS; w++) {
		uint64_t hits =
			(words[w] ^ flip) & tm_bitmap_mask(w, from, bits);

		if (hits)
			return w * TM_BITMAP_WORD_BITS +
			       (size_t)__builtin_ctzll(hits);
	}
	return bits;
}

/* The first set bit in [from, bits), or @bits. */
static inline size_t tm_bitmap_find_next_set(const uint64_t *words, size_t bits,
					     size_t from)
{
	return tm_bitmap_find(words, bits, from, 0);
}

/* The first zero bit in [from, bits), or @bits. */
static inline size_t tm_bitmap_find_next_zero(const uint64_t *words,
					      size_t bits, size_t from)
{
	return tm_bitmap_find(words, bits, from, ~UINT64_C(0));
}

/*
 * Where the first @count zeros in a row within [from, bits) begin, or @bits.
 * @count is at least 1.
 */
static inline size_t tm_bitmap_find_zero_run(const uint64_t *words, size_t bits,
					     size_t from, size_t count)
{
	size_t start = tm_bitmap_find_next_zero(words, bits, from);

	while (start < bits && count <= bits - start) {
		size_t end =
			tm_bitmap_find_next_set(words, start + count, start);

		if (end == start + count)
			return start;
		start = tm_bitmap_find_next_zero(words, bits, end);
	}
	return bits;
}

#endif
