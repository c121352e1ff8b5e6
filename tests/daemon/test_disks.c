/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The daemon's disks (src/daemon/disks.c), as they are taken over or end while
 * operators work on them. What a demotion writes, and how long that takes, is
 * for this test to say: tm_disk_demote() is its own (the linker's --wrap). So
 * is sendmsg(), to see what a successor finds when it is told something; and
 * sem_wait(), to see who waits.
 */
#include <config.h>

#include "daemon.h"
#include "harness.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <tmem/xen.h>

#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)
#define STEP_BYTES (16 * MIB)
#define NEVER_MS 30000

static struct tm_daemon tmemd;
static char directory[] = "/tmp/tmem-disks-XXXXXX";
static char error[1024];
static pthread_t operator;

/* What the disk would write. */
static uint64_t coldest_bytes;
static uint64_t largest_step_bytes;
static int failing_step; /* 0: none */
static int held_step; /* ends when that is so: */
static bool (*ends_step)(void);
static atomic_int steps;
static atomic_bool is_in_step;

/* --- what is not the disks' ---------------------------------------------- */

static bool are_held(void)
{
	char text[1024];

	return tm_disks_remove(tmemd.disks, "nobody", text, sizeof(text)) ==
	       -EBUSY;
}

/* Who removes the disk: from its first wait on, or when it is done. */
static __thread bool is_remover;
static atomic_bool is_remover_waiting;
static atomic_bool is_removed;

int __real_sem_wait(sem_t *semaphore);
int __wrap_sem_wait(sem_t *semaphore);

int __wrap_sem_wait(sem_t *semaphore)
{
	if (is_remover)
		atomic_store(&is_remover_waiting, true);
	return __real_sem_wait(semaphore);
}

static bool is_remover_on(void)
{
	return atomic_load(&is_remover_waiting) || atomic_load(&is_removed);
}

static void wait_in_step(void)
{
	for (int i = 0; i < NEVER_MS && !ends_step(); i++)
		poll(NULL, 0, 1);
}

int64_t __wrap_tm_disk_demote(struct tm_disk *disk, uint64_t bytes);

int64_t __wrap_tm_disk_demote(struct tm_disk *disk, uint64_t bytes)
{
	int step = atomic_fetch_add(&steps, 1) + 1;

	(void)disk;
	if (step == failing_step)
		return -EIO;
	atomic_store(&is_in_step, true);
	if (bytes > largest_step_bytes)
		largest_step_bytes = bytes;
	if (bytes > coldest_bytes)
		bytes = coldest_bytes;
	coldest_bytes -= bytes;
	if (step == held_step)
		wait_in_step();
	atomic_store(&is_in_step, false);
	return (int64_t)bytes;
}

/* What a successor is told. */
static int answers;
static bool were_held;

ssize_t __real_sendmsg(int fd, const struct msghdr *message, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags);

ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags)
{
	answers++;
	were_held = are_held();
	return __real_sendmsg(fd, message, flags);
}

/* Closing waits for requests under way. */
void __wrap_tm_control_close(struct tm_control *control);

void __wrap_tm_control_close(struct tm_control *control)
{
	(void)control;
	if (operator)
		pthread_join(operator, NULL);
}

/* --- a daemon that serves a disk ----------------------------------------- */

static void add_disk(void)
{
	const struct tm_complaint complaint = { error, sizeof(error) };
	struct tm_config_disk disk;
	char text[512];

	snprintf(text, sizeof(text),
		 "name=vm,socket=%s/vm,kind=swap,size=1G,backing=%s/file",
		 directory, directory);
	ck_assert_msg(!tm_config_disk_parse(text, &disk, &complaint), "%s",
		      error);
	ck_assert_msg(
		!tm_disks_add(tmemd.disks, &disk, NULL, error, sizeof(error)),
		"%s", error);
}

