/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Messages that lie: sizes, numbers of descriptors, features, queues, order.
 */
#include <config.h>

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "hostile.h"

static void send_header(struct vhost_peer *peer, uint32_t request,
			uint32_t flags, uint32_t size_bytes)
{
	const struct tm_vhost_header header = { request, flags, size_bytes };

	peer_send_raw(peer, &header, sizeof(header), NULL, 0);
}

static void size_huge(struct vhost_peer *peer)
{
	send_header(peer, TM_VHOST_SET_MEM_TABLE, TM_VHOST_VERSION, UINT32_MAX);
}

static void size_zero(struct vhost_peer *peer)
{
	for (uint32_t request = 1; request < 45; request++)
		send_header(peer, request, TM_VHOST_VERSION, 0);
}

static void size_short(struct vhost_peer *peer)
{
	const uint32_t part = 1;

	peer_send(peer, TM_VHOST_SET_MEM_TABLE, 0, &part, sizeof(part), NULL,
		  0);
}

static void size_beyond(struct vhost_peer *peer)
{
	uint8_t bytes[4096] = { 1 };

	peer_send(peer, TM_VHOST_SET_VRING_ADDR, 0, bytes, sizeof(bytes), NULL,
		  0);
}

static void header_half(struct vhost_peer *peer)
{
	const uint32_t part = TM_VHOST_GET_FEATURES;

	peer_send_raw(peer, &part, sizeof(part), NULL, 0);
	hostile_wait(peer);
}

static void payload_half(struct vhost_peer *peer)
{
	send_header(peer, TM_VHOST_SET_VRING_ADDR, TM_VHOST_VERSION,
		    sizeof(struct tm_vhost_vring_addr));
	hostile_wait(peer);
}

static void version_wrong(struct vhost_peer *peer)
{
	send_header(peer, TM_VHOST_GET_FEATURES, 0, 0);
	send_header(peer, TM_VHOST_GET_FEATURES, 2, 0);
}

static void reply_unasked(struct vhost_peer *peer)
{
	send_header(peer, TM_VHOST_GET_FEATURES,
		    TM_VHOST_VERSION | TM_VHOST_IS_REPLY, 0);
}

static void request_unknown(struct vhost_peer *peer)
{
	send_header(peer, 4711, TM_VHOST_VERSION, 0);
	send_header(peer, UINT32_MAX, TM_VHOST_VERSION, 0);
}

static void noise(struct vhost_peer *peer)
{
	uint32_t bytes[1024], state = 1;

	for (size_t i = 0; i < 1024; i++)
		bytes[i] = state = state * 1664525 + 1013904223;
	peer_send_raw(peer, bytes, sizeof(bytes), NULL, 0);
}

static void fds_too_many(struct vhost_peer *peer)
{
	struct tm_vhost_region region = peer_region(peer);
	struct tm_vhost_mem_table table = { .count = 1 };
	int fds[32];

	for (int i = 0; i < 32; i++)
		fds[i] = peer->memory_fd;
	table.regions[0] = region;
	peer_send(peer, TM_VHOST_SET_MEM_TABLE, 0, &table, 8 + sizeof(region),
		  fds, 32);
}

static void fds_missing(struct vhost_peer *peer)
{
	struct tm_vhost_region region = peer_region(peer);
	const uint64_t queue = 0;

	peer_set_table(peer, &region, NULL, 0);
	peer_send(peer, TM_VHOST_SET_VRING_KICK, 0, &queue, sizeof(queue), NULL,
		  0);
	peer_send(peer, TM_VHOST_SET_INFLIGHT_FD, 0, &peer->inflight,
		  sizeof(peer->inflight), NULL, 0);
}

static void fds_unasked(struct vhost_peer *peer)
{
	int fds[8];

	for (int i = 0; i < 8; i++)
		fds[i] = peer->memory_fd;
	for (int i = 0; i < 200; i++)
		if (peer_send(peer, TM_VHOST_GET_FEATURES, 0, NULL, 0, fds, 8))
			return;
}

static void features_unoffered(struct vhost_peer *peer)
{
	peer_set_number(peer, TM_VHOST_SET_FEATURES, UINT64_MAX);
}

static void protocol_unoffered(struct vhost_peer *peer)
{
	peer_set_number(peer, TM_VHOST_SET_PROTOCOL_FEATURES, UINT64_MAX);
}

