/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A cache disk: what comes from tmem is what the image has.
 *
 * The image's reads are wrapped (the linker's --wrap of preadv), to count them
 * from outside, and to have a write overtake a fill: between the image's read
 * and the put, in the same thread, which holds nothing there. So are its
 * writes, for a read that begins in the middle of one, and fallocate(), which
 * answers what it does on a file system without holes. And fstat() and the
 * clock, for an image that changes all the time, and twice within a tick.
 */
#include <config.h>

#include <errno.h>
#include <pthread.h>
#include <sys/uio.h>

#include "disk_rig.h"

#define BLOCKS 200
/* It ends within a block. */
#define SIZE_BYTES (BLOCKS * (uint64_t)TM_BLOCK_SIZE - 700)
#define ROOMY (16 * TM_MIB)

/* What happens while the image is read; of the test that runs. */
static struct {
	_Atomic uint64_t bytes;
	void (*_Atomic meanwhile)(struct disk_rig *rig);
	/* Before the image is written. */
	void (*_Atomic before_write)(struct disk_rig *rig);
	bool has_no_holes;
	/* Each look at an image finds it changed at that instant; when that is
	 * over, it is as it was found last. */
	bool is_changing;
	struct timespec changed;
	struct disk_rig *rig;
} hook;

ssize_t __real_preadv(int fd, const struct iovec *iov, int count, off_t offset);
ssize_t __wrap_preadv(int fd, const struct iovec *iov, int count, off_t offset);

ssize_t __wrap_preadv(int fd, const struct iovec *iov, int count, off_t offset)
{
	ssize_t done = __real_preadv(fd, iov, count, offset);
	void (*meanwhile)(struct disk_rig * rig);

	if (done > 0)
		atomic_fetch_add(&hook.bytes, (uint64_t)done);
	meanwhile = atomic_exchange(&hook.meanwhile, NULL);
	if (meanwhile)
		meanwhile(hook.rig);
	return done;
}

ssize_t __real_pwrite(int fd, const void *from, size_t bytes, off_t offset);
ssize_t __wrap_pwrite(int fd, const void *from, size_t bytes, off_t offset);

ssize_t __wrap_pwrite(int fd, const void *from, size_t bytes, off_t offset)
{
	void (*before)(struct disk_rig * rig);

	before = atomic_exchange(&hook.before_write, NULL);
	if (before)
		before(hook.rig);
	return __real_pwrite(fd, from, bytes, offset);
}

int __real_fallocate(int fd, int mode, off_t offset, off_t bytes);
int __wrap_fallocate(int fd, int mode, off_t offset, off_t bytes);

int __wrap_fallocate(int fd, int mode, off_t offset, off_t bytes)
{
	if (!hook.has_no_holes)
		return __real_fallocate(fd, mode, offset, bytes);
	errno = EOPNOTSUPP;
	return -1;
}

int __real_clock_gettime(clockid_t clock, struct timespec *now);
int __wrap_clock_gettime(clockid_t clock, struct timespec *now);

int __wrap_clock_gettime(clockid_t clock, struct timespec *now)
{
	if (clock != CLOCK_REALTIME || !hook.is_changing)
		return __real_clock_gettime(clock, now);
	*now = hook.changed;
	return 0;
}

int __real_fstat(int fd, struct stat *stat);
int __wrap_fstat(int fd, struct stat *stat);

int __wrap_fstat(int fd, struct stat *stat)
{
	int err = __real_fstat(fd, stat);

	if (hook.is_changing)
		__real_clock_gettime(CLOCK_REALTIME, &hook.changed);
	if (hook.changed.tv_sec)
		stat->st_mtim = stat->st_ctim = hook.changed;
	return err;
}

static void put_image(const char *path, uint32_t generation)
{
	uint8_t page[TM_BLOCK_SIZE];
	int fd = open(path, O_WRONLY | O_CREAT, 0600);

	ck_assert_int_ge(fd, 0);
	for (uint64_t b = 0; b < BLOCKS; b++) {
		rig_page(page, b, generation);
		ck_assert_int_eq(pwrite(fd, page, sizeof(page),
					(off_t)(b * TM_BLOCK_SIZE)),
				 sizeof(page));
	}
	ck_assert_int_eq(ftruncate(fd, (off_t)SIZE_BYTES), 0);
	close(fd);
}

