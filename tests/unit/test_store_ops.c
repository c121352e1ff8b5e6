/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a client may rely on, call by call: invariants 1 to 7 of the design,
 * as far as one process can see them.
 *
 * Each test runs with every allocator, and ends with the sums checked.
 */
#include <config.h>

#include <pthread.h>
#include <sched.h>

#include "test_store.h"

#define PERSISTENT TMEM_POOL_PERSISTENT

static void begin(struct tm_test_store *t, int allocator)
{
	tm_test_init(t, 8 * TM_MIB);
	t->config.allocator = tm_test_allocators[allocator];
	tm_test_open(t);
}

/* --- what a get may answer ------------------------------------------------ */

START_TEST(put_get_returns_every_byte)
{
	struct tm_test_store t;
	int pool;

	begin(&t, _i);
	pool = tm_test_pool(t.client, PERSISTENT);
	for (int kind = 0; kind < TM_PAGE_KINDS; kind++)
		for (uint32_t i = 0; i < 50; i++)
			ck_assert_int_eq(tm_test_put(t.client, pool,
						     (uint64_t)kind, i * 1000,
						     (enum tm_page_kind)kind,
						     i),
					 TMEM_PUT_STORED);
	for (int kind = 0; kind < TM_PAGE_KINDS; kind++)
		for (uint32_t i = 0; i < 50; i++)
			ck_assert_int_eq(tm_test_get(t.client, pool,
						     (uint64_t)kind, i * 1000,
						     (enum tm_page_kind)kind,
						     i),
					 TMEM_GET_HIT);
	tm_test_end(&t);
}
END_TEST

/* Every kind of page in the stead of every other. */
START_TEST(put_put_get_never_returns_first)
{
	struct tm_test_store t;
	uint64_t number = 0;
	int pools[2];

	begin(&t, _i);
	pools[0] = tm_test_pool(t.client, 0);
	pools[1] = tm_test_pool(t.client, PERSISTENT);
	for (int n = 0; n < 2 * TM_PAGE_KINDS * TM_PAGE_KINDS; n++) {
		enum tm_page_kind a = n % TM_PAGE_KINDS;
		enum tm_page_kind b = n / TM_PAGE_KINDS % TM_PAGE_KINDS;
		int pool = pools[n & 1];

		ck_assert_int_eq(tm_test_put(t.client, pool, 7, 3, a, ++number),
				 TMEM_PUT_STORED);
		ck_assert_int_eq(tm_test_put(t.client, pool, 7, 3, b, ++number),
				 TMEM_PUT_STORED);
		ck_assert_int_eq(tm_test_get(t.client, pool, 7, 3, b, number),
				 TMEM_GET_HIT);
	}
	ck_assert_uint_gt(tm_test_counts(t.client).duplicates, 0);
	tm_test_end(&t);
}
END_TEST

START_TEST(a_miss_lasts_until_the_next_put)
{
	struct tm_test_store t;
	int pool;

	begin(&t, _i);
	pool = tm_test_pool(t.client, 0);
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(tm_test_get(t.client, pool, 1, 1,
					     TM_PAGE_TEXT, 1),
				 TMEM_GET_MISS);
	ck_assert_int_eq(tm_test_put(t.client, pool, 1, 1, TM_PAGE_TEXT, 1),
			 TMEM_PUT_STORED);
	ck_assert_int_eq(tm_test_get(t.client, pool, 1, 1, TM_PAGE_TEXT, 1),
			 TMEM_GET_HIT);
	for (int i = 0; i < 3; i++) {
		tm_test_settle(t.store);
		ck_assert_int_eq(tm_test_get(t.client, pool, 1, 1,
					     TM_PAGE_TEXT, 1),
				 TMEM_GET_MISS);
	}
	ck_assert_uint_eq(tm_test_counts(t.client).gets_missed, 6);
	tm_test_end(&t);
}
END_TEST

struct reader {
	struct tm_test_store *t;
	int pool;
	uint32_t index;
	unsigned misses;
};

static void *read_often(void *opaque)
{
	struct reader *reader = opaque;
	struct tmem_oid oid = tm_oid(1);
	uint8_t page[TMEM_PAGE_SIZE];

	for (int i = 0; i < 100000; i++)
		reader->misses += tmem_get(reader->t->client, reader->pool,
					   &oid, reader->index, page,
					   0) != TMEM_GET_HIT;
	return NULL;
}

