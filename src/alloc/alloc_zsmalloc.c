/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The allocator "zsmalloc": best fit in short runs of frames. Dense.
 *
 * The problem: compressed pages have any size up to a page. The kernel's
 * zsmalloc cuts runs into equal slots, and then wastes by rounding up to few
 * slot sizes, or by many sizes with a half-empty run each, and after random
 * frees every run is sparse. Measured on real pages (doc/size-classes.md) that
 * is 4 % of the frames when filled and 8 % after churn, whatever the classes.
 *
 * The idea: class the free space instead of the objects. A run is 1 to 8
 * frames; an object lies anywhere in it, at a multiple of 8 bytes, and takes
 * its size rounded up to 8 bytes. What lies between objects is a gap. Each run
 * is listed in the size class of its longest gap, and an object goes to the
 * first run of the nearest class that holds it, into the gap there that fits
 * best. Among thousands of runs there is nearly always a gap that fits almost
 * exactly, and neighbouring gaps join by themselves. A run is opened only when
 * there is no gap at all; its length is the one of which such objects leave
 * the smallest rest.
 *
 *	frames * 4096 == bytes of extents + bytes of gaps	(each run)
 *
 * Bound: measured, 1 % of the frames is in gaps when filled and 2 % after any
 * amount of churn, without moving anything. Memory that was mostly freed
 * needs moving: the sparsest run is named by victims() and takes no objects
 * meanwhile ("draining"), until it is empty or the space is needed.
 *
 * A run's record lists its extents in order, so an operation costs a binary
 * search and a shift of some dozen entries: bounded, as a run never has more
 * than EXTENTS_MAX. Objects of a whole frame have one to themselves and no
 * record.
 *
 * Handle, from bit 0:
 *	offset / 8: 12 | frames - 1: 3 | heap 3 | ephemeral 1 | single 1 |
 *	0: 3 | first frame 32 | 1
 *
 * Threads: a kind (persistent or ephemeral) has up to HEAPS heaps. A thread
 * allocates from the heap that its identity picks, and looks into the others
 * before it takes frames, so that one thread alone makes one dense heap and
 * many do not meet. A heap's lock guards its runs and the frame map's entries
 * for them; two heaps are never locked at once. The table lock, below it,
 * guards records and leaves.
 */
#include <config.h>

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

#include <tmem/allocator.h>

#include "frame_map.h"
#include "lock.h"
#include "records.h"

extern const struct tmem_allocator tm_allocator_zsmalloc;

/* Sizes and offsets within a run are counted in grains of 8 bytes. */
#define GRAIN 8u
#define FRAME_GRAINS (TMEM_FRAME_SIZE / GRAIN)
#define LENGTH_MIN 2u /* so that 256 objects fill a frame */
#define CLASSES FRAME_GRAINS
#define CLASS_WORDS (CLASSES / 64)

#define HEAPS 8u
#define KINDS 2u

#define RUN_FRAMES_MAX 8u
#define RUN_FRAMES_MIN 2u
/* A run for smaller objects is shorter: about this many are to be in one. */
#define RUN_OBJECTS 32u
#define EXTENTS_MAX 256u
/* Records grow by this many extents at least. */
#define EXTENTS_STEP 4u

/* Lists of runs by how much of them is in use; and one more, of those that
 * are to be emptied. */
#define FILLS 16u
#define FILL_DRAINING FILLS

/*
 * Moving is worth while when gaps are this much of what is in use, in
 * percent, and is ended when they are that much; and never about less than
 * a few frames. Between the two lies the reason for not moving an object
 * again and again while many are being freed.
 */
#define GAPS_START_PCT 60u
#define GAPS_END_PCT 5u
#define GAPS_FEW (8u * FRAME_GRAINS)
/* victims() names the objects of one run so often, while none of them goes. */
#define PATIENCE 4u
/* How many runs are looked at for one that can be emptied. */
#define LOOK_MAX 256u

struct extent {
	uint16_t start; /* grains */
	uint16_t length;
	uint32_t owner;
};

struct run {
	uint32_t first; /* frame */
	uint32_t gap_next; /* ids; 0 ends a list */
	uint32_t gap_prev;
	uint32_t fill_next;
	uint32_t fill_prev;
	uint16_t used; /* grains */
	uint16_t longest; /* gap, grains */
	uint16_t listed; /* the class whose list it is on, + 1 */
	uint16_t count; /* extents */
	uint8_t steps; /* room for extents, in EXTENTS_STEP */
	uint8_t frames;
	uint8_t fill; /* which list it is on */
	uint8_t tries; /* of victims(), since an object went */
	struct extent extents[];
};

struct heap {
	struct tm_lock lock;
	/* Which classes have runs: written under the lock, peeked at without
	 * it. A stale bit costs a vain look, or a missed gap. */
	_Atomic uint64_t classes[CLASS_WORDS];
	/* Lists by use; that of draining runs is peeked at, too. */
	_Atomic uint32_t fills[FILLS + 1];
	uint32_t fills_listed; /* bit f: fills[f] is not empty */
	uint32_t gaps[CLASSES]; /* lists, by longest gap */
	uint64_t frames;
	uint64_t runs;
	uint64_t objects;
	uint64_t used; /* grains */
	uint64_t free; /* grains in gaps, not draining */
} __attribute__((aligned(64)));

/* Tags: 0, no run begins at this frame; else who guards it, and what it is. */
#define TAG_RUN 1u
#define TAG_SINGLE (TAG_RUN + KINDS * HEAPS)

#define LEAF_SHIFT 12u
#define LEAF_FRAMES (1u << LEAF_SHIFT)

struct leaf {
	_Atomic uint32_t entries[LEAF_FRAMES]; /* id, or owner */
	_Atomic uint8_t tags[LEAF_FRAMES];
};

