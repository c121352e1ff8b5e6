/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A codec with its parameters, and the contexts made from it (see plug.h).
 *
 * A context is one block of the host's memory:
 *
 *	struct tm_codec_context | canary | output, bound(page) | canary
 *
 * with the output on a cache line of its own, so that the copy into the arena
 * starts aligned. The canaries catch a codec that writes a little too far;
 * one that writes further than that corrupts the process, as any code in it
 * could.
 */
#include <config.h>

#include "plug_private.h"

#include <stdlib.h>

#define CACHE_LINE_BYTES 64

/* "NAME" or "NAME:LEVEL"; nothing else follows a level. */
static int parse_level(const struct tmem_codec *table, const char *text,
		       const struct tmem_host *host, int32_t *level)
{
	char *end = NULL;
	long value = 0;

	/* strtol() would take white space and '+'. */
	if ((*text >= '0' && *text <= '9') || *text == '-')
		value = strtol(text, &end, 10);
	if (!end || *end || end == text) {
		tm_host_log(host, TMEM_LOG_ERROR,
			    "codec %s: \"%.32s\" is not a level", table->name,
			    text);
		return -EINVAL;
	}
	if (value != table->level_min && table->level_min == table->level_max) {
		tm_host_log(host, TMEM_LOG_ERROR,
			    "codec %s has no levels, and none called %.12s",
			    table->name, text);
		return -EINVAL;
	}
	if (value < table->level_min || value > table->level_max) {
		tm_host_log(host, TMEM_LOG_ERROR,
			    "codec %s: level %.12s is not one of %d to %d",
			    table->name, text, (int)table->level_min,
			    (int)table->level_max);
		return -EINVAL;
	}
	*level = (int32_t)value;
	return 0;
}

static int parse_spec(const struct tmem_plugins *plugins, const char *spec,
		      const struct tmem_host *host,
		      const struct tmem_codec **table, int32_t *level)
{
	const char *colon = strchrnul(spec, ':');
	size_t length = (size_t)(colon - spec);
	char name[TMEM_PLUGIN_NAME_MAX + 1];

	if (length > TMEM_PLUGIN_NAME_MAX)
		return tm_plugins_unknown(plugins, TM_PLUGIN_CODEC, host, spec);
	memcpy(name, spec, length);
	name[length] = '\0';
	*table = tm_plugins_find_codec(plugins, name);
	if (!*table)
		return tm_plugins_unknown(plugins, TM_PLUGIN_CODEC, host, name);
	*level = (*table)->level_default;
	if (!*colon)
		return 0;
	return parse_level(*table, colon + 1, host, level);
}

int tm_codec_open(const struct tmem_plugins *plugins, const char *spec,
		  uint32_t page_size_bytes, const struct tmem_host *host,
		  struct tm_codec **codec_out)
{
	const struct tmem_codec *table;
	struct tmem_codec_config config = {
		.struct_size = sizeof(config),
		.page_size = page_size_bytes,
	};
	struct tm_codec *codec;
	int error;

	error = parse_spec(plugins, spec, host, &table, &config.level);
	if (error)
		return error;
	codec = host->alloc(host->opaque, sizeof(*codec), CACHE_LINE_BYTES);
	if (!codec)
		return -ENOMEM;
	codec->table = *table;
	codec->host = host;
	codec->level = config.level;
	codec->page_size_bytes = page_size_bytes;
	codec->bound_bytes = (uint32_t)table->bound(page_size_bytes);
	error = table->params_create(host, &config, &codec->params);
	if (error) {
		tm_host_log(host, TMEM_LOG_ERROR,
			    "codec %s: cannot be set up: %s", table->name,
			    strerror(error < 0 ? -error : EINVAL));
		host->free(host->opaque, codec, sizeof(*codec));
		return error == -ENOMEM ? error : -EINVAL;
	}
	*codec_out = codec;
	return 0;
}

void tm_codec_close(struct tm_codec *codec)
{
	const struct tmem_host *host;

	if (!codec)
		return;
	host = codec->host;
	codec->table.params_destroy(host, codec->params);
	host->free(host->opaque, codec, sizeof(*codec));
}

/* --- contexts */

/* Where the output begins: the canary before it ends right there. */
#define OUTPUT_OFFSET                                                          \
	((sizeof(struct tm_codec_context) + sizeof(uint64_t) +                 \
	  CACHE_LINE_BYTES - 1) /                                              \
	 CACHE_LINE_BYTES * CACHE_LINE_BYTES)

static size_t context_bytes(const struct tm_codec *codec)
{
	return OUTPUT_OFFSET + codec->bound_bytes + sizeof(uint64_t);
}

static void canaries_set(struct tm_codec_context *context)
{
	static const uint64_t canary = TM_CODEC_CANARY;

	memcpy(context->output - sizeof(canary), &canary, sizeof(canary));
	memcpy(context->tail, &canary, sizeof(canary));
}

int tm_codec_context_create(struct tm_codec *codec,
			    struct tm_codec_context **context_out)
{
	const struct tmem_host *host = codec->host;
	struct tm_codec_context *context;
	int error;

	context = host->alloc(host->opaque, context_bytes(codec),
			      CACHE_LINE_BYTES);
	if (!context)
		return -ENOMEM;
	context->codec = codec;
	context->output = (uint8_t *)context + OUTPUT_OFFSET;
	context->tail = context->output + codec->bound_bytes;
	context->compress = codec->table.compress;
	context->decompress = codec->table.decompress;
	canaries_set(context);
	error = codec->table.context_create(host, codec->params,
					    &context->context);
	if (error) {
		host->free(host->opaque, context, context_bytes(codec));
		return -ENOMEM;
	}
	*context_out = context;
	return 0;
}

void tm_codec_context_destroy(struct tm_codec_context *context)
{
	struct tm_codec *codec;

	if (!context)
		return;
	codec = context->codec;
	codec->table.context_destroy(codec->host, context->context);
	codec->host->free(codec->host->opaque, context, context_bytes(codec));
}

/* --- caught */

size_t tm_codec_caught_compress(struct tm_codec_context *context, size_t len,
				size_t limit)
{
	struct tm_codec *codec = context->codec;
	bool overran = !tm_codec_canaries_are_intact(context);

	canaries_set(context);
	if (!tm_caught(codec->host, &codec->errors, &codec->logged_ns))
		return 0;
	if (overran)
		tm_host_log(codec->host, TMEM_LOG_ERROR,
			    "codec %s wrote outside its output buffer; the "
			    "page is stored as it is",
			    codec->table.name);
	else
		tm_host_log(codec->host, TMEM_LOG_ERROR,
			    "codec %s answered %zu bytes where %zu were the "
			    "limit; the page is stored as it is",
			    codec->table.name, len, limit);
	return 0;
}

int tm_codec_caught_decompress(struct tm_codec_context *context, int error)
{
	struct tm_codec *codec = context->codec;

	if (tm_caught(codec->host, &codec->errors, &codec->logged_ns))
		tm_host_log(codec->host, TMEM_LOG_ERROR,
			    "codec %s answered %d to a decompression, which is "
			    "neither 0 nor -EBADMSG; the page counts as "
			    "damaged",
			    codec->table.name, error);
	return -EBADMSG;
}
