/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reopening an arena that nothing happened to reports no damage.
 *
 * Slots of codecs and allocators that no surviving page needs were taken back
 * first; pages that died with their ephemeral pool then named nobody, and were
 * reported as damaged records.
 *
 * A codec with a level was another one at each reopening: each took one more
 * slot and one more set of contexts, until there was no slot, or no memory.
 */
#include <config.h>

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
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

/* --- codecs with a level ---------------------------------------------------- */

/* For contexts of all levels, however many processors there are; and what is
 * soon full, with room for two contexts: so small a store has no more. */
#define AMPLE (128 * TM_MIB)
#define SMALL (3 * TM_MIB)

/* Three levels of the first codec that this build has; NULL: it has none. */
static const char *const (*levels_of_a_codec(void))[3]
{
	static const char *const levels[][3] = {
		{ "zstd:3", "zstd:9", "zstd:1" },
		{ "zlib:1", "zlib:9", "zlib:4" },
		{ "lz4:2", "lz4:9", "lz4:-3" },
	};

	for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
		struct tm_test_store t;

		tm_test_init(&t, AMPLE);
		t.config.codec = levels[i][0];
		if (tmem_store_open(&t.config, &t.store))
			continue;
		tmem_store_close(t.store);
		return &levels[i];
	}
	printf("skipped: no codec of this build has levels\n");
	return NULL;
}

static void init_at(struct tm_test_store *t, char path[64],
		    uint64_t memory_bytes, const char *codec)
{
	snprintf(path, 64, "/dev/shm/tmem-reopen-%d", (int)getpid());
	unlink(path);
	tm_test_init(t, memory_bytes);
	t->config.arena = path;
	t->config.codec = codec;
	/* One page more is then no frame more. */
	t->config.allocator = "zsmalloc";
}

static uint32_t slots_in_use(const char *path)
{
	size_t size;
	struct tm_superblock *super = map_arena(path, &size);
	uint32_t count = 0;

	for (uint32_t i = 0; i < TM_CODECS_MAX; i++)
		count += super->codecs[i].state == TM_RECORD_LIVE;
	munmap(super, size);
	return count;
}

static void leave_store(struct tm_test_store *t)
{
	tmem_client_detach(t->client);
	tmem_store_close(t->store);
}

static uint32_t fill(struct tm_test_store *t, int pool, enum tm_page_kind kind)
{
	uint32_t count = 0;

	while (tm_test_put(t->client, pool, count >> 8, count, kind, count) ==
	       TMEM_PUT_STORED)
		count++;
	return count;
}

static void expect_all(struct tm_test_store *t, int pool, uint32_t count,
		       enum tm_page_kind kind)
{
	for (uint32_t i = 0; i < count; i++)
		ck_assert_int_eq(tm_test_get(t->client, pool, i >> 8, i, kind,
					     i),
				 TMEM_GET_HIT);
}

/* Of pages that its codec shrinks, or (_i) that it does not: then its slot is
 * made anew. */
START_TEST(a_full_store_opens_with_the_level_it_had)
{
	enum tm_page_kind kind = _i ? TM_PAGE_NOISE : TM_PAGE_HEAP;
	const char *const(*levels)[3] = levels_of_a_codec();
	struct tm_test_store t;
	char path[64];
	uint32_t count;
	int pool;

	if (!levels)
		return;
	init_at(&t, path, SMALL, (*levels)[0]);
	tm_test_open(&t);
	pool = tm_test_pool(t.client, TMEM_POOL_PERSISTENT);
	count = fill(&t, pool, kind);
	ck_assert_uint_gt(count, 100);
	for (int i = 0; i < 3; i++) {
		leave_store(&t);
		tm_test_open(&t);
		ck_assert_uint_eq(t.errors, 0);
	}
	expect_all(&t, pool, count, kind);
	tm_test_end(&t);
	unlink(path);
}
END_TEST

/* The store's codec is another one: the client asks for its own afterwards. */
START_TEST(a_full_client_gets_the_level_it_had)
{
	const char *const(*levels)[3] = levels_of_a_codec();
	struct tm_test_store t;
	char path[64];
	uint32_t count;
	int pool;

	if (!levels)
		return;
	init_at(&t, path, SMALL, "none");
	tm_test_open(&t);
	ck_assert_int_eq(tmem_client_set_codec(t.client, (*levels)[_i]), 0);
	pool = tm_test_pool(t.client, TMEM_POOL_PERSISTENT);
	count = fill(&t, pool, TM_PAGE_HEAP);
	for (int i = 0; i < 3; i++) {
		leave_store(&t);
		tm_test_open(&t);
		ck_assert_int_eq(tmem_client_set_codec(t.client,
						       (*levels)[_i]),
				 0);
		ck_assert_uint_eq(t.errors, 0);
	}
	expect_all(&t, pool, count, TM_PAGE_HEAP);
	ck_assert_uint_eq(slots_in_use(path), 1);
	tm_test_end(&t);
	unlink(path);
}
END_TEST

