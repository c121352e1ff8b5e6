/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A bit of an arena's file flips, anywhere, and the arena is opened.
 *
 * It may be refused, with the file as it was; that is for the header only. Or
 * it opens, and then
 *
 *	a get never brings anything but what was put under that handle
 *	what is lost is at most the page whose descriptor or bytes were hit
 *	(of shared bytes: all that share them); the record of an object, a
 *	pool or a client, with which many pages would go, is mended
 *	no loss is silent: a line in the log, or -EBADMSG from the get
 *	the sums are right, and the store can be used
 *
 * The arena has what makes mistakes likely: the same oids in pools of
 * different clients, oids and indices one bit apart, shared pages, both
 * allocators, two codecs, freed records.
 *
 * With many bits at once there is no telling what may be lost, but the first
 * and the last of these hold all the same.
 *
 * TMEM_DAMAGE_ROUNDS (3000) single flips; TMEM_SEED chooses them.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "crash.h"
#include "harness.h"
#include "store.h"

#define MEMORY (UINT64_C(1) << 20)

/* Which records stand above a page, in the arena before it was damaged. */
struct chain {
	uint32_t descriptor;
	uint32_t content; /* 0: not shared */
	size_t begin, end; /* its bytes in the file; 0: none */
};

struct damage {
	struct tmem_plugins *plugins;
	struct tmem_store_config config;
	char path[64];
	struct world world;
	struct chain chain[PAGES_MAX];
	struct image image;
	struct tm_superblock super;
	uint64_t random;
	uint32_t complaints; /* lines of errors in the log */
	uint64_t opened, refused, lost, unheard;
};

static void count_errors(void *opaque, enum tmem_log_level level,
			 const char *text)
{
	struct damage *d = opaque;

	d->complaints += level == TMEM_LOG_ERROR;
	if (getenv("TMEM_DAMAGE_LOG"))
		printf("  log: %s\n", text);
}

/* --- the arena ------------------------------------------------------------ */

static void put(struct damage *d, struct tm_client *client, int c, int pool,
		uint64_t oid, uint32_t index, uint32_t content)
{
	uint64_t page[TMEM_PAGE_SIZE / 8];
	struct tmem_oid name = { { oid, 0, 0 } };

	crash_fill(page, content);
	ck_assert_int_eq(tm_put(client, pool, &name, index, page, 0),
			 TMEM_PUT_STORED);
	world_at(&d->world, c, pool, oid, index)->content = content;
}

static void fill_client(struct damage *d, struct tm_store *store, int c)
{
	uint32_t content = 1000 + 1000 * (uint32_t)c;
	struct tm_client *client;
	int result;

	client = crash_attach(store, c, &result);
	ck_assert_int_eq(result, 0);
	d->world.client[c] = true;
	for (int pool = 0; pool < 2; pool++) {
		ck_assert_int_eq(tm_pool_create(client, TM_POOL_ANY,
						TMEM_POOL_PERSISTENT, NULL),
				 pool);
		d->world.pool[c][pool] = true;
		for (uint64_t oid = 0; oid < 5; oid++)
			for (uint32_t i = 0; i < 5; i++)
				put(d, client, c, pool, oid, i, content++);
		/* Shared: three of the same. */
		for (uint32_t i = 0; i < 3; i++)
			put(d, client, c, pool, 9, i, 4 * (content / 4));
	}
	for (uint32_t i = 2; i < 4; i++) {
		struct tmem_oid oid = { { 2, 0, 0 } };

		ck_assert_int_eq(tm_flush_page(client, 0, &oid, i), 1);
		world_at(&d->world, c, 0, 2, i)->content = ABSENT;
	}
}

/* The file's place of a page's stored bytes. */
static void locate(struct damage *d, const struct tm_store *store,
		   struct chain *chain)
{
	const struct tm_descriptor *page = tm_descriptor(
		store, chain->content ? chain->content : chain->descriptor);
	const uint8_t *bytes;

	if (tm_state_kind(page->state) == TM_KIND_SAME)
		return;
	bytes = tm_page_bytes(store, page->state, page->place);
	chain->begin = (size_t)(bytes - store->arena.base);
	chain->end = chain->begin + tm_state_length(page->state);
	ck_assert_uint_lt(chain->end, d->super.file_size_bytes);
}

