/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One HTTP/1.1 request over a UNIX socket.
 *
 * As little of HTTP as a client needs that talks to one server it knows:
 * "Connection: close", a body of known length or in chunks both ways, no
 * redirects, no compression, no TLS. The server is not trusted to be right, so
 * everything it says is bounded and checked.
 *
 * Bounds: HEAD_MAX bytes for a line and HEADERS_MAX lines of a head,
 * TM_HTTP_ANSWER_MAX of an answer that is kept; a stream is as long as it is,
 * BLOCK bytes at a time.
 */
#include <config.h>

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "http_client.h"

#define HEAD_MAX (16 << 10)
#define HEADERS_MAX 100
#define HEADS_MAX 8
#define BLOCK (256 << 10)
/* "40000\r\n" before a chunk, "\r\n" behind it. */
#define CHUNK_HEAD 16
#define CHUNK_TAIL 2

struct exchange {
	const struct tm_http_request *request;
	struct tm_http_answer *answer;
	int fd;
	char *buffer;	/* what came and was not taken yet */
	size_t at;
	size_t filled;
	bool is_chunked;
	bool has_length;
	uint64_t length;
};

static int connect_to(const struct tm_http_request *request)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct timeval wait = { .tv_sec = request->timeout_s };
	int fd, err;

	if (strlen(request->socket) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	strcpy(address.sun_path, request->socket);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
	/* For connect() too: the queue of one that does not accept fills up. */
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait));
	if (!connect(fd, (struct sockaddr *)&address, sizeof(address)))
		return fd;
	err = errno == EAGAIN ? -ETIMEDOUT : -errno;
	close(fd);
	return err;
}

/* --- sending ------------------------------------------------------------- */

