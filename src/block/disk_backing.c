/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A swap disk's backing file: see disk_backing.h and doc/disk-format.md.
 *
 * It begins with a header that carries the uuid of the disk's label. A file is
 * made in an order that lets the next opener finish it: tried out, sized, and
 * the header last; until then it is all zeros. What is in neither of these
 * states is somebody else's, and is not touched.
 *
 * It is locked (an open file description lock) while it is open, so that no
 * two processes take it for theirs.
 */
#include <config.h>

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <xxhash.h>

#include "disk_backing.h"

#define HEADER_BYTES 4096
#define FORMAT_VERSION 1

static const uint8_t backing_magic[8] = {
	'T', 'M', 'E', 'M', 'B', 'A', 'C', 'K'
};

/* All little-endian. */
struct backing_header {
	uint8_t magic[8];
	uint32_t version;
	uint32_t block_size;
	uint64_t uuid[2];
	uint64_t size_bytes; /* of the disk */
	uint64_t zeros[506];
	uint64_t check; /* XXH3 of what is before it */
};
_Static_assert(sizeof(struct backing_header) == HEADER_BYTES, "format");

static uint64_t check_of(const struct backing_header *header)
{
	return htole64(
		XXH3_64bits(header, offsetof(struct backing_header, check)));
}

static off_t place_of(uint64_t block)
{
	return (off_t)(HEADER_BYTES + block * TM_BLOCK_SIZE);
}

static int write_all(int fd, const void *bytes, size_t size, off_t offset)
{
	const uint8_t *from = bytes;

	while (size) {
		ssize_t done = pwrite(fd, from, size, offset);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return done ? -errno : -ENOSPC;
		from += done;
		offset += done;
		size -= (size_t)done;
	}
	return 0;
}

/* A file that ends early is a damaged one: -EIO. */
static int read_all(int fd, void *bytes, size_t size, off_t offset)
{
	uint8_t *to = bytes;

	while (size) {
		ssize_t done = pread(fd, to, size, offset);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return done ? -errno : -EIO;
		to += done;
		offset += done;
		size -= (size_t)done;
	}
	return 0;
}

static int punch(int fd, off_t offset, off_t bytes)
{
	while (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset,
			 bytes))
		if (errno != EINTR)
			return -errno;
	return 0;
}

/* --- opening -------------------------------------------------------------- */

static int refuse(const struct tm_backing *backing, const char *path,
		  const char *why, int err)
{
	tm_disk_log(backing->disk, TMEM_LOG_ERROR, "backing file %s: %s", path,
		    why);
	return err;
}

static bool is_zero(const void *bytes, size_t size)
{
	const uint8_t *b = bytes;

	return !b[0] && !memcmp(b, b + 1, size - 1);
}

/* Does a hole become data, and a hole again? With the place of the header,
 * which is zeros before and after. */
static bool can_punch(int fd)
{
	static const uint8_t zeros[HEADER_BYTES];

	return !write_all(fd, zeros, sizeof(zeros), 0) &&
	       lseek(fd, 0, SEEK_DATA) == 0 && !punch(fd, 0, HEADER_BYTES) &&
	       lseek(fd, 0, SEEK_DATA) < 0 && errno == ENXIO;
}

static int make_file(struct tm_backing *backing,
		     const struct tm_disk_label *label, const char *path)
{
	struct backing_header header = {
		.version = htole32(FORMAT_VERSION),
		.block_size = htole32(TM_BLOCK_SIZE),
		.uuid = { htole64(label->uuid[0]), htole64(label->uuid[1]) },
		.size_bytes = htole64(label->size_bytes),
	};
	int err;

	if (ftruncate(backing->fd, place_of(backing->blocks)))
		return refuse(backing, path, strerror(errno), -errno);
	if (!can_punch(backing->fd))
		return refuse(backing, path,
			      "its file system cannot punch holes, or does "
			      "not tell them from data",
			      -EMEDIUMTYPE);
	memcpy(header.magic, backing_magic, sizeof(backing_magic));
	header.check = check_of(&header);
	err = write_all(backing->fd, &header, sizeof(header), 0);
	if (!err && fsync(backing->fd))
		err = -errno;
	return err ? refuse(backing, path, strerror(-err), err) : 0;
}

