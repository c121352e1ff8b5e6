/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The store, as the floors above see it: everything that <tmem/tmem.h>
 * promises for an embedded store, under private names.
 *
 * The public functions are thin: what a client's port leads to (an embedded
 * store, later a daemon's ring) is decided one floor up. The docstrings of the
 * public header hold for these too.
 */
#ifndef TM_CORE_H
#define TM_CORE_H

#include <tmem/tmem.h>

struct tm_store;
struct tm_client;

/* @plugins outlives the store. */
int tm_store_open(const struct tmem_store_config *config,
		  const struct tmem_plugins *plugins, struct tm_store **store);
void tm_store_close(struct tm_store *store);
int tm_store_step(struct tm_store *store);
int tm_store_set_memory(struct tm_store *store, uint64_t memory_bytes);
int tm_store_set_codec(struct tm_store *store, const char *codec);
int tm_store_set_allocator(struct tm_store *store, const char *allocator);
int64_t tm_store_evict(struct tm_store *store, uint64_t bytes);
int tm_store_check(struct tm_store *store);
int tm_store_get_stats(struct tm_store *store, struct tmem_store_stats *stats);

int tm_client_attach(struct tm_store *store,
		     const struct tmem_client_config *config,
		     struct tm_client **client);
/* A client that is made bit by bit, pools and pages, and is ended by a reopening
 * unless it was finished. As tm_client_attach(), or -EEXIST. */
int tm_client_begin(struct tm_store *store,
		    const struct tmem_client_config *config,
		    struct tm_client **client);
void tm_client_finish(struct tm_client *client);
int tm_client_set(struct tm_client *client,
		  const struct tmem_client_config *config);
void tm_client_detach(struct tm_client *client);
int tm_client_destroy(struct tm_client *client);
int tm_client_set_frozen(struct tm_client *client, bool frozen);
bool tm_client_is_frozen(const struct tm_client *client);
int tm_client_set_persistent_cap(struct tm_client *client, uint64_t bytes);
int tm_client_set_shared_auth(struct tm_client *client,
			      const struct tmem_uuid *uuid, bool allowed);
int tm_client_get_counts(struct tm_client *client, struct tmem_counts *counts);
int tm_client_set_codec(struct tm_client *client, const char *codec);
int tm_client_set_call(struct tm_client *client, uint64_t call);
void tm_client_get_info(struct tm_client *client,
			struct tmem_client_info *info);
int tm_store_walk_clients(struct tm_store *store, uint32_t *position,
			  struct tmem_client_info *info);
int tm_client_walk(struct tm_client *client, int pool, uint64_t *position,
		   struct tmem_handle *handle, void *page);
int tm_client_set_migrating(struct tm_client *client, bool migrating);
/* Freezes and begins the log in one step. When it ends, the client is as frozen
 * as tm_client_set_frozen() had it, before or meanwhile. As
 * tm_client_set_migrating(). */
int tm_client_begin_log(struct tm_client *client);
/* @stays_frozen: whatever it was. */
void tm_client_end_log(struct tm_client *client, bool stays_frozen);
/* Will it be frozen when there is no log? */
bool tm_client_stays_frozen(const struct tm_client *client);
/* There is a log: thaws the client when it ends. */
void tm_client_thaw_later(struct tm_client *client);
int tm_client_next_invalidation(struct tm_client *client,
				struct tmem_handle *handle);

/* The lowest free id. */
#define TM_POOL_ANY (-1)
int tm_pool_create(struct tm_client *client, int id, uint32_t flags,
		   const struct tmem_uuid *uuid);
int tm_pool_destroy(struct tm_client *client, int id);
int tm_pool_get_info(struct tm_client *client, int id,
		     struct tmem_pool_info *info);
int64_t tm_pool_pages(struct tm_client *client, int id);

int tm_put(struct tm_client *client, int pool, const struct tmem_oid *oid,
	   uint32_t index, const void *page, uint32_t flags);
int tm_get(struct tm_client *client, int pool, const struct tmem_oid *oid,
	   uint32_t index, void *page, uint32_t flags);
int tm_flush_page(struct tm_client *client, int pool,
		  const struct tmem_oid *oid, uint32_t index);
int tm_flush_object(struct tm_client *client, int pool,
		    const struct tmem_oid *oid);

#endif
