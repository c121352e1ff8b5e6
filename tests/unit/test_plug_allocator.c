/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The checks around every call of an allocator (src/plug/checked_allocator.c).
 *
 * The allocator here answers whatever the test has told it to, through a
 * struct that it gets as the frames' opaque.
 */
#include <config.h>

#include "harness.h"
#include "plug.h"
#include "test_host.h"

#define FRAMES 4

/* What the next calls answer. */
struct script {
	int create;
	uint32_t max_size;
	uint64_t handle;
	uintptr_t offset; /* of the address, from the first frame */
	uint32_t victims;
	int adopt;
	uint8_t *base;
	unsigned destroyed;
};

static int create(const struct tmem_host *host,
		  const struct tmem_frames *frames, const int64_t *options,
		  void **instance)
{
	(void)host, (void)options;
	*instance = frames->opaque;
	return ((struct script *)frames->opaque)->create;
}

static void destroy(void *instance)
{
	((struct script *)instance)->destroyed++;
}

static uint32_t max_size(const void *instance)
{
	return ((const struct script *)instance)->max_size;
}

static uint64_t alloc_object(void *instance, uint32_t size, uint32_t owner,
			     uint32_t flags)
{
	(void)size, (void)owner, (void)flags;
	return ((struct script *)instance)->handle;
}

static uint32_t free_object(void *instance, uint64_t handle, uint32_t flags)
{
	(void)instance, (void)handle, (void)flags;
	return 3;
}

static void *address(const void *instance, uint64_t handle)
{
	const struct script *script = instance;

	(void)handle;
	return (void *)((uintptr_t)script->base + script->offset);
}

static void set_owner(void *instance, uint64_t handle, uint32_t owner)
{
	(void)instance, (void)handle, (void)owner;
}

static uint32_t victims(void *instance, uint64_t near, struct tmem_victim *out,
			uint32_t max)
{
	(void)near, (void)out, (void)max;
	return ((struct script *)instance)->victims;
}

static int adopt(void *instance, uint64_t handle, uint32_t size, uint32_t owner)
{
	(void)handle, (void)size, (void)owner;
	return ((struct script *)instance)->adopt;
}

static void stats(void *instance, struct tmem_allocator_stats *out)
{
	(void)instance;
	out->frames = FRAMES;
}

static const struct tmem_allocator scripted = {
	.abi_version = TMEM_PLUGIN_ABI_VERSION,
	.struct_size = sizeof(struct tmem_allocator),
	.name = "scripted",
	.description = "an allocator that answers what it is told",
	.create = create,
	.destroy = destroy,
	.max_size = max_size,
	.alloc = alloc_object,
	.free = free_object,
	.address = address,
	.set_owner = set_owner,
	.victims = victims,
	.adopt = adopt,
	.stats = stats,
};

/* --- */

static struct tm_test_host test;
static struct tmem_plugins *plugins;
static struct tm_allocator *allocator;
static struct script script;
static struct tmem_frames frames;
static uint8_t memory[FRAMES * TMEM_FRAME_SIZE] __attribute__((aligned(4096)));

static int allocator_open(const char *name)
{
	return tm_allocator_open(plugins, name, &test.host, &frames,
				 &allocator);
}

static void setup(void)
{
	static const struct tmem_allocator *const allocators[] = { &scripted,
								   NULL };
	const struct tm_plugins_config config = { .allocators = allocators };

	unsetenv("TMEM_PLUGIN_PATH");
	tm_test_host_init(&test);
	ck_assert_int_eq(tm_plugins_open(&config, &plugins), 0);
	script = (struct script){
		.max_size = 4096,
		.handle = 1,
		.base = memory,
	};
	frames = (struct tmem_frames){
		.struct_size = sizeof(frames),
		.opaque = &script,
		.base = memory,
		.frame_count = FRAMES,
	};
}

static void setup_open(void)
{
	setup();
	ck_assert_int_eq(allocator_open("scripted"), 0);
}

static void teardown(void)
{
	tm_plugins_close(plugins);
	ck_assert_uint_eq(atomic_load(&test.used_bytes), 0);
}

static void teardown_open(void)
{
	tm_allocator_close(allocator);
	ck_assert_uint_eq(script.destroyed, 1);
	teardown();
}

START_TEST(an_unknown_allocator_is_named)
{
	ck_assert_int_eq(allocator_open("script"), -EINVAL);
	ck_assert_ptr_nonnull(strstr(test.text, "no allocator \"script\""));
	ck_assert_ptr_nonnull(strstr(test.text, "there are: scripted"));
}
END_TEST

START_TEST(an_allocator_for_tiny_objects_is_refused)
{
	script.max_size = 2047;
	ck_assert_int_eq(allocator_open("scripted"), -EINVAL);
	ck_assert_ptr_nonnull(strstr(test.text, "up to 2047 bytes only"));
	ck_assert_uint_eq(script.destroyed, 1);
}
END_TEST

START_TEST(failures_to_start_are_told_apart)
{
	script.create = -ENOMEM;
	ck_assert_int_eq(allocator_open("scripted"), -ENOMEM);
	script.create = -EIO;
	ck_assert_int_eq(allocator_open("scripted"), -EINVAL);
	script.create = 0;
	atomic_store(&test.allocs_left, 0);
	ck_assert_int_eq(allocator_open("scripted"), -ENOMEM);
	ck_assert_uint_eq(script.destroyed, 0);
}
END_TEST

