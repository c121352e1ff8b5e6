/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What zsmalloc promises beyond the contract: density, little metadata, and
 * how it chooses places (src/alloc/alloc_zsmalloc.c).
 *
 * Densities are of sizes made up to look like compressed pages; the bounds
 * are looser than what real pages were measured to give.
 */
#include <config.h>

#include "alloc_rig.h"

extern const struct tmem_allocator tm_allocator_zsmalloc;

static uint64_t seed_start;

static void open_rig(struct rig *rig, uint32_t objects)
{
	rig_open(rig, &tm_allocator_zsmalloc, objects, seed_start);
}

static void fill(struct rig *rig)
{
	for (uint32_t n = 0; n < rig->count; n++)
		rig_assert(rig_alloc(rig, n, rig_page_size(rig), 0));
}

static double density(const struct rig *rig)
{
	uint64_t bytes = 0;

	for (uint32_t n = 0; n < rig->count; n++)
		if (rig->objects[n].handle)
			bytes += rig->objects[n].size;
	return (double)bytes / ((double)rig->held * TMEM_FRAME_SIZE);
}

/* Object @a is replaced by @b, which is placed first, as a store does. */
static void replace(struct rig *rig, uint32_t a, uint32_t b, uint32_t size)
{
	rig_assert(rig_alloc(rig, b, size, 0));
	rig_free(rig, a);
}

/* --- density */

START_TEST(a_filled_store_is_dense)
{
	struct rig rig;

	open_rig(&rig, 12000);
	fill(&rig);
	printf("density %.4f\n", density(&rig));
	ck_assert(density(&rig) >= 0.975);
	rig_close(&rig);
}
END_TEST

/* How dense a store of pages is that have been replaced four times. */
static double churn(uint64_t seed)
{
	struct rig rig;
	uint32_t spare;
	double dense;

	rig_open(&rig, &tm_allocator_zsmalloc, 12001, seed);
	spare = rig.count - 1;
	for (uint32_t n = 0; n < spare; n++)
		rig_assert(rig_alloc(&rig, n, rig_page_size(&rig), 0));
	for (uint32_t i = 0; i < 4 * rig.count; i++) {
		uint32_t n = (uint32_t)rig_random(&rig, rig.count);

		if (n == spare)
			continue;
		replace(&rig, n, spare, rig_page_size(&rig));
		spare = n;
	}
	dense = density(&rig);
	rig_close(&rig);
	return dense;
}

/* It swings about 0.96; one time in a hundred it is caught at 0.95. */
START_TEST(churn_stays_dense_without_a_move)
{
	unsigned good = 0;

	for (unsigned i = 0; i < 5; i++) {
		double dense = churn(seed_start + i);

		printf("density %.4f\n", dense);
		ck_assert(dense >= 0.93);
		good += dense >= 0.955;
	}
	ck_assert_uint_ge(good, 3);
}
END_TEST

START_TEST(moving_makes_a_store_dense_again_with_few_moves)
{
	struct rig rig;
	uint32_t moves = 0;

	open_rig(&rig, 12000);
	fill(&rig);
	for (uint32_t n = 0; n < rig.count; n++)
		if (rig_random(&rig, 10) < 7)
			rig_free(&rig, n);
	for (uint32_t moved; (moved = rig_move(&rig, 64));)
		moves += moved;
	printf("density %.4f, %u moves for %u objects\n", density(&rig), moves,
	       rig.alive);
	ck_assert(density(&rig) >= 0.90);
	ck_assert_uint_le(moves, rig.alive * 3 / 4);
	rig_close(&rig);
}
END_TEST

START_TEST(objects_of_one_size_are_dense)
{
	static const uint32_t sizes[] = { 65,   130,  500,  700,  1030,
					  1275, 1500, 1700, 2056, 2200,
					  2400, 2800, 3000, 3300, 3500 };
	struct rig rig;

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		open_rig(&rig, 3000);
		for (uint32_t n = 0; n < rig.count; n++)
			rig_assert(rig_alloc(&rig, n, sizes[i], 0));
		printf("%u bytes: density %.4f\n", sizes[i], density(&rig));
		ck_assert(density(&rig) >= 0.85);
		if (sizes[i] >= 500 && sizes[i] <= 3000)
			ck_assert(density(&rig) >= 0.94);
		rig_close(&rig);
	}
}
END_TEST

START_TEST(a_size_that_occurs_once_costs_no_run_of_its_own)
{
	struct rig rig;

	open_rig(&rig, TMEM_FRAME_SIZE / 8 - 1);
	for (uint32_t n = 0; n < rig.count; n++)
		rig_assert(rig_alloc(&rig, n, (n + 1) * 8, 0));
	printf("density %.4f\n", density(&rig));
	ck_assert(density(&rig) >= 0.92);
	rig_close(&rig);
}
END_TEST

