/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Op contexts: what a thread holds while it is inside the store.
 *
 * The problem: codecs need scratch memory per thread, threads come and go,
 * and thread-local storage belongs to no store and is counted nowhere. The
 * idea: a fixed array of contexts, a few more than processors, each taken with
 * one exchange; a thread tries the one of the processor it runs on first, so
 * contexts stay warm and are hardly ever contended.
 *
 * Holding a context is also what "inside" means: tm_quiesce() waits until each
 * one that was taken has been let go, and then knows that nobody can still
 * hold a pointer that was unpublished before. The exchange orders a thread's
 * entry before everything it reads inside; whoever unpublishes does so before
 * looking at the contexts.
 *
 * Records lie in stock with a context, so what one processor freed is not seen
 * by the next. When records are all that a put lacks, what is in stock with
 * those that nobody holds goes back to where all can take it.
 *
 * Bound: more threads than contexts take turns.
 */
#include <config.h>

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "store.h"

#define CONTEXTS_MAX 64
/* A smaller store makes do with the fewest that can work side by side. */
#define SMALL_STORE_BYTES (UINT64_C(4) << 20)
#define CONTEXTS_SMALL 2

static void magazines_init(struct tm_store *store, struct tm_context *context)
{
	context->nodes.table = &store->node_table;
	context->slices.table = &store->slice_table;
	context->objects.table = &store->object_table;
	context->descriptors.table = &store->descriptor_table;
	context->contents.table = &store->content_table;
}

/* The kernel zeroes this page in a forked child. */
static int make_alive_page(struct tm_store *store)
{
	void *page = mmap(NULL, TMEM_PAGE_SIZE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (page == MAP_FAILED)
		return -ENOMEM;
	madvise(page, TMEM_PAGE_SIZE, MADV_WIPEONFORK);
	store->alive = page;
	*store->alive = 1;
	tm_memory_charge_anyway(&store->memory, TMEM_PAGE_SIZE);
	return 0;
}

int tm_contexts_init(struct tm_store *store)
{
	long processors = sysconf(_SC_NPROCESSORS_CONF);
	uint32_t count = processors < 1 ? 1 : (uint32_t)processors;

	count = count + 2 < CONTEXTS_MAX ? count + 2 : CONTEXTS_MAX;
	if (store->memory.limit_bytes < SMALL_STORE_BYTES)
		count = CONTEXTS_SMALL;
	if (make_alive_page(store))
		return -ENOMEM;
	store->contexts = tm_memory_alloc(&store->memory,
					  count * sizeof(struct tm_context),
					  TM_CACHE_LINE);
	if (!store->contexts)
		return -ENOMEM;
	store->context_count = count;
	for (uint32_t i = 0; i < count; i++) {
		struct tm_context *context = &store->contexts[i];

		context->store = store;
		context->number = i;
		magazines_init(store, context);
		context->page = tm_memory_alloc(&store->memory, TMEM_PAGE_SIZE,
						TM_CACHE_LINE);
		if (!context->page)
			return -ENOMEM;
	}
	return 0;
}

void tm_contexts_destroy(struct tm_store *store)
{
	for (uint32_t i = 0; i < store->context_count; i++) {
		struct tm_context *context = &store->contexts[i];

		for (uint32_t c = 0; c < TM_CODECS_MAX; c++)
			if (tm_codec_slot_is_first(store, c))
				tm_codec_context_destroy(context->codec[c]);
		tm_memory_free(&store->memory, context->page, TMEM_PAGE_SIZE);
	}
	tm_memory_free(&store->memory, store->contexts,
		       store->context_count * sizeof(struct tm_context));
	if (store->alive)
		munmap(store->alive, TMEM_PAGE_SIZE);
}

static bool try_take(struct tm_context *context)
{
	return !atomic_load_explicit(&context->is_busy,
				     memory_order_relaxed) &&
	       !atomic_exchange(&context->is_busy, 1);
}

struct tm_context *tm_enter(struct tm_store *store)
{
	int processor = sched_getcpu();
	uint32_t first = processor < 0 ? 0 : (uint32_t)processor;

	if (!tm_is_alive(store))
		return NULL;
	for (;;) {
		for (uint32_t i = 0; i < store->context_count; i++) {
			struct tm_context *context =
				&store->contexts[(first + i) %
						 store->context_count];

			if (try_take(context))
				return context;
		}
		sched_yield();
	}
}

void tm_leave(struct tm_context *context)
{
	/* Counted while nobody else can be inside: who sees it knows that this
	 * one has left, even if the next has come. */
	atomic_store_explicit(&context->leavings, context->leavings + 1,
			      memory_order_release);
	atomic_store_explicit(&context->is_busy, 0, memory_order_release);
}

void tm_quiesce(struct tm_store *store)
{
	atomic_thread_fence(memory_order_seq_cst);
	for (uint32_t i = 0; i < store->context_count; i++) {
		struct tm_context *context = &store->contexts[i];
		uint32_t leavings = atomic_load(&context->leavings);

		while (atomic_load(&context->is_busy) &&
		       atomic_load(&context->leavings) == leavings)
			sched_yield();
	}
}

static uint32_t empty_magazines(struct tm_context *context)
{
	struct tm_magazine *const all[] = {
		&context->nodes,       &context->slices,   &context->objects,
		&context->descriptors, &context->contents,
	};
	uint32_t count = 0;

	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
		count += all[i]->count;
		tm_magazine_flush(all[i]);
	}
	return count;
}

bool tm_contexts_return_stock(struct tm_context *self)
{
	struct tm_store *store = self->store;
	uint32_t count = 0;

	for (uint32_t i = 0; i < store->context_count; i++) {
		struct tm_context *context = &store->contexts[i];

		if (!try_take(context))
			continue;
		count += empty_magazines(context);
		tm_leave(context);
	}
	return count > 0;
}

int tm_contexts_set_codec(struct tm_store *store, uint32_t slots,
			  struct tm_codec *codec, bool replaces)
{
	struct tm_codec_context *made[CONTEXTS_MAX], *old[CONTEXTS_MAX];

	for (uint32_t i = 0; i < store->context_count; i++) {
		if (!tm_codec_context_create(codec, &made[i]))
			continue;
		while (i)
			tm_codec_context_destroy(made[--i]);
		return -ENOMEM;
	}
	/* Whoever is inside may be reading with the old ones. */
	for (uint32_t i = 0; i < store->context_count; i++)
		for (uint32_t slot = 1; slot < TM_CODECS_MAX; slot++)
			if (slots >> slot & 1)
				old[i] = atomic_exchange(
					&store->contexts[i].codec[slot],
					made[i]);
	if (!replaces)
		return 0;
	tm_quiesce(store);
	for (uint32_t i = 0; i < store->context_count; i++)
		tm_codec_context_destroy(old[i]);
	return 0;
}

void tm_contexts_share_codec(struct tm_store *store, uint32_t slot,
			     uint32_t other)
{
	for (uint32_t i = 0; i < store->context_count; i++)
		atomic_store(&store->contexts[i].codec[slot],
			     store->contexts[i].codec[other]);
}
