/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tmem-balloon: makes guests as small as they can be, and no smaller; the
 * program.
 *
 * Says what it was told wrongly before it touches anything, and then runs in
 * the foreground, with its log on standard error.
 *
 * Status: 0 it ran and ended as asked; 1 it could not start; 2 the command line
 * or the configuration is wrong.
 */
#include <config.h>

#include <stdio.h>
#include <string.h>

#include "agent.h"
#include "output.h"

enum { STATUS_OK = 0, STATUS_FAILED = 1, STATUS_USAGE = 2 };

static int print_help(void)
{
	size_t count;
	const struct tm_agent_option *options = tm_agent_options(&count);

	puts("Usage: tmem-balloon [OPTION]...\n"
	     "make guests as small as they can be, and no smaller\n");
	for (size_t i = 0; i < count; i++) {
		const struct tm_agent_option *o = &options[i];
		char left[80];

		snprintf(left, sizeof(left), "--%s%s%s", o->name,
			 o->argument ? " " : "",
			 o->argument ? o->argument : "");
		if (strlen(left) > 32)
			printf("  %s\n  %-32s %s\n", left, "", o->help);
		else
			printf("  %-32s %s\n", left, o->help);
	}
	return STATUS_OK;
}

int main(int argc, char **argv)
{
	struct tm_agent agent = { .argc = argc, .argv = argv };
	char error[TM_AGENT_ERROR_SIZE];
	int status = STATUS_OK;

	if (tm_agent_config_load(argc, argv, &agent.config, error,
				 sizeof(error))) {
		fprintf(stderr, "tmem-balloon: %s\n", error);
		return STATUS_USAGE;
	}
	agent.log.level = agent.config->log_level;
	if (agent.config->is_help)
		status = print_help();
	else if (agent.config->is_version)
		puts("tmem-balloon " PACKAGE_VERSION);
	else if (!agent.config->is_check && tm_agent_run(&agent))
		status = STATUS_FAILED;
	tm_agent_config_free(agent.config);
	return tm_output_finish("tmem-balloon", status);
}
