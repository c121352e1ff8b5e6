/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The anonymous pages of a process: /proc/PID/maps says where memory is,
 * /proc/PID/pagemap which pages are there and not a file's, /proc/PID/mem what
 * is in them.
 *
 * The process runs on. A page that is gone when it is read is passed over; a
 * process that ends meanwhile, or runs another program, is an error, since what
 * was read of it is no picture of anything. Whoever may trace a process may read
 * it: the message says what forbids it where the kernel does not let us.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "pages.h"

#define PAGE ((uint64_t)TMEM_PAGE_SIZE)
#define PAGEMAP_PRESENT (UINT64_C(1) << 63)
#define PAGEMAP_SWAPPED (UINT64_C(1) << 62)
#define PAGEMAP_FILE (UINT64_C(1) << 61)
#define ENTRIES 512

struct process {
	pid_t pid;
	FILE *maps;
	int pagemap;
	int mem;
};

static int yama_scope(void)
{
	FILE *file = fopen("/proc/sys/kernel/yama/ptrace_scope", "re");
	int scope = 0;

	if (!file)
		return 0;
	if (fscanf(file, "%d", &scope) != 1)
		scope = 0;
	fclose(file);
	return scope;
}

static int refuse(pid_t pid, int err)
{
	if (err == -ENOENT || err == -ESRCH)
		tm_cli_error("process %d: there is no such process", (int)pid);
	else if ((err == -EACCES || err == -EPERM) && !geteuid())
		tm_cli_error("process %d: may not be read, though you are "
			     "root: here that takes CAP_SYS_PTRACE, which a "
			     "container may lack",
			     (int)pid);
	else if ((err == -EACCES || err == -EPERM) && yama_scope() > 0)
		tm_cli_error("process %d: may not be read: "
			     "kernel.yama.ptrace_scope forbids it; run as "
			     "root, or set it: sysctl "
			     "kernel.yama.ptrace_scope=0",
			     (int)pid);
	else if (err == -EACCES || err == -EPERM)
		tm_cli_error("process %d: may not be read: it is not yours; "
			     "run as its user, or as root",
			     (int)pid);
	else
		tm_cli_error("process %d: cannot be read: %s", (int)pid,
			     strerror(-err));
	return err;
}

static void close_process(struct process *process)
{
	if (process->maps)
		fclose(process->maps);
	if (process->pagemap >= 0)
		close(process->pagemap);
	if (process->mem >= 0)
		close(process->mem);
}

static int open_process(struct process *process, pid_t pid)
{
	char path[64];
	int err;

	*process = (struct process){ .pid = pid, .pagemap = -1, .mem = -1 };
	snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	process->maps = fopen(path, "re");
	if (process->maps) {
		snprintf(path, sizeof(path), "/proc/%d/pagemap", (int)pid);
		process->pagemap = open(path, O_RDONLY | O_CLOEXEC);
	}
	if (process->pagemap >= 0) {
		snprintf(path, sizeof(path), "/proc/%d/mem", (int)pid);
		process->mem = open(path, O_RDONLY | O_CLOEXEC);
	}
	if (process->mem >= 0)
		return 0;
	err = -errno;
	close_process(process);
	return err;
}

static bool is_anonymous(uint64_t entry)
{
	return (entry & (PAGEMAP_PRESENT | PAGEMAP_SWAPPED)) &&
	       !(entry & PAGEMAP_FILE);
}

/* 0, 1 (the limit is reached), or an error. */
static int read_page(struct process *process, uint64_t address,
		     struct tm_pages *pages)
{
	uint8_t *page;

	if (!tm_pages_wants(pages))
		return 0;
	page = tm_pages_add(pages);
	if (!page)
		return tm_pages_full(pages);
	if (pread(process->mem, page, PAGE, (off_t)address) == (ssize_t)PAGE)
		return 0;
	/* Unmapped meanwhile, or memory of a device. */
	pages->count--;
	pages->offered--;
	return 0;
}

static int read_range(struct process *process, uint64_t begin, uint64_t end,
		      struct tm_pages *pages)
{
	uint64_t entries[ENTRIES];

	while (begin < end) {
		uint64_t count = (end - begin) / PAGE;
		ssize_t got;

		if (count > ENTRIES)
			count = ENTRIES;
		got = pread(process->pagemap, entries, count * sizeof(*entries),
			    (off_t)(begin / PAGE * sizeof(*entries)));
		if (got < 0)
			return -errno;
		count = (uint64_t)got / sizeof(*entries);
		if (!count)
			return 0;
		for (uint64_t i = 0; i < count; i++) {
			int err = 0;

			if (is_anonymous(entries[i]))
				err = read_page(process, begin + i * PAGE,
						pages);
			if (err)
				return err;
		}
		begin += count * PAGE;
	}
	return 0;
}

static int read_process(struct process *process, struct tm_pages *pages)
{
	char line[512];
	int err = 0;

	while (!err && fgets(line, sizeof(line), process->maps)) {
		uint64_t begin, end;
		char permissions[8];

		if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %7s", &begin, &end,
			   permissions) != 3)
			continue;
		/* Guards cannot be read, and are empty. */
		if (permissions[0] == 'r' && !strstr(line, "[v"))
			err = read_range(process, begin, end, pages);
	}
	return err < 0 ? err : 0;
}

/* What has ended but was not waited for (Z) has no memory any more. */
static bool has_ended(pid_t pid)
{
	char path[64], line[256], state = 'X';
	const char *end;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	file = fopen(path, "re");
	if (!file)
		return true;
	if (fgets(line, sizeof(line), file) && (end = strrchr(line, ')')) &&
	    end[1] == ' ')
		state = end[2];
	fclose(file);
	return state == 'Z' || state == 'X';
}

/* Of memory that is no more all three files are empty: the process runs another
 * program, or is about to end. */
static bool has_memory(const struct process *process)
{
	char byte;

	return pread(fileno(process->maps), &byte, 1, 0) == 1;
}

int tm_pages_of_process(struct tm_pages *pages, pid_t pid)
{
	uint64_t before = pages->offered;
	struct process process;
	int err = open_process(&process, pid);
	bool is_gone;

	if (err)
		return refuse(pid, err);
	err = read_process(&process, pages);
	is_gone = pages->offered != before && !has_memory(&process);
	close_process(&process);
	if (err && err == pages->error)
		return err;
	if (err)
		return refuse(pid, err);
	if (is_gone || has_ended(pid)) {
		tm_cli_error("process %d: ended, or began to run another "
			     "program, while it was read",
			     (int)pid);
		return -ESRCH;
	}
	if (pages->offered == before) {
		tm_cli_error("process %d: has no anonymous pages to read; is it "
			     "a kernel thread, or may its pagemap not be read?",
			     (int)pid);
		return -ENODATA;
	}
	return 0;
}
