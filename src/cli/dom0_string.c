/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Xen's boot option dom0_mem.
 *
 *	dom0_mem = ITEM,...	ITEM = [min: | max:] AMOUNT
 *	AMOUNT = [-] (SIZE | N% | SIZE+N%)
 *
 * A later item of one kind replaces an earlier one. A size is an integer as C
 * writes it (0x20, 040, 32) with T, G, M, K or B behind it, KiB if with none,
 * and cut to whole pages. Percents are of what Xen has to give away, below 100,
 * and known since Xen 4.12; the minus belongs to the whole amount: all but it.
 *
 * Xen 4.10 and later refuse what they cannot read; before, reading stopped
 * without a word and what had been read until then counted. Both are told
 * apart here, as the user wants to know which it is.
 *
 * The bound: where Xen's unsigned arithmetic wraps, this refuses. "All but 1T"
 * of a machine with 64G gives dom0 all of it there, which nobody meant, and a
 * number too large for 64 bits means anything at all.
 */
#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "dom0_string.h"

#define PAGE_SHIFT 12
/* Xen leaves itself so much when nobody says how much. */
#define SPARE_PAGES (128 * TM_DOM0_PAGES_PER_MIB)

int tm_version_parse(const char *text, uint32_t *version)
{
	unsigned long parts[3] = { 0 };

	for (size_t i = 0; i < 3; i++) {
		char *end;

		if (*text < '0' || *text > '9')
			return -EINVAL;
		parts[i] = strtoul(text, &end, 10);
		if (parts[i] > 1023)
			return -EINVAL;
		text = end;
		if (*text != '.')
			break;
		text++;
	}
	/* What follows a number: "-rc1", ".21-amd64", "+". */
	if (*text && *text != '-' && *text != '+' && *text != '.')
		return -EINVAL;
	*version = TM_VERSION(parts[0], parts[1], parts[2]);
	return 0;
}

struct reader {
	const char *at;
	uint32_t xen;
	char *error;
	size_t size;
};

