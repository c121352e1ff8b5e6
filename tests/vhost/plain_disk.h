/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A disk of plain memory in the place of src/block, with faults to order.
 */
#ifndef TM_PLAIN_DISK_H
#define TM_PLAIN_DISK_H

#include "disk.h"

struct tm_disk *plain_disk_new(uint64_t size_bytes);
/* Writes that touch this block answer -ENOSPC; UINT64_MAX: none does. */
void plain_disk_refuse(struct tm_disk *disk, uint64_t block);
/* Requests wait from now on, until it is taken back. */
void plain_disk_hold(struct tm_disk *disk, bool is_held);
/* Those at @offset go on all the same, and no others do. */
void plain_disk_pass(struct tm_disk *disk, uint64_t offset);
/* How many wait. */
int plain_disk_waiting(struct tm_disk *disk);

#endif
