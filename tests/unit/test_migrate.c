/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Walking a client's pages, and the log of those that go meanwhile: what saving
 * and migrating stand on.
 */
#include <config.h>

#include "test_store.h"

#include "held_reaper.h"

#define PERSISTENT TMEM_POOL_PERSISTENT
#define MANY 3000

static int begin(struct tm_test_store *t, uint32_t pages)
{
	int pool;

	tm_test_init(t, 32 * TM_MIB);
	tm_test_open(t);
	pool = tm_test_pool(t->client, PERSISTENT);
	for (uint32_t i = 0; i < pages; i++)
		ck_assert_int_eq(tm_test_put(t->client, pool, i / 100, i,
					     i % TM_PAGE_KINDS, i),
				 TMEM_PUT_STORED);
	return pool;
}

static void freeze(struct tm_test_store *t, bool migrates)
{
	ck_assert_int_eq(tmem_client_set_frozen(t->client, true), 0);
	if (migrates)
		ck_assert_int_eq(tmem_client_set_migrating(t->client, true), 0);
}

/* Walks; the number of pages met, each marked in @met. */
static uint32_t walk(struct tm_test_store *t, int pool, uint8_t met[MANY])
{
	uint8_t page[TMEM_PAGE_SIZE], expected[TMEM_PAGE_SIZE];
	struct tmem_handle handle;
	uint64_t position = 0;
	uint32_t pages = 0;

	memset(met, 0, MANY);
	while (tmem_client_walk(t->client, pool, &position, &handle, page) ==
	       1) {
		ck_assert_int_eq((int)handle.pool, pool);
		ck_assert_uint_lt(handle.index, MANY);
		ck_assert_uint_eq(handle.oid.word[0],
				  tm_oid(handle.index / 100).word[0]);
		tm_page_fill(expected, handle.index % TM_PAGE_KINDS,
			     handle.index);
		ck_assert_mem_eq(page, expected, sizeof(page));
		ck_assert_uint_eq(met[handle.index]++, 0);
		pages++;
	}
	return pages;
}

/* 0, 1, 2 and many: the historical walk lost the first page of each pool. */
START_TEST(walk_meets_every_page_once)
{
	static const uint32_t counts[] = { 0, 1, 2, MANY };
	struct tm_test_store t;
	uint8_t met[MANY];
	int pool = begin(&t, counts[_i]);

	freeze(&t, false);
	ck_assert_uint_eq(walk(&t, pool, met), counts[_i]);
	/* And once more: nothing of the first walk is left. */
	ck_assert_uint_eq(walk(&t, pool, met), counts[_i]);
	tm_test_end(&t);
}
END_TEST

START_TEST(walk_keeps_to_its_pool)
{
	struct tm_test_store t;
	uint8_t met[MANY], page[TMEM_PAGE_SIZE];
	struct tmem_client *other;
	struct tmem_handle handle;
	uint64_t position = 0;
	int pool = begin(&t, 100);
	int mine = tm_test_pool(t.client, PERSISTENT);

	other = tm_test_attach(t.store, "other");
	tm_test_put(other, tm_test_pool(other, PERSISTENT), 1, 1, TM_PAGE_TEXT,
		    1);
	tm_test_put(t.client, mine, 1, 1, TM_PAGE_TEXT, 1);
	freeze(&t, false);
	ck_assert_uint_eq(walk(&t, pool, met), 100);
	ck_assert_int_eq(
		tmem_client_walk(t.client, 7, &position, &handle, page),
		-ENOENT);
	tmem_client_detach(other);
	tm_test_end(&t);
}
END_TEST

/* What was copied, less what was logged, is what is there. */
START_TEST(log_names_what_went)
{
	struct tm_test_store t;
	uint8_t copied[MANY], left[MANY];
	struct tmem_handle handle;
	struct tmem_oid oid;
	int pool = begin(&t, MANY);
	uint32_t gone = 0;

	freeze(&t, true);
	ck_assert_uint_eq(walk(&t, pool, copied), MANY);
	/* By page (first and last too), by object, by a put that is refused. */
	for (uint32_t i = 0; i < MANY; i += i == 0 ? 598 : 601) {
		oid = tm_oid(i / 100);
		tmem_flush_page(t.client, pool, &oid, i);
	}
	oid = tm_oid((MANY - 1) / 100);
	tmem_flush_page(t.client, pool, &oid, MANY - 1);
	oid = tm_oid(7);
	ck_assert_int_eq(tmem_flush_object(t.client, pool, &oid), 1);
	ck_assert_int_eq(tm_test_put(t.client, pool, 1, 150, TM_PAGE_TEXT, 9),
			 TMEM_PUT_REFUSED);
	while (tmem_client_next_invalidation(t.client, &handle) == 1) {
		ck_assert_int_eq((int)handle.pool, pool);
		ck_assert_uint_eq(copied[handle.index], 1);
		copied[handle.index] = 0;
		gone++;
	}
	ck_assert_uint_ge(gone, 106);
	ck_assert_uint_eq(walk(&t, pool, left), MANY - gone);
	ck_assert_mem_eq(copied, left, MANY);
	ck_assert_int_eq(tmem_client_set_migrating(t.client, false), 0);
	tm_test_end(&t);
}
END_TEST

