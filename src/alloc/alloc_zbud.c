/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The allocator "zbud": at most two objects in a frame. Simple, predictable.
 *
 * The problem: dense packing makes the cost of a put, and what has to move
 * before a frame is free, depend on a history nobody can reconstruct. The
 * idea, zbud's: a frame has a first buddy, at its beginning, and a last one,
 * at its end, so that freeing or evicting two objects always frees a frame.
 *
 *	first: chunks from the beginning | free chunks | last: chunks to the end
 *
 * Sizes are counted in chunks of 64 bytes. A frame with one object is listed
 * by its free chunks; a new object goes to the fullest one that holds it.
 * Unlike the kernel's zbud it takes sizes up to a whole frame, which then has
 * one occupant, and a frame has no header: all bookkeeping is volatile, and
 * stands in a table beside.
 *
 * Bound: a frame never holds more than two objects, so density is at most
 * 2 * the mean size / 4096, and an object above half a frame is alone with
 * whatever fits beside it.
 *
 * Handle, from bit 0:
 *	last 1 | chunks 7 | heap 3 | ephemeral 1 | 0: 11 | frame 32 | 1
 *
 * Threads: as in alloc_zsmalloc.c: heaps chosen by the calling thread, each
 * with its lock, which guards its frames' entries in the table. Never two heap
 * locks at once; the table lock, below them, guards the making of leaves.
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

extern const struct tmem_allocator tm_allocator_zbud;

#define CHUNK 64u
#define CHUNKS (TMEM_FRAME_SIZE / CHUNK)
#define HEAPS 8u
#define KINDS 2u

/* Moving is worth while from so many lone objects on, and so many percent of
 * the frames. */
#define LONE_MIN 16u
#define LONE_PCT 10u
/* victims() names a lone object so often, while it does not go; then it is
 * left alone until its frame changes. */
#define PATIENCE 4u
#define TRIES_OVER UINT8_MAX
/* How many frames of a list are looked at for one that is not left alone. */
#define LOOK_MAX 1024u

enum bud {
	BUD_FIRST = 0,
	BUD_LAST = 1,
};

/* What is known of a frame; a zeroed one is nobody's. */
struct entry {
	uint32_t owners[2];
	uint32_t next; /* frame + 1; 0 ends a list */
	uint32_t prev;
	uint8_t chunks[2]; /* 0: this place is free */
	uint8_t tries; /* of victims(); see is_draining() */
	_Atomic uint8_t tag; /* 1 + heap; read without its lock */
};

#define LEAF_SHIFT 10u
#define LEAF_FRAMES (1u << LEAF_SHIFT)

struct heap {
	struct tm_lock lock;
	/* Bit f: lists[f] is not empty. Written under the lock, peeked at
	 * without it: a stale bit costs a vain look, or a missed place. */
	_Atomic uint64_t listed;
	_Atomic uint32_t draining; /* list, likewise */
	uint32_t lists[CHUNKS]; /* lone objects, by free chunks */
	uint64_t frames;
	uint64_t objects;
	uint64_t chunks;
	uint64_t lone; /* frames on the lists */
} __attribute__((aligned(64)));

struct zbud {
	/* Set at creation, then constant. */
	const struct tmem_host *host;
	const struct tmem_frames *frames;
	uint8_t *base;
	uint64_t frame_count; /* a list's 0 is nobody, so one less */
	/* Each set once, under the table lock. */
	_Atomic(struct heap *) heaps[KINDS * HEAPS];
	/* Where victims() goes on; a racy hint. */
	_Atomic uint32_t cursor;
	struct tm_lock table_lock;
	struct tm_frame_map map; /* guarded by table_lock */
};

/* --- handles */

struct place {
	uint64_t frame;
	uint32_t chunks;
	uint32_t heap; /* kind * HEAPS + number */
	enum bud bud;
};

#define HANDLE_MARK (UINT64_C(1) << 55)
#define HANDLE_ZERO (UINT64_C(0x7ff) << 12)

