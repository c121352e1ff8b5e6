/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The hash of stored bytes: XXH3, 64 bits, at the processor's width.
 *
 * Every put and every get hashes a page's stored bytes, so the width of the
 * vector unit shows: AVX2 takes half the time of the SSE2 that every x86-64
 * has. The values are the same everywhere; an arena may be reopened on another
 * machine.
 */
#ifndef TM_HASH_H
#define TM_HASH_H

#include <stddef.h>
#include <stdint.h>

typedef uint64_t tm_hash_fn(const void *bytes, size_t size);

tm_hash_fn tm_hash_generic;
tm_hash_fn tm_hash_avx2;

/* The fastest that this processor has. */
tm_hash_fn *tm_hash_best(void);

#endif