/* Pages of one slice have one lock: somebody always has to wait. */
START_TEST(a_get_that_has_to_wait_does_not_miss)
{
	struct reader readers[4];
	pthread_t threads[4];
	struct tm_test_store t;
	int pool;

	begin(&t, _i);
	pool = tm_test_pool(t.client, PERSISTENT);
	for (uint32_t i = 0; i < 4; i++) {
		tm_test_put(t.client, pool, 1, i, TM_PAGE_SAME, i);
		readers[i] = (struct reader){ &t, pool, i, 0 };
		ck_assert_int_eq(pthread_create(&threads[i], NULL, read_often,
						&readers[i]),
				 0);
	}
	for (uint32_t i = 0; i < 4; i++) {
		pthread_join(threads[i], NULL);
		ck_assert_uint_eq(readers[i].misses, 0);
	}
	tm_test_end(&t);
}
END_TEST

struct toiler {
	struct tm_test_store *t;
	uint64_t object;
	_Atomic bool *is_over;
};

/* An object that comes and goes, wherever there is a pool. */
static void *toil(void *opaque)
{
	struct toiler *toiler = opaque;
	struct tmem_oid oid = tm_oid(toiler->object);

	while (!atomic_load(toiler->is_over)) {
		tm_test_put(toiler->t->client, 0, toiler->object, 0,
			    TM_PAGE_SAME, 1);
		tmem_flush_page(toiler->t->client, 0, &oid, 0);
	}
	return NULL;
}

/* What an object is billed must not be lost between the pool's end and the sum
 * of its bills. */
START_TEST(a_pool_that_ends_in_the_midst_leaves_no_bill)
{
	time_t start = time(NULL);
	_Atomic bool is_over = false;
	struct toiler toilers[2];
	pthread_t threads[2];
	struct tm_test_store t;

	begin(&t, _i);
	for (uint64_t i = 0; i < 2; i++) {
		toilers[i] = (struct toiler){ &t, i + 1, &is_over };
		ck_assert_int_eq(pthread_create(&threads[i], NULL, toil,
						&toilers[i]),
				 0);
	}
	for (uint64_t i = 0; !tm_test_is_enough(i, 3000, start); i++) {
		ck_assert_int_eq(tm_test_pool(t.client, PERSISTENT), 0);
		sched_yield();
		ck_assert_int_eq(tmem_pool_destroy(t.client, 0), 0);
	}
	atomic_store(&is_over, true);
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	ck_assert_uint_eq(tm_test_counts(t.client).billed_bytes, 0);
	tm_test_end(&t);
}
END_TEST

START_TEST(get_from_private_ephemeral_removes)
{
	struct tm_test_store t;
	int pool;

	begin(&t, _i);
	pool = tm_test_pool(t.client, 0);
	for (uint32_t i = 0; i < 100; i++)
		tm_test_put(t.client, pool, i / 10, i, i % TM_PAGE_KINDS, i);
	ck_assert_uint_eq(tm_test_counts(t.client).pages, 100);
	for (uint32_t i = 0; i < 100; i++)
		ck_assert_int_eq(tm_test_get(t.client, pool, i / 10, i,
					     i % TM_PAGE_KINDS, i),
				 TMEM_GET_HIT);
	for (uint32_t i = 0; i < 100; i++)
		ck_assert_int_eq(tm_test_get(t.client, pool, i / 10, i,
					     i % TM_PAGE_KINDS, i),
				 TMEM_GET_MISS);
	ck_assert_uint_eq(tm_test_counts(t.client).pages, 0);
	ck_assert_uint_eq(tm_test_counts(t.client).billed_bytes, 0);
	ck_assert_uint_eq(tm_test_stats(t.store).objects, 0);
	tm_test_end(&t);
}
END_TEST

START_TEST(persistent_get_repeats)
{
	struct tm_test_store t;
	int pool;

	begin(&t, _i);
	pool = tm_test_pool(t.client, PERSISTENT);
	for (int kind = 0; kind < TM_PAGE_KINDS; kind++) {
		tm_test_put(t.client, pool, 1, (uint32_t)kind,
			    (enum tm_page_kind)kind, 5);
		for (int i = 0; i < 3; i++)
			ck_assert_int_eq(tm_test_get(t.client, pool, 1,
						     (uint32_t)kind,
						     (enum tm_page_kind)kind,
						     5),
					 TMEM_GET_HIT);
	}
	ck_assert_uint_eq(tm_test_counts(t.client).pages, TM_PAGE_KINDS);
	tm_test_end(&t);
}
END_TEST

