/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Cleancache, rule by rule: over each way to a real store where the rule is
 * about pages, over a back end of the test's own where it is about calls.
 */
#include <config.h>

#include <pthread.h>

#include "guest_rig.h"

/* --- a back end that only counts ----------------------------------------- */

struct counter {
	int calls[7];
	int next_pool; /* to be given out; negative: none */
	uint8_t uuid[16];
};

static int count_init_fs(void *opaque, size_t page_bytes)
{
	struct counter *c = opaque;

	ck_assert_uint_eq(page_bytes, TMEM_PAGE_SIZE);
	c->calls[0]++;
	return c->next_pool < 0 ? -28 : c->next_pool++;
}

static int count_init_shared_fs(void *opaque, const uint8_t uuid[16],
				size_t page_bytes)
{
	struct counter *c = opaque;

	ck_assert_uint_eq(page_bytes, TMEM_PAGE_SIZE);
	memcpy(c->uuid, uuid, sizeof(c->uuid));
	c->calls[1]++;
	return c->next_pool < 0 ? -28 : c->next_pool++;
}

static int count_get(void *opaque, int pool,
		     const struct tmem_cleancache_key *key, uint64_t index,
		     void *page)
{
	(void)pool, (void)key, (void)index, (void)page;
	((struct counter *)opaque)->calls[2]++;
	return -1;
}

static void count_put(void *opaque, int pool,
		      const struct tmem_cleancache_key *key, uint64_t index,
		      const void *page)
{
	(void)pool, (void)key, (void)index, (void)page;
	((struct counter *)opaque)->calls[3]++;
}

static void count_invalidate_page(void *opaque, int pool,
				  const struct tmem_cleancache_key *key,
				  uint64_t index)
{
	(void)pool, (void)key, (void)index;
	((struct counter *)opaque)->calls[4]++;
}

static void count_invalidate_inode(void *opaque, int pool,
				   const struct tmem_cleancache_key *key)
{
	(void)pool, (void)key;
	((struct counter *)opaque)->calls[5]++;
}

static void count_invalidate_fs(void *opaque, int pool)
{
	(void)pool;
	((struct counter *)opaque)->calls[6]++;
}

static const struct tmem_cleancache_ops counting = {
	.struct_size = sizeof(counting),
	.init_fs = count_init_fs,
	.init_shared_fs = count_init_shared_fs,
	.get_page = count_get,
	.put_page = count_put,
	.invalidate_page = count_invalidate_page,
	.invalidate_inode = count_invalidate_inode,
	.invalidate_fs = count_invalidate_fs,
};

/* --- pages --------------------------------------------------------------- */

START_TEST(c1_c2_private_get_takes_the_page_and_the_next_misses)
{
	struct linux_guest g;
	struct tmem_cleancache_fs *fs;

	linux_guest_begin(&g, _i);
	fs = guest_mount(&g, NULL);
	guest_cache_put(fs, 7, 3, 1);
	ck_assert_uint_eq(guest_pages_stored(&g), 1);
	ck_assert_int_eq(guest_cache_get(fs, 7, 3, 1), TMEM_GET_HIT);
	ck_assert_uint_eq(guest_pages_stored(&g), 0);
	ck_assert_int_eq(guest_cache_get(fs, 7, 3, 1), TMEM_GET_MISS);
	tmem_cleancache_unmount(fs);
	linux_guest_end(&g);
}
END_TEST

START_TEST(c3_put_put_get_never_returns_the_first)
{
	struct linux_guest g;
	struct tmem_cleancache_fs *fs;

	linux_guest_begin(&g, _i);
	fs = guest_mount(&g, NULL);
	for (uint64_t i = 0; i < 64; i++) {
		guest_cache_put(fs, 7, i, 2 * i);
		guest_cache_put(fs, 7, i, 2 * i + 1);
		guest_cache_get(fs, 7, i, 2 * i + 1);
	}
	tmem_cleancache_unmount(fs);
	linux_guest_end(&g);
}
END_TEST

