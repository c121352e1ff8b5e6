/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Plugins as the store sees them: a registry, and a checked way to call.
 *
 * The problem: a codec or an allocator is somebody else's code. It may be
 * older or newer than this library, be broken, or lie about lengths; and the
 * store calls it for every page, so that trust must be cheap to withhold.
 *
 * The idea: what can be checked once is checked at loading (validate.c), and
 * the table that callers see is a copy in this library's own layout, zero
 * where an old plugin had nothing. What must be checked per call are a few
 * comparisons, inline here: no length is believed that exceeds what was asked
 * for, no address that lies outside the frames. A codec compresses into a
 * buffer of ours with canaries at both ends, never into the arena. Whoever is
 * caught is counted, logged (at most once a second), and its answer is turned
 * into the harmless one: the page is not worth compressing, is damaged, or
 * found no room.
 *
 * What this cannot catch: a plugin that writes anywhere else in the process,
 * never returns, or decompresses a page to wrong bytes of the right length;
 * the last is what the store's per-page check is for.
 *
 * Three lifetimes: the registry must outlive every tm_codec and tm_allocator
 * opened from it, a tm_codec must outlive its contexts.
 *
 * Threads: a registry does not change after it was opened. A tm_codec is
 * shared; a context belongs to one thread at a time. No locks here.
 */
#ifndef TM_PLUG_H
#define TM_PLUG_H

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <tmem/allocator.h>
#include <tmem/codec.h>
#include <tmem/plugin.h>

struct tmem_plugins;

/* ------------------------------------------------------------------------
 * The registry
 */

/**
 * struct tm_plugins_config - what a registry is made from
 * @codecs: built-in ones, NULL-terminated
 * @allocators: built-in ones, NULL-terminated
 * @directory: holds codecs/ and allocators/ with the installed modules, or
 *	NULL
 * @path: more directories, separated by ':', or NULL; TMEM_PLUGIN_PATH is
 *	looked at after them (not in a set-uid program)
 * @log: hears of every plugin that was refused, with the reason; or NULL
 * @opaque: passed to @log
 *
 * Strings are read during tm_plugins_open() only.
 */
struct tm_plugins_config {
	const struct tmem_codec *const *codecs;
	const struct tmem_allocator *const *allocators;
	const char *directory;
	const char *path;
	void (*log)(void *opaque, enum tmem_log_level level, const char *text);
	void *opaque;
};

/* 0, or -ENOMEM. A refused plugin is no error. */
int tm_plugins_open(const struct tm_plugins_config *config,
		    struct tmem_plugins **plugins);
void tm_plugins_close(struct tmem_plugins *plugins);

/* By number (NULL past the last), and by exact name (NULL: there is none).
 * The tables live as long as the registry. */
const struct tmem_codec *tm_plugins_codec(const struct tmem_plugins *plugins,
					  size_t n);
const struct tmem_allocator *
tm_plugins_allocator(const struct tmem_plugins *plugins, size_t n);
const struct tmem_codec *
tm_plugins_find_codec(const struct tmem_plugins *plugins, const char *name);
const struct tmem_allocator *
tm_plugins_find_allocator(const struct tmem_plugins *plugins, const char *name);
/* The path of a plugin's module, "built in", or NULL when unknown. */
const char *tm_plugins_origin(const struct tmem_plugins *plugins,
			      const char *name);

/* ------------------------------------------------------------------------
 * Codecs
 */

/* What surrounds a context's output buffer, on either side. */
#define TM_CODEC_CANARY UINT64_C(0x7c0dec5afe9a11ed)

struct tm_codec {
	struct tmem_codec table;
	const struct tmem_host *host;
	void *params;
	int32_t level;
	uint32_t page_size_bytes;
	uint32_t bound_bytes; /* of a page: the size of every output buffer */
	/* Statistic, and when the log last heard of it. */
	_Atomic uint64_t errors;
	_Atomic uint64_t logged_ns;
};

