/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The port that needs nothing: a store and a front end in this process.
 */
#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conform.h"

struct guest {
	struct tmem_xen_domain *domain;
	struct tmem_guest_memory *memory;
	/* The operation itself is read from the frame behind the others. */
	uint8_t *ram;
};

struct process_port {
	struct conform_port port;
	struct tmem_store *store;
	struct tmem_xen *xen;
	struct guest guests[CONFORM_GUESTS];
};

#define RAM_BYTES ((CONFORM_FRAMES + 1) * (size_t)TMEM_PAGE_SIZE)

static int begin_guest(struct process_port *p, int number)
{
	struct guest *guest = &p->guests[number];
	struct tmem_xen_domain_config config;
	struct tmem_client_config client;
	char name[32];
	int err;

	guest->ram = calloc(1, RAM_BYTES);
	if (!guest->ram)
		return -ENOMEM;
	err = tmem_guest_memory_create(&guest->memory);
	if (!err)
		err = tmem_guest_memory_add(guest->memory, 0,
					    CONFORM_FRAMES + 1, guest->ram,
					    true);
	if (err)
		return err;
	snprintf(name, sizeof(name), "guest %d", number);
	tmem_client_config_init(&client);
	client.name = name;
	tmem_xen_domain_config_init(&config);
	config.id = (uint16_t)(number + 1);
	config.client_config = &client;
	config.memory = guest->memory;
	return tmem_xen_domain_create(p->xen, &config, &guest->domain);
}

static void process_close(struct conform_port *port)
{
	struct process_port *p = (struct process_port *)port;

	for (int i = 0; i < CONFORM_GUESTS; i++) {
		struct guest *guest = &p->guests[i];

		if (guest->domain)
			tmem_xen_domain_end(guest->domain);
		tmem_xen_domain_close(guest->domain);
		tmem_guest_memory_destroy(guest->memory);
		free(guest->ram);
	}
	tmem_xen_close(p->xen);
	tmem_store_close(p->store);
	free(p);
}

static struct conform_port *process_open(char *const argument[])
{
	struct process_port *p = calloc(1, sizeof(*p));
	struct tmem_store_config store;
	struct tmem_xen_config xen;
	int err;

	(void)argument;
	if (!p)
		return NULL;
	p->port.ops = &conform_process_port;
	tmem_store_config_init(&store);
	store.memory_bytes = UINT64_C(64) << 20;
	store.flags = TMEM_STORE_NO_LOCK | TMEM_STORE_NO_THREADS;
	err = tmem_store_open(&store, &p->store);
	if (!err) {
		tmem_xen_config_init(&xen);
		xen.store = p->store;
		err = tmem_xen_open(&xen, &p->xen);
	}
	for (int i = 0; !err && i < CONFORM_GUESTS; i++)
		err = begin_guest(p, i);
	if (!err)
		return &p->port;
	fprintf(stderr, "no store: %s\n", strerror(-err));
	process_close(&p->port);
	return NULL;
}

static struct guest *guest_of(struct conform_port *port, int guest)
{
	return &((struct process_port *)port)->guests[guest];
}

static void process_write(struct conform_port *port, int guest, uint64_t frame,
			  const void *page)
{
	memcpy(guest_of(port, guest)->ram + frame * TMEM_PAGE_SIZE, page,
	       TMEM_PAGE_SIZE);
}

static void process_read(struct conform_port *port, int guest, uint64_t frame,
			 void *page)
{
	memcpy(page, guest_of(port, guest)->ram + frame * TMEM_PAGE_SIZE,
	       TMEM_PAGE_SIZE);
}

static int process_call(struct conform_port *port, int number,
			const struct tmem_xen_op *op, bool is_compat)
{
	struct guest *guest = guest_of(port, number);
	uint64_t address = CONFORM_FRAMES * (uint64_t)TMEM_PAGE_SIZE;

	/* Little endian: the shorter one is a prefix. */
	memcpy(guest->ram + address, op,
	       is_compat ? sizeof(struct tmem_xen_op_compat) : sizeof(*op));
	return tmem_xen_hypercall(guest->domain, address,
				  is_compat ? TMEM_XEN_OP_COMPAT : 0);
}

static int process_set_frame(struct conform_port *port, int number,
			     uint64_t frame, bool is_there, bool is_writable)
{
	struct guest *guest = guest_of(port, number);
	int err = tmem_guest_memory_remove(guest->memory, frame, 1);

	if (!err && is_there)
		err = tmem_guest_memory_add(guest->memory, frame, 1,
					    guest->ram +
						    frame * TMEM_PAGE_SIZE,
					    is_writable);
	return err;
}

static int control(struct conform_port *port, struct tmem_xen_sysctl op)
{
	int result = tmem_xen_control(((struct process_port *)port)->xen, &op);

	return result < 0 ? result : 0;
}

static int process_freeze(struct conform_port *port, int guest, bool is_frozen)
{
	return control(port, (struct tmem_xen_sysctl){
				     .cmd = is_frozen ? TMEM_XEN_OP_FREEZE :
							TMEM_XEN_OP_THAW,
				     .cli_id = (uint32_t)guest + 1 });
}

static int process_authorise(struct conform_port *port, int guest,
			     uint64_t low, uint64_t high, bool is_allowed)
{
	struct tmem_xen_pool_info info = {
		.flags = is_allowed ? TMEM_XEN_POOL_AUTH : 0,
		.uuid = { low, high },
	};

	return control(port, (struct tmem_xen_sysctl){
				     .cmd = TMEM_XEN_OP_SET_AUTH,
				     .cli_id = (uint32_t)guest + 1,
				     .len = sizeof(info),
				     .buffer = (uintptr_t)&info });
}

static int process_evict(struct conform_port *port)
{
	return control(port, (struct tmem_xen_sysctl){
				     .cmd = TMEM_XEN_OP_FLUSH,
				     .cli_id = TMEM_XEN_ALL_CLIENTS,
				     .arg = UINT32_MAX });
}

static int process_end(struct conform_port *port, int guest)
{
	tmem_xen_domain_end(guest_of(port, guest)->domain);
	return 0;
}

const struct conform_port_ops conform_process_port = {
	.name = "process",
	.open = process_open,
	.close = process_close,
	.write_frame = process_write,
	.read_frame = process_read,
	.call = process_call,
	.set_frame = process_set_frame,
	.freeze = process_freeze,
	.authorise = process_authorise,
	.evict = process_evict,
	.end = process_end,
};
