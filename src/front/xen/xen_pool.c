/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A guest's pools: made, joined, left.
 *
 * The problem with shared pools is that a guest must not learn, from what it
 * gets when it asks for one, whether it was let in: who is not authorised gets
 * a private pool, and success, as Xen has it. A transport of our own is told
 * the truth.
 *
 * There are 16 global slots for shared pools. A slot is taken by the first who
 * makes a pool of that UUID, passes on when he leaves, and is free again after
 * the last. Authorisation is a table of 16 UUIDs for each domain, or an
 * override for all; the store has its own, and is opened for the length of a
 * call to whom this one lets in.
 *
 * Everything that can fail does so before anything points at the pool.
 *
 * Locks: all under xen.lock.
 */
#include <config.h>

#include <errno.h>
#include <stdlib.h>

#include "xen_front.h"

static bool uuid_equals(const struct tmem_uuid *a, const struct tmem_uuid *b)
{
	return a->word[0] == b->word[0] && a->word[1] == b->word[1];
}

/* All ones are Xen's mark of "none"; zeros the store does not take. */
static bool uuid_names_a_pool(const struct tmem_uuid *uuid)
{
	return (uuid->word[0] != UINT64_MAX || uuid->word[1] != UINT64_MAX) &&
	       (uuid->word[0] || uuid->word[1]);
}

/* --- global slots --------------------------------------------------------- */

int tm_xen_shared_find(struct tmem_xen *xen, const struct tmem_uuid *uuid)
{
	for (int i = 0; i < TMEM_XEN_SHARED_POOLS_MAX; i++)
		if (xen->shared[i].sharer_count &&
		    uuid_equals(&xen->shared[i].uuid, uuid))
			return i;
	return -1;
}

/* The slot of @uuid, or one that it can have; with room for a sharer more. */
static int prepare_shared(struct tmem_xen *xen, const struct tmem_uuid *uuid)
	TM_REQUIRES(xen->lock)
{
	int at = tm_xen_shared_find(xen, uuid);
	struct tm_xen_sharer *sharers;

	for (int i = 0; at < 0 && i < TMEM_XEN_SHARED_POOLS_MAX; i++)
		if (!xen->shared[i].sharer_count)
			at = i;
	if (at < 0)
		return -EPERM;
	sharers = realloc(xen->shared[at].sharers,
			  (xen->shared[at].sharer_count + 1) *
				  sizeof(*sharers));
	if (!sharers)
		return -ENOMEM;
	xen->shared[at].sharers = sharers;
	return at;
}

static void enter_shared(struct tmem_xen_domain *domain, int slot, int at,
			 const struct tmem_uuid *uuid)
	TM_REQUIRES(domain->xen->lock)
{
	struct tm_xen_shared *shared = &domain->xen->shared[at];

	shared->uuid = *uuid;
	shared->sharers[shared->sharer_count++] =
		(struct tm_xen_sharer){ domain, slot };
	domain->pools[slot].shared = at;
}

static void leave_shared(struct tmem_xen_domain *domain, int slot)
	TM_REQUIRES(domain->xen->lock)
{
	int at = domain->pools[slot].shared;
	struct tm_xen_shared *shared;
	size_t kept = 0;

	if (at < 0)
		return;
	shared = &domain->xen->shared[at];
	for (size_t i = 0; i < shared->sharer_count; i++)
		if (shared->sharers[i].domain != domain ||
		    shared->sharers[i].slot != slot)
			shared->sharers[kept++] = shared->sharers[i];
	shared->sharer_count = kept;
	domain->pools[slot].shared = -1;
}

void tm_xen_pools_forget(struct tmem_xen_domain *domain)
{
	for (int slot = 0; slot < TMEM_XEN_POOLS_MAX; slot++)
		leave_shared(domain, slot);
}

/* --- making --------------------------------------------------------------- */

static bool has_aliases(const struct tmem_xen_domain *domain)
{
	for (int slot = 0; slot < TMEM_XEN_POOLS_MAX; slot++)
		if (domain->pools[slot].alias != TM_XEN_NO_ALIAS)
			return true;
	return false;
}

static bool is_free(struct tmem_xen_domain *domain, int slot)
{
	return domain->pools[slot].alias == TM_XEN_NO_ALIAS &&
	       tmem_pool_pages(domain->client, slot) < 0;
}

static int lowest_free(struct tmem_xen_domain *domain)
{
	for (int slot = 0; slot < TMEM_XEN_POOLS_MAX; slot++)
		if (is_free(domain, slot))
			return slot;
	return -ENOSPC;
}

