/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A Linux guest to test with: cleancache, frontswap and driver, over one of
 * the ways to a store. Tests are looped over them: _i is an enum guest_way.
 *
 * The guest's command line says `tmem`; what its driver logs is kept. The store
 * is checked when the guest has gone.
 */
#ifndef TM_GUEST_RIG_H
#define TM_GUEST_RIG_H

#include <tmem/linux.h>

#include "ring_host.h"
#include "test_store.h"

enum guest_way {
	GUEST_DOMAIN, /* a Xen front end in this process */
	GUEST_CLIENT, /* a client of a store in this process */
	GUEST_RING, /* a daemon's channel */
	GUEST_WAYS
};

#define GUEST_LINES_MAX 8

struct linux_guest {
	enum guest_way way;
	struct tm_test_store t; /* all but GUEST_RING */
	struct ring_host host; /* GUEST_RING */
	struct tmem_xen *xen; /* GUEST_DOMAIN */
	struct tmem_client *connected; /* GUEST_RING */
	struct tmem_hypercall *hypercall;
	struct tmem_cleancache *cache;
	struct tmem_frontswap *swap;
	struct tmem_driver *driver;
	unsigned lines;
	char line[GUEST_LINES_MAX][128];
};

static inline void guest_log(void *opaque, enum tmem_log_level level,
			     const char *text)
{
	struct linux_guest *g = opaque;

	(void)level;
	ck_assert_uint_lt(g->lines, GUEST_LINES_MAX);
	snprintf(g->line[g->lines++], sizeof(g->line[0]), "%s", text);
}

static inline void guest_open_domain(struct linux_guest *g)
{
	struct tmem_xen_domain_config domain;
	struct tmem_client_config client;
	struct tmem_xen_config config;

	tmem_xen_config_init(&config);
	config.store = g->t.store;
	ck_assert_int_eq(tmem_xen_open(&config, &g->xen), 0);
	tmem_client_config_init(&client);
	client.name = "domain 1";
	tmem_xen_domain_config_init(&domain);
	domain.id = 1;
	domain.client_config = &client;
	ck_assert_int_eq(
		tmem_hypercall_open_domain(g->xen, &domain, &g->hypercall), 0);
}

static inline void guest_open_ring(struct linux_guest *g, uint64_t memory_bytes)
{
	struct tmem_connect_config config;

	ring_host_init(&g->host, memory_bytes);
	ring_host_open(&g->host);
	tmem_connect_config_init(&config);
	config.socket = g->host.socket;
	config.name = "guest";
	ck_assert_int_eq(tmem_connect(&config, &g->connected), 0);
	ck_assert_int_eq(
		tmem_hypercall_open_client(g->connected, &g->hypercall), 0);
}

static inline void guest_load_driver(struct linux_guest *g)
{
	struct tmem_driver_config config;

	tmem_driver_config_init(&config);
	config.hypercall = g->hypercall;
	config.cleancache = g->cache;
	config.frontswap = g->swap;
	config.log = guest_log;
	config.opaque = g;
	ck_assert_int_eq(tmem_driver_parse(&config, TMEM_DRIVER_KERNEL,
					   "root=/dev/xvda quiet tmem"),
			 0);
	ck_assert_int_eq(tmem_driver_open(&config, &g->driver), 0);
}

/* Without its driver. */
static inline void guest_boot(struct linux_guest *g, enum guest_way way,
			      uint64_t memory_bytes)
{
	memset(g, 0, sizeof(*g));
	g->way = way;
	if (way == GUEST_RING)
		guest_open_ring(g, memory_bytes);
	else
		tm_test_begin(&g->t, memory_bytes);
	if (way == GUEST_DOMAIN)
		guest_open_domain(g);
	else if (way == GUEST_CLIENT)
		ck_assert_int_eq(
			tmem_hypercall_open_client(g->t.client, &g->hypercall),
			0);
	ck_assert_int_eq(tmem_cleancache_create(&g->cache), 0);
	ck_assert_int_eq(tmem_frontswap_create(&g->swap), 0);
}

static inline void linux_guest_begin(struct linux_guest *g, enum guest_way way)
{
	guest_boot(g, way, 16 * TM_MIB);
	guest_load_driver(g);
}

static inline struct tmem_store *guest_store(struct linux_guest *g)
{
	return g->way == GUEST_RING ? g->host.store : g->t.store;
}

