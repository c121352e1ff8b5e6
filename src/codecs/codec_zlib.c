/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The codec "zlib": deflate, for who has it in hardware or in every machine.
 *
 * Raw deflate, because the store has a check of its own and six bytes of
 * header and checksum are half a percent of a page. The window is as large as
 * the page and no larger. A memLevel of 5 has hash chain heads for 4096
 * positions: on pages of live processes the ratio is that of the default
 * (8), which would clear eight times the table with each page.
 *
 * deflate() stops by itself when it has no more room, so it is given @limit
 * bytes and one more, without which it would not say that it has finished;
 * and bound(n) needs to be no larger than that.
 *
 * zlib asks for memory by callback. All it gets is what it asks for while a
 * context is made; after that the callback answers NULL. This matters for
 * damaged pages: inflate() would allocate a window to continue with, and
 * answers Z_MEM_ERROR instead.
 *
 * Memory of a context for pages of 4 KiB: about 45 KiB.
 *
 * inflate() copies matches from its output, so that must not change.
 */
#include <config.h>

#include <errno.h>
#include <string.h>

#include <zlib.h>

#include <tmem/codec.h>

extern const struct tmem_codec tm_codec_zlib;

#define MEMORY_LEVEL 5
#define WINDOW_BITS_MIN 9
#define WINDOW_BITS_MAX 15
/* deflate allocates five blocks, inflate one; some versions one more. */
#define BLOCKS_MAX 12
#define BLOCK_ALIGN 64

struct params {
	int level;
	int window_bits;
};

struct block {
	void *ptr;
	size_t size;
};

struct context {
	z_stream deflate;
	z_stream inflate;
	/* What zlib holds. */
	struct block blocks[BLOCKS_MAX];
	unsigned count;
	const struct tmem_host *host; /* NULL: no more to be had */
};

/* As in codec_lz4.c: what was compiled against. */
static const char *library(void)
{
	return "zlib " ZLIB_VERSION;
}

static size_t bound(size_t n)
{
	return n + 1;
}

static int params_create(const struct tmem_host *host,
			 const struct tmem_codec_config *config,
			 void **params_out)
{
	struct params *params;

	if (config->dictionary_size)
		return -EINVAL;
	params = host->alloc(host->opaque, sizeof(*params), sizeof(int));
	if (!params)
		return -ENOMEM;
	params->level = config->level;
	params->window_bits = WINDOW_BITS_MIN;
	while (params->window_bits < WINDOW_BITS_MAX &&
	       UINT32_C(1) << params->window_bits < config->page_size)
		params->window_bits++;
	*params_out = params;
	return 0;
}

static void params_destroy(const struct tmem_host *host, void *params)
{
	host->free(host->opaque, params, sizeof(struct params));
}

static voidpf zlib_alloc(voidpf opaque, uInt items, uInt size)
{
	struct context *context = opaque;
	struct block *block = &context->blocks[context->count];

	if (!context->host || context->count == BLOCKS_MAX)
		return NULL;
	block->size = (size_t)items * size;
	block->ptr = context->host->alloc(context->host->opaque, block->size,
					  BLOCK_ALIGN);
	if (block->ptr)
		context->count++;
	return block->ptr;
}

/* Everything goes when the context goes. */
static void zlib_free(voidpf opaque, voidpf ptr)
{
	(void)opaque;
	(void)ptr;
}

static void context_destroy(const struct tmem_host *host, void *context_in)
{
	struct context *context = context_in;

	while (context->count) {
		struct block *block = &context->blocks[--context->count];

		host->free(host->opaque, block->ptr, block->size);
	}
	host->free(host->opaque, context, sizeof(*context));
}

static int context_create(const struct tmem_host *host, const void *params_in,
			  void **context_out)
{
	const struct params *params = params_in;
	struct context *context;
	int error;

	context = host->alloc(host->opaque, sizeof(*context), BLOCK_ALIGN);
	if (!context)
		return -ENOMEM;
	context->host = host;
	context->deflate.zalloc = context->inflate.zalloc = zlib_alloc;
	context->deflate.zfree = context->inflate.zfree = zlib_free;
	context->deflate.opaque = context->inflate.opaque = context;
	error = deflateInit2(&context->deflate, params->level, Z_DEFLATED,
			     -params->window_bits, MEMORY_LEVEL,
			     Z_DEFAULT_STRATEGY);
	if (error == Z_OK)
		error = inflateInit2(&context->inflate, -WINDOW_BITS_MAX);
	if (error != Z_OK) {
		context_destroy(host, context);
		return -ENOMEM;
	}
	context->host = NULL;
	*context_out = context;
	return 0;
}

static size_t compress_page(void *context_in, const void *src, size_t n,
			    void *dst, size_t limit, uint32_t flags)
{
	struct context *context = context_in;
	z_stream *stream = &context->deflate;

	if (flags || deflateReset(stream) != Z_OK)
		return 0;
	stream->next_in = (Bytef *)(uintptr_t)src;
	stream->avail_in = (uInt)n;
	stream->next_out = dst;
	stream->avail_out = (uInt)limit + 1;
	if (deflate(stream, Z_FINISH) != Z_STREAM_END || !stream->avail_out)
		return 0;
	return limit + 1 - stream->avail_out;
}

static int decompress_page(void *context_in, const void *src, size_t len,
			   void *dst, size_t n, uint32_t flags)
{
	struct context *context = context_in;
	z_stream *stream = &context->inflate;

	if (flags || inflateReset(stream) != Z_OK)
		return -EBADMSG;
	stream->next_in = (Bytef *)(uintptr_t)src;
	stream->avail_in = (uInt)len;
	stream->next_out = dst;
	stream->avail_out = (uInt)n;
	if (inflate(stream, Z_FINISH) != Z_STREAM_END || stream->avail_in ||
	    stream->avail_out)
		return -EBADMSG;
	return 0;
}

const struct tmem_codec tm_codec_zlib = {
	.abi_version = TMEM_PLUGIN_ABI_VERSION,
	.struct_size = sizeof(struct tmem_codec),
	.name = "zlib",
	.description = "raw deflate: slow, everywhere, and in hardware",
	.library = library,
	.format = 1,
	.level_min = 1,
	.level_max = 9,
	.level_default = 6,
	.bound = bound,
	.params_create = params_create,
	.params_destroy = params_destroy,
	.context_create = context_create,
	.context_destroy = context_destroy,
	.compress = compress_page,
	.decompress = decompress_page,
};
