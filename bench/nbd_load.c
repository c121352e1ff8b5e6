/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How many requests of a page NBD servers answer in a second, side by side.
 *
 *	nbd_load PAGES ROUNDS BASE=URI NAME=URI...
 *
 * PAGES is a dump of raw pages. In each round every server in its turn gets all
 * pages written and read again, in an order by chance, with one request under
 * way and with 32. A round's ratio is a server's rate to the first one's, which
 * stands for what the protocol costs by itself; printed are the medians of the
 * rounds, so that what else the machine does meanwhile hardly matters:
 *
 *	NAME DEPTH WRITES/s READS/s WRITES:BASE READS:BASE
 *
 * Before anything is measured, what was written is compared with what is read;
 * "!" after the name says that it differs (a server that keeps nothing).
 *
 * Pages of one repeated word are left out: they would measure something else.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <libnbd.h>

#include "clock.h"

#define PAGE 4096
#define SERVERS_MAX 8
#define ROUNDS_MAX 99
#define DEPTHS 2
#define DEPTH_MAX 32

static const uint32_t depths[DEPTHS] = { 1, DEPTH_MAX };

struct server {
	const char *name;
	const char *uri;
	struct nbd_handle *nbd;
	bool keeps;
	double rate[DEPTHS][2][ROUNDS_MAX];	/* writes, reads */
};

struct bench {
	uint8_t *pages;
	uint32_t *order;
	uint32_t count;
	uint32_t rounds;
	uint8_t *buffers;			/* DEPTH_MAX pages */
	struct server servers[SERVERS_MAX];
	uint32_t server_count;
	/* of the pass that runs */
	uint8_t *free[DEPTH_MAX];
	uint32_t free_count;
	int error;
};

struct request {
	struct bench *bench;
	uint8_t *buffer;
};

static int fail(const char *what)
{
	const char *why = nbd_get_error();

	fprintf(stderr, "nbd_load: %s: %s\n", what,
		why ? why : strerror(errno));
	return -EIO;
}

/* --- one pass ------------------------------------------------------ */

static int request_done(void *opaque, int *error)
{
	struct request *request = opaque;
	struct bench *bench = request->bench;

	if (*error)
		bench->error = -*error;
	bench->free[bench->free_count++] = request->buffer;
	return 1;
}

static int submit(struct bench *bench, struct server *server,
		  struct request *requests, uint32_t page, bool is_write)
{
	uint8_t *buffer = bench->free[--bench->free_count];
	struct request *request =
		&requests[(size_t)(buffer - bench->buffers) / PAGE];
	nbd_completion_callback done = {
		.callback = request_done,
		.user_data = request,
	};
	uint64_t offset = (uint64_t)page * PAGE;
	int64_t cookie;

	*request = (struct request){ bench, buffer };
	if (is_write)
		cookie = nbd_aio_pwrite(server->nbd,
					bench->pages + (size_t)page * PAGE,
					PAGE, offset, done, 0);
	else
		cookie = nbd_aio_pread(server->nbd, buffer, PAGE, offset, done,
				       0);
	return cookie < 0 ? fail(server->name) : 0;
}

/* All pages, @depth requests under way; per second, or < 0. */
static double run_pass(struct bench *bench, struct server *server,
		       uint32_t depth, bool is_write)
{
	struct request requests[DEPTH_MAX];
	uint64_t begin_ns = tm_clock_now_ns(tm_clock_system());
	uint32_t next = 0;

	bench->free_count = 0;
	for (uint32_t i = 0; i < depth; i++)
		bench->free[bench->free_count++] =
			bench->buffers + (size_t)i * PAGE;
	while (next < bench->count || bench->free_count < depth) {
		while (next < bench->count && bench->free_count)
			if (submit(bench, server, requests,
				   bench->order[next++], is_write))
				return -1;
		if (nbd_poll(server->nbd, -1) < 0)
			return fail(server->name);
		if (bench->error) {
			fprintf(stderr, "nbd_load: %s: %s\n", server->name,
				strerror(-bench->error));
			return -1;
		}
	}
	return bench->count * 1e9 /
	       (double)(tm_clock_now_ns(tm_clock_system()) - begin_ns);
}

static int check(struct bench *bench, struct server *server)
{
	if (run_pass(bench, server, DEPTH_MAX, true) < 0)
		return -EIO;
	server->keeps = true;
	for (uint32_t i = 0; i < bench->count; i++) {
		uint32_t page = bench->order[i];

		if (nbd_pread(server->nbd, bench->buffers, PAGE,
			      (uint64_t)page * PAGE, 0) < 0)
			return fail(server->name);
		if (memcmp(bench->buffers, bench->pages + (size_t)page * PAGE,
			   PAGE))
			server->keeps = false;
	}
	return 0;
}

