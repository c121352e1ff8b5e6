/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The format of a saved client, written and read; see save_stream.h.
 *
 * The reader takes everything for hostile: a block is looked at when all of it
 * is there and its check is right, and even then each number is held against
 * its range, since a check says that bytes arrived, not that they make sense.
 */
#include <config.h>

#include <endian.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "save_stream.h"

#define HEAD sizeof(struct tm_save_block)
#define WORD_BYTES 8
#define PAGE_RECORD_MAX (sizeof(struct tm_save_page) + TMEM_PAGE_SIZE)

static uint64_t hello_check(const struct tm_save_hello *hello)
{
	return XXH3_64bits(hello, offsetof(struct tm_save_hello, check));
}

/* Of a block with its head at @block. */
static uint64_t block_check(uint64_t before, const uint8_t *block,
			    size_t length)
{
	uint64_t head = XXH3_64bits_withSeed(
		block, offsetof(struct tm_save_block, check), before);

	return XXH3_64bits_withSeed(block + HEAD, length, head);
}

/* --- writing ------------------------------------------------------------------ */

int tm_save_out_open(struct tm_save_out *out)
{
	*out = (struct tm_save_out){ .buffer = malloc(TM_SAVE_BLOCK_MAX) };
	return out->buffer ? 0 : -ENOMEM;
}

void tm_save_out_close(struct tm_save_out *out)
{
	free(out->buffer);
	out->buffer = NULL;
}

void tm_save_out_hello(struct tm_save_out *out, uint32_t flags)
{
	struct tm_save_hello hello = {
		.magic = TM_SAVE_MAGIC,
		.version = htole32(TM_SAVE_VERSION),
		.page_size = htole32(TMEM_PAGE_SIZE),
		.flags = htole32(flags),
	};

	out->check = hello_check(&hello);
	hello.check = htole64(out->check);
	memcpy(out->buffer, &hello, sizeof(hello));
	out->at = 0;
	out->size = sizeof(hello);
}

void tm_save_out_begin(struct tm_save_out *out, enum tm_save_type type)
{
	out->type = type;
	out->count = 0;
	out->at = 0;
	out->size = HEAD;
}

static void append(struct tm_save_out *out, const void *bytes, size_t size)
{
	memcpy(out->buffer + out->size, bytes, size);
	out->size += size;
}

void tm_save_out_finish(struct tm_save_out *out)
{
	struct tm_save_block head = {
		.type = htole32(out->type),
		.count = htole32(out->count),
		.length = htole32((uint32_t)(out->size - HEAD)),
	};
	bool has_pages =
		out->type == TM_SAVE_PAGES || out->type == TM_SAVE_GONE;

	if (has_pages && !out->count) {
		out->size = 0;
		return;
	}
	memcpy(out->buffer, &head, HEAD);
	out->check = block_check(out->check, out->buffer, out->size - HEAD);
	head.check = htole64(out->check);
	memcpy(out->buffer, &head, HEAD);
}

static void add_pool(struct tm_save_out *out,
		     const struct tm_save_pool_info *from)
{
	struct tm_save_pool pool = {
		.id = htole32(from->id),
		.flags = htole32(from->flags),
		.uuid = { htole64(from->uuid.word[0]),
			  htole64(from->uuid.word[1]) },
		.pages = htole64(from->pages),
	};

	append(out, &pool, sizeof(pool));
	out->count++;
}

static void add_pools(struct tm_save_out *out,
		      const struct tm_save_client_info *client)
{
	for (unsigned i = 0; i < client->pool_count; i++)
		add_pool(out, &client->pools[i]);
	tm_save_out_finish(out);
}

void tm_save_out_pool(struct tm_save_out *out,
		      const struct tm_save_pool_info *pool)
{
	tm_save_out_begin(out, TM_SAVE_POOLS);
	add_pool(out, pool);
	tm_save_out_finish(out);
}

