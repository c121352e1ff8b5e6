/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What went wrong in Xen's tmem, and must not here. Names begin with the
 * identifier that doc/deviations.md uses: cve_ the vulnerabilities of XSA-15,
 * h a bug that Xen fixed, l a latent defect of its last version. What has no
 * test here is tested elsewhere or cannot arise: that page says which.
 */
#include <config.h>

#include <pthread.h>

#include "xen_rig.h"

static struct rig rig;
static struct guest a, b;

static void begin(void)
{
	rig_begin(&rig, 16 * TM_MIB);
	guest_begin(&rig, &a, 1);
	guest_begin(&rig, &b, 2);
}

static void end(void)
{
	guest_end(&a);
	guest_end(&b);
	rig_end(&rig);
}

#define BAD_FRAME 1000

/* Nothing is locked, and nothing half done: everything still works. */
static void still_works(struct guest *guest)
{
	int pool = guest_new_pool(guest, RIG_PERSISTENT);

	ck_assert_int_ge(pool, 0);
	ck_assert_int_eq(guest_put(guest, pool, 1, 1, 1), 1);
	ck_assert_int_eq(guest_put(guest, pool, 1, 1, 2), 1);
	ck_assert_int_eq(guest_get(guest, pool, 1, 1, 2), 1);
	ck_assert_int_eq(guest_flush_page(guest, pool, 1, 1), 1);
	ck_assert_int_eq(guest_destroy_pool(guest, pool), 1);
	tm_test_check(&rig.t);
}

START_TEST(cve_6030_operations_that_fail_early_leave_no_lock)
{
	tmem_xen_domain_end(b.domain);
	for (int i = 0; i < 10; i++) {
		ck_assert_int_eq(tmem_xen_hypercall(a.domain, UINT64_MAX, 0),
				 -EFAULT);
		ck_assert_int_eq(guest_new_pool(&b, RIG_PERSISTENT), -ENODEV);
		ck_assert_int_eq(guest_destroy_pool(&b, 0), -ENODEV);
	}
	still_works(&a);
}
END_TEST

START_TEST(cve_6031_a_copy_that_fails_leaves_no_lock)
{
	guest_new_pool(&a, RIG_PERSISTENT);
	guest_put(&a, 0, 1, 1, 1);
	for (int i = 0; i < 10; i++)
		ck_assert_int_eq(guest_page_op(&a, TMEM_XEN_GET_PAGE, 0, 1, 1,
					       BAD_FRAME),
				 -EFAULT);
	ck_assert_int_eq(guest_get(&a, 0, 1, 1, 1), 1);
	ck_assert_int_eq(guest_put(&a, 0, 1, 1, 2), 1);
	still_works(&a);
}
END_TEST

START_TEST(cve_6032_offsets_and_lengths_copy_nothing_else)
{
	struct tmem_xen_op op = { .cmd = TMEM_XEN_PUT_PAGE };

	guest_new_pool(&a, RIG_PERSISTENT);
	op.u.gen.tmem_offset = UINT32_MAX;
	op.u.gen.pfn_offset = UINT32_MAX - 4095;
	op.u.gen.len = UINT32_MAX;
	tm_page_fill(a.ram, TM_PAGE_TEXT, 1);
	ck_assert_int_eq(guest_call(&a, &op), 1);
	memset(a.ram + TMEM_PAGE_SIZE, 0x11, 2 * TMEM_PAGE_SIZE);
	op.cmd = TMEM_XEN_GET_PAGE;
	op.u.gen.cmfn = 1;
	ck_assert_int_eq(guest_call(&a, &op), 1);
	ck_assert_mem_eq(a.ram, a.ram + TMEM_PAGE_SIZE, TMEM_PAGE_SIZE);
	for (size_t i = 0; i < TMEM_PAGE_SIZE; i++)
		ck_assert_int_eq(a.ram[2 * TMEM_PAGE_SIZE + i], 0x11);
}
END_TEST

