/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A running daemon is replaced by another version of it.
 *
 * The problem: clients must not lose a page, nor wait long, and the successor
 * may not be able to do it after all. The idea: what can be checked is checked
 * while the old daemon serves; then it drains its rings and closes its store,
 * but keeps sockets and arena until the successor says that it serves. If the
 * successor says that it cannot, or dies, the old one opens the same arena
 * again and goes on, with the settings that were in force and not those that a
 * reload asked for in vain. So the state goes over in one form only, that of an
 * arena after a crash, and one code reads it.
 *
 * Clients notice nothing but the time that it takes: their channels go over as
 * they are, and what they ask meanwhile waits in their rings. Should that fail,
 * a channel hangs up, and its client reconnects to a socket that never stopped
 * listening.
 *
 * Only root and the daemon's own user are listened to, and no longer than
 * HELLO_MS; while a successor opens the arena the old daemon waits for it, for
 * END_MS at most.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "clock.h"
#include "daemon.h"
#include "layout.h"
#include "takeover_abi.h"

/* Words that are sent at once, by somebody who may wait for a processor. */
#define HELLO_MS 10000
#define END_MS 30000
#define PEER_FDS TM_RING_RECORD_DESCRIPTORS
#define FDS_MAX TM_VHOST_GIVEN_FDS

_Static_assert(TM_TAKEOVER_RECORD_MAX >= TM_RING_RECORD_MAX,
	       "a peer's record fits its message");
_Static_assert(TM_TAKEOVER_DOOR_MAX >= TM_VHOST_RECORD_MAX &&
		       FDS_MAX >= PEER_FDS,
	       "a door's record fits its message");

/* A peer that was taken over and is not served yet. */
struct tm_inherited_peer {
	struct tm_inherited_peer *next;
	struct tm_takeover_peer message;
	int fds[PEER_FDS];
};

/* The same of a disk's door. */
struct tm_inherited_door {
	struct tm_inherited_door *next;
	char name[TMEM_CLIENT_NAME_MAX + 1];
	struct tm_vhost_given given;
};

struct fds {
	int fd[FDS_MAX];
	int count;
};

/* --- messages ------------------------------------------------------------------ */

static struct tm_takeover_head head_of(enum tm_takeover_kind kind)
{
	return (struct tm_takeover_head){
		.magic = TM_TAKEOVER_MAGIC,
		.version = TM_TAKEOVER_VERSION,
		.kind = kind,
	};
}

static int send_with(int connection, const void *message, size_t size,
		     const struct fds *fds)
{
	struct iovec io = { .iov_base = (void *)(uintptr_t)message,
			    .iov_len = size };
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(FDS_MAX * sizeof(int))];
	} control = { .bytes = { 0 } };
	struct msghdr msg = { .msg_iov = &io, .msg_iovlen = 1 };
	size_t fds_size = fds ? (size_t)fds->count * sizeof(int) : 0;
	struct cmsghdr *cmsg;

	if (fds_size) {
		msg.msg_control = control.bytes;
		msg.msg_controllen = CMSG_SPACE(fds_size);
		cmsg = CMSG_FIRSTHDR(&msg);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(fds_size);
		memcpy(CMSG_DATA(cmsg), fds->fd, fds_size);
	}
	if (sendmsg(connection, &msg, MSG_NOSIGNAL) != (ssize_t)size)
		return -errno;
	return 0;
}

static void close_fds(struct fds *fds)
{
	while (fds->count)
		close(fds->fd[--fds->count]);
}

static void take_fds(struct msghdr *msg, struct fds *fds)
{
	fds->count = 0;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		fds->count = (int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		memcpy(fds->fd, CMSG_DATA(c),
		       (size_t)fds->count * sizeof(int));
	}
}

/* A message of ours that fits @max bytes: its size, or a negative errno. */
static ssize_t receive_any(int connection, void *message, size_t max,
			   struct fds *fds)
{
	struct iovec io = { .iov_base = message, .iov_len = max };
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(FDS_MAX * sizeof(int))];
	} control;
	struct msghdr msg = {
		.msg_iov = &io,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes),
	};
	struct tm_takeover_head head = { .magic = 0 };
	ssize_t size;

	fds->count = 0;
	do {
		size = recvmsg(connection, &msg, MSG_CMSG_CLOEXEC);
	} while (size < 0 && errno == EINTR);
	if (size < 0)
		return errno == EAGAIN ? -ETIMEDOUT : -errno;
	take_fds(&msg, fds);
	if ((size_t)size >= sizeof(head))
		memcpy(&head, message, sizeof(head));
	if (head.magic == TM_TAKEOVER_MAGIC && !(msg.msg_flags & MSG_TRUNC)) {
		if (head.version == TM_TAKEOVER_VERSION)
			return size;
		size = -EPROTONOSUPPORT;
	} else {
		size = size ? -EPROTO : -ECONNRESET;
	}
	close_fds(fds);
	return size;
}

