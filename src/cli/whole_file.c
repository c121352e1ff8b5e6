/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A file that has its name when all of it is there, and not before.
 *
 * Bytes go into a new file beside the path, which takes the path's name when it
 * is complete and on its disk. Whatever ends the work before removes it, and
 * leaves what had the name. A pipe or a device keeps its name and is written to
 * as it is; so is standard output. What is written here are pages of guests and
 * processes, nobody else's business: the mode is 0600.
 *
 * Ctrl-C must work while a peer or a disk keeps us waiting, so nobody asks now
 * and then whether it came: a thread waits for the signals that end programs,
 * removes the file, and lets the signal do what it does. What the caller
 * ignores (nohup) stays ignored. While the file gets its name or goes, nothing
 * ends it.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"
#include "stream_watch.h"
#include "whole_file.h"

static int cannot_write(const struct tm_whole_file *file, int err)
{
	tm_cli_error("%s: cannot be written: %s", file->path, strerror(-err));
	return err;
}

/* --- signals ----------------------------------------------------------- */

static void *watch(void *opaque)
{
	struct tm_whole_file *file = opaque;
	int signal_number;

	sigwait(&file->signals, &signal_number);
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
	unlink(file->temporary);
	/* A bar may stand in the line. */
	if (isatty(STDERR_FILENO))
		fputs("\r\033[K", stderr);
	tm_cli_error("interrupted; %s was not written", file->path);
	signal(signal_number, SIG_DFL);
	pthread_sigmask(SIG_UNBLOCK, &file->signals, NULL);
	raise(signal_number);
	return NULL;
}

/* Before there is a file: one that comes then waits for the watcher. */
static void block_signals(struct tm_whole_file *file)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
	struct sigaction action;

	sigemptyset(&file->signals);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		if (!sigaction(signals[i], NULL, &action) &&
		    action.sa_handler != SIG_IGN)
			sigaddset(&file->signals, signals[i]);
	pthread_sigmask(SIG_BLOCK, &file->signals, &file->mask);
}

static int start_watcher(struct tm_whole_file *file)
{
	return -pthread_create(&file->watcher, NULL, watch, file);
}

static void stop_watcher(struct tm_whole_file *file)
{
	pthread_cancel(file->watcher);
	pthread_join(file->watcher, NULL);
}

/* What came while the file was given its name came too late. */
static void restore_signals(struct tm_whole_file *file)
{
	const struct timespec at_once = { 0 };

	while (sigtimedwait(&file->signals, NULL, &at_once) > 0)
		;
	pthread_sigmask(SIG_SETMASK, &file->mask, NULL);
}

/* --- the file ---------------------------------------------------------- */

/* Another file to be renamed would take the place of a pipe or a device. */
static bool is_special(const char *path)
{
	struct stat st;

	return !stat(path, &st) && !S_ISREG(st.st_mode);
}

static int open_temporary(struct tm_whole_file *file)
{
	int err;

	if (asprintf(&file->temporary, "%s.XXXXXX", file->path) < 0) {
		file->temporary = NULL;
		return -ENOMEM;
	}
	block_signals(file);
	file->fd = mkostemp(file->temporary, O_CLOEXEC);
	err = file->fd < 0 ? -errno : start_watcher(file);
	if (!err)
		return 0;
	if (file->fd >= 0) {
		unlink(file->temporary);
		close(file->fd);
	}
	pthread_sigmask(SIG_SETMASK, &file->mask, NULL);
	free(file->temporary);
	file->temporary = NULL;
	return err;
}

int tm_whole_file_open(struct tm_whole_file *file, const char *path)
{
	int err;

	*file = (struct tm_whole_file){ .path = path, .fd = -1 };
	if (strcmp(path, "-") && !is_special(path)) {
		err = open_temporary(file);
		return err ? cannot_write(file, err) : 0;
	}
	file->fd = strcmp(path, "-") ? open(path, O_WRONLY | O_CLOEXEC)
				     : dup(STDOUT_FILENO);
	return file->fd < 0 ? cannot_write(file, -errno) : 0;
}

int tm_whole_file_write(struct tm_whole_file *file, const void *bytes,
			size_t size)
{
	int err = tm_write_all(file->fd, bytes, size);

	return err ? cannot_write(file, err) : 0;
}

/* A name is on the disk when its folder is. */
static int sync_folder(const char *path)
{
	char *copy = strdup(path);
	int fd = copy ? open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC)
		      : -1;
	int err = fd < 0 || fsync(fd) ? -errno : 0;

	if (fd >= 0)
		close(fd);
	free(copy);
	return err == -EINVAL || err == -EACCES ? 0 : err;
}

/* It gets its name, on the disk, or it goes. */
static int settle(struct tm_whole_file *file, int err)
{
	stop_watcher(file);
	if (!err && rename(file->temporary, file->path))
		err = -errno;
	if (err)
		unlink(file->temporary);
	else
		err = sync_folder(file->path);
	free(file->temporary);
	file->temporary = NULL;
	restore_signals(file);
	return err;
}

int tm_whole_file_close(struct tm_whole_file *file, bool is_good)
{
	bool is_new = file->temporary;
	int err = 0;

	if (is_good && is_new && fsync(file->fd))
		err = -errno;
	if (close(file->fd) && !err)
		err = -errno;
	file->fd = -1;
	if (is_new && !is_good)
		settle(file, -ECANCELED);
	else if (is_new)
		err = settle(file, err);
	return is_good && err ? cannot_write(file, err) : 0;
}
