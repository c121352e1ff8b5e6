/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The driver: cleancache and frontswap as hypercalls.
 *
 *	mount			NEW_POOL, ephemeral, private or shared
 *	get, put, invalidate	GET_PAGE, PUT_PAGE, FLUSH_PAGE: a file's key is
 *				the object's name as it stands
 *	invalidate inode, fs	FLUSH_OBJECT, DESTROY_POOL
 *	swapon			NEW_POOL, persistent; one for all devices
 *	store, load, invalidate	PUT_PAGE, GET_PAGE, FLUSH_PAGE (see swizzle.h)
 *	swapoff			FLUSH_OBJECT, 16 times
 *
 * An index has 32 bits: what does not fit is a miss, and is refused.
 *
 * A put that failed otherwise than by being refused (its frame could not be
 * read, its answer did not come) may have left an older page where it was. The
 * caller of a cleancache hears nothing of that, so the page is flushed; the
 * front end of swap does so by itself.
 *
 * What is on is decided once, by the rules of the original: not a guest,
 * nothing; built in, the word `tmem`; no frontswap, no selfballooning. Order
 * and words of what is logged are the original's too, since people grep them.
 *
 * Locks: none; frontswap's pool is made under frontswap's own lock.
 */
#include <config.h>

#include <stdatomic.h>
#include <stdlib.h>

#include <tmem/linux.h>

#include "swizzle.h"
#include "versions.h"

#define VERSION_FLAGS                                                          \
	((uint32_t)TMEM_XEN_SPEC_VERSION << TMEM_XEN_POOL_VERSION_SHIFT)

struct tmem_driver {
	/* set at creation, then constant */
	struct tmem_hypercall *hypercall;
	uint32_t enabled;
	/* of frontswap; -1: none yet */
	_Atomic int swap_pool;
};

/* --- hypercalls --------------------------------------------------------------
 */

static int new_pool(struct tmem_driver *driver, uint32_t flags,
		    const uint8_t uuid[16])
{
	struct tmem_xen_op op = { .cmd = TMEM_XEN_NEW_POOL };

	op.u.creat.flags = VERSION_FLAGS | flags;
	if (uuid)
		memcpy(op.u.creat.uuid, uuid, sizeof(op.u.creat.uuid));
	return driver->hypercall->call(driver->hypercall, &op, NULL);
}

static void destroy_pool(struct tmem_driver *driver, int pool)
{
	const struct tmem_xen_op op = { .cmd = TMEM_XEN_DESTROY_POOL,
					.pool_id = pool };

	driver->hypercall->call(driver->hypercall, &op, NULL);
}

static int page_op(struct tmem_driver *driver, uint32_t cmd, int pool,
		   const struct tmem_oid *oid, uint32_t index, void *page)
{
	struct tmem_xen_op op = { .cmd = cmd, .pool_id = pool };

	memcpy(op.u.gen.oid, oid, sizeof(op.u.gen.oid));
	op.u.gen.index = index;
	return driver->hypercall->call(driver->hypercall, &op, page);
}

static int put(struct tmem_driver *driver, int pool, const struct tmem_oid *oid,
	       uint32_t index, const void *page)
{
	/* The host may read it by another address. */
	atomic_thread_fence(memory_order_seq_cst);
	return page_op(driver, TMEM_XEN_PUT_PAGE, pool, oid, index,
		       (void *)(uintptr_t)page);
}

/* --- cleancache --------------------------------------------------------------
 */

static struct tmem_oid oid_of(const struct tmem_cleancache_key *key)
{
	struct tmem_oid oid;

	memcpy(&oid, key, sizeof(oid));
	return oid;
}

static int cache_init_fs(void *opaque, size_t page_bytes)
{
	return page_bytes == TMEM_PAGE_SIZE ? new_pool(opaque, 0, NULL)
					    : -EINVAL;
}

static int cache_init_shared_fs(void *opaque, const uint8_t uuid[16],
				size_t page_bytes)
{
	return page_bytes == TMEM_PAGE_SIZE
		       ? new_pool(opaque, TMEM_XEN_POOL_SHARED, uuid)
		       : -EINVAL;
}

