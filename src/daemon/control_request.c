/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A request: which route it is for, its body, its answer.
 *
 * Everything that a peer may choose is looked at here and in control_json.c,
 * apart from HTTP's own bytes, which are the library's. Paths are decoded part
 * by part, after they were split, so that a client may be called "a/b" (%2F).
 *
 * Bounds: a body of TM_CONTROL_BODY_MAX bytes, JSON as deep as jansson allows
 * (2048), an argument of TM_CONTROL_ARGUMENT_MAX bytes; a query value as long
 * as its reader has room for.
 *
 * A request belongs to the thread of its connection.
 */
#include <config.h>

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control_request.h"

#define JSON_TYPE "application/json"

/* --- answers -------------------------------------------------------------- */

static void drop_answer(struct tm_request *request)
{
	free(request->text);
	request->text = NULL;
	request->text_size = 0;
	request->status = 0;
}

void tm_answer_text(struct tm_request *request, const char *type, char *text,
		    size_t size)
{
	drop_answer(request);
	request->status = text ? 200 : 500;
	request->type = type;
	request->text = text;
	request->text_size = text ? size : 0;
}

static void answer(struct tm_request *request, unsigned status, json_t *json)
{
	char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;

	json_decref(json);
	tm_answer_text(request, JSON_TYPE, text, text ? strlen(text) : 0);
	if (text)
		request->status = status;
}

void tm_answer_json(struct tm_request *request, json_t *json)
{
	answer(request, 200, json);
}

void tm_answer_error(struct tm_request *request, unsigned status,
		     const char *format, ...)
{
	char text[512];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	answer(request, status,
	       json_pack("{s:o}", "error", tm_json_text(text)));
}

static void set_stream(struct tm_request *request,
		       const struct tm_stream_ops *ops, void *opaque)
{
	request->stream = ops;
	request->stream_opaque = opaque;
}

void tm_answer_stream(struct tm_request *request,
		      const struct tm_stream_ops *ops, void *opaque)
{
	drop_answer(request);
	set_stream(request, ops, opaque);
	request->status = 200;
	request->type = "application/octet-stream";
}

void tm_request_take(struct tm_request *request,
		     const struct tm_stream_ops *ops, void *opaque)
{
	set_stream(request, ops, opaque);
}

/* --- paths and queries ---------------------------------------------------- */

int tm_hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* @size bytes of "%41" to "A", into @room bytes and a terminating 0. False:
 * malformed, too long, or a 0 byte. */
static bool decode(const char *from, size_t size, char *to, size_t room)
{
	size_t length = 0;

	for (size_t i = 0; i < size; i++) {
		int c = (unsigned char)from[i];

		if (c == '%') {
			int high, low;

			if (i + 2 >= size)
				return false;
			high = tm_hex_digit(from[i + 1]);
			low = tm_hex_digit(from[i + 2]);
			if (high < 0 || low < 0)
				return false;
			c = 16 * high + low;
			i += 2;
		}
		if (!c || length == room)
			return false;
		to[length++] = (char)c;
	}
	to[length] = 0;
	return true;
}

static size_t part_length(const char *path)
{
	return strcspn(path, "/");
}

/* Does @path look like @pattern? @argument: what stands in place of its "*". */
static bool matches(const char *pattern, const char *path,
		    const char **argument, size_t *argument_size)
{
	*argument = NULL;
	while (*pattern == '/' && *path == '/') {
		size_t wanted = part_length(++pattern);
		size_t length = part_length(++path);

		if (wanted == 1 && *pattern == '*') {
			if (!length)
				return false;
			*argument = path;
			*argument_size = length;
		} else if (length != wanted ||
			   strncmp(pattern, path, length)) {
			return false;
		}
		pattern += wanted;
		path += length;
	}
	return !*pattern && !*path;
}

static void find_route(struct tm_request *request,
		       const struct tm_route *routes, const char *method,
		       const char *path)
{
	const char *argument, *allowed = NULL;
	size_t size = 0;

	for (const struct tm_route *r = routes; r->method; r++) {
		if (!matches(r->pattern, path, &argument, &size))
			continue;
		if (strcmp(r->method, method)) {
			allowed = r->method;
			continue;
		}
		if (argument && !decode(argument, size, request->argument,
					TM_CONTROL_ARGUMENT_MAX)) {
			tm_answer_error(request, 400,
					"a client's name is at most %d bytes, "
					"with %%XX for special ones",
					TMEM_CLIENT_NAME_MAX);
			return;
		}
		request->route = r;
		return;
	}
	if (allowed) {
		tm_answer_error(request, 405, "%.100s answers %s, not %.20s",
				path, allowed, method);
		request->allowed = allowed;
	} else {
		tm_answer_error(request, 404,
				"there is no %.100s here; GET / lists what "
				"there is",
				path);
	}
}

