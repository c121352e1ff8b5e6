/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A swap disk: what its requests promise, one by one.
 */
#include <config.h>

#include <pthread.h>

#include "disk_rig.h"

START_TEST(what_was_never_written_reads_as_zeros)
{
	struct disk_rig rig;

	rig_begin(&rig, 4 * TM_MIB, 100);
	for (uint64_t b = 0; b < 100; b++)
		ck_assert_int_eq(rig_read(&rig, b, 0), 0);
	ck_assert_uint_eq(rig_info(&rig).blocks_in_tmem, 0);
	rig_end(&rig);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("disk_swap");
	TCase *tc = tcase_create("swap");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, what_was_never_written_reads_as_zeros);
	suite_add_tcase(suite, tc);
	return tm_test_run(suite);
}