/* A message of exactly @size bytes and of @kind. */
static int receive(int connection, enum tm_takeover_kind kind, void *message,
		   size_t size, struct fds *fds)
{
	ssize_t got = receive_any(connection, message, size, fds);

	if (got < 0)
		return (int)got;
	if ((size_t)got == size &&
	    ((const struct tm_takeover_head *)message)->kind == kind)
		return 0;
	close_fds(fds);
	return -EPROTO;
}

static void set_timeout(int connection, int ms)
{
	const struct timeval timeout = { .tv_sec = ms / 1000,
					 .tv_usec = ms % 1000 * 1000 };

	setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &timeout,
		   sizeof(timeout));
	setsockopt(connection, SOL_SOCKET, SO_SNDTIMEO, &timeout,
		   sizeof(timeout));
}

static int path_of(const struct tm_daemon *daemon, struct sockaddr_un *address)
{
	int length = snprintf(address->sun_path, sizeof(address->sun_path),
			      "%s" TM_TAKEOVER_SUFFIX, daemon->config->control);

	address->sun_family = AF_UNIX;
	return length < (int)sizeof(address->sun_path) ? 0 : -ENAMETOOLONG;
}

/* --- the daemon that runs ------------------------------------------------------------ */

int tm_takeover_listen(struct tm_daemon *daemon)
{
	struct sockaddr_un address;
	const struct tm_socket_how how = {
		.path = address.sun_path,
		.is_private = true,
		.mode = 0600,
		.owner = (uid_t)-1,
		.group = (gid_t)-1,
	};
	struct epoll_event event = { .events = EPOLLIN };
	char error[TM_CONFIG_ERROR_SIZE];
	int fd;

	if (path_of(daemon, &address)) {
		tm_daemon_log(daemon->log, TMEM_LOG_WARNING,
			      "%s is too long for a successor to be listened "
			      "for: --takeover will not work",
			      daemon->config->control);
		return 0;
	}
	fd = tm_sockets_get(daemon->sockets, &how, error, sizeof(error));
	if (fd < 0) {
		tm_daemon_log_text(daemon->log, TMEM_LOG_ERROR, error);
		return fd;
	}
	event.data.fd = daemon->takeover_fd = fd;
	return epoll_ctl(daemon->epoll_fd, EPOLL_CTL_ADD, fd, &event) ? -errno :
									0;
}

