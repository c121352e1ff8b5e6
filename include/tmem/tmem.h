/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Transcendent memory: a compressed page store, embedded in a process.
 *
 * A store owns a pool of memory. Its clients (guests, processes) put pages
 * into it, get them back by copy, and flush them. They never address that
 * memory, never know how much there is, and must live with a refused put.
 *
 *	store > client > pool > object > page
 *
 * A page's handle is (client, pool, oid, index). A pool is *ephemeral* (its
 * pages may vanish at any time: clean page cache) or *persistent* (a put that
 * succeeded stays until it is flushed, or its pool or client ends: swap), and
 * private to a client or shared, by UUID, between several.
 *
 * Read these first:
 *
 * - Any put may be refused. After a refused put of a handle, a get of it
 *   misses: the previous data are gone too, never returned stale.
 * - A get from a private ephemeral pool removes the page. A get from any
 *   other pool does not, unless TMEM_GET_REMOVE asks for it.
 * - A miss lasts until a new put of that handle succeeds.
 * - A page handed to tmem_put() must not change during the call, unless
 *   TMEM_PUT_UNSTABLE says that it may.
 * - After fork() the child must not use the store: calls there answer
 *   -EOWNERDEAD, and tmem_store_close() only frees the child's own memory.
 *   A child that neither closes the store nor calls exec keeps an arena file
 *   locked after its parent's end.
 * - A store that is kept in a file survives its process, `kill -9` included:
 *   whoever opens the file next finds every acknowledged persistent page.
 *   Ephemeral pools do not survive.
 *
 * Conventions. Functions return an int: >= 0 is success with the meaning
 * documented here, < 0 a negative errno. Sizes are in bytes unless the name
 * says otherwise. Structures that may grow begin with struct_size, which the
 * _init functions set; fill in the rest afterwards. All functions may be
 * called from any thread at any time, unless they say otherwise; those that
 * end something (close, detach) need the caller's word that nobody else is
 * still using it. The library never prints, exits, or changes signal
 * dispositions.
 *
 * Since: 0.1
 */
#ifndef TMEM_TMEM_H
#define TMEM_TMEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tmem/allocator.h>
#include <tmem/codec.h>
#include <tmem/plugin.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TMEM_VERSION_MAJOR 0
#define TMEM_VERSION_MINOR 1
#define TMEM_VERSION_MICRO 0

/* The size of a page, in bytes. */
#define TMEM_PAGE_SIZE 4096
/* Pool ids of a client are 0 to TMEM_POOLS_MAX - 1; the lowest free one is
 * given out. */
#define TMEM_POOLS_MAX 16
/* The longest client name, in bytes, without its terminating 0. */
#define TMEM_CLIENT_NAME_MAX 63
/* The smallest memory limit of a store, in bytes. */
#define TMEM_MEMORY_MIN (UINT64_C(256) << 10)

struct tmem_store;
struct tmem_client;
struct tmem_plugins;

/* An object's name within its pool: 192 bits, all values allowed. */
struct tmem_oid {
	uint64_t word[3];
};

/* A shared pool's name. All zeros and all ones are not allowed. */
struct tmem_uuid {
	uint64_t word[2];
};

/* ------------------------------------------------------------------------
 * The store
 */

/* The arena's memory is not locked in RAM. Without this it is, where the process
 * may do so. */
#define TMEM_STORE_NO_LOCK (UINT64_C(1) << 0)
/* No thread of the library's own: the caller calls tmem_store_step(). */
#define TMEM_STORE_NO_THREADS (UINT64_C(1) << 1)
/* Identical pages are kept once (see trust_domain). */
#define TMEM_STORE_DEDUP (UINT64_C(1) << 2)
/* Dedup takes persistent pages too. */
#define TMEM_STORE_DEDUP_PERSISTENT (UINT64_C(1) << 3)
/* Shared pools may be joined by any client that knows the UUID. */
#define TMEM_STORE_SHARED_OPEN (UINT64_C(1) << 4)
/* The store exists and every operation on it answers -ENODEV; no arena is
 * held (boot option `no-tmem`). */
#define TMEM_STORE_DISABLED (UINT64_C(1) << 5)
/* Open an arena file that exists; -ENOENT if it does not. */
#define TMEM_STORE_MUST_EXIST (UINT64_C(1) << 6)

/**
 * struct tmem_store_config - how a store is opened
 * @struct_size: set by tmem_store_config_init()
 * @flags: TMEM_STORE_*
 * @memory_bytes: the limit: everything the store holds, metadata included,
 *	stays below it. At least TMEM_MEMORY_MIN.
 * @memory_max_bytes: the highest limit tmem_store_set_memory() will take; it
 *	costs address space only. 0: the larger of memory_bytes and the
 *	machine's memory. Fixed when an arena file is made.
 * @codec: "NAME" or "NAME:LEVEL"; NULL: the build's default. "none" stores
 *	pages as they are.
 * @allocator: "NAME"; NULL: the build's default
 * @arena: NULL: anonymous memory. "memfd": a memfd. "fd:N": the memory behind
 *	descriptor N, which stays the caller's: reopened, or made when it is
 *	empty. Else the path of a file on tmpfs, made with mode 0600 if it is
 *	not there, reopened if it is.
 * @plugin_path: directories, separated by ':', searched for plugins after
 *	the installed ones; NULL: none
 * @log: called with a level and one line, from any thread; NULL: nowhere
 * @log_opaque: passed to @log
 */