/* What was flushed by object, and put again, before the log began is there: its
 * reaping afterwards takes nothing back. */
START_TEST(log_does_not_name_what_was_put_again)
{
	struct tm_test_store t;
	struct tmem_handle handle;
	struct tmem_oid oid = tm_oid(0);
	int pool;

	tm_test_init(&t, 32 * TM_MIB);
	t.config.flags |= TMEM_STORE_NO_THREADS;
	tm_test_open(&t);
	pool = tm_test_pool(t.client, PERSISTENT);
	/* More than a flush reaps by itself. */
	for (int twice = 0; twice < 2; twice++) {
		for (uint32_t i = 0; i < MANY; i++)
			ck_assert_int_eq(tm_test_put(t.client, pool, 0, i,
						     TM_PAGE_TEXT, i),
					 TMEM_PUT_STORED);
		if (!twice)
			ck_assert_int_eq(tmem_flush_object(t.client, pool,
							   &oid),
					 1);
	}
	freeze(&t, true);
	while (tmem_store_step(t.store))
		;
	ck_assert_int_eq(tmem_client_next_invalidation(t.client, &handle), 0);
	ck_assert_int_eq(tmem_client_set_migrating(t.client, false), 0);
	tm_test_end(&t);
}
END_TEST

/* What was flushed is named before the log says that there is no more, although
 * somebody else has it in hand just now. */
START_TEST(log_names_what_another_thread_reaps)
{
	struct tm_test_store t;
	struct tmem_handle handle;
	struct tmem_oid oid = tm_oid(0);
	int pool = begin(&t, 0);
	uint32_t gone = 0;

	for (uint32_t i = 0; i < MANY; i++)
		ck_assert_int_eq(tm_test_put(t.client, pool, 0, i, TM_PAGE_TEXT,
					     i),
				 TMEM_PUT_STORED);
	freeze(&t, true);
	ck_assert_int_eq(tmem_flush_object(t.client, pool, &oid), 1);
	tm_held_reaper_begin(t.store);
	while (tmem_client_next_invalidation(t.client, &handle) == 1)
		gone++;
	tm_held_reaper_end();
	ck_assert_uint_eq(gone, MANY);
	ck_assert_int_eq(tmem_client_set_migrating(t.client, false), 0);
	tm_test_end(&t);
}
END_TEST

START_TEST(migrating_wants_a_frozen_client_and_keeps_it_frozen)
{
	struct tm_test_store t;
	struct tmem_handle handle;

	begin(&t, 1);
	ck_assert_int_eq(tmem_client_set_migrating(t.client, true), -EBUSY);
	ck_assert_int_eq(tmem_client_next_invalidation(t.client, &handle),
			 -EINVAL);
	freeze(&t, true);
	ck_assert_int_eq(tmem_client_set_migrating(t.client, true), -EBUSY);
	ck_assert_int_eq(tmem_client_set_frozen(t.client, false), -EBUSY);
	ck_assert_int_eq(tmem_client_set_migrating(t.client, false), 0);
	ck_assert_int_eq(tmem_client_set_frozen(t.client, false), 0);
	/* And again: the second migration has a log of its own. */
	freeze(&t, true);
	ck_assert_int_eq(tmem_client_next_invalidation(t.client, &handle), 0);
	tm_test_end(&t);
}
END_TEST

START_TEST(client_that_ends_while_it_migrates_leaves_nothing)
{
	struct tm_test_store t;
	struct tmem_client *client;
	int pool = begin(&t, 0);

	client = tm_test_attach(t.store, "leaver");
	pool = tm_test_pool(client, PERSISTENT);
	for (uint32_t i = 0; i < 1000; i++)
		tm_test_put(client, pool, 1, i, TM_PAGE_TEXT, i);
	tmem_client_set_frozen(client, true);
	ck_assert_int_eq(tmem_client_set_migrating(client, true), 0);
	ck_assert_int_eq(tmem_pool_destroy(client, pool), 0);
	ck_assert_int_eq(tmem_client_destroy(client), 0);
	tm_test_settle(t.store);
	ck_assert_uint_eq(tm_test_stats(t.store).clients, 1);
	tm_test_end(&t);
}
END_TEST

/* --- what transports need ---------------------------------------------------
 */

