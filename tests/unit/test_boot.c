/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Boot options (src/lib/boot.c): every spelling of every option, every error
 * sentence, the four sources in their order, what reaches the store's
 * configuration, and that the manual page and the table agree.
 */
#include <config.h>

#include "boot.h"
#include "harness.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* All options as one line of words, which parse back to the same options. */
static const char *words_of(const struct tmem_boot *boot)
{
	static char text[256];
	size_t used;

	used = (size_t)sprintf(text, "%s %s %s %s %s",
			       boot->enabled ? "tmem" : "no-tmem",
			       boot->dedup ? "dedup" : "no-dedup",
			       boot->shared_auth ? "auth" : "no-auth",
			       boot->tze ? "tze" : "no-tze",
			       boot->compress ? "compress" : "no-compress");
	if (*boot->codec)
		used += (size_t)sprintf(text + used, " %s", boot->codec);
	if (boot->has_level)
		used += (size_t)sprintf(text + used, ":%d", boot->level);
	if (*boot->allocator)
		used += (size_t)sprintf(text + used, " %s", boot->allocator);
	if (boot->memory_bytes)
		sprintf(text + used, " %" PRIu64, boot->memory_bytes);
	return text;
}

#define OURS "tmem no-dedup auth no-tze compress"

START_TEST(defaults_are_ours_or_those_of_xen)
{
	struct tmem_boot boot;

	memset(&boot, 0xff, sizeof(boot));
	tmem_boot_init(&boot, TMEM_BOOT_DEFAULTS_TMEM);
	ck_assert_uint_eq(boot.struct_size, sizeof(boot));
	ck_assert_str_eq(words_of(&boot), OURS);
	memset(&boot, 0xff, sizeof(boot));
	tmem_boot_init(&boot, TMEM_BOOT_DEFAULTS_XEN);
	ck_assert_str_eq(words_of(&boot),
			 "no-tmem no-dedup no-auth no-tze no-compress");
}
END_TEST

static const struct {
	const char *name;
	size_t offset;
} switches[] = {
	{ "tmem", offsetof(struct tmem_boot, enabled) },
	{ "tmem_compress", offsetof(struct tmem_boot, compress) },
	{ "tmem_dedup", offsetof(struct tmem_boot, dedup) },
	{ "tmem_tze", offsetof(struct tmem_boot, tze) },
	{ "tmem_shared_auth", offsetof(struct tmem_boot, shared_auth) },
};

static const struct {
	const char *before;
	const char *after;
	bool value;
} spellings[] = {
	{ "", "", true },        { "no-", "", false },
	{ "", "=1", true },      { "", "=0", false },
	{ "", "=yes", true },    { "", "=no", false },
	{ "", "=on", true },     { "", "=off", false },
	{ "", "=true", true },   { "", "=false", false },
	{ "", "=enable", true }, { "", "=disable", false },
};

/* From both starting values, so that a word that does nothing is seen. */
START_TEST(every_switch_in_every_spelling)
{
	for (size_t i = 0; i < COUNT(spellings); i++) {
		for (int before = 0; before < 2; before++) {
			struct tmem_boot boot, expected;
			char word[64], error[256];
			bool *field =
				(void *)((char *)&boot + switches[_i].offset);

			snprintf(word, sizeof(word), "%s%s%s",
				 spellings[i].before, switches[_i].name,
				 spellings[i].after);
			tmem_boot_init(&boot, TMEM_BOOT_DEFAULTS_TMEM);
			*field = spellings[i].value;
			expected = boot;
			*field = before;
			ck_assert_msg(!tmem_boot_parse(&boot, word, error,
						       sizeof(error)),
				      "%s: %s", word, error);
			ck_assert_mem_eq(&boot, &expected, sizeof(boot));
		}
	}
}
END_TEST

