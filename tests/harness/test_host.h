/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The services that a plugin gets in tests.
 *
 * Memory is malloc()'s, so that sanitizers see every byte of it, and is
 * counted: what a plugin took and did not give back shows at the end. The
 * n-th allocation can be made to fail. The clock is a number that the test
 * sets. Log lines are counted and the last one is kept.
 *
 * Threads: memory may be asked for from several at once; the log may not.
 */
#ifndef TM_TEST_HOST_H
#define TM_TEST_HOST_H

#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <tmem/plugin.h>

struct tm_test_host {
	struct tmem_host host;
	atomic_size_t used_bytes;
	atomic_size_t allocs;
	/* Allocations still to succeed; SIZE_MAX: all of them. */
	atomic_size_t allocs_left;
	uint64_t now_ns;
	unsigned logged;
	enum tmem_log_level level;
	char text[512];
};

static inline void tm_test_host_log(void *opaque, enum tmem_log_level level,
				    const char *text)
{
	struct tm_test_host *test = opaque;

	test->logged++;
	test->level = level;
	strncpy(test->text, text, sizeof(test->text) - 1);
}

static inline uint64_t tm_test_host_now_ns(void *opaque)
{
	return ((struct tm_test_host *)opaque)->now_ns;
}

static inline void *tm_test_host_alloc(void *opaque, size_t size, size_t align)
{
	struct tm_test_host *test = opaque;
	void *ptr;

	if (atomic_load(&test->allocs_left) != SIZE_MAX) {
		if (!atomic_load(&test->allocs_left))
			return NULL;
		atomic_fetch_sub(&test->allocs_left, 1);
	}
	if (posix_memalign(&ptr, align < sizeof(ptr) ? sizeof(ptr) : align,
			   size))
		return NULL;
	atomic_fetch_add(&test->used_bytes, size);
	atomic_fetch_add(&test->allocs, 1);
	return memset(ptr, 0, size);
}

static inline void tm_test_host_free(void *opaque, void *ptr, size_t size)
{
	struct tm_test_host *test = opaque;

	atomic_fetch_sub(&test->used_bytes, size);
	free(ptr);
}

static inline void tm_test_host_init(struct tm_test_host *test)
{
	memset(test, 0, sizeof(*test));
	atomic_init(&test->allocs_left, SIZE_MAX);
	test->now_ns = 1;
	test->host = (struct tmem_host){
		.abi_version = TMEM_PLUGIN_ABI_VERSION,
		.struct_size = sizeof(struct tmem_host),
		.opaque = test,
		.log = tm_test_host_log,
		.now_ns = tm_test_host_now_ns,
		.alloc = tm_test_host_alloc,
		.free = tm_test_host_free,
	};
}

#endif
