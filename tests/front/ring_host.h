/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The smallest host of a ring server: a store, and clients by name, one peer
 * for each. What tmemd does, without its configuration.
 *
 * In this process, or, to be killed, in a child of it. Without libcheck, so
 * that programs and fuzz targets can use it: a failure is errno's text and
 * abort().
 */
#ifndef TM_RING_HOST_H
#define TM_RING_HOST_H

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <tmem/tmem.h>

#include "ring.h"

#define RING_HOST_CLIENTS 64

struct ring_host_client {
	char name[TMEM_CLIENT_NAME_MAX + 1];
	struct tmem_client *client;
	struct tmem_xen_domain *domain;
	bool is_attached;
};

struct ring_host {
	struct tmem_store_config config;
	struct tm_ring_limits limits;
	char socket[64];
	struct tmem_store *store;
	struct tmem_xen *xen;
	struct tm_ring_server *server;
	_Atomic unsigned attached;
	_Atomic unsigned attaches;
	_Atomic unsigned detaches;
	_Atomic unsigned warnings;
	pthread_mutex_t lock;
	char warning[256];
	struct ring_host_client clients[RING_HOST_CLIENTS];
};

#define ring_host_must(expr)                                                   \
	do {                                                                   \
		if (!(expr)) {                                                 \
			fprintf(stderr, "%s:%d: %s: %s\n", __FILE__,           \
				__LINE__, #expr, strerror(errno));             \
			abort();                                               \
		}                                                              \
	} while (0)

static inline void ring_host_log(void *opaque, enum tmem_log_level level,
				 const char *text)
{
	struct ring_host *host = opaque;

	if (getenv("TMEM_TEST_LOG"))
		fprintf(stderr, "host: %s\n", text);
	if (level > TMEM_LOG_WARNING)
		return;
	pthread_mutex_lock(&host->lock);
	snprintf(host->warning, sizeof(host->warning), "%s", text);
	pthread_mutex_unlock(&host->lock);
	atomic_fetch_add(&host->warnings, 1);
}

static inline struct ring_host_client *
ring_host_find(struct ring_host *host, const char *name)
{
	struct ring_host_client *free_one = NULL;

	for (int i = 0; i < RING_HOST_CLIENTS; i++) {
		struct ring_host_client *c = &host->clients[i];

		if (!strcmp(c->name, name))
			return c;
		if (!c->name[0] && !free_one)
			free_one = c;
	}
	return free_one;
}

static inline int ring_host_make(struct ring_host *host,
				 struct ring_host_client *c, const char *name)
{
	struct tmem_xen_domain_config domain;
	struct tmem_client_config config;
	int err;

	tmem_client_config_init(&config);
	config.name = name;
	err = tmem_client_attach(host->store, &config, &c->client);
	if (err < 0)
		return err;
	tmem_xen_domain_config_init(&domain);
	domain.id = (uint16_t)(c - host->clients);
	domain.client = c->client;
	ring_host_must(!tmem_xen_domain_create(host->xen, &domain,
					       &c->domain));
	snprintf(c->name, sizeof(c->name), "%s", name);
	return 0;
}

static inline int ring_host_attach(void *opaque,
				   const struct tm_ring_peer *peer,
				   struct tm_ring_attachment *attachment)
{
	struct ring_host *host = opaque;
	const char *name = peer->listener_name[0] ? peer->listener_name :
						    peer->name;
	struct ring_host_client *c = ring_host_find(host, name);
	int err;

	if (!c)
		return -EUSERS;
	if (c->is_attached)
		return -EBUSY;
	err = c->client ? 0 : ring_host_make(host, c, name);
	if (err)
		return err;
	c->is_attached = true;
	attachment->client = c->client;
	attachment->domain = c->domain;
	attachment->opaque = c;
	atomic_fetch_add(&host->attached, 1);
	atomic_fetch_add(&host->attaches, 1);
	return 0;
}

static inline void ring_host_detach(void *opaque,
				    struct tm_ring_attachment *attachment)
{
	struct ring_host *host = opaque;
	struct ring_host_client *c = attachment->opaque;

	c->is_attached = false;
	atomic_fetch_sub(&host->attached, 1);
	atomic_fetch_add(&host->detaches, 1);
}

/* Defaults; change config, limits or socket before opening for others. */
static inline void ring_host_init(struct ring_host *host,
				  uint64_t memory_bytes)
{
	memset(host, 0, sizeof(*host));
	pthread_mutex_init(&host->lock, NULL);
	tmem_store_config_init(&host->config);
	host->config.memory_bytes = memory_bytes;
	host->config.flags = TMEM_STORE_NO_LOCK;
	host->config.log = ring_host_log;
	host->config.log_opaque = host;
	snprintf(host->socket, sizeof(host->socket), "/tmp/tmem-ring-%d.sock",
		 (int)getpid());
}

static inline int ring_host_listen(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	ring_host_must(fd >= 0);
	unlink(path);
	strcpy(address.sun_path, path);
	ring_host_must(!bind(fd, (struct sockaddr *)&address,
			     sizeof(address)));
	ring_host_must(!listen(fd, 128));
	return fd;
}

static inline void ring_host_open(struct ring_host *host)
{
	const struct tm_ring_host callbacks = {
		.opaque = host,
		.attach = ring_host_attach,
		.detach = ring_host_detach,
		.log = ring_host_log,
	};
	struct tmem_xen_config xen;
	int err = tmem_store_open(&host->config, &host->store);

	errno = -err;
	ring_host_must(!err);
	ring_host_must(!tmem_guest_memory_catch_faults());
	tmem_xen_config_init(&xen);
	xen.store = host->store;
	ring_host_must(!tmem_xen_open(&xen, &host->xen));
	ring_host_must(!tm_ring_server_open(&callbacks, &host->limits,
					    &host->server));
	ring_host_must(!tm_ring_server_listen(
		host->server, ring_host_listen(host->socket), NULL));
}

static inline void ring_host_close(struct ring_host *host)
{
	unlink(host->socket);
	tm_ring_server_close(host->server);
	ring_host_must(host->attached == 0);
	for (int i = 0; i < RING_HOST_CLIENTS; i++) {
		tmem_xen_domain_close(host->clients[i].domain);
		tmem_client_detach(host->clients[i].client);
	}
	tmem_xen_close(host->xen);
	ring_host_must(!tmem_store_check(host->store));
	tmem_store_close(host->store);
}

/* In a child, which ends by signal only; returns when it listens. */
static inline pid_t ring_host_fork(struct ring_host *host)
{
	int ready[2];
	char byte;
	pid_t child;

	ring_host_must(!pipe(ready));
	child = fork();
	ring_host_must(child >= 0);
	if (!child) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(ready[0]);
		ring_host_open(host);
		ring_host_must(write(ready[1], "r", 1) == 1);
		for (;;)
			pause();
	}
	close(ready[1]);
	ring_host_must(read(ready[0], &byte, 1) == 1);
	close(ready[0]);
	return child;
}

static inline void ring_host_kill(pid_t child)
{
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
}

#endif
