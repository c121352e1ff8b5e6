/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reopening an arena that nothing happened to reports no damage.
 *
 * Slots of codecs and allocators that no surviving page needs were taken back
 * first; pages that died with their ephemeral pool then named nobody, and were
 * reported as damaged records.
 */
#include <config.h>

#include <unistd.h>

#include "test_store.h"

START_TEST(ephemeral_pages_of_their_own_codec_are_no_damage)
{
	struct tm_test_store t;
	char path[64];
	int ephemeral, persistent;

	snprintf(path, sizeof(path), "/dev/shm/tmem-reopen-%d", (int)getpid());
	unlink(path);
	tm_test_init(&t, 8 * TM_MIB);
	t.config.arena = path;
	t.config.codec = "none";
	t.config.allocator = "zbud";
	tm_test_open(&t);
	ephemeral = tm_test_pool(t.client, 0);
	persistent = tm_test_pool(t.client, TMEM_POOL_PERSISTENT);
	for (uint32_t i = 0; i < 20; i++)
		tm_test_put(t.client, persistent, 1, i, TM_PAGE_HEAP, i);
	ck_assert_int_eq(tmem_store_set_codec(t.store, NULL), 0);
	ck_assert_int_eq(tmem_store_set_allocator(t.store, "zsmalloc"), 0);
	for (uint32_t i = 0; i < 20; i++)
		tm_test_put(t.client, ephemeral, 1, i, TM_PAGE_HEAP, i);
	tm_test_end(&t);
	ck_assert_int_eq(tmem_store_open(&t.config, &t.store), 0);
	t.client = tm_test_attach(t.store, "client");
	ck_assert_uint_eq(tm_test_stats(t.store).recovered_pages, 20);
	ck_assert_msg(t.errors == 0, "%s", t.error);
	tm_test_end(&t);
	unlink(path);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("regress: reopening");
	TCase *tcase = tcase_create("reopen");

	tcase_add_test(tcase,
		       ephemeral_pages_of_their_own_codec_are_no_damage);
	suite_add_tcase(suite, tcase);
	return tm_test_run(suite);
}
