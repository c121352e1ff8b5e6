/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * FS-Cache, rule by rule: over each way to a real store, with a local store of
 * the test's own, which refuses or loses pages when told to.
 */
#include <config.h>

#include <pthread.h>

#include "guest_rig.h"

#define LOCAL_MAX 512

struct local_page {
	bool is_there;
	struct tmem_oid object;
	uint64_t index;
	uint8_t page[TMEM_PAGE_SIZE];
};

struct local {
	pthread_mutex_t lock;
	bool refuses, loses;
	struct local_page pages[LOCAL_MAX];
};

static struct local_page *
local_find(struct local *l, const struct tmem_oid *object, uint64_t index)
{
	for (int i = 0; i < LOCAL_MAX; i++) {
		struct local_page *p = &l->pages[i];

		if (p->is_there && p->index == index &&
		    !memcmp(&p->object, object, sizeof(*object)))
			return p;
	}
	return NULL;
}

static int local_read(void *opaque, const struct tmem_oid *object,
		      uint64_t index, void *page)
{
	struct local *l = opaque;
	struct local_page *p;

	pthread_mutex_lock(&l->lock);
	p = l->loses ? NULL : local_find(l, object, index);
	if (p)
		memcpy(page, p->page, TMEM_PAGE_SIZE);
	pthread_mutex_unlock(&l->lock);
	return p ? 0 : -1;
}

static void local_drop(void *opaque, const struct tmem_oid *object,
		       uint64_t index)
{
	struct local *l = opaque;
	struct local_page *p;

	pthread_mutex_lock(&l->lock);
	p = local_find(l, object, index);
	if (p)
		p->is_there = false;
	pthread_mutex_unlock(&l->lock);
}

static int local_write(void *opaque, const struct tmem_oid *object,
		       uint64_t index, const void *page)
{
	struct local *l = opaque;
	int at = 0;

	local_drop(opaque, object, index);
	if (l->refuses)
		return -1;
	pthread_mutex_lock(&l->lock);
	while (at < LOCAL_MAX && l->pages[at].is_there)
		at++;
	if (at < LOCAL_MAX) {
		l->pages[at].is_there = true;
		l->pages[at].object = *object;
		l->pages[at].index = index;
		memcpy(l->pages[at].page, page, TMEM_PAGE_SIZE);
	}
	pthread_mutex_unlock(&l->lock);
	return at < LOCAL_MAX ? 0 : -1;
}

static void local_drop_from(void *opaque, const struct tmem_oid *object,
			    uint64_t index)
{
	struct local *l = opaque;

	pthread_mutex_lock(&l->lock);
	for (int i = 0; i < LOCAL_MAX; i++)
		if (l->pages[i].index >= index &&
		    !memcmp(&l->pages[i].object, object, sizeof(*object)))
			l->pages[i].is_there = false;
	pthread_mutex_unlock(&l->lock);
}

static const struct tmem_fscache_local_ops local_ops = {
	.struct_size = sizeof(local_ops),
	.read = local_read,
	.write = local_write,
	.drop_page = local_drop,
	.drop_from = local_drop_from,
};

static int local_count(const struct local *l)
{
	int count = 0;

	for (int i = 0; i < LOCAL_MAX; i++)
		count += l->pages[i].is_there;
	return count;
}

/* --- a cache ------------------------------------------------------------- */

struct net {
	struct linux_guest g;
	struct local *local;
	struct tmem_fscache *cache;
};

static void net_begin(struct net *n, enum guest_way way, uint32_t store)
{
	struct tmem_fscache_config config;

	linux_guest_begin(&n->g, way);
	n->local = calloc(1, sizeof(*n->local));
	ck_assert_ptr_nonnull(n->local);
	pthread_mutex_init(&n->local->lock, NULL);
	tmem_fscache_config_init(&config);
	config.store = store;
	config.seed = tm_test_seed();
	config.hypercall = n->g.hypercall;
	config.local = &local_ops;
	config.opaque = n->local;
	ck_assert_int_eq(tmem_fscache_open(&config, &n->cache), 0);
}

