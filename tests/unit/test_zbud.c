/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What zbud promises beyond the contract: where buddies lie, and which frame
 * an object joins (src/alloc/alloc_zbud.c).
 */
#include <config.h>

#include "alloc_rig.h"

extern const struct tmem_allocator tm_allocator_zbud;

static uint64_t seed_start;

static void open_rig(struct rig *rig, uint32_t objects)
{
	rig_open(rig, &tm_allocator_zbud, objects, seed_start);
}

static uint32_t offset(struct rig *rig, uint32_t n)
{
	return (uint32_t)((size_t)(rig_address(rig, rig->objects[n].handle) -
				   rig->frames.base) %
			  TMEM_FRAME_SIZE);
}

static uint32_t frame(struct rig *rig, uint32_t n)
{
	return rig_frame(rig, rig->objects[n].handle);
}

START_TEST(buddies_lie_at_both_ends_of_a_frame)
{
	struct rig rig;

	open_rig(&rig, 2);
	rig_assert(rig_alloc(&rig, 0, 1000, 0));
	rig_assert(rig_alloc(&rig, 1, 100, 0));
	ck_assert_uint_eq(rig.held, 1);
	ck_assert_uint_eq(offset(&rig, 0), 0);
	/* 100 bytes are two chunks of 64. */
	ck_assert_uint_eq(offset(&rig, 1), TMEM_FRAME_SIZE - 128);
	rig_check(&rig);
	rig_close(&rig);
}
END_TEST

START_TEST(a_frame_has_two_objects_at_most)
{
	struct rig rig;

	open_rig(&rig, 100);
	for (uint32_t n = 0; n < rig.count; n++)
		rig_assert(rig_alloc(&rig, n, 10, 0));
	ck_assert_uint_eq(rig.held, rig.count / 2);
	rig_close(&rig);
}
END_TEST

START_TEST(buddies_fill_a_frame_to_the_last_chunk)
{
	struct rig rig;

	for (uint32_t chunks = 1; chunks < 64; chunks++) {
		open_rig(&rig, 3);
		rig_assert(rig_alloc(&rig, 0, chunks * 64, 0));
		/* One chunk too many, then just enough. */
		if (chunks > 1) {
			rig_assert(rig_alloc(&rig, 1, (65 - chunks) * 64, 0));
			ck_assert_uint_eq(rig.held, 2);
		}
		rig_assert(rig_alloc(&rig, 2, (64 - chunks) * 64, 0));
		ck_assert_uint_eq(frame(&rig, 2), frame(&rig, 0));
		rig_check(&rig);
		rig_close(&rig);
	}
}
END_TEST

START_TEST(an_object_joins_the_fullest_frame_that_holds_it)
{
	struct rig rig;

	open_rig(&rig, 6);
	/* All above half a frame: they cannot pair up with each other. */
	rig_assert(rig_alloc(&rig, 0, 2200, 0));
	rig_assert(rig_alloc(&rig, 1, 3500, 0));
	rig_assert(rig_alloc(&rig, 2, 2800, 0));
	ck_assert_uint_eq(rig.held, 3);
	rig_assert(rig_alloc(&rig, 3, 1000, 0));
	ck_assert_uint_eq(frame(&rig, 3), frame(&rig, 2));
	rig_assert(rig_alloc(&rig, 4, 300, 0));
	ck_assert_uint_eq(frame(&rig, 4), frame(&rig, 1));
	rig_assert(rig_alloc(&rig, 5, 300, 0));
	ck_assert_uint_eq(frame(&rig, 5), frame(&rig, 0));
	rig_close(&rig);
}
END_TEST

START_TEST(an_object_may_have_a_frame_to_itself)
{
	struct rig rig;

	open_rig(&rig, 3);
	rig_assert(rig_alloc(&rig, 0, TMEM_FRAME_SIZE, 0));
	rig_assert(rig_alloc(&rig, 1, 4033, 0));
	rig_assert(rig_alloc(&rig, 2, 1, 0));
	ck_assert_uint_eq(rig.held, 3);
	rig_check(&rig);
	rig_close(&rig);
}
END_TEST

START_TEST(lone_objects_are_paired_up)
{
	struct rig rig;
	uint32_t moves = 0;

	open_rig(&rig, 1000);
	for (uint32_t n = 0; n < rig.count; n++)
		rig_assert(rig_alloc(&rig, n, 1500, 0));
	ck_assert_uint_eq(rig.held, 500);
	for (uint32_t n = 0; n < rig.count; n += 2)
		rig_free(&rig, n);
	ck_assert_uint_eq(rig.held, 500);
	for (uint32_t moved; (moved = rig_move(&rig, 64));)
		moves += moved;
	/* Of two, one has moved. */
	ck_assert_uint_eq(rig.held, 250);
	ck_assert_uint_eq(moves, 250);
	rig_check(&rig);
	rig_close(&rig);
}
END_TEST

START_TEST(what_cannot_pair_up_is_not_moved)
{
	struct rig rig;

	open_rig(&rig, 500);
	for (uint32_t n = 0; n < rig.count; n++)
		rig_assert(rig_alloc(&rig, n, 2100, 0));
	ck_assert_uint_eq(rig_move(&rig, 64), 0);
	for (uint32_t n = 0; n < rig.count; n += 3)
		ck_assert_uint_eq(rig_free(&rig, n), 0);
	rig_close(&rig);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("zbud");
	TCase *places = tcase_create("places");
	TCase *moves = tcase_create("moves");

	seed_start = tm_test_seed();
	tcase_add_test(places, buddies_lie_at_both_ends_of_a_frame);
	tcase_add_test(places, a_frame_has_two_objects_at_most);
	tcase_add_test(places, buddies_fill_a_frame_to_the_last_chunk);
	tcase_add_test(places, an_object_joins_the_fullest_frame_that_holds_it);
	tcase_add_test(places, an_object_may_have_a_frame_to_itself);
	tcase_add_test(moves, lone_objects_are_paired_up);
	tcase_add_test(moves, what_cannot_pair_up_is_not_moved);
	suite_add_tcase(suite, places);
	suite_add_tcase(suite, moves);
	return tm_test_run(suite);
}