START_TEST(objects_inside_the_frames_are_accepted)
{
	static const struct {
		uintptr_t offset;
		uint32_t size;
	} good[] = { { 0, 4096 },
		     { 8, 4096 },
		     { 3 * 4096, 4096 },
		     { 4 * 4096 - 8, 8 },
		     { 4 * 4096 - 8, 1 } };
	void *place;

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		script.offset = good[i].offset;
		ck_assert_uint_eq(tm_allocator_alloc(allocator, good[i].size, 0,
						     0, &place),
				  1);
		ck_assert_ptr_eq(place, memory + good[i].offset);
		ck_assert_ptr_eq(
			tm_allocator_address(allocator, 1, good[i].size),
			place);
	}
	ck_assert_uint_eq(tm_allocator_errors(allocator), 0);
	ck_assert_uint_eq(tm_allocator_free(allocator, 1), 3);
}
END_TEST

START_TEST(objects_outside_the_frames_are_not_placed)
{
	static const struct {
		uintptr_t offset;
		uint32_t size;
	} bad[] = { { 4 * 4096, 1 },        { 4 * 4096 - 8, 9 },
		    { (uintptr_t)-8, 8 },   { 4, 8 },
		    { 3 * 4096 + 8, 4096 }, { (uintptr_t)1 << 62, 8 } };
	void *place;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		script.offset = bad[i].offset;
		ck_assert_uint_eq(tm_allocator_alloc(allocator, bad[i].size, 0,
						     0, &place),
				  0);
		ck_assert_ptr_null(
			tm_allocator_address(allocator, 1, bad[i].size));
		ck_assert_int_eq(
			tm_allocator_adopt(allocator, 1, bad[i].size, 0),
			-EBADMSG);
		ck_assert_uint_eq(tm_allocator_errors(allocator), 3 * (i + 1));
	}
	ck_assert_uint_eq(test.logged, 1);
}
END_TEST

START_TEST(a_handle_too_wide_is_not_placed)
{
	void *place;

	script.handle = UINT64_C(1) << TMEM_HANDLE_BITS;
	ck_assert_uint_eq(tm_allocator_alloc(allocator, 8, 0, 0, &place), 0);
	ck_assert_uint_eq(tm_allocator_errors(allocator), 1);
	script.handle--;
	ck_assert_uint_eq(tm_allocator_alloc(allocator, 8, 0, 0, &place),
			  script.handle);
}
END_TEST

START_TEST(sizes_out_of_range_never_reach_the_allocator)
{
	void *place;

	ck_assert_uint_eq(tm_allocator_alloc(allocator, 0, 0, 0, &place), 0);
	ck_assert_uint_eq(tm_allocator_alloc(allocator, 4097, 0, 0, &place), 0);
	ck_assert_int_eq(tm_allocator_adopt(allocator, 1, 0, 0), -EBADMSG);
	ck_assert_int_eq(tm_allocator_adopt(allocator, 1, 4097, 0), -EBADMSG);
	ck_assert_int_eq(tm_allocator_adopt(allocator, 0, 8, 0), -EBADMSG);
	ck_assert_int_eq(tm_allocator_adopt(allocator, UINT64_MAX, 8, 0),
			 -EBADMSG);
	ck_assert_uint_eq(tm_allocator_errors(allocator), 0);
}
END_TEST

START_TEST(more_victims_than_were_asked_for_are_none)
{
	struct tmem_victim out[2];

	script.victims = 2;
	ck_assert_uint_eq(tm_allocator_victims(allocator, 0, out, 2), 2);
	script.victims = 3;
	ck_assert_uint_eq(tm_allocator_victims(allocator, 0, out, 2), 0);
	ck_assert_uint_eq(tm_allocator_errors(allocator), 1);
}
END_TEST

START_TEST(adopt_answers_what_its_callers_know)
{
	ck_assert_int_eq(tm_allocator_adopt(allocator, 1, 8, 0), 0);
	script.adopt = -ENOMEM;
	ck_assert_int_eq(tm_allocator_adopt(allocator, 1, 8, 0), -ENOMEM);
	script.adopt = 17;
	ck_assert_int_eq(tm_allocator_adopt(allocator, 1, 8, 0), -EBADMSG);
}
END_TEST

START_TEST(statistics_that_the_plugin_lacks_read_zero)
{
	struct tmem_allocator_stats out;

	memset(&out, 0xff, sizeof(out));
	tm_allocator_stats(allocator, &out);
	ck_assert_uint_eq(out.frames, FRAMES);
	ck_assert_uint_eq(out.reclaimable_frames, 0);
	ck_assert_uint_eq(out.struct_size, sizeof(out));
}
END_TEST

int main(void)
{
	const TTest *const calls[] = {
		objects_inside_the_frames_are_accepted,
		objects_outside_the_frames_are_not_placed,
		a_handle_too_wide_is_not_placed,
		sizes_out_of_range_never_reach_the_allocator,
		more_victims_than_were_asked_for_are_none,
		adopt_answers_what_its_callers_know,
		statistics_that_the_plugin_lacks_read_zero,
	};
	Suite *suite = suite_create("plug_allocator");
	TCase *starting = tcase_create("starting");
	TCase *calling = tcase_create("calling");

	tcase_add_checked_fixture(starting, setup, teardown);
	tcase_add_test(starting, an_unknown_allocator_is_named);
	tcase_add_test(starting, an_allocator_for_tiny_objects_is_refused);
	tcase_add_test(starting, failures_to_start_are_told_apart);
	tcase_add_checked_fixture(calling, setup_open, teardown_open);
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
		tcase_add_test(calling, calls[i]);
	suite_add_tcase(suite, starting);
	suite_add_tcase(suite, calling);
	return tm_test_run(suite);
}
