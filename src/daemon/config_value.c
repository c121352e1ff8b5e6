/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Values of the configuration, from text: each parser is total, takes the whole
 * text or nothing, and says in one sentence what is wrong and what would be
 * right.
 */
#include <config.h>

#include <errno.h>
#include <grp.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config_value.h"
#include "nearest.h"
#include "size.h"

#define NS_PER_S UINT64_C(1000000000)
#define DURATION_MAX_S (UINT64_C(10) * 365 * 24 * 3600)

int tm_complain(const struct tm_complaint *complaint, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(complaint->text, complaint->size, format, args);
	va_end(args);
	return -EINVAL;
}

int tm_complain_unknown(const struct tm_complaint *complaint, const char *what,
			const char *typed, const void *words, size_t count,
			size_t stride)
{
	const char *near = tm_nearest(typed, words, count, stride);

	return tm_complain(complaint,
			   "unknown %s \"%.64s\"; the nearest is \"%s\"", what,
			   typed, near ? near : "");
}

int tm_value_size(const char *text, uint64_t *bytes,
		  const struct tm_complaint *complaint)
{
	int err = tm_size_parse(text, bytes);

	if (err == -ERANGE)
		return tm_complain(complaint, "\"%.64s\" is too large", text);
	if (err)
		return tm_complain(complaint,
				   "\"%.64s\" is not a size, such as 64M or "
				   "1.5G",
				   text);
	return 0;
}

/* Digits only, and some. Where they end; NULL: there are none, or too many. */
static const char *read_digits(const char *text, unsigned base,
			       uint64_t *number)
{
	const char *at = text;

	*number = 0;
	for (; *at >= '0' && *at < (char)('0' + base); at++) {
		if (*number > UINT32_MAX)
			return NULL;
		*number = *number * base + (uint64_t)(*at - '0');
	}
	return at == text ? NULL : at;
}

int tm_value_number(const char *text, uint32_t max, uint32_t *number,
		    const struct tm_complaint *complaint)
{
	uint64_t value;
	const char *end = read_digits(text, 10, &value);

	if (!end || *end || value > max)
		return tm_complain(complaint,
				   "\"%.64s\" is not a number from 0 to "
				   "%" PRIu32,
				   text, max);
	*number = (uint32_t)value;
	return 0;
}

int tm_value_switch(const char *text, bool *value,
		    const struct tm_complaint *complaint)
{
	static const struct {
		const char *word;
		bool value;
	} words[] = {
		{ "on", true },	 { "off", false },   { "yes", true },
		{ "no", false }, { "true", true },   { "false", false },
		{ "1", true },	 { "0", false },
	};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (!strcmp(text, words[i].word)) {
			*value = words[i].value;
			return 0;
		}
	return tm_complain(complaint, "\"%.64s\" is neither on nor off", text);
}

int tm_value_duration(const char *text, uint64_t *ns,
		      const struct tm_complaint *complaint)
{
	static const struct {
		const char *unit;
		uint64_t s;
	} units[] = {
		{ "", 1 },     { "s", 1 },	  { "m", 60 },
		{ "h", 3600 }, { "d", 24 * 3600 },
	};
	uint64_t value;
	const char *end;

	if (!strcmp(text, "forever")) {
		*ns = 0;
		return 0;
	}
	end = read_digits(text, 10, &value);
	for (size_t i = 0; end && i < sizeof(units) / sizeof(units[0]); i++) {
		if (strcmp(end, units[i].unit))
			continue;
		if (!value || value > DURATION_MAX_S / units[i].s)
			break;
		*ns = value * units[i].s * NS_PER_S;
		return 0;
	}
	return tm_complain(complaint,
			   "\"%.64s\" is not a time, such as 90s, 5m, 2h, 7d "
			   "(ten years at most) or forever",
			   text);
}

int tm_value_text(const char *text, char *to, size_t size, bool is_path,
		  const struct tm_complaint *complaint)
{
	size_t length = strlen(text);

	if (!length)
		return tm_complain(complaint, "the value is empty");
	if (length >= size)
		return tm_complain(complaint,
				   "\"%.64s...\" is longer than %zu bytes",
				   text, size - 1);
	if (is_path && *text != '/')
		return tm_complain(complaint,
				   "\"%.64s\" is not a path that begins with "
				   "\"/\"",
				   text);
	memcpy(to, text, length + 1);
	return 0;
}

int tm_value_mode(const char *text, mode_t *mode,
		  const struct tm_complaint *complaint)
{
	uint64_t value;
	const char *end = read_digits(text, 8, &value);

	if (!end || *end || value > 0777)
		return tm_complain(complaint,
				   "\"%.64s\" is not a mode, such as 0600",
				   text);
	*mode = (mode_t)value;
	return 0;
}

static int find_user(const char *name, uid_t *owner)
{
	const struct passwd *user = getpwnam(name);
	uint64_t number;
	const char *end = read_digits(name, 10, &number);

	if (!user && (!end || *end || number >= UINT32_MAX))
		return -ENOENT;
	*owner = user ? user->pw_uid : (uid_t)number;
	return 0;
}

static int find_group(const char *name, gid_t *gid)
{
	const struct group *group = getgrnam(name);
	uint64_t number;
	const char *end = read_digits(name, 10, &number);

	if (!group && (!end || *end || number >= UINT32_MAX))
		return -ENOENT;
	*gid = group ? group->gr_gid : (gid_t)number;
	return 0;
}

int tm_value_owner(const char *text, uid_t *owner, gid_t *group,
		   const struct tm_complaint *complaint)
{
	const char *colon = strchr(text, ':');
	size_t length = colon ? (size_t)(colon - text) : strlen(text);
	char user[64];

	if (!length || length >= sizeof(user))
		return tm_complain(complaint,
				   "\"%.64s\" is neither USER nor USER:GROUP",
				   text);
	memcpy(user, text, length);
	user[length] = '\0';
	if (find_user(user, owner))
		return tm_complain(complaint, "there is no user \"%s\"", user);
	if (colon && find_group(colon + 1, group))
		return tm_complain(complaint, "there is no group \"%.64s\"",
				   colon + 1);
	return 0;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

int tm_value_uuid(const char *text, size_t size, struct tmem_uuid *uuid,
		  const struct tm_complaint *complaint)
{
	unsigned digits = 0;

	*uuid = (struct tmem_uuid){ { 0, 0 } };
	for (size_t i = 0; i < size; i++) {
		int digit = hex_digit(text[i]);

		if (text[i] == '-' && digits && digits % 4 == 0)
			continue;
		if (digit < 0 || digits == 32)
			goto out_wrong;
		/* The first digits are the high word's, as Xen prints it. */
		uuid->word[digits < 16] =
			uuid->word[digits < 16] << 4 | (uint64_t)digit;
		digits++;
	}
	if (digits == 32)
		return 0;
out_wrong:
	return tm_complain(complaint,
			   "\"%.*s\" is not a UUID of 32 hexadecimal digits",
			   (int)(size < 64 ? size : 64), text);
}
