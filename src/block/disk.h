/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A disk whose blocks are pages of a client of tmem.
 *
 * Two kinds. A *swap* disk keeps each 4 KiB block as a persistent page; where
 * a put is refused, a backing file takes the block, or the request fails. A
 * *cache* disk stands before an image file and keeps its clean blocks as
 * ephemeral pages.
 *
 * The doors (vhost-user-blk, nbdkit) decode requests and call these functions
 * from any number of threads at once; they see nothing else. All requests are
 * in bytes, of any alignment: what covers a block in part is read, changed and
 * written with that block locked. Two requests that overlap and are under way
 * together leave each block as one of them wrote it.
 *
 * Buffers are the caller's own: nobody changes them meanwhile. Whoever has
 * memory of a guest copies it first.
 *
 * Requests beyond the end answer -EINVAL and touch nothing. While a disk is
 * paused, requests wait, pause_ms at most, and then answer -ETIMEDOUT; while
 * its client is frozen or migrates, only writes to a swap disk need to. Nothing
 * is lost by such a wait: until a write is carried out, the old data are there.
 *
 * What is kept where, and why a disk survives the death of its process at any
 * instruction: doc/disk-format.md.
 */
#ifndef TM_DISK_H
#define TM_DISK_H

#include <stdbool.h>
#include <stdint.h>

#include <tmem/tmem.h>

#define TM_BLOCK_SIZE TMEM_PAGE_SIZE
#define TM_DISK_SWAP_MAX_BYTES (UINT64_C(1) << 44)

struct tm_disk;

enum tm_disk_kind {
	TM_DISK_SWAP,
	TM_DISK_CACHE,
};

/**
 * struct tm_disk_config - how a disk is opened
 * @kind: enum tm_disk_kind
 * @client: whose pages the blocks are; stays the caller's, who uses it for
 *	nothing else and detaches it after tm_disk_close(). Of an embedded store
 *	or a connected one. A swap disk's pool that is there is taken on.
 * @size_bytes: of a swap disk, a multiple of 512; its last block may be short.
 *	Of a cache disk: 0, the image says it.
 * @backing: swap: path of a file for what tmem refuses; NULL: none. Made when
 *	it is not there.
 * @image: cache: path of the image
 * @share: cache: name of the image's pool, so that other clients of the same
 *	store with the same image and name share it; NULL: a private pool
 * @client_name: what messages tell the operator to type; NULL: not known
 * @is_readonly: writes answer -EROFS
 * @pause_ms: how long a request waits while the disk is paused; 0: 10000
 * @log: as in struct tmem_store_config, or NULL
 */
struct tm_disk_config {
	enum tm_disk_kind kind;
	struct tmem_client *client;
	uint64_t size_bytes;
	const char *backing;
	const char *image;
	const char *share;
	const char *client_name;
	bool is_readonly;
	uint32_t pause_ms;
	void (*log)(void *opaque, enum tmem_log_level level, const char *text);
	void *log_opaque;
};

/**
 * tm_disk_open() - make a disk, or take on what is there of it
 *
 * Return: 0, or
 * -EINVAL: a size or combination that is none; the log says which.
 * -EMEDIUMTYPE: the backing file is of another disk, was cut short, or cannot
 *	have holes punched; nothing was changed.
 * -ENOSPC: the store refused even the disk's own label.
 * -ENOENT, -EACCES, ...: of the files; what the client's functions answer.
 */
int tm_disk_open(const struct tm_disk_config *config, struct tm_disk **disk);

/* Nobody is inside any more. Contents stay, in the client and in the files. */
void tm_disk_close(struct tm_disk *disk);

uint64_t tm_disk_size_bytes(const struct tm_disk *disk);

/**
 * tm_disk_read() - @bytes from @offset on
 *
 * What was never written, or was discarded, reads as zeros.
 *
 * Return: 0, -EINVAL, -ETIMEDOUT, -EIO (a file failed, or a block's stored form
 * was damaged); the buffer is then undefined.
 */
