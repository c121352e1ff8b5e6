/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Two that wait for each other in turn (src/util/doorbell.h): both get along
 * asleep and awake, and do not stay asleep for each other for ever.
 */
#include <config.h>

#include <pthread.h>

#include "doorbell.h"
#include "harness.h"

#define NAP_NS UINT64_C(100000000)
/* Far more than need be, and yet only seconds if all of them sleep. */
#define TURNS_MAX 50000u

struct side {
	_Atomic uint32_t count;
	_Atomic uint32_t sleeps;
	_Atomic uint32_t wake_at;
	struct tm_patience patience;
};

struct pair {
	struct side ping, pong;
	_Atomic bool is_over;	/* after this turn */
};

/* Waits until @side has counted past @seen. */
static void wait_past(struct side *side, uint32_t seen,
		      struct tm_patience *patience)
{
	if (tm_doorbell_spin(&side->count, seen, patience))
		return;
	atomic_store(&side->wake_at, seen + 1);
	while (atomic_load(&side->count) == seen)
		tm_doorbell_sleep(&side->count, seen, &side->sleeps, NAP_NS);
	tm_patience_learn(patience);
}

static void count_up(struct side *side, uint32_t count)
{
	tm_doorbell_ring(&side->count, count, &side->sleeps, &side->wake_at);
}

static void *answer(void *opaque)
{
	struct pair *pair = opaque;
	bool is_over = false;

	for (uint32_t n = 0; !is_over; n++) {
		wait_past(&pair->ping, n, &pair->pong.patience);
		is_over = atomic_load(&pair->is_over);
		count_up(&pair->pong, n + 1);
	}
	return NULL;
}

/* @turns_max, or as many until neither side rests from spinning any more. */
static uint32_t play(struct pair *pair, uint32_t turns_max, bool until_awake)
{
	pthread_t thread;
	uint32_t n = 0;

	ck_assert_int_eq(pthread_create(&thread, NULL, answer, pair), 0);
	for (bool is_over = false; !is_over; n++) {
		is_over = n + 1 == turns_max ||
			  (until_awake && !pair->ping.patience.skip &&
			   !pair->ping.patience.misses);
		atomic_store(&pair->is_over, is_over);
		count_up(&pair->ping, n + 1);
		wait_past(&pair->pong, n, &pair->ping.patience);
	}
	pthread_join(thread, NULL);
	return n;
}

static void begin(struct pair *pair, uint32_t skip)
{
	*pair = (struct pair){ .is_over = false };
	tm_patience_init(&pair->ping.patience);
	tm_patience_init(&pair->pong.patience);
	pair->ping.patience.skip = pair->pong.patience.skip = skip;
	pair->ping.patience.is_trial = pair->pong.patience.is_trial = skip > 0;
	pair->ping.patience.next_skip = TM_SPIN_SKIP_LAST;
	pair->pong.patience.next_skip = TM_SPIN_SKIP_LAST;
}

START_TEST(each_waits_for_the_other)
{
	struct pair pair;

	begin(&pair, 0);
	ck_assert_uint_eq(play(&pair, 1000, false), 1000);
	ck_assert_uint_eq(atomic_load(&pair.pong.count), 1000);
}
END_TEST

START_TEST(two_that_sleep_at_once_wake_up_again)
{
	struct pair pair;

	begin(&pair, 64);
	if (!pair.ping.patience.may_spin)
		return; /* a single processor: sleeping is right */
	pair.ping.patience.misses = 1;
	ck_assert_uint_lt(play(&pair, TURNS_MAX, true), TURNS_MAX);
}
END_TEST

START_TEST(the_spin_after_a_rest_outlasts_a_wake_up)
{
	struct pair pair;
	struct tm_patience *patience = &pair.ping.patience;
	uint64_t begin_ns;

	begin(&pair, 1);
	if (!patience->may_spin)
		return;
	ck_assert(!tm_doorbell_spin(&pair.ping.count, 0, patience));
	ck_assert_uint_eq(patience->skip, 0);
	begin_ns = tm_clock_system_now_ns(NULL);
	ck_assert(!tm_doorbell_spin(&pair.ping.count, 0, patience));
	ck_assert_uint_ge(tm_clock_system_now_ns(NULL) - begin_ns,
			  4 * TM_SPIN_NS);
	/* Only the first. */
	ck_assert(!patience->is_trial);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("doorbell");
	TCase *tc = tcase_create("doorbell");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, each_waits_for_the_other);
	tcase_add_test(tc, two_that_sleep_at_once_wake_up_again);
	tcase_add_test(tc, the_spin_after_a_rest_outlasts_a_wake_up);
	suite_add_tcase(suite, tc);
	return tm_test_run(suite);
}
