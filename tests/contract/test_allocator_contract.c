/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What allocator.h promises, held against every allocator of the registry.
 *
 * Nothing here knows an allocator by name: a new one is tested by being
 * there, a module by TMEM_PLUGIN_PATH. TMEM_TEST_ALLOCATOR names the only one
 * to test.
 */
#include <config.h>

#include "alloc_rig.h"

#include <tmem/tmem.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SLOW 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SLOW 1
#endif

#ifdef SLOW
#define STEPS 50000u
#else
#define STEPS 200000u
#endif

static struct tmem_plugins *plugins;
static uint64_t seed_start;

static const struct tmem_allocator *find(int iteration)
{
	const char *only = getenv("TMEM_TEST_ALLOCATOR");
	const struct tmem_allocator *table;

	for (size_t n = 0; (table = tmem_plugins_allocator(plugins, n)); n++)
		if ((!only || !strcmp(table->name, only)) && !iteration--)
			return table;
	return NULL;
}

static void open_rig(struct rig *rig, int iteration, uint32_t objects)
{
	const struct tmem_allocator *table = find(iteration);

	rig_assert(table != NULL);
	printf("%s\n", table->name);
	fflush(stdout);
	rig_open(rig, table, objects, seed_start);
}

static uint32_t max_size(const struct rig *rig)
{
	return rig->table->max_size(rig->instance);
}

/* A page's size that this allocator takes. */
static uint32_t some_size(struct rig *rig)
{
	uint32_t size = rig_page_size(rig);

	return size < max_size(rig) ? size : max_size(rig);
}

static uint32_t some_flags(struct rig *rig)
{
	return rig_random(rig, 4) ? 0 : TMEM_ALLOC_EPHEMERAL;
}

static void fill(struct rig *rig)
{
	for (uint32_t n = 0; n < rig->count; n++)
		rig_assert(rig_alloc(rig, n, some_size(rig), 0));
}

/* --- placing */

START_TEST(every_size_finds_an_aligned_place)
{
	struct rig rig;

	open_rig(&rig, _i, TMEM_FRAME_SIZE);
	rig_assert(max_size(&rig) >= 2048);
	for (uint32_t n = 0; n < max_size(&rig); n++)
		rig_assert(rig_alloc(&rig, n, n + 1, 0));
	rig_check(&rig);
	for (uint32_t n = max_size(&rig); n-- > 0;)
		rig_free(&rig, n);
	rig_check(&rig);
	rig_close(&rig);
}
END_TEST

START_TEST(sizes_out_of_range_find_no_room)
{
	struct rig rig;

	open_rig(&rig, _i, 1);
	rig_assert(!rig_alloc(&rig, 0, 0, 0));
	rig_assert(!rig_alloc(&rig, 0, max_size(&rig) + 1, 0));
	rig_assert(!rig_alloc(&rig, 0, UINT32_MAX, 0));
	rig_check(&rig);
	rig_assert(rig.held == 0);
	rig_close(&rig);
}
END_TEST

START_TEST(objects_never_overlap)
{
	struct rig rig;

	open_rig(&rig, _i, 2000);
	for (uint32_t i = 0; i < STEPS; i++) {
		uint32_t n = (uint32_t)rig_random(&rig, rig.count);

		if (rig.objects[n].handle)
			rig_free(&rig, n);
		else
			rig_assert(rig_alloc(&rig, n, some_size(&rig),
					     some_flags(&rig)));
		if (i % 64 == 0)
			rig_move(&rig, 16);
		if (i % (STEPS / 8) == 0)
			rig_check(&rig);
	}
	rig_free_all(&rig);
	rig_check(&rig);
	rig_close(&rig);
}
END_TEST

START_TEST(tiny_objects_never_overlap)
{
	struct rig rig;

	open_rig(&rig, _i, 2000);
	for (uint32_t i = 0; i < STEPS; i++) {
		uint32_t n = (uint32_t)rig_random(&rig, rig.count);
		uint32_t size = 1 + (uint32_t)rig_random(&rig, 40);

		/* Now and then a big one, whose run the tiny ones then fill. */
		if (rig_random(&rig, 200) == 0)
			size = 2000;
		if (rig.objects[n].handle)
			rig_free(&rig, n);
		else
			rig_assert(rig_alloc(&rig, n, size, 0));
		if (i % (STEPS / 8) == 0)
			rig_check(&rig);
	}
	rig_close(&rig);
}
END_TEST

