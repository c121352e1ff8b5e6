/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a request means.
 *
 * A page travels by copy, through a page of the ring's own: the store never
 * works on memory that a peer can change or take away. The copies are system
 * calls on the peer's memfd, which answer with an error where touching a
 * mapping would end the process.
 *
 * Taking a page out of a persistent pool must survive our death between the
 * removal and the answer, or an acknowledged page is lost. So it is a get, a
 * mark in the completion that the peer has the page now, and a flush: who
 * finds the mark in the ring of a dead daemon has the page and repeats the
 * flush; who finds none repeats the whole. The two halves and every put of
 * that page exclude each other, by one of the channel's page locks. What is
 * ephemeral may vanish at any time, and is simply taken.
 *
 * Locks: the page's (puts, taking out) or the calls' (changes of pools), then
 * the store's own.
 */
#include <config.h>

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "channel.h"

/* --- the peer's memory ------------------------------------------------------ */

static int end_of_memory(struct tm_ring *ring)
{
	tm_channel_break(ring->channel, "its memory is no longer there");
	return -EFAULT;
}

static int page_in(struct tm_ring *ring, uint64_t frame)
{
	struct tm_channel *channel = ring->channel;
	ssize_t bytes;

	if (frame >= channel->memory_pages)
		return -EFAULT;
	bytes = pread(channel->memory_fd, ring->page, sizeof(ring->page),
		      (off_t)(frame * TMEM_PAGE_SIZE));
	return bytes == sizeof(ring->page) ? 0 : end_of_memory(ring);
}

static int page_out(struct tm_ring *ring, uint64_t frame, size_t size)
{
	struct tm_channel *channel = ring->channel;
	ssize_t bytes;

	bytes = pwrite(channel->memory_fd, ring->page, size,
		       (off_t)(frame * TMEM_PAGE_SIZE));
	return bytes == (ssize_t)size ? 0 : end_of_memory(ring);
}

/* --- pages ------------------------------------------------------------------ */

static struct tm_lock *page_lock(struct tm_channel *channel,
				 const struct tm_ring_op *op)
{
	uint64_t mixed = op->page.oid[0] ^ op->page.oid[1] ^ op->page.oid[2] ^
			 op->page.index ^ (uint64_t)(uint32_t)op->pool << 32;

	mixed *= UINT64_C(0x9e3779b97f4a7c15);
	return &channel->pages[mixed >> 58];
}

static struct tmem_oid oid_of(const struct tm_ring_op *op)
{
	struct tmem_oid oid;

	memcpy(&oid, op->page.oid, sizeof(oid));
	return oid;
}

static int put(struct tm_ring *ring, const struct tm_ring_op *op)
{
	struct tm_channel *channel = ring->channel;
	struct tm_lock *lock = page_lock(channel, op);
	struct tmem_oid oid = oid_of(op);
	int result = page_in(ring, op->frame);

	tm_lock_acquire(lock);
	if (!result)
		result = tmem_put(channel->attachment.client, op->pool, &oid,
				  op->page.index, ring->page, 0);
	else	/* Refused, so nothing is there now. */
		tmem_flush_page(channel->attachment.client, op->pool, &oid,
				op->page.index);
	tm_lock_release(lock);
	return result;
}

static bool is_persistent(struct tm_channel *channel, int pool)
{
	struct tmem_pool_info info = { .struct_size = sizeof(info) };
	_Atomic uint8_t *kind;

	if (pool < 0 || pool >= TMEM_POOLS_MAX)
		return false;
	kind = &channel->pool_kind[pool];
	if (*kind == TM_CHANNEL_POOL_UNKNOWN &&
	    !tmem_pool_get_info(channel->attachment.client, pool, &info))
		*kind = info.flags & TMEM_POOL_PERSISTENT ?
				TM_CHANNEL_POOL_PERSISTENT :
				TM_CHANNEL_POOL_OTHER;
	return *kind == TM_CHANNEL_POOL_PERSISTENT;
}

static int get(struct tm_ring *ring, const struct tm_ring_op *op,
	       uint32_t flags)
{
	struct tmem_oid oid = oid_of(op);
	int result;

	result = tmem_get(ring->channel->attachment.client, op->pool, &oid,
			  op->page.index, ring->page, flags);
	if (result == TMEM_GET_HIT &&
	    page_out(ring, op->frame, sizeof(ring->page)))
		return -EFAULT;
	return result;
}

static int take_out(struct tm_ring *ring, const struct tm_ring_op *op,
		    struct tm_ring_completion *completion)
{
	struct tm_channel *channel = ring->channel;
	struct tm_lock *lock = page_lock(channel, op);
	struct tmem_oid oid = oid_of(op);
	int result;

	tm_lock_acquire(lock);
	result = get(ring, op, 0);
	if (result == TMEM_GET_HIT) {
		completion->result = result;
		atomic_store(&completion->flags, TM_RING_TAKEN);
		/* Somebody flushed it: he was first, and it was not there. */
		result = tmem_flush_page(channel->attachment.client, op->pool,
					 &oid, op->page.index);
	}
	tm_lock_release(lock);
	return result;
}

