/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A peer of a ring server that says and writes whatever a test wants.
 *
 * Every step is a function, and all it uses is ring_abi.h: what the library's
 * own client would never do is done here.
 */
#ifndef TM_RAW_PEER_H
#define TM_RAW_PEER_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <tmem/tmem.h>

#include "doorbell.h"
#include "ring_abi.h"

#define RAW_PAGES 16
#define RAW_ENTRIES 4

struct raw_peer {
	int fd;
	int memory_fd;
	int rings_fd;
	uint8_t *memory;
	uint8_t *rings;
	struct tm_ring_hello hello;
	struct tm_ring_welcome welcome;
	uint32_t submitted;	/* of ring 0 */
};

static inline void raw_init(struct raw_peer *peer, const char *name)
{
	memset(peer, 0, sizeof(*peer));
	peer->fd = peer->rings_fd = -1;
	peer->memory_fd = memfd_create("raw", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (ftruncate(peer->memory_fd, RAW_PAGES * TMEM_PAGE_SIZE))
		peer->memory_fd = -1;
	peer->memory = mmap(NULL, RAW_PAGES * TMEM_PAGE_SIZE,
			    PROT_READ | PROT_WRITE, MAP_SHARED, peer->memory_fd,
			    0);
	peer->hello = (struct tm_ring_hello){
		.magic = TM_RING_MAGIC,
		.version = TM_RING_VERSION,
		.memory_bytes = RAW_PAGES * TMEM_PAGE_SIZE,
		.rings = 1,
		.entries = RAW_ENTRIES,
	};
	strncpy(peer->hello.name, name, sizeof(peer->hello.name) - 1);
}

/* 0 or a negative errno; waits while the queue is full. */
static inline int raw_connect(struct raw_peer *peer, const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	strcpy(address.sun_path, path);
	peer->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	while (connect(peer->fd, (struct sockaddr *)&address,
		       sizeof(address)))
		if (errno != EINTR)
			return -errno;
	return 0;
}

/* @bytes of a hello, with @count times the descriptor @passed. */
static inline int raw_say(struct raw_peer *peer, const void *bytes, size_t size,
			  int passed, int count)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(16 * sizeof(int))];
	} control = { .bytes = { 0 } };
	struct iovec iov = { (void *)(uintptr_t)bytes, size };
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (count) {
		message.msg_control = &control;
		message.msg_controllen =
			CMSG_SPACE((size_t)count * sizeof(int));
		control.align.cmsg_level = SOL_SOCKET;
		control.align.cmsg_type = SCM_RIGHTS;
		control.align.cmsg_len = CMSG_LEN((size_t)count * sizeof(int));
		for (int i = 0; i < count; i++)
			memcpy(CMSG_DATA(&control.align) + (size_t)i * 4,
			       &passed, sizeof(int));
	}
	return sendmsg(peer->fd, &message, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

/* Is something to be read (or over) within @ms? */
static inline bool raw_hears(struct raw_peer *peer, int ms)
{
	struct pollfd polled = { .fd = peer->fd, .events = POLLIN | POLLRDHUP };
	int ready;

	/* A fuzzer has its timers. */
	do
		ready = poll(&polled, 1, ms);
	while (ready < 0 && errno == EINTR);
	return ready > 0;
}

/* Has the server hung up within @ms? */
static inline bool raw_is_dropped(struct raw_peer *peer, int ms)
{
	struct pollfd polled = { .fd = peer->fd, .events = POLLRDHUP };

	return poll(&polled, 1, ms) > 0;
}

/* The status of the welcome, or -ECONNRESET: there was none. */
static inline int raw_listen(struct raw_peer *peer)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov = { &peer->welcome, sizeof(peer->welcome) };
	struct msghdr message = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	struct cmsghdr *c;
	void *at;

	if (!raw_hears(peer, 60000))
		return -ETIMEDOUT;
	if (recvmsg(peer->fd, &message, MSG_CMSG_CLOEXEC) !=
	    sizeof(peer->welcome))
		return -ECONNRESET;
	c = CMSG_FIRSTHDR(&message);
	if (c)
		memcpy(&peer->rings_fd, CMSG_DATA(c), sizeof(int));
	if (peer->welcome.status)
		return peer->welcome.status;
	at = mmap(NULL, peer->welcome.ring_bytes * peer->welcome.rings,
		  PROT_READ | PROT_WRITE, MAP_SHARED, peer->rings_fd, 0);
	if (at == MAP_FAILED)
		return -errno;
	peer->rings = at;
	return 0;
}

