/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The codec "abi1": run lengths, compiled against the headers of ABI 1 as they
 * were when it was frozen, and never changed since.
 *
 * A form is a sequence of pairs (length - 1, byte). It is here to be loaded by
 * every later build, not to be useful.
 */
#include <errno.h>
#include <string.h>

#include <tmem/codec.h>

extern tmem_codec_entry_fn tmem_codec_entry;

struct context {
	int32_t level;
};

static const char *library(void)
{
	return "abi1 1";
}

static size_t bound(size_t n)
{
	return n + 2;
}

static int params_create(const struct tmem_host *host,
			 const struct tmem_codec_config *config, void **params)
{
	struct context *p;

	if (host->abi_version != 1 || host->struct_size < sizeof(*host) ||
	    config->struct_size < sizeof(*config))
		return -EINVAL;
	p = host->alloc(host->opaque, sizeof(*p), 64);
	if (!p)
		return -ENOMEM;
	p->level = config->level;
	*params = p;
	return 0;
}

static void params_destroy(const struct tmem_host *host, void *params)
{
	host->free(host->opaque, params, sizeof(struct context));
}

static int context_create(const struct tmem_host *host, const void *params,
			  void **context)
{
	*context = host->alloc(host->opaque, sizeof(struct context), 64);
	if (!*context)
		return -ENOMEM;
	memcpy(*context, params, sizeof(struct context));
	return 0;
}

static void context_destroy(const struct tmem_host *host, void *context)
{
	host->free(host->opaque, context, sizeof(struct context));
}

static size_t compress_page(void *context, const void *src_in, size_t n,
			    void *dst, size_t limit, uint32_t flags)
{
	/* Level 1 finds shorter runs only: any form is good for any level. */
	size_t longest = ((struct context *)context)->level > 1 ? 256 : 128;
	const uint8_t *src = src_in;
	uint8_t *out = dst;
	size_t len = 0;

	for (size_t i = 0; i < n && !flags;) {
		size_t run = 1;

		while (i + run < n && run < longest && src[i + run] == src[i])
			run++;
		if (len + 2 > limit)
			return 0;
		out[len++] = (uint8_t)(run - 1);
		out[len++] = src[i];
		i += run;
	}
	return len;
}

static int decompress_page(void *context, const void *src_in, size_t len,
			   void *dst, size_t n, uint32_t flags)
{
	const uint8_t *src = src_in;
	size_t at = 0;

	(void)context;
	if (flags || len % 2)
		return -EBADMSG;
	for (size_t i = 0; i < len; i += 2) {
		size_t run = (size_t)src[i] + 1;

		if (run > n - at)
			return -EBADMSG;
		memset((uint8_t *)dst + at, src[i + 1], run);
		at += run;
	}
	return at == n ? 0 : -EBADMSG;
}

static const struct tmem_option options[] = {
	{ "unused", TMEM_OPTION_INTEGER, "bytes", 0, 100, 10, "does nothing" },
	{ NULL, TMEM_OPTION_INTEGER, NULL, 0, 0, 0, NULL },
};

static const struct tmem_codec codec = {
	.abi_version = TMEM_PLUGIN_ABI_VERSION,
	.struct_size = sizeof(struct tmem_codec),
	.flags = TMEM_CODEC_OUTPUT_MAY_CHANGE,
	.name = "abi1",
	.description = "run lengths, from the days of ABI 1",
	.library = library,
	.format = 7,
	.level_min = 1,
	.level_max = 2,
	.level_default = 2,
	.options = options,
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
	host->log(host->opaque, TMEM_LOG_DEBUG, "abi1: here");
	return host->now_ns(host->opaque) ? &codec : NULL;
}
