/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A cache disk: clean blocks of an image file as ephemeral pages.
 *
 * Reads come from the pool, or from the image, and then fill the pool. Writes
 * go to the image and drop the pages. Two things must not happen: that a page
 * outlives a write of its block, and that a page of one image is taken for one
 * of another.
 *
 * The race. A reader must not hold the block while it waits for the image, or
 * a slow read would hold up writes. So it may fetch old data, be overtaken by a
 * write and its flush, and put what is old by then. The idea: each block
 * belongs to one of many *generations*, counters that a write raises while it
 * has the block locked. A reader notes them before it asks the image; before it
 * puts, with the blocks locked for sharing, it looks again. Changed: it does
 * not put. What two blocks of one generation cost each other is a fill.
 *
 *	reader   note g ... read image ... lock; g as noted? put; unlock
 *	writer                     lock; write image; flush; raise g; unlock
 *
 * The identity. The pool is a shared one (so that a hit stays, and other
 * clients can join where the operator says so), and its uuid is a hash of the
 * image's device, inode, size, mtime and ctime, and of a name. A changed image
 * is therefore another pool, and the old one is left, which ends it with its
 * last member. While a disk is open, its own writes change the image: nobody
 * joins a pool of an image that is written to. On a read-only disk each request
 * looks whether the image has changed under it.
 *
 * Time stamps are as coarse as the kernel's tick: an image that was changed
 * just now could be changed again and look the same. Opening waits until the
 * last change is a few ticks old. Of an image that is read only, and for which
 * that does not come soon, nothing is cached until a later request finds it so.
 *
 * The bound: where a client may have no shared pool it gets a private one,
 *whose gets remove: each hit is then put back.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <xxhash.h>

#include "disk_private.h"

#define GENERATIONS 4096
#define OBJECT_BITS 14
#define OBJECT_BLOCKS (UINT64_C(1) << OBJECT_BITS)
#define NS_PER_S INT64_C(1000000000)
/* Longer than a tick of any kernel. */
#define SETTLED_NS INT64_C(25000000)
#define SETTLE_TRIES 20

struct tm_cache {
	struct tm_disk disk;
	/* Set at creation, then constant. */
	int fd;
	char *share;
	char client_name[TMEM_CLIENT_NAME_MAX + 1];
	bool is_regular;
	/* Changed with all blocks locked; read at any time: whoever uses a pool
	 * that is gone finds nothing, and epoch keeps its fill out. */
	_Atomic int pool; /* negative: none */
	_Atomic bool is_private; /* its gets remove */
	/* Hash of what the image looked like; 0: it had not settled. */
	_Atomic uint64_t identity;
	_Atomic uint64_t epoch; /* raised when the pool changes */
	struct tmem_uuid uuid; /* guarded by all blocks being locked */
	_Atomic uint64_t generations[GENERATIONS];
};

static struct tm_cache *cache_of(struct tm_disk *disk)
{
	return (struct tm_cache *)disk;
}

/* --- pages ---------------------------------------------------------------- */

static struct tmem_request page_request(const struct tm_cache *cache,
					enum tmem_request_kind kind,
					uint64_t block, void *page)
{
	return (struct tmem_request){
		.kind = kind,
		.pool = atomic_load(&cache->pool),
		.index = (uint32_t)(block & (OBJECT_BLOCKS - 1)),
		.oid = { { block >> OBJECT_BITS, 0, 0 } },
		.page = page,
	};
}

/* Both counts only rise, so an equal sum means two equal counts. */
static uint64_t generation_of(const struct tm_cache *cache, uint64_t block)
{
	return atomic_load(&cache->generations[block % GENERATIONS]) +
	       atomic_load(&cache->epoch);
}

static bool has_pool(const struct tm_cache *cache)
{
	return atomic_load(&cache->pool) >= 0;
}

/* Drops [@first, @end), which are locked, and keeps fills under way out.
 * A flush that fails has found no pool, or is never dropped. */
