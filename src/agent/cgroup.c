/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A control group, version 2, as a guest: its memory files tell, and two of
 * them drive.
 *
 *	current		memory.current
 *	committed	current less clean page cache and reclaimable slab
 *	most		memory.max, but not more than it ever used
 *	pressure	memory.pressure, and pgmajfault, pswpin and
 *			pswpout, or workingset_refault_anon of memory.stat
 *
 * A group has no Committed_AS: what its processes have promised each other is
 * not counted. What cannot be dropped is what it uses by the least; it can use
 * less than it has, so a group never seems to want more than it has, and that
 * it is short shows as pressure only.
 *
 * cgroup-reclaim asks the kernel to reclaim what is above the target, once per
 * step and at most STEP_PAGES, since the call lasts as long as that takes;
 * there is nothing to give back afterwards. cgroup-high holds the group at its
 * target, with an eighth above it to grow into without being throttled, and
 * gives back by raising it.
 */
#include <config.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guest.h"
#include "kernel_file.h"

#define STEP_PAGES (256 * TM_PAGES_PER_MIB)

static int cgroup_open(struct tm_guest *guest)
{
	uint64_t bytes;
	int err = tm_kernel_file_number(guest->config.cgroup, "memory.current",
					&bytes);

	if (err) {
		tm_guest_doubt(guest,
			       "%s/memory.current: %s (no folder of "
			       "cgroup 2 with the memory controller)",
			       guest->config.cgroup, strerror(-err));
		return err;
	}
	guest->pressure_fd =
		tm_kernel_file_watch(guest->config.cgroup, "memory.pressure");
	return 0;
}

static enum tm_look doubt_file(struct tm_guest *guest, const char *name,
			       const char *wrong, int err)
{
	return tm_guest_doubt(guest, "%s/%s: %s%s%s", guest->config.cgroup,
			      name, wrong, *wrong ? ": " : "", strerror(-err));
}

/* Bytes, or "max": nothing is set. */
static int read_limit(const struct tm_guest *guest, const char *name,
		      uint64_t *pages)
{
	char text[64];
	uint64_t bytes;
	int err = tm_kernel_file_read(guest->config.cgroup, name, text,
				      sizeof(text));

	*pages = UINT64_MAX;
	if (err || !strcmp(text, "max\n") || !strcmp(text, "max"))
		return err;
	err = tm_kernel_file_number(guest->config.cgroup, name, &bytes);
	if (!err)
		*pages = bytes / TM_PAGE_BYTES;
	return err;
}

static enum tm_look read_sizes(struct tm_guest *guest,
			       struct tm_guard_reading *reading)
{
	struct tm_selfballoon_reading *law = &reading->law;
	uint64_t bytes;
	int err = tm_kernel_file_number(guest->config.cgroup, "memory.current",
					&bytes);

	if (err)
		return doubt_file(guest, "memory.current", "", err);
	law->usable_pages = law->current_pages = bytes / TM_PAGE_BYTES;
	/* The root has none, and needs none. */
	err = read_limit(guest, "memory.max", &law->max_pages);
	if (err)
		return doubt_file(guest, "memory.max", "", err);
	if (!tm_kernel_file_number(guest->config.cgroup, "memory.peak",
				   &bytes) &&
	    bytes / TM_PAGE_BYTES > guest->peak_pages)
		guest->peak_pages = bytes / TM_PAGE_BYTES;
	if (law->current_pages > guest->peak_pages)
		guest->peak_pages = law->current_pages;
	if (guest->peak_pages < law->max_pages)
		law->max_pages = guest->peak_pages;
	/* A limit that was lowered takes its time. */
	if (law->max_pages < law->current_pages)
		law->max_pages = law->current_pages;
	return TM_LOOK_READING;
}

