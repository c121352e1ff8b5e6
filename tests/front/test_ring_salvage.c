/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A connected client and a daemon that is made up: one that dies at exactly the
 * instant that matters, or says nonsense when it is greeted.
 *
 * A thread plays the daemon over ring_abi.h. It answers what it is asked to,
 * then hangs up, and greets the client again, while the test's own call waits.
 */
#include <config.h>

#include <poll.h>
#include <semaphore.h>
#include <sys/mman.h>

#include "doorbell.h"
#include "ring_abi.h"
#include "ring_host.h"
#include "test_store.h"

#define LIVES 3

/* What to do with one request. */
struct reply {
	uint32_t command;	/* that must come */
	int32_t result;
	bool is_taken;		/* mark it so, ... */
	bool is_counted;	/* ... and count it, or not */
	uint8_t fill;		/* of the page that is handed over; 0: none */
};

struct life {
	struct tm_ring_welcome welcome;
	bool has_rings;
	bool is_late;		/* answers when the client has hung up */
	struct reply replies[4];
	unsigned count;
};

struct actor {
	struct life lives[LIVES];
	unsigned count;
	char socket[64];
	int listener;
	pthread_t thread;
	unsigned timeout_ms;	/* of the client; 0: its default */
	_Atomic bool is_over;	/* it is about to leave */
	sem_t is_answered;	/* late */
	const char *wrong;
};

static struct actor actor;
static struct tmem_client *client;

struct scene {
	int fd;
	int memory_fd;
	uint8_t *rings;
	uint8_t *memory;
	size_t ring_bytes;
};

static void receive_hello(struct scene *scene, struct tm_ring_hello *hello)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov = { hello, sizeof(*hello) };
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1,
				  .msg_control = &control,
				  .msg_controllen = sizeof(control) };

	ring_host_must(recvmsg(scene->fd, &message, 0) == sizeof(*hello));
	memcpy(&scene->memory_fd, CMSG_DATA(CMSG_FIRSTHDR(&message)),
	       sizeof(int));
	scene->memory = mmap(NULL, hello->memory_bytes, PROT_READ | PROT_WRITE,
			     MAP_SHARED, scene->memory_fd, 0);
	ring_host_must(scene->memory != MAP_FAILED);
}

static void send_welcome(struct scene *scene, const struct life *life)
{
	struct tm_ring_welcome welcome = life->welcome;
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = { .bytes = { 0 } };
	struct iovec iov = { &welcome, sizeof(welcome) };
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };
	int fd = memfd_create("rings", MFD_CLOEXEC);

	scene->ring_bytes = tm_ring_bytes(32);
	ring_host_must(!ftruncate(fd, (off_t)scene->ring_bytes));
	scene->rings = mmap(NULL, scene->ring_bytes, PROT_READ | PROT_WRITE,
			    MAP_SHARED, fd, 0);
	if (life->has_rings) {
		message.msg_control = &control;
		message.msg_controllen = sizeof(control);
		control.align.cmsg_level = SOL_SOCKET;
		control.align.cmsg_type = SCM_RIGHTS;
		control.align.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&control.align), &fd, sizeof(int));
	}
	/* An impatient client may have gone. */
	ring_host_must(sendmsg(scene->fd, &message, MSG_NOSIGNAL) > 0 ||
		       errno == EPIPE);
	close(fd);
}

static bool has_request(struct scene *scene, uint32_t done)
{
	struct tm_ring_head *head = (struct tm_ring_head *)scene->rings;
	struct pollfd polled = { .fd = scene->fd, .events = POLLRDHUP };

	for (int i = 0; i < 300000; i++) {
		if (atomic_load(&head->submitted.count) != done)
			return true;
		if (poll(&polled, 1, 0) > 0)
			return false;
		usleep(100);
	}
	return false;
}

static void wait_for_hangup(const struct scene *scene)
{
	struct pollfd polled = { .fd = scene->fd, .events = POLLRDHUP };

	ring_host_must(poll(&polled, 1, 60000) == 1);
}

