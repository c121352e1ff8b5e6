/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What is done to a store rather than with it: clients come and go, plugins
 * are switched, processes fork, files are reopened, bits flip. Invariants 5, 9
 * and 10 of the design.
 *
 * Damage is done where it happens in life: in the mapping of an arena in a
 * memfd (found in /proc/self/maps), or in an arena's file while it is closed.
 */
#include <config.h>

#include <fcntl.h>
#include <linux/futex.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "layout.h"
#include "test_store.h"

#define PERSISTENT TMEM_POOL_PERSISTENT

static void begin(struct tm_test_store *t, int allocator)
{
	tm_test_init(t, 8 * TM_MIB);
	t->config.allocator = tm_test_allocators[allocator];
	tm_test_open(t);
}

static void put_some(struct tmem_client *client, int pool, uint64_t object,
		     uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		ck_assert_int_eq(tm_test_put(client, pool, object, i,
					     i % TM_PAGE_KINDS, i),
				 TMEM_PUT_STORED);
}

static void expect_some(struct tmem_client *client, int pool, uint64_t object,
			uint32_t count, int result)
{
	for (uint32_t i = 0; i < count; i++)
		ck_assert_int_eq(tm_test_get(client, pool, object, i,
					     i % TM_PAGE_KINDS, i),
				 result);
}

/* --- clients and pools ------------------------------------------------------ */

START_TEST(a_detached_client_keeps_its_pages)
{
	struct tmem_pool_info info = { .struct_size = sizeof(info) };
	struct tmem_client_config config;
	struct tmem_client *again;
	struct tm_test_store t;
	int pool;

	begin(&t, _i);
	tm_test_pool(t.client, 0);
	pool = tm_test_pool(t.client, PERSISTENT);
	put_some(t.client, pool, 1, 100);
	put_some(t.client, 0, 1, 100);
	tmem_client_config_init(&config);
	config.name = "client";
	ck_assert_int_eq(tmem_client_attach(t.store, &config, &again), -EBUSY);
	tmem_client_detach(t.client);
	tm_test_check(&t);
	ck_assert_int_eq(tmem_client_attach(t.store, &config, &t.client), 1);
	ck_assert_int_eq(tmem_pool_get_info(t.client, pool, &info), 0);
	ck_assert_uint_eq(info.flags, PERSISTENT);
	ck_assert_uint_eq(info.pages, 100);
	ck_assert_uint_eq(info.objects, 1);
	ck_assert_uint_eq(info.members, 1);
	expect_some(t.client, pool, 1, 100, TMEM_GET_HIT);
	expect_some(t.client, 0, 1, 100, TMEM_GET_HIT);
	ck_assert_int_eq(tmem_pool_get_info(t.client, 2, &info), -ENOENT);
	tm_test_end(&t);
}
END_TEST

START_TEST(client_names_have_bounds)
{
	struct tmem_client_config config;
	struct tmem_client *client;
	struct tm_test_store t;
	char name[TMEM_CLIENT_NAME_MAX + 2];

	begin(&t, _i);
	tmem_client_config_init(&config);
	ck_assert_int_eq(tmem_client_attach(t.store, &config, &client),
			 -EINVAL);
	config.name = "";
	ck_assert_int_eq(tmem_client_attach(t.store, &config, &client),
			 -EINVAL);
	memset(name, 'x', sizeof(name));
	name[TMEM_CLIENT_NAME_MAX + 1] = '\0';
	config.name = name;
	ck_assert_int_eq(tmem_client_attach(t.store, &config, &client),
			 -EINVAL);
	name[TMEM_CLIENT_NAME_MAX] = '\0';
	ck_assert_int_eq(tmem_client_attach(t.store, &config, &client), 0);
	tmem_client_detach(client);
	tm_test_end(&t);
}
END_TEST

START_TEST(pool_ids_are_reused_and_bring_nothing_back)
{
	struct tm_test_store t;

	begin(&t, _i);
	for (int i = 0; i < TMEM_POOLS_MAX; i++)
		ck_assert_int_eq(tmem_pool_create(t.client, i & 1, NULL), i);
	ck_assert_int_eq(tmem_pool_create(t.client, 0, NULL), -ENOSPC);
	for (int round = 0; round < 50; round++) {
		put_some(t.client, 4, 1, 20);
		put_some(t.client, 5, 1, 20);
		ck_assert_int_eq(tmem_pool_destroy(t.client, 5), 0);
		ck_assert_int_eq(tmem_pool_destroy(t.client, 4), 0);
		ck_assert_int_eq(tmem_pool_destroy(t.client, 4), -ENOENT);
		ck_assert_int_eq(tmem_pool_create(t.client, 0, NULL), 4);
		ck_assert_int_eq(tmem_pool_create(t.client, PERSISTENT, NULL),
				 5);
		expect_some(t.client, 4, 1, 20, TMEM_GET_MISS);
		expect_some(t.client, 5, 1, 20, TMEM_GET_MISS);
		if (round % 7 == 0)
			tm_test_settle(t.store);
	}
	tm_test_end(&t);
}
END_TEST

