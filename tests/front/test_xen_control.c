/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The privileged operations: every row of their table of errors, saving and
 * restoring, and the text of the list.
 */
#include <config.h>

#include <tmem/save.h>

#include "xen_rig.h"

static struct rig rig, other;
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

static int control(struct rig *on, struct tmem_xen_sysctl op)
{
	return tmem_xen_control(on->xen, &op);
}

#define CONTROL(...) control(&rig, (struct tmem_xen_sysctl){ __VA_ARGS__ })
#define ADDRESS(what) ((uintptr_t)(what))

/* --- rows of the table ---------------------------------------------------- */

START_TEST(unknown_operations_and_padding_are_refused)
{
	for (uint32_t cmd = 0; cmd < 300; cmd++) {
		if (cmd <= 11 || (cmd >= 19 && cmd <= 21) || cmd == 30 ||
		    cmd == 32 || cmd == 33)
			continue;
		ck_assert_int_eq(rig_control(&rig, cmd, 1, 0), -EPERM);
	}
	ck_assert_int_eq(CONTROL(.cmd = TMEM_XEN_OP_FREEZE, .pad = 1), -EINVAL);
}
END_TEST

START_TEST(freeze_and_thaw_want_a_client_or_all)
{
	ck_assert_int_eq(rig_control(&rig, TMEM_XEN_OP_FREEZE, 1, 0), -EPERM);
	ck_assert_int_eq(rig_control(&rig, TMEM_XEN_OP_THAW, 7, 0), -EPERM);
	ck_assert_int_eq(rig_control(&rig, TMEM_XEN_OP_DESTROY, 7, 0), -EPERM);
	guest_new_pool(&a, RIG_PERSISTENT);
	guest_new_pool(&b, RIG_PERSISTENT);
	ck_assert_int_eq(rig_control(&rig, TMEM_XEN_OP_FREEZE, 1, 0), 0);
	ck_assert_int_eq(guest_put(&a, 0, 1, 1, 1), -TMEM_XEN_EFROZEN);
	ck_assert_int_eq(guest_put(&b, 0, 1, 1, 1), 1);
	/* xl's -1 means all as well: 16 bits count. */
	ck_assert_int_eq(rig_control(&rig, TMEM_XEN_OP_FREEZE, UINT32_MAX, 0),
			 0);
	ck_assert_int_eq(guest_put(&b, 0, 1, 2, 1), -TMEM_XEN_EFROZEN);
	ck_assert_int_eq(rig_control(&rig, TMEM_XEN_OP_THAW,
				     TMEM_XEN_ALL_CLIENTS, 0),
			 0);
	ck_assert_int_eq(guest_put(&a, 0, 1, 1, 1), 1);
	ck_assert_int_eq(guest_put(&b, 0, 1, 2, 1), 1);
}
END_TEST

START_TEST(flush_is_for_all_and_answers_kib)
{
	int freeable, kib;

	guest_new_pool(&a, RIG_EPHEMERAL);
	guest_new_pool(&a, RIG_PERSISTENT);
	for (uint32_t i = 0; i < 500; i++) {
		tm_page_fill(a.ram, TM_PAGE_NOISE, i);
		guest_page_op(&a, TMEM_XEN_PUT_PAGE, 0, 1, i, 0);
	}
	ck_assert_int_eq(guest_put(&a, 1, 1, 1, 1), 1);
	freeable = rig_control(&rig, TMEM_XEN_OP_QUERY_FREEABLE_MB, 0, 0);
	ck_assert_int_ge(freeable, 1);
	ck_assert_int_eq(rig_control(&rig, TMEM_XEN_OP_FLUSH, 1, 100), -EPERM);
	kib = rig_control(&rig, TMEM_XEN_OP_FLUSH, TMEM_XEN_ALL_CLIENTS, 1000);
	ck_assert_int_ge(kib, 1000);
	kib = rig_control(&rig, TMEM_XEN_OP_FLUSH, TMEM_XEN_ALL_CLIENTS,
			  UINT32_MAX);
	ck_assert_int_ge(kib, 0);
	ck_assert_int_eq(guest_get(&a, 0, 1, 1, 1), -TMEM_XEN_EEMPTY);
	ck_assert_int_eq(guest_get(&a, 1, 1, 1, 1), 1);
}
END_TEST

