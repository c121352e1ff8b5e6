/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A guest's hypercall: copied in, decoded, carried out, answered.
 *
 * The order of the checks is Xen's, since guests see it: no tmem (-ENODEV), not
 * permitted (-EPERM), counted, dying (-ENODEV), cannot be copied (-EFAULT),
 * privileged commands (-EOPNOTSUPP), no client (-ENOMEM), no such pool
 * (-ENODEV), no such command (-ENOSYS).
 *
 * Nothing here believes a guest: the operation is copied before it is looked
 * at, every id is taken as unsigned, and all bits of all fields may be set.
 *
 * Locks: see xen_front.h.
 */
#include <config.h>

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "guest_memory.h"
#include "xen_front.h"

/* The wire, native. */
#define AT(field, offset, size)                                                \
	static_assert(offsetof(struct tmem_xen_op, field) == (offset) &&       \
			      sizeof(((struct tmem_xen_op *)0)->field) ==      \
				      (size),                                  \
		      #field)
AT(cmd, 0, 4);
AT(pool_id, 4, 4);
AT(u.creat.uuid, 8, 16);
AT(u.creat.flags, 24, 4);
AT(u.creat.arg1, 28, 4);
AT(u.gen.oid, 8, 24);
AT(u.gen.index, 32, 4);
AT(u.gen.tmem_offset, 36, 4);
AT(u.gen.pfn_offset, 40, 4);
AT(u.gen.len, 44, 4);
AT(u.gen.cmfn, 48, 8);
static_assert(sizeof(struct tmem_xen_op) == 56, "native");

/* 32-bit: all is where it was, but for the width of the last field. */
#define SAME(field)                                                            \
	static_assert(offsetof(struct tmem_xen_op, field) ==                   \
			      offsetof(struct tmem_xen_op_compat, field),      \
		      #field)
SAME(cmd);
SAME(pool_id);
SAME(u.creat.uuid);
SAME(u.creat.flags);
SAME(u.creat.arg1);
SAME(u.gen.oid);
SAME(u.gen.index);
SAME(u.gen.len);
SAME(u.gen.cmfn);
static_assert(sizeof(struct tmem_xen_op_compat) == 52, "compat");

/* Xen's numbers of errors are those of Linux on x86. */
static_assert(EPERM == 1 && ENOENT == 2 && E2BIG == 7 && ENOMEM == 12 &&
		      EACCES == 13 && EFAULT == 14 && EEXIST == 17 &&
		      ENODEV == 19 && EINVAL == 22 && ENOSPC == 28 &&
		      ERANGE == 34 && ENOSYS == 38 && EOPNOTSUPP == 95,
	      "errno");

int tm_xen_code(int err)
{
	if (err >= 0)
		return err;
	switch (err) {
	case -ENOENT: /* no such pool */
	case -ENODEV:
	case -EOWNERDEAD:
		return -ENODEV;
	case -EBUSY: /* frozen */
		return -TMEM_XEN_EFROZEN;
	case -EFAULT:
	case -EBADMSG: /* a page that cannot be delivered */
		return -EFAULT;
	case -EACCES:
	case -EEXIST:
	case -EPERM:
		return -EPERM;
	case -ENOSPC:
	case -ENOSYS:
	case -EOPNOTSUPP:
		return err;
	default: /* memory, caps, tables that are full */
		return -ENOMEM;
	}
}

int tm_xen_answer(const struct tm_xen_call *call, int err)
{
	return tm_xen_is_plain(call) ? err : tm_xen_code(err);
}

#define FLAGS                                                                  \
	(TMEM_XEN_OP_COMPAT | TMEM_XEN_OP_PLAIN | TMEM_XEN_OP_REMOVE |         \
	 TMEM_XEN_OP_AT)

static size_t op_size(uint32_t flags)
{
	return flags & TMEM_XEN_OP_COMPAT ? sizeof(struct tmem_xen_op_compat) :
					    sizeof(struct tmem_xen_op);
}

/* @bytes is private and long enough. */
static void decode(struct tm_xen_call *call, const void *bytes)
{
	uint32_t frame;

	memset(&call->op, 0, sizeof(call->op));
	memcpy(&call->op, bytes, op_size(call->flags));
	if (call->flags & TMEM_XEN_OP_COMPAT) {
		memcpy(&frame,
		       (const char *)bytes +
			       offsetof(struct tmem_xen_op_compat, u.gen.cmfn),
		       sizeof(frame));
		call->op.u.gen.cmfn = frame;
	}
	memcpy(&call->oid, call->op.u.gen.oid, sizeof(call->oid));
}

static int make_client(struct tm_xen_call *call)
{
	struct tmem_xen_domain *domain = call->domain;
	int err;

	tm_lock_acquire(&domain->xen->lock);
	err = tm_xen_client_make(domain);
	tm_lock_release(&domain->xen->lock);
	call->client = atomic_load(&domain->client);
	return err;
}

static int on_pool(struct tm_xen_call *call)
{
	switch (call->op.cmd) {
	case TMEM_XEN_PUT_PAGE:
		return tm_xen_put(call);
	case TMEM_XEN_GET_PAGE:
		return tm_xen_get(call);
	case TMEM_XEN_FLUSH_PAGE:
		return tm_xen_flush_page(call);
	case TMEM_XEN_FLUSH_OBJECT:
		return tm_xen_flush_object(call);
	}
	return tm_xen_pool_exists(call->domain, call->client,
				  (uint32_t)call->op.pool_id) ?
		       tm_xen_answer(call, -ENOENT) :
		       -ENOSYS;
}

static int dispatch(struct tm_xen_call *call)
{
	int err;

	switch (call->op.cmd) {
	case TMEM_XEN_CONTROL:
	case TMEM_XEN_AUTH:
	case TMEM_XEN_RESTORE_NEW:
		return -EOPNOTSUPP;
	}
	call->client = atomic_load(&call->domain->client);
	if (!call->client) {
		err = make_client(call);
		if (err)
			return tm_xen_answer(call, err);
	}
	switch (call->op.cmd) {
	case TMEM_XEN_NEW_POOL:
		return tm_xen_new_pool(call);
	case TMEM_XEN_DESTROY_POOL:
		return tm_xen_destroy_pool(call);
	}
	if ((uint32_t)call->op.pool_id >= TMEM_XEN_POOLS_MAX)
		return tm_xen_answer(call, -ENOENT);
	return on_pool(call);
}

static int prelude(struct tmem_xen_domain *domain)
{
	struct tmem_xen *xen = domain->xen;

	if (xen->is_disabled)
		return -ENODEV;
	if (xen->permit && !xen->permit(xen->opaque, domain->id))
		return -EPERM;
	tm_xen_count(&domain->totals[TM_XEN_OPS]);
	return 0;
}

/* @op: private bytes; NULL: they are in guest memory at @address. */
static int carry_out(struct tmem_xen_domain *domain, const void *op,
		     uint64_t address, uint32_t flags)
{
	unsigned char bytes[sizeof(struct tmem_xen_op)];
	struct tm_xen_call call;
	unsigned set;
	int result;

	if (flags & ~FLAGS)
		return -EINVAL;
	result = prelude(domain);
	if (result)
		return result;
	set = tm_epoch_enter(&domain->epoch);
	call.domain = domain;
	call.flags = flags;
	if (atomic_load(&domain->is_dying)) {
		result = -ENODEV;
	} else if (!op) {
		struct tmem_guest_memory *memory =
			atomic_load(&domain->memory);

		if (!memory || tmem_guest_memory_read(memory, address, bytes,
						      op_size(flags)))
			result = -EFAULT;
		op = bytes;
	}
	if (!result) {
		decode(&call, op);
		result = dispatch(&call);
	}
	tm_epoch_leave(&domain->epoch, set);
	if (result < 0)
		tm_xen_count(&domain->totals[TM_XEN_OPS_FAILED]);
	return result;
}

int tmem_xen_op(struct tmem_xen_domain *domain, const void *op, size_t size,
		uint32_t flags)
{
	if (!op || size < op_size(flags))
		return -EFAULT;
	return carry_out(domain, op, 0, flags);
}

int tmem_xen_hypercall(struct tmem_xen_domain *domain, uint64_t address,
		       uint32_t flags)
{
	return carry_out(domain, NULL, address, flags);
}
