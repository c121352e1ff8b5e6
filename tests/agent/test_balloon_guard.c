/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The guard: whatever the law is tuned to, a guest keeps its floor and what it
 * uses, and is given memory when it is short.
 */
#include <config.h>

#include "balloon_guard.h"
#include "harness.h"

#define S UINT64_C(1000000000)
#define MIB(mib) ((uint64_t)(mib)*256)

struct rig {
	struct tm_selfballoon sb;
	struct tm_guard guard;
	struct tm_guard_reading reading;
	struct tm_guard_decision decision;
	uint64_t now_ns;
};

/* A guest of 1 GiB that uses 100 MiB. */
static void start(struct rig *rig)
{
	const struct tm_selfballoon_boot boot = {
		.is_guest = true,
		.has_balloon = true,
		.is_tmem_enabled = true,
		.is_frontswap_built = true,
		.is_frontswap_enabled = true,
	};

	*rig = (struct rig){
		.reading = {
			.law = {
				.usable_pages = MIB(1024),
				.current_pages = MIB(1024),
				.max_pages = MIB(1024),
				.committed_pages = MIB(120),
			},
			.available_pages = MIB(924),
			.stalled_us = 1000,
			.major_faults = 5000,
			.swapped_pages = 0,
		},
		.now_ns = 1000 * S,
	};
	ck_assert_int_eq(tm_selfballoon_init(&rig->sb, &boot, rig->now_ns), 0);
}

/* A second later; a guest that does what it is told. */
static void tick(struct rig *rig)
{
	struct tm_selfballoon_reading *law = &rig->reading.law;

	rig->now_ns += S;
	tm_guard_tick(&rig->guard, &rig->sb, &rig->reading, rig->now_ns,
		      &rig->decision);
	if (!rig->decision.has_target)
		return;
	ck_assert_uint_le(rig->decision.target_pages, law->max_pages);
	if (rig->reading.available_pages != TM_GUARD_UNKNOWN) {
		uint64_t used =
			law->current_pages - rig->reading.available_pages;

		rig->reading.available_pages =
			rig->decision.target_pages > used
				? rig->decision.target_pages - used
				: 0;
	}
	law->usable_pages = law->current_pages = rig->decision.target_pages;
}

static void run(struct rig *rig, int seconds)
{
	while (seconds--)
		tick(rig);
}

START_TEST(calm_guest_shrinks_as_the_law_says)
{
	struct rig rig;

	start(&rig);
	run(&rig, 180);
	ck_assert_uint_lt(rig.reading.law.current_pages, MIB(140));
	ck_assert_uint_ge(rig.reading.law.current_pages,
			  rig.decision.floor_pages);
	ck_assert_int_eq(rig.decision.verdict, TM_GUARD_CALM);
}
END_TEST

START_TEST(no_tuning_goes_below_the_floor)
{
	struct rig rig;

	start(&rig);
	rig.sb.tunables.selfballoon_min_usable_mb = 1;
	rig.sb.tunables.selfballoon_downhysteresis = 1;
	rig.sb.tunables.selfballoon_interval_s = 1;
	rig.reading.law.committed_pages = 0;
	rig.reading.available_pages = MIB(1024);
	run(&rig, 60);
	ck_assert_uint_eq(rig.reading.law.current_pages,
			  tm_selfballoon_floor(MIB(1024), 0, 0));
}
END_TEST

START_TEST(what_guest_uses_stays_with_it)
{
	struct rig rig;

	start(&rig);
	/* It has promised nothing and uses 400 MiB all the same. */
	rig.sb.tunables.selfballoon_downhysteresis = 1;
	rig.reading.law.committed_pages = 0;
	rig.reading.available_pages = MIB(624);
	run(&rig, 60);
	ck_assert_uint_eq(rig.reading.law.current_pages, MIB(450));
	ck_assert_int_eq(rig.decision.verdict, TM_GUARD_CALM);
}
END_TEST

START_TEST(nothing_shrinks_on_the_first_look)
{
	struct rig rig;

	start(&rig);
	rig.now_ns += 20 * S; /* the law has long been due */
	tick(&rig);
	ck_assert_int_eq(rig.decision.verdict, TM_GUARD_NEW);
	ck_assert_uint_eq(rig.reading.law.current_pages, MIB(1024));
}
END_TEST

