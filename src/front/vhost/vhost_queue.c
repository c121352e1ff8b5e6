/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The split virtqueue, whose every byte a guest may change at any moment.
 *
 * The problem: rings and descriptors are indices into each other. One that is
 * read twice may differ the second time; a chain may lead back to where it was,
 * an indirect table into another, an index past the table.
 *
 * The idea: each index and each descriptor is copied once and only the copy is
 * looked at; our own indices are kept here and told, never read back. A chain
 * has at most TM_VHOST_PIECES_MAX descriptors and no more than the table it is
 * in, so a loop ends in a refusal. An indirect table is copied whole, once, and
 * its descriptors may not be indirect. What can be written comes after what can
 * be read. Where the pieces lie is for the guarded copy to find out.
 *
 * Order: an index of the guest is read before what it counts (acquire), ours is
 * written after what it counts (release), and between saying that kicks are
 * wanted and looking once more stands a full barrier, as between counting and
 * reading whether to signal.
 *
 * One thread uses a queue at a time.
 */
#include <config.h>

#include <endian.h>
#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "guest_memory.h"
#include "vhost_queue.h"

static int wrong(struct tm_vhost_queue *queue, const char *why)
{
	queue->why = why;
	return -EPROTO;
}

static int fault(struct tm_vhost_queue *queue)
{
	return wrong(queue, "a ring in memory that is not there");
}

static int load_16(struct tm_vhost_queue *queue, uint64_t at, uint16_t *value)
{
	if (tmem_guest_memory_read(queue->guest, at, value, sizeof(*value)))
		return fault(queue);
	*value = le16toh(*value);
	return 0;
}

static int store_16(struct tm_vhost_queue *queue, uint64_t at, uint16_t value)
{
	value = htole16(value);
	if (tmem_guest_memory_write(queue->guest, at, &value, sizeof(value)))
		return fault(queue);
	return 0;
}

/* Where the other side says at which index it wants to hear of it. */
static uint64_t used_event_at(const struct tm_vhost_queue *queue)
{
	return queue->available + TM_VIRTIO_RING_ENTRIES +
	       queue->entries * sizeof(uint16_t);
}

static uint64_t available_event_at(const struct tm_vhost_queue *queue)
{
	return queue->used + TM_VIRTIO_RING_ENTRIES +
	       queue->entries * sizeof(struct tm_virtio_used);
}

/* --- beginning ----------------------------------------------------------- */

int tm_vhost_queue_move(struct tm_vhost_queue *queue,
			const struct tm_vhost_memory *memory,
			const struct tm_vhost_vring_addr *addr)
{
	uint64_t entries = queue->entries;

	queue->guest = tm_vhost_memory_guest(memory);
	if (tm_vhost_memory_translate(
		    memory, addr->descriptors,
		    entries * sizeof(struct tm_virtio_descriptor),
		    &queue->descriptors) ||
	    tm_vhost_memory_translate(memory, addr->available, 6 + 2 * entries,
				      &queue->available) ||
	    tm_vhost_memory_translate(memory, addr->used, 6 + 8 * entries,
				      &queue->used))
		return wrong(queue, "a ring outside the guest's memory");
	return 0;
}

int tm_vhost_queue_start(struct tm_vhost_queue *queue,
			 const struct tm_vhost_memory *memory,
			 const struct tm_vhost_vring_addr *addr,
			 struct tm_vhost_area *area)
{
	int err = tm_vhost_queue_move(queue, memory, addr);
	int count;

	if (err)
		return err;
	err = load_16(queue, queue->used + TM_VIRTIO_RING_INDEX,
		      &queue->used_index);
	if (err)
		return err;
	count = tm_vhost_notes_open(&queue->notes, area, queue->number,
				    queue->entries, queue->used_index,
				    queue->resubmit);
	if (count < 0)
		return wrong(queue, "requests in flight of another queue");
	if (queue->notes.area)
		queue->next_available = (uint16_t)(queue->used_index + count);
	queue->resubmit_next = 0;
	queue->resubmit_count = (uint16_t)count;
	queue->seen_available = queue->next_available;
	queue->signalled_used = queue->used_index;
	queue->why = NULL;
	return 0;
}

/* --- requests ------------------------------------------------------------ */

