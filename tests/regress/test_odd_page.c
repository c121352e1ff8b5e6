/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A caller's page may begin anywhere.
 *
 * Pages of one word were recognised and filled through pointers to words, which
 * is undefined where the page does not begin at one: a request of NBD may begin
 * at any byte. Where the processor does not mind, UBSan does.
 */
#include <config.h>

#include "test_store.h"

START_TEST(a_page_may_begin_anywhere)
{
	static const enum tm_page_kind kinds[] = { TM_PAGE_HEAP, TM_PAGE_SAME };
	uint8_t in[TMEM_PAGE_SIZE + 8], out[TMEM_PAGE_SIZE + 8];
	struct tmem_oid oid = tm_oid(1);
	struct tm_test_store t;
	int pool;

	tm_test_begin(&t, 8 * TM_MIB);
	pool = tm_test_pool(t.client, TMEM_POOL_PERSISTENT);
	for (uint32_t odd = 0; odd < 8; odd++)
		for (uint32_t kind = 0; kind < 2; kind++) {
			tm_page_fill(in + odd, kinds[kind], odd + 1);
			ck_assert_int_eq(tmem_put(t.client, pool, &oid, kind,
						  in + odd, 0),
					 TMEM_PUT_STORED);
			ck_assert_int_eq(tmem_get(t.client, pool, &oid, kind,
						  out + 7 - odd, 0),
					 TMEM_GET_HIT);
			ck_assert_mem_eq(in + odd, out + 7 - odd,
					 TMEM_PAGE_SIZE);
		}
	tm_test_end(&t);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("regress: odd page");
	TCase *tcase = tcase_create("a_page_may_begin_anywhere");

	tcase_add_test(tcase, a_page_may_begin_anywhere);
	suite_add_tcase(suite, tcase);
	return tm_test_run(suite);
}