START_TEST(everything_freed_gives_back_every_frame)
{
	struct rig rig;

	open_rig(&rig, _i, 3000);
	for (int round = 0; round < 3; round++) {
		for (uint32_t n = 0; n < rig.count; n++)
			rig_assert(rig_alloc(&rig, n, some_size(&rig),
					     some_flags(&rig)));
		rig_assert(rig.held > 0);
		rig_free_all(&rig);
		rig_check(&rig);
		rig_assert(rig.held == 0);
	}
	rig_close(&rig);
}
END_TEST

START_TEST(destroy_gives_back_what_is_alive)
{
	struct rig rig;

	open_rig(&rig, _i, 1000);
	fill(&rig);
	rig_assert(rig.held > 0);
	rig_close(&rig);
}
END_TEST

START_TEST(ephemeral_objects_have_runs_of_their_own)
{
	struct rig rig;
	uint8_t *kinds = calloc(RIG_FRAMES + 1, 1);
	uint32_t held;

	open_rig(&rig, _i, 2000);
	for (uint32_t n = 0; n < rig.count; n++)
		rig_assert(rig_alloc(&rig, n, some_size(&rig),
				     n % 2 ? TMEM_ALLOC_EPHEMERAL : 0));
	for (uint32_t n = 0; n < rig.count; n++) {
		const struct rig_object *o = &rig.objects[n];
		uint32_t f = rig_frame(&rig, o->handle);

		kinds[f] |= o->is_ephemeral ? 1 : 2;
		rig_assert(kinds[f] != 3);
	}
	held = rig.held;
	for (uint32_t n = 1; n < rig.count; n += 2)
		rig_free(&rig, n);
	/* Half of the objects: half of the frames, without a single move. */
	rig_assert(rig.held <= held * 6 / 10);
	rig_check(&rig);
	free(kinds);
	rig_close(&rig);
}
END_TEST

START_TEST(an_owner_can_be_any_number)
{
	static const uint32_t owners[] = { 0, 1, 77, UINT32_MAX };
	struct rig rig;
	struct tmem_victim victims[64];
	uint64_t other;

	open_rig(&rig, _i, 1);
	for (size_t i = 0; i < 4; i++) {
		uint64_t a = rig.table->alloc(rig.instance, 100, owners[i], 0);
		uint32_t count;

		other = rig.table->alloc(rig.instance, 100, 5, 0);
		rig.table->set_owner(rig.instance, other, ~owners[i]);
		count = rig.table->victims(rig.instance, a, victims, 64);
		for (uint32_t v = 0; v < count; v++)
			if (victims[v].handle == other)
				rig_assert(victims[v].owner == ~owners[i]);
		count = rig.table->victims(rig.instance, other, victims, 64);
		for (uint32_t v = 0; v < count; v++)
			if (victims[v].handle == a)
				rig_assert(victims[v].owner == owners[i]);
		rig.table->free(rig.instance, a, 0);
		rig.table->free(rig.instance, other, 0);
	}
	rig_close(&rig);
}
END_TEST

/* --- frames that are not to be had */

START_TEST(out_of_frames_is_no_room_and_passes)
{
	struct rig rig;
	uint32_t placed = 0;

	open_rig(&rig, _i, 4000);
	rig.limit = 300;
	for (uint32_t n = 0; n < rig.count; n++)
		placed += rig_alloc(&rig, n, some_size(&rig), 0);
	rig_assert(placed < rig.count);
	rig_assert(rig.held <= 300);
	/* Down to the last frames, shorter runs are taken. */
	rig_assert(rig.held >= 299);
	rig_check(&rig);
	for (uint32_t n = 0; n < rig.count; n++)
		if (rig.objects[n].handle && n % 2)
			rig_free(&rig, n);
	for (uint32_t n = 1; n < 100; n += 2)
		rig_assert(rig_alloc(&rig, n, 8, 0));
	rig_check(&rig);
	rig_close(&rig);
}
END_TEST

START_TEST(single_frames_are_enough_for_every_size)
{
	struct rig rig;

	open_rig(&rig, _i, TMEM_FRAME_SIZE);
	rig.run_max = 1;
	for (uint32_t n = 0; n < max_size(&rig); n += 7)
		rig_assert(rig_alloc(&rig, n, n + 1, 0));
	rig_check(&rig);
	rig_close(&rig);
}
END_TEST