struct tmem_store_config {
	size_t struct_size;
	uint64_t flags;
	uint64_t memory_bytes;
	uint64_t memory_max_bytes;
	const char *codec;
	const char *allocator;
	const char *arena;
	const char *plugin_path;
	void (*log)(void *opaque, enum tmem_log_level level, const char *text);
	void *log_opaque;
};

/**
 * tmem_store_config_init() - the defaults
 * @config: filled in: struct_size, nothing else set; memory_bytes is 0 and
 *	must be set by the caller
 */
void tmem_store_config_init(struct tmem_store_config *config);

/**
 * tmem_store_open() - make a store, or reopen the one in an arena file
 * @config: read during the call only
 * @store: set on success; the caller closes it
 *
 * Reopening recovers what the last process left, whenever it died: persistent
 * pools with every acknowledged page. The configured codec and allocator are
 * used for new pages; those of the stored pages are loaded as well. What all
 * this takes is taken, whatever the limit is; a store that is beyond it grants
 * nothing until it is not.
 *
 * Return: 0, or
 * -EINVAL: memory_bytes too small or too large, unknown codec, allocator,
 *	level or flag; the log names it. Nothing was made.
 * -ENOENT: no such file and TMEM_STORE_MUST_EXIST, or no such directory.
 * -EBUSY: the arena is open in another process (or twice in this one).
 * -ENOSPC: the file system of the arena is too small even to begin with.
 * -EBADMSG: the file is no arena, or is damaged where nothing can be
 *	recovered; it was not changed.
 * -EPROTONOSUPPORT: an arena of another byte order, layout version or with
 *	unknown features, or one whose pages need a codec or allocator that is
 *	missing; the log says which and how many pages. It was not changed.
 * -ENOMEM, -EACCES, ...: as the system said.
 */
int tmem_store_open(const struct tmem_store_config *config,
		    struct tmem_store **store);

/**
 * tmem_store_close() - release a store
 * @store: NULL is allowed. All clients must have been detached.
 *
 * An arena file stays, for the next tmem_store_open(). Everything else ends.
 */
void tmem_store_close(struct tmem_store *store);

/**
 * tmem_store_step() - do a bounded amount of background work
 * @store: the store
 *
 * Reclaims what was flushed, moves objects to empty sparse runs, returns and
 * prepares frames. Only needed with TMEM_STORE_NO_THREADS; harmless otherwise.
 *
 * Return: 1 when there is more to do, 0 when not.
 */
int tmem_store_step(struct tmem_store *store);

/**
 * tmem_store_set_memory() - change the limit
 * @store: the store
 * @memory_bytes: the new limit
 *
 * When less than what is used, ephemeral pages are evicted at once, and the
 * limit in force then comes down with use.
 *
 * Return: 0, -EINVAL (out of range), -EBUSY (less than persistent pages and
 * reservations need; nothing has changed).
 */
int tmem_store_set_memory(struct tmem_store *store, uint64_t memory_bytes);

/**
 * tmem_store_set_codec() - choose the codec for pages put from now on
 * @store: the store
 * @codec: as in struct tmem_store_config
 *
 * Return: 0, -EINVAL (unknown), -ENOMEM, -ENOSPC (more different codecs than
 * an arena can name); on error nothing has changed.
 */
int tmem_store_set_codec(struct tmem_store *store, const char *codec);

/**
 * tmem_store_set_allocator() - choose the allocator for pages from now on
 * @store: the store
 * @allocator: as in struct tmem_store_config
 *
 * Return: as tmem_store_set_codec().
 */
int tmem_store_set_allocator(struct tmem_store *store, const char *allocator);

/**
 * tmem_store_evict() - give memory back to the host
 * @store: the store
 * @bytes: how much; UINT64_MAX for all that can go
 *
 * Evicts ephemeral pages in the order eviction always has, and returns free
 * frames to the system. Guests who put meanwhile may take the memory again, up
 * to the limit: lower that first, or afterwards, if it is to stay lower.
 *
 * Return: frames given back, in bytes (may be more or less than asked).
 */
int64_t tmem_store_evict(struct tmem_store *store, uint64_t bytes);

/**
 * tmem_store_check() - verify the sums of the whole store
 * @store: the store; nobody else may be using it during the call
 *
 * Pools add up to clients, clients to the store, descriptors to allocators,
 * allocators to the arena. For tests and for the curious; takes time in
 * proportion to the pages. The store's own thread may be at work: the call
 * waits until it has done a step, and keeps it from the next.
 *
 * Return: 0, or -EBADMSG after logging each sum that is wrong.
 */
int tmem_store_check(struct tmem_store *store);

/* ------------------------------------------------------------------------
 * Statistics
 */

