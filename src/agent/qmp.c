/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One connection to QEMU's monitor: greeting, capabilities, then a command at a
 * time, each with a number that its reply must bear.
 *
 * The problem: the peer is another process that may be starting, stopped,
 * migrating away, busy with another monitor's user (it serves one at a time,
 * and lets others wait without a word), or not QEMU at all; and one agent
 * serves many. The idea: nothing here waits. A connection is a buffer in either
 * direction and a state; whoever does not say what is due within REPLY_NS, says
 * what is no message, or more than TM_QMP_LINE_MAX bytes without an end, is
 * dropped, and tried again after 1, 2, 4, ... 32 seconds. What was under way is
 * forgotten then: whoever sent it hears that the connection is lost.
 *
 * Messages are lines (monitors with pretty=on are not read). Events may come at
 * any time, and are passed over. Numbers are read as doubles: QEMU writes what
 * it does not know as 2^64 - 1, which a signed integer cannot hold, and what it
 * does know is exact up to 2^53.
 *
 * One thread.
 */
#include <config.h>

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "qmp.h"

#define NS_PER_S UINT64_C(1000000000)
#define REPLY_NS (5 * NS_PER_S)
#define RETRY_S_MAX 32
#define OUT_SIZE 4096

enum state {
	CLOSED,
	GREETED, /* connected, and its greeting is due */
	AGREEING, /* qmp_capabilities is under way */
	IDLE,
	BUSY, /* a command is under way */
};

struct tm_qmp {
	struct sockaddr_un address;
	struct tm_qmp_handler handler;
	enum state state;
	int fd;
	uint64_t sent_ns; /* when what is due began to be so */
	uint64_t retry_ns;
	unsigned retry_s;
	uint64_t id; /* of the last command */
	size_t out_from, out_to;
	size_t in_used;
	char out[OUT_SIZE];
	char in[TM_QMP_LINE_MAX];
};

int tm_qmp_open(const char *path, const struct tm_qmp_handler *handler,
		struct tm_qmp **out)
{
	struct tm_qmp *qmp = calloc(1, sizeof(*qmp));

	if (!qmp)
		return -ENOMEM;
	qmp->fd = -1;
	qmp->handler = *handler;
	qmp->address.sun_family = AF_UNIX;
	strncpy(qmp->address.sun_path, path, sizeof(qmp->address.sun_path) - 1);
	*out = qmp;
	return 0;
}

void tm_qmp_close(struct tm_qmp *qmp)
{
	if (qmp->fd >= 0)
		close(qmp->fd);
	free(qmp);
}

int tm_qmp_fd(const struct tm_qmp *qmp)
{
	return qmp->fd;
}

short tm_qmp_events(const struct tm_qmp *qmp)
{
	return qmp->out_from < qmp->out_to ? POLLIN | POLLOUT : POLLIN;
}

bool tm_qmp_is_idle(const struct tm_qmp *qmp)
{
	return qmp->state == IDLE;
}

bool tm_qmp_is_connected(const struct tm_qmp *qmp)
{
	return qmp->state == IDLE || qmp->state == BUSY;
}

/* --- connecting -------------------------------------------------------- */

void tm_qmp_drop(struct tm_qmp *qmp, const char *why, uint64_t now_ns)
{
	if (qmp->fd >= 0)
		close(qmp->fd);
	qmp->fd = -1;
	qmp->state = CLOSED;
	qmp->in_used = qmp->out_from = qmp->out_to = 0;
	qmp->retry_s = qmp->retry_s ? qmp->retry_s * 2 : 1;
	if (qmp->retry_s > RETRY_S_MAX)
		qmp->retry_s = RETRY_S_MAX;
	qmp->retry_ns = now_ns + qmp->retry_s * NS_PER_S;
	qmp->handler.lost(qmp->handler.opaque, why);
}

void tm_qmp_settle(struct tm_qmp *qmp)
{
	qmp->retry_s = 0;
}

void tm_qmp_connect(struct tm_qmp *qmp, uint64_t now_ns)
{
	int fd;

	if (qmp->state != CLOSED)
		return;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || connect(fd, (const struct sockaddr *)&qmp->address,
			      sizeof(qmp->address))) {
		int err = errno;

		if (fd >= 0)
			close(fd);
		tm_qmp_drop(qmp, strerror(err), now_ns);
		return;
	}
	qmp->fd = fd;
	qmp->state = GREETED;
	qmp->sent_ns = now_ns;
}

void tm_qmp_tick(struct tm_qmp *qmp, uint64_t now_ns)
{
	if (qmp->state == CLOSED && now_ns >= qmp->retry_ns)
		tm_qmp_connect(qmp, now_ns);
	else if (qmp->state != CLOSED && qmp->state != IDLE &&
		 now_ns - qmp->sent_ns > REPLY_NS)
		tm_qmp_drop(qmp,
			    qmp->state == GREETED
				    ? "it does not greet (somebody else may be "
				      "using this monitor)"
				    : "it does not answer",
			    now_ns);
}

/* What the system says of a peer that has gone, with or without what it was
 * sent, is the same to those who read it. */
static void drop_for(struct tm_qmp *qmp, int err, uint64_t now_ns)
{
	bool has_gone = !err || err == ECONNRESET || err == EPIPE;

	tm_qmp_drop(qmp, has_gone ? "it hung up" : strerror(err), now_ns);
}

/* --- sending ----------------------------------------------------------- */

