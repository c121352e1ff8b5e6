/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The control socket's server: libmicrohttpd around control_request.c.
 *
 * A thread for each connection, while it lasts: a save that takes minutes, or
 * a peer that reads slowly, holds up nobody else, and an idle server is threads
 * asleep in poll() without a time-out. One request for each connection.
 *
 * Bounds: CONNECTIONS_MAX connections, later ones are closed; HEADER_BYTES of
 * headers; IDLE_S without a byte moving, STREAM_IDLE_S in a stream. A peer that
 * moves a byte now and then could still hold its connection for ever: so a
 * request that is no stream has TOTAL_MS (or what the host says) from connect to
 * the last byte of its answer, after which its socket is shut down. That is the
 * work of one more thread, asleep unless there are connections.
 *
 * Who is let in: on the private socket, root and the user of this process, by
 * the socket's own word (SO_PEERCRED). The directory's mode keeps others away
 * first.
 *
 * Locks: server.lock guards the table of connections; a socket is shut down
 * under it, so that its number cannot be another's by then.
 */
#include <config.h>

#include <errno.h>
#include <microhttpd.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "clock.h"
#include "control_request.h"

#define CONNECTIONS_MAX 64
#define HEADER_BYTES (32 << 10)
#define STACK_BYTES (256 << 10)
#define STREAM_BLOCK_BYTES (256 << 10)
#define IDLE_S 30
#define STREAM_IDLE_S 600
#define TOTAL_MS 60000

struct connection {
	int fd;
	bool is_used;
	uint64_t until_ms;	/* 0: no end, it carries a stream */
};

struct tm_control_server {
	/* set at creation, then constant */
	struct tm_control *control;
	const struct tm_route *routes;
	bool is_private;
	struct MHD_Daemon *http;
	int wake_fd;	/* there are new deadlines */
	pthread_t deadline_thread;
	/* guarded by lock; some more than the library lets in at once, for
	 * those that it has not cleaned up yet */
	struct tm_lock lock;
	bool is_closing;
	struct connection connections[2 * CONNECTIONS_MAX];
};

/* --- deadlines ------------------------------------------------------------ */

static uint64_t now_ms(void)
{
	return tm_clock_now_ns(tm_clock_system()) / 1000000;
}

static void wake(struct tm_control_server *server)
{
	const uint64_t one = 1;

	if (write(server->wake_fd, &one, sizeof(one)) < 0)
		return;	/* it counts already: it will wake up */
}

/* Cuts what is overdue. How long until the next one is, -1: nobody waits. */
static int cut_overdue(struct tm_control_server *server)
{
	uint64_t now = now_ms(), nearest = UINT64_MAX;

	for (size_t i = 0; i < 2 * CONNECTIONS_MAX; i++) {
		struct connection *c = &server->connections[i];

		if (!c->is_used || !c->until_ms)
			continue;
		if (c->until_ms <= now) {
			shutdown(c->fd, SHUT_RDWR);
			c->until_ms = 0;
		} else if (c->until_ms < nearest) {
			nearest = c->until_ms;
		}
	}
	return nearest == UINT64_MAX ? -1 : (int)(nearest - now);
}

static void *watch_deadlines(void *opaque)
{
	struct tm_control_server *server = opaque;
	struct pollfd waiting = { .fd = server->wake_fd, .events = POLLIN };
	bool is_closing = false;

	while (!is_closing) {
		uint64_t ignored;
		int wait_ms;

		tm_lock_acquire(&server->lock);
		is_closing = server->is_closing;
		wait_ms = cut_overdue(server);
		tm_lock_release(&server->lock);
		if (!is_closing && poll(&waiting, 1, wait_ms) > 0 &&
		    read(server->wake_fd, &ignored, sizeof(ignored)) < 0)
			continue;
	}
	return NULL;
}

static uint32_t request_ms(const struct tm_control_server *server)
{
	uint32_t asked_ms = server->control->host.request_ms;

	return asked_ms ? asked_ms : TOTAL_MS;
}

