/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Making, opening and checking the arena's mapping; see arena.h.
 *
 * A new file is made without a name (O_TMPFILE), filled in, locked, and only
 * then linked: nobody ever finds half an arena, and of two that race to make
 * one, the second opens the first's.
 *
 * "fd:N" is the memory behind a descriptor that the caller keeps, a memfd as a
 * rule: opened anew, so that the lock is ours and ends with us, while the
 * memory is still there for whoever the descriptor is passed to.
 *
 * What is in an existing file is believed only after its header was checked:
 * its checksum first, then that every region lies within the file, in order,
 * and has this build's record sizes.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "arena.h"
#include "frames.h"

#define PAGE ((uint64_t)TMEM_FRAME_SIZE)
#define TMPFS_MAGIC_NUMBER 0x01021994
#define HUGETLBFS_MAGIC_NUMBER 0x958458f6
#define FRAMES_MAX (UINT64_C(1) << 32)

/* One object, or one page, costs at least this much of the limit: more
 * records than limit / cost are never needed. */
#define OBJECT_COST 128
#define DESCRIPTOR_COST 32

static uint64_t page_up(uint64_t bytes)
{
	return (bytes + PAGE - 1) & ~(PAGE - 1);
}

static uint64_t superblock_check(const struct tm_superblock *super)
{
	return XXH3_64bits(super, offsetof(struct tm_superblock, check));
}

static uint64_t at_most(uint64_t value, uint64_t max)
{
	return value < max ? value : max;
}

static uint64_t add_region(struct tm_region *region, uint64_t offset,
			   uint64_t count, uint64_t size)
{
	region->offset_bytes = offset;
	region->count = count;
	return offset + page_up(count * size);
}

static void plan_layout(struct tm_superblock *super, uint64_t max_bytes)
{
	uint64_t end = PAGE;

	memcpy(super->magic, TM_LAYOUT_MAGIC, sizeof(super->magic));
	super->byte_order = TM_LAYOUT_BYTE_ORDER;
	super->layout_version = TM_LAYOUT_VERSION;
	super->page_size = TMEM_PAGE_SIZE;
	super->client_record_size = sizeof(struct tm_client_record);
	super->pool_record_size = sizeof(struct tm_pool_record);
	super->object_record_size = sizeof(struct tm_object_record);
	super->descriptor_size = sizeof(struct tm_descriptor);
	super->memory_max_bytes = max_bytes;

	end = add_region(&super->clients, end, TM_CLIENTS_MAX + 1,
			 super->client_record_size);
	end = add_region(&super->pools, end, TM_POOLS_TOTAL_MAX + 1,
			 super->pool_record_size);
	end = add_region(&super->objects, end,
			 at_most(max_bytes / OBJECT_COST, UINT32_MAX / 2) + 2,
			 super->object_record_size);
	end = add_region(&super->descriptors, end,
			 at_most(max_bytes / DESCRIPTOR_COST, UINT32_MAX / 2) +
				 2,
			 super->descriptor_size);
	end = add_region(&super->frames, end,
			 at_most(2 * page_up(max_bytes) / PAGE +
					 4 * TMEM_RUN_FRAMES_MAX,
				 FRAMES_MAX),
			 PAGE);
	super->file_size_bytes = end;
}

static int fill_superblock(struct tm_superblock *super, uint64_t max_bytes)
{
	struct {
		uint64_t uuid[2];
		uint64_t seed;
	} random;

	if (getrandom(&random, sizeof(random), 0) != (ssize_t)sizeof(random))
		return -errno;
	plan_layout(super, max_bytes);
	memcpy(super->uuid, random.uuid, sizeof(super->uuid));
	super->hash_seed = random.seed;
	super->check = superblock_check(super);
	return 0;
}

/* Regions follow each other without overlap, as plan_layout() lays them. */
static bool region_fits(const struct tm_region *region, uint64_t size,
			uint64_t max_count, uint64_t *end)
{
	if (region->offset_bytes != *end || region->count < 2 ||
	    region->count > max_count)
		return false;
	*end += page_up(region->count * size);
	return true;
}

static bool layout_is_sound(const struct tm_superblock *super, uint64_t size)
{
	uint64_t end = PAGE;

	return super->clients.count == TM_CLIENTS_MAX + 1 &&
	       super->pools.count == TM_POOLS_TOTAL_MAX + 1 &&
	       region_fits(&super->clients, super->client_record_size,
			   TM_CLIENTS_MAX + 1, &end) &&
	       region_fits(&super->pools, super->pool_record_size,
			   TM_POOLS_TOTAL_MAX + 1, &end) &&
	       region_fits(&super->objects, super->object_record_size,
			   UINT32_MAX, &end) &&
	       region_fits(&super->descriptors, super->descriptor_size,
			   UINT32_MAX, &end) &&
	       region_fits(&super->frames, PAGE, FRAMES_MAX, &end) &&
	       end == super->file_size_bytes && end <= size;
}