START_TEST(client_info_is_read_and_set)
{
	struct tmem_xen_client_info info = { 0 };

	/* Nobody: a generic record. */
	ck_assert_int_eq(rig_control_buffer(&rig, TMEM_XEN_OP_GET_CLIENT_INFO,
					    0xffff, &info, sizeof(info)),
			 0);
	ck_assert_uint_eq(info.version, 1);
	ck_assert_uint_eq(info.maxpools, 16);
	ck_assert_uint_eq(info.nr_pools | info.flags | info.weight, 0);
	ck_assert_int_eq(rig_control_buffer(&rig, TMEM_XEN_OP_GET_CLIENT_INFO,
					    1, NULL, 0),
			 -EFAULT);
	ck_assert_int_eq(rig_control_buffer(&rig, TMEM_XEN_OP_SET_CLIENT_INFO,
					    1, NULL, 0),
			 -EFAULT);
	ck_assert_int_eq(rig_control_buffer(&rig, TMEM_XEN_OP_SET_CLIENT_INFO,
					    1, &info, sizeof(info)),
			 -ENOENT);
	guest_new_pool(&a, RIG_PERSISTENT);
	info.weight = 300;
	info.flags = 0;
	/* Only weight and compress are taken. */
	info.nr_pools = 9;
	ck_assert_int_eq(rig_control_buffer(&rig, TMEM_XEN_OP_SET_CLIENT_INFO,
					    1, &info, sizeof(info)),
			 0);
	rig_control(&rig, TMEM_XEN_OP_FREEZE, 1, 0);
	ck_assert_int_eq(rig_control_buffer(&rig, TMEM_XEN_OP_GET_CLIENT_INFO,
					    1, &info, sizeof(info)),
			 0);
	ck_assert_uint_eq(info.weight, 300);
	ck_assert_uint_eq(info.nr_pools, 1);
	ck_assert_uint_eq(info.flags, TMEM_XEN_CLIENT_IS_FROZEN);
	info.version = 2;
	ck_assert_int_eq(rig_control_buffer(&rig, TMEM_XEN_OP_SET_CLIENT_INFO,
					    1, &info, sizeof(info)),
			 -EOPNOTSUPP);
	info.version = 1;
	info.maxpools = 17;
	ck_assert_int_eq(rig_control_buffer(&rig, TMEM_XEN_OP_SET_CLIENT_INFO,
					    1, &info, sizeof(info)),
			 -ERANGE);
}
END_TEST

START_TEST(a_client_that_does_not_compress_keeps_pages_as_they_are)
{
	struct tmem_xen_client_info info = { .version = 1, .maxpools = 16 };
	char text[1024];

	guest_new_pool(&a, RIG_PERSISTENT);
	rig_control_buffer(&rig, TMEM_XEN_OP_SET_CLIENT_INFO, 1, &info,
			   sizeof(info));
	ck_assert_int_eq(guest_put(&a, 0, 1, 1, 1), 1);
	tmem_xen_list(rig.xen, 1, true, text, sizeof(text));
	ck_assert_ptr_nonnull(strstr(text, ",co:0,"));
	ck_assert_ptr_nonnull(strstr(text, ",cp:0,cb:0,cn:1,cm:0"));
	info.flags = TMEM_XEN_CLIENT_COMPRESSES;
	rig_control_buffer(&rig, TMEM_XEN_OP_SET_CLIENT_INFO, 0xffff, &info,
			   sizeof(info));
	ck_assert_int_eq(guest_put(&a, 0, 1, 2, 1), 1);
	tmem_xen_list(rig.xen, 1, true, text, sizeof(text));
	ck_assert_ptr_nonnull(strstr(text, ",co:1,"));
	ck_assert_ptr_nonnull(strstr(text, ",cp:1,"));
	/* Pages stay as they were stored. */
	ck_assert_ptr_nonnull(strstr(text, ",cn:1,"));
}
END_TEST

START_TEST(pools_are_read_and_set)
{
	struct tmem_xen_pool_info infos[17] = { 0 };
	const size_t one = sizeof(infos[0]);

	for (int set = 0; set < 2; set++) {
		uint32_t cmd = set ? TMEM_XEN_OP_SET_POOLS :
				     TMEM_XEN_OP_GET_POOLS;

		ck_assert_int_eq(rig_control_buffer(&rig, cmd, 1, infos,
						    one + 1),
				 -EINVAL);
		ck_assert_int_eq(rig_control_buffer(&rig, cmd, 1, infos,
						    17 * one),
				 -E2BIG);
		ck_assert_int_eq(rig_control_buffer(&rig, cmd, 1, NULL, one),
				 -EINVAL);
	}
	ck_assert_int_eq(rig_control_buffer(&rig, TMEM_XEN_OP_GET_POOLS, 1,
					    infos, one),
			 -EINVAL);
	ck_assert_int_eq(rig_control_buffer(&rig, TMEM_XEN_OP_SET_POOLS, 9,
					    infos, one),
			 -ENOMEM);
	infos[0] = (struct tmem_xen_pool_info){ RIG_PERSISTENT, 5, 1, { 0 } };
	ck_assert_int_eq(rig_control_buffer(&rig, TMEM_XEN_OP_SET_POOLS, 1,
					    infos, one),
			 -EINVAL);
	infos[0].n_pages = 0;
	infos[1] = (struct tmem_xen_pool_info){ RIG_EPHEMERAL, 0, 0, { 0 } };
	ck_assert_int_eq(rig_control_buffer(&rig, TMEM_XEN_OP_SET_POOLS, 1,
					    infos, 2 * one),
			 2);
	ck_assert_uint_eq(infos[0].id, 5);
	ck_assert_int_eq(rig_control_buffer(&rig, TMEM_XEN_OP_SET_POOLS, 1,
					    infos, one),
			 -EPERM);
	infos[0].id = 16;
	ck_assert_int_eq(rig_control_buffer(&rig, TMEM_XEN_OP_SET_POOLS, 1,
					    infos, one),
			 -EPERM);
	ck_assert_int_eq(guest_put(&a, 5, 1, 1, 1), 1);
	ck_assert_int_eq(rig_control_buffer(&rig, TMEM_XEN_OP_GET_POOLS, 1,
					    infos, 16 * one),
			 2);
	ck_assert_uint_eq(infos[0].id, 0);
	ck_assert_uint_eq(infos[0].flags, RIG_EPHEMERAL);
	ck_assert_uint_eq(infos[1].id, 5);
	ck_assert_uint_eq(infos[1].flags, RIG_PERSISTENT);
	ck_assert_uint_eq(infos[1].n_pages, 1);
	ck_assert_int_eq(guest_new_pool(&a, RIG_EPHEMERAL), 1);
}
END_TEST

