/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A codec called directly: the baseline of every put and get.
 *
 * Its table's own functions, one context for all calls, no checking layer, no
 * check, nobody else's memory touched than the page and the output: what a
 * put or get would cost if a store were free.
 */
#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "cli.h"

/* The codec writes here what it compresses a page to. */
#define OUT_BYTES(bound) ((bound) > TMEM_PAGE_SIZE ? (bound) : TMEM_PAGE_SIZE)

static void host_log(void *opaque, enum tmem_log_level level, const char *text)
{
	(void)opaque;
	if (level <= TMEM_LOG_WARNING)
		tm_cli_error("%s", text);
}

static uint64_t host_now_ns(void *opaque)
{
	(void)opaque;
	return tm_bench_now_ns();
}

static void *host_alloc(void *opaque, size_t size, size_t align)
{
	void *ptr;

	(void)opaque;
	if (align < sizeof(void *))
		align = sizeof(void *);
	if (posix_memalign(&ptr, align, size))
		return NULL;
	return memset(ptr, 0, size);
}

static void host_free(void *opaque, void *ptr, size_t size)
{
	(void)opaque;
	(void)size;
	free(ptr);
}

int tm_bench_raw_open(struct tm_bench_raw *raw,
		      const struct tm_chosen_codec *codec)
{
	const struct tmem_codec_config config = {
		.struct_size = sizeof(config),
		.level = codec->level,
		.page_size = TMEM_PAGE_SIZE,
	};
	const struct tmem_codec *table = codec->table;
	int err;

	*raw = (struct tm_bench_raw){
		.host = {
			.abi_version = TMEM_PLUGIN_ABI_VERSION,
			.struct_size = sizeof(raw->host),
			.log = host_log,
			.now_ns = host_now_ns,
			.alloc = host_alloc,
			.free = host_free,
		},
	};
	err = table->params_create(&raw->host, &config, &raw->params);
	if (err)
		goto out;
	err = table->context_create(&raw->host, raw->params, &raw->context);
	if (err) {
		table->params_destroy(&raw->host, raw->params);
		goto out;
	}
	raw->table = table;
	raw->out = host_alloc(NULL, OUT_BYTES(table->bound(TMEM_PAGE_SIZE)),
			      TMEM_PAGE_SIZE);
	raw->page = host_alloc(NULL, TMEM_PAGE_SIZE, TMEM_PAGE_SIZE);
	if (raw->out && raw->page)
		return 0;
	tm_bench_raw_close(raw);
	err = -ENOMEM;
out:
	tm_cli_error("codec %s: %s", codec->spec, strerror(-err));
	return err;
}

void tm_bench_raw_close(struct tm_bench_raw *raw)
{
	if (!raw->table)
		return;
	raw->table->context_destroy(&raw->host, raw->context);
	raw->table->params_destroy(&raw->host, raw->params);
	free(raw->out);
	free(raw->page);
	raw->table = NULL;
}

static int pack_all(struct tm_bench_packed *packed, struct tm_bench_raw *raw,
		    const struct tm_bench_pages *pages)
{
	for (uint32_t i = 0; i < pages->order_count; i++) {
		uint32_t number = pages->order[i];
		const uint8_t *from = tm_bench_page(pages, number);
		size_t length = tm_bench_raw_compress(raw, from);

		if (!length)
			packed->stored_raw++;
		packed->offset[number] = packed->size_bytes;
		packed->length[number] =
			(uint32_t)(length ? length : TMEM_PAGE_SIZE);
		memcpy(packed->bytes + packed->size_bytes,
		       length ? raw->out : from, packed->length[number]);
		packed->size_bytes += packed->length[number];
		if (!length)
			continue;
		if (raw->table->decompress(raw->context, raw->out, length,
					   raw->page, TMEM_PAGE_SIZE, 0) ||
		    memcmp(raw->page, from, TMEM_PAGE_SIZE)) {
			tm_cli_error("codec %s changes page %u",
					  raw->table->name, number);
			return -EBADMSG;
		}
	}
	return 0;
}

int tm_bench_pack(struct tm_bench_packed *packed, struct tm_bench_raw *raw,
		  const struct tm_bench_pages *pages)
{
	int err = -ENOMEM;

	*packed = (struct tm_bench_packed){ 0 };
	packed->bytes = malloc((size_t)pages->order_count * TMEM_PAGE_SIZE);
	packed->length = calloc(pages->count, sizeof(*packed->length));
	packed->offset = calloc(pages->count, sizeof(*packed->offset));
	if (packed->bytes && packed->length && packed->offset)
		err = pack_all(packed, raw, pages);
	else
		tm_cli_error("no memory for the packed pages");
	if (err)
		tm_bench_packed_free(packed);
	return err;
}

void tm_bench_packed_free(struct tm_bench_packed *packed)
{
	free(packed->bytes);
	free(packed->length);
	free(packed->offset);
	*packed = (struct tm_bench_packed){ 0 };
}
