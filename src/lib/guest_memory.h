/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Guest memory, for front ends: what <tmem/xen.h> has, and whole frames.
 */
#ifndef TM_GUEST_MEMORY_H
#define TM_GUEST_MEMORY_H

#include <sys/stat.h>

#include <tmem/xen.h>

/* 1 GiB: the largest page that memory is lent in. */
#define TM_GUEST_MEMORY_ALIGN_MAX_BYTES (UINT64_C(1) << 30)

/* What a mapping of this file, of tmpfs or hugetlbfs, begins at and ends at a
 * multiple of: a part of a huge page can be mapped, and not be unmapped. */
uint64_t tm_guest_memory_align_bytes(const struct stat *st);

/* Would a page fit there? Says nothing about faults. 0, -EFAULT. */
int tm_guest_memory_probe(struct tmem_guest_memory *memory, uint64_t frame,
			  bool for_writing);
/* As tmem_guest_memory_read() and _write(), of TMEM_PAGE_SIZE bytes. */
int tm_guest_memory_read_page(struct tmem_guest_memory *memory, uint64_t frame,
			      void *to);
int tm_guest_memory_write_page(struct tmem_guest_memory *memory,
			       uint64_t frame, const void *from);

#endif
