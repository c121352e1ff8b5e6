/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A guest's operations on pages.
 *
 * The guest's page is copied to this thread's stack before anything else is
 * done with a put, and out of it after everything else of a get: no codec works
 * on memory that its owner can change, and no fault happens within the store.
 *
 * What decides between Xen's codes is looked at afterwards and on the slow
 * path only: whether there was a pool when the copy failed, whether the pool is
 * empty when a get missed. A guest cannot tell that from Xen's order, and the
 * put and the get that work pay nothing for it.
 *
 * A get whose copy out fails has already taken the page out of a private
 * ephemeral pool: the page is dropped, never put back, as a newer one may be
 * there by now. Xen left it half linked. What is to be removed from any other
 * pool has its destination looked up first.
 */
#include <config.h>

#include <errno.h>
#include <stdalign.h>

#include "guest_memory.h"
#include "xen_front.h"

/* How often the largest number of pages is noted. */
#define SAMPLE_EVERY 64

int tm_xen_pool_id(const struct tmem_xen_domain *domain, uint32_t slot)
{
	int alias;

	if (slot >= TMEM_XEN_POOLS_MAX)
		return -1;
	alias = atomic_load_explicit(&domain->pools[slot].alias,
				     memory_order_relaxed);
	if (alias == TM_XEN_HIDDEN)
		return -1;
	return alias == TM_XEN_NO_ALIAS ? (int)slot : alias;
}

int tm_xen_pool_exists(struct tmem_xen_domain *domain,
		       struct tmem_client *client, uint32_t slot)
{
	int64_t pages = tmem_pool_pages(client, tm_xen_pool_id(domain, slot));

	return pages < 0 ? -ENOENT : 0;
}

static uint32_t slot_of(const struct tm_xen_call *call)
{
	return (uint32_t)call->op.pool_id;
}

static int id_of(const struct tm_xen_call *call)
{
	return tm_xen_pool_id(call->domain, slot_of(call));
}

static void count(struct tm_xen_call *call, enum tm_xen_count what)
{
	tm_xen_count(&call->domain->pools[slot_of(call)].counts[what]);
}

static bool is_persistent(struct tm_xen_call *call)
{
	return atomic_load_explicit(
		       &call->domain->pools[slot_of(call)].is_persistent,
		       memory_order_relaxed);
}

static int copy_in(struct tm_xen_call *call, void *page)
{
	struct tmem_guest_memory *memory = atomic_load(&call->domain->memory);

	if (memory &&
	    !tm_guest_memory_read_page(memory, call->op.u.gen.cmfn, page))
		return 0;
	tm_xen_count(&call->domain->totals[TM_XEN_COPIES_FAILED]);
	return -EFAULT;
}

static int copy_out(struct tm_xen_call *call, const void *page)
{
	struct tmem_guest_memory *memory = atomic_load(&call->domain->memory);

	if (memory &&
	    !tm_guest_memory_write_page(memory, call->op.u.gen.cmfn, page))
		return 0;
	tm_xen_count(&call->domain->totals[TM_XEN_COPIES_FAILED]);
	return -EFAULT;
}

/* --- put ------------------------------------------------------------------ */

/* There is nothing to put: then nothing may be left of the old page either. */
static int put_without_page(struct tm_xen_call *call)
{
	int was_there = tmem_flush_page(call->client, id_of(call), &call->oid,
					call->op.u.gen.index);

	if (was_there < 0)
		return tm_xen_answer(call, was_there);
	count(call, TM_XEN_PUTS);
	count(call, was_there ? TM_XEN_DUPLICATES_FLUSHED :
				TM_XEN_PUTS_FAILED);
	if (!was_there && !tm_xen_is_plain(call) &&
	    tmem_client_is_frozen(call->client))
		return -TMEM_XEN_EFROZEN;
	return -EFAULT;
}

static void note_pages(struct tm_xen_call *call, uint64_t puts)
{
	int64_t pages;

	if (puts % SAMPLE_EVERY)
		return;
	pages = tmem_pool_pages(call->client, id_of(call));
	if (pages > 0)
		tm_xen_raise(&call->domain->pools[slot_of(call)].pages_max,
			     (uint64_t)pages);
}

