/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a peer of the ring server may try, and what must not come of it: each
 * test has a second peer that behaves, and whose pages must be there at the end.
 */
#include <config.h>

#include <dirent.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "harness.h"
#include "raw_peer.h"
#include "ring_host.h"

#define MIB (UINT64_C(1) << 20)
#define PERSISTENT TMEM_POOL_PERSISTENT

static struct ring_host host;
static struct raw_peer good, bad;
static int good_pool;

static void setup_host(void)
{
	ring_host_init(&host, 16 * MIB);
	ring_host_open(&host);
}

static void check_good(void)
{
	struct tm_ring_op get = raw_op(TM_RING_GET_PAGE, good_pool, 1, 1);

	memset(good.memory + TMEM_PAGE_SIZE, 0, TMEM_PAGE_SIZE);
	ck_assert_int_eq(raw_call(&good, &get, 0), TMEM_GET_HIT);
	ck_assert_uint_eq(good.memory[TMEM_PAGE_SIZE + 17], 0x5a);
}

static void setup(void)
{
	struct tm_ring_op put;

	setup_host();
	raw_init(&good, "good");
	ck_assert_int_eq(raw_attach(&good, host.socket), 0);
	good_pool = raw_pool(&good, PERSISTENT, 0);
	ck_assert_int_ge(good_pool, 0);
	memset(good.memory, 0x5a, TMEM_PAGE_SIZE);
	good.memory[0] = 1;
	put = raw_op(TM_RING_PUT_PAGE, good_pool, 1, 0);
	ck_assert_int_eq(raw_call(&good, &put, 0), TMEM_PUT_STORED);
	raw_init(&bad, "bad");
}

static void teardown_host(void)
{
	ring_host_close(&host);
}

static void teardown(void)
{
	check_good();
	raw_close(&bad);
	raw_close(&good);
	teardown_host();
}

static void attach_bad(void)
{
	ck_assert_int_eq(raw_attach(&bad, host.socket), 0);
}

/* The same peer again, at once: what is left of the one before is waited for, a
 * second; who is refused before is refused wrongly. */
static void come_back(void)
{
	uint64_t begin_ns, took_ns;
	int result;

	do {
		raw_close(&bad);
		raw_init(&bad, "bad");
		begin_ns = tm_clock_system_now_ns(NULL);
		result = raw_attach(&bad, host.socket);
		took_ns = tm_clock_system_now_ns(NULL) - begin_ns;
	} while (result == -EBUSY && took_ns >= UINT64_C(1000000000));
	ck_assert_int_eq(result, 0);
}

/* Within twenty seconds, which is long, on a busy machine too. */
static void wait_for_detach(unsigned attached)
{
	for (int i = 0; i < 20000 && host.attached > attached; i++)
		usleep(1000);
	ck_assert_uint_eq(host.attached, attached);
}

/* --- counters --------------------------------------------------------------- */

static const uint32_t garbage[] = { RAW_ENTRIES + 1, 1000, INT32_MAX,
				    0x80000000u, UINT32_MAX };

START_TEST(a_counter_that_cannot_be_ends_the_connection)
{
	attach_bad();
	raw_count(&bad, garbage[_i]);
	ck_assert(raw_is_dropped(&bad, 20000));
	wait_for_detach(1);
	ck_assert_uint_eq(host.warnings, 1);
}
END_TEST

START_TEST(a_counter_that_goes_back_ends_the_connection)
{
	attach_bad();
	for (int i = 0; i < 10; i++)
		ck_assert_int_ge(raw_pool(&bad, 0, 0), 0);
	raw_count(&bad, bad.submitted - 1);
	ck_assert(raw_is_dropped(&bad, 20000));
	wait_for_detach(1);
}
END_TEST

