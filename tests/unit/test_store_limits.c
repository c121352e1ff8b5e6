/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Who may hold how much: limit, cap, reservation, weight, age, and what is
 * given back. Invariants 5 (under pressure), 6 (nobody starves another), 8
 * and 9 of the design.
 *
 * Most tests run with every allocator. metadata_sum_matches_rss measures a
 * process of its own: this program, run with one argument.
 */
#include <config.h>

#include <sys/wait.h>
#include <unistd.h>

#include "test_store.h"

#define PERSISTENT TMEM_POOL_PERSISTENT
#define MEASURE "--measure-rss"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define HAVE_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define HAVE_SANITIZER 1
#endif
#endif

static void begin(struct tm_test_store *t, int allocator, uint64_t memory_bytes)
{
	tm_test_init(t, memory_bytes);
	t->config.allocator = tm_test_allocators[allocator];
	tm_test_open(t);
}

static struct tmem_client *attach(struct tmem_store *store, const char *name,
				  uint32_t weight, uint64_t reservation_bytes,
				  uint64_t cap_bytes)
{
	struct tmem_client_config config;
	struct tmem_client *client;

	tmem_client_config_init(&config);
	config.name = name;
	config.weight = weight;
	config.reservation_bytes = reservation_bytes;
	config.cap_bytes = cap_bytes;
	ck_assert_int_eq(tmem_client_attach(store, &config, &client), 0);
	return client;
}

static int put_noise(struct tmem_client *client, int pool, uint32_t index)
{
	return tm_test_put(client, pool, 1, index, TM_PAGE_NOISE, index);
}

static int get_noise(struct tmem_client *client, int pool, uint32_t index)
{
	return tm_test_get(client, pool, 1, index, TM_PAGE_NOISE, index);
}

/* Persistent pages until no more go in. */
static uint32_t flood(const struct tm_test_store *t, struct tmem_client *client,
		      int pool)
{
	uint32_t i = 0;

	while (put_noise(client, pool, i) == TMEM_PUT_STORED) {
		tm_test_within_limit(t);
		i++;
	}
	return i;
}

/* --- the limit ------------------------------------------------------------ */

/* Both kinds of pool, all kinds of pages, gets and flushes: after every call. */
START_TEST(statistics_tell_what_can_go_and_what_must_stay)
{
	struct tmem_store_stats stats;
	struct tm_test_store t;
	int persistent, ephemeral;

	tm_test_begin(&t, 32 * TM_MIB);
	persistent = tm_test_pool(t.client, TMEM_POOL_PERSISTENT);
	ephemeral = tm_test_pool(t.client, 0);
	for (uint32_t i = 0; i < 1000; i++) {
		tm_test_put(t.client, persistent, 1, i, TM_PAGE_HEAP, i);
		tm_test_put(t.client, ephemeral, 1, i, TM_PAGE_HEAP, i);
	}
	stats = tm_test_stats(t.store);
	ck_assert_uint_ge(stats.needed_bytes,
			  stats.counts.compressed_bytes / 2);
	ck_assert_uint_le(stats.needed_bytes, stats.used_bytes);
	ck_assert_uint_ge(stats.freeable_bytes,
			  stats.counts.compressed_bytes / 2);
	ck_assert_int_eq(tmem_store_set_memory(t.store,
					       stats.needed_bytes - 1),
			 -EBUSY);
	ck_assert_int_eq(tmem_store_set_memory(t.store, stats.needed_bytes),
			 0);
	ck_assert_uint_le(tm_test_stats(t.store).freeable_bytes,
			  stats.freeable_bytes / 10);
	tm_test_end(&t);
}
END_TEST

