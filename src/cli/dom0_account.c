/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where dom0's memory goes.
 *
 * The problem: dom0 is given 2 GiB and shows 1.5. The reasons: its kernel
 * prepares for every page that it may ever have (struct page, an entry in the
 * page tables, one in the p2m list), whether it has it or not, and without max:
 * that is all of the machine, or ten times its memory. And where the machine's
 * map has holes, frames of dom0 would lie where nobody looks.
 *
 *	base     = what Xen allocates
 *	hole     = base's page numbers at which the map has no memory
 *	moved    = min(hole, memory above base), since Linux 3.5; else 0
 *	released = hole - moved
 *	extra    = min(ceiling - base + released, 10 * base, memory left above)
 *	current  = base - released
 *	metadata = (current + extra) * (64 + 8 + 8) bytes
 *	waste    = extra * (64 + 8 + 8) bytes
 *
 * A classic kernel (2.6.18 and its forward ports) numbers its pages without
 * regard to the map and pays for those it has: no hole, no extra.
 *
 * The bound: 64-bit kernels; page tables above the lowest level (1/512 of it),
 * the kernel itself and hash tables are left out, the p2m list is taken in
 * full though ranges of it that are missing may share a page.
 */
#include <config.h>

#include <errno.h>
#include <stdlib.h>

#include "dom0_account.h"

#define STRUCT_PAGE_BYTES 64
#define PAGE_TABLE_BYTES 8
#define P2M_BYTES 8
/* Xen's frame table and its M2P list, of all memory in the machine. */
#define XEN_BYTES (32 + 8)
#define EXTRA_RATIO 10
#define SWIOTLB_BYTES (UINT64_C(64) << 20)
#define PAGE_BYTES UINT64_C(4096)
/* A domain's memory in kernels before 4.0, and a machine's since. */
#define LIMIT_3_PAGES (500 * 1024 * TM_DOM0_PAGES_PER_MIB)
#define LIMIT_4_PAGES (64 * 1024 * 1024 * TM_DOM0_PAGES_PER_MIB)