START_TEST(cve_6033_a_guest_reaches_no_privileged_operation)
{
	static const uint32_t privileged[] = { TMEM_XEN_CONTROL, TMEM_XEN_AUTH,
					       TMEM_XEN_RESTORE_NEW };

	guest_new_pool(&b, RIG_PERSISTENT);
	guest_put(&b, 0, 1, 1, 1);
	/* Whatever is in the rest of it, and whomever it names. */
	for (int i = 0; i < 3; i++) {
		for (uint32_t subop = 0; subop < 40; subop++) {
			struct tmem_xen_op op = { .cmd = privileged[i],
						  .pool_id = (int32_t)subop };
			uint32_t words[4] = { subop, 2, 1, 1 };

			memcpy(&op.u, words, sizeof(words));
			ck_assert_int_eq(guest_call(&a, &op), -EOPNOTSUPP);
		}
	}
	ck_assert_int_eq(guest_put(&b, 0, 1, 1, 2), 1);
	ck_assert_int_eq(guest_get(&b, 0, 1, 1, 2), 1);
}
END_TEST

START_TEST(cve_6035_pool_numbers_out_of_range_are_nobodys)
{
	static const int numbers[] = { 16, 17, -1, -16, INT32_MIN, INT32_MAX,
				       65536, 15 };

	guest_new_pool(&a, RIG_PERSISTENT);
	for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++) {
		ck_assert_int_eq(guest_destroy_pool(&a, numbers[i]), 0);
		for (uint32_t cmd = TMEM_XEN_NEW_PAGE; cmd < 100; cmd++)
			ck_assert_int_eq(guest_page_op(&a, cmd, numbers[i], 1,
						       1, 0),
					 -ENODEV);
	}
	still_works(&a);
}
END_TEST

/* --- bugs that were fixed ------------------------------------------------- */

START_TEST(h1_objects_that_differ_in_one_word_are_different)
{
	static const uint64_t words[] = { 0, 1, 256, UINT64_MAX,
					  UINT64_C(1) << 63 };
	const int n = 5;
	struct tmem_xen_op op = { .cmd = TMEM_XEN_PUT_PAGE };
	int i;

	guest_new_pool(&a, RIG_PERSISTENT);
	for (int pass = 0; pass < 2; pass++) {
		for (i = 0; i < n * n * n; i++) {
			op.u.gen.oid[0] = words[i % n];
			op.u.gen.oid[1] = words[i / n % n];
			op.u.gen.oid[2] = words[i / n / n];
			op.u.gen.cmfn = 0;
			op.cmd = pass ? TMEM_XEN_GET_PAGE : TMEM_XEN_PUT_PAGE;
			memset(a.ram, pass ? 0 : i, TMEM_PAGE_SIZE);
			ck_assert_int_eq(guest_call(&a, &op), 1);
			ck_assert_int_eq(a.ram[99], (uint8_t)i);
		}
	}
}
END_TEST

START_TEST(h3_ending_a_domain_twice_frees_it_once)
{
	guest_new_pool(&a, RIG_PERSISTENT);
	guest_put(&a, 0, 1, 1, 1);
	tmem_xen_domain_end(a.domain);
	tmem_xen_domain_end(a.domain);
	still_works(&b);
}
END_TEST

static int freeable_pages(void)
{
	return (int)(tm_test_stats(rig.t.store).freeable_bytes /
		     TMEM_PAGE_SIZE);
}

START_TEST(h4_h5_what_is_freeable_comes_back_down)
{
	int before;

	guest_new_pool(&a, RIG_EPHEMERAL);
	tmem_store_evict(rig.t.store, UINT64_MAX);
	before = freeable_pages();
	for (int round = 0; round < 5; round++) {
		for (uint32_t i = 0; i < 200; i++)
			guest_put(&a, 0, 1, i, i);
		ck_assert_int_gt(freeable_pages(), before);
		guest_flush_object(&a, 0, 1);
		tm_test_settle(rig.t.store);
		tmem_store_evict(rig.t.store, UINT64_MAX);
		ck_assert_int_le(freeable_pages(), before);
	}
}
END_TEST

/* One guest's processor; what it gets must be one of the results there are. */
static _Atomic bool stop;