START_TEST(results_that_are_overwritten_mislead_nobody_else)
{
	int pool;

	attach_bad();
	pool = raw_pool(&bad, PERSISTENT, 0);
	for (uint32_t i = 0; i < 100; i++) {
		struct tm_ring_op counts = raw_op(TM_RING_COUNTS, pool, 0, 0);
		struct tm_ring_head *head = raw_head(&bad);
		volatile uint64_t *words = (volatile uint64_t *)bad.memory;

		*words = 0;
		raw_submit(&bad, &counts, 0);
		atomic_store(&head->completed.count, i * 77);
		atomic_store(&head->completed.sleeps, i);
		atomic_store(&head->completed.wake_at, ~i);
		memset(raw_completion(&bad, 0), (int)i,
		       RAW_ENTRIES * sizeof(struct tm_ring_completion));
		/* The only sign of an answer that is left; it may have gone to
		 * sleep just before its flag was overwritten. */
		for (int ms = 0; ms < 30000 && !*words; ms++) {
			raw_count(&bad, bad.submitted);
			usleep(1000);
		}
		ck_assert_uint_ne(*words, 0);
	}
	ck_assert(!raw_is_dropped(&bad, 10));
	/* Its own count was never read: it goes on from there. */
	ck_assert_int_eq(raw_pool(&bad, 0, 0), pool + 1);
}
END_TEST

START_TEST(holes_in_the_rings_hurt_their_peer_alone)
{
	int pool;

	attach_bad();
	pool = raw_pool(&bad, 0, 0);
	ck_assert_int_ge(pool, 0);
	ck_assert_int_eq(fallocate(bad.rings_fd,
				   FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				   0, (off_t)bad.welcome.ring_bytes), 0);
	/* Its counter is 0 now, and ours is not. */
	raw_count(&bad, 0);
	ck_assert(raw_is_dropped(&bad, 20000));
	wait_for_detach(1);
}
END_TEST

START_TEST(the_rings_keep_their_size)
{
	attach_bad();
	ck_assert_int_ne(ftruncate(bad.rings_fd, 0), 0);
	ck_assert_int_ne(ftruncate(bad.rings_fd, 1 << 20), 0);
	ck_assert_int_ne(fcntl(bad.rings_fd, F_ADD_SEALS, F_SEAL_WRITE), 0);
	ck_assert_int_ge(raw_pool(&bad, 0, 0), 0);
}
END_TEST

/* --- requests ---------------------------------------------------------------- */

static const uint32_t commands[] = {
	0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 101, 102, 0xffff, 0x10000,
	0x10001, 0x10002, 0x10003, INT32_MAX, 0x80000000u, UINT32_MAX
};
static const int32_t pools[] = { -1, 0, 1, 15, 16, 17, INT32_MIN, INT32_MAX };
static const uint64_t frames[] = {
	0, RAW_PAGES - 1, RAW_PAGES, UINT32_MAX, UINT64_C(1) << 51,
	UINT64_C(1) << 52, INT64_MAX, UINT64_C(1) << 63, UINT64_MAX
};
static const uint32_t flags[] = { 0, 1, 2, 3, 0x80000000u, UINT32_MAX };

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

START_TEST(no_field_of_a_request_can_do_harm)
{
	attach_bad();
	ck_assert_int_eq(raw_pool(&bad, _i & 1, 0), 0);
	for (size_t c = 0; c < COUNT(commands); c++)
		for (size_t p = 0; p < COUNT(pools); p++)
			for (size_t f = 0; f < COUNT(frames); f++) {
				struct tm_ring_op op =
					raw_op(commands[c], pools[p],
					       UINT32_MAX, frames[f]);
				int result;

				op.create.flags = flags[f % COUNT(flags)];
				result = raw_call(&bad, &op,
						  flags[(p + f) %
							COUNT(flags)]);
				ck_assert_int_ne(result, INT32_MIN);
				ck_assert_int_lt(result, TMEM_POOLS_MAX);
				if (frames[f] >= RAW_PAGES &&
				    (commands[c] == TM_RING_PUT_PAGE ||
				     commands[c] == TM_RING_GET_PAGE))
					ck_assert_int_lt(result, 0);
			}
	ck_assert(!raw_is_dropped(&bad, 0));
}
END_TEST

