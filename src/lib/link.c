/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Connections to a daemon, and calls over their rings; see link.h, and
 * ring_abi.h for what stands where.
 *
 * The daemon is believed: it holds the pages. But it may go at any time, and
 * what it then leaves in a ring is read like this: a call that was counted is
 * answered; one that was not is sent again, unless its completion says that a
 * page was taken out and is here (TM_RING_TAKEN).
 *
 * A daemon that is gone wakes nobody. A sleeper therefore looks after its
 * socket, first after a millisecond, then every 100. Nothing is looked after
 * while no call is under way.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "link.h"
#include "prefetch.h"

#define NAP_FIRST_NS UINT64_C(1000000)
#define NAP_LAST_NS UINT64_C(100000000)

/* --- a connection ----------------------------------------------------------- */

static int connect_to(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd, err;

	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	strcpy(address.sun_path, path);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (!connect(fd, (struct sockaddr *)&address, sizeof(address)))
		return fd;
	err = -errno;
	close(fd);
	return err;
}

static int make_memory(struct tm_link *link, uint32_t rings)
{
	size_t bytes = (size_t)rings * TM_LANE_ENTRIES * TMEM_PAGE_SIZE;
	void *at;
	int fd, err = 0;

	fd = memfd_create("tmem-pages", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)bytes) < 0 ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) <
		    0)
		err = -errno;
	at = err ? MAP_FAILED : mmap(NULL, bytes, PROT_READ | PROT_WRITE,
				     MAP_SHARED, fd, 0);
	if (at == MAP_FAILED) {
		err = err ? err : -errno;
		close(fd);
		return err;
	}
	link->memory = at;
	link->memory_bytes = bytes;
	return fd;
}

static int send_hello(int fd, const struct tm_link_config *config,
		      size_t memory_bytes, int memory_fd)
{
	struct tm_ring_hello hello = {
		.magic = TM_RING_MAGIC,
		.version = TM_RING_VERSION,
		.memory_bytes = memory_bytes,
		.rings = config->rings,
		.entries = TM_LANE_ENTRIES,
	};
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = { .bytes = { 0 } };
	struct iovec iov = { &hello, sizeof(hello) };
	struct msghdr message = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};

	snprintf(hello.name, sizeof(hello.name), "%s", config->name);
	control.align.cmsg_level = SOL_SOCKET;
	control.align.cmsg_type = SCM_RIGHTS;
	control.align.cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(&control.align), &memory_fd, sizeof(int));
	return sendmsg(fd, &message, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static int wait_readable(int fd, uint64_t deadline_ns)
{
	struct pollfd polled = { .fd = fd, .events = POLLIN };
	uint64_t now_ns = tm_clock_system_now_ns(NULL);
	int ready;

	if (now_ns >= deadline_ns)
		return -ETIMEDOUT;
	ready = poll(&polled, 1, (int)((deadline_ns - now_ns) / 1000000) + 1);
	if (ready < 0 && errno == EINTR)
		return wait_readable(fd, deadline_ns);
	return ready > 0 ? 0 : ready ? -errno : -ETIMEDOUT;
}

/* The descriptor of the rings, -1 without, or a negative errno. */
static int receive_welcome(int fd, struct tm_ring_welcome *welcome)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov = { welcome, sizeof(*welcome) };
	struct msghdr message = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	struct cmsghdr *c;
	ssize_t bytes = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
	int rings_fd = -1;

	if (bytes < 0)
		return -errno;
	c = CMSG_FIRSTHDR(&message);
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS &&
	    c->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(&rings_fd, CMSG_DATA(c), sizeof(int));
	if (bytes == 0)
		return -ECONNRESET;
	if ((size_t)bytes == sizeof(*welcome) &&
	    welcome->magic == TM_RING_MAGIC) {
		if (!welcome->status && rings_fd < 0)
			return -EPROTO;
		return welcome->status ? -EREMOTE : rings_fd;
	}
	if (rings_fd >= 0)
		close(rings_fd);
	return -EPROTONOSUPPORT;
}

static int map_rings(struct tm_link *link, const struct tm_ring_welcome *w,
		     const struct tm_link_config *config, int fd)
{
	struct stat st;
	void *at;

	if (w->version != TM_RING_VERSION || w->entries != TM_LANE_ENTRIES ||
	    !w->rings || w->rings > config->rings ||
	    w->ring_bytes != tm_ring_bytes(TM_LANE_ENTRIES))
		return -EPROTONOSUPPORT;
	if (config->is_exact && w->rings != config->rings)
		return -EUSERS;
	link->rings = w->rings;
	link->entries = w->entries;
	link->ring_bytes = (size_t)w->ring_bytes;
	link->last_call = w->call;
	if (fstat(fd, &st) < 0)
		return -errno;
	if ((uint64_t)st.st_size < link->ring_bytes * link->rings)
		return -EPROTO;
	at = mmap(NULL, link->ring_bytes * link->rings, PROT_READ | PROT_WRITE,
		  MAP_SHARED, fd, 0);
	if (at == MAP_FAILED)
		return -errno;
	link->rings_at = at;
	return 0;
}