static int measure(struct bench *bench)
{
	for (uint32_t round = 0; round < bench->rounds; round++)
		for (uint32_t i = 0; i < bench->server_count * DEPTHS * 2;
		     i++) {
			struct server *server =
				&bench->servers[i % bench->server_count];
			uint32_t what = i / bench->server_count;
			double rate = run_pass(bench, server, depths[what / 2],
					       what % 2 == 0);

			if (rate < 0)
				return -EIO;
			server->rate[what / 2][what % 2][round] = rate;
		}
	return 0;
}

/* --- report -------------------------------------------------------- */

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(const double *values, uint32_t count)
{
	double sorted[ROUNDS_MAX];

	memcpy(sorted, values, count * sizeof(*values));
	qsort(sorted, count, sizeof(*sorted), compare);
	return sorted[count / 2];
}

static void report(const struct bench *bench)
{
	double ratios[2][ROUNDS_MAX];

	for (uint32_t s = 0; s < bench->server_count; s++) {
		const struct server *server = &bench->servers[s];

		for (uint32_t d = 0; d < DEPTHS; d++) {
			for (uint32_t w = 0; w < 2; w++)
				for (uint32_t i = 0; i < bench->rounds; i++)
					ratios[w][i] =
						server->rate[d][w][i] /
						bench->servers[0].rate[d][w][i];
			printf("%s%s %" PRIu32 " %.0f %.0f %.3f %.3f\n",
			       server->name, server->keeps ? "" : "!",
			       depths[d],
			       median(server->rate[d][0], bench->rounds),
			       median(server->rate[d][1], bench->rounds),
			       median(ratios[0], bench->rounds),
			       median(ratios[1], bench->rounds));
		}
	}
}

/* --- preparation --------------------------------------------------- */

static bool is_same_filled(const uint8_t *page)
{
	return !memcmp(page, page + sizeof(uint64_t), PAGE - sizeof(uint64_t));
}

static void shuffle(struct bench *bench)
{
	uint32_t chance = 1;

	for (uint32_t i = bench->count; i > 1; i--) {
		uint32_t other, kept = bench->order[i - 1];

		chance = chance * 1664525 + 1013904223;
		other = (uint32_t)((uint64_t)chance * i >> 32);
		bench->order[i - 1] = bench->order[other];
		bench->order[other] = kept;
	}
}

static int read_pages(struct bench *bench, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat status;
	size_t pages;

	if (fd < 0 || fstat(fd, &status))
		return fail(path);
	pages = (size_t)status.st_size / PAGE;
	bench->pages = mmap(NULL, (size_t)status.st_size, PROT_READ,
			    MAP_PRIVATE | MAP_POPULATE, fd, 0);
	bench->order = malloc((pages + 1) * sizeof(*bench->order));
	bench->buffers = aligned_alloc(PAGE, DEPTH_MAX * PAGE);
	if (bench->pages == MAP_FAILED || !bench->order || !bench->buffers)
		return fail(path);
	for (size_t i = 0; i < pages; i++)
		if (!is_same_filled(bench->pages + i * PAGE))
			bench->order[bench->count++] = (uint32_t)i;
	if (!bench->count) {
		fprintf(stderr, "nbd_load: %s: no pages to compress\n", path);
		return -EINVAL;
	}
	shuffle(bench);
	return 0;
}

static int add_server(struct bench *bench, char *argument)
{
	struct server *server = &bench->servers[bench->server_count++];
	char *equals = strchr(argument, '=');

	if (!equals) {
		fprintf(stderr, "nbd_load: \"%s\" is not NAME=URI\n", argument);
		return -EINVAL;
	}
	*equals = 0;
	server->name = argument;
	server->uri = equals + 1;
	server->nbd = nbd_create();
	if (!server->nbd || nbd_connect_uri(server->nbd, server->uri))
		return fail(argument);
	return check(bench, server);
}

int main(int argc, char **argv)
{
	struct bench *bench = calloc(1, sizeof(*bench));
	int err = bench ? 0 : -ENOMEM;

	if (argc < 4 || argc > 3 + SERVERS_MAX) {
		fputs("usage: nbd_load PAGES ROUNDS NAME=URI...\n", stderr);
		return 2;
	}
	if (!err) {
		bench->rounds = (uint32_t)strtoul(argv[2], NULL, 10);
		if (!bench->rounds || bench->rounds > ROUNDS_MAX)
			bench->rounds = 1;
		err = read_pages(bench, argv[1]);
	}
	for (int i = 3; i < argc && !err; i++)
		err = add_server(bench, argv[i]);
	if (!err)
		err = measure(bench);
	if (!err)
		report(bench);
	for (uint32_t i = 0; bench && i < bench->server_count; i++)
		nbd_close(bench->servers[i].nbd);
	return err != 0;
}
