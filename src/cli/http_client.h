/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One HTTP/1.1 request over a UNIX socket (see http_client.c).
 */
#ifndef TM_HTTP_CLIENT_H
#define TM_HTTP_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* The longest answer that is kept in memory. */
#define TM_HTTP_ANSWER_MAX (64 << 20)

/**
 * struct tm_http_request - what is asked
 * @socket: path of the UNIX socket
 * @method: "GET" or "POST"
 * @path: with its query, encoded
 * @body: sent as it is; NULL: none, or what @source says
 * @body_size: bytes at @body
 * @source: fills @buffer with the next bytes of a body that is as long as it
 *	is; 0: that was all; negative errno: stop, and cut the connection
 * @sink: takes the body of an answer with status 200 as it comes; negative
 *	errno: stop. NULL: it is kept in the answer, as that of other answers is
 * @is_patient: asked when the peer has sent nothing for @timeout_s: is it waited
 *	for as long again? NULL: no
 * @opaque: passed to @source, @sink and @is_patient
 * @timeout_s: how long to wait for the peer while it neither takes nor sends a
 *	byte; 0: for ever
 */
struct tm_http_request {
	const char *socket;
	const char *method;
	const char *path;
	const void *body;
	size_t body_size;
	ssize_t (*source)(void *opaque, void *buffer, size_t size);
	int (*sink)(void *opaque, const void *data, size_t size);
	bool (*is_patient)(void *opaque);
	void *opaque;
	unsigned timeout_s;
};

struct tm_http_answer {
	int status;	/* 200, 404, ... */
	char *text;	/* terminated by a 0 that does not count */
	size_t size;
};

/**
 * tm_http_call() - ask, and wait for all of the answer
 * @request: what
 * @answer: filled in on success; tm_http_free() it
 *
 * A peer that answers before it has taken the whole body is listened to: the
 * rest is not sent.
 *
 * Return: 0 (whatever the status is), or
 * -EPROTO: what came is no HTTP.
 * -ECONNRESET: the answer broke off.
 * -EMSGSIZE: more than TM_HTTP_ANSWER_MAX.
 * -ETIMEDOUT: nothing came or went for so long.
 * -ENAMETOOLONG: @socket is too long for a socket's name.
 * what @source or @sink returned; or why the socket cannot be connected.
 */
int tm_http_call(const struct tm_http_request *request,
		 struct tm_http_answer *answer);
void tm_http_free(struct tm_http_answer *answer);

/* "a/b c" to "a%2Fb%20c"; at most 3 bytes for each, and a 0, in @to. */
void tm_http_encode(const char *from, char *to, size_t size);

#endif
