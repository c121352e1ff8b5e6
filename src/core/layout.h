/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What an arena holds: the records that survive the process.
 *
 * The records are the truth; the index, the lists, the counts and the
 * allocators' state are rebuilt from them. A process may die between any two
 * instructions, so every change of state is one aligned store to one word of
 * one record, made after everything that it vouches for:
 *
 *	record		word		0 means
 *	client, pool	state		slot is free
 *	object		state		slot is free
 *	descriptor	state		slot is free
 *
 * A record that is DEAD takes everything below it with it: a live descriptor
 * of a dead object, or a live object of a dead pool, is garbage that reopening
 * frees. A slot is reused only after its last dependant is free.
 *
 * Two live descriptors of one (object, index) exist only between the two steps
 * of an overwrite; the successor's generation is one more, modulo 4.
 *
 * A flipped bit must show, and must neither free a record nor lead from one to
 * another's data. So the word that makes a record live vouches for its other
 * fields too: that of a client, pool or object with a keyed hash, that of a
 * descriptor with a residue, which costs a multiplication and catches each
 * single bit (2^n modulo 127, or 31, is never 0). What vouches for the bytes
 * themselves is the descriptor's check, on every get. What is volatile in a
 * record, and may lead astray, stands beside its complement: the list of free
 * records, a content's number of links.
 *
 * All fields have the byte order of the machine that made the arena, and the
 * superblock says which. doc/arena-format.md is the description for people;
 * the assertions below keep both honest.
 */
#ifndef TM_LAYOUT_H
#define TM_LAYOUT_H

#include <assert.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tmem/tmem.h>

#define TM_LAYOUT_MAGIC "tmemaren"
#define TM_LAYOUT_VERSION 1
#define TM_LAYOUT_BYTE_ORDER UINT32_C(0x01020304)

/* Feature bits. An unknown incompatible one refuses the arena. */
#define TM_FEATURE_INCOMPAT_KNOWN UINT64_C(0)

#define TM_CODECS_MAX 32
#define TM_ALLOCATORS_MAX 8	/* 3 bits of a place */
#define TM_CLIENTS_MAX 256
#define TM_POOLS_TOTAL_MAX (TM_CLIENTS_MAX * TMEM_POOLS_MAX)

enum tm_record_state {
	TM_RECORD_FREE = 0,
	TM_RECORD_LIVE = 1,
	TM_RECORD_DEAD = 2,
	TM_RECORD_DAMAGED = 3,	/* never stored: says that a check failed */
};

/* The state word of a client, pool or object that is not free: its state, and
 * a check of its constant fields. A dead one's is the complement of a live
 * one's, so that no bit turns the one into the other. */
static inline uint32_t tm_record_word(enum tm_record_state state,
				      uint32_t check)
{
	uint32_t live = (check | 1) << 2 | TM_RECORD_LIVE;

	return state == TM_RECORD_DEAD ? ~live : live;
}

static inline uint32_t tm_record_word_dead(uint32_t live)
{
	return ~live;
}

/* A plugin by name. Slot 0 of the codec table stands for "stored as it is". */
struct tm_plugin_record {
	char name[TMEM_PLUGIN_NAME_MAX + 1];
	uint32_t format;
	_Atomic uint32_t state;
};

struct tm_region {
	uint64_t offset_bytes;
	uint64_t count;
};

struct tm_superblock {
	char magic[8];
	uint32_t byte_order;
	uint32_t layout_version;
	uint64_t features_compat;
	uint64_t features_incompat;
	uint32_t page_size;
	uint32_t client_record_size;
	uint32_t pool_record_size;
	uint32_t object_record_size;
	uint32_t descriptor_size;
	uint32_t reserved;
	uint64_t uuid[2];
	uint64_t hash_seed;
	uint64_t memory_max_bytes;
	uint64_t file_size_bytes;
	struct tm_region clients;
	struct tm_region pools;
	struct tm_region objects;
	struct tm_region descriptors;
	struct tm_region frames;
	uint64_t check;		/* of everything above */

	/* Slots below these numbers may have been used; see tm_high_make(). */
	_Atomic uint64_t clients_high;
	_Atomic uint64_t pools_high;
	_Atomic uint64_t objects_high;
	_Atomic uint64_t descriptors_high;
	struct tm_plugin_record codecs[TM_CODECS_MAX];
	struct tm_plugin_record allocators[TM_ALLOCATORS_MAX];
};
static_assert(offsetof(struct tm_superblock, check) == 176 &&
		      offsetof(struct tm_superblock, codecs) == 216 &&
		      sizeof(struct tm_superblock) == 1176,
	      "layout");

/* A number and its complement: one store, and a flipped bit shows. */
static inline uint64_t tm_high_make(uint32_t high)
{
	return (uint64_t)~high << 32 | high;
}

static inline bool tm_high_is_sound(uint64_t word)
{
	return (uint32_t)(word >> 32) == ~(uint32_t)word || !word;
}

/* In a client record: not all of it is there yet. No single flipped bit ends a
 * client that is whole. */
#define TM_CLIENT_UNFINISHED UINT64_C(0x687369666e696e75)

