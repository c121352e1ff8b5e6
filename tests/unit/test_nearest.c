/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * "Did you mean ...?" (src/util/nearest.c): the distance obeys its rules, and
 * the slips that people make find the word they meant.
 */
#include <config.h>

#include "harness.h"
#include "nearest.h"

#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const struct {
	const char *typed;
	const char *known;
	unsigned distance;
} distances[] = {
	{ "", "", 0 },
	{ "zstd", "zstd", 0 },
	{ "ZsTd", "zstd", 0 },
	{ "zsdt", "zstd", 1 },
	{ "std", "zstd", 2 },
	{ "zstdd", "zstd", 2 },
	{ "zttd", "zstd", 3 },
	{ "", "abc", 6 },
	{ "abc", "", 6 },
	{ "bad", "abd", 1 },
	{ "abcdef", "badcfe", 3 },
	{ "Zs", "zstd", 1 },
};

START_TEST(slips_cost_what_they_should)
{
	ck_assert_uint_eq(
		tm_nearest_distance(distances[_i].typed, distances[_i].known),
		distances[_i].distance);
}
END_TEST

static const struct {
	const char *typed;
	const char *meant;
} slips[] = {
	{ "tmem_dedpu", "tmem_dedup" },
	{ "dedup", "tmem_dedup" },
	{ "tmem-compress", "tmem_compress" },
	{ "tmem_mem", "tmem_memory" },
	{ "tmem_comp", "tmem_compress" },
	{ "TMEM", "tmem" },
	{ "tmen", "tmem" },
	{ "shared_auth", "tmem_shared_auth" },
	{ "tmem_shared", "tmem_shared_auth" },
	{ "tmem_tez", "tmem_tze" },
	{ "", "tmem" },
};

START_TEST(slips_find_the_word_that_was_meant)
{
	static const char *const known[] = {
		"tmem",     "tmem_compress",    "tmem_allocator", "tmem_dedup",
		"tmem_tze", "tmem_shared_auth", "tmem_memory",
	};

	ck_assert_str_eq(tm_nearest(slips[_i].typed, known, COUNT(known),
				    sizeof(known[0])),
			 slips[_i].meant);
}
END_TEST

START_TEST(a_word_that_breaks_off_is_the_longer_one)
{
	static const char *const known[] = { "on", "off", "yes", "no" };

	ck_assert_str_eq(tm_nearest("n", known, 4, sizeof(known[0])), "no");
	ck_assert_str_eq(tm_nearest("y", known, 4, sizeof(known[0])), "yes");
}
END_TEST

START_TEST(the_first_of_equals_wins)
{
	static const char *const known[] = { "aX", "aY" };

	ck_assert_str_eq(tm_nearest("a", known, 2, sizeof(known[0])), "aX");
	ck_assert_ptr_null(tm_nearest("a", known, 0, sizeof(known[0])));
}
END_TEST

START_TEST(what_nobody_can_have_meant_is_no_hint)
{
	static const char *const known[] = { "estimate", "freeze", "list" };

	ck_assert_ptr_null(
		tm_nearest_meant("frobnicate", known, 3, sizeof(known[0])));
	ck_assert_ptr_null(tm_nearest_meant("", known, 3, sizeof(known[0])));
	ck_assert_ptr_null(tm_nearest_meant("x", known, 0, sizeof(known[0])));
	ck_assert_str_eq(tm_nearest_meant("e", known, 3, sizeof(known[0])),
			 "estimate");
	ck_assert_str_eq(tm_nearest_meant("frieze", known, 3, sizeof(known[0])),
			 "freeze");
	ck_assert_str_eq(tm_nearest_hint("a", "<", ">").text,
			 "; the nearest is <a>");
	ck_assert_str_eq(tm_nearest_hint(NULL, "<", ">").text, "");
}
END_TEST

START_TEST(long_words_are_compared_by_their_beginning)
{
	char longer[1000];

	memset(longer, 'a', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	ck_assert_uint_eq(tm_nearest_distance(longer, longer + 500), 0);
	ck_assert_uint_eq(tm_nearest_distance(longer, ""), 128);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("nearest");
	TCase *tc = tcase_create("nearest");

	tcase_add_loop_test(tc, slips_cost_what_they_should, 0,
			    COUNT(distances));
	tcase_add_loop_test(tc, slips_find_the_word_that_was_meant, 0,
			    COUNT(slips));
	tcase_add_test(tc, a_word_that_breaks_off_is_the_longer_one);
	tcase_add_test(tc, the_first_of_equals_wins);
	tcase_add_test(tc, what_nobody_can_have_meant_is_no_hint);
	tcase_add_test(tc, long_words_are_compared_by_their_beginning);
	suite_add_tcase(suite, tc);
	return tm_test_run(suite);
}
