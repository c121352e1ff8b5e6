/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What tmem_store_open() is given as an arena and should not have been.
 *
 * Each is refused with the documented error and a line in the log that says
 * why, and the file is as it was. What can be done with less is done: on a
 * file system with too little room puts are refused, and nothing is ever a
 * SIGBUS.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "arena.h"
#include "harness.h"
#include "layout.h"
#include "test_store.h"

#define MEMORY (UINT64_C(1) << 20)
#define LARGE (UINT64_C(64) << 20)
#define PAGES 40

static char folder[64];
static char path[96];
static char said[4096]; /* every line of the log since it was emptied */

static void hear(void *opaque, enum tmem_log_level level, const char *text)
{
	size_t length = strlen(said);

	(void)opaque;
	if (level <= TMEM_LOG_WARNING)
		snprintf(said + length, sizeof(said) - length, "%s\n", text);
}

static void remove_folder(void)
{
	unlink(path);
	umount(folder);
	unlink(path);
	rmdir(folder);
}

/* One that failed before us may have had our number. */
static void make_folder(void)
{
	snprintf(folder, sizeof(folder), "/dev/shm/tmem-arena-%ld",
		 (long)getpid());
	snprintf(path, sizeof(path), "%s/arena", folder);
	remove_folder();
	ck_assert_int_eq(mkdir(folder, 0700), 0);
	said[0] = '\0';
}

static int try_open_with(struct tmem_store **store, const char *codec,
			 uint64_t memory_bytes)
{
	struct tmem_store_config config;

	tmem_store_config_init(&config);
	config.flags = TMEM_STORE_NO_THREADS | TMEM_STORE_NO_LOCK;
	config.memory_bytes = memory_bytes;
	config.memory_max_bytes = memory_bytes;
	config.codec = codec;
	config.arena = path;
	config.log = hear;
	said[0] = '\0';
	*store = NULL;
	return tmem_store_open(&config, store);
}

static int try_open(struct tmem_store **store)
{
	return try_open_with(store, NULL, MEMORY);
}

static struct tmem_client *attach(struct tmem_store *store)
{
	struct tmem_client_config config;
	struct tmem_client *client;

	tmem_client_config_init(&config);
	config.name = "client";
	ck_assert_int_ge(tmem_client_attach(store, &config, &client), 0);
	return client;
}

static void fill(uint64_t *page, uint64_t seed)
{
	for (size_t i = 0; i < TMEM_PAGE_SIZE / 8; i++)
		page[i] = i % 3 ? seed : tm_test_random(&seed);
}

static int put(struct tmem_client *client, uint32_t index)
{
	struct tmem_oid oid = { { 1, 2, 3 } };
	uint64_t page[TMEM_PAGE_SIZE / 8];

	fill(page, index);
	return tmem_put(client, 0, &oid, index, page, 0);
}

static bool has(struct tmem_client *client, uint32_t index)
{
	struct tmem_oid oid = { { 1, 2, 3 } };
	uint64_t page[TMEM_PAGE_SIZE / 8], expected[TMEM_PAGE_SIZE / 8];

	fill(expected, index);
	return tmem_get(client, 0, &oid, index, page, 0) == TMEM_GET_HIT &&
	       !memcmp(page, expected, sizeof(page));
}

static void make_arena(const char *codec)
{
	struct tmem_store *store;
	struct tmem_client *client;

	ck_assert_int_eq(try_open_with(&store, codec, MEMORY), 0);
	client = attach(store);
	ck_assert_int_eq(tmem_pool_create(client, TMEM_POOL_PERSISTENT, NULL),
			 0);
	for (uint32_t i = 0; i < PAGES; i++)
		ck_assert_int_eq(put(client, i), TMEM_PUT_STORED);
	tmem_client_detach(client);
	tmem_store_close(store);
}

static void check_arena(void)
{
	struct tmem_store *store;
	struct tmem_client *client;

	ck_assert_int_eq(try_open(&store), 0);
	client = attach(store);
	for (uint32_t i = 0; i < PAGES; i++)
		ck_assert(has(client, i));
	ck_assert_int_eq(tmem_store_check(store), 0);
	tmem_client_detach(client);
	tmem_store_close(store);
}

