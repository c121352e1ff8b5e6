/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A swap disk's label: see disk_label.h and doc/disk-format.md.
 *
 * Called while a disk is opened, by one thread.
 */
#include <config.h>

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/random.h>

#include <xxhash.h>

#include "disk_label.h"

#define LABEL_VERSION 1
#define LABEL_KIND_SWAP 1

static const uint8_t label_magic[8] = {
	'T', 'M', 'E', 'M', 'D', 'I', 'S', 'K'
};

/* All little-endian. */
struct label_page {
	uint8_t magic[8];
	uint32_t version;
	uint32_t kind;
	uint64_t sequence;
	uint64_t uuid[2];
	uint64_t size_bytes;
	uint64_t lost_word;
	uint32_t block_size;
	uint32_t flags;
	uint64_t zeros[503];
	uint64_t check; /* XXH3 of what is before it */
};
_Static_assert(sizeof(struct label_page) == TMEM_PAGE_SIZE, "format");

/* Blocks have a last word of 0. */
static const struct tmem_oid label_oid = { { 0, 0, 1 } };

static uint64_t check_of(const struct label_page *page)
{
	return htole64(XXH3_64bits(page, offsetof(struct label_page, check)));
}

static int refuse_for_memory(const struct tm_disk *disk)
{
	tm_disk_log(disk, TMEM_LOG_ERROR,
		    "disk: the store has no memory even for the disk's label");
	return -ENOSPC;
}

static int write_label(const struct tm_disk *disk, int pool,
		       const struct tm_disk_label *label)
{
	struct label_page page = {
		.version = htole32(LABEL_VERSION),
		.kind = htole32(LABEL_KIND_SWAP),
		.sequence = htole64(label->sequence),
		.uuid = { htole64(label->uuid[0]), htole64(label->uuid[1]) },
		.size_bytes = htole64(label->size_bytes),
		.lost_word = htole64(label->lost_word),
		.block_size = htole32(TM_BLOCK_SIZE),
		.flags = htole32(label->flags),
	};
	int result;

	memcpy(page.magic, label_magic, sizeof(label_magic));
	page.check = check_of(&page);
	result = tmem_put(disk->client, pool, &label_oid, label->sequence % 2,
			  &page, 0);
	if (result == TMEM_PUT_REFUSED)
		return refuse_for_memory(disk);
	return result < 0 ? result : 0;
}

int tm_label_update(const struct tm_disk *disk, int pool,
		    struct tm_disk_label *label)
{
	int err;

	label->sequence++;
	err = write_label(disk, pool, label);
	if (err) {
		label->sequence--;
		return err;
	}
	/* The old one has the lower number: that it goes only saves memory. */
	tmem_flush_page(disk->client, pool, &label_oid,
			(label->sequence + 1) % 2);
	return 0;
}

/* 1: a label; 0: none. */
static int read_place(const struct tm_disk *disk, int pool, uint32_t place,
		      struct tm_disk_label *label)
{
	struct label_page page;
	int result = tmem_get(disk->client, pool, &label_oid, place, &page, 0);

	if (result == TMEM_GET_MISS || result == -EBADMSG)
		return 0;
	if (result < 0)
		return result;
	if (memcmp(page.magic, label_magic, sizeof(label_magic)) ||
	    page.check != check_of(&page))
		return 0;
	if (le32toh(page.version) != LABEL_VERSION ||
	    le32toh(page.kind) != LABEL_KIND_SWAP ||
	    le32toh(page.block_size) != TM_BLOCK_SIZE) {
		tm_disk_log(disk, TMEM_LOG_ERROR,
			    "disk: its label is of version %" PRIu32
			    ", which this program does not know",
			    le32toh(page.version));
		return -EMEDIUMTYPE;
	}
	*label = (struct tm_disk_label){
		.sequence = le64toh(page.sequence),
		.uuid = { le64toh(page.uuid[0]), le64toh(page.uuid[1]) },
		.size_bytes = le64toh(page.size_bytes),
		.lost_word = le64toh(page.lost_word),
		.flags = le32toh(page.flags),
	};
	return 1;
}

static int read_label(const struct tm_disk *disk, int pool,
		      struct tm_disk_label *label)
{
	struct tm_disk_label places[2];
	bool is_there[2];

	for (uint32_t i = 0; i < 2; i++) {
		int result = read_place(disk, pool, i, &places[i]);

		if (result < 0)
			return result;
		is_there[i] = result;
	}
	if (!is_there[0] && !is_there[1])
		return 0;
	*label = places[is_there[1] &&
			(!is_there[0] ||
			 places[1].sequence > places[0].sequence)];
	return 1;
}

static int fill_random(void *bytes, size_t size)
{
	/* So few come at once, or not at all. */
	return getrandom(bytes, size, 0) == (ssize_t)size ? 0 : -EIO;
}

static int make_label(const struct tm_disk *disk, int pool,
		      struct tm_disk_label *label)
{
	int err;

	*label = (struct tm_disk_label){
		.sequence = 1,
		.size_bytes = disk->size_bytes,
	};
	err = fill_random(label->uuid, sizeof(label->uuid));
	/* Pages of zeros and of ones are what a guest writes most. */
	while (!err && (!label->lost_word || label->lost_word == UINT64_MAX))
		err = fill_random(&label->lost_word, sizeof(label->lost_word));
	return err ? err : write_label(disk, pool, label);
}

/* The client's one persistent pool, or -ENOENT. */
static int find_pool(const struct tm_disk *disk, uint64_t *pages)
{
	for (int id = 0; id < TMEM_POOLS_MAX; id++) {
		struct tmem_pool_info info = { .struct_size = sizeof(info) };
		int err = tmem_pool_get_info(disk->client, id, &info);

		if (err == -ENOENT)
			continue;
		if (err)
			return err;
		*pages = info.pages;
		if (info.flags & TMEM_POOL_PERSISTENT)
			return id;
	}
	return -ENOENT;
}

static int check_label(const struct tm_disk *disk,
		       const struct tm_disk_label *label)
{
	if (label->size_bytes == disk->size_bytes)
		return 0;
	tm_disk_log(disk, TMEM_LOG_ERROR,
		    "disk: it was made with a size of %" PRIu64
		    " bytes, not %" PRIu64
		    "; give that size, or destroy its client to begin anew",
		    label->size_bytes, disk->size_bytes);
	return -EINVAL;
}

int tm_label_find(const struct tm_disk *disk, struct tm_disk_label *label,
		  bool *is_new)
{
	uint64_t pages = 0;
	int pool = find_pool(disk, &pages);
	int result;

	*is_new = pool == -ENOENT;
	if (*is_new)
		pool = tmem_pool_create(disk->client, TMEM_POOL_PERSISTENT,
					NULL);
	if (pool == -ENOMEM)
		return refuse_for_memory(disk);
	if (pool < 0)
		return pool;
	result = *is_new ? 0 : read_label(disk, pool, label);
	if (result < 0)
		return result;
	if (result) {
		result = check_label(disk, label);
		return result ? result : pool;
	}
	if (pages) {
		tm_disk_log(disk, TMEM_LOG_ERROR,
			    "disk: the client's pool %d holds %" PRIu64
			    " pages and no disk's label",
			    pool, pages);
		return -EMEDIUMTYPE;
	}
	/* Whoever made the pool died before there was a label. */
	*is_new = true;
	result = make_label(disk, pool, label);
	return result ? result : pool;
}
