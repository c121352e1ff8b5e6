/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A client of a daemon's store, over the channel: the same answers as those of
 * a store in the process, and no error when the daemon dies and comes back.
 *
 * The daemon is a child of the test, so that it can be killed at any instant;
 * its arena is a file, so that what was acknowledged must be there again.
 */
#include <config.h>

#include <semaphore.h>
#include <stdarg.h>

#include "test_store.h"
#include "ring_host.h"
#include "clock.h"
#include "lock.h"
#include "ring_abi.h"

#define PERSISTENT TMEM_POOL_PERSISTENT
#define MEMORY_BYTES (64 * TM_MIB)

static struct ring_host host;
static char arena[64];
static pid_t daemon_pid;
static struct tmem_client *client;

static void start_daemon(void)
{
	daemon_pid = ring_host_fork(&host);
}

/* How often a client said that its daemon had gone, or come back. */
static _Atomic unsigned interruptions;

static void count_interruptions(void *opaque, enum tmem_log_level level,
				const char *text)
{
	(void)opaque;
	(void)level;
	(void)text;
	interruptions++;
}

static struct tmem_connect_config connect_config(const char *name,
						 uint32_t rings,
						 uint32_t timeout_ms)
{
	struct tmem_connect_config config;

	tmem_connect_config_init(&config);
	config.socket = host.socket;
	config.name = name;
	config.rings = rings;
	config.timeout_ms = timeout_ms;
	config.log = count_interruptions;
	return config;
}

static int try_connect(const char *name, uint32_t rings, uint32_t timeout_ms,
		       struct tmem_client **out)
{
	struct tmem_connect_config config =
		connect_config(name, rings, timeout_ms);

	return tmem_connect(&config, out);
}

/* The same client again, at once: the daemon may not have noticed yet that it has
 * gone. It waits for a ring's thread that still stands somewhere, a second; who
 * is refused before is refused wrongly. */
static void come_back(const struct tmem_connect_config *config)
{
	uint64_t begin_ns;
	int result;

	tmem_client_detach(client);
	do {
		begin_ns = tm_clock_system_now_ns(NULL);
		result = tmem_connect(config, &client);
	} while (result == -ETIMEDOUT ||
		 (result == -EBUSY && tm_clock_system_now_ns(NULL) - begin_ns >=
					      UINT64_C(1000000000)));
	ck_assert_int_eq(result, 0);
}

static void setup(void)
{
	ring_host_init(&host, MEMORY_BYTES);
	snprintf(arena, sizeof(arena), "/dev/shm/tmem-ring-%ld",
		 (long)getpid());
	unlink(arena);
	host.config.arena = arena;
	start_daemon();
	ck_assert_int_eq(try_connect("client", 4, 0, &client), 0);
}

static void teardown(void)
{
	tmem_client_detach(client);
	client = NULL;
	ring_host_kill(daemon_pid);
	unlink(arena);
	unlink(host.socket);
}

static void restart_daemon(void)
{
	ring_host_kill(daemon_pid);
	start_daemon();
}

/* --- the same answers --------------------------------------------------------- */

START_TEST(pages_come_back_over_the_channel)
{
	int pool = tm_test_pool(client, PERSISTENT);

	for (uint32_t i = 0; i < 500; i++)
		ck_assert_int_eq(tm_test_put(client, pool, i / 10, i,
					     i % TM_PAGE_KINDS, i),
				 TMEM_PUT_STORED);
	for (uint32_t i = 0; i < 500; i++)
		ck_assert_int_eq(tm_test_get(client, pool, i / 10, i,
					     i % TM_PAGE_KINDS, i),
				 TMEM_GET_HIT);
	ck_assert_int_eq(tm_test_put(client, pool, 0, 1, TM_PAGE_TEXT, 77),
			 TMEM_PUT_STORED);
	ck_assert_int_eq(tm_test_get(client, pool, 0, 1, TM_PAGE_TEXT, 77),
			 TMEM_GET_HIT);
	ck_assert_int_eq(tm_test_get(client, pool, 99, 1, TM_PAGE_TEXT, 77),
			 TMEM_GET_MISS);
}
END_TEST

START_TEST(flags_mean_the_same)
{
	struct tmem_oid oid = tm_oid(1);
	uint8_t page[TMEM_PAGE_SIZE] = { 1, 2 };
	int kept = tm_test_pool(client, PERSISTENT);
	int cache = tm_test_pool(client, 0);

	ck_assert_int_eq(tmem_put(client, kept, &oid, 0, page,
				  TMEM_PUT_UNSTABLE), TMEM_PUT_STORED);
	ck_assert_int_eq(tmem_put(client, kept, &oid, 0, page, 2), -EINVAL);
	ck_assert_int_eq(tmem_get(client, kept, &oid, 0, page, 2), -EINVAL);
	ck_assert_int_eq(tmem_get(client, kept, &oid, 0, page, 0),
			 TMEM_GET_HIT);
	ck_assert_int_eq(tmem_get(client, kept, &oid, 0, page,
				  TMEM_GET_REMOVE), TMEM_GET_HIT);
	ck_assert_int_eq(tmem_get(client, kept, &oid, 0, page, 0),
			 TMEM_GET_MISS);
	/* A private cache gives a page up once. */
	ck_assert_int_eq(tmem_put(client, cache, &oid, 0, page, 0),
			 TMEM_PUT_STORED);
	ck_assert_int_eq(tmem_get(client, cache, &oid, 0, page, 0),
			 TMEM_GET_HIT);
	ck_assert_int_eq(tmem_get(client, cache, &oid, 0, page, 0),
			 TMEM_GET_MISS);
	ck_assert_int_eq(tmem_put(client, cache, &oid, 0, page, 0),
			 TMEM_PUT_STORED);
	ck_assert_int_eq(tmem_get(client, cache, &oid, 0, page,
				  TMEM_GET_REMOVE), TMEM_GET_HIT);
	ck_assert_int_eq(tmem_get(client, cache, &oid, 0, page, 0),
			 TMEM_GET_MISS);
}
END_TEST

