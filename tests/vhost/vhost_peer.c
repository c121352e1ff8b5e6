/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The other side of vhost-user-blk, one step per function.
 *
 * It talks to back ends that may be broken, so nothing waits for ever: messages
 * and used rings have a time after which they are given up. Rings are written
 * with the order that the specification asks for; a request's data lies in
 * slots of the scratch space, so that any number of requests can be under way.
 */
#include <config.h>

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "vhost_peer.h"

#define BIT(n) (UINT64_C(1) << (n))
#define SLOT_BYTES 0x11000u /* header, status and 64 KiB of data */
#define SLOT_DATA 0x1000u
#define SLOT_STATUS 0x800u
#define FDS_MAX 64
#define KNOWN_PROTOCOL                                                         \
	(BIT(TM_VHOST_PROTOCOL_MQ) | BIT(TM_VHOST_PROTOCOL_REPLY_ACK) |        \
	 BIT(TM_VHOST_PROTOCOL_CONFIG) |                                       \
	 BIT(TM_VHOST_PROTOCOL_INFLIGHT_SHMFD) |                               \
	 BIT(TM_VHOST_PROTOCOL_CONFIGURE_MEM_SLOTS))

void peer_init(struct vhost_peer *peer)
{
	memset(peer, 0, sizeof(*peer));
	peer->fd = peer->inflight_fd = -1;
	for (int i = 0; i < PEER_QUEUES; i++)
		peer->queue[i].kick_fd = peer->queue[i].call_fd = -1;
	peer->memory_fd = memfd_create("guest", MFD_CLOEXEC);
	if (peer->memory_fd < 0 ||
	    ftruncate(peer->memory_fd, PEER_MEMORY_BYTES))
		abort();
	peer->memory = mmap(NULL, PEER_MEMORY_BYTES, PROT_READ | PROT_WRITE,
			    MAP_SHARED, peer->memory_fd, 0);
	if (peer->memory == MAP_FAILED)
		abort();
	peer->features =
		BIT(TM_VIRTIO_F_VERSION_1) |
		BIT(TM_VIRTIO_F_PROTOCOL_FEATURES) |
		BIT(TM_VIRTIO_F_INDIRECT_DESC) | BIT(TM_VIRTIO_F_EVENT_IDX) |
		BIT(TM_VIRTIO_BLK_F_FLUSH) | BIT(TM_VIRTIO_BLK_F_DISCARD) |
		BIT(TM_VIRTIO_BLK_F_WRITE_ZEROES) |
		BIT(TM_VIRTIO_BLK_F_BLK_SIZE) | BIT(TM_VIRTIO_BLK_F_MQ);
	peer->protocol =
		KNOWN_PROTOCOL & ~BIT(TM_VHOST_PROTOCOL_CONFIGURE_MEM_SLOTS);
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void peer_hang_up(struct vhost_peer *peer)
{
	close_fd(&peer->fd);
	for (int i = 0; i < PEER_QUEUES; i++) {
		close_fd(&peer->queue[i].kick_fd);
		close_fd(&peer->queue[i].call_fd);
	}
}

void peer_close(struct vhost_peer *peer)
{
	peer_hang_up(peer);
	close_fd(&peer->inflight_fd);
	munmap(peer->memory, PEER_MEMORY_BYTES);
	close_fd(&peer->memory_fd);
}

int peer_connect(struct vhost_peer *peer, const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	strcpy(address.sun_path, path);
	peer->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (peer->fd < 0)
		return -errno;
	if (connect(peer->fd, (struct sockaddr *)&address, sizeof(address))) {
		int err = -errno;

		close_fd(&peer->fd);
		return err;
	}
	return 0;
}

/* --- messages ------------------------------------------------------------ */

int peer_send_raw(struct vhost_peer *peer, const void *bytes, size_t size,
		  const int *fds, size_t fd_count)
{
	union {
		char bytes[CMSG_SPACE(FDS_MAX * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = { (void *)(uintptr_t)bytes, size };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (fd_count) {
		struct cmsghdr *c = &control.align;

		memset(&control, 0, sizeof(control));
		msg.msg_control = &control;
		msg.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(fd_count * sizeof(int));
		memcpy(CMSG_DATA(c), fds, fd_count * sizeof(int));
	}
	return sendmsg(peer->fd, &msg, MSG_NOSIGNAL) == (ssize_t)size
		       ? 0
		       : -ECONNRESET;
}

int peer_send(struct vhost_peer *peer, uint32_t request, uint32_t flags,
	      const void *payload, uint32_t size_bytes, const int *fds,
	      size_t fd_count)
{
	struct {
		struct tm_vhost_header header;
		uint8_t payload[4096];
	} message;

	message.header = (struct tm_vhost_header){
		.request = request,
		.flags = TM_VHOST_VERSION | flags,
		.size_bytes = size_bytes,
	};
	if (size_bytes > sizeof(message.payload))
		return -EINVAL;
	if (size_bytes)
		memcpy(message.payload, payload, size_bytes);
	return peer_send_raw(peer, &message,
			     sizeof(message.header) + size_bytes, fds,
			     fd_count);
}

int peer_receive_some(struct vhost_peer *peer, void *to, size_t size, int *fd)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = { to, size };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	struct pollfd polled = { .fd = peer->fd, .events = POLLIN };
	ssize_t got;

	if (poll(&polled, 1, PEER_WAIT_MS) <= 0)
		return -ETIMEDOUT;
	got = recvmsg(peer->fd, &msg, MSG_CMSG_CLOEXEC);
	if (got <= 0)
		return -ECONNRESET;
	if (CMSG_FIRSTHDR(&msg) &&
	    CMSG_FIRSTHDR(&msg)->cmsg_type == SCM_RIGHTS) {
		close_fd(fd);
		memcpy(fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(*fd));
	}
	return (int)got;
}

static int receive_all(struct vhost_peer *peer, void *to, size_t size, int *fd)
{
	while (size) {
		int got = peer_receive_some(peer, to, size, fd);

		if (got < 0)
			return got;
		to = (char *)to + got;
		size -= (size_t)got;
	}
	return 0;
}

int peer_receive(struct vhost_peer *peer, struct tm_vhost_header *header,
		 void *payload, size_t max_bytes, int *fd)
{
	int err;

	*fd = -1;
	err = receive_all(peer, header, sizeof(*header), fd);
	if (!err && header->size_bytes > max_bytes)
		err = -EMSGSIZE;
	if (!err)
		err = receive_all(peer, payload, header->size_bytes, fd);
	return err ? err : (int)header->size_bytes;
}

static int answer_to(struct vhost_peer *peer, uint32_t request, void *payload,
		     size_t size_bytes, int *fd)
{
	struct tm_vhost_header header;
	int got = peer_receive(peer, &header, payload, size_bytes, fd);

	if (got < 0)
		return got;
	/* Some say again that an answer is wanted. */
	if (header.request != request ||
	    (header.flags & ~TM_VHOST_NEED_REPLY) !=
		    (TM_VHOST_VERSION | TM_VHOST_IS_REPLY) ||
	    (size_t)got != size_bytes)
		return -EPROTO;
	return 0;
}

/* Asks for an answer where that was taken, so that the step is done then. */
static int say(struct vhost_peer *peer, uint32_t request, const void *payload,
	       uint32_t size_bytes, const int *fds, size_t fd_count)
{
	bool acks = peer->protocol & BIT(TM_VHOST_PROTOCOL_REPLY_ACK);
	int err = peer_send(peer, request, acks ? TM_VHOST_NEED_REPLY : 0,
			    payload, size_bytes, fds, fd_count);
	uint64_t answer;
	int fd = -1;

	if (err || !acks)
		return err;
	err = answer_to(peer, request, &answer, sizeof(answer), &fd);
	close_fd(&fd);
	return err ? err : answer ? -EREMOTEIO : 0;
}

int peer_set_number(struct vhost_peer *peer, uint32_t request, uint64_t number)
{
	return say(peer, request, &number, sizeof(number), NULL, 0);
}

int peer_get_number(struct vhost_peer *peer, uint32_t request, uint64_t *number)
{
	int err = peer_send(peer, request, 0, NULL, 0, NULL, 0);
	int fd = -1;

	if (!err)
		err = answer_to(peer, request, number, sizeof(*number), &fd);
	close_fd(&fd);
	return err;
}

int peer_set_state(struct vhost_peer *peer, uint32_t request, uint32_t index,
		   uint32_t value)
{
	struct tm_vhost_vring_state state = { index, value };

	return say(peer, request, &state, sizeof(state), NULL, 0);
}

bool peer_is_dropped(struct vhost_peer *peer)
{
	uint8_t bytes[512];
	int fd = -1, got;

	do {
		got = peer_receive_some(peer, bytes, sizeof(bytes), &fd);
		close_fd(&fd);
	} while (got > 0);
	return got == -ECONNRESET;
}

bool peer_has_hung_up(struct vhost_peer *peer)
{
	char byte;

	return recv(peer->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0 ||
	       (errno != EAGAIN && errno != EINTR);
}

/* --- the steps of a set-up ----------------------------------------------- */

int peer_negotiate(struct vhost_peer *peer)
{
	uint64_t wanted = peer->protocol & KNOWN_PROTOCOL;
	int err = peer_get_number(peer, TM_VHOST_GET_FEATURES, &peer->offered);

	if (err)
		return err;
	peer->features &= peer->offered;
	peer->protocol = 0; /* no answers yet */
	if (peer->offered & BIT(TM_VIRTIO_F_PROTOCOL_FEATURES)) {
		err = peer_get_number(peer, TM_VHOST_GET_PROTOCOL_FEATURES,
				      &peer->protocol_offered);
		wanted &= peer->protocol_offered;
		if (!err)
			err = peer_set_number(
				peer, TM_VHOST_SET_PROTOCOL_FEATURES, wanted);
		peer->protocol = wanted;
	}
	if (!err)
		err = say(peer, TM_VHOST_SET_OWNER, NULL, 0, NULL, 0);
	return err ? err
		   : peer_set_number(peer, TM_VHOST_SET_FEATURES,
				     peer->features);
}

int peer_get_config(struct vhost_peer *peer,
		    struct tm_virtio_blk_config *config)
{
	/* No more than there is: some answer nothing else. */
	const uint32_t bytes =
		offsetof(struct tm_virtio_blk_config, zeroes_may_unmap) + 4;
	struct tm_vhost_config_space space = { .size_bytes = bytes };
	uint32_t size_bytes = TM_VHOST_CONFIG_HEADER + bytes;
	int fd = -1;
	int err = peer_send(peer, TM_VHOST_GET_CONFIG, 0, &space, size_bytes,
			    NULL, 0);

	if (!err)
		err = answer_to(peer, TM_VHOST_GET_CONFIG, &space, size_bytes,
				&fd);
	close_fd(&fd);
	memcpy(config, space.bytes, bytes);
	return err;
}

struct tm_vhost_region peer_region(const struct vhost_peer *peer)
{
	return (struct tm_vhost_region){
		.guest_address = PEER_GUEST,
		.size_bytes = PEER_MEMORY_BYTES,
		.user_address = (uintptr_t)peer->memory,
		.map_offset = 0,
	};
}

int peer_set_table(struct vhost_peer *peer,
		   const struct tm_vhost_region *regions, const int *fds,
		   uint32_t count)
{
	struct tm_vhost_mem_table table = { .count = count };

	memcpy(table.regions, regions, count * sizeof(*regions));
	return say(peer, TM_VHOST_SET_MEM_TABLE, &table,
		   (uint32_t)(8 + count * sizeof(*regions)), fds, count);
}

int peer_set_memory(struct vhost_peer *peer)
{
	struct tm_vhost_region region = peer_region(peer);

	return peer_set_table(peer, &region, &peer->memory_fd, 1);
}

int peer_set_inflight(struct vhost_peer *peer)
{
	struct tm_vhost_inflight asked = {
		.queues = (uint16_t)peer->queues,
		.queue_size = PEER_ENTRIES,
	};
	int err = 0;

	if (peer->inflight_fd < 0) {
		err = peer_send(peer, TM_VHOST_GET_INFLIGHT_FD, 0, &asked,
				sizeof(asked), NULL, 0);
		if (!err)
			err = answer_to(peer, TM_VHOST_GET_INFLIGHT_FD,
					&peer->inflight, sizeof(asked),
					&peer->inflight_fd);
	}
	return err ? err
		   : say(peer, TM_VHOST_SET_INFLIGHT_FD, &peer->inflight,
			 sizeof(peer->inflight), &peer->inflight_fd, 1);
}

struct tm_vhost_vring_addr peer_ring_address(const struct vhost_peer *peer,
					     uint32_t queue)
{
	uint64_t at = (uintptr_t)peer->memory + queue * PEER_QUEUE_BYTES;

	return (struct tm_vhost_vring_addr){
		.index = queue,
		.descriptors = at,
		.available = at + PEER_AVAILABLE,
		.used = at + PEER_USED,
	};
}

int peer_set_event(struct vhost_peer *peer, uint32_t request, uint32_t queue,
		   int fd)
{
	uint64_t number = queue;

	if (fd < 0)
		number |= TM_VHOST_VRING_NO_FD;
	return say(peer, request, &number, sizeof(number), &fd, fd >= 0);
}

int peer_start_queue(struct vhost_peer *peer, uint32_t queue)
{
	struct tm_vhost_vring_addr addr = peer_ring_address(peer, queue);
	int err = peer_set_state(peer, TM_VHOST_SET_VRING_NUM, queue,
				 PEER_ENTRIES);

	close_fd(&peer->queue[queue].kick_fd);
	close_fd(&peer->queue[queue].call_fd);
	peer->queue[queue].kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	peer->queue[queue].call_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (!err)
		err = peer_set_state(peer, TM_VHOST_SET_VRING_BASE, queue,
				     peer->queue[queue].base);
	if (!err)
		err = say(peer, TM_VHOST_SET_VRING_ADDR, &addr, sizeof(addr),
			  NULL, 0);
	if (!err)
		err = peer_set_event(peer, TM_VHOST_SET_VRING_CALL, queue,
				     peer->queue[queue].call_fd);
	if (!err)
		err = peer_set_event(peer, TM_VHOST_SET_VRING_KICK, queue,
				     peer->queue[queue].kick_fd);
	if (!err && (peer->features & BIT(TM_VIRTIO_F_PROTOCOL_FEATURES)))
		err = peer_set_state(peer, TM_VHOST_SET_VRING_ENABLE, queue, 1);
	return err;
}

int peer_stop_queue(struct vhost_peer *peer, uint32_t queue)
{
	struct tm_vhost_vring_state state = { queue, 0 };
	int fd = -1;
	int err = peer_send(peer, TM_VHOST_GET_VRING_BASE, 0, &state,
			    sizeof(state), NULL, 0);

	if (!err)
		err = answer_to(peer, TM_VHOST_GET_VRING_BASE, &state,
				sizeof(state), &fd);
	close_fd(&fd);
	return err ? err : (int)state.value;
}

int peer_setup(struct vhost_peer *peer, const char *path, uint32_t queues)
{
	struct tm_virtio_blk_config config = { .capacity_sectors = 0 };
	int err = peer_connect(peer, path);

	peer->queues = queues;
	peer->setups++;
	if (!err)
		err = peer_negotiate(peer);
	if (!err && (peer->protocol & BIT(TM_VHOST_PROTOCOL_CONFIG)))
		err = peer_get_config(peer, &config);
	peer->size_bytes = le64toh(config.capacity_sectors) * TM_VIRTIO_SECTOR;
	if (!err && peer->wants_inflight)
		err = peer_set_inflight(peer);
	if (!err)
		err = peer_set_memory(peer);
	for (uint32_t i = 0; i < queues && !err; i++)
		err = peer_start_queue(peer, i);
	return err;
}

/* --- rings --------------------------------------------------------------- */

uint64_t peer_guest(size_t offset)
{
	return PEER_GUEST + offset;
}

static void *ring(struct vhost_peer *peer, uint32_t queue, size_t offset)
{
	return peer->memory + queue * PEER_QUEUE_BYTES + offset;
}

void peer_describe(struct vhost_peer *peer, uint32_t queue, uint16_t index,
		   uint64_t address, uint32_t bytes, uint16_t flags,
		   uint16_t next)
{
	struct tm_virtio_descriptor *table = ring(peer, queue, 0);

	table[index] = (struct tm_virtio_descriptor){
		.address = htole64(address),
		.bytes = htole32(bytes),
		.flags = htole16(flags),
		.next = htole16(next),
	};
}

void peer_set_available(struct vhost_peer *peer, uint32_t queue, uint16_t index)
{
	_Atomic uint16_t *at =
		ring(peer, queue, PEER_AVAILABLE + TM_VIRTIO_RING_INDEX);

	peer->queue[queue].available = index;
	atomic_store(at, htole16(index));
}

void peer_offer(struct vhost_peer *peer, uint32_t queue, uint16_t head)
{
	uint16_t *entries =
		ring(peer, queue, PEER_AVAILABLE + TM_VIRTIO_RING_ENTRIES);
	uint16_t index = peer->queue[queue].available;

	entries[index % PEER_ENTRIES] = htole16(head);
	peer_set_available(peer, queue, (uint16_t)(index + 1));
}

uint16_t peer_used_index(struct vhost_peer *peer, uint32_t queue)
{
	_Atomic uint16_t *at =
		ring(peer, queue, PEER_USED + TM_VIRTIO_RING_INDEX);

	return le16toh(atomic_load(at));
}

struct tm_virtio_used peer_used(struct vhost_peer *peer, uint32_t queue,
				uint16_t index)
{
	struct tm_virtio_used *entries =
		ring(peer, queue, PEER_USED + TM_VIRTIO_RING_ENTRIES);
	struct tm_virtio_used used = entries[index % PEER_ENTRIES];

	return (struct tm_virtio_used){ le32toh(used.id), le32toh(used.bytes) };
}

void peer_kick(struct vhost_peer *peer, uint32_t queue)
{
	const uint64_t one = 1;

	/* Full: it has been kicked often enough. */
	if (write(peer->queue[queue].kick_fd, &one, sizeof(one)) < 0)
		return;
}

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int peer_wait_used(struct vhost_peer *peer, uint32_t queue, uint16_t index,
		   int wait_ms)
{
	int64_t until_ms = now_ms() + wait_ms;
	_Atomic uint16_t *used_event = ring(
		peer, queue,
		PEER_AVAILABLE + TM_VIRTIO_RING_ENTRIES + 2 * PEER_ENTRIES);
	uint64_t value;

	/* Called when that one is there, and not before. */
	atomic_store(used_event, htole16((uint16_t)(index - 1)));
	while (peer_used_index(peer, queue) != index) {
		struct pollfd polled = {
			.fd = peer->queue[queue].call_fd,
			.events = POLLIN,
		};
		int64_t left_ms = until_ms - now_ms();

		/* It may have come while we stood still. */
		if (left_ms <= 0)
			return peer_used_index(peer, queue) == index ?
				       0 :
				       -ETIMEDOUT;
		if (poll(&polled, 1, (int)left_ms) > 0 &&
		    read(polled.fd, &value, sizeof(value)) < 0)
			return -EIO;
	}
	return 0;
}

/* --- requests ------------------------------------------------------------ */

static size_t slot_at(uint32_t slot, size_t offset)
{
	return PEER_SCRATCH + slot * SLOT_BYTES + offset;
}

void *peer_slot_data(struct vhost_peer *peer, uint32_t slot)
{
	return peer->memory + slot_at(slot, SLOT_DATA);
}

uint8_t peer_slot_status(struct vhost_peer *peer, uint32_t slot)
{
	return peer->memory[slot_at(slot, SLOT_STATUS)];
}

static bool is_read(uint32_t type)
{
	return type == TM_VIRTIO_BLK_IN || type == TM_VIRTIO_BLK_GET_ID;
}

void peer_build(struct vhost_peer *peer, uint32_t queue, uint16_t head,
		uint32_t slot, uint32_t type, uint64_t sector, uint32_t bytes)
{
	struct tm_virtio_blk_header header = {
		.type = htole32(type),
		.sector = htole64(sector),
	};
	uint16_t data = (uint16_t)(head + 1), status = (uint16_t)(head + 2);

	memcpy(peer->memory + slot_at(slot, 0), &header, sizeof(header));
	peer->memory[slot_at(slot, SLOT_STATUS)] = 0xff;
	peer_describe(peer, queue, head, peer_guest(slot_at(slot, 0)),
		      sizeof(header), TM_VIRTIO_NEXT, bytes ? data : status);
	peer_describe(
		peer, queue, data, peer_guest(slot_at(slot, SLOT_DATA)), bytes,
		TM_VIRTIO_NEXT | (is_read(type) ? TM_VIRTIO_WRITE : 0), status);
	peer_describe(peer, queue, status,
		      peer_guest(slot_at(slot, SLOT_STATUS)), 1,
		      TM_VIRTIO_WRITE, 0);
}

int peer_request(struct vhost_peer *peer, uint32_t queue, uint32_t type,
		 uint64_t sector, void *data, uint32_t bytes)
{
	int err;

	if (!is_read(type) && bytes)
		memcpy(peer_slot_data(peer, queue), data, bytes);
	peer_build(peer, queue, 0, queue, type, sector, bytes);
	peer_offer(peer, queue, 0);
	peer_kick(peer, queue);
	err = peer_wait_used(peer, queue, peer->queue[queue].available,
			     PEER_WAIT_MS);
	if (err)
		return err;
	if (is_read(type) && bytes)
		memcpy(data, peer_slot_data(peer, queue), bytes);
	return peer_slot_status(peer, queue);
}

int peer_probe(const char *path)
{
	struct vhost_peer peer;
	uint8_t block[4096];
	int err;

	peer_init(&peer);
	err = peer_setup(&peer, path, 1);
	if (!err)
		err = peer_request(&peer, 0, TM_VIRTIO_BLK_IN, 0, block,
				   sizeof(block));
	if (err > 0)
		err = -EIO;
	peer_close(&peer);
	return err;
}
