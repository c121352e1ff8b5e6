/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A store to test, with one client: opened small and without threads of its
 * own, so that nothing happens that the test did not ask for; closed with all
 * its sums checked. What goes beyond that is done with the public functions.
 *
 * Log lines of level error are counted and the last is kept. Tests that are
 * looped over allocators take tm_test_allocators[_i].
 */
#ifndef TM_TEST_STORE_H
#define TM_TEST_STORE_H

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>

#include <tmem/tmem.h>

/* Whose contexts are small, so that little memory is enough for a store. */
#ifdef HAVE_LZ4
#define TM_TEST_SMALL_CODEC "lz4"
#else
#define TM_TEST_SMALL_CODEC "none"
#endif

#include "harness.h"
#include "test_pages.h"

#define TM_MIB (UINT64_C(1) << 20)
#define TM_TEST_ALLOCATORS 2

static const char *const tm_test_allocators[TM_TEST_ALLOCATORS] = {
	"zsmalloc", "zbud"
};

struct tm_test_store {
	struct tmem_store_config config;
	struct tmem_store *store;
	struct tmem_client *client;
	_Atomic unsigned errors;
	char error[512];
};

static inline void tm_test_log(void *opaque, enum tmem_log_level level,
			       const char *text)
{
	struct tm_test_store *t = opaque;

	if (level != TMEM_LOG_ERROR)
		return;
	atomic_fetch_add(&t->errors, 1);
	snprintf(t->error, sizeof(t->error), "%s", text);
	if (getenv("TMEM_TEST_LOG"))
		fprintf(stderr, "log: %s\n", text);
}

/* Defaults; change t->config before tm_test_open() for others. */
static inline void tm_test_init(struct tm_test_store *t, uint64_t memory_bytes)
{
	memset(t, 0, sizeof(*t));
	tmem_store_config_init(&t->config);
	t->config.memory_bytes = memory_bytes;
	t->config.memory_max_bytes = 4 * memory_bytes;
	t->config.flags = TMEM_STORE_NO_THREADS | TMEM_STORE_NO_LOCK;
	t->config.log = tm_test_log;
	t->config.log_opaque = t;
}

static inline struct tmem_client *tm_test_attach(struct tmem_store *store,
						 const char *name)
{
	struct tmem_client_config config;
	struct tmem_client *client = NULL;
	int result;

	tmem_client_config_init(&config);
	config.name = name;
	result = tmem_client_attach(store, &config, &client);
	ck_assert_msg(result >= 0, "attach %s: %d", name, result);
	return client;
}

static inline void tm_test_open(struct tm_test_store *t)
{
	int err = tmem_store_open(&t->config, &t->store);

	ck_assert_msg(!err, "open: %d: %s", err, t->error);
	t->client = tm_test_attach(t->store, "client");
}

static inline void tm_test_begin(struct tm_test_store *t, uint64_t memory_bytes)
{
	tm_test_init(t, memory_bytes);
	tm_test_open(t);
}

static inline void tm_test_check(struct tm_test_store *t)
{
	int err = tmem_store_check(t->store);

	ck_assert_msg(!err, "check: %d: %s", err, t->error);
}

static inline void tm_test_end(struct tm_test_store *t)
{
	tm_test_check(t);
	tmem_client_detach(t->client);
	tmem_store_close(t->store);
	t->client = NULL;
	t->store = NULL;
}

static inline struct tmem_oid tm_oid(uint64_t number)
{
	return (struct tmem_oid){ { number, ~number, number << 32 } };
}

static inline int tm_test_put(struct tmem_client *client, int pool,
			      uint64_t object, uint32_t index,
			      enum tm_page_kind kind, uint64_t number)
{
	struct tmem_oid oid = tm_oid(object);
	uint8_t page[TMEM_PAGE_SIZE];

	tm_page_fill(page, kind, number);
	return tmem_put(client, pool, &oid, index, page, 0);
}

static inline int tm_test_get_flags(struct tmem_client *client, int pool,
				    uint64_t object, uint32_t index,
				    enum tm_page_kind kind, uint64_t number,
				    uint32_t flags)
{
	struct tmem_oid oid = tm_oid(object);
	uint8_t page[TMEM_PAGE_SIZE], want[TMEM_PAGE_SIZE];
	int result;

	/* Not the answer by chance. */
	memset(page, 0xa5, sizeof(page));
	result = tmem_get(client, pool, &oid, index, page, flags);
	if (result == TMEM_GET_HIT) {
		tm_page_fill(want, kind, number);
		ck_assert_msg(!memcmp(page, want, sizeof(page)),
			      "object %" PRIu64 " page %" PRIu32
			      ": not what was put",
			      object, index);
	}
	return result;
}

/* A hit must bring exactly this page. */
static inline int tm_test_get(struct tmem_client *client, int pool,
			      uint64_t object, uint32_t index,
			      enum tm_page_kind kind, uint64_t number)
{
	return tm_test_get_flags(client, pool, object, index, kind, number, 0);
}

static inline int tm_test_pool(struct tmem_client *client, uint32_t flags)
{
	int pool = tmem_pool_create(client, flags, NULL);

	ck_assert_int_ge(pool, 0);
	return pool;
}

static inline struct tmem_store_stats
tm_test_stats(struct tmem_store *store)
{
	struct tmem_store_stats stats = { .struct_size = sizeof(stats) };

	stats.counts.struct_size = sizeof(stats.counts);
	ck_assert_int_eq(tmem_store_get_stats(store, &stats), 0);
	return stats;
}

static inline struct tmem_counts tm_test_counts(struct tmem_client *client)
{
	struct tmem_counts counts = { .struct_size = sizeof(counts) };

	ck_assert_int_eq(tmem_client_get_counts(client, &counts), 0);
	return counts;
}

/* @limit_bytes: what was asked for, when it can be in force. */
static inline void tm_test_within(struct tmem_store *store,
				  uint64_t limit_bytes)
{
	struct tmem_store_stats stats = tm_test_stats(store);

	ck_assert_uint_le(stats.used_bytes, stats.memory_bytes);
	ck_assert_uint_le(stats.memory_bytes, limit_bytes);
	ck_assert_uint_eq(stats.used_bytes, stats.arena_bytes +
						    stats.metadata_bytes +
						    stats.idle_bytes);
}

static inline void tm_test_within_limit(const struct tm_test_store *t)
{
	tm_test_within(t->store, t->config.memory_bytes);
}

/* All background work there is. */
static inline void tm_test_settle(struct tmem_store *store)
{
	for (int i = 0; i < 100000; i++)
		if (!tmem_store_step(store))
			return;
	ck_abort_msg("background work does not end");
}

#endif
