/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The checking layer of a disk: what holds for all requests of both kinds.
 *
 * Ranges are checked once, here, so that a kind never sees a block that is not
 * there. Requests are counted, cut into pieces, and held back while the disk is
 * paused.
 *
 * The gate. A request counts itself inside and then looks whether the disk is
 * paused; who pauses sets the flag and then waits until nobody is inside. Both
 * orders are sequentially consistent, so one of the two sees the other. A
 * request that finds the disk paused leaves and sleeps on the flag, pause_ms
 * at most. A request that is inside is not waited for longer than it takes:
 * what it waits for itself (a frozen client, a daemon that is away) is bounded.
 */
#include <config.h>

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "clock.h"
#include "disk_private.h"

#define PAUSE_MS 10000
#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_S UINT64_C(1000000000)

void tm_disk_log(const struct tm_disk *disk, enum tmem_log_level level,
		 const char *format, ...)
{
	char text[512];
	va_list args;

	if (!disk->log)
		return;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	disk->log(disk->log_opaque, level, text);
}

int tm_disk_error(int err)
{
	switch (err) {
	case 0:
	case -EINVAL:
	case -EROFS:
	case -ETIMEDOUT:
	case -ENOSPC:
		return err;
	case -EDQUOT:
	case -ENOMEM:
		return -ENOSPC;
	default:
		return -EIO;
	}
}

uint32_t tm_disk_block_bytes(const struct tm_disk *disk, uint64_t block)
{
	uint64_t rest = disk->size_bytes - block * TM_BLOCK_SIZE;

	return rest < TM_BLOCK_SIZE ? (uint32_t)rest : TM_BLOCK_SIZE;
}

void tm_disk_init(struct tm_disk *disk, const struct tm_disk_config *config,
		  const struct tm_disk_ops *ops, uint64_t size_bytes)
{
	disk->ops = ops;
	disk->client = config->client;
	disk->kind = config->kind;
	disk->is_readonly = config->is_readonly;
	disk->is_embedded = tmem_client_is_frozen(config->client) >= 0;
	disk->pause_ms = config->pause_ms ? config->pause_ms : PAUSE_MS;
	disk->size_bytes = size_bytes;
	disk->blocks =
		size_bytes / TM_BLOCK_SIZE + !!(size_bytes % TM_BLOCK_SIZE);
	disk->log = config->log;
	disk->log_opaque = config->log_opaque;
	tm_ranges_init(&disk->ranges);
}

int tm_disk_open(const struct tm_disk_config *config, struct tm_disk **disk)
{
	if (!config->client)
		return -EINVAL;
	switch (config->kind) {
	case TM_DISK_SWAP:
		return tm_swap_open(config, disk);
	case TM_DISK_CACHE:
		return tm_cache_open(config, disk);
	}
	return -EINVAL;
}

void tm_disk_close(struct tm_disk *disk)
{
	if (disk)
		disk->ops->close(disk);
}

uint64_t tm_disk_size_bytes(const struct tm_disk *disk)
{
	return disk->size_bytes;
}

/* --- the gate ------------------------------------------------------------- */

static void leave(struct tm_disk *disk)
{
	if (atomic_fetch_sub(&disk->inside, 1) == 1 &&
	    atomic_load(&disk->is_paused))
		syscall(SYS_futex, &disk->inside,
			FUTEX_WAKE | FUTEX_PRIVATE_FLAG, INT_MAX, NULL, NULL,
			0);
}

/* Until the disk is not paused, or @deadline_ns has come: false. */
static bool wait_at_gate(struct tm_disk *disk, uint64_t deadline_ns)
{
	while (atomic_load(&disk->is_paused)) {
		uint64_t now_ns = tm_clock_system_now_ns(NULL);
		struct timespec left;

		if (now_ns >= deadline_ns)
			return false;
		left.tv_sec = (time_t)((deadline_ns - now_ns) / NS_PER_S);
		left.tv_nsec = (long)((deadline_ns - now_ns) % NS_PER_S);
		syscall(SYS_futex, &disk->is_paused,
			FUTEX_WAIT | FUTEX_PRIVATE_FLAG, 1, &left, NULL, 0);
	}
	return true;
}

static int enter(struct tm_disk *disk)
{
	uint64_t deadline_ns = 0;

	for (;;) {
		atomic_fetch_add(&disk->inside, 1);
		if (!atomic_load(&disk->is_paused))
			return 0;
		leave(disk);
		if (!deadline_ns)
			deadline_ns = tm_clock_system_now_ns(NULL) +
				      disk->pause_ms * NS_PER_MS;
		if (!wait_at_gate(disk, deadline_ns))
			return -ETIMEDOUT;
	}
}

void tm_disk_set_paused(struct tm_disk *disk, bool is_paused)
{
	uint32_t inside;

	atomic_store(&disk->is_paused, is_paused);
	if (!is_paused) {
		syscall(SYS_futex, &disk->is_paused,
			FUTEX_WAKE | FUTEX_PRIVATE_FLAG, INT_MAX, NULL, NULL,
			0);
		return;
	}
	while ((inside = atomic_load(&disk->inside)))
		syscall(SYS_futex, &disk->inside,
			FUTEX_WAIT | FUTEX_PRIVATE_FLAG, inside, NULL, NULL, 0);
}

