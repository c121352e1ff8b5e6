/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A get that removes takes the page it copies, and that page is nobody else's.
 *
 * It copied first, let the page go, and then removed "the page of that number"
 * if the handle still led to it. A number is used again at once: with two puts
 * in between it was that of a newer page, which vanished although its put had
 * been acknowledged and nobody had seen it.
 *
 * A get from a private ephemeral pool unlinks first, and copies then; until it
 * had copied, the page's record said that it was live. Whoever comes upon pages
 * by their numbers (eviction, compaction, a walk) took it for one that its
 * shard's lock guards, while the get freed it without, and the next put used it
 * for another.
 *
 * Both moments are too short for a test. What can be held open is the copy: the
 * page that the get copies to cannot be written, and the handler of that fault
 * does what comes in between. What it needs to know lies in the next page.
 */
#include <config.h>

#include <signal.h>
#include <sys/mman.h>

#include "test_store.h"

struct target {
	uint8_t page[TMEM_PAGE_SIZE];
	struct tmem_client *client;
	int pool;
	void (*meanwhile)(struct target *target);
	int puts;
	int walks;
	int met;
};

static void put_two(struct target *target)
{
	struct tmem_oid oid = tm_oid(1);
	uint8_t page[TMEM_PAGE_SIZE];

	for (uint64_t number = 2; number <= 3; number++) {
		tm_page_fill(page, TM_PAGE_HEAP, number);
		target->puts += tmem_put(target->client, target->pool, &oid, 0,
					 page, 0) == TMEM_PUT_STORED;
	}
}

static void walk(struct target *target)
{
	uint8_t page[TMEM_PAGE_SIZE];
	struct tmem_handle handle;
	uint64_t position = 0;

	while (tmem_client_walk(target->client, target->pool, &position,
				&handle, page) == 1)
		target->met++;
	target->walks++;
}

static void come_between(int signal, siginfo_t *info, void *context)
{
	struct target *target = (void *)((uintptr_t)info->si_addr &
					 ~(uintptr_t)(TMEM_PAGE_SIZE - 1));

	(void)signal;
	(void)context;
	mprotect(target, TMEM_PAGE_SIZE, PROT_READ | PROT_WRITE);
	target->meanwhile(target);
}

static struct target *target_make(struct tm_test_store *t, uint32_t flags,
				  void (*meanwhile)(struct target *target))
{
	struct sigaction action = { .sa_sigaction = come_between,
				    .sa_flags = SA_SIGINFO };
	struct target *target = mmap(NULL, 2 * TMEM_PAGE_SIZE,
				     PROT_READ | PROT_WRITE,
				     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ck_assert_ptr_ne(target, MAP_FAILED);
	target->client = t->client;
	target->pool = tm_test_pool(t->client, flags);
	target->meanwhile = meanwhile;
	sigemptyset(&action.sa_mask);
	ck_assert_int_eq(sigaction(SIGSEGV, &action, NULL), 0);
	mprotect(target, TMEM_PAGE_SIZE, PROT_READ);
	return target;
}

START_TEST(get_remove_takes_only_what_it_copied)
{
	struct tmem_oid oid = tm_oid(1);
	uint8_t first[TMEM_PAGE_SIZE];
	struct target *target;
	struct tm_test_store t;

	tm_test_begin(&t, 8 * TM_MIB);
	target = target_make(&t, TMEM_POOL_PERSISTENT, put_two);
	tm_test_put(t.client, target->pool, 1, 0, TM_PAGE_HEAP, 1);
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

START_TEST(what_a_get_takes_is_met_by_nobody_else)
{
	struct tmem_oid oid = tm_oid(1);
	uint8_t first[TMEM_PAGE_SIZE];
	struct target *target;
	struct tm_test_store t;

	tm_test_begin(&t, 8 * TM_MIB);
	target = target_make(&t, 0, walk);
	tm_test_put(t.client, target->pool, 1, 0, TM_PAGE_HEAP, 1);
	ck_assert_int_eq(tmem_get(t.client, target->pool, &oid, 0,
				  target->page, 0),
			 TMEM_GET_HIT);
	ck_assert_int_eq(target->walks, 1);
	ck_assert_int_eq(target->met, 0);
	tm_page_fill(first, TM_PAGE_HEAP, 1);
	ck_assert_mem_eq(target->page, first, sizeof(first));
	munmap(target, 2 * TMEM_PAGE_SIZE);
	tm_test_end(&t);
}
END_TEST

static void add(Suite *suite, const char *name, const TTest *test)
{
	TCase *tcase = tcase_create(name);

	tcase_add_test(tcase, test);
	suite_add_tcase(suite, tcase);
}

#define ADD(test) add(suite, #test, test)

int main(void)
{
	Suite *suite = suite_create("regress: get and remove");

	ADD(get_remove_takes_only_what_it_copied);
	ADD(what_a_get_takes_is_met_by_nobody_else);
	return tm_test_run(suite);
}