/**
 * struct tmem_latency - how long calls took, in nanoseconds
 * @samples: calls measured (one call in several is)
 * @p50_ns: half of them took at most this
 * @p99_ns: 99 in 100 took at most this
 * @mean_ns: on average
 *
 * Kept as a histogram whose buckets are at most 1/16 apart.
 */
struct tmem_latency {
	uint64_t samples;
	uint64_t p50_ns;
	uint64_t p99_ns;
	uint64_t mean_ns;
};

/**
 * struct tmem_counts - what pages are there and what has happened to them
 * @pages: pages stored now, all kinds
 * @same_filled: of these, pages of one repeated 8-byte word (no frame)
 * @raw: of these, pages stored as they are
 * @shared_copies: of these, pages that dedup keeps no copy of
 * @compressed_bytes: sum of the stored forms of @pages; a raw page counts a
 *	page, a same-filled one and a shared copy 0
 * @billed_bytes: compressed bytes plus metadata, the unit of reservation and
 *	cap; duplicates in full
 * @puts: puts that stored
 * @puts_refused: puts that did not; the causes follow:
 * @refused_memory: no memory left
 * @refused_cap: the client's cap
 * @refused_frozen: the client was frozen
 * @gets: gets that hit
 * @gets_missed: gets that did not
 * @flushes: pages flushed by tmem_flush_page(); objects are not counted here
 * @duplicates: puts that replaced a page that was there
 * @evicted: ephemeral pages dropped for want of memory
 * @corrupt: pages that failed their check on get and were dropped
 * @put: latency of puts that stored
 * @get: latency of gets that hit
 */
struct tmem_counts {
	size_t struct_size;
	uint64_t pages;
	uint64_t same_filled;
	uint64_t raw;
	uint64_t shared_copies;
	uint64_t compressed_bytes;
	uint64_t billed_bytes;
	uint64_t puts;
	uint64_t puts_refused;
	uint64_t refused_memory;
	uint64_t refused_cap;
	uint64_t refused_frozen;
	uint64_t gets;
	uint64_t gets_missed;
	uint64_t flushes;
	uint64_t duplicates;
	uint64_t evicted;
	uint64_t corrupt;
	struct tmem_latency put;
	struct tmem_latency get;
};

/**
 * struct tmem_store_stats - the store as a whole
 * @memory_bytes: the limit in force
 * @used_bytes: arena_bytes + metadata_bytes + idle_bytes
 * @arena_bytes: frames held by allocators
 * @metadata_bytes: everything else that was allocated: records, descriptors,
 *	index, lists, allocators' own tables, codec contexts, buffers
 * @idle_bytes: frames that are populated, kept ready, and hold nothing
 * @clients: client records
 * @objects: objects alive
 * @moves: objects moved by compaction
 * @codec_errors: times a codec broke its contract
 * @codec: name of the codec for new pages
 * @level: its level
 * @allocator: name of the allocator for new pages
 * @recovered_pages: persistent pages found when the arena was reopened
 * @codec_input_bytes: bytes of the stored pages that a codec made smaller or
 *	tried to (@pages less same-filled and shared ones)
 * @counts: sum over all clients
 * @needed_bytes: what no eviction can get back: persistent pages and
 *	reservations; tmem_store_set_memory() refuses to go below
 * @freeable_bytes: about what tmem_store_evict() could give back: idle frames,
 *	and what ephemeral pages are billed
 * @memory_max_bytes: the highest limit tmem_store_set_memory() takes
 */
struct tmem_store_stats {
	size_t struct_size;
	uint64_t memory_bytes;
	uint64_t used_bytes;
	uint64_t arena_bytes;
	uint64_t metadata_bytes;
	uint64_t idle_bytes;
	uint64_t clients;
	uint64_t objects;
	uint64_t moves;
	uint64_t codec_errors;
	char codec[TMEM_PLUGIN_NAME_MAX + 1];
	int32_t level;
	char allocator[TMEM_PLUGIN_NAME_MAX + 1];
	uint64_t recovered_pages;
	uint64_t codec_input_bytes;
	struct tmem_counts counts;
	uint64_t needed_bytes;
	uint64_t freeable_bytes;
	uint64_t memory_max_bytes;
};

/**
 * tmem_store_get_stats() - read the statistics
 * @store: the store
 * @stats: struct_size set by the caller (sizeof) here and in counts
 *
 * Each number is exact; numbers read while others work need not fit together.
 *
 * Return: 0, -EINVAL (struct_size).
 */
int tmem_store_get_stats(struct tmem_store *store,
			 struct tmem_store_stats *stats);

/* ------------------------------------------------------------------------
 * Clients
 */

/**
 * struct tmem_client_config - a client and its limits
 * @struct_size: set by tmem_client_config_init()
 * @name: 1 to TMEM_CLIENT_NAME_MAX bytes
 * @weight: the client's share of ephemeral memory is weight / sum of weights;
 *	whoever is furthest above it gives up its oldest page first. 0: none.
 * @reservation_bytes: up to here, in billed bytes, no put is refused for want
 *	of memory. 0: no guarantee.
 * @cap_bytes: the most it may hold, in billed bytes. 0: no cap.
 * @trust_domain: clients with the same non-zero number may share identical
 *	pages when dedup is on. 0: shares with nobody.
 */
