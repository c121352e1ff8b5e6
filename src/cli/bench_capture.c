/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Real pages without preparation: from processes of its own, and files.
 *
 * The problem: a bench with made-up pages measures the maker's taste, and the
 * pages of other people's processes are nobody's business. The idea: start a
 * few small perl processes that build what programs build (an index of words,
 * records, texts, numbers) from the text of perl's own library, and read their
 * anonymous memory: /proc/PID/pagemap says which pages are there and not a
 * file's, /proc/PID/mem has the bytes. A process may read its own children's.
 * One page in eight comes from installed programs and libraries instead.
 *
 * Every page is taken once, and those of one repeated word not at all: both
 * cost next to nothing to store and would flatter every figure.
 *
 * The processes get an empty environment and end when their standard input
 * does, so that they are gone whatever ends the bench.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

#define FILES_SHARE 8			/* one page in so many */
#define FILE_PAGES_MAX 64		/* of one file */
#define READY_MS 120000
#define PAGEMAP_PRESENT (UINT64_C(1) << 63)
#define PAGEMAP_SWAPPED (UINT64_C(1) << 62)
#define PAGEMAP_FILE (UINT64_C(1) << 61)
#define CHUNK_PAGES 64

/* --- what the processes do -------------------------------------------------- */

/* $want: resident pages of its own at which a process has enough. */
#define PERL_BEGIN                                                             \
	"my $want = shift; my $calls = 0;"                                     \
	"sub enough { return 0 if ++$calls % 256;"                             \
	"	open my $f, '<', '/proc/self/statm' or return 1;"              \
	"	my @s = split ' ', <$f>; return $s[1] - $s[2] >= $want }"      \
	"sub texts { my (@d, @f) = @INC; while (defined(my $d = shift @d)) {"  \
	"	opendir my $h, $d or next;"                                    \
	"	for (sort readdir $h) { next if /^\\./; my $p = \"$d/$_\";"    \
	"		if (-l $p) { next } elsif (-d _) { push @d, $p }"      \
	"		elsif (/\\.(pm|pl|pod)$/) { push @f, $p } } } @f }"    \
	"sub slurp { open my $f, '<', shift or return ''; local $/;"           \
	"	my $t = <$f>; defined $t ? $t : '' }"                          \
	"my @texts = texts(); my $round = 0;"
#define PERL_END                                                               \
	"syswrite STDOUT, \"x\"; sysread STDIN, my $end, 1;"

static const char *const programs[] = {
	/* where each word stands */
	PERL_BEGIN
	"my %at; WORK: { $round++; for my $n (0 .. $#texts) { my $line = 0;"
	"	for (split /\\n/, slurp($texts[$n])) { $line++;"
	"		push @{$at{$_ . $round}}, \"$n:$line\" for /(\\w+)/g;"
	"		last WORK if enough() } }"
	"	redo if @texts && $round < 9999 }" PERL_END,
	/* records */
	PERL_BEGIN
	"srand 7; my @r; while (!enough()) { my $n = @r; push @r, { id => $n,"
	"	name => join('', map { chr 97 + rand 26 } 1 .. 4 + rand 8),"
	"	at => 1700000000 + int rand 3e7, score => rand 100,"
	"	state => (qw(new open held done))[rand 4],"
	"	parent => $n ? $r[rand $n] : undef,"
	"	tags => [map { 'tag' . int rand 50 } 1 .. rand 5] } }" PERL_END,
	/* texts, by line */
	PERL_BEGIN
	"my @l; WORK: { $round++; for my $p (@texts) { my $n = 0;"
	"	for (split /\\n/, slurp($p)) { $n++;"
	"		push @l, $round % 2 ? $_ : lc; "
	"		push @l, \"{\\\"file\\\":\\\"$p\\\",\\\"line\\\":$n,\\\""
	"text\\\":\\\"$_\\\"}\" if $n % 3 == 0;"
	"		last WORK if enough() } }"
	"	redo if @texts && $round < 9999 }" PERL_END,
	/* numbers: packed, plain, and sparse */
	PERL_BEGIN
	"srand 11; my (@p, @n, %s); my $x = 0; while (!enough()) {"
	"	$x += rand() - 0.5; my $i = @n;"
	"	push @n, int(1000 * $x); push @n, $x;"
	"	$s{int(rand 4000) . ',' . int(rand 4000)} = $i;"
	"	push @p, pack('N*', map { $i * 7 + $_ * $_ } 1 .. 32),"
	"		pack('d*', map { sin($x + $_ / 10) } 1 .. 16)"
	"		if $i % 8 == 0 }" PERL_END,
};
#define PROGRAMS (sizeof(programs) / sizeof(programs[0]))

struct worker {
	pid_t pid;
	int in;				/* closed: it ends */
	int out;			/* one byte: it is ready */
};

