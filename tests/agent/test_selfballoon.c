/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The control law against what is documented of it: vectors of the floor,
 * traces of both loops, what may be written to a tunable, and when it is on.
 * Those named after a revision are faults that the original patch had on its
 * way in.
 */
#include <config.h>

#include <errno.h>
#include <string.h>

#include "harness.h"
#include "selfballoon.h"

#define S UINT64_C(1000000000)
#define MIB(mib) ((uint64_t)((mib)*256.0))

/* A guest where everything is as it should be. */
static const struct tm_selfballoon_boot usual = {
	.is_guest = true,
	.has_balloon = true,
	.is_tmem_enabled = true,
	.is_frontswap_built = true,
	.is_frontswap_enabled = true,
};

static void start(struct tm_selfballoon *sb)
{
	ck_assert_int_eq(tm_selfballoon_init(sb, &usual, 0), 0);
}

/* --- the floor --------------------------------------------------------- */

START_TEST(floor_is_the_documented_piecewise_one)
{
	static const struct {
		unsigned usable_mib;
		double floor_mib;
	} rows[] = {
		{ 16, 16 },
		{ 32, 24 },
		{ 63, 39.5 },
		{ 64, 43 },
		{ 128, 51 },
		{ 256, 67 },
		{ 511, 98.875 },
		{ 512, 111.90625 },
		{ 1024, 127.90625 },
		{ 2048, 159.90625 },
		{ 4096, 223.90625 },
		{ 8192, 351.90625 },
		{ 16384, 607.90625 },
		{ 32768, 1119.90625 },
		{ 65536, 2143.90625 },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		ck_assert_uint_eq(
			tm_selfballoon_floor(MIB(rows[i].usable_mib), 0, 0),
			MIB(rows[i].floor_mib));
		/* The reserve comes on top, on both sides. */
		ck_assert_uint_eq(
			tm_selfballoon_floor(MIB(rows[i].usable_mib) + 777, 777,
					     0),
			MIB(rows[i].floor_mib) + 777);
	}
}
END_TEST

START_TEST(floor_jumps_at_64_and_512_mib)
{
	ck_assert_uint_eq(tm_selfballoon_floor(MIB(64), 0, 0) -
				  tm_selfballoon_floor(MIB(64) - 1, 0, 0),
			  MIB(3) + 1);
	ck_assert_uint_ge(tm_selfballoon_floor(MIB(512), 0, 0) -
				  tm_selfballoon_floor(MIB(512) - 1, 0, 0),
			  MIB(12.9));
}
END_TEST

START_TEST(guest_below_16_mib_is_left_alone)
{
	ck_assert_uint_eq(tm_selfballoon_floor(MIB(16) - 1, 0, 0), MIB(16) - 1);
	/* A reserve above everything does not wrap. */
	ck_assert_uint_eq(tm_selfballoon_floor(100, 200, 0), 100);
}
END_TEST

START_TEST(min_usable_replaces_the_floor)
{
	ck_assert_uint_eq(tm_selfballoon_floor(MIB(1024), 10, 64),
			  MIB(64) + 10);
	ck_assert_uint_eq(tm_selfballoon_floor(1000, 10, UINT32_MAX),
			  MIB(1.0) * UINT32_MAX + 10);
}
END_TEST

/* --- the step ---------------------------------------------------------- */

START_TEST(surplus_decays_by_an_eighth)
{
	/* 1 GiB towards 300 MiB: 671, 490, 350, 313 at 25, 50, 100, 150 s */
	static const struct {
		unsigned s;
		unsigned mib;
	} rows[] = { { 25, 671 }, { 50, 490 }, { 100, 350 }, { 150, 313 } };
	struct tm_selfballoon sb;
	struct tm_selfballoon_step step;
	struct tm_selfballoon_reading reading = {
		.usable_pages = MIB(1024),
		.current_pages = MIB(1024),
		.committed_pages = MIB(300),
		.max_pages = MIB(1024),
	};
	size_t row = 0;

	start(&sb);
	for (unsigned s = 0; s <= 150; s++) {
		if (!tm_selfballoon_is_due(&sb, s * S))
			continue;
		tm_selfballoon_pass(&sb, &reading, s * S, &step);
		ck_assert(step.has_target);
		reading.usable_pages = step.target_pages;
		reading.current_pages = step.target_pages;
		if (s == rows[row].s)
			ck_assert_uint_eq((step.target_pages + 128) / 256,
					  rows[row++].mib);
	}
	ck_assert_uint_eq(row, 4);
}
END_TEST

