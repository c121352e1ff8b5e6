/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * nbdkit-tmem-plugin: a disk over tmem, for whoever speaks NBD.
 *
 * nbdkit owns the protocol, the sockets, TLS and the threads. What is left here
 * is its table of callbacks, each of which is one call of the disk (disk.h), on
 * as many threads as nbdkit likes: the disk is safe for that, and all
 * connections see one disk, so that clients may open several.
 *
 * Errors: a total table from the disk's to those that NBD knows; see
 * errno_of(). A client chooses how often it fails, so that the log gets one
 * line per second at most, with the number of those that were left out.
 *
 * nbdkit passes no pointer before a client connects, and wants a table that it
 * writes to: hence the two variables of this file.
 */
#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>

#include "clock.h"
#include "nbd_disk.h"
#include "nbd_options.h"

#define THREAD_MODEL NBDKIT_THREAD_MODEL_PARALLEL

/* nbdkit takes no longer request. */
#define REQUEST_BYTES_MAX (UINT32_C(64) << 20)
/* Calls of tm_disk_extent() for one request; a client asks for the rest. */
#define EXTENT_CALLS_MAX 4096
#define COMPLAINT_INTERVAL_MS 1000

struct server {
	/* guarded by nbdkit: one thread before it serves */
	struct tm_nbd_options options;
	struct tm_nbd_disk disk;
	/* atomic: when the log got its last line, and how many it did not */
	_Atomic uint64_t complained_ms;
	_Atomic uint32_t silenced;
};

static struct server server;

/* --- errors -------------------------------------------------------- */

/* nbdkit passes on what NBD has a number for, and makes EINVAL, "your fault",
 * of all others. */
static int errno_of(int err)
{
	switch (-err) {
	case EINVAL:
	case ENOSPC:
	case ENOMEM:
	case EROFS:
	case EOPNOTSUPP:
		return -err;
	default:
		return EIO;
	}
}

/* May this one be logged? */
static bool is_due(void)
{
	uint64_t now_ms = tm_clock_coarse_ms(tm_clock_system());
	uint64_t last_ms = atomic_load(&server.complained_ms);

	if ((!last_ms || now_ms - last_ms >= COMPLAINT_INTERVAL_MS) &&
	    atomic_compare_exchange_strong(&server.complained_ms, &last_ms,
					   now_ms))
		return true;
	atomic_fetch_add(&server.silenced, 1);
	return false;
}

/* What @what of @count bytes from @offset on answered. */
static int answer(const char *what, uint64_t offset, uint64_t count, int err)
{
	char more[48] = "";
	uint32_t silenced;

	if (err >= 0)
		return 0;
	if (is_due()) {
		silenced = atomic_exchange(&server.silenced, 0);
		if (silenced)
			snprintf(more, sizeof(more),
				 " (%" PRIu32 " more were not logged)",
				 silenced);
		nbdkit_error("%s of %" PRIu64 " bytes at %" PRIu64 ": %s%s",
			     what, count, offset,
			     err == -ENOSPC ? "tmem refused a page, and no "
					      "backing file has room for it"
					    : strerror(-err),
			     more);
	}
	nbdkit_set_error(errno_of(err));
	return -1;
}

/* --- before serving ------------------------------------------------ */

static int config(const char *key, const char *value)
{
	return tm_nbd_options_set(&server.options, key, value) ? -1 : 0;
}

static int config_complete(void)
{
	return tm_nbd_options_check(&server.options) ? -1 : 0;
}

static int get_ready(void)
{
	return tm_nbd_disk_try(&server.options) ? -1 : 0;
}

static int after_fork(void)
{
	return tm_nbd_disk_open(&server.options, &server.disk) ? -1 : 0;
}

static void cleanup(void)
{
	tm_nbd_disk_close(&server.disk);
}

static void unload(void)
{
	tm_nbd_options_clear(&server.options);
}

static void dump_plugin(void)
{
	const struct tmem_allocator *allocator;
	const struct tmem_codec *codec;
	struct tmem_plugins *plugins;

	printf("tmem_library_version=%s\n", tmem_version());
	printf("tmem_default_codec=%s\n", tmem_default_codec());
	printf("tmem_default_allocator=%s\n", tmem_default_allocator());
	if (tmem_plugins_open(NULL, NULL, NULL, &plugins))
		return;
	printf("tmem_codecs=");
	for (size_t i = 0; (codec = tmem_plugins_codec(plugins, i)); i++)
		printf("%s%s", i ? " " : "", codec->name);
	printf("\ntmem_allocators=");
	for (size_t i = 0; (allocator = tmem_plugins_allocator(plugins, i));
	     i++)
		printf("%s%s", i ? " " : "", allocator->name);
	putchar('\n');
	tmem_plugins_close(plugins);
}

/* --- what a client is told ----------------------------------------- */

