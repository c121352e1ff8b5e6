/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The latency histogram (src/util/histogram.h): its buckets against their
 * definition, percentiles against a sorted array, and threads that add at
 * once. The system clock, which feeds it, is here too.
 */
#include <config.h>

#include "clock.h"
#include "harness.h"
#include "histogram.h"

#include <pthread.h>

/* Values around every bucket's border, and the ends. */
static uint64_t value_at(size_t bucket, int step)
{
	return tm_histogram_upper_ns(bucket) + (uint64_t)step;
}

START_TEST(a_bucket_ends_where_the_next_begins)
{
	for (size_t i = 0; i < TM_HISTOGRAM_BUCKETS; i++) {
		ck_assert_uint_eq(tm_histogram_bucket(value_at(i, 0)), i);
		if (i + 1 < TM_HISTOGRAM_BUCKETS)
			ck_assert_uint_eq(tm_histogram_bucket(value_at(i, 1)),
					  i + 1);
	}
}
END_TEST

START_TEST(buckets_are_at_most_a_sixteenth_wide)
{
	for (size_t i = 1; i < TM_HISTOGRAM_BUCKETS; i++) {
		uint64_t upper = tm_histogram_upper_ns(i);
		uint64_t lower = tm_histogram_upper_ns(i - 1) + 1;

		ck_assert_uint_le((upper - lower) * 16, lower);
	}
}
END_TEST

START_TEST(the_range_is_1_ns_to_68_s)
{
	const size_t last = TM_HISTOGRAM_BUCKETS - 1;

	ck_assert_uint_eq(tm_histogram_bucket(0), 0);
	ck_assert_uint_eq(tm_histogram_bucket(1), 1);
	ck_assert_uint_eq(tm_histogram_upper_ns(last), 68719476735);
	ck_assert_uint_eq(tm_histogram_bucket(68719476736), last);
	ck_assert_uint_eq(tm_histogram_bucket(UINT64_MAX), last);
}
END_TEST

START_TEST(an_empty_one_is_all_zeros)
{
	struct tm_histogram h = { 0 };
	struct tmem_latency latency = { 1, 1, 1, 1 };

	tm_histogram_summary(&h, &latency);
	ck_assert_uint_eq(latency.samples, 0);
	ck_assert_uint_eq(latency.p50_ns, 0);
	ck_assert_uint_eq(latency.p99_ns, 0);
	ck_assert_uint_eq(latency.mean_ns, 0);
}
END_TEST

START_TEST(one_sample_is_every_percentile)
{
	struct tm_histogram h = { 0 };
	struct tmem_latency latency;

	tm_histogram_add(&h, 1000);
	tm_histogram_summary(&h, &latency);
	ck_assert_uint_eq(latency.samples, 1);
	ck_assert_uint_eq(latency.p50_ns, 1023); /* of 992 to 1023 */
	ck_assert_uint_eq(latency.p99_ns, 1023);
	ck_assert_uint_eq(latency.mean_ns, 1000);
}
END_TEST