static int shared_pool(struct tmem_client *client)
{
	const struct tmem_uuid uuid = { { 1, 2 } };

	ck_assert_int_eq(tmem_client_set_shared_auth(client, &uuid, true), 0);
	return tmem_pool_create(client, TMEM_POOL_SHARED, &uuid);
}

START_TEST(shared_pool_get_repeats)
{
	struct tm_test_store t;
	struct tmem_client *other;
	int pool, its;

	begin(&t, _i);
	other = tm_test_attach(t.store, "other");
	tm_test_pool(other, 0);
	pool = shared_pool(t.client);
	its = shared_pool(other);
	ck_assert_int_eq(pool, 0);
	ck_assert_int_eq(its, 1);
	tm_test_put(t.client, pool, 1, 1, TM_PAGE_TEXT, 1);
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(tm_test_get(other, its, 1, 1, TM_PAGE_TEXT, 1),
				 TMEM_GET_HIT);
		ck_assert_int_eq(tm_test_get(t.client, pool, 1, 1,
					     TM_PAGE_TEXT, 1),
				 TMEM_GET_HIT);
	}
	/* The other's put replaces it, and is billed for it. */
	tm_test_put(other, its, 1, 1, TM_PAGE_NOISE, 2);
	ck_assert_int_eq(tm_test_get(t.client, pool, 1, 1, TM_PAGE_NOISE, 2),
			 TMEM_GET_HIT);
	ck_assert_uint_eq(tm_test_counts(t.client).billed_bytes, 0);
	ck_assert_uint_gt(tm_test_counts(other).billed_bytes, 4096);
	/* The pool goes with its last member. */
	ck_assert_int_eq(tmem_pool_destroy(t.client, pool), 0);
	ck_assert_int_eq(tm_test_get(other, its, 1, 1, TM_PAGE_NOISE, 2),
			 TMEM_GET_HIT);
	ck_assert_int_eq(tmem_pool_destroy(other, its), 0);
	tm_test_settle(t.store);
	ck_assert_uint_eq(tm_test_counts(other).billed_bytes, 0);
	tmem_client_detach(other);
	tm_test_end(&t);
}
END_TEST

START_TEST(get_remove_takes_the_page_out_of_any_pool)
{
	struct tm_test_store t;
	int pools[3];

	begin(&t, _i);
	pools[0] = tm_test_pool(t.client, 0);
	pools[1] = tm_test_pool(t.client, PERSISTENT);
	pools[2] = shared_pool(t.client);
	for (int n = 0; n < 3; n++) {
		tm_test_put(t.client, pools[n], 1, 1, TM_PAGE_TEXT, 1);
		ck_assert_int_eq(tm_test_get_flags(t.client, pools[n], 1, 1,
						   TM_PAGE_TEXT, 1,
						   TMEM_GET_REMOVE),
				 TMEM_GET_HIT);
		ck_assert_int_eq(tm_test_get(t.client, pools[n], 1, 1,
					     TM_PAGE_TEXT, 1),
				 TMEM_GET_MISS);
	}
	ck_assert_uint_eq(tm_test_counts(t.client).pages, 0);
	tm_test_end(&t);
}
END_TEST

START_TEST(an_unstable_put_is_stored_like_any_other)
{
	struct tmem_oid oid = tm_oid(1);
	uint8_t page[TMEM_PAGE_SIZE];
	struct tm_test_store t;
	int pool;

	begin(&t, _i);
	pool = tm_test_pool(t.client, PERSISTENT);
	for (int kind = 0; kind < TM_PAGE_KINDS; kind++) {
		tm_page_fill(page, (enum tm_page_kind)kind, 9);
		ck_assert_int_eq(tmem_put(t.client, pool, &oid, 1, page,
					  TMEM_PUT_UNSTABLE),
				 TMEM_PUT_STORED);
		ck_assert_int_eq(tm_test_get(t.client, pool, 1, 1,
					     (enum tm_page_kind)kind, 9),
				 TMEM_GET_HIT);
	}
	tm_test_end(&t);
}
END_TEST

/* --- refusals ------------------------------------------------------------- */

/* Persistent pages until no more go in; how many went in. */
static uint32_t fill_up(struct tm_test_store *t, int pool, uint64_t object)
{
	uint32_t i = 0;

	while (tm_test_put(t->client, pool, object, i, TM_PAGE_NOISE, i) ==
	       TMEM_PUT_STORED) {
		tm_test_within_limit(t);
		i++;
	}
	ck_assert_uint_gt(i, 100);
	return i;
}

