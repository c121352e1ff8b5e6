/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A swap disk: what its requests promise, one by one, and what its backing file
 * must be.
 */
#include <config.h>

#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>

#include "clock.h"
#include "disk_rig.h"

#define BLOCKS 1024
#define SMALL (UINT64_C(1) << 20)
#define ROOMY (16 * TM_MIB)

/* The next batch finds its first page damaged; the store drops such a page.
 * The linker's --wrap. */
static bool is_damaged;

int __real_tmem_batch(struct tmem_client *client, struct tmem_request *requests,
		      uint32_t count);
int __wrap_tmem_batch(struct tmem_client *client, struct tmem_request *requests,
		      uint32_t count);

int __wrap_tmem_batch(struct tmem_client *client, struct tmem_request *requests,
		      uint32_t count)
{
	int err = __real_tmem_batch(client, requests, count);

	if (is_damaged && requests[0].kind == TMEM_REQUEST_GET) {
		ck_assert_int_eq(tmem_flush_page(client, requests[0].pool,
						 &requests[0].oid,
						 requests[0].index),
				 1);
		requests[0].result = -EBADMSG;
		is_damaged = false;
	}
	return err;
}

static int discard(struct disk_rig *rig, uint64_t first, uint64_t count)
{
	return tm_disk_discard(rig->disk, first * TM_BLOCK_SIZE,
			       count * TM_BLOCK_SIZE);
}

/* --- reading and writing -------------------------------------------------- */

START_TEST(what_was_never_written_reads_as_zeros)
{
	struct disk_rig rig;

	rig_begin(&rig, ROOMY, 100);
	for (uint64_t b = 0; b < 100; b++)
		ck_assert_int_eq(rig_read(&rig, b, 0), 0);
	ck_assert_uint_eq(rig_info(&rig).blocks_in_tmem, 0);
	rig_end(&rig);
}
END_TEST

START_TEST(what_is_beyond_the_end_is_refused_and_touches_nothing)
{
	uint8_t page[2 * TM_BLOCK_SIZE] = { 1 };
	struct disk_rig rig;

	rig_init(&rig, ROOMY, 4);
	rig.config.size_bytes -= 512;
	tm_test_open(&rig.t);
	rig_must_open(&rig);
	ck_assert_int_eq(tm_disk_write(rig.disk, page, 3 * 4096, 3585),
			 -EINVAL);
	ck_assert_int_eq(tm_disk_write(rig.disk, page, UINT64_MAX - 5, 10),
			 -EINVAL);
	ck_assert_int_eq(tm_disk_read(rig.disk, page, 4 * 4096, 1), -EINVAL);
	ck_assert_int_eq(tm_disk_discard(rig.disk, 4096, UINT64_MAX), -EINVAL);
	ck_assert_int_eq(
		tm_disk_write_zeroes(rig.disk, 4096, UINT64_MAX - 4095),
		-EINVAL);
	ck_assert_uint_eq(rig_info(&rig).blocks_in_tmem, 0);
	ck_assert_int_eq(tm_disk_write(rig.disk, page, 3 * 4096, 3584), 0);
	ck_assert_int_eq(tm_disk_read(rig.disk, page, 3 * 4096, 3584), 0);
	ck_assert_int_eq(tm_disk_read(rig.disk, page, rig.config.size_bytes, 0),
			 0);
	ck_assert_uint_eq(rig_info(&rig).errors, 0);
	rig_end(&rig);
}
END_TEST

START_TEST(read_only_answers_erofs)
{
	uint8_t page[TM_BLOCK_SIZE] = { 0 };
	struct disk_rig rig;

	rig_init(&rig, ROOMY, 4);
	rig.config.is_readonly = true;
	tm_test_open(&rig.t);
	rig_must_open(&rig);
	ck_assert_int_eq(rig_write(&rig, 0, 1), -EROFS);
	ck_assert_int_eq(discard(&rig, 0, 4), -EROFS);
	ck_assert_int_eq(tm_disk_write_zeroes(rig.disk, 0, 4096), -EROFS);
	ck_assert_int_eq(tm_disk_read(rig.disk, page, 0, 4096), 0);
	rig_end(&rig);
}
END_TEST