/* Of everything in the file, and how long it is. */
static uint64_t fingerprint(void)
{
	struct stat st;
	XXH64_hash_t hash;
	uint8_t *bytes;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(fstat(fd, &st), 0);
	bytes = malloc((size_t)st.st_size + 1);
	ck_assert_int_eq(pread(fd, bytes, (size_t)st.st_size, 0), st.st_size);
	hash = XXH3_64bits_withSeed(bytes, (size_t)st.st_size,
				    (uint64_t)st.st_size);
	free(bytes);
	close(fd);
	return hash;
}

/* Is refused with @error and a word about it, and is as it was. */
static void must_refuse(int error, const char *word)
{
	struct tmem_store *store;
	uint64_t before = fingerprint();

	ck_assert_int_eq(try_open(&store), error);
	ck_assert_msg(strstr(said, word), "no \"%s\" in: %s", word, said);
	ck_assert(fingerprint() == before);
}

static void patch(size_t offset, const void *bytes, size_t size, bool seal)
{
	struct tm_superblock super;
	int fd = open(path, O_RDWR | O_CLOEXEC);

	ck_assert_int_eq(pread(fd, &super, sizeof(super), 0), sizeof(super));
	memcpy((char *)&super + offset, bytes, size);
	if (seal)
		super.check = XXH3_64bits(
			&super, offsetof(struct tm_superblock, check));
	ck_assert_int_eq(pwrite(fd, &super, sizeof(super), 0), sizeof(super));
	close(fd);
}

START_TEST(arena_is_private_and_survives_closing)
{
	struct stat st;

	make_arena(NULL);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_int_eq(st.st_mode & 0777, 0600);
	check_arena();
	check_arena();
}
END_TEST

START_TEST(truncated_arena_is_refused)
{
	struct stat st;
	off_t size;

	make_arena(NULL);
	ck_assert_int_eq(stat(path, &st), 0);
	for (size = st.st_size - 1; size > 0; size = size * 7 / 8) {
		ck_assert_int_eq(truncate(path, size), 0);
		must_refuse(-EBADMSG, path);
	}
	ck_assert_int_eq(truncate(path, 0), 0);
	must_refuse(-EBADMSG, "too short");
}
END_TEST

START_TEST(longer_arena_opens)
{
	struct stat st;

	make_arena(NULL);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_int_eq(truncate(path, st.st_size + 12345), 0);
	check_arena();
}
END_TEST

START_TEST(foreign_arena_is_refused)
{
	static const struct {
		size_t offset;
		uint32_t value;
		bool seal;
		int error;
		const char *word;
	} cases[] = {
		{ offsetof(struct tm_superblock, magic), 0x12345678, true,
		  -EBADMSG, "not a tmem arena" },
		{ offsetof(struct tm_superblock, byte_order), 0x04030201, false,
		  -EPROTONOSUPPORT, "byte order" },
		{ offsetof(struct tm_superblock, layout_version),
		  TM_LAYOUT_VERSION + 1, false, -EPROTONOSUPPORT, "layout" },
		{ offsetof(struct tm_superblock, features_incompat), 1u << 31,
		  true, -EPROTONOSUPPORT, "features" },
		{ offsetof(struct tm_superblock, features_incompat), 1, false,
		  -EBADMSG, "checksum" },
		{ offsetof(struct tm_superblock, page_size), 8192, true,
		  -EPROTONOSUPPORT, "other sizes" },
		{ offsetof(struct tm_superblock, descriptor_size), 64, true,
		  -EPROTONOSUPPORT, "other sizes" },
		/* Sealed, but nonsense. */
		{ offsetof(struct tm_superblock, clients.count), 300, true,
		  -EBADMSG, "regions" },
		{ offsetof(struct tm_superblock, pools.count), 9000, true,
		  -EBADMSG, "regions" },
		{ offsetof(struct tm_superblock, objects.offset_bytes), 4096,
		  true, -EBADMSG, "regions" },
		{ offsetof(struct tm_superblock, descriptors.count) + 4, 1,
		  true, -EBADMSG, "regions" },
		{ offsetof(struct tm_superblock, frames.count), 1, true,
		  -EBADMSG, "regions" },
		{ offsetof(struct tm_superblock, file_size_bytes), 8192, true,
		  -EBADMSG, "regions" },
		{ offsetof(struct tm_superblock, pools_high), 17, false,
		  -EBADMSG, "table" },
	};
	int fd;
	struct tm_superblock super;

	make_arena(NULL);
	fd = open(path, O_RDWR | O_CLOEXEC);
	ck_assert_int_eq(pread(fd, &super, sizeof(super), 0), sizeof(super));
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		patch(cases[i].offset, &cases[i].value, 4, cases[i].seal);
		must_refuse(cases[i].error, cases[i].word);
		ck_assert_int_eq(pwrite(fd, &super, sizeof(super), 0),
				 sizeof(super));
	}
	close(fd);
	check_arena();
}
END_TEST

