/* SPDX-License-Identifier: BSD-2-Clause */
/* The hash for any processor, and the choice; see hash.h. */
#include <config.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "hash.h"

uint64_t tm_hash_generic(const void *bytes, size_t size)
{
	return XXH3_64bits(bytes, size);
}

tm_hash_fn *tm_hash_best(void)
{
#ifdef HAVE_AVX2_FLAG
	if (__builtin_cpu_supports("avx2"))
		return tm_hash_avx2;
#endif
	return tm_hash_generic;
}
