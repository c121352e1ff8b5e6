/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tmem migrate: a client from the daemon here to one elsewhere, while it lives.
 *
 * This program stands between the two daemons, which know nothing of each other,
 * and carries the stream:
 *
 *	source thread	GET /clients/ID/save?live=1, into a pipe
 *	target		out of the pipe: POST /clients/NAME/restore (unix:), or
 *			the standard input of a command (exec:)
 *	this thread	waits until everything is copied; has the guest stopped;
 *			POST migration/finish; waits for the target's word; POST
 *			migration/hand-over
 *
 * The source's connection carries the migration: whatever breaks, here or on the
 * way, it is closed without a hand-over, and the client goes on at the source.
 * The target has a client only if all of the stream came to it, and the source
 * gives its own up only after the target said so. A command says so with its
 * status, and must have read all of the pipe: one that was the wrong one may end
 * well too. What is left is a target whose last word is lost: then there are two,
 * and the one at the source is the one that counts.
 *
 * Locks: migration.lock, under which changed is waited for and signalled.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "control_client.h"
#include "stream_watch.h"

extern char **environ;

struct migration {
	struct tm_cli_target source;
	const char *to;
	const char *stop;
	const char *name;
	/* the source thread's */
	struct tm_stream_watch watch;
	int pipe_in;		/* -1: closed */
	/* the target's */
	int pipe_out;
	pid_t child;		/* exec: */
	char target_path[TM_CLI_PATH_SIZE];
	pthread_t target_thread;
	bool has_target;
	int target_err;		/* when it has been joined */
	/* guarded by lock */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool is_copied;
	bool is_ended;		/* the stream is complete in the pipe */
	bool is_source_over;	/* and its thread with it */
	bool is_decided;	/* whose the client is: its stream has no news */
};

/* --- the source ---------------------------------------------------------------- */

static void note(struct migration *m, bool *flag)
{
	pthread_mutex_lock(&m->lock);
	*flag = true;
	pthread_cond_broadcast(&m->changed);
	pthread_mutex_unlock(&m->lock);
}

static void close_pipe(struct migration *m)
{
	if (m->pipe_in >= 0)
		close(m->pipe_in);
	m->pipe_in = -1;
}

static int pass_on(void *opaque, const void *data, size_t size)
{
	struct migration *m = opaque;
	int err = tm_stream_watch_push(&m->watch, data, size);

	if (err)
		return -ECANCELED;
	/* The target says why. */
	if (tm_write_all(m->pipe_in, data, size))
		return -ECANCELED;
	if (m->watch.in.is_idle || m->watch.in.is_ended)
		note(m, &m->is_copied);
	if (m->watch.in.is_ended) {
		note(m, &m->is_ended);
		close_pipe(m);
	}
	return 0;
}

static bool is_decided(struct migration *m)
{
	bool is_decided;

	pthread_mutex_lock(&m->lock);
	is_decided = m->is_decided;
	pthread_mutex_unlock(&m->lock);
	return is_decided;
}

/* Nothing comes behind the end, and the target takes its time. */
static bool waits_for_target(void *opaque)
{
	struct migration *m = opaque;

	return m->watch.in.is_ended && !is_decided(m);
}

/* Behind its end, what becomes of the connection is no news: whether the client
 * was handed over is for the hand-over to say. */
static bool is_news(struct migration *m, int err)
{
	return err && err != -ECANCELED && !m->watch.in.is_ended &&
	       !is_decided(m);
}

static void *run_source(void *opaque)
{
	struct migration *m = opaque;
	char path[TM_CLI_PATH_SIZE], place[128];
	struct tm_http_request request = {
		.socket = tm_cli_control_socket(&m->source.control, place,
						sizeof(place)),
		.method = "GET",
		.path = path,
		.sink = pass_on,
		.is_patient = waits_for_target,
		.opaque = m,
		.timeout_s = TM_CLI_SILENCE_S,
	};
	struct tm_http_answer answer;
	int err;

	tm_cli_client_path(&m->source, "save?live=1", path);
	err = tm_http_call(&request, &answer);
	if (is_news(m, err))
		tm_cli_explain_call(request.socket, err);
	if (!err && answer.status != 200)
		tm_cli_explain_status(&answer);
	if (!err)
		tm_http_free(&answer);
	close_pipe(m);
	note(m, &m->is_source_over);
	return NULL;
}

