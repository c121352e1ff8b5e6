/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Tables that must be refused (src/plug/validate.c), each with a sentence
 * that says why, and tables of other versions that must not be.
 *
 * Each row below spoils one thing of a table that is otherwise good; the rule
 * holds when the registry has no plugin afterwards and the log has the words.
 */
#include <config.h>

#include "harness.h"
#include "plug.h"
#include "test_host.h"

/* --- a codec and an allocator that nothing is wrong with */

static const char *library(void)
{
	return "test 1";
}

static const char *library_null(void)
{
	return NULL;
}

static size_t bound(size_t n)
{
	return n;
}

static size_t bound_huge(size_t n)
{
	return n * 2 + 4096;
}

static size_t bound_zero(size_t n)
{
	return n > 4000 ? 0 : n;
}

static int params_create(const struct tmem_host *host,
			 const struct tmem_codec_config *config, void **params)
{
	(void)host;
	(void)config;
	*params = NULL;
	return 0;
}

static void destroy(const struct tmem_host *host, void *it)
{
	(void)host;
	(void)it;
}

static int context_create(const struct tmem_host *host, const void *params,
			  void **context)
{
	(void)host;
	(void)params;
	*context = NULL;
	return 0;
}

static size_t compress(void *context, const void *src, size_t n, void *dst,
		       size_t limit, uint32_t flags)
{
	(void)context, (void)src, (void)n, (void)dst, (void)limit, (void)flags;
	return 0;
}

static int decompress(void *context, const void *src, size_t len, void *dst,
		      size_t n, uint32_t flags)
{
	(void)context, (void)src, (void)len, (void)dst, (void)n, (void)flags;
	return -EBADMSG;
}

static const struct tmem_codec good_codec = {
	.abi_version = TMEM_PLUGIN_ABI_VERSION,
	.struct_size = sizeof(struct tmem_codec),
	.name = "good",
	.description = "a codec for tests",
	.library = library,
	.level_min = 1,
	.level_max = 9,
	.level_default = 6,
	.bound = bound,
	.params_create = params_create,
	.params_destroy = destroy,
	.context_create = context_create,
	.context_destroy = destroy,
	.compress = compress,
	.decompress = decompress,
};

static int a_create(const struct tmem_host *host,
		    const struct tmem_frames *frames, const int64_t *options,
		    void **instance)
{
	(void)host, (void)frames, (void)options, (void)instance;
	return -ENOMEM;
}

static void a_destroy(void *instance)
{
	(void)instance;
}

static uint32_t a_max_size(const void *instance)
{
	(void)instance;
	return 4096;
}

static uint64_t a_alloc(void *instance, uint32_t size, uint32_t owner,
			uint32_t flags)
{
	(void)instance, (void)size, (void)owner, (void)flags;
	return 0;
}

static uint32_t a_free(void *instance, uint64_t handle, uint32_t flags)
{
	(void)instance, (void)handle, (void)flags;
	return 0;
}

static void *a_address(const void *instance, uint64_t handle)
{
	(void)instance, (void)handle;
	return NULL;
}

static void a_set_owner(void *instance, uint64_t handle, uint32_t owner)
{
	(void)instance, (void)handle, (void)owner;
}

static uint32_t a_victims(void *instance, uint64_t near,
			  struct tmem_victim *out, uint32_t max)
{
	(void)instance, (void)near, (void)out, (void)max;
	return 0;
}

static int a_adopt(void *instance, uint64_t handle, uint32_t size,
		   uint32_t owner)
{
	(void)instance, (void)handle, (void)size, (void)owner;
	return -EBADMSG;
}

static void a_stats(void *instance, struct tmem_allocator_stats *stats)
{
	(void)instance, (void)stats;
}

static const struct tmem_allocator good_allocator = {
	.abi_version = TMEM_PLUGIN_ABI_VERSION,
	.struct_size = sizeof(struct tmem_allocator),
	.name = "alloc",
	.description = "an allocator for tests",
	.create = a_create,
	.destroy = a_destroy,
	.max_size = a_max_size,
	.alloc = a_alloc,
	.free = a_free,
	.address = a_address,
	.set_owner = a_set_owner,
	.victims = a_victims,
	.adopt = a_adopt,
	.stats = a_stats,
};

/* --- option tables */

#define OPTION(n, t, low, high, first)                                         \
	{                                                                      \
		n, t, "", low, high, first, "help"                             \
	}