/* @link has its socket. */
static int introduce(struct tm_link *link, const struct tm_link_config *config,
		     uint64_t deadline_ns)
{
	struct tm_ring_welcome welcome = { 0 };
	int memory_fd, rings_fd, err;

	memory_fd = make_memory(link, config->rings);
	if (memory_fd < 0)
		return memory_fd;
	err = send_hello(link->fd, config, link->memory_bytes, memory_fd);
	close(memory_fd);
	if (!err)
		err = wait_readable(link->fd, deadline_ns);
	if (err)
		return err;
	rings_fd = receive_welcome(link->fd, &welcome);
	if (rings_fd == -EREMOTE)
		return welcome.status < 0 ? welcome.status : -EPROTO;
	if (rings_fd < 0)
		return rings_fd;
	err = map_rings(link, &welcome, config, rings_fd);
	close(rings_fd);
	return err;
}

int tm_link_open(const struct tm_link_config *config, uint64_t deadline_ns,
		 struct tm_link **out)
{
	struct tm_link *link = calloc(1, sizeof(*link));
	int err;

	if (!link)
		return -ENOMEM;
	atomic_init(&link->references, 1);
	link->fd = connect_to(config->socket);
	err = link->fd < 0 ? link->fd : introduce(link, config, deadline_ns);
	if (err)
		tm_link_release(link);
	else
		*out = link;
	return err;
}

void tm_link_hold(struct tm_link *link)
{
	atomic_fetch_add(&link->references, 1);
}

void tm_link_release(struct tm_link *link)
{
	if (!link || atomic_fetch_sub(&link->references, 1) > 1)
		return;
	if (link->memory)
		munmap(link->memory, link->memory_bytes);
	if (link->rings_at)
		munmap(link->rings_at, link->ring_bytes * link->rings);
	if (link->fd >= 0)
		close(link->fd);
	free(link);
}

void tm_link_down(struct tm_link *link)
{
	if (!atomic_exchange(&link->is_down, true))
		shutdown(link->fd, SHUT_RDWR);
}

bool tm_link_is_down(struct tm_link *link)
{
	struct pollfd polled = { .fd = link->fd, .events = POLLIN | POLLRDHUP };

	/* Nothing is said there any more, but that it is over. */
	return atomic_load(&link->is_down) || poll(&polled, 1, 0) > 0;
}

/* --- a lane ----------------------------------------------------------------- */

void tm_lane_init(struct tm_lane *lane, uint32_t number)
{
	memset(lane, 0, sizeof(*lane));
	tm_lock_init(&lane->lock, TM_RANK_LANE);
	lane->number = number;
	tm_patience_init(&lane->patience);
}

void tm_lane_move(struct tm_lane *lane, struct tm_link *link)
{
	struct tm_link *before = lane->link;
	uint8_t *at;

	lane->link = link;
	if (link) {
		tm_link_hold(link);
		at = link->rings_at + lane->number * link->ring_bytes;
		lane->head = (struct tm_ring_head *)at;
		lane->submissions =
			(struct tm_ring_submission *)(at +
						      tm_ring_submissions_at());
		lane->completions =
			(struct tm_ring_completion
				 *)(at + tm_ring_completions_at(link->entries));
		lane->pages = link->memory + (size_t)lane->number *
						     link->entries *
						     TMEM_PAGE_SIZE;
		lane->submitted = lane->number ? 0 : link->first_count;
		lane->completed = lane->submitted;
	}
	tm_link_release(before);
}

static uint32_t slot_of(const struct tm_lane *lane, uint32_t count)
{
	return count & (lane->link->entries - 1);
}

static uint8_t *page_of(struct tm_lane *lane, uint32_t slot)
{
	return lane->pages + (size_t)slot * TMEM_PAGE_SIZE;
}

/* Not yet visible to the daemon. */
static void place(struct tm_lane *lane, struct tm_call *call)
{
	uint32_t slot = slot_of(lane, lane->submitted);
	struct tm_ring_submission *s = &lane->submissions[slot];

	if (call->in)
		memcpy(page_of(lane, slot), call->in, TMEM_PAGE_SIZE);
	s->op = call->op;
	if (call->in || call->out)
		s->op.frame = (uint64_t)lane->number * lane->link->entries +
			      slot;
	s->flags = call->flags;
	s->sequence = lane->submitted++;
}

