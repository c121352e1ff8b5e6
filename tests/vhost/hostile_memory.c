/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Memory that lies: regions that overlap, wrap, vanish, have holes, or are
 * not memory at all.
 */
#include <config.h>

#include <fcntl.h>
#include <linux/falloc.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "hostile.h"

static void set_two(struct vhost_peer *peer, struct tm_vhost_region second)
{
	struct tm_vhost_region regions[2] = { peer_region(peer), second };
	int fds[2] = { peer->memory_fd, peer->memory_fd };

	peer_set_table(peer, regions, fds, 2);
	hostile_offer(peer, 0);
}

static void overlap_guest(struct vhost_peer *peer)
{
	struct tm_vhost_region region = peer_region(peer);

	region.guest_address += 4096;
	region.user_address += UINT64_C(1) << 40;
	set_two(peer, region);
}

static void overlap_user(struct vhost_peer *peer)
{
	struct tm_vhost_region region = peer_region(peer);

	region.guest_address += UINT64_C(1) << 40;
	region.user_address += 4096;
	set_two(peer, region);
}

static void wrap_guest(struct vhost_peer *peer)
{
	struct tm_vhost_region region = peer_region(peer);

	region.guest_address = UINT64_MAX - 4095;
	region.user_address += UINT64_C(1) << 40;
	set_two(peer, region);
}

static void wrap_user(struct vhost_peer *peer)
{
	struct tm_vhost_region region = peer_region(peer);

	region.guest_address += UINT64_C(1) << 40;
	region.user_address = UINT64_MAX - 4095;
	set_two(peer, region);
}

static void wrap_offset(struct vhost_peer *peer)
{
	struct tm_vhost_region region = peer_region(peer);

	region.map_offset = UINT64_MAX - 4095;
	peer_set_table(peer, &region, &peer->memory_fd, 1);
	region.map_offset = INT64_MAX & ~UINT64_C(4095);
	peer_set_table(peer, &region, &peer->memory_fd, 1);
}

static void size_whole(struct vhost_peer *peer)
{
	struct tm_vhost_region region = peer_region(peer);

	region.guest_address = region.user_address = 0;
	region.size_bytes = UINT64_MAX & ~UINT64_C(4095);
	peer_set_table(peer, &region, &peer->memory_fd, 1);
}

static void size_none(struct vhost_peer *peer)
{
	struct tm_vhost_region region = peer_region(peer);

	region.size_bytes = 0;
	peer_set_table(peer, &region, &peer->memory_fd, 1);
	hostile_offer(peer, 0);
}

static void beyond_file(struct vhost_peer *peer)
{
	struct tm_vhost_region region = peer_region(peer);

	region.size_bytes *= 16;
	peer_set_table(peer, &region, &peer->memory_fd, 1);
	/* What lies past the end is asked for. */
	peer_build(peer, 0, 0, 0, TM_VIRTIO_BLK_IN, 0, 4096);
	peer_describe(peer, 0, 1, PEER_GUEST + 8 * PEER_MEMORY_BYTES, 4096,
		      TM_VIRTIO_NEXT | TM_VIRTIO_WRITE, 2);
	hostile_offer(peer, 0);
}

static void unaligned(struct vhost_peer *peer)
{
	struct tm_vhost_region region = peer_region(peer);

	region.guest_address += 1;
	region.size_bytes -= 4096;
	region.map_offset = 17;
	peer_set_table(peer, &region, &peer->memory_fd, 1);
	hostile_offer(peer, 0);
}

static void is_pipe(struct vhost_peer *peer)
{
	struct tm_vhost_region region = peer_region(peer);
	int pipes[2];

	if (pipe(pipes))
		return;
	peer_set_table(peer, &region, &pipes[0], 1);
	close(pipes[0]);
	close(pipes[1]);
}

static void is_directory(struct vhost_peer *peer)
{
	struct tm_vhost_region region = peer_region(peer);
	int fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	peer_set_table(peer, &region, &fd, 1);
	close(fd);
}

static void is_readonly(struct vhost_peer *peer)
{
	struct tm_vhost_region region = peer_region(peer);
	char path[64] = "/proc/self/exe";
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	peer_set_table(peer, &region, &fd, 1);
	hostile_offer(peer, 0);
	close(fd);
}