START_TEST(limit_is_never_exceeded)
{
	static const uint64_t limits[] = { TMEM_MEMORY_MIN, TM_MIB,
					   4 * TM_MIB };
	uint64_t random = tm_test_seed();

	for (unsigned n = 0; n < 3; n++) {
		struct tm_test_store t;
		int pools[2];

		tm_test_init(&t, limits[n]);
		t.config.allocator = tm_test_allocators[_i];
		t.config.codec = TM_TEST_SMALL_CODEC;
		tm_test_open(&t);
		pools[0] = tm_test_pool(t.client, 0);
		pools[1] = tm_test_pool(t.client, PERSISTENT);
		tm_test_within_limit(&t);
		for (int i = 0; i < 20000; i++) {
			uint64_t r = tm_test_random(&random);
			struct tmem_oid oid = tm_oid(r % 16);
			uint32_t index = r >> 8 & 0x3ff;
			int pool = pools[r >> 20 & 1];

			if ((r >> 32) % 16 == 0)
				tmem_flush_object(t.client, pool, &oid);
			else if ((r >> 32) % 4 == 0)
				tmem_flush_page(t.client, pool, &oid, index);
			else
				tm_test_put(t.client, pool, r % 16, index,
					    (r >> 40) % TM_PAGE_KINDS, r);
			tm_test_within_limit(&t);
		}
		tm_test_end(&t);
	}
}
END_TEST

START_TEST(ephemeral_pages_make_room_and_persistent_ones_stay)
{
	struct tm_test_store t;
	uint32_t count = 1200;
	int persistent, ephemeral;

	begin(&t, _i, 8 * TM_MIB);
	persistent = tm_test_pool(t.client, PERSISTENT);
	ephemeral = tm_test_pool(t.client, 0);
	for (uint32_t i = 0; i < count; i++) {
		ck_assert_int_eq(put_noise(t.client, persistent, i),
				 TMEM_PUT_STORED);
		for (uint32_t k = 0; k < 3; k++)
			ck_assert_int_eq(put_noise(t.client, ephemeral,
						   3 * i + k),
					 TMEM_PUT_STORED);
	}
	for (uint32_t i = 0; i < count; i++)
		ck_assert_int_eq(get_noise(t.client, persistent, i),
				 TMEM_GET_HIT);
	ck_assert_uint_gt(tm_test_counts(t.client).evicted, 1000);
	ck_assert_uint_eq(tm_test_counts(t.client).puts_refused, 0);
	tm_test_end(&t);
}
END_TEST

/* The oldest ones: what was put last is there. */
START_TEST(a_client_loses_its_oldest_pages_first)
{
	struct tm_test_store t;
	uint32_t count = 4000, last, first_hit = 0;
	int pool;

	begin(&t, _i, 8 * TM_MIB);
	pool = tm_test_pool(t.client, 0);
	for (uint32_t i = 0; i < count; i++)
		ck_assert_int_eq(put_noise(t.client, pool, i), TMEM_PUT_STORED);
	last = count - (uint32_t)tm_test_counts(t.client).pages;
	while (get_noise(t.client, pool, first_hit) != TMEM_GET_HIT)
		first_hit++;
	ck_assert_uint_gt(first_hit, last / 2);
	for (uint32_t i = count - 800; i < count; i++)
		ck_assert_int_eq(get_noise(t.client, pool, i), TMEM_GET_HIT);
	tm_test_end(&t);
}
END_TEST

START_TEST(oldest_goes_first_without_weights)
{
	struct tmem_client *old, *young, *pusher;
	struct tm_test_store t;
	int pool, its;
	uint32_t i = 0;

	begin(&t, _i, 8 * TM_MIB);
	old = attach(t.store, "old", 0, 0, 0);
	young = attach(t.store, "young", 0, 0, 0);
	pusher = attach(t.store, "pusher", 0, 0, 0);
	/* The order of age is not the order of names or numbers. */
	its = tm_test_pool(young, 0);
	pool = tm_test_pool(old, 0);
	for (i = 0; i < 500; i++)
		put_noise(old, pool, i);
	usleep(50 * 1000);
	for (i = 0; i < 500; i++)
		put_noise(young, its, i);
	usleep(50 * 1000);
	tm_test_pool(pusher, PERSISTENT);
	for (i = 0; tm_test_counts(old).pages > 0; i++) {
		ck_assert_int_eq(put_noise(pusher, 0, i), TMEM_PUT_STORED);
		if (tm_test_counts(old).pages > 32)
			ck_assert_uint_eq(tm_test_counts(young).evicted, 0);
	}
	ck_assert_uint_gt(tm_test_counts(young).pages, 400);
	tmem_client_detach(old);
	tmem_client_detach(young);
	tmem_client_detach(pusher);
	tm_test_end(&t);
}
END_TEST

