/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An arena's file, damaged or forged, and opened.
 *
 * The input is a flags byte and patches over a small valid arena, which is the
 * same in every run: { where, number (2 bytes), at, length, bytes }: where is
 * superblock, client, pool, object, descriptor or frame; the bytes are XORed
 * over record or frame number, from byte at on. Flag 1 makes the superblock's
 * check right again, flag 2 the seals of every record that was patched: else
 * hardly an input would come past them. Flag 4 reopens the store with dedup.
 *
 * Whatever it is: the arena is refused, and the file is as it was; or it opens
 * and everything in it can be read, flushed, replaced and ended, and its sums
 * are right. When nothing was forged (no flag 1 or 2), a get that hits brings
 * what was put under that handle.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "store.h"

#define MEMORY (UINT64_C(512) << 10)
#define POOLS 3
#define OBJECTS 3
#define PAGES 6

#define MUST(x) ((x) ? (void)0 : fail(#x))

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Made once, at the first input. */
struct base {
	struct tmem_plugins *plugins;
	char path[64];
	uint8_t *bytes;
	uint8_t *work; /* the bytes, patched */
	size_t size;
	const struct tm_superblock *super;
};

static _Noreturn void fail(const char *what)
{
	fprintf(stderr, "fuzz_arena: not so: %s\n", what);
	abort();
}

/* The arena's secret is drawn here; the same one makes runs repeatable. */
ssize_t getrandom(void *buffer, size_t size, unsigned flags)
{
	(void)flags;
	memset(buffer, 0x5a, size);
	return (ssize_t)size;
}

/* --- the base ------------------------------------------------------------- */

static void fill(void *page, int pool, uint64_t oid, uint32_t index)
{
	uint8_t *bytes = page;

	for (unsigned i = 0; i < TMEM_PAGE_SIZE; i++)
		bytes[i] = (uint8_t)(index % 3 == 2
					     ? (unsigned)pool + index
					     : (i * (oid + 3) + index) >> 4);
	/* Some are the same as others. */
	if (index % 2)
		memcpy(bytes + 100, &pool, sizeof(pool));
}

static struct tmem_oid oid_of(uint64_t oid)
{
	return (struct tmem_oid){ { oid, 0, 0 } };
}

static struct tmem_store_config config_for(const struct base *base,
					   uint64_t flags)
{
	return (struct tmem_store_config){
		.struct_size = sizeof(struct tmem_store_config),
		.flags = TMEM_STORE_NO_THREADS | TMEM_STORE_NO_LOCK | flags,
		.memory_bytes = MEMORY,
		.memory_max_bytes = MEMORY,
		.codec = tmem_default_codec(),
		.allocator = tmem_default_allocator(),
		.arena = base->path,
	};
}

static struct tm_client *attach(struct tm_store *store, const char *name)
{
	struct tmem_client_config config = { .struct_size = sizeof(config),
					     .name = name };
	struct tm_client *client;

	return tm_client_attach(store, &config, &client) < 0 ? NULL : client;
}

static void put_all(struct tm_client *client)
{
	uint64_t page[TMEM_PAGE_SIZE / 8];

	for (int pool = 0; pool < POOLS; pool++) {
		tm_pool_create(client, TM_POOL_ANY, TMEM_POOL_PERSISTENT, NULL);
		for (uint64_t o = 0; o < OBJECTS; o++) {
			struct tmem_oid oid = oid_of(o);

			for (uint32_t i = 0; i < PAGES; i++) {
				fill(page, pool, o, i);
				tm_put(client, pool, &oid, i, page, 0);
			}
		}
	}
}

static void read_base(struct base *base)
{
	struct stat st;
	int fd = open(base->path, O_RDONLY | O_CLOEXEC);

	MUST(fd >= 0 && !fstat(fd, &st));
	base->size = (size_t)st.st_size;
	base->bytes = malloc(base->size);
	base->work = malloc(base->size);
	MUST(base->bytes && base->work);
	MUST(pread(fd, base->bytes, base->size, 0) == (ssize_t)base->size);
	close(fd);
	base->super = (const struct tm_superblock *)base->bytes;
}