struct zsmalloc {
	/* Set at creation, then constant. */
	const struct tmem_host *host;
	const struct tmem_frames *frames;
	uint8_t *base;
	uint32_t frames_max;
	/* Each set once, under the table lock. */
	_Atomic(struct heap *) heaps[KINDS * HEAPS];
	/* Where victims() goes on; a racy hint. */
	_Atomic uint32_t cursor;
	struct tm_lock table_lock;
	/* Guarded by table_lock. */
	struct tm_frame_map map;
	struct tm_records records;
};

/* --- handles */

struct place {
	uint64_t first;
	uint32_t frames;
	uint32_t start;
	uint32_t heap; /* kind * HEAPS + number */
	bool is_single;
};

#define HANDLE_MARK (UINT64_C(1) << 55)
#define HANDLE_ZERO (UINT64_C(7) << 20)

static uint64_t handle_make(const struct place *at)
{
	return (uint64_t)at->start | (uint64_t)(at->frames - 1) << 12 |
	       (uint64_t)at->heap << 15 | (uint64_t)at->is_single << 19 |
	       at->first << 23 | HANDLE_MARK;
}

static struct place handle_read(uint64_t handle)
{
	struct place at = {
		.start = handle & 0xfff,
		.frames = (uint32_t)(handle >> 12 & 7) + 1,
		.heap = (uint32_t)(handle >> 15) & 0xf,
		.is_single = handle >> 19 & 1,
		.first = handle >> 23 & 0xffffffff,
	};

	return at;
}

static uint64_t run_handle(const struct run *run, uint32_t heap, uint32_t start)
{
	struct place at = {
		.first = run->first,
		.frames = run->frames,
		.start = start,
		.heap = heap,
	};

	return handle_make(&at);
}

static uint32_t length_of(uint32_t size)
{
	uint32_t length = (size + GRAIN - 1) / GRAIN;

	return length < LENGTH_MIN ? LENGTH_MIN : length;
}

/* --- records */

static struct run *run_at(const struct zsmalloc *zs, uint32_t id)
{
	return tm_records_at(&zs->records, id);
}

/* Its extents will be read, and few records are in a near cache: better to
 * wait for all of its lines at once. */
static inline __attribute__((always_inline)) void
run_prefetch(const struct run *run)
{
	const char *line = (const char *)run;

	__builtin_prefetch(line + 64);
	__builtin_prefetch(line + 128);
	__builtin_prefetch(line + 192);
}

static uint32_t steps_for(uint32_t extents)
{
	uint32_t most = EXTENTS_MAX / EXTENTS_STEP;
	uint32_t steps = (extents + EXTENTS_STEP - 1) / EXTENTS_STEP;

	return steps < most ? steps : most;
}

static uint32_t run_units(uint32_t steps)
{
	return (uint32_t)((sizeof(struct run) +
			   steps * EXTENTS_STEP * sizeof(struct extent)) /
			  TM_RECORDS_UNIT);
}

static uint32_t run_grains(const struct run *run)
{
	return run->frames * FRAME_GRAINS;
}

/* --- the frame map */

static uint8_t tag_of(const struct place *at)
{
	return (uint8_t)((at->is_single ? TAG_SINGLE : TAG_RUN) + at->heap);
}

/* With the heap's lock; the leaf must be there. */
static void entry_set(struct zsmalloc *zs, uint64_t frame, uint32_t value,
		      uint8_t tag)
{
	struct leaf *leaf = tm_frame_map_leaf(&zs->map, frame);

	atomic_store_explicit(&leaf->entries[frame % LEAF_FRAMES], value,
			      memory_order_relaxed);
	atomic_store_explicit(&leaf->tags[frame % LEAF_FRAMES], tag,
			      memory_order_relaxed);
}

/* With the heap's lock, and a tag that matched. */
static uint32_t entry_get(const struct zsmalloc *zs, uint64_t frame)
{
	struct leaf *leaf = tm_frame_map_leaf(&zs->map, frame);

	return atomic_load_explicit(&leaf->entries[frame % LEAF_FRAMES],
				    memory_order_relaxed);
}

/*
 * What begins at @frame. Holding the lock of a heap makes a match with a tag
 * of that heap stable: only its holder sets or clears it.
 */
static uint8_t tag_at(const struct zsmalloc *zs, uint64_t frame)
{
	struct leaf *leaf;

	if (frame >= zs->map.frame_count)
		return 0;
	leaf = tm_frame_map_leaf(&zs->map, frame);
	if (!leaf)
		return 0;
	return atomic_load_explicit(&leaf->tags[frame % LEAF_FRAMES],
				    memory_order_relaxed);
}

/* --- heaps */

static struct heap *heap_at(const struct zsmalloc *zs, uint32_t n)
{
	return atomic_load_explicit(&zs->heaps[n], memory_order_acquire);
}

static struct heap *heap_make(struct zsmalloc *zs, uint32_t n)
{
	struct heap *heap = heap_at(zs, n);

	if (heap)
		return heap;
	tm_lock_acquire(&zs->table_lock);
	heap = heap_at(zs, n);
	if (!heap) {
		heap = zs->host->alloc(zs->host->opaque, sizeof(*heap), 64);
		if (heap)
			tm_lock_init(&heap->lock, TM_RANK_ALLOC_CLASS);
		atomic_store_explicit(&zs->heaps[n], heap,
				      memory_order_release);
	}
	tm_lock_release(&zs->table_lock);
	return heap;
}

static void heap_destroy(struct zsmalloc *zs, uint32_t n)
{
	struct heap *heap = heap_at(zs, n);

	if (!heap)
		return;
	tm_lock_destroy(&heap->lock);
	zs->host->free(zs->host->opaque, heap, sizeof(*heap));
}

/* The heap that the calling thread uses: threads differ in their addresses. */
static uint32_t home_heap(uint32_t flags)
{
	uint64_t self = (uint64_t)(uintptr_t)pthread_self();
	uint32_t kind = flags & TMEM_ALLOC_EPHEMERAL ? 1 : 0;

	self = (self >> 6) * UINT64_C(0x9e3779b97f4a7c15);
	return kind * HEAPS + (uint32_t)(self >> 61);
}

