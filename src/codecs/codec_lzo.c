/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The codec "lzo": LZO1X-1, what compressed swap began with.
 *
 * liblzo2 is under the GPL, the rest of tmem is not. So this codec is a module
 * of its own, loaded at run time, and nothing else links that library.
 *
 * LZO1X-1 has no levels. Its decompressor is the one with overrun tests. It
 * clears its work memory with every page, so that pages do not depend on each
 * other, and stops early for nothing: @limit is applied afterwards.
 *
 * Memory of a context: 128 KiB, of which LZO touches 32.
 *
 * Both directions read what they may still write, or read twice, so memory
 * that changes meanwhile is not allowed.
 */
#include <config.h>

#include <errno.h>
#include <string.h>

#include <lzo/lzo1x.h>

#include <tmem/codec.h>

#define WORK_ALIGN 64

extern tmem_codec_entry_fn tmem_codec_entry;

static const char *library(void)
{
	return "lzo " LZO_VERSION_STRING;
}

/* From LZO's FAQ: the worst that incompressible data grow by. */
static size_t bound(size_t n)
{
	return n + n / 16 + 64 + 3;
}

static int params_create(const struct tmem_host *host,
			 const struct tmem_codec_config *config, void **params)
{
	(void)host;
	*params = NULL;
	return config->dictionary_size ? -EINVAL : 0;
}

static void params_destroy(const struct tmem_host *host, void *params)
{
	(void)host;
	(void)params;
}

/* The context is LZO's work memory and nothing else. */
static int context_create(const struct tmem_host *host, const void *params,
			  void **context)
{
	(void)params;
	*context = host->alloc(host->opaque, LZO1X_1_MEM_COMPRESS, WORK_ALIGN);
	return *context ? 0 : -ENOMEM;
}

static void context_destroy(const struct tmem_host *host, void *context)
{
	host->free(host->opaque, context, LZO1X_1_MEM_COMPRESS);
}

static size_t compress_page(void *context, const void *src, size_t n, void *dst,
			    size_t limit, uint32_t flags)
{
	lzo_uint len = 0;

	if (flags || lzo1x_1_compress(src, n, dst, &len, context) != LZO_E_OK)
		return 0;
	return len <= limit ? len : 0;
}

static int decompress_page(void *context, const void *src, size_t len,
			   void *dst, size_t n, uint32_t flags)
{
	lzo_uint got = n;

	(void)context;
	if (flags ||
	    lzo1x_decompress_safe(src, len, dst, &got, NULL) != LZO_E_OK ||
	    got != n)
		return -EBADMSG;
	return 0;
}

static const struct tmem_codec codec = {
	.abi_version = TMEM_PLUGIN_ABI_VERSION,
	.struct_size = sizeof(struct tmem_codec),
	.name = "lzo",
	.description = "LZO1X-1: fast, and older than LZ4",
	.library = library,
	.format = 1,
	.level_min = 1,
	.level_max = 1,
	.level_default = 1,
	.bound = bound,
	.params_create = params_create,
	.params_destroy = params_destroy,
	.context_create = context_create,
	.context_destroy = context_destroy,
	.compress = compress_page,
	.decompress = decompress_page,
};

const struct tmem_codec *tmem_codec_entry(const struct tmem_host *host)
{
	if (lzo_init() == LZO_E_OK)
		return &codec;
	host->log(host->opaque, TMEM_LOG_ERROR,
		  "lzo: liblzo2 was built with other types than its headers");
	return NULL;
}
