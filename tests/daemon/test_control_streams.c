/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Streams over the control socket (src/daemon/control_server.c) and the
 * program's client for them (src/cli/http_client.c), with routes of our own:
 * what comes is whole or an error, who says no is heard at once, and both ends
 * learn when the other is gone.
 */
#include <config.h>

#include "control_request.h"
#include "harness.h"
#include "http_client.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define MANY (3 * 1024 * 1024 + 5)

/* What both sides of a stream in this process share. */
struct stage {
	size_t size;		/* of the stream */
	size_t fail_at;		/* the daemon's side breaks here; 0: never */
	size_t stop_at;		/* the program's side does */
	sem_t closed;		/* the daemon's side has been closed */
	bool is_complete;
	bool is_right;
	size_t taken;		/* by the daemon's side */
	size_t sent;		/* by the program's */
	size_t got;
	atomic_bool is_blocked;	/* the daemon's side waits */
	sem_t go_on;
};

/* As tm_control's host: handlers find it there. */
static struct stage *stage_of(struct tm_request *request)
{
	return request->control->host.opaque;
}

static char byte_at(size_t position)
{
	return (char)(position * 7 + (position >> 12));
}

static void fill(char *buffer, size_t position, size_t size)
{
	for (size_t i = 0; i < size; i++)
		buffer[i] = byte_at(position + i);
}

static bool is_filled(const char *buffer, size_t position, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (buffer[i] != byte_at(position + i))
			return false;
	return true;
}

/* --- the daemon's side --------------------------------------------------- */

static ssize_t stage_read(void *opaque, void *buffer, size_t size)
{
	struct stage *stage = opaque;

	if (atomic_load(&stage->is_blocked))
		sem_wait(&stage->go_on);
	if (stage->fail_at && stage->taken >= stage->fail_at)
		return -EIO;
	if (size > stage->size - stage->taken)
		size = stage->size - stage->taken;
	fill(buffer, stage->taken, size);
	stage->taken += size;
	return (ssize_t)size;
}

static int stage_write(void *opaque, struct tm_request *request,
		       const void *data, size_t size)
{
	struct stage *stage = opaque;

	stage->is_right &= is_filled(data, stage->taken, size);
	stage->taken += size;
	if (!stage->fail_at || stage->taken < stage->fail_at)
		return 0;
	tm_answer_error(request, 409, "enough after %zu", stage->fail_at);
	return -EIO;
}

static void stage_finish(void *opaque, struct tm_request *request)
{
	struct stage *stage = opaque;

	tm_answer_json(request, json_pack("{s:I}", "bytes",
					  (json_int_t)stage->taken));
}

static void stage_close(void *opaque, bool is_complete)
{
	struct stage *stage = opaque;

	stage->is_complete = is_complete;
	sem_post(&stage->closed);
}

static const struct tm_stream_ops ops = {
	.read = stage_read,
	.write = stage_write,
	.finish = stage_finish,
	.close = stage_close,
};

static void handle_download(struct tm_request *request)
{
	tm_answer_stream(request, &ops, stage_of(request));
}

static void handle_upload(struct tm_request *request)
{
	tm_request_take(request, &ops, stage_of(request));
}

static void handle_refuse(struct tm_request *request)
{
	tm_answer_error(request, 409, "not today");
}

static void handle_plain(struct tm_request *request)
{
	tm_answer_json(request, json_object());
}

static const struct tm_route routes[] = {
	{ "GET", "/download", false, handle_download },
	{ "POST", "/upload", true, handle_upload },
	{ "POST", "/refuse", true, handle_refuse },
	{ "GET", "/plain", false, handle_plain },
	{ NULL, NULL, false, NULL },
};

struct fixture {
	char directory[64];
	char path[96];
	struct tm_control control;
	struct stage stage;
};

static void open_fixture(struct fixture *f, size_t size)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	memset(f, 0, sizeof(*f));
	strcpy(f->directory, "/tmp/tmem-test-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(f->directory));
	snprintf(f->path, sizeof(f->path), "%s/socket", f->directory);
	strcpy(address.sun_path, f->path);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address,
			      sizeof(address)), 0);
	ck_assert_int_eq(listen(fd, 16), 0);
	f->stage.size = size;
	f->stage.is_right = true;
	sem_init(&f->stage.closed, 0, 0);
	sem_init(&f->stage.go_on, 0, 0);
	f->control.host.opaque = &f->stage;
	ck_assert_int_eq(tm_control_server_open(&f->control, routes, fd, true,
						&f->control.server), 0);
}

