/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The hypercall channel, byte by byte: what a client and a daemon share.
 *
 * doc/channel-format.md is the same for people. In short: a client connects to
 * a UNIX socket (SOCK_SEQPACKET), sends a struct tm_ring_hello with a memfd
 * that serves as its guest RAM, and gets a struct tm_ring_welcome with another
 * memfd, which is the daemon's and sealed: the rings. After that the socket
 * only says, by hanging up, that the other side has gone.
 *
 * A ring is two lines of counters, an array of submissions and one of
 * completions, both of @entries slots. Counters run freely and wrap; slot n of
 * an array is used by counts n, n + entries, ... Requests of one ring are
 * carried out and answered in the order of submission, so that one counter on
 * each side is all there is:
 *
 *	completed <= submitted <= completed + entries
 *
 * The side that waits for a counter says so in its own line (sleeps), looks at
 * the counter once more, and waits on that word with a futex; who advances the
 * counter looks at the flag afterwards, clears it and wakes. Who spins before it
 * sleeps can see from the other's line that it shares a processor with it.
 *
 * Everything has the machine's byte order: a channel does not leave it.
 */
#ifndef TM_RING_ABI_H
#define TM_RING_ABI_H

#include <assert.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define TM_RING_MAGIC UINT64_C(0x676e69726d656d74) /* "tmemring" */
#define TM_RING_VERSION 1

/* Of any ring, whatever the limits of a daemon are. */
#define TM_RING_ENTRIES_MAX 256
#define TM_RING_RINGS_MAX 256
#define TM_RING_NAME_BYTES 64

/* client to daemon, once, with the descriptor of its memory */
struct tm_ring_hello {
	uint64_t magic;
	uint32_t version;
	uint32_t flags;		/* 0 */
	uint64_t memory_bytes;	/* whole pages; the file has at least these */
	uint32_t rings;		/* wanted */
	uint32_t entries;	/* of each ring, a power of two */
	char name[TM_RING_NAME_BYTES];	/* ends with a 0 */
};
static_assert(sizeof(struct tm_ring_hello) == 96, "wire");

/* daemon to client, once, with the descriptor of the rings if status is 0 */
struct tm_ring_welcome {
	uint64_t magic;
	uint32_t version;
	int32_t status;		/* 0 or a negative errno */
	uint64_t call;		/* last numbered call of this client */
	uint64_t ring_bytes;	/* ring i begins at i * ring_bytes */
	uint32_t rings;		/* granted: 1 to what was wanted */
	uint32_t entries;
	uint64_t host[2];	/* of the running store, random */
};
static_assert(sizeof(struct tm_ring_welcome) == 56, "wire");

/* Commands: the numbers of the historical interface, and some of our own that
 * answer with a structure in a page of the client's memory. */
enum tm_ring_command {
	TM_RING_NEW_POOL = 1,
	TM_RING_DESTROY_POOL = 2,
	TM_RING_PUT_PAGE = 4,
	TM_RING_GET_PAGE = 5,
	TM_RING_FLUSH_PAGE = 6,
	TM_RING_FLUSH_OBJECT = 7,
	TM_RING_POOL_INFO = 0x10000,	/* struct tm_ring_pool_info */
	TM_RING_COUNTS = 0x10001,	/* struct tm_ring_counts */
	TM_RING_NEW_POOL_AT = 0x10002,	/* with an id that the client says */
};

/* Goes with the flags of a pool, which are TMEM_POOL_* of <tmem/tmem.h>: the
 * version of the historical interface. */
#define TM_RING_POOL_VERSION (UINT32_C(1) << 24)

/* struct tmem_op, native 64-bit layout. */
struct tm_ring_op {
	uint32_t command;
	int32_t pool;
	union {
		struct {
			uint64_t uuid[2];
			uint32_t flags;
			uint32_t unused;
		} create;
		struct {
			uint64_t oid[3];
			uint32_t index;
			uint32_t unused[3];
		} page;
	};
	union {
		uint64_t frame;	/* which page of the client's memory */
		uint64_t call;	/* of NEW_POOL and DESTROY_POOL; 0: none */
	};
};
static_assert(sizeof(struct tm_ring_op) == 56, "wire");
static_assert(offsetof(struct tm_ring_op, create.flags) == 24, "wire");
static_assert(offsetof(struct tm_ring_op, page.index) == 32, "wire");
static_assert(offsetof(struct tm_ring_op, frame) == 48, "wire");

/* A get takes the page out, whatever kind of pool it is. */
#define TM_RING_REMOVE (UINT32_C(1) << 0)

struct tm_ring_submission {
	struct tm_ring_op op;
	uint32_t flags;		/* TM_RING_REMOVE */
	uint32_t sequence;	/* its count: the first one has 0 */
};
static_assert(sizeof(struct tm_ring_submission) == 64, "wire");

/* The page of a get with TM_RING_REMOVE is in the client's memory, and goes
 * from its pool now: written before it goes, and before it is counted. Who
 * finds it in the ring of a daemon that died has the page. */
#define TM_RING_TAKEN (UINT32_C(1) << 0)

struct tm_ring_completion {
	uint32_t sequence;
	int32_t result;		/* as the function in <tmem/tmem.h> */
	_Atomic uint32_t flags;	/* TM_RING_TAKEN */
	uint32_t unused;
};
static_assert(sizeof(struct tm_ring_completion) == 16, "wire");

/* Each counter with its writer's flag: one cache line, one writer (but for who
 * clears the flag of a sleeper). */
struct tm_ring_line {
	_Atomic uint32_t count;	/* submitted, or completed */
	_Atomic uint32_t sleeps;
	_Atomic uint32_t wake_at; /* by this count of the other side */
	/* Where its writer ran when it last counted, + 1; 0: does not say. */
	_Atomic uint32_t processor;
	uint32_t unused[12];
};
static_assert(sizeof(struct tm_ring_line) == 64, "wire");

struct tm_ring_head {
	struct tm_ring_line submitted;	/* the client writes it */
	struct tm_ring_line completed;	/* the daemon writes it */
};

/* A ring: head, entries submissions, entries completions, to whole pages. */
static inline size_t tm_ring_submissions_at(void)
{
	return sizeof(struct tm_ring_head);
}

static inline size_t tm_ring_completions_at(uint32_t entries)
{
	return sizeof(struct tm_ring_head) +
	       entries * sizeof(struct tm_ring_submission);
}

static inline size_t tm_ring_bytes(uint32_t entries)
{
	size_t bytes = tm_ring_completions_at(entries) +
		       entries * sizeof(struct tm_ring_completion);

	return (bytes + 4095) & ~(size_t)4095;
}

struct tm_ring_pool_info {
	uint32_t flags;
	uint32_t members;
	uint64_t uuid[2];
	uint64_t pages;
	uint64_t objects;
};
static_assert(sizeof(struct tm_ring_pool_info) == 40, "wire");

/* struct tmem_counts without its size: later versions have more words. */
#define TM_RING_COUNTS_WORDS_MAX 500
struct tm_ring_counts {
	uint64_t words;		/* that follow */
	uint64_t word[TM_RING_COUNTS_WORDS_MAX];
};
static_assert(sizeof(struct tm_ring_counts) <= 4096, "wire");

#endif
