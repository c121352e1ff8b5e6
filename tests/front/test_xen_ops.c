/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A guest's operations: what the conformance suite cannot see from outside
 * (the order of checks, the host's side of a domain, plain answers), and
 * every row of the table of results that needs the host's help.
 */
#include <config.h>

#include <pthread.h>

#include "xen_front.h"
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

static uint64_t global(const char *key)
{
	char text[4096], *at;

	ck_assert_int_eq(tmem_xen_list(rig.xen, TMEM_XEN_ALL_CLIENTS, true,
				       text, sizeof(text)),
			 0);
	at = strstr(text, key);
	ck_assert_ptr_nonnull(at);
	return strtoull(at + strlen(key), NULL, 10);
}

/* --- before an operation is looked at ------------------------------------- */

START_TEST(without_tmem_everything_is_enodev)
{
	struct tm_test_store none;
	struct tmem_xen_config config;
	struct tmem_xen *xen;
	struct rig disabled = { 0 };
	struct guest guest;
	char text[100];

	tm_test_init(&none, 16 * TM_MIB);
	none.config.flags |= TMEM_STORE_DISABLED;
	ck_assert_int_eq(tmem_store_open(&none.config, &none.store), 0);
	tmem_xen_config_init(&config);
	config.store = none.store;
	ck_assert_int_eq(tmem_xen_open(&config, &xen), 0);
	disabled.xen = xen;
	guest_begin(&disabled, &guest, 1);
	ck_assert_int_eq(guest_new_pool(&guest, RIG_EPHEMERAL), -ENODEV);
	/* Before the operation is copied. */
	ck_assert_int_eq(tmem_xen_hypercall(guest.domain, UINT64_MAX, 0),
			 -ENODEV);
	ck_assert_int_eq(rig_control(&disabled, TMEM_XEN_OP_FREEZE, 1, 0),
			 -ENODEV);
	ck_assert_int_eq(tmem_xen_list(xen, 1, false, text, sizeof(text)),
			 -ENODEV);
	guest_end(&guest);
	tmem_xen_close(xen);
	tmem_store_close(none.store);
}
END_TEST

static bool permit_2(void *opaque, uint16_t id)
{
	*(int *)opaque += 1;
	return id == 2;
}

START_TEST(who_is_not_permitted_gets_eperm_and_is_not_counted)
{
	struct tmem_xen_config config;
	struct rig strict = { 0 };
	struct guest one, two;
	char text[256];
	int asked = 0;

	tmem_xen_config_init(&config);
	config.store = rig.t.store;
	config.permit = permit_2;
	config.opaque = &asked;
	ck_assert_int_eq(tmem_xen_open(&config, &strict.xen), 0);
	guest_begin(&strict, &one, 1);
	/* Both rigs use one store: another name. */
	guest_begin(&strict, &two, 2);
	ck_assert_int_eq(tmem_xen_hypercall(one.domain, UINT64_MAX, 0),
			 -EPERM);
	ck_assert_int_eq(guest_new_pool(&one, RIG_EPHEMERAL), -EPERM);
	ck_assert_int_eq(guest_new_pool(&two, RIG_EPHEMERAL), 0);
	ck_assert_int_eq(asked, 3);
	tmem_xen_list(strict.xen, TMEM_XEN_ALL_CLIENTS, false, text,
		      sizeof(text));
	ck_assert_int_eq(strncmp(text, "G=Tt:1,Te:0,", 12), 0);
	guest_end(&one);
	guest_end(&two);
	tmem_xen_close(strict.xen);
}
END_TEST

START_TEST(an_operation_that_cannot_be_copied_is_efault)
{
	struct tmem_xen_op op = { .cmd = TMEM_XEN_NEW_POOL };
	uint64_t end_of_ram = RIG_FRAMES * TMEM_PAGE_SIZE;

	ck_assert_int_eq(tmem_xen_hypercall(a.domain, end_of_ram, 0), -EFAULT);
	ck_assert_int_eq(tmem_xen_hypercall(a.domain, UINT64_MAX, 0), -EFAULT);
	ck_assert_int_eq(tmem_xen_hypercall(a.domain, end_of_ram - 55, 0),
			 -EFAULT);
	/* A 32-bit guest's is shorter by 4 bytes: here it fits. */
	op.u.creat.flags = RIG_EPHEMERAL;
	memcpy(a.ram + end_of_ram - 52, &op, 52);
	ck_assert_int_eq(tmem_xen_hypercall(a.domain, end_of_ram - 52,
					    TMEM_XEN_OP_COMPAT),
			 0);
	ck_assert_int_eq(tmem_xen_hypercall(a.domain, end_of_ram - 52, 0),
			 -EFAULT);
	ck_assert_int_eq(tmem_xen_op(a.domain, &op, sizeof(op) - 1, 0),
			 -EFAULT);
	ck_assert_int_eq(tmem_xen_op(a.domain, NULL, sizeof(op), 0), -EFAULT);
	tmem_xen_domain_set_memory(a.domain, NULL);
	ck_assert_int_eq(tmem_xen_hypercall(a.domain, 0, 0), -EFAULT);
}
END_TEST

START_TEST(operations_are_counted_and_so_are_errors)
{
	uint64_t all = global("Tt:"), errors = global("Te:");

	guest_new_pool(&a, RIG_EPHEMERAL);
	guest_new_pool(&a, 0);
	guest_put(&a, 5, 1, 1, 1);
	guest_put(&a, 0, 1, 1, 1);
	ck_assert_uint_eq(global("Tt:"), all + 4);
	ck_assert_uint_eq(global("Te:"), errors + 2);
	ck_assert_uint_eq(global("Cf:"), 0);
	guest_page_op(&a, TMEM_XEN_PUT_PAGE, 0, 1, 1, 1000);
	ck_assert_uint_eq(global("Cf:"), 1);
}
END_TEST

START_TEST(what_guests_did_that_are_gone_still_counts)
{
	struct guest c;

	guest_begin(&rig, &c, 3);
	guest_new_pool(&c, RIG_EPHEMERAL);
	guest_put(&c, 5, 1, 1, 1);
	guest_page_op(&c, TMEM_XEN_PUT_PAGE, 0, 1, 1, 1000);
	guest_end(&c);
	ck_assert_uint_eq(global("Tt:"), 3);
	ck_assert_uint_eq(global("Te:"), 2);
	ck_assert_uint_eq(global("Cf:"), 1);
}
END_TEST

START_TEST(a_client_is_made_at_the_first_operation_that_needs_it)
{
	char text[100];
	struct tmem_xen_op op = { .cmd = TMEM_XEN_CONTROL };

	ck_assert_int_eq(guest_call(&a, &op), -EOPNOTSUPP);
	ck_assert_int_eq(tmem_xen_list(rig.xen, 1, false, text, sizeof(text)),
			 -EPERM);
	ck_assert_int_eq(guest_get(&a, 0, 1, 1, 1), -ENODEV);
	ck_assert_int_eq(tmem_xen_list(rig.xen, 1, false, text, sizeof(text)),
			 0);
}
END_TEST

START_TEST(a_client_that_cannot_be_made_is_enomem)
{
	/* Somebody is attached to that name. */
	struct tmem_client *other = tm_test_attach(rig.t.store, "domain 1");

	ck_assert_int_eq(guest_new_pool(&a, RIG_EPHEMERAL), -ENOMEM);
	tmem_client_detach(other);
	ck_assert_int_eq(guest_new_pool(&a, RIG_EPHEMERAL), 0);
}
END_TEST

/* --- domains -------------------------------------------------------------- */

START_TEST(a_dying_domain_gets_enodev_and_its_number_is_free)
{
	uint64_t generation = tmem_xen_domain_generation(a.domain);
	struct guest again;

	guest_new_pool(&a, RIG_PERSISTENT);
	guest_put(&a, 0, 1, 1, 1);
	tmem_xen_domain_end(a.domain);
	ck_assert_int_eq(guest_put(&a, 0, 1, 1, 1), -ENODEV);
	ck_assert_int_eq(guest_new_pool(&a, RIG_PERSISTENT), -ENODEV);
	/* Before the operation is copied. */
	ck_assert_int_eq(tmem_xen_hypercall(a.domain, UINT64_MAX, 0), -ENODEV);
	guest_begin(&rig, &again, 1);
	ck_assert_uint_ne(tmem_xen_domain_generation(again.domain),
			  generation);
	/* Nothing is left of the one before. */
	ck_assert_int_eq(guest_get(&again, 0, 1, 1, 1), -ENODEV);
	ck_assert_int_eq(guest_new_pool(&again, RIG_PERSISTENT), 0);
	ck_assert_int_eq(guest_get(&again, 0, 1, 1, 1), -TMEM_XEN_EEMPTY);
	ck_assert_int_eq(guest_put(&a, 0, 1, 1, 1), -ENODEV);
	guest_end(&again);
}
END_TEST

START_TEST(a_number_that_is_taken_is_refused)
{
	struct tmem_xen_domain_config config;
	struct tmem_client_config client;
	struct tmem_xen_domain *domain;

	tmem_client_config_init(&client);
	tmem_xen_domain_config_init(&config);
	config.id = 1;
	ck_assert_int_eq(tmem_xen_domain_create(rig.xen, &config, &domain),
			 -EINVAL);
	config.client_config = &client;
	ck_assert_int_eq(tmem_xen_domain_create(rig.xen, &config, &domain),
			 -EINVAL);
	client.name = "another";
	ck_assert_int_eq(tmem_xen_domain_create(rig.xen, &config, &domain),
			 -EEXIST);
	config.id = 0xffff;
	ck_assert_int_eq(tmem_xen_domain_create(rig.xen, &config, &domain),
			 -EINVAL);
}
END_TEST

START_TEST(a_client_of_the_hosts_own_stays_the_hosts)
{
	struct tmem_xen_domain_config config;
	struct tmem_xen_domain *domain;
	struct tmem_xen_op op = { .cmd = TMEM_XEN_PUT_PAGE };
	int pool = tm_test_pool(rig.t.client, TMEM_POOL_PERSISTENT);

	tmem_xen_domain_config_init(&config);
	config.id = 9;
	config.client = rig.t.client;
	config.memory = a.memory;
	ck_assert_int_eq(tmem_xen_domain_create(rig.xen, &config, &domain), 0);
	op.pool_id = pool;
	ck_assert_int_eq(tmem_xen_op(domain, &op, sizeof(op), 0), 1);
	tmem_xen_domain_end(domain);
	ck_assert_int_eq(tmem_xen_op(domain, &op, sizeof(op), 0), -ENODEV);
	tmem_xen_domain_close(domain);
	ck_assert_int_eq(tm_test_counts(rig.t.client).pages, 1);
}
END_TEST

START_TEST(pages_outlive_a_domain_that_is_only_closed)
{
	guest_new_pool(&a, RIG_PERSISTENT);
	ck_assert_int_eq(guest_put(&a, 0, 1, 1, 7), 1);
	tmem_xen_domain_close(a.domain);
	tmem_guest_memory_destroy(a.memory);
	munmap(a.ram, RIG_FRAMES * TMEM_PAGE_SIZE);
	guest_begin(&rig, &a, 1);
	ck_assert_int_eq(guest_get(&a, 0, 1, 1, 7), 1);
	/* A pool that was there has its number, the next one another. */
	ck_assert_int_eq(guest_new_pool(&a, RIG_EPHEMERAL), 1);
}
END_TEST

START_TEST(persistent_puts_need_room_below_the_maximum)
{
	struct guest c;
	int stored = 0, before;

	guest_begin_at(&rig, &c, 3, 100, 100);
	guest_new_pool(&c, RIG_PERSISTENT);
	guest_new_pool(&c, RIG_EPHEMERAL);
	/* At its maximum it has no room at all, but for what may go. */
	ck_assert_int_eq(guest_put(&c, 0, 1, 1, 1), -ENOMEM);
	ck_assert_int_eq(guest_put(&c, 1, 1, 1, 1), 1);
	/* It balloons down by two pages. */
	tmem_xen_domain_set_pages(c.domain, 98, 100);
	while (guest_put(&c, 0, 1, (uint32_t)stored, 1) == 1)
		stored++;
	ck_assert_int_gt(stored, 0);
	/* Compressed they are, but with their metadata. */
	ck_assert_int_lt(stored, 2 * TMEM_PAGE_SIZE / 48);
	ck_assert_int_eq(guest_put(&c, 0, 1, 1000000, 1), -ENOMEM);
	/* What replaces something of its own size is no growth. */
	ck_assert_int_eq(guest_put(&c, 0, 1, 0, 1), 1);
	before = stored;
	tmem_xen_domain_set_pages(c.domain, 90, 100);
	while (guest_put(&c, 0, 1, (uint32_t)stored, 1) == 1)
		stored++;
	ck_assert_int_gt(stored, 3 * before);
	/* Up again: what is there stays, and nothing more comes in. */
	tmem_xen_domain_set_pages(c.domain, 100, 100);
	ck_assert_int_eq(guest_get(&c, 0, 1, 0, 1), 1);
	ck_assert_int_eq(guest_put(&c, 0, 1, 1000000, 1), -ENOMEM);
	tmem_xen_domain_set_pages(c.domain, 100, TMEM_XEN_PAGES_UNLIMITED);
	ck_assert_int_eq(guest_put(&c, 0, 1, 1000000, 1), 1);
	guest_end(&c);
}
END_TEST

/* --- results -------------------------------------------------------------- */

START_TEST(every_error_of_the_store_has_a_code_of_xen)
{
	static const int codes[] = { -EPERM, -ENOMEM, -EFAULT, -ENODEV,
				     -ENOSPC, -ENOSYS, -EOPNOTSUPP,
				     -TMEM_XEN_EFROZEN };

	for (int err = -4095; err < 0; err++) {
		bool is_known = false;

		for (size_t i = 0; i < sizeof(codes) / sizeof(*codes); i++)
			is_known |= tm_xen_code(err) == codes[i];
		ck_assert_msg(is_known, "%d becomes %d", err,
			      tm_xen_code(err));
	}
	for (int result = 0; result < 16; result++)
		ck_assert_int_eq(tm_xen_code(result), result);
	ck_assert_int_eq(tm_xen_code(-ENOENT), -ENODEV);
	ck_assert_int_eq(tm_xen_code(-EOWNERDEAD), -ENODEV);
	ck_assert_int_eq(tm_xen_code(-EBUSY), -TMEM_XEN_EFROZEN);
	ck_assert_int_eq(tm_xen_code(-EDQUOT), -ENOMEM);
	ck_assert_int_eq(tm_xen_code(-ENOSPC), -ENOSPC);
	ck_assert_int_eq(tm_xen_code(-EBADMSG), -EFAULT);
	ck_assert_int_eq(tm_xen_code(-EACCES), -EPERM);
}
END_TEST

static void fill_up(struct guest *guest, int pool)
{
	struct tmem_oid oid = tm_oid(77);
	struct tmem_xen_op op = { .cmd = TMEM_XEN_PUT_PAGE, .pool_id = pool };
	int result = 1;

	memcpy(op.u.gen.oid, &oid, sizeof(oid));
	for (uint32_t i = 0; result == 1; i++) {
		op.u.gen.index = i;
		tm_page_fill(guest->ram, TM_PAGE_NOISE, i);
		result = guest_call(guest, &op);
	}
	ck_assert_int_eq(result, -ENOMEM);
}

START_TEST(no_memory_is_enomem_and_for_a_page_that_was_there_enospc)
{
	guest_new_pool(&a, RIG_PERSISTENT);
	ck_assert_int_eq(guest_put(&a, 0, 1, 1, 1), 1);
	fill_up(&a, 0);
	ck_assert_int_eq(guest_get(&a, 0, 1, 1, 1), 1);
	/* Text becomes noise, which is larger: there is no room. */
	tm_page_fill(a.ram, TM_PAGE_NOISE, 12345);
	ck_assert_int_eq(guest_page_op(&a, TMEM_XEN_PUT_PAGE, 0, 1, 1, 0),
			 -ENOSPC);
	ck_assert_int_eq(guest_get(&a, 0, 1, 1, 1), 0);
}
END_TEST

START_TEST(a_bad_frame_says_what_xen_says)
{
	uint64_t bad = 1000;

	guest_new_pool(&a, RIG_PERSISTENT);
	ck_assert_int_eq(guest_page_op(&a, TMEM_XEN_PUT_PAGE, 1, 1, 1, bad),
			 -ENODEV);
	ck_assert_int_eq(guest_page_op(&a, TMEM_XEN_GET_PAGE, 0, 1, 1, bad),
			 -TMEM_XEN_EEMPTY);
	ck_assert_int_eq(guest_put(&a, 0, 1, 1, 1), 1);
	ck_assert_int_eq(guest_page_op(&a, TMEM_XEN_GET_PAGE, 0, 1, 2, bad), 0);
	ck_assert_int_eq(guest_page_op(&a, TMEM_XEN_GET_PAGE, 0, 1, 1, bad),
			 -EFAULT);
	ck_assert_int_eq(guest_page_op(&a, TMEM_XEN_PUT_PAGE, 0, 1, 1, bad),
			 -EFAULT);
	ck_assert_int_eq(guest_get(&a, 0, 1, 1, 1), -TMEM_XEN_EEMPTY);
	rig_control(&rig, TMEM_XEN_OP_FREEZE, 1, 0);
	ck_assert_int_eq(guest_page_op(&a, TMEM_XEN_PUT_PAGE, 0, 1, 1, bad),
			 -TMEM_XEN_EFROZEN);
	/* Numbers whose address would overflow. */
	ck_assert_int_eq(guest_page_op(&a, TMEM_XEN_PUT_PAGE, 0, 1, 1,
				       UINT64_C(1) << 52),
			 -TMEM_XEN_EFROZEN);
}
END_TEST

START_TEST(a_frame_of_a_32_bit_guest_has_32_bits)
{
	struct tmem_xen_op op = { .cmd = TMEM_XEN_PUT_PAGE };

	guest_new_pool(&a, RIG_PERSISTENT);
	/* What follows the shorter structure is not part of it. */
	op.u.gen.cmfn = UINT64_C(0xffffffff00000003);
	tm_page_fill(a.ram + 3 * TMEM_PAGE_SIZE, TM_PAGE_TEXT, 9);
	ck_assert_int_eq(guest_call(&a, &op), -EFAULT);
	a.flags = TMEM_XEN_OP_COMPAT;
	ck_assert_int_eq(guest_call(&a, &op), 1);
}
END_TEST

START_TEST(plain_answers_are_those_of_the_store)
{
	struct tmem_xen_op bad = { .cmd = 77 };

	a.flags = b.flags = TMEM_XEN_OP_PLAIN;
	ck_assert_int_eq(guest_new_pool(&a, RIG_PERSISTENT), 0);
	ck_assert_int_eq(guest_get(&a, 0, 1, 1, 1), 0);
	ck_assert_int_eq(guest_get(&a, 1, 1, 1, 1), -ENOENT);
	ck_assert_int_eq(guest_get(&a, 16, 1, 1, 1), -ENOENT);
	ck_assert_int_eq(guest_put(&a, 1, 1, 1, 1), -ENOENT);
	ck_assert_int_eq(guest_put(&a, 0, 1, 1, 1), 1);
	ck_assert_int_eq(guest_put(&a, 0, 1, 1, 2), 1);
	ck_assert_int_eq(guest_flush_page(&a, 0, 1, 2), 0);
	ck_assert_int_eq(guest_flush_page(&a, 0, 1, 1), 1);
	ck_assert_int_eq(guest_flush_object(&a, 0, 1), 0);
	ck_assert_int_eq(guest_page_op(&a, TMEM_XEN_PUT_PAGE, 0, 1, 1, 1000),
			 -EFAULT);
	rig_control(&rig, TMEM_XEN_OP_FREEZE, 1, 0);
	ck_assert_int_eq(guest_put(&a, 0, 1, 1, 1), 0);
	ck_assert_int_eq(guest_flush_page(&a, 0, 1, 1), 0);
	rig_control(&rig, TMEM_XEN_OP_THAW, 1, 0);
	/* Who may not join is told. */
	ck_assert_int_eq(guest_new_pool_uuid(&a, RIG_SHARED, 1, 2), -EACCES);
	ck_assert_int_eq(rig_auth(&rig, 1, 1, 2, true), 1);
	ck_assert_int_eq(guest_new_pool_uuid(&a, RIG_SHARED, 1, 2), 1);
	ck_assert_int_eq(guest_new_pool_uuid(&a, RIG_SHARED, 1, 2), -EEXIST);
	ck_assert_int_eq(guest_new_pool_uuid(&a, RIG_SHARED, 0, 0), -EINVAL);
	ck_assert_int_eq(guest_call(&a, &bad), -ENOSYS);
	ck_assert_int_eq(guest_destroy_pool(&a, 0), 0);
	ck_assert_int_eq(guest_destroy_pool(&a, 0), -ENOENT);
	ck_assert_int_eq(guest_destroy_pool(&a, 16), -ENOENT);
	for (int i = 2; i < 17; i++)
		ck_assert_int_ge(guest_new_pool(&a, RIG_PERSISTENT), 0);
	ck_assert_int_eq(guest_new_pool(&a, RIG_PERSISTENT), -ENOSPC);
}
END_TEST

START_TEST(that_there_is_no_room_is_for_the_authorised_to_know)
{
	const struct tmem_uuid uuid = { { 17, 17 } };

	for (uint64_t i = 1; i <= TMEM_XEN_SHARED_POOLS_MAX; i++) {
		rig_auth(&rig, 1, i, i, true);
		ck_assert_int_ge(guest_new_pool_uuid(&a, RIG_SHARED, i, i), 0);
	}
	ck_assert_int_eq(guest_new_pool_uuid(&b, RIG_SHARED, 17, 17), 0);
	/* A private one: who gets a page takes it. */
	ck_assert_int_eq(guest_put(&b, 0, 1, 1, 1), 1);
	ck_assert_int_eq(guest_get(&b, 0, 1, 1, 1), 1);
	ck_assert_int_eq(guest_get(&b, 0, 1, 1, 1), -TMEM_XEN_EEMPTY);
	b.flags = TMEM_XEN_OP_PLAIN;
	ck_assert_int_eq(guest_new_pool_uuid(&b, RIG_SHARED, 17, 17), -EACCES);
	b.flags = 0;
	/* By the store's owner, and by Xen's. */
	tmem_client_set_shared_auth(b.domain->client, &uuid, true);
	ck_assert_int_eq(guest_new_pool_uuid(&b, RIG_SHARED, 17, 17), -EPERM);
	tmem_client_set_shared_auth(b.domain->client, &uuid, false);
	rig_auth(&rig, 2, 17, 17, true);
	ck_assert_int_eq(guest_new_pool_uuid(&b, RIG_SHARED, 17, 17), -EPERM);
	ck_assert_int_eq(guest_put(&b, 1, 1, 1, 1), -ENODEV);
	ck_assert_int_eq(guest_new_pool(&b, RIG_EPHEMERAL), 1);
	tm_test_check(&rig.t);
}
END_TEST

START_TEST(a_frozen_client_of_a_plain_transport_replaces_nothing)
{
	guest_new_pool(&a, RIG_PERSISTENT);
	guest_put(&a, 0, 1, 1, 1);
	rig_control(&rig, TMEM_XEN_OP_FREEZE, 1, 0);
	a.flags = TMEM_XEN_OP_PLAIN;
	ck_assert_int_eq(guest_put(&a, 0, 1, 1, 2), 0);
	ck_assert_int_eq(guest_get(&a, 0, 1, 1, 2), 0);
}
END_TEST

/* More pages than are reaped along with the flush. */
#define MANY 500

START_TEST(a_pool_is_empty_when_its_last_object_was_flushed)
{
	for (int pool = 0; pool < 2; pool++) {
		guest_new_pool(&a, pool ? RIG_PERSISTENT : RIG_EPHEMERAL);
		for (uint32_t i = 0; i < MANY; i++)
			ck_assert_int_eq(guest_put(&a, pool, 1, i, 1), 1);
		ck_assert_int_eq(guest_put(&a, pool, 2, 1, 1), 1);
		ck_assert_int_eq(guest_flush_object(&a, pool, 1), 1);
		ck_assert_int_eq(guest_get(&a, pool, 1, 1, 1), 0);
		ck_assert_int_eq(guest_flush_page(&a, pool, 2, 1), 1);
		ck_assert_int_eq(guest_get(&a, pool, 1, 1, 1),
				 -TMEM_XEN_EEMPTY);
	}
}
END_TEST

START_TEST(what_was_flushed_makes_room_below_the_maximum_at_once)
{
	struct guest c;
	uint32_t stored = 0;

	guest_begin_at(&rig, &c, 3, 0, 100);
	guest_new_pool(&c, RIG_PERSISTENT);
	while (guest_put(&c, 0, 1, stored, 1) == 1)
		stored++;
	ck_assert_uint_gt(stored, 64);
	ck_assert_int_eq(guest_flush_object(&c, 0, 1), 1);
	for (uint32_t i = 0; i < stored; i++)
		ck_assert_int_eq(guest_put(&c, 0, 1, i, 1), 1);
	ck_assert_int_eq(guest_put(&c, 0, 1, stored, 1), -ENOMEM);
	guest_end(&c);
}
END_TEST

START_TEST(get_and_remove_checks_where_the_page_goes_first)
{
	guest_new_pool(&a, RIG_PERSISTENT);
	guest_put(&a, 0, 1, 1, 1);
	a.flags = TMEM_XEN_OP_REMOVE;
	ck_assert_int_eq(guest_page_op(&a, TMEM_XEN_GET_PAGE, 0, 1, 1, 1000),
			 -EFAULT);
	ck_assert_int_eq(guest_get(&a, 0, 1, 1, 1), 1);
	ck_assert_int_eq(guest_get(&a, 0, 1, 1, 1), -TMEM_XEN_EEMPTY);
}
END_TEST

START_TEST(a_numbered_call_that_is_repeated_gets_its_answer)
{
	struct tmem_xen_domain_config config;
	struct tmem_xen_domain *domain;
	struct tmem_xen_op op = { .cmd = TMEM_XEN_NEW_POOL };

	tmem_xen_domain_config_init(&config);
	config.id = 9;
	config.client = rig.t.client;
	ck_assert_int_eq(tmem_xen_domain_create(rig.xen, &config, &domain), 0);
	op.u.creat.flags = RIG_PERSISTENT;
	for (int i = 0; i < 16; i++) {
		for (int times = 0; times < 2; times++) {
			tmem_client_set_call(rig.t.client, (uint64_t)i + 1);
			ck_assert_int_eq(tmem_xen_op(domain, &op, sizeof(op),
						     TMEM_XEN_OP_PLAIN),
					 i);
		}
	}
	op.cmd = TMEM_XEN_DESTROY_POOL;
	op.pool_id = 3;
	for (int times = 0; times < 2; times++) {
		tmem_client_set_call(rig.t.client, 20);
		ck_assert_int_eq(tmem_xen_op(domain, &op, sizeof(op),
					     TMEM_XEN_OP_PLAIN),
				 0);
	}
	tmem_xen_domain_close(domain);
}
END_TEST

#define rig_add(suite, test, times)                                            \
	rig_add_case(suite, #test, test, times, begin, end)

int main(void)
{
	Suite *suite = suite_create("xen_ops");

	rig_add(suite, without_tmem_everything_is_enodev, 1);
	rig_add(suite, who_is_not_permitted_gets_eperm_and_is_not_counted, 1);
	rig_add(suite, an_operation_that_cannot_be_copied_is_efault, 1);
	rig_add(suite, operations_are_counted_and_so_are_errors, 1);
	rig_add(suite, what_guests_did_that_are_gone_still_counts, 1);
	rig_add(suite,
		a_client_is_made_at_the_first_operation_that_needs_it, 1);
	rig_add(suite, a_client_that_cannot_be_made_is_enomem, 1);
	rig_add(suite, a_dying_domain_gets_enodev_and_its_number_is_free, 1);
	rig_add(suite, a_number_that_is_taken_is_refused, 1);
	rig_add(suite, a_client_of_the_hosts_own_stays_the_hosts, 1);
	rig_add(suite, pages_outlive_a_domain_that_is_only_closed, 1);
	rig_add(suite, persistent_puts_need_room_below_the_maximum, 1);
	rig_add(suite, every_error_of_the_store_has_a_code_of_xen, 1);
	rig_add(suite,
		no_memory_is_enomem_and_for_a_page_that_was_there_enospc, 1);
	rig_add(suite, a_bad_frame_says_what_xen_says, 1);
	rig_add(suite, a_frame_of_a_32_bit_guest_has_32_bits, 1);
	rig_add(suite, plain_answers_are_those_of_the_store, 1);
	rig_add(suite, that_there_is_no_room_is_for_the_authorised_to_know, 1);
	rig_add(suite,
		a_frozen_client_of_a_plain_transport_replaces_nothing, 1);
	rig_add(suite, a_pool_is_empty_when_its_last_object_was_flushed, 1);
	rig_add(suite,
		what_was_flushed_makes_room_below_the_maximum_at_once, 1);
	rig_add(suite, get_and_remove_checks_where_the_page_goes_first, 1);
	rig_add(suite, a_numbered_call_that_is_repeated_gets_its_answer, 1);
	return tm_test_run(suite);
}
