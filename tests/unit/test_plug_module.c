/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which files become plugins, in which order, and which are refused with what
 * words (src/plug/module.c, src/plug/plug_registry.c).
 *
 * Each test has a directory of its own into which it copies plugin_probe.c's
 * modules under the names that matter.
 */
#include <config.h>

#include "harness.h"
#include "plug.h"
#include "test_host.h"

#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

/* Where the modules of the build are, and this test's own directory. */
static char built[4096];
static char scratch[64];

static void scratch_make(void)
{
	const char *top = getenv("abs_top_builddir");

	snprintf(built, sizeof(built), "%s/tests/unit/.libs", top ? top : ".");
	strcpy(scratch, "/tmp/tmem-plug-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(scratch));
	unsetenv("TMEM_PLUGIN_PATH");
}

static int remove_one(const char *path, const struct stat *st, int type,
		      struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

static void scratch_remove(void)
{
	nftw(scratch, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static char *path_of(const char *file)
{
	static char path[256];

	snprintf(path, sizeof(path), "%s/%s", scratch, file);
	return path;
}

static void write_file(const char *file, const void *data, size_t size)
{
	int fd = open(path_of(file), O_WRONLY | O_CREAT | O_TRUNC, 0755);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, data, size), (ssize_t)size);
	close(fd);
}

static size_t read_module(const char *module, uint8_t *data, size_t room)
{
	char path[4200];
	ssize_t size;
	int fd;

	snprintf(path, sizeof(path), "%s/%s.so", built, module);
	fd = open(path, O_RDONLY);
	ck_assert_msg(fd >= 0, "%s is not there", path);
	size = read(fd, data, room);
	close(fd);
	ck_assert_int_gt(size, 0);
	ck_assert_uint_lt((size_t)size, room);
	return (size_t)size;
}

static void copy_module(const char *module, const char *file)
{
	static uint8_t data[1 << 20];

	write_file(file, data, read_module(module, data, sizeof(data)));
}

static struct tmem_plugins *open_path(const char *path,
				      struct tm_test_host *test)
{
	const struct tm_plugins_config config = {
		.path = path,
		.log = tm_test_host_log,
		.opaque = test,
	};
	struct tmem_plugins *plugins;

	tm_test_host_init(test);
	ck_assert_int_eq(tm_plugins_open(&config, &plugins), 0);
	return plugins;
}

/* The one file that is there is refused with these words. */
static void expect_refused(const char *words)
{
	struct tm_test_host test;
	struct tmem_plugins *plugins = open_path(scratch, &test);

	ck_assert_ptr_null(tm_plugins_codec(plugins, 0));
	ck_assert_ptr_null(tm_plugins_allocator(plugins, 0));
	ck_assert_msg(test.logged && strstr(test.text, words),
		      "\"%s\" does not say \"%s\"", test.text, words);
	ck_assert_ptr_nonnull(strstr(test.text, scratch));
	tm_plugins_close(plugins);
}

/* --- accepted */

START_TEST(a_module_on_the_path_is_found_with_its_origin)
{
	struct tm_test_host test;
	struct tmem_plugins *plugins;

	copy_module("probe_codec", "mine.so");
	copy_module("probe_allocator", "ours.so");
	plugins = open_path(scratch, &test);
	ck_assert_uint_eq(test.logged, 0);
	ck_assert_ptr_nonnull(tm_plugins_find_codec(plugins, "mine"));
	ck_assert_ptr_nonnull(tm_plugins_find_allocator(plugins, "ours"));
	ck_assert_str_eq(tm_plugins_origin(plugins, "mine"),
			 path_of("mine.so"));
	ck_assert_ptr_null(tm_plugins_origin(plugins, "nobody"));
	tm_plugins_close(plugins);
}
END_TEST

START_TEST(the_environment_names_directories_too)
{
	char path[256];
	struct tm_test_host test;
	struct tmem_plugins *plugins;

	copy_module("probe_codec", "mine.so");
	snprintf(path, sizeof(path), "/nonexistent::%s:", scratch);
	setenv("TMEM_PLUGIN_PATH", path, 1);
	plugins = open_path(NULL, &test);
	ck_assert_ptr_nonnull(tm_plugins_find_codec(plugins, "mine"));
	tm_plugins_close(plugins);
}
END_TEST

START_TEST(the_installation_has_a_directory_of_each_kind)
{
	struct tm_test_host test;
	const struct tm_plugins_config config = {
		.directory = scratch,
		.log = tm_test_host_log,
		.opaque = &test,
	};
	struct tmem_plugins *plugins;

	tm_test_host_init(&test);
	/* Neither is there: nothing to say about it. */
	ck_assert_int_eq(tm_plugins_open(&config, &plugins), 0);
	ck_assert_uint_eq(test.logged, 0);
	tm_plugins_close(plugins);

	ck_assert_int_eq(mkdir(path_of("codecs"), 0755), 0);
	ck_assert_int_eq(mkdir(path_of("allocators"), 0755), 0);
	copy_module("probe_codec", "codecs/mine.so");
	copy_module("probe_allocator", "allocators/ours.so");
	ck_assert_int_eq(tm_plugins_open(&config, &plugins), 0);
	ck_assert_ptr_nonnull(tm_plugins_find_codec(plugins, "mine"));
	ck_assert_ptr_nonnull(tm_plugins_find_allocator(plugins, "ours"));
	tm_plugins_close(plugins);
}
END_TEST

START_TEST(modules_are_sorted_by_name_whatever_their_directory)
{
	char path[256];
	struct tm_test_host test;
	struct tmem_plugins *plugins;

	ck_assert_int_eq(mkdir(path_of("x"), 0755), 0);
	ck_assert_int_eq(mkdir(path_of("y"), 0755), 0);
	copy_module("probe_codec", "x/b.so");
	copy_module("probe_codec", "x/d.so");
	copy_module("probe_codec", "y/a.so");
	copy_module("probe_codec", "y/c.so");
	snprintf(path, sizeof(path), "%s/x:%s/y", scratch, scratch);
	plugins = open_path(path, &test);
	for (size_t i = 0; i < 4; i++) {
		const char name[] = { "abcd"[i], '\0' };

		ck_assert_str_eq(tm_plugins_codec(plugins, i)->name, name);
	}
	ck_assert_ptr_null(tm_plugins_codec(plugins, 4));
	tm_plugins_close(plugins);
}
END_TEST

START_TEST(one_file_found_twice_is_one_plugin)
{
	char path[256];
	struct tm_test_host test;
	struct tmem_plugins *plugins;

	copy_module("probe_codec", "mine.so");
	snprintf(path, sizeof(path), "%s:%s/.", scratch, scratch);
	setenv("TMEM_PLUGIN_PATH", scratch, 1);
	plugins = open_path(path, &test);
	ck_assert_uint_eq(test.logged, 0);
	ck_assert_ptr_nonnull(tm_plugins_codec(plugins, 0));
	ck_assert_ptr_null(tm_plugins_codec(plugins, 1));
	tm_plugins_close(plugins);
}
END_TEST

START_TEST(the_first_directory_keeps_a_name)
{
	char path[256], first[300];
	struct tm_test_host test;
	struct tmem_plugins *plugins;

	ck_assert_int_eq(mkdir(path_of("x"), 0755), 0);
	ck_assert_int_eq(mkdir(path_of("y"), 0755), 0);
	copy_module("probe_codec", "x/mine.so");
	copy_module("probe_codec", "y/mine.so");
	snprintf(path, sizeof(path), "%s/y:%s/x", scratch, scratch);
	snprintf(first, sizeof(first), "%s/y/mine.so", scratch);
	plugins = open_path(path, &test);
	ck_assert_str_eq(tm_plugins_origin(plugins, "mine"), first);
	ck_assert_ptr_null(tm_plugins_codec(plugins, 1));
	ck_assert_ptr_nonnull(strstr(test.text, "its name mine is taken"));
	ck_assert_ptr_nonnull(strstr(test.text, first));
	tm_plugins_close(plugins);
}
END_TEST

START_TEST(other_files_are_not_looked_at)
{
	struct tm_test_host test;
	struct tmem_plugins *plugins;

	copy_module("probe_codec", "mine.so.1");
	copy_module("probe_codec", ".mine.so");
	copy_module("probe_codec", "mineso");
	write_file("README", "hello", 5);
	write_file(".so", "hello", 5);
	plugins = open_path(scratch, &test);
	ck_assert_uint_eq(test.logged, 0);
	ck_assert_ptr_null(tm_plugins_codec(plugins, 0));
	tm_plugins_close(plugins);
}
END_TEST

/* --- refused */

START_TEST(a_module_with_neither_entry_is_refused)
{
	copy_module("probe_neither", "mine.so");
	expect_refused("neither tmem_codec_entry nor tmem_allocator_entry");
}
END_TEST

START_TEST(a_module_with_both_entries_is_refused)
{
	copy_module("probe_both", "mine.so");
	expect_refused("both tmem_codec_entry and tmem_allocator_entry");
}
END_TEST

START_TEST(an_entry_that_answers_null_is_refused)
{
	copy_module("probe_codec", "null.so");
	expect_refused("its entry function answers NULL");
}
END_TEST

START_TEST(an_allocator_entry_that_answers_null_is_refused)
{
	copy_module("probe_allocator", "null.so");
	expect_refused("its entry function answers NULL");
}
END_TEST

START_TEST(another_abi_is_refused)
{
	copy_module("probe_codec", "oldabi.so");
	expect_refused("its ABI version is 9, not 1");
}
END_TEST

START_TEST(a_file_with_another_name_than_its_plugin_is_refused)
{
	copy_module("probe_codec", "other.so");
	expect_refused("it holds probe, which belongs in probe.so");
}
END_TEST

START_TEST(a_bad_name_is_refused)
{
	copy_module("probe_codec", "Mine.so");
	expect_refused("its name \"Mine\" is not");
}
END_TEST

START_TEST(text_is_refused)
{
	write_file("mine.so", "#!/bin/sh\necho hello\n", 21);
	expect_refused("it is not a shared object");
}
END_TEST

START_TEST(an_empty_file_is_refused)
{
	write_file("mine.so", "", 0);
	expect_refused("it is not a shared object");
}
END_TEST

START_TEST(a_directory_is_refused)
{
	ck_assert_int_eq(mkdir(path_of("mine.so"), 0755), 0);
	expect_refused("it is not a file");
}
END_TEST

START_TEST(a_pipe_is_refused_without_waiting)
{
	ck_assert_int_eq(mkfifo(path_of("mine.so"), 0644), 0);
	expect_refused("it is not a file");
}
END_TEST

START_TEST(a_dangling_link_is_refused)
{
	ck_assert_int_eq(symlink("nowhere", path_of("mine.so")), 0);
	expect_refused("it cannot be opened: No such file");
}
END_TEST

START_TEST(a_file_that_everybody_may_write_is_refused)
{
	copy_module("probe_codec", "mine.so");
	ck_assert_int_eq(chmod(path_of("mine.so"), 0757), 0);
	expect_refused("everybody may write to it");
}
END_TEST

START_TEST(a_strangers_file_is_refused)
{
	if (geteuid() != 0)
		return; /* only root can make one */
	copy_module("probe_codec", "mine.so");
	ck_assert_int_eq(chown(path_of("mine.so"), 12345, 12345), 0);
	expect_refused("it belongs to user 12345");
}
END_TEST

/* Cut anywhere, it is refused or harmless, and never a SIGBUS. */
START_TEST(a_module_that_was_cut_short_does_no_harm)
{
	static uint8_t data[1 << 20];
	size_t size = read_module("probe_codec", data, sizeof(data));
	unsigned refused = 0;

	for (size_t length = 0; length < size; length += 509) {
		struct tm_test_host test;
		struct tmem_plugins *plugins;

		/* Under a new name: an open image is never overwritten. */
		unlink(path_of("mine.so"));
		write_file("mine.so", data, length);
		plugins = open_path(scratch, &test);
		refused += test.logged;
		tm_plugins_close(plugins);
	}
	ck_assert_uint_gt(refused, 0);
}
END_TEST

int main(void)
{
	const TTest *const accepted[] = {
		a_module_on_the_path_is_found_with_its_origin,
		the_environment_names_directories_too,
		the_installation_has_a_directory_of_each_kind,
		modules_are_sorted_by_name_whatever_their_directory,
		one_file_found_twice_is_one_plugin,
		the_first_directory_keeps_a_name,
		other_files_are_not_looked_at,
	};
	const TTest *const refused[] = {
		a_module_with_neither_entry_is_refused,
		a_module_with_both_entries_is_refused,
		an_entry_that_answers_null_is_refused,
		an_allocator_entry_that_answers_null_is_refused,
		another_abi_is_refused,
		a_file_with_another_name_than_its_plugin_is_refused,
		a_bad_name_is_refused,
		text_is_refused,
		an_empty_file_is_refused,
		a_directory_is_refused,
		a_pipe_is_refused_without_waiting,
		a_dangling_link_is_refused,
		a_file_that_everybody_may_write_is_refused,
		a_strangers_file_is_refused,
		a_module_that_was_cut_short_does_no_harm,
	};
	Suite *suite = suite_create("plug_module");
	TCase *found = tcase_create("accepted");
	TCase *not = tcase_create("refused");

	tcase_add_checked_fixture(found, scratch_make, scratch_remove);
	tcase_add_checked_fixture(not, scratch_make, scratch_remove);
	for (size_t i = 0; i < sizeof(accepted) / sizeof(accepted[0]); i++)
		tcase_add_test(found, accepted[i]);
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
		tcase_add_test(not, refused[i]);
	suite_add_tcase(suite, found);
	suite_add_tcase(suite, not );
	return tm_test_run(suite);
}
