/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A mutex that knows its rank.
 *
 * The problem: a deadlock needs two threads and bad luck, so tests do not
 * find it. The idea: every lock has a rank, a thread takes locks in rising
 * rank only, and debug builds (TM_LOCK_DEBUG) abort at the first inversion,
 * with one thread and no luck. Two locks of one rank are never held together.
 *
 * enum tm_rank is the whole documented order, from the outermost lock to the
 * innermost. Clang's -Wthread-safety checks at compile time that what is
 * guarded is touched only under its lock.
 *
 * The lock is one word and a futex: taking it free is one exchange in line,
 * which is what happens nearly always here (three locks for a put, each held
 * for tens of nanoseconds; a call into a library for each showed as 2 % of a
 * put, and 40 bytes of mutex in every list head as memory). Who finds it taken
 * spins shortly before it sleeps: a wake-up costs tens of microseconds.
 *
 *	word: 0 free, 1 taken, 2 taken and somebody may be asleep
 *
 * What must not come between two steps hardly ever does. So a build for
 * ThreadSanitizer (TM_LOCK_JITTER) holds threads up now and then, just after
 * they took a lock or let it go, for some microseconds or some hundreds.
 *
 * Header-only, so that plugins in this tree can use it; only debug builds
 * need lock.c.
 */
#ifndef TM_LOCK_H
#define TM_LOCK_H

#include <linux/futex.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__clang__)
#define TM_ATTR(x) __attribute__((x))
#else
#define TM_ATTR(x)
#endif
#define TM_CAPABILITY(name) TM_ATTR(capability(name))
/* In C clang cannot look up a neighbouring field: this one is for readers. */
#define TM_GUARDED_BY(lock)
#define TM_REQUIRES(...) TM_ATTR(requires_capability(__VA_ARGS__))
#define TM_EXCLUDES(...) TM_ATTR(locks_excluded(__VA_ARGS__))
#define TM_ACQUIRE(...) TM_ATTR(acquire_capability(__VA_ARGS__))
#define TM_RELEASE(...) TM_ATTR(release_capability(__VA_ARGS__))
#define TM_TRY_ACQUIRE(...) TM_ATTR(try_acquire_capability(__VA_ARGS__))
#define TM_NO_THREAD_SAFETY_ANALYSIS TM_ATTR(no_thread_safety_analysis)

enum tm_rank {
	TM_RANK_CONNECTIONS = 1, /* control socket: who is connected */
	TM_RANK_SET, /* daemon: one change of settings at a time */
	TM_RANK_SAVES, /* control socket: which clients migrate */
	TM_RANK_LIMIT, /* daemon: how the limit is decided */
	TM_RANK_DISKS, /* daemon: which disks it serves */
	TM_RANK_SOCKETS, /* daemon: where it listens */
	TM_RANK_GUEST_COOKIE, /* guest: a file of FS-Cache */
	TM_RANK_GUEST, /* guest: mounts, swap devices, back ends */
	TM_RANK_DISK_RANGES, /* disk: which blocks are locked */
	TM_RANK_CALLS, /* connected client: numbered calls */
	TM_RANK_LANE, /* connected client: one of its rings */
	TM_RANK_LINK, /* connected client: its connection, pools */
	TM_RANK_CHANNEL, /* channel: peers; numbered calls */
	TM_RANK_CHANNEL_PAGE, /* channel: one of many handles of a peer */
	TM_RANK_REGISTRY, /* daemon: who its clients are */
	TM_RANK_XEN, /* Xen front end: domains, pools, control */
	TM_RANK_GUEST_MEMORY, /* map of a guest's memory: its writers */
	TM_RANK_WORK, /* store: its own thread's work, or a check of the sums */
	TM_RANK_CONTROL, /* store: attach, limits, codec switches */
	TM_RANK_REAP, /* store: the reaper, one at a time */
	TM_RANK_POOL, /* pool: objects whose home is one shard */
	TM_RANK_SHARD, /* pool: one slice of its pages */
	TM_RANK_DEAD, /* store: list of what is to be reaped */
	TM_RANK_LRU, /* client: its list of ephemeral pages */
	TM_RANK_GONE, /* client: the log of pages that went */
	TM_RANK_DEDUP, /* store: one bucket group of contents */
	TM_RANK_TABLES, /* store: free elements of a table */
	TM_RANK_ALLOC_CLASS, /* allocator: one size class */
	TM_RANK_ALLOC, /* allocator: its tables */
	TM_RANK_FRAMES, /* arena: free frames */
	TM_RANK_LOG,
};

