/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What an allocator makes of the sizes of compressed pages (alloc_bench.h).
 *
 *	alloc_sim [-a NAME] [-m MOVES] [-c ROUNDS] [-k] [-s SEED] SIZES...
 *	alloc_sim -z CODEC [...] PAGES...
 *	alloc_sim -z CODEC -p PAGES... > SIZES
 *	alloc_sim [-z CODEC] -b FILE...
 *
 * SIZES has one size per line, in bytes. With -z the files are dumps of raw
 * pages instead (`tmem capture` makes them): each page that is not same-filled
 * is compressed, and counts as a page when that saves nothing. -p prints the
 * sizes, -b how many there are in each 16 bytes, and nothing is simulated.
 */
#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <tmem/tmem.h>

#include "alloc_bench.h"
#include "plug.h"

#define BIN_BYTES 16u
#define BINS (TMEM_PAGE_SIZE / BIN_BYTES)

struct sizes {
	uint32_t *bytes;
	uint32_t count;
	uint32_t room;
};

/* --- the host of a codec */

static void host_log(void *opaque, enum tmem_log_level level, const char *text)
{
	(void)opaque;
	(void)level;
	fprintf(stderr, "%s\n", text);
}

static void *host_alloc(void *opaque, size_t size, size_t align)
{
	void *ptr;

	(void)opaque;
	if (posix_memalign(&ptr, align < sizeof(ptr) ? sizeof(ptr) : align,
			   size))
		return NULL;
	return memset(ptr, 0, size);
}

static void host_free(void *opaque, void *ptr, size_t size)
{
	(void)opaque;
	(void)size;
	free(ptr);
}

static uint64_t host_now_ns(void *opaque)
{
	(void)opaque;
	return 1;
}

static const struct tmem_host host = {
	.abi_version = TMEM_PLUGIN_ABI_VERSION,
	.struct_size = sizeof(struct tmem_host),
	.log = host_log,
	.now_ns = host_now_ns,
	.alloc = host_alloc,
	.free = host_free,
};

/* --- sizes */

static int sizes_add(struct sizes *sizes, uint32_t bytes)
{
	uint32_t *more;

	if (sizes->count == sizes->room) {
		sizes->room = sizes->room ? sizes->room * 2 : 4096;
		more = realloc(sizes->bytes, sizes->room * sizeof(*more));
		if (!more)
			return -ENOMEM;
		sizes->bytes = more;
	}
	sizes->bytes[sizes->count++] = bytes;
	return 0;
}

static int read_sizes(FILE *file, struct sizes *sizes)
{
	unsigned bytes;
	int err = 0;

	while (!err && fscanf(file, "%u", &bytes) == 1)
		if (bytes && bytes <= TMEM_FRAME_SIZE)
			err = sizes_add(sizes, bytes);
	return err;
}

static bool is_same_filled(const uint8_t *page)
{
	return !memcmp(page, page + 8, TMEM_PAGE_SIZE - 8);
}

static int read_pages(FILE *file, struct tm_codec_context *codec,
		      struct sizes *sizes)
{
	uint8_t page[TMEM_PAGE_SIZE];
	int err = 0;

	while (!err && fread(page, sizeof(page), 1, file) == 1) {
		size_t bytes;

		if (is_same_filled(page))
			continue;
		bytes = tm_codec_compress(codec, page, sizeof(page),
					  sizeof(page) - 1);
		err = sizes_add(sizes,
				bytes ? (uint32_t)bytes : TMEM_PAGE_SIZE);
	}
	return err;
}

static int read_file(const char *path, struct tm_codec_context *codec,
		     struct sizes *sizes)
{
	FILE *file = fopen(path, "rb");
	int err;

	if (!file)
		return -errno;
	err = codec ? read_pages(file, codec, sizes) : read_sizes(file, sizes);
	fclose(file);
	if (!err && !sizes->count)
		return -ENODATA;
	return err;
}

/* --- what is printed */

static void print_sizes(const struct sizes *sizes)
{
	for (uint32_t i = 0; i < sizes->count; i++)
		printf("%" PRIu32 "\n", sizes->bytes[i]);
}

static void print_bins(const struct sizes *sizes)
{
	uint32_t bins[BINS] = { 0 };

	for (uint32_t i = 0; i < sizes->count; i++)
		bins[(sizes->bytes[i] - 1) / BIN_BYTES]++;
	for (uint32_t i = 0; i < BINS; i++) {
		if (i % 16 == 0)
			printf("%4u", i * BIN_BYTES + 1);
		printf(" %5" PRIu32 "%s", bins[i], i % 16 == 15 ? "\n" : "");
	}
}

