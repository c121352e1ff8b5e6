/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tmem bench channel: what a store in another process costs.
 *
 * A tmemd is started, with its own anonymous arena and sockets in a folder of
 * our own, and stopped at the end. Beside it are an embedded store with the same
 * codec and allocator, and a memcached, if there is one. All work on the same
 * pages, in turns of 256 as in bench_arms.c, but by the wall's clock: what a
 * call waits for is most of what it costs here.
 *
 *	turns		put, get: embedded; over the channel; 32 under way
 *	beside memcached	set and get, put and get: 1 and 32 under way
 *	two clients	with a pool each, at the same time, and one alone
 *
 * memcached has threads that look after its memory by the clock, for long after
 * the last call; so it is paused while others are measured, which would share a
 * processor with them now and then. The daemon sleeps when nobody calls.
 *
 * memcached keeps pages as they are. Without --codec the whole is measured
 * with the default codec, and with `none`, which does no more than it.
 *
 * Bound: figures of a channel need a processor for each side; how many there
 * are is said. With two, two clients and their two threads share them.
 */
#include <config.h>

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench_channel.h"
#include "cli.h"
#include "report.h"

#define START_MS 10000
#define WAKE_CALLS 8
#define WINDOW_NS UINT64_C(200000000)
#define CLIENTS 2

/* --- what is measured ------------------------------------------------------- */

struct peer {
	struct tmem_client *client;
	int pool;
	const struct tm_bench_pages *pages;
	const uint32_t *order;
	uint32_t order_count;
	uint8_t *buffers;	/* TM_BENCH_DEPTH pages */
	int error;
};

struct session {
	struct tm_bench *bench;
	struct tm_bench_channel_result *result;
	char folder[80];
	struct tm_bench_server daemon;
	struct tm_bench_store embedded;
	struct tm_bench_memcached memcached;
	bool has_memcached;
	struct peer local;
	struct peer remote[CLIENTS];
};

static bool note(struct peer *peer, int result, int expected)
{
	if (result == expected)
		return true;
	if (!peer->error)
		peer->error = result < 0 ? result : -ENOSPC;
	return false;
}

static void put_pages(struct peer *p, uint32_t first, uint32_t count)
{
	for (uint32_t i = first; i < first + count; i++)
		note(p, tmem_put(p->client, p->pool, tm_bench_oid(),
				 p->order[i],
				 tm_bench_page(p->pages, p->order[i]), 0),
		     TMEM_PUT_STORED);
}

static void get_pages(struct peer *p, uint32_t first, uint32_t count)
{
	for (uint32_t i = first; i < first + count; i++)
		note(p, tmem_get(p->client, p->pool, tm_bench_oid(),
				 p->order[i], p->buffers, 0),
		     TMEM_GET_HIT);
}

static void batch(struct peer *p, uint32_t kind, uint32_t first, uint32_t count)
{
	struct tmem_request requests[TM_BENCH_DEPTH];

	for (uint32_t k = 0; k < count; k++) {
		uint32_t number = p->order[first + k];
		const uint8_t *page = tm_bench_page(p->pages, number);

		requests[k] = (struct tmem_request){
			.kind = kind,
			.pool = p->pool,
			.index = number,
			.oid = *tm_bench_oid(),
			/* A put does not write to it. */
			.page = kind == TMEM_REQUEST_PUT ?
					(void *)(uintptr_t)page :
					p->buffers +
						(size_t)k * TMEM_PAGE_SIZE,
		};
	}
	tmem_batch(p->client, requests, count);
	for (uint32_t k = 0; k < count; k++)
		note(p, requests[k].result, 1);
}

static void batch_pages(struct peer *p, uint32_t kind, uint32_t first,
			uint32_t count)
{
	for (uint32_t i = 0; i < count; i += TM_BENCH_DEPTH)
		batch(p, kind, first + i,
		      count - i < TM_BENCH_DEPTH ? count - i : TM_BENCH_DEPTH);
}

static void put_pages_deep(struct peer *p, uint32_t first, uint32_t count)
{
	batch_pages(p, TMEM_REQUEST_PUT, first, count);
}

static void get_pages_deep(struct peer *p, uint32_t first, uint32_t count)
{
	batch_pages(p, TMEM_REQUEST_GET, first, count);
}

/* --- in turns --------------------------------------------------------------- */