static uint64_t less(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

static enum tm_look read_stat(struct tm_guest *guest, char *text,
			      struct tm_guard_reading *reading)
{
	uint64_t file = 0, shmem = 0, dirty = 0, writeback = 0, slab = 0;
	uint64_t in_pages = TM_GUARD_UNKNOWN, out_pages = TM_GUARD_UNKNOWN;
	uint64_t refaulted = TM_GUARD_UNKNOWN;
	const struct tm_kernel_value values[] = {
		{ "file", false, true, &file },
		{ "shmem", false, true, &shmem },
		{ "file_dirty", false, true, &dirty },
		{ "file_writeback", false, true, &writeback },
		{ "slab_reclaimable", false, false, &slab },
		{ "pgmajfault", false, true, &reading->major_faults },
		{ "pswpin", false, false, &in_pages },
		{ "pswpout", false, false, &out_pages },
		{ "workingset_refault_anon", false, false, &refaulted },
	};
	const char *wrong = "";
	uint64_t clean_bytes;
	int err = tm_kernel_file_read(guest->config.cgroup, "memory.stat", text,
				      TM_KERNEL_FILE_MAX);

	if (!err)
		err = tm_kernel_file_parse(text, values,
					   sizeof(values) / sizeof(values[0]),
					   &wrong);
	if (err)
		return doubt_file(guest, "memory.stat", wrong, err);
	reading->swapped_pages = tm_guard_sum(in_pages, out_pages);
	if (reading->swapped_pages == TM_GUARD_UNKNOWN)
		reading->swapped_pages = refaulted;
	clean_bytes = less(less(less(file, shmem), dirty), writeback);
	if (slab < UINT64_MAX - clean_bytes)
		clean_bytes += slab;
	reading->law.committed_pages =
		less(reading->law.current_pages, clean_bytes / TM_PAGE_BYTES);
	return TM_LOOK_READING;
}

static enum tm_look read_all(struct tm_guest *guest, char *text,
			     struct tm_guard_reading *reading)
{
	enum tm_look look = read_sizes(guest, reading);

	if (look == TM_LOOK_READING)
		look = read_stat(guest, text, reading);
	if (look == TM_LOOK_READING &&
	    !tm_kernel_file_read(guest->config.cgroup, "memory.pressure", text,
				 TM_KERNEL_FILE_MAX) &&
	    tm_kernel_file_stalled(text, &reading->stalled_us))
		look = doubt_file(guest, "memory.pressure", "some total",
				  -EBADMSG);
	return look;
}

static enum tm_look cgroup_look(struct tm_guest *guest, uint64_t now_ns,
				bool is_due, struct tm_guard_reading *reading)
{
	(void)now_ns;
	return tm_guest_look_at_files(guest, is_due, read_all, reading);
}

const struct tm_source *tm_source_cgroup(void)
{
	static const struct tm_source source = {
		.open = cgroup_open,
		.look = cgroup_look,
		.wait_for = tm_pressure_wait_for,
		.handle = tm_pressure_handle,
	};

	return &source;
}

/* --- reclaim ----------------------------------------------------------- */

static int reclaim_set(struct tm_guest *guest, uint64_t target_pages,
		       uint64_t now_ns)
{
	uint64_t pages = less(guest->reading.law.current_pages, target_pages);
	int err;

	(void)now_ns;
	if (!pages)
		return 0;
	if (pages > STEP_PAGES)
		pages = STEP_PAGES;
	err = tm_kernel_file_write(guest->config.cgroup, "memory.reclaim",
				   pages * TM_PAGE_BYTES);
	/* It got some of it, which is as good. */
	return err == -EAGAIN ? 0 : err;
}

const struct tm_actuator *tm_actuator_cgroup_reclaim(void)
{
	static const struct tm_actuator actuator = {
		.set = reclaim_set,
		.repeats = true,
	};

	return &actuator;
}

/* --- high -------------------------------------------------------------- */

static int high_open(struct tm_guest *guest)
{
	uint64_t pages;
	int err = read_limit(guest, "memory.high", &pages);

	if (err) {
		tm_guest_doubt(guest, "%s/memory.high: %s",
			       guest->config.cgroup, strerror(-err));
		return err;
	}
	if (!guest->has_before)
		guest->before_pages = pages;
	guest->has_before = true;
	return 0;
}

static int high_restore(struct tm_guest *guest, uint64_t now_ns)
{
	(void)now_ns;
	if (guest->before_pages == UINT64_MAX)
		return tm_kernel_file_write_text(guest->config.cgroup,
						 "memory.high", "max\n");
	return tm_kernel_file_write(guest->config.cgroup, "memory.high",
				    guest->before_pages * TM_PAGE_BYTES);
}

static int high_set(struct tm_guest *guest, uint64_t target_pages,
		    uint64_t now_ns)
{
	uint64_t pages = target_pages + target_pages / 8;

	/* All there is, or more: as it was. */
	if (pages >= guest->reading.law.max_pages ||
	    pages >= guest->before_pages)
		return high_restore(guest, now_ns);
	return tm_kernel_file_write(guest->config.cgroup, "memory.high",
				    pages * TM_PAGE_BYTES);
}

const struct tm_actuator *tm_actuator_cgroup_high(void)
{
	static const struct tm_actuator actuator = {
		.open = high_open,
		.set = high_set,
		.restore = high_restore,
	};

	return &actuator;
}