/* --- pieces --------------------------------------------------------------- */

static bool is_inside(const struct tm_disk *disk, uint64_t offset,
		      uint64_t bytes)
{
	return offset <= disk->size_bytes && bytes <= disk->size_bytes - offset;
}

static void add_part(const struct tm_disk *disk, struct tm_piece *piece,
		     uint32_t block, uint32_t from_bytes, uint32_t bytes,
		     uint8_t *buffer)
{
	uint32_t n = piece->part_count++;

	piece->parts[n] = (struct tm_part){
		.block = block,
		.from_bytes = from_bytes,
		.bytes = bytes,
		.is_all = !from_bytes &&
			  bytes == tm_disk_block_bytes(disk,
						       piece->first + block),
		.buffer = buffer,
		.page = piece->part_pages[n],
	};
	piece->pages[block] = piece->part_pages[n];
}

/* The piece at the beginning of @bytes from @offset on. */
static void cut(const struct tm_disk *disk, struct tm_piece *piece,
		uint8_t *buffer, uint64_t offset, uint64_t bytes)
{
	uint32_t head = offset % TM_BLOCK_SIZE;
	uint64_t room = TM_PIECE_BLOCKS * TM_BLOCK_SIZE - head;
	uint32_t done = 0;

	piece->offset = offset;
	piece->bytes = (uint32_t)(bytes < room ? bytes : room);
	piece->first = offset / TM_BLOCK_SIZE;
	piece->buffer = buffer;
	piece->part_count = 0;
	piece->count = 0;
	while (done < piece->bytes) {
		uint32_t from = piece->count ? 0 : head;
		uint32_t rest = piece->bytes - done;
		uint32_t here = TM_BLOCK_SIZE - from;

		if (here > rest)
			here = rest;
		if (here == TM_BLOCK_SIZE)
			piece->pages[piece->count] = buffer + done;
		else
			add_part(disk, piece, piece->count, from, here,
				 buffer + done);
		piece->count++;
		done += here;
	}
}

static int each_piece(struct tm_disk *disk,
		      int (*act)(struct tm_disk *disk, struct tm_piece *piece),
		      uint8_t *buffer, uint64_t offset, uint64_t bytes)
{
	struct tm_piece piece;
	int first_err = 0;

	/* A piece that fails does not keep the others from being tried: the
	 * fewer blocks are undefined afterwards, the better. */
	while (bytes) {
		int err;

		cut(disk, &piece, buffer, offset, bytes);
		err = act(disk, &piece);
		if (err && !first_err)
			first_err = err;
		if (err == -ETIMEDOUT)
			break;
		buffer += piece.bytes;
		offset += piece.bytes;
		bytes -= piece.bytes;
	}
	return first_err;
}

static int answer(struct tm_disk *disk, int err)
{
	err = tm_disk_error(err);
	if (err && err != -EINVAL && err != -EROFS)
		tm_disk_count(&disk->errors, 1);
	return err;
}

/* --- requests ------------------------------------------------------------- */

static int read_piece(struct tm_disk *disk, struct tm_piece *piece)
{
	int err = disk->ops->read(disk, piece);

	for (uint32_t i = 0; !err && i < piece->part_count; i++) {
		const struct tm_part *part = &piece->parts[i];

		memcpy(part->buffer, part->page + part->from_bytes,
		       part->bytes);
	}
	return err;
}

int tm_disk_read(struct tm_disk *disk, void *buffer, uint64_t offset,
		 uint32_t bytes)
{
	int err;

	if (!is_inside(disk, offset, bytes))
		return -EINVAL;
	err = enter(disk);
	if (!err) {
		err = each_piece(disk, read_piece, buffer, offset, bytes);
		leave(disk);
	}
	tm_disk_count(&disk->reads, 1);
	return answer(disk, err);
}

/* What every request that changes something must pass. */
static int check_change(const struct tm_disk *disk, uint64_t offset,
			uint64_t bytes)
{
	if (!is_inside(disk, offset, bytes))
		return -EINVAL;
	return disk->is_readonly ? -EROFS : 0;
}

int tm_disk_write(struct tm_disk *disk, const void *buffer, uint64_t offset,
		  uint32_t bytes)
{
	int err = check_change(disk, offset, bytes);

	if (err)
		return err;
	err = enter(disk);
	if (!err) {
		/* A kind does not write to a piece's buffer when it writes. */
		err = each_piece(disk, disk->ops->write, (uint8_t *)buffer,
				 offset, bytes);
		leave(disk);
	}
	tm_disk_count(&disk->writes, 1);
	return answer(disk, err);
}

/* The blocks that lie whole within the range; the last one may be short. */
static void whole_blocks(const struct tm_disk *disk, uint64_t offset,
			 uint64_t bytes, uint64_t *first, uint64_t *end)
{
	*first = offset / TM_BLOCK_SIZE + !!(offset % TM_BLOCK_SIZE);
	*end = offset + bytes == disk->size_bytes
		       ? disk->blocks
		       : (offset + bytes) / TM_BLOCK_SIZE;
	if (*end < *first)
		*end = *first;
}

