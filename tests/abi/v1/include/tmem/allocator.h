/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The allocator ABI: an allocator packs compressed pages into frames.
 *
 * The problem: compressed pages have every size from a few bytes to a page,
 * live for arbitrary times, and the memory under them must be given back in
 * whole frames of 4 KiB. An allocator therefore decides where an object goes;
 * it never moves one. Moving needs to know who points at the object, and that
 * is the store: victims() names objects whose move would pay, and the store
 * allocates the new place (with TMEM_ALLOC_MOVE), copies, switches its
 * pointer and frees the old place.
 *
 * Frames are host memory, mapped at one address for the life of the instance.
 * An allocator asks the store for *runs*: frames next to each other in the
 * address space, so that an object may straddle frames and is still one
 * range of bytes. It asks by callback, and calls nothing else of the store.
 *
 * Handles describe themselves: everything needed to find an object's bytes
 * and to rebuild the allocator's own state stands in the 56 bits of its
 * handle, in a form that is kept in arenas and so belongs to the allocator's
 * @format. All bookkeeping is volatile: after a crash the store hands every
 * handle it still holds to adopt() of a new instance, in any order.
 *
 * Nothing is written into objects, nor between them: an object's bytes are
 * the store's alone from alloc() to free(). Free space may be scribbled on.
 *
 * Entry point of a module NAME.so:
 *
 *	const struct tmem_allocator *
 *	tmem_allocator_entry(const struct tmem_host *host);
 *
 * Since: 0.1
 */
#ifndef TMEM_ALLOCATOR_H
#define TMEM_ALLOCATOR_H

#include <tmem/plugin.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TMEM_ALLOCATOR_ENTRY "tmem_allocator_entry"

/* One frame, in bytes. */
#define TMEM_FRAME_SIZE 4096
/* The longest run that may be asked for, in frames. */
#define TMEM_RUN_FRAMES_MAX 64
/* A handle is not 0 and fits in this many bits. */
#define TMEM_HANDLE_BITS 56

/* alloc: place the object only where a run is open already; never take
 * frames. Fails rather than making things worse. */
#define TMEM_ALLOC_MOVE (UINT32_C(1) << 0)
/* alloc: the object is of an ephemeral pool. Such objects have runs of their
 * own, so that eviction can free whole runs. */
#define TMEM_ALLOC_EPHEMERAL (UINT32_C(1) << 1)

/**
 * struct tmem_frames - where an allocator's frames come from
 * @struct_size: sizeof(struct tmem_frames) as the host knows it
 * @opaque: to be passed back
 * @base: address of frame 0; frame f is at base + f * TMEM_FRAME_SIZE
 * @frame_count: frames are numbered 0 to frame_count - 1 (address space, much
 *	of which is never backed by memory). At most 2^32.
 * @get: @count contiguous frames (1 to TMEM_RUN_FRAMES_MAX), readable and
 *	writable, with undefined contents. Returns the first frame's number,
 *	or -ENOMEM: a shorter run may still be had. @flags must be 0.
 * @put: gives a run back, or any part of it
 * @claim: during adopt() only: takes these very frames. 0, or -EBADMSG when
 *	one of them is out of range or taken.
 *
 * All may be called from any thread, with the allocator's own locks held:
 * they never call back into the allocator.
 */
struct tmem_frames {
	uint32_t struct_size;
	uint32_t reserved;
	void *opaque;
	uint8_t *base;
	uint64_t frame_count;
	int64_t (*get)(void *opaque, uint32_t count, uint32_t flags);
	void (*put)(void *opaque, uint64_t first, uint32_t count);
	int (*claim)(void *opaque, uint64_t first, uint32_t count);
};

/**
 * struct tmem_victim - an object whose move would help to empty a run
 * @handle: where it is
 * @owner: as given to alloc() or adopt()
 * @size: as given to alloc() or adopt(), bytes, or 0 when the allocator
 *	does not keep it
 */
struct tmem_victim {
	uint64_t handle;
	uint32_t owner;
	uint32_t size;
};

/**
 * struct tmem_allocator_stats - one consistent-enough reading
 * @struct_size: set by the caller to what it knows
 * @frames: frames held
 * @objects: objects alive
 * @object_bytes: sum of the sizes asked for, of the objects alive; where the
 *	allocator does not keep sizes, of the slots that hold them
 * @slot_bytes: sum of the room those objects take, rounding included
 * @runs: runs held
 * @metadata_bytes: everything allocated from the host, frames not included
 * @reclaimable_frames: frames that moving objects about would free
 *
 * Racy statistics: each number is exact at some moment during the call, not
 * all at the same moment; at a quiet moment all are exact.
 */