static const struct tmem_option good_options[] = {
	OPTION("one", TMEM_OPTION_INTEGER, 1, 8, 4),
	OPTION("two", TMEM_OPTION_BOOLEAN, 0, 1, 0),
	{ 0 },
};
static const struct tmem_option twice[] = {
	OPTION("one", TMEM_OPTION_INTEGER, 1, 8, 4),
	OPTION("one", TMEM_OPTION_BOOLEAN, 0, 1, 0),
	{ 0 },
};
static const struct tmem_option bad_name[] = {
	OPTION("One", TMEM_OPTION_INTEGER, 1, 8, 4),
	{ 0 },
};
static const struct tmem_option bad_type[] = {
	OPTION("one", 77, 1, 8, 4),
	{ 0 },
};
static const struct tmem_option bad_initial[] = {
	OPTION("one", TMEM_OPTION_INTEGER, 1, 8, 9),
	{ 0 },
};
static const struct tmem_option no_help[] = {
	{ "one", TMEM_OPTION_INTEGER, "", 0, 1, 0, NULL },
	{ 0 },
};

/* --- one thing spoilt at a time */

struct spoilt {
	const char *words; /* that the log must have */
	void (*codec)(struct tmem_codec *codec);
	void (*allocator)(struct tmem_allocator *allocator);
};

#define CODEC(id, change)                                                      \
	static void c_##id(struct tmem_codec *t)                               \
	{                                                                      \
		change;                                                        \
	}
#define ALLOCATOR(id, change)                                                  \
	static void a_##id(struct tmem_allocator *t)                           \
	{                                                                      \
		change;                                                        \
	}

CODEC(abi, t->abi_version = TMEM_PLUGIN_ABI_VERSION + 1)
CODEC(abi_zero, t->abi_version = 0)
CODEC(size, t->struct_size -= 1)
CODEC(size_zero, t->struct_size = 0)
CODEC(name_null, t->name = NULL)
CODEC(name_empty, t->name = "")
CODEC(name_upper, t->name = "Good")
CODEC(name_digit, t->name = "4good")
CODEC(name_slash, t->name = "go/od")
CODEC(name_long, t->name = "a123456789012345")
CODEC(description_null, t->description = NULL)
CODEC(description_lines, t->description = "one\ntwo")
CODEC(no_library, t->library = NULL)
CODEC(no_bound, t->bound = NULL)
CODEC(no_params_create, t->params_create = NULL)
CODEC(no_params_destroy, t->params_destroy = NULL)
CODEC(no_context_create, t->context_create = NULL)
CODEC(no_context_destroy, t->context_destroy = NULL)
CODEC(no_compress, t->compress = NULL)
CODEC(no_decompress, t->decompress = NULL)
CODEC(library_null, t->library = library_null)
CODEC(level_order, t->level_min = 10)
CODEC(level_default, t->level_default = 10)
CODEC(level_absurd, t->level_max = INT32_MAX)
CODEC(level_absurd_low, t->level_min = INT32_MIN)
CODEC(bound_huge, t->bound = bound_huge)
CODEC(bound_zero, t->bound = bound_zero)
CODEC(option_twice, t->options = twice)
CODEC(option_name, t->options = bad_name)
CODEC(option_type, t->options = bad_type)
CODEC(option_initial, t->options = bad_initial)
CODEC(option_help, t->options = no_help)
ALLOCATOR(abi, t->abi_version = TMEM_PLUGIN_ABI_VERSION + 1)
ALLOCATOR(size, t->struct_size -= 1)
ALLOCATOR(name, t->name = "Alloc")
ALLOCATOR(no_create, t->create = NULL)
ALLOCATOR(no_destroy, t->destroy = NULL)
ALLOCATOR(no_max_size, t->max_size = NULL)
ALLOCATOR(no_alloc, t->alloc = NULL)
ALLOCATOR(no_free, t->free = NULL)
ALLOCATOR(no_address, t->address = NULL)
ALLOCATOR(no_set_owner, t->set_owner = NULL)
ALLOCATOR(no_victims, t->victims = NULL)
ALLOCATOR(no_adopt, t->adopt = NULL)
ALLOCATOR(no_stats, t->stats = NULL)
ALLOCATOR(option, t->options = twice)

