/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The disks that the daemon serves to virtual machines (see disks.c).
 */
#ifndef TM_DISKS_H
#define TM_DISKS_H

#include <stdbool.h>

#include "config_disk.h"
#include "control.h"
#include "registry.h"
#include "sockets.h"
#include "vhost.h"

struct tm_disks;

/* What disks are made of; all of it outlives them. */
struct tm_disks_host {
	struct tm_registry *registry;
	struct tm_sockets *sockets;
	void *opaque;
	/* From any thread: tm_disks_end_dropped() has something to do. */
	void (*changed)(void *opaque);
	void (*log)(void *opaque, enum tmem_log_level level, const char *text);
};

int tm_disks_open(const struct tm_disks_host *host, struct tm_disks **disks);
/* Doors close; disks and clients stay as they are, for who comes next. */
void tm_disks_close(struct tm_disks *disks);

/* From any thread, all but closing. Errors come with a sentence in @error. */

/* -EEXIST: there is one of that name. -EBUSY: see tm_disks_hold(). @given: NULL,
 * or its door in a predecessor. */
int tm_disks_add(struct tm_disks *disks, const struct tm_config_disk *config,
		 struct tm_vhost_given *given, char *error, size_t error_size);

/* Ends the disk and its client; waits for requests under way, and a demotion's
 * step. -ENOENT, -EBUSY. */
int tm_disks_remove(struct tm_disks *disks, const char *name, char *error,
		    size_t error_size);

/* Bytes demoted, fewer than asked for where the disk has no more, or is held or
 * removed meanwhile; or as tm_disk_demote(), -ENOENT, -EBUSY. */
int64_t tm_disks_demote(struct tm_disks *disks, const char *name,
			uint64_t bytes, char *error, size_t error_size);
/* The host is short of that much memory: pages of whichever disks have a
 * backing file are written there, by a thread of their own. Does not wait. */
void tm_disks_press(struct tm_disks *disks, uint64_t bytes);

/* The @n-th disk; false: there are not so many. */
bool tm_disks_report(struct tm_disks *disks, size_t n,
		     struct tm_disk_report *report);
/* How it was described; for a successor. */
bool tm_disks_describe(struct tm_disks *disks, size_t n,
		       struct tm_config_disk *config);

/* From now on adding, removing and demoting is -EBUSY; waits for those under way,
 * and a demotion's step. Until tm_disks_go_on(), or the end. NULL is allowed. */
void tm_disks_hold(struct tm_disks *disks);
void tm_disks_go_on(struct tm_disks *disks);
/* Its door is a successor's from now on; as tm_vhost_give(). The descriptors
 * are the disks' until they are closed. */
int tm_disks_give(struct tm_disks *disks, size_t n,
		  struct tm_vhost_given *given);

/* @member is destroyed: if it is a disk's, that is to end. */
void tm_disks_drop(struct tm_disks *disks, const struct tm_member *member);
/* Ends them; waits as tm_disks_remove() does. */
void tm_disks_end_dropped(struct tm_disks *disks);

/* For the control socket. */
const struct tm_control_disks *tm_disks_control(void);

#endif