static uint64_t features_of_arena(const struct tm_daemon *daemon)
{
	struct tm_superblock super = { .features_incompat = 0 };
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", daemon->arena_fd);
	fd = open(daemon->arena_fd >= 0 ? path : daemon->config->arena,
		  O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return UINT64_MAX;
	if (pread(fd, &super, sizeof(super), 0) != (ssize_t)sizeof(super))
		super.features_incompat = UINT64_MAX;
	close(fd);
	return super.features_incompat;
}

/* Can it open what we have? 0; or a negative errno and why not. */
static int judge(const struct tm_daemon *daemon,
		 const struct tm_takeover_hello *hello, char *why, size_t size)
{
	if (hello->layout_min > TM_LAYOUT_VERSION ||
	    hello->layout_max < TM_LAYOUT_VERSION) {
		snprintf(why, size,
			 "the arena has layout %u, and the successor opens %u "
			 "to %u",
			 (unsigned)TM_LAYOUT_VERSION, hello->layout_min,
			 hello->layout_max);
		return -EPROTONOSUPPORT;
	}
	if (features_of_arena(daemon) & ~hello->features_incompat) {
		snprintf(why, size,
			 "the arena uses features that the successor does not "
			 "know");
		return -EPROTONOSUPPORT;
	}
	if (strncmp(hello->arena, daemon->config->arena,
		    sizeof(hello->arena))) {
		snprintf(why, size,
			 "the successor is configured for another arena than "
			 "%.160s",
			 daemon->config->arena);
		return -EINVAL;
	}
	return 0;
}

static uint32_t count_sockets(const struct tm_daemon *daemon)
{
	struct tm_socket_info info;
	uint32_t count = 0;

	while (tm_sockets_info(daemon->sockets, count, &info))
		count++;
	return count;
}

static int send_sockets(const struct tm_daemon *daemon, int connection)
{
	struct tm_socket_info info;
	int err = 0;

	for (size_t n = 0;
	     !err && tm_sockets_info(daemon->sockets, n, &info); n++) {
		struct tm_takeover_socket message = {
			.head = head_of(TM_TAKEOVER_SOCKET),
		};
		struct fds fds = {
			.fd = { info.fd, info.lock_fd },
			.count = info.lock_fd < 0 ? 1 : 2,
		};

		snprintf(message.path, sizeof(message.path), "%s", info.path);
		err = send_with(connection, &message, sizeof(message), &fds);
	}
	return err;
}

static int keep_disk(struct tm_daemon *daemon, struct tm_takeover_disk *message)
{
	struct tm_config_disk **link = &daemon->inherited_disks;
	char error[TM_CONFIG_ERROR_SIZE];
	const struct tm_complaint complaint = { error, sizeof(error) };
	struct tm_config_disk *disk = malloc(sizeof(*disk));

	if (!disk)
		return -ENOMEM;
	message->text[sizeof(message->text) - 1] = '\0';
	if (tm_config_disk_parse(message->text, disk, &complaint)) {
		tm_daemon_log_text(daemon->log, TMEM_LOG_ERROR, error);
		free(disk);
		return -EPROTO;
	}
	disk->next = NULL;
	while (*link)
		link = &(*link)->next;
	*link = disk;
	return 0;
}

/* Operators add disks that no configuration has. They are kept here too: should
 * the successor fail, they are to be served again. */
static int send_disks(struct tm_daemon *daemon, int connection)
{
	struct tm_config_disk disk;
	int err = 0;

	for (size_t n = 0;
	     !err && tm_disks_describe(daemon->disks, n, &disk); n++) {
		struct tm_takeover_disk message = {
			.head = head_of(TM_TAKEOVER_DISK),
		};

		err = tm_config_disk_print(&disk, message.text,
					   TM_CONFIG_DISK_TEXT_MAX);
		if (!err)
			err = keep_disk(daemon, &message);
		if (!err)
			err = send_with(connection, &message, sizeof(message),
					NULL);
	}
	return err;
}

struct give {
	int connection;
	uint32_t count;
};

/* The callback of tm_ring_server_export(). */
static int send_peer(void *opaque, const void *record, size_t size,
		     const int given[TM_RING_RECORD_DESCRIPTORS])
{
	struct tm_takeover_peer message = {
		.head = head_of(TM_TAKEOVER_PEER),
		.size = (uint32_t)size,
	};
	struct fds fds = { .count = PEER_FDS };
	struct give *give = opaque;

	memcpy(message.record, record, size);
	memcpy(fds.fd, given, PEER_FDS * sizeof(given[0]));
	give->count++;
	return send_with(give->connection, &message, sizeof(message), &fds);
}

/* Whose door cannot be given is hung up on, and connects again. */
static int send_doors(const struct tm_daemon *daemon, int connection)
{
	struct tm_config_disk disk;
	int err = 0;

	for (size_t n = 0;
	     !err && tm_disks_describe(daemon->disks, n, &disk); n++) {
		struct tm_takeover_door message = {
			.head = head_of(TM_TAKEOVER_DOOR),
		};
		struct tm_vhost_given given;
		struct fds fds;

		if (tm_disks_give(daemon->disks, n, &given))
			continue;
		strcpy(message.name, disk.client.name);
		message.size = given.bytes;
		memcpy(message.record, given.record, given.bytes);
		fds.count = (int)given.fd_count;
		memcpy(fds.fd, given.fds, given.fd_count * sizeof(int));
		err = send_with(connection, &message, sizeof(message), &fds);
	}
	return err;
}

static int send_arena(const struct tm_daemon *daemon, int connection)
{
	const struct tm_takeover_arena message = {
		.head = head_of(TM_TAKEOVER_ARENA),
	};
	struct fds fds = {
		.fd = { daemon->arena_fd },
		.count = daemon->arena_fd >= 0,
	};

	return send_with(connection, &message, sizeof(message), &fds);
}

/* 0: it can have everything. @answer is what it is to be told. */
static int agree(const struct tm_daemon *daemon, int connection,
		 struct tm_takeover_answer *answer)
{
	struct tm_takeover_hello hello;
	struct fds none = { .count = 0 };
	int err = receive(connection, TM_TAKEOVER_HELLO, &hello, sizeof(hello),
			  &none);

	close_fds(&none);
	*answer = (struct tm_takeover_answer){
		.head = head_of(TM_TAKEOVER_ANSWER),
		.sockets = count_sockets(daemon),
	};
	if (err)
		snprintf(answer->text, sizeof(answer->text),
			 "the successor speaks another language (%s)",
			 strerror(-err));
	else
		err = judge(daemon, &hello, answer->text, sizeof(answer->text));
	answer->status = err;
	if (err)
		tm_daemon_log(daemon->log, TMEM_LOG_WARNING,
			      "a successor is refused: %s", answer->text);
	return err;
}

static int hand_over(struct tm_daemon *daemon, int connection,
		     const struct tm_takeover_answer *answer)
{
	int err = send_with(connection, answer, sizeof(*answer), NULL);
	uint64_t since_ns = tm_clock_now_ns(tm_clock_system());
	struct give give = { .connection = connection };
	struct tm_takeover_end end = { .status = 0 };
	struct fds none = { .count = 0 };

	if (!err)
		err = send_sockets(daemon, connection);
	if (!err)
		err = send_disks(daemon, connection);
	if (err)
		return err;
	err = tm_ring_server_export(daemon->ring, send_peer, &give);
	if (err) {
		tm_ring_server_resume(daemon->ring);
		return err;
	}
	/* From here on there is no way back but to begin again. */
	err = send_doors(daemon, connection);
	tm_engine_close(daemon);
	if (err)
		return err;
	tm_daemon_log(daemon->log, TMEM_LOG_INFO,
		      "hands everything over to a successor (peers: %" PRIu32
		      ", closed in %" PRIu64 " ms)",
		      give.count, (tm_clock_now_ns(tm_clock_system()) - since_ns) /
			      1000000);
	err = send_arena(daemon, connection);
	set_timeout(connection, END_MS);
	if (!err)
		err = receive(connection, TM_TAKEOVER_END, &end, sizeof(end),
			      &none);
	close_fds(&none);
	return err ? err : end.status;
}

/*
 * What there is stays, and nobody takes long over it: the successor is told how
 * many sockets there are, and makes what it is told of. A disk whose client an
 * operator has just destroyed is not there any more: the successor would make
 * another client and an empty disk, and its guest would read zeros.
 */
static void hold(struct tm_daemon *daemon)
{
	tm_registry_hold(daemon->registry);
	tm_disks_hold(daemon->disks);
	tm_disks_end_dropped(daemon->disks);
}

static void go_on(struct tm_daemon *daemon)
{
	tm_disks_go_on(daemon->disks);
	tm_registry_go_on(daemon->registry);
}

static int accept_trusted(const struct tm_daemon *daemon)
{
	struct ucred cred = { .uid = (uid_t)-1 };
	socklen_t size = sizeof(cred);
	int fd = accept4(daemon->takeover_fd, NULL, NULL, SOCK_CLOEXEC);

	if (fd < 0)
		return fd;
	if (!getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &size) &&
	    (!cred.uid || cred.uid == geteuid())) {
		set_timeout(fd, HELLO_MS);
		return fd;
	}
	close(fd);
	return -1;
}

