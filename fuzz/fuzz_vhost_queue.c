/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A guest that writes what it likes into a virtqueue.
 *
 * An input is laid over the beginning of four pages of guest memory, where the
 * rings and the requests are: the table at 0, the available ring at 512, the
 * used ring at 1024, 32 entries. The first two bytes say where to begin.
 * Requests are carried out on a disk of 64 KiB until the queue is empty or
 * wrong; a disk that is read or written past its end aborts, and so does a
 * queue that does not end.
 */
#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <tmem/xen.h>

#include "disk.h"
#include "vhost_blk.h"
#include "vhost_queue.h"

#define MUST(condition)                                                        \
	do {                                                                   \
		if (!(condition))                                              \
			abort();                                               \
	} while (0)
#define PAGES 4
#define ENTRIES 32
#define DISK_BYTES (64u << 10)
#define REQUESTS_MAX 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* --- a disk that knows its end ------------------------------------------- */

struct tm_disk {
	uint8_t bytes[DISK_BYTES];
};

static void check_range(uint64_t offset, uint64_t bytes)
{
	MUST(offset <= DISK_BYTES && bytes <= DISK_BYTES - offset);
	MUST(offset % TM_VIRTIO_SECTOR == 0 && bytes % TM_VIRTIO_SECTOR == 0);
}

int tm_disk_read(struct tm_disk *disk, void *buffer, uint64_t offset,
		 uint32_t bytes)
{
	check_range(offset, bytes);
	memcpy(buffer, disk->bytes + offset, bytes);
	return 0;
}

int tm_disk_write(struct tm_disk *disk, const void *buffer, uint64_t offset,
		  uint32_t bytes)
{
	check_range(offset, bytes);
	memcpy(disk->bytes + offset, buffer, bytes);
	return 0;
}

int tm_disk_discard(struct tm_disk *disk, uint64_t offset, uint64_t bytes)
{
	check_range(offset, bytes);
	memset(disk->bytes + offset, 0, bytes);
	return 0;
}

int tm_disk_write_zeroes(struct tm_disk *disk, uint64_t offset, uint64_t bytes)
{
	return tm_disk_discard(disk, offset, bytes);
}

int tm_disk_flush(struct tm_disk *disk)
{
	(void)disk;
	return 0;
}

uint64_t tm_disk_size_bytes(const struct tm_disk *disk)
{
	(void)disk;
	return DISK_BYTES;
}

/* --- one input ----------------------------------------------------------- */

struct state {
	struct tm_disk disk;
	struct tm_vhost_queue queue;
	struct tm_vhost_chain chain;
	struct tm_vhost_blk_counts counts;
	uint8_t buffer[TM_VHOST_BUFFER_BYTES];
};

static void serve(struct state *state)
{
	const struct tm_vhost_blk blk = {
		.disk = &state->disk,
		.size_bytes = DISK_BYTES,
		.block_bytes = 512,
		.queues = 1,
		.id = "fuzz",
	};
	struct tm_vhost_queue *queue = &state->queue;
	int err = 1, served = 0;

	while (err > 0) {
		uint32_t written = 0;
		uint16_t head;

		err = tm_vhost_queue_pop(queue, &head);
		if (err <= 0)
			break;
		/* The guest's index is read once for all that it counts; data
		 * may be written over it, so there may be more. */
		if (++served == REQUESTS_MAX)
			break;
		err = tm_vhost_queue_chain(queue, head, &state->chain);
		if (!err)
			err = tm_vhost_blk_serve(&blk, queue, &state->chain,
						 state->buffer, &state->counts,
						 &written);
		if (!err)
			err = tm_vhost_queue_push(queue, head, written);
		if (!err)
			err = tm_vhost_queue_must_signal(queue) < 0 ? -EPROTO
								    : 1;
	}
	MUST(err >= 0 || queue->why);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint64_t guest_at = 16;
	struct tmem_guest_memory *memory;
	struct state *state;
	uint8_t *guest;

	if (size < 4 || size > PAGES * TMEM_PAGE_SIZE)
		return 0;
	state = calloc(1, sizeof(*state));
	guest = aligned_alloc(TMEM_PAGE_SIZE, PAGES * TMEM_PAGE_SIZE);
	MUST(state && guest && !tmem_guest_memory_create(&memory));
	memset(guest, 0, PAGES * TMEM_PAGE_SIZE);
	memcpy(guest, data + 2, size - 2);
	MUST(!tmem_guest_memory_add(memory, guest_at, PAGES, guest, true));
	state->queue = (struct tm_vhost_queue){
		.guest = memory,
		.entries = ENTRIES,
		.uses_event_index = data[1] & 1,
		.descriptors = guest_at * TMEM_PAGE_SIZE,
		.available = guest_at * TMEM_PAGE_SIZE + 512,
		.used = guest_at * TMEM_PAGE_SIZE + 1024,
		.next_available = data[0],
		.seen_available = data[0],
	};
	serve(state);
	tmem_guest_memory_destroy(memory);
	free(guest);
	free(state);
	return 0;
}
