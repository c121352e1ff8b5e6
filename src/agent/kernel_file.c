/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the kernel says of itself in small files: numbers behind words, one a
 * line.
 *
 * The problem: these files are read once a second to decide what a guest can do
 * without, and a number that was not there, or was read off the wrong line, is
 * a guest that dies. Kernels add lines, drop them and move them. The idea: a
 * line is known by its first word, wherever it stands; what is needed must be
 * there, once, as a decimal number in the unit it always had; else nothing of
 * the file counts.
 *
 * A file is read in one go where the kernel allows it, so that its lines are of
 * one moment.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "kernel_file.h"

#define PATH_SIZE 1024

static int open_file(const char *folder, const char *name, int flags)
{
	char path[PATH_SIZE];
	int length = snprintf(path, sizeof(path), "%s/%s", folder, name);
	int fd;

	if (length < 0 || (size_t)length >= sizeof(path))
		return -ENAMETOOLONG;
	fd = open(path, flags | O_CLOEXEC | O_NONBLOCK);
	return fd < 0 ? -errno : fd;
}

int tm_kernel_file_read(const char *folder, const char *name, char *text,
			size_t size)
{
	int fd = open_file(folder, name, O_RDONLY);
	size_t used = 0;
	int err = 0;

	if (fd < 0)
		return fd;
	for (;;) {
		ssize_t got = read(fd, text + used, size - used);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			err = -errno;
		if (got <= 0)
			break;
		used += (size_t)got;
		if (used == size) {
			err = -EFBIG;
			break;
		}
	}
	close(fd);
	if (err)
		return err;
	text[used] = '\0';
	return 0;
}

/* Decimal digits from @text on: where they end; NULL: none, or too many. */
static const char *read_digits(const char *text, uint64_t *number)
{
	const char *at = text;

	*number = 0;
	for (; *at >= '0' && *at <= '9'; at++) {
		uint64_t digit = (uint64_t)(*at - '0');

		if (*number > (UINT64_MAX - digit) / 10)
			return NULL;
		*number = *number * 10 + digit;
	}
	return at == text ? NULL : at;
}

int tm_kernel_file_number(const char *folder, const char *name,
			  uint64_t *number)
{
	char text[64];
	const char *end;
	int err = tm_kernel_file_read(folder, name, text, sizeof(text));

	if (err)
		return err;
	end = read_digits(text, number);
	return end && (!*end || !strcmp(end, "\n")) ? 0 : -EBADMSG;
}

int tm_kernel_file_write_text(const char *folder, const char *name,
			      const char *text)
{
	int fd = open_file(folder, name, O_WRONLY | O_TRUNC);
	ssize_t put;
	int err;

	if (fd < 0)
		return fd;
	do {
		put = write(fd, text, strlen(text));
	} while (put < 0 && errno == EINTR);
	err = put < 0 ? -errno : 0;
	close(fd);
	return err;
}

int tm_kernel_file_write(const char *folder, const char *name, uint64_t number)
{
	char text[32];

	snprintf(text, sizeof(text), "%llu\n", (unsigned long long)number);
	return tm_kernel_file_write_text(folder, name, text);
}

/* --- lines ------------------------------------------------------------- */

/* What follows the first word of a line, if that is @key; else NULL. */
static const char *after_key(const char *line, const char *key)
{
	size_t length = strlen(key);

	if (strncmp(line, key, length) ||
	    (line[length] != ' ' && line[length] != '\t'))
		return NULL;
	return line + length + strspn(line + length, " \t");
}

static bool is_end(const char *text, bool is_kib)
{
	if (is_kib && strncmp(text, " kB", 3))
		return false;
	text += is_kib ? 3 : 0;
	return !*text || *text == '\n';
}

static int parse_value(const char *text, const struct tm_kernel_value *value,
		       bool *is_found)
{
	const char *at, *end;
	uint64_t number;

	*is_found = false;
	for (const char *line = text; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		at = after_key(line, value->key);
		if (!at)
			continue;
		end = read_digits(at, &number);
		if (*is_found || !end || !is_end(end, value->is_kib))
			return -EBADMSG;
		*is_found = true;
		*value->value = number;
	}
	return 0;
}

int tm_kernel_file_parse(const char *text, const struct tm_kernel_value *values,
			 size_t count, const char **wrong)
{
	for (size_t i = 0; i < count; i++) {
		bool is_found;

		*wrong = values[i].key;
		if (parse_value(text, &values[i], &is_found) ||
		    (values[i].is_needed && !is_found))
			return -EBADMSG;
	}
	return 0;
}

/* --- pressure ---------------------------------------------------------- */

int tm_kernel_file_stalled(const char *text, uint64_t *stalled_us)
{
	const char *line =
		strncmp(text, "some ", 5) ? strstr(text, "\nsome ") : text;
	const char *total = line ? strstr(line, " total=") : NULL;
	const char *end;

	if (!total || memchr(line + 1, '\n', (size_t)(total - line - 1)))
		return -EBADMSG;
	end = read_digits(total + 7, stalled_us);
	return end && is_end(end, false) ? 0 : -EBADMSG;
}

static bool is_kernels(int fd)
{
	struct statfs fs;

	return !fstatfs(fd, &fs) && (fs.f_type == PROC_SUPER_MAGIC ||
				     fs.f_type == CGROUP2_SUPER_MAGIC);
}

int tm_kernel_file_watch(const char *folder, const char *name)
{
	/* The second is what a user without privileges may ask for. */
	static const char *const triggers[] = { "some 100000 1000000",
						"some 200000 2000000" };

	for (size_t i = 0; i < 2; i++) {
		int fd = open_file(folder, name, O_RDWR);

		if (fd < 0)
			return -1;
		if (is_kernels(fd) &&
		    write(fd, triggers[i], strlen(triggers[i]) + 1) > 0)
			return fd;
		close(fd);
	}
	return -1;
}
