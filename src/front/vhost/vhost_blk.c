/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * virtio-blk requests on a disk of tmem.
 *
 * A request is a header, data, and a byte for the status, cut into pieces as
 * the guest likes: the first 16 bytes that can be read are the header, the last
 * byte that can be written is the status, whatever lies between is data. The
 * data goes through a private buffer, part by part, so that neither a codec nor
 * a file ever sees memory that a guest can change, and a request's length costs
 * no memory.
 *
 * A request beyond the end, of no whole sectors, or longer than DATA_MAX is an
 * I/O error for that request. A write that fails half way has written the first
 * half, as on any disk. Data in memory that is not there ends the device: the
 * map is broken then, and no status can be trusted to arrive.
 *
 * Swap disks have blocks of 4 KiB, which is what tmem stores: with 512, a
 * guest's partition table or file system could make every write a read, a
 * change and a write. Images keep 512, since their tables may count so, and say
 * that 4 KiB is better.
 */
#include <config.h>

#include <endian.h>
#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "disk.h"
#include "vhost_blk.h"

#define DATA_MAX_BYTES (UINT64_C(128) << 20)
#define SEGMENT_MAX_BYTES (1u << 20)
#define SEGMENTS_MAX 126
#define RANGES_MAX 64
#define RANGE_MAX_SECTORS (UINT32_C(1) << 22) /* 2 GiB */

/* --- what is offered ----------------------------------------------------- */

uint64_t tm_vhost_blk_features(const struct tm_vhost_blk *blk)
{
	uint64_t features = UINT64_C(1) << TM_VIRTIO_BLK_F_SIZE_MAX |
			    UINT64_C(1) << TM_VIRTIO_BLK_F_SEG_MAX |
			    UINT64_C(1) << TM_VIRTIO_BLK_F_BLK_SIZE |
			    UINT64_C(1) << TM_VIRTIO_BLK_F_FLUSH |
			    UINT64_C(1) << TM_VIRTIO_BLK_F_TOPOLOGY |
			    UINT64_C(1) << TM_VIRTIO_F_INDIRECT_DESC |
			    UINT64_C(1) << TM_VIRTIO_F_EVENT_IDX |
			    UINT64_C(1) << TM_VIRTIO_F_PROTOCOL_FEATURES |
			    UINT64_C(1) << TM_VIRTIO_F_VERSION_1;

	if (blk->queues > 1)
		features |= UINT64_C(1) << TM_VIRTIO_BLK_F_MQ;
	if (blk->is_readonly)
		features |= UINT64_C(1) << TM_VIRTIO_BLK_F_RO;
	else
		features |= UINT64_C(1) << TM_VIRTIO_BLK_F_DISCARD |
			    UINT64_C(1) << TM_VIRTIO_BLK_F_WRITE_ZEROES;
	return features;
}

void tm_vhost_blk_config(const struct tm_vhost_blk *blk,
			 uint8_t space[TM_VHOST_CONFIG_MAX])
{
	struct tm_virtio_blk_config config = {
		.capacity_sectors = htole64(blk->size_bytes / TM_VIRTIO_SECTOR),
		.size_max_bytes = htole32(SEGMENT_MAX_BYTES),
		.seg_max = htole32(SEGMENTS_MAX),
		.block_bytes = htole32(blk->block_bytes),
		.min_io_blocks =
			htole16((uint16_t)(TM_BLOCK_SIZE / blk->block_bytes)),
		.queues = htole16(blk->queues),
	};

	if (blk->block_bytes < TM_BLOCK_SIZE)
		config.physical_block_exp = 3;
	if (!blk->is_readonly) {
		config.discard_sectors_max = htole32(RANGE_MAX_SECTORS);
		config.discard_ranges_max = htole32(RANGES_MAX);
		config.discard_alignment_sectors =
			htole32(TM_BLOCK_SIZE / TM_VIRTIO_SECTOR);
		config.zeroes_sectors_max = htole32(RANGE_MAX_SECTORS);
		config.zeroes_ranges_max = htole32(RANGES_MAX);
		config.zeroes_may_unmap = 1;
	}
	memset(space, 0, TM_VHOST_CONFIG_MAX);
	memcpy(space, &config, sizeof(config));
}

