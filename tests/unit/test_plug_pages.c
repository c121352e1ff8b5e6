/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A plugin's table and its manual page say the same.
 *
 * The table is the only definition of levels and options; the page repeats
 * them for readers, in these words:
 *
 *	Levels: MIN to MAX; DEFAULT by default.
 *	It has no levels.
 *	Format: NUMBER.
 *	=item B<OPTION> (MIN to MAX; INITIAL by default)
 *	It has no options.
 *
 * Levels and format are a codec's. Plugins of others have no page here.
 */
#include <config.h>

#include "harness.h"

#include <stdarg.h>
#include <string.h>

#include <tmem/tmem.h>

static char page[1 << 16];

static void read_page(const char *kind, const char *name)
{
	const char *top = getenv("abs_top_srcdir");
	char path[4096];
	size_t size;
	FILE *file;

	snprintf(path, sizeof(path), "%s/doc/tmem-%s-%s.pod", top ? top : ".",
		 kind, name);
	file = fopen(path, "r");
	ck_assert_msg(file != NULL, "%s is not there", path);
	size = fread(page, 1, sizeof(page) - 1, file);
	fclose(file);
	page[size] = '\0';
}

__attribute__((format(printf, 2, 3))) static void
expect(const char *name, const char *format, ...)
{
	char text[256];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	ck_assert_msg(strstr(page, text) != NULL, "the page of %s lacks \"%s\"",
		      name, text);
}

/* Each row has its item, and there are no more items than rows. */
static void expect_options(const char *name, const struct tmem_option *options)
{
	size_t rows = 0, items = 0;
	const char *section = strstr(page, "=head1 OPTIONS");
	const char *end;

	for (; options && options[rows].name; rows++)
		expect(name, "=item B<%s> (%lld to %lld; %lld by default)",
		       options[rows].name, (long long)options[rows].min,
		       (long long)options[rows].max,
		       (long long)options[rows].initial);
	if (!rows)
		expect(name, "It has no options.");
	ck_assert_msg(section != NULL, "the page of %s has no OPTIONS", name);
	end = strstr(section + 1, "=head1");
	while ((section = strstr(section + 1, "=item B<")) &&
	       (!end || section < end))
		items++;
	ck_assert_msg(items == rows, "the page of %s has %zu options, not %zu",
		      name, items, rows);
}

/* Built in, or a module of this build. */
static bool is_ours(const struct tmem_plugins *plugins, const char *name)
{
	const char *origin = tmem_plugins_origin(plugins, name);
	const char *top = getenv("abs_top_builddir");

	return !strcmp(origin, "built in") ||
	       (top && !strncmp(origin, top, strlen(top)));
}

static struct tmem_plugins *plugins_open(void)
{
	struct tmem_plugins *plugins;

	ck_assert_int_eq(tmem_plugins_open(NULL, NULL, NULL, &plugins), 0);
	return plugins;
}

START_TEST(a_codecs_page_has_its_levels_options_and_format)
{
	struct tmem_plugins *plugins = plugins_open();
	const struct tmem_codec *codec;
	unsigned pages = 0;

	for (size_t n = 0; (codec = tmem_plugins_codec(plugins, n)); n++) {
		if (!is_ours(plugins, codec->name))
			continue;
		read_page("codec", codec->name);
		pages++;
		if (codec->level_min == codec->level_max)
			expect(codec->name, "It has no levels.");
		else
			expect(codec->name, "Levels: %d to %d; %d by default.",
			       (int)codec->level_min, (int)codec->level_max,
			       (int)codec->level_default);
		expect(codec->name, "Format: %u.", (unsigned)codec->format);
		expect_options(codec->name, codec->options);
	}
	ck_assert_uint_gt(pages, 0);
	tmem_plugins_close(plugins);
}
END_TEST

START_TEST(an_allocators_page_has_its_options)
{
	struct tmem_plugins *plugins = plugins_open();
	const struct tmem_allocator *allocator;

	for (size_t n = 0; (allocator = tmem_plugins_allocator(plugins, n));
	     n++) {
		if (!is_ours(plugins, allocator->name))
			continue;
		read_page("allocator", allocator->name);
		if (allocator->options)
			expect_options(allocator->name, allocator->options);
	}
	tmem_plugins_close(plugins);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("plug_pages");
	TCase *pages = tcase_create("pages");

	tcase_add_test(pages, a_codecs_page_has_its_levels_options_and_format);
	tcase_add_test(pages, an_allocators_page_has_its_options);
	suite_add_tcase(suite, pages);
	return tm_test_run(suite);
}