static void invalidate(struct tm_cache *cache, uint64_t first, uint64_t end)
{
	struct tmem_request requests[TM_PIECE_BLOCKS];

	for (uint64_t b = first; b < end && has_pool(cache);) {
		struct tmem_oid oid = { { b >> OBJECT_BITS, 0, 0 } };
		uint32_t n = 0;

		if (!(b & (OBJECT_BLOCKS - 1)) && end - b >= OBJECT_BLOCKS) {
			tmem_flush_object(cache->disk.client,
					  atomic_load(&cache->pool), &oid);
			b += OBJECT_BLOCKS;
			continue;
		}
		for (; n < TM_PIECE_BLOCKS && b < end; b++)
			requests[n++] = page_request(
				cache, TMEM_REQUEST_FLUSH_PAGE, b, NULL);
		tmem_batch(cache->disk.client, requests, n);
	}
	for (uint64_t i = 0; i < GENERATIONS && i < end - first; i++)
		atomic_fetch_add(&cache->generations[(first + i) % GENERATIONS],
				 1);
}

/* --- identity ------------------------------------------------------------- */

/* Never 0. */
static uint64_t hash_stat(const struct stat *stat)
{
	const uint64_t words[] = {
		(uint64_t)stat->st_dev,          (uint64_t)stat->st_ino,
		(uint64_t)stat->st_size,         (uint64_t)stat->st_mtim.tv_sec,
		(uint64_t)stat->st_mtim.tv_nsec, (uint64_t)stat->st_ctim.tv_sec,
		(uint64_t)stat->st_ctim.tv_nsec,
	};

	return XXH3_64bits(words, sizeof(words)) | 1;
}

/* A time in the future is none that the next change would have. */
static bool is_settled(const struct timespec *now, const struct timespec *then)
{
	int64_t age_ns = (now->tv_sec - then->tv_sec) * NS_PER_S +
			 now->tv_nsec - then->tv_nsec;

	return age_ns < 0 || age_ns >= SETTLED_NS;
}

/* Waits until the image was last changed some ticks ago; 1: it was. */
static int stat_settled(const struct tm_cache *cache, struct stat *stat)
{
	const struct timespec pause = { .tv_nsec = SETTLED_NS / 5 };

	for (int i = 0; i < SETTLE_TRIES; i++) {
		struct timespec now;

		if (fstat(cache->fd, stat))
			return -errno;
		clock_gettime(CLOCK_REALTIME, &now);
		if (is_settled(&now, &stat->st_mtim) &&
		    is_settled(&now, &stat->st_ctim))
			return 1;
		nanosleep(&pause, NULL);
	}
	return 0;
}

/*
 * A uuid for the image as it is, and for nobody else: of the operator's name
 * for those who share, else of the client's. Where nothing vouches for the
 * image, one of chance, which nobody can come back to.
 */
static int make_uuid(struct tm_cache *cache)
{
	struct tmem_client_info info = { .struct_size = sizeof(info) };
	const char *name = cache->share;
	struct stat stat;
	XXH128_hash_t hash;
	char text[160];
	int settled = stat_settled(cache, &stat);

	if (settled < 0)
		return settled;
	atomic_store(&cache->identity, settled ? hash_stat(&stat) : 0);
	if (!name && !tmem_client_get_info(cache->disk.client, &info))
		name = info.name;
	if (!settled || !cache->is_regular || !name) {
		if (getrandom(&cache->uuid, sizeof(cache->uuid), 0) !=
		    sizeof(cache->uuid))
			return -EIO;
		return 0;
	}
	snprintf(text, sizeof(text), "%016" PRIx64 " %s %.100s",
		 atomic_load(&cache->identity),
		 cache->share ? "share" : "client", name);
	/* What does not fit counts as well. */
	hash = XXH3_128bits_withSeed(text, strlen(text),
				     XXH3_64bits(name, strlen(name)));
	/* Never all ones, nor zeros. */
	cache->uuid.word[0] = hash.low64 & ~UINT64_C(1);
	cache->uuid.word[1] = hash.high64 | 1;
	return 0;
}

static bool is_ours(const struct tm_cache *cache,
		    const struct tmem_pool_info *info)
{
	return (info->flags & TMEM_POOL_SHARED) &&
	       info->uuid.word[0] == cache->uuid.word[0] &&
	       info->uuid.word[1] == cache->uuid.word[1];
}

/* Over a channel it is the daemon's operator who says so. */
static void set_auth(const struct tm_cache *cache, const struct tmem_uuid *uuid,
		     bool allowed)
{
	if (cache->disk.is_embedded)
		tmem_client_set_shared_auth(cache->disk.client, uuid, allowed);
}