START_TEST(refused_first_put_leaves_nothing)
{
	struct tm_test_store t;
	uint32_t count;
	int pool;

	begin(&t, _i);
	pool = tm_test_pool(t.client, PERSISTENT);
	count = fill_up(&t, pool, 1);
	ck_assert_int_eq(tm_test_put(t.client, pool, 2, 0, TM_PAGE_NOISE, 1),
			 TMEM_PUT_REFUSED);
	ck_assert_int_eq(tm_test_get(t.client, pool, 2, 0, TM_PAGE_NOISE, 1),
			 TMEM_GET_MISS);
	ck_assert_uint_eq(tm_test_stats(t.store).objects, 1);
	ck_assert_uint_ge(tm_test_counts(t.client).refused_memory, 2);
	for (uint32_t i = 0; i < count; i++)
		ck_assert_int_eq(tm_test_get(t.client, pool, 1, i,
					     TM_PAGE_NOISE, i),
				 TMEM_GET_HIT);
	tm_test_end(&t);
}
END_TEST

/* Refused for three reasons: no memory, over the cap, frozen. */
START_TEST(refused_duplicate_leaves_nothing)
{
	struct tmem_client_config config;
	struct tm_test_store t;
	int pool;

	begin(&t, _i);
	pool = tm_test_pool(t.client, PERSISTENT);
	tm_test_put(t.client, pool, 5, 0, TM_PAGE_SAME, 1);
	tm_test_put(t.client, pool, 5, 1, TM_PAGE_SAME, 2);
	tm_test_put(t.client, pool, 5, 2, TM_PAGE_SAME, 3);

	fill_up(&t, pool, 1);
	ck_assert_int_eq(tm_test_put(t.client, pool, 5, 0, TM_PAGE_NOISE, 1),
			 TMEM_PUT_REFUSED);
	ck_assert_int_eq(tm_test_get(t.client, pool, 5, 0, TM_PAGE_SAME, 1),
			 TMEM_GET_MISS);

	tmem_client_config_init(&config);
	config.cap_bytes = tm_test_counts(t.client).billed_bytes;
	ck_assert_int_eq(tmem_client_set(t.client, &config), 0);
	ck_assert_int_eq(tm_test_put(t.client, pool, 5, 1, TM_PAGE_NOISE, 1),
			 TMEM_PUT_REFUSED);
	ck_assert_int_eq(tm_test_get(t.client, pool, 5, 1, TM_PAGE_SAME, 2),
			 TMEM_GET_MISS);

	tmem_client_set_frozen(t.client, true);
	ck_assert_int_eq(tm_test_put(t.client, pool, 5, 2, TM_PAGE_SAME, 1),
			 TMEM_PUT_REFUSED);
	ck_assert_int_eq(tm_test_get(t.client, pool, 5, 2, TM_PAGE_SAME, 3),
			 TMEM_GET_MISS);
	ck_assert_uint_eq(tm_test_counts(t.client).refused_frozen, 1);
	tm_test_end(&t);
}
END_TEST

START_TEST(a_frozen_client_gets_and_flushes_but_does_not_put)
{
	struct tmem_oid oid = tm_oid(1);
	struct tm_test_store t;
	int pool;

	begin(&t, _i);
	pool = tm_test_pool(t.client, PERSISTENT);
	tm_test_put(t.client, pool, 1, 1, TM_PAGE_TEXT, 1);
	ck_assert_int_eq(tmem_client_set_frozen(t.client, true), 0);
	ck_assert_int_eq(tm_test_put(t.client, pool, 1, 2, TM_PAGE_TEXT, 2),
			 TMEM_PUT_REFUSED);
	ck_assert_int_eq(tm_test_get(t.client, pool, 1, 1, TM_PAGE_TEXT, 1),
			 TMEM_GET_HIT);
	ck_assert_int_eq(tmem_flush_page(t.client, pool, &oid, 1), 1);
	ck_assert_int_eq(tmem_flush_page(t.client, pool, &oid, 2), 0);
	ck_assert_int_eq(tmem_client_set_frozen(t.client, false), 0);
	ck_assert_int_eq(tm_test_put(t.client, pool, 1, 2, TM_PAGE_TEXT, 2),
			 TMEM_PUT_STORED);
	tm_test_end(&t);
}
END_TEST