START_TEST(authorisations_are_counted_and_limited)
{
	struct tmem_xen_pool_info infos[3] = {
		{ TMEM_XEN_POOL_AUTH, 0, 0, { 1, 0 } },
		{ TMEM_XEN_POOL_AUTH, 0, 0, { 2, 0 } },
		{ TMEM_XEN_POOL_AUTH, 0, 0, { 3, 0 } },
	};

	ck_assert_int_eq(rig_control_buffer(&rig, TMEM_XEN_OP_SET_AUTH, 1,
					    infos, sizeof(infos)),
			 3);
	ck_assert_int_eq(rig_control_buffer(&rig, TMEM_XEN_OP_SET_AUTH, 1,
					    infos, 7),
			 -EINVAL);
	ck_assert_int_eq(rig_auth(&rig, 9, 1, 1, true), -ENOMEM);
	for (uint64_t i = 4; i <= 16; i++)
		ck_assert_int_eq(rig_auth(&rig, 1, i, 0, true), 1);
	ck_assert_int_eq(rig_auth(&rig, 1, 17, 0, true), -ENOMEM);
	/* One that is there needs no room. */
	ck_assert_int_eq(rig_auth(&rig, 1, 16, 0, true), 1);
	ck_assert_int_eq(rig_auth(&rig, 1, 5, 0, false), 1);
	ck_assert_int_eq(rig_auth(&rig, 1, 17, 0, true), 1);
}
END_TEST

/* --- save and restore ----------------------------------------------------- */

struct record {
	struct tmem_handle handle;
	uint8_t page[TMEM_PAGE_SIZE];
};

static int next_page(int pool, struct record *record)
{
	return CONTROL(.cmd = TMEM_XEN_OP_SAVE_GET_NEXT_PAGE, .cli_id = 1,
		       .pool_id = pool, .len = sizeof(*record),
		       .buffer = ADDRESS(record));
}

static int next_invalidation(struct tmem_handle *handle)
{
	return CONTROL(.cmd = TMEM_XEN_OP_SAVE_GET_NEXT_INV, .cli_id = 1,
		       .len = sizeof(*handle), .buffer = ADDRESS(handle));
}

static int restore_page(struct rig *to, const struct record *record)
{
	return control(to, (struct tmem_xen_sysctl){
				   .cmd = TMEM_XEN_OP_RESTORE_PUT_PAGE,
				   .cli_id = 1,
				   .pool_id = (int32_t)record->handle.pool,
				   .len = TMEM_PAGE_SIZE,
				   .arg = record->handle.index,
				   .oid = { record->handle.oid.word[0],
					    record->handle.oid.word[1],
					    record->handle.oid.word[2] },
				   .buffer = ADDRESS(record->page) });
}

static int restore_flush(struct rig *to, const struct tmem_handle *handle)
{
	return control(to, (struct tmem_xen_sysctl){
				   .cmd = TMEM_XEN_OP_RESTORE_FLUSH_PAGE,
				   .cli_id = 1,
				   .pool_id = (int32_t)handle->pool,
				   .arg = handle->index,
				   .oid = { handle->oid.word[0],
					    handle->oid.word[1],
					    handle->oid.word[2] } });
}

static int copy_pages(struct rig *to, int pool)
{
	struct record record;
	int result, pages = 0;

	while ((result = next_page(pool, &record)) == 1) {
		ck_assert_int_eq(restore_page(to, &record), 1);
		pages++;
	}
	ck_assert_int_eq(result, -EPERM);
	return pages;
}