bool tm_takeover_give(struct tm_daemon *daemon)
{
	int connection = accept_trusted(daemon);
	struct tm_takeover_answer answer;
	int err;

	if (connection < 0)
		return false;
	hold(daemon);
	err = agree(daemon, connection, &answer);
	if (!err)
		err = hand_over(daemon, connection, &answer);
	if (err && daemon->store) {
		tm_takeover_forget(daemon);
		go_on(daemon);
	}
	/* Who is refused may act on it at once. */
	if (answer.status)
		send_with(connection, &answer, sizeof(answer), NULL);
	close(connection);
	if (!err) {
		tm_daemon_log(daemon->log, TMEM_LOG_INFO,
			      "ends: a successor serves");
		return true;
	}
	if (daemon->store)
		return false;
	tm_daemon_log(daemon->log, TMEM_LOG_ERROR,
		      "the successor failed (%s); going on without it",
		      strerror(-err));
	if (!tm_engine_open(daemon))
		tm_sockets_claim(daemon->sockets);
	tm_takeover_forget(daemon);
	return false;
}

/* --- the successor ------------------------------------------------------------------- */

static int complain(struct tm_daemon *daemon, int err, const char *what)
{
	tm_daemon_log(daemon->log, TMEM_LOG_ERROR,
		      "the daemon at %s cannot be replaced: %s",
		      daemon->config->control, what);
	return err;
}

