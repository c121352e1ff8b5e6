/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The front end itself, and its domains: made, ballooned, ended.
 *
 * The problem Xen had for years: a domain dies while its operations run, new
 * ones arrive, and its client is made anew behind the back of whoever cleans
 * up. Here death is one flag: it is set under xen.lock, where clients are made;
 * an operation that saw it clear is waited for; and only then does the client
 * go. Whoever comes later sees the flag.
 *
 * A domain's number is free again as soon as it is dying: it is out of the list
 * then, so that a privileged operation can only find its successor.
 *
 * Locks: xen.lock, and never while waiting for an epoch.
 */
#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "guest_memory.h"
#include "xen_front.h"

/* --- the front end -------------------------------------------------------- */

void tmem_xen_config_init(struct tmem_xen_config *config)
{
	*config = (struct tmem_xen_config){ .struct_size = sizeof(*config) };
}

/* A store of boot option `no-tmem` has no memory at all. */
static bool is_disabled(struct tmem_store *store)
{
	struct tmem_store_stats stats = { .struct_size = sizeof(stats) };

	stats.counts.struct_size = sizeof(stats.counts);
	return !tmem_store_get_stats(store, &stats) && !stats.memory_bytes;
}

int tmem_xen_open(const struct tmem_xen_config *config, struct tmem_xen **out)
{
	struct tmem_xen *xen;

	if (!config || config->struct_size < sizeof(*config) ||
	    !config->store || !out)
		return -EINVAL;
	xen = calloc(1, sizeof(*xen));
	if (!xen)
		return -ENOMEM;
	xen->store = config->store;
	xen->permit = config->permit;
	xen->opaque = config->opaque;
	xen->is_disabled = is_disabled(config->store);
	tm_lock_init(&xen->lock, TM_RANK_XEN);
	*out = xen;
	return 0;
}

void tmem_xen_close(struct tmem_xen *xen)
{
	if (!xen)
		return;
	for (int i = 0; i < TMEM_XEN_SHARED_POOLS_MAX; i++)
		free(xen->shared[i].sharers);
	tm_lock_destroy(&xen->lock);
	free(xen);
}

/* --- clients -------------------------------------------------------------- */

/* The room that persistent pages have, as the store's cap. */
static void apply_pages(struct tmem_xen_domain *domain)
	TM_REQUIRES(domain->xen->lock)
{
	struct tmem_client *client = atomic_load(&domain->client);
	uint64_t room_pages;

	if (!client)
		return;
	room_pages = domain->pages_max > domain->pages ?
			     domain->pages_max - domain->pages :
			     0;
	if (domain->pages_max == TMEM_XEN_PAGES_UNLIMITED ||
	    room_pages > INT64_MAX / TMEM_PAGE_SIZE)
		tmem_client_set_persistent_cap(client, 0);
	else if (room_pages)
		tmem_client_set_persistent_cap(client,
					       room_pages * TMEM_PAGE_SIZE);
	else
		tmem_client_set_persistent_cap(client, 1);
}

/* Pools that were there before: found in an arena, or made by the client's
 * owner. */
static void find_pools(struct tmem_xen_domain *domain,
		       struct tmem_client *client)
{
	struct tmem_pool_info info = { .struct_size = sizeof(info) };

	for (int slot = 0; slot < TMEM_XEN_POOLS_MAX; slot++)
		if (!tmem_pool_get_info(client, slot, &info))
			domain->pools[slot].is_persistent =
				info.flags & TMEM_POOL_PERSISTENT;
}

static void have_client(struct tmem_xen_domain *domain,
			struct tmem_client *client)
	TM_REQUIRES(domain->xen->lock)
{
	find_pools(domain, client);
	atomic_store(&domain->client, client);
	apply_pages(domain);
}

int tm_xen_client_make(struct tmem_xen_domain *domain)
{
	struct tmem_client *client;
	int result;

	if (domain->is_dying)
		return -ENODEV;
	if (domain->client)
		return 0;
	result = tmem_client_attach(domain->xen->store, &domain->client_config,
				    &client);
	if (result < 0)
		return result == -ENODEV ? -ENODEV : -ENOMEM;
	have_client(domain, client);
	return 0;
}

/* --- domains -------------------------------------------------------------- */

void tmem_xen_domain_config_init(struct tmem_xen_domain_config *config)
{
	*config = (struct tmem_xen_domain_config){
		.struct_size = sizeof(*config),
		.pages_max = TMEM_XEN_PAGES_UNLIMITED,
	};
}

struct tmem_xen_domain *tm_xen_domain_find(struct tmem_xen *xen,
					   uint32_t cli_id)
{
	struct tmem_xen_domain *domain = xen->domains;

	while (domain && domain->id != (uint16_t)cli_id)
		domain = domain->next;
	return domain;
}

static bool is_valid(const struct tmem_xen_domain_config *config)
{
	const struct tmem_client_config *client;

	if (!config || config->struct_size < sizeof(*config) ||
	    config->id == TMEM_XEN_ALL_CLIENTS)
		return false;
	client = config->client_config;
	if (config->client)
		return true;
	return client && client->struct_size >= sizeof(*client) &&
	       client->name && *client->name &&
	       strnlen(client->name, TMEM_CLIENT_NAME_MAX + 1) <=
		       TMEM_CLIENT_NAME_MAX;
}