static const struct spoilt rows[] = {
	{ "its ABI version is 2, not 1", c_abi, NULL },
	{ "its ABI version is 0, not 1", c_abi_zero, NULL },
	{ "too small", c_size, NULL },
	{ "its struct_size is 0, too small", c_size_zero, NULL },
	{ "it has no name", c_name_null, NULL },
	{ "its name \"\" is not", c_name_empty, NULL },
	{ "its name \"Good\" is not", c_name_upper, NULL },
	{ "its name \"4good\" is not", c_name_digit, NULL },
	{ "its name \"go/od\" is not", c_name_slash, NULL },
	{ "its name \"a123456789012345\" is not", c_name_long, NULL },
	{ "its description", c_description_null, NULL },
	{ "its description", c_description_lines, NULL },
	{ "no function library()", c_no_library, NULL },
	{ "no function bound()", c_no_bound, NULL },
	{ "no function params_create()", c_no_params_create, NULL },
	{ "no function params_destroy()", c_no_params_destroy, NULL },
	{ "no function context_create()", c_no_context_create, NULL },
	{ "no function context_destroy()", c_no_context_destroy, NULL },
	{ "no function compress()", c_no_compress, NULL },
	{ "no function decompress()", c_no_decompress, NULL },
	{ "its library() answers NULL", c_library_null, NULL },
	{ "levels 10 to 9, by default 6", c_level_order, NULL },
	{ "levels 1 to 9, by default 10", c_level_default, NULL },
	{ "levels 1 to 2147483647", c_level_absurd, NULL },
	{ "levels -2147483648 to 9", c_level_absurd_low, NULL },
	{ "its bound(1) is 4098", c_bound_huge, NULL },
	{ "its bound(4096) is 0", c_bound_zero, NULL },
	{ "two options named one", c_option_twice, NULL },
	{ "its option \"One\" has a bad name", c_option_name, NULL },
	{ "its option one has the unknown type 77", c_option_type, NULL },
	{ "its option one begins outside", c_option_initial, NULL },
	{ "its option one has no unit or no help", c_option_help, NULL },
	{ "its ABI version is 2, not 1", NULL, a_abi },
	{ "too small", NULL, a_size },
	{ "its name \"Alloc\" is not", NULL, a_name },
	{ "no function create()", NULL, a_no_create },
	{ "no function destroy()", NULL, a_no_destroy },
	{ "no function max_size()", NULL, a_no_max_size },
	{ "no function alloc()", NULL, a_no_alloc },
	{ "no function free()", NULL, a_no_free },
	{ "no function address()", NULL, a_no_address },
	{ "no function set_owner()", NULL, a_no_set_owner },
	{ "no function victims()", NULL, a_no_victims },
	{ "no function adopt()", NULL, a_no_adopt },
	{ "no function stats()", NULL, a_no_stats },
	{ "two options named one", NULL, a_option },
};

/* --- */

static struct tmem_plugins *open_with(const struct tmem_codec *codec,
				      const struct tmem_allocator *allocator,
				      struct tm_test_host *test)
{
	const struct tmem_codec *codecs[] = { codec, NULL };
	const struct tmem_allocator *allocators[] = { allocator, NULL };
	const struct tm_plugins_config config = {
		.codecs = codecs,
		.allocators = allocators,
		.log = tm_test_host_log,
		.opaque = test,
	};
	struct tmem_plugins *plugins;

	tm_test_host_init(test);
	ck_assert_int_eq(unsetenv("TMEM_PLUGIN_PATH"), 0);
	ck_assert_int_eq(tm_plugins_open(&config, &plugins), 0);
	return plugins;
}

START_TEST(good_tables_are_accepted)
{
	struct tmem_codec codec = good_codec;
	struct tm_test_host test;
	struct tmem_plugins *plugins;

	codec.options = good_options;
	plugins = open_with(&codec, &good_allocator, &test);
	ck_assert_uint_eq(test.logged, 0);
	ck_assert_ptr_nonnull(tm_plugins_find_codec(plugins, "good"));
	ck_assert_ptr_nonnull(tm_plugins_find_allocator(plugins, "alloc"));
	ck_assert_ptr_null(tm_plugins_find_codec(plugins, "alloc"));
	ck_assert_ptr_null(tm_plugins_find_allocator(plugins, "good"));
	ck_assert_str_eq(tm_plugins_origin(plugins, "good"), "built in");
	tm_plugins_close(plugins);
}
END_TEST

START_TEST(names_match_exactly_never_by_prefix)
{
	static const char *const wrong[] = { "goo", "goodx", "Good", "", "g" };
	struct tm_test_host test;
	struct tmem_plugins *plugins;

	plugins = open_with(&good_codec, NULL, &test);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		ck_assert_ptr_null(tm_plugins_find_codec(plugins, wrong[i]));
	tm_plugins_close(plugins);
}
END_TEST

