/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Requests in flight, noted where a successor finds them.
 *
 * The problem: a back end that dies has taken requests from the available ring
 * and not put them into the used ring. The guest waits for them, and nothing in
 * the rings says which they are.
 *
 * The idea is the protocol's: the front end keeps an area of memory for us,
 * where each queue has a line for each head. A line is marked before its
 * request is looked at, and unmarked after the used ring has it:
 *
 *	counter, is_inflight = 1;  (work)  next, last_batch_head;
 *	used ring's index + 1;  is_inflight = 0, used_index
 *
 * Dead between the last two, the used ring is one ahead of used_index: those
 * requests are done, and unmarked on the way back in. So at any moment
 *	taken = used + marked
 * and that is where the available ring is gone on with; the marked ones come
 * first, in the order of their counters. All requests may be done twice.
 *
 * The area is the peer's to change: it is touched through guarded copies, and
 * no more is believed of it than that a head below the queue's size is to be
 * looked at once more. Used by the thread that serves the queue, or while that
 * is parked.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "guest_memory.h"
#include "vhost_inflight.h"
#include "vhost_message.h"

struct tm_vhost_area {
	struct tm_vhost_inflight inflight;
	struct tmem_guest_memory *memory;
	int fd;
	void *base;
	size_t mapped_bytes;
};

static uint64_t queue_bytes(uint16_t entries)
{
	uint64_t bytes = sizeof(struct tm_vhost_inflight_queue) +
			 entries * sizeof(struct tm_vhost_inflight_entry);

	return (bytes + TM_VHOST_INFLIGHT_ALIGN - 1) / TM_VHOST_INFLIGHT_ALIGN *
	       TM_VHOST_INFLIGHT_ALIGN;
}

static uint64_t round_up(uint64_t bytes, uint64_t to_bytes)
{
	return (bytes + to_bytes - 1) / to_bytes * to_bytes;
}

static uint64_t whole_pages(uint64_t bytes)
{
	return round_up(bytes, TMEM_PAGE_SIZE);
}

int tm_vhost_area_make(struct tm_vhost_inflight *inflight)
{
	int fd = memfd_create("tmem-vhost-inflight",
			      MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0)
		return -errno;
	inflight->map_offset = 0;
	inflight->map_bytes = whole_pages(inflight->queues *
					  queue_bytes(inflight->queue_size));
	if (ftruncate(fd, (off_t)inflight->map_bytes) ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL)) {
		int err = -errno;

		close(fd);
		return err;
	}
	return fd;
}

static int map(struct tm_vhost_area *area)
{
	const struct tm_vhost_inflight *inflight = &area->inflight;
	uint64_t bytes;
	struct stat st;
	int seals = fcntl(area->fd, F_GET_SEALS);

	/* Ours, or another's that kept the same rule: then it cannot shrink. */
	if (seals < 0 || !(seals & F_SEAL_SHRINK) || fstat(area->fd, &st))
		return -EPROTO;
	if (inflight->map_offset % TMEM_PAGE_SIZE ||
	    inflight->map_bytes <
		    inflight->queues * queue_bytes(inflight->queue_size) ||
	    inflight->map_offset > (uint64_t)st.st_size ||
	    inflight->map_bytes > (uint64_t)st.st_size - inflight->map_offset)
		return -EPROTO;
	bytes = whole_pages(inflight->queues *
			    queue_bytes(inflight->queue_size));
	area->mapped_bytes =
		(size_t)round_up(bytes, tm_guest_memory_align_bytes(&st));
	area->base = mmap(NULL, area->mapped_bytes, PROT_READ | PROT_WRITE,
			  MAP_SHARED, area->fd, (off_t)inflight->map_offset);
	if (area->base == MAP_FAILED)
		return -ENOMEM;
	if (!tmem_guest_memory_create(&area->memory) &&
	    !tmem_guest_memory_add(area->memory, 0, bytes / TMEM_PAGE_SIZE,
				   area->base, true))
		return 0;
	tmem_guest_memory_destroy(area->memory);
	munmap(area->base, area->mapped_bytes);
	return -ENOMEM;
}

int tm_vhost_area_open(const struct tm_vhost_inflight *inflight, int fd,
		       struct tm_vhost_area **out)
{
	struct tm_vhost_area *area = calloc(1, sizeof(*area));
	int err = -ENOMEM;

	if (area) {
		area->inflight = *inflight;
		area->fd = fd;
		err = map(area);
	}
	if (err) {
		free(area);
		close(fd);
		return err;
	}
	*out = area;
	return 0;
}

void tm_vhost_area_close(struct tm_vhost_area *area)
{
	if (!area)
		return;
	tmem_guest_memory_destroy(area->memory);
	munmap(area->base, area->mapped_bytes);
	close(area->fd);
	free(area);
}

int tm_vhost_area_describe(const struct tm_vhost_area *area,
			   struct tm_vhost_inflight *inflight)
{
	*inflight = area->inflight;
	return area->fd;
}

/* --- one queue's notes --------------------------------------------------- */

static uint64_t entry_at(const struct tm_vhost_notes *notes, uint16_t head)
{
	return notes->at + sizeof(struct tm_vhost_inflight_queue) +
	       head * sizeof(struct tm_vhost_inflight_entry);
}