static void report(const char *name, const struct tm_alloc_bench_input *in,
		   const struct tm_alloc_bench_result *r)
{
	printf("%s %s, %" PRIu32 " objects\n", in->allocator->name, name,
	       in->count);
	printf("  density   fill %.4f  churn %.4f (least %.4f)  "
	       "free70 %.4f  free70_1s %.4f\n",
	       r->density.fill, r->density.churn, r->density.churn_min,
	       r->density.free70, r->density.free70_1s);
	printf("  overhead  %.4f  metadata %.2f B/object (churned %.2f)  "
	       "frames/run %.2f  slot waste %.4f (churned %.4f)\n",
	       r->overhead, r->metadata_per_object,
	       r->metadata_per_object_churned, r->frames_per_run, r->slot_waste,
	       r->slot_waste_churned);
	printf("  moves     %.4f per put (churn %.0f, free70 %.0f, "
	       "free70_1s %.0f)  refused %" PRIu64 "\n",
	       r->moves_per_put, r->moves_churn, r->moves_free70,
	       r->moves_free70_1s, r->refused);
	printf("  time      alloc %.0f ns  alloc+free %.0f ns  free %.0f ns\n",
	       r->alloc_ns, r->churn_ns, r->free_ns);
}

static int simulate(const char *path, struct tm_alloc_bench_input *in,
		    const struct sizes *sizes)
{
	struct tm_alloc_bench_result result;
	int err;

	in->sizes = sizes->bytes;
	in->count = sizes->count;
	err = tm_alloc_bench_run(in, &result);
	if (!err)
		report(path, in, &result);
	return err;
}

/* --- the command line */

struct words {
	const char *allocator;
	const char *codec;
	char what; /* 'p', 'b', or 0: simulate */
	struct tm_alloc_bench_input in;
};

static int parse(int argc, char **argv, struct words *words)
{
	int option;

	while ((option = getopt(argc, argv, "a:bc:km:ps:z:")) != -1) {
		switch (option) {
		case 'a':
			words->allocator = optarg;
			break;
		case 'b':
		case 'p':
			words->what = (char)option;
			break;
		case 'c':
			words->in.churn_rounds = (uint32_t)atoi(optarg);
			break;
		case 'k':
			words->in.keep_sizes = 1;
			break;
		case 'm':
			words->in.moves_at_once = (uint32_t)atoi(optarg);
			break;
		case 's':
			words->in.seed = strtoull(optarg, NULL, 0);
			break;
		case 'z':
			words->codec = optarg;
			break;
		default:
			return -EINVAL;
		}
	}
	return optind < argc ? 0 : -EINVAL;
}

static int run(const char *path, struct words *words,
	       struct tm_codec_context *codec)
{
	struct sizes sizes = { NULL, 0, 0 };
	int err = read_file(path, codec, &sizes);

	if (!err && words->what == 'p')
		print_sizes(&sizes);
	else if (!err && words->what == 'b')
		print_bins(&sizes);
	else if (!err)
		err = simulate(path, &words->in, &sizes);
	if (err)
		fprintf(stderr, "%s: %s\n", path, strerror(-err));
	free(sizes.bytes);
	return err;
}

int main(int argc, char **argv)
{
	struct words words = {
		.allocator = tmem_default_allocator(),
		.in = { .churn_rounds = 4, .moves_at_once = 16, .seed = 1 },
	};
	struct tmem_plugins *plugins;
	struct tm_codec *codec = NULL;
	struct tm_codec_context *context = NULL;
	int failed = 0;

	if (parse(argc, argv, &words)) {
		fprintf(stderr, "usage: alloc_sim [-a ALLOCATOR] [-z CODEC] "
				"[-m MOVES] [-c ROUNDS] [-k] [-s SEED] "
				"[-p | -b] FILE...\n");
		return 2;
	}
	if (tmem_plugins_open(NULL, NULL, NULL, &plugins))
		return EXIT_FAILURE;
	words.in.allocator =
		tm_plugins_find_allocator(plugins, words.allocator);
	if (!words.in.allocator) {
		fprintf(stderr, "there is no allocator %s\n", words.allocator);
		return EXIT_FAILURE;
	}
	if (words.codec && (tm_codec_open(plugins, words.codec, TMEM_PAGE_SIZE,
					  &host, &codec) ||
			    tm_codec_context_create(codec, &context)))
		return EXIT_FAILURE;
	for (; optind < argc; optind++)
		failed |= run(argv[optind], &words, context) != 0;
	if (context)
		tm_codec_context_destroy(context);
	tm_codec_close(codec);
	tmem_plugins_close(plugins);
	return failed;
}