void tm_save_out_client(struct tm_save_out *out,
			const struct tm_save_client_info *from)
{
	struct tm_save_client client = {
		.weight = htole32(from->weight),
		.flags = htole32((from->is_frozen ? TM_SAVE_FROZEN : 0) |
				 (from->compresses ? TM_SAVE_COMPRESS : 0)),
		.reservation_bytes = htole64(from->reservation_bytes),
		.cap_bytes = htole64(from->cap_bytes),
	};

	memcpy(client.name, from->name, strlen(from->name));
	tm_save_out_begin(out, TM_SAVE_CLIENT);
	append(out, &client, sizeof(client));
	add_pools(out, from);
}

void tm_save_out_idle(struct tm_save_out *out)
{
	tm_save_out_begin(out, TM_SAVE_IDLE);
	tm_save_out_finish(out);
}

void tm_save_out_end(struct tm_save_out *out,
		     const struct tm_save_client_info *client)
{
	struct tm_save_end end = {
		.pages = htole64(out->pages),
		.gone = htole64(out->gone),
		.lost = htole64(out->lost),
	};

	tm_save_out_begin(out, TM_SAVE_END);
	append(out, &end, sizeof(end));
	add_pools(out, client);
}

bool tm_save_out_has_room(const struct tm_save_out *out)
{
	return out->size + PAGE_RECORD_MAX <= TM_SAVE_BLOCK_MAX;
}

void *tm_save_out_page(struct tm_save_out *out)
{
	return out->buffer + out->size + sizeof(struct tm_save_page);
}

static bool is_one_word(const uint8_t *page)
{
	/* Most pages are not, and show it early. */
	return !memcmp(page, page + WORD_BYTES, WORD_BYTES) &&
	       !memcmp(page, page + WORD_BYTES, TMEM_PAGE_SIZE - WORD_BYTES);
}

void tm_save_out_add(struct tm_save_out *out, const struct tmem_handle *handle)
{
	struct tm_save_page page = {
		.index = htole32(handle->index),
		.pool = (uint8_t)handle->pool,
	};
	size_t data_bytes = 0;

	for (unsigned i = 0; i < 3; i++)
		page.oid[i] = htole64(handle->oid.word[i]);
	if (out->type == TM_SAVE_PAGES) {
		page.kind = is_one_word(tm_save_out_page(out)) ? TM_SAVE_SAME :
								 TM_SAVE_RAW;
		data_bytes = page.kind == TM_SAVE_SAME ? WORD_BYTES :
							 TMEM_PAGE_SIZE;
		out->pages++;
	} else {
		out->gone++;
	}
	append(out, &page, sizeof(page));
	out->size += data_bytes;
	out->count++;
}

size_t tm_save_out_take(struct tm_save_out *out, void *to, size_t size)
{
	if (size > out->size - out->at)
		size = out->size - out->at;
	memcpy(to, out->buffer + out->at, size);
	out->at += size;
	return size;
}

/* --- reading ------------------------------------------------------------------ */

int tm_save_in_open(struct tm_save_in *in, const struct tm_save_in_ops *ops,
		    void *opaque)
{
	memset(in, 0, sizeof(*in));
	in->ops = ops;
	in->opaque = opaque;
	in->buffer = malloc(TM_SAVE_BLOCK_MAX);
	return in->buffer ? 0 : -ENOMEM;
}

void tm_save_in_close(struct tm_save_in *in)
{
	free(in->buffer);
	in->buffer = NULL;
}

int tm_save_in_fail(struct tm_save_in *in, int err, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(in->error, sizeof(in->error), format, args);
	va_end(args);
	return err;
}

static int damaged(struct tm_save_in *in, const char *what)
{
	return tm_save_in_fail(in, -EBADMSG,
			       "the stream is damaged after byte %llu: %s",
			       (unsigned long long)in->bytes, what);
}

/* A walk over a block's bytes. */
struct cursor {
	const uint8_t *at;
	size_t left;
};

static const void *next(struct cursor *cursor, size_t size)
{
	const void *at = cursor->at;

	if (size > cursor->left)
		return NULL;
	cursor->at += size;
	cursor->left -= size;
	return at;
}

