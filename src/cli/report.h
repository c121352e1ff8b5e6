/* SPDX-License-Identifier: BSD-2-Clause */
/* Tables for people, and a line that says how far the work is. */
#ifndef TM_REPORT_H
#define TM_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Columns: the first flush left, the others flush right, as wide as needed. */
#define TM_REPORT_COLUMNS_MAX 24
struct tm_report {
	size_t columns;
	size_t count;		/* cells so far; rows follow each other */
	size_t room;
	char **cells;
};

void tm_report_begin(struct tm_report *report, const char *const *titles,
		     size_t columns);
void tm_report_cell(struct tm_report *report, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* Prints the table and frees it. */
void tm_report_end(struct tm_report *report, FILE *file);

/* "12.3 MiB", into a buffer of at least 16 bytes. Returns @text. */
char *tm_report_size(uint64_t bytes, char *text, size_t size);

/* A line on standard error that is written over; nothing when that is no
 * terminal. @total 0: nobody knows how much there will be. */
struct tm_progress {
	const char *what;
	uint64_t total;
	uint64_t shown_ms;
	bool is_terminal;
};

void tm_progress_begin(struct tm_progress *progress, const char *what,
		       uint64_t total);
void tm_progress_at(struct tm_progress *progress, uint64_t done);
void tm_progress_end(struct tm_progress *progress);

#endif
