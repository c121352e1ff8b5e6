/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Clients: attached, limited, frozen, ended.
 *
 * A client is its record: attaching to a name that is there takes up its pools
 * again, whether it was detached in this process or found in a reopened arena.
 *
 * Locks: all under store.control; the limits are read by operations without.
 */
#include <config.h>

#include <errno.h>
#include <string.h>

#include "store.h"

static size_t client_size(const struct tm_store *store)
{
	return sizeof(struct tm_client) +
	       store->context_count * sizeof(struct tm_stripe);
}

struct tm_client *tm_client_make(struct tm_store *store, uint32_t slot)
{
	struct tm_client *client = tm_memory_alloc(
		&store->memory, client_size(store), TM_CACHE_LINE);

	if (!client)
		return NULL;
	client->store = store;
	client->slot = slot;
	client->codec = TM_CODEC_OF_STORE;
	client->record = tm_table_at(&store->client_table, slot);
	tm_lock_init(&client->lru_lock, TM_RANK_LRU);
	if (slot >= store->client_high)
		store->client_high = slot + 1;
	return client;
}

void tm_client_free(struct tm_client *client)
{
	tm_log_discard(client);
	tm_lock_destroy(&client->lru_lock);
	tm_memory_free(&client->store->memory, client,
		       client_size(client->store));
}

/* The sums that eviction and admission look at. */
static void sum_limits(struct tm_store *store)
{
	uint64_t weights = 0;
	uint32_t reserved = 0;

	for (uint32_t i = 1; i < store->client_high; i++) {
		const struct tm_client *client = store->clients[i];

		if (!client || client->is_dead)
			continue;
		weights += client->weight;
		reserved += client->reservation_bytes > 0;
	}
	store->weight_sum = weights;
	store->reserved_clients = reserved;
}

static bool reservation_fits(struct tm_store *store,
			     const struct tm_client *except, uint64_t bytes)
{
	uint64_t limit = store->memory.limit_bytes;
	uint64_t sum = bytes;

	if (!bytes)
		return true;
	for (uint32_t i = 1; i < store->client_high; i++) {
		const struct tm_client *client = store->clients[i];

		if (client && client != except && !client->is_dead)
			sum += client->reservation_bytes;
	}
	return bytes <= limit && sum <= limit &&
	       tm_quota_memory_bytes(store, sum) <= limit;
}

static void set_limits(struct tm_client *client,
		       const struct tmem_client_config *config)
{
	struct tm_client_record *record = client->record;

	client->weight = record->weight = config->weight;
	client->trust_domain = record->trust_domain = config->trust_domain;
	client->reservation_bytes = record->reservation_bytes =
		config->reservation_bytes;
	client->cap_bytes = record->cap_bytes = config->cap_bytes;
}

static int check_limits(struct tm_store *store, const struct tm_client *except,
			const struct tmem_client_config *config)
{
	if (config->cap_bytes && config->reservation_bytes > config->cap_bytes)
		return -EINVAL;
	if (!reservation_fits(store, except, config->reservation_bytes))
		return -ENOSPC;
	return 0;
}

static struct tm_client *find_client(struct tm_store *store, const char *name)
{
	for (uint32_t i = 1; i < store->client_high; i++) {
		struct tm_client *client = store->clients[i];

		if (client && !client->is_dead &&
		    !strcmp(client->record->name, name))
			return client;
	}
	return NULL;
}

static int make_client(struct tm_store *store,
		       const struct tmem_client_config *config,
		       uint64_t unfinished, struct tm_client **out)
{
	struct tm_client *client;
	uint32_t slot;

	if (!tm_table_take(&store->client_table, &slot, 1))
		return store->client_high > TM_CLIENTS_MAX ? -EUSERS : -ENOMEM;
	client = tm_client_make(store, slot);
	if (!client) {
		tm_table_give(&store->client_table, &slot, 1);
		return -ENOMEM;
	}
	client->record->call = 0;
	client->record->unfinished = unfinished;
	memset(client->record->name, 0, sizeof(client->record->name));
	memcpy(client->record->name, config->name, strlen(config->name));
	set_limits(client, config);
	atomic_store_explicit(&client->record->state,
			      tm_client_word(store, client->record, slot,
					     TM_RECORD_LIVE),
			      memory_order_release);
	atomic_store(&store->clients[slot], client);
	*out = client;
	return 0;
}

