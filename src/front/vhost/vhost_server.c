/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A door's own thread: lets a front end in, reads its messages, answers them.
 *
 * The problem: a front end can send half a message and wait, or never read an
 * answer, or send descriptors with what has none. The idea: nothing waits for a
 * peer. A message is put together from what there is to read, never more than
 * what is left of it, so that descriptors belong to the message they came with;
 * an answer that does not fit into the socket at once ends the connection,
 * since a front end that asks reads; a descriptor of a kind that nobody wants
 * is closed by somebody else (vhost_descriptor.c).
 *
 * One front end at a time. A second one finds the door closed; but one that has
 * hung up is noticed before the next is looked at, so that a front end that
 * comes back at once gets in.
 *
 * Everything is done by this thread; what others see is atomic.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <tmem/xen.h>

#include "disk.h"
#include "vhost_descriptor.h"
#include "vhost_device.h"

#define QUEUES_DEFAULT 16
#define THREADS_MAX 4
#define POLL_US_DEFAULT 50
#define SHORT_MS 100 /* of descriptors: until accept() is tried again */

/* What has been read of a message. */
struct arriving {
	size_t bytes;
	size_t fd_count;
	/* The one read too many included. */
	int fds[2 * TM_VHOST_FDS_MAX];
	bool has_strangers; /* among them */
	struct tm_vhost_header header;
	uint8_t payload[TM_VHOST_PAYLOAD_MAX];
};

struct tm_vhost {
	/* set at creation, then constant */
	struct tm_vhost_device device;
	int listen_fd;
	int wake_fd;
	pthread_t thread;
	/* the thread's */
	int fd; /* -1: nobody is connected */
	struct arriving arriving;
	struct tm_vhost_strangers *strangers; /* being closed; or NULL */
	bool is_short_of_descriptors;
	bool is_given; /* a successor has the front end */
	/* for others to see */
	_Atomic bool is_closing;
	_Atomic bool is_connected;
	_Atomic uint64_t connections;
	_Atomic uint64_t dropped;
};

/* --- a message arrives --------------------------------------------------- */

static void forget_message(struct tm_vhost *door)
{
	struct arriving *arriving = &door->arriving;

	if (arriving->has_strangers) {
		tm_vhost_strangers_forget(door->strangers);
		door->strangers = tm_vhost_strangers_close(arriving->fds,
							   arriving->fd_count);
	} else {
		for (size_t i = 0; i < arriving->fd_count; i++)
			if (arriving->fds[i] >= 0)
				close(arriving->fds[i]);
	}
	arriving->bytes = arriving->fd_count = 0;
	arriving->has_strangers = false;
}

/* Takes the descriptors that came, while they are no more than a message has
 * and all are of a kind that we know. */
static int take_descriptors(struct arriving *arriving, struct msghdr *msg)
{
	int err = msg->msg_flags & MSG_CTRUNC ? -EPROTO : 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c;
	     c = CMSG_NXTHDR(msg, c)) {
		size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < count; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(fd), sizeof(fd));
			arriving->fds[arriving->fd_count++] = fd;
			if (!tm_vhost_is_memory(fd) && !tm_vhost_is_eventfd(fd))
				arriving->has_strangers = true;
		}
	}
	return arriving->fd_count > TM_VHOST_FDS_MAX || arriving->has_strangers
		       ? -EPROTO
		       : err;
}

