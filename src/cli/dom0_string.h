/* SPDX-License-Identifier: BSD-2-Clause */
/* Xen's boot option dom0_mem: its grammar and what it comes to (see
 * dom0_string.c). Pages are of 4 KiB. */
#ifndef TM_DOM0_STRING_H
#define TM_DOM0_STRING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TM_DOM0_PAGES_PER_MIB UINT64_C(256)
/* What Xen can say of a ceiling: no ceiling. */
#define TM_DOM0_UNLIMITED_PAGES UINT64_C(0xffffffff)

/* A version as one number that can be compared. */
#define TM_VERSION(major, minor, patch)                                        \
	((uint32_t)(major) << 20 | (uint32_t)(minor) << 10 | (uint32_t)(patch))
/* "4.12", "4.1.2" or "5.2.21-amd64": 0, or -EINVAL. */
int tm_version_parse(const char *text, uint32_t *version);

/* One amount: @pages + @percent of what is available, or all but that. */
struct tm_dom0_amount {
	bool is_set;
	bool is_negative;
	unsigned percent;
	uint64_t pages;
};

/**
 * struct tm_dom0_string - the option, read
 * @size: the item without a name
 * @min: min:
 * @max: max:
 * @stopped_at: NULL, or where Xen before 4.10 stopped reading without a word
 */
struct tm_dom0_string {
	struct tm_dom0_amount size;
	struct tm_dom0_amount min;
	struct tm_dom0_amount max;
	const char *stopped_at;
};

/**
 * tm_dom0_string_parse() - read the option as a version of Xen does
 * @string: the result
 * @text: with or without "dom0_mem=" in front; outlives @string
 * @xen: the version
 * @error: takes a sentence that says what is wrong and where
 * @size: of @error
 *
 * Return: 0, or -EINVAL.
 */
int tm_dom0_string_parse(struct tm_dom0_string *string, const char *text,
			 uint32_t xen, char *error, size_t size);

/* What Xen makes of it: dom0's pages at boot and its ceiling. */
struct tm_dom0_share {
	uint64_t base_pages;
	uint64_t max_pages; /* TM_DOM0_UNLIMITED_PAGES: none */
};

/**
 * tm_dom0_string_resolve() - amounts into pages
 * @string: what was read
 * @available_pages: what Xen has to give away
 * @share: the result
 * @error: takes a sentence; so does an amount that wraps around in Xen
 * @size: of @error
 *
 * Return: 0, or -ERANGE.
 */
int tm_dom0_string_resolve(const struct tm_dom0_string *string,
			   uint64_t available_pages,
			   struct tm_dom0_share *share, char *error,
			   size_t size);

#endif