static void close_fixture(struct fixture *f)
{
	tm_control_server_close(f->control.server);
	unlink(f->path);
	rmdir(f->directory);
	sem_destroy(&f->stage.closed);
	sem_destroy(&f->stage.go_on);
}

/* --- the program's side -------------------------------------------------- */

static ssize_t source(void *opaque, void *buffer, size_t size)
{
	struct stage *stage = opaque;

	if (stage->stop_at && stage->sent >= stage->stop_at)
		return -ECANCELED;
	if (size > stage->size - stage->sent)
		size = stage->size - stage->sent;
	fill(buffer, stage->sent, size);
	stage->sent += size;
	return (ssize_t)size;
}

static int sink(void *opaque, const void *data, size_t size)
{
	struct stage *stage = opaque;

	if (stage->stop_at && stage->got >= stage->stop_at)
		return -ECANCELED;
	stage->is_right &= is_filled(data, stage->got, size);
	stage->got += size;
	return 0;
}

static int call(struct fixture *f, const char *method, const char *path,
		struct tm_http_answer *answer)
{
	bool is_upload = !strcmp(method, "POST");
	struct tm_http_request request = {
		.socket = f->path,
		.method = method,
		.path = path,
		.source = is_upload ? source : NULL,
		.sink = is_upload ? NULL : sink,
		.opaque = &f->stage,
		.timeout_s = 60,
	};

	return tm_http_call(&request, answer);
}

/* Who has heard of the end finds it closed already. */
static void expect_closed(struct fixture *f)
{
	ck_assert_int_eq(sem_trywait(&f->stage.closed), 0);
}

static const size_t sizes[] = { 0, 1, 4096, 256 << 10, MANY };

START_TEST(a_download_comes_whole)
{
	struct tm_http_answer answer;
	struct fixture f;

	open_fixture(&f, sizes[_i]);
	ck_assert_int_eq(call(&f, "GET", "/download", &answer), 0);
	ck_assert_int_eq(answer.status, 200);
	expect_closed(&f);
	ck_assert(f.stage.is_complete && f.stage.is_right);
	ck_assert_uint_eq(f.stage.got, sizes[_i]);
	tm_http_free(&answer);
	close_fixture(&f);
}
END_TEST

START_TEST(an_upload_goes_whole)
{
	struct tm_http_answer answer;
	struct fixture f;
	char text[32];

	open_fixture(&f, sizes[_i]);
	snprintf(text, sizeof(text), "{\"bytes\":%zu}", sizes[_i]);
	ck_assert_int_eq(call(&f, "POST", "/upload", &answer), 0);
	ck_assert_int_eq(answer.status, 200);
	ck_assert_str_eq(answer.text, text);
	expect_closed(&f);
	ck_assert(f.stage.is_complete && f.stage.is_right);
	tm_http_free(&answer);
	close_fixture(&f);
}
END_TEST

START_TEST(a_download_that_breaks_is_an_error)
{
	struct tm_http_answer answer;
	struct fixture f;
	int err;

	open_fixture(&f, MANY);
	f.stage.fail_at = MANY / 2;
	err = call(&f, "GET", "/download", &answer);
	ck_assert_msg(err == -ECONNRESET || err == -EPROTO, "%d", err);
	expect_closed(&f);
	ck_assert(!f.stage.is_complete);
	close_fixture(&f);
}
END_TEST

START_TEST(an_upload_that_is_refused_ends_early)
{
	struct tm_http_answer answer;
	struct fixture f;

	open_fixture(&f, SIZE_MAX);
	f.stage.fail_at = MANY;
	ck_assert_int_eq(call(&f, "POST", "/upload", &answer), 0);
	ck_assert_int_eq(answer.status, 409);
	ck_assert_ptr_nonnull(strstr(answer.text, "enough after"));
	expect_closed(&f);
	ck_assert(!f.stage.is_complete && f.stage.is_right);
	tm_http_free(&answer);
	close_fixture(&f);
}
END_TEST

START_TEST(an_upload_that_is_not_wanted_is_told_so)
{
	static const char *const paths[] = { "/refuse", "/nowhere" };
	static const int statuses[] = { 409, 404 };
	struct tm_http_answer answer;
	struct fixture f;

	open_fixture(&f, SIZE_MAX);
	ck_assert_int_eq(call(&f, "POST", paths[_i], &answer), 0);
	ck_assert_int_eq(answer.status, statuses[_i]);
	tm_http_free(&answer);
	close_fixture(&f);
}
END_TEST

