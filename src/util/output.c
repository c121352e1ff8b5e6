/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Whether what a program has printed arrived.
 *
 * printf() puts bytes into a buffer; a full disk shows when the buffer is
 * written, often after the last call that could have been checked, and nobody
 * looks at what exit() does. To check each call would be a hundred checks. The
 * stream remembers that a write failed, so one look at the end is enough.
 *
 * A reader that has gone (`| head`) wants no more: that is a failure without a
 * message, where the signal has not ended the program before.
 */
#include <config.h>

#include "output.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* A write that failed a while ago has left no reason but this one. */
static int reason(void)
{
	struct pollfd out = { .fd = fileno(stdout) };

	return poll(&out, 1, 0) > 0 && out.revents & POLLERR ? EPIPE : 0;
}

int tm_output_finish(const char *program, int status)
{
	bool has_failed = ferror(stdout);
	int err = fflush(stdout) ? errno : has_failed ? reason() : 0;

	/* Closed from the beginning, and nothing was printed: EBADF. */
	if (fclose(stdout) && !err && errno != EBADF)
		err = errno;
	if (!err && !has_failed)
		return status;
	if (err != EPIPE)
		fprintf(stderr, "%s: standard output cannot be written%s%s\n",
			program, err ? ": " : "", err ? strerror(err) : "");
	return status ? status : 1;
}