START_TEST(c4_get_after_invalidate_misses)
{
	const struct tmem_cleancache_file file = guest_file(7);
	struct linux_guest g;
	struct tmem_cleancache_fs *fs;

	linux_guest_begin(&g, _i);
	fs = guest_mount(&g, NULL);
	for (uint64_t i = 0; i < 4; i++)
		guest_cache_put(fs, 7, i, i);
	guest_cache_put(fs, 8, 0, 8);
	tmem_cleancache_invalidate_page(fs, &file, 1);
	ck_assert_int_eq(guest_cache_get(fs, 7, 1, 1), TMEM_GET_MISS);
	ck_assert_int_eq(guest_cache_get(fs, 7, 2, 2), TMEM_GET_HIT);
	tmem_cleancache_invalidate_inode(fs, &file);
	ck_assert_int_eq(guest_cache_get(fs, 7, 0, 0), TMEM_GET_MISS);
	ck_assert_int_eq(guest_cache_get(fs, 7, 3, 3), TMEM_GET_MISS);
	ck_assert_int_eq(guest_cache_get(fs, 8, 0, 8), TMEM_GET_HIT);
	guest_cache_put(fs, 8, 0, 8);
	tmem_cleancache_unmount(fs);
	fs = guest_mount(&g, NULL);
	ck_assert_int_eq(guest_cache_get(fs, 8, 0, 8), TMEM_GET_MISS);
	tmem_cleancache_unmount(fs);
	linux_guest_end(&g);
}
END_TEST

START_TEST(c5_shared_get_leaves_the_page_for_the_others)
{
	static const uint8_t volume[16] = "an ocfs2 volume";
	struct tmem_uuid uuid;
	struct linux_guest g;
	struct tmem_cleancache_fs *fs;

	linux_guest_begin(&g, GUEST_CLIENT);
	memcpy(&uuid, volume, sizeof(uuid));
	ck_assert_int_eq(tmem_client_set_shared_auth(g.t.client, &uuid, true),
			 0);
	fs = guest_mount(&g, volume);
	ck_assert_int_ge(tmem_cleancache_fs_pool(fs), 0);
	guest_cache_put(fs, 7, 3, 1);
	ck_assert_int_eq(guest_cache_get(fs, 7, 3, 1), TMEM_GET_HIT);
	ck_assert_int_eq(guest_cache_get(fs, 7, 3, 1), TMEM_GET_HIT);
	tmem_cleancache_unmount(fs);
	linux_guest_end(&g);
}
END_TEST

START_TEST(c6_index_beyond_32_bits_is_ignored)
{
	const uint64_t beyond = (UINT64_C(1) << 32) + 3;
	const struct tmem_cleancache_file file = guest_file(7);
	struct linux_guest g;
	struct tmem_cleancache_fs *fs;

	linux_guest_begin(&g, _i);
	fs = guest_mount(&g, NULL);
	guest_cache_put(fs, 7, 3, 1);
	guest_cache_put(fs, 7, beyond, 2);
	ck_assert_uint_eq(guest_pages_stored(&g), 1);
	ck_assert_int_eq(guest_cache_get(fs, 7, beyond, 2), TMEM_GET_MISS);
	tmem_cleancache_invalidate_page(fs, &file, beyond);
	ck_assert_int_eq(guest_cache_get(fs, 7, 3, 1), TMEM_GET_HIT);
	guest_cache_put(fs, 7, UINT32_MAX, 4);
	ck_assert_int_eq(guest_cache_get(fs, 7, UINT32_MAX, 4), TMEM_GET_HIT);
	tmem_cleancache_unmount(fs);
	linux_guest_end(&g);
}
END_TEST

START_TEST(c10_pool_id_used_again_is_clean)
{
	struct linux_guest g;
	struct tmem_cleancache_fs *fs;
	int pool;

	linux_guest_begin(&g, _i);
	fs = guest_mount(&g, NULL);
	pool = tmem_cleancache_fs_pool(fs);
	guest_cache_put(fs, 7, 3, 1);
	tmem_cleancache_unmount(fs);
	fs = guest_mount(&g, NULL);
	ck_assert_int_eq(tmem_cleancache_fs_pool(fs), pool);
	ck_assert_int_eq(guest_cache_get(fs, 7, 3, 1), TMEM_GET_MISS);
	tmem_cleancache_unmount(fs);
	linux_guest_end(&g);
}
END_TEST

