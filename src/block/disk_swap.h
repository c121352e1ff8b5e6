/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A swap disk: what its files share.
 *
 * Where a block is. A block has two *places* in the pool, 0 and 1, so that a
 * put of new data never replaces the old: a put that replaces may be refused,
 * and then both are gone. New data go to the place where the old are not, then
 * the old are flushed. Two bits for each block say in which place it may be;
 * both set means that nobody has looked since the disk was opened. Each block
 * may besides be in the backing file.
 *
 *	content of a block =
 *		what tmem has, of two places the first;
 *		else what the file has;
 *		else zeros
 *
 * holds at every instant for whoever opens the disk next; disk_swap.c shows
 * that every step keeps it.
 *
 * A block is *lost* when its last write failed and what was there before is
 * not to be shown any more. A page of lost_word alone in its place says so: it
 * is same-filled, so it costs a descriptor and no memory. lost_word is random
 * and never shown, so a guest cannot write such a page but by a chance of 2^64
 * to one. Where even that page is refused, a bit remembers, until the disk is
 * closed.
 *
 * The bound: five bits for each block that was ever touched, 160 KiB for a GiB;
 * of a disk that is opened again, two of them at once.
 */
#ifndef TM_DISK_SWAP_H
#define TM_DISK_SWAP_H

#include "block_bits.h"
#include "disk_backing.h"
#include "disk_label.h"
#include "disk_private.h"

/* Blocks of an object: discarding one whole is one call. */
#define TM_SWAP_OBJECT_BITS 14
#define TM_SWAP_OBJECT_BLOCKS (UINT64_C(1) << TM_SWAP_OBJECT_BITS)

struct tm_swap {
	struct tm_disk disk;
	/* Set at creation, then constant. */
	int pool;
	struct tm_disk_label label;
	bool has_backing;
	struct tm_backing backing;
	/* A bit for each block. The range lock keeps those of a block fit. */
	tm_bits_word *maybe[2];
	tm_bits_word *lost;
	tm_bits_word *touched; /* since demotion last came by; any time */
	/* The last that was seen of the client's puts_refused, and of its
	 * refused_frozen. */
	_Atomic uint64_t refused_seen;
	_Atomic uint64_t frozen_seen;
	/* In words of bits; demotion goes on from here. */
	_Atomic uint64_t hand;
};

static inline struct tm_swap *tm_swap_of(struct tm_disk *disk)
{
	return (struct tm_swap *)disk;
}

static inline struct tmem_oid tm_swap_oid(uint64_t block, int place)
{
	return (struct tmem_oid){ { block >> TM_SWAP_OBJECT_BITS,
				    (uint64_t)place, 0 } };
}

static inline uint32_t tm_swap_index(uint64_t block)
{
	return (uint32_t)(block & (TM_SWAP_OBJECT_BLOCKS - 1));
}

/* Is @page the one that stands for a lost block? */
bool tm_swap_is_lost_page(const struct tm_swap *swap, const void *page);

/*
 * Where the block is, for certain; @page receives it. The block is locked, by
 * sharers perhaps.
 *
 * Return: a place; -ENOENT: in neither; what tmem_get() answers.
 */
int tm_swap_find(struct tm_swap *swap, uint64_t block, void *page);

/* Flushes a place of a locked block. Return: 0, a negative errno. */
int tm_swap_drop(struct tm_swap *swap, uint64_t block, int place);

int64_t tm_swap_demote(struct tm_disk *disk, uint64_t blocks);

#endif