struct cpu {
	pthread_t thread;
	struct guest *guest;
	uint64_t frame;		/* this and the next are its own */
	uint64_t seed;
	_Atomic uint64_t calls;
};

static bool is_a_result(int result)
{
	switch (result) {
	case -ENODEV:
	case -EPERM:
	case -ENOMEM:
	case -ENOSPC:
	case -EFAULT:
	case -TMEM_XEN_EEMPTY:
	case -TMEM_XEN_EFROZEN:
		return true;
	}
	return result >= 0 && result < 16;
}

static void *run_cpu(void *argument)
{
	struct cpu *cpu = argument;
	uint64_t random = cpu->seed;

	while (!stop) {
		static const uint32_t cmds[] = { 1, 2, 4, 4, 4, 4,
						 5, 5, 5, 6, 7 };
		struct tmem_xen_op op = { 0 };
		int result;

		op.cmd = cmds[tm_test_random(&random) % 11];
		op.pool_id = (int32_t)(tm_test_random(&random) % 4);
		if (op.cmd == TMEM_XEN_NEW_POOL) {
			op.u.creat.flags =
				RIG_VERSION |
				(uint32_t)(tm_test_random(&random) % 3);
			op.u.creat.uuid[0] = 1 + tm_test_random(&random) % 3;
		} else {
			op.u.gen.oid[0] = tm_test_random(&random) % 8;
			op.u.gen.index =
				(uint32_t)(tm_test_random(&random) % 64);
			op.u.gen.cmfn = cpu->frame;
			tm_page_fill(cpu->guest->ram +
					     cpu->frame * TMEM_PAGE_SIZE,
				     TM_PAGE_HEAP, op.u.gen.index);
		}
		result = tmem_xen_op(cpu->guest->domain, &op, sizeof(op), 0);
		ck_assert_msg(is_a_result(result), "%u: %d", op.cmd, result);
		cpu->calls++;
	}
	return NULL;
}

static void start_cpus(struct cpu *cpus, int count, struct guest *guest,
		       uint64_t seed)
{
	stop = false;
	for (int i = 0; i < count; i++) {
		cpus[i] = (struct cpu){ .guest = guest,
					.frame = (uint64_t)i * 2,
					.seed = seed + (uint64_t)i };
		pthread_create(&cpus[i].thread, NULL, run_cpu, &cpus[i]);
	}
}

static void stop_cpus(struct cpu *cpus, int count)
{
	stop = true;
	for (int i = 0; i < count; i++)
		pthread_join(cpus[i].thread, NULL);
}

static void wait_for_calls(const struct cpu *cpu, uint64_t calls)
{
	while (cpu->calls < calls)
		sched_yield();
}

START_TEST(h6_l1_domains_and_pools_end_under_running_operations)
{
	uint64_t seed = tm_test_seed();
	struct cpu cpus[3];

	for (int round = 0; round < 15; round++) {
		struct guest guest;

		guest_begin(&rig, &guest, 5);
		rig_auth(&rig, 5, 1, 0, true);
		rig_auth(&rig, 5, 2, 0, true);
		start_cpus(cpus, 3, &guest, seed + (uint64_t)round * 8);
		wait_for_calls(&cpus[0], 200);
		for (int i = 0; i < 5; i++) {
			rig_control(&rig, TMEM_XEN_OP_FREEZE, 5, 0);
			rig_control(&rig, TMEM_XEN_OP_SAVE_BEGIN, 5, 1);
			rig_control(&rig, TMEM_XEN_OP_SAVE_END, 5, 0);
			rig_control(&rig, TMEM_XEN_OP_THAW, 0xffff, 0);
			tmem_store_evict(rig.t.store, 16 * TMEM_PAGE_SIZE);
			rig_control(&rig, TMEM_XEN_OP_DESTROY, 5, 0);
		}
		tmem_xen_domain_end(guest.domain);
		wait_for_calls(&cpus[0], cpus[0].calls + 50);
		stop_cpus(cpus, 3);
		guest_end(&guest);
		tm_test_check(&rig.t);
	}
}
END_TEST

struct putter {
	pthread_t thread;
	struct guest *guest;
	uint32_t first;
	uint64_t frame;
};