/* A client that makes and ends pools for ever takes nothing from others. */
START_TEST(pools_made_and_ended_for_ever_take_no_memory)
{
	struct tm_test_store t;
	uint64_t before = 0;

	begin(&t, _i);
	for (int i = 0; i < 20000; i++) {
		int pool = tm_test_pool(t.client, i & 1);

		tm_test_put(t.client, pool, 1, 1, TM_PAGE_TEXT, 1);
		ck_assert_int_eq(tmem_pool_destroy(t.client, pool), 0);
		if (i == 1000)
			before = tm_test_stats(t.store).used_bytes;
	}
	ck_assert_uint_le(tm_test_stats(t.store).used_bytes, before + 65536);
	tm_test_end(&t);
}
END_TEST

START_TEST(clients_made_and_ended_for_ever_take_no_memory)
{
	struct tm_test_store t;
	uint64_t before = 0;

	begin(&t, _i);
	for (int i = 0; i < 2000; i++) {
		struct tmem_client *client = tm_test_attach(t.store, "passer");

		tm_test_pool(client, i & 1);
		tm_test_put(client, 0, 1, 1, TM_PAGE_TEXT, 1);
		ck_assert_int_eq(tmem_client_destroy(client), 0);
		if (i == 400)
			before = tm_test_stats(t.store).used_bytes;
	}
	ck_assert_uint_le(tm_test_stats(t.store).used_bytes, before + 65536);
	tm_test_end(&t);
}
END_TEST

START_TEST(destroy_credits_at_once)
{
	struct tmem_client *other;
	struct tm_test_store t;
	uint64_t billed;

	begin(&t, _i);
	for (uint32_t flags = 0; flags < 2; flags++) {
		int keep = tm_test_pool(t.client, flags);
		int pool = tm_test_pool(t.client, flags);

		put_some(t.client, keep, 1, 50);
		billed = tm_test_counts(t.client).billed_bytes;
		put_some(t.client, pool, 1, 500);
		ck_assert_int_eq(tmem_pool_destroy(t.client, pool), 0);
		ck_assert_uint_eq(tm_test_counts(t.client).billed_bytes,
				  billed);
		tm_test_settle(t.store);
		ck_assert_uint_eq(tm_test_counts(t.client).billed_bytes,
				  billed);
	}
	other = tm_test_attach(t.store, "other");
	tm_test_pool(other, 0);
	put_some(other, 0, 1, 500);
	billed = tm_test_counts(t.client).billed_bytes;
	ck_assert_int_eq(tmem_client_destroy(other), 0);
	ck_assert_uint_eq(tm_test_stats(t.store).counts.billed_bytes, billed);
	ck_assert_uint_eq(tm_test_stats(t.store).clients, 1);
	tm_test_settle(t.store);
	ck_assert_uint_eq(tm_test_stats(t.store).counts.billed_bytes, billed);
	tm_test_end(&t);
}
END_TEST

/* Dead pages in between are nobody's to evict or to bill. */
START_TEST(eviction_passes_over_what_is_dead)
{
	struct tmem_oid oid = tm_oid(1);
	struct tm_test_store t;
	int pool, keep;

	begin(&t, _i);
	keep = tm_test_pool(t.client, 0);
	for (int round = 0; round < 10; round++) {
		pool = tm_test_pool(t.client, 0);
		for (uint32_t i = 0; i < 1500; i++)
			ck_assert_int_eq(tm_test_put(t.client, pool,
						     i / 500, i, TM_PAGE_NOISE,
						     i),
					 TMEM_PUT_STORED);
		if (round & 1)
			tmem_flush_object(t.client, pool, &oid);
		ck_assert_int_eq(tmem_pool_destroy(t.client, pool), 0);
		ck_assert_uint_eq(tm_test_counts(t.client).billed_bytes, 0);
		/* Most of them are still there to be met. */
		if (round % 3 == 0)
			ck_assert_int_ge(tmem_store_evict(t.store, 5 * TM_MIB),
					 5 * TM_MIB);
		ck_assert_int_eq(tm_test_put(t.client, keep, 1, 0,
					     TM_PAGE_NOISE, 0),
				 TMEM_PUT_STORED);
		ck_assert_uint_ge(tm_test_counts(t.client).billed_bytes, 4096);
		tm_test_get(t.client, keep, 1, 0, TM_PAGE_NOISE, 0);
		ck_assert_uint_eq(tm_test_counts(t.client).billed_bytes, 0);
	}
	ck_assert_uint_eq(tm_test_counts(t.client).puts_refused, 0);
	tm_test_end(&t);
}
END_TEST

/* --- plugins, while pages are stored ---------------------------------------- */