static struct guest target;

static void begin_target(void)
{
	struct tmem_xen_pool_info infos[16];
	int pools;

	rig_begin(&other, 16 * TM_MIB);
	guest_begin(&other, &target, 1);
	ck_assert_int_eq(rig_control(&other, TMEM_XEN_OP_RESTORE_BEGIN, 1, 0),
			 0);
	pools = rig_control_buffer(&rig, TMEM_XEN_OP_GET_POOLS, 1, infos,
				   sizeof(infos));
	for (int i = 0; i < pools; i++)
		infos[i].n_pages = 0;
	ck_assert_int_eq(rig_control_buffer(&other, TMEM_XEN_OP_SET_POOLS, 1,
					    infos,
					    (size_t)pools * sizeof(*infos)),
			 pools);
}

static void end_target(void)
{
	guest_end(&target);
	rig_end(&other);
}

START_TEST(every_page_is_saved_and_restored)
{
	static const int counts[] = { 0, 1, 2, 100 };
	int count = counts[_i];

	guest_new_pool(&a, RIG_EPHEMERAL);
	guest_new_pool(&a, RIG_PERSISTENT);
	guest_put(&a, 0, 1, 1, 1);
	for (int i = 0; i < count; i++)
		guest_put(&a, 1, (uint64_t)i / 10, (uint32_t)i, (uint64_t)i);
	ck_assert_int_eq(rig_control(&rig, TMEM_XEN_OP_SAVE_BEGIN, 1, 0), 0);
	begin_target();
	ck_assert_int_eq(copy_pages(&other, 1), count);
	ck_assert_int_eq(rig_control(&rig, TMEM_XEN_OP_SAVE_END, 1, 0), 0);
	for (int i = 0; i < count; i++)
		ck_assert_int_eq(guest_get(&target, 1, (uint64_t)i / 10,
					   (uint32_t)i, (uint64_t)i),
				 1);
	end_target();
	/* The source goes on, and can be saved again. */
	ck_assert_int_eq(guest_put(&a, 1, 99, 1, 1), 1);
	ck_assert_int_eq(rig_control(&rig, TMEM_XEN_OP_SAVE_BEGIN, 1, 0), 0);
	begin_target();
	ck_assert_int_eq(copy_pages(&other, 1), count + 1);
	end_target();
	ck_assert_int_eq(rig_control(&rig, TMEM_XEN_OP_SAVE_END, 1, 0), 0);
}
END_TEST

START_TEST(incompressible_pages_and_duplicates_are_restored)
{
	struct record record;

	guest_new_pool(&a, RIG_PERSISTENT);
	tm_page_fill(a.ram, TM_PAGE_NOISE, 1);
	guest_page_op(&a, TMEM_XEN_PUT_PAGE, 0, 1, 1, 0);
	rig_control(&rig, TMEM_XEN_OP_SAVE_BEGIN, 1, 0);
	begin_target();
	ck_assert_int_eq(next_page(0, &record), 1);
	ck_assert_int_eq(restore_page(&other, &record), 1);
	/* The page comes from the buffer this time, too. */
	tm_page_fill(record.page, TM_PAGE_TEXT, 5);
	ck_assert_int_eq(restore_page(&other, &record), 1);
	ck_assert_int_eq(guest_get(&target, 0, 1, 1, 5), 1);
	end_target();
	rig_control(&rig, TMEM_XEN_OP_SAVE_END, 1, 0);
}
END_TEST

START_TEST(what_goes_while_it_is_copied_is_told_once)
{
	struct tmem_handle handle;
	struct record record;

	guest_new_pool(&a, RIG_PERSISTENT);
	guest_new_pool(&a, RIG_EPHEMERAL);
	for (uint32_t i = 0; i < 10; i++)
		guest_put(&a, 0, 1, i, i);
	guest_put(&a, 1, 1, 1, 1);
	ck_assert_int_eq(rig_control(&rig, TMEM_XEN_OP_SAVE_BEGIN, 1, 1), 0);
	ck_assert_int_eq(next_invalidation(&handle), 0);
	begin_target();
	/* The first page, the one that the cursor is at, and the last. */
	ck_assert_int_eq(next_page(0, &record), 1);
	ck_assert_int_eq(restore_page(&other, &record), 1);
	ck_assert_int_eq(guest_flush_page(&a, 0, 1, 0), -TMEM_XEN_EFROZEN);
	ck_assert_int_eq(guest_flush_page(&a, 0, 1, 1), -TMEM_XEN_EFROZEN);
	ck_assert_int_eq(guest_flush_page(&a, 0, 1, 9), -TMEM_XEN_EFROZEN);
	/* A page that is there is flushed instead of replaced. */
	ck_assert_int_eq(guest_put(&a, 0, 1, 5, 99), -ENOSPC);
	ck_assert_int_eq(guest_put(&a, 0, 1, 20, 99), -TMEM_XEN_EFROZEN);
	/* What is ephemeral is nobody's business. */
	ck_assert_int_eq(guest_flush_page(&a, 1, 1, 1), -TMEM_XEN_EFROZEN);
	while (next_page(0, &record) == 1)
		ck_assert_int_eq(restore_page(&other, &record), 1);
	for (int i = 0; i < 4; i++) {
		ck_assert_int_eq(next_invalidation(&handle), 1);
		ck_assert_uint_eq(handle.pool, 0);
		ck_assert_int_eq(restore_flush(&other, &handle), 1);
	}
	ck_assert_int_eq(next_invalidation(&handle), 0);
	ck_assert_int_eq(rig_control(&rig, TMEM_XEN_OP_SAVE_END, 1, 0), 0);
	for (uint32_t i = 0; i < 10; i++) {
		bool is_gone = i == 0 || i == 1 || i == 5 || i == 9;

		ck_assert_int_eq(guest_get(&target, 0, 1, i, i), !is_gone);
	}
	end_target();
}
END_TEST