int tm_disk_discard(struct tm_disk *disk, uint64_t offset, uint64_t bytes)
{
	int err = check_change(disk, offset, bytes);
	uint64_t first, end;

	if (err)
		return err;
	whole_blocks(disk, offset, bytes, &first, &end);
	err = enter(disk);
	if (!err) {
		if (first < end)
			err = disk->ops->discard(disk, first, end);
		leave(disk);
	}
	return err == -EOPNOTSUPP ? err : answer(disk, err);
}

/* A block at a time, or what is to be zeros of it. */
static int write_zeros(struct tm_disk *disk, uint64_t offset, uint64_t end)
{
	static const uint8_t zeros[TM_BLOCK_SIZE];
	int err = 0;

	while (offset < end && !err) {
		uint64_t bytes = TM_BLOCK_SIZE - offset % TM_BLOCK_SIZE;

		if (bytes > end - offset)
			bytes = end - offset;
		err = each_piece(disk, disk->ops->write, (uint8_t *)zeros,
				 offset, bytes);
		offset += bytes;
	}
	return tm_disk_error(err);
}

static int zero(struct tm_disk *disk, uint64_t offset, uint64_t bytes)
{
	uint64_t end = offset + bytes, first_block, end_block;
	int err;

	whole_blocks(disk, offset, bytes, &first_block, &end_block);
	if (first_block == end_block)
		return write_zeros(disk, offset, end);
	err = disk->ops->discard(disk, first_block, end_block);
	if (err == -EOPNOTSUPP && bytes <= TM_DISK_ZEROS_MAX_BYTES)
		return write_zeros(disk, offset, end);
	if (!err)
		err = write_zeros(disk, offset, first_block * TM_BLOCK_SIZE);
	if (!err)
		err = write_zeros(disk, end_block * TM_BLOCK_SIZE, end);
	return err;
}

int tm_disk_write_zeroes(struct tm_disk *disk, uint64_t offset, uint64_t bytes)
{
	int err = check_change(disk, offset, bytes);

	if (err)
		return err;
	err = enter(disk);
	if (!err) {
		err = zero(disk, offset, bytes);
		leave(disk);
	}
	tm_disk_count(&disk->writes, 1);
	return err == -EOPNOTSUPP ? err : answer(disk, err);
}

int tm_disk_flush(struct tm_disk *disk)
{
	int err;

	if (!disk->ops->flush)
		return 0;
	err = enter(disk);
	if (!err) {
		err = disk->ops->flush(disk);
		leave(disk);
	}
	return answer(disk, err);
}

int tm_disk_prefetch(struct tm_disk *disk, uint64_t offset, uint64_t bytes)
{
	uint64_t end;
	int err;

	if (!is_inside(disk, offset, bytes))
		return -EINVAL;
	if (!disk->ops->prefetch || !bytes)
		return 0;
	end = (offset + bytes - 1) / TM_BLOCK_SIZE + 1;
	err = enter(disk);
	if (!err) {
		err = disk->ops->prefetch(disk, offset / TM_BLOCK_SIZE, end);
		leave(disk);
	}
	return answer(disk, err);
}

int tm_disk_extent(struct tm_disk *disk, uint64_t offset, uint64_t *end)
{
	int result;

	if (offset >= disk->size_bytes)
		return -EINVAL;
	result = enter(disk);
	if (!result) {
		result = disk->ops->extent(disk, offset, end);
		leave(disk);
	}
	return result < 0 ? answer(disk, result) : result;
}

int64_t tm_disk_demote(struct tm_disk *disk, uint64_t bytes)
{
	int64_t blocks;
	int err;

	if (!disk->ops->demote)
		return -EOPNOTSUPP;
	err = enter(disk);
	if (err)
		return answer(disk, err);
	blocks = disk->ops->demote(disk, bytes / TM_BLOCK_SIZE +
						 !!(bytes % TM_BLOCK_SIZE));
	leave(disk);
	if (blocks < 0)
		return blocks == -EOPNOTSUPP ? blocks
					     : tm_disk_error((int)blocks);
	return blocks * TM_BLOCK_SIZE;
}

static uint64_t counted(const _Atomic uint64_t *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

void tm_disk_get_info(struct tm_disk *disk, struct tm_disk_info *info)
{
	*info = (struct tm_disk_info){
		.kind = disk->kind,
		.is_readonly = disk->is_readonly,
		.is_paused = atomic_load(&disk->is_paused),
		.size_bytes = disk->size_bytes,
		.reads = counted(&disk->reads),
		.writes = counted(&disk->writes),
		.hits = counted(&disk->hits),
		.image_reads = counted(&disk->image_reads),
		.fills_dropped = counted(&disk->fills_dropped),
		.blocks_refused = counted(&disk->blocks_refused),
		.blocks_demoted = counted(&disk->blocks_demoted),
		.blocks_discarded = counted(&disk->blocks_discarded),
		.errors = counted(&disk->errors),
	};
	disk->ops->get_info(disk, info);
}
