/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Asking for a range's cache lines all at once, rather than one after another
 * as somebody stumbles over them.
 *
 * To read: a copy of each. To write: each for ourselves, so that a store finds
 * no other processor's copy to take away first; between processes that pass
 * pages to each other that is most of what a page costs.
 *
 * Always in line: of a function that does nothing else, gcc finds that calls to
 * it can be left out. An address that is not mapped does no harm.
 */
#ifndef TM_PREFETCH_H
#define TM_PREFETCH_H

#include <stddef.h>

#define TM_CACHE_LINE 64
#define TM_ALWAYS_INLINE inline __attribute__((always_inline))

static TM_ALWAYS_INLINE void tm_prefetch_read(const void *bytes, size_t size)
{
	for (size_t i = 0; i < size; i += TM_CACHE_LINE)
		__builtin_prefetch((const char *)bytes + i, 0);
}

static TM_ALWAYS_INLINE void tm_prefetch_write(void *bytes, size_t size)
{
	for (size_t i = 0; i < size; i += TM_CACHE_LINE) {
#if defined(__x86_64__)
		/* Without -mprfchw the builtin reads. Where there is no such
		 * instruction, it does nothing. */
		__asm__ volatile("prefetchw %0"
				 :
				 : "m"(*((const char *)bytes + i)));
#else
		__builtin_prefetch((char *)bytes + i, 1);
#endif
	}
}

#endif