static int attach(struct tm_store *store,
		  const struct tmem_client_config *config,
		  struct tm_client **out)
{
	struct tm_client *client = find_client(store, config->name);
	int err;

	if (client && client->is_attached)
		return -EBUSY;
	err = check_limits(store, client, config);
	if (err)
		return err;
	if (client) {
		set_limits(client, config);
		err = 1;
	} else {
		err = make_client(store, config, 0, &client);
		if (err)
			return err;
	}
	client->is_attached = true;
	sum_limits(store);
	*out = client;
	return err;
}

/* As attach(), to a client that must not be there yet. */
static int begin(struct tm_store *store,
		 const struct tmem_client_config *config,
		 struct tm_client **out)
{
	int err;

	if (find_client(store, config->name))
		return -EEXIST;
	err = check_limits(store, NULL, config);
	if (!err)
		err = make_client(store, config, TM_CLIENT_UNFINISHED, out);
	if (err)
		return err;
	(*out)->is_attached = true;
	sum_limits(store);
	return 0;
}

typedef int attach_fn(struct tm_store *store,
		      const struct tmem_client_config *config,
		      struct tm_client **out);

static int attach_by(attach_fn *function, struct tm_store *store,
		     const struct tmem_client_config *config,
		     struct tm_client **client)
{
	int attempts = TM_WAY_ATTEMPTS;
	int result;

	if (!config->name || !*config->name ||
	    strnlen(config->name, TMEM_CLIENT_NAME_MAX + 1) >
		    TMEM_CLIENT_NAME_MAX)
		return -EINVAL;
	if (!tm_is_alive(store))
		return -EOWNERDEAD;
	do {
		tm_lock_acquire(&store->control);
		result = function(store, config, client);
		tm_lock_release(&store->control);
	} while (result == -ENOMEM && attempts-- && tm_make_way(store));
	return result;
}

int tm_client_attach(struct tm_store *store,
		     const struct tmem_client_config *config,
		     struct tm_client **client)
{
	return attach_by(attach, store, config, client);
}

int tm_client_begin(struct tm_store *store,
		    const struct tmem_client_config *config,
		    struct tm_client **client)
{
	return attach_by(begin, store, config, client);
}

void tm_client_finish(struct tm_client *client)
{
	atomic_store(&client->record->unfinished, 0);
}

/* A lower cap takes effect at once, on what may be taken. */
static void enforce_cap(struct tm_client *client)
{
	struct tm_context *context = tm_enter(client->store);

	if (!context)
		return;
	while (client->cap_bytes &&
	       client->billed_bytes > (int64_t)client->cap_bytes &&
	       tm_evict_own(context, client))
		;
	tm_leave(context);
}

int tm_client_set(struct tm_client *client,
		  const struct tmem_client_config *config)
{
	struct tm_store *store = client->store;
	int err;

	if (!tm_is_alive(store))
		return -EOWNERDEAD;
	tm_lock_acquire(&store->control);
	err = check_limits(store, client, config);
	if (!err) {
		set_limits(client, config);
		sum_limits(store);
	}
	tm_lock_release(&store->control);
	if (!err)
		enforce_cap(client);
	return err;
}

void tm_client_detach(struct tm_client *client)
{
	struct tm_store *store;

	if (!client)
		return;
	store = client->store;
	if (!tm_is_alive(store))
		return;
	tm_lock_acquire(&store->control);
	client->is_attached = false;
	tm_lock_release(&store->control);
}