bool tm_request_query(struct tm_request *request, const char *key, char *value,
		      size_t size)
{
	const char *at = request->query;
	size_t key_length = strlen(key);

	*value = 0;
	while (at && *at) {
		size_t length = strcspn(at, "&");
		size_t name_length = strcspn(at, "=&");

		if (name_length == key_length &&
		    !strncmp(at, key, key_length)) {
			const char *from = at + name_length;

			if (name_length < length)
				from++;
			if (!decode(from, (size_t)(at + length - from), value,
				    size - 1))
				*value = 0;
			return true;
		}
		at += length;
		at += *at == '&';
	}
	return false;
}

bool tm_request_flag(struct tm_request *request, const char *key)
{
	static const char *const words[] = { "", "1", "true", "on", "yes" };
	char value[8];

	if (!tm_request_query(request, key, value, sizeof(value)))
		return false;
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (!strcmp(value, words[i]))
			return true;
	return false;
}

/* --- a request's life ----------------------------------------------------- */

struct tm_request *tm_request_begin(struct tm_control *control,
				    const struct tm_route *routes,
				    const char *method, const char *uri)
{
	struct tm_request *request = calloc(1, sizeof(*request));
	size_t length = strcspn(uri, "?");
	char *path = strndup(uri, length);

	if (!request || !path)
		goto out_memory;
	request->control = control;
	request->peer_fd = -1;
	if (uri[length]) {
		request->query = strdup(uri + length + 1);
		if (!request->query)
			goto out_memory;
	}
	find_route(request, routes, method, path);
	free(path);
	if (!request->route || !request->route->is_upload)
		return request;
	request->route->handle(request);
	if (!request->stream && !request->status)
		tm_answer_error(request, 500, "nobody takes this stream");
	return request;
out_memory:
	free(path);
	free(request);
	return NULL;
}

static void close_stream(struct tm_request *request, bool is_complete)
{
	const struct tm_stream_ops *stream = request->stream;

	request->stream = NULL;
	if (stream)
		stream->close(request->stream_opaque, is_complete);
}

static void keep_body(struct tm_request *request, const char *data, size_t size)
{
	char *grown;

	if (size > TM_CONTROL_BODY_MAX - request->upload_size) {
		tm_answer_error(request, 413,
				"the body is longer than the %d bytes allowed",
				TM_CONTROL_BODY_MAX);
		return;
	}
	grown = realloc(request->upload, request->upload_size + size);
	if (!grown) {
		tm_answer_error(request, 503,
				"there is no memory for the body");
		return;
	}
	memcpy(grown + request->upload_size, data, size);
	request->upload = grown;
	request->upload_size += size;
}

void tm_request_data(struct tm_request *request, const char *data, size_t size)
{
	int err;

	if (request->status || !size)
		return;
	if (!request->route->is_upload) {
		keep_body(request, data, size);
		return;
	}
	err = request->stream->write(request->stream_opaque, request, data,
				     size);
	if (!err)
		return;
	if (!request->status)
		tm_answer_error(request, 400, "the stream is refused: %s",
				strerror(-err));
	close_stream(request, false);
}

static bool parse_body(struct tm_request *request)
{
	json_error_t error;

	if (!request->upload_size) {
		request->body = json_object();
		return true;
	}
	request->body = json_loadb(request->upload, request->upload_size,
				   JSON_REJECT_DUPLICATES, &error);
	if (json_is_object(request->body))
		return true;
	if (request->body)
		tm_answer_error(request, 400,
				"the body is JSON, but not an object such as "
				"{\"weight\": 2}");
	else
		tm_answer_error(request, 400,
				"the body is not JSON: line %d column %d: %s",
				error.line, error.column, error.text);
	return false;
}

void tm_request_end(struct tm_request *request)
{
	if (request->status)
		return;
	if (request->route->is_upload) {
		request->stream->finish(request->stream_opaque, request);
		close_stream(request, true);
	} else if (parse_body(request)) {
		request->route->handle(request);
	}
	if (!request->status)
		tm_answer_error(request, 500, "no answer to %s %s",
				request->route->method,
				request->route->pattern);
}

ssize_t tm_request_read(struct tm_request *request, void *buffer, size_t size)
{
	ssize_t got =
		request->stream->read(request->stream_opaque, buffer, size);

	if (got <= 0)
		close_stream(request, !got);
	return got;
}

void tm_request_free(struct tm_request *request)
{
	if (!request)
		return;
	close_stream(request, false);
	json_decref(request->body);
	free(request->query);
	free(request->upload);
	free(request->text);
	free(request);
}
