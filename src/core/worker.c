/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Background work, in bounded steps.
 *
 * What a step does, most urgent first: reap what is dead; evict ahead when a
 * put had to evict for itself; move objects while the allocators say that it
 * pays; give back idle frames beyond a stock, with hysteresis; keep that stock
 * populated while memory is growing.
 *
 * A thread of the library's own does it when woken, and sleeps without a timer
 * when there is nothing to do. Wakers pay for a system call only when it
 * sleeps. It blocks all signals. Without it (TMEM_STORE_NO_THREADS) somebody
 * calls tmem_store_step().
 *
 * In the middle of a step the store's sums are not right: a page that is moved
 * has room twice. So the thread holds work_lock for each step, and
 * tm_store_check() for as long as it counts; nobody else takes it.
 */
#include <config.h>

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "store.h"

#define REAP_BATCH 512
#define MOVE_BATCH 64
#define EVICT_ROUNDS 8
/* A storm of frees has passed when none came for so long, or is endless. */
#define PAUSE_MS 20
#define PAUSES_MAX 10

enum { AWAKE = 0, ASLEEP = 1 };

static long futex(_Atomic uint32_t *word, int op, uint32_t value)
{
	return syscall(SYS_futex, word, op | FUTEX_PRIVATE_FLAG, value, NULL,
		       NULL, 0);
}

/* What it is to find was stored before, in the one order of all: either it is
 * seen asleep here, or it sees that. */
void tm_worker_wake(struct tm_store *store)
{
	if (atomic_load(&store->worker_wake) == ASLEEP &&
	    atomic_exchange(&store->worker_wake, AWAKE) == ASLEEP)
		futex(&store->worker_wake, FUTEX_WAKE, INT_MAX);
}

/* Idle frames worth keeping: 1/64 of the limit, within reason. */
static uint64_t stock_frames(const struct tm_store *store)
{
	uint64_t frames = store->memory.limit_bytes / TMEM_FRAME_SIZE / 64;

	return frames > 1024 ? 1024 : frames;
}

/* Eviction ahead of need, up to the stock. */
static bool evict_ahead(struct tm_context *context)
{
	struct tm_store *store = context->store;
	uint64_t used, want = stock_frames(store) * TMEM_FRAME_SIZE;

	if (!atomic_exchange(&store->is_short, false))
		return false;
	for (int round = 0; round < EVICT_ROUNDS; round++) {
		used = store->memory.used_bytes;
		if (used + want <= store->memory.limit_bytes +
					   store->arena.idle_frames *
						   TMEM_FRAME_SIZE)
			return false;
		if (!tm_evict_round(context, NULL))
			return false;
	}
	atomic_store(&store->is_short, true);
	return true;
}

static bool trim(struct tm_store *store)
{
	uint64_t stock = stock_frames(store);
	uint64_t high = 2 * stock + TMEM_RUN_FRAMES_MAX;

	return store->arena.idle_frames > high &&
	       tm_arena_trim(&store->arena, stock) > 0;
}

static bool compact(struct tm_context *context)
{
	const struct tm_store *store = context->store;

	uint32_t moved = 0, more;

	if (!store->compaction_debt && !store->compaction_due)
		return false;
	do {
		more = tm_compact(context, MOVE_BATCH);
		moved += more;
	} while (more && moved < MOVE_BATCH);
	return moved > 0;
}

int tm_store_step(struct tm_store *store)
{
	struct tm_context *context = tm_enter(store);
	bool more = false;

	if (!context)
		return 0;
	if (store->has_dead || store->dead_clients)
		more |= tm_reap(context, REAP_BATCH);
	more |= evict_ahead(context);
	more |= compact(context);
	context->wants_compaction = false;
	tm_leave(context);
	/* Waits for others to leave, so not from inside. */
	more |= tm_reap_slots(store);
	more |= trim(store);
	return more;
}

static uint32_t count_frees(const struct tm_store *store)
{
	uint32_t frees = 0;

	for (uint32_t i = 0; i < store->context_count; i++)
		frees += atomic_load_explicit(&store->contexts[i].frees,
					      memory_order_relaxed);
	return frees;
}

/* Who frees much is often not done: what is moved now may be freed next. */
static void let_storm_pass(struct tm_store *store)
{
	const struct timespec pause = { .tv_nsec = PAUSE_MS * 1000000 };
	uint32_t before = count_frees(store), now;

	for (int i = 0; i < PAUSES_MAX && !store->worker_stop; i++) {
		syscall(SYS_futex, &store->worker_stop,
			FUTEX_WAIT | FUTEX_PRIVATE_FLAG, 0, &pause, NULL, 0);
		now = count_frees(store);
		if (now == before || store->has_dead || store->is_short)
			return;
		before = now;
	}
}

/* A step, unless the sums are being checked: then afterwards. */
static bool work(struct tm_store *store)
{
	bool more;

	tm_lock_acquire(&store->work_lock);
	more = tm_store_step(store);
	tm_lock_release(&store->work_lock);
	return more;
}

static void *worker(void *opaque)
{
	struct tm_store *store = opaque;
	bool storm_passed = false;

	while (!atomic_load(&store->worker_stop)) {
		if (store->compaction_due && !storm_passed) {
			let_storm_pass(store);
			storm_passed = true;
		}
		if (work(store))
			continue;
		storm_passed = false;
		atomic_store(&store->worker_wake, ASLEEP);
		/* Whoever left work before it was seen asleep woke nobody. */
		if (atomic_load(&store->worker_stop) || store->has_dead ||
		    store->is_short || store->compaction_due) {
			atomic_store(&store->worker_wake, AWAKE);
			continue;
		}
		while (atomic_load(&store->worker_wake) == ASLEEP)
			futex(&store->worker_wake, FUTEX_WAIT, ASLEEP);
	}
	return NULL;
}

int tm_worker_start(struct tm_store *store)
{
	sigset_t all, old;
	int err;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = pthread_create(&store->worker, NULL, worker, store);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (err)
		return -err;
	store->has_worker = true;
	return 0;
}

void tm_worker_stop(struct tm_store *store)
{
	if (!store->has_worker)
		return;
	atomic_store(&store->worker_stop, 1);
	futex(&store->worker_stop, FUTEX_WAKE, INT_MAX);
	atomic_store(&store->worker_wake, AWAKE);
	futex(&store->worker_wake, FUTEX_WAKE, INT_MAX);
	pthread_join(store->worker, NULL);
	store->has_worker = false;
}
