/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Xen's transcendent memory for a hypervisor of one's own: the historical
 * guest interface (hypercall 38, as of Xen 4.12) over a store, and the
 * privileged operations beside it.
 *
 * Whoever runs guests makes one struct tmem_xen over a store, one struct
 * tmem_xen_domain for each guest, and a struct tmem_guest_memory that says
 * where the guest's frames are in this process. A guest's hypercall is then one
 * call of tmem_xen_hypercall(); its result is what the guest gets back.
 *
 * Everything that comes from a guest is taken for hostile. Each value is read
 * from guest memory once; a guest can reach its own client only; and what it
 * does while a call runs (writing, unmapping) harms nobody else.
 *
 * The wire structures have names of our own, so that this header can be
 * included beside Xen's xen/tmem.h and xen/sysctl.h; sizes, offsets and
 * numbers are Xen's, and asserted.
 *
 * Since: 0.1
 */
#ifndef TMEM_XEN_H
#define TMEM_XEN_H

#include <tmem/tmem.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ------------------------------------------------------------------------
 * The guest's interface, on the wire
 */

/* The hypercall's number; its one argument leads to a struct tmem_xen_op. */
#define TMEM_XEN_HYPERCALL 38
#define TMEM_XEN_SPEC_VERSION 1

/* cmd */
#define TMEM_XEN_CONTROL 0		/* privileged: not here */
#define TMEM_XEN_NEW_POOL 1
#define TMEM_XEN_DESTROY_POOL 2
#define TMEM_XEN_NEW_PAGE 3		/* until Xen 4.3 */
#define TMEM_XEN_PUT_PAGE 4
#define TMEM_XEN_GET_PAGE 5
#define TMEM_XEN_FLUSH_PAGE 6
#define TMEM_XEN_FLUSH_OBJECT 7
#define TMEM_XEN_READ 8			/* until Xen 4.3 */
#define TMEM_XEN_WRITE 9		/* until Xen 4.3 */
#define TMEM_XEN_XCHG 10		/* never worked */
#define TMEM_XEN_AUTH 101		/* privileged: not here */
#define TMEM_XEN_RESTORE_NEW 102	/* privileged: not here */

/* The flags of TMEM_XEN_NEW_POOL. */
#define TMEM_XEN_POOL_PERSIST UINT32_C(0x1)
#define TMEM_XEN_POOL_SHARED UINT32_C(0x2)
#define TMEM_XEN_POOL_PRECOMPRESSED UINT32_C(0x4)
#define TMEM_XEN_POOL_PAGESIZE_SHIFT 4
#define TMEM_XEN_POOL_PAGESIZE_MASK UINT32_C(0xf)
#define TMEM_XEN_POOL_RESERVED UINT32_C(0x00ffff00)
#define TMEM_XEN_POOL_VERSION_SHIFT 24
#define TMEM_XEN_POOL_VERSION_MASK UINT32_C(0xff)

/* Results beyond errno, negated like those. */
#define TMEM_XEN_EFROZEN 1000
#define TMEM_XEN_EEMPTY 1001

#define TMEM_XEN_POOLS_MAX 16
#define TMEM_XEN_SHARED_POOLS_MAX 16

/* As a 64-bit guest writes it. */
struct tmem_xen_op {
	uint32_t cmd;
	int32_t pool_id;
	union {
		struct {
			uint64_t uuid[2];	/* low, high */
			uint32_t flags;
			uint32_t arg1;
		} creat;
		struct {
			uint64_t oid[3];
			uint32_t index;
			uint32_t tmem_offset;	/* these three: ignored */
			uint32_t pfn_offset;
			uint32_t len;
			uint64_t cmfn;		/* a guest frame */
		} gen;
	} u;
};

/* As a 32-bit x86 guest writes it: what is 64 bits wide is aligned to 4. */
struct tmem_xen_op_compat {
	uint32_t cmd;
	int32_t pool_id;
	union {
		struct {
			uint32_t uuid[4];
			uint32_t flags;
			uint32_t arg1;
		} creat;
		struct {
			uint32_t oid[6];
			uint32_t index;
			uint32_t tmem_offset;
			uint32_t pfn_offset;
			uint32_t len;
			uint32_t cmfn;
		} gen;
	} u;
};

/* ------------------------------------------------------------------------
 * Guest memory
 */

/*
 * A map from guest frames to this process's memory, with holes. Copies in and
 * out are the only way it is touched. All functions may be called from any
 * thread, those that change the map while operations run too.
 */
struct tmem_guest_memory;