static void chain_page(struct damage *d, const struct tm_store *store,
		       uint32_t number)
{
	const struct tm_descriptor *page = tm_descriptor(store, number);
	const struct tm_object_record *object;
	const struct tm_pool_record *pool;
	struct chain chain = { .descriptor = number };
	struct tm_client_record *client;
	int c = 0;

	if (!page->state || tm_state_kind(page->state) == TM_KIND_CONTENT)
		return;
	if (tm_state_kind(page->state) == TM_KIND_LINK)
		chain.content = tm_state_content(page->state);
	object = tm_object_record(store, page->object);
	pool = tm_table_at(&store->pool_table, object->pool);
	client = tm_table_at(&store->client_table, pool->client);
	locate(d, store, &chain);
	while (strcmp(client->name, crash_client_name[c]))
		c++;
	for (uint32_t i = 0; i < d->world.count; i++) {
		const struct world_page *p = &d->world.page[i];

		if (p->client == c && p->pool == (int)pool->id &&
		    p->oid == object->oid[0] && p->index == page->index)
			d->chain[i] = chain;
	}
}

static void take_image(struct damage *d)
{
	struct stat st;
	uint8_t *map;
	int fd;

	fd = open(d->path, O_RDWR | O_CLOEXEC);
	ck_assert_int_eq(fstat(fd, &st), 0);
	map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
	image_take(&d->image, fd, map, (size_t)st.st_size);
	munmap(map, (size_t)st.st_size);
	close(fd);
}

static void make_arena(struct damage *d)
{
	struct tm_store *store;

	ck_assert_int_eq(tmem_plugins_open(NULL, NULL, NULL, &d->plugins), 0);
	ck_assert(crash_path(d->path, sizeof(d->path), "damage"));
	d->config = (struct tmem_store_config){
		.struct_size = sizeof(d->config),
		.flags = TMEM_STORE_NO_LOCK | TMEM_STORE_NO_THREADS |
			 TMEM_STORE_DEDUP | TMEM_STORE_DEDUP_PERSISTENT,
		.memory_bytes = MEMORY,
		.memory_max_bytes = MEMORY,
		.codec = tmem_default_codec(),
		.allocator = "zsmalloc",
		.arena = d->path,
		.log = count_errors,
		.log_opaque = d,
	};
	ck_assert_int_eq(tm_store_open(&d->config, d->plugins, &store), 0);
	fill_client(d, store, 0);
	ck_assert_int_eq(tm_store_set_allocator(store, "zbud"), 0);
	fill_client(d, store, 1);
	ck_assert_int_eq(tm_store_set_codec(store, "none"), 0);
	ck_assert_int_eq(tm_store_set_allocator(store, "zsmalloc"), 0);
	fill_client(d, store, 2);
	d->super = *store->arena.super;
	for (uint32_t i = 1; i < store->descriptor_table.bump; i++)
		chain_page(d, store, i);
	tm_store_close(store);
	take_image(d);
}

/* --- damaging it ---------------------------------------------------------- */

enum region { SUPERBLOCK, CLIENTS_, POOLS_, OBJECTS, DESCRIPTORS, FRAMES };

static const char *const region_name[] = {
	"superblock", "clients", "pools", "objects", "descriptors", "frames"
};

static const struct tm_region *region_of(const struct damage *d,
					 enum region region)
{
	const struct tm_region *regions[] = { NULL,
					      &d->super.clients,
					      &d->super.pools,
					      &d->super.objects,
					      &d->super.descriptors,
					      &d->super.frames };

	return regions[region];
}

static size_t record_size(enum region region)
{
	static const size_t sizes[] = { 1,
					sizeof(struct tm_client_record),
					sizeof(struct tm_pool_record),
					sizeof(struct tm_object_record),
					sizeof(struct tm_descriptor),
					1 };

	return sizes[region];
}

static enum region region_at(const struct damage *d, size_t offset,
			     uint32_t *number)
{
	enum region region = FRAMES;

	while (region > SUPERBLOCK &&
	       offset < region_of(d, region)->offset_bytes)
		region--;
	*number = 0;
	if (region != SUPERBLOCK)
		*number = (uint32_t)((offset -
				      region_of(d, region)->offset_bytes) /
				     record_size(region));
	return region;
}