/* Without a backing file; and after the next opening. */
START_TEST(refused_overwrite_shows_neither_old_nor_zeros)
{
	uint64_t lost = UINT64_MAX;
	struct disk_rig rig;

	rig_begin(&rig, SMALL, BLOCKS);
	for (uint64_t b = 0; b < 32; b++)
		ck_assert_int_eq(rig_write(&rig, b, 1), 0);
	rig_fill(&rig, 32);
	for (uint64_t b = 0; b < 32 && lost == UINT64_MAX; b++)
		if (rig_write(&rig, b, 3) == -ENOSPC)
			lost = b;
	ck_assert_uint_ne(lost, UINT64_MAX);
	ck_assert_int_eq(rig_read(&rig, lost, 1), -EIO);
	ck_assert_uint_eq(rig_info(&rig).blocks_refused, 2);
	rig_reopen(&rig);
	ck_assert_int_eq(rig_read(&rig, lost, 1), -EIO);
	/* A part of it cannot mend it, all of it can. */
	ck_assert_int_eq(tm_disk_write(rig.disk, "x", lost * 4096 + 5, 1),
			 -EIO);
	ck_assert_int_eq(discard(&rig, 64, BLOCKS - 64), 0);
	tm_test_settle(rig.t.store);
	ck_assert_int_eq(rig_write(&rig, lost, 4), 0);
	ck_assert_int_eq(rig_read(&rig, lost, 4), 0);
	rig_end(&rig);
}
END_TEST

/* It has been dropped; that must not make it zeros, at the next opening too. */
START_TEST(a_damaged_page_is_an_error_until_it_is_written)
{
	struct disk_rig rig;

	rig_begin(&rig, ROOMY, 8);
	for (uint64_t b = 0; b < 8; b++)
		ck_assert_int_eq(rig_write(&rig, b, 1), 0);
	is_damaged = true;
	ck_assert_int_eq(rig_read(&rig, 5, 1), -EIO);
	ck_assert_int_eq(rig_read(&rig, 5, 1), -EIO);
	rig_reopen(&rig);
	ck_assert_int_eq(rig_read(&rig, 5, 1), -EIO);
	ck_assert_int_eq(rig_write(&rig, 5, 2), 0);
	ck_assert_int_eq(rig_read(&rig, 5, 2), 0);
	for (uint64_t b = 0; b < 8; b++)
		ck_assert_int_eq(rig_read(&rig, b, b == 5 ? 2 : 1), 0);
	rig_end(&rig);
}
END_TEST

/* Somebody ended its client: that is an error, and no disk of zeros. */
START_TEST(a_disk_whose_pool_is_gone_reads_as_nothing)
{
	struct disk_rig rig;
	uint64_t end;

	rig_begin(&rig, ROOMY, 8);
	for (uint64_t b = 0; b < 4; b++)
		ck_assert_int_eq(rig_write(&rig, b, 1), 0);
	rig_reopen(&rig);
	if (_i)
		ck_assert_int_eq(rig_read(&rig, 0, 1), 0);
	ck_assert_int_eq(tmem_pool_destroy(rig.t.client, 0), 0);
	for (uint64_t b = 0; b < 8; b++) {
		ck_assert_int_eq(rig_read(&rig, b, 0), -EIO);
		ck_assert_int_eq(rig_write(&rig, b, 2), -EIO);
	}
	ck_assert_int_lt(tm_disk_extent(rig.disk, 4096, &end), 0);
	ck_assert_int_eq(discard(&rig, 0, 8), -EIO);
	rig_end(&rig);
}
END_TEST

START_TEST(refused_first_write_leaves_zeros_and_discard_mends)
{
	struct disk_rig rig;
	uint64_t full;

	rig_begin(&rig, SMALL, BLOCKS);
	full = rig_fill(&rig, 0);
	ck_assert_int_eq(rig_read(&rig, full, 0), 0);
	ck_assert_int_eq(rig_write(&rig, 0, 3), -ENOSPC);
	ck_assert_int_eq(rig_read(&rig, 0, 0), -EIO);
	ck_assert_int_eq(discard(&rig, 0, 1), 0);
	ck_assert_int_eq(rig_read(&rig, 0, 0), 0);
	rig_end(&rig);
}
END_TEST

