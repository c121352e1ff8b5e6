/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The balloon driver between a guest and a host that the test plays: who has
 * which frame at any time, how fast it tries again, and what it is told.
 */
#include <config.h>

#include <errno.h>
#include <string.h>

#include "balloon.h"
#include "harness.h"

#define S UINT64_C(1000000000)
#define FRAMES 4096

struct play {
	bool in_use[FRAMES]; /* the guest can use it */
	bool backed[FRAMES]; /* the host has memory behind it */
	uint64_t free_pages; /* of the guest: it can spare so many */
	uint64_t host_pages; /* the host has so many left */
	uint64_t first_high;
	size_t largest_batch;
	unsigned calls;
	int64_t release_short; /* the host takes so many less */
	int64_t added; /* what hotplug answers */
};

static size_t play_take(void *opaque, uint64_t *frames, size_t max)
{
	struct play *play = opaque;
	size_t count = 0;

	for (uint64_t f = FRAMES; f-- && count < max && play->free_pages;) {
		if (!play->in_use[f])
			continue;
		play->in_use[f] = false;
		play->free_pages--;
		frames[count++] = f;
	}
	return count;
}

static void play_give(void *opaque, const uint64_t *frames, size_t count)
{
	struct play *play = opaque;

	for (size_t i = 0; i < count; i++) {
		ck_assert(play->backed[frames[i]]);
		ck_assert(!play->in_use[frames[i]]);
		play->in_use[frames[i]] = true;
		play->free_pages++;
	}
}

static int64_t play_populate(void *opaque, const uint64_t *frames, size_t count)
{
	struct play *play = opaque;
	size_t done;

	play->calls++;
	if (count > play->largest_batch)
		play->largest_batch = count;
	if (!play->host_pages)
		return -ENOMEM;
	for (done = 0; done < count && play->host_pages; done++) {
		ck_assert(!play->backed[frames[done]]);
		play->backed[frames[done]] = true;
		play->host_pages--;
	}
	return (int64_t)done;
}

static int64_t play_release(void *opaque, const uint64_t *frames, size_t count)
{
	struct play *play = opaque;
	int64_t done = (int64_t)count - play->release_short;

	play->calls++;
	if (count > play->largest_batch)
		play->largest_batch = count;
	for (int64_t i = 0; i < done; i++) {
		ck_assert(play->backed[frames[i]]);
		play->backed[frames[i]] = false;
		play->host_pages++;
	}
	return done;
}

static bool play_is_high(void *opaque, uint64_t frame)
{
	struct play *play = opaque;

	return frame >= play->first_high;
}

static int64_t play_add(void *opaque, uint64_t pages)
{
	struct play *play = opaque;

	(void)pages;
	return play->added;
}

static void start(struct tm_balloon *balloon, struct play *play, size_t pages)
{
	const struct tm_balloon_ops ops = {
		.take = play_take,
		.give = play_give,
		.populate = play_populate,
		.release = play_release,
		.is_high = play_is_high,
		.opaque = play,
	};

	*play = (struct play){ .free_pages = pages, .first_high = FRAMES };
	for (size_t i = 0; i < pages; i++)
		play->in_use[i] = play->backed[i] = true;
	tm_balloon_init(balloon, &ops, TM_BALLOON_BATCH_64BIT, pages);
}

static void check_sum(const struct tm_balloon *balloon, const struct play *play)
{
	uint64_t in_use = 0;

	for (size_t i = 0; i < FRAMES; i++)
		in_use += play->in_use[i];
	ck_assert_uint_eq(in_use, balloon->current_pages);
	ck_assert_uint_eq(balloon->frames.count,
			  balloon->balloon_low + balloon->balloon_high);
}

START_TEST(down_and_up_again_in_batches)
{
	struct tm_balloon balloon;
	struct play play;

	start(&balloon, &play, 4000);
	tm_balloon_set_target(&balloon, 1000, 0);
	tm_balloon_work(&balloon, 0);
	ck_assert_uint_eq(balloon.current_pages, 1000);
	ck_assert_uint_eq(balloon.balloon_low, 3000);
	ck_assert_uint_eq(play.host_pages, 3000);
	ck_assert_uint_eq(play.largest_batch, 512);
	ck_assert_uint_eq(play.calls, 6); /* 5 x 512 + 440 */
	check_sum(&balloon, &play);
	tm_balloon_set_target(&balloon, 4000, 0);
	tm_balloon_work(&balloon, 0);
	ck_assert_uint_eq(balloon.current_pages, 4000);
	ck_assert_uint_eq(balloon.balloon_low, 0);
	ck_assert(!balloon.is_scheduled);
	check_sum(&balloon, &play);
	tm_balloon_destroy(&balloon);
}
END_TEST

