/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The balloon driver: a target comes from the host or from inside the guest,
 * and frames move until there are as many.
 *
 * The problem: neither side can be forced. The host may have no memory when
 * the guest wants some back, and the guest may have nothing free when the host
 * asks. So a step moves one batch, and what cannot be done now is tried again,
 * after 2, 4, 8, 16, 32, 32, ... seconds, for ever or max_retry_count times. A
 * part is progress: it ends the waiting.
 *
 * A frame is in use by the guest, or in the balloon, or lent (mapped to another
 * domain's page):
 *
 *	guest's frames = in use + low + high + lent
 *	current        = in use, and what the kernel keeps
 *
 * Low frames are at the head of the list and are the first to come back, since
 * everything can use them; whoever prefers high ones takes from the tail.
 *
 * The target is clamped to what there are frames for, unless frames can be
 * added. The original trusts the host to take back every frame it is given;
 * ours keeps what was not taken, and tries again.
 *
 * No locks: one thread at a time. Time is the caller's.
 */
#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "balloon.h"
#include "size.h"

#define NS_PER_S UINT64_C(1000000000)
#define PAGE_SIZE_BYTES 4096

/* --- the list ---------------------------------------------------------- */

static int reserve_frames(struct tm_balloon_frames *list, size_t count)
{
	size_t capacity = list->capacity ? list->capacity : 1024;
	uint64_t *at;

	while (capacity - list->count < count)
		capacity *= 2;
	if (capacity == list->capacity)
		return 0;
	at = malloc(capacity * sizeof(*at));
	if (!at)
		return -ENOMEM;
	for (size_t i = 0; i < list->count; i++)
		at[i] = list->at[(list->first + i) & (list->capacity - 1)];
	free(list->at);
	*list = (struct tm_balloon_frames){ .at = at,
					    .count = list->count,
					    .capacity = capacity };
	return 0;
}

/* There is room: reserve_frames(). */
static void insert_frame(struct tm_balloon *balloon, uint64_t frame)
{
	struct tm_balloon_frames *list = &balloon->frames;
	size_t mask = list->capacity - 1;

	if (balloon->ops.is_high &&
	    balloon->ops.is_high(balloon->ops.opaque, frame)) {
		list->at[(list->first + list->count) & mask] = frame;
		balloon->balloon_high++;
	} else {
		list->first = (list->first - 1) & mask;
		list->at[list->first] = frame;
		balloon->balloon_low++;
	}
	list->count++;
}

static uint64_t remove_frame(struct tm_balloon *balloon, bool from_tail)
{
	struct tm_balloon_frames *list = &balloon->frames;
	size_t mask = list->capacity - 1;
	size_t place = from_tail ? list->first + list->count - 1 : list->first;
	uint64_t frame = list->at[place & mask];

	if (!from_tail)
		list->first = (list->first + 1) & mask;
	list->count--;
	if (balloon->ops.is_high &&
	    balloon->ops.is_high(balloon->ops.opaque, frame))
		balloon->balloon_high--;
	else
		balloon->balloon_low--;
	return frame;
}

/* --- coming up --------------------------------------------------------- */

void tm_balloon_init(struct tm_balloon *balloon,
		     const struct tm_balloon_ops *ops, size_t batch,
		     uint64_t current_pages)
{
	*balloon = (struct tm_balloon){
		.ops = *ops,
		.batch = batch < TM_BALLOON_BATCH_32BIT
				 ? batch
				 : TM_BALLOON_BATCH_32BIT,
		.current_pages = current_pages,
		.target_pages = current_pages,
		.schedule_delay_s = 1,
		.max_schedule_delay_s = TM_BALLOON_MAX_DELAY_S,
		.retry_count = 1,
	};
}

void tm_balloon_destroy(struct tm_balloon *balloon)
{
	free(balloon->frames.at);
	balloon->frames = (struct tm_balloon_frames){ 0 };
}

int tm_balloon_add_extra(struct tm_balloon *balloon, const uint64_t *frames,
			 size_t count)
{
	if (reserve_frames(&balloon->frames, count))
		return -ENOMEM;
	for (size_t i = 0; i < count; i++)
		insert_frame(balloon, frames[i]);
	return 0;
}

/* --- targets ----------------------------------------------------------- */

void tm_balloon_set_target(struct tm_balloon *balloon, uint64_t pages,
			   uint64_t now_ns)
{
	balloon->target_pages = pages;
	balloon->is_scheduled = true;
	balloon->due_ns = now_ns;
}

/* A whole number in C's notation, and a newline. */
static int parse_number(const char *text, int base, uint64_t *number)
{
	char *end;

	if (*text < '0' || *text > '9')
		return -EINVAL;
	errno = 0;
	*number = strtoull(text, &end, base);
	if (errno || (*end && strcmp(end, "\n")))
		return -EINVAL;
	return 0;
}

static int write_target_kb(struct tm_balloon *balloon, const char *text,
			   uint64_t now_ns)
{
	uint64_t kib;

	if (parse_number(text, 0, &kib))
		return -EINVAL;
	tm_balloon_set_target(balloon, kib / (PAGE_SIZE_BYTES >> 10), now_ns);
	return 0;
}

static int write_target(struct tm_balloon *balloon, const char *text,
			uint64_t now_ns)
{
	char word[64];
	size_t length = strlen(text);
	uint64_t bytes;

	if (length && text[length - 1] == '\n')
		length--;
	if (!length || length >= sizeof(word))
		return -EINVAL;
	memcpy(word, text, length);
	word[length] = '\0';
	if (tm_size_parse(word, &bytes))
		return -EINVAL;
	tm_balloon_set_target(balloon, bytes / PAGE_SIZE_BYTES, now_ns);
	return 0;
}

static int write_u32(uint32_t *value, const char *text)
{
	uint64_t number;

	if (parse_number(text, 0, &number) || number > UINT32_MAX)
		return -EINVAL;
	*value = (uint32_t)number;
	return 0;
}

int tm_balloon_write(struct tm_balloon *balloon, bool may_write,
		     const char *name, const char *text, uint64_t now_ns)
{
	static const char *const constant[] = { "schedule_delay", "retry_count",
						"info/current_kb",
						"info/low_kb", "info/high_kb" };

	if (!may_write)
		return -EPERM;
	if (!strcmp(name, "target_kb"))
		return write_target_kb(balloon, text, now_ns);
	if (!strcmp(name, "target"))
		return write_target(balloon, text, now_ns);
	if (!strcmp(name, "max_schedule_delay"))
		return write_u32(&balloon->max_schedule_delay_s, text);
	if (!strcmp(name, "max_retry_count"))
		return write_u32(&balloon->max_retry_count, text);
	for (size_t i = 0; i < sizeof(constant) / sizeof(constant[0]); i++)
		if (!strcmp(name, constant[i]))
			return -EACCES;
	return -ENOENT;
}

int tm_balloon_watch(struct tm_balloon *balloon, const char *text,
		     uint64_t now_ns)
{
	uint64_t kib;

	if (parse_number(text, 10, &kib))
		return -EINVAL;
	tm_balloon_set_target(balloon, kib >> 2, now_ns);
	return 0;
}

/* --- moving frames ----------------------------------------------------- */

static size_t least(uint64_t a, size_t b)
{
	return a < b ? (size_t)a : b;
}

static enum tm_balloon_state add_memory(struct tm_balloon *balloon,
					uint64_t pages)
{
	int64_t added;

	if (!balloon->ops.add_memory) {
		/* There is nothing to populate, and never will be. */
		balloon->target_pages = balloon->current_pages;
		return TM_BALLOON_DONE;
	}
	added = balloon->ops.add_memory(balloon->ops.opaque, pages);
	if (added <= 0)
		return TM_BALLOON_AGAIN;
	balloon->current_pages += (uint64_t)added;
	return TM_BALLOON_DONE;
}

/* Out of the balloon: the host puts memory behind the first frames of the list,
 * and the guest has them again. */
static enum tm_balloon_state populate(struct tm_balloon *balloon,
				      uint64_t pages)
{
	const struct tm_balloon_frames *list = &balloon->frames;
	uint64_t frames[TM_BALLOON_BATCH_32BIT];
	size_t count = least(pages, balloon->batch);
	int64_t got;

	count = least(list->count, count);
	if (!count)
		return add_memory(balloon, pages);
	for (size_t i = 0; i < count; i++)
		frames[i] = list->at[(list->first + i) & (list->capacity - 1)];
	got = balloon->ops.populate(balloon->ops.opaque, frames, count);
	if (got <= 0)
		return TM_BALLOON_AGAIN;
	count = least((uint64_t)got, count);
	for (size_t i = 0; i < count; i++)
		remove_frame(balloon, false);
	balloon->ops.give(balloon->ops.opaque, frames, count);
	balloon->current_pages += count;
	return TM_BALLOON_DONE;
}

/* Into the balloon. */
static enum tm_balloon_state release(struct tm_balloon *balloon, uint64_t pages)
{
	uint64_t frames[TM_BALLOON_BATCH_32BIT];
	size_t wanted = least(pages, balloon->batch);
	size_t count, taken = 0;
	int64_t got;

	wanted = least(balloon->current_pages, wanted);
	if (reserve_frames(&balloon->frames, wanted))
		return TM_BALLOON_AGAIN;
	count = balloon->ops.take(balloon->ops.opaque, frames, wanted);
	if (!count)
		return TM_BALLOON_AGAIN;
	got = balloon->ops.release(balloon->ops.opaque, frames, count);
	if (got > 0)
		taken = least((uint64_t)got, count);
	if (taken < count)
		balloon->ops.give(balloon->ops.opaque, frames + taken,
				  count - taken);
	for (size_t i = 0; i < taken; i++)
		insert_frame(balloon, frames[i]);
	balloon->current_pages -= taken;
	return taken < wanted ? TM_BALLOON_AGAIN : TM_BALLOON_DONE;
}

static void clamp_target(struct tm_balloon *balloon)
{
	uint64_t most = balloon->current_pages + balloon->frames.count;

	if (!balloon->ops.add_memory && balloon->target_pages > most)
		balloon->target_pages = most;
}

enum tm_balloon_state tm_balloon_step(struct tm_balloon *balloon)
{
	clamp_target(balloon);
	if (balloon->target_pages > balloon->current_pages)
		return populate(balloon,
				balloon->target_pages - balloon->current_pages);
	if (balloon->target_pages < balloon->current_pages)
		return release(balloon,
			       balloon->current_pages - balloon->target_pages);
	return TM_BALLOON_DONE;
}

/* --- the worker -------------------------------------------------------- */

static enum tm_balloon_state update_schedule(struct tm_balloon *balloon,
					     enum tm_balloon_state state)
{
	uint64_t delay_s = (uint64_t)balloon->schedule_delay_s * 2;

	if (state == TM_BALLOON_DONE) {
		balloon->schedule_delay_s = 1;
		balloon->retry_count = 1;
		return state;
	}
	balloon->retry_count++;
	if (balloon->max_retry_count &&
	    balloon->retry_count > balloon->max_retry_count) {
		balloon->schedule_delay_s = 1;
		balloon->retry_count = 1;
		return TM_BALLOON_CANCELLED;
	}
	if (delay_s > balloon->max_schedule_delay_s)
		delay_s = balloon->max_schedule_delay_s;
	balloon->schedule_delay_s = (uint32_t)delay_s;
	return state;
}

void tm_balloon_work(struct tm_balloon *balloon, uint64_t now_ns)
{
	enum tm_balloon_state state;

	if (!balloon->is_scheduled || now_ns < balloon->due_ns)
		return;
	balloon->is_scheduled = false;
	do {
		state = update_schedule(balloon, tm_balloon_step(balloon));
	} while (state == TM_BALLOON_DONE &&
		 balloon->target_pages != balloon->current_pages);
	if (state == TM_BALLOON_AGAIN) {
		balloon->is_scheduled = true;
		balloon->due_ns = now_ns + balloon->schedule_delay_s * NS_PER_S;
	}
}

/* --- lending ----------------------------------------------------------- */

int tm_balloon_lend(struct tm_balloon *balloon, uint64_t *frames, size_t count,
		    bool prefers_high)
{
	while (balloon->frames.count < count) {
		size_t before = balloon->frames.count;

		release(balloon, count - before);
		if (balloon->frames.count == before)
			return -ENOMEM;
	}
	for (size_t i = 0; i < count; i++)
		frames[i] = remove_frame(balloon, prefers_high);
	balloon->lent_pages += count;
	return 0;
}

int tm_balloon_return(struct tm_balloon *balloon, const uint64_t *frames,
		      size_t count, uint64_t now_ns)
{
	int err = tm_balloon_add_extra(balloon, frames, count);

	if (err)
		return err;
	balloon->lent_pages -= count;
	/* What was filled for lending alone is wanted back. */
	if (balloon->target_pages != balloon->current_pages)
		tm_balloon_set_target(balloon, balloon->target_pages, now_ns);
	return 0;
}
