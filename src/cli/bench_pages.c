/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The pages a bench works on: a dump's, or real ones without preparation.
 *
 * A dump is used as it is: its duplicates and same-filled pages are put as
 * well. Times that stand beside a codec's are taken over the pages that a
 * codec sees; the others would only flatter them.
 *
 * The problem without a dump: made-up pages measure the maker's taste, and the
 * pages of other people's processes are nobody's business. The idea: start a
 * few small perl processes that build what programs build (an index of words,
 * records, texts, numbers) from the text of perl's own library, and read their
 * anonymous memory; a process may read its own children's. One page in eight
 * comes from installed programs and libraries instead. Every page is taken
 * once, and those of one repeated word not at all.
 *
 * The processes get an empty environment and end when their standard input
 * does, so that they are gone whatever ends the bench.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"
#include "cli.h"
#include "report.h"

#define FILES_SHARE 8			/* one page in so many */
#define FILE_PAGES_MAX 64		/* of one file */
#define READY_MS 120000

static bool is_same_filled(const uint8_t *page)
{
	return !memcmp(page, page + sizeof(uint64_t),
		       TMEM_PAGE_SIZE - sizeof(uint64_t));
}

/* Which pages are same-filled, and which go to a codec? */
static int sort_pages(struct tm_bench_pages *pages)
{
	pages->count = (uint32_t)pages->all.count;
	pages->order = malloc(pages->all.count * sizeof(*pages->order));
	if (!pages->order) {
		tm_cli_error("bench: no memory for %u pages", pages->count);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < pages->count; i++)
		if (!is_same_filled(tm_bench_page(pages, i)))
			pages->order[pages->order_count++] = i;
	pages->same_filled = pages->count - pages->order_count;
	if (pages->order_count)
		return 0;
	return tm_cli_error("bench: all %u pages are of one repeated word: "
			    "there is nothing to compress", pages->count);
}

void tm_bench_pages_free(struct tm_bench_pages *pages)
{
	tm_pages_free(&pages->all);
	free(pages->order);
	*pages = (struct tm_bench_pages){ 0 };
}

int tm_bench_pages_read(struct tm_bench_pages *pages, const char *path,
			uint32_t count)
{
	int err;

	*pages = (struct tm_bench_pages){ .all.limit = count };
	err = tm_pages_of_dump(&pages->all, path);
	if (!err)
		err = sort_pages(pages);
	if (err)
		tm_bench_pages_free(pages);
	return err;
}

/* --- what the processes do ------------------------------------------------ */

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

/* --- every page once ------------------------------------------------------ */

struct collector {
	struct tm_bench_pages *pages;
	size_t most;			/* until then */
	uint32_t *slots;		/* page numbers + 1, by hash */
	size_t slot_mask;
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

static int collector_open(struct collector *c, struct tm_bench_pages *pages,
			  uint32_t count)
{
	size_t slots = 1024;

	while (slots < (size_t)count * 2)
		slots *= 2;
	*c = (struct collector){ .pages = pages, .slot_mask = slots - 1 };
	c->slots = calloc(slots, sizeof(*c->slots));
	if (c->slots)
		return 0;
	tm_cli_error("bench: no memory for %u pages", count);
	return -ENOMEM;
}

static bool is_full(const struct collector *c)
{
	return c->pages->all.count >= c->most;
}

static int collect_page(struct collector *c, const uint8_t *page)
{
	struct tm_bench_pages *pages = c->pages;
	size_t at = page_hash(page) & c->slot_mask;
	uint8_t *to;

	if (is_same_filled(page)) {
		pages->dropped_same_filled++;
		return 0;
	}
	for (; c->slots[at]; at = (at + 1) & c->slot_mask)
		if (!memcmp(tm_bench_page(pages, c->slots[at] - 1), page,
			    TMEM_PAGE_SIZE)) {
			pages->dropped_duplicates++;
			return 0;
		}
	to = tm_pages_add(&pages->all);
	if (!to) {
		tm_cli_error("bench: no memory for the pages");
		return -ENOMEM;
	}
	memcpy(to, page, TMEM_PAGE_SIZE);
	c->slots[at] = (uint32_t)pages->all.count;
	return 0;
}

static int collect(struct collector *c, const struct tm_pages *from)
{
	int err = 0;

	for (size_t i = 0; i < from->count && !is_full(c) && !err; i++)
		err = collect_page(c, tm_pages_at(from, i));
	return err;
}

static int collect_process(struct collector *c, pid_t pid)
{
	struct tm_pages pages = { 0 };
	int err = tm_pages_of_process(&pages, pid);

	if (!err)
		err = collect(c, &pages);
	tm_pages_free(&pages);
	return err;
}

static int collect_processes(struct collector *c, uint32_t count)
{
	struct worker workers[PROGRAMS] = { { 0 } };
	/* Some pages turn out to be equal, or of one word. */
	uint32_t want = count / PROGRAMS + count / PROGRAMS / 8 + 1024;
	int err = 0;

	for (size_t i = 0; i < PROGRAMS && !err; i++)
		err = start(&workers[i], programs[i], want);
	if (err)
		tm_cli_error("bench: perl cannot be started: %s; give pages "
			     "with --pages DUMP", strerror(-err));
	for (size_t i = 0; i < PROGRAMS && !err; i++) {
		c->most = (uint64_t)count * (i + 1) / PROGRAMS;
		err = wait_ready(&workers[i]);
		if (err)
			tm_cli_error("bench: a perl process came to nothing: "
				     "%s", strerror(-err));
		else
			err = collect_process(c, workers[i].pid);
		stop(&workers[i]);
	}
	for (size_t i = 0; i < PROGRAMS; i++)
		stop(&workers[i]);
	return err;
}

#define FULL (-ECANCELED)

static int collect_file(void *opaque, const char *path)
{
	struct tm_pages pages = { .limit = FILE_PAGES_MAX };
	struct collector *c = opaque;
	int err;

	if (is_full(c))
		return FULL;
	/* Some programs are not for everybody's eyes. */
	if (access(path, R_OK))
		return 0;
	err = tm_pages_of_file(&pages, path);
	if (!err)
		err = collect(c, &pages);
	tm_pages_free(&pages);
	return err;
}

static int collect_files(struct collector *c, const char *folder, size_t most)
{
	int err;

	c->most = most;
	err = tm_pages_walk(folder, collect_file, c);
	return err == FULL ? 0 : err;
}

static int fill(struct collector *c, uint32_t count)
{
	struct tm_bench_pages *pages = c->pages;
	size_t had;
	int err = collect_processes(c, count - count / FILES_SHARE);

	if (err)
		return err;
	had = pages->all.count;
	pages->of_processes = (uint32_t)had;
	err = collect_files(c, "/usr/bin", had + (count - had) / 2);
	if (!err)
		err = collect_files(c, "/usr/lib", count);
	pages->of_files = (uint32_t)(pages->all.count - had);
	return err ? err : sort_pages(pages);
}

int tm_bench_pages_capture(struct tm_bench_pages *pages, uint32_t count)
{
	struct collector c;
	int err;

	*pages = (struct tm_bench_pages){ 0 };
	err = collector_open(&c, pages, count);
	if (err)
		return err;
	err = fill(&c, count);
	free(c.slots);
	if (err)
		tm_bench_pages_free(pages);
	return err;
}