START_TEST(put_truncate_get_misses)
{
	const struct tmem_cleancache_file file = guest_file(7);
	struct linux_guest g;
	struct tmem_cleancache_fs *fs;

	linux_guest_begin(&g, _i);
	fs = guest_mount(&g, NULL);
	guest_cache_put(fs, 7, 3, 1);
	tmem_cleancache_invalidate_inode(fs, &file);
	/* A page that leaves the page cache in the middle of it. */
	guest_cache_put(fs, 7, 3, 1);
	tmem_cleancache_invalidate_inode(fs, &file);
	ck_assert_int_eq(guest_cache_get(fs, 7, 3, 1), TMEM_GET_MISS);
	tmem_cleancache_unmount(fs);
	linux_guest_end(&g);
}
END_TEST

START_TEST(removal_of_what_the_disk_does_not_have_invalidates)
{
	const uint32_t both = TMEM_CLEANCACHE_UPTODATE | TMEM_CLEANCACHE_MAPPED;
	const struct tmem_cleancache_file file = guest_file(7);
	uint8_t page[TMEM_PAGE_SIZE];
	struct linux_guest g;
	struct tmem_cleancache_fs *fs;

	linux_guest_begin(&g, _i);
	fs = guest_mount(&g, NULL);
	tm_page_fill(page, TM_PAGE_TEXT, 9);
	for (uint32_t flags = 0; flags <= both; flags++) {
		guest_cache_put(fs, 7, 3, 1);
		tmem_cleancache_removed(fs, &file, 3, page, flags);
		ck_assert_int_eq(guest_cache_get(fs, 7, 3, 9),
				 flags == both ? TMEM_GET_HIT : TMEM_GET_MISS);
	}
	tmem_cleancache_unmount(fs);
	linux_guest_end(&g);
}
END_TEST

/* More mounts than a client has pools: the rest is not cached, and works. */
START_TEST(mounts_beyond_the_pools_are_not_cached)
{
	struct tmem_cleancache_fs *fs[TMEM_POOLS_MAX + 3];
	struct linux_guest g;
	const int count = (int)(sizeof(fs) / sizeof(*fs));

	linux_guest_begin(&g, _i);
	for (int i = 0; i < count; i++) {
		fs[i] = guest_mount(&g, NULL);
		ck_assert_int_eq(tmem_cleancache_fs_pool(fs[i]),
				 i < TMEM_POOLS_MAX ? i
						    : TMEM_CLEANCACHE_NO_POOL);
		guest_cache_put(fs[i], 7, 0, (uint64_t)i);
	}
	for (int i = 0; i < count; i++)
		ck_assert_int_eq(guest_cache_get(fs[i], 7, 0, (uint64_t)i),
				 i < TMEM_POOLS_MAX ? TMEM_GET_HIT
						    : TMEM_GET_MISS);
	for (int i = 0; i < count; i++)
		tmem_cleancache_unmount(fs[i]);
	linux_guest_end(&g);
}
END_TEST

#define INODES 4
#define INDICES 16

/* What the disk has is what may be found: any sequence of calls, a store that
 * evicts, and the disk beside it. */
