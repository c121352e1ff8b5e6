/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Bitmaps (src/util/bitmap.h) against an array of bool, at random and of
 * random length; bits past the last one are set, and must never show.
 */
#include <config.h>

#include "bitmap.h"
#include "harness.h"

#include <string.h>

#define BITS_MAX 300
#define WORDS_MAX (BITS_MAX / 64 + 2)

struct pair {
	size_t bits;
	uint64_t words[WORDS_MAX];
	bool model[BITS_MAX];
};

static size_t below(uint64_t *state, size_t end)
{
	return end ? (size_t)(tm_test_random(state) % end) : 0;
}

/* Runs of set and zero bits of all lengths; everything past them is @fill. */
static void fill_pair(struct pair *p, uint64_t *state, int fill)
{
	p->bits = below(state, BITS_MAX + 1);
	memset(p->words, fill, sizeof(p->words));
	for (size_t bit = 0; bit < p->bits;) {
		size_t size = 1 + below(state, 1 + below(state, 150));
		bool value = tm_test_random(state) & 1;

		for (; size-- && bit < p->bits; bit++) {
			p->model[bit] = value;
			if (value)
				tm_bitmap_set(p->words, bit);
			else
				tm_bitmap_clear(p->words, bit);
		}
	}
}

static size_t model_run(const struct pair *p, size_t from, size_t count,
			bool value)
{
	for (size_t start = from; start < p->bits; start++) {
		size_t size = 0;

		while (size < count && start + size < p->bits &&
		       p->model[start + size] == value)
			size++;
		if (size == count)
			return start;
	}
	return p->bits;
}

static void check_pair(const struct pair *p, uint64_t *state)
{
	size_t from = below(state, p->bits + 3);
	size_t count = 1 + below(state, 1 + below(state, 140));
	size_t start = below(state, p->bits + 1);
	size_t span = below(state, p->bits - start + 1), sum = 0;

	for (size_t bit = 0; bit < p->bits; bit++)
		if (tm_bitmap_test(p->words, bit) != p->model[bit])
			ck_abort_msg("bit %zu of %zu", bit, p->bits);
	ck_assert_uint_eq(tm_bitmap_find_next_set(p->words, p->bits, from),
			  model_run(p, from, 1, true));
	ck_assert_uint_eq(tm_bitmap_find_next_zero(p->words, p->bits, from),
			  model_run(p, from, 1, false));
	ck_assert_uint_eq(
		tm_bitmap_find_zero_run(p->words, p->bits, from, count),
		model_run(p, from, count, false));
	for (size_t bit = start; bit < start + span; bit++)
		sum += p->model[bit];
	ck_assert_uint_eq(tm_bitmap_count(p->words, start, span), sum);
}

START_TEST(searches_and_counts_agree_with_the_model)
{
	uint64_t state = tm_test_seed();

	for (int round = 0; round < 20000; round++) {
		struct pair p;

		fill_pair(&p, &state, round & 1 ? 0xff : 0);
		check_pair(&p, &state);
	}
}
END_TEST

START_TEST(ranges_change_their_bits_and_no_other)
{
	uint64_t state = tm_test_seed();

	for (int round = 0; round < 5000; round++) {
		bool value = tm_test_random(&state) & 1;
		size_t from, count;
		struct pair p;

		fill_pair(&p, &state, 0);
		from = below(&state, p.bits + 1);
		count = below(&state, p.bits - from + 1);
		if (value)
			tm_bitmap_set_range(p.words, from, count);
		else
			tm_bitmap_clear_range(p.words, from, count);
		for (size_t bit = from; bit < from + count; bit++)
			p.model[bit] = value;
		check_pair(&p, &state);
		for (size_t bit = p.bits; bit < WORDS_MAX * 64; bit++)
			if (tm_bitmap_test(p.words, bit))
				ck_abort_msg("bit %zu of %zu", bit, p.bits);
	}
}
END_TEST

START_TEST(a_run_may_take_every_bit_and_no_more)
{
	uint64_t words[3] = { 0 };

	ck_assert_uint_eq(tm_bitmap_find_zero_run(words, 192, 0, 192), 0);
	ck_assert_uint_eq(tm_bitmap_find_zero_run(words, 192, 0, 193), 192);
	ck_assert_uint_eq(tm_bitmap_find_zero_run(words, 192, 1, 192), 192);
	ck_assert_uint_eq(tm_bitmap_find_zero_run(words, 192, 0, SIZE_MAX),
			  192);
	tm_bitmap_set(words, 63);
	ck_assert_uint_eq(tm_bitmap_find_zero_run(words, 192, 0, 64), 64);
	ck_assert_uint_eq(tm_bitmap_find_zero_run(words, 192, 0, 63), 0);
}
END_TEST

START_TEST(words_are_enough_for_the_bits)
{
	ck_assert_uint_eq(tm_bitmap_words(0), 0);
	ck_assert_uint_eq(tm_bitmap_words(1), 1);
	ck_assert_uint_eq(tm_bitmap_words(64), 1);
	ck_assert_uint_eq(tm_bitmap_words(65), 2);
	ck_assert_uint_eq(tm_bitmap_words(SIZE_MAX), SIZE_MAX / 64 + 1);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("bitmap");
	TCase *tc = tcase_create("bitmap");

	tcase_add_test(tc, searches_and_counts_agree_with_the_model);
	tcase_add_test(tc, ranges_change_their_bits_and_no_other);
	tcase_add_test(tc, a_run_may_take_every_bit_and_no_more);
	tcase_add_test(tc, words_are_enough_for_the_bits);
	suite_add_tcase(suite, tc);
	return tm_test_run(suite);
}
