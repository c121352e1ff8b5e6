/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The Xen front end's own structures; private to src/front/xen.
 *
 * A domain's pools are the store's, under the same numbers, with one
 * exception: a guest may join a shared pool through several of its slots, and
 * the store lets a client in once. A further slot is then an *alias* of the
 * first: the guest sees a pool, the store knows nothing of it. A pool is given
 * an id that is free on both sides, so that otherwise slot and id are equal.
 *
 * What this floor keeps besides is what the store does not know: who shares
 * what in which of the 16 global slots, who was authorised, counters in Xen's
 * manner, and how far a save has come. Nothing of it survives the process, and
 * nothing of it is needed for the pages that do.
 *
 * Locks: xen.lock for all of it, taken by whatever makes or ends domains,
 * clients and pools, and by privileged operations. Operations on pages take no
 * lock: they count themselves in domain.epoch, see whether the domain is dying,
 * and then use its client and memory, which are freed after a wait for that
 * epoch. Nobody waits for an epoch with xen.lock held, since operations on
 * pools take it. Counters are racy statistics.
 */
#ifndef TM_XEN_FRONT_H
#define TM_XEN_FRONT_H

#include <stdatomic.h>

#include <tmem/xen.h>

#include "epoch.h"
#include "lock.h"

/* Counters of a pool, in the order of their keys. */
enum tm_xen_count {
	TM_XEN_PUTS_GOOD,
	TM_XEN_PUTS,
	TM_XEN_DUPLICATES_FLUSHED,
	TM_XEN_DUPLICATES_REPLACED,
	TM_XEN_PUTS_FAILED,
	TM_XEN_GETS_FOUND,
	TM_XEN_GETS,
	TM_XEN_FLUSHES_FOUND,
	TM_XEN_FLUSHES,
	TM_XEN_OBJECT_FLUSHES_FOUND,
	TM_XEN_OBJECT_FLUSHES,
	TM_XEN_COUNTS
};

/* A slot of its own; or one that leads nowhere, although the store has a pool
 * of that number, which an alias leads to. */
#define TM_XEN_NO_ALIAS (-1)
#define TM_XEN_HIDDEN (-2)

struct tm_xen_pool {
	/* read by operations: the store's id, or one of the above */
	_Atomic int alias;
	_Atomic bool is_persistent;
	int shared;		/* global slot, or -1; guarded by xen.lock */
	_Atomic uint64_t counts[TM_XEN_COUNTS];
	_Atomic uint64_t pages_max;	/* as often as anybody looked */
	_Atomic uint64_t objects_max;
	/* guarded by xen.lock */
	uint64_t save_position;
};

struct tm_xen_sharer {
	struct tmem_xen_domain *domain;
	int slot;
};

/* A shared pool, by its UUID; free when it has no sharers. Its first sharer is
 * its owner. Guarded by xen.lock. */
struct tm_xen_shared {
	struct tmem_uuid uuid;
	struct tm_xen_sharer *sharers;
	size_t sharer_count;
};

/* What is counted of all domains together. Each domain counts its own, so that
 * guests do not wait for each other's cache lines; what those had that are gone
 * is kept in xen.gone. */
enum tm_xen_total {
	TM_XEN_OPS,
	TM_XEN_OPS_FAILED,
	TM_XEN_COPIES_FAILED,
	TM_XEN_EPHEMERAL_PUTS,
	TM_XEN_TOTALS
};

struct tmem_xen_domain {
	/* set at creation, then constant */
	struct tmem_xen *xen;
	uint16_t id;
	uint64_t generation;
	bool borrows_client;
	struct tmem_client_config client_config;
	char name[TMEM_CLIENT_NAME_MAX + 1];

	/* guarded by xen.lock */
	struct tmem_xen_domain *next;
	struct tmem_uuid auth[TMEM_XEN_SHARED_POOLS_MAX];
	uint32_t auth_count;
	uint64_t pages;
	uint64_t pages_max;
	bool is_saved;		/* between SAVE_BEGIN and SAVE_END */
	bool is_saved_live;

	/* written under xen.lock, read within the epoch */
	_Atomic bool is_dying;
	_Atomic(struct tmem_client *) client;
	_Atomic(struct tmem_guest_memory *) memory;
	struct tm_xen_pool pools[TMEM_XEN_POOLS_MAX];

	/* racy statistics */
	_Atomic uint64_t totals[TM_XEN_TOTALS];
	_Atomic uint64_t ephemeral_gets;
	_Atomic uint64_t persistent_puts;
	_Atomic uint64_t persistent_gets;
	_Atomic uint64_t ephemeral_max;

	struct tm_epoch epoch;
	struct tm_lock epoch_lock;	/* one waits at a time */
};

struct tmem_xen {
	/* set at creation, then constant */
	struct tmem_store *store;
	bool is_disabled;
	bool (*permit)(void *opaque, uint16_t domain_id);
	void *opaque;

	struct tm_lock lock;
	struct tmem_xen_domain *domains TM_GUARDED_BY(lock);
	uint64_t generations TM_GUARDED_BY(lock);
	bool all_may_share TM_GUARDED_BY(lock);
	struct tm_xen_shared shared[TMEM_XEN_SHARED_POOLS_MAX]
		TM_GUARDED_BY(lock);

