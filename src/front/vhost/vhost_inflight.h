/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Requests in flight, noted in memory that the front end keeps for us.
 */
#ifndef TM_VHOST_INFLIGHT_H
#define TM_VHOST_INFLIGHT_H

#include <stdbool.h>
#include <stdint.h>

#include "vhost_abi.h"

struct tm_vhost_area;

/* A new area, all zeros, for the front end to keep. The descriptor, or a
 * negative errno; @inflight is completed. */
int tm_vhost_area_make(struct tm_vhost_inflight *inflight);

/* Maps what a front end kept. @fd is the area's from now on, errors or not.
 * 0, -EPROTO, -ENOMEM. */
int tm_vhost_area_open(const struct tm_vhost_inflight *inflight, int fd,
		       struct tm_vhost_area **area);
void tm_vhost_area_close(struct tm_vhost_area *area);

/* For a successor; the descriptor stays the area's. */
int tm_vhost_area_describe(const struct tm_vhost_area *area,
			   struct tm_vhost_inflight *inflight);

/**
 * struct tm_vhost_notes - the part of an area that is a queue's
 * @area: NULL: nothing is noted
 */
struct tm_vhost_notes {
	struct tm_vhost_area *area;
	uint64_t at;
	uint16_t entries;
	uint64_t counter;
};

/**
 * tm_vhost_notes_open() - take up a queue's notes, or begin them
 * @used_index: of the used ring
 * @heads: room for @entries; set to those in flight, oldest first
 *
 * Return: how many are in flight, or -EPROTO: notes of another queue's size, or
 * that contradict themselves; -EFAULT.
 */
int tm_vhost_notes_open(struct tm_vhost_notes *notes,
			struct tm_vhost_area *area, uint32_t queue,
			uint16_t entries, uint16_t used_index, uint16_t *heads);

/* It was taken from the available ring. 0, -EFAULT. */
int tm_vhost_notes_begin(struct tm_vhost_notes *notes, uint16_t head);
/* It is about to be in the used ring. */
int tm_vhost_notes_end(struct tm_vhost_notes *notes, uint16_t head);
/* It is, and @used_index counts it. */
int tm_vhost_notes_ended(struct tm_vhost_notes *notes, uint16_t head,
			 uint16_t used_index);

#endif
