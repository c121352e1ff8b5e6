/* SPDX-License-Identifier: BSD-2-Clause */
/* What the verbs that talk to tmemd share (see control_client.c). */
#ifndef TM_CONTROL_CLIENT_H
#define TM_CONTROL_CLIENT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli.h"
#include "http_client.h"

/* How long a daemon may be silent that has been asked to do something: nothing
 * takes longer than freezing a busy client, which a stream may begin with; a
 * stream with nothing to say says so every second, but for a live one that has
 * come to its end: it is silent until the hand-over. */
#define TM_CLI_SILENCE_S 120

/* A verb that has these options begins its target with this. */
struct tm_cli_control {
	const char *socket;	/* NULL: the default */
	bool is_json;
};

int tm_cli_set_control(void *target, const char *value);
int tm_cli_set_control_json(void *target, const char *value);

#define TM_CLI_CONTROL_OPTIONS                                       \
	{ "control", "PATH", "the daemon's control socket",          \
	  tm_cli_set_control },                                      \
	{ "json", NULL, "print the result as JSON", tm_cli_set_control_json }

/* One client of the daemon's, or all of them. */
struct tm_cli_target {
	struct tm_cli_control control;
	bool is_all;
	const char *client;	/* number or name */
};

int tm_cli_set_all(void *target, const char *value);

#define TM_CLI_TARGET_OPTIONS                                        \
	TM_CLI_CONTROL_OPTIONS, { "all", NULL, "all clients there are now", tm_cli_set_all }

/* The one operand that such a verb has. 0, or -EINVAL after a message. */
int tm_cli_target_operand(const struct tm_cli_verb *verb,
			  struct tm_cli_target *target, int count,
			  char **operands);

/* --name, for a client to be: digits alone are a client's number, and "all" are
 * all of them. 0, or -EINVAL after a message. */
int tm_cli_set_client_name(const char **name, const char *value);

/* Room for a path with a client's name in it. */
#define TM_CLI_PATH_SIZE 1024
/* "/clients/ID/ACTION", or "/clients/all/ACTION"; @action "": the client. */
void tm_cli_client_path(const struct tm_cli_target *target, const char *action,
			char *path);

/* The socket to ask: the option, or else what tm_default_control() says, in
 * @path; NULL when that is too long for a socket. */
const char *tm_cli_control_socket(const struct tm_cli_control *control,
				  char *path, size_t size);
/* What went wrong with a call, as a sentence that says what to do. */
void tm_cli_explain_call(const char *socket, int err);
/* The same for an answer that came: "error" out of it, if that is there. */
void tm_cli_explain_status(const struct tm_http_answer *answer);

/* Asks, and waits for the answer. @body (may be NULL) is given away. The JSON
 * that came, which the caller owns; NULL after a message. */
json_t *tm_cli_ask(const struct tm_cli_control *control, const char *method,
		   const char *path, json_t *body);
/* The same for text. */
char *tm_cli_ask_text(const struct tm_cli_control *control, const char *path);

/* A call of which one body is a stream; @request has all but the socket, and
 * the daemon gets a time limit, for each piece, if it has none. A
 * source or sink that has said what went wrong answers -ECANCELED. 0: status 200;
 * negative: a message was printed. Any thread. */
int tm_cli_stream(const struct tm_cli_control *control,
		  struct tm_http_request *request,
		  struct tm_http_answer *answer);

/* Prints @json on one object's worth of lines. */
void tm_cli_print_json(const json_t *json);

/* A number or flag out of an answer; 0 when it is not there. */
uint64_t tm_cli_number(const json_t *object, const char *key);
bool tm_cli_flag(const json_t *object, const char *key);
/* A string out of an answer, with what a terminal would act upon replaced by
 * '?'; cut to @size. Returns @text. */
char *tm_cli_text(const json_t *object, const char *key, char *text,
		  size_t size);

#endif
