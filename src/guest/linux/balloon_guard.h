/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What stands between the control law and a guest (see balloon_guard.c).
 */
#ifndef TM_BALLOON_GUARD_H
#define TM_BALLOON_GUARD_H

#include "selfballoon.h"

#define TM_GUARD_UNKNOWN UINT64_MAX

/*
 * A guest at one moment, with signs of how it fares. The counters are since
 * some moment of the guest's own; any of them may be TM_GUARD_UNKNOWN.
 */
struct tm_guard_reading {
	struct tm_selfballoon_reading law;
	uint64_t available_pages; /* could be used without swapping */
	uint64_t stalled_us; /* PSI: some task waited for memory */
	uint64_t major_faults;
	uint64_t swapped_pages; /* in and out */
};

enum tm_guard_verdict {
	TM_GUARD_CALM, /* the law decides */
	TM_GUARD_NEW, /* no rates are known yet: no shrinking */
	TM_GUARD_PRESSED, /* the guest is short: it is given memory */
	TM_GUARD_WARY, /* it was, a moment ago: no shrinking */
};

struct tm_guard {
	bool is_primed;
	uint64_t read_ns;
	uint64_t stalled_us;
	uint64_t major_faults;
	uint64_t swapped_pages;
	bool is_alarmed;
	uint64_t wary_until_ns;
	uint64_t given_pages; /* the last target under pressure; 0: none */
	uint64_t asked_pages; /* the last target at all; 0: none */
};

struct tm_guard_decision {
	enum tm_guard_verdict verdict;
	bool has_target;
	uint64_t target_pages; /* of the balloon */
	/* for whoever watches, in pages of the balloon */
	uint64_t goal_pages;
	uint64_t floor_pages;
};

/*
 * To be called once a second or so, and at once on a pressure event: one
 * reading, through the law if it is due, and through the guard.
 */
void tm_guard_tick(struct tm_guard *guard, struct tm_selfballoon *selfballoon,
		   const struct tm_guard_reading *reading, uint64_t now_ns,
		   struct tm_guard_decision *decision);
/* The guest's pressure was seen by other means: the next tick acts on it. */
void tm_guard_alarm(struct tm_guard *guard);
/* Nothing is known of the guest any more: it may be another one. */
void tm_guard_forget(struct tm_guard *guard);

/* Of two counters, either of which may be unknown. */
uint64_t tm_guard_sum(uint64_t a, uint64_t b);

const char *tm_guard_verdict_name(enum tm_guard_verdict verdict);

#endif