/* What is beyond the end of a file would read as zeros, as what was never
 * written does. */
static int check_size(const struct tm_backing *backing, const char *path)
{
	struct stat stat;

	if (fstat(backing->fd, &stat))
		return refuse(backing, path, strerror(errno), -errno);
	if (stat.st_size < place_of(backing->blocks))
		return refuse(backing, path,
			      "it was cut short, and what was there is gone; "
			      "destroy the disk's client to begin anew",
			      -EMEDIUMTYPE);
	return 0;
}

static int check_header(const struct tm_backing *backing,
			const struct tm_disk_label *label, const char *path,
			const struct backing_header *header)
{
	if (memcmp(header->magic, backing_magic, sizeof(backing_magic)) ||
	    header->check != check_of(header))
		return refuse(backing, path, "not a tmem disk's backing file",
			      -EMEDIUMTYPE);
	if (le32toh(header->version) != FORMAT_VERSION ||
	    le32toh(header->block_size) != TM_BLOCK_SIZE)
		return refuse(backing, path, "of an unknown format version",
			      -EMEDIUMTYPE);
	if (le64toh(header->uuid[0]) != label->uuid[0] ||
	    le64toh(header->uuid[1]) != label->uuid[1] ||
	    le64toh(header->size_bytes) != label->size_bytes)
		return refuse(backing, path,
			      "of another disk, or of this one before it was "
			      "made anew; remove it if its data may go",
			      -EMEDIUMTYPE);
	return 0;
}

/* One bit for each block that has data. */
static int read_map(struct tm_backing *backing, const char *path)
{
	const off_t end = place_of(backing->blocks);
	off_t at = HEADER_BYTES;

	while (at < end) {
		off_t data = lseek(backing->fd, at, SEEK_DATA);
		uint64_t first, last;

		if (data < 0 && errno == ENXIO)
			break;
		if (data >= end)
			break;
		if (data >= 0)
			at = lseek(backing->fd, data, SEEK_HOLE);
		if (data < 0 || at < 0)
			return refuse(backing, path, strerror(errno), -errno);
		/* Extents of a finer file system may begin within a block. */
		first = (uint64_t)(data - HEADER_BYTES) / TM_BLOCK_SIZE;
		last = (uint64_t)(at - HEADER_BYTES - 1) / TM_BLOCK_SIZE;
		if (last >= backing->blocks)
			last = backing->blocks - 1;
		backing->count +=
			tm_bits_set_range(backing->in_file, first, last + 1);
	}
	return 0;
}

/* Made, finished, or found. */
static int prepare_file(struct tm_backing *backing,
			const struct tm_disk_label *label, const char *path,
			bool may_make)
{
	struct backing_header header = { 0 };
	ssize_t size = pread(backing->fd, &header, sizeof(header), 0);
	int err;

	if (size < 0)
		return refuse(backing, path, strerror(errno), -errno);
	if (is_zero(&header, sizeof(header)) &&
	    lseek(backing->fd, HEADER_BYTES, SEEK_DATA) < 0 && errno == ENXIO) {
		if (may_make)
			return make_file(backing, label, path);
		return refuse(backing, path,
			      "it is empty, but there were "
			      "blocks in it",
			      -EMEDIUMTYPE);
	}
	err = check_header(backing, label, path, &header);
	if (!err)
		err = check_size(backing, path);
	if (!err &&
	    punch(backing->fd, place_of(backing->blocks), TM_BLOCK_SIZE))
		err = refuse(backing, path, "holes cannot be punched in it",
			     -EMEDIUMTYPE);
	return err ? err : read_map(backing, path);
}

