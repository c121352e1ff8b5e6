/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The agent's parts, without its loop: a state that is as large as it can be,
 * and a guest whose time is given.
 */
#include <config.h>

#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "agent.h"
#include "harness.h"
#include "qmp.h"

#define PATH "agent_state.test"
#define SOCKET "agent_monitor.test"
#define NS_PER_S UINT64_C(1000000000)
/* Of 20 digits in bytes. */
#define MANY_PAGES (UINT64_MAX / TM_PAGE_BYTES - 1)

/* --- the state ---------------------------------------------------------- */

/* One of which everything is known, and nothing could be written longer. */
static void fill_guest(struct tm_guest *guest, int number)
{
	memset(guest->config.name, 'x', TM_AGENT_NAME_SIZE - 1);
	snprintf(guest->config.name, 5, "%04d", number);
	guest->config.name[4] = 'x';
	guest->config.source = TM_SOURCE_CGROUP;
	guest->config.actuator = TM_ACTUATOR_CGROUP_HIGH;
	snprintf(guest->config.cgroup, sizeof(guest->config.cgroup), "/group%d",
		 number);
	guest->reading = (struct tm_guard_reading){
		.law.current_pages = MANY_PAGES,
		.law.max_pages = MANY_PAGES,
		.available_pages = MANY_PAGES,
	};
	guest->decision.goal_pages = MANY_PAGES;
	guest->decision.floor_pages = MANY_PAGES;
	guest->target_pages = MANY_PAGES - (uint64_t)number;
	guest->has_before = true;
	guest->before_pages = MANY_PAGES;
	guest->looks = guest->pressed = guest->untrusted = guest->targets =
		guest->refused = UINT64_MAX - 1;
}

static size_t count_lines(const char *text, const char *begin)
{
	size_t count = 0;

	for (const char *line = text; *line; line = strchr(line, '\n') + 1)
		count += !strncmp(line, begin, strlen(begin));
	return count;
}

START_TEST(largest_state_is_read)
{
	const size_t most = TM_AGENT_GUESTS_MAX;
	struct tm_guest *guests = calloc(most, sizeof(*guests));
	struct tm_balloon_guest *read = calloc(most + 1, sizeof(*read));
	char *text = NULL;

	ck_assert(guests && read);
	for (size_t i = 0; i < most; i++) {
		fill_guest(&guests[i], (int)i);
		guests[i].next = i + 1 < most ? &guests[i + 1] : NULL;
	}
	ck_assert_int_eq(tm_agent_state_write(PATH, guests), 0);
	ck_assert_int_eq(tm_balloon_state_read_file(PATH, 0, &text), 0);
	/* Nothing was left out but when it was written, which has no guest. */
	ck_assert_uint_eq(count_lines(text, "tmem_balloon_"),
			  (count_lines(text, "# TYPE") - 1) * most + 1);
	ck_assert_uint_eq(tm_balloon_state_parse(text, read, most + 1), most);
	for (size_t i = 0; i < most; i++) {
		ck_assert_str_eq(read[i].name, guests[i].config.name);
		ck_assert_uint_eq(read[i].target_bytes,
				  guests[i].target_pages * TM_PAGE_BYTES);
		ck_assert(read[i].has_before);
		/* As exact as a double is, and not the one before it. */
		ck_assert_uint_ne(read[i].place, 0);
		ck_assert_uint_lt(read[i].place, UINT64_C(1) << 53);
		ck_assert(!i || read[i].place != read[i - 1].place);
	}
	free(text);
	free(read);
	free(guests);
	unlink(PATH);
}
END_TEST

/* --- a guest of QEMU ----------------------------------------------------- */

static int listen_there(void)
{
	const struct sockaddr_un address = { AF_UNIX, SOCKET };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	ck_assert_int_ge(fd, 0);
	unlink(SOCKET); /* one that a failed test left */
	ck_assert_int_eq(bind(fd, (const struct sockaddr *)&address,
			      sizeof(address)),
			 0);
	ck_assert_int_eq(listen(fd, 1), 0);
	return fd;
}

/* Its monitor was not there at the first look, and is when it ends, before the
 * time of another attempt. */
START_TEST(guest_that_ends_is_connected_at_once)
{
	const struct tm_agent_guest_config config = {
		.name = "web",
		.source = TM_SOURCE_QMP,
		.actuator = TM_ACTUATOR_QMP,
		.qmp = SOCKET,
	};
	const struct tm_agent_log log = { TM_AGENT_ERROR };
	const struct tm_balloon_guest left = { .name = "web",
					       .target_bytes = 1 << 30 };
	struct tm_guest *guest = NULL;
	int fd, peer;

	ck_assert_int_eq(tm_guest_open(&config, &log, &left, NS_PER_S, &guest),
			 0);
	tm_guest_work(guest, NS_PER_S);
	ck_assert_uint_eq(guest->untrusted, 1);
	fd = listen_there();
	guest->end_ns = 4 * NS_PER_S;
	tm_guest_restore(guest, NS_PER_S + 1);
	peer = accept(fd, NULL, NULL);
	ck_assert_int_ge(peer, 0);
	ck_assert(tm_guest_is_busy(guest));
	tm_guest_close(guest);
	close(peer);
	close(fd);
	unlink(SOCKET);
}
END_TEST

