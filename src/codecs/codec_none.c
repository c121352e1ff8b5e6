/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The codec "none": stores pages as they are.
 *
 * It exists so that "no compression" is a choice like any other, that every
 * store has a codec whatever libraries it was built with, and that a bench
 * has something to measure the store itself by. A store that sees
 * TMEM_CODEC_STORES_RAW need not call it at all.
 *
 * It is the one codec that promises something about memory which changes
 * meanwhile: each byte is read once and written once.
 */
#include <config.h>

#include <errno.h>
#include <string.h>

#include <tmem/codec.h>

extern const struct tmem_codec tm_codec_none;

static const char *library(void)
{
	return "memcpy";
}

static size_t bound(size_t n)
{
	return n;
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

static int context_create(const struct tmem_host *host, const void *params,
			  void **context)
{
	(void)host;
	(void)params;
	*context = NULL;
	return 0;
}

static void context_destroy(const struct tmem_host *host, void *context)
{
	(void)host;
	(void)context;
}

static size_t compress_page(void *context, const void *src, size_t n, void *dst,
			    size_t limit, uint32_t flags)
{
	(void)context;
	if (n > limit || flags)
		return 0;
	memcpy(dst, src, n);
	return n;
}

static int decompress_page(void *context, const void *src, size_t len,
			   void *dst, size_t n, uint32_t flags)
{
	(void)context;
	if (len != n || flags)
		return -EBADMSG;
	memcpy(dst, src, n);
	return 0;
}

const struct tmem_codec tm_codec_none = {
	.abi_version = TMEM_PLUGIN_ABI_VERSION,
	.struct_size = sizeof(struct tmem_codec),
	.flags = TMEM_CODEC_INPUT_MAY_CHANGE | TMEM_CODEC_OUTPUT_MAY_CHANGE |
		 TMEM_CODEC_STORES_RAW,
	.name = "none",
	.description = "no compression: pages are stored as they are",
	.library = library,
	.format = 1,
	.bound = bound,
	.params_create = params_create,
	.params_destroy = params_destroy,
	.context_create = context_create,
	.context_destroy = context_destroy,
	.compress = compress_page,
	.decompress = decompress_page,
};
