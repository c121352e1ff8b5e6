/* SPDX-License-Identifier: BSD-2-Clause */
/* Pages of files, directories and dumps; see pages.h. */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"
#include "pages.h"

#define PAGE TMEM_PAGE_SIZE
#define ROOM_FIRST 256

int tm_pages_drain(struct tm_pages *pages)
{
	if (!pages->error)
		pages->error = pages->drain(pages);
	pages->drained += pages->count;
	pages->count = 0;
	return pages->error;
}

/* Every second page of the sample goes, and from now on of the source. */
static void thin_out(struct tm_pages *pages)
{
	size_t kept = 0;

	for (size_t i = 0; i < pages->count; i += 2)
		memcpy(tm_pages_at(pages, kept++), tm_pages_at(pages, i), PAGE);
	pages->count = kept;
	pages->step *= 2;
}

bool tm_pages_wants(struct tm_pages *pages)
{
	uint64_t number = pages->offered++;

	if (!pages->sample)
		return true;
	if (!pages->step)
		pages->step = 1;
	if (number % pages->step)
		return false;
	if (pages->count == pages->sample)
		thin_out(pages);
	return number % pages->step == 0;
}

int tm_pages_full(const struct tm_pages *pages)
{
	if (pages->was_cut)
		return 1;
	return pages->error ? pages->error : -ENOMEM;
}

static int make_room(struct tm_pages *pages)
{
	size_t room = pages->room ? 2 * pages->room : ROOM_FIRST;
	size_t had = pages->room * PAGE;
	void *bytes;

	bytes = pages->bytes ? mremap(pages->bytes, had, room * PAGE,
				      MREMAP_MAYMOVE) :
			       mmap(NULL, room * PAGE, PROT_READ | PROT_WRITE,
				    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (bytes == MAP_FAILED)
		return -ENOMEM;
	pages->bytes = bytes;
	pages->room = room;
	return 0;
}

uint8_t *tm_pages_add(struct tm_pages *pages)
{
	if (pages->limit && pages->count + pages->drained == pages->limit) {
		pages->was_cut = 1;
		return NULL;
	}
	if (pages->drain && pages->count == ROOM_FIRST && tm_pages_drain(pages))
		return NULL;
	if (pages->count == pages->room && make_room(pages))
		return NULL;
	return tm_pages_at(pages, pages->count++);
}

void tm_pages_free(struct tm_pages *pages)
{
	if (pages->bytes)
		munmap(pages->bytes, pages->room * PAGE);
	*pages = (struct tm_pages){ 0 };
}

/* A page, or what is left of the file; short only at its end. */
static ssize_t read_page(int fd, uint8_t *page)
{
	size_t got = 0;

	while (got < PAGE) {
		ssize_t n = read(fd, page + got, PAGE - got);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		got += (size_t)n;
	}
	return (ssize_t)got;
}

static int no_room(const struct tm_pages *pages, const char *path)
{
	int full = tm_pages_full(pages);

	if (full == -ENOMEM)
		tm_cli_error("%s: not enough memory for its pages", path);
	return full < 0 ? full : 0;
}

static int read_all(struct tm_pages *pages, int fd, const char *path)
{
	uint8_t page[PAGE];
	ssize_t got;

	while ((got = read_page(fd, page)) > 0) {
		uint8_t *to;

		if (!tm_pages_wants(pages))
			continue;
		to = tm_pages_add(pages);
		if (!to)
			return no_room(pages, path);
		memset(page + got, 0, PAGE - (size_t)got);
		memcpy(to, page, PAGE);
	}
	if (got < 0)
		tm_cli_error("%s: cannot be read: %s", path,
			     strerror((int)-got));
	return (int)got;
}

static int open_regular(const char *path, struct stat *st)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	int err;

	if (fd < 0 || fstat(fd, st)) {
		err = -errno;
		tm_cli_error("%s: cannot be opened: %s", path, strerror(-err));
		if (fd >= 0)
			close(fd);
		return err;
	}
	if (S_ISREG(st->st_mode))
		return fd;
	close(fd);
	tm_cli_error("%s: is not a regular file", path);
	return -EINVAL;
}

int tm_pages_of_file(struct tm_pages *pages, const char *path)
{
	uint64_t before = pages->offered;
	struct stat st;
	int fd = open_regular(path, &st);
	int err;

	if (fd < 0)
		return fd;
	err = read_all(pages, fd, path);
	close(fd);
	if (!err && pages->offered == before) {
		tm_cli_error("%s: is empty: there is no page in it", path);
		err = -ENODATA;
	}
	return err;
}

int tm_pages_of_dump(struct tm_pages *pages, const char *path)
{
	struct stat st;
	int fd = open_regular(path, &st);

	if (fd < 0)
		return fd;
	close(fd);
	if (st.st_size % PAGE) {
		tm_cli_error("%s: is not a dump of pages: its %lld bytes are "
			     "not a multiple of %d; `tmem capture` makes one",
			     path, (long long)st.st_size, PAGE);
		return -EINVAL;
	}
	return tm_pages_of_file(pages, path);
}

static int by_name(const FTSENT **a, const FTSENT **b)
{
	return strcmp((*a)->fts_name, (*b)->fts_name);
}

int tm_pages_walk(const char *path, int (*file)(void *opaque, const char *path),
		  void *opaque)
{
	char *copy = strdup(path);
	char *paths[] = { copy, NULL };
	FTS *fts = copy ? fts_open(paths,
				   FTS_PHYSICAL | FTS_COMFOLLOW | FTS_NOCHDIR,
				   by_name) :
			  NULL;
	FTSENT *entry;
	int err = 0;

	if (!fts) {
		free(copy);
		return -ENOMEM;
	}
	while (err >= 0 && (entry = fts_read(fts))) {
		switch (entry->fts_info) {
		case FTS_F:
			if (entry->fts_statp->st_size)
				err = file(opaque, entry->fts_path);
			break;
		case FTS_DNR:
		case FTS_ERR:
		case FTS_NS:
			tm_cli_error("%s: %s", entry->fts_path,
				     strerror(entry->fts_errno));
			if (entry->fts_level == 0)
				err = -entry->fts_errno;
			break;
		default:
			break;
		}
	}
	fts_close(fts);
	free(copy);
	return err < 0 ? err : 0;
}

static int add_file(void *opaque, const char *path)
{
	struct tm_pages *pages = opaque;

	tm_pages_of_file(pages, path);
	return pages->was_cut ? -ECANCELED : pages->error;
}

int tm_pages_of_path(struct tm_pages *pages, const char *path)
{
	uint64_t before = pages->offered;
	struct stat st;
	int err;

	if (stat(path, &st) || !S_ISDIR(st.st_mode))
		return tm_pages_of_file(pages, path);
	err = tm_pages_walk(path, add_file, pages);
	if (pages->was_cut)
		return 0;
	if (!err && pages->offered == before) {
		tm_cli_error("%s: there is no page in the files below it",
			     path);
		err = -ENODATA;
	}
	return err;
}
