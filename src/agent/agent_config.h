/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the agent was told: command line and configuration file (see
 * agent_config.c). Constant once loaded; a reload makes a new one.
 */
#ifndef TM_AGENT_CONFIG_H
#define TM_AGENT_CONFIG_H

#include <stdbool.h>
#include <stddef.h>

#include "agent_log.h"
#include "selfballoon.h"

/* As long as the address of a socket can be, with its end. */
#define TM_AGENT_SOCKET_SIZE 108
#define TM_AGENT_PATH_SIZE 512
#define TM_AGENT_NAME_SIZE 64
#define TM_AGENT_ERROR_SIZE 1024
#define TM_AGENT_GUESTS_MAX 1024

enum tm_agent_source {
	TM_SOURCE_MEMINFO,
	TM_SOURCE_QMP,
	TM_SOURCE_CGROUP,
};

enum tm_agent_actuator {
	TM_ACTUATOR_DRY_RUN,
	TM_ACTUATOR_XEN,
	TM_ACTUATOR_QMP,
	TM_ACTUATOR_CGROUP_RECLAIM,
	TM_ACTUATOR_CGROUP_HIGH,
};

/* One guest: how it is read, how it is driven, and by what law. */
struct tm_agent_guest_config {
	struct tm_agent_guest_config *next;
	char name[TM_AGENT_NAME_SIZE];
	enum tm_agent_source source;
	enum tm_agent_actuator actuator;
	char qmp[TM_AGENT_SOCKET_SIZE];
	char device[TM_AGENT_NAME_SIZE]; /* "": the first balloon */
	char cgroup[TM_AGENT_PATH_SIZE];
	char proc[TM_AGENT_PATH_SIZE];
	char sys[TM_AGENT_PATH_SIZE];
	struct tm_selfballoon_tunables tunables;
};

struct tm_agent_config {
	/* from the command line alone */
	bool is_help;
	bool is_version;
	bool is_check;
	char file[TM_AGENT_PATH_SIZE]; /* "": the usual one, if it is there */
	/* from [balloon] too */
	char state[TM_AGENT_PATH_SIZE]; /* "": none is written */
	bool is_state_asked_for;
	enum tm_agent_log_level log_level;
	struct tm_agent_guest_config *guests; /* at least one */
};

/* A row of the table of options, which documents read as well. */
struct tm_agent_option {
	const char *name; /* first, for tm_nearest() */
	const char *argument; /* NULL: a switch */
	bool is_in_file; /* also a key of [balloon] */
	bool is_of_guest; /* and of [balloon NAME] */
	const char *help;
	/* NULL: a tunable of the law, by its name. */
	int (*set)(struct tm_agent_config *config,
		   struct tm_agent_guest_config *guest, const char *value,
		   char *error, size_t error_size);
};

const struct tm_agent_option *tm_agent_options(size_t *count);
const char *tm_agent_source_name(enum tm_agent_source source);
const char *tm_agent_actuator_name(enum tm_agent_actuator actuator);

/*
 * Defaults, then [balloon], then each [balloon NAME], then the command line.
 * 0; or a negative errno after one sentence in @error (TM_AGENT_ERROR_SIZE
 * bytes hold any), and no config.
 */
int tm_agent_config_load(int argc, char **argv, struct tm_agent_config **config,
			 char *error, size_t error_size);
void tm_agent_config_free(struct tm_agent_config *config);

#endif
