/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a peer is made of: its greeting, the two memories, the threads.
 *
 * Its memory must be a file that can have seals, which only memory has: another
 * kind could make us wait for whoever provides it (FUSE). How large it is can
 * change at any time all the same; see ring_op.c.
 *
 * The rings are ours, sealed against growing and shrinking before the peer
 * sees them, so that touching them is always safe. Holes it may punch: they
 * read as zeros, which are as good as anything else a peer may write there.
 *
 * Nothing here waits: the socket is asked for what is there, and our answer is
 * the first that is sent over it, so that there is room.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "channel.h"
#include "guest_memory.h"

/* Enough for what codecs put on a stack, and little where stacks are locked. */
#define STACK_BYTES (512u << 10)
#define DESCRIPTORS_MAX 8

struct tm_channel *tm_channel_new(struct tm_ring_server *server, int fd,
				  const char *listener_name)
{
	struct tm_channel *channel = calloc(1, sizeof(*channel));

	if (!channel)
		return NULL;
	channel->server = server;
	channel->fd = fd;
	snprintf(channel->listener_name, sizeof(channel->listener_name), "%s",
		 listener_name);
	channel->memory_fd = -1;
	channel->rings_fd = -1;
	tm_lock_init(&channel->calls, TM_RANK_CHANNEL);
	for (unsigned i = 0; i < TM_CHANNEL_PAGE_LOCKS; i++)
		tm_lock_init(&channel->pages[i], TM_RANK_CHANNEL_PAGE);
	return channel;
}

void tm_channel_free(struct tm_channel *channel)
{
	if (channel->rings_at)
		munmap(channel->rings_at,
		       channel->ring_bytes * channel->ring_count);
	tmem_guest_memory_destroy(channel->memory);
	if (channel->memory_at)
		munmap(channel->memory_at, channel->mapped_bytes);
	if (channel->rings_fd >= 0)
		close(channel->rings_fd);
	if (channel->memory_fd >= 0)
		close(channel->memory_fd);
	close(channel->fd);
	free(channel->record);
	free(channel->rings);
	free(channel);
}

void tm_channel_break(struct tm_channel *channel, const char *what)
{
	const char *nothing = NULL;

	if (atomic_compare_exchange_strong(&channel->broken, &nothing, what))
		tm_ring_server_wake(channel->server);
}

/* --- the greeting ----------------------------------------------------------- */

/* Keeps the first descriptor of a message, closes what else came. */
static void take_descriptors(struct tm_channel *channel, struct msghdr *message)
{
	struct cmsghdr *c;

	for (c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
		size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		int fds[DESCRIPTORS_MAX];

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		if (count > DESCRIPTORS_MAX)
			count = DESCRIPTORS_MAX;
		memcpy(fds, CMSG_DATA(c), count * sizeof(int));
		for (size_t i = 0; i < count; i++) {
			if (channel->memory_fd < 0)
				channel->memory_fd = fds[i];
			else
				close(fds[i]);
		}
	}
}

static bool is_name(const char name[TM_RING_NAME_BYTES])
{
	size_t length = strnlen(name, TM_RING_NAME_BYTES);

	for (size_t i = 0; i < length; i++)
		if ((unsigned char)name[i] < 0x20 || name[i] == 0x7f)
			return false;
	return length < TM_RING_NAME_BYTES;
}

static int check_hello(const struct tm_ring_hello *hello)
{
	if (hello->magic != TM_RING_MAGIC)
		return -EBADMSG;
	if (hello->version != TM_RING_VERSION || hello->flags)
		return -EPROTONOSUPPORT;
	if (!is_name(hello->name))
		return -EINVAL;
	if (!hello->rings || hello->rings > TM_RING_RINGS_MAX)
		return -EINVAL;
	if (!hello->entries || hello->entries > TM_RING_ENTRIES_MAX ||
	    (hello->entries & (hello->entries - 1)))
		return -EINVAL;
	if (!hello->memory_bytes || hello->memory_bytes % TMEM_PAGE_SIZE ||
	    hello->memory_bytes > (uint64_t)INT64_MAX)
		return -EINVAL;
	return 0;
}

