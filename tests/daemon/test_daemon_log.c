/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The daemon's log (src/daemon/daemon_log.c): one line for a message, whatever
 * it holds, and a bounded number of them.
 */
#include <config.h>

#include "daemon_log.h"
#include "harness.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char path[64];
static char text[1 << 20];

static void setup(void)
{
	int fd;

	unsetenv("JOURNAL_STREAM");
	strcpy(path, "/tmp/tmem-log-XXXXXX");
	fd = mkstemp(path);
	ck_assert_int_ge(fd, 0);
	dup2(fd, STDERR_FILENO);
	close(fd);
}

static void teardown(void)
{
	unlink(path);
}

/* What was written, and in how many lines. */
static int read_lines(void)
{
	int fd = open(path, O_RDONLY), lines = 0;
	ssize_t size = read(fd, text, sizeof(text) - 1);

	close(fd);
	ck_assert_int_ge(size, 0);
	text[size] = '\0';
	for (const char *c = text; *c; c++)
		lines += *c == '\n';
	return lines;
}

START_TEST(a_message_cannot_forge_another)
{
	struct tm_daemon_log *log;
	char longer[5000];

	memset(longer, '"', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	ck_assert_int_eq(tm_daemon_log_open(TMEM_LOG_INFO, &log), 0);
	tm_daemon_log(log, TMEM_LOG_INFO, "client %s",
		      "a\" x\\\ntime=1 level=error msg=\"lost");
	tm_daemon_log_text(log, TMEM_LOG_ERROR, longer);
	tm_daemon_log_text(log, TMEM_LOG_DEBUG, "not asked for");
	tm_daemon_log_close(log);
	ck_assert_int_eq(read_lines(), 2);
	ck_assert_ptr_nonnull(
		strstr(text, "level=info msg=\"client a\\\" x\\\\\\x0atime=1 "
			     "level=error msg=\\\"lost\"\n"));
	ck_assert_ptr_null(strstr(text, "asked"));
}
END_TEST

START_TEST(a_kind_of_message_has_its_share)
{
	struct tm_daemon_log *log;

	ck_assert_int_eq(tm_daemon_log_open(TMEM_LOG_INFO, &log), 0);
	for (int i = 0; i < 1000; i++)
		tm_daemon_log(log, TMEM_LOG_INFO, "peer %d refused", i);
	tm_daemon_log(log, TMEM_LOG_INFO, "something else");
	tm_daemon_log_close(log);
	ck_assert_int_eq(read_lines(), 12);
	ck_assert_ptr_nonnull(strstr(text, "something else"));
	ck_assert_ptr_nonnull(strstr(text, "left_out=990\n"));
}
END_TEST

START_TEST(all_kinds_together_are_bounded)
{
	struct tm_daemon_log *log;
	char name[3] = "aa";

	ck_assert_int_eq(tm_daemon_log_open(TMEM_LOG_INFO, &log), 0);
	for (int i = 0; i < 26 * 26; i++) {
		name[0] = (char)('a' + i / 26);
		name[1] = (char)('a' + i % 26);
		tm_daemon_log(log, TMEM_LOG_INFO, "peer %s refused", name);
	}
	tm_daemon_log_close(log);
	ck_assert_int_eq(read_lines(), 101);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("daemon_log");
	TCase *tc = tcase_create("daemon_log");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, a_message_cannot_forge_another);
	tcase_add_test(tc, a_kind_of_message_has_its_share);
	tcase_add_test(tc, all_kinds_together_are_bounded);
	suite_add_tcase(suite, tc);
	return tm_test_run(suite);
}
