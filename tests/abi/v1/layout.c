/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where each field of the plugin ABI's structures was when ABI 1 was frozen.
 *
 * Compiled against the frozen headers and against today's: both must print
 * the same, but for the sizes of structures, which may grow.
 */
#include <stdio.h>

#include <tmem/allocator.h>
#include <tmem/codec.h>

#define FIELD(type, field)                                                     \
	printf("%s.%s %zu %zu\n", #type, #field, offsetof(struct type, field), \
	       sizeof(((struct type *)0)->field))
#define SIZE(type) printf("sizeof %s %zu\n", #type, sizeof(struct type))
#define NUMBER(name) printf("%s %lld\n", #name, (long long)(name))

int main(void)
{
	FIELD(tmem_host, abi_version);
	FIELD(tmem_host, struct_size);
	FIELD(tmem_host, flags);
	FIELD(tmem_host, opaque);
	FIELD(tmem_host, log);
	FIELD(tmem_host, now_ns);
	FIELD(tmem_host, alloc);
	FIELD(tmem_host, free);
	SIZE(tmem_host);
	FIELD(tmem_option, name);
	FIELD(tmem_option, type);
	FIELD(tmem_option, unit);
	FIELD(tmem_option, min);
	FIELD(tmem_option, max);
	FIELD(tmem_option, initial);
	FIELD(tmem_option, help);
	SIZE(tmem_option);
	FIELD(tmem_codec_config, struct_size);
	FIELD(tmem_codec_config, level);
	FIELD(tmem_codec_config, page_size);
	FIELD(tmem_codec_config, dictionary_size);
	FIELD(tmem_codec_config, dictionary);
	FIELD(tmem_codec_config, options);
	SIZE(tmem_codec_config);
	FIELD(tmem_codec, abi_version);
	FIELD(tmem_codec, struct_size);
	FIELD(tmem_codec, flags);
	FIELD(tmem_codec, name);
	FIELD(tmem_codec, description);
	FIELD(tmem_codec, library);
	FIELD(tmem_codec, format);
	FIELD(tmem_codec, level_min);
	FIELD(tmem_codec, level_max);
	FIELD(tmem_codec, level_default);
	FIELD(tmem_codec, options);
	FIELD(tmem_codec, bound);
	FIELD(tmem_codec, params_create);
	FIELD(tmem_codec, params_destroy);
	FIELD(tmem_codec, context_create);
	FIELD(tmem_codec, context_destroy);
	FIELD(tmem_codec, compress);
	FIELD(tmem_codec, decompress);
	SIZE(tmem_codec);
	FIELD(tmem_frames, struct_size);
	FIELD(tmem_frames, reserved);
	FIELD(tmem_frames, opaque);
	FIELD(tmem_frames, base);
	FIELD(tmem_frames, frame_count);
	FIELD(tmem_frames, get);
	FIELD(tmem_frames, put);
	FIELD(tmem_frames, claim);
	SIZE(tmem_frames);
	FIELD(tmem_victim, handle);
	FIELD(tmem_victim, owner);
	FIELD(tmem_victim, size);
	SIZE(tmem_victim);
	FIELD(tmem_allocator_stats, struct_size);
	FIELD(tmem_allocator_stats, reserved);
	FIELD(tmem_allocator_stats, frames);
	FIELD(tmem_allocator_stats, objects);
	FIELD(tmem_allocator_stats, object_bytes);
	FIELD(tmem_allocator_stats, slot_bytes);
	FIELD(tmem_allocator_stats, runs);
	FIELD(tmem_allocator_stats, metadata_bytes);
	FIELD(tmem_allocator_stats, reclaimable_frames);
	SIZE(tmem_allocator_stats);
	FIELD(tmem_allocator, abi_version);
	FIELD(tmem_allocator, struct_size);
	FIELD(tmem_allocator, flags);
	FIELD(tmem_allocator, name);
	FIELD(tmem_allocator, description);
	FIELD(tmem_allocator, format);
	FIELD(tmem_allocator, reserved);
	FIELD(tmem_allocator, options);
	FIELD(tmem_allocator, create);
	FIELD(tmem_allocator, destroy);
	FIELD(tmem_allocator, max_size);
	FIELD(tmem_allocator, alloc);
	FIELD(tmem_allocator, free);
	FIELD(tmem_allocator, address);
	FIELD(tmem_allocator, set_owner);
	FIELD(tmem_allocator, victims);
	FIELD(tmem_allocator, adopt);
	FIELD(tmem_allocator, stats);
	SIZE(tmem_allocator);
	NUMBER(TMEM_PLUGIN_ABI_VERSION);
	NUMBER(TMEM_PLUGIN_NAME_MAX);
	NUMBER(TMEM_OPTION_INTEGER);
	NUMBER(TMEM_OPTION_BOOLEAN);
	NUMBER(TMEM_LOG_ERROR);
	NUMBER(TMEM_LOG_WARNING);
	NUMBER(TMEM_LOG_INFO);
	NUMBER(TMEM_LOG_DEBUG);
	NUMBER(TMEM_CODEC_INPUT_MAY_CHANGE);
	NUMBER(TMEM_CODEC_OUTPUT_MAY_CHANGE);
	NUMBER(TMEM_CODEC_STORES_RAW);
	NUMBER(TMEM_FRAME_SIZE);
	NUMBER(TMEM_RUN_FRAMES_MAX);
	NUMBER(TMEM_HANDLE_BITS);
	NUMBER(TMEM_ALLOC_MOVE);
	NUMBER(TMEM_ALLOC_EPHEMERAL);
	return puts(TMEM_CODEC_ENTRY " " TMEM_ALLOCATOR_ENTRY) < 0;
}
