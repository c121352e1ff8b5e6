/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What `tmem migrate` makes of a source that ends its stream in one way or
 * another, and of a command that does not wait for that. There is no daemon:
 * tm_http_call() is ours (the linker's --wrap), and a source's silence takes no
 * time. So is poll(): what a command has left in its pipe is looked at when it
 * has read all that came, and the rest comes behind that look.
 */
#include <config.h>

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <tmem/save.h>

#include "control_client.h"
#include "test_store.h"

#define PAGES 300
/* For ever, to all who wait for it. */
#define EVER_MS 30000

enum stream_end {
	BREAKS_IN_ITS_MIDST,
	ENDS,
	BREAKS_BEHIND_ITS_END,
	STAYS_OPEN,
	COMES_LATE,
};

static struct {
	enum stream_end end;
	bool is_refused; /* the hand-over */
	uint8_t *bytes;
	size_t size;
	sem_t asked; /* for the hand-over */
	bool is_asked;
	sem_t looked_at; /* the pipe */
	sem_t sent; /* all of the stream, or it was not taken */
	sem_t ended; /* who reads the stream */
	pthread_key_t reader;
	bool is_waited_for; /* although it is over */
} source;

extern const struct tm_cli_verb tm_cli_migrate;

/* --- the source ---------------------------------------------------------- */

static void make_stream(void)
{
	struct tm_test_store t;
	struct tmem_save *save;
	ssize_t size;
	int pool;

	tm_test_begin(&t, UINT64_C(16) << 20);
	pool = tm_test_pool(t.client, TMEM_POOL_PERSISTENT);
	for (uint32_t i = 0; i < PAGES; i++)
		ck_assert_int_eq(
			tm_test_put(t.client, pool, 1, i, TM_PAGE_TEXT, i),
			TMEM_PUT_STORED);
	ck_assert_int_eq(tmem_save_open(t.client, 0, &save), 0);
	source.bytes = malloc(2 * PAGES * TMEM_PAGE_SIZE);
	ck_assert_ptr_nonnull(source.bytes);
	while ((size = tmem_save_read(save, source.bytes + source.size,
				      2 * PAGES * TMEM_PAGE_SIZE -
					      source.size)) > 0)
		source.size += (size_t)size;
	ck_assert_int_eq(size, 0);
	tmem_save_close(save);
	tm_test_end(&t);
}

static void wait_for(sem_t *semaphore)
{
	while (sem_wait(semaphore) && errno == EINTR)
		;
}

/* A connection on which nothing comes any more. */
static int stay_silent(const struct tm_http_request *request)
{
	for (int i = 0; i < EVER_MS; i++) {
		if (!request->is_patient(request->opaque))
			return -ETIMEDOUT;
		poll(NULL, 0, 1);
	}
	source.is_waited_for = true;
	return -ETIMEDOUT;
}

/* Its half is read by somebody who is content with that. */
static int send_late(const struct tm_http_request *request)
{
	size_t half = source.size / 2;
	int err = request->sink(request->opaque, source.bytes, half);

	wait_for(&source.looked_at);
	if (!err)
		err = request->sink(request->opaque, source.bytes + half,
				    source.size - half);
	sem_post(&source.sent);
	return err;
}

int __real_poll(struct pollfd *fds, nfds_t count, int timeout_ms);
int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout_ms);

int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout_ms)
{
	int found;

	if (source.end != COMES_LATE)
		return __real_poll(fds, count, timeout_ms);
	found = __real_poll(fds, count, 0);
	if (found)
		return found;
	sem_post(&source.looked_at);
	if (timeout_ms)
		return __real_poll(fds, count, timeout_ms);
	wait_for(&source.sent);
	return 0;
}

static int send_stream(const struct tm_http_request *request)
{
	bool breaks = source.end == BREAKS_IN_ITS_MIDST;
	size_t size = breaks ? source.size / 2 : source.size;
	int err;

	if (source.end == COMES_LATE)
		return send_late(request);
	err = request->sink(request->opaque, source.bytes, size);
	if (err)
		return err;
	if (breaks || source.end == BREAKS_BEHIND_ITS_END)
		return -ECONNRESET;
	wait_for(&source.asked);
	return source.end == ENDS ? 0 : stay_silent(request);
}

static void note_end(void *opaque)
{
	(void)opaque;
	sem_post(&source.ended);
}

