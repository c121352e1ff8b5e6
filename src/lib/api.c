/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The public functions of stores, clients, pools and pages.
 *
 * Here the promises about structures that grow are kept (a caller built
 * against an older header passes a smaller struct_size; what it does not know
 * reads as its default, or is not written), NULLs are refused, a store that is
 * disabled answers -ENODEV, and everything else is handed down to the core.
 *
 * A client is a handle of its own, so that what it leads to (an embedded store
 * now) can become something else without a change of the ABI.
 */
#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"

struct tmem_store {
	struct tm_store *core;	/* NULL: disabled */
	struct tmem_plugins *plugins;
};

/* The first versions' sizes: nobody can know less. */
#define STORE_CONFIG_SIZE_MIN sizeof(struct tmem_store_config)
#define CLIENT_CONFIG_SIZE_MIN sizeof(struct tmem_client_config)

#define STATS_SIZE_MIN offsetof(struct tmem_store_stats, needed_bytes)
#define CLIENT_INFO_SIZE_MIN offsetof(struct tmem_client_info, codec)

/* Copies what both sides know of a structure that begins with its size. */
static int take(void *to, size_t to_size, const void *from, size_t min_size)
{
	size_t from_size;

	if (!from)
		return -EINVAL;
	memcpy(&from_size, from, sizeof(from_size));
	if (from_size < min_size)
		return -EINVAL;
	memcpy(to, from, from_size < to_size ? from_size : to_size);
	return 0;
}

static void give(void *to, const void *from, size_t from_size)
{
	size_t to_size;

	memcpy(&to_size, to, sizeof(to_size));
	memcpy((char *)to + sizeof(to_size),
	       (const char *)from + sizeof(to_size),
	       (to_size < from_size ? to_size : from_size) - sizeof(to_size));
}

/* --- the store -------------------------------------------------------------*/

void tmem_store_config_init(struct tmem_store_config *config)
{
	*config = (struct tmem_store_config){ .struct_size = sizeof(*config) };
}

static int open_core(struct tmem_store *store,
		     struct tmem_store_config *config)
{
	int err;

	err = tmem_plugins_open(config->plugin_path, config->log,
				config->log_opaque, &store->plugins);
	if (err)
		return err;
	if (!config->codec)
		config->codec = tmem_default_codec();
	if (!config->allocator)
		config->allocator = tmem_default_allocator();
	return tm_store_open(config, store->plugins, &store->core);
}

int tmem_store_open(const struct tmem_store_config *config,
		    struct tmem_store **out)
{
	struct tmem_store_config known = { 0 };
	struct tmem_store *store;
	int err;

	if (!out || take(&known, sizeof(known), config, STORE_CONFIG_SIZE_MIN))
		return -EINVAL;
	store = calloc(1, sizeof(*store));
	if (!store)
		return -ENOMEM;
	if (!(known.flags & TMEM_STORE_DISABLED)) {
		err = open_core(store, &known);
		if (err) {
			tmem_plugins_close(store->plugins);
			free(store);
			return err;
		}
	}
	*out = store;
	return 0;
}

void tmem_store_close(struct tmem_store *store)
{
	if (!store)
		return;
	tm_store_close(store->core);
	tmem_plugins_close(store->plugins);
	free(store);
}

int tmem_store_step(struct tmem_store *store)
{
	return store->core ? tm_store_step(store->core) : 0;
}

int tmem_store_set_memory(struct tmem_store *store, uint64_t memory_bytes)
{
	if (!store->core)
		return -ENODEV;
	return tm_store_set_memory(store->core, memory_bytes);
}

int tmem_store_set_codec(struct tmem_store *store, const char *codec)
{
	if (!store->core)
		return -ENODEV;
	return tm_store_set_codec(store->core,
				  codec ? codec : tmem_default_codec());
}

int tmem_store_set_allocator(struct tmem_store *store, const char *allocator)
{
	if (!store->core)
		return -ENODEV;
	return tm_store_set_allocator(
		store->core, allocator ? allocator : tmem_default_allocator());
}

