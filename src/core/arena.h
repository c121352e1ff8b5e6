/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The arena: the memory a store lives in, as frames and records.
 *
 * The problem: the memory must outlive the process (`kill -9`), must never
 * move, must be given back to the host in frames, and must never be touched
 * where there is none: on a tmpfs that has filled up that is SIGBUS.
 *
 * The idea: one mapping, reserved at the size of the largest limit ever to be
 * allowed and sparse. Records come first, each kind in a region of its own,
 * frames last. A frame has two bits:
 *
 *	populated  used
 *	    0       0	address space only
 *	    1       0	idle: memory behind it, kept for the next run
 *	    1       1	in a run that an allocator holds
 *	    0       1	in transition, by whoever set the bit
 *
 *	populated frames * 4096 are charged (see memory.h)
 *
 * A frame is populated only after it was charged and, in a file, after
 * fallocate() succeeded. There is twice as much address space for frames as
 * memory, so that a contiguous run can be had although frames of all ages lie
 * about; a run that cannot be had is refused, and the allocator takes a
 * shorter one.
 *
 * Bound: a search looks at a bounded number of bitmap words and then takes
 * fresh address space.
 *
 * Locks: tm_arena.lock (TM_RANK_FRAMES) guards the bitmaps and cursors; no
 * system call is made under it.
 */
#ifndef TM_ARENA_H
#define TM_ARENA_H

#include <stdbool.h>

#include "layout.h"
#include "lock.h"
#include "memory.h"

struct tm_arena {
	/* set at creation, then constant */
	struct tm_memory *memory;
	int fd;			/* -1: anonymous */
	bool reopened;
	bool is_locked;		/* mlock succeeded */
	uint8_t *base;
	size_t size;
	struct tm_superblock *super;
	uint8_t *frame_base;
	off_t frame_offset;
	uint64_t frame_count;
	uint64_t *used;		/* bitmap */
	uint64_t *populated;	/* bitmap */

	struct tm_lock lock;
	uint64_t high TM_GUARDED_BY(lock);	/* never used from here on */
	uint64_t idle_cursor TM_GUARDED_BY(lock);
	uint64_t fresh_cursor TM_GUARDED_BY(lock);
	/* written under the lock, read without it as statistics */
	_Atomic uint64_t used_frames;
	_Atomic uint64_t idle_frames;
	_Atomic bool has_no_chunks;	/* one could not be had: see frames.c */
};

/* A huge page, of which an arena's mapping is at a multiple: see frames.c. */
#define TM_CHUNK_BYTES (UINT64_C(2) << 20)

/* The highest limit there can be, bytes. */
#define TM_MEMORY_MAX (UINT64_C(1) << 44)

struct tm_arena_config {
	struct tm_memory *memory;
	const char *path;	/* NULL: anonymous; "memfd"; "fd:N" */
	uint64_t memory_bytes;
	uint64_t memory_max_bytes;
	bool must_exist;
	bool no_lock;
};

/* Errors as tmem_store_open() documents them; logs the reason. */
int tm_arena_open(struct tm_arena *arena, const struct tm_arena_config *config);
/* Would it open the file at path, for memory_bytes (0: whatever it takes)?
 * Changes and locks nothing. -ENOENT, unlogged: it would make one. */
int tm_arena_check(const struct tm_arena_config *config);
/* Was an arena with @super made for memory_bytes? 0 or -EINVAL, logged. */
int tm_arena_check_limit(const struct tm_arena_config *config,
			 const struct tm_superblock *super);
void tm_arena_close(struct tm_arena *arena);

/* The region's first record. */
static inline void *tm_arena_region(const struct tm_arena *arena,
				    const struct tm_region *region)
{
	return arena->base + region->offset_bytes;
}

/* The three callbacks of struct tmem_frames; opaque is the arena. */
int64_t tm_arena_get_frames(void *opaque, uint32_t count, uint32_t flags);
void tm_arena_put_frames(void *opaque, uint64_t first, uint32_t count);
int tm_arena_claim_frames(void *opaque, uint64_t first, uint32_t count);

/* After recovery: gives back every frame that nothing claimed. */
void tm_arena_forget_unclaimed(struct tm_arena *arena);
/* Then: file space for every frame that was claimed. The rest of the file
 * should have @other_bytes of it. 0 or -ENOMEM. */
int tm_arena_fill_holes(struct tm_arena *arena, uint64_t other_bytes);

/* Gives back to the system what is idle at the call, but for @keep frames;
 * returns how many it gave back. */
uint64_t tm_arena_trim(struct tm_arena *arena, uint64_t keep);

/* Populates idle frames, up to @want of them; false when there is no memory. */
bool tm_arena_stock(struct tm_arena *arena, uint64_t want);

#endif
