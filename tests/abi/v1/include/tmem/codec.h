/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The codec ABI: a codec turns one page into fewer bytes and back.
 *
 * The problem: a store wants to try every compressor and trust none of them.
 * So a codec here is as small as it can be (no streams, no states between
 * pages) and total: any bytes may be handed to compress or decompress, and
 * neither ever reads or writes outside the lengths it was given, allocates
 * memory, blocks, or fails in any way other than by its return value. What
 * decompress is fed comes from memory that may have been damaged.
 *
 * A context is used by one thread at a time, but not always by the same one.
 * The order of calls on one context must not matter: a page's compressed form
 * may not depend on the page before it.
 *
 * The host calls no codec directly: a checking layer stands before each and
 * holds it to the lengths below. A codec caught outside them is a bug of that
 * codec; the page is then stored as it is, and the event logged and counted.
 *
 * Entry point of a module NAME.so:
 *
 *	const struct tmem_codec *tmem_codec_entry(const struct tmem_host *host);
 *
 * called once per loading; it returns the constant table, or NULL after
 * having logged why not.
 *
 * Since: 0.1
 */
#ifndef TMEM_CODEC_H
#define TMEM_CODEC_H

#include <tmem/plugin.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TMEM_CODEC_ENTRY "tmem_codec_entry"

/* compress() may be given a page that changes while it runs: it stays in
 * bounds, though what it makes of such a page is worthless. Without this flag
 * the host copies such pages first. */
#define TMEM_CODEC_INPUT_MAY_CHANGE (UINT64_C(1) << 0)
/* decompress() never reads back what it has written to dst, so dst may be
 * memory that somebody else writes to meanwhile. */
#define TMEM_CODEC_OUTPUT_MAY_CHANGE (UINT64_C(1) << 1)
/* The codec stores pages as they are (the codec "none"). */
#define TMEM_CODEC_STORES_RAW (UINT64_C(1) << 2)

/**
 * struct tmem_codec_config - what a codec's parameters are made from
 * @struct_size: sizeof(struct tmem_codec_config) as the host knows it
 * @level: within the codec's level range
 * @page_size: the largest n that compress and decompress will be given, bytes
 * @dictionary_size: bytes at @dictionary, 0 for none
 * @dictionary: valid during the call only
 * @options: values in the order of the codec's option table, or NULL
 */
struct tmem_codec_config {
	uint32_t struct_size;
	int32_t level;
	uint32_t page_size;
	uint32_t dictionary_size;
	const void *dictionary;
	const int64_t *options;
};

/**
 * struct tmem_codec - one codec
 * @abi_version: TMEM_PLUGIN_ABI_VERSION
 * @struct_size: sizeof(struct tmem_codec) as the plugin knows it
 * @flags: TMEM_CODEC_*
 * @name: see TMEM_PLUGIN_NAME_MAX; recorded in arenas, so it never changes
 * @description: one line for `tmem plugins`
 * @library: name and version of the library in use, such as "lz4 1.9.4"
 * @format: version of the compressed form. A page is decompressed only by a
 *	codec of the same name and format. Level and options never change it.
 * @level_min: smallest level
 * @level_max: largest level (== @level_min: the codec has no levels)
 * @level_default: used when the user names none
 * @options: option table, or NULL
 *
 * @bound: the most bytes compress() may write for @n bytes of input, whatever
 *	they are; at most n + n / 8 + 1024. Pure.
 *
 * @params_create: makes the immutable parameters that all contexts of a store
 *	share. Returns 0 and sets *@params (NULL is allowed), or -ENOMEM,
 *	-EINVAL (dictionary or option not usable). Memory comes from @host.
 * @params_destroy: after the last context made from them is gone.
 *
 * @context_create: a context; 0 and *@context (NULL is allowed), or -ENOMEM.
 *	All memory that the calls below need is allocated here, from @host.
 * @context_destroy: gives it back.
 *
 * @compress: @n bytes at @src (1 <= n <= page_size, any alignment) into @dst,
 *	which always has bound(n) bytes. @limit is what is worth storing
 *	(1 <= limit <= n). Returns the length written, 1 to @limit, or 0 for
 *	"not worth it", which includes every failure; it may stop early. What
 *	is in @dst after 0 is undefined. @flags must be 0.
 *
 * @decompress: @len bytes at @src (any bytes, 1 <= len <= bound(n)) into
 *	exactly @n bytes at @dst. Returns 0, or -EBADMSG when @src is not the
 *	compressed form of exactly @n bytes; @dst is then undefined. @flags
 *	must be 0.
 *
 * Threads: everything may be called from any thread; calls on one context
 * never overlap. compress and decompress take bounded time, take no lock and
 * make no system call.
 */
struct tmem_codec {
	uint32_t abi_version;
	uint32_t struct_size;
	uint64_t flags;
	const char *name;
	const char *description;
	const char *(*library)(void);
	uint32_t format;
	int32_t level_min;
	int32_t level_max;
	int32_t level_default;
	const struct tmem_option *options;

	size_t (*bound)(size_t n);

	int (*params_create)(const struct tmem_host *host,
			     const struct tmem_codec_config *config,
			     void **params);
	void (*params_destroy)(const struct tmem_host *host, void *params);

	int (*context_create)(const struct tmem_host *host, const void *params,
			      void **context);
	void (*context_destroy)(const struct tmem_host *host, void *context);

	size_t (*compress)(void *context, const void *src, size_t n, void *dst,
			   size_t limit, uint32_t flags);
	int (*decompress)(void *context, const void *src, size_t len, void *dst,
			  size_t n, uint32_t flags);
};

typedef const struct tmem_codec *
tmem_codec_entry_fn(const struct tmem_host *host);

#ifdef __cplusplus
}
#endif
#endif
