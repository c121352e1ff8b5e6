/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A store is full most of its life: of ephemeral pages. What comes then must
 * find room all the same.
 */
#include <config.h>

#include <string.h>

#include "test_store.h"

#include "held_reaper.h"

static struct tmem_store *open_store(void)
{
	struct tmem_store_config config;
	struct tmem_store *store;

	tmem_store_config_init(&config);
	config.flags = TMEM_STORE_NO_THREADS | TMEM_STORE_NO_LOCK;
	config.memory_bytes = UINT64_C(2) << 20;
	ck_assert_int_eq(tmem_store_open(&config, &store), 0);
	return store;
}

static struct tmem_client *attach(struct tmem_store *store, const char *name)
{
	struct tmem_client_config config;
	struct tmem_client *client = NULL;

	tmem_client_config_init(&config);
	config.name = name;
	ck_assert_int_eq(tmem_client_attach(store, &config, &client), 0);
	return client;
}

static void fill_with_ephemeral(struct tmem_client *client, int pool)
{
	uint64_t page[TMEM_PAGE_SIZE / 8], random = 1;

	for (uint32_t i = 0; i < 1000; i++) {
		struct tmem_oid oid = { { i, 0, 0 } };

		for (size_t w = 0; w < TMEM_PAGE_SIZE / 8; w++)
			page[w] = tm_test_random(&random);
		tmem_put(client, pool, &oid, 0, page, 0);
	}
}

START_TEST(a_full_store_takes_new_clients_and_pools)
{
	struct tmem_store *store = open_store();
	struct tmem_client *client = attach(store, "first");
	struct tmem_client *other;
	int pool = tmem_pool_create(client, 0, NULL);

	fill_with_ephemeral(client, pool);
	for (int i = 1; i < TMEM_POOLS_MAX; i++) {
		ck_assert_int_eq(tmem_pool_create(client, 0, NULL), i);
		fill_with_ephemeral(client, pool);
	}
	for (int i = 0; i < 8; i++) {
		char name[16];

		snprintf(name, sizeof(name), "next%d", i);
		other = attach(store, name);
		ck_assert_int_eq(
			tmem_pool_create(other, TMEM_POOL_PERSISTENT, NULL), 0);
		tmem_client_detach(other);
		fill_with_ephemeral(client, pool);
	}
	ck_assert_int_eq(tmem_store_check(store), 0);
	tmem_client_detach(client);
	tmem_store_close(store);
}
END_TEST

/* With the allocator that can use most of its memory for pages. */
static void begin(struct tm_test_store *t, uint64_t memory_bytes)
{
	tm_test_init(t, memory_bytes);
	t->config.allocator = "zsmalloc";
	tm_test_open(t);
}

static void reserve(struct tmem_client *client, uint64_t bytes)
{
	struct tmem_client_config config;

	tmem_client_config_init(&config);
	config.reservation_bytes = bytes;
	ck_assert_int_eq(tmem_client_set(client, &config), 0);
}

/* Its pages were flushed and credited; that they are not free yet is no reason
 * to refuse the next. */
START_TEST(a_put_waits_for_whoever_reaps)
{
	struct tmem_oid oid = tm_oid(1);
	struct tm_test_store t;
	uint32_t stored = 0;
	int pool;

	begin(&t, 8 * TM_MIB);
	reserve(t.client, 4 * TM_MIB);
	pool = tm_test_pool(t.client, TMEM_POOL_PERSISTENT);
	while (tm_test_put(t.client, pool, 1, stored, TM_PAGE_NOISE, stored) ==
	       TMEM_PUT_STORED)
		stored++;
	ck_assert_uint_gt(stored, 1000);
	ck_assert_int_eq(tmem_flush_object(t.client, pool, &oid), 1);
	tm_held_reaper_begin(t.store);
	for (uint32_t i = 0; i < 200; i++)
		ck_assert_int_eq(
			tm_test_put(t.client, pool, 2, i, TM_PAGE_NOISE, i),
			TMEM_PUT_STORED);
	tm_held_reaper_end();
	tm_test_end(&t);
}
END_TEST

/* The oldest pages give back no frame. With a reservation there may be any
 * number of them. */