START_TEST(no_reopening_takes_one_more_slot)
{
	const char *const(*levels)[3] = levels_of_a_codec();
	uint64_t metadata_bytes = 0;
	struct tm_test_store t;
	char path[64];

	if (!levels)
		return;
	init_at(&t, path, AMPLE, (*levels)[0]);
	for (uint32_t n = 0; n < 40; n++) {
		tm_test_open(&t);
		if (!n)
			tm_test_pool(t.client, TMEM_POOL_PERSISTENT);
		ck_assert_int_eq(tm_test_put(t.client, 0, 1, n, TM_PAGE_HEAP,
					     n),
				 TMEM_PUT_STORED);
		if (!n)
			metadata_bytes = tm_test_stats(t.store).metadata_bytes;
		ck_assert_uint_eq(slots_in_use(path), 1);
		ck_assert_uint_eq(t.errors, 0);
		leave_store(&t);
	}
	tm_test_open(&t);
	ck_assert_uint_le(tm_test_stats(t.store).metadata_bytes,
			  metadata_bytes + (64 << 10));
	for (uint32_t n = 0; n < 40; n++)
		ck_assert_int_eq(tm_test_get(t.client, 0, 1, n, TM_PAGE_HEAP,
					     n),
				 TMEM_GET_HIT);
	tm_test_end(&t);
	unlink(path);
}
END_TEST

static void put_with(struct tm_test_store *t, const char *codec, uint32_t n)
{
	ck_assert_int_eq(tmem_client_set_codec(t->client, codec), 0);
	ck_assert_int_eq(tm_test_put(t->client, 0, 1, n, TM_PAGE_HEAP, n),
			 TMEM_PUT_STORED);
}

/* Levels to and fro, within each life and from one to the next. */
START_TEST(clients_levels_take_as_many_slots_as_there_are)
{
	const char *const(*levels)[3] = levels_of_a_codec();
	struct tm_test_store t;
	uint32_t pages = 0;
	char path[64];

	if (!levels)
		return;
	init_at(&t, path, AMPLE, NULL);
	for (uint32_t n = 0; n < 40; n++) {
		/* The store's own is one of them, and not always the same. */
		t.config.codec = (*levels)[n / 4 % 2];
		tm_test_open(&t);
		if (!n)
			tm_test_pool(t.client, TMEM_POOL_PERSISTENT);
		for (uint32_t i = 0; i < 6; i++)
			put_with(&t, (*levels)[(n + i * 2) % 3], pages++);
		for (uint32_t i = 0; i < pages; i++)
			ck_assert_int_eq(tm_test_get(t.client, 0, 1, i,
						     TM_PAGE_HEAP, i),
					 TMEM_GET_HIT);
		ck_assert_uint_eq(slots_in_use(path), 3);
		ck_assert_uint_eq(t.errors, 0);
		leave_store(&t);
	}
	tm_test_open(&t);
	tm_test_end(&t);
	unlink(path);
}
END_TEST

struct reader {
	struct tm_test_store *t;
	_Atomic bool is_over;
	_Atomic uint32_t rounds;
	_Atomic uint32_t wrong;
};

static void *read_on(void *opaque)
{
	struct reader *reader = opaque;
	uint8_t page[TMEM_PAGE_SIZE], want[TMEM_PAGE_SIZE];
	struct tmem_oid oid = tm_oid(1);

	while (!reader->is_over) {
		for (uint32_t i = 0; i < 3; i++) {
			tm_page_fill(want, TM_PAGE_HEAP, i);
			if (tmem_get(reader->t->client, 0, &oid, i, page, 0) !=
				    TMEM_GET_HIT ||
			    memcmp(page, want, sizeof(page)))
				reader->wrong++;
		}
		reader->rounds++;
	}
	return NULL;
}

/* Contexts are exchanged while others read with them. */
START_TEST(a_level_is_asked_for_while_others_read)
{
	const char *const(*levels)[3] = levels_of_a_codec();
	struct tm_test_store t;
	pthread_t thread[2];
	char path[64];

	if (!levels)
		return;
	init_at(&t, path, AMPLE, "none");
	tm_test_open(&t);
	tm_test_pool(t.client, TMEM_POOL_PERSISTENT);
	for (uint32_t i = 0; i < 3; i++)
		put_with(&t, (*levels)[i], i);
	for (uint32_t n = 0; n < 10; n++) {
		struct reader reader = { .t = &t };

		leave_store(&t);
		tm_test_open(&t);
		for (int i = 0; i < 2; i++)
			ck_assert_int_eq(pthread_create(&thread[i], NULL,
							read_on, &reader),
					 0);
		for (uint32_t i = 0; i < 3; i++) {
			uint32_t rounds = reader.rounds;

			while (reader.rounds < rounds + 10)
				sched_yield();
			put_with(&t, (*levels)[(n + i) % 3], 3 + i);
		}
		reader.is_over = true;
		for (int i = 0; i < 2; i++)
			pthread_join(thread[i], NULL);
		ck_assert_uint_eq(reader.wrong, 0);
		ck_assert_uint_eq(slots_in_use(path), 3);
	}
	tm_test_end(&t);
	unlink(path);
}
END_TEST

static void add_codecs(Suite *suite)
{
	TCase *tcase = tcase_create("codecs");

	tcase_add_loop_test(tcase, a_full_store_opens_with_the_level_it_had, 0,
			    2);
	tcase_add_loop_test(tcase, a_full_client_gets_the_level_it_had, 0, 3);
	tcase_add_test(tcase, no_reopening_takes_one_more_slot);
	tcase_add_test(tcase, clients_levels_take_as_many_slots_as_there_are);
	tcase_add_test(tcase, a_level_is_asked_for_while_others_read);
	tcase_set_timeout(tcase, 60);
	suite_add_tcase(suite, tcase);
}

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
	add_codecs(suite);
	return tm_test_run(suite);
}