START_TEST(save_errors)
{
	struct tmem_handle handle;
	struct record record;

	ck_assert_int_eq(rig_control(&rig, TMEM_XEN_OP_SAVE_BEGIN, 9, 0),
			 -ENOENT);
	ck_assert_int_eq(rig_control(&rig, TMEM_XEN_OP_SAVE_BEGIN, 1, 0),
			 -ENOENT);
	ck_assert_int_eq(rig_control(&rig, TMEM_XEN_OP_SAVE_END, 1, 0),
			 -ENOENT);
	ck_assert_int_eq(rig_control(&rig, TMEM_XEN_OP_SAVE_END, 9, 0),
			 -ENOENT);
	ck_assert_int_eq(next_invalidation(&handle), 0);
	ck_assert_int_eq(next_page(0, &record), -EPERM);
	guest_new_pool(&a, RIG_PERSISTENT);
	guest_destroy_pool(&a, 0);
	ck_assert_int_eq(rig_control(&rig, TMEM_XEN_OP_SAVE_BEGIN, 1, 0),
			 -ENOENT);
	guest_new_pool(&a, RIG_EPHEMERAL);
	guest_new_pool(&a, RIG_PERSISTENT);
	guest_put(&a, 1, 1, 1, 1);
	ck_assert_int_eq(rig_control(&rig, TMEM_XEN_OP_SAVE_BEGIN, 1, 1), 0);
	ck_assert_int_eq(rig_control(&rig, TMEM_XEN_OP_SAVE_BEGIN, 1, 1),
			 -EBUSY);
	ck_assert_int_eq(next_page(0, &record), -EPERM);
	ck_assert_int_eq(next_page(-1, &record), -EPERM);
	ck_assert_int_eq(next_page(16, &record), -EPERM);
	ck_assert_int_eq(next_page(INT32_MIN, &record), -EPERM);
	ck_assert_int_eq(CONTROL(.cmd = TMEM_XEN_OP_SAVE_GET_NEXT_PAGE,
				 .cli_id = 1, .pool_id = 1,
				 .len = sizeof(record) - 1,
				 .buffer = ADDRESS(&record)),
			 -ENOMEM);
	ck_assert_int_eq(CONTROL(.cmd = TMEM_XEN_OP_SAVE_GET_NEXT_PAGE,
				 .cli_id = 1, .pool_id = 1,
				 .len = sizeof(record)),
			 -EFAULT);
	ck_assert_int_eq(CONTROL(.cmd = TMEM_XEN_OP_SAVE_GET_NEXT_INV,
				 .cli_id = 1, .len = 31,
				 .buffer = ADDRESS(&handle)),
			 0);
	/* None of these moved the cursor. */
	ck_assert_int_eq(next_page(1, &record), 1);
	ck_assert_int_eq(next_page(1, &record), -EPERM);
	ck_assert_int_eq(rig_control(&rig, TMEM_XEN_OP_SAVE_END, 1, 0), 0);
	ck_assert_int_eq(rig_control(&rig, TMEM_XEN_OP_SAVE_END, 1, 0), 0);
}
END_TEST