/* --- lists of runs (heap lock held) */

static bool is_draining(const struct run *run)
{
	return run->fill == FILL_DRAINING;
}

/* The class whose list a run belongs to, + 1; 0: it takes no objects. */
static uint32_t class_for(const struct run *run)
{
	if (run->count == EXTENTS_MAX || is_draining(run))
		return 0;
	return run->longest < CLASSES ? run->longest : CLASSES;
}

static void class_mark(struct heap *heap, uint32_t class, bool value)
{
	_Atomic uint64_t *word = &heap->classes[class / 64];
	uint64_t bit = UINT64_C(1) << class % 64;
	uint64_t old = atomic_load_explicit(word, memory_order_relaxed);

	atomic_store_explicit(word, value ? old | bit : old & ~bit,
			      memory_order_relaxed);
}

static void gap_list_add(struct zsmalloc *zs, struct heap *heap, uint32_t id)
{
	struct run *run = run_at(zs, id);
	uint32_t listed = class_for(run);
	uint32_t *head;

	run->listed = (uint16_t)listed;
	if (!listed)
		return;
	head = &heap->gaps[listed - 1];
	run->gap_prev = 0;
	run->gap_next = *head;
	if (*head)
		run_at(zs, *head)->gap_prev = id;
	else
		class_mark(heap, listed - 1, true);
	*head = id;
}

static void gap_list_remove(struct zsmalloc *zs, struct heap *heap,
			    const struct run *run)
{
	if (!run->listed)
		return;
	if (run->gap_next)
		run_at(zs, run->gap_next)->gap_prev = run->gap_prev;
	if (run->gap_prev) {
		run_at(zs, run->gap_prev)->gap_next = run->gap_next;
		return;
	}
	heap->gaps[run->listed - 1] = run->gap_next;
	if (!run->gap_next)
		class_mark(heap, run->listed - 1u, false);
}

static uint32_t fill_head(const struct heap *heap, uint32_t fill)
{
	return atomic_load_explicit(&heap->fills[fill], memory_order_relaxed);
}

static void fill_set_head(struct heap *heap, uint32_t fill, uint32_t id)
{
	atomic_store_explicit(&heap->fills[fill], id, memory_order_relaxed);
	if (id)
		heap->fills_listed |= UINT32_C(1) << fill;
	else
		heap->fills_listed &= ~(UINT32_C(1) << fill);
}

static uint32_t fill_of(const struct run *run)
{
	uint32_t fill = run->used * FILLS / run_grains(run);

	return fill < FILLS ? fill : FILLS - 1;
}

static void fill_list_add(struct zsmalloc *zs, struct heap *heap, uint32_t id,
			  uint32_t fill)
{
	struct run *run = run_at(zs, id);
	uint32_t next = fill_head(heap, fill);

	run->fill = (uint8_t)fill;
	run->fill_prev = 0;
	run->fill_next = next;
	if (next)
		run_at(zs, next)->fill_prev = id;
	fill_set_head(heap, fill, id);
}

static void fill_list_remove(struct zsmalloc *zs, struct heap *heap,
			     const struct run *run)
{
	if (run->fill_next)
		run_at(zs, run->fill_next)->fill_prev = run->fill_prev;
	if (run->fill_prev)
		run_at(zs, run->fill_prev)->fill_next = run->fill_next;
	else
		fill_set_head(heap, run->fill, run->fill_next);
}

static void lists_add(struct zsmalloc *zs, struct heap *heap, uint32_t id,
		      uint32_t fill)
{
	fill_list_add(zs, heap, id, fill);
	gap_list_add(zs, heap, id);
}

static void lists_remove(struct zsmalloc *zs, struct heap *heap,
			 const struct run *run)
{
	gap_list_remove(zs, heap, run);
	fill_list_remove(zs, heap, run);
}

/* After a change: the lists that a run belongs to now. */
static void relist(struct zsmalloc *zs, struct heap *heap, uint32_t id)
{
	struct run *run = run_at(zs, id);
	uint32_t fill = fill_of(run);

	if (class_for(run) != run->listed) {
		gap_list_remove(zs, heap, run);
		gap_list_add(zs, heap, id);
	}
	/* A run that is a little fuller than its list says stays where it is:
	 * most runs go up and down by one object all the time. */
	if (!is_draining(run) && (fill < run->fill || fill > run->fill + 1u)) {
		fill_list_remove(zs, heap, run);
		fill_list_add(zs, heap, id, fill);
	}
}

/* Takes a run out of use so that it may be emptied. */
static void drain(struct zsmalloc *zs, struct heap *heap, uint32_t id)
{
	struct run *run = run_at(zs, id);

	lists_remove(zs, heap, run);
	heap->free -= run_grains(run) - run->used;
	lists_add(zs, heap, id, FILL_DRAINING);
}

/* And back into use. */
static void undrain(struct zsmalloc *zs, struct heap *heap, uint32_t id)
{
	struct run *run = run_at(zs, id);

	lists_remove(zs, heap, run);
	heap->free += run_grains(run) - run->used;
	lists_add(zs, heap, id, fill_of(run));
}

/* --- extents (heap lock held) */

/* Where the gap before extent @n begins; @n may be count. */
static uint32_t gap_start(const struct run *run, uint32_t n)
{
	return n ? run->extents[n - 1].start + run->extents[n - 1].length : 0u;
}

static uint32_t gap_end(const struct run *run, uint32_t n)
{
	return n < run->count ? run->extents[n].start : run_grains(run);
}

/* The number of the first extent that begins at @start or after it. Without
 * a branch that depends on the data: half of those would be mispredicted. */
static uint32_t extent_find(const struct run *run, uint32_t start)
{
	const struct extent *base = run->extents;
	uint32_t count = run->count;

	while (count > 1) {
		uint32_t half = count / 2;

		base += base[half - 1].start < start ? half : 0;
		count -= half;
	}
	return (uint32_t)(base - run->extents) + (count && base->start < start);
}

