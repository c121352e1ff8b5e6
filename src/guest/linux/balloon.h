/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The balloon driver: moves a guest's frames between the guest and its host
 * until it has as many as it was told to (see balloon.c).
 */
#ifndef TM_BALLOON_H
#define TM_BALLOON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Frame numbers that fit one page: what a single call hands over. */
#define TM_BALLOON_BATCH_64BIT 512
#define TM_BALLOON_BATCH_32BIT 1024
/* Sleeps between attempts, unless told otherwise. */
#define TM_BALLOON_MAX_DELAY_S 32

/* What the last attempt came to. */
enum tm_balloon_state {
	TM_BALLOON_DONE, /* got on */
	TM_BALLOON_AGAIN, /* did not: to be tried again later */
	TM_BALLOON_CANCELLED, /* not to be tried again until told to */
};

/*
 * The guest and its host, as the driver sees them. Frames are numbers of the
 * guest; a call handles at most one batch.
 */
struct tm_balloon_ops {
	/*
	 * Take up to @max frames out of use, from what is free without effort:
	 * no frame is worth a process. They are to be scrubbed if the guest
	 * has secrets. Return: how many.
	 */
	size_t (*take)(void *opaque, uint64_t *frames, size_t max);
	/* Back into use. */
	void (*give)(void *opaque, const uint64_t *frames, size_t count);
	/* Ask the host for memory behind @frames. Return: for how many of them,
	 * from the first, there is some now; or a negative errno. */
	int64_t (*populate)(void *opaque, const uint64_t *frames, size_t count);
	/* Let the host have what is behind @frames. Return: how many it took,
	 * from the first, which is all of them unless something is wrong. */
	int64_t (*release)(void *opaque, const uint64_t *frames, size_t count);
	/* Above what everything can use (32 bits)? NULL: none is. */
	bool (*is_high)(void *opaque, uint64_t frame);
	/* New frames above all others (hotplug). Return: how many now belong to
	 * the guest; or a negative errno. NULL: not to be had. */
	int64_t (*add_memory)(void *opaque, uint64_t pages);
	void *opaque;
};

/* A list of frames with two ends, in one array. */
struct tm_balloon_frames {
	uint64_t *at;
	size_t first;
	size_t count;
	size_t capacity;
};

struct tm_balloon {
	struct tm_balloon_ops ops;
	size_t batch;
	/* statistics, named as in the original */
	uint64_t current_pages;
	uint64_t target_pages;
	uint64_t balloon_low;
	uint64_t balloon_high;
	uint32_t schedule_delay_s;
	uint32_t max_schedule_delay_s;
	uint32_t retry_count;
	uint32_t max_retry_count; /* 0: never gives up */
	uint64_t lent_pages; /* not in the balloon, nor in the guest */
	/* the worker */
	bool is_scheduled;
	uint64_t due_ns;
	struct tm_balloon_frames frames;
};

/*
 * @current_pages: the guest's reservation. A PV guest's is what it was started
 * with less what it released, and not above max_pfn; an HVM guest's max_pfn.
 */
void tm_balloon_init(struct tm_balloon *balloon,
		     const struct tm_balloon_ops *ops, size_t batch,
		     uint64_t current_pages);
void tm_balloon_destroy(struct tm_balloon *balloon);
/* Frames that the guest knows and never had memory for (e820 above its
 * reservation) begin in the balloon. 0 or -ENOMEM. */
int tm_balloon_add_extra(struct tm_balloon *balloon, const uint64_t *frames,
			 size_t count);

/* Never fails, and wakes the worker. */
void tm_balloon_set_target(struct tm_balloon *balloon, uint64_t pages,
			   uint64_t now_ns);
/*
 * What is written to a file of its folder in sysfs: target_kb (KiB; 0x.., 0..
 * and decimal), target (bytes; and K, M, G), max_schedule_delay,
 * max_retry_count. Return: 0, -EPERM, -ENOENT, -EACCES (can only be read),
 * -EINVAL.
 */
int tm_balloon_write(struct tm_balloon *balloon, bool may_write,
		     const char *name, const char *text, uint64_t now_ns);
/* memory/target of xenstore. 0 or -EINVAL. */
int tm_balloon_watch(struct tm_balloon *balloon, const char *text,
		     uint64_t now_ns);

/* One batch at most. */
enum tm_balloon_state tm_balloon_step(struct tm_balloon *balloon);
/* If the worker is due: steps until there is nothing to do, or the next attempt
 * is scheduled, or given up. */
void tm_balloon_work(struct tm_balloon *balloon, uint64_t now_ns);

/*
 * Frames without memory behind them, to map others' pages at. Taken out of the
 * balloon, which is filled first if they are not in it.
 *
 * Return: 0; -ENOMEM: the guest cannot spare so many, and none is lent.
 */
int tm_balloon_lend(struct tm_balloon *balloon, uint64_t *frames, size_t count,
		    bool prefers_high);
/* And back. 0 or -ENOMEM: nothing was taken back. */
int tm_balloon_return(struct tm_balloon *balloon, const uint64_t *frames,
		      size_t count, uint64_t now_ns);

#endif