struct tm_client_record {
	_Atomic uint32_t state;
	uint32_t weight;
	uint32_t trust_domain;
	uint32_t reserved;
	uint64_t reservation_bytes;
	uint64_t cap_bytes;
	_Atomic uint64_t call;	/* see tm_call_make() */
	_Atomic uint64_t unfinished;
	uint64_t spare[2];
	char name[TMEM_CLIENT_NAME_MAX + 1];
};
static_assert(sizeof(struct tm_client_record) == 128, "layout");

/* The last numbered change of a client's pools: which, and of which pool.
 * Written before the change itself. */
static inline uint64_t tm_call_make(uint64_t number, int pool)
{
	return number << 8 | (uint64_t)pool;
}

static inline uint64_t tm_call_number(uint64_t call)
{
	return call >> 8;
}

static inline int tm_call_pool(uint64_t call)
{
	return (int)(call & 0xff);
}

struct tm_pool_record {
	_Atomic uint32_t state;
	uint32_t flags;		/* TMEM_POOL_* */
	uint32_t client;	/* its owner's slot */
	uint32_t id;		/* its number within the client */
	uint64_t uuid[2];
};
static_assert(sizeof(struct tm_pool_record) == 32, "layout");

struct tm_object_record {
	uint64_t oid[3];
	uint32_t pool;
	_Atomic uint32_t state;
};
static_assert(sizeof(struct tm_object_record) == 32, "layout");

/*
 * A page. @state packs, from bit 0:
 *
 *	kind 3 | generation 2 | codec 6 | length 13 | seal 8 | content 32
 *
 * where content is the descriptor that a LINK points to. A free one is all 0:
 * a bit flipped in a live one never makes it free. @place is, by kind: the
 * handle (56 bits), the allocator's slot in the superblock (3), a seal (5);
 * the repeated word of a same-filled page; none for a LINK: were one to be
 * taken for DATA, it would have nothing to free.
 * @pins is volatile: readers under way, and TM_PIN_DOOMED.
 */
struct tm_descriptor {
	_Atomic uint64_t state;
	_Atomic uint64_t place;
	uint32_t object;
	uint32_t index;
	uint32_t check;
	_Atomic uint32_t pins;
};
static_assert(sizeof(struct tm_descriptor) == 32, "layout");

enum tm_kind {
	TM_KIND_FREE = 0,
	TM_KIND_DATA = 1,	/* stored bytes at place; codec 0: as it is */
	TM_KIND_SAME = 2,	/* one word, repeated */
	TM_KIND_LINK = 3,	/* the bytes of a CONTENT descriptor */
	TM_KIND_CONTENT = 4,	/* belongs to no object; has links */
};

#define TM_PIN_DOOMED (UINT32_C(1) << 31)

/* No place has this form: it has no handle. */
#define TM_PLACE_NONE 0
#define TM_PLACE_HANDLE_MASK ((UINT64_C(1) << TMEM_HANDLE_BITS) - 1)

static inline uint64_t tm_state_make(enum tm_kind kind, unsigned generation,
				     unsigned codec, uint32_t length)
{
	return (uint64_t)kind | (uint64_t)(generation & 3) << 3 |
	       (uint64_t)codec << 5 | (uint64_t)length << 11;
}

static inline enum tm_kind tm_state_kind(uint64_t state)
{
	return (enum tm_kind)(state & 7);
}

static inline unsigned tm_state_generation(uint64_t state)
{
	return (unsigned)(state >> 3) & 3;
}

static inline unsigned tm_state_codec(uint64_t state)
{
	return (unsigned)(state >> 5) & 63;
}

static inline uint32_t tm_state_length(uint64_t state)
{
	return (uint32_t)(state >> 11) & 0x1fff;
}

static inline uint32_t tm_state_content(uint64_t state)
{
	return (uint32_t)(state >> 32);
}

/* The state of a page of (object, index); of a content, (0, 0). */
static inline uint64_t tm_state_seal(uint64_t state, uint32_t object,
				     uint32_t index)
{
	uint64_t sum = (state & 0xffffff) + 3 * (state >> 32) +
		       5 * (uint64_t)object + 7 * (uint64_t)index;

	return (state & ~(UINT64_C(0xff) << 24)) | (0x80 | sum % 127) << 24;
}

static inline bool tm_state_is_sealed(uint64_t state, uint32_t object,
				      uint32_t index)
{
	return state == tm_state_seal(state, object, index);
}

static inline uint64_t tm_place_make(unsigned allocator, uint64_t handle)
{
	uint64_t place = (uint64_t)allocator << TMEM_HANDLE_BITS | handle;

	return place | place % 31 << 59;
}

static inline unsigned tm_place_allocator(uint64_t place)
{
	return (unsigned)(place >> TMEM_HANDLE_BITS) & 7;
}

static inline uint64_t tm_place_handle(uint64_t place)
{
	return place & TM_PLACE_HANDLE_MASK;
}

static inline bool tm_place_is_sound(uint64_t place)
{
	return place == tm_place_make(tm_place_allocator(place),
				      tm_place_handle(place));
}

#endif