static void flush(struct tm_qmp *qmp, uint64_t now_ns)
{
	while (qmp->out_from < qmp->out_to) {
		ssize_t put = send(qmp->fd, qmp->out + qmp->out_from,
				   qmp->out_to - qmp->out_from, MSG_NOSIGNAL);

		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0 && errno == EAGAIN)
			return;
		if (put < 0) {
			drop_for(qmp, errno, now_ns);
			return;
		}
		qmp->out_from += (size_t)put;
	}
	qmp->out_from = qmp->out_to = 0;
}

static int send_message(struct tm_qmp *qmp, json_t *message, uint64_t now_ns)
{
	size_t length =
		json_dumpb(message, qmp->out, OUT_SIZE - 1, JSON_COMPACT);

	json_decref(message);
	if (!length || length > OUT_SIZE - 1)
		return -ENOMEM;
	qmp->out[length] = '\n';
	qmp->out_from = 0;
	qmp->out_to = length + 1;
	qmp->sent_ns = now_ns;
	return 0;
}

int tm_qmp_send(struct tm_qmp *qmp, const char *command, json_t *arguments,
		uint64_t now_ns)
{
	json_t *message;
	int err;

	if (qmp->state != IDLE) {
		json_decref(arguments);
		return -EAGAIN;
	}
	message = json_pack("{s:s, s:I}", "execute", command, "id",
			    (json_int_t)++qmp->id);
	if (!message) {
		json_decref(arguments);
		return -ENOMEM;
	}
	if (arguments && json_object_set_new(message, "arguments", arguments)) {
		json_decref(message);
		return -ENOMEM;
	}
	err = send_message(qmp, message, now_ns);
	if (err)
		return err;
	qmp->state = BUSY;
	flush(qmp, now_ns);
	return 0;
}

/* --- receiving --------------------------------------------------------- */

static void agree(struct tm_qmp *qmp, const json_t *message, uint64_t now_ns)
{
	if (!json_is_object(json_object_get(message, "QMP"))) {
		tm_qmp_drop(qmp, "its greeting is no monitor's", now_ns);
		return;
	}
	if (send_message(qmp, json_pack("{s:s}", "execute", "qmp_capabilities"),
			 now_ns)) {
		tm_qmp_drop(qmp, strerror(ENOMEM), now_ns);
		return;
	}
	qmp->state = AGREEING;
	flush(qmp, now_ns);
}

static bool has_number(const json_t *message, uint64_t id)
{
	const json_t *number = json_object_get(message, "id");

	return json_is_number(number) &&
	       json_number_value(number) == (double)id;
}

/* A reply, if it is one: what it says. */
static bool read_reply(const json_t *message, const json_t **value,
		       const char **error)
{
	const json_t *wrong = json_object_get(message, "error");

	*value = json_object_get(message, "return");
	*error = json_string_value(json_object_get(wrong, "desc"));
	if (!*error)
		*error = "an error without a description";
	return (*value != NULL) != json_is_object(wrong);
}

static void take_message(struct tm_qmp *qmp, const json_t *message,
			 uint64_t now_ns)
{
	const json_t *value;
	const char *error;

	if (json_object_get(message, "event"))
		return;
	if (qmp->state == GREETED) {
		agree(qmp, message, now_ns);
		return;
	}
	if (!read_reply(message, &value, &error)) {
		tm_qmp_drop(qmp, "it says what is neither a reply nor an event",
			    now_ns);
	} else if (qmp->state == AGREEING) {
		if (!value) {
			tm_qmp_drop(qmp, error, now_ns);
			return;
		}
		qmp->state = IDLE;
		qmp->handler.ready(qmp->handler.opaque, now_ns);
	} else if (qmp->state != BUSY || !has_number(message, qmp->id)) {
		tm_qmp_drop(qmp, "it replies to what was not asked", now_ns);
	} else {
		qmp->state = IDLE;
		qmp->handler.reply(qmp->handler.opaque, value, error, now_ns);
	}
}

static void take_line(struct tm_qmp *qmp, const char *line, size_t length,
		      uint64_t now_ns)
{
	json_t *message;

	while (length && (line[length - 1] == '\r' || line[length - 1] == ' '))
		length--;
	if (!length)
		return;
	message = json_loadb(line, length, JSON_DECODE_INT_AS_REAL, NULL);
	if (!json_is_object(message))
		tm_qmp_drop(qmp, "it says what is no JSON object", now_ns);
	else
		take_message(qmp, message, now_ns);
	json_decref(message);
}

static void take_lines(struct tm_qmp *qmp, uint64_t now_ns)
{
	size_t from = 0;
	const char *end;

	while ((end = memchr(qmp->in + from, '\n', qmp->in_used - from))) {
		size_t length = (size_t)(end - (qmp->in + from));

		take_line(qmp, qmp->in + from, length, now_ns);
		if (qmp->fd < 0)
			return;
		from += length + 1;
	}
	memmove(qmp->in, qmp->in + from, qmp->in_used - from);
	qmp->in_used -= from;
	if (qmp->in_used == sizeof(qmp->in))
		tm_qmp_drop(qmp, "a message of it is too long", now_ns);
}

void tm_qmp_handle(struct tm_qmp *qmp, uint64_t now_ns)
{
	ssize_t got;

	flush(qmp, now_ns);
	if (qmp->fd < 0)
		return;
	/* One buffer per turn: who talks without end keeps nobody waiting. */
	got = recv(qmp->fd, qmp->in + qmp->in_used,
		   sizeof(qmp->in) - qmp->in_used, 0);
	if (got < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (got <= 0) {
		drop_for(qmp, got ? errno : 0, now_ns);
		return;
	}
	qmp->in_used += (size_t)got;
	take_lines(qmp, now_ns);
}
