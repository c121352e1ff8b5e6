/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Configuration files: strict INI.
 *
 *	# comment
 *	; comment
 *	[section]
 *	[section name of it]
 *	key = value
 *
 * The problem: lenient parsers guess, and a guess about a limit or a guarantee
 * is found out too late. So what is not one of these lines is an error that
 * says where and what. In particular a section that begins twice and a key set
 * twice in one section are errors, since one of the two would be ignored.
 *
 * White space around sections, names, keys and values does not count; inside
 * a value it does. A comment has a line of its own: "#" inside a value is part
 * of it. No quoting, no escapes, no continuation. Lines end with LF or CR LF,
 * the last one with or without. Bytes above 127 pass in names and values;
 * control characters do not, but for tabs.
 *
 *	section, key: letters, digits, "_", "-" and "."
 *
 * Bounds: TM_INI_LINE_MAX, TM_INI_FILE_MAX, TM_INI_SECTIONS_MAX and
 * TM_INI_KEYS_MAX, so that a file of garbage ends quickly. What was seen is
 * kept as places in the text; one allocation of some 30 KiB.
 *
 * Nothing here is shared: any thread may parse.
 */
#include <config.h>

#include "ini.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A piece of the text. */
struct span {
	const char *start;
	size_t size;
};

struct seen_section {
	struct span section;
	struct span name;
	unsigned line;
};

struct seen_key {
	struct span key;
	unsigned line;
};

struct parser {
	const struct tm_ini *ini;
	unsigned line;
	char *error;
	size_t error_size;
	/* As strings, for the callback. */
	char section[TM_INI_LINE_MAX + 1];
	char name[TM_INI_LINE_MAX + 1];
	size_t section_count;
	size_t key_count;
	struct seen_section sections[TM_INI_SECTIONS_MAX];
	struct seen_key keys[TM_INI_KEYS_MAX];
};

__attribute__((format(printf, 2, 3))) static int
complain(struct parser *p, const char *format, ...)
{
	va_list args;
	int used;

	used = snprintf(p->error, p->error_size, "%s:%u: ", p->ini->file,
			p->line);
	if (used >= 0 && (size_t)used < p->error_size) {
		va_start(args, format);
		vsnprintf(p->error + used, p->error_size - (size_t)used, format,
			  args);
		va_end(args);
	}
	return -EINVAL;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static bool is_control(char c)
{
	return ((unsigned char)c < 0x20 && c != '\t') || c == 0x7f;
}

static bool is_word_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.';
}

static bool is_word(struct span s)
{
	for (size_t i = 0; i < s.size; i++)
		if (!is_word_char(s.start[i]))
			return false;
	return s.size > 0;
}

static struct span trim(struct span s)
{
	while (s.size && is_blank(s.start[0])) {
		s.start++;
		s.size--;
	}
	while (s.size && is_blank(s.start[s.size - 1]))
		s.size--;
	return s;
}

static bool is_equal(struct span a, struct span b)
{
	return a.size == b.size && !memcmp(a.start, b.start, a.size);
}

/* @to has room for any line. */
static void copy(char *to, struct span from)
{
	memcpy(to, from.start, from.size);
	to[from.size] = '\0';
}

/* The callback's word on an entry, with file and line put before it. */
static int hand_over(struct parser *p, const char *key, const char *value)
{
	const struct tm_ini_entry entry = {
		.section = p->section,
		.name = p->name,
		.key = key,
		.value = value,
		.line = p->line,
	};
	char what[512] = "";
	int r;

	r = p->ini->entry(p->ini->opaque, &entry, what, sizeof(what));
	if (r < 0)
		complain(p, "%s", what);
	return r < 0 ? r : 0;
}

static int parse_section(struct parser *p, struct span line)
{
	struct seen_section *seen = &p->sections[p->section_count];
	struct span section, name;
	size_t end;

	if (line.start[line.size - 1] != ']')
		return complain(p, "a section ends with \"]\"");
	section = trim((struct span){ line.start + 1, line.size - 2 });
	for (end = 0; end < section.size && !is_blank(section.start[end]);)
		end++;
	name = trim((struct span){ section.start + end, section.size - end });
	section.size = end;
	if (!is_word(section))
		return complain(p, "a section's name has letters, digits, "
				   "\"_\", \"-\" and \".\" only");
	if (memchr(name.start, ']', name.size))
		return complain(p, "\"]\" inside a section's name");
	for (size_t i = 0; i < p->section_count; i++)
		if (is_equal(p->sections[i].section, section) &&
		    is_equal(p->sections[i].name, name))
			return complain(p,
					"[%.*s%s%.*s] begins again; it began "
					"in line %u",
					(int)section.size, section.start,
					name.size ? " " : "", (int)name.size,
					name.start, p->sections[i].line);
	if (p->section_count == TM_INI_SECTIONS_MAX)
		return complain(p, "more than %d sections",
				TM_INI_SECTIONS_MAX);
	*seen = (struct seen_section){ section, name, p->line };
	p->section_count++;
	p->key_count = 0;
	copy(p->section, section);
	copy(p->name, name);
	return hand_over(p, NULL, NULL);
}

