/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A domain's persistent pages, out and in again, one call for each page: how a
 * toolstack of old saved, migrated and restored a guest.
 *
 *	source: SAVE_BEGIN, client info, pools, NEXT_PAGE ... (the guest runs on
 *		and flushes), NEXT_INV ... (after it was suspended), SAVE_END
 *	target: RESTORE_BEGIN, client info, SET_POOLS, PUT_PAGE ..., FLUSH_PAGE
 *
 * Xen's cursor and its list of what went were woven into the pages themselves,
 * which lost the first page of each pool, the list's own head, and all of a
 * second save. Here the cursor is a number, and the store keeps the list apart
 * (tmem_client_walk(), tm_client_begin_log()).
 *
 * A save that is not live is for a guest that does not run. It is logged as
 * well, only so that nothing can be replaced behind the cursor's back.
 *
 * Whoever owns the client may freeze it meanwhile as well, and a toolstack freeze
 * and thaw it: the last of these counts when the save has ended, and is what the
 * client's info says. The public API does not tell that from what a save does; so
 * this is written over what <tmem/save.h> is written over.
 *
 * Locks: all under xen.lock; the pages' own are the store's.
 */
#include <config.h>

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "client.h"
#include "xen_front.h"

/* What a page is preceded by is what a list of what went consists of. */
static_assert(sizeof(struct tmem_handle) == 32, "handle");
static_assert(offsetof(struct tmem_handle, oid) == 8, "handle");

static bool has_pools(struct tmem_xen_domain *domain)
{
	for (uint32_t slot = 0; slot < TMEM_XEN_POOLS_MAX; slot++)
		if (!tm_xen_pool_exists(domain, domain->client, slot))
			return true;
	return false;
}

int tm_xen_save_begin(struct tmem_xen_domain *domain, bool is_live)
{
	struct tmem_client *client = domain->client;
	int err;

	if (!client || !has_pools(domain))
		return -ENOENT;
	if (domain->is_saved)
		return -EBUSY;
	if (!client->core)
		return -EOPNOTSUPP;
	err = tm_client_begin_log(client->core);
	if (err)
		return err;
	domain->is_saved = true;
	domain->is_saved_live = is_live;
	for (int slot = 0; slot < TMEM_XEN_POOLS_MAX; slot++)
		domain->pools[slot].save_position = 0;
	return 0;
}

int tm_xen_save_end(struct tmem_xen_domain *domain)
{
	if (!domain->client)
		return -ENOENT;
	if (!domain->is_saved)
		return 0;
	domain->is_saved = false;
	tm_client_end_log(domain->client->core, false);
	return 0;
}

int tm_xen_save_set_frozen(struct tmem_xen_domain *domain, bool frozen)
{
	/* It is frozen now; this is for afterwards. */
	if (domain->is_saved && !frozen) {
		tm_client_thaw_later(domain->client->core);
		return 0;
	}
	return tmem_client_set_frozen(domain->client, frozen);
}

bool tm_xen_save_is_frozen(const struct tmem_xen_domain *domain)
{
	return domain->client->core &&
	       tm_client_stays_frozen(domain->client->core);
}

static void *buffer_of(const struct tmem_xen_sysctl *op)
{
	return (void *)(uintptr_t)op->buffer;
}

int tm_xen_save_next_page(struct tmem_xen_domain *domain,
			  const struct tmem_xen_sysctl *op)
{
	struct tmem_pool_info info = { .struct_size = sizeof(info) };
	char *buffer = buffer_of(op);
	struct tmem_handle handle;
	int result;

	if ((uint32_t)op->pool_id >= TMEM_XEN_POOLS_MAX || !domain->client ||
	    tmem_pool_get_info(domain->client, op->pool_id, &info) ||
	    !(info.flags & TMEM_POOL_PERSISTENT))
		return -EPERM;
	if (op->len < sizeof(handle) + TMEM_PAGE_SIZE)
		return -ENOMEM;
	if (!buffer)
		return -EFAULT;
	result = tmem_client_walk(domain->client, op->pool_id,
				  &domain->pools[op->pool_id].save_position,
				  &handle, buffer + sizeof(handle));
	if (result == 0)
		return -EPERM;	/* the end */
	if (result == -EBADMSG)
		return 0;	/* one that is not worth having */
	if (result < 0)
		return tm_xen_code(result);
	memcpy(buffer, &handle, sizeof(handle));
	return 1;
}

int tm_xen_save_next_invalidation(struct tmem_xen_domain *domain,
				  const struct tmem_xen_sysctl *op)
{
	struct tmem_handle handle;
	int result;

	if (!domain->client || !domain->is_saved || !domain->is_saved_live ||
	    op->len < sizeof(handle))
		return 0;
	if (!op->buffer)
		return -EFAULT;
	result = tmem_client_next_invalidation(domain->client, &handle);
	if (result > 0)
		memcpy(buffer_of(op), &handle, sizeof(handle));
	return result < 0 ? tm_xen_code(result) : result;
}

int tm_xen_restore_begin(struct tmem_xen_domain *domain)
{
	if (domain->client)
		return -EEXIST;
	return tm_xen_client_make(domain);
}

static int find_pool(struct tmem_xen_domain *domain,
		     const struct tmem_xen_sysctl *op)
{
	if (!domain->client || tm_xen_pool_exists(domain, domain->client,
						  (uint32_t)op->pool_id))
		return -EPERM;
	return tm_xen_pool_id(domain, (uint32_t)op->pool_id);
}

static struct tmem_oid oid_of(const struct tmem_xen_sysctl *op)
{
	return (struct tmem_oid){ { op->oid[0], op->oid[1], op->oid[2] } };
}

int tm_xen_restore_put_page(struct tmem_xen_domain *domain,
			    const struct tmem_xen_sysctl *op)
{
	struct tmem_oid oid = oid_of(op);
	int pool = find_pool(domain, op);
	int result;

	if (pool < 0)
		return pool;
	if (op->len != TMEM_PAGE_SIZE)
		return -EINVAL;
	if (!op->buffer)
		return -EFAULT;
	result = tmem_put(domain->client, pool, &oid, op->arg, buffer_of(op),
			  TMEM_PUT_EXPLAIN | TMEM_PUT_UNSTABLE);
	return result > 0 ? 1 : tm_xen_code(result);
}

int tm_xen_restore_flush_page(struct tmem_xen_domain *domain,
			      const struct tmem_xen_sysctl *op)
{
	struct tmem_oid oid = oid_of(op);
	int pool = find_pool(domain, op);
	int result;

	if (pool < 0)
		return pool;
	result = tmem_flush_page(domain->client, pool, &oid, op->arg);
	/* Frozen or not: it was carried out. */
	return result < 0 ? tm_xen_code(result) : 1;
}