	uint64_t gone[TM_XEN_TOTALS] TM_GUARDED_BY(lock);

	/* racy statistics */
	_Atomic uint64_t ephemeral_max;
	_Atomic uint64_t objects_max;
	_Atomic uint64_t pages_max;
	_Atomic uint64_t frames_max;
	_Atomic uint64_t flushed_kib;
};

static inline void tm_xen_count(_Atomic uint64_t *counter)
{
	atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

static inline void tm_xen_raise(_Atomic uint64_t *max, uint64_t value)
{
	uint64_t seen = atomic_load_explicit(max, memory_order_relaxed);

	while (value > seen &&
	       !atomic_compare_exchange_weak_explicit(max, &seen, value,
						      memory_order_relaxed,
						      memory_order_relaxed))
		;
}

/* For the analysis of locks: the domain is one of @xen, whose lock is held. */
static inline void tm_xen_is_locked(const struct tmem_xen_domain *domain)
	TM_ATTR(assert_capability(domain->xen->lock))
{
	(void)domain;
}

/* xen_decode.c */

/* An operation under way: copied, and its domain and client held. */
struct tm_xen_call {
	struct tmem_xen_domain *domain;
	struct tmem_client *client;
	uint32_t flags;		/* TMEM_XEN_OP_* */
	struct tmem_xen_op op;
	struct tmem_oid oid;
};

static inline bool tm_xen_is_plain(const struct tm_xen_call *call)
{
	return call->flags & TMEM_XEN_OP_PLAIN;
}

/* The one table: what the store says, in Xen's words. */
int tm_xen_code(int err);
/* As the caller wants it. */
int tm_xen_answer(const struct tm_xen_call *call, int err);

/* xen_domain.c */
struct tmem_xen_domain *tm_xen_domain_find(struct tmem_xen *xen,
					   uint32_t cli_id)
	TM_REQUIRES(xen->lock);
/* Makes the domain's client, if it has none. 0, -ENODEV, -ENOMEM, ... */
int tm_xen_client_make(struct tmem_xen_domain *domain)
	TM_REQUIRES(domain->xen->lock);

/* xen_page.c */
int tm_xen_put(struct tm_xen_call *call);
int tm_xen_get(struct tm_xen_call *call);
int tm_xen_flush_page(struct tm_xen_call *call);
int tm_xen_flush_object(struct tm_xen_call *call);
/* The store's id of pool @slot, or -1 (no such number). */
int tm_xen_pool_id(const struct tmem_xen_domain *domain, uint32_t slot);
/* 0, or -ENOENT. */
int tm_xen_pool_exists(struct tmem_xen_domain *domain,
		       struct tmem_client *client, uint32_t slot);

/* xen_pool.c */
int tm_xen_new_pool(struct tm_xen_call *call);
int tm_xen_destroy_pool(struct tm_xen_call *call);
/* A pool with an id that the toolstack chose. */
int tm_xen_pool_create_at(struct tmem_xen_domain *domain, uint32_t slot,
			  uint32_t flags, const struct tmem_uuid *uuid)
	TM_REQUIRES(domain->xen->lock);
/* 0, -ENOENT, or what the store said. */
int tm_xen_pool_end(struct tmem_xen_domain *domain, uint32_t slot)
	TM_REQUIRES(domain->xen->lock);
/* Nothing here points to the domain any more. */
void tm_xen_pools_forget(struct tmem_xen_domain *domain)
	TM_REQUIRES(domain->xen->lock);
/* The global slot of @uuid, or -1. */
int tm_xen_shared_find(struct tmem_xen *xen, const struct tmem_uuid *uuid)
	TM_REQUIRES(xen->lock);

/* xen_save.c */
int tm_xen_save_begin(struct tmem_xen_domain *domain, bool is_live)
	TM_REQUIRES(domain->xen->lock);
int tm_xen_save_next_page(struct tmem_xen_domain *domain,
			  const struct tmem_xen_sysctl *op)
	TM_REQUIRES(domain->xen->lock);
int tm_xen_save_next_invalidation(struct tmem_xen_domain *domain,
				  const struct tmem_xen_sysctl *op)
	TM_REQUIRES(domain->xen->lock);
int tm_xen_save_end(struct tmem_xen_domain *domain)
	TM_REQUIRES(domain->xen->lock);
/* An operator's freeze or thaw; and what it is, what saving does apart. The
 * domain has a client. */
int tm_xen_save_set_frozen(struct tmem_xen_domain *domain, bool frozen)
	TM_REQUIRES(domain->xen->lock);
bool tm_xen_save_is_frozen(const struct tmem_xen_domain *domain);
int tm_xen_restore_begin(struct tmem_xen_domain *domain)
	TM_REQUIRES(domain->xen->lock);
int tm_xen_restore_put_page(struct tmem_xen_domain *domain,
			    const struct tmem_xen_sysctl *op)
	TM_REQUIRES(domain->xen->lock);
int tm_xen_restore_flush_page(struct tmem_xen_domain *domain,
			      const struct tmem_xen_sysctl *op)
	TM_REQUIRES(domain->xen->lock);

#endif
