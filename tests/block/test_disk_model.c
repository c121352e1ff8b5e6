/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Random requests of all sizes and alignments, compared with a shadow copy.
 *
 * Several threads share a disk; each has stretches of its own, that begin and
 * end within blocks it shares with its neighbours, so that partial writes of
 * two threads meet in one block all the time. The store is much smaller than
 * the disk: refusals are real, and where there is a backing file, so are
 * demotions. After a refused write a thread does not know its bytes any more:
 * they must read as the old, as the new or not at all, and it writes on.
 */
#include <config.h>

#include <pthread.h>

#include "disk_rig.h"

#define THREADS 3
#define BLOCKS 384
/* The disk's end is within a block. */
#define SIZE_BYTES (BLOCKS * (uint64_t)TM_BLOCK_SIZE - 1536)
#define REQUESTS 4000
#define REQUEST_BYTES_MAX 200000
#define MEMORY (UINT64_C(1) << 20)

struct worker {
	struct disk_rig *rig;
	uint64_t random;
	/* Of the disk; nobody else's. */
	uint64_t begin, end;
	uint8_t *shadow;
	/* Bytes that a failed request left in doubt, by 512. */
	uint8_t *is_unknown;
	uint64_t failures;
};

static void choose(struct worker *w, uint64_t *offset, uint32_t *bytes)
{
	uint64_t r = tm_test_random(&w->random);
	uint64_t size = w->end - w->begin;
	uint64_t most = r % 8 ? 3 * TM_BLOCK_SIZE : REQUEST_BYTES_MAX;

	*offset = w->begin + (r >> 8) % size;
	*bytes = 1 + tm_test_random(&w->random) % most;
	if (r >> 4 & 1) {
		*offset &= ~UINT64_C(4095);
		*bytes = (*bytes + 4095) & ~UINT32_C(4095);
	}
	if (*offset < w->begin)
		*offset = w->begin;
	if (*bytes > w->end - *offset)
		*bytes = (uint32_t)(w->end - *offset);
}

static void fill_random(struct worker *w, uint8_t *to, uint32_t bytes)
{
	uint64_t number = tm_test_random(&w->random);
	uint8_t page[TMEM_PAGE_SIZE];

	tm_page_fill(page, number % TM_PAGE_KINDS, number);
	for (uint32_t i = 0; i < bytes; i++)
		to[i] = page[(i + number) % sizeof(page)];
}

/* All bytes of blocks that it touched: a failed block fails them all. */
static void set_unknown(struct worker *w, uint64_t offset, uint64_t bytes,
			bool is_unknown)
{
	uint64_t from = offset, end = offset + bytes;

	if (is_unknown) {
		from &= ~UINT64_C(4095);
		end = (end + 4095) & ~UINT64_C(4095);
	}
	for (uint64_t b = from; b < end; b++)
		if (b >= w->begin && b < w->end)
			w->is_unknown[b - w->begin] = is_unknown;
}

static void read_and_compare(struct worker *w, uint64_t offset, uint32_t bytes)
{
	uint8_t *buffer = malloc(bytes);
	int err = tm_disk_read(w->rig->disk, buffer, offset, bytes);

	if (err)
		ck_assert_int_eq(err, -EIO);
	/* libcheck writes a file at each assertion. */
	for (uint32_t i = 0; i < bytes && !err; i++) {
		uint64_t at = offset + i - w->begin;

		if (buffer[i] != w->shadow[at] && !w->is_unknown[at])
			ck_abort_msg("byte %" PRIu64
				     " of the disk: %02x, not %02x",
				     offset + i, buffer[i], w->shadow[at]);
	}
	if (err) {
		bool may_fail = false;

		/* Blocks of two owners may be lost by the other one. */
		for (uint32_t i = 0; i < bytes; i++)
			may_fail |= w->is_unknown[offset + i - w->begin];
		may_fail |= offset / 4096 == w->begin / 4096 ||
			    (offset + bytes - 1) / 4096 == (w->end - 1) / 4096;
		ck_assert_msg(may_fail,
			      "%" PRIu32 " bytes from %" PRIu64
			      " on cannot be read",
			      bytes, offset);
	}
	free(buffer);
}