/* Moves the record to a longer one; its new id, or 0 when out of memory. */
static uint32_t run_grow(struct zsmalloc *zs, struct heap *heap, uint32_t id,
			 uint8_t tag)
{
	struct run *run = run_at(zs, id);
	uint32_t steps = steps_for(run->count + run->count / 8 + 1u);
	struct run *copy;
	uint32_t copy_id;

	tm_lock_acquire(&zs->table_lock);
	copy_id = tm_records_alloc(&zs->records, run_units(steps));
	tm_lock_release(&zs->table_lock);
	if (!copy_id)
		return 0;
	lists_remove(zs, heap, run);
	copy = run_at(zs, copy_id);
	memcpy(copy, run, sizeof(*run) + run->count * sizeof(struct extent));
	copy->steps = (uint8_t)steps;
	entry_set(zs, copy->first, copy_id, tag);
	lists_add(zs, heap, copy_id, copy->fill);
	tm_lock_acquire(&zs->table_lock);
	tm_records_free(&zs->records, id, run_units(run->steps));
	tm_lock_release(&zs->table_lock);
	return copy_id;
}

/* Puts an object before extent @n; there must be room for an extent. */
static void extent_add(struct zsmalloc *zs, struct heap *heap, uint32_t id,
		       uint32_t n, const struct extent *extent,
		       uint32_t longest)
{
	struct run *run = run_at(zs, id);

	memmove(&run->extents[n + 1], &run->extents[n],
		(run->count - n) * sizeof(struct extent));
	run->extents[n] = *extent;
	run->count++;
	run->used = (uint16_t)(run->used + extent->length);
	run->longest = (uint16_t)longest;
	heap->objects++;
	heap->used += extent->length;
	heap->free -= extent->length;
	relist(zs, heap, id);
}

/* The other way round; the run may be empty afterwards. */
static void extent_remove(struct zsmalloc *zs, struct heap *heap, uint32_t id,
			  uint32_t n)
{
	struct run *run = run_at(zs, id);
	uint32_t gap = gap_end(run, n + 1) - gap_start(run, n);
	uint32_t length = run->extents[n].length;

	memmove(&run->extents[n], &run->extents[n + 1],
		(run->count - n - 1u) * sizeof(struct extent));
	run->count--;
	run->tries = 0;
	run->used = (uint16_t)(run->used - length);
	if (gap > run->longest)
		run->longest = (uint16_t)gap;
	heap->objects--;
	heap->used -= length;
	if (!is_draining(run))
		heap->free += length;
	relist(zs, heap, id);
}

/*
 * The two longest gaps of a run, each as length << 16 | number of the extent
 * behind it: so that one comparison does for both, and nothing but the end of
 * the loop needs a branch. Where gaps are cannot be predicted.
 */
struct gaps {
	uint32_t first;
	uint32_t second;
};

static struct gaps gaps_add(struct gaps gaps, uint32_t length, uint32_t n)
{
	uint32_t gap = length << 16 | n;
	uint32_t lesser = gap < gaps.first ? gap : gaps.first;

	gaps.second = lesser > gaps.second ? lesser : gaps.second;
	gaps.first = gap > gaps.first ? gap : gaps.first;
	return gaps;
}

static struct gaps find_gaps(const struct run *run)
{
	struct gaps gaps = { 0, 0 };
	uint32_t count = run->count;
	uint32_t start = 0;

	for (uint32_t n = 0; n < count; n++) {
		const struct extent *extent = &run->extents[n];

		gaps = gaps_add(gaps, extent->start - start, n);
		start = extent->start + extent->length;
	}
	return gaps_add(gaps, run_grains(run) - start, count);
}

/*
 * Puts an object into the longest gap of a run, which holds it; 0: out of
 * memory. The run was chosen by that gap: another one that fits better is
 * rare, and would have been found by its own class if it were the longest.
 */
static uint64_t place_in(struct zsmalloc *zs, uint32_t heap_number, uint32_t id,
			 uint32_t length, uint32_t owner)
{
	struct heap *heap = heap_at(zs, heap_number);
	struct run *run = run_at(zs, id);
	struct extent extent = { .length = (uint16_t)length, .owner = owner };
	struct gaps gaps;
	uint32_t n, rest, second;

	run_prefetch(run);
	if (run->count == run->steps * EXTENTS_STEP) {
		id = run_grow(zs, heap, id, (uint8_t)(TAG_RUN + heap_number));
		if (!id)
			return 0;
		run = run_at(zs, id);
	}
	gaps = find_gaps(run);
	assert(gaps.first >> 16 == run->longest && length <= run->longest);
	n = gaps.first & 0xffff;
	rest = (gaps.first >> 16) - length;
	second = gaps.second >> 16;
	extent.start = (uint16_t)gap_start(run, n);
	extent_add(zs, heap, id, n, &extent, rest > second ? rest : second);
	return run_handle(run, heap_number, extent.start);
}

/* --- opening and closing runs */

/*
 * How many frames a run for objects of @length should have: as many as leave
 * the smallest rest of each frame behind the last object.
 */
static uint32_t choose_frames(uint32_t length, uint32_t most)
{
	uint32_t limit = length * RUN_OBJECTS / FRAME_GRAINS;
	uint32_t best = 1;
	uint32_t best_rest = UINT32_MAX;

	if (limit > most)
		limit = most;
	for (uint32_t k = limit < RUN_FRAMES_MIN ? 1 : RUN_FRAMES_MIN;
	     k <= limit; k++) {
		/* In 840ths, which each k up to 8 divides. */
		uint32_t rest = k * FRAME_GRAINS % length * (840 / k);

		if (rest < best_rest) {
			best_rest = rest;
			best = k;
		}
	}
	return best;
}

/* Frames for a run of up to *@frames frames: less when memory is short. */
static int64_t get_frames(struct zsmalloc *zs, uint32_t *frames)
{
	for (;; *frames /= 2) {
		int64_t first = zs->frames->get(zs->frames->opaque, *frames, 0);

		if (first >= 0 || *frames == 1)
			return first;
	}
}

