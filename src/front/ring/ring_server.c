/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The acceptor: one thread that lets peers in and out.
 *
 * It polls listeners and the sockets of all peers, and works in rounds: who has
 * hung up, broke the rules or is to be dropped, ends; who ended and has no
 * thread left is let go of; who said hello is attached; who is new is
 * accepted. That order lets a peer that died and came back find its place
 * free. Nothing a peer does makes it wait; without peers that greet or end it
 * has no time-outs at all.
 *
 * Bounds: peers_max peers with rings and rings_max threads; GREETING_MAX that
 * have not said hello, for GREETING_NS at most, the oldest making way. The
 * descriptors of all that fit what the process may have, or new peers wait in
 * the listener's queue.
 *
 * server.lock guards the lists of peers and listeners against other threads'
 * listen and drop. The acceptor alone changes that of peers; callbacks are made
 * without the lock.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <semaphore.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "channel.h"

#define GREETING_MAX 32
#define GREETING_NS UINT64_C(5000000000)
#define BUSY_NS UINT64_C(1000000000)
#define BUSY_POLL_NS UINT64_C(5000000)
#define SHORT_NS UINT64_C(100000000)
#define NO_MEMORY_MS 5
#define ACCEPT_MAX 16 /* in a round */

struct listener {
	struct listener *next;
	int fd;
	bool has_name;
	char name[TMEM_CLIENT_NAME_MAX + 1];
};

struct tm_ring_server {
	/* set at creation, then constant */
	struct tm_ring_host host;
	struct tm_ring_limits limits;
	uint64_t host_id[2];
	int wake_fd;
	pthread_t thread;
	/* guarded by lock */
	struct tm_lock lock;
	struct listener *listeners;
	struct tm_channel *channels;
	struct tm_channel *arriving;	/* one at most */
	/* atomic */
	_Atomic bool is_closing;
	_Atomic bool is_paused;
	sem_t answered;		/* the acceptor did what it was asked to */
	int import_error;	/* of the last one */
	/* the acceptor's */
	struct pollfd *polled;
	size_t polled_max;
	uint32_t open_count;	/* peers with rings, ending ones too */
	uint32_t ring_count;
	uint32_t greeting_count;
	bool is_short_of_descriptors;
};

void tm_ring_server_wake(struct tm_ring_server *server)
{
	const uint64_t one = 1;

	/* Fails only when it could not be more awake. */
	if (write(server->wake_fd, &one, sizeof(one)) < 0)
		return;
}

__attribute__((format(printf, 3, 4))) static void
say(struct tm_ring_server *server, enum tmem_log_level level,
    const char *format, ...)
{
	char text[256];
	va_list args;

	if (!server->host.log)
		return;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	server->host.log(server->host.opaque, level, text);
}

/* --- ends ------------------------------------------------------------------- */

static void end_channel(struct tm_channel *channel)
{
	if (channel->state == TM_CHANNEL_ENDING)
		return;
	if (channel->state == TM_CHANNEL_GREETING)
		channel->server->greeting_count--;
	channel->state = TM_CHANNEL_ENDING;
	tm_channel_stop(channel);
}

static void let_go(struct tm_ring_server *server, struct tm_channel *channel)
{
	tm_channel_join(channel);
	if (channel->is_attached) {
		tm_channel_unmap_memory(channel);
		server->host.detach(server->host.opaque, &channel->attachment);
		server->open_count--;
		server->ring_count -= channel->ring_count;
	}
	tm_channel_free(channel);
}

/* Lets go of those that have ended; are there any that have not quite? */
static bool reap(struct tm_ring_server *server)
{
	struct tm_channel **link = &server->channels;
	bool some_are_ending = false;

	while (*link) {
		struct tm_channel *channel = *link;

		if (channel->state != TM_CHANNEL_ENDING ||
		    atomic_load(&channel->threads)) {
			some_are_ending |= channel->state == TM_CHANNEL_ENDING;
			link = &channel->next;
			continue;
		}
		tm_lock_acquire(&server->lock);
		*link = channel->next;
		tm_lock_release(&server->lock);
		let_go(server, channel);
	}
	return some_are_ending;
}

/* --- greetings -------------------------------------------------------------- */

