/* SPDX-License-Identifier: BSD-2-Clause */
/* The plugins that this build has in it (see builtin.c). NULL ends a list. */
#ifndef TM_BUILTIN_H
#define TM_BUILTIN_H

#include <tmem/allocator.h>
#include <tmem/codec.h>

extern const struct tmem_codec *const tm_builtin_codecs[];
extern const struct tmem_allocator *const tm_builtin_allocators[];

#endif
