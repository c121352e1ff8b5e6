/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What an allocator knows of each frame: a table that grows with the arena.
 *
 * The problem: an allocator keeps nothing inside frames, so it must find its
 * bookkeeping from a frame's number, while the numbers run over an address
 * space of which most is never used.
 *
 * The idea: an array of leaves, each for 2^leaf_shift frames, made when the
 * first of them is used. What a leaf looks like is the allocator's affair: the
 * map deals in blocks of leaf_bytes, zeroed at first.
 *
 *	leaf of frame f  = leaves[f >> leaf_shift]
 *	place in it      = f % 2^leaf_shift
 *
 * Cost: 8 bytes for each leaf of address space, at create; and a leaf
 * for each such piece that was ever used, kept until destroy.
 *
 * Whoever makes leaves holds the allocator's table lock. Looking one up needs
 * no lock: a leaf, once there, stays.
 */
#ifndef TM_FRAME_MAP_H
#define TM_FRAME_MAP_H

#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <tmem/plugin.h>

struct tm_frame_map {
	/* Set at creation, then constant. */
	const struct tmem_host *host;
	uint64_t frame_count;
	uint32_t leaf_shift;
	size_t leaf_bytes;
	size_t leaf_count;
	_Atomic(void *) *leaves;
	/* Guarded by the allocator's table lock. */
	size_t leaves_made;
};

static inline size_t tm_frame_map_root_bytes(const struct tm_frame_map *map)
{
	return map->leaf_count * sizeof(map->leaves[0]);
}

static inline int tm_frame_map_init(struct tm_frame_map *map,
				    const struct tmem_host *host,
				    uint64_t frame_count, uint32_t leaf_shift,
				    size_t leaf_bytes)
{
	map->host = host;
	map->frame_count = frame_count;
	map->leaf_shift = leaf_shift;
	map->leaf_bytes = leaf_bytes;
	map->leaf_count = (size_t)(frame_count >> leaf_shift) + 1;
	map->leaves_made = 0;
	map->leaves = host->alloc(host->opaque, tm_frame_map_root_bytes(map),
				  sizeof(void *));
	return map->leaves ? 0 : -ENOMEM;
}

static inline void tm_frame_map_destroy(struct tm_frame_map *map)
{
	const struct tmem_host *host = map->host;

	if (!map->leaves)
		return;
	for (size_t i = 0; i < map->leaf_count; i++) {
		void *leaf = atomic_load_explicit(&map->leaves[i],
						  memory_order_relaxed);

		if (leaf)
			host->free(host->opaque, leaf, map->leaf_bytes);
	}
	host->free(host->opaque, map->leaves, tm_frame_map_root_bytes(map));
	map->leaves = NULL;
}

/* NULL: nothing was ever there. @frame must be below frame_count. */
static inline void *tm_frame_map_leaf(const struct tm_frame_map *map,
				      uint64_t frame)
{
	return atomic_load_explicit(&map->leaves[frame >> map->leaf_shift],
				    memory_order_acquire);
}

/* With the table lock held; NULL: out of memory. */
static inline void *tm_frame_map_make(struct tm_frame_map *map, uint64_t frame)
{
	void *leaf = tm_frame_map_leaf(map, frame);

	if (leaf)
		return leaf;
	leaf = map->host->alloc(map->host->opaque, map->leaf_bytes, 64);
	if (!leaf)
		return NULL;
	map->leaves_made++;
	atomic_store_explicit(&map->leaves[frame >> map->leaf_shift], leaf,
			      memory_order_release);
	return leaf;
}

/* With the table lock held. */
static inline size_t tm_frame_map_bytes(const struct tm_frame_map *map)
{
	return tm_frame_map_root_bytes(map) +
	       map->leaves_made * map->leaf_bytes;
}

#endif