START_TEST(pools_answer_the_same)
{
	const struct tmem_uuid uuid = { { 1, 2 } }, none = { { 0, 0 } };
	struct tmem_pool_info info = { .struct_size = sizeof(info) };

	ck_assert_int_eq(tmem_pool_create(client, 0, NULL), 0);
	ck_assert_int_eq(tmem_pool_create(client, PERSISTENT, NULL), 1);
	ck_assert_int_eq(tmem_pool_create(client, 4, NULL), -EINVAL);
	ck_assert_int_eq(tmem_pool_create(client, 1 << 24, NULL), -EINVAL);
	ck_assert_int_eq(tmem_pool_create(client, 3, &uuid), -EPERM);
	ck_assert_int_eq(tmem_pool_create(client, 3, NULL), -EPERM);
	ck_assert_int_eq(tmem_pool_create(client, 0, &uuid), -EINVAL);
	ck_assert_int_eq(tmem_pool_create(client, TMEM_POOL_SHARED, NULL),
			 -EINVAL);
	ck_assert_int_eq(tmem_pool_create(client, TMEM_POOL_SHARED, &none),
			 -EINVAL);
	ck_assert_int_eq(tmem_pool_create(client, TMEM_POOL_SHARED, &uuid),
			 -EACCES);
	tm_test_put(client, 1, 5, 5, TM_PAGE_TEXT, 5);
	ck_assert_int_eq(tmem_pool_get_info(client, 1, &info), 0);
	ck_assert_uint_eq(info.flags, PERSISTENT);
	ck_assert_uint_eq(info.members, 1);
	ck_assert_uint_eq(info.pages, 1);
	ck_assert_uint_eq(info.objects, 1);
	ck_assert_int_eq(tmem_pool_get_info(client, 2, &info), -ENOENT);
	ck_assert_int_eq(tmem_pool_get_info(client, -1, &info), -ENOENT);
	ck_assert_int_eq(tmem_pool_destroy(client, 0), 0);
	ck_assert_int_eq(tmem_pool_destroy(client, 0), -ENOENT);
	ck_assert_int_eq(tmem_pool_destroy(client, 16), -ENOENT);
	ck_assert_int_eq(tmem_pool_create(client, PERSISTENT, NULL), 0);
	for (int i = 2; i < TMEM_POOLS_MAX; i++)
		ck_assert_int_eq(tmem_pool_create(client, 0, NULL), i);
	ck_assert_int_eq(tmem_pool_create(client, 0, NULL), -ENOSPC);
}
END_TEST

START_TEST(flushes_and_counts_answer_the_same)
{
	struct tmem_oid oid = tm_oid(5);
	int pool = tm_test_pool(client, PERSISTENT);
	struct tmem_counts counts;

	for (uint32_t i = 0; i < 10; i++)
		tm_test_put(client, pool, 5, i, TM_PAGE_TEXT, i);
	ck_assert_int_eq(tmem_flush_page(client, pool, &oid, 3), 1);
	ck_assert_int_eq(tmem_flush_page(client, pool, &oid, 3), 0);
	tm_test_get(client, pool, 5, 4, TM_PAGE_TEXT, 4);
	tm_test_get(client, pool, 5, 3, TM_PAGE_TEXT, 3);
	counts = tm_test_counts(client);
	ck_assert_uint_eq(counts.pages, 9);
	ck_assert_uint_eq(counts.puts, 10);
	ck_assert_uint_eq(counts.gets, 1);
	ck_assert_uint_eq(counts.gets_missed, 1);
	ck_assert_uint_eq(counts.flushes, 1);
	ck_assert_int_eq(tmem_flush_object(client, pool, &oid), 1);
	ck_assert_int_eq(tmem_flush_object(client, pool, &oid), 0);
	ck_assert_int_eq(tmem_flush_object(client, 7, &oid), -ENOENT);
}
END_TEST

START_TEST(what_only_an_owner_may_is_not_supported)
{
	struct tmem_client_info info = { .struct_size = sizeof(info) };
	struct tmem_client_config config;

	tmem_client_config_init(&config);
	ck_assert_int_eq(tmem_client_set(client, &config), -EOPNOTSUPP);
	ck_assert_int_eq(tmem_client_set_frozen(client, true), -EOPNOTSUPP);
	ck_assert_int_eq(tmem_client_get_info(client, &info), -EOPNOTSUPP);
	ck_assert_int_eq(tmem_client_destroy(client), -EOPNOTSUPP);
}
END_TEST

