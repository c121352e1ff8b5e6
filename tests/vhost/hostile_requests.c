/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Requests that lie: headers, directions, lengths, sectors.
 */
#include <config.h>

#include <endian.h>
#include <string.h>

#include "hostile.h"

#define SCRATCH peer_guest(PEER_SCRATCH)

static void read_after_write(struct vhost_peer *peer)
{
	peer_describe(peer, 0, 0, SCRATCH, 64, TM_VIRTIO_NEXT | TM_VIRTIO_WRITE,
		      1);
	peer_describe(peer, 0, 1, SCRATCH, 16, TM_VIRTIO_NEXT, 2);
	peer_describe(peer, 0, 2, SCRATCH, 1, TM_VIRTIO_WRITE, 0);
	hostile_offer(peer, 0);
}

static void header_writable(struct vhost_peer *peer)
{
	peer_describe(peer, 0, 0, SCRATCH, 16, TM_VIRTIO_NEXT | TM_VIRTIO_WRITE,
		      1);
	peer_describe(peer, 0, 1, SCRATCH, 1, TM_VIRTIO_WRITE, 0);
	hostile_offer(peer, 0);
}

static void header_short(struct vhost_peer *peer)
{
	peer_describe(peer, 0, 0, SCRATCH, 15, TM_VIRTIO_NEXT, 1);
	peer_describe(peer, 0, 1, SCRATCH, 1, TM_VIRTIO_WRITE, 0);
	hostile_offer(peer, 0);
}

static void status_missing(struct vhost_peer *peer)
{
	peer_build(peer, 0, 0, 0, TM_VIRTIO_BLK_FLUSH, 0, 0);
	peer_describe(peer, 0, 0, SCRATCH, 16, 0, 0);
	hostile_offer(peer, 0);
}

static void status_readonly(struct vhost_peer *peer)
{
	peer_build(peer, 0, 0, 0, TM_VIRTIO_BLK_OUT, 0, 4096);
	peer_describe(peer, 0, 2, SCRATCH, 1, 0, 0);
	hostile_offer(peer, 0);
}

static void data_readonly(struct vhost_peer *peer)
{
	peer_build(peer, 0, 0, 0, TM_VIRTIO_BLK_IN, 0, 4096);
	peer_describe(peer, 0, 1, SCRATCH + 4096, 4096, TM_VIRTIO_NEXT, 2);
	hostile_offer(peer, 0);
}

static void data_writable(struct vhost_peer *peer)
{
	peer_build(peer, 0, 0, 0, TM_VIRTIO_BLK_OUT, 0, 4096);
	peer_describe(peer, 0, 1, SCRATCH + 4096, 4096,
		      TM_VIRTIO_NEXT | TM_VIRTIO_WRITE, 2);
	hostile_offer(peer, 0);
}

static void nothing(struct vhost_peer *peer)
{
	for (uint16_t i = 0; i < 3; i++)
		peer_describe(peer, 0, i, SCRATCH, 0, TM_VIRTIO_NEXT,
			      (uint16_t)(i + 1));
	peer_describe(peer, 0, 3, SCRATCH, 0, TM_VIRTIO_WRITE, 0);
	hostile_offer(peer, 0);
}

static void data_outside(struct vhost_peer *peer)
{
	peer_build(peer, 0, 0, 0, TM_VIRTIO_BLK_IN, 0, 4096);
	peer_describe(peer, 0, 1, UINT64_C(0xdead0000), 4096,
		      TM_VIRTIO_NEXT | TM_VIRTIO_WRITE, 2);
	hostile_offer(peer, 0);
}

static void data_wraps(struct vhost_peer *peer)
{
	peer_build(peer, 0, 0, 0, TM_VIRTIO_BLK_OUT, 0, 4096);
	peer_describe(peer, 0, 1, UINT64_MAX - 2047, 4096, TM_VIRTIO_NEXT, 2);
	hostile_offer(peer, 0);
}

