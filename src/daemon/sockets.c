/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The sockets that the daemon listens on.
 *
 * The problem: a socket's file outlives the daemon that was killed, and is then
 * in the way of the next; but taking it away from a daemon that lives cuts
 * everybody off from it without a word. The idea: beside a socket lies a file,
 * PATH.lock, that whoever serves it holds locked. The lock ends with its
 * holder, however that ends; so who gets it may take the socket away.
 *
 * Other programs hold no such lock, but they answer: a socket that does is left
 * alone. And within the daemon each is given out once: two disks at one socket
 * would each get some of the guests.
 *
 * A socket is made with the mode 0600 from the first moment, whatever the
 * umask, and only then given to its owner. What is at the path and is no socket
 * is left alone. The lock's file is never unlinked: somebody may just be opening
 * it.
 *
 * What systemd passed is recognised by its path. It is not locked, made or
 * taken away here.
 *
 * Locks: sockets.lock guards the list; disks come and go from operators'
 * threads. All else is the main thread's.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#ifdef HAVE_SYSTEMD
#include <systemd/sd-daemon.h>
#endif

#include "lock.h"
#include "makeable.h"
#include "sockets.h"

#define BACKLOG 128
#define PATH_SIZE 128
/* A daemon that was killed lets go of its lock shortly before its sockets. */
#define ANSWERS_TRIES 20
#define ANSWERS_PAUSE_MS 10

struct held {
	struct held *next;
	char path[PATH_SIZE];
	int fd;
	int lock_fd;
	bool is_taken;	/* by who serves it */
	bool is_inherited;	/* from a daemon that may go on with it */
};

struct tm_sockets {
	struct tm_lock lock;
	struct held *first;
};

struct complaint {
	char *text;
	size_t size;
};

__attribute__((format(printf, 3, 4))) static int
complain(const struct complaint *complaint, int err, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(complaint->text, complaint->size, format, args);
	va_end(args);
	return err;
}

static struct held *find(const struct tm_sockets *sockets, const char *path)
{
	for (struct held *h = sockets->first; h; h = h->next)
		if (!strcmp(h->path, path))
			return h;
	return NULL;
}

static struct held *add(struct tm_sockets *sockets, const char *path, int fd,
			int lock_fd)
{
	struct held *held = malloc(sizeof(*held));

	if (!held)
		return NULL;
	*held = (struct held){
		.next = sockets->first,
		.fd = fd,
		.lock_fd = lock_fd,
	};
	snprintf(held->path, sizeof(held->path), "%s", path);
	sockets->first = held;
	return held;
}

/* --- what systemd passed -------------------------------------------------------- */

#ifdef HAVE_SYSTEMD
static int take_passed(struct tm_sockets *sockets)
{
	int count = sd_listen_fds(1);

	for (int i = 0; i < count; i++) {
		int fd = SD_LISTEN_FDS_START + i;
		struct sockaddr_un address = { .sun_family = AF_UNSPEC };
		socklen_t size = sizeof(address);
		char path[sizeof(address.sun_path) + 1] = "";

		if (!getsockname(fd, (struct sockaddr *)&address, &size) &&
		    address.sun_family == AF_UNIX &&
		    size > offsetof(struct sockaddr_un, sun_path))
			memcpy(path, address.sun_path,
			       size - offsetof(struct sockaddr_un, sun_path));
		if (*path != '/')
			close(fd);
		else if (!add(sockets, path, fd, -1))
			return -ENOMEM;
	}
	return 0;
}
#else
static int take_passed(struct tm_sockets *sockets)
{
	(void)sockets;
	return 0;
}
#endif

int tm_sockets_open(struct tm_sockets **out)
{
	struct tm_sockets *sockets = calloc(1, sizeof(*sockets));
	int err;

	if (!sockets)
		return -ENOMEM;
	tm_lock_init(&sockets->lock, TM_RANK_SOCKETS);
	err = take_passed(sockets);
	if (err)
		tm_sockets_close(sockets, true);
	else
		*out = sockets;
	return err;
}

/* --- directories -------------------------------------------------------------------- */

/* Makes what is missing of the path's directories; the last one with @mode. */
static int make_directories(const char *path, mode_t mode)
{
	char part[PATH_SIZE];
	const char *last = strrchr(path, '/');

	for (const char *slash = strchr(path + 1, '/'); slash;
	     slash = strchr(slash + 1, '/')) {
		snprintf(part, sizeof(part), "%.*s", (int)(slash - path), path);
		if (mkdir(part, slash == last ? mode : 0755) &&
		    errno != EEXIST)
			return -errno;
	}
	return 0;
}