static void open_store(void)
{
	struct tmem_store_config config;
	struct tmem_xen_config xen;

	tmem_store_config_init(&config);
	config.memory_bytes = 16 * MIB;
	config.flags = TMEM_STORE_NO_LOCK | TMEM_STORE_NO_THREADS;
	ck_assert_int_eq(tmem_store_open(&config, &tmemd.store), 0);
	tmem_xen_config_init(&xen);
	xen.store = tmemd.store;
	ck_assert_int_eq(tmem_xen_open(&xen, &tmemd.xen), 0);
}

static void setup(void)
{
	static const char text[] = "[daemon]\nmemory = 16M\n";
	struct tm_disks_host host = { .opaque = &tmemd };

	ck_assert_ptr_nonnull(mkdtemp(directory));
	tm_lock_init(&tmemd.limit_lock, TM_RANK_LIMIT);
	ck_assert_int_eq(tm_daemon_log_open(TMEM_LOG_ERROR, &tmemd.log), 0);
	ck_assert_int_eq(tm_config_parse(text, sizeof(text) - 1, &tmemd.config,
					 error, sizeof(error)),
			 0);
	ck_assert_int_eq(tm_sockets_open(&tmemd.sockets), 0);
	open_store();
	ck_assert_int_eq(tm_registry_open(tmemd.store, tmemd.xen, tmemd.config,
					  &tmemd.registry),
			 0);
	host.registry = tmemd.registry;
	host.sockets = tmemd.sockets;
	ck_assert_int_eq(tm_disks_open(&host, &tmemd.disks), 0);
	add_disk();
}

static void teardown(void)
{
	static const char *const files[] = { "file", "vm.lock" };
	char path[128];

	if (tmemd.store)
		tm_engine_close(&tmemd);
	tm_sockets_close(tmemd.sockets, false);
	tm_config_free(tmemd.config);
	tm_daemon_log_close(tmemd.log);
	for (size_t i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "%s/%s", directory, files[i]);
		unlink(path);
	}
	rmdir(directory);
}

static int64_t demote(uint64_t bytes)
{
	*error = '\0';
	return tm_disks_demote(tmemd.disks, "vm", bytes, error, sizeof(error));
}

/* --- demotion ------------------------------------------------------------ */

START_TEST(a_demotion_goes_by_steps)
{
	coldest_bytes = 2 * GIB;
	ck_assert_int_eq(demote(100 * MIB), 100 * MIB);
	ck_assert_uint_eq(largest_step_bytes, STEP_BYTES);
	ck_assert_int_eq(demote(4096), 4096);
	coldest_bytes = 20 * MIB;
	ck_assert_int_eq(demote(INT64_MAX), 20 * MIB);
	/* A guest that fills it as fast. */
	coldest_bytes = UINT64_MAX;
	ck_assert_int_eq(demote(INT64_MAX), GIB);
	ck_assert_uint_eq(largest_step_bytes, STEP_BYTES);
}
END_TEST

START_TEST(a_demotion_that_fails_says_how_far_it_came)
{
	coldest_bytes = GIB;
	failing_step = 3;
	ck_assert_int_eq(demote(INT64_MAX), 2 * STEP_BYTES);
	failing_step = atomic_load(&steps) + 1;
	ck_assert_int_eq(demote(INT64_MAX), -EIO);
	ck_assert_ptr_nonnull(strstr(error, "vm"));
}
END_TEST

static int64_t demoted;

static void *demote_all(void *opaque)
{
	(void)opaque;
	demoted = demote(INT64_MAX);
	return NULL;
}

/* The operator's demotion is in its second step. */
static void begin_demotion(bool (*until)(void))
{
	coldest_bytes = GIB;
	held_step = 2;
	ends_step = until;
	ck_assert_int_eq(pthread_create(&operator, NULL, demote_all, NULL), 0);
	while (atomic_load(&steps) < held_step)
		poll(NULL, 0, 1);
}

