/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Any bytes as the daemon's configuration.
 *
 * Whatever they are, an error is one line and leaves nothing; what is accepted
 * is within its bounds: names that a client may have, each once; limits that
 * agree; paths that fit a socket's address.
 */
#include <config.h>

#include "config.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MUST(x) ((x) ? (void)0 : fail(#x))

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static _Noreturn void fail(const char *what)
{
	fprintf(stderr, "fuzz_config: not so: %s\n", what);
	abort();
}

static void check_path(const char *path, size_t size, bool may_be_empty)
{
	MUST(memchr(path, 0, size));
	MUST(may_be_empty ? !*path || *path == '/' : *path == '/');
}

static void check_client(const struct tm_daemon_config *config,
			 const struct tm_config_client *client)
{
	MUST(memchr(client->name, 0, sizeof(client->name)));
	MUST(tm_config_is_name(client->name));
	MUST(tm_config_client(config, client->name) == client);
	MUST(!client->cap_bytes ||
	     client->reservation_bytes <= client->cap_bytes);
	MUST(client->mode <= 0777);
	MUST(client->uuid_count <= TM_CONFIG_UUIDS_MAX);
	MUST(memchr(client->codec, 0, sizeof(client->codec)));
	check_path(client->socket, sizeof(client->socket), true);
	MUST(!*client->socket || strcmp(client->socket, config->socket));
}

static void check_config(const struct tm_daemon_config *config)
{
	const struct tm_config_memory *memory = &config->memory;

	check_path(config->socket, sizeof(config->socket), false);
	check_path(config->control, sizeof(config->control), false);
	MUST(memchr(config->metrics, 0, sizeof(config->metrics)));
	MUST(memchr(config->plugin_path, 0, sizeof(config->plugin_path)));
	MUST(!strcmp(config->arena, "anonymous") || *config->arena == '/');
	MUST(memory->is_auto || memory->bytes >= TMEM_MEMORY_MIN);
	MUST(!memory->max_bytes || memory->bytes <= memory->max_bytes);
	MUST(!config->is_takeover && !*config->boot && !*config->file);
	MUST((int)config->log_level >= TMEM_LOG_ERROR &&
	     config->log_level <= TMEM_LOG_DEBUG);
	for (const struct tm_config_client *c = config->clients; c; c = c->next)
		check_client(config, c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tm_daemon_config *config = NULL;
	char error[TM_CONFIG_ERROR_SIZE] = "";

	if (tm_config_parse((const char *)data, size, &config, error,
			    sizeof(error))) {
		MUST(!config);
		MUST(*error && memchr(error, 0, sizeof(error)));
		for (const char *c = error; *c; c++)
			MUST((unsigned char)*c >= 0x20 || *c == '\t');
	} else {
		check_config(config);
	}
	tm_config_free(config);
	return 0;
}
