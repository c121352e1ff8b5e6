/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The sockets that the daemon listens on: made, inherited from systemd or from
 * a predecessor, handed on, and taken away again (see sockets.c).
 */
#ifndef TM_SOCKETS_H
#define TM_SOCKETS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct tm_sockets;

/* How a socket is made when nobody passed it. */
struct tm_socket_how {
	const char *path;	/* or, of a stream, "ADDRESS:PORT" */
	bool is_stream;		/* else SOCK_SEQPACKET */
	bool is_private;	/* its directory is made 0700 */
	mode_t mode;
	uid_t owner;		/* (uid_t)-1: as the daemon */
	gid_t group;
};

/* One that is held, as a successor is told of it. */
struct tm_socket_info {
	const char *path;
	int fd;
	int lock_fd;		/* -1: none */
};

/* Takes the sockets that systemd passed. 0 or -ENOMEM. */
int tm_sockets_open(struct tm_sockets **sockets);
/* Closes all; unlinks those that were made here or by a predecessor, unless
 * @is_handed_on. */
void tm_sockets_close(struct tm_sockets *sockets, bool is_handed_on);

/*
 * A descriptor of the listening socket at how->path, which is made if it is not
 * held yet; the caller closes it, and the socket goes on listening. Once: until
 * it is dropped or taken back nobody else gets it.
 *
 * Return: the descriptor; or a negative errno after one sentence in @error.
 * -EBUSY: another daemon serves it; -EADDRINUSE: another program does, or
 * somebody in this daemon.
 */
int tm_sockets_get(struct tm_sockets *sockets, const struct tm_socket_how *how,
		   char *error, size_t error_size);
/*
 * Could it be made? Nothing is touched, and whether another daemon serves it is
 * not asked. 0; or a negative errno after one sentence in @error.
 */
int tm_sockets_check(const struct tm_socket_how *how, char *error,
		     size_t error_size);
/* Takes @fd and @lock_fd, of a socket that a predecessor made at @path. Until
 * tm_sockets_claim() it may go on with it: so it stays when we end. */
int tm_sockets_adopt(struct tm_sockets *sockets, const char *path, int fd,
		     int lock_fd);
/* No other daemon goes on with any of them: locks name this process. */
void tm_sockets_claim(struct tm_sockets *sockets);
/* Those that nobody has taken go. */
void tm_sockets_end_spare(struct tm_sockets *sockets);
/* The @n-th that is held; false: there are not so many. */
bool tm_sockets_info(const struct tm_sockets *sockets, size_t n,
		     struct tm_socket_info *info);
/* Is its directory closed to everybody but its owner? */
bool tm_sockets_is_private(const char *path);
/* Those who were given sockets have gone; the sockets go on listening. */
void tm_sockets_take_back(struct tm_sockets *sockets);
/* No longer listens there. */
void tm_sockets_drop(struct tm_sockets *sockets, const char *path);

#endif
