/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The codec "zstd": the densest that is still quick.
 *
 * A frame here has neither magic number, content size, checksum nor
 * dictionary id: the store knows all of that, and 6 bytes are half a percent
 * of a page. Compression parameters are those the library has for the level
 * and inputs of a page's size, set once.
 *
 * Memory comes from the host and from nowhere else, which takes the part of
 * zstd.h that is marked "static linking only" (ZSTD_initStaticCCtx() and
 * ZSTD_initStaticDCtx() in blocks of estimated size): the stable part has no
 * way to count what the library takes. Those functions are exported by the
 * shared library and have not changed since 1.3; and as their estimates are
 * no promise, a context is tried on a page before it is handed out. A static
 * context never allocates later: what does not fit is an error.
 *
 * Memory of a context for pages of 4 KiB: about 180 KiB at level 3, half
 * of it for decompression, up to 370 KiB at level 22.
 *
 * The decompressor copies matches from its output, so that must not change.
 */
#include <config.h>

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#define ZSTD_STATIC_LINKING_ONLY
#include <zstd.h>

#include <tmem/codec.h>

extern const struct tmem_codec tm_codec_zstd;

#define LEVEL_FASTEST (-64)
#define LEVEL_MAX 22
#define LEVEL_DEFAULT 3
#define BLOCK_ALIGN 64

/* Of a frame as it is made here. */
#define FRAME_HEADER_BYTES 2
#define BLOCK_HEADER_BYTES 3
#define BLOCK_RUN 1

struct params {
	ZSTD_compressionParameters compression;
	size_t cctx_bytes;
	size_t dctx_bytes;
	size_t page_bytes;
};

struct context {
	ZSTD_CCtx *cctx; /* begins its block */
	ZSTD_DCtx *dctx; /* begins its block */
	size_t cctx_bytes;
	size_t dctx_bytes;
};

/* As in codec_lz4.c: what was compiled against. */
static const char *library(void)
{
	return "zstd " ZSTD_VERSION_STRING;
}

/* ZSTD_COMPRESSBOUND() without its insistence on a constant. */
static size_t bound(size_t n)
{
	return ZSTD_COMPRESSBOUND(n);
}

static int params_create(const struct tmem_host *host,
			 const struct tmem_codec_config *config,
			 void **params_out)
{
	struct params *params;

	if (config->dictionary_size)
		return -EINVAL;
	params = host->alloc(host->opaque, sizeof(*params), sizeof(size_t));
	if (!params)
		return -ENOMEM;
	params->compression =
		ZSTD_getCParams(config->level, config->page_size, 0);
	params->cctx_bytes =
		ZSTD_estimateCCtxSize_usingCParams(params->compression);
	params->dctx_bytes = ZSTD_estimateDCtxSize();
	params->page_bytes = config->page_size;
	*params_out = params;
	return 0;
}

static void params_destroy(const struct tmem_host *host, void *params)
{
	host->free(host->opaque, params, sizeof(struct params));
}

