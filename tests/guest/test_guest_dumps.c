/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * End to end: page cache and swap, cleancache and frontswap, driver,
 * hypercall, store; with real pages as contents, each compared byte for byte.
 *
 * The guest is small: each of its processors has a file system whose files are
 * the pages of a dump, a page cache of a few frames over it, memory that
 * programs fill and change, and a swap device for what does not fit. Each
 * access is checked against the dump, or against the version that was written
 * last. A disk read that tmem saved must bring what the disk has, and a page
 * that was swapped out what the program wrote.
 *
 * The dump is TMEM_TEST_PAGES, any file of pages, or this program with the
 * libraries that it has mapped. The store is so small that pages are refused
 * and evicted.
 */
#include <config.h>

#include <fcntl.h>
#include <pthread.h>

#include "guest_rig.h"

#define DUMP_PAGES_MAX 2048u
#define CPUS 3
#define CACHE_FRAMES 32u
#define ANON_PAGES 512u
#define ANON_FRAMES 32u
#define FILE_PAGES 64u /* of each file */
#define STEPS 6000

struct dump {
	uint8_t *pages;
	uint32_t count;
};

static void add_file(struct dump *dump, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	while (fd >= 0 && dump->count < DUMP_PAGES_MAX &&
	       read(fd, dump->pages + (size_t)dump->count * TMEM_PAGE_SIZE,
		    TMEM_PAGE_SIZE) == TMEM_PAGE_SIZE)
		dump->count++;
	if (fd >= 0)
		close(fd);
}

static void read_dump(struct dump *dump)
{
	char line[512], path[256], before[256] = "";
	FILE *maps = fopen("/proc/self/maps", "re");

	dump->pages = malloc((size_t)DUMP_PAGES_MAX * TMEM_PAGE_SIZE);
	dump->count = 0;
	ck_assert_ptr_nonnull(dump->pages);
	if (getenv("TMEM_TEST_PAGES")) {
		add_file(dump, getenv("TMEM_TEST_PAGES"));
		ck_assert_uint_gt(dump->count, 0);
	}
	while (maps && fgets(line, sizeof(line), maps))
		if (sscanf(line, "%*s %*s %*s %*s %*s %255s", path) == 1 &&
		    *path == '/' && strcmp(path, before)) {
			add_file(dump, path);
			strcpy(before, path);
		}
	if (maps)
		fclose(maps);
	ck_assert_uint_gt(dump->count, 2 * FILE_PAGES);
}

/* --- one processor ------------------------------------------------------- */

struct frame {
	int64_t holds; /* page of the dump, or of memory; -1: nothing */
	uint8_t page[TMEM_PAGE_SIZE];
};

struct cpu {
	struct linux_guest *g;
	const struct dump *dump;
	struct tmem_cleancache_fs *fs;
	unsigned type;
	uint64_t state;
	/* the page cache */
	struct frame cache[CACHE_FRAMES];
	/* memory: what each page holds is its version of a page of the dump */
	struct frame frames[ANON_FRAMES];
	uint32_t version[ANON_PAGES]; /* 0: never touched */
	uint8_t *swap; /* the device */
	bool is_on_swap[ANON_PAGES];
	/* what happened */
	uint64_t disk_reads, cleancache_hits;
	uint64_t swap_writes, swap_reads, frontswap_loads;
};

static const uint8_t *dump_page(const struct cpu *cpu, uint64_t n)
{
	return cpu->dump->pages + n % cpu->dump->count * TMEM_PAGE_SIZE;
}

static void read_file_page(struct cpu *cpu, uint32_t n)
{
	struct frame *frame = &cpu->cache[n % CACHE_FRAMES];
	struct tmem_cleancache_file file =
		guest_file(frame->holds / FILE_PAGES);

	if (frame->holds != n) {
		if (frame->holds >= 0)
			tmem_cleancache_put(cpu->fs, &file,
					    (uint64_t)frame->holds % FILE_PAGES,
					    frame->page);
		file = guest_file(n / FILE_PAGES);
		frame->holds = n;
		if (tmem_cleancache_get(cpu->fs, &file, n % FILE_PAGES,
					frame->page) == TMEM_GET_HIT) {
			cpu->cleancache_hits++;
		} else {
			memcpy(frame->page, dump_page(cpu, n), TMEM_PAGE_SIZE);
			cpu->disk_reads++;
		}
	}
	ck_assert_mem_eq(frame->page, dump_page(cpu, n), TMEM_PAGE_SIZE);
}

/* What a program has written to a page, for the version'th time. */
static void content(const struct cpu *cpu, uint32_t n, uint8_t *page)
{
	memcpy(page, dump_page(cpu, n * 31 + cpu->version[n]), TMEM_PAGE_SIZE);
	memcpy(page + 100, &cpu->version[n], sizeof(cpu->version[n]));
	memcpy(page + 104, &n, sizeof(n));
}

static void swap_out(struct cpu *cpu, struct frame *frame)
{
	uint32_t n = (uint32_t)frame->holds;

	if (tmem_frontswap_store(cpu->g->swap, cpu->type, n, frame->page) !=
	    TMEM_FRONTSWAP_STORED) {
		memcpy(cpu->swap + (size_t)n * TMEM_PAGE_SIZE, frame->page,
		       TMEM_PAGE_SIZE);
		cpu->swap_writes++;
	}
	cpu->is_on_swap[n] = true;
}

static void swap_in(struct cpu *cpu, struct frame *frame, uint32_t n)
{
	int result =
		tmem_frontswap_load(cpu->g->swap, cpu->type, n, frame->page);

	ck_assert_int_ge(result, 0);
	if (result == TMEM_FRONTSWAP_MISS) {
		memcpy(frame->page, cpu->swap + (size_t)n * TMEM_PAGE_SIZE,
		       TMEM_PAGE_SIZE);
		cpu->swap_reads++;
	} else {
		cpu->frontswap_loads++;
	}
}

