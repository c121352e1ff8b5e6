/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Runs inside a guest: uses more memory than the guest has, and knows what
 * must be in it.
 *
 *	guest_load MIB SEED [SHARED_MIB [COMMAND...]]
 *
 * Fills MIB mebibytes of anonymous memory, then does each COMMAND, by default
 * "verify verify free":
 *
 *	verify	compare every page with what it must be
 *	change	write every fourth page anew
 *	out	send all of it to swap, but for one page in 256 at most
 *	free	give it back to the guest's kernel
 *	wait	read a line from standard input
 *
 * and prints a line after each, "guest-load: COMMAND ok pages N ms N sum X",
 * with "wrong N" in place of "ok" and status 1 if pages were wrong. The first
 * line is for the command "fill".
 *
 * Whatever is wrong with a swap disk can only be seen on pages that are all
 * different and known in advance, so a page is made from (seed, index,
 * version) alone and made again to be compared; nothing else is remembered.
 * And what a compressed store saves can only be seen on pages that compress as
 * memory does: most are records with pointers, small numbers and names in
 * them, a quarter is text, one in sixteen is noise, one in sixteen is zeros.
 * lz4 makes a third of that. The first SHARED_MIB do not depend on SEED: they
 * are the same in every guest, page by page.
 *
 * Linked statically against libc alone, since nothing else is in there.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096
#define PAGES_PER_MIB (1048576 / PAGE)
/* How long pages may take to go: longer than any swap disk needs. */
#define SEND_OUT_MS 60000

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT 21
#endif

struct load {
	uint8_t *memory;
	uint64_t page_count;
	uint64_t shared_count;
	uint64_t seed;
	uint64_t version; /* of every fourth page; the others have 0 */
};

/* An array of these is what a heap looks like. */
struct record {
	uint64_t next;
	uint64_t owner;
	uint32_t count;
	uint32_t flags;
	char name[16];
	uint8_t unused[24];
};

static const char words[64][8] = {
	"memory",  "page",   "guest",  "host",   "index",  "object", "store",
	"the",     "of",     "and",    "to",     "in",     "is",     "that",
	"request", "answer", "status", "error",  "value",  "name",   "length",
	"offset",  "begin",  "end",    "first",  "last",   "next",   "count",
	"read",    "write",  "open",   "close",  "create", "remove", "user",
	"group",   "mode",   "time",   "server", "client", "socket", "file",
	"path",    "root",   "home",   "config", "cache",  "buffer", "block",
	"queue",   "thread", "lock",   "wait",   "wake",   "start",  "stop",
	"left",    "right",  "parent", "child",  "key",    "hash",   "table",
	"entry",
};

