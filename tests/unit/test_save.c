/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A client as a stream: what comes out of a store goes into another one and is
 * the same; what was flushed meanwhile is not there; and a stream that is cut
 * or changed anywhere leaves the store as it was.
 *
 * Several tests are named after what the historical implementation got wrong:
 * it lost the first page of each pool, saved nothing the second time, left a
 * saved domain frozen, forgot limits, and could not restore a frozen client.
 */
#include <config.h>

#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include <tmem/save.h>

#include "core.h"
#include "save_stream.h"
#include "test_store.h"

#define PERSISTENT TMEM_POOL_PERSISTENT
#define PER_OBJECT 100
#define MANY 3000

/* --- streams in memory --------------------------------------------------------- */

struct stream {
	uint8_t *bytes;
	size_t size;
};

static void stream_add(struct stream *stream, const void *bytes, size_t size)
{
	stream->bytes = realloc(stream->bytes, stream->size + size);
	ck_assert_ptr_nonnull(stream->bytes);
	memcpy(stream->bytes + stream->size, bytes, size);
	stream->size += size;
}

static void stream_free(struct stream *stream)
{
	free(stream->bytes);
	*stream = (struct stream){ 0 };
}

/* Reads until there is no more; what tmem_save_read() answered then. */
static ssize_t read_on(struct tmem_save *save, struct stream *stream)
{
	static uint8_t buffer[100000];
	ssize_t size;

	while ((size = tmem_save_read(save, buffer, sizeof(buffer))) > 0)
		stream_add(stream, buffer, (size_t)size);
	return size;
}

static struct tmem_save *open_save(struct tmem_client *client, uint32_t flags)
{
	struct tmem_save *save = NULL;
	int err = tmem_save_open(client, flags, &save);

	ck_assert_msg(!err, "tmem_save_open: %d", err);
	return save;
}

static struct stream save_all(struct tmem_client *client)
{
	struct tmem_save *save = open_save(client, 0);
	struct stream stream = { 0 };

	ck_assert_int_eq(read_on(save, &stream), 0);
	tmem_save_close(save);
	return stream;
}

static struct tmem_restore *open_restore(struct tmem_store *store,
					 const char *name)
{
	struct tmem_restore_config config;
	struct tmem_restore *restore = NULL;

	tmem_restore_config_init(&config);
	config.store = store;
	config.name = name;
	ck_assert_int_eq(tmem_restore_open(&config, &restore), 0);
	return restore;
}

/* 0, or the error; @client is set when it is 0. */
static int try_restore(struct tmem_store *store, const char *name,
		       const uint8_t *bytes, size_t size,
		       struct tmem_client **client)
{
	struct tmem_restore *restore = open_restore(store, name);
	int err = tmem_restore_write(restore, bytes, size);

	if (!err)
		err = tmem_restore_commit(restore, client);
	ck_assert_int_eq(!err, !*tmem_restore_error(restore));
	tmem_restore_close(restore);
	return err;
}

static struct tmem_client *restore_all(struct tmem_store *store,
				       const char *name,
				       const struct stream *stream)
{
	struct tmem_client *client = NULL;
	int err = try_restore(store, name, stream->bytes, stream->size,
			      &client);

	ck_assert_msg(!err, "restore: %d", err);
	return client;
}

/* --- clients ------------------------------------------------------------------- */

static void fill(struct tmem_client *client, int pool, uint32_t pages)
{
	for (uint32_t i = 0; i < pages; i++)
		ck_assert_int_eq(tm_test_put(client, pool, i / PER_OBJECT, i,
					     i % TM_PAGE_KINDS, i),
				 TMEM_PUT_STORED);
}

static int has_page(struct tmem_client *client, int pool, uint32_t i)
{
	return tm_test_get(client, pool, i / PER_OBJECT, i, i % TM_PAGE_KINDS,
			   i);
}

static void flush(struct tmem_client *client, int pool, uint32_t i)
{
	struct tmem_oid oid = tm_oid(i / PER_OBJECT);

	ck_assert_int_eq(tmem_flush_page(client, pool, &oid, i), 1);
}

static uint64_t pages_of(struct tmem_client *client, int pool)
{
	struct tmem_pool_info info = { .struct_size = sizeof(info) };

	ck_assert_int_eq(tmem_pool_get_info(client, pool, &info), 0);
	return info.pages;
}

static struct tmem_client_info info_of(struct tmem_client *client)
{
	struct tmem_client_info info = { .struct_size = sizeof(info) };

	ck_assert_int_eq(tmem_client_get_info(client, &info), 0);
	return info;
}

static uint32_t client_count(struct tmem_store *store)
{
	struct tmem_client_info info = { .struct_size = sizeof(info) };
	uint32_t position = 0, count = 0;

	while (tmem_store_walk_clients(store, &position, &info) == 1)
		count++;
	return count;
}

static int begin(struct tm_test_store *t, uint32_t pages)
{
	int pool;

	tm_test_begin(t, 32 * TM_MIB);
	pool = tm_test_pool(t->client, PERSISTENT);
	fill(t->client, pool, pages);
	return pool;
}

/* A store of another codec and another allocator, with nobody in it. */
static void begin_target(struct tm_test_store *t)
{
	tm_test_init(t, 32 * TM_MIB);
	t->config.codec = "none";
	t->config.allocator = "zbud";
	ck_assert_int_eq(tmem_store_open(&t->config, &t->store), 0);
}

