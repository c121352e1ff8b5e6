/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Pages to put: every sort that a store treats differently.
 *
 * A page is a function of its kind and a number, so that a test need only
 * remember the two to know what a get must bring back. Two numbers give two
 * different pages (same-filled ones repeat after 2^64).
 *
 *	same	one 8-byte word over and over, often zero
 *	text	words and line ends: about 2:1 for most codecs
 *	heap	pointers, small numbers and zeros, as in a process's heap: 4:1
 *	noise	no codec gains a byte
 */
#ifndef TM_PAGES_H
#define TM_PAGES_H

#include <stdint.h>
#include <string.h>

#include <tmem/tmem.h>

enum tm_page_kind {
	TM_PAGE_SAME,
	TM_PAGE_TEXT,
	TM_PAGE_HEAP,
	TM_PAGE_NOISE,
	TM_PAGE_KINDS
};

static inline uint64_t tm_page_mix(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

static inline void tm_page_fill_text(char *to, uint64_t state)
{
	static const char words[] = "the page that is put comes back whole or "
				    "not at all and never the one before\n";
	size_t at = 0;

	while (at < TMEM_PAGE_SIZE) {
		uint64_t r = tm_page_mix(&state);
		size_t from = r % (sizeof(words) - 9);
		size_t size = 1 + (r >> 32) % 8;

		if (size > TMEM_PAGE_SIZE - at)
			size = TMEM_PAGE_SIZE - at;
		memcpy(to + at, words + from, size);
		at += size;
	}
}

static inline void tm_page_fill_heap(uint64_t *to, uint64_t state)
{
	for (size_t i = 0; i < TMEM_PAGE_SIZE / 8; i++) {
		uint64_t r = tm_page_mix(&state);

		switch (r % 4) {
		case 0:
			to[i] = UINT64_C(0x00007f3a00000000) +
				(r >> 40 & 0xfffff0);
			break;
		case 1:
			to[i] = r >> 58;
			break;
		default:
			to[i] = 0;
		}
	}
}

static inline void tm_page_fill(void *page, enum tm_page_kind kind,
				uint64_t number)
{
	uint64_t state = number * UINT64_C(0xd1342543de82ef95) + kind;
	uint64_t words[TMEM_PAGE_SIZE / 8];

	switch (kind) {
	case TM_PAGE_SAME:
		for (size_t i = 0; i < TMEM_PAGE_SIZE / 8; i++)
			words[i] = number;
		break;
	case TM_PAGE_TEXT:
		tm_page_fill_text((char *)words, state);
		break;
	case TM_PAGE_HEAP:
		tm_page_fill_heap(words, state);
		break;
	default:
		for (size_t i = 0; i < TMEM_PAGE_SIZE / 8; i++)
			words[i] = tm_page_mix(&state);
	}
	if (kind != TM_PAGE_SAME)
		words[17] = number;
	memcpy(page, words, TMEM_PAGE_SIZE);
}

#endif