int64_t tmem_store_evict(struct tmem_store *store, uint64_t bytes)
{
	return store->core ? tm_store_evict(store->core, bytes) : -ENODEV;
}

int tmem_store_check(struct tmem_store *store)
{
	return store->core ? tm_store_check(store->core) : 0;
}

int tmem_store_get_stats(struct tmem_store *store,
			 struct tmem_store_stats *stats)
{
	struct tmem_store_stats all = { 0 };
	int err = 0;

	if (!stats || stats->struct_size < STATS_SIZE_MIN ||
	    stats->counts.struct_size < sizeof(all.counts))
		return -EINVAL;
	if (store->core)
		err = tm_store_get_stats(store->core, &all);
	if (err)
		return err;
	all.counts.struct_size = stats->counts.struct_size;
	give(stats, &all, sizeof(all));
	return 0;
}

/* --- the port of an embedded store ------------------------------------------ */

static struct tm_client *core_of(struct tm_port *port)
{
	return tm_client_of_port(port)->core;
}

static int embedded_put(struct tm_port *port, int pool,
			const struct tmem_oid *oid, uint32_t index,
			const void *page, uint32_t flags)
{
	return tm_put(core_of(port), pool, oid, index, page, flags);
}

static int embedded_get(struct tm_port *port, int pool,
			const struct tmem_oid *oid, uint32_t index, void *page,
			uint32_t flags)
{
	return tm_get(core_of(port), pool, oid, index, page, flags);
}

static int embedded_flush_page(struct tm_port *port, int pool,
			       const struct tmem_oid *oid, uint32_t index)
{
	return tm_flush_page(core_of(port), pool, oid, index);
}

static int embedded_flush_object(struct tm_port *port, int pool,
				 const struct tmem_oid *oid)
{
	return tm_flush_object(core_of(port), pool, oid);
}

static int embedded_pool_create(struct tm_port *port, uint32_t flags,
				const struct tmem_uuid *uuid)
{
	return tm_pool_create(core_of(port), TM_POOL_ANY, flags, uuid);
}

static int embedded_pool_destroy(struct tm_port *port, int pool)
{
	return tm_pool_destroy(core_of(port), pool);
}

static int embedded_pool_get_info(struct tm_port *port, int pool,
				  struct tmem_pool_info *info)
{
	return tm_pool_get_info(core_of(port), pool, info);
}

static int embedded_get_counts(struct tm_port *port,
			       struct tmem_counts *counts)
{
	return tm_client_get_counts(core_of(port), counts);
}

static void embedded_close(struct tm_port *port)
{
	tm_client_detach(core_of(port));
	free(tm_client_of_port(port));
}

static const struct tm_port_ops embedded_ops = {
	.put = embedded_put,
	.get = embedded_get,
	.flush_page = embedded_flush_page,
	.flush_object = embedded_flush_object,
	.pool_create = embedded_pool_create,
	.pool_destroy = embedded_pool_destroy,
	.pool_get_info = embedded_pool_get_info,
	.get_counts = embedded_get_counts,
	.close = embedded_close,
};

/* --- clients --------------------------------------------------------------- */

void tmem_client_config_init(struct tmem_client_config *config)
{
	*config = (struct tmem_client_config){ .struct_size = sizeof(*config) };
}

typedef int attach_fn(struct tm_store *store,
		      const struct tmem_client_config *config,
		      struct tm_client **client);

static int attach_by(attach_fn *function, struct tmem_store *store,
		     const struct tmem_client_config *config,
		     struct tmem_client **out)
{
	struct tmem_client_config known = { 0 };
	struct tmem_client *client;
	int result;

	if (!out || take(&known, sizeof(known), config, CLIENT_CONFIG_SIZE_MIN))
		return -EINVAL;
	if (!store->core)
		return -ENODEV;
	client = calloc(1, sizeof(*client));
	if (!client)
		return -ENOMEM;
	client->port.ops = &embedded_ops;
	result = function(store->core, &known, &client->core);
	if (result < 0)
		free(client);
	else
		*out = client;
	return result;
}