static uint64_t handle_make(const struct place *at)
{
	return (uint64_t)at->bud | (uint64_t)at->chunks << 1 |
	       (uint64_t)at->heap << 8 | at->frame << 23 | HANDLE_MARK;
}

static struct place handle_read(uint64_t handle)
{
	struct place at = {
		.bud = handle & 1 ? BUD_LAST : BUD_FIRST,
		.chunks = (uint32_t)(handle >> 1) & 0x7f,
		.heap = (uint32_t)(handle >> 8) & 0xf,
		.frame = handle >> 23 & 0xffffffff,
	};

	return at;
}

static uint32_t chunks_of(uint32_t size)
{
	return (size + CHUNK - 1) / CHUNK;
}

/* --- the table */

/* The leaf must be there. */
static struct entry *entry_at(const struct zbud *zbud, uint64_t frame)
{
	struct entry *leaf = tm_frame_map_leaf(&zbud->map, frame);

	return &leaf[frame % LEAF_FRAMES];
}

static uint8_t tag_of(uint32_t heap)
{
	return (uint8_t)(1 + heap);
}

/* Whose a frame is. A match is stable for who holds that heap's lock. */
static uint8_t tag_at(const struct zbud *zbud, uint64_t frame)
{
	if (frame >= zbud->map.frame_count ||
	    !tm_frame_map_leaf(&zbud->map, frame))
		return 0;
	return atomic_load_explicit(&entry_at(zbud, frame)->tag,
				    memory_order_relaxed);
}

static int entry_make(struct zbud *zbud, uint64_t frame)
{
	void *leaf;

	tm_lock_acquire(&zbud->table_lock);
	leaf = tm_frame_map_make(&zbud->map, frame);
	tm_lock_release(&zbud->table_lock);
	return leaf ? 0 : -ENOMEM;
}

/* --- heaps */

static struct heap *heap_at(const struct zbud *zbud, uint32_t n)
{
	return atomic_load_explicit(&zbud->heaps[n], memory_order_acquire);
}

static struct heap *heap_make(struct zbud *zbud, uint32_t n)
{
	struct heap *heap = heap_at(zbud, n);

	if (heap)
		return heap;
	tm_lock_acquire(&zbud->table_lock);
	heap = heap_at(zbud, n);
	if (!heap) {
		heap = zbud->host->alloc(zbud->host->opaque, sizeof(*heap), 64);
		if (heap)
			tm_lock_init(&heap->lock, TM_RANK_ALLOC_CLASS);
		atomic_store_explicit(&zbud->heaps[n], heap,
				      memory_order_release);
	}
	tm_lock_release(&zbud->table_lock);
	return heap;
}

/* The heap that the calling thread uses: threads differ in their addresses. */
static uint32_t home_heap(uint32_t flags)
{
	uint64_t self = (uint64_t)(uintptr_t)pthread_self();
	uint32_t kind = flags & TMEM_ALLOC_EPHEMERAL ? 1 : 0;

	self = (self >> 6) * UINT64_C(0x9e3779b97f4a7c15);
	return kind * HEAPS + (uint32_t)(self >> 61);
}

/* --- lists of lone objects (heap lock held) */

static uint32_t free_chunks(const struct entry *entry)
{
	return CHUNKS - entry->chunks[BUD_FIRST] - entry->chunks[BUD_LAST];
}

static bool is_lone(const struct entry *entry)
{
	return !entry->chunks[BUD_FIRST] != !entry->chunks[BUD_LAST] &&
	       free_chunks(entry);
}

static bool is_draining(const struct entry *entry)
{
	return entry->tries && entry->tries != TRIES_OVER;
}

static uint32_t list_head(const struct heap *heap, const struct entry *entry)
{
	if (is_draining(entry))
		return atomic_load_explicit(&heap->draining,
					    memory_order_relaxed);
	return heap->lists[free_chunks(entry)];
}