#define RACE_OBJECTS 300
#define RACE_PAGES 2

static void *put_into_new_objects(void *argument)
{
	struct putter *putter = argument;
	uint8_t *page = putter->guest->ram + putter->frame * TMEM_PAGE_SIZE;

	for (uint64_t object = 0; object < RACE_OBJECTS; object++) {
		for (uint32_t i = 0; i < RACE_PAGES; i++) {
			struct tmem_xen_op op = { .cmd = TMEM_XEN_PUT_PAGE };

			op.u.gen.oid[0] = object;
			op.u.gen.index = putter->first + i;
			op.u.gen.cmfn = putter->frame;
			memset(page, (int)(object + op.u.gen.index),
			       TMEM_PAGE_SIZE);
			ck_assert_int_eq(tmem_xen_op(putter->guest->domain,
						     &op, sizeof(op), 0),
					 1);
		}
	}
	return NULL;
}

START_TEST(h9_l5_two_first_puts_make_one_object)
{
	struct putter putters[3];

	guest_new_pool(&a, RIG_PERSISTENT);
	for (uint32_t i = 0; i < 3; i++) {
		putters[i] = (struct putter){ .guest = &a, .first = i * 8,
					      .frame = i };
		pthread_create(&putters[i].thread, NULL, put_into_new_objects,
			       &putters[i]);
	}
	for (int i = 0; i < 3; i++)
		pthread_join(putters[i].thread, NULL);
	for (uint64_t object = 0; object < RACE_OBJECTS; object++) {
		for (uint32_t i = 0; i < 3 * RACE_PAGES; i++) {
			struct tmem_xen_op op = { .cmd = TMEM_XEN_GET_PAGE };

			op.u.gen.oid[0] = object;
			op.u.gen.index = i / RACE_PAGES * 8 + i % RACE_PAGES;
			ck_assert_int_eq(guest_call(&a, &op), 1);
			ck_assert_int_eq(a.ram[9],
					 (uint8_t)(object + op.u.gen.index));
		}
	}
	ck_assert_uint_eq(tm_test_stats(rig.t.store).objects, RACE_OBJECTS);
	tm_test_check(&rig.t);
}
END_TEST

START_TEST(h16_l7_one_guest_joins_twice_and_leaves_in_any_order)
{
	bool first_leaves_first = _i & 1, b_is_in = _i & 2;
	int leaves = first_leaves_first ? 0 : 2;
	int stays = first_leaves_first ? 2 : 0;

	rig_auth(&rig, 1, 7, 7, true);
	rig_auth(&rig, 2, 7, 7, true);
	ck_assert_int_eq(guest_new_pool_uuid(&a, RIG_SHARED, 7, 7), 0);
	ck_assert_int_eq(guest_new_pool(&a, RIG_EPHEMERAL), 1);
	ck_assert_int_eq(guest_new_pool_uuid(&a, RIG_SHARED, 7, 7), 2);
	if (b_is_in)
		ck_assert_int_eq(guest_new_pool_uuid(&b, RIG_SHARED, 7, 7), 0);
	ck_assert_int_eq(guest_put(&a, 0, 1, 1, 1), 1);
	ck_assert_int_eq(guest_put(&a, 1, 1, 1, 5), 1);
	ck_assert_int_eq(guest_get(&a, 2, 1, 1, 1), 1);
	/* One way in is left: the pool stays, and what is in it. */
	ck_assert_int_eq(guest_destroy_pool(&a, leaves), 1);
	ck_assert_int_eq(guest_destroy_pool(&a, leaves), 0);
	ck_assert_int_eq(guest_get(&a, leaves, 1, 1, 1), -ENODEV);
	ck_assert_int_eq(guest_put(&a, leaves, 1, 1, 1), -ENODEV);
	ck_assert_int_eq(guest_get(&a, stays, 1, 1, 1), 1);
	/* Another pool may come meanwhile, and is another. */
	ck_assert_int_ge(guest_new_pool(&a, RIG_PERSISTENT), 2);
	ck_assert_int_eq(guest_destroy_pool(&a, stays), 1);
	ck_assert_int_eq(guest_get(&a, stays, 1, 1, 1), -ENODEV);
	if (b_is_in) {
		ck_assert_int_eq(guest_get(&b, 0, 1, 1, 1), 1);
		ck_assert_int_eq(guest_put(&b, 0, 1, 2, 1), 1);
	}
	/* Its other pool has nothing to do with it. */
	ck_assert_int_eq(guest_get(&a, 1, 1, 1, 5), 1);
	tmem_store_evict(rig.t.store, UINT64_MAX);
	tm_test_check(&rig.t);
	/* Both of its slots are free again. */
	ck_assert_int_eq(guest_new_pool_uuid(&a, RIG_SHARED, 7, 7), 0);
	if (b_is_in)
		ck_assert_int_eq(guest_destroy_pool(&b, 0), 1);
}
END_TEST