static bool pool_is_sound(const struct tm_save_client_info *before,
			  const struct tm_save_pool_info *pool)
{
	bool has_uuid = pool->uuid.word[0] || pool->uuid.word[1];

	if (pool->id >= TMEM_POOLS_MAX ||
	    pool->flags & ~(TMEM_POOL_PERSISTENT | TMEM_POOL_SHARED) ||
	    pool->flags == (TMEM_POOL_PERSISTENT | TMEM_POOL_SHARED))
		return false;
	if (has_uuid != !!(pool->flags & TMEM_POOL_SHARED))
		return false;
	for (unsigned i = 0; i < before->pool_count; i++)
		if (before->pools[i].id == pool->id)
			return false;
	return true;
}

static int read_pools(struct tm_save_in *in, struct cursor *cursor,
		      uint32_t count, struct tm_save_client_info *client)
{
	struct tm_save_pool pool;
	const void *from;

	if (count > TMEM_POOLS_MAX - client->pool_count)
		return damaged(in, "more pools than a client may have");
	for (uint32_t i = 0; i < count; i++) {
		struct tm_save_pool_info info;

		from = next(cursor, sizeof(pool));
		if (!from)
			return damaged(in, "a list of pools is cut");
		memcpy(&pool, from, sizeof(pool));
		info = (struct tm_save_pool_info){
			.id = le32toh(pool.id),
			.flags = le32toh(pool.flags),
			.uuid = { { le64toh(pool.uuid[0]),
				    le64toh(pool.uuid[1]) } },
			.pages = le64toh(pool.pages),
		};
		if (!pool_is_sound(client, &info))
			return damaged(in, "a pool that cannot be");
		client->pools[client->pool_count++] = info;
	}
	return cursor->left ? damaged(in, "bytes behind a list of pools") : 0;
}

static bool name_is_sound(const char *name)
{
	size_t length = strnlen(name, TMEM_CLIENT_NAME_MAX + 1);

	if (!length || length > TMEM_CLIENT_NAME_MAX)
		return false;
	for (; length <= TMEM_CLIENT_NAME_MAX; length++)
		if (name[length])
			return false;
	return true;
}

/* Pools that the client has from here on. */
static int announce(struct tm_save_in *in, struct cursor *cursor,
		    uint32_t count)
{
	struct tm_save_client_info *client = &in->client;
	unsigned i = client->pool_count;
	int err = read_pools(in, cursor, count, client);

	for (; i < client->pool_count && !err; i++) {
		if (__builtin_add_overflow(in->pages_expected,
					   client->pools[i].pages,
					   &in->pages_expected))
			in->pages_expected = UINT64_MAX;
		if (in->ops && in->ops->pool)
			err = in->ops->pool(in->opaque, in, &client->pools[i]);
	}
	return err;
}

static int read_client(struct tm_save_in *in, struct cursor *cursor,
		       uint32_t count)
{
	const void *from = next(cursor, sizeof(struct tm_save_client));
	struct tm_save_client client;
	uint32_t flags;
	int err;

	if (in->has_client)
		return damaged(in, "a second client");
	if (!from)
		return damaged(in, "the client is cut");
	memcpy(&client, from, sizeof(client));
	flags = le32toh(client.flags);
	if (!name_is_sound(client.name) ||
	    flags & ~(TM_SAVE_FROZEN | TM_SAVE_COMPRESS))
		return damaged(in, "a client that cannot be");
	memcpy(in->client.name, client.name, sizeof(in->client.name));
	in->client.weight = le32toh(client.weight);
	in->client.is_frozen = flags & TM_SAVE_FROZEN;
	in->client.compresses = flags & TM_SAVE_COMPRESS;
	in->client.reservation_bytes = le64toh(client.reservation_bytes);
	in->client.cap_bytes = le64toh(client.cap_bytes);
	if (in->client.cap_bytes &&
	    in->client.reservation_bytes > in->client.cap_bytes)
		return damaged(in, "a reservation above the cap");
	in->has_client = true;
	if (in->ops && in->ops->client) {
		err = in->ops->client(in->opaque, in);
		if (err)
			return err;
	}
	return announce(in, cursor, count);
}

