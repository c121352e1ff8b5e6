/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * doc/tmem-spec.md, run. Each rule there has a number, and a function of that
 * number here; an implementation conforms when it passes all that it does not
 * have to skip.
 *
 *	conformance				this library, in this process
 *	conformance ring			the daemon's hypercall channel
 *	conformance program COMMAND...		somebody's program
 *
 * The output is TAP. Every rule begins with a new host, so that one failure
 * says nothing about the next rule. An ephemeral page may vanish at any time:
 * where a rule wants it to be there, the host is expected not to be short of
 * memory for a few dozen pages.
 *
 * It uses nothing of the library but the wire structures, and no test
 * framework, so that it can be taken along.
 */
#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conform.h"

#define SPEC_VERSION                                                           \
	((uint32_t)TMEM_XEN_SPEC_VERSION << TMEM_XEN_POOL_VERSION_SHIFT)
#define PERSISTENT (SPEC_VERSION | TMEM_XEN_POOL_PERSIST)
#define EPHEMERAL SPEC_VERSION
#define SHARED (SPEC_VERSION | TMEM_XEN_POOL_SHARED)

/* Adding a port: a file beside port_process.c, and its name here. */
static const struct conform_port_ops *const ports[] = {
	&conform_process_port,
	&conform_program_port,
	&conform_ring_port,
	&conform_daemon_port,
};

struct test {
	struct conform_port *port;
	bool is_compat;		/* every operation is a 32-bit guest's */
	bool has_failed;
	const char *skipped;	/* why */
};

