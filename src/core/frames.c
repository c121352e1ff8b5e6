/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Frames: runs for the allocators, populated and given back; see arena.h.
 *
 * Who wants a run gets, in this order: idle frames in a row; fresh address
 * space, populated now; and when the limit stands in the way, fresh address
 * space after as many idle frames, wherever they lie, were given back.
 *
 * Every put and get goes to another frame, and finding a page of 4 KiB in the
 * page tables takes as long as fetching two or three cache lines. So as long
 * as memory is plenty, fresh frames are made a huge page at a time (a
 * *chunk*), and what the run leaves of it is idle. A chunk is charged as a
 * whole, and huge pages are asked for while it is populated only: the kernel
 * must not make one later of frames that were given back. Of a file a chunk's
 * first frame is made, and then *collapsed* into a huge page with the rest: that
 * is the one way that does not depend on how its tmpfs was mounted. Where it
 * fails (before Linux 6.1, or for want of a free huge page), there are no more
 * chunks.
 *
 * The bits are flipped under the lock; the system calls that make them true
 * are made outside it, by whoever flipped them: meanwhile the frames are
 * "used", so nobody else takes them.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "bitmap.h"
#include "frames.h"

#define PAGE ((uint64_t)TMEM_FRAME_SIZE)
/* A search looks at this many words of a bitmap at most, unless the address space
 * has come to its end. */
#define SEARCH_WORDS 256
_Static_assert(TMEM_RUN_FRAMES_MAX <= 64, "a run lies in two words at most");
/* Frames given back by one round. */
#define TRIM_BATCH 256
/* A huge page, where 4 KiB frames are populated. Made only in a store of so
 * much more, and while that is not nearly full: otherwise idle frames would be
 * what it lacks. */
#define CHUNK_FRAMES (TM_CHUNK_BYTES / PAGE)
#define CHUNKS_MIN 32
/* Frames whose two bits fill one page of each bitmap. */
#define BITMAP_PAGE_FRAMES (TMEM_FRAME_SIZE * UINT64_C(8))

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

struct run {
	uint64_t first;
	uint64_t count;
};

static size_t bitmap_bytes(const struct tm_arena *arena)
{
	return ((arena->frame_count + 63) / 64) * sizeof(uint64_t);
}

int tm_frames_init(struct tm_arena *arena)
{
	const struct tm_region *region = &arena->super->frames;

	tm_lock_init(&arena->lock, TM_RANK_FRAMES);
	arena->frame_base = tm_arena_region(arena, region);
	arena->frame_offset = (off_t)region->offset_bytes;
	arena->frame_count = region->count;
	arena->used = tm_memory_reserve(bitmap_bytes(arena));
	arena->populated = tm_memory_reserve(bitmap_bytes(arena));
	return arena->used && arena->populated ? 0 : -ENOMEM;
}

void tm_frames_destroy(struct tm_arena *arena)
{
	if (arena->used)
		munmap(arena->used, bitmap_bytes(arena));
	if (arena->populated)
		munmap(arena->populated, bitmap_bytes(arena));
	arena->used = NULL;
	arena->populated = NULL;
}

static void *frame_at(const struct tm_arena *arena, uint64_t frame)
{
	return arena->frame_base + frame * PAGE;
}

/* --- making frames real, and the reverse (no lock held) ---------------- */

static int populate(struct tm_arena *arena, uint64_t first, uint64_t count)
{
	uint8_t *at = frame_at(arena, first);
	size_t size = count * PAGE;

	if (arena->fd >= 0 &&
	    tm_memory_allocate_file(arena->fd,
				    arena->frame_offset + (off_t)(first * PAGE),
				    (off_t)size))
		return -ENOMEM;
	if (!madvise(at, size, MADV_POPULATE_WRITE))
		return 0;
	if (errno == ENOMEM || errno == EFAULT || errno == EHWPOISON)
		return -ENOMEM;
	/* A kernel without it: touching does the same. */
	for (size_t i = 0; i < size; i += PAGE)
		*(volatile uint8_t *)(at + i) = 0;
	return 0;
}

static int collapse_chunk(struct tm_arena *arena, uint64_t first)
{
	int err = tm_memory_allocate_file(
		arena->fd, arena->frame_offset + (off_t)(first * PAGE), PAGE);

	if (!err &&
	    madvise(frame_at(arena, first), TM_CHUNK_BYTES, MADV_COLLAPSE))
		err = -ENOMEM;
	return err;
}

static int populate_chunk(struct tm_arena *arena, uint64_t first)
{
	void *at = frame_at(arena, first);
	int err = 0;

	madvise(at, TM_CHUNK_BYTES, MADV_HUGEPAGE);
	if (arena->fd >= 0)
		err = collapse_chunk(arena, first);
	if (!err)
		err = populate(arena, first, CHUNK_FRAMES);
	madvise(at, TM_CHUNK_BYTES, MADV_NOHUGEPAGE);
	return err;
}

