/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The list of clients and pools, as text for parsers of old: lines of
 * `X=kk:value,...`, keys of two letters, unknown ones to be passed over.
 *
 *	G global, S a shared pool, C a client, P one of its pools, T timing
 *
 * The keys are those of Xen 4.7; what no longer has a meaning reads 0. "T" has
 * been an empty line since 4.4. Maxima are what was seen by those who looked:
 * every list, and one put in 64.
 *
 * A line is written whole or not at all, and after one that did not fit
 * nothing more is: what is there can be trusted, and is terminated. Xen checked
 * some lines and not others, and repeated the head of the first shared pool in
 * the lines of all.
 *
 * Locks: under xen.lock.
 */
#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "xen_front.h"

#define LINE_BYTES 1024

struct list {
	struct tmem_xen *xen;
	bool is_long;
	char *buffer;
	size_t size;
	size_t used;
	bool is_full;
	/* the line that is being made */
	char line[LINE_BYTES];
	size_t length;
};

__attribute__((format(printf, 2, 3))) static void add(struct list *list,
						      const char *format, ...)
{
	size_t left = sizeof(list->line) - list->length;
	va_list arguments;
	int length;

	va_start(arguments, format);
	length = vsnprintf(list->line + list->length, left, format, arguments);
	va_end(arguments);
	/* More sharers than a line can name: it ends after the last whole one,
	 * as they all end there. */
	if (length > 0 && (size_t)length < left)
		list->length += (size_t)length;
	else
		list->line[list->length] = 0;
}

static void end_line(struct list *list)
{
	size_t length = list->length + 1;

	if (!list->is_full && list->used + length < list->size) {
		memcpy(list->buffer + list->used, list->line, list->length);
		list->used += length;
		list->buffer[list->used - 1] = '\n';
		list->buffer[list->used] = 0;
	} else {
		list->is_full = true;
	}
	list->length = 0;
}

/* --- pools ---------------------------------------------------------------- */

struct pool_sum {
	uint64_t counts[TM_XEN_COUNTS];
	uint64_t pages;
	uint64_t pages_max;
	uint64_t objects;
	uint64_t objects_max;
};

static void sum_pool(struct pool_sum *sum, struct tm_xen_pool *pool,
		     const struct tmem_pool_info *info)
{
	tm_xen_raise(&pool->pages_max, info->pages);
	tm_xen_raise(&pool->objects_max, info->objects);
	pool->is_persistent = info->flags & TMEM_POOL_PERSISTENT;
	sum->pages = info->pages;
	sum->objects = info->objects;
	if (pool->pages_max > sum->pages_max)
		sum->pages_max = pool->pages_max;
	if (pool->objects_max > sum->objects_max)
		sum->objects_max = pool->objects_max;
	for (int i = 0; i < TM_XEN_COUNTS; i++)
		sum->counts[i] += pool->counts[i];
}

static void add_sum(struct list *list, const struct pool_sum *sum)
{
	static const char *const keys[TM_XEN_COUNTS] = {
		[TM_XEN_PUTS_GOOD] = "ps",
		[TM_XEN_PUTS] = "pt",
		[TM_XEN_DUPLICATES_FLUSHED] = "pd",
		[TM_XEN_DUPLICATES_REPLACED] = "pr",
		[TM_XEN_PUTS_FAILED] = "px",
		[TM_XEN_GETS_FOUND] = "gs",
		[TM_XEN_GETS] = "gt",
		[TM_XEN_FLUSHES_FOUND] = "fs",
		[TM_XEN_FLUSHES] = "ft",
		[TM_XEN_OBJECT_FLUSHES_FOUND] = "os",
		[TM_XEN_OBJECT_FLUSHES] = "ot",
	};

	add(list,
	    ",Pc:%" PRIu64 ",Pm:%" PRIu64 ",Oc:%" PRIu64 ",Om:%" PRIu64
	    ",Nc:0,Nm:0",
	    sum->pages, sum->pages_max, sum->objects, sum->objects_max);
	for (int i = 0; i < TM_XEN_COUNTS; i++)
		add(list, ",%s:%" PRIu64, keys[i], sum->counts[i]);
}

static const char *kind_of(uint32_t flags)
{
	if (flags & TMEM_POOL_PERSISTENT)
		return "PP";
	return flags & TMEM_POOL_SHARED ? "ES" : "EP";
}

