/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The daemon: one store, the clients that it is for, and those who reach them.
 *
 *	tmemd.c		the program: what it was told, signals, background
 *	daemon.c	opens, serves, closes (this)
 *	admission.c	who may attach, and to what
 *	limit.c		how much memory the store may have
 *	registry.c	the clients
 *	sockets.c	where it listens
 *	disks.c		disks of virtual machines
 *	fallow.c	the limit that follows the host
 *	takeover.c	gives all of it to a successor, or takes it
 *	control*.c	what operators ask
 *	src/front/ring	what clients ask
 *
 * Order of life: log, configuration, sockets; then the engine (store, registry,
 * rings, control), which may end and begin again when a takeover fails.
 *
 * The main thread runs the loop of daemon.c and owns everything here but for
 * what limit_lock guards. It never waits for a peer.
 */
#ifndef TM_DAEMON_H
#define TM_DAEMON_H

#include <stdbool.h>

#include "config.h"
#include "control.h"
#include "daemon_log.h"
#include "disks.h"
#include "fallow.h"
#include "lock.h"
#include "registry.h"
#include "ring.h"
#include "sockets.h"

struct tm_daemon {
	/* set at creation, then constant */
	int argc;
	char **argv;
	struct tm_daemon_log *log;
	struct tm_sockets *sockets;
	int epoll_fd;
	int signal_fd;
	int timer_fd;
	int kick_fd;		/* eventfd: look again */
	int takeover_fd;	/* listens for a successor */
	/* the main thread's */
	struct tm_daemon_config *config;
	int arena_fd;		/* of an anonymous arena; -1: none */
	struct tmem_store *store;
	struct tmem_xen *xen;
	struct tm_registry *registry;
	struct tm_ring_server *ring;
	struct tm_control *control;
	struct tm_disks *disks;
	bool is_successor;
	bool has_served;	/* opening again does without what it had not */
	struct tm_inherited_peer *inherited;
	struct tm_config_disk *inherited_disks;
	struct tm_inherited_door *inherited_doors;
	_Atomic bool keeps_limit;	/* a reload's was refused */
	/* guarded by limit_lock */
	struct tm_lock limit_lock;
	struct tm_fallow *fallow;	/* NULL: the limit is fixed */
	struct tm_config_memory memory;	/* in force, if it is given */
};

enum tm_daemon_end {
	TM_DAEMON_ASKED,	/* by a signal */
	TM_DAEMON_REPLACED,	/* by a successor */
	TM_DAEMON_FAILED,
};

/* All blocked signals that are the daemon's own come from signal_fd. On
 * failure the log says why. */
int tm_daemon_open(struct tm_daemon *daemon);
/* Serves until the end; then nothing is open any more. */
enum tm_daemon_end tm_daemon_run(struct tm_daemon *daemon);

/* What may be opened and closed several times; see takeover.c. */
int tm_engine_open(struct tm_daemon *daemon);
void tm_engine_close(struct tm_daemon *daemon);

/* The main thread looks again at what is due. */
void tm_daemon_kick(struct tm_daemon *daemon);

/* --- admission.c --- */

/* The callbacks of struct tm_ring_host; @opaque is the daemon. */
int tm_admission_attach(void *opaque, const struct tm_ring_peer *peer,
			struct tm_ring_attachment *attachment);
void tm_admission_detach(void *opaque, struct tm_ring_attachment *attachment);

/* --- limit.c --- */

/* What the store is opened with. 0 or a negative errno, logged. */
int tm_limit_begin(struct tm_daemon *daemon, uint64_t arena_bytes,
		   uint64_t arena_max_bytes, struct tmem_store_config *config);
void tm_limit_end(struct tm_daemon *daemon);
/* Does what is due; @is_pressed: the host says so. When to look again; 0: when
 * something happens. */
uint64_t tm_limit_look(struct tm_daemon *daemon, bool is_pressed,
		       bool is_in_use);
/* As set_memory of struct tm_control_host: from any thread. */
int tm_limit_set(void *opaque, const char *memory, char *error,
		 size_t error_size);
int tm_limit_apply(struct tm_daemon *daemon,
		   const struct tm_config_memory *memory, char *error,
		   size_t error_size);

/* --- takeover.c --- */

/* Listens for a successor. 0 or a negative errno, logged. */
int tm_takeover_listen(struct tm_daemon *daemon);
/* A successor is there. true: it serves now. */
bool tm_takeover_give(struct tm_daemon *daemon);
/* Takes sockets and arena from the daemon that runs. 0, or a negative errno,
 * logged. *@connection goes to tm_takeover_confirm(). */
int tm_takeover_take(struct tm_daemon *daemon, int *connection);
/* Serves the peers that came with it, before anybody else; or does not. */
void tm_takeover_import(struct tm_daemon *daemon);
/* The door that disk @name had in the old daemon, or NULL. */
struct tm_vhost_given *tm_takeover_door(struct tm_daemon *daemon,
					const char *name);
/* Serves the disks that the old daemon had and the configuration has not. */
void tm_takeover_import_disks(struct tm_daemon *daemon);
void tm_takeover_forget(struct tm_daemon *daemon);
/* We serve, or (@is_serving false) cannot: the old one goes on. */
void tm_takeover_confirm(int connection, bool is_serving);

#endif