START_TEST(who_takes_over_waits_for_a_step_at_most)
{
	begin_demotion(are_held);
	tm_disks_hold(tmemd.disks);
	ck_assert(!atomic_load(&is_in_step));
	pthread_join(operator, NULL);
	operator= 0;
	ck_assert_int_eq(demoted, 2 * STEP_BYTES);
	ck_assert_int_eq(demote(STEP_BYTES), -EBUSY);
	ck_assert_ptr_nonnull(strstr(error, "a successor"));
	tm_disks_go_on(tmemd.disks);
	ck_assert_int_eq(demote(STEP_BYTES), STEP_BYTES);
}
END_TEST

START_TEST(who_ends_waits_for_a_step_at_most)
{
	begin_demotion(are_held);
	tm_engine_close(&tmemd);
	ck_assert_int_eq(demoted, 2 * STEP_BYTES);
	operator= 0;
}
END_TEST

/* Which the host asks for. */
static void begin_press(bool (*until)(void))
{
	coldest_bytes = GIB;
	held_step = 1;
	ends_step = until;
	tm_disks_press(tmemd.disks, GIB);
	while (!atomic_load(&steps))
		poll(NULL, 0, 1);
}

START_TEST(a_press_is_over_before_a_takeover)
{
	begin_press(are_held);
	tm_disks_hold(tmemd.disks);
	ck_assert(!atomic_load(&is_in_step));
	ck_assert_uint_eq(coldest_bytes, GIB - STEP_BYTES);
}
END_TEST

/* When that is done, nothing is left of it. */
static void remove_disk(void)
{
	is_remover = true;
	ck_assert_int_eq(
		tm_disks_remove(tmemd.disks, "vm", error, sizeof(error)), 0);
	ck_assert(!atomic_load(&is_in_step));
	ck_assert_ptr_null(tm_registry_find(tmemd.registry, "vm"));
	atomic_store(&is_removed, true);
}

START_TEST(who_removes_a_disk_waits_for_a_press)
{
	begin_press(is_remover_on);
	remove_disk();
	ck_assert_uint_eq(coldest_bytes, GIB - STEP_BYTES);
}
END_TEST

START_TEST(who_removes_a_disk_waits_for_a_step_at_most)
{
	begin_demotion(is_remover_on);
	remove_disk();
	pthread_join(operator, NULL);
	operator= 0;
	ck_assert_int_eq(demoted, 2 * STEP_BYTES);
}
END_TEST

/* --- a takeover ---------------------------------------------------------- */

static int connect_to_daemon(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	socklen_t size = sizeof(address);

	ck_assert(!getsockname(tmemd.takeover_fd, (struct sockaddr *)&address,
			       &size));
	ck_assert(!connect(fd, (struct sockaddr *)&address, size));
	return fd;
}

START_TEST(who_is_refused_finds_the_disks_as_before)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int successor;

	tmemd.takeover_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	/* A name of the kernel's choice, in no file system. */
	ck_assert(!bind(tmemd.takeover_fd, (struct sockaddr *)&address,
			sizeof(address.sun_family)));
	ck_assert(!listen(tmemd.takeover_fd, 1));
	successor = connect_to_daemon();
	ck_assert_int_eq(send(successor, "x", 1, 0), 1);
	ck_assert(!tm_takeover_give(&tmemd));
	ck_assert_int_eq(answers, 1);
	ck_assert(!were_held);
	close(successor);
	close(tmemd.takeover_fd);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("disks");
	TCase *tcase = tcase_create("demotion");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, a_demotion_goes_by_steps);
	tcase_add_test(tcase, a_demotion_that_fails_says_how_far_it_came);
	tcase_add_test(tcase, who_takes_over_waits_for_a_step_at_most);
	tcase_add_test(tcase, who_ends_waits_for_a_step_at_most);
	tcase_add_test(tcase, a_press_is_over_before_a_takeover);
	tcase_add_test(tcase, who_removes_a_disk_waits_for_a_press);
	tcase_add_test(tcase, who_removes_a_disk_waits_for_a_step_at_most);
	suite_add_tcase(suite, tcase);
	tcase = tcase_create("takeover");
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, who_is_refused_finds_the_disks_as_before);
	suite_add_tcase(suite, tcase);
	return tm_test_run(suite);
}
