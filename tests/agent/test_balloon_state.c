/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The file in which the agent says how its guests are: what its readers take of
 * it, and what they do not take for it.
 */
#include <config.h>

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "balloon_state.h"
#include "harness.h"

#define PATH "balloon_state.test"

static int read_text(const char *text, size_t size, int64_t later_s)
{
	FILE *file = fopen(PATH, "w");
	char *got = NULL;
	int err;

	ck_assert_ptr_nonnull(file);
	ck_assert_uint_eq(fwrite(text, 1, size, file), size);
	fclose(file);
	err = tm_balloon_state_read_file(PATH, (int64_t)time(NULL) + later_s,
					 &got);
	if (!err)
		ck_assert_str_eq(got, text);
	free(got);
	unlink(PATH);
	return err;
}

static const char fine[] =
	"# HELP tmem_balloon_current_bytes What the guest has.\n"
	"# TYPE tmem_balloon_current_bytes gauge\n"
	"tmem_balloon_current_bytes{guest=\"web\"} 1048576\n"
	"tmem_balloon_current_bytes{guest=\"db\"} 7\n"
	"tmem_balloon_max_bytes{guest=\"db\"} 9\n"
	"tmem_balloon_trusted{guest=\"db\"} 1\n"
	"tmem_balloon_place{guest=\"db\"} 9007199254740991\n"
	"tmem_balloon_unheard_of{guest=\"db\"} 3\n";

START_TEST(what_the_agent_writes_is_read)
{
	struct tm_balloon_guest guests[4];

	ck_assert_int_eq(read_text(fine, strlen(fine), 0), 0);
	ck_assert_uint_eq(tm_balloon_state_parse(fine, guests, 4), 2);
	ck_assert_str_eq(guests[0].name, "web");
	ck_assert_uint_eq(guests[0].current_bytes, 1048576);
	ck_assert(!guests[0].is_trusted);
	ck_assert_str_eq(guests[1].name, "db");
	ck_assert_uint_eq(guests[1].current_bytes, 7);
	ck_assert_uint_eq(guests[1].max_bytes, 9);
	ck_assert(guests[1].is_trusted);
	ck_assert_uint_eq(guests[1].place, UINT64_C(9007199254740991));
	ck_assert_uint_eq(guests[0].place, 0);
	/* No more than there is room for. */
	ck_assert_uint_eq(tm_balloon_state_parse(fine, guests, 1), 1);
	ck_assert_str_eq(guests[0].name, "web");
}
END_TEST

START_TEST(others_metrics_cannot_be_slipped_in)
{
	static const char *const texts[] = {
		"tmem_store_used_bytes 5\n",
		"tmem_balloon_x 1\ntmem_clients 5\n",
		"# EOF\n",
		"\n",
		"tmem_balloon_x{guest=\"\033[2J\"} 1\n",
		"tmem_balloon_x{guest=\"\377\"} 1\n",
		"tmem_balloon_x 1", /* a part of a line */
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		ck_assert_int_eq(read_text(texts[i], strlen(texts[i]), 0),
				 -EBADMSG);
	ck_assert_int_eq(read_text("tmem_balloon_\0\n", 15, 0), -EBADMSG);
}
END_TEST

START_TEST(old_file_is_no_file)
{
	ck_assert_int_eq(read_text(fine, strlen(fine), 20), 0);
	ck_assert_int_eq(read_text(fine, strlen(fine), 60), -ENOENT);
}
END_TEST

START_TEST(only_plain_files_of_its_owner_count)
{
	char *text;
	int64_t now_s = (int64_t)time(NULL);

	ck_assert_int_eq(tm_balloon_state_read_file(PATH, now_s, &text),
			 -ENOENT);
	ck_assert_int_eq(mkfifo(PATH, 0600), 0);
	ck_assert_int_eq(tm_balloon_state_read_file(PATH, now_s, &text),
			 -EBADMSG);
	unlink(PATH);
	ck_assert_int_eq(symlink("/etc/hostname", PATH), 0);
	ck_assert_int_lt(tm_balloon_state_read_file(PATH, now_s, &text), 0);
	unlink(PATH);
	if (!geteuid()) {
		fclose(fopen(PATH, "w"));
		ck_assert_int_eq(chown(PATH, 4711, (gid_t)-1), 0);
		ck_assert_int_eq(tm_balloon_state_read_file(PATH, now_s, &text),
				 -EPERM);
		unlink(PATH);
	}
}
END_TEST

START_TEST(file_that_is_too_large_is_refused)
{
	size_t size = TM_BALLOON_STATE_MAX + 1;
	char *text = malloc(size + 1);

	ck_assert_ptr_nonnull(text);
	memset(text, 'x', size);
	text[size] = '\0';
	ck_assert_int_eq(read_text(text, size, 0), -EFBIG);
	free(text);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("balloon_state");
	TCase *tc = tcase_create("balloon_state");

	unlink(PATH);
	tcase_add_test(tc, what_the_agent_writes_is_read);
	tcase_add_test(tc, others_metrics_cannot_be_slipped_in);
	tcase_add_test(tc, old_file_is_no_file);
	tcase_add_test(tc, only_plain_files_of_its_owner_count);
	tcase_add_test(tc, file_that_is_too_large_is_refused);
	suite_add_tcase(suite, tc);
	return tm_test_run(suite);
}