START_TEST(pages_of_every_codec_and_allocator_stay_readable)
{
	static const char *const codecs[] = { "lz4", "none", "zlib:1", "zstd",
					      "zlib:9", "lz4" };
	const uint64_t count = sizeof(codecs) / sizeof(codecs[0]);
	struct tm_test_store t;
	int pool, usable = 0;

	begin(&t, _i);
	pool = tm_test_pool(t.client, PERSISTENT);
	for (uint64_t n = 0; n < count; n++) {
		/* A build may be without one. */
		if (!tmem_store_set_codec(t.store, codecs[n]))
			usable++;
		ck_assert_int_eq(tmem_store_set_allocator(
					 t.store, tm_test_allocators[n & 1]),
				 0);
		ck_assert_str_eq(tm_test_stats(t.store).allocator,
				 tm_test_allocators[n & 1]);
		put_some(t.client, pool, n, 60);
		for (uint64_t k = 0; k <= n; k++)
			expect_some(t.client, pool, k, 60, TMEM_GET_HIT);
	}
	ck_assert_int_ge(usable, 1);
	/* And every page of every one can be replaced, and go. */
	for (uint64_t n = 0; n < count; n++) {
		struct tmem_oid oid = tm_oid(n);

		put_some(t.client, pool, n, 30);
		ck_assert_int_eq(tmem_flush_object(t.client, pool, &oid), 1);
	}
	tm_test_settle(t.store);
	ck_assert_uint_eq(tm_test_stats(t.store).arena_bytes, 0);
	tm_test_end(&t);
}
END_TEST

static void expect_codec(const struct tm_test_store *t, const char *codec,
			 int32_t level)
{
	struct tmem_client_info info = { .struct_size = sizeof(info) };

	ck_assert_int_eq(tmem_client_get_info(t->client, &info), 0);
	ck_assert_str_eq(info.codec, codec);
	ck_assert_int_eq(info.level, level);
	ck_assert_str_eq(info.allocator, tm_test_stats(t->store).allocator);
}

START_TEST(a_client_says_what_its_new_pages_will_be)
{
	struct tmem_store_stats stats;
	struct tm_test_store t;

	begin(&t, _i);
	stats = tm_test_stats(t.store);
	expect_codec(&t, stats.codec, stats.level);
	ck_assert_int_eq(tmem_client_set_codec(t.client, "none"), 0);
	expect_codec(&t, "none", 0);
	ck_assert_int_eq(tmem_store_set_allocator(t.store,
						  tm_test_allocators[!_i]),
			 0);
	expect_codec(&t, "none", 0);
	ck_assert_int_eq(tmem_client_set_codec(t.client, NULL), 0);
	expect_codec(&t, stats.codec, stats.level);
	tm_test_end(&t);
}
END_TEST

/* As it was before it knew of codecs. */
START_TEST(a_shorter_info_is_filled_as_far_as_it_goes)
{
	const size_t size = offsetof(struct tmem_client_info, codec);
	struct tmem_client_info info, untouched;
	struct tm_test_store t;
	uint32_t position = 0;

	begin(&t, _i);
	memset(&untouched, 0x5a, sizeof(untouched));
	info = untouched;
	info.struct_size = size;
	ck_assert_int_eq(tmem_client_get_info(t.client, &info), 0);
	ck_assert_uint_eq(info.struct_size, size);
	ck_assert_uint_ne(info.name[0], 0x5a);
	ck_assert_mem_eq((char *)&info + size, (char *)&untouched + size,
			 sizeof(info) - size);
	ck_assert_int_eq(tmem_store_walk_clients(t.store, &position, &info), 1);
	ck_assert_mem_eq((char *)&info + size, (char *)&untouched + size,
			 sizeof(info) - size);
	info.struct_size = size - 1;
	ck_assert_int_eq(tmem_client_get_info(t.client, &info), -EINVAL);
	tm_test_end(&t);
}
END_TEST

START_TEST(an_unknown_plugin_changes_nothing)
{
	struct tmem_store_stats before, after;
	struct tm_test_store t;

	begin(&t, _i);
	before = tm_test_stats(t.store);
	ck_assert_int_eq(tmem_store_set_codec(t.store, "lz44"), -EINVAL);
	ck_assert_int_eq(tmem_store_set_codec(t.store, "zlib:77"), -EINVAL);
	ck_assert_int_eq(tmem_store_set_allocator(t.store, "zbu"), -EINVAL);
	after = tm_test_stats(t.store);
	ck_assert_str_eq(before.codec, after.codec);
	ck_assert_str_eq(before.allocator, after.allocator);
	ck_assert_uint_eq(before.used_bytes, after.used_bytes);
	tm_test_end(&t);
}
END_TEST

/* Sparse runs, from flushing three pages of four. */
START_TEST(compaction_keeps_every_byte)
{
	struct tmem_oid oid = tm_oid(1);
	struct tm_test_store t;
	uint64_t before;
	int pool;

	begin(&t, _i);
	pool = tm_test_pool(t.client, PERSISTENT);
	for (uint32_t i = 0; i < 3000; i++)
		ck_assert_int_eq(tm_test_put(t.client, pool, 1, i,
					     TM_PAGE_HEAP, i),
				 TMEM_PUT_STORED);
	before = tm_test_stats(t.store).arena_bytes;
	for (uint32_t i = 0; i < 3000; i++)
		if (i % 4)
			tmem_flush_page(t.client, pool, &oid, i);
	tm_test_settle(t.store);
	ck_assert_uint_gt(tm_test_stats(t.store).moves, 0);
	ck_assert_uint_lt(tm_test_stats(t.store).arena_bytes, before / 2);
	for (uint32_t i = 0; i < 3000; i += 4)
		ck_assert_int_eq(tm_test_get(t.client, pool, 1, i,
					     TM_PAGE_HEAP, i),
				 TMEM_GET_HIT);
	tm_test_end(&t);
}
END_TEST