static int pop_available(struct tm_vhost_queue *queue, uint16_t *head)
{
	uint16_t waiting;
	int err;

	if (queue->seen_available == queue->next_available) {
		err = load_16(queue, queue->available + TM_VIRTIO_RING_INDEX,
			      &queue->seen_available);
		if (err)
			return err;
		atomic_thread_fence(memory_order_acquire);
	}
	waiting = (uint16_t)(queue->seen_available - queue->next_available);
	if (!waiting)
		return 0;
	if (waiting > queue->entries)
		return wrong(queue, "more requests than the ring has entries");
	err = load_16(queue,
		      queue->available + TM_VIRTIO_RING_ENTRIES +
			      queue->next_available % queue->entries * 2u,
		      head);
	if (err)
		return err;
	if (*head >= queue->entries)
		return wrong(queue, "a request that begins past the table");
	if (tm_vhost_notes_begin(&queue->notes, *head))
		return fault(queue);
	queue->next_available++;
	return 1;
}

int tm_vhost_queue_pop(struct tm_vhost_queue *queue, uint16_t *head)
{
	if (queue->resubmit_next < queue->resubmit_count) {
		*head = queue->resubmit[queue->resubmit_next++];
		return 1;
	}
	return pop_available(queue, head);
}

static int add_piece(struct tm_vhost_queue *queue, struct tm_vhost_chain *chain,
		     const struct tm_virtio_descriptor *descriptor)
{
	uint32_t bytes = le32toh(descriptor->bytes);

	if (le16toh(descriptor->flags) & TM_VIRTIO_WRITE) {
		chain->writable_bytes += bytes;
	} else {
		if (chain->readable != chain->count)
			return wrong(queue,
				     "what can be read after what is written");
		chain->readable_bytes += bytes;
	}
	if (!bytes)
		return 0;
	if (!(le16toh(descriptor->flags) & TM_VIRTIO_WRITE))
		chain->readable++;
	chain->pieces[chain->count++] = (struct tm_vhost_piece){
		.address = le64toh(descriptor->address),
		.bytes = bytes,
	};
	return 0;
}

/* The table that @descriptor stands for; its descriptors' number, or -EPROTO.
 */
static int copy_table(struct tm_vhost_queue *queue,
		      struct tm_vhost_chain *chain,
		      const struct tm_virtio_descriptor *descriptor)
{
	uint32_t bytes = le32toh(descriptor->bytes);

	if (le16toh(descriptor->flags) & TM_VIRTIO_NEXT)
		return wrong(queue, "an indirect table that goes on");
	if (!bytes || bytes % sizeof(*descriptor) ||
	    bytes > sizeof(chain->table))
		return wrong(queue, "an indirect table of such a size");
	if (tmem_guest_memory_read(queue->guest, le64toh(descriptor->address),
				   chain->table, bytes))
		return wrong(queue, "an indirect table that is not there");
	return (int)(bytes / sizeof(*descriptor));
}

static int walk_table(struct tm_vhost_queue *queue,
		      struct tm_vhost_chain *chain, uint16_t count,
		      uint32_t steps)
{
	uint16_t at = 0;

	for (; steps < TM_VHOST_PIECES_MAX; steps++) {
		const struct tm_virtio_descriptor *descriptor =
			&chain->table[at];
		int err;

		if (le16toh(descriptor->flags) & TM_VIRTIO_INDIRECT)
			return wrong(queue, "an indirect table in another");
		err = add_piece(queue, chain, descriptor);
		if (err)
			return err;
		if (!(le16toh(descriptor->flags) & TM_VIRTIO_NEXT))
			return 0;
		at = le16toh(descriptor->next);
		if (at >= count)
			return wrong(queue, "a descriptor past its table");
	}
	return wrong(queue, "descriptors without end");
}

int tm_vhost_queue_chain(struct tm_vhost_queue *queue, uint16_t head,
			 struct tm_vhost_chain *chain)
{
	struct tm_virtio_descriptor descriptor;

	chain->readable = chain->count = 0;
	chain->readable_bytes = chain->writable_bytes = 0;
	for (uint32_t steps = 0; steps < queue->entries; steps++) {
		int err;

		if (head >= queue->entries)
			return wrong(queue, "a descriptor past its table");
		if (tmem_guest_memory_read(queue->guest,
					   queue->descriptors +
						   head * sizeof(descriptor),
					   &descriptor, sizeof(descriptor)))
			return fault(queue);
		if (le16toh(descriptor.flags) & TM_VIRTIO_INDIRECT) {
			int count = copy_table(queue, chain, &descriptor);

			return count < 0 ? count
					 : walk_table(queue, chain,
						      (uint16_t)count, steps);
		}
		err = add_piece(queue, chain, &descriptor);
		if (err)
			return err;
		if (!(le16toh(descriptor.flags) & TM_VIRTIO_NEXT))
			return 0;
		head = le16toh(descriptor.next);
	}
	return wrong(queue, "descriptors without end");
}