START_TEST(pages_without_bytes_are_passed_over)
{
	const uint32_t empty_pages = _i ? 60000 : 5000;
	struct tmem_client *client;
	struct tm_test_store t;
	int pool, persistent;

	begin(&t, 8 * TM_MIB);
	client = tm_test_attach(t.store, "other");
	persistent = tm_test_pool(client, TMEM_POOL_PERSISTENT);
	pool = tm_test_pool(t.client, 0);
	for (uint32_t i = 0; i < empty_pages; i++)
		tm_test_put(t.client, pool, i / 1000, i, TM_PAGE_SAME, i);
	for (uint32_t i = 0; tm_test_stats(t.store).used_bytes <
			     t.config.memory_bytes - 128 * 1024;
	     i++)
		tm_test_put(t.client, pool, 1000, i, TM_PAGE_NOISE, i);
	ck_assert_uint_eq(tm_test_counts(t.client).same_filled, empty_pages);
	reserve(client, _i ? 4 * TM_MIB : 0);
	for (uint32_t i = 0; i < 500; i++)
		ck_assert_int_eq(
			tm_test_put(client, persistent, 1, i, TM_PAGE_NOISE, i),
			TMEM_PUT_STORED);
	tmem_client_detach(client);
	tm_test_end(&t);
}
END_TEST

/* Whatever is free beyond whole frames. */
START_TEST(a_frame_given_back_is_not_all_that_is_done)
{
	struct tmem_client *client;
	struct tm_test_store t;
	int pool, persistent;

	begin(&t, 8 * TM_MIB + 256 * (uint64_t)_i);
	client = tm_test_attach(t.store, "other");
	persistent = tm_test_pool(client, TMEM_POOL_PERSISTENT);
	pool = tm_test_pool(t.client, 0);
	for (uint32_t i = 0; !tm_test_counts(t.client).evicted; i++)
		tm_test_put(t.client, pool, 1, i, TM_PAGE_NOISE, i);
	reserve(client, 4 * TM_MIB);
	for (uint32_t i = 0; i < 100; i++)
		ck_assert_int_eq(
			tm_test_put(client, persistent, i, i, TM_PAGE_NOISE, i),
			TMEM_PUT_STORED);
	tmem_client_detach(client);
	tm_test_end(&t);
}
END_TEST

struct tm_arena;
struct tm_memory;

enum visit { GUEST_GONE, GUEST_BEFORE, GUEST_AFTER, GUEST_WITHIN };

/* It puts before frames are given back, after that, or meanwhile. */
static struct {
	struct tm_test_store *t;
	enum visit comes;
	uint64_t used_bytes; /* it is content with */
	uint32_t puts;
	uint32_t visits;
} guest;

uint64_t __real_tm_arena_trim(struct tm_arena *arena, uint64_t keep);
uint64_t __wrap_tm_arena_trim(struct tm_arena *arena, uint64_t keep);
void __real_tm_memory_discharge(struct tm_memory *memory, uint64_t bytes);
void __wrap_tm_memory_discharge(struct tm_memory *memory, uint64_t bytes);

/* A store of which another thread reaps everything, after the next trim. */
static struct tmem_store *reaped;

static void *reap_all(void *opaque)
{
	while (tmem_store_step(opaque))
		;
	return NULL;
}

static void reap_elsewhere(void)
{
	struct tmem_store *store = reaped;
	pthread_t thread;

	reaped = NULL;
	if (!store)
		return;
	pthread_create(&thread, NULL, reap_all, store);
	pthread_join(thread, NULL);
}

static bool guest_begins(enum visit when)
{
	if (guest.comes != when)
		return false;
	/* It is not called from within what it calls itself. */
	guest.comes = GUEST_GONE;
	ck_assert_uint_lt(guest.visits++, 20000);
	return true;
}

static void guest_puts(void)
{
	tm_test_put(guest.t->client, 0, 1, guest.puts, TM_PAGE_NOISE, 0);
	guest.puts++;
}

uint64_t __wrap_tm_arena_trim(struct tm_arena *arena, uint64_t keep)
{
	uint64_t trimmed;

	if (guest_begins(GUEST_BEFORE)) {
		while (tm_test_stats(guest.t->store).idle_bytes)
			guest_puts();
		guest.comes = GUEST_BEFORE;
	}
	trimmed = __real_tm_arena_trim(arena, keep);
	reap_elsewhere();
	if (guest_begins(GUEST_AFTER)) {
		while (tm_test_stats(guest.t->store).used_bytes <
		       guest.used_bytes)
			guest_puts();
		guest.comes = GUEST_AFTER;
	}
	return trimmed;
}

/* Between two runs that are given back. */
void __wrap_tm_memory_discharge(struct tm_memory *memory, uint64_t bytes)
{
	struct tmem_oid oid = tm_oid(1);

	__real_tm_memory_discharge(memory, bytes);
	if (!guest_begins(GUEST_WITHIN))
		return;
	guest_puts();
	tmem_flush_page(guest.t->client, 0, &oid, guest.puts - 1);
	guest.comes = GUEST_WITHIN;
}

