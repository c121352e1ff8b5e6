/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where a swap slot is in a pool.
 *
 * One object per swap device would have one lock and one tree for all of it,
 * and a swap storm would wait there. So the low bits of a slot's number are
 * part of the object's name: neighbours are in different objects, of which
 * there are 2^bits per device.
 *
 *	oid = (type << bits) | (offset & (2^bits - 1)), 0, 0
 *	index = offset >> bits
 *
 * Xen's driver has 4 bits, zcache had 8. The layout is seen in what is saved of
 * a guest, so it is kept. Offsets are below 2^32.
 */
#ifndef TM_SWIZZLE_H
#define TM_SWIZZLE_H

#include <tmem/tmem.h>

#define TM_SWIZZLE_BITS 4
#define TM_SWIZZLE_OBJECTS (1u << TM_SWIZZLE_BITS)

static inline struct tmem_oid tm_swizzle_oid(unsigned type, uint64_t offset,
					     unsigned bits)
{
	uint64_t low = offset & ((UINT64_C(1) << bits) - 1);

	return (struct tmem_oid){ { (uint64_t)type << bits | low, 0, 0 } };
}

static inline uint32_t tm_swizzle_index(uint64_t offset, unsigned bits)
{
	return (uint32_t)(offset >> bits);
}

/* Back again. */
static inline unsigned tm_swizzle_type(const struct tmem_oid *oid,
				       unsigned bits)
{
	return (unsigned)(oid->word[0] >> bits);
}

static inline uint64_t tm_swizzle_offset(const struct tmem_oid *oid,
					 uint32_t index, unsigned bits)
{
	return (uint64_t)index << bits |
	       (oid->word[0] & ((UINT64_C(1) << bits) - 1));
}

#endif