static struct connection *add_connection(struct tm_control_server *server,
					 int fd)
{
	struct connection *added = NULL;

	tm_lock_acquire(&server->lock);
	for (size_t i = 0; i < 2 * CONNECTIONS_MAX && !added; i++)
		if (!server->connections[i].is_used)
			added = &server->connections[i];
	if (added)
		*added = (struct connection){
			.fd = fd,
			.is_used = true,
			.until_ms = now_ms() + request_ms(server),
		};
	tm_lock_release(&server->lock);
	wake(server);
	return added;
}

static void forget_connection(struct tm_control_server *server,
			      struct connection *connection)
{
	tm_lock_acquire(&server->lock);
	connection->is_used = false;
	tm_lock_release(&server->lock);
}

static int fd_of(struct MHD_Connection *connection)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(
		connection, MHD_CONNECTION_INFO_CONNECTION_FD);

	return info ? info->connect_fd : -1;
}

static void notify_connection(void *opaque, struct MHD_Connection *connection,
			      void **slot,
			      enum MHD_ConnectionNotificationCode code)
{
	struct tm_control_server *server = opaque;

	if (code == MHD_CONNECTION_NOTIFY_STARTED)
		*slot = add_connection(server, fd_of(connection));
	else if (*slot)
		forget_connection(server, *slot);
}

static struct connection *slot_of(struct MHD_Connection *connection)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(
		connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

	return info ? info->socket_context : NULL;
}

/* A stream takes as long as it moves, or its source needs to go on. */
static void set_endless(struct tm_control_server *server,
			struct MHD_Connection *connection)
{
	struct connection *slot = slot_of(connection);

	tm_lock_acquire(&server->lock);
	slot->until_ms = 0;
	tm_lock_release(&server->lock);
	MHD_set_connection_option(connection, MHD_CONNECTION_OPTION_TIMEOUT,
				  (unsigned)STREAM_IDLE_S);
}

/* --- requests ------------------------------------------------------------- */

/* What the library keeps for us with a request. */
struct exchange {
	char *uri;
	struct tm_request *request;
};

static void *keep_uri(void *opaque, const char *uri,
		      struct MHD_Connection *connection)
{
	struct exchange *exchange = calloc(1, sizeof(*exchange));

	(void)opaque;
	(void)connection;
	if (exchange)
		exchange->uri = strdup(uri);
	return exchange;
}

static void complete(void *opaque, struct MHD_Connection *connection,
		     void **context, enum MHD_RequestTerminationCode code)
{
	struct exchange *exchange = *context;

	(void)opaque;
	(void)connection;
	(void)code;
	if (!exchange)
		return;
	tm_request_free(exchange->request);
	free(exchange->uri);
	free(exchange);
	*context = NULL;
}

/* The library decodes nothing: we do, after splitting. */
static size_t keep_encoded(void *opaque, struct MHD_Connection *connection,
			   char *text)
{
	(void)opaque;
	(void)connection;
	return strlen(text);
}

static ssize_t read_stream(void *opaque, uint64_t position, char *buffer,
			   size_t room)
{
	ssize_t size = tm_request_read(opaque, buffer, room);

	(void)position;
	if (size > 0)
		return size;
	return size < 0 ? MHD_CONTENT_READER_END_WITH_ERROR
			: MHD_CONTENT_READER_END_OF_STREAM;
}

static struct MHD_Response *make_response(struct tm_request *request)
{
	struct MHD_Response *response;
	char *text = request->text;

	if (request->stream && !text)
		return MHD_create_response_from_callback(
			MHD_SIZE_UNKNOWN, STREAM_BLOCK_BYTES, read_stream,
			request, NULL);
	response = MHD_create_response_from_buffer(
		request->text_size, text ? text : (char *)"",
		text ? MHD_RESPMEM_MUST_FREE : MHD_RESPMEM_PERSISTENT);
	if (response)
		request->text = NULL;
	return response;
}

static enum MHD_Result respond(struct MHD_Connection *connection,
			       struct tm_request *request)
{
	struct MHD_Response *response = make_response(request);
	enum MHD_Result result;