static int attach(struct tm_ring_server *server, struct tm_channel *channel)
{
	struct ucred cred = { .pid = 0, .uid = (uid_t)-1 };
	socklen_t length = sizeof(cred);
	struct tm_ring_peer peer;
	int err;

	if (server->open_count >= server->limits.peers_max ||
	    server->ring_count >= server->limits.rings_max)
		return -EUSERS;
	if (channel->hello.memory_bytes >
	    server->limits.memory_per_peer_max_bytes)
		return -EFBIG;
	if (getsockopt(channel->fd, SOL_SOCKET, SO_PEERCRED, &cred, &length))
		return -errno;
	peer = (struct tm_ring_peer){
		.pid = cred.pid,
		.uid = cred.uid,
		.listener_name = channel->listener_name,
		.name = channel->hello.name,
	};
	err = server->host.attach(server->host.opaque, &peer,
				  &channel->attachment);
	if (err < 0)
		return err;
	tm_lock_acquire(&server->lock);
	channel->is_attached = true;
	tm_lock_release(&server->lock);
	server->open_count++;
	return 0;
}

static int open_rings(struct tm_ring_server *server, struct tm_channel *channel)
{
	uint32_t most = server->limits.rings_max - server->ring_count;
	int err;

	if (most > server->limits.rings_per_peer_max)
		most = server->limits.rings_per_peer_max;
	err = tm_channel_map_memory(channel);
	if (!err)
		err = tm_channel_make_rings(channel, most);
	if (err)
		channel->ring_count = 0;
	server->ring_count += channel->ring_count;
	return err ? err : tm_channel_start(channel);
}

/* Answers a hello that was read, unless the place may soon be free. */
static void answer(struct tm_ring_server *server, struct tm_channel *channel,
		   int err, bool may_wait)
{
	if (!err)
		err = attach(server, channel);
	if (err == -EBUSY && may_wait)
		return;
	if (!err)
		err = open_rings(server, channel);
	if (err)
		say(server, TMEM_LOG_INFO, "channel: peer refused: %s",
		    strerror(-err));
	if (tm_channel_welcome(channel, err, server->host_id) || err) {
		end_channel(channel);
		return;
	}
	channel->state = TM_CHANNEL_OPEN;
	server->greeting_count--;
}

/* What a peer that greets has sent, or has not. */
static void greet(struct tm_ring_server *server, struct tm_channel *channel,
		  bool some_are_ending)
{
	uint64_t now_ns = tm_clock_system_now_ns(NULL);
	int err = 0;

	if (!channel->has_hello && channel->events) {
		err = tm_channel_read_hello(channel);
		if (err == -ECONNRESET)
			end_channel(channel);
		if (err == -ECONNRESET || err == -EAGAIN)
			return;
		channel->has_hello = true;
		channel->deadline_ns = now_ns + BUSY_NS;
		answer(server, channel, err, true);
	} else if (channel->has_hello && channel->events) {
		end_channel(channel); /* hung up, or cannot wait */
	} else if (channel->has_hello) {
		answer(server, channel, 0,
		       some_are_ending && now_ns < channel->deadline_ns);
	} else if (now_ns >= channel->deadline_ns) {
		end_channel(channel);
	}
}

static void make_room(struct tm_ring_server *server)
{
	struct tm_channel *oldest = NULL;

	if (server->greeting_count < GREETING_MAX)
		return;
	for (struct tm_channel *c = server->channels; c; c = c->next)
		if (c->state == TM_CHANNEL_GREETING)
			oldest = c; /* new ones come in front */
	if (oldest)
		end_channel(oldest);
}

static void add_channel(struct tm_ring_server *server,
			struct tm_channel *channel)
{
	tm_lock_acquire(&server->lock);
	channel->next = server->channels;
	server->channels = channel;
	tm_lock_release(&server->lock);
}

/* --- from a predecessor, and to a successor ------------------------------------ */

static int take_in(struct tm_ring_server *server, struct tm_channel *channel)
{
	int err = attach(server, channel);

	if (err)
		return err;
	server->ring_count += channel->ring_count;
	err = tm_channel_map_memory(channel);
	if (!err)
		err = tm_channel_settle(channel);
	if (!err)
		err = tm_channel_start(channel);
	return err;
}