START_TEST(a_peer_has_pools_of_its_own_only)
{
	struct tm_ring_op op = raw_op(TM_RING_GET_PAGE, good_pool, 1, 0);

	attach_bad();
	ck_assert_int_eq(raw_call(&bad, &op, 0), -ENOENT);
	op.command = TM_RING_FLUSH_PAGE;
	ck_assert_int_eq(raw_call(&bad, &op, 0), -ENOENT);
	op.command = TM_RING_DESTROY_POOL;
	ck_assert_int_eq(raw_call(&bad, &op, 0), -ENOENT);
}
END_TEST

START_TEST(a_numbered_call_has_one_effect)
{
	struct tm_ring_op destroy = { .command = TM_RING_DESTROY_POOL,
				      .call = 8 };
	int pool;

	attach_bad();
	pool = raw_pool(&bad, PERSISTENT, 7);
	ck_assert_int_ge(pool, 0);
	ck_assert_int_eq(raw_pool(&bad, PERSISTENT, 7), pool);
	destroy.pool = pool;
	ck_assert_int_eq(raw_call(&bad, &destroy, 0), 0);
	ck_assert_int_eq(raw_call(&bad, &destroy, 0), 0);
	destroy.call = UINT64_MAX;
	ck_assert_int_eq(raw_call(&bad, &destroy, 0), -EINVAL);
	raw_close(&bad);
	wait_for_detach(1);
	raw_init(&bad, "bad");
	attach_bad();
	ck_assert_uint_eq(bad.welcome.call, 8);
}
END_TEST

START_TEST(a_page_that_was_taken_out_is_marked)
{
	struct tm_ring_op op = raw_op(TM_RING_PUT_PAGE, 0, 5, 2);
	struct tm_ring_completion *answer;

	attach_bad();
	ck_assert_int_eq(raw_pool(&bad, PERSISTENT, 0), 0);
	memset(bad.memory + 2 * TMEM_PAGE_SIZE, 0x33, TMEM_PAGE_SIZE);
	ck_assert_int_eq(raw_call(&bad, &op, 0), TMEM_PUT_STORED);
	op.command = TM_RING_GET_PAGE;
	op.frame = 3;
	ck_assert_int_eq(raw_call(&bad, &op, 0), TMEM_GET_HIT);
	answer = raw_completion(&bad, bad.submitted - 1);
	ck_assert_uint_eq(answer->flags, 0);
	ck_assert_uint_eq(answer->sequence, bad.submitted - 1);
	ck_assert_int_eq(raw_call(&bad, &op, TM_RING_REMOVE), TMEM_GET_HIT);
	ck_assert_uint_eq(raw_completion(&bad, bad.submitted - 1)->flags,
			  TM_RING_TAKEN);
	ck_assert_int_eq(raw_call(&bad, &op, TM_RING_REMOVE), TMEM_GET_MISS);
	ck_assert_uint_eq(raw_completion(&bad, bad.submitted - 1)->flags, 0);
	ck_assert_uint_eq(bad.memory[3 * TMEM_PAGE_SIZE + 99], 0x33);
}
END_TEST

/* --- its memory --------------------------------------------------------------- */

START_TEST(memory_that_shrinks_ends_the_connection)
{
	struct tm_ring_op put = raw_op(TM_RING_PUT_PAGE, 0, 5, 2);
	struct tm_ring_op get = raw_op(TM_RING_GET_PAGE, 0, 5, 2);

	attach_bad();
	ck_assert_int_eq(raw_pool(&bad, PERSISTENT, 0), 0);
	ck_assert_int_eq(raw_call(&bad, &put, 0), TMEM_PUT_STORED);
	ck_assert_int_eq(ftruncate(bad.memory_fd, 2 * TMEM_PAGE_SIZE), 0);
	raw_submit(&bad, _i ? &put : &get, 0);
	ck_assert(raw_is_dropped(&bad, 20000));
	wait_for_detach(1);
}
END_TEST