START_TEST(an_upload_that_breaks_is_not_complete)
{
	struct tm_http_answer answer;
	struct fixture f;

	open_fixture(&f, SIZE_MAX);
	f.stage.stop_at = MANY;
	ck_assert_int_eq(call(&f, "POST", "/upload", &answer), -ECANCELED);
	sem_wait(&f.stage.closed);
	ck_assert(!f.stage.is_complete && f.stage.is_right);
	close_fixture(&f);
}
END_TEST

START_TEST(a_download_nobody_wants_is_not_complete)
{
	struct tm_http_answer answer;
	struct fixture f;

	open_fixture(&f, SIZE_MAX);
	f.stage.stop_at = MANY;
	ck_assert_int_eq(call(&f, "GET", "/download", &answer), -ECANCELED);
	sem_wait(&f.stage.closed);
	ck_assert(!f.stage.is_complete && f.stage.is_right);
	close_fixture(&f);
}
END_TEST

static void *download(void *opaque)
{
	struct tm_http_answer answer;
	struct fixture *f = opaque;

	if (!call(f, "GET", "/download", &answer))
		tm_http_free(&answer);
	return NULL;
}

START_TEST(a_stream_that_waits_holds_up_nobody)
{
	struct tm_http_request plain = { .method = "GET", .path = "/plain" };
	struct tm_http_answer answer;
	struct fixture f;
	pthread_t thread;

	open_fixture(&f, MANY);
	atomic_store(&f.stage.is_blocked, true);
	ck_assert_int_eq(pthread_create(&thread, NULL, download, &f), 0);
	plain.socket = f.path;
	plain.timeout_s = 20;
	for (int i = 0; i < 20; i++) {
		ck_assert_int_eq(tm_http_call(&plain, &answer), 0);
		ck_assert_int_eq(answer.status, 200);
		tm_http_free(&answer);
	}
	atomic_store(&f.stage.is_blocked, false);
	sem_post(&f.stage.go_on);
	pthread_join(thread, NULL);
	ck_assert_uint_eq(f.stage.got, MANY);
	close_fixture(&f);
}
END_TEST

static int connect_to(const struct fixture *f)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(address.sun_path, f->path);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&address,
				 sizeof(address)), 0);
	return fd;
}

/* A header line that never ends, a byte now and then. */
START_TEST(a_request_has_its_time)
{
	static const char head[] = "GET /plain HTTP/1.1\r\nHost: ";
	struct pollfd waiting = { .events = POLLIN };
	struct fixture f;
	int bytes = 0;
	ssize_t sent;

	open_fixture(&f, 0);
	f.control.host.request_ms = 300;
	waiting.fd = connect_to(&f);
	sent = send(waiting.fd, head, sizeof(head) - 1, MSG_NOSIGNAL);
	/* Until it is told to go: poll() sees the end as something to read. */
	while (sent > 0 && !poll(&waiting, 1, 20) && bytes++ < 1000)
		sent = send(waiting.fd, "x", 1, MSG_NOSIGNAL);
	ck_assert(sent > 0 || errno == EPIPE || errno == ECONNRESET);
	ck_assert_int_lt(bytes, 1000);
	close(waiting.fd);
	close_fixture(&f);
}
END_TEST

/* How much comes of a stream that stands still for longer than requests may. */
static size_t get_slowly(uint32_t request_ms)
{
	struct fixture f;
	pthread_t thread;
	size_t got;

	open_fixture(&f, MANY);
	f.control.host.request_ms = request_ms;
	atomic_store(&f.stage.is_blocked, true);
	ck_assert_int_eq(pthread_create(&thread, NULL, download, &f), 0);
	poll(NULL, 0, 4 * (int)request_ms);
	atomic_store(&f.stage.is_blocked, false);
	sem_post(&f.stage.go_on);
	pthread_join(thread, NULL);
	got = f.stage.got;
	close_fixture(&f);
	return got;
}

/* Up to where it is a stream, a request has that time, which a machine that is
 * busy with other things may need for itself. */
START_TEST(a_stream_takes_as_long_as_it_takes)
{
	size_t got = 0;

	for (uint32_t ms = 50; ms <= 5000 && got != MANY; ms *= 10)
		got = get_slowly(ms);
	ck_assert_uint_eq(got, MANY);
}
END_TEST