START_TEST(discard_gives_memory_back)
{
	struct disk_rig rig;
	uint64_t before, full, after;

	rig_begin(&rig, SMALL, BLOCKS);
	before = tm_test_counts(rig.t.client).billed_bytes;
	full = rig_fill(&rig, 0);
	/* An odd range, then all, which goes by objects. */
	ck_assert_int_eq(tm_disk_discard(rig.disk, 4096 + 1, 3 * 4096), 0);
	ck_assert_uint_eq(rig_info(&rig).blocks_discarded, 2);
	ck_assert_uint_eq(rig_info(&rig).blocks_in_tmem, full - 2);
	ck_assert_int_eq(discard(&rig, 0, BLOCKS), 0);
	tm_test_settle(rig.t.store);
	after = tm_test_counts(rig.t.client).billed_bytes;
	ck_assert_uint_eq(after, before);
	ck_assert_uint_eq(rig_info(&rig).blocks_in_tmem, 0);
	for (uint64_t b = 0; b < BLOCKS; b++)
		ck_assert_int_eq(rig_read(&rig, b, 0), 0);
	rig_end(&rig);
}
END_TEST

START_TEST(write_zeroes_covers_parts_of_blocks)
{
	uint8_t page[3 * TM_BLOCK_SIZE], want[3 * TM_BLOCK_SIZE];
	struct disk_rig rig;

	rig_begin(&rig, ROOMY, 8);
	for (uint32_t from = 1; from < sizeof(page); from += 1777)
		for (uint32_t end = from; end < sizeof(page); end += 1333) {
			memset(want, 7, sizeof(want));
			ck_assert_int_eq(
				tm_disk_write(rig.disk, want, 0, sizeof(want)),
				0);
			memset(want + from, 0, end - from);
			ck_assert_int_eq(tm_disk_write_zeroes(rig.disk, from,
							      end - from),
					 0);
			ck_assert_int_eq(
				tm_disk_read(rig.disk, page, 0, sizeof(page)),
				0);
			ck_assert_mem_eq(page, want, sizeof(page));
		}
	rig_end(&rig);
}
END_TEST

/* At first, after a reopening, and of blocks in the file. */
START_TEST(extents_are_where_data_are)
{
	char path[RIG_PATH];
	struct disk_rig rig;
	uint64_t end;

	rig_init(&rig, ROOMY, 40);
	rig_path(path, "extents");
	rig.config.backing = path;
	tm_test_open(&rig.t);
	rig_must_open(&rig);
	for (uint64_t b = 10; b < 20; b++)
		ck_assert_int_eq(rig_write(&rig, b, 1), 0);
	for (int round = 0; round < 3; round++) {
		ck_assert_int_eq(tm_disk_extent(rig.disk, 5, &end), 0);
		ck_assert_uint_eq(end, 10 * 4096);
		ck_assert_int_eq(tm_disk_extent(rig.disk, 11 * 4096, &end), 1);
		ck_assert_uint_eq(end, 20 * 4096);
		ck_assert_int_eq(tm_disk_extent(rig.disk, 20 * 4096, &end), 0);
		ck_assert_uint_eq(end, 40 * 4096);
		ck_assert_int_eq(tm_disk_extent(rig.disk, 40 * 4096, &end),
				 -EINVAL);
		if (round)
			ck_assert_int_gt(tm_disk_demote(rig.disk, 5 * 4096), 0);
		else
			rig_reopen(&rig);
	}
	rig_end(&rig);
	unlink(path);
}
END_TEST