START_TEST(growth_takes_one_step)
{
	struct tm_selfballoon sb;
	struct tm_selfballoon_reading reading = {
		.usable_pages = 1000000,
		.current_pages = 1000000,
		.committed_pages = 2000000,
		.reserve_pages = 5000,
		.max_pages = 4000000,
	};

	start(&sb);
	ck_assert_uint_eq(tm_selfballoon_target(&sb.tunables, &reading),
			  2005000);
	sb.tunables.selfballoon_uphysteresis = 4;
	ck_assert_uint_eq(tm_selfballoon_target(&sb.tunables, &reading),
			  1000000 + 1005000 / 4);
}
END_TEST

START_TEST(goal_counts_reserve_headroom_and_frontswap)
{
	struct tm_selfballoon sb;
	struct tm_selfballoon_reading reading = {
		.committed_pages = 1000,
		.reserve_pages = 200,
		.frontswap_pages = 30,
	};

	start(&sb);
	sb.tunables.selfballoon_reserved_mb = 1;
	ck_assert_uint_eq(tm_selfballoon_goal(&sb.tunables, &reading),
			  1000 + 200 + 256 + 30);
	/* Without selfshrinking nothing is to come back. */
	sb.tunables.frontswap_selfshrinking = 0;
	ck_assert_uint_eq(tm_selfballoon_goal(&sb.tunables, &reading),
			  1000 + 200 + 256);
	/* And nothing wraps. */
	reading.committed_pages = UINT64_MAX - 5;
	ck_assert_uint_eq(tm_selfballoon_goal(&sb.tunables, &reading),
			  UINT64_MAX);
}
END_TEST

START_TEST(revision_accounting_target_is_a_reservation)
{
	/* The first versions passed usable pages on as the target: what the
	 * kernel keeps for itself (here 3000 pages) was ballooned away too. */
	struct tm_selfballoon sb;
	struct tm_selfballoon_reading reading = {
		.usable_pages = 250000,
		.current_pages = 253000,
		.committed_pages = 250000,
		.max_pages = 262144,
	};

	start(&sb);
	ck_assert_uint_eq(tm_selfballoon_target(&sb.tunables, &reading),
			  253000);
	/* And a driver that is behind is not wrapped around. */
	reading.current_pages = 240000;
	ck_assert_uint_eq(tm_selfballoon_target(&sb.tunables, &reading),
			  240000);
}
END_TEST

START_TEST(target_stays_above_floor)
{
	struct tm_selfballoon sb;
	struct tm_selfballoon_reading reading = {
		.usable_pages = MIB(1024),
		.current_pages = MIB(1024),
		.max_pages = MIB(1024),
	};

	start(&sb);
	for (int i = 0; i < 200; i++) {
		uint64_t target = tm_selfballoon_target(&sb.tunables, &reading);

		reading.usable_pages = reading.current_pages = target;
	}
	ck_assert_uint_eq(reading.usable_pages, MIB(127.90625));
}
END_TEST

/* --- selfshrinking ----------------------------------------------------- */

static bool shrink(struct tm_selfballoon *sb, uint64_t pages, uint64_t *left)
{
	const struct tm_selfballoon_reading reading = {
		.usable_pages = 1000,
		.current_pages = 1000,
		.max_pages = 1000,
		.frontswap_pages = pages,
	};
	struct tm_selfballoon_step step;

	tm_selfballoon_pass(sb, &reading, 0, &step);
	*left = step.frontswap_pages;
	return step.has_shrink;
}