static void take_in_who_arrives(struct tm_ring_server *server)
{
	struct tm_channel *channel;

	tm_lock_acquire(&server->lock);
	channel = server->arriving;
	server->arriving = NULL;
	tm_lock_release(&server->lock);
	if (!channel)
		return;
	add_channel(server, channel);
	server->import_error = take_in(server, channel);
	channel->state = TM_CHANNEL_OPEN;
	if (server->import_error)
		end_channel(channel);
	sem_post(&server->answered);
}

static void wait_for_wake(struct tm_ring_server *server)
{
	struct pollfd polled = { .fd = server->wake_fd, .events = POLLIN };
	uint64_t value;

	poll(&polled, 1, -1);
	if (read(server->wake_fd, &value, sizeof(value)) < 0)
		return;
}

static void stop_all(struct tm_ring_server *server)
{
	for (struct tm_channel *c = server->channels; c; c = c->next) {
		if (c->state == TM_CHANNEL_GREETING)
			end_channel(c);
		else
			tm_channel_stop(c);
	}
}

static bool has_threads(struct tm_ring_server *server)
{
	bool some = false;

	for (struct tm_channel *c = server->channels; c; c = c->next)
		some |= atomic_load(&c->threads) > 0;
	return some;
}

static void start_all(struct tm_ring_server *server)
{
	for (struct tm_channel *c = server->channels; c; c = c->next)
		if (c->state == TM_CHANNEL_OPEN && tm_channel_start(c))
			end_channel(c);
}

/* Nothing is served until is_paused is taken back. Who pauses and who resumes
 * both wait for an answer: a pause that came before the last one was seen to be
 * over would be taken for that. */
static void pause_all(struct tm_ring_server *server)
{
	stop_all(server);
	while (has_threads(server))
		wait_for_wake(server);
	reap(server);
	for (struct tm_channel *c = server->channels; c; c = c->next)
		tm_channel_join(c);
	sem_post(&server->answered);
	while (atomic_load(&server->is_paused) &&
	       !atomic_load(&server->is_closing))
		wait_for_wake(server);
	if (!atomic_load(&server->is_closing))
		start_all(server);
	sem_post(&server->answered);
}

/* --- new peers -------------------------------------------------------------- */

static void accept_from(struct tm_ring_server *server,
			struct listener *listener)
{
	for (int i = 0; i < ACCEPT_MAX; i++) {
		struct tm_channel *channel;
		int fd = accept4(listener->fd, NULL, NULL,
				 SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd < 0) {
			server->is_short_of_descriptors =
				errno == EMFILE || errno == ENFILE ||
				errno == ENOBUFS || errno == ENOMEM;
			return;
		}
		make_room(server);
		channel = tm_channel_new(server, fd,
					 listener->has_name ? listener->name :
							      "");
		if (!channel) {
			close(fd);
			return;
		}
		channel->deadline_ns =
			tm_clock_system_now_ns(NULL) + GREETING_NS;
		channel->state = TM_CHANNEL_GREETING;
		server->greeting_count++;
		add_channel(server, channel);
	}
}

/* --- rounds ----------------------------------------------------------------- */

static bool add_polled(struct tm_ring_server *server, size_t *count, int fd)
{
	if (*count == server->polled_max) {
		size_t max = server->polled_max ? 2 * server->polled_max : 16;
		struct pollfd *more = realloc(server->polled,
					      max * sizeof(*more));

		if (!more)
			return false;
		server->polled = more;
		server->polled_max = max;
	}
	server->polled[(*count)++] =
		(struct pollfd){ .fd = fd, .events = POLLIN | POLLRDHUP };
	return true;
}

/* The wake-up first, then listeners and channels in the order of their lists.
 * 0: no memory. */
static size_t list_polled(struct tm_ring_server *server,
			  struct listener *listeners)
{
	size_t count = 0;