/**
 * tmem_guest_memory_create() - a map without frames
 * @memory: set on success
 *
 * Return: 0, -ENOMEM.
 */
int tmem_guest_memory_create(struct tmem_guest_memory **memory);

/**
 * tmem_guest_memory_destroy() - end a map
 * @memory: no domain has it any more. NULL is allowed. What it led to stays.
 */
void tmem_guest_memory_destroy(struct tmem_guest_memory *memory);

/**
 * tmem_guest_memory_add() - here are some of the guest's frames
 * @memory: the map
 * @first_frame: their first number
 * @pages: how many
 * @address: where the first one begins in this process; need not be aligned.
 *	Stays mapped until it is removed from the map.
 * @writable: the guest may have pages written to it; the process can write
 *	there
 *
 * Return: 0, -EINVAL (no pages, or an address or a number that overflows),
 * -EEXIST (some of the frames are in the map), -ENOMEM.
 */
int tmem_guest_memory_add(struct tmem_guest_memory *memory,
			  uint64_t first_frame, uint64_t pages, void *address,
			  bool writable);

/**
 * tmem_guest_memory_remove() - these frames are the guest's no more
 * @memory: the map
 * @first_frame: their first number
 * @pages: how many; frames that are not in the map are passed over
 *
 * When it returns no copy touches them any more. Waits for copies that run.
 *
 * Return: 0, -EINVAL, -ENOMEM (nothing has changed).
 */
int tmem_guest_memory_remove(struct tmem_guest_memory *memory,
			     uint64_t first_frame, uint64_t pages);

/**
 * tmem_guest_memory_read() - copy out of the guest
 * @memory: the map
 * @address: a guest-physical address, in bytes
 * @to: @size bytes; undefined after an error
 * @size: bytes
 *
 * Return: 0, -EFAULT (a hole, or a fault).
 */
int tmem_guest_memory_read(struct tmem_guest_memory *memory, uint64_t address,
			   void *to, size_t size);

/**
 * tmem_guest_memory_write() - copy into the guest
 * @memory: the map
 * @address: a guest-physical address, in bytes
 * @from: @size bytes
 * @size: bytes
 *
 * Return: 0, -EFAULT (a hole, read-only, or a fault; a part may have been
 * written).
 */
int tmem_guest_memory_write(struct tmem_guest_memory *memory, uint64_t address,
			    const void *from, size_t size);

/**
 * tmem_guest_memory_is_broken() - has a copy faulted?
 * @memory: the map
 *
 * Memory that was in the map was not there: somebody cut the file under it, or
 * punched a hole. From then on every copy answers -EFAULT.
 *
 * Return: 1, 0.
 */
int tmem_guest_memory_is_broken(const struct tmem_guest_memory *memory);

/**
 * tmem_guest_memory_catch_faults() - survive memory that goes away
 *
 * Installs handlers for SIGBUS and SIGSEGV, once for the process: a fault
 * within a copy ends that copy, any other goes where it went before. Without
 * them such a fault ends the process. Never called by the library itself.
 *
 * Return: 0, or as sigaction() said.
 */
int tmem_guest_memory_catch_faults(void);

/* ------------------------------------------------------------------------
 * Domains
 */

struct tmem_xen;
struct tmem_xen_domain;

/**
 * struct tmem_xen_config - how a front end is made
 * @struct_size: set by tmem_xen_config_init()
 * @store: where the pages go; outlives the front end
 * @permit: asked before everything else of a guest's call; false: -EPERM.
 *	NULL: all may. Called from the guest's thread, with no lock held.
 * @opaque: passed to @permit
 */
struct tmem_xen_config {
	size_t struct_size;
	struct tmem_store *store;
	bool (*permit)(void *opaque, uint16_t domain_id);
	void *opaque;
};

void tmem_xen_config_init(struct tmem_xen_config *config);

/**
 * tmem_xen_open() - a front end
 * @config: read during the call only
 * @xen: set on success
 *
 * Return: 0, -EINVAL, -ENOMEM.
 */
int tmem_xen_open(const struct tmem_xen_config *config, struct tmem_xen **xen);

/**
 * tmem_xen_close() - end a front end
 * @xen: all its domains have been closed. NULL is allowed.
 */
void tmem_xen_close(struct tmem_xen *xen);

/* No maximum. */
#define TMEM_XEN_PAGES_UNLIMITED UINT64_MAX
/* Not a domain's number: all of them. */
#define TMEM_XEN_ALL_CLIENTS UINT32_C(0xffff)