static int connect_to_old(struct tm_daemon *daemon, int *connection)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd, err;

	if (path_of(daemon, &address))
		return complain(daemon, -ENAMETOOLONG, "its path is too long");
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return complain(daemon, -errno, strerror(errno));
	if (!connect(fd, (struct sockaddr *)&address, sizeof(address))) {
		set_timeout(fd, END_MS);
		*connection = fd;
		return 0;
	}
	err = -errno;
	close(fd);
	return complain(daemon, err,
			err == -ENOENT || err == -ECONNREFUSED ?
				"there is none; start without --takeover" :
				strerror(-err));
}

static int ask(struct tm_daemon *daemon, int connection, uint32_t *sockets)
{
	struct tm_takeover_hello hello = {
		.head = head_of(TM_TAKEOVER_HELLO),
		.layout_min = TM_LAYOUT_VERSION,
		.layout_max = TM_LAYOUT_VERSION,
		.features_incompat = TM_FEATURE_INCOMPAT_KNOWN,
	};
	struct tm_takeover_answer answer;
	struct fds none = { .count = 0 };
	int err;

	snprintf(hello.arena, sizeof(hello.arena), "%s", daemon->config->arena);
	err = send_with(connection, &hello, sizeof(hello), NULL);
	if (!err)
		err = receive(connection, TM_TAKEOVER_ANSWER, &answer,
			      sizeof(answer), &none);
	close_fds(&none);
	if (err)
		return complain(daemon, err, strerror(-err));
	answer.text[sizeof(answer.text) - 1] = '\0';
	*sockets = answer.sockets;
	return answer.status ? complain(daemon, answer.status, answer.text) : 0;
}

static int take_socket(struct tm_daemon *daemon, int connection)
{
	struct tm_takeover_socket message;
	struct fds fds = { .count = 0 };
	int err = receive(connection, TM_TAKEOVER_SOCKET, &message,
			  sizeof(message), &fds);

	if (err || !fds.count) {
		close_fds(&fds);
		return err ? err : -EPROTO;
	}
	message.path[sizeof(message.path) - 1] = '\0';
	err = tm_sockets_adopt(daemon->sockets, message.path, fds.fd[0],
			       fds.count > 1 ? fds.fd[1] : -1);
	if (err)
		close_fds(&fds);
	return err;
}

static int keep_peer(struct tm_daemon *daemon,
		     const struct tm_takeover_peer *message, struct fds *fds)
{
	struct tm_inherited_peer *peer;

	if (fds->count != PEER_FDS || message->size > TM_TAKEOVER_RECORD_MAX)
		return -EPROTO;
	peer = malloc(sizeof(*peer));
	if (!peer)
		return -ENOMEM;
	peer->message = *message;
	memcpy(peer->fds, fds->fd, sizeof(peer->fds));
	fds->count = 0;
	peer->next = daemon->inherited;
	daemon->inherited = peer;
	return 0;
}

static int keep_door(struct tm_daemon *daemon,
		     struct tm_takeover_door *message, struct fds *fds)
{
	struct tm_inherited_door *door;

	if (!fds->count || message->size > TM_VHOST_RECORD_MAX)
		return -EPROTO;
	door = malloc(sizeof(*door));
	if (!door)
		return -ENOMEM;
	message->name[sizeof(message->name) - 1] = '\0';
	strcpy(door->name, message->name);
	door->given.bytes = message->size;
	memcpy(door->given.record, message->record, message->size);
	door->given.fd_count = (uint32_t)fds->count;
	memcpy(door->given.fds, fds->fd, (size_t)fds->count * sizeof(int));
	fds->count = 0;
	door->next = daemon->inherited_doors;
	daemon->inherited_doors = door;
	return 0;
}

struct tm_vhost_given *tm_takeover_door(struct tm_daemon *daemon,
					const char *name)
{
	struct tm_inherited_door *door = daemon->inherited_doors;

	while (door && strcmp(door->name, name))
		door = door->next;
	return door ? &door->given : NULL;
}

static void forget_doors(struct tm_daemon *daemon)
{
	while (daemon->inherited_doors) {
		struct tm_inherited_door *door = daemon->inherited_doors;

		daemon->inherited_doors = door->next;
		for (uint32_t i = 0; i < door->given.fd_count; i++)
			if (door->given.fds[i] >= 0)
				close(door->given.fds[i]);
		free(door);
	}
}