static void net_end(struct net *n)
{
	tmem_fscache_close(n->cache);
	linux_guest_end(&n->g);
	free(n->local);
}

static int acquire(struct net *n, struct tmem_fscache_cookie *parent,
		   const char *key, const char *version,
		   struct tmem_fscache_cookie **cookie)
{
	const struct tmem_fscache_blob k = { key, strlen(key) };
	const struct tmem_fscache_blob v = { version, strlen(version) };

	return tmem_fscache_acquire(n->cache, parent, &k, &v, cookie);
}

static struct tmem_fscache_cookie *must_acquire(struct net *n, const char *key,
						const char *version)
{
	struct tmem_fscache_cookie *cookie;

	ck_assert_int_eq(acquire(n, NULL, key, version, &cookie), 0);
	return cookie;
}

static int update(struct tmem_fscache_cookie *cookie, const char *version)
{
	const struct tmem_fscache_blob v = { version, strlen(version) };

	return tmem_fscache_update(cookie, &v);
}

static int check(struct tmem_fscache_cookie *cookie, const char *version)
{
	const struct tmem_fscache_blob v = { version, strlen(version) };

	return tmem_fscache_check(cookie, &v);
}

static int net_write(struct tmem_fscache_cookie *cookie, uint64_t index,
		     uint64_t number)
{
	uint8_t page[TMEM_PAGE_SIZE];

	tm_page_fill(page, TM_PAGE_TEXT, number);
	return tmem_fscache_write(cookie, index, page);
}

static int net_write_dirty(struct tmem_fscache_cookie *cookie, uint64_t index,
			   uint64_t number)
{
	uint8_t page[TMEM_PAGE_SIZE];

	tm_page_fill(page, TM_PAGE_TEXT, number);
	return tmem_fscache_write_dirty(cookie, index, page);
}

static int net_read(struct tmem_fscache_cookie *cookie, uint64_t index,
		    uint64_t number)
{
	uint8_t page[TMEM_PAGE_SIZE], want[TMEM_PAGE_SIZE];
	int err;

	memset(page, 0xa5, sizeof(page));
	err = tmem_fscache_read(cookie, index, page);
	if (!err) {
		tm_page_fill(want, TM_PAGE_TEXT, number);
		ck_assert_mem_eq(page, want, sizeof(page));
	}
	return err;
}

/* --- pages --------------------------------------------------------------- */

START_TEST(a_read_leaves_the_page)
{
	for (uint32_t store = TMEM_FSCACHE_LOCAL; store <= TMEM_FSCACHE_BOTH;
	     store++) {
		struct tmem_fscache_cookie *c;
		struct net n;

		net_begin(&n, _i, store);
		c = must_acquire(&n, "file", "1");
		ck_assert_int_eq(net_read(c, 3, 1), -ENODATA);
		ck_assert_int_eq(net_write(c, 3, 1), 0);
		for (int i = 0; i < 3; i++)
			ck_assert_int_eq(net_read(c, 3, 1), 0);
		ck_assert_uint_eq(guest_pages_stored(&n.g),
				  store & TMEM_FSCACHE_TMEM ? 1 : 0);
		ck_assert_int_eq(local_count(n.local),
				 store & TMEM_FSCACHE_LOCAL ? 1 : 0);
		tmem_fscache_relinquish(c, true);
		ck_assert_int_eq(local_count(n.local), 0);
		net_end(&n);
	}
}
END_TEST

