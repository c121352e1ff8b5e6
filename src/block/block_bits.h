/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A bit for each block of a disk, that any thread may change at any time.
 *
 * bitmap.h is not atomic, and two requests on neighbouring blocks change the
 * same word. Each function is atomic for each word by itself; that the bits of
 * one block fit each other is the range lock's business. Nothing is ordered by
 * these bits, so all of it is relaxed.
 *
 * The memory comes zeroed from the system and is touched as bits are set: an
 * empty disk of 1 TiB costs address space.
 */
#ifndef TM_BLOCK_BITS_H
#define TM_BLOCK_BITS_H

#include <stdatomic.h>
#include <stdlib.h>

#include "bitmap.h"

typedef _Atomic uint64_t tm_bits_word;

static inline tm_bits_word *tm_bits_new(uint64_t count)
{
	return calloc(tm_bitmap_words(count), sizeof(tm_bits_word));
}

static inline uint64_t tm_bits_load(const tm_bits_word *bits, uint64_t word)
{
	return atomic_load_explicit(&bits[word], memory_order_relaxed);
}

static inline uint64_t tm_bits_one(uint64_t bit)
{
	return UINT64_C(1) << (bit % TM_BITMAP_WORD_BITS);
}

static inline bool tm_bits_test(const tm_bits_word *bits, uint64_t bit)
{
	return tm_bits_load(bits, bit / TM_BITMAP_WORD_BITS) & tm_bits_one(bit);
}

/* Both answer what the bit was. A bit that is right already costs no write. */
static inline bool tm_bits_set(tm_bits_word *bits, uint64_t bit)
{
	return tm_bits_test(bits, bit) ||
	       atomic_fetch_or_explicit(&bits[bit / TM_BITMAP_WORD_BITS],
					tm_bits_one(bit),
					memory_order_relaxed) &
		       tm_bits_one(bit);
}

static inline bool tm_bits_clear(tm_bits_word *bits, uint64_t bit)
{
	return tm_bits_test(bits, bit) &&
	       atomic_fetch_and_explicit(&bits[bit / TM_BITMAP_WORD_BITS],
					 ~tm_bits_one(bit),
					 memory_order_relaxed) &
		       tm_bits_one(bit);
}

/* How many of [@first, @end) it set that were not. */
static inline uint64_t tm_bits_set_range(tm_bits_word *bits, uint64_t first,
					 uint64_t end)
{
	uint64_t changed = 0;

	for (uint64_t w = first / TM_BITMAP_WORD_BITS;
	     first < end && w <= (end - 1) / TM_BITMAP_WORD_BITS; w++) {
		uint64_t mask = tm_bitmap_mask(w, first, end);
		uint64_t old = atomic_fetch_or_explicit(&bits[w], mask,
							memory_order_relaxed);

		changed += (uint64_t)__builtin_popcountll(mask & ~old);
	}
	return changed;
}

/* How many of [@first, @end) it cleared that were set. */
static inline uint64_t tm_bits_clear_range(tm_bits_word *bits, uint64_t first,
					   uint64_t end)
{
	uint64_t changed = 0;

	for (uint64_t w = first / TM_BITMAP_WORD_BITS;
	     first < end && w <= (end - 1) / TM_BITMAP_WORD_BITS; w++) {
		uint64_t mask = tm_bitmap_mask(w, first, end);
		uint64_t old;

		if (!(tm_bits_load(bits, w) & mask))
			continue;
		old = atomic_fetch_and_explicit(&bits[w], ~mask,
						memory_order_relaxed);
		changed += (uint64_t)__builtin_popcountll(mask & old);
	}
	return changed;
}

/* The first set bit in [@from, @end), or @end. */
static inline uint64_t tm_bits_next_set(const tm_bits_word *bits, uint64_t from,
					uint64_t end)
{
	for (uint64_t w = from / TM_BITMAP_WORD_BITS;
	     from < end && w <= (end - 1) / TM_BITMAP_WORD_BITS; w++) {
		uint64_t hits =
			tm_bits_load(bits, w) & tm_bitmap_mask(w, from, end);

		if (hits)
			return w * TM_BITMAP_WORD_BITS +
			       (uint64_t)__builtin_ctzll(hits);
	}
	return end;
}

#endif