enum arm {
	PUT_EMBEDDED,
	PUT_CHANNEL,
	PUT_DEEP,
	GET_EMBEDDED,
	GET_CHANNEL,
	GET_DEEP,
	MEMCACHED_ONE,
	MEMCACHED_DEEP,
	ARMS
};

static void run_arm(struct session *s, enum arm arm, uint32_t first,
		    uint32_t count)
{
	const uint32_t *order = s->local.order + first;
	bool is_deep = arm == MEMCACHED_DEEP;
	int err;

	switch (arm) {
	case PUT_EMBEDDED:
		put_pages(&s->local, first, count);
		return;
	case GET_EMBEDDED:
		get_pages(&s->local, first, count);
		return;
	case PUT_CHANNEL:
		put_pages(&s->remote[0], first, count);
		return;
	case GET_CHANNEL:
		get_pages(&s->remote[0], first, count);
		return;
	case PUT_DEEP:
		put_pages_deep(&s->remote[0], first, count);
		return;
	case GET_DEEP:
		get_pages_deep(&s->remote[0], first, count);
		return;
	default:
		break;
	}
	err = tm_bench_memcached_set(&s->memcached, s->local.pages, order,
				     count, is_deep ? TM_BENCH_DEPTH : 1);
	if (!err)
		err = tm_bench_memcached_get(&s->memcached, order, count,
					     is_deep ? TM_BENCH_DEPTH : 1,
					     s->local.buffers);
	if (err && !s->local.error)
		s->local.error = err;
}

static bool is_of_memcached(enum arm arm)
{
	return arm == MEMCACHED_ONE || arm == MEMCACHED_DEEP;
}

/* Whoever serves this arm has slept meanwhile: a few calls that are not
 * measured. */
static void wake(struct session *s, enum arm arm)
{
	struct peer *peer = &s->remote[0];

	if (arm == PUT_EMBEDDED || arm == GET_EMBEDDED)
		return;
	if (is_of_memcached(arm))
		tm_bench_server_resume(&s->memcached.server);
	for (int i = 0; i < WAKE_CALLS; i++) {
		if (!is_of_memcached(arm))
			tmem_flush_page(peer->client, peer->pool,
					tm_bench_oid(), UINT32_MAX);
		else
			tm_bench_memcached_set(&s->memcached, peer->pages,
					       peer->order, 1, 1);
	}
}

/* ns per page of every arm; a block of each at a time, all of them cold. */
static void run_round(struct session *s, uint32_t arms, uint32_t round,
		      double ns[ARMS])
{
	uint32_t total = s->local.order_count;
	uint32_t blocks = (total + TM_BENCH_BLOCK_PAGES - 1) /
			  TM_BENCH_BLOCK_PAGES;

	memset(ns, 0, ARMS * sizeof(*ns));
	for (uint32_t turn = 0; turn < blocks; turn++) {
		for (uint32_t k = 0; k < arms; k++) {
			uint32_t arm = (turn + round + k) % arms;
			uint32_t block = (uint32_t)((turn + (uint64_t)arm *
						     blocks / arms) % blocks);
			uint32_t first = block * TM_BENCH_BLOCK_PAGES;
			uint32_t count = total - first;
			uint64_t begin;

			if (count > TM_BENCH_BLOCK_PAGES)
				count = TM_BENCH_BLOCK_PAGES;
			wake(s, arm);
			begin = tm_bench_now_ns();
			run_arm(s, arm, first, count);
			ns[arm] += (double)(tm_bench_now_ns() - begin) / total;
			if (is_of_memcached(arm))
				tm_bench_server_pause(&s->memcached.server);
		}
	}
}

/* The median over the rounds of @a * arm x + @b * arm y, or of their ratio. */
static double median_of(double ns[][ARMS], uint32_t rounds, enum arm x,
			enum arm y, bool is_ratio)
{
	double values[TM_BENCH_ROUNDS_MAX];

	for (uint32_t i = 0; i < rounds; i++)
		values[i] = is_ratio ? ns[i][x] / ns[i][y] :
				       ns[i][x] - ns[i][y];
	return tm_bench_median(values, rounds);
}

static double median_ns(double ns[][ARMS], uint32_t rounds, enum arm arm)
{
	double values[TM_BENCH_ROUNDS_MAX];

	for (uint32_t i = 0; i < rounds; i++)
		values[i] = ns[i][arm];
	return tm_bench_median(values, rounds);
}

