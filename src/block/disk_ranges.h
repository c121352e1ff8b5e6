/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Locks on ranges of blocks, shared or exclusive, first come first served.
 *
 * The problem: what a request does to a block takes several steps (a page, a
 * file, flags), and two requests must not mix theirs; but a disk has millions
 * of blocks and its requests cover many at once, so neither a lock for each
 * block nor one for all will do. The idea: a list of the ranges that are held
 * or waited for, in order of arrival, each in its holder's stack. Who comes
 * counts those before it that overlap; who goes takes itself off the count of
 * those behind it, and wakes whom that leaves with none. Nobody overtakes, so
 * nobody starves, and there are no two orders to deadlock in: a thread holds
 * one range at a time.
 *
 * The bound: taking and letting go look at the whole list, which is as long as
 * there are threads inside. The list's lock is held for that, and for no call
 * to anything else but a wake-up.
 */
#ifndef TM_DISK_RANGES_H
#define TM_DISK_RANGES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "lock.h"

/* A range of blocks, held or waited for; lives on the stack of whose it is. */
struct tm_range {
	/* Guarded by the list's lock. */
	struct tm_range *next, *previous;
	/* Constant while it is in the list. */
	uint64_t first, end;
	bool is_shared;
	/* Ranges before this one that keep it waiting; a futex. */
	_Atomic uint32_t blockers;
};

struct tm_ranges {
	struct tm_lock lock;
	struct tm_range *head, *tail; /* guarded by lock */
};

void tm_ranges_init(struct tm_ranges *ranges);

/* Waits until the blocks [@first, @end) are its own, or its own and those of
 * other sharers. */
void tm_range_acquire(struct tm_ranges *ranges, struct tm_range *range,
		      uint64_t first, uint64_t end);
void tm_range_acquire_shared(struct tm_ranges *ranges, struct tm_range *range,
			     uint64_t first, uint64_t end);

void tm_range_release(struct tm_ranges *ranges, struct tm_range *range);

#endif
