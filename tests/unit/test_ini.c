/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Strict INI (src/util/ini.c): what a file says is handed over as it stands,
 * what is not INI is refused with file, line and reason, and a file of
 * garbage ends quickly.
 */
#include <config.h>

#include "harness.h"
#include "ini.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Entries as text: "[section|name]" and "key=value;", each with its line. */
struct record {
	char text[4096];
	size_t entries;
	const char *refuse; /* the key whose entry is refused */
};

static int record_entry(void *opaque, const struct tm_ini_entry *entry,
			char *error, size_t error_size)
{
	struct record *record = opaque;
	size_t used = strlen(record->text);
	char *end = record->text + used;
	size_t room = sizeof(record->text) - used;

	record->entries++;
	if (!entry->key) {
		ck_assert_ptr_null(entry->value);
		snprintf(end, room, "%u[%s|%s]", entry->line, entry->section,
			 entry->name);
		return 0;
	}
	snprintf(end, room, "%u %s=%s;", entry->line, entry->key, entry->value);
	if (record->refuse && !strcmp(record->refuse, entry->key)) {
		snprintf(error, error_size, "no \"%s\" today", entry->key);
		return -EDOM;
	}
	return 0;
}

/* On the heap and of the exact size, so that ASan sees a read past it. */
static int parse_size(struct record *record, const char *text, size_t size,
		      char *error, size_t error_size)
{
	const struct tm_ini ini = { "t.conf", record_entry, record };
	char *exact = malloc(size ? size : 1);
	int r;

	ck_assert_ptr_nonnull(exact);
	memcpy(exact, text, size);
	r = tm_ini_parse(&ini, exact, size, error, error_size);
	free(exact);
	return r;
}

static int parse(struct record *record, const char *text, char *error,
		 size_t error_size)
{
	return parse_size(record, text, strlen(text), error, error_size);
}

static const struct {
	const char *text;
	const char *entries;
} good[] = {
	{ "", "" },
	{ "\n\n", "" },
	{ "# a\n; b\n  # c\n\t;d", "" },
	{ "[boot]", "1[boot|]" },
	{ "[boot]\ntmem_compress = zstd:3\n",
	  "1[boot|]2 tmem_compress=zstd:3;" },
	{ "[boot]\nno_newline=at end", "1[boot|]2 no_newline=at end;" },
	{ "[a]\r\nk = v\r\n\r\n", "1[a|]2 k=v;" },
	{ "[a]\nk = v\r", NULL },
	{ " \t[ client \t web 1\t] \nk\t=\t v w \t\n",
	  "1[client|web 1]2 k=v w;" },
	{ "[a]\nk=\nl =  \n", "1[a|]2 k=;3 l=;" },
	{ "[a]\nk = v # not a comment\n", "1[a|]2 k=v # not a comment;" },
	{ "[a]\nk = v \\\nl = w\n", "1[a|]2 k=v \\;3 l=w;" },
	{ "[a]\nk = b=c\n", "1[a|]2 k=b=c;" },
	{ "[a]\nk = [b]\n", "1[a|]2 k=[b];" },
	{ "[a]\nk = \"q\"\n", "1[a|]2 k=\"q\";" },
	{ "[a]\nA-b_c.9 = \xc3\xa9\n", "1[a|]2 A-b_c.9=\xc3\xa9;" },
	{ "[client a]\nk = 1\n[client b]\nk = 2\n[client]\nk = 3",
	  "1[client|a]2 k=1;3[client|b]4 k=2;5[client|]6 k=3;" },
};

START_TEST(what_the_file_says_is_handed_over)
{
	struct record record = { 0 };
	char error[256] = "";
	int r = parse(&record, good[_i].text, error, sizeof(error));

	if (!good[_i].entries) {
		ck_assert_int_eq(r, -EINVAL);
		return;
	}
	ck_assert_msg(!r, "%s", error);
	ck_assert_str_eq(record.text, good[_i].entries);
	ck_assert_str_eq(error, "");
}
END_TEST

#define WORDS "has letters, digits, \"_\", \"-\" and \".\" only"

