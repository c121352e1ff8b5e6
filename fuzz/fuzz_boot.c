/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Any bytes as boot options.
 *
 * The first byte says how the rest is read: as words, or as a kernel command
 * line; from our defaults or from Xen's; with much or with little room for
 * the error. Whatever it is, an error changes nothing and is one printable
 * line; what is accepted is within its bounds, stays the same when the same
 * words follow once more, and can be written into a configuration.
 */
#include <config.h>

#include "boot.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MUST(x) ((x) ? (void)0 : fail(#x))

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static _Noreturn void fail(const char *what)
{
	fprintf(stderr, "fuzz_boot: not so: %s\n", what);
	abort();
}

static int parse(struct tmem_boot *boot, const char *text, uint8_t how,
		 char *error, size_t error_size)
{
	if (how & 1)
		return tm_boot_parse_kernel(boot, text, error, error_size);
	return tmem_boot_parse(boot, text, error, error_size);
}

static void check_error(const char *error, size_t error_size)
{
	size_t size = strnlen(error, error_size);

	MUST(size > 0 && size < error_size);
	for (size_t i = 0; i < size; i++)
		MUST(error[i] >= 0x20 && error[i] < 0x7f);
}

static void check_options(const struct tmem_boot *boot)
{
	struct tmem_store_config config = { .memory_bytes = 1 };
	char codec[32];

	MUST(memchr(boot->codec, 0, sizeof(boot->codec)));
	MUST(memchr(boot->allocator, 0, sizeof(boot->allocator)));
	MUST(*boot->codec || !boot->has_level);
	MUST(!boot->memory_bytes || boot->memory_bytes >= TMEM_MEMORY_MIN);
	tmem_boot_apply(boot, &config, codec, sizeof(codec));
	MUST(!config.codec || *config.codec);
	MUST(config.memory_bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tmem_boot boot, before;
	char error[512] = "";
	uint8_t how = size ? data[0] : 0;
	size_t room = how & 4 ? 8 : sizeof(error);
	char *text;

	if (!size)
		return 0;
	text = malloc(size);
	if (!text)
		return 0;
	memcpy(text, data + 1, size - 1);
	text[size - 1] = '\0';

	tmem_boot_init(&boot, how & 2 ? TMEM_BOOT_DEFAULTS_XEN
				      : TMEM_BOOT_DEFAULTS_TMEM);
	before = boot;
	if (parse(&boot, text, how, error, room)) {
		check_error(error, room);
		MUST(!memcmp(&boot, &before, sizeof(boot)));
	} else {
		MUST(!*error);
		check_options(&boot);
		before = boot;
		MUST(!parse(&boot, text, how, error, room));
		MUST(!memcmp(&boot, &before, sizeof(boot)));
	}
	free(text);
	return 0;
}