START_TEST(holes_read_as_zeros)
{
	struct tm_ring_op op = raw_op(TM_RING_PUT_PAGE, 0, 5, 2);

	attach_bad();
	ck_assert_int_eq(raw_pool(&bad, PERSISTENT, 0), 0);
	memset(bad.memory, 0x77, RAW_PAGES * TMEM_PAGE_SIZE);
	ck_assert_int_eq(fallocate(bad.memory_fd,
				   FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				   0, RAW_PAGES * TMEM_PAGE_SIZE), 0);
	ck_assert_int_eq(raw_call(&bad, &op, 0), TMEM_PUT_STORED);
	op.command = TM_RING_GET_PAGE;
	bad.memory[2 * TMEM_PAGE_SIZE] = 1;
	ck_assert_int_eq(raw_call(&bad, &op, 0), TMEM_GET_HIT);
	ck_assert_uint_eq(bad.memory[2 * TMEM_PAGE_SIZE], 0);
}
END_TEST

static void *scribble(void *opaque)
{
	_Atomic bool *stop = opaque;

	for (uint64_t i = 0; !*stop; i++) {
		memset(bad.memory + 2 * TMEM_PAGE_SIZE, (int)i & 0xff,
		       TMEM_PAGE_SIZE);
		if (i % 7)
			continue;
		fallocate(bad.memory_fd,
			  FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			  2 * TMEM_PAGE_SIZE, TMEM_PAGE_SIZE);
	}
	return NULL;
}

START_TEST(memory_that_changes_meanwhile_is_copied_once)
{
	struct tm_ring_op put = raw_op(TM_RING_PUT_PAGE, 0, 5, 2);
	struct tm_ring_op get = raw_op(TM_RING_GET_PAGE, 0, 5, 3);
	_Atomic bool stop = false;
	pthread_t thread;

	attach_bad();
	ck_assert_int_eq(raw_pool(&bad, PERSISTENT, 0), 0);
	pthread_create(&thread, NULL, scribble, &stop);
	for (int i = 0; i < 500; i++) {
		ck_assert_int_eq(raw_call(&bad, &put, 0), TMEM_PUT_STORED);
		/* Its check is of the copy, so it holds. */
		ck_assert_int_eq(raw_call(&bad, &get, 0), TMEM_GET_HIT);
	}
	stop = true;
	pthread_join(thread, NULL);
}
END_TEST

static bool has_mapping(const char *of)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	char line[512];
	bool has = false;

	ck_assert_ptr_nonnull(maps);
	while (fgets(line, sizeof(line), maps))
		has |= strstr(line, of) != NULL;
	fclose(maps);
	return has;
}

/* Its pages are huge, whether there are any or not: less than one, and all of
 * one. */
START_TEST(memory_of_huge_pages_is_given_back)
{
	int fd = memfd_create("huge-peer", MFD_CLOEXEC | MFD_HUGETLB);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) || ftruncate(fd, st.st_blksize)) {
		puts("no huge pages here");
		if (fd >= 0)
			close(fd);
		return;
	}
	close(bad.memory_fd);
	bad.memory_fd = fd;
	bad.hello.memory_bytes = _i ? (uint64_t)st.st_blksize : TMEM_PAGE_SIZE;
	attach_bad();
	ck_assert(has_mapping("memfd:huge-peer"));
	raw_close(&bad);
	wait_for_detach(1);
	/* It is let go of after that. */
	for (int i = 0; i < 30000 && has_mapping("memfd:huge-peer"); i++)
		usleep(1000);
	ck_assert(!has_mapping("memfd:huge-peer"));
	raw_init(&bad, "bad");
}
END_TEST

/* --- greetings ----------------------------------------------------------------- */

static void expect_refusal(int expected)
{
	ck_assert_int_eq(raw_attach(&bad, host.socket), expected);
	ck_assert(raw_is_dropped(&bad, 20000));
}

