/* SPDX-License-Identifier: BSD-2-Clause */
/* Tries of slices and radix trees of pages; see index.h. */
#include <config.h>

#include <assert.h>
#include <string.h>

#include "index.h"
#include "layout.h"

#define LEAF (UINT32_C(1) << 31)
#define LEVELS_MAX 16
#define SLOT_BITS 4

static struct tm_node *node_at(const struct tm_magazine *nodes, uint32_t number)
{
	return tm_table_at(nodes->table, number);
}

static struct tm_leaf *leaf_at(const struct tm_leaves *leaves, uint32_t number)
{
	return (struct tm_leaf *)(leaves->base +
				  (size_t)number * leaves->stride);
}

/* --- magazines ------------------------------------------------------------ */

bool tm_magazine_fill(struct tm_magazine *magazine, uint32_t count)
{
	assert(count <= TM_MAGAZINE_MAX / 2);
	if (magazine->count >= count)
		return true;
	magazine->count += tm_table_take(
		magazine->table, magazine->number + magazine->count,
		TM_MAGAZINE_MAX / 2 - magazine->count);
	return magazine->count >= count;
}

void tm_magazine_flush(struct tm_magazine *magazine)
{
	tm_table_give(magazine->table, magazine->number, magazine->count);
	magazine->count = 0;
}

void tm_magazine_push(struct tm_magazine *magazine, uint32_t number)
{
	if (magazine->count == TM_MAGAZINE_MAX) {
		uint32_t half = TM_MAGAZINE_MAX / 2;

		tm_table_give(magazine->table, magazine->number + half, half);
		magazine->count = half;
	}
	magazine->number[magazine->count++] = number;
}

static uint32_t new_node(struct tm_magazine *nodes)
{
	uint32_t number = tm_magazine_pop(nodes);

	memset(node_at(nodes, number), 0, sizeof(struct tm_node));
	return number;
}

static bool node_is_empty(const struct tm_node *node)
{
	uint32_t any = 0;

	for (unsigned i = 0; i < TM_NODE_SLOTS; i++)
		any |= node->slot[i];
	return !any;
}

/* --- the trie ------------------------------------------------------------- */

static unsigned trie_slot(uint64_t hash, unsigned level)
{
	return (unsigned)(hash >> (level * SLOT_BITS)) & (TM_NODE_SLOTS - 1);
}

uint32_t tm_trie_find(const struct tm_magazine *nodes, uint32_t root,
		      uint64_t hash, const struct tm_leaves *leaves)
{
	uint32_t at = root;

	for (unsigned level = 0; at && !(at & LEAF); level++)
		at = node_at(nodes, at)->slot[trie_slot(hash, level)];
	at &= ~LEAF;
	if (at && leaf_at(leaves, at)->hash != hash)
		return 0;
	return at;
}

void tm_trie_insert(struct tm_magazine *nodes, uint32_t *root,
		    const struct tm_leaves *leaves, uint32_t number)
{
	struct tm_leaf *leaf = leaf_at(leaves, number);
	uint32_t *at = root;
	unsigned level = 0;

	for (; *at && !(*at & LEAF); level++)
		at = &node_at(nodes, *at)->slot[trie_slot(leaf->hash, level)];
	leaf->next = 0;
	if (*at) {
		uint32_t other = *at;
		uint64_t hash = leaf_at(leaves, other & ~LEAF)->hash;

		if (hash == leaf->hash) {
			leaf->next = other & ~LEAF;
		} else {
			/* New levels until the two hashes part. */
			while (trie_slot(hash, level) ==
			       trie_slot(leaf->hash, level)) {
				*at = new_node(nodes);
				at = &node_at(nodes, *at)
					      ->slot[trie_slot(hash, level++)];
			}
			*at = new_node(nodes);
			node_at(nodes, *at)->slot[trie_slot(hash, level)] =
				other;
			at = &node_at(nodes, *at)
				      ->slot[trie_slot(leaf->hash, level)];
		}
	}
	*at = number | LEAF;
}

/* Frees the nodes of @path, innermost first, as long as they are empty. */
static void prune(struct tm_magazine *nodes, uint32_t **path, unsigned depth)
{
	while (depth--) {
		uint32_t number = *path[depth];

		if (!node_is_empty(node_at(nodes, number)))
			return;
		*path[depth] = 0;
		tm_magazine_push(nodes, number);
	}
}

void tm_trie_remove(struct tm_magazine *nodes, uint32_t *root,
		    const struct tm_leaves *leaves, uint32_t number)
{
	struct tm_leaf *leaf = leaf_at(leaves, number);
	uint32_t *path[LEVELS_MAX + 1];
	uint32_t *at = root;
	unsigned depth = 0;

	while (!(*at & LEAF)) {
		assert(*at && depth < LEVELS_MAX);
		path[depth] = at;
		at = &node_at(nodes, *at)->slot[trie_slot(leaf->hash, depth)];
		depth++;
	}
	if ((*at & ~LEAF) == number) {
		*at = leaf->next ? leaf->next | LEAF : 0;
	} else {
		struct tm_leaf *before = leaf_at(leaves, *at & ~LEAF);

		while (before->next != number)
			before = leaf_at(leaves, before->next);
		before->next = leaf->next;
	}
	if (!*at)
		prune(nodes, path, depth);
}