START_TEST(a_move_never_takes_frames)
{
	struct rig rig;
	uint32_t gets;

	open_rig(&rig, _i, 4000);
	rig_assert(!rig_alloc(&rig, 0, 100, TMEM_ALLOC_MOVE));
	rig_assert(!rig_alloc(&rig, 0, max_size(&rig), TMEM_ALLOC_MOVE));
	for (uint32_t n = 0; n < 2000; n++)
		rig_assert(rig_alloc(&rig, n, some_size(&rig), 0));
	for (uint32_t n = 0; n < 2000; n += 3)
		rig_free(&rig, n);
	gets = rig.gets;
	for (uint32_t n = 2000; n < rig.count; n++)
		rig_alloc(&rig, n, some_size(&rig), TMEM_ALLOC_MOVE);
	rig_assert(rig.gets == gets);
	rig_check(&rig);
	rig_close(&rig);
}
END_TEST

START_TEST(no_memory_at_any_point_is_no_room_and_no_leak)
{
	struct rig rig;

	rig_init(&rig, find(_i), 600, seed_start);
	for (size_t allocs = 0; allocs < 60; allocs++) {
		atomic_store(&rig.test.allocs_left, allocs);
		if (rig_create(&rig)) {
			rig_assert(rig.test.used_bytes == 0);
			continue;
		}
		for (uint32_t n = 0; n < rig.count; n++)
			rig_alloc(&rig, n, 1 + (uint32_t)rig_random(&rig, 300),
				  some_flags(&rig));
		rig_check(&rig);
		rig_free_all(&rig);
		rig_check(&rig);
		rig_assert(rig.held == 0);
		rig_destroy(&rig);
	}
	rig_fini(&rig);
}
END_TEST

/* --- victims */

START_TEST(victims_near_are_the_rest_of_the_run)
{
	struct rig rig;
	struct tmem_victim victims[65];

	open_rig(&rig, _i, 500);
	fill(&rig);
	for (uint32_t n = 0; n < rig.count; n++) {
		uint64_t near = rig.objects[n].handle;
		uint32_t count;

		for (uint32_t max = 0; max <= 64; max += 16) {
			memset(victims, 0xee, sizeof(victims));
			count = rig.table->victims(rig.instance, near, victims,
						   max);
			rig_assert(count <= max);
			rig_assert(victims[max].owner == 0xeeeeeeee);
		}
		for (uint32_t v = 0; v < count; v++) {
			uint32_t owner = victims[v].owner;

			rig_assert(victims[v].handle != near);
			rig_assert(owner < rig.count);
			rig_assert(victims[v].handle ==
				   rig.objects[owner].handle);
		}
	}
	rig_close(&rig);
}
END_TEST

START_TEST(freeing_victims_near_frees_frames)
{
	struct rig rig;
	struct tmem_victim victims[64];

	open_rig(&rig, _i, 500);
	fill(&rig);
	for (uint32_t n = 0; n < rig.count; n++) {
		uint64_t near = rig.objects[n].handle;
		uint32_t held = rig.held;
		uint32_t count;

		if (!near)
			continue;
		rig_free(&rig, n);
		/* Even when it has been freed. */
		while ((count = rig.table->victims(rig.instance, near, victims,
						   64)))
			for (uint32_t v = 0; v < count; v++)
				rig_free(&rig, victims[v].owner);
		rig_assert(rig.held < held);
	}
	rig_assert(rig.held == 0);
	rig_close(&rig);
}
END_TEST

START_TEST(victims_near_nonsense_are_none_or_alive)
{
	struct rig rig;
	struct tmem_victim victims[64];

	open_rig(&rig, _i, 500);
	fill(&rig);
	for (uint32_t i = 0; i < STEPS; i++) {
		uint64_t near = tm_test_random(&rig.seed) >> 8;
		uint32_t count;

		if (i % 2)
			near = rig.objects[i % rig.count].handle ^
			       UINT64_C(1) << rig_random(&rig, 56);
		if (!near)
			continue;
		count = rig.table->victims(rig.instance, near, victims, 64);
		rig_assert(count <= 64);
		for (uint32_t v = 0; v < count; v++)
			rig_assert(victims[v].handle ==
				   rig.objects[victims[v].owner].handle);
	}
	rig_check(&rig);
	rig_close(&rig);
}
END_TEST

