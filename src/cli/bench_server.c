/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A server of one's own for a measurement: started, watched, and stopped
 * whatever happens.
 *
 * Whether the program could be executed at all comes back over a pipe that
 * closes by itself when it could. Should this process be killed, the kernel
 * stops the server.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench_channel.h"

#define STOP_MS 10000

int tm_bench_server_start(struct tm_bench_server *server, const char *const argv[])
{
	int report[2], log, err = 0;

	snprintf(server->log, sizeof(server->log), "%s.log", server->socket);
	if (pipe2(report, O_CLOEXEC) < 0)
		return -errno;
	server->pid = fork();
	if (!server->pid) {
		/* Whatever ends us ends it, were it paused. */
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		log = open(server->log, O_WRONLY | O_CREAT | O_TRUNC, 0600);
		if (log >= 0) {
			dup2(log, STDOUT_FILENO);
			dup2(log, STDERR_FILENO);
		}
		execvp(argv[0], (char *const *)(uintptr_t)argv);
		err = -errno;
		if (write(report[1], &err, sizeof(err)) < 0)
			_exit(126);
		_exit(127);
	}
	close(report[1]);
	if (server->pid < 0)
		err = -errno;
	else if (read(report[0], &err, sizeof(err)) == sizeof(err))
		waitpid(server->pid, NULL, 0);
	close(report[0]);
	if (err)
		server->pid = 0;
	return err;
}

bool tm_bench_server_is_gone(struct tm_bench_server *server)
{
	if (server->pid && waitpid(server->pid, NULL, WNOHANG) == server->pid)
		server->pid = 0;
	return !server->pid;
}

void tm_bench_server_last_words(const struct tm_bench_server *server,
				char *text, size_t size)
{
	FILE *file = fopen(server->log, "re");

	*text = 0;
	while (file && fgets(text, (int)size, file))
		text[strcspn(text, "\n")] = 0;
	if (file)
		fclose(file);
}

void tm_bench_server_pause(const struct tm_bench_server *server)
{
	if (server->pid)
		kill(server->pid, SIGSTOP);
}

void tm_bench_server_resume(const struct tm_bench_server *server)
{
	if (server->pid)
		kill(server->pid, SIGCONT);
}

void tm_bench_server_stop(struct tm_bench_server *server)
{
	unlink(server->log);
	if (!server->pid)
		return;
	kill(server->pid, SIGTERM);
	tm_bench_server_resume(server);
	for (int ms = 0; ms < STOP_MS; ms += 5) {
		if (tm_bench_server_is_gone(server))
			break;
		poll(NULL, 0, 5);
	}
	if (server->pid) {
		kill(server->pid, SIGKILL);
		waitpid(server->pid, NULL, 0);
	}
	server->pid = 0;
	unlink(server->socket);
}