/* Three times the weight keeps three times the pages. */
START_TEST(weights_decide_who_is_evicted)
{
	struct tmem_client *light, *heavy;
	struct tm_test_store t;
	double share;

	begin(&t, _i, 8 * TM_MIB);
	light = attach(t.store, "light", 1, 0, 0);
	heavy = attach(t.store, "heavy", 3, 0, 0);
	tm_test_pool(light, 0);
	tm_test_pool(heavy, 0);
	for (uint32_t i = 0; i < 6000; i++) {
		ck_assert_int_eq(put_noise(light, 0, i), TMEM_PUT_STORED);
		ck_assert_int_eq(put_noise(heavy, 0, i), TMEM_PUT_STORED);
	}
	share = (double)tm_test_counts(heavy).billed_bytes /
		(double)(tm_test_counts(heavy).billed_bytes +
			 tm_test_counts(light).billed_bytes);
	printf("%s: the heavy client holds %.3f of the memory\n",
	       tm_test_allocators[_i], share);
	ck_assert_double_ge(share, 0.70);
	ck_assert_double_le(share, 0.80);
	tmem_client_detach(light);
	tmem_client_detach(heavy);
	tm_test_end(&t);
}
END_TEST

/* --- cap and reservation -------------------------------------------------- */

START_TEST(cap_refuses_then_allows)
{
	const uint64_t cap = 256 << 10;
	struct tmem_client *client;
	struct tm_test_store t;
	struct tmem_oid oid = tm_oid(1);
	uint32_t count = 0;
	int pool;

	begin(&t, _i, 8 * TM_MIB);
	client = attach(t.store, "capped", 0, 0, cap);
	pool = tm_test_pool(client, PERSISTENT);
	while (put_noise(client, pool, count) == TMEM_PUT_STORED) {
		ck_assert_uint_le(tm_test_counts(client).billed_bytes, cap);
		count++;
	}
	ck_assert_uint_gt(count, 40);
	ck_assert_uint_lt(count, 64);
	ck_assert_uint_eq(tm_test_counts(client).refused_cap, 1);
	/* What is in can be replaced by what is no larger. */
	ck_assert_int_eq(tm_test_put(client, pool, 1, 0, TM_PAGE_NOISE, 99),
			 TMEM_PUT_STORED);
	ck_assert_int_eq(tmem_flush_page(client, pool, &oid, 3), 1);
	ck_assert_int_eq(put_noise(client, pool, count), TMEM_PUT_STORED);
	ck_assert_int_eq(put_noise(client, pool, count + 1), TMEM_PUT_REFUSED);
	/* Nobody else is concerned. */
	tm_test_pool(t.client, PERSISTENT);
	for (uint32_t i = 0; i < 200; i++)
		ck_assert_int_eq(put_noise(t.client, 0, i), TMEM_PUT_STORED);
	tmem_client_detach(client);
	tm_test_end(&t);
}
END_TEST

START_TEST(ephemeral_pages_under_a_cap_make_room_for_each_other)
{
	const uint64_t cap = 256 << 10;
	struct tmem_client *client;
	struct tm_test_store t;

	begin(&t, _i, 8 * TM_MIB);
	client = attach(t.store, "capped", 0, 0, cap);
	tm_test_pool(client, 0);
	for (uint32_t i = 0; i < 500; i++) {
		ck_assert_int_eq(put_noise(client, 0, i), TMEM_PUT_STORED);
		ck_assert_uint_le(tm_test_counts(client).billed_bytes, cap);
	}
	ck_assert_int_eq(get_noise(client, 0, 499), TMEM_GET_HIT);
	ck_assert_int_eq(get_noise(client, 0, 1), TMEM_GET_MISS);
	tmem_client_detach(client);
	tm_test_end(&t);
}
END_TEST