/* One row per iteration, so that a failure names it. */
START_TEST(a_spoilt_table_is_refused_with_its_reason)
{
	const struct spoilt *row = &rows[_i];
	struct tmem_codec codec = good_codec;
	struct tmem_allocator allocator = good_allocator;
	struct tm_test_host test;
	struct tmem_plugins *plugins;

	if (row->codec)
		row->codec(&codec);
	else
		row->allocator(&allocator);
	plugins = open_with(row->codec ? &codec : NULL,
			    row->codec ? NULL : &allocator, &test);
	ck_assert_ptr_null(tm_plugins_codec(plugins, 0));
	ck_assert_ptr_null(tm_plugins_allocator(plugins, 0));
	ck_assert_uint_eq(test.logged, 1);
	ck_assert_msg(strstr(test.text, "refused") != NULL &&
			      strstr(test.text, row->words) != NULL,
		      "\"%s\" does not say \"%s\"", test.text, row->words);
	tm_plugins_close(plugins);
}
END_TEST

START_TEST(the_first_of_a_name_keeps_it)
{
	struct tmem_codec first = good_codec, second = good_codec;
	const struct tmem_codec *codecs[] = { &first, &second, NULL };
	struct tmem_allocator third = good_allocator;
	const struct tmem_allocator *allocators[] = { &third, NULL };
	struct tm_test_host test;
	struct tm_plugins_config config = {
		.codecs = codecs,
		.log = tm_test_host_log,
		.opaque = &test,
	};
	struct tmem_plugins *plugins;

	first.format = 1;
	second.format = 2;
	tm_test_host_init(&test);
	unsetenv("TMEM_PLUGIN_PATH");
	ck_assert_int_eq(tm_plugins_open(&config, &plugins), 0);
	ck_assert_uint_eq(tm_plugins_find_codec(plugins, "good")->format, 1);
	ck_assert_ptr_null(tm_plugins_codec(plugins, 1));
	ck_assert_ptr_nonnull(strstr(test.text, "its name good is taken"));
	tm_plugins_close(plugins);

	/* Across kinds, too: a name alone says what is meant. */
	third.name = "good";
	config.allocators = allocators;
	ck_assert_int_eq(tm_plugins_open(&config, &plugins), 0);
	ck_assert_ptr_null(tm_plugins_allocator(plugins, 0));
	tm_plugins_close(plugins);
}
END_TEST

/* A plugin of the future: a longer table, flags nobody here has heard of. */
START_TEST(a_longer_table_is_read_as_far_as_we_know)
{
	struct {
		struct tmem_codec codec;
		void *more[4];
	} future = { .codec = good_codec };
	const struct tmem_codec *seen;
	struct tm_test_host test;
	struct tmem_plugins *plugins;

	future.codec.struct_size = sizeof(future);
	future.codec.flags = UINT64_MAX;
	memset(future.more, 0xff, sizeof(future.more));
	plugins = open_with(&future.codec, NULL, &test);
	seen = tm_plugins_find_codec(plugins, "good");
	ck_assert_ptr_nonnull(seen);
	ck_assert_uint_eq(seen->struct_size, sizeof(struct tmem_codec));
	ck_assert_uint_eq(seen->flags, TMEM_CODEC_INPUT_MAY_CHANGE |
					       TMEM_CODEC_OUTPUT_MAY_CHANGE |
					       TMEM_CODEC_STORES_RAW);
	tm_plugins_close(plugins);
}
END_TEST

START_TEST(a_registry_without_a_log_works)
{
	struct tmem_codec codec = good_codec;
	const struct tmem_codec *codecs[] = { &codec, &codec, NULL };
	const struct tm_plugins_config config = { .codecs = codecs };
	struct tmem_plugins *plugins;

	unsetenv("TMEM_PLUGIN_PATH");
	ck_assert_int_eq(tm_plugins_open(&config, &plugins), 0);
	ck_assert_ptr_nonnull(tm_plugins_codec(plugins, 0));
	tm_plugins_close(plugins);
	tm_plugins_close(NULL);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("plug_validate");
	TCase *tables = tcase_create("tables");

	tcase_add_test(tables, good_tables_are_accepted);
	tcase_add_test(tables, names_match_exactly_never_by_prefix);
	tcase_add_loop_test(tables, a_spoilt_table_is_refused_with_its_reason,
			    0, sizeof(rows) / sizeof(rows[0]));
	tcase_add_test(tables, the_first_of_a_name_keeps_it);
	tcase_add_test(tables, a_longer_table_is_read_as_far_as_we_know);
	tcase_add_test(tables, a_registry_without_a_log_works);
	suite_add_tcase(suite, tables);
	return tm_test_run(suite);
}