/* Pages of the guest that its host has. */
static inline uint64_t guest_pages_stored(struct linux_guest *g)
{
	return tm_test_stats(guest_store(g)).counts.pages;
}

/* What was dropped goes in the background, here or in a thread. */
static inline bool guest_is_gone(struct linux_guest *g)
{
	for (int i = 0; i < 10000; i++) {
		if (!guest_pages_stored(g))
			return true;
		if (!tmem_store_step(guest_store(g)))
			usleep(1000);
	}
	return false;
}

/* Nothing is left behind. */
static inline void linux_guest_end(struct linux_guest *g)
{
	tmem_cleancache_destroy(g->cache);
	tmem_frontswap_destroy(g->swap);
	tmem_driver_close(g->driver);
	tmem_hypercall_close(g->hypercall);
	tmem_client_detach(g->connected);
	ck_assert(guest_is_gone(g));
	tmem_xen_close(g->xen);
	if (g->way == GUEST_RING)
		ring_host_close(&g->host);
	else
		tm_test_end(&g->t);
}

/* --- file systems -------------------------------------------------------- */

static inline struct tmem_cleancache_fs *guest_mount(struct linux_guest *g,
						     const uint8_t *uuid)
{
	struct tmem_cleancache_fs_config config;
	struct tmem_cleancache_fs *fs;

	tmem_cleancache_fs_config_init(&config);
	config.uuid = uuid;
	ck_assert_int_eq(tmem_cleancache_mount(g->cache, &config, &fs), 0);
	return fs;
}

static inline struct tmem_cleancache_file guest_file(uint64_t inode)
{
	return (struct tmem_cleancache_file){ .inode = inode };
}

static inline void guest_cache_put(struct tmem_cleancache_fs *fs,
				   uint64_t inode, uint64_t index,
				   uint64_t number)
{
	const struct tmem_cleancache_file file = guest_file(inode);
	uint8_t page[TMEM_PAGE_SIZE];

	tm_page_fill(page, TM_PAGE_TEXT, number);
	tmem_cleancache_put(fs, &file, index, page);
}

/* A hit must bring page @number; a miss must leave the page alone. */
static inline int guest_cache_get(struct tmem_cleancache_fs *fs, uint64_t inode,
				  uint64_t index, uint64_t number)
{
	const struct tmem_cleancache_file file = guest_file(inode);
	uint8_t page[TMEM_PAGE_SIZE], want[TMEM_PAGE_SIZE];
	int result;

	memset(page, 0xa5, sizeof(page));
	memset(want, 0xa5, sizeof(want));
	result = tmem_cleancache_get(fs, &file, index, page);
	if (result == TMEM_GET_HIT)
		tm_page_fill(want, TM_PAGE_TEXT, number);
	ck_assert_mem_eq(page, want, sizeof(page));
	return result;
}

static inline struct tmem_cleancache_counts
guest_cache_counts(struct tmem_cleancache *cache)
{
	struct tmem_cleancache_counts counts = { .struct_size =
							 sizeof(counts) };

	ck_assert_int_eq(tmem_cleancache_get_counts(cache, &counts), 0);
	return counts;
}

/* --- swap ---------------------------------------------------------------- */

static inline int guest_swap_store(struct tmem_frontswap *swap, unsigned type,
				   uint64_t offset, enum tm_page_kind kind,
				   uint64_t number)
{
	uint8_t page[TMEM_PAGE_SIZE];

	tm_page_fill(page, kind, number);
	return tmem_frontswap_store(swap, type, offset, page);
}

static inline int guest_swap_load(struct tmem_frontswap *swap, unsigned type,
				  uint64_t offset, enum tm_page_kind kind,
				  uint64_t number)
{
	uint8_t page[TMEM_PAGE_SIZE], want[TMEM_PAGE_SIZE];
	int result;

	memset(page, 0xa5, sizeof(page));
	result = tmem_frontswap_load(swap, type, offset, page);
	if (result == TMEM_FRONTSWAP_HIT ||
	    result == TMEM_FRONTSWAP_HIT_DIRTY) {
		tm_page_fill(want, kind, number);
		ck_assert_mem_eq(page, want, sizeof(page));
	}
	return result;
}

static inline struct tmem_frontswap_counts
guest_swap_counts(struct tmem_frontswap *swap)
{
	struct tmem_frontswap_counts counts = { .struct_size = sizeof(counts) };

	ck_assert_int_eq(tmem_frontswap_get_counts(swap, &counts), 0);
	return counts;
}

#endif
