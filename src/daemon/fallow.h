/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A memory limit that follows what the host has to spare (see fallow.c).
 */
#ifndef TM_FALLOW_H
#define TM_FALLOW_H

#include <stdbool.h>

#include "config.h"
#include "daemon_log.h"

struct tm_fallow;

/* Where the host says how it is; for tests. */
struct tm_fallow_host {
	const char *meminfo;		/* NULL: /proc/meminfo */
	const char *pressure;		/* NULL: /proc/pressure/memory */
	const char *own_cgroup;		/* NULL: /proc/self/cgroup */
	const char *cgroups;		/* NULL: /sys/fs/cgroup */
};

/*
 * Watches the host. @log and @host's strings outlive it. 0; or a negative
 * errno: the host does not say how much memory is free.
 */
int tm_fallow_open(const struct tm_config_memory *memory,
		   const struct tm_fallow_host *host,
		   struct tm_daemon_log *log, struct tm_fallow **fallow);
void tm_fallow_close(struct tm_fallow *fallow);
/* Another max or reserve from now on. */
void tm_fallow_configure(struct tm_fallow *fallow,
			 const struct tm_config_memory *memory);

/* To be polled for POLLPRI: the host is short of memory. -1: it does not say. */
int tm_fallow_pressure_fd(const struct tm_fallow *fallow);

/* The limit that a store which holds @used_bytes may have now, in bytes; at
 * most @max_bytes, and at least the smallest there is. */
uint64_t tm_fallow_limit(struct tm_fallow *fallow, uint64_t used_bytes,
			 uint64_t max_bytes);

/*
 * Does what is to be done now, in a bounded step.
 *
 * @is_pressed: poll() said so
 * @is_in_use: somebody is attached
 *
 * Return: when to be called again, in milliseconds; -1: when there is pressure,
 * or somebody attaches.
 */
int tm_fallow_step(struct tm_fallow *fallow, struct tmem_store *store,
		   bool is_pressed, bool is_in_use);

/* What the last step should have given back and could not: the rest of what is
 * held is persistent or guaranteed. */
uint64_t tm_fallow_lacking_bytes(const struct tm_fallow *fallow);

#endif