static const struct {
	const char *words;
	const char *result;
} lines[] = {
	{ "", OURS },
	{ " \t\n\v\f\r ", OURS },
	{ "tmem_compress=zstd:3", OURS " zstd:3" },
	{ "tmem_compress=zstd", OURS " zstd" },
	{ "tmem_compress=zstd:-7", OURS " zstd:-7" },
	{ "tmem_compress=a:2147483647", OURS " a:2147483647" },
	{ "tmem_compress=a:-2147483648", OURS " a:-2147483648" },
	{ "tmem_compress=a:007", OURS " a:7" },
	{ "tmem_compress=none", OURS " none" },
	{ "tmem_compress=a23456789-_2345", OURS " a23456789-_2345" },
	/* A later word overrides; a codec's level does not outlive it. */
	{ "tmem_compress=zstd:3 tmem_compress=lz4", OURS " lz4" },
	{ "tmem_compress=off tmem_compress=lz4", OURS " lz4" },
	/* Off and on again finds the codec that was chosen. */
	{ "tmem_compress=zstd:3 no-tmem_compress tmem_compress",
	  OURS " zstd:3" },
	{ "tmem_compress=zstd:3 no-tmem_compress",
	  "tmem no-dedup auth no-tze no-compress zstd:3" },
	{ "tmem_allocator=zbud", OURS " zbud" },
	{ "tmem_allocator=zbud tmem_allocator=zsmalloc", OURS " zsmalloc" },
	{ "tmem_memory=64M", OURS " 67108864" },
	{ "tmem_memory=256k", OURS " 262144" },
	{ "tmem_memory=1.5GiB", OURS " 1610612736" },
	{ "tmem_memory=18446744073709551615", OURS " 18446744073709551615" },
	{ "\ttmem  tmem_dedup\nno-tmem_shared_auth\r\ntmem_tze ",
	  "tmem dedup no-auth tze compress" },
};

START_TEST(words_do_what_they_say)
{
	struct tmem_boot boot;
	char error[256] = "?";

	tmem_boot_init(&boot, TMEM_BOOT_DEFAULTS_TMEM);
	ck_assert_msg(
		!tmem_boot_parse(&boot, lines[_i].words, error, sizeof(error)),
		"%s", error);
	ck_assert_str_eq(words_of(&boot), lines[_i].result);
	ck_assert_str_eq(error, "");
}
END_TEST

#define UNKNOWN(name, best)                                                    \
	"unknown boot option \"" name "\"; the nearest known one is \"" best   \
	"\""
#define VALUE(value, name, best)                                               \
	"unknown value \"" value "\" for \"" name "\"; the nearest known one " \
	"is \"" best "\""
#define SPELLING(value, name, best)                                            \
	"unknown value \"" value "\" for \"" name "\"; the nearest possible "  \
	"one is \"" best "\""
#define NAME(value, name)                                                      \
	"unknown value \"" value "\" for \"" name "\"; a name is 1 to 15 of "  \
	"a-z, 0-9, - and _, beginning with a letter"
#define LEVEL(level, value)                                                    \
	"\"" level "\" is no level, in \"tmem_compress=" value "\": a level "  \
	"is a whole number"

#define TEN "0123456789"