/* A stream that breaks has done so, and its reader has said what it will. */
static void hand_over(struct tm_http_answer *answer)
{
	source.is_asked = true;
	if (source.is_refused)
		answer->status = 500;
	if (source.end == BREAKS_BEHIND_ITS_END)
		wait_for(&source.ended);
	sem_post(&source.asked);
}

int __wrap_tm_http_call(const struct tm_http_request *request,
			struct tm_http_answer *answer);

int __wrap_tm_http_call(const struct tm_http_request *request,
			struct tm_http_answer *answer)
{
	static const char text[] = "{\"name\": \"guest\", \"clients\": 1}";
	const char *step = strrchr(request->path, '/');
	int err = 0;

	*answer = (struct tm_http_answer){
		.status = 200,
		.text = strdup(text),
		.size = sizeof(text) - 1,
	};
	if (!strcmp(step, "/save?live=1")) {
		pthread_setspecific(source.reader, &source);
		err = send_stream(request);
	} else if (!strcmp(step, "/hand-over")) {
		hand_over(answer);
	}
	if (err)
		tm_http_free(answer);
	return err;
}

/* --- the tests ----------------------------------------------------------- */

static char said[4096];

/* Its status; what it says is in said. A command finds in HALF how many bytes
 * are half of the stream. */
static int migrate_to(const char *command, enum stream_end end)
{
	char to[80], half[24];
	char *argv[] = { (char *)"guest",
			 (char *)"--control",
			 (char *)"/none",
			 (char *)"--to",
			 to,
			 NULL };
	FILE *file = tmpfile();
	int old = dup(STDERR_FILENO), status;
	size_t size;

	ck_assert_ptr_nonnull(file);
	source.end = end;
	make_stream();
	snprintf(to, sizeof(to), "exec:%s", command);
	snprintf(half, sizeof(half), "%zu", source.size / 2);
	ck_assert_int_eq(setenv("HALF", half, 1), 0);
	sem_init(&source.asked, 0, 0);
	sem_init(&source.looked_at, 0, 0);
	sem_init(&source.sent, 0, 0);
	sem_init(&source.ended, 0, 0);
	ck_assert_int_eq(pthread_key_create(&source.reader, note_end), 0);
	dup2(fileno(file), STDERR_FILENO);
	status = tm_cli_migrate.run(&tm_cli_migrate, 5, argv);
	dup2(old, STDERR_FILENO);
	rewind(file);
	size = fread(said, 1, sizeof(said) - 1, file);
	said[size] = '\0';
	fclose(file);
	close(old);
	free(source.bytes);
	ck_assert(!source.is_waited_for);
	return status;
}

static int migrate(enum stream_end end)
{
	return migrate_to("cat >/dev/null", end);
}

START_TEST(what_comes_of_a_stream_behind_its_end_is_no_news)
{
	static const enum stream_end ends[] = { ENDS, BREAKS_BEHIND_ITS_END,
						STAYS_OPEN };

	ck_assert_int_eq(migrate(ends[_i]), TM_CLI_OK);
	ck_assert_str_eq(said, "");
}
END_TEST

START_TEST(who_is_refused_does_not_wait_for_the_stream_either)
{
	source.is_refused = true;
	ck_assert_int_eq(migrate(STAYS_OPEN), TM_CLI_FAILED);
	ck_assert_str_ne(said, "");
}
END_TEST

START_TEST(a_stream_that_breaks_in_its_midst_is_told_of)
{
	ck_assert_int_eq(migrate(BREAKS_IN_ITS_MIDST), TM_CLI_FAILED);
	ck_assert_msg(strstr(said, "before its answer was complete"), "%s",
		      said);
}
END_TEST

/* All that there was has been read, and the end has not. */
START_TEST(what_comes_behind_a_command_is_not_taken)
{
	ck_assert_int_eq(migrate_to("head -c $HALF >/dev/null", COMES_LATE),
			 TM_CLI_FAILED);
	ck_assert(!source.is_asked);
	ck_assert_msg(strstr(said, "ended without taking the client"), "%s",
		      said);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("migrate verb");
	TCase *tcase = tcase_create("stream");

	tcase_add_loop_test(
		tcase, what_comes_of_a_stream_behind_its_end_is_no_news, 0, 3);
	tcase_add_test(tcase,
		       who_is_refused_does_not_wait_for_the_stream_either);
	tcase_add_test(tcase, a_stream_that_breaks_in_its_midst_is_told_of);
	tcase_add_test(tcase, what_comes_behind_a_command_is_not_taken);
	suite_add_tcase(suite, tcase);
	return tm_test_run(suite);
}