static struct tm_disk *disk_of(void *handle)
{
	return ((struct tm_nbd_disk *)handle)->disk;
}

/* The server's -r is nbdkit's to enforce. */
static void *open_handle(int readonly)
{
	(void)readonly;
	return &server.disk;
}

static int64_t get_size(void *handle)
{
	return (int64_t)tm_disk_size_bytes(disk_of(handle));
}

static int can_write(void *handle)
{
	(void)handle;
	return !server.options.is_readonly;
}

/* One disk under all connections, with nothing kept per connection. */
static int can_multi_conn(void *handle)
{
	(void)handle;
	return 1;
}

/* Zeros take no memory, except in front of an image, which may have to write
 * them. */
static int can_fast_zero(void *handle)
{
	(void)handle;
	return !server.options.value[TM_NBD_image];
}

/* Parts of blocks are read, changed and written: right, but slower. */
static int block_size(void *handle, uint32_t *minimum, uint32_t *preferred,
		      uint32_t *maximum)
{
	(void)handle;
	*minimum = 1;
	*preferred = TM_BLOCK_SIZE;
	*maximum = REQUEST_BYTES_MAX;
	return 0;
}

/* --- requests ------------------------------------------------------ */

static int pread_bytes(void *handle, void *buffer, uint32_t count,
		       uint64_t offset, uint32_t flags)
{
	(void)flags;
	return answer("read", offset, count,
		      tm_disk_read(disk_of(handle), buffer, offset, count));
}

/* FUA is emulated by nbdkit, with a flush: there is nothing cheaper. */
static int pwrite_bytes(void *handle, const void *buffer, uint32_t count,
			uint64_t offset, uint32_t flags)
{
	(void)flags;
	return answer("write", offset, count,
		      tm_disk_write(disk_of(handle), buffer, offset, count));
}

static int flush(void *handle, uint32_t flags)
{
	(void)flags;
	return answer("flush", 0, 0, tm_disk_flush(disk_of(handle)));
}

/* A client asks for it only to save room. */
static int trim(void *handle, uint32_t count, uint64_t offset, uint32_t flags)
{
	int err = tm_disk_discard(disk_of(handle), offset, count);

	(void)flags;
	return err == -EOPNOTSUPP ? 0 : answer("trim", offset, count, err);
}

/* nbdkit writes what is not supported. */
static int zero(void *handle, uint32_t count, uint64_t offset, uint32_t flags)
{
	int err = tm_disk_write_zeroes(disk_of(handle), offset, count);

	(void)flags;
	if (err != -EOPNOTSUPP)
		return answer("zero", offset, count, err);
	nbdkit_set_error(EOPNOTSUPP);
	return -1;
}

static int cache(void *handle, uint32_t count, uint64_t offset, uint32_t flags)
{
	if (flags)
		return answer("cache", offset, count, -EINVAL);
	return answer("cache", offset, count,
		      tm_disk_prefetch(disk_of(handle), offset, count));
}

static int extents(void *handle, uint32_t count, uint64_t offset,
		   uint32_t flags, struct nbdkit_extents *list)
{
	uint64_t at = offset, end;
	int first = -1;

	for (int i = 0; i < EXTENT_CALLS_MAX && at < offset + count; i++) {
		int is_data = tm_disk_extent(disk_of(handle), at, &end);

		if (is_data < 0)
			return answer("extents", at, count, is_data);
		if (first >= 0 && (flags & NBDKIT_FLAG_REQ_ONE) &&
		    is_data != first)
			break;
		first = is_data;
		if (nbdkit_add_extent(list, at, end - at,
				      is_data ? 0
					      : NBDKIT_EXTENT_HOLE |
							NBDKIT_EXTENT_ZERO))
			return -1;
		at = end;
	}
	return 0;
}

static struct nbdkit_plugin plugin = {
	.name = "tmem",
	.longname = "tmem: a compressed disk in memory",
	.version = PACKAGE_VERSION,
	.description = "A disk whose blocks are compressed pages, kept in this "
		       "process or in tmemd.",
	.magic_config_key = "size",
	.config_help = TM_NBD_HELP,
	.config = config,
	.config_complete = config_complete,
	.dump_plugin = dump_plugin,
	.get_ready = get_ready,
	.after_fork = after_fork,
	.cleanup = cleanup,
	.unload = unload,
	.open = open_handle,
	.get_size = get_size,
	.can_write = can_write,
	.can_multi_conn = can_multi_conn,
	.can_fast_zero = can_fast_zero,
	.block_size = block_size,
	.pread = pread_bytes,
	.pwrite = pwrite_bytes,
	.flush = flush,
	.trim = trim,
	.zero = zero,
	.cache = cache,
	.extents = extents,
};

/* What nbdkit looks up, and its header does not declare. */
struct nbdkit_plugin *plugin_init(void);

NBDKIT_REGISTER_PLUGIN(plugin)