START_TEST(call_with_the_same_number_counts_once)
{
	struct tmem_client_info info = { .struct_size = sizeof(info) };
	struct tm_test_store t;

	begin(&t, 0); /* has pool 0 */
	for (int i = 0; i < 3; i++) {
		tmem_client_set_call(t.client, 10);
		ck_assert_int_eq(tmem_pool_create(t.client, PERSISTENT, NULL),
				 1);
	}
	for (int i = 0; i < 3; i++) {
		tmem_client_set_call(t.client, 11);
		ck_assert_int_eq(tmem_pool_destroy(t.client, 0), 0);
	}
	ck_assert_int_eq(tmem_client_get_info(t.client, &info), 0);
	ck_assert_uint_eq(info.call, 11);
	ck_assert_int_eq(tmem_pool_destroy(t.client, 0), -ENOENT);
	tmem_client_set_call(t.client, 12);
	ck_assert_int_eq(tmem_pool_create(t.client, PERSISTENT, NULL), 0);
	tm_test_end(&t);
}
END_TEST

START_TEST(pool_gets_the_id_it_asks_for)
{
	struct tm_test_store t;

	begin(&t, 0);
	ck_assert_int_eq(tmem_pool_create_at(t.client, 0, PERSISTENT, NULL),
			 -EEXIST);
	ck_assert_int_eq(tmem_pool_create_at(t.client, 9, PERSISTENT, NULL), 9);
	ck_assert_int_eq(
		tmem_pool_create_at(t.client, TMEM_POOLS_MAX, PERSISTENT, NULL),
		-EINVAL);
	ck_assert_int_eq(tmem_pool_create_at(t.client, -1, PERSISTENT, NULL),
			 -EINVAL);
	ck_assert_int_eq(tmem_pool_create(t.client, PERSISTENT, NULL), 1);
	tm_test_end(&t);
}
END_TEST

START_TEST(client_may_have_a_codec_of_its_own)
{
	struct tm_test_store t;
	struct tmem_client *other;
	int pool;

	begin(&t, 0);
	other = tm_test_attach(t.store, "other");
	ck_assert_int_eq(tmem_client_set_compress(other, false), 0);
	ck_assert_int_eq(tmem_client_set_codec(other, "no-such"), -EINVAL);
	pool = tm_test_pool(other, PERSISTENT);
	for (uint32_t i = 0; i < 10; i++)
		tm_test_put(other, pool, 1, i, TM_PAGE_TEXT, i);
	ck_assert_uint_eq(tm_test_counts(other).raw, 10);
	ck_assert_int_eq(tmem_client_set_compress(other, true), 0);
	for (uint32_t i = 10; i < 20; i++)
		tm_test_put(other, pool, 1, i, TM_PAGE_TEXT, i);
	ck_assert_uint_eq(tm_test_counts(other).raw, 10);
	for (uint32_t i = 0; i < 20; i++)
		ck_assert_int_eq(
			tm_test_get(other, pool, 1, i, TM_PAGE_TEXT, i),
			TMEM_GET_HIT);
	tmem_client_detach(other);
	tm_test_end(&t);
}
END_TEST

START_TEST(every_client_is_listed)
{
	struct tmem_client_info info = { .struct_size = sizeof(info) };
	struct tmem_client *clients[20];
	struct tm_test_store t;
	uint32_t position = 0, seen = 0;
	char name[16];

	begin(&t, 0);
	for (int i = 0; i < 20; i++) {
		snprintf(name, sizeof(name), "client-%d", i);
		clients[i] = tm_test_attach(t.store, name);
	}
	tmem_client_destroy(clients[3]);
	tmem_client_detach(clients[4]);
	while (tmem_store_walk_clients(t.store, &position, &info) == 1) {
		ck_assert_str_ne(info.name, "client-3");
		ck_assert_int_eq(info.attached,
				 strcmp(info.name, "client-4") != 0);
		seen++;
	}
	ck_assert_uint_eq(seen, 20);
	for (int i = 0; i < 20; i++)
		if (i != 3 && i != 4)
			tmem_client_detach(clients[i]);
	tm_test_end(&t);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("migrate");
	TCase *tc = tcase_create("migrate");

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, walk_meets_every_page_once, 0, 4);
	tcase_add_test(tc, walk_keeps_to_its_pool);
	tcase_add_test(tc, log_names_what_went);
	tcase_add_test(tc, log_does_not_name_what_was_put_again);
	tcase_add_test(tc, log_names_what_another_thread_reaps);
	tcase_add_test(tc, migrating_wants_a_frozen_client_and_keeps_it_frozen);
	tcase_add_test(tc, client_that_ends_while_it_migrates_leaves_nothing);
	tcase_add_test(tc, call_with_the_same_number_counts_once);
	tcase_add_test(tc, pool_gets_the_id_it_asks_for);
	tcase_add_test(tc, client_may_have_a_codec_of_its_own);
	tcase_add_test(tc, every_client_is_listed);
	suite_add_tcase(suite, tc);
	return tm_test_run(suite);
}