int tm_client_destroy(struct tm_client *client)
{
	struct tm_store *store = client->store;

	if (!tm_is_alive(store))
		return -EOWNERDEAD;
	tm_lock_acquire(&store->control);
	tm_log_end(client);
	atomic_store_explicit(&client->record->state,
			      tm_record_word_dead(client->record->state),
			      memory_order_release);
	for (int id = 0; id < TMEM_POOLS_MAX; id++)
		tm_pool_leave(client, id);
	atomic_store(&client->is_dead, true);
	/* Nothing is kept for it, nor from it. */
	atomic_store(&client->reservation_bytes, 0);
	client->is_attached = false;
	atomic_fetch_add(&store->dead_clients, 1);
	sum_limits(store);
	tm_lock_release(&store->control);
	atomic_store(&store->has_dead, true);
	tm_worker_wake(store);
	tm_reap_along(store);
	return 0;
}

int tm_client_set_frozen(struct tm_client *client, bool frozen)
{
	struct tm_store *store = client->store;
	int err = 0;

	if (!tm_is_alive(store))
		return -EOWNERDEAD;
	tm_lock_acquire(&store->control);
	if (client->log && !frozen) {
		err = -EBUSY;
	} else {
		atomic_store(&client->stays_frozen, frozen);
		atomic_store(&client->is_frozen, frozen);
	}
	tm_lock_release(&store->control);
	if (!err)
		tm_quiesce(store);
	return err;
}

bool tm_client_is_frozen(const struct tm_client *client)
{
	return atomic_load(&client->is_frozen);
}

bool tm_client_stays_frozen(const struct tm_client *client)
{
	return atomic_load(&client->stays_frozen);
}

void tm_client_thaw_later(struct tm_client *client)
{
	if (!tm_is_alive(client->store))
		return;
	tm_lock_acquire(&client->store->control);
	atomic_store(&client->stays_frozen, false);
	tm_lock_release(&client->store->control);
}

int tm_client_set_persistent_cap(struct tm_client *client, uint64_t bytes)
{
	if (!tm_is_alive(client->store))
		return -EOWNERDEAD;
	atomic_store(&client->persistent_cap_bytes,
		     bytes > INT64_MAX ? 0 : bytes);
	return 0;
}

int tm_client_set_codec(struct tm_client *client, const char *codec)
{
	if (codec)
		return tm_store_choose_codec(client->store, codec,
					     &client->codec);
	if (!tm_is_alive(client->store))
		return -EOWNERDEAD;
	atomic_store(&client->codec, TM_CODEC_OF_STORE);
	return 0;
}

int tm_client_set_call(struct tm_client *client, uint64_t call)
{
	if (!tm_is_alive(client->store))
		return -EOWNERDEAD;
	tm_lock_acquire(&client->store->control);
	client->call = call;
	tm_lock_release(&client->store->control);
	return 0;
}

static void get_info(const struct tm_client *client,
		     struct tmem_client_info *info)
{
	struct tm_store *store = client->store;
	uint32_t codec = client->codec;

	info->compress = codec != 0;
	if (codec == TM_CODEC_OF_STORE)
		codec = store->codec;
	info->number = client->slot;
	info->weight = client->weight;
	info->trust_domain = client->trust_domain;
	info->attached = client->is_attached;
	info->frozen = client->is_frozen;
	info->migrating = client->log;
	info->reservation_bytes = client->reservation_bytes;
	info->cap_bytes = client->cap_bytes;
	info->call = tm_call_number(client->record->call);
	memcpy(info->name, client->record->name, sizeof(info->name));
	tm_store_name_codec(store, codec, info->codec, &info->level);
	tm_store_name_allocator(store, info->allocator);
}

void tm_client_get_info(struct tm_client *client,
			struct tmem_client_info *info)
{
	if (!tm_is_alive(client->store))
		return;
	tm_lock_acquire(&client->store->control);
	get_info(client, info);
	tm_lock_release(&client->store->control);
}

int tm_store_walk_clients(struct tm_store *store, uint32_t *position,
			  struct tmem_client_info *info)
{
	const struct tm_client *client = NULL;

	if (!tm_is_alive(store))
		return -EOWNERDEAD;
	tm_lock_acquire(&store->control);
	if (!*position)
		*position = 1;
	while (!client && *position < store->client_high) {
		client = store->clients[(*position)++];
		if (client && client->is_dead)
			client = NULL;
	}
	if (client)
		get_info(client, info);
	tm_lock_release(&store->control);
	return client != NULL;
}