/* Leaves what is of another image, or this one at another time. */
static int find_pool(const struct tm_cache *cache)
{
	int found = -ENOENT;

	for (int id = 0; id < TMEM_POOLS_MAX; id++) {
		struct tmem_pool_info info = { .struct_size = sizeof(info) };
		int err = tmem_pool_get_info(cache->disk.client, id, &info);

		if (err == -ENOENT)
			continue;
		if (err)
			return err;
		if (info.flags & TMEM_POOL_PERSISTENT)
			return -EMEDIUMTYPE;
		if (is_ours(cache, &info)) {
			found = id;
			continue;
		}
		tmem_pool_destroy(cache->disk.client, id);
		if (info.flags & TMEM_POOL_SHARED)
			set_auth(cache, &info.uuid, false);
	}
	return found;
}

/* What there is to type. The image as it is has that uuid; one that changes
 * has another, so it is said again then. */
static void say_unauthorised(const struct tm_cache *cache)
{
	const uint64_t *word = cache->uuid.word;

	tm_disk_log(&cache->disk, TMEM_LOG_ERROR,
		    "disk: its client is not let into the shared pool: "
		    "tmem shared-auth %s --uuid %08x-%04x-%04x-%04x-%012" PRIx64
		    " --auth 1",
		    cache->client_name, (unsigned)(word[1] >> 32),
		    (unsigned)(word[1] >> 16 & 0xffff),
		    (unsigned)(word[1] & 0xffff), (unsigned)(word[0] >> 48),
		    word[0] & UINT64_C(0xffffffffffff));
}

static int make_pool(struct tm_cache *cache)
{
	struct tmem_client *client = cache->disk.client;
	int pool;

	set_auth(cache, &cache->uuid, true);
	pool = tmem_pool_create(client, TMEM_POOL_SHARED, &cache->uuid);
	if (pool == -EACCES && cache->share)
		say_unauthorised(cache);
	if (pool == -EACCES && !cache->share) {
		cache->is_private = true;
		pool = tmem_pool_create(client, 0, NULL);
	}
	return pool;
}

/* Is this an image that others may change, whose changes show? */
static bool is_watched(const struct tm_cache *cache)
{
	return cache->disk.is_readonly && cache->is_regular;
}

/* The pool of the image as it is, or none for now. All blocks are locked, or
 * nobody else is there yet. */
static int choose_pool(struct tm_cache *cache)
{
	int err = make_uuid(cache);
	bool must_wait = is_watched(cache) && !atomic_load(&cache->identity);
	int pool;

	if (err)
		return err;
	pool = find_pool(cache);
	if (pool == -ENOENT && !must_wait)
		pool = make_pool(cache);
	atomic_store(&cache->pool, pool);
	return pool >= 0 || (pool == -ENOENT && must_wait) ? 0 : pool;
}

/* The image of a read-only disk is not what it was. */
static void renew(struct tm_cache *cache)
{
	struct tm_range range;
	struct stat stat;
	int err;

	tm_range_acquire(&cache->disk.ranges, &range, 0, UINT64_MAX);
	/* Somebody else may have been faster. */
	if (!fstat(cache->fd, &stat) &&
	    hash_stat(&stat) != atomic_load(&cache->identity)) {
		set_auth(cache, &cache->uuid, false);
		if (has_pool(cache))
			tmem_pool_destroy(cache->disk.client,
					  atomic_load(&cache->pool));
		atomic_store(&cache->pool, -1);
		atomic_fetch_add(&cache->epoch, 1);
		err = choose_pool(cache);
		atomic_fetch_add(&cache->epoch, 1);
		tm_disk_log(&cache->disk, TMEM_LOG_WARNING,
			    "disk: its image has changed under it; %s",
			    err ? "nothing of it is cached any more"
				: "what was cached of it is dropped");
	}
	tm_range_release(&cache->disk.ranges, &range);
}

static void check_identity(struct tm_cache *cache)
{
	struct stat stat;

	if (is_watched(cache) && !fstat(cache->fd, &stat) &&
	    hash_stat(&stat) != atomic_load(&cache->identity))
		renew(cache);
}

/* --- read ----------------------------------------------------------------- */

/* A piece that is being read. */
struct reading {
	bool is_hit[TM_PIECE_BLOCKS];
	uint64_t generations[TM_PIECE_BLOCKS];
	struct tmem_request requests[TM_PIECE_BLOCKS];
};

static void get_pages(struct tm_cache *cache, const struct tm_piece *piece,
		      struct reading *reading)
{
	uint64_t hits = 0;

