/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * swapregion: 256 MiB of a program's memory, kept in 64 MiB.
 *
 * The program here fills its memory, then threads of it read and change pages,
 * mostly those they used lately; every page carries what is needed to check it,
 * and is checked whenever it is touched, and once more in the end. A part of
 * the pages cannot be compressed, and the store is too small for all of it, so
 * that the swap file is used as well.
 *
 *	swapregion [--size 256M] [--memory 64M] [--store 64M | --socket PATH]
 *		   [--file PATH] [--steps N] [--threads N] [--seed N]
 *
 * --store 0: no tmem, all to the file. Exit status 77: this system cannot.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "guest.h"
#include "region.h"

#define PAGE TMEM_PAGE_SIZE
#define WORDS (PAGE / sizeof(uint64_t))
#define THREADS_MAX 16

struct options {
	struct guest_options guest;
	uint64_t bytes, resident_bytes;
	const char *file;
	uint64_t steps, seed;
	unsigned threads;
};

struct worker {
	const struct options *options;
	uint64_t *memory;
	uint32_t *version; /* of each page: 0 before it is filled */
	uint64_t first, pages; /* its part */
	uint64_t state;
	pthread_t thread;
};

static uint64_t mix(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

/* One page in eight is noise; the others are small numbers and pointers. */
static uint64_t word_of(uint64_t n, uint32_t version, size_t i, uint64_t *state)
{
	uint64_t r = mix(state);

	if (i == 0)
		return n << 32 | version;
	if (n % 8 == 7)
		return r;
	return r % 4 ? r % 4 - 1 : UINT64_C(0x7f0000000000) + (r >> 44) * 16;
}

static uint64_t state_of(uint64_t n, uint32_t version)
{
	return n * UINT64_C(0xd1342543de82ef95) + version;
}

static void fill(struct worker *w, uint64_t n)
{
	uint64_t *page = w->memory + n * WORDS;
	uint64_t state = state_of(n, ++w->version[n]);

	for (size_t i = 0; i < WORDS; i++)
		page[i] = word_of(n, w->version[n], i, &state);
}

static void check(struct worker *w, uint64_t n)
{
	const uint64_t *page = w->memory + n * WORDS;
	uint64_t state = state_of(n, w->version[n]);

	for (size_t i = 0; i < WORDS; i++) {
		uint64_t want = word_of(n, w->version[n], i, &state);

		if (page[i] == want)
			continue;
		fprintf(stderr,
			"swapregion: page %" PRIu64 " word %zu: %" PRIx64
			" instead of %" PRIx64 "\n",
			n, i, page[i], want);
		abort();
	}
}

static void *work(void *argument)
{
	struct worker *w = argument;
	uint64_t recent = w->first;

	for (uint64_t n = w->first; n < w->first + w->pages; n++)
		fill(w, n);
	for (uint64_t i = 0; i < w->options->steps; i++) {
		uint64_t r = mix(&w->state);
		uint64_t n = recent + (r >> 32) % (w->pages / 16 + 1);

		if (r % 64 == 0)
			recent = w->first + (r >> 16) % w->pages;
		n = w->first + (n - w->first) % w->pages;
		check(w, n);
		if (r % 3 == 0)
			fill(w, n);
	}
	for (uint64_t n = w->first; n < w->first + w->pages; n++)
		check(w, n);
	return NULL;
}

static int run(const struct options *o, uint64_t *memory)
{
	uint64_t pages = o->bytes / PAGE;
	uint32_t *version = calloc(pages, sizeof(*version));
	struct worker workers[THREADS_MAX];

	if (!version)
		return -ENOMEM;
	for (unsigned i = 0; i < o->threads; i++) {
		struct worker *w = &workers[i];

		*w = (struct worker){ .options = o,
				      .memory = memory,
				      .version = version,
				      .first = pages / o->threads * i,
				      .pages = pages / o->threads,
				      .state = o->seed + i };
		if (pthread_create(&w->thread, NULL, work, w))
			abort();
	}
	for (unsigned i = 0; i < o->threads; i++)
		pthread_join(workers[i].thread, NULL);
	free(version);
	return 0;
}

static void report(struct guest *guest, struct region *region,
		   const struct options *o, double seconds)
{
	struct tmem_frontswap_counts swap = { .struct_size = sizeof(swap) };
	struct region_counts n;

	region_get_counts(region, &n);
	tmem_frontswap_get_counts(guest->frontswap, &swap);
	printf("memory: %" PRIu64 " MiB in %" PRIu64 " MiB, seed %" PRIu64 "\n",
	       o->bytes >> 20, n.resident_pages * PAGE >> 20, o->seed);
	printf("faults: %" PRIu64 ", of new pages %" PRIu64 "\n", n.faults,
	       n.zero_fills);
	printf("evictions: %" PRIu64 "\n", n.evictions);
	printf("frontswap: stores %" PRIu64 " refused %" PRIu64
	       " loads %" PRIu64 "\n",
	       swap.succ_stores, swap.failed_stores, swap.loads);
	printf("file: writes %" PRIu64 " reads %" PRIu64 "\n", n.file_writes,
	       n.file_reads);
	printf("seconds: %.2f\n", seconds);
	printf("all pages are as they were written\n");
}

static int open_file(const char *path)
{
	const char *dir = getenv("TMPDIR");
	int fd = path ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600)
		      : open(dir ? dir : "/var/tmp",
			     O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	if (fd < 0) {
		fprintf(stderr, "swapregion: the swap file: %s\n",
			strerror(errno));
		exit(EXIT_FAILURE);
	}
	return fd;
}

_Noreturn static void usage(void)
{
	fputs("usage: swapregion [--size 256M] [--memory 64M]\n"
	      "                  [--store 64M | --socket PATH] [--file PATH]\n"
	      "                  [--steps N] [--threads N] [--seed N]\n",
	      stderr);
	exit(EXIT_FAILURE);
}

static void parse(struct options *o, int argc, char **argv)
{
	static const struct option longs[] = {
		{ "size", required_argument, NULL, 's' },
		{ "memory", required_argument, NULL, 'm' },
		{ "store", required_argument, NULL, 't' },
		{ "socket", required_argument, NULL, 'S' },
		{ "file", required_argument, NULL, 'f' },
		{ "steps", required_argument, NULL, 'n' },
		{ "threads", required_argument, NULL, 'T' },
		{ "seed", required_argument, NULL, 'r' },
		{ NULL, 0, NULL, 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		switch (c) {
		case 's':
			o->bytes = guest_size("swapregion", optarg);
			break;
		case 'm':
			o->resident_bytes = guest_size("swapregion", optarg);
			break;
		case 't':
			o->guest.store_bytes = guest_size("swapregion", optarg);
			break;
		case 'S':
			o->guest.socket = optarg;
			break;
		case 'f':
			o->file = optarg;
			break;
		case 'n':
			o->steps = strtoull(optarg, NULL, 0);
			break;
		case 'T':
			o->threads = (unsigned)atoi(optarg);
			break;
		case 'r':
			o->seed = strtoull(optarg, NULL, 0);
			break;
		default:
			usage();
		}
	}
	o->bytes &= ~(uint64_t)(PAGE - 1);
	if (optind != argc || !o->threads || o->threads > THREADS_MAX ||
	    o->bytes / PAGE < o->threads || o->resident_bytes < 8 * PAGE) {
		fprintf(stderr, "swapregion: a number is out of range, or a "
				"word is no option\n");
		usage();
	}
}

int main(int argc, char **argv)
{
	struct options o = {
		.guest = { .name = "swapregion", .store_bytes = 64 << 20 },
		.bytes = 256 << 20,
		.resident_bytes = 64 << 20,
		.steps = 100000,
		.threads = 2,
		.seed = (uint64_t)time(NULL),
	};
	struct timespec begin, end;
	struct region_config config;
	struct region *region;
	struct guest guest;
	int err;

	parse(&o, argc, argv);
	if (guest_open(&guest, &o.guest))
		return EXIT_FAILURE;
	config = (struct region_config){ .bytes = o.bytes,
					 .resident_bytes = o.resident_bytes,
					 .frontswap = guest.frontswap,
					 .file = open_file(o.file) };
	tmem_frontswap_set_mode(guest.frontswap, TMEM_FRONTSWAP_EXCLUSIVE);
	err = region_open(&config, &region);
	if (err) {
		fprintf(stderr, "swapregion: %s\n", strerror(-err));
		return err == -ENOTSUP ? 77 : EXIT_FAILURE;
	}
	clock_gettime(CLOCK_MONOTONIC, &begin);
	err = run(&o, region_address(region));
	clock_gettime(CLOCK_MONOTONIC, &end);
	if (!err)
		report(&guest, region, &o,
		       (double)(end.tv_sec - begin.tv_sec) +
			       (double)(end.tv_nsec - begin.tv_nsec) * 1e-9);
	region_close(region);
	guest_close(&guest);
	close(config.file);
	return err ? EXIT_FAILURE : EXIT_SUCCESS;
}
