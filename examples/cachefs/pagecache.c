/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A page cache, small, with a cleancache behind it.
 *
 *	read:  here, or else in the cleancache, or else from the file
 *	full:  the page whose turn it is leaves, and is put into the cleancache
 *	write: to the file; then what covers it is dropped, here and there
 *
 * Three things could bring back bytes that the file no longer has.
 *
 * - A page that leaves while its file is written: it is taken out of the table
 *   and put under one lock, so that whoever invalidates comes before (and there
 *   is nothing to leave) or after (and finds it in the cleancache).
 * - An inode number that is used again: a file's key is its number and the time
 *   it was made at, which encode_handle() makes a file handle of.
 * - A file that others change underneath: its times and size are compared
 *   before each read. Times move in ticks of some milliseconds, so what was
 *   seen within a moment of the last change is not believed the next time.
 *   What cannot be seen: another's write that falls into the same tick as one
 *   of ours.
 *
 * What is known of a file is kept after it is closed, as are its pages; of too
 * many files, one that nobody has open is forgotten with its pages.
 *
 * Locks: a file's, over all that is done with it; then files_lock; then
 * pages_lock, under which a victim is put.
 */
#define _GNU_SOURCE
#include "pagecache.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#define PAGE TMEM_PAGE_SIZE
#define FILES_MAX 4096
#define MOMENT_NS 50000000
#define HANDLE_TYPE 1

/* What changes when a file does. */
struct signature {
	struct timespec modified, changed;
	off_t size;
};

struct cached_file {
	struct page_cache *cache;
	uint32_t handle[TMEM_CLEANCACHE_KEY_MAX];
	/* guarded by files_lock */
	struct cached_file *next;
	unsigned opens;
	/* guarded by lock */
	pthread_mutex_t lock;
	struct signature signature;
	bool is_doubtful; /* taken within a moment of the change */
};

struct frame {
	struct cached_file *file; /* NULL: free */
	uint64_t index;
	struct frame *next; /* of its bucket */
	bool is_used; /* since the hand was here */
	uint8_t *page;
};

struct page_cache {
	struct tmem_cleancache *cleancache;
	struct tmem_cleancache_fs *fs;
	unsigned delay_us;
	/* guarded by files_lock */
	pthread_mutex_t files_lock;
	struct cached_file *files;
	unsigned file_count;
	/* guarded by pages_lock */
	pthread_mutex_t pages_lock;
	struct frame *frames;
	struct frame **buckets; /* as many as frames */
	uint64_t frame_count;
	uint64_t hand;
	uint8_t *pages;
	/* statistics */
	_Atomic uint64_t hits, source_reads, changes;
};

/* --- pages --------------------------------------------------------------- */

static struct tmem_cleancache_file key_of(const struct cached_file *file)
{
	return (struct tmem_cleancache_file){ .file = file };
}

static int encode_handle(const void *file, uint32_t *handle, int words,
			 int *needed)
{
	const struct cached_file *f = file;

	*needed = TMEM_CLEANCACHE_KEY_MAX;
	if (words < *needed)
		return TMEM_CLEANCACHE_HANDLE_INVALID;
	memcpy(handle, f->handle, sizeof(f->handle));
	return HANDLE_TYPE;
}

static struct frame **bucket_of(struct page_cache *cache,
				const struct cached_file *file, uint64_t index)
{
	uint64_t n = ((uintptr_t)file ^ index) * UINT64_C(0x9e3779b97f4a7c15);

	return &cache->buckets[(n >> 20) % cache->frame_count];
}

/* The link to its frame, or to NULL. */
static struct frame **find(struct page_cache *cache,
			   const struct cached_file *file, uint64_t index)
{
	struct frame **link = bucket_of(cache, file, index);

	while (*link && ((*link)->file != file || (*link)->index != index))
		link = &(*link)->next;
	return link;
}

static void unlink_frame(struct frame **link)
{
	struct frame *frame = *link;

	*link = frame->next;
	frame->file = NULL;
}