/* True: the daemon is to die now. */
static bool answer(struct scene *scene, uint32_t done,
		   const struct reply *reply)
{
	struct tm_ring_head *head = (struct tm_ring_head *)scene->rings;
	const struct tm_ring_submission *s =
		(const struct tm_ring_submission *)(scene->rings +
						    tm_ring_submissions_at()) +
		done % 32;
	struct tm_ring_completion *c =
		(struct tm_ring_completion *)(scene->rings +
					      tm_ring_completions_at(32)) +
		done % 32;

	if (s->op.command != reply->command)
		actor.wrong = "another command was expected";
	if (reply->fill)
		memset(scene->memory + s->op.frame * TMEM_PAGE_SIZE,
		       reply->fill, TMEM_PAGE_SIZE);
	c->sequence = done;
	c->result = reply->result;
	c->flags = reply->is_taken ? TM_RING_TAKEN : 0;
	if (!reply->is_counted)
		return true;
	atomic_store(&head->completed.count, done + 1);
	syscall(SYS_futex, &head->completed.count, FUTEX_WAKE, 1, NULL, NULL,
		0);
	return false;
}

/* Every client asks for its pools first. */
static uint32_t answer_set_up(struct scene *scene, unsigned life)
{
	const struct reply none = { TM_RING_POOL_INFO, -ENOENT, false, true,
				    0 };
	uint32_t done = 0;

	while (life == 0 && done < TMEM_POOLS_MAX && has_request(scene, done))
		answer(scene, done++, &none);
	return done;
}

/* False: the client gave up too early, or, in the last life, is to be back. */
static bool live(unsigned number)
{
	const struct life *life = &actor.lives[number];
	struct tm_ring_hello hello;
	struct scene scene = { 0 };
	bool is_lived = false;
	uint32_t done;

	scene.fd = accept(actor.listener, NULL, NULL);
	receive_hello(&scene, &hello);
	send_welcome(&scene, life);
	done = life->welcome.status ? 0 : answer_set_up(&scene, number);
	if (life->is_late)
		wait_for_hangup(&scene);
	for (unsigned i = 0; i < life->count; i++, done++) {
		if (!has_request(&scene, done))
			break;
		is_lived = true;
		if (answer(&scene, done, &life->replies[i]))
			break;
	}
	if (life->is_late && is_lived)
		sem_post(&actor.is_answered);
	/* The last life ends with its client. */
	if (number + 1 == actor.count) {
		has_request(&scene, done);
		is_lived = actor.is_over;
	}
	close(scene.memory_fd);
	close(scene.fd);
	return is_lived;
}

static void *act(void *opaque)
{
	(void)opaque;
	for (unsigned i = 0; i < actor.count; i++)
		while (!live(i) && actor.timeout_ms)
			;
	return NULL;
}

static int begin(unsigned lives)
{
	struct tmem_connect_config config;
	int result;

	actor.count = lives;
	snprintf(actor.socket, sizeof(actor.socket), "/tmp/tmem-actor-%d.sock",
		 (int)getpid());
	actor.listener = ring_host_listen(actor.socket);
	pthread_create(&actor.thread, NULL, act, NULL);
	tmem_connect_config_init(&config);
	config.socket = actor.socket;
	config.name = "client";
	config.rings = 1;
	if (actor.timeout_ms)
		config.timeout_ms = actor.timeout_ms;
	do
		result = tmem_connect(&config, &client);
	while (actor.timeout_ms && result == -ETIMEDOUT);
	return result;
}

static void end(void)
{
	actor.is_over = true;
	if (client)
		tmem_client_detach(client);
	pthread_join(actor.thread, NULL);
	close(actor.listener);
	unlink(actor.socket);
	ck_assert_msg(!actor.wrong, "%s", actor.wrong);
}

static void prepare(void)
{
	memset(&actor, 0, sizeof(actor));
	sem_init(&actor.is_answered, 0, 0);
	client = NULL;
	for (int i = 0; i < LIVES; i++)
		actor.lives[i] = (struct life){
			.welcome = { .magic = TM_RING_MAGIC,
				     .version = TM_RING_VERSION,
				     .ring_bytes = tm_ring_bytes(32),
				     .rings = 1,
				     .entries = 32 },
			.has_rings = true,
		};
}

