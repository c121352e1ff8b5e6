/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A process may die between any two instructions: so it is stopped after each.
 *
 * For every case a child opens a store on a small arena, sets it up, and does
 * one operation, which the parent single-steps. After each instruction the
 * parent compares the arena's file with what it was; when a byte has changed
 * it takes an image, opens a copy of it as the next process would, and
 * requires that
 *
 *	everything is as before the operation, or everything as after it
 *	once the operation has answered: as after it
 *	the store's sums are right, it can be used further, closed, and opened
 *	again with the same contents
 *
 * What is not opened again is an image that is the same, byte for byte and
 * hole for hole, as the one verified last: instructions that touch nothing of
 * the arena. Nothing else is skipped. When the answer becomes known, the image
 * is verified once more against what is allowed from there on.
 *
 * That the file is what survives: the mapping is shared, so a store that has
 * retired is in the file when the process is killed; what the processor may
 * still hold back is the process's own and is lost with nothing else.
 *
 * TMEM_STEP_CASE=name runs one case and says for each image which world it
 * was.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "crash.h"
#include "harness.h"
#include "store.h"

#define SMALL (UINT64_C(384) << 10)
#define MEDIUM (UINT64_C(2) << 20)

/* What the child tells the parent, in memory that both share. */
struct shared {
	struct world before;
	struct world after;
	volatile int result;
	volatile bool has_answered;
	volatile bool is_done;
	volatile bool is_skipped;
	volatile uint64_t moves;
	volatile uint64_t codec_errors;
};

struct scene {
	struct shared *shared;
	const char *path;
	const struct tmem_plugins *plugins;
	struct tmem_store_config config;
	struct tm_store *store;
	struct tm_client *client[CLIENTS];
	uint64_t page[TMEM_PAGE_SIZE / 8];
	uint64_t answer[TMEM_PAGE_SIZE / 8];
};

struct step_case {
	const char *name;
	void (*setup)(struct scene *scene);
	/* One operation; what it answers. */
	int (*act)(struct scene *scene);
	int expected;
	/* Changes the world as the operation does. */
	void (*after)(struct world *world);
	uint64_t memory_bytes;
	uint64_t flags;
	const char *codec;
	const char *needs; /* a codec that may not be there */
	bool moves; /* must move at least one object */
	/* The operation once more, by whoever finds the arena and cannot know
	 * whether it was carried out: has one effect and one answer. */
	int (*again)(struct tm_client *client);
};

/* --- setting up, in the child --------------------------------------------- */

static void must(bool ok, const char *what)
{
	if (ok)
		return;
	printf("setup: %s\n", what);
	fflush(stdout);
	_exit(3);
}

static void client(struct scene *scene, int c)
{
	int result;

	scene->client[c] = crash_attach(scene->store, c, &result);
	must(result >= 0, "attach");
	scene->shared->before.client[c] = true;
}

static void pool(struct scene *scene, int c, int id, uint32_t flags)
{
	must(tm_pool_create(scene->client[c], TM_POOL_ANY, flags, NULL) == id,
	     "pool");
	if (flags & TMEM_POOL_PERSISTENT)
		scene->shared->before.pool[c][id] = true;
}

static int put_page(struct scene *scene, int c, int id, uint64_t oid,
		    uint32_t index, uint32_t content)
{
	struct tmem_oid name = crash_oid(oid);

	crash_fill(scene->page, content);
	return tm_put(scene->client[c], id, &name, index, scene->page, 0);
}

static void put(struct scene *scene, int c, int id, uint64_t oid,
		uint32_t index, uint32_t content)
{
	struct world *world = &scene->shared->before;

	must(put_page(scene, c, id, oid, index, content) == TMEM_PUT_STORED,
	     "put");
	if (world->pool[c][id])
		world_at(world, c, id, oid, index)->content = content;
}