static void begin_on(struct disk_rig *rig, uint64_t memory_bytes,
		     const char *image)
{
	memset(&hook, 0, sizeof(hook));
	hook.rig = rig;
	rig_init(rig, memory_bytes, 0);
	rig->config.kind = TM_DISK_CACHE;
	rig->config.image = image;
	tm_test_open(&rig->t);
}

static void begin(struct disk_rig *rig, char path[RIG_PATH])
{
	rig_path(path, "image");
	put_image(path, 1);
	begin_on(rig, ROOMY, path);
	rig_must_open(rig);
}

static void end(struct disk_rig *rig, const char *path)
{
	rig_end(rig);
	unlink(path);
}

/* All whole blocks. */
static void read_all_of(struct disk_rig *rig, uint32_t generation)
{
	for (uint64_t b = 0; b < BLOCKS - 1; b++)
		ck_assert_int_eq(rig_read(rig, b, generation), 0);
}

START_TEST(read_twice_the_image_is_read_once)
{
	char path[RIG_PATH];
	struct disk_rig rig;
	struct tm_disk_info info;

	begin(&rig, path);
	ck_assert_uint_eq(tm_disk_size_bytes(rig.disk), SIZE_BYTES);
	for (int round = 0; round < 3; round++)
		read_all_of(&rig, 1);
	info = rig_info(&rig);
	ck_assert_uint_eq(info.image_reads, BLOCKS - 1);
	ck_assert_uint_eq(info.hits, 2 * (BLOCKS - 1));
	ck_assert_uint_eq(info.blocks_in_tmem, BLOCKS - 1);
	ck_assert_uint_eq(hook.bytes, (BLOCKS - 1) * TM_BLOCK_SIZE);
	end(&rig, path);
}
END_TEST

START_TEST(the_last_block_is_as_short_as_the_image)
{
	uint8_t page[TM_BLOCK_SIZE], want[TM_BLOCK_SIZE];
	const uint64_t last = (BLOCKS - 1) * TM_BLOCK_SIZE;
	char path[RIG_PATH];
	struct disk_rig rig;

	begin(&rig, path);
	rig_page(want, BLOCKS - 1, 1);
	for (int round = 0; round < 2; round++) {
		ck_assert_int_eq(
			tm_disk_read(rig.disk, page, last, TM_BLOCK_SIZE - 700),
			0);
		ck_assert_mem_eq(page, want, TM_BLOCK_SIZE - 700);
		ck_assert_int_eq(tm_disk_read(rig.disk, page, last + 5, 100),
				 0);
		ck_assert_mem_eq(page, want + 5, 100);
	}
	ck_assert_int_eq(tm_disk_read(rig.disk, page, last, TM_BLOCK_SIZE),
			 -EINVAL);
	ck_assert_int_eq(tm_disk_write(rig.disk, "end", SIZE_BYTES - 3, 3), 0);
	ck_assert_int_eq(tm_disk_read(rig.disk, page, SIZE_BYTES - 3, 3), 0);
	ck_assert_mem_eq(page, "end", 3);
	end(&rig, path);
}
END_TEST

START_TEST(writes_go_through_and_invalidate)
{
	uint8_t bytes[TM_BLOCK_SIZE];
	char path[RIG_PATH];
	struct disk_rig rig;
	int fd;

	begin(&rig, path);
	read_all_of(&rig, 1);
	for (uint64_t b = 3; b < 40; b++)
		ck_assert_int_eq(rig_write(&rig, b, 2), 0);
	for (uint64_t b = 0; b < 60; b++)
		ck_assert_int_eq(rig_read(&rig, b, b < 3 || b > 39 ? 1 : 2), 0);
	ck_assert_int_eq(tm_disk_write(rig.disk, "within", 5 * 4096 + 9, 6), 0);
	ck_assert_int_eq(tm_disk_read(rig.disk, bytes, 5 * 4096 + 9, 6), 0);
	ck_assert_mem_eq(bytes, "within", 6);
	fd = open(path, O_RDONLY);
	ck_assert_int_eq(pread(fd, bytes, 6, 5 * 4096 + 9), 6);
	ck_assert_mem_eq(bytes, "within", 6);
	close(fd);
	ck_assert_int_eq(tm_disk_flush(rig.disk), 0);
	end(&rig, path);
}
END_TEST

static void write_meanwhile(struct disk_rig *rig)
{
	ck_assert_int_eq(rig_write(rig, 7, 2), 0);
}