START_TEST(retries_sleep_2_4_8_16_32_32)
{
	static const uint64_t sleeps_s[] = { 2, 4, 8, 16, 32, 32 };
	struct tm_balloon balloon;
	struct play play;
	uint64_t now = 0;

	start(&balloon, &play, 1000);
	tm_balloon_set_target(&balloon, 500, now);
	tm_balloon_work(&balloon, now);
	play.host_pages = 0; /* somebody else has it */
	tm_balloon_set_target(&balloon, 1000, now);
	for (size_t i = 0; i < 6; i++) {
		tm_balloon_work(&balloon, now);
		ck_assert(balloon.is_scheduled);
		ck_assert_uint_eq(balloon.due_ns - now, sleeps_s[i] * S);
		/* Not before. */
		tm_balloon_work(&balloon, balloon.due_ns - 1);
		now = balloon.due_ns;
	}
	play.host_pages = 500;
	tm_balloon_work(&balloon, now);
	ck_assert_uint_eq(balloon.current_pages, 1000);
	ck_assert_uint_eq(balloon.schedule_delay_s, 1);
	ck_assert_uint_eq(balloon.retry_count, 1);
	tm_balloon_destroy(&balloon);
}
END_TEST

START_TEST(gives_up_after_max_retry_count)
{
	struct tm_balloon balloon;
	struct play play;
	uint64_t now = 0;
	int attempts = 0;

	start(&balloon, &play, 1000);
	ck_assert_int_eq(
		tm_balloon_write(&balloon, true, "max_retry_count", "3", 0), 0);
	play.free_pages = 0;
	tm_balloon_set_target(&balloon, 500, now);
	while (balloon.is_scheduled) {
		tm_balloon_work(&balloon, now);
		now = balloon.due_ns;
		attempts++;
	}
	ck_assert_int_eq(attempts, 3);
	ck_assert_uint_eq(balloon.current_pages, 1000);
	/* Being told again starts anew. */
	play.free_pages = 1000;
	tm_balloon_set_target(&balloon, 500, now);
	tm_balloon_work(&balloon, now);
	ck_assert_uint_eq(balloon.current_pages, 500);
	tm_balloon_destroy(&balloon);
}
END_TEST

START_TEST(partial_populate_is_progress)
{
	struct tm_balloon balloon;
	struct play play;

	start(&balloon, &play, 1000);
	tm_balloon_set_target(&balloon, 500, 0);
	tm_balloon_work(&balloon, 0);
	play.host_pages = 7;
	tm_balloon_set_target(&balloon, 1000, 0);
	ck_assert_int_eq(tm_balloon_step(&balloon), TM_BALLOON_DONE);
	ck_assert_uint_eq(balloon.current_pages, 507);
	check_sum(&balloon, &play);
	ck_assert_int_eq(tm_balloon_step(&balloon), TM_BALLOON_AGAIN);
	tm_balloon_destroy(&balloon);
}
END_TEST

START_TEST(what_guest_can_spare_goes_and_the_rest_is_retried)
{
	struct tm_balloon balloon;
	struct play play;

	start(&balloon, &play, 1000);
	play.free_pages = 100;
	tm_balloon_set_target(&balloon, 500, 0);
	tm_balloon_work(&balloon, 0);
	ck_assert_uint_eq(balloon.current_pages, 900);
	ck_assert(balloon.is_scheduled);
	check_sum(&balloon, &play);
	tm_balloon_destroy(&balloon);
}
END_TEST

START_TEST(frames_the_host_does_not_take_stay_the_guests)
{
	struct tm_balloon balloon;
	struct play play;

	start(&balloon, &play, 1000);
	play.release_short = 3;
	tm_balloon_set_target(&balloon, 900, 0);
	tm_balloon_work(&balloon, 0);
	ck_assert_uint_eq(balloon.current_pages, 903);
	ck_assert(balloon.is_scheduled);
	check_sum(&balloon, &play);
	tm_balloon_destroy(&balloon);
}
END_TEST