START_TEST(any_sequence_of_calls_finds_what_the_disk_has_or_nothing)
{
	uint64_t state = tm_test_seed(), next = 0;
	uint64_t disk[INODES][INDICES] = { 0 };
	struct linux_guest g;
	struct tmem_cleancache_fs *fs;

	linux_guest_begin(&g, _i);
	fs = guest_mount(&g, NULL);
	for (int i = 0; i < 20000; i++) {
		uint64_t r = tm_test_random(&state);
		uint64_t inode = r >> 8 & (INODES - 1);
		uint64_t index = r >> 12 & (INDICES - 1);
		const struct tmem_cleancache_file file = guest_file(inode);

		if (r % 256 == 0) {
			tmem_cleancache_unmount(fs);
			fs = guest_mount(&g, NULL);
		} else if (r % 256 == 1) {
			tmem_store_evict(guest_store(&g), UINT64_MAX);
		} else if (r % 256 < 4) {
			for (uint64_t n = 0; n < INDICES; n++)
				disk[inode][n] = ++next;
			tmem_cleancache_invalidate_inode(fs, &file);
		} else if (r & 128) {
			guest_cache_get(fs, inode, index, disk[inode][index]);
		} else if (r & 64) {
			guest_cache_put(fs, inode, index, disk[inode][index]);
		} else {
			/* Written, and cleaned again, and dropped or not. */
			disk[inode][index] = ++next;
			if (r & 32)
				tmem_cleancache_invalidate_page(fs, &file,
								index);
			else
				guest_cache_put(fs, inode, index, next);
		}
	}
	tmem_cleancache_unmount(fs);
	linux_guest_end(&g);
}
END_TEST

/* --- keys ---------------------------------------------------------------- */

/* What encode_handle is to do is the file itself. */
struct handle {
	int type;
	int needed;
	uint32_t words[TMEM_CLEANCACHE_KEY_MAX];
};

static int encode(const void *file, uint32_t *handle, int words, int *needed)
{
	const struct handle *h = file;

	ck_assert_int_eq(words, TMEM_CLEANCACHE_KEY_MAX);
	memcpy(handle, h->words, sizeof(h->words));
	*needed = h->needed;
	return h->type;
}

static int key_of(const struct handle *h, struct tmem_cleancache_key *key)
{
	const struct tmem_cleancache_file file = { .inode = 42, .file = h };
	struct tmem_cleancache_fs_config config;
	struct tmem_cleancache *cache;
	struct tmem_cleancache_fs *fs;
	int err;

	tmem_cleancache_fs_config_init(&config);
	config.encode_handle = h ? encode : NULL;
	ck_assert_int_eq(tmem_cleancache_create(&cache), 0);
	ck_assert_int_eq(tmem_cleancache_mount(cache, &config, &fs), 0);
	memset(key, 0xa5, sizeof(*key));
	err = tmem_cleancache_make_key(fs, &file, key);
	tmem_cleancache_unmount(fs);
	tmem_cleancache_destroy(cache);
	return err;
}

START_TEST(c7_key_of_an_inode_is_its_number_and_zeros)
{
	struct tmem_cleancache_key key;
	uint64_t oid[3];

	ck_assert_uint_eq(sizeof(key), 24);
	ck_assert_int_eq(key_of(NULL, &key), 0);
	memcpy(oid, &key, sizeof(oid));
	ck_assert_uint_eq(oid[0], 42);
	ck_assert_uint_eq(oid[1], 0);
	ck_assert_uint_eq(oid[2], 0);
}
END_TEST

START_TEST(c7_key_of_a_handle_is_its_six_words)
{
	struct handle h = { 1, 6, { 1, 2, 3, 4, 5, 6 } };
	struct tmem_cleancache_key key;

	ck_assert_int_eq(key_of(&h, &key), 0);
	ck_assert_mem_eq(key.u.handle, h.words, sizeof(h.words));
}
END_TEST