static int check_memory(struct tm_channel *channel)
{
	struct stat st;
	int flags;

	if (channel->memory_fd < 0)
		return -EBADF;
	flags = fcntl(channel->memory_fd, F_GETFL);
	if (flags < 0 || (flags & O_ACCMODE) != O_RDWR)
		return -EACCES;
	if (fcntl(channel->memory_fd, F_GET_SEALS) < 0)
		return -EINVAL;
	if (fstat(channel->memory_fd, &st) < 0 || st.st_size < 0 ||
	    (uint64_t)st.st_size < channel->hello.memory_bytes)
		return -EINVAL;
	return 0;
}

int tm_channel_read_hello(struct tm_channel *channel)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(DESCRIPTORS_MAX * sizeof(int))];
	} control;
	struct iovec iov = { &channel->hello, sizeof(channel->hello) };
	struct msghdr message = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	ssize_t bytes;
	int err;

	bytes = recvmsg(channel->fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (bytes < 0)
		return errno == EINTR ? -EAGAIN : -errno;
	take_descriptors(channel, &message);
	if (bytes == 0)
		return -ECONNRESET;
	if ((size_t)bytes != sizeof(channel->hello) ||
	    message.msg_flags & MSG_TRUNC)
		return -EBADMSG;
	err = check_hello(&channel->hello);
	return err ? err : check_memory(channel);
}

