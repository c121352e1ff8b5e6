/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How long calls took: a histogram with logarithmic buckets.
 *
 * The problem: percentiles of millions of calls, kept per client, that any
 * thread may add to without a lock and that cost nothing to keep. The idea:
 * each power of two of nanoseconds is cut into 16 equal buckets, so that a
 * bucket is at most 1/16 of its value wide; below 16 ns each value has its
 * own.
 *
 *	v < 16:   bucket = v
 *	v >= 16:  bucket = 16 (e - 3) + (v >> (e - 4)) - 16,  e = floor(log2 v)
 *
 * Bounds. From 1 ns to 2^36 - 1 ns (68.7 s); what takes longer counts in the
 * last bucket. 528 buckets of 32 bits and two sums: 2128 bytes. A percentile
 * is the upper bound of its bucket: never below the truth, at most 1/16 above
 * it. A bucket stops at 2^32 - 2^16 counts rather than wrap; samples and the
 * mean stay exact then, and percentiles become those of the other buckets.
 *
 * Nobody locks: counts are relaxed atomics. A summary taken while others add
 * may miss their last samples, which does no harm to a statistic.
 * A histogram of zeros is empty.
 */
#ifndef TM_HISTOGRAM_H
#define TM_HISTOGRAM_H

#include <stddef.h>
#include <stdint.h>

#include <tmem/tmem.h>

#define TM_HISTOGRAM_OCTAVE_BITS 4
#define TM_HISTOGRAM_OCTAVE (1 << TM_HISTOGRAM_OCTAVE_BITS)
#define TM_HISTOGRAM_VALUE_BITS 36
#define TM_HISTOGRAM_BUCKETS                                                   \
	((TM_HISTOGRAM_VALUE_BITS - TM_HISTOGRAM_OCTAVE_BITS + 1)              \
	 << TM_HISTOGRAM_OCTAVE_BITS)
/* Room for as many threads to pass the check at once as there can be. */
#define TM_HISTOGRAM_COUNT_MAX (UINT32_MAX - 0xffff)

struct tm_histogram {
	uint64_t samples;
	uint64_t sum_ns;
	uint32_t counts[TM_HISTOGRAM_BUCKETS];
};

static inline size_t tm_histogram_bucket(uint64_t ns)
{
	unsigned shift;

	if (ns < TM_HISTOGRAM_OCTAVE)
		return (size_t)ns;
	if (ns >> TM_HISTOGRAM_VALUE_BITS)
		return TM_HISTOGRAM_BUCKETS - 1;
	shift = 63 - (unsigned)__builtin_clzll(ns) - TM_HISTOGRAM_OCTAVE_BITS;
	return ((size_t)shift << TM_HISTOGRAM_OCTAVE_BITS) +
	       (size_t)(ns >> shift);
}

/* The largest value that falls into a bucket. */
static inline uint64_t tm_histogram_upper_ns(size_t bucket)
{
	unsigned shift;

	if (bucket < TM_HISTOGRAM_OCTAVE)
		return bucket;
	shift = (unsigned)(bucket >> TM_HISTOGRAM_OCTAVE_BITS) - 1;
	bucket -= (size_t)shift << TM_HISTOGRAM_OCTAVE_BITS;
	return (((uint64_t)bucket + 1) << shift) - 1;
}

static inline void tm_histogram_add(struct tm_histogram *h, uint64_t ns)
{
	uint32_t *count = &h->counts[tm_histogram_bucket(ns)];

	__atomic_fetch_add(&h->samples, 1, __ATOMIC_RELAXED);
	__atomic_fetch_add(&h->sum_ns, ns, __ATOMIC_RELAXED);
	if (__atomic_load_n(count, __ATOMIC_RELAXED) < TM_HISTOGRAM_COUNT_MAX)
		__atomic_fetch_add(count, 1, __ATOMIC_RELAXED);
}

/* Adds what @from holds to @into, which no one else may be using. */
static inline void tm_histogram_merge(struct tm_histogram *into,
				      const struct tm_histogram *from)
{
	into->samples += __atomic_load_n(&from->samples, __ATOMIC_RELAXED);
	into->sum_ns += __atomic_load_n(&from->sum_ns, __ATOMIC_RELAXED);
	for (size_t i = 0; i < TM_HISTOGRAM_BUCKETS; i++) {
		uint64_t sum =
			(uint64_t)into->counts[i] +
			__atomic_load_n(&from->counts[i], __ATOMIC_RELAXED);

		into->counts[i] = sum < TM_HISTOGRAM_COUNT_MAX
					  ? (uint32_t)sum
					  : TM_HISTOGRAM_COUNT_MAX;
	}
}

/*
 * Fills in samples, p50, p99 and mean; all 0 when nothing was added. The
 * percentile P is the smallest bucket that P in 100 samples do not exceed.
 */
static inline void tm_histogram_summary(const struct tm_histogram *h,
					struct tmem_latency *latency)
{
	uint64_t counted = 0, seen = 0, half, most;

	*latency = (struct tmem_latency){ 0 };
	latency->samples = __atomic_load_n(&h->samples, __ATOMIC_RELAXED);
	for (size_t i = 0; i < TM_HISTOGRAM_BUCKETS; i++)
		counted += __atomic_load_n(&h->counts[i], __ATOMIC_RELAXED);
	if (!latency->samples || !counted)
		return;
	latency->mean_ns = __atomic_load_n(&h->sum_ns, __ATOMIC_RELAXED) /
			   latency->samples;
	half = counted - counted / 2;
	most = counted - counted / 100;
	for (size_t i = 0; i < TM_HISTOGRAM_BUCKETS && seen < most; i++) {
		uint64_t before = seen;

		seen += __atomic_load_n(&h->counts[i], __ATOMIC_RELAXED);
		if (before < half && seen >= half)
			latency->p50_ns = tm_histogram_upper_ns(i);
		if (seen >= most)
			latency->p99_ns = tm_histogram_upper_ns(i);
	}
}

#endif