START_TEST(low_frames_come_back_first)
{
	struct tm_balloon balloon;
	struct play play;
	uint64_t frame;

	start(&balloon, &play, 1000);
	play.first_high = 900;
	tm_balloon_set_target(&balloon, 800, 0); /* takes 999 down to 800 */
	tm_balloon_work(&balloon, 0);
	ck_assert_uint_eq(balloon.balloon_low, 100);
	ck_assert_uint_eq(balloon.balloon_high, 100);
	tm_balloon_set_target(&balloon, 850, 0);
	tm_balloon_work(&balloon, 0);
	ck_assert_uint_eq(balloon.balloon_low, 50);
	ck_assert_uint_eq(balloon.balloon_high, 100);
	/* Who prefers high ones has them, while there are any. */
	ck_assert_int_eq(tm_balloon_lend(&balloon, &frame, 1, true), 0);
	ck_assert_uint_ge(frame, 900);
	ck_assert_int_eq(tm_balloon_lend(&balloon, &frame, 1, false), 0);
	ck_assert_uint_lt(frame, 900);
	tm_balloon_destroy(&balloon);
}
END_TEST

START_TEST(lent_frames_are_not_in_the_balloon)
{
	struct tm_balloon balloon;
	struct play play;
	uint64_t frames[600];

	start(&balloon, &play, 1000);
	/* Nothing is in it: it is filled, below its target. */
	ck_assert_int_eq(tm_balloon_lend(&balloon, frames, 600, false), 0);
	ck_assert_uint_eq(balloon.lent_pages, 600);
	ck_assert_uint_eq(balloon.frames.count, 0);
	ck_assert_uint_eq(balloon.current_pages, 400);
	/* They cannot come back while they are lent. */
	tm_balloon_set_target(&balloon, 1000, 0);
	tm_balloon_work(&balloon, 0);
	ck_assert_uint_eq(balloon.current_pages, 400);
	ck_assert_int_eq(tm_balloon_lend(&balloon, frames, 500, false),
			 -ENOMEM);
	ck_assert_uint_eq(balloon.lent_pages, 600);
	tm_balloon_destroy(&balloon);
}
END_TEST

START_TEST(returned_frames_wake_the_worker)
{
	struct tm_balloon balloon;
	struct play play;
	uint64_t frames[10];

	start(&balloon, &play, 1000);
	ck_assert_int_eq(tm_balloon_lend(&balloon, frames, 10, false), 0);
	ck_assert_int_eq(tm_balloon_return(&balloon, frames, 10, 5 * S), 0);
	ck_assert(balloon.is_scheduled);
	tm_balloon_work(&balloon, 5 * S);
	ck_assert_uint_eq(balloon.current_pages, 1000);
	check_sum(&balloon, &play);
	tm_balloon_destroy(&balloon);
}
END_TEST

START_TEST(target_is_clamped_to_known_frames)
{
	struct tm_balloon balloon;
	struct play play;
	uint64_t extra[] = { 1000, 1001, 1002 };

	start(&balloon, &play, 1000);
	play.host_pages = 100;
	ck_assert_int_eq(tm_balloon_add_extra(&balloon, extra, 3), 0);
	ck_assert_uint_eq(balloon.current_pages, 1000);
	tm_balloon_set_target(&balloon, 9999, 0);
	tm_balloon_work(&balloon, 0);
	ck_assert_uint_eq(balloon.current_pages, 1003);
	ck_assert_uint_eq(balloon.target_pages, 1003);
	tm_balloon_destroy(&balloon);
}
END_TEST

START_TEST(hotplug_goes_beyond_known_frames)
{
	struct tm_balloon balloon;
	struct play play;

	start(&balloon, &play, 1000);
	balloon.ops.add_memory = play_add;
	play.added = -ENOMEM;
	tm_balloon_set_target(&balloon, 1100, 0);
	tm_balloon_work(&balloon, 0);
	ck_assert(balloon.is_scheduled);
	play.added = 100;
	tm_balloon_work(&balloon, balloon.due_ns);
	ck_assert_uint_eq(balloon.current_pages, 1100);
	tm_balloon_destroy(&balloon);
}
END_TEST

START_TEST(targets_come_in_each_notation)
{
	static const struct {
		const char *name, *text;
		uint64_t pages;
	} rows[] = {
		{ "target_kb", "4000", 1000 },
		{ "target_kb", "0x400", 256 },
		{ "target_kb", "010000\n", 1024 },
		{ "target", "4096", 1 },
		{ "target", "2M", 512 },
		{ "target", "1G\n", 262144 },
		{ "target", "64K", 16 },
	};
	struct tm_balloon balloon;
	struct play play;

	start(&balloon, &play, 1000);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		ck_assert_int_eq(tm_balloon_write(&balloon, true, rows[i].name,
						  rows[i].text, 0),
				 0);
		ck_assert_uint_eq(balloon.target_pages, rows[i].pages);
	}
	ck_assert_int_eq(tm_balloon_watch(&balloon, "4003", 0), 0);
	ck_assert_uint_eq(balloon.target_pages, 1000);
	tm_balloon_destroy(&balloon);
}
END_TEST