static void depopulate(struct tm_arena *arena, uint64_t first, uint64_t count)
{
	void *at = frame_at(arena, first);
	size_t size = count * PAGE;

	if (arena->fd >= 0) {
		fallocate(arena->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			  arena->frame_offset + (off_t)(first * PAGE),
			  (off_t)size);
		return;
	}
	if (arena->is_locked && !madvise(at, size, MADV_DONTNEED_LOCKED))
		return;
	if (!madvise(at, size, MADV_DONTNEED))
		return;
	munlock(at, size);
	madvise(at, size, MADV_DONTNEED);
	mlock2(at, size, MLOCK_ONFAULT);
}

/* --- searching (lock held) ---------------------------------------------- */

/* The frames of word @w that are free to take: idle ones, or fresh ones. */
static uint64_t free_word(const struct tm_arena *arena, uint64_t w, bool idle)
	TM_REQUIRES(arena->lock)
{
	uint64_t populated = arena->populated[w];
	uint64_t free = ~arena->used[w] & (idle ? populated : ~populated);

	/* Beyond the high mark nothing is known of them. */
	if (w == arena->high / 64)
		free &= (UINT64_C(1) << arena->high % 64) - 1;
	return free;
}

/*
 * The first run of @count frames that are free in the wanted way, at or after
 * *@cursor and then from the beginning, below the high mark, within @most
 * words. Leaves the cursor where the next search should begin: a word back,
 * for a run that begins in one and ends in the next.
 */
static bool find_run(const struct tm_arena *arena, bool idle, uint64_t count,
		     uint64_t most, uint64_t *cursor, uint64_t *first)
	TM_REQUIRES(arena->lock)
{
	uint64_t words = (arena->high + 63) / 64;
	uint64_t w = *cursor < words ? *cursor : 0;
	uint64_t length = 0;

	for (uint64_t n = 0; n < most && n <= words && words; n++) {
		uint64_t free = free_word(arena, w, idle);

		for (unsigned bit = 0; free && bit < 64; bit++) {
			if (!(free >> bit & 1)) {
				length = 0;
				continue;
			}
			if (++length < count)
				continue;
			*first = w * 64 + bit + 1 - count;
			*cursor = w;
			return true;
		}
		if (!free)
			length = 0;
		if (++w == words)
			w = length = 0;
	}
	*cursor = w ? w - 1 : 0;
	return false;
}

/* Where they are few, the lowest first: what is above can be given back. */
static bool find_nearby(const struct tm_arena *arena, bool idle, uint64_t count,
			uint64_t *cursor, uint64_t *first)
	TM_REQUIRES(arena->lock)
{
	if (arena->high <= 64 * SEARCH_WORDS)
		*cursor = 0;
	return find_run(arena, idle, count, SEARCH_WORDS, cursor, first);
}

/* Moves the high mark, paying for the bitmaps' pages behind it. */
static bool raise_high(struct tm_arena *arena, uint64_t high)
	TM_REQUIRES(arena->lock)
{
	uint64_t had, need;

	if (high > arena->frame_count)
		return false;
	had = (arena->high + BITMAP_PAGE_FRAMES - 1) / BITMAP_PAGE_FRAMES;
	need = (high + BITMAP_PAGE_FRAMES - 1) / BITMAP_PAGE_FRAMES;
	if (need > had &&
	    !tm_memory_charge(arena->memory, 2 * (need - had) * PAGE))
		return false;
	if (high > arena->high)
		arena->high = high;
	return true;
}

static bool take_fresh(struct tm_arena *arena, uint64_t count, uint64_t *first)
	TM_REQUIRES(arena->lock)
{
	uint64_t end = arena->high;

	if (!find_nearby(arena, false, count, &arena->fresh_cursor, first)) {
		*first = end;
		/* All of it, for there is nothing else. */
		if (!raise_high(arena, end + count) &&
		    !find_run(arena, false, count, UINT64_MAX,
			      &arena->fresh_cursor, first))
			return false;
	}
	tm_bitmap_set_range(arena->used, *first, count);
	return true;
}

static bool take_chunk(struct tm_arena *arena, uint64_t *first)
	TM_REQUIRES(arena->lock)
{
	uint64_t base = (uint64_t)(uintptr_t)arena->frame_base / PAGE;

	*first = (base + arena->high + CHUNK_FRAMES - 1) / CHUNK_FRAMES *
			 CHUNK_FRAMES -
		 base;
	if (!raise_high(arena, *first + CHUNK_FRAMES))
		return false;
	tm_bitmap_set_range(arena->used, *first, CHUNK_FRAMES);
	return true;
}