static void list_pool(struct list *list, struct tmem_xen_domain *domain,
		      uint32_t slot)
{
	struct tmem_pool_info info = { .struct_size = sizeof(info) };
	struct pool_sum sum = { 0 };

	if (tmem_pool_get_info(domain->client, tm_xen_pool_id(domain, slot),
			       &info))
		return;
	sum_pool(&sum, &domain->pools[slot], &info);
	add(list, "P=CI:%u,PI:%u,PT:%s,U0:%" PRIx64 ",U1:%" PRIx64, domain->id,
	    slot, kind_of(info.flags), info.uuid.word[0], info.uuid.word[1]);
	if (list->is_long)
		add_sum(list, &sum);
	end_line(list);
}

static void list_shared(struct list *list, int at)
	TM_REQUIRES(list->xen->lock)
{
	const struct tm_xen_shared *shared = &list->xen->shared[at];
	struct tmem_pool_info info = { .struct_size = sizeof(info) };
	struct pool_sum sum = { 0 };

	if (!shared->sharer_count)
		return;
	add(list, "S=SI:%d,PT:ES,U0:%" PRIx64 ",U1:%" PRIx64, at,
	    shared->uuid.word[0], shared->uuid.word[1]);
	for (size_t i = 0; i < shared->sharer_count; i++) {
		struct tmem_xen_domain *domain = shared->sharers[i].domain;
		uint32_t slot = (uint32_t)shared->sharers[i].slot;

		add(list, ",SC:%u", domain->id);
		if (!tmem_pool_get_info(domain->client,
					tm_xen_pool_id(domain, slot), &info))
			sum_pool(&sum, &domain->pools[slot], &info);
	}
	if (list->is_long)
		add_sum(list, &sum);
	end_line(list);
}

/* --- clients -------------------------------------------------------------- */

static uint64_t ephemeral_pages(struct tmem_xen_domain *domain)
{
	uint64_t sum = 0;

	for (int id = 0; id < TMEM_XEN_POOLS_MAX; id++) {
		int64_t pages = domain->pools[id].is_persistent ?
					0 :
					tmem_pool_pages(domain->client, id);

		sum += pages > 0 ? (uint64_t)pages : 0;
	}
	tm_xen_raise(&domain->ephemeral_max, sum);
	return sum;
}

static void add_client_details(struct list *list,
			       struct tmem_xen_domain *domain)
{
	struct tmem_counts counts = { .struct_size = sizeof(counts) };
	uint64_t ephemeral = ephemeral_pages(domain), compressed, raw_bytes;

	if (tmem_client_get_counts(domain->client, &counts))
		return;
	/* Read one after the other: they need not fit together. */
	compressed = counts.pages;
	compressed -= compressed < counts.raw ? compressed : counts.raw;
	compressed -= compressed < counts.same_filled ? compressed :
							counts.same_filled;
	raw_bytes = counts.raw * TMEM_PAGE_SIZE;
	add(list,
	    ",Ec:%" PRIu64 ",Em:%" PRIu64 ",cp:%" PRIu64 ",cb:%" PRIu64
	    ",cn:%" PRIu64 ",cm:0",
	    ephemeral, domain->ephemeral_max, compressed,
	    counts.compressed_bytes > raw_bytes ?
		    counts.compressed_bytes - raw_bytes :
		    0,
	    counts.raw);
}

static void list_client(struct list *list, struct tmem_xen_domain *domain)
{
	struct tmem_client_info info = { .struct_size = sizeof(info) };

	if (!domain->client || tmem_client_get_info(domain->client, &info))
		return;
	add(list,
	    "C=CI:%u,ww:%u,ca:%" PRIu64 ",co:%d,fr:%d,Tc:0,Ge:%" PRIu64
	    ",Pp:%" PRIu64 ",Gp:%" PRIu64,
	    domain->id, info.weight, info.cap_bytes / TMEM_PAGE_SIZE,
	    info.compress, tm_xen_save_is_frozen(domain),
	    domain->ephemeral_gets, domain->persistent_puts,
	    domain->persistent_gets);
	if (list->is_long)
		add_client_details(list, domain);
	end_line(list);
	for (uint32_t slot = 0; slot < TMEM_XEN_POOLS_MAX; slot++)
		list_pool(list, domain, slot);
}