START_TEST(wrong_arguments_change_nothing)
{
	struct tmem_oid oid = tm_oid(1);
	uint8_t page[TMEM_PAGE_SIZE] = { 0 };
	struct tm_test_store t;
	int pool;

	begin(&t, _i);
	pool = tm_test_pool(t.client, PERSISTENT);
	tm_test_put(t.client, pool, 1, 1, TM_PAGE_TEXT, 1);
	ck_assert_int_eq(tmem_put(t.client, pool, &oid, 1, page, UINT32_C(1) << 31), -EINVAL);
	ck_assert_int_eq(tmem_get(t.client, pool, &oid, 1, page, 2), -EINVAL);
	for (int bad = -1; bad <= TMEM_POOLS_MAX; bad++) {
		if (bad == pool)
			continue;
		ck_assert_int_eq(tmem_put(t.client, bad, &oid, 1, page, 0),
				 -ENOENT);
		ck_assert_int_eq(tmem_get(t.client, bad, &oid, 1, page, 0),
				 -ENOENT);
		ck_assert_int_eq(tmem_flush_page(t.client, bad, &oid, 1),
				 -ENOENT);
		ck_assert_int_eq(tmem_flush_object(t.client, bad, &oid),
				 -ENOENT);
		ck_assert_int_eq(tmem_pool_destroy(t.client, bad), -ENOENT);
	}
	ck_assert_int_eq(tm_test_get(t.client, pool, 1, 1, TM_PAGE_TEXT, 1),
			 TMEM_GET_HIT);
	tm_test_end(&t);
}
END_TEST

/* --- flushes -------------------------------------------------------------- */

START_TEST(flush_page_drops_that_page_only)
{
	struct tmem_oid oid = tm_oid(1);
	struct tm_test_store t;
	int pool;

	begin(&t, _i);
	pool = tm_test_pool(t.client, PERSISTENT);
	for (uint32_t i = 0; i < 20; i++)
		tm_test_put(t.client, pool, 1, i, TM_PAGE_HEAP, i);
	ck_assert_int_eq(tmem_flush_page(t.client, pool, &oid, 11), 1);
	ck_assert_int_eq(tmem_flush_page(t.client, pool, &oid, 11), 0);
	for (uint32_t i = 0; i < 20; i++)
		ck_assert_int_eq(tm_test_get(t.client, pool, 1, i,
					     TM_PAGE_HEAP, i),
				 i == 11 ? TMEM_GET_MISS : TMEM_GET_HIT);
	ck_assert_uint_eq(tm_test_counts(t.client).flushes, 1);
	tm_test_end(&t);
}
END_TEST

/* Across slices, and before any background work was done. */
START_TEST(flush_object_is_visible_at_once)
{
	struct tmem_oid oid = tm_oid(1);
	struct tm_test_store t;
	uint64_t before, billed;
	int pool;

	begin(&t, _i);
	pool = tm_test_pool(t.client, PERSISTENT);
	tm_test_put(t.client, pool, 2, 0, TM_PAGE_TEXT, 0);
	billed = tm_test_counts(t.client).billed_bytes;
	for (uint32_t i = 0; i < 500; i++)
		tm_test_put(t.client, pool, 1, i * 97, TM_PAGE_TEXT, i);
	before = tm_test_counts(t.client).billed_bytes;
	ck_assert_uint_gt(before, billed);
	ck_assert_int_eq(tmem_flush_object(t.client, pool, &oid), 1);
	ck_assert_int_eq(tmem_flush_object(t.client, pool, &oid), 0);
	ck_assert_uint_eq(tm_test_counts(t.client).billed_bytes, billed);
	for (uint32_t i = 0; i < 500; i++)
		ck_assert_int_eq(tm_test_get(t.client, pool, 1, i * 97,
					     TM_PAGE_TEXT, i),
				 TMEM_GET_MISS);
	/* The name can be used again while the old pages are still there. */
	ck_assert_int_eq(tm_test_put(t.client, pool, 1, 97, TM_PAGE_NOISE, 3),
			 TMEM_PUT_STORED);
	tm_test_settle(t.store);
	ck_assert_int_eq(tm_test_get(t.client, pool, 1, 97, TM_PAGE_NOISE, 3),
			 TMEM_GET_HIT);
	ck_assert_int_eq(tm_test_get(t.client, pool, 2, 0, TM_PAGE_TEXT, 0),
			 TMEM_GET_HIT);
	ck_assert_uint_eq(tm_test_counts(t.client).pages, 2);
	tm_test_end(&t);
}
END_TEST

