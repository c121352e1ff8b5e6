/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A domain's pages as Xen's old tools saved them, from somebody who did not use
 * those tools.
 *
 * The first byte says in what pieces the input arrives, the rest is the old
 * stream. Whatever it is: it is refused with a sentence, or what comes out of
 * the converter is a whole stream of ours, that a store takes or has no room
 * for, and never one that is damaged.
 */
#include <config.h>

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tmem/save.h>

#include "keep_modules.h"
#include "libxc_convert.h"

#define MUST(x) ((x) ? (void)0 : fail(#x))

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
	const uint8_t *data;
	size_t size;
	size_t piece;
};

static _Noreturn void fail(const char *what)
{
	fprintf(stderr, "fuzz_libxc: not so: %s\n", what);
	abort();
}

static ssize_t read_input(void *opaque, void *buffer, size_t size)
{
	struct input *input = opaque;

	size = size < input->size ? size : input->size;
	size = size < input->piece ? size : input->piece;
	memcpy(buffer, input->data, size);
	input->data += size;
	input->size -= size;
	return (ssize_t)size;
}

static struct tmem_store *open_store(void)
{
	struct tmem_store_config config;
	struct tmem_store *store;

	tmem_store_config_init(&config);
	config.memory_bytes = 1 << 20;
	config.flags = TMEM_STORE_NO_LOCK | TMEM_STORE_NO_THREADS |
		       TMEM_STORE_SHARED_OPEN;
	MUST(!tmem_store_open(&config, &store));
	return store;
}

/* Errors that say that the stream itself is wrong. */
static void must_be_sound(int err)
{
	MUST(err != -EBADMSG && err != -EPROTONOSUPPORT);
}

static void convert(struct tm_libxc *libxc, struct tmem_restore *restore)
{
	struct tmem_client *client;
	uint8_t buffer[10000];
	ssize_t got;
	int err = 0;

	while ((got = tm_libxc_read(libxc, buffer, sizeof(buffer))) > 0) {
		if (!err)
			err = tmem_restore_write(restore, buffer, (size_t)got);
		must_be_sound(err);
	}
	MUST((got < 0) == !!tm_libxc_error(libxc)[0]);
	if (got < 0 || err)
		return;
	err = tmem_restore_commit(restore, &client);
	must_be_sound(err);
	if (!err)
		tmem_client_destroy(client);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tmem_restore_config config;
	struct tmem_restore *restore;
	struct tmem_store *store;
	struct tm_libxc *libxc;
	struct input input;

	if (!size)
		return 0;
	keep_modules();
	input = (struct input){
		.data = data + 1,
		.size = size - 1,
		.piece = data[0] ? data[0] : SIZE_MAX,
	};
	store = open_store();
	tmem_restore_config_init(&config);
	config.store = store;
	MUST(!tmem_restore_open(&config, &restore));
	MUST(!tm_libxc_open("domain", read_input, &input, &libxc));
	convert(libxc, restore);
	tm_libxc_close(libxc);
	tmem_restore_close(restore);
	MUST(!tmem_store_check(store));
	tmem_store_close(store);
	return 0;
}