/* Two clients, pools of both kinds, pages of all kinds: the same for most. */
static void setup_usual(struct scene *scene)
{
	client(scene, 0);
	client(scene, 1);
	pool(scene, 0, 0, TMEM_POOL_PERSISTENT);
	pool(scene, 0, 1, 0);
	pool(scene, 1, 0, TMEM_POOL_PERSISTENT);
	for (uint32_t i = 0; i < 4; i++)
		put(scene, 0, 0, 1, i, 100 + i);
	put(scene, 0, 0, 2, 5000, 104);
	put(scene, 0, 1, 1, 0, 108);
	put(scene, 0, 1, 1, 1, 109);
	for (uint32_t i = 0; i < 3; i++)
		put(scene, 1, 0, 1, i, 112 + i);
	put(scene, 0, 0, 1, 2, 116);
	put(scene, 0, 0, 1, 1, 118);
	/* So that none of what is prepared ahead is prepared while stepping,
	 * some numbers were used before. */
	put(scene, 0, 0, 3, 0, 120);
	{
		struct tmem_oid oid = crash_oid(3);

		must(tm_flush_page(scene->client[0], 0, &oid, 0) == 1, "flush");
		world_at(&scene->shared->before, 0, 0, 3, 0)->content = ABSENT;
	}
	while (tm_store_step(scene->store))
		;
}

/* --- the operations ------------------------------------------------------- */

static int act_put_text(struct scene *scene)
{
	return tm_put(scene->client[0], 0, &(struct tmem_oid){ { 3, 9, 7 } }, 1,
		      scene->page, 0);
}

static void setup_put_text(struct scene *scene)
{
	setup_usual(scene);
	crash_fill(scene->page, 200);
}

static void after_put_text(struct world *world)
{
	world_at(world, 0, 0, 3, 1)->content = 200;
}

static void setup_put_same(struct scene *scene)
{
	setup_usual(scene);
	crash_fill(scene->page, 201);
}

static void after_put_same(struct world *world)
{
	world_at(world, 0, 0, 3, 1)->content = 201;
}

static void setup_put_raw(struct scene *scene)
{
	setup_usual(scene);
	crash_fill(scene->page, 202);
}

static void after_put_raw(struct world *world)
{
	world_at(world, 0, 0, 3, 1)->content = 202;
}

/* Over the page that is there, of another kind each. */
static int act_put_over(struct scene *scene)
{
	struct tmem_oid oid = crash_oid(1);

	return tm_put(scene->client[0], 0, &oid, 0, scene->page, 0);
}

static void after_over_text(struct world *world)
{
	world_at(world, 0, 0, 1, 0)->content = 200;
}

static void after_over_same(struct world *world)
{
	world_at(world, 0, 0, 1, 0)->content = 201;
}

static void after_over_raw(struct world *world)
{
	world_at(world, 0, 0, 1, 0)->content = 202;
}

/* The generation wraps: 3 is followed by 0. */
static void setup_over_wrap(struct scene *scene)
{
	setup_usual(scene);
	for (uint32_t i = 0; i < 3; i++)
		put(scene, 0, 0, 1, 0, 300 + 4 * i);
	crash_fill(scene->page, 200);
}

static void setup_over_cap(struct scene *scene)
{
	struct tmem_client_config config = { .struct_size = sizeof(config),
					     .cap_bytes = 4096 };

	setup_usual(scene);
	must(!tm_client_set(scene->client[0], &config), "cap");
	crash_fill(scene->page, 202);
}

static void setup_over_frozen(struct scene *scene)
{
	setup_usual(scene);
	tm_client_set_frozen(scene->client[0], true);
	crash_fill(scene->page, 200);
}

/* All memory is taken by pages that cannot be evicted. */
static void setup_over_full(struct scene *scene)
{
	uint32_t i = 0;

	setup_usual(scene);
	while (put_page(scene, 1, 0, 9, i, 402) == TMEM_PUT_STORED) {
		world_at(&scene->shared->before, 1, 0, 9, i)->content = 402;
		i++;
	}
	world_at(&scene->shared->before, 1, 0, 9, i)->content = ABSENT;
	crash_fill(scene->page, 202);
}

static void after_over_refused(struct world *world)
{
	world_at(world, 0, 0, 1, 0)->content = ABSENT;
}

/* Ephemeral pages must go first. */
static void setup_evicting(struct scene *scene)
{
	setup_usual(scene);
	for (uint32_t i = 0; i < 200; i++)
		put_page(scene, 0, 1, 20, i, 402 + 4 * i);
	crash_fill(scene->page, 202);
}

static int act_get_remove(struct scene *scene)
{
	struct tmem_oid oid = crash_oid(1);
	int result = tm_get(scene->client[0], 0, &oid, 0, scene->answer,
			    TMEM_GET_REMOVE);

	if (result != TMEM_GET_HIT)
		return result;
	return memcmp(scene->page, scene->answer, TMEM_PAGE_SIZE) ? -1 : result;
}

static void setup_get_remove(struct scene *scene)
{
	setup_usual(scene);
	crash_fill(scene->page, 100);
}