START_TEST(pages_may_vanish)
{
	struct tmem_fscache_cookie *c;
	struct net n;

	net_begin(&n, _i, TMEM_FSCACHE_TMEM);
	c = must_acquire(&n, "file", "1");
	net_write(c, 3, 1);
	tmem_store_evict(guest_store(&n.g), UINT64_MAX);
	ck_assert_int_eq(net_read(c, 3, 1), -ENODATA);
	net_write(c, 3, 2);
	ck_assert_int_eq(net_read(c, 3, 2), 0);
	tmem_fscache_relinquish(c, false);
	net_end(&n);
	/* With a local store they do not. */
	net_begin(&n, _i, TMEM_FSCACHE_BOTH);
	c = must_acquire(&n, "file", "1");
	net_write(c, 3, 1);
	tmem_store_evict(guest_store(&n.g), UINT64_MAX);
	ck_assert_int_eq(net_read(c, 3, 1), 0);
	tmem_fscache_relinquish(c, false);
	net_end(&n);
}
END_TEST

START_TEST(invalidate_drops_data_and_keeps_the_object)
{
	struct tmem_fscache_cookie *c;
	struct net n;

	net_begin(&n, _i, TMEM_FSCACHE_BOTH);
	c = must_acquire(&n, "file", "1");
	net_write(c, 3, 1);
	net_write_dirty(c, 4, 2);
	tmem_fscache_invalidate(c);
	ck_assert_int_eq(net_read(c, 3, 1), -ENODATA);
	ck_assert_int_eq(net_read(c, 4, 2), -ENODATA);
	ck_assert_int_eq(net_write(c, 3, 5), 0);
	ck_assert_int_eq(net_read(c, 3, 5), 0);
	ck_assert_int_eq(tmem_fscache_relinquish(c, false), 0);
	net_end(&n);
}
END_TEST

START_TEST(size_is_a_limit_and_what_is_beyond_goes)
{
	for (uint32_t store = TMEM_FSCACHE_LOCAL; store <= TMEM_FSCACHE_BOTH;
	     store++) {
		struct tmem_fscache_cookie *c;
		struct net n;

		net_begin(&n, _i, store);
		c = must_acquire(&n, "file", "1");
		for (uint64_t i = 0; i < 100; i++)
			net_write(c, i, i);
		net_write_dirty(c, 99, 99);
		tmem_fscache_set_size(c, 90 * TMEM_PAGE_SIZE + 1);
		ck_assert_int_eq(net_read(c, 90, 90), 0);
		ck_assert_int_eq(net_read(c, 91, 91), -ENOBUFS);
		ck_assert_int_eq(net_write(c, 91, 91), -ENOBUFS);
		ck_assert_int_eq(net_write_dirty(c, 91, 91), -ENOBUFS);
		/* Longer again, there is nothing. */
		tmem_fscache_set_size(c, UINT64_MAX);
		for (uint64_t i = 0; i < 100; i++)
			ck_assert_int_eq(net_read(c, i, i),
					 i <= 90 ? 0 : -ENODATA);
		/* So much less that all may go. */
		tmem_fscache_set_size(c, TMEM_PAGE_SIZE);
		tmem_fscache_set_size(c, UINT64_MAX);
		for (uint64_t i = 1; i < 100; i++)
			ck_assert_int_eq(net_read(c, i, i), -ENODATA);
		ck_assert_int_eq(tmem_fscache_relinquish(c, false), 0);
		net_end(&n);
	}
}
END_TEST

START_TEST(index_beyond_32_bits_is_for_the_local_store)
{
	const uint64_t beyond = (UINT64_C(1) << 32) + 3;
	struct tmem_fscache_cookie *c;
	struct net n;

	net_begin(&n, _i, TMEM_FSCACHE_BOTH);
	c = must_acquire(&n, "file", "1");
	net_write(c, 3, 1);
	net_write(c, beyond, 2);
	ck_assert_int_eq(net_read(c, beyond, 2), 0);
	ck_assert_int_eq(net_read(c, 3, 1), 0);
	ck_assert_uint_eq(guest_pages_stored(&n.g), 1);
	tmem_fscache_relinquish(c, true);
	net_end(&n);
	net_begin(&n, _i, TMEM_FSCACHE_TMEM);
	c = must_acquire(&n, "file", "1");
	ck_assert_int_eq(net_write(c, beyond, 2), 0);
	ck_assert_int_eq(net_read(c, beyond, 2), -ENODATA);
	tmem_fscache_relinquish(c, true);
	net_end(&n);
}
END_TEST

