/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Waiting for a counter that another process advances: spin shortly, then
 * sleep on a futex.
 *
 * The problem: a sleeper needs microseconds to come back, as many as what it
 * waits for takes; a spinner burns a core that somebody may need, and where it
 * shares a core with the other side keeps that from ever advancing. The idea:
 * spin a little before each sleep. When what was waited for then comes soon
 * after all, spinning was what delayed it: after two such waits in a row the
 * next ones sleep at once; four of them, and after each further try in vain twice
 * as many. Waits that are long either way teach nothing.
 *
 * The other side waits in the same way. Once both sleep at once, each is always
 * a wake-up late, and would find its own next spin in vain too, again and again.
 * So who has just woken the other spins for as long as a wake-up takes: then what
 * comes from the sleeper comes in time. And so does who spins for the first time
 * after such a rest, when it is the other's that may not be over. What they spin
 * longer than others they yield the processor to whoever else could run on it.
 *
 * A kernel may put both on one processor, and leave them there for a while.
 * What the other counts from there can only come when this one lets it run: so
 * each says where it runs, and who reads its own processor yields at once. (A
 * ring's thread also goes elsewhere: ring_thread.c.)
 *
 * Who yields may be given nothing for as long as others run a slice, each time.
 * So a yield that took long ends the spin, and the next waits sleep at once:
 * a sleeper's turn comes sooner.
 *
 * The bound: a wait burns at most TM_SPIN_NS, or TM_SPIN_LONG_NS in these two
 * cases; nothing where the process has a single core.
 *
 * The flag protocol, and the lines, are those of ring_abi.h. Both are shared with
 * a peer that may write anything there: all that comes of it is a wake-up too
 * many or too few, for that peer.
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
#include "ring_abi.h"

#define TM_SPIN_NS UINT64_C(30000)
#define TM_SPIN_LONG_NS UINT64_C(150000)
/* What comes so soon after a spin in vain was held up by it. */
#define TM_SPIN_SHORT_NS UINT64_C(120000)
/* A yield that takes so long was to somebody who has other work. */
#define TM_YIELD_LONG_NS UINT64_C(500000)
#define TM_SPIN_MISSES 2
#define TM_SPIN_SKIP_FIRST 4
#define TM_SPIN_SKIP_LAST 2048

/* One waiter's experience; its own, never shared. */
struct tm_patience {
	bool may_spin;
	bool is_long;		/* the next spin */
	uint32_t misses;	/* in a row */
	uint32_t skip;		/* so many waits sleep at once */
	uint32_t next_skip;
	uint64_t end_ns;	/* of a spin in vain; 0: none */
};

static inline void tm_patience_init(struct tm_patience *patience)
{
	cpu_set_t cpus;

	*patience = (struct tm_patience){
		.may_spin = true,
		.next_skip = TM_SPIN_SKIP_FIRST,
	};
	if (!sched_getaffinity(0, sizeof(cpus), &cpus))
		patience->may_spin = CPU_COUNT(&cpus) > 1;
}

/* The next waits sleep at once. */
static inline void tm_patience_rest(struct tm_patience *patience)
{
	patience->skip = patience->next_skip;
	if (patience->next_skip < TM_SPIN_SKIP_LAST)
		patience->next_skip *= 2;
}

/* After a sleep, when what was waited for has come. */
static inline void tm_patience_learn(struct tm_patience *patience)
{
	uint64_t end_ns = patience->end_ns;

	patience->end_ns = 0;
	if (!end_ns ||
	    tm_clock_system_now_ns(NULL) - end_ns > TM_SPIN_SHORT_NS)
		return;
	if (++patience->misses < TM_SPIN_MISSES)
		return;
	tm_patience_rest(patience);
	patience->is_long = true;
}

static inline void tm_spin_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

/* As a line has it; 0: not known. */
static inline uint32_t tm_doorbell_processor(void)
{
	return (uint32_t)(sched_getcpu() + 1);
}

/* Is this where the writer of @theirs ran when it last counted? */
static inline bool tm_doorbell_is_shared(struct tm_ring_line *theirs)
{
	uint32_t processor = atomic_load_explicit(&theirs->processor,
						  memory_order_relaxed);

	return processor && processor == tm_doorbell_processor();
}

/* @theirs: the line of who counts. True: its count is no longer @seen. */
static inline bool tm_doorbell_spin(struct tm_ring_line *theirs, uint32_t seen,
				    struct tm_patience *patience)
{
	uint64_t now_ns, polite_ns, end_ns;

	if (!patience->may_spin || patience->skip) {
		patience->skip -= patience->skip > 0;
		return atomic_load_explicit(&theirs->count,
					    memory_order_acquire) != seen;
	}
	now_ns = tm_clock_system_now_ns(NULL);
	polite_ns = now_ns + TM_SPIN_NS;
	end_ns = patience->is_long ? now_ns + TM_SPIN_LONG_NS : polite_ns;
	patience->is_long = false;
	do {
		bool shares = tm_doorbell_is_shared(theirs);
		int looks = shares ? 1 : 16;
		uint64_t before_ns;

		while (looks--) {
			if (atomic_load_explicit(&theirs->count,
						 memory_order_acquire) !=
			    seen) {
				patience->misses = 0;
				patience->next_skip = TM_SPIN_SKIP_FIRST;
				return true;
			}
			tm_spin_pause();
		}
		now_ns = tm_clock_system_now_ns(NULL);
		/* Who was woken may have been given this processor. */
		if (!shares && (int64_t)(now_ns - polite_ns) <= 0)
			continue;
		before_ns = now_ns;
		sched_yield();
		now_ns = tm_clock_system_now_ns(NULL);
		if (now_ns - before_ns > TM_YIELD_LONG_NS) {
			tm_patience_rest(patience);
			break;
		}
	} while ((int64_t)(end_ns - now_ns) > 0);
	if (atomic_load_explicit(&theirs->count, memory_order_acquire) != seen)
		return true;
	patience->end_ns = now_ns;
	return false;
}

/* Advances the count of the line @mine, and wakes who said in @theirs that it
 * sleeps on it and has enough now. @patience: the caller's own, for its answer. */
static inline void tm_doorbell_ring(struct tm_ring_line *mine, uint32_t count,
				    struct tm_ring_line *theirs,
				    struct tm_patience *patience)
{
	atomic_store_explicit(&mine->processor, tm_doorbell_processor(),
			      memory_order_relaxed);
	/* Either the sleeper sees the count, or we its flag. */
	atomic_store(&mine->count, count);
	if (!atomic_load(&theirs->sleeps))
		return;
	if ((int32_t)(count - atomic_load_explicit(
				      &theirs->wake_at,
				      memory_order_relaxed)) < 0)
		return;
	if (!atomic_exchange(&theirs->sleeps, 0))
		return;
	syscall(SYS_futex, &mine->count, FUTEX_WAKE, 1, NULL, NULL, 0);
	patience->is_long = true;
}

/* Sleeps until somebody wakes it or time is up, if the count of @theirs is still
 * @seen: the caller looks again, soon, for who is woken too late to sleep is
 * not woken again (see below). @mine: its own line. */
static inline void tm_doorbell_sleep(struct tm_ring_line *theirs, uint32_t seen,
				     struct tm_ring_line *mine,
				     uint64_t timeout_ns)
{
	const struct timespec timeout = {
		.tv_sec = (time_t)(timeout_ns / UINT64_C(1000000000)),
		.tv_nsec = (long)(timeout_ns % UINT64_C(1000000000)),
	};

	atomic_store(&mine->sleeps, 1);
	if (atomic_load(&theirs->count) == seen)
		syscall(SYS_futex, &theirs->count, FUTEX_WAIT, seen, &timeout,
			NULL, 0);
	atomic_store_explicit(&mine->sleeps, 0, memory_order_relaxed);
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
 * on its own word to another one, for ever; so this one sleeps on several.
 * One is its own flag: a peer that was held up between looking at it and taking
 * it may do so only when this side sleeps again, and wake it before it does;
 * the next count would find no flag. A kernel that cannot do that (before 5.16)
 * looks once a second.
 */
static inline void tm_doorbell_sleep_until(struct tm_ring_line *theirs,
					   uint32_t seen,
					   struct tm_ring_line *mine,
					   _Atomic uint32_t *stop)
{
	const struct tm_futex_waiter waiters[3] = {
		{ .value = seen, .address = (uintptr_t)&theirs->count,
		  .flags = TM_FUTEX_32 },
		{ .value = 0, .address = (uintptr_t)stop,
		  .flags = TM_FUTEX_32 | TM_FUTEX_PRIVATE },
		{ .value = 1, .address = (uintptr_t)&mine->sleeps,
		  .flags = TM_FUTEX_32 },
	};

	atomic_store(&mine->sleeps, 1);
	if (atomic_load(&theirs->count) == seen && !atomic_load(stop) &&
	    syscall(SYS_futex_waitv, waiters, 3, 0, NULL, CLOCK_MONOTONIC) <
		    0 &&
	    (errno == ENOSYS || errno == EPERM))
		tm_doorbell_sleep(theirs, seen, mine, UINT64_C(1000000000));
	atomic_store_explicit(&mine->sleeps, 0, memory_order_relaxed);
}

static inline void tm_doorbell_stop(_Atomic uint32_t *stop)
{
	atomic_store(stop, 1);
	syscall(SYS_futex, stop, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, INT32_MAX,
		NULL, NULL, 0);
}

#endif
