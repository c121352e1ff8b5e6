/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * FS-Cache: pages of network file systems, kept in tmem, locally, or both.
 *
 * The problem, next to cleancache's: names are a server's and of any length;
 * another version of a file must not be found under its name; reads leave the
 * page where it is, but a private ephemeral pool gives its pages away; and
 * there are dirty pages, which tmem may lose at any time.
 *
 * The idea.
 * - An object's name is a hash of 192 bits over its parent's name, its key and
 *   its version, with a seed that the server does not know. A cookie that was
 *   given another version keeps its pages while it lives; when it is let go
 *   they are dropped, since their name says the old one.
 * - A page that was got from tmem is put back at once. Meanwhile, and when that
 *   is refused, it is not there: pages may vanish.
 * - A dirty page is kept by the local store, and nowhere else. Which ones are
 *   dirty is known here: a sorted list for each cookie. Written to the server,
 *   the page is clean, and goes where clean pages go.
 *
 *	dirty page	local only, for sure
 *	clean page	where `store` says, perhaps
 *
 * What is accepted: FS-Cache's calls may sleep and complete later, these do it
 * at once; nothing is ever "obtained" at first, since no name outlives the
 * cache; space is never reserved and pages never pinned.
 *
 * Locks: a cookie's, over all that is done with its pages, calls to the host
 * and the local store included; the cache's guards the table of cookies.
 */
#include <config.h>

#include <stdlib.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "calls.h"
#include "lock.h"
#include "versions.h"

#define BUCKETS 256
/* A file that is cut by more pages than these loses all of them. */
#define FLUSH_PAGES_MAX 64

struct tmem_fscache {
	/* set at creation, then constant */
	struct tmem_fscache_config config;
	int pool; /* negative: none */
	/* guarded by lock */
	struct tm_lock lock;
	struct tmem_fscache_cookie *buckets[BUCKETS];
};

struct tmem_fscache_cookie {
	/* set at creation, then constant */
	struct tmem_fscache *cache;
	struct tmem_oid name;
	/* guarded by the cache's lock */
	struct tmem_fscache_cookie *next;
	/* guarded by lock */
	struct tm_lock lock;
	uint64_t limit_pages;
	/* above all that are in tmem: put by this cookie, or by one before */
	uint64_t end_pages;
	uint64_t older_end_pages;
	bool is_sized;
	bool is_renamed; /* its version is not that of its name */
	size_t aux_bytes;
	uint8_t aux[TMEM_FSCACHE_KEY_MAX];
	uint64_t *dirty; /* indices, rising */
	size_t dirty_count;
	size_t dirty_max;
};

/* --- the cache ----------------------------------------------------------- */

void tmem_fscache_config_init(struct tmem_fscache_config *config)
{
	*config = (struct tmem_fscache_config){
		.struct_size = sizeof(*config),
		.store = TMEM_FSCACHE_TMEM,
	};
}

static int check_config(const struct tmem_fscache_config *config)
{
	if (config->store < TMEM_FSCACHE_LOCAL ||
	    config->store > TMEM_FSCACHE_BOTH)
		return -EINVAL;
	if (config->store & TMEM_FSCACHE_TMEM &&
	    tm_known_check(config->hypercall, sizeof(*config->hypercall)))
		return -EINVAL;
	if ((config->local || config->store & TMEM_FSCACHE_LOCAL) &&
	    tm_known_check(config->local, sizeof(*config->local)))
		return -EINVAL;
	return 0;
}

int tmem_fscache_open(const struct tmem_fscache_config *config,
		      struct tmem_fscache **out)
{
	struct tmem_fscache_config known;
	struct tmem_fscache *cache;

	tmem_fscache_config_init(&known);
	if (!out ||
	    tm_known_take(&known, sizeof(known), config, sizeof(known)) ||
	    check_config(&known))
		return -EINVAL;
	cache = calloc(1, sizeof(*cache));
	if (!cache)
		return -ENOMEM;
	cache->config = known;
	cache->pool = -1;
	if (known.store & TMEM_FSCACHE_TMEM)
		cache->pool = tm_call_new_pool(known.hypercall, 0, NULL);
	tm_lock_init(&cache->lock, TM_RANK_GUEST);
	*out = cache;
	return 0;
}

void tmem_fscache_close(struct tmem_fscache *cache)
{
	if (!cache)
		return;
	if (cache->pool >= 0)
		tm_call_destroy_pool(cache->config.hypercall, cache->pool);
	tm_lock_destroy(&cache->lock);
	free(cache);
}

/* --- where clean pages are ----------------------------------------------- */

static bool fits_tmem(const struct tmem_fscache_cookie *cookie, uint64_t index)
{
	return cookie->cache->pool >= 0 && index <= UINT32_MAX;
}