static void change(struct worker *w, uint64_t offset, uint32_t bytes)
{
	uint64_t what = tm_test_random(&w->random) % 8;
	uint8_t *to = w->shadow + (offset - w->begin);
	int err;

	if (what == 0) {
		/* Only blocks that lie within it whole. */
		uint64_t first = (offset + 4095) / 4096 * 4096;
		uint64_t end = offset + bytes == SIZE_BYTES
				       ? SIZE_BYTES
				       : (offset + bytes) / 4096 * 4096;

		err = tm_disk_discard(w->rig->disk, offset, bytes);
		if (first < end) {
			memset(w->shadow + (first - w->begin), 0, end - first);
			set_unknown(w, first, end - first, err);
		}
		ck_assert_int_eq(err, 0);
		return;
	}
	if (what == 1) {
		memset(to, 0, bytes);
		err = tm_disk_write_zeroes(w->rig->disk, offset, bytes);
	} else {
		fill_random(w, to, bytes);
		err = tm_disk_write(w->rig->disk, to, offset, bytes);
	}
	set_unknown(w, offset, bytes, err);
	if (err) {
		w->failures++;
		ck_assert_msg(err == -ENOSPC || err == -EIO, "write: %d", err);
	}
}

static void *work(void *opaque)
{
	struct worker *w = opaque;

	for (int i = 0; i < REQUESTS; i++) {
		uint64_t offset;
		uint32_t bytes;

		choose(w, &offset, &bytes);
		if (tm_test_random(&w->random) % 2)
			change(w, offset, bytes);
		else
			read_and_compare(w, offset, bytes);
		if (i % 512 == 511 && w->rig->config.backing)
			ck_assert_int_ge(tm_disk_demote(w->rig->disk, 65536),
					 0);
	}
	return NULL;
}

static void begin_worker(struct worker *w, struct disk_rig *rig, int n,
			 uint64_t *seed)
{
	/* Boundaries within blocks. */
	uint64_t share = SIZE_BYTES / THREADS;

	*w = (struct worker){
		.rig = rig,
		.random = tm_test_random(seed),
		.begin = (uint64_t)n * share + (n ? 777 : 0),
		.end = n == THREADS - 1 ? SIZE_BYTES
					: (uint64_t)(n + 1) * share + 777,
	};
	w->shadow = calloc(1, w->end - w->begin);
	w->is_unknown = calloc(1, w->end - w->begin);
}

/* Every byte, after a reopening too. */
static void compare_all(struct worker *workers)
{
	for (int n = 0; n < THREADS; n++)
		for (uint64_t at = workers[n].begin; at < workers[n].end;) {
			uint64_t rest = workers[n].end - at;
			uint32_t bytes = rest < 4096 ? (uint32_t)rest : 4096;

			read_and_compare(&workers[n], at, bytes);
			at += bytes;
		}
}

static void run_model(struct disk_rig *rig, bool may_fail)
{
	uint64_t seed = tm_test_seed();
	struct worker workers[THREADS];
	pthread_t threads[THREADS];
	uint64_t failures = 0;

	for (int n = 0; n < THREADS; n++)
		begin_worker(&workers[n], rig, n, &seed);
	for (int n = 0; n < THREADS; n++)
		ck_assert_int_eq(
			pthread_create(&threads[n], NULL, work, &workers[n]),
			0);
	for (int n = 0; n < THREADS; n++)
		pthread_join(threads[n], NULL);
	compare_all(workers);
	if (rig->config.backing)
		ck_assert_uint_gt(rig_info(rig).blocks_demoted, 0);
	rig_reopen(rig);
	compare_all(workers);
	for (int n = 0; n < THREADS; n++) {
		failures += workers[n].failures;
		free(workers[n].shadow);
		free(workers[n].is_unknown);
	}
	if (may_fail)
		ck_assert_uint_gt(failures, 0);
	else
		ck_assert_uint_eq(failures, 0);
}

static void begin(struct disk_rig *rig, uint64_t memory_bytes)
{
	rig_init(rig, memory_bytes, BLOCKS);
	rig->config.size_bytes = SIZE_BYTES;
	tm_test_open(&rig->t);
}

START_TEST(swap_with_room_reads_what_was_written)
{
	struct disk_rig rig;

	begin(&rig, 16 * MEMORY);
	rig_must_open(&rig);
	run_model(&rig, false);
	rig_end(&rig);
}
END_TEST

START_TEST(swap_without_room_never_reads_anything_older)
{
	struct disk_rig rig;

	begin(&rig, MEMORY);
	rig_must_open(&rig);
	run_model(&rig, true);
	rig_end(&rig);
}
END_TEST

START_TEST(swap_with_backing_loses_nothing_without_room)
{
	struct disk_rig rig;
	char path[RIG_PATH];

	begin(&rig, MEMORY);
	rig_path(path, "backing");
	rig.config.backing = path;
	rig_must_open(&rig);
	run_model(&rig, false);
	rig_end(&rig);
	unlink(path);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("disk_model");
	TCase *tc = tcase_create("model");

	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, swap_with_room_reads_what_was_written);
	tcase_add_test(tc, swap_without_room_never_reads_anything_older);
	tcase_add_test(tc, swap_with_backing_loses_nothing_without_room);
	suite_add_tcase(suite, tc);
	return tm_test_run(suite);
}