	if (!response)
		return MHD_NO;
	if (request->type)
		MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE,
					request->type);
	if (request->allowed)
		MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW,
					request->allowed);
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
	result = MHD_queue_response(connection, request->status, response);
	MHD_destroy_response(response);
	return result;
}

/*
 * The library takes an answer before a body or after it, not in its midst. A
 * body that is refused there may be gigabytes, or endless: so the answer is
 * written past the library, which then cuts the connection. Nothing else was
 * sent on it, so there is room for these bytes, or nobody who wants them.
 */
static void answer_early(struct MHD_Connection *connection,
			 const struct tm_request *request)
{
	char head[160];
	struct iovec parts[2] = {
		{ head, 0 },
		{ request->text, request->text_size },
	};
	struct msghdr message = { .msg_iov = parts, .msg_iovlen = 2 };

	parts[0].iov_len = (size_t)snprintf(
		head, sizeof(head),
		"HTTP/1.1 %u Refused\r\nConnection: close\r\n"
		"Content-Type: %s\r\nContent-Length: %zu\r\n\r\n",
		request->status, request->type, request->text_size);
	if (sendmsg(fd_of(connection), &message, MSG_DONTWAIT | MSG_NOSIGNAL) <
	    0)
		return;	/* it is gone, and will not be missed */
}

static struct ucred peer_of(struct MHD_Connection *connection)
{
	struct ucred peer = { .uid = (uid_t)-1 };
	socklen_t size = sizeof(peer);

	if (getsockopt(fd_of(connection), SOL_SOCKET, SO_PEERCRED, &peer,
		       &size))
		peer.uid = (uid_t)-1;
	return peer;
}

static bool may_enter(const struct tm_control_server *server,
		      struct MHD_Connection *connection)
{
	uid_t uid;

	if (!server->is_private)
		return true;
	uid = peer_of(connection).uid;
	return !uid || uid == geteuid();
}

/* Who changed what, and who was turned away; not who only looks. */
static void log_request(const struct tm_control_server *server,
			struct MHD_Connection *connection, const char *method,
			const struct exchange *exchange)
{
	const struct tm_control_host *host = &server->control->host;
	unsigned status = exchange->request->status;
	struct ucred peer;
	char text[256];

	if (!host->log || !server->is_private ||
	    (!strcmp(method, MHD_HTTP_METHOD_GET) &&
	     status != MHD_HTTP_FORBIDDEN))
		return;
	peer = peer_of(connection);
	snprintf(text, sizeof(text),
		 "control: uid %ld, pid %ld: %.16s %.160s: %u", (long)peer.uid,
		 (long)peer.pid, method, exchange->uri, status);
	for (char *c = text; *c; c++)
		if ((unsigned char)*c < 0x20 || (unsigned char)*c > 0x7e)
			*c = '?';
	host->log(host->opaque,
		  status < 300 ? TMEM_LOG_INFO : TMEM_LOG_WARNING, text);
}

/* A body that says how long it is, and is too long: refused before it comes. */
static bool is_too_long(struct MHD_Connection *connection)
{
	const char *length = MHD_lookup_connection_value(
		connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_LENGTH);

	return length && strtoull(length, NULL, 10) > TM_CONTROL_BODY_MAX;
}

static struct tm_request *begin(struct tm_control_server *server,
				struct MHD_Connection *connection,
				const char *method, const char *uri)
{
	struct tm_request *request = NULL;

	/* A request that may not enter has no route, so no handler. */
	if (may_enter(server, connection))
		return tm_request_begin(server->control, server->routes,
					method, uri);
	request = tm_request_begin(server->control, tm_control_no_routes,
				   method, uri);
	if (request)
		tm_answer_error(request, MHD_HTTP_FORBIDDEN,
				"only root and the daemon's own user may");
	return request;
}