/* The bookkeeping for a run, on no list yet. 0: out of memory. */
static uint32_t run_make(struct zsmalloc *zs, uint64_t first, uint32_t frames,
			 uint32_t extents)
{
	uint32_t steps = steps_for(extents);
	uint32_t id = 0;
	struct run *run;

	tm_lock_acquire(&zs->table_lock);
	if (tm_frame_map_make(&zs->map, first))
		id = tm_records_alloc(&zs->records, run_units(steps));
	tm_lock_release(&zs->table_lock);
	if (!id)
		return 0;
	run = run_at(zs, id);
	*run = (struct run){
		.first = (uint32_t)first,
		.frames = (uint8_t)frames,
		.longest = (uint16_t)(frames * FRAME_GRAINS),
		.steps = (uint8_t)steps,
	};
	return id;
}

/* With the heap's lock. */
static void run_enter(struct zsmalloc *zs, uint32_t heap_number, uint32_t id)
{
	struct heap *heap = heap_at(zs, heap_number);
	struct run *run = run_at(zs, id);

	heap->frames += run->frames;
	heap->runs++;
	heap->free += run_grains(run);
	lists_add(zs, heap, id, 0);
	entry_set(zs, run->first, id, (uint8_t)(TAG_RUN + heap_number));
}

/* With the heap's lock, of an empty run. */
static void run_leave(struct zsmalloc *zs, struct heap *heap, uint32_t id)
{
	struct run *run = run_at(zs, id);

	heap->frames -= run->frames;
	heap->runs--;
	if (!is_draining(run))
		heap->free -= run_grains(run);
	lists_remove(zs, heap, run);
	entry_set(zs, run->first, 0, 0);
}

/* Without it. */
static void run_release(struct zsmalloc *zs, uint32_t id)
{
	struct run *run = run_at(zs, id);
	uint32_t first = run->first;
	uint32_t frames = run->frames;

	tm_lock_acquire(&zs->table_lock);
	tm_records_free(&zs->records, id, run_units(run->steps));
	tm_lock_release(&zs->table_lock);
	zs->frames->put(zs->frames->opaque, first, frames);
}

/* How many objects a run of this heap will have, going by the others. */
static uint32_t expected_extents(struct heap *heap, uint32_t frames,
				 uint32_t length)
{
	uint64_t grains = (uint64_t)frames * FRAME_GRAINS;

	if (heap->objects < 256)
		return (uint32_t)(grains / length);
	return (uint32_t)(grains * heap->objects / heap->used);
}

static uint64_t open_run(struct zsmalloc *zs, uint32_t heap_number,
			 uint32_t length, uint32_t owner)
{
	uint32_t frames = choose_frames(length, zs->frames_max);
	struct heap *heap = heap_make(zs, heap_number);
	uint64_t handle;
	uint32_t extents, id;
	int64_t first;

	if (!heap)
		return 0;
	first = get_frames(zs, &frames);
	if (first < 0)
		return 0;
	tm_lock_acquire(&heap->lock);
	extents = expected_extents(heap, frames, length);
	tm_lock_release(&heap->lock);
	id = run_make(zs, (uint64_t)first, frames, extents ? extents : 1);
	if (!id) {
		zs->frames->put(zs->frames->opaque, (uint64_t)first, frames);
		return 0;
	}
	tm_lock_acquire(&heap->lock);
	run_enter(zs, heap_number, id);
	handle = place_in(zs, heap_number, id, length, owner);
	tm_lock_release(&heap->lock);
	return handle;
}

/* --- objects of a whole frame: their owner stands in the frame map */

static int single_enter(struct zsmalloc *zs, const struct place *at,
			uint32_t owner)
{
	struct heap *heap = heap_make(zs, at->heap);
	void *leaf;

	if (!heap)
		return -ENOMEM;
	tm_lock_acquire(&zs->table_lock);
	leaf = tm_frame_map_make(&zs->map, at->first);
	tm_lock_release(&zs->table_lock);
	if (!leaf)
		return -ENOMEM;
	tm_lock_acquire(&heap->lock);
	entry_set(zs, at->first, owner, tag_of(at));
	heap->frames++;
	heap->runs++;
	heap->objects++;
	heap->used += FRAME_GRAINS;
	tm_lock_release(&heap->lock);
	return 0;
}

static uint64_t single_alloc(struct zsmalloc *zs, uint32_t heap_number,
			     uint32_t owner)
{
	struct place at = { .frames = 1,
			    .heap = heap_number,
			    .is_single = true };
	int64_t first = zs->frames->get(zs->frames->opaque, 1, 0);

	if (first < 0)
		return 0;
	at.first = (uint64_t)first;
	if (!single_enter(zs, &at, owner))
		return handle_make(&at);
	zs->frames->put(zs->frames->opaque, at.first, 1);
	return 0;
}

static void single_free(struct zsmalloc *zs, const struct place *at)
{
	struct heap *heap = heap_at(zs, at->heap);

	tm_lock_acquire(&heap->lock);
	assert(tag_at(zs, at->first) == tag_of(at));
	entry_set(zs, at->first, 0, 0);
	heap->frames--;
	heap->runs--;
	heap->objects--;
	heap->used -= FRAME_GRAINS;
	tm_lock_release(&heap->lock);
	zs->frames->put(zs->frames->opaque, at->first, 1);
}

/* --- alloc */

/* The nearest class from @class on that has runs; CLASSES: none. */
static uint32_t find_class(const struct heap *heap, uint32_t class)
{
	uint64_t mask = ~UINT64_C(0) << class % 64;

	for (uint32_t w = class / 64; w < CLASS_WORDS; w++) {
		uint64_t word = atomic_load_explicit(&heap->classes[w],
						     memory_order_relaxed) &
				mask;

		if (word)
			return w * 64 + (uint32_t)__builtin_ctzll(word);
		mask = ~UINT64_C(0);
	}
	return CLASSES;
}

