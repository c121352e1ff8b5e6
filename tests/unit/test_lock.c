/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The rank-checking mutex (src/util/lock.h).
 *
 * Whatever the build, a lock excludes and a try does not wait. The rank rules
 * are checked in debug builds only (configure --enable-debug), where each
 * wrong order must abort.
 */
#include <config.h>

#include "harness.h"
#include "lock.h"

#include <signal.h>

/* These tests break the rules on purpose: clang shall not count along. */
static void take(struct tm_lock *lock) TM_NO_THREAD_SAFETY_ANALYSIS
{
	tm_lock_acquire(lock);
}

static bool try_take(struct tm_lock *lock) TM_NO_THREAD_SAFETY_ANALYSIS
{
	return tm_lock_try(lock);
}

static void drop(struct tm_lock *lock) TM_NO_THREAD_SAFETY_ANALYSIS
{
	tm_lock_release(lock);
}

START_TEST(try_fails_while_held)
{
	struct tm_lock lock;

	tm_lock_init(&lock, TM_RANK_SHARD);
	ck_assert(try_take(&lock));
	ck_assert(!try_take(&lock));
	drop(&lock);
	ck_assert(try_take(&lock));
	drop(&lock);
	tm_lock_destroy(&lock);
}
END_TEST

START_TEST(rising_ranks_are_allowed)
{
	struct tm_lock outer, inner;

	tm_lock_init(&outer, TM_RANK_POOL);
	tm_lock_init(&inner, TM_RANK_SHARD);
	for (int i = 0; i < 2; i++) {
		take(&outer);
		take(&inner);
		drop(&inner);
		drop(&outer);
	}
	tm_lock_destroy(&inner);
	tm_lock_destroy(&outer);
}
END_TEST

#ifdef TM_LOCK_DEBUG
START_TEST(falling_ranks_abort)
{
	struct tm_lock outer, inner;

	tm_lock_init(&outer, TM_RANK_POOL);
	tm_lock_init(&inner, TM_RANK_SHARD);
	take(&inner);
	take(&outer);
}
END_TEST

START_TEST(equal_ranks_abort)
{
	struct tm_lock a, b;

	tm_lock_init(&a, TM_RANK_SHARD);
	tm_lock_init(&b, TM_RANK_SHARD);
	take(&a);
	take(&b);
}
END_TEST

START_TEST(release_of_a_free_lock_aborts)
{
	struct tm_lock lock;

	tm_lock_init(&lock, TM_RANK_SHARD);
	drop(&lock);
}
END_TEST

START_TEST(a_tried_lock_may_break_the_order)
{
	struct tm_lock outer, inner;

	tm_lock_init(&outer, TM_RANK_POOL);
	tm_lock_init(&inner, TM_RANK_SHARD);
	take(&inner);
	ck_assert(try_take(&outer));
	drop(&outer);
	drop(&inner);
}
END_TEST
#endif

int main(void)
{
	Suite *suite = suite_create("lock");
	TCase *basic = tcase_create("exclusion");

	tcase_add_test(basic, try_fails_while_held);
	tcase_add_test(basic, rising_ranks_are_allowed);
	suite_add_tcase(suite, basic);
#ifdef TM_LOCK_DEBUG
	TCase *ranks = tcase_create("ranks");

	tcase_add_test_raise_signal(ranks, falling_ranks_abort, SIGABRT);
	tcase_add_test_raise_signal(ranks, equal_ranks_abort, SIGABRT);
	tcase_add_test_raise_signal(ranks, release_of_a_free_lock_aborts,
				    SIGABRT);
	tcase_add_test(ranks, a_tried_lock_may_break_the_order);
	suite_add_tcase(suite, ranks);
#else
	puts("ranks: skipped: not a debug build (configure --enable-debug)");
#endif
	return tm_test_run(suite);
}
