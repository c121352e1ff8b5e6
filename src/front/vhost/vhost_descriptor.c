/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Descriptors of a front end that are none of ours.
 *
 * The problem: a descriptor can be of a file system in user space, and so of
 * the front end itself. Whoever asks such a file what it is waits for the
 * answer, and so does whoever closes it: the last thing that is said to it is
 * answered, too, when it pleases. A thread that waits there cannot be ended,
 * and its door cannot be closed.
 *
 * The idea: a descriptor is asked nothing that its file system answers. Only
 * memory of the kernel's has seals; that a descriptor is an event stands in its
 * name. Any other ends the connection, and is closed by a thread that nobody
 * waits for. Until that is done the door lets nobody in, so that a door has one
 * such thread, whatever is sent to it.
 *
 * The bound: what a thread waits for ends with the file system's server.
 *
 * Shared by the door and the thread; the last one frees it.
 */
#include <config.h>

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vhost_descriptor.h"
#include "vhost_device.h"

struct tm_vhost_strangers {
	_Atomic int users;
	size_t count;
	int fds[];
};

bool tm_vhost_is_eventfd(int fd)
{
	static const char eventfd_is[] = "anon_inode:[eventfd]";
	char path[32], link[sizeof(eventfd_is) + 1];
	ssize_t length;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	length = readlink(path, link, sizeof(link));
	return length == sizeof(eventfd_is) - 1 &&
	       !memcmp(link, eventfd_is, sizeof(eventfd_is) - 1);
}

bool tm_vhost_is_memory(int fd)
{
	return fcntl(fd, F_GET_SEALS) >= 0;
}

static void close_all(const int *fds, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (fds[i] >= 0)
			close(fds[i]);
}

void tm_vhost_strangers_forget(struct tm_vhost_strangers *strangers)
{
	if (strangers && atomic_fetch_sub(&strangers->users, 1) == 1)
		free(strangers);
}

static void *run(void *opaque)
{
	struct tm_vhost_strangers *strangers = opaque;

	close_all(strangers->fds, strangers->count);
	tm_vhost_strangers_forget(strangers);
	return NULL;
}

struct tm_vhost_strangers *tm_vhost_strangers_close(const int *fds,
						    size_t count)
{
	struct tm_vhost_strangers *strangers =
		malloc(sizeof(*strangers) + count * sizeof(*fds));
	pthread_t thread;

	if (strangers) {
		atomic_init(&strangers->users, 2);
		strangers->count = count;
		memcpy(strangers->fds, fds, count * sizeof(*fds));
		if (!tm_vhost_thread(&thread, run, strangers)) {
			pthread_detach(thread);
			return strangers;
		}
		free(strangers);
	}
	close_all(fds, count);
	return NULL;
}

bool tm_vhost_strangers_are_gone(const struct tm_vhost_strangers *strangers)
{
	return !strangers || atomic_load(&strangers->users) == 1;
}