int tm_vhost_queue_push(struct tm_vhost_queue *queue, uint16_t head,
			uint32_t bytes)
{
	const struct tm_virtio_used used = { htole32(head), htole32(bytes) };
	uint64_t at = queue->used + TM_VIRTIO_RING_ENTRIES +
		      queue->used_index % queue->entries * sizeof(used);

	if (tm_vhost_notes_end(&queue->notes, head) ||
	    tmem_guest_memory_write(queue->guest, at, &used, sizeof(used)))
		return fault(queue);
	atomic_thread_fence(memory_order_release);
	queue->used_index++;
	if (store_16(queue, queue->used + TM_VIRTIO_RING_INDEX,
		     queue->used_index) ||
	    tm_vhost_notes_ended(&queue->notes, head, queue->used_index))
		return fault(queue);
	return 0;
}

/* --- who wakes whom ------------------------------------------------------ */

int tm_vhost_queue_must_signal(struct tm_vhost_queue *queue)
{
	uint16_t old = queue->signalled_used, event, flags;

	if (queue->used_index == old)
		return 0;
	queue->signalled_used = queue->used_index;
	atomic_thread_fence(memory_order_seq_cst);
	if (!queue->uses_event_index) {
		int err = load_16(
			queue, queue->available + TM_VIRTIO_RING_FLAGS, &flags);

		return err ? err : !(flags & TM_VIRTIO_NO_INTERRUPT);
	}
	if (load_16(queue, used_event_at(queue), &event))
		return -EPROTO;
	/* Did the index pass the one after @event since the last signal? */
	return (uint16_t)(queue->used_index - event - 1) <
	       (uint16_t)(queue->used_index - old);
}

int tm_vhost_queue_want_kicks(struct tm_vhost_queue *queue, bool is_wanted)
{
	int err;

	if (queue->uses_event_index) {
		/* Where it is left behind, it is not reached again soon. */
		if (!is_wanted)
			return 0;
		err = store_16(queue, available_event_at(queue),
			       queue->next_available);
	} else {
		err = store_16(queue, queue->used + TM_VIRTIO_RING_FLAGS,
			       is_wanted ? 0 : TM_VIRTIO_NO_NOTIFY);
	}
	atomic_thread_fence(memory_order_seq_cst);
	return err;
}

/* --- bytes --------------------------------------------------------------- */

void tm_vhost_cursor_readable(struct tm_vhost_cursor *cursor,
			      const struct tm_vhost_queue *queue,
			      const struct tm_vhost_chain *chain)
{
	*cursor = (struct tm_vhost_cursor){
		.guest = queue->guest,
		.chain = chain,
		.piece = 0,
		.end = chain->readable,
	};
}

void tm_vhost_cursor_writable(struct tm_vhost_cursor *cursor,
			      const struct tm_vhost_queue *queue,
			      const struct tm_vhost_chain *chain)
{
	*cursor = (struct tm_vhost_cursor){
		.guest = queue->guest,
		.chain = chain,
		.piece = chain->readable,
		.end = chain->count,
	};
}

/* The next bytes in one piece, @bytes at most; 0 at the end. */
static uint32_t advance(struct tm_vhost_cursor *cursor, uint32_t bytes,
			uint64_t *address)
{
	const struct tm_vhost_piece *piece =
		&cursor->chain->pieces[cursor->piece];
	uint32_t left;

	if (cursor->piece >= cursor->end)
		return 0;
	left = piece->bytes - cursor->offset;
	*address = piece->address + cursor->offset;
	if (bytes < left) {
		cursor->offset += bytes;
		return bytes;
	}
	cursor->piece++;
	cursor->offset = 0;
	return left;
}

int tm_vhost_cursor_read(struct tm_vhost_cursor *cursor, void *to,
			 uint32_t bytes)
{
	while (bytes) {
		uint64_t address = 0;
		uint32_t part = advance(cursor, bytes, &address);

		if (!part ||
		    tmem_guest_memory_read(cursor->guest, address, to, part))
			return -EFAULT;
		to = (char *)to + part;
		bytes -= part;
	}
	return 0;
}

int tm_vhost_cursor_write(struct tm_vhost_cursor *cursor, const void *from,
			  uint32_t bytes)
{
	while (bytes) {
		uint64_t address = 0;
		uint32_t part = advance(cursor, bytes, &address);

		if (!part ||
		    tmem_guest_memory_write(cursor->guest, address, from, part))
			return -EFAULT;
		from = (const char *)from + part;
		bytes -= part;
	}
	return 0;
}
