/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A region: memory of a program of which only a part is in memory.
 *
 * The program uses it like any other memory, from any thread. The rest of it is
 * in tmem, by way of frontswap, or, where tmem refused, in a file.
 */
#ifndef EXAMPLE_REGION_H
#define EXAMPLE_REGION_H

#include <tmem/linux.h>

struct region;

struct region_config {
	uint64_t bytes;
	uint64_t resident_bytes; /* at most this in memory */
	struct tmem_frontswap *frontswap;
	unsigned type; /* of the swap device that it will be */
	int file; /* for what is refused */
};

struct region_counts {
	uint64_t faults;
	uint64_t zero_fills; /* pages that were never there */
	uint64_t evictions;
	uint64_t file_writes;
	uint64_t file_reads;
	uint64_t resident_pages;
};

/* 0, or a negative errno: -ENOTSUP, after a line that says what is missing. */
int region_open(const struct region_config *config, struct region **region);
void *region_address(struct region *region);
void region_get_counts(struct region *region, struct region_counts *counts);
/* Nobody uses its memory any more. */
void region_close(struct region *region);

#endif
