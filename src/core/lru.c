/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Who is oldest: one list of ephemeral pages per client.
 *
 * Links are numbers in an array beside the descriptors, 16 bytes a page, of
 * which only the parts that ephemeral pages use are ever touched, and charged.
 * A page also carries when it was put, so that eviction can compare the heads
 * of several clients' lists, and who is billed for it (in a shared pool: its
 * last putter).
 *
 * Locks: client.lru_lock, taken inside a shard's lock. Which client a page
 * belongs to changes only while its shard is locked.
 */
#include <config.h>

#include "store.h"

#define PAGE_LINKS (TMEM_PAGE_SIZE / sizeof(struct tm_lru_link))

bool tm_lru_prepare(struct tm_store *store, uint32_t number)
{
	uint32_t page = number / PAGE_LINKS;
	_Atomic uint64_t *word = &store->lru_touched[page / 64];
	uint64_t bit = UINT64_C(1) << page % 64;

	if (atomic_load_explicit(word, memory_order_relaxed) & bit)
		return true;
	if (!tm_memory_charge(&store->memory, TMEM_PAGE_SIZE))
		return false;
	if (atomic_fetch_or(word, bit) & bit)
		tm_memory_discharge(&store->memory, TMEM_PAGE_SIZE);
	return true;
}

struct tm_client *tm_lru_client(struct tm_store *store, uint32_t number)
{
	return atomic_load_explicit(&store->clients[store->lru[number].client],
				    memory_order_relaxed);
}

static void note_oldest(struct tm_store *store, struct tm_client *client)
	TM_REQUIRES(client->lru_lock)
{
	uint32_t stamp = client->lru_head ? store->lru[client->lru_head].stamp :
					    0;

	atomic_store_explicit(&client->lru_oldest_stamp, stamp,
			      memory_order_relaxed);
}

static void put_last(struct tm_store *store, struct tm_client *client,
		   uint32_t number) TM_REQUIRES(client->lru_lock)
{
	struct tm_lru_link *link = &store->lru[number];

	__atomic_store_n(&link->stamp,
			 (uint32_t)tm_clock_coarse_ms(store->clock),
			 __ATOMIC_RELAXED);
	link->prev = client->lru_tail;
	link->next = 0;
	if (client->lru_tail)
		store->lru[client->lru_tail].next = number;
	else
		client->lru_head = number;
	client->lru_tail = number;
}

static void take_out(struct tm_store *store, struct tm_client *client,
		   uint32_t number) TM_REQUIRES(client->lru_lock)
{
	const struct tm_lru_link *link = &store->lru[number];

	if (link->prev)
		store->lru[link->prev].next = link->next;
	else
		client->lru_head = link->next;
	if (link->next)
		store->lru[link->next].prev = link->prev;
	else
		client->lru_tail = link->prev;
}

void tm_lru_add(struct tm_store *store, struct tm_client *client,
		uint32_t number)
{
	tm_lock_acquire(&client->lru_lock);
	store->lru[number].client = client->slot;
	put_last(store, client, number);
	client->lru_pages++;
	note_oldest(store, client);
	tm_lock_release(&client->lru_lock);
}

void tm_lru_remove(struct tm_store *store, uint32_t number)
{
	struct tm_client *client = tm_lru_client(store, number);

	tm_lock_acquire(&client->lru_lock);
	take_out(store, client, number);
	client->lru_pages--;
	note_oldest(store, client);
	tm_lock_release(&client->lru_lock);
}

void tm_lru_pass_over(struct tm_client *client, uint32_t number)
{
	struct tm_store *store = client->store;

	tm_lock_acquire(&client->lru_lock);
	if (client->lru_head == number) {
		take_out(store, client, number);
		put_last(store, client, number);
		note_oldest(store, client);
	}
	tm_lock_release(&client->lru_lock);
}

void tm_lru_touch(struct tm_store *store, uint32_t number)
{
	struct tm_client *client = tm_lru_client(store, number);

	tm_lock_acquire(&client->lru_lock);
	take_out(store, client, number);
	put_last(store, client, number);
	note_oldest(store, client);
	tm_lock_release(&client->lru_lock);
}
