/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tmem disk: the disks that the daemon serves to virtual machines.
 *
 * Four words in one verb, since they are about the same things and none of them
 * has options of its own: list, add, remove, demote. What a disk is described
 * by goes to the daemon as it was typed, which knows the keys and says what is
 * wrong with them.
 *
 * A swap disk that was written all over and never had a block discarded belongs
 * to a guest that swaps without discard: it holds every page it ever swapped
 * out, whether the guest still wants it or not. Whoever lists disks is told
 * what to type.
 */
#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <tmem/tmem.h>

#include "control_client.h"
#include "disk_notes.h"
#include "http_client.h"
#include "nearest.h"
#include "report.h"

#define NAME_SIZE (TMEM_CLIENT_NAME_MAX + 1)
#define PATH_TEXT_SIZE 256

static const struct tm_cli_option disk_options[] = {
	TM_CLI_CONTROL_OPTIONS,
	{ NULL, NULL, NULL, NULL },
};

/* --- list ---------------------------------------------------------------- */

static void size_cell(struct tm_report *report, uint64_t bytes)
{
	char text[16];

	tm_report_cell(report, "%s", tm_report_size(bytes, text, sizeof(text)));
}

static const char *state_of(const json_t *disk)
{
	if (tm_cli_flag(disk, "broken"))
		return "broken";
	if (tm_cli_flag(disk, "paused"))
		return "paused";
	return tm_cli_flag(disk, "connected") ? "connected" : "waits";
}

static void print_disk(struct tm_report *report, const json_t *disk)
{
	static const char *const counts[] = { "reads", "writes",
					      "blocks_discarded",
					      "blocks_refused", "errors" };
	char text[PATH_TEXT_SIZE];

	tm_report_cell(report, "%s",
		       tm_cli_text(disk, "name", text, NAME_SIZE));
	tm_report_cell(report, "%s",
		       tm_cli_text(disk, "kind", text, sizeof(text)));
	tm_report_cell(report, "%s", state_of(disk));
	size_cell(report, tm_cli_number(disk, "size_bytes"));
	size_cell(report,
		  tm_cli_number(disk, "blocks_in_tmem") * TMEM_PAGE_SIZE);
	size_cell(report,
		  tm_cli_number(disk, "blocks_in_file") * TMEM_PAGE_SIZE);
	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++)
		tm_report_cell(report, "%" PRIu64,
			       tm_cli_number(disk, counts[i]));
	tm_report_cell(report, "%s",
		       tm_cli_text(disk, "socket", text, sizeof(text)));
}

static void print_disks(const json_t *disks)
{
	static const char *const titles[] = {
		"disk",  "kind",   "state",     "size",    "in tmem", "in file",
		"reads", "writes", "discarded", "refused", "errors",  "socket",
	};
	struct tm_report report;
	const json_t *disk;
	size_t i;

	tm_report_begin(&report, titles, sizeof(titles) / sizeof(titles[0]));
	json_array_foreach(disks, i, disk) print_disk(&report, disk);
	tm_report_end(&report, stdout);
	tm_cli_disk_notes(disks);
}

void tm_cli_disk_notes(const json_t *disks)
{
	const json_t *disk;
	char name[NAME_SIZE];
	size_t i;

	json_array_foreach(disks, i,
			   disk) if (tm_cli_flag(disk, "needs_discard"))
		printf("disk %s has filled, and its guest never "
		       "discards what it needs no more. In the guest: "
		       "swapoff -a; swapon --discard=pages DEVICE (in "
		       "fstab: discard=pages)\n",
		       tm_cli_text(disk, "name", name, sizeof(name)));
}

static int run_list(struct tm_cli_control *control, char **operands)
{
	json_t *answer = tm_cli_ask(control, "GET", "/disks", NULL);

	(void)operands;
	if (!answer)
		return TM_CLI_FAILED;
	if (control->is_json)
		tm_cli_print_json(answer);
	else
		print_disks(answer);
	json_decref(answer);
	return TM_CLI_OK;
}