START_TEST(restore_errors)
{
	struct record record = { .handle = { .pool = 0, .index = 1 } };

	ck_assert_int_eq(rig_control(&rig, TMEM_XEN_OP_RESTORE_BEGIN, 9, 0),
			 -ENOMEM);
	ck_assert_int_eq(restore_page(&rig, &record), -EPERM);
	ck_assert_int_eq(restore_flush(&rig, &record.handle), -EPERM);
	ck_assert_int_eq(rig_control(&rig, TMEM_XEN_OP_RESTORE_BEGIN, 1, 0),
			 0);
	ck_assert_int_eq(rig_control(&rig, TMEM_XEN_OP_RESTORE_BEGIN, 1, 0),
			 -EEXIST);
	ck_assert_int_eq(restore_page(&rig, &record), -EPERM);
	guest_new_pool(&a, RIG_PERSISTENT);
	ck_assert_int_eq(restore_page(&rig, &record), 1);
	ck_assert_int_eq(restore_flush(&rig, &record.handle), 1);
	/* Frozen it is carried out, too, and is no error. */
	rig_control(&rig, TMEM_XEN_OP_FREEZE, 1, 0);
	ck_assert_int_eq(restore_flush(&rig, &record.handle), 1);
	record.handle.pool = UINT32_MAX;
	ck_assert_int_eq(restore_page(&rig, &record), -EPERM);
	ck_assert_int_eq(restore_flush(&rig, &record.handle), -EPERM);
	ck_assert_int_eq(CONTROL(.cmd = TMEM_XEN_OP_RESTORE_PUT_PAGE,
				 .cli_id = 1, .len = 4095,
				 .buffer = ADDRESS(record.page)),
			 -EINVAL);
	ck_assert_int_eq(CONTROL(.cmd = TMEM_XEN_OP_RESTORE_PUT_PAGE,
				 .cli_id = 1, .len = 4096),
			 -EFAULT);
}
END_TEST

START_TEST(who_was_frozen_before_a_save_is_frozen_after_it)
{
	struct tmem_xen_client_info info;
	bool frozen = _i & 1, changes = _i & 2;

	guest_new_pool(&a, RIG_PERSISTENT);
	rig_control(&rig, frozen ? TMEM_XEN_OP_FREEZE : TMEM_XEN_OP_THAW, 1,
		    0);
	rig_control(&rig, TMEM_XEN_OP_SAVE_BEGIN, 1, 1);
	/* What is saved is what it was, not what saving does to it. */
	rig_control_buffer(&rig, TMEM_XEN_OP_GET_CLIENT_INFO, 1, &info,
			   sizeof(info));
	ck_assert_uint_eq(info.flags,
			  (frozen ? TMEM_XEN_CLIENT_IS_FROZEN : 0) |
				  TMEM_XEN_CLIENT_COMPRESSES |
				  TMEM_XEN_CLIENT_MIGRATES);
	if (changes) {
		frozen = !frozen;
		ck_assert_int_eq(rig_control(&rig,
					     frozen ? TMEM_XEN_OP_FREEZE :
						      TMEM_XEN_OP_THAW,
					     0xffff, 0),
				 0);
	}
	ck_assert_int_eq(guest_put(&a, 0, 1, 1, 1), -TMEM_XEN_EFROZEN);
	rig_control(&rig, TMEM_XEN_OP_SAVE_END, 1, 0);
	ck_assert_int_eq(guest_put(&a, 0, 1, 1, 1),
			 frozen ? -TMEM_XEN_EFROZEN : 1);
}
END_TEST

/* A domain whose client is somebody's besides, who freezes it himself. */
static struct tmem_xen_domain *borrow_client(uint16_t id)
{
	struct tmem_xen_domain_config config;
	struct tmem_xen_domain *domain;

	tm_test_pool(rig.t.client, TMEM_POOL_PERSISTENT);
	tmem_xen_domain_config_init(&config);
	config.id = id;
	config.client = rig.t.client;
	ck_assert_int_eq(tmem_xen_domain_create(rig.xen, &config, &domain), 0);
	return domain;
}

static bool says_frozen(uint32_t cli_id)
{
	struct tmem_xen_client_info info;

	rig_control_buffer(&rig, TMEM_XEN_OP_GET_CLIENT_INFO, cli_id, &info,
			   sizeof(info));
	return info.flags & TMEM_XEN_CLIENT_IS_FROZEN;
}

START_TEST(who_is_frozen_by_its_owner_while_it_is_saved_stays_frozen)
{
	struct tmem_xen_domain *domain = borrow_client(3);
	struct tmem_client *client = rig.t.client;
	bool thaws = _i;

	ck_assert_int_eq(rig_control(&rig, TMEM_XEN_OP_SAVE_BEGIN, 3, 1), 0);
	ck_assert(!says_frozen(3));
	ck_assert_int_eq(tmem_client_set_frozen(client, true), 0);
	ck_assert(says_frozen(3));
	ck_assert_int_eq(tmem_client_set_frozen(client, false), -EBUSY);
	/* Of a freeze and a thaw the last one counts, whoever says them. */
	if (thaws)
		ck_assert_int_eq(rig_control(&rig, TMEM_XEN_OP_THAW, 3, 0), 0);
	ck_assert_int_eq(tmem_client_is_frozen(client), 1);
	ck_assert_int_eq(rig_control(&rig, TMEM_XEN_OP_SAVE_END, 3, 0), 0);
	ck_assert_int_eq(tmem_client_is_frozen(client), !thaws);
	tmem_xen_domain_close(domain);
}
END_TEST