/* Of @put and @get, beside memcached's set and get of the same pages. */
static double median_gain(double ns[][ARMS], uint32_t rounds, enum arm put,
			  enum arm get, enum arm memcached)
{
	double values[TM_BENCH_ROUNDS_MAX];

	for (uint32_t i = 0; i < rounds; i++)
		values[i] = ns[i][memcached] / (ns[i][put] + ns[i][get]);
	return tm_bench_median(values, rounds);
}

static void sum_up(struct session *s, double ns[][ARMS], uint32_t rounds)
{
	struct tm_bench_channel_result *r = s->result;

	r->embedded = (struct tm_bench_pair){ median_ns(ns, rounds, PUT_EMBEDDED),
				     median_ns(ns, rounds, GET_EMBEDDED) };
	r->channel = (struct tm_bench_pair){ median_ns(ns, rounds, PUT_CHANNEL),
				    median_ns(ns, rounds, GET_CHANNEL) };
	r->deep = (struct tm_bench_pair){ median_ns(ns, rounds, PUT_DEEP),
				 median_ns(ns, rounds, GET_DEEP) };
	r->extra = (struct tm_bench_pair){
		median_of(ns, rounds, PUT_CHANNEL, PUT_EMBEDDED, false),
		median_of(ns, rounds, GET_CHANNEL, GET_EMBEDDED, false)
	};
	r->ratio = (struct tm_bench_pair){
		median_of(ns, rounds, PUT_CHANNEL, PUT_EMBEDDED, true),
		median_of(ns, rounds, GET_CHANNEL, GET_EMBEDDED, true)
	};
	r->rate_one = 2e9 / (r->channel.put + r->channel.get);
	r->rate_deep = 2e9 / (r->deep.put + r->deep.get);
	if (!s->has_memcached)
		return;
	r->memcached_one = 2e9 / median_ns(ns, rounds, MEMCACHED_ONE);
	r->memcached_deep = 2e9 / median_ns(ns, rounds, MEMCACHED_DEEP);
	r->ratio_one = median_gain(ns, rounds, PUT_CHANNEL, GET_CHANNEL,
				   MEMCACHED_ONE);
	r->ratio_deep = median_gain(ns, rounds, PUT_DEEP, GET_DEEP,
				    MEMCACHED_DEEP);
}

static int take_turns(struct session *s)
{
	double ns[TM_BENCH_ROUNDS_MAX][ARMS];
	uint32_t arms = s->has_memcached ? ARMS : MEMCACHED_ONE;
	uint32_t rounds = s->bench->rounds;

	put_pages(&s->local, 0, s->local.order_count);
	put_pages(&s->remote[0], 0, s->remote[0].order_count);
	/* After this one all memory has been touched. */
	run_round(s, arms, 0, ns[0]);
	for (uint32_t i = 0; i < rounds; i++) {
		run_round(s, arms, i, ns[i]);
		if (s->local.error || s->remote[0].error)
			return s->local.error ? s->local.error :
						s->remote[0].error;
	}
	sum_up(s, ns, rounds);
	return 0;
}

/* --- two clients ------------------------------------------------------------ */

struct runner {
	pthread_t thread;
	struct peer *peer;
	pthread_barrier_t *barrier;
	bool is_put;
	double rate;
};

static void *run_window(void *opaque)
{
	struct runner *r = opaque;
	uint64_t begin, now, calls = 0;
	uint32_t at = 0;

	pthread_barrier_wait(r->barrier);
	begin = now = tm_bench_now_ns();
	while (now - begin < WINDOW_NS) {
		uint32_t count = r->peer->order_count - at;

		if (count > TM_BENCH_DEPTH)
			count = TM_BENCH_DEPTH;
		if (r->is_put)
			put_pages(r->peer, at, count);
		else
			get_pages(r->peer, at, count);
		at = (at + count) % r->peer->order_count;
		calls += count;
		now = tm_bench_now_ns();
	}
	r->rate = (double)calls * 1e9 / (double)(now - begin);
	return NULL;
}