START_TEST(h17_a_guest_authorises_nobody)
{
	struct tmem_xen_op op = { .cmd = TMEM_XEN_AUTH, .pool_id = 1 };

	op.u.creat.uuid[0] = op.u.creat.uuid[1] = 7;
	for (op.u.creat.arg1 = 0; op.u.creat.arg1 < 3; op.u.creat.arg1++)
		ck_assert_int_eq(guest_call(&a, &op), -EOPNOTSUPP);
	op.u.creat.arg1 = 0xffff;
	ck_assert_int_eq(guest_call(&a, &op), -EOPNOTSUPP);
	rig_auth(&rig, 2, 7, 7, true);
	guest_new_pool_uuid(&b, RIG_SHARED, 7, 7);
	guest_put(&b, 0, 1, 1, 1);
	guest_new_pool_uuid(&a, RIG_SHARED, 7, 7);
	ck_assert_int_eq(guest_get(&a, 0, 1, 1, 1), -TMEM_XEN_EEMPTY);
}
END_TEST

START_TEST(h18_knowing_the_uuid_is_not_enough)
{
	char text[1024];

	ck_assert_int_eq(guest_new_pool_uuid(&a, RIG_SHARED, 7, 7), 0);
	ck_assert_int_eq(guest_new_pool_uuid(&b, RIG_SHARED, 7, 7), 0);
	guest_put(&a, 0, 1, 1, 1);
	ck_assert_int_eq(guest_get(&b, 0, 1, 1, 1), -TMEM_XEN_EEMPTY);
	/* It is private: a get takes the page out. */
	ck_assert_int_eq(guest_get(&a, 0, 1, 1, 1), 1);
	ck_assert_int_eq(guest_get(&a, 0, 1, 1, 1), -TMEM_XEN_EEMPTY);
	tmem_xen_list(rig.xen, 0xffff, false, text, sizeof(text));
	ck_assert_ptr_null(strstr(text, "S="));
	ck_assert_ptr_nonnull(strstr(text, "PT:EP"));
}
END_TEST

START_TEST(h21_a_frame_may_go_while_it_is_copied)
{
	uint64_t seed = tm_test_seed();
	struct cpu cpus[2];

	start_cpus(cpus, 2, &a, seed);
	wait_for_calls(&cpus[0], 100);
	for (int i = 0; i < 500; i++) {
		tmem_guest_memory_remove(a.memory, 0, 4);
		tmem_guest_memory_add(a.memory, 0, 4, a.ram, i & 1);
	}
	stop_cpus(cpus, 2);
	tm_test_check(&rig.t);
}
END_TEST

/* --- latent defects ------------------------------------------------------- */

START_TEST(l2_a_page_that_could_not_be_delivered_is_gone_for_good)
{
	guest_new_pool(&a, RIG_EPHEMERAL);
	guest_put(&a, 0, 1, 1, 1);
	guest_put(&a, 0, 1, 2, 2);
	ck_assert_int_eq(guest_page_op(&a, TMEM_XEN_GET_PAGE, 0, 1, 1,
				       BAD_FRAME),
			 -EFAULT);
	ck_assert_int_eq(guest_get(&a, 0, 1, 1, 1), 0);
	tm_test_check(&rig.t);
	/* A newer page there is not taken for it when something is evicted. */
	ck_assert_int_eq(guest_put(&a, 0, 1, 1, 3), 1);
	tm_test_check(&rig.t);
	ck_assert_int_eq(guest_get(&a, 0, 1, 1, 3), 1);
	tmem_store_evict(rig.t.store, UINT64_MAX);
	ck_assert_int_eq(guest_get(&a, 0, 1, 1, 1), -TMEM_XEN_EEMPTY);
}
END_TEST

