/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What every tmem plugin shares with its host: versions, services, options.
 *
 * A plugin is one codec (codec.h) or one allocator (allocator.h): a constant
 * table of functions, found through one exported entry symbol, or built in.
 *
 * The problem is time: plugins and hosts are built years apart. So every
 * structure that crosses the border begins with abi_version and struct_size,
 * is only ever extended at its end, and is read only as far as both sides
 * know it; every call has a flags argument that must be 0 where no flag is
 * documented. A new function is optional for ever: the host checks that
 * struct_size covers it before it calls.
 *
 * Three lifetimes stay apart. The table is constant and belongs to the
 * plugin's image. An instance (allocator) or parameters (codec) belong to one
 * store. A context is scratch memory, used by one thread at a time.
 *
 * A plugin keeps no file-scope state, runs no constructor, starts no thread,
 * installs no signal handler, never prints, and never exits.
 *
 * Since: 0.1
 */
#ifndef TMEM_PLUGIN_H
#define TMEM_PLUGIN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The major version of both plugin ABIs. Another number is refused. */
#define TMEM_PLUGIN_ABI_VERSION 1

/* A plugin's name: 1 to 15 of a-z 0-9 - and _, beginning with a letter. */
#define TMEM_PLUGIN_NAME_MAX 15

enum tmem_log_level {
	TMEM_LOG_ERROR = 0,	/* something was lost or refused to start */
	TMEM_LOG_WARNING = 1,	/* goes on, but the operator should act */
	TMEM_LOG_INFO = 2,
	TMEM_LOG_DEBUG = 3,
};

/**
 * struct tmem_host - the services a store offers to its plugins
 * @abi_version: TMEM_PLUGIN_ABI_VERSION
 * @struct_size: sizeof(struct tmem_host) as the host knows it
 * @flags: none defined
 * @opaque: to be passed back as the first argument of each service
 * @log: one line of text without newline; may be called from any thread,
 *	never from a compress, decompress, alloc or free
 * @now_ns: a monotonic clock, in nanoseconds
 * @alloc: @size bytes aligned to @align (a power of two, at most 4096),
 *	zeroed and counted against the store's memory limit; NULL when that
 *	limit, or the machine, has no room
 * @free: gives back what @alloc returned; @size as it was asked for
 *
 * Valid from the plugin's first call until its last instance or context is
 * destroyed. All services may be called from any thread.
 */
struct tmem_host {
	uint32_t abi_version;
	uint32_t struct_size;
	uint64_t flags;
	void *opaque;
	void (*log)(void *opaque, enum tmem_log_level level, const char *text);
	uint64_t (*now_ns)(void *opaque);
	void *(*alloc)(void *opaque, size_t size, size_t align);
	void (*free)(void *opaque, void *ptr, size_t size);
};

enum tmem_option_type {
	TMEM_OPTION_INTEGER = 1,
	TMEM_OPTION_BOOLEAN = 2,	/* 0 or 1 */
};

/**
 * struct tmem_option - one row of a plugin's option table
 * @name: as a user types it; the rules of plugin names
 * @unit: "bytes", "frames", "pct", ... or "" for a plain number
 * @min: smallest value accepted
 * @max: largest value accepted
 * @initial: the value when the user says nothing
 * @help: one line, no full stop
 *
 * A table ends with a row whose @name is NULL. Parser, --help and the man
 * page check all read this table: it is the only definition of an option.
 * Values reach the plugin as an array of int64_t in table order, each within
 * its bounds.
 */
struct tmem_option {
	const char *name;
	enum tmem_option_type type;
	const char *unit;
	int64_t min;
	int64_t max;
	int64_t initial;
	const char *help;
};

#ifdef __cplusplus
}
#endif
#endif
