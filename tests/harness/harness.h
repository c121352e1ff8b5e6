/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What every libcheck program here needs: a main, and a seed.
 *
 * A test that uses chance must be repeatable: tm_test_seed() takes TMEM_SEED
 * from the environment, or makes one up, and prints it either way, so that a
 * failure in a log can be run again. tm_test_random() is splitmix64: the same
 * sequence on every machine, which rand() does not promise.
 *
 * CK_RUN_CASE=name runs one test case only (libcheck's own); `make break`
 * uses it.
 */
#ifndef TM_HARNESS_H
#define TM_HARNESS_H

#include <check.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static inline uint64_t tm_test_seed(void)
{
	const char *text = getenv("TMEM_SEED");
	struct timespec now;
	uint64_t seed;

	if (text) {
		seed = strtoull(text, NULL, 0);
	} else {
		clock_gettime(CLOCK_REALTIME, &now);
		seed = (uint64_t)now.tv_sec << 20 ^ (uint64_t)now.tv_nsec;
	}
	printf("TMEM_SEED=%" PRIu64 "\n", seed);
	fflush(stdout);
	return seed;
}

static inline uint64_t tm_test_random(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

/*
 * Is it enough of a loop whose rounds wait for other threads' turns? After
 * @rounds of them; on a busy machine, where each takes many times as long,
 * after 20 s as well, but not before a tenth of them.
 */
static inline bool tm_test_is_enough(uint64_t done, uint64_t rounds,
				     time_t begin)
{
	return done >= rounds ||
	       (done >= rounds / 10 && time(NULL) - begin > 20);
}

/* Runs the suite and answers main()'s exit status. */
static inline int tm_test_run(Suite *suite)
{
	SRunner *runner = srunner_create(suite);
	int failed;

	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

#endif