static int spawn_perl(struct worker *worker, const char *program, char *want,
		      const int in[2], const int out[2])
{
	char perl[] = "perl", option[] = "-e";
	char *copy = strdup(program);
	char *argv[] = { perl, option, copy, want, NULL };
	char *environment[] = { NULL };
	posix_spawn_file_actions_t actions;
	int err;

	if (!copy)
		return -ENOMEM;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, in[0], 0);
	posix_spawn_file_actions_adddup2(&actions, out[1], 1);
	err = posix_spawnp(&worker->pid, perl, &actions, NULL, argv,
			   environment);
	posix_spawn_file_actions_destroy(&actions);
	free(copy);
	return -err;
}

static int start(struct worker *worker, const char *program, uint32_t want)
{
	char argument[16];
	int in[2], out[2], err;

	if (pipe2(in, O_CLOEXEC))
		return -errno;
	if (pipe2(out, O_CLOEXEC)) {
		err = -errno;
		close(in[0]);
		close(in[1]);
		return err;
	}
	snprintf(argument, sizeof(argument), "%" PRIu32, want);
	err = spawn_perl(worker, program, argument, in, out);
	close(in[0]);
	close(out[1]);
	worker->in = in[1];
	worker->out = out[0];
	if (err) {
		close(worker->in);
		close(worker->out);
		worker->pid = 0;
	}
	return err;
}

static void stop(struct worker *worker)
{
	if (!worker->pid)
		return;
	close(worker->in);
	close(worker->out);
	/* It has nothing to save, and taking its data apart takes long. */
	kill(worker->pid, SIGKILL);
	while (waitpid(worker->pid, NULL, 0) < 0 && errno == EINTR)
		;
	worker->pid = 0;
}

static int wait_ready(const struct worker *worker)
{
	struct pollfd fd = { .fd = worker->out, .events = POLLIN };
	char byte;
	int ready;

	do {
		ready = poll(&fd, 1, READY_MS);
	} while (ready < 0 && errno == EINTR);
	if (ready < 0)
		return -errno;
	if (!ready)
		return -ETIMEDOUT;
	return read(worker->out, &byte, 1) == 1 ? 0 : -EPIPE;
}

/* --- every page once -------------------------------------------------------- */

struct collector {
	struct tm_bench_pages *pages;
	uint32_t most;			/* until here for now */
	uint32_t *slots;		/* page numbers + 1, by hash */
	uint32_t slot_mask;
};

static uint64_t page_hash(const uint8_t *page)
{
	uint64_t hash = 0, word;

	for (size_t i = 0; i < TMEM_PAGE_SIZE; i += sizeof(word)) {
		memcpy(&word, page + i, sizeof(word));
		hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
		hash ^= hash >> 32;
	}
	return hash;
}

static bool is_full(const struct collector *c)
{
	return c->pages->count >= c->most;
}

/* Keeps the page in the first free place if it is new there. */
static void collect(struct collector *c)
{
	struct tm_bench_pages *pages = c->pages;
	const uint8_t *page = tm_bench_page(pages, pages->count);
	uint32_t at;

	if (tm_bench_is_same_filled(page)) {
		pages->dropped_same_filled++;
		return;
	}
	at = (uint32_t)page_hash(page) & c->slot_mask;
	for (; c->slots[at]; at = (at + 1) & c->slot_mask)
		if (!memcmp(tm_bench_page(pages, c->slots[at] - 1), page,
			    TMEM_PAGE_SIZE)) {
			pages->dropped_duplicates++;
			return;
		}
	c->slots[at] = ++pages->count;
}

static int collector_open(struct collector *c, struct tm_bench_pages *pages,
			  uint32_t count)
{
	uint32_t slots = 1024;

	while (slots < count * 2)
		slots *= 2;
	*c = (struct collector){ .pages = pages, .slot_mask = slots - 1 };
	c->slots = calloc(slots, sizeof(*c->slots));
	return c->slots ? 0 : -ENOMEM;
}

/* --- processes -------------------------------------------------------------- */

static void collect_range(struct collector *c, int pagemap, int mem,
			  uint64_t begin, uint64_t end)
{
	uint64_t entries[CHUNK_PAGES];
	uint64_t at = begin / TMEM_PAGE_SIZE;

	while (at < end / TMEM_PAGE_SIZE && !is_full(c)) {
		size_t want = end / TMEM_PAGE_SIZE - at;
		ssize_t got;

		if (want > CHUNK_PAGES)
			want = CHUNK_PAGES;
		got = pread(pagemap, entries, want * sizeof(*entries),
			    (off_t)(at * sizeof(*entries)));
		if (got < (ssize_t)sizeof(*entries))
			return;
		want = (size_t)got / sizeof(*entries);
		for (size_t i = 0; i < want && !is_full(c); i++) {
			uint8_t *to = c->pages->bytes +
				      (size_t)c->pages->count * TMEM_PAGE_SIZE;

			if (!(entries[i] & (PAGEMAP_PRESENT | PAGEMAP_SWAPPED)) ||
			    entries[i] & PAGEMAP_FILE)
				continue;
			if (pread(mem, to, TMEM_PAGE_SIZE,
				  (off_t)((at + i) * TMEM_PAGE_SIZE)) ==
			    TMEM_PAGE_SIZE)
				collect(c);
		}
		at += want;
	}
}

