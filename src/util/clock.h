/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The clock that everything asks, behind a table.
 *
 * The problem: code that reads the system's clock can only be tested by
 * sleeping and by guessing. The idea: whoever needs the time is given a
 * struct tm_clock; programs hand over tm_clock_system(), tests a clock that
 * they turn by hand.
 *
 * Two readings, for two prices. now_ns is exact (some 20 ns): measuring a
 * call. coarse_ms is the time of the last tick (a few ns, up to 10 ms late):
 * ages and time-outs. Both are monotonic; they count from the same moment,
 * but coarse_ms may lag.
 *
 * Any thread may ask. A clock made by a test keeps that promise itself.
 */
#ifndef TM_CLOCK_H
#define TM_CLOCK_H

#include <stddef.h>
#include <stdint.h>
#include <time.h>

struct tm_clock {
	uint64_t (*now_ns)(void *opaque);
	uint64_t (*coarse_ms)(void *opaque);
	void *opaque;
};

static inline uint64_t tm_clock_now_ns(const struct tm_clock *clock)
{
	return clock->now_ns(clock->opaque);
}

static inline uint64_t tm_clock_coarse_ms(const struct tm_clock *clock)
{
	return clock->coarse_ms(clock->opaque);
}

static inline uint64_t tm_clock_system_now_ns(void *opaque)
{
	struct timespec now = { 0, 0 };

	(void)opaque;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * UINT64_C(1000000000) +
	       (uint64_t)now.tv_nsec;
}

static inline uint64_t tm_clock_system_coarse_ms(void *opaque)
{
	struct timespec now = { 0, 0 };

	(void)opaque;
#ifdef CLOCK_MONOTONIC_COARSE
	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
#else
	clock_gettime(CLOCK_MONOTONIC, &now);
#endif
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* The machine's own clock: constant, valid for ever. */
static inline const struct tm_clock *tm_clock_system(void)
{
	static const struct tm_clock system_clock = {
		.now_ns = tm_clock_system_now_ns,
		.coarse_ms = tm_clock_system_coarse_ms,
		.opaque = NULL,
	};

	return &system_clock;
}

#endif