struct tm_codec_context {
	struct tm_codec *codec;
	void *context;
	/* Where tm_codec_compress() leaves its result; @bound_bytes of room. */
	uint8_t *output;
	/* Right behind the output, unaligned. */
	uint8_t *tail;
	size_t (*compress)(void *context, const void *src, size_t n, void *dst,
			   size_t limit, uint32_t flags);
	int (*decompress)(void *context, const void *src, size_t len, void *dst,
			  size_t n, uint32_t flags);
};

/**
 * tm_codec_open() - a codec with a level, ready for contexts
 * @plugins: the registry
 * @spec: "NAME" or "NAME:LEVEL"
 * @page_size_bytes: the largest page it will be given
 * @host: services; must outlive the codec
 * @codec: set on success
 *
 * Return: 0, -EINVAL (no such codec, not a level of it: the host's log says
 * which, and the nearest name), -ENOMEM.
 */
int tm_codec_open(const struct tmem_plugins *plugins, const char *spec,
		  uint32_t page_size_bytes, const struct tmem_host *host,
		  struct tm_codec **codec);
/* All its contexts must have been destroyed. NULL is allowed. */
void tm_codec_close(struct tm_codec *codec);

/* 0, or -ENOMEM. All its memory, output buffer included, is the host's. */
int tm_codec_context_create(struct tm_codec *codec,
			    struct tm_codec_context **context);
void tm_codec_context_destroy(struct tm_codec_context *context);

/* A codec broke its contract. Both answer what the caller is to answer. */
size_t tm_codec_caught_compress(struct tm_codec_context *context, size_t len,
				size_t limit);
int tm_codec_caught_decompress(struct tm_codec_context *context, int error);

static inline bool
tm_codec_canaries_are_intact(const struct tm_codec_context *context)
{
	uint64_t head, tail;

	memcpy(&head, context->output - sizeof(head), sizeof(head));
	memcpy(&tail, context->tail, sizeof(tail));
	return head == TM_CODEC_CANARY && tail == TM_CODEC_CANARY;
}

/**
 * tm_codec_compress() - compress one page into the context's own buffer
 * @context: in use by nobody else
 * @src: the page
 * @n: its size, 1 to the codec's page_size_bytes
 * @limit: what is worth storing, 1 to @n
 *
 * Return: bytes at context->output, at most @limit; or 0: not worth storing.
 */
static inline size_t tm_codec_compress(struct tm_codec_context *context,
				       const void *src, size_t n, size_t limit)
{
	size_t len = context->compress(context->context, src, n,
				       context->output, limit, 0);

	if (__builtin_expect(
		    len <= limit && tm_codec_canaries_are_intact(context), 1))
		return len;
	return tm_codec_caught_compress(context, len, limit);
}

/**
 * tm_codec_decompress() - the reverse
 * @context: in use by nobody else
 * @src: any bytes
 * @len: how many, any number
 * @dst: room for @n bytes
 * @n: the size of the page, 1 to the codec's page_size_bytes
 *
 * Return: 0 (@dst is filled), or -EBADMSG (@dst is undefined).
 */
static inline int tm_codec_decompress(struct tm_codec_context *context,
				      const void *src, size_t len, void *dst,
				      size_t n)
{
	int error;

	if (__builtin_expect(!len || len > context->codec->bound_bytes, 0))
		return -EBADMSG;
	error = context->decompress(context->context, src, len, dst, n, 0);
	if (__builtin_expect(!error || error == -EBADMSG, 1))
		return error;
	return tm_codec_caught_decompress(context, error);
}

/* Times this codec broke its contract. */
static inline uint64_t tm_codec_errors(const struct tm_codec *codec)
{
	return atomic_load_explicit(&codec->errors, memory_order_relaxed);
}

/* ------------------------------------------------------------------------
 * Allocators
 */

struct tm_allocator {
	struct tmem_allocator table;
	const struct tmem_host *host;
	void *instance;
	const uint8_t *base;
	uint64_t span_bytes; /* all frames together */
	uint32_t max_size_bytes;
	/* Statistic, and when the log last heard of it. */
	_Atomic uint64_t errors;
	_Atomic uint64_t logged_ns;
};