/* An unknown compatible feature is no reason to refuse. */
START_TEST(compatible_feature_is_accepted)
{
	uint64_t bits = UINT64_C(1) << 40;

	make_arena(NULL);
	patch(offsetof(struct tm_superblock, features_compat), &bits, 8, true);
	check_arena();
}
END_TEST

START_TEST(something_else_is_refused)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	char target[128];
	struct tmem_store *store;
	int fd, made;

	ck_assert_int_eq(mkdir(path, 0700), 0);
	ck_assert_int_eq(try_open(&store), -EISDIR);
	ck_assert_ptr_nonnull(strstr(said, "irectory"));
	ck_assert_int_eq(rmdir(path), 0);

	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)),
			 0);
	ck_assert_int_lt(try_open(&store), 0);
	ck_assert_ptr_nonnull(strstr(said, path));
	close(fd);
	ck_assert_int_eq(unlink(path), 0);

	ck_assert_int_eq(mkfifo(path, 0600), 0);
	ck_assert_int_lt(try_open(&store), 0);
	ck_assert_ptr_nonnull(strstr(said, path));
	ck_assert_int_eq(unlink(path), 0);

	/* Whoever can write to a folder must not choose what is opened. */
	snprintf(target, sizeof(target), "%s-target", path);
	ck_assert_int_eq(symlink(target, path), 0);
	ck_assert_int_eq(try_open(&store), -ELOOP);
	ck_assert_ptr_nonnull(strstr(said, "symbolic link"));
	ck_assert_int_eq(access(target, F_OK), -1);
	ck_assert_int_eq(unlink(path), 0);

	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	for (int i = 0; i < 1000; i++)
		ck_assert_int_eq(write(fd, "not an arena", 12), 12);
	close(fd);
	must_refuse(-EBADMSG, "not a tmem arena");
	ck_assert_int_eq(unlink(path), 0);

	made = snprintf(path, sizeof(path), "%s/none/arena", folder);
	ck_assert_int_lt(made, (int)sizeof(path));
	ck_assert_int_eq(try_open(&store), -ENOENT);
	ck_assert_ptr_nonnull(strstr(said, path));
}
END_TEST