static void list_set_head(struct heap *heap, const struct entry *entry,
			  uint32_t head)
{
	uint64_t bit = UINT64_C(1) << free_chunks(entry);
	uint64_t listed =
		atomic_load_explicit(&heap->listed, memory_order_relaxed);

	if (is_draining(entry)) {
		atomic_store_explicit(&heap->draining, head,
				      memory_order_relaxed);
		return;
	}
	heap->lists[free_chunks(entry)] = head;
	atomic_store_explicit(&heap->listed,
			      head ? listed | bit : listed & ~bit,
			      memory_order_relaxed);
}

static void list_add(struct zbud *zbud, struct heap *heap, uint64_t frame)
{
	struct entry *entry = entry_at(zbud, frame);
	uint32_t head = list_head(heap, entry);

	entry->prev = 0;
	entry->next = head;
	if (head)
		entry_at(zbud, head - 1)->prev = (uint32_t)frame + 1;
	list_set_head(heap, entry, (uint32_t)frame + 1);
	if (!is_draining(entry))
		heap->lone++;
}

static void list_remove(struct zbud *zbud, struct heap *heap,
			const struct entry *entry)
{
	if (entry->next)
		entry_at(zbud, entry->next - 1)->prev = entry->prev;
	if (entry->prev)
		entry_at(zbud, entry->prev - 1)->next = entry->next;
	else
		list_set_head(heap, entry, entry->next);
	if (!is_draining(entry))
		heap->lone--;
}

static void set_tries(struct zbud *zbud, struct heap *heap, uint64_t frame,
		      uint32_t tries)
{
	struct entry *entry = entry_at(zbud, frame);

	list_remove(zbud, heap, entry);
	entry->tries = (uint8_t)tries;
	list_add(zbud, heap, frame);
}

/* The frame with the least room for @chunks more, + 1; 0: there is none. */
static uint32_t find_lone(const struct heap *heap, uint32_t chunks)
{
	uint64_t listed =
		atomic_load_explicit(&heap->listed, memory_order_relaxed);

	if (chunks >= CHUNKS)
		return 0;
	listed &= ~UINT64_C(0) << chunks;
	return listed ? heap->lists[__builtin_ctzll(listed)] : 0;
}

/* --- objects (heap lock held) */

static void bud_put(struct zbud *zbud, const struct place *at, uint32_t owner)
{
	struct heap *heap = heap_at(zbud, at->heap);
	struct entry *entry = entry_at(zbud, at->frame);

	if (is_lone(entry))
		list_remove(zbud, heap, entry);
	entry->tries = 0;
	entry->chunks[at->bud] = (uint8_t)at->chunks;
	entry->owners[at->bud] = owner;
	heap->objects++;
	heap->chunks += at->chunks;
	if (is_lone(entry))
		list_add(zbud, heap, at->frame);
}

/* Whether the frame is empty now. */
static bool bud_remove(struct zbud *zbud, const struct place *at)
{
	struct heap *heap = heap_at(zbud, at->heap);
	struct entry *entry = entry_at(zbud, at->frame);

	if (is_lone(entry))
		list_remove(zbud, heap, entry);
	entry->tries = 0;
	entry->chunks[at->bud] = 0;
	heap->objects--;
	heap->chunks -= at->chunks;
	if (is_lone(entry))
		list_add(zbud, heap, at->frame);
	return free_chunks(entry) == CHUNKS;
}

static void frame_enter(struct zbud *zbud, const struct place *at)
{
	struct entry *entry = entry_at(zbud, at->frame);

	memset(entry->chunks, 0, sizeof(entry->chunks));
	entry->tries = 0;
	atomic_store_explicit(&entry->tag, tag_of(at->heap),
			      memory_order_relaxed);
	heap_at(zbud, at->heap)->frames++;
}

static void frame_leave(struct zbud *zbud, const struct place *at)
{
	atomic_store_explicit(&entry_at(zbud, at->frame)->tag, 0,
			      memory_order_relaxed);
	heap_at(zbud, at->heap)->frames--;
}

/* --- alloc */

/* Beside the lone object in frame @id - 1. */
static uint64_t pair_up(struct zbud *zbud, struct place at, uint32_t id,
			uint32_t owner)
{
	struct entry *entry = entry_at(zbud, id - 1);

	at.frame = id - 1;
	at.bud = entry->chunks[BUD_FIRST] ? BUD_LAST : BUD_FIRST;
	bud_put(zbud, &at, owner);
	return handle_make(&at);
}