static const struct {
	const char *words;
	const char *error;
} wrong[] = {
	{ "tmem_dedpu", UNKNOWN("tmem_dedpu", "tmem_dedup") },
	{ "tmem_compres=lz4", UNKNOWN("tmem_compres", "tmem_compress") },
	{ "TMEM", UNKNOWN("TMEM", "tmem") },
	{ "notmem", UNKNOWN("notmem", "no-tmem") },
	{ "no-tmem_dedpu", UNKNOWN("no-tmem_dedpu", "no-tmem_dedup") },
	{ "no-tmem_mem", UNKNOWN("no-tmem_mem", "no-tmem_tze") },
	{ "no-no-tmem", UNKNOWN("no-no-tmem", "no-tmem") },
	{ "tmem_lock=1", UNKNOWN("tmem_lock", "tmem") },
	{ "quiet", UNKNOWN("quiet", "tmem") },
	{ "=on", UNKNOWN("", "tmem") },
	{ "-", UNKNOWN("-", "tmem") },
	{ "\x1b[31m", UNKNOWN("?[31m", "tmem") },
	{ TEN TEN TEN TEN TEN TEN TEN,
	  UNKNOWN(TEN TEN TEN TEN TEN TEN "012...", "tmem") },
	{ "tmem=onn", VALUE("onn", "tmem", "on") },
	{ "tmem=2", VALUE("2", "tmem", "1") },
	{ "tmem=ON", VALUE("ON", "tmem", "on") },
	{ "tmem_dedup=enabled", VALUE("enabled", "tmem_dedup", "enable") },
	{ "tmem_dedup=flase", VALUE("flase", "tmem_dedup", "false") },
	{ "tmem_dedup=on=on", VALUE("on=on", "tmem_dedup", "on") },
	{ "tmem_tze=n", VALUE("n", "tmem_tze", "no") },
	{ "tmem_shared_auth=y", VALUE("y", "tmem_shared_auth", "yes") },
	{ "tmem=", "nothing follows \"tmem=\": write tmem[=BOOL]" },
	{ "tmem_compress=", "nothing follows \"tmem_compress=\": write "
			    "tmem_compress[=BOOL|CODEC[:LEVEL]]" },
	{ "tmem_memory=",
	  "nothing follows \"tmem_memory=\": write tmem_memory=SIZE" },
	{ "tmem_memory", "\"tmem_memory\" needs a value: write "
			 "tmem_memory=SIZE" },
	{ "tmem_allocator", "\"tmem_allocator\" needs a value: write "
			    "tmem_allocator=NAME" },
	{ "no-tmem_memory",
	  "\"tmem_memory\" has no \"no-\": write tmem_memory=SIZE" },
	{ "no-tmem_allocator=zbud",
	  "\"tmem_allocator\" has no \"no-\": write tmem_allocator=NAME" },
	{ "no-tmem=off", "\"no-tmem\" takes no value; to switch it off, write "
			 "tmem=off" },
	{ "no-tmem_compress=lz4", "\"no-tmem_compress\" takes no value; to "
				  "switch it off, write tmem_compress=off" },
	{ "tmem_compress=ZSTD", SPELLING("ZSTD", "tmem_compress", "zstd") },
	{ "tmem_compress=On", SPELLING("On", "tmem_compress", "on") },
	{ "tmem_compress=Zstd:3", SPELLING("Zstd", "tmem_compress", "zstd") },
	{ "tmem_allocator=ZBud", SPELLING("ZBud", "tmem_allocator", "zbud") },
	{ "tmem_compress=2", NAME("2", "tmem_compress") },
	{ "tmem_compress=:3", NAME("", "tmem_compress") },
	{ "tmem_compress=l/4", NAME("l/4", "tmem_compress") },
	{ "tmem_compress=a234567890123456",
	  NAME("a234567890123456", "tmem_compress") },
	{ "tmem_allocator=-z", NAME("-z", "tmem_allocator") },
	{ "tmem_compress=zstd:", LEVEL("", "zstd:") },
	{ "tmem_compress=zstd:3x", LEVEL("3x", "zstd:3x") },
	{ "tmem_compress=zstd:+3", LEVEL("+3", "zstd:+3") },
	{ "tmem_compress=zstd:-", LEVEL("-", "zstd:-") },
	{ "tmem_compress=zstd:3:4", LEVEL("3:4", "zstd:3:4") },
	{ "tmem_compress=zstd:2147483648",
	  LEVEL("2147483648", "zstd:2147483648") },
	{ "tmem_compress=zstd:99999999999999999999",
	  LEVEL("99999999999999999999", "zstd:99999999999999999999") },
	{ "tmem_compress=on:3", "\"on\" takes no level, in "
				"\"tmem_compress=on:3\": a codec's name does" },
	{ "tmem_memory=lots", "\"lots\" is no size for \"tmem_memory\"; 512M "
			      "or 1.5G would be" },
	{ "tmem_memory=-1", "\"-1\" is no size for \"tmem_memory\"; 512M or "
			    "1.5G would be" },
	{ "tmem_memory=16777216T",
	  "\"16777216T\" is too much for \"tmem_memory\"" },
	{ "tmem_memory=0", "\"0\" is too little for \"tmem_memory\"; the "
			   "smallest store has 256K" },
	{ "tmem_memory=262143", "\"262143\" is too little for "
				"\"tmem_memory\"; the smallest store has "
				"256K" },
};

