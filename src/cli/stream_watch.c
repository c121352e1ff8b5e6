/* SPDX-License-Identifier: BSD-2-Clause */
/* See stream_watch.h. */
#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <unistd.h>

#include "cli.h"
#include "stream_watch.h"

int tm_stream_watch_open(struct tm_stream_watch *watch, const char *what)
{
	watch->what = what;
	watch->is_shown = false;
	return tm_save_in_open(&watch->in, NULL, NULL);
}

static int explain(struct tm_stream_watch *watch, int err)
{
	if (!err)
		return 0;
	tm_stream_watch_close(watch);
	tm_cli_error("%s", watch->in.error);
	return -ECANCELED;
}

int tm_stream_watch_push(struct tm_stream_watch *watch, const void *bytes,
			 size_t size)
{
	int err = tm_save_in_push(&watch->in, bytes, size);

	if (!err && watch->in.has_client) {
		if (!watch->is_shown)
			tm_progress_begin(&watch->progress, watch->what,
					  watch->in.pages_expected);
		watch->is_shown = true;
		watch->progress.total = watch->in.pages_expected;
		tm_progress_at(&watch->progress, watch->in.pages);
	}
	return explain(watch, err);
}

int tm_stream_watch_finish(struct tm_stream_watch *watch)
{
	return explain(watch, tm_save_in_finish(&watch->in));
}

void tm_stream_watch_close(struct tm_stream_watch *watch)
{
	if (watch->is_shown)
		tm_progress_end(&watch->progress);
	watch->is_shown = false;
	tm_save_in_close(&watch->in);
}

void tm_stream_watch_warn(const struct tm_stream_watch *watch)
{
	if (watch->in.lost)
		tm_cli_error("warning: %" PRIu64 " pages of client \"%s\" "
			     "were damaged in the store and are lost",
			     watch->in.lost, watch->in.client.name);
}

int tm_write_all(int fd, const void *bytes, size_t size)
{
	const char *at = bytes;

	while (size) {
		ssize_t n = write(fd, at, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		at += n;
		size -= (size_t)n;
	}
	return 0;
}