struct tmem_client_config {
	size_t struct_size;
	const char *name;
	uint32_t weight;
	uint32_t trust_domain;
	uint64_t reservation_bytes;
	uint64_t cap_bytes;
};

void tmem_client_config_init(struct tmem_client_config *config);

/**
 * tmem_client_attach() - make a client, or attach to one that is there
 * @store: the store
 * @config: read during the call; the limits replace those of the record
 * @client: set on success
 *
 * A client that was there (detached, or found in a reopened arena) has its
 * persistent pools, under their old ids: see tmem_pool_get_info().
 *
 * Return: 0 (new), 1 (was there), or
 * -EINVAL: bad name or limit (a reservation above the cap).
 * -EBUSY: attached already.
 * -ENOSPC: the sum of reservations would not fit the limit.
 * -EUSERS: there are 256 clients.
 * -ENOMEM.
 */
int tmem_client_attach(struct tmem_store *store,
		       const struct tmem_client_config *config,
		       struct tmem_client **client);

/**
 * struct tmem_connect_config - how to reach a daemon's store
 * @struct_size: set by tmem_connect_config_init()
 * @socket: path of the daemon's socket, or of the client's own one there;
 *	NULL: TMEM_SOCKET in the environment, else the usual place
 * @name: of the client; NULL or "": whose socket it is; on the daemon's common
 *	socket "uidN", N being the user's number
 * @rings: calls that can be under way at once; 0: one for each processor, 16
 *	at most. The daemon may grant fewer.
 * @timeout_ms: how long a call waits while the daemon is away; 0: 30000
 * @log: told when the daemon goes and comes back; or NULL
 * @log_opaque: passed to @log
 */
struct tmem_connect_config {
	size_t struct_size;
	const char *socket;
	const char *name;
	uint32_t rings;
	uint32_t timeout_ms;
	void (*log)(void *opaque, enum tmem_log_level level, const char *text);
	void *log_opaque;
};

void tmem_connect_config_init(struct tmem_connect_config *config);

/**
 * tmem_connect() - attach to a client of a daemon's store
 * @config: read during the call only; NULL: the defaults
 * @client: set on success; tmem_client_detach() lets go of it
 *
 * Pools are made, ended and asked about, and pages put, got and flushed, as with
 * a store in the process; of the flags of a put there is TMEM_PUT_UNSTABLE alone
 * (else -EINVAL). tmem_pool_create_at(), tmem_pool_pages(), and what only the
 * owner of a store may do (limits, freezing, walking, destroying) answer
 * -EOPNOTSUPP.
 *
 * When the daemon dies and comes back, calls wait for it and are then carried
 * out, each once. Persistent pools are as they were; ephemeral ones are there
 * again, under their ids, and empty. A call that waits longer than timeout_ms
 * answers -ETIMEDOUT: of a put or flush, nothing is left under its handle when
 * the daemon is back, unless the client was detached or its process ended before
 * that; a page that a get was to remove may be gone or not, and a pool may have
 * been made or not. -ENOTRECOVERABLE: so many calls timed out that this promise
 * cannot be kept; detach.
 *
 * Return: 0, or
 * -EINVAL: a name that is none.
 * -ENOENT, -ECONNREFUSED, -EACCES: no daemon there, or not for this user.
 * -EBUSY: somebody is attached to that client.
 * -EUSERS: the daemon has no room for another.
 * -EPROTONOSUPPORT: the daemon speaks another version.
 * -ETIMEDOUT: it did not answer within timeout_ms, or went while it was spoken
 * to and did not come back.
 * -ENOMEM, ...: as the system said.
 */
int tmem_connect(const struct tmem_connect_config *config,
		 struct tmem_client **client);

/**
 * tmem_client_set() - change the limits
 * @client: the client
 * @config: as for attach; name is ignored
 *
 * A cap below what the client holds drops its ephemeral pages as far as
 * needed, and refuses puts until it is below.
 *
 * Return: 0, -EINVAL, -ENOSPC; on error nothing has changed.
 */
int tmem_client_set(struct tmem_client *client,
		    const struct tmem_client_config *config);

/**
 * tmem_client_detach() - let go; the client's pools and pages stay
 * @client: not to be used afterwards. NULL is allowed.
 */
void tmem_client_detach(struct tmem_client *client);

/**
 * tmem_client_destroy() - end the client: all its pools and pages go
 * @client: not to be used afterwards
 *
 * Usage is credited at once; memory follows in the background.
 *
 * Return: 0.
 */
int tmem_client_destroy(struct tmem_client *client);

/**
 * tmem_client_set_frozen() - stop or allow puts
 * @client: the client
 * @frozen: while true every put is refused, dropping an old copy; gets and
 *	flushes go on
 *
 * A client that is saved or migrates is frozen for that alone. Freezing it then
 * is for afterwards; thawing it is refused.
 *
 * Return: 0, -EBUSY (not to be thawed: it migrates). When it returns after
 * freezing, no put is under way any more.
 */
