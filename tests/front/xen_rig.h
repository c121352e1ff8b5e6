/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Xen guests to test with: a store, a front end, and domains with some frames
 * of memory each. A guest's operation is written to the last of its frames and
 * called from there, as a guest does it.
 */
#ifndef TM_XEN_RIG_H
#define TM_XEN_RIG_H

#include <string.h>
#include <sys/mman.h>

#include <tmem/xen.h>

#include "test_store.h"

#define RIG_FRAMES 16
#define RIG_OP_FRAME (RIG_FRAMES - 1)
#define RIG_VERSION                                                            \
	((uint32_t)TMEM_XEN_SPEC_VERSION << TMEM_XEN_POOL_VERSION_SHIFT)
#define RIG_PERSISTENT (RIG_VERSION | TMEM_XEN_POOL_PERSIST)
#define RIG_EPHEMERAL RIG_VERSION
#define RIG_SHARED (RIG_VERSION | TMEM_XEN_POOL_SHARED)

struct rig {
	struct tm_test_store t;
	struct tmem_xen *xen;
};

struct guest {
	struct tmem_xen_domain *domain;
	struct tmem_guest_memory *memory;
	uint8_t *ram;		/* RIG_FRAMES frames from frame 0 */
	uint32_t flags;		/* of its operations */
};

static inline void rig_begin(struct rig *rig, uint64_t memory_bytes)
{
	struct tmem_xen_config config;

	tm_test_begin(&rig->t, memory_bytes);
	tmem_xen_config_init(&config);
	config.store = rig->t.store;
	ck_assert_int_eq(tmem_xen_open(&config, &rig->xen), 0);
}

static inline void rig_end(struct rig *rig)
{
	tmem_xen_close(rig->xen);
	tm_test_end(&rig->t);
}

static inline void guest_begin_at(struct rig *rig, struct guest *guest,
				  uint16_t id, uint64_t pages,
				  uint64_t pages_max)
{
	struct tmem_xen_domain_config config;
	struct tmem_client_config client;
	char name[16];

	memset(guest, 0, sizeof(*guest));
	guest->ram = mmap(NULL, RIG_FRAMES * TMEM_PAGE_SIZE,
			  PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			  -1, 0);
	ck_assert_ptr_ne(guest->ram, MAP_FAILED);
	ck_assert_int_eq(tmem_guest_memory_create(&guest->memory), 0);
	ck_assert_int_eq(tmem_guest_memory_add(guest->memory, 0, RIG_FRAMES,
					       guest->ram, true),
			 0);
	snprintf(name, sizeof(name), "domain %u", id);
	tmem_client_config_init(&client);
	client.name = name;
	tmem_xen_domain_config_init(&config);
	config.id = id;
	config.client_config = &client;
	config.memory = guest->memory;
	config.pages = pages;
	config.pages_max = pages_max;
	ck_assert_int_eq(tmem_xen_domain_create(rig->xen, &config,
						&guest->domain),
			 0);
}

static inline void guest_begin(struct rig *rig, struct guest *guest,
			       uint16_t id)
{
	guest_begin_at(rig, guest, id, 0, TMEM_XEN_PAGES_UNLIMITED);
}

/* The guest is gone, with all it had. */
static inline void guest_end(struct guest *guest)
{
	tmem_xen_domain_end(guest->domain);
	tmem_xen_domain_close(guest->domain);
	tmem_guest_memory_destroy(guest->memory);
	munmap(guest->ram, RIG_FRAMES * TMEM_PAGE_SIZE);
}

static inline int guest_call(struct guest *guest, const struct tmem_xen_op *op)
{
	memcpy(guest->ram + RIG_OP_FRAME * TMEM_PAGE_SIZE, op, sizeof(*op));
	return tmem_xen_hypercall(guest->domain, RIG_OP_FRAME * TMEM_PAGE_SIZE,
				  guest->flags);
}

static inline int guest_new_pool_uuid(struct guest *guest, uint32_t flags,
				      uint64_t low, uint64_t high)
{
	struct tmem_xen_op op = { .cmd = TMEM_XEN_NEW_POOL };

	op.u.creat.flags = flags;
	op.u.creat.uuid[0] = low;
	op.u.creat.uuid[1] = high;
	return guest_call(guest, &op);
}