/* Calls per second of the slowest of @count clients; 0: no threads. */
static double window(struct session *s, uint32_t count, bool is_put)
{
	struct runner runners[CLIENTS];
	pthread_barrier_t barrier;
	double slowest = 0;

	pthread_barrier_init(&barrier, NULL, count);
	for (uint32_t i = count; i-- > 0;) {
		runners[i] = (struct runner){ .peer = &s->remote[i],
					      .barrier = &barrier,
					      .is_put = is_put };
		if (i == 0)
			run_window(&runners[0]);
		else if (pthread_create(&runners[i].thread, NULL, run_window,
					&runners[i]))
			return 0;
	}
	for (uint32_t i = 0; i < count; i++) {
		if (i)
			pthread_join(runners[i].thread, NULL);
		if (!i || runners[i].rate < slowest)
			slowest = runners[i].rate;
	}
	pthread_barrier_destroy(&barrier);
	return slowest;
}

static void compare_two(struct session *s, bool is_put, double *alone,
			double *slower, double *share)
{
	double values[3][TM_BENCH_ROUNDS_MAX];
	uint32_t rounds = s->bench->rounds;

	for (uint32_t i = 0; i < rounds; i++) {
		values[0][i] = window(s, 1, is_put);
		values[1][i] = window(s, CLIENTS, is_put);
		values[2][i] = values[0][i] > 0 ? values[1][i] / values[0][i] :
						  0;
	}
	*alone = tm_bench_median(values[0], rounds);
	*slower = tm_bench_median(values[1], rounds);
	*share = tm_bench_median(values[2], rounds);
}

static int measure_two(struct session *s)
{
	struct tm_bench_channel_result *r = s->result;

	put_pages(&s->remote[1], 0, s->remote[1].order_count);
	compare_two(s, true, &r->alone.put, &r->slower.put, &r->share.put);
	compare_two(s, false, &r->alone.get, &r->slower.get, &r->share.get);
	return s->remote[0].error ? s->remote[0].error : s->remote[1].error;
}

/* --- daemon, stores, clients ------------------------------------------------ */

static uint64_t enough_memory(const struct tm_bench *bench)
{
	uint64_t bytes = (uint64_t)bench->pages.count * TMEM_PAGE_SIZE;

	if (bench->memory_bytes)
		return bench->memory_bytes;
	return CLIENTS * (bytes + bytes / 4) + (UINT64_C(64) << 20);
}

static int prepare_peer(struct session *s, struct peer *peer)
{
	peer->pages = &s->bench->pages;
	peer->order = s->bench->pages.order;
	peer->order_count = s->bench->pages.order_count;
	peer->buffers = aligned_alloc(TMEM_PAGE_SIZE,
				      TM_BENCH_DEPTH * TMEM_PAGE_SIZE);
	return peer->buffers ? 0 : -ENOMEM;
}

static int connect_peer(struct session *s, uint32_t number)
{
	struct tmem_connect_config config;
	struct peer *peer = &s->remote[number];
	char name[16], words[256];
	int err;

	snprintf(name, sizeof(name), "bench%" PRIu32, number);
	tmem_connect_config_init(&config);
	config.socket = s->daemon.socket;
	config.name = name;
	config.rings = 1;
	for (int ms = 0; ms < START_MS; ms += 10) {
		err = tmem_connect(&config, &peer->client);
		if (err != -ENOENT && err != -ECONNREFUSED)
			break;
		if (tm_bench_server_is_gone(&s->daemon))
			break;
		poll(NULL, 0, 10);
	}
	if (!err)
		err = peer->pool = tmem_pool_create(peer->client,
						    TMEM_POOL_PERSISTENT,
						    NULL);
	if (err < 0) {
		tm_bench_server_last_words(&s->daemon, words, sizeof(words));
		tm_cli_error("bench: %s does not serve: %s%s%s",
			     s->bench->tmemd_path, strerror(-err),
			     *words ? "; it said: " : "", words);
		return err;
	}
	return prepare_peer(s, peer);
}

static int start_daemon(struct session *s)
{
	char memory[32], socket[160], control[160], boot[128];
	const char *argv[] = { s->bench->tmemd_path,
			       "--memory", memory, "--arena", "anonymous",
			       "--socket", socket, "--control", control,
			       "--boot", boot, NULL };
	int err;

	snprintf(memory, sizeof(memory), "%" PRIu64, enough_memory(s->bench));
	snprintf(s->daemon.socket, sizeof(s->daemon.socket), "%s/tmemd",
		 s->folder);
	snprintf(socket, sizeof(socket), "%s", s->daemon.socket);
	snprintf(control, sizeof(control), "%s/control/control", s->folder);
	snprintf(boot, sizeof(boot), "tmem_compress=%s tmem_allocator=%s",
		 s->result->codec->spec, s->result->allocator);
	err = tm_bench_server_start(&s->daemon, argv);
	if (err)
		tm_cli_error("bench: %s cannot be started: %s (--tmemd says "
			     "where it is)", s->bench->tmemd_path,
			     strerror(-err));
	return err;
}

