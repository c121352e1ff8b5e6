/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What tmem-balloon says of its guests: a file of metrics that it writes once a
 * second, and that tmemd's metrics and tmem top show beside their own.
 *
 * The problem: whoever can write that file speaks through the daemon. The
 * idea: it counts only if it is root's or the reader's own, a plain file, of a
 * bounded size, and every line of it is about tmem_balloon_, in printable
 * characters. A file that was not written for STALE_S belongs to an agent that
 * was killed, and is as good as none.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "balloon_state.h"
#include "runtime_dir.h"

#define STALE_S 30
#define PATH_SIZE 128

static int check_file(int fd, int64_t now_s)
{
	struct stat stat;

	if (fstat(fd, &stat))
		return -errno;
	if (!S_ISREG(stat.st_mode))
		return -EBADMSG;
	if (stat.st_uid != 0 && stat.st_uid != geteuid())
		return -EPERM;
	if (stat.st_size > TM_BALLOON_STATE_MAX)
		return -EFBIG;
	if (now_s - (int64_t)stat.st_mtime > STALE_S)
		return -ENOENT;
	return 0;
}

static bool is_ours(const char *line)
{
	static const char *const begins[] = { "tmem_balloon_",
					      "# HELP tmem_balloon_",
					      "# TYPE tmem_balloon_",
					      "# UNIT tmem_balloon_" };

	for (size_t i = 0; i < sizeof(begins) / sizeof(begins[0]); i++)
		if (!strncmp(line, begins[i], strlen(begins[i])))
			return true;
	return false;
}

static bool is_text(const char *text, size_t size)
{
	size_t from = 0;

	for (size_t i = 0; i < size; i++) {
		if (text[i] == '\n') {
			if (!is_ours(text + from))
				return false;
			from = i + 1;
		} else if (text[i] < 0x20 || text[i] > 0x7e) {
			return false;
		}
	}
	/* The last line has an end. */
	return from == size;
}

static int read_all(int fd, char **out)
{
	char *text = malloc(TM_BALLOON_STATE_MAX + 1);
	size_t used = 0;
	ssize_t got = 1;

	if (!text)
		return -ENOMEM;
	while (got > 0 && used < TM_BALLOON_STATE_MAX) {
		got = read(fd, text + used, TM_BALLOON_STATE_MAX - used);
		if (got < 0 && errno == EINTR)
			got = 1;
		else if (got > 0)
			used += (size_t)got;
	}
	text[used] = '\0';
	if (got < 0 || !is_text(text, used)) {
		free(text);
		return got < 0 ? -EIO : -EBADMSG;
	}
	*out = text;
	return 0;
}

int tm_balloon_state_read_file(const char *path, int64_t now_s, char **text)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
	int err;

	if (fd < 0)
		return -errno;
	err = check_file(fd, now_s);
	if (!err)
		err = read_all(fd, text);
	close(fd);
	return err;
}

int tm_balloon_state_read(char **text)
{
	char path[PATH_SIZE];
	int err = tm_default_balloon(path, sizeof(path));

	return err ? err
		   : tm_balloon_state_read_file(path, (int64_t)time(NULL),
						text);
}

/* --- guests ------------------------------------------------------------ */

static struct tm_balloon_guest *find(struct tm_balloon_guest *guests,
				     size_t *count, size_t max,
				     const char *name)
{
	for (size_t i = 0; i < *count; i++)
		if (!strcmp(guests[i].name, name))
			return &guests[i];
	if (*count == max)
		return NULL;
	guests[*count] = (struct tm_balloon_guest){ .current_bytes = 0 };
	strcpy(guests[*count].name, name);
	return &guests[(*count)++];
}

static void set(struct tm_balloon_guest *guest, const char *metric,
		uint64_t value)
{
	if (!strcmp(metric, "current_bytes"))
		guest->current_bytes = value;
	else if (!strcmp(metric, "max_bytes"))
		guest->max_bytes = value;
	else if (!strcmp(metric, "target_bytes"))
		guest->target_bytes = value;
	else if (!strcmp(metric, "goal_bytes"))
		guest->goal_bytes = value;
	else if (!strcmp(metric, "floor_bytes"))
		guest->floor_bytes = value;
	else if (!strcmp(metric, "before_bytes")) {
		guest->before_bytes = value;
		guest->has_before = true;
	} else if (!strcmp(metric, "trusted"))
		guest->is_trusted = value;
	else if (!strcmp(metric, "place"))
		guest->place = value;
}

size_t tm_balloon_state_parse(const char *text, struct tm_balloon_guest *guests,
			      size_t max)
{
	size_t count = 0;

	for (const char *line = text; line && *line;
	     line = strchr(line, '\n'), line += line != NULL) {
		char metric[32], name[TM_BALLOON_GUEST_SIZE], digits[24];
		struct tm_balloon_guest *guest;

		if (sscanf(line,
			   "tmem_balloon_%31[a-z_]{guest=\"%63[^\"\n]\"} "
			   "%23[0-9]",
			   metric, name, digits) != 3)
			continue;
		guest = find(guests, &count, max, name);
		if (guest)
			set(guest, metric, strtoull(digits, NULL, 10));
	}
	return count;
}