int tmem_client_set_frozen(struct tmem_client *client, bool frozen);

/**
 * tmem_client_is_frozen() - is it, whatever for?
 *
 * Takes no lock.
 *
 * Return: 1, 0.
 */
int tmem_client_is_frozen(struct tmem_client *client);

/**
 * tmem_client_set_persistent_cap() - a cap on persistent pages alone
 * @client: the client
 * @bytes: the most its persistent pools may be billed together; 0: no such cap.
 *	Whoever wants none of them at all says 1.
 *
 * For a host that gives memory to a guest in one piece, of which persistent
 * pages are a part. What is there stays; not kept in the arena.
 *
 * Return: 0, -EOWNERDEAD.
 */
int tmem_client_set_persistent_cap(struct tmem_client *client, uint64_t bytes);

/**
 * tmem_client_set_shared_auth() - let a client into a shared pool, or not
 * @client: the client
 * @uuid: the pool
 * @allowed: may tmem_pool_create() join (or make) it?
 *
 * A client that is in stays in. Not kept in the arena.
 *
 * Return: 0, -EINVAL (all zeros or all ones), -ENOSPC (16 UUIDs at most).
 */
int tmem_client_set_shared_auth(struct tmem_client *client,
				const struct tmem_uuid *uuid, bool allowed);

/**
 * tmem_client_set_codec() - choose how this client's pages are kept from now on
 * @client: the client
 * @codec: as in struct tmem_store_config; NULL: whatever the store uses
 *
 * Not kept in the arena.
 *
 * Return: as tmem_store_set_codec().
 */
int tmem_client_set_codec(struct tmem_client *client, const char *codec);

/**
 * tmem_client_set_compress() - compress this client's pages, or do not
 * @client: the client
 * @compress: true: with the store's codec; false: new pages are stored as they
 *	are (same-filled ones still take no frame)
 *
 * Return: as tmem_store_set_codec().
 */
int tmem_client_set_compress(struct tmem_client *client, bool compress);

/**
 * tmem_client_set_call() - number the next pool_create or pool_destroy
 * @client: the client; the caller keeps others from making or ending its pools
 *	until that call is done
 * @call: rises with every such call; 0: not numbered
 *
 * For a transport that cannot know whether a call it has passed on was carried
 * out before its process died. The number and the pool's id are in the arena
 * before the pool changes: the same number again has the same effect and the
 * same answer as once, after a `kill -9` too.
 *
 * Return: 0.
 */
int tmem_client_set_call(struct tmem_client *client, uint64_t call);

/**
 * struct tmem_client_info - a client, as its host sees it
 * @number: of its record; constant while the client exists
 * @attached: somebody in this process is attached to it
 * @call: the last number that tmem_client_set_call() brought into effect
 * @codec: for its new pages, its own or the store's; "none": as they are
 * @level: of that codec
 * @allocator: for its new pages; the store's
 */
struct tmem_client_info {
	size_t struct_size;
	uint32_t number;
	uint32_t weight;
	uint32_t trust_domain;
	bool attached;
	bool frozen;
	bool migrating;
	bool compress;
	uint64_t reservation_bytes;
	uint64_t cap_bytes;
	uint64_t call;
	char name[TMEM_CLIENT_NAME_MAX + 1];
	char codec[TMEM_PLUGIN_NAME_MAX + 1];
	int32_t level;
	char allocator[TMEM_PLUGIN_NAME_MAX + 1];
};

/**
 * tmem_client_get_info() - limits and state
 * @client: the client
 * @info: struct_size set by the caller
 *
 * Return: 0, -EINVAL.
 */
int tmem_client_get_info(struct tmem_client *client,
			 struct tmem_client_info *info);

/**
 * tmem_store_walk_clients() - all clients, attached or not
 * @store: the store
 * @position: 0 at the beginning; changed
 * @info: struct_size set by the caller; filled in
 *
 * Return: 1 (@info is a client), 0 (there are no more), -EINVAL.
 */
int tmem_store_walk_clients(struct tmem_store *store, uint32_t *position,
			    struct tmem_client_info *info);

/**
 * tmem_client_get_counts() - what this client holds and did
 * @client: the client
 * @counts: struct_size set by the caller
 *
 * Return: 0, -EINVAL.
 */
int tmem_client_get_counts(struct tmem_client *client,
			   struct tmem_counts *counts);

/* ------------------------------------------------------------------------
 * Pools
 */

#define TMEM_POOL_PERSISTENT (UINT32_C(1) << 0)
/* Spelled as in Xen's public header, so that both can be included. */
#define TMEM_POOL_SHARED 2

/**
 * tmem_pool_create() - make a pool, or join a shared one
 * @client: the client
 * @flags: TMEM_POOL_*; both together are refused
 * @uuid: of a shared pool; NULL otherwise
 *
 * Return: the pool's id, 0 to TMEM_POOLS_MAX - 1, or
 * -EPERM: persistent and shared.
 * -EACCES: not authorised for this shared pool.
 * -EEXIST: the client is in this shared pool already.
 * -EINVAL: unknown flag, or uuid missing or not allowed.
 * -ENOSPC: the client has TMEM_POOLS_MAX pools, or the arena no pool record.
 * -ENOMEM, -ENODEV.
 */
