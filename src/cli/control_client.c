/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the verbs that talk to tmemd share: which socket, asking, and what is
 * said when nobody answers.
 *
 * Names in answers were chosen by clients. They are printed on an operator's
 * terminal, so everything that a terminal acts upon is taken out first.
 */
#include <config.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control_client.h"
#include "runtime_dir.h"

/* As TM_CLI_SILENCE_S; but what is only asked is there at once. */
#define QUESTION_SILENCE_S 30

int tm_cli_set_control(void *target, const char *value)
{
	((struct tm_cli_control *)target)->socket = value;
	return *value ? 0 : tm_cli_error("--control: the path is empty");
}

int tm_cli_set_control_json(void *target, const char *value)
{
	(void)value;
	((struct tm_cli_control *)target)->is_json = true;
	return 0;
}

int tm_cli_set_all(void *target, const char *value)
{
	(void)value;
	((struct tm_cli_target *)target)->is_all = true;
	return 0;
}

int tm_cli_target_operand(const struct tm_cli_verb *verb,
			  struct tm_cli_target *target, int count,
			  char **operands)
{
	if (count > 1)
		return tm_cli_error("%s: one client at a time, or -a for all; "
				    "what is \"%s\"?",
				    verb->name, operands[1]);
	if (count && target->is_all)
		return tm_cli_error("%s: either \"%s\" or -a, not both",
				    verb->name, operands[0]);
	if (!count && !target->is_all)
		return tm_cli_error("%s: You must specify -a or a CLIENT.",
				    verb->name);
	target->client = count ? operands[0] : NULL;
	return 0;
}

int tm_cli_set_client_name(const char **name, const char *value)
{
	*name = value;
	if (!*value)
		return tm_cli_error("--name: the name is empty");
	if (!value[strspn(value, "0123456789")])
		return tm_cli_error("--name: \"%s\" is no name for a client: "
				    "digits alone are a client's number",
				    value);
	if (!strcmp(value, "all"))
		return tm_cli_error("--name: \"all\" is no name for a client: "
				    "it stands for all of them");
	return 0;
}

void tm_cli_client_path(const struct tm_cli_target *target, const char *action,
			char *path)
{
	char name[3 * TMEM_CLIENT_NAME_MAX + 4];

	/* Longer than a name can be: it is cut, and so still too long. */
	tm_http_encode(target->is_all ? "all" : target->client, name,
		       sizeof(name));
	snprintf(path, TM_CLI_PATH_SIZE, "/clients/%s%s%s", name,
		 *action ? "/" : "", action);
}

const char *tm_cli_control_socket(const struct tm_cli_control *control,
				  char *path, size_t size)
{
	if (control->socket)
		return control->socket;
	return tm_default_control(path, size) ? NULL : path;
}

void tm_cli_explain_call(const char *socket, int err)
{
	switch (-err) {
	case ENOENT:
	case ECONNREFUSED:
		tm_cli_error("no daemon at %s: is tmemd running? (--control "
			     "or TMEM_CONTROL names another socket)",
			     socket);
		break;
	case EACCES:
	case EPERM:
		tm_cli_error("%s: only root and the daemon's own user may use "
			     "the control socket",
			     socket);
		break;
	case EPROTO:
		tm_cli_error("what listens at %s is no control socket of "
			     "tmemd: its answer is no HTTP",
			     socket);
		break;
	case ECONNRESET:
		tm_cli_error("the daemon at %s hung up before its answer was "
			     "complete",
			     socket);
		break;
	case ETIMEDOUT:
		tm_cli_error("the daemon at %s does not answer", socket);
		break;
	default:
		tm_cli_error("%s: %s", socket, strerror(-err));
	}
}

void tm_cli_explain_status(const struct tm_http_answer *answer)
{
	json_t *json = json_loadb(answer->text, answer->size, 0, NULL);
	char text[512];

	if (json_string_value(json_object_get(json, "error")))
		tm_cli_error("%s",
			     tm_cli_text(json, "error", text, sizeof(text)));
	else
		tm_cli_error("the daemon answers with status %d",
			     answer->status);
	json_decref(json);
}

int tm_cli_stream(const struct tm_cli_control *control,
		  struct tm_http_request *request,
		  struct tm_http_answer *answer)
{
	char place[128];
	int err;

	request->socket = tm_cli_control_socket(control, place, sizeof(place));
	if (!request->socket) {
		tm_cli_error("the control socket's path (TMEM_CONTROL, or "
			     "below XDG_RUNTIME_DIR) is too long for a socket");
		return -ENAMETOOLONG;
	}
	if (!request->timeout_s)
		request->timeout_s = TM_CLI_SILENCE_S;
	err = tm_http_call(request, answer);
	if (err) {
		if (err != -ECANCELED)
			tm_cli_explain_call(request->socket, err);
		return err;
	}
	if (answer->status == 200)
		return 0;
	tm_cli_explain_status(answer);
	tm_http_free(answer);
	return -EINVAL;
}

static int call(const struct tm_cli_control *control, const char *method,
		const char *path, const char *body,
		struct tm_http_answer *answer)
{
	struct tm_http_request request = {
		.method = method,
		.path = path,
		.body = body,
		.body_size = body ? strlen(body) : 0,
		.timeout_s = strcmp(method, "GET") ? TM_CLI_SILENCE_S :
						     QUESTION_SILENCE_S,
	};

	return tm_cli_stream(control, &request, answer);
}

json_t *tm_cli_ask(const struct tm_cli_control *control, const char *method,
		   const char *path, json_t *body)
{
	char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
	struct tm_http_answer answer;
	json_t *json = NULL;

	if (body && !text)
		tm_cli_error("this cannot be asked: it is not UTF-8");
	else if (!call(control, method, path, text, &answer)) {
		json = json_loadb(answer.text, answer.size, 0, NULL);
		if (!json)
			tm_cli_error("the daemon's answer is not JSON");
		tm_http_free(&answer);
	}
	free(text);
	json_decref(body);
	return json;
}

char *tm_cli_ask_text(const struct tm_cli_control *control, const char *path)
{
	struct tm_http_answer answer;

	return call(control, "GET", path, NULL, &answer) ? NULL : answer.text;
}

void tm_cli_print_json(const json_t *json)
{
	json_dumpf(json, stdout, JSON_INDENT(2));
	putchar('\n');
}

uint64_t tm_cli_number(const json_t *object, const char *key)
{
	json_int_t number = json_integer_value(json_object_get(object, key));

	return number < 0 ? 0 : (uint64_t)number;
}

bool tm_cli_flag(const json_t *object, const char *key)
{
	return json_is_true(json_object_get(object, key));
}

char *tm_cli_text(const json_t *object, const char *key, char *text,
		  size_t size)
{
	const char *from = json_string_value(json_object_get(object, key));
	size_t at = 0;

	for (; from && *from && at + 1 < size; from++) {
		unsigned char c = (unsigned char)*from;
		/* U+0080 to U+009F are control characters too. */
		bool is_c1 = c == 0xc2 && (unsigned char)from[1] < 0xa0;

		text[at++] = c < 0x20 || c == 0x7f || is_c1 ? '?' : *from;
		if (is_c1)
			from++;
	}
	/* No half of a character at the end. */
	while (from && *from && at && ((unsigned char)*from & 0xc0) == 0x80) {
		from--;
		at--;
	}
	text[at] = 0;
	return text;
}