START_TEST(a_disk_that_fills_without_discard_is_flagged)
{
	struct disk_rig rig;

	rig_begin(&rig, ROOMY, 100);
	for (uint64_t b = 0; b < 90; b++)
		ck_assert_int_eq(rig_write(&rig, b, 1), 0);
	ck_assert(!rig_info(&rig).was_filled);
	for (uint64_t b = 90; b < 100; b++)
		ck_assert_int_eq(rig_write(&rig, b, 1), 0);
	ck_assert(rig_info(&rig).was_filled);
	ck_assert_int_eq(discard(&rig, 0, 1), 0);
	ck_assert_int_eq(rig_write(&rig, 0, 1), 0);
	ck_assert(!rig_info(&rig).was_filled);
	rig_end(&rig);
}
END_TEST

/* --- opening -------------------------------------------------------------- */

START_TEST(reopened_disk_is_checked_against_its_label)
{
	struct disk_rig rig;

	rig_begin(&rig, ROOMY, 100);
	ck_assert_int_eq(rig_write(&rig, 7, 1), 0);
	tm_disk_close(rig.disk);
	rig.config.size_bytes += 4096;
	ck_assert_int_eq(rig_open_disk(&rig), -EINVAL);
	ck_assert_ptr_nonnull(strstr(rig.disk_error, "size of 409600 bytes"));
	rig.config.size_bytes = 1000;
	ck_assert_int_eq(rig_open_disk(&rig), -EINVAL);
	rig.config.size_bytes = UINT64_C(1) << 50;
	ck_assert_int_eq(rig_open_disk(&rig), -EINVAL);
	rig.config.size_bytes = 100 * 4096;
	rig_must_open(&rig);
	ck_assert_int_eq(rig_read(&rig, 7, 1), 0);
	rig_end(&rig);
}
END_TEST

START_TEST(a_pool_of_other_use_is_left_alone)
{
	struct disk_rig rig;
	int pool;

	rig_init(&rig, ROOMY, 100);
	tm_test_open(&rig.t);
	pool = tm_test_pool(rig.t.client, TMEM_POOL_PERSISTENT);
	ck_assert_int_eq(tm_test_put(rig.t.client, pool, 1, 1, TM_PAGE_TEXT, 1),
			 1);
	ck_assert_int_eq(rig_open_disk(&rig), -EMEDIUMTYPE);
	ck_assert_int_eq(tm_test_get(rig.t.client, pool, 1, 1, TM_PAGE_TEXT, 1),
			 1);
	tm_test_end(&rig.t);
}
END_TEST

START_TEST(a_store_too_full_for_a_label_is_enospc)
{
	struct disk_rig rig;
	struct tmem_client *other;
	int pool;

	rig_init(&rig, SMALL, 100);
	tm_test_open(&rig.t);
	other = tm_test_attach(rig.t.store, "other");
	pool = tm_test_pool(other, TMEM_POOL_PERSISTENT);
	for (uint32_t i = 0; tm_test_put(other, pool, 1, i, TM_PAGE_NOISE, i);
	     i++)
		;
	ck_assert_int_eq(rig_open_disk(&rig), -ENOSPC);
	tmem_client_detach(other);
	tm_test_end(&rig.t);
}
END_TEST

/* --- pause and freeze ----------------------------------------------------- */

struct slow_write {
	struct disk_rig *rig;
	int result;
	_Atomic bool is_done;
};

static void *write_slowly(void *opaque)
{
	struct slow_write *w = opaque;

	w->result = rig_write(w->rig, 3, 2);
	atomic_store(&w->is_done, true);
	return NULL;
}

START_TEST(paused_disk_holds_requests_back_for_a_bounded_time)
{
	struct disk_rig rig;
	struct slow_write w = { .rig = &rig };
	pthread_t thread;

	rig_init(&rig, ROOMY, 8);
	rig.config.pause_ms = 20;
	tm_test_open(&rig.t);
	rig_must_open(&rig);
	ck_assert_int_eq(rig_write(&rig, 3, 1), 0);
	tm_disk_set_paused(rig.disk, true);
	ck_assert(rig_info(&rig).is_paused);
	ck_assert_int_eq(rig_write(&rig, 3, 2), -ETIMEDOUT);
	ck_assert_int_eq(rig_read(&rig, 3, 1), -ETIMEDOUT);
	ck_assert_int_eq(discard(&rig, 3, 1), -ETIMEDOUT);
	tm_disk_set_paused(rig.disk, false);
	ck_assert_int_eq(rig_read(&rig, 3, 1), 0);
	tm_disk_close(rig.disk);
	rig.config.pause_ms = 60000;
	rig_must_open(&rig);
	tm_disk_set_paused(rig.disk, true);
	ck_assert_int_eq(pthread_create(&thread, NULL, write_slowly, &w), 0);
	usleep(20000);
	ck_assert(!atomic_load(&w.is_done));
	tm_disk_set_paused(rig.disk, false);
	pthread_join(thread, NULL);
	ck_assert_int_eq(w.result, 0);
	ck_assert_int_eq(rig_read(&rig, 3, 2), 0);
	rig_end(&rig);
}
END_TEST

