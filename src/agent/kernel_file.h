/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the kernel says of itself in small files (see kernel_file.c).
 */
#ifndef TM_KERNEL_FILE_H
#define TM_KERNEL_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Large enough for /proc/zoneinfo of a machine with many processors. */
#define TM_KERNEL_FILE_MAX (256 << 10)

/* Its text in @text, of @size bytes, with an end. 0; -errno; -EFBIG. */
int tm_kernel_file_read(const char *folder, const char *name, char *text,
			size_t size);
/* One number and a newline. 0; -errno; -EBADMSG: it is none. */
int tm_kernel_file_number(const char *folder, const char *name,
			  uint64_t *number);
/* 0 or -errno, as the kernel answers. */
int tm_kernel_file_write(const char *folder, const char *name, uint64_t number);
int tm_kernel_file_write_text(const char *folder, const char *name,
			      const char *text);

/* A value that is looked for, by the word its line begins with. */
struct tm_kernel_value {
	const char *key; /* with its colon, if it has one */
	bool is_kib; /* " kB" follows, and nothing else */
	bool is_needed;
	uint64_t *value; /* untouched if the line is not there */
};

/*
 * Find the values wherever their lines are. A line that is there twice, or
 * without a number, or with more than that behind it, spoils all.
 *
 * Return: 0; -EBADMSG: as said, or one that is needed is not there; then
 * @wrong is its key.
 */
int tm_kernel_file_parse(const char *text, const struct tm_kernel_value *values,
			 size_t count, const char **wrong);

/* PSI: how long some task has waited, from the text of a pressure file. 0 or
 * -EBADMSG. */
int tm_kernel_file_stalled(const char *text, uint64_t *stalled_us);
/*
 * Asks the kernel to say when tasks have waited for a tenth of a second within
 * one: a descriptor to poll for POLLPRI, or -1. Files that are no kernel's are
 * not written to.
 */
int tm_kernel_file_watch(const char *folder, const char *name);

#endif