static int act_get(struct scene *scene)
{
	struct tmem_oid oid = crash_oid(1);

	return tm_get(scene->client[0], 0, &oid, 3, scene->answer, 0);
}

static void after_nothing(struct world *world)
{
	(void)world;
}

static int act_flush_page(struct scene *scene)
{
	struct tmem_oid oid = crash_oid(1);

	return tm_flush_page(scene->client[0], 0, &oid, 0);
}

/* The last page of its object. */
static int act_flush_last(struct scene *scene)
{
	struct tmem_oid oid = crash_oid(2);

	return tm_flush_page(scene->client[0], 0, &oid, 5000);
}

static void after_flush_last(struct world *world)
{
	world_at(world, 0, 0, 2, 5000)->content = ABSENT;
}

static int act_flush_object(struct scene *scene)
{
	struct tmem_oid oid = crash_oid(1);

	return tm_flush_object(scene->client[0], 0, &oid);
}

static void after_flush_object(struct world *world)
{
	world_drop_object(world, 0, 0, 1);
}

/* The slot of a dead object is used anew. */
static void setup_reuse(struct scene *scene)
{
	struct tmem_oid oid = crash_oid(1);

	setup_usual(scene);
	must(tm_flush_object(scene->client[0], 0, &oid) == 1, "flush object");
	world_drop_object(&scene->shared->before, 0, 0, 1);
	crash_fill(scene->page, 200);
}

static int act_pool_destroy(struct scene *scene)
{
	return tm_pool_destroy(scene->client[0], 0);
}

static void after_pool_destroy(struct world *world)
{
	world_drop_pool(world, 0, 0);
}

static int act_client_destroy(struct scene *scene)
{
	return tm_client_destroy(scene->client[0]);
}

static void after_client_destroy(struct world *world)
{
	world_drop_client(world, 0);
}

static int act_steps(struct scene *scene)
{
	while (tm_store_step(scene->store))
		;
	return 0;
}

static void setup_reap_pool(struct scene *scene)
{
	setup_usual(scene);
	must(!tm_pool_destroy(scene->client[0], 0), "pool destroy");
	world_drop_pool(&scene->shared->before, 0, 0);
}

static void setup_reap_client(struct scene *scene)
{
	setup_usual(scene);
	must(!tm_client_destroy(scene->client[0]), "client destroy");
	world_drop_client(&scene->shared->before, 0);
}

/* A pool with the id, and in the slot, of one that was ended. */
static void setup_pool_again(struct scene *scene)
{
	setup_reap_pool(scene);
	act_steps(scene);
}

static int act_pool_create(struct scene *scene)
{
	return tm_pool_create(scene->client[0], TM_POOL_ANY,
			      TMEM_POOL_PERSISTENT, NULL);
}

/* An ephemeral pool's id is free after reopening, whatever happened. */
static void setup_no_ephemeral(struct scene *scene)
{
	setup_usual(scene);
	must(!tm_pool_destroy(scene->client[0], 1), "pool destroy");
	act_steps(scene);
}

static int create_numbered(struct tm_client *client)
{
	tm_client_set_call(client, 1);
	return tm_pool_create(client, TM_POOL_ANY, TMEM_POOL_PERSISTENT, NULL);
}

static int act_create_numbered(struct scene *scene)
{
	return create_numbered(scene->client[0]);
}

static int destroy_numbered(struct tm_client *client)
{
	tm_client_set_call(client, 1);
	return tm_pool_destroy(client, 0);
}

static int act_destroy_numbered(struct scene *scene)
{
	return destroy_numbered(scene->client[0]);
}

static void after_pool_0(struct world *world)
{
	world->pool[0][0] = true;
}

static void after_pool_1(struct world *world)
{
	world->pool[0][1] = true;
}

static void after_pool_2(struct world *world)
{
	world->pool[0][2] = true;
}

static int act_attach(struct scene *scene)
{
	int result;

	crash_attach(scene->store, 2, &result);
	return result;
}

static void after_attach(struct world *world)
{
	world->client[2] = true;
}

static int act_attach_ended(struct scene *scene)
{
	int result;

	crash_attach(scene->store, 0, &result);
	return result;
}

static void setup_attach_ended(struct scene *scene)
{
	setup_reap_client(scene);
	act_steps(scene);
}

static void after_attach_ended(struct world *world)
{
	world->client[0] = true;
}

