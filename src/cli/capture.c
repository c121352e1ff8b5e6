/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tmem capture: the pages of a process, or of files, into a dump.
 *
 * A dump is raw 4096-byte pages and nothing else. It appears under its name
 * only when it is complete (see whole_file.c), whatever ends the work before: an
 * error, Ctrl-C, a process that ends.
 *
 * Pages are written as they are read, so a source may be larger than memory.
 */
#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "pages.h"
#include "report.h"
#include "whole_file.h"

struct capture {
	uint64_t pid;
	const char **files;
	size_t file_count;
	const char *output;
	uint64_t most_bytes;
	bool is_json;
	struct tm_whole_file file;
	struct tm_progress progress;
};

/* --- options ------------------------------------------------------------------ */

static int set_pid(void *target, const char *value)
{
	return tm_cli_set_number(&((struct capture *)target)->pid, "pid", value,
				 1, INT32_MAX);
}

static int set_file(void *target, const char *value)
{
	struct capture *capture = target;

	capture->files[capture->file_count++] = value;
	return 0;
}

static int set_output(void *target, const char *value)
{
	((struct capture *)target)->output = value;
	return 0;
}

static int set_most(void *target, const char *value)
{
	return tm_cli_set_most(&((struct capture *)target)->most_bytes, value);
}

static int set_json(void *target, const char *value)
{
	(void)value;
	((struct capture *)target)->is_json = true;
	return 0;
}

static const struct tm_cli_option options[] = {
	{ "pid", "PID", "the anonymous pages of this process", set_pid },
	{ "file", "PATH...", "the pages of these files, or of all below PATH",
	  set_file },
	{ "output", "DUMP", "write this file (mode 0600); - is standard output",
	  set_output },
	{ "most", "SIZE", "stop after so much", set_most },
	{ "json", NULL, "print the result as JSON", set_json },
	{ NULL, NULL, NULL, NULL },
};

static int check_usage(const struct capture *capture)
{
	if (!capture->pid && !capture->file_count)
		return tm_cli_error("capture: nothing to capture: name a --pid "
				    "or a --file");
	if (capture->pid && capture->file_count)
		return tm_cli_error("capture: either a --pid or --file, not "
				    "both (operands are files too)");
	if (!capture->output)
		return tm_cli_error("capture: where to? Name an --output");
	if (!strcmp(capture->output, "-") && isatty(STDOUT_FILENO))
		return tm_cli_error("capture: pages are not written to a "
				    "terminal; redirect standard output");
	if (!strcmp(capture->output, "-") && capture->is_json)
		return tm_cli_error("capture: --json and pages cannot both go "
				    "to standard output");
	return 0;
}

/* --- the work ------------------------------------------------------------------- */

static int write_pages(struct tm_pages *pages)
{
	struct capture *capture = pages->opaque;
	int err = tm_whole_file_write(&capture->file, pages->bytes,
				      pages->count * TMEM_PAGE_SIZE);

	if (err)
		return err;
	tm_progress_at(&capture->progress, pages->drained);
	return 0;
}

static int read_sources(struct capture *capture, struct tm_pages *pages)
{
	int err = 0;

	if (capture->pid)
		return tm_pages_of_process(pages, (pid_t)capture->pid);
	for (size_t i = 0; !err && i < capture->file_count; i++)
		err = tm_pages_of_path(pages, capture->files[i]);
	return err;
}

static void print_result(const struct capture *capture,
			 const struct tm_pages *pages)
{
	char size[16];
	json_t *json;

	if (capture->is_json) {
		json = json_pack("{sI si ss sb}", "pages",
				 (json_int_t)pages->drained, "page_size",
				 TMEM_PAGE_SIZE, "output", capture->output,
				 "was_cut", pages->was_cut);
		json_dumpf(json, stdout, JSON_INDENT(2));
		putchar('\n');
		json_decref(json);
		return;
	}
	if (!strcmp(capture->output, "-"))
		return;
	printf("%s: %" PRIu64 " pages (%s)%s\n", capture->output,
	       pages->drained,
	       tm_report_size(pages->drained * TMEM_PAGE_SIZE, size,
			      sizeof(size)),
	       pages->was_cut ? "; there were more" : "");
}

static int capture_all(struct capture *capture)
{
	struct tm_pages pages = {
		.limit = capture->most_bytes / TMEM_PAGE_SIZE,
		.drain = write_pages,
		.opaque = capture,
	};
	int err;

	/* Writing to a pipe that nobody reads is an error like others. */
	signal(SIGPIPE, SIG_IGN);
	err = tm_whole_file_open(&capture->file, capture->output);
	if (err)
		return err;
	tm_progress_begin(&capture->progress, "capturing pages", 0);
	err = read_sources(capture, &pages);
	if (!err)
		err = tm_pages_drain(&pages);
	tm_progress_end(&capture->progress);
	if (tm_whole_file_close(&capture->file, !err))
		err = -EIO;
	if (!err)
		print_result(capture, &pages);
	tm_pages_free(&pages);
	return err;
}

static int run(const struct tm_cli_verb *verb, int argc, char **argv)
{
	struct capture capture = { 0 };
	int operands, err;

	capture.files = calloc((size_t)argc + 1, sizeof(*capture.files));
	if (!capture.files)
		return TM_CLI_FAILED;
	err = tm_cli_parse(verb, argc, argv, &capture, &operands);
	if (!err) {
		for (int i = 0; i < operands; i++)
			set_file(&capture, argv[i]);
		err = check_usage(&capture);
	}
	if (err) {
		free(capture.files);
		return err > 0 ? TM_CLI_OK : TM_CLI_USAGE;
	}
	err = capture_all(&capture);
	free(capture.files);
	return err ? TM_CLI_FAILED : TM_CLI_OK;
}

const struct tm_cli_verb tm_cli_capture = {
	.name = "capture",
	.summary = "copy the pages of a process or of files into a dump",
	.usage = "(--pid PID | --file PATH...) --output DUMP [OPTION]...",
	.options = options,
	.run = run,
};