START_TEST(a_wrong_word_is_named_and_nothing_changes)
{
	struct tmem_boot boot, before;
	char words[256], error[512] = "";

	tmem_boot_init(&boot, TMEM_BOOT_DEFAULTS_TMEM);
	before = boot;
	snprintf(words, sizeof(words), "no-tmem tmem_memory=1G %s tmem_dedup",
		 wrong[_i].words);
	ck_assert_int_eq(tmem_boot_parse(&boot, words, error, sizeof(error)),
			 -EINVAL);
	ck_assert_str_eq(error, wrong[_i].error);
	ck_assert_mem_eq(&boot, &before, sizeof(boot));
}
END_TEST

START_TEST(a_word_has_at_most_255_bytes)
{
	struct tmem_boot boot;
	char word[300], error[256];

	tmem_boot_init(&boot, TMEM_BOOT_DEFAULTS_TMEM);
	memset(word, '0', sizeof(word));
	memcpy(word, "tmem_memory=", 12);
	memcpy(word + 248, "1048576", 8);
	ck_assert_uint_eq(strlen(word), 255);
	ck_assert_int_eq(tmem_boot_parse(&boot, word, error, sizeof(error)), 0);
	memcpy(word + 248, "01048576", 9);
	ck_assert_int_eq(tmem_boot_parse(&boot, word, error, sizeof(error)),
			 -EINVAL);
	ck_assert_str_eq(error,
			 "\"tmem_memory=00000000000000000000000000000000000000"
			 "0000000000000...\" is longer than 255 bytes");
}
END_TEST

START_TEST(messages_are_cut_to_the_room_there_is)
{
	for (size_t room = 0; room < 100; room++) {
		char *error = malloc(room ? room : 1);
		struct tmem_boot boot;

		tmem_boot_init(&boot, TMEM_BOOT_DEFAULTS_TMEM);
		ck_assert_int_eq(tmem_boot_parse(&boot, "tmen", error, room),
				 -EINVAL);
		if (room)
			ck_assert_uint_le(strlen(error), room - 1);
		free(error);
	}
}
END_TEST

START_TEST(what_was_not_initialised_is_refused)
{
	struct tmem_boot boot = { 0 };
	char error[64];

	ck_assert_int_eq(tmem_boot_parse(&boot, "tmem", error, sizeof(error)),
			 -EINVAL);
	ck_assert_str_eq(error, "the boot options were not initialised");
	ck_assert(!boot.enabled);
	tmem_boot_init(&boot, TMEM_BOOT_DEFAULTS_TMEM);
	ck_assert_int_eq(
		tmem_boot_load(&boot, NULL, NULL, 2, error, sizeof(error)),
		-EINVAL);
	ck_assert_str_eq(error, "unknown source of boot options");
}
END_TEST

static const struct {
	const char *line;
	const char *result; /* NULL: refused, with error */
	const char *error;
} kernel_lines[] = {
	{ "BOOT_IMAGE=/vmlinuz root=/dev/sda1 ro quiet\n", OURS, NULL },
	{ "", OURS, NULL },
	{ "quiet tmem_memory=1M ro no-tmem_compress\n",
	  "tmem no-dedup auth no-tze no-compress 1048576", NULL },
	{ "no-tmem", "no-tmem no-dedup auth no-tze compress", NULL },
	{ "no-smp nosmp xtmem=1 noxtmem", OURS, NULL },
	/* Parameters of Linux's own module. */
	{ "tmem.selfshrink=0 tmem.cleancache no-tmem.x", OURS, NULL },
	/* Quotes: a blank inside one does not end the word. */
	{ "\"tmem_compress=lz4\" tmem_dedup",
	  "tmem dedup auth no-tze compress lz4", NULL },
	{ "tmem_compress=\"lz4\" tmem_dedup",
	  "tmem dedup auth no-tze compress lz4", NULL },
	{ "a=\"b tmem=onn c\" tmem_dedup", "tmem dedup auth no-tze compress",
	  NULL },
	{ "a=b\"c tmem=onn\"d tmem_dedup", "tmem dedup auth no-tze compress",
	  NULL },
	{ "tmem_dedup=\"on", "tmem dedup auth no-tze compress", NULL },
	{ "\"a tmem=onn\" \"", OURS, NULL },
	{ "tmem_compress=\"l z\"", NULL,
	  "kernel command line: " NAME("l z", "tmem_compress") },
	{ "tmem_compress=l\"z\"", NULL,
	  "kernel command line: " NAME("l\"z\"", "tmem_compress") },
	{ "tmem_dedup=\"\"", NULL,
	  "kernel command line: nothing follows \"tmem_dedup=\": write "
	  "tmem_dedup[=BOOL]" },
	/* What follows "--" is init's. */
	{ "tmem_dedup -- no-tmem tmem_lock", "tmem dedup auth no-tze compress",
	  NULL },
	{ "--no tmem_dedup", "tmem dedup auth no-tze compress", NULL },
	{ "quiet tmemmory=1", NULL,
	  "kernel command line: " UNKNOWN("tmemmory", "tmem_memory") },
	{ "no-tmem_lock", NULL,
	  "kernel command line: " UNKNOWN("no-tmem_lock", "no-tmem") },
	{ "tmem_dedup=flase", NULL,
	  "kernel command line: " VALUE("flase", "tmem_dedup", "false") },
};