static void queue_beyond(struct vhost_peer *peer)
{
	const uint64_t event = TM_VHOST_VRING_NO_FD | 255;
	struct tm_vhost_vring_addr addr = peer_ring_address(peer, 0);

	peer->protocol = 0;
	for (uint32_t queue = 60; queue < 70; queue++) {
		peer_set_state(peer, TM_VHOST_SET_VRING_NUM, queue, 64);
		peer_set_state(peer, TM_VHOST_SET_VRING_ENABLE, queue, 1);
	}
	addr.index = UINT32_MAX;
	peer_send(peer, TM_VHOST_SET_VRING_ADDR, 0, &addr, sizeof(addr), NULL,
		  0);
	peer_send(peer, TM_VHOST_SET_VRING_CALL, 0, &event, sizeof(event), NULL,
		  0);
	peer_set_state(peer, TM_VHOST_GET_VRING_BASE, 0x80000000, 0);
}

static void queue_size_wrong(struct vhost_peer *peer)
{
	static const uint32_t sizes[] = { 0,     3,           63,
					  65536, 0x80000000u, UINT32_MAX };
	uint32_t size = sizes[peer->queues++ % 6];

	peer_set_state(peer, TM_VHOST_SET_VRING_NUM, 0, size);
	peer_set_event(peer, TM_VHOST_SET_VRING_KICK, 0,
		       peer->queue[0].kick_fd);
}

static void start_unset(struct vhost_peer *peer)
{
	int pipes[2];

	if (pipe(pipes))
		return;
	peer_negotiate(peer);
	peer->protocol = 0;
	peer_set_event(peer, TM_VHOST_SET_VRING_KICK, 0, pipes[0]);
	peer_set_state(peer, TM_VHOST_SET_VRING_ENABLE, 0, 1);
	hostile_wait(peer);
	close(pipes[0]);
	close(pipes[1]);
}

static void kick_is_a_pipe(struct vhost_peer *peer)
{
	int pipes[2];

	if (pipe(pipes))
		return;
	/* Ready for ever once the other end is gone. */
	close(pipes[1]);
	peer_set_event(peer, TM_VHOST_SET_VRING_KICK, 0, pipes[0]);
	peer_set_event(peer, TM_VHOST_SET_VRING_CALL, 0, peer->memory_fd);
	hostile_wait(peer);
	close(pipes[0]);
}

static void call_that_waits(struct vhost_peer *peer)
{
	const uint64_t full = UINT64_MAX - 1;
	int fd = peer->queue[0].call_fd;

	for (int i = 0; i < 3; i++) {
		peer_build(peer, 0, 0, 0, TM_VIRTIO_BLK_IN, 0, 4096);
		fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
		/* It is full already the next time. */
		if (write(fd, &full, sizeof(full)) < 0 && !i)
			return;
		fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
		peer_offer(peer, 0, 0);
		peer_kick(peer, 0);
		usleep(20000);
	}
}

static void answers_unread(struct vhost_peer *peer)
{
	fcntl(peer->fd, F_SETFL, O_NONBLOCK);
	for (int i = 0; i < 20000; i++)
		if (peer_send(peer, TM_VHOST_GET_FEATURES, 0, NULL, 0, NULL, 0))
			return;
}

static void config_beyond(struct vhost_peer *peer)
{
	struct tm_vhost_config_space space = { .offset = 0xfffffff0,
					       .size_bytes = 256 };

	peer_send(peer, TM_VHOST_GET_CONFIG, 0, &space, sizeof(space), NULL, 0);
	space.offset = 0;
	space.size_bytes = 0x80000000;
	peer_send(peer, TM_VHOST_GET_CONFIG, 0, &space, 12, NULL, 0);
	space.size_bytes = 60;
	memset(space.bytes, 0xff, 60);
	peer_send(peer, TM_VHOST_SET_CONFIG, 0, &space, 72, NULL, 0);
}

static void set_area(struct vhost_peer *peer, int fd, uint64_t map_bytes,
		     uint64_t map_offset, uint16_t queues, uint16_t entries)
{
	const struct tm_vhost_inflight inflight = {
		.map_bytes = map_bytes,
		.map_offset = map_offset,
		.queues = queues,
		.queue_size = entries,
	};

	peer_send(peer, TM_VHOST_SET_INFLIGHT_FD, 0, &inflight,
		  sizeof(inflight), &fd, 1);
}

