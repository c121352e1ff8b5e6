/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Real pages: of processes, of files, of dumps.
 *
 * The problem: a process goes on while it is read, and a file may shrink, so
 * what is measured or compared must be a copy of its own. The idea: whatever
 * the source, its pages are copied once into memory of ours, and that copy is
 * what everybody works on.
 *
 * A page of a process is counted when the kernel says that it is present or
 * swapped and not a page of a file: what would be swapped out. Of a file every
 * 4096 bytes are a page, the last filled up with zeros. A dump is raw pages and
 * nothing else.
 */
#ifndef TM_PAGES_H
#define TM_PAGES_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/**
 * struct tm_pages - pages of one source
 * @bytes: @count times TMEM_PAGE_SIZE bytes
 * @count: how many
 * @room: how many there is room for
 * @limit: never more than these; 0: no limit
 * @was_cut: the source had more than @limit
 */
struct tm_pages {
	uint8_t *bytes;
	size_t count;
	size_t room;
	size_t limit;
	int was_cut;
};

static inline uint8_t *tm_pages_at(const struct tm_pages *pages, size_t n)
{
	return pages->bytes + n * 4096;
}

/* One page more, uninitialised; NULL: no memory, or the limit is reached. */
uint8_t *tm_pages_add(struct tm_pages *pages);
void tm_pages_free(struct tm_pages *pages);

/* The sources. All add to @pages; 0, or a negative errno after a message that
 * names what was wrong. A source without a single page is an error. */
int tm_pages_of_process(struct tm_pages *pages, pid_t pid);
int tm_pages_of_file(struct tm_pages *pages, const char *path);
int tm_pages_of_dump(struct tm_pages *pages, const char *path);

/**
 * tm_pages_walk() - all regular files below a path, in a stable order
 * @path: a file or a directory; symbolic links are not followed
 * @file: called for each file; what it answers < 0 ends the walk
 * @opaque: passed to @file
 *
 * Empty files are passed over; so are unreadable directories, with a message.
 *
 * Return: 0, or a negative errno after a message.
 */
int tm_pages_walk(const char *path, int (*file)(void *opaque, const char *path),
		  void *opaque);

/* Leaves every n-th page, so that about @count remain. */
void tm_pages_sample(struct tm_pages *pages, size_t count);

#endif
