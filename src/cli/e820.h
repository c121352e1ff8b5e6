/* SPDX-License-Identifier: BSD-2-Clause */
/* A machine's map of physical memory, as the BIOS tells it (see e820.c). */
#ifndef TM_E820_H
#define TM_E820_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* More than any firmware says. */
#define TM_E820_MAX 1024
/* Addresses end where those of processors do. */
#define TM_E820_LIMIT_BYTES (UINT64_C(1) << 52)

enum tm_e820_kind {
	TM_E820_RAM,
	TM_E820_RESERVED,
	TM_E820_ACPI,
	TM_E820_UNUSABLE,
};

struct tm_e820_range {
	uint64_t start_bytes;
	uint64_t end_bytes; /* exclusive */
	enum tm_e820_kind kind;
};

/* Sorted, without overlaps; gaps are holes. */
struct tm_e820 {
	struct tm_e820_range *ranges;
	size_t count;
};

/* A map of one range of memory, without a hole. 0, or -ENOMEM. */
int tm_e820_flat(struct tm_e820 *map, uint64_t memory_bytes);
/* What a PC with so much memory looks like. 0, or -ENOMEM. */
int tm_e820_typical(struct tm_e820 *map, uint64_t memory_bytes);
/* From a kernel's or Xen's boot log. 0, or a negative errno after a message
 * that names the line. */
int tm_e820_read(struct tm_e820 *map, const char *path);
/* From /sys/firmware/memmap below @root. 0, or a negative errno after a
 * message. */
int tm_e820_read_sysfs(struct tm_e820 *map, const char *root);
void tm_e820_free(struct tm_e820 *map);

/* Is it memory to dom0? What is unusable to others is. */
bool tm_e820_is_ram(const struct tm_e820_range *range);
/* Whole pages of memory in [from, to) pages. */
uint64_t tm_e820_ram_pages(const struct tm_e820 *map, uint64_t from_page,
			   uint64_t to_page);
/* "memory", "reserved", ... */
const char *tm_e820_kind_name(enum tm_e820_kind kind);

#endif
