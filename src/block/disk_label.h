/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A swap disk's label: a page of its pool that says whose pool it is.
 *
 * The pool outlives whoever opens the disk, so what the next one is told about
 * it (kind, size, backing file) has to be checked against something. The label
 * is a persistent page outside the range of blocks, and carries a random uuid,
 * which the backing file carries too: that ties the two together whichever way
 * the client reaches its store.
 *
 * A put that replaces a page may be refused, and then the page is gone. So
 * there are two places for a label, and a new one goes where the old one is
 * not; of two that are sound the higher sequence number counts.
 *
 * Its bytes are described in doc/disk-format.md.
 */
#ifndef TM_DISK_LABEL_H
#define TM_DISK_LABEL_H

#include "disk_private.h"

/* It has, or has had, a backing file: blocks may be there. */
#define TM_LABEL_BACKING (UINT32_C(1) << 0)

struct tm_disk_label {
	uint64_t sequence;
	uint64_t uuid[2];
	uint64_t size_bytes;
	uint64_t lost_word; /* a page of it alone stands for a lost block */
	uint32_t flags;
};

/*
 * The disk's pool, and its label; made if they are not there.
 *
 * Return: the pool's id, or -EINVAL (of another size), -EMEDIUMTYPE (a pool
 * that is no disk's), -ENOSPC, ...; the log says more. *is_new: there is no
 * block in it.
 */
int tm_label_find(const struct tm_disk *disk, struct tm_disk_label *label,
		  bool *is_new);

/* Puts @label, with its sequence number raised, in the place of the old one. */
int tm_label_update(const struct tm_disk *disk, int pool,
		    struct tm_disk_label *label);

#endif
