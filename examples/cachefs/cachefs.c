/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * cachefs: a directory, shown again elsewhere, with a page cache of its own
 * whose clean victims go to tmem.
 *
 *	cachefs [--cache 4M] [--store 64M | --socket PATH] [--delay-us N]
 *		SOURCE MOUNTPOINT
 *
 * --store 0: no tmem. --delay-us: the source takes that much longer for each
 * page, as if it were far away. Runs until it is unmounted (fusermount3 -u) or
 * interrupted, and then says what it did. Exit status 77: no FUSE here.
 *
 * Each call is passed on to the same path below SOURCE, but for reading and
 * writing, which pagecache.c does. The system's own cache is kept out of it
 * (direct_io), so files cannot be mapped shared.
 */
#define _GNU_SOURCE
#define FUSE_USE_VERSION 312
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fuse.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "guest.h"
#include "pagecache.h"

struct cachefs {
	int root; /* SOURCE */
	struct page_cache *cache;
};

struct open_file {
	int fd;
	struct cached_file *file;
};

static struct cachefs *this_fs(void)
{
	return fuse_get_context()->private_data;
}

/* Paths are "/x/y"; below the source they are "x/y", and "." itself. */
static const char *below(const char *path)
{
	return path[1] ? path + 1 : ".";
}

static int answer(int result)
{
	return result < 0 ? -errno : 0;
}

static struct open_file *opened(const struct fuse_file_info *info)
{
	return (struct open_file *)(uintptr_t)info->fh;
}

/* --- files --------------------------------------------------------------- */

static int open_at(const char *path, int flags, mode_t mode,
		   struct open_file **out)
{
	struct open_file *open = malloc(sizeof(*open));
	int err;

	if (!open)
		return -ENOMEM;
	/* Offsets are said with each write; what is read in part is written. */
	open->fd = openat(
		this_fs()->root, below(path),
		(flags & ~(O_APPEND | O_DIRECT | O_TRUNC)) | O_CLOEXEC, mode);
	err = answer(open->fd);
	if (!err)
		err = cached_file_open(this_fs()->cache, open->fd, &open->file);
	if (!err && flags & O_TRUNC && (flags & O_ACCMODE) != O_RDONLY) {
		err = cached_file_truncate(open->file, open->fd, 0);
		if (err)
			cached_file_close(open->file);
	}
	if (err) {
		if (open->fd >= 0)
			close(open->fd);
		free(open);
		return err;
	}
	*out = open;
	return 0;
}

static void close_file(struct open_file *open)
{
	cached_file_close(open->file);
	close(open->fd);
	free(open);
}

static int fs_create(const char *path, mode_t mode, struct fuse_file_info *info)
{
	struct open_file *open;
	int err = open_at(path, info->flags | O_CREAT, mode, &open);

	if (!err)
		info->fh = (uintptr_t)open;
	return err;
}

static int fs_open(const char *path, struct fuse_file_info *info)
{
	struct open_file *open;
	int err = open_at(path, info->flags & ~O_CREAT, 0, &open);

	if (!err)
		info->fh = (uintptr_t)open;
	return err;
}

static int fs_release(const char *path, struct fuse_file_info *info)
{
	(void)path;
	close_file(opened(info));
	return 0;
}

static int fs_read(const char *path, char *to, size_t size, off_t offset,
		   struct fuse_file_info *info)
{
	(void)path;
	return (int)cached_file_read(opened(info)->file, opened(info)->fd, to,
				     size, offset);
}

static int fs_write(const char *path, const char *from, size_t size,
		    off_t offset, struct fuse_file_info *info)
{
	(void)path;
	return (int)cached_file_write(opened(info)->file, opened(info)->fd,
				      from, size, offset);
}

static int fs_truncate(const char *path, off_t size,
		       struct fuse_file_info *info)
{
	struct open_file *open;
	int err;

	if (info)
		return cached_file_truncate(opened(info)->file,
					    opened(info)->fd, size);
	err = open_at(path, O_WRONLY, 0, &open);
	if (err)
		return err;
	err = cached_file_truncate(open->file, open->fd, size);
	close_file(open);
	return err;
}