/* --- dirty pages --------------------------------------------------------- */

START_TEST(dirty_pages_are_local_until_written_and_then_forwarded)
{
	for (uint32_t store = TMEM_FSCACHE_LOCAL; store <= TMEM_FSCACHE_BOTH;
	     store++) {
		struct tmem_fscache_cookie *c;
		struct net n;

		net_begin(&n, _i, store);
		c = must_acquire(&n, "file", "1");
		/* An older page is in tmem. */
		net_write(c, 3, 1);
		ck_assert_int_eq(net_write_dirty(c, 3, 2), 0);
		ck_assert_uint_eq(guest_pages_stored(&n.g), 0);
		ck_assert_int_eq(local_count(n.local), 1);
		tmem_store_evict(guest_store(&n.g), UINT64_MAX);
		ck_assert_int_eq(net_read(c, 3, 2), 0);
		tmem_fscache_written(c, 3);
		tmem_fscache_written(c, 4);
		ck_assert_uint_eq(guest_pages_stored(&n.g),
				  store & TMEM_FSCACHE_TMEM ? 1 : 0);
		ck_assert_int_eq(local_count(n.local),
				 store & TMEM_FSCACHE_LOCAL ? 1 : 0);
		ck_assert_int_eq(net_read(c, 3, 2), 0);
		tmem_fscache_relinquish(c, true);
		net_end(&n);
	}
}
END_TEST

START_TEST(dirty_page_without_a_place_is_refused_and_nothing_older_found)
{
	struct tmem_fscache_config config;
	struct tmem_fscache_cookie *c;
	struct net n;

	net_begin(&n, _i, TMEM_FSCACHE_BOTH);
	c = must_acquire(&n, "file", "1");
	net_write(c, 3, 1);
	n.local->refuses = true;
	ck_assert_int_eq(net_write_dirty(c, 3, 2), -ENOBUFS);
	ck_assert_int_eq(net_read(c, 3, 2), -ENODATA);
	/* Nor of one that was dirty before. */
	n.local->refuses = false;
	net_write_dirty(c, 3, 3);
	n.local->refuses = true;
	ck_assert_int_eq(net_write_dirty(c, 3, 4), -ENOBUFS);
	ck_assert_int_eq(net_read(c, 3, 4), -ENODATA);
	ck_assert_int_eq(tmem_fscache_relinquish(c, false), 0);
	tmem_fscache_close(n.cache);
	/* Without a local store there is none at all. */
	tmem_fscache_config_init(&config);
	config.hypercall = n.g.hypercall;
	ck_assert_int_eq(tmem_fscache_open(&config, &n.cache), 0);
	c = must_acquire(&n, "file", "1");
	ck_assert_int_eq(net_write_dirty(c, 3, 2), -ENOBUFS);
	tmem_fscache_relinquish(c, false);
	net_end(&n);
}
END_TEST

START_TEST(dirty_pages_keep_their_cookie)
{
	struct tmem_fscache_cookie *c;
	struct net n;

	net_begin(&n, _i, TMEM_FSCACHE_TMEM);
	c = must_acquire(&n, "file", "1");
	for (uint64_t i = 0; i < 50; i++)
		ck_assert_int_eq(net_write_dirty(c, i * 7 % 50, i * 7 % 50), 0);
	ck_assert_int_eq(tmem_fscache_relinquish(c, false), -EBUSY);
	for (uint64_t i = 0; i < 50; i++) {
		ck_assert_int_eq(net_read(c, i, i), 0);
		tmem_fscache_written(c, i);
		ck_assert_int_eq(local_count(n.local), 49 - (int)i);
		ck_assert_int_eq(net_read(c, i, i), 0);
	}
	ck_assert_int_eq(tmem_fscache_relinquish(c, false), 0);
	net_end(&n);
}
END_TEST