/* Frames that a new instance needs for the objects that are alive. */
static uint32_t frames_when_new(const struct rig *old)
{
	struct rig rig;
	uint32_t held;

	rig_open(&rig, old->table, old->count, old->seed);
	for (uint32_t n = 0; n < old->count; n++)
		if (old->objects[n].handle)
			rig_assert(rig_alloc(&rig, n, old->objects[n].size,
					     old->objects[n].is_ephemeral
						     ? TMEM_ALLOC_EPHEMERAL
						     : 0));
	held = rig.held;
	rig_close(&rig);
	return held;
}

START_TEST(moving_victims_makes_a_sparse_store_dense)
{
	struct rig rig;
	uint32_t sparse;
	uint32_t moves = 0;

	open_rig(&rig, _i, 8000);
	fill(&rig);
	for (uint32_t n = 0; n < rig.count; n++)
		if (rig_random(&rig, 10) < 7)
			rig_free(&rig, n);
	sparse = rig.held;
	for (uint32_t moved; (moved = rig_move(&rig, 32)); moves += moved)
		/* An object is moved about twice at most. */
		rig_assert(moves < 2 * rig.alive);
	rig_check(&rig);
	printf("%u frames sparse, %u after %u moves of %u objects, %u new\n",
	       sparse, rig.held, moves, rig.alive, frames_when_new(&rig));
	rig_assert(rig.held < sparse);
	rig_assert(rig.held <= frames_when_new(&rig) * 11 / 10 + 32);
	rig_close(&rig);
}
END_TEST

START_TEST(free_says_when_moving_pays)
{
	struct rig rig;
	struct tmem_victim victims[64];
	uint32_t hints = 0;

	open_rig(&rig, _i, 8000);
	fill(&rig);
	for (uint32_t n = 0; n < rig.count; n++)
		if (rig_random(&rig, 10) < 7)
			hints += rig_free(&rig, n) > 0;
	rig_assert(hints > 0);
	rig_assert(rig.table->victims(rig.instance, 0, victims, 64) > 0);
	rig_close(&rig);
}
END_TEST

START_TEST(nothing_is_worth_moving_in_a_dense_store)
{
	struct rig rig;
	struct tmem_victim victims[64];

	open_rig(&rig, _i, 4000);
	rig_assert(rig.table->victims(rig.instance, 0, victims, 64) == 0);
	for (uint32_t n = 0; n < rig.count; n++)
		rig_assert(rig_alloc(&rig, n, 2040, 0));
	rig_assert(rig.table->victims(rig.instance, 0, victims, 64) == 0);
	rig_close(&rig);
}
END_TEST

START_TEST(victims_that_stay_do_not_hide_others)
{
	struct rig rig;
	struct tmem_victim victims[8];
	uint8_t *seen;
	uint32_t distinct = 0;

	open_rig(&rig, _i, 8000);
	fill(&rig);
	seen = calloc(rig.count, 1);
	for (uint32_t n = 0; n < rig.count; n++)
		if (rig_random(&rig, 10) < 7)
			rig_free(&rig, n);
	/* Nobody moves anything. */
	for (int i = 0; i < 1000; i++) {
		uint32_t count =
			rig.table->victims(rig.instance, 0, victims, 8);

		for (uint32_t v = 0; v < count; v++)
			distinct += !seen[victims[v].owner]++;
	}
	printf("%u named\n", distinct);
	rig_assert(distinct > 64);
	/* Nor is the space that was to be freed lost. */
	for (uint32_t n = 0; n < rig.count; n++)
		if (!rig.objects[n].handle)
			rig_alloc(&rig, n, 100, 0);
	rig_check(&rig);
	free(seen);
	rig_close(&rig);
}
END_TEST

/* --- adopt */

/* A crash: the instance is gone, handles and bytes are not. */
static void reopen(struct rig *rig)
{
	rig_destroy(rig);
	rig_assert(rig_create(rig) == 0);
}

static void shuffle(struct rig *rig, uint32_t *order)
{
	for (uint32_t i = 0; i < rig->count; i++)
		order[i] = i;
	for (uint32_t i = rig->count; i-- > 1;) {
		uint32_t j = (uint32_t)rig_random(rig, i + 1);
		uint32_t swap = order[i];

		order[i] = order[j];
		order[j] = swap;
	}
}