static inline int guest_new_pool(struct guest *guest, uint32_t flags)
{
	return guest_new_pool_uuid(guest, flags, 0, 0);
}

static inline int guest_destroy_pool(struct guest *guest, int pool)
{
	struct tmem_xen_op op = { .cmd = TMEM_XEN_DESTROY_POOL };

	op.pool_id = pool;
	return guest_call(guest, &op);
}

static inline int guest_page_op(struct guest *guest, uint32_t cmd, int pool,
				uint64_t object, uint32_t index,
				uint64_t frame)
{
	struct tmem_xen_op op = { .cmd = cmd, .pool_id = pool };
	struct tmem_oid oid = tm_oid(object);

	memcpy(op.u.gen.oid, &oid, sizeof(oid));
	op.u.gen.index = index;
	op.u.gen.cmfn = frame;
	return guest_call(guest, &op);
}

static inline int guest_put(struct guest *guest, int pool, uint64_t object,
			    uint32_t index, uint64_t number)
{
	tm_page_fill(guest->ram, TM_PAGE_TEXT, number);
	return guest_page_op(guest, TMEM_XEN_PUT_PAGE, pool, object, index, 0);
}

/* A hit must bring page @number. */
static inline int guest_get(struct guest *guest, int pool, uint64_t object,
			    uint32_t index, uint64_t number)
{
	uint8_t want[TMEM_PAGE_SIZE];
	int result;

	memset(guest->ram + TMEM_PAGE_SIZE, 0xa5, TMEM_PAGE_SIZE);
	result = guest_page_op(guest, TMEM_XEN_GET_PAGE, pool, object, index,
			       1);
	if (result == 1) {
		tm_page_fill(want, TM_PAGE_TEXT, number);
		ck_assert_msg(!memcmp(guest->ram + TMEM_PAGE_SIZE, want,
				      sizeof(want)),
			      "not what was put");
	}
	return result;
}

static inline int guest_flush_page(struct guest *guest, int pool,
				   uint64_t object, uint32_t index)
{
	return guest_page_op(guest, TMEM_XEN_FLUSH_PAGE, pool, object, index,
			     0);
}

static inline int guest_flush_object(struct guest *guest, int pool,
				     uint64_t object)
{
	return guest_page_op(guest, TMEM_XEN_FLUSH_OBJECT, pool, object, 0, 0);
}

static inline int rig_control(struct rig *rig, uint32_t cmd, uint32_t cli_id,
			      uint32_t arg)
{
	struct tmem_xen_sysctl op = { .cmd = cmd, .cli_id = cli_id,
				      .arg = arg };

	return tmem_xen_control(rig->xen, &op);
}

static inline int rig_control_buffer(struct rig *rig, uint32_t cmd,
				     uint32_t cli_id, void *buffer,
				     size_t size)
{
	struct tmem_xen_sysctl op = { .cmd = cmd, .cli_id = cli_id };

	op.len = (uint32_t)size;
	op.buffer = (uintptr_t)buffer;
	return tmem_xen_control(rig->xen, &op);
}

static inline int rig_auth(struct rig *rig, uint32_t cli_id, uint64_t low,
			   uint64_t high, bool is_allowed)
{
	struct tmem_xen_pool_info info = {
		.flags = is_allowed ? TMEM_XEN_POOL_AUTH : 0,
		.uuid = { low, high },
	};

	return rig_control_buffer(rig, TMEM_XEN_OP_SET_AUTH, cli_id, &info,
				  sizeof(info));
}

/* A test case of its own, @times over, so that it can be run alone. */
static inline void rig_add_case(Suite *suite, const char *name,
				const TTest *test, int times,
				void (*begin)(void), void (*end)(void))
{
	TCase *tcase = tcase_create(name);

	tcase_set_timeout(tcase, 120);
	tcase_add_checked_fixture(tcase, begin, end);
	tcase_add_loop_test(tcase, test, 0, times);
	suite_add_tcase(suite, tcase);
}

#endif
