/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sizes as people write them: "64M", "1.5G", "512KiB" (see size.c).
 */
#ifndef TM_SIZE_H
#define TM_SIZE_H

#include <stdint.h>

/* Return: 0, -EINVAL (not a size), -ERANGE (does not fit 64 bits). */
int tm_size_parse(const char *text, uint64_t *bytes);

#endif