/* A page that cannot be delivered is not looked for. */
static int get_page(struct tm_ring *ring, const struct tm_ring_submission *s,
		    struct tm_ring_completion *completion)
{
	if (s->op.frame >= ring->channel->memory_pages)
		return -EFAULT;
	if (s->flags & ~TM_RING_REMOVE)
		return -EINVAL;
	if (!(s->flags & TM_RING_REMOVE))
		return get(ring, &s->op, 0);
	if (!is_persistent(ring->channel, s->op.pool))
		return get(ring, &s->op, TMEM_GET_REMOVE);
	return take_out(ring, &s->op, completion);
}

static int flush_page(struct tm_ring *ring, const struct tm_ring_op *op)
{
	struct tmem_oid oid = oid_of(op);

	return tmem_flush_page(ring->channel->attachment.client, op->pool,
			       &oid, op->page.index);
}

static int flush_object(struct tm_ring *ring, const struct tm_ring_op *op)
{
	struct tmem_oid oid = oid_of(op);

	return tmem_flush_object(ring->channel->attachment.client, op->pool,
				 &oid);
}

/* --- pools ------------------------------------------------------------------ */

/* Of the historical flags: the specification's version, which we ignore. */
#define POOL_VERSION_MASK UINT32_C(0xff000000)

static void forget_kind(struct tm_channel *channel, int pool)
{
	if (pool >= 0 && pool < TMEM_POOLS_MAX)
		channel->pool_kind[pool] = TM_CHANNEL_POOL_UNKNOWN;
}

static int new_pool(struct tm_channel *channel, const struct tm_ring_op *op)
{
	struct tmem_client *client = channel->attachment.client;
	uint32_t flags = op->create.flags & ~POOL_VERSION_MASK;
	const struct tmem_uuid *uuid = NULL;
	struct tmem_uuid copy;

	if (flags & TMEM_POOL_SHARED) {
		memcpy(&copy, op->create.uuid, sizeof(copy));
		uuid = &copy;
	}
	if (op->command == TM_RING_NEW_POOL_AT)
		return tmem_pool_create_at(client, op->pool, flags, uuid);
	return tmem_pool_create(client, flags, uuid);
}

static int change_pools(struct tm_ring *ring, const struct tm_ring_op *op)
{
	struct tm_channel *channel = ring->channel;
	struct tmem_client *client = channel->attachment.client;
	int result;

	if (op->call >> 56)
		return -EINVAL;
	tm_lock_acquire(&channel->calls);
	result = tmem_client_set_call(client, op->call);
	if (!result && op->command == TM_RING_DESTROY_POOL) {
		forget_kind(channel, op->pool);
		result = tmem_pool_destroy(client, op->pool);
	} else if (!result) {
		result = new_pool(channel, op);
		forget_kind(channel, result);
	}
	tm_lock_release(&channel->calls);
	return result;
}

/* --- what there is ---------------------------------------------------------- */

static int pool_info(struct tm_ring *ring, const struct tm_ring_op *op)
{
	struct tmem_pool_info info = { .struct_size = sizeof(info) };
	struct tm_ring_pool_info answer;
	int result;

	if (op->frame >= ring->channel->memory_pages)
		return -EFAULT;
	result = tmem_pool_get_info(ring->channel->attachment.client, op->pool,
				    &info);
	if (result)
		return result;
	answer = (struct tm_ring_pool_info){
		.flags = info.flags,
		.members = info.members,
		.uuid = { info.uuid.word[0], info.uuid.word[1] },
		.pages = info.pages,
		.objects = info.objects,
	};
	memcpy(ring->page, &answer, sizeof(answer));
	return page_out(ring, op->frame, sizeof(answer));
}

static int counts(struct tm_ring *ring, const struct tm_ring_op *op)
{
	const size_t begin = offsetof(struct tmem_counts, pages);
	struct tmem_counts counts = { .struct_size = sizeof(counts) };
	uint64_t words = (sizeof(counts) - begin) / sizeof(uint64_t);
	int result;

	static_assert((sizeof(counts) - offsetof(struct tmem_counts, pages)) /
				      sizeof(uint64_t) <=
			      TM_RING_COUNTS_WORDS_MAX, "a page has room");
	if (op->frame >= ring->channel->memory_pages)
		return -EFAULT;
	result = tmem_client_get_counts(ring->channel->attachment.client,
					&counts);
	if (result)
		return result;
	memcpy(ring->page, &words, sizeof(words));
	memcpy(ring->page + sizeof(words), (const char *)&counts + begin,
	       words * sizeof(uint64_t));
	return page_out(ring, op->frame, (1 + words) * sizeof(uint64_t));
}

int tm_ring_execute(struct tm_ring *ring, const struct tm_ring_submission *s,
		    struct tm_ring_completion *completion)
{
	switch (s->op.command) {
	case TM_RING_PUT_PAGE:
		return s->flags ? -EINVAL : put(ring, &s->op);
	case TM_RING_GET_PAGE:
		return get_page(ring, s, completion);
	case TM_RING_FLUSH_PAGE:
		return flush_page(ring, &s->op);
	case TM_RING_FLUSH_OBJECT:
		return flush_object(ring, &s->op);
	case TM_RING_NEW_POOL:
	case TM_RING_NEW_POOL_AT:
	case TM_RING_DESTROY_POOL:
		return change_pools(ring, &s->op);
	case TM_RING_POOL_INFO:
		return pool_info(ring, &s->op);
	case TM_RING_COUNTS:
		return counts(ring, &s->op);
	default:
		return -ENOSYS;
	}
}