START_TEST(every_index_of_an_object_is_its_own)
{
	static const uint32_t indexes[] = { 0,	  1,	  15,	     16,
					    255,  256,	  4095,	     4096,
					    4097, 65536, 0x7fffffff, 0x80000000,
					    UINT32_MAX };
	const uint32_t count = sizeof(indexes) / sizeof(indexes[0]);
	struct tm_test_store t;
	int pool;

	begin(&t, _i);
	pool = tm_test_pool(t.client, PERSISTENT);
	for (uint32_t i = 0; i < count; i++)
		ck_assert_int_eq(tm_test_put(t.client, pool, 1, indexes[i],
					     TM_PAGE_TEXT, i),
				 TMEM_PUT_STORED);
	for (uint32_t i = 0; i < count; i++) {
		ck_assert_int_eq(tm_test_get_flags(t.client, pool, 1,
						   indexes[i], TM_PAGE_TEXT, i,
						   TMEM_GET_REMOVE),
				 TMEM_GET_HIT);
		for (uint32_t k = 0; k < count; k++)
			ck_assert_int_eq(tm_test_get(t.client, pool, 1,
						     indexes[k], TM_PAGE_TEXT,
						     k),
					 k > i ? TMEM_GET_HIT : TMEM_GET_MISS);
	}
	ck_assert_uint_eq(tm_test_stats(t.store).objects, 0);
	tm_test_end(&t);
}
END_TEST

/* --- who sees what -------------------------------------------------------- */

START_TEST(clients_do_not_see_each_other)
{
	struct tmem_oid oid = tm_oid(1);
	struct tm_test_store t;
	struct tmem_client *other;
	int pool, its;

	begin(&t, _i);
	other = tm_test_attach(t.store, "other");
	pool = tm_test_pool(t.client, PERSISTENT);
	its = tm_test_pool(other, PERSISTENT);
	ck_assert_int_eq(pool, its);
	tm_test_put(t.client, pool, 1, 1, TM_PAGE_TEXT, 1);
	ck_assert_int_eq(tm_test_get(other, its, 1, 1, TM_PAGE_TEXT, 1),
			 TMEM_GET_MISS);
	ck_assert_int_eq(tmem_flush_page(other, its, &oid, 1), 0);
	ck_assert_int_eq(tmem_flush_object(other, its, &oid), 0);
	ck_assert_int_eq(tm_test_put(other, its, 1, 1, TM_PAGE_NOISE, 2),
			 TMEM_PUT_STORED);
	ck_assert_int_eq(tmem_client_destroy(other), 0);
	ck_assert_int_eq(tm_test_get(t.client, pool, 1, 1, TM_PAGE_TEXT, 1),
			 TMEM_GET_HIT);
	tm_test_end(&t);
}
END_TEST

START_TEST(pools_of_one_client_do_not_mix)
{
	struct tm_test_store t;
	int pools[3];

	begin(&t, _i);
	for (int n = 0; n < 3; n++)
		pools[n] = tm_test_pool(t.client, n == 2 ? PERSISTENT : 0);
	for (int n = 0; n < 3; n++)
		tm_test_put(t.client, pools[n], 1, 1, TM_PAGE_TEXT,
			    (uint64_t)n);
	ck_assert_int_eq(tmem_pool_destroy(t.client, pools[0]), 0);
	for (int n = 1; n < 3; n++)
		ck_assert_int_eq(tm_test_get(t.client, pools[n], 1, 1,
					     TM_PAGE_TEXT, (uint64_t)n),
				 TMEM_GET_HIT);
	tm_test_end(&t);
}
END_TEST

START_TEST(unauthorised_shared_pool_is_refused)
{
	const struct tmem_uuid uuid = { { 1, 2 } }, zeros = { { 0, 0 } };
	const struct tmem_uuid ones = { { UINT64_MAX, UINT64_MAX } };
	struct tmem_client *other;
	struct tm_test_store t;
	int pool;

	begin(&t, _i);
	other = tm_test_attach(t.store, "other");
	pool = shared_pool(t.client);
	tm_test_put(t.client, pool, 1, 1, TM_PAGE_TEXT, 1);
	ck_assert_int_eq(tmem_pool_create(other, TMEM_POOL_SHARED, &uuid),
			 -EACCES);
	ck_assert_int_eq(tmem_client_set_shared_auth(other, &uuid, true), 0);
	ck_assert_int_eq(tmem_client_set_shared_auth(other, &uuid, false), 0);
	ck_assert_int_eq(tmem_pool_create(other, TMEM_POOL_SHARED, &uuid),
			 -EACCES);
	ck_assert_int_eq(tm_test_get(other, 0, 1, 1, TM_PAGE_TEXT, 1),
			 -ENOENT);
	ck_assert_int_eq(tmem_client_set_shared_auth(other, &zeros, true),
			 -EINVAL);
	ck_assert_int_eq(tmem_pool_create(other, TMEM_POOL_SHARED, &zeros),
			 -EINVAL);
	ck_assert_int_eq(tmem_pool_create(other, TMEM_POOL_SHARED, &ones),
			 -EINVAL);
	ck_assert_int_eq(tmem_pool_create(other, TMEM_POOL_SHARED, NULL),
			 -EINVAL);
	ck_assert_int_eq(tmem_pool_create(other, 0, &uuid), -EINVAL);
	ck_assert_int_eq(tmem_pool_create(other, 3, &uuid), -EPERM);
	ck_assert_int_eq(tmem_pool_create(other, 4, NULL), -EINVAL);
	ck_assert_int_eq(tmem_pool_create(t.client, TMEM_POOL_SHARED, &uuid),
			 -EEXIST);
	for (uint64_t i = 0; i < 16; i++) {
		const struct tmem_uuid more = { { 5, i + 1 } };

		ck_assert_int_eq(tmem_client_set_shared_auth(other, &more,
							     true),
				 0);
	}
	ck_assert_int_eq(tmem_client_set_shared_auth(other, &uuid, true),
			 -ENOSPC);
	tmem_client_detach(other);
	tm_test_end(&t);
}
END_TEST

