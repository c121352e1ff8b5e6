/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An allocator's instance, and what is not inline of its checks (see plug.h).
 *
 * An allocator is trusted further than a codec: it says where bytes go. What
 * is checked is that they go into the frames, and that its answers stay in
 * the ranges its callers size their arrays by. Two objects in one place would
 * be found by the store's per-page check.
 */
#include <config.h>

#include "plug_private.h"

#define MAX_SIZE_LEAST 2048

/* 0, or what create() failed with. */
static int start(struct tm_allocator *allocator,
		 const struct tmem_frames *frames)
{
	const struct tmem_host *host = allocator->host;
	const char *name = allocator->table.name;
	int error;

	error = allocator->table.create(host, frames, NULL,
					&allocator->instance);
	if (error) {
		tm_host_log(host, TMEM_LOG_ERROR,
			    "allocator %s: cannot be set up: %s", name,
			    strerror(error < 0 ? -error : EINVAL));
		return error == -ENOMEM ? error : -EINVAL;
	}
	allocator->max_size_bytes =
		allocator->table.max_size(allocator->instance);
	if (allocator->max_size_bytes >= MAX_SIZE_LEAST)
		return 0;
	tm_host_log(host, TMEM_LOG_ERROR,
		    "allocator %s places objects of up to %u bytes only; at "
		    "least %d are needed",
		    name, (unsigned)allocator->max_size_bytes, MAX_SIZE_LEAST);
	allocator->table.destroy(allocator->instance);
	return -EINVAL;
}

int tm_allocator_open(const struct tmem_plugins *plugins, const char *name,
		      const struct tmem_host *host,
		      const struct tmem_frames *frames,
		      struct tm_allocator **allocator_out)
{
	const struct tmem_allocator *table =
		tm_plugins_find_allocator(plugins, name);
	struct tm_allocator *allocator;
	int error;

	if (!table)
		return tm_plugins_unknown(plugins, TM_PLUGIN_ALLOCATOR, host,
					  name);
	allocator = host->alloc(host->opaque, sizeof(*allocator), 64);
	if (!allocator)
		return -ENOMEM;
	allocator->table = *table;
	allocator->host = host;
	allocator->base = frames->base;
	allocator->span_bytes = frames->frame_count * TMEM_FRAME_SIZE;
	error = start(allocator, frames);
	if (error) {
		host->free(host->opaque, allocator, sizeof(*allocator));
		return error;
	}
	*allocator_out = allocator;
	return 0;
}

void tm_allocator_close(struct tm_allocator *allocator)
{
	const struct tmem_host *host;

	if (!allocator)
		return;
	host = allocator->host;
	allocator->table.destroy(allocator->instance);
	host->free(host->opaque, allocator, sizeof(*allocator));
}

uint64_t tm_allocator_caught(struct tm_allocator *allocator, const char *call,
			     uint64_t handle)
{
	if (tm_caught(allocator->host, &allocator->errors,
		      &allocator->logged_ns))
		tm_host_log(allocator->host, TMEM_LOG_ERROR,
			    "allocator %s: %s() with the handle 0x%llx is "
			    "outside its frames; the object is not placed",
			    allocator->table.name, call,
			    (unsigned long long)handle);
	return 0;
}

uint32_t tm_allocator_victims(struct tm_allocator *allocator, uint64_t near,
			      struct tmem_victim *out, uint32_t max)
{
	uint32_t count =
		allocator->table.victims(allocator->instance, near, out, max);

	if (count <= max)
		return count;
	tm_allocator_caught(allocator, "victims", near);
	return 0;
}

int tm_allocator_adopt(struct tm_allocator *allocator, uint64_t handle,
		       uint32_t size, uint32_t owner)
{
	const void *address;
	int error;

	if (!handle || handle >> TMEM_HANDLE_BITS || !size ||
	    size > allocator->max_size_bytes)
		return -EBADMSG;
	error = allocator->table.adopt(allocator->instance, handle, size,
				       owner);
	if (error)
		return error == -ENOMEM ? error : -EBADMSG;
	address = allocator->table.address(allocator->instance, handle);
	if (tm_allocator_holds(allocator, address, size))
		return 0;
	tm_allocator_caught(allocator, "adopt", handle);
	return -EBADMSG;
}

void tm_allocator_stats(struct tm_allocator *allocator,
			struct tmem_allocator_stats *stats)
{
	memset(stats, 0, sizeof(*stats));
	stats->struct_size = sizeof(*stats);
	allocator->table.stats(allocator->instance, stats);
}
