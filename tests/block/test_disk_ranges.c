/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Locks on ranges: who excludes whom, and who goes first.
 */
#include <config.h>

#include <pthread.h>
#include <unistd.h>

#include "disk_ranges.h"
#include "harness.h"

#define THREADS 4
#define BLOCKS 24
#define ROUNDS 20000

struct ranges_test {
	struct tm_ranges ranges;
	/* Of each block: how many hold it, a writer counting THREADS + 1. */
	_Atomic int holders[BLOCKS];
	_Atomic bool is_wrong;
	/* Not atomic: TSan sees a lock that is none. */
	uint64_t written[BLOCKS];
};

struct ranges_worker {
	struct ranges_test *test;
	uint64_t random;
	uint64_t writes;
};

static void hold(struct ranges_test *t, uint64_t first, uint64_t end,
		 bool is_shared)
{
	int weight = is_shared ? 1 : THREADS + 1;

	for (uint64_t b = first; b < end; b++) {
		int before = atomic_fetch_add(&t->holders[b], weight);

		if (is_shared ? before > THREADS : before)
			atomic_store(&t->is_wrong, true);
		if (!is_shared)
			t->written[b]++;
	}
	for (uint64_t b = first; b < end; b++)
		atomic_fetch_sub(&t->holders[b], weight);
}

static void *lock_and_unlock(void *opaque)
{
	struct ranges_worker *w = opaque;
	struct ranges_test *t = w->test;

	for (int i = 0; i < ROUNDS; i++) {
		uint64_t r = tm_test_random(&w->random);
		uint64_t first = r % BLOCKS;
		uint64_t end = first + 1 + (r >> 8) % (BLOCKS - first);
		struct tm_range range;

		if (r >> 32 & 1) {
			tm_range_acquire_shared(&t->ranges, &range, first, end);
			hold(t, first, end, true);
		} else {
			tm_range_acquire(&t->ranges, &range, first, end);
			hold(t, first, end, false);
			w->writes += end - first;
		}
		tm_range_release(&t->ranges, &range);
	}
	return NULL;
}

START_TEST(a_writer_has_its_blocks_alone)
{
	uint64_t seed = tm_test_seed(), writes = 0, written = 0;
	struct ranges_worker workers[THREADS];
	pthread_t threads[THREADS];
	struct ranges_test t = { 0 };

	tm_ranges_init(&t.ranges);
	for (int n = 0; n < THREADS; n++) {
		workers[n] = (struct ranges_worker){
			.test = &t,
			.random = tm_test_random(&seed),
		};
		ck_assert_int_eq(pthread_create(&threads[n], NULL,
						lock_and_unlock, &workers[n]),
				 0);
	}
	for (int n = 0; n < THREADS; n++) {
		pthread_join(threads[n], NULL);
		writes += workers[n].writes;
	}
	for (int b = 0; b < BLOCKS; b++)
		written += t.written[b];
	ck_assert(!t.is_wrong);
	ck_assert_uint_eq(written, writes);
	ck_assert_ptr_null(t.ranges.head);
}
END_TEST

/* Sharers do not wait for each other, nor for who is elsewhere. */
START_TEST(who_is_in_nobodys_way_does_not_wait)
{
	struct tm_range one, two, three;
	struct tm_ranges ranges;

	tm_ranges_init(&ranges);
	tm_range_acquire_shared(&ranges, &one, 0, 10);
	tm_range_acquire_shared(&ranges, &two, 5, 15);
	tm_range_acquire(&ranges, &three, 15, 20);
	tm_range_release(&ranges, &one);
	tm_range_acquire(&ranges, &one, 0, 5);
	tm_range_release(&ranges, &two);
	tm_range_release(&ranges, &three);
	tm_range_release(&ranges, &one);
	ck_assert_ptr_null(ranges.head);
	ck_assert_ptr_null(ranges.tail);
}
END_TEST

struct ranges_waiter {
	struct tm_ranges *ranges;
	bool is_shared;
	_Atomic bool is_in;
};

static void *wait_in_line(void *opaque)
{
	struct ranges_waiter *w = opaque;
	struct tm_range range;

	if (w->is_shared)
		tm_range_acquire_shared(w->ranges, &range, 0, 1);
	else
		tm_range_acquire(w->ranges, &range, 0, 1);
	atomic_store(&w->is_in, true);
	tm_range_release(w->ranges, &range);
	return NULL;
}

static uint32_t in_line(struct tm_ranges *ranges)
{
	uint32_t count = 0;

	tm_lock_acquire(&ranges->lock);
	for (const struct tm_range *r = ranges->head; r; r = r->next)
		count++;
	tm_lock_release(&ranges->lock);
	return count;
}

/* Readers that keep coming do not starve a writer. */
START_TEST(nobody_overtakes_who_waits)
{
	struct tm_ranges ranges;
	struct ranges_waiter writer = { &ranges, false, false };
	struct ranges_waiter reader = { &ranges, true, false };
	pthread_t threads[2];
	struct tm_range held;

	tm_ranges_init(&ranges);
	tm_range_acquire_shared(&ranges, &held, 0, 1);
	ck_assert_int_eq(
		pthread_create(&threads[0], NULL, wait_in_line, &writer), 0);
	while (in_line(&ranges) < 2)
		usleep(1000);
	ck_assert_int_eq(
		pthread_create(&threads[1], NULL, wait_in_line, &reader), 0);
	while (in_line(&ranges) < 3)
		usleep(1000);
	usleep(5000);
	ck_assert(!atomic_load(&writer.is_in));
	ck_assert(!atomic_load(&reader.is_in));
	tm_range_release(&ranges, &held);
	pthread_join(threads[0], NULL);
	pthread_join(threads[1], NULL);
	ck_assert_ptr_null(ranges.head);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("disk_ranges");
	TCase *tc = tcase_create("ranges");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, a_writer_has_its_blocks_alone);
	tcase_add_test(tc, who_is_in_nobodys_way_does_not_wait);
	tcase_add_test(tc, nobody_overtakes_who_waits);
	suite_add_tcase(suite, tc);
	return tm_test_run(suite);
}
