/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which plugins exist: the one place that knows.
 *
 * Everything else walks the registry. The order here is the order in which
 * users see them. Codecs whose library has a licence of its own are modules
 * and not listed.
 */
#include <config.h>

#include "builtin.h"

extern const struct tmem_codec tm_codec_lz4;
extern const struct tmem_codec tm_codec_zlib;
extern const struct tmem_codec tm_codec_zstd;
extern const struct tmem_codec tm_codec_none;
extern const struct tmem_allocator tm_allocator_zsmalloc;
extern const struct tmem_allocator tm_allocator_zbud;

const struct tmem_codec *const tm_builtin_codecs[] = {
#ifdef HAVE_LZ4
	&tm_codec_lz4,
#endif
#ifdef HAVE_ZLIB
	&tm_codec_zlib,
#endif
#ifdef HAVE_ZSTD
	&tm_codec_zstd,
#endif
	&tm_codec_none,
	NULL,
};

const struct tmem_allocator *const tm_builtin_allocators[] = {
	&tm_allocator_zsmalloc,
	&tm_allocator_zbud,
	NULL,
};
