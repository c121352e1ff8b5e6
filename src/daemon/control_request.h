/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A request on the control socket, between the server and its handlers.
 *
 * A route is a row of a table: method, path, handler. The server checks peer,
 * size and form before a handler sees anything, and sends the answer after it
 * has returned, from memory: no handler writes to a peer. What does not fit
 * memory (a saved client) is a stream, which the server pulls from or pushes
 * into, piece by piece, with nothing locked in between.
 *
 * Each connection has a thread and carries one request, so a handler may wait
 * without holding up others.
 */
#ifndef TM_CONTROL_REQUEST_H
#define TM_CONTROL_REQUEST_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "control.h"
#include "lock.h"
#include "registry.h"

#include <tmem/xen.h>

/* The longest body that is not a stream. */
#define TM_CONTROL_BODY_MAX (64 << 10)
/* The longest part of a path that stands for something, decoded. */
#define TM_CONTROL_ARGUMENT_MAX 255

struct tm_request;
struct tm_control_server;

/**
 * struct tm_stream_ops - a body that does not fit memory
 * @read: of an answer: up to @size bytes; 0: that was all; negative: it is
 *	broken, and the connection is cut so that the peer knows
 * @write: of a request: takes all; negative errno: no more is wanted. What it
 *	answered with tm_answer_error() is sent, else a general sentence.
 * @finish: of a request: that was all; answers
 * @close: comes last, in any case, and before the peer can hear of the end:
 *	who has, can ask for the same again. @is_complete: everything was read,
 *	or @finish was called; otherwise the peer is gone or something failed
 */
struct tm_stream_ops {
	ssize_t (*read)(void *opaque, void *buffer, size_t size);
	int (*write)(void *opaque, struct tm_request *request,
		     const void *data, size_t size);
	void (*finish)(void *opaque, struct tm_request *request);
	void (*close)(void *opaque, bool is_complete);
};

/**
 * struct tm_route - what is answered where
 * @method: "GET" or "POST"
 * @pattern: a path; a part "*" stands for anything and is the argument
 * @is_upload: the body is a stream: @handle is called before it, and calls
 *	tm_request_take() or answers an error
 * @handle: answers
 */
struct tm_route {
	const char *method;
	const char *pattern;
	bool is_upload;
	void (*handle)(struct tm_request *request);
};

/* Ends with a row whose method is NULL. */
extern const struct tm_route tm_control_routes[];
extern const struct tm_route tm_metrics_routes[];
extern const struct tm_route tm_control_no_routes[];

struct tm_control {
	/* set at creation, then constant */
	struct tm_control_host host;
	struct tm_control_server *server;
	/* Live saves, guarded by saves_lock; see control_stream.c. */
	struct tm_lock saves_lock;
	struct tm_live_save *saves;
	/* set once, by tm_control_add_metrics_listener() */
	struct tm_control_server *metrics;
};

struct tm_request {
	struct tm_control *control;
	const struct tm_route *route;	/* NULL: an answer is there already */
	/* The peer's socket, to be watched for its hanging up; -1: none. */
	int peer_fd;
	char argument[TM_CONTROL_ARGUMENT_MAX + 1];
	json_t *body;		/* an object; empty when there was no body */
	char *query;		/* what followed '?', or NULL */
	char *upload;		/* the body so far */
	size_t upload_size;
	/* the answer; status 0: there is none yet */
	unsigned status;
	const char *type;
	const char *allowed;	/* of a 405: a method that there is */
	char *text;
	size_t text_size;
	const struct tm_stream_ops *stream;	/* until it is closed */
	void *stream_opaque;
};

/*
 * A request comes in: its first line, its body piece by piece, its end. After
 * each of them an answer may be there (status), and the rest need not be
 * brought any more. These know nothing of HTTP's bytes, and nothing of sockets.
 *
 * tm_request_begin() returns NULL when there is no memory. @uri is as it was
 * sent: an undecoded path, maybe with a query.
 */
struct tm_request *tm_request_begin(struct tm_control *control,
				    const struct tm_route *routes,
				    const char *method, const char *uri);
void tm_request_data(struct tm_request *request, const char *data, size_t size);
void tm_request_end(struct tm_request *request);
/* Of an answer that is a stream: as its read(). */
ssize_t tm_request_read(struct tm_request *request, void *buffer, size_t size);
/* Closes its stream, if it has one still. */
void tm_request_free(struct tm_request *request);

/* Copies what stands behind ?key=, decoded; "" when it is not there or does
 * not fit. Returns whether it is there. */
bool tm_request_query(struct tm_request *request, const char *key, char *value,
		      size_t size);
/* Is ?key=1 (or true, on, yes, or only ?key) there? */
bool tm_request_flag(struct tm_request *request, const char *key);

/* One of these, once; a later answer replaces an earlier one. */
void tm_answer_json(struct tm_request *request, json_t *answer);
void tm_answer_text(struct tm_request *request, const char *type, char *text,
		    size_t size);
void tm_answer_error(struct tm_request *request, unsigned status,
		     const char *format, ...)
	__attribute__((format(printf, 3, 4)));
void tm_answer_stream(struct tm_request *request,
		      const struct tm_stream_ops *ops, void *opaque);
/* The body goes to @ops, and the answer comes from its finish(). */
void tm_request_take(struct tm_request *request,
		     const struct tm_stream_ops *ops, void *opaque);

/* 0 to 15, or -1. */
int tm_hex_digit(char c);

/* The client that the argument names, held, or NULL after an answer. */
struct tm_member *tm_request_member(struct tm_request *request);

/* --- control_json.c ------------------------------------------------------- */

/* A string that may hold anything: what is not UTF-8 becomes '?'. */
json_t *tm_json_text(const char *text);
json_t *tm_json_of_client(struct tm_control *control,
			  const struct tm_member *member);
json_t *tm_json_of_clients(struct tm_control *control);
json_t *tm_json_of_disks(struct tm_control *control);
json_t *tm_json_of_store(struct tm_control *control);
json_t *tm_json_of_stats(struct tm_control *control);
uint64_t tm_control_freeable_bytes(struct tm_control *control);

/* Fields of a request's body. 1 (is there), 0 (is not), or -EINVAL after an
 * answer that names the field. */
int tm_body_size(struct tm_request *request, const char *key, uint64_t *bytes);
int tm_body_number(struct tm_request *request, const char *key, uint64_t max,
		   uint64_t *number);
int tm_body_flag(struct tm_request *request, const char *key, bool *flag);
int tm_body_text(struct tm_request *request, const char *key,
		 const char **text);
/* 0, or -EINVAL after an answer that names a field not in @known. */
int tm_body_check(struct tm_request *request, const char *const *known,
		  size_t count);

/* --- control_stream.c ----------------------------------------------------- */

void tm_stream_save(struct tm_request *request);
void tm_stream_restore(struct tm_request *request);
void tm_stream_migration(struct tm_request *request);
void tm_stream_finish(struct tm_request *request);
void tm_stream_hand_over(struct tm_request *request);
void tm_stream_cancel(struct tm_request *request);

/* --- control_server.c ----------------------------------------------------- */

int tm_control_server_open(struct tm_control *control,
			   const struct tm_route *routes, int listen_fd,
			   bool is_private,
			   struct tm_control_server **server);
void tm_control_server_close(struct tm_control_server *server);

/* --- metrics.c ------------------------------------------------------------ */

/* OpenMetrics text; NULL: no memory. The caller frees it. */
char *tm_metrics_text(struct tm_control *control, size_t *size);

#endif