static int store(struct tm_vhost_notes *notes, uint64_t at, const void *from,
		 size_t size)
{
	return tmem_guest_memory_write(notes->area->memory, at, from, size);
}

static int set_inflight(struct tm_vhost_notes *notes, uint16_t head,
			uint8_t is_inflight)
{
	return store(
		notes,
		entry_at(notes, head) +
			offsetof(struct tm_vhost_inflight_entry, is_inflight),
		&is_inflight, sizeof(is_inflight));
}

static int set_used(struct tm_vhost_notes *notes, uint16_t used_index)
{
	return store(notes,
		     notes->at + offsetof(struct tm_vhost_inflight_queue,
					  used_index),
		     &used_index, sizeof(used_index));
}

/* Nothing is in flight: the notes are new, or of another life of the rings,
 * whose driver has begun anew. Returns 0, -EFAULT. */
static int begin_notes(struct tm_vhost_notes *notes, uint16_t used_index)
{
	const struct tm_vhost_inflight_queue queue = {
		.version = TM_VHOST_INFLIGHT_VERSION,
		.entries = notes->entries,
		.used_index = used_index,
	};

	for (uint16_t head = 0; head < notes->entries; head++)
		if (set_inflight(notes, head, 0))
			return -EFAULT;
	return store(notes, notes->at, &queue, sizeof(queue));
}

/* The last batch got into the used ring, and was not unmarked. */
static int finish_batch(struct tm_vhost_notes *notes,
			const struct tm_vhost_inflight_queue *queue,
			uint16_t used_index)
{
	uint16_t count = (uint16_t)(used_index - queue->used_index);
	uint16_t head = queue->last_batch_head;
	int err = 0;

	while (count-- && !err) {
		if (head >= notes->entries)
			return -EPROTO;
		err = set_inflight(notes, head, 0);
		if (!err)
			err = tmem_guest_memory_read(
				notes->area->memory,
				entry_at(notes, head) +
					offsetof(struct tm_vhost_inflight_entry,
						 next),
				&head, sizeof(head));
	}
	return err ? err : set_used(notes, used_index);
}

struct marked {
	uint64_t counter;
	uint16_t head;
};

static int compare_counters(const void *a, const void *b)
{
	const struct marked *x = a, *y = b;

	return (x->counter > y->counter) - (x->counter < y->counter);
}

static int list_marked(struct tm_vhost_notes *notes, uint16_t *heads)
{
	struct marked marked[TM_VHOST_ENTRIES_MAX];
	int count = 0;

	for (uint16_t head = 0; head < notes->entries; head++) {
		struct tm_vhost_inflight_entry entry;
		int err = tmem_guest_memory_read(notes->area->memory,
						 entry_at(notes, head), &entry,
						 sizeof(entry));

		if (err)
			return err;
		if (entry.counter >= notes->counter)
			notes->counter = entry.counter + 1;
		if (entry.is_inflight)
			marked[count++] =
				(struct marked){ entry.counter, head };
	}
	qsort(marked, (size_t)count, sizeof(marked[0]), compare_counters);
	for (int i = 0; i < count; i++)
		heads[i] = marked[i].head;
	return count;
}

int tm_vhost_notes_open(struct tm_vhost_notes *notes,
			struct tm_vhost_area *area, uint32_t queue,
			uint16_t entries, uint16_t used_index, uint16_t *heads)
{
	struct tm_vhost_inflight_queue state;
	int err;

	memset(notes, 0, sizeof(*notes));
	if (!area)
		return 0;
	/* More queues than the front end wanted notes of have none. */
	if (queue >= area->inflight.queues)
		return 0;
	if (entries > area->inflight.queue_size)
		return -EPROTO;
	notes->area = area;
	notes->entries = entries;
	notes->at = queue * queue_bytes(area->inflight.queue_size);
	err = tmem_guest_memory_read(area->memory, notes->at, &state,
				     sizeof(state));
	if (err)
		return err;
	if (state.version > TM_VHOST_INFLIGHT_VERSION)
		return -EPROTO;
	if (!state.version || state.entries != entries ||
	    (uint16_t)(used_index - state.used_index) > entries)
		return begin_notes(notes, used_index);
	err = finish_batch(notes, &state, used_index);
	return err ? err : list_marked(notes, heads);
}

int tm_vhost_notes_begin(struct tm_vhost_notes *notes, uint16_t head)
{
	uint64_t counter = notes->counter++;
	int err;

	if (!notes->area)
		return 0;
	err = store(notes,
		    entry_at(notes, head) +
			    offsetof(struct tm_vhost_inflight_entry, counter),
		    &counter, sizeof(counter));
	return err ? err : set_inflight(notes, head, 1);
}

int tm_vhost_notes_end(struct tm_vhost_notes *notes, uint16_t head)
{
	if (!notes->area)
		return 0;
	return store(notes,
		     notes->at + offsetof(struct tm_vhost_inflight_queue,
					  last_batch_head),
		     &head, sizeof(head));
}

int tm_vhost_notes_ended(struct tm_vhost_notes *notes, uint16_t head,
			 uint16_t used_index)
{
	int err;

	if (!notes->area)
		return 0;
	err = set_inflight(notes, head, 0);
	return err ? err : set_used(notes, used_index);
}