static struct tmem_request request(uint32_t kind, int pool, uint32_t index,
				   void *page)
{
	return (struct tmem_request){ .kind = kind, .pool = pool,
				      .index = index, .oid = tm_oid(1),
				      .page = page };
}

static void check_batch(struct tmem_client *over)
{
	static uint8_t in[100][TMEM_PAGE_SIZE], out[100][TMEM_PAGE_SIZE];
	struct tmem_request requests[303];
	int pool = tm_test_pool(over, PERSISTENT);

	for (uint32_t i = 0; i < 100; i++) {
		tm_page_fill(in[i], TM_PAGE_HEAP, i);
		requests[3 * i] = request(TMEM_REQUEST_PUT, pool, i, in[i]);
		requests[3 * i + 1] = request(TMEM_REQUEST_GET, pool, i,
					      out[i]);
		requests[3 * i + 2] = request(i % 2 ? TMEM_REQUEST_FLUSH_PAGE :
						      TMEM_REQUEST_GET,
					      pool, i, out[i]);
	}
	requests[300] = request(TMEM_REQUEST_FLUSH_OBJECT, pool, 0, NULL);
	requests[301] = request(TMEM_REQUEST_GET, pool, 2, out[2]);
	requests[302] = request(TMEM_REQUEST_GET, pool, 2, out[2]);
	requests[150].flags = 0x100;
	requests[302].flags = 0x100;
	ck_assert_int_eq(tmem_batch(over, requests, 303), 0);
	for (uint32_t i = 0; i < 300; i++)
		ck_assert_int_eq(requests[i].result,
				 i == 150 ? -EINVAL :
				 i == 151 || i == 152 ? 0 : 1);
	ck_assert_int_eq(requests[300].result, 1);
	ck_assert_int_eq(requests[301].result, TMEM_GET_MISS);
	ck_assert_int_eq(requests[302].result, -EINVAL);
	for (uint32_t i = 0; i < 100; i++)
		if (i != 50)
			ck_assert_mem_eq(in[i], out[i], TMEM_PAGE_SIZE);
	requests[1].kind = 9;
	ck_assert_int_eq(tmem_batch(over, requests, 2), -EINVAL);
	ck_assert_int_eq(tmem_batch(over, requests, 0), 0);
}

START_TEST(a_batch_is_its_calls_in_order)
{
	struct tm_test_store embedded;

	check_batch(client);
	tm_test_begin(&embedded, 16 * TM_MIB);
	check_batch(embedded.client);
	tm_test_end(&embedded);
}
END_TEST

/* --- who may connect ------------------------------------------------------------ */

START_TEST(connecting_says_what_is_wrong)
{
	struct tmem_connect_config config;
	struct tmem_client *other;
	char name[80];

	memset(name, 'n', sizeof(name));
	name[64] = 0;
	ck_assert_int_eq(try_connect("client", 1, 0, &other), -EBUSY);
	ck_assert_int_eq(try_connect(name, 1, 0, &other), -EINVAL);
	ck_assert_int_eq(try_connect("", 1, 0, &other), -EINVAL);
	tmem_connect_config_init(&config);
	config.socket = "/nonexistent/socket";
	ck_assert_int_eq(tmem_connect(&config, &other), -ENOENT);
	config.struct_size = 8;
	ck_assert_int_eq(tmem_connect(&config, &other), -EINVAL);
	ck_assert_int_eq(tmem_connect(NULL, NULL), -EINVAL);
	ring_host_kill(daemon_pid);
	ck_assert_int_eq(try_connect("other", 1, 0, &other), -ECONNREFUSED);
	start_daemon();
}
END_TEST

static struct tmem_client *newcomer;

static void *connect_newcomer(void *opaque)
{
	*(int *)opaque = try_connect("newcomer", 1, 0, &newcomer);
	return NULL;
}

/* In a daemon's place: hears what visitors have to say, and closes. */
static void hang_up_on(int listener, int visitors)
{
	struct tm_ring_hello hello;

	while (visitors--) {
		int visitor = accept(listener, NULL, NULL);

		ck_assert_int_ge(visitor, 0);
		ck_assert_int_gt(recv(visitor, &hello, sizeof(hello), 0), 0);
		/* Nobody waits there when it closes. */
		if (!visitors)
			close(listener);
		close(visitor);
	}
}

/* As if it were killed while it is greeted, and started again. */
START_TEST(a_daemon_that_goes_at_the_first_word_is_waited_for)
{
	pthread_t thread;
	int listener, result = 1;

	ring_host_kill(daemon_pid);
	listener = ring_host_listen(host.socket);
	ck_assert_int_eq(pthread_create(&thread, NULL, connect_newcomer,
					&result),
			 0);
	hang_up_on(listener, _i);
	start_daemon();
	pthread_join(thread, NULL);
	ck_assert_int_eq(result, _i < 3 ? 0 : -ECONNRESET);
	if (!result)
		tmem_client_detach(newcomer);
}
END_TEST