/* Nothing was ever put: all tables grow from nothing. */
static void setup_fresh(struct scene *scene)
{
	client(scene, 0);
	pool(scene, 0, 0, TMEM_POOL_PERSISTENT);
	crash_fill(scene->page, 200);
}

/* Holes among the pages, so that moving pays. */
static void setup_sparse(struct scene *scene)
{
	struct tmem_oid oid = crash_oid(31);

	setup_usual(scene);
	for (uint32_t i = 0; i < 64; i++) {
		uint64_t object = i % 4 ? 31 : 30;

		put(scene, 0, 0, object, i, 500 + 4 * i);
	}
	must(tm_flush_object(scene->client[0], 0, &oid) == 1, "flush object");
	world_drop_object(&scene->shared->before, 0, 0, 31);
}

static int act_set_codec(struct scene *scene)
{
	return tm_store_set_codec(scene->store, "none");
}

static int act_set_other_codec(struct scene *scene)
{
	return tm_store_set_codec(scene->store, "lzo");
}

static int act_set_allocator(struct scene *scene)
{
	return tm_store_set_allocator(scene->store, "zbud");
}

static void setup_over_none(struct scene *scene)
{
	setup_put_text(scene);
	must(!act_set_codec(scene), "codec");
}

static void setup_over_lzo(struct scene *scene)
{
	setup_put_text(scene);
	must(!act_set_other_codec(scene), "codec");
}

static void setup_over_zbud(struct scene *scene)
{
	setup_put_text(scene);
	must(!act_set_allocator(scene), "allocator");
}

/* Dedup: page 8/0 and page 8/1 have one content between them. */
static void setup_shared(struct scene *scene)
{
	setup_usual(scene);
	put(scene, 0, 0, 8, 0, 600);
	put(scene, 0, 0, 8, 1, 600);
	crash_fill(scene->page, 600);
}

static void setup_share(struct scene *scene)
{
	setup_usual(scene);
	put(scene, 0, 0, 8, 0, 600);
	crash_fill(scene->page, 600);
}

static int act_put_twin(struct scene *scene)
{
	struct tmem_oid oid = crash_oid(8);

	return tm_put(scene->client[0], 0, &oid, 1, scene->page, 0);
}

static int act_put_triplet(struct scene *scene)
{
	struct tmem_oid oid = crash_oid(8);

	return tm_put(scene->client[0], 0, &oid, 2, scene->page, 0);
}

static void after_twin(struct world *world)
{
	world_at(world, 0, 0, 8, 1)->content = 600;
}

static void after_triplet(struct world *world)
{
	world_at(world, 0, 0, 8, 2)->content = 600;
}

static int act_flush_twin(struct scene *scene)
{
	struct tmem_oid oid = crash_oid(8);

	return tm_flush_page(scene->client[0], 0, &oid, 0);
}

static void after_flush_twin(struct world *world)
{
	world_at(world, 0, 0, 8, 0)->content = ABSENT;
}

static void setup_single_link(struct scene *scene)
{
	struct tmem_oid oid = crash_oid(8);

	setup_shared(scene);
	must(tm_flush_page(scene->client[0], 0, &oid, 1) == 1, "flush");
	world_at(&scene->shared->before, 0, 0, 8, 1)->content = ABSENT;
}

/* Over a page that is a link, with a page that is not. */
static int act_over_link(struct scene *scene)
{
	struct tmem_oid oid = crash_oid(8);

	return tm_put(scene->client[0], 0, &oid, 0, scene->page, 0);
}

static void setup_over_link(struct scene *scene)
{
	setup_shared(scene);
	crash_fill(scene->page, 604);
}

static void after_over_link(struct world *world)
{
	world_at(world, 0, 0, 8, 0)->content = 604;
}

/* Every page is in the store twice; then what lies between them goes. */
static void setup_sparse_shared(struct scene *scene)
{
	struct tmem_oid oid = crash_oid(31);

	setup_usual(scene);
	for (uint32_t i = 0; i < 64; i++) {
		put(scene, 0, 0, i % 4 ? 31 : 30, i, 500 + 4 * i);
		if (i % 4 == 0)
			put(scene, 0, 0, 32, i, 500 + 4 * i);
	}
	must(tm_flush_object(scene->client[0], 0, &oid) == 1, "flush object");
	world_drop_object(&scene->shared->before, 0, 0, 31);
}

/* Making an arena, and recovering one that another process left. */
static void setup_no_store(struct scene *scene)
{
	tm_store_close(scene->store);
	scene->store = NULL;
	unlink(scene->path);
}