static const struct {
	const char *text;
	const char *error;
} bad[] = {
	{ "[a]\nkey\n", "t.conf:2: neither \"[section]\" nor \"key = value\" "
			"nor a comment" },
	{ "k = v\n", "t.conf:1: \"k\" stands before any [section]" },
	{ "\n\n[a]\n\n = v\n", "t.conf:5: a key " WORDS },
	{ "[a]\nk k = v\n", "t.conf:2: a key " WORDS },
	{ "[a]\nk\xc3\xa9 = v\n", "t.conf:2: a key " WORDS },
	{ "\xef\xbb\xbf[a]\n", "t.conf:1: neither \"[section]\" nor "
			       "\"key = value\" nor a comment" },
	{ "[a]\nk = v\nk = w\n",
	  "t.conf:3: \"k\" is set again; it was set in line 2" },
	{ "[a]\nk = v\nl = v\n\nk = v\n",
	  "t.conf:5: \"k\" is set again; it was set in line 2" },
	{ "[a]\n[b]\n[a]\n", "t.conf:3: [a] begins again; it began in line 1" },
	{ "[client  web 1 ]\n[client web 1]\n",
	  "t.conf:2: [client web 1] begins again; it began in line 1" },
	{ "[]\n", "t.conf:1: a section's name " WORDS },
	{ "[ ]\n", "t.conf:1: a section's name " WORDS },
	{ "[a/b]\n", "t.conf:1: a section's name " WORDS },
	{ "[a\n", "t.conf:1: a section ends with \"]\"" },
	{ "[", "t.conf:1: a section ends with \"]\"" },
	{ "[a] x\n", "t.conf:1: a section ends with \"]\"" },
	{ "[a] # x\n", "t.conf:1: a section ends with \"]\"" },
	{ "[a b]c]\n", "t.conf:1: \"]\" inside a section's name" },
	{ "[a]\nk = \x1b[31m\n",
	  "t.conf:2: the control character 0x1b in column 5" },
	{ "[a]\rk = v\n", "t.conf:1: the control character 0x0d in column 4" },
	{ "[a]\r\r\n", "t.conf:1: the control character 0x0d in column 4" },
	{ "# \x7f\n", "t.conf:1: the control character 0x7f in column 3" },
};

START_TEST(what_is_not_ini_is_refused_with_its_line)
{
	struct record record = { 0 };
	char error[256] = "";

	ck_assert_int_eq(parse(&record, bad[_i].text, error, sizeof(error)),
			 -EINVAL);
	ck_assert_str_eq(error, bad[_i].error);
}
END_TEST

START_TEST(a_nul_byte_is_refused_wherever_it_is)
{
	static const char text[] = "[ab]\nkey = value\n# c\n";
	char copy[sizeof(text)], error[256], expected[256];

	for (size_t i = 0; i < sizeof(text) - 1; i++) {
		struct record record = { 0 };
		unsigned line = i < 5 ? 1 : i < 17 ? 2 : 3;
		size_t begin = i < 5 ? 0 : i < 17 ? 5 : 17;

		memcpy(copy, text, sizeof(text));
		copy[i] = '\0';
		ck_assert_int_eq(parse_size(&record, copy, sizeof(text) - 1,
					    error, sizeof(error)),
				 -EINVAL);
		snprintf(expected, sizeof(expected),
			 "t.conf:%u: the control character 0x00 in column %zu",
			 line, i - begin + 1);
		ck_assert_str_eq(error, expected);
	}
}
END_TEST

START_TEST(a_line_may_have_1023_bytes_and_no_more)
{
	struct record record = { 0 };
	char text[5 + TM_INI_LINE_MAX + 2];
	char error[256];

	memset(text, 'x', sizeof(text));
	memcpy(text, "[a]\r\nk=", 7);
	text[5 + TM_INI_LINE_MAX] = '\n';
	ck_assert_int_eq(parse_size(&record, text, 5 + TM_INI_LINE_MAX + 1,
				    error, sizeof(error)),
			 0);
	ck_assert_uint_eq(record.entries, 2);
	text[5 + TM_INI_LINE_MAX] = 'x';
	text[5 + TM_INI_LINE_MAX + 1] = '\n';
	ck_assert_int_eq(
		parse_size(&record, text, sizeof(text), error, sizeof(error)),
		-EINVAL);
	ck_assert_str_eq(error, "t.conf:2: longer than 1023 bytes");
}
END_TEST

START_TEST(the_callback_ends_it_and_says_why)
{
	struct record record = { .refuse = "l" };
	char error[256] = "";

	ck_assert_int_eq(parse(&record, "[a]\nk = 1\nl = 2\nm = 3\n", error,
			       sizeof(error)),
			 -EDOM);
	ck_assert_str_eq(error, "t.conf:3: no \"l\" today");
	ck_assert_str_eq(record.text, "1[a|]2 k=1;3 l=2;");
}
END_TEST