static bool copy_from_cache(struct cached_file *file, uint64_t index,
			    uint8_t *page)
{
	struct page_cache *cache = file->cache;
	struct frame *frame;

	pthread_mutex_lock(&cache->pages_lock);
	frame = *find(cache, file, index);
	if (frame) {
		frame->is_used = true;
		memcpy(page, frame->page, PAGE);
	}
	pthread_mutex_unlock(&cache->pages_lock);
	return frame;
}

/* A free frame: whose page was not used for a whole turn leaves. */
static struct frame *make_room(struct page_cache *cache)
{
	const uint32_t clean =
		TMEM_CLEANCACHE_UPTODATE | TMEM_CLEANCACHE_MAPPED;
	struct tmem_cleancache_file key;
	struct frame *frame;

	for (;;) {
		frame = &cache->frames[cache->hand];
		cache->hand = (cache->hand + 1) % cache->frame_count;
		if (!frame->file)
			return frame;
		if (!frame->is_used)
			break;
		frame->is_used = false;
	}
	key = key_of(frame->file);
	tmem_cleancache_removed(cache->fs, &key, frame->index, frame->page,
				clean);
	unlink_frame(find(cache, frame->file, frame->index));
	return frame;
}

static void keep(struct cached_file *file, uint64_t index, const uint8_t *page)
{
	struct page_cache *cache = file->cache;
	struct frame **bucket = bucket_of(cache, file, index);
	struct frame *frame;

	pthread_mutex_lock(&cache->pages_lock);
	frame = make_room(cache);
	frame->file = file;
	frame->index = index;
	frame->is_used = false;
	frame->next = *bucket;
	*bucket = frame;
	memcpy(frame->page, page, PAGE);
	pthread_mutex_unlock(&cache->pages_lock);
}

static void drop_page(struct cached_file *file, uint64_t index)
{
	struct tmem_cleancache_file key = key_of(file);
	struct page_cache *cache = file->cache;
	struct frame **link;

	pthread_mutex_lock(&cache->pages_lock);
	link = find(cache, file, index);
	if (*link)
		unlink_frame(link);
	pthread_mutex_unlock(&cache->pages_lock);
	tmem_cleancache_invalidate_page(cache->fs, &key, index);
}

static void drop_all(struct cached_file *file)
{
	struct tmem_cleancache_file key = key_of(file);
	struct page_cache *cache = file->cache;

	pthread_mutex_lock(&cache->pages_lock);
	for (uint64_t i = 0; i < cache->frame_count; i++)
		if (cache->frames[i].file == file)
			unlink_frame(find(cache, file, cache->frames[i].index));
	pthread_mutex_unlock(&cache->pages_lock);
	tmem_cleancache_invalidate_inode(cache->fs, &key);
}

/* --- what the file itself says ------------------------------------------- */

static bool is_recent(const struct timespec *time)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (now.tv_sec - time->tv_sec) * INT64_C(1000000000) +
		       (now.tv_nsec - time->tv_nsec) <
	       MOMENT_NS;
}

static int read_signature(int fd, struct signature *signature)
{
	struct stat st;

	if (fstat(fd, &st))
		return -errno;
	memset(signature, 0, sizeof(*signature));
	signature->modified = st.st_mtim;
	signature->changed = st.st_ctim;
	signature->size = st.st_size;
	return 0;
}

/* Drops its pages if it is not as it was left. */
static int check_source(struct cached_file *file, int fd)
{
	struct signature now;
	int err = read_signature(fd, &now);

	if (err)
		return err;
	if (memcmp(&now, &file->signature, sizeof(now)) || file->is_doubtful) {
		drop_all(file);
		file->cache->changes++;
		file->signature = now;
		file->is_doubtful = is_recent(&now.changed);
	}
	return 0;
}

/* After a change of our own. */
static void accept_change(struct cached_file *file, int fd)
{
	if (read_signature(fd, &file->signature))
		file->is_doubtful = true;
}