static uint64_t take_beside(struct zbud *zbud, struct place at, uint32_t owner)
{
	struct heap *heap = heap_at(zbud, at.heap);
	uint64_t handle = 0;
	uint32_t id;

	if (!heap || at.chunks >= CHUNKS ||
	    !(atomic_load_explicit(&heap->listed, memory_order_relaxed) >>
	      at.chunks))
		return 0;
	tm_lock_acquire(&heap->lock);
	id = find_lone(heap, at.chunks);
	if (id)
		handle = pair_up(zbud, at, id, owner);
	tm_lock_release(&heap->lock);
	return handle;
}

/* Beside an object that was to be moved away. */
static uint64_t take_draining(struct zbud *zbud, struct place at,
			      uint32_t owner)
{
	struct heap *heap = heap_at(zbud, at.heap);
	uint64_t handle = 0;
	uint32_t id;

	if (!heap ||
	    !atomic_load_explicit(&heap->draining, memory_order_relaxed))
		return 0;
	tm_lock_acquire(&heap->lock);
	id = atomic_load_explicit(&heap->draining, memory_order_relaxed);
	if (id && free_chunks(entry_at(zbud, id - 1)) >= at.chunks)
		handle = pair_up(zbud, at, id, owner);
	tm_lock_release(&heap->lock);
	return handle;
}

static uint64_t open_frame(struct zbud *zbud, struct place at, uint32_t owner)
{
	struct heap *heap = heap_make(zbud, at.heap);
	int64_t frame;

	if (!heap)
		return 0;
	frame = zbud->frames->get(zbud->frames->opaque, 1, 0);
	if (frame < 0)
		return 0;
	at.frame = (uint64_t)frame;
	at.bud = BUD_FIRST;
	if (at.frame >= zbud->frame_count || entry_make(zbud, at.frame)) {
		zbud->frames->put(zbud->frames->opaque, at.frame, 1);
		return 0;
	}
	tm_lock_acquire(&heap->lock);
	frame_enter(zbud, &at);
	bud_put(zbud, &at, owner);
	tm_lock_release(&heap->lock);
	return handle_make(&at);
}

static uint64_t zbud_alloc(void *instance, uint32_t size, uint32_t owner,
			   uint32_t flags)
{
	struct zbud *zbud = instance;
	uint32_t home = home_heap(flags);
	struct place at = { .chunks = chunks_of(size), .heap = home };
	uint64_t handle = 0;

	if (!size || size > TMEM_FRAME_SIZE)
		return 0;
	/* The kind is the heap number's highest bit: i does not change it. */
	for (uint32_t i = 0; i < HEAPS && !handle; i++) {
		at.heap = home ^ i;
		handle = take_beside(zbud, at, owner);
	}
	if (handle || flags & TMEM_ALLOC_MOVE)
		return handle;
	for (uint32_t i = 0; i < HEAPS && !handle; i++) {
		at.heap = home ^ i;
		handle = take_draining(zbud, at, owner);
	}
	at.heap = home;
	return handle ? handle : open_frame(zbud, at, owner);
}

/* --- free */

/* Whether the smallest lone object finds a place beside another one. */
static bool is_pairable(const struct zbud *zbud, const struct heap *heap)
{
	uint64_t listed =
		atomic_load_explicit(&heap->listed, memory_order_relaxed);
	uint32_t most, id;

	if (!listed)
		return false;
	most = 63 - (uint32_t)__builtin_clzll(listed);
	id = heap->lists[most];
	if (entry_at(zbud, id - 1)->next)
		return most >= CHUNKS - most;
	listed &= ~(UINT64_C(1) << most);
	return listed &&
	       63 - (uint32_t)__builtin_clzll(listed) >= CHUNKS - most;
}

