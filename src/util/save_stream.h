/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A saved client, byte by byte: the format, and its two ends without a store.
 *
 * doc/save-format.md is the same for people. A stream is a hello and blocks:
 *
 *	CLIENT, { POOLS | PAGES | GONE | IDLE }, END
 *
 * The problem: a stream crosses disks and networks, and what it brings is
 * memory of a running guest, so half of it is worse than nothing. The idea:
 * each block's check covers its head and its bytes and is seeded with the check
 * of the block before it. A flipped bit, a block that is missing, twice there or
 * out of another stream shows where it happens, and nothing of that block is
 * looked at; a cut shows because END is not there. Against accidents, that is:
 * whoever can write a stream can write any client.
 *
 * All numbers are little-endian; pages are bytes. No codec and no allocator is
 * named: pages travel as the guest put them, those of one repeated word as that
 * word.
 *
 * Bounds: a block is at most TM_SAVE_BLOCK_MAX bytes with its head, which is
 * what either end holds of it.
 */
#ifndef TM_SAVE_STREAM_H
#define TM_SAVE_STREAM_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tmem/tmem.h>

#define TM_SAVE_MAGIC "TMEMSAVE"
#define TM_SAVE_VERSION 1
/* flags of the hello: the client runs on while it is saved. */
#define TM_SAVE_LIVE UINT32_C(1)

#define TM_SAVE_BLOCK_MAX (256 << 10)
#define TM_SAVE_PAYLOAD_MAX (TM_SAVE_BLOCK_MAX - sizeof(struct tm_save_block))

struct tm_save_hello {
	char magic[8];
	uint32_t version;
	uint32_t page_size;
	uint32_t flags;
	uint32_t reserved;	/* 0 */
	uint64_t check;		/* of what stands before it */
};
static_assert(sizeof(struct tm_save_hello) == 32, "wire");

enum tm_save_type {
	TM_SAVE_CLIENT = 1,	/* struct tm_save_client, pools */
	TM_SAVE_POOLS = 2,	/* pools that were not known at first */
	TM_SAVE_PAGES = 3,	/* struct tm_save_page, each with its data */
	TM_SAVE_GONE = 4,	/* struct tm_save_page without data */
	TM_SAVE_IDLE = 5,	/* nothing: all that was to be said is said */
	TM_SAVE_END = 6,	/* struct tm_save_end, pools */
};

/* The head of a block. */
struct tm_save_block {
	uint32_t type;
	uint32_t count;		/* of records: pools, or pages */
	uint32_t length;	/* bytes that follow */
	uint32_t reserved;	/* 0 */
	uint64_t check;
};
static_assert(sizeof(struct tm_save_block) == 24, "wire");

/* flags of a client */
#define TM_SAVE_FROZEN UINT32_C(1)
#define TM_SAVE_COMPRESS UINT32_C(2)

struct tm_save_client {
	char name[TMEM_CLIENT_NAME_MAX + 1];	/* filled up with 0 */
	uint32_t weight;
	uint32_t flags;
	uint64_t reservation_bytes;
	uint64_t cap_bytes;
};
static_assert(sizeof(struct tm_save_client) == 88, "wire");

struct tm_save_pool {
	uint32_t id;
	uint32_t flags;		/* TMEM_POOL_* */
	uint64_t uuid[2];	/* of a shared one, else 0 */
	uint64_t pages;		/* of a persistent one, about */
};
static_assert(sizeof(struct tm_save_pool) == 32, "wire");

enum tm_save_kind {
	TM_SAVE_RAW = 0,	/* a page follows */
	TM_SAVE_SAME = 1,	/* 8 bytes follow, which repeat */
};

struct tm_save_page {
	uint64_t oid[3];
	uint32_t index;
	uint8_t pool;
	uint8_t kind;		/* 0 in a GONE block */
	uint8_t reserved[2];	/* 0 */
};
static_assert(sizeof(struct tm_save_page) == 32, "wire");

struct tm_save_end {
	uint64_t pages;		/* in all PAGES blocks */
	uint64_t gone;		/* in all GONE blocks */
	uint64_t lost;		/* pages that were damaged at the source */
};
static_assert(sizeof(struct tm_save_end) == 24, "wire");

/* --- in this machine's words ------------------------------------------------ */

struct tm_save_pool_info {
	uint32_t id;
	uint32_t flags;
	struct tmem_uuid uuid;
	uint64_t pages;
};

