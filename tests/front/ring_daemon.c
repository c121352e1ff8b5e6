/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A daemon of nothing but the channel, for tests that need a program: takes the
 * options of tmemd that say where and how much, and ends by SIGTERM.
 */
#include <config.h>

#include "ring_host.h"

static struct ring_host host;

static void set_boot(const char *words)
{
	static struct tmem_boot boot;
	static char codec[64];
	char error[256];

	tmem_boot_init(&boot, TMEM_BOOT_DEFAULTS_TMEM);
	if (tmem_boot_parse(&boot, words, error, sizeof(error))) {
		fprintf(stderr, "ring_daemon: %s\n", error);
		exit(2);
	}
	tmem_boot_apply(&boot, &host.config, codec, sizeof(codec));
}

static void set_option(const char *name, const char *value)
{
	if (!strcmp(name, "--memory"))
		ring_host_must(!tmem_size_parse(value,
						&host.config.memory_bytes));
	else if (!strcmp(name, "--arena"))
		host.config.arena = strcmp(value, "anonymous") ? value : NULL;
	else if (!strcmp(name, "--socket"))
		snprintf(host.socket, sizeof(host.socket), "%s", value);
	else if (!strcmp(name, "--boot"))
		set_boot(value);
	else if (strcmp(name, "--control"))
		exit(2);
}

int main(int argc, char **argv)
{
	sigset_t end;
	int signal;

	ring_host_init(&host, 64 << 20);
	for (int i = 1; i + 1 < argc; i += 2)
		set_option(argv[i], argv[i + 1]);
	sigemptyset(&end);
	sigaddset(&end, SIGTERM);
	sigaddset(&end, SIGINT);
	sigprocmask(SIG_BLOCK, &end, NULL);
	ring_host_open(&host);
	sigwait(&end, &signal);
	ring_host_close(&host);
	return 0;
}