START_TEST(l3_partial_and_empty_pages_cannot_be_asked_for)
{
	static const uint32_t cmds[] = { TMEM_XEN_NEW_PAGE, TMEM_XEN_READ,
					 TMEM_XEN_WRITE, TMEM_XEN_XCHG };

	guest_new_pool(&a, RIG_PERSISTENT);
	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(guest_page_op(&a, cmds[i], 0, 1, 1, 0),
				 -ENOSYS);
	ck_assert_int_eq(guest_get(&a, 0, 1, 1, 1), -TMEM_XEN_EEMPTY);
}
END_TEST

START_TEST(l4_a_pool_that_could_not_be_made_leaves_its_slot_free)
{
	for (uint64_t i = 1; i <= 16; i++) {
		ck_assert_int_eq(rig_auth(&rig, 1, i, i, true), 1);
		ck_assert_int_eq(guest_new_pool_uuid(&a, RIG_SHARED, i, i),
				 (int)i - 1);
	}
	/* All 16 slots that there are for everybody are taken. */
	rig_auth(&rig, 2, 17, 17, true);
	rig_auth(&rig, 2, 3, 3, true);
	ck_assert_int_eq(guest_new_pool_uuid(&b, RIG_SHARED, 17, 17), -EPERM);
	ck_assert_int_eq(guest_put(&b, 0, 1, 1, 1), -ENODEV);
	ck_assert_int_eq(guest_destroy_pool(&b, 0), 0);
	/* One can be joined, and one that became free be had. */
	ck_assert_int_eq(guest_new_pool_uuid(&b, RIG_SHARED, 3, 3), 0);
	ck_assert_int_eq(guest_destroy_pool(&a, 7), 1);
	ck_assert_int_eq(guest_new_pool_uuid(&b, RIG_SHARED, 17, 17), 1);
	ck_assert_int_eq(guest_new_pool(&a, RIG_EPHEMERAL), 7);
	ck_assert_int_eq(guest_new_pool(&a, RIG_EPHEMERAL), -EPERM);
}
END_TEST

START_TEST(l6_l8_a_pool_whose_sharer_left_can_be_evicted)
{
	bool owner_leaves = _i;
	struct guest *leaver = owner_leaves ? &a : &b;
	struct guest *stayer = owner_leaves ? &b : &a;

	rig_auth(&rig, 1, 7, 7, true);
	rig_auth(&rig, 2, 7, 7, true);
	guest_new_pool_uuid(&a, RIG_SHARED, 7, 7);
	guest_new_pool_uuid(&b, RIG_SHARED, 7, 7);
	for (uint32_t i = 0; i < 50; i++) {
		guest_put(&a, 0, 1, i, i);
		guest_put(&b, 0, 2, i, i);
	}
	ck_assert_int_eq(guest_destroy_pool(leaver, 0), 1);
	guest_end(leaver);
	guest_begin(&rig, leaver, owner_leaves ? 1 : 2);
	ck_assert_int_eq(guest_get(stayer, 0, owner_leaves ? 2 : 1, 5, 5), 1);
	ck_assert_int_eq(guest_put(stayer, 0, 3, 1, 1), 1);
	tm_test_check(&rig.t);
	tmem_store_evict(rig.t.store, UINT64_MAX);
	ck_assert_int_eq(guest_get(stayer, 0, 3, 1, 1), -TMEM_XEN_EEMPTY);
	ck_assert_uint_eq(tm_test_stats(rig.t.store).counts.pages, 0);
	tm_test_check(&rig.t);
}
END_TEST