static int adopt(struct rig *rig, uint32_t n)
{
	const struct rig_object *o = &rig->objects[n];

	return rig->table->adopt(rig->instance, o->handle, o->size, o->owner);
}

static void churn(struct rig *rig)
{
	for (uint32_t i = 0; i < 2 * rig->count; i++) {
		uint32_t n = (uint32_t)rig_random(rig, rig->count);

		if (rig->objects[n].handle)
			rig_free(rig, n);
		else
			rig_assert(rig_alloc(rig, n, some_size(rig),
					     some_flags(rig)));
	}
}

/* Objects, some of which were freed again, as a dead process left them. */
static void leave_objects(struct rig *rig)
{
	for (uint32_t n = 0; n < rig->count; n++)
		rig_assert(rig_alloc(rig, n, some_size(rig), some_flags(rig)));
	churn(rig);
}

START_TEST(adopted_objects_are_as_they_were)
{
	struct rig rig;
	uint32_t *order;
	uint32_t held;
	uint64_t slot_bytes;

	open_rig(&rig, _i, 3000);
	order = calloc(rig.count, sizeof(*order));
	leave_objects(&rig);
	held = rig.held;
	slot_bytes = rig_stats(&rig).slot_bytes;
	reopen(&rig);
	shuffle(&rig, order);
	for (uint32_t i = 0; i < rig.count; i++)
		if (rig.objects[order[i]].handle)
			rig_assert(adopt(&rig, order[i]) == 0);
	rig_check(&rig);
	rig_assert(rig.held <= held);
	rig_assert(rig_stats(&rig).slot_bytes == slot_bytes);
	churn(&rig);
	while (rig_move(&rig, 32))
		;
	rig_check(&rig);
	rig_free_all(&rig);
	rig_assert(rig.held == 0);
	rig_check(&rig);
	free(order);
	rig_close(&rig);
}
END_TEST

START_TEST(adopt_keeps_owners)
{
	struct rig rig;
	struct tmem_victim victims[64];
	uint32_t named = 0;

	open_rig(&rig, _i, 500);
	fill(&rig);
	reopen(&rig);
	for (uint32_t n = rig.count; n-- > 0;)
		rig_assert(adopt(&rig, n) == 0);
	for (uint32_t n = 0; n < rig.count; n++) {
		uint32_t count = rig.table->victims(
			rig.instance, rig.objects[n].handle, victims, 64);

		for (uint32_t v = 0; v < count; v++)
			rig_assert(victims[v].handle ==
				   rig.objects[victims[v].owner].handle);
		named += count;
	}
	rig_assert(named > 0);
	rig_close(&rig);
}
END_TEST

START_TEST(adopting_twice_is_refused_and_changes_nothing)
{
	struct rig rig;

	open_rig(&rig, _i, 1000);
	leave_objects(&rig);
	reopen(&rig);
	for (uint32_t n = 0; n < rig.count; n++) {
		if (!rig.objects[n].handle)
			continue;
		rig_assert(adopt(&rig, n) == 0);
		rig_assert(adopt(&rig, n) == -EBADMSG);
	}
	rig_check(&rig);
	rig_close(&rig);
}
END_TEST

START_TEST(adopt_refuses_sizes_that_do_not_fit)
{
	struct rig rig;

	open_rig(&rig, _i, 1000);
	fill(&rig);
	reopen(&rig);
	for (uint32_t n = 0; n < rig.count; n++) {
		uint64_t handle = rig.objects[n].handle;
		uint32_t held = rig.held;

		rig_assert(rig.table->adopt(rig.instance, handle, 0, 1) ==
			   -EBADMSG);
		rig_assert(rig.table->adopt(rig.instance, handle,
					    max_size(&rig) + 1, 1) == -EBADMSG);
		rig_assert(rig.table->adopt(rig.instance, handle, UINT32_MAX,
					    1) == -EBADMSG);
		rig_assert(rig.held == held);
		rig_assert(adopt(&rig, n) == 0);
	}
	rig_check(&rig);
	rig_close(&rig);
}
END_TEST