START_TEST(pages_stay_when_a_client_leaves)
{
	const struct tmem_connect_config config = connect_config("client", 1, 0);
	int pool = tm_test_pool(client, PERSISTENT);

	tm_test_put(client, pool, 1, 1, TM_PAGE_TEXT, 1);
	come_back(&config);
	ck_assert_int_eq(tm_test_get(client, pool, 1, 1, TM_PAGE_TEXT, 1),
			 TMEM_GET_HIT);
	ck_assert_int_eq(tmem_pool_create(client, 0, NULL), pool + 1);
}
END_TEST

START_TEST(a_forked_child_must_not_call)
{
	struct tmem_oid oid = tm_oid(1);
	int pool = tm_test_pool(client, PERSISTENT);
	pid_t child = fork();
	int status;

	if (!child) {
		int result = tmem_flush_page(client, pool, &oid, 1);

		tmem_client_detach(client);
		_exit(result == -EOWNERDEAD ? 0 : 1);
	}
	waitpid(child, &status, 0);
	ck_assert_int_eq(status, 0);
	ck_assert_int_eq(tm_test_put(client, pool, 1, 1, TM_PAGE_TEXT, 1),
			 TMEM_PUT_STORED);
}
END_TEST

/* --- threads --------------------------------------------------------------------- */

struct worker {
	pthread_t thread;
	uint32_t number;
	uint32_t rounds;
	int pool;
	int cache;
	_Atomic bool *stop;
	uint32_t done;
	bool is_wrong;
};

static int put_number(const struct worker *w, uint32_t index, uint64_t number)
{
	return tm_test_put(client, w->pool, w->number, index, TM_PAGE_HEAP,
			   number);
}

/* Puts, gets, replaces, takes out: its own object's pages, so that it knows
 * what must be there. */
static void work_round(struct worker *w, uint32_t round)
{
	uint32_t index = round % 50;
	uint64_t number = (uint64_t)round << 8 | w->number;

	w->is_wrong |= put_number(w, index, number) != TMEM_PUT_STORED;
	w->is_wrong |= tm_test_get(client, w->pool, w->number, index,
				   TM_PAGE_HEAP, number) != TMEM_GET_HIT;
	if (round % 3)
		return;
	w->is_wrong |= tm_test_get_flags(client, w->pool, w->number, index,
					 TM_PAGE_HEAP, number,
					 TMEM_GET_REMOVE) != TMEM_GET_HIT;
	w->is_wrong |= tm_test_get(client, w->pool, w->number, index,
				   TM_PAGE_HEAP, number) != TMEM_GET_MISS;
	w->is_wrong |= put_number(w, index, number + 1) != TMEM_PUT_STORED;
	w->is_wrong |= tm_test_put(client, w->cache, w->number, index,
				   TM_PAGE_TEXT, number) < 0;
	w->is_wrong |= tm_test_get(client, w->cache, w->number, index,
				   TM_PAGE_TEXT, number) < 0;
	w->is_wrong |= tm_test_get(client, w->pool, w->number, index,
				   TM_PAGE_HEAP, number + 1) != TMEM_GET_HIT;
}

/* How many rounds of calls have been done, by whomever. */
static _Atomic unsigned progress;

static void *work(void *opaque)
{
	struct worker *w = opaque;

	while (!w->is_wrong && !(w->stop && *w->stop) &&
	       (!w->rounds || w->done < w->rounds)) {
		work_round(w, w->done++);
		progress++;
	}
	return NULL;
}

#define WORKERS 6

static void start_workers(struct worker w[WORKERS], uint32_t rounds,
			  _Atomic bool *stop)
{
	int pool = tm_test_pool(client, PERSISTENT);
	int cache = tm_test_pool(client, 0);

	for (uint32_t i = 0; i < WORKERS; i++) {
		w[i] = (struct worker){ .number = i, .rounds = rounds,
					.pool = pool, .cache = cache,
					.stop = stop };
		pthread_create(&w[i].thread, NULL, work, &w[i]);
	}
}

static void join_workers(struct worker w[WORKERS])
{
	for (uint32_t i = 0; i < WORKERS; i++) {
		pthread_join(w[i].thread, NULL);
		ck_assert_msg(!w[i].is_wrong, "worker %u, round %u", i,
			      w[i].done);
	}
}

/* More of them than rings. */
START_TEST(threads_do_not_mix_up_their_answers)
{
	struct worker w[WORKERS];

	start_workers(w, 300, NULL);
	join_workers(w);
}
END_TEST

#ifndef __SANITIZE_THREAD__
/* Kills the daemon at random and starts it again, until it is stopped. Where no
 * life is long enough for a round, on a busy machine, they become longer. */
struct chaos {
	pthread_t thread;
	uint64_t seed;
	uint32_t pause_us_max;
	_Atomic bool stop;
	_Atomic uint32_t deaths;
};

static void *make_chaos(void *opaque)
{
	struct chaos *chaos = opaque;
	uint32_t pause_us_max = chaos->pause_us_max;

	while (!chaos->stop) {
		unsigned before = progress;

		usleep((useconds_t)(tm_test_random(&chaos->seed) %
				    pause_us_max));
		restart_daemon();
		chaos->deaths++;
		if (progress != before)
			pause_us_max = chaos->pause_us_max;
		else if (pause_us_max < 5000000)
			pause_us_max *= 2;
	}
	return NULL;
}