/* A place in a gap of this heap; 0: there is none. A heap that is only looked
 * into is not locked in vain. */
static uint64_t take_gap(struct zsmalloc *zs, uint32_t heap_number,
			 uint32_t length, uint32_t owner)
{
	struct heap *heap = heap_at(zs, heap_number);
	uint64_t handle = 0;
	uint32_t class;

	if (!heap || find_class(heap, length - 1) == CLASSES)
		return 0;
	tm_lock_acquire(&heap->lock);
	class = find_class(heap, length - 1);
	if (class < CLASSES)
		handle = place_in(zs, heap_number, heap->gaps[class], length,
				  owner);
	tm_lock_release(&heap->lock);
	return handle;
}

/* A place in a run that was to be emptied, which is then not; 0: none. */
static uint64_t take_draining(struct zsmalloc *zs, uint32_t heap_number,
			      uint32_t length, uint32_t owner)
{
	struct heap *heap = heap_at(zs, heap_number);
	uint64_t handle = 0;
	uint32_t id;

	if (!heap || !fill_head(heap, FILL_DRAINING))
		return 0;
	tm_lock_acquire(&heap->lock);
	id = fill_head(heap, FILL_DRAINING);
	if (id && run_at(zs, id)->longest >= length &&
	    run_at(zs, id)->count < EXTENTS_MAX) {
		undrain(zs, heap, id);
		handle = place_in(zs, heap_number, id, length, owner);
	}
	tm_lock_release(&heap->lock);
	return handle;
}

static uint64_t zs_alloc(void *instance, uint32_t size, uint32_t owner,
			 uint32_t flags)
{
	struct zsmalloc *zs = instance;
	uint32_t home = home_heap(flags);
	uint32_t length = length_of(size);
	uint64_t handle = 0;

	if (!size || size > TMEM_FRAME_SIZE)
		return 0;
	if (length == FRAME_GRAINS)
		return flags & TMEM_ALLOC_MOVE ? 0
					       : single_alloc(zs, home, owner);
	/* The kind is the heap number's highest bit: i does not change it. */
	for (uint32_t i = 0; i < HEAPS && !handle; i++)
		handle = take_gap(zs, home ^ i, length, owner);
	if (handle || flags & TMEM_ALLOC_MOVE)
		return handle;
	for (uint32_t i = 0; i < HEAPS && !handle; i++)
		handle = take_draining(zs, home ^ i, length, owner);
	if (!handle)
		handle = open_run(zs, home, length, owner);
	return handle;
}

/* --- free */

/* Whether gaps are more than @pct of what is in use (heap lock held). */
static bool has_gaps(const struct heap *heap, uint32_t pct)
{
	return heap->free > GAPS_FEW + heap->used * pct / 100;
}

/* How many moves empty the sparsest run, when it is time for that. */
static uint32_t hint(const struct zsmalloc *zs, const struct heap *heap)
{
	uint32_t fill;

	if (!has_gaps(heap, GAPS_START_PCT))
		return 0;
	/* There are gaps, so there is a run that has them. */
	fill = (uint32_t)__builtin_ctz(heap->fills_listed);
	return run_at(zs, fill_head(heap, fill))->count;
}

static uint32_t zs_free(void *instance, uint64_t handle, uint32_t flags)
{
	struct zsmalloc *zs = instance;
	struct place at = handle_read(handle);
	struct heap *heap = heap_at(zs, at.heap);
	struct run *run;
	uint32_t id, n;
	uint32_t moves;
	bool is_empty;

	(void)flags;
	if (at.is_single) {
		single_free(zs, &at);
		return 0;
	}
	tm_lock_acquire(&heap->lock);
	id = entry_get(zs, at.first);
	run = run_at(zs, id);
	run_prefetch(run);
	n = extent_find(run, at.start);
	assert(n < run->count && run->extents[n].start == at.start);
	extent_remove(zs, heap, id, n);
	is_empty = !run->count;
	if (is_empty)
		run_leave(zs, heap, id);
	moves = hint(zs, heap);
	tm_lock_release(&heap->lock);
	if (is_empty)
		run_release(zs, id);
	return moves;
}

static void *zs_address(const void *instance, uint64_t handle)
{
	const struct zsmalloc *zs = instance;
	struct place at = handle_read(handle);

	return zs->base + at.first * TMEM_FRAME_SIZE + (size_t)at.start * GRAIN;
}

static void zs_set_owner(void *instance, uint64_t handle, uint32_t owner)
{
	struct zsmalloc *zs = instance;
	struct place at = handle_read(handle);
	struct heap *heap = heap_at(zs, at.heap);

	tm_lock_acquire(&heap->lock);
	assert(tag_at(zs, at.first) == tag_of(&at));
	if (at.is_single) {
		entry_set(zs, at.first, owner, tag_of(&at));
	} else {
		struct run *run = run_at(zs, entry_get(zs, at.first));
		uint32_t n = extent_find(run, at.start);

		assert(n < run->count && run->extents[n].start == at.start);
		run->extents[n].owner = owner;
	}
	tm_lock_release(&heap->lock);
}

/* --- victims */

/* The objects of a run, but the one at @but (heap lock held). */
static uint32_t list_objects(struct run *run, uint32_t heap_number,
			     uint32_t but, struct tmem_victim *out,
			     uint32_t max)
{
	uint32_t count = 0;

	for (uint32_t n = 0; n < run->count && count < max; n++) {
		uint32_t start = run->extents[n].start;

		if (start == but)
			continue;
		out[count++] = (struct tmem_victim){
			.handle = run_handle(run, heap_number, start),
			.owner = run->extents[n].owner,
		};
	}
	return count;
}

static uint32_t victims_near(struct zsmalloc *zs, uint64_t near,
			     struct tmem_victim *out, uint32_t max)
{
	struct place at = handle_read(near);
	struct heap *heap = heap_at(zs, at.heap);
	uint32_t count = 0;