START_TEST(a_greeting_that_is_wrong_is_refused)
{
	struct tm_ring_hello *hello = &bad.hello;
	int expected = -EINVAL;

	switch (_i) {
	case 0:
		hello->magic++;
		expected = -EBADMSG;
		break;
	case 1:
		hello->version++;
		expected = -EPROTONOSUPPORT;
		break;
	case 2:
		hello->flags = 1;
		expected = -EPROTONOSUPPORT;
		break;
	case 3:
		hello->memory_bytes += TMEM_PAGE_SIZE;
		break;
	case 4:
		hello->memory_bytes -= 1;
		break;
	case 5:
		hello->memory_bytes = 0;
		break;
	case 6:
		hello->memory_bytes = UINT64_MAX - TMEM_PAGE_SIZE + 1;
		break;
	case 7:
		hello->rings = 0;
		break;
	case 8:
		hello->rings = UINT32_MAX;
		break;
	case 9:
		hello->entries = 3;
		break;
	case 10:
		hello->entries = 2 * TM_RING_ENTRIES_MAX;
		break;
	case 11:
		memset(hello->name, 'x', sizeof(hello->name));
		break;
	case 12:
		hello->name[1] = '\n';
		break;
	case 13:
		hello->name[0] = 0; /* the host refuses it */
		break;
	}
	expect_refusal(expected);
}
END_TEST

START_TEST(a_greeting_must_be_whole)
{
	char bytes[1000] = { 0 };

	memcpy(bytes, &bad.hello, sizeof(bad.hello));
	ck_assert_int_eq(raw_connect(&bad, host.socket), 0);
	raw_say(&bad, bytes, (size_t[]){ 1, 95, 97, 1000 }[_i], bad.memory_fd,
		1);
	ck_assert_int_eq(raw_listen(&bad), -EBADMSG);
	ck_assert(raw_is_dropped(&bad, 20000));
}
END_TEST

START_TEST(only_memory_is_taken_for_memory)
{
	char path[64];
	int fds[2] = { -1, -1 };
	int expected = -EINVAL;
	int fd = -1;

	switch (_i) {
	case 0: /* none */
		expected = -EBADF;
		break;
	case 1:
		ck_assert_int_eq(pipe(fds), 0);
		fd = fds[0];
		expected = -EACCES;
		break;
	case 2:
		fd = open("/dev/zero", O_RDWR | O_CLOEXEC);
		break;
	case 3:
		snprintf(path, sizeof(path), "/proc/self/fd/%d", bad.memory_fd);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		expected = -EACCES;
		break;
	case 4:
		fd = memfd_create("short", MFD_CLOEXEC);
		ck_assert_int_eq(ftruncate(fd, 4096), 0);
		break;
	case 5:
		fd = socket(AF_UNIX, SOCK_STREAM, 0);
		break;
	}
	ck_assert_int_eq(raw_connect(&bad, host.socket), 0);
	ck_assert_int_eq(raw_say(&bad, &bad.hello, sizeof(bad.hello), fd,
				 fd >= 0), 0);
	ck_assert_int_eq(raw_listen(&bad), expected);
	if (fd >= 0)
		close(fd);
	if (fds[1] >= 0)
		close(fds[1]);
}
END_TEST

static unsigned count_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned count = 0;

	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

/* A peer's are closed after it is detached. */
static void wait_for_descriptors(unsigned want)
{
	for (int i = 0; i < 20000 && count_descriptors() != want; i++)
		usleep(1000);
	ck_assert_uint_eq(count_descriptors(), want);
}

START_TEST(descriptors_too_many_are_closed)
{
	unsigned before = count_descriptors();

	for (int i = 0; i < 20; i++) {
		ck_assert_int_eq(raw_connect(&bad, host.socket), 0);
		raw_say(&bad, &bad.hello, sizeof(bad.hello), bad.memory_fd,
			1 + i % 15);
		raw_listen(&bad);
		if (bad.rings_fd >= 0)
			close(bad.rings_fd);
		if (bad.rings)
			munmap(bad.rings, bad.welcome.ring_bytes);
		close(bad.fd);
		bad.rings = NULL;
		bad.rings_fd = bad.fd = -1;
	}
	wait_for_detach(1);
	wait_for_descriptors(before);
}
END_TEST

