/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Records of many sizes from slabs (src/alloc/records.h), and the table of
 * frames beside them (src/alloc/frame_map.h).
 */
#include <config.h>

#include "harness.h"
#include "test_host.h"

#include "frame_map.h"
#include "records.h"

#include <stdbool.h>

#define COUNT 3000u

struct record {
	uint32_t id;
	uint32_t units;
	uint8_t byte;
};

static void set(const struct tm_records *records, const struct record *record)
{
	memset(tm_records_at(records, record->id), record->byte,
	       record->units * TM_RECORDS_UNIT);
}

static bool is_intact(const struct tm_records *records,
		      const struct record *record)
{
	const uint8_t *at = tm_records_at(records, record->id);

	for (uint32_t i = 0; i < record->units * TM_RECORDS_UNIT; i++)
		if (at[i] != record->byte)
			return false;
	return true;
}

START_TEST(records_never_overlap)
{
	struct tm_test_host test;
	struct tm_records records;
	struct record *list = calloc(COUNT, sizeof(*list));
	uint64_t seed = tm_test_seed();

	tm_test_host_init(&test);
	tm_records_init(&records, &test.host);
	for (uint32_t i = 0; i < 20 * COUNT; i++) {
		struct record *record = &list[tm_test_random(&seed) % COUNT];

		if (record->id) {
			if (!is_intact(&records, record))
				ck_abort_msg("a record was overwritten");
			tm_records_free(&records, record->id, record->units);
			record->id = 0;
			continue;
		}
		record->units = 1 + (uint32_t)(tm_test_random(&seed) %
					       TM_RECORDS_UNITS_MAX);
		record->byte = (uint8_t)i;
		record->id = tm_records_alloc(&records, record->units);
		if (!record->id)
			ck_abort_msg("no record");
		set(&records, record);
	}
	ck_assert_uint_gt(records.slabs, 2);
	tm_records_destroy(&records);
	ck_assert_uint_eq(test.used_bytes, 0);
	free(list);
}
END_TEST

START_TEST(a_longer_free_record_is_split_before_a_slab_is_made)
{
	struct tm_test_host test;
	struct tm_records records;
	uint32_t ids[512];
	uint32_t count = 0;

	tm_test_host_init(&test);
	tm_records_init(&records, &test.host);
	do
		ids[count++] = tm_records_alloc(&records, 64);
	while (records.slabs == 1);
	while (count--)
		tm_records_free(&records, ids[count], 64);
	for (uint32_t i = 0; i < 2 * TM_RECORDS_SLAB_UNITS / 8 - 16; i++)
		if (!tm_records_alloc(&records, 8))
			ck_abort_msg("no record");
	ck_assert_uint_eq(records.slabs, 2);
	tm_records_destroy(&records);
}
END_TEST

START_TEST(records_without_memory_are_0_and_later_work)
{
	struct tm_test_host test;
	struct tm_records records;

	tm_test_host_init(&test);
	tm_records_init(&records, &test.host);
	for (size_t allocs = 0; allocs < 2; allocs++) {
		atomic_store(&test.allocs_left, allocs);
		ck_assert_uint_eq(tm_records_alloc(&records, 10), 0);
	}
	atomic_store(&test.allocs_left, SIZE_MAX);
	ck_assert_uint_ne(tm_records_alloc(&records, 10), 0);
	ck_assert_uint_eq(tm_records_bytes(&records), test.used_bytes);
	tm_records_destroy(&records);
	ck_assert_uint_eq(test.used_bytes, 0);
}
END_TEST

START_TEST(a_leaf_is_made_once_and_only_where_it_is_used)
{
	struct tm_test_host test;
	struct tm_frame_map map;
	void *leaf;

	tm_test_host_init(&test);
	ck_assert_int_eq(tm_frame_map_init(&map, &test.host, 1u << 20, 10, 64),
			 0);
	ck_assert_ptr_null(tm_frame_map_leaf(&map, 5000));
	leaf = tm_frame_map_make(&map, 5000);
	ck_assert_ptr_nonnull(leaf);
	ck_assert_ptr_eq(tm_frame_map_make(&map, 4096), leaf);
	ck_assert_ptr_eq(tm_frame_map_leaf(&map, 5119), leaf);
	ck_assert_ptr_null(tm_frame_map_leaf(&map, 5120));
	ck_assert_ptr_null(tm_frame_map_leaf(&map, 4095));
	ck_assert_uint_eq(tm_frame_map_bytes(&map), test.used_bytes);
	atomic_store(&test.allocs_left, 0);
	ck_assert_ptr_null(tm_frame_map_make(&map, 0));
	tm_frame_map_destroy(&map);
	ck_assert_uint_eq(test.used_bytes, 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("records");
	TCase *records = tcase_create("records");
	TCase *frames = tcase_create("frame_map");

	tcase_add_test(records, records_never_overlap);
	tcase_add_test(records,
		       a_longer_free_record_is_split_before_a_slab_is_made);
	tcase_add_test(records, records_without_memory_are_0_and_later_work);
	tcase_add_test(frames, a_leaf_is_made_once_and_only_where_it_is_used);
	suite_add_tcase(suite, records);
	suite_add_tcase(suite, frames);
	return tm_test_run(suite);
}
