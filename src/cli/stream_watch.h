/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What save, restore and migrate know of the bytes that pass through them:
 * checked on the way, counted, and shown.
 */
#ifndef TM_STREAM_WATCH_H
#define TM_STREAM_WATCH_H

#include "report.h"
#include "save_stream.h"

struct tm_stream_watch {
	struct tm_save_in in;
	const char *what;
	struct tm_progress progress;
	bool is_shown;
};

/* @what: stands before the bar. 0, -ENOMEM. */
int tm_stream_watch_open(struct tm_stream_watch *watch, const char *what);
/* The next bytes. 0, or -ECANCELED after a message. */
int tm_stream_watch_push(struct tm_stream_watch *watch, const void *bytes,
			 size_t size);
/* That was all. The same. */
int tm_stream_watch_finish(struct tm_stream_watch *watch);
void tm_stream_watch_close(struct tm_stream_watch *watch);
/* Says how many pages were damaged at their source, if any. */
void tm_stream_watch_warn(const struct tm_stream_watch *watch);

/* All of @size bytes. 0 or a negative errno. */
int tm_write_all(int fd, const void *bytes, size_t size);

#endif