/* --- crowds -------------------------------------------------------------------- */

START_TEST(a_thousand_connections_that_say_nothing_keep_nobody_out)
{
	struct rlimit files;
	struct raw_peer other;
	static int fds[1000];

	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max < 4096 ? files.rlim_max : 4096;
	setrlimit(RLIMIT_NOFILE, &files);
	for (int i = 0; i < 1000; i++) {
		ck_assert_int_eq(raw_connect(&bad, host.socket), 0);
		fds[i] = bad.fd;
	}
	raw_init(&other, "other");
	ck_assert_int_eq(raw_attach(&other, host.socket), 0);
	ck_assert_int_ge(raw_pool(&other, 0, 0), 0);
	for (int i = 0; i < 1000; i++)
		close(fds[i]);
	bad.fd = -1;
	raw_close(&other);
}
END_TEST

START_TEST(a_thousand_visits_leave_nothing_behind)
{
	unsigned before = count_descriptors();

	for (int i = 0; i < 1000; i++)
		come_back();
	raw_close(&bad);
	raw_init(&bad, "bad");
	wait_for_detach(1);
	wait_for_descriptors(before);
	ck_assert_uint_eq(host.attaches, 1001);
}
END_TEST

START_TEST(a_client_has_one_peer)
{
	struct raw_peer second;

	attach_bad();
	raw_init(&second, "bad");
	ck_assert_int_eq(raw_attach(&second, host.socket), -EBUSY);
	raw_close(&second);
	ck_assert_int_ge(raw_pool(&bad, 0, 0), 0);
}
END_TEST

START_TEST(a_silent_peer_is_sent_away)
{
	uint64_t begin_ns = tm_clock_system_now_ns(NULL);

	ck_assert_int_eq(raw_connect(&bad, host.socket), 0);
	ck_assert(raw_is_dropped(&bad, 20000));
	ck_assert_uint_ge(tm_clock_system_now_ns(NULL) - begin_ns,
			  UINT64_C(5000000000));
}
END_TEST

START_TEST(who_says_more_than_hello_is_dropped)
{
	attach_bad();
	ck_assert_int_eq((int)send(bad.fd, "x", 1, MSG_NOSIGNAL), 1);
	ck_assert(raw_is_dropped(&bad, 20000));
	wait_for_detach(1);
}
END_TEST

/* The server's thread sleeps on our word: we move it to another one. */
START_TEST(a_sleeper_that_is_moved_away_still_ends)
{
	struct tm_ring_head *head;
	long moved = 0;

	attach_bad();
	head = raw_head(&bad);
	/* It says so, and a little later it does. */
	for (int i = 0; i < 30000 && !moved; i++) {
		usleep(1000);
		moved = syscall(SYS_futex, &head->submitted.count,
				FUTEX_REQUEUE, 0, 100,
				&head->submitted.unused[0], 0);
	}
	ck_assert_int_eq(moved, 1);
	raw_close(&bad);
	wait_for_detach(1);
	raw_init(&bad, "bad");
}
END_TEST

/* How often a thread here has chosen where it may run, and where all of them
 * believe that they are: they move when they choose, and at no other time. */
static _Atomic int choices;
static _Atomic int believed = -1;

int __real_sched_getcpu(void);
int __wrap_sched_getcpu(void);
int __real_sched_setaffinity(pid_t pid, size_t size, const cpu_set_t *set);
int __wrap_sched_setaffinity(pid_t pid, size_t size, const cpu_set_t *set);

int __wrap_sched_getcpu(void)
{
	return believed < 0 ? __real_sched_getcpu() : believed;
}

int __wrap_sched_setaffinity(pid_t pid, size_t size, const cpu_set_t *set)
{
	choices++;
	for (int i = 0; i < CPU_SETSIZE && !CPU_ISSET(believed, set); i++)
		if (CPU_ISSET(i, set))
			believed = i;
	return __real_sched_setaffinity(pid, size, set);
}