/* --- one request --------------------------------------------------------- */

struct request {
	const struct tm_vhost_blk *blk;
	struct tm_vhost_queue *queue;
	struct tm_vhost_blk_counts *counts;
	struct tm_vhost_cursor in; /* what the guest says */
	struct tm_vhost_cursor out; /* what it is told */
	uint64_t in_bytes; /* of data: without the header */
	uint64_t out_bytes; /* without the status */
	uint64_t sector;
	void *buffer;
	uint64_t told_bytes;
};

static void count(_Atomic uint64_t *counter, uint64_t by)
{
	/* One writer. */
	atomic_store_explicit(
		counter,
		atomic_load_explicit(counter, memory_order_relaxed) + by,
		memory_order_relaxed);
}

static int bad_memory(struct request *request)
{
	request->queue->why = "data in memory that is not there";
	return -EPROTO;
}

/* Where @bytes from @sector on begin; or they are not on the disk. */
static int place(const struct request *request, uint64_t sector, uint64_t bytes,
		 uint64_t *offset)
{
	uint64_t size_bytes = request->blk->size_bytes;

	if (bytes % TM_VIRTIO_SECTOR || sector > size_bytes / TM_VIRTIO_SECTOR)
		return -EINVAL;
	*offset = sector * TM_VIRTIO_SECTOR;
	return bytes > size_bytes - *offset ? -EINVAL : 0;
}

static uint32_t part_of(uint64_t bytes)
{
	return bytes < TM_VHOST_BUFFER_BYTES ? (uint32_t)bytes
					     : TM_VHOST_BUFFER_BYTES;
}

static int serve_in(struct request *request)
{
	uint64_t left = request->out_bytes, offset;
	int err = place(request, request->sector, left, &offset);

	if (err || left > DATA_MAX_BYTES)
		return -EINVAL;
	while (left) {
		uint32_t part = part_of(left);

		err = tm_disk_read(request->blk->disk, request->buffer, offset,
				   part);
		if (err)
			return err;
		if (tm_vhost_cursor_write(&request->out, request->buffer, part))
			return bad_memory(request);
		offset += part;
		left -= part;
	}
	request->told_bytes = request->out_bytes;
	count(&request->counts->read_bytes, request->out_bytes);
	return 0;
}

static int serve_out(struct request *request)
{
	uint64_t left = request->in_bytes, offset;
	int err = place(request, request->sector, left, &offset);

	if (err || left > DATA_MAX_BYTES)
		return -EINVAL;
	if (request->blk->is_readonly)
		return -EROFS;
	while (left) {
		uint32_t part = part_of(left);

		if (tm_vhost_cursor_read(&request->in, request->buffer, part))
			return bad_memory(request);
		err = tm_disk_write(request->blk->disk, request->buffer, offset,
				    part);
		if (err)
			return err;
		offset += part;
		left -= part;
	}
	count(&request->counts->written_bytes, request->in_bytes);
	return 0;
}

static int serve_range(struct request *request, uint32_t type,
		       const struct tm_virtio_blk_range *range)
{
	uint32_t flags = le32toh(range->flags);
	uint64_t bytes = (uint64_t)le32toh(range->sectors) * TM_VIRTIO_SECTOR;
	uint64_t offset;

	if (flags & ~TM_VIRTIO_BLK_UNMAP ||
	    (flags && type == TM_VIRTIO_BLK_DISCARD))
		return -EOPNOTSUPP;
	if (le32toh(range->sectors) > RANGE_MAX_SECTORS ||
	    place(request, le64toh(range->sector), bytes, &offset))
		return -EINVAL;
	if (type == TM_VIRTIO_BLK_DISCARD)
		return tm_disk_discard(request->blk->disk, offset, bytes);
	return tm_disk_write_zeroes(request->blk->disk, offset, bytes);
}

