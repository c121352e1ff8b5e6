/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Rings and descriptors that lie: places, indices, loops, indirect tables.
 */
#include <config.h>

#include <endian.h>
#include <string.h>
#include <unistd.h>

#include "hostile.h"

/* The queue again, with its rings where @addr says. */
static void restart(struct vhost_peer *peer,
		    const struct tm_vhost_vring_addr *addr)
{
	peer_stop_queue(peer, 0);
	peer->protocol = 0;
	peer_send(peer, TM_VHOST_SET_VRING_ADDR, 0, addr, sizeof(*addr), NULL,
		  0);
	peer_set_event(peer, TM_VHOST_SET_VRING_KICK, 0,
		       peer->queue[0].kick_fd);
	peer_kick(peer, 0);
	hostile_wait(peer);
}

static void outside(struct vhost_peer *peer)
{
	struct tm_vhost_vring_addr addr = peer_ring_address(peer, 0);

	addr.descriptors += UINT64_C(1) << 40;
	restart(peer, &addr);
}

static void straddles(struct vhost_peer *peer)
{
	struct tm_vhost_vring_addr addr = peer_ring_address(peer, 0);

	addr.used += PEER_MEMORY_BYTES - PEER_USED - 16;
	restart(peer, &addr);
}

static void wraps(struct vhost_peer *peer)
{
	struct tm_vhost_vring_addr addr = peer_ring_address(peer, 0);

	addr.available = UINT64_MAX - 1;
	restart(peer, &addr);
}

static void unaligned(struct vhost_peer *peer)
{
	struct tm_vhost_vring_addr addr = peer_ring_address(peer, 0);

	addr.descriptors += 1;
	addr.available += 1;
	addr.used += 1;
	restart(peer, &addr);
}

static void moves(struct vhost_peer *peer)
{
	struct tm_vhost_vring_addr addr = peer_ring_address(peer, 0);

	peer->protocol = 0;
	for (int i = 0; i < 100; i++) {
		peer_build(peer, 0, 0, 0, TM_VIRTIO_BLK_IN, 0, 4096);
		peer_offer(peer, 0, 0);
		peer_kick(peer, 0);
		addr.used ^= 0x2000;
		if (peer_send(peer, TM_VHOST_SET_VRING_ADDR, 0, &addr,
			      sizeof(addr), NULL, 0))
			return;
	}
}

/* All three in one place: what is told of one is read as another. */
static void same_place(struct vhost_peer *peer)
{
	struct tm_vhost_vring_addr addr = peer_ring_address(peer, 0);

	addr.used = addr.available = addr.descriptors;
	peer_build(peer, 0, 0, 0, TM_VIRTIO_BLK_IN, 0, 4096);
	restart(peer, &addr);
}

static void index_jumps(struct vhost_peer *peer)
{
	peer_set_available(peer, 0, 0x7fff);
	peer_kick(peer, 0);
	hostile_wait(peer);
}

static void index_goes_back(struct vhost_peer *peer)
{
	hostile_offer(peer, 0);
	peer_set_available(peer, 0, 0);
	peer_kick(peer, 0);
	peer_set_available(peer, 0, UINT16_MAX);
	peer_kick(peer, 0);
	hostile_wait(peer);
}

static void head_past_table(struct vhost_peer *peer)
{
	hostile_offer(peer, 0xfff0);
}

static void same_head(struct vhost_peer *peer)
{
	peer_build(peer, 0, 0, 0, TM_VIRTIO_BLK_IN, 0, 65536);
	for (unsigned i = 0; i < PEER_ENTRIES; i++)
		peer_offer(peer, 0, 0);
	peer_kick(peer, 0);
	hostile_wait(peer);
}

static void loop_of_one(struct vhost_peer *peer)
{
	peer_describe(peer, 0, 0, peer_guest(PEER_SCRATCH), 16, TM_VIRTIO_NEXT,
		      0);
	hostile_offer(peer, 0);
}

static void loop_of_all(struct vhost_peer *peer)
{
	for (uint16_t i = 0; i < PEER_ENTRIES; i++)
		peer_describe(peer, 0, i, peer_guest(PEER_SCRATCH), 65536,
			      TM_VIRTIO_NEXT | TM_VIRTIO_WRITE,
			      (uint16_t)((i + 1) % PEER_ENTRIES));
	hostile_offer(peer, 0);
}

static void next_past_table(struct vhost_peer *peer)
{
	peer_describe(peer, 0, 0, peer_guest(PEER_SCRATCH), 16, TM_VIRTIO_NEXT,
		      0xffff);
	hostile_offer(peer, 0);
}

static struct tm_virtio_descriptor *table_of(struct vhost_peer *peer)
{
	return (void *)(peer->memory + PEER_SCRATCH);
}

static void indirect(struct vhost_peer *peer, size_t offset, uint32_t bytes,
		     uint16_t flags)
{
	peer_describe(peer, 0, 0, peer_guest(offset), bytes,
		      TM_VIRTIO_INDIRECT | flags, 1);
	hostile_offer(peer, 0);
}

