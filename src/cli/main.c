/* SPDX-License-Identifier: BSD-2-Clause */
/* The program `tmem`: finds the verb and runs it. */
#include <config.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "nearest.h"
#include "output.h"

static const struct tm_cli_verb *const verbs[] = {
	&tm_cli_estimate, &tm_cli_capture, &tm_cli_replay,  &tm_cli_bench,
	&tm_cli_plugins,  &tm_cli_list,    &tm_cli_top,     &tm_cli_stats,
	&tm_cli_freeze,   &tm_cli_thaw,    &tm_cli_set,     &tm_cli_shared_auth,
	&tm_cli_freeable, &tm_cli_flush,   &tm_cli_destroy, &tm_cli_save,
	&tm_cli_restore,  &tm_cli_migrate, &tm_cli_disk,    &tm_cli_dom0_mem,
	&tm_cli_sim,
};
#define VERBS (sizeof(verbs) / sizeof(verbs[0]))

static void print_help(void)
{
	puts("Usage: tmem [--control PATH] VERB [OPTION]... [OPERAND]...\n"
	     "Transcendent memory: a compressed store for the pages of guests "
	     "and processes.\n");
	for (size_t i = 0; i < VERBS; i++)
		printf("  %-11s %s\n", verbs[i]->name, verbs[i]->summary);
	puts("\n`tmem VERB --help` lists a verb's options; its manual is "
	     "tmem-VERB(1).");
}

static const struct tm_cli_verb *find_verb(const char *name)
{
	const char *names[VERBS], *meant;

	for (size_t i = 0; i < VERBS; i++) {
		if (!strcmp(verbs[i]->name, name) ||
		    (verbs[i]->was_tmem && !strncmp(name, "tmem-", 5) &&
		     !strcmp(verbs[i]->name, name + 5)))
			return verbs[i];
		names[i] = verbs[i]->name;
	}
	meant = tm_nearest_meant(name, names, VERBS, sizeof(names[0]));
	tm_cli_error("unknown verb \"%s\"%s (`tmem --help` lists them)", name,
		     tm_nearest_hint(meant, "\"", "\"").text);
	return NULL;
}

/* --control before the verb, for all the verbs that ask a daemon: the same as
 * TMEM_CONTROL. How many arguments that were; negative: a message was printed.
 */
static int take_control(int argc, char **argv)
{
	const char *path = NULL;
	int used = 0;

	if (argc > 1 && !strncmp(argv[1], "--control=", 10)) {
		path = argv[1] + 10;
		used = 1;
	} else if (argc > 1 && !strcmp(argv[1], "--control")) {
		if (argc < 3)
			return tm_cli_error("--control wants PATH");
		path = argv[2];
		used = 2;
	}
	if (path && !*path)
		return tm_cli_error("--control: the path is empty");
	if (path && setenv("TMEM_CONTROL", path, 1))
		return tm_cli_error("--control: %s", strerror(errno));
	return used;
}

static int run(int argc, char **argv)
{
	const struct tm_cli_verb *verb;
	int used = take_control(argc, argv);

	if (used < 0)
		return TM_CLI_USAGE;
	argc -= used;
	argv += used;
	if (argc < 2) {
		tm_cli_error("no verb; `tmem --help` lists them");
		return TM_CLI_USAGE;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "help")) {
		print_help();
		return TM_CLI_OK;
	}
	if (!strcmp(argv[1], "--version")) {
		printf("tmem %s\n", tmem_version());
		return TM_CLI_OK;
	}
	verb = find_verb(argv[1]);
	if (!verb)
		return TM_CLI_USAGE;
	return verb->run(verb, argc - 2, argv + 2);
}

int main(int argc, char **argv)
{
	return tm_output_finish("tmem", run(argc, argv));
}
