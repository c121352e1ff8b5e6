/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What systemd is told; nothing where it is not there.
 */
#ifndef TM_NOTIFY_H
#define TM_NOTIFY_H

#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

#ifdef HAVE_SYSTEMD
#include <systemd/sd-daemon.h>
#endif

#include "clock.h"

static inline void tm_notify(const char *state)
{
#ifdef HAVE_SYSTEMD
	sd_notify(0, state);
#else
	(void)state;
#endif
}

/* Serves; @is_successor: and the process that systemd started does not. */
static inline void tm_notify_ready(bool is_successor)
{
	char state[64];

	snprintf(state, sizeof(state), "READY=1\nMAINPID=%ld", (long)getpid());
	tm_notify(is_successor ? state : "READY=1");
}

static inline void tm_notify_reloading(void)
{
	char state[64];

	snprintf(state, sizeof(state), "RELOADING=1\nMONOTONIC_USEC=%llu",
		 (unsigned long long)(tm_clock_now_ns(tm_clock_system()) /
				      1000));
	tm_notify(state);
}

#endif
