/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tmem save: a client of the daemon's into a file.
 *
 * The daemon opens no path: it sends the stream, and the file is made here, with
 * the rights of whoever asks. It gets its name (see whole_file.c) when its checks
 * were right, so that a file of the name that was asked for is a client that can
 * be restored, or the one that was there before.
 */
#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "control_client.h"
#include "stream_watch.h"
#include "whole_file.h"

struct output {
	struct tm_whole_file file;
	struct tm_stream_watch watch;
};

static int take(void *opaque, const void *data, size_t size)
{
	struct output *out = opaque;
	int err = tm_stream_watch_push(&out->watch, data, size);

	if (err)
		return err;
	return tm_whole_file_write(&out->file, data, size) ? -ECANCELED : 0;
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
	} else if (strcmp(out->file.path, "-")) {
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
	return tm_stream_watch_finish(&out->watch);
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
	if (target.control.is_json && !strcmp(argv[1], "-")) {
		tm_cli_error("save: --json and the stream cannot both go to "
			     "standard output");
		return TM_CLI_USAGE;
	}
	signal(SIGPIPE, SIG_IGN);
	if (tm_whole_file_open(&out.file, argv[1]))
		return TM_CLI_FAILED;
	err = tm_stream_watch_open(&out.watch, "saving");
	if (!err)
		err = save(&target, &out);
	if (tm_whole_file_close(&out.file, !err))
		err = -EIO;
	if (!err)
		report(&target.control, &out);
	tm_stream_watch_close(&out.watch);
	return err ? TM_CLI_FAILED : TM_CLI_OK;
}

const struct tm_cli_verb tm_cli_save = {
	.name = "save",
	.summary = "write a client's pools and persistent pages to a file",
	.usage = "CLIENT FILE|-",
	.options = save_options,
	.run = run_save,
};