static int refuse(const struct tm_arena_config *config, int err,
		  const char *what)
{
	tm_memory_log(config->memory, TMEM_LOG_ERROR, "arena %s: %s",
		      config->path, what);
	return err;
}

/* As refuse(), for what the system said. */
static int refuse_errno(const struct tm_arena_config *config, int err,
			const char *what)
{
	tm_memory_log(config->memory, TMEM_LOG_ERROR, "arena %s: %s: %s",
		      config->path, what,
		      err == ELOOP ? "it is a symbolic link" : strerror(err));
	return -err;
}

static int check_superblock(const struct tm_arena_config *config,
			    const struct tm_superblock *super, uint64_t size)
{
	if (memcmp(super->magic, TM_LAYOUT_MAGIC, sizeof(super->magic)))
		return refuse(config, -EBADMSG,
			      "is not a tmem arena; move it away or name "
			      "another path");
	if (super->byte_order != TM_LAYOUT_BYTE_ORDER)
		return refuse(config, -EPROTONOSUPPORT,
			      "was made by a machine of another byte order");
	if (super->layout_version != TM_LAYOUT_VERSION)
		return refuse(config, -EPROTONOSUPPORT,
			      "has a layout version that this build does not "
			      "know; open it with the tmem that made it");
	if (super->check != superblock_check(super))
		return refuse(config, -EBADMSG,
			      "has a damaged header: its checksum is wrong");
	if (super->features_incompat & ~TM_FEATURE_INCOMPAT_KNOWN)
		return refuse(config, -EPROTONOSUPPORT,
			      "uses features that this build does not know");
	if (super->page_size != TMEM_PAGE_SIZE ||
	    super->client_record_size != sizeof(struct tm_client_record) ||
	    super->pool_record_size != sizeof(struct tm_pool_record) ||
	    super->object_record_size != sizeof(struct tm_object_record) ||
	    super->descriptor_size != sizeof(struct tm_descriptor))
		return refuse(config, -EPROTONOSUPPORT,
			      "has records of other sizes than this build's");
	if (size < super->file_size_bytes)
		return refuse(config, -EBADMSG,
			      "is truncated: the file is shorter than its "
			      "header says");
	if (super->memory_max_bytes < TMEM_MEMORY_MIN ||
	    super->memory_max_bytes > TM_MEMORY_MAX ||
	    !layout_is_sound(super, size))
		return refuse(config, -EBADMSG,
			      "has a damaged header: its regions overlap");
	return 0;
}

/* The lock belongs to the open description, so it ends with the process, and
 * O_CLOEXEC keeps it from being passed on. */
static int lock_file(const struct tm_arena_config *config, int fd)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	if (!fcntl(fd, F_OFD_SETLK, &lock))
		return 0;
	if (errno == EAGAIN || errno == EACCES)
		return refuse(config, -EBUSY,
			      "is open already; one process at a time can use "
			      "it");
	return refuse_errno(config, errno, "cannot be locked");
}

/* A file system with less room than the limit refuses puts before the limit
 * does, and one on a disk writes pages there: both look odd to whoever does
 * not know. */
static void warn_of_file_system(const struct tm_arena_config *config, int fd)
{
	struct statfs fs;
	uint64_t room_bytes;

	if (fstatfs(fd, &fs) || fs.f_type == HUGETLBFS_MAGIC_NUMBER)
		return;
	/* A memfd's has no size. */
	room_bytes = (uint64_t)fs.f_blocks * (uint64_t)fs.f_bsize;
	if (fs.f_type != TMPFS_MAGIC_NUMBER)
		tm_memory_log(config->memory, TMEM_LOG_WARNING,
			      "arena %s: is not on tmpfs: pages will be "
			      "written to disk; use a path below /dev/shm",
			      config->path);
	else if (room_bytes && room_bytes < config->memory_bytes)
		tm_memory_log(config->memory, TMEM_LOG_WARNING,
			      "arena %s: its tmpfs holds %" PRIu64
			      " MiB, less than the limit of %" PRIu64
			      " MiB: puts that do not fit are refused (mount "
			      "it with size=%" PRIu64 "M, or set a lower "
			      "limit)",
			      config->path, room_bytes >> 20,
			      config->memory_bytes >> 20,
			      (config->memory_bytes >> 20) + 1);
}