	if (!heap || at.is_single)
		return 0;
	tm_lock_acquire(&heap->lock);
	if (tag_at(zs, at.first) == tag_of(&at)) {
		struct run *run = run_at(zs, entry_get(zs, at.first));

		if (run->frames == at.frames)
			count = list_objects(run, at.heap, at.start, out, max);
	}
	tm_lock_release(&heap->lock);
	return count;
}

/* Whether each object of a draining run finds a gap (heap lock held). */
static bool fits_elsewhere(const struct heap *heap, const struct run *run)
{
	for (uint32_t n = 0; n < run->count; n++)
		if (find_class(heap, run->extents[n].length - 1u) == CLASSES)
			return false;
	return run->used <= heap->free;
}

/* A sparse run to empty, now draining; 0: none (heap lock held). */
static uint32_t pick_run(struct zsmalloc *zs, struct heap *heap)
{
	uint32_t mask = heap->fills_listed;
	uint32_t looks = 0;

	for (; mask; mask &= mask - 1) {
		uint32_t id = fill_head(heap, (uint32_t)__builtin_ctz(mask));

		for (; id && looks < LOOK_MAX; looks++) {
			struct run *run = run_at(zs, id);
			uint32_t next = run->fill_next;

			if (run->tries < PATIENCE) {
				drain(zs, heap, id);
				if (fits_elsewhere(heap, run))
					return id;
				undrain(zs, heap, id);
				run->tries = PATIENCE;
			}
			id = next;
		}
	}
	return 0;
}

/*
 * The run that is being emptied, or one more. Objects that the store could
 * not move, time and again, make their run a normal one until one of them
 * goes.
 */
static uint32_t victims_of(struct zsmalloc *zs, uint32_t heap_number,
			   struct tmem_victim *out, uint32_t max)
{
	struct heap *heap = heap_at(zs, heap_number);
	uint32_t count = 0;
	uint32_t id;

	tm_lock_acquire(&heap->lock);
	id = fill_head(heap, FILL_DRAINING);
	if (id && run_at(zs, id)->tries >= PATIENCE) {
		undrain(zs, heap, id);
		id = 0;
	}
	if (!id && has_gaps(heap, GAPS_END_PCT))
		id = pick_run(zs, heap);
	if (id) {
		run_at(zs, id)->tries++;
		count = list_objects(run_at(zs, id), heap_number, UINT32_MAX,
				     out, max);
	}
	tm_lock_release(&heap->lock);
	return count;
}

static uint32_t zs_victims(void *instance, uint64_t near,
			   struct tmem_victim *out, uint32_t max)
{
	struct zsmalloc *zs = instance;
	uint32_t start;

	if (near)
		return victims_near(zs, near, out, max);
	start = atomic_load_explicit(&zs->cursor, memory_order_relaxed);
	for (uint32_t i = 0; max && i < KINDS * HEAPS; i++) {
		uint32_t n = (start + i) % (KINDS * HEAPS);
		uint32_t count;

		if (!heap_at(zs, n))
			continue;
		count = victims_of(zs, n, out, max);
		if (!count)
			continue;
		atomic_store_explicit(&zs->cursor, n, memory_order_relaxed);
		return count;
	}
	return 0;
}

/* --- adopt */

/* Whether alloc() could have made this handle for @size bytes. */
static bool is_ours(const struct zsmalloc *zs, uint64_t handle, uint32_t size)
{
	struct place at = handle_read(handle);

	if (handle >> TMEM_HANDLE_BITS || !(handle & HANDLE_MARK) ||
	    handle & HANDLE_ZERO)
		return false;
	if (!size || size > TMEM_FRAME_SIZE)
		return false;
	if (at.first + at.frames > zs->map.frame_count)
		return false;
	if (at.is_single != (length_of(size) == FRAME_GRAINS))
		return false;
	if (at.is_single)
		return at.frames == 1 && !at.start;
	return at.start + length_of(size) <= at.frames * FRAME_GRAINS;
}

static int adopt_single(struct zsmalloc *zs, const struct place *at,
			uint32_t owner)
{
	int err = zs->frames->claim(zs->frames->opaque, at->first, 1);

	if (err)
		return err;
	err = single_enter(zs, at, owner);
	if (err)
		zs->frames->put(zs->frames->opaque, at->first, 1);
	return err;
}

/* The run that begins at @at->first, claimed if it is not there yet. */
static int adopt_run(struct zsmalloc *zs, const struct place *at, uint32_t *id)
{
	struct heap *heap = heap_at(zs, at->heap);
	uint8_t tag = tag_at(zs, at->first);
	int err;

	if (tag) {
		if (tag != tag_of(at))
			return -EBADMSG;
		*id = entry_get(zs, at->first);
		return run_at(zs, *id)->frames == at->frames ? 0 : -EBADMSG;
	}
	err = zs->frames->claim(zs->frames->opaque, at->first, at->frames);
	if (err)
		return err;
	*id = run_make(zs, at->first, at->frames, EXTENTS_STEP);
	if (!*id) {
		zs->frames->put(zs->frames->opaque, at->first, at->frames);
		return -ENOMEM;
	}
	tm_lock_acquire(&heap->lock);
	run_enter(zs, at->heap, *id);
	tm_lock_release(&heap->lock);
	return 0;
}

/* The longest gap when an extent is put before extent @n (heap lock held). */
static uint32_t longest_with(const struct run *run, uint32_t n,
			     const struct extent *extent)
{
	uint32_t longest = 0;

	for (uint32_t i = 0; i <= run->count; i++) {
		uint32_t start = gap_start(run, i);
		uint32_t end = gap_end(run, i);
		uint32_t gap = end - start;

		if (i == n) {
			gap = extent->start - start;
			if (end - extent->start - extent->length > gap)
				gap = end - extent->start - extent->length;
		}
		if (gap > longest)
			longest = gap;
	}
	return longest;
}

