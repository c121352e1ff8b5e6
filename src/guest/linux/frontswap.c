/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Frontswap: where pages on their way to swap go first.
 *
 * The problem: a page that was stored must be found again, a page that was
 * refused must never be (an old copy of the same slot may be there still), and
 * asking a back end what it has costs a call per slot.
 *
 * The idea: one bit per slot says whether the page is in a back end, and that
 * bit alone is believed: without it there is no load and no invalidation.
 *
 *	pages of a device = bits set in its map, at all times
 *
 * A second store to a slot whose bit is set replaces the page or clears the
 * bit. A back end that refuses it may keep the old copy (zswap did), which
 * nobody could ever address again: it is told to drop it. The same goes for
 * back ends further down the list, when a newer one takes the page.
 *
 * The price is 1 bit per 4 KiB of swap: 1 MiB for 32 GiB.
 *
 * Modes. Write-through: stored pages are reported as refused, so that the
 * device has them too; a load that fails is then a miss. Otherwise the page is
 * lost, and says so: reading the device would bring back something old.
 * Exclusive: a load takes the page out.
 *
 * Locks: lock guards devices coming and going, and back ends coming. Slots need
 * none: a slot's owner is the only one to use it, and map and count are atomic.
 */
#include <config.h>

#include <stdlib.h>

#include <tmem/linux.h>

#include "bitmap.h"
#include "lock.h"
#include "versions.h"

struct device {
	/* set at creation, then constant */
	uint64_t slots;
	/* atomic */
	_Atomic uint64_t pages;
	_Atomic uint64_t map[];
};

struct backend {
	const struct tmem_frontswap_ops *ops;
	void *opaque;
};

struct tmem_frontswap {
	/* changed under lock, read without */
	struct tm_lock lock;
	_Atomic(struct device *) devices[TMEM_FRONTSWAP_TYPES_MAX];
	struct backend backends[TMEM_FRONTSWAP_BACKENDS_MAX];
	_Atomic unsigned backend_count; /* those that are complete */
	_Atomic uint32_t mode;
	/* statistics: each exact, together not of one moment */
	_Atomic uint64_t loads;
	_Atomic uint64_t succ_stores;
	_Atomic uint64_t failed_stores;
	_Atomic uint64_t invalidates;
};