static int cache_get_page(void *opaque, int pool,
			  const struct tmem_cleancache_key *key, uint64_t index,
			  void *page)
{
	struct tmem_oid oid = oid_of(key);

	if (index > UINT32_MAX)
		return -1;
	return page_op(opaque, TMEM_XEN_GET_PAGE, pool, &oid, (uint32_t)index,
		       page) == 1
		       ? 0
		       : -1;
}

static void cache_put_page(void *opaque, int pool,
			   const struct tmem_cleancache_key *key,
			   uint64_t index, const void *page)
{
	struct tmem_oid oid = oid_of(key);

	if (index > UINT32_MAX)
		return;
	if (put(opaque, pool, &oid, (uint32_t)index, page) < 0)
		page_op(opaque, TMEM_XEN_FLUSH_PAGE, pool, &oid,
			(uint32_t)index, NULL);
}

static void cache_invalidate_page(void *opaque, int pool,
				  const struct tmem_cleancache_key *key,
				  uint64_t index)
{
	struct tmem_oid oid = oid_of(key);

	if (index <= UINT32_MAX)
		page_op(opaque, TMEM_XEN_FLUSH_PAGE, pool, &oid,
			(uint32_t)index, NULL);
}

static void cache_invalidate_inode(void *opaque, int pool,
				   const struct tmem_cleancache_key *key)
{
	struct tmem_oid oid = oid_of(key);

	page_op(opaque, TMEM_XEN_FLUSH_OBJECT, pool, &oid, 0, NULL);
}

static void cache_invalidate_fs(void *opaque, int pool)
{
	destroy_pool(opaque, pool);
}

static const struct tmem_cleancache_ops cache_ops = {
	.struct_size = sizeof(cache_ops),
	.init_fs = cache_init_fs,
	.init_shared_fs = cache_init_shared_fs,
	.get_page = cache_get_page,
	.put_page = cache_put_page,
	.invalidate_page = cache_invalidate_page,
	.invalidate_inode = cache_invalidate_inode,
	.invalidate_fs = cache_invalidate_fs,
};

/* --- frontswap ---------------------------------------------------------------
 */

/* Negative: there is no place for it. */
static int swap_op(struct tmem_driver *driver, uint32_t cmd, unsigned type,
		   uint64_t offset, void *page)
{
	struct tmem_oid oid = tm_swizzle_oid(type, offset, TM_SWIZZLE_BITS);
	int pool =
		atomic_load_explicit(&driver->swap_pool, memory_order_acquire);

	if (pool < 0 || offset > UINT32_MAX)
		return -1;
	if (cmd == TMEM_XEN_PUT_PAGE)
		return put(driver, pool, &oid,
			   tm_swizzle_index(offset, TM_SWIZZLE_BITS), page);
	return page_op(driver, cmd, pool, &oid,
		       tm_swizzle_index(offset, TM_SWIZZLE_BITS), page);
}

static void swap_init(void *opaque, unsigned type)
{
	struct tmem_driver *driver = opaque;
	int pool = atomic_load(&driver->swap_pool);

	(void)type;
	if (pool >= 0)
		return;
	pool = new_pool(driver, TMEM_XEN_POOL_PERSIST, NULL);
	atomic_store(&driver->swap_pool, pool < 0 ? -1 : pool);
}

static int swap_store(void *opaque, unsigned type, uint64_t offset,
		      const void *page)
{
	return swap_op(opaque, TMEM_XEN_PUT_PAGE, type, offset,
		       (void *)(uintptr_t)page) == 1
		       ? 0
		       : -1;
}

static int swap_load(void *opaque, unsigned type, uint64_t offset, void *page)
{
	return swap_op(opaque, TMEM_XEN_GET_PAGE, type, offset, page) == 1 ? 0
									   : -1;
}

static void swap_invalidate_page(void *opaque, unsigned type, uint64_t offset)
{
	swap_op(opaque, TMEM_XEN_FLUSH_PAGE, type, offset, NULL);
}

static void swap_invalidate_area(void *opaque, unsigned type)
{
	for (unsigned i = TM_SWIZZLE_OBJECTS; i--;)
		swap_op(opaque, TMEM_XEN_FLUSH_OBJECT, type, i, NULL);
}

static const struct tmem_frontswap_ops swap_ops = {
	.struct_size = sizeof(swap_ops),
	.init = swap_init,
	.store = swap_store,
	.load = swap_load,
	.invalidate_page = swap_invalidate_page,
	.invalidate_area = swap_invalidate_area,
};