START_TEST(of_a_kernel_command_line_only_our_words_count)
{
	struct tmem_boot boot, before;
	char error[512];
	int r;

	tmem_boot_init(&boot, TMEM_BOOT_DEFAULTS_TMEM);
	before = boot;
	r = tm_boot_parse_kernel(&boot, kernel_lines[_i].line, error,
				 sizeof(error));
	if (kernel_lines[_i].result) {
		ck_assert_msg(!r, "%s", error);
		ck_assert_str_eq(words_of(&boot), kernel_lines[_i].result);
		return;
	}
	ck_assert_int_eq(r, -EINVAL);
	ck_assert_str_eq(error, kernel_lines[_i].error);
	ck_assert_mem_eq(&boot, &before, sizeof(boot));
}
END_TEST

START_TEST(a_long_word_of_somebody_else_is_none_of_ours)
{
	struct tmem_boot boot;
	char line[1000], error[512];

	memset(line, 'x', sizeof(line));
	memcpy(line + 900, " tmem_dedup", 12);
	tmem_boot_init(&boot, TMEM_BOOT_DEFAULTS_TMEM);
	ck_assert_int_eq(
		tm_boot_parse_kernel(&boot, line, error, sizeof(error)), 0);
	ck_assert(boot.dedup);
	memset(line, 'x', 900);
	memcpy(line, "tmem_dedup=", 11);
	ck_assert_int_eq(
		tm_boot_parse_kernel(&boot, line, error, sizeof(error)),
		-EINVAL);
	ck_assert_ptr_nonnull(strstr(error, "is longer than 255 bytes"));
}
END_TEST

/* A new file with @text. The path is good for the next four calls. */
static const char *file_of(const char *name, const char *text)
{
	static char paths[5][64];
	static int next;
	char *path = paths[next++ % 5];
	FILE *file;

	snprintf(path, sizeof(paths[0]), "/tmp/tmem-test-%s-%ld", name,
		 (long)getpid());
	file = fopen(path, "w");
	ck_assert_ptr_nonnull(file);
	ck_assert_int_ge(fputs(text, file), 0);
	ck_assert_int_eq(fclose(file), 0);
	return path;
}

static int load(struct tmem_boot *boot, const struct tm_boot_sources *sources,
		char *error, size_t error_size)
{
	tmem_boot_init(boot, TMEM_BOOT_DEFAULTS_TMEM);
	return tm_boot_load_sources(boot, sources, error, error_size);
}

/* Each later source is added, and must win. */
START_TEST(sources_count_in_rising_order)
{
	const char *file = file_of("boot", "# ours\n"
					   "[client web]\n"
					   "tmem_compress = none of ours\n"
					   "[boot]\n"
					   "tmem_compress = zstd:3\n"
					   "tmem_dedup = yes\n"
					   "tmem_memory = 1M\n");
	const char *kernel = file_of("cmdline", "quiet tmem_compress=lzo "
						"no-tmem_dedup\n");
	struct tm_boot_sources sources = { .file = file };
	struct tmem_boot boot;
	char error[256] = "";

	ck_assert_msg(!load(&boot, &sources, error, sizeof(error)), "%s",
		      error);
	ck_assert_str_eq(words_of(&boot),
			 "tmem dedup auth no-tze compress zstd:3 1048576");
	sources.kernel_file = kernel;
	ck_assert_int_eq(load(&boot, &sources, error, sizeof(error)), 0);
	ck_assert_str_eq(words_of(&boot), OURS " lzo 1048576");
	sources.environment = "tmem_compress=zlib:9 tmem_memory=2M";
	ck_assert_int_eq(load(&boot, &sources, error, sizeof(error)), 0);
	ck_assert_str_eq(words_of(&boot), OURS " zlib:9 2097152");
	sources.words = "tmem_compress=lz4 tmem_tze";
	ck_assert_int_eq(load(&boot, &sources, error, sizeof(error)), 0);
	ck_assert_str_eq(words_of(&boot),
			 "tmem no-dedup auth tze compress lz4 2097152");
	unlink(file);
	unlink(kernel);
}
END_TEST

