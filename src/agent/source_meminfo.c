/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The guest that the agent runs in, from its proc.
 *
 *	meminfo		MemTotal, Committed_AS, MemAvailable
 *	zoneinfo	max_pfn, and what the kernel keeps below its watermarks:
 *			sum over zones of
 *			min(managed, largest protection + high watermark)
 *	vmstat		major faults, pages swapped in and out
 *	pressure/memory	how long tasks waited; and an event when they do
 *
 * These are the quantities that the kernel's own selfballooning read from its
 * variables. Xen says how large the reservation is, where Xen drives it; else
 * it is what the kernel manages.
 *
 * A kernel too old for MemAvailable or PSI lacks those signs of pressure, and
 * has the others.
 */
#include <config.h>

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guest.h"
#include "kernel_file.h"

#define KIB_PER_PAGE 4
#define BLANKS " \t"

static int meminfo_open(struct tm_guest *guest)
{
	guest->pressure_fd =
		tm_kernel_file_watch(guest->config.proc, "pressure/memory");
	return 0;
}

static enum tm_look doubt_file(struct tm_guest *guest, const char *name,
			       const char *wrong, int err)
{
	if (err == -EBADMSG)
		return tm_guest_doubt(guest,
				      "%s/%s: %s is not there, or not "
				      "once, or no number",
				      guest->config.proc, name, wrong);
	return tm_guest_doubt(guest, "%s/%s: %s", guest->config.proc, name,
			      strerror(-err));
}

static enum tm_look read_meminfo(struct tm_guest *guest, char *text,
				 struct tm_guard_reading *reading)
{
	uint64_t total_kib = 0, committed_kib = 0;
	uint64_t available_kib = TM_GUARD_UNKNOWN;
	const struct tm_kernel_value values[] = {
		{ "MemTotal:", true, true, &total_kib },
		{ "Committed_AS:", true, true, &committed_kib },
		{ "MemAvailable:", true, false, &available_kib },
	};
	const char *wrong = "";
	int err = tm_kernel_file_read(guest->config.proc, "meminfo", text,
				      TM_KERNEL_FILE_MAX);

	if (!err)
		err = tm_kernel_file_parse(text, values, 3, &wrong);
	if (err)
		return doubt_file(guest, "meminfo", wrong, err);
	if (available_kib != TM_GUARD_UNKNOWN && available_kib > total_kib)
		return tm_guest_doubt(guest, "meminfo: more is available than "
					     "there is");
	reading->law.usable_pages = total_kib / KIB_PER_PAGE;
	reading->law.current_pages = reading->law.usable_pages;
	reading->law.committed_pages = committed_kib / KIB_PER_PAGE;
	if (available_kib != TM_GUARD_UNKNOWN)
		reading->available_pages = available_kib / KIB_PER_PAGE;
	return TM_LOOK_READING;
}

/* --- zones ------------------------------------------------------------- */

struct zone {
	bool has_high, has_managed, has_protection, has_spanned, has_start;
	uint64_t high, managed, protection, spanned, start;
};

struct zones {
	uint64_t reserve_pages;
	uint64_t max_pages;
	unsigned count;
};

/* "key   123" and nothing else. */
static void read_zone_number(const char *line, const char *key, bool *has,
			     uint64_t *value)
{
	size_t length = strlen(key);
	char *end;

	if (strncmp(line, key, length) || !strchr(BLANKS, line[length]))
		return;
	line += length + strspn(line + length, BLANKS);
	if (!isdigit((unsigned char)*line))
		return;
	errno = 0;
	*value = strtoull(line, &end, 10);
	*has = !errno && (!*end || *end == '\n');
}

/* "protection: (0, 2788, 5932)": the largest. */
static void read_protection(const char *line, struct zone *zone)
{
	static const char key[] = "protection: (";
	char *end;

	if (strncmp(line, key, sizeof(key) - 1))
		return;
	line += sizeof(key) - 1;
	zone->protection = 0;
	for (;;) {
		uint64_t value;

		line += strspn(line, BLANKS);
		if (!isdigit((unsigned char)*line))
			return;
		value = strtoull(line, &end, 10);
		if (value > zone->protection)
			zone->protection = value;
		line = end;
		if (*line != ',')
			break;
		line++;
	}
	zone->has_protection = *line == ')';
}

/* False: something that a zone has is not there. */
static bool add_zone(struct zones *zones, const struct zone *zone)
{
	uint64_t kept, end;

	if (!zone->has_high || !zone->has_managed || !zone->has_protection ||
	    !zone->has_spanned)
		return false;
	/* A zone without pages has no beginning, in some kernels. */
	if (!zone->has_start && zone->spanned)
		return false;
	if (zone->high > TM_PAGES_MAX || zone->protection > TM_PAGES_MAX ||
	    zone->managed > TM_PAGES_MAX || zone->spanned > TM_PAGES_MAX ||
	    zone->start > TM_PAGES_MAX)
		return false;
	kept = zone->protection + zone->high;
	zones->reserve_pages += kept < zone->managed ? kept : zone->managed;
	end = zone->spanned ? zone->start + zone->spanned : 0;
	if (end > zones->max_pages)
		zones->max_pages = end;
	zones->count++;
	return true;
}

