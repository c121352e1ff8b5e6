/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Waiting for a counter that another process advances: spin shortly, then
 * sleep on a futex.
 *
 * The problem: a sleeper needs tens of microseconds to come back, more than
 * most of what it waits for takes; a spinner burns a core that somebody may
 * need, and on one core keeps the other side from ever advancing. The idea: a
 * waiter spins while spinning has lately been enough, and goes to sleep at once
 * while it has not; now and then it spins longer, to find out whether that has
 * changed (both sides sleeping make each other slow: a short try would never
 * see that it could be otherwise). Each such probe in vain doubles the time to
 * the next: where both sides share a core, because others have the rest, no
 * probe can succeed.
 *
 * The bound: a wait burns at most TM_SPIN_NS; a probe, one wait in
 * TM_SPIN_PROBE_FIRST to TM_SPIN_PROBE_LAST, at most TM_SPIN_PROBE_NS; nothing
 * at all where the process has a single core.
 *
 * The flag protocol is that of ring_abi.h. Both words are shared with a peer
 * that may write anything there: all that comes of it is a wake-up too many or
 * too few, for that peer.
 */
#ifndef TM_DOORBELL_H
#define TM_DOORBELL_H

#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"

#define TM_SPIN_NS UINT64_C(30000)
#define TM_SPIN_PROBE_NS UINT64_C(100000)
#define TM_SPIN_PROBE_FIRST 16
#define TM_SPIN_PROBE_LAST 2048
/* So many spins in vain, and it sleeps at once. */
#define TM_SPIN_MISSES 2

/* One waiter's experience; its own, never shared. */
struct tm_patience {
	bool may_spin;
	uint32_t misses;	/* spins in vain since the last that was not */
	uint32_t waits;		/* since the last probe */
	uint32_t interval;	/* from that to the next */
};

static inline void tm_patience_init(struct tm_patience *patience)
{
	cpu_set_t cpus;

	*patience = (struct tm_patience){
		.may_spin = true,
		.interval = TM_SPIN_PROBE_FIRST,
	};
	if (!sched_getaffinity(0, sizeof(cpus), &cpus))
		patience->may_spin = CPU_COUNT(&cpus) > 1;
}

static inline void tm_spin_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

/* How long this wait may spin. */
static inline uint64_t tm_patience_budget_ns(struct tm_patience *patience)
{
	if (!patience->may_spin)
		return 0;
	if (patience->misses < TM_SPIN_MISSES)
		return TM_SPIN_NS;
	if (++patience->waits < patience->interval)
		return 0;
	patience->waits = 0;
	if (patience->interval < TM_SPIN_PROBE_LAST)
		patience->interval *= 2;
	return TM_SPIN_PROBE_NS;
}

/* True: @word is no longer @seen. */
static inline bool tm_doorbell_spin(_Atomic uint32_t *word, uint32_t seen,
				    struct tm_patience *patience)
{
	uint64_t budget_ns, begin_ns;

	/* What comes within a microsecond is worth no clock. */
	for (int i = 0; i < 16 && patience->misses < TM_SPIN_MISSES; i++) {
		if (atomic_load_explicit(word, memory_order_acquire) != seen)
			return true;
		tm_spin_pause();
	}
	budget_ns = tm_patience_budget_ns(patience);
	if (!budget_ns)
		return atomic_load_explicit(word, memory_order_acquire) != seen;
	begin_ns = tm_clock_system_now_ns(NULL);
	do {
		for (int i = 0; i < 16; i++) {
			if (atomic_load_explicit(word, memory_order_acquire) !=
			    seen) {
				patience->misses = 0;
				patience->interval = TM_SPIN_PROBE_FIRST;
				return true;
			}
			tm_spin_pause();
		}
	} while (tm_clock_system_now_ns(NULL) - begin_ns < budget_ns);
	patience->misses++;
	return false;
}

/* Advances *word to @count, and wakes who said that it sleeps on it and has
 * enough now. */
static inline void tm_doorbell_ring(_Atomic uint32_t *word, uint32_t count,
				    _Atomic uint32_t *sleeps,
				    _Atomic uint32_t *wake_at)
{
	/* Either the sleeper sees the count, or we its flag. */
	atomic_store(word, count);
	if (!atomic_load(sleeps))
		return;
	if ((int32_t)(count - atomic_load_explicit(
				      wake_at, memory_order_relaxed)) < 0)
		return;
	if (atomic_exchange(sleeps, 0))
		syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0);
}

/* Sleeps until somebody wakes it or time is up, if *word is still @seen: the
 * caller looks again. */
static inline void tm_doorbell_sleep(_Atomic uint32_t *word, uint32_t seen,
				     _Atomic uint32_t *sleeps,
				     uint64_t timeout_ns)
{
	const struct timespec timeout = {
		.tv_sec = (time_t)(timeout_ns / UINT64_C(1000000000)),
		.tv_nsec = (long)(timeout_ns % UINT64_C(1000000000)),
	};

	atomic_store(sleeps, 1);
	if (atomic_load(word) == seen)
		syscall(SYS_futex, word, FUTEX_WAIT, seen, &timeout, NULL, 0);
	atomic_store_explicit(sleeps, 0, memory_order_relaxed);
}

#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif

/* As linux/futex.h has it, which may be older than the kernel. */
struct tm_futex_waiter {
	uint64_t value;
	uint64_t address;
	uint32_t flags;
	uint32_t reserved;
};
#define TM_FUTEX_32 2u
#define TM_FUTEX_PRIVATE 128u

/*
 * The same for who must come back when *stop becomes non-zero (and is woken
 * with FUTEX_WAKE_PRIVATE), whatever the peer does. It could move a sleeper
 * on its own word to another one, for ever; so this one sleeps on two. A
 * kernel that cannot do that (before 5.16) looks once a second.
 */
static inline void tm_doorbell_sleep_until(_Atomic uint32_t *word,
					   uint32_t seen,
					   _Atomic uint32_t *sleeps,
					   _Atomic uint32_t *stop)
{
	const struct tm_futex_waiter waiters[2] = {
		{ .value = seen, .address = (uintptr_t)word,
		  .flags = TM_FUTEX_32 },
		{ .value = 0, .address = (uintptr_t)stop,
		  .flags = TM_FUTEX_32 | TM_FUTEX_PRIVATE },
	};

	atomic_store(sleeps, 1);
	if (atomic_load(word) == seen && !atomic_load(stop) &&
	    syscall(SYS_futex_waitv, waiters, 2, 0, NULL, CLOCK_MONOTONIC) <
		    0 &&
	    (errno == ENOSYS || errno == EPERM))
		tm_doorbell_sleep(word, seen, sleeps, UINT64_C(1000000000));
	atomic_store_explicit(sleeps, 0, memory_order_relaxed);
}

static inline void tm_doorbell_stop(_Atomic uint32_t *stop)
{
	atomic_store(stop, 1);
	syscall(SYS_futex, stop, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, INT32_MAX,
		NULL, NULL, 0);
}

#endif