static bool may_be_in_tmem(const struct tmem_fscache_cookie *cookie,
			   uint64_t index)
{
	return fits_tmem(cookie, index) &&
	       (index < cookie->end_pages || index < cookie->older_end_pages);
}

static void tmem_put_clean(struct tmem_fscache_cookie *cookie, uint64_t index,
			   const void *page)
{
	struct tmem_fscache *cache = cookie->cache;

	if (!fits_tmem(cookie, index))
		return;
	tm_call_put_or_drop(cache->config.hypercall, cache->pool, &cookie->name,
			    (uint32_t)index, page);
	if (index >= cookie->end_pages)
		cookie->end_pages = index + 1;
}

/* A hit takes the page out of the pool: back with it. */
static bool tmem_read(struct tmem_fscache_cookie *cookie, uint64_t index,
		      void *page)
{
	struct tmem_fscache *cache = cookie->cache;

	if (!may_be_in_tmem(cookie, index) ||
	    tm_call_get(cache->config.hypercall, cache->pool, &cookie->name,
			(uint32_t)index, page) != 1)
		return false;
	tmem_put_clean(cookie, index, page);
	return true;
}

static void tmem_drop(struct tmem_fscache_cookie *cookie, uint64_t index)
{
	struct tmem_fscache *cache = cookie->cache;

	if (may_be_in_tmem(cookie, index))
		tm_call_flush_page(cache->config.hypercall, cache->pool,
				   &cookie->name, (uint32_t)index);
}

