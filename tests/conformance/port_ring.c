/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The port that leads through the daemon's hypercall channel: a ring server in
 * this process, and a peer for each guest, whose memory is the guest's. It
 * writes structs tmem_op into the ring by itself, without the library's client.
 *
 * The channel gives plain answers (see conform.h), has no 32-bit guests, and
 * memory without holes.
 */
#include <config.h>

#include "conform.h"
#include "raw_peer.h"
#include "ring_host.h"

struct ring_port {
	struct conform_port port;
	struct ring_host host;
	struct raw_peer peers[CONFORM_GUESTS];
};

static struct conform_port *ring_open(char *const argument[])
{
	struct ring_port *p = calloc(1, sizeof(*p));

	(void)argument;
	ring_host_must(p);
	p->port.ops = &conform_ring_port;
	ring_host_init(&p->host, 64 << 20);
	p->host.config.flags |= TMEM_STORE_NO_THREADS;
	ring_host_open(&p->host);
	for (int i = 0; i < CONFORM_GUESTS; i++) {
		char name[16];

		snprintf(name, sizeof(name), "guest %d", i);
		raw_init(&p->peers[i], name);
		errno = -raw_attach(&p->peers[i], p->host.socket);
		ring_host_must(!errno);
	}
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

	snprintf(name, sizeof(name), "guest %d", guest);
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

	snprintf(name, sizeof(name), "guest %d", guest);
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