/* --- checks ------------------------------------------------------------------ */

/* The store's own thread is held where a page that it moves has room twice,
 * until a check waits for it, or has not. Nobody else moves any before. The
 * linker's --wrap. */
enum held { NOBODY, IS_TO_BE, IS_HELD };

static _Atomic enum held held;
static _Thread_local enum { THE_STORES, OURS, CHECKS } thread_is;

struct tm_context;
uint32_t __real_tm_compact(struct tm_context *context, uint32_t max);
uint32_t __wrap_tm_compact(struct tm_context *context, uint32_t max);
void __real_tm_place_free(struct tm_context *context, uint64_t place);
void __wrap_tm_place_free(struct tm_context *context, uint64_t place);
long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);

uint32_t __wrap_tm_compact(struct tm_context *context, uint32_t max)
{
	return thread_is == OURS ? 0 : __real_tm_compact(context, max);
}

void __wrap_tm_place_free(struct tm_context *context, uint64_t place)
{
	enum held is_to_be = IS_TO_BE;

	if (thread_is == THE_STORES &&
	    atomic_compare_exchange_strong(&held, &is_to_be, IS_HELD))
		while (held == IS_HELD)
			usleep(1000);
	__real_tm_place_free(context, place);
}

long __wrap_syscall(long number, ...)
{
	long a[6];
	va_list list;

	va_start(list, number);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(list, long);
	va_end(list);
	if (thread_is == CHECKS && number == SYS_futex &&
	    (int)a[1] == (FUTEX_WAIT | FUTEX_PRIVATE_FLAG))
		held = NOBODY;
	return __real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

START_TEST(a_check_waits_for_the_stores_own_thread)
{
	struct tmem_oid oid = tm_oid(1);
	struct tm_test_store t;
	int pool, err;

	tm_test_init(&t, 32 * TM_MIB);
	t.config.allocator = tm_test_allocators[_i];
	t.config.flags &= ~TMEM_STORE_NO_THREADS;
	tm_test_open(&t);
	pool = tm_test_pool(t.client, PERSISTENT);
	thread_is = OURS;
	held = IS_TO_BE;
	for (uint32_t i = 0; i < 6000; i++)
		ck_assert_int_eq(tm_test_put(t.client, pool, 1, i,
					     TM_PAGE_HEAP, i),
				 TMEM_PUT_STORED);
	for (uint32_t i = 0; i < 6000; i++)
		if (i % 4)
			tmem_flush_page(t.client, pool, &oid, i);
	for (int ms = 0; ms < 30000 && held != IS_HELD; ms++)
		usleep(1000);
	ck_assert_int_eq(held, IS_HELD);
	thread_is = CHECKS;
	err = tmem_store_check(t.store);
	thread_is = OURS;
	held = NOBODY;
	ck_assert_msg(!err, "check: %d: %s", err, t.error);
	tm_test_end(&t);
}
END_TEST

/* --- statistics ------------------------------------------------------------- */

START_TEST(counts_say_what_happened)
{
	struct tmem_store_stats stats;
	struct tmem_counts counts;
	struct tm_test_store t;
	struct tmem_oid oid = tm_oid(1);
	int pool;

	begin(&t, _i);
	pool = tm_test_pool(t.client, PERSISTENT);
	put_some(t.client, pool, 1, 400);
	put_some(t.client, pool, 1, 40);
	expect_some(t.client, pool, 1, 400, TMEM_GET_HIT);
	expect_some(t.client, pool, 2, 3, TMEM_GET_MISS);
	for (uint32_t i = 0; i < 20; i++)
		tmem_flush_page(t.client, pool, &oid, i);
	counts = tm_test_counts(t.client);
	ck_assert_uint_eq(counts.pages, 380);
	ck_assert_uint_eq(counts.same_filled, 95);
	ck_assert_uint_eq(counts.raw, 95);
	ck_assert_uint_eq(counts.shared_copies, 0);
	ck_assert_uint_eq(counts.puts, 440);
	ck_assert_uint_eq(counts.duplicates, 40);
	ck_assert_uint_eq(counts.gets, 400);
	ck_assert_uint_eq(counts.gets_missed, 3);
	ck_assert_uint_eq(counts.flushes, 20);
	ck_assert_uint_eq(counts.corrupt, 0);
	ck_assert_uint_gt(counts.compressed_bytes, 95 * 4096);
	ck_assert_uint_ge(counts.billed_bytes,
			  counts.compressed_bytes + 380 * 32);
	ck_assert_uint_gt(counts.put.samples, 10);
	ck_assert_uint_gt(counts.put.p50_ns, 0);
	ck_assert_uint_le(counts.put.p50_ns, counts.put.p99_ns);
	ck_assert_uint_gt(counts.get.samples, 10);
	ck_assert_uint_le(counts.get.p50_ns, counts.get.p99_ns);
	stats = tm_test_stats(t.store);
	ck_assert_uint_eq(stats.objects, 1);
	ck_assert_uint_eq(stats.clients, 1);
	ck_assert_uint_eq(stats.codec_errors, 0);
	ck_assert_uint_eq(stats.counts.pages, counts.pages);
	ck_assert_uint_eq(stats.counts.billed_bytes, counts.billed_bytes);
	ck_assert_uint_eq(stats.codec_input_bytes, (380 - 95) * 4096);
	ck_assert_uint_ge(stats.arena_bytes, counts.compressed_bytes);
	tm_test_end(&t);
}
END_TEST

/* --- a store that is off, and one in a child --------------------------------- */

START_TEST(a_disabled_store_answers_enodev_and_holds_nothing)
{
	struct tmem_client_config config;
	struct tmem_client *client;
	struct tm_test_store t;

	tm_test_init(&t, 8 * TM_MIB);
	t.config.flags |= TMEM_STORE_DISABLED;
	ck_assert_int_eq(tmem_store_open(&t.config, &t.store), 0);
	tmem_client_config_init(&config);
	config.name = "client";
	ck_assert_int_eq(tmem_client_attach(t.store, &config, &client),
			 -ENODEV);
	ck_assert_int_eq(tmem_store_set_memory(t.store, TM_MIB), -ENODEV);
	ck_assert_int_eq(tmem_store_set_codec(t.store, "none"), -ENODEV);
	ck_assert_int_eq(tmem_store_set_allocator(t.store, "zbud"), -ENODEV);
	ck_assert_int_eq(tmem_store_evict(t.store, 1), -ENODEV);
	ck_assert_int_eq(tmem_store_step(t.store), 0);
	ck_assert_int_eq(tmem_store_check(t.store), 0);
	ck_assert_uint_eq(tm_test_stats(t.store).used_bytes, 0);
	tmem_store_close(t.store);
}
END_TEST

/* In the child: which call, if any, does not answer as it must. */
static int calls_in_child(struct tm_test_store *t, int pool)
{
	struct tmem_store_stats stats = { .struct_size = sizeof(stats) };
	struct tmem_pool_info info = { .struct_size = sizeof(info) };
	struct tmem_counts counts = { .struct_size = sizeof(counts) };
	const struct tmem_uuid uuid = { { 1, 2 } };
	struct tmem_client_config config;
	struct tmem_client *client;
	struct tmem_oid oid = tm_oid(1);
	uint8_t page[TMEM_PAGE_SIZE] = { 0 };
	int n = 0;

#define DEAD(call)                                                             \
	do {                                                                   \
		n++;                                                           \
		if ((call) != -EOWNERDEAD)                                     \
			return n;                                              \
	} while (0)
	stats.counts.struct_size = sizeof(stats.counts);
	tmem_client_config_init(&config);
	config.name = "child";
	DEAD(tmem_put(t->client, pool, &oid, 1, page, 0));
	DEAD(tmem_get(t->client, pool, &oid, 1, page, 0));
	DEAD(tmem_flush_page(t->client, pool, &oid, 1));
	DEAD(tmem_flush_object(t->client, pool, &oid));
	DEAD(tmem_pool_create(t->client, 0, NULL));
	DEAD(tmem_pool_destroy(t->client, pool));
	DEAD(tmem_pool_get_info(t->client, pool, &info));
	DEAD(tmem_client_attach(t->store, &config, &client));
	DEAD(tmem_client_set(t->client, &config));
	DEAD(tmem_client_set_frozen(t->client, true));
	DEAD(tmem_client_set_shared_auth(t->client, &uuid, true));
	DEAD(tmem_client_get_counts(t->client, &counts));
	DEAD(tmem_store_get_stats(t->store, &stats));
	DEAD(tmem_store_set_memory(t->store, TM_MIB));
	DEAD(tmem_store_set_codec(t->store, "none"));
	DEAD(tmem_store_set_allocator(t->store, "zbud"));
	DEAD(tmem_store_evict(t->store, 1));
	DEAD(tmem_store_check(t->store));
	n++;
	if (tmem_store_step(t->store) > 0)
		return n;
#undef DEAD
	if (t->config.flags & TMEM_STORE_NO_THREADS)
		tmem_client_detach(t->client);
	else
		tmem_client_destroy(t->client);
	tmem_store_close(t->store);
	return 0;
}

START_TEST(a_forked_child_gets_eownerdead)
{
	static const char *const arenas[] = { NULL, "memfd" };

	for (int n = 0; n < 4; n++) {
		struct tm_test_store t;
		int pool, status;
		pid_t child;

		tm_test_init(&t, 8 * TM_MIB);
		t.config.allocator = tm_test_allocators[_i];
		t.config.arena = arenas[n & 1];
		if (n & 2)
			t.config.flags &= ~TMEM_STORE_NO_THREADS;
		tm_test_open(&t);
		pool = tm_test_pool(t.client, PERSISTENT);
		put_some(t.client, pool, 1, 100);
		child = fork();
		ck_assert_int_ge(child, 0);
		if (!child) {
			alarm(20);
			_exit(calls_in_child(&t, pool));
		}
		ck_assert_int_eq(waitpid(child, &status, 0), child);
		ck_assert_msg(WIFEXITED(status), "the child died: %d", status);
		ck_assert_int_eq(WEXITSTATUS(status), 0);
		expect_some(t.client, pool, 1, 100, TMEM_GET_HIT);
		tm_test_end(&t);
	}
}
END_TEST

/* --- damage ------------------------------------------------------------------ */

/* Where the arena in a memfd is mapped. */
static uint8_t *find_arena(void)
{
	FILE *file = fopen("/proc/self/maps", "r");
	uintptr_t base = 0;
	char line[512];

	ck_assert_ptr_nonnull(file);
	while (!base && fgets(line, sizeof(line), file))
		if (strstr(line, "memfd:tmem-arena"))
			sscanf(line, "%" SCNxPTR, &base);
	fclose(file);
	ck_assert_uint_ne(base, 0);
	return (uint8_t *)base;
}

/* The stored bytes of a page that no codec could shrink. */
static uint8_t *find_stored(uint8_t *arena, uint64_t arena_bytes,
			    uint64_t number)
{
	const struct tm_superblock *super = (void *)arena;
	uint8_t *frames = arena + super->frames.offset_bytes;
	uint8_t page[TMEM_PAGE_SIZE], *found;

	tm_page_fill(page, TM_PAGE_NOISE, number);
	/* Frames are taken from the beginning. */
	found = memmem(frames, 2 * arena_bytes, page, sizeof(page));
	ck_assert_ptr_nonnull(found);
	return found;
}

/* In every 97th page one byte, from the first to the last. */
START_TEST(corruption_is_detected_and_costs_one_page)
{
	const uint32_t count = 600;
	struct tm_test_store t;
	uint8_t *arena;
	uint64_t bytes;
	uint32_t damaged = 0;
	int pool;

	tm_test_init(&t, 8 * TM_MIB);
	t.config.allocator = tm_test_allocators[_i];
	t.config.arena = "memfd";
	tm_test_open(&t);
	pool = tm_test_pool(t.client, PERSISTENT);
	for (uint32_t i = 0; i < count; i++)
		tm_test_put(t.client, pool, 1, i, TM_PAGE_NOISE, i);
	arena = find_arena();
	bytes = tm_test_stats(t.store).arena_bytes;
	for (uint32_t i = 0; i < count; i += 97, damaged++)
		find_stored(arena, bytes, i)[i * 4095 / count] ^= 1 << i % 8;
	for (uint32_t i = 0; i < count; i++)
		ck_assert_int_eq(tm_test_get(t.client, pool, 1, i,
					     TM_PAGE_NOISE, i),
				 i % 97 ? TMEM_GET_HIT : -EBADMSG);
	ck_assert_uint_eq(tm_test_counts(t.client).corrupt, damaged);
	ck_assert_uint_eq(tm_test_counts(t.client).pages, count - damaged);
	ck_assert_uint_eq(t.errors, damaged);
	ck_assert_ptr_nonnull(strstr(t.error, "failed its check"));
	for (uint32_t i = 0; i < count; i++)
		ck_assert_int_eq(tm_test_get(t.client, pool, 1, i,
					     TM_PAGE_NOISE, i),
				 i % 97 ? TMEM_GET_HIT : TMEM_GET_MISS);
	for (uint32_t i = 0; i < count; i += 97)
		ck_assert_int_eq(tm_test_put(t.client, pool, 1, i,
					     TM_PAGE_NOISE, i),
				 TMEM_PUT_STORED);
	tm_test_end(&t);
}
END_TEST

/* An exclusive get finds it as well, and takes the page out all the same. */
START_TEST(corruption_is_detected_by_an_exclusive_get)
{
	struct tm_test_store t;
	int pool;

	tm_test_init(&t, 8 * TM_MIB);
	t.config.allocator = tm_test_allocators[_i];
	t.config.arena = "memfd";
	tm_test_open(&t);
	pool = tm_test_pool(t.client, 0);
	for (uint32_t i = 0; i < 20; i++)
		tm_test_put(t.client, pool, 1, i, TM_PAGE_NOISE, i);
	find_stored(find_arena(), tm_test_stats(t.store).arena_bytes, 7)[0]++;
	for (uint32_t i = 0; i < 20; i++)
		ck_assert_int_eq(tm_test_get(t.client, pool, 1, i,
					     TM_PAGE_NOISE, i),
				 i == 7 ? -EBADMSG : TMEM_GET_HIT);
	ck_assert_uint_eq(tm_test_counts(t.client).pages, 0);
	tm_test_end(&t);
}
END_TEST

/* Two pages that change places are both wrong, although no byte is. */
START_TEST(stored_bytes_of_another_page_are_detected)
{
	uint8_t *a, *b, page[TMEM_PAGE_SIZE];
	struct tm_test_store t;
	int pool;

	tm_test_init(&t, 8 * TM_MIB);
	t.config.allocator = tm_test_allocators[_i];
	t.config.arena = "memfd";
	tm_test_open(&t);
	pool = tm_test_pool(t.client, PERSISTENT);
	for (uint32_t i = 0; i < 20; i++)
		tm_test_put(t.client, pool, i, 1, TM_PAGE_NOISE, i);
	a = find_stored(find_arena(), tm_test_stats(t.store).arena_bytes, 3);
	b = find_stored(find_arena(), tm_test_stats(t.store).arena_bytes, 9);
	memcpy(page, a, sizeof(page));
	memcpy(a, b, sizeof(page));
	memcpy(b, page, sizeof(page));
	for (uint32_t i = 0; i < 20; i++)
		ck_assert_int_eq(tm_test_get(t.client, pool, i, 1,
					     TM_PAGE_NOISE, i),
				 i == 3 || i == 9 ? -EBADMSG : TMEM_GET_HIT);
	tm_test_end(&t);
}
END_TEST

/* --- arenas in files --------------------------------------------------------- */

static void begin_file(struct tm_test_store *t, int allocator, char *path)
{
	snprintf(path, 64, "/dev/shm/tmem-test-%d", (int)getpid());
	unlink(path);
	tm_test_init(t, 8 * TM_MIB);
	t->config.allocator = tm_test_allocators[allocator];
	t->config.arena = path;
	tm_test_open(t);
}

static void reopen(struct tm_test_store *t)
{
	struct tmem_client_config config;

	tm_test_end(t);
	t->config.flags |= TMEM_STORE_MUST_EXIST;
	ck_assert_int_eq(tmem_store_open(&t->config, &t->store), 0);
	tmem_client_config_init(&config);
	config.name = "client";
	ck_assert_int_eq(tmem_client_attach(t->store, &config, &t->client), 1);
	tm_test_check(t);
}

START_TEST(persistent_pools_survive_and_ephemeral_ones_do_not)
{
	struct tmem_oid oid = tm_oid(2);
	struct tm_test_store t;
	struct stat st;
	char path[64];
	int pool;

	begin_file(&t, _i, path);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0600);
	tm_test_pool(t.client, 0);
	pool = tm_test_pool(t.client, PERSISTENT);
	put_some(t.client, 0, 1, 300);
	for (uint64_t object = 0; object < 4; object++)
		put_some(t.client, pool, object, 300);
	tmem_flush_object(t.client, pool, &oid);
	for (int round = 0; round < 3; round++) {
		tmem_store_set_codec(t.store, round ? "none" : "zlib");
		tmem_store_set_allocator(t.store,
					 tm_test_allocators[round & 1]);
		put_some(t.client, pool, 1, 300);
		reopen(&t);
		ck_assert_uint_eq(tm_test_stats(t.store).recovered_pages, 900);
		ck_assert_uint_eq(tm_test_counts(t.client).pages, 900);
		ck_assert_int_eq(tm_test_get(t.client, 0, 1, 1, TM_PAGE_TEXT,
					     1),
				 -ENOENT);
		for (uint64_t object = 0; object < 4; object++)
			expect_some(t.client, pool, object, 300,
				    object == 2 ? TMEM_GET_MISS :
						  TMEM_GET_HIT);
		tm_test_within_limit(&t);
	}
	tm_test_end(&t);
	unlink(path);
}
END_TEST

