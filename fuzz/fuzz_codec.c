/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Fuzz target: one codec, both directions.
 *
 * Built once per codec, with TM_FUZZ_CODEC its name. Built without, it takes
 * the codec that the environment variable TMEM_FUZZ_CODEC names, or else lets
 * the input choose one of all that the registry has; so plugins of others are
 * fuzzed by putting them on TMEM_PLUGIN_PATH.
 *
 * An input is two bytes and a rest of up to a page:
 *
 *	byte 0, low two bits	what to do
 *		0, 3	round trip: the rest is the page
 *		1	decompress the rest, whatever it is, to n bytes
 *		2	compress the rest, damage the result, decompress that
 *	byte 0, other bits	which level (and which codec)
 *	byte 1			the limit, or n, or where the damage is
 *
 * All buffers are of the exact size, so that ASan sees one byte too many.
 * What must hold: a page comes back as it was, lengths stay below the limit,
 * decompression answers 0 or -EBADMSG, and the codec is never caught at
 * anything by the checking layer.
 */
#include <config.h>

#include "plug.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <tmem/tmem.h>

#define LEVELS 4
#define CODECS_MAX 32

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* --- a host, for as long as the process lives */

static void host_log(void *opaque, enum tmem_log_level level, const char *text)
{
	(void)opaque;
	if (level == TMEM_LOG_ERROR)
		fprintf(stderr, "%s\n", text);
}

static uint64_t host_now_ns(void *opaque)
{
	(void)opaque;
	return (uint64_t)clock() + 1;
}

static void *host_alloc(void *opaque, size_t size, size_t align)
{
	void *ptr;

	(void)opaque;
	if (posix_memalign(&ptr, align < sizeof(ptr) ? sizeof(ptr) : align,
			   size))
		return NULL;
	return memset(ptr, 0, size);
}

static void host_free(void *opaque, void *ptr, size_t size)
{
	(void)opaque;
	(void)size;
	free(ptr);
}

static const struct tmem_host host = {
	.abi_version = TMEM_PLUGIN_ABI_VERSION,
	.struct_size = sizeof(struct tmem_host),
	.log = host_log,
	.now_ns = host_now_ns,
	.alloc = host_alloc,
	.free = host_free,
};

/* --- codecs, opened when they are first wanted */

static struct tmem_plugins *plugins;
static struct tm_codec_context *contexts[CODECS_MAX][LEVELS];

static _Noreturn void fail(const char *what)
{
	fprintf(stderr, "fuzz_codec: %s\n", what);
	abort();
}

static const char *wanted_name(void)
{
#ifdef TM_FUZZ_CODEC
	return TM_FUZZ_CODEC;
#else
	return getenv("TMEM_FUZZ_CODEC");
#endif
}

/* The number of the codec to test; @choice counts when none is wanted. */
static size_t choose(unsigned choice)
{
	const char *name = wanted_name();
	const struct tmem_codec *codec;
	size_t count = 0;

	while ((codec = tmem_plugins_codec(plugins, count)) &&
	       count < CODECS_MAX) {
		if (name && !strcmp(codec->name, name))
			return count;
		count++;
	}
	if (name)
		fail("there is no codec of that name");
	return choice % count;
}

static struct tm_codec_context *context_of(unsigned choice)
{
	size_t n = choose(choice / LEVELS);
	const struct tmem_codec *table = tmem_plugins_codec(plugins, n);
	const int levels[LEVELS] = { table->level_default, table->level_min,
				     (table->level_default + table->level_max +
				      1) / 2,
				     table->level_max };
	struct tm_codec_context **context = &contexts[n][choice % LEVELS];
	struct tm_codec *codec;
	char spec[40];

	if (*context)
		return *context;
	snprintf(spec, sizeof(spec), "%s:%d", table->name,
		 levels[choice % LEVELS]);
	if (tm_codec_open(plugins, spec, TMEM_PAGE_SIZE, &host, &codec) ||
	    tm_codec_context_create(codec, context))
		fail("a codec cannot be opened");
	return *context;
}

/* A copy of the exact size; of nothing, one byte that is not read. */
static uint8_t *copy_of(const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size ? size : 1);

	if (!copy)
		fail("no memory");
	if (size)
		memcpy(copy, data, size);
	return copy;
}

/* --- what to do */

static void decompress_any(struct tm_codec_context *context,
			   const uint8_t *data, size_t size, size_t n)
{
	uint8_t *src = copy_of(data, size);
	uint8_t *dst = malloc(n);
	int error = tm_codec_decompress(context, src, size, dst, n);

	if (error && error != -EBADMSG)
		fail("decompression answers neither 0 nor -EBADMSG");
	free(dst);
	free(src);
}

static void round_trip(struct tm_codec_context *context, const uint8_t *data,
		       size_t size, size_t limit)
{
	uint8_t *page = copy_of(data, size);
	uint8_t *back = malloc(size);
	size_t len = tm_codec_compress(context, page, size, limit);

	if (len > limit)
		fail("longer than the limit");
	if (memcmp(page, data, size))
		fail("compression changed the page");
	if (len) {
		uint8_t *src = copy_of(context->output, len);

		if (tm_codec_decompress(context, src, len, back, size) ||
		    memcmp(page, back, size))
			fail("the page did not come back");
		free(src);
	}
	free(back);
	free(page);
}

static void damage(struct tm_codec_context *context, const uint8_t *data,
		   size_t size, unsigned where)
{
	size_t len = tm_codec_compress(context, data, size, size);
	uint8_t *src;

	if (!len)
		return;
	src = copy_of(context->output, len);
	src[where * len >> 8] ^= data[size - 1] | 1;
	decompress_any(context, src, len, size);
	decompress_any(context, src, len - (where & 7) % len, size);
	free(src);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tm_codec_context *context;

	if (!plugins && tmem_plugins_open(NULL, host_log, NULL, &plugins))
		fail("no memory");
	if (size < 3 || size > 2 + TMEM_PAGE_SIZE)
		return 0;
	context = context_of(data[0] >> 2);
	switch (data[0] & 3) {
	case 1:
		decompress_any(context, data + 2, size - 2,
			       1 + data[1] * (TMEM_PAGE_SIZE - 1) / 255);
		break;
	case 2:
		damage(context, data + 2, size - 2, data[1]);
		break;
	default:
		round_trip(context, data + 2, size - 2,
			   1 + data[1] * (size - 3) / 255);
		break;
	}
	if (tm_codec_errors(context->codec))
		fail("the codec broke its contract");
	return 0;
}