/* Sets one sign of pressure rising, and sees it answered at once. */
static void check_pressure(void (*press)(struct tm_guard_reading *))
{
	struct rig rig;
	uint64_t before;

	start(&rig);
	run(&rig, 120);
	before = rig.reading.law.current_pages;
	ck_assert_uint_lt(before, MIB(256));
	press(&rig.reading);
	tick(&rig);
	ck_assert_int_eq(rig.decision.verdict, TM_GUARD_PRESSED);
	ck_assert_uint_ge(rig.reading.law.current_pages,
			  before + (MIB(1024) - before) / 2);
	/* Then nothing is taken for a while; later it is. */
	before = rig.reading.law.current_pages;
	run(&rig, 29);
	ck_assert_int_eq(rig.decision.verdict, TM_GUARD_WARY);
	ck_assert_uint_ge(rig.reading.law.current_pages, before);
	run(&rig, 30);
	ck_assert_int_eq(rig.decision.verdict, TM_GUARD_CALM);
	ck_assert_uint_lt(rig.reading.law.current_pages, before);
}

static void press_stall(struct tm_guard_reading *reading)
{
	reading->stalled_us += 150000;
}

static void press_faults(struct tm_guard_reading *reading)
{
	reading->major_faults += 150;
}

static void press_swap(struct tm_guard_reading *reading)
{
	reading->swapped_pages += 150;
}

START_TEST(stalls_are_pressure)
{
	check_pressure(press_stall);
}
END_TEST

START_TEST(major_faults_are_pressure)
{
	check_pressure(press_faults);
}
END_TEST

START_TEST(swap_ins_are_pressure)
{
	check_pressure(press_swap);
}
END_TEST

START_TEST(little_available_is_pressure)
{
	struct rig rig;

	start(&rig);
	run(&rig, 120);
	rig.reading.available_pages = 3;
	tick(&rig);
	ck_assert_int_eq(rig.decision.verdict, TM_GUARD_PRESSED);
	ck_assert_uint_gt(rig.reading.law.current_pages, MIB(512));
}
END_TEST

START_TEST(alarm_acts_without_waiting_for_the_second)
{
	struct rig rig;

	start(&rig);
	run(&rig, 120);
	tm_guard_alarm(&rig.guard);
	tm_guard_tick(&rig.guard, &rig.sb, &rig.reading, rig.now_ns + 1000,
		      &rig.decision);
	ck_assert_int_eq(rig.decision.verdict, TM_GUARD_PRESSED);
	ck_assert(rig.decision.has_target);
	ck_assert_uint_gt(rig.decision.target_pages, MIB(512));
}
END_TEST

START_TEST(lasting_pressure_gives_all_back_within_seconds)
{
	struct rig rig;

	start(&rig);
	run(&rig, 120);
	for (int i = 0; i < 20; i++) {
		press_swap(&rig.reading);
		tick(&rig);
	}
	ck_assert_uint_eq(rig.reading.law.current_pages, MIB(1024));
}
END_TEST

START_TEST(guest_that_lags_is_not_asked_again_from_where_it_is)
{
	struct rig rig;
	uint64_t first;

	start(&rig);
	run(&rig, 120);
	for (int i = 0; i < 3; i++) {
		press_swap(&rig.reading);
		rig.now_ns += S;
		tm_guard_tick(&rig.guard, &rig.sb, &rig.reading, rig.now_ns,
			      &rig.decision);
		if (!i)
			first = rig.decision.target_pages;
	}
	ck_assert_uint_gt(rig.decision.target_pages, first);
}
END_TEST