START_TEST(a_lower_cap_drops_ephemeral_pages_at_once)
{
	struct tmem_client_config config;
	struct tm_test_store t;

	begin(&t, _i, 8 * TM_MIB);
	tm_test_pool(t.client, 0);
	for (uint32_t i = 0; i < 500; i++)
		put_noise(t.client, 0, i);
	tmem_client_config_init(&config);
	config.cap_bytes = 128 << 10;
	ck_assert_int_eq(tmem_client_set(t.client, &config), 0);
	ck_assert_uint_le(tm_test_counts(t.client).billed_bytes, 128 << 10);
	ck_assert_int_eq(get_noise(t.client, 0, 499), TMEM_GET_HIT);
	config.reservation_bytes = 256 << 10;
	ck_assert_int_eq(tmem_client_set(t.client, &config), -EINVAL);
	tm_test_end(&t);
}
END_TEST

/* In a shared pool pages change hands; the cap holds all the same. */
START_TEST(a_cap_holds_in_a_shared_pool)
{
	const struct tmem_uuid uuid = { { 1, 2 } };
	const uint64_t cap = 256 << 10;
	struct tmem_client *client;
	struct tm_test_store t;
	int pool;

	begin(&t, _i, 8 * TM_MIB);
	client = attach(t.store, "capped", 0, 0, cap);
	tmem_client_set_shared_auth(t.client, &uuid, true);
	tmem_client_set_shared_auth(client, &uuid, true);
	pool = tmem_pool_create(t.client, TMEM_POOL_SHARED, &uuid);
	ck_assert_int_eq(tmem_pool_create(client, TMEM_POOL_SHARED, &uuid), 0);
	for (uint32_t i = 0; i < 300; i++)
		put_noise(t.client, pool, i);
	for (uint32_t i = 0; i < 300; i++) {
		put_noise(client, 0, i);
		ck_assert_uint_le(tm_test_counts(client).billed_bytes, cap);
	}
	tmem_client_detach(client);
	tm_test_end(&t);
}
END_TEST

struct guarantee {
	enum tm_page_kind kind;
	bool one_object;
	uint32_t flags;
};

/* Puts until @bytes are billed: not one of them may be refused. */
static void use_reservation(const struct tm_test_store *t,
			    struct tmem_client *client,
			    const struct guarantee *g, uint64_t bytes)
{
	uint32_t i = 0;
	int pool = tm_test_pool(client, g->flags);

	/* The most one page can add is itself and what goes with it. A client
	 * may evict its own pages, so there is no end to ephemeral ones. */
	while (tm_test_counts(client).billed_bytes + 4096 + 256 <= bytes &&
	       i < 50000) {
		uint64_t object = g->one_object ? 1 : i;
		int result = tm_test_put(client, pool, object, i, g->kind, i);

		ck_assert_msg(result == TMEM_PUT_STORED,
			      "put %u of kind %d was refused at %" PRIu64
			      " of %" PRIu64 " bytes",
			      i, g->kind, tm_test_counts(client).billed_bytes,
			      bytes);
		i++;
	}
	ck_assert_uint_gt(i, 0);
	if (g->flags & PERSISTENT)
		ck_assert_uint_lt(i, 50000);
	tm_test_within_limit(t);
}

/* Another client has taken all that it can get, before and in between. */
START_TEST(reservation_is_never_refused_for_memory)
{
	static const uint32_t flags[] = { 0, PERSISTENT };
	const uint64_t bytes = 2 * TM_MIB;

	for (int n = 0; n < 4 * TM_PAGE_KINDS; n++) {
		const struct guarantee g = { n / 4, n & 1, flags[n >> 1 & 1] };
		struct tmem_client *client, *bully;
		struct tm_test_store t;

		begin(&t, _i, 8 * TM_MIB);
		bully = attach(t.store, "bully", 0, 0, 0);
		client = attach(t.store, "reserved", 0, bytes, 0);
		tm_test_pool(bully, PERSISTENT);
		ck_assert_uint_gt(flood(&t, bully, 0), 700);
		use_reservation(&t, client, &g, bytes / 2);
		flood(&t, bully, 0);
		use_reservation(&t, client, &g, bytes);
		tmem_client_detach(client);
		tmem_client_detach(bully);
		tm_test_end(&t);
	}
}
END_TEST

