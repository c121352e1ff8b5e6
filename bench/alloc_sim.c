/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What an allocator makes of a list of sizes (see alloc_bench.h).
 *
 *	alloc_sim [-a zsmalloc] [-m MOVES] [-c ROUNDS] [-k] [-s SEED] FILE...
 *
 * FILE has one size per line, in bytes: `tmem bench` and doc/size-classes.md
 * say how to get them from real pages.
 */
#include <config.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "alloc_bench.h"

extern const struct tmem_allocator tm_allocator_zbud;
extern const struct tmem_allocator tm_allocator_zsmalloc;

static uint32_t *read_sizes(const char *path, uint32_t *count)
{
	FILE *file = fopen(path, "r");
	uint32_t *sizes = NULL;
	uint32_t room = 0;
	unsigned size;

	*count = 0;
	if (!file)
		return NULL;
	while (fscanf(file, "%u", &size) == 1) {
		if (*count == room) {
			uint32_t *more;

			room = room ? room * 2 : 4096;
			more = realloc(sizes, room * sizeof(*sizes));
			if (!more)
				break;
			sizes = more;
		}
		if (size && size <= TMEM_FRAME_SIZE)
			sizes[(*count)++] = size;
	}
	fclose(file);
	return sizes;
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

int main(int argc, char **argv)
{
	struct tm_alloc_bench_input in = {
		.allocator = &tm_allocator_zsmalloc,
		.churn_rounds = 4,
		.moves_at_once = 16,
		.seed = 1,
	};
	int option;
	int failed = 0;

	while ((option = getopt(argc, argv, "a:c:km:s:")) != -1) {
		if (option == 'a' && !strcmp(optarg, "zbud"))
			in.allocator = &tm_allocator_zbud;
		else if (option == 'c')
			in.churn_rounds = (uint32_t)atoi(optarg);
		else if (option == 'k')
			in.keep_sizes = 1;
		else if (option == 'm')
			in.moves_at_once = (uint32_t)atoi(optarg);
		else if (option == 's')
			in.seed = strtoull(optarg, NULL, 0);
		else if (option != 'a')
			return 2;
	}
	for (; optind < argc; optind++) {
		struct tm_alloc_bench_result result;
		uint32_t *sizes = read_sizes(argv[optind], &in.count);

		in.sizes = sizes;
		if (!in.count || tm_alloc_bench_run(&in, &result)) {
			fprintf(stderr, "%s: no sizes, or no memory\n",
				argv[optind]);
			failed = 1;
		} else {
			report(argv[optind], &in, &result);
		}
		free(sizes);
	}
	return failed;
}