static void touch_memory(struct cpu *cpu, uint32_t n, bool is_write)
{
	struct frame *frame = &cpu->frames[n % ANON_FRAMES];
	uint8_t want[TMEM_PAGE_SIZE];

	if (frame->holds != n) {
		if (frame->holds >= 0)
			swap_out(cpu, frame);
		if (cpu->is_on_swap[n])
			swap_in(cpu, frame, n);
		else
			is_write = true; /* a new page */
		frame->holds = n;
	}
	if (is_write) {
		cpu->version[n]++;
		content(cpu, n, frame->page);
	}
	content(cpu, n, want);
	ck_assert_mem_eq(frame->page, want, TMEM_PAGE_SIZE);
}

static void free_memory(struct cpu *cpu, uint32_t n)
{
	if (!cpu->is_on_swap[n] || cpu->frames[n % ANON_FRAMES].holds == n)
		return;
	tmem_frontswap_invalidate_page(cpu->g->swap, cpu->type, n);
	cpu->is_on_swap[n] = false;
}

static void *run_cpu(void *argument)
{
	struct cpu *cpu = argument;

	for (int i = 0; i < STEPS; i++) {
		uint64_t r = tm_test_random(&cpu->state);
		/* Programs come back to what they used. */
		uint32_t n = (uint32_t)(r >> (r & 1 ? 32 : 37));

		if (r & 2)
			read_file_page(cpu, n % cpu->dump->count);
		else if (r & 0x1fc)
			touch_memory(cpu, n % ANON_PAGES, r & 0x400);
		else
			free_memory(cpu, n % ANON_PAGES);
	}
	return NULL;
}

static struct cpu *cpu_begin(struct linux_guest *g, const struct dump *dump,
			     unsigned number, uint64_t seed)
{
	struct cpu *cpu = calloc(1, sizeof(*cpu));

	ck_assert_ptr_nonnull(cpu);
	cpu->g = g;
	cpu->dump = dump;
	cpu->type = number;
	cpu->state = seed + number;
	cpu->swap = malloc((size_t)ANON_PAGES * TMEM_PAGE_SIZE);
	ck_assert_ptr_nonnull(cpu->swap);
	for (unsigned i = 0; i < CACHE_FRAMES; i++)
		cpu->cache[i].holds = -1;
	for (unsigned i = 0; i < ANON_FRAMES; i++)
		cpu->frames[i].holds = -1;
	cpu->fs = guest_mount(g, NULL);
	ck_assert_int_eq(tmem_frontswap_swapon(g->swap, number, ANON_PAGES), 0);
	return cpu;
}

static void cpu_end(struct cpu *cpu)
{
	tmem_frontswap_swapoff(cpu->g->swap, cpu->type);
	tmem_cleancache_unmount(cpu->fs);
	free(cpu->swap);
	free(cpu);
}

static void run_guest(enum guest_way way, uint64_t memory_bytes,
		      struct cpu *sum)
{
	uint64_t seed = tm_test_seed();
	struct cpu *cpus[CPUS];
	pthread_t threads[CPUS];
	struct linux_guest g;
	struct dump dump;

	read_dump(&dump);
	guest_boot(&g, way, memory_bytes);
	guest_load_driver(&g);
	for (unsigned i = 0; i < CPUS; i++) {
		cpus[i] = cpu_begin(&g, &dump, i, seed);
		ck_assert_int_eq(
			pthread_create(&threads[i], NULL, run_cpu, cpus[i]), 0);
	}
	for (unsigned i = 0; i < CPUS; i++) {
		pthread_join(threads[i], NULL);
		sum->disk_reads += cpus[i]->disk_reads;
		sum->cleancache_hits += cpus[i]->cleancache_hits;
		sum->swap_writes += cpus[i]->swap_writes;
		sum->swap_reads += cpus[i]->swap_reads;
		sum->frontswap_loads += cpus[i]->frontswap_loads;
		cpu_end(cpus[i]);
	}
	linux_guest_end(&g);
	free(dump.pages);
	printf("%" PRIu64 " disk reads, %" PRIu64 " saved; %" PRIu64
	       " swap writes, %" PRIu64 " reads, %" PRIu64 " saved\n",
	       sum->disk_reads, sum->cleancache_hits, sum->swap_writes,
	       sum->swap_reads, sum->frontswap_loads);
}

START_TEST(pages_come_back_byte_for_byte)
{
	struct cpu sum = { 0 };

	run_guest(_i, 64 * TM_MIB, &sum);
	ck_assert_uint_gt(sum.cleancache_hits, 0);
	ck_assert_uint_gt(sum.frontswap_loads, 0);
	/* There was room for all of it. */
	ck_assert_uint_eq(sum.swap_writes + sum.swap_reads, 0);
}
END_TEST

START_TEST(pages_come_back_from_a_store_that_refuses_and_evicts)
{
	struct cpu sum = { 0 };

	run_guest(_i, 2 * TM_MIB, &sum);
	ck_assert_uint_gt(sum.frontswap_loads, 0);
	ck_assert_uint_gt(sum.swap_writes, 0);
	ck_assert_uint_gt(sum.swap_reads, 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("guest, end to end");
	TCase *tcase = tcase_create("dumps");

	tcase_add_loop_test(tcase, pages_come_back_byte_for_byte, 0,
			    GUEST_WAYS);
	tcase_add_loop_test(
		tcase, pages_come_back_from_a_store_that_refuses_and_evicts, 0,
		GUEST_WAYS);
	suite_add_tcase(suite, tcase);
	return tm_test_run(suite);
}