	if (!add_polled(server, &count, server->wake_fd))
		return 0;
	for (struct listener *l = listeners; l; l = l->next)
		if (!add_polled(server, &count,
				server->is_short_of_descriptors ? -1 : l->fd))
			return 0;
	for (struct tm_channel *c = server->channels; c; c = c->next)
		if (!add_polled(server, &count,
				c->state == TM_CHANNEL_ENDING ? -1 : c->fd))
			return 0;
	return count;
}

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static int poll_timeout_ms(struct tm_ring_server *server)
{
	uint64_t now_ns = tm_clock_system_now_ns(NULL);
	uint64_t due_ns = UINT64_MAX;

	for (struct tm_channel *c = server->channels; c; c = c->next) {
		/* Its last thread would wake us, but there is none. */
		if (c->state == TM_CHANNEL_ENDING && !atomic_load(&c->threads))
			return 0;
		if (c->state != TM_CHANNEL_GREETING)
			continue;
		if (c->has_hello)
			due_ns = least(due_ns, now_ns + BUSY_POLL_NS);
		else
			due_ns = least(due_ns, c->deadline_ns);
	}
	if (server->is_short_of_descriptors)
		due_ns = least(due_ns, now_ns + SHORT_NS);
	if (due_ns == UINT64_MAX)
		return -1;
	return due_ns <= now_ns ? 0 : (int)((due_ns - now_ns) / 1000000) + 1;
}

/* What poll() said, to those it said it of. */
static void give_events(struct tm_ring_server *server,
			const struct pollfd *polled)
{
	for (struct tm_channel *c = server->channels; c; c = c->next)
		c->events = (polled++)->revents;
}

/* Everybody who cannot stay. */
static void look_for_ends(struct tm_ring_server *server)
{
	for (struct tm_channel *c = server->channels; c; c = c->next) {
		const char *broken = atomic_load(&c->broken);

		if (c->state == TM_CHANNEL_OPEN && broken)
			say(server, TMEM_LOG_WARNING,
			    "channel: peer dropped: %s", broken);
		/* Nothing is ever said here after the greeting. */
		if (broken || atomic_load(&c->is_dropped) ||
		    (c->state == TM_CHANNEL_OPEN && c->events) ||
		    atomic_load(&server->is_closing))
			end_channel(c);
	}
}

static void greet_all(struct tm_ring_server *server, bool some_are_ending)
{
	for (struct tm_channel *c = server->channels; c; c = c->next)
		if (c->state == TM_CHANNEL_GREETING)
			greet(server, c, some_are_ending);
}

static void look_round(struct tm_ring_server *server)
{
	struct listener *listeners;
	size_t count, listener_count = 0;
	struct pollfd *polled;
	uint64_t value;

	tm_lock_acquire(&server->lock);
	listeners = server->listeners;
	tm_lock_release(&server->lock);
	for (struct listener *l = listeners; l; l = l->next)
		listener_count++;
	count = list_polled(server, listeners);
	if (!count || poll(server->polled, count,
			   poll_timeout_ms(server)) < 0) {
		poll(NULL, 0, NO_MEMORY_MS);
		return;
	}
	server->is_short_of_descriptors = false;
	polled = server->polled;
	if (polled[0].revents &&
	    read(server->wake_fd, &value, sizeof(value)) < 0)
		return;
	if (atomic_load(&server->is_paused)) {
		pause_all(server);
		return;
	}
	give_events(server, polled + 1 + listener_count);
	take_in_who_arrives(server);
	look_for_ends(server);
	greet_all(server, reap(server));
	for (size_t i = 0; i < listener_count; i++, listeners = listeners->next)
		if (polled[1 + i].revents)
			accept_from(server, listeners);
}

static void *run(void *opaque)
{
	struct tm_ring_server *server = opaque;

	while (!atomic_load(&server->is_closing))
		look_round(server);
	look_for_ends(server);
	while (reap(server))
		poll(NULL, 0, 1);
	return NULL;
}

/* --- the server ------------------------------------------------------------- */

static void set_limits(struct tm_ring_server *server,
		       const struct tm_ring_limits *limits)
{
	struct tm_ring_limits *l = &server->limits;

	*l = *limits;
	if (!l->peers_max)
		l->peers_max = UINT32_MAX;
	if (!l->rings_max)
		l->rings_max = UINT32_MAX;
	if (!l->rings_per_peer_max ||
	    l->rings_per_peer_max > TM_RING_RINGS_MAX)
		l->rings_per_peer_max = TM_RING_RINGS_MAX;
	if (!l->memory_per_peer_max_bytes)
		l->memory_per_peer_max_bytes = UINT64_MAX;
}