/* Asks the source for a step of the migration. 0, or negative after a message. */
static int tell_source(struct migration *m, const char *step)
{
	char path[TM_CLI_PATH_SIZE];
	json_t *answer;

	tm_cli_client_path(&m->source, step, path);
	answer = tm_cli_ask(&m->source.control, "POST", path, NULL);
	json_decref(answer);
	return answer ? 0 : -EINVAL;
}

/* Its thread waits for news of the daemon's, which this is. No answer is news
 * too, and needs no message. */
static void cut_source(struct migration *m)
{
	char path[TM_CLI_PATH_SIZE], place[128];
	struct tm_http_request request = {
		.socket = tm_cli_control_socket(&m->source.control, place,
						sizeof(place)),
		.method = "POST",
		.path = path,
		.timeout_s = 10,
	};
	struct tm_http_answer answer;

	tm_cli_client_path(&m->source, "migration/cancel", path);
	if (request.socket && !tm_http_call(&request, &answer))
		tm_http_free(&answer);
}

/* --- the target ---------------------------------------------------------------- */

static ssize_t take_out(void *opaque, void *buffer, size_t size)
{
	struct migration *m = opaque;
	bool is_ended;
	ssize_t n;

	do
		n = read(m->pipe_out, buffer, size);
	while (n < 0 && errno == EINTR);
	if (n)
		return n < 0 ? -ECANCELED : n;
	pthread_mutex_lock(&m->lock);
	is_ended = m->is_ended;
	pthread_mutex_unlock(&m->lock);
	/* Half a stream must not look like one that has ended. */
	return is_ended ? 0 : -ECANCELED;
}

static void *run_unix_target(void *opaque)
{
	struct migration *m = opaque;
	struct tm_cli_control control = { .socket = m->to + strlen("unix:") };
	struct tm_http_request request = {
		.method = "POST",
		.path = m->target_path,
		.source = take_out,
		.opaque = m,
	};
	struct tm_http_answer answer;

	m->target_err = tm_cli_stream(&control, &request, &answer);
	if (!m->target_err)
		tm_http_free(&answer);
	/* Who writes learns that nobody reads. */
	close(m->pipe_out);
	return NULL;
}

/* `sh -c COMMAND`, with @input as its standard input unless that is -1, and the
 * signals of a program that was not started by this one. */
static int start_shell(const char *command, int input, pid_t *pid)
{
	char *const argv[] = { (char *)"sh", (char *)"-c", (char *)command,
			       NULL };
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t defaults;
	int err;

	sigemptyset(&defaults);
	sigaddset(&defaults, SIGPIPE);
	posix_spawnattr_init(&attributes);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
	posix_spawnattr_setsigdefault(&attributes, &defaults);
	posix_spawn_file_actions_init(&actions);
	if (input >= 0)
		posix_spawn_file_actions_adddup2(&actions, input,
						 STDIN_FILENO);
	/* Our own output is one thing, and maybe JSON. */
	posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO,
					 STDOUT_FILENO);
	err = posix_spawn(pid, "/bin/sh", &actions, &attributes, argv,
			  environ);
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attributes);
	if (err)
		tm_cli_error("sh -c \"%s\": %s", command, strerror(err));
	return -err;
}

/* 0: it ended well; else negative after a message. */
static int wait_for_shell(pid_t pid, const char *command)
{
	int status = 0;

	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFEXITED(status) && !WEXITSTATUS(status))
		return 0;
	if (WIFEXITED(status))
		return tm_cli_error("\"%s\" failed with status %d", command,
				    WEXITSTATUS(status));
	return tm_cli_error("\"%s\" was ended by signal %d", command,
			    WTERMSIG(status));
}

/* Waits for what else comes, or for the pipe's end: the source's thread closes
 * it in any case, and waits for nothing that this one does. */
static bool is_all_read(const struct migration *m)
{
	struct pollfd left = { .fd = m->pipe_out, .events = POLLIN };

	while (poll(&left, 1, -1) < 0 && errno == EINTR)
		;
	return !(left.revents & POLLIN);
}

static void *run_exec_target(void *opaque)
{
	struct migration *m = opaque;

	m->target_err = wait_for_shell(m->child, m->to + strlen("exec:"));
	if (!m->target_err && !is_all_read(m))
		m->target_err =
			tm_cli_error("\"%s\" ended without taking the client, "
				     "which stays where it is",
				     m->to + strlen("exec:"));
	/* Who writes learns that nobody reads. */
	close(m->pipe_out);
	return NULL;
}