static void check_same(struct tmem_client *from, int pool,
		       struct tmem_client *to, uint32_t pages)
{
	for (uint32_t i = 0; i < pages; i++)
		ck_assert_int_eq(has_page(from, pool, i), has_page(to, pool, i));
	ck_assert_uint_eq(pages_of(from, pool), pages_of(to, pool));
}

/* --- saving and restoring ------------------------------------------------------ */

START_TEST(restored_client_has_every_page)
{
	static const uint32_t counts[] = { 0, 1, 2, 63, 64, MANY };
	struct tm_test_store t, target;
	struct tmem_client *client;
	struct stream stream;
	int pool = begin(&t, counts[_i]);

	stream = save_all(t.client);
	begin_target(&target);
	client = restore_all(target.store, NULL, &stream);
	ck_assert_str_eq(info_of(client).name, "client");
	ck_assert_uint_eq(pages_of(client, pool), counts[_i]);
	check_same(t.client, pool, client, counts[_i]);
	ck_assert_int_eq(tm_test_put(client, pool, 99, 1, TM_PAGE_TEXT, 1),
			 TMEM_PUT_STORED);
	stream_free(&stream);
	target.client = client;
	tm_test_end(&target);
	tm_test_end(&t);
}
END_TEST

START_TEST(saving_again_gives_the_same)
{
	struct tm_test_store t;
	struct stream first, second;

	begin(&t, 200);
	first = save_all(t.client);
	ck_assert(!info_of(t.client).frozen);
	second = save_all(t.client);
	ck_assert_uint_eq(first.size, second.size);
	ck_assert_mem_eq(first.bytes, second.bytes, first.size);
	stream_free(&first);
	stream_free(&second);
	tm_test_end(&t);
}
END_TEST

START_TEST(frozen_before_is_frozen_after)
{
	struct tm_test_store t, target;
	struct tmem_client *client;
	struct stream stream;
	int pool = begin(&t, 10);

	ck_assert_int_eq(tmem_client_set_frozen(t.client, true), 0);
	stream = save_all(t.client);
	ck_assert(info_of(t.client).frozen);
	begin_target(&target);
	client = restore_all(target.store, NULL, &stream);
	ck_assert(info_of(client).frozen);
	check_same(t.client, pool, client, 10);
	ck_assert_int_eq(tmem_client_set_frozen(client, false), 0);
	ck_assert_int_eq(tm_test_put(client, pool, 9, 9, TM_PAGE_TEXT, 1),
			 TMEM_PUT_STORED);
	stream_free(&stream);
	target.client = client;
	tm_test_end(&target);
	tm_test_end(&t);
}
END_TEST

/* An operator's freeze is no part of the save: it lasts until an operator's thaw,
 * which a save refuses. */
START_TEST(frozen_meanwhile_is_frozen_after)
{
	bool is_live = _i & 1, is_read = _i & 2;
	struct stream stream = { 0 };
	struct tm_test_store t, target;
	struct tmem_save *save;
	int pool = begin(&t, 10);

	save = open_save(t.client, is_live ? TMEM_SAVE_LIVE : 0);
	if (is_live)
		tmem_save_finish(save);
	ck_assert_int_eq(tmem_client_set_frozen(t.client, true), 0);
	ck_assert_int_eq(tmem_client_set_frozen(t.client, false), -EBUSY);
	if (is_read) {
		ck_assert_int_eq(read_on(save, &stream), 0);
		begin_target(&target);
		target.client = restore_all(target.store, NULL, &stream);
		/* It was not, when that began. */
		ck_assert(!info_of(target.client).frozen);
		tm_test_end(&target);
	}
	tmem_save_close(save);
	ck_assert(info_of(t.client).frozen);
	ck_assert_int_eq(tmem_client_is_frozen(t.client), 1);
	ck_assert_int_eq(tm_test_put(t.client, pool, 9, 9, TM_PAGE_TEXT, 1),
			 TMEM_PUT_REFUSED);
	ck_assert_int_eq(tmem_client_set_frozen(t.client, false), 0);
	ck_assert_int_eq(tm_test_put(t.client, pool, 9, 9, TM_PAGE_TEXT, 1),
			 TMEM_PUT_STORED);
	stream_free(&stream);
	/* And the next save knows nothing of it. */
	stream = save_all(t.client);
	ck_assert(!info_of(t.client).frozen);
	stream_free(&stream);
	tm_test_end(&t);
}
END_TEST

START_TEST(limits_are_restored)
{
	struct tm_test_store t, target;
	struct tmem_client_config limits;
	struct tmem_client_info info;
	struct stream stream;

	begin(&t, 10);
	tmem_client_config_init(&limits);
	limits.weight = 7;
	limits.trust_domain = 3;
	limits.reservation_bytes = TM_MIB;
	limits.cap_bytes = 3 * TM_MIB;
	ck_assert_int_eq(tmem_client_set(t.client, &limits), 0);
	ck_assert_int_eq(tmem_client_set_compress(t.client, false), 0);
	stream = save_all(t.client);
	begin_target(&target);
	target.client = restore_all(target.store, "other", &stream);
	info = info_of(target.client);
	ck_assert_str_eq(info.name, "other");
	ck_assert_uint_eq(info.weight, 7);
	ck_assert_uint_eq(info.reservation_bytes, TM_MIB);
	ck_assert_uint_eq(info.cap_bytes, 3 * TM_MIB);
	ck_assert(!info.compress && !info.frozen && !info.migrating);
	/* With whom it shares pages is for each host to say. */
	ck_assert_uint_eq(info.trust_domain, 0);
	stream_free(&stream);
	tm_test_end(&target);
	tm_test_end(&t);
}
END_TEST