START_TEST(selfshrinking_waits_for_inertia)
{
	struct tm_selfballoon sb;
	uint64_t left;

	start(&sb);
	ck_assert(!shrink(&sb, 100, &left)); /* grew from 0 */
	ck_assert(!shrink(&sb, 100, &left));
	ck_assert(!shrink(&sb, 100, &left));
	ck_assert(shrink(&sb, 100, &left));
	ck_assert_uint_eq(left, 95);
	/* From then on at each pass. */
	ck_assert(shrink(&sb, 95, &left));
	ck_assert_uint_eq(left, 91);
	ck_assert(shrink(&sb, 91, &left));
	ck_assert_uint_eq(left, 87);
	/* Growth arms it again. */
	ck_assert(!shrink(&sb, 92, &left));
	ck_assert(!shrink(&sb, 92, &left));
	ck_assert(!shrink(&sb, 92, &left));
	ck_assert(shrink(&sb, 92, &left));
}
END_TEST

START_TEST(last_pages_are_pulled_back_together)
{
	struct tm_selfballoon sb;
	uint64_t left = 77;

	start(&sb);
	for (int i = 0; i < 3; i++)
		ck_assert(!shrink(&sb, 20, &left));
	ck_assert(shrink(&sb, 20, &left));
	ck_assert_uint_eq(left, 0);
	ck_assert(!shrink(&sb, 0, &left)); /* nothing there */
}
END_TEST

START_TEST(a_hundred_thousand_pages_drain_in_178_passes)
{
	struct tm_selfballoon sb;
	uint64_t held = 100000, left;
	int passes = 0;

	start(&sb);
	while (held) {
		ck_assert_int_lt(passes, 1000);
		if (shrink(&sb, held, &left)) {
			held = left;
			passes++;
		}
	}
	ck_assert_int_eq(passes, 178);
}
END_TEST

/* --- what may be written ----------------------------------------------- */

static int put(struct tm_selfballoon *sb, const char *name, const char *text)
{
	return tm_selfballoon_write(sb, true, name, text, 7 * S);
}

START_TEST(defaults_are_the_documented_ones)
{
	static const struct {
		const char *name;
		uint32_t value;
	} rows[] = {
		{ "selfballooning", 1 },
		{ "selfballoon_interval", 5 },
		{ "selfballoon_downhysteresis", 8 },
		{ "selfballoon_uphysteresis", 1 },
		{ "selfballoon_min_usable_mb", 0 },
		{ "selfballoon_reserved_mb", 0 },
		{ "frontswap_selfshrinking", 1 },
		{ "frontswap_hysteresis", 20 },
		{ "frontswap_inertia", 3 },
	};
	struct tm_selfballoon sb;
	size_t count;
	const struct tm_selfballoon_tunable *table =
		tm_selfballoon_tunables(&count);

	start(&sb);
	ck_assert_uint_eq(count, sizeof(rows) / sizeof(rows[0]));
	for (size_t i = 0; i < count; i++) {
		ck_assert_str_eq(table[i].name, rows[i].name);
		ck_assert_uint_eq(
			tm_selfballoon_tunable_get(&sb.tunables, &table[i]),
			rows[i].value);
	}
}
END_TEST

START_TEST(only_who_may_writes)
{
	struct tm_selfballoon sb;

	start(&sb);
	ck_assert_int_eq(tm_selfballoon_write(&sb, false,
					      "selfballoon_interval", "9", 0),
			 -EPERM);
	ck_assert_uint_eq(sb.tunables.selfballoon_interval_s, 5);
}
END_TEST

START_TEST(switches_are_0_or_1)
{
	static const char *const names[] = { "selfballooning",
					     "frontswap_selfshrinking" };
	struct tm_selfballoon sb;

	for (size_t i = 0; i < 2; i++) {
		start(&sb);
		ck_assert_int_eq(put(&sb, names[i], "2"), -EINVAL);
		ck_assert_int_eq(put(&sb, names[i], "on"), -EINVAL);
		ck_assert_int_eq(put(&sb, names[i], "0"), 0);
		ck_assert_int_eq(put(&sb, names[i], "1\n"), 0);
	}
}
END_TEST

