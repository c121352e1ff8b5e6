/* SPDX-License-Identifier: BSD-2-Clause */
/* tmem top: samples of the daemon's clients, as rows (see top.c). */
#ifndef TM_TOP_H
#define TM_TOP_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "balloon_state.h"
#include "control_client.h"

/* One client between two samples. A rate or share below 0 is not known. */
struct tm_top_row {
	char name[TMEM_CLIENT_NAME_MAX + 1];
	uint64_t number;
	int64_t mem_kib;	/* negative: not known */
	int64_t maxmem_kib;
	uint64_t pages;
	uint64_t compressed_bytes;
	double ratio;
	double puts_per_s;
	double gets_per_s;
	double flushes_per_s;
	double hit_pct;
	uint64_t evicted;
	uint64_t refused;
	double put_p50_us;
	double put_p99_us;
	double get_p50_us;
	double get_p99_us;
};

/* A column, as one row of a table: screen and batch mode walk it. */
struct tm_top_column {
	const char *key;	/* for --sort and JSON */
	const char *title;
	char letter;		/* sorts by it on the screen; 0: none */
	int width;		/* on the screen */
	/* Its value; negative: not known. NULL: the name. */
	double (*value)(const struct tm_top_row *row);
	int decimals;
};
#define TM_TOP_COLUMNS 17
extern const struct tm_top_column tm_top_columns[TM_TOP_COLUMNS];

struct tm_top {
	struct tm_cli_control control;
	bool is_batch;
	uint64_t count;		/* samples to show; 0: no end */
	double delay_s;
	size_t sort;		/* a column */
	bool is_reversed;
	/* the last sample */
	json_t *clients;
	uint64_t sampled_ns;
	struct tm_top_row *rows;
	size_t row_count;
	/* of the store, for the first line */
	uint64_t used_bytes;
	uint64_t memory_bytes;
	uint64_t freeable_bytes;
};

/* Samples and makes sorted rows. 0, or -EIO after a message. */
int tm_top_sample(struct tm_top *top);
void tm_top_sort(struct tm_top *top);
/* Text of a cell, flush right; "-" for what is not known. */
void tm_top_cell(const struct tm_top_row *row,
		 const struct tm_top_column *column, char *text, size_t size);

/* Guests that tmem-balloon drives; they may have nothing to do with clients. */
size_t tm_top_balloon(struct tm_balloon_guest *guests, size_t max);
#define TM_TOP_BALLOON_MAX 64

/* The screen, until q is typed or top->count is reached. An enum
 * tm_cli_status. */
int tm_top_screen(struct tm_top *top);

#endif
