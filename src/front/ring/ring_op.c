/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a request means.
 *
 * Nearly all of it is the Xen front end's: a peer is a domain, the memory that
 * it passed is the domain's, and a request is a struct tmem_op. Here is what a
 * transport has to add.
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

#include "channel.h"

static_assert(sizeof(struct tm_ring_op) == sizeof(struct tmem_xen_op) &&
		      offsetof(struct tm_ring_op, frame) ==
			      offsetof(struct tmem_xen_op, u.gen.cmfn),
	      "the historical operation");

/* Anything that the historical interface has. */
static int operate(struct tm_ring *ring, const struct tm_ring_op *op,
		   uint32_t flags)
{
	struct tm_channel *channel = ring->channel;
	int result = tmem_xen_op(channel->attachment.domain, op, sizeof(*op),
				 TMEM_XEN_OP_PLAIN | flags);

	if (result == -EFAULT && tmem_guest_memory_is_broken(channel->memory))
		tm_channel_break(channel, "its memory is no longer there");
	return result;
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

static int put(struct tm_ring *ring, const struct tm_ring_op *op)
{
	struct tm_lock *lock = page_lock(ring->channel, op);
	int result;

	tm_lock_acquire(lock);
	result = operate(ring, op, 0);
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

static int take_out(struct tm_ring *ring, const struct tm_ring_op *op,
		    struct tm_ring_completion *completion)
{
	struct tm_lock *lock = page_lock(ring->channel, op);
	struct tm_ring_op flush = *op;
	int result;

	flush.command = TM_RING_FLUSH_PAGE;
	tm_lock_acquire(lock);
	result = operate(ring, op, 0);
	if (result == TMEM_GET_HIT) {
		completion->result = result;
		atomic_store(&completion->flags, TM_RING_TAKEN);
		/* Somebody flushed it: he was first, and it was not there. */
		result = operate(ring, &flush, 0);
	}
	tm_lock_release(lock);
	return result;
}

static int get_page(struct tm_ring *ring, const struct tm_ring_submission *s,
		    struct tm_ring_completion *completion)
{
	if (s->flags & ~TM_RING_REMOVE)
		return -EINVAL;
	if (!(s->flags & TM_RING_REMOVE))
		return operate(ring, &s->op, 0);
	if (!is_persistent(ring->channel, s->op.pool))
		return operate(ring, &s->op, TMEM_XEN_OP_REMOVE);
	return take_out(ring, &s->op, completion);
}

/* --- pools ------------------------------------------------------------------ */

static void forget_kind(struct tm_channel *channel, int pool)
{
	if (pool >= 0 && pool < TMEM_POOLS_MAX)
		channel->pool_kind[pool] = TM_CHANNEL_POOL_UNKNOWN;
}

static int change_pools(struct tm_ring *ring, const struct tm_ring_op *request)
{
	struct tm_channel *channel = ring->channel;
	struct tmem_client *client = channel->attachment.client;
	struct tm_ring_op op = *request;
	uint32_t flags = 0;
	int result;

	if (op.call >> 56)
		return -EINVAL;
	if (op.command == TM_RING_NEW_POOL_AT) {
		op.command = TM_RING_NEW_POOL;
		flags = TMEM_XEN_OP_AT;
	}
	tm_lock_acquire(&channel->calls);
	result = tmem_client_set_call(client, op.call);
	if (!result) {
		result = operate(ring, &op, flags);
		/* Refused, it may not have used up the number. */
		tmem_client_set_call(client, 0);
	}
	forget_kind(channel, op.command == TM_RING_NEW_POOL ? result : op.pool);
	tm_lock_release(&channel->calls);
	return result;
}

/* --- what there is ---------------------------------------------------------- */

static int answer_in_page(struct tm_ring *ring, const struct tm_ring_op *op,
			  const void *answer, size_t size)
{
	if (op->frame > UINT64_MAX / TMEM_PAGE_SIZE)
		return -EFAULT;
	return tmem_guest_memory_write(ring->channel->memory,
				       op->frame * TMEM_PAGE_SIZE, answer,
				       size);
}

static int pool_info(struct tm_ring *ring, const struct tm_ring_op *op)
{
	struct tmem_pool_info info = { .struct_size = sizeof(info) };
	struct tm_ring_pool_info answer;
	int result;

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
	return answer_in_page(ring, op, &answer, sizeof(answer));
}

static int counts(struct tm_ring *ring, const struct tm_ring_op *op)
{
	const size_t begin = offsetof(struct tmem_counts, pages);
	struct tmem_counts counts = { .struct_size = sizeof(counts) };
	struct {
		uint64_t words;
		char word[sizeof(counts) - offsetof(struct tmem_counts, pages)];
	} answer = { .words = sizeof(answer.word) / sizeof(uint64_t) };
	int result;

	static_assert(sizeof(answer) <= sizeof(struct tm_ring_counts),
		      "a page has room");
	result = tmem_client_get_counts(ring->channel->attachment.client,
					&counts);
	if (result)
		return result;
	memcpy(answer.word, (const char *)&counts + begin,
	       sizeof(answer.word));
	return answer_in_page(ring, op, &answer, sizeof(answer));
}

int tm_ring_execute(struct tm_ring *ring, const struct tm_ring_submission *s,
		    struct tm_ring_completion *completion)
{
	if (s->flags && s->op.command != TM_RING_GET_PAGE)
		return -EINVAL;
	switch (s->op.command) {
	case TM_RING_PUT_PAGE:
		return put(ring, &s->op);
	case TM_RING_GET_PAGE:
		return get_page(ring, s, completion);
	case TM_RING_NEW_POOL:
	case TM_RING_NEW_POOL_AT:
	case TM_RING_DESTROY_POOL:
		return change_pools(ring, &s->op);
	case TM_RING_POOL_INFO:
		return pool_info(ring, &s->op);
	case TM_RING_COUNTS:
		return counts(ring, &s->op);
	default:
		return operate(ring, &s->op, 0);
	}
}