START_TEST(an_error_names_its_source_and_nothing_changes)
{
	const char *good = file_of("good", "[boot]\ntmem_dedup = on\n");
	const char *bad = file_of("bad", "[boot]\ntmem = on\n"
					 "tmem_dedpu = on\n");
	const char *named = file_of("named", "[boot x]\n");
	const char *negated = file_of("negated", "[boot]\nno-tmem = 1\n");
	const char *line = file_of("line", "quiet tmem=2\n");
	const struct {
		struct tm_boot_sources sources;
		const char *before;
		const char *error;
	} cases[] = {
		{ { .file = bad },
		  bad,
		  ":3: " UNKNOWN("tmem_dedpu", "tmem_dedup") },
		{ { .file = named },
		  named,
		  ":1: [boot] is written without a name" },
		{ { .file = negated },
		  negated,
		  ":2: \"no-tmem\" takes no value; to switch it off, write "
		  "tmem=off" },
		{ { .file = good, .kernel_file = line },
		  "kernel command line: ",
		  VALUE("2", "tmem", "1") },
		{ { .file = good, .environment = "tmen" },
		  "TMEM_BOOT: ",
		  UNKNOWN("tmen", "tmem") },
		{ { .file = good,
		    .environment = "no-tmem",
		    .words = "tmem=nno" },
		  "--boot: ",
		  VALUE("nno", "tmem", "no") },
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		struct tmem_boot boot, before;
		char error[512] = "", expected[512];

		tmem_boot_init(&before, TMEM_BOOT_DEFAULTS_TMEM);
		ck_assert_int_eq(
			load(&boot, &cases[i].sources, error, sizeof(error)),
			-EINVAL);
		snprintf(expected, sizeof(expected), "%s%s", cases[i].before,
			 cases[i].error);
		ck_assert_str_eq(error, expected);
		ck_assert_mem_eq(&boot, &before, sizeof(boot));
	}
	unlink(good);
	unlink(bad);
	unlink(named);
	unlink(negated);
	unlink(line);
}
END_TEST

START_TEST(a_missing_file_is_an_error_only_when_it_was_named)
{
	struct tm_boot_sources sources = { .file = "/nonexistent/tmem.conf",
					   .words = "tmem_dedup" };
	struct tmem_boot boot;
	char error[256] = "";

	ck_assert_int_eq(load(&boot, &sources, error, sizeof(error)), -ENOENT);
	ck_assert_str_eq(error, "cannot read /nonexistent/tmem.conf: No such "
				"file or directory");
	ck_assert(!boot.dedup);
	sources.is_file_optional = true;
	ck_assert_int_eq(load(&boot, &sources, error, sizeof(error)), 0);
	ck_assert_str_eq(error, "");
	ck_assert(boot.dedup);
	sources.kernel_file = "/nonexistent/cmdline";
	ck_assert_int_eq(load(&boot, &sources, error, sizeof(error)), -ENOENT);
	ck_assert_str_eq(error, "kernel command line: cannot read "
				"/nonexistent/cmdline: No such file or "
				"directory");
}
END_TEST