static int trust_seven(void *opaque, struct tmem_client *client)
{
	struct tmem_client_config limits;

	(void)opaque;
	tmem_client_config_init(&limits);
	limits.trust_domain = 7;
	return tmem_client_set(client, &limits);
}

START_TEST(trust_domain_that_was_prepared_stays)
{
	struct tmem_restore_config config;
	struct tm_test_store t, target;
	struct tmem_client_config limits;
	struct tmem_restore *restore;
	struct stream stream;

	begin(&t, 10);
	tmem_client_config_init(&limits);
	limits.weight = 5;
	limits.trust_domain = 3;
	ck_assert_int_eq(tmem_client_set(t.client, &limits), 0);
	stream = save_all(t.client);
	begin_target(&target);
	tmem_restore_config_init(&config);
	config.store = target.store;
	config.prepare = trust_seven;
	ck_assert_int_eq(tmem_restore_open(&config, &restore), 0);
	ck_assert_int_eq(tmem_restore_write(restore, stream.bytes,
					    stream.size),
			 0);
	ck_assert_int_eq(tmem_restore_commit(restore, &target.client), 0);
	tmem_restore_close(restore);
	ck_assert_uint_eq(info_of(target.client).trust_domain, 7);
	/* What the stream brings is the stream's. */
	ck_assert_uint_eq(info_of(target.client).weight, 5);
	stream_free(&stream);
	tm_test_end(&target);
	tm_test_end(&t);
}
END_TEST

/* What fits at the source may take more bytes at the target. */
START_TEST(cap_does_not_stand_in_the_way)
{
	struct tm_test_store t, target;
	struct tmem_client_config limits;
	struct stream stream;
	int pool = begin(&t, 0);

	for (uint32_t i = 0; i < 500; i++)
		tm_test_put(t.client, pool, 1, i, TM_PAGE_HEAP, i);
	tmem_client_config_init(&limits);
	limits.cap_bytes = tm_test_counts(t.client).billed_bytes;
	ck_assert_int_eq(tmem_client_set(t.client, &limits), 0);
	stream = save_all(t.client);
	begin_target(&target);
	target.client = restore_all(target.store, NULL, &stream);
	ck_assert_uint_eq(pages_of(target.client, pool), 500);
	ck_assert_uint_eq(info_of(target.client).cap_bytes, limits.cap_bytes);
	stream_free(&stream);
	tm_test_end(&target);
	tm_test_end(&t);
}
END_TEST

START_TEST(pools_keep_their_ids_and_kinds)
{
	static const struct tmem_uuid uuid = { { 5, 6 } };
	struct tmem_pool_info info = { .struct_size = sizeof(info) };
	struct tm_test_store t, target;
	struct stream stream;

	begin(&t, 3); /* pool 0 */
	ck_assert_int_eq(
		tmem_pool_create_at(t.client, 9, PERSISTENT, NULL), 9);
	ck_assert_int_eq(tmem_pool_create_at(t.client, 4, 0, NULL), 4);
	tmem_client_set_shared_auth(t.client, &uuid, true);
	ck_assert_int_eq(tmem_pool_create_at(t.client, 15, TMEM_POOL_SHARED,
					     &uuid), 15);
	fill(t.client, 9, 150);
	fill(t.client, 4, 150);
	fill(t.client, 15, 10);
	stream = save_all(t.client);
	begin_target(&target);
	target.client = restore_all(target.store, NULL, &stream);
	for (int id = 0; id < TMEM_POOLS_MAX; id++)
		ck_assert_int_eq(
			tmem_pool_get_info(target.client, id, &info),
			id == 0 || id == 4 || id == 9 || id == 15 ? 0 :
								    -ENOENT);
	check_same(t.client, 0, target.client, 3);
	check_same(t.client, 9, target.client, 150);
	ck_assert_uint_eq(pages_of(target.client, 4), 0);
	tmem_pool_get_info(target.client, 4, &info);
	ck_assert_uint_eq(info.flags, 0);
	/* Not authorised here: a pool all the same, but its own. */
	tmem_pool_get_info(target.client, 15, &info);
	ck_assert_uint_eq(info.flags, 0);
	ck_assert_uint_eq(info.pages, 0);
	stream_free(&stream);
	tm_test_end(&target);
	tm_test_end(&t);
}
END_TEST

static int authorize(void *opaque, struct tmem_client *client)
{
	return tmem_client_set_shared_auth(client, opaque, true);
}