/* One call with bytes from nowhere; what is taken joins the list. */
static void adopt_hostile(struct rig *rig, uint64_t handle, uint32_t size,
			  uint32_t free_object)
{
	struct rig_object *o = &rig->objects[free_object];
	uint32_t held = rig->held;
	struct tmem_allocator_stats before = rig_stats(rig);
	int err = rig->table->adopt(rig->instance, handle, size, free_object);

	rig_assert(!err || err == -EBADMSG || err == -ENOMEM);
	if (err) {
		struct tmem_allocator_stats after = rig_stats(rig);

		rig_assert(rig->held == held);
		rig_assert(before.objects == after.objects);
		rig_assert(before.frames == after.frames);
		rig_assert(before.runs == after.runs);
		rig_assert(before.slot_bytes == after.slot_bytes);
		return;
	}
	*o = (struct rig_object){ handle, size, free_object, free_object,
				  false };
	rig_fill_bytes(rig_address(rig, handle), size, o->seed);
	rig->alive++;
}

START_TEST(adopt_survives_any_bytes)
{
	struct rig rig;
	uint32_t used = 500;

	open_rig(&rig, _i, 20000);
	for (uint32_t n = 0; n < used; n++)
		rig_assert(
			rig_alloc(&rig, n, some_size(&rig), some_flags(&rig)));
	reopen(&rig);
	rig.limit = 2000;
	/* All of them first: what is adopted is written to. */
	for (uint32_t n = 0; n < used; n++)
		rig_assert(adopt(&rig, n) == 0);
	for (uint32_t n = 0; n < 500; n++) {
		uint64_t handle = rig.objects[n].handle;
		uint32_t size = rig.objects[n].size;

		for (unsigned bit = 0; bit < 64 && used < rig.count; bit++) {
			adopt_hostile(&rig, handle ^ UINT64_C(1) << bit, size,
				      used);
			used += rig.objects[used].handle != 0;
			if (used == rig.count)
				break;
			adopt_hostile(&rig, handle ^ UINT64_C(1) << bit,
				      some_size(&rig), used);
			used += rig.objects[used].handle != 0;
		}
		while (used > 500) {
			used--;
			rig_free(&rig, used);
		}
	}
	for (uint32_t i = 0; i < STEPS && used < rig.count; i++) {
		adopt_hostile(&rig,
			      tm_test_random(&rig.seed) >> rig_random(&rig, 16),
			      some_size(&rig), used);
		used += rig.objects[used].handle != 0;
	}
	rig_check(&rig);
	rig.limit = RIG_FRAMES;
	churn(&rig);
	rig_check(&rig);
	rig_close(&rig);
}
END_TEST

START_TEST(adopt_without_memory_changes_nothing)
{
	struct rig rig;

	open_rig(&rig, _i, 400);
	for (uint32_t n = 0; n < rig.count; n++)
		rig_assert(rig_alloc(&rig, n, 1 + n % 200, some_flags(&rig)));
	reopen(&rig);
	for (uint32_t n = 0; n < rig.count; n++) {
		uint64_t objects = rig_stats(&rig).objects;
		uint32_t held = rig.held;
		size_t allocs = 0;
		int err;

		do {
			atomic_store(&rig.test.allocs_left, allocs++);
			err = adopt(&rig, n);
			rig_assert(!err || err == -ENOMEM);
			if (err)
				rig_assert(rig.held == held);
			rig_assert(rig_stats(&rig).objects == objects + !err);
		} while (err);
	}
	rig_check(&rig);
	rig_close(&rig);
}
END_TEST

/* --- threads */

#define WORKERS 3
#define SLOTS_EACH 400u

/* An object that is looked after by whoever holds its slot. */
struct slot {
	pthread_mutex_t lock;
	uint64_t handle;
	uint32_t size;
	uint32_t seed;
	uint32_t flags;
};

struct crowd {
	struct rig rig;
	struct slot slots[WORKERS * SLOTS_EACH];
	atomic_uint working;
	atomic_uint moved;
	atomic_bool has_failed;
};

struct worker {
	struct crowd *crowd;
	uint64_t seed;
	pthread_t thread;
};

/* Asserts of libcheck are for the main thread. */
static void expect(struct crowd *crowd, bool is_true)
{
	if (!is_true)
		atomic_store(&crowd->has_failed, true);
}