/* --- loading -----------------------------------------------------------------
 */

void tmem_driver_config_init(struct tmem_driver_config *config)
{
	*config = (struct tmem_driver_config){
		.struct_size = sizeof(*config),
		.use_cleancache = true,
		.use_frontswap = true,
		.use_selfballooning = true,
		.use_selfshrinking = true,
	};
}

static void say(const struct tmem_driver_config *config,
		enum tmem_log_level level, const char *text)
{
	if (config->log)
		config->log(config->opaque, level, text);
}

static uint32_t wanted(const struct tmem_driver_config *config)
{
	uint32_t on = 0;

	if (!config->hypercall || !config->is_enabled)
		return 0;
	if (config->use_cleancache && config->cleancache)
		on |= TMEM_DRIVER_CLEANCACHE;
	if (!config->use_frontswap || !config->frontswap)
		return on;
	on |= TMEM_DRIVER_FRONTSWAP;
	if (config->use_selfballooning)
		on |= TMEM_DRIVER_SELFBALLOONING;
	if (config->use_selfshrinking)
		on |= TMEM_DRIVER_SELFSHRINKING;
	return on;
}

static int enable_frontswap(struct tmem_driver *driver,
			    const struct tmem_driver_config *config)
{
	int err = tmem_frontswap_register(config->frontswap, &swap_ops, driver);

	if (!err)
		say(config, TMEM_LOG_INFO,
		    "xen:tmem: frontswap enabled, RAM provided by Xen "
		    "Transcendent Memory");
	return err;
}

/* 0: frontswap alone is something too. */
static int enable_cleancache(struct tmem_driver *driver,
			     const struct tmem_driver_config *config)
{
	int err = tmem_cleancache_register(config->cleancache, &cache_ops,
					   driver);

	if (!err) {
		say(config, TMEM_LOG_INFO,
		    "xen:tmem: cleancache enabled, RAM provided by Xen "
		    "Transcendent Memory");
		return 0;
	}
	say(config, TMEM_LOG_ERROR, "xen:tmem: failed to enable cleancache");
	driver->enabled &= ~TMEM_DRIVER_CLEANCACHE;
	return driver->enabled & TMEM_DRIVER_FRONTSWAP ? 0 : err;
}

static void init_selfballooning(struct tmem_driver *driver,
				const struct tmem_driver_config *config)
{
	bool balloons = driver->enabled & TMEM_DRIVER_SELFBALLOONING;
	bool shrinks = driver->enabled & TMEM_DRIVER_SELFSHRINKING;

	if (config->selfballoon_init && (balloons || shrinks))
		config->selfballoon_init(config->opaque, balloons, shrinks);
}

static int enable(struct tmem_driver *driver,
		  const struct tmem_driver_config *config)
{
	int err = 0;

	driver->enabled = wanted(config);
	if (driver->enabled & TMEM_DRIVER_FRONTSWAP)
		err = enable_frontswap(driver, config);
	if (!err && driver->enabled & TMEM_DRIVER_CLEANCACHE)
		err = enable_cleancache(driver, config);
	if (!err)
		init_selfballooning(driver, config);
	return err;
}

int tmem_driver_open(const struct tmem_driver_config *config,
		     struct tmem_driver **out)
{
	struct tmem_driver_config known;
	struct tmem_driver *driver;
	int err;

	tmem_driver_config_init(&known);
	if (!out || tm_known_take(&known, sizeof(known), config, sizeof(known)))
		return -EINVAL;
	if (known.hypercall &&
	    tm_known_check(known.hypercall, sizeof(*known.hypercall)))
		return -EINVAL;
	driver = calloc(1, sizeof(*driver));
	if (!driver)
		return -ENOMEM;
	driver->hypercall = known.hypercall;
	atomic_init(&driver->swap_pool, -1);
	err = enable(driver, &known);
	if (err)
		free(driver);
	else
		*out = driver;
	return err;
}

void tmem_driver_close(struct tmem_driver *driver)
{
	int pool;

	if (!driver)
		return;
	pool = atomic_load(&driver->swap_pool);
	if (pool >= 0)
		destroy_pool(driver, pool);
	free(driver);
}

uint32_t tmem_driver_enabled(const struct tmem_driver *driver)
{
	return driver->enabled;
}