START_TEST(c7_handles_of_no_type_or_too_long_are_not_cached)
{
	static const struct handle bad[] = {
		{ .type = 0, .needed = 2 },
		{ .type = 255, .needed = 2 },
		{ .type = -1, .needed = 2 },
		{ .type = 1, .needed = 7 },
		{ .type = 1, .needed = -1 },
		{ .type = INT32_MIN },
		{ .type = 1, .needed = INT32_MAX },
	};
	struct counter c = { 0 };
	struct tmem_cleancache_fs_config config;
	struct tmem_cleancache_key key;
	uint8_t page[TMEM_PAGE_SIZE] = { 0 };
	struct tmem_cleancache *cache;
	struct tmem_cleancache_fs *fs;

	ck_assert_int_eq(tmem_cleancache_create(&cache), 0);
	ck_assert_int_eq(tmem_cleancache_register(cache, &counting, &c), 0);
	tmem_cleancache_fs_config_init(&config);
	config.encode_handle = encode;
	ck_assert_int_eq(tmem_cleancache_mount(cache, &config, &fs), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		const struct tmem_cleancache_file file = { .file = &bad[i] };

		ck_assert_int_eq(key_of(&bad[i], &key), -EINVAL);
		tmem_cleancache_put(fs, &file, 0, page);
		ck_assert_int_eq(tmem_cleancache_get(fs, &file, 0, page),
				 TMEM_GET_MISS);
		tmem_cleancache_invalidate_page(fs, &file, 0);
		tmem_cleancache_invalidate_inode(fs, &file);
	}
	for (int i = 2; i < 7; i++)
		ck_assert_int_eq(c.calls[i], 0);
	/* Nor counted. */
	ck_assert_uint_eq(guest_cache_counts(cache).puts, 0);
	ck_assert_uint_eq(guest_cache_counts(cache).failed_gets, 0);
	ck_assert_uint_eq(guest_cache_counts(cache).invalidates, 0);
	tmem_cleancache_unmount(fs);
	tmem_cleancache_destroy(cache);
}
END_TEST

/* --- back ends ----------------------------------------------------------- */

START_TEST(c8_late_back_end_finds_every_mount_once)
{
	static const uint8_t uuid[16] = "0123456789abcde";
	struct counter c = { .next_pool = 3 }, other = { 0 };
	struct linux_guest g = { 0 };
	struct tmem_cleancache_fs *private, *shared;

	ck_assert_int_eq(tmem_cleancache_create(&g.cache), 0);
	private = guest_mount(&g, NULL);
	shared = guest_mount(&g, uuid);
	ck_assert_int_eq(tmem_cleancache_fs_pool(private), -2);
	ck_assert_int_eq(tmem_cleancache_fs_pool(shared), -3);
	ck_assert_int_eq(tmem_cleancache_register(g.cache, &counting, &c), 0);
	ck_assert_int_ge(tmem_cleancache_fs_pool(private), 3);
	ck_assert_int_ge(tmem_cleancache_fs_pool(shared), 3);
	ck_assert_int_eq(tmem_cleancache_register(g.cache, &counting, &other),
			 -EBUSY);
	ck_assert_int_eq(c.calls[0], 1);
	ck_assert_int_eq(c.calls[1], 1);
	ck_assert_mem_eq(c.uuid, uuid, 16);
	ck_assert_int_eq(other.calls[0] + other.calls[1], 0);
	tmem_cleancache_unmount(private);
	tmem_cleancache_unmount(shared);
	ck_assert_int_eq(c.calls[6], 2);
	tmem_cleancache_destroy(g.cache);
}
END_TEST

START_TEST(c8_driver_loaded_after_the_mount_serves_it)
{
	struct linux_guest g;
	struct tmem_cleancache_fs *fs;

	guest_boot(&g, _i, 16 * TM_MIB);
	fs = guest_mount(&g, NULL);
	guest_cache_put(fs, 7, 3, 1);
	ck_assert_int_eq(guest_cache_get(fs, 7, 3, 1), TMEM_GET_MISS);
	guest_load_driver(&g);
	guest_cache_put(fs, 7, 3, 1);
	ck_assert_int_eq(guest_cache_get(fs, 7, 3, 1), TMEM_GET_HIT);
	tmem_cleancache_unmount(fs);
	linux_guest_end(&g);
}
END_TEST

START_TEST(init_that_fails_leaves_no_pool)
{
	struct counter c = { .next_pool = -1 };
	struct linux_guest g = { 0 };
	struct tmem_cleancache_fs *fs;

	ck_assert_int_eq(tmem_cleancache_create(&g.cache), 0);
	fs = guest_mount(&g, NULL);
	ck_assert_int_eq(tmem_cleancache_register(g.cache, &counting, &c), 0);
	ck_assert_int_eq(tmem_cleancache_fs_pool(fs), -1);
	guest_cache_put(fs, 7, 3, 1);
	ck_assert_int_eq(guest_cache_get(fs, 7, 3, 1), TMEM_GET_MISS);
	tmem_cleancache_unmount(fs);
	ck_assert_int_eq(c.calls[2] + c.calls[3] + c.calls[6], 0);
	/* Of a file system without a pool nothing is counted. */
	ck_assert_uint_eq(guest_cache_counts(g.cache).puts, 0);
	ck_assert_uint_eq(guest_cache_counts(g.cache).failed_gets, 0);
	tmem_cleancache_destroy(g.cache);
}
END_TEST