	for (uint32_t i = 0; i < piece->count; i++) {
		reading->is_hit[i] = false;
		reading->generations[i] =
			generation_of(cache, piece->first + i);
		reading->requests[i] =
			page_request(cache, TMEM_REQUEST_GET, piece->first + i,
				     piece->pages[i]);
	}
	if (!has_pool(cache) ||
	    tmem_batch(cache->disk.client, reading->requests, piece->count))
		return;
	/* An error here costs a look at the image. */
	for (uint32_t i = 0; i < piece->count; i++) {
		reading->is_hit[i] =
			reading->requests[i].result == TMEM_GET_HIT;
		hits += reading->is_hit[i];
	}
	tm_disk_count(&cache->disk.hits, hits);
}

static int read_vector(int fd, struct iovec *iov, uint32_t count, off_t offset)
{
	while (count) {
		ssize_t done = preadv(fd, iov, (int)count, offset);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return done ? -errno : -EIO;
		offset += done;
		while (count && (size_t)done >= iov->iov_len) {
			done -= (ssize_t)iov->iov_len;
			iov++;
			count--;
		}
		if (count) {
			iov->iov_base = (uint8_t *)iov->iov_base + done;
			iov->iov_len -= (size_t)done;
		}
	}
	return 0;
}

/* Blocks [@from, @end) of the piece; what the image does not have is zeros. */
static int read_image(struct tm_cache *cache, const struct tm_piece *piece,
		      uint32_t from, uint32_t end)
{
	struct iovec iov[TM_PIECE_BLOCKS];

	for (uint32_t i = from; i < end; i++) {
		uint32_t bytes =
			tm_disk_block_bytes(&cache->disk, piece->first + i);

		iov[i - from] = (struct iovec){ piece->pages[i], bytes };
		/* A destination that is not bounced ends with the disk. */
		if (bytes < TM_BLOCK_SIZE)
			memset((uint8_t *)piece->pages[i] + bytes, 0,
			       TM_BLOCK_SIZE - bytes);
	}
	tm_disk_count(&cache->disk.image_reads, end - from);
	return read_vector(cache->fd, iov, end - from,
			   (off_t)((piece->first + from) * TM_BLOCK_SIZE));
}

static int read_misses(struct tm_cache *cache, const struct tm_piece *piece,
		       const struct reading *reading)
{
	int err = 0;

	for (uint32_t i = 0; i < piece->count && !err;) {
		uint32_t end = i;

		while (end < piece->count && !reading->is_hit[end])
			end++;
		if (end > i)
			err = read_image(cache, piece, i, end);
		i = end + 1;
	}
	return err;
}

/* Puts what was read, unless a write came in between. */
static void fill(struct tm_cache *cache, const struct tm_piece *piece,
		 struct reading *reading)
{
	struct tm_range range;
	uint32_t count = 0;

	tm_range_acquire_shared(&cache->disk.ranges, &range, piece->first,
				piece->first + piece->count);
	for (uint32_t i = 0; i < piece->count; i++) {
		uint64_t block = piece->first + i;

		if (reading->is_hit[i] && !cache->is_private)
			continue;
		if (reading->generations[i] != generation_of(cache, block)) {
			tm_disk_count(&cache->disk.fills_dropped, 1);
			continue;
		}
		reading->requests[count++] = page_request(
			cache, TMEM_REQUEST_PUT, block, piece->pages[i]);
	}
	if (count && has_pool(cache) &&
	    !tmem_batch(cache->disk.client, reading->requests, count))
		for (uint32_t i = 0; i < count; i++)
			tm_disk_count(&cache->disk.blocks_refused,
				      reading->requests[i].result ==
					      TMEM_PUT_REFUSED);
	tm_range_release(&cache->disk.ranges, &range);
}

static int cache_read(struct tm_disk *disk, struct tm_piece *piece)
{
	struct tm_cache *cache = cache_of(disk);
	struct reading reading;
	bool is_all_hit = true;
	int err;

	check_identity(cache);
	get_pages(cache, piece, &reading);
	err = read_misses(cache, piece, &reading);
	if (err)
		return err;
	for (uint32_t i = 0; i < piece->count; i++)
		is_all_hit &= reading.is_hit[i];
	if (!is_all_hit || cache->is_private)
		fill(cache, piece, &reading);
	return 0;
}