struct tmem_allocator_stats {
	uint32_t struct_size;
	uint32_t reserved;
	uint64_t frames;
	uint64_t objects;
	uint64_t object_bytes;
	uint64_t slot_bytes;
	uint64_t runs;
	uint64_t metadata_bytes;
	uint64_t reclaimable_frames;
};

/**
 * struct tmem_allocator - one allocator
 * @abi_version: TMEM_PLUGIN_ABI_VERSION
 * @struct_size: sizeof(struct tmem_allocator) as the plugin knows it
 * @flags: none defined
 * @name: see TMEM_PLUGIN_NAME_MAX; recorded in arenas, so it never changes
 * @description: one line for `tmem plugins`
 * @format: version of the handle's layout
 * @options: option table, or NULL
 *
 * @create: an empty instance; 0 and *@instance, or -ENOMEM, -EINVAL (an
 *	option that does not go with the others). @host and @frames stay valid
 *	until destroy. @options as codec.h says, or NULL for the initial ones.
 * @destroy: gives back host memory and frames, whatever is still allocated.
 * @max_size: the largest size alloc() can ever satisfy, bytes; at least 2048.
 *
 * @alloc: room for @size bytes (1 to max_size), 8-byte aligned. @owner is
 *	kept and returned by victims(); it may be any number. Returns a
 *	handle, or 0 when there is no room or @size is out of range.
 * @free: of a handle that is allocated. Returns how many moves would now
 *	free at least one frame, as far as that is known without searching; 0
 *	when nothing is worth moving. A hint: the store calls victims() when it
 *	has the time.
 * @address: the first byte of the object. Pure arithmetic on the handle,
 *	takes no lock; the pointer is valid until free().
 * @set_owner: replaces the owner of an allocated object.
 *
 * @victims: up to @max objects to move, most useful first, and returns how
 *	many. With @near == 0, from anywhere: objects of a sparse run for which
 *	there is room in other open runs; 0 means that nothing is worth moving.
 *	With a handle as @near, which may have been freed meanwhile: all other
 *	objects of the run it is or was in, whether room for them exists or not.
 *	Hints: no lock is held on return, so each may have been freed since. A
 *	call takes bounded time and repeated calls see all sparse runs.
 *
 * @adopt: rebuilds: after it the instance is as if alloc() had returned
 *	@handle for (@size, @owner). Only before the first alloc() of an
 *	instance, in any order. Total: for any bytes it returns 0, -ENOMEM, or
 *	-EBADMSG (not a handle of this allocator, out of range, @size does not
 *	fit, overlaps with one adopted before), and leaves the instance as it
 *	was on failure.
 * @stats: fills as much of *@stats as @stats->struct_size covers.
 *
 * Threads: all functions but create, destroy and adopt may be called from any
 * threads at once. They take bounded time and make no system call, except
 * through the frames' callbacks.
 */
struct tmem_allocator {
	uint32_t abi_version;
	uint32_t struct_size;
	uint64_t flags;
	const char *name;
	const char *description;
	uint32_t format;
	uint32_t reserved;
	const struct tmem_option *options;

	int (*create)(const struct tmem_host *host,
		      const struct tmem_frames *frames, const int64_t *options,
		      void **instance);
	void (*destroy)(void *instance);
	uint32_t (*max_size)(const void *instance);

	uint64_t (*alloc)(void *instance, uint32_t size, uint32_t owner,
			  uint32_t flags);
	uint32_t (*free)(void *instance, uint64_t handle, uint32_t flags);
	void *(*address)(const void *instance, uint64_t handle);
	void (*set_owner)(void *instance, uint64_t handle, uint32_t owner);

	uint32_t (*victims)(void *instance, uint64_t near,
			    struct tmem_victim *out, uint32_t max);
	int (*adopt)(void *instance, uint64_t handle, uint32_t size,
		     uint32_t owner);
	void (*stats)(void *instance, struct tmem_allocator_stats *stats);
};

typedef const struct tmem_allocator *
tmem_allocator_entry_fn(const struct tmem_host *host);

#ifdef __cplusplus
}
#endif
#endif