static void slot_step(struct crowd *crowd, struct slot *slot, uint32_t n,
		      uint64_t *seed)
{
	struct rig *rig = &crowd->rig;
	uint8_t *at;

	if (slot->handle) {
		at = rig_address(rig, slot->handle);
		expect(crowd, rig_bytes_are(at, slot->size, slot->seed));
		rig->table->free(rig->instance, slot->handle, 0);
		slot->handle = 0;
		return;
	}
	slot->size = 1 + (uint32_t)(tm_test_random(seed) % 2048);
	slot->seed = (uint32_t)tm_test_random(seed);
	slot->flags = slot->seed % 4 ? 0 : TMEM_ALLOC_EPHEMERAL;
	slot->handle = rig->table->alloc(rig->instance, slot->size, slot->seed,
					 slot->flags);
	if (!slot->handle)
		return;
	rig->table->set_owner(rig->instance, slot->handle, n);
	rig_fill_bytes(rig_address(rig, slot->handle), slot->size, slot->seed);
}

static void *work(void *opaque)
{
	struct worker *worker = opaque;
	struct crowd *crowd = worker->crowd;

	for (uint32_t i = 0; i < STEPS / 2; i++) {
		uint32_t n = (uint32_t)(tm_test_random(&worker->seed) %
					(WORKERS * SLOTS_EACH));
		struct slot *slot = &crowd->slots[n];

		if (pthread_mutex_trylock(&slot->lock))
			continue;
		slot_step(crowd, slot, n, &worker->seed);
		pthread_mutex_unlock(&slot->lock);
	}
	atomic_fetch_sub(&crowd->working, 1);
	return NULL;
}

/* As a store's compaction: victims are hints. */
static void crowd_move(struct crowd *crowd, const struct tmem_victim *victim)
{
	struct rig *rig = &crowd->rig;
	struct slot *slot;
	uint64_t to;

	/* Between alloc() and set_owner() it is some other number. */
	if (victim->owner >= WORKERS * SLOTS_EACH)
		return;
	slot = &crowd->slots[victim->owner];
	if (pthread_mutex_trylock(&slot->lock))
		return;
	to = slot->handle != victim->handle
		     ? 0
		     : rig->table->alloc(rig->instance, slot->size,
					 victim->owner,
					 slot->flags | TMEM_ALLOC_MOVE);
	if (to) {
		memcpy(rig_address(rig, to), rig_address(rig, slot->handle),
		       slot->size);
		rig->table->free(rig->instance, slot->handle, 0);
		slot->handle = to;
		atomic_fetch_add(&crowd->moved, 1);
	}
	pthread_mutex_unlock(&slot->lock);
}

static void *compact(void *opaque)
{
	struct worker *worker = opaque;
	struct crowd *crowd = worker->crowd;
	struct rig *rig = &crowd->rig;
	struct tmem_victim victims[32];
	uint64_t near = 0;

	while (atomic_load(&crowd->working)) {
		uint32_t count =
			rig->table->victims(rig->instance, near, victims, 32);

		for (uint32_t i = 0; i < count; i++)
			crowd_move(crowd, &victims[i]);
		near = count && tm_test_random(&worker->seed) % 2
			       ? victims[0].handle
			       : 0;
		rig_stats(rig);
	}
	return NULL;
}

START_TEST(threads_share_an_instance)
{
	struct crowd *crowd = calloc(1, sizeof(*crowd));
	struct worker workers[WORKERS + 1];
	struct rig *rig = &crowd->rig;

	open_rig(rig, _i, WORKERS * SLOTS_EACH);
	rig->limit = 600;
	atomic_store(&crowd->working, WORKERS);
	for (uint32_t n = 0; n < WORKERS * SLOTS_EACH; n++)
		pthread_mutex_init(&crowd->slots[n].lock, NULL);
	for (int i = 0; i <= WORKERS; i++) {
		workers[i].crowd = crowd;
		workers[i].seed = seed_start + (uint64_t)i;
		pthread_create(&workers[i].thread, NULL,
			       i < WORKERS ? work : compact, &workers[i]);
	}
	for (int i = 0; i <= WORKERS; i++)
		pthread_join(workers[i].thread, NULL);
	printf("%u moves\n", atomic_load(&crowd->moved));
	rig_assert(!atomic_load(&crowd->has_failed));
	/* From here on it is an ordinary list. */
	for (uint32_t n = 0; n < rig->count; n++) {
		struct slot *slot = &crowd->slots[n];

		rig->objects[n] = (struct rig_object){
			.handle = slot->handle,
			.size = slot->size,
			.owner = n,
			.seed = slot->seed,
		};
		rig->alive += slot->handle != 0;
		pthread_mutex_destroy(&slot->lock);
	}
	rig_check(rig);
	rig_free_all(rig);
	rig_assert(rig->held == 0);
	rig_close(rig);
	free(crowd);
}
END_TEST