START_TEST(shared_pool_is_joined_where_that_is_allowed)
{
	static struct tmem_uuid uuid = { { 5, 6 } };
	struct tmem_pool_info info = { .struct_size = sizeof(info) };
	struct tmem_restore_config config;
	struct tmem_restore *restore;
	struct tm_test_store t;
	struct tmem_client *client;
	struct stream stream;

	begin(&t, 0);
	tmem_client_set_shared_auth(t.client, &uuid, true);
	ck_assert_int_eq(tmem_pool_create(t.client, TMEM_POOL_SHARED, &uuid),
			 1);
	tm_test_put(t.client, 1, 1, 1, TM_PAGE_TEXT, 1);
	stream = save_all(t.client);
	tmem_restore_config_init(&config);
	config.store = t.store;
	config.name = "second";
	config.prepare = authorize;
	config.opaque = &uuid;
	ck_assert_int_eq(tmem_restore_open(&config, &restore), 0);
	ck_assert_int_eq(tmem_restore_write(restore, stream.bytes, stream.size),
			 0);
	ck_assert_int_eq(tmem_restore_commit(restore, &client), 0);
	tmem_restore_close(restore);
	tmem_pool_get_info(client, 1, &info);
	ck_assert_uint_eq(info.flags, TMEM_POOL_SHARED);
	ck_assert_uint_eq(info.members, 2);
	ck_assert_int_eq(tm_test_get(client, 1, 1, 1, TM_PAGE_TEXT, 1),
			 TMEM_GET_HIT);
	tmem_client_detach(client);
	stream_free(&stream);
	tm_test_end(&t);
}
END_TEST

/* --- while the guest runs ------------------------------------------------------ */

/* The first, the last, and what the walk is just at, in every order. */
START_TEST(page_that_goes_meanwhile_is_not_restored)
{
	struct tm_test_store t, target;
	struct tmem_save *save;
	struct stream stream = { 0 };
	uint8_t buffer[20000];
	int pool = begin(&t, MANY);
	bool is_live = _i & 1;
	uint32_t next = 0;
	ssize_t size;

	save = open_save(t.client, is_live ? TMEM_SAVE_LIVE : 0);
	flush(t.client, pool, 0);
	flush(t.client, pool, MANY - 1);
	/* About five pages in each piece, and every seventh page goes. */
	while ((size = tmem_save_read(save, buffer, sizeof(buffer))) > 0) {
		stream_add(&stream, buffer, (size_t)size);
		next += 7;
		if (next < MANY - 1)
			flush(t.client, pool, next);
	}
	ck_assert_int_eq((int)size, is_live ? -EAGAIN : 0);
	if (is_live) {
		flush(t.client, pool, 1);
		tmem_save_finish(save);
		ck_assert_int_eq(read_on(save, &stream), 0);
	}
	begin_target(&target);
	target.client = restore_all(target.store, NULL, &stream);
	check_same(t.client, pool, target.client, MANY);
	tmem_save_close(save);
	ck_assert_int_eq(has_page(target.client, pool, 0), TMEM_GET_MISS);
	ck_assert_int_eq(has_page(target.client, pool, 2), TMEM_GET_HIT);
	stream_free(&stream);
	tm_test_end(&target);
	tm_test_end(&t);
}
END_TEST

START_TEST(flushed_objects_and_exclusive_gets_go_too)
{
	struct tm_test_store t, target;
	struct tmem_oid oid = tm_oid(3);
	struct tmem_save *save;
	struct stream stream = { 0 };
	uint8_t page[TMEM_PAGE_SIZE];
	int pool = begin(&t, MANY);

	save = open_save(t.client, TMEM_SAVE_LIVE);
	ck_assert_int_eq(read_on(save, &stream), -EAGAIN);
	ck_assert_int_eq(tmem_flush_object(t.client, pool, &oid), 1);
	oid = tm_oid(7);
	ck_assert_int_eq(tmem_get(t.client, pool, &oid, 7 * PER_OBJECT, page,
				  TMEM_GET_REMOVE), TMEM_GET_HIT);
	/* And a put of a page that is there: refused, and the page is gone. */
	ck_assert_int_eq(tm_test_put(t.client, pool, 8, 8 * PER_OBJECT,
				     TM_PAGE_TEXT, 1), TMEM_PUT_REFUSED);
	tmem_save_finish(save);
	ck_assert_int_eq(read_on(save, &stream), 0);
	ck_assert_int_eq(tmem_save_hand_over(save), 0);
	tmem_save_close(save);
	begin_target(&target);
	target.client = restore_all(target.store, NULL, &stream);
	ck_assert_uint_eq(pages_of(target.client, pool),
			  MANY - PER_OBJECT - 2);
	check_same(t.client, pool, target.client, MANY);
	stream_free(&stream);
	tm_test_end(&target);
	tm_test_end(&t);
}
END_TEST

/* Whose guest flushes a last page, and ends, when the reader has seen none. */
static struct {
	struct tmem_client *client;
	struct tmem_save *save;
} last_words;

int __real_tmem_client_next_invalidation(struct tmem_client *client,
					 struct tmem_handle *handle);
int __wrap_tmem_client_next_invalidation(struct tmem_client *client,
					 struct tmem_handle *handle);

int __wrap_tmem_client_next_invalidation(struct tmem_client *client,
					 struct tmem_handle *handle)
{
	int result = __real_tmem_client_next_invalidation(client, handle);

	if (result || last_words.client != client)
		return result;
	last_words.client = NULL;
	flush(client, 0, 1);
	tmem_save_finish(last_words.save);
	return 0;
}

START_TEST(last_flush_before_the_end_is_in_the_stream)
{
	struct tm_test_store t, target;
	struct tmem_save *save;
	struct stream stream = { 0 };
	int pool = begin(&t, MANY);

	save = open_save(t.client, TMEM_SAVE_LIVE);
	last_words.save = save;
	last_words.client = t.client;
	ck_assert_int_eq(read_on(save, &stream), -EAGAIN);
	ck_assert_int_eq(read_on(save, &stream), 0);
	tmem_save_close(save);
	begin_target(&target);
	target.client = restore_all(target.store, NULL, &stream);
	ck_assert_int_eq(has_page(target.client, pool, 1), TMEM_GET_MISS);
	check_same(t.client, pool, target.client, MANY);
	stream_free(&stream);
	tm_test_end(&target);
	tm_test_end(&t);
}
END_TEST