static int put_stored(struct tm_xen_call *call, int result)
{
	struct tmem_xen_domain *domain = call->domain;

	count(call, TM_XEN_PUTS_GOOD);
	if (is_persistent(call))
		tm_xen_count(&domain->persistent_puts);
	if (result == TMEM_PUT_REPLACED)
		count(call, TM_XEN_DUPLICATES_REPLACED);
	else if (!is_persistent(call))
		tm_xen_count(&domain->totals[TM_XEN_EPHEMERAL_PUTS]);
	note_pages(call, atomic_load_explicit(
				 &domain->pools[slot_of(call)]
					  .counts[TM_XEN_PUTS_GOOD],
				 memory_order_relaxed));
	return TMEM_PUT_STORED;
}

static int put_refused(struct tm_xen_call *call, int reason)
{
	switch (reason) {
	case -ENOSPC:
		count(call, TM_XEN_DUPLICATES_FLUSHED);
		break;
	case -EBUSY:
	case -EDQUOT:
	case -ENOMEM:
		count(call, TM_XEN_PUTS_FAILED);
		break;
	default:
		return tm_xen_answer(call, reason);
	}
	return tm_xen_is_plain(call) ? TMEM_PUT_REFUSED : tm_xen_code(reason);
}

int tm_xen_put(struct tm_xen_call *call)
{
	alignas(64) unsigned char page[TMEM_PAGE_SIZE];
	uint32_t flags = TMEM_PUT_EXPLAIN;
	int result;

	if (copy_in(call, page))
		return put_without_page(call);
	/* Only Xen's own guests expect it. */
	if (!tm_xen_is_plain(call))
		flags |= TMEM_PUT_REPLACE;
	result = tmem_put(call->client, id_of(call), &call->oid,
			  call->op.u.gen.index, page, flags);
	if (result != -ENOENT)
		count(call, TM_XEN_PUTS);
	return result > 0 ? put_stored(call, result) :
			    put_refused(call, result);
}

/* --- get ------------------------------------------------------------------ */

static int get_missed(struct tm_xen_call *call)
{
	bool is_empty = !tmem_pool_pages(call->client, id_of(call));

	if (!is_empty)
		count(call, TM_XEN_GETS);
	return is_empty && !tm_xen_is_plain(call) ? -TMEM_XEN_EEMPTY :
						    TMEM_GET_MISS;
}

static int get_hit(struct tm_xen_call *call, const void *page)
{
	struct tmem_xen_domain *domain = call->domain;

	count(call, TM_XEN_GETS);
	if (copy_out(call, page))
		return -EFAULT;
	count(call, TM_XEN_GETS_FOUND);
	tm_xen_count(is_persistent(call) ? &domain->persistent_gets :
					   &domain->ephemeral_gets);
	return TMEM_GET_HIT;
}

/* May what is taken out for good be written there? */
static int check_destination(struct tm_xen_call *call)
{
	struct tmem_guest_memory *memory = atomic_load(&call->domain->memory);

	return memory ? tm_guest_memory_probe(memory, call->op.u.gen.cmfn,
					      true) :
			-EFAULT;
}

int tm_xen_get(struct tm_xen_call *call)
{
	alignas(64) unsigned char page[TMEM_PAGE_SIZE];
	uint32_t flags = 0;
	int result;

	if (call->flags & TMEM_XEN_OP_REMOVE) {
		flags = TMEM_GET_REMOVE;
		if (check_destination(call))
			return -EFAULT;
	}
	result = tmem_get(call->client, id_of(call), &call->oid,
			  call->op.u.gen.index, page, flags);
	if (result == TMEM_GET_HIT)
		return get_hit(call, page);
	if (result == TMEM_GET_MISS)
		return get_missed(call);
	return tm_xen_answer(call, result);
}

/* --- flush ---------------------------------------------------------------- */

static int flushed(struct tm_xen_call *call, int result,
		   enum tm_xen_count all, enum tm_xen_count found)
{
	if (result < 0)
		return tm_xen_answer(call, result);
	count(call, all);
	if (result)
		count(call, found);
	if (tm_xen_is_plain(call))
		return result;
	/* It was carried out in any case: that is how Xen has it. */
	return tmem_client_is_frozen(call->client) ? -TMEM_XEN_EFROZEN : 1;
}

int tm_xen_flush_page(struct tm_xen_call *call)
{
	return flushed(call,
		       tmem_flush_page(call->client, id_of(call), &call->oid,
				       call->op.u.gen.index),
		       TM_XEN_FLUSHES, TM_XEN_FLUSHES_FOUND);
}

int tm_xen_flush_object(struct tm_xen_call *call)
{
	return flushed(call,
		       tmem_flush_object(call->client, id_of(call),
					 &call->oid),
		       TM_XEN_OBJECT_FLUSHES, TM_XEN_OBJECT_FLUSHES_FOUND);
}