/* With /proc/cmdline and the environment as they really are. */
START_TEST(the_public_load_takes_the_environment_and_the_words)
{
	const char *file = file_of("public", "[boot]\ntmem_memory = 1M\n");
	struct tmem_boot boot;
	char error[256] = "";

	setenv("TMEM_BOOT", "tmem_dedup tmem_compress=lzo", 1);
	tmem_boot_init(&boot, TMEM_BOOT_DEFAULTS_TMEM);
	ck_assert_msg(!tmem_boot_load(&boot, file, "tmem_compress=zlib",
				      TMEM_BOOT_KERNEL, error, sizeof(error)),
		      "%s", error);
	ck_assert_str_eq(words_of(&boot),
			 "tmem dedup auth no-tze compress zlib 1048576");
	unsetenv("TMEM_BOOT");
	tmem_boot_init(&boot, TMEM_BOOT_DEFAULTS_XEN);
	ck_assert_int_eq(
		tmem_boot_load(&boot, file, NULL, 0, error, sizeof(error)), 0);
	ck_assert_str_eq(words_of(&boot),
			 "no-tmem no-dedup no-auth no-tze no-compress 1048576");
	unlink(file);
	ck_assert_int_eq(
		tmem_boot_load(&boot, file, NULL, 0, error, sizeof(error)),
		-ENOENT);
}
END_TEST

#define FLAG_OFF TMEM_STORE_DISABLED
#define FLAG_DEDUP TMEM_STORE_DEDUP
#define FLAG_OPEN TMEM_STORE_SHARED_OPEN

static const struct {
	const char *words;
	uint64_t flags;
	const char *codec;
	const char *allocator;
	uint64_t memory_bytes;
} applied[] = {
	{ "", 0, NULL, NULL, 7 },
	{ "no-tmem", FLAG_OFF, NULL, NULL, 7 },
	{ "tmem_dedup", FLAG_DEDUP, NULL, NULL, 7 },
	{ "no-tmem_shared_auth", FLAG_OPEN, NULL, NULL, 7 },
	{ "no-tmem_compress", 0, "none", NULL, 7 },
	{ "tmem_compress=lz4", 0, "lz4", NULL, 7 },
	{ "tmem_compress=zstd:-5", 0, "zstd:-5", NULL, 7 },
	{ "tmem_compress=a23456789012345:-2147483648", 0,
	  "a23456789012345:-2147483648", NULL, 7 },
	{ "tmem_compress=zstd:5 no-tmem_compress", 0, "none", NULL, 7 },
	{ "tmem_allocator=zbud tmem_memory=1M", 0, NULL, "zbud", 1048576 },
};

START_TEST(options_reach_the_configuration)
{
	const uint64_t kept = TMEM_STORE_NO_THREADS;
	/* All that the options decide is the other way round before. */
	struct tmem_store_config config = {
		.flags = kept | (~applied[_i].flags &
				 (FLAG_OFF | FLAG_DEDUP | FLAG_OPEN)),
		.memory_bytes = 7,
		.codec = "before",
		.allocator = "before",
	};
	struct tmem_boot boot;
	char codec[32], error[256];

	tmem_boot_init(&boot, TMEM_BOOT_DEFAULTS_TMEM);
	ck_assert_int_eq(
		tmem_boot_parse(&boot, applied[_i].words, error, sizeof(error)),
		0);
	tmem_boot_apply(&boot, &config, codec, sizeof(codec));
	ck_assert_uint_eq(config.flags, kept | applied[_i].flags);
	ck_assert_uint_eq(config.memory_bytes, applied[_i].memory_bytes);
	ck_assert_pstr_eq(config.codec, applied[_i].codec);
	ck_assert_pstr_eq(config.allocator, applied[_i].allocator);
}
END_TEST

START_TEST(a_codec_that_does_not_fit_is_no_codec)
{
	struct tmem_store_config config = { 0 };
	struct tmem_boot boot;
	char codec[7], error[64];

	tmem_boot_init(&boot, TMEM_BOOT_DEFAULTS_TMEM);
	ck_assert_int_eq(tmem_boot_parse(&boot, "tmem_compress=zstd:19", error,
					 sizeof(error)),
			 0);
	tmem_boot_apply(&boot, &config, codec, sizeof(codec));
	ck_assert_str_eq(config.codec, "");
}
END_TEST

static void keep_line(void *opaque, enum tmem_log_level level, const char *text)
{
	ck_assert_int_eq(level, TMEM_LOG_INFO);
	snprintf(opaque, 128, "%s", text);
}

