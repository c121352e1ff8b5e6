/* SPDX-License-Identifier: BSD-2-Clause */
/* Drawings by gnuplot; see plot.h. */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli.h"
#include "plot.h"

extern char **environ;

static int spawn_gnuplot(struct tm_plot *plot, int in)
{
	char name[] = "gnuplot";
	char *argv[] = { name, NULL };
	posix_spawn_file_actions_t actions;
	int err;

	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, in, 0);
	err = posix_spawnp(&plot->pid, name, &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	if (err == ENOENT)
		tm_cli_error("--plot needs gnuplot, which is not installed "
			     "(Debian: gnuplot-nox)");
	else if (err)
		tm_cli_error("gnuplot cannot be started: %s", strerror(err));
	return -err;
}

/* Within single quotes gnuplot doubles a quote, and nothing else is special. */
static void put_quoted(FILE *file, const char *text)
{
	fputc('\'', file);
	for (; *text; text++) {
		if (*text == '\'')
			fputc('\'', file);
		fputc(*text, file);
	}
	fputc('\'', file);
}

static int can_be_written(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);

	if (fd < 0) {
		int err = -errno;

		tm_cli_error("%s: cannot be written: %s", path, strerror(-err));
		return err;
	}
	close(fd);
	return 0;
}

int tm_plot_open(struct tm_plot *plot, const char *path, const char *title)
{
	int ends[2], err;

	*plot = (struct tm_plot){ .path = path };
	if (asprintf(&plot->unfinished, "%s.tmp", path) < 0)
		return -ENOMEM;
	err = can_be_written(plot->unfinished);
	if (!err && pipe2(ends, O_CLOEXEC))
		err = -errno;
	if (err) {
		free(plot->unfinished);
		return err;
	}
	err = spawn_gnuplot(plot, ends[0]);
	close(ends[0]);
	if (!err)
		plot->file = fdopen(ends[1], "w");
	if (!plot->file) {
		close(ends[1]);
		unlink(plot->unfinished);
		free(plot->unfinished);
		return err ? err : -ENOMEM;
	}
	/* A gnuplot that ends early is reported by its status. */
	signal(SIGPIPE, SIG_IGN);
	fputs("set terminal svg size 960,540 background '#ffffff' "
	      "font 'sans,13'\nset output ", plot->file);
	put_quoted(plot->file, plot->unfinished);
	fputs("\nset title ", plot->file);
	put_quoted(plot->file, title);
	fputs(" noenhanced\nset key top right\nset grid ytics\n"
	      "set xtics noenhanced\nset bmargin 4\n", plot->file);
	return 0;
}

/* gnuplot does not look at whether its writes arrive: the last bytes tell. */
static bool is_whole(const char *path)
{
	char tail[32] = "";
	FILE *file = fopen(path, "re");
	bool has_tail;

	if (!file)
		return false;
	has_tail = !fseek(file, -(long)(sizeof(tail) - 1), SEEK_END) &&
		   fread(tail, sizeof(tail) - 1, 1, file);
	fclose(file);
	return has_tail && strstr(tail, "</svg>");
}

int tm_plot_close(struct tm_plot *plot)
{
	int status = 0, err = 0;

	if (fclose(plot->file))
		err = -errno;
	while (waitpid(plot->pid, &status, 0) < 0 && errno == EINTR)
		;
	if (status || err) {
		tm_cli_error("%s: gnuplot could not draw it", plot->path);
		err = -EIO;
	} else if (!is_whole(plot->unfinished)) {
		tm_cli_error("%s: gnuplot could not write all of it: is its "
			     "file system full?",
			     plot->path);
		err = -ENOSPC;
	} else if (rename(plot->unfinished, plot->path)) {
		err = -errno;
		tm_cli_error("%s: %s", plot->path, strerror(-err));
	}
	if (err)
		unlink(plot->unfinished);
	free(plot->unfinished);
	return err;
}