START_TEST(revision_parsing_whole_decimal_numbers_only)
{
	/* Numbers were once parsed up to the first character that is none. */
	static const char *const wrong[] = {
		"",      "\n",
		" 5",    "5 ",
		"5s",    "0x5",
		"-5",    "+5",
		"5.0",   "five",
		"5\n\n", "5\n5",
		"1e3",   "99999999999999999999999"
	};
	struct tm_selfballoon sb;
	size_t count;
	const struct tm_selfballoon_tunable *table =
		tm_selfballoon_tunables(&count);

	start(&sb);
	for (size_t i = 0; i < count; i++)
		for (size_t k = 0; k < sizeof(wrong) / sizeof(wrong[0]); k++) {
			uint32_t before = tm_selfballoon_tunable_get(
				&sb.tunables, &table[i]);

			ck_assert_int_eq(put(&sb, table[i].name, wrong[k]),
					 -EINVAL);
			ck_assert_uint_eq(tm_selfballoon_tunable_get(
						  &sb.tunables, &table[i]),
					  before);
		}
	ck_assert_int_eq(put(&sb, "selfballoon", "5"), -ENOENT);
	ck_assert_int_eq(put(&sb, "selfballoon_interval2", "5"), -ENOENT);
}
END_TEST

START_TEST(revision_zero_divisors_are_refused)
{
	struct tm_selfballoon sb;
	size_t count;
	const struct tm_selfballoon_tunable *table =
		tm_selfballoon_tunables(&count);

	start(&sb);
	for (size_t i = 0; i < count; i++) {
		if (table[i].is_switch)
			continue;
		ck_assert_int_eq(put(&sb, table[i].name, "0"), -EINVAL);
		ck_assert_int_eq(put(&sb, table[i].name, "00"), -EINVAL);
		/* 0 to whoever keeps 32 bits of it */
		ck_assert_int_eq(put(&sb, table[i].name, "4294967296"),
				 -EINVAL);
		/* and 5 */
		ck_assert_int_eq(put(&sb, table[i].name, "4294967301"),
				 -EINVAL);
		ck_assert_int_eq(put(&sb, table[i].name, "4294967295"), 0);
	}
}
END_TEST

START_TEST(configuration_may_return_to_the_builtin_floor)
{
	struct tm_selfballoon sb;

	start(&sb);
	ck_assert_int_eq(put(&sb, "selfballoon_min_usable_mb", "64"), 0);
	ck_assert_int_eq(put(&sb, "selfballoon_min_usable_mb", "0"), -EINVAL);
	ck_assert_int_eq(tm_selfballoon_configure(&sb.tunables,
						  "selfballoon_min_usable_mb",
						  "0"),
			 0);
	ck_assert_uint_eq(sb.tunables.selfballoon_min_usable_mb, 0);
	ck_assert_int_eq(tm_selfballoon_configure(&sb.tunables,
						  "selfballoon_downhysteresis",
						  "0"),
			 -EINVAL);
}
END_TEST

START_TEST(inertia_written_counts_from_now)
{
	struct tm_selfballoon sb;
	uint64_t left;

	start(&sb);
	shrink(&sb, 100, &left);
	shrink(&sb, 100, &left);
	ck_assert_int_eq(put(&sb, "frontswap_inertia", "2"), 0);
	ck_assert(!shrink(&sb, 100, &left));
	ck_assert(shrink(&sb, 100, &left));
}
END_TEST

/* --- the worker -------------------------------------------------------- */

static const struct tm_selfballoon_reading some = { .usable_pages = 1000,
						    .current_pages = 1000,
						    .max_pages = 1000 };