static int stat_directory(const char *path, char *directory, size_t size,
			  struct stat *status)
{
	snprintf(directory, size, "%.*s", (int)(strrchr(path, '/') - path),
		 path);
	if (!*directory)
		snprintf(directory, size, "/");
	return stat(directory, status) ? -errno : 0;
}

bool tm_sockets_is_private(const char *path)
{
	char directory[PATH_SIZE];
	struct stat status;

	return !stat_directory(path, directory, sizeof(directory), &status) &&
	       !(status.st_mode & 077);
}

static int check_directory(const struct tm_socket_how *how,
			   const struct complaint *complaint)
{
	char directory[PATH_SIZE];
	struct stat status;
	int err = stat_directory(how->path, directory, sizeof(directory),
				 &status);

	if (err)
		return complain(complaint, err, "%s: %s", directory,
				strerror(-err));
	if (status.st_uid != geteuid() && status.st_uid != 0)
		return complain(complaint, -EPERM,
				"%s belongs to another user, who could put a "
				"socket of his own there; name another path",
				directory);
	if (status.st_mode & S_IWOTH && !(status.st_mode & S_ISVTX))
		return complain(complaint, -EPERM,
				"%s can be written by everybody; use a "
				"directory of the daemon's own",
				directory);
	return 0;
}

/* Only a socket may be in the way; a path that was mistyped is left alone. */
static int check_occupant(const char *path, const struct complaint *complaint)
{
	struct stat status;

	if (lstat(path, &status))
		return errno == ENOENT ? 0 :
					 complain(complaint, -errno, "%s: %s",
						  path, strerror(errno));
	if (!S_ISSOCK(status.st_mode))
		return complain(complaint, -EEXIST,
				"%s is there and is no socket; move it away or "
				"name another path",
				path);
	return 0;
}

static int check_makeable(const char *path, const struct complaint *complaint)
{
	char at[PATH_SIZE];
	int err = tm_makeable(path, TM_MAKEABLE_ALL, at, sizeof(at));

	return err ? complain(complaint, err, "%s cannot be made: %s: %s", path,
			      at, strerror(-err))
		   : 0;
}

int tm_sockets_check(const struct tm_socket_how *how, char *error,
		     size_t error_size)
{
	const struct complaint complaint = { error, error_size };
	char directory[PATH_SIZE];
	struct stat status;
	int err;

	if (*how->path != '/')
		return 0;
	err = stat_directory(how->path, directory, sizeof(directory), &status);
	if (!err)
		err = check_directory(how, &complaint);
	else if (err == -ENOENT)
		return check_makeable(how->path, &complaint);
	else
		complain(&complaint, err, "%s: %s", directory, strerror(-err));
	if (!err)
		err = check_occupant(how->path, &complaint);
	/* Who has passed or made it may have needed rights that we do not. */
	if (!err && lstat(how->path, &status))
		err = check_makeable(how->path, &complaint);
	return err;
}

/* --- locks ----------------------------------------------------------------------------- */

/* For people, and for messages. What is read is at any time the process of one
 * who has held the lock: written over, and only then cut to its length. */
static void write_pid(int lock_fd)
{
	char pid[24];
	int size = snprintf(pid, sizeof(pid), "%ld\n", (long)getpid());

	if (pwrite(lock_fd, pid, (size_t)size, 0) < 0 ||
	    ftruncate(lock_fd, size))
		return;
}

static int take_lock(const char *path, const struct complaint *complaint)
{
	char name[PATH_SIZE + 8], pid[24] = "";
	ssize_t size;
	int fd, err;

	snprintf(name, sizeof(name), "%s.lock", path);
	fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return complain(complaint, -errno, "%s: %s", name,
				strerror(errno));
	if (!flock(fd, LOCK_EX | LOCK_NB)) {
		write_pid(fd);
		return fd;
	}
	err = -errno;
	size = pread(fd, pid, sizeof(pid) - 1, 0);
	pid[size > 0 ? strcspn(pid, "\n") : 0] = '\0';
	close(fd);
	if (err != -EWOULDBLOCK)
		return complain(complaint, err, "%s: %s", name, strerror(-err));
	return complain(complaint, -EBUSY,
			"another tmemd (process %s) serves %s; stop it, or "
			"replace it with --takeover",
			*pid ? pid : "unknown", path);
}

/* --- making ------------------------------------------------------------------------------ */

/* Is there somebody behind a socket's file? Of whatever type: only where nobody
 * is, the connection is refused. */
