/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The guard: what no configuration of the control law can do to a guest.
 *
 * The problem: the law knows what a guest has promised to its processes, not
 * how it fares; and it can be tuned to anything. Ballooning from outside the
 * kernel was tried before and ended in processes killed for want of memory. The
 * idea: a second opinion, from what the kernel counts when it is short, that
 * can only ever ask for more memory than the law.
 *
 *	target >= the built-in floor		whatever min_usable_mb says
 *	target >= used + used / 8		used = current - available
 *	target >= current			when nothing is known yet, and
 *						for WARY_NS after pressure
 *	target >= half way to all there is	under pressure, at every look
 *	target <= all there is
 *
 * Pressure is any of: tasks stalled on memory for STALL_PCT of the time, more
 * than FAULTS_PER_S major faults or SWAPPED_PER_S pages swapped per second, in
 * or out, less than 1/16 of its memory available. Half the way each second
 *gives all of it back in seconds without handing a guest that was short for a
 *moment everything at once.
 *
 * The second rule keeps the balloon itself from causing the last of these, so
 * that the two do not take turns. Between two looks a guest can use up all it
 * has: swap, or a balloon that deflates on OOM, are still needed.
 *
 * Pure: time and readings are the caller's. One thread at a time.
 */
#include <config.h>

#include "balloon_guard.h"

#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_S UINT64_C(1000000000)
#define STALL_PCT 10
#define FAULTS_PER_S 100
#define SWAPPED_PER_S 100
#define WARY_NS (30 * NS_PER_S)
/* Rates over less than this say nothing. */
#define RATE_NS_MIN (500 * NS_PER_MS)

const char *tm_guard_verdict_name(enum tm_guard_verdict verdict)
{
	switch (verdict) {
	case TM_GUARD_CALM:
		return "calm";
	case TM_GUARD_NEW:
		return "new";
	case TM_GUARD_PRESSED:
		return "pressed";
	case TM_GUARD_WARY:
		return "wary";
	}
	return "?";
}

uint64_t tm_guard_sum(uint64_t a, uint64_t b)
{
	if (a == TM_GUARD_UNKNOWN || b == TM_GUARD_UNKNOWN)
		return a == TM_GUARD_UNKNOWN ? b : a;
	return a < TM_GUARD_UNKNOWN - b ? a + b : TM_GUARD_UNKNOWN;
}

void tm_guard_forget(struct tm_guard *guard)
{
	*guard = (struct tm_guard){ 0 };
}

void tm_guard_alarm(struct tm_guard *guard)
{
	guard->is_alarmed = true;
}