START_TEST(frozen_client_holds_writes_back_and_loses_nothing)
{
	struct disk_rig rig;
	struct slow_write w = { .rig = &rig };
	pthread_t thread;

	rig_init(&rig, ROOMY, 8);
	rig.config.pause_ms = 20;
	tm_test_open(&rig.t);
	rig_must_open(&rig);
	ck_assert_int_eq(rig_write(&rig, 3, 1), 0);
	ck_assert_int_eq(tmem_client_set_frozen(rig.t.client, true), 0);
	ck_assert_int_eq(rig_write(&rig, 3, 2), -ETIMEDOUT);
	ck_assert_int_eq(rig_read(&rig, 3, 1), 0);
	ck_assert_int_eq(tmem_client_set_frozen(rig.t.client, false), 0);
	tm_disk_close(rig.disk);
	rig.config.pause_ms = 60000;
	rig_must_open(&rig);
	ck_assert_int_eq(tmem_client_set_frozen(rig.t.client, true), 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, write_slowly, &w), 0);
	while (!tm_test_counts(rig.t.client).refused_frozen)
		usleep(1000);
	ck_assert(!atomic_load(&w.is_done));
	ck_assert_int_eq(tmem_client_set_frozen(rig.t.client, false), 0);
	pthread_join(thread, NULL);
	ck_assert_int_eq(w.result, 0);
	ck_assert_int_eq(rig_read(&rig, 3, 2), 0);
	ck_assert_uint_eq(rig_info(&rig).blocks_refused, 0);
	rig_end(&rig);
}
END_TEST

/* --- the backing file ----------------------------------------------------- */

static void begin_backed(struct disk_rig *rig, uint64_t memory_bytes,
			 char path[RIG_PATH])
{
	rig_init(rig, memory_bytes, BLOCKS);
	rig_path(path, "backing");
	rig->config.backing = path;
	tm_test_open(&rig->t);
	rig_must_open(rig);
}

static uint64_t allocated_bytes(const char *path)
{
	struct stat st;

	ck_assert_int_eq(stat(path, &st), 0);
	return (uint64_t)st.st_blocks * 512;
}

START_TEST(backing_file_takes_what_tmem_refuses)
{
	char path[RIG_PATH];
	struct tm_disk_info info;
	struct disk_rig rig;

	begin_backed(&rig, SMALL, path);
	for (uint32_t g = 1; g < 4; g++)
		for (uint64_t b = 0; b < BLOCKS; b++)
			ck_assert_int_eq(rig_write(&rig, b, g), 0);
	for (int round = 0; round < 2; round++) {
		info = rig_info(&rig);
		ck_assert_uint_gt(info.blocks_in_file, 0);
		ck_assert_uint_gt(info.blocks_in_tmem, 0);
		ck_assert_uint_eq(info.blocks_in_file + info.blocks_in_tmem,
				  BLOCKS);
		for (uint64_t b = 0; b < BLOCKS; b++)
			ck_assert_int_eq(rig_read(&rig, b, 3), 0);
		rig_reopen(&rig);
	}
	ck_assert_int_eq(discard(&rig, 0, BLOCKS), 0);
	ck_assert_uint_eq(rig_info(&rig).blocks_in_file, 0);
	ck_assert_uint_le(allocated_bytes(path), 4096);
	for (uint64_t b = 0; b < BLOCKS; b++)
		ck_assert_int_eq(rig_read(&rig, b, 0), 0);
	rig_end(&rig);
	unlink(path);
}
END_TEST

