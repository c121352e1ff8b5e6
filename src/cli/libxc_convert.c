/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What Xen's tools saved of a domain's tmem, up to 4.7 (libxc_abi.h), made into
 * a stream that any store restores.
 *
 * It was read by a privileged program straight into the hypervisor, with limits
 * lost, a frozen client refused, and counts believed. Here it is bytes to bytes,
 * in a process of the operator's own: the old stream has no checks, so all that
 * can be done is to hold every number against its range, and to say at which
 * byte something is wrong. The daemon sees the new stream only.
 *
 * The old format interleaves pools and their pages, so the pools are announced
 * one by one (TM_SAVE_POOLS). Weights are kept; the old cap was a number that
 * nothing used, and is not.
 *
 * Bounds: one block of output, and BUFFER bytes of input.
 */
#include <config.h>

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libxc_abi.h"
#include "libxc_convert.h"
#include "save_stream.h"

#define BUFFER (64 << 10)
#define OID_BYTES 24

enum phase {
	PHASE_HELLO,
	PHASE_CLIENT,
	PHASE_POOL,
	PHASE_PAGES,
	PHASE_EXTRA,
	PHASE_GONE,
	PHASE_END,
	PHASE_DONE,
};

struct tm_libxc {
	ssize_t (*read)(void *opaque, void *buffer, size_t size);
	void *opaque;
	uint8_t *buffer;
	size_t at;
	size_t filled;
	uint64_t position;	/* of buffer + at in the input */
	enum phase phase;
	struct tm_save_client_info client;
	uint32_t pages_left;	/* of the pool that is read */
	struct tm_save_out out;
	int err;
	char error[TM_SAVE_ERROR_MAX];
};

__attribute__((format(printf, 3, 4))) static int
fail(struct tm_libxc *libxc, int err, const char *format, ...)
{
	va_list args;

	if (*libxc->error)
		return err;
	va_start(args, format);
	vsnprintf(libxc->error, sizeof(libxc->error), format, args);
	va_end(args);
	return err;
}

static int wrong(struct tm_libxc *libxc, const char *what)
{
	return fail(libxc, -EBADMSG,
		    "the libxc stream is damaged before byte %llu: %s",
		    (unsigned long long)libxc->position, what);
}

/* --- input -------------------------------------------------------------------- */

/* At least @size bytes in the buffer, or as many as there are. */
static int fill(struct tm_libxc *libxc, size_t size)
{
	memmove(libxc->buffer, libxc->buffer + libxc->at,
		libxc->filled - libxc->at);
	libxc->filled -= libxc->at;
	libxc->at = 0;
	while (libxc->filled < size) {
		ssize_t n = libxc->read(libxc->opaque,
					libxc->buffer + libxc->filled,
					BUFFER - libxc->filled);

		if (n < 0)
			return fail(libxc, (int)n, "the libxc stream: %s",
				    strerror((int)-n));
		if (!n)
			break;
		libxc->filled += (size_t)n;
	}
	return 0;
}

/* The next @size bytes, or NULL after an error, which stays: they are not there.
 */
static const void *next(struct tm_libxc *libxc, size_t size)
{
	const void *at;

	if (libxc->err)
		return NULL;
	if (libxc->filled - libxc->at < size) {
		libxc->err = fill(libxc, size);
		if (!libxc->err && libxc->filled < size)
			libxc->err = wrong(libxc, "it is cut");
		if (libxc->err)
			return NULL;
	}
	at = libxc->buffer + libxc->at;
	libxc->at += size;
	libxc->position += size;
	return at;
}

static bool is_at_end(struct tm_libxc *libxc)
{
	if (!libxc->err && libxc->at == libxc->filled)
		libxc->err = fill(libxc, 1);
	return !libxc->err && libxc->at == libxc->filled;
}

/* 0 after an error: ask libxc->err. */
static uint32_t next_u32(struct tm_libxc *libxc)
{
	const void *from = next(libxc, sizeof(uint32_t));
	uint32_t value = 0;

	if (from)
		memcpy(&value, from, sizeof(value));
	return le32toh(value);
}

static uint64_t next_u64(struct tm_libxc *libxc)
{
	const void *from = next(libxc, sizeof(uint64_t));
	uint64_t value = 0;

	if (from)
		memcpy(&value, from, sizeof(value));
	return le64toh(value);
}

static void expect(struct tm_libxc *libxc, uint32_t value, const char *what)
{
	uint32_t found = next_u32(libxc);

	if (!libxc->err && found != value)
		libxc->err = wrong(libxc, what);
}

/* --- what it says ------------------------------------------------------------- */