static int cache_prefetch(struct tm_disk *disk, uint64_t first, uint64_t end)
{
	uint8_t *buffer = malloc(TM_PIECE_BLOCKS * TM_BLOCK_SIZE);
	struct tm_piece piece = { .count = 0 };
	int err = 0;

	if (!buffer)
		return -ENOMEM;
	for (uint32_t i = 0; i < TM_PIECE_BLOCKS; i++)
		piece.pages[i] = buffer + (size_t)i * TM_BLOCK_SIZE;
	for (; first < end && !err; first += piece.count) {
		piece.first = first;
		piece.count = end - first < TM_PIECE_BLOCKS
				      ? (uint32_t)(end - first)
				      : TM_PIECE_BLOCKS;
		err = cache_read(disk, &piece);
	}
	free(buffer);
	return err;
}

/* --- write ---------------------------------------------------------------- */

static int write_image(int fd, const uint8_t *from, uint64_t bytes,
		       uint64_t offset)
{
	while (bytes) {
		ssize_t done = pwrite(fd, from, bytes, (off_t)offset);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return done ? -errno : -ENOSPC;
		from += done;
		offset += (uint64_t)done;
		bytes -= (uint64_t)done;
	}
	return 0;
}

static int cache_write(struct tm_disk *disk, struct tm_piece *piece)
{
	struct tm_cache *cache = cache_of(disk);
	struct tm_range range;
	int err;

	tm_range_acquire(&disk->ranges, &range, piece->first,
			 piece->first + piece->count);
	err = write_image(cache->fd, piece->buffer, piece->bytes,
			  piece->offset);
	/* After one that failed too: some of it may be there. */
	invalidate(cache, piece->first, piece->first + piece->count);
	tm_range_release(&disk->ranges, &range);
	return err;
}

static int punch_image(const struct tm_cache *cache, uint64_t first,
		       uint64_t end)
{
	uint64_t offset = first * TM_BLOCK_SIZE;
	uint64_t bytes = end * TM_BLOCK_SIZE;

	if (bytes > cache->disk.size_bytes)
		bytes = cache->disk.size_bytes;
	bytes -= offset;
	while (fallocate(cache->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			 (off_t)offset, (off_t)bytes)) {
		if (errno == EINTR)
			continue;
		return errno == ENODEV ? -EOPNOTSUPP : -errno;
	}
	return 0;
}

static int cache_discard(struct tm_disk *disk, uint64_t first, uint64_t end)
{
	struct tm_cache *cache = cache_of(disk);
	int err = 0;

	while (first < end && !err) {
		uint64_t next = (first | (OBJECT_BLOCKS - 1)) + 1;
		struct tm_range range;

		if (next > end)
			next = end;
		tm_range_acquire(&disk->ranges, &range, first, next);
		err = punch_image(cache, first, next);
		invalidate(cache, first, next);
		tm_range_release(&disk->ranges, &range);
		if (!err)
			tm_disk_count(&disk->blocks_discarded, next - first);
		first = next;
	}
	return err;
}

static int cache_flush(struct tm_disk *disk)
{
	if (disk->is_readonly)
		return 0;
	return fdatasync(cache_of(disk)->fd) ? -errno : 0;
}

/* --- extents, information ------------------------------------------------- */

static int cache_extent(struct tm_disk *disk, uint64_t offset, uint64_t *end)
{
	const struct tm_cache *cache = cache_of(disk);
	uint64_t begin = offset - offset % TM_BLOCK_SIZE;
	off_t data = lseek(cache->fd, (off_t)begin, SEEK_DATA);
	off_t hole;

	*end = disk->size_bytes;
	if (data < 0)
		/* A file system that cannot tell has data everywhere. */
		return errno == ENXIO ? 0 : 1;
	if ((uint64_t)data >= begin + TM_BLOCK_SIZE) {
		if ((uint64_t)data < *end)
			*end = (uint64_t)data - (uint64_t)data % TM_BLOCK_SIZE;
		return 0;
	}
	hole = lseek(cache->fd, data, SEEK_HOLE);
	if (hole > 0) {
		uint64_t up = ((uint64_t)hole + TM_BLOCK_SIZE - 1) /
			      TM_BLOCK_SIZE * TM_BLOCK_SIZE;

		if (up < *end)
			*end = up;
	}
	return 1;
}

static void cache_get_info(struct tm_disk *disk, struct tm_disk_info *info)
{
	const struct tm_cache *cache = cache_of(disk);
	struct tmem_pool_info pool = { .struct_size = sizeof(pool) };

	if (has_pool(cache) &&
	    !tmem_pool_get_info(disk->client, atomic_load(&cache->pool), &pool))
		info->blocks_in_tmem = pool.pages;
}

