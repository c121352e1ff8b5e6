/* SPDX-License-Identifier: BSD-2-Clause */
/* The program `tmem`: finds the verb and runs it. */
#include <config.h>

#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "nearest.h"

static const struct tm_cli_verb *const verbs[] = {
	&tm_cli_estimate, &tm_cli_capture, &tm_cli_replay,
	&tm_cli_bench,	  &tm_cli_plugins,
};
#define VERBS (sizeof(verbs) / sizeof(verbs[0]))

static void print_help(void)
{
	puts("Usage: tmem VERB [OPTION]... [OPERAND]...\n"
	     "Transcendent memory: a compressed store for the pages of guests "
	     "and processes.\n");
	for (size_t i = 0; i < VERBS; i++)
		printf("  %-10s %s\n", verbs[i]->name, verbs[i]->summary);
	puts("\n`tmem VERB --help` lists a verb's options; its manual is "
	     "tmem-VERB(1).");
}

static const struct tm_cli_verb *find_verb(const char *name)
{
	const char *names[VERBS];

	for (size_t i = 0; i < VERBS; i++) {
		if (!strcmp(verbs[i]->name, name))
			return verbs[i];
		names[i] = verbs[i]->name;
	}
	tm_cli_error("unknown verb \"%s\"; the nearest is \"%s\" "
		     "(`tmem --help` lists them)",
		     name, tm_nearest(name, names, VERBS, sizeof(names[0])));
	return NULL;
}

int main(int argc, char **argv)
{
	const struct tm_cli_verb *verb;

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