static void indirect_in_indirect(struct vhost_peer *peer)
{
	table_of(peer)[0] = (struct tm_virtio_descriptor){
		htole64(peer_guest(PEER_SCRATCH)), htole32(16),
		htole16(TM_VIRTIO_INDIRECT), 0
	};
	indirect(peer, PEER_SCRATCH, 16, 0);
}

static void indirect_loops(struct vhost_peer *peer)
{
	struct tm_virtio_descriptor *table = table_of(peer);

	for (uint16_t i = 0; i < 128; i++)
		table[i] = (struct tm_virtio_descriptor){
			htole64(peer_guest(PEER_SCRATCH)), htole32(65536),
			htole16(TM_VIRTIO_NEXT), htole16((i + 1) % 128)
		};
	indirect(peer, PEER_SCRATCH, 128 * 16, 0);
}

static void indirect_next_past(struct vhost_peer *peer)
{
	table_of(peer)[0] = (struct tm_virtio_descriptor){
		htole64(peer_guest(PEER_SCRATCH)), htole32(16),
		htole16(TM_VIRTIO_NEXT), htole16(0xffff)
	};
	indirect(peer, PEER_SCRATCH, 16, 0);
}

static void indirect_odd(struct vhost_peer *peer)
{
	indirect(peer, PEER_SCRATCH, 17, 0);
	indirect(peer, PEER_SCRATCH, 15, 0);
}

static void indirect_empty(struct vhost_peer *peer)
{
	indirect(peer, PEER_SCRATCH, 0, 0);
}

static void indirect_huge(struct vhost_peer *peer)
{
	indirect(peer, PEER_SCRATCH, UINT32_MAX & ~15u, 0);
}

static void indirect_large(struct vhost_peer *peer)
{
	struct tm_virtio_descriptor *table = table_of(peer);

	for (uint16_t i = 0; i < 0xffff; i++)
		table[i] = (struct tm_virtio_descriptor){
			htole64(peer_guest(PEER_SCRATCH)), htole32(1),
			htole16(TM_VIRTIO_NEXT), htole16((uint16_t)(i + 1))
		};
	indirect(peer, PEER_SCRATCH, 0xffff * 16, 0);
}

static void indirect_outside(struct vhost_peer *peer)
{
	indirect(peer, PEER_MEMORY_BYTES - 16, 64, 0);
	indirect(peer, (size_t)1 << 40, 64, 0);
}

static void indirect_goes_on(struct vhost_peer *peer)
{
	peer_build(peer, 0, 0, 0, TM_VIRTIO_BLK_IN, 0, 4096);
	indirect(peer, PEER_SCRATCH, 16, TM_VIRTIO_NEXT);
}

static void changes_while_read(struct vhost_peer *peer)
{
	for (int round = 0; round < 200; round++) {
		peer_build(peer, 0, 0, 0, TM_VIRTIO_BLK_IN, 0, 65536);
		peer_offer(peer, 0, 0);
		peer_kick(peer, 0);
		for (uint16_t i = 0; i < 100; i++)
			peer_describe(peer, 0, i % 3,
				      peer_guest(PEER_SCRATCH + i), i * 7919u,
				      i & 7, i);
	}
}

const struct hostile_attack hostile_rings[] = {
	{ "ring-outside", "a ring outside the memory", true, outside },
	{ "ring-straddles", "a ring over the end of a region", true,
	  straddles },
	{ "ring-wraps", "a ring around the end of all addresses", true, wraps },
	{ "ring-unaligned", "rings at odd addresses", true, unaligned },
	{ "ring-moves", "a ring that moves under requests", true, moves },
	{ "ring-same-place", "all rings in one place", true, same_place },
	{ "index-jumps", "more requests than the ring has entries", true,
	  index_jumps },
	{ "index-goes-back", "an index that goes back", true, index_goes_back },
	{ "head-past-table", "a request that begins past the table", true,
	  head_past_table },
	{ "head-again", "one request as often as the ring holds", true,
	  same_head },
	{ "descriptor-loop", "a descriptor that leads to itself", true,
	  loop_of_one },
	{ "descriptor-loop-all", "a loop of all of them", true, loop_of_all },
	{ "descriptor-next-past", "the next one past the table", true,
	  next_past_table },
	{ "descriptor-changes", "descriptors that change while they are read",
	  true, changes_while_read },
	{ "indirect-in-indirect", "an indirect table in itself", true,
	  indirect_in_indirect },
	{ "indirect-loop", "a loop in an indirect table", true,
	  indirect_loops },
	{ "indirect-next-past", "the next one past an indirect table", true,
	  indirect_next_past },
	{ "indirect-odd", "an indirect table of half a descriptor", true,
	  indirect_odd },
	{ "indirect-empty", "an indirect table of nothing", true,
	  indirect_empty },
	{ "indirect-huge", "an indirect table of 4 GiB", true, indirect_huge },
	{ "indirect-large", "an indirect table of 65535 descriptors", true,
	  indirect_large },
	{ "indirect-outside", "an indirect table outside the memory", true,
	  indirect_outside },
	{ "indirect-next", "an indirect table that goes on", true,
	  indirect_goes_on },
	{ NULL, NULL, false, NULL },
};
