/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Locks on ranges of blocks: see disk_ranges.h.
 *
 * A count only falls once its range is in the list, and only under the list's
 * lock; the waiter reads it without. It may see zero, and leave, before the
 * wake-up that follows: the address is then somebody else's stack, and a
 * sleeper there wakes for nothing and sleeps on.
 */
#include <config.h>

#include "disk_ranges.h"

void tm_ranges_init(struct tm_ranges *ranges)
{
	tm_lock_init(&ranges->lock, TM_RANK_DISK_RANGES);
	ranges->head = NULL;
	ranges->tail = NULL;
}

static bool is_conflict(const struct tm_range *a, const struct tm_range *b)
{
	return a->first < b->end && b->first < a->end &&
	       !(a->is_shared && b->is_shared);
}

static void wait_for_range(struct tm_range *range)
{
	uint32_t blockers;

	while ((blockers = atomic_load_explicit(&range->blockers,
						memory_order_acquire)))
		syscall(SYS_futex, &range->blockers,
			FUTEX_WAIT | FUTEX_PRIVATE_FLAG, blockers, NULL, NULL,
			0);
}

static void acquire(struct tm_ranges *ranges, struct tm_range *range)
{
	uint32_t blockers = 0;

	tm_lock_acquire(&ranges->lock);
	for (const struct tm_range *r = ranges->head; r; r = r->next)
		blockers += is_conflict(r, range);
	atomic_init(&range->blockers, blockers);
	range->next = NULL;
	range->previous = ranges->tail;
	if (ranges->tail)
		ranges->tail->next = range;
	else
		ranges->head = range;
	ranges->tail = range;
	tm_lock_release(&ranges->lock);
	if (blockers)
		wait_for_range(range);
}

void tm_range_acquire(struct tm_ranges *ranges, struct tm_range *range,
		      uint64_t first, uint64_t end)
{
	range->first = first;
	range->end = end;
	range->is_shared = false;
	acquire(ranges, range);
}

void tm_range_acquire_shared(struct tm_ranges *ranges, struct tm_range *range,
			     uint64_t first, uint64_t end)
{
	range->first = first;
	range->end = end;
	range->is_shared = true;
	acquire(ranges, range);
}

void tm_range_release(struct tm_ranges *ranges, struct tm_range *range)
{
	tm_lock_acquire(&ranges->lock);
	if (range->previous)
		range->previous->next = range->next;
	else
		ranges->head = range->next;
	if (range->next)
		range->next->previous = range->previous;
	else
		ranges->tail = range->previous;
	for (struct tm_range *r = range->next; r; r = r->next)
		if (is_conflict(range, r) &&
		    atomic_fetch_sub_explicit(&r->blockers, 1,
					      memory_order_release) == 1)
			syscall(SYS_futex, &r->blockers,
				FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1, NULL, NULL,
				0);
	tm_lock_release(&ranges->lock);
}
