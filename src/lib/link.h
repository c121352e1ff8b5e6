/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One connection to a daemon, and the calls that go over it.
 *
 * Glossary.
 * - A *link* is one connection: socket, memory, rings. It is never repaired: a
 *   client whose daemon went away makes another, with memory of its own, since
 *   who hung up may still be writing into the old one's.
 * - A *lane* is a ring as a calling thread uses it. It outlives links, and
 *   moves to the client's new one when it next needs to.
 * - A *call* is one request, with the caller's buffers. These are what is
 *   sent again over the next link: nothing is kept for it.
 */
#ifndef TM_LINK_H
#define TM_LINK_H

#include <stdatomic.h>
#include <stdbool.h>

#include <tmem/tmem.h>

#include "doorbell.h"
#include "lock.h"
#include "ring_abi.h"

#define TM_LANE_ENTRIES 32

struct tm_link {
	_Atomic uint32_t references;
	_Atomic bool is_down;
	/* set at creation, then constant */
	int fd;
	uint8_t *memory;
	size_t memory_bytes;
	uint8_t *rings_at;
	size_t ring_bytes;
	uint32_t rings;
	uint32_t entries;
	uint64_t last_call;	/* the daemon's record of it, at the start */
	/* the first ring was used to set things up; lane 0 goes on there */
	uint32_t first_count;
};

struct tm_link_config {
	const char *socket;
	const char *name;
	uint32_t rings;		/* exactly these, if is_exact */
	bool is_exact;
};

/* Waits until @deadline_ns at most. 0 or a negative errno. */
int tm_link_open(const struct tm_link_config *config, uint64_t deadline_ns,
		 struct tm_link **link);
void tm_link_hold(struct tm_link *link);
void tm_link_release(struct tm_link *link);
/* Nobody is to use it any more: the daemon hears of it. */
void tm_link_down(struct tm_link *link);
/* Has the daemon hung up, or been hung up on? */
bool tm_link_is_down(struct tm_link *link);

struct tm_call {
	struct tm_ring_op op;	/* frame is filled in when it is sent */
	uint32_t flags;
	const void *in;		/* a page, or NULL */
	void *out;		/* @out_bytes, or NULL; written on success */
	uint32_t out_bytes;
	int result;
	bool is_taken;		/* the page is here, the rest is a flush */
};

struct tm_lane {
	/* guarded by lock, number constant */
	struct tm_lock lock __attribute__((aligned(64)));
	uint32_t number;
	struct tm_link *link;	/* NULL: none so far */
	struct tm_ring_head *head;
	struct tm_ring_submission *submissions;
	struct tm_ring_completion *completions;
	uint8_t *pages;
	uint32_t submitted;
	uint32_t completed;
	struct tm_patience patience;
};

void tm_lane_init(struct tm_lane *lane, uint32_t number);
/* From now on over @link; takes a reference, lets go of the one it had. */
void tm_lane_move(struct tm_lane *lane, struct tm_link *link);
/*
 * Carries out calls[*done] to calls[count - 1], which are under way together,
 * in order; *done counts those that are answered. 0, -EPIPE (the link is down),
 * -ETIMEDOUT (nothing was answered for @timeout_ns; what was sent may yet be
 * carried out).
 */
int tm_lane_run(struct tm_lane *lane, struct tm_call *calls, uint32_t count,
		uint32_t *done, uint64_t timeout_ns);
/* After -EPIPE, when the daemon has let go of the link: what it answered
 * before, and pages that it had handed over. */
void tm_lane_salvage(struct tm_lane *lane, struct tm_call *calls,
		     uint32_t count, uint32_t *done);
/* What is under way is given up: an answer to it is nobody's any more. */
void tm_lane_forget(struct tm_lane *lane);

#endif