static int open_file(const struct tm_backing *backing, const char *path,
		     bool may_make)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	struct stat stat;
	/* Not to hang on a fifo. */
	int fd =
		open(path,
		     O_RDWR | O_CLOEXEC | O_NONBLOCK | (may_make ? O_CREAT : 0),
		     0600);

	if (fd < 0)
		return refuse(
			backing, path,
			errno == ENOENT && !may_make
				? "it is gone, and what was in it; destroy "
				  "the disk's client to begin anew"
				: strerror(errno),
			-errno);
	if (fstat(fd, &stat) || !S_ISREG(stat.st_mode)) {
		close(fd);
		return refuse(backing, path, "not a regular file",
			      -EMEDIUMTYPE);
	}
	if (fcntl(fd, F_OFD_SETLK, &lock)) {
		close(fd);
		return refuse(backing, path, "another disk has it open",
			      -EBUSY);
	}
	return fd;
}

int tm_backing_open(struct tm_backing *backing, const struct tm_disk *disk,
		    const struct tm_disk_label *label, const char *path,
		    bool may_make)
{
	int err;

	backing->disk = disk;
	backing->blocks = disk->blocks;
	backing->in_file = tm_bits_new(disk->blocks);
	if (!backing->in_file)
		return -ENOMEM;
	backing->fd = open_file(backing, path, may_make);
	if (backing->fd < 0) {
		err = backing->fd;
		free(backing->in_file);
		return err;
	}
	err = prepare_file(backing, label, path, may_make);
	if (err)
		tm_backing_close(backing);
	return err;
}

void tm_backing_close(struct tm_backing *backing)
{
	close(backing->fd);
	free(backing->in_file);
}

/* --- blocks --------------------------------------------------------------- */

static const char *const act_names[] = {
	[TM_BACKING_READ] = "read",
	[TM_BACKING_WRITE] = "write",
	[TM_BACKING_PUNCH] = "punch a hole",
	[TM_BACKING_SYNC] = "sync",
};

/* Says the first failure of a row of them. */
static int note(struct tm_backing *backing, enum tm_backing_act act, int err)
{
	uint32_t bit = UINT32_C(1) << act;

	if (!err) {
		if (atomic_load_explicit(&backing->failing,
					 memory_order_relaxed) &
		    bit)
			atomic_fetch_and(&backing->failing, ~bit);
		return 0;
	}
	if (!(atomic_fetch_or(&backing->failing, bit) & bit))
		tm_disk_log(backing->disk, TMEM_LOG_ERROR,
			    "disk's backing file: %s: %s", act_names[act],
			    strerror(-err));
	return err;
}

int tm_backing_read(struct tm_backing *backing, uint64_t block, void *page)
{
	return note(
		backing, TM_BACKING_READ,
		read_all(backing->fd, page, TM_BLOCK_SIZE, place_of(block)));
}

int tm_backing_write(struct tm_backing *backing, uint64_t block,
		     const void *page)
{
	/* First: a write that fails may have written something. */
	if (!tm_bits_set(backing->in_file, block))
		atomic_fetch_add(&backing->count, 1);
	return note(
		backing, TM_BACKING_WRITE,
		write_all(backing->fd, page, TM_BLOCK_SIZE, place_of(block)));
}

int tm_backing_punch(struct tm_backing *backing, uint64_t first, uint64_t end)
{
	int err;

	if (tm_bits_next_set(backing->in_file, first, end) == end)
		return 0;
	err = note(backing, TM_BACKING_PUNCH,
		   punch(backing->fd, place_of(first),
			 (off_t)((end - first) * TM_BLOCK_SIZE)));
	if (!err)
		atomic_fetch_sub(
			&backing->count,
			tm_bits_clear_range(backing->in_file, first, end));
	return err;
}

int tm_backing_sync(struct tm_backing *backing)
{
	return note(backing, TM_BACKING_SYNC,
		    fdatasync(backing->fd) ? -errno : 0);
}