static void begin_pool(struct tmem_xen_domain *domain, int slot,
		       uint32_t flags)
{
	struct tm_xen_pool *pool = &domain->pools[slot];

	for (int i = 0; i < TM_XEN_COUNTS; i++)
		atomic_store(&pool->counts[i], 0);
	pool->pages_max = 0;
	pool->objects_max = 0;
	pool->save_position = 0;
	pool->is_persistent = flags & TMEM_POOL_PERSISTENT;
}

static bool is_authorised(const struct tmem_xen_domain *domain,
			  const struct tmem_uuid *uuid)
	TM_REQUIRES(domain->xen->lock)
{
	if (domain->xen->all_may_share)
		return true;
	for (uint32_t i = 0; i < domain->auth_count; i++)
		if (uuid_equals(&domain->auth[i], uuid))
			return true;
	return false;
}

/* The store may have let the client in of its owner's own accord. */
static int open_shared(struct tmem_xen_domain *domain, int slot,
		       const struct tmem_uuid *uuid)
	TM_REQUIRES(domain->xen->lock)
{
	struct tmem_client *client = domain->client;
	int result = tmem_pool_create_at(client, slot, TMEM_POOL_SHARED, uuid);

	if (result != -EACCES || !is_authorised(domain, uuid))
		return result;
	result = tmem_client_set_shared_auth(client, uuid, true);
	if (result)
		return -ENOMEM;
	result = tmem_pool_create_at(client, slot, TMEM_POOL_SHARED, uuid);
	tmem_client_set_shared_auth(client, uuid, false);
	return result;
}

/* The domain is in that pool already: its first slot leads there. */
static int make_alias(struct tmem_xen_domain *domain, int slot, int at)
	TM_REQUIRES(domain->xen->lock)
{
	const struct tm_xen_shared *shared = &domain->xen->shared[at];

	for (size_t i = 0; i < shared->sharer_count; i++) {
		if (shared->sharers[i].domain != domain)
			continue;
		domain->pools[slot].alias = tm_xen_pool_id(
			domain, (uint32_t)shared->sharers[i].slot);
		return slot;
	}
	/* It is in, but not through here. */
	return -EEXIST;
}

/* All slots are taken, which who is not let in does not learn. Whether he is,
 * the store alone can say. */
static int refuse_shared(struct tmem_xen_domain *domain, int slot,
			 const struct tmem_uuid *uuid)
	TM_REQUIRES(domain->xen->lock)
{
	int result;

	/* Not the guest's call: what that made once stays. */
	tmem_client_set_call(domain->client, 0);
	result = open_shared(domain, slot, uuid);
	if (result >= 0)
		tmem_pool_destroy(domain->client, result);
	return result == -EACCES ? -EACCES : -EPERM;
}

static int create_shared(struct tmem_xen_domain *domain, int slot,
			 const struct tmem_uuid *uuid, bool may_alias)
	TM_REQUIRES(domain->xen->lock)
{
	int at = prepare_shared(domain->xen, uuid);
	int result;

	if (at == -EPERM)
		return refuse_shared(domain, slot, uuid);
	if (at < 0)
		return at;
	result = open_shared(domain, slot, uuid);
	if (result == -EEXIST && may_alias)
		result = make_alias(domain, slot, at);
	if (result < 0)
		return result;
	enter_shared(domain, result, at, uuid);
	return result;
}

/* As a transport of our own has it; tm_xen_new_pool() makes it Xen's. */
static int create(struct tmem_xen_domain *domain, int slot, uint32_t flags,
		  const struct tmem_uuid *uuid, bool is_plain)
	TM_REQUIRES(domain->xen->lock)
{
	int result = -EACCES;

	if (flags & TMEM_POOL_SHARED) {
		if (uuid_names_a_pool(uuid))
			result = create_shared(domain, slot, uuid, !is_plain);
		else if (is_plain)
			result = -EINVAL;
		if (result == -EACCES && !is_plain)
			flags = 0;
	}
	if (!(flags & TMEM_POOL_SHARED))
		result = tmem_pool_create_at(domain->client, slot, flags, NULL);
	if (result >= 0)
		begin_pool(domain, result, flags);
	return result == -ENOSPC ? -ENOMEM : result;
}

static int create_lowest(struct tmem_xen_domain *domain, uint32_t flags,
			 const struct tmem_uuid *uuid, bool is_plain)
	TM_REQUIRES(domain->xen->lock)
{
	int slot = lowest_free(domain);

	if (slot >= 0)
		return create(domain, slot, flags, uuid, is_plain);
	/* A call that is repeated gets what it got, although all are taken. */
	if (is_plain && !(flags & TMEM_POOL_SHARED) && !has_aliases(domain))
		return tmem_pool_create(domain->client, flags, NULL);
	return is_plain ? -ENOSPC : -EPERM;
}