START_TEST(written_again_a_block_leaves_the_file)
{
	char path[RIG_PATH];
	struct disk_rig rig;

	begin_backed(&rig, ROOMY, path);
	for (uint64_t b = 0; b < 8; b++)
		ck_assert_int_eq(rig_write(&rig, b, 1), 0);
	ck_assert_int_eq(tm_disk_demote(rig.disk, UINT64_MAX), 8 * 4096);
	ck_assert_uint_eq(rig_info(&rig).blocks_in_file, 8);
	ck_assert_uint_eq(rig_info(&rig).blocks_in_tmem, 0);
	ck_assert_uint_eq(allocated_bytes(path), 9 * 4096);
	ck_assert_int_eq(rig_read(&rig, 2, 1), 0);
	ck_assert_int_eq(rig_write(&rig, 2, 2), 0);
	ck_assert_uint_eq(rig_info(&rig).blocks_in_file, 7);
	ck_assert_uint_eq(allocated_bytes(path), 8 * 4096);
	ck_assert_int_eq(rig_read(&rig, 2, 2), 0);
	rig_end(&rig);
	unlink(path);
}
END_TEST

START_TEST(the_coldest_pages_are_demoted_first)
{
	char path[RIG_PATH];
	struct disk_rig rig;

	begin_backed(&rig, ROOMY, path);
	for (uint64_t b = 0; b < 512; b++)
		ck_assert_int_eq(rig_write(&rig, b, 1), 0);
	/* The hand goes round once, and takes the first ones. */
	ck_assert_int_eq(tm_disk_demote(rig.disk, 64 * 4096), 64 * 4096);
	for (uint64_t b = 64; b < 256; b++)
		ck_assert_int_eq(rig_read(&rig, b, 1), 0);
	ck_assert_int_eq(tm_disk_demote(rig.disk, 256 * 4096), 256 * 4096);
	for (uint64_t b = 64; b < 512; b++) {
		uint64_t in_file = rig_info(&rig).blocks_in_file;

		/* In the file, if to write it takes it out. */
		ck_assert_int_eq(rig_write(&rig, b, 2), 0);
		ck_assert_int_eq(rig_info(&rig).blocks_in_file != in_file,
				 b >= 256);
	}
	rig_end(&rig);
	unlink(path);
}
END_TEST

START_TEST(without_backing_file_nothing_is_demoted)
{
	struct disk_rig rig;

	rig_begin(&rig, ROOMY, 8);
	ck_assert_int_eq(rig_write(&rig, 0, 1), 0);
	ck_assert_int_eq(tm_disk_demote(rig.disk, 4096), -EOPNOTSUPP);
	rig_end(&rig);
}
END_TEST

static void write_file(const char *path, const void *bytes, size_t size)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, bytes, size), (ssize_t)size);
	close(fd);
}

START_TEST(foreign_backing_files_are_refused_and_unchanged)
{
	char path[RIG_PATH], text[] = "somebody's letters";
	char read_back[64] = "";
	struct disk_rig rig, other;
	int fd;

	rig_init(&rig, ROOMY, BLOCKS);
	rig_path(path, "foreign");
	tm_test_open(&rig.t);
	rig.config.backing = path;
	write_file(path, text, sizeof(text));
	ck_assert_int_eq(rig_open_disk(&rig), -EMEDIUMTYPE);
	fd = open(path, O_RDONLY);
	ck_assert_int_eq(read(fd, read_back, sizeof(read_back)), sizeof(text));
	ck_assert_str_eq(read_back, text);
	close(fd);
	unlink(path);
	/* No pool was left behind, which would bind the size. */
	ck_assert_int_eq(
		tmem_pool_get_info(
			rig.t.client, 0,
			&(struct tmem_pool_info){
				.struct_size = sizeof(struct tmem_pool_info) }),
		-ENOENT);
	ck_assert_int_eq(mkfifo(path, 0600), 0);
	ck_assert_int_eq(rig_open_disk(&rig), -EMEDIUMTYPE);
	unlink(path);
	rig.config.backing = "/dev/null";
	ck_assert_int_eq(rig_open_disk(&rig), -EMEDIUMTYPE);
	rig.config.backing = "/nonexistent/file";
	ck_assert_int_eq(rig_open_disk(&rig), -ENOENT);
	/* Another disk's; one that is open. */
	rig.config.backing = path;
	rig_must_open(&rig);
	rig_init(&other, ROOMY, BLOCKS);
	other.config.backing = path;
	tm_test_open(&other.t);
	ck_assert_int_eq(rig_open_disk(&other), -EBUSY);
	rig_end(&rig);
	ck_assert_int_eq(rig_open_disk(&other), -EMEDIUMTYPE);
	ck_assert_ptr_nonnull(strstr(other.disk_error, "of another disk"));
	tm_test_end(&other.t);
	unlink(path);
}
END_TEST