START_TEST(unreadable_arena_is_refused)
{
	struct tmem_store *store;
	pid_t child;
	int status;

	make_arena(NULL);
	ck_assert_int_eq(chmod(path, 0), 0);
	child = fork();
	if (!child) {
		/* Root reads everything. */
		if (!getuid() && (chmod(folder, 0755) || setuid(65534)))
			_exit(2);
		_exit(try_open(&store) == -EACCES && strstr(said, path) ? 0
									: 1);
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_int_eq(status, 0);
	ck_assert_int_eq(chmod(path, 0600), 0);
	check_arena();
}
END_TEST

START_TEST(second_opener_is_refused)
{
	struct tmem_store *store, *second;
	pid_t child;
	int status;

	make_arena(NULL);
	ck_assert_int_eq(try_open(&store), 0);
	ck_assert_int_eq(try_open(&second), -EBUSY);
	ck_assert_ptr_nonnull(strstr(said, "open already"));
	child = fork();
	if (!child)
		_exit(try_open(&second) == -EBUSY ? 0 : 1);
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_int_eq(status, 0);
	tmem_store_close(store);
	check_arena();
}
END_TEST

START_TEST(missing_codec_is_named_with_its_pages)
{
	const char *plugins = getenv("TMEM_PLUGIN_PATH");
	struct tmem_plugins *registry;
	char pages[32];

	ck_assert_int_eq(tmem_plugins_open(NULL, NULL, NULL, &registry), 0);
	if (!plugins || !tmem_plugins_origin(registry, "lzo") ||
	    !strcmp(tmem_plugins_origin(registry, "lzo"), "built in")) {
		tmem_plugins_close(registry);
		printf("skipped: no codec that is a module\n");
		return;
	}
	tmem_plugins_close(registry);
	make_arena("lzo");
	unsetenv("TMEM_PLUGIN_PATH");
	must_refuse(-EPROTONOSUPPORT, "\"lzo\"");
	snprintf(pages, sizeof(pages), "%d pages", PAGES);
	ck_assert_ptr_nonnull(strstr(said, pages));
	setenv("TMEM_PLUGIN_PATH", plugins, 1);
	check_arena();
}
END_TEST

START_TEST(arena_is_not_opened_beyond_what_it_was_made_for)
{
	struct tmem_store *store;

	make_arena(NULL);
	ck_assert_int_eq(try_open_with(&store, NULL, 2 * MEMORY), -EINVAL);
	ck_assert_ptr_nonnull(strstr(said, path));
	check_arena();
}
END_TEST

/* --- file systems that are too small -------------------------------------- */

/* A tmpfs of @kib in the folder; false, with a reason, when we may not. */
static bool mount_small(unsigned kib)
{
	char options[32];

	snprintf(options, sizeof(options), "size=%uk", kib);
	/* In a name space of our own, so that it goes with this process. */
	if (unshare(CLONE_NEWNS | (geteuid() ? CLONE_NEWUSER : 0))) {
		printf("skipped: may not mount a small tmpfs\n");
		return false;
	}
	mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL);
	if (mount("tmpfs", folder, "tmpfs", 0, options)) {
		printf("skipped: cannot mount a small tmpfs: %s\n",
		       strerror(errno));
		return false;
	}
	return true;
}

START_TEST(small_tmpfs_refuses_puts_and_is_no_sigbus)
{
	struct tmem_store *store;
	struct tmem_client *client;
	uint32_t stored = 0, n = 0;
	bool is_stored[2000];

	if (!mount_small(600))
		return;
	ck_assert_int_eq(try_open_with(&store, NULL, UINT64_C(8) << 20), 0);
	client = attach(store);
	ck_assert_int_eq(tmem_pool_create(client, TMEM_POOL_PERSISTENT, NULL),
			 0);
	for (; n < 2000; n++) {
		is_stored[n] = put(client, n) == TMEM_PUT_STORED;
		stored += is_stored[n];
	}
	ck_assert_uint_gt(stored, 50);
	ck_assert_uint_lt(stored, 2000);
	for (uint32_t i = 0; i < n; i++)
		ck_assert(has(client, i) == is_stored[i]);
	ck_assert_int_eq(tmem_store_check(store), 0);
	tmem_client_detach(client);
	tmem_store_close(store);

	/* Reopened as full as it is. */
	ck_assert_int_eq(try_open_with(&store, NULL, UINT64_C(8) << 20), 0);
	client = attach(store);
	for (uint32_t i = 0; i < n; i++)
		ck_assert(has(client, i) == is_stored[i]);
	for (uint32_t i = 0; i < n; i += 2) {
		struct tmem_oid oid = { { 1, 2, 3 } };

		ck_assert_int_eq(tmem_flush_page(client, 0, &oid, i),
				 is_stored[i]);
	}
	while (tmem_store_step(store))
		;
	for (uint32_t i = 0; i < 40; i++)
		ck_assert_int_eq(put(client, 5000 + i), TMEM_PUT_STORED);
	ck_assert_int_eq(tmem_store_check(store), 0);
	tmem_client_detach(client);
	tmem_store_close(store);
}
END_TEST

