/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Could a file be made? Asked without making anything (see makeable.c).
 */
#ifndef TM_MAKEABLE_H
#define TM_MAKEABLE_H

#include <stddef.h>

#define TM_MAKEABLE_ALL 1000

/*
 * @path, which is absolute, is not there; up to @levels directories above it
 * would be made as well. 0; or a negative errno, and in @at the directory that
 * is why.
 */
int tm_makeable(const char *path, unsigned levels, char *at, size_t at_size);

#endif