static void make_base(struct base *base)
{
	struct tmem_store_config config;
	struct tm_store *store;

	snprintf(base->path, sizeof(base->path), "/dev/shm/tmem-fuzz-%ld",
		 (long)getpid());
	unlink(base->path);
	MUST(!tmem_plugins_open(NULL, NULL, NULL, &base->plugins));
	config = config_for(base,
			    TMEM_STORE_DEDUP | TMEM_STORE_DEDUP_PERSISTENT);
	MUST(!tm_store_open(&config, base->plugins, &store));
	put_all(attach(store, "alpha"));
	if (!tm_store_set_allocator(store, "zbud"))
		put_all(attach(store, "beta"));
	tm_store_close(store);
	read_base(base);
}

/* --- patching ------------------------------------------------------------- */

struct place {
	uint64_t offset;
	size_t size;
};

static struct place place_of(const struct base *base, unsigned where,
			     uint32_t number)
{
	const struct tm_superblock *super = base->super;
	const struct tm_region *region;
	uint32_t in_use;
	size_t size;

	switch (where % 6) {
	case 1:
		region = &super->clients;
		in_use = 5;
		size = sizeof(struct tm_client_record);
		break;
	case 2:
		region = &super->pools;
		in_use = 10;
		size = sizeof(struct tm_pool_record);
		break;
	case 3:
		region = &super->objects;
		in_use = 24;
		size = sizeof(struct tm_object_record);
		break;
	case 4:
		region = &super->descriptors;
		in_use = 160;
		size = sizeof(struct tm_descriptor);
		break;
	case 5:
		region = &super->frames;
		in_use = 40;
		size = TMEM_FRAME_SIZE;
		break;
	default:
		return (struct place){ 0, sizeof(struct tm_superblock) };
	}
	return (struct place){ region->offset_bytes + number % in_use * size,
			       size };
}

static void *at(const struct base *base, const struct tm_region *region,
		size_t size, uint32_t number)
{
	return base->work + region->offset_bytes + number * size;
}

static void seal_descriptor(const struct base *base, uint32_t number)
{
	struct tm_descriptor *d =
		at(base, &base->super->descriptors, sizeof(*d), number);
	bool is_content = tm_state_kind(d->state) == TM_KIND_CONTENT;

	if (d->state)
		d->state = tm_state_seal(d->state, is_content ? 0 : d->object,
					 is_content ? 0 : d->index);
	if (tm_state_kind(d->state) == TM_KIND_DATA || is_content)
		d->place = tm_place_make(tm_place_allocator(d->place),
					 tm_place_handle(d->place));
}

static void seal_record(_Atomic uint32_t *state, const void *bytes, size_t size,
			uint64_t seed)
{
	if (*state)
		*state = tm_record_word(
			*state & 3,
			(uint32_t)XXH3_64bits_withSeed(bytes, size, seed));
}

static void seal(const struct base *base, unsigned where, uint32_t number)
{
	const struct tm_superblock *super = base->super;
	struct tm_client_record *client =
		at(base, &super->clients, sizeof(*client), number % 5);
	struct tm_pool_record *pool =
		at(base, &super->pools, sizeof(*pool), number % 10);
	struct tm_object_record *object =
		at(base, &super->objects, sizeof(*object), number % 24);

	if (where % 6 == 1)
		seal_record(&client->state, client->name, sizeof(client->name),
			    super->hash_seed + number % 5);
	else if (where % 6 == 2)
		seal_record(&pool->state, &pool->flags, 28,
			    super->hash_seed + number % 10);
	else if (where % 6 == 3)
		seal_record(&object->state, object, 28,
			    super->hash_seed + number % 24);
	else if (where % 6 == 4)
		seal_descriptor(base, number % 160);
}