static void start_chaos(struct chaos *chaos, uint32_t pause_us_max)
{
	*chaos = (struct chaos){ .seed = tm_test_seed(),
				 .pause_us_max = pause_us_max };
	pthread_create(&chaos->thread, NULL, make_chaos, chaos);
}

static void end_chaos(struct chaos *chaos)
{
	chaos->stop = true;
	pthread_join(chaos->thread, NULL);
	/* The last one died with the thread that was its parent. */
	restart_daemon();
}
#endif

/* --- when the daemon dies ---------------------------------------------------------- */

START_TEST(persistent_pages_outlive_the_daemon)
{
	int pool = tm_test_pool(client, PERSISTENT);

	for (uint32_t i = 0; i < 100; i++)
		tm_test_put(client, pool, 1, i, i % TM_PAGE_KINDS, i);
	restart_daemon();
	for (uint32_t i = 0; i < 100; i++)
		ck_assert_int_eq(tm_test_get(client, pool, 1, i,
					     i % TM_PAGE_KINDS, i),
				 TMEM_GET_HIT);
}
END_TEST

START_TEST(ephemeral_pools_are_there_again_and_empty)
{
	struct tmem_pool_info info = { .struct_size = sizeof(info) };
	int kept = tm_test_pool(client, PERSISTENT);
	int ended = tm_test_pool(client, 0);
	int cache = tm_test_pool(client, 0);

	tm_test_put(client, cache, 1, 1, TM_PAGE_TEXT, 1);
	ck_assert_int_eq(tmem_pool_destroy(client, ended), 0);
	restart_daemon();
	ck_assert_int_eq(tm_test_get(client, cache, 1, 1, TM_PAGE_TEXT, 1),
			 TMEM_GET_MISS);
	ck_assert_int_eq(tm_test_put(client, cache, 1, 1, TM_PAGE_TEXT, 2),
			 TMEM_PUT_STORED);
	ck_assert_int_eq(tmem_pool_get_info(client, kept, &info), 0);
	ck_assert_int_eq(tmem_pool_get_info(client, ended, &info), -ENOENT);
	ck_assert_int_eq(tmem_pool_create(client, 0, NULL), ended);
	restart_daemon();
	ck_assert_int_eq(tmem_pool_destroy(client, cache), 0);
	ck_assert_int_eq(tmem_pool_create(client, PERSISTENT, NULL), cache);
}
END_TEST

START_TEST(shared_pools_are_joined_again)
{
	const struct tmem_uuid uuid = { { 5, 6 } };
	struct tmem_pool_info info = { .struct_size = sizeof(info) };

	ring_host_kill(daemon_pid);
	host.config.flags |= TMEM_STORE_SHARED_OPEN;
	start_daemon();
	ck_assert_int_eq(tm_test_pool(client, 0), 0);
	ck_assert_int_eq(tmem_pool_create(client, TMEM_POOL_SHARED, &uuid), 1);
	ck_assert_int_eq(tmem_pool_create(client, TMEM_POOL_SHARED, &uuid),
			 -EEXIST);
	ck_assert_int_eq(tmem_pool_destroy(client, 0), 0);
	restart_daemon();
	ck_assert_int_eq(tm_test_put(client, 1, 1, 1, TM_PAGE_TEXT, 1),
			 TMEM_PUT_STORED);
	ck_assert_int_eq(tmem_pool_get_info(client, 1, &info), 0);
	ck_assert_uint_eq(info.flags, TMEM_POOL_SHARED);
	ck_assert_uint_eq(info.uuid.word[1], 6);
	ck_assert_int_eq(tmem_pool_get_info(client, 0, &info), -ENOENT);
}
END_TEST

#ifndef __SANITIZE_THREAD__
START_TEST(clients_go_on_when_the_daemon_is_killed_at_random)
{
	_Atomic bool stop = false;
	struct worker w[WORKERS];
	struct chaos chaos;

	start_workers(w, 0, &stop);
	start_chaos(&chaos, 30000);
	sleep(2);
	end_chaos(&chaos);
	usleep(100000);
	stop = true;
	join_workers(w);
	ck_assert_uint_gt(interruptions, 0);
}
END_TEST

START_TEST(pools_are_made_once_while_the_daemon_is_killed)
{
	struct tmem_pool_info info = { .struct_size = sizeof(info) };
	struct chaos chaos;

	start_chaos(&chaos, 5000);
	for (int i = 0; i < 300 || chaos.deaths < 20; i++) {
		int pool = tmem_pool_create(client, i & 1 ? PERSISTENT : 0,
					    NULL);

		ck_assert_int_eq(pool, 0);
		ck_assert_int_eq(tmem_pool_get_info(client, 1, &info), -ENOENT);
		ck_assert_int_eq(tmem_pool_get_info(client, 0, &info), 0);
		ck_assert_int_eq(tmem_pool_destroy(client, pool), 0);
		progress++;
	}
	end_chaos(&chaos);
}
END_TEST

#endif

static void stop_daemon(void)
{
	ring_host_kill(daemon_pid);
}

/* From here on calls are given up after a second. What is to succeed is done
 * before, or tried again: how long that takes is the machine's to say. */
static void become_impatient(void)
{
	const struct tmem_connect_config config =
		connect_config("client", 2, 1000);

	come_back(&config);
}