int tmem_client_attach(struct tmem_store *store,
		       const struct tmem_client_config *config,
		       struct tmem_client **client)
{
	return attach_by(tm_client_attach, store, config, client);
}

int tm_client_open_unfinished(struct tmem_store *store,
			      const struct tmem_client_config *config,
			      struct tmem_client **client)
{
	return attach_by(tm_client_begin, store, config, client);
}

int tmem_client_set(struct tmem_client *client,
		    const struct tmem_client_config *config)
{
	struct tmem_client_config known = { 0 };

	if (take(&known, sizeof(known), config, CLIENT_CONFIG_SIZE_MIN))
		return -EINVAL;
	if (!client->core)
		return -EOPNOTSUPP;
	return tm_client_set(client->core, &known);
}

void tmem_client_detach(struct tmem_client *client)
{
	if (!client)
		return;
	client->port.ops->close(&client->port);
}

int tmem_client_destroy(struct tmem_client *client)
{
	int err;

	if (!client->core)
		return -EOPNOTSUPP;
	err = tm_client_destroy(client->core);
	free(client);
	return err;
}

int tmem_client_set_frozen(struct tmem_client *client, bool frozen)
{
	if (!client->core)
		return -EOPNOTSUPP;
	return tm_client_set_frozen(client->core, frozen);
}

int tmem_client_is_frozen(struct tmem_client *client)
{
	if (!client->core)
		return -EOPNOTSUPP;
	return tm_client_is_frozen(client->core);
}

int tmem_client_set_persistent_cap(struct tmem_client *client, uint64_t bytes)
{
	if (!client->core)
		return -EOPNOTSUPP;
	return tm_client_set_persistent_cap(client->core, bytes);
}

int tmem_client_set_shared_auth(struct tmem_client *client,
				const struct tmem_uuid *uuid, bool allowed)
{
	if (!client->core)
		return -EOPNOTSUPP;
	return tm_client_set_shared_auth(client->core, uuid, allowed);
}

int tmem_client_get_counts(struct tmem_client *client,
			   struct tmem_counts *counts)
{
	struct tmem_counts all = { 0 };
	int err;

	if (!counts || counts->struct_size < sizeof(all))
		return -EINVAL;
	err = client->port.ops->get_counts(&client->port, &all);
	if (!err)
		give(counts, &all, sizeof(all));
	return err;
}

int tmem_client_set_codec(struct tmem_client *client, const char *codec)
{
	if (!client->core)
		return -EOPNOTSUPP;
	return tm_client_set_codec(client->core, codec);
}

int tmem_client_set_compress(struct tmem_client *client, bool compress)
{
	return tmem_client_set_codec(client, compress ? NULL : "none");
}

int tmem_client_set_call(struct tmem_client *client, uint64_t call)
{
	if (!client->core)
		return -EOPNOTSUPP;
	return tm_client_set_call(client->core, call);
}

int tmem_client_get_info(struct tmem_client *client,
			 struct tmem_client_info *info)
{
	struct tmem_client_info all = { 0 };

	if (!client->core)
		return -EOPNOTSUPP;
	if (!info || info->struct_size < CLIENT_INFO_SIZE_MIN)
		return -EINVAL;
	tm_client_get_info(client->core, &all);
	give(info, &all, sizeof(all));
	return 0;
}

int tmem_store_walk_clients(struct tmem_store *store, uint32_t *position,
			    struct tmem_client_info *info)
{
	struct tmem_client_info all = { 0 };
	int result;

	if (!info || info->struct_size < CLIENT_INFO_SIZE_MIN)
		return -EINVAL;
	if (!store->core)
		return 0;
	result = tm_store_walk_clients(store->core, position, &all);
	if (result > 0)
		give(info, &all, sizeof(all));
	return result;
}

