/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A client of a daemon that knows what it was promised.
 *
 *	load_client SOCKET NAME PAGES SECONDS [THREADS]
 *
 * Fills a persistent pool with PAGES pages, prints "ready", then puts, gets
 * and flushes at random for SECONDS (0: until its standard input ends), and
 * compares every answer with what was acknowledged: a page must be there, byte
 * for byte, until it was flushed, whatever becomes of the daemon meanwhile. In
 * the end it looks at all of them, and prints one line
 *
 *	calls N puts N pages N wrong N longest_ms N
 *
 * longest_ms is the longest time between two completions of one thread.
 * Status 0 only if nothing was wrong. TMEM_SEED makes a run repeatable.
 */
#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <tmem/tmem.h>

#define THREADS_MAX 16

static struct load {
	struct tmem_client *client;
	int pool;
	uint32_t page_count;
	uint32_t thread_count;
	uint64_t seed;
	uint32_t *versions;	/* acknowledged; 0: not there */
	_Atomic int is_over;
	pthread_barrier_t filled;
} load;

struct worker {
	pthread_t thread;
	uint32_t number;
	uint64_t state;
	uint64_t last_ns;
	uint64_t longest_ns;
	uint64_t calls;
	uint64_t puts;
	uint64_t wrong;
	_Alignas(8) uint8_t want[TMEM_PAGE_SIZE];
	_Alignas(8) uint8_t got[TMEM_PAGE_SIZE];
};

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static uint64_t random_next(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

/* Compresses to some hundred bytes, and is nobody else's. */
static void make_page(uint8_t *page, uint32_t index, uint32_t version)
{
	uint64_t state = (uint64_t)index << 32 | version;
	uint64_t words[16];

	for (int i = 0; i < 16; i++)
		words[i] = random_next(&state);
	for (size_t at = 0; at < TMEM_PAGE_SIZE; at += sizeof(words))
		memcpy(page + at, words, sizeof(words));
}

static void completed(struct worker *w)
{
	uint64_t now = now_ns();

	if (w->last_ns && now - w->last_ns > w->longest_ns)
		w->longest_ns = now - w->last_ns;
	w->last_ns = now;
	w->calls++;
}

static void complain(struct worker *w, const char *what, uint32_t index,
		     int result)
{
	if (w->wrong++ < 10)
		fprintf(stderr,
			"load_client: page %" PRIu32 " version %" PRIu32
			": %s: %d\n",
			index, load.versions[index], what, result);
}

/* Objects of 1024 pages. */
static struct tmem_oid oid_of(uint32_t index)
{
	return (struct tmem_oid){ { index / 1024, 7, 9 } };
}

static void put(struct worker *w, uint32_t index, uint32_t version)
{
	struct tmem_oid oid = oid_of(index);
	int r;

	make_page(w->want, index, version);
	r = tmem_put(load.client, load.pool, &oid, index % 1024, w->want, 0);
	completed(w);
	w->puts++;
	if (r < 0)
		complain(w, "put", index, r);
	load.versions[index] = r == TMEM_PUT_STORED ? version : 0;
}

static void get(struct worker *w, uint32_t index)
{
	uint32_t version = load.versions[index];
	struct tmem_oid oid = oid_of(index);
	int r = tmem_get(load.client, load.pool, &oid, index % 1024, w->got, 0);

	completed(w);
	if (r != (version ? TMEM_GET_HIT : TMEM_GET_MISS)) {
		complain(w, "get", index, r);
		return;
	}
	make_page(w->want, index, version);
	if (version && memcmp(w->want, w->got, sizeof(w->want)))
		complain(w, "other bytes", index, r);
}

static void flush(struct worker *w, uint32_t index)
{
	struct tmem_oid oid = oid_of(index);
	int r = tmem_flush_page(load.client, load.pool, &oid, index % 1024);

	completed(w);
	/* One that was repeated says that nothing was there: both are right. */
	if (r < 0 || (r > 0 && !load.versions[index]))
		complain(w, "flush", index, r);
	load.versions[index] = 0;
}

static void *work(void *opaque)
{
	struct worker *w = opaque;
	uint32_t step = load.thread_count;
	uint32_t mine = (load.page_count - w->number + step - 1) / step;

	for (uint32_t i = w->number; i < load.page_count; i += step)
		put(w, i, 1);
	pthread_barrier_wait(&load.filled);
	w->longest_ns = 0;
	while (mine && !atomic_load(&load.is_over)) {
		uint64_t random = random_next(&w->state);
		uint32_t i = (uint32_t)(random >> 32) % mine * step + w->number;

		if (random % 10 < 5)
			put(w, i, load.versions[i] + 1 +
					  (uint32_t)(random >> 8 & 0xff));
		else if (random % 10 < 9)
			get(w, i);
		else
			flush(w, i);
	}
	for (uint32_t i = w->number; i < load.page_count; i += step)
		get(w, i);
	return NULL;
}

static int find_pool(void)
{
	struct tmem_pool_info info = { .struct_size = sizeof(info) };

	for (int id = 0; id < TMEM_POOLS_MAX; id++)
		if (!tmem_pool_get_info(load.client, id, &info) &&
		    info.flags == TMEM_POOL_PERSISTENT)
			tmem_pool_destroy(load.client, id);
	return tmem_pool_create(load.client, TMEM_POOL_PERSISTENT, NULL);
}

static int report(const struct worker *workers)
{
	uint64_t calls = 0, puts = 0, pages = 0, wrong = 0, longest = 0;

	for (uint32_t i = 0; i < load.thread_count; i++) {
		calls += workers[i].calls;
		puts += workers[i].puts;
		wrong += workers[i].wrong;
		if (workers[i].longest_ns > longest)
			longest = workers[i].longest_ns;
	}
	for (uint32_t i = 0; i < load.page_count; i++)
		pages += load.versions[i] != 0;
	printf("calls %" PRIu64 " puts %" PRIu64 " pages %" PRIu64
	       " wrong %" PRIu64 " longest_ms %" PRIu64 "\n",
	       calls, puts, pages, wrong, longest / 1000000);
	return wrong ? 1 : 0;
}

static void say(void *opaque, enum tmem_log_level level, const char *text)
{
	(void)opaque;
	(void)level;
	if (getenv("TMEM_TEST_LOG"))
		fprintf(stderr, "load_client: %s\n", text);
}

static int connect_to(const char *socket, const char *name)
{
	struct tmem_connect_config config;
	int err;

	tmem_connect_config_init(&config);
	config.socket = socket;
	config.name = name;
	config.rings = load.thread_count;
	config.log = say;
	err = tmem_connect(&config, &load.client);
	if (!err) {
		load.pool = find_pool();
		err = load.pool < 0 ? load.pool : 0;
	}
	if (err)
		fprintf(stderr, "load_client: %s: %s\n", socket,
			strerror(-err));
	return err;
}

int main(int argc, char **argv)
{
	static struct worker workers[THREADS_MAX];
	struct pollfd input = { .fd = STDIN_FILENO, .events = POLLIN };
	const char *seed = getenv("TMEM_SEED");
	int seconds;

	if (argc < 5) {
		fputs("load_client SOCKET NAME PAGES SECONDS [THREADS]\n",
		      stderr);
		return 2;
	}
	load.page_count = (uint32_t)strtoul(argv[3], NULL, 10);
	seconds = atoi(argv[4]);
	load.thread_count = argc > 5 ? (uint32_t)atoi(argv[5]) : 2;
	if (!load.thread_count || load.thread_count > THREADS_MAX)
		return 2;
	load.seed = seed ? strtoull(seed, NULL, 0) : now_ns();
	fprintf(stderr, "TMEM_SEED=%" PRIu64 "\n", load.seed);
	load.versions = calloc(load.page_count, sizeof(*load.versions));
	if (!load.versions || connect_to(argv[1], argv[2]))
		return 1;
	pthread_barrier_init(&load.filled, NULL, load.thread_count + 1);
	for (uint32_t i = 0; i < load.thread_count; i++) {
		workers[i].number = i;
		workers[i].state = load.seed + i;
		pthread_create(&workers[i].thread, NULL, work, &workers[i]);
	}
	pthread_barrier_wait(&load.filled);
	puts("ready");
	fflush(stdout);
	if (seconds)
		poll(NULL, 0, seconds * 1000);
	else
		poll(&input, 1, -1);
	atomic_store(&load.is_over, 1);
	for (uint32_t i = 0; i < load.thread_count; i++)
		pthread_join(workers[i].thread, NULL);
	tmem_client_detach(load.client);
	return report(workers);
}