static void reply(unsigned life, struct reply reply)
{
	struct life *l = &actor.lives[life];

	l->replies[l->count++] = reply;
}

static int take_page(uint8_t page[TMEM_PAGE_SIZE])
{
	struct tmem_oid oid = tm_oid(1);

	return tmem_get(client, 0, &oid, 1, page, TMEM_GET_REMOVE);
}

/* --- a page that was taken out ------------------------------------------------ */

START_TEST(a_page_that_a_dying_daemon_took_out_arrives)
{
	uint8_t page[TMEM_PAGE_SIZE] = { 0 };

	prepare();
	reply(0, (struct reply){ TM_RING_GET_PAGE, 1, true, false, 0x42 });
	/* It may have been removed, or not: once more. */
	reply(1, (struct reply){ TM_RING_FLUSH_PAGE, _i, false, true, 0 });
	ck_assert_int_eq(begin(2), 0);
	ck_assert_int_eq(take_page(page), TMEM_GET_HIT);
	for (size_t i = 0; i < sizeof(page); i++)
		ck_assert_uint_eq(page[i], 0x42);
	end();
}
END_TEST

START_TEST(a_page_survives_two_deaths)
{
	uint8_t page[TMEM_PAGE_SIZE] = { 0 };

	prepare();
	reply(0, (struct reply){ TM_RING_GET_PAGE, 1, true, false, 0x42 });
	reply(1, (struct reply){ TM_RING_FLUSH_PAGE, 1, false, false, 0 });
	reply(2, (struct reply){ TM_RING_FLUSH_PAGE, 0, false, true, 0 });
	ck_assert_int_eq(begin(3), 0);
	ck_assert_int_eq(take_page(page), TMEM_GET_HIT);
	ck_assert_uint_eq(page[100], 0x42);
	end();
}
END_TEST

START_TEST(a_page_that_was_not_taken_out_is_asked_for_again)
{
	uint8_t page[TMEM_PAGE_SIZE] = { 0 };

	prepare();
	/* The page had been written, but was not said to be there. */
	reply(0, (struct reply){ TM_RING_GET_PAGE, 1, false, false, 0x42 });
	reply(1, (struct reply){ TM_RING_GET_PAGE, _i, false, true, 0x43 });
	ck_assert_int_eq(begin(2), 0);
	ck_assert_int_eq(take_page(page), _i);
	if (_i == TMEM_GET_HIT)
		ck_assert_uint_eq(page[100], 0x43);
	end();
}
END_TEST

START_TEST(what_was_counted_is_not_sent_again)
{
	struct tmem_request requests[2];
	uint8_t page[TMEM_PAGE_SIZE] = { 0 };

	prepare();
	reply(0, (struct reply){ TM_RING_FLUSH_PAGE, 1, false, true, 0 });
	reply(0, (struct reply){ TM_RING_PUT_PAGE, 0, false, false, 0 });
	reply(1, (struct reply){ TM_RING_PUT_PAGE, 1, false, true, 0 });
	ck_assert_int_eq(begin(2), 0);
	requests[0] = (struct tmem_request){ .kind = TMEM_REQUEST_FLUSH_PAGE };
	requests[1] = (struct tmem_request){ .kind = TMEM_REQUEST_PUT,
					     .page = page };
	ck_assert_int_eq(tmem_batch(client, requests, 2), 0);
	ck_assert_int_eq(requests[0].result, 1);
	ck_assert_int_eq(requests[1].result, TMEM_PUT_STORED);
	end();
}
END_TEST

/* --- calls that were given up ----------------------------------------------- */

static struct tmem_request get_of(uint32_t index, uint8_t *page)
{
	return (struct tmem_request){
		.kind = TMEM_REQUEST_GET,
		.oid = tm_oid(1),
		.index = index,
		.page = page,
	};
}

