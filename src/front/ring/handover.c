/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A peer as it is passed from one daemon to its successor.
 *
 * What a peer shares with us goes on as it is: its socket, its memory, the
 * rings with whatever is in them. What we alone know goes into a record: how
 * far each ring was served, and what was agreed on at the greeting. Our counts
 * come from there, never from the shared memory, or a peer could make its
 * successor serve what is not there.
 *
 * Ephemeral pools do not survive the reopening of the arena, and a peer that
 * notices nothing does not make them again. So they are listed too, and made
 * again, empty, before the first request is served.
 *
 * A record is believed: it comes from a process that holds all pages. Its size
 * and version are checked all the same, as it may be of another version.
 */
#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "channel.h"

#define RECORD_VERSION 1

struct record_pool {
	uint32_t is_there;
	uint32_t flags;
	uint64_t uuid[2];
};

struct tm_ring_record {
	uint32_t version;
	uint32_t ring_count;
	struct tm_ring_hello hello;
	char listener_name[TMEM_CLIENT_NAME_MAX + 1];
	struct record_pool pools[TMEM_POOLS_MAX];
	uint32_t done[TM_RING_RINGS_MAX];
};
static_assert(sizeof(struct tm_ring_record) <= TM_RING_RECORD_MAX, "room");

static void list_pools(struct tm_channel *channel, struct record_pool *pools)
{
	for (int id = 0; id < TMEM_POOLS_MAX; id++) {
		struct tmem_pool_info info = { .struct_size = sizeof(info) };

		if (tmem_pool_get_info(channel->attachment.client, id, &info) ||
		    info.flags & TMEM_POOL_PERSISTENT)
			continue;
		pools[id] = (struct record_pool){
			.is_there = true,
			.flags = info.flags,
			.uuid = { info.uuid.word[0], info.uuid.word[1] },
		};
	}
}

int tm_channel_give(struct tm_channel *channel, tm_ring_give_fn *give,
		    void *opaque)
{
	const int fds[TM_RING_RECORD_DESCRIPTORS] = {
		channel->fd, channel->memory_fd, channel->rings_fd
	};
	struct tm_ring_record record = {
		.version = RECORD_VERSION,
		.ring_count = channel->ring_count,
		.hello = channel->hello,
	};

	memcpy(record.listener_name, channel->listener_name,
	       sizeof(record.listener_name));
	list_pools(channel, record.pools);
	for (uint32_t i = 0; i < channel->ring_count; i++)
		record.done[i] = channel->rings[i].done;
	return give(opaque, &record, sizeof(record), fds);
}

static bool is_record(const struct tm_ring_record *record)
{
	return record->version == RECORD_VERSION && record->ring_count &&
	       record->ring_count <= TM_RING_RINGS_MAX &&
	       record->hello.entries &&
	       record->hello.entries <= TM_RING_ENTRIES_MAX &&
	       !record->listener_name[TMEM_CLIENT_NAME_MAX];
}

struct tm_channel *
tm_channel_arrive(struct tm_ring_server *server, const void *bytes,
		  size_t size, const int fds[TM_RING_RECORD_DESCRIPTORS],
		  int *err)
{
	struct tm_ring_record *record = malloc(sizeof(*record));
	struct tm_channel *channel = NULL;

	*err = record ? -EINVAL : -ENOMEM;
	if (record && size == sizeof(*record)) {
		memcpy(record, bytes, size);
		if (is_record(record))
			channel = tm_channel_new(server, fds[0],
						 record->listener_name);
	}
	if (!channel) {
		for (int i = 0; i < TM_RING_RECORD_DESCRIPTORS; i++)
			close(fds[i]);
		free(record);
		return NULL;
	}
	*err = 0;
	channel->state = TM_CHANNEL_ARRIVING;
	channel->record = record;
	channel->memory_fd = fds[1];
	channel->rings_fd = fds[2];
	channel->hello = record->hello;
	channel->entries = record->hello.entries;
	channel->ring_bytes = tm_ring_bytes(channel->entries);
	channel->ring_count = record->ring_count;
	return channel;
}

static void make_pool_again(struct tm_channel *channel, int id,
			    const struct record_pool *pool)
{
	const struct tm_ring_op op = {
		.command = TM_RING_NEW_POOL,
		.pool = id,
		.create = { .uuid = { pool->uuid[0], pool->uuid[1] },
			    .flags = pool->flags | TM_RING_POOL_VERSION },
	};

	/* One that cannot be made is missed by who uses it next. */
	tmem_xen_op(channel->attachment.domain, &op, sizeof(op),
		    TMEM_XEN_OP_PLAIN | TMEM_XEN_OP_AT);
}

int tm_channel_settle(struct tm_channel *channel)
{
	const struct tm_ring_record *record = channel->record;
	int err = tm_channel_map_rings(channel);

	if (err)
		return err;
	for (uint32_t i = 0; i < channel->ring_count; i++)
		channel->rings[i].done = record->done[i];
	for (int id = 0; id < TMEM_POOLS_MAX; id++)
		if (record->pools[id].is_there)
			make_pool_again(channel, id, &record->pools[id]);
	return 0;
}