static void discard_meanwhile(struct disk_rig *rig)
{
	ck_assert_int_eq(tm_disk_discard(rig->disk, 7 * 4096, 4096), 0);
}

START_TEST(a_fill_that_raced_a_write_is_not_put)
{
	char path[RIG_PATH];
	struct disk_rig rig;

	begin(&rig, path);
	hook.meanwhile = _i ? discard_meanwhile : write_meanwhile;
	/* Began before the write: either is right. */
	ck_assert_int_eq(rig_read(&rig, 7, 1), 0);
	ck_assert_uint_eq(rig_info(&rig).fills_dropped, 1);
	ck_assert_uint_eq(rig_info(&rig).blocks_in_tmem, 0);
	ck_assert_int_eq(rig_read(&rig, 7, _i ? 0 : 2), 0);
	ck_assert_int_eq(rig_read(&rig, 7, _i ? 0 : 2), 0);
	ck_assert_uint_eq(rig_info(&rig).hits, 1);
	end(&rig, path);
}
END_TEST

static pthread_t overtaken;

static void *read_it(void *opaque)
{
	/* Either is right. */
	uint8_t page[TM_BLOCK_SIZE];
	struct disk_rig *rig = opaque;

	return (void *)(intptr_t)tm_disk_read(rig->disk, page, 7 * 4096, 4096);
}

/* Somebody reads the old block, and gets as far as its fill. */
static void read_meanwhile(struct disk_rig *rig)
{
	uint64_t before = hook.bytes;

	pthread_create(&overtaken, NULL, read_it, rig);
	while (hook.bytes == before)
		usleep(100);
}

START_TEST(a_read_within_a_write_fills_nothing)
{
	char path[RIG_PATH];
	struct disk_rig rig;
	void *result;

	begin(&rig, path);
	hook.before_write = read_meanwhile;
	ck_assert_int_eq(rig_write(&rig, 7, 2), 0);
	pthread_join(overtaken, &result);
	ck_assert_ptr_null(result);
	ck_assert_int_eq(rig_read(&rig, 7, 2), 0);
	end(&rig, path);
}
END_TEST

START_TEST(discarded_blocks_leave_image_and_pool)
{
	char path[RIG_PATH];
	struct disk_rig rig;
	struct stat before, after;
	uint64_t extent_end;

	begin(&rig, path);
	read_all_of(&rig, 1);
	ck_assert_int_eq(stat(path, &before), 0);
	ck_assert_int_eq(tm_disk_discard(rig.disk, 10 * 4096 + 1, 20 * 4096),
			 0);
	for (uint64_t b = 0; b < 60; b++)
		ck_assert_int_eq(rig_read(&rig, b, b > 10 && b < 30 ? 0 : 1),
				 0);
	ck_assert_int_eq(tm_disk_extent(rig.disk, 0, &extent_end), 1);
	ck_assert_uint_eq(extent_end, 11 * 4096);
	ck_assert_int_eq(tm_disk_extent(rig.disk, 12 * 4096 + 7, &extent_end),
			 0);
	ck_assert_uint_eq(extent_end, 30 * 4096);
	ck_assert_int_eq(tm_disk_extent(rig.disk, 30 * 4096, &extent_end), 1);
	ck_assert_uint_eq(extent_end, SIZE_BYTES);
	ck_assert_int_eq(stat(path, &after), 0);
	ck_assert_int_eq(before.st_blocks - after.st_blocks, 19 * 8);
	ck_assert_int_eq(tm_disk_write_zeroes(rig.disk, 40 * 4096, 4096), 0);
	ck_assert_int_eq(rig_read(&rig, 40, 0), 0);
	end(&rig, path);
}
END_TEST

