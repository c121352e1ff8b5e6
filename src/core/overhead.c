/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What an allocator makes of a byte: how much memory a reservation may need.
 *
 * The problem: reservations are in billed bytes, the limit is in memory, and
 * between them stands an allocator that is only known by its functions. One
 * that lets no object straddle two frames needs nearly twice the bytes for
 * objects of just over half a frame. The idea: ask it. A scratch instance is
 * given a few dozen frames of bare address space and filled with such objects;
 * how many went in says all. Nothing is written to those frames, so it costs a
 * moment of address space.
 *
 * Accepted: pages that shrink to much less than a quarter of a frame cost more
 * than this where an allocator puts at most two into one; a reservation of a
 * client that has only such pages is a guarantee of fewer of them.
 */
#include <config.h>

#include <errno.h>
#include <sys/mman.h>

#include "store.h"

#define FRAMES 64
#define OBJECT_BYTES (TMEM_FRAME_SIZE / 2 + 64)
/* When it cannot be found out. */
#define UNKNOWN_PCT 200

struct scratch {
	uint64_t next;
};

static int64_t scratch_get(void *opaque, uint32_t count, uint32_t flags)
{
	struct scratch *scratch = opaque;
	uint64_t first = scratch->next;

	if (flags || count > FRAMES - first)
		return -ENOMEM;
	scratch->next += count;
	return (int64_t)first;
}

static void scratch_put(void *opaque, uint64_t first, uint32_t count)
{
	(void)opaque;
	(void)first;
	(void)count;
}

static int scratch_claim(void *opaque, uint64_t first, uint32_t count)
{
	(void)opaque;
	(void)first;
	(void)count;
	return -EBADMSG;
}

/* That there is no memory for the scratch instance is nobody's error. */
static void scratch_log(void *opaque, enum tmem_log_level level,
			const char *text)
{
	(void)opaque;
	(void)level;
	(void)text;
}

static uint32_t fill(struct tm_allocator *allocator)
{
	void *address;
	uint32_t count = 0;

	while (count < 2 * FRAMES &&
	       tm_allocator_alloc(allocator, OBJECT_BYTES, 1, 0, &address))
		count++;
	return count;
}

uint32_t tm_allocator_overhead_pct(struct tm_store *store, const char *name)
{
	const size_t size = FRAMES * TMEM_FRAME_SIZE;
	struct scratch scratch = { 0 };
	struct tmem_frames frames = {
		.struct_size = sizeof(frames),
		.opaque = &scratch,
		.frame_count = FRAMES,
		.get = scratch_get,
		.put = scratch_put,
		.claim = scratch_claim,
	};
	struct tmem_host host = store->memory.host;
	struct tm_allocator *allocator;
	uint32_t count = 0;

	host.log = scratch_log;
	frames.base = tm_memory_reserve(size);
	if (!frames.base)
		return UNKNOWN_PCT;
	if (!tm_allocator_open(store->plugins, name, &host, &frames,
			       &allocator)) {
		count = fill(allocator);
		tm_allocator_close(allocator);
	}
	munmap(frames.base, size);
	if (!count)
		return UNKNOWN_PCT;
	return (uint32_t)(100 * size / (count * (OBJECT_BYTES + TM_PAGE_BILL)));
}
