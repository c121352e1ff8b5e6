/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The control socket: what an operator sees and steers, as HTTP and JSON.
 *
 * A socket of its own, in a directory of its own (0700), apart from the
 * channel that clients use: nothing a client can say over its channel gets
 * here, and whoever does get here may do everything. A peer of another user
 * than the daemon's (or root) is turned away all the same. doc/control.md
 * describes the requests; any HTTP client will do.
 */
#ifndef TM_CONTROL_H
#define TM_CONTROL_H

#include <stddef.h>

#include <tmem/tmem.h>

#include "disk.h"
#include "vhost.h"

struct tm_control;
struct tm_registry;
struct tmem_xen;

/* A disk, as it is shown. */
struct tm_disk_report {
	char name[TMEM_CLIENT_NAME_MAX + 1];
	char socket[108];
	char file[1024];	/* its image or backing file, or "" */
	struct tm_disk_info disk;
	struct tm_vhost_info door;
};

/* The disks there are, where there are any. Errors come with one sentence in
 * @error. From any thread. */
struct tm_control_disks {
	/* As --vhost-user-blk describes it. */
	int (*add)(void *disks, const char *text, char *error,
		   size_t error_size);
	int (*remove)(void *disks, const char *name, char *error,
		      size_t error_size);
	int64_t (*demote)(void *disks, const char *name, uint64_t bytes,
			  char *error, size_t error_size);
	/* The @n-th; false: there are not so many. */
	bool (*report)(void *disks, size_t n, struct tm_disk_report *report);
};

/* What is controlled; all of it outlives the struct tm_control. */
struct tm_control_host {
	struct tmem_store *store;
	struct tm_registry *registry;
	struct tmem_xen *xen;	/* NULL: no raw list */
	/* How long a request that is no stream may take, from connect to the
	 * end of its answer. 0: a minute. */
	uint32_t request_ms;
	const struct tm_control_disks *disk_ops;	/* NULL: no disks */
	void *disks;		/* of those */
	void *opaque;		/* of the functions */
	/* A new limit as a person writes it ("2G", "auto,max=8G"). 0, or a
	 * negative errno after one sentence in @error. NULL: sizes only, given
	 * to the store. */
	int (*set_memory)(void *opaque, const char *memory, char *error,
			  size_t error_size);
	/* From any thread; NULL: nowhere. */
	void (*log)(void *opaque, enum tmem_log_level level, const char *text);
};

/*
 * Serves on @listen_fd, a listening UNIX socket, which is taken over (closed in
 * the end) unless this fails. Threads of its own, with all signals blocked; no
 * thread wakes up while nobody asks.
 *
 * Return: 0, -EINVAL (no such socket), -ENOMEM, or as the system said.
 */
int tm_control_open(const struct tm_control_host *host, int listen_fd,
		    struct tm_control **control);

/* Serves GET /metrics, and nothing else, to whoever reaches this listening
 * UNIX or TCP socket. One at most; -EBUSY for the second. */
int tm_control_add_metrics_listener(struct tm_control *control, int listen_fd);

/* Cuts connections, waits for requests under way. NULL is allowed. */
void tm_control_close(struct tm_control *control);

#endif