static void inflight_small(struct vhost_peer *peer)
{
	int fd = memfd_create("area", MFD_CLOEXEC);

	if (ftruncate(fd, 4096))
		return;
	set_area(peer, fd, 4096, 0, 64, 1024);
	set_area(peer, fd, UINT64_MAX, 0, 64, 1024);
	set_area(peer, fd, 4096, UINT64_MAX - 4095, 1, 1);
	set_area(peer, fd, 4096, 0, UINT16_MAX, UINT16_MAX);
	close(fd);
}

/* One that was right once: everything in it is. */
static void inflight_of_another_life(struct vhost_peer *peer)
{
	int fd;
	uint8_t *area;

	peer->queues = 1;
	peer->wants_inflight = true;
	if (peer_negotiate(peer) || peer_set_inflight(peer))
		return;
	fd = peer->inflight_fd;
	area = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (area == MAP_FAILED)
		return;
	for (size_t i = 16; i < 4096; i++)
		area[i] = (uint8_t)(i * 37);
	*(struct tm_vhost_inflight_queue *)(void *)area =
		(struct tm_vhost_inflight_queue){
			.version = 1,
			.entries = PEER_ENTRIES,
			.last_batch_head = 0xfff0,
			.used_index = 0xfffe,
		};
	munmap(area, 4096);
	peer_set_inflight(peer);
	peer_set_memory(peer);
	peer_start_queue(peer, 0);
	hostile_wait(peer);
}

static void inflight_shrinks(struct vhost_peer *peer)
{
	int fd = memfd_create("area", MFD_CLOEXEC);

	peer->queues = 1;
	if (ftruncate(fd, 1 << 20) || peer_negotiate(peer))
		return;
	peer->protocol = 0;
	set_area(peer, fd, 1 << 20, 0, 1, PEER_ENTRIES);
	peer_set_memory(peer);
	if (ftruncate(fd, 0))
		return;
	peer_start_queue(peer, 0);
	hostile_offer(peer, 0);
	close(fd);
}

static void floods(struct vhost_peer *peer)
{
	for (int i = 0; i < 2000; i++)
		if (peer_set_state(peer, TM_VHOST_SET_VRING_ENABLE, 0, i & 1))
			return;
}

const struct hostile_attack hostile_messages[] = {
	{ "message-size-huge", "a header that announces 4 GiB", false,
	  size_huge },
	{ "message-size-zero", "every request without a payload", false,
	  size_zero },
	{ "message-size-short", "a memory table of four bytes", true,
	  size_short },
	{ "message-size-beyond", "a payload longer than the request's", true,
	  size_beyond },
	{ "message-header-half", "half a header, and silence", false,
	  header_half },
	{ "message-payload-half", "a header, and no payload", false,
	  payload_half },
	{ "message-version", "another version of the protocol", false,
	  version_wrong },
	{ "message-reply", "an answer to what was not asked", false,
	  reply_unasked },
	{ "message-unknown", "requests that there are none of", false,
	  request_unknown },
	{ "message-noise", "bytes", false, noise },
	{ "message-flood", "thousands of changes at once", true, floods },
	{ "descriptors-too-many", "32 descriptors for one region", true,
	  fds_too_many },
	{ "descriptors-missing", "a memory table and a kick without", true,
	  fds_missing },
	{ "descriptors-unasked", "descriptors with what has none", false,
	  fds_unasked },
	{ "features-unoffered", "all features at once", false,
	  features_unoffered },
	{ "protocol-unoffered", "all of the protocol's features", false,
	  protocol_unoffered },
	{ "queue-beyond", "queues that are not there", true, queue_beyond },
	{ "queue-size", "a queue that is no power of two", true,
	  queue_size_wrong },
	{ "queue-unset", "a queue that starts before it is set up", false,
	  start_unset },
	{ "event-pipe", "a kick that is always ready, a call that is a file",
	  true, kick_is_a_pipe },
	{ "event-waits", "a call that keeps its writer waiting", true,
	  call_that_waits },
	{ "answers-unread", "questions whose answers nobody reads", false,
	  answers_unread },
	{ "config-beyond", "configuration before and after its bytes", true,
	  config_beyond },
	{ "inflight-small", "an area that is smaller than it says", true,
	  inflight_small },
	{ "inflight-life", "an area full of another life's requests", false,
	  inflight_of_another_life },
	{ "inflight-shrinks", "an area that loses its memory", false,
	  inflight_shrinks },
	{ NULL, NULL, false, NULL },
};