int tm_ring_server_open(const struct tm_ring_host *host,
			const struct tm_ring_limits *limits,
			struct tm_ring_server **out)
{
	struct tm_ring_server *server = calloc(1, sizeof(*server));
	sigset_t before;
	int err;

	if (!server)
		return -ENOMEM;
	server->host = *host;
	set_limits(server, limits);
	tm_lock_init(&server->lock, TM_RANK_CHANNEL);
	sem_init(&server->answered, 0, 0);
	if (getrandom(server->host_id, sizeof(server->host_id), 0) !=
	    sizeof(server->host_id)) {
		free(server);
		return -EIO;
	}
	server->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	err = server->wake_fd < 0 ? -errno : 0;
	if (!err) {
		tm_channel_block_signals(&before);
		err = -pthread_create(&server->thread, NULL, run, server);
		pthread_sigmask(SIG_SETMASK, &before, NULL);
	}
	if (err) {
		if (server->wake_fd >= 0)
			close(server->wake_fd);
		free(server);
		return err;
	}
	*out = server;
	return 0;
}

int tm_ring_server_listen(struct tm_ring_server *server, int fd,
			  const char *name)
{
	struct listener *listener = calloc(1, sizeof(*listener));
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) {
		free(listener);
		return -errno;
	}
	if (!listener)
		return -ENOMEM;
	listener->fd = fd;
	listener->has_name = name;
	if (name)
		snprintf(listener->name, sizeof(listener->name), "%s", name);
	tm_lock_acquire(&server->lock);
	listener->next = server->listeners;
	server->listeners = listener;
	tm_lock_release(&server->lock);
	tm_ring_server_wake(server);
	return 0;
}

void tm_ring_server_drop(struct tm_ring_server *server, const void *opaque)
{
	tm_lock_acquire(&server->lock);
	for (struct tm_channel *c = server->channels; c; c = c->next)
		if (c->is_attached && c->attachment.opaque == opaque)
			atomic_store(&c->is_dropped, true);
	tm_lock_release(&server->lock);
	tm_ring_server_wake(server);
}

static void wait_for_answer(struct tm_ring_server *server)
{
	tm_ring_server_wake(server);
	while (sem_wait(&server->answered) && errno == EINTR)
		;
}

int tm_ring_server_export(struct tm_ring_server *server, tm_ring_give_fn *give,
			  void *opaque)
{
	int err = 0;

	atomic_store(&server->is_paused, true);
	wait_for_answer(server);
	/* The acceptor does nothing until it is asked to. Who was dropped has no
	 * client any more, and is not to be given another. */
	for (struct tm_channel *c = server->channels; c && !err; c = c->next)
		if (c->state == TM_CHANNEL_OPEN && !atomic_load(&c->is_dropped))
			err = tm_channel_give(c, give, opaque);
	return err;
}

void tm_ring_server_resume(struct tm_ring_server *server)
{
	atomic_store(&server->is_paused, false);
	wait_for_answer(server);
}

int tm_ring_server_import(struct tm_ring_server *server, const void *record,
			  size_t size,
			  const int fds[TM_RING_RECORD_DESCRIPTORS])
{
	struct tm_channel *channel;
	int err;

	channel = tm_channel_arrive(server, record, size, fds, &err);
	if (!channel)
		return err;
	tm_lock_acquire(&server->lock);
	server->arriving = channel;
	tm_lock_release(&server->lock);
	wait_for_answer(server);
	return server->import_error;
}

void tm_ring_server_close(struct tm_ring_server *server)
{
	if (!server)
		return;
	atomic_store(&server->is_closing, true);
	tm_ring_server_wake(server);
	pthread_join(server->thread, NULL);
	while (server->listeners) {
		struct listener *listener = server->listeners;

		server->listeners = listener->next;
		close(listener->fd);
		free(listener);
	}
	sem_destroy(&server->answered);
	free(server->polled);
	close(server->wake_fd);
	free(server);
}
