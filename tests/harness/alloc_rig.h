/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An allocator between two witnesses, for tests.
 *
 * Below it is an arena of real memory that knows which frames are out, and
 * objects to a frame being given back twice, or given back without having
 * been taken. Above it is a list of the objects that a test believes to be
 * alive, each filled with bytes that follow from its number, so that two
 * objects in one place show as a wrong byte. rig_check() compares all three.
 *
 * How many frames there are, and how long a run may be had, is set by the
 * test at any time.
 *
 * Threads: the frames may be used from several; the list is one thread's.
 */
#ifndef TM_ALLOC_RIG_H
#define TM_ALLOC_RIG_H

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <tmem/allocator.h>

#include "test_host.h"

#ifndef RIG_FRAMES
#define RIG_FRAMES 8192u
#endif

#ifdef RIG_STANDALONE
/* Without libcheck: for fuzz targets. */
#include <stdio.h>
#define rig_fail(...)                                                          \
	do {                                                                   \
		fprintf(stderr, __VA_ARGS__);                                  \
		abort();                                                       \
	} while (0)
#else
#include "harness.h"
#define rig_fail(...) ck_abort_msg(__VA_ARGS__)
#endif

/* What a fuzzer need not explore. */
#if defined(RIG_STANDALONE) && defined(__clang__)
#define RIG_WITNESS __attribute__((no_sanitize("coverage"))) static inline
#else
#define RIG_WITNESS static inline
#endif

/* libcheck's own asserts write to a file each, also when they hold. */
#define rig_assert_msg(expr, ...)                                              \
	do {                                                                   \
		if (!(expr))                                                   \
			rig_fail(__VA_ARGS__);                                 \
	} while (0)
#define rig_assert(expr) rig_assert_msg(expr, "%s\n", #expr)

struct rig_object {
	uint64_t handle; /* 0: not alive */
	uint32_t size;
	uint32_t owner;
	uint32_t seed; /* of its bytes */
	bool is_ephemeral;
};

struct rig {
	const struct tmem_allocator *table;
	void *instance;
	struct tm_test_host test;
	struct tmem_frames frames;
	pthread_mutex_t lock;
	uint8_t *taken; /* one byte for each frame */
	uint32_t held;
	uint32_t limit; /* frames that may be held */
	uint32_t run_max; /* longer runs are refused */
	uint32_t cursor;
	uint32_t gets;
	struct rig_object *objects;
	uint32_t count; /* of the list, alive or not */
	uint32_t alive;
	uint64_t seed;
};

RIG_WITNESS int64_t rig_get(void *opaque, uint32_t count, uint32_t flags)
{
	struct rig *rig = opaque;
	int64_t first = -ENOMEM;
	uint32_t length = 0;

	rig_assert(flags == 0);
	rig_assert(count >= 1);
	rig_assert(count <= TMEM_RUN_FRAMES_MAX);
	pthread_mutex_lock(&rig->lock);
	rig->gets++;
	for (uint32_t i = 0; i < RIG_FRAMES && first < 0; i++) {
		uint32_t f = (rig->cursor + i) % RIG_FRAMES;

		if (count > rig->run_max || rig->held + count > rig->limit)
			break;
		length = rig->taken[f] || (f == 0 && i) ? !rig->taken[f]
							: length + 1;
		if (length < count)
			continue;
		first = f + 1 - count;
		memset(rig->taken + first, 1, count);
		rig->held += count;
		rig->cursor = (f + 1) % RIG_FRAMES;
	}
	pthread_mutex_unlock(&rig->lock);
	/* Contents are undefined. */
	if (first >= 0)
		memset(rig->frames.base + first * TMEM_FRAME_SIZE, 0x5a,
		       (size_t)count * TMEM_FRAME_SIZE);
	return first;
}

RIG_WITNESS void rig_put(void *opaque, uint64_t first, uint32_t count)
{
	struct rig *rig = opaque;

	pthread_mutex_lock(&rig->lock);
	rig_assert(first + count <= RIG_FRAMES);
	for (uint64_t f = first; f < first + count; f++) {
		rig_assert_msg(rig->taken[f], "frame %u given back twice",
			       (unsigned)f);
		rig->taken[f] = 0;
	}
	rig->held -= count;
	pthread_mutex_unlock(&rig->lock);
}

RIG_WITNESS int rig_claim(void *opaque, uint64_t first, uint32_t count)
{
	struct rig *rig = opaque;
	int err = 0;

	if (!count || first >= RIG_FRAMES || count > RIG_FRAMES - first)
		return -EBADMSG;
	pthread_mutex_lock(&rig->lock);
	for (uint64_t f = first; f < first + count; f++)
		if (rig->taken[f])
			err = -EBADMSG;
	if (!err) {
		memset(rig->taken + first, 1, count);
		rig->held += count;
	}
	pthread_mutex_unlock(&rig->lock);
	return err;
}

