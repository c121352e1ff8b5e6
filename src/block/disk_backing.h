/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A swap disk's backing file: a place for the blocks that tmem refuses.
 *
 * The file is sparse, and *its data extents are the map*: a block is in the
 * file when there is data at its place, and taking it out punches a hole. So
 * no table can disagree with the data after a crash, and memory that came back
 * is disk space that came back. At open, SEEK_DATA fills one bit per block;
 * from then on the bits answer.
 *
 * The bound: a file system whose smallest extent is more than a block answers
 * "data" for a block that was punched out and reads as zeros there. Such a
 * block reads right, and costs a look at the file.
 *
 * Callers lock the block. Any number of threads at once.
 */
#ifndef TM_DISK_BACKING_H
#define TM_DISK_BACKING_H

#include "block_bits.h"
#include "disk_label.h"

enum tm_backing_act {
	TM_BACKING_READ,
	TM_BACKING_WRITE,
	TM_BACKING_PUNCH,
	TM_BACKING_SYNC,
};

struct tm_backing {
	int fd;
	uint64_t blocks;
	const struct tm_disk *disk;
	tm_bits_word *in_file;
	_Atomic uint64_t count; /* of bits set in it */
	/* Bits of enum tm_backing_act: what failed last time, and was logged.
	 */
	_Atomic uint32_t failing;
};

/*
 * Opens @path, or makes it when @may_make.
 *
 * Return: 0, -EMEDIUMTYPE (of another disk, cut short, or cannot do what it
 * must), -EBUSY (open elsewhere), -ENOENT, ...; the log says more.
 */
int tm_backing_open(struct tm_backing *backing, const struct tm_disk *disk,
		    const struct tm_disk_label *label, const char *path,
		    bool may_make);
void tm_backing_close(struct tm_backing *backing);

static inline bool tm_backing_has(const struct tm_backing *backing,
				  uint64_t block)
{
	return tm_bits_test(backing->in_file, block);
}

/* TM_BLOCK_SIZE bytes at @page. Return: 0, a negative errno. After a write
 * that failed there may be anything in the file: punch. */
int tm_backing_read(struct tm_backing *backing, uint64_t block, void *page);
int tm_backing_write(struct tm_backing *backing, uint64_t block,
		     const void *page);

/* Takes out the blocks [@first, @end); 0 as well when none is there. */
int tm_backing_punch(struct tm_backing *backing, uint64_t first, uint64_t end);

int tm_backing_sync(struct tm_backing *backing);

#endif