static bool parse_zones(char *text, struct zones *zones)
{
	struct zone zone = { 0 };
	bool is_in_zone = false;
	char *rest = text, *line;

	*zones = (struct zones){ 0 };
	while ((line = strsep(&rest, "\n"))) {
		if (!strncmp(line, "Node ", 5)) {
			if (is_in_zone && !add_zone(zones, &zone))
				return false;
			zone = (struct zone){ 0 };
			is_in_zone = strstr(line, ", zone ");
			continue;
		}
		line += strspn(line, BLANKS);
		read_zone_number(line, "high", &zone.has_high, &zone.high);
		read_zone_number(line, "managed", &zone.has_managed,
				 &zone.managed);
		read_zone_number(line, "spanned", &zone.has_spanned,
				 &zone.spanned);
		read_zone_number(line, "start_pfn:", &zone.has_start,
				 &zone.start);
		read_protection(line, &zone);
	}
	return (!is_in_zone || add_zone(zones, &zone)) && zones->count;
}

static enum tm_look read_zoneinfo(struct tm_guest *guest, char *text,
				  struct tm_guard_reading *reading)
{
	struct zones zones;
	int err = tm_kernel_file_read(guest->config.proc, "zoneinfo", text,
				      TM_KERNEL_FILE_MAX);

	if (err)
		return doubt_file(guest, "zoneinfo", "", err);
	if (!parse_zones(text, &zones))
		return tm_guest_doubt(guest,
				      "%s/zoneinfo: a zone lacks "
				      "something",
				      guest->config.proc);
	reading->law.reserve_pages = zones.reserve_pages;
	reading->law.max_pages = zones.max_pages;
	return TM_LOOK_READING;
}

/* --- pressure ---------------------------------------------------------- */

static enum tm_look read_pressure(struct tm_guest *guest, char *text,
				  struct tm_guard_reading *reading)
{
	uint64_t in_pages = TM_GUARD_UNKNOWN, out_pages = TM_GUARD_UNKNOWN;
	const struct tm_kernel_value values[] = {
		{ "pgmajfault", false, true, &reading->major_faults },
		/* A kernel without swap has no such lines. */
		{ "pswpin", false, false, &in_pages },
		{ "pswpout", false, false, &out_pages },
	};
	const char *wrong = "";
	int err = tm_kernel_file_read(guest->config.proc, "vmstat", text,
				      TM_KERNEL_FILE_MAX);

	if (!err)
		err = tm_kernel_file_parse(text, values, 3, &wrong);
	if (err)
		return doubt_file(guest, "vmstat", wrong, err);
	reading->swapped_pages = tm_guard_sum(in_pages, out_pages);
	err = tm_kernel_file_read(guest->config.proc, "pressure/memory", text,
				  TM_KERNEL_FILE_MAX);
	/* Not built in, or switched off: there are the others. */
	if (err)
		return TM_LOOK_READING;
	if (tm_kernel_file_stalled(text, &reading->stalled_us))
		return doubt_file(guest, "pressure/memory", "some total",
				  -EBADMSG);
	return TM_LOOK_READING;
}

static enum tm_look read_all(struct tm_guest *guest, char *text,
			     struct tm_guard_reading *reading)
{
	enum tm_look look = read_meminfo(guest, text, reading);
	int err;

	if (look == TM_LOOK_READING)
		look = read_zoneinfo(guest, text, reading);
	if (look == TM_LOOK_READING)
		look = read_pressure(guest, text, reading);
	if (look != TM_LOOK_READING ||
	    guest->config.actuator != TM_ACTUATOR_XEN)
		return look;
	err = tm_xen_current(guest, &reading->law.current_pages);
	if (err)
		return tm_guest_doubt(guest, "what Xen says it has: %s",
				      strerror(-err));
	return look;
}

static enum tm_look meminfo_look(struct tm_guest *guest, uint64_t now_ns,
				 bool is_due, struct tm_guard_reading *reading)
{
	(void)now_ns;
	return tm_guest_look_at_files(guest, is_due, read_all, reading);
}

const struct tm_source *tm_source_meminfo(void)
{
	static const struct tm_source source = {
		.open = meminfo_open,
		.look = meminfo_look,
		.wait_for = tm_pressure_wait_for,
		.handle = tm_pressure_handle,
	};

	return &source;
}
