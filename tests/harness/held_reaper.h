/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A thread that reaps, held in the middle of it: where it has unlinked some
 * pages and is about to give back the first. It goes on when another thread
 * comes to reap as well, and waits for it; or when it is let go.
 *
 * For a store without threads of its own. Whoever includes this is linked with
 *
 *	-Wl,--wrap=tm_reap,--wrap=tm_page_release
 */
#ifndef TM_HELD_REAPER_H
#define TM_HELD_REAPER_H

#include <check.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <tmem/tmem.h>

struct tm_context;

enum tm_held { TM_HELD_NOT, TM_HELD_NOT_YET, TM_HELD_NOW };

struct tm_held_reaper {
	pthread_t thread;
	_Atomic enum tm_held held;
};

/* The wrappers are called by the store, which knows nothing of this test. */
static struct tm_held_reaper tm_held_reaper;
static __thread bool tm_is_held_reaper;

bool __real_tm_reap(struct tm_context *context, uint32_t max);
bool __wrap_tm_reap(struct tm_context *context, uint32_t max);
void __real_tm_page_release(struct tm_context *context, uint32_t number,
			    uint64_t state);
void __wrap_tm_page_release(struct tm_context *context, uint32_t number,
			    uint64_t state);

bool __wrap_tm_reap(struct tm_context *context, uint32_t max)
{
	if (!tm_is_held_reaper)
		atomic_store(&tm_held_reaper.held, TM_HELD_NOT);
	return __real_tm_reap(context, max);
}

void __wrap_tm_page_release(struct tm_context *context, uint32_t number,
			    uint64_t state)
{
	if (tm_is_held_reaper &&
	    atomic_load(&tm_held_reaper.held) == TM_HELD_NOT_YET)
		atomic_store(&tm_held_reaper.held, TM_HELD_NOW);
	while (tm_is_held_reaper &&
	       atomic_load(&tm_held_reaper.held) == TM_HELD_NOW)
		sched_yield();
	__real_tm_page_release(context, number, state);
}

static void *tm_reap_held(void *opaque)
{
	tm_is_held_reaper = true;
	tmem_store_step(opaque);
	return NULL;
}

/* @store has pages to reap; returns when the reaper is held. */
static inline void tm_held_reaper_begin(struct tmem_store *store)
{
	atomic_store(&tm_held_reaper.held, TM_HELD_NOT_YET);
	ck_assert_int_eq(pthread_create(&tm_held_reaper.thread, NULL,
					tm_reap_held, store),
			 0);
	while (atomic_load(&tm_held_reaper.held) != TM_HELD_NOW)
		sched_yield();
}

static inline void tm_held_reaper_end(void)
{
	atomic_store(&tm_held_reaper.held, TM_HELD_NOT);
	pthread_join(tm_held_reaper.thread, NULL);
}

#endif