/* An image of 8 MiB, so that one request can be for more than is written. */
START_TEST(without_holes_few_zeros_are_written_and_nothing_discarded)
{
	const uint64_t most = TM_DISK_ZEROS_MAX_BYTES;
	char path[RIG_PATH];
	struct disk_rig rig;

	begin(&rig, path);
	tm_disk_close(rig.disk);
	ck_assert_int_eq(truncate(path, 8 << 20), 0);
	rig_must_open(&rig);
	hook.has_no_holes = true;
	read_all_of(&rig, 1);
	ck_assert_int_eq(tm_disk_discard(rig.disk, 0, 20 * 4096), -EOPNOTSUPP);
	ck_assert_int_eq(tm_disk_write_zeroes(rig.disk, 100, most + 1),
			 -EOPNOTSUPP);
	read_all_of(&rig, 1);
	ck_assert_int_eq(tm_disk_write_zeroes(rig.disk, 10 * 4096, 20 * 4096),
			 0);
	for (uint64_t b = 0; b < 60; b++)
		ck_assert_int_eq(rig_read(&rig, b, b >= 10 && b < 30 ? 0 : 1),
				 0);
	ck_assert_int_eq(tm_disk_write_zeroes(rig.disk, 4096 + 700, most), 0);
	ck_assert_int_eq(rig_read(&rig, 0, 1), 0);
	for (uint64_t b = 2; b < BLOCKS; b++)
		ck_assert_int_eq(rig_read(&rig, b, 0), 0);
	ck_assert_uint_eq(rig_info(&rig).errors, 0);
	ck_assert_uint_eq(rig_info(&rig).blocks_discarded, 0);
	end(&rig, path);
}
END_TEST

START_TEST(prefetched_blocks_are_hits)
{
	char path[RIG_PATH];
	struct disk_rig rig;

	begin(&rig, path);
	ck_assert_int_eq(tm_disk_prefetch(rig.disk, 0, SIZE_BYTES), 0);
	ck_assert_uint_eq(rig_info(&rig).image_reads, BLOCKS);
	hook.bytes = 0;
	read_all_of(&rig, 1);
	ck_assert_uint_eq(hook.bytes, 0);
	end(&rig, path);
}
END_TEST

START_TEST(without_memory_the_image_answers)
{
	char path[RIG_PATH];
	struct disk_rig rig;

	rig_path(path, "image");
	put_image(path, 1);
	begin_on(&rig, TMEM_MEMORY_MIN, path);
	rig_must_open(&rig);
	for (int round = 0; round < 3; round++)
		read_all_of(&rig, 1);
	/* It does not fit: something was evicted or refused. */
	ck_assert_uint_lt(rig_info(&rig).blocks_in_tmem, BLOCKS - 1);
	end(&rig, path);
}
END_TEST

/* --- identity ------------------------------------------------------------- */

START_TEST(an_unchanged_image_finds_its_pages_again)
{
	char path[RIG_PATH];
	struct disk_rig rig;

	begin(&rig, path);
	read_all_of(&rig, 1);
	rig_reopen(&rig);
	hook.bytes = 0;
	read_all_of(&rig, 1);
	ck_assert_uint_eq(hook.bytes, 0);
	end(&rig, path);
}
END_TEST

static int count_pools(struct disk_rig *rig)
{
	int count = 0;

	for (int id = 0; id < TMEM_POOLS_MAX; id++) {
		struct tmem_pool_info info = { .struct_size = sizeof(info) };

		count += !tmem_pool_get_info(rig->t.client, id, &info);
	}
	return count;
}

/* By somebody else while it is closed, or by the disk itself before. */
START_TEST(a_changed_image_is_another_pool)
{
	char path[RIG_PATH];
	struct disk_rig rig;

	begin(&rig, path);
	read_all_of(&rig, 1);
	if (_i) {
		ck_assert_int_eq(rig_write(&rig, 5, 1), 0);
		tm_disk_close(rig.disk);
	} else {
		tm_disk_close(rig.disk);
		put_image(path, 2);
	}
	rig_must_open(&rig);
	ck_assert_uint_eq(rig_info(&rig).blocks_in_tmem, 0);
	/* Nobody finds the other one's pages: they are gone. */
	ck_assert_int_eq(count_pools(&rig), 1);
	read_all_of(&rig, _i ? 1 : 2);
	end(&rig, path);
}
END_TEST

START_TEST(an_image_that_changes_under_a_reader_drops_the_pool)
{
	char path[RIG_PATH];
	struct disk_rig rig;

	rig_path(path, "image");
	put_image(path, 1);
	begin_on(&rig, ROOMY, path);
	rig.config.is_readonly = true;
	rig_must_open(&rig);
	for (uint32_t g = 1; g < 25; g++) {
		read_all_of(&rig, g);
		read_all_of(&rig, g);
		put_image(path, g + 1);
	}
	ck_assert_uint_gt(rig_info(&rig).hits, 20 * (BLOCKS - 1));
	end(&rig, path);
}
END_TEST