START_TEST(a_save_that_cannot_begin_freezes_nobody)
{
	struct tmem_xen_domain *domain = borrow_client(3);
	struct tmem_save *save;

	ck_assert_int_eq(tmem_save_open(rig.t.client, 0, &save), 0);
	ck_assert_int_eq(rig_control(&rig, TMEM_XEN_OP_SAVE_BEGIN, 3, 1),
			 -EBUSY);
	ck_assert_int_eq(rig_control(&rig, TMEM_XEN_OP_SAVE_END, 3, 0), 0);
	ck_assert_int_eq(rig_control(&rig, TMEM_XEN_OP_THAW, 3, 0), -EBUSY);
	ck_assert_int_eq(tmem_client_is_frozen(rig.t.client), 1);
	tmem_save_close(save);
	ck_assert_int_eq(tmem_client_is_frozen(rig.t.client), 0);
	tmem_xen_domain_close(domain);
}
END_TEST

START_TEST(a_domain_may_die_while_it_is_saved)
{
	guest_new_pool(&a, RIG_PERSISTENT);
	guest_put(&a, 0, 1, 1, 1);
	rig_control(&rig, TMEM_XEN_OP_SAVE_BEGIN, 1, 1);
	guest_end(&a);
	ck_assert_int_eq(rig_control(&rig, TMEM_XEN_OP_SAVE_END, 1, 0),
			 -ENOENT);
	guest_begin(&rig, &a, 1);
}
END_TEST

/* --- the list ------------------------------------------------------------- */

START_TEST(the_list_has_the_lines_that_parsers_know)
{
	char text[8192];

	rig_auth(&rig, 1, 0xab, 0xc, true);
	rig_auth(&rig, 2, 0xab, 0xc, true);
	guest_new_pool(&a, RIG_EPHEMERAL);
	guest_new_pool_uuid(&a, RIG_SHARED, 0xab, 0xc);
	guest_new_pool(&b, RIG_PERSISTENT);
	guest_new_pool_uuid(&b, RIG_SHARED, 0xab, 0xc);
	guest_put(&b, 0, 1, 1, 1);
	guest_get(&b, 0, 1, 1, 1);
	ck_assert_int_eq(tmem_xen_list(rig.xen, 0xffffffff, false, text,
				       sizeof(text)),
			 0);
	ck_assert_str_eq(
		text,
		"G=Tt:6,Te:0,Cf:0,Af:0,Pf:0,Ta:0,Lm:0,Et:0,Ea:0,Rt:0,Ra:0,"
		"Rx:0,Fp:0\n"
		"S=SI:0,PT:ES,U0:ab,U1:c,SC:1,SC:2\n"
		"C=CI:1,ww:0,ca:0,co:1,fr:0,Tc:0,Ge:0,Pp:0,Gp:0\n"
		"P=CI:1,PI:0,PT:EP,U0:0,U1:0\n"
		"P=CI:1,PI:1,PT:ES,U0:ab,U1:c\n"
		"C=CI:2,ww:0,ca:0,co:1,fr:0,Tc:0,Ge:0,Pp:1,Gp:1\n"
		"P=CI:2,PI:0,PT:PP,U0:0,U1:0\n"
		"P=CI:2,PI:1,PT:ES,U0:ab,U1:c\n"
		"T\n");
	ck_assert_int_eq(tmem_xen_list(rig.xen, 2, true, text, sizeof(text)),
			 0);
	ck_assert_ptr_nonnull(
		strstr(text, "P=CI:2,PI:0,PT:PP,U0:0,U1:0,Pc:1,Pm:1,Oc:1,Om:1,"
			     "Nc:0,Nm:0,ps:1,pt:1,pd:0,pr:0,px:0,gs:1,gt:1,"
			     "fs:0,ft:0,os:0,ot:0\n"));
	ck_assert_ptr_null(strstr(text, "CI:1,"));
}
END_TEST

START_TEST(counters_of_a_pool_are_those_of_xen)
{
	char text[8192];

	guest_new_pool(&a, RIG_EPHEMERAL);
	guest_get(&a, 0, 1, 1, 1);	/* empty: not counted */
	guest_put(&a, 0, 1, 1, 1);
	guest_put(&a, 0, 1, 1, 2);	/* replaced */
	guest_put(&a, 0, 2, 1, 2);
	guest_page_op(&a, TMEM_XEN_PUT_PAGE, 0, 2, 1, 1000);	/* flushed */
	guest_page_op(&a, TMEM_XEN_PUT_PAGE, 0, 2, 1, 1000);	/* failed */
	guest_get(&a, 0, 2, 1, 2);	/* missed */
	guest_put(&a, 0, 3, 1, 2);
	guest_get(&a, 0, 3, 1, 2);
	guest_flush_page(&a, 0, 3, 1);
	guest_flush_page(&a, 0, 1, 1);
	guest_put(&a, 0, 3, 1, 2);
	guest_flush_object(&a, 0, 1);
	guest_flush_object(&a, 0, 3);
	tmem_xen_list(rig.xen, 1, true, text, sizeof(text));
	ck_assert_msg(strstr(text, ",ps:5,pt:7,pd:1,pr:1,px:1,gs:1,gt:2,"
				   "fs:1,ft:2,os:1,ot:2\n"),
		      "%s", text);
	ck_assert_ptr_nonnull(strstr(text, ",Ge:1,Pp:0,Gp:0,Ec:0,"));
}
END_TEST