START_TEST(an_open_store_lets_anybody_share)
{
	const struct tmem_uuid uuid = { { 1, 2 } };
	struct tm_test_store t;

	tm_test_init(&t, 8 * TM_MIB);
	t.config.flags |= TMEM_STORE_SHARED_OPEN;
	t.config.allocator = tm_test_allocators[_i];
	tm_test_open(&t);
	ck_assert_int_eq(tmem_pool_create(t.client, TMEM_POOL_SHARED, &uuid),
			 0);
	tm_test_end(&t);
}
END_TEST

/* Whatever one owner left in frames: another's gets never bring it. */
START_TEST(memory_of_one_owner_never_reaches_another)
{
	uint8_t page[TMEM_PAGE_SIZE], secret[TMEM_PAGE_SIZE];
	struct tmem_client *owner;
	struct tm_test_store t;
	int pool, its;

	begin(&t, _i);
	owner = tm_test_attach(t.store, "owner");
	its = tm_test_pool(owner, PERSISTENT);
	for (uint32_t i = 0; i < 1000; i++)
		tm_test_put(owner, its, 1, i, TM_PAGE_NOISE, 42);
	tmem_client_destroy(owner);
	tm_test_settle(t.store);
	tm_page_fill(secret, TM_PAGE_NOISE, 42);
	pool = tm_test_pool(t.client, PERSISTENT);
	for (uint32_t i = 0; i < 1000; i++) {
		struct tmem_oid oid = tm_oid(1);
		enum tm_page_kind kind = i % TM_PAGE_KINDS;

		memset(page, 0, sizeof(page));
		ck_assert_int_eq(tmem_get(t.client, pool, &oid, i, page, 0),
				 TMEM_GET_MISS);
		ck_assert_ptr_null(
			memmem(page, sizeof(page), secret + 1024, 64));
		tm_test_put(t.client, pool, 1, i, kind, i);
		ck_assert_int_eq(tm_test_get(t.client, pool, 1, i, kind, i),
				 TMEM_GET_HIT);
	}
	tm_test_end(&t);
}
END_TEST

/* --- what costs nothing --------------------------------------------------- */

START_TEST(same_filled_pages_take_no_frame)
{
	struct tmem_counts counts;
	struct tm_test_store t;
	int pool;

	begin(&t, _i);
	pool = tm_test_pool(t.client, PERSISTENT);
	for (uint32_t i = 0; i < 5000; i++)
		ck_assert_int_eq(tm_test_put(t.client, pool, 1, i,
					     TM_PAGE_SAME, i % 7),
				 TMEM_PUT_STORED);
	counts = tm_test_counts(t.client);
	ck_assert_uint_eq(tm_test_stats(t.store).arena_bytes, 0);
	ck_assert_uint_eq(counts.same_filled, 5000);
	ck_assert_uint_eq(counts.compressed_bytes, 0);
	for (uint32_t i = 0; i < 5000; i++)
		ck_assert_int_eq(tm_test_get(t.client, pool, 1, i,
					     TM_PAGE_SAME, i % 7),
				 TMEM_GET_HIT);
	tm_test_end(&t);
}
END_TEST