static uint64_t smaller(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

bool tm_dom0_knows_max(const struct tm_dom0_machine *machine)
{
	return machine->xen >= TM_VERSION(4, 1, 2) &&
	       machine->linux_version >= TM_VERSION(3, 0, 5);
}

uint64_t tm_dom0_available_pages(uint64_t host_pages, uint64_t *xen_pages)
{
	*xen_pages = (host_pages * XEN_BYTES + PAGE_BYTES - 1) / PAGE_BYTES;
	return host_pages - smaller(host_pages, *xen_pages);
}

static uint64_t limit_of(const struct tm_dom0_machine *machine)
{
	return machine->linux_version < TM_VERSION(4, 0, 0) ? LIMIT_3_PAGES
							    : LIMIT_4_PAGES;
}

static void find_holes(struct tm_dom0_account *a,
		       const struct tm_dom0_machine *machine, uint64_t base)
{
	uint64_t above = tm_e820_ram_pages(machine->map, base, UINT64_MAX);

	a->hole_pages = base - tm_e820_ram_pages(machine->map, 0, base);
	if (machine->linux_version >= TM_VERSION(3, 5, 0))
		a->moved_pages = smaller(a->hole_pages, above);
	a->released_pages = a->hole_pages - a->moved_pages;
	a->current_pages = base - a->released_pages;

	a->extra_pages = a->ceiling_pages > base ? a->ceiling_pages - base : 0;
	a->extra_pages += a->released_pages;
	a->bound = TM_DOM0_BOUND_CEILING;
	if (a->extra_pages > EXTRA_RATIO * base) {
		a->extra_pages = EXTRA_RATIO * base;
		a->bound = TM_DOM0_BOUND_RATIO;
	}
	if (a->extra_pages > above - a->moved_pages) {
		a->extra_pages = above - a->moved_pages;
		a->bound = TM_DOM0_BOUND_MEMORY;
	}
}

static void add_stretch(struct tm_dom0_account *a, uint64_t start, uint64_t end,
			enum tm_dom0_use use)
{
	struct tm_dom0_stretch *last = a->stretches + a->stretch_count - 1;

	if (start >= end)
		return;
	if (a->stretch_count && last->use == use && last->end_page == start) {
		last->end_page = end;
		return;
	}
	a->stretches[a->stretch_count++] =
		(struct tm_dom0_stretch){ start, end, use };
}

/* Takes what a budget allows of a stretch; answers where the rest begins. */
static uint64_t take(struct tm_dom0_account *a, uint64_t start, uint64_t end,
		     uint64_t *budget, enum tm_dom0_use use)
{
	uint64_t pages = start < end ? smaller(end - start, *budget) : 0;

	add_stretch(a, start, start + pages, use);
	*budget -= pages;
	return start + pages;
}

static void lay_out(struct tm_dom0_account *a, const struct tm_e820 *map,
		    uint64_t base)
{
	uint64_t moved = a->moved_pages, extra = a->extra_pages;
	uint64_t below = base - a->hole_pages, at = 0;

	for (size_t i = 0; i < map->count; i++) {
		const struct tm_e820_range *r = &map->ranges[i];
		uint64_t start = (r->start_bytes + PAGE_BYTES - 1) / PAGE_BYTES;
		uint64_t end = r->end_bytes / PAGE_BYTES;
		uint64_t first_end = end < base ? end : base;

		if (!tm_e820_is_ram(r) || start >= end)
			continue;
		add_stretch(a, at, start, TM_DOM0_HOLE);
		at = take(a, start, first_end > start ? first_end : start,
			  &below, TM_DOM0_MEMORY);
		at = take(a, at, end, &moved, TM_DOM0_MOVED);
		at = take(a, at, end, &extra, TM_DOM0_BALLOON);
		add_stretch(a, at, end, TM_DOM0_NOT_DOM0);
		at = end;
	}
}

static void count_metadata(struct tm_dom0_account *a)
{
	uint64_t pages = a->current_pages + a->extra_pages;

	a->struct_page_bytes = pages * STRUCT_PAGE_BYTES;
	a->page_table_bytes = pages * PAGE_TABLE_BYTES;
	a->p2m_bytes = pages * P2M_BYTES;
	a->metadata_bytes =
		a->struct_page_bytes + a->page_table_bytes + a->p2m_bytes;
	a->waste_bytes = a->extra_pages *
			 (STRUCT_PAGE_BYTES + PAGE_TABLE_BYTES + P2M_BYTES);
}

int tm_dom0_account_make(struct tm_dom0_account *a,
			 const struct tm_dom0_machine *machine)
{
	uint64_t base = smaller(a->share.base_pages, limit_of(machine));
	uint64_t overhead;

	a->stretches = calloc(TM_DOM0_STRETCHES_MAX, sizeof(*a->stretches));
	if (!a->stretches)
		return -ENOMEM;
	a->beyond_pages = a->share.base_pages - base;
	a->ceiling_pages = tm_dom0_knows_max(machine) ? a->share.max_pages
						      : TM_DOM0_UNLIMITED_PAGES;
	a->ceiling_pages = smaller(a->ceiling_pages, limit_of(machine));
	if (machine->is_classic) {
		a->current_pages = base;
		a->bound = TM_DOM0_BOUND_CLASSIC;
		add_stretch(a, 0, base, TM_DOM0_MEMORY);
	} else {
		find_holes(a, machine, base);
		lay_out(a, machine->map, base);
	}
	count_metadata(a);
	/* A machine without addresses above 4 GiB needs none of it. */
	if (machine->host_pages > 4096 * TM_DOM0_PAGES_PER_MIB)
		a->swiotlb_bytes = SWIOTLB_BYTES;
	overhead = (a->metadata_bytes + a->swiotlb_bytes) / PAGE_BYTES;
	a->total_pages = a->current_pages - smaller(a->current_pages, overhead);
	return 0;
}

void tm_dom0_account_free(struct tm_dom0_account *account)
{
	free(account->stretches);
	account->stretches = NULL;
}
