/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Waiting until everybody who might still be using something has gone.
 *
 * The problem: operations read a pointer (a map, a client) without a lock, and
 * whoever replaces it must know when the old one can be freed. A lock or one
 * counter, which all of them take, would make threads wait for one cache line.
 *
 * The idea, well known as SRCU: readers count themselves in and out on stripes
 * of counters, of which there are two sets; tm_epoch_wait() has new readers use
 * the other set and waits until the first one is at zero. It does so twice: a
 * reader may have read the number of the set long before it counted itself in.
 *
 *	reader:	set = tm_epoch_enter(e); p = atomic_load(&pointer); ... use p;
 *		tm_epoch_leave(e, set);
 *	writer:	old = atomic_exchange(&pointer, new); tm_epoch_wait(e);
 *		free(old);
 *
 * A reader must not wait for a writer. Writers come one at a time: their own
 * lock says so. They poll, since readers are short.
 */
#ifndef TM_EPOCH_H
#define TM_EPOCH_H

#include <pthread.h>
#include <sched.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdint.h>

#define TM_EPOCH_STRIPES 8

struct tm_epoch {
	_Atomic unsigned set;	/* for new readers: 0 or 1 */
	struct {
		alignas(64) _Atomic uint64_t count;
	} readers[2][TM_EPOCH_STRIPES];
};

static inline _Atomic uint64_t *tm_epoch_stripe(struct tm_epoch *epoch,
						unsigned set)
{
	/* Threads' own structures are pages apart from each other. */
	uint64_t self = (uint64_t)(uintptr_t)pthread_self() >> 12;

	return &epoch->readers[set][(self * UINT64_C(0x9e3779b97f4a7c15)) >>
				    61].count;
}

static inline void tm_epoch_init(struct tm_epoch *epoch)
{
	atomic_init(&epoch->set, 0);
	for (unsigned i = 0; i < TM_EPOCH_STRIPES; i++) {
		atomic_init(&epoch->readers[0][i].count, 0);
		atomic_init(&epoch->readers[1][i].count, 0);
	}
}

/* Answers what tm_epoch_leave() wants, on the same thread. */
static inline unsigned tm_epoch_enter(struct tm_epoch *epoch)
{
	unsigned set = atomic_load(&epoch->set);

	atomic_fetch_add(tm_epoch_stripe(epoch, set), 1);
	return set;
}

static inline void tm_epoch_leave(struct tm_epoch *epoch, unsigned set)
{
	atomic_fetch_sub_explicit(tm_epoch_stripe(epoch, set), 1,
				  memory_order_release);
}

static inline void tm_epoch_wait(struct tm_epoch *epoch)
{
	for (int pass = 0; pass < 2; pass++) {
		unsigned set = atomic_fetch_xor(&epoch->set, 1);

		for (unsigned i = 0; i < TM_EPOCH_STRIPES; i++)
			while (atomic_load(&epoch->readers[set][i].count))
				sched_yield();
	}
}

#endif