/* Disks, peers and doors, until the arena comes, which is last. */
static int take_peers_and_arena(struct tm_daemon *daemon, int connection)
{
	union {
		struct tm_takeover_head head;
		struct tm_takeover_peer peer;
		struct tm_takeover_disk disk;
		struct tm_takeover_door door;
		struct tm_takeover_arena arena;
	} message;
	struct fds fds = { .count = 0 };
	int err;

	for (;;) {
		ssize_t size = receive_any(connection, &message,
					   sizeof(message), &fds);

		if (size < 0)
			return (int)size;
		if (message.head.kind == TM_TAKEOVER_DISK &&
		    size == sizeof(message.disk))
			err = keep_disk(daemon, &message.disk);
		else if (message.head.kind == TM_TAKEOVER_PEER &&
			 size == sizeof(message.peer))
			err = keep_peer(daemon, &message.peer, &fds);
		else if (message.head.kind == TM_TAKEOVER_DOOR &&
			 size == sizeof(message.door))
			err = keep_door(daemon, &message.door, &fds);
		else
			break;
		close_fds(&fds);
		if (err)
			return err;
	}
	if (message.head.kind == TM_TAKEOVER_ARENA && fds.count == 1) {
		daemon->arena_fd = fds.fd[0];
		return 0;
	}
	close_fds(&fds);
	return message.head.kind == TM_TAKEOVER_ARENA ? 0 : -EPROTO;
}

void tm_takeover_import(struct tm_daemon *daemon)
{
	while (daemon->inherited) {
		struct tm_inherited_peer *peer = daemon->inherited;
		int err;

		daemon->inherited = peer->next;
		err = tm_ring_server_import(daemon->ring, peer->message.record,
					    peer->message.size, peer->fds);
		if (err)
			tm_daemon_log(daemon->log, TMEM_LOG_WARNING,
				      "a peer must connect again: %s",
				      strerror(-err));
		free(peer);
	}
}

static bool is_configured(const struct tm_daemon *daemon, const char *name)
{
	for (const struct tm_config_disk *d = daemon->config->disks; d;
	     d = d->next)
		if (!strcmp(d->client.name, name))
			return true;
	return false;
}

void tm_takeover_import_disks(struct tm_daemon *daemon)
{
	for (const struct tm_config_disk *d = daemon->inherited_disks; d;
	     d = d->next) {
		char error[TM_CONFIG_ERROR_SIZE];

		if (!is_configured(daemon, d->client.name) &&
		    tm_disks_add(daemon->disks, d,
				 tm_takeover_door(daemon, d->client.name),
				 error, sizeof(error)))
			tm_daemon_log_text(daemon->log, TMEM_LOG_ERROR, error);
	}
}

void tm_takeover_forget(struct tm_daemon *daemon)
{
	forget_doors(daemon);
	while (daemon->inherited_disks) {
		struct tm_config_disk *disk = daemon->inherited_disks;

		daemon->inherited_disks = disk->next;
		free(disk);
	}
	while (daemon->inherited) {
		struct tm_inherited_peer *peer = daemon->inherited;

		daemon->inherited = peer->next;
		for (int i = 0; i < PEER_FDS; i++)
			close(peer->fds[i]);
		free(peer);
	}
}

int tm_takeover_take(struct tm_daemon *daemon, int *out)
{
	uint32_t sockets = 0;
	int connection = -1;
	int err = connect_to_old(daemon, &connection);

	if (err)
		return err;
	err = ask(daemon, connection, &sockets);
	if (err)
		goto out_close;
	for (uint32_t i = 0; i < sockets && !err; i++)
		err = take_socket(daemon, connection);
	if (!err)
		err = take_peers_and_arena(daemon, connection);
	if (err) {
		complain(daemon, err, strerror(-err));
		goto out_close;
	}
	daemon->is_successor = true;
	*out = connection;
	return 0;

out_close:
	close(connection);
	return err;
}

void tm_takeover_confirm(int connection, bool is_serving)
{
	const struct tm_takeover_end end = {
		.head = head_of(TM_TAKEOVER_END),
		.status = is_serving ? 0 : -ECANCELED,
	};

	/* Should it not hear us: it sees the end of the connection, and cannot
	 * open an arena that is in use. */
	send_with(connection, &end, sizeof(end), NULL);
	close(connection);
}