static bool is_persistent(const struct tm_save_in *in, uint32_t id)
{
	for (unsigned i = 0; i < in->client.pool_count; i++)
		if (in->client.pools[i].id == id)
			return in->client.pools[i].flags & TMEM_POOL_PERSISTENT;
	return false;
}

static int read_handle(struct tm_save_in *in, struct cursor *cursor,
		       struct tmem_handle *handle, uint8_t *kind)
{
	const void *from = next(cursor, sizeof(struct tm_save_page));
	struct tm_save_page page;

	if (!from)
		return damaged(in, "a page's name is cut");
	memcpy(&page, from, sizeof(page));
	if (!is_persistent(in, page.pool) || page.reserved[0] ||
	    page.reserved[1])
		return damaged(in, "a page of no pool");
	handle->pool = page.pool;
	handle->index = le32toh(page.index);
	for (unsigned i = 0; i < 3; i++)
		handle->oid.word[i] = le64toh(page.oid[i]);
	*kind = page.kind;
	return 0;
}

/* Eight bytes to a page of them. */
static const void *spread(struct tm_save_in *in, const void *bytes)
{
	uint64_t word;

	if (!bytes)
		return NULL;
	memcpy(&word, bytes, sizeof(word));
	for (size_t i = 0; i < TMEM_PAGE_SIZE / sizeof(word); i++)
		in->page[i] = word;
	return in->page;
}

static int read_page(struct tm_save_in *in, struct cursor *cursor)
{
	struct tmem_handle handle;
	const void *page = NULL;
	uint8_t kind;
	int err = read_handle(in, cursor, &handle, &kind);

	if (err)
		return err;
	if (kind == TM_SAVE_RAW)
		page = next(cursor, TMEM_PAGE_SIZE);
	else if (kind == TM_SAVE_SAME)
		page = spread(in, next(cursor, WORD_BYTES));
	if (!page)
		return damaged(in, "a page is cut");
	in->pages++;
	if (!in->ops || !in->ops->page)
		return 0;
	return in->ops->page(in->opaque, in, &handle, page);
}

static int read_gone(struct tm_save_in *in, struct cursor *cursor)
{
	struct tmem_handle handle;
	uint8_t kind;
	int err = read_handle(in, cursor, &handle, &kind);

	if (err)
		return err;
	if (kind)
		return damaged(in, "a page that went, and is there");
	in->gone++;
	if (!in->ops || !in->ops->gone)
		return 0;
	return in->ops->gone(in->opaque, in, &handle);
}

static int read_records(struct tm_save_in *in, struct cursor *cursor,
			uint32_t count,
			int (*read)(struct tm_save_in *in,
				    struct cursor *cursor))
{
	int err = count ? 0 : damaged(in, "an empty block");

	while (count-- && !err)
		err = read(in, cursor);
	if (!err && cursor->left)
		err = damaged(in, "bytes behind a block's last page");
	return err;
}

static int read_end(struct tm_save_in *in, struct cursor *cursor,
		    uint32_t count)
{
	const void *from = next(cursor, sizeof(struct tm_save_end));
	struct tm_save_end end;
	int err;

	if (!from)
		return damaged(in, "the end is cut");
	memcpy(&end, from, sizeof(end));
	if (le64toh(end.pages) != in->pages || le64toh(end.gone) != in->gone)
		return damaged(in, "pages are missing");
	in->lost = le64toh(end.lost);
	err = read_pools(in, cursor, count, &in->end);
	if (!err && in->ops && in->ops->end)
		err = in->ops->end(in->opaque, in);
	in->is_ended = !err;
	return err;
}