static int refuse(const struct reader *reader, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
static int refuse(const struct reader *reader, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(reader->error, reader->size, format, args);
	va_end(args);
	return -EINVAL;
}

static int shift_of(char unit)
{
	static const char units[] = "BKMGT";
	const char *found = strchr(units, unit & ~0x20);

	return unit && found ? (int)(found - units) * 10 : -1;
}

/* A number and what stands behind it: '%', or a unit, or neither. */
static int read_number(struct reader *reader, uint64_t *number,
		       bool *is_percent)
{
	const char *began = reader->at;
	char *end;
	int shift;

	if (*began < '0' || *began > '9')
		return refuse(reader, "a number is missing at \"%.20s\"",
			      began);
	errno = 0;
	*number = strtoull(began, &end, 0);
	*is_percent = *end == '%';
	shift = *is_percent ? 0 : shift_of(*end);
	/* "0x" without digits, or a number beyond 64 bits */
	if (errno || *number > UINT64_MAX >> (shift < 0 ? 10 : shift))
		return refuse(reader, "\"%.20s\" is too large a number", began);
	if (shift >= 0)
		end++;
	else
		shift = 10;
	*number <<= shift;
	reader->at = end;
	return 0;
}

static bool at_end(const struct reader *reader)
{
	return !*reader->at || *reader->at == ',';
}

static int set_percent(struct reader *reader, struct tm_dom0_amount *amount,
		       uint64_t number)
{
	if (reader->xen < TM_VERSION(4, 12, 0))
		return refuse(reader, "percents are known since Xen 4.12");
	if (number >= 100)
		return refuse(reader, "%" PRIu64 "%% is not below 100%%",
			      number);
	amount->percent = (unsigned)number;
	return at_end(reader) ? 0
			      : refuse(reader,
				       "nothing may follow a percentage, but "
				       "\"%.20s\" does",
				       reader->at);
}

static int read_amount(struct reader *reader, struct tm_dom0_amount *amount)
{
	bool is_percent;
	uint64_t number;

	*amount = (struct tm_dom0_amount){ .is_set = true };
	if (*reader->at == '-') {
		amount->is_negative = true;
		reader->at++;
	}
	if (read_number(reader, &number, &is_percent))
		return -EINVAL;
	if (is_percent)
		return set_percent(reader, amount, number);
	amount->pages = number >> PAGE_SHIFT;
	if (at_end(reader))
		return 0;
	if (*reader->at != '+')
		return refuse(reader, "\"%.20s\" is no unit: T, G, M, K or B",
			      reader->at);
	reader->at++;
	if (read_number(reader, &number, &is_percent))
		return -EINVAL;
	return is_percent ? set_percent(reader, amount, number)
			  : refuse(reader, "only a percentage may follow a +");
}

static int read_item(struct reader *reader, struct tm_dom0_string *string)
{
	struct tm_dom0_amount amount, *kind = &string->size;

	if (!strncmp(reader->at, "min:", 4))
		kind = &string->min;
	else if (!strncmp(reader->at, "max:", 4))
		kind = &string->max;
	if (kind != &string->size)
		reader->at += 4;
	if (read_amount(reader, &amount))
		return -EINVAL;
	*kind = amount;
	return 0;
}

int tm_dom0_string_parse(struct tm_dom0_string *string, const char *text,
			 uint32_t xen, char *error, size_t size)
{
	struct reader reader = { text, xen, error, size };

	*string = (struct tm_dom0_string){ .stopped_at = NULL };
	if (!strncmp(text, "dom0_mem=", 9))
		reader.at += 9;
	for (;;) {
		const char *began = reader.at;

		if (read_item(&reader, string)) {
			if (xen >= TM_VERSION(4, 10, 0))
				return -EINVAL;
			string->stopped_at = began;
			return 0;
		}
		if (!*reader.at)
			return 0;
		reader.at++;
	}
}

static int resolve(const struct tm_dom0_amount *amount, const char *name,
		   uint64_t available_pages, struct reader *reader,
		   uint64_t *pages)
{
	/* Below 2^52 and below it: no sum overflows. */
	*pages = amount->pages + available_pages / 100 * amount->percent +
		 available_pages % 100 * amount->percent / 100;
	if (!amount->is_negative)
		return 0;
	if (*pages > available_pages) {
		refuse(reader,
		       "%sall but %" PRIu64 " MiB of %" PRIu64
		       " MiB is less than nothing (Xen wraps around and gives "
		       "dom0 everything)",
		       name, *pages / TM_DOM0_PAGES_PER_MIB,
		       available_pages / TM_DOM0_PAGES_PER_MIB);
		return -ERANGE;
	}
	*pages = available_pages - *pages;
	return 0;
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

int tm_dom0_string_resolve(const struct tm_dom0_string *string,
			   uint64_t available_pages,
			   struct tm_dom0_share *share, char *error,
			   size_t size)
{
	struct reader reader = { .error = error, .size = size };
	uint64_t nr, min, max = TM_DOM0_UNLIMITED_PAGES;

	if (resolve(&string->size, "", available_pages, &reader, &nr) ||
	    resolve(&string->min, "min: ", available_pages, &reader, &min) ||
	    (string->max.is_set &&
	     resolve(&string->max, "max: ", available_pages, &reader, &max)))
		return -ERANGE;
	if (!nr)
		nr = available_pages -
		     smaller(available_pages / 16, SPARE_PAGES);
	if (nr < min)
		nr = min;
	/* max beats min, what there is beats both. */
	share->base_pages = smaller(smaller(nr, max), available_pages);
	share->max_pages = smaller(max, TM_DOM0_UNLIMITED_PAGES);
	if (share->base_pages)
		return 0;
	refuse(&reader, "that leaves dom0 no memory at all");
	return -ERANGE;
}