static enum MHD_Result handle(void *opaque, struct MHD_Connection *connection,
			      const char *url, const char *method,
			      const char *version, const char *data,
			      size_t *size, void **context)
{
	struct tm_control_server *server = opaque;
	struct exchange *exchange = *context;
	struct tm_request *request;

	(void)url;
	(void)version;
	if (!exchange || !exchange->uri)
		return MHD_NO;
	request = exchange->request;
	if (!request) {
		request = begin(server, connection, method, exchange->uri);
		exchange->request = request;
		if (!request || !slot_of(connection))
			return MHD_NO;
		request->peer_fd = fd_of(connection);
		if (!request->status && !request->route->is_upload &&
		    is_too_long(connection))
			tm_answer_error(request, 413,
					"the body is longer than the %d bytes "
					"allowed",
					TM_CONTROL_BODY_MAX);
		if (request->stream)
			set_endless(server, connection);
		if (!request->status)
			return MHD_YES;
		log_request(server, connection, method, exchange);
		return respond(connection, request);
	}
	if (*size) {
		tm_request_data(request, data, *size);
		*size = 0;
		if (!request->status)
			return MHD_YES;
		log_request(server, connection, method, exchange);
		answer_early(connection, request);
		return MHD_NO;
	}
	tm_request_end(request);
	if (request->stream)
		set_endless(server, connection);
	log_request(server, connection, method, exchange);
	return respond(connection, request);
}

/* --- life ----------------------------------------------------------------- */

static struct MHD_Daemon *start_http(struct tm_control_server *server,
				     int listen_fd)
{
	return MHD_start_daemon(
		MHD_USE_INTERNAL_POLLING_THREAD |
			MHD_USE_THREAD_PER_CONNECTION | MHD_USE_POLL |
			MHD_USE_ITC,
		0, NULL, NULL, handle, server, MHD_OPTION_LISTEN_SOCKET,
		listen_fd, MHD_OPTION_CONNECTION_LIMIT,
		(unsigned)CONNECTIONS_MAX,
		MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_S,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HEADER_BYTES,
		MHD_OPTION_THREAD_STACK_SIZE, (size_t)STACK_BYTES,
		MHD_OPTION_NOTIFY_CONNECTION, notify_connection, server,
		MHD_OPTION_NOTIFY_COMPLETED, complete, server,
		MHD_OPTION_URI_LOG_CALLBACK, keep_uri, server,
		MHD_OPTION_UNESCAPE_CALLBACK, keep_encoded, server,
		MHD_OPTION_END);
}

static bool is_listening(int fd)
{
	int value = 0;
	socklen_t size = sizeof(value);

	return !getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &value, &size) &&
	       value;
}

/* Threads inherit the mask they are made with. */
static int start_threads(struct tm_control_server *server, int listen_fd)
{
	sigset_t all, before;
	int err;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	err = -pthread_create(&server->deadline_thread, NULL, watch_deadlines,
			      server);
	if (!err) {
		server->http = start_http(server, listen_fd);
		err = server->http ? 0 : -EIO;
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return err;
}

static void end_deadlines(struct tm_control_server *server)
{
	tm_lock_acquire(&server->lock);
	server->is_closing = true;
	tm_lock_release(&server->lock);
	wake(server);
	pthread_join(server->deadline_thread, NULL);
}


int tm_control_server_open(struct tm_control *control,
			   const struct tm_route *routes, int listen_fd,
			   bool is_private, struct tm_control_server **out)
{
	struct tm_control_server *server;
	int err;

	if (!is_listening(listen_fd))
		return -EINVAL;
	server = calloc(1, sizeof(*server));
	if (!server)
		return -ENOMEM;
	server->control = control;
	server->routes = routes;
	server->is_private = is_private;
	tm_lock_init(&server->lock, TM_RANK_CONNECTIONS);
	server->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (server->wake_fd < 0) {
		err = -errno;
		goto out_free;
	}
	err = start_threads(server, listen_fd);
	if (err == -EIO)
		end_deadlines(server);
	if (err)
		goto out_wake;
	*out = server;
	return 0;
out_wake:
	close(server->wake_fd);
out_free:
	free(server);
	return err;
}

void tm_control_server_close(struct tm_control_server *server)
{
	if (!server)
		return;
	end_deadlines(server);
	MHD_stop_daemon(server->http);
	close(server->wake_fd);
	free(server);
}
