/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tmem restore: a client out of a file, into the daemon's store.
 *
 * The file is read and checked here as it is sent; one that is damaged or cut
 * breaks off the request, and the daemon drops what it had of the client. A file
 * that Xen's tools wrote is made into a stream of ours on the way.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control_client.h"
#include "libxc_convert.h"
#include "stream_watch.h"

#define BLOCK (256 << 10)

struct restore {
	struct tm_cli_control control;
	const char *name;
	bool is_libxc;
	bool is_live;
	const char *path;	/* "-": standard input */
	int fd;
	struct tm_libxc *libxc;
	struct tm_stream_watch watch;
	/* what was read to learn the client's name */
	char *first;
	size_t first_at;
	size_t first_size;
};

static ssize_t read_file(void *opaque, void *buffer, size_t size)
{
	struct restore *r = opaque;
	ssize_t n;

	do
		n = read(r->fd, buffer, size);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

/* The next bytes of a stream of ours, checked. */
static ssize_t read_stream(struct restore *r, void *buffer, size_t size)
{
	ssize_t n = r->libxc ? tm_libxc_read(r->libxc, buffer, size) :
			       read_file(r, buffer, size);
	int err;

	if (n < 0) {
		tm_cli_error("%s: %s", r->path,
			     r->libxc ? tm_libxc_error(r->libxc) :
					strerror((int)-n));
		return -ECANCELED;
	}
	err = n ? tm_stream_watch_push(&r->watch, buffer, (size_t)n) :
		  tm_stream_watch_finish(&r->watch);
	return err ? err : n;
}

static ssize_t next_piece(void *opaque, void *buffer, size_t size)
{
	struct restore *r = opaque;
	size_t left = r->first_size - r->first_at;

	if (!left)
		return read_stream(r, buffer, size);
	if (size > left)
		size = left;
	memcpy(buffer, r->first + r->first_at, size);
	r->first_at += size;
	return (ssize_t)size;
}

/* Reads until the stream has said whose it is. */
static int learn_name(struct restore *r)
{
	ssize_t n = 1;

	r->first = malloc(BLOCK);
	if (!r->first)
		return -ENOMEM;
	while (n > 0 && !r->watch.in.has_client && r->first_size < BLOCK) {
		n = read_stream(r, r->first + r->first_size,
				BLOCK - r->first_size);
		if (n > 0)
			r->first_size += (size_t)n;
	}
	return n < 0 ? (int)n : 0;
}

static void report(const struct restore *r, const struct tm_http_answer *answer)
{
	json_t *json = json_loadb(answer->text, answer->size, 0, NULL);
	char name[TMEM_CLIENT_NAME_MAX + 1];

	tm_stream_watch_warn(&r->watch);
	if (r->control.is_json)
		tm_cli_print_json(json);
	else
		printf("client %" PRIu64 " \"%s\": %" PRIu64 " pages%s\n",
		       tm_cli_number(json, "number"),
		       tm_cli_text(json, "name", name, sizeof(name)),
		       tm_cli_number(json, "pages") -
			       tm_cli_number(json, "gone"),
		       tm_cli_flag(json, "frozen") ? ", frozen" : "");
	json_decref(json);
}

static int send(struct restore *r)
{
	char name[3 * TMEM_CLIENT_NAME_MAX + 4], path[TM_CLI_PATH_SIZE];
	struct tm_http_request request = {
		.method = "POST",
		.path = path,
		.source = next_piece,
		.opaque = r,
	};
	struct tm_http_answer answer;
	int err = learn_name(r);

	if (err)
		return err;
	tm_http_encode(r->name ? r->name : r->watch.in.client.name, name,
		       sizeof(name));
	snprintf(path, sizeof(path), "/clients/%s/restore%s", name,
		 r->is_live ? "?live=1" : "");
	err = tm_cli_stream(&r->control, &request, &answer);
	if (err)
		return err;
	tm_stream_watch_close(&r->watch);
	report(r, &answer);
	tm_http_free(&answer);
	return 0;
}

static int restore(struct restore *r)
{
	bool is_input = !strcmp(r->path, "-");
	int err = 0;

	r->fd = is_input ? STDIN_FILENO : open(r->path, O_RDONLY | O_CLOEXEC);
	if (r->fd < 0)
		return tm_cli_error("%s: %s", r->path, strerror(errno));
	posix_fadvise(r->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
	if (r->is_libxc) {
		err = tm_libxc_open(r->name, read_file, r, &r->libxc);
		if (err)
			tm_cli_error("restore: --name: \"%s\" is no name for a "
				     "client",
				     r->name);
	}
	if (!err)
		err = tm_stream_watch_open(&r->watch, "restoring");
	if (!err) {
		err = send(r);
		tm_stream_watch_close(&r->watch);
	}
	tm_libxc_close(r->libxc);
	free(r->first);
	if (!is_input)
		close(r->fd);
	return err;
}

static int set_name(void *target, const char *value)
{
	return tm_cli_set_client_name(&((struct restore *)target)->name, value);
}

static int set_live(void *target, const char *value)
{
	(void)value;
	((struct restore *)target)->is_live = true;
	return 0;
}

static int set_from_libxc(void *target, const char *value)
{
	(void)value;
	((struct restore *)target)->is_libxc = true;
	return 0;
}

static const struct tm_cli_option restore_options[] = {
	TM_CLI_CONTROL_OPTIONS,
	{ "name", "NAME", "call the client this", set_name },
	{ "live", NULL, "the other end of a migration", set_live },
	{ "from-libxc", NULL, "the file is of Xen's tools, up to 4.7",
	  set_from_libxc },
	{ NULL, NULL, NULL, NULL },
};

static int run_restore(const struct tm_cli_verb *verb, int argc, char **argv)
{
	struct restore r = { 0 };
	int operands;
	int err = tm_cli_parse(verb, argc, argv, &r, &operands);

	if (err)
		return err > 0 ? TM_CLI_OK : TM_CLI_USAGE;
	if (operands != 1) {
		tm_cli_error("restore: wants one file (or -)");
		return TM_CLI_USAGE;
	}
	if (r.is_libxc && !r.name) {
		tm_cli_error("restore: --from-libxc wants --name too: such a "
			     "file does not say whose it is");
		return TM_CLI_USAGE;
	}
	r.path = argv[0];
	signal(SIGPIPE, SIG_IGN);
	return restore(&r) ? TM_CLI_FAILED : TM_CLI_OK;
}

const struct tm_cli_verb tm_cli_restore = {
	.name = "restore",
	.summary = "make a client out of a file that save has written",
	.usage = "FILE|- [--name NAME]",
	.options = restore_options,
	.run = run_restore,
};