static int act_open(struct scene *scene)
{
	return tm_store_open(&scene->config, scene->plugins, &scene->store);
}

static void kill_record(_Atomic uint32_t *state)
{
	*state = tm_record_word_dead(*state);
}

/* What the death of a process would let go of. */
static void leave_as_dead(struct scene *scene)
{
	munmap(scene->store->arena.base, scene->store->arena.size);
	close(scene->store->arena.fd);
	scene->store = NULL;
}

/* Left behind: an ended pool, a dead object, a page that was overwritten
 * although the older one was not freed yet, ephemeral pages, and holes. */
static void setup_left(struct scene *scene)
{
	struct tmem_oid oid = crash_oid(1);
	struct tm_store *store = scene->store;
	struct tm_client *gamma;

	client(scene, 2);
	gamma = scene->client[2];
	pool(scene, 2, 0, TMEM_POOL_PERSISTENT);
	for (uint32_t i = 0; i < 3; i++)
		put(scene, 2, 0, 1, i, 700 + i);
	setup_usual(scene);
	/* The state words alone: as if the process had died right there. */
	for (uint32_t i = 1; i < store->object_table.bump; i++)
		if (tm_object_record(store, i)->oid[0] == oid.word[0] &&
		    tm_object_record(store, i)->pool ==
			    atomic_load(&scene->client[1]->pools[0])->slot)
			kill_record(&tm_object_record(store, i)->state);
	world_drop_object(&scene->shared->before, 1, 0, 1);
	kill_record(&((struct tm_pool_record *)tm_table_at(
			      &store->pool_table,
			      atomic_load(&gamma->pools[0])->slot))
			     ->state);
	world_drop_pool(&scene->shared->before, 2, 0);
	for (uint32_t i = 1; i < store->descriptor_table.bump; i++) {
		struct tm_descriptor *d = tm_descriptor(store, i);
		struct tm_descriptor *twin;
		uint32_t number;

		if (tm_state_kind(d->state) != TM_KIND_SAME ||
		    d->object >= store->object_table.bump)
			continue;
		must(tm_table_take(&store->descriptor_table, &number, 1),
		     "descriptor");
		twin = tm_descriptor(store, number);
		twin->place = d->place ^ 0xff;
		twin->object = d->object;
		twin->index = d->index;
		/* One less, modulo 4: a predecessor. */
		twin->state = tm_state_seal(
			tm_state_make(TM_KIND_SAME,
				      tm_state_generation(d->state) + 3, 0, 0),
			d->object, d->index);
		break;
	}
	leave_as_dead(scene);
}

/* A bit of a pool's record has flipped, which opening turns back. */
static void setup_damaged(struct scene *scene)
{
	struct tm_pool_record *record;

	setup_usual(scene);
	record = tm_table_at(&scene->store->pool_table,
			     atomic_load(&scene->client[0]->pools[0])->slot);
	record->flags ^= 32;
	leave_as_dead(scene);
}

#define CASE(name_, setup_, act_, expected_, after_, ...)                      \
	{                                                                      \
		.name = name_, .setup = setup_, .act = act_,                   \
		.expected = expected_, .after = after_, __VA_ARGS__            \
	}
#define DEDUP .flags = TMEM_STORE_DEDUP | TMEM_STORE_DEDUP_PERSISTENT