/* A new arena in @fd, complete but for its name. */
static int make_in_file(const struct tm_arena_config *config, int fd)
{
	struct tm_superblock *super;
	int err;

	super = calloc(1, PAGE);
	if (!super)
		return -ENOMEM;
	err = fill_superblock(super, config->memory_max_bytes);
	if (!err && ftruncate(fd, (off_t)super->file_size_bytes))
		err = -errno;
	if (!err)
		err = tm_memory_allocate_file(fd, 0, (off_t)PAGE);
	if (!err && pwrite(fd, super, PAGE, 0) != (ssize_t)PAGE)
		err = -EIO;
	free(super);
	if (err == -ENOSPC)
		return refuse(config, err,
			      "there is no room on its file system; enlarge it "
			      "(mount -o remount,size=...) or name another "
			      "path");
	if (err == -EFBIG || err == -EINVAL)
		return refuse(config, -EINVAL,
			      "its file system takes no file that large; set "
			      "a smaller largest memory limit");
	return err;
}

static int link_file(const struct tm_arena_config *config, int fd)
{
	char self[64];

	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	if (!linkat(AT_FDCWD, self, AT_FDCWD, config->path, AT_SYMLINK_FOLLOW))
		return 0;
	if (errno == EEXIST)
		return -EEXIST;
	return refuse_errno(config, errno, "cannot be made");
}

static int make_file(const struct tm_arena_config *config)
{
	char *directory = strdup(config->path);
	char *slash;
	int fd, err;

	if (!directory)
		return -ENOMEM;
	slash = strrchr(directory, '/');
	if (slash)
		slash[slash == directory] = '\0';
	fd = open(slash ? directory : ".", O_TMPFILE | O_RDWR | O_CLOEXEC,
		  0600);
	err = fd < 0 ? -errno : 0;
	free(directory);
	if (err)
		return refuse_errno(config, -err, "cannot be made in its directory");
	err = make_in_file(config, fd);
	if (!err)
		err = lock_file(config, fd);
	if (!err)
		err = link_file(config, fd);
	if (!err)
		return fd;
	close(fd);
	return err;
}