struct TM_CAPABILITY("mutex") tm_lock {
	_Atomic uint32_t word;
	enum tm_rank rank;
};

#ifdef TM_LOCK_DEBUG
void tm_lock_debug_acquire(const struct tm_lock *lock, bool try);
void tm_lock_debug_release(const struct tm_lock *lock);
#else
static inline void tm_lock_debug_acquire(const struct tm_lock *lock, bool try)
{
	(void)lock;
	(void)try;
}

static inline void tm_lock_debug_release(const struct tm_lock *lock)
{
	(void)lock;
}
#endif

#ifdef TM_LOCK_JITTER
#define TM_LOCK_JITTER_EVERY 97
#define TM_LOCK_JITTER_MAX_US 400

static inline void tm_lock_jitter(void)
{
	static _Thread_local uint32_t random;

	if (!random)
		random = (uint32_t)(uintptr_t)&random | 1;
	random ^= random << 13;
	random ^= random >> 17;
	random ^= random << 5;
	if (random % TM_LOCK_JITTER_EVERY == 0)
		usleep(random & 0x30000 ? 1 :
					  (random >> 18) % TM_LOCK_JITTER_MAX_US);
}
#else
static inline void tm_lock_jitter(void)
{
}
#endif

static inline void tm_lock_init(struct tm_lock *lock, enum tm_rank rank)
{
	atomic_init(&lock->word, 0);
	lock->rank = rank;
}

static inline void tm_lock_destroy(struct tm_lock *lock)
{
	(void)lock;
}

#define TM_LOCK_SPINS 200

__attribute__((noinline, unused)) static void tm_lock_wait(struct tm_lock *lock)
{
	for (int i = 0; i < TM_LOCK_SPINS; i++) {
		uint32_t word = atomic_load_explicit(&lock->word,
						     memory_order_relaxed);

		if (word == 0 &&
		    atomic_compare_exchange_weak_explicit(
			    &lock->word, &word, 1, memory_order_acquire,
			    memory_order_relaxed))
			return;
#if defined(__x86_64__) || defined(__i386__)
		__builtin_ia32_pause();
#endif
	}
	/* From here on whoever releases it wakes somebody. */
	while (atomic_exchange_explicit(&lock->word, 2, memory_order_acquire))
		syscall(SYS_futex, &lock->word,
			FUTEX_WAIT | FUTEX_PRIVATE_FLAG, 2, NULL, NULL, 0);
}

__attribute__((noinline, unused)) static void tm_lock_wake(struct tm_lock *lock)
{
	syscall(SYS_futex, &lock->word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1,
		NULL, NULL, 0);
}

static inline void tm_lock_acquire(struct tm_lock *lock)
	TM_ACQUIRE(lock) TM_NO_THREAD_SAFETY_ANALYSIS
{
	uint32_t word = 0;

	tm_lock_debug_acquire(lock, false);
	if (!atomic_compare_exchange_strong_explicit(&lock->word, &word, 1,
						     memory_order_acquire,
						     memory_order_relaxed))
		tm_lock_wait(lock);
	tm_lock_jitter();
}

/* Never waits, so it may be used against the order. */
static inline bool tm_lock_try(struct tm_lock *lock)
	TM_TRY_ACQUIRE(true, lock) TM_NO_THREAD_SAFETY_ANALYSIS
{
	uint32_t word = 0;

	if (!atomic_compare_exchange_strong_explicit(&lock->word, &word, 1,
						     memory_order_acquire,
						     memory_order_relaxed))
		return false;
	tm_lock_debug_acquire(lock, true);
	return true;
}

static inline void tm_lock_release(struct tm_lock *lock)
	TM_RELEASE(lock) TM_NO_THREAD_SAFETY_ANALYSIS
{
	tm_lock_debug_release(lock);
	if (atomic_exchange_explicit(&lock->word, 0, memory_order_release) == 2)
		tm_lock_wake(lock);
	tm_lock_jitter();
}

#endif