static int parse_key(struct parser *p, struct span line, const char *equals)
{
	char key_text[TM_INI_LINE_MAX + 1], value_text[TM_INI_LINE_MAX + 1];
	size_t before = (size_t)(equals - line.start);
	struct span key = trim((struct span){ line.start, before });
	struct span value =
		trim((struct span){ equals + 1, line.size - before - 1 });

	if (!is_word(key))
		return complain(p, "a key has letters, digits, \"_\", \"-\" "
				   "and \".\" only");
	if (!p->section_count)
		return complain(p, "\"%.*s\" stands before any [section]",
				(int)key.size, key.start);
	for (size_t i = 0; i < p->key_count; i++)
		if (is_equal(p->keys[i].key, key))
			return complain(p,
					"\"%.*s\" is set again; it was set in "
					"line %u",
					(int)key.size, key.start,
					p->keys[i].line);
	if (p->key_count == TM_INI_KEYS_MAX)
		return complain(p, "more than %d keys in one section",
				TM_INI_KEYS_MAX);
	p->keys[p->key_count++] = (struct seen_key){ key, p->line };
	copy(key_text, key);
	copy(value_text, value);
	return hand_over(p, key_text, value_text);
}

/* @line has neither LF nor CR LF any more. */
static int parse_line(struct parser *p, struct span line)
{
	const char *equals;

	if (line.size > TM_INI_LINE_MAX)
		return complain(p, "longer than %d bytes", TM_INI_LINE_MAX);
	for (size_t i = 0; i < line.size; i++)
		if (is_control(line.start[i]))
			return complain(p,
					"the control character 0x%02x in "
					"column %zu",
					(unsigned char)line.start[i], i + 1);
	line = trim(line);
	if (!line.size || line.start[0] == '#' || line.start[0] == ';')
		return 0;
	if (line.start[0] == '[')
		return parse_section(p, line);
	equals = memchr(line.start, '=', line.size);
	if (!equals)
		return complain(p, "neither \"[section]\" nor \"key = value\" "
				   "nor a comment");
	return parse_key(p, line, equals);
}

int tm_ini_parse(const struct tm_ini *ini, const char *text, size_t size,
		 char *error, size_t error_size)
{
	struct parser *p = calloc(1, sizeof(*p));
	int r = 0;

	if (!p) {
		snprintf(error, error_size, "%s: out of memory", ini->file);
		return -ENOMEM;
	}
	p->ini = ini;
	p->error = error;
	p->error_size = error_size;
	while (size && !r) {
		const char *end = memchr(text, '\n', size);
		struct span line = { text, end ? (size_t)(end - text) : size };
		size_t step = line.size + !!end;

		if (end && line.size && line.start[line.size - 1] == '\r')
			line.size--;
		p->line++;
		r = parse_line(p, line);
		text += step;
		size -= step;
	}
	free(p);
	return r;
}

/* Return: bytes read, at most @max, or a negative errno. */
static ssize_t read_all(int fd, char *text, size_t max)
{
	size_t got = 0;

	while (got < max) {
		ssize_t n = read(fd, text + got, max - got);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (!n)
			break;
		got += (size_t)n;
	}
	return (ssize_t)got;
}

int tm_ini_load(const struct tm_ini *ini, char *error, size_t error_size)
{
	char *text = malloc(TM_INI_FILE_MAX + 1);
	ssize_t got = -ENOMEM;
	int fd;

	if (!text)
		goto out_complain;
	fd = open(ini->file, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	got = fd < 0 ? -errno : read_all(fd, text, TM_INI_FILE_MAX + 1);
	if (fd >= 0)
		close(fd);
	if (got > TM_INI_FILE_MAX)
		got = -EFBIG;
	if (got < 0)
		goto out_complain;
	got = tm_ini_parse(ini, text, (size_t)got, error, error_size);
	free(text);
	return (int)got;

out_complain:
	free(text);
	errno = (int)-got;
	snprintf(error, error_size, "cannot read %s: %m", ini->file);
	return (int)got;
}