START_TEST(a_dirty_page_that_is_lost_is_an_error)
{
	struct tmem_fscache_cookie *c;
	struct net n;

	net_begin(&n, _i, TMEM_FSCACHE_BOTH);
	c = must_acquire(&n, "file", "1");
	net_write_dirty(c, 3, 1);
	n.local->loses = true;
	ck_assert_int_eq(net_read(c, 3, 1), -EIO);
	tmem_fscache_relinquish(c, true);
	net_end(&n);
}
END_TEST

/* --- any sequence of calls ---------------------------------------------- */

#define MODEL_PAGES 40

/* What a network file system knows of its file. */
struct model {
	struct tmem_fscache_cookie *cookie;
	uint64_t number[MODEL_PAGES]; /* 0: nothing may be found */
	bool is_dirty[MODEL_PAGES];
	uint64_t size_pages;
	unsigned version;
	uint64_t next;
};

static void model_forget(struct model *m, uint64_t from)
{
	for (uint64_t i = from; i < MODEL_PAGES; i++) {
		m->number[i] = 0;
		m->is_dirty[i] = false;
	}
}

static void model_read(struct net *n, struct model *m, uint64_t i)
{
	int err = net_read(m->cookie, i, m->number[i]);

	(void)n;
	if (i >= m->size_pages)
		ck_assert_int_eq(err, -ENOBUFS);
	else if (m->is_dirty[i])
		ck_assert_int_eq(err, 0);
	else if (err || !m->number[i])
		ck_assert_int_eq(err, -ENODATA);
}

static void model_write(struct net *n, struct model *m, uint64_t i,
			bool is_dirty)
{
	uint64_t number = ++m->next;
	int err = is_dirty ? net_write_dirty(m->cookie, i, number)
			   : net_write(m->cookie, i, number);

	if (i >= m->size_pages) {
		ck_assert_int_eq(err, -ENOBUFS);
		return;
	}
	if (is_dirty)
		ck_assert_int_eq(err, n->local->refuses ? -ENOBUFS : 0);
	m->number[i] = err ? 0 : number;
	m->is_dirty[i] = is_dirty && !err;
}

/* Relinquished and acquired again, as the same version or as the next one. */
static void model_reopen(struct net *n, struct model *m, bool is_same)
{
	char version[16];

	for (uint64_t i = 0; i < MODEL_PAGES; i++)
		if (m->is_dirty[i]) {
			tmem_fscache_written(m->cookie, i);
			m->is_dirty[i] = false;
		}
	ck_assert_int_eq(tmem_fscache_relinquish(m->cookie, false), 0);
	if (!is_same) {
		m->version++;
		model_forget(m, 0);
	}
	snprintf(version, sizeof(version), "%u", m->version);
	m->cookie = must_acquire(n, "file", version);
	tmem_fscache_set_size(m->cookie, m->size_pages * TMEM_PAGE_SIZE);
}

static void model_step(struct net *n, struct model *m, uint64_t r)
{
	uint64_t i = (r >> 8) % MODEL_PAGES;

	n->local->refuses = (r >> 16) % 8 == 0;
	switch (r % 64) {
	case 0:
		model_reopen(n, m, r & 64);
		break;
	case 1:
		tmem_fscache_invalidate(m->cookie);
		model_forget(m, 0);
		break;
	case 2:
	case 3:
		tmem_fscache_set_size(m->cookie, i * TMEM_PAGE_SIZE);
		model_forget(m, i);
		m->size_pages = i;
		break;
	case 4:
		tmem_store_evict(guest_store(&n->g), UINT64_MAX);
		break;
	case 5:
		tmem_fscache_set_size(m->cookie, MODEL_PAGES * TMEM_PAGE_SIZE);
		m->size_pages = MODEL_PAGES;
		break;
	default:
		if (r & 64)
			model_read(n, m, i);
		else if (r & 128)
			model_write(n, m, i, r >> 20 & 1);
		else {
			tmem_fscache_written(m->cookie, i);
			m->is_dirty[i] = false;
		}
	}
}