static int serve_ranges(struct request *request, uint32_t type)
{
	struct tm_virtio_blk_range ranges[RANGES_MAX];
	size_t number = request->in_bytes / sizeof(ranges[0]);
	int err = 0;

	if (request->blk->is_readonly)
		return -EROFS;
	if (!number || number > RANGES_MAX ||
	    request->in_bytes % sizeof(ranges[0]))
		return -EINVAL;
	if (tm_vhost_cursor_read(&request->in, ranges,
				 (uint32_t)request->in_bytes))
		return bad_memory(request);
	for (size_t i = 0; i < number && !err; i++)
		err = serve_range(request, type, &ranges[i]);
	return err;
}

static int serve_id(struct request *request)
{
	uint32_t bytes = request->out_bytes < TM_VIRTIO_BLK_ID_BYTES
				 ? (uint32_t)request->out_bytes
				 : TM_VIRTIO_BLK_ID_BYTES;

	if (tm_vhost_cursor_write(&request->out, request->blk->id, bytes))
		return bad_memory(request);
	request->told_bytes = bytes;
	return 0;
}

static int serve_type(struct request *request, uint32_t type)
{
	switch (type) {
	case TM_VIRTIO_BLK_IN:
		return serve_in(request);
	case TM_VIRTIO_BLK_OUT:
		return serve_out(request);
	case TM_VIRTIO_BLK_FLUSH:
		return tm_disk_flush(request->blk->disk);
	case TM_VIRTIO_BLK_GET_ID:
		return serve_id(request);
	case TM_VIRTIO_BLK_DISCARD:
	case TM_VIRTIO_BLK_WRITE_ZEROES:
		return serve_ranges(request, type);
	}
	return -EOPNOTSUPP;
}

static uint8_t status_of(int err)
{
	if (!err)
		return TM_VIRTIO_BLK_OK;
	return err == -EOPNOTSUPP ? TM_VIRTIO_BLK_UNSUPP : TM_VIRTIO_BLK_IOERR;
}

static int tell_status(struct request *request,
		       const struct tm_vhost_chain *chain, uint8_t status)
{
	const struct tm_vhost_piece *last = &chain->pieces[chain->count - 1];
	struct tm_vhost_cursor at = {
		.guest = request->queue->guest,
		.chain = chain,
		.piece = chain->count - 1,
		.end = chain->count,
		.offset = last->bytes - 1,
	};

	if (tm_vhost_cursor_write(&at, &status, sizeof(status))) {
		request->queue->why = "a status in memory that is not there";
		return -EPROTO;
	}
	return 0;
}

int tm_vhost_blk_serve(const struct tm_vhost_blk *blk,
		       struct tm_vhost_queue *queue,
		       const struct tm_vhost_chain *chain, void *buffer,
		       struct tm_vhost_blk_counts *counts,
		       uint32_t *written_bytes)
{
	struct request request = {
		.blk = blk,
		.queue = queue,
		.counts = counts,
		.buffer = buffer,
	};
	struct tm_virtio_blk_header header;
	int err;

	queue->why = "a request without header or status";
	if (chain->readable_bytes < sizeof(header) || !chain->writable_bytes)
		return -EPROTO;
	tm_vhost_cursor_readable(&request.in, queue, chain);
	tm_vhost_cursor_writable(&request.out, queue, chain);
	request.in_bytes = chain->readable_bytes - sizeof(header);
	request.out_bytes = chain->writable_bytes - 1;
	queue->why = "a header in memory that is not there";
	if (tm_vhost_cursor_read(&request.in, &header, sizeof(header)))
		return -EPROTO;
	request.sector = le64toh(header.sector);
	err = serve_type(&request, le32toh(header.type));
	if (err == -EPROTO)
		return err;
	count(&counts->requests, 1);
	if (err)
		count(&counts->errors, 1);
	*written_bytes = (uint32_t)request.told_bytes + 1;
	return tell_status(&request, chain, status_of(err));
}