static int start_target(struct migration *m)
{
	bool is_exec = !strncmp(m->to, "exec:", strlen("exec:"));
	int err = 0;

	if (is_exec)
		err = start_shell(m->to + strlen("exec:"), m->pipe_out,
				  &m->child);
	if (!err)
		err = -pthread_create(&m->target_thread, NULL,
				      is_exec ? run_exec_target :
						run_unix_target,
				      m);
	m->has_target = !err;
	if (err)
		close(m->pipe_out);
	return err;
}

static int join_target(struct migration *m)
{
	if (m->has_target)
		pthread_join(m->target_thread, NULL);
	m->has_target = false;
	return m->target_err;
}

/* What it has is out of date. */
static void undo_target(struct migration *m)
{
	struct tm_cli_control control = { .socket = m->to + strlen("unix:") };
	struct tm_cli_target target = { .client = m->name };
	char path[TM_CLI_PATH_SIZE];

	if (strncmp(m->to, "unix:", strlen("unix:"))) {
		tm_cli_error("the client that the target has is out of date: "
			     "`tmem destroy` it there");
		return;
	}
	tm_cli_client_path(&target, "destroy", path);
	json_decref(tm_cli_ask(&control, "POST", path, NULL));
}

/* --- the migration ------------------------------------------------------------- */

/* Until @flag; false: the source's stream broke before. */
static bool wait_for(struct migration *m, const bool *flag)
{
	bool is_there;

	pthread_mutex_lock(&m->lock);
	while (!*flag && !m->is_source_over)
		pthread_cond_wait(&m->changed, &m->lock);
	is_there = *flag;
	pthread_mutex_unlock(&m->lock);
	return is_there;
}

static int stop_guest(struct migration *m)
{
	pid_t pid;
	int err;

	if (!m->stop)
		return 0;
	err = start_shell(m->stop, -1, &pid);
	return err ? err : wait_for_shell(pid, m->stop);
}

/* The target has it. Only a source that says no still has it too: one that does
 * not answer may have given it up. */
static int hand_over(struct migration *m)
{
	char path[TM_CLI_PATH_SIZE], place[128];
	struct tm_http_request request = {
		.socket = tm_cli_control_socket(&m->source.control, place,
						sizeof(place)),
		.method = "POST",
		.path = path,
		.timeout_s = TM_CLI_SILENCE_S,
	};
	struct tm_http_answer answer;
	bool is_refused;

	tm_cli_client_path(&m->source, "migration/hand-over", path);
	if (tm_http_call(&request, &answer)) {
		tm_cli_error("the source does not answer any more: the target "
			     "has the client; should the source have it too, "
			     "`tmem destroy` one of them");
		return -EIO;
	}
	if (answer.status == 200) {
		tm_http_free(&answer);
		return 0;
	}
	is_refused = answer.status == 409;
	tm_cli_explain_status(&answer);
	tm_http_free(&answer);
	if (is_refused)
		undo_target(m);
	return -EIO;
}

/* All but the two threads. 0: the client is at the target, and there only. */
static int conduct(struct migration *m)
{
	int err;

	if (!wait_for(m, &m->is_copied))
		return -ECANCELED;
	err = stop_guest(m);
	if (!err)
		err = tell_source(m, "migration/finish");
	if (err)
		return err;
	if (!wait_for(m, &m->is_ended))
		return -ECANCELED;
	err = join_target(m);
	if (err)
		return err;
	return hand_over(m);
}

static int with_target(struct migration *m)
{
	pthread_t source;
	int err = -pthread_create(&source, NULL, run_source, m);

	if (err)
		return err;
	err = conduct(m);
	note(m, &m->is_decided);
	if (err)
		cut_source(m);
	pthread_join(source, NULL);
	return err;
}

static void report(struct migration *m)
{
	const struct tm_save_in *in = &m->watch.in;
	char size[16];
	json_t *json;

	tm_stream_watch_warn(&m->watch);
	if (!m->source.control.is_json) {
		printf("%" PRIu64 " pages, %s sent\n", in->pages - in->gone,
		       tm_report_size(in->bytes, size, sizeof(size)));
		return;
	}
	json = json_pack("{s:s, s:I, s:I, s:I, s:I}", "name", m->name, "pages",
			 (json_int_t)in->pages, "gone", (json_int_t)in->gone,
			 "lost", (json_int_t)in->lost, "bytes",
			 (json_int_t)in->bytes);
	tm_cli_print_json(json);
	json_decref(json);
}