/* Ephemeral pages within it are nobody's to evict. */
START_TEST(a_reservation_keeps_ephemeral_pages)
{
	struct tmem_client *client, *bully;
	struct tm_test_store t;

	begin(&t, _i, 8 * TM_MIB);
	client = attach(t.store, "reserved", 0, 2 * TM_MIB, 0);
	bully = attach(t.store, "bully", 1000, 0, 0);
	tm_test_pool(client, 0);
	tm_test_pool(bully, PERSISTENT);
	tm_test_pool(bully, 0);
	for (uint32_t i = 0; i < 400; i++)
		put_noise(client, 0, i);
	flood(&t, bully, 0);
	for (uint32_t i = 0; i < 3000; i++)
		put_noise(bully, 1, i);
	for (uint32_t i = 0; i < 400; i++)
		ck_assert_int_eq(get_noise(client, 0, i), TMEM_GET_HIT);
	tmem_client_detach(client);
	tmem_client_detach(bully);
	tm_test_end(&t);
}
END_TEST

START_TEST(reservations_beyond_the_limit_are_refused)
{
	struct tmem_client_config config;
	struct tmem_client *a, *b;
	struct tm_test_store t;

	begin(&t, _i, 8 * TM_MIB);
	a = attach(t.store, "a", 0, 2 * TM_MIB, 0);
	tmem_client_config_init(&config);
	config.name = "b";
	config.reservation_bytes = 7 * TM_MIB;
	ck_assert_int_eq(tmem_client_attach(t.store, &config, &b), -ENOSPC);
	config.reservation_bytes = UINT64_MAX;
	ck_assert_int_eq(tmem_client_attach(t.store, &config, &b), -ENOSPC);
	config.reservation_bytes = TM_MIB;
	ck_assert_int_eq(tmem_client_attach(t.store, &config, &b), 0);
	ck_assert_int_eq(tmem_store_set_memory(t.store, 5 * TM_MIB / 2),
			 -EBUSY);
	ck_assert_uint_eq(tm_test_stats(t.store).memory_bytes, 8 * TM_MIB);
	/* What has ended needs nothing any more. */
	ck_assert_int_eq(tmem_client_destroy(b), 0);
	ck_assert_int_eq(tmem_store_set_memory(t.store, 5 * TM_MIB / 2), 0);
	tmem_client_detach(a);
	tm_test_end(&t);
}
END_TEST

/* --- giving back ----------------------------------------------------------- */

START_TEST(a_higher_limit_takes_more_and_a_lower_one_evicts)
{
	struct tm_test_store t;
	uint64_t used;

	begin(&t, _i, 4 * TM_MIB);
	tm_test_pool(t.client, 0);
	for (uint32_t i = 0; i < 4000; i++)
		put_noise(t.client, 0, i);
	used = tm_test_stats(t.store).used_bytes;
	ck_assert_uint_le(used, 4 * TM_MIB);
	ck_assert_int_eq(tmem_store_set_memory(t.store, 12 * TM_MIB), 0);
	for (uint32_t i = 0; i < 4000; i++)
		put_noise(t.client, 0, i);
	ck_assert_uint_gt(tm_test_stats(t.store).used_bytes, 11 * TM_MIB);
	ck_assert_int_eq(tmem_store_set_memory(t.store, 3 * TM_MIB), 0);
	tm_test_within(t.store, 3 * TM_MIB);
	ck_assert_uint_eq(tm_test_stats(t.store).memory_bytes, 3 * TM_MIB);
	ck_assert_int_eq(tmem_store_set_memory(t.store, TMEM_MEMORY_MIN - 1),
			 -EINVAL);
	ck_assert_int_eq(tmem_store_set_memory(t.store, 17 * TM_MIB), -EINVAL);
	tm_test_end(&t);
}
END_TEST