START_TEST(any_sequence_of_calls_finds_the_last_page_or_none)
{
	uint64_t state = tm_test_seed();

	for (uint32_t store = TMEM_FSCACHE_LOCAL; store <= TMEM_FSCACHE_BOTH;
	     store++) {
		struct model m = { .size_pages = MODEL_PAGES, .version = 1 };
		struct net n;

		net_begin(&n, _i, store);
		m.cookie = must_acquire(&n, "file", "1");
		for (int i = 0; i < 5000; i++)
			model_step(&n, &m, tm_test_random(&state));
		tmem_fscache_relinquish(m.cookie, true);
		net_end(&n);
	}
}
END_TEST

/* --- cookies ------------------------------------------------------------- */

START_TEST(relinquished_pages_are_found_again_and_retired_ones_not)
{
	struct tmem_fscache_cookie *c;
	struct net n;

	net_begin(&n, _i, TMEM_FSCACHE_TMEM);
	c = must_acquire(&n, "file", "1");
	net_write(c, 3, 1);
	tmem_fscache_relinquish(c, false);
	c = must_acquire(&n, "file", "1");
	ck_assert_int_eq(net_read(c, 3, 1), 0);
	tmem_fscache_relinquish(c, true);
	c = must_acquire(&n, "file", "1");
	ck_assert_int_eq(net_read(c, 3, 1), -ENODATA);
	tmem_fscache_relinquish(c, false);
	net_end(&n);
}
END_TEST

START_TEST(size_said_first_keeps_what_was_relinquished)
{
	struct tmem_fscache_cookie *c;
	struct net n;

	net_begin(&n, _i, TMEM_FSCACHE_TMEM);
	c = must_acquire(&n, "file", "1");
	for (uint64_t i = 0; i < 100; i++)
		net_write(c, i, i);
	tmem_fscache_relinquish(c, false);
	c = must_acquire(&n, "file", "1");
	tmem_fscache_set_size(c, 100 * TMEM_PAGE_SIZE);
	ck_assert_int_eq(net_read(c, 99, 99), 0);
	/* Cut again, by the page. */
	tmem_fscache_set_size(c, 90 * TMEM_PAGE_SIZE);
	tmem_fscache_set_size(c, 100 * TMEM_PAGE_SIZE);
	for (uint64_t i = 0; i < 100; i++)
		ck_assert_int_eq(net_read(c, i, i), i < 90 ? 0 : -ENODATA);
	tmem_fscache_relinquish(c, false);
	net_end(&n);
}
END_TEST

START_TEST(another_version_finds_nothing)
{
	struct tmem_fscache_cookie *c;
	struct net n;

	net_begin(&n, _i, TMEM_FSCACHE_BOTH);
	c = must_acquire(&n, "file", "1");
	net_write(c, 3, 1);
	ck_assert_int_eq(check(c, "1"), 0);
	ck_assert_int_eq(check(c, "2"), -ESTALE);
	ck_assert_int_eq(check(c, ""), -ESTALE);
	tmem_fscache_relinquish(c, false);
	c = must_acquire(&n, "file", "2");
	ck_assert_int_eq(net_read(c, 3, 1), -ENODATA);
	tmem_fscache_relinquish(c, false);
	net_end(&n);
}
END_TEST

/* Its pages are of version 2 then: nobody may find them as version 1. */
START_TEST(updated_cookie_keeps_its_pages_while_it_lives)
{
	struct tmem_fscache_cookie *c;
	struct net n;

	net_begin(&n, _i, TMEM_FSCACHE_BOTH);
	c = must_acquire(&n, "file", "1");
	net_write(c, 3, 1);
	ck_assert_int_eq(update(c, "2"), 0);
	ck_assert_int_eq(check(c, "2"), 0);
	ck_assert_int_eq(check(c, "1"), -ESTALE);
	ck_assert_int_eq(net_read(c, 3, 1), 0);
	net_write(c, 3, 2);
	tmem_fscache_relinquish(c, false);
	c = must_acquire(&n, "file", "1");
	ck_assert_int_eq(net_read(c, 3, 1), -ENODATA);
	tmem_fscache_relinquish(c, false);
	net_end(&n);
}
END_TEST