static int start_memcached(struct session *s)
{
	const char *program = s->bench->memcached_path;
	int err = tm_bench_memcached_open(&s->memcached,
					  program ? program : "memcached",
					  s->folder, enough_memory(s->bench));

	s->has_memcached = !err;
	tm_bench_server_pause(&s->memcached.server);
	if (!err || !program)
		return 0;
	tm_cli_error("bench: %s does not serve: %s", program, strerror(-err));
	return err;
}

static int open_session(struct session *s)
{
	const char *parent = getenv("TMPDIR");
	int err;

	/* Sockets have short paths. */
	if (!parent || strlen(parent) > 48)
		parent = "/tmp";
	snprintf(s->folder, sizeof(s->folder), "%s/tmem-bench-XXXXXX", parent);
	if (!mkdtemp(s->folder)) {
		s->folder[0] = 0;
		return -errno;
	}
	err = start_daemon(s);
	for (uint32_t i = 0; i < CLIENTS && !err; i++)
		err = connect_peer(s, i);
	if (!err)
		err = start_memcached(s);
	if (!err)
		err = tm_bench_store_open(&s->embedded, s->result->codec->spec,
					  s->result->allocator,
					  enough_memory(s->bench));
	if (!err) {
		s->local.client = s->embedded.client;
		s->local.pool = s->embedded.pool;
		err = prepare_peer(s, &s->local);
	}
	return err;
}

/* With what servers left in it: sockets, locks. */
static void remove_folder(const char *path)
{
	char inner[400];
	struct dirent *entry;
	DIR *folder = opendir(path);

	while (folder && (entry = readdir(folder))) {
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		snprintf(inner, sizeof(inner), "%s/%s", path, entry->d_name);
		unlink(inner);
	}
	if (folder)
		closedir(folder);
	rmdir(path);
}

static void close_session(struct session *s)
{
	char control[160];

	for (uint32_t i = 0; i < CLIENTS; i++) {
		tmem_client_detach(s->remote[i].client);
		free(s->remote[i].buffers);
	}
	free(s->local.buffers);
	if (s->embedded.store)
		tm_bench_store_close(&s->embedded);
	if (s->has_memcached)
		tm_bench_memcached_close(&s->memcached);
	tm_bench_server_stop(&s->daemon);
	if (!s->folder[0])
		return;
	snprintf(control, sizeof(control), "%s/control", s->folder);
	remove_folder(control);
	remove_folder(s->folder);
}

static int run_one(struct tm_bench *bench, struct tm_bench_channel_result *result)
{
	struct session s = { .bench = bench, .result = result };
	int err = open_session(&s);

	if (!err)
		err = take_turns(&s);
	if (!err)
		err = measure_two(&s);
	if (err)
		tm_cli_error("bench: channel, %s: %s", result->codec->spec,
			     strerror(-err));
	close_session(&s);
	return err;
}

/* --- the program ------------------------------------------------------------- */

int tm_bench_channel_run(struct tm_bench *bench)
{
	const struct tm_choice *choice = &bench->choice;
	struct tm_progress progress;
	struct tm_bench_channel_result *results;
	int err = 0;

	if (!bench->pages.order_count) {
		tm_cli_error("bench: nothing to compress: every page is of one "
			     "repeated word");
		return -EINVAL;
	}
	if (bench->plot_path) {
		tm_cli_error("bench: nothing is drawn of a channel: --plot is "
			     "for codec, alloc and store");
		return -EINVAL;
	}
	results = calloc(choice->codec_count, sizeof(*results));
	if (!results)
		return -ENOMEM;
	tm_progress_begin(&progress, "channels", choice->codec_count);
	for (size_t i = 0; i < choice->codec_count && !err; i++) {
		tm_progress_at(&progress, i);
		results[i].codec = &choice->codecs[i];
		results[i].allocator = choice->allocators[0]->name;
		err = run_one(bench, &results[i]);
	}
	tm_progress_end(&progress);
	if (!err)
		err = tm_bench_channel_report(bench, results, choice->codec_count);
	free(results);
	return err;
}