/* Ends the rule when @got is not @want. */
#define IS(t, got, want)                                                       \
	do {                                                                   \
		if (!is(t, got, want, #got, __LINE__))                         \
			return;                                                \
	} while (0)
/* Ends the rule when the host cannot do it. */
#define HOST(t, did)                                                           \
	do {                                                                   \
		if (!host(t, did, #did))                                       \
			return;                                                \
	} while (0)

/* A plain answer says less: a refusal has no cause, an empty pool is a miss, a
 * flush tells what was there. is() takes these for all that they may be. */
#define REFUSED (-9001)
#define MISSED (-9002)
#define FLUSHED (-9003)

static int of_plain(uint32_t cmd, int result)
{
	if (result == -ENOENT)
		return cmd == TMEM_XEN_DESTROY_POOL ? 0 : -ENODEV;
	switch (cmd) {
	case TMEM_XEN_NEW_POOL:
		return result == -ENOSPC ? -EPERM : result;
	case TMEM_XEN_DESTROY_POOL:
		return result ? result : 1;
	case TMEM_XEN_PUT_PAGE:
		return result ? result : REFUSED;
	case TMEM_XEN_GET_PAGE:
		return result ? result : MISSED;
	case TMEM_XEN_FLUSH_PAGE:
	case TMEM_XEN_FLUSH_OBJECT:
		return result == 0 || result == 1 ? FLUSHED : result;
	}
	return result;
}

static bool agrees(long got, long want)
{
	switch (got) {
	case REFUSED:
		return want == -TMEM_XEN_EFROZEN || want == -ENOMEM ||
		       want == -ENOSPC;
	case MISSED:
		return want == 0 || want == -TMEM_XEN_EEMPTY;
	case FLUSHED:
		return want == 1 || want == -TMEM_XEN_EFROZEN;
	}
	return got == want;
}

static bool is(struct test *t, long got, long want, const char *what, int line)
{
	if (agrees(got, want))
		return true;
	printf("# line %d: %s is %ld instead of %ld\n", line, what, got, want);
	t->has_failed = true;
	return false;
}

static bool host(struct test *t, int err, const char *what)
{
	if (!err)
		return true;
	if (err == -ENOTSUP) {
		t->skipped = "the host cannot do it";
		return false;
	}
	printf("# %s: %d\n", what, err);
	t->has_failed = true;
	return false;
}

/* --- what a guest does ---------------------------------------------------- */

static void fill(uint8_t *page, uint64_t seed)
{
	static const char words[] = "a page that is not all alike, but can be "
				    "made smaller; ";

	for (size_t i = 0; i < TMEM_PAGE_SIZE; i++)
		page[i] = (uint8_t)
			words[(i * (seed | 1)) % (sizeof(words) - 1)];
	memcpy(page, &seed, sizeof(seed));
	memcpy(page + TMEM_PAGE_SIZE - sizeof(seed), &seed, sizeof(seed));
}

static int call(struct test *t, int guest, const struct tmem_xen_op *op)
{
	int result = t->port->ops->call(t->port, guest, op, t->is_compat);

	return t->port->ops->is_plain ? of_plain(op->cmd, result) : result;
}

static int new_pool_uuid(struct test *t, int guest, uint32_t flags,
			 uint64_t low, uint64_t high)
{
	struct tmem_xen_op op = { .cmd = TMEM_XEN_NEW_POOL };

	op.u.creat.flags = flags;
	op.u.creat.uuid[0] = low;
	op.u.creat.uuid[1] = high;
	return call(t, guest, &op);
}

static int new_pool(struct test *t, int guest, uint32_t flags)
{
	return new_pool_uuid(t, guest, flags, 0, 0);
}

static int destroy_pool(struct test *t, int guest, int pool)
{
	struct tmem_xen_op op = { .cmd = TMEM_XEN_DESTROY_POOL,
				  .pool_id = pool };

	return call(t, guest, &op);
}

struct handle {
	int pool;
	uint64_t oid[3];
	uint32_t index;
};

static int page_op(struct test *t, int guest, uint32_t cmd,
		   const struct handle *handle, uint64_t frame)
{
	struct tmem_xen_op op = { .cmd = cmd, .pool_id = handle->pool };

	memcpy(op.u.gen.oid, handle->oid, sizeof(op.u.gen.oid));
	op.u.gen.index = handle->index;
	op.u.gen.cmfn = frame;
	return call(t, guest, &op);
}

static int put_at(struct test *t, int guest, const struct handle *handle,
		  uint64_t seed)
{
	uint8_t page[TMEM_PAGE_SIZE];

	fill(page, seed);
	t->port->ops->write_frame(t->port, guest, 0, page);
	return page_op(t, guest, TMEM_XEN_PUT_PAGE, handle, 0);
}

/* A hit that brings something else answers 9999. */
static int get_at(struct test *t, int guest, const struct handle *handle,
		  uint64_t seed)
{
	uint8_t page[TMEM_PAGE_SIZE], want[TMEM_PAGE_SIZE];
	int result;

	memset(page, 0xa5, sizeof(page));
	t->port->ops->write_frame(t->port, guest, 1, page);
	result = page_op(t, guest, TMEM_XEN_GET_PAGE, handle, 1);
	t->port->ops->read_frame(t->port, guest, 1, page);
	fill(want, seed);
	if (result != 1)
		memset(want, 0xa5, sizeof(want));
	return memcmp(page, want, sizeof(page)) ? 9999 : result;
}

#define H(p, object, i) (&(struct handle){ p, { object, 7, 9 }, i })

static int put(struct test *t, int guest, int pool, uint32_t index,
	       uint64_t seed)
{
	return put_at(t, guest, H(pool, 1, index), seed);
}

static int get(struct test *t, int guest, int pool, uint32_t index,
	       uint64_t seed)
{
	return get_at(t, guest, H(pool, 1, index), seed);
}

static int flush_page(struct test *t, int guest, int pool, uint32_t index)
{
	return page_op(t, guest, TMEM_XEN_FLUSH_PAGE, H(pool, 1, index), 0);
}

static int flush_object(struct test *t, int guest, int pool, uint64_t object)
{
	return page_op(t, guest, TMEM_XEN_FLUSH_OBJECT, H(pool, object, 0), 0);
}

/* --- pools ---------------------------------------------------------------- */

static void pool_1(struct test *t)
{
	for (int i = 0; i < TMEM_XEN_POOLS_MAX; i++)
		IS(t, new_pool(t, 0, i & 1 ? PERSISTENT : EPHEMERAL), i);
	IS(t, new_pool(t, 0, PERSISTENT), -EPERM);
	IS(t, destroy_pool(t, 0, 11), 1);
	IS(t, destroy_pool(t, 0, 4), 1);
	IS(t, new_pool(t, 0, PERSISTENT), 4);
	IS(t, new_pool(t, 0, EPHEMERAL), 11);
	IS(t, new_pool(t, 0, EPHEMERAL), -EPERM);
	/* Others have their own 16. */
	IS(t, new_pool(t, 1, EPHEMERAL), 0);
}

static void pool_2(struct test *t)
{
	for (uint32_t version = 0; version < 256; version++)
		if (version != TMEM_XEN_SPEC_VERSION)
			IS(t,
			   new_pool(t, 0,
				    version << TMEM_XEN_POOL_VERSION_SHIFT),
			   -EPERM);
	IS(t, new_pool(t, 0, PERSISTENT | TMEM_XEN_POOL_SHARED), -EPERM);
	IS(t, new_pool(t, 0, EPHEMERAL | TMEM_XEN_POOL_PRECOMPRESSED), -EPERM);
	for (uint32_t size = 1; size < 16; size++)
		IS(t,
		   new_pool(t, 0,
			    EPHEMERAL | size << TMEM_XEN_POOL_PAGESIZE_SHIFT),
		   -EPERM);
	for (int bit = 8; bit < 24; bit++)
		IS(t, new_pool(t, 0, EPHEMERAL | UINT32_C(1) << bit), -EPERM);
	/* None of these took a slot; and bit 3 is nobody's. */
	IS(t, new_pool(t, 0, EPHEMERAL | 8), 0);
}

static void pool_3(struct test *t)
{
	static const int numbers[] = { 0, 1, 15, 16, 17, 255, 65536, -1, -16,
				       INT32_MAX, INT32_MIN };

	for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++)
		IS(t, destroy_pool(t, 0, numbers[i]), 0);
	IS(t, new_pool(t, 0, PERSISTENT), 0);
	IS(t, destroy_pool(t, 0, 0), 1);
	IS(t, destroy_pool(t, 0, 0), 0);
}

static void pool_4(struct test *t)
{
	for (int persistent = 0; persistent < 2; persistent++) {
		uint32_t flags = persistent ? PERSISTENT : EPHEMERAL;

		IS(t, new_pool(t, 0, flags), 0);
		IS(t, put(t, 0, 0, 1, 1), 1);
		IS(t, destroy_pool(t, 0, 0), 1);
		IS(t, get(t, 0, 0, 1, 1), -ENODEV);
		IS(t, new_pool(t, 0, flags), 0);
		IS(t, get(t, 0, 0, 1, 1), -TMEM_XEN_EEMPTY);
		IS(t, destroy_pool(t, 0, 0), 1);
	}
}

static void pool_5(struct test *t)
{
	static const int numbers[] = { 1, 15, 16, 17, -1, INT32_MAX,
				       INT32_MIN };
	static const uint32_t cmds[] = { TMEM_XEN_PUT_PAGE, TMEM_XEN_GET_PAGE,
					 TMEM_XEN_FLUSH_PAGE,
					 TMEM_XEN_FLUSH_OBJECT, 99 };

	IS(t, new_pool(t, 0, PERSISTENT), 0);
	for (size_t n = 0; n < sizeof(numbers) / sizeof(*numbers); n++)
		for (size_t c = 0; c < sizeof(cmds) / sizeof(*cmds); c++)
			IS(t, page_op(t, 0, cmds[c], H(numbers[n], 1, 1), 0),
			   -ENODEV);
}

/* --- shared pools --------------------------------------------------------- */

static void shared_1(struct test *t)
{
	for (int guest = 0; guest < 2; guest++)
		IS(t, new_pool_uuid(t, guest, SHARED, 0x1234, 0x5678), 0);
	IS(t, put(t, 0, 0, 1, 1), 1);
	IS(t, get(t, 1, 0, 1, 1), -TMEM_XEN_EEMPTY);
	/* Private pools they are, both. */
	IS(t, get(t, 0, 0, 1, 1), 1);
	IS(t, get(t, 0, 0, 1, 1), -TMEM_XEN_EEMPTY);
}

static void shared_2(struct test *t)
{
	IS(t, new_pool_uuid(t, 0, SHARED, UINT64_MAX, UINT64_MAX), 0);
	IS(t, new_pool_uuid(t, 1, SHARED, UINT64_MAX, UINT64_MAX), 0);
	IS(t, put(t, 0, 0, 1, 1), 1);
	IS(t, get(t, 1, 0, 1, 1), -TMEM_XEN_EEMPTY);
	IS(t, get(t, 0, 0, 1, 1), 1);
	IS(t, get(t, 0, 0, 1, 1), -TMEM_XEN_EEMPTY);
}

static int authorise(struct test *t, int guest, bool is_allowed)
{
	return t->port->ops->authorise(t->port, guest, 0xab, 0xcd, is_allowed);
}

static void shared_3(struct test *t)
{
	HOST(t, authorise(t, 0, true));
	HOST(t, authorise(t, 1, true));
	/* Numbers are each guest's own. */
	IS(t, new_pool(t, 1, PERSISTENT), 0);
	IS(t, new_pool_uuid(t, 0, SHARED, 0xab, 0xcd), 0);
	IS(t, new_pool_uuid(t, 1, SHARED, 0xab, 0xcd), 1);
	IS(t, put(t, 0, 0, 1, 1), 1);
	IS(t, get(t, 1, 1, 1, 1), 1);
	IS(t, get(t, 1, 1, 1, 1), 1);
	IS(t, get(t, 0, 0, 1, 1), 1);
	IS(t, put(t, 1, 1, 1, 2), 1);
	IS(t, get(t, 0, 0, 1, 2), 1);
	IS(t, flush_page(t, 0, 0, 1), 1);
	IS(t, get(t, 1, 1, 1, 2), -TMEM_XEN_EEMPTY);
	/* A guest that was not asked for is not in. */
	IS(t, new_pool_uuid(t, 2, SHARED, 0xab, 0xcd), 0);
	IS(t, put(t, 0, 0, 1, 3), 1);
	IS(t, get(t, 2, 0, 1, 3), -TMEM_XEN_EEMPTY);
	/* Another UUID is another pool. */
	IS(t, new_pool_uuid(t, 1, SHARED, 0xab, 0xce), 2);
	IS(t, get(t, 1, 2, 1, 3), -TMEM_XEN_EEMPTY);
}

static void shared_4(struct test *t)
{
	HOST(t, authorise(t, 0, true));
	HOST(t, authorise(t, 1, true));
	IS(t, new_pool_uuid(t, 0, SHARED, 0xab, 0xcd), 0);
	IS(t, new_pool_uuid(t, 1, SHARED, 0xab, 0xcd), 0);
	IS(t, put(t, 1, 0, 1, 1), 1);
	/* Who leaves first, the one who made it, takes nothing along. */
	IS(t, destroy_pool(t, 0, 0), 1);
	IS(t, get(t, 0, 0, 1, 1), -ENODEV);
	IS(t, get(t, 1, 0, 1, 1), 1);
	IS(t, put(t, 1, 0, 2, 2), 1);
	IS(t, new_pool_uuid(t, 0, SHARED, 0xab, 0xcd), 0);
	IS(t, get(t, 0, 0, 2, 2), 1);
	/* The last one does. */
	IS(t, destroy_pool(t, 0, 0), 1);
	IS(t, destroy_pool(t, 1, 0), 1);
	IS(t, new_pool_uuid(t, 1, SHARED, 0xab, 0xcd), 0);
	IS(t, get(t, 1, 0, 2, 2), -TMEM_XEN_EEMPTY);
}

static void shared_5(struct test *t)
{
	HOST(t, authorise(t, 0, true));
	IS(t, new_pool_uuid(t, 0, SHARED, 0xab, 0xcd), 0);
	IS(t, new_pool_uuid(t, 0, SHARED, 0xab, 0xcd), 1);
	IS(t, put(t, 0, 0, 1, 1), 1);
	IS(t, get(t, 0, 1, 1, 1), 1);
	IS(t, destroy_pool(t, 0, 0), 1);
	IS(t, get(t, 0, 0, 1, 1), -ENODEV);
	IS(t, get(t, 0, 1, 1, 1), 1);
	IS(t, destroy_pool(t, 0, 1), 1);
	IS(t, get(t, 0, 1, 1, 1), -ENODEV);
}

static void shared_6(struct test *t)
{
	HOST(t, authorise(t, 0, true));
	HOST(t, authorise(t, 1, true));
	IS(t, new_pool_uuid(t, 0, SHARED, 0xab, 0xcd), 0);
	IS(t, new_pool_uuid(t, 1, SHARED, 0xab, 0xcd), 0);
	HOST(t, authorise(t, 1, false));
	/* Who is in stays in; who left does not come back. */
	IS(t, put(t, 0, 0, 1, 1), 1);
	IS(t, get(t, 1, 0, 1, 1), 1);
	IS(t, destroy_pool(t, 1, 0), 1);
	IS(t, new_pool_uuid(t, 1, SHARED, 0xab, 0xcd), 0);
	IS(t, get(t, 1, 0, 1, 1), -TMEM_XEN_EEMPTY);
}

/* --- pages ---------------------------------------------------------------- */

static void page_1(struct test *t)
{
	IS(t, new_pool(t, 0, PERSISTENT), 0);
	for (uint32_t i = 0; i < 20; i++)
		IS(t, put(t, 0, 0, i, i), 1);
	for (int times = 0; times < 2; times++)
		for (uint32_t i = 0; i < 20; i++)
			IS(t, get(t, 0, 0, i, i), 1);
}

static void page_2(struct test *t)
{
	IS(t, new_pool(t, 0, EPHEMERAL), 0);
	IS(t, put(t, 0, 0, 1, 1), 1);
	IS(t, put(t, 0, 0, 2, 2), 1);
	IS(t, get(t, 0, 0, 1, 1), 1);
	IS(t, get(t, 0, 0, 1, 1), 0);
	IS(t, get(t, 0, 0, 2, 2), 1);
	IS(t, get(t, 0, 0, 2, 2), -TMEM_XEN_EEMPTY);
}

static void page_3(struct test *t)
{
	for (int pool = 0; pool < 2; pool++) {
		IS(t, new_pool(t, 0, pool ? PERSISTENT : EPHEMERAL), pool);
		for (uint64_t seed = 1; seed < 5; seed++)
			IS(t, put(t, 0, pool, 1, seed), 1);
		IS(t, get(t, 0, pool, 1, 4), 1);
	}
}

static void page_4(struct test *t)
{
	for (int pool = 0; pool < 2; pool++) {
		IS(t, new_pool(t, 0, pool ? PERSISTENT : EPHEMERAL), pool);
		IS(t, get(t, 0, pool, 1, 1), -TMEM_XEN_EEMPTY);
		IS(t, put(t, 0, pool, 1, 1), 1);
		for (int times = 0; times < 3; times++)
			IS(t, get(t, 0, pool, 2, 1), 0);
		IS(t, flush_page(t, 0, pool, 1), 1);
		IS(t, get(t, 0, pool, 1, 1), -TMEM_XEN_EEMPTY);
	}
}

static void page_5(struct test *t)
{
	static const uint64_t words[] = { 0, 1, 256, UINT64_C(1) << 63,
					  UINT64_MAX };
	static const uint32_t indices[] = { 0, 63, 64, 4096, UINT32_MAX };
	uint64_t seed;

	IS(t, new_pool(t, 0, PERSISTENT), 0);
	for (int pass = 0; pass < 2; pass++) {
		seed = 1;
		for (int word = 0; word < 3; word++) {
			for (int i = 1; i < 5; i++) {
				struct handle handle = { 0 };

				handle.oid[word] = words[i];
				handle.index = indices[i];
				IS(t,
				   pass ? get_at(t, 0, &handle, seed) :
					  put_at(t, 0, &handle, seed),
				   1);
				seed++;
			}
		}
		for (int i = 0; i < 5; i++, seed++)
			IS(t,
			   pass ? get(t, 0, 0, indices[i], seed) :
				  put(t, 0, 0, indices[i], seed),
			   1);
	}
}

static void page_6(struct test *t)
{
	IS(t, new_pool(t, 0, PERSISTENT), 0);
	IS(t, new_pool(t, 0, PERSISTENT), 1);
	IS(t, new_pool(t, 1, PERSISTENT), 0);
	IS(t, put(t, 0, 0, 1, 1), 1);
	IS(t, get(t, 0, 1, 1, 1), -TMEM_XEN_EEMPTY);
	IS(t, get(t, 1, 0, 1, 1), -TMEM_XEN_EEMPTY);
	IS(t, flush_page(t, 0, 1, 1), 1);
	IS(t, flush_page(t, 1, 0, 1), 1);
	IS(t, flush_object(t, 1, 0, 1), 1);
	IS(t, get(t, 0, 0, 1, 1), 1);
}

static void page_7(struct test *t)
{
	for (int pool = 0; pool < 2; pool++) {
		IS(t, new_pool(t, 0, pool ? PERSISTENT : EPHEMERAL), pool);
		/* 1, whether anything was there or not. */
		IS(t, flush_page(t, 0, pool, 1), 1);
		IS(t, flush_object(t, 0, pool, 1), 1);
		IS(t, put_at(t, 0, H(pool, 2, 1), 9), 1);
		for (uint32_t i = 0; i < 10; i++)
			IS(t, put(t, 0, pool, i * 1000, i), 1);
		IS(t, flush_page(t, 0, pool, 3000), 1);
		IS(t, get(t, 0, pool, 3000, 3), 0);
		IS(t, flush_object(t, 0, pool, 1), 1);
		for (uint32_t i = 0; i < 10; i++)
			IS(t, get(t, 0, pool, i * 1000, i), 0);
		IS(t, get_at(t, 0, H(pool, 2, 1), 9), 1);
		IS(t, put(t, 0, pool, 5000, 77), 1);
		IS(t, get(t, 0, pool, 5000, 77), 1);
	}
}

static void page_8(struct test *t)
{
	uint8_t zeros[TMEM_PAGE_SIZE] = { 0 }, noise[TMEM_PAGE_SIZE];
	uint8_t page[TMEM_PAGE_SIZE];
	uint64_t state = 88172645463325252;

	for (size_t i = 0; i < sizeof(noise); i++) {
		state ^= state << 13;
		state ^= state >> 7;
		state ^= state << 17;
		noise[i] = (uint8_t)state;
	}
	IS(t, new_pool(t, 0, PERSISTENT), 0);
	t->port->ops->write_frame(t->port, 0, 0, zeros);
	t->port->ops->write_frame(t->port, 0, 1, noise);
	for (uint32_t i = 0; i < 2; i++)
		IS(t, page_op(t, 0, TMEM_XEN_PUT_PAGE, H(0, 1, i), i), 1);
	/* What the guest does with its frames afterwards is its own affair. */
	t->port->ops->write_frame(t->port, 0, 1, zeros);
	for (uint32_t i = 0; i < 2; i++) {
		IS(t, page_op(t, 0, TMEM_XEN_GET_PAGE, H(0, 1, i), 2), 1);
		t->port->ops->read_frame(t->port, 0, 2, page);
		IS(t, memcmp(page, i ? noise : zeros, sizeof(page)), 0);
	}
}

static void page_9(struct test *t)
{
	HOST(t, t->port->ops->evict(t->port));
	IS(t, new_pool(t, 0, EPHEMERAL), 0);
	IS(t, new_pool(t, 0, PERSISTENT), 1);
	IS(t, put(t, 0, 0, 1, 1), 1);
	IS(t, put(t, 0, 1, 1, 1), 1);
	HOST(t, t->port->ops->evict(t->port));
	/* Gone for good, and the other one there. */
	IS(t, get(t, 0, 0, 1, 1), -TMEM_XEN_EEMPTY);
	IS(t, get(t, 0, 0, 1, 1), -TMEM_XEN_EEMPTY);
	IS(t, get(t, 0, 1, 1, 1), 1);
	IS(t, put(t, 0, 0, 1, 2), 1);
	IS(t, get(t, 0, 0, 1, 2), 1);
}

/* --- bad arguments -------------------------------------------------------- */

static void bad_1(struct test *t)
{
	static const uint32_t unknown[] = { TMEM_XEN_NEW_PAGE, TMEM_XEN_READ,
					    TMEM_XEN_WRITE, TMEM_XEN_XCHG, 11,
					    100, 103, UINT32_MAX };
	static const uint32_t privileged[] = { TMEM_XEN_CONTROL, TMEM_XEN_AUTH,
					       TMEM_XEN_RESTORE_NEW };

	IS(t, new_pool(t, 0, PERSISTENT), 0);
	for (size_t i = 0; i < sizeof(unknown) / sizeof(*unknown); i++)
		IS(t, page_op(t, 0, unknown[i], H(0, 1, 1), 0), -ENOSYS);
	for (int pool = -1; pool < 2; pool++)
		for (int i = 0; i < 3; i++)
			IS(t, page_op(t, 0, privileged[i], H(pool, 1, 1), 0),
			   -EOPNOTSUPP);
}

static void bad_2(struct test *t)
{
	static const uint64_t frames[] = { 1000, UINT32_MAX, UINT64_C(1) << 52,
					   UINT64_MAX };
	int count = t->is_compat ? 2 : 4;

	IS(t, new_pool(t, 0, PERSISTENT), 0);
	for (int i = 0; i < count; i++) {
		IS(t, page_op(t, 0, TMEM_XEN_PUT_PAGE, H(0, 1, 1), frames[i]),
		   -EFAULT);
		IS(t, get(t, 0, 0, 1, 1), -TMEM_XEN_EEMPTY);
		IS(t, put(t, 0, 0, 1, 1), 1);
		IS(t, page_op(t, 0, TMEM_XEN_GET_PAGE, H(0, 1, 1), frames[i]),
		   -EFAULT);
		/* It is there still; and absent, the frame is not looked at. */
		IS(t, get(t, 0, 0, 1, 1), 1);
		IS(t, page_op(t, 0, TMEM_XEN_GET_PAGE, H(0, 1, 2), frames[i]),
		   0);
		/* A put that finds no data leaves none. */
		IS(t, page_op(t, 0, TMEM_XEN_PUT_PAGE, H(0, 1, 1), frames[i]),
		   -EFAULT);
		IS(t, get(t, 0, 0, 1, 1), -TMEM_XEN_EEMPTY);
	}
}

static void bad_3(struct test *t)
{
	IS(t, new_pool(t, 0, PERSISTENT), 0);
	HOST(t, t->port->ops->set_frame(t->port, 0, 3, true, false));
	HOST(t, t->port->ops->set_frame(t->port, 0, 4, false, false));
	IS(t, page_op(t, 0, TMEM_XEN_PUT_PAGE, H(0, 1, 3), 3), 1);
	IS(t, page_op(t, 0, TMEM_XEN_GET_PAGE, H(0, 1, 3), 3), -EFAULT);
	IS(t, page_op(t, 0, TMEM_XEN_PUT_PAGE, H(0, 1, 4), 4), -EFAULT);
	IS(t, page_op(t, 0, TMEM_XEN_GET_PAGE, H(0, 1, 3), 4), -EFAULT);
	HOST(t, t->port->ops->set_frame(t->port, 0, 4, true, true));
	IS(t, page_op(t, 0, TMEM_XEN_GET_PAGE, H(0, 1, 3), 4), 1);
}

static void bad_4(struct test *t)
{
	struct tmem_xen_op op = { .cmd = TMEM_XEN_PUT_PAGE };
	uint8_t page[TMEM_PAGE_SIZE];

	IS(t, new_pool(t, 0, PERSISTENT), 0);
	op.u.gen.oid[0] = 1;
	op.u.gen.oid[1] = 7;
	op.u.gen.oid[2] = 9;
	op.u.gen.tmem_offset = UINT32_MAX;
	op.u.gen.pfn_offset = 4095;
	op.u.gen.len = UINT32_MAX;
	fill(page, 5);
	t->port->ops->write_frame(t->port, 0, 0, page);
	IS(t, call(t, 0, &op), 1);
	IS(t, get(t, 0, 0, 0, 5), 1);
}

/* --- freezing ------------------------------------------------------------- */

static int freeze(struct test *t, int guest, bool is_frozen)
{
	return t->port->ops->freeze(t->port, guest, is_frozen);
}

static void frozen_1(struct test *t)
{
	for (int pool = 0; pool < 2; pool++) {
		IS(t, new_pool(t, 0, pool ? PERSISTENT : EPHEMERAL), pool);
		IS(t, put(t, 0, pool, 1, 1), 1);
		HOST(t, freeze(t, 0, true));
		IS(t, put(t, 0, pool, 2, 2), -TMEM_XEN_EFROZEN);
		IS(t, get(t, 0, pool, 2, 2), 0);
		/* What is there may be replaced. */
		IS(t, put(t, 0, pool, 1, 3), 1);
		IS(t, get(t, 0, pool, 1, 3), 1);
		HOST(t, freeze(t, 0, false));
		IS(t, put(t, 0, pool, 2, 2), 1);
	}
}

static void frozen_2(struct test *t)
{
	IS(t, new_pool(t, 0, PERSISTENT), 0);
	for (uint32_t i = 0; i < 3; i++)
		IS(t, put(t, 0, 0, i, i), 1);
	HOST(t, freeze(t, 0, true));
	IS(t, flush_page(t, 0, 0, 1), -TMEM_XEN_EFROZEN);
	IS(t, get(t, 0, 0, 1, 1), 0);
	IS(t, get(t, 0, 0, 0, 0), 1);
	IS(t, flush_object(t, 0, 0, 1), -TMEM_XEN_EFROZEN);
	IS(t, get(t, 0, 0, 0, 0), -TMEM_XEN_EEMPTY);
}

static void frozen_3(struct test *t)
{
	IS(t, new_pool(t, 0, EPHEMERAL), 0);
	IS(t, put(t, 0, 0, 1, 1), 1);
	HOST(t, freeze(t, 0, true));
	IS(t, get(t, 0, 0, 1, 1), 1);
	IS(t, get(t, 0, 0, 1, 1), -TMEM_XEN_EEMPTY);
	IS(t, new_pool(t, 0, PERSISTENT), 1);
	IS(t, put(t, 0, 1, 1, 1), -TMEM_XEN_EFROZEN);
	IS(t, destroy_pool(t, 0, 0), 1);
	/* Others are not. */
	IS(t, new_pool(t, 1, PERSISTENT), 0);
	IS(t, put(t, 1, 0, 1, 1), 1);
}

/* --- guests --------------------------------------------------------------- */

static void guest_1(struct test *t)
{
	IS(t, new_pool(t, 0, PERSISTENT), 0);
	IS(t, put(t, 0, 0, 1, 1), 1);
	IS(t, new_pool(t, 1, PERSISTENT), 0);
	IS(t, put(t, 1, 0, 1, 1), 1);
	HOST(t, t->port->ops->end(t->port, 0));
	IS(t, put(t, 0, 0, 1, 1), -ENODEV);
	IS(t, new_pool(t, 0, PERSISTENT), -ENODEV);
	IS(t, destroy_pool(t, 0, 0), -ENODEV);
	IS(t, page_op(t, 0, 99, H(0, 1, 1), 0), -ENODEV);
	IS(t, get(t, 1, 0, 1, 1), 1);
}

static void guest_2(struct test *t)
{
	HOST(t, authorise(t, 0, true));
	HOST(t, authorise(t, 1, true));
	IS(t, new_pool_uuid(t, 0, SHARED, 0xab, 0xcd), 0);
	IS(t, new_pool_uuid(t, 1, SHARED, 0xab, 0xcd), 0);
	IS(t, put(t, 1, 0, 1, 1), 1);
	HOST(t, t->port->ops->end(t->port, 0));
	IS(t, get(t, 1, 0, 1, 1), 1);
	IS(t, put(t, 1, 0, 2, 2), 1);
	IS(t, get(t, 1, 0, 2, 2), 1);
}

static void guest_3(struct test *t)
{
	/* A 64-bit and a 32-bit guest's structures mean the same. */
	IS(t, new_pool(t, 0, PERSISTENT), 0);
	IS(t, put(t, 0, 0, 1, 1), 1);
	t->is_compat = !t->is_compat;
	IS(t, get(t, 0, 0, 1, 1), 1);
	IS(t, new_pool_uuid(t, 0, SHARED, 1, 2), 1);
	IS(t, put(t, 0, 0, 1, 2), 1);
	t->is_compat = !t->is_compat;
	IS(t, get(t, 0, 0, 1, 2), 1);
	IS(t, destroy_pool(t, 0, 1), 1);
}

/* -------------------------------------------------------------------------- */

#define RULE(name, text) { name, #name, text, false }
/* Plain answers differ: a transport of ours is told what a guest is not. */
#define XENS(name, text) { name, #name, text, true }

static const struct {
	void (*run)(struct test *t);
	const char *name;
	const char *text;
	bool is_xens;
} rules[] = {
	RULE(pool_1, "a guest has 16 pools; the lowest free number is given"),
	RULE(pool_2, "flags that mean nothing are refused"),
	RULE(pool_3, "destroying answers whether there was a pool"),
	RULE(pool_4, "a pool's pages go with it"),
	RULE(pool_5, "what is in no pool is -ENODEV"),
	XENS(shared_1, "not authorised: private, and success"),
	XENS(shared_2, "a UUID of all ones is none"),
	XENS(shared_3, "who is authorised shares, and gets copies"),
	RULE(shared_4, "a shared pool ends with its last member"),
	XENS(shared_5, "a guest may be in twice"),
	XENS(shared_6, "who is in stays in"),
	RULE(page_1, "a persistent page can be had again and again"),
	RULE(page_2, "a get takes a page out of a private ephemeral pool"),
	RULE(page_3, "put, put, get: the second or nothing"),
	RULE(page_4, "a miss lasts until a put; of an empty pool: -EEMPTY"),
	RULE(page_5, "every bit of a handle counts"),
	RULE(page_6, "other pools and other guests are apart"),
	RULE(page_7, "a flush answers 1 and reaches what it names"),
	RULE(page_8, "pages come back byte for byte"),
	RULE(page_9, "ephemeral pages may go, persistent ones do not"),
	XENS(bad_1, "unknown commands, and those that are not a guest's"),
	RULE(bad_2, "frames that the guest does not have"),
	RULE(bad_3, "frames that are read-only, and holes"),
	RULE(bad_4, "offsets and lengths are ignored"),
	XENS(frozen_1, "a frozen guest puts nothing new"),
	RULE(frozen_2, "a flush is carried out, and answers -EFROZEN"),
	RULE(frozen_3, "everything else goes on"),
	RULE(guest_1, "a dying guest gets -ENODEV"),
	RULE(guest_2, "a shared pool outlives who made it"),
	XENS(guest_3, "both layouts mean the same"),
};

#define RULES (sizeof(rules) / sizeof(*rules))

static bool run(const struct conform_port_ops *ops, char *const argument[],
		size_t number)
{
	size_t rule = number % RULES;
	struct test t = {
		.port = ops->open(argument),
		.is_compat = number >= RULES,
	};

	if (!t.port) {
		printf("Bail out! no host\n");
		exit(EXIT_FAILURE);
	}
	if (ops->is_plain && rules[rule].is_xens)
		t.skipped = "plain answers differ";
	else
		rules[rule].run(&t);
	ops->close(t.port);
	printf("%s %zu - %s%s: %s%s%s\n", t.has_failed ? "not ok" : "ok",
	       number + 1, rules[rule].name,
	       number >= RULES ? " (32 bits)" : "",
	       rules[rule].text, t.skipped ? " # SKIP " : "",
	       t.skipped ? t.skipped : "");
	fflush(stdout);
	return !t.has_failed;
}

int main(int argc, char **argv)
{
	const struct conform_port_ops *ops = ports[0];
	bool all = true;
	size_t count;

	if (argc > 1) {
		ops = NULL;
		for (size_t i = 0; i < sizeof(ports) / sizeof(*ports); i++)
			if (!strcmp(ports[i]->name, argv[1]))
				ops = ports[i];
	}
	if (!ops) {
		fprintf(stderr, "usage: conformance [PORT [ARGUMENT...]]\n");
		for (size_t i = 0; i < sizeof(ports) / sizeof(*ports); i++)
			fprintf(stderr, "port: %s\n", ports[i]->name);
		return 2;
	}
	count = ops->has_no_compat ? RULES : 2 * RULES;
	printf("1..%zu\n", count);
	for (size_t i = 0; i < count; i++)
		all &= run(ops, argv + (argc > 1 ? 2 : 1), i);
	return all ? EXIT_SUCCESS : EXIT_FAILURE;
}