START_TEST(pools_that_come_and_go_meanwhile)
{
	struct tmem_pool_info info = { .struct_size = sizeof(info) };
	struct tm_test_store t, target;
	struct tmem_save *save;
	struct stream stream = { 0 };

	begin(&t, 500);
	for (int id = 1; id <= 3; id++) {
		ck_assert_int_eq(tm_test_pool(t.client, PERSISTENT), id);
		fill(t.client, id, 500);
	}
	save = open_save(t.client, TMEM_SAVE_LIVE);
	ck_assert_int_eq(read_on(save, &stream), -EAGAIN);
	/* 0 goes, 1 becomes ephemeral, 2 is another one, 5 is new. */
	ck_assert_int_eq(tmem_pool_destroy(t.client, 0), 0);
	ck_assert_int_eq(tmem_pool_destroy(t.client, 1), 0);
	ck_assert_int_eq(tmem_pool_create_at(t.client, 1, 0, NULL), 1);
	ck_assert_int_eq(tmem_pool_destroy(t.client, 2), 0);
	ck_assert_int_eq(tmem_pool_create_at(t.client, 2, PERSISTENT, NULL), 2);
	ck_assert_int_eq(tmem_pool_create_at(t.client, 5, PERSISTENT, NULL), 5);
	tmem_save_finish(save);
	ck_assert_int_eq(read_on(save, &stream), 0);
	tmem_save_close(save);
	begin_target(&target);
	target.client = restore_all(target.store, NULL, &stream);
	ck_assert_int_eq(tmem_pool_get_info(target.client, 0, &info), -ENOENT);
	ck_assert_int_eq(tmem_pool_get_info(target.client, 1, &info), 0);
	ck_assert_uint_eq(info.flags, 0);
	ck_assert_uint_eq(pages_of(target.client, 2), 0);
	ck_assert_uint_eq(pages_of(target.client, 3), 500);
	ck_assert_uint_eq(pages_of(target.client, 5), 0);
	stream_free(&stream);
	tm_test_end(&target);
	tm_test_end(&t);
}
END_TEST

/* A pool that ends while it is walked, at any point. */
START_TEST(pool_that_ends_under_the_walk)
{
	struct tm_test_store t, target;
	struct tmem_save *save;
	struct stream stream = { 0 };
	uint8_t buffer[30000];
	ssize_t size;

	begin(&t, 300);
	ck_assert_int_eq(tm_test_pool(t.client, PERSISTENT), 1);
	fill(t.client, 1, 300);
	save = open_save(t.client, 0);
	for (int i = 0;
	     (size = tmem_save_read(save, buffer, sizeof(buffer))) > 0; i++) {
		stream_add(&stream, buffer, (size_t)size);
		if (i == _i)
			tmem_pool_destroy(t.client, i % 2);
	}
	ck_assert_int_eq((int)size, 0);
	tmem_save_close(save);
	begin_target(&target);
	target.client = restore_all(target.store, NULL, &stream);
	check_same(t.client, 1 - _i % 2, target.client, 300);
	stream_free(&stream);
	tm_test_end(&target);
	tm_test_end(&t);
}
END_TEST

struct guest {
	struct tmem_client *client;
	uint64_t seed;
	atomic_bool is_stopped;
};

/* Flushes, gets and puts what it may, all the time. */
static void *run_guest(void *opaque)
{
	struct guest *guest = opaque;
	uint8_t page[TMEM_PAGE_SIZE];

	while (!atomic_load(&guest->is_stopped)) {
		uint64_t r = tm_test_random(&guest->seed);
		uint32_t i = (uint32_t)(r >> 32) % MANY;
		struct tmem_oid oid = tm_oid(i / PER_OBJECT);

		switch (r % 64) {
		case 0:
			tmem_flush_object(guest->client, 0, &oid);
			break;
		case 1 ... 20:
			tmem_flush_page(guest->client, 0, &oid, i);
			break;
		case 21 ... 30:
			tmem_get(guest->client, 0, &oid, i, page,
				 TMEM_GET_REMOVE);
			break;
		default:
			tm_page_fill(page, i % TM_PAGE_KINDS, i);
			tmem_put(guest->client, 0, &oid, i, page, 0);
		}
	}
	return NULL;
}

START_TEST(running_guest_is_the_same_on_the_other_side)
{
	struct tm_test_store t, target;
	struct guest guest = { .seed = tm_test_seed() };
	pthread_t thread;

	begin(&t, MANY);
	guest.client = t.client;
	for (int round = 0; round < 10; round++) {
		struct stream stream = { 0 };
		struct tmem_save *save;

		atomic_store(&guest.is_stopped, false);
		fill(t.client, 0, MANY);
		pthread_create(&thread, NULL, run_guest, &guest);
		save = open_save(t.client, TMEM_SAVE_LIVE);
		ck_assert_int_eq(read_on(save, &stream), -EAGAIN);
		atomic_store(&guest.is_stopped, true);
		pthread_join(thread, NULL);
		tmem_save_finish(save);
		ck_assert_int_eq(read_on(save, &stream), 0);
		ck_assert_int_eq(tmem_save_hand_over(save), 0);
		begin_target(&target);
		target.client = restore_all(target.store, NULL, &stream);
		check_same(t.client, 0, target.client, MANY);
		tmem_save_close(save);
		ck_assert(info_of(t.client).frozen);
		tmem_client_set_frozen(t.client, false);
		stream_free(&stream);
		tm_test_end(&target);
	}
	tm_test_end(&t);
}
END_TEST