static uint32_t zbud_free(void *instance, uint64_t handle, uint32_t flags)
{
	struct zbud *zbud = instance;
	struct place at = handle_read(handle);
	struct heap *heap = heap_at(zbud, at.heap);
	uint32_t moves = 0;
	bool is_empty;

	(void)flags;
	tm_lock_acquire(&heap->lock);
	assert(tag_at(zbud, at.frame) == tag_of(at.heap));
	assert(entry_at(zbud, at.frame)->chunks[at.bud] == at.chunks);
	is_empty = bud_remove(zbud, &at);
	if (is_empty)
		frame_leave(zbud, &at);
	else if (heap->lone > LONE_MIN + heap->frames * LONE_PCT / 100 &&
		 is_pairable(zbud, heap))
		moves = 1;
	tm_lock_release(&heap->lock);
	if (is_empty)
		zbud->frames->put(zbud->frames->opaque, at.frame, 1);
	return moves;
}

static void *zbud_address(const void *instance, uint64_t handle)
{
	const struct zbud *zbud = instance;
	struct place at = handle_read(handle);
	uint8_t *frame = zbud->base + at.frame * TMEM_FRAME_SIZE;

	return at.bud == BUD_FIRST ? frame
				   : frame + (CHUNKS - at.chunks) * CHUNK;
}

static void zbud_set_owner(void *instance, uint64_t handle, uint32_t owner)
{
	struct zbud *zbud = instance;
	struct place at = handle_read(handle);
	struct heap *heap = heap_at(zbud, at.heap);

	tm_lock_acquire(&heap->lock);
	assert(tag_at(zbud, at.frame) == tag_of(at.heap));
	assert(entry_at(zbud, at.frame)->chunks[at.bud] == at.chunks);
	entry_at(zbud, at.frame)->owners[at.bud] = owner;
	tm_lock_release(&heap->lock);
}

/* --- victims */

static struct tmem_victim victim(struct zbud *zbud, uint32_t heap,
				 uint64_t frame, enum bud bud)
{
	struct entry *entry = entry_at(zbud, frame);
	struct place at = {
		.frame = frame,
		.chunks = entry->chunks[bud],
		.heap = heap,
		.bud = bud,
	};

	return (struct tmem_victim){
		.handle = handle_make(&at),
		.owner = entry->owners[bud],
	};
}

static uint32_t victims_near(struct zbud *zbud, uint64_t near,
			     struct tmem_victim *out, uint32_t max)
{
	struct place at = handle_read(near);
	struct heap *heap = heap_at(zbud, at.heap);
	enum bud other = at.bud == BUD_FIRST ? BUD_LAST : BUD_FIRST;
	uint32_t count = 0;

	if (!heap || !max)
		return 0;
	tm_lock_acquire(&heap->lock);
	if (tag_at(zbud, at.frame) == tag_of(at.heap) &&
	    entry_at(zbud, at.frame)->chunks[other])
		out[count++] = victim(zbud, at.heap, at.frame, other);
	tm_lock_release(&heap->lock);
	return count;
}

static struct tmem_victim lone_victim(struct zbud *zbud, uint32_t heap,
				      uint32_t id)
{
	struct entry *entry = entry_at(zbud, id - 1);

	return victim(zbud, heap, id - 1,
		      entry->chunks[BUD_FIRST] ? BUD_FIRST : BUD_LAST);
}

/* Those that are to go already; who stays on and on is left alone. */
static uint32_t list_draining(struct zbud *zbud, uint32_t heap_number,
			      struct tmem_victim *out, uint32_t max)
{
	struct heap *heap = heap_at(zbud, heap_number);
	uint32_t id =
		atomic_load_explicit(&heap->draining, memory_order_relaxed);
	uint32_t count = 0;

	while (id && count < max) {
		struct entry *entry = entry_at(zbud, id - 1);
		uint32_t next = entry->next;

		if (entry->tries == PATIENCE) {
			set_tries(zbud, heap, id - 1, TRIES_OVER);
		} else {
			entry->tries++;
			out[count++] = lone_victim(zbud, heap_number, id);
		}
		id = next;
	}
	return count;
}

