/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A store is full most of its life: of ephemeral pages. What comes then must
 * find room all the same.
 */
#include <config.h>

#include <string.h>

#include "harness.h"
#include <tmem/tmem.h>

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

int main(void)
{
	Suite *suite = suite_create("full-store");
	TCase *tcase = tcase_create("full-store");

	tcase_add_test(tcase, a_full_store_takes_new_clients_and_pools);
	suite_add_tcase(suite, tcase);
	return tm_test_run(suite);
}