/**
 * struct tmem_xen_domain_config - a guest
 * @struct_size: set by tmem_xen_domain_config_init()
 * @id: 0 to 0xfffe; of all domains that have not ended, the only one
 * @client: a client that is attached already and stays the caller's, until
 *	after tmem_xen_domain_close(). NULL: one is made at the first operation
 *	that needs it.
 * @client_config: name and limits of the client that is made; its name must be
 *	given, the rest is for the host to choose. Copied.
 * @memory: the guest's memory, or NULL; stays the caller's
 * @pages: what the guest has of its own just now
 * @pages_max: the most it may have, its persistent pages included
 */
struct tmem_xen_domain_config {
	size_t struct_size;
	uint16_t id;
	struct tmem_client *client;
	const struct tmem_client_config *client_config;
	struct tmem_guest_memory *memory;
	uint64_t pages;
	uint64_t pages_max;
};

/* No guest memory, no maximum. */
void tmem_xen_domain_config_init(struct tmem_xen_domain_config *config);

/**
 * tmem_xen_domain_create() - a guest comes
 * @xen: the front end
 * @config: read during the call only
 * @domain: set on success
 *
 * Return: 0, -EINVAL, -EEXIST (there is a domain of that number), -ENOMEM.
 */
int tmem_xen_domain_create(struct tmem_xen *xen,
			   const struct tmem_xen_domain_config *config,
			   struct tmem_xen_domain **domain);

/**
 * tmem_xen_domain_generation() - which one of that number
 * @domain: the domain
 *
 * Numbers are given out again; number and generation together are not, while
 * the front end lives.
 */
uint64_t tmem_xen_domain_generation(const struct tmem_xen_domain *domain);

/**
 * tmem_xen_domain_set_memory() - the guest's memory is this one
 * @domain: the domain
 * @memory: or NULL: it has none. Stays the caller's.
 *
 * When it returns no operation uses the map there was before.
 */
void tmem_xen_domain_set_memory(struct tmem_xen_domain *domain,
				struct tmem_guest_memory *memory);

/**
 * tmem_xen_domain_set_pages() - the guest was ballooned
 * @domain: the domain
 * @pages: as in struct tmem_xen_domain_config
 * @pages_max: as in struct tmem_xen_domain_config
 *
 * Persistent pages, billed with their metadata, fill up what is between the
 * two; a put beyond that is refused. What is there stays.
 */
void tmem_xen_domain_set_pages(struct tmem_xen_domain *domain, uint64_t pages,
			       uint64_t pages_max);

/**
 * tmem_xen_domain_get_pages() - what tmem_xen_domain_set_pages() said last
 * @domain: the domain
 * @pages: set
 * @pages_max: set
 */
void tmem_xen_domain_get_pages(struct tmem_xen_domain *domain, uint64_t *pages,
			       uint64_t *pages_max);

/**
 * tmem_xen_domain_end() - the guest dies
 * @domain: the domain
 *
 * From now on its operations answer -ENODEV, and its number is free. Waits for
 * operations that run; then a client that was made here ends, with all pages.
 * One that was given to tmem_xen_domain_create() is its owner's to end.
 */
void tmem_xen_domain_end(struct tmem_xen_domain *domain);

/**
 * tmem_xen_domain_close() - let go of a domain
 * @domain: no call on it runs, and none will come. NULL is allowed.
 *
 * Unless the domain has ended, its client's pages stay in the store: whoever
 * attaches to that name next finds the persistent ones.
 */
void tmem_xen_domain_close(struct tmem_xen_domain *domain);

/* ------------------------------------------------------------------------
 * A guest's operations
 */

/* The operation is laid out as struct tmem_xen_op_compat. */
#define TMEM_XEN_OP_COMPAT (UINT32_C(1) << 0)
/* Answers as <tmem/tmem.h> has them instead of Xen's: a put stored (1) or was
 * refused (0), a get hit or missed, a flush found something or did not, a pool
 * was destroyed (0); errors of the store; a shared pool that may not be joined
 * is an error. For transports of our own. */
#define TMEM_XEN_OP_PLAIN (UINT32_C(1) << 1)
/* A get takes the page out, whatever kind of pool it is in. */
#define TMEM_XEN_OP_REMOVE (UINT32_C(1) << 2)
/* With TMEM_XEN_OP_PLAIN: a new pool has the id that pool_id says; -EEXIST:
 * it is taken, -EINVAL: it is none. */
#define TMEM_XEN_OP_AT (UINT32_C(1) << 3)

