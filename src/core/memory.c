/* SPDX-License-Identifier: BSD-2-Clause */
/* The store's account of memory, and the services plugins get; see memory.h. */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "memory.h"

/* Blocks from here on are mapped by themselves, in whole pages. */
#define MAPPED_MIN ((size_t)32 << 10)
#define SMALL_OVERHEAD 16
#define PAGE ((size_t)4096)

static size_t charged_size(size_t size)
{
	if (size >= MAPPED_MIN)
		return (size + PAGE - 1) & ~(PAGE - 1);
	return size + SMALL_OVERHEAD;
}

bool tm_memory_charge(struct tm_memory *memory, uint64_t bytes)
{
	uint64_t limit, used;

	limit = atomic_load_explicit(&memory->limit_bytes,
				     memory_order_relaxed);
	used = atomic_fetch_add(&memory->used_bytes, bytes);
	if (bytes <= limit && used <= limit - bytes)
		return true;
	atomic_fetch_sub(&memory->used_bytes, bytes);
	return false;
}

void tm_memory_charge_anyway(struct tm_memory *memory, uint64_t bytes)
{
	atomic_fetch_add(&memory->used_bytes, bytes);
}

void tm_memory_discharge(struct tm_memory *memory, uint64_t bytes)
{
	atomic_fetch_sub(&memory->used_bytes, bytes);
}

/* What was charged is discharged when there is no memory. */
static void *take(struct tm_memory *memory, size_t size, size_t align)
{
	size_t charge = charged_size(size);
	void *ptr = NULL;

	if (size >= MAPPED_MIN) {
		ptr = mmap(NULL, charge, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (ptr == MAP_FAILED)
			ptr = NULL;
	} else if (!posix_memalign(&ptr,
				   align < sizeof(void *) ? sizeof(void *) :
							    align,
				   size)) {
		memset(ptr, 0, size);
	} else {
		ptr = NULL;
	}
	if (!ptr)
		tm_memory_discharge(memory, charge);
	return ptr;
}

void *tm_memory_alloc(struct tm_memory *memory, size_t size, size_t align)
{
	return tm_memory_charge(memory, charged_size(size)) ?
		       take(memory, size, align) :
		       NULL;
}

void tm_memory_free(struct tm_memory *memory, void *ptr, size_t size)
{
	if (!ptr)
		return;
	if (size >= MAPPED_MIN)
		munmap(ptr, charged_size(size));
	else
		free(ptr);
	tm_memory_discharge(memory, charged_size(size));
}

void *tm_memory_reserve(size_t size)
{
	void *ptr;

	ptr = mmap(NULL, size, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (ptr == MAP_FAILED)
		return NULL;
	/* Huge pages would populate what nobody has charged. */
	madvise(ptr, size, MADV_NOHUGEPAGE);
	madvise(ptr, size, MADV_DONTDUMP);
	madvise(ptr, size, MADV_DONTFORK);
	return ptr;
}

int tm_memory_allocate_file(int fd, off_t offset, off_t size)
{
	while (fallocate(fd, 0, offset, size))
		if (errno != EINTR)
			return -ENOSPC;
	return 0;
}

void tm_memory_copy(void *to, const void *from, size_t size)
{
	memcpy(to, from, size);
}

void tm_memory_log(const struct tm_memory *memory, enum tmem_log_level level,
		   const char *format, ...)
{
	char text[512];
	va_list args;

	if (!memory->log)
		return;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	memory->log(memory->log_opaque, level, text);
}

static void host_log(void *opaque, enum tmem_log_level level, const char *text)
{
	tm_memory_log(opaque, level, "%s", text);
}

static uint64_t host_now_ns(void *opaque)
{
	struct timespec now;

	(void)opaque;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void *host_alloc(void *opaque, size_t size, size_t align)
{
	return tm_memory_alloc(opaque, size, align);
}

static void *host_alloc_anyway(void *opaque, size_t size, size_t align)
{
	tm_memory_charge_anyway(opaque, charged_size(size));
	return take(opaque, size, align);
}

static void host_free(void *opaque, void *ptr, size_t size)
{
	tm_memory_free(opaque, ptr, size);
}

void tm_memory_init(struct tm_memory *memory, uint64_t limit_bytes)
{
	*memory = (struct tm_memory){
		.limit_bytes = limit_bytes,
		.host = {
			.abi_version = TMEM_PLUGIN_ABI_VERSION,
			.struct_size = sizeof(struct tmem_host),
			.opaque = memory,
			.log = host_log,
			.now_ns = host_now_ns,
			.alloc = host_alloc,
			.free = host_free,
		},
	};
	memory->host_anyway = memory->host;
	memory->host_anyway.alloc = host_alloc_anyway;
}
