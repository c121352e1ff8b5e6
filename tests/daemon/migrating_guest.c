/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A guest that is migrated: it flushes what it has, all the time, until it is
 * stopped, and then looks whether the other side has what it has left.
 *
 *	migrating_guest SOCKET NAME PAGES
 *
 * Fills a persistent pool and says "ready". Then, for each line of its standard
 * input:
 *
 *	flush		flushes one page more; says "flushed"
 *	stop		the same, and then no more; says "stopped N", N pages
 *			are left
 *	check SOCKET	says "missing N stale N wrong N" about the client of its
 *			name at that daemon
 *
 * A page that is missing was promised; one that is stale was flushed; one that
 * is wrong has other bytes. One page in four is flushed only when that is asked
 * for, so that there is something left however long it runs.
 */
#include <config.h>

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <tmem/tmem.h>

static struct guest {
	struct tmem_client *client;
	const char *socket;
	const char *name;
	int pool;
	uint32_t count;
	bool *is_there;
	uint32_t next_kept; /* to be flushed when that is asked for */
	atomic_bool is_stopped;
	pthread_t thread;
} guest;

static _Noreturn void die(const char *what, int err)
{
	fprintf(stderr, "migrating_guest: %s: %s\n", what, strerror(-err));
	exit(1);
}

static struct tmem_oid oid_of(uint32_t i)
{
	return (struct tmem_oid){ { i / 64, 7, 7 } };
}

/* One in eight of one word; the rest of text that differs. */
static void fill(char *page, uint32_t i)
{
	uint32_t seed = i * 2654435761u + 1;

	memset(page, i % 8 ? 'p' : 0, TMEM_PAGE_SIZE);
	for (uint32_t at = 0; i % 8 && at < TMEM_PAGE_SIZE; at += 2) {
		seed = seed * 1103515245 + 12345;
		page[at] = (char)(seed >> 16);
	}
}

static struct tmem_client *attach(const char *socket)
{
	struct tmem_connect_config config;
	struct tmem_client *client;
	int err;

	tmem_connect_config_init(&config);
	config.socket = socket;
	config.name = guest.name;
	err = tmem_connect(&config, &client);
	if (err)
		die(socket, err);
	return client;
}

static void put_all(void)
{
	char page[TMEM_PAGE_SIZE];

	guest.pool = tmem_pool_create(guest.client, TMEM_POOL_PERSISTENT, NULL);
	if (guest.pool < 0)
		die("pool", guest.pool);
	for (uint32_t i = 0; i < guest.count; i++) {
		struct tmem_oid oid = oid_of(i);
		int result;

		fill(page, i);
		result = tmem_put(guest.client, guest.pool, &oid, i, page, 0);
		if (result < 0)
			die("put", result);
		guest.is_there[i] = result;
	}
}

static bool is_kept(uint32_t i)
{
	return i % 4 == 1;
}

static void flush_kept(void)
{
	struct tmem_oid oid;
	int err;

	while (!is_kept(guest.next_kept) || !guest.is_there[guest.next_kept])
		guest.next_kept = (guest.next_kept + 1) % guest.count;
	oid = oid_of(guest.next_kept);
	err = tmem_flush_page(guest.client, guest.pool, &oid, guest.next_kept);
	if (err < 0)
		die("flush", err);
	guest.is_there[guest.next_kept] = false;
}

/* Until the daemon has no such client any more. */
static void *run(void *opaque)
{
	uint64_t seed = 1;

	while (!atomic_load(&guest.is_stopped)) {
		struct tmem_oid oid;
		uint32_t i;

		seed = seed * 6364136223846793005u + 1442695040888963407u;
		i = (uint32_t)(seed >> 33) % guest.count;
		if (is_kept(i))
			continue;
		oid = oid_of(i);
		if (tmem_flush_page(guest.client, guest.pool, &oid, i) < 0)
			break;
		guest.is_there[i] = false;
		usleep(500);
	}
	return opaque;
}

static void flush(void)
{
	flush_kept();
	puts("flushed");
}

static void stop(void)
{
	uint32_t left = 0;

	atomic_store(&guest.is_stopped, true);
	pthread_join(guest.thread, NULL);
	flush_kept();
	for (uint32_t i = 0; i < guest.count; i++)
		left += guest.is_there[i];
	printf("stopped %" PRIu32 "\n", left);
}

static void check(const char *socket)
{
	bool is_here = !strcmp(socket, guest.socket);
	struct tmem_client *client = is_here ? guest.client : attach(socket);
	uint32_t missing = 0, stale = 0, wrong = 0;
	char page[TMEM_PAGE_SIZE], want[TMEM_PAGE_SIZE];

	for (uint32_t i = 0; i < guest.count; i++) {
		struct tmem_oid oid = oid_of(i);
		int result = tmem_get(client, guest.pool, &oid, i, page, 0);

		if (result < 0)
			die("get", result);
		fill(want, i);
		missing += result != TMEM_GET_HIT && guest.is_there[i];
		stale += result == TMEM_GET_HIT && !guest.is_there[i];
		wrong += result == TMEM_GET_HIT &&
			 memcmp(page, want, sizeof(page));
	}
	if (!is_here)
		tmem_client_detach(client);
	printf("missing %" PRIu32 " stale %" PRIu32 " wrong %" PRIu32 "\n",
	       missing, stale, wrong);
}

int main(int argc, char **argv)
{
	char line[256];

	if (argc != 4)
		return 2;
	setvbuf(stdout, NULL, _IOLBF, 0);
	guest.socket = argv[1];
	guest.name = argv[2];
	guest.count = (uint32_t)atoi(argv[3]);
	guest.is_there = calloc(guest.count, sizeof(*guest.is_there));
	guest.client = attach(argv[1]);
	put_all();
	if (pthread_create(&guest.thread, NULL, run, NULL))
		return 1;
	puts("ready");
	while (fgets(line, sizeof(line), stdin)) {
		line[strcspn(line, "\n")] = 0;
		if (!strcmp(line, "stop"))
			stop();
		else if (!strcmp(line, "flush"))
			flush();
		else if (!strncmp(line, "check ", 6))
			check(line + 6);
	}
	if (!atomic_load(&guest.is_stopped)) {
		atomic_store(&guest.is_stopped, true);
		pthread_join(guest.thread, NULL);
	}
	tmem_client_detach(guest.client);
	free(guest.is_there);
	return 0;
}
