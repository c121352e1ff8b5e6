/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A door's state, for a successor that goes on with it.
 *
 * The problem: a daemon is replaced while guests run. A front end that is hung
 * up on comes back after a second or so, if it was told to; one that was not
 * loses its disk. The idea: everything a front end said can be said again to
 * another device: features, regions, rings, with the descriptors that came with
 * them. So a record holds that, and where each ring stands; the successor has
 * it, and the same connection, and starts the rings as if they had been set up
 * there. No request is under way meanwhile: workers are parked between two.
 *
 * What a record holds was checked when it came in, and both daemons are one
 * user's; that its numbers stay within their arrays is checked once more.
 *
 * Descriptors, in this order: the connection; one for each region; the area of
 * requests in flight, if there is one; kick, call and error of each ring that
 * has them.
 */
#include <config.h>

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "vhost_device.h"

enum ring_flags {
	RING_HAS_ADDR = 1,
	RING_ENABLED = 2,
	RING_STARTED = 4,
	RING_BROKEN = 8,
	RING_KICK = 16,
	RING_CALL = 32,
	RING_ERROR = 64,
	RING_WAITS = 128, /* started, and its memory is not there */
};

struct ring_record {
	struct tm_vhost_vring_addr addr;
	uint16_t entries;
	uint16_t next_available;
	uint32_t flags;
};

#define RECORD_VERSION 1

struct record {
	uint32_t version;
	uint32_t queues;
	uint64_t features;
	uint64_t protocol_features;
	uint32_t has_features;
	uint32_t has_memory;
	uint32_t regions;
	uint32_t has_area;
	struct tm_vhost_inflight inflight;
	struct tm_vhost_region region[TM_VHOST_SLOTS_MAX];
	struct ring_record ring[TM_VHOST_QUEUES_MAX];
};

_Static_assert(sizeof(struct record) <= TM_VHOST_RECORD_MAX, "a record fits");

/* --- given ---------------------------------------------------------------- */

static void add_fd(struct tm_vhost_given *given, int fd)
{
	/* One too many is noticed at the end. */
	if (given->fd_count < TM_VHOST_GIVEN_FDS)
		given->fds[given->fd_count] = fd;
	given->fd_count++;
}

static uint32_t add_event(struct tm_vhost_given *given, int fd, uint32_t flag)
{
	if (fd < 0)
		return 0;
	add_fd(given, fd);
	return flag;
}

static void describe_ring(struct tm_vhost_ring *ring,
			  struct ring_record *record,
			  struct tm_vhost_given *given)
{
	*record = (struct ring_record){
		.addr = ring->addr,
		.entries = ring->queue.entries,
		.next_available = ring->queue.next_available,
		.flags = (ring->has_addr ? RING_HAS_ADDR : 0) |
			 (ring->is_enabled ? RING_ENABLED : 0) |
			 (ring->is_started ? RING_STARTED : 0) |
			 (atomic_load(&ring->is_broken) ? RING_BROKEN : 0) |
			 (ring->is_started && !ring->is_placed ? RING_WAITS
							       : 0) |
			 add_event(given, ring->kick_fd, RING_KICK),
	};
	record->flags |= add_event(given, ring->call_fd, RING_CALL);
	record->flags |= add_event(given, ring->error_fd, RING_ERROR);
	/* The successor's from here on. */
	ring->is_started = false;
}

int tm_vhost_device_give(struct tm_vhost_device *device,
			 struct tm_vhost_given *given)
{
	struct record record = {
		.version = RECORD_VERSION,
		.queues = device->blk.queues,
		.features = device->features,
		.protocol_features = device->protocol_features,
		.has_features = device->has_features,
		.has_memory = device->memory != NULL,
		.has_area = device->area != NULL,
	};
	int fd;

