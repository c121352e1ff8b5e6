/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Could a file be made?
 *
 * To try is the only sure answer, but --check-config and a reload promise to
 * leave nothing behind. So the nearest directory that is there is asked: is it
 * one, and may we write in it? What this cannot see (a full file system, a
 * security module) is found out when the file is made.
 */
#include <config.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "makeable.h"

/* Of the directory that @length bytes of @path are in; 1: it is the root. */
static size_t parent_length(const char *path, size_t length)
{
	while (length > 1 && path[length - 1] != '/')
		length--;
	while (length > 1 && path[length - 1] == '/')
		length--;
	return length;
}

int tm_makeable(const char *path, unsigned levels, char *at, size_t at_size)
{
	size_t length = parent_length(path, strlen(path));
	struct stat status;

	for (;;) {
		snprintf(at, at_size, "%.*s", (int)length, path);
		if (!stat(at, &status))
			break;
		if (errno != ENOENT || length == 1 || !levels--)
			return -errno;
		length = parent_length(path, length);
	}
	if (!S_ISDIR(status.st_mode))
		return -ENOTDIR;
	return access(at, W_OK | X_OK) ? -errno : 0;
}
