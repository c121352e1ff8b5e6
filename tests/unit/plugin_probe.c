/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A module for the tests of module loading; what it is depends on the name of
 * the file it was copied to:
 *
 *	null.so		its entry function answers NULL
 *	other.so	it calls itself "probe"
 *	oldabi.so	its table has ABI version 9
 *	NAME.so		it calls itself NAME
 *
 * Built four times: PROBE_CODEC and PROBE_ALLOCATOR say which entry functions
 * it has. The name is kept in file-scope memory, which a plugin must not do.
 */
#include <config.h>

#include <dlfcn.h>
#include <errno.h>
#include <string.h>

#include <tmem/allocator.h>
#include <tmem/codec.h>

extern tmem_codec_entry_fn tmem_codec_entry;
extern tmem_allocator_entry_fn tmem_allocator_entry;
extern int tm_probe_is_here;

int tm_probe_is_here;

#if defined(PROBE_CODEC) || defined(PROBE_ALLOCATOR)
static char name[64];

/* 0, or -1 when the entry function is to answer NULL. */
static int find_name(const struct tmem_host *host)
{
	const char *slash;
	Dl_info info;

	if (!dladdr(&tm_probe_is_here, &info))
		return -1;
	slash = strrchr(info.dli_fname, '/');
	strncpy(name, slash ? slash + 1 : info.dli_fname, sizeof(name) - 1);
	name[strcspn(name, ".")] = '\0';
	if (!strcmp(name, "other"))
		strcpy(name, "probe");
	if (strcmp(name, "null"))
		return 0;
	host->log(host->opaque, TMEM_LOG_ERROR, "null: will not work today");
	return -1;
}
#endif

#ifdef PROBE_CODEC
static const char *library(void)
{
	return "probe 1";
}

static size_t bound(size_t n)
{
	return n;
}

static int params_create(const struct tmem_host *host,
			 const struct tmem_codec_config *config, void **params)
{
	(void)host, (void)config;
	*params = NULL;
	return 0;
}

static void destroy(const struct tmem_host *host, void *it)
{
	(void)host, (void)it;
}

static int context_create(const struct tmem_host *host, const void *params,
			  void **context)
{
	(void)host, (void)params;
	*context = NULL;
	return 0;
}

static size_t compress_page(void *context, const void *src, size_t n, void *dst,
			    size_t limit, uint32_t flags)
{
	(void)context, (void)src, (void)n, (void)dst, (void)limit, (void)flags;
	return 0;
}

static int decompress_page(void *context, const void *src, size_t len,
			   void *dst, size_t n, uint32_t flags)
{
	(void)context, (void)src, (void)len, (void)dst, (void)n, (void)flags;
	return -EBADMSG;
}

static struct tmem_codec codec = {
	.abi_version = TMEM_PLUGIN_ABI_VERSION,
	.struct_size = sizeof(struct tmem_codec),
	.name = name,
	.description = "a codec that compresses nothing",
	.library = library,
	.bound = bound,
	.params_create = params_create,
	.params_destroy = destroy,
	.context_create = context_create,
	.context_destroy = destroy,
	.compress = compress_page,
	.decompress = decompress_page,
};

const struct tmem_codec *tmem_codec_entry(const struct tmem_host *host)
{
	if (find_name(host))
		return NULL;
	if (!strcmp(name, "oldabi"))
		codec.abi_version = 9;
	return &codec;
}
#endif

#ifdef PROBE_ALLOCATOR
static int create(const struct tmem_host *host,
		  const struct tmem_frames *frames, const int64_t *options,
		  void **instance)
{
	(void)host, (void)frames, (void)options, (void)instance;
	return -ENOMEM;
}

static void destroy_instance(void *instance)
{
	(void)instance;
}

static uint32_t max_size(const void *instance)
{
	(void)instance;
	return 4096;
}

static uint64_t alloc_object(void *instance, uint32_t size, uint32_t owner,
			     uint32_t flags)
{
	(void)instance, (void)size, (void)owner, (void)flags;
	return 0;
}

static uint32_t free_object(void *instance, uint64_t handle, uint32_t flags)
{
	(void)instance, (void)handle, (void)flags;
	return 0;
}

static void *address(const void *instance, uint64_t handle)
{
	(void)instance, (void)handle;
	return NULL;
}

static void set_owner(void *instance, uint64_t handle, uint32_t owner)
{
	(void)instance, (void)handle, (void)owner;
}

static uint32_t victims(void *instance, uint64_t near, struct tmem_victim *out,
			uint32_t max)
{
	(void)instance, (void)near, (void)out, (void)max;
	return 0;
}

static int adopt(void *instance, uint64_t handle, uint32_t size, uint32_t owner)
{
	(void)instance, (void)handle, (void)size, (void)owner;
	return -EBADMSG;
}

static void stats(void *instance, struct tmem_allocator_stats *out)
{
	(void)instance, (void)out;
}

static const struct tmem_allocator allocator = {
	.abi_version = TMEM_PLUGIN_ABI_VERSION,
	.struct_size = sizeof(struct tmem_allocator),
	.name = name,
	.description = "an allocator without memory",
	.create = create,
	.destroy = destroy_instance,
	.max_size = max_size,
	.alloc = alloc_object,
	.free = free_object,
	.address = address,
	.set_owner = set_owner,
	.victims = victims,
	.adopt = adopt,
	.stats = stats,
};

const struct tmem_allocator *tmem_allocator_entry(const struct tmem_host *host)
{
	return find_name(host) ? NULL : &allocator;
}
#endif
