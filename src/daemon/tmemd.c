/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tmemd: holds pages for those who connect to it; the program.
 *
 * Says what it was told wrongly before it starts anything; then blocks the
 * signals that the loop reads, and serves. In the background (--daemon) the
 * process that was called ends only when its child serves, or has failed, with
 * the status that tells which.
 *
 * Status: 0 it served and ended as asked; 1 it could not start or go on; 2 the
 * command line or the configuration is wrong.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <tmem/xen.h>

#include "config_check.h"
#include "daemon.h"
#include "output.h"

enum { STATUS_OK = 0, STATUS_FAILED = 1, STATUS_USAGE = 2 };

static int print_help(void)
{
	size_t count;
	const struct tm_config_option *options = tm_config_options(&count);

	puts("Usage: tmemd [OPTION]...\n"
	     "the daemon that holds pages for those who connect to it\n");
	for (size_t i = 0; i < count; i++) {
		const struct tm_config_option *o = &options[i];
		char left[80];

		snprintf(left, sizeof(left), "--%s%s%s", o->name,
			 o->argument ? " " : "",
			 o->argument ? o->argument : "");
		if (strlen(left) > 28)
			printf("  %s\n  %-28s %s\n", left, "", o->help);
		else
			printf("  %-28s %s\n", left, o->help);
	}
	return STATUS_OK;
}

static void print_warning(void *opaque, const char *text)
{
	(void)opaque;
	fprintf(stderr, "tmemd: warning: %s\n", text);
}

/* A start logs its own warnings. */
static int check(const struct tm_daemon_config *config)
{
	struct tm_config_verdict verdict = {
		.warn = config->is_check ? print_warning : NULL,
	};

	if (!tm_config_check_start(config, &verdict) &&
	    !(config->is_check && tm_config_check_disks(config, &verdict)))
		return STATUS_OK;
	fprintf(stderr, "tmemd: %s\n", verdict.error);
	return verdict.is_configuration ? STATUS_USAGE : STATUS_FAILED;
}

static void block_signals(void)
{
	sigset_t signals;

	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGHUP);
	/* A peer that went away is an error of a write, no more. */
	sigaddset(&signals, SIGPIPE);
	sigprocmask(SIG_BLOCK, &signals, NULL);
}

/* The parent's end: as the child says, or as it died. */
static int wait_for_child(pid_t child, int ready_fd)
{
	unsigned char status = STATUS_FAILED;
	ssize_t got;

	do {
		got = read(ready_fd, &status, 1);
	} while (got < 0 && errno == EINTR);
	if (got < 1)
		waitpid(child, NULL, 0);
	return status;
}

/* In the child: where to say that it serves; in the parent: never returns. */
static int go_to_background(void)
{
	int ready[2];
	pid_t child;

	if (pipe2(ready, O_CLOEXEC))
		return -errno;
	child = fork();
	if (child < 0)
		return -errno;
	if (child) {
		close(ready[1]);
		_exit(wait_for_child(child, ready[0]));
	}
	close(ready[0]);
	setsid();
	return ready[1];
}

static void leave_terminal(struct tm_daemon *daemon, int ready_fd)
{
	const unsigned char status = STATUS_OK;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (chdir("/") == 0 && null >= 0) {
		tm_daemon_log_use_syslog(daemon->log);
		dup2(null, STDIN_FILENO);
		dup2(null, STDOUT_FILENO);
		dup2(null, STDERR_FILENO);
		close(null);
	}
	if (write(ready_fd, &status, 1) < 0)
		tm_daemon_log(daemon->log, TMEM_LOG_WARNING,
			      "nobody waited for the start");
	close(ready_fd);
}

static int run(struct tm_daemon *daemon)
{
	int ready_fd = -1;
	enum tm_daemon_end end;

	block_signals();
	if (daemon->config->is_background) {
		ready_fd = go_to_background();
		if (ready_fd < 0) {
			fprintf(stderr, "tmemd: %s\n", strerror(-ready_fd));
			return STATUS_FAILED;
		}
	}
	if (tm_daemon_log_open(daemon->config->log_level, &daemon->log))
		return STATUS_FAILED;
	/* A peer may take its memory away while we read it. */
	if (tmem_guest_memory_catch_faults() || tm_daemon_open(daemon)) {
		tm_daemon_log_close(daemon->log);
		return STATUS_FAILED;
	}
	if (ready_fd >= 0)
		leave_terminal(daemon, ready_fd);
	end = tm_daemon_run(daemon);
	tm_daemon_log_close(daemon->log);
	return end == TM_DAEMON_FAILED ? STATUS_FAILED : STATUS_OK;
}

int main(int argc, char **argv)
{
	struct tm_daemon daemon = { .argc = argc, .argv = argv };
	char error[TM_CONFIG_ERROR_SIZE];
	int status;

	if (tm_config_load(argc, argv, NULL, &daemon.config, error,
			   sizeof(error))) {
		fprintf(stderr, "tmemd: %s\n", error);
		return STATUS_USAGE;
	}
	if (daemon.config->is_help) {
		status = print_help();
	} else if (daemon.config->is_version) {
		status = STATUS_OK;
		printf("tmemd %s\n", tmem_version());
	} else {
		status = check(daemon.config);
		if (!status && !daemon.config->is_check)
			status = run(&daemon);
	}
	tm_config_free(daemon.config);
	return tm_output_finish("tmemd", status);
}
