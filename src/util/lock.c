/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The ranks that each thread holds, for debug builds (see lock.h).
 *
 * A thread's held locks form a short stack in thread-local memory; taking a
 * lock whose rank is not above the highest one held aborts with both ranks.
 * A lock that was only tried may break the order, since it cannot wait.
 */
#include <config.h>

#include "lock.h"

#ifdef TM_LOCK_DEBUG
#include <stdio.h>
#include <stdlib.h>

#define HELD_MAX 16

struct held {
	const struct tm_lock *lock;
	bool tried;
};

static _Thread_local struct held held[HELD_MAX];
static _Thread_local unsigned held_count;

static _Noreturn void complain(const char *what, int have, int want)
{
	fprintf(stderr, "tmem: lock order: %s (rank %d, then rank %d)\n", what,
		have, want);
	abort();
}

void tm_lock_debug_acquire(const struct tm_lock *lock, bool try)
{
	for (unsigned i = 0; i < held_count && !try; i++)
		if (held[i].lock->rank >= lock->rank && !held[i].tried)
			complain("inversion", (int)held[i].lock->rank,
				 (int)lock->rank);
	if (held_count == HELD_MAX)
		complain("too many locks held", HELD_MAX, (int)lock->rank);
	held[held_count++] = (struct held){ lock, try };
}

void tm_lock_debug_release(const struct tm_lock *lock)
{
	for (unsigned i = held_count; i-- > 0;) {
		if (held[i].lock != lock)
			continue;
		held[i] = held[--held_count];
		return;
	}
	complain("released a lock that is not held", 0, (int)lock->rank);
}
#else
typedef int tm_lock_translation_unit_is_not_empty;
#endif