	while (device->memory &&
	       (fd = tm_vhost_memory_region(device->memory, record.regions,
					    &record.region[record.regions])) >=
		       0) {
		add_fd(given, fd);
		if (++record.regions == TM_VHOST_SLOTS_MAX)
			break;
	}
	if (device->area)
		add_fd(given,
		       tm_vhost_area_describe(device->area, &record.inflight));
	for (uint32_t i = 0; i < device->blk.queues; i++) {
		struct tm_vhost_worker *worker = tm_vhost_worker_of(device, i);

		tm_vhost_worker_park(worker);
		describe_ring(&device->rings[i], &record.ring[i], given);
		tm_vhost_worker_go_on(worker);
	}
	given->bytes = sizeof(record);
	memcpy(given->record, &record, sizeof(record));
	return given->fd_count > TM_VHOST_GIVEN_FDS ? -E2BIG : 0;
}

/* --- taken ---------------------------------------------------------------- */

struct taking {
	struct tm_vhost_given *given;
	uint32_t next_fd;
};

/* -1: there are not so many. */
static int take_fd(struct taking *taking)
{
	int fd;

	if (taking->next_fd >= taking->given->fd_count)
		return -1;
	fd = taking->given->fds[taking->next_fd];
	taking->given->fds[taking->next_fd++] = -1;
	return fd;
}

static int take_memory(struct tm_vhost_device *device,
		       const struct record *record, struct taking *taking)
{
	const char *why;
	int err = 0;

	if (record->has_memory)
		err = tm_vhost_memory_new(&device->memory);
	for (uint32_t i = 0; i < record->regions && !err; i++)
		err = tm_vhost_memory_add(device->memory, &record->region[i],
					  take_fd(taking), &why);
	if (!err && record->has_area)
		err = tm_vhost_area_open(&record->inflight, take_fd(taking),
					 &device->area);
	return err;
}

static void take_ring(struct tm_vhost_device *device, uint32_t number,
		      const struct ring_record *record, struct taking *taking)
{
	struct tm_vhost_ring *ring = &device->rings[number];

	ring->addr = record->addr;
	ring->has_addr = record->flags & RING_HAS_ADDR;
	ring->is_enabled = record->flags & RING_ENABLED;
	ring->queue.entries = record->entries;
	ring->queue.next_available = record->next_available;
	ring->queue.uses_event_index =
		device->features >> TM_VIRTIO_F_EVENT_IDX & 1;
	if (record->flags & RING_KICK)
		ring->kick_fd = take_fd(taking);
	if (record->flags & RING_CALL)
		ring->call_fd = take_fd(taking);
	if (record->flags & RING_ERROR)
		ring->error_fd = take_fd(taking);
	if (!(record->flags & RING_STARTED))
		return;
	if (record->flags & RING_WAITS) {
		ring->is_started = true;
		return;
	}
	tm_vhost_ring_start(device, ring);
	if (record->flags & RING_BROKEN)
		atomic_store(&ring->is_broken, true);
}

int tm_vhost_device_take(struct tm_vhost_device *device,
			 struct tm_vhost_given *given)
{
	struct taking taking = { .given = given, .next_fd = 1 };
	struct record record;
	int err;

	if (given->bytes != sizeof(record))
		return -EPROTO;
	memcpy(&record, given->record, sizeof(record));
	if (record.version != RECORD_VERSION ||
	    record.queues != device->blk.queues ||
	    record.regions > TM_VHOST_SLOTS_MAX ||
	    (record.regions && !record.has_memory))
		return -EPROTO;
	device->features = record.features;
	device->protocol_features = record.protocol_features;
	device->has_features = record.has_features;
	err = take_memory(device, &record, &taking);
	for (uint32_t i = 0; i < record.queues && !err; i++) {
		if (record.ring[i].entries > TM_VHOST_ENTRIES_MAX ||
		    ((record.ring[i].flags & RING_STARTED) &&
		     (!device->memory || !record.ring[i].entries)))
			err = -EPROTO;
		else
			take_ring(device, i, &record.ring[i], &taking);
	}
	return err;
}