static void say(int peer, const char *text)
{
	ck_assert_int_eq(write(peer, text, strlen(text)), strlen(text));
}

/* The next command that came gets @value. */
static void answer(int peer, int number, const char *value)
{
	char bytes[512];

	ck_assert_int_gt(read(peer, bytes, sizeof(bytes)), 0);
	snprintf(bytes, sizeof(bytes), "{\"return\": %s, \"id\": %d}\n",
		 value, number);
	say(peer, bytes);
}

static void turn(struct tm_guest *guest, uint64_t now_ns)
{
	struct pollfd fds[TM_GUEST_FDS_MAX];
	size_t count = guest->source->wait_for(guest, fds);

	ck_assert_int_eq(poll(fds, (nfds_t)count, 0), 1);
	guest->source->handle(guest, fds, count, now_ns);
}

/* The agent had no turn, and its time was over before it could tell. */
START_TEST(guest_that_is_told_late_is_waited_for)
{
	const struct tm_agent_guest_config config = {
		.name = "web",
		.source = TM_SOURCE_QMP,
		.actuator = TM_ACTUATOR_QMP,
		.qmp = SOCKET,
		.device = "b",
	};
	const struct tm_agent_log log = { TM_AGENT_ERROR };
	const struct tm_balloon_guest left = { .name = "web",
					       .target_bytes = 1 << 29 };
	const uint64_t end_ns = NS_PER_S + TM_GUEST_END_NS;
	const uint64_t late_ns = end_ns + NS_PER_S;
	int fd = listen_there(), peer;
	struct tm_guest *guest = NULL;

	ck_assert_int_eq(tm_guest_open(&config, &log, &left, NS_PER_S, &guest),
			 0);
	tm_guest_work(guest, NS_PER_S);
	peer = accept(fd, NULL, NULL);
	ck_assert_int_ge(peer, 0);
	say(peer, "{\"QMP\": {}}\n");
	turn(guest, NS_PER_S);
	answer(peer, 0, "{}"); /* qmp_capabilities */
	turn(guest, NS_PER_S);
	answer(peer, 1, "{}"); /* qom-set, for statistics */
	turn(guest, NS_PER_S);
	guest->end_ns = end_ns;
	tm_guest_restore(guest, NS_PER_S);
	tm_guest_work(guest, 2 * NS_PER_S);
	answer(peer, 2, "{\"actual\": 536870912}");
	turn(guest, 2 * NS_PER_S);
	answer(peer, 3, "{\"base-memory\": 1073741824}");
	turn(guest, 2 * NS_PER_S);
	answer(peer, 4, "{}"); /* statistics */
	turn(guest, late_ns);
	ck_assert(tm_guest_is_busy(guest));
	ck_assert_uint_gt(guest->end_ns, late_ns);
	answer(peer, 5, "{}"); /* balloon */
	turn(guest, late_ns);
	ck_assert(!tm_guest_is_busy(guest));
	tm_guest_close(guest);
	close(peer);
	close(fd);
	unlink(SOCKET);
}
END_TEST

static void ready(void *opaque, uint64_t now_ns)
{
	(void)opaque;
	(void)now_ns;
}

static void lost(void *opaque, const char *why)
{
	snprintf(opaque, 64, "%s", why);
}

enum hanging_up { AFTER_ALL, WITH_BYTES_UNREAD, BEFORE_A_COMMAND };

START_TEST(who_hangs_up_is_said_to_hang_up)
{
	char why[64] = "", bytes[256];
	const struct tm_qmp_handler handler = {
		.ready = ready, .lost = lost, .opaque = why
	};
	struct tm_qmp *qmp;
	int fd = listen_there(), peer;

	ck_assert_int_eq(tm_qmp_open(SOCKET, &handler, &qmp), 0);
	tm_qmp_connect(qmp, NS_PER_S);
	peer = accept(fd, NULL, NULL);
	ck_assert_int_ge(peer, 0);
	say(peer, "{\"QMP\": {}}\n");
	tm_qmp_handle(qmp, NS_PER_S);
	if (_i != WITH_BYTES_UNREAD) {
		ck_assert_int_gt(read(peer, bytes, sizeof(bytes)), 0);
		say(peer, "{\"return\": {}}\n");
		tm_qmp_handle(qmp, NS_PER_S);
		ck_assert(tm_qmp_is_idle(qmp));
	}
	close(peer);
	if (_i == BEFORE_A_COMMAND)
		tm_qmp_send(qmp, "query-balloon", NULL, NS_PER_S);
	else
		tm_qmp_handle(qmp, NS_PER_S);
	ck_assert_str_eq(why, "it hung up");
	tm_qmp_close(qmp);
	close(fd);
	unlink(SOCKET);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("agent");
	TCase *state = tcase_create("state");
	TCase *monitor = tcase_create("monitor");

	unlink(PATH);
	unlink(SOCKET);
	tcase_add_test(state, largest_state_is_read);
	suite_add_tcase(suite, state);
	tcase_add_test(monitor, guest_that_ends_is_connected_at_once);
	tcase_add_test(monitor, guest_that_is_told_late_is_waited_for);
	tcase_add_loop_test(monitor, who_hangs_up_is_said_to_hang_up, AFTER_ALL,
			    BEFORE_A_COMMAND + 1);
	suite_add_tcase(suite, monitor);
	return tm_test_run(suite);
}
