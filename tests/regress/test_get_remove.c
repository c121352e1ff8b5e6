/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A get that removes takes the page it copied, and no other.
 *
 * It copied first, let the page go, and then removed "the page of that number"
 * if the handle still led to it. A number is used again at once: with two puts
 * in between it was that of a newer page, which vanished although its put had
 * been acknowledged and nobody had seen it.
 *
 * That moment is too short for a test: a number is now kept until the page was
 * removed. What can be held open is the copy before it: the page that the get
 * copies to cannot be written, and the handler of that fault makes the two
 * puts. What it needs to know lies in the next page.
 */
#include <config.h>

#include <signal.h>
#include <sys/mman.h>

#include "test_store.h"

struct target {
	uint8_t page[TMEM_PAGE_SIZE];
	struct tmem_client *client;
	int pool;
	int puts;
};

static void put_two(int signal, siginfo_t *info, void *context)
{
	struct target *target = (void *)((uintptr_t)info->si_addr &
					 ~(uintptr_t)(TMEM_PAGE_SIZE - 1));
	struct tmem_oid oid = tm_oid(1);
	uint8_t page[TMEM_PAGE_SIZE];

	(void)signal;
	(void)context;
	mprotect(target, TMEM_PAGE_SIZE, PROT_READ | PROT_WRITE);
	for (uint64_t number = 2; number <= 3; number++) {
		tm_page_fill(page, TM_PAGE_HEAP, number);
		target->puts += tmem_put(target->client, target->pool, &oid, 0,
					 page, 0) == TMEM_PUT_STORED;
	}
}

START_TEST(get_remove_takes_only_what_it_copied)
{
	struct sigaction action = { .sa_sigaction = put_two,
				    .sa_flags = SA_SIGINFO };
	struct tmem_oid oid = tm_oid(1);
	uint8_t first[TMEM_PAGE_SIZE];
	struct target *target;
	struct tm_test_store t;

	tm_test_begin(&t, 8 * TM_MIB);
	target = mmap(NULL, 2 * TMEM_PAGE_SIZE, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne(target, MAP_FAILED);
	target->client = t.client;
	target->pool = tm_test_pool(t.client, TMEM_POOL_PERSISTENT);
	tm_test_put(t.client, target->pool, 1, 0, TM_PAGE_HEAP, 1);
	sigemptyset(&action.sa_mask);
	ck_assert_int_eq(sigaction(SIGSEGV, &action, NULL), 0);
	mprotect(target, TMEM_PAGE_SIZE, PROT_READ);
	ck_assert_int_eq(tmem_get(t.client, target->pool, &oid, 0,
				  target->page, TMEM_GET_REMOVE),
			 TMEM_GET_HIT);
	ck_assert_int_eq(target->puts, 2);
	/* It came before the two puts and the last is there, or after them. */
	tm_page_fill(first, TM_PAGE_HEAP, 1);
	ck_assert_int_eq(tm_test_get(t.client, target->pool, 1, 0, TM_PAGE_HEAP,
				     3),
			 memcmp(target->page, first, sizeof(first)) ?
				 TMEM_GET_MISS :
				 TMEM_GET_HIT);
	munmap(target, 2 * TMEM_PAGE_SIZE);
	tm_test_end(&t);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("regress: get and remove");
	TCase *tcase = tcase_create("get_remove_takes_only_what_it_copied");

	tcase_add_test(tcase, get_remove_takes_only_what_it_copied);
	suite_add_tcase(suite, tcase);
	return tm_test_run(suite);
}