/* Returns a locked descriptor; sets *@reopened. */
static int open_file(const struct tm_arena_config *config, bool *reopened)
{
	int fd, err;

	for (int attempt = 0; attempt < 8; attempt++) {
		*reopened = true;
		fd = open(config->path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
		if (fd >= 0) {
			err = lock_file(config, fd);
			if (!err)
				return fd;
			close(fd);
			return err;
		}
		if (errno != ENOENT)
			return refuse_errno(config, errno, "cannot be opened");
		if (config->must_exist)
			return refuse(config, -ENOENT, "does not exist");
		*reopened = false;
		fd = make_file(config);
		if (fd != -EEXIST)
			return fd;
	}
	return refuse(config, -EBUSY, "keeps appearing and vanishing");
}

static int make_memfd(const struct tm_arena_config *config)
{
	int fd, err;

	fd = memfd_create("tmem-arena", MFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	err = make_in_file(config, fd);
	if (!err)
		return fd;
	close(fd);
	return err;
}

/* As open_file(), for memory that the caller has a descriptor of. */
static int open_descriptor(const struct tm_arena_config *config, bool *reopened)
{
	char self[64];
	struct stat st;
	int fd, err;

	if (strspn(config->path + 3, "0123456789") != strlen(config->path + 3))
		return refuse(config, -EINVAL, "\"fd:\" wants a number");
	snprintf(self, sizeof(self), "/proc/self/fd/%.10s", config->path + 3);
	fd = open(self, O_RDWR | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st))
		err = refuse_errno(config, errno, "cannot be opened");
	else
		err = lock_file(config, fd);
	*reopened = !err && st.st_size;
	if (!err && !st.st_size)
		err = make_in_file(config, fd);
	if (!err)
		return fd;
	if (fd >= 0)
		close(fd);
	return err;
}

static int read_superblock(const struct tm_arena_config *config, int fd,
			   struct tm_superblock *super)
{
	struct stat st;

	if (fstat(fd, &st))
		return -errno;
	if (!S_ISREG(st.st_mode))
		return refuse(config, -EBADMSG, "is not a regular file");
	if (pread(fd, super, sizeof(*super), 0) != (ssize_t)sizeof(*super))
		return refuse(config, -EBADMSG,
			      "is not a tmem arena: it is too short");
	return check_superblock(config, super, (uint64_t)st.st_size);
}

int tm_arena_check_limit(const struct tm_arena_config *config,
			 const struct tm_superblock *super)
{
	if (config->memory_bytes <= super->memory_max_bytes)
		return 0;
	tm_memory_log(config->memory, TMEM_LOG_ERROR,
		      "arena %s: was made for at most %" PRIu64
		      " MiB, which memory is above",
		      config->path ? config->path : "(anonymous)",
		      super->memory_max_bytes >> 20);
	return -EINVAL;
}

int tm_arena_check(const struct tm_arena_config *config)
{
	struct tm_superblock super;
	struct stat st;
	int fd, err;

	if (lstat(config->path, &st))
		return errno == ENOENT ? -ENOENT :
					 refuse_errno(config, errno,
						      "cannot be opened");
	if (S_ISLNK(st.st_mode))
		return refuse_errno(config, ELOOP, "cannot be opened");
	/* To open anything else may do something. */
	if (!S_ISREG(st.st_mode))
		return refuse(config, -EBADMSG, "is not a regular file");
	fd = open(config->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0 || access(config->path, W_OK)) {
		err = refuse_errno(config, errno, "cannot be opened");
	} else {
		err = read_superblock(config, fd, &super);
		if (!err)
			err = tm_arena_check_limit(config, &super);
	}
	if (fd >= 0)
		close(fd);
	return err;
}

/* All of @fd, at an address where its huge pages can be the processor's. */
static void *map_aligned(int fd, size_t size)
{
	uint8_t *at, *aligned;
	void *mapped;

	at = mmap(NULL, size + TM_CHUNK_BYTES, PROT_NONE,
		  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (at == MAP_FAILED)
		return MAP_FAILED;
	aligned = at + (-(uintptr_t)at & (TM_CHUNK_BYTES - 1));
	mapped = mmap(aligned, size, PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_NORESERVE | MAP_FIXED, fd, 0);
	if (mapped == MAP_FAILED) {
		munmap(at, size + TM_CHUNK_BYTES);
		return MAP_FAILED;
	}
	if (aligned > at)
		munmap(at, (size_t)(aligned - at));
	munmap(aligned + size, TM_CHUNK_BYTES - (size_t)(aligned - at));
	return mapped;
}

static int map_file(struct tm_arena *arena,
		    const struct tm_arena_config *config)
{
	struct tm_superblock super;
	int err = read_superblock(config, arena->fd, &super);

	if (err)
		return err;
	warn_of_file_system(config, arena->fd);
	arena->size = super.file_size_bytes;
	arena->base = map_aligned(arena->fd, arena->size);
	if (arena->base != MAP_FAILED)
		return 0;
	arena->base = NULL;
	return refuse_errno(config, errno, "cannot be mapped");
}

static int map_anonymous(struct tm_arena *arena,
			 const struct tm_arena_config *config)
{
	struct tm_superblock *super = calloc(1, PAGE);
	int err;

	if (!super)
		return -ENOMEM;
	err = fill_superblock(super, config->memory_max_bytes);
	if (!err) {
		arena->size = super->file_size_bytes;
		arena->base = tm_memory_reserve(arena->size);
		if (arena->base)
			memcpy(arena->base, super, sizeof(*super));
		else
			err = -ENOMEM;
	}
	free(super);
	return err;
}

/* A host that swaps the arena defeats it. Only what is populated is locked. */
static void lock_in_memory(struct tm_arena *arena)
{
	arena->is_locked = !mlock2(arena->base, arena->size, MLOCK_ONFAULT);
	if (!arena->is_locked)
		tm_memory_log(arena->memory, TMEM_LOG_INFO,
			      "arena: not locked in memory (%s); raise "
			      "RLIMIT_MEMLOCK, or the host may swap it",
			      strerror(errno));
}

static int map_arena(struct tm_arena *arena,
		     const struct tm_arena_config *config)
{
	if (!config->path)
		return map_anonymous(arena, config);
	if (!strcmp(config->path, "memfd"))
		arena->fd = make_memfd(config);
	else if (!strncmp(config->path, "fd:", 3))
		arena->fd = open_descriptor(config, &arena->reopened);
	else
		arena->fd = open_file(config, &arena->reopened);
	if (arena->fd < 0)
		return arena->fd;
	return map_file(arena, config);
}

int tm_arena_open(struct tm_arena *arena, const struct tm_arena_config *config)
{
	int err;

	*arena = (struct tm_arena){ .memory = config->memory, .fd = -1 };
	err = map_arena(arena, config);
	if (err)
		goto out_close;
	madvise(arena->base, arena->size, MADV_NOHUGEPAGE);
	madvise(arena->base, arena->size, MADV_DONTDUMP);
	madvise(arena->base, arena->size, MADV_DONTFORK);
	arena->super = (struct tm_superblock *)arena->base;
	tm_memory_charge_anyway(arena->memory, PAGE);
	err = tm_frames_init(arena);
	if (err)
		goto out_close;
	if (!config->no_lock)
		lock_in_memory(arena);
	return 0;

out_close:
	tm_arena_close(arena);
	return err;
}

void tm_arena_close(struct tm_arena *arena)
{
	tm_frames_destroy(arena);
	if (arena->base)
		munmap(arena->base, arena->size);
	if (arena->fd >= 0)
		close(arena->fd);
	arena->base = NULL;
	arena->fd = -1;
}