static void finish(struct tm_lane *lane, struct tm_call *call)
{
	uint32_t slot = slot_of(lane, lane->completed);
	bool is_get = call->op.command == TM_RING_GET_PAGE;
	int result = lane->completions[slot].result;

	if (call->out && result == (is_get ? TMEM_GET_HIT : 0))
		memcpy(call->out, page_of(lane, slot), call->out_bytes);
	call->result = call->is_taken ? TMEM_GET_HIT : result;
	lane->completed++;
}

static bool has_answer(const struct tm_lane *lane)
{
	return atomic_load_explicit(&lane->head->completed.count,
				    memory_order_acquire) != lane->completed;
}

static int wait_for_answer(struct tm_lane *lane, uint64_t timeout_ns)
{
	struct tm_ring_line *theirs = &lane->head->completed;
	struct tm_ring_line *mine = &lane->head->submitted;
	uint64_t nap_ns = NAP_FIRST_NS, begin_ns, waited_ns = 0;
	/* Of many, half: while these are taken, the rest is worked on. */
	uint32_t enough = (lane->submitted - lane->completed + 1) / 2;

	if (tm_doorbell_spin(theirs, lane->completed, &lane->patience))
		return 0;
	begin_ns = tm_clock_system_now_ns(NULL);
	atomic_store_explicit(&mine->wake_at, lane->completed + enough,
			      memory_order_relaxed);
	for (;;) {
		if (nap_ns > timeout_ns - waited_ns)
			nap_ns = timeout_ns - waited_ns;
		tm_doorbell_sleep(theirs, lane->completed, mine, nap_ns);
		if (has_answer(lane)) {
			tm_patience_learn(&lane->patience);
			return 0;
		}
		if (tm_link_is_down(lane->link))
			return -EPIPE;
		waited_ns = tm_clock_system_now_ns(NULL) - begin_ns;
		if (waited_ns >= timeout_ns)
			return -ETIMEDOUT;
		nap_ns = nap_ns * 4 < NAP_LAST_NS ? nap_ns * 4 : NAP_LAST_NS;
	}
}

/* While the daemon works on the last one: its processor may still have the
 * lines where the next will be written. */
static void make_ready(struct tm_lane *lane, const struct tm_call *last)
{
	uint32_t slot = slot_of(lane, lane->submitted);

	if (lane->submitted - lane->completed == lane->link->entries)
		return; /* in use */
	tm_prefetch_write(&lane->submissions[slot], sizeof(*lane->submissions));
	if (last->in)
		tm_prefetch_write(page_of(lane, slot), TMEM_PAGE_SIZE);
}

static void tell(struct tm_lane *lane)
{
	tm_doorbell_ring(&lane->head->submitted, lane->submitted,
			 &lane->head->completed, &lane->patience);
}

int tm_lane_run(struct tm_lane *lane, struct tm_call *calls, uint32_t count,
		uint32_t *done, uint64_t timeout_ns)
{
	uint32_t placed = *done;

	while (*done < count) {
		bool is_untold = false;

		while (placed < count &&
		       lane->submitted - lane->completed < lane->link->entries) {
			const struct tm_call *call = &calls[placed];

			place(lane, &calls[placed++]);
			/* A page is worked on while the next is copied. */
			is_untold = !call->in;
			if (!is_untold)
				tell(lane);
		}
		if (is_untold)
			tell(lane);
		if (!has_answer(lane)) {
			int err;

			make_ready(lane, &calls[placed - 1]);
			err = wait_for_answer(lane, timeout_ns);
			if (err)
				return err;
		}
		finish(lane, &calls[(*done)++]);
	}
	return 0;
}

void tm_lane_salvage(struct tm_lane *lane, struct tm_call *calls,
		     uint32_t count, uint32_t *done)
{
	uint32_t call;

	while (*done < count && lane->completed != lane->submitted &&
	       has_answer(lane))
		finish(lane, &calls[(*done)++]);
	call = *done;
	for (uint32_t n = lane->completed; n != lane->submitted; n++, call++) {
		uint32_t slot = slot_of(lane, n);
		const struct tm_ring_completion *c = &lane->completions[slot];

		if (!(calls[call].flags & TM_RING_REMOVE) ||
		    !(atomic_load(&c->flags) & TM_RING_TAKEN) ||
		    c->sequence != n || c->result != TMEM_GET_HIT)
			continue;
		memcpy(calls[call].out, page_of(lane, slot), TMEM_PAGE_SIZE);
		calls[call].is_taken = true;
		calls[call].op.command = TM_RING_FLUSH_PAGE;
		calls[call].flags = 0;
		calls[call].out = NULL;
	}
}

void tm_lane_forget(struct tm_lane *lane)
{
	lane->completed = lane->submitted;
}