/* A client may be said by its number; at the target it wants a name. */
static int find_name(struct migration *m, char name[TMEM_CLIENT_NAME_MAX + 1])
{
	char path[TM_CLI_PATH_SIZE], encoded[3 * TMEM_CLIENT_NAME_MAX + 4];
	json_t *client;

	tm_cli_client_path(&m->source, "", path);
	client = tm_cli_ask(&m->source.control, "GET", path, NULL);
	if (!client)
		return -EINVAL;
	snprintf(name, TMEM_CLIENT_NAME_MAX + 1, "%s",
		 json_string_value(json_object_get(client, "name")) ?: "");
	json_decref(client);
	if (!m->name)
		m->name = name;
	tm_http_encode(m->name, encoded, sizeof(encoded));
	snprintf(m->target_path, sizeof(m->target_path),
		 "/clients/%s/restore?live=1", encoded);
	return 0;
}

static bool is_own_socket(struct migration *m)
{
	char place[128];
	const char *own = tm_cli_control_socket(&m->source.control, place,
						sizeof(place));
	struct stat here, there;

	return !strncmp(m->to, "unix:", strlen("unix:")) && own &&
	       !stat(own, &here) && !stat(m->to + strlen("unix:"), &there) &&
	       here.st_dev == there.st_dev && here.st_ino == there.st_ino;
}

static int migrate(struct migration *m)
{
	char name[TMEM_CLIENT_NAME_MAX + 1];
	int pipes[2];
	int err;

	if (is_own_socket(m))
		return tm_cli_error("migrate: %s is the daemon that has the "
				    "client already: name another one's "
				    "control socket",
				    m->to);
	err = find_name(m, name);
	if (err)
		return err;
	if (pipe2(pipes, O_CLOEXEC))
		return tm_cli_error("pipe: %s", strerror(errno));
	m->pipe_out = pipes[0];
	m->pipe_in = pipes[1];
	/* As much as a block in one go, where that is allowed. */
	fcntl(m->pipe_in, F_SETPIPE_SZ, 1 << 20);
	err = tm_stream_watch_open(&m->watch, "migrating");
	if (!err)
		err = start_target(m);
	if (!err)
		err = with_target(m);
	close_pipe(m);
	join_target(m);
	tm_stream_watch_close(&m->watch);
	if (!err)
		report(m);
	return err;
}

static int set_to(void *target, const char *value)
{
	struct migration *m = target;

	m->to = value;
	if ((!strncmp(value, "unix:", 5) || !strncmp(value, "exec:", 5)) &&
	    value[5])
		return 0;
	return tm_cli_error("--to: \"%s\" is neither unix:PATH (a control "
			    "socket) nor exec:COMMAND",
			    value);
}

static int set_stop(void *target, const char *value)
{
	((struct migration *)target)->stop = value;
	return 0;
}

static int set_name(void *target, const char *value)
{
	return tm_cli_set_client_name(&((struct migration *)target)->name,
				      value);
}

static const struct tm_cli_option migrate_options[] = {
	TM_CLI_CONTROL_OPTIONS,
	{ "to", "TARGET", "unix:PATH, or exec:COMMAND", set_to },
	{ "name", "NAME", "what to call it there (with unix:)", set_name },
	{ "stop", "COMMAND", "stops the guest when its pages are copied",
	  set_stop },
	{ NULL, NULL, NULL, NULL },
};

static int run_migrate(const struct tm_cli_verb *verb, int argc, char **argv)
{
	struct migration m = { .pipe_in = -1 };
	int operands;
	int err = tm_cli_parse(verb, argc, argv, &m, &operands);

	if (err)
		return err > 0 ? TM_CLI_OK : TM_CLI_USAGE;
	if (operands != 1) {
		tm_cli_error("migrate: wants one client");
		return TM_CLI_USAGE;
	}
	if (!m.to) {
		tm_cli_error("migrate: where to? --to unix:PATH or --to "
			     "'exec:ssh HOST tmem restore --live -'");
		return TM_CLI_USAGE;
	}
	if (m.name && !strncmp(m.to, "exec:", 5)) {
		tm_cli_error("migrate: --name is for the command to say: tmem "
			     "restore --live --name %s -",
			     m.name);
		return TM_CLI_USAGE;
	}
	m.source.client = argv[0];
	signal(SIGPIPE, SIG_IGN);
	pthread_mutex_init(&m.lock, NULL);
	pthread_cond_init(&m.changed, NULL);
	return migrate(&m) ? TM_CLI_FAILED : TM_CLI_OK;
}

const struct tm_cli_verb tm_cli_migrate = {
	.name = "migrate",
	.summary = "move a client to another daemon while it lives",
	.usage = "CLIENT --to unix:PATH|exec:COMMAND",
	.options = migrate_options,
	.run = run_migrate,
};