static void status_outside(struct vhost_peer *peer)
{
	peer_build(peer, 0, 0, 0, TM_VIRTIO_BLK_IN, 0, 4096);
	peer_describe(peer, 0, 2, UINT64_MAX, 1, TM_VIRTIO_WRITE, 0);
	hostile_offer(peer, 0);
}

static void past_end(struct vhost_peer *peer)
{
	uint64_t sectors = peer->size_bytes / TM_VIRTIO_SECTOR;
	uint8_t data[8192] = { 0 };

	for (uint32_t type = TM_VIRTIO_BLK_IN; type <= TM_VIRTIO_BLK_OUT;
	     type++) {
		peer_request(peer, 0, type, sectors, data, 4096);
		peer_request(peer, 0, type, sectors - 8, data, 8192);
		peer_request(peer, 0, type, UINT64_MAX, data, 4096);
		peer_request(peer, 0, type, UINT64_MAX / 512, data, 4096);
	}
}

static void odd_length(struct vhost_peer *peer)
{
	uint8_t data[4096] = { 0 };

	for (uint32_t bytes = 1; bytes < 4096; bytes += 1021) {
		peer_request(peer, 0, TM_VIRTIO_BLK_IN, 0, data, bytes);
		peer_request(peer, 0, TM_VIRTIO_BLK_OUT, UINT64_MAX, data,
			     bytes);
	}
	peer_request(peer, 0, TM_VIRTIO_BLK_IN, 0, data, 0);
}

static void four_gib(struct vhost_peer *peer)
{
	peer_build(peer, 0, 0, 0, TM_VIRTIO_BLK_IN, 0, UINT32_MAX);
	hostile_offer(peer, 0);
}

/* All of it in memory that is there, over and over. */
static void four_gib_in_parts(struct vhost_peer *peer)
{
	struct tm_virtio_descriptor *table =
		(void *)(peer->memory + PEER_SCRATCH + 0x20000);
	uint16_t last = 1023;

	peer_build(peer, 0, 0, 0, TM_VIRTIO_BLK_IN, 0, 4096);
	table[0] = (struct tm_virtio_descriptor){ htole64(SCRATCH), htole32(16),
						  htole16(TM_VIRTIO_NEXT),
						  htole16(1) };
	for (uint16_t i = 1; i <= last; i++)
		table[i] = (struct tm_virtio_descriptor){
			htole64(peer_guest(0x100000)), htole32(3u << 20),
			htole16(i < last ? TM_VIRTIO_NEXT | TM_VIRTIO_WRITE
					 : TM_VIRTIO_WRITE),
			htole16((uint16_t)(i + 1))
		};
	peer_describe(peer, 0, 0, peer_guest(PEER_SCRATCH + 0x20000),
		      (last + 1) * 16u, TM_VIRTIO_INDIRECT, 0);
	hostile_offer(peer, 0);
}

static void unknown_types(struct vhost_peer *peer)
{
	uint8_t data[512] = { 0 };

	for (uint32_t type = 2; type < 40; type++)
		if (type != TM_VIRTIO_BLK_DISCARD &&
		    type != TM_VIRTIO_BLK_WRITE_ZEROES)
			peer_request(peer, 0, type, 0, data, 512);
	peer_request(peer, 0, UINT32_MAX, UINT64_MAX, data, 512);
}

static void ranges(struct vhost_peer *peer, uint64_t sector, uint32_t sectors,
		   uint32_t flags)
{
	const struct tm_virtio_blk_range range = { htole64(sector),
						   htole32(sectors),
						   htole32(flags) };

	for (uint32_t type = TM_VIRTIO_BLK_DISCARD;
	     type <= TM_VIRTIO_BLK_WRITE_ZEROES; type += 2)
		peer_request(peer, 0, type, 0, (void *)(uintptr_t)&range,
			     sizeof(range));
}