int tmem_pool_create(struct tmem_client *client, uint32_t flags,
		     const struct tmem_uuid *uuid);

/**
 * tmem_pool_create_at() - make a pool with an id that the caller chooses
 * @client: the client
 * @pool: 0 to TMEM_POOLS_MAX - 1
 * @flags: as tmem_pool_create()
 * @uuid: as tmem_pool_create()
 *
 * For bringing back what was saved.
 *
 * Return: as tmem_pool_create(); -EEXIST also when the id is taken.
 */
int tmem_pool_create_at(struct tmem_client *client, int pool, uint32_t flags,
			const struct tmem_uuid *uuid);

/**
 * tmem_pool_destroy() - end a pool, or leave a shared one
 * @client: the client
 * @pool: its id, which may be given out again afterwards
 *
 * All pages go, in O(1); the last member of a shared pool ends it. Pages of
 * a shared pool stay billed to who put them until then.
 *
 * Return: 0, -ENOENT (no such pool), -ENODEV.
 */
int tmem_pool_destroy(struct tmem_client *client, int pool);

/**
 * struct tmem_pool_info - a pool, as its client sees it
 */
struct tmem_pool_info {
	size_t struct_size;
	uint32_t flags;
	uint32_t members;
	struct tmem_uuid uuid;
	uint64_t pages;
	uint64_t objects;
};

/**
 * tmem_pool_get_info() - what is pool number so-and-so
 * @client: the client
 * @pool: an id
 * @info: struct_size set by the caller
 *
 * Return: 0, -ENOENT, -EINVAL, -ENODEV.
 */
int tmem_pool_get_info(struct tmem_client *client, int pool,
		       struct tmem_pool_info *info);

/**
 * tmem_pool_pages() - how many pages are in it, about
 * @client: the client
 * @pool: an id
 *
 * Takes no lock; exact when nobody is working on the pool, but for pages that
 * were flushed by object and are still to be reaped. 0 when none can be had.
 *
 * Return: the number, or -ENOENT, -EOWNERDEAD, -EOPNOTSUPP (no store of this
 * process).
 */
int64_t tmem_pool_pages(struct tmem_client *client, int pool);

/* ------------------------------------------------------------------------
 * Pages
 */

enum tmem_put_result {
	TMEM_PUT_REFUSED = 0,	/* nothing is stored under the handle now */
	TMEM_PUT_STORED = 1,
	TMEM_PUT_REPLACED = 2,	/* with TMEM_PUT_EXPLAIN only */
};

enum tmem_get_result {
	TMEM_GET_MISS = 0,
	TMEM_GET_HIT = 1,
};

/* The page may change during the call: it is copied before anything looks at
 * it. What is stored is some mixture of what was there meanwhile. */
#define TMEM_PUT_UNSTABLE (UINT32_C(1) << 0)
/* TMEM_PUT_REPLACED tells a page that was there. A refusal is a negative errno
 * that says why. -ENOSPC: a page was there, and was dropped. Else nothing has
 * changed; -EBUSY: the client is frozen, -EDQUOT: a cap, -ENOMEM: memory. */
#define TMEM_PUT_EXPLAIN (UINT32_C(1) << 1)
/* While the client is frozen, but does not migrate, a page that is there may be
 * replaced. Whoever walks over the client keeps such puts away. */
#define TMEM_PUT_REPLACE (UINT32_C(1) << 2)
/* The page is taken out of the pool, whatever kind of pool it is. */
#define TMEM_GET_REMOVE (UINT32_C(1) << 0)

/**
 * tmem_put() - store a page
 * @client: the client
 * @pool: one of its pools
 * @oid: the object, made if it is not there
 * @index: the page within the object
 * @page: TMEM_PAGE_SIZE bytes
 * @flags: TMEM_PUT_*
 *
 * Replaces what the handle held. May evict ephemeral pages, of this client or
 * others as weights say.
 *
 * Return: an enum tmem_put_result, or -ENOENT (no such pool), -EINVAL (unknown
 * flag), -ENODEV, -EOWNERDEAD (after fork); with TMEM_PUT_EXPLAIN what that says,
 * too. After an error but -ENOSPC the pool is as before.
 */
int tmem_put(struct tmem_client *client, int pool, const struct tmem_oid *oid,
	     uint32_t index, const void *page, uint32_t flags);

/**
 * tmem_get() - fetch a page
 * @client: the client
 * @pool: one of its pools
 * @oid: the object
 * @index: the page
 * @page: TMEM_PAGE_SIZE bytes; undefined unless the result is a hit
 * @flags: TMEM_GET_*
 *
 * Return: an enum tmem_get_result, or
 * -EBADMSG: the stored bytes failed their check. The page is dropped, counted
 *	as corrupt and reported in the log; later gets miss.
 * -ENOENT, -EINVAL, -ENODEV, -EOWNERDEAD: as tmem_put().
 */
