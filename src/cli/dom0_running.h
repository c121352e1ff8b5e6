/* SPDX-License-Identifier: BSD-2-Clause */
/* What a running dom0 says of itself (see dom0_running.c). */
#ifndef TM_DOM0_RUNNING_H
#define TM_DOM0_RUNNING_H

#include <stdbool.h>
#include <stdint.h>

struct tm_dom0_running {
	uint32_t xen;
	uint32_t linux_version;
	bool is_classic;
	uint64_t current_kib;
	uint64_t target_kib; /* 0: its kernel has no CONFIG_XEN_BALLOON */
	uint64_t total_kib; /* MemTotal */
	char dom0_mem[512]; /* as Xen was booted, or empty */
};

/* Reads /proc and /sys below @root, and asks xl for Xen's command line. 0, or
 * a negative errno after a message. */
int tm_dom0_running_read(struct tm_dom0_running *running, const char *root);

#endif