static int get_text(int pool, uint64_t object, uint32_t index, uint64_t number)
{
	int result;

	do
		result = tm_test_get(client, pool, object, index, TM_PAGE_TEXT,
				     number);
	while (result == -ETIMEDOUT);
	return result;
}

START_TEST(a_put_that_timed_out_leaves_nothing)
{
	struct tmem_oid oid = tm_oid(1);
	int pool = tm_test_pool(client, PERSISTENT);

	for (uint32_t i = 0; i < 5; i++)
		tm_test_put(client, pool, i < 4 ? 1 : 2, i, TM_PAGE_TEXT, i);
	become_impatient();
	stop_daemon();
	ck_assert_int_eq(tm_test_put(client, pool, 1, 0, TM_PAGE_TEXT, 9),
			 -ETIMEDOUT);
	ck_assert_int_eq(tmem_flush_page(client, pool, &oid, 1), -ETIMEDOUT);
	oid = tm_oid(2);
	ck_assert_int_eq(tmem_flush_object(client, pool, &oid), -ETIMEDOUT);
	ck_assert_int_eq(tm_test_get(client, pool, 1, 2, TM_PAGE_TEXT, 2),
			 -ETIMEDOUT);
	start_daemon();
	for (uint32_t i = 0; i < 5; i++)
		ck_assert_int_eq(get_text(pool, i < 4 ? 1 : 2, i, i),
				 i == 2 || i == 3 ? TMEM_GET_HIT :
						    TMEM_GET_MISS);
}
END_TEST

START_TEST(a_daemon_that_hangs_is_given_up_and_found_again)
{
	int pool = tm_test_pool(client, PERSISTENT);

	tm_test_put(client, pool, 1, 1, TM_PAGE_TEXT, 1);
	tm_test_put(client, pool, 1, 2, TM_PAGE_TEXT, 2);
	become_impatient();
	kill(daemon_pid, SIGSTOP);
	waitpid(daemon_pid, NULL, WUNTRACED);
	ck_assert_int_eq(tm_test_get(client, pool, 1, 1, TM_PAGE_TEXT, 1),
			 -ETIMEDOUT);
	ck_assert_int_eq(tm_test_put(client, pool, 1, 2, TM_PAGE_TEXT, 3),
			 -ETIMEDOUT);
	kill(daemon_pid, SIGCONT);
	/* Its late answer to the first get is not one to this. */
	ck_assert_int_eq(get_text(pool, 1, 2, 2), TMEM_GET_MISS);
	ck_assert_int_eq(get_text(pool, 1, 1, 1), TMEM_GET_HIT);
}
END_TEST

/* Nor are those to a batch: there are more of them than calls that follow. */
START_TEST(a_batch_that_timed_out_answers_nobody)
{
	static uint8_t page[32][TMEM_PAGE_SIZE];
	struct tmem_request requests[32];
	int pool = tm_test_pool(client, PERSISTENT);

	for (uint32_t i = 0; i < 33; i++)
		tm_test_put(client, pool, 1, i, TM_PAGE_TEXT, i);
	become_impatient();
	kill(daemon_pid, SIGSTOP);
	waitpid(daemon_pid, NULL, WUNTRACED);
	for (uint32_t i = 0; i < 32; i++)
		requests[i] = request(TMEM_REQUEST_GET, pool, i, page[i]);
	ck_assert_int_eq(tmem_batch(client, requests, 32), 0);
	for (uint32_t i = 0; i < 32; i++)
		ck_assert_int_eq(requests[i].result, -ETIMEDOUT);
	memset(page, 0, sizeof(page));
	kill(daemon_pid, SIGCONT);
	ck_assert_int_eq(get_text(pool, 1, 32, 32), TMEM_GET_HIT);
	for (uint32_t i = 0; i < 32; i++)
		ck_assert_mem_eq(page[i], page[0], TMEM_PAGE_SIZE);
}
END_TEST

#ifndef __SANITIZE_THREAD__
START_TEST(a_batch_outlives_the_daemon)
{
	static uint8_t in[64][TMEM_PAGE_SIZE];
	struct tmem_request requests[64];
	int pool = tm_test_pool(client, PERSISTENT);
	struct chaos chaos;

	start_chaos(&chaos, 5000);
	for (uint32_t round = 0; round < 50 || chaos.deaths < 20; round++) {
		for (uint32_t i = 0; i < 64; i++) {
			tm_page_fill(in[i], TM_PAGE_HEAP, i + 100 * round);
			requests[i] = request(TMEM_REQUEST_PUT, pool, i, in[i]);
		}
		ck_assert_int_eq(tmem_batch(client, requests, 64), 0);
		for (uint32_t i = 0; i < 64; i++) {
			ck_assert_int_eq(requests[i].result, TMEM_PUT_STORED);
			requests[i].kind = TMEM_REQUEST_GET;
			requests[i].flags = i & 1 ? TMEM_GET_REMOVE : 0;
			memset(in[i], 0, sizeof(in[i]));
		}
		ck_assert_int_eq(tmem_batch(client, requests, 64), 0);
		for (uint32_t i = 0; i < 64; i++) {
			uint8_t want[TMEM_PAGE_SIZE];

			tm_page_fill(want, TM_PAGE_HEAP, i + 100 * round);
			ck_assert_int_eq(requests[i].result, TMEM_GET_HIT);
			ck_assert_mem_eq(in[i], want, sizeof(want));
		}
		progress++;
	}
	end_chaos(&chaos);
}
END_TEST

