/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the tests of disks share: a small store with a client, a disk over it,
 * and files that go when the test does.
 *
 * A disk's content is checked against numbers: block b of generation g has the
 * page of number (b, g), and generation 0 is zeros.
 */
#ifndef TM_DISK_RIG_H
#define TM_DISK_RIG_H

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "disk.h"
#include "test_store.h"

#define RIG_PATH 128

struct disk_rig {
	struct tm_test_store t;
	struct tm_disk_config config;
	struct tm_disk *disk;
	unsigned disk_errors;
	char disk_error[512];
};

static inline void rig_log(void *opaque, enum tmem_log_level level,
			   const char *text)
{
	struct disk_rig *rig = opaque;

	if (level != TMEM_LOG_ERROR)
		return;
	rig->disk_errors++;
	snprintf(rig->disk_error, sizeof(rig->disk_error), "%s", text);
	if (getenv("TMEM_TEST_LOG"))
		fprintf(stderr, "disk: %s\n", text);
}

static inline int rig_open_disk(struct disk_rig *rig)
{
	rig->config.client = rig->t.client;
	return tm_disk_open(&rig->config, &rig->disk);
}

static inline void rig_must_open(struct disk_rig *rig)
{
	int err = rig_open_disk(rig);

	ck_assert_msg(!err, "open: %d: %s", err, rig->disk_error);
}

/* A store, and how a swap disk of so many blocks would be opened. */
static inline void rig_init(struct disk_rig *rig, uint64_t memory_bytes,
			    uint64_t blocks)
{
	memset(rig, 0, sizeof(*rig));
	tm_test_init(&rig->t, memory_bytes);
	rig->t.config.codec = TM_TEST_SMALL_CODEC;
	rig->config.kind = TM_DISK_SWAP;
	rig->config.size_bytes = blocks * TM_BLOCK_SIZE;
	rig->config.log = rig_log;
	rig->config.log_opaque = rig;
}

static inline void rig_begin(struct disk_rig *rig, uint64_t memory_bytes,
			     uint64_t blocks)
{
	rig_init(rig, memory_bytes, blocks);
	tm_test_open(&rig->t);
	rig_must_open(rig);
}

static inline void rig_end(struct disk_rig *rig)
{
	tm_disk_close(rig->disk);
	tm_test_end(&rig->t);
}

static inline void rig_reopen(struct disk_rig *rig)
{
	tm_disk_close(rig->disk);
	rig->disk = NULL;
	rig_must_open(rig);
}

/* On tmpfs, and on the file system of the build where that must differ. */
static inline void rig_path(char path[RIG_PATH], const char *name)
{
	snprintf(path, RIG_PATH, "/dev/shm/tmem-test-%d-%s", (int)getpid(),
		 name);
	unlink(path);
}

static inline void rig_page(void *page, uint64_t block, uint32_t generation)
{
	static const enum tm_page_kind kinds[] = { TM_PAGE_NOISE, TM_PAGE_TEXT,
						   TM_PAGE_HEAP,
						   TM_PAGE_NOISE };

	if (generation)
		tm_page_fill(page, kinds[(block + generation) % 4],
			     block << 32 | generation);
	else
		memset(page, 0, TM_BLOCK_SIZE);
}

static inline int rig_write(struct disk_rig *rig, uint64_t block,
			    uint32_t generation)
{
	uint8_t page[TM_BLOCK_SIZE];

	rig_page(page, block, generation);
	return tm_disk_write(rig->disk, page, block * TM_BLOCK_SIZE,
			     TM_BLOCK_SIZE);
}

/* What a read of the block answers; when it is 0, the data are right. */
static inline int rig_read(struct disk_rig *rig, uint64_t block,
			   uint32_t generation)
{
	uint8_t page[TM_BLOCK_SIZE], want[TM_BLOCK_SIZE];
	int err;

	memset(page, 0xa5, sizeof(page));
	err = tm_disk_read(rig->disk, page, block * TM_BLOCK_SIZE,
			   TM_BLOCK_SIZE);
	rig_page(want, block, generation);
	if (!err)
		ck_assert_msg(!memcmp(page, want, sizeof(page)),
			      "block %" PRIu64 " is not of generation %" PRIu32,
			      block, generation);
	return err;
}

static inline struct tm_disk_info rig_info(struct disk_rig *rig)
{
	struct tm_disk_info info;

	tm_disk_get_info(rig->disk, &info);
	return info;
}

/* Writes noise from block @first on until one is refused: its number. */
static inline uint64_t rig_fill(struct disk_rig *rig, uint64_t first)
{
	uint8_t page[TM_BLOCK_SIZE];
	uint64_t block = first;

	for (;; block++) {
		int err;

		tm_page_fill(page, TM_PAGE_NOISE, ~block);
		err = tm_disk_write(rig->disk, page, block * TM_BLOCK_SIZE,
				    TM_BLOCK_SIZE);
		if (err == -ENOSPC)
			return block;
		ck_assert_int_eq(err, 0);
	}
}

#endif