/* A page that is nearly same-filled is not: every word counts. */
START_TEST(one_odd_word_makes_a_page_not_same_filled)
{
	struct tmem_oid oid = tm_oid(1);
	uint64_t page[TMEM_PAGE_SIZE / 8], back[TMEM_PAGE_SIZE / 8];
	struct tm_test_store t;
	int pool;

	begin(&t, _i);
	pool = tm_test_pool(t.client, PERSISTENT);
	for (size_t odd = 0; odd < TMEM_PAGE_SIZE / 8; odd++) {
		memset(page, 0x11, sizeof(page));
		page[odd] ^= UINT64_C(1) << odd % 64;
		ck_assert_int_eq(tmem_put(t.client, pool, &oid, 0, page, 0),
				 TMEM_PUT_STORED);
		ck_assert_int_eq(tmem_get(t.client, pool, &oid, 0, back, 0),
				 TMEM_GET_HIT);
		ck_assert(!memcmp(page, back, sizeof(page)));
	}
	ck_assert_uint_eq(tm_test_counts(t.client).same_filled, 0);
	tm_test_end(&t);
}
END_TEST

/* How much metadata 10000 objects of one page take, each. */
static double object_cost(int allocator, uint32_t flags, enum tm_page_kind kind)
{
	struct tm_test_store t;
	uint64_t before, after;
	const uint64_t count = 10000;
	int pool;

	tm_test_init(&t, 64 * TM_MIB);
	t.config.allocator = tm_test_allocators[allocator];
	t.config.codec = TM_TEST_SMALL_CODEC;
	tm_test_open(&t);
	pool = tm_test_pool(t.client, flags);
	before = tm_test_stats(t.store).metadata_bytes;
	for (uint64_t i = 0; i < count; i++)
		ck_assert_int_eq(tm_test_put(t.client, pool, i, 0, kind, i),
				 TMEM_PUT_STORED);
	after = tm_test_stats(t.store).metadata_bytes;
	tm_test_end(&t);
	return (double)(after - before) / (double)count;
}

/* The promise is for what is used most, persistent pages in zsmalloc. An
 * ephemeral page has 16 bytes more, its place in the list of the oldest; zbud
 * keeps a note of every frame, and puts two pages in one at best. */
START_TEST(an_object_of_one_page_costs_at_most_200_bytes)
{
	const double extra_bytes = _i ? 20 : 0;

	for (int kind = 0; kind < TM_PAGE_KINDS; kind++)
		for (uint32_t flags = 0; flags < 2; flags++) {
			double cost = object_cost(_i, flags,
						  (enum tm_page_kind)kind);

			printf("%s, pages of kind %d, pool flags %u: %.1f "
			       "bytes an object\n",
			       tm_test_allocators[_i], kind, flags, cost);
			fflush(stdout);
			ck_assert_double_le(cost, 200 + extra_bytes +
							  (flags ? 0 : 16));
		}
}
END_TEST

static void add(Suite *suite, const char *name, const TTest *test)
{
	TCase *tcase = tcase_create(name);

	tcase_add_loop_test(tcase, test, 0, TM_TEST_ALLOCATORS);
	suite_add_tcase(suite, tcase);
}

#define ADD(test) add(suite, #test, test)

int main(void)
{
	Suite *suite = suite_create("store: operations");

	ADD(put_get_returns_every_byte);
	ADD(put_put_get_never_returns_first);
	ADD(a_miss_lasts_until_the_next_put);
	ADD(a_get_that_has_to_wait_does_not_miss);
	ADD(a_pool_that_ends_in_the_midst_leaves_no_bill);
	ADD(get_from_private_ephemeral_removes);
	ADD(persistent_get_repeats);
	ADD(shared_pool_get_repeats);
	ADD(get_remove_takes_the_page_out_of_any_pool);
	ADD(an_unstable_put_is_stored_like_any_other);
	ADD(refused_first_put_leaves_nothing);
	ADD(refused_duplicate_leaves_nothing);
	ADD(a_frozen_client_gets_and_flushes_but_does_not_put);
	ADD(wrong_arguments_change_nothing);
	ADD(flush_page_drops_that_page_only);
	ADD(flush_object_is_visible_at_once);
	ADD(every_index_of_an_object_is_its_own);
	ADD(clients_do_not_see_each_other);
	ADD(pools_of_one_client_do_not_mix);
	ADD(unauthorised_shared_pool_is_refused);
	ADD(an_open_store_lets_anybody_share);
	ADD(memory_of_one_owner_never_reaches_another);
	ADD(same_filled_pages_take_no_frame);
	ADD(one_odd_word_makes_a_page_not_same_filled);
	ADD(an_object_of_one_page_costs_at_most_200_bytes);
	return tm_test_run(suite);
}
