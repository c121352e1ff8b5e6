/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Structures of <tmem/linux.h> that grow at their end: each begins with the
 * size that its maker knows, and both sides go by what both know.
 */
#ifndef TM_GUEST_VERSIONS_H
#define TM_GUEST_VERSIONS_H

#include <errno.h>
#include <string.h>

/* 0, or -EINVAL: it is smaller than the first version, or not there. */
static inline int tm_known_check(const void *from, size_t min_bytes)
{
	size_t from_bytes;

	if (!from)
		return -EINVAL;
	memcpy(&from_bytes, from, sizeof(from_bytes));
	return from_bytes < min_bytes ? -EINVAL : 0;
}

/* Copies in what a caller knows; the rest of @to is as it was. */
static inline int tm_known_take(void *to, size_t to_bytes, const void *from,
				size_t min_bytes)
{
	size_t from_bytes;

	if (tm_known_check(from, min_bytes))
		return -EINVAL;
	memcpy(&from_bytes, from, sizeof(from_bytes));
	memcpy(to, from, from_bytes < to_bytes ? from_bytes : to_bytes);
	return 0;
}

/* Copies out what a caller knows; his size stays as it was. */
static inline int tm_known_give(void *to, const void *from, size_t from_bytes,
				size_t min_bytes)
{
	size_t to_bytes;

	if (tm_known_check(to, min_bytes))
		return -EINVAL;
	memcpy(&to_bytes, to, sizeof(to_bytes));
	memcpy((char *)to + sizeof(to_bytes),
	       (const char *)from + sizeof(to_bytes),
	       (to_bytes < from_bytes ? to_bytes : from_bytes) -
		       sizeof(to_bytes));
	return 0;
}

#endif