/* Of a request of @peer, which says that it runs on @processor: where it was
 * answered. Processors as a line has them. */
static uint32_t answer_from(struct raw_peer *peer, uint32_t processor)
{
	const struct tm_ring_op op = raw_op(TM_RING_FLUSH_PAGE, good_pool, 9, 0);
	struct tm_ring_head *head = raw_head(peer);
	uint64_t end_ns = tm_clock_system_now_ns(NULL) + UINT64_C(20000000000);

	atomic_store(&head->submitted.processor, processor);
	raw_submit(peer, &op, 0);
	/* A ck_assert writes a message each time. */
	while (atomic_load(&head->completed.count) != peer->submitted)
		if (tm_clock_system_now_ns(NULL) >= end_ns)
			ck_abort_msg("no answer within twenty seconds");
	return atomic_load(&head->completed.processor);
}

/* Say what it may: this one always says that it runs where it was answered. */
START_TEST(a_ring_leaves_the_processor_that_it_shares_with_its_peer)
{
	uint32_t at;
	int moves = 0;

	believed = __real_sched_getcpu();
	at = answer_from(&good, 0);
	for (int i = 0; i < 3000; i++) {
		uint32_t before = at;

		at = answer_from(&good, at);
		moves += at != before;
	}
	/* After 16 requests, and after twice as many each time: away, and then
	 * anywhere. */
	ck_assert_int_ge(choices, 2 * 5);
	ck_assert_int_ge(moves, 5);
}
END_TEST

START_TEST(a_dropped_peer_is_told)
{
	attach_bad();
	for (int i = 0; i < RING_HOST_CLIENTS; i++)
		if (!strcmp(host.clients[i].name, "bad"))
			tm_ring_server_drop(host.server, &host.clients[i]);
	ck_assert(raw_is_dropped(&bad, 20000));
	wait_for_detach(1);
}
END_TEST

/* --- limits -------------------------------------------------------------------- */

START_TEST(limits_hold)
{
	struct raw_peer second;

	ring_host_init(&host, 16 * MIB);
	host.limits = (struct tm_ring_limits){
		.peers_max = 2,
		.rings_max = 3,
		.rings_per_peer_max = 2,
		.memory_per_peer_max_bytes = RAW_PAGES * TMEM_PAGE_SIZE,
	};
	ring_host_open(&host);
	raw_init(&good, "good");
	good.hello.rings = 8;
	ck_assert_int_eq(raw_attach(&good, host.socket), 0);
	ck_assert_uint_eq(good.welcome.rings, 2);
	raw_init(&bad, "bad");
	ck_assert_int_eq(ftruncate(bad.memory_fd, 1 << 20), 0);
	bad.hello.memory_bytes += TMEM_PAGE_SIZE;
	ck_assert_int_eq(raw_attach(&bad, host.socket), -EFBIG);
	raw_close(&bad);
	raw_init(&bad, "bad");
	bad.hello.rings = 8;
	ck_assert_int_eq(raw_attach(&bad, host.socket), 0);
	ck_assert_uint_eq(bad.welcome.rings, 1);
	raw_init(&second, "second");
	ck_assert_int_eq(raw_attach(&second, host.socket), -EUSERS);
	raw_close(&second);
	raw_close(&good);
	raw_close(&bad);
	ring_host_close(&host);
}
END_TEST

/* --- death --------------------------------------------------------------------- */

static void live_until_killed(void)
{
	struct tm_ring_op op;

	raw_init(&bad, "bad");
	bad.hello.rings = 4;
	while (raw_attach(&bad, host.socket) == -EBUSY)
		;
	raw_pool(&bad, 0, 0);
	for (uint32_t i = 0;; i++) {
		op = raw_op(i % 3 ? TM_RING_PUT_PAGE : TM_RING_GET_PAGE, 0,
			    i % 100, i % RAW_PAGES);
		bad.memory[i % RAW_PAGES * TMEM_PAGE_SIZE] = (uint8_t)i;
		raw_submit(&bad, &op, 0);
		while (bad.submitted -
			       atomic_load(&raw_head(&bad)->completed.count) >
		       RAW_ENTRIES - 1)
			;
	}
}