START_TEST(shrinking_under_way_is_called_off)
{
	struct rig rig;

	start(&rig);
	rig.sb.tunables.selfballoon_downhysteresis = 1;
	rig.sb.tunables.selfballoon_interval_s = 1000;
	rig.sb.due_ns = rig.now_ns + 2 * S;
	tick(&rig);
	rig.now_ns += S;
	tm_guard_tick(&rig.guard, &rig.sb, &rig.reading, rig.now_ns,
		      &rig.decision);
	ck_assert_uint_lt(rig.decision.target_pages, MIB(200));
	/* On its way there, it begins to use 500 MiB of its 800. */
	rig.reading.law.usable_pages = rig.reading.law.current_pages = MIB(800);
	rig.reading.available_pages = MIB(300);
	rig.now_ns += S;
	tm_guard_tick(&rig.guard, &rig.sb, &rig.reading, rig.now_ns,
		      &rig.decision);
	ck_assert(rig.decision.has_target);
	ck_assert_uint_ge(rig.decision.target_pages, MIB(560));
}
END_TEST

START_TEST(another_boot_is_a_new_guest)
{
	struct rig rig;
	uint64_t before;

	start(&rig);
	run(&rig, 30);
	before = rig.reading.law.current_pages;
	rig.reading.major_faults = 3;
	rig.now_ns += 4 * S; /* the law is due */
	tick(&rig);
	ck_assert_int_eq(rig.decision.verdict, TM_GUARD_NEW);
	ck_assert_uint_ge(rig.reading.law.current_pages, before);
}
END_TEST

START_TEST(unknown_signs_are_no_pressure)
{
	struct rig rig;

	start(&rig);
	rig.reading.available_pages = TM_GUARD_UNKNOWN;
	rig.reading.stalled_us = TM_GUARD_UNKNOWN;
	rig.reading.major_faults = TM_GUARD_UNKNOWN;
	rig.reading.swapped_pages = 10;
	run(&rig, 180);
	ck_assert_uint_lt(rig.reading.law.current_pages, MIB(140));
}
END_TEST

START_TEST(no_reading_leaves_the_bounds)
{
	uint64_t seed = tm_test_seed();
	struct rig rig;

	start(&rig);
	for (int i = 0; i < 100000; i++) {
		struct tm_guard_reading *r = &rig.reading;
		const struct tm_selfballoon_reading *law = &r->law;
		uint64_t shift = tm_test_random(&seed) % 40;

		r->law = (struct tm_selfballoon_reading){
			.usable_pages = tm_test_random(&seed) >> (24 + shift),
			.current_pages = tm_test_random(&seed) >> (24 + shift),
			.max_pages = tm_test_random(&seed) >> (24 + shift),
			.committed_pages = tm_test_random(&seed) >> shift,
			.reserve_pages = tm_test_random(&seed) >> (24 + shift),
		};
		r->available_pages = tm_test_random(&seed) >> (24 + shift);
		r->stalled_us = tm_test_random(&seed);
		rig.now_ns += tm_test_random(&seed) % (10 * S);
		tm_guard_tick(&rig.guard, &rig.sb, r, rig.now_ns,
			      &rig.decision);
		if (!rig.decision.has_target)
			continue;
		ck_assert_uint_le(rig.decision.target_pages, law->max_pages);
		ck_assert(rig.decision.target_pages >=
				  rig.decision.floor_pages ||
			  rig.decision.target_pages == law->max_pages);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("balloon_guard");
	TCase *guard = tcase_create("guard");

	tcase_add_test(guard, calm_guest_shrinks_as_the_law_says);
	tcase_add_test(guard, no_tuning_goes_below_the_floor);
	tcase_add_test(guard, what_guest_uses_stays_with_it);
	tcase_add_test(guard, nothing_shrinks_on_the_first_look);
	tcase_add_test(guard, stalls_are_pressure);
	tcase_add_test(guard, major_faults_are_pressure);
	tcase_add_test(guard, swap_ins_are_pressure);
	tcase_add_test(guard, little_available_is_pressure);
	tcase_add_test(guard, alarm_acts_without_waiting_for_the_second);
	tcase_add_test(guard, lasting_pressure_gives_all_back_within_seconds);
	tcase_add_test(guard,
		       guest_that_lags_is_not_asked_again_from_where_it_is);
	tcase_add_test(guard, shrinking_under_way_is_called_off);
	tcase_add_test(guard, another_boot_is_a_new_guest);
	tcase_add_test(guard, unknown_signs_are_no_pressure);
	tcase_add_test(guard, no_reading_leaves_the_bounds);
	suite_add_tcase(suite, guard);
	return tm_test_run(suite);
}
