/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A file that has its name when all of it is there, and not before (see
 * whole_file.c).
 */
#ifndef TM_WHOLE_FILE_H
#define TM_WHOLE_FILE_H

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>

struct tm_whole_file {
	const char *path;	/* "-": standard output */
	int fd;
	char *temporary;	/* NULL: the path itself is written to */
	sigset_t signals;	/* those that are watched */
	sigset_t mask;		/* what it was */
	pthread_t watcher;
};

/* @path outlives the file. 0, or a negative errno after a message. */
int tm_whole_file_open(struct tm_whole_file *file, const char *path);
/* All of @size bytes. 0, or a negative errno after a message. */
int tm_whole_file_write(struct tm_whole_file *file, const void *bytes,
			size_t size);
/*
 * The end: it is on its disk and gets its name, or, unless @is_good, it goes.
 * 0, or a negative errno after a message: it went.
 */
int tm_whole_file_close(struct tm_whole_file *file, bool is_good);

#endif