/* It could have been changed again and look the same. */
START_TEST(an_image_that_does_not_settle_is_not_cached)
{
	char path[RIG_PATH];
	struct disk_rig rig;

	rig_path(path, "image");
	put_image(path, 1);
	begin_on(&rig, ROOMY, path);
	rig.config.is_readonly = true;
	hook.is_changing = true;
	rig_must_open(&rig);
	for (uint64_t b = 0; b < 3; b++)
		ck_assert_int_eq(rig_read(&rig, b, 1), 0);
	hook.is_changing = false;
	put_image(path, 2);
	read_all_of(&rig, 2);
	hook.bytes = 0;
	read_all_of(&rig, 2);
	ck_assert_uint_eq(hook.bytes, 0);
	end(&rig, path);
}
END_TEST

START_TEST(an_image_from_the_future_is_cached)
{
	struct timespec times[2];
	char path[RIG_PATH];
	struct disk_rig rig;

	rig_path(path, "image");
	put_image(path, 1);
	clock_gettime(CLOCK_REALTIME, &times[0]);
	times[0].tv_sec += 3600;
	times[1] = times[0];
	ck_assert_int_eq(utimensat(AT_FDCWD, path, times, 0), 0);
	begin_on(&rig, ROOMY, path);
	rig.config.is_readonly = true;
	for (int life = 0; life < 2; life++) {
		rig_must_open(&rig);
		read_all_of(&rig, 1);
		tm_disk_close(rig.disk);
	}
	ck_assert_uint_eq(hook.bytes, (BLOCKS - 1) * TM_BLOCK_SIZE);
	tm_test_end(&rig.t);
	unlink(path);
}
END_TEST

/* --- sharing -------------------------------------------------------------- */

/* Two guests boot from one image. */
START_TEST(clients_that_share_read_the_image_once)
{
	char path[RIG_PATH];
	struct disk_rig rig, second;

	rig_path(path, "image");
	put_image(path, 1);
	begin_on(&rig, ROOMY, path);
	rig.config.is_readonly = true;
	rig.config.share = "base";
	rig_must_open(&rig);
	read_all_of(&rig, 1);
	second = rig;
	second.t.client = tm_test_attach(rig.t.store, "second");
	rig_must_open(&second);
	hook.bytes = 0;
	read_all_of(&second, 1);
	ck_assert_uint_eq(hook.bytes, 0);
	ck_assert_uint_eq(rig_info(&second).hits, BLOCKS - 1);
	/* Another name, another pool. */
	tm_disk_close(second.disk);
	second.config.share = "other";
	rig_must_open(&second);
	read_all_of(&second, 1);
	ck_assert_uint_eq(hook.bytes, (BLOCKS - 1) * TM_BLOCK_SIZE);
	tm_disk_close(second.disk);
	tmem_client_detach(second.t.client);
	end(&rig, path);
}
END_TEST

START_TEST(nonsense_is_refused_with_a_sentence)
{
	char path[RIG_PATH], empty[RIG_PATH];
	struct disk_rig rig;
	struct tm_disk *writer;

	rig_path(path, "image");
	rig_path(empty, "empty");
	put_image(path, 1);
	close(open(empty, O_WRONLY | O_CREAT, 0600));
	begin_on(&rig, ROOMY, NULL);
	ck_assert_int_eq(rig_open_disk(&rig), -EINVAL);
	rig.config.image = "/nonexistent";
	ck_assert_int_eq(rig_open_disk(&rig), -ENOENT);
	rig.config.image = "/dev/zero";
	ck_assert_int_eq(rig_open_disk(&rig), -EMEDIUMTYPE);
	rig.config.image = "/dev/shm";
	ck_assert_int_eq(rig_open_disk(&rig), -EISDIR);
	rig.config.image = empty;
	ck_assert_int_eq(rig_open_disk(&rig), -EINVAL);
	ck_assert_ptr_nonnull(strstr(rig.disk_error, "empty"));
	rig.config.image = path;
	rig.config.share = "writable";
	ck_assert_int_eq(rig_open_disk(&rig), -EINVAL);
	rig.config.share = NULL;
	rig.config.size_bytes = 4096;
	ck_assert_int_eq(rig_open_disk(&rig), -EINVAL);
	rig.config.size_bytes = 0;
	ck_assert_uint_eq(rig.disk_errors, 7);
	/* A writer has it alone. */
	rig_must_open(&rig);
	writer = rig.disk;
	rig.config.is_readonly = true;
	ck_assert_int_eq(rig_open_disk(&rig), -EBUSY);
	rig.disk = writer;
	ck_assert_int_eq(tm_disk_demote(rig.disk, 4096), -EOPNOTSUPP);
	unlink(empty);
	end(&rig, path);
}
END_TEST