#endif

/* --- one that is held up --------------------------------------------------------- */

/* Who gives up is held up as it lets go of the lock that another waits for,
 * until that one has a new link. */
static _Thread_local enum { NOBODY, GIVES_UP, IS_HELD_UP, COMES_AFTER } role;
static sem_t has_failed, is_awaited, is_linked;

static void say_held_up(void *opaque, enum tmem_log_level level,
			const char *text)
{
	(void)opaque;
	(void)level;
	if (role != GIVES_UP || !strstr(text, "does not come back"))
		return;
	sem_post(&has_failed);
	sem_wait(&is_awaited);
	role = IS_HELD_UP;
}

long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);

long __wrap_syscall(long number, ...)
{
	long a[6], result;
	va_list list;

	va_start(list, number);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(list, long);
	va_end(list);
	if (role == COMES_AFTER && number == SYS_futex &&
	    (int)a[1] == (FUTEX_WAIT | FUTEX_PRIVATE_FLAG))
		sem_post(&is_awaited);
	result = __real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
	if (role == IS_HELD_UP && number == SYS_futex &&
	    (int)a[1] == (FUTEX_WAKE | FUTEX_PRIVATE_FLAG)) {
		role = NOBODY;
		sem_wait(&is_linked);
	}
	return result;
}

static void *put_and_give_up(void *opaque)
{
	role = GIVES_UP;
	ck_assert_int_eq(tm_test_put(client, *(int *)opaque, 1, 1, TM_PAGE_TEXT,
				     2),
			 -ETIMEDOUT);
	return NULL;
}

static void *come_after(void *opaque)
{
	role = COMES_AFTER;
	get_text(*(int *)opaque, 2, 0, 0);
	sem_post(&is_linked);
	return NULL;
}

static void close_daemon_here(void)
{
	ring_host_close(&host);
	memset(host.clients, 0, sizeof(host.clients));
}

/* To a daemon of its own, with a pool that this returns; impatiently. */
static int connect_here(void)
{
	struct tmem_connect_config config;
	int pool;

	ring_host_init(&host, MEMORY_BYTES);
	snprintf(arena, sizeof(arena), "/dev/shm/tmem-ring-%ld",
		 (long)getpid());
	unlink(arena);
	host.config.arena = arena;
	ring_host_open(&host);
	ck_assert_int_eq(try_connect("client", 2, 0, &client), 0);
	pool = tm_test_pool(client, PERSISTENT);
	config = connect_config("client", 2, 1000);
	config.log = say_held_up;
	come_back(&config);
	return pool;
}

START_TEST(a_put_that_was_given_up_drops_no_later_one)
{
	pthread_t first, second;
	int pool, result;

	sem_init(&has_failed, 0, 0);
	sem_init(&is_awaited, 0, 0);
	sem_init(&is_linked, 0, 0);
	pool = connect_here();
	close_daemon_here();
	pthread_create(&first, NULL, put_and_give_up, &pool);
	sem_wait(&has_failed);
	ring_host_open(&host);
	pthread_create(&second, NULL, come_after, &pool);
	pthread_join(second, NULL);
	pthread_join(first, NULL);
	do
		result = tm_test_put(client, pool, 1, 1, TM_PAGE_TEXT, 3);
	while (result == -ETIMEDOUT);
	ck_assert_int_eq(result, TMEM_PUT_STORED);
	close_daemon_here();
	ring_host_open(&host);
	ck_assert_int_eq(get_text(pool, 1, 1, 3), TMEM_GET_HIT);
	tmem_client_detach(client);
	while (atomic_load(&host.attached))
		usleep(1000);
	ring_host_close(&host);
	unlink(arena);
}
END_TEST

/* --- a successor ------------------------------------------------------------------ */

/* Two daemons: the first hands its peer over on SIGUSR1, over a socket pair, and
 * ends; the second then opens the same arena and serves it. */
static int send_record(void *opaque, const void *record, size_t size,
		       const int fds[TM_RING_RECORD_DESCRIPTORS])
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(3 * sizeof(int))];
	} control = { .bytes = { 0 } };
	struct iovec iov = { (void *)(uintptr_t)record, size };
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1,
				  .msg_control = &control,
				  .msg_controllen = sizeof(control) };

	control.align.cmsg_level = SOL_SOCKET;
	control.align.cmsg_type = SCM_RIGHTS;
	control.align.cmsg_len = CMSG_LEN(3 * sizeof(int));
	memcpy(CMSG_DATA(&control.align), fds, 3 * sizeof(int));
	return sendmsg(*(int *)opaque, &message, 0) < 0 ? -errno : 0;
}

/* One peer's, when its daemon has ended. */
static void succeed(int fd)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(3 * sizeof(int))];
	} control = { .bytes = { 0 } };
	static char record[TM_RING_RECORD_MAX];
	struct iovec iov = { record, sizeof(record) };
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1,
				  .msg_control = &control,
				  .msg_controllen = sizeof(control) };
	ssize_t size = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
	int fds[3];
	char byte;

	ring_host_must(size > 0);
	memcpy(fds, CMSG_DATA(&control.align), sizeof(fds));
	ring_host_must(recv(fd, &byte, 1, 0) == 0);
	ring_host_open(&host);
	ring_host_must(tm_ring_server_import(host.server, record, 7,
					     (int[]){ dup(0), dup(0), dup(0) })
		       == -EINVAL);
	ring_host_must(!tm_ring_server_import(host.server, record,
					      (size_t)size, fds));
}