/* Of several, more than calls that follow. */
START_TEST(a_late_answer_is_no_other_calls)
{
	const unsigned count = _i ? 3 : 1;
	uint8_t pages[3][TMEM_PAGE_SIZE] = { { 0 } };
	struct tmem_request requests[3];

	prepare();
	/* Where a second is too short for what is not late, it is tried again. */
	actor.timeout_ms = 1000;
	actor.lives[0].is_late = true;
	for (unsigned i = 0; i < count; i++) {
		reply(0, (struct reply){ TM_RING_GET_PAGE, 1, false, true,
					 0x42 });
		requests[i] = get_of(i, pages[i]);
	}
	reply(1, (struct reply){ TM_RING_GET_PAGE, 1, false, true, 0x43 });
	ck_assert_int_eq(begin(2), 0);
	ck_assert_int_eq(tmem_batch(client, requests, count), 0);
	for (unsigned i = 0; i < count; i++)
		ck_assert_int_eq(requests[i].result, -ETIMEDOUT);
	sem_wait(&actor.is_answered);
	requests[0] = get_of(9, pages[0]);
	do
		ck_assert_int_eq(tmem_batch(client, requests, 1), 0);
	while (requests[0].result == -ETIMEDOUT);
	ck_assert_int_eq(requests[0].result, TMEM_GET_HIT);
	ck_assert_uint_eq(pages[0][100], 0x43);
	for (unsigned i = 1; i < count; i++)
		ck_assert_uint_eq(pages[i][100], 0);
	end();
}
END_TEST

/* --- pools ---------------------------------------------------------------------- */

START_TEST(a_pool_is_made_with_the_same_number_again)
{
	prepare();
	actor.lives[0].welcome.call = 41;
	reply(0, (struct reply){ TM_RING_NEW_POOL, 0, false, false, 0 });
	reply(1, (struct reply){ TM_RING_NEW_POOL, 3, false, true, 0 });
	ck_assert_int_eq(begin(2), 0);
	ck_assert_int_eq(tmem_pool_create(client, TMEM_POOL_PERSISTENT, NULL),
			 3);
	end();
}
END_TEST

/* --- nonsense --------------------------------------------------------------------- */

START_TEST(a_welcome_that_is_wrong_is_an_error)
{
	struct tm_ring_welcome *welcome;
	int expected = -EPROTONOSUPPORT;

	prepare();
	welcome = &actor.lives[0].welcome;
	switch (_i) {
	case 0:
		welcome->magic++;
		break;
	case 1:
		welcome->version++;
		break;
	case 2:
		welcome->rings = 2;
		break;
	case 3:
		welcome->entries = 64;
		break;
	case 4:
		welcome->ring_bytes += 4096;
		break;
	case 5:
		actor.lives[0].has_rings = false;
		expected = -EPROTO;
		break;
	case 6:
		welcome->status = -EACCES;
		actor.lives[0].has_rings = false;
		expected = -EACCES;
		break;
	case 7:
		welcome->status = 5;
		actor.lives[0].has_rings = false;
		expected = -EPROTO;
		break;
	}
	actor.lives[0].count = 0;
	ck_assert_int_eq(begin(1), expected);
	end();
}
END_TEST

static Suite *salvage_suite(void)
{
	Suite *suite = suite_create("ring_salvage");
	TCase *tcase = tcase_create("death");

	tcase_add_loop_test(tcase, a_page_that_a_dying_daemon_took_out_arrives,
			    0, 2);
	tcase_add_test(tcase, a_page_survives_two_deaths);
	tcase_add_loop_test(tcase,
			    a_page_that_was_not_taken_out_is_asked_for_again, 0,
			    2);
	tcase_add_test(tcase, what_was_counted_is_not_sent_again);
	tcase_add_loop_test(tcase, a_late_answer_is_no_other_calls, 0, 2);
	tcase_add_test(tcase, a_pool_is_made_with_the_same_number_again);
	suite_add_tcase(suite, tcase);
	tcase = tcase_create("nonsense");
	tcase_add_loop_test(tcase, a_welcome_that_is_wrong_is_an_error, 0, 8);
	suite_add_tcase(suite, tcase);
	return suite;
}

int main(void)
{
	return tm_test_run(salvage_suite());
}