/* Reads on. > 0: so many bytes; -EAGAIN; -ECONNRESET; -EPROTO. */
static int read_some(struct tm_vhost *door, void *to, size_t bytes)
{
	union {
		char bytes[CMSG_SPACE(TM_VHOST_FDS_MAX * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = { .iov_base = to, .iov_len = bytes };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	ssize_t got;

	do {
		got = recvmsg(door->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	} while (got < 0 && errno == EINTR);
	if (got < 0)
		return errno == EAGAIN ? -EAGAIN : -ECONNRESET;
	if (take_descriptors(&door->arriving, &msg))
		return -EPROTO;
	return got ? (int)got : -ECONNRESET;
}

/* 1: a whole message; 0: not yet; or why there is none to come. */
static int read_message(struct tm_vhost *door)
{
	struct arriving *arriving = &door->arriving;
	const size_t header_bytes = sizeof(arriving->header);

	for (;;) {
		size_t whole = header_bytes;
		char *to = (char *)&arriving->header + arriving->bytes;
		int got;

		if (arriving->bytes >= header_bytes) {
			if (tm_vhost_header_check(&arriving->header))
				return -EPROTO;
			whole += arriving->header.size_bytes;
			to = (char *)arriving->payload +
			     (arriving->bytes - header_bytes);
		}
		if (arriving->bytes == whole && arriving->bytes >= header_bytes)
			return 1;
		got = read_some(door, to, whole - arriving->bytes);
		if (got < 0)
			return got == -EAGAIN ? 0 : got;
		arriving->bytes += (size_t)got;
	}
}

/* --- and is answered ----------------------------------------------------- */

static int send_reply(struct tm_vhost *door, uint32_t request,
		      struct tm_vhost_reply *reply)
{
	struct tm_vhost_header header = {
		.request = request,
		.flags = TM_VHOST_VERSION | TM_VHOST_IS_REPLY,
		.size_bytes = reply->size_bytes,
	};
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov[] = {
		{ .iov_base = &header, .iov_len = sizeof(header) },
		{ .iov_base = &reply->u, .iov_len = reply->size_bytes },
	};
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };
	ssize_t sent;

	if (reply->fd >= 0) {
		memset(&control, 0, sizeof(control));
		msg.msg_control = &control;
		msg.msg_controllen = sizeof(control);
		CMSG_FIRSTHDR(&msg)->cmsg_level = SOL_SOCKET;
		CMSG_FIRSTHDR(&msg)->cmsg_type = SCM_RIGHTS;
		CMSG_FIRSTHDR(&msg)->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(CMSG_FIRSTHDR(&msg)), &reply->fd, sizeof(int));
	}
	do {
		sent = sendmsg(door->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
	} while (sent < 0 && errno == EINTR);
	if (reply->fd >= 0)
		close(reply->fd);
	return sent == (ssize_t)(sizeof(header) + reply->size_bytes)
		       ? 0
		       : -ECONNRESET;
}

static void drop(struct tm_vhost *door, const char *why)
{
	struct tm_vhost_device *device = &door->device;

	if (why) {
		atomic_fetch_add(&door->dropped, 1);
		tm_vhost_say(device, TMEM_LOG_WARNING,
			     "front end dropped: %s (request %u)", why,
			     door->arriving.header.request);
	} else {
		tm_vhost_say(device, TMEM_LOG_INFO, "front end is gone");
	}
	forget_message(door);
	/* Its requests are finished before it can know that we are gone. */
	tm_vhost_device_reset(device);
	close(door->fd);
	door->fd = -1;
	atomic_store(&door->is_connected, false);
}

static void serve_message(struct tm_vhost *door)
{
	struct arriving *arriving = &door->arriving;
	struct tm_vhost_message message;
	struct tm_vhost_reply reply;
	const char *why;
	int err;

	err = tm_vhost_message_parse(&arriving->header, arriving->payload,
				     arriving->fd_count, &message, &why);
	if (!err)
		err = tm_vhost_device_act(&door->device, &message,
					  arriving->fds, &reply, &why);
	if (err) {
		drop(door, why);
		return;
	}
	forget_message(door);
	if (reply.is_due && send_reply(door, message.request, &reply))
		drop(door, "it does not read its answers");
}

static void read_on(struct tm_vhost *door)
{
	int got = read_message(door);

	if (got > 0)
		serve_message(door);
	else if (got == -EPROTO)
		drop(door, door->arriving.has_strangers
				   ? "a descriptor that is neither an eventfd "
				     "nor memory of tmpfs, memfd or hugetlbfs"
				   : "a message that is none");
	else if (got < 0)
		drop(door, NULL);
}

/* --- the thread ---------------------------------------------------------- */

static void let_in(struct tm_vhost *door)
{
	int fd = accept4(door->listen_fd, NULL, NULL,
			 SOCK_CLOEXEC | SOCK_NONBLOCK);

	door->is_short_of_descriptors =
		fd < 0 && (errno == EMFILE || errno == ENFILE ||
			   errno == ENOBUFS || errno == ENOMEM);
	if (fd < 0)
		return;
	if (door->fd >= 0 || !tm_vhost_strangers_are_gone(door->strangers)) {
		tm_vhost_say(&door->device, TMEM_LOG_WARNING,
			     door->fd >= 0
				     ? "a second front end was turned away"
				     : "a front end was turned away: what the "
				       "last one sent is not closed yet");
		close(fd);
		return;
	}
	door->fd = fd;
	atomic_fetch_add(&door->connections, 1);
	atomic_store(&door->is_connected, true);
	tm_vhost_say(&door->device, TMEM_LOG_INFO, "front end connected");
}

static void look_round(struct tm_vhost *door)
{
	struct pollfd polled[] = {
		{ .fd = door->wake_fd, .events = POLLIN },
		{ .fd = door->fd, .events = POLLIN },
		{ .fd = door->is_short_of_descriptors ? -1 : door->listen_fd,
		  .events = POLLIN },
	};

	if (poll(polled, 3, door->is_short_of_descriptors ? SHORT_MS : -1) < 0)
		return;
	/* Who hung up to come again may have done both between two looks. */
	if (polled[2].revents && !polled[1].revents && poll(polled, 2, 0) < 0)
		return;
	door->is_short_of_descriptors = false;
	if (polled[1].revents)
		read_on(door);
	else if (polled[2].revents)
		let_in(door);
}

static void *run(void *opaque)
{
	struct tm_vhost *door = opaque;

	while (!atomic_load(&door->is_closing))
		look_round(door);
	return NULL;
}

/* --- the door ------------------------------------------------------------ */

static uint32_t worker_count(uint32_t threads, uint32_t queues)
{
	long processors = sysconf(_SC_NPROCESSORS_ONLN);

	if (!threads)
		threads = processors < 1             ? 1
			  : processors < THREADS_MAX ? (uint32_t)processors
						     : THREADS_MAX;
	return threads < queues ? threads : queues;
}

static void set_device(struct tm_vhost_device *device,
		       const struct tm_vhost_config *config)
{
	uint32_t queues = config->queues ? config->queues : QUEUES_DEFAULT;

	device->blk = (struct tm_vhost_blk){
		.disk = config->disk,
		.size_bytes = tm_disk_size_bytes(config->disk),
		.block_bytes = config->block_bytes,
		.queues = (uint16_t)queues,
		.is_readonly = config->is_readonly,
	};
	/* A whole name of 20 bytes has no zero after it. */
	memcpy(device->blk.id, config->name,
	       strnlen(config->name, sizeof(device->blk.id)));
	snprintf(device->name, sizeof(device->name), "%s", config->name);
	device->poll_ns = UINT64_C(1000) *
			  (config->poll_us ? config->poll_us : POLL_US_DEFAULT);
	device->worker_count = worker_count(config->threads, queues);
	device->log = config->log;
	device->log_opaque = config->log_opaque;
	for (uint32_t i = 0; i < TM_VHOST_QUEUES_MAX; i++) {
		struct tm_vhost_ring *ring = &device->rings[i];

		ring->queue.number = i;
		ring->kick_fd = ring->call_fd = ring->error_fd = -1;
	}
}

static int check(const struct tm_vhost_config *config)
{
	uint64_t size_bytes = tm_disk_size_bytes(config->disk);

	if ((config->block_bytes != TM_VIRTIO_SECTOR &&
	     config->block_bytes != TM_BLOCK_SIZE) ||
	    !size_bytes || size_bytes % config->block_bytes ||
	    config->queues > TM_VHOST_QUEUES_MAX)
		return -EINVAL;
	return 0;
}

static void stop_workers(struct tm_vhost_device *device)
{
	for (uint32_t i = 0; device->workers && i < device->worker_count; i++)
		tm_vhost_worker_stop(device->workers[i]);
	free(device->workers);
}

/* Before anybody looks. What cannot be gone on with is hung up on. */
static void take_given(struct tm_vhost *door, struct tm_vhost_given *given)
{
	int err;

	if (!given || !given->fd_count)
		return;
	door->fd = given->fds[0];
	given->fds[0] = -1;
	atomic_store(&door->is_connected, true);
	atomic_fetch_add(&door->connections, 1);
	err = tm_vhost_device_take(&door->device, given);
	tm_vhost_say(&door->device, err ? TMEM_LOG_WARNING : TMEM_LOG_INFO,
		     err ? "front end must connect again: %s"
			 : "goes on with its front end%s",
		     err ? strerror(-err) : "");
	if (err)
		shutdown(door->fd, SHUT_RDWR);
}

static int start_threads(struct tm_vhost *door)
{
	struct tm_vhost_device *device = &door->device;
	int err = 0;

	device->workers =
		calloc(device->worker_count, sizeof(*device->workers));
	if (!device->workers)
		return -ENOMEM;
	for (uint32_t i = 0; i < device->worker_count && !err; i++)
		err = tm_vhost_worker_start(device, i);
	return err ? err : tm_vhost_thread(&door->thread, run, door);
}

int tm_vhost_open(const struct tm_vhost_config *config, struct tm_vhost **out)
{
	struct tm_vhost *door;
	int flags = fcntl(config->listen_fd, F_GETFL);
	int err = check(config);

	if (err)
		return err;
	/* Memory that goes away while it is copied must not end us. */
	err = tmem_guest_memory_catch_faults();
	if (err)
		return err;
	if (flags < 0 ||
	    fcntl(config->listen_fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return -errno;
	door = calloc(1, sizeof(*door));
	if (!door)
		return -ENOMEM;
	set_device(&door->device, config);
	door->fd = -1;
	door->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	err = door->wake_fd < 0 ? -errno : 0;
	door->listen_fd = config->listen_fd;
	take_given(door, config->given);
	if (!err)
		err = start_threads(door);
	if (err) {
		stop_workers(&door->device);
		/* What was taken; nobody is there to be parked. */
		door->device.worker_count = 0;
		tm_vhost_device_reset(&door->device);
		if (door->fd >= 0)
			close(door->fd);
		if (door->wake_fd >= 0)
			close(door->wake_fd);
		free(door);
		return err;
	}
	*out = door;
	return 0;
}

static void stop_thread(struct tm_vhost *door)
{
	const uint64_t one = 1;

	if (atomic_exchange(&door->is_closing, true))
		return;
	while (write(door->wake_fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
	pthread_join(door->thread, NULL);
}

int tm_vhost_give(struct tm_vhost *door, struct tm_vhost_given *given)
{
	int err;

	stop_thread(door);
	given->fd_count = 0;
	if (door->fd < 0 || door->arriving.bytes)
		return -ENOTCONN;
	given->fds[given->fd_count++] = door->fd;
	err = tm_vhost_device_give(&door->device, given);
	door->is_given = !err;
	return err;
}

void tm_vhost_close(struct tm_vhost *door)
{
	if (!door)
		return;
	stop_thread(door);
	if (door->fd >= 0 && !door->is_given)
		drop(door, NULL);
	if (door->fd >= 0) {
		tm_vhost_device_reset(&door->device);
		close(door->fd);
	}
	stop_workers(&door->device);
	close(door->listen_fd);
	close(door->wake_fd);
	tm_vhost_strangers_forget(door->strangers);
	free(door);
}

static uint64_t sum(const struct tm_vhost_device *device, size_t offset)
{
	uint64_t total = 0;

	for (uint32_t i = 0; i < device->worker_count; i++)
		total += atomic_load_explicit(
			(const _Atomic uint64_t
				 *)(const void *)((const char *)&device
							  ->workers[i]
							  ->counts +
						  offset),
			memory_order_relaxed);
	return total;
}

void tm_vhost_get_info(const struct tm_vhost *door, struct tm_vhost_info *info)
{
	const struct tm_vhost_device *device = &door->device;

	*info = (struct tm_vhost_info){
		.is_connected = atomic_load(&door->is_connected),
		.connections = atomic_load(&door->connections),
		.dropped = atomic_load(&door->dropped),
		.requests = sum(device,
				offsetof(struct tm_vhost_blk_counts, requests)),
		.read_bytes = sum(device, offsetof(struct tm_vhost_blk_counts,
						   read_bytes)),
		.written_bytes =
			sum(device, offsetof(struct tm_vhost_blk_counts,
					     written_bytes)),
		.errors = sum(device,
			      offsetof(struct tm_vhost_blk_counts, errors)),
	};
	for (uint32_t i = 0; i < device->blk.queues; i++)
		info->is_broken |= atomic_load(&device->rings[i].is_broken);
}