static int adopt_extent(struct zsmalloc *zs, const struct place *at,
			uint32_t id, uint32_t length, uint32_t owner)
{
	struct heap *heap = heap_at(zs, at->heap);
	struct run *run = run_at(zs, id);
	struct extent extent = {
		.start = (uint16_t)at->start,
		.length = (uint16_t)length,
		.owner = owner,
	};
	int err = -EBADMSG;
	uint32_t n;

	tm_lock_acquire(&heap->lock);
	n = extent_find(run, at->start);
	if (run->count == EXTENTS_MAX || gap_start(run, n) > at->start ||
	    gap_end(run, n) < at->start + length)
		goto out_unlock;
	if (run->count == run->steps * EXTENTS_STEP) {
		err = -ENOMEM;
		id = run_grow(zs, heap, id, tag_of(at));
		if (!id)
			goto out_unlock;
		run = run_at(zs, id);
	}
	extent_add(zs, heap, id, n, &extent, longest_with(run, n, &extent));
	err = 0;
out_unlock:
	tm_lock_release(&heap->lock);
	return err;
}

static int zs_adopt(void *instance, uint64_t handle, uint32_t size,
		    uint32_t owner)
{
	struct zsmalloc *zs = instance;
	struct place at = handle_read(handle);
	uint32_t id;
	int err;

	if (!is_ours(zs, handle, size))
		return -EBADMSG;
	if (!heap_make(zs, at.heap))
		return -ENOMEM;
	if (at.is_single)
		return adopt_single(zs, &at, owner);
	err = adopt_run(zs, &at, &id);
	if (err)
		return err;
	return adopt_extent(zs, &at, id, length_of(size), owner);
}

/* --- the rest */

static void stats_add(struct heap *heap, struct tmem_allocator_stats *sum)
{
	tm_lock_acquire(&heap->lock);
	sum->frames += heap->frames;
	sum->runs += heap->runs;
	sum->objects += heap->objects;
	sum->object_bytes += heap->used * GRAIN;
	sum->slot_bytes += heap->used * GRAIN;
	sum->reclaimable_frames += heap->free / FRAME_GRAINS;
	sum->metadata_bytes += sizeof(*heap);
	tm_lock_release(&heap->lock);
}

static void zs_stats(void *instance, struct tmem_allocator_stats *stats)
{
	struct zsmalloc *zs = instance;
	struct tmem_allocator_stats sum = {
		.struct_size = stats->struct_size,
		.metadata_bytes = sizeof(*zs),
	};
	size_t size = stats->struct_size;

	for (uint32_t n = 0; n < KINDS * HEAPS; n++)
		if (heap_at(zs, n))
			stats_add(heap_at(zs, n), &sum);
	tm_lock_acquire(&zs->table_lock);
	sum.metadata_bytes +=
		tm_frame_map_bytes(&zs->map) + tm_records_bytes(&zs->records);
	tm_lock_release(&zs->table_lock);
	memcpy(stats, &sum, size < sizeof(sum) ? size : sizeof(sum));
}

static uint32_t zs_max_size(const void *instance)
{
	(void)instance;
	return TMEM_FRAME_SIZE;
}

static const struct tmem_option zs_options[] = {
	{
		.name = "run-frames",
		.type = TMEM_OPTION_INTEGER,
		.unit = "frames",
		.min = 1,
		.max = RUN_FRAMES_MAX,
		.initial = RUN_FRAMES_MAX,
		.help = "longest run of frames that objects share",
	},
	{ .name = NULL },
};

static int zs_create(const struct tmem_host *host,
		     const struct tmem_frames *frames, const int64_t *options,
		     void **instance)
{
	struct zsmalloc *zs = host->alloc(host->opaque, sizeof(*zs), 64);
	int err;

	if (!zs)
		return -ENOMEM;
	zs->host = host;
	zs->frames = frames;
	zs->base = frames->base;
	zs->frames_max =
		(uint32_t)(options ? options[0] : zs_options[0].initial);
	tm_lock_init(&zs->table_lock, TM_RANK_ALLOC);
	tm_records_init(&zs->records, host);
	err = tm_frame_map_init(&zs->map, host, frames->frame_count, LEAF_SHIFT,
				sizeof(struct leaf));
	if (err) {
		tm_lock_destroy(&zs->table_lock);
		host->free(host->opaque, zs, sizeof(*zs));
		return err;
	}
	*instance = zs;
	return 0;
}

/* Frames go back run by run: the map knows where each begins. */
static void put_all_frames(struct zsmalloc *zs)
{
	for (uint64_t f = 0; f < zs->map.frame_count; f++) {
		uint32_t frames = 1;
		uint8_t tag;

		if (!tm_frame_map_leaf(&zs->map, f)) {
			f |= LEAF_FRAMES - 1;
			continue;
		}
		tag = tag_at(zs, f);
		if (!tag)
			continue;
		if (tag < TAG_SINGLE)
			frames = run_at(zs, entry_get(zs, f))->frames;
		zs->frames->put(zs->frames->opaque, f, frames);
	}
}

static void zs_destroy(void *instance)
{
	struct zsmalloc *zs = instance;
	const struct tmem_host *host = zs->host;

	put_all_frames(zs);
	tm_records_destroy(&zs->records);
	tm_frame_map_destroy(&zs->map);
	for (uint32_t n = 0; n < KINDS * HEAPS; n++)
		heap_destroy(zs, n);
	tm_lock_destroy(&zs->table_lock);
	host->free(host->opaque, zs, sizeof(*zs));
}

const struct tmem_allocator tm_allocator_zsmalloc = {
	.abi_version = TMEM_PLUGIN_ABI_VERSION,
	.struct_size = sizeof(struct tmem_allocator),
	.name = "zsmalloc",
	.description = "best fit in short runs of frames: dense",
	.format = 1,
	.options = zs_options,
	.create = zs_create,
	.destroy = zs_destroy,
	.max_size = zs_max_size,
	.alloc = zs_alloc,
	.free = zs_free,
	.address = zs_address,
	.set_owner = zs_set_owner,
	.victims = zs_victims,
	.adopt = zs_adopt,
	.stats = zs_stats,
};
