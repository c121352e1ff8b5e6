/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Requests of virtio-blk, carried out on a disk.
 */
#ifndef TM_VHOST_BLK_H
#define TM_VHOST_BLK_H

#include <stdbool.h>
#include <stdint.h>

#include "vhost_queue.h"

struct tm_disk;

#define TM_VHOST_BUFFER_BYTES (256u << 10)

/**
 * struct tm_vhost_blk - what is served; constant
 * @id: what GET_ID answers, padded with zeros
 */
struct tm_vhost_blk {
	struct tm_disk *disk;
	uint64_t size_bytes;
	uint32_t block_bytes;
	uint16_t queues;
	bool is_readonly;
	char id[TM_VIRTIO_BLK_ID_BYTES];
};

/* Counted by the thread that serves; others may read them, a little late. */
struct tm_vhost_blk_counts {
	_Atomic uint64_t requests;
	_Atomic uint64_t read_bytes;
	_Atomic uint64_t written_bytes;
	_Atomic uint64_t errors;
};

/* Bits of virtio's features that the device offers. */
uint64_t tm_vhost_blk_features(const struct tm_vhost_blk *blk);

/* The configuration space, zeros after its end. */
void tm_vhost_blk_config(const struct tm_vhost_blk *blk,
			 uint8_t space[TM_VHOST_CONFIG_MAX]);

/**
 * tm_vhost_blk_serve() - carry out a request
 * @chain: it
 * @buffer: TM_VHOST_BUFFER_BYTES, the thread's own
 * @written_bytes: set to what the used ring is to say
 *
 * Whatever the disk answers becomes the request's status.
 *
 * Return: 0; -EPROTO: there is no room for a header or a status, or they are in
 * memory that is not there; queue.why says which.
 */
int tm_vhost_blk_serve(const struct tm_vhost_blk *blk,
		       struct tm_vhost_queue *queue,
		       const struct tm_vhost_chain *chain, void *buffer,
		       struct tm_vhost_blk_counts *counts,
		       uint32_t *written_bytes);

#endif
