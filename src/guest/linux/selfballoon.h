/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Selfballooning and frontswap-selfshrinking: the control law (see
 * selfballoon.c). Readings in, targets out; pages are of 4 KiB.
 */
#ifndef TM_SELFBALLOON_H
#define TM_SELFBALLOON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TM_PAGES_PER_MIB UINT64_C(256)
/* More pages than any machine has: readings above it are not to be trusted. */
#define TM_PAGES_MAX (UINT64_C(1) << 40)

/* Named as the files of the original; each has a row in the table. */
struct tm_selfballoon_tunables {
	uint32_t selfballooning; /* 0 or 1 */
	uint32_t selfballoon_interval_s;
	uint32_t selfballoon_downhysteresis;
	uint32_t selfballoon_uphysteresis;
	uint32_t selfballoon_min_usable_mb; /* 0: the piecewise floor */
	uint32_t selfballoon_reserved_mb;
	uint32_t frontswap_selfshrinking; /* 0 or 1 */
	uint32_t frontswap_hysteresis;
	uint32_t frontswap_inertia;
};

struct tm_selfballoon_tunable {
	const char *name; /* first, for tm_nearest() */
	const char *unit;
	const char *help;
	size_t offset; /* of its uint32_t in the tunables */
	uint32_t initial;
	bool is_switch; /* 0 or 1; all others: not 0, when written */
	/* 0 means something, and a configuration may say so. */
	bool may_be_zero;
};

const struct tm_selfballoon_tunable *tm_selfballoon_tunables(size_t *count);
void tm_selfballoon_defaults(struct tm_selfballoon_tunables *tunables);
/*
 * As a configuration sets it: decimal digits, and 0 where it means something.
 *
 * Return: 0; -ENOENT: no such tunable; -EINVAL: not a number that it may have,
 * and nothing has changed.
 */
int tm_selfballoon_configure(struct tm_selfballoon_tunables *tunables,
			     const char *name, const char *text);
uint32_t
tm_selfballoon_tunable_get(const struct tm_selfballoon_tunables *tunables,
			   const struct tm_selfballoon_tunable *row);

/* What a kernel was built with and booted with. */
struct tm_selfballoon_boot {
	bool is_guest; /* of Xen, and not dom0 */
	bool has_balloon; /* its driver is up */
	bool is_tmem_enabled;
	bool is_frontswap_built;
	bool is_frontswap_enabled; /* registered: it takes pages */
	/* words of the command line */
	bool noselfballooning;
	bool selfballooning;
	bool noselfshrink;
};

/* A guest at one moment. */
struct tm_selfballoon_reading {
	uint64_t usable_pages; /* totalram: what the kernel manages */
	uint64_t committed_pages; /* Committed_AS */
	uint64_t reserve_pages; /* totalreserve: kept by watermarks */
	uint64_t frontswap_pages; /* held outside for it */
	uint64_t max_pages; /* max_pfn: the most it can have */
	uint64_t current_pages; /* of the balloon: its reservation */
};

/* What one pass asks for. */
struct tm_selfballoon_step {
	bool has_target;
	uint64_t target_pages; /* of the balloon */
	bool has_shrink;
	uint64_t frontswap_pages; /* what is to stay outside */
};

struct tm_selfballoon {
	struct tm_selfballoon_tunables tunables;
	bool is_present;
	bool is_scheduled;
	uint64_t due_ns;
	/* selfshrinking */
	uint64_t last_frontswap_pages;
	uint32_t inertia_left;
};

/*
 * 0; -ENODEV: not here (no guest of Xen, dom0, or no balloon to drive): no
 * pass is ever due then, and writes say -ENODEV.
 */
int tm_selfballoon_init(struct tm_selfballoon *selfballoon,
			const struct tm_selfballoon_boot *boot,
			uint64_t now_ns);
/*
 * As its file in sysfs takes it. One newline at the end is ignored.
 *
 * Return: 0; -EPERM: @may_write is false (CAP_SYS_ADMIN); -ENODEV; -ENOENT;
 * -EINVAL: not decimal, too large, or 0 (or, of a switch, not 0 or 1).
 */
int tm_selfballoon_write(struct tm_selfballoon *selfballoon, bool may_write,
			 const char *name, const char *text, uint64_t now_ns);
/* Is a pass due? Its reading need not be taken before. */
bool tm_selfballoon_is_due(const struct tm_selfballoon *selfballoon,
			   uint64_t now_ns);
/* One pass of the worker, and when the next one is due. */
void tm_selfballoon_pass(struct tm_selfballoon *selfballoon,
			 const struct tm_selfballoon_reading *reading,
			 uint64_t now_ns, struct tm_selfballoon_step *step);

/* What the guest would be content with, in usable pages. */
uint64_t tm_selfballoon_goal(const struct tm_selfballoon_tunables *tunables,
			     const struct tm_selfballoon_reading *reading);
/* Below this, in usable pages, it is never driven. */
uint64_t tm_selfballoon_floor(uint64_t max_pages, uint64_t reserve_pages,
			      uint32_t min_usable_mb);
/* One step from here to the goal, in pages of the balloon. */
uint64_t tm_selfballoon_target(const struct tm_selfballoon_tunables *tunables,
			       const struct tm_selfballoon_reading *reading);

#endif