/* May page @i be lost when the byte at @offset is hit? */
static bool may_lose(const struct damage *d, uint32_t i, size_t offset)
{
	const struct chain *chain = &d->chain[i];
	uint32_t number;

	switch (region_at(d, offset, &number)) {
	case DESCRIPTORS:
		return chain->descriptor == number || chain->content == number;
	case FRAMES:
		return offset >= chain->begin && offset < chain->end;
	default:
		return false;
	}
}

/* A bit that is in use, as often of records as of frames. */
static size_t draw_offset(struct damage *d)
{
	static const uint32_t in_use[] = { sizeof(struct tm_superblock),
					   4 * 128, 8 * 32, 24 * 32, 200 * 32 };
	uint32_t what = (uint32_t)(tm_test_random(&d->random) % 16);
	uint64_t r = tm_test_random(&d->random);
	enum region region = what < 1    ? SUPERBLOCK
			     : what < 2  ? CLIENTS_
			     : what < 4  ? POOLS_
			     : what < 7  ? OBJECTS
			     : what < 14 ? DESCRIPTORS
					 : FRAMES;
	uint32_t e;

	if (region == SUPERBLOCK)
		return (size_t)(r % in_use[region]);
	if (region != FRAMES)
		return region_of(d, region)->offset_bytes +
		       (size_t)(r % in_use[region]);
	do {
		e = (uint32_t)(tm_test_random(&d->random) % d->image.extents);
	} while (d->image.extent[e].end <= region_of(d, FRAMES)->offset_bytes);
	return d->image.extent[e].begin +
	       (size_t)(r %
			(d->image.extent[e].end - d->image.extent[e].begin));
}

static void flip(struct damage *d, size_t offset, unsigned bit)
{
	d->image.bytes[offset] ^= (uint8_t)(1u << bit);
}

/* --- looking at it -------------------------------------------------------- */

struct look {
	uint32_t lost;
	uint32_t heard; /* of these, with an -EBADMSG */
	uint32_t wrong;
	uint32_t innocent; /* lost without need */
};

static void look_at_page(struct damage *d, struct tm_client *client, uint32_t i,
			 size_t offset, struct look *look)
{
	const struct world_page *page = &d->world.page[i];
	struct tmem_oid oid = { { page->oid, 0, 0 } };
	uint64_t bytes[TMEM_PAGE_SIZE / 8], expected[TMEM_PAGE_SIZE / 8];
	int result =
		client ? tm_get(client, page->pool, &oid, page->index, bytes, 0)
		       : -ENOENT;

	if (result == TMEM_GET_HIT) {
		crash_fill(expected, page->content);
		if (page->content == ABSENT ||
		    memcmp(bytes, expected, sizeof(bytes)))
			look->wrong++;
		return;
	}
	if (page->content == ABSENT)
		return;
	look->lost++;
	look->heard += result == -EBADMSG;
	if (offset && !may_lose(d, i, offset))
		look->innocent++;
}

static void look_at_all(struct damage *d, struct tm_store *store, size_t offset,
			struct look *look)
{
	struct tm_client *client[CLIENTS];
	int result;

	for (int c = 0; c < CLIENTS; c++)
		client[c] = crash_attach(store, c, &result);
	for (uint32_t i = 0; i < d->world.count; i++)
		look_at_page(d, client[d->world.page[i].client], i, offset,
			     look);
}

static bool file_is_image(const struct damage *d)
{
	struct stat st;
	uint8_t *map;
	bool same;
	int fd = open(d->path, O_RDONLY | O_CLOEXEC);

	ck_assert_int_eq(fstat(fd, &st), 0);
	map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
	same = (size_t)st.st_size == d->image.size;
	for (uint32_t e = 0; same && e < d->image.extents; e++)
		same = !memcmp(map + d->image.extent[e].begin,
			       d->image.bytes + d->image.extent[e].begin,
			       d->image.extent[e].end -
				       d->image.extent[e].begin);
	munmap(map, (size_t)st.st_size);
	close(fd);
	return same;
}

/* What is wrong about how the damaged arena opens; NULL: nothing. @offset: of
 * the only byte that is damaged, or 0. */