/* Bills are the same, so that caps and reservations mean the same. */
START_TEST(accounts_survive)
{
	struct tm_test_store t;
	struct tmem_counts before, after;
	char path[64];
	int pool;

	begin_file(&t, _i, path);
	pool = tm_test_pool(t.client, PERSISTENT);
	for (uint64_t object = 0; object < 20; object++)
		put_some(t.client, pool, object, 30);
	before = tm_test_counts(t.client);
	reopen(&t);
	after = tm_test_counts(t.client);
	ck_assert_uint_eq(before.pages, after.pages);
	ck_assert_uint_eq(before.billed_bytes, after.billed_bytes);
	ck_assert_uint_eq(before.compressed_bytes, after.compressed_bytes);
	ck_assert_uint_eq(before.same_filled, after.same_filled);
	ck_assert_uint_eq(before.raw, after.raw);
	tm_test_end(&t);
	unlink(path);
}
END_TEST

START_TEST(a_smaller_limit_at_reopening_loses_nothing)
{
	struct tm_test_store t;
	char path[64];
	int pool;

	begin_file(&t, _i, path);
	pool = tm_test_pool(t.client, PERSISTENT);
	put_some(t.client, pool, 1, 2000);
	t.config.memory_bytes = TM_MIB;
	reopen(&t);
	ck_assert_int_eq(tm_test_put(t.client, pool, 2, 0, TM_PAGE_NOISE, 0),
			 TMEM_PUT_REFUSED);
	expect_some(t.client, pool, 1, 2000, TMEM_GET_HIT);
	ck_assert_uint_ge(tm_test_stats(t.store).memory_bytes,
			  tm_test_stats(t.store).used_bytes);
	tm_test_end(&t);
	unlink(path);
}
END_TEST