START_TEST(a_limit_below_persistent_use_is_refused)
{
	struct tm_test_store t;

	begin(&t, _i, 8 * TM_MIB);
	tm_test_pool(t.client, PERSISTENT);
	for (uint32_t i = 0; i < 1000; i++)
		put_noise(t.client, 0, i);
	ck_assert_int_eq(tmem_store_set_memory(t.store, 3 * TM_MIB), -EBUSY);
	ck_assert_uint_eq(tm_test_stats(t.store).memory_bytes, 8 * TM_MIB);
	for (uint32_t i = 0; i < 1000; i++)
		ck_assert_int_eq(get_noise(t.client, 0, i), TMEM_GET_HIT);
	tm_test_end(&t);
}
END_TEST

/* A limit that persistent pages fit, but not all that goes with them: it
 * comes down with use, and is not exceeded meanwhile. */
START_TEST(a_limit_in_force_comes_down_with_use)
{
	struct tmem_oid oid = tm_oid(1);
	struct tm_test_store t;
	uint64_t want, before = UINT64_MAX;

	begin(&t, _i, 8 * TM_MIB);
	tm_test_pool(t.client, PERSISTENT);
	for (uint32_t i = 0; i < 1000; i++)
		put_noise(t.client, 0, i);
	want = tm_test_counts(t.client).billed_bytes + 4096;
	ck_assert_int_eq(tmem_store_set_memory(t.store, want), 0);
	for (uint32_t i = 0; i < 900; i++) {
		struct tmem_store_stats stats = tm_test_stats(t.store);

		tm_test_within_limit(&t);
		ck_assert_uint_le(stats.memory_bytes, before);
		ck_assert_uint_ge(stats.memory_bytes, want);
		before = stats.memory_bytes;
		ck_assert_int_eq(tmem_flush_page(t.client, 0, &oid, i), 1);
		tm_test_settle(t.store);
	}
	ck_assert_uint_eq(tm_test_stats(t.store).memory_bytes, want);
	for (uint32_t i = 900; i < 1000; i++)
		ck_assert_int_eq(get_noise(t.client, 0, i), TMEM_GET_HIT);
	tm_test_end(&t);
}
END_TEST

START_TEST(evict_gives_back_what_it_says)
{
	struct tm_test_store t;
	uint64_t before;
	int64_t given;

	begin(&t, _i, 8 * TM_MIB);
	tm_test_pool(t.client, 0);
	tm_test_pool(t.client, PERSISTENT);
	for (uint32_t i = 0; i < 300; i++)
		put_noise(t.client, 1, i);
	for (uint32_t i = 0; i < 1000; i++)
		put_noise(t.client, 0, i);
	before = tm_test_stats(t.store).used_bytes;
	ck_assert_int_eq(tmem_store_evict(t.store, 0), 0);
	ck_assert_uint_eq(tm_test_counts(t.client).evicted, 0);
	given = tmem_store_evict(t.store, TM_MIB);
	ck_assert_int_ge(given, TM_MIB);
	ck_assert_int_le(given, 2 * TM_MIB);
	ck_assert_int_eq(given, (int64_t)(before -
					  tm_test_stats(t.store).used_bytes));
	ck_assert_uint_gt(tm_test_counts(t.client).pages, 600);
	tmem_store_evict(t.store, UINT64_MAX);
	ck_assert_uint_eq(tm_test_counts(t.client).pages, 300);
	for (uint32_t i = 0; i < 300; i++)
		ck_assert_int_eq(get_noise(t.client, 1, i), TMEM_GET_HIT);
	tm_test_end(&t);
}
END_TEST