static int refuse_record(void *opaque, const void *record, size_t size,
			 const int fds[TM_RING_RECORD_DESCRIPTORS])
{
	(void)opaque;
	(void)record;
	(void)size;
	(void)fds;
	return -EPIPE;
}

/* The first daemon: tries successors that fail, one right after the other, then
 * a real one. */
static void serve_and_hand_over(int ready, int successor)
{
	sigset_t signals;
	int signal;

	sigemptyset(&signals);
	sigaddset(&signals, SIGUSR1);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	ring_host_open(&host);
	ring_host_must(write(ready, "r", 1) == 1);
	sigwait(&signals, &signal);
	for (int i = 0; i < 20; i++) {
		ring_host_must(tm_ring_server_export(host.server, refuse_record,
						     NULL) == -EPIPE);
		tm_ring_server_resume(host.server);
	}
	ring_host_must(write(ready, "f", 1) == 1);
	sigwait(&signals, &signal);
	ring_host_must(!tm_ring_server_export(host.server, send_record,
					      &successor));
	ring_host_close(&host);
	_exit(0);
}

static pid_t start_successor(int from, int ready)
{
	pid_t child = fork();

	if (child)
		return child;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	succeed(from);
	ring_host_must(write(ready, "s", 1) == 1);
	for (;;)
		pause();
}

START_TEST(a_successor_takes_over_under_load)
{
	_Atomic bool stop = false;
	struct worker w[WORKERS];
	int pair[2], ready[2], status;
	pid_t first, second;
	char byte;

	/* Not the fixture's. */
	tmem_client_detach(client);
	ring_host_kill(daemon_pid);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	ck_assert_int_eq(pipe(ready), 0);
	first = fork();
	if (!first) {
		close(pair[1]);
		serve_and_hand_over(ready[1], pair[0]);
	}
	close(pair[0]);
	ck_assert_int_eq((int)read(ready[0], &byte, 1), 1);
	ck_assert_int_eq(try_connect("client", 4, 0, &client), 0);
	second = start_successor(pair[1], ready[1]);
	start_workers(w, 0, &stop);
	usleep(100000);
	kill(first, SIGUSR1);
	ck_assert_int_eq((int)read(ready[0], &byte, 1), 1);
	kill(first, SIGUSR1);
	waitpid(first, &status, 0);
	ck_assert_int_eq(status, 0);
	ck_assert_int_eq((int)read(ready[0], &byte, 1), 1);
	usleep(200000);
	stop = true;
	join_workers(w);
	ck_assert_uint_eq(interruptions, 0);
	daemon_pid = second;
}
END_TEST

static Suite *ring_suite(void)
{
	Suite *suite = suite_create("ring");
	TCase *tcase = tcase_create("channel");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, pages_come_back_over_the_channel);
	tcase_add_test(tcase, flags_mean_the_same);
	tcase_add_test(tcase, pools_answer_the_same);
	tcase_add_test(tcase, flushes_and_counts_answer_the_same);
	tcase_add_test(tcase, what_only_an_owner_may_is_not_supported);
	tcase_add_test(tcase, a_batch_is_its_calls_in_order);
	tcase_add_test(tcase, connecting_says_what_is_wrong);
	tcase_add_loop_test(
		tcase, a_daemon_that_goes_at_the_first_word_is_waited_for, 1,
		4);
	tcase_add_test(tcase, pages_stay_when_a_client_leaves);
	tcase_add_test(tcase, a_forked_child_must_not_call);
	tcase_add_test(tcase, threads_do_not_mix_up_their_answers);
	tcase_add_test(tcase, persistent_pages_outlive_the_daemon);
	tcase_add_test(tcase, ephemeral_pools_are_there_again_and_empty);
	tcase_add_test(tcase, shared_pools_are_joined_again);
	tcase_add_test(tcase, a_daemon_that_hangs_is_given_up_and_found_again);
	tcase_add_test(tcase, a_batch_that_timed_out_answers_nobody);
	tcase_add_test(tcase, a_put_that_timed_out_leaves_nothing);
/* ThreadSanitizer cannot follow a fork from a process with threads. */
#ifndef __SANITIZE_THREAD__
	tcase_add_test(tcase,
		       clients_go_on_when_the_daemon_is_killed_at_random);
	tcase_add_test(tcase, pools_are_made_once_while_the_daemon_is_killed);
	tcase_add_test(tcase, a_batch_outlives_the_daemon);
#endif
	suite_add_tcase(suite, tcase);
	tcase = tcase_create("successor");
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, a_successor_takes_over_under_load);
	suite_add_tcase(suite, tcase);
	tcase = tcase_create("held_up");
	tcase_add_test(tcase, a_put_that_was_given_up_drops_no_later_one);
	suite_add_tcase(suite, tcase);
	return suite;
}

int main(void)
{
	return tm_test_run(ring_suite());
}
