/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Cleancache: where clean pages of a page cache go when it drops them.
 *
 * The problem: a back end may come before the first file system is mounted, or
 * long after the last; keys must name a file for as long as it is on the disk,
 * which is longer than its inode is in memory (an address may be that of
 * another file tomorrow); and a page that is not what the disk has must never
 * be found, although put and invalidate both happen on removal.
 *
 * The idea: a file system's state is one number: the id of its pool, or why it
 * has none (-1 it gets none, -2 and -3 there is no back end yet). Only mount,
 * unmount and register change it, under one lock, so that each file system is
 * set up exactly once, whatever comes first. Everything else reads that number
 * and the back end's table, once each, and makes one call.
 *
 *	no back end		gets and puts are counted, nothing else is
 *	no pool, or no key	nothing is counted
 *	else			gets by result, puts, single invalidates
 *
 * What is accepted: the back end's init runs under the lock, so mounts wait for
 * one another. Coherency is the callers' and the back end's: nothing is kept
 * here that could be wrong.
 *
 * Locks: lock guards the list of mounts; nothing else takes one.
 */
#include <config.h>

#include <assert.h>
#include <stdlib.h>

#include <tmem/linux.h>

#include "lock.h"
#include "versions.h"

static_assert(sizeof(struct tmem_cleancache_key) == sizeof(struct tmem_oid),
	      "a key is an object's name");

struct tmem_cleancache {
	/* published once */
	_Atomic(const struct tmem_cleancache_ops *) ops;
	void *opaque;
	/* guarded by lock */
	struct tm_lock lock;
	struct tmem_cleancache_fs *mounts;
	/* statistics: each exact, together not of one moment */
	_Atomic uint64_t succ_gets;
	_Atomic uint64_t failed_gets;
	_Atomic uint64_t puts;
	_Atomic uint64_t invalidates;
};

struct tmem_cleancache_fs {
	_Atomic int pool;
	/* set at creation, then constant */
	struct tmem_cleancache *cleancache;
	int (*encode_handle)(const void *file, uint32_t *handle, int words,
			     int *needed);
	uint8_t uuid[16];
	/* guarded by the cleancache's lock */
	struct tmem_cleancache_fs *next;
	struct tmem_cleancache_fs **link;
};