/* Nothing leaks: the same work again takes no more memory. */
START_TEST(a_store_that_was_emptied_is_as_good_as_new)
{
	struct tm_test_store t;
	uint64_t first = 0;

	begin(&t, _i, 8 * TM_MIB);
	for (int round = 0; round < 6; round++) {
		int pool = tm_test_pool(t.client, round & 1);
		uint32_t stored = 0;

		for (uint32_t i = 0; i < 1500; i++)
			stored += tm_test_put(t.client, pool, i % 100, i,
					      i % TM_PAGE_KINDS,
					      i) == TMEM_PUT_STORED;
		ck_assert_uint_eq(stored, 1500);
		ck_assert_int_eq(tmem_pool_destroy(t.client, pool), 0);
		tm_test_settle(t.store);
		tm_test_check(&t);
		tmem_store_evict(t.store, UINT64_MAX);
		ck_assert_uint_eq(tm_test_stats(t.store).arena_bytes, 0);
		ck_assert_uint_eq(tm_test_stats(t.store).idle_bytes, 0);
		if (round == 1)
			first = tm_test_stats(t.store).used_bytes;
		if (round > 1)
			ck_assert_uint_le(tm_test_stats(t.store).used_bytes,
					  first + 16384);
	}
	tm_test_end(&t);
}
END_TEST

/* A huge page of frames at a time, but never at the cost of pages. */
START_TEST(frames_are_populated_ahead_only_where_memory_is_plenty)
{
	struct tmem_store_stats stats;
	struct tm_test_store t;
	uint32_t stored = 0;
	int pool;

	begin(&t, _i, 32 * TM_MIB);
	put_noise(t.client, tm_test_pool(t.client, PERSISTENT), 0);
	ck_assert_uint_eq(tm_test_stats(t.store).idle_bytes, 0);
	tm_test_end(&t);

	begin(&t, _i, 64 * TM_MIB);
	pool = tm_test_pool(t.client, PERSISTENT);
	put_noise(t.client, pool, 0);
	stats = tm_test_stats(t.store);
	ck_assert_uint_eq(stats.arena_bytes + stats.idle_bytes, 2 * TM_MIB);
	while (put_noise(t.client, pool, stored) == TMEM_PUT_STORED)
		stored++;
	stats = tm_test_stats(t.store);
	ck_assert_uint_le(stats.used_bytes, 64 * TM_MIB);
	ck_assert_uint_eq(stats.idle_bytes, 0);
	ck_assert_uint_ge(stats.arena_bytes, 60 * TM_MIB);
	tmem_store_evict(t.store, UINT64_MAX);
	for (uint32_t i = 0; i < stored; i++)
		ck_assert_int_eq(get_noise(t.client, pool, i), TMEM_GET_HIT);
	tm_test_end(&t);
}
END_TEST

/* --- what the process really takes ----------------------------------------- */

static uint64_t rss_bytes(void)
{
	FILE *file = fopen("/proc/self/status", "r");
	char line[256];
	uint64_t total = 0;

	ck_assert_ptr_nonnull(file);
	while (fgets(line, sizeof(line), file)) {
		uint64_t kib;

		if (sscanf(line, "RssAnon: %" SCNu64, &kib) == 1 ||
		    sscanf(line, "RssShmem: %" SCNu64, &kib) == 1)
			total += kib << 10;
	}
	fclose(file);
	return total;
}

