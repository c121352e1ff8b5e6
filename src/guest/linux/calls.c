/* SPDX-License-Identifier: BSD-2-Clause */
/* A guest's operations; see calls.h. */
#include <config.h>

#include <stdatomic.h>
#include <string.h>

#include "calls.h"

#define VERSION_FLAGS                                                          \
	((uint32_t)TMEM_XEN_SPEC_VERSION << TMEM_XEN_POOL_VERSION_SHIFT)

int tm_call_new_pool(struct tmem_hypercall *hypercall, uint32_t flags,
		     const uint8_t *uuid)
{
	struct tmem_xen_op op = { .cmd = TMEM_XEN_NEW_POOL };

	op.u.creat.flags = VERSION_FLAGS | flags;
	if (uuid)
		memcpy(op.u.creat.uuid, uuid, sizeof(op.u.creat.uuid));
	return hypercall->call(hypercall, &op, NULL);
}

void tm_call_destroy_pool(struct tmem_hypercall *hypercall, int pool)
{
	const struct tmem_xen_op op = { .cmd = TMEM_XEN_DESTROY_POOL,
					.pool_id = pool };

	hypercall->call(hypercall, &op, NULL);
}

static int call(struct tmem_hypercall *hypercall, uint32_t cmd, int pool,
		const struct tmem_oid *oid, uint32_t index, void *page)
{
	struct tmem_xen_op op = { .cmd = cmd, .pool_id = pool };

	memcpy(op.u.gen.oid, oid, sizeof(op.u.gen.oid));
	op.u.gen.index = index;
	return hypercall->call(hypercall, &op, page);
}

int tm_call_put(struct tmem_hypercall *hypercall, int pool,
		const struct tmem_oid *oid, uint32_t index, const void *page)
{
	/* The host may read it by another address. */
	atomic_thread_fence(memory_order_seq_cst);
	return call(hypercall, TMEM_XEN_PUT_PAGE, pool, oid, index,
		    (void *)(uintptr_t)page);
}

void tm_call_put_or_drop(struct tmem_hypercall *hypercall, int pool,
			 const struct tmem_oid *oid, uint32_t index,
			 const void *page)
{
	if (tm_call_put(hypercall, pool, oid, index, page) < 0)
		tm_call_flush_page(hypercall, pool, oid, index);
}

int tm_call_get(struct tmem_hypercall *hypercall, int pool,
		const struct tmem_oid *oid, uint32_t index, void *page)
{
	return call(hypercall, TMEM_XEN_GET_PAGE, pool, oid, index, page);
}

void tm_call_flush_page(struct tmem_hypercall *hypercall, int pool,
			const struct tmem_oid *oid, uint32_t index)
{
	call(hypercall, TMEM_XEN_FLUSH_PAGE, pool, oid, index, NULL);
}

void tm_call_flush_object(struct tmem_hypercall *hypercall, int pool,
			  const struct tmem_oid *oid)
{
	call(hypercall, TMEM_XEN_FLUSH_OBJECT, pool, oid, 0, NULL);
}