/* The longest list there is, in every size of buffer. */
START_TEST(a_list_that_does_not_fit_ends_after_a_whole_line)
{
	char text[16384], part[16384];
	size_t whole;

	for (uint64_t i = 1; i <= 16; i++) {
		rig_auth(&rig, 1, i, ~i, true);
		guest_new_pool_uuid(&a, RIG_SHARED, i, ~i);
	}
	guest_new_pool(&b, RIG_PERSISTENT);
	ck_assert_int_eq(tmem_xen_list(rig.xen, 0xffff, true, text,
				       sizeof(text)),
			 0);
	whole = strlen(text);
	ck_assert_uint_lt(whole, sizeof(text) - 1);
	ck_assert_int_eq(tmem_xen_list(rig.xen, 1, true, part, 0), -EINVAL);
	for (size_t size = 1; size <= whole + 1; size++) {
		size_t length;

		memset(part, 0x55, sizeof(part));
		ck_assert_int_eq(tmem_xen_list(rig.xen, 0xffff, true, part,
					       size),
				 0);
		length = strlen(part);
		ck_assert_uint_lt(length, size);
		ck_assert_mem_eq(part, text, length);
		ck_assert(!length || part[length - 1] == '\n');
		for (size_t i = size; i < size + 8 && i < sizeof(part); i++)
			ck_assert_int_eq(part[i], 0x55);
	}
	ck_assert_str_eq(part, text);
}
END_TEST

START_TEST(shared_pools_have_lines_of_their_own)
{
	static const int counts[] = { 0, 1, 2, 16 };
	char text[16384], *at = text;
	int seen = 0;

	for (uint64_t i = 0; i < (uint64_t)counts[_i]; i++) {
		rig_auth(&rig, 1, i + 1, 5, true);
		guest_new_pool_uuid(&a, RIG_SHARED, i + 1, 5);
	}
	ck_assert_int_eq(tmem_xen_list(rig.xen, 0xffff, false, text,
				       sizeof(text)),
			 0);
	while ((at = strstr(at, "S=SI:"))) {
		char want[64];

		snprintf(want, sizeof(want), "S=SI:%d,PT:ES,U0:%x,U1:5,SC:1\n",
			 seen, seen + 1);
		ck_assert_int_eq(strncmp(at, want, strlen(want)), 0);
		seen++;
		at++;
	}
	ck_assert_int_eq(seen, counts[_i]);
}
END_TEST

#define rig_add(suite, test, times)                                            \
	rig_add_case(suite, #test, test, times, begin, end)

int main(void)
{
	Suite *suite = suite_create("xen_control");

	rig_add(suite, unknown_operations_and_padding_are_refused, 1);
	rig_add(suite, freeze_and_thaw_want_a_client_or_all, 1);
	rig_add(suite, flush_is_for_all_and_answers_kib, 1);
	rig_add(suite, client_info_is_read_and_set, 1);
	rig_add(suite,
		a_client_that_does_not_compress_keeps_pages_as_they_are, 1);
	rig_add(suite, pools_are_read_and_set, 1);
	rig_add(suite, authorisations_are_counted_and_limited, 1);
	rig_add(suite, every_page_is_saved_and_restored, 4);
	rig_add(suite, incompressible_pages_and_duplicates_are_restored, 1);
	rig_add(suite, what_goes_while_it_is_copied_is_told_once, 1);
	rig_add(suite, save_errors, 1);
	rig_add(suite, restore_errors, 1);
	rig_add(suite, who_was_frozen_before_a_save_is_frozen_after_it, 4);
	rig_add(suite,
		who_is_frozen_by_its_owner_while_it_is_saved_stays_frozen, 2);
	rig_add(suite, a_save_that_cannot_begin_freezes_nobody, 1);
	rig_add(suite, a_domain_may_die_while_it_is_saved, 1);
	rig_add(suite, the_list_has_the_lines_that_parsers_know, 1);
	rig_add(suite, counters_of_a_pool_are_those_of_xen, 1);
	rig_add(suite, a_list_that_does_not_fit_ends_after_a_whole_line, 1);
	rig_add(suite, shared_pools_have_lines_of_their_own, 4);
	return tm_test_run(suite);
}
