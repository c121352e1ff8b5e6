/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sizes as people write them.
 *
 *	size = digits [ "." digits ] unit | digits
 *	unit = ( K | M | G | T ) [ "B" | "iB" ]		in any case
 *
 * The problem with strtoull() and strtod(): they take blanks, signs, hex and
 * "inf", obey the locale, and a double loses bytes above 2^53. So the whole
 * part and the fraction are integers here. The result is rounded down to
 * whole bytes; digits of a fraction past the 18th do not count, which is less
 * than a byte even of a terabyte.
 *
 * A fraction of a byte is no size: "1.5" is refused, rather than read as 1.
 * Whether it is a size at all is settled before whether it fits.
 */
#include <config.h>

#include "size.h"

#include <errno.h>
#include <stdbool.h>

#define FRACTION_DIGITS_MAX 18

/* @letter is a small one. Not tolower(), which obeys the locale. */
static bool is_letter(char c, char letter)
{
	return (c | 0x20) == letter;
}

/* How far a unit shifts, or -1 when it is none. "" is bytes. */
static int unit_shift(const char *unit)
{
	static const char letters[] = "kmgt";
	int shift = 0;

	if (!*unit)
		return 0;
	for (int i = 0; letters[i]; i++)
		if (is_letter(*unit, letters[i]))
			shift = 10 * (i + 1);
	if (!shift)
		return -1;
	unit++;
	if (is_letter(unit[0], 'i') && is_letter(unit[1], 'b'))
		unit++;
	if (is_letter(unit[0], 'b'))
		unit++;
	return *unit ? -1 : shift;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

int tm_size_parse(const char *text, uint64_t *bytes)
{
	unsigned __int128 value, part = 0, one = 1;
	uint64_t whole = 0;
	bool overflow = false;
	bool fraction = false;
	int shift;

	if (!is_digit(*text))
		return -EINVAL;
	for (; is_digit(*text); text++)
		if (__builtin_mul_overflow(whole, 10, &whole) ||
		    __builtin_add_overflow(whole, (uint64_t)(*text - '0'),
					   &whole))
			overflow = true;
	if (*text == '.') {
		fraction = true;
		if (!is_digit(*++text))
			return -EINVAL;
		for (int i = 0; is_digit(*text); text++, i++) {
			if (i >= FRACTION_DIGITS_MAX)
				continue;
			part = part * 10 + (unsigned)(*text - '0');
			one *= 10;
		}
	}
	shift = unit_shift(text);
	if (shift < 0 || (fraction && !shift))
		return -EINVAL;
	value = ((unsigned __int128)whole << shift) + (part << shift) / one;
	if (overflow || value > UINT64_MAX)
		return -ERANGE;
	*bytes = (uint64_t)value;
	return 0;
}
