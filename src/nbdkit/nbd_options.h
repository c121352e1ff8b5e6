/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What can be said to the plugin, as KEY=VALUE after its name.
 *
 * One row of TM_NBD_OPTIONS is all there is of an option: nbdkit's --help, the
 * parser, and the test that compares both with the manual read it. It is a
 * macro because nbdkit takes the help as one constant string, before any code
 * of a plugin has run.
 *
 * What is wrong with a value is found in tm_nbd_options_check(), when all have
 * been seen: most of what can be wrong is two of them together.
 */
#ifndef TM_NBD_OPTIONS_H
#define TM_NBD_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include <tmem/tmem.h>

/* X(key, what stands for the value, one line of help) */
#define TM_NBD_OPTIONS(X)                                                      \
	X(size, "SIZE", "of a swap or scratch disk, such as 4G")               \
	X(image, "FILE", "be a cache in front of this raw image instead")      \
	X(memory, "SIZE", "keep pages in this process, in at most so much")    \
	X(socket, "PATH", "keep pages in the tmemd that listens there")        \
	X(name, "CLIENT", "whose pages they are [nbd; the socket's client]")   \
	X(codec, "NAME[:LEVEL]", "with memory=: compresses pages")             \
	X(allocator, "NAME", "with memory=: packs compressed pages")           \
	X(arena, "FILE", "with memory=: on tmpfs; survives this process")      \
	X(dedup, "BOOL", "with memory=: keep identical pages once [no]")       \
	X(backing, "FILE", "with size=: takes what does not fit memory")       \
	X(share, "NAME", "with image=: clients of one tmemd share pages")      \
	X(readonly, "BOOL", "refuse writes; the image is only read [no]")      \
	X(timeout, "SECONDS", "with socket=: wait so long for tmemd [30]")

#define TM_NBD_OPTION_ENUM(key, argument, help) TM_NBD_##key,
enum tm_nbd_option { TM_NBD_OPTIONS(TM_NBD_OPTION_ENUM) TM_NBD_OPTION_COUNT };

/* The constant string for nbdkit. */
#define TM_NBD_HELP_LINE(key, argument, help)                                  \
	#key "=" argument "\n    " help "\n"
#define TM_NBD_HELP TM_NBD_OPTIONS(TM_NBD_HELP_LINE)

/**
 * struct tm_nbd_options - what was said
 * @value: as given, owned by nbdkit or by this structure (paths, which are made
 *	absolute); NULL: not given
 * @size_bytes: 0 with an image
 * @memory_bytes: 0 with a socket
 */
struct tm_nbd_options {
	const char *value[TM_NBD_OPTION_COUNT];
	char *path[TM_NBD_OPTION_COUNT];
	uint64_t size_bytes;
	uint64_t memory_bytes;
	uint32_t timeout_ms;
	bool dedup;
	bool is_readonly;
};

/* Both answer 0, or -EINVAL after nbdkit_error(). */
int tm_nbd_options_set(struct tm_nbd_options *options, const char *key,
		       const char *value);
int tm_nbd_options_check(struct tm_nbd_options *options);

/* Frees what it owns. */
void tm_nbd_options_clear(struct tm_nbd_options *options);

#endif