/* Runs in a process of its own, see below. */
START_TEST(measure)
{
	const char *allocator = tm_test_allocators[_i];
	struct tmem_store_stats before, after;
	struct tm_test_store t;
	uint64_t rss_before, rss_after;
	double rss, sum;
	int pool;

	tm_test_init(&t, 128 * TM_MIB);
	t.config.allocator = allocator;
	tm_test_open(&t);
	pool = tm_test_pool(t.client, 0);
	/* Code and libraries have touched what they need. */
	for (uint32_t i = 0; i < 64; i++)
		tm_test_put(t.client, pool, i, 0, i % TM_PAGE_KINDS, i);
	before = tm_test_stats(t.store);
	rss_before = rss_bytes();
	for (uint32_t i = 0; i < 40000; i++)
		ck_assert_int_eq(tm_test_put(t.client, pool, 100 + i / 2, i,
					     i % TM_PAGE_KINDS, i),
				 TMEM_PUT_STORED);
	after = tm_test_stats(t.store);
	rss_after = rss_bytes();
	rss = (double)(rss_after - rss_before);
	sum = (double)(after.used_bytes - before.used_bytes);
	printf("%s: %.0f bytes of RSS, %.0f bytes accounted for, of them "
	       "%.0f metadata; %.4f\n",
	       allocator, rss, sum,
	       (double)(after.metadata_bytes - before.metadata_bytes),
	       rss / sum);
	tm_test_end(&t);
	/* Frames are exact, so all of the difference is metadata's: it must be
	 * within 3 % of that, and the pages that tables took ahead. */
	sum = (double)(after.metadata_bytes - before.metadata_bytes);
	rss -= (double)(after.arena_bytes + after.idle_bytes -
			before.arena_bytes - before.idle_bytes);
	ck_assert_double_le(rss, sum * 1.03 + 65536);
	ck_assert_double_ge(rss, sum * 0.90 - 262144);
}
END_TEST

/* libcheck forks for each test, and what a fork copied counts as well: so the
 * measuring process is a fresh one that does not fork. */
static int run_measure(int allocator)
{
	Suite *suite = suite_create("store: memory of a process");
	TCase *tcase = tcase_create("measure");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_loop_test(tcase, measure, allocator, allocator + 1);
	suite_add_tcase(suite, tcase);
	srunner_set_fork_status(runner, CK_NOFORK);
	srunner_run_all(runner, CK_VERBOSE);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

START_TEST(metadata_sum_matches_rss)
{
#ifdef HAVE_SANITIZER
	printf("a sanitizer's own memory would be measured: left out\n");
#else
	int status;
	pid_t child = fork();

	ck_assert_int_ge(child, 0);
	if (!child) {
		char allocator[2] = { (char)('0' + _i), '\0' };

		unsetenv("CK_RUN_CASE");
		execl("/proc/self/exe", "test_store_limits", MEASURE, allocator,
		      (char *)NULL);
		_exit(127);
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert(WIFEXITED(status));
	ck_assert_int_eq(WEXITSTATUS(status), 0);
#endif
}
END_TEST

static void add(Suite *suite, const char *name, const TTest *test)
{
	TCase *tcase = tcase_create(name);

	tcase_add_loop_test(tcase, test, 0, TM_TEST_ALLOCATORS);
	suite_add_tcase(suite, tcase);
}

#define ADD(test) add(suite, #test, test)

int main(int argc, char **argv)
{
	Suite *suite;

	if (argc == 3 && !strcmp(argv[1], MEASURE))
		return run_measure(argv[2][0] - '0');
	suite = suite_create("store: limits");
	ADD(statistics_tell_what_can_go_and_what_must_stay);
	ADD(limit_is_never_exceeded);
	ADD(ephemeral_pages_make_room_and_persistent_ones_stay);
	ADD(a_client_loses_its_oldest_pages_first);
	ADD(oldest_goes_first_without_weights);
	ADD(weights_decide_who_is_evicted);
	ADD(cap_refuses_then_allows);
	ADD(ephemeral_pages_under_a_cap_make_room_for_each_other);
	ADD(a_lower_cap_drops_ephemeral_pages_at_once);
	ADD(a_cap_holds_in_a_shared_pool);
	ADD(reservation_is_never_refused_for_memory);
	ADD(a_reservation_keeps_ephemeral_pages);
	ADD(reservations_beyond_the_limit_are_refused);
	ADD(a_higher_limit_takes_more_and_a_lower_one_evicts);
	ADD(a_limit_below_persistent_use_is_refused);
	ADD(a_limit_in_force_comes_down_with_use);
	ADD(evict_gives_back_what_it_says);
	ADD(a_store_that_was_emptied_is_as_good_as_new);
	ADD(frames_are_populated_ahead_only_where_memory_is_plenty);
	ADD(metadata_sum_matches_rss);
	return tm_test_run(suite);
}
