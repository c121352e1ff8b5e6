/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The checks around every call of a codec (src/plug/checked_codec.c): how one
 * is named, what a lying one costs, and that all memory comes back.
 *
 * The liar below breaks its contract in the way that its level says. What a
 * codec is caught at must be turned into the harmless answer, counted, and
 * logged at most once a second.
 */
#include <config.h>

#include "harness.h"
#include "plug.h"
#include "test_host.h"

#define PAGE 4096

enum lie {
	LIE_NONE, /* stores what it is given */
	LIE_LONG, /* answers more than the limit */
	LIE_HUGE, /* answers SIZE_MAX */
	LIE_OVERRUN, /* writes one byte too many */
	LIE_UNDERRUN, /* writes one byte before its buffer */
	LIE_POSITIVE, /* decompress answers a length */
	LIE_ERRNO, /* decompress answers another error */
};

struct liar {
	enum lie lie;
};

static const char *library(void)
{
	return "liar 1";
}

static size_t bound(size_t n)
{
	return n + 1;
}

static int params_create(const struct tmem_host *host,
			 const struct tmem_codec_config *config, void **params)
{
	struct liar *liar = host->alloc(host->opaque, sizeof(*liar), 8);

	if (!liar)
		return -ENOMEM;
	liar->lie = (enum lie)config->level;
	*params = liar;
	return 0;
}

static void params_destroy(const struct tmem_host *host, void *params)
{
	host->free(host->opaque, params, sizeof(struct liar));
}

static int context_create(const struct tmem_host *host, const void *params,
			  void **context)
{
	struct liar *liar = host->alloc(host->opaque, sizeof(*liar), 8);

	if (!liar)
		return -ENOMEM;
	*liar = *(const struct liar *)params;
	*context = liar;
	return 0;
}

static void context_destroy(const struct tmem_host *host, void *context)
{
	host->free(host->opaque, context, sizeof(struct liar));
}

static size_t compress_page(void *context, const void *src, size_t n, void *dst,
			    size_t limit, uint32_t flags)
{
	const struct liar *liar = context;
	uint8_t *out = dst;

	(void)flags;
	memcpy(out, src, n);
	switch (liar->lie) {
	case LIE_LONG:
		return limit + 1;
	case LIE_HUGE:
		return SIZE_MAX;
	case LIE_OVERRUN:
		out[bound(n)] = 1;
		break;
	case LIE_UNDERRUN:
		out[-1] = 1;
		break;
	default:
		break;
	}
	return n <= limit ? n : 0;
}

static int decompress_page(void *context, const void *src, size_t len,
			   void *dst, size_t n, uint32_t flags)
{
	const struct liar *liar = context;

	(void)flags;
	if (liar->lie == LIE_POSITIVE)
		return (int)n;
	if (liar->lie == LIE_ERRNO)
		return -EIO;
	if (len != n)
		return -EBADMSG;
	memcpy(dst, src, n);
	return 0;
}

static const struct tmem_codec liar_codec = {
	.abi_version = TMEM_PLUGIN_ABI_VERSION,
	.struct_size = sizeof(struct tmem_codec),
	.name = "liar",
	.description = "a codec that lies as its level says",
	.library = library,
	.level_min = LIE_NONE,
	.level_max = LIE_ERRNO,
	.level_default = LIE_NONE,
	.bound = bound,
	.params_create = params_create,
	.params_destroy = params_destroy,
	.context_create = context_create,
	.context_destroy = context_destroy,
	.compress = compress_page,
	.decompress = decompress_page,
};

/* --- */

static struct tm_test_host test;
static struct tmem_plugins *plugins;

static void setup(void)
{
	static const struct tmem_codec *const codecs[] = { &liar_codec, NULL };
	const struct tm_plugins_config config = { .codecs = codecs };

	unsetenv("TMEM_PLUGIN_PATH");
	tm_test_host_init(&test);
	ck_assert_int_eq(tm_plugins_open(&config, &plugins), 0);
}

