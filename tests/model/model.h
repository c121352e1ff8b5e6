/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A store beside a model of it: whatever calls are made, in whatever order, do
 * the answers agree with what was promised?
 *
 * An *actor* makes calls, one at a time, chosen by a *source* (a seeded
 * generator, or a fuzzer's bytes). It has clients of its own, so that it knows
 * exactly what their pools may answer although other actors, one per thread,
 * fill the same store:
 *
 *	persistent page	there, byte for byte, once its put succeeded
 *	ephemeral page	the last that was put, or a miss; after a miss, misses
 *	any page	gone after a refused put, a flush, an exclusive get
 *
 * In the pool that all actors share, each handle has one actor who puts it,
 * and versions rise: a get brings a version that is no older than the last one
 * whose put had returned when the get began.
 *
 * Steps also switch codec and allocator, lower and raise the limit, evict,
 * compact, freeze, cap, detach and end clients. A disagreement is printed with
 * the actor and the number of its step, and aborts.
 *
 * Threads: an actor belongs to one thread; the rest is called while no actor
 * steps.
 */
#ifndef TM_MODEL_H
#define TM_MODEL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <tmem/tmem.h>

#include "test_pages.h"

#define TM_MODEL_ACTORS_MAX 4
#define TM_MODEL_CLIENTS 2
#define TM_MODEL_OBJECTS 6
#define TM_MODEL_INDEXES 12
#define TM_MODEL_SHARED 48
#define TM_MODEL_RECENT 16

/* Where choices come from: a number below @n, which is not 0. */
struct tm_model_source {
	uint32_t (*below)(void *opaque, uint32_t n);
	void *opaque;
};

struct tm_model_page {
	bool is_there;		/* for an ephemeral one: it may be */
	enum tm_page_kind kind;
	uint64_t number;
};

struct tm_model_pool {
	bool exists;
	bool is_persistent;
	bool is_shared;
	struct tm_model_page pages[TM_MODEL_OBJECTS][TM_MODEL_INDEXES];
};

struct tm_model_client {
	struct tmem_client *client;	/* NULL: not attached */
	bool is_known;			/* attaching would find it */
	bool is_frozen;
	struct tm_model_pool pools[TMEM_POOLS_MAX];
};

/* A handle in an actor's own pools. */
struct tm_model_place {
	uint8_t client;
	uint8_t pool;
	uint8_t object;
	uint8_t index;
};

struct tm_model;

struct tm_model_actor {
	struct tm_model *model;
	struct tm_model_source source;
	unsigned number;
	uint64_t steps;
	uint64_t pages_made;
	struct tm_model_client clients[TM_MODEL_CLIENTS];
	/* Chosen often, so that steps meet each other. */
	struct tm_model_place recent[TM_MODEL_RECENT];
	/* what happened, to see that a run was worth something */
	uint64_t stored, refused, hits, misses;
};

struct tm_model {
	struct tmem_store_config config;
	struct tmem_store *store;
	unsigned actor_count;
	struct tm_model_actor actors[TM_MODEL_ACTORS_MAX];
	/* Of each handle of the shared pool: the last version whose put began,
	 * and the last whose put returned. */
	_Atomic uint64_t began[TM_MODEL_SHARED];
	_Atomic uint64_t put[TM_MODEL_SHARED];
	_Atomic unsigned errors;	/* logged */
};

/* Set model->config first: tm_model_init() gives it defaults. */
void tm_model_init(struct tm_model *model, unsigned actor_count);
void tm_model_open(struct tm_model *model);
/* One call, checked. */
void tm_model_step(struct tm_model_actor *actor);
/* Every persistent page is there; the store's sums hold. */
void tm_model_verify(struct tm_model *model);
/* Closes the store and opens it again: in a file, persistent pools are as they
 * were; anything else begins anew. */
void tm_model_reopen(struct tm_model *model);
void tm_model_close(struct tm_model *model);

#endif