static int create_here(struct tmem_xen_domain *domain, uint32_t slot,
		       uint32_t flags, const struct tmem_uuid *uuid)
	TM_REQUIRES(domain->xen->lock)
{
	if (slot >= TMEM_XEN_POOLS_MAX)
		return -EINVAL;
	if (!is_free(domain, (int)slot))
		return -EEXIST;
	return create(domain, (int)slot, flags, uuid, true);
}

static bool are_flags_valid(uint32_t flags)
{
	if (((flags >> TMEM_XEN_POOL_VERSION_SHIFT) &
	     TMEM_XEN_POOL_VERSION_MASK) != TMEM_XEN_SPEC_VERSION)
		return false;
	if ((flags & TMEM_XEN_POOL_PERSIST) && (flags & TMEM_XEN_POOL_SHARED))
		return false;
	return !((flags >> TMEM_XEN_POOL_PAGESIZE_SHIFT) &
		 TMEM_XEN_POOL_PAGESIZE_MASK) &&
	       !(flags & TMEM_XEN_POOL_PRECOMPRESSED) &&
	       !(flags & TMEM_XEN_POOL_RESERVED);
}

static uint32_t store_flags(uint32_t flags)
{
	return (flags & TMEM_XEN_POOL_PERSIST ? TMEM_POOL_PERSISTENT : 0) |
	       (flags & TMEM_XEN_POOL_SHARED ? TMEM_POOL_SHARED : 0);
}

int tm_xen_new_pool(struct tm_xen_call *call)
{
	struct tmem_xen_domain *domain = call->domain;
	struct tmem_uuid uuid = {
		{ call->op.u.creat.uuid[0], call->op.u.creat.uuid[1] }
	};
	uint32_t flags = store_flags(call->op.u.creat.flags);
	int result;

	if (!are_flags_valid(call->op.u.creat.flags))
		return -EPERM;
	tm_lock_acquire(&domain->xen->lock);
	if (domain->is_dying)
		result = -ENODEV;
	else if (tm_xen_is_plain(call) && call->flags & TMEM_XEN_OP_AT)
		result = create_here(domain, (uint32_t)call->op.pool_id, flags,
				     &uuid);
	else
		result = create_lowest(domain, flags, &uuid,
				       tm_xen_is_plain(call));
	tm_lock_release(&domain->xen->lock);
	return tm_xen_answer(call, result);
}

int tm_xen_pool_create_at(struct tmem_xen_domain *domain, uint32_t slot,
			  uint32_t flags, const struct tmem_uuid *uuid)
{
	/* In a pool's info this bit has another meaning. */
	if (!are_flags_valid(flags & ~TMEM_XEN_POOL_AUTH) ||
	    slot >= TMEM_XEN_POOLS_MAX || !is_free(domain, (int)slot))
		return -EPERM;
	return tm_xen_code(
		create(domain, (int)slot, store_flags(flags), uuid, false));
}

/* --- ending --------------------------------------------------------------- */

/* Another slot that leads to the store's pool @id, or -1. */
static int other_slot(const struct tmem_xen_domain *domain, int id)
{
	for (int slot = 0; slot < TMEM_XEN_POOLS_MAX; slot++)
		if (domain->pools[slot].alias == id ||
		    (slot == id &&
		     domain->pools[slot].alias == TM_XEN_NO_ALIAS))
			return slot;
	return -1;
}

/*
 * The slot leads nowhere from now on. The store's pool ends with the last slot
 * that leads there; until then the slot of its own number stays hidden.
 */
int tm_xen_pool_end(struct tmem_xen_domain *domain, uint32_t slot)
{
	struct tm_xen_pool *pool;
	int id;

	if (slot >= TMEM_XEN_POOLS_MAX ||
	    domain->pools[slot].alias == TM_XEN_HIDDEN)
		return -ENOENT;
	pool = &domain->pools[slot];
	id = tm_xen_pool_id(domain, slot);
	leave_shared(domain, (int)slot);
	pool->alias = id == (int)slot ? TM_XEN_HIDDEN : TM_XEN_NO_ALIAS;
	if (other_slot(domain, id) >= 0)
		return 0;
	domain->pools[id].alias = TM_XEN_NO_ALIAS;
	return tmem_pool_destroy(domain->client, id);
}

int tm_xen_destroy_pool(struct tm_xen_call *call)
{
	struct tmem_xen_domain *domain = call->domain;
	int err;

	tm_lock_acquire(&domain->xen->lock);
	if (domain->is_dying)
		err = -ENODEV;
	else
		err = tm_xen_pool_end(domain, (uint32_t)call->op.pool_id);
	tm_lock_release(&domain->xen->lock);
	if (tm_xen_is_plain(call) || (err && err != -ENOENT))
		return tm_xen_answer(call, err);
	return err ? 0 : 1;
}
