/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How a guest's operation reaches its hypervisor: two ways of several.
 *
 * - Over a Xen front end in this process. The process is the guest: frame n is
 *   its page n, so that the map of guest memory is one region, and a page's
 *   frame is its address. Operations are made where a kernel makes them, in
 *   memory of its own, and called by address. A page that does not begin at a
 *   frame's beginning goes by way of one that does.
 * - Over a client of a store, such as a daemon's, whose channel carries these
 *   very operations. Answers are those of <tmem/tmem.h>, and are turned into
 *   the historical ones: 1 done, 0 not.
 *
 * Nothing is locked here.
 */
#include <config.h>

#include <stdlib.h>

#include <tmem/linux.h>

#include "versions.h"

static int check(const struct tmem_xen_op *op, const void *page)
{
	if (!op)
		return -EFAULT;
	return !page && (op->cmd == TMEM_XEN_PUT_PAGE ||
			 op->cmd == TMEM_XEN_GET_PAGE)
		       ? -EFAULT
		       : 0;
}

/* --- a domain ------------------------------------------------------------ */

struct domain_hypercall {
	struct tmem_hypercall hypercall; /* first */
	struct tmem_guest_memory *memory;
	struct tmem_xen_domain *domain;
};

/* From the second one on: nothing is at address 0. */
static int map_process(struct tmem_guest_memory *memory)
{
	return tmem_guest_memory_add(memory, 1,
				     UINTPTR_MAX / TMEM_PAGE_SIZE - 1,
				     (void *)(uintptr_t)TMEM_PAGE_SIZE, true);
}

static int call_aligned(struct domain_hypercall *h,
			const struct tmem_xen_op *op, void *page)
{
	struct tmem_xen_op with_frame = *op;

	if (page)
		with_frame.u.gen.cmfn = (uintptr_t)page / TMEM_PAGE_SIZE;
	return tmem_xen_hypercall(h->domain, (uintptr_t)&with_frame, 0);
}

static int call_bounced(struct domain_hypercall *h,
			const struct tmem_xen_op *op, void *page)
{
	_Alignas(TMEM_PAGE_SIZE) uint8_t bounce[TMEM_PAGE_SIZE];
	int result;

	if (op->cmd == TMEM_XEN_PUT_PAGE)
		memcpy(bounce, page, sizeof(bounce));
	result = call_aligned(h, op, bounce);
	if (op->cmd == TMEM_XEN_GET_PAGE && result == 1)
		memcpy(page, bounce, sizeof(bounce));
	return result;
}

static int domain_call(struct tmem_hypercall *hypercall,
		       const struct tmem_xen_op *op, void *page)
{
	struct domain_hypercall *h = (struct domain_hypercall *)hypercall;
	int err = check(op, page);

	if (err)
		return err;
	return (uintptr_t)page % TMEM_PAGE_SIZE ? call_bounced(h, op, page)
						: call_aligned(h, op, page);
}

static void domain_close(struct tmem_hypercall *hypercall)
{
	struct domain_hypercall *h = (struct domain_hypercall *)hypercall;

	if (h->domain)
		tmem_xen_domain_end(h->domain);
	tmem_xen_domain_close(h->domain);
	tmem_guest_memory_destroy(h->memory);
	free(h);
}

int tmem_hypercall_open_domain(struct tmem_xen *xen,
			       const struct tmem_xen_domain_config *config,
			       struct tmem_hypercall **hypercall)
{
	struct tmem_xen_domain_config known;
	struct domain_hypercall *h;
	int err;

	tmem_xen_domain_config_init(&known);
	if (!xen || !hypercall ||
	    tm_known_take(&known, sizeof(known), config, sizeof(known)) ||
	    known.memory)
		return -EINVAL;
	h = calloc(1, sizeof(*h));
	if (!h)
		return -ENOMEM;
	h->hypercall = (struct tmem_hypercall){
		.struct_size = sizeof(h->hypercall),
		.call = domain_call,
		.close = domain_close,
	};
	err = tmem_guest_memory_create(&h->memory);
	if (!err)
		err = map_process(h->memory);
	known.memory = h->memory;
	known.struct_size = sizeof(known);
	if (!err)
		err = tmem_xen_domain_create(xen, &known, &h->domain);
	if (err)
		domain_close(&h->hypercall);
	else
		*hypercall = &h->hypercall;
	return err;
}

/* --- a client ------------------------------------------------------------ */

struct client_hypercall {
	struct tmem_hypercall hypercall; /* first */
	struct tmem_client *client;
};

static int new_pool(struct tmem_client *client, const struct tmem_xen_op *op)
{
	const uint32_t flags = op->u.creat.flags;
	const uint32_t kinds = TMEM_XEN_POOL_PERSIST | TMEM_XEN_POOL_SHARED;
	struct tmem_uuid uuid;

	if ((flags & ~kinds) != (uint32_t)TMEM_XEN_SPEC_VERSION
					<< TMEM_XEN_POOL_VERSION_SHIFT)
		return -EPERM;
	memcpy(&uuid, op->u.creat.uuid, sizeof(uuid));
	return tmem_pool_create(
		client,
		(flags & TMEM_XEN_POOL_PERSIST ? TMEM_POOL_PERSISTENT : 0) |
			(flags & TMEM_XEN_POOL_SHARED ? TMEM_POOL_SHARED : 0),
		flags & TMEM_XEN_POOL_SHARED ? &uuid : NULL);
}

static int client_call(struct tmem_hypercall *hypercall,
		       const struct tmem_xen_op *op, void *page)
{
	struct client_hypercall *h = (struct client_hypercall *)hypercall;
	struct tmem_oid oid;
	int err = check(op, page);

	if (err)
		return err;
	memcpy(&oid, op->u.gen.oid, sizeof(oid));
	switch (op->cmd) {
	case TMEM_XEN_NEW_POOL:
		return new_pool(h->client, op);
	case TMEM_XEN_DESTROY_POOL:
		err = tmem_pool_destroy(h->client, op->pool_id);
		return err ? err : 1;
	case TMEM_XEN_PUT_PAGE:
		/* Nobody knows what its owner does with it meanwhile. */
		return tmem_put(h->client, op->pool_id, &oid, op->u.gen.index,
				page, TMEM_PUT_UNSTABLE);
	case TMEM_XEN_GET_PAGE:
		return tmem_get(h->client, op->pool_id, &oid, op->u.gen.index,
				page, 0);
	case TMEM_XEN_FLUSH_PAGE:
		return tmem_flush_page(h->client, op->pool_id, &oid,
				       op->u.gen.index);
	case TMEM_XEN_FLUSH_OBJECT:
		return tmem_flush_object(h->client, op->pool_id, &oid);
	}
	return -ENOSYS;
}

static void client_close(struct tmem_hypercall *hypercall)
{
	free(hypercall);
}

int tmem_hypercall_open_client(struct tmem_client *client,
			       struct tmem_hypercall **hypercall)
{
	struct client_hypercall *h;

	if (!client || !hypercall)
		return -EINVAL;
	h = calloc(1, sizeof(*h));
	if (!h)
		return -ENOMEM;
	h->hypercall = (struct tmem_hypercall){
		.struct_size = sizeof(h->hypercall),
		.call = client_call,
		.close = client_close,
	};
	h->client = client;
	*hypercall = &h->hypercall;
	return 0;
}

void tmem_hypercall_close(struct tmem_hypercall *hypercall)
{
	if (hypercall && hypercall->close)
		hypercall->close(hypercall);
}
