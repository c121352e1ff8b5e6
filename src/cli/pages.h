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

#include <stdbool.h>
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
 * @sample: keep at most these, evenly spread over the source; 0: keep all
 * @step: every so many pages are kept; doubles when @sample is reached
 * @offered: pages that the source had so far
 * @drain: NULL, or takes the pages away when some have gathered, so that a
 *	source of any size needs little memory; 0, or a negative errno after a
 *	message, which ends the reading
 * @opaque: for @drain
 * @drained: how many it has taken
 * @error: what @drain answered
 */
struct tm_pages {
	uint8_t *bytes;
	size_t count;
	size_t room;
	size_t limit;
	int was_cut;
	size_t sample;
	size_t step;
	uint64_t offered;
	int (*drain)(struct tm_pages *pages);
	void *opaque;
	uint64_t drained;
	int error;
};

static inline uint8_t *tm_pages_at(const struct tm_pages *pages, size_t n)
{
	return pages->bytes + n * 4096;
}

/* Is the source's next page wanted, or does the sample go without it? */
bool tm_pages_wants(struct tm_pages *pages);
/* One page more, uninitialised; NULL: see tm_pages_full(). */
uint8_t *tm_pages_add(struct tm_pages *pages);
/* Why there was no page: 1 (the limit is reached), or an error. */
int tm_pages_full(const struct tm_pages *pages);
/* Hands the rest to @drain. */
int tm_pages_drain(struct tm_pages *pages);
void tm_pages_free(struct tm_pages *pages);

/* The sources. All add to @pages; 0, or a negative errno after a message that
 * names what was wrong. A source without a single page is an error. */
int tm_pages_of_process(struct tm_pages *pages, pid_t pid);
int tm_pages_of_file(struct tm_pages *pages, const char *path);
int tm_pages_of_dump(struct tm_pages *pages, const char *path);
/* A file, or all files below a directory, of which those that cannot be read
 * are named and passed over. */
int tm_pages_of_path(struct tm_pages *pages, const char *path);

/**
 * tm_pages_walk() - all regular files below a path, in a stable order
 * @path: a file or a directory; symbolic links below it are not followed
 * @file: called for each file; what it answers < 0 ends the walk
 * @opaque: passed to @file
 *
 * Empty files are passed over; so are unreadable directories, with a message.
 *
 * Return: 0, or a negative errno after a message.
 */
int tm_pages_walk(const char *path, int (*file)(void *opaque, const char *path),
		  void *opaque);

#endif