/* --- changes ------------------------------------------------------------- */

static int finish(const struct tm_cli_control *control, json_t *answer)
{
	if (!answer)
		return TM_CLI_FAILED;
	if (control->is_json)
		tm_cli_print_json(answer);
	json_decref(answer);
	return TM_CLI_OK;
}

static int run_add(struct tm_cli_control *control, char **operands)
{
	json_t *body = json_pack("{s:s}", "disk", operands[0]);

	if (!body) {
		tm_cli_error("disk add: that is not text");
		return TM_CLI_USAGE;
	}
	return finish(control, tm_cli_ask(control, "POST", "/disks/add", body));
}

static void disk_path(const char *name, const char *action, char *path)
{
	char encoded[TM_CLI_PATH_SIZE - 64];

	tm_http_encode(name, encoded, sizeof(encoded));
	snprintf(path, TM_CLI_PATH_SIZE, "/disks/%s/%s", encoded, action);
}

static int run_remove(struct tm_cli_control *control, char **operands)
{
	char path[TM_CLI_PATH_SIZE];

	disk_path(operands[0], "remove", path);
	return finish(control, tm_cli_ask(control, "POST", path, NULL));
}

static int run_demote(struct tm_cli_control *control, char **operands)
{
	char path[TM_CLI_PATH_SIZE], text[16];
	uint64_t bytes;
	json_t *answer;

	if (tmem_size_parse(operands[1], &bytes) || bytes > INT64_MAX) {
		tm_cli_error("disk demote: \"%s\" is not a size such as 64M",
			     operands[1]);
		return TM_CLI_USAGE;
	}
	disk_path(operands[0], "demote", path);
	answer = tm_cli_ask(control, "POST", path,
			    json_pack("{s:I}", "bytes", (json_int_t)bytes));
	if (answer && !control->is_json)
		printf("%s written to its file\n",
		       tm_report_size(tm_cli_number(answer, "demoted_bytes"),
				      text, sizeof(text)));
	return finish(control, answer);
}

static const struct word {
	const char *name; /* first, for tm_nearest() */
	int operands;
	const char *usage;
	int (*run)(struct tm_cli_control *control, char **operands);
} words[] = {
	{ "list", 0, "list", run_list },
	{ "add", 1, "add name=NAME,socket=PATH,kind=swap,size=SIZE", run_add },
	{ "remove", 1, "remove NAME", run_remove },
	{ "demote", 2, "demote NAME SIZE", run_demote },
};
#define WORDS (sizeof(words) / sizeof(words[0]))

static int run_disk(const struct tm_cli_verb *verb, int argc, char **argv)
{
	struct tm_cli_control control = { 0 };
	const struct word *word = words;
	int operands;
	int err = tm_cli_parse(verb, argc, argv, &control, &operands);

	if (err)
		return err > 0 ? TM_CLI_OK : TM_CLI_USAGE;
	if (!operands)
		return run_list(&control, argv);
	while (word < words + WORDS && strcmp(word->name, argv[0]))
		word++;
	if (word == words + WORDS) {
		const char *meant = tm_nearest_meant(argv[0], words, WORDS,
						     sizeof(words[0]));

		tm_cli_error("disk: unknown word \"%s\"%s", argv[0],
			     tm_nearest_hint(meant, "\"", "\"").text);
		return TM_CLI_USAGE;
	}
	if (operands - 1 != word->operands) {
		tm_cli_error("disk: it is `tmem disk %s`", word->usage);
		return TM_CLI_USAGE;
	}
	return word->run(&control, argv + 1);
}

const struct tm_cli_verb tm_cli_disk = {
	.name = "disk",
	.summary = "disks of virtual machines: list, add, remove, demote",
	.usage = "[list] | add DESCRIPTION | remove NAME | demote NAME SIZE",
	.options = disk_options,
	.run = run_disk,
};
