/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Long random runs of the store against its model (see model.h): one actor,
 * several threads, and an arena in a file that is closed and opened again.
 *
 * Each test is run for several stores: with and without a thread of the
 * library's own, dedup, small and smaller limits, the kinds of arena. What
 * kind comes from the test's number, what happens from the seed.
 *
 * TMEM_MODEL_OPS: steps of each actor; TMEM_SEED: see harness.h.
 */
#include <config.h>

#include <pthread.h>
#include <unistd.h>

#include "harness.h"
#include "model.h"

#define PER_ACTOR_BYTES (UINT64_C(3) << 19)
#define OPS 24000
#define ROUNDS 6
#define VARIANTS 8

static uint32_t random_below(void *opaque, uint32_t n)
{
	return (uint32_t)((tm_test_random(opaque) >> 32) * n >> 32);
}

static uint64_t ops_per_round(void)
{
	const char *text = getenv("TMEM_MODEL_OPS");

	return (text ? strtoull(text, NULL, 0) : OPS) / ROUNDS + 1;
}

struct run {
	struct tm_model model;
	uint64_t random[TM_MODEL_ACTORS_MAX];
	char path[64];
};

static struct run *begin(int variant, unsigned actors)
{
	struct run *run = calloc(1, sizeof(*run));
	uint64_t seed = tm_test_seed() + (uint64_t)variant * 1000003;

	ck_assert_ptr_nonnull(run);
	tm_model_init(&run->model, actors);
	for (unsigned i = 0; i < actors; i++) {
		run->random[i] = seed + i * UINT64_C(0x123456789);
		run->model.actors[i].source =
			(struct tm_model_source){ random_below,
						  &run->random[i] };
	}
	if (variant & 1)
		run->model.config.flags |= TMEM_STORE_NO_THREADS;
	if (variant & 2)
		run->model.config.flags |= TMEM_STORE_DEDUP |
					   TMEM_STORE_DEDUP_PERSISTENT;
	if (variant & 4)
		run->model.config.memory_bytes = actors * PER_ACTOR_BYTES / 2;
	else
		run->model.config.memory_bytes = (actors + 1) * PER_ACTOR_BYTES;
	run->model.config.codec = "none";
	run->model.config.allocator = variant & 8 ? "zbud" : "zsmalloc";
	return run;
}

static void end(struct run *run)
{
	uint64_t stored = 0, refused = 0, hits = 0, misses = 0;

	for (unsigned i = 0; i < run->model.actor_count; i++) {
		const struct tm_model_actor *actor = &run->model.actors[i];

		stored += actor->stored;
		refused += actor->refused;
		hits += actor->hits;
		misses += actor->misses;
	}
	printf("stored %" PRIu64 ", refused %" PRIu64 ", hits %" PRIu64
	       ", misses %" PRIu64 "\n",
	       stored, refused, hits, misses);
	fflush(stdout);
	tm_model_close(&run->model);
	if (run->path[0])
		unlink(run->path);
	free(run);
}

static void *act(void *opaque)
{
	struct tm_model_actor *actor = opaque;

	for (uint64_t n = ops_per_round(); n; n--)
		tm_model_step(actor);
	return NULL;
}

/* All actors, each in a thread, until they are done. */
static void act_all(struct tm_model *model)
{
	pthread_t threads[TM_MODEL_ACTORS_MAX];

	for (unsigned i = 0; i < model->actor_count; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, act,
						&model->actors[i]),
				 0);
	for (unsigned i = 0; i < model->actor_count; i++)
		pthread_join(threads[i], NULL);
	tm_model_verify(model);
}

START_TEST(one_actor_agrees_with_the_model)
{
	struct run *run = begin(_i, 1);

	run->model.config.arena = _i & 4 ? "memfd" : NULL;
	tm_model_open(&run->model);
	for (int round = 0; round < ROUNDS; round++) {
		act(&run->model.actors[0]);
		tm_model_verify(&run->model);
	}
	end(run);
}
END_TEST

START_TEST(threads_agree_with_the_model)
{
	struct run *run = begin(_i, 3);

	run->model.config.arena = _i & 4 ? "memfd" : NULL;
	tm_model_open(&run->model);
	for (int round = 0; round < ROUNDS; round++)
		act_all(&run->model);
	end(run);
}
END_TEST

START_TEST(a_reopened_arena_agrees_with_the_model)
{
	struct run *run = begin(_i, 2);

	snprintf(run->path, sizeof(run->path), "/dev/shm/tmem-model-%d",
		 (int)getpid());
	unlink(run->path);
	run->model.config.arena = run->path;
	tm_model_open(&run->model);
	for (int round = 0; round < ROUNDS; round++) {
		act_all(&run->model);
		run->model.config.allocator = round & 1 ? "zbud" : "zsmalloc";
		tm_model_reopen(&run->model);
		tm_model_verify(&run->model);
	}
	end(run);
}
END_TEST

static void add(Suite *suite, const char *name, const TTest *test)
{
	TCase *tcase = tcase_create(name);

	tcase_set_timeout(tcase, 300);
	tcase_add_loop_test(tcase, test, 0, VARIANTS);
	suite_add_tcase(suite, tcase);
}

#define ADD(test) add(suite, #test, test)

int main(void)
{
	Suite *suite = suite_create("model");

	ADD(one_actor_agrees_with_the_model);
	ADD(threads_agree_with_the_model);
	ADD(a_reopened_arena_agrees_with_the_model);
	return tm_test_run(suite);
}