static void tmem_drop_all(struct tmem_fscache_cookie *cookie)
{
	struct tmem_fscache *cache = cookie->cache;

	if (cache->pool >= 0)
		tm_call_flush_object(cache->config.hypercall, cache->pool,
				     &cookie->name);
	cookie->end_pages = 0;
	cookie->older_end_pages = 0;
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/*
 * Pages from @first on. What a cookie before this one has left is of the same
 * version, and so of the size that is said first: nothing beyond that.
 */
static void tmem_drop_from(struct tmem_fscache_cookie *cookie, uint64_t first)
{
	uint64_t end = cookie->end_pages;

	if (cookie->is_sized && end < cookie->older_end_pages)
		end = cookie->older_end_pages;
	if (end > first && end - first > FLUSH_PAGES_MAX) {
		tmem_drop_all(cookie);
		return;
	}
	for (uint64_t i = first; i < end; i++)
		tmem_drop(cookie, i);
	cookie->end_pages = smaller(cookie->end_pages, first);
	cookie->older_end_pages = smaller(cookie->older_end_pages, first);
}

static const struct tmem_fscache_local_ops *
local_of(const struct tmem_fscache_cookie *cookie)
{
	return cookie->cache->config.local;
}

static void *opaque_of(const struct tmem_fscache_cookie *cookie)
{
	return cookie->cache->config.opaque;
}

static bool keeps_locally(const struct tmem_fscache_cookie *cookie)
{
	return cookie->cache->config.store & TMEM_FSCACHE_LOCAL;
}

static void local_drop_from(struct tmem_fscache_cookie *cookie, uint64_t index)
{
	if (local_of(cookie))
		local_of(cookie)->drop_from(opaque_of(cookie), &cookie->name,
					    index);
}

static void local_drop(struct tmem_fscache_cookie *cookie, uint64_t index)
{
	if (local_of(cookie))
		local_of(cookie)->drop_page(opaque_of(cookie), &cookie->name,
					    index);
}

/* --- dirty pages --------------------------------------------------------- */

/* Where @index is in the list, or would be. */
static size_t dirty_at(const struct tmem_fscache_cookie *cookie, uint64_t index)
{
	size_t low = 0, high = cookie->dirty_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (cookie->dirty[middle] < index)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool is_dirty(const struct tmem_fscache_cookie *cookie, uint64_t index)
{
	size_t at = dirty_at(cookie, index);

	return at < cookie->dirty_count && cookie->dirty[at] == index;
}

static int reserve_dirty(struct tmem_fscache_cookie *cookie)
{
	size_t max = cookie->dirty_max ? 2 * cookie->dirty_max : 16;
	uint64_t *more;

	if (cookie->dirty_count < cookie->dirty_max)
		return 0;
	more = realloc(cookie->dirty, max * sizeof(*more));
	if (!more)
		return -ENOMEM;
	cookie->dirty = more;
	cookie->dirty_max = max;
	return 0;
}

static void add_dirty(struct tmem_fscache_cookie *cookie, uint64_t index)
{
	size_t at = dirty_at(cookie, index);

	if (is_dirty(cookie, index))
		return;
	memmove(&cookie->dirty[at + 1], &cookie->dirty[at],
		(cookie->dirty_count - at) * sizeof(*cookie->dirty));
	cookie->dirty[at] = index;
	cookie->dirty_count++;
}

/* Was it? */
static bool remove_dirty(struct tmem_fscache_cookie *cookie, uint64_t index)
{
	size_t at = dirty_at(cookie, index);

	if (!is_dirty(cookie, index))
		return false;
	cookie->dirty_count--;
	memmove(&cookie->dirty[at], &cookie->dirty[at + 1],
		(cookie->dirty_count - at) * sizeof(*cookie->dirty));
	return true;
}

/* --- cookies ------------------------------------------------------------- */

static int check_blob(const struct tmem_fscache_blob *blob)
{
	return blob && blob->bytes <= TMEM_FSCACHE_KEY_MAX &&
			       (blob->data || !blob->bytes)
		       ? 0
		       : -EINVAL;
}

/* Each part with its length, so that none runs into the next. */
static void hash_part(XXH3_state_t *state, const void *data, uint64_t bytes)
{
	XXH3_128bits_update(state, &bytes, sizeof(bytes));
	if (bytes)
		XXH3_128bits_update(state, data, bytes);
}

static struct tmem_oid name_of(const struct tmem_fscache *cache,
			       const struct tmem_fscache_cookie *parent,
			       const struct tmem_fscache_blob *key,
			       const struct tmem_fscache_blob *aux)
{
	static const struct tmem_oid root;
	XXH128_hash_t hash[2];
	XXH3_state_t state;

	for (unsigned i = 0; i < 2; i++) {
		XXH3_128bits_reset_withSeed(&state, cache->config.seed + i);
		hash_part(&state, parent ? &parent->name : &root, sizeof(root));
		hash_part(&state, key->data, key->bytes);
		hash_part(&state, aux->data, aux->bytes);
		hash[i] = XXH3_128bits_digest(&state);
	}
	return (struct tmem_oid){ { hash[0].low64, hash[0].high64,
				    hash[1].low64 } };
}

/* The link to the cookie of that name, or to NULL. The caller holds the
 * cache's lock. */
static struct tmem_fscache_cookie **find(struct tmem_fscache *cache,
					 const struct tmem_oid *name)
{
	struct tmem_fscache_cookie **link =
		&cache->buckets[name->word[0] % BUCKETS];

	while (*link && memcmp(&(*link)->name, name, sizeof(*name)) != 0)
		link = &(*link)->next;
	return link;
}

int tmem_fscache_acquire(struct tmem_fscache *cache,
			 struct tmem_fscache_cookie *parent,
			 const struct tmem_fscache_blob *key,
			 const struct tmem_fscache_blob *aux,
			 struct tmem_fscache_cookie **out)
{
	struct tmem_fscache_cookie *cookie, **link;

	if (!cache || !out || check_blob(key) || !key->bytes || check_blob(aux))
		return -EINVAL;
	cookie = calloc(1, sizeof(*cookie));
	if (!cookie)
		return -ENOMEM;
	cookie->cache = cache;
	cookie->name = name_of(cache, parent, key, aux);
	cookie->limit_pages = UINT64_MAX;
	/* Another cookie may have left pages under this name. */
	cookie->older_end_pages = UINT64_C(1) << 32;
	cookie->aux_bytes = aux->bytes;
	if (aux->bytes)
		memcpy(cookie->aux, aux->data, aux->bytes);
	tm_lock_init(&cookie->lock, TM_RANK_GUEST_COOKIE);
	tm_lock_acquire(&cache->lock);
	link = find(cache, &cookie->name);
	if (*link) {
		tm_lock_release(&cache->lock);
		free(cookie);
		return -EBUSY;
	}
	*link = cookie;
	tm_lock_release(&cache->lock);
	*out = cookie;
	return 0;
}

/* The caller holds the cookie's lock. */
static void drop_all(struct tmem_fscache_cookie *cookie)
{
	cookie->dirty_count = 0;
	tmem_drop_all(cookie);
	local_drop_from(cookie, 0);
}

int tmem_fscache_relinquish(struct tmem_fscache_cookie *cookie, bool retire)
{
	struct tmem_fscache *cache = cookie->cache;

	tm_lock_acquire(&cookie->lock);
	if (cookie->dirty_count && !retire) {
		tm_lock_release(&cookie->lock);
		return -EBUSY;
	}
	if (retire || cookie->is_renamed)
		drop_all(cookie);
	tm_lock_release(&cookie->lock);
	tm_lock_acquire(&cache->lock);
	*find(cache, &cookie->name) = cookie->next;
	tm_lock_release(&cache->lock);
	tm_lock_destroy(&cookie->lock);
	free(cookie->dirty);
	free(cookie);
	return 0;
}

int tmem_fscache_check(struct tmem_fscache_cookie *cookie,
		       const struct tmem_fscache_blob *aux)
{
	int err = -ESTALE;

	if (check_blob(aux))
		return -ESTALE;
	tm_lock_acquire(&cookie->lock);
	if (aux->bytes == cookie->aux_bytes &&
	    (!aux->bytes || !memcmp(aux->data, cookie->aux, aux->bytes)))
		err = 0;
	tm_lock_release(&cookie->lock);
	return err;
}

int tmem_fscache_update(struct tmem_fscache_cookie *cookie,
			const struct tmem_fscache_blob *aux)
{
	if (check_blob(aux))
		return -EINVAL;
	tm_lock_acquire(&cookie->lock);
	cookie->aux_bytes = aux->bytes;
	if (aux->bytes)
		memcpy(cookie->aux, aux->data, aux->bytes);
	cookie->is_renamed = true;
	tm_lock_release(&cookie->lock);
	return 0;
}

void tmem_fscache_invalidate(struct tmem_fscache_cookie *cookie)
{
	tm_lock_acquire(&cookie->lock);
	drop_all(cookie);
	tm_lock_release(&cookie->lock);
}

void tmem_fscache_set_size(struct tmem_fscache_cookie *cookie, uint64_t bytes)
{
	uint64_t pages = bytes / TMEM_PAGE_SIZE + !!(bytes % TMEM_PAGE_SIZE);

	tm_lock_acquire(&cookie->lock);
	if (pages < cookie->limit_pages) {
		cookie->dirty_count = dirty_at(cookie, pages);
		tmem_drop_from(cookie, pages);
		local_drop_from(cookie, pages);
	}
	cookie->limit_pages = pages;
	cookie->is_sized = true;
	tm_lock_release(&cookie->lock);
}

/* --- pages --------------------------------------------------------------- */

/* The caller holds the cookie's lock. */
static int read_locked(struct tmem_fscache_cookie *cookie, uint64_t index,
		       void *page)
{
	bool dirty = is_dirty(cookie, index);

	if (index >= cookie->limit_pages)
		return -ENOBUFS;
	if (!dirty && tmem_read(cookie, index, page))
		return 0;
	if (!dirty && !keeps_locally(cookie))
		return -ENODATA;
	if (!local_of(cookie)->read(opaque_of(cookie), &cookie->name, index,
				    page))
		return 0;
	return dirty ? -EIO : -ENODATA;
}

int tmem_fscache_read(struct tmem_fscache_cookie *cookie, uint64_t index,
		      void *page)
{
	int err;

	tm_lock_acquire(&cookie->lock);
	err = read_locked(cookie, index, page);
	tm_lock_release(&cookie->lock);
	return err;
}

int tmem_fscache_write(struct tmem_fscache_cookie *cookie, uint64_t index,
		       const void *page)
{
	int err = 0;

	tm_lock_acquire(&cookie->lock);
	if (index >= cookie->limit_pages) {
		err = -ENOBUFS;
	} else {
		if (remove_dirty(cookie, index) && !keeps_locally(cookie))
			local_drop(cookie, index);
		if (keeps_locally(cookie))
			local_of(cookie)->write(opaque_of(cookie),
						&cookie->name, index, page);
		tmem_put_clean(cookie, index, page);
	}
	tm_lock_release(&cookie->lock);
	return err;
}

/* The caller holds the cookie's lock. */
static int write_dirty_locked(struct tmem_fscache_cookie *cookie,
			      uint64_t index, const void *page)
{
	int err;

	if (index >= cookie->limit_pages || !local_of(cookie))
		return -ENOBUFS;
	err = reserve_dirty(cookie);
	if (err)
		return err;
	tmem_drop(cookie, index);
	if (local_of(cookie)->write(opaque_of(cookie), &cookie->name, index,
				    page)) {
		remove_dirty(cookie, index);
		return -ENOBUFS;
	}
	add_dirty(cookie, index);
	return 0;
}

int tmem_fscache_write_dirty(struct tmem_fscache_cookie *cookie, uint64_t index,
			     const void *page)
{
	int err;

	tm_lock_acquire(&cookie->lock);
	err = write_dirty_locked(cookie, index, page);
	tm_lock_release(&cookie->lock);
	return err;
}

void tmem_fscache_written(struct tmem_fscache_cookie *cookie, uint64_t index)
{
	uint8_t page[TMEM_PAGE_SIZE];

	tm_lock_acquire(&cookie->lock);
	if (remove_dirty(cookie, index)) {
		if (!local_of(cookie)->read(opaque_of(cookie), &cookie->name,
					    index, page))
			tmem_put_clean(cookie, index, page);
		if (!keeps_locally(cookie))
			local_drop(cookie, index);
	}
	tm_lock_release(&cookie->lock);
}