static struct tmem_xen_domain *
make_domain(struct tmem_xen *xen, const struct tmem_xen_domain_config *config)
{
	/* The epoch's counters want cache lines of their own. */
	struct tmem_xen_domain *domain = aligned_alloc(
		_Alignof(struct tmem_xen_domain), sizeof(*domain));

	if (!domain)
		return NULL;
	memset(domain, 0, sizeof(*domain));
	domain->xen = xen;
	domain->id = config->id;
	domain->borrows_client = config->client;
	domain->memory = config->memory;
	domain->pages = config->pages;
	domain->pages_max = config->pages_max;
	if (!config->client) {
		domain->client_config = *config->client_config;
		strcpy(domain->name, config->client_config->name);
		domain->client_config.name = domain->name;
	}
	for (int slot = 0; slot < TMEM_XEN_POOLS_MAX; slot++) {
		domain->pools[slot].alias = TM_XEN_NO_ALIAS;
		domain->pools[slot].shared = -1;
	}
	tm_epoch_init(&domain->epoch);
	tm_lock_init(&domain->epoch_lock, TM_RANK_XEN);
	return domain;
}

int tmem_xen_domain_create(struct tmem_xen *xen,
			   const struct tmem_xen_domain_config *config,
			   struct tmem_xen_domain **out)
{
	struct tmem_xen_domain *domain, **at;
	int err = 0;

	if (!is_valid(config) || !out)
		return -EINVAL;
	domain = make_domain(xen, config);
	if (!domain)
		return -ENOMEM;
	tm_lock_acquire(&xen->lock);
	tm_xen_is_locked(domain);
	if (tm_xen_domain_find(xen, domain->id)) {
		err = -EEXIST;
	} else {
		domain->generation = ++xen->generations;
		/* By number, as they are listed. */
		at = &xen->domains;
		while (*at && (*at)->id < domain->id)
			at = &(*at)->next;
		domain->next = *at;
		*at = domain;
		if (config->client)
			have_client(domain, config->client);
	}
	tm_lock_release(&xen->lock);
	if (err)
		free(domain);
	else
		*out = domain;
	return err;
}

uint64_t tmem_xen_domain_generation(const struct tmem_xen_domain *domain)
{
	return domain->generation;
}

/* Operations that began before have ended. */
static void wait_for_operations(struct tmem_xen_domain *domain)
{
	tm_lock_acquire(&domain->epoch_lock);
	tm_epoch_wait(&domain->epoch);
	tm_lock_release(&domain->epoch_lock);
}

void tmem_xen_domain_set_memory(struct tmem_xen_domain *domain,
				struct tmem_guest_memory *memory)
{
	atomic_store(&domain->memory, memory);
	wait_for_operations(domain);
}

void tmem_xen_domain_set_pages(struct tmem_xen_domain *domain, uint64_t pages,
			       uint64_t pages_max)
{
	tm_lock_acquire(&domain->xen->lock);
	domain->pages = pages;
	domain->pages_max = pages_max;
	apply_pages(domain);
	tm_lock_release(&domain->xen->lock);
}

void tmem_xen_domain_get_pages(struct tmem_xen_domain *domain, uint64_t *pages,
			       uint64_t *pages_max)
{
	tm_lock_acquire(&domain->xen->lock);
	*pages = domain->pages;
	*pages_max = domain->pages_max;
	tm_lock_release(&domain->xen->lock);
}

/* Its counts go on counting. */
static void hand_over_totals(struct tmem_xen_domain *domain)
	TM_REQUIRES(domain->xen->lock)
{
	for (int i = 0; i < TM_XEN_TOTALS; i++)
		domain->xen->gone[i] += atomic_exchange(&domain->totals[i], 0);
}

/* No operation, privileged or not, gets hold of it any more. */
static void leave(struct tmem_xen_domain *domain)
{
	struct tmem_xen_domain **at;

	tm_lock_acquire(&domain->xen->lock);
	if (!atomic_exchange(&domain->is_dying, true)) {
		tm_xen_save_end(domain);
		tm_xen_pools_forget(domain);
		at = &domain->xen->domains;
		while (*at != domain)
			at = &(*at)->next;
		*at = domain->next;
	}
	hand_over_totals(domain);
	tm_lock_release(&domain->xen->lock);
	wait_for_operations(domain);
	tm_lock_acquire(&domain->xen->lock);
	hand_over_totals(domain);
	tm_lock_release(&domain->xen->lock);
}

void tmem_xen_domain_end(struct tmem_xen_domain *domain)
{
	struct tmem_client *client;

	leave(domain);
	client = atomic_exchange(&domain->client, NULL);
	if (client && !domain->borrows_client)
		tmem_client_destroy(client);
}

void tmem_xen_domain_close(struct tmem_xen_domain *domain)
{
	if (!domain)
		return;
	leave(domain);
	if (!domain->borrows_client)
		tmem_client_detach(domain->client);
	tm_lock_destroy(&domain->epoch_lock);
	free(domain);
}