static int read_block(struct tm_save_in *in, const struct tm_save_block *head)
{
	struct cursor cursor = { in->buffer + HEAD, le32toh(head->length) };
	uint32_t type = le32toh(head->type);
	uint32_t count = le32toh(head->count);

	if (!in->has_client && type != TM_SAVE_CLIENT)
		return damaged(in, "it does not begin with a client");
	switch (type) {
	case TM_SAVE_CLIENT:
		return read_client(in, &cursor, count);
	case TM_SAVE_POOLS:
		return announce(in, &cursor, count);
	case TM_SAVE_PAGES:
		return read_records(in, &cursor, count, read_page);
	case TM_SAVE_GONE:
		return read_records(in, &cursor, count, read_gone);
	case TM_SAVE_IDLE:
		in->is_idle = true;
		return count || cursor.left ?
			       damaged(in, "something in an idle block") :
			       0;
	case TM_SAVE_END:
		return read_end(in, &cursor, count);
	}
	return damaged(in, "a block of no known type");
}

static int read_hello(struct tm_save_in *in)
{
	struct tm_save_hello hello;

	memcpy(&hello, in->buffer, sizeof(hello));
	if (memcmp(hello.magic, TM_SAVE_MAGIC, sizeof(hello.magic)))
		return tm_save_in_fail(in, -EBADMSG,
				       "this is no saved client: it does not "
				       "begin with " TM_SAVE_MAGIC);
	if (le64toh(hello.check) != hello_check(&hello))
		return damaged(in, "its first bytes do not match their check");
	if (le32toh(hello.version) != TM_SAVE_VERSION ||
	    le32toh(hello.page_size) != TMEM_PAGE_SIZE ||
	    le32toh(hello.flags) & ~TM_SAVE_LIVE || hello.reserved)
		return tm_save_in_fail(
			in, -EPROTONOSUPPORT,
			"a stream of version %u with pages of %u bytes; known "
			"is version %d with %d",
			le32toh(hello.version), le32toh(hello.page_size),
			TM_SAVE_VERSION, TMEM_PAGE_SIZE);
	in->is_live = le32toh(hello.flags) & TM_SAVE_LIVE;
	in->check = le64toh(hello.check);
	in->bytes = sizeof(hello);
	in->filled = 0;
	return 0;
}

/* How many bytes there must be before something can be done. */
static size_t wanted(struct tm_save_in *in, int *err)
{
	struct tm_save_block head;
	uint32_t length;

	if (!in->bytes)
		return sizeof(struct tm_save_hello);
	if (in->filled < HEAD)
		return HEAD;
	memcpy(&head, in->buffer, HEAD);
	length = le32toh(head.length);
	if (length > TM_SAVE_PAYLOAD_MAX || head.reserved)
		*err = damaged(in, "a block longer than blocks can be");
	return HEAD + length;
}

static int take_block(struct tm_save_in *in, size_t size)
{
	struct tm_save_block head;
	uint64_t check;
	int err;

	memcpy(&head, in->buffer, HEAD);
	check = block_check(in->check, in->buffer, size - HEAD);
	if (check != le64toh(head.check))
		return damaged(in, "a block does not match its check");
	err = read_block(in, &head);
	if (err)
		return err;
	in->check = check;
	in->bytes += size;
	in->filled = 0;
	return 0;
}

static int advance(struct tm_save_in *in, const uint8_t **bytes, size_t *size)
{
	int err = 0;
	size_t want = wanted(in, &err);

	while (!err && in->filled < want && *size) {
		size_t more = want - in->filled;

		if (more > *size)
			more = *size;
		memcpy(in->buffer + in->filled, *bytes, more);
		in->filled += more;
		*bytes += more;
		*size -= more;
		want = wanted(in, &err);
	}
	if (err || in->filled < want)
		return err;
	return in->bytes ? take_block(in, want) : read_hello(in);
}

int tm_save_in_push(struct tm_save_in *in, const void *bytes, size_t size)
{
	const uint8_t *at = bytes;

	while (size && !in->err) {
		if (in->is_ended)
			in->err = damaged(in, "bytes behind its end");
		else
			in->err = advance(in, &at, &size);
	}
	return in->err;
}

int tm_save_in_finish(struct tm_save_in *in)
{
	if (!in->err && !in->is_ended)
		in->err = tm_save_in_fail(
			in, -EBADMSG,
			"the stream is cut: it ends after byte %llu without "
			"its end",
			(unsigned long long)in->bytes + in->filled);
	return in->err;
}
