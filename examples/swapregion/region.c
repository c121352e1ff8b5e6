/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A region, by userfaultfd.
 *
 * A page of the region that is not in memory makes whoever touches it wait, and
 * one thread here hear of it. That thread makes room (the page that came first
 * goes first; who was touched since, nobody can know), brings the page, and
 * lets the other go on.
 *
 * The problem is taking a page away while the program may be writing to it: a
 * write between copying and dropping would be lost. mremap() takes it away
 * whole: the page moves to a place where nobody else looks, and from that
 * instant on the program faults. What is stored then cannot change.
 *
 *	in memory -> (mremap) staging -> frontswap, or else the file
 *	fault     -> frontswap, or else the file, or zeros -> UFFDIO_COPY
 *
 * Loads are exclusive: a page is in memory, or in tmem, or in the file. All
 * bookkeeping belongs to the thread; counters are read by others.
 */
#define _GNU_SOURCE
#include "region.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PAGE TMEM_PAGE_SIZE

enum place {
	NOWHERE = 0, /* never touched: zeros */
	IN_MEMORY,
	IN_FRONTSWAP,
	IN_FILE,
};

struct region {
	struct region_config config;
	uint8_t *memory;
	uint8_t *staging; /* one page */
	uint8_t *buffer; /* one page */
	uint64_t pages;
	uint64_t resident_max;
	int uffd;
	int end; /* eventfd: the thread is to end */
	pthread_t thread;
	/* the thread's */
	uint8_t *place; /* enum place, of each page */
	uint64_t *queue; /* pages in memory, in the order they came */
	uint64_t queue_first;
	/* statistics, written by the thread */
	_Atomic uint64_t resident;
	_Atomic uint64_t faults, zero_fills, evictions, file_writes, file_reads;
};

/* Going on would lose the program's data. */
__attribute__((noreturn)) static void die(const char *what)
{
	fprintf(stderr, "swapregion: %s: %s\n", what, strerror(errno));
	abort();
}

/* --- out ----------------------------------------------------------------- */

static void write_file(struct region *r, uint64_t n)
{
	if (pwrite(r->config.file, r->staging, PAGE, (off_t)(n * PAGE)) != PAGE)
		die("the swap file");
	r->place[n] = IN_FILE;
	r->file_writes++;
}

static void evict_one(struct region *r)
{
	uint64_t n = r->queue[r->queue_first];

	r->queue_first = (r->queue_first + 1) % r->resident_max;
	if (mremap(r->memory + n * PAGE, PAGE, PAGE,
		   MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP,
		   r->staging) == MAP_FAILED)
		die("mremap");
	if (tmem_frontswap_store(r->config.frontswap, r->config.type, n,
				 r->staging) == TMEM_FRONTSWAP_STORED)
		r->place[n] = IN_FRONTSWAP;
	else
		write_file(r, n);
	r->resident--;
	r->evictions++;
}

/* --- in ------------------------------------------------------------------ */

static void fetch(struct region *r, uint64_t n)
{
	int result;

	switch (r->place[n]) {
	case IN_FRONTSWAP:
		result = tmem_frontswap_load(r->config.frontswap,
					     r->config.type, n, r->buffer);
		if (result == TMEM_FRONTSWAP_HIT ||
		    result == TMEM_FRONTSWAP_HIT_DIRTY)
			return;
		errno = EIO;
		die("a page that was stored");
	case IN_FILE:
		if (pread(r->config.file, r->buffer, PAGE, (off_t)(n * PAGE)) !=
		    PAGE)
			die("the swap file");
		r->file_reads++;
		return;
	default:
		memset(r->buffer, 0, PAGE);
		r->zero_fills++;
	}
}

static void map_page(struct region *r, uint64_t n)
{
	struct uffdio_copy copy = {
		.dst = (uintptr_t)(r->memory + n * PAGE),
		.src = (uintptr_t)r->buffer,
		.len = PAGE,
	};

	/* First: whoever waits for the page may look at the counts next. */
	r->queue[(r->queue_first + r->resident) % r->resident_max] = n;
	r->place[n] = IN_MEMORY;
	r->resident++;
	while (ioctl(r->uffd, UFFDIO_COPY, &copy))
		if (errno != EAGAIN)
			die("UFFDIO_COPY");
}

static void wake(struct region *r, uint64_t n)
{
	struct uffdio_range range = {
		.start = (uintptr_t)(r->memory + n * PAGE),
		.len = PAGE,
	};

	if (ioctl(r->uffd, UFFDIO_WAKE, &range))
		die("UFFDIO_WAKE");
}

