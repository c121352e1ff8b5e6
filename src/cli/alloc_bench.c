/* SPDX-License-Identifier: BSD-2-Clause */
/* Measures an allocator alone; see alloc_bench.h. */
#include <config.h>

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "alloc_bench.h"
#include "bitmap.h"
#include "clock.h"

#define VICTIMS_MAX 64

struct object {
	uint64_t handle;
	uint32_t size;
};

struct bench {
	const struct tm_alloc_bench_input *input;
	struct tmem_host host;
	struct tmem_frames frames;
	void *instance;
	uint64_t *used; /* frames */
	uint64_t cursor;
	uint64_t frames_held;
	uint64_t metadata_bytes;
	struct object *objects;
	uint64_t alive_bytes;
	uint64_t alive;
	uint64_t moves;
	uint64_t move_ns;
	uint64_t random;
	uint64_t refused;
};

static uint64_t now_ns(void)
{
	return tm_clock_now_ns(tm_clock_system());
}

static uint64_t random_next(struct bench *b)
{
	uint64_t z = b->random += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

/* --- what a host offers */

static void *host_alloc(void *opaque, size_t size, size_t align)
{
	struct bench *b = opaque;
	void *ptr;

	if (posix_memalign(&ptr,
			   align < sizeof(void *) ? sizeof(void *) : align,
			   size))
		return NULL;
	memset(ptr, 0, size);
	b->metadata_bytes += size;
	return ptr;
}

static void host_free(void *opaque, void *ptr, size_t size)
{
	struct bench *b = opaque;

	b->metadata_bytes -= size;
	free(ptr);
}

static bool run_is_free(const struct bench *b, uint64_t first, uint32_t count)
{
	for (uint64_t f = first; f < first + count; f++)
		if (tm_bitmap_test(b->used, f))
			return false;
	return true;
}

/* First fit from where a search of this kind left off; single frames fill
 * the gaps. */
static int64_t frames_get(void *opaque, uint32_t count, uint32_t flags)
{
	struct bench *b = opaque;
	uint64_t first = b->cursor;

	(void)flags;
	while (first + count <= b->frames.frame_count &&
	       !run_is_free(b, first, count))
		first++;
	if (first + count > b->frames.frame_count)
		return -ENOMEM;
	tm_bitmap_set_range(b->used, first, count);
	if (first == b->cursor)
		b->cursor += count;
	b->frames_held += count;
	return (int64_t)first;
}

static void frames_put(void *opaque, uint64_t first, uint32_t count)
{
	struct bench *b = opaque;

	tm_bitmap_clear_range(b->used, first, count);
	b->frames_held -= count;
	if (first < b->cursor)
		b->cursor = first;
}

static int frames_claim(void *opaque, uint64_t first, uint32_t count)
{
	(void)opaque;
	(void)first;
	(void)count;
	return -EBADMSG;
}

/* --- the store's part */

static uint64_t move(struct bench *b, uint64_t most)
{
	const struct tmem_allocator *a = b->input->allocator;
	struct tmem_victim victims[VICTIMS_MAX];
	uint64_t begin = now_ns();
	uint32_t count;
	uint64_t moved = 0;

	if (most > VICTIMS_MAX)
		most = VICTIMS_MAX;
	count = a->victims(b->instance, 0, victims, (uint32_t)most);
	for (uint32_t i = 0; i < count; i++) {
		struct object *o = &b->objects[victims[i].owner];
		uint64_t to = a->alloc(b->instance, o->size, victims[i].owner,
				       TMEM_ALLOC_MOVE);

		if (!to)
			continue;
		a->free(b->instance, o->handle, 0);
		o->handle = to;
		moved++;
	}
	b->moves += moved;
	b->move_ns += now_ns() - begin;
	return moved;
}

static void replace(struct bench *b, uint32_t n, uint32_t size)
{
	const struct tmem_allocator *a = b->input->allocator;
	struct object *o = &b->objects[n];
	uint64_t old = o->handle;
	uint32_t hint = 0;

	o->handle = size ? a->alloc(b->instance, size, n, 0) : 0;
	if (old) {
		b->alive_bytes -= o->size;
		b->alive--;
		hint = a->free(b->instance, old, 0);
	}
	o->size = size;
	if (o->handle) {
		b->alive_bytes += size;
		b->alive++;
	} else if (size) {
		b->refused++;
	}
	if (hint && b->input->moves_at_once)
		move(b, hint < b->input->moves_at_once
				? hint
				: b->input->moves_at_once);
}

static double density(const struct bench *b)
{
	return (double)b->alive_bytes /
	       ((double)b->frames_held * TMEM_FRAME_SIZE);
}

static double slot_waste(struct bench *b)
{
	struct tmem_allocator_stats stats = { .struct_size = sizeof(stats) };

	b->input->allocator->stats(b->instance, &stats);
	return 1 - (double)b->alive_bytes / (double)stats.slot_bytes;
}

static void fill(struct bench *b, struct tm_alloc_bench_result *r)
{
	const struct tm_alloc_bench_input *in = b->input;
	struct tmem_allocator_stats stats = { .struct_size = sizeof(stats) };
	uint64_t begin = now_ns();

	for (uint32_t i = 0; i < in->count; i++)
		replace(b, i, in->sizes[i]);
	r->alloc_ns = (double)(now_ns() - begin) / in->count;
	r->density.fill = density(b);
	r->metadata_per_object = (double)b->metadata_bytes / in->count;
	r->overhead = ((double)b->frames_held * TMEM_FRAME_SIZE +
		       (double)b->metadata_bytes) /
		      (double)b->alive_bytes;
	in->allocator->stats(b->instance, &stats);
	r->frames_per_run = (double)stats.frames / (double)stats.runs;
	r->slot_waste = slot_waste(b);
}

static void churn(struct bench *b, struct tm_alloc_bench_result *r)
{
	const struct tm_alloc_bench_input *in = b->input;
	uint64_t puts = (uint64_t)in->churn_rounds * in->count;
	uint64_t begin = now_ns();

	b->moves = b->move_ns = 0;
	r->density.churn_min = 1;
	for (uint64_t i = 0; i < puts; i++) {
		uint32_t n = (uint32_t)(random_next(b) % in->count);
		uint32_t m = (uint32_t)(random_next(b) % in->count);

		replace(b, n,
			in->keep_sizes ? b->objects[n].size : in->sizes[m]);
		if (i % 1024 == 0 && density(b) < r->density.churn_min)
			r->density.churn_min = density(b);
	}
	r->churn_ns = (double)(now_ns() - begin - b->move_ns) / (double)puts;
	r->density.churn = density(b);
	r->moves_churn = (double)b->moves;
	r->metadata_per_object_churned = (double)b->metadata_bytes / in->count;
	r->slot_waste_churned = slot_waste(b);
}

static void free70(struct bench *b, struct tm_alloc_bench_result *r)
{
	const struct tm_alloc_bench_input *in = b->input;
	uint64_t want = (uint64_t)in->count * 7 / 10;
	uint64_t begin = now_ns();

	b->moves = b->move_ns = 0;
	for (uint64_t i = 0; i < want;) {
		uint32_t n = (uint32_t)(random_next(b) % in->count);

		if (!b->objects[n].handle)
			continue;
		replace(b, n, 0);
		i++;
	}
	r->free_ns = (double)(now_ns() - begin - b->move_ns) / (double)want;
	r->density.free70 = density(b);
	r->moves_free70 = (double)b->moves;
	b->moves = 0;
	while (move(b, VICTIMS_MAX))
		;
	r->moves_free70_1s = (double)b->moves;
	r->density.free70_1s = density(b);
}

int tm_alloc_bench_run(const struct tm_alloc_bench_input *in,
		       struct tm_alloc_bench_result *r)
{
	uint64_t frame_count = (uint64_t)in->count * 2 + 64;
	struct bench b = {
		.input = in,
		.host = {
			.abi_version = TMEM_PLUGIN_ABI_VERSION,
			.struct_size = sizeof(struct tmem_host),
			.opaque = &b,
			.alloc = host_alloc,
			.free = host_free,
		},
		.frames = {
			.struct_size = sizeof(struct tmem_frames),
			.opaque = &b,
			.frame_count = frame_count,
			.get = frames_get,
			.put = frames_put,
			.claim = frames_claim,
		},
		.random = in->seed,
	};
	int err = -ENOMEM;

	memset(r, 0, sizeof(*r));
	b.used = calloc(tm_bitmap_words(frame_count), sizeof(*b.used));
	b.objects = calloc(in->count, sizeof(*b.objects));
	if (!b.used || !b.objects)
		goto out;
	err = in->allocator->create(&b.host, &b.frames, in->options,
				    &b.instance);
	if (err)
		goto out;
	fill(&b, r);
	churn(&b, r);
	free70(&b, r);
	r->moves_per_put =
		(r->moves_churn + r->moves_free70 + r->moves_free70_1s) /
		((double)in->count * (1 + in->churn_rounds));
	r->refused = b.refused;
	in->allocator->destroy(b.instance);
out:
	free(b.used);
	free(b.objects);
	return err;
}