static inline int rig_create(struct rig *rig)
{
	return rig->table->create(&rig->test.host, &rig->frames, NULL,
				  &rig->instance);
}

/* Everything but the instance. */
static inline void rig_init(struct rig *rig, const struct tmem_allocator *table,
			    uint32_t objects, uint64_t seed)
{
	memset(rig, 0, sizeof(*rig));
	tm_test_host_init(&rig->test);
	pthread_mutex_init(&rig->lock, NULL);
	rig->table = table;
	rig->limit = RIG_FRAMES;
	rig->run_max = TMEM_RUN_FRAMES_MAX;
	rig->seed = seed;
	rig->taken = calloc(RIG_FRAMES, 1);
	rig->count = objects;
	rig->objects = calloc(objects ? objects : 1, sizeof(*rig->objects));
	rig_assert(rig->taken && rig->objects);
	rig->frames = (struct tmem_frames){
		.struct_size = sizeof(rig->frames),
		.opaque = rig,
		.base = mmap(NULL, (size_t)RIG_FRAMES * TMEM_FRAME_SIZE,
			     PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
			     0),
		.frame_count = RIG_FRAMES,
		.get = rig_get,
		.put = rig_put,
		.claim = rig_claim,
	};
	rig_assert(rig->frames.base != MAP_FAILED);
}

static inline void rig_open(struct rig *rig, const struct tmem_allocator *table,
			    uint32_t objects, uint64_t seed)
{
	rig_init(rig, table, objects, seed);
	rig_assert(rig_create(rig) == 0);
}

/* Whatever is alive: destroy() gives it all back. */
static inline void rig_destroy(struct rig *rig)
{
	rig->table->destroy(rig->instance);
	rig->instance = NULL;
	rig_assert(rig->held == 0);
	rig_assert(atomic_load(&rig->test.used_bytes) == 0);
}

static inline void rig_fini(struct rig *rig)
{
	munmap(rig->frames.base, (size_t)RIG_FRAMES * TMEM_FRAME_SIZE);
	free(rig->taken);
	free(rig->objects);
	pthread_mutex_destroy(&rig->lock);
}

static inline void rig_close(struct rig *rig)
{
	rig_destroy(rig);
	rig_fini(rig);
}