int tm_disk_read(struct tm_disk *disk, void *buffer, uint64_t offset,
		 uint32_t bytes);

/**
 * tm_disk_write() - store @bytes from @offset on
 *
 * Return: 0, -EINVAL, -EROFS, -ETIMEDOUT, -ENOSPC (tmem refused, and there is
 * no backing file or it is full), -EIO. After an error each block reads as it
 * was, as the request would have it, or answers -EIO until it is written or
 * discarded: never as something older.
 */
int tm_disk_write(struct tm_disk *disk, const void *buffer, uint64_t offset,
		  uint32_t bytes);

/* Blocks that lie within it whole read as zeros and take no memory; of a cache
 * disk, the image's blocks are punched out. Parts of blocks stay as they are.
 * Return: 0, -EINVAL, -EROFS, -ETIMEDOUT, -EIO, -EOPNOTSUPP (holes cannot be
 * punched in the image; all of it is as it was). */
int tm_disk_discard(struct tm_disk *disk, uint64_t offset, uint64_t bytes);

/* Where holes cannot be punched, more zeros than these are not written in one
 * call: whoever waits for its end would wait for seconds. */
#define TM_DISK_ZEROS_MAX_BYTES (UINT64_C(4) << 20)

/* All of it reads as zeros, parts of blocks as well. Return: as a write, or
 * -EOPNOTSUPP: it would have to be written, is more than that, and is as it
 * was. */
int tm_disk_write_zeroes(struct tm_disk *disk, uint64_t offset,
			 uint64_t bytes);

/* What was acknowledged is in the files as far as it belongs there. */
int tm_disk_flush(struct tm_disk *disk);

/* Pages ahead of need: cache disks read the image into tmem. */
int tm_disk_prefetch(struct tm_disk *disk, uint64_t offset, uint64_t bytes);

/**
 * tm_disk_extent() - is there data, and up to where
 * @offset: below the size
 * @end: set to the end of the run of blocks that are alike; not far away: the
 *	search is bounded
 *
 * Return: 1 (data), 0 (a hole, which reads as zeros), -EINVAL, -EIO.
 */
int tm_disk_extent(struct tm_disk *disk, uint64_t offset, uint64_t *end);

/* New requests wait, and those under way have ended on return; or go on. */
void tm_disk_set_paused(struct tm_disk *disk, bool is_paused);

/**
 * tm_disk_demote() - write the coldest pages to the backing file and free them
 * @bytes: how much, uncompressed
 *
 * Return: bytes demoted, -EOPNOTSUPP (no backing file), -EIO, -ENOSPC.
 */
int64_t tm_disk_demote(struct tm_disk *disk, uint64_t bytes);

/**
 * struct tm_disk_info - a disk, as its operator sees it
 * @blocks_in_tmem: swap: persistent pages; cache: ephemeral ones
 * @blocks_in_file: swap: blocks in the backing file
 * @hits: cache: blocks read from tmem
 * @image_reads: cache: blocks read from the image
 * @fills_dropped: cache: fills that raced a write and were not put
 * @blocks_refused: puts that tmem refused
 * @blocks_demoted: moved to the backing file by demotion
 * @blocks_discarded: by the guest
 * @errors: requests that answered an error other than -EINVAL and -EROFS
 * @was_filled: swap: nearly every block has been written at some time and none
 *	was ever discarded: the guest swaps without discard
 */
struct tm_disk_info {
	enum tm_disk_kind kind;
	bool is_readonly;
	bool is_paused;
	bool was_filled;
	uint64_t size_bytes;
	uint64_t blocks_in_tmem;
	uint64_t blocks_in_file;
	uint64_t reads;
	uint64_t writes;
	uint64_t hits;
	uint64_t image_reads;
	uint64_t fills_dropped;
	uint64_t blocks_refused;
	uint64_t blocks_demoted;
	uint64_t blocks_discarded;
	uint64_t errors;
};

void tm_disk_get_info(struct tm_disk *disk, struct tm_disk_info *info);

#endif