START_TEST(live_save_waits_for_its_end)
{
	struct tmem_save_progress progress = { .struct_size =
						       sizeof(progress) };
	struct tm_test_store t;
	struct tmem_save *save;
	struct stream stream = { 0 };
	uint8_t page[TMEM_PAGE_SIZE];
	size_t size;
	int pool = begin(&t, 100);

	save = open_save(t.client, TMEM_SAVE_LIVE);
	ck_assert_int_eq(read_on(save, &stream), -EAGAIN);
	size = stream.size;
	ck_assert_int_eq(read_on(save, &stream), -EAGAIN);
	ck_assert_uint_eq(stream.size, size);
	ck_assert_int_eq(tmem_save_get_progress(save, &progress), 0);
	ck_assert_uint_eq(progress.pages, 100);
	ck_assert_uint_eq(progress.pages_expected, 100);
	ck_assert_uint_eq(progress.bytes, size);
	ck_assert(progress.is_copied && !progress.is_ended);
	tmem_save_idle(save);
	ck_assert_int_eq(read_on(save, &stream), -EAGAIN);
	ck_assert_uint_gt(stream.size, size);
	ck_assert_int_eq(tmem_save_hand_over(save), -EINVAL);
	/* It runs on, with everything it has, but for new pages. */
	ck_assert_int_eq(has_page(t.client, pool, 5), TMEM_GET_HIT);
	ck_assert_int_eq(tmem_client_set_frozen(t.client, false), -EBUSY);
	tmem_save_finish(save);
	ck_assert_int_eq(read_on(save, &stream), 0);
	ck_assert_int_eq(tmem_save_get_progress(save, &progress), 0);
	ck_assert(progress.is_ended);
	/* A guest that was not stopped: the other side has what is gone. */
	flush(t.client, pool, 50);
	ck_assert_int_eq(tmem_save_hand_over(save), -EBUSY);
	tmem_save_close(save);
	ck_assert(!info_of(t.client).frozen);
	tm_page_fill(page, TM_PAGE_TEXT, 1);
	ck_assert_int_eq(tm_test_put(t.client, pool, 1, 1, TM_PAGE_TEXT, 1),
			 TMEM_PUT_STORED);
	stream_free(&stream);
	tm_test_end(&t);
}
END_TEST

/* Historically the second one forgot that the client had not been frozen. */
START_TEST(second_save_at_a_time_is_refused)
{
	struct tmem_save *save, *second = NULL;
	struct tm_test_store t;

	begin(&t, 10);
	save = open_save(t.client, 0);
	ck_assert_int_eq(tmem_save_open(t.client, 0, &second), -EBUSY);
	ck_assert_int_eq(tmem_save_open(t.client, TMEM_SAVE_LIVE, &second),
			 -EBUSY);
	ck_assert(info_of(t.client).frozen);
	tmem_save_close(save);
	ck_assert(!info_of(t.client).frozen);
	tm_test_end(&t);
}
END_TEST

START_TEST(save_that_is_given_up_leaves_the_client_as_it_was)
{
	struct tm_test_store t;
	struct tmem_save *save;
	uint8_t buffer[1000];
	int pool = begin(&t, 200);

	for (int reads = 0; reads < 200; reads += 20) {
		save = open_save(t.client, reads % 40 ? TMEM_SAVE_LIVE : 0);
		for (int i = 0; i < reads; i++)
			ck_assert_int_gt(tmem_save_read(save, buffer,
							sizeof(buffer)), 0);
		tmem_save_close(save);
		ck_assert(!info_of(t.client).frozen);
		ck_assert(!info_of(t.client).migrating);
	}
	ck_assert_uint_eq(pages_of(t.client, pool), 200);
	tm_test_end(&t);
}
END_TEST

/* --- streams that are not right ------------------------------------------------ */

/* A few pages of every sort, and a list of what went. */
static struct stream small_stream(void)
{
	struct tm_test_store t;
	struct tmem_save *save;
	struct stream stream = { 0 };
	int pool = begin(&t, TM_PAGE_KINDS);

	tm_test_pool(t.client, 0);
	save = open_save(t.client, TMEM_SAVE_LIVE);
	ck_assert_int_eq(read_on(save, &stream), -EAGAIN);
	flush(t.client, pool, 2);
	ck_assert_int_eq(read_on(save, &stream), -EAGAIN);
	tmem_save_idle(save);
	ck_assert_int_eq(read_on(save, &stream), -EAGAIN);
	tmem_save_finish(save);
	ck_assert_int_eq(read_on(save, &stream), 0);
	tmem_save_close(save);
	tm_test_end(&t);
	return stream;
}

static void check_clean(struct tm_test_store *target)
{
	ck_assert_uint_eq(client_count(target->store), 0);
	tm_test_settle(target->store);
	ck_assert_uint_eq(tm_test_stats(target->store).objects, 0);
	ck_assert_uint_eq(tm_test_stats(target->store).counts.pages, 0);
	tm_test_check(target);
}