int tmem_get(struct tmem_client *client, int pool, const struct tmem_oid *oid,
	     uint32_t index, void *page, uint32_t flags);

/**
 * tmem_flush_page() - drop a page
 *
 * Return: 1 (was there), 0 (was not), -ENOENT, -ENODEV, -EOWNERDEAD.
 */
int tmem_flush_page(struct tmem_client *client, int pool,
		    const struct tmem_oid *oid, uint32_t index);

/**
 * tmem_flush_object() - drop an object with all its pages, in O(1)
 *
 * An ephemeral object may still count as there while its last page is being
 * evicted.
 *
 * Return: 1 (was there), 0 (was not), -ENOENT, -ENODEV, -EOWNERDEAD.
 */
int tmem_flush_object(struct tmem_client *client, int pool,
		      const struct tmem_oid *oid);

enum tmem_request_kind {
	TMEM_REQUEST_PUT = 1,
	TMEM_REQUEST_GET,
	TMEM_REQUEST_FLUSH_PAGE,
	TMEM_REQUEST_FLUSH_OBJECT,
};

/**
 * struct tmem_request - one call of many
 * @kind: enum tmem_request_kind: which function
 * @flags: its flags
 * @pool: one of the client's pools
 * @index: the page
 * @oid: the object
 * @page: TMEM_PAGE_SIZE bytes, of a put or get
 * @result: what the function would return
 */
struct tmem_request {
	uint32_t kind;
	uint32_t flags;
	int32_t pool;
	uint32_t index;
	struct tmem_oid oid;
	void *page;
	int32_t result;
};

/**
 * tmem_batch() - several calls at once
 * @client: the client
 * @requests: carried out as if in this order, one after the other
 * @count: how many
 *
 * Over a channel, requests are under way together, which costs less than one
 * call after the other. A buffer may be used by one request only, unless all
 * that use it are puts. A request that fails does not keep others from being
 * carried out.
 *
 * Return: 0, -EINVAL (unknown kind; nothing was carried out).
 */
int tmem_batch(struct tmem_client *client, struct tmem_request *requests,
	       uint32_t count);

/* ------------------------------------------------------------------------
 * Saving and migrating
 */

/* A page's name within its client. */
struct tmem_handle {
	uint32_t pool;
	uint32_t index;
	struct tmem_oid oid;
};

/**
 * tmem_client_walk() - read the pages of a pool, one by one
 * @client: the client
 * @pool: one of its pools
 * @position: 0 at the beginning; changed
 * @handle: whose page it is
 * @page: TMEM_PAGE_SIZE bytes
 *
 * In no particular order. While the client is frozen, each page that is there
 * from beginning to end is met exactly once; otherwise a page that is put
 * meanwhile may be met twice, or not. Nothing is removed, counted or touched.
 *
 * Return: 1 (a page), 0 (there are no more), -ENOENT, or -EBADMSG: a page
 * failed its check and was dropped; @handle names it, and the walk can go on.
 */
int tmem_client_walk(struct tmem_client *client, int pool, uint64_t *position,
		     struct tmem_handle *handle, void *page);

/**
 * tmem_client_set_migrating() - log which persistent pages go
 * @client: the client, frozen
 * @migrating: true: from now on; false: end of it, and the log is forgotten
 *
 * A client that migrates cannot be thawed. The log is charged to the store's
 * memory, 32 bytes for a page.
 *
 * Return: 0, -EBUSY (not frozen, or migrating already), -EOWNERDEAD.
 */
int tmem_client_set_migrating(struct tmem_client *client, bool migrating);

/**
 * tmem_client_next_invalidation() - take the oldest entry out of that log
 * @client: the client
 * @handle: a page that has gone since tmem_client_set_migrating()
 *
 * Finishes what was flushed by object or pool before it says that there is none.
 *
 * Return: 1, 0 (none just now), -EINVAL (not migrating), -ENOMEM (the log did
 * not fit the store's memory: what was copied so far is of no use).
 */
int tmem_client_next_invalidation(struct tmem_client *client,
				  struct tmem_handle *handle);

/* ------------------------------------------------------------------------
 * Plugins
 */

/**
 * tmem_plugins_open() - all codecs and allocators that can be had
 * @path: as plugin_path in struct tmem_store_config, or NULL
 * @log: called for each plugin that was refused, with the reason; or NULL
 * @opaque: passed to @log
 * @plugins: set on success
 *
 * Return: 0, -ENOMEM. A refused plugin is no error.
 */
int tmem_plugins_open(const char *path,
		      void (*log)(void *opaque, enum tmem_log_level level,
				  const char *text),
		      void *opaque, struct tmem_plugins **plugins);

/**
 * tmem_plugins_close() - unload them
 * @plugins: NULL is allowed; tables obtained from it are invalid afterwards
 */
void tmem_plugins_close(struct tmem_plugins *plugins);

