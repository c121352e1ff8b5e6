/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the files of src/block share: the disk, and the two kinds behind it.
 *
 * disk.c checks a request, holds it back while the disk is paused, and cuts it
 * into *pieces* of at most TM_PIECE_BLOCKS blocks; a kind carries out a piece.
 * So a kind sees whole pages only, its batches fit its stack, and a request of
 * 4 GiB holds no more locked than a small one.
 *
 * A piece's pages point into the caller's buffer, but for its first and last
 * block where the request covers them in part: those are *parts*, with a page
 * of their own in the piece.
 *
 * Locks: a kind locks the blocks of a piece (disk_ranges.h), one range at a
 * time. Nothing else is held while it calls tmem or reads and writes files.
 */
#ifndef TM_DISK_PRIVATE_H
#define TM_DISK_PRIVATE_H

#include "disk.h"
#include "disk_ranges.h"

#define TM_PIECE_BLOCKS 32

/* A block that the request covers in part. */
struct tm_part {
	uint32_t block; /* of the piece */
	uint32_t from_bytes, bytes;
	/* All of it that the disk has: the last block may be short. */
	bool is_all;
	uint8_t *buffer; /* the caller's bytes */
	uint8_t *page;
};

struct tm_piece {
	uint64_t offset;
	uint32_t bytes;
	uint32_t count; /* of blocks */
	uint64_t first;
	uint8_t *buffer;
	void *pages[TM_PIECE_BLOCKS];
	uint32_t part_count;
	struct tm_part parts[2];
	_Alignas(64) uint8_t part_pages[2][TM_BLOCK_SIZE];
};

/*
 * Functions answer 0 or what the functions of disk.h do; [first, end) are
 * whole blocks. NULL where a kind has nothing to do. A discard that answers
 * -EOPNOTSUPP has changed nothing.
 */
struct tm_disk_ops {
	int (*read)(struct tm_disk *disk, struct tm_piece *piece);
	int (*write)(struct tm_disk *disk, struct tm_piece *piece);
	int (*discard)(struct tm_disk *disk, uint64_t first, uint64_t end);
	int (*flush)(struct tm_disk *disk);
	int (*prefetch)(struct tm_disk *disk, uint64_t first, uint64_t end);
	int (*extent)(struct tm_disk *disk, uint64_t offset, uint64_t *end);
	int64_t (*demote)(struct tm_disk *disk, uint64_t blocks);
	void (*get_info)(struct tm_disk *disk, struct tm_disk_info *info);
	void (*close)(struct tm_disk *disk);
};

/* The first member of each kind's own structure. */
struct tm_disk {
	/* Set at creation, then constant. */
	const struct tm_disk_ops *ops;
	struct tmem_client *client;
	enum tm_disk_kind kind;
	bool is_readonly;
	bool is_embedded; /* the client's store is in this process */
	uint32_t pause_ms;
	uint64_t size_bytes;
	uint64_t blocks;
	void (*log)(void *opaque, enum tmem_log_level level, const char *text);
	void *log_opaque;

	struct tm_ranges ranges;

	/* The gate: see disk.c. Futexes, both. */
	_Atomic uint32_t inside;
	_Atomic uint32_t is_paused;

	/* Statistics: each exact, together only roughly. */
	_Atomic uint64_t reads;
	_Atomic uint64_t writes;
	_Atomic uint64_t hits;
	_Atomic uint64_t image_reads;
	_Atomic uint64_t fills_dropped;
	_Atomic uint64_t blocks_refused;
	_Atomic uint64_t blocks_demoted;
	_Atomic uint64_t blocks_discarded;
	_Atomic uint64_t errors;
};

static inline void tm_disk_count(_Atomic uint64_t *counter, uint64_t more)
{
	atomic_fetch_add_explicit(counter, more, memory_order_relaxed);
}

void tm_disk_log(const struct tm_disk *disk, enum tmem_log_level level,
		 const char *format, ...) __attribute__((format(printf, 3, 4)));

/* What a request answers where tmem or a file answered @err. */
int tm_disk_error(int err);

/* Bytes of the disk that block @block has. */
uint32_t tm_disk_block_bytes(const struct tm_disk *disk, uint64_t block);

/* Each makes a disk of its kind, all but what stands in the configuration. */
int tm_swap_open(const struct tm_disk_config *config, struct tm_disk **disk);
int tm_cache_open(const struct tm_disk_config *config, struct tm_disk **disk);

/* To be called first by both. */
void tm_disk_init(struct tm_disk *disk, const struct tm_disk_config *config,
		  const struct tm_disk_ops *ops, uint64_t size_bytes);

#endif