START_TEST(flipped_bit_is_noticed)
{
	struct tmem_client *client = NULL;
	struct tm_test_store target;
	struct stream stream = small_stream();

	begin_target(&target);
	for (size_t bit = 0; bit < 8 * stream.size; bit++) {
		int err;

		stream.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
		err = try_restore(target.store, NULL, stream.bytes, stream.size,
				  &client);
		ck_assert_msg(err == -EBADMSG, "bit %zu: %d", bit, err);
		stream.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
		if (bit % 4096 == 0)
			check_clean(&target);
	}
	check_clean(&target);
	target.client = restore_all(target.store, NULL, &stream);
	stream_free(&stream);
	tm_test_end(&target);
}
END_TEST

START_TEST(cut_is_noticed)
{
	struct tmem_client *client = NULL;
	struct tm_test_store target;
	struct stream stream = small_stream();

	begin_target(&target);
	for (size_t size = 0; size < stream.size; size++)
		ck_assert_int_eq(try_restore(target.store, NULL, stream.bytes,
					     size, &client),
				 -EBADMSG);
	check_clean(&target);
	/* And one byte too many. */
	stream_add(&stream, "", 1);
	ck_assert_int_eq(try_restore(target.store, NULL, stream.bytes,
				     stream.size, &client),
			 -EBADMSG);
	check_clean(&target);
	stream_free(&stream);
	tmem_store_close(target.store);
}
END_TEST

/* Where the blocks of @stream begin; how many there are. */
static unsigned find_blocks(const struct stream *stream, size_t begins[16])
{
	size_t at = sizeof(struct tm_save_hello);
	unsigned count = 0;

	while (at < stream->size) {
		struct tm_save_block head;

		begins[count++] = at;
		memcpy(&head, stream->bytes + at, sizeof(head));
		at += sizeof(head) + head.length;
	}
	begins[count] = at;
	return count;
}

START_TEST(block_that_is_missing_or_repeated_is_noticed)
{
	struct tmem_client *client = NULL;
	struct tm_test_store target;
	struct stream stream = small_stream();
	size_t begins[16];
	unsigned count = find_blocks(&stream, begins);

	ck_assert_uint_eq(count, 5);
	begin_target(&target);
	for (unsigned i = 0; i < count; i++) {
		size_t at = begins[i], size = begins[i + 1] - at;
		struct stream less = { 0 }, more = { 0 };

		stream_add(&less, stream.bytes, at);
		stream_add(&less, stream.bytes + at + size,
			   stream.size - at - size);
		stream_add(&more, stream.bytes, at + size);
		stream_add(&more, stream.bytes + at, stream.size - at);
		ck_assert_int_eq(try_restore(target.store, NULL, less.bytes,
					     less.size, &client), -EBADMSG);
		ck_assert_int_eq(try_restore(target.store, NULL, more.bytes,
					     more.size, &client), -EBADMSG);
		stream_free(&less);
		stream_free(&more);
	}
	check_clean(&target);
	stream_free(&stream);
	tmem_store_close(target.store);
}
END_TEST

START_TEST(pieces_may_be_cut_anywhere)
{
	struct tm_test_store target;
	struct stream stream = small_stream();
	uint64_t seed = tm_test_seed();

	begin_target(&target);
	for (int round = 0; round < 50; round++) {
		struct tmem_restore *restore =
			open_restore(target.store, NULL);
		struct tmem_client *client;
		size_t most = round ? 1 + tm_test_random(&seed) % 6000 : 1;

		for (size_t at = 0; at < stream.size;) {
			size_t size = 1 + tm_test_random(&seed) % most;

			if (size > stream.size - at)
				size = stream.size - at;
			ck_assert_int_eq(tmem_restore_write(restore,
							    stream.bytes + at,
							    size), 0);
			at += size;
		}
		ck_assert_int_eq(tmem_restore_commit(restore, &client), 0);
		tmem_restore_close(restore);
		ck_assert_uint_eq(pages_of(client, 0), TM_PAGE_KINDS - 1);
		tmem_client_destroy(client);
	}
	stream_free(&stream);
	tmem_store_close(target.store);
}
END_TEST

/* --- stores that cannot take it ------------------------------------------------- */

START_TEST(client_that_is_there_is_left_alone)
{
	struct tmem_client *client = NULL;
	struct tmem_client_config limits;
	struct tm_test_store t;
	struct stream stream;
	int pool = begin(&t, 20);

	stream = save_all(t.client);
	tmem_client_config_init(&limits);
	limits.weight = 5;
	ck_assert_int_eq(tmem_client_set(t.client, &limits), 0);
	ck_assert_int_eq(try_restore(t.store, NULL, stream.bytes, stream.size,
				     &client), -EEXIST);
	ck_assert_uint_eq(info_of(t.client).weight, 5);
	ck_assert_uint_eq(pages_of(t.client, pool), 20);
	/* Attached or not. */
	tmem_client_detach(t.client);
	ck_assert_int_eq(try_restore(t.store, NULL, stream.bytes, stream.size,
				     &client), -EEXIST);
	t.client = tm_test_attach(t.store, "client");
	ck_assert_uint_eq(pages_of(t.client, pool), 20);
	stream_free(&stream);
	tm_test_end(&t);
}
END_TEST