struct tm_save_client_info {
	char name[TMEM_CLIENT_NAME_MAX + 1];
	uint32_t weight;
	bool is_frozen;
	bool compresses;
	uint64_t reservation_bytes;
	uint64_t cap_bytes;
	unsigned pool_count;
	struct tm_save_pool_info pools[TMEM_POOLS_MAX];
};

/* --- writing ------------------------------------------------------------------ */

/* What is to be sent stands in buffer, from at to size. */
struct tm_save_out {
	uint64_t check;		/* of the block before */
	uint8_t *buffer;	/* TM_SAVE_BLOCK_MAX bytes */
	size_t at;
	size_t size;
	enum tm_save_type type;	/* of the block that is being filled */
	uint32_t count;
	uint64_t pages;		/* said so far, for the end */
	uint64_t gone;
	uint64_t lost;		/* for the caller to count */
};

/* 0 or -ENOMEM. */
int tm_save_out_open(struct tm_save_out *out);
void tm_save_out_close(struct tm_save_out *out);

/* Each of these but the last two makes a whole block, when all of the one
 * before has been taken. */
void tm_save_out_hello(struct tm_save_out *out, uint32_t flags);
void tm_save_out_client(struct tm_save_out *out,
			const struct tm_save_client_info *client);
/* One pool more. */
void tm_save_out_pool(struct tm_save_out *out,
		      const struct tm_save_pool_info *pool);
void tm_save_out_idle(struct tm_save_out *out);
void tm_save_out_end(struct tm_save_out *out,
		     const struct tm_save_client_info *client);

/* A block of pages, or of pages that went: begin, add while there is room,
 * finish. An empty one leaves nothing to be sent. */
void tm_save_out_begin(struct tm_save_out *out, enum tm_save_type type);
bool tm_save_out_has_room(const struct tm_save_out *out);
/* Where the next page may be written before it is added (or is not). */
void *tm_save_out_page(struct tm_save_out *out);
void tm_save_out_add(struct tm_save_out *out, const struct tmem_handle *handle);
void tm_save_out_finish(struct tm_save_out *out);

/* Moves up to @size bytes to @to; how many. */
size_t tm_save_out_take(struct tm_save_out *out, void *to, size_t size);
static inline bool tm_save_out_is_empty(const struct tm_save_out *out)
{
	return out->at == out->size;
}

/* --- reading ------------------------------------------------------------------ */

#define TM_SAVE_ERROR_MAX 256

struct tm_save_in;

/* Each answers 0, or a negative errno, with which the stream ends, after a
 * sentence in in->error. NULL: not wanted. */
struct tm_save_in_ops {
	/* The client, as it was when saving began: in->client, without its
	 * pools. */
	int (*client)(void *opaque, struct tm_save_in *in);
	int (*pool)(void *opaque, struct tm_save_in *in,
		    const struct tm_save_pool_info *pool);
	int (*page)(void *opaque, struct tm_save_in *in,
		    const struct tmem_handle *handle, const void *page);
	int (*gone)(void *opaque, struct tm_save_in *in,
		    const struct tmem_handle *handle);
	/* Its pools, as they were at the end: in->end. */
	int (*end)(void *opaque, struct tm_save_in *in);
};

struct tm_save_in {
	const struct tm_save_in_ops *ops;
	void *opaque;
	/* what is known so far */
	bool is_live;
	bool has_client;
	bool is_idle;		/* everything was said once */
	bool is_ended;
	struct tm_save_client_info client;
	struct tm_save_client_info end;	/* its pools only */
	uint64_t pages;
	uint64_t pages_expected;
	uint64_t gone;
	uint64_t lost;
	uint64_t bytes;		/* of whole blocks */
	char error[TM_SAVE_ERROR_MAX];
	/* private */
	int err;
	uint64_t check;
	uint8_t *buffer;
	size_t filled;
	uint64_t page[TMEM_PAGE_SIZE / 8];
};

/* Any bytes are allowed from here on. 0 or -ENOMEM. */
int tm_save_in_open(struct tm_save_in *in, const struct tm_save_in_ops *ops,
		    void *opaque);
void tm_save_in_close(struct tm_save_in *in);

/* The next bytes, however they are cut. 0, or what went wrong, which is then
 * the answer to all that follows:
 * -EBADMSG: damaged, or no such stream; -EPROTONOSUPPORT: of another version;
 * or what an operation answered. in->error is one sentence. */
int tm_save_in_push(struct tm_save_in *in, const void *bytes, size_t size);

/* That was all. 0, or -EBADMSG: the end is missing. */
int tm_save_in_finish(struct tm_save_in *in);

/* Notes why, and answers @err. */
int tm_save_in_fail(struct tm_save_in *in, int err, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#endif