int tm_channel_welcome(struct tm_channel *channel, int status,
		       const uint64_t host[2])
{
	struct tmem_client_info info = { .struct_size = sizeof(info) };
	struct tm_ring_welcome welcome = {
		.magic = TM_RING_MAGIC,
		.version = TM_RING_VERSION,
		.status = status,
		.host = { host[0], host[1] },
	};
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = { .bytes = { 0 } };
	struct iovec iov = { &welcome, sizeof(welcome) };
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (!status) {
		tmem_client_get_info(channel->attachment.client, &info);
		welcome.call = info.call;
		welcome.ring_bytes = channel->ring_bytes;
		welcome.rings = channel->ring_count;
		welcome.entries = channel->entries;
		message.msg_control = &control;
		message.msg_controllen = sizeof(control);
		control.align.cmsg_level = SOL_SOCKET;
		control.align.cmsg_type = SCM_RIGHTS;
		control.align.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&control.align), &channel->rings_fd,
		       sizeof(int));
	}
	if (sendmsg(channel->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		return -errno;
	return 0;
}

/* --- its memory --------------------------------------------------------------- */

int tm_channel_map_memory(struct tm_channel *channel)
{
	uint64_t bytes = channel->hello.memory_bytes, align_bytes;
	size_t mapped_bytes;
	struct stat st;
	void *at;
	int err;

	if (fstat(channel->memory_fd, &st) < 0)
		return -errno;
	align_bytes = tm_guest_memory_align_bytes(&st);
	bytes = (bytes + align_bytes - 1) / align_bytes * align_bytes;
	mapped_bytes = (size_t)bytes;
	if (mapped_bytes != bytes)
		return -EFBIG;
	at = mmap(NULL, mapped_bytes, PROT_READ | PROT_WRITE,
		  MAP_SHARED | MAP_NORESERVE, channel->memory_fd, 0);
	if (at == MAP_FAILED)
		return -ENOMEM;
	channel->memory_at = at;
	channel->mapped_bytes = mapped_bytes;
	/* What it is put for is not for a dump to show, nor for a child. */
	madvise(at, mapped_bytes, MADV_DONTDUMP);
	madvise(at, mapped_bytes, MADV_DONTFORK);
	err = tmem_guest_memory_create(&channel->memory);
	if (!err)
		err = tmem_guest_memory_add(
			channel->memory, 0,
			channel->hello.memory_bytes / TMEM_PAGE_SIZE, at, true);
	if (!err)
		tmem_xen_domain_set_memory(channel->attachment.domain,
					   channel->memory);
	return err;
}

void tm_channel_unmap_memory(struct tm_channel *channel)
{
	tmem_xen_domain_set_memory(channel->attachment.domain, NULL);
}

/* --- rings ------------------------------------------------------------------ */

static int make_rings_memory(struct tm_channel *channel)
{
	size_t bytes = channel->ring_bytes * channel->ring_count;

	channel->rings_fd = memfd_create("tmem-rings",
					 MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (channel->rings_fd < 0 ||
	    ftruncate(channel->rings_fd, (off_t)bytes) < 0 ||
	    fcntl(channel->rings_fd, F_ADD_SEALS,
		  F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		return -errno;
	return 0;
}

static void place_ring(struct tm_channel *channel, uint32_t number)
{
	uint8_t *at = channel->rings_at + number * channel->ring_bytes;
	struct tm_ring *ring = &channel->rings[number];

	ring->channel = channel;
	ring->head = (struct tm_ring_head *)at;
	ring->submissions =
		(const struct tm_ring_submission *)(at +
						    tm_ring_submissions_at());
	ring->completions =
		(struct tm_ring_completion *)(at +
					      tm_ring_completions_at(
						      channel->entries));
}

int tm_channel_map_rings(struct tm_channel *channel)
{
	size_t size = channel->ring_count * sizeof(*channel->rings);
	void *at;

	channel->rings = aligned_alloc(_Alignof(struct tm_ring), size);
	if (!channel->rings)
		return -ENOMEM;
	memset(channel->rings, 0, size);
	at = mmap(NULL, channel->ring_bytes * channel->ring_count,
		  PROT_READ | PROT_WRITE, MAP_SHARED, channel->rings_fd, 0);
	if (at == MAP_FAILED)
		return -ENOMEM;
	channel->rings_at = at;
	for (uint32_t i = 0; i < channel->ring_count; i++)
		place_ring(channel, i);
	return 0;
}

int tm_channel_make_rings(struct tm_channel *channel, uint32_t rings_max)
{
	uint32_t count = channel->hello.rings;

	if (count > rings_max)
		count = rings_max;
	if (!count)
		return -EUSERS;
	channel->entries = channel->hello.entries;
	channel->ring_bytes = tm_ring_bytes(channel->entries);
	channel->ring_count = count;
	if (make_rings_memory(channel) < 0)
		return -ENOMEM;
	return tm_channel_map_rings(channel);
}

/* --- threads ---------------------------------------------------------------- */

static int start_threads(struct tm_channel *channel, pthread_attr_t *attr)
{
	for (uint32_t i = 0; i < channel->ring_count; i++) {
		struct tm_ring *ring = &channel->rings[i];
		int err;

		atomic_fetch_add(&channel->threads, 1);
		err = pthread_create(&ring->thread, attr, tm_ring_serve, ring);
		if (err) {
			atomic_fetch_sub(&channel->threads, 1);
			return -err;
		}
		ring->has_thread = true;
	}
	return 0;
}

void tm_channel_block_signals(sigset_t *before)
{
	static const int own[] = { SIGBUS, SIGSEGV, SIGFPE, SIGILL, SIGTRAP };
	sigset_t blocked;

	sigfillset(&blocked);
	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		sigdelset(&blocked, own[i]);
	pthread_sigmask(SIG_BLOCK, &blocked, before);
}

int tm_channel_start(struct tm_channel *channel)
{
	pthread_attr_t attr;
	sigset_t before;
	int err;

	if (pthread_attr_init(&attr))
		return -ENOMEM;
	atomic_store(&channel->stop, 0);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	tm_channel_block_signals(&before);
	err = start_threads(channel, &attr);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	return err;
}

void tm_channel_stop(struct tm_channel *channel)
{
	tm_doorbell_stop(&channel->stop);
}

void tm_channel_join(struct tm_channel *channel)
{
	for (uint32_t i = 0; channel->rings && i < channel->ring_count; i++) {
		if (channel->rings[i].has_thread)
			pthread_join(channel->rings[i].thread, NULL);
		channel->rings[i].has_thread = false;
	}
}