/* By a thread that had come to the end before it was looked for. */
START_TEST(a_put_finds_what_was_just_reaped)
{
	struct tmem_oid oid = tm_oid(1);
	struct tm_test_store t;
	uint32_t stored = 0;

	begin(&t, 8 * TM_MIB);
	tm_test_pool(t.client, TMEM_POOL_PERSISTENT);
	while (tm_test_put(t.client, 0, 1, stored, TM_PAGE_NOISE, stored) ==
	       TMEM_PUT_STORED)
		stored++;
	ck_assert_int_eq(tmem_flush_object(t.client, 0, &oid), 1);
	reaped = t.store;
	for (uint32_t i = 0; i < stored / 2; i++)
		ck_assert_int_eq(
			tm_test_put(t.client, 0, 2, i, TM_PAGE_NOISE, i),
			TMEM_PUT_STORED);
	ck_assert_ptr_null(reaped);
	tm_test_end(&t);
}
END_TEST

START_TEST(eviction_ends_although_a_guest_refills)
{
	struct tm_test_store t;
	uint64_t pages, evicted;
	int64_t given;

	begin(&t, 8 * TM_MIB);
	tm_test_pool(t.client, 0);
	guest.t = &t;
	while (tm_test_stats(t.store).used_bytes < 6 * TM_MIB)
		guest_puts();
	guest.used_bytes = tm_test_stats(t.store).used_bytes;
	pages = tm_test_counts(t.client).pages;
	guest.comes = (enum visit)(GUEST_BEFORE + _i);
	given = tmem_store_evict(t.store, TM_MIB);
	guest.comes = GUEST_GONE;
	ck_assert_uint_gt(guest.visits, 0);
	evicted = tm_test_counts(t.client).evicted;
	ck_assert_uint_le(evicted, _i ? 500 : pages);
	if (_i)
		ck_assert_int_ge(given, TM_MIB);
	tm_test_end(&t);
}
END_TEST

/* --- what lies with another processor ------------------------------------------ */

/* Where the store believes that it runs; the linker's --wrap. */
static int processor;

int __wrap_sched_getcpu(void);

int __wrap_sched_getcpu(void)
{
	return processor;
}

/* From @index on, until one is refused. */
static uint32_t put_all(struct tm_test_store *t, enum tm_page_kind kind,
			uint32_t index)
{
	while (tm_test_put(t->client, 0, 1, index, kind, index) ==
	       TMEM_PUT_STORED)
		index++;
	return index;
}

/* A page without bytes needs records alone: those of one that was flushed are
 * enough for another, whoever flushed it. */
START_TEST(records_are_found_where_they_were_freed)
{
	struct tmem_oid oid = tm_oid(1);
	struct tm_test_store t;
	uint32_t noise, end;

	processor = 0;
	begin(&t, 2 * TM_MIB);
	tm_test_pool(t.client, TMEM_POOL_PERSISTENT);
	noise = put_all(&t, TM_PAGE_NOISE, 0);
	end = put_all(&t, TM_PAGE_SAME, noise);
	ck_assert_uint_gt(end, noise + 1);
	for (int i = 0; i < 10; i++) {
		processor = i % 2;
		ck_assert_int_eq(
			tmem_flush_page(t.client, 0, &oid, end - 1), 1);
		processor = !processor;
		ck_assert_uint_eq(put_all(&t, TM_PAGE_SAME, end - 1), end);
	}
	tm_test_end(&t);
}
END_TEST

static void add(Suite *suite, const char *name, const TTest *test, int times)
{
	TCase *tcase = tcase_create(name);

	tcase_set_timeout(tcase, 60);
	tcase_add_loop_test(tcase, test, 0, times);
	suite_add_tcase(suite, tcase);
}

#define ADD(test, times) add(suite, #test, test, times)

int main(void)
{
	Suite *suite = suite_create("full-store");

	ADD(a_full_store_takes_new_clients_and_pools, 1);
	ADD(a_put_waits_for_whoever_reaps, 1);
	ADD(pages_without_bytes_are_passed_over, 2);
	ADD(a_frame_given_back_is_not_all_that_is_done, 16);
	ADD(eviction_ends_although_a_guest_refills, 3);
	ADD(a_put_finds_what_was_just_reaped, 1);
	ADD(records_are_found_where_they_were_freed, 1);
	return tm_test_run(suite);
}
