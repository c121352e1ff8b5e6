/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Whatever ends the work removes the file (src/cli/whole_file.c): a signal
 * comes here the moment that the file is there, since mkostemp() is ours (the
 * linker's --wrap). It goes to a process of its own, which it ends.
 */
#include <config.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"
#include "whole_file.h"

static const int signals[] = { SIGINT, SIGTERM, SIGHUP };

static struct {
	char folder[32];
	char path[64];
	int signal_number; /* that comes with the file; 0: none */
} scene;

/* --- mkostemp() ---------------------------------------------------------- */

/* The linker's names. NOLINTBEGIN */
int __real_mkostemp(char *template, int flags);
int __wrap_mkostemp(char *template, int flags);

int __wrap_mkostemp(char *template, int flags)
{
	int fd = __real_mkostemp(template, flags);

	if (scene.signal_number)
		kill(getpid(), scene.signal_number);
	return fd;
}
/* NOLINTEND */

/* --- the folder ---------------------------------------------------------- */

static void setup(void)
{
	scene.signal_number = 0;
	strcpy(scene.folder, "/tmp/tmem-whole-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(scene.folder));
	snprintf(scene.path, sizeof(scene.path), "%s/file", scene.folder);
}

/* It is removed only if nothing is in it. */
static void teardown(void)
{
	ck_assert_int_eq(rmdir(scene.folder), 0);
}

/* --- tests --------------------------------------------------------------- */

static void be_interrupted(void)
{
	struct tm_whole_file file;

	signal(scene.signal_number, SIG_DFL);
	if (tm_whole_file_open(&file, scene.path))
		_exit(1);
	for (;;)
		pause();
}

START_TEST(a_file_goes_with_a_signal_that_comes_as_it_is_made)
{
	int status;
	pid_t child;

	scene.signal_number = signals[_i];
	child = fork();
	ck_assert_int_ge(child, 0);
	if (!child)
		be_interrupted();
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert(WIFSIGNALED(status));
	ck_assert_int_eq(WTERMSIG(status), signals[_i]);
}
END_TEST

START_TEST(without_a_file_signals_are_as_they_were)
{
	struct tm_whole_file file;
	sigset_t mask;

	strcat(scene.path, "/none");
	ck_assert_int_eq(tm_whole_file_open(&file, scene.path), -ENOENT);
	ck_assert_int_eq(pthread_sigmask(SIG_BLOCK, NULL, &mask), 0);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		ck_assert_int_eq(sigismember(&mask, signals[i]), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("whole files");
	TCase *tc = tcase_create("signals");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc,
			    a_file_goes_with_a_signal_that_comes_as_it_is_made,
			    0, sizeof(signals) / sizeof(signals[0]));
	tcase_add_test(tc, without_a_file_signals_are_as_they_were);
	suite_add_tcase(suite, tc);
	return tm_test_run(suite);
}