static int compare(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* The smallest value that @pct in 100 do not exceed, rounded up to a bucket. */
static uint64_t expected(const uint64_t *sorted, size_t count, size_t pct)
{
	size_t rank = (count * pct + 99) / 100;

	return tm_histogram_upper_ns(tm_histogram_bucket(sorted[rank - 1]));
}

START_TEST(percentiles_are_those_of_the_sorted_values)
{
	static uint64_t values[5000];
	uint64_t state = tm_test_seed();

	for (int round = 0; round < 50; round++) {
		size_t count = 1 + tm_test_random(&state) % 5000;
		struct tm_histogram h = { 0 };
		struct tmem_latency latency;
		uint64_t sum = 0;

		for (size_t i = 0; i < count; i++) {
			uint64_t bits = tm_test_random(&state) % 36;

			values[i] = tm_test_random(&state) >> (63 - bits);
			sum += values[i];
			tm_histogram_add(&h, values[i]);
		}
		qsort(values, count, sizeof(values[0]), compare);
		tm_histogram_summary(&h, &latency);
		ck_assert_uint_eq(latency.samples, count);
		ck_assert_uint_eq(latency.mean_ns, sum / count);
		ck_assert_uint_eq(latency.p50_ns, expected(values, count, 50));
		ck_assert_uint_eq(latency.p99_ns, expected(values, count, 99));
	}
}
END_TEST

START_TEST(merged_is_as_if_added_to_one)
{
	struct tm_histogram parts[3] = { 0 }, all = { 0 }, merged = { 0 };
	uint64_t state = tm_test_seed();

	for (int i = 0; i < 3000; i++) {
		uint64_t ns = tm_test_random(&state) >> 40;

		tm_histogram_add(&parts[i % 3], ns);
		tm_histogram_add(&all, ns);
	}
	for (int i = 0; i < 3; i++)
		tm_histogram_merge(&merged, &parts[i]);
	ck_assert_mem_eq(&merged, &all, sizeof(all));
}
END_TEST

START_TEST(a_full_bucket_stops_rather_than_wraps)
{
	struct tm_histogram h = { 0 }, other = { 0 };
	struct tmem_latency latency;

	h.counts[5] = h.samples = TM_HISTOGRAM_COUNT_MAX;
	h.sum_ns = 5 * h.samples;
	tm_histogram_add(&h, 5);
	ck_assert_uint_eq(h.counts[5], TM_HISTOGRAM_COUNT_MAX);
	tm_histogram_add(&other, 5);
	tm_histogram_merge(&h, &other);
	ck_assert_uint_eq(h.counts[5], TM_HISTOGRAM_COUNT_MAX);
	tm_histogram_summary(&h, &latency);
	ck_assert_uint_eq(latency.samples, TM_HISTOGRAM_COUNT_MAX + 2ull);
	ck_assert_uint_eq(latency.mean_ns, 5);
	ck_assert_uint_eq(latency.p99_ns, 5);
}
END_TEST

#define ADDS 400000

struct adder {
	struct tm_histogram h;
	pthread_barrier_t start;
};

static void *add_many(void *opaque)
{
	struct adder *adder = opaque;

	pthread_barrier_wait(&adder->start);
	for (uint64_t i = 0; i < ADDS; i++)
		tm_histogram_add(&adder->h, 7);
	return NULL;
}

START_TEST(no_sample_of_two_threads_is_lost)
{
	struct adder adder = { .h = { 0 } };
	struct tmem_latency latency;
	pthread_t other;

	pthread_barrier_init(&adder.start, NULL, 2);
	ck_assert_int_eq(pthread_create(&other, NULL, add_many, &adder), 0);
	add_many(&adder);
	tm_histogram_summary(&adder.h, &latency);
	ck_assert_int_eq(pthread_join(other, NULL), 0);
	tm_histogram_summary(&adder.h, &latency);
	ck_assert_uint_eq(latency.samples, 2 * ADDS);
	ck_assert_uint_eq(latency.mean_ns, 7);
	ck_assert_uint_eq(adder.h.counts[7], 2 * ADDS);
	pthread_barrier_destroy(&adder.start);
}
END_TEST

START_TEST(the_system_clock_never_goes_back)
{
	const struct tm_clock *clock = tm_clock_system();
	uint64_t ns = tm_clock_now_ns(clock);
	uint64_t ms = tm_clock_coarse_ms(clock);

	/* The coarse one is a tick late, at the most 10 ms at 100 Hz. */
	ck_assert_uint_le(ms, tm_clock_now_ns(clock) / 1000000);
	ck_assert_uint_ge(ms + 100, ns / 1000000);
	for (int i = 0; i < 1000; i++) {
		uint64_t next = tm_clock_now_ns(clock);

		ck_assert_uint_ge(next, ns);
		ns = next;
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("histogram");
	TCase *tc = tcase_create("histogram");

	tcase_add_test(tc, a_bucket_ends_where_the_next_begins);
	tcase_add_test(tc, buckets_are_at_most_a_sixteenth_wide);
	tcase_add_test(tc, the_range_is_1_ns_to_68_s);
	tcase_add_test(tc, an_empty_one_is_all_zeros);
	tcase_add_test(tc, one_sample_is_every_percentile);
	tcase_add_test(tc, percentiles_are_those_of_the_sorted_values);
	tcase_add_test(tc, merged_is_as_if_added_to_one);
	tcase_add_test(tc, a_full_bucket_stops_rather_than_wraps);
	tcase_add_test(tc, no_sample_of_two_threads_is_lost);
	tcase_add_test(tc, the_system_clock_never_goes_back);
	suite_add_tcase(suite, tc);
	return tm_test_run(suite);
}