static void count(_Atomic uint64_t *counter)
{
	atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

/* --- bits ---------------------------------------------------------------- */

static uint64_t bit_of(uint64_t offset)
{
	return UINT64_C(1) << (offset % TM_BITMAP_WORD_BITS);
}

static bool is_set(const struct device *device, uint64_t offset)
{
	return atomic_load(&device->map[offset / TM_BITMAP_WORD_BITS]) &
	       bit_of(offset);
}

static void set(struct device *device, uint64_t offset)
{
	uint64_t bit = bit_of(offset);

	if (!(atomic_fetch_or(&device->map[offset / TM_BITMAP_WORD_BITS], bit) &
	      bit))
		atomic_fetch_add(&device->pages, 1);
}

/* Was it set? */
static bool clear(struct device *device, uint64_t offset)
{
	uint64_t bit = bit_of(offset);

	if (!(atomic_fetch_and(&device->map[offset / TM_BITMAP_WORD_BITS],
			       ~bit) &
	      bit))
		return false;
	atomic_fetch_sub(&device->pages, 1);
	return true;
}

/* NULL: there is no such slot. */
static struct device *device_of(struct tmem_frontswap *frontswap, unsigned type,
				uint64_t offset)
{
	struct device *device;

	if (type >= TMEM_FRONTSWAP_TYPES_MAX)
		return NULL;
	device = atomic_load_explicit(&frontswap->devices[type],
				      memory_order_acquire);
	return device && offset < device->slots ? device : NULL;
}

/* --- back ends and devices ----------------------------------------------- */

int tmem_frontswap_create(struct tmem_frontswap **out)
{
	struct tmem_frontswap *frontswap;

	if (!out)
		return -EINVAL;
	frontswap = calloc(1, sizeof(*frontswap));
	if (!frontswap)
		return -ENOMEM;
	tm_lock_init(&frontswap->lock, TM_RANK_GUEST);
	*out = frontswap;
	return 0;
}

void tmem_frontswap_destroy(struct tmem_frontswap *frontswap)
{
	if (!frontswap)
		return;
	for (unsigned i = 0; i < TMEM_FRONTSWAP_TYPES_MAX; i++)
		tmem_frontswap_swapoff(frontswap, i);
	tm_lock_destroy(&frontswap->lock);
	free(frontswap);
}

int tmem_frontswap_register(struct tmem_frontswap *frontswap,
			    const struct tmem_frontswap_ops *ops, void *opaque)
{
	unsigned n;
	int err = 0;

	if (!frontswap || tm_known_check(ops, sizeof(*ops)))
		return -EINVAL;
	tm_lock_acquire(&frontswap->lock);
	n = atomic_load(&frontswap->backend_count);
	if (n == TMEM_FRONTSWAP_BACKENDS_MAX) {
		err = -EBUSY;
	} else {
		frontswap->backends[n] = (struct backend){ ops, opaque };
		for (unsigned i = 0; i < TMEM_FRONTSWAP_TYPES_MAX; i++)
			if (atomic_load(&frontswap->devices[i]))
				ops->init(opaque, i);
		atomic_store(&frontswap->backend_count, n + 1);
	}
	tm_lock_release(&frontswap->lock);
	return err;
}

int tmem_frontswap_swapon(struct tmem_frontswap *frontswap, unsigned type,
			  uint64_t slots)
{
	struct device *device;
	unsigned n;

	if (!frontswap || type >= TMEM_FRONTSWAP_TYPES_MAX || !slots ||
	    slots > SIZE_MAX / 2)
		return -EINVAL;
	device = calloc(1, sizeof(*device) +
				   tm_bitmap_words(slots) * sizeof(uint64_t));
	if (!device)
		return -ENOMEM;
	device->slots = slots;
	tm_lock_acquire(&frontswap->lock);
	if (atomic_load(&frontswap->devices[type])) {
		tm_lock_release(&frontswap->lock);
		free(device);
		return -EBUSY;
	}
	n = atomic_load(&frontswap->backend_count);
	while (n--)
		frontswap->backends[n].ops->init(frontswap->backends[n].opaque,
						 type);
	atomic_store(&frontswap->devices[type], device);
	tm_lock_release(&frontswap->lock);
	return 0;
}

void tmem_frontswap_swapoff(struct tmem_frontswap *frontswap, unsigned type)
{
	struct device *device;
	unsigned n;

	if (type >= TMEM_FRONTSWAP_TYPES_MAX)
		return;
	tm_lock_acquire(&frontswap->lock);
	device = atomic_exchange(&frontswap->devices[type], NULL);
	n = device ? atomic_load(&frontswap->backend_count) : 0;
	while (n--)
		frontswap->backends[n].ops->invalidate_area(
			frontswap->backends[n].opaque, type);
	tm_lock_release(&frontswap->lock);
	free(device);
}

int tmem_frontswap_set_mode(struct tmem_frontswap *frontswap, uint32_t flags)
{
	const uint32_t known =
		TMEM_FRONTSWAP_WRITETHROUGH | TMEM_FRONTSWAP_EXCLUSIVE;
	uint32_t before = atomic_load(&frontswap->mode);

	if (flags & ~known)
		return -EINVAL;
	/* Nobody has written what is here to the device. */
	if (flags & ~before & TMEM_FRONTSWAP_WRITETHROUGH &&
	    tmem_frontswap_pages(frontswap, -1))
		return -EBUSY;
	atomic_store(&frontswap->mode, flags);
	return 0;
}

int tmem_frontswap_get_counts(struct tmem_frontswap *frontswap,
			      struct tmem_frontswap_counts *counts)
{
	const struct tmem_frontswap_counts known = {
		.loads = atomic_load(&frontswap->loads),
		.succ_stores = atomic_load(&frontswap->succ_stores),
		.failed_stores = atomic_load(&frontswap->failed_stores),
		.invalidates = atomic_load(&frontswap->invalidates),
	};

	return tm_known_give(counts, &known, sizeof(known), sizeof(known));
}

/* --- slots --------------------------------------------------------------- */

static unsigned backends_of(struct tmem_frontswap *frontswap)
{
	return atomic_load_explicit(&frontswap->backend_count,
				    memory_order_acquire);
}

static void drop(struct backend *backend, unsigned type, uint64_t offset)
{
	backend->ops->invalidate_page(backend->opaque, type, offset);
}

int tmem_frontswap_store(struct tmem_frontswap *frontswap, unsigned type,
			 uint64_t offset, const void *page)
{
	struct device *device = device_of(frontswap, type, offset);
	unsigned n = backends_of(frontswap);
	bool is_duplicate, is_stored = false;

	if (!device)
		return -EINVAL;
	if (!n)
		return TMEM_FRONTSWAP_REFUSED;
	is_duplicate = is_set(device, offset);
	while (n--) {
		struct backend *b = &frontswap->backends[n];

		if (!is_stored && !b->ops->store(b->opaque, type, offset, page))
			is_stored = true;
		else if (is_duplicate)
			drop(b, type, offset);
	}
	if (!is_stored) {
		clear(device, offset);
		count(&frontswap->failed_stores);
		return TMEM_FRONTSWAP_REFUSED;
	}
	set(device, offset);
	count(&frontswap->succ_stores);
	return atomic_load(&frontswap->mode) & TMEM_FRONTSWAP_WRITETHROUGH
		       ? TMEM_FRONTSWAP_REFUSED
		       : TMEM_FRONTSWAP_STORED;
}

static void forget(struct tmem_frontswap *frontswap, struct device *device,
		   unsigned type, uint64_t offset)
{
	unsigned n = backends_of(frontswap);

	clear(device, offset);
	while (n--)
		drop(&frontswap->backends[n], type, offset);
}

int tmem_frontswap_load(struct tmem_frontswap *frontswap, unsigned type,
			uint64_t offset, void *page)
{
	struct device *device = device_of(frontswap, type, offset);
	uint32_t mode = atomic_load(&frontswap->mode);
	unsigned n = backends_of(frontswap);
	bool is_loaded = false;

	if (!device)
		return -EINVAL;
	if (!is_set(device, offset))
		return TMEM_FRONTSWAP_MISS;
	while (n-- && !is_loaded) {
		struct backend *b = &frontswap->backends[n];

		is_loaded = !b->ops->load(b->opaque, type, offset, page);
	}
	if (!is_loaded && !(mode & TMEM_FRONTSWAP_WRITETHROUGH))
		return -EIO;
	if (!is_loaded || mode & TMEM_FRONTSWAP_EXCLUSIVE)
		forget(frontswap, device, type, offset);
	if (!is_loaded)
		return TMEM_FRONTSWAP_MISS;
	count(&frontswap->loads);
	return mode & TMEM_FRONTSWAP_EXCLUSIVE ? TMEM_FRONTSWAP_HIT_DIRTY
					       : TMEM_FRONTSWAP_HIT;
}

void tmem_frontswap_invalidate_page(struct tmem_frontswap *frontswap,
				    unsigned type, uint64_t offset)
{
	struct device *device = device_of(frontswap, type, offset);

	if (!device || !is_set(device, offset))
		return;
	forget(frontswap, device, type, offset);
	count(&frontswap->invalidates);
}

int tmem_frontswap_is_stored(struct tmem_frontswap *frontswap, unsigned type,
			     uint64_t offset)
{
	struct device *device = device_of(frontswap, type, offset);

	return device && is_set(device, offset);
}

uint64_t tmem_frontswap_pages(struct tmem_frontswap *frontswap, int type)
{
	uint64_t pages = 0;

	for (unsigned i = 0; i < TMEM_FRONTSWAP_TYPES_MAX; i++) {
		struct device *device = type < 0 || (unsigned)type == i
						? device_of(frontswap, i, 0)
						: NULL;

		if (device)
			pages += atomic_load(&device->pages);
	}
	return pages;
}

/* --- taking pages back --------------------------------------------------- */

/* At most @want pages of one device. */
static int64_t unuse(struct tmem_frontswap *frontswap, unsigned type,
		     uint64_t want, const struct tmem_frontswap_vm *vm,
		     void *opaque)
{
	struct device *device = device_of(frontswap, type, 0);
	uint64_t done = 0;

	for (uint64_t at = 0; at < device->slots && done < want; at++) {
		int err;

		if (!(at % TM_BITMAP_WORD_BITS) &&
		    !atomic_load(&device->map[at / TM_BITMAP_WORD_BITS])) {
			at += TM_BITMAP_WORD_BITS - 1;
			continue;
		}
		if (!is_set(device, at))
			continue;
		err = vm->unuse_page(opaque, type, at);
		if (err < 0)
			return err;
		done += !is_set(device, at);
	}
	return (int64_t)done;
}

int64_t tmem_frontswap_shrink(struct tmem_frontswap *frontswap,
			      uint64_t target_pages,
			      const struct tmem_frontswap_vm *vm, void *opaque)
{
	uint64_t pages = tmem_frontswap_pages(frontswap, -1);

	if (tm_known_check(vm, sizeof(*vm)))
		return -EINVAL;
	for (int i = 0; i < TMEM_FRONTSWAP_TYPES_MAX; i++) {
		uint64_t want = pages > target_pages ? pages - target_pages : 0;
		uint64_t here = tmem_frontswap_pages(frontswap, i);

		if (want > here)
			want = here;
		if (want && vm->may_commit(opaque, want))
			return unuse(frontswap, (unsigned)i, want, vm, opaque);
	}
	return 0;
}