/* --- the callbacks ------------------------------------------------------- */

static bool take_idle(struct tm_arena *arena, uint64_t count, uint64_t *first)
{
	bool found = false;

	tm_lock_acquire(&arena->lock);
	if (arena->idle_frames >= count)
		found = find_nearby(arena, true, count, &arena->idle_cursor,
				    first);
	if (found) {
		tm_bitmap_set_range(arena->used, *first, count);
		arena->idle_frames -= count;
		arena->used_frames += count;
	}
	tm_lock_release(&arena->lock);
	return found;
}

/* Fresh frames, a run or a chunk, populated and charged; marked used, but not
 * counted yet. */
static int make_run(struct tm_arena *arena, uint64_t count, uint64_t *first)
{
	bool found;
	int err = -ENOMEM;

	if (!tm_memory_charge(arena->memory, count * PAGE))
		return -ENOMEM;
	tm_lock_acquire(&arena->lock);
	found = count == CHUNK_FRAMES ? take_chunk(arena, first) :
					take_fresh(arena, count, first);
	tm_lock_release(&arena->lock);
	if (found)
		err = count == CHUNK_FRAMES ? populate_chunk(arena, *first) :
					      populate(arena, *first, count);
	if (!err)
		return 0;
	if (found) {
		depopulate(arena, *first, count);
		tm_lock_acquire(&arena->lock);
		tm_bitmap_clear_range(arena->used, *first, count);
		tm_lock_release(&arena->lock);
	}
	tm_memory_discharge(arena->memory, count * PAGE);
	return err;
}

static bool wants_chunk(const struct tm_arena *arena)
{
	uint64_t limit = atomic_load_explicit(&arena->memory->limit_bytes,
					      memory_order_relaxed);
	uint64_t used = atomic_load_explicit(&arena->memory->used_bytes,
					     memory_order_relaxed);

	/* Idle ones that lie wrong are enough already. */
	return !arena->has_no_chunks &&
	       limit >= CHUNKS_MIN * TM_CHUNK_BYTES &&
	       used + TM_CHUNK_BYTES <= limit - limit / 8 &&
	       atomic_load_explicit(&arena->idle_frames,
				    memory_order_relaxed) < CHUNK_FRAMES;
}

/* The beginning of a chunk; the rest of it becomes idle. */
static bool begin_chunk(struct tm_arena *arena, uint64_t count, uint64_t *first)
{
	if (!wants_chunk(arena))
		return false;
	if (make_run(arena, CHUNK_FRAMES, first)) {
		/* No more address space, as a rule; what is given back is used
		 * again run by run. */
		arena->has_no_chunks = true;
		return false;
	}
	tm_lock_acquire(&arena->lock);
	tm_bitmap_set_range(arena->populated, *first, CHUNK_FRAMES);
	tm_bitmap_clear_range(arena->used, *first + count,
			      CHUNK_FRAMES - count);
	arena->used_frames += count;
	arena->idle_frames += CHUNK_FRAMES - count;
	arena->idle_cursor = *first / 64;
	tm_lock_release(&arena->lock);
	return true;
}

int64_t tm_arena_get_frames(void *opaque, uint32_t count, uint32_t flags)
{
	struct tm_arena *arena = opaque;
	uint64_t first = 0;

	if (!count || count > TMEM_RUN_FRAMES_MAX || flags)
		return -EINVAL;
	if (take_idle(arena, count, &first) ||
	    begin_chunk(arena, count, &first))
		return (int64_t)first;
	if (make_run(arena, count, &first)) {
		uint64_t idle = arena->idle_frames;

		/* Idle frames that lie wrong make room for ones that do not. */
		if (idle < count)
			return -ENOMEM;
		tm_arena_trim(arena, idle - count);
		if (make_run(arena, count, &first))
			return -ENOMEM;
	}
	tm_lock_acquire(&arena->lock);
	tm_bitmap_set_range(arena->populated, first, count);
	arena->used_frames += count;
	tm_lock_release(&arena->lock);
	return (int64_t)first;
}

void tm_arena_put_frames(void *opaque, uint64_t first, uint32_t count)
{
	struct tm_arena *arena = opaque;

	tm_lock_acquire(&arena->lock);
	tm_bitmap_clear_range(arena->used, first, count);
	arena->used_frames -= count;
	arena->idle_frames += count;
	tm_lock_release(&arena->lock);
}