static int open_proc(pid_t pid, const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	return open(path, O_RDONLY | O_CLOEXEC);
}

static int collect_process(struct collector *c, pid_t pid)
{
	int maps = open_proc(pid, "maps");
	int pagemap = open_proc(pid, "pagemap");
	int mem = open_proc(pid, "mem");
	FILE *file = maps < 0 ? NULL : fdopen(maps, "r");
	uint64_t begin, end;
	char line[512], mode[5];
	int err = 0;

	if (!file || pagemap < 0 || mem < 0) {
		err = -errno;
		goto out;
	}
	while (fgets(line, sizeof(line), file) && !is_full(c)) {
		if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s", &begin, &end,
			   mode) == 3 &&
		    mode[0] == 'r' && !strstr(line, "[v"))
			collect_range(c, pagemap, mem, begin, end);
	}
out:
	if (file)
		fclose(file);
	else if (maps >= 0)
		close(maps);
	if (pagemap >= 0)
		close(pagemap);
	if (mem >= 0)
		close(mem);
	return err;
}

static int collect_processes(struct collector *c, uint32_t count)
{
	struct worker workers[PROGRAMS] = { { 0 } };
	/* Some pages turn out to be equal, or are in transit. */
	uint32_t want = count / PROGRAMS + count / PROGRAMS / 8 + 1024;
	int err = 0;

	for (size_t i = 0; i < PROGRAMS && !err; i++)
		err = start(&workers[i], programs[i], want);
	if (err)
		tm_bench_complain("perl cannot be started: %s; give pages "
				  "with --pages DUMP", strerror(-err));
	for (size_t i = 0; i < PROGRAMS && !err; i++) {
		c->most = (uint32_t)((uint64_t)count * (i + 1) / PROGRAMS);
		err = wait_ready(&workers[i]);
		if (!err)
			err = collect_process(c, workers[i].pid);
		if (err)
			tm_bench_complain("no pages of a perl process: %s",
					  strerror(-err));
		stop(&workers[i]);
	}
	for (size_t i = 0; i < PROGRAMS; i++)
		stop(&workers[i]);
	return err;
}

/* --- files ------------------------------------------------------------------ */

static void collect_file(struct collector *c, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return;
	for (uint32_t i = 0; i < FILE_PAGES_MAX && !is_full(c); i++) {
		uint8_t *to = c->pages->bytes +
			      (size_t)c->pages->count * TMEM_PAGE_SIZE;

		if (pread(fd, to, TMEM_PAGE_SIZE, (off_t)i * TMEM_PAGE_SIZE) !=
		    TMEM_PAGE_SIZE)
			break;
		collect(c);
	}
	close(fd);
}

static int by_name(const FTSENT **a, const FTSENT **b)
{
	return strcmp((*a)->fts_name, (*b)->fts_name);
}

static void collect_files(struct collector *c, const char *folder)
{
	char path[32];
	char *roots[] = { path, NULL };
	FTSENT *entry;
	FTS *tree;

	snprintf(path, sizeof(path), "%s", folder);
	tree = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, by_name);
	if (!tree)
		return;
	while (!is_full(c) && (entry = fts_read(tree)))
		if (entry->fts_info == FTS_F)
			collect_file(c, entry->fts_path);
	fts_close(tree);
}

/* --- both -------------------------------------------------------------------- */

static int fill(struct collector *c, uint32_t count)
{
	struct tm_bench_pages *pages = c->pages;
	int err;

	err = collect_processes(c, count - count / FILES_SHARE);
	if (err)
		return err;
	pages->of_processes = pages->count;
	c->most = pages->count + (count - pages->count) / 2;
	collect_files(c, "/usr/bin");
	c->most = count;
	collect_files(c, "/usr/lib");
	pages->of_files = pages->count - pages->of_processes;
	if (!pages->count) {
		tm_bench_complain("no pages could be captured; give some with "
				  "--pages DUMP");
		return -ENODATA;
	}
	return tm_bench_pages_sort(pages);
}

int tm_bench_capture(struct tm_bench_pages *pages, uint32_t count)
{
	struct collector c;
	/* One more: where a page is looked at before it is kept. */
	int err = tm_bench_pages_make(pages, count + 1);

	if (err)
		return err;
	err = collector_open(&c, pages, count);
	if (err)
		tm_bench_complain("no memory for %u pages", count);
	else
		err = fill(&c, count);
	free(c.slots);
	if (err)
		tm_bench_pages_free(pages);
	return err;
}