static void teardown(void)
{
	tm_plugins_close(plugins);
	ck_assert_uint_eq(atomic_load(&test.used_bytes), 0);
}

static int codec_open(const char *spec, struct tm_codec **codec)
{
	return tm_codec_open(plugins, spec, PAGE, &test.host, codec);
}

static struct tm_codec_context *liar_open(enum lie lie)
{
	struct tm_codec_context *context;
	struct tm_codec *codec;
	char spec[32];

	snprintf(spec, sizeof(spec), "liar:%d", (int)lie);
	ck_assert_int_eq(codec_open(spec, &codec), 0);
	ck_assert_int_eq(tm_codec_context_create(codec, &context), 0);
	return context;
}

static void liar_close(struct tm_codec_context *context)
{
	struct tm_codec *codec = context->codec;

	tm_codec_context_destroy(context);
	tm_codec_close(codec);
}

START_TEST(a_spec_is_a_name_and_perhaps_a_level)
{
	struct tm_codec *codec;

	ck_assert_int_eq(codec_open("liar", &codec), 0);
	ck_assert_int_eq(codec->level, LIE_NONE);
	ck_assert_uint_eq(codec->bound_bytes, PAGE + 1);
	tm_codec_close(codec);
	ck_assert_int_eq(codec_open("liar:3", &codec), 0);
	ck_assert_int_eq(codec->level, 3);
	tm_codec_close(codec);
	ck_assert_uint_eq(test.logged, 0);
}
END_TEST

START_TEST(a_wrong_spec_is_refused_and_named)
{
	static const struct {
		const char *spec;
		const char *words;
	} wrong[] = {
		{ "lair", "no codec \"lair\"" },
		{ "", "no codec \"\"" },
		{ ":3", "no codec \"\"" },
		{ "liars", "no codec \"liars\"" },
		{ "lia", "no codec \"lia\"" },
		{ "LIAR", "no codec \"LIAR\"" },
		{ "a-name-far-too-long-for-one", "no codec \"a-name" },
		{ "liar:", "\"\" is not a level" },
		{ "liar:x", "\"x\" is not a level" },
		{ "liar:1x", "\"1x\" is not a level" },
		{ "liar: 1", "\" 1\" is not a level" },
		{ "liar:+1", "\"+1\" is not a level" },
		{ "liar:-", "\"-\" is not a level" },
		{ "liar:1:1", "\"1:1\" is not a level" },
		{ "liar:7", "level 7 is not one of 0 to 6" },
		{ "liar:-1", "level -1 is not one of 0 to 6" },
		{ "liar:99999999999999999999", "is not one of 0 to 6" },
		{ "liar:4294967296", "is not one of 0 to 6" },
	};
	struct tm_codec *codec;

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		ck_assert_int_eq(codec_open(wrong[i].spec, &codec), -EINVAL);
		ck_assert_msg(strstr(test.text, wrong[i].words) != NULL,
			      "\"%s\" does not say \"%s\"", test.text,
			      wrong[i].words);
	}
	ck_assert_int_eq(codec_open("lair", &codec), -EINVAL);
	ck_assert_ptr_nonnull(strstr(test.text, "did you mean liar?"));
}
END_TEST

START_TEST(no_memory_at_any_point_is_no_memory_and_no_leak)
{
	struct tm_codec_context *context;
	struct tm_codec *codec;
	int error = -ENOMEM;

	for (size_t n = 0; error; n++) {
		ck_assert_uint_lt(n, 10);
		atomic_store(&test.allocs_left, n);
		error = codec_open("liar", &codec);
		if (error) {
			ck_assert_int_eq(error, -ENOMEM);
			continue;
		}
		error = tm_codec_context_create(codec, &context);
		ck_assert(error == 0 || error == -ENOMEM);
		if (!error)
			tm_codec_context_destroy(context);
		tm_codec_close(codec);
		ck_assert_uint_eq(atomic_load(&test.used_bytes), 0);
	}
}
END_TEST