START_TEST(worker_runs_while_either_half_is_on)
{
	struct tm_selfballoon sb;
	struct tm_selfballoon_step step;

	start(&sb);
	ck_assert(!tm_selfballoon_is_due(&sb, 5 * S - 1));
	ck_assert(tm_selfballoon_is_due(&sb, 5 * S));
	ck_assert_int_eq(put(&sb, "selfballooning", "0"), 0);
	tm_selfballoon_pass(&sb, &some, 5 * S, &step);
	ck_assert(!step.has_target);
	ck_assert(tm_selfballoon_is_due(&sb, 10 * S));
	ck_assert_int_eq(put(&sb, "frontswap_selfshrinking", "0"), 0);
	tm_selfballoon_pass(&sb, &some, 10 * S, &step);
	ck_assert(!step.has_target && !step.has_shrink);
	ck_assert(!tm_selfballoon_is_due(&sb, 1000 * S));
}
END_TEST

START_TEST(enabling_starts_a_worker_that_rests)
{
	struct tm_selfballoon sb;
	struct tm_selfballoon_step step;

	start(&sb);
	put(&sb, "selfballooning", "0");
	put(&sb, "frontswap_selfshrinking", "0");
	tm_selfballoon_pass(&sb, &some, 5 * S, &step);
	ck_assert(!sb.is_scheduled);
	ck_assert_int_eq(put(&sb, "selfballooning", "1"), 0); /* at 7 s */
	ck_assert(!tm_selfballoon_is_due(&sb, 12 * S - 1));
	ck_assert(tm_selfballoon_is_due(&sb, 12 * S));
	/* Neither the second half nor a second 1 moves what is pending. */
	tm_selfballoon_write(&sb, true, "frontswap_selfshrinking", "1", 11 * S);
	tm_selfballoon_write(&sb, true, "selfballooning", "1", 11 * S);
	ck_assert(tm_selfballoon_is_due(&sb, 12 * S));
}
END_TEST

START_TEST(new_interval_counts_from_the_next_pass)
{
	struct tm_selfballoon sb;
	struct tm_selfballoon_step step;

	start(&sb);
	put(&sb, "selfballoon_interval", "60");
	ck_assert(tm_selfballoon_is_due(&sb, 5 * S));
	tm_selfballoon_pass(&sb, &some, 5 * S, &step);
	ck_assert(!tm_selfballoon_is_due(&sb, 65 * S - 1));
	ck_assert(tm_selfballoon_is_due(&sb, 65 * S));
}
END_TEST

/* --- when it is on ----------------------------------------------------- */

START_TEST(revision_enablement_depends_on_frontswap)
{
	struct tm_selfballoon_boot boot = usual;
	struct tm_selfballoon sb;

	/* Pages driven out would go to a disk. */
	boot.is_frontswap_enabled = false;
	ck_assert_int_eq(tm_selfballoon_init(&sb, &boot, 0), 0);
	ck_assert(!sb.tunables.selfballooning);
	ck_assert(!sb.tunables.frontswap_selfshrinking);
	ck_assert(!sb.is_scheduled);
	/* Not built at all: off, unless asked for. */
	boot.is_frontswap_built = false;
	ck_assert_int_eq(tm_selfballoon_init(&sb, &boot, 0), 0);
	ck_assert(!sb.tunables.selfballooning);
	boot.selfballooning = true;
	ck_assert_int_eq(tm_selfballoon_init(&sb, &boot, 0), 0);
	ck_assert(sb.tunables.selfballooning);
	ck_assert(!sb.tunables.frontswap_selfshrinking);
	boot.is_tmem_enabled = false;
	ck_assert_int_eq(tm_selfballoon_init(&sb, &boot, 0), 0);
	ck_assert(!sb.tunables.selfballooning);
}
END_TEST

START_TEST(boot_words_switch_each_half_off)
{
	struct tm_selfballoon_boot boot = usual;
	struct tm_selfballoon sb;

	boot.noselfshrink = true;
	ck_assert_int_eq(tm_selfballoon_init(&sb, &boot, 0), 0);
	ck_assert(sb.tunables.selfballooning);
	ck_assert(!sb.tunables.frontswap_selfshrinking);
	boot = usual;
	boot.noselfballooning = true;
	ck_assert_int_eq(tm_selfballoon_init(&sb, &boot, 0), 0);
	ck_assert(!sb.tunables.selfballooning);
	ck_assert(sb.tunables.frontswap_selfshrinking);
	ck_assert(sb.is_scheduled);
}
END_TEST

