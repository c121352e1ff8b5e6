/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A table: equal elements at fixed addresses, named by 32-bit numbers.
 *
 * The problem: everything the store knows is small, linked, and by the
 * million. Pointers would double its size, and malloc would add a header and
 * scatter it. The idea: address space for the most elements there can ever be
 * is reserved once; memory follows in chunks, each charged before it is
 * touched; an element is a number, so a link is 4 bytes; freed elements form a
 * list through themselves. Element 0 is never given out: 0 is "none".
 *
 * A record of the arena may have a flipped bit, free or not, and a list that is
 * led astray hands out what is in use. So in a free element a link is a number
 * and its complement (tm_high_make()); after one that is none the rest of the
 * list is lost until the arena is reopened, which builds it anew.
 *
 * Because an element's address never becomes something else (the table is
 * *type-stable*), a stale number may be read without a lock, as long as what
 * was read is verified under one.
 *
 * A table whose elements are records of the arena is backed by the arena's
 * file, and keeps in the superblock how far it has ever come. It may have a
 * sidecar: a volatile struct for each element.
 *
 * Bound: a table never shrinks; freed elements wait to be used again. Callers
 * take and give in batches, so that the table's lock is no hot spot.
 *
 * Locks: tm_table.lock, held for moments; populating a chunk happens under it.
 */
#ifndef TM_TABLE_H
#define TM_TABLE_H

#include <stdatomic.h>
#include <stdint.h>
#include <sys/types.h>

#include "lock.h"
#include "memory.h"

struct tm_table {
	/* set at creation, then constant */
	uint8_t *base;
	uint8_t *sidecar;
	uint32_t element_size;
	uint32_t sidecar_size;
	uint32_t link_offset;	/* of the free list's u64 in an element */
	uint32_t capacity;
	uint32_t chunk;		/* elements populated at a time */
	bool owns_base;
	int fd;			/* -1: anonymous memory */
	off_t fd_offset;
	_Atomic uint64_t *high;	/* in the superblock, or NULL */
	struct tm_memory *memory;

	struct tm_lock lock;
	uint32_t ready TM_GUARDED_BY(lock);	/* elements populated */
	uint32_t bump TM_GUARDED_BY(lock);	/* never used from here on */
	uint32_t free_head TM_GUARDED_BY(lock);
	uint32_t free_count TM_GUARDED_BY(lock);
};

struct tm_table_config {
	struct tm_memory *memory;
	void *base;		/* NULL: reserve anonymous address space */
	uint32_t element_size;
	uint32_t sidecar_size;
	uint32_t link_offset;
	uint32_t capacity;
	uint32_t chunk_bytes;
	int fd;
	off_t fd_offset;
	_Atomic uint64_t *high;
};

/* 0 or -ENOMEM. */
int tm_table_init(struct tm_table *table, const struct tm_table_config *config);
void tm_table_destroy(struct tm_table *table);

/* Up to @count numbers into @out; returns how many, 0 when there is no memory
 * for more. The elements' contents are whatever they were. */
uint32_t tm_table_take(struct tm_table *table, uint32_t *out, uint32_t count);
void tm_table_give(struct tm_table *table, const uint32_t *numbers,
		   uint32_t count);

/* After reopening: makes all elements that may have been used readable, in use,
 * and charged. Sets *@high to one past the last of them. 0, or -ENOSPC, -EBADMSG
 * (the superblock's number is damaged). */
int tm_table_restore(struct tm_table *table, uint32_t *high);
/* One past the highest number that is or was in use. */
uint32_t tm_table_end(struct tm_table *table);

/* Bytes populated, sidecar included. */
uint64_t tm_table_bytes(struct tm_table *table);

static inline void *tm_table_at(const struct tm_table *table, uint32_t number)
{
	return table->base + (size_t)number * table->element_size;
}

static inline void *tm_table_beside(const struct tm_table *table,
				    uint32_t number)
{
	return table->sidecar + (size_t)number * table->sidecar_size;
}

#endif
