/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reopening an arena that nothing happened to reports no damage.
 *
 * Slots of codecs and allocators that no surviving page needs were taken back
 * first; pages that died with their ephemeral pool then named nobody, and were
 * reported as damaged records.
 */
#include <config.h>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "layout.h"
#include "test_store.h"

/* An arena of 20 persistent pages under one codec and allocator, and of 20 that
 * ended with their pool, under others. */
static void make_mixed(struct tm_test_store *t, char *path, size_t size)
{
	int ephemeral, persistent;

	snprintf(path, size, "/dev/shm/tmem-reopen-%d", (int)getpid());
	unlink(path);
	tm_test_init(t, 8 * TM_MIB);
	t->config.arena = path;
	t->config.codec = "none";
	t->config.allocator = "zbud";
	tm_test_open(t);
	ephemeral = tm_test_pool(t->client, 0);
	persistent = tm_test_pool(t->client, TMEM_POOL_PERSISTENT);
	for (uint32_t i = 0; i < 20; i++)
		tm_test_put(t->client, persistent, 1, i, TM_PAGE_HEAP, i);
	ck_assert_int_eq(tmem_store_set_codec(t->store, NULL), 0);
	ck_assert_int_eq(tmem_store_set_allocator(t->store, "zsmalloc"), 0);
	for (uint32_t i = 0; i < 20; i++)
		tm_test_put(t->client, ephemeral, 1, i, TM_PAGE_HEAP, i);
	tm_test_end(t);
}

START_TEST(ephemeral_pages_of_their_own_codec_are_no_damage)
{
	struct tm_test_store t;
	char path[64];

	make_mixed(&t, path, sizeof(path));
	ck_assert_int_eq(tmem_store_open(&t.config, &t.store), 0);
	t.client = tm_test_attach(t.store, "client");
	ck_assert_uint_eq(tm_test_stats(t.store).recovered_pages, 20);
	ck_assert_msg(t.errors == 0, "%s", t.error);
	tm_test_end(&t);
	unlink(path);
}
END_TEST

static struct tm_superblock *map_arena(const char *path, size_t *size)
{
	int fd = open(path, O_RDWR);
	void *arena;

	*size = (size_t)lseek(fd, 0, SEEK_END);
	arena = mmap(NULL, *size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ck_assert(arena != MAP_FAILED);
	close(fd);
	return arena;
}

static struct tm_descriptor *descriptors_of(struct tm_superblock *super)
{
	return (struct tm_descriptor *)((uint8_t *)super +
					super->descriptors.offset_bytes);
}

/* Numbers at hand of a processor that the process has left are free. */
static struct tm_descriptor *live_from(struct tm_descriptor *d)
{
	while (!d->state)
		d++;
	return d;
}

/* Where one page is damaged all are looked at closely: the others' explanation
 * must still be there. */
START_TEST(one_damaged_page_is_one_however_many_ended_with_their_pool)
{
	struct tm_superblock *super;
	struct tm_descriptor *d;
	struct tm_test_store t;
	char path[64];
	size_t size;

	make_mixed(&t, path, sizeof(path));
	super = map_arena(path, &size);
	/* The persistent ones are stored as they are. */
	d = live_from(descriptors_of(super) + 1);
	while (tm_state_codec(d->state))
		d = live_from(d + 1);
	d->index ^= 1;
	munmap(super, size);
	ck_assert_int_eq(tmem_store_open(&t.config, &t.store), 0);
	t.client = tm_test_attach(t.store, "client");
	ck_assert_uint_eq(tm_test_stats(t.store).recovered_pages, 19);
	ck_assert_uint_eq(t.errors, 1);
	ck_assert_msg(strstr(t.error, ": 1 damaged"), "%s", t.error);
	tm_test_end(&t);
	unlink(path);
}
END_TEST

#define MANY 200000
#define LOSERS 100

/* As if the process had died between publishing a page and freeing the one it
 * replaces, LOSERS times: pages of the second half become successors of pages
 * of the first half, which are adopted when that is found out. */
static void make_successors(const char *path)
{
	size_t size;
	struct tm_superblock *super = map_arena(path, &size);
	struct tm_descriptor *d = descriptors_of(super);

	for (uint32_t i = 1; i <= LOSERS; i++) {
		struct tm_descriptor *old = live_from(&d[i * 100]);
		struct tm_descriptor *new = live_from(&d[150000 + i * 100]);
		uint64_t state = new->state;

		new->object = old->object;
		new->index = old->index;
		state = tm_state_make(tm_state_kind(state),
				      tm_state_generation(old->state) + 1,
				      tm_state_codec(state),
				      tm_state_length(state));
		new->state = tm_state_seal(state, new->object, new->index);
	}
	munmap(super, size);
}

START_TEST(two_threads_take_up_what_one_process_left)
{
	struct tm_test_store t;
	char path[64];
	uint32_t hits = 0;
	int pool;

	snprintf(path, sizeof(path), "/dev/shm/tmem-reopen-%d", (int)getpid());
	unlink(path);
	tm_test_init(&t, 128 * TM_MIB);
	t.config.arena = path;
	t.config.flags = TMEM_STORE_NO_LOCK;
	tm_test_open(&t);
	pool = tm_test_pool(t.client, TMEM_POOL_PERSISTENT);
	for (uint32_t i = 0; i < MANY; i++)
		ck_assert_int_eq(
			tm_test_put(t.client, pool, i / 5000, i,
				    i % 8 ? TM_PAGE_SAME : TM_PAGE_TEXT, i),
			TMEM_PUT_STORED);
	tm_test_end(&t);
	make_successors(path);
	ck_assert_int_eq(tmem_store_open(&t.config, &t.store), 0);
	t.client = tm_test_attach(t.store, "client");
	ck_assert_msg(t.errors == 0, "%s", t.error);
	ck_assert_uint_eq(tm_test_counts(t.client).pages, MANY - LOSERS);
	tm_test_check(&t);
	for (uint32_t i = 0; i < MANY; i++)
		hits += tm_test_get(t.client, pool, i / 5000, i,
				    i % 8 ? TM_PAGE_SAME : TM_PAGE_TEXT,
				    i) == TMEM_GET_HIT;
	/* The successors are not what was put: their check says so. */
	ck_assert_uint_eq(hits, MANY - 2 * LOSERS);
	tm_test_end(&t);
	unlink(path);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("regress: reopening");
	TCase *tcase = tcase_create("reopen");

	tcase_add_test(tcase, ephemeral_pages_of_their_own_codec_are_no_damage);
	tcase_add_test(
		tcase,
		one_damaged_page_is_one_however_many_ended_with_their_pool);
	tcase_add_test(tcase, two_threads_take_up_what_one_process_left);
	tcase_set_timeout(tcase, 120);
	suite_add_tcase(suite, tcase);
	return tm_test_run(suite);
}