START_TEST(l9_a_dying_domain_gets_no_client)
{
	char text[100];

	tmem_xen_domain_end(a.domain);
	ck_assert_int_eq(guest_new_pool(&a, RIG_PERSISTENT), -ENODEV);
	ck_assert_int_eq(guest_put(&a, 0, 1, 1, 1), -ENODEV);
	ck_assert_int_eq(rig_control(&rig, TMEM_XEN_OP_RESTORE_BEGIN, 1, 0),
			 -ENOMEM);
	ck_assert_int_eq(tmem_xen_list(rig.xen, 1, false, text, sizeof(text)),
			 -EPERM);
}
END_TEST

START_TEST(l10_all_may_be_let_in_at_once)
{
	ck_assert_int_eq(rig_auth(&rig, 0xffff, 0, 0, true), 1);
	ck_assert_int_eq(guest_new_pool_uuid(&a, RIG_SHARED, 7, 7), 0);
	ck_assert_int_eq(guest_new_pool_uuid(&b, RIG_SHARED, 7, 7), 0);
	guest_put(&a, 0, 1, 1, 1);
	ck_assert_int_eq(guest_get(&b, 0, 1, 1, 1), 1);
	ck_assert_int_eq(rig_auth(&rig, 0xffff, 0, 0, false), 1);
	guest_destroy_pool(&b, 0);
	guest_new_pool_uuid(&b, RIG_SHARED, 7, 7);
	ck_assert_int_eq(guest_get(&b, 0, 1, 1, 1), -TMEM_XEN_EEMPTY);
}
END_TEST

START_TEST(l11_one_deauthorisation_undoes_two_authorisations)
{
	ck_assert_int_eq(rig_auth(&rig, 1, 7, 7, true), 1);
	ck_assert_int_eq(rig_auth(&rig, 1, 7, 7, true), 1);
	ck_assert_int_eq(rig_auth(&rig, 2, 7, 7, true), 1);
	ck_assert_int_eq(rig_auth(&rig, 1, 7, 7, false), 1);
	guest_new_pool_uuid(&a, RIG_SHARED, 7, 7);
	guest_new_pool_uuid(&b, RIG_SHARED, 7, 7);
	guest_put(&b, 0, 1, 1, 1);
	ck_assert_int_eq(guest_get(&a, 0, 1, 1, 1), -TMEM_XEN_EEMPTY);
	/* What is no UUID is not authorised with success. */
	ck_assert_int_eq(rig_auth(&rig, 1, UINT64_MAX, UINT64_MAX, true),
			 -EINVAL);
	ck_assert_int_eq(rig_auth(&rig, 1, 0, 0, true), -EINVAL);
}
END_TEST

START_TEST(l12_no_room_for_pools_means_none_is_written)
{
	uint8_t buffer[64];

	guest_new_pool(&a, RIG_PERSISTENT);
	memset(buffer, 0x55, sizeof(buffer));
	ck_assert_int_eq(rig_control_buffer(&rig, TMEM_XEN_OP_GET_POOLS, 1,
					    buffer, 0),
			 0);
	for (size_t i = 0; i < sizeof(buffer); i++)
		ck_assert_int_eq(buffer[i], 0x55);
}
END_TEST

START_TEST(l16_destroy_destroys)
{
	rig_auth(&rig, 1, 7, 7, true);
	guest_new_pool(&a, RIG_PERSISTENT);
	guest_new_pool_uuid(&a, RIG_SHARED, 7, 7);
	guest_new_pool_uuid(&a, RIG_SHARED, 7, 7);
	guest_put(&a, 0, 1, 1, 1);
	guest_put(&a, 1, 1, 1, 1);
	ck_assert_int_eq(rig_control(&rig, TMEM_XEN_OP_DESTROY, 1, 0), 0);
	for (int pool = 0; pool < 3; pool++)
		ck_assert_int_eq(guest_get(&a, pool, 1, 1, 1), -ENODEV);
	ck_assert_uint_eq(tm_test_stats(rig.t.store).counts.pages, 0);
	ck_assert_int_eq(guest_new_pool(&a, RIG_PERSISTENT), 0);
}
END_TEST

