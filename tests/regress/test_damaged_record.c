/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A record that is damaged while the store is open costs its page, no more.
 *
 * A get believed the descriptor: a flipped bit in its place led to an allocator
 * that does not exist, or freed somebody else's room, which is an assertion.
 */
#include <config.h>

#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <tmem/tmem.h>

#include "layout.h"

#define PAGES 64

static const struct tmem_oid oid = { { 1, 2, 3 } };

static void fill(uint8_t *page, uint32_t n)
{
	for (uint32_t i = 0; i < TMEM_PAGE_SIZE; i++)
		page[i] = (uint8_t)(i % 7 < 4 ? i / 40 + n : n * i >> 6);
}

struct rig {
	char path[64];
	struct tmem_store *store;
	struct tmem_client *client;
	int pool;
	uint8_t *arena;
	size_t size;
};

static void rig_open(struct rig *rig)
{
	struct tmem_store_config config;
	struct tmem_client_config client;
	uint8_t page[TMEM_PAGE_SIZE];
	int fd;

	snprintf(rig->path, sizeof(rig->path), "/dev/shm/tmem-test-%ld-damaged",
		 (long)getpid());
	tmem_store_config_init(&config);
	config.memory_bytes = UINT64_C(4) << 20;
	config.memory_max_bytes = config.memory_bytes;
	config.arena = rig->path;
	config.flags = TMEM_STORE_NO_LOCK | TMEM_STORE_NO_THREADS;
	config.allocator = "zsmalloc";
	ck_assert_int_eq(tmem_store_open(&config, &rig->store), 0);
	tmem_client_config_init(&client);
	client.name = "a";
	ck_assert_int_eq(tmem_client_attach(rig->store, &client, &rig->client),
			 0);
	rig->pool = tmem_pool_create(rig->client, TMEM_POOL_PERSISTENT, NULL);
	for (uint32_t i = 0; i < PAGES; i++) {
		fill(page, i);
		ck_assert_int_eq(tmem_put(rig->client, rig->pool, &oid, i, page,
					  0),
				 TMEM_PUT_STORED);
	}
	fd = open(rig->path, O_RDWR);
	ck_assert_int_ge(fd, 0);
	rig->size = (size_t)lseek(fd, 0, SEEK_END);
	rig->arena = mmap(NULL, rig->size, PROT_READ | PROT_WRITE, MAP_SHARED,
			  fd, 0);
	ck_assert(rig->arena != MAP_FAILED);
	close(fd);
}

static void rig_close(struct rig *rig)
{
	munmap(rig->arena, rig->size);
	tmem_client_detach(rig->client);
	tmem_store_close(rig->store);
	unlink(rig->path);
}

/* The record of page @index, as the store wrote it. */
static struct tm_descriptor *find(struct rig *rig, uint32_t index)
{
	struct tm_superblock *super = (struct tm_superblock *)rig->arena;
	struct tm_descriptor *d =
		(struct tm_descriptor *)(rig->arena +
					 super->descriptors.offset_bytes);

	for (uint32_t i = 1; i < PAGES * 4; i++)
		if (d[i].state && d[i].index == index)
			return &d[i];
	ck_abort_msg("page %u has no record", index);
	return NULL;
}

static void expect_damage(struct rig *rig, uint32_t index)
{
	uint8_t page[TMEM_PAGE_SIZE];
	int result = tmem_get(rig->client, rig->pool, &oid, index, page, 0);

	ck_assert_msg(result == -EBADMSG, "page %u: %d", index, result);
	ck_assert_int_eq(tmem_get(rig->client, rig->pool, &oid, index, page, 0),
			 TMEM_GET_MISS);
}

static void expect_others(struct rig *rig, uint32_t damaged)
{
	uint8_t page[TMEM_PAGE_SIZE], got[TMEM_PAGE_SIZE];

	for (uint32_t i = damaged; i < PAGES; i++) {
		fill(page, i);
		ck_assert_int_eq(tmem_get(rig->client, rig->pool, &oid, i, got,
					  0),
				 TMEM_GET_HIT);
		ck_assert_mem_eq(got, page, TMEM_PAGE_SIZE);
	}
}

START_TEST(a_flipped_place_costs_its_page)
{
	struct rig rig;

	rig_open(&rig);
	for (uint32_t bit = 0; bit < 64; bit++) {
		if (bit == PAGES - 1)
			break;
		find(&rig, bit)->place ^= UINT64_C(1) << bit;
		expect_damage(&rig, bit);
		expect_others(&rig, bit + 1);
	}
	rig_close(&rig);
}
END_TEST

START_TEST(a_flipped_state_costs_its_page)
{
	struct rig rig;

	rig_open(&rig);
	for (uint32_t bit = 0; bit < 64; bit++) {
		if (bit == PAGES - 1)
			break;
		find(&rig, bit)->state ^= UINT64_C(1) << bit;
		expect_damage(&rig, bit);
		expect_others(&rig, bit + 1);
	}
	rig_close(&rig);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("damaged-record");
	TCase *tcase = tcase_create("open");

	if (access("/dev/shm", W_OK)) {
		printf("skipped: no /dev/shm\n");
		return 77;
	}
	tcase_add_test(tcase, a_flipped_place_costs_its_page);
	tcase_add_test(tcase, a_flipped_state_costs_its_page);
	suite_add_tcase(suite, tcase);
	return tm_test_run(suite);
}