#ifdef HAVE_ZSTD
/* Its contexts are some hundred KiB for each processor. */
START_TEST(ephemeral_pages_make_way_for_a_codec)
{
	struct tm_test_store t;
	int pool;

	tm_test_begin(&t, 16 * TM_MIB);
	pool = tm_test_pool(t.client, 0);
	for (uint32_t i = 0; !tm_test_counts(t.client).evicted; i++)
		tm_test_put(t.client, pool, i >> 10, i, TM_PAGE_HEAP, i);
	ck_assert_int_eq(tmem_store_set_codec(t.store, "zstd:3"), 0);
	ck_assert_str_eq(tm_test_stats(t.store).codec, "zstd");
	ck_assert_uint_eq(t.errors, 0);
	tm_test_within_limit(&t);
	tm_test_end(&t);
}
END_TEST
#endif

START_TEST(a_second_opener_is_refused)
{
	struct tm_test_store t, second;
	char path[64];

	begin_file(&t, _i, path);
	tm_test_init(&second, 8 * TM_MIB);
	second.config.arena = path;
	ck_assert_int_eq(tmem_store_open(&second.config, &second.store),
			 -EBUSY);
	ck_assert_ptr_nonnull(strstr(second.error, path));
	tm_test_end(&t);
	ck_assert_int_eq(tmem_store_open(&second.config, &second.store), 0);
	tmem_store_close(second.store);
	unlink(path);
	second.config.flags |= TMEM_STORE_MUST_EXIST;
	ck_assert_int_eq(tmem_store_open(&second.config, &second.store),
			 -ENOENT);
}
END_TEST

