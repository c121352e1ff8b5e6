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
 * What is on is decided once, by the rules of the original: not a guest,
 * nothing; built in, the word `tmem`; no frontswap, no selfballooning. Order
 * and words of what is logged are the original's too, since people grep them.
 *
 * Locks: none; frontswap's pool is made under frontswap's own lock.
 */
#include <config.h>

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "calls.h"
#include "swizzle.h"
#include "versions.h"

struct tmem_driver {
	/* set at creation, then constant */
	struct tmem_hypercall *hypercall;
	uint32_t enabled;
	/* of frontswap; -1: none yet */
	_Atomic int swap_pool;
};

static struct tmem_hypercall *host(void *opaque)
{
	return ((struct tmem_driver *)opaque)->hypercall;
}

/* --- cleancache ---------------------------------------------------------- */

static struct tmem_oid oid_of(const struct tmem_cleancache_key *key)
{
	struct tmem_oid oid;

	memcpy(&oid, key, sizeof(oid));
	return oid;
}

static int cache_init_fs(void *opaque, size_t page_bytes)
{
	if (page_bytes != TMEM_PAGE_SIZE)
		return -EINVAL;
	return tm_call_new_pool(host(opaque), 0, NULL);
}

static int cache_init_shared_fs(void *opaque, const uint8_t uuid[16],
				size_t page_bytes)
{
	if (page_bytes != TMEM_PAGE_SIZE)
		return -EINVAL;
	return tm_call_new_pool(host(opaque), TMEM_XEN_POOL_SHARED, uuid);
}

static int cache_get_page(void *opaque, int pool,
			  const struct tmem_cleancache_key *key, uint64_t index,
			  void *page)
{
	struct tmem_oid oid = oid_of(key);
	int result = 0;

	if (index <= UINT32_MAX)
		result = tm_call_get(host(opaque), pool, &oid, (uint32_t)index,
				     page);
	return result == 1 ? 0 : -1;
}

static void cache_put_page(void *opaque, int pool,
			   const struct tmem_cleancache_key *key,
			   uint64_t index, const void *page)
{
	struct tmem_oid oid = oid_of(key);

	if (index <= UINT32_MAX)
		tm_call_put_or_drop(host(opaque), pool, &oid, (uint32_t)index,
				    page);
}

static void cache_invalidate_page(void *opaque, int pool,
				  const struct tmem_cleancache_key *key,
				  uint64_t index)
{
	struct tmem_oid oid = oid_of(key);

	if (index <= UINT32_MAX)
		tm_call_flush_page(host(opaque), pool, &oid, (uint32_t)index);
}

static void cache_invalidate_inode(void *opaque, int pool,
				   const struct tmem_cleancache_key *key)
{
	struct tmem_oid oid = oid_of(key);

	tm_call_flush_object(host(opaque), pool, &oid);
}

static void cache_invalidate_fs(void *opaque, int pool)
{
	tm_call_destroy_pool(host(opaque), pool);
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

/* --- frontswap ----------------------------------------------------------- */

/* Where a slot is, if it is anywhere. */
struct slot {
	struct tmem_hypercall *hypercall;
	int pool;
	struct tmem_oid oid;
	uint32_t index;
};

static bool find_slot(void *opaque, unsigned type, uint64_t offset,
		      struct slot *slot)
{
	struct tmem_driver *driver = opaque;

	slot->hypercall = driver->hypercall;
	slot->pool =
		atomic_load_explicit(&driver->swap_pool, memory_order_acquire);
	slot->oid = tm_swizzle_oid(type, offset, TM_SWIZZLE_BITS);
	slot->index = tm_swizzle_index(offset, TM_SWIZZLE_BITS);
	return slot->pool >= 0 && offset <= UINT32_MAX;
}

static void swap_init(void *opaque, unsigned type)
{
	struct tmem_driver *driver = opaque;
	int pool = atomic_load(&driver->swap_pool);

	(void)type;
	if (pool >= 0)
		return;
	pool = tm_call_new_pool(driver->hypercall, TMEM_XEN_POOL_PERSIST, NULL);
	atomic_store(&driver->swap_pool, pool < 0 ? -1 : pool);
}

static int swap_store(void *opaque, unsigned type, uint64_t offset,
		      const void *page)
{
	struct slot at;
	int result = 0;

	if (find_slot(opaque, type, offset, &at))
		result = tm_call_put(at.hypercall, at.pool, &at.oid, at.index,
				     page);
	return result == 1 ? 0 : -1;
}

static int swap_load(void *opaque, unsigned type, uint64_t offset, void *page)
{
	struct slot at;
	int result = 0;

	if (find_slot(opaque, type, offset, &at))
		result = tm_call_get(at.hypercall, at.pool, &at.oid, at.index,
				     page);
	return result == 1 ? 0 : -1;
}

static void swap_invalidate_page(void *opaque, unsigned type, uint64_t offset)
{
	struct slot at;

	if (find_slot(opaque, type, offset, &at))
		tm_call_flush_page(at.hypercall, at.pool, &at.oid, at.index);
}

static void swap_invalidate_area(void *opaque, unsigned type)
{
	struct slot at;

	for (unsigned i = TM_SWIZZLE_OBJECTS; i--;)
		if (find_slot(opaque, type, i, &at))
			tm_call_flush_object(at.hypercall, at.pool, &at.oid);
}

static const struct tmem_frontswap_ops swap_ops = {
	.struct_size = sizeof(swap_ops),
	.init = swap_init,
	.store = swap_store,
	.load = swap_load,
	.invalidate_page = swap_invalidate_page,
	.invalidate_area = swap_invalidate_area,
};

/* --- loading ------------------------------------------------------------- */

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

	if (!config->selfballoon_init || (!balloons && !shrinks))
		return;
	if (config->selfballoon_init(config->opaque, balloons, shrinks)) {
		driver->enabled &= ~(TMEM_DRIVER_SELFBALLOONING |
				     TMEM_DRIVER_SELFSHRINKING);
		return;
	}
	if (balloons)
		say(config, TMEM_LOG_INFO,
		    "xen_selfballoon: Initializing Xen selfballooning driver");
	if (shrinks)
		say(config, TMEM_LOG_INFO,
		    "xen_selfballoon: Initializing frontswap selfshrinking "
		    "driver");
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
		tm_call_destroy_pool(driver->hypercall, pool);
	free(driver);
}

uint32_t tmem_driver_enabled(const struct tmem_driver *driver)
{
	return driver->enabled;
}