START_TEST(nonsense_moves_no_target)
{
	static const char *const wrong[] = { "",
					     "\n",
					     "-4000",
					     " 4000",
					     "lots",
					     "4000 apples",
					     "99999999999999999999999" };
	static const char *const names[] = { "target_kb", "target",
					     "max_schedule_delay",
					     "max_retry_count" };
	struct tm_balloon balloon;
	struct play play;

	start(&balloon, &play, 1000);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		for (size_t k = 0; k < 4; k++)
			ck_assert_int_eq(tm_balloon_write(&balloon, true,
							  names[k], wrong[i],
							  0),
					 -EINVAL);
		ck_assert_int_eq(tm_balloon_watch(&balloon, wrong[i], 0),
				 -EINVAL);
	}
	ck_assert_int_eq(tm_balloon_write(&balloon, false, "target_kb", "1", 0),
			 -EPERM);
	ck_assert_int_eq(
		tm_balloon_write(&balloon, true, "retry_count", "1", 0),
		-EACCES);
	ck_assert_int_eq(tm_balloon_write(&balloon, true, "current", "1", 0),
			 -ENOENT);
	ck_assert_uint_eq(balloon.target_pages, 1000);
	ck_assert(!balloon.is_scheduled);
	/* Huge is not nonsense: it is clamped when it is worked on. */
	ck_assert_int_eq(tm_balloon_write(&balloon, true, "target_kb",
					  "18446744073709551615", 0),
			 0);
	tm_balloon_work(&balloon, 0);
	ck_assert_uint_eq(balloon.target_pages, 1000);
	tm_balloon_destroy(&balloon);
}
END_TEST

START_TEST(frames_are_never_in_two_places)
{
	uint64_t seed = tm_test_seed(), lent_count = 0;
	struct tm_balloon balloon;
	struct play play;
	uint64_t lent[FRAMES];

	start(&balloon, &play, 2000);
	play.first_high = 1200;
	for (int i = 0; i < 500; i++) {
		uint64_t dice = tm_test_random(&seed);

		if (dice % 4 == 0 && lent_count < 1000 &&
		    !tm_balloon_lend(&balloon, lent + lent_count, dice / 8 % 20,
				     dice & 4))
			lent_count += dice / 8 % 20;
		else if (dice % 4 == 1 && lent_count)
			lent_count -= !tm_balloon_return(
				&balloon, &lent[lent_count - 1], 1, 0);
		tm_balloon_set_target(&balloon, dice / 64 % 2200, 0);
		tm_balloon_work(&balloon, 0);
		check_sum(&balloon, &play);
		ck_assert_uint_eq(balloon.current_pages + balloon.frames.count +
					  balloon.lent_pages,
				  2000);
		ck_assert_uint_eq(balloon.lent_pages, lent_count);
	}
	tm_balloon_destroy(&balloon);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("balloon");
	TCase *moving = tcase_create("moving"), *told = tcase_create("told");

	tcase_add_test(moving, down_and_up_again_in_batches);
	tcase_add_test(moving, retries_sleep_2_4_8_16_32_32);
	tcase_add_test(moving, gives_up_after_max_retry_count);
	tcase_add_test(moving, partial_populate_is_progress);
	tcase_add_test(moving,
		       what_guest_can_spare_goes_and_the_rest_is_retried);
	tcase_add_test(moving, frames_the_host_does_not_take_stay_the_guests);
	tcase_add_test(moving, low_frames_come_back_first);
	tcase_add_test(moving, lent_frames_are_not_in_the_balloon);
	tcase_add_test(moving, returned_frames_wake_the_worker);
	tcase_add_test(moving, target_is_clamped_to_known_frames);
	tcase_add_test(moving, hotplug_goes_beyond_known_frames);
	tcase_add_test(moving, frames_are_never_in_two_places);
	suite_add_tcase(suite, moving);
	tcase_add_test(told, targets_come_in_each_notation);
	tcase_add_test(told, nonsense_moves_no_target);
	suite_add_tcase(suite, told);
	return tm_test_run(suite);
}