START_TEST(l17_a_pool_that_ends_while_it_migrates_leaks_nothing)
{
	struct tmem_handle handle;
	struct tmem_xen_sysctl next = {
		.cmd = TMEM_XEN_OP_SAVE_GET_NEXT_INV,
		.cli_id = 1,
		.len = sizeof(handle),
		.buffer = (uintptr_t)&handle,
	};

	guest_new_pool(&a, RIG_PERSISTENT);
	for (uint32_t i = 0; i < 5; i++)
		guest_put(&a, 0, 1, i, i);
	rig_control(&rig, TMEM_XEN_OP_SAVE_BEGIN, 1, 1);
	ck_assert_int_eq(guest_destroy_pool(&a, 0), 1);
	for (int i = 0; i < 5; i++)
		ck_assert_int_eq(tmem_xen_control(rig.xen, &next), 1);
	ck_assert_int_eq(tmem_xen_control(rig.xen, &next), 0);
	rig_control(&rig, TMEM_XEN_OP_SAVE_END, 1, 0);
	ck_assert_uint_eq(tm_test_stats(rig.t.store).counts.pages, 0);
	tm_test_check(&rig.t);
}
END_TEST

START_TEST(l20_objects_of_one_page_make_way)
{
	guest_new_pool(&a, RIG_EPHEMERAL);
	for (uint64_t object = 0; object < 8000; object++) {
		tm_page_fill(a.ram, TM_PAGE_NOISE, object);
		ck_assert_int_eq(guest_page_op(&a, TMEM_XEN_PUT_PAGE, 0,
					       object, 0, 0),
				 1);
	}
	ck_assert_uint_gt(tm_test_stats(rig.t.store).counts.evicted, 1000);
}
END_TEST

#define rig_add(suite, test, times)                                            \
	rig_add_case(suite, #test, test, times, begin, end)

int main(void)
{
	Suite *suite = suite_create("xen_history");

	rig_add(suite, cve_6030_operations_that_fail_early_leave_no_lock, 1);
	rig_add(suite, cve_6031_a_copy_that_fails_leaves_no_lock, 1);
	rig_add(suite, cve_6032_offsets_and_lengths_copy_nothing_else, 1);
	rig_add(suite, cve_6033_a_guest_reaches_no_privileged_operation, 1);
	rig_add(suite, cve_6035_pool_numbers_out_of_range_are_nobodys, 1);
	rig_add(suite, h1_objects_that_differ_in_one_word_are_different, 1);
	rig_add(suite, h3_ending_a_domain_twice_frees_it_once, 1);
	rig_add(suite, h4_h5_what_is_freeable_comes_back_down, 1);
	rig_add(suite, h6_l1_domains_and_pools_end_under_running_operations, 1);
	rig_add(suite, h9_l5_two_first_puts_make_one_object, 1);
	rig_add(suite, h16_l7_one_guest_joins_twice_and_leaves_in_any_order, 4);
	rig_add(suite, h17_a_guest_authorises_nobody, 1);
	rig_add(suite, h18_knowing_the_uuid_is_not_enough, 1);
	rig_add(suite, h21_a_frame_may_go_while_it_is_copied, 1);
	rig_add(suite,
		l2_a_page_that_could_not_be_delivered_is_gone_for_good, 1);
	rig_add(suite, l3_partial_and_empty_pages_cannot_be_asked_for, 1);
	rig_add(suite,
		l4_a_pool_that_could_not_be_made_leaves_its_slot_free, 1);
	rig_add(suite, l6_l8_a_pool_whose_sharer_left_can_be_evicted, 2);
	rig_add(suite, l9_a_dying_domain_gets_no_client, 1);
	rig_add(suite, l10_all_may_be_let_in_at_once, 1);
	rig_add(suite, l11_one_deauthorisation_undoes_two_authorisations, 1);
	rig_add(suite, l12_no_room_for_pools_means_none_is_written, 1);
	rig_add(suite, l16_destroy_destroys, 1);
	rig_add(suite, l17_a_pool_that_ends_while_it_migrates_leaks_nothing, 1);
	rig_add(suite, l20_objects_of_one_page_make_way, 1);
	return tm_test_run(suite);
}
