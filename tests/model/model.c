/* SPDX-License-Identifier: BSD-2-Clause */
/* A store beside a model of it; see model.h. */
#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model.h"

#define PERSISTENT TMEM_POOL_PERSISTENT
#define SHARED TMEM_POOL_SHARED

static const struct tmem_uuid shared_uuid = { { 0x73686172, 0x6564 } };

/* Within a slice of an object, across slices, and at both ends. */
static const uint32_t indexes[TM_MODEL_INDEXES] = {
	0, 1, 2, 15, 16, 300, 4095, 4096, 4097, 70000, 0x80000001, UINT32_MAX
};

#define MUST(actor, x)                                                         \
	((x) ? (void)0 : tm_model_fail(actor, __func__, __LINE__, #x))

static _Noreturn void tm_model_fail(const struct tm_model_actor *actor,
				    const char *function, int line,
				    const char *what)
{
	fprintf(stderr, "model: actor %u, step %" PRIu64 ", %s:%d: not so: %s\n",
		actor->number, actor->steps, function, line, what);
	abort();
}

static uint32_t below(struct tm_model_actor *actor, uint32_t n)
{
	return actor->source.below(actor->source.opaque, n);
}

static bool one_in(struct tm_model_actor *actor, uint32_t n)
{
	return below(actor, n) == 0;
}

static struct tmem_oid oid_of(uint32_t object)
{
	return (struct tmem_oid){ { object, 0, object % 2 ? UINT64_MAX : 7 } };
}

/* --- pages of an actor's own pools ---------------------------------------- */

struct handle {
	struct tm_model_client *client;
	int pool;
	struct tmem_oid oid;
	uint32_t index;
	struct tm_model_pool *state;
	struct tm_model_page *page;
};

static struct tm_model_client *any_client(struct tm_model_actor *actor)
{
	struct tm_model_client *client =
		&actor->clients[below(actor, TM_MODEL_CLIENTS)];

	return client->client ? client : NULL;
}

/* Any place, one time in @old_of, else one of those that were chosen last. */
static struct tm_model_place any_place(struct tm_model_actor *actor,
				       uint32_t old_of)
{
	struct tm_model_place *recent =
		&actor->recent[below(actor, TM_MODEL_RECENT)];

	if (one_in(actor, old_of))
		*recent = (struct tm_model_place){
			.client = (uint8_t)below(actor, TM_MODEL_CLIENTS),
			.pool = (uint8_t)below(actor, TMEM_POOLS_MAX),
			.object = (uint8_t)below(actor, TM_MODEL_OBJECTS),
			.index = (uint8_t)below(actor, TM_MODEL_INDEXES),
		};
	return *recent;
}

/* A handle in one of the private pools; false when there is none. */
static bool any_handle(struct tm_model_actor *actor, uint32_t old_of,
		       struct handle *h)
{
	struct tm_model_place place = any_place(actor, old_of);

	h->client = &actor->clients[place.client];
	for (int i = 0; h->client->client && i < TMEM_POOLS_MAX; i++) {
		h->pool = (place.pool + i) % TMEM_POOLS_MAX;
		h->state = &h->client->pools[h->pool];
		if (!h->state->exists || h->state->is_shared)
			continue;
		h->oid = oid_of(place.object);
		h->index = indexes[place.index];
		h->page = &h->state->pages[place.object][place.index];
		return true;
	}
	return false;
}

static void step_put(struct tm_model_actor *actor)
{
	uint8_t page[TMEM_PAGE_SIZE];
	struct tm_model_page next = { .is_there = true };
	struct handle h;
	uint32_t flags;
	int result;

	if (!any_handle(actor, 2, &h))
		return;
	next.kind = below(actor, TM_PAGE_KINDS);
	/* Now and then one that others have too. */
	next.number = one_in(actor, 4) ?
			      below(actor, 8) :
			      ++actor->pages_made << 8 | actor->number;
	flags = one_in(actor, 4) ? TMEM_PUT_UNSTABLE : 0;
	tm_page_fill(page, next.kind, next.number);
	result = tmem_put(h.client->client, h.pool, &h.oid, h.index, page,
			  flags);
	MUST(actor, result == TMEM_PUT_STORED || result == TMEM_PUT_REFUSED);
	MUST(actor, result == TMEM_PUT_REFUSED || !h.client->is_frozen);
	next.is_there = result == TMEM_PUT_STORED;
	*h.page = next;
	actor->stored += next.is_there;
	actor->refused += !next.is_there;
}

static void expect_page(struct tm_model_actor *actor, const void *page,
			const struct tm_model_page *want)
{
	uint8_t expected[TMEM_PAGE_SIZE];

	tm_page_fill(expected, want->kind, want->number);
	MUST(actor, !memcmp(page, expected, sizeof(expected)));
}

static void get(struct tm_model_actor *actor, const struct handle *h,
		uint32_t flags)
{
	uint8_t page[TMEM_PAGE_SIZE];
	int result;

	result = tmem_get(h->client->client, h->pool, &h->oid, h->index, page,
			  flags);
	MUST(actor, result == TMEM_GET_HIT || result == TMEM_GET_MISS);
	actor->hits += result == TMEM_GET_HIT;
	actor->misses += result == TMEM_GET_MISS;
	if (result == TMEM_GET_HIT) {
		MUST(actor, h->page->is_there);
		expect_page(actor, page, h->page);
		if (!h->state->is_persistent || flags)
			h->page->is_there = false;
	} else {
		MUST(actor, !h->page->is_there || !h->state->is_persistent);
		h->page->is_there = false;
	}
}

static void step_get(struct tm_model_actor *actor)
{
	struct handle h;

	if (any_handle(actor, 8, &h))
		get(actor, &h, one_in(actor, 6) ? TMEM_GET_REMOVE : 0);
}

static void step_flush_page(struct tm_model_actor *actor)
{
	struct handle h;
	int result;

	if (!any_handle(actor, 8, &h))
		return;
	result = tmem_flush_page(h.client->client, h.pool, &h.oid, h.index);
	MUST(actor, result == 0 || result == 1);
	MUST(actor, !result || h.page->is_there);
	MUST(actor, result || !h.page->is_there || !h.state->is_persistent);
	h.page->is_there = false;
}

static void step_flush_object(struct tm_model_actor *actor)
{
	struct tm_model_page *pages;
	bool was_there = false;
	struct handle h;
	int result;

	if (!any_handle(actor, 8, &h))
		return;
	pages = h.state->pages[h.oid.word[0]];
	result = tmem_flush_object(h.client->client, h.pool, &h.oid);
	MUST(actor, result == 0 || result == 1);
	for (uint32_t i = 0; i < TM_MODEL_INDEXES; i++) {
		was_there |= pages[i].is_there;
		pages[i].is_there = false;
	}
	/* An ephemeral object is there until eviction is through with its last
	 * page, which may be missed before. */
	MUST(actor, result == was_there || !h.state->is_persistent);
}

/* --- the shared pool ------------------------------------------------------ */

/* A client of this actor that is in it, and the pool's id there. */
static struct tmem_client *shared_member(struct tm_model_actor *actor, int *id)
{
	struct tm_model_client *client = any_client(actor);

	for (int i = 0; client && i < TMEM_POOLS_MAX; i++) {
		if (!client->pools[i].exists || !client->pools[i].is_shared)
			continue;
		*id = i;
		return client->client;
	}
	return NULL;
}

static struct tmem_oid shared_oid(uint32_t n)
{
	return (struct tmem_oid){ { 0, n / 8, 0 } };
}

static void step_shared_put(struct tm_model_actor *actor)
{
	struct tm_model *model = actor->model;
	uint32_t per_actor = TM_MODEL_SHARED / model->actor_count;
	uint32_t n = below(actor, per_actor) * model->actor_count +
		     actor->number;
	uint8_t page[TMEM_PAGE_SIZE];
	struct tmem_client *client;
	struct tmem_oid oid = shared_oid(n);
	uint64_t version;
	int id, result;

	client = shared_member(actor, &id);
	if (!client)
		return;
	version = atomic_load(&model->began[n]) + 1;
	atomic_store(&model->began[n], version);
	tm_page_fill(page, version % TM_PAGE_KINDS, version << 8 | n);
	result = tmem_put(client, id, &oid, n, page, 0);
	MUST(actor, result == TMEM_PUT_STORED || result == TMEM_PUT_REFUSED);
	atomic_store(&model->put[n], version);
}

static void step_shared_get(struct tm_model_actor *actor)
{
	struct tm_model *model = actor->model;
	uint32_t n = below(actor, TM_MODEL_SHARED);
	uint64_t page[TMEM_PAGE_SIZE / 8], least, version;
	struct tmem_oid oid = shared_oid(n);
	struct tm_model_page want;
	struct tmem_client *client;
	int id, result;

	client = shared_member(actor, &id);
	if (!client)
		return;
	least = atomic_load(&model->put[n]);
	result = tmem_get(client, id, &oid, n, page,
			  one_in(actor, 8) ? TMEM_GET_REMOVE : 0);
	MUST(actor, result == TMEM_GET_HIT || result == TMEM_GET_MISS);
	if (result == TMEM_GET_MISS)
		return;
	/* Every kind of page has its number here. */
	version = page[17] >> 8;
	want.kind = version % TM_PAGE_KINDS;
	want.number = version << 8 | n;
	expect_page(actor, page, &want);
	MUST(actor, version >= least);
	MUST(actor, version <= atomic_load(&model->began[n]));
}

static void step_shared_flush(struct tm_model_actor *actor)
{
	uint32_t n = below(actor, TM_MODEL_SHARED);
	struct tmem_oid oid = shared_oid(n);
	struct tmem_client *client;
	int id, result;

	client = shared_member(actor, &id);
	if (!client)
		return;
	result = one_in(actor, 4) ? tmem_flush_object(client, id, &oid) :
				    tmem_flush_page(client, id, &oid, n);
	MUST(actor, result == 0 || result == 1);
}

/* --- pools and clients ---------------------------------------------------- */

static int lowest_free(const struct tm_model_client *client)
{
	int id = 0;

	while (id < TMEM_POOLS_MAX && client->pools[id].exists)
		id++;
	return id;
}

static void make_pool(struct tm_model_actor *actor,
		      struct tm_model_client *client, uint32_t flags)
{
	const struct tmem_uuid *uuid = flags & SHARED ? &shared_uuid : NULL;
	int free_id = lowest_free(client);
	bool is_in = false;
	int id;

	for (int i = 0; i < TMEM_POOLS_MAX; i++)
		is_in |= client->pools[i].exists && client->pools[i].is_shared;
	id = tmem_pool_create(client->client, flags, uuid);
	if (id == -ENOMEM)
		return;
	if ((flags & SHARED) && is_in) {
		MUST(actor, id == -EEXIST);
		return;
	}
	MUST(actor, id == (free_id == TMEM_POOLS_MAX ? -ENOSPC : free_id));
	if (id < 0)
		return;
	client->pools[id] = (struct tm_model_pool){
		.exists = true,
		.is_persistent = flags & PERSISTENT,
		.is_shared = flags & SHARED,
	};
}

static void step_pool_create(struct tm_model_actor *actor)
{
	static const uint32_t flags[] = { 0, PERSISTENT, SHARED };
	struct tm_model_client *client = any_client(actor);

	if (client)
		make_pool(actor, client, flags[below(actor, 3)]);
}

static void step_pool_destroy(struct tm_model_actor *actor)
{
	struct tm_model_client *client = any_client(actor);
	uint32_t id = below(actor, TMEM_POOLS_MAX);
	int result;

	if (!client)
		return;
	result = tmem_pool_destroy(client->client, (int)id);
	MUST(actor, result == (client->pools[id].exists ? 0 : -ENOENT));
	client->pools[id].exists = false;
}

static void step_pool_info(struct tm_model_actor *actor)
{
	struct tmem_pool_info info = { .struct_size = sizeof(info) };
	struct tm_model_client *client = any_client(actor);
	uint32_t id = below(actor, TMEM_POOLS_MAX);
	const struct tm_model_pool *pool;
	uint64_t pages = 0;
	int result;

	if (!client)
		return;
	pool = &client->pools[id];
	result = tmem_pool_get_info(client->client, (int)id, &info);
	MUST(actor, result == (pool->exists ? 0 : -ENOENT));
	if (result || pool->is_shared)
		return;
	for (uint32_t i = 0; i < TM_MODEL_OBJECTS; i++)
		for (uint32_t k = 0; k < TM_MODEL_INDEXES; k++)
			pages += pool->pages[i][k].is_there;
	MUST(actor, info.flags == (pool->is_persistent ? PERSISTENT : 0));
	MUST(actor, info.members == 1);
	MUST(actor, info.pages <= pages);
	/* Pages of an object that was flushed may still be counted. */
	MUST(actor, !pool->is_persistent || info.pages >= pages);
}

static void choose_limits(struct tm_model_actor *actor,
			  struct tmem_client_config *config)
{
	tmem_client_config_init(config);
	config->weight = below(actor, 4);
	config->trust_domain = below(actor, 3);
	if (one_in(actor, 8))
		config->cap_bytes = (uint64_t)below(actor, 64) << 12;
	if (one_in(actor, 4) && !config->cap_bytes)
		config->reservation_bytes = (uint64_t)below(actor, 16) << 12;
}

static void attach(struct tm_model_actor *actor, struct tm_model_client *client)
{
	struct tmem_client_config config;
	char name[32];
	int result;

	choose_limits(actor, &config);
	snprintf(name, sizeof(name), "actor-%u-client-%u", actor->number,
		 (unsigned)(client - actor->clients));
	config.name = name;
	result = tmem_client_attach(actor->model->store, &config,
				    &client->client);
	if (result < 0) {
		client->client = NULL;
		MUST(actor, result == -ENOMEM || result == -ENOSPC);
		return;
	}
	MUST(actor, result == client->is_known);
	if (!client->is_known)
		memset(client->pools, 0, sizeof(client->pools));
	client->is_frozen = client->is_known && client->is_frozen;
	client->is_known = true;
	MUST(actor, !tmem_client_set_shared_auth(client->client, &shared_uuid,
						 true));
}

static void step_client(struct tm_model_actor *actor)
{
	struct tm_model_client *client =
		&actor->clients[below(actor, TM_MODEL_CLIENTS)];
	struct tmem_client_config config;
	int result;

	if (!client->client) {
		attach(actor, client);
		return;
	}
	switch (below(actor, 8)) {
	case 0:
		tmem_client_detach(client->client);
		client->client = NULL;
		break;
	case 1:
		MUST(actor, !tmem_client_destroy(client->client));
		*client = (struct tm_model_client){ 0 };
		break;
	case 2:
		client->is_frozen = !client->is_frozen;
		MUST(actor, !tmem_client_set_frozen(client->client,
						    client->is_frozen));
		break;
	case 3:
		choose_limits(actor, &config);
		result = tmem_client_set(client->client, &config);
		MUST(actor, !result || result == -ENOSPC);
		break;
	default:
		/* A client that is frozen for long is a dull one. */
		client->is_frozen = false;
		MUST(actor, !tmem_client_set_frozen(client->client, false));
	}
}

/* --- the store ------------------------------------------------------------ */

static void step_background(struct tm_model_actor *actor)
{
	tmem_store_step(actor->model->store);
}

static void step_codec(struct tm_model_actor *actor)
{
	static const char *const codecs[] = { "lz4",	"none",	  "zlib:1",
					      "zstd:1", "zstd:3", "lzo" };
	int result = tmem_store_set_codec(actor->model->store,
					  codecs[below(actor, 6)]);

	/* Not every build has each, nor the memory for it. */
	MUST(actor, !result || result == -EINVAL || result == -ENOMEM);
}

static void step_allocator(struct tm_model_actor *actor)
{
	int result = tmem_store_set_allocator(actor->model->store,
					      one_in(actor, 2) ? "zbud" :
								 "zsmalloc");

	MUST(actor, !result || result == -ENOMEM);
}

static void step_limit(struct tm_model_actor *actor)
{
	uint64_t most = actor->model->config.memory_bytes;
	uint64_t bytes = most - most / 8 * below(actor, 5);
	int result = tmem_store_set_memory(actor->model->store, bytes);

	if (bytes < TMEM_MEMORY_MIN)
		MUST(actor, result == -EINVAL);
	else
		MUST(actor, !result || result == -EBUSY);
}

static void step_evict(struct tm_model_actor *actor)
{
	MUST(actor, tmem_store_evict(actor->model->store,
				     (uint64_t)below(actor, 32) << 12) >= 0);
}

static void expect_sums(struct tm_model_actor *actor)
{
	struct tmem_store_stats stats = { .struct_size = sizeof(stats) };

	stats.counts.struct_size = sizeof(stats.counts);
	MUST(actor, !tmem_store_get_stats(actor->model->store, &stats));
	MUST(actor, stats.counts.corrupt == 0);
	MUST(actor, stats.codec_errors == 0);
	if (actor->model->actor_count > 1)
		return;
	MUST(actor, stats.used_bytes <= stats.memory_bytes);
	MUST(actor, stats.memory_bytes <= actor->model->config.memory_bytes);
}

/* --- one step --------------------------------------------------------------- */

static const struct {
	void (*step)(struct tm_model_actor *actor);
	uint32_t share;
} steps[] = {
	{ step_put, 360 },	    { step_get, 230 },
	{ step_flush_page, 50 },    { step_flush_object, 20 },
	{ step_shared_put, 90 },    { step_shared_get, 90 },
	{ step_shared_flush, 10 },  { step_pool_create, 15 },
	{ step_pool_destroy, 6 },   { step_pool_info, 5 },
	{ step_client, 15 },	    { step_background, 60 },
	{ step_codec, 15 },	    { step_allocator, 15 },
	{ step_limit, 8 },	    { step_evict, 6 },
	{ expect_sums, 5 },
};
#define SHARES 1000

void tm_model_step(struct tm_model_actor *actor)
{
	uint32_t choice = below(actor, SHARES);
	uint32_t i = 0;

	actor->steps++;
	while (choice >= steps[i].share)
		choice -= steps[i++].share;
	steps[i].step(actor);
	if (actor->model->actor_count == 1)
		expect_sums(actor);
}

/* --- beginning and end ------------------------------------------------------ */

static void log_line(void *opaque, enum tmem_log_level level, const char *text)
{
	struct tm_model *model = opaque;

	if (getenv("TMEM_TEST_LOG"))
		fprintf(stderr, "log %d: %s\n", (int)level, text);
	/* Of plugins that are not there, steps know. */
	if (level == TMEM_LOG_ERROR && !strstr(text, "codec") &&
	    !strstr(text, "allocator"))
		model->errors++;
}

void tm_model_init(struct tm_model *model, unsigned actor_count)
{
	uint32_t sum = 0;

	memset(model, 0, sizeof(*model));
	tmem_store_config_init(&model->config);
	model->config.memory_bytes = UINT64_C(2) << 20;
	model->config.memory_max_bytes = UINT64_C(16) << 20;
	model->config.flags = TMEM_STORE_NO_LOCK;
	model->config.log = log_line;
	model->config.log_opaque = model;
	model->actor_count = actor_count;
	for (unsigned i = 0; i < actor_count; i++) {
		model->actors[i].model = model;
		model->actors[i].number = i;
	}
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++)
		sum += steps[i].share;
	MUST(&model->actors[0], sum == SHARES);
}

void tm_model_open(struct tm_model *model)
{
	int err = tmem_store_open(&model->config, &model->store);

	if (err) {
		fprintf(stderr, "model: the store does not open: %d\n", err);
		abort();
	}
	for (unsigned a = 0; a < model->actor_count; a++) {
		struct tm_model_actor *actor = &model->actors[a];

		for (unsigned c = 0; c < TM_MODEL_CLIENTS; c++) {
			struct tm_model_client *client = &actor->clients[c];

			attach(actor, client);
			if (!client->client)
				continue;
			make_pool(actor, client, 0);
			make_pool(actor, client, PERSISTENT);
			make_pool(actor, client, SHARED);
		}
	}
}

static void verify_pool(struct tm_model_actor *actor,
			struct tm_model_client *client, int id)
{
	struct handle h = { .client = client,
			    .pool = id,
			    .state = &client->pools[id] };

	for (uint32_t object = 0; object < TM_MODEL_OBJECTS; object++)
		for (uint32_t i = 0; i < TM_MODEL_INDEXES; i++) {
			h.oid = oid_of(object);
			h.index = indexes[i];
			h.page = &h.state->pages[object][i];
			get(actor, &h, 0);
		}
}

void tm_model_verify(struct tm_model *model)
{
	for (unsigned a = 0; a < model->actor_count; a++) {
		struct tm_model_actor *actor = &model->actors[a];

		for (unsigned c = 0; c < TM_MODEL_CLIENTS; c++) {
			struct tm_model_client *client = &actor->clients[c];

			for (int id = 0; client->client && id < TMEM_POOLS_MAX;
			     id++)
				if (client->pools[id].exists &&
				    client->pools[id].is_persistent)
					verify_pool(actor, client, id);
		}
	}
	MUST(&model->actors[0], !tmem_store_check(model->store));
	MUST(&model->actors[0], !model->errors);
	expect_sums(&model->actors[0]);
}

/* What of @client's pools outlives the process. */
static void forget(struct tm_model_client *client, bool is_kept)
{
	client->client = NULL;
	client->is_known = is_kept && client->is_known;
	client->is_frozen = false;
	for (int id = 0; id < TMEM_POOLS_MAX; id++)
		if (!is_kept || !client->pools[id].is_persistent)
			client->pools[id].exists = false;
}

void tm_model_reopen(struct tm_model *model)
{
	bool is_kept = model->config.arena &&
		       strcmp(model->config.arena, "memfd");

	for (unsigned a = 0; a < model->actor_count; a++)
		for (unsigned c = 0; c < TM_MODEL_CLIENTS; c++) {
			struct tm_model_client *client =
				&model->actors[a].clients[c];

			tmem_client_detach(client->client);
			forget(client, is_kept);
		}
	tmem_store_close(model->store);
	tm_model_open(model);
}

void tm_model_close(struct tm_model *model)
{
	for (unsigned a = 0; a < model->actor_count; a++)
		for (unsigned c = 0; c < TM_MODEL_CLIENTS; c++)
			tmem_client_detach(model->actors[a].clients[c].client);
	tmem_store_close(model->store);
	model->store = NULL;
}
