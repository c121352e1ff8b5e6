/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The attacks of vhost-user-hostile, and what they share.
 */
#ifndef TM_HOSTILE_H
#define TM_HOSTILE_H

#include "vhost_peer.h"

/**
 * struct hostile_attack - one lie of a front end
 * @name: as on the command line
 * @tells: what it does, in a few words
 * @wants_setup: a well-behaved set-up of one queue comes first
 * @run: does it. Says nothing of the outcome: whatever a back end answers is
 *	right, as long as it answers the next front end.
 */
struct hostile_attack {
	const char *name;
	const char *tells;
	bool wants_setup;
	void (*run)(struct vhost_peer *peer);
};

/* Each ends with a row without a name. */
extern const struct hostile_attack hostile_messages[];
extern const struct hostile_attack hostile_memory[];
extern const struct hostile_attack hostile_rings[];
extern const struct hostile_attack hostile_requests[];

/* Offers @head of queue 0 and kicks; waits a little for an answer, which need
 * not come. */
void hostile_offer(struct vhost_peer *peer, uint16_t head);
/* Long enough for a back end to have looked. */
void hostile_wait(struct vhost_peer *peer);

#endif