/**
 * tmem_xen_op() - carry out an operation
 * @domain: whose
 * @op: a struct tmem_xen_op or, with TMEM_XEN_OP_COMPAT, the other one, in
 *	memory that the guest cannot write; need not be aligned
 * @size: bytes at @op
 * @flags: TMEM_XEN_OP_*
 *
 * Return: what the guest gets: see doc/tmem-spec.md for every operation.
 */
int tmem_xen_op(struct tmem_xen_domain *domain, const void *op, size_t size,
		uint32_t flags);

/**
 * tmem_xen_hypercall() - carry out an operation that is in guest memory
 * @domain: whose
 * @address: guest-physical address of the operation
 * @flags: TMEM_XEN_OP_*
 *
 * The operation is copied in once, then as tmem_xen_op().
 */
int tmem_xen_hypercall(struct tmem_xen_domain *domain, uint64_t address,
		       uint32_t flags);

/* ------------------------------------------------------------------------
 * Privileged operations (sysctl 24). Nothing here is for guests.
 */

#define TMEM_XEN_OP_THAW 0
#define TMEM_XEN_OP_FREEZE 1
#define TMEM_XEN_OP_FLUSH 2
#define TMEM_XEN_OP_DESTROY 3
#define TMEM_XEN_OP_LIST 4
#define TMEM_XEN_OP_GET_CLIENT_INFO 5
#define TMEM_XEN_OP_SET_CLIENT_INFO 6
#define TMEM_XEN_OP_GET_POOLS 7
#define TMEM_XEN_OP_QUERY_FREEABLE_MB 8
#define TMEM_XEN_OP_SET_POOLS 9
#define TMEM_XEN_OP_SAVE_BEGIN 10
#define TMEM_XEN_OP_SET_AUTH 11
#define TMEM_XEN_OP_SAVE_GET_NEXT_PAGE 19
#define TMEM_XEN_OP_SAVE_GET_NEXT_INV 20
#define TMEM_XEN_OP_SAVE_END 21
#define TMEM_XEN_OP_RESTORE_BEGIN 30
#define TMEM_XEN_OP_RESTORE_PUT_PAGE 32
#define TMEM_XEN_OP_RESTORE_FLUSH_PAGE 33

struct tmem_xen_sysctl {
	uint32_t cmd;		/* TMEM_XEN_OP_* */
	int32_t pool_id;
	uint32_t cli_id;	/* the low 16 bits count */
	uint32_t len;		/* bytes at @buffer */
	uint32_t arg;
	uint32_t pad;		/* 0 */
	uint64_t oid[3];
	uint64_t buffer;	/* an address in this process */
};

#define TMEM_XEN_CLIENT_IS_FROZEN UINT32_C(0x1)
#define TMEM_XEN_CLIENT_COMPRESSES UINT32_C(0x2)
#define TMEM_XEN_CLIENT_MIGRATES UINT32_C(0x4)

struct tmem_xen_client_info {
	uint32_t version;	/* TMEM_XEN_SPEC_VERSION */
	uint32_t maxpools;
	uint32_t nr_pools;
	uint32_t flags;		/* TMEM_XEN_CLIENT_* */
	uint32_t weight;
};

/* In the flags of a pool's info: join this one, or do not (SET_AUTH). */
#define TMEM_XEN_POOL_AUTH UINT32_C(0x4)

struct tmem_xen_pool_info {
	uint32_t flags;		/* TMEM_XEN_POOL_* */
	uint32_t id;
	uint64_t n_pages;
	uint64_t uuid[2];
};

/**
 * tmem_xen_control() - carry out a privileged operation
 * @xen: the front end
 * @op: trusted; @buffer is readable and writable as the operation needs
 *
 * Return: see doc/tmem-spec.md. What Xen answers with -1 is -EPERM, the same
 * number.
 */
int tmem_xen_control(struct tmem_xen *xen, const struct tmem_xen_sysctl *op);

/**
 * tmem_xen_list() - statistics as text, with keys of two letters
 * @xen: the front end
 * @cli_id: a domain's number, or TMEM_XEN_ALL_CLIENTS
 * @is_long: the second group of keys as well
 * @buffer: receives lines, terminated by a 0
 * @size: bytes at @buffer; a line that does not fit is left out, and with it
 *	what follows
 *
 * Return: 0, -EPERM (no such client), -EINVAL (no room for the 0).
 */
int tmem_xen_list(struct tmem_xen *xen, uint32_t cli_id, bool is_long,
		  char *buffer, size_t size);

#ifdef __cplusplus
}
#endif
#endif