static bool answers(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	bool is_refused;

	/* Who cannot ask takes nothing away. */
	if (fd < 0)
		return true;
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	is_refused =
		connect(fd, (struct sockaddr *)&address, sizeof(address)) &&
		(errno == ECONNREFUSED || errno == ENOENT);
	close(fd);
	return !is_refused;
}

static bool keeps_answering(const char *path)
{
	for (int i = 0; i < ANSWERS_TRIES; i++) {
		if (!answers(path))
			return false;
		poll(NULL, 0, ANSWERS_PAUSE_MS);
	}
	return true;
}

/* The lock is held: nobody of ours serves what is there. */
static int clear_path(const char *path, const struct complaint *complaint)
{
	int err = check_occupant(path, complaint);

	if (!err && keeps_answering(path))
		return complain(complaint, -EADDRINUSE,
				"another program listens at %s; stop it, or "
				"name another path",
				path);
	if (err || !unlink(path) || errno == ENOENT)
		return err;
	return complain(complaint, -errno, "%s cannot be taken away: %s", path,
			strerror(errno));
}

static int bind_path(const struct tm_socket_how *how, int fd,
		     const struct complaint *complaint)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	if (strlen(how->path) >= sizeof(address.sun_path))
		return complain(complaint, -ENAMETOOLONG,
				"%s is longer than a socket's path can be",
				how->path);
	strcpy(address.sun_path, how->path);
	/* The file takes its mode from here: it is never open to more. */
	if (fchmod(fd, 0600) ||
	    bind(fd, (struct sockaddr *)&address, sizeof(address)))
		return complain(complaint, -errno, "%s: %s", how->path,
				strerror(errno));
	if ((how->owner != (uid_t)-1 || how->group != (gid_t)-1) &&
	    lchown(how->path, how->owner, how->group))
		return complain(complaint, -errno,
				"%s cannot be given to its owner: %s",
				how->path, strerror(errno));
	if (chmod(how->path, how->mode) || listen(fd, BACKLOG))
		return complain(complaint, -errno, "%s: %s", how->path,
				strerror(errno));
	return 0;
}

static int make_unix(const struct tm_socket_how *how,
		     const struct complaint *complaint)
{
	int type = how->is_stream ? SOCK_STREAM : SOCK_SEQPACKET;
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int err;

	if (fd < 0)
		return complain(complaint, -errno, "%s: %s", how->path,
				strerror(errno));
	err = clear_path(how->path, complaint);
	if (!err)
		err = bind_path(how, fd, complaint);
	if (!err)
		return fd;
	close(fd);
	return err;
}