START_TEST(blocks_that_are_not_pages_are_not_cached)
{
	struct tmem_cleancache_fs_config config;
	struct counter c = { 0 };
	struct tmem_cleancache *cache;
	struct tmem_cleancache_fs *fs;

	ck_assert_int_eq(tmem_cleancache_create(&cache), 0);
	ck_assert_int_eq(tmem_cleancache_register(cache, &counting, &c), 0);
	tmem_cleancache_fs_config_init(&config);
	config.block_bytes = 1024;
	ck_assert_int_eq(tmem_cleancache_mount(cache, &config, &fs), 0);
	ck_assert_int_eq(tmem_cleancache_fs_pool(fs), -1);
	ck_assert_int_eq(c.calls[0], 0);
	tmem_cleancache_unmount(fs);
	tmem_cleancache_destroy(cache);
}
END_TEST

START_TEST(c9_counters)
{
	const struct tmem_cleancache_file file = guest_file(7);
	struct tmem_cleancache_counts n;
	struct linux_guest g;
	struct tmem_cleancache_fs *fs;

	guest_boot(&g, _i, 16 * TM_MIB);
	fs = guest_mount(&g, NULL);
	guest_cache_put(fs, 7, 0, 0);
	guest_cache_get(fs, 7, 0, 0);
	tmem_cleancache_invalidate_page(fs, &file, 0);
	n = guest_cache_counts(g.cache);
	ck_assert_uint_eq(n.puts, 1);
	ck_assert_uint_eq(n.failed_gets, 1);
	ck_assert_uint_eq(n.succ_gets, 0);
	ck_assert_uint_eq(n.invalidates, 0);
	guest_load_driver(&g);
	guest_cache_put(fs, 7, 0, 0);
	guest_cache_put(fs, 7, 1, 1);
	guest_cache_get(fs, 7, 0, 0);
	guest_cache_get(fs, 7, 0, 0);
	tmem_cleancache_invalidate_page(fs, &file, 1);
	tmem_cleancache_invalidate_page(fs, &file, 1); /* not there */
	tmem_cleancache_invalidate_inode(fs, &file);
	tmem_cleancache_unmount(fs);
	n = guest_cache_counts(g.cache);
	ck_assert_uint_eq(n.puts, 3);
	ck_assert_uint_eq(n.succ_gets, 1);
	ck_assert_uint_eq(n.failed_gets, 2);
	ck_assert_uint_eq(n.invalidates, 2);
	linux_guest_end(&g);
}
END_TEST

START_TEST(nonsense_is_refused)
{
	struct tmem_cleancache_fs_config config;
	struct tmem_cleancache_ops short_ops = counting;
	struct tmem_cleancache_counts counts = { 0 };
	struct tmem_cleancache *cache;
	struct tmem_cleancache_fs *fs;

	short_ops.struct_size = 8;
	tmem_cleancache_fs_config_init(&config);
	ck_assert_int_eq(tmem_cleancache_create(NULL), -EINVAL);
	ck_assert_int_eq(tmem_cleancache_create(&cache), 0);
	ck_assert_int_eq(tmem_cleancache_register(cache, NULL, NULL), -EINVAL);
	ck_assert_int_eq(tmem_cleancache_register(cache, &short_ops, NULL),
			 -EINVAL);
	ck_assert_int_eq(tmem_cleancache_mount(cache, NULL, &fs), -EINVAL);
	ck_assert_int_eq(tmem_cleancache_mount(NULL, &config, &fs), -EINVAL);
	config.struct_size = 0;
	ck_assert_int_eq(tmem_cleancache_mount(cache, &config, &fs), -EINVAL);
	ck_assert_int_eq(tmem_cleancache_get_counts(cache, &counts), -EINVAL);
	tmem_cleancache_unmount(NULL);
	tmem_cleancache_destroy(NULL);
	tmem_cleancache_destroy(cache);
}
END_TEST

