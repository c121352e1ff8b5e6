/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The plugin's disk, with the store or the daemon's client beneath it.
 */
#ifndef TM_NBD_DISK_H
#define TM_NBD_DISK_H

#include <stdbool.h>

#include "disk.h"
#include "nbd_options.h"

/**
 * struct tm_nbd_disk - what is open
 * @store: NULL with a daemon
 * @is_backing_ours: the backing file means nothing without this process's
 *	memory, and goes with it
 * @is_quiet: warnings were said when it was tried
 * @was_explained: the log has said what is wrong
 */
struct tm_nbd_disk {
	struct tmem_store *store;
	struct tmem_client *client;
	struct tm_disk *disk;
	const char *backing;
	bool is_backing_ours;
	bool is_quiet;
	_Atomic bool was_explained;
};

/**
 * tm_nbd_disk_try() - would tm_nbd_disk_open() work?
 *
 * For where messages still reach whoever types. Opens all that can be opened
 * without leaving a trace, and closes it.
 *
 * Return: 0, or a negative errno after nbdkit_error().
 */
int tm_nbd_disk_try(const struct tm_nbd_options *options);

/**
 * tm_nbd_disk_open() - open it, in the process that will serve
 * @nbd: filled in; stays where it is until it is closed
 *
 * Return: as tm_nbd_disk_try().
 */
int tm_nbd_disk_open(const struct tm_nbd_options *options,
		     struct tm_nbd_disk *nbd);

void tm_nbd_disk_close(struct tm_nbd_disk *nbd);

#endif