START_TEST(the_smallest_objects_fill_frames)
{
	struct rig rig;

	open_rig(&rig, 2560);
	for (uint32_t n = 0; n < rig.count; n++)
		rig_assert(rig_alloc(&rig, n, 1 + n % 16, 0));
	ck_assert_uint_eq(rig.held, rig.count / 256);
	rig_close(&rig);
}
END_TEST

/* --- metadata */

START_TEST(metadata_is_a_few_bytes_for_each_object)
{
	struct rig rig;

	open_rig(&rig, 12000);
	fill(&rig);
	printf("%.1f bytes\n",
	       (double)rig_stats(&rig).metadata_bytes / rig.count);
	/* A slab and a leaf may be nearly empty, and there are the heads. */
	ck_assert_uint_le(rig_stats(&rig).metadata_bytes,
			  12 * rig.count + 32 * 1024 + 20 * 1024 + 20 * 1024);
	rig_close(&rig);
}
END_TEST

START_TEST(a_whole_frame_needs_no_record)
{
	struct rig rig;
	uint64_t one;

	/* As many frames as one leaf of the frame map holds, or fewer. */
	open_rig(&rig, 4000);
	rig_assert(rig_alloc(&rig, 0, TMEM_FRAME_SIZE, 0));
	one = rig_stats(&rig).metadata_bytes;
	for (uint32_t n = 1; n < rig.count; n++)
		rig_assert(rig_alloc(&rig, n, TMEM_FRAME_SIZE, 0));
	ck_assert_uint_eq(rig_stats(&rig).metadata_bytes, one);
	ck_assert_uint_eq(rig.held, rig.count);
	rig_close(&rig);
}
END_TEST

START_TEST(records_are_used_again)
{
	struct rig rig;
	uint64_t once;

	open_rig(&rig, 3000);
	fill(&rig);
	once = rig_stats(&rig).metadata_bytes;
	for (int round = 0; round < 20; round++) {
		rig_free_all(&rig);
		fill(&rig);
	}
	ck_assert_uint_le(rig_stats(&rig).metadata_bytes, once * 2);
	rig_close(&rig);
}
END_TEST

/* --- places */

START_TEST(an_object_goes_to_the_gap_that_fits_it_best)
{
	struct rig rig;
	uint8_t *gaps[4];

	open_rig(&rig, 400);
	for (uint32_t n = 0; n < rig.count; n++)
		rig_assert(rig_alloc(&rig, n, 1000, 0));
	/* Far from each other, gaps of one, two and three objects. */
	for (uint32_t i = 1; i < 4; i++) {
		uint32_t n = 100 * i;

		while (rig_address(&rig, rig.objects[n + 2].handle) !=
		       rig_address(&rig, rig.objects[n].handle) + 2000)
			n++;
		gaps[i] = rig_address(&rig, rig.objects[n].handle);
		for (uint32_t j = 0; j < i; j++)
			rig_free(&rig, n + j);
	}
	for (uint32_t i = 1; i < 4; i++) {
		uint64_t handle =
			rig.table->alloc(rig.instance, 1000 * i - 3, 0, 0);

		ck_assert_ptr_eq(rig_address(&rig, handle), gaps[i]);
	}
	rig_close(&rig);
}
END_TEST

START_TEST(neighbouring_gaps_join)
{
	struct rig rig;
	uint32_t gets;

	open_rig(&rig, 20);
	/* One run, full but for a rest. */
	for (uint32_t n = 0; n < 12; n++)
		rig_assert(rig_alloc(&rig, n, 1000, 0));
	gets = rig.gets;
	rig_free(&rig, 4);
	rig_free(&rig, 6);
	rig_free(&rig, 5);
	rig_assert(rig_alloc(&rig, 12, 3000, 0));
	ck_assert_uint_eq(rig.gets, gets);
	rig_check(&rig);
	rig_close(&rig);
}
END_TEST