/* --- opening -------------------------------------------------------------- */

static void cache_close(struct tm_disk *disk)
{
	struct tm_cache *cache = cache_of(disk);

	if (cache->fd >= 0)
		close(cache->fd);
	free(cache->share);
	free(cache);
}

static const struct tm_disk_ops cache_ops = {
	.read = cache_read,
	.write = cache_write,
	.discard = cache_discard,
	.flush = cache_flush,
	.prefetch = cache_prefetch,
	.extent = cache_extent,
	.get_info = cache_get_info,
	.close = cache_close,
};

static const char *why_not(const struct tm_disk_config *config)
{
	if (!config->image)
		return "a cache disk needs an image";
	if (config->size_bytes || config->backing)
		return "a cache disk has its image's size, and no backing file";
	if (config->share && !config->is_readonly)
		return "an image whose pool is shared must be read-only";
	return NULL;
}

/* Readers share it with readers; a writer has it alone. File systems without
 * locks have none. */
static int lock_image(int fd, bool is_readonly)
{
	struct flock lock = { .l_type = is_readonly ? F_RDLCK : F_WRLCK,
			      .l_whence = SEEK_SET };

	return fcntl(fd, F_OFD_SETLK, &lock) &&
			       (errno == EAGAIN || errno == EACCES)
		       ? -EBUSY
		       : 0;
}

static int open_image(struct tm_cache *cache,
		      const struct tm_disk_config *config, uint64_t *size_bytes)
{
	struct stat stat;
	off_t end;
	int err;

	cache->fd =
		open(config->image, (config->is_readonly ? O_RDONLY : O_RDWR) |
					    O_CLOEXEC | O_NONBLOCK);
	if (cache->fd < 0 || fstat(cache->fd, &stat))
		return -errno;
	if (!S_ISREG(stat.st_mode) && !S_ISBLK(stat.st_mode))
		return -EMEDIUMTYPE;
	cache->is_regular = S_ISREG(stat.st_mode);
	err = lock_image(cache->fd, config->is_readonly);
	if (err)
		return err;
	/* Of a block device too. */
	end = lseek(cache->fd, 0, SEEK_END);
	if (end <= 0)
		return end ? -errno : -EINVAL;
	*size_bytes = (uint64_t)end;
	return 0;
}

static const char *explain(int err)
{
	switch (err) {
	case -EMEDIUMTYPE:
		return "neither a regular file nor a block device, or its "
		       "client has another use";
	case -EBUSY:
		return "somebody else has it open";
	case -EINVAL:
		return "it is empty";
	default:
		return strerror(-err);
	}
}

/* As the operator's tools have it. A channel does not say. */
static void set_client_name(struct tm_cache *cache,
			    const struct tm_disk_config *config)
{
	struct tmem_client_info info = { .struct_size = sizeof(info) };
	const char *name = config->client_name;

	if (!name && !tmem_client_get_info(config->client, &info))
		name = info.name;
	snprintf(cache->client_name, sizeof(cache->client_name), "%s",
		 name && *name ? name : "CLIENT");
}

int tm_cache_open(const struct tm_disk_config *config, struct tm_disk **disk)
{
	struct tm_cache *cache = calloc(1, sizeof(*cache));
	const char *why = why_not(config);
	uint64_t size_bytes = 0;
	int err = why ? -EINVAL : 0;

	if (!cache)
		return -ENOMEM;
	cache->fd = -1;
	if (!err) {
		err = open_image(cache, config, &size_bytes);
		why = explain(err);
	}
	tm_disk_init(&cache->disk, config, &cache_ops, size_bytes);
	set_client_name(cache, config);
	if (!err && config->share) {
		cache->share = strdup(config->share);
		err = cache->share ? 0 : -ENOMEM;
	}
	if (!err) {
		err = choose_pool(cache);
		/* That has been said, and what to do about it. */
		why = err == -EACCES ? NULL : explain(err);
	}
	if (err) {
		if (why)
			tm_disk_log(&cache->disk, TMEM_LOG_ERROR,
				    "disk: image %s: %s",
				    config->image ? config->image : "(none)",
				    why);
		cache_close(&cache->disk);
		return err;
	}
	*disk = &cache->disk;
	return 0;
}