static void count(_Atomic uint64_t *counter)
{
	atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

/* --- back ends and mounts ------------------------------------------------ */

int tmem_cleancache_create(struct tmem_cleancache **out)
{
	struct tmem_cleancache *cleancache;

	if (!out)
		return -EINVAL;
	cleancache = calloc(1, sizeof(*cleancache));
	if (!cleancache)
		return -ENOMEM;
	tm_lock_init(&cleancache->lock, TM_RANK_GUEST);
	*out = cleancache;
	return 0;
}

void tmem_cleancache_destroy(struct tmem_cleancache *cleancache)
{
	if (!cleancache)
		return;
	assert(!cleancache->mounts);
	tm_lock_destroy(&cleancache->lock);
	free(cleancache);
}

/* The caller holds the lock. */
static void init_pool(struct tmem_cleancache_fs *fs,
		      const struct tmem_cleancache_ops *ops)
{
	void *opaque = fs->cleancache->opaque;
	int pool = atomic_load(&fs->pool);

	if (pool == TMEM_CLEANCACHE_NO_BACKEND)
		pool = ops->init_fs(opaque, TMEM_PAGE_SIZE);
	else if (pool == TMEM_CLEANCACHE_NO_BACKEND_SHARED)
		pool = ops->init_shared_fs(opaque, fs->uuid, TMEM_PAGE_SIZE);
	else
		return;
	atomic_store(&fs->pool, pool < 0 ? TMEM_CLEANCACHE_NO_POOL : pool);
}

int tmem_cleancache_register(struct tmem_cleancache *cleancache,
			     const struct tmem_cleancache_ops *ops,
			     void *opaque)
{
	int err = 0;

	if (!cleancache || tm_known_check(ops, sizeof(*ops)))
		return -EINVAL;
	tm_lock_acquire(&cleancache->lock);
	if (atomic_load(&cleancache->ops)) {
		err = -EBUSY;
	} else {
		cleancache->opaque = opaque;
		atomic_store(&cleancache->ops, ops);
		for (struct tmem_cleancache_fs *fs = cleancache->mounts; fs;
		     fs = fs->next)
			init_pool(fs, ops);
	}
	tm_lock_release(&cleancache->lock);
	return err;
}

int tmem_cleancache_get_counts(struct tmem_cleancache *cleancache,
			       struct tmem_cleancache_counts *counts)
{
	const struct tmem_cleancache_counts known = {
		.succ_gets = atomic_load(&cleancache->succ_gets),
		.failed_gets = atomic_load(&cleancache->failed_gets),
		.puts = atomic_load(&cleancache->puts),
		.invalidates = atomic_load(&cleancache->invalidates),
	};

	return tm_known_give(counts, &known, sizeof(known), sizeof(known));
}

void tmem_cleancache_fs_config_init(struct tmem_cleancache_fs_config *config)
{
	*config = (struct tmem_cleancache_fs_config){
		.struct_size = sizeof(*config),
		.block_bytes = TMEM_PAGE_SIZE,
	};
}

static int state_before(const struct tmem_cleancache_fs_config *config)
{
	if (config->block_bytes != TMEM_PAGE_SIZE)
		return TMEM_CLEANCACHE_NO_POOL;
	return config->uuid ? TMEM_CLEANCACHE_NO_BACKEND_SHARED
			    : TMEM_CLEANCACHE_NO_BACKEND;
}

int tmem_cleancache_mount(struct tmem_cleancache *cleancache,
			  const struct tmem_cleancache_fs_config *config,
			  struct tmem_cleancache_fs **out)
{
	struct tmem_cleancache_fs_config known = { 0 };
	const struct tmem_cleancache_ops *ops;
	struct tmem_cleancache_fs *fs;

	if (!cleancache || !out ||
	    tm_known_take(&known, sizeof(known), config, sizeof(known)))
		return -EINVAL;
	fs = calloc(1, sizeof(*fs));
	if (!fs)
		return -ENOMEM;
	fs->cleancache = cleancache;
	fs->encode_handle = known.encode_handle;
	if (known.uuid)
		memcpy(fs->uuid, known.uuid, sizeof(fs->uuid));
	atomic_init(&fs->pool, state_before(&known));
	tm_lock_acquire(&cleancache->lock);
	fs->next = cleancache->mounts;
	fs->link = &cleancache->mounts;
	if (fs->next)
		fs->next->link = &fs->next;
	cleancache->mounts = fs;
	ops = atomic_load(&cleancache->ops);
	if (ops)
		init_pool(fs, ops);
	tm_lock_release(&cleancache->lock);
	*out = fs;
	return 0;
}

void tmem_cleancache_unmount(struct tmem_cleancache_fs *fs)
{
	struct tmem_cleancache *cleancache;
	int pool;

	if (!fs)
		return;
	cleancache = fs->cleancache;
	tm_lock_acquire(&cleancache->lock);
	*fs->link = fs->next;
	if (fs->next)
		fs->next->link = fs->link;
	pool = atomic_load(&fs->pool);
	if (pool >= 0)
		atomic_load(&cleancache->ops)
			->invalidate_fs(cleancache->opaque, pool);
	tm_lock_release(&cleancache->lock);
	free(fs);
}

int tmem_cleancache_fs_pool(const struct tmem_cleancache_fs *fs)
{
	return atomic_load(&fs->pool);
}

/* --- keys ---------------------------------------------------------------- */

int tmem_cleancache_make_key(const struct tmem_cleancache_fs *fs,
			     const struct tmem_cleancache_file *file,
			     struct tmem_cleancache_key *key)
{
	int needed = 0;
	int type;

	memset(key, 0, sizeof(*key));
	key->u.inode = file->inode;
	if (!fs->encode_handle)
		return 0;
	type = fs->encode_handle(file->file, key->u.handle,
				 TMEM_CLEANCACHE_KEY_MAX, &needed);
	if (type <= TMEM_CLEANCACHE_HANDLE_ROOT ||
	    type == TMEM_CLEANCACHE_HANDLE_INVALID || needed < 0 ||
	    needed > TMEM_CLEANCACHE_KEY_MAX)
		return -EINVAL;
	return 0;
}

/* Where a call goes: false, and nothing is to be done. */
struct target {
	const struct tmem_cleancache_ops *ops;
	void *opaque;
	int pool;
	struct tmem_cleancache_key key;
};

static bool find_target(const struct tmem_cleancache_fs *fs,
			const struct tmem_cleancache_ops *ops,
			const struct tmem_cleancache_file *file,
			struct target *target)
{
	if (!ops)
		return false;
	target->ops = ops;
	target->opaque = fs->cleancache->opaque;
	target->pool = atomic_load_explicit(&fs->pool, memory_order_acquire);
	return target->pool >= 0 &&
	       !tmem_cleancache_make_key(fs, file, &target->key);
}

static const struct tmem_cleancache_ops *
ops_of(const struct tmem_cleancache_fs *fs)
{
	return atomic_load_explicit(&fs->cleancache->ops, memory_order_acquire);
}

/* --- pages --------------------------------------------------------------- */

int tmem_cleancache_get(struct tmem_cleancache_fs *fs,
			const struct tmem_cleancache_file *file, uint64_t index,
			void *page)
{
	struct tmem_cleancache *cleancache = fs->cleancache;
	const struct tmem_cleancache_ops *ops = ops_of(fs);
	struct target to;

	if (!ops)
		count(&cleancache->failed_gets);
	if (!find_target(fs, ops, file, &to))
		return TMEM_GET_MISS;
	if (to.ops->get_page(to.opaque, to.pool, &to.key, index, page)) {
		count(&cleancache->failed_gets);
		return TMEM_GET_MISS;
	}
	count(&cleancache->succ_gets);
	return TMEM_GET_HIT;
}

void tmem_cleancache_put(struct tmem_cleancache_fs *fs,
			 const struct tmem_cleancache_file *file,
			 uint64_t index, const void *page)
{
	const struct tmem_cleancache_ops *ops = ops_of(fs);
	struct target to;

	if (!ops)
		count(&fs->cleancache->puts);
	if (!find_target(fs, ops, file, &to))
		return;
	count(&fs->cleancache->puts);
	to.ops->put_page(to.opaque, to.pool, &to.key, index, page);
}

void tmem_cleancache_invalidate_page(struct tmem_cleancache_fs *fs,
				     const struct tmem_cleancache_file *file,
				     uint64_t index)
{
	struct target to;

	if (!find_target(fs, ops_of(fs), file, &to))
		return;
	count(&fs->cleancache->invalidates);
	to.ops->invalidate_page(to.opaque, to.pool, &to.key, index);
}

void tmem_cleancache_invalidate_inode(struct tmem_cleancache_fs *fs,
				      const struct tmem_cleancache_file *file)
{
	struct target to;

	if (find_target(fs, ops_of(fs), file, &to))
		to.ops->invalidate_inode(to.opaque, to.pool, &to.key);
}

void tmem_cleancache_removed(struct tmem_cleancache_fs *fs,
			     const struct tmem_cleancache_file *file,
			     uint64_t index, const void *page, uint32_t flags)
{
	const uint32_t both = TMEM_CLEANCACHE_UPTODATE | TMEM_CLEANCACHE_MAPPED;

	if ((flags & both) == both)
		tmem_cleancache_put(fs, file, index, page);
	else
		tmem_cleancache_invalidate_page(fs, file, index);
}
