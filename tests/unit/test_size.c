/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sizes as people write them (src/util/size.c): every unit in every spelling,
 * exact up to the last byte of 64 bits, and nothing else.
 */
#include <config.h>

#include "harness.h"
#include "size.h"

#include <errno.h>
#include <tmem/tmem.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const struct {
	const char *text;
	uint64_t bytes;
} sizes[] = {
	{ "0", 0 },
	{ "4096", 4096 },
	{ "007", 7 },
	{ "64M", UINT64_C(64) << 20 },
	{ "1.5G", UINT64_C(3) << 29 },
	{ "512KiB", UINT64_C(512) << 10 },
	{ "1T", UINT64_C(1) << 40 },
	{ "0.5k", 512 },
	{ "0.0009765625K", 1 },
	/* Rounded down to whole bytes. */
	{ "0.0009765624K", 0 },
	{ "0.1K", 102 },
	{ "1.9999999999999999999999999T", (UINT64_C(2) << 40) - 1 },
	{ "0.50000000000000000000000000000000000000000T", UINT64_C(1) << 39 },
	{ "18446744073709551615", UINT64_MAX },
	{ "16777215T", UINT64_C(16777215) << 40 },
	{ "16777215.999999999999999999T", UINT64_MAX },
};

START_TEST(sizes_are_exact)
{
	uint64_t bytes = 1;

	ck_assert_int_eq(tm_size_parse(sizes[_i].text, &bytes), 0);
	ck_assert_msg(bytes == sizes[_i].bytes, "%s: %" PRIu64 ", not %" PRIu64,
		      sizes[_i].text, bytes, sizes[_i].bytes);
}
END_TEST

START_TEST(every_unit_in_every_spelling)
{
	static const char *const ends[] = {
		"", "B", "b", "iB", "IB", "ib", "Ib"
	};
	static const char letters[] = "KkMmGgTt";

	for (size_t i = 0; letters[i]; i++) {
		for (size_t j = 0; j < COUNT(ends); j++) {
			char text[16];
			uint64_t bytes = 0;

			snprintf(text, sizeof(text), "3%c%s", letters[i],
				 ends[j]);
			ck_assert_msg(!tm_size_parse(text, &bytes), "%s", text);
			ck_assert_uint_eq(bytes, UINT64_C(3)
							 << 10 * (i / 2 + 1));
		}
	}
}
END_TEST

static const char *const nonsense[] = {
	"",       "K",    ".5K",  "1.",     "1.K",
	"1.5",    "1.0",  "-1",   "+1",     " 1",
	"1 ",     "1 K",  "1K ",  "1KK",    "1Ki",
	"1i",     "1iB",  "1B",   "1P",     "0x10",
	"1e3",    "1,5G", "inf",  "1.5.5G", "1K\n",
	"1\xc2K", "1BiK", "1KBB", "1KiBB",  "1KBi",
	"1[",     "nan",  "one",  "1\x0b",  "99999999999999999999999x",
};

START_TEST(nonsense_is_refused)
{
	uint64_t bytes = 7;

	ck_assert_msg(tm_size_parse(nonsense[_i], &bytes) == -EINVAL, "\"%s\"",
		      nonsense[_i]);
	ck_assert_uint_eq(bytes, 7);
}
END_TEST

static const char *const huge[] = {
	"18446744073709551616",
	"16777216T",
	"17179869184G",
	"99999999999999999999999999999999999999999999999999",
	"99999999999999999999999999999999999999999999999999T",
	"36893488147419103232", /* 2^65: must not wrap to a small one */
};

START_TEST(what_does_not_fit_is_out_of_range)
{
	uint64_t bytes = 7;

	ck_assert_int_eq(tm_size_parse(huge[_i], &bytes), -ERANGE);
	ck_assert_uint_eq(bytes, 7);
}
END_TEST

START_TEST(the_public_name_is_the_same)
{
	uint64_t bytes = 0;

	ck_assert_int_eq(tmem_size_parse("1.5G", &bytes), 0);
	ck_assert_uint_eq(bytes, UINT64_C(3) << 29);
	ck_assert_int_eq(tmem_size_parse("1.5", &bytes), -EINVAL);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("size");
	TCase *tc = tcase_create("size");

	tcase_add_loop_test(tc, sizes_are_exact, 0, COUNT(sizes));
	tcase_add_test(tc, every_unit_in_every_spelling);
	tcase_add_loop_test(tc, nonsense_is_refused, 0, COUNT(nonsense));
	tcase_add_loop_test(tc, what_does_not_fit_is_out_of_range, 0,
			    COUNT(huge));
	tcase_add_test(tc, the_public_name_is_the_same);
	suite_add_tcase(suite, tc);
	return tm_test_run(suite);
}
