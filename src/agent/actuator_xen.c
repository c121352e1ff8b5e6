/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A guest of Xen that drives its own balloon: target_kb, in sysfs.
 *
 * The kernel's driver does the work, in its own time; what it has got to is in
 * info/current_kb. dom0 is no guest: what it gives up nobody gives back.
 *
 * Here too: the dry run, which says what would be done.
 */
#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "guest.h"
#include "kernel_file.h"

#define FOLDER "devices/system/xen_memory/xen_memory0"
#define KIB_PER_PAGE 4

int tm_xen_current(const struct tm_guest *guest, uint64_t *pages)
{
	uint64_t kib;
	int err = tm_kernel_file_number(guest->config.sys,
					FOLDER "/info/current_kb", &kib);

	if (!err)
		*pages = kib / KIB_PER_PAGE;
	return err;
}

static bool is_dom0(const struct tm_guest *guest)
{
	char text[256];

	return !tm_kernel_file_read(guest->config.proc, "xen/capabilities",
				    text, sizeof(text)) &&
	       strstr(text, "control_d");
}

static int xen_open(struct tm_guest *guest)
{
	uint64_t kib;
	int err;

	if (is_dom0(guest)) {
		tm_guest_doubt(guest, "this is dom0, which must not balloon "
				      "itself: nobody would give it memory "
				      "back");
		return -EPERM;
	}
	err = tm_kernel_file_number(guest->config.sys, FOLDER "/target_kb",
				    &kib);
	if (err) {
		tm_guest_doubt(guest,
			       "%s/" FOLDER "/target_kb: %s (no guest of Xen, "
			       "or a kernel without CONFIG_XEN_BALLOON)",
			       guest->config.sys, strerror(-err));
		return err;
	}
	if (!guest->has_before)
		guest->before_pages = kib / KIB_PER_PAGE;
	guest->has_before = true;
	return 0;
}

static int xen_set(struct tm_guest *guest, uint64_t target_pages,
		   uint64_t now_ns)
{
	(void)now_ns;
	return tm_kernel_file_write(guest->config.sys, FOLDER "/target_kb",
				    target_pages * KIB_PER_PAGE);
}

static int xen_restore(struct tm_guest *guest, uint64_t now_ns)
{
	return xen_set(guest, guest->before_pages, now_ns);
}

const struct tm_actuator *tm_actuator_xen(void)
{
	static const struct tm_actuator actuator = {
		.open = xen_open,
		.set = xen_set,
		.restore = xen_restore,
	};

	return &actuator;
}

/* --- dry run ----------------------------------------------------------- */

static double mib(uint64_t pages)
{
	return (double)pages / (double)TM_PAGES_PER_MIB;
}

static int dry_run_set(struct tm_guest *guest, uint64_t target_pages,
		       uint64_t now_ns)
{
	const struct tm_guard_decision *decision = &guest->decision;

	(void)now_ns;
	printf("%s: %.1f -> %.1f MiB (goal %.1f, floor %.1f, %s)\n",
	       guest->config.name, mib(guest->reading.law.current_pages),
	       mib(target_pages), mib(decision->goal_pages),
	       mib(decision->floor_pages),
	       tm_guard_verdict_name(decision->verdict));
	return fflush(stdout) ? -errno : 0;
}

const struct tm_actuator *tm_actuator_dry_run(void)
{
	static const struct tm_actuator actuator = {
		.set = dry_run_set,
		.repeats = true,
	};

	return &actuator;
}