static const char *try_to_open(struct damage *d, size_t offset, bool single)
{
	struct look look = { 0 };
	struct tm_store *store;
	const char *error = NULL;
	uint32_t number;
	int err;

	image_write(&d->image, d->path);
	d->complaints = 0;
	err = tm_store_open(&d->config, d->plugins, &store);
	if (err) {
		d->refused++;
		if (err != -EBADMSG && err != -EPROTONOSUPPORT)
			return "refused with the wrong error";
		if (!d->complaints)
			return "refused without a word";
		if (!file_is_image(d))
			return "refused, but changed";
		if (single && region_at(d, offset, &number) != SUPERBLOCK)
			return "refused for a record's sake";
		return NULL;
	}
	d->opened++;
	look_at_all(d, store, single ? offset : 0, &look);
	d->lost += look.lost;
	if (look.wrong)
		error = "wrong bytes";
	else if (look.innocent)
		error = "a page is lost that was not hit";
	else if (look.lost && !look.heard && !d->complaints)
		error = "a page is lost in silence";
	if (tm_store_check(store))
		error = "the sums are wrong";
	tm_store_close(store);
	return error;
}

static uint64_t rounds(const char *name, uint64_t usual)
{
	const char *text = getenv(name);

	return text ? strtoull(text, NULL, 0) : usual;
}

START_TEST(a_flipped_bit_costs_what_it_hits_and_nothing_else)
{
	static struct damage d;
	uint64_t count = rounds("TMEM_DAMAGE_ROUNDS", 3000), failed = 0;

	d.random = tm_test_seed();
	make_arena(&d);
	for (uint64_t n = 0; n < count; n++) {
		size_t offset = draw_offset(&d);
		unsigned bit = (unsigned)(tm_test_random(&d.random) % 8);
		const char *error;
		uint32_t number;
		enum region region = region_at(&d, offset, &number);

		flip(&d, offset, bit);
		error = try_to_open(&d, offset, true);
		flip(&d, offset, bit);
		if (!error)
			continue;
		failed++;
		printf("%s %" PRIu32 ", byte %zu bit %u: %s\n",
		       region_name[region], number,
		       region == SUPERBLOCK
			       ? offset
			       : (offset -
				  region_of(&d, region)->offset_bytes) %
					 (region == FRAMES
						  ? TMEM_FRAME_SIZE
						  : record_size(region)),
		       bit, error);
	}
	printf("%" PRIu64 " flips: %" PRIu64 " opened, %" PRIu64
	       " refused, %" PRIu64 " pages lost in all\n",
	       count, d.opened, d.refused, d.lost);
	ck_assert_uint_eq(failed, 0);
	tmem_plugins_close(d.plugins);
	unlink(d.path);
}
END_TEST

START_TEST(many_flipped_bits_never_bring_wrong_bytes)
{
	static struct damage d;
	uint64_t count = rounds("TMEM_DAMAGE_ROUNDS", 3000) / 4;

	d.random = tm_test_seed();
	make_arena(&d);
	for (uint64_t n = 0; n < count; n++) {
		uint64_t flips = 2 + tm_test_random(&d.random) % 60;
		size_t offset[64];
		unsigned bit[64];
		const char *error;

		for (uint64_t i = 0; i < flips; i++) {
			do
				offset[i] = draw_offset(&d);
			while (offset[i] < TMEM_PAGE_SIZE && n % 8);
			bit[i] = (unsigned)(tm_test_random(&d.random) % 8);
			flip(&d, offset[i], bit[i]);
		}
		error = try_to_open(&d, 0, false);
		while (flips-- > 0)
			flip(&d, offset[flips], bit[flips]);
		ck_assert_msg(!error, "round %" PRIu64 ": %s", n, error);
	}
	printf("%" PRIu64 " arenas: %" PRIu64 " opened, %" PRIu64
	       " refused, %" PRIu64 " pages lost in all\n",
	       count, d.opened, d.refused, d.lost);
	tmem_plugins_close(d.plugins);
	unlink(d.path);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("crash-damage");
	TCase *tcase = tcase_create("damage");
	char path[64];

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (!crash_path(path, sizeof(path), "damage")) {
		printf("skipped: no /dev/shm\n");
		return 77;
	}
	tcase_set_timeout(tcase, 120);
	tcase_add_test(tcase,
		       a_flipped_bit_costs_what_it_hits_and_nothing_else);
	tcase_add_test(tcase, many_flipped_bits_never_bring_wrong_bytes);
	suite_add_tcase(suite, tcase);
	return tm_test_run(suite);
}