int tmem_client_walk(struct tmem_client *client, int pool, uint64_t *position,
		     struct tmem_handle *handle, void *page)
{
	if (!client->core)
		return -EOPNOTSUPP;
	return tm_client_walk(client->core, pool, position, handle, page);
}

int tmem_client_set_migrating(struct tmem_client *client, bool migrating)
{
	if (!client->core)
		return -EOPNOTSUPP;
	return tm_client_set_migrating(client->core, migrating);
}

int tmem_client_next_invalidation(struct tmem_client *client,
				  struct tmem_handle *handle)
{
	if (!client->core)
		return -EOPNOTSUPP;
	return tm_client_next_invalidation(client->core, handle);
}

/* --- pools and pages -------------------------------------------------------- */

int tmem_pool_create(struct tmem_client *client, uint32_t flags,
		     const struct tmem_uuid *uuid)
{
	return client->port.ops->pool_create(&client->port, flags, uuid);
}

int tmem_pool_create_at(struct tmem_client *client, int pool, uint32_t flags,
			const struct tmem_uuid *uuid)
{
	if (!client->core)
		return -EOPNOTSUPP;
	if (pool < 0 || pool >= TMEM_POOLS_MAX)
		return -EINVAL;
	return tm_pool_create(client->core, pool, flags, uuid);
}

int tmem_pool_destroy(struct tmem_client *client, int pool)
{
	return client->port.ops->pool_destroy(&client->port, pool);
}

int tmem_pool_get_info(struct tmem_client *client, int pool,
		       struct tmem_pool_info *info)
{
	struct tmem_pool_info all = { 0 };
	int err;

	if (!info || info->struct_size < sizeof(all))
		return -EINVAL;
	err = client->port.ops->pool_get_info(&client->port, pool, &all);
	if (!err)
		give(info, &all, sizeof(all));
	return err;
}

int64_t tmem_pool_pages(struct tmem_client *client, int pool)
{
	if (!client->core)
		return -EOPNOTSUPP;
	return tm_pool_pages(client->core, pool);
}

int tmem_put(struct tmem_client *client, int pool, const struct tmem_oid *oid,
	     uint32_t index, const void *page, uint32_t flags)
{
	return client->port.ops->put(&client->port, pool, oid, index, page,
				      flags);
}

int tmem_get(struct tmem_client *client, int pool, const struct tmem_oid *oid,
	     uint32_t index, void *page, uint32_t flags)
{
	return client->port.ops->get(&client->port, pool, oid, index, page,
				      flags);
}

int tmem_flush_page(struct tmem_client *client, int pool,
		    const struct tmem_oid *oid, uint32_t index)
{
	return client->port.ops->flush_page(&client->port, pool, oid, index);
}

int tmem_flush_object(struct tmem_client *client, int pool,
		      const struct tmem_oid *oid)
{
	return client->port.ops->flush_object(&client->port, pool, oid);
}

static int carry_out(struct tm_port *port, const struct tmem_request *r)
{
	const struct tm_port_ops *ops = port->ops;

	switch (r->kind) {
	case TMEM_REQUEST_PUT:
		return ops->put(port, r->pool, &r->oid, r->index, r->page,
				r->flags);
	case TMEM_REQUEST_GET:
		return ops->get(port, r->pool, &r->oid, r->index, r->page,
				r->flags);
	case TMEM_REQUEST_FLUSH_PAGE:
		return ops->flush_page(port, r->pool, &r->oid, r->index);
	default:
		return ops->flush_object(port, r->pool, &r->oid);
	}
}

int tmem_batch(struct tmem_client *client, struct tmem_request *requests,
	       uint32_t count)
{
	struct tm_port *port = &client->port;

	for (uint32_t i = 0; i < count; i++)
		if (requests[i].kind < TMEM_REQUEST_PUT ||
		    requests[i].kind > TMEM_REQUEST_FLUSH_OBJECT)
			return -EINVAL;
	if (port->ops->batch)
		return port->ops->batch(port, requests, count);
	for (uint32_t i = 0; i < count; i++)
		requests[i].result = carry_out(port, &requests[i]);
	return 0;
}