/**
 * tmem_plugins_codec() - walk the codecs
 * @plugins: the registry
 * @n: 0, 1, ...
 *
 * Return: the table, or NULL past the last one. The order is stable: built-in
 * ones first, then modules by name.
 */
const struct tmem_codec *tmem_plugins_codec(const struct tmem_plugins *plugins,
					    size_t n);
const struct tmem_allocator *
tmem_plugins_allocator(const struct tmem_plugins *plugins, size_t n);

/**
 * tmem_plugins_origin() - where a plugin comes from
 * @plugins: the registry
 * @name: of a codec or an allocator
 *
 * Return: the path of its module, "built in", or NULL when unknown.
 */
const char *tmem_plugins_origin(const struct tmem_plugins *plugins,
				const char *name);

/* The names that the build was configured with. */
const char *tmem_default_codec(void);
const char *tmem_default_allocator(void);
/* "MAJOR.MINOR.MICRO" of the library in use. */
const char *tmem_version(void);

/* ------------------------------------------------------------------------
 * Boot options
 */

/**
 * struct tmem_boot - the boot options, parsed
 * @struct_size: set by tmem_boot_init()
 * @enabled: `tmem`; false: `no-tmem`
 * @compress: `tmem_compress`; false: pages are stored as they are
 * @codec: `tmem_compress=NAME`; "" for the build's default
 * @level: `tmem_compress=NAME:LEVEL`, when @has_level
 * @allocator: `tmem_allocator=`; "" for the build's default
 * @dedup: `tmem_dedup`
 * @shared_auth: `tmem_shared_auth`; true: shared pools need authorisation
 * @tze: `tmem_tze` was given (superseded; it changes nothing)
 * @memory_bytes: `tmem_memory=SIZE`, 0 when not given
 */
struct tmem_boot {
	size_t struct_size;
	bool enabled;
	bool compress;
	bool dedup;
	bool shared_auth;
	bool tze;
	bool has_level;
	int32_t level;
	char codec[TMEM_PLUGIN_NAME_MAX + 1];
	char allocator[TMEM_PLUGIN_NAME_MAX + 1];
	uint64_t memory_bytes;
};

/* Starting values: ours, or Xen's (everything off). */
enum tmem_boot_defaults {
	TMEM_BOOT_DEFAULTS_TMEM = 0,
	TMEM_BOOT_DEFAULTS_XEN = 1,
};

void tmem_boot_init(struct tmem_boot *boot, enum tmem_boot_defaults defaults);

/**
 * tmem_boot_parse() - add words such as "tmem_compress=zstd:3 no-tmem_dedup"
 * @boot: changed word by word; a later word overrides an earlier one
 * @words: separated by white space
 * @error: receives one sentence that names the word that is wrong and the
 *	nearest known one
 * @error_size: bytes at @error
 *
 * Whether a codec or allocator of that name exists is found out when the
 * store is opened.
 *
 * Return: 0, -EINVAL (@boot is as before the call).
 */
int tmem_boot_parse(struct tmem_boot *boot, const char *words, char *error,
		    size_t error_size);

/* Which places tmem_boot_load() looks at. */
#define TMEM_BOOT_KERNEL (UINT32_C(1) << 0)

/**
 * tmem_boot_load() - every source, in rising order
 * @boot: initialised; receives the result
 * @file: an INI file whose [boot] section counts; NULL: /etc/tmem/tmem.conf
 *	if it is there
 * @words: the last word, as from --boot; NULL: none
 * @sources: TMEM_BOOT_KERNEL: the words of /proc/cmdline that begin with
 *	`tmem` or `no-tmem`, but not with `tmem.`, count too
 * @error: as tmem_boot_parse(); names the source as well
 * @error_size: bytes at @error
 *
 * The order: @file, the kernel command line, the environment variable
 * TMEM_BOOT, @words.
 *
 * Return: 0, -EINVAL, or why a source could not be read; that @file is not
 * there is an error when it was named. On error @boot is as before the call.
 */
int tmem_boot_load(struct tmem_boot *boot, const char *file, const char *words,
		   uint32_t sources, char *error, size_t error_size);

/**
 * tmem_boot_apply() - write the options into a store's configuration
 * @boot: the options; must outlive the tmem_store_open() call
 * @config: codec, allocator, the flags that the options decide (DISABLED,
 *	DEDUP, SHARED_OPEN) and (when given) memory_bytes are set; its log is
 *	told when an option changes nothing
 * @codec: room for "NAME:LEVEL" that @config will point to
 * @codec_size: bytes at @codec, 32 are enough
 */
void tmem_boot_apply(const struct tmem_boot *boot,
		     struct tmem_store_config *config, char *codec,
		     size_t codec_size);

/**
 * tmem_size_parse() - "64M", "1.5G", "4096", "512KiB" to bytes
 * @text: a number, then K M G T (powers of 1024, any case, with or without
 *	"B" or "iB") or nothing for bytes
 * @bytes: set on success
 *
 * Return: 0, -EINVAL (not a size), -ERANGE (does not fit 64 bits).
 */
int tmem_size_parse(const char *text, uint64_t *bytes);

#ifdef __cplusplus
}
#endif
#endif