START_TEST(a_backing_file_that_has_gone_is_refused)
{
	char path[RIG_PATH];
	struct disk_rig rig;

	begin_backed(&rig, ROOMY, path);
	ck_assert_int_eq(rig_write(&rig, 0, 1), 0);
	ck_assert_int_eq(tm_disk_demote(rig.disk, 4096), 4096);
	tm_disk_close(rig.disk);
	rig.config.backing = NULL;
	ck_assert_int_eq(rig_open_disk(&rig), -EINVAL);
	ck_assert_ptr_nonnull(strstr(rig.disk_error, "backing file"));
	unlink(path);
	rig.config.backing = path;
	ck_assert_int_eq(rig_open_disk(&rig), -ENOENT);
	write_file(path, "", 0);
	ck_assert_int_eq(rig_open_disk(&rig), -EMEDIUMTYPE);
	tm_test_end(&rig.t);
	unlink(path);
}
END_TEST

/* A limit on the size of files stands for a full disk: it fails in the middle
 * of one, and can be lifted. */
START_TEST(a_full_backing_file_fails_that_block_only)
{
	const uint64_t fits = 900;
	struct rlimit limit = { .rlim_cur = (fits + 1) * 4096 + 1000,
				.rlim_max = RLIM_INFINITY };
	char path[RIG_PATH];
	struct disk_rig rig;
	int failures = 0;

	signal(SIGXFSZ, SIG_IGN);
	begin_backed(&rig, SMALL, path);
	for (uint64_t b = 0; b < BLOCKS; b++)
		ck_assert_int_eq(rig_write(&rig, b, 1), 0);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	for (uint64_t b = 0; b < BLOCKS; b++) {
		int err = rig_write(&rig, b, 2);

		ck_assert(!err ||
			  (b >= fits && (err == -EIO || err == -ENOSPC)));
		failures += !!err;
		ck_assert_int_eq(rig_read(&rig, b, 2), err ? -EIO : 0);
	}
	ck_assert_int_gt(failures, 0);
	ck_assert_ptr_nonnull(strstr(rig.disk_error, "backing file: write"));
	/* One sentence for all of them. */
	ck_assert_uint_eq(rig.disk_errors, 1);
	limit.rlim_cur = RLIM_INFINITY;
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	for (uint64_t b = 0; b < BLOCKS; b++)
		if (rig_read(&rig, b, 2))
			ck_assert_int_eq(rig_write(&rig, b, 3), 0);
		else
			ck_assert_int_eq(rig_write(&rig, b, 2), 0);
	rig_end(&rig);
	unlink(path);
}
END_TEST

START_TEST(a_backing_file_cut_short_fails_what_was_there)
{
	char path[RIG_PATH];
	struct disk_rig rig;

	begin_backed(&rig, ROOMY, path);
	for (uint64_t b = 0; b < 4; b++)
		ck_assert_int_eq(rig_write(&rig, b, 1), 0);
	ck_assert_int_eq(tm_disk_demote(rig.disk, 4 * 4096), 4 * 4096);
	ck_assert_int_eq(truncate(path, 3 * 4096), 0);
	ck_assert_int_eq(rig_read(&rig, 1, 1), 0);
	ck_assert_int_eq(rig_read(&rig, 2, 1), -EIO);
	ck_assert_int_eq(rig_write(&rig, 2, 2), 0);
	ck_assert_int_eq(rig_read(&rig, 2, 2), 0);
	ck_assert_uint_eq(rig_info(&rig).errors, 1);
	rig_end(&rig);
	unlink(path);
}
END_TEST