/* All but the rings. */
static void vanishes(struct vhost_peer *peer)
{
	peer_build(peer, 0, 0, 0, TM_VIRTIO_BLK_OUT, 0, 4096);
	if (ftruncate(peer->memory_fd, PEER_SCRATCH))
		return;
	peer_offer(peer, 0, 0);
	peer_kick(peer, 0);
	hostile_wait(peer);
}

static void vanishes_with_rings(struct vhost_peer *peer)
{
	peer_build(peer, 0, 0, 0, TM_VIRTIO_BLK_IN, 0, 4096);
	peer_offer(peer, 0, 0);
	if (ftruncate(peer->memory_fd, 0))
		return;
	peer_kick(peer, 0);
	usleep(100000);
}

static void has_holes(struct vhost_peer *peer)
{
	peer_build(peer, 0, 0, 0, TM_VIRTIO_BLK_OUT, 0, 4096);
	fallocate(peer->memory_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		  0, PEER_MEMORY_BYTES);
	peer_set_available(peer, 0, 1);
	peer_kick(peer, 0);
	hostile_wait(peer);
}

static void changes_under_requests(struct vhost_peer *peer)
{
	struct tm_vhost_region region = peer_region(peer);
	int other = memfd_create("other", MFD_CLOEXEC);

	if (ftruncate(other, PEER_MEMORY_BYTES))
		return;
	for (int round = 0; round < 50; round++) {
		for (uint16_t i = 0; i < 16; i++) {
			peer_build(peer, 0, (uint16_t)(3 * i), i,
				   TM_VIRTIO_BLK_IN, 0, 65536);
			peer_offer(peer, 0, (uint16_t)(3 * i));
		}
		peer_kick(peer, 0);
		if (peer_set_table(peer, &region,
				   round & 1 ? &peer->memory_fd : &other, 1))
			break;
	}
	close(other);
}

static void slots(struct vhost_peer *peer)
{
	struct tm_vhost_one_region one = { .region = peer_region(peer) };

	peer->protocol = UINT64_MAX;
	peer_negotiate(peer);
	for (int i = 0; i < 2000; i++) {
		one.region.guest_address += UINT64_C(1) << 32;
		one.region.user_address += UINT64_C(1) << 32;
		if (peer_send(peer, TM_VHOST_ADD_MEM_REG, 0, &one, sizeof(one),
			      &peer->memory_fd, 1))
			return;
	}
}

static void removes_rings(struct vhost_peer *peer)
{
	struct tm_vhost_one_region one = { .region = peer_region(peer) };

	peer->protocol = UINT64_MAX;
	peer_negotiate(peer);
	peer_send(peer, TM_VHOST_REM_MEM_REG, 0, &one, sizeof(one), NULL, 0);
	hostile_offer(peer, 0);
	peer_send(peer, TM_VHOST_REM_MEM_REG, 0, &one, sizeof(one), NULL, 0);
	hostile_offer(peer, 0);
}

const struct hostile_attack hostile_memory[] = {
	{ "memory-overlap-guest", "regions on top of each other in the guest",
	  true, overlap_guest },
	{ "memory-overlap-user", "the same in the front end", true,
	  overlap_user },
	{ "memory-wrap-guest", "a region around the end of all addresses", true,
	  wrap_guest },
	{ "memory-wrap-user", "the same in the front end", true, wrap_user },
	{ "memory-wrap-offset", "the same in its file", true, wrap_offset },
	{ "memory-whole", "a region of all addresses", true, size_whole },
	{ "memory-none", "a region of no size", true, size_none },
	{ "memory-beyond", "a region longer than its file", true, beyond_file },
	{ "memory-unaligned", "a region that begins between pages", true,
	  unaligned },
	{ "memory-pipe", "a region in a pipe", true, is_pipe },
	{ "memory-directory", "a region in a directory", true, is_directory },
	{ "memory-readonly", "a region in a program", true, is_readonly },
	{ "memory-vanishes", "memory that is cut off under a request", true,
	  vanishes },
	{ "memory-rings-vanish", "the rings, too", true, vanishes_with_rings },
	{ "memory-holes", "memory that is punched out", true, has_holes },
	{ "memory-changes", "another table at each request", true,
	  changes_under_requests },
	{ "memory-slots", "more regions than there are slots", false, slots },
	{ "memory-removed", "the rings' region is taken away", true,
	  removes_rings },
	{ NULL, NULL, false, NULL },
};