static void patch(const struct base *base, const uint8_t *data, size_t size)
{
	uint8_t flags = data[0];

	memcpy(base->work, base->bytes, base->size);
	for (data++, size--; size > 5;) {
		uint32_t number = data[1] | (uint32_t)data[2] << 8;
		struct place place = place_of(base, data[0], number);
		size_t from = data[3] * place.size / 256;
		size_t length = data[4] % 16 + 1u;

		if (length > size - 5)
			length = size - 5;
		for (size_t i = 0; i < length && from + i < place.size; i++)
			base->work[place.offset + from + i] ^= data[5 + i];
		if (flags & 2)
			seal(base, data[0], number);
		data += 5 + length;
		size -= 5 + length;
	}
	if (flags & 1) {
		struct tm_superblock *super = (void *)base->work;

		super->check = XXH3_64bits(
			super, offsetof(struct tm_superblock, check));
	}
}

static bool is_zero(const uint8_t *bytes, size_t size)
{
	return !bytes[0] && !memcmp(bytes, bytes + 1, size - 1);
}

static void write_work(const struct base *base)
{
	int fd = open(base->path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	MUST(fd >= 0 && !ftruncate(fd, (off_t)base->size));
	for (size_t i = 0; i < base->size; i += TMEM_FRAME_SIZE)
		if (!is_zero(base->work + i, TMEM_FRAME_SIZE))
			MUST(pwrite(fd, base->work + i, TMEM_FRAME_SIZE,
				    (off_t)i) == TMEM_FRAME_SIZE);
	close(fd);
}

static bool file_is_work(const struct base *base)
{
	int fd = open(base->path, O_RDONLY | O_CLOEXEC);
	void *map = mmap(NULL, base->size, PROT_READ, MAP_SHARED, fd, 0);
	bool same = map != MAP_FAILED && !memcmp(map, base->work, base->size);

	munmap(map, base->size);
	close(fd);
	return same;
}

/* --- what is done with it ------------------------------------------------- */

static void get_all(struct tm_client *client, bool forged)
{
	uint64_t page[TMEM_PAGE_SIZE / 8], expected[TMEM_PAGE_SIZE / 8];

	for (int pool = 0; pool < TMEM_POOLS_MAX; pool++) {
		for (uint64_t o = 0; o < OBJECTS; o++) {
			struct tmem_oid oid = oid_of(o);

			for (uint32_t i = 0; i < PAGES; i++) {
				int result =
					tm_get(client, pool, &oid, i, page, 0);

				if (result != TMEM_GET_HIT || forged)
					continue;
				fill(expected, pool, o, i);
				MUST(!memcmp(page, expected, sizeof(page)));
			}
		}
	}
}

static void change_all(struct tm_store *store, struct tm_client *client)
{
	struct tmem_oid oid = oid_of(0);

	for (uint32_t i = 0; i < PAGES; i++)
		tm_flush_page(client, 1, &oid, i);
	tm_flush_object(client, 2, &oid);
	put_all(client);
	tm_pool_destroy(client, 0);
	for (int i = 0; i < 64 && tm_store_step(store); i++)
		;
	MUST(!tm_store_check(store));
	put_all(client);
	tm_client_destroy(client);
}

static void use(struct tm_store *store, bool forged)
{
	static const char *const names[] = { "alpha", "beta", "gamma" };

	MUST(!tm_store_check(store));
	for (unsigned i = 0; i < 3; i++) {
		struct tm_client *client = attach(store, names[i]);

		if (!client)
			continue;
		get_all(client, forged);
		change_all(store, client);
	}
	MUST(!tm_store_check(store));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct base base;
	struct tmem_store_config config;
	struct tm_store *store;
	int err;

	if (!base.bytes)
		make_base(&base);
	if (!size)
		return 0;
	patch(&base, data, size);
	write_work(&base);
	config = config_for(&base, data[0] & 4
					   ? TMEM_STORE_DEDUP |
						     TMEM_STORE_DEDUP_PERSISTENT
					   : 0);
	err = tm_store_open(&config, base.plugins, &store);
	if (err) {
		if (err == -EBADMSG || err == -EPROTONOSUPPORT)
			MUST(file_is_work(&base));
	} else {
		use(store, data[0] & 3);
		tm_store_close(store);
	}
	unlink(base.path);
	return 0;
}