static int set_parameters(struct context *context, const struct params *params)
{
	const ZSTD_compressionParameters *c = &params->compression;
	const struct {
		ZSTD_cParameter name;
		int value;
	} rows[] = {
		{ ZSTD_c_format, ZSTD_f_zstd1_magicless },
		{ ZSTD_c_contentSizeFlag, 0 },
		{ ZSTD_c_checksumFlag, 0 },
		{ ZSTD_c_dictIDFlag, 0 },
		{ ZSTD_c_windowLog, (int)c->windowLog },
		{ ZSTD_c_hashLog, (int)c->hashLog },
		{ ZSTD_c_chainLog, (int)c->chainLog },
		{ ZSTD_c_searchLog, (int)c->searchLog },
		{ ZSTD_c_minMatch, (int)c->minMatch },
		{ ZSTD_c_targetLength, (int)c->targetLength },
		{ ZSTD_c_strategy, (int)c->strategy },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (ZSTD_isError(ZSTD_CCtx_setParameter(
			    context->cctx, rows[i].name, rows[i].value)))
			return -EINVAL;
	if (ZSTD_isError(ZSTD_DCtx_setParameter(context->dctx, ZSTD_d_format,
						ZSTD_f_zstd1_magicless)))
		return -EINVAL;
	return 0;
}

static size_t compress_page(void *context_in, const void *src, size_t n,
			    void *dst, size_t limit, uint32_t flags)
{
	struct context *context = context_in;
	size_t len;

	if (flags)
		return 0;
	len = ZSTD_compress2(context->cctx, dst, bound(n), src, n);
	return ZSTD_isError(len) || len > limit ? 0 : len;
}

/*
 * Is this one frame of the kind made above, and nothing more? The library
 * takes any number of frames, and up to 1.5.4 looks for the next one's magic
 * number in magicless input too: four bytes, whether they are there or not.
 * A frame is walked by its block headers (RFC 8878, 3.1.1.2) in no time.
 */
static bool is_one_frame(const uint8_t *src, size_t len)
{
	size_t at = FRAME_HEADER_BYTES;
	uint32_t header, size;

	/* No size, checksum, or dictionary; then the window's size. */
	if (len < at || src[0] != 0)
		return false;
	do {
		if (len - at < BLOCK_HEADER_BYTES)
			return false;
		header = src[at] | (uint32_t)src[at + 1] << 8 |
			 (uint32_t)src[at + 2] << 16;
		at += BLOCK_HEADER_BYTES;
		/* A run is one byte long; others are as long as they say. */
		size = (header >> 1 & 3) == BLOCK_RUN ? 1 : header >> 3;
		if (size > len - at)
			return false;
		at += size;
	} while (!(header & 1));
	return at == len;
}

static int decompress_page(void *context_in, const void *src, size_t len,
			   void *dst, size_t n, uint32_t flags)
{
	struct context *context = context_in;

	if (flags || !is_one_frame(src, len) ||
	    ZSTD_decompressDCtx(context->dctx, dst, n, src, len) != n)
		return -EBADMSG;
	return 0;
}

/* Lays the library's tables out, and finds out whether they fit. */
static int try_page(const struct tmem_host *host, struct context *context,
		    size_t page_bytes)
{
	size_t bytes = page_bytes + bound(page_bytes);
	uint8_t *page = host->alloc(host->opaque, bytes, BLOCK_ALIGN);
	size_t len;

	if (!page)
		return -ENOMEM;
	len = compress_page(context, page, page_bytes, page + page_bytes,
			    page_bytes, 0);
	host->free(host->opaque, page, bytes);
	return len ? 0 : -ENOMEM;
}

static void context_destroy(const struct tmem_host *host, void *context_in)
{
	struct context *context = context_in;

	if (context->cctx)
		host->free(host->opaque, context->cctx, context->cctx_bytes);
	if (context->dctx)
		host->free(host->opaque, context->dctx, context->dctx_bytes);
	host->free(host->opaque, context, sizeof(*context));
}

static int context_fill(const struct tmem_host *host, struct context *context,
			const struct params *params)
{
	void *block;

	block = host->alloc(host->opaque, params->cctx_bytes, BLOCK_ALIGN);
	context->cctx = block;
	context->cctx_bytes = params->cctx_bytes;
	if (!block || !ZSTD_initStaticCCtx(block, params->cctx_bytes))
		return -ENOMEM;
	block = host->alloc(host->opaque, params->dctx_bytes, BLOCK_ALIGN);
	context->dctx = block;
	context->dctx_bytes = params->dctx_bytes;
	if (!block || !ZSTD_initStaticDCtx(block, params->dctx_bytes) ||
	    set_parameters(context, params))
		return -ENOMEM;
	return try_page(host, context, params->page_bytes);
}

static int context_create(const struct tmem_host *host, const void *params,
			  void **context_out)
{
	struct context *context;
	int error;

	context = host->alloc(host->opaque, sizeof(*context), BLOCK_ALIGN);
	if (!context)
		return -ENOMEM;
	error = context_fill(host, context, params);
	if (error) {
		context_destroy(host, context);
		return error;
	}
	*context_out = context;
	return 0;
}

const struct tmem_codec tm_codec_zstd = {
	.abi_version = TMEM_PLUGIN_ABI_VERSION,
	.struct_size = sizeof(struct tmem_codec),
	.name = "zstd",
	.description = "Zstandard: dense, and still quick",
	.library = library,
	.format = 1,
	.level_min = LEVEL_FASTEST,
	.level_max = LEVEL_MAX,
	.level_default = LEVEL_DEFAULT,
	.bound = bound,
	.params_create = params_create,
	.params_destroy = params_destroy,
	.context_create = context_create,
	.context_destroy = context_destroy,
	.compress = compress_page,
	.decompress = decompress_page,
};
