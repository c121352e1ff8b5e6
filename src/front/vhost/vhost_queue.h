/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A split virtqueue, from the device's side.
 *
 * Whatever is wrong with one ends in -EPROTO, and queue.why says what; then it
 * is not to be used until it is started again.
 */
#ifndef TM_VHOST_QUEUE_H
#define TM_VHOST_QUEUE_H

#include <stdbool.h>
#include <stdint.h>

#include "vhost_inflight.h"
#include "vhost_memory.h"
#include "vhost_message.h"

/* Of one chain, whether in the queue's table or in an indirect one. */
#define TM_VHOST_PIECES_MAX TM_VHOST_ENTRIES_MAX

struct tm_vhost_piece {
	uint64_t address;
	uint32_t bytes;
};

/**
 * struct tm_vhost_chain - a request's buffers, all that can be read first
 * @readable: how many pieces the device may read
 * @count: how many in all
 */
struct tm_vhost_chain {
	uint32_t readable;
	uint32_t count;
	uint64_t readable_bytes;
	uint64_t writable_bytes;
	struct tm_vhost_piece pieces[TM_VHOST_PIECES_MAX];
	/* An indirect table, copied once. */
	struct tm_virtio_descriptor table[TM_VHOST_PIECES_MAX];
};

/* Goes through the pieces from @piece to @end. */
struct tm_vhost_cursor {
	struct tmem_guest_memory *guest;
	const struct tm_vhost_chain *chain;
	uint32_t piece;
	uint32_t end;
	uint32_t offset;
};

struct tm_vhost_queue {
	struct tmem_guest_memory *guest;
	uint32_t number;
	uint16_t entries;
	bool uses_event_index;
	uint64_t descriptors; /* guest addresses */
	uint64_t available;
	uint64_t used;
	uint16_t next_available;
	uint16_t seen_available; /* the guest's index, when last read */
	uint16_t used_index;
	uint16_t signalled_used; /* index at the last signal */
	uint16_t resubmit_next;
	uint16_t resubmit_count;
	uint16_t resubmit[TM_VHOST_ENTRIES_MAX];
	struct tm_vhost_notes notes;
	const char *why;
};

/**
 * tm_vhost_queue_start() - find the rings, and where they stand
 * @queue: number, entries, uses_event_index and next_available are set
 * @addr: where the front end has them
 * @area: NULL, or where requests in flight are noted; then that says where to
 *	go on, and next_available is not believed
 *
 * Return: 0, -EPROTO.
 */
int tm_vhost_queue_start(struct tm_vhost_queue *queue,
			 const struct tm_vhost_memory *memory,
			 const struct tm_vhost_vring_addr *addr,
			 struct tm_vhost_area *area);

/* The rings are where they were, in a map of memory that has changed. */
int tm_vhost_queue_move(struct tm_vhost_queue *queue,
			const struct tm_vhost_memory *memory,
			const struct tm_vhost_vring_addr *addr);

/* 1: @head is to be served; 0: nothing is; -EPROTO. */
int tm_vhost_queue_pop(struct tm_vhost_queue *queue, uint16_t *head);

/* What the descriptors from @head on say. 0, -EPROTO. */
int tm_vhost_queue_chain(struct tm_vhost_queue *queue, uint16_t head,
			 struct tm_vhost_chain *chain);

/* It is served, and @bytes were written. 0, -EPROTO. */
int tm_vhost_queue_push(struct tm_vhost_queue *queue, uint16_t head,
			uint32_t bytes);

/* Is the guest to be told of what was pushed? 1, 0, -EPROTO. */
int tm_vhost_queue_must_signal(struct tm_vhost_queue *queue);

/* Does the guest kick for more? Look for requests after saying yes. */
int tm_vhost_queue_want_kicks(struct tm_vhost_queue *queue, bool is_wanted);

void tm_vhost_cursor_readable(struct tm_vhost_cursor *cursor,
			      const struct tm_vhost_queue *queue,
			      const struct tm_vhost_chain *chain);
void tm_vhost_cursor_writable(struct tm_vhost_cursor *cursor,
			      const struct tm_vhost_queue *queue,
			      const struct tm_vhost_chain *chain);
/* The next @bytes; there must be so many. 0, -EFAULT. */
int tm_vhost_cursor_read(struct tm_vhost_cursor *cursor, void *to,
			 uint32_t bytes);
int tm_vhost_cursor_write(struct tm_vhost_cursor *cursor, const void *from,
			  uint32_t bytes);

#endif