static int bind_internet(const struct addrinfo *at)
{
	int fd = socket(at->ai_family,
			at->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	const int one = 1;
	int err;

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (!bind(fd, at->ai_addr, at->ai_addrlen) && !listen(fd, BACKLOG))
		return fd;
	err = -errno;
	close(fd);
	return err;
}

static int make_internet(const struct tm_socket_how *how,
			 const struct complaint *complaint)
{
	const struct addrinfo hints = {
		.ai_socktype = SOCK_STREAM,
		.ai_flags = AI_PASSIVE | AI_NUMERICHOST | AI_NUMERICSERV,
	};
	const char *colon = strrchr(how->path, ':');
	size_t length = (size_t)(colon - how->path);
	const char *host = how->path;
	struct addrinfo *found;
	char text[PATH_SIZE];
	int fd;

	if (length >= 2 && *host == '[' && host[length - 1] == ']') {
		host++;
		length -= 2;
	}
	snprintf(text, sizeof(text), "%.*s", (int)length, host);
	if (getaddrinfo(text, colon + 1, &hints, &found))
		return complain(complaint, -EINVAL,
				"%s is no address and port in numbers",
				how->path);
	fd = bind_internet(found);
	freeaddrinfo(found);
	if (fd < 0)
		complain(complaint, fd, "%s: %s", how->path, strerror(-fd));
	return fd;
}

static int make(struct tm_sockets *sockets, const struct tm_socket_how *how,
		const struct complaint *complaint, struct held **out)
{
	int lock_fd = -1, fd, err = 0;

	if (*how->path == '/') {
		err = make_directories(how->path,
				       how->is_private ? 0700 : 0755);
		if (err)
			return complain(complaint, err,
					"the directory of %s cannot be made: "
					"%s",
					how->path, strerror(-err));
		err = check_directory(how, complaint);
		/* Before the lock: its file stays. */
		if (!err)
			err = check_occupant(how->path, complaint);
		lock_fd = err ? err : take_lock(how->path, complaint);
		if (lock_fd < 0)
			return lock_fd;
		fd = make_unix(how, complaint);
	} else {
		fd = make_internet(how, complaint);
	}
	*out = fd < 0 ? NULL : add(sockets, how->path, fd, lock_fd);
	if (*out)
		return 0;
	err = fd < 0 ? fd : complain(complaint, -ENOMEM, "out of memory");
	if (fd >= 0)
		close(fd);
	if (lock_fd >= 0)
		close(lock_fd);
	return err;
}

static int get_locked(struct tm_sockets *sockets,
		      const struct tm_socket_how *how,
		      const struct complaint *complaint)
{
	struct held *held = find(sockets, how->path);
	int err = 0, fd;

	if (held && held->is_taken)
		err = complain(complaint, -EADDRINUSE,
			       "%s is served by this daemon already; name "
			       "another path",
			       how->path);
	else if (!held)
		err = make(sockets, how, complaint, &held);
	if (err)
		return err;
	fd = fcntl(held->fd, F_DUPFD_CLOEXEC, 0);
	if (fd < 0)
		return complain(complaint, -errno, "%s: %s", how->path,
				strerror(errno));
	held->is_taken = true;
	return fd;
}

int tm_sockets_get(struct tm_sockets *sockets, const struct tm_socket_how *how,
		   char *error, size_t error_size)
{
	const struct complaint complaint = { error, error_size };
	int fd;

	tm_lock_acquire(&sockets->lock);
	fd = get_locked(sockets, how, &complaint);
	tm_lock_release(&sockets->lock);
	return fd;
}

int tm_sockets_adopt(struct tm_sockets *sockets, const char *path, int fd,
		     int lock_fd)
{
	struct held *held = add(sockets, path, fd, lock_fd);

	if (!held)
		return -ENOMEM;
	held->is_inherited = true;
	return 0;
}

bool tm_sockets_info(const struct tm_sockets *sockets, size_t n,
		     struct tm_socket_info *info)
{
	const struct held *held = sockets->first;

	while (held && n--)
		held = held->next;
	if (held)
		*info = (struct tm_socket_info){
			.path = held->path,
			.fd = held->fd,
			.lock_fd = held->lock_fd,
		};
	return held;
}

void tm_sockets_take_back(struct tm_sockets *sockets)
{
	tm_lock_acquire(&sockets->lock);
	for (struct held *h = sockets->first; h; h = h->next)
		h->is_taken = false;
	tm_lock_release(&sockets->lock);
}

static void end(struct held *held, bool is_handed_on)
{
	/* Who holds the lock made it, or took over from who made it. */
	if (held->lock_fd >= 0 && !is_handed_on && !held->is_inherited)
		unlink(held->path);
	close(held->fd);
	if (held->lock_fd >= 0)
		close(held->lock_fd);
	free(held);
}

void tm_sockets_claim(struct tm_sockets *sockets)
{
	tm_lock_acquire(&sockets->lock);
	for (struct held *h = sockets->first; h; h = h->next) {
		h->is_inherited = false;
		if (h->lock_fd >= 0)
			write_pid(h->lock_fd);
	}
	tm_lock_release(&sockets->lock);
}

/* By systemd, which listens there for as long as its unit is active. */
static bool is_passed(const struct held *held)
{
	return held->lock_fd < 0 && *held->path == '/';
}

void tm_sockets_end_spare(struct tm_sockets *sockets)
{
	struct held **link, *held;

	tm_lock_acquire(&sockets->lock);
	for (link = &sockets->first; (held = *link);) {
		if (held->is_taken || is_passed(held)) {
			link = &held->next;
			continue;
		}
		*link = held->next;
		end(held, false);
	}
	tm_lock_release(&sockets->lock);
}

void tm_sockets_drop(struct tm_sockets *sockets, const char *path)
{
	struct held **link, *held;

	tm_lock_acquire(&sockets->lock);
	for (link = &sockets->first; *link; link = &(*link)->next)
		if (!strcmp((*link)->path, path))
			break;
	held = *link;
	if (held)
		*link = held->next;
	tm_lock_release(&sockets->lock);
	if (held)
		end(held, false);
}

void tm_sockets_close(struct tm_sockets *sockets, bool is_handed_on)
{
	if (!sockets)
		return;
	while (sockets->first) {
		struct held *held = sockets->first;

		sockets->first = held->next;
		end(held, is_handed_on);
	}
	free(sockets);
}