/* The smallest lone object that is not left alone, as far as can be seen
 * quickly, if it finds a place beside another one; 0: none. */
static uint32_t pick_lone(const struct zbud *zbud, const struct heap *heap)
{
	uint64_t listed =
		atomic_load_explicit(&heap->listed, memory_order_relaxed);
	uint32_t looks = 0;

	while (listed && is_pairable(zbud, heap)) {
		uint32_t most = 63 - (uint32_t)__builtin_clzll(listed);
		uint32_t id = heap->lists[most];

		/* It must fit beside one of the others. */
		if (!find_lone(heap, CHUNKS - most))
			return 0;
		for (; id && looks < LOOK_MAX; looks++) {
			if (!entry_at(zbud, id - 1)->tries)
				return id;
			id = entry_at(zbud, id - 1)->next;
		}
		listed &= ~(UINT64_C(1) << most);
	}
	return 0;
}

/* Small lone objects, as long as each leaves another one to go to. */
static uint32_t victims_of(struct zbud *zbud, uint32_t heap_number,
			   struct tmem_victim *out, uint32_t max)
{
	struct heap *heap = heap_at(zbud, heap_number);
	uint64_t places;
	uint32_t count;

	tm_lock_acquire(&heap->lock);
	count = list_draining(zbud, heap_number, out, max);
	for (places = heap->lone / 2; places && count < max; places--) {
		uint32_t id = pick_lone(zbud, heap);

		if (!id)
			break;
		set_tries(zbud, heap, id - 1, 1);
		out[count++] = lone_victim(zbud, heap_number, id);
	}
	tm_lock_release(&heap->lock);
	return count;
}

static uint32_t zbud_victims(void *instance, uint64_t near,
			     struct tmem_victim *out, uint32_t max)
{
	struct zbud *zbud = instance;
	uint32_t start;

	if (near)
		return victims_near(zbud, near, out, max);
	start = atomic_load_explicit(&zbud->cursor, memory_order_relaxed);
	for (uint32_t i = 0; max && i < KINDS * HEAPS; i++) {
		uint32_t n = (start + i) % (KINDS * HEAPS);
		uint32_t count;

		if (!heap_at(zbud, n))
			continue;
		count = victims_of(zbud, n, out, max);
		if (!count)
			continue;
		atomic_store_explicit(&zbud->cursor, n, memory_order_relaxed);
		return count;
	}
	return 0;
}

/* --- adopt */

/* Whether alloc() could have made this handle for @size bytes. */
static bool is_ours(const struct zbud *zbud, uint64_t handle, uint32_t size)
{
	struct place at = handle_read(handle);

	return !(handle >> TMEM_HANDLE_BITS) && handle & HANDLE_MARK &&
	       !(handle & HANDLE_ZERO) && size && size <= TMEM_FRAME_SIZE &&
	       at.chunks == chunks_of(size) && at.frame < zbud->frame_count;
}

static int zbud_adopt(void *instance, uint64_t handle, uint32_t size,
		      uint32_t owner)
{
	struct zbud *zbud = instance;
	struct place at = handle_read(handle);
	struct heap *heap;
	uint8_t tag;
	int err;

	if (!is_ours(zbud, handle, size))
		return -EBADMSG;
	heap = heap_make(zbud, at.heap);
	if (!heap || entry_make(zbud, at.frame))
		return -ENOMEM;
	tag = tag_at(zbud, at.frame);
	if (tag && tag != tag_of(at.heap))
		return -EBADMSG;
	if (!tag) {
		err = zbud->frames->claim(zbud->frames->opaque, at.frame, 1);
		if (err)
			return err;
	}
	tm_lock_acquire(&heap->lock);
	if (!tag)
		frame_enter(zbud, &at);
	err = -EBADMSG;
	if (!entry_at(zbud, at.frame)->chunks[at.bud] &&
	    free_chunks(entry_at(zbud, at.frame)) >= at.chunks) {
		bud_put(zbud, &at, owner);
		err = 0;
	}
	tm_lock_release(&heap->lock);
	return err;
}