/* As many as are let in at once, and more: they are cut, and make room. */
START_TEST(who_never_asks_gives_way)
{
	struct tm_http_request plain = { .method = "GET", .path = "/plain" };
	struct tm_http_answer answer;
	struct fixture f;
	int fds[100], err = -1;

	open_fixture(&f, 0);
	f.control.host.request_ms = 200;
	for (int i = 0; i < 100; i++)
		fds[i] = connect_to(&f);
	plain.socket = f.path;
	plain.timeout_s = 20;
	for (int i = 0; i < 1000 && err; i++) {
		err = tm_http_call(&plain, &answer);
		if (err)
			usleep(50000);
	}
	ck_assert_int_eq(err, 0);
	ck_assert_int_eq(answer.status, 200);
	tm_http_free(&answer);
	for (int i = 0; i < 100; i++)
		close(fds[i]);
	close_fixture(&f);
}
END_TEST

/* One that neither accepts, nor reads, nor answers: stopped, say. */
static ssize_t endless(void *opaque, void *buffer, size_t size)
{
	(void)opaque;
	memset(buffer, 'x', size);
	return (ssize_t)size;
}

START_TEST(who_does_not_answer_is_not_waited_for)
{
	char dir[] = "/tmp/tmem-mute-XXXXXX";
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct tm_http_request request = {
		.socket = address.sun_path,
		.method = "GET",
		.path = "/plain",
		.timeout_s = 1,
	};
	struct tm_http_answer answer;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/control", dir);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)),
			 0);
	ck_assert_int_eq(listen(fd, 1), 0);
	ck_assert_int_eq(tm_http_call(&request, &answer), -ETIMEDOUT);
	request.method = "POST";
	request.source = endless;
	ck_assert_int_eq(tm_http_call(&request, &answer), -ETIMEDOUT);
	/* Now the queue is full. */
	ck_assert_int_eq(tm_http_call(&request, &answer), -ETIMEDOUT);
	close(fd);
	unlink(address.sun_path);
	rmdir(dir);
}
END_TEST

/* It is blocked, until it has been waited for. */
static bool unblock(void *opaque)
{
	struct stage *stage = opaque;

	if (atomic_exchange(&stage->is_blocked, false))
		sem_post(&stage->go_on);
	return true;
}

START_TEST(who_is_patient_waits_for_a_silent_peer)
{
	struct tm_http_request request = {
		.method = "GET",
		.path = "/download",
		.sink = sink,
		.is_patient = unblock,
		.timeout_s = 1,
	};
	struct tm_http_answer answer;
	struct fixture f;

	open_fixture(&f, MANY);
	atomic_store(&f.stage.is_blocked, true);
	request.socket = f.path;
	request.opaque = &f.stage;
	ck_assert_int_eq(tm_http_call(&request, &answer), 0);
	ck_assert_int_eq(answer.status, 200);
	ck_assert(f.stage.is_right);
	ck_assert_uint_eq(f.stage.got, MANY);
	tm_http_free(&answer);
	close_fixture(&f);
}
END_TEST

int main(void)
{
	const int many = sizeof(sizes) / sizeof(sizes[0]);
	Suite *suite = suite_create("control streams");
	TCase *tcase = tcase_create("streams");

	tcase_add_loop_test(tcase, a_download_comes_whole, 0, many);
	tcase_add_loop_test(tcase, an_upload_goes_whole, 0, many);
	tcase_add_test(tcase, a_download_that_breaks_is_an_error);
	tcase_add_test(tcase, an_upload_that_is_refused_ends_early);
	tcase_add_loop_test(tcase, an_upload_that_is_not_wanted_is_told_so, 0,
			    2);
	tcase_add_test(tcase, an_upload_that_breaks_is_not_complete);
	tcase_add_test(tcase, a_download_nobody_wants_is_not_complete);
	tcase_add_test(tcase, a_stream_that_waits_holds_up_nobody);
	tcase_add_test(tcase, a_request_has_its_time);
	tcase_add_test(tcase, a_stream_takes_as_long_as_it_takes);
	tcase_add_test(tcase, who_never_asks_gives_way);
	tcase_add_test(tcase, who_does_not_answer_is_not_waited_for);
	tcase_add_test(tcase, who_is_patient_waits_for_a_silent_peer);
	suite_add_tcase(suite, tcase);
	return tm_test_run(suite);
}
