/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a door sees of a disk, over plain memory.
 *
 * It lets the door be tested alone: a write can be refused on purpose, and
 * requests can be held half way, which is where a front end that dies, or whose
 * memory goes away, finds them.
 */
#include <config.h>

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "plain_disk.h"

struct tm_disk {
	uint64_t size_bytes;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	uint64_t refused_block;
	bool is_held;
	uint64_t passed; /* requests at this offset go on all the same */
	int waiting;
	char bytes[];
};

struct tm_disk *plain_disk_new(uint64_t size_bytes)
{
	struct tm_disk *disk = calloc(1, sizeof(*disk) + size_bytes);

	if (!disk)
		abort();
	disk->size_bytes = size_bytes;
	disk->refused_block = disk->passed = UINT64_MAX;
	pthread_mutex_init(&disk->lock, NULL);
	pthread_cond_init(&disk->changed, NULL);
	return disk;
}

void plain_disk_refuse(struct tm_disk *disk, uint64_t block)
{
	pthread_mutex_lock(&disk->lock);
	disk->refused_block = block;
	pthread_mutex_unlock(&disk->lock);
}

void plain_disk_hold(struct tm_disk *disk, bool is_held)
{
	pthread_mutex_lock(&disk->lock);
	disk->is_held = is_held;
	pthread_cond_broadcast(&disk->changed);
	pthread_mutex_unlock(&disk->lock);
}

void plain_disk_pass(struct tm_disk *disk, uint64_t offset)
{
	pthread_mutex_lock(&disk->lock);
	disk->passed = offset;
	pthread_cond_broadcast(&disk->changed);
	pthread_mutex_unlock(&disk->lock);
}

int plain_disk_waiting(struct tm_disk *disk)
{
	int waiting;

	pthread_mutex_lock(&disk->lock);
	waiting = disk->waiting;
	pthread_mutex_unlock(&disk->lock);
	return waiting;
}

void tm_disk_close(struct tm_disk *disk)
{
	pthread_mutex_destroy(&disk->lock);
	pthread_cond_destroy(&disk->changed);
	free(disk);
}

uint64_t tm_disk_size_bytes(const struct tm_disk *disk)
{
	return disk->size_bytes;
}

/* Takes the lock, and waits while requests are held. */
static int begin(struct tm_disk *disk, uint64_t offset, uint64_t bytes)
{
	if (offset > disk->size_bytes || bytes > disk->size_bytes - offset)
		return -EINVAL;
	pthread_mutex_lock(&disk->lock);
	disk->waiting++;
	while (disk->is_held && disk->passed != offset)
		pthread_cond_wait(&disk->changed, &disk->lock);
	disk->waiting--;
	return 0;
}

static int end(struct tm_disk *disk)
{
	pthread_mutex_unlock(&disk->lock);
	return 0;
}

int tm_disk_read(struct tm_disk *disk, void *buffer, uint64_t offset,
		 uint32_t bytes)
{
	int err = begin(disk, offset, bytes);

	if (err)
		return err;
	memcpy(buffer, disk->bytes + offset, bytes);
	return end(disk);
}

int tm_disk_write(struct tm_disk *disk, const void *buffer, uint64_t offset,
		  uint32_t bytes)
{
	int err = begin(disk, offset, bytes);

	if (err)
		return err;
	if (disk->refused_block >= offset / TM_BLOCK_SIZE &&
	    disk->refused_block < (offset + bytes) / TM_BLOCK_SIZE) {
		end(disk);
		return -ENOSPC;
	}
	memcpy(disk->bytes + offset, buffer, bytes);
	return end(disk);
}

int tm_disk_write_zeroes(struct tm_disk *disk, uint64_t offset, uint64_t bytes)
{
	int err = begin(disk, offset, bytes);

	if (err)
		return err;
	memset(disk->bytes + offset, 0, bytes);
	return end(disk);
}

int tm_disk_discard(struct tm_disk *disk, uint64_t offset, uint64_t bytes)
{
	return tm_disk_write_zeroes(disk, offset, bytes);
}

int tm_disk_flush(struct tm_disk *disk)
{
	int err = begin(disk, 0, 0);

	return err ? err : end(disk);
}
