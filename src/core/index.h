/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The index: from (oid, index) to a page's descriptor, in 4 bytes per page.
 *
 * The problem: objects are anything from one page to a disk of millions, oids
 * are random, and no operation may have to wait for a table to be rehashed.
 *
 * The idea: one kind of node, 16 numbers in a cache line, serves two trees.
 *
 * - A *trie* over the bits of a keyed 64-bit hash leads to *slices*; a slice
 *   is 4096 consecutive pages of one object. (A second trie of the same kind
 *   leads from oids to objects.) Its depth follows the number of entries by
 *   itself: nothing is ever rehashed. Entries of equal hash form a chain.
 * - Within a slice a *radix tree* of 4 bits a level leads to the descriptor.
 *   It is as high as the largest index needs; a slice of one page has none.
 *
 * A big object's slices fall into different shards, so that threads working
 * on different parts of a disk do not meet.
 *
 *	dense object: 4 * (1 + 1/16 + 1/256) + 32/4096 bytes per page
 *	object of one page: no node of its own
 *
 * Locks: none here. Everything is called with the lock of the shard (or of
 * its object table) held. Nodes needed by an insertion are taken from the
 * caller's magazine, filled beforehand, so that it cannot fail half way.
 */
#ifndef TM_INDEX_H
#define TM_INDEX_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

#include "table.h"

#define TM_NODE_SLOTS 16
#define TM_SLICE_BITS 12
#define TM_SLICE_PAGES (1u << TM_SLICE_BITS)

/* The most nodes that one insertion into trie and slice can take. */
#define TM_INSERT_NODES_MAX (16 + 6)

struct tm_node {
	uint32_t slot[TM_NODE_SLOTS];
};

/* What every entry of a trie begins with. Packed, so that entries fill their
 * cache lines: what follows begins at byte 12. */
struct tm_leaf {
	uint64_t hash;
	uint32_t next;		/* another entry of the same hash */
} __attribute__((packed, aligned(4)));

/* Where a trie's entries live: @base + number * @stride is a tm_leaf. */
struct tm_leaves {
	uint8_t *base;
	uint32_t stride;
};

struct tm_slice {
	struct tm_leaf leaf;
	uint32_t object;
	uint32_t root;		/* a node, or with height 0 a descriptor */
	uint32_t next;		/* the object's other slices */
	uint32_t prev;
	uint32_t high : 32 - TM_SLICE_BITS;	/* index >> TM_SLICE_BITS */
	uint32_t height : 4;
};
static_assert(sizeof(struct tm_slice) == 32, "half a cache line");

/* Numbers kept at hand, taken from and given back to a table in batches. */
#define TM_MAGAZINE_MAX 96
struct tm_magazine {
	struct tm_table *table;
	uint32_t count;
	uint32_t number[TM_MAGAZINE_MAX];
};

/* Makes sure that @count (at most TM_MAGAZINE_MAX / 2) can be popped. */
bool tm_magazine_fill(struct tm_magazine *magazine, uint32_t count);
void tm_magazine_flush(struct tm_magazine *magazine);
void tm_magazine_push(struct tm_magazine *magazine, uint32_t number);

static inline uint32_t tm_magazine_pop(struct tm_magazine *magazine)
{
	return magazine->number[--magazine->count];
}

/* The first entry with this hash, or 0; follow tm_leaf.next. */
uint32_t tm_trie_find(const struct tm_magazine *nodes, uint32_t root,
		      uint64_t hash, const struct tm_leaves *leaves);
void tm_trie_insert(struct tm_magazine *nodes, uint32_t *root,
		    const struct tm_leaves *leaves, uint32_t number);
void tm_trie_remove(struct tm_magazine *nodes, uint32_t *root,
		    const struct tm_leaves *leaves, uint32_t number);
/* Some entry, or 0 when the trie is empty. */
uint32_t tm_trie_any(const struct tm_magazine *nodes, uint32_t root);

static inline bool tm_slice_is_empty(const struct tm_slice *slice)
{
	return !slice->root;
}

/* The page's descriptor, or 0. @descriptors are asked for the index of the only
 * page of a slice that has no node. */
uint32_t tm_slice_lookup(const struct tm_magazine *nodes,
			 const struct tm_slice *slice, uint32_t index,
			 const struct tm_table *descriptors);
/* Returns what was there, or 0. */
uint32_t tm_slice_insert(struct tm_magazine *nodes, struct tm_slice *slice,
			 uint32_t index, uint32_t descriptor,
			 const struct tm_table *descriptors);
void tm_slice_remove(struct tm_magazine *nodes, struct tm_slice *slice,
		     uint32_t index);
/* Some page's descriptor, or 0 when the slice is empty. Sets *@index to what it
 * is found by, whatever the descriptor says. */
uint32_t tm_slice_any(const struct tm_magazine *nodes,
		      const struct tm_slice *slice, uint32_t *index,
		      const struct tm_table *descriptors);

#endif