static void on_fault(struct region *r, uint64_t address)
{
	uint64_t n = (address - (uintptr_t)r->memory) / PAGE;

	r->faults++;
	/* Two threads may have touched it. */
	if (r->place[n] == IN_MEMORY) {
		wake(r, n);
		return;
	}
	if (r->resident == r->resident_max)
		evict_one(r);
	fetch(r, n);
	map_page(r, n);
}

static void *serve(void *argument)
{
	struct region *r = argument;
	struct pollfd polls[] = {
		{ .fd = r->uffd, .events = POLLIN },
		{ .fd = r->end, .events = POLLIN },
	};
	struct uffd_msg message;

	for (;;) {
		if (poll(polls, 2, -1) < 0 && errno != EINTR)
			die("poll");
		if (polls[1].revents)
			return NULL;
		while (read(r->uffd, &message, sizeof(message)) ==
		       sizeof(message))
			if (message.event == UFFD_EVENT_PAGEFAULT)
				on_fault(r, message.arg.pagefault.address);
	}
}

/* --- making one ---------------------------------------------------------- */

/* As much as this system and this user may have. */
static int open_userfaultfd(void)
{
	struct uffdio_api api = { .api = UFFD_API };
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

#ifdef UFFD_USER_MODE_ONLY
	if (fd < 0 && errno == EPERM)
		fd = (int)syscall(SYS_userfaultfd,
				  O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);
#endif
	if (fd < 0)
		return -errno;
	if (ioctl(fd, UFFDIO_API, &api)) {
		close(fd);
		return -ENOTSUP;
	}
	return fd;
}

static int make_memory(struct region *r)
{
	void *memory = mmap(NULL, r->config.bytes, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	uint8_t *pages = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED || pages == MAP_FAILED)
		return -ENOMEM;
	r->memory = memory;
	r->staging = pages;
	r->buffer = pages + PAGE;
	/* A huge page would come and go as one. */
	madvise(memory, r->config.bytes, MADV_NOHUGEPAGE);
	r->place = calloc(r->pages, sizeof(*r->place));
	r->queue = calloc(r->resident_max, sizeof(*r->queue));
	return r->place && r->queue ? 0 : -ENOMEM;
}

static int watch_memory(struct region *r)
{
	struct uffdio_register range = {
		.range = { (uintptr_t)r->memory, r->config.bytes },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};

	r->uffd = open_userfaultfd();
	if (r->uffd < 0) {
		fprintf(stderr, "swapregion: no userfaultfd here: %s\n",
			strerror(-r->uffd));
		return -ENOTSUP;
	}
	return ioctl(r->uffd, UFFDIO_REGISTER, &range) ? -errno : 0;
}

/* What was refused at the time may be accepted later: every slot has both. */
static int make_swap(struct region *r)
{
	if (ftruncate(r->config.file, (off_t)r->config.bytes))
		return -errno;
	return tmem_frontswap_swapon(r->config.frontswap, r->config.type,
				     r->pages);
}

int region_open(const struct region_config *config, struct region **region)
{
	struct region *r = calloc(1, sizeof(*r));
	int err;

	if (!r)
		return -ENOMEM;
	r->config = *config;
	r->pages = config->bytes / PAGE;
	r->resident_max = config->resident_bytes / PAGE;
	r->uffd = r->end = -1;
	err = r->pages && r->resident_max ? make_memory(r) : -EINVAL;
	if (!err)
		err = watch_memory(r);
	if (!err)
		err = make_swap(r);
	if (!err) {
		r->end = eventfd(0, EFD_CLOEXEC);
		err = r->end < 0 ? -errno
				 : -pthread_create(&r->thread, NULL, serve, r);
	}
	if (!err)
		*region = r;
	return err;
}

void *region_address(struct region *r)
{
	return r->memory;
}

void region_get_counts(struct region *r, struct region_counts *counts)
{
	*counts = (struct region_counts){
		.faults = r->faults,
		.zero_fills = r->zero_fills,
		.evictions = r->evictions,
		.file_writes = r->file_writes,
		.file_reads = r->file_reads,
		.resident_pages = r->resident,
	};
}

void region_close(struct region *r)
{
	uint64_t one = 1;

	if (write(r->end, &one, sizeof(one)) != sizeof(one))
		die("eventfd");
	pthread_join(r->thread, NULL);
	tmem_frontswap_swapoff(r->config.frontswap, r->config.type);
	close(r->uffd);
	close(r->end);
	munmap(r->memory, r->config.bytes);
	munmap(r->staging, 2 * PAGE);
	free(r->place);
	free(r->queue);
	free(r);
}