static const struct step_case cases[] = {
	CASE("put-first", setup_put_text, act_put_text, 1, after_put_text),
	CASE("put-first-of-all", setup_fresh, act_put_text, 1, after_put_text),
	CASE("put-same-filled", setup_put_same, act_put_text, 1,
	     after_put_same),
	CASE("put-incompressible", setup_put_raw, act_put_text, 1,
	     after_put_raw),
	CASE("put-evicting", setup_evicting, act_put_text, 1, after_put_raw),
	CASE("put-in-slot-of-dead-object", setup_reuse, act_put_text, 1,
	     after_put_text),
	CASE("put-over", setup_put_text, act_put_over, 1, after_over_text),
	CASE("put-over-same-filled", setup_put_same, act_put_over, 1,
	     after_over_same),
	CASE("put-over-incompressible", setup_put_raw, act_put_over, 1,
	     after_over_raw),
	CASE("put-over-generation-wraps", setup_over_wrap, act_put_over, 1,
	     after_over_text),
	CASE("put-over-refused-by-cap", setup_over_cap, act_put_over, 0,
	     after_over_refused),
	CASE("put-over-refused-frozen", setup_over_frozen, act_put_over, 0,
	     after_over_refused),
	CASE("put-over-refused-full", setup_over_full, act_put_over, 0,
	     after_over_refused),
	CASE("put-over-other-codec", setup_over_none, act_put_over, 1,
	     after_over_text),
	CASE("put-over-codec-in-a-module", setup_over_lzo, act_put_over, 1,
	     after_over_text, .memory_bytes = MEDIUM, .needs = "lzo"),
	CASE("put-over-other-allocator", setup_over_zbud, act_put_over, 1,
	     after_over_text),
	CASE("get", setup_usual, act_get, 1, after_nothing),
	CASE("get-and-remove", setup_get_remove, act_get_remove, 1,
	     after_over_refused),
	CASE("flush-page", setup_usual, act_flush_page, 1, after_over_refused),
	CASE("flush-last-page", setup_usual, act_flush_last, 1,
	     after_flush_last),
	CASE("flush-object", setup_usual, act_flush_object, 1,
	     after_flush_object),
	CASE("pool-create", setup_usual, act_pool_create, 2, after_pool_2),
	CASE("pool-create-again", setup_pool_again, act_pool_create, 0,
	     after_pool_0),
	CASE("pool-destroy", setup_usual, act_pool_destroy, 0,
	     after_pool_destroy),
	CASE("pool-create-numbered", setup_no_ephemeral, act_create_numbered, 1,
	     after_pool_1, .again = create_numbered),
	CASE("pool-destroy-numbered", setup_usual, act_destroy_numbered, 0,
	     after_pool_destroy, .again = destroy_numbered),
	CASE("pool-reap", setup_reap_pool, act_steps, 0, after_nothing),
	CASE("client-attach", setup_usual, act_attach, 0, after_attach),
	CASE("client-attach-again", setup_attach_ended, act_attach_ended, 0,
	     after_attach_ended),
	CASE("client-destroy", setup_usual, act_client_destroy, 0,
	     after_client_destroy),
	CASE("client-reap", setup_reap_client, act_steps, 0, after_nothing),
	CASE("move", setup_sparse, act_steps, 0, after_nothing,
	     .memory_bytes = MEDIUM, .moves = true),
	CASE("codec-switch", setup_usual, act_set_codec, 0, after_nothing),
	CASE("codec-switch-to-module", setup_usual, act_set_other_codec, 0,
	     after_nothing, .memory_bytes = MEDIUM, .needs = "lzo"),
	CASE("allocator-switch", setup_usual, act_set_allocator, 0,
	     after_nothing),
	CASE("dedup-first", setup_share, act_put_twin, 1, after_twin, DEDUP),
	CASE("dedup-more", setup_shared, act_put_triplet, 1, after_triplet,
	     DEDUP),
	CASE("dedup-flush", setup_shared, act_flush_twin, 1, after_flush_twin,
	     DEDUP),
	CASE("dedup-flush-last", setup_single_link, act_flush_twin, 1,
	     after_flush_twin, DEDUP),
	CASE("dedup-over-link", setup_over_link, act_over_link, 1,
	     after_over_link, DEDUP),
	CASE("dedup-move", setup_sparse_shared, act_steps, 0, after_nothing,
	     DEDUP, .memory_bytes = MEDIUM, .moves = true),
	CASE("open-new", setup_no_store, act_open, 0, after_nothing),
	CASE("open-recovering", setup_left, act_open, 0, after_nothing),
	CASE("open-mending", setup_damaged, act_open, 0, after_nothing),
};

/* --- the child ------------------------------------------------------------ */

static _Noreturn void play(struct scene *scene, const struct step_case *c)
{
	struct shared *shared = scene->shared;
	struct tmem_store_stats stats = { .struct_size = sizeof(stats) };
	uint64_t moves = 0;
	int result;

	ptrace(PTRACE_TRACEME, 0, NULL, NULL);
	result = tm_store_open(&scene->config, scene->plugins, &scene->store);
	must(!result, strerror(-result));
	c->setup(scene);
	if (scene->store)
		moves = scene->store->moves;
	shared->after = shared->before;
	c->after(&shared->after);
	raise(SIGSTOP);

	result = c->act(scene);
	shared->result = result;
	shared->has_answered = true;

	shared->is_done = true;
	if (scene->store) {
		shared->moves = scene->store->moves - moves;
		tm_store_get_stats(scene->store, &stats);
		shared->codec_errors = stats.codec_errors;
	}
	raise(SIGSTOP);
	_exit(0);
}