START_TEST(a_move_does_not_go_to_the_run_that_is_being_emptied)
{
	struct rig rig;
	struct tmem_victim victims[64];
	uint32_t count;

	open_rig(&rig, 8000);
	for (uint32_t n = 0; n < rig.count; n++)
		rig_assert(rig_alloc(&rig, n, 1000, 0));
	/* All runs alike, so that each is as good a place as any. */
	for (uint32_t n = 0; n < rig.count; n += 2)
		rig_free(&rig, n);
	for (int round = 0; round < 50; round++) {
		uint32_t low = UINT32_MAX, high = 0;

		count = rig.table->victims(rig.instance, 0, victims, 64);
		for (uint32_t v = 0; v < count; v++) {
			uint32_t f = rig_frame(&rig, victims[v].handle);

			low = f < low ? f : low;
			high = f > high ? f : high;
		}
		for (uint32_t v = 0; v < count; v++) {
			struct rig_object *o = &rig.objects[victims[v].owner];
			uint64_t to = rig.table->alloc(rig.instance, o->size,
						       victims[v].owner,
						       TMEM_ALLOC_MOVE);
			uint32_t f;

			if (!to)
				continue;
			f = rig_frame(&rig, to);
			rig_assert(f < low || f > high);
			memcpy(rig_address(&rig, to),
			       rig_address(&rig, o->handle), o->size);
			rig.table->free(rig.instance, o->handle, 0);
			o->handle = to;
		}
	}
	rig_check(&rig);
	rig_close(&rig);
}
END_TEST

START_TEST(a_run_that_was_to_be_emptied_is_used_before_frames_are_taken)
{
	struct rig rig;
	struct tmem_victim victims[64];
	uint32_t full, before, after;

	open_rig(&rig, 16000);
	for (uint32_t n = 0; n < 8000; n++)
		rig_assert(rig_alloc(&rig, n, 1000, 0));
	full = rig.held;
	for (uint32_t n = 0; n < 8000; n++)
		if (rig_random(&rig, 10) < 7)
			rig_free(&rig, n);
	ck_assert_uint_gt(rig.table->victims(rig.instance, 0, victims, 64), 0);
	before = rig.held;
	rig.limit = rig.held;
	for (uint32_t n = 8000; n < rig.count; n++)
		rig_alloc(&rig, n, 1000, 0);
	after = 0;
	for (uint32_t n = 0; n < rig.count; n++)
		after += rig.objects[n].handle != 0;
	/* As many as there were in so many frames: no room is lost. */
	ck_assert_uint_ge(after, 8000 * before / full - 8);
	ck_assert_uint_eq(rig.held, before);
	rig_check(&rig);
	rig_close(&rig);
}
END_TEST

static void *alloc_elsewhere(void *opaque)
{
	struct rig *rig = opaque;

	for (uint32_t n = 0; n < rig->count; n++)
		if (!rig->objects[n].handle && !rig_alloc(rig, n, 1000, 0))
			return NULL;
	return rig;
}

START_TEST(a_thread_uses_the_gaps_that_others_left)
{
	struct rig rig;
	uint32_t held;

	open_rig(&rig, 4000);
	for (uint32_t n = 0; n < rig.count; n++)
		rig_assert(rig_alloc(&rig, n, 1000, 0));
	held = rig.held;
	for (int round = 0; round < 12; round++) {
		pthread_t thread;
		void *result;

		for (uint32_t n = 0; n < rig.count; n += 2)
			rig_free(&rig, n);
		pthread_create(&thread, NULL, alloc_elsewhere, &rig);
		pthread_join(thread, &result);
		ck_assert_ptr_nonnull(result);
	}
	ck_assert_uint_le(rig.held, held + 8);
	rig_check(&rig);
	rig_close(&rig);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("zsmalloc");
	TCase *dense = tcase_create("density");
	TCase *metadata = tcase_create("metadata");
	TCase *places = tcase_create("places");

	seed_start = tm_test_seed();
	tcase_add_test(dense, a_filled_store_is_dense);
	tcase_add_test(dense, churn_stays_dense_without_a_move);
	tcase_add_test(dense, moving_makes_a_store_dense_again_with_few_moves);
	tcase_add_test(dense, objects_of_one_size_are_dense);
	tcase_add_test(dense, a_size_that_occurs_once_costs_no_run_of_its_own);
	tcase_add_test(dense, the_smallest_objects_fill_frames);
	tcase_add_test(metadata, metadata_is_a_few_bytes_for_each_object);
	tcase_add_test(metadata, a_whole_frame_needs_no_record);
	tcase_add_test(metadata, records_are_used_again);
	tcase_add_test(places, an_object_goes_to_the_gap_that_fits_it_best);
	tcase_add_test(places, neighbouring_gaps_join);
	tcase_add_test(places,
		       a_move_does_not_go_to_the_run_that_is_being_emptied);
	tcase_add_test(
		places,
		a_run_that_was_to_be_emptied_is_used_before_frames_are_taken);
	tcase_add_test(places, a_thread_uses_the_gaps_that_others_left);
	tcase_set_timeout(dense, 30);
	suite_add_tcase(suite, dense);
	suite_add_tcase(suite, metadata);
	suite_add_tcase(suite, places);
	return tm_test_run(suite);
}