START_TEST(tze_is_logged_as_superseded)
{
	char line[128] = "";
	struct tmem_store_config config = { .log = keep_line,
					    .log_opaque = line };
	struct tmem_boot boot;
	char codec[32], error[64];

	tmem_boot_init(&boot, TMEM_BOOT_DEFAULTS_TMEM);
	tmem_boot_apply(&boot, &config, codec, sizeof(codec));
	ck_assert_str_eq(line, "");
	ck_assert_int_eq(
		tmem_boot_parse(&boot, "tmem_tze", error, sizeof(error)), 0);
	tmem_boot_apply(&boot, &config, codec, sizeof(codec));
	ck_assert_str_eq(line, "tmem_tze changes nothing: codecs and "
			       "same-filled pages supersede it");
}
END_TEST

/* The manual page of the tree, as one string. */
static char *manual(const char *name)
{
	const char *top = getenv("abs_top_srcdir");
	char path[4096], *text = calloc(1, 65536);
	FILE *file;

	snprintf(path, sizeof(path), "%s/doc/%s", top ? top : ".", name);
	file = fopen(path, "r");
	ck_assert_msg(file, "%s: cannot be read", path);
	ck_assert_uint_gt(fread(text, 1, 65535, file), 0);
	fclose(file);
	return text;
}

START_TEST(the_manual_has_every_option_as_the_table_has_it)
{
	char *text = manual("tmem-boot.pod");
	size_t count, items = 0;
	const struct tm_boot_option *options = tm_boot_options(&count);

	for (size_t i = 0; i < count; i++) {
		char item[256];

		snprintf(item, sizeof(item), "\n=item B<%s>%s\n\n%s.\n",
			 options[i].name, options[i].value, options[i].help);
		ck_assert_msg(strstr(text, item), "tmem-boot.pod lacks:%s",
			      item);
	}
	for (const char *at = text; (at = strstr(at, "\n=item B<tmem")); at++)
		items++;
	ck_assert_uint_eq(items, count);
	free(text);
}
END_TEST

START_TEST(the_manual_has_every_boolean_word)
{
	char *text = manual("tmem-boot.pod");
	size_t count;
	const struct tm_boot_word *words = tm_boot_words(&count);

	for (size_t i = 0; i < count; i++) {
		char item[64];

		snprintf(item, sizeof(item), "B<%s>", words[i].word);
		ck_assert_msg(strstr(text, item), "tmem-boot.pod lacks %s",
			      item);
	}
	free(text);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("boot");
	TCase *words = tcase_create("words");
	TCase *sources = tcase_create("sources");
	TCase *apply = tcase_create("apply");
	TCase *pages = tcase_create("manual");

	tcase_add_test(words, defaults_are_ours_or_those_of_xen);
	tcase_add_loop_test(words, every_switch_in_every_spelling, 0,
			    COUNT(switches));
	tcase_add_loop_test(words, words_do_what_they_say, 0, COUNT(lines));
	tcase_add_loop_test(words, a_wrong_word_is_named_and_nothing_changes, 0,
			    COUNT(wrong));
	tcase_add_test(words, a_word_has_at_most_255_bytes);
	tcase_add_test(words, messages_are_cut_to_the_room_there_is);
	tcase_add_test(words, what_was_not_initialised_is_refused);
	suite_add_tcase(suite, words);

	tcase_add_loop_test(sources,
			    of_a_kernel_command_line_only_our_words_count, 0,
			    COUNT(kernel_lines));
	tcase_add_test(sources, a_long_word_of_somebody_else_is_none_of_ours);
	tcase_add_test(sources, sources_count_in_rising_order);
	tcase_add_test(sources, an_error_names_its_source_and_nothing_changes);
	tcase_add_test(sources,
		       a_missing_file_is_an_error_only_when_it_was_named);
	tcase_add_test(sources,
		       the_public_load_takes_the_environment_and_the_words);
	suite_add_tcase(suite, sources);

	tcase_add_loop_test(apply, options_reach_the_configuration, 0,
			    COUNT(applied));
	tcase_add_test(apply, a_codec_that_does_not_fit_is_no_codec);
	tcase_add_test(apply, tze_is_logged_as_superseded);
	suite_add_tcase(suite, apply);

	tcase_add_test(pages, the_manual_has_every_option_as_the_table_has_it);
	tcase_add_test(pages, the_manual_has_every_boolean_word);
	suite_add_tcase(suite, pages);
	return tm_test_run(suite);
}