int tm_arena_claim_frames(void *opaque, uint64_t first, uint32_t count)
{
	struct tm_arena *arena = opaque;
	int err = -EBADMSG;

	if (!count || first >= arena->frame_count ||
	    count > arena->frame_count - first)
		return -EBADMSG;
	tm_lock_acquire(&arena->lock);
	if (first + count > arena->high && !raise_high(arena, first + count)) {
		err = -ENOMEM;
		goto out_unlock;
	}
	for (uint64_t f = first; f < first + count; f++)
		if (tm_bitmap_test(arena->used, f))
			goto out_unlock;
	tm_bitmap_set_range(arena->used, first, count);
	tm_bitmap_set_range(arena->populated, first, count);
	arena->used_frames += count;
	err = 0;
out_unlock:
	tm_lock_release(&arena->lock);
	if (!err)
		tm_memory_charge_anyway(arena->memory, count * PAGE);
	return err;
}

/* --- housekeeping --------------------------------------------------------- */

/* Takes up to TRIM_BATCH idle frames in one row out of circulation. */
static struct run grab_idle(struct tm_arena *arena, uint64_t keep)
{
	struct run run = { 0, 0 };
	uint64_t most;

	tm_lock_acquire(&arena->lock);
	most = arena->idle_frames > keep ? arena->idle_frames - keep : 0;
	for (uint64_t w = 0; most && w * 64 < arena->high; w++) {
		uint64_t idle = free_word(arena, w, true);

		if (!idle)
			continue;
		run.first = w * 64 + (uint64_t)__builtin_ctzll(idle);
		break;
	}
	while (run.count < most && run.count < TRIM_BATCH &&
	       run.first + run.count < arena->high &&
	       tm_bitmap_test(arena->populated, run.first + run.count) &&
	       !tm_bitmap_test(arena->used, run.first + run.count))
		run.count++;
	tm_bitmap_set_range(arena->used, run.first, run.count);
	tm_bitmap_clear_range(arena->populated, run.first, run.count);
	arena->idle_frames -= run.count;
	tm_lock_release(&arena->lock);
	return run;
}

uint64_t tm_arena_trim(struct tm_arena *arena, uint64_t keep)
{
	uint64_t idle = arena->idle_frames, trimmed = 0;

	/* Not what becomes idle meanwhile: that may have no end. */
	while (trimmed + keep < idle) {
		struct run run = grab_idle(arena, keep);

		if (!run.count)
			break;
		depopulate(arena, run.first, run.count);
		tm_lock_acquire(&arena->lock);
		tm_bitmap_clear_range(arena->used, run.first, run.count);
		tm_lock_release(&arena->lock);
		tm_memory_discharge(arena->memory, run.count * PAGE);
		trimmed += run.count;
	}
	return trimmed;
}

bool tm_arena_stock(struct tm_arena *arena, uint64_t want)
{
	while (arena->idle_frames < want) {
		uint64_t first;
		uint64_t count = want - arena->idle_frames;

		if (count > TMEM_RUN_FRAMES_MAX)
			count = TMEM_RUN_FRAMES_MAX;
		if (make_run(arena, count, &first))
			return false;
		tm_lock_acquire(&arena->lock);
		tm_bitmap_set_range(arena->populated, first, count);
		tm_bitmap_clear_range(arena->used, first, count);
		arena->idle_frames += count;
		tm_lock_release(&arena->lock);
	}
	return true;
}

/* What a dead process left in frames that nothing refers to now. */
void tm_arena_forget_unclaimed(struct tm_arena *arena)
{
	uint64_t begin = 0;

	if (arena->fd < 0)
		return;
	/* Holes too: what was allocated and never written looks like one. */
	for (uint64_t f = 0; f < arena->high; f++) {
		if (!tm_bitmap_test(arena->used, f))
			continue;
		if (f > begin)
			depopulate(arena, begin, f - begin);
		begin = f + 1;
	}
	if (begin < arena->frame_count)
		depopulate(arena, begin, arena->frame_count - begin);
}

/* A hole among the claimed frames is damage, to be found by the pages' checks;
 * it must not be a SIGBUS. Asking the file system about each run would take
 * longer than all the rest of reopening: as a rule the sum of its blocks says
 * that nothing is missing. */
int tm_arena_fill_holes(struct tm_arena *arena, uint64_t other_bytes)
{
	uint64_t bytes = other_bytes + arena->used_frames * PAGE;
	struct stat status;
	uint64_t end;

	if (arena->fd < 0 || (!fstat(arena->fd, &status) &&
			      (uint64_t)status.st_blocks * 512 == bytes))
		return 0;
	for (uint64_t f = 0; f < arena->high; f = end + 1) {
		for (end = f; end < arena->high; end++)
			if (!tm_bitmap_test(arena->used, end))
				break;
		if (end > f &&
		    tm_memory_allocate_file(
			    arena->fd, arena->frame_offset + (off_t)(f * PAGE),
			    (off_t)((end - f) * PAGE))) {
			tm_memory_log(arena->memory, TMEM_LOG_ERROR,
				      "arena: it has holes, and its file "
				      "system no room to fill them");
			return -ENOMEM;
		}
	}
	return 0;
}
