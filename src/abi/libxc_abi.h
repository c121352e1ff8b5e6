/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The part of a saved Xen domain that held its tmem pages, up to Xen 4.7.
 *
 * Facts, in the order of the bytes; nothing is padded, and numbers have the byte
 * order of the machine that wrote them, which was x86 and so little-endian:
 *
 *	i32 TM_LIBXC_CHUNK, u32 version (1), u32 pools at most (16)
 *	u32 TM_LIBXC_NONE
 *	u32 client flags, u32 weight, u32 cap
 *	u32 TM_LIBXC_NONE
 *	for each pool:
 *		u32 id, u32 flags, u32 pages at most, u64 uuid[2]
 *		that many times: u64 oid[3], u32 index, the page's bytes;
 *		an oid of all ones, with nothing behind it, ends the list early
 *	u32 TM_LIBXC_NONE
 *
 * and, from a live migration, after the domain was suspended:
 *
 *	i32 TM_LIBXC_EXTRA
 *	for each page that went: u32 pool id, u64 oid[3], u32 index
 *	u32 TM_LIBXC_NONE
 *
 * A pool's flags are those of the hypercall that made it.
 */
#ifndef TM_LIBXC_ABI_H
#define TM_LIBXC_ABI_H

#define TM_LIBXC_CHUNK INT32_C(-5)
#define TM_LIBXC_EXTRA INT32_C(-6)
#define TM_LIBXC_NONE UINT32_C(0xffffffff)
#define TM_LIBXC_VERSION 1

#define TM_LIBXC_CLIENT_COMPRESSES UINT32_C(1)
#define TM_LIBXC_CLIENT_FROZEN UINT32_C(2)

#define TM_LIBXC_POOL_PERSISTENT UINT32_C(1)
#define TM_LIBXC_POOL_SHARED UINT32_C(2)
#define TM_LIBXC_POOL_PRECOMPRESSED UINT32_C(4)
#define TM_LIBXC_POOL_PAGE_SHIFT 4	/* log2 of the page's size, less 12 */
#define TM_LIBXC_POOL_PAGE_MASK UINT32_C(0xf)
#define TM_LIBXC_POOL_RESERVED UINT32_C(0x00ffff00)

#endif