START_TEST(revision_startup_order_needs_the_balloon_first)
{
	/* A worker that ran before the balloon's driver was up drove pages
	 * that the driver did not know of. */
	struct tm_selfballoon_boot boot = usual;
	struct tm_selfballoon sb;

	boot.has_balloon = false;
	ck_assert_int_eq(tm_selfballoon_init(&sb, &boot, 0), -ENODEV);
	ck_assert(!tm_selfballoon_is_due(&sb, UINT64_MAX));
	ck_assert_int_eq(put(&sb, "selfballooning", "1"), -ENODEV);
	ck_assert(!tm_selfballoon_is_due(&sb, UINT64_MAX));
	/* And no first pass before a whole interval has gone by. */
	ck_assert_int_eq(tm_selfballoon_init(&sb, &usual, 100 * S), 0);
	ck_assert(!tm_selfballoon_is_due(&sb, 105 * S - 1));
	ck_assert(tm_selfballoon_is_due(&sb, 105 * S));
}
END_TEST

START_TEST(dom0_does_not_balloon_itself)
{
	struct tm_selfballoon_boot boot = usual;
	struct tm_selfballoon sb;

	boot.is_guest = false;
	ck_assert_int_eq(tm_selfballoon_init(&sb, &boot, 0), -ENODEV);
	ck_assert(!sb.is_scheduled);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("selfballoon");
	TCase *floor = tcase_create("floor"), *law = tcase_create("law");
	TCase *shrinking = tcase_create("shrink"), *set = tcase_create("write");
	TCase *worker = tcase_create("worker"), *boot = tcase_create("boot");

	tcase_add_test(floor, floor_is_the_documented_piecewise_one);
	tcase_add_test(floor, floor_jumps_at_64_and_512_mib);
	tcase_add_test(floor, guest_below_16_mib_is_left_alone);
	tcase_add_test(floor, min_usable_replaces_the_floor);
	suite_add_tcase(suite, floor);
	tcase_add_test(law, surplus_decays_by_an_eighth);
	tcase_add_test(law, growth_takes_one_step);
	tcase_add_test(law, goal_counts_reserve_headroom_and_frontswap);
	tcase_add_test(law, revision_accounting_target_is_a_reservation);
	tcase_add_test(law, target_stays_above_floor);
	suite_add_tcase(suite, law);
	tcase_add_test(shrinking, selfshrinking_waits_for_inertia);
	tcase_add_test(shrinking, last_pages_are_pulled_back_together);
	tcase_add_test(shrinking, a_hundred_thousand_pages_drain_in_178_passes);
	suite_add_tcase(suite, shrinking);
	tcase_add_test(set, defaults_are_the_documented_ones);
	tcase_add_test(set, only_who_may_writes);
	tcase_add_test(set, switches_are_0_or_1);
	tcase_add_test(set, revision_parsing_whole_decimal_numbers_only);
	tcase_add_test(set, revision_zero_divisors_are_refused);
	tcase_add_test(set, configuration_may_return_to_the_builtin_floor);
	tcase_add_test(set, inertia_written_counts_from_now);
	suite_add_tcase(suite, set);
	tcase_add_test(worker, worker_runs_while_either_half_is_on);
	tcase_add_test(worker, enabling_starts_a_worker_that_rests);
	tcase_add_test(worker, new_interval_counts_from_the_next_pass);
	suite_add_tcase(suite, worker);
	tcase_add_test(boot, revision_enablement_depends_on_frontswap);
	tcase_add_test(boot, boot_words_switch_each_half_off);
	tcase_add_test(boot, revision_startup_order_needs_the_balloon_first);
	tcase_add_test(boot, dom0_does_not_balloon_itself);
	suite_add_tcase(suite, boot);
	return tm_test_run(suite);
}