/* A file that is shorter now has zeros there; the next look will find out. */
static int read_source(struct cached_file *file, int fd, uint64_t index,
		       uint8_t *page)
{
	size_t done = 0;

	if (file->cache->delay_us)
		usleep(file->cache->delay_us);
	while (done < PAGE) {
		ssize_t n = pread(fd, page + done, PAGE - done,
				  (off_t)(index * PAGE + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (!n)
			break;
		done += (size_t)n;
	}
	memset(page + done, 0, PAGE - done);
	file->cache->source_reads++;
	return 0;
}

/* --- files --------------------------------------------------------------- */

static int name_file(int fd, uint32_t handle[TMEM_CLEANCACHE_KEY_MAX])
{
	struct statx st;

	if (statx(fd, "", AT_EMPTY_PATH, STATX_INO | STATX_BTIME, &st))
		return -errno;
	handle[0] = (uint32_t)st.stx_ino;
	handle[1] = (uint32_t)(st.stx_ino >> 32);
	handle[2] = (uint32_t)st.stx_btime.tv_sec;
	handle[3] = st.stx_btime.tv_nsec;
	handle[4] = st.stx_dev_major;
	handle[5] = st.stx_dev_minor;
	return 0;
}

/* The caller holds files_lock. One that nobody has open, and all of it. */
static void forget_one_file(struct page_cache *cache)
{
	struct cached_file **link = &cache->files;
	struct cached_file *file;

	while (*link && (*link)->opens)
		link = &(*link)->next;
	file = *link;
	if (!file)
		return;
	*link = file->next;
	cache->file_count--;
	drop_all(file);
	pthread_mutex_destroy(&file->lock);
	free(file);
}

/* The caller holds files_lock. */
static struct cached_file *make_file(struct page_cache *cache,
				     const uint32_t *handle)
{
	struct cached_file *file = calloc(1, sizeof(*file));

	if (!file)
		return NULL;
	if (cache->file_count >= FILES_MAX)
		forget_one_file(cache);
	file->cache = cache;
	memcpy(file->handle, handle, sizeof(file->handle));
	pthread_mutex_init(&file->lock, NULL);
	file->is_doubtful = true;
	file->next = cache->files;
	cache->files = file;
	cache->file_count++;
	return file;
}

int cached_file_open(struct page_cache *cache, int fd, struct cached_file **out)
{
	uint32_t handle[TMEM_CLEANCACHE_KEY_MAX];
	struct cached_file *file;
	int err = name_file(fd, handle);

	if (err)
		return err;
	pthread_mutex_lock(&cache->files_lock);
	file = cache->files;
	while (file && memcmp(file->handle, handle, sizeof(handle)))
		file = file->next;
	if (!file)
		file = make_file(cache, handle);
	if (file)
		file->opens++;
	pthread_mutex_unlock(&cache->files_lock);
	*out = file;
	return file ? 0 : -ENOMEM;
}

void cached_file_close(struct cached_file *file)
{
	pthread_mutex_lock(&file->cache->files_lock);
	file->opens--;
	pthread_mutex_unlock(&file->cache->files_lock);
}

void cached_file_forget(struct cached_file *file)
{
	pthread_mutex_lock(&file->lock);
	drop_all(file);
	file->is_doubtful = true;
	pthread_mutex_unlock(&file->lock);
}

/* --- reading and writing ------------------------------------------------- */

static int get_page(struct cached_file *file, int fd, uint64_t index,
		    uint8_t *page)
{
	struct tmem_cleancache_file key = key_of(file);
	int err = 0;

	if (copy_from_cache(file, index, page)) {
		file->cache->hits++;
		return 0;
	}
	if (tmem_cleancache_get(file->cache->fs, &key, index, page) !=
	    TMEM_GET_HIT)
		err = read_source(file, fd, index, page);
	if (!err)
		keep(file, index, page);
	return err;
}

static ssize_t read_locked(struct cached_file *file, int fd, uint8_t *to,
			   size_t size, off_t offset)
{
	uint8_t page[PAGE];
	size_t done = 0;
	int err = check_source(file, fd);

	if (err)
		return err;
	if (offset >= file->signature.size)
		return 0;
	if ((off_t)size > file->signature.size - offset)
		size = (size_t)(file->signature.size - offset);
	while (done < size) {
		uint64_t at = (uint64_t)offset + done;
		size_t from = at % PAGE;
		size_t part =
			size - done < PAGE - from ? size - done : PAGE - from;

		err = get_page(file, fd, at / PAGE, page);
		if (err)
			return done ? (ssize_t)done : err;
		memcpy(to + done, page + from, part);
		done += part;
	}
	return (ssize_t)done;
}

ssize_t cached_file_read(struct cached_file *file, int fd, void *to,
			 size_t size, off_t offset)
{
	ssize_t result;

	pthread_mutex_lock(&file->lock);
	result = read_locked(file, fd, to, size, offset);
	pthread_mutex_unlock(&file->lock);
	return result;
}

ssize_t cached_file_write(struct cached_file *file, int fd, const void *from,
			  size_t size, off_t offset)
{
	ssize_t result;

	pthread_mutex_lock(&file->lock);
	result = check_source(file, fd);
	if (!result) {
		result = pwrite(fd, from, size, offset);
		if (result < 0)
			result = -errno;
		/* An error too may have written something. */
		for (uint64_t i = (uint64_t)offset / PAGE;
		     size && i <= ((uint64_t)offset + size - 1) / PAGE; i++)
			drop_page(file, i);
		accept_change(file, fd);
	}
	pthread_mutex_unlock(&file->lock);
	return result;
}

int cached_file_truncate(struct cached_file *file, int fd, off_t size)
{
	int err;

	pthread_mutex_lock(&file->lock);
	drop_all(file);
	err = ftruncate(fd, size) ? -errno : 0;
	accept_change(file, fd);
	drop_all(file);
	pthread_mutex_unlock(&file->lock);
	return err;
}

/* --- all of it ----------------------------------------------------------- */

static int make_frames(struct page_cache *cache)
{
	cache->frames = calloc(cache->frame_count, sizeof(*cache->frames));
	cache->buckets = calloc(cache->frame_count, sizeof(*cache->buckets));
	cache->pages = aligned_alloc(PAGE, cache->frame_count * PAGE);
	if (!cache->frames || !cache->buckets || !cache->pages)
		return -ENOMEM;
	for (uint64_t i = 0; i < cache->frame_count; i++)
		cache->frames[i].page = cache->pages + i * PAGE;
	return 0;
}

struct page_cache *page_cache_open(struct tmem_cleancache *cleancache,
				   uint64_t pages, unsigned delay_us)
{
	struct page_cache *cache = calloc(1, sizeof(*cache));
	struct tmem_cleancache_fs_config config;

	if (!cache)
		return NULL;
	tmem_cleancache_fs_config_init(&config);
	config.encode_handle = encode_handle;
	cache->cleancache = cleancache;
	cache->delay_us = delay_us;
	cache->frame_count = pages ? pages : 1;
	pthread_mutex_init(&cache->files_lock, NULL);
	pthread_mutex_init(&cache->pages_lock, NULL);
	if (make_frames(cache) ||
	    tmem_cleancache_mount(cleancache, &config, &cache->fs)) {
		page_cache_close(cache);
		return NULL;
	}
	return cache;
}

void page_cache_close(struct page_cache *cache)
{
	while (cache->files) {
		cache->files->opens = 0;
		forget_one_file(cache);
	}
	tmem_cleancache_unmount(cache->fs);
	pthread_mutex_destroy(&cache->files_lock);
	pthread_mutex_destroy(&cache->pages_lock);
	free(cache->frames);
	free(cache->buckets);
	free(cache->pages);
	free(cache);
}

void page_cache_get_counts(struct page_cache *cache,
			   struct page_cache_counts *counts)
{
	counts->hits = cache->hits;
	counts->source_reads = cache->source_reads;
	counts->changes = cache->changes;
	counts->cleancache.struct_size = sizeof(counts->cleancache);
	tmem_cleancache_get_counts(cache->cleancache, &counts->cleancache);
}
