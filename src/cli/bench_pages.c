/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The pages a bench works on: read from a dump, or captured.
 *
 * A dump is raw 4096-byte pages and nothing else, and is used as it is: its
 * duplicates and same-filled pages are put as well. Times beside those of a
 * codec are taken over the pages that a codec sees; the others would only
 * flatter them.
 *
 * The pages are read into anonymous memory, which is where a guest's are.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench.h"

bool tm_bench_is_same_filled(const uint8_t *page)
{
	uint64_t first, second;

	memcpy(&first, page, sizeof(first));
	memcpy(&second, page + sizeof(first), sizeof(second));
	return first == second &&
	       !memcmp(page, page + sizeof(first),
		       TMEM_PAGE_SIZE - sizeof(first));
}

int tm_bench_pages_make(struct tm_bench_pages *pages, uint32_t room)
{
	void *bytes = mmap(NULL, (size_t)room * TMEM_PAGE_SIZE,
			   PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	*pages = (struct tm_bench_pages){ 0 };
	if (bytes == MAP_FAILED) {
		tm_bench_complain("no memory for %u pages", room);
		return -ENOMEM;
	}
	pages->bytes = bytes;
	pages->room = room;
	return 0;
}

void tm_bench_pages_free(struct tm_bench_pages *pages)
{
	if (pages->bytes)
		munmap(pages->bytes, (size_t)pages->room * TMEM_PAGE_SIZE);
	free(pages->order);
	*pages = (struct tm_bench_pages){ 0 };
}

int tm_bench_pages_sort(struct tm_bench_pages *pages)
{
	pages->order = malloc(((size_t)pages->count + 1) *
			      sizeof(*pages->order));
	if (!pages->order) {
		tm_bench_complain("no memory for %u pages", pages->count);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < pages->count; i++)
		if (!tm_bench_is_same_filled(tm_bench_page(pages, i)))
			pages->order[pages->order_count++] = i;
	pages->same_filled = pages->count - pages->order_count;
	if (pages->order_count)
		return 0;
	tm_bench_complain("all %u pages are of one repeated word: there is "
			  "nothing to compress", pages->count);
	return -EINVAL;
}

static int read_all(int fd, uint8_t *bytes, size_t size)
{
	while (size) {
		ssize_t got = read(fd, bytes, size);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (!got)
			return -EIO;
		bytes += got;
		size -= (size_t)got;
	}
	return 0;
}

/* How many pages a dump has, or a negative errno. */
static int64_t dump_pages(int fd, const char *path)
{
	struct stat st;

	if (fstat(fd, &st) < 0) {
		tm_bench_complain("%s: %s", path, strerror(errno));
		return -errno;
	}
	if (!S_ISREG(st.st_mode)) {
		tm_bench_complain("%s: not a file", path);
		return -EINVAL;
	}
	if (!st.st_size) {
		tm_bench_complain("%s: empty", path);
		return -EINVAL;
	}
	if (st.st_size % TMEM_PAGE_SIZE) {
		tm_bench_complain("%s: its %lld bytes are not a multiple of "
				  "%d: not a dump of pages", path,
				  (long long)st.st_size, TMEM_PAGE_SIZE);
		return -EINVAL;
	}
	return st.st_size / TMEM_PAGE_SIZE;
}

static int read_dump(struct tm_bench_pages *pages, int fd, const char *path,
		     uint64_t most)
{
	int64_t count = dump_pages(fd, path);
	int err;

	if (count < 0)
		return (int)count;
	if (most && (uint64_t)count > most)
		count = (int64_t)most;
	/* Page numbers have 32 bits, and the memory limit some slack. */
	if (count > INT32_MAX) {
		tm_bench_complain("%s: more than %d pages: give --count", path,
				  INT32_MAX);
		return -EFBIG;
	}
	err = tm_bench_pages_make(pages, (uint32_t)count);
	if (err)
		return err;
	err = read_all(fd, pages->bytes, (size_t)count * TMEM_PAGE_SIZE);
	if (err) {
		tm_bench_complain("%s: %s", path, strerror(-err));
		return err;
	}
	pages->count = (uint32_t)count;
	return tm_bench_pages_sort(pages);
}

int tm_bench_pages_read(struct tm_bench_pages *pages, const char *path,
			uint64_t count)
{
	/* Without O_NONBLOCK a FIFO would wait for its writer. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	int err;

	*pages = (struct tm_bench_pages){ 0 };
	if (fd < 0) {
		err = -errno;
		tm_bench_complain("%s: %s", path, strerror(errno));
		return err;
	}
	err = read_dump(pages, fd, path, count);
	close(fd);
	if (err)
		tm_bench_pages_free(pages);
	return err;
}
