/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Fuzz target: one allocator, any sequence of calls.
 *
 * Takes the allocator that the environment variable TMEM_FUZZ_ALLOCATOR names,
 * or else lets the input choose one of all that the registry has; so plugins
 * of others are fuzzed by putting them on TMEM_PLUGIN_PATH.
 *
 * An input is one byte that chooses, and then steps of four bytes:
 *
 *	byte 0, low four bits	what to do (enum step)
 *	byte 0, other bits	flags of it
 *	byte 1			which object of 64, or how many
 *	bytes 2, 3		a size, or a number of frames
 *
 * A restart forgets the instance as a crash does, and adopts what was alive,
 * between handles that are damaged or made up.
 *
 * What must hold is what tests/harness/alloc_rig.h looks at: no byte of an
 * object changes, no two objects meet, frames and memory add up, and all of
 * both come back.
 */
#include <config.h>

#define RIG_STANDALONE
#define RIG_FRAMES 256u
#include "alloc_rig.h"

#include <tmem/tmem.h>

#define OBJECTS 64u
/* So that running out of them is common. */
#define FRAMES 64u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum step {
	STEP_ALLOC = 0, /* 0 to 5 */
	STEP_FREE = 6, /* 6 to 8 */
	STEP_MOVE = 9,
	STEP_NEAR = 10,
	STEP_OWNER = 11,
	STEP_FRAMES = 12, /* how many there are, in how long runs */
	STEP_MEMORY = 13, /* how often it is to be had */
	STEP_RESTART = 14,
	STEP_CHECK = 15,
};

static const struct tmem_allocator *choose(unsigned choice)
{
	static struct tmem_plugins *plugins;
	const char *name = getenv("TMEM_FUZZ_ALLOCATOR");
	const struct tmem_allocator *table;
	size_t count = 0;

	if (!plugins && tmem_plugins_open(NULL, NULL, NULL, &plugins))
		abort();
	while ((table = tmem_plugins_allocator(plugins, count))) {
		if (name && !strcmp(table->name, name))
			return table;
		count++;
	}
	if (name || !count)
		rig_fail("there is no such allocator\n");
	return tmem_plugins_allocator(plugins, choice % count);
}

static uint32_t size_of(const uint8_t *step)
{
	uint32_t size = (uint32_t)step[2] << 8 | step[3];

	/* Mostly sizes that can be had. */
	return size < 0xf000 ? size % (TMEM_FRAME_SIZE + 1) : size;
}

static void free_object(struct rig *rig, uint32_t n)
{
	if (rig->objects[n].handle)
		rig_free(rig, n);
}

static void near(struct rig *rig, uint32_t n, uint32_t max)
{
	struct tmem_victim victims[64];
	uint64_t handle = rig->objects[n].handle;
	uint32_t count;

	if (!handle)
		return;
	count = rig->table->victims(rig->instance, handle, victims, max % 65);
	rig_assert(count <= max % 65);
	for (uint32_t v = 0; v < count; v++) {
		rig_assert(victims[v].owner < rig->count);
		rig_assert(victims[v].handle != handle);
		rig_assert(victims[v].handle ==
			   rig->objects[victims[v].owner].handle);
	}
}

/* Adopts what is no object of ours; what succeeds is freed again. */
static void adopt_other(struct rig *rig, uint64_t handle, uint32_t size)
{
	struct tmem_allocator_stats before = rig_stats(rig);
	uint32_t held = rig->held;
	int err = rig->table->adopt(rig->instance, handle, size, 1);
	struct tmem_allocator_stats after = rig_stats(rig);

	rig_assert(!err || err == -EBADMSG || err == -ENOMEM);
	rig_assert(after.objects == before.objects + !err);
	if (err) {
		rig_assert(rig->held == held);
		rig_assert(after.slot_bytes == before.slot_bytes);
		return;
	}
	memset(rig_address(rig, handle), 0xa5, size);
	/* Only the first alloc() ends adopting. */
	rig->table->free(rig->instance, handle, 0);
}

static void restart(struct rig *rig, const uint8_t *step)
{
	uint64_t noise = (uint64_t)step[2] << 48 | (uint64_t)step[3] << 24 |
			 (uint64_t)step[0] << 8 | step[1];
	uint32_t limit = rig->limit;

	atomic_store(&rig->test.allocs_left, SIZE_MAX);
	rig_destroy(rig);
	rig_assert(!rig_create(rig));
	rig->limit = RIG_FRAMES;
	for (uint32_t i = 0; i < rig->count; i++) {
		uint32_t n = (i * 37 + step[1]) % rig->count;
		const struct rig_object *o = &rig->objects[n];

		if (!o->handle)
			continue;
		rig_assert(!rig->table->adopt(rig->instance, o->handle, o->size,
					      o->owner));
		rig_assert(rig->table->adopt(rig->instance, o->handle, o->size,
					     o->owner) == -EBADMSG);
	}
	/* Not before: what is adopted is written to. */
	for (uint32_t n = 0; n < rig->count; n++) {
		uint64_t handle = rig->objects[n].handle;

		noise = noise * UINT64_C(6364136223846793005) + 1;
		adopt_other(rig, handle ^ UINT64_C(1) << (noise >> 58),
			    1 + (noise >> 40) % TMEM_FRAME_SIZE);
		adopt_other(rig, noise >> 8, size_of(step));
	}
	rig->limit = limit;
	rig_check(rig);
}

static void run_step(struct rig *rig, const uint8_t *step)
{
	uint32_t n = step[1] % OBJECTS;
	uint32_t flags = step[0] & 0x10 ? TMEM_ALLOC_EPHEMERAL : 0;

	switch (step[0] & 15) {
	default:
		free_object(rig, n);
		rig_alloc(rig, n, size_of(step),
			  flags | (step[0] & 0x20 ? TMEM_ALLOC_MOVE : 0));
		break;
	case STEP_FREE:
	case STEP_FREE + 1:
	case STEP_FREE + 2:
		free_object(rig, n);
		break;
	case STEP_MOVE:
		rig_move(rig, step[1] % 65);
		break;
	case STEP_NEAR:
		near(rig, n, step[2]);
		break;
	case STEP_OWNER:
		if (rig->objects[n].handle)
			rig->table->set_owner(rig->instance,
					      rig->objects[n].handle, n);
		break;
	case STEP_FRAMES:
		rig->limit = step[2] % (FRAMES + 1);
		rig->run_max = 1 + step[1] % TMEM_RUN_FRAMES_MAX;
		break;
	case STEP_MEMORY:
		atomic_store(&rig->test.allocs_left,
			     step[1] < 16 ? step[1] : SIZE_MAX);
		break;
	case STEP_RESTART:
		restart(rig, step);
		break;
	case STEP_CHECK:
		rig_check(rig);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct rig rig;

	if (!size)
		return 0;
	rig_open(&rig, choose(data[0]), OBJECTS, size);
	rig.limit = FRAMES;
	for (size_t at = 1; at + 4 <= size; at += 4)
		run_step(&rig, data + at);
	rig_check(&rig);
	rig_free_all(&rig);
	rig_check(&rig);
	rig_assert(!rig.held);
	rig_close(&rig);
	return 0;
}