static off_t size_of(const char *path)
{
	struct stat st;

	ck_assert_int_eq(stat(path, &st), 0);
	return st.st_size;
}

/* By a block that was in it, by one that was not, by a byte. */
START_TEST(a_backing_file_cut_short_is_refused_and_unchanged)
{
	static const off_t sizes[] = { 4 * 4096, BLOCKS * 4096,
				       (BLOCKS + 1) * 4096 - 1 };
	char path[RIG_PATH];
	struct disk_rig rig;

	begin_backed(&rig, ROOMY, path);
	for (uint64_t b = 0; b < 4; b++)
		ck_assert_int_eq(rig_write(&rig, b, 1), 0);
	ck_assert_int_eq(tm_disk_demote(rig.disk, 4 * 4096), 4 * 4096);
	ck_assert_int_eq(size_of(path), (BLOCKS + 1) * 4096);
	tm_disk_close(rig.disk);
	rig.disk = NULL;
	ck_assert_int_eq(truncate(path, sizes[_i]), 0);
	ck_assert_int_eq(rig_open_disk(&rig), -EMEDIUMTYPE);
	ck_assert_ptr_nonnull(strstr(rig.disk_error, "cut short"));
	ck_assert_int_eq(size_of(path), sizes[_i]);
	/* What is left of it can be had all the same. */
	ck_assert_int_eq(truncate(path, (BLOCKS + 1) * 4096), 0);
	rig_must_open(&rig);
	for (uint64_t b = 0; b < 3; b++)
		ck_assert_int_eq(rig_read(&rig, b, 1), 0);
	rig_end(&rig);
	unlink(path);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("disk_swap");
	TCase *tc = tcase_create("swap");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, what_was_never_written_reads_as_zeros);
	tcase_add_test(tc,
		       what_is_beyond_the_end_is_refused_and_touches_nothing);
	tcase_add_test(tc, read_only_answers_erofs);
	tcase_add_test(tc, refused_overwrite_shows_neither_old_nor_zeros);
	tcase_add_test(tc, a_damaged_page_is_an_error_until_it_is_written);
	tcase_add_loop_test(tc, a_disk_whose_pool_is_gone_reads_as_nothing, 0,
			    2);
	tcase_add_test(tc, refused_first_write_leaves_zeros_and_discard_mends);
	tcase_add_test(tc, discard_gives_memory_back);
	tcase_add_test(tc, write_zeroes_covers_parts_of_blocks);
	tcase_add_test(tc, extents_are_where_data_are);
	tcase_add_test(tc, a_disk_that_fills_without_discard_is_flagged);
	tcase_add_test(tc, reopened_disk_is_checked_against_its_label);
	tcase_add_test(tc, a_pool_of_other_use_is_left_alone);
	tcase_add_test(tc, a_store_too_full_for_a_label_is_enospc);
	tcase_add_test(tc, paused_disk_holds_requests_back_for_a_bounded_time);
	tcase_add_test(tc, frozen_client_holds_writes_back_and_loses_nothing);
	tcase_add_test(tc, backing_file_takes_what_tmem_refuses);
	tcase_add_test(tc, written_again_a_block_leaves_the_file);
	tcase_add_test(tc, the_coldest_pages_are_demoted_first);
	tcase_add_test(tc, without_backing_file_nothing_is_demoted);
	tcase_add_test(tc, foreign_backing_files_are_refused_and_unchanged);
	tcase_add_test(tc, a_backing_file_that_has_gone_is_refused);
	tcase_add_test(tc, a_full_backing_file_fails_that_block_only);
	tcase_add_test(tc, a_backing_file_cut_short_fails_what_was_there);
	tcase_add_loop_test(
		tc, a_backing_file_cut_short_is_refused_and_unchanged, 0, 3);
	suite_add_tcase(suite, tc);
	return tm_test_run(suite);
}
