/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The store's one account of memory.
 *
 * The problem: "memory used, metadata included, never exceeds the limit" is a
 * promise about everything, so everything must ask in one place before it
 * takes memory: frames, records, index nodes, lists, plugins' own tables.
 *
 * The idea: one atomic counter. Charging happens where memory is taken from
 * the system, in pages or slabs, never per object, so that the counter is no
 * point of contention. A charge that would pass the limit fails, and whoever
 * asked evicts, or refuses.
 *
 *	used = frames populated + records populated + volatile metadata <= limit
 *
 * The limit in force can be below what is used for a while after it was
 * lowered; then nothing new is charged until use has come down.
 *
 * No locks. The bytes of small blocks include an estimate of malloc's own.
 */
#ifndef TM_MEMORY_H
#define TM_MEMORY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <tmem/plugin.h>

struct tm_memory {
	_Atomic uint64_t limit_bytes;
	_Atomic uint64_t used_bytes;
	struct tmem_host host;	/* what plugins are given */
	/* Charges what passes the limit, too: for what takes another's place. */
	struct tmem_host host_anyway;
	void (*log)(void *opaque, enum tmem_log_level level, const char *text);
	void *log_opaque;
};

void tm_memory_init(struct tm_memory *memory, uint64_t limit_bytes);

/* false: it would pass the limit; nothing was charged. */
bool tm_memory_charge(struct tm_memory *memory, uint64_t bytes);
/* For what is there already, such as the frames of a reopened arena. */
void tm_memory_charge_anyway(struct tm_memory *memory, uint64_t bytes);
void tm_memory_discharge(struct tm_memory *memory, uint64_t bytes);

/* Zeroed memory, charged; NULL when over the limit or out of memory. */
void *tm_memory_alloc(struct tm_memory *memory, size_t size, size_t align);
void tm_memory_free(struct tm_memory *memory, void *ptr, size_t size);

/* Address space for @size bytes, charged to nobody: whoever uses a part of it
 * charges that part first. NULL: out of address space. */
void *tm_memory_reserve(size_t size);

/* Gives a range of a file memory, so that touching it cannot be a SIGBUS.
 * 0, or -ENOSPC. */
int tm_memory_allocate_file(int fd, off_t offset, off_t size);

/* memcpy() of what is rarely short, and never inlined. */
void tm_memory_copy(void *to, const void *from, size_t size);

void tm_memory_log(const struct tm_memory *memory, enum tmem_log_level level,
		   const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#endif