START_TEST(an_honest_codec_is_believed)
{
	struct tm_codec_context *context = liar_open(LIE_NONE);
	uint8_t page[PAGE], back[PAGE];

	memset(page, 7, sizeof(page));
	ck_assert_uint_eq(tm_codec_compress(context, page, PAGE, PAGE), PAGE);
	ck_assert_int_eq(
		tm_codec_decompress(context, context->output, PAGE, back, PAGE),
		0);
	ck_assert_mem_eq(page, back, PAGE);
	ck_assert_uint_eq(tm_codec_compress(context, page, PAGE, PAGE - 1), 0);
	ck_assert_uint_eq(tm_codec_errors(context->codec), 0);
	liar_close(context);
}
END_TEST

START_TEST(a_codec_that_lies_about_lengths_compresses_nothing)
{
	static const enum lie lies[] = { LIE_LONG, LIE_HUGE, LIE_OVERRUN,
					 LIE_UNDERRUN };
	uint8_t page[PAGE] = { 0 };

	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		struct tm_codec_context *context = liar_open(lies[i]);
		unsigned logged = test.logged;

		ck_assert_uint_eq(tm_codec_compress(context, page, PAGE, PAGE),
				  0);
		ck_assert_uint_eq(tm_codec_errors(context->codec), 1);
		ck_assert_uint_eq(test.logged, logged + 1);
		ck_assert_ptr_nonnull(strstr(test.text, "codec liar"));
		/* What it did does not stick to the next page. */
		ck_assert(tm_codec_canaries_are_intact(context));
		liar_close(context);
	}
}
END_TEST

START_TEST(a_codec_that_lies_about_success_is_damage)
{
	static const enum lie lies[] = { LIE_POSITIVE, LIE_ERRNO };
	uint8_t page[PAGE] = { 0 };

	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		struct tm_codec_context *context = liar_open(lies[i]);

		ck_assert_int_eq(
			tm_codec_decompress(context, page, PAGE, page, PAGE),
			-EBADMSG);
		ck_assert_uint_eq(tm_codec_errors(context->codec), 1);
		liar_close(context);
	}
}
END_TEST

START_TEST(lengths_that_no_page_has_never_reach_the_codec)
{
	struct tm_codec_context *context = liar_open(LIE_POSITIVE);
	uint8_t page[PAGE] = { 0 };

	ck_assert_int_eq(tm_codec_decompress(context, page, 0, page, PAGE),
			 -EBADMSG);
	ck_assert_int_eq(
		tm_codec_decompress(context, page, PAGE + 2, page, PAGE),
		-EBADMSG);
	ck_assert_uint_eq(tm_codec_errors(context->codec), 0);
	liar_close(context);
}
END_TEST

START_TEST(errors_are_all_counted_and_logged_once_a_second)
{
	struct tm_codec_context *context = liar_open(LIE_LONG);
	uint8_t page[PAGE] = { 0 };

	for (int i = 0; i < 100; i++)
		tm_codec_compress(context, page, PAGE, PAGE);
	ck_assert_uint_eq(test.logged, 1);
	test.now_ns += 2000000000;
	for (int i = 0; i < 100; i++)
		tm_codec_compress(context, page, PAGE, PAGE);
	ck_assert_uint_eq(test.logged, 2);
	ck_assert_uint_eq(tm_codec_errors(context->codec), 200);
	liar_close(context);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		a_spec_is_a_name_and_perhaps_a_level,
		a_wrong_spec_is_refused_and_named,
		no_memory_at_any_point_is_no_memory_and_no_leak,
		an_honest_codec_is_believed,
		a_codec_that_lies_about_lengths_compresses_nothing,
		a_codec_that_lies_about_success_is_damage,
		lengths_that_no_page_has_never_reach_the_codec,
		errors_are_all_counted_and_logged_once_a_second,
	};
	Suite *suite = suite_create("plug_codec");
	TCase *all = tcase_create("all");

	tcase_add_checked_fixture(all, setup, teardown);
	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
		tcase_add_test(all, tests[i]);
	suite_add_tcase(suite, all);
	return tm_test_run(suite);
}