static int send_all(const struct exchange *x, const char *data, size_t size)
{
	while (size) {
		ssize_t n = send(x->fd, data, size, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? -ETIMEDOUT : -errno;
		data += n;
		size -= (size_t)n;
	}
	return 0;
}

static int send_head(const struct exchange *x)
{
	const struct tm_http_request *request = x->request;
	char head[4096];
	char length[64] = "";
	int size;

	if (request->source)
		strcpy(length, "Transfer-Encoding: chunked\r\n");
	else if (request->body)
		snprintf(length, sizeof(length), "Content-Length: %zu\r\n",
			 request->body_size);
	else if (strcmp(request->method, "GET"))
		strcpy(length, "Content-Length: 0\r\n");
	size = snprintf(head, sizeof(head),
			"%s %s HTTP/1.1\r\nHost: localhost\r\n"
			"Connection: close\r\n%s\r\n",
			request->method, request->path, length);
	if (size < 0 || (size_t)size >= sizeof(head))
		return -ENAMETOOLONG;
	return send_all(x, head, (size_t)size);
}

static bool has_answered(const struct exchange *x)
{
	struct pollfd incoming = { .fd = x->fd, .events = POLLIN };

	return poll(&incoming, 1, 0) > 0;
}

static int send_chunks(const struct exchange *x)
{
	char *block = malloc(CHUNK_HEAD + BLOCK + CHUNK_TAIL);
	ssize_t size = 1;
	int err = 0;

	if (!block)
		return -ENOMEM;
	while (size > 0 && !err && !has_answered(x)) {
		char head[CHUNK_HEAD + 1];
		int length;

		size = x->request->source(x->request->opaque,
					  block + CHUNK_HEAD, BLOCK);
		if (size < 0)
			break;
		length = snprintf(head, sizeof(head), "%zx\r\n", (size_t)size);
		memcpy(block + CHUNK_HEAD - length, head, (size_t)length);
		memcpy(block + CHUNK_HEAD + size, "\r\n", CHUNK_TAIL);
		err = send_all(x, block + CHUNK_HEAD - length,
			       (size_t)length + (size_t)size + CHUNK_TAIL);
	}
	free(block);
	return size < 0 ? (int)size : err;
}

static int send_request(const struct exchange *x)
{
	int err = send_head(x);

	if (!err && x->request->source) {
		err = send_chunks(x);
		/* It may have said why before it hung up. */
		if (err == -EPIPE || err == -ECONNRESET)
			err = 0;
		return err;
	}
	if (!err && x->request->body)
		err = send_all(x, x->request->body, x->request->body_size);
	return err == -EPIPE || err == -ECONNRESET ? 0 : err;
}

/* --- receiving ----------------------------------------------------------- */

static bool is_patient(const struct exchange *x)
{
	const struct tm_http_request *request = x->request;

	return request->is_patient && request->is_patient(request->opaque);
}

/* More into the buffer. 0: the peer has ended. */
static ssize_t fill(struct exchange *x, size_t most)
{
	ssize_t n;

	if (x->at == x->filled)
		x->at = x->filled = 0;
	if (x->filled >= most)
		return -EPROTO;
	for (;;) {
		n = recv(x->fd, x->buffer + x->filled, most - x->filled, 0);
		if (n >= 0)
			break;
		if (errno != EINTR && errno != EAGAIN)
			return -errno;
		if (errno == EAGAIN && !is_patient(x))
			return -ETIMEDOUT;
	}
	x->filled += (size_t)n;
	return n;
}

/* One line, without its end, in place. */
static int read_line(struct exchange *x, char **line)
{
	for (;;) {
		char *end = memchr(x->buffer + x->at, '\n', x->filled - x->at);
		ssize_t n;

		if (end) {
			*line = x->buffer + x->at;
			x->at = (size_t)(end + 1 - x->buffer);
			if (end > *line && end[-1] == '\r')
				end--;
			*end = 0;
			return strlen(*line) == (size_t)(end - *line) ?
				       0 :
				       -EPROTO;
		}
		memmove(x->buffer, x->buffer + x->at, x->filled - x->at);
		x->filled -= x->at;
		x->at = 0;
		n = fill(x, HEAD_MAX);
		if (n <= 0)
			return n ? (int)n : -ECONNRESET;
	}
}

static int parse_length(const char *text, int base, uint64_t *length)
{
	char *end;

	errno = 0;
	*length = strtoull(text, &end, base);
	if (errno || end == text || *text == '-' || *text == '+')
		return -EPROTO;
	while (*end == ' ' || *end == '\t')
		end++;
	return !*end || *end == ';' ? 0 : -EPROTO;
}

static int read_header(struct exchange *x, char *line)
{
	char *value = strchr(line, ':');

	if (!value)
		return -EPROTO;
	*value++ = 0;
	value += strspn(value, " \t");
	if (!strcasecmp(line, "Transfer-Encoding")) {
		x->is_chunked = !strcasecmp(value, "chunked");
		return x->is_chunked ? 0 : -EPROTO;
	}
	if (!strcasecmp(line, "Content-Length")) {
		x->has_length = true;
		return parse_length(value, 10, &x->length);
	}
	return 0;
}

/* A status line and the headers after it. */
static int read_one_head(struct exchange *x)
{
	int minor, err;
	char *line;

	x->is_chunked = x->has_length = false;
	err = read_line(x, &line);
	if (err)
		return err;
	if (sscanf(line, "HTTP/1.%1d %3d", &minor, &x->answer->status) != 2 ||
	    x->answer->status < 100)
		return -EPROTO;
	for (int lines = 0; lines < HEADERS_MAX; lines++) {
		err = read_line(x, &line);
		if (!err && !*line)
			return 0;
		if (!err)
			err = read_header(x, line);
		if (err)
			return err;
	}
	return -EPROTO;
}

/* Past what only says that the answer will come. */
static int read_head(struct exchange *x)
{
	for (int heads = 0; heads < HEADS_MAX; heads++) {
		int err = read_one_head(x);

		if (err || x->answer->status >= 200)
			return err;
	}
	return -EPROTO;
}

static int keep(struct tm_http_answer *answer, const char *data, size_t size)
{
	char *text;

	if (size > TM_HTTP_ANSWER_MAX - answer->size)
		return -EMSGSIZE;
	text = realloc(answer->text, answer->size + size + 1);
	if (!text)
		return -ENOMEM;
	memcpy(text + answer->size, data, size);
	answer->size += size;
	text[answer->size] = 0;
	answer->text = text;
	return 0;
}

static int take(struct exchange *x, const char *data, size_t size)
{
	if (x->request->sink && x->answer->status == 200)
		return x->request->sink(x->request->opaque, data, size);
	return keep(x->answer, data, size);
}

/* @length bytes of the body, or all there are when @is_endless. */
static int read_bytes(struct exchange *x, uint64_t length, bool is_endless)
{
	while (length || is_endless) {
		size_t size = x->filled - x->at;
		ssize_t n = 1;
		int err;

		if (!size)
			n = fill(x, BLOCK);
		if (n < 0)
			return (int)n;
		if (!n)
			return is_endless ? 0 : -ECONNRESET;
		size = x->filled - x->at;
		if (!is_endless && size > length)
			size = (size_t)length;
		err = take(x, x->buffer + x->at, size);
		if (err)
			return err;
		x->at += size;
		length -= is_endless ? 0 : size;
	}
	return 0;
}

static int read_chunks(struct exchange *x)
{
	uint64_t length = 1;
	char *line;
	int err = 0;

	while (length && !err) {
		err = read_line(x, &line);
		if (!err)
			err = parse_length(line, 16, &length);
		if (!err)
			err = read_bytes(x, length, false);
		if (!err && length)
			err = read_line(x, &line);
		if (!err && length && *line)
			err = -EPROTO;
	}
	return err;
}

static int read_answer(struct exchange *x)
{
	int err = read_head(x);

	if (err)
		return err;
	err = keep(x->answer, "", 0);
	if (err)
		return err;
	if (x->is_chunked)
		return read_chunks(x);
	return read_bytes(x, x->length, !x->has_length);
}

int tm_http_call(const struct tm_http_request *request,
		 struct tm_http_answer *answer)
{
	struct exchange x = { .request = request, .answer = answer };
	int err;

	*answer = (struct tm_http_answer){ 0 };
	x.fd = connect_to(request);
	if (x.fd < 0)
		return x.fd;
	x.buffer = malloc(BLOCK);
	err = x.buffer ? send_request(&x) : -ENOMEM;
	if (!err)
		err = read_answer(&x);
	free(x.buffer);
	close(x.fd);
	if (err)
		tm_http_free(answer);
	return err;
}

void tm_http_free(struct tm_http_answer *answer)
{
	free(answer->text);
	*answer = (struct tm_http_answer){ 0 };
}

void tm_http_encode(const char *from, char *to, size_t size)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyz"
				    "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.~";
	size_t at = 0;

	for (; *from && at + 4 <= size; from++) {
		if (strchr(plain, *from))
			to[at++] = *from;
		else
			at += (size_t)snprintf(to + at, 4, "%%%02X",
					       (unsigned char)*from);
	}
	to[at] = 0;
}