START_TEST(names_are_told_apart)
{
	static const char *const keys[] = { "a", "b", "ab", "aa", "b1", "1" };
	struct tmem_fscache_cookie *c[6], *child[6], *again;
	struct net n;

	net_begin(&n, _i, TMEM_FSCACHE_TMEM);
	for (uint64_t i = 0; i < 6; i++) {
		c[i] = must_acquire(&n, keys[i], "1");
		ck_assert_int_eq(acquire(&n, c[i], "a", "1", &child[i]), 0);
		net_write(c[i], 0, i);
		net_write(child[i], 0, 100 + i);
	}
	ck_assert_int_eq(acquire(&n, NULL, "ab", "1", &again), -EBUSY);
	ck_assert_int_eq(acquire(&n, c[2], "a", "1", &again), -EBUSY);
	for (uint64_t i = 0; i < 6; i++) {
		ck_assert_int_eq(net_read(c[i], 0, i), 0);
		ck_assert_int_eq(net_read(child[i], 0, 100 + i), 0);
	}
	/* Where a key ends, its version begins. */
	ck_assert_int_eq(acquire(&n, NULL, "a", "b1", &again), 0);
	ck_assert_int_eq(net_read(again, 0, 0), -ENODATA);
	tmem_fscache_relinquish(again, false);
	for (int i = 0; i < 6; i++) {
		tmem_fscache_relinquish(child[i], false);
		tmem_fscache_relinquish(c[i], i % 2);
	}
	net_end(&n);
}
END_TEST

START_TEST(nonsense_is_refused)
{
	const struct tmem_fscache_blob none = { NULL, 0 }, bad = { NULL, 5 };
	const struct tmem_fscache_blob ok = { "x", 1 };
	static const char text[TMEM_FSCACHE_KEY_MAX + 1];
	const struct tmem_fscache_blob longest = { text, TMEM_FSCACHE_KEY_MAX };
	const struct tmem_fscache_blob too_long = { text, sizeof(text) };
	struct tmem_fscache_config config;
	struct tmem_fscache_cookie *c;
	struct tmem_fscache *cache;
	struct net n;

	net_begin(&n, _i, TMEM_FSCACHE_TMEM);
	ck_assert_int_eq(tmem_fscache_acquire(n.cache, NULL, &none, &ok, &c),
			 -EINVAL);
	ck_assert_int_eq(tmem_fscache_acquire(n.cache, NULL, &bad, &ok, &c),
			 -EINVAL);
	ck_assert_int_eq(tmem_fscache_acquire(n.cache, NULL, &ok, &bad, &c),
			 -EINVAL);
	ck_assert_int_eq(
		tmem_fscache_acquire(n.cache, NULL, &too_long, &ok, &c),
		-EINVAL);
	ck_assert_int_eq(tmem_fscache_acquire(n.cache, NULL, NULL, &ok, &c),
			 -EINVAL);
	ck_assert_int_eq(
		tmem_fscache_acquire(n.cache, NULL, &longest, &none, &c), 0);
	ck_assert_int_eq(tmem_fscache_check(c, &none), 0);
	ck_assert_int_eq(tmem_fscache_check(c, &too_long), -ESTALE);
	ck_assert_int_eq(tmem_fscache_update(c, &too_long), -EINVAL);
	tmem_fscache_relinquish(c, false);
	tmem_fscache_config_init(&config);
	ck_assert_int_eq(tmem_fscache_open(&config, &cache), -EINVAL);
	config.hypercall = n.g.hypercall;
	config.store = TMEM_FSCACHE_BOTH;
	ck_assert_int_eq(tmem_fscache_open(&config, &cache), -EINVAL);
	config.local = &local_ops;
	for (config.store = 0; config.store < 9; config.store += 4)
		ck_assert_int_eq(tmem_fscache_open(&config, &cache), -EINVAL);
	ck_assert_int_eq(tmem_fscache_open(NULL, &cache), -EINVAL);
	tmem_fscache_close(NULL);
	net_end(&n);
}
END_TEST