uint32_t tm_trie_any(const struct tm_magazine *nodes, uint32_t root)
{
	uint32_t at = root;

	while (at && !(at & LEAF)) {
		const struct tm_node *node = node_at(nodes, at);
		unsigned i = 0;

		while (!node->slot[i])
			i++;
		at = node->slot[i];
	}
	return at & ~LEAF;
}

/* --- the slice ------------------------------------------------------------ */

static unsigned slice_slot(uint32_t key, unsigned height)
{
	return key >> ((height - 1) * SLOT_BITS) & (TM_NODE_SLOTS - 1);
}

static uint32_t slice_key(uint32_t index)
{
	return index & (TM_SLICE_PAGES - 1);
}

/* Of the only page of a slice. What its index says of the slice may be damaged,
 * and is not looked at: so it is found by the same key all the while. */
static uint32_t key_of(const struct tm_table *descriptors, uint32_t number)
{
	const struct tm_descriptor *descriptor =
		tm_table_at(descriptors, number);

	return slice_key(descriptor->index);
}

uint32_t tm_slice_lookup(const struct tm_magazine *nodes,
			 const struct tm_slice *slice, uint32_t index,
			 const struct tm_table *descriptors)
{
	uint32_t key = slice_key(index);
	uint32_t at = slice->root;

	if (slice->height == 0)
		return at && key_of(descriptors, at) == key ? at : 0;
	if (key >> (slice->height * SLOT_BITS))
		return 0;
	for (unsigned h = slice->height; at && h; h--)
		at = node_at(nodes, at)->slot[slice_slot(key, h)];
	return at;
}

/* Replaces what hangs at @key in a slice that is high enough. */
static uint32_t slice_set(struct tm_magazine *nodes, struct tm_slice *slice,
			  uint32_t key, uint32_t descriptor)
{
	uint32_t *at = &slice->root;
	uint32_t old;

	for (unsigned h = slice->height; h; h--) {
		if (!*at)
			*at = new_node(nodes);
		at = &node_at(nodes, *at)->slot[slice_slot(key, h)];
	}
	old = *at;
	*at = descriptor;
	return old;
}

static void slice_grow(struct tm_magazine *nodes, struct tm_slice *slice,
		       uint32_t key, const struct tm_table *descriptors)
{
	uint32_t single = slice->height == 0 ? slice->root : 0;
	uint32_t most = key;

	if (single) {
		uint32_t other = key_of(descriptors, single);

		most = other > key ? other : key;
		slice->root = 0;
		slice->height = 1;
	}
	while (most >> (slice->height * SLOT_BITS)) {
		uint32_t root = slice->root;

		if (root) {
			slice->root = new_node(nodes);
			node_at(nodes, slice->root)->slot[0] = root;
		}
		slice->height++;
	}
	if (single)
		slice_set(nodes, slice, key_of(descriptors, single), single);
}

uint32_t tm_slice_insert(struct tm_magazine *nodes, struct tm_slice *slice,
			 uint32_t index, uint32_t descriptor,
			 const struct tm_table *descriptors)
{
	uint32_t key = slice_key(index);
	uint32_t old = 0;

	if (tm_slice_is_empty(slice)) {
		slice->height = 0;
		slice->root = descriptor;
	} else if (slice->height == 0 &&
		   key_of(descriptors, slice->root) == key) {
		old = slice->root;
		slice->root = descriptor;
	} else {
		slice_grow(nodes, slice, key, descriptors);
		old = slice_set(nodes, slice, key, descriptor);
	}
	return old;
}

void tm_slice_remove(struct tm_magazine *nodes, struct tm_slice *slice,
		     uint32_t index)
{
	uint32_t key = slice_key(index);
	uint32_t *path[TM_SLICE_BITS / SLOT_BITS];
	uint32_t *at = &slice->root;
	unsigned depth = 0;

	for (unsigned h = slice->height; h; h--) {
		path[depth++] = at;
		at = &node_at(nodes, *at)->slot[slice_slot(key, h)];
	}
	*at = 0;
	prune(nodes, path, depth);
	if (tm_slice_is_empty(slice))
		slice->height = 0;
}

uint32_t tm_slice_any(const struct tm_magazine *nodes,
		      const struct tm_slice *slice, uint32_t *index,
		      const struct tm_table *descriptors)
{
	uint32_t at = slice->root;
	uint32_t key = 0;

	for (unsigned h = slice->height; at && h; h--) {
		const struct tm_node *node = node_at(nodes, at);
		unsigned i = 0;

		while (!node->slot[i])
			i++;
		key = key << SLOT_BITS | i;
		at = node->slot[i];
	}
	if (at && slice->height == 0)
		key = key_of(descriptors, at);
	*index = (uint32_t)slice->high << TM_SLICE_BITS | key;
	return at;
}