/* --- the table */

START_TEST(stats_fill_no_more_than_the_caller_knows)
{
	struct rig rig;
	struct tmem_allocator_stats stats;

	open_rig(&rig, _i, 100);
	fill(&rig);
	for (uint32_t size = 8; size <= sizeof(stats); size += 8) {
		uint8_t *bytes = (uint8_t *)&stats;

		memset(&stats, 0xee, sizeof(stats));
		stats.struct_size = size;
		rig.table->stats(rig.instance, &stats);
		rig_assert(stats.struct_size == size);
		for (size_t i = size; i < sizeof(stats); i++)
			rig_assert(bytes[i] == 0xee);
	}
	rig_close(&rig);
}
END_TEST

START_TEST(options_are_taken_at_their_bounds)
{
	const struct tmem_allocator *table = find(_i);
	int64_t values[16];
	struct rig rig;

	for (int bound = 0; bound < 2; bound++) {
		rig_init(&rig, table, 1000, seed_start);
		for (size_t i = 0; table->options && table->options[i].name;
		     i++)
			values[i] = bound ? table->options[i].max
					  : table->options[i].min;
		rig_assert(table->create(&rig.test.host, &rig.frames, values,
					 &rig.instance) == 0);
		fill(&rig);
		rig_check(&rig);
		rig_close(&rig);
	}
}
END_TEST

START_TEST(the_default_allocator_is_there)
{
	const struct tmem_allocator *table;
	size_t n = 0;

	while ((table = tmem_plugins_allocator(plugins, n++)))
		if (!strcmp(table->name, tmem_default_allocator()))
			return;
	ck_abort_msg("there is no %s", tmem_default_allocator());
}
END_TEST

static void complain(void *opaque, enum tmem_log_level level, const char *text)
{
	(void)opaque;
	fprintf(stderr, "%d: %s\n", (int)level, text);
}

int main(void)
{
	const TTest *const rules[] = {
		every_size_finds_an_aligned_place,
		sizes_out_of_range_find_no_room,
		objects_never_overlap,
		tiny_objects_never_overlap,
		everything_freed_gives_back_every_frame,
		destroy_gives_back_what_is_alive,
		ephemeral_objects_have_runs_of_their_own,
		an_owner_can_be_any_number,
		out_of_frames_is_no_room_and_passes,
		single_frames_are_enough_for_every_size,
		a_move_never_takes_frames,
		no_memory_at_any_point_is_no_room_and_no_leak,
		victims_near_are_the_rest_of_the_run,
		freeing_victims_near_frees_frames,
		victims_near_nonsense_are_none_or_alive,
		moving_victims_makes_a_sparse_store_dense,
		free_says_when_moving_pays,
		nothing_is_worth_moving_in_a_dense_store,
		victims_that_stay_do_not_hide_others,
		adopted_objects_are_as_they_were,
		adopt_keeps_owners,
		adopting_twice_is_refused_and_changes_nothing,
		adopt_refuses_sizes_that_do_not_fit,
		adopt_survives_any_bytes,
		adopt_without_memory_changes_nothing,
		stats_fill_no_more_than_the_caller_knows,
		options_are_taken_at_their_bounds,
	};
	Suite *suite = suite_create("allocator_contract");
	TCase *each = tcase_create("each");
	TCase *threads = tcase_create("threads");
	TCase *all = tcase_create("all");
	int count = 0;

	seed_start = tm_test_seed();
	if (tmem_plugins_open(NULL, complain, NULL, &plugins))
		return EXIT_FAILURE;
	while (find(count))
		count++;
	if (!count) {
		fprintf(stderr, "there is no allocator to test\n");
		return EXIT_FAILURE;
	}
	tcase_set_timeout(each, 60);
	tcase_set_timeout(threads, 60);
	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++)
		tcase_add_loop_test(each, rules[i], 0, count);
	tcase_add_loop_test(threads, threads_share_an_instance, 0, count);
	tcase_add_test(all, the_default_allocator_is_there);
	suite_add_tcase(suite, each);
	suite_add_tcase(suite, threads);
	suite_add_tcase(suite, all);
	return tm_test_run(suite);
}
