/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The ports that lead through the hypercall channel: to a ring server in this
 * process ("ring"), or to a daemon that runs ("daemon SOCKET CONTROL"; what is
 * the host's to do is asked of it with `tmem`). There is a peer for each guest,
 * whose memory is the guest's. It writes structs tmem_op into the ring by
 * itself, without the library's client.
 *
 * The channel gives plain answers (see conform.h), has no 32-bit guests, and
 * memory without holes.
 */
#include <config.h>

#include <inttypes.h>
#include <spawn.h>
#include <sys/wait.h>

#include "conform.h"
#include "raw_peer.h"
#include "ring_host.h"

struct ring_port {
	struct conform_port port;
	struct ring_host host;
	struct raw_peer peers[CONFORM_GUESTS];
	/* of a daemon; the host is not used then */
	const char *control;
	bool has_ended[CONFORM_GUESTS];
};

extern char **environ;

static void name_guest(char *name, size_t size, int guest)
{
	snprintf(name, size, "guest-%d", guest);
}

static void attach_all(struct ring_port *p, const char *socket)
{
	char name[16];

	for (int i = 0; i < CONFORM_GUESTS; i++) {
		name_guest(name, sizeof(name), i);
		raw_init(&p->peers[i], name);
		errno = -raw_attach(&p->peers[i], socket);
		ring_host_must(!errno);
	}
}

static struct conform_port *ring_open(char *const argument[])
{
	struct ring_port *p = calloc(1, sizeof(*p));

	(void)argument;
	ring_host_must(p);
	p->port.ops = &conform_ring_port;
	ring_host_init(&p->host, 64 << 20);
	p->host.config.flags |= TMEM_STORE_NO_THREADS;
	ring_host_open(&p->host);
	attach_all(p, p->host.socket);
	return &p->port;
}

static void ring_close(struct conform_port *port)
{
	struct ring_port *p = (struct ring_port *)port;

	for (int i = 0; i < CONFORM_GUESTS; i++)
		raw_close(&p->peers[i]);
	ring_host_close(&p->host);
	free(p);
}

static struct raw_peer *peer_of(struct conform_port *port, int guest)
{
	return &((struct ring_port *)port)->peers[guest];
}

static void ring_write(struct conform_port *port, int guest, uint64_t frame,
		       const void *page)
{
	memcpy(peer_of(port, guest)->memory + frame * TMEM_PAGE_SIZE, page,
	       TMEM_PAGE_SIZE);
}

static void ring_read(struct conform_port *port, int guest, uint64_t frame,
		      void *page)
{
	memcpy(page, peer_of(port, guest)->memory + frame * TMEM_PAGE_SIZE,
	       TMEM_PAGE_SIZE);
}

static int ring_call(struct conform_port *port, int guest,
		     const struct tmem_xen_op *op, bool is_compat)
{
	struct tm_ring_op wire;

	(void)is_compat;
	memcpy(&wire, op, sizeof(wire));
	return raw_call(peer_of(port, guest), &wire, 0);
}

static int ring_set_frame(struct conform_port *port, int guest, uint64_t frame,
			  bool is_there, bool is_writable)
{
	(void)port, (void)guest, (void)frame, (void)is_there;
	(void)is_writable;
	return -ENOTSUP;
}

static struct tmem_client *client_of(struct conform_port *port, int guest)
{
	struct ring_port *p = (struct ring_port *)port;
	char name[16];

	name_guest(name, sizeof(name), guest);
	return ring_host_find(&p->host, name)->client;
}

static int ring_freeze(struct conform_port *port, int guest, bool is_frozen)
{
	return tmem_client_set_frozen(client_of(port, guest), is_frozen);
}

static int ring_authorise(struct conform_port *port, int guest, uint64_t low,
			  uint64_t high, bool is_allowed)
{
	const struct tmem_uuid uuid = { { low, high } };

	return tmem_client_set_shared_auth(client_of(port, guest), &uuid,
					   is_allowed);
}

static int ring_evict(struct conform_port *port)
{
	struct ring_port *p = (struct ring_port *)port;

	return tmem_store_evict(p->host.store, UINT64_MAX) < 0 ? -EIO : 0;
}

static int ring_end(struct conform_port *port, int guest)
{
	struct ring_port *p = (struct ring_port *)port;
	char name[16];

	name_guest(name, sizeof(name), guest);
	tmem_xen_domain_end(ring_host_find(&p->host, name)->domain);
	return 0;
}

const struct conform_port_ops conform_ring_port = {
	.name = "ring",
	.is_plain = true,
	.has_no_compat = true,
	.open = ring_open,
	.close = ring_close,
	.write_frame = ring_write,
	.read_frame = ring_read,
	.call = ring_call,
	.set_frame = ring_set_frame,
	.freeze = ring_freeze,
	.authorise = ring_authorise,
	.evict = ring_evict,
	.end = ring_end,
};

/* --- a daemon that runs --------------------------------------------------- */

/* tmem VERB GUEST [...]; 0 or a negative errno. */
static int operate(struct conform_port *port, const char *verb, int guest,
		   const char *const more[4])
{
	struct ring_port *p = (struct ring_port *)port;
	const char *arguments[10] = { "tmem", "--control", p->control, verb };
	char name[16];
	int status, n = 4;
	pid_t pid;

	name_guest(name, sizeof(name), guest);
	if (guest >= 0)
		arguments[n++] = name;
	for (int i = 0; i < 4 && more[i]; i++)
		arguments[n++] = more[i];
	if (posix_spawnp(&pid, "tmem", NULL, NULL, (char *const *)arguments,
			 environ))
		return -ENOENT;
	if (waitpid(pid, &status, 0) != pid || status)
		return -EIO;
	return 0;
}

static struct conform_port *daemon_open(char *const argument[])
{
	struct ring_port *p = calloc(1, sizeof(*p));

	ring_host_must(p);
	if (!argument[0] || !argument[1])
		return NULL;
	p->port.ops = &conform_daemon_port;
	p->control = argument[1];
	attach_all(p, argument[0]);
	return &p->port;
}

static int daemon_end(struct conform_port *port, int guest)
{
	((struct ring_port *)port)->has_ended[guest] = true;
	return operate(port, "destroy", guest, (const char *[4]){ NULL });
}

static void daemon_close(struct conform_port *port)
{
	struct ring_port *p = (struct ring_port *)port;

	for (int i = 0; i < CONFORM_GUESTS; i++) {
		raw_close(&p->peers[i]);
		if (!p->has_ended[i])
			daemon_end(port, i);
	}
	free(p);
}

/* Who has ended is cut off: nobody is there to answer. */
static int daemon_call(struct conform_port *port, int guest,
		       const struct tmem_xen_op *op, bool is_compat)
{
	struct ring_port *p = (struct ring_port *)port;
	struct pollfd peer = { .fd = p->peers[guest].fd, .events = POLLRDHUP };

	if (p->has_ended[guest] && poll(&peer, 1, 60000) > 0)
		return -ENODEV;
	return ring_call(port, guest, op, is_compat);
}

static int daemon_freeze(struct conform_port *port, int guest, bool is_frozen)
{
	return operate(port, is_frozen ? "freeze" : "thaw", guest,
		       (const char *[4]){ NULL });
}

static int daemon_authorise(struct conform_port *port, int guest, uint64_t low,
			    uint64_t high, bool is_allowed)
{
	char uuid[37];

	snprintf(uuid, sizeof(uuid),
		 "%08" PRIx64 "-%04" PRIx64 "-%04" PRIx64 "-%04" PRIx64
		 "-%012" PRIx64,
		 high >> 32, high >> 16 & 0xffff, high & 0xffff, low >> 48,
		 low & 0xffffffffffff);
	return operate(
		port, "shared-auth", guest,
		(const char *[4]){ "-u", uuid, "-A", is_allowed ? "1" : "0" });
}

static int daemon_evict(struct conform_port *port)
{
	return operate(port, "flush", -1, (const char *[4]){ NULL });
}

const struct conform_port_ops conform_daemon_port = {
	.name = "daemon",
	.is_plain = true,
	.has_no_compat = true,
	.open = daemon_open,
	.close = daemon_close,
	.write_frame = ring_write,
	.read_frame = ring_read,
	.call = daemon_call,
	.set_frame = ring_set_frame,
	.freeze = daemon_freeze,
	.authorise = daemon_authorise,
	.evict = daemon_evict,
	.end = daemon_end,
};
