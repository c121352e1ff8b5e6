/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A page cache over files, whose clean victims go to a cleancache.
 *
 * All pages here are clean: writes go through to the file first. See
 * pagecache.c for who locks what, and for what a file changed by others means.
 */
#ifndef EXAMPLE_PAGECACHE_H
#define EXAMPLE_PAGECACHE_H

#include <sys/types.h>

#include <tmem/linux.h>

struct page_cache;
struct cached_file;

struct page_cache_counts {
	uint64_t hits; /* pages found here */
	uint64_t source_reads; /* pages read from their file */
	uint64_t changes; /* times a file had changed underneath */
	struct tmem_cleancache_counts cleancache;
};

/* @pages: at most that many here. @delay_us: before each read of a file, to
 * make it slow. NULL: no memory. */
struct page_cache *page_cache_open(struct tmem_cleancache *cleancache,
				   uint64_t pages, unsigned delay_us);
void page_cache_close(struct page_cache *cache);
void page_cache_get_counts(struct page_cache *cache,
			   struct page_cache_counts *counts);

/* The file behind @fd; the same one for all who have it open. 0, or a negative
 * errno. */
int cached_file_open(struct page_cache *cache, int fd,
		     struct cached_file **file);
void cached_file_close(struct cached_file *file);

/* As pread(), pwrite() and ftruncate() of @fd, but for the errors, which are
 * negative. */
ssize_t cached_file_read(struct cached_file *file, int fd, void *to,
			 size_t size, off_t offset);
ssize_t cached_file_write(struct cached_file *file, int fd, const void *from,
			  size_t size, off_t offset);
int cached_file_truncate(struct cached_file *file, int fd, off_t size);
/* Nothing of it is worth keeping. */
void cached_file_forget(struct cached_file *file);

#endif