/* --- threads ------------------------------------------------------------- */

struct reader {
	struct tmem_fscache_cookie *cookie;
	uint64_t state;
	uint64_t found;
};

/* What is there is what the server has, whoever else is at it. */
static void *read_and_write(void *argument)
{
	struct reader *r = argument;

	for (int i = 0; i < 3000; i++) {
		uint64_t random = tm_test_random(&r->state);
		uint64_t index = random % 64;

		if (random >> 62)
			r->found += !net_read(r->cookie, index, index);
		else if (random >> 56 & 1)
			ck_assert_int_eq(net_write(r->cookie, index, index), 0);
		else if (random >> 57 & 1)
			ck_assert_int_eq(
				net_write_dirty(r->cookie, index, index), 0);
		else
			tmem_fscache_written(r->cookie, index);
	}
	return NULL;
}

START_TEST(many_threads_one_file)
{
	struct reader readers[3];
	pthread_t threads[3];
	struct tmem_fscache_cookie *c;
	struct net n;

	net_begin(&n, _i, TMEM_FSCACHE_TMEM);
	c = must_acquire(&n, "file", "1");
	for (unsigned i = 0; i < 3; i++) {
		readers[i] = (struct reader){ c, tm_test_seed() + i, 0 };
		pthread_create(&threads[i], NULL, read_and_write, &readers[i]);
	}
	for (unsigned i = 0; i < 3; i++) {
		pthread_join(threads[i], NULL);
		ck_assert_uint_gt(readers[i].found, 0);
	}
	tmem_fscache_relinquish(c, true);
	net_end(&n);
}
END_TEST

#define EACH_WAY(test) tcase_add_loop_test(tcase, test, 0, GUEST_WAYS)

int main(void)
{
	Suite *suite = suite_create("fscache");
	TCase *tcase = tcase_create("pages");

	EACH_WAY(a_read_leaves_the_page);
	EACH_WAY(pages_may_vanish);
	EACH_WAY(invalidate_drops_data_and_keeps_the_object);
	EACH_WAY(size_is_a_limit_and_what_is_beyond_goes);
	EACH_WAY(index_beyond_32_bits_is_for_the_local_store);
	suite_add_tcase(suite, tcase);
	tcase = tcase_create("dirty");
	EACH_WAY(dirty_pages_are_local_until_written_and_then_forwarded);
	EACH_WAY(dirty_page_without_a_place_is_refused_and_nothing_older_found);
	EACH_WAY(dirty_pages_keep_their_cookie);
	EACH_WAY(a_dirty_page_that_is_lost_is_an_error);
	suite_add_tcase(suite, tcase);
	tcase = tcase_create("any sequence");
	EACH_WAY(any_sequence_of_calls_finds_the_last_page_or_none);
	suite_add_tcase(suite, tcase);
	tcase = tcase_create("cookies");
	EACH_WAY(relinquished_pages_are_found_again_and_retired_ones_not);
	EACH_WAY(size_said_first_keeps_what_was_relinquished);
	EACH_WAY(another_version_finds_nothing);
	EACH_WAY(updated_cookie_keeps_its_pages_while_it_lives);
	EACH_WAY(names_are_told_apart);
	tcase_add_test(tcase, nonsense_is_refused);
	suite_add_tcase(suite, tcase);
	tcase = tcase_create("threads");
	EACH_WAY(many_threads_one_file);
	suite_add_tcase(suite, tcase);
	return tm_test_run(suite);
}