static void convert_client(struct tm_libxc *libxc)
{
	struct tm_save_client_info *client = &libxc->client;
	uint32_t version, flags;

	expect(libxc, (uint32_t)TM_LIBXC_CHUNK,
	       "it does not begin with the mark of a tmem chunk (-5)");
	version = next_u32(libxc);
	if (!libxc->err && version != TM_LIBXC_VERSION)
		libxc->err = fail(libxc, -EPROTONOSUPPORT,
				  "a libxc stream of version %u; known is "
				  "version %d (Xen 4.1 to 4.7)",
				  version, TM_LIBXC_VERSION);
	if (next_u32(libxc) > TMEM_POOLS_MAX && !libxc->err)
		libxc->err = wrong(libxc, "more pools than there can be");
	expect(libxc, TM_LIBXC_NONE, "no mark before the client");
	flags = next_u32(libxc);
	client->weight = next_u32(libxc);
	next_u32(libxc);
	expect(libxc, TM_LIBXC_NONE, "no mark behind the client");
	if (libxc->err)
		return;
	if (flags & ~(TM_LIBXC_CLIENT_COMPRESSES | TM_LIBXC_CLIENT_FROZEN)) {
		libxc->err = wrong(libxc, "a client with unknown flags");
		return;
	}
	client->compresses = flags & TM_LIBXC_CLIENT_COMPRESSES;
	client->is_frozen = flags & TM_LIBXC_CLIENT_FROZEN;
	tm_save_out_client(&libxc->out, client);
	libxc->phase = PHASE_POOL;
}

static const struct tm_save_pool_info *find_pool(const struct tm_libxc *libxc,
						 uint32_t id)
{
	const struct tm_save_client_info *client = &libxc->client;

	for (unsigned i = 0; i < client->pool_count; i++)
		if (client->pools[i].id == id)
			return &client->pools[i];
	return NULL;
}

static bool is_name(const struct tmem_uuid *uuid)
{
	return (uuid->word[0] || uuid->word[1]) &&
	       (~uuid->word[0] || ~uuid->word[1]);
}

static int check_pool(struct tm_libxc *libxc, uint32_t id, uint32_t flags,
		      uint32_t pages)
{
	if (id >= TMEM_POOLS_MAX || find_pool(libxc, id))
		return wrong(libxc, "a pool whose number cannot be");
	if (flags & TM_LIBXC_POOL_RESERVED)
		return wrong(libxc, "a pool with unknown flags");
	if (flags >> TM_LIBXC_POOL_PAGE_SHIFT & TM_LIBXC_POOL_PAGE_MASK ||
	    flags & TM_LIBXC_POOL_PRECOMPRESSED)
		return fail(libxc, -EPROTONOSUPPORT,
			    "pool %u of the libxc stream has pages of another "
			    "size than 4 KiB, or precompressed ones",
			    id);
	if (flags & TM_LIBXC_POOL_PERSISTENT ?
		    (flags & TM_LIBXC_POOL_SHARED) != 0 :
		    pages != 0)
		return wrong(libxc, "a pool that cannot be");
	return 0;
}

static void add_pool(struct tm_libxc *libxc, uint32_t id, uint32_t flags,
		     const struct tmem_uuid *uuid)
{
	struct tm_save_client_info *client = &libxc->client;
	struct tm_save_pool_info *pool = &client->pools[client->pool_count++];

	*pool = (struct tm_save_pool_info){ .id = id };
	if (flags & TM_LIBXC_POOL_PERSISTENT) {
		pool->flags = TMEM_POOL_PERSISTENT;
		pool->pages = libxc->pages_left;
	} else if (flags & TM_LIBXC_POOL_SHARED && is_name(uuid)) {
		pool->flags = TMEM_POOL_SHARED;
		pool->uuid = *uuid;
	}
	tm_save_out_pool(&libxc->out, pool);
}

/* The next pool's head, or the end of them. */
static void convert_pool(struct tm_libxc *libxc)
{
	uint32_t id = next_u32(libxc), flags;
	struct tmem_uuid uuid;

	if (libxc->err)
		return;
	if (id == TM_LIBXC_NONE) {
		libxc->phase = PHASE_EXTRA;
		return;
	}
	flags = next_u32(libxc);
	libxc->pages_left = next_u32(libxc);
	uuid.word[0] = next_u64(libxc);
	uuid.word[1] = next_u64(libxc);
	if (!libxc->err)
		libxc->err = check_pool(libxc, id, flags, libxc->pages_left);
	if (libxc->err)
		return;
	add_pool(libxc, id, flags, &uuid);
	libxc->phase = PHASE_PAGES;
}

static void next_oid(struct tm_libxc *libxc, struct tmem_oid *oid)
{
	static_assert(sizeof(*oid) == OID_BYTES, "oid");
	for (unsigned i = 0; i < 3; i++)
		oid->word[i] = next_u64(libxc);
}

static bool is_mark(const struct tmem_oid *oid)
{
	return !(~oid->word[0] | ~oid->word[1] | ~oid->word[2]);
}