/* --- the whole ------------------------------------------------------------ */

static uint64_t total(const struct list *list, enum tm_xen_total what)
	TM_REQUIRES(list->xen->lock)
{
	uint64_t sum = list->xen->gone[what];

	for (struct tmem_xen_domain *d = list->xen->domains; d; d = d->next)
		sum += atomic_load_explicit(&d->totals[what],
					    memory_order_relaxed);
	return sum;
}

static void list_global(struct list *list) TM_REQUIRES(list->xen->lock)
{
	struct tmem_xen *xen = list->xen;
	struct tmem_store_stats stats = { .struct_size = sizeof(stats) };
	uint64_t ephemeral = 0;

	stats.counts.struct_size = sizeof(stats.counts);
	tmem_store_get_stats(xen->store, &stats);
	add(list,
	    "G=Tt:%" PRIu64 ",Te:%" PRIu64 ",Cf:%" PRIu64 ",Af:0,Pf:%" PRIu64
	    ",Ta:%" PRIu64 ",Lm:0,Et:%" PRIu64 ",Ea:%" PRIu64 ",Rt:%" PRIu64
	    ",Ra:0,Rx:0,Fp:0",
	    total(list, TM_XEN_OPS), total(list, TM_XEN_OPS_FAILED),
	    total(list, TM_XEN_COPIES_FAILED),
	    stats.counts.refused_memory, stats.idle_bytes / TMEM_PAGE_SIZE,
	    stats.counts.evicted, stats.counts.evicted,
	    xen->flushed_kib / (TMEM_PAGE_SIZE / 1024));
	if (list->is_long) {
		struct tmem_xen_domain *domain = xen->domains;

		for (; domain; domain = domain->next)
			ephemeral += domain->client ? ephemeral_pages(domain) :
						      0;
		tm_xen_raise(&xen->ephemeral_max, ephemeral);
		tm_xen_raise(&xen->objects_max, stats.objects);
		tm_xen_raise(&xen->pages_max, stats.counts.pages);
		tm_xen_raise(&xen->frames_max,
			     stats.arena_bytes / TMEM_PAGE_SIZE);
		add(list,
		    ",Ec:%" PRIu64 ",Em:%" PRIu64 ",Oc:%" PRIu64 ",Om:%" PRIu64
		    ",Nc:0,Nm:0,Pc:%" PRIu64 ",Pm:%" PRIu64 ",Fc:%" PRIu64
		    ",Fm:%" PRIu64 ",Sc:0,Sm:0,Ep:%" PRIu64 ",Gd:0,Zt:0,Gz:0",
		    ephemeral, xen->ephemeral_max, stats.objects,
		    xen->objects_max, stats.counts.pages, xen->pages_max,
		    stats.arena_bytes / TMEM_PAGE_SIZE, xen->frames_max,
		    total(list, TM_XEN_EPHEMERAL_PUTS));
	}
	end_line(list);
}

static int list_all(struct list *list) TM_REQUIRES(list->xen->lock)
{
	struct tmem_xen_domain *domain;

	list_global(list);
	for (int at = 0; at < TMEM_XEN_SHARED_POOLS_MAX; at++)
		list_shared(list, at);
	for (domain = list->xen->domains; domain; domain = domain->next)
		list_client(list, domain);
	add(list, "T");
	end_line(list);
	return 0;
}

static int list_one(struct list *list, uint32_t cli_id)
	TM_REQUIRES(list->xen->lock)
{
	struct tmem_xen_domain *domain = tm_xen_domain_find(list->xen, cli_id);

	if (!domain || !domain->client)
		return -EPERM;
	list_client(list, domain);
	return 0;
}

int tmem_xen_list(struct tmem_xen *xen, uint32_t cli_id, bool is_long,
		  char *buffer, size_t size)
{
	struct list list = {
		.xen = xen,
		.is_long = is_long,
		.buffer = buffer,
		.size = size,
	};
	int result;

	if (!buffer || !size)
		return -EINVAL;
	if (xen->is_disabled)
		return -ENODEV;
	*buffer = 0;
	tm_lock_acquire(&list.xen->lock);
	result = (uint16_t)cli_id == TMEM_XEN_ALL_CLIENTS ?
			 list_all(&list) :
			 list_one(&list, cli_id);
	tm_lock_release(&list.xen->lock);
	return result;
}