static int fs_fsync(const char *path, int is_data, struct fuse_file_info *info)
{
	(void)path;
	return answer(is_data ? fdatasync(opened(info)->fd)
			      : fsync(opened(info)->fd));
}

/* --- names --------------------------------------------------------------- */

/* The last name of a file goes: so do its pages. */
static void forget_file(const char *path)
{
	int fd = openat(this_fs()->root, below(path),
			O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct cached_file *file;
	struct stat st;

	if (fd < 0)
		return;
	if (!fstat(fd, &st) && S_ISREG(st.st_mode) && st.st_nlink == 1 &&
	    !cached_file_open(this_fs()->cache, fd, &file)) {
		cached_file_forget(file);
		cached_file_close(file);
	}
	close(fd);
}

static int fs_getattr(const char *path, struct stat *st,
		      struct fuse_file_info *info)
{
	if (info)
		return answer(fstat(opened(info)->fd, st));
	return answer(
		fstatat(this_fs()->root, below(path), st, AT_SYMLINK_NOFOLLOW));
}

static int fs_readlink(const char *path, char *to, size_t size)
{
	ssize_t n = readlinkat(this_fs()->root, below(path), to, size - 1);

	if (n < 0)
		return -errno;
	to[n] = 0;
	return 0;
}

static int fs_mkdir(const char *path, mode_t mode)
{
	return answer(mkdirat(this_fs()->root, below(path), mode));
}

static int fs_unlink(const char *path)
{
	forget_file(path);
	return answer(unlinkat(this_fs()->root, below(path), 0));
}

static int fs_rmdir(const char *path)
{
	return answer(unlinkat(this_fs()->root, below(path), AT_REMOVEDIR));
}

static int fs_symlink(const char *target, const char *path)
{
	return answer(symlinkat(target, this_fs()->root, below(path)));
}

static int fs_rename(const char *from, const char *to, unsigned flags)
{
	if (!flags)
		forget_file(to);
	return answer(renameat2(this_fs()->root, below(from), this_fs()->root,
				below(to), flags));
}

static int fs_link(const char *from, const char *to)
{
	return answer(linkat(this_fs()->root, below(from), this_fs()->root,
			     below(to), 0));
}

static int fs_chmod(const char *path, mode_t mode, struct fuse_file_info *info)
{
	if (info)
		return answer(fchmod(opened(info)->fd, mode));
	return answer(fchmodat(this_fs()->root, below(path), mode, 0));
}

static int fs_chown(const char *path, uid_t uid, gid_t gid,
		    struct fuse_file_info *info)
{
	if (info)
		return answer(fchown(opened(info)->fd, uid, gid));
	return answer(fchownat(this_fs()->root, below(path), uid, gid,
			       AT_SYMLINK_NOFOLLOW));
}

static int fs_utimens(const char *path, const struct timespec times[2],
		      struct fuse_file_info *info)
{
	if (info)
		return answer(futimens(opened(info)->fd, times));
	return answer(utimensat(this_fs()->root, below(path), times,
				AT_SYMLINK_NOFOLLOW));
}

static int fs_statfs(const char *path, struct statvfs *st)
{
	(void)path;
	return answer(fstatvfs(this_fs()->root, st));
}

static int fs_readdir(const char *path, void *buffer, fuse_fill_dir_t fill,
		      off_t offset, struct fuse_file_info *info,
		      enum fuse_readdir_flags flags)
{
	int fd = openat(this_fs()->root, below(path),
			O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *entry;

	(void)offset, (void)info, (void)flags;
	if (!dir) {
		int err = -errno;

		if (fd >= 0)
			close(fd);
		return err;
	}
	while ((entry = readdir(dir)))
		if (fill(buffer, entry->d_name, NULL, 0, 0))
			break;
	closedir(dir);
	return 0;
}

static void *fs_init(struct fuse_conn_info *connection,
		     struct fuse_config *config)
{
	(void)connection;
	config->use_ino = 1;
	/* The source may change at any time. */
	config->direct_io = 1;
	config->attr_timeout = 0;
	config->entry_timeout = 0;
	config->negative_timeout = 0;
	return this_fs();
}

static const struct fuse_operations operations = {
	.init = fs_init,
	.getattr = fs_getattr,
	.readlink = fs_readlink,
	.mkdir = fs_mkdir,
	.unlink = fs_unlink,
	.rmdir = fs_rmdir,
	.symlink = fs_symlink,
	.rename = fs_rename,
	.link = fs_link,
	.chmod = fs_chmod,
	.chown = fs_chown,
	.truncate = fs_truncate,
	.open = fs_open,
	.create = fs_create,
	.read = fs_read,
	.write = fs_write,
	.statfs = fs_statfs,
	.release = fs_release,
	.fsync = fs_fsync,
	.readdir = fs_readdir,
	.utimens = fs_utimens,
};

/* --- the program --------------------------------------------------------- */

struct options {
	struct guest_options guest;
	uint64_t cache_bytes;
	unsigned delay_us;
	const char *source, *mountpoint;
};

static void usage(void)
{
	fprintf(stderr, "usage: cachefs [--cache SIZE] [--store SIZE | "
			"--socket PATH] [--delay-us N] SOURCE MOUNTPOINT\n");
	exit(EXIT_FAILURE);
}

static void parse(struct options *o, int argc, char **argv)
{
	static const struct option longs[] = {
		{ "cache", required_argument, NULL, 'c' },
		{ "store", required_argument, NULL, 't' },
		{ "socket", required_argument, NULL, 'S' },
		{ "delay-us", required_argument, NULL, 'd' },
		{ NULL, 0, NULL, 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		switch (c) {
		case 'c':
			o->cache_bytes = guest_size("cachefs", optarg);
			break;
		case 't':
			o->guest.store_bytes = guest_size("cachefs", optarg);
			break;
		case 'S':
			o->guest.socket = optarg;
			break;
		case 'd':
			o->delay_us = (unsigned)strtoul(optarg, NULL, 10);
			break;
		default:
			usage();
		}
	}
	if (argc - optind != 2)
		usage();
	o->source = argv[optind];
	o->mountpoint = argv[optind + 1];
}

static void report(struct page_cache *cache)
{
	struct page_cache_counts n;

	page_cache_get_counts(cache, &n);
	printf("page cache: hits %" PRIu64 "\n", n.hits);
	printf("cleancache: hits %" PRIu64 " misses %" PRIu64 " puts %" PRIu64
	       " invalidates %" PRIu64 "\n",
	       n.cleancache.succ_gets, n.cleancache.failed_gets,
	       n.cleancache.puts, n.cleancache.invalidates);
	printf("source: reads %" PRIu64 " changes %" PRIu64 "\n",
	       n.source_reads, n.changes);
}

static int run(struct cachefs *fs, const struct options *o)
{
	char *arguments[] = { "cachefs",
			      "-f",
			      "-o",
			      "default_permissions,subtype=cachefs",
			      (char *)o->mountpoint,
			      NULL };

	umask(0);
	return fuse_main(5, arguments, &operations, fs);
}

int main(int argc, char **argv)
{
	struct options o = {
		.guest = { .name = "cachefs", .store_bytes = 64 << 20 },
		.cache_bytes = 4 << 20,
	};
	struct guest guest;
	struct cachefs fs;
	int status;

	parse(&o, argc, argv);
	fs.root = open(o.source, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fs.root < 0) {
		fprintf(stderr, "cachefs: %s: %s\n", o.source, strerror(errno));
		return EXIT_FAILURE;
	}
	if (access("/dev/fuse", R_OK | W_OK)) {
		fprintf(stderr, "cachefs: /dev/fuse: %s\n", strerror(errno));
		return 77;
	}
	if (guest_open(&guest, &o.guest))
		return EXIT_FAILURE;
	fs.cache = page_cache_open(guest.cleancache,
				   o.cache_bytes / TMEM_PAGE_SIZE, o.delay_us);
	if (!fs.cache) {
		fprintf(stderr, "cachefs: no memory\n");
		guest_close(&guest);
		return EXIT_FAILURE;
	}
	status = run(&fs, &o);
	report(fs.cache);
	page_cache_close(fs.cache);
	guest_close(&guest);
	close(fs.root);
	return status ? EXIT_FAILURE : EXIT_SUCCESS;
}