/* Somebody else fills the file system while the store is at work. */
START_TEST(tmpfs_filled_by_others_is_no_sigbus)
{
	char other[96], block[4096] = "full";
	struct tmem_store *store;
	struct tmem_client *client;
	uint32_t stored = 0;
	int fd;

	if (!mount_small(2048))
		return;
	make_arena(NULL);
	ck_assert_int_eq(try_open(&store), 0);
	client = attach(store);
	snprintf(other, sizeof(other), "%s/other", folder);
	fd = open(other, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	while (write(fd, block, sizeof(block)) == sizeof(block))
		;
	for (uint32_t i = 100; i < 500; i++) {
		bool was_stored = put(client, i) == TMEM_PUT_STORED;

		stored += was_stored;
		ck_assert(has(client, i) == was_stored);
	}
	ck_assert_uint_lt(stored, 400);
	for (uint32_t i = 0; i < PAGES; i++)
		ck_assert(has(client, i));
	tmem_client_detach(client);
	tmem_store_close(store);
	check_arena();
	close(fd);
	unlink(other);
}
END_TEST

START_TEST(tmpfs_without_room_for_a_beginning_is_enospc)
{
	char other[96], block[4096] = "full";
	struct tmem_store *store;
	int fd;

	if (!mount_small(64))
		return;
	snprintf(other, sizeof(other), "%s/other", folder);
	fd = open(other, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	while (write(fd, block, sizeof(block)) == sizeof(block))
		;
	ck_assert_int_eq(try_open(&store), -ENOSPC);
	ck_assert_ptr_nonnull(strstr(said, "room"));
	ck_assert_int_eq(access(path, F_OK), -1);
	close(fd);
	unlink(other);
}
END_TEST

/* A copy that left out what it took for zeros, on a file system that has no
 * room to put them back. */
START_TEST(holes_in_an_arena_are_no_sigbus)
{
	char other[96], block[4096] = "full";
	struct tm_superblock super;
	struct tmem_store *store;
	struct stat st;
	int fd, full, err;

	if (!mount_small(2048))
		return;
	make_arena(NULL);
	fd = open(path, O_RDWR | O_CLOEXEC);
	ck_assert_int_eq(pread(fd, &super, sizeof(super), 0), sizeof(super));
	ck_assert_int_eq(fstat(fd, &st), 0);
	ck_assert_int_eq(
		fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			  (off_t)super.frames.offset_bytes,
			  st.st_size - (off_t)super.frames.offset_bytes),
		0);
	close(fd);
	snprintf(other, sizeof(other), "%s/other", folder);
	full = open(other, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	while (write(full, block, sizeof(block)) == sizeof(block))
		;
	err = try_open(&store);
	ck_assert_msg(err == -ENOSPC || err == -ENOMEM, "%s", strerror(-err));
	ck_assert_ptr_nonnull(strstr(said, "room"));
	/* With room it opens; what was in the holes is known to be lost. */
	close(full);
	unlink(other);
	ck_assert_int_eq(try_open(&store), 0);
	{
		struct tmem_client *client = attach(store);
		struct tmem_oid oid = { { 1, 2, 3 } };
		uint64_t page[TMEM_PAGE_SIZE / 8];

		for (uint32_t i = 0; i < PAGES; i++)
			ck_assert_int_eq(tmem_get(client, 0, &oid, i, page, 0),
					 -EBADMSG);
		tmem_client_detach(client);
	}
	ck_assert_int_eq(tmem_store_check(store), 0);
	tmem_store_close(store);
}
END_TEST

/* It died between asking for frames and using them. */
START_TEST(frames_of_a_dead_process_are_given_back)
{
	struct tm_superblock super;
	struct stat before, after;
	int fd;

	make_arena(NULL);
	check_arena();
	fd = open(path, O_RDWR | O_CLOEXEC);
	ck_assert_int_eq(pread(fd, &super, sizeof(super), 0), sizeof(super));
	ck_assert_int_eq(fstat(fd, &before), 0);
	ck_assert_int_eq(fallocate(fd, 0,
				   (off_t)(super.frames.offset_bytes +
					   128 * TMEM_FRAME_SIZE),
				   64 * TMEM_FRAME_SIZE),
			 0);
	ck_assert_int_eq(pwrite(fd, "used", 4,
				(off_t)(super.frames.offset_bytes +
					200 * TMEM_FRAME_SIZE)),
			 4);
	check_arena();
	ck_assert_int_eq(fstat(fd, &after), 0);
	ck_assert_int_le(after.st_blocks, before.st_blocks);
	close(fd);
}
END_TEST

static uint64_t file_bytes(void)
{
	struct stat st;

	ck_assert_int_eq(stat(path, &st), 0);
	return (uint64_t)st.st_blocks * 512;
}

static bool can_collapse(void)
{
	int fd = memfd_create("probe", MFD_CLOEXEC);
	uint8_t *at = mmap(NULL, 2 * TM_CHUNK_BYTES, PROT_NONE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint8_t *chunk = at + (-(uintptr_t)at & (TM_CHUNK_BYTES - 1));
	bool can = !ftruncate(fd, TM_CHUNK_BYTES) &&
		   !fallocate(fd, 0, 0, TMEM_PAGE_SIZE) &&
		   mmap(chunk, TM_CHUNK_BYTES, PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_FIXED, fd, 0) == chunk &&
		   !madvise(chunk, TM_CHUNK_BYTES, 25 /* MADV_COLLAPSE */);

	munmap(at, 2 * TM_CHUNK_BYTES);
	close(fd);
	return can;
}

/* A store that is large enough makes a huge page of what it needs first.
 * Answers how much of it is idle; 0: this kernel makes none of a file. */
static uint64_t make_large_arena(struct tmem_store **store,
				 struct tmem_client **client)
{
	struct tmem_store_stats stats;

	ck_assert_int_eq(try_open_with(store, NULL, LARGE), 0);
	*client = attach(*store);
	ck_assert_int_eq(tmem_pool_create(*client, TMEM_POOL_PERSISTENT, NULL),
			 0);
	for (uint32_t i = 0; i < PAGES; i++)
		ck_assert_int_eq(put(*client, i), TMEM_PUT_STORED);
	stats = tm_test_stats(*store);
	if (can_collapse())
		ck_assert_uint_eq(stats.arena_bytes + stats.idle_bytes,
				  TM_CHUNK_BYTES);
	else
		printf("skipped: this kernel makes no huge page of a file\n");
	return stats.idle_bytes;
}

static void check_large_arena(struct tmem_store *store,
			      struct tmem_client *client)
{
	for (uint32_t i = 0; i < PAGES; i++)
		ck_assert(has(client, i));
	ck_assert_int_eq(tmem_store_check(store), 0);
	tmem_client_detach(client);
	tmem_store_close(store);
}

START_TEST(what_is_idle_of_a_huge_page_in_a_file_is_given_back)
{
	struct tmem_client *client;
	struct tmem_store *store;
	uint64_t idle = make_large_arena(&store, &client);
	uint64_t before = file_bytes();

	tmem_store_evict(store, UINT64_MAX);
	ck_assert_uint_eq(file_bytes(), before - idle);
	check_large_arena(store, client);
}
END_TEST

START_TEST(what_was_idle_of_a_huge_page_ends_with_its_process)
{
	struct tmem_client *client;
	struct tmem_store *store;
	uint64_t idle = make_large_arena(&store, &client);
	uint64_t before = file_bytes();

	check_large_arena(store, client);
	ck_assert_int_eq(try_open_with(&store, NULL, LARGE), 0);
	ck_assert_uint_le(file_bytes(), before - idle);
	client = attach(store);
	check_large_arena(store, client);
}
END_TEST

/* A flipped bit in a limit, which nothing vouches for. */
START_TEST(absurd_reservation_is_forgotten)
{
	struct tm_superblock super;
	struct tmem_store *store;
	struct tmem_client_config config;
	struct tmem_client *client;
	uint64_t reservation = UINT64_C(1) << 60;
	off_t at;
	int fd;

	make_arena(NULL);
	fd = open(path, O_RDWR | O_CLOEXEC);
	ck_assert_int_eq(pread(fd, &super, sizeof(super), 0), sizeof(super));
	at = (off_t)(super.clients.offset_bytes +
		     sizeof(struct tm_client_record) +
		     offsetof(struct tm_client_record, reservation_bytes));
	ck_assert_int_eq(pwrite(fd, &reservation, 8, at), 8);
	close(fd);
	ck_assert_int_eq(try_open(&store), 0);
	ck_assert_ptr_nonnull(strstr(said, "damaged"));
	tmem_client_config_init(&config);
	config.name = "other";
	config.reservation_bytes = MEMORY / 8;
	ck_assert_int_eq(tmem_client_attach(store, &config, &client), 0);
	tmem_client_detach(client);
	tmem_store_close(store);
	check_arena();
}
END_TEST

/* --- frames ------------------------------------------------------------------- */

/* All of the address space has been used once, up to its end, and a long way from
 * the beginning it still is: what lies behind that is found all the same. */
START_TEST(frames_are_found_wherever_they_are_free)
{
	const uint64_t held = LARGE / TMEM_FRAME_SIZE / 2 * (uint64_t)_i;
	struct tm_arena_config config = { .no_lock = true };
	struct tm_memory memory;
	struct tm_arena arena;
	uint64_t last = UINT64_MAX;
	int64_t frame;

	tm_memory_init(&memory, 4 * LARGE);
	config.memory = &memory;
	config.memory_bytes = config.memory_max_bytes = 4 * LARGE;
	ck_assert_int_eq(tm_arena_open(&arena, &config), 0);
	for (uint64_t f = 0; f < held; f += 64)
		ck_assert_int_eq(tm_arena_claim_frames(&arena, f, 64), 0);
	/* The last word is not full. */
	ck_assert_int_eq(tm_arena_claim_frames(&arena, arena.frame_count - 3,
					       1),
			 0);
	for (int i = 0; i < 2000; i++) {
		frame = tm_arena_get_frames(&arena, i % 2 ? 1 : 16, 0);
		ck_assert_int_ge(frame, (int64_t)held);
		ck_assert_int_ne(frame, (int64_t)last);
		ck_assert_int_le(frame + (i % 2 ? 1 : 16),
				 (int64_t)arena.frame_count);
		last = (uint64_t)frame;
	}
	tm_arena_close(&arena);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("arena");
	TCase *tcase = tcase_create("arena");

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (access("/dev/shm", W_OK)) {
		printf("skipped: no /dev/shm\n");
		return 77;
	}
	tcase_add_checked_fixture(tcase, make_folder, remove_folder);
	tcase_add_test(tcase, arena_is_private_and_survives_closing);
	tcase_add_test(tcase, truncated_arena_is_refused);
	tcase_add_test(tcase, longer_arena_opens);
	tcase_add_test(tcase, foreign_arena_is_refused);
	tcase_add_test(tcase, compatible_feature_is_accepted);
	tcase_add_test(tcase, something_else_is_refused);
	tcase_add_test(tcase, unreadable_arena_is_refused);
	tcase_add_test(tcase, second_opener_is_refused);
	tcase_add_test(tcase, missing_codec_is_named_with_its_pages);
	tcase_add_test(tcase, arena_is_not_opened_beyond_what_it_was_made_for);
	tcase_add_test(tcase, small_tmpfs_refuses_puts_and_is_no_sigbus);
	tcase_add_test(tcase, tmpfs_filled_by_others_is_no_sigbus);
	tcase_add_test(tcase, tmpfs_without_room_for_a_beginning_is_enospc);
	tcase_add_test(tcase, holes_in_an_arena_are_no_sigbus);
	tcase_add_test(tcase,
		       what_is_idle_of_a_huge_page_in_a_file_is_given_back);
	tcase_add_test(tcase,
		       what_was_idle_of_a_huge_page_ends_with_its_process);
	tcase_add_test(tcase, frames_of_a_dead_process_are_given_back);
	tcase_add_test(tcase, absurd_reservation_is_forgotten);
	tcase_add_loop_test(tcase, frames_are_found_wherever_they_are_free, 0,
			    6);
	suite_add_tcase(suite, tcase);
	return tm_test_run(suite);
}
