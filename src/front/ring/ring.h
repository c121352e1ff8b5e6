/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The hypercall channel, the daemon's side: listens, lets peers in, and serves
 * their rings.
 *
 * A peer connects to a listening socket, says hello, passes the memory that
 * serves as its guest RAM, and gets the memory of its rings, which is ours and
 * sealed. From there on nothing goes over the socket: each ring has a thread
 * here that takes a struct tmem_op from it, carries it out against that memory
 * through the Xen front end, and writes the result back. See ring_abi.h for the layout and
 * doc/channel-format.md for what is read when.
 *
 * Who a peer is, is its host's to say: through the callbacks below, which are
 * called from the acceptor's thread.
 *
 * What a peer may do: anything. A counter that cannot be, or memory that is no
 * longer there, costs it its connection. Waiting for it is never unbounded, and
 * never done by a thread that others need: who is being let go of is waited
 * for by its own last thread.
 */
#ifndef TM_RING_H
#define TM_RING_H

#include <sys/types.h>

#include <tmem/tmem.h>
#include <tmem/xen.h>

struct tm_ring_server;

/* Who connected. */
struct tm_ring_peer {
	pid_t pid;
	uid_t uid;
	/* Of the listener; "" when the peer names itself. */
	const char *listener_name;
	/* As the hello says, checked for length and terminated; or "". */
	const char *name;
};

/* What the host lends for as long as the peer is there: a client, and a domain
 * that borrows it, whose memory is the peer's meanwhile. Faults there are caught
 * if the program asked for it: tmem_guest_memory_catch_faults(). */
struct tm_ring_attachment {
	struct tmem_client *client;
	struct tmem_xen_domain *domain;
	void *opaque;
};

struct tm_ring_host {
	void *opaque;
	/* 0 and an attachment, or the negative errno that the peer is told.
	 * -EBUSY is asked again for a second while others are being let go:
	 * a peer that died and came back may be faster than we are. */
	int (*attach)(void *opaque, const struct tm_ring_peer *peer,
		      struct tm_ring_attachment *attachment);
	/* No thread works for it any more. */
	void (*detach)(void *opaque, struct tm_ring_attachment *attachment);
	void (*log)(void *opaque, enum tmem_log_level level, const char *text);
};

/* 0: as much as there can be. */
struct tm_ring_limits {
	uint32_t peers_max;		/* in all */
	uint32_t rings_max;		/* threads, in all */
	uint32_t rings_per_peer_max;
	uint64_t memory_per_peer_max_bytes;
};

/* Copies @host and @limits. 0 or a negative errno. */
int tm_ring_server_open(const struct tm_ring_host *host,
			const struct tm_ring_limits *limits,
			struct tm_ring_server **server);
/* Takes over @fd, a listening UNIX socket (SOCK_SEQPACKET). @name: every peer
 * that comes here is that client; NULL: it names itself. 0 or -ENOMEM. */
int tm_ring_server_listen(struct tm_ring_server *server, int fd,
			  const char *name);
/* Lets go of the peer whose attachment has this opaque; does not wait for the
 * detach callback. */
void tm_ring_server_drop(struct tm_ring_server *server, const void *opaque);
/*
 * Handing over to a successor, whose peers notice nothing: their sockets,
 * memories and rings go on as they are. Nothing is carried out between export
 * and import; what peers send meanwhile waits in their rings.
 *
 * tm_ring_server_export() stops serving, hangs up on who has not been let in,
 * and gives a record and three descriptors for each peer, to be passed on;
 * they stay ours. Then the server is closed, which peers do not notice; or, when
 * giving failed, it serves on: tm_ring_server_resume(), which is for after an
 * export only, and waits until it does. 0, or what @give said.
 */
#define TM_RING_RECORD_DESCRIPTORS 3
#define TM_RING_RECORD_MAX 4096

typedef int tm_ring_give_fn(void *opaque, const void *record, size_t size,
			    const int fds[TM_RING_RECORD_DESCRIPTORS]);

int tm_ring_server_export(struct tm_ring_server *server, tm_ring_give_fn *give,
			  void *opaque);
void tm_ring_server_resume(struct tm_ring_server *server);
/* Serves who was exported elsewhere; attached as if it had come here. Takes over
 * the descriptors, whatever is returned. One call at a time. 0, -EINVAL (no
 * record of this version), or as attach() said: the peer is hung up on. */
int tm_ring_server_import(struct tm_ring_server *server, const void *record,
			  size_t size,
			  const int fds[TM_RING_RECORD_DESCRIPTORS]);

/* Lets go of everybody and waits for that; listeners are closed. */
void tm_ring_server_close(struct tm_ring_server *server);

#endif
