/* SPDX-License-Identifier: BSD-2-Clause */
/* Where dom0's memory goes, counted (see dom0_account.c). */
#ifndef TM_DOM0_ACCOUNT_H
#define TM_DOM0_ACCOUNT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dom0_string.h"
#include "e820.h"

struct tm_dom0_machine {
	const struct tm_e820 *map;
	uint64_t host_pages;
	uint32_t xen; /* versions, see tm_version_parse() */
	uint32_t linux_version;
	bool is_classic; /* the kernel, before pvops */
};

/* What kept the balloon from being larger. */
enum tm_dom0_bound {
	TM_DOM0_BOUND_CEILING, /* max: */
	TM_DOM0_BOUND_RATIO, /* ten times what dom0 has */
	TM_DOM0_BOUND_MEMORY, /* there is no more in the machine */
	TM_DOM0_BOUND_CLASSIC, /* pages of a balloon are not prepared for */
};

/* What becomes of a stretch of addresses in dom0. */
enum tm_dom0_use {
	TM_DOM0_MEMORY,
	TM_DOM0_HOLE,
	TM_DOM0_MOVED, /* memory, brought here from behind a hole */
	TM_DOM0_BALLOON,
	TM_DOM0_NOT_DOM0,
};

struct tm_dom0_stretch {
	uint64_t start_page;
	uint64_t end_page; /* exclusive */
	enum tm_dom0_use use;
};

/* Each range of the map is cut in at most five, and so is each gap. */
#define TM_DOM0_STRETCHES_MAX (10 * (TM_E820_MAX + 1))

struct tm_dom0_account {
	uint64_t xen_pages; /* its tables for all of the machine */
	uint64_t available_pages;
	struct tm_dom0_share share;
	uint64_t ceiling_pages; /* as the kernel sees it */
	uint64_t beyond_pages; /* more than this kernel can have */
	uint64_t hole_pages; /* of the base, below which there is no memory */
	uint64_t moved_pages;
	uint64_t released_pages; /* hole_pages that were not moved */
	uint64_t extra_pages; /* the balloon at boot */
	enum tm_dom0_bound bound;
	uint64_t current_pages; /* what dom0 has */
	uint64_t struct_page_bytes;
	uint64_t page_table_bytes;
	uint64_t p2m_bytes;
	uint64_t metadata_bytes; /* the sum of these */
	uint64_t waste_bytes; /* of it, for pages that dom0 has not got */
	uint64_t swiotlb_bytes;
	uint64_t total_pages; /* MemTotal, about */
	struct tm_dom0_stretch *stretches;
	size_t stretch_count;
};

/* Does max: reach the kernel? */
bool tm_dom0_knows_max(const struct tm_dom0_machine *machine);
/* Pages that Xen can give away. */
uint64_t tm_dom0_available_pages(uint64_t host_pages, uint64_t *xen_pages);
/* 0, or -ENOMEM. @account->share is an input. */
int tm_dom0_account_make(struct tm_dom0_account *account,
			 const struct tm_dom0_machine *machine);
void tm_dom0_account_free(struct tm_dom0_account *account);

#endif