START_TEST(nobody_else_gets_at_a_client_that_is_being_restored)
{
	struct tmem_client_config config;
	struct tmem_restore *restore;
	struct tmem_client *client;
	struct tm_test_store target;
	struct stream stream = small_stream();

	begin_target(&target);
	restore = open_restore(target.store, NULL);
	ck_assert_int_eq(tmem_restore_write(restore, stream.bytes,
					    stream.size - 1), 0);
	tmem_client_config_init(&config);
	config.name = "client";
	ck_assert_int_eq(tmem_client_attach(target.store, &config, &client),
			 -EBUSY);
	tmem_restore_close(restore);
	check_clean(&target);
	stream_free(&stream);
	tmem_store_close(target.store);
}
END_TEST

START_TEST(store_without_room_stays_as_it_was)
{
	struct tmem_client *client = NULL;
	struct tm_test_store t, target;
	struct tmem_client_config limits;
	struct stream stream;

	begin(&t, MANY);
	stream = save_all(t.client);
	tm_test_init(&target, 4 * TM_MIB);
	target.config.codec = "none";
	ck_assert_int_eq(tmem_store_open(&target.config, &target.store), 0);
	ck_assert_int_eq(try_restore(target.store, NULL, stream.bytes,
				     stream.size, &client), -ENOSPC);
	check_clean(&target);
	stream_free(&stream);
	/* Nor for what was promised to it. */
	tmem_client_config_init(&limits);
	limits.reservation_bytes = 12 * TM_MIB;
	ck_assert_int_eq(tmem_client_set(t.client, &limits), 0);
	stream = save_all(t.client);
	ck_assert_int_eq(try_restore(target.store, NULL, stream.bytes,
				     stream.size, &client), -ENOSPC);
	check_clean(&target);
	stream_free(&stream);
	tmem_store_close(target.store);
	tm_test_end(&t);
}
END_TEST

/* The process dies with a client half restored; the whole one beside it stays. */
START_TEST(half_a_client_does_not_survive)
{
	struct stream stream = small_stream();
	struct tm_test_store target;
	struct tmem_client *client;
	char path[64];
	int status;
	pid_t pid;

	snprintf(path, sizeof(path), "/dev/shm/tmem-save-%ld", (long)getpid());
	unlink(path);
	tm_test_init(&target, 32 * TM_MIB);
	target.config.arena = path;
	pid = fork();
	if (!pid) {
		struct tmem_restore *restore;

		if (tmem_store_open(&target.config, &target.store))
			_exit(1);
		restore_all(target.store, "whole", &stream);
		restore = open_restore(target.store, "half");
		if (tmem_restore_write(restore, stream.bytes, stream.size))
			_exit(2);
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	ck_assert_int_eq(tmem_store_open(&target.config, &target.store), 0);
	ck_assert_uint_eq(client_count(target.store), 1);
	client = restore_all(target.store, "half", &stream);
	ck_assert_uint_eq(pages_of(client, 0), TM_PAGE_KINDS - 1);
	tmem_client_detach(client);
	target.client = tm_test_attach(target.store, "whole");
	ck_assert_uint_eq(pages_of(target.client, 0), TM_PAGE_KINDS - 1);
	tm_test_end(&target);
	/* Now that it is whole, it stays. */
	ck_assert_int_eq(tmem_store_open(&target.config, &target.store), 0);
	ck_assert_uint_eq(client_count(target.store), 2);
	tmem_store_close(target.store);
	unlink(path);
	stream_free(&stream);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("save");
	TCase *tc = tcase_create("save");

	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, restored_client_has_every_page, 0, 6);
	tcase_add_test(tc, saving_again_gives_the_same);
	tcase_add_test(tc, frozen_before_is_frozen_after);
	tcase_add_loop_test(tc, frozen_meanwhile_is_frozen_after, 0, 4);
	tcase_add_test(tc, limits_are_restored);
	tcase_add_test(tc, trust_domain_that_was_prepared_stays);
	tcase_add_test(tc, cap_does_not_stand_in_the_way);
	tcase_add_test(tc, pools_keep_their_ids_and_kinds);
	tcase_add_test(tc, shared_pool_is_joined_where_that_is_allowed);
	tcase_add_loop_test(tc, page_that_goes_meanwhile_is_not_restored, 0, 2);
	tcase_add_test(tc, flushed_objects_and_exclusive_gets_go_too);
	tcase_add_test(tc, last_flush_before_the_end_is_in_the_stream);
	tcase_add_test(tc, pools_that_come_and_go_meanwhile);
	tcase_add_loop_test(tc, pool_that_ends_under_the_walk, 0, 60);
	tcase_add_test(tc, running_guest_is_the_same_on_the_other_side);
	tcase_add_test(tc, live_save_waits_for_its_end);
	tcase_add_test(tc, second_save_at_a_time_is_refused);
	tcase_add_test(tc,
		       save_that_is_given_up_leaves_the_client_as_it_was);
	tcase_add_test(tc, flipped_bit_is_noticed);
	tcase_add_test(tc, cut_is_noticed);
	tcase_add_test(tc, block_that_is_missing_or_repeated_is_noticed);
	tcase_add_test(tc, pieces_may_be_cut_anywhere);
	tcase_add_test(tc, client_that_is_there_is_left_alone);
	tcase_add_test(tc,
		       nobody_else_gets_at_a_client_that_is_being_restored);
	tcase_add_test(tc, store_without_room_stays_as_it_was);
	tcase_add_test(tc, half_a_client_does_not_survive);
	suite_add_tcase(suite, tc);
	return tm_test_run(suite);
}
