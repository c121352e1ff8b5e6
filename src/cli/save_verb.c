/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tmem save: a client of the daemon's into a file.
 *
 * The daemon opens no path: it sends the stream, and the file is made here, with
 * the rights of whoever asks. It has a temporary name until all of it is on the
 * disk and its checks were right, so that a file of the name that was asked for
 * is a client that can be restored, or the one that was there before.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control_client.h"
#include "stream_watch.h"

struct output {
	const char *path;	/* "-": standard output */
	char *temporary;	/* NULL: none is needed */
	int fd;
	struct tm_stream_watch watch;
};

/* Another file to be renamed would take the place of a pipe or a device. */
static bool is_plain(const char *path)
{
	struct stat st;

	return stat(path, &st) ? errno == ENOENT : S_ISREG(st.st_mode);
}

static int open_output(struct output *out)
{
	if (!strcmp(out->path, "-")) {
		out->fd = STDOUT_FILENO;
	} else if (!is_plain(out->path)) {
		out->fd = open(out->path, O_WRONLY | O_CLOEXEC);
	} else if (asprintf(&out->temporary, "%s.XXXXXX", out->path) < 0) {
		out->temporary = NULL;
		errno = ENOMEM;
		out->fd = -1;
	} else {
		out->fd = mkostemp(out->temporary, O_CLOEXEC);
	}
	if (out->fd >= 0)
		return 0;
	tm_cli_error("%s: %s", out->path, strerror(errno));
	free(out->temporary);
	out->temporary = NULL;
	return -EINVAL;
}

static int take(void *opaque, const void *data, size_t size)
{
	struct output *out = opaque;
	int err = tm_stream_watch_push(&out->watch, data, size);

	if (err)
		return err;
	err = tm_write_all(out->fd, data, size);
	if (!err)
		return 0;
	tm_cli_error("%s: %s", out->path, strerror(-err));
	return -ECANCELED;
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

static int finish_output(struct output *out)
{
	int err = 0;

	if (out->temporary && (fsync(out->fd) ||
			       rename(out->temporary, out->path)))
		err = -errno;
	else if (out->temporary)
		err = sync_folder(out->path);
	if (err)
		tm_cli_error("%s: %s", out->path, strerror(-err));
	return err;
}

static void close_output(struct output *out, bool is_good)
{
	if (out->temporary && !is_good)
		unlink(out->temporary);
	if (out->fd != STDOUT_FILENO)
		close(out->fd);
	free(out->temporary);
	tm_stream_watch_close(&out->watch);
}

static void report(const struct tm_cli_control *control,
		   const struct output *out)
{
	const struct tm_save_in *in = &out->watch.in;
	char size[16];
	json_t *json;

	tm_stream_watch_warn(&out->watch);
	if (control->is_json) {
		json = json_pack("{s:s, s:I, s:I, s:I, s:I}", "name",
				 in->client.name, "pages",
				 (json_int_t)in->pages, "gone",
				 (json_int_t)in->gone, "lost",
				 (json_int_t)in->lost, "bytes",
				 (json_int_t)in->bytes);
		tm_cli_print_json(json);
		json_decref(json);
	} else if (out->fd != STDOUT_FILENO) {
		printf("%" PRIu64 " pages, %s\n", in->pages - in->gone,
		       tm_report_size(in->bytes, size, sizeof(size)));
	}
}

static int save(struct tm_cli_target *target, struct output *out)
{
	char path[TM_CLI_PATH_SIZE];
	struct tm_http_request request = {
		.method = "GET",
		.path = path,
		.sink = take,
		.opaque = out,
	};
	struct tm_http_answer answer;
	int err;

	tm_cli_client_path(target, "save", path);
	err = tm_cli_stream(&target->control, &request, &answer);
	if (err)
		return err;
	tm_http_free(&answer);
	err = tm_stream_watch_finish(&out->watch);
	return err ? err : finish_output(out);
}

static const struct tm_cli_option save_options[] = {
	TM_CLI_CONTROL_OPTIONS,
	{ NULL, NULL, NULL, NULL },
};

static int run_save(const struct tm_cli_verb *verb, int argc, char **argv)
{
	struct tm_cli_target target = { 0 };
	struct output out = { 0 };
	int operands;
	int err = tm_cli_parse(verb, argc, argv, &target, &operands);

	if (err)
		return err > 0 ? TM_CLI_OK : TM_CLI_USAGE;
	if (operands != 2) {
		tm_cli_error("save: wants a client and a file (or -): tmem "
			     "save CLIENT FILE");
		return TM_CLI_USAGE;
	}
	target.client = argv[0];
	out.path = argv[1];
	if (target.control.is_json && !strcmp(out.path, "-")) {
		tm_cli_error("save: --json and the stream cannot both go to "
			     "standard output");
		return TM_CLI_USAGE;
	}
	signal(SIGPIPE, SIG_IGN);
	if (tm_stream_watch_open(&out.watch, "saving"))
		return TM_CLI_FAILED;
	err = open_output(&out);
	if (!err) {
		err = save(&target, &out);
		if (!err)
			report(&target.control, &out);
		close_output(&out, !err);
	} else {
		tm_stream_watch_close(&out.watch);
	}
	return err ? TM_CLI_FAILED : TM_CLI_OK;
}

const struct tm_cli_verb tm_cli_save = {
	.name = "save",
	.summary = "write a client's pools and persistent pages to a file",
	.usage = "CLIENT FILE|-",
	.options = save_options,
	.run = run_save,
};
