/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A client out of a stream that somebody made up.
 *
 * The first byte of the input says how the rest is meant: as the bytes of a
 * stream, or, so that checks do not keep everything out, as blocks { type,
 * count, length of two bytes, bytes } that are framed and sealed here. It also
 * says how large the pieces are in which the stream arrives.
 *
 * Whatever it is: an error has its sentence and leaves nothing in the store;
 * what was restored can be saved and restored again, page for page; another
 * client's page is there afterwards, and all sums of the store are right.
 */
#include <config.h>

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tmem/save.h>

#include "keep_modules.h"
#include "save_stream.h"

#define MUST(x) ((x) ? (void)0 : fail(#x))

enum {
	WHAT_BYTES = 1,
	WHAT_LIVE = 2,
	WHAT_PIECES = 4, /* of 7 bytes */
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static _Noreturn void fail(const char *what)
{
	fprintf(stderr, "fuzz_save: not so: %s\n", what);
	abort();
}

/* --- the stream ----------------------------------------------------------- */

static int push(struct tmem_restore *restore, const uint8_t *bytes, size_t size,
		size_t piece)
{
	int err = 0;

	for (size_t at = 0; at < size && !err; at += piece)
		err = tmem_restore_write(restore, bytes + at,
					 size - at < piece ? size - at : piece);
	return err;
}

static int push_out(struct tmem_restore *restore, struct tm_save_out *out,
		    size_t piece)
{
	return push(restore, out->buffer, out->size, piece);
}

static int push_blocks(struct tmem_restore *restore, const uint8_t *data,
		       size_t size, uint8_t what)
{
	size_t piece = what & WHAT_PIECES ? 7 : SIZE_MAX / 2;
	struct tm_save_out out = { 0 };
	int err;

	MUST(!tm_save_out_open(&out));
	tm_save_out_hello(&out, what & WHAT_LIVE ? TM_SAVE_LIVE : 0);
	err = push_out(restore, &out, piece);
	while (!err && size >= 4) {
		size_t length = data[2] | (size_t)data[3] << 8;

		tm_save_out_begin(&out, data[0]);
		out.count = data[1];
		data += 4, size -= 4;
		length = length < size ? length : size;
		memcpy(out.buffer + out.size, data, length);
		out.size += length;
		data += length, size -= length;
		tm_save_out_finish(&out);
		err = push_out(restore, &out, piece);
	}
	tm_save_out_close(&out);
	return err;
}

/* --- the store ------------------------------------------------------------ */

static struct tmem_restore *open_restore(struct tmem_store *store,
					 const char *name)
{
	struct tmem_restore_config config;
	struct tmem_restore *restore;

	tmem_restore_config_init(&config);
	config.store = store;
	config.name = name;
	MUST(!tmem_restore_open(&config, &restore));
	return restore;
}

static uint64_t pages_of(struct tmem_client *client)
{
	struct tmem_counts counts = { .struct_size = sizeof(counts) };

	MUST(!tmem_client_get_counts(client, &counts));
	return counts.pages;
}

/* What was restored is a client like others. */
static void save_again(struct tmem_store *store, struct tmem_client *client)
{
	struct tmem_restore *restore = open_restore(store, "again");
	struct tmem_client *copy;
	struct tmem_save *save;
	uint8_t buffer[5000];
	ssize_t got;

	MUST(!tmem_save_open(client, 0, &save));
	while ((got = tmem_save_read(save, buffer, sizeof(buffer))) > 0)
		if (tmem_restore_write(restore, buffer, (size_t)got))
			break;
	MUST(got >= 0);
	/* There may be no room for it twice. */
	if (!tmem_restore_commit(restore, &copy)) {
		MUST(pages_of(copy) == pages_of(client));
		tmem_client_destroy(copy);
	}
	tmem_restore_close(restore);
	tmem_save_close(save);
}

static unsigned count_clients(struct tmem_store *store)
{
	struct tmem_client_info info = { .struct_size = sizeof(info) };
	uint32_t position = 0;
	unsigned count = 0;

	while (tmem_store_walk_clients(store, &position, &info) > 0)
		count++;
	return count;
}

static struct tmem_client *begin(struct tmem_store **store)
{
	struct tmem_store_config config;
	struct tmem_client_config client_config;
	const struct tmem_oid oid = { { 1, 2, 3 } };
	uint8_t page[TMEM_PAGE_SIZE];
	struct tmem_client *other;

	tmem_store_config_init(&config);
	config.memory_bytes = 1 << 20;
	config.flags = TMEM_STORE_NO_LOCK | TMEM_STORE_NO_THREADS |
		       TMEM_STORE_SHARED_OPEN;
	MUST(!tmem_store_open(&config, store));
	tmem_client_config_init(&client_config);
	client_config.name = "other";
	MUST(!tmem_client_attach(*store, &client_config, &other));
	MUST(!tmem_pool_create(other, TMEM_POOL_PERSISTENT, NULL));
	memset(page, 'o', sizeof(page));
	page[17] = 1;
	MUST(tmem_put(other, 0, &oid, 4, page, 0) == TMEM_PUT_STORED);
	return other;
}

static void end(struct tmem_store *store, struct tmem_client *other)
{
	const struct tmem_oid oid = { { 1, 2, 3 } };
	uint8_t page[TMEM_PAGE_SIZE];

	while (tmem_store_step(store))
		;
	MUST(count_clients(store) == 1);
	MUST(tmem_get(other, 0, &oid, 4, page, 0) == TMEM_GET_HIT);
	MUST(page[0] == 'o' && page[17] == 1 && page[4095] == 'o');
	MUST(!tmem_store_check(store));
	tmem_client_detach(other);
	tmem_store_close(store);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tmem_client *other, *client;
	struct tmem_restore *restore;
	struct tmem_store *store;
	uint8_t what;
	int err;

	if (!size)
		return 0;
	keep_modules();
	what = *data++;
	size--;
	other = begin(&store);
	restore = open_restore(store, NULL);
	err = what & WHAT_BYTES ? push(restore, data, size,
				       what & WHAT_PIECES ? 7 : SIZE_MAX / 2)
				: push_blocks(restore, data, size, what);
	if (!err)
		err = tmem_restore_commit(restore, &client);
	MUST(!err == !tmem_restore_error(restore)[0]);
	tmem_restore_close(restore);
	if (!err) {
		save_again(store, client);
		tmem_client_destroy(client);
	}
	end(store, other);
	return 0;
}