static inline int raw_attach(struct raw_peer *peer, const char *path)
{
	int err = raw_connect(peer, path);

	if (!err)
		err = raw_say(peer, &peer->hello, sizeof(peer->hello),
			      peer->memory_fd, 1);
	return err ? err : raw_listen(peer);
}

static inline void raw_close(struct raw_peer *peer)
{
	if (peer->rings)
		munmap(peer->rings,
		       peer->welcome.ring_bytes * peer->welcome.rings);
	munmap(peer->memory, RAW_PAGES * TMEM_PAGE_SIZE);
	if (peer->rings_fd >= 0)
		close(peer->rings_fd);
	close(peer->memory_fd);
	if (peer->fd >= 0)
		close(peer->fd);
}

static inline struct tm_ring_head *raw_head(struct raw_peer *peer)
{
	return (struct tm_ring_head *)peer->rings;
}

static inline struct tm_ring_completion *raw_completion(struct raw_peer *peer,
							 uint32_t count)
{
	return (struct tm_ring_completion
			*)(peer->rings +
			   tm_ring_completions_at(peer->hello.entries)) +
	       count % peer->hello.entries;
}

/* Says that there are @count submissions. */
static inline void raw_count(struct raw_peer *peer, uint32_t count)
{
	struct tm_ring_head *head = raw_head(peer);

	atomic_store(&head->submitted.count, count);
	/* Whatever is left of the flag: it may have been overwritten. */
	syscall(SYS_futex, &head->submitted.count, FUTEX_WAKE, 1, NULL, NULL,
		0);
}

static inline void raw_submit(struct raw_peer *peer,
			      const struct tm_ring_op *op, uint32_t flags)
{
	struct tm_ring_submission *s =
		(struct tm_ring_submission *)(peer->rings +
					      tm_ring_submissions_at()) +
		peer->submitted % peer->hello.entries;

	s->op = *op;
	s->flags = flags;
	s->sequence = peer->submitted;
	raw_count(peer, ++peer->submitted);
}

/* The counter of the server reaches ours within @ms. */
static inline bool raw_is_answered(struct raw_peer *peer, int ms)
{
	struct tm_ring_head *head = raw_head(peer);

	for (int i = 0; i < ms * 10; i++) {
		if (atomic_load(&head->completed.count) == peer->submitted)
			return true;
		usleep(100);
	}
	return false;
}

/* INT32_MIN: no answer. */
static inline int raw_call(struct raw_peer *peer, const struct tm_ring_op *op,
			   uint32_t flags)
{
	raw_submit(peer, op, flags);
	if (!raw_is_answered(peer, 60000))
		return INT32_MIN;
	return raw_completion(peer, peer->submitted - 1)->result;
}

static inline struct tm_ring_op raw_op(uint32_t command, int32_t pool,
				       uint32_t index, uint64_t frame)
{
	return (struct tm_ring_op){
		.command = command,
		.pool = pool,
		.page = { .oid = { 7, 8, 9 }, .index = index },
		.frame = frame,
	};
}

static inline int raw_pool(struct raw_peer *peer, uint32_t flags, uint64_t call)
{
	const struct tm_ring_op op = {
		.command = TM_RING_NEW_POOL,
		.create = { .flags = flags | TM_RING_POOL_VERSION },
		.call = call,
	};

	return raw_call(peer, &op, 0);
}

#endif
