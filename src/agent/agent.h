/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The agent: all guests, one loop (see agent.c).
 */
#ifndef TM_AGENT_H
#define TM_AGENT_H

#include "agent_config.h"
#include "guest.h"

struct tm_agent {
	int argc; /* to read the configuration again */
	char **argv;
	struct tm_agent_config *config;
	struct tm_agent_log log;
	struct tm_guest *guests;
	int signal_fd;
	/* at the start, what an agent that was killed has left behind */
	struct tm_balloon_guest *left;
	size_t left_count;
	uint64_t state_ns; /* when the state was last written */
	bool is_state_refused;
};

/* Serves until SIGTERM or SIGINT, then gives all memory back. 0; or a negative
 * errno: it could not start, which is logged. */
int tm_agent_run(struct tm_agent *agent);

/* Write what is known of @guests to @path, in place of what was there. 0 or a
 * negative errno. */
int tm_agent_state_write(const char *path, const struct tm_guest *guests);

#endif