/* --- the parent ----------------------------------------------------------- */

struct watch {
	const struct step_case *step_case;
	struct shared *shared;
	const struct tmem_plugins *plugins;
	const struct tmem_store_config *config;
	const char *path;
	const char *copy;
	struct image image;
	int fd;
	uint8_t *map;
	size_t size;
	uint64_t steps;
	uint64_t images;
	uint64_t by_match[4];
	bool is_verbose;
};

static bool watch_arena(struct watch *watch)
{
	struct stat st;

	watch->fd = open(watch->path, O_RDWR | O_CLOEXEC);
	if (watch->fd < 0)
		return false;
	ck_assert_int_eq(fstat(watch->fd, &st), 0);
	watch->size = (size_t)st.st_size;
	watch->map =
		mmap(NULL, watch->size, PROT_READ, MAP_SHARED, watch->fd, 0);
	ck_assert_ptr_ne(watch->map, MAP_FAILED);
	return true;
}

/* The same call, in the arena as it was left, makes of it what one call does.
 */
static void verify_again(struct watch *watch)
{
	const struct step_case *c = watch->step_case;
	struct tmem_store_config config = *watch->config;
	struct tm_client *client;
	struct tm_store *store;
	int result, matched;

	config.arena = watch->copy;
	image_write(&watch->image, watch->copy);
	ck_assert_int_eq(tm_store_open(&config, watch->plugins, &store), 0);
	client = crash_attach(store, 0, &result);
	result = c->again(client);
	ck_assert_msg(result == c->expected,
		      "%s: after instruction %" PRIu64 ", again: %d", c->name,
		      watch->steps, result);
	tm_client_detach(client);
	tm_store_close(store);
	ck_assert_int_eq(crash_verify(watch->copy, watch->config,
				      watch->plugins, NULL,
				      &watch->shared->after, &matched),
			 0);
}

static void verify(struct watch *watch)
{
	const struct world *before =
		watch->shared->has_answered ? NULL : &watch->shared->before;
	int matched;

	image_take(&watch->image, watch->fd, watch->map, watch->size);
	image_write(&watch->image, watch->copy);
	watch->images++;
	if (crash_verify(watch->copy, watch->config, watch->plugins, before,
			 &watch->shared->after, &matched))
		ck_abort_msg("%s: after instruction %" PRIu64 " (image %" PRIu64
			     ", %s)",
			     watch->step_case->name, watch->steps,
			     watch->images,
			     before ? "not answered" : "answered");
	if (watch->step_case->again)
		verify_again(watch);
	watch->by_match[matched]++;
	if (watch->is_verbose)
		printf("  instruction %" PRIu64 ": %s\n", watch->steps,
		       matched == 1   ? "before"
		       : matched == 2 ? "after"
				      : "both");
}

/* The child, after its next instruction; false: it has stopped by itself. */
static bool step(pid_t child)
{
	int status;

	ck_assert_int_eq(ptrace(PTRACE_SINGLESTEP, child, NULL, NULL), 0);
	ck_assert_int_eq(waitpid(child, &status, __WALL), child);
	if (!WIFSTOPPED(status))
		ck_abort_msg("the child has died: status %#x", status);
	if (WSTOPSIG(status) != SIGTRAP)
		ck_abort_msg("the child got signal %d", WSTOPSIG(status));
	return true;
}

static void step_through(struct watch *watch, pid_t child)
{
	bool had_answered = false;

	while (!watch->shared->is_done) {
		bool answers;

		step(child);
		watch->steps++;
		if (watch->fd < 0 && !watch_arena(watch))
			continue;
		answers = watch->shared->has_answered && !had_answered;
		if (answers ||
		    image_differs(&watch->image, watch->fd, watch->map))
			verify(watch);
		had_answered |= answers;
	}
}

static void same_processor(void)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(sched_getcpu(), &set);
	sched_setaffinity(0, sizeof(set), &set);
}

