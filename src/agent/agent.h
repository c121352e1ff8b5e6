/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The agent: all guests, one loop (see agent.c).
 */
#ifndef TM_AGENT_H
#define TM_AGENT_H

#include "agent_config.h"
#include "guest.h"

/* Where the agent says how its guests are, and what one that was killed had
 * said there (see agent_state.c). */
struct tm_agent_state {
	const struct tm_agent_log *log;
	char path[TM_AGENT_PATH_SIZE]; /* "": none is kept */
	bool is_asked_for;
	int lock_fd; /* -1: it is not ours */
	bool is_others; /* but another agent's, which has it or may come */
	bool is_refused; /* the last attempt was, and the log says so */
	uint64_t written_ns;
	/* guests of an agent that was killed that nobody has taken up yet */
	struct tm_balloon_guest *left;
	size_t left_count;
};

struct tm_agent {
	int argc; /* to read the configuration again */
	char **argv;
	struct tm_agent_config *config;
	struct tm_agent_log log;
	struct tm_guest *guests;
	int signal_fd;
	struct tm_agent_state state;
};

/* Serves until SIGTERM or SIGINT, then gives all memory back. 0; or a negative
 * errno: it could not start, which is logged. */
int tm_agent_run(struct tm_agent *agent);

/* Write what is known of @guests to @path, in place of what was there. 0 or a
 * negative errno. */
int tm_agent_state_write(const char *path, const struct tm_guest *guests);

/* Locks what @config names, and reads what was left there. What goes wrong is
 * logged. */
void tm_agent_state_open(struct tm_agent_state *state,
			 const struct tm_agent_log *log,
			 const struct tm_agent_config *config);
/* Of what was left: what drove the same by the same means, or NULL; until the
 * next call of any of these but this. */
const struct tm_balloon_guest *
tm_agent_state_find(const struct tm_agent_state *state,
		    const struct tm_agent_guest_config *config);
/* Somebody will give back what @left had. */
void tm_agent_state_take_up(struct tm_agent_state *state,
			    const struct tm_balloon_guest *left);
/* Writes it, once a second at most; the first time says what was left and not
 * taken up. */
void tm_agent_state_keep(struct tm_agent_state *state,
			 const struct tm_guest *guests, uint64_t now_ns);
/* Lets go of it; the file stays as it is. */
void tm_agent_state_leave(struct tm_agent_state *state);
/* Takes the file away as well. */
void tm_agent_state_close(struct tm_agent_state *state);

#endif
