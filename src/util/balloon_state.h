/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What tmem-balloon says of its guests, in a file (see balloon_state.c).
 */
#ifndef TM_BALLOON_STATE_H
#define TM_BALLOON_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The largest such file, in bytes: of as many guests as one agent drives, with
 * the longest names. */
#define TM_BALLOON_STATE_MAX (2 << 20)
#define TM_BALLOON_GUEST_SIZE 64

/* One guest; what the file does not say is 0. */
struct tm_balloon_guest {
	char name[TM_BALLOON_GUEST_SIZE];
	uint64_t current_bytes;
	uint64_t max_bytes;
	uint64_t target_bytes;
	uint64_t goal_bytes;
	uint64_t floor_bytes;
	bool has_before;
	uint64_t before_bytes; /* before it was driven; 0: without limit */
	bool is_trusted;
	/* what drives it and where, of 53 bits; 0: it is to get nothing back */
	uint64_t place;
};

/*
 * Read the file at the usual place: to be freed by the caller.
 *
 * Return: 0; -ENOENT: no agent runs, or it has stopped writing; -EPERM: it is
 * neither root's nor ours; -EBADMSG: it is something else; or another negative
 * errno.
 */
int tm_balloon_state_read(char **text);

/* As tm_balloon_state_read(), of a path, at a time in seconds. */
int tm_balloon_state_read_file(const char *path, int64_t now_s, char **text);

/* The guests in such a text: up to @max of them. Return: how many. */
size_t tm_balloon_state_parse(const char *text, struct tm_balloon_guest *guests,
			      size_t max);

#endif