static uint64_t max_of(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* Did a counter rise by more than @limit per second? */
static bool rises(uint64_t from, uint64_t to, uint64_t elapsed_ns,
		  uint64_t limit_per_s)
{
	if (from == TM_GUARD_UNKNOWN || to == TM_GUARD_UNKNOWN || to <= from)
		return false;
	return (double)(to - from) * (double)NS_PER_S >
	       (double)limit_per_s * (double)elapsed_ns;
}

static bool fell(uint64_t from, uint64_t to)
{
	return from != TM_GUARD_UNKNOWN && to != TM_GUARD_UNKNOWN && to < from;
}

static bool is_short(const struct tm_guard_reading *reading)
{
	return reading->available_pages != TM_GUARD_UNKNOWN &&
	       reading->available_pages < reading->law.current_pages / 16;
}

static void remember(struct tm_guard *guard,
		     const struct tm_guard_reading *reading, uint64_t now_ns)
{
	guard->is_primed = true;
	guard->read_ns = now_ns;
	guard->stalled_us = reading->stalled_us;
	guard->major_faults = reading->major_faults;
	guard->swapped_pages = reading->swapped_pages;
}

/* How the guest fares since the last reading. */
static enum tm_guard_verdict judge(struct tm_guard *guard,
				   const struct tm_guard_reading *reading,
				   uint64_t now_ns)
{
	uint64_t elapsed_ns = now_ns - guard->read_ns;
	enum tm_guard_verdict calm =
		now_ns < guard->wary_until_ns ? TM_GUARD_WARY : TM_GUARD_CALM;
	bool is_pressed = is_short(reading) || guard->is_alarmed;

	guard->is_alarmed = false;
	/* A counter that falls is another boot's. */
	if (!guard->is_primed || now_ns < guard->read_ns ||
	    fell(guard->stalled_us, reading->stalled_us) ||
	    fell(guard->major_faults, reading->major_faults) ||
	    fell(guard->swapped_pages, reading->swapped_pages)) {
		remember(guard, reading, now_ns);
		calm = TM_GUARD_NEW;
	} else if (elapsed_ns >= RATE_NS_MIN) {
		is_pressed |=
			rises(guard->stalled_us, reading->stalled_us,
			      elapsed_ns, STALL_PCT * 10000) ||
			rises(guard->major_faults, reading->major_faults,
			      elapsed_ns, FAULTS_PER_S) ||
			rises(guard->swapped_pages, reading->swapped_pages,
			      elapsed_ns, SWAPPED_PER_S);
		remember(guard, reading, now_ns);
	}
	if (!is_pressed)
		return calm;
	guard->wary_until_ns = now_ns + WARY_NS;
	return TM_GUARD_PRESSED;
}

/* What the guest uses, and an eighth; 0: not known. */
static uint64_t in_use(const struct tm_guard_reading *reading)
{
	uint64_t current_pages = reading->law.current_pages;
	uint64_t used_pages;

	if (reading->available_pages == TM_GUARD_UNKNOWN ||
	    reading->available_pages > current_pages)
		return 0;
	used_pages = current_pages - reading->available_pages;
	return used_pages + used_pages / 8;
}

/* As much again as it lacks, from wherever the last look led. */
static uint64_t give(struct tm_guard *guard, uint64_t current_pages,
		     uint64_t max_pages)
{
	uint64_t from_pages = max_of(current_pages, guard->given_pages);

	if (from_pages < max_pages)
		from_pages += (max_pages - from_pages + 1) / 2;
	guard->given_pages = from_pages;
	return from_pages;
}

static uint64_t least_target(struct tm_guard *guard,
			     const struct tm_guard_reading *reading,
			     struct tm_guard_decision *decision)
{
	uint64_t current_pages = reading->law.current_pages;
	uint64_t least_pages = max_of(decision->floor_pages, in_use(reading));

	switch (decision->verdict) {
	case TM_GUARD_PRESSED:
		least_pages = max_of(least_pages, give(guard, current_pages,
						       reading->law.max_pages));
		return least_pages;
	case TM_GUARD_WARY:
	case TM_GUARD_NEW:
		return max_of(least_pages,
			      max_of(current_pages, guard->given_pages));
	case TM_GUARD_CALM:
		break;
	}
	guard->given_pages = 0;
	return least_pages;
}

/* Pages of the balloon for usable pages of the guest. */
static uint64_t to_reservation(const struct tm_selfballoon_reading *law,
			       uint64_t usable_pages)
{
	if (law->current_pages > law->usable_pages)
		return usable_pages + (law->current_pages - law->usable_pages);
	return usable_pages;
}

void tm_guard_tick(struct tm_guard *guard, struct tm_selfballoon *selfballoon,
		   const struct tm_guard_reading *reading, uint64_t now_ns,
		   struct tm_guard_decision *decision)
{
	const struct tm_selfballoon_reading *law = &reading->law;
	struct tm_selfballoon_step step = { 0 };
	uint64_t least_pages, bound_pages;

	*decision = (struct tm_guard_decision){
		.verdict = judge(guard, reading, now_ns),
		.goal_pages = to_reservation(
			law, tm_selfballoon_goal(&selfballoon->tunables, law)),
		.floor_pages = to_reservation(
			law, tm_selfballoon_floor(law->max_pages,
						  law->reserve_pages, 0)),
	};
	if (tm_selfballoon_is_due(selfballoon, now_ns))
		tm_selfballoon_pass(selfballoon, law, now_ns, &step);
	least_pages = least_target(guard, reading, decision);
	/* Where it is, or is on its way to. */
	bound_pages = law->current_pages;
	if (guard->asked_pages && guard->asked_pages < bound_pages)
		bound_pages = guard->asked_pages;
	if (!step.has_target && least_pages <= bound_pages)
		return;
	decision->has_target = true;
	decision->target_pages = max_of(step.target_pages, least_pages);
	if (decision->target_pages > law->max_pages)
		decision->target_pages = law->max_pages;
	guard->asked_pages = decision->target_pages;
}