/* A block of pages of the pool that was announced last. */
static void convert_pages(struct tm_libxc *libxc)
{
	const struct tm_save_client_info *client = &libxc->client;
	struct tmem_handle handle = {
		.pool = client->pools[client->pool_count - 1].id,
	};
	const void *page;

	tm_save_out_begin(&libxc->out, TM_SAVE_PAGES);
	while (libxc->pages_left && tm_save_out_has_room(&libxc->out)) {
		next_oid(libxc, &handle.oid);
		if (!libxc->err && is_mark(&handle.oid)) {
			libxc->pages_left = 0;
			break;
		}
		handle.index = next_u32(libxc);
		page = libxc->err ? NULL : next(libxc, TMEM_PAGE_SIZE);
		if (!page)
			return;
		memcpy(tm_save_out_page(&libxc->out), page, TMEM_PAGE_SIZE);
		tm_save_out_add(&libxc->out, &handle);
		libxc->pages_left--;
	}
	tm_save_out_finish(&libxc->out);
	if (!libxc->pages_left)
		libxc->phase = PHASE_POOL;
}

/* What went, if anything more comes. */
static void convert_extra(struct tm_libxc *libxc)
{
	libxc->phase = PHASE_END;
	if (is_at_end(libxc) || libxc->err)
		return;
	expect(libxc, (uint32_t)TM_LIBXC_EXTRA,
	       "behind the pages is something else than the mark of what went "
	       "(-6)");
	libxc->phase = PHASE_GONE;
}

static void convert_gone(struct tm_libxc *libxc)
{
	struct tmem_handle handle;

	tm_save_out_begin(&libxc->out, TM_SAVE_GONE);
	while (tm_save_out_has_room(&libxc->out)) {
		const struct tm_save_pool_info *pool;

		handle.pool = next_u32(libxc);
		if (!libxc->err && handle.pool == TM_LIBXC_NONE) {
			libxc->phase = PHASE_END;
			break;
		}
		next_oid(libxc, &handle.oid);
		handle.index = next_u32(libxc);
		if (libxc->err)
			return;
		pool = find_pool(libxc, handle.pool);
		if (!pool || !(pool->flags & TMEM_POOL_PERSISTENT)) {
			libxc->err = wrong(libxc, "a page of no pool went");
			return;
		}
		tm_save_out_add(&libxc->out, &handle);
	}
	tm_save_out_finish(&libxc->out);
}

static void convert(struct tm_libxc *libxc)
{
	switch (libxc->phase) {
	case PHASE_HELLO:
		tm_save_out_hello(&libxc->out, 0);
		libxc->phase = PHASE_CLIENT;
		break;
	case PHASE_CLIENT:
		convert_client(libxc);
		break;
	case PHASE_POOL:
		convert_pool(libxc);
		break;
	case PHASE_PAGES:
		convert_pages(libxc);
		break;
	case PHASE_EXTRA:
		convert_extra(libxc);
		break;
	case PHASE_GONE:
		convert_gone(libxc);
		break;
	case PHASE_END:
		if (!is_at_end(libxc) && !libxc->err)
			libxc->err = wrong(libxc, "bytes behind its end");
		if (libxc->err)
			return;
		tm_save_out_end(&libxc->out, &libxc->client);
		libxc->phase = PHASE_DONE;
		break;
	case PHASE_DONE:
		break;
	}
}

/* --- life ------------------------------------------------------------------- */

int tm_libxc_open(const char *name,
		  ssize_t (*read)(void *opaque, void *buffer, size_t size),
		  void *opaque, struct tm_libxc **out)
{
	struct tm_libxc *libxc;

	if (!*name || strlen(name) > TMEM_CLIENT_NAME_MAX)
		return -EINVAL;
	libxc = calloc(1, sizeof(*libxc));
	if (!libxc)
		return -ENOMEM;
	libxc->read = read;
	libxc->opaque = opaque;
	strcpy(libxc->client.name, name);
	libxc->buffer = malloc(BUFFER);
	if (!libxc->buffer || tm_save_out_open(&libxc->out)) {
		tm_libxc_close(libxc);
		return -ENOMEM;
	}
	*out = libxc;
	return 0;
}

ssize_t tm_libxc_read(struct tm_libxc *libxc, void *buffer, size_t size)
{
	while (!libxc->err && tm_save_out_is_empty(&libxc->out) &&
	       libxc->phase != PHASE_DONE)
		convert(libxc);
	if (libxc->err)
		return libxc->err;
	return (ssize_t)tm_save_out_take(&libxc->out, buffer, size);
}

const char *tm_libxc_error(const struct tm_libxc *libxc)
{
	return libxc->error;
}

void tm_libxc_close(struct tm_libxc *libxc)
{
	if (!libxc)
		return;
	tm_save_out_close(&libxc->out);
	free(libxc->buffer);
	free(libxc);
}