/**
 * tm_allocator_open() - an empty instance
 * @plugins: the registry
 * @name: exact
 * @host: services
 * @frames: where its frames come from; both must outlive the instance
 * @allocator: set on success
 *
 * Return: 0, -EINVAL (no such allocator, or one whose max_size is no use: the
 * host's log says so), -ENOMEM.
 */
int tm_allocator_open(const struct tmem_plugins *plugins, const char *name,
		      const struct tmem_host *host,
		      const struct tmem_frames *frames,
		      struct tm_allocator **allocator);
/* Gives back all frames. NULL is allowed. */
void tm_allocator_close(struct tm_allocator *allocator);

/* An allocator broke its contract: counted, logged. Answers 0. */
uint64_t tm_allocator_caught(struct tm_allocator *allocator, const char *call,
			     uint64_t handle);

/* Do @size bytes at @address lie in the frames, aligned? */
static inline bool tm_allocator_holds(const struct tm_allocator *allocator,
				      const void *address, uint32_t size)
{
	uint64_t offset =
		(uint64_t)((uintptr_t)address - (uintptr_t)allocator->base);

	return !(offset & 7) && offset < allocator->span_bytes &&
	       size <= allocator->span_bytes - offset;
}

/**
 * tm_allocator_alloc() - place an object
 * @allocator: the instance
 * @size: bytes; out of range finds no room
 * @owner: see allocator.h
 * @flags: TMEM_ALLOC_*
 * @address: set to the object's first byte on success
 *
 * Return: a handle, or 0.
 */
static inline uint64_t tm_allocator_alloc(struct tm_allocator *allocator,
					  uint32_t size, uint32_t owner,
					  uint32_t flags, void **address)
{
	uint64_t handle;

	if (__builtin_expect(!size || size > allocator->max_size_bytes, 0))
		return 0;
	handle =
		allocator->table.alloc(allocator->instance, size, owner, flags);
	if (!handle)
		return 0;
	if (__builtin_expect(handle >> TMEM_HANDLE_BITS, 0))
		return tm_allocator_caught(allocator, "alloc", handle);
	*address = allocator->table.address(allocator->instance, handle);
	if (__builtin_expect(!tm_allocator_holds(allocator, *address, size), 0))
		return tm_allocator_caught(allocator, "alloc", handle);
	return handle;
}

/* As the table's; the handle must be one that is allocated. */
static inline uint32_t tm_allocator_free(struct tm_allocator *allocator,
					 uint64_t handle)
{
	return allocator->table.free(allocator->instance, handle, 0);
}

/* NULL: @size bytes there would not be in the frames. */
static inline void *tm_allocator_address(struct tm_allocator *allocator,
					 uint64_t handle, uint32_t size)
{
	void *address = allocator->table.address(allocator->instance, handle);

	if (__builtin_expect(tm_allocator_holds(allocator, address, size), 1))
		return address;
	tm_allocator_caught(allocator, "address", handle);
	return NULL;
}

static inline void tm_allocator_set_owner(struct tm_allocator *allocator,
					  uint64_t handle, uint32_t owner)
{
	allocator->table.set_owner(allocator->instance, handle, owner);
}

/* As the table's; never more than @max. */
uint32_t tm_allocator_victims(struct tm_allocator *allocator, uint64_t near,
			      struct tmem_victim *out, uint32_t max);

/* As the table's; 0, -ENOMEM or -EBADMSG and nothing else. On success the
 * object lies within the frames. */
int tm_allocator_adopt(struct tm_allocator *allocator, uint64_t handle,
		       uint32_t size, uint32_t owner);

/* Everything the plugin does not know reads 0. */
void tm_allocator_stats(struct tm_allocator *allocator,
			struct tmem_allocator_stats *stats);

/* Times this allocator broke its contract. */
static inline uint64_t tm_allocator_errors(const struct tm_allocator *allocator)
{
	return atomic_load_explicit(&allocator->errors, memory_order_relaxed);
}

#endif