/* --- threads ------------------------------------------------------------- */

#define MOUNTS 200

struct mounter {
	struct linux_guest *g;
	unsigned cached;
};

/* Each with a file system of its own; pages are right or missing. */
static void *mount_and_use(void *argument)
{
	struct mounter *m = argument;

	for (uint64_t i = 0; i < MOUNTS; i++) {
		struct tmem_cleancache_fs *fs = guest_mount(m->g, NULL);

		guest_cache_put(fs, i, 0, i);
		m->cached += guest_cache_get(fs, i, 0, i) == TMEM_GET_HIT;
		tmem_cleancache_unmount(fs);
	}
	return NULL;
}

START_TEST(back_end_may_come_while_file_systems_do)
{
	struct tmem_cleancache_counts n;
	struct mounter mounters[3];
	pthread_t threads[3];
	struct linux_guest g;
	uint64_t cached = 0;

	guest_boot(&g, _i, 16 * TM_MIB);
	for (int i = 0; i < 3; i++) {
		mounters[i] = (struct mounter){ &g, 0 };
		ck_assert_int_eq(pthread_create(&threads[i], NULL,
						mount_and_use, &mounters[i]),
				 0);
	}
	guest_load_driver(&g);
	for (int i = 0; i < 3; i++) {
		pthread_join(threads[i], NULL);
		cached += mounters[i].cached;
	}
	n = guest_cache_counts(g.cache);
	ck_assert_uint_eq(n.succ_gets, cached);
	/* Between back end and pool a file system does not count. */
	ck_assert_uint_le(n.puts, 3 * MOUNTS);
	ck_assert_uint_le(n.succ_gets + n.failed_gets, 3 * MOUNTS);
	ck_assert_uint_ge(n.puts + 3, 3 * MOUNTS);
	linux_guest_end(&g);
}
END_TEST

#define EACH_WAY(test) tcase_add_loop_test(tcase, test, 0, GUEST_WAYS)

int main(void)
{
	Suite *suite = suite_create("cleancache");
	TCase *tcase = tcase_create("pages");

	EACH_WAY(c1_c2_private_get_takes_the_page_and_the_next_misses);
	EACH_WAY(c3_put_put_get_never_returns_the_first);
	EACH_WAY(c4_get_after_invalidate_misses);
	tcase_add_test(tcase, c5_shared_get_leaves_the_page_for_the_others);
	EACH_WAY(c6_index_beyond_32_bits_is_ignored);
	EACH_WAY(c10_pool_id_used_again_is_clean);
	EACH_WAY(put_truncate_get_misses);
	EACH_WAY(removal_of_what_the_disk_does_not_have_invalidates);
	EACH_WAY(mounts_beyond_the_pools_are_not_cached);
	EACH_WAY(any_sequence_of_calls_finds_what_the_disk_has_or_nothing);
	suite_add_tcase(suite, tcase);
	tcase = tcase_create("keys");
	tcase_add_test(tcase, c7_key_of_an_inode_is_its_number_and_zeros);
	tcase_add_test(tcase, c7_key_of_a_handle_is_its_six_words);
	tcase_add_test(tcase, c7_handles_of_no_type_or_too_long_are_not_cached);
	suite_add_tcase(suite, tcase);
	tcase = tcase_create("back ends");
	tcase_add_test(tcase, c8_late_back_end_finds_every_mount_once);
	EACH_WAY(c8_driver_loaded_after_the_mount_serves_it);
	tcase_add_test(tcase, init_that_fails_leaves_no_pool);
	tcase_add_test(tcase, blocks_that_are_not_pages_are_not_cached);
	EACH_WAY(c9_counters);
	tcase_add_test(tcase, nonsense_is_refused);
	suite_add_tcase(suite, tcase);
	tcase = tcase_create("threads");
	EACH_WAY(back_end_may_come_while_file_systems_do);
	suite_add_tcase(suite, tcase);
	return tm_test_run(suite);
}
