/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The guest's half of transcendent memory, as Linux had it from 3.0 to 5.2:
 * cleancache for clean pages of a page cache, frontswap for pages on their way
 * to swap, and the driver that turns both into hypercalls.
 *
 *	 a page cache         a swapper         a network file system
 *	      |                   |                       |
 *	struct tmem_cleancache  tmem_frontswap      tmem_fscache
 *	      |                   |                       |
 *	      +-- struct tmem_driver                      |
 *	                   |                              |
 *	          struct tmem_hypercall: a domain, or a client of a store
 *
 * Whoever has pages that he could read again offers them to a cleancache when
 * he drops them, and asks there before he reads. Whoever has pages that he
 * must not lose offers them to a frontswap before he writes them to his swap
 * device. That device must be there all the same: any page may be refused.
 * Neither needs a back end: until one comes, gets miss and stores are refused.
 *
 * All calls are synchronous: a page is copied before its call returns. They
 * may be made from any thread; two calls for the same page at one time are for
 * the caller to prevent (in a kernel the page's lock does). What ends something
 * (unmount, swapoff, close) comes after all other calls on it.
 *
 * A page is TMEM_PAGE_SIZE bytes, at any address. Counters only rise, and are
 * exact.
 *
 * Since: 0.1
 */
#ifndef TMEM_LINUX_H
#define TMEM_LINUX_H

#include <tmem/xen.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ------------------------------------------------------------------------
 * Cleancache
 */

/* The most 32-bit words that a file handle in a key has. */
#define TMEM_CLEANCACHE_KEY_MAX 6

/* A file within its file system, for as long as it is on the disk: 192 bits,
 * an object's name in tmem. Zero beyond what is used. */
struct tmem_cleancache_key {
	union {
		uint64_t inode;
		uint32_t handle[TMEM_CLEANCACHE_KEY_MAX];
	} u;
};

/**
 * struct tmem_cleancache_ops - a back end
 * @struct_size: sizeof(struct tmem_cleancache_ops)
 * @init_fs: make a pool; its id (>= 0), or negative: none
 * @init_shared_fs: the same for a file system that several guests have mounted,
 *	which the 16 bytes at @uuid name; may refuse always
 * @get_page: 0: the page was there and is in @page now; negative: it was not.
 *	From a private pool it has gone with that, from a shared one not.
 * @put_page: keep it, or do not; what was there before is gone either way
 * @invalidate_page: drop it
 * @invalidate_inode: drop all pages of that key
 * @invalidate_fs: drop all pages, and the pool: its id may be used again
 *
 * A page may vanish at any time. After a get that failed all gets fail until
 * the next put. Called from any thread.
 */
struct tmem_cleancache_ops {
	size_t struct_size;
	int (*init_fs)(void *opaque, size_t page_bytes);
	int (*init_shared_fs)(void *opaque, const uint8_t uuid[16],
			      size_t page_bytes);
	int (*get_page)(void *opaque, int pool,
			const struct tmem_cleancache_key *key, uint64_t index,
			void *page);
	void (*put_page)(void *opaque, int pool,
			 const struct tmem_cleancache_key *key, uint64_t index,
			 const void *page);
	void (*invalidate_page)(void *opaque, int pool,
				const struct tmem_cleancache_key *key,
				uint64_t index);
	void (*invalidate_inode)(void *opaque, int pool,
				 const struct tmem_cleancache_key *key);
	void (*invalidate_fs)(void *opaque, int pool);
};

/**
 * struct tmem_cleancache_counts - what has happened
 * @succ_gets: gets that hit
 * @failed_gets: gets that missed, those without a back end included
 * @puts: puts, those without a back end included; whether a page was kept
 *	nobody says
 * @invalidates: single pages that a back end was told to drop; files and file
 *	systems are not counted
 *
 * Nothing is counted of a file system without a pool, or of a file without a
 * key.
 */
struct tmem_cleancache_counts {
	size_t struct_size;
	uint64_t succ_gets;
	uint64_t failed_gets;
	uint64_t puts;
	uint64_t invalidates;
};

struct tmem_cleancache;
struct tmem_cleancache_fs;

/**
 * tmem_cleancache_create() - a cleancache, without a back end
 *
 * Return: 0, -ENOMEM, -EINVAL.
 */
int tmem_cleancache_create(struct tmem_cleancache **cleancache);

/**
 * tmem_cleancache_destroy() - end one
 * @cleancache: all its file systems are unmounted. NULL is allowed.
 */
void tmem_cleancache_destroy(struct tmem_cleancache *cleancache);

/**
 * tmem_cleancache_register() - here is the back end
 * @cleancache: the cleancache
 * @ops: stays where it is until tmem_cleancache_destroy()
 * @opaque: passed to @ops
 *
 * File systems that were mounted before get their pools now, each exactly
 * once. A back end never leaves.
 *
 * Return: 0, -EBUSY (there is one), -EINVAL.
 */
int tmem_cleancache_register(struct tmem_cleancache *cleancache,
			     const struct tmem_cleancache_ops *ops,
			     void *opaque);

/**
 * tmem_cleancache_get_counts() - read the counters
 * @cleancache: the cleancache
 * @counts: struct_size set by the caller
 *
 * Return: 0, -EINVAL.
 */
int tmem_cleancache_get_counts(struct tmem_cleancache *cleancache,
			       struct tmem_cleancache_counts *counts);

/* What tmem_cleancache_fs_pool() answers when it is not the id of a pool. */
#define TMEM_CLEANCACHE_NO_POOL (-1)
#define TMEM_CLEANCACHE_NO_BACKEND (-2)
#define TMEM_CLEANCACHE_NO_BACKEND_SHARED (-3)

/* Types of file handles that are none. */
#define TMEM_CLEANCACHE_HANDLE_ROOT 0
#define TMEM_CLEANCACHE_HANDLE_INVALID 255

/**
 * struct tmem_cleancache_fs_config - a file system that wants caching
 * @struct_size: set by tmem_cleancache_fs_config_init()
 * @uuid: of the volume when others may have it mounted too; NULL: nobody else.
 *	Read during the call only
 * @block_bytes: of the file system; anything but TMEM_PAGE_SIZE: no pool
 * @encode_handle: for file systems whose inode numbers may be used again for
 *	another file: writes at most @words words that name @file for ever, sets
 *	*needed to how many that takes, and answers the handle's type. NULL:
 *	inode numbers are good enough.
 */
struct tmem_cleancache_fs_config {
	size_t struct_size;
	const uint8_t *uuid;
	size_t block_bytes;
	int (*encode_handle)(const void *file, uint32_t *handle, int words,
			     int *needed);
};

/* Private, blocks of TMEM_PAGE_SIZE, keys of inode numbers. */
void tmem_cleancache_fs_config_init(struct tmem_cleancache_fs_config *config);

/**
 * tmem_cleancache_mount() - a file system opts in
 * @cleancache: the cleancache
 * @config: read during the call only
 * @fs: set on success
 *
 * Whether it gets a pool is not its concern: without one nothing is cached.
 *
 * Return: 0, -EINVAL, -ENOMEM.
 */
int tmem_cleancache_mount(struct tmem_cleancache *cleancache,
			  const struct tmem_cleancache_fs_config *config,
			  struct tmem_cleancache_fs **fs);

/**
 * tmem_cleancache_unmount() - it goes, and all its pages with it
 * @fs: NULL is allowed
 */
void tmem_cleancache_unmount(struct tmem_cleancache_fs *fs);

/**
 * tmem_cleancache_fs_pool() - its pool
 * @fs: the file system
 *
 * Return: the back end's id, or a TMEM_CLEANCACHE_NO_*.
 */
int tmem_cleancache_fs_pool(const struct tmem_cleancache_fs *fs);

/**
 * struct tmem_cleancache_file - a file
 * @inode: its number
 * @file: passed to encode_handle
 */
struct tmem_cleancache_file {
	uint64_t inode;
	const void *file;
};

/**
 * tmem_cleancache_make_key() - the key of a file
 * @fs: its file system
 * @file: the file
 * @key: set on success
 *
 * Return: 0, -EINVAL (a handle of type 0 or 255, or of more than
 * TMEM_CLEANCACHE_KEY_MAX words: the file is not cached).
 */
int tmem_cleancache_make_key(const struct tmem_cleancache_fs *fs,
			     const struct tmem_cleancache_file *file,
			     struct tmem_cleancache_key *key);

/**
 * tmem_cleancache_get() - before a page is read from the disk
 * @fs: the file system
 * @file: the file
 * @index: which page of it
 * @page: as it was before, unless the result is a hit
 *
 * Only when all of the page is mapped to the disk.
 *
 * Return: an enum tmem_get_result.
 */
int tmem_cleancache_get(struct tmem_cleancache_fs *fs,
			const struct tmem_cleancache_file *file, uint64_t index,
			void *page);

/* The page is what the disk has. */
#define TMEM_CLEANCACHE_UPTODATE (UINT32_C(1) << 0)
/* No part of it is a hole of the file. */
#define TMEM_CLEANCACHE_MAPPED (UINT32_C(1) << 1)

/**
 * tmem_cleancache_removed() - when a page leaves the page cache
 * @fs: the file system
 * @file: the file
 * @index: which page of it
 * @page: its contents
 * @flags: TMEM_CLEANCACHE_*
 *
 * With both flags it is put, else a copy that may be there is invalidated. That
 * of a page in a truncated part must lack them.
 */
void tmem_cleancache_removed(struct tmem_cleancache_fs *fs,
			     const struct tmem_cleancache_file *file,
			     uint64_t index, const void *page, uint32_t flags);

/**
 * tmem_cleancache_put() - keep a clean page
 *
 * As tmem_cleancache_removed() with both flags.
 */
void tmem_cleancache_put(struct tmem_cleancache_fs *fs,
			 const struct tmem_cleancache_file *file,
			 uint64_t index, const void *page);

/**
 * tmem_cleancache_invalidate_page() - a copy would be wrong from now on
 */
void tmem_cleancache_invalidate_page(struct tmem_cleancache_fs *fs,
				     const struct tmem_cleancache_file *file,
				     uint64_t index);

/**
 * tmem_cleancache_invalidate_inode() - so would be those of all its pages
 *
 * Whoever truncates a file calls it before and after: pages may leave the page
 * cache meanwhile.
 */
void tmem_cleancache_invalidate_inode(struct tmem_cleancache_fs *fs,
				      const struct tmem_cleancache_file *file);

/* ------------------------------------------------------------------------
 * Frontswap
 */

/* Swap devices: types are 0 to TMEM_FRONTSWAP_TYPES_MAX - 1. */
#define TMEM_FRONTSWAP_TYPES_MAX 29
/* Back ends at one time. */
#define TMEM_FRONTSWAP_BACKENDS_MAX 4

/**
 * struct tmem_frontswap_ops - a back end
 * @struct_size: sizeof(struct tmem_frontswap_ops)
 * @init: pages of this type may come
 * @store: 0: the page was copied, and stays; else it was refused
 * @load: 0: the page was there and is in @page now; else it was not
 * @invalidate_page: drop it
 * @invalidate_area: drop all of that type
 *
 * Called from any thread.
 */
struct tmem_frontswap_ops {
	size_t struct_size;
	void (*init)(void *opaque, unsigned type);
	int (*store)(void *opaque, unsigned type, uint64_t offset,
		     const void *page);
	int (*load)(void *opaque, unsigned type, uint64_t offset, void *page);
	void (*invalidate_page)(void *opaque, unsigned type, uint64_t offset);
	void (*invalidate_area)(void *opaque, unsigned type);
};

/**
 * struct tmem_frontswap_counts - what has happened
 * @loads: loads that hit
 * @succ_stores: stores that a back end took
 * @failed_stores: stores that all refused; those without a back end are not
 *	counted
 * @invalidates: pages invalidated one by one, that were there
 */
struct tmem_frontswap_counts {
	size_t struct_size;
	uint64_t loads;
	uint64_t succ_stores;
	uint64_t failed_stores;
	uint64_t invalidates;
};

struct tmem_frontswap;

/**
 * tmem_frontswap_create() - a frontswap, without a back end
 *
 * Return: 0, -ENOMEM, -EINVAL.
 */
int tmem_frontswap_create(struct tmem_frontswap **frontswap);

/**
 * tmem_frontswap_destroy() - end one
 * @frontswap: NULL is allowed. What is swapped on is swapped off.
 */
void tmem_frontswap_destroy(struct tmem_frontswap *frontswap);

/**
 * tmem_frontswap_register() - here is a back end
 * @frontswap: the frontswap
 * @ops: stays where it is until tmem_frontswap_destroy()
 * @opaque: passed to @ops
 *
 * The newest one is asked first, the others when it refuses. A back end never
 * leaves.
 *
 * Return: 0, -EBUSY (TMEM_FRONTSWAP_BACKENDS_MAX), -EINVAL.
 */
int tmem_frontswap_register(struct tmem_frontswap *frontswap,
			    const struct tmem_frontswap_ops *ops, void *opaque);

/* A page that was stored is nevertheless reported as refused, so that it is
 * written to the swap device too. */
#define TMEM_FRONTSWAP_WRITETHROUGH (UINT32_C(1) << 0)
/* A load takes the page out. */
#define TMEM_FRONTSWAP_EXCLUSIVE (UINT32_C(1) << 1)

/**
 * tmem_frontswap_set_mode() - how it works from now on
 * @frontswap: the frontswap
 * @flags: TMEM_FRONTSWAP_*
 *
 * Return: 0, -EINVAL, -EBUSY (write-through is for a frontswap that has no
 * pages yet: those are not on the swap device).
 */
int tmem_frontswap_set_mode(struct tmem_frontswap *frontswap, uint32_t flags);

/**
 * tmem_frontswap_get_counts() - read the counters
 * @frontswap: the frontswap
 * @counts: struct_size set by the caller
 *
 * Return: 0, -EINVAL.
 */
int tmem_frontswap_get_counts(struct tmem_frontswap *frontswap,
			      struct tmem_frontswap_counts *counts);

/**
 * tmem_frontswap_swapon() - a swap device comes
 * @frontswap: the frontswap
 * @type: its number
 * @slots: its size, in pages. One bit is kept for each.
 *
 * Return: 0, -EINVAL, -EBUSY (that one is there), -ENOMEM.
 */
int tmem_frontswap_swapon(struct tmem_frontswap *frontswap, unsigned type,
			  uint64_t slots);

/**
 * tmem_frontswap_swapoff() - it goes; all of its pages are dropped
 * @frontswap: the frontswap
 * @type: its number; one that is not there is passed over
 */
void tmem_frontswap_swapoff(struct tmem_frontswap *frontswap, unsigned type);

enum tmem_frontswap_store_result {
	TMEM_FRONTSWAP_REFUSED = 0, /* write it to the swap device */
	TMEM_FRONTSWAP_STORED = 1,
};

enum tmem_frontswap_load_result {
	TMEM_FRONTSWAP_MISS = 0, /* read it from the swap device */
	TMEM_FRONTSWAP_HIT = 1,
	/* The slot is empty now: the page is dirty. */
	TMEM_FRONTSWAP_HIT_DIRTY = 2,
};

/**
 * tmem_frontswap_store() - before a page is written to its slot
 * @frontswap: the frontswap
 * @type: the swap device
 * @offset: the slot
 * @page: the page
 *
 * What the slot held before is gone, whatever the result.
 *
 * Return: an enum tmem_frontswap_store_result, or -EINVAL (no such slot).
 */
int tmem_frontswap_store(struct tmem_frontswap *frontswap, unsigned type,
			 uint64_t offset, const void *page);

/**
 * tmem_frontswap_load() - before a page is read from its slot
 * @frontswap: the frontswap
 * @type: the swap device
 * @offset: the slot
 * @page: undefined unless it was there
 *
 * Return: an enum tmem_frontswap_load_result, or -EINVAL (no such slot), or
 * -EIO: it was stored, and no back end has it just now; nothing has changed.
 * What the swap device has there is something else.
 */
int tmem_frontswap_load(struct tmem_frontswap *frontswap, unsigned type,
			uint64_t offset, void *page);

/**
 * tmem_frontswap_invalidate_page() - a slot is free
 */
void tmem_frontswap_invalidate_page(struct tmem_frontswap *frontswap,
				    unsigned type, uint64_t offset);

/**
 * tmem_frontswap_is_stored() - is a slot's page here?
 *
 * Return: 1, 0.
 */
int tmem_frontswap_is_stored(struct tmem_frontswap *frontswap, unsigned type,
			     uint64_t offset);

/**
 * tmem_frontswap_pages() - how many pages are here
 * @frontswap: the frontswap
 * @type: of this swap device, or -1: of all
 */
uint64_t tmem_frontswap_pages(struct tmem_frontswap *frontswap, int type);

/**
 * struct tmem_frontswap_vm - who can take pages back into memory
 * @struct_size: sizeof(struct tmem_frontswap_vm)
 * @may_commit: is there room for that many pages?
 * @unuse_page: load the page of this slot, mark it dirty, free the slot (which
 *	invalidates it): 0; or a negative errno: stop here (a signal came)
 */
struct tmem_frontswap_vm {
	size_t struct_size;
	bool (*may_commit)(void *opaque, uint64_t pages);
	int (*unuse_page)(void *opaque, unsigned type, uint64_t offset);
};

/**
 * tmem_frontswap_shrink() - take pages back, a partial swapoff
 * @frontswap: the frontswap
 * @target_pages: what may stay
 * @vm: does it; called with no lock held
 * @opaque: passed to @vm
 *
 * From one swap device per call, the first that has pages and whose share
 * there is room for: as many as are too many, or all of its pages if it has no
 * more than that.
 *
 * Return: how many pages it took back, or what unuse_page said.
 */
int64_t tmem_frontswap_shrink(struct tmem_frontswap *frontswap,
			      uint64_t target_pages,
			      const struct tmem_frontswap_vm *vm, void *opaque);

/* ------------------------------------------------------------------------
 * Hypercalls
 */

/**
 * struct tmem_hypercall - how a guest calls its hypervisor
 * @struct_size: sizeof(struct tmem_hypercall)
 * @call: carry out @op; @page is what its frame says: the caller leaves cmfn 0,
 *	and who knows where the page is fills it in. NULL: the operation has
 *	none. The answer is Xen's: 1 done, 0 not, or the id of a pool, or a
 *	negative number. From any thread.
 * @close: end it; NULL: there is nothing to end
 */
struct tmem_hypercall {
	size_t struct_size;
	int (*call)(struct tmem_hypercall *hypercall,
		    const struct tmem_xen_op *op, void *page);
	void (*close)(struct tmem_hypercall *hypercall);
};

/**
 * tmem_hypercall_open_domain() - over a Xen front end in this process
 * @xen: the front end
 * @config: the domain; its memory must be NULL, since the process is the guest:
 *	its frames are the pages of the process
 * @hypercall: set on success; tmem_hypercall_close() ends the domain
 *
 * Return: as tmem_xen_domain_create().
 */
int tmem_hypercall_open_domain(struct tmem_xen *xen,
			       const struct tmem_xen_domain_config *config,
			       struct tmem_hypercall **hypercall);

/**
 * tmem_hypercall_open_client() - over a client, of a daemon for instance
 * @client: stays the caller's. Its pools are the guest's alone.
 * @hypercall: set on success
 *
 * Return: 0, -EINVAL, -ENOMEM.
 */
int tmem_hypercall_open_client(struct tmem_client *client,
			       struct tmem_hypercall **hypercall);

/**
 * tmem_hypercall_close() - end one
 * @hypercall: NULL is allowed; nobody uses it any more
 */
void tmem_hypercall_close(struct tmem_hypercall *hypercall);

/* ------------------------------------------------------------------------
 * The driver
 */

/**
 * struct tmem_driver_config - a kernel's tmem driver
 * @struct_size: set by tmem_driver_config_init()
 * @hypercall: how it calls; NULL: not a guest, nothing will happen
 * @cleancache: to be the back end of; or NULL: the kernel has none
 * @frontswap: to be the back end of; or NULL: the kernel has none
 * @is_enabled: the word `tmem` on the kernel's command line; a module is
 *	enabled by being loaded
 * @use_cleancache: module option, as those that follow
 * @use_frontswap: when off, so are the next two: there would be no place to
 *	drive pages to
 * @use_selfballooning: what selfballoon_init is told
 * @use_selfshrinking: what selfballoon_init is told
 * @selfballoon_init: called last, when one of the two is on: 0, or negative:
 *	not here, and both are off; or NULL: somebody else sees to it
 * @log: told in so many words what was enabled; or NULL
 * @opaque: passed to @log and @selfballoon_init
 */
struct tmem_driver_config {
	size_t struct_size;
	struct tmem_hypercall *hypercall;
	struct tmem_cleancache *cleancache;
	struct tmem_frontswap *frontswap;
	bool is_enabled;
	bool use_cleancache;
	bool use_frontswap;
	bool use_selfballooning;
	bool use_selfshrinking;
	int (*selfballoon_init)(void *opaque, bool selfballooning,
				bool selfshrinking);
	void (*log)(void *opaque, enum tmem_log_level level, const char *text);
	void *opaque;
};

/* Off, and all options on. */
void tmem_driver_config_init(struct tmem_driver_config *config);

enum tmem_driver_words {
	TMEM_DRIVER_KERNEL, /* "tmem tmem.frontswap=0", among others */
	TMEM_DRIVER_MODULE, /* "frontswap=0", and it is enabled */
};

/**
 * tmem_driver_parse() - options as a command line has them
 * @config: changed word by word
 * @kind: of a kernel, where words of others are passed over, or of modprobe
 * @words: separated by white space. An option without a value is on; a value
 *	begins with one of y Y 1 or n N 0, or is "on" or "off".
 *
 * Return: 0, -EINVAL (a word that is none, or a value; @config is as before).
 */
int tmem_driver_parse(struct tmem_driver_config *config,
		      enum tmem_driver_words kind, const char *words);

struct tmem_driver;

/**
 * tmem_driver_open() - load it
 * @config: read during the call; what it points to outlives the driver
 * @driver: set on success
 *
 * Frontswap is enabled first, then cleancache, then selfballooning; each may
 * be on without the others, as above. What was mounted or swapped on before is
 * served too.
 *
 * Return: 0, -EINVAL, -ENOMEM, or as the register functions; when frontswap
 * was registered and cleancache cannot be, the log says so and it is no error.
 */
int tmem_driver_open(const struct tmem_driver_config *config,
		     struct tmem_driver **driver);

/**
 * tmem_driver_close() - when the guest is no more
 * @driver: its cleancache and frontswap have been destroyed; their pools go.
 *	NULL is allowed.
 */
void tmem_driver_close(struct tmem_driver *driver);

#define TMEM_DRIVER_FRONTSWAP (UINT32_C(1) << 0)
#define TMEM_DRIVER_CLEANCACHE (UINT32_C(1) << 1)
#define TMEM_DRIVER_SELFBALLOONING (UINT32_C(1) << 2)
#define TMEM_DRIVER_SELFSHRINKING (UINT32_C(1) << 3)

/**
 * tmem_driver_enabled() - what is on
 *
 * Return: TMEM_DRIVER_*.
 */
uint32_t tmem_driver_enabled(const struct tmem_driver *driver);

/* ------------------------------------------------------------------------
 * FS-Cache
 */

/* Where pages are kept. */
#define TMEM_FSCACHE_LOCAL 1
#define TMEM_FSCACHE_TMEM 2
#define TMEM_FSCACHE_BOTH 3

/**
 * struct tmem_fscache_local_ops - a store of the guest's own, a disk for
 *	instance
 * @struct_size: sizeof(struct tmem_fscache_local_ops)
 * @read: 0: @page is filled; negative: it is not there
 * @write: 0: it is kept, in place of what was there; negative: it is not, and
 *	what was there is gone
 * @drop_page: drop it
 * @drop_from: drop all pages of an object from this one on
 *
 * What was written dirty must not vanish. Of one object one call runs at a
 * time.
 */
struct tmem_fscache_local_ops {
	size_t struct_size;
	int (*read)(void *opaque, const struct tmem_oid *object, uint64_t index,
		    void *page);
	int (*write)(void *opaque, const struct tmem_oid *object,
		     uint64_t index, const void *page);
	void (*drop_page)(void *opaque, const struct tmem_oid *object,
			  uint64_t index);
	void (*drop_from)(void *opaque, const struct tmem_oid *object,
			  uint64_t index);
};

/**
 * struct tmem_fscache_config - a cache for network file systems
 * @struct_size: set by tmem_fscache_config_init()
 * @store: TMEM_FSCACHE_*
 * @seed: any number that a server cannot guess: objects' names depend on it
 * @hypercall: of TMEM and BOTH; outlives the cache
 * @local: of LOCAL and BOTH; with TMEM it may be there for dirty pages
 * @opaque: passed to @local
 */
struct tmem_fscache_config {
	size_t struct_size;
	uint32_t store;
	uint64_t seed;
	struct tmem_hypercall *hypercall;
	const struct tmem_fscache_local_ops *local;
	void *opaque;
};

void tmem_fscache_config_init(struct tmem_fscache_config *config);

struct tmem_fscache;
struct tmem_fscache_cookie;

/**
 * tmem_fscache_open() - a cache
 * @config: read during the call; what it points to outlives the cache
 * @cache: set on success
 *
 * One pool, ephemeral and private. When the host gives none, nothing is kept
 * there.
 *
 * Return: 0, -EINVAL, -ENOMEM.
 */
int tmem_fscache_open(const struct tmem_fscache_config *config,
		      struct tmem_fscache **cache);

/**
 * tmem_fscache_close() - end it
 * @cache: all its cookies are relinquished. NULL is allowed.
 */
void tmem_fscache_close(struct tmem_fscache *cache);

/* The longest key and auxiliary data, in bytes. */
#define TMEM_FSCACHE_KEY_MAX 512

/* What names an object, or says which version of it. */
struct tmem_fscache_blob {
	const void *data;
	size_t bytes;
};

/**
 * tmem_fscache_acquire() - a cookie for an index or a file
 * @cache: the cache
 * @parent: whose child it is, outlives it; NULL: none
 * @key: its name among the children of @parent
 * @aux: its version, as the server has it: pages of another version are not
 *	found
 * @cookie: set on success
 *
 * Return: 0, -EINVAL (too long, or nothing), -EBUSY (there is such a cookie),
 * -ENOMEM.
 */
int tmem_fscache_acquire(struct tmem_fscache *cache,
			 struct tmem_fscache_cookie *parent,
			 const struct tmem_fscache_blob *key,
			 const struct tmem_fscache_blob *aux,
			 struct tmem_fscache_cookie **cookie);

/**
 * tmem_fscache_relinquish() - let go of a cookie
 * @cookie: nobody uses it any more
 * @retire: drop its pages too; else who acquires the same version again may
 *	find them
 *
 * Return: 0, -EBUSY (there are dirty pages, and it is not retired; the cookie
 * stays).
 */
int tmem_fscache_relinquish(struct tmem_fscache_cookie *cookie, bool retire);

/**
 * tmem_fscache_check() - is this still the version that is cached?
 *
 * Return: 0, -ESTALE.
 */
int tmem_fscache_check(struct tmem_fscache_cookie *cookie,
		       const struct tmem_fscache_blob *aux);

/**
 * tmem_fscache_update() - it is another version now, with the same pages
 *
 * Return: 0, -EINVAL.
 */
int tmem_fscache_update(struct tmem_fscache_cookie *cookie,
			const struct tmem_fscache_blob *aux);

/**
 * tmem_fscache_invalidate() - drop all pages, dirty ones too
 */
void tmem_fscache_invalidate(struct tmem_fscache_cookie *cookie);

/**
 * tmem_fscache_set_size() - the file has another size
 * @cookie: the file
 * @bytes: pages beyond it are dropped and not taken any more; to begin with
 *	there is no limit
 *
 * Best called after tmem_fscache_acquire(): of what was relinquished before,
 * nothing has to be dropped then, since it is of the same version.
 */
void tmem_fscache_set_size(struct tmem_fscache_cookie *cookie, uint64_t bytes);

/**
 * tmem_fscache_read() - fill a page
 * @cookie: the file
 * @index: which page of it
 * @page: undefined unless the result is 0
 *
 * The page stays in the cache, or vanishes.
 *
 * Return: 0, -ENODATA (not there: read it from the server, and then write it),
 * -ENOBUFS (beyond the size), -EIO (it is dirty, and the local store has lost
 * it: the server has an older one).
 */
int tmem_fscache_read(struct tmem_fscache_cookie *cookie, uint64_t index,
		      void *page);

/**
 * tmem_fscache_write() - a page that the server has
 * @cookie: the file
 * @index: which page of it
 * @page: the page
 *
 * Whether it is kept nobody says; what was there before, dirty or not, is gone.
 *
 * Return: 0, -ENOBUFS (beyond the size).
 */
int tmem_fscache_write(struct tmem_fscache_cookie *cookie, uint64_t index,
		       const void *page);

/**
 * tmem_fscache_write_dirty() - a page that the server does not have yet
 * @cookie: the file
 * @index: which page of it
 * @page: the page
 *
 * It is kept locally, and does not vanish.
 *
 * Return: 0, -ENOBUFS (beyond the size, or there is no place; keep it), -ENOMEM
 * (keep it).
 */
int tmem_fscache_write_dirty(struct tmem_fscache_cookie *cookie, uint64_t index,
			     const void *page);

/**
 * tmem_fscache_written() - the server has it now
 * @cookie: the file
 * @index: a dirty page; one that is not is passed over
 *
 * It is clean, and goes where clean pages go.
 */
void tmem_fscache_written(struct tmem_fscache_cookie *cookie, uint64_t index);

#ifdef __cplusplus
}
#endif
#endif