/* --- the rest */

static void stats_add(struct heap *heap, struct tmem_allocator_stats *sum)
{
	tm_lock_acquire(&heap->lock);
	sum->frames += heap->frames;
	sum->runs += heap->frames;
	sum->objects += heap->objects;
	sum->object_bytes += heap->chunks * CHUNK;
	sum->slot_bytes += heap->chunks * CHUNK;
	sum->reclaimable_frames += heap->lone / 2;
	sum->metadata_bytes += sizeof(*heap);
	tm_lock_release(&heap->lock);
}

static void zbud_stats(void *instance, struct tmem_allocator_stats *stats)
{
	struct zbud *zbud = instance;
	struct tmem_allocator_stats sum = {
		.struct_size = stats->struct_size,
		.metadata_bytes = sizeof(*zbud),
	};
	size_t size = stats->struct_size;

	for (uint32_t n = 0; n < KINDS * HEAPS; n++)
		if (heap_at(zbud, n))
			stats_add(heap_at(zbud, n), &sum);
	tm_lock_acquire(&zbud->table_lock);
	sum.metadata_bytes += tm_frame_map_bytes(&zbud->map);
	tm_lock_release(&zbud->table_lock);
	memcpy(stats, &sum, size < sizeof(sum) ? size : sizeof(sum));
}

static uint32_t zbud_max_size(const void *instance)
{
	(void)instance;
	return TMEM_FRAME_SIZE;
}

static int zbud_create(const struct tmem_host *host,
		       const struct tmem_frames *frames, const int64_t *options,
		       void **instance)
{
	struct zbud *zbud = host->alloc(host->opaque, sizeof(*zbud), 64);
	int err;

	(void)options;
	if (!zbud)
		return -ENOMEM;
	zbud->host = host;
	zbud->frames = frames;
	zbud->base = frames->base;
	zbud->frame_count = frames->frame_count < UINT32_MAX
				    ? frames->frame_count
				    : UINT32_MAX;
	tm_lock_init(&zbud->table_lock, TM_RANK_ALLOC);
	err = tm_frame_map_init(&zbud->map, host, frames->frame_count,
				LEAF_SHIFT, LEAF_FRAMES * sizeof(struct entry));
	if (err) {
		tm_lock_destroy(&zbud->table_lock);
		host->free(host->opaque, zbud, sizeof(*zbud));
		return err;
	}
	*instance = zbud;
	return 0;
}

static void put_all_frames(struct zbud *zbud)
{
	for (uint64_t f = 0; f < zbud->map.frame_count; f++) {
		if (!tm_frame_map_leaf(&zbud->map, f))
			f |= LEAF_FRAMES - 1;
		else if (tag_at(zbud, f))
			zbud->frames->put(zbud->frames->opaque, f, 1);
	}
}

static void zbud_destroy(void *instance)
{
	struct zbud *zbud = instance;
	const struct tmem_host *host = zbud->host;

	put_all_frames(zbud);
	tm_frame_map_destroy(&zbud->map);
	for (uint32_t n = 0; n < KINDS * HEAPS; n++) {
		struct heap *heap = heap_at(zbud, n);

		if (!heap)
			continue;
		tm_lock_destroy(&heap->lock);
		host->free(host->opaque, heap, sizeof(*heap));
	}
	tm_lock_destroy(&zbud->table_lock);
	host->free(host->opaque, zbud, sizeof(*zbud));
}

const struct tmem_allocator tm_allocator_zbud = {
	.abi_version = TMEM_PLUGIN_ABI_VERSION,
	.struct_size = sizeof(struct tmem_allocator),
	.name = "zbud",
	.description = "at most two objects in a frame: simple, predictable",
	.format = 1,
	.create = zbud_create,
	.destroy = zbud_destroy,
	.max_size = zbud_max_size,
	.alloc = zbud_alloc,
	.free = zbud_free,
	.address = zbud_address,
	.set_owner = zbud_set_owner,
	.victims = zbud_victims,
	.adopt = zbud_adopt,
	.stats = zbud_stats,
};