START_TEST(messages_are_cut_to_the_room_there_is)
{
	for (size_t room = 0; room < 60; room++) {
		struct record record = { 0 };
		char *error = malloc(room ? room : 1);

		ck_assert_int_eq(parse(&record, "[a]\nnonsense\n", error, room),
				 -EINVAL);
		if (room)
			ck_assert_uint_eq(strlen(error),
					  room - 1 < 59 ? room - 1 : 59);
		free(error);
	}
}
END_TEST

/* "[s]" and @count lines of @before, a number, @after. */
static char *repeat(const char *before, int count, const char *after)
{
	size_t used = 0;
	char *text = malloc((size_t)count * 16 + 16);

	used += (size_t)sprintf(text, "[s]\n");
	for (int i = 0; i < count; i++)
		used += (size_t)snprintf(text + used, 16, "%s%d%s\n", before, i,
					 after);
	return text;
}

START_TEST(there_are_at_most_1024_sections_of_128_keys)
{
	struct record record = { 0 };
	char error[256];
	char *text = repeat("k", TM_INI_KEYS_MAX, "=v");

	ck_assert_int_eq(parse(&record, text, error, sizeof(error)), 0);
	free(text);
	text = repeat("k", TM_INI_KEYS_MAX + 1, "=v");
	ck_assert_int_eq(parse(&record, text, error, sizeof(error)), -EINVAL);
	ck_assert_str_eq(error,
			 "t.conf:130: more than 128 keys in one section");
	free(text);
	text = repeat("[c ", TM_INI_SECTIONS_MAX - 1, "]");
	ck_assert_int_eq(parse(&record, text, error, sizeof(error)), 0);
	free(text);
	text = repeat("[c ", TM_INI_SECTIONS_MAX, "]");
	ck_assert_int_eq(parse(&record, text, error, sizeof(error)), -EINVAL);
	ck_assert_str_eq(error, "t.conf:1025: more than 1024 sections");
	free(text);
}
END_TEST

START_TEST(a_file_is_read_and_named)
{
	char path[] = "/tmp/tmem-test-ini-XXXXXX";
	int fd = mkstemp(path);
	struct record record = { 0 };
	const struct tm_ini ini = { path, record_entry, &record };
	char error[256] = "", expected[256];

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, "[a]\nk = v\nx", 11), 11);
	ck_assert_int_eq(tm_ini_load(&ini, error, sizeof(error)), -EINVAL);
	snprintf(
		expected, sizeof(expected),
		"%s:3: neither \"[section]\" nor \"key = value\" nor a comment",
		path);
	ck_assert_str_eq(error, expected);
	ck_assert_str_eq(record.text, "1[a|]2 k=v;");

	ck_assert_int_eq(ftruncate(fd, 0), 0);
	ck_assert_int_eq(tm_ini_load(&ini, error, sizeof(error)), 0);

	ck_assert_int_eq(ftruncate(fd, TM_INI_FILE_MAX + 1), 0);
	ck_assert_int_eq(tm_ini_load(&ini, error, sizeof(error)), -EFBIG);
	snprintf(expected, sizeof(expected), "cannot read %s: File too large",
		 path);
	ck_assert_str_eq(error, expected);
	close(fd);

	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_eq(tm_ini_load(&ini, error, sizeof(error)), -ENOENT);
	snprintf(expected, sizeof(expected),
		 "cannot read %s: No such file or directory", path);
	ck_assert_str_eq(error, expected);
}
END_TEST

START_TEST(a_directory_is_no_file)
{
	struct record record = { 0 };
	const struct tm_ini ini = { "/tmp", record_entry, &record };
	char error[256];

	ck_assert_int_eq(tm_ini_load(&ini, error, sizeof(error)), -EISDIR);
	ck_assert_str_eq(error, "cannot read /tmp: Is a directory");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("ini");
	TCase *tc = tcase_create("ini");

	tcase_add_loop_test(tc, what_the_file_says_is_handed_over, 0,
			    COUNT(good));
	tcase_add_loop_test(tc, what_is_not_ini_is_refused_with_its_line, 0,
			    COUNT(bad));
	tcase_add_test(tc, a_nul_byte_is_refused_wherever_it_is);
	tcase_add_test(tc, a_line_may_have_1023_bytes_and_no_more);
	tcase_add_test(tc, the_callback_ends_it_and_says_why);
	tcase_add_test(tc, messages_are_cut_to_the_room_there_is);
	tcase_add_test(tc, there_are_at_most_1024_sections_of_128_keys);
	tcase_add_test(tc, a_file_is_read_and_named);
	tcase_add_test(tc, a_directory_is_no_file);
	suite_add_tcase(suite, tc);
	return tm_test_run(suite);
}
