/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The codec "lz4": the fastest, and the default.
 *
 * Levels follow the lz4 program: 1 is its normal compressor, -N trades ratio
 * for speed by an acceleration of N (`lz4 --fast=N`), 2 to 9 are its slow
 * compressor LZ4HC. LZ4HC's levels from 10 on are left out: their optimal
 * parser calls malloc() for every page.
 *
 * The normal compressor is called with a state of ours that it clears each
 * time, LZ4_compress_fast_extState(). Clearing 16 KiB for a page of 4 KiB
 * looks wasteful, but measured on pages of live processes it is 1 to 2 % of
 * the call, and the ways around it lose more: a stream that is reset without
 * clearing (LZ4_resetStream_fast and LZ4_compress_fast_continue) works on
 * 32-bit positions in a table with half as many entries, is 3 to 5 % slower on
 * process pages and 40 % on incompressible ones. The variant that would do
 * both, LZ4_compress_fast_extState_fastReset(), is no part of the library's
 * dynamic interface. An output limit below LZ4_COMPRESSBOUND makes every
 * sequence check for room and gains nothing, so @limit is applied afterwards.
 *
 * LZ4HC's state is 256 KiB, which no page wants cleared. There the fast reset
 * is the right one: it moves on the positions, so that nothing found before
 * is within reach, and the result does not depend on the page before.
 *
 * Memory of a context: 16 KiB, or 256 KiB for levels above 1.
 *
 * LZ4_decompress_safe() copies matches from what it has written, so its
 * output must not change meanwhile; nothing is promised of the input.
 */
#include <config.h>

#include <errno.h>
#include <string.h>

#include <lz4.h>
#include <lz4hc.h>

#include <tmem/codec.h>

extern const struct tmem_codec tm_codec_lz4;

#define LEVEL_FAST 1
#define LEVEL_MAX 9
#define ACCELERATION_MAX 64
#define STATE_ALIGN 64

struct params {
	int level;
};

struct context {
	void *state;
	size_t state_bytes;
	int level;
	int acceleration; /* of the fast levels */
};

/* The version compiled against: the one in use cannot be put into one string
 * without a buffer that is shared. */
static const char *library(void)
{
	return "lz4 " LZ4_VERSION_STRING;
}

static size_t bound(size_t n)
{
	return n + n / 255 + 16;
}

static int params_create(const struct tmem_host *host,
			 const struct tmem_codec_config *config,
			 void **params_out)
{
	struct params *params;

	if (config->dictionary_size || config->page_size > LZ4_MAX_INPUT_SIZE)
		return -EINVAL;
	params = host->alloc(host->opaque, sizeof(*params), sizeof(int));
	if (!params)
		return -ENOMEM;
	params->level = config->level;
	*params_out = params;
	return 0;
}

static void params_destroy(const struct tmem_host *host, void *params)
{
	host->free(host->opaque, params, sizeof(struct params));
}

static int context_create(const struct tmem_host *host, const void *params_in,
			  void **context_out)
{
	const struct params *params = params_in;
	int bytes = params->level > LEVEL_FAST ? LZ4_sizeofStateHC()
					       : LZ4_sizeofState();
	struct context *context;

	context = host->alloc(host->opaque, sizeof(*context), STATE_ALIGN);
	if (!context)
		return -ENOMEM;
	context->state_bytes = (size_t)bytes;
	context->state =
		host->alloc(host->opaque, context->state_bytes, STATE_ALIGN);
	if (!context->state) {
		host->free(host->opaque, context, sizeof(*context));
		return -ENOMEM;
	}
	context->level = params->level;
	context->acceleration = params->level < 0 ? -params->level : 1;
	if (context->level > LEVEL_FAST)
		LZ4_initStreamHC(context->state, context->state_bytes);
	*context_out = context;
	return 0;
}

static void context_destroy(const struct tmem_host *host, void *context_in)
{
	struct context *context = context_in;

	host->free(host->opaque, context->state, context->state_bytes);
	host->free(host->opaque, context, sizeof(*context));
}

static int compress_hc(struct context *context, const void *src, size_t n,
		       void *dst)
{
	LZ4_streamHC_t *stream = context->state;

	LZ4_resetStreamHC_fast(stream, context->level);
	return LZ4_compress_HC_continue(stream, src, dst, (int)n,
					(int)bound(n));
}

static size_t compress_page(void *context_in, const void *src, size_t n,
			    void *dst, size_t limit, uint32_t flags)
{
	struct context *context = context_in;
	int len;

	if (flags)
		return 0;
	if (context->level > LEVEL_FAST)
		len = compress_hc(context, src, n, dst);
	else
		len = LZ4_compress_fast_extState(context->state, src, dst,
						 (int)n, (int)bound(n),
						 context->acceleration);
	return len > 0 && (size_t)len <= limit ? (size_t)len : 0;
}

static int decompress_page(void *context, const void *src, size_t len,
			   void *dst, size_t n, uint32_t flags)
{
	(void)context;
	if (flags || LZ4_decompress_safe(src, dst, (int)len, (int)n) != (int)n)
		return -EBADMSG;
	return 0;
}

const struct tmem_codec tm_codec_lz4 = {
	.abi_version = TMEM_PLUGIN_ABI_VERSION,
	.struct_size = sizeof(struct tmem_codec),
	.name = "lz4",
	.description = "LZ4 blocks: fastest; LZ4HC from level 2 on",
	.library = library,
	.format = 1,
	.level_min = -ACCELERATION_MAX,
	.level_max = LEVEL_MAX,
	.level_default = LEVEL_FAST,
	.bound = bound,
	.params_create = params_create,
	.params_destroy = params_destroy,
	.context_create = context_create,
	.context_destroy = context_destroy,
	.compress = compress_page,
	.decompress = decompress_page,
};