/* A descriptor that names another page, or another length. */
START_TEST(a_damaged_descriptor_costs_one_page)
{
	struct tm_descriptor descriptor;
	struct tm_superblock super;
	struct tm_test_store t;
	char path[64];
	int pool, fd, result;
	unsigned missing;

	for (int field = 0; field < 5; field++) {
		begin_file(&t, _i, path);
		pool = tm_test_pool(t.client, PERSISTENT);
		put_some(t.client, pool, 1, 100);
		tm_test_end(&t);
		fd = open(path, O_RDWR);
		ck_assert_int_ge(fd, 0);
		ck_assert_int_gt(pread(fd, &super, sizeof(super), 0), 0);
		ck_assert_int_gt(
			pread(fd, &descriptor, sizeof(descriptor),
			      (off_t)(super.descriptors.offset_bytes +
				      40 * sizeof(descriptor))),
			0);
		ck_assert_uint_ne(descriptor.state, 0);
		switch (field) {
		case 0:
			descriptor.index ^= 1 << 20;
			break;
		case 1:
			descriptor.check ^= 1;
			break;
		case 2:
			descriptor.place ^= UINT64_C(1) << 60;
			break;
		case 3:
			descriptor.state ^= UINT64_C(1) << 12;
			break;
		default:
			descriptor.object ^= 1 << 10;
		}
		ck_assert_int_gt(
			pwrite(fd, &descriptor, sizeof(descriptor),
			       (off_t)(super.descriptors.offset_bytes +
				       40 * sizeof(descriptor))),
			0);
		close(fd);
		ck_assert_int_eq(tmem_store_open(&t.config, &t.store), 0);
		t.client = tm_test_attach(t.store, "client");
		tm_test_check(&t);
		missing = 0;
		for (uint32_t i = 0; i < 100; i++) {
			result = tm_test_get(t.client, pool, 1, i,
					     i % TM_PAGE_KINDS, i);
			missing += result != TMEM_GET_HIT;
		}
		ck_assert_msg(missing == 1, "field %d: %u pages are gone",
			      field, missing);
		tm_test_end(&t);
		unlink(path);
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
	Suite *suite = suite_create("store: control");

	ADD(a_detached_client_keeps_its_pages);
	ADD(client_names_have_bounds);
	ADD(pool_ids_are_reused_and_bring_nothing_back);
	ADD(pools_made_and_ended_for_ever_take_no_memory);
	ADD(clients_made_and_ended_for_ever_take_no_memory);
	ADD(destroy_credits_at_once);
	ADD(eviction_passes_over_what_is_dead);
	ADD(pages_of_every_codec_and_allocator_stay_readable);
	ADD(a_client_says_what_its_new_pages_will_be);
	ADD(a_shorter_info_is_filled_as_far_as_it_goes);
	ADD(an_unknown_plugin_changes_nothing);
	ADD(compaction_keeps_every_byte);
	ADD(a_check_waits_for_the_stores_own_thread);
	ADD(counts_say_what_happened);
	ADD(a_disabled_store_answers_enodev_and_holds_nothing);
	ADD(a_forked_child_gets_eownerdead);
	ADD(corruption_is_detected_and_costs_one_page);
	ADD(corruption_is_detected_by_an_exclusive_get);
	ADD(stored_bytes_of_another_page_are_detected);
	ADD(persistent_pools_survive_and_ephemeral_ones_do_not);
	ADD(accounts_survive);
	ADD(a_smaller_limit_at_reopening_loses_nothing);
	ADD(a_second_opener_is_refused);
#ifdef HAVE_ZSTD
	ADD(ephemeral_pages_make_way_for_a_codec);
#endif
	ADD(a_damaged_descriptor_costs_one_page);
	return tm_test_run(suite);
}