static void run_case(const struct step_case *c,
		     const struct tmem_plugins *plugins)
{
	char path[64], copy[64];
	struct shared *shared =
		mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	struct tmem_store_config config = {
		.struct_size = sizeof(config),
		.flags = TMEM_STORE_NO_LOCK | TMEM_STORE_NO_THREADS | c->flags,
		.memory_bytes = c->memory_bytes ? c->memory_bytes : SMALL,
		.codec = c->codec ? c->codec : "lz4",
		.allocator = "zsmalloc",
		.arena = path,
		.log = crash_log,
	};
	struct watch watch = { .step_case = c,
			       .shared = shared,
			       .plugins = plugins,
			       .config = &config,
			       .path = path,
			       .copy = copy,
			       .fd = -1,
			       .is_verbose = getenv("TMEM_STEP_CASE") };
	pid_t child;
	int status;

	config.memory_max_bytes = config.memory_bytes;
	crash_path(path, sizeof(path), "step");
	crash_path(copy, sizeof(copy), "copy");
	child = fork();
	if (!child) {
		struct scene scene = { .shared = shared,
				       .path = path,
				       .plugins = plugins,
				       .config = config };

		play(&scene, c);
	}
	ck_assert_int_eq(waitpid(child, &status, __WALL), child);
	if (!WIFSTOPPED(status))
		ck_abort_msg("%s: setting up failed", c->name);
	if (watch_arena(&watch))
		verify(&watch);
	step_through(&watch, child);
	ptrace(PTRACE_CONT, child, NULL, NULL);
	waitpid(child, &status, __WALL);
	kill(child, SIGKILL);
	waitpid(child, &status, __WALL);
	printf("%-28s %7" PRIu64 " instructions, %5" PRIu64 " images: %" PRIu64
	       " before, %" PRIu64 " after, %" PRIu64 " both\n",
	       c->name, watch.steps, watch.images, watch.by_match[1],
	       watch.by_match[2], watch.by_match[3]);
	fflush(stdout);
	ck_assert_int_eq(shared->result, c->expected);
	ck_assert_msg(!c->moves || shared->moves, "%s: nothing was moved",
		      c->name);
	munmap(watch.map, watch.size);
	close(watch.fd);
	image_free(&watch.image);
	munmap(shared, sizeof(*shared));
	unlink(path);
	unlink(copy);
}

START_TEST(every_instruction_leaves_an_arena_that_opens)
{
	const struct step_case *c = &cases[_i];
	const char *only = getenv("TMEM_STEP_CASE");
	struct tmem_plugins *plugins;

	if (only && strcmp(only, c->name))
		return;
	same_processor();
	ck_assert_int_eq(tmem_plugins_open(NULL, NULL, NULL, &plugins), 0);
	if (c->needs && !tm_plugins_find_codec(plugins, c->needs))
		printf("%-28s skipped: no codec %s\n", c->name, c->needs);
	else
		run_case(c, plugins);
	tmem_plugins_close(plugins);
}
END_TEST

/* A string instruction copies a page in 4096 steps, and each would be an image
 * of its own. The C library has another way, 32 or 64 bytes at a time; it has
 * to be told before it starts. TMEM_STEP_SLOW=1 leaves it as it is. */
static void use_short_copies(char **argv)
{
	if (getenv("GLIBC_TUNABLES") || getenv("TMEM_STEP_SLOW"))
		return;
	setenv("GLIBC_TUNABLES",
	       "glibc.cpu.x86_rep_movsb_threshold=1048576:"
	       "glibc.cpu.x86_rep_stosb_threshold=1048576",
	       1);
	execv("/proc/self/exe", argv);
}

/* May a process trace its own child here? */
static bool can_step(void)
{
	int status = 0;
	pid_t child = fork();

	if (!child) {
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL))
			_exit(1);
		raise(SIGSTOP);
		_exit(0);
	}
	if (waitpid(child, &status, __WALL) != child || !WIFSTOPPED(status))
		return false;
	status = (int)ptrace(PTRACE_SINGLESTEP, child, NULL, NULL);
	kill(child, SIGKILL);
	waitpid(child, NULL, __WALL);
	return !status;
}

int main(int argc, char **argv)
{
	Suite *suite = suite_create("crash-step");
	TCase *tcase = tcase_create("step");
	char path[64];

	(void)argc;
	setvbuf(stdout, NULL, _IOLBF, 0);
	use_short_copies(argv);
	if (!can_step() || !crash_path(path, sizeof(path), "step")) {
		printf("skipped: no single-stepping of a child, or no "
		       "/dev/shm\n");
		return 77;
	}
#ifndef HAVE_LZ4
	printf("skipped: needs the codec lz4, whose contexts fit so small a "
	       "store\n");
	return 77;
#endif
	tcase_set_timeout(tcase, 300);
	tcase_add_loop_test(tcase, every_instruction_leaves_an_arena_that_opens,
			    0, (int)(sizeof(cases) / sizeof(cases[0])));
	suite_add_tcase(suite, tcase);
	return tm_test_run(suite);
}