START_TEST(a_peer_that_is_killed_is_let_go_of)
{
	uint64_t seed = tm_test_seed();

	for (int round = 0; round < 40; round++) {
		unsigned before = host.attaches;
		pid_t child = fork();

		ck_assert_int_ge(child, 0);
		if (!child) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			live_until_killed();
		}
		while (host.attaches == before)
			usleep(100);
		usleep((useconds_t)tm_test_random(&seed) % 5000);
		ring_host_kill(child);
		wait_for_detach(1);
		check_good();
	}
}
END_TEST

static bool has_two_processors(void)
{
	cpu_set_t cpus;

	if (!sched_getaffinity(0, sizeof(cpus), &cpus) && CPU_COUNT(&cpus) > 1)
		return true;
	puts("one processor: no ring can leave it");
	return false;
}

static Suite *ring_suite(void)
{
	Suite *suite = suite_create("ring_hostile");
	TCase *tcase = tcase_create("peers");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_loop_test(tcase,
			    a_counter_that_cannot_be_ends_the_connection, 0,
			    COUNT(garbage));
	tcase_add_test(tcase, a_counter_that_goes_back_ends_the_connection);
	tcase_add_test(tcase, results_that_are_overwritten_mislead_nobody_else);
	tcase_add_test(tcase, holes_in_the_rings_hurt_their_peer_alone);
	tcase_add_test(tcase, the_rings_keep_their_size);
	tcase_add_loop_test(tcase, no_field_of_a_request_can_do_harm, 0, 2);
	tcase_add_test(tcase, a_peer_has_pools_of_its_own_only);
	tcase_add_test(tcase, a_numbered_call_has_one_effect);
	tcase_add_test(tcase, a_page_that_was_taken_out_is_marked);
	tcase_add_loop_test(tcase, memory_that_shrinks_ends_the_connection, 0,
			    2);
	tcase_add_test(tcase, holes_read_as_zeros);
	tcase_add_test(tcase, memory_that_changes_meanwhile_is_copied_once);
	tcase_add_loop_test(tcase, memory_of_huge_pages_is_given_back, 0, 2);
	tcase_add_loop_test(tcase, a_greeting_that_is_wrong_is_refused, 0, 14);
	tcase_add_loop_test(tcase, a_greeting_must_be_whole, 0, 4);
	tcase_add_loop_test(tcase, only_memory_is_taken_for_memory, 0, 6);
	tcase_add_test(tcase, descriptors_too_many_are_closed);
	tcase_add_test(tcase,
		       a_thousand_connections_that_say_nothing_keep_nobody_out);
	tcase_add_test(tcase, a_thousand_visits_leave_nothing_behind);
	tcase_add_test(tcase, a_client_has_one_peer);
	tcase_add_test(tcase, a_silent_peer_is_sent_away);
	tcase_add_test(tcase, who_says_more_than_hello_is_dropped);
	tcase_add_test(tcase, a_dropped_peer_is_told);
	tcase_add_test(tcase, a_peer_that_is_killed_is_let_go_of);
	suite_add_tcase(suite, tcase);
	tcase = tcase_create("sleeper");
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, a_sleeper_that_is_moved_away_still_ends);
	suite_add_tcase(suite, tcase);
	tcase = tcase_create("company");
	tcase_add_checked_fixture(tcase, setup, teardown);
	if (has_two_processors())
		tcase_add_test(
			tcase,
			a_ring_leaves_the_processor_that_it_shares_with_its_peer);
	suite_add_tcase(suite, tcase);
	tcase = tcase_create("limits");
	tcase_add_test(tcase, limits_hold);
	suite_add_tcase(suite, tcase);
	return suite;
}

int main(void)
{
	return tm_test_run(ring_suite());
}