/* --- many at once --------------------------------------------------------- */

#define THREADS 3
#define ROUNDS 3000

struct worker {
	struct disk_rig *rig;
	uint64_t random;
	int number;
	bool is_wrong;
};

/* Each writes its own blocks and so knows them; reads go across, so that
 * others fill while it writes. */
static void *work(void *opaque)
{
	struct worker *w = opaque;
	uint32_t generations[BLOCKS];
	uint8_t *many = malloc(16 * TM_BLOCK_SIZE);
	uint8_t page[TM_BLOCK_SIZE];

	for (int i = 0; i < BLOCKS; i++)
		generations[i] = 1;
	for (int i = 0; i < ROUNDS; i++) {
		uint64_t r = tm_test_random(&w->random);
		uint64_t own = (r >> 8) % (BLOCKS / THREADS - 1) * THREADS +
			       (uint64_t)w->number;
		int err = 0;

		if (r % 4 == 0) {
			rig_page(page, own, ++generations[own]);
			err = tm_disk_write(w->rig->disk, page,
					    own * TM_BLOCK_SIZE, TM_BLOCK_SIZE);
		} else {
			uint64_t first = own < 8 ? 0 : own - 8;

			if (first > BLOCKS - 17)
				first = BLOCKS - 17;
			err = tm_disk_read(w->rig->disk, many,
					   first * TM_BLOCK_SIZE,
					   16 * TM_BLOCK_SIZE);
			rig_page(page, own, generations[own]);
			w->is_wrong |=
				memcmp(many + (own - first) * TM_BLOCK_SIZE,
				       page, sizeof(page));
		}
		w->is_wrong |= err;
	}
	free(many);
	return NULL;
}

START_TEST(who_wrote_reads_it_whoever_fills)
{
	uint64_t seed = tm_test_seed();
	struct worker workers[THREADS];
	pthread_t threads[THREADS];
	char path[RIG_PATH];
	struct disk_rig rig;

	rig_path(path, "image");
	put_image(path, 1);
	begin_on(&rig, _i ? TM_MIB / 2 : ROOMY, path);
	rig_must_open(&rig);
	for (int n = 0; n < THREADS; n++) {
		workers[n] = (struct worker){ &rig, tm_test_random(&seed), n,
					      false };
		ck_assert_int_eq(
			pthread_create(&threads[n], NULL, work, &workers[n]),
			0);
	}
	for (int n = 0; n < THREADS; n++) {
		pthread_join(threads[n], NULL);
		ck_assert(!workers[n].is_wrong);
	}
	end(&rig, path);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("disk_cache");
	TCase *tc = tcase_create("cache");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, read_twice_the_image_is_read_once);
	tcase_add_test(tc, the_last_block_is_as_short_as_the_image);
	tcase_add_test(tc, writes_go_through_and_invalidate);
	tcase_add_loop_test(tc, a_fill_that_raced_a_write_is_not_put, 0, 2);
	tcase_add_test(tc, a_read_within_a_write_fills_nothing);
	tcase_add_test(tc, discarded_blocks_leave_image_and_pool);
	tcase_add_test(
		tc, without_holes_few_zeros_are_written_and_nothing_discarded);
	tcase_add_test(tc, prefetched_blocks_are_hits);
	tcase_add_test(tc, without_memory_the_image_answers);
	tcase_add_test(tc, an_unchanged_image_finds_its_pages_again);
	tcase_add_loop_test(tc, a_changed_image_is_another_pool, 0, 2);
	tcase_add_test(tc, an_image_that_changes_under_a_reader_drops_the_pool);
	tcase_add_test(tc, an_image_that_does_not_settle_is_not_cached);
	tcase_add_test(tc, an_image_from_the_future_is_cached);
	tcase_add_test(tc, clients_that_share_read_the_image_once);
	tcase_add_test(tc, nonsense_is_refused_with_a_sentence);
	tcase_add_loop_test(tc, who_wrote_reads_it_whoever_fills, 0, 2);
	suite_add_tcase(suite, tc);
	return tm_test_run(suite);
}