static uint64_t mix(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

static void make_records(uint8_t *page, uint64_t state)
{
	uint64_t heap = UINT64_C(0x7f0000000000) | (mix(&state) & 0xffff) << 20;
	struct record *record = (struct record *)page;

	for (unsigned i = 0; i < PAGE / sizeof(*record); i++) {
		uint64_t z = mix(&state);

		memset(&record[i], 0, sizeof(record[i]));
		record[i].next = heap + (z & 0xfff) * 64;
		record[i].owner = heap + (z >> 12 & 0xf) * 4096;
		record[i].count = z >> 16 & 0xff;
		record[i].flags = 1U << (z >> 24 & 3);
		memcpy(record[i].name, words[z >> 26 & 0xf], 8);
	}
}

static void make_text(uint8_t *page, uint64_t state)
{
	size_t end = 0;

	while (end < PAGE) {
		uint64_t z = mix(&state);

		for (unsigned i = 0; i < 10 && end < PAGE; i++, z >>= 6) {
			const char *word = words[z & 63];

			while (*word != '\0' && end < PAGE)
				page[end++] = (uint8_t)*word++;
			if (end < PAGE)
				page[end++] = i == 9 ? '\n' : ' ';
		}
	}
}

static void make_noise(uint8_t *page, uint64_t state)
{
	for (unsigned i = 0; i < PAGE; i += 8) {
		uint64_t z = mix(&state);

		memcpy(page + i, &z, 8);
	}
}

/* What page @index must be. */
static void make_page(const struct load *load, uint64_t index, uint8_t *page)
{
	uint64_t seed = index < load->shared_count ? 0 : load->seed;
	uint64_t version = index % 4 == 0 ? load->version : 0;
	uint64_t state = seed << 48 ^ version << 32 ^ index;
	uint64_t kind = mix(&state) & 15;

	if (kind == 0) {
		memset(page, 0, PAGE);
		return;
	}
	if (kind == 1)
		make_noise(page, state);
	else if (kind < 6)
		make_text(page, state);
	else
		make_records(page, state);
	/* No two alike but for zeros, whatever chance says. */
	state = seed << 48 ^ version << 32 ^ index;
	memcpy(page, &state, sizeof(state));
}

static uint64_t sum_page(const uint8_t *page)
{
	uint64_t sum = 0;
	uint64_t word;

	for (unsigned i = 0; i < PAGE; i += 64) {
		memcpy(&word, page + i, sizeof(word));
		sum = (sum ^ word) * UINT64_C(0x100000001b3);
	}
	return sum;
}

/* Return: how many pages were wrong. */
static uint64_t verify(const struct load *load, uint64_t *sum)
{
	_Alignas(64) uint8_t want[PAGE];
	uint64_t wrong = 0;

	for (uint64_t i = 0; i < load->page_count; i++) {
		const uint8_t *page = load->memory + i * PAGE;

		make_page(load, i, want);
		if (memcmp(page, want, PAGE) != 0 && ++wrong <= 4)
			printf("guest-load: page %" PRIu64 " is wrong\n", i);
		*sum += sum_page(page);
	}
	return wrong;
}

static void fill(const struct load *load)
{
	for (uint64_t i = 0; i < load->page_count; i++)
		make_page(load, i, load->memory + i * PAGE);
}

static void change(struct load *load)
{
	load->version++;
	for (uint64_t i = 0; i < load->page_count; i += 4)
		make_page(load, i, load->memory + i * PAGE);
}

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Return: how many pages the process has in its memory, as the kernel says:
 * bit 63 of each page's word. mincore() would count copies of pages that are in
 * swap already. */
static uint64_t count_present(const struct load *load)
{
	uint64_t first = (uint64_t)(uintptr_t)load->memory / PAGE;
	uint64_t words[512];
	uint64_t present = 0;
	uint64_t i = 0;
	int fd = open("/proc/self/pagemap", O_RDONLY);

	while (i < load->page_count) {
		uint64_t left = load->page_count - i;
		size_t size = (left < 512 ? left : 512) * sizeof(words[0]);
		ssize_t got = pread(fd, words, size,
				    (off_t)((first + i) * sizeof(words[0])));

		if (got <= 0)
			break;
		for (size_t j = 0; j < (size_t)got / sizeof(words[0]); j++, i++)
			present += words[j] >> 63;
	}
	close(fd);
	return present + (load->page_count - i);
}

/* Return: 0, or how many pages are in memory still, if that is more than some
 * that the kernel happens to hold on to. */
static uint64_t send_out(const struct load *load)
{
	uint64_t few = load->page_count / 256;
	int64_t until_ms = now_ms() + SEND_OUT_MS;

	/* What is under way, or was touched lately, goes the next time. */
	for (;;) {
		uint64_t present;

		madvise(load->memory, load->page_count * PAGE, MADV_PAGEOUT);
		present = count_present(load);
		if (present <= few)
			return 0;
		if (now_ms() >= until_ms)
			return present;
		usleep(100000);
	}
}

/* As the scripts in a guest do it. */
/* No further than the line's end: another may read from the same pipe. */
static bool await_line(void)
{
	char byte = 0;

	printf("guest: awaits\n");
	fflush(stdout);
	while (byte != '\n')
		if (read(STDIN_FILENO, &byte, 1) != 1)
			return false;
	return true;
}

/* Return: how many pages were wrong; -1: no such command. */
static int64_t run(struct load *load, const char *command)
{
	int64_t start_ms = now_ms();
	uint64_t wrong = 0;
	uint64_t sum = 0;

	if (strcmp(command, "fill") == 0)
		fill(load);
	else if (strcmp(command, "verify") == 0)
		wrong = verify(load, &sum);
	else if (strcmp(command, "change") == 0)
		change(load);
	else if (strcmp(command, "out") == 0)
		wrong = send_out(load);
	else if (strcmp(command, "free") == 0)
		munmap(load->memory, load->page_count * PAGE);
	else if (strcmp(command, "wait") == 0)
		wrong = !await_line();
	else
		return -1;
	printf("guest-load: %s ", command);
	if (wrong == 0)
		printf("ok");
	else
		printf("wrong %" PRIu64, wrong);
	printf(" pages %" PRIu64 " ms %" PRId64 " sum %016" PRIx64 "\n",
	       load->page_count, now_ms() - start_ms, sum);
	fflush(stdout);
	return (int64_t)wrong;
}

static uint64_t number(char **argv, int argc, int which)
{
	return which < argc ? strtoull(argv[which], NULL, 10) : 0;
}

int main(int argc, char **argv)
{
	static char *const usual[] = { "verify", "verify", "free" };
	struct load load = {
		.page_count = number(argv, argc, 1) * PAGES_PER_MIB,
		.seed = number(argv, argc, 2),
		.shared_count = number(argv, argc, 3) * PAGES_PER_MIB,
	};
	char *const *commands = argc > 4 ? argv + 4 : usual;
	int command_count = argc > 4 ? argc - 4 : 3;
	int64_t wrong = 0;

	if (load.page_count == 0 || load.seed == 0) {
		fprintf(stderr, "usage: guest_load MIB SEED [SHARED_MIB "
				"[COMMAND...]]\n");
		return 2;
	}
	load.memory = mmap(NULL, load.page_count * PAGE, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (load.memory == MAP_FAILED) {
		printf("guest-load: no memory: %s\n", strerror(errno));
		return 1;
	}
	run(&load, "fill");
	for (int i = 0; i < command_count && wrong == 0; i++)
		wrong = run(&load, commands[i]);
	return wrong != 0;
}