static void discard_past_end(struct vhost_peer *peer)
{
	uint64_t end = peer->size_bytes / TM_VIRTIO_SECTOR;

	ranges(peer, end, 8, 0);
	ranges(peer, end - 1, UINT32_MAX, 0);
	ranges(peer, UINT64_MAX - 7, 16, 0);
	ranges(peer, UINT64_MAX / 512 + 1, 8, 0);
	/* Nothing in it. */
	ranges(peer, 0, 0, 0);
}

static void discard_flags(struct vhost_peer *peer)
{
	ranges(peer, UINT64_MAX, 8, UINT32_MAX);
	ranges(peer, UINT64_MAX, 8, 2);
}

static void discard_many(struct vhost_peer *peer)
{
	uint8_t bytes[61440];

	/* Past the end, each of them. */
	memset(bytes, 0xff, sizeof(bytes));
	peer_request(peer, 0, TM_VIRTIO_BLK_DISCARD, 0, bytes, sizeof(bytes));
	peer_request(peer, 0, TM_VIRTIO_BLK_DISCARD, 0, bytes, 17);
	peer_request(peer, 0, TM_VIRTIO_BLK_DISCARD, 0, bytes, 0);
}

static void data_is_ring(struct vhost_peer *peer)
{
	peer_build(peer, 0, 0, 0, TM_VIRTIO_BLK_IN, 0, 4096);
	/* The disk's first block over the rings themselves. */
	peer_describe(peer, 0, 1, peer_guest(0), 65536,
		      TM_VIRTIO_NEXT | TM_VIRTIO_WRITE, 2);
	hostile_offer(peer, 0);
	hostile_offer(peer, 0);
}

static void header_is_status(struct vhost_peer *peer)
{
	peer_build(peer, 0, 0, 0, TM_VIRTIO_BLK_IN, 0, 4096);
	peer_describe(peer, 0, 1, SCRATCH, 4096,
		      TM_VIRTIO_NEXT | TM_VIRTIO_WRITE, 2);
	peer_describe(peer, 0, 2, SCRATCH, 1, TM_VIRTIO_WRITE, 0);
	hostile_offer(peer, 0);
}

const struct hostile_attack hostile_requests[] = {
	{ "request-order", "what can be read after what is written", true,
	  read_after_write },
	{ "request-header-writable", "a header that cannot be read", true,
	  header_writable },
	{ "request-header-short", "a header of 15 bytes", true, header_short },
	{ "request-no-status", "no room for a status", true, status_missing },
	{ "request-status-readonly", "a status that cannot be written", true,
	  status_readonly },
	{ "request-data-readonly", "a read into what cannot be written", true,
	  data_readonly },
	{ "request-data-writable", "a write from what is to be written", true,
	  data_writable },
	{ "request-nothing", "descriptors of no length", true, nothing },
	{ "request-data-outside", "data outside the memory", true,
	  data_outside },
	{ "request-data-wraps", "data around the end of all addresses", true,
	  data_wraps },
	{ "request-status-outside", "a status outside the memory", true,
	  status_outside },
	{ "request-past-end", "sectors past the end", true, past_end },
	{ "request-odd", "lengths that are no sectors", true, odd_length },
	{ "request-4g", "4 GiB at once", true, four_gib },
	{ "request-4g-parts", "3 GiB in a thousand parts", true,
	  four_gib_in_parts },
	{ "request-types", "requests that there are none of", true,
	  unknown_types },
	{ "request-over-rings", "data over the rings", true, data_is_ring },
	{ "request-over-header", "data over its own header", true,
	  header_is_status },
	{ "discard-past-end", "ranges past the end", true, discard_past_end },
	{ "discard-flags", "flags that there are none of", true,
	  discard_flags },
	{ "discard-many", "thousands of ranges, and half of one", true,
	  discard_many },
	{ NULL, NULL, false, NULL },
};
