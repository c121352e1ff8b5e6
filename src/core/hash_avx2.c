/* SPDX-License-Identifier: BSD-2-Clause */
/* The hash for processors with AVX2: this file alone is compiled for them. */
#include <config.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "hash.h"

uint64_t tm_hash_avx2(const void *bytes, size_t size)
{
	return XXH3_64bits(bytes, size);
}