/* splitmix64, as the harness's. */
static inline uint64_t rig_next(struct rig *rig)
{
	uint64_t z = rig->seed += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

static inline uint64_t rig_random(struct rig *rig, uint64_t below)
{
	return rig_next(rig) % below;
}

static inline uint8_t *rig_address(struct rig *rig, uint64_t handle)
{
	return rig->table->address(rig->instance, handle);
}

static inline uint32_t rig_frame(struct rig *rig, uint64_t handle)
{
	return (uint32_t)((size_t)(rig_address(rig, handle) -
				   rig->frames.base) /
			  TMEM_FRAME_SIZE);
}

/* An object's bytes: eight at a time, the last ones cut off. */
static inline uint64_t rig_word(uint32_t seed, uint32_t at)
{
	return (seed + at + UINT64_C(1)) * UINT64_C(0x9e3779b97f4a7c15);
}

RIG_WITNESS void rig_fill_bytes(uint8_t *at, uint32_t size, uint32_t seed)
{
	for (uint32_t i = 0; i < size; i += 8) {
		uint64_t word = rig_word(seed, i);

		memcpy(at + i, &word, size - i < 8 ? size - i : 8);
	}
}

RIG_WITNESS bool rig_bytes_are(const uint8_t *at, uint32_t size, uint32_t seed)
{
	for (uint32_t i = 0; i < size; i += 8) {
		uint64_t word = rig_word(seed, i);

		if (memcmp(at + i, &word, size - i < 8 ? size - i : 8) != 0)
			return false;
	}
	return true;
}

RIG_WITNESS void rig_verify(struct rig *rig, uint32_t n)
{
	const struct rig_object *o = &rig->objects[n];

	rig_assert_msg(
		rig_bytes_are(rig_address(rig, o->handle), o->size, o->seed),
		"object %u of %u bytes, handle 0x%llx, was overwritten", n,
		o->size, (unsigned long long)o->handle);
}

/* Object @n of the list, with @flags; false: there was no room. */
static inline bool rig_alloc(struct rig *rig, uint32_t n, uint32_t size,
			     uint32_t flags)
{
	struct rig_object *o = &rig->objects[n];
	uint64_t handle = rig->table->alloc(rig->instance, size, n, flags);
	uint8_t *at;

	rig_assert(o->handle == 0);
	if (!handle)
		return false;
	rig_assert(handle >> TMEM_HANDLE_BITS == 0);
	at = rig_address(rig, handle);
	rig_assert((uintptr_t)at % 8 == 0);
	*o = (struct rig_object){
		.handle = handle,
		.size = size,
		.owner = n,
		.seed = (uint32_t)rig_next(rig),
		.is_ephemeral = flags & TMEM_ALLOC_EPHEMERAL,
	};
	rig_fill_bytes(at, size, o->seed);
	rig->alive++;
	return true;
}

static inline uint32_t rig_free(struct rig *rig, uint32_t n)
{
	uint64_t handle = rig->objects[n].handle;

	rig_verify(rig, n);
	rig->objects[n].handle = 0;
	rig->alive--;
	return rig->table->free(rig->instance, handle, 0);
}

static inline void rig_free_all(struct rig *rig)
{
	for (uint32_t n = 0; n < rig->count; n++)
		if (rig->objects[n].handle)
			rig_free(rig, n);
}

/* What a store does with victims; answers how many were moved. */
static inline uint32_t rig_move(struct rig *rig, uint32_t max)
{
	struct tmem_victim victims[64];
	uint32_t count, moved = 0;

	rig_assert(max <= 64);
	count = rig->table->victims(rig->instance, 0, victims, max);
	rig_assert(count <= max);
	for (uint32_t i = 0; i < count; i++) {
		struct rig_object *o = &rig->objects[victims[i].owner];
		uint64_t to;

		rig_assert(victims[i].owner < rig->count);
		rig_assert(victims[i].handle == o->handle);
		to = rig->table->alloc(
			rig->instance, o->size, victims[i].owner,
			TMEM_ALLOC_MOVE |
				(o->is_ephemeral ? TMEM_ALLOC_EPHEMERAL : 0));
		if (!to)
			continue;
		memcpy(rig_address(rig, to), rig_address(rig, o->handle),
		       o->size);
		rig->table->free(rig->instance, o->handle, 0);
		o->handle = to;
		moved++;
	}
	return moved;
}

static inline struct tmem_allocator_stats rig_stats(struct rig *rig)
{
	struct tmem_allocator_stats stats = { .struct_size = sizeof(stats) };

	rig->table->stats(rig->instance, &stats);
	return stats;
}

/*
 * Everything that must hold at a quiet moment: bytes are what was written,
 * objects lie in frames that are out, no grain of 8 bytes belongs to two of
 * them, and the sums hold.
 */
RIG_WITNESS void rig_check(struct rig *rig)
{
	struct tmem_allocator_stats stats = rig_stats(rig);
	size_t grains = (size_t)RIG_FRAMES * TMEM_FRAME_SIZE / 8;
	uint8_t *owned = calloc(grains, 1);
	uint64_t bytes = 0;

	rig_assert(owned != NULL);
	for (uint32_t n = 0; n < rig->count; n++) {
		const struct rig_object *o = &rig->objects[n];
		size_t first;

		if (!o->handle)
			continue;
		first = (size_t)(rig_address(rig, o->handle) -
				 rig->frames.base) /
			8;
		bytes += o->size;
		for (size_t g = first; g < first + (o->size + 7) / 8; g++) {
			rig_assert(g < grains);
			rig_assert(rig->taken[g * 8 / TMEM_FRAME_SIZE]);
			rig_assert_msg(!owned[g]++, "two objects in one place");
		}
		rig_verify(rig, n);
	}
	free(owned);
	rig_assert(stats.objects == rig->alive);
	rig_assert(stats.frames == rig->held);
	rig_assert(stats.slot_bytes >= bytes);
	rig_assert(stats.object_bytes >= bytes);
	rig_assert(stats.slot_bytes <= (uint64_t)rig->held * TMEM_FRAME_SIZE);
	rig_assert(stats.runs <= stats.frames);
	rig_assert(stats.reclaimable_frames <= stats.frames);
	rig_assert(stats.metadata_bytes == atomic_load(&rig->test.used_bytes));
}

/* Sizes as compressed pages have them: a hump, a tail, some raw pages. */
static inline uint32_t rig_page_size(struct rig *rig)
{
	uint64_t kind = rig_random(rig, 100);

	if (kind < 3)
		return TMEM_FRAME_SIZE;
	if (kind < 10)
		return 1 + (uint32_t)rig_random(rig, TMEM_FRAME_SIZE);
	return 300 + (uint32_t)(rig_random(rig, 900) + rig_random(rig, 900));
}

#endif
