/* SPDX-License-Identifier: BSD-2-Clause */
/* Tables and the progress line; see report.h. */
#include <config.h>

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "report.h"

#define REFRESH_MS 100
#define BAR_WIDTH 30

static void add_cell(struct tm_report *report, char *text)
{
	if (report->count == report->room) {
		size_t room = report->room ? 2 * report->room : 64;
		char **cells = realloc(report->cells, room * sizeof(*cells));

		if (!cells) {
			free(text);
			return;
		}
		report->cells = cells;
		report->room = room;
	}
	report->cells[report->count++] = text;
}

void tm_report_cell(struct tm_report *report, const char *format, ...)
{
	char *text = NULL;
	va_list args;

	va_start(args, format);
	if (vasprintf(&text, format, args) < 0)
		text = NULL;
	va_end(args);
	add_cell(report, text);
}

void tm_report_begin(struct tm_report *report, const char *const *titles,
		     size_t columns)
{
	*report = (struct tm_report){ .columns = columns };
	for (size_t i = 0; i < columns; i++)
		tm_report_cell(report, "%s", titles[i]);
}

static const char *cell(const struct tm_report *report, size_t i)
{
	return report->cells[i] ? report->cells[i] : "?";
}

void tm_report_end(struct tm_report *report, FILE *file)
{
	size_t width[TM_REPORT_COLUMNS_MAX] = { 0 };

	for (size_t i = 0; i < report->count; i++) {
		size_t length = strlen(cell(report, i));

		if (length > width[i % report->columns])
			width[i % report->columns] = length;
	}
	for (size_t i = 0; i < report->count; i++) {
		size_t column = i % report->columns;
		bool is_last = column + 1 == report->columns;

		fprintf(file, "%*s%s",
			column ? (int)width[column] : -(int)width[column],
			cell(report, i), is_last ? "\n" : "  ");
		free(report->cells[i]);
	}
	free(report->cells);
	*report = (struct tm_report){ 0 };
}

char *tm_report_size(uint64_t bytes, char *text, size_t size)
{
	static const char *const units[] = { "B",   "KiB", "MiB",
					     "GiB", "TiB", "PiB" };
	double value = (double)bytes;
	size_t unit = 0;

	while (value >= 1024 && unit + 1 < sizeof(units) / sizeof(units[0])) {
		value /= 1024;
		unit++;
	}
	snprintf(text, size, unit && value < 100 ? "%.1f %s" : "%.0f %s", value,
		 units[unit]);
	return text;
}

void tm_progress_begin(struct tm_progress *progress, const char *what,
		       uint64_t total)
{
	*progress = (struct tm_progress){
		.what = what,
		.total = total,
		.is_terminal = isatty(STDERR_FILENO),
	};
}

static void print_bar(uint64_t done, uint64_t total)
{
	char bar[BAR_WIDTH + 1];
	double part = (double)done / (double)total;

	for (int i = 0; i < BAR_WIDTH; i++)
		bar[i] = i < (int)(part * BAR_WIDTH) ? '#' : ' ';
	bar[BAR_WIDTH] = 0;
	fprintf(stderr, "[%s] %3d%% ", bar, (int)(100 * part));
}

void tm_progress_at(struct tm_progress *progress, uint64_t done)
{
	uint64_t now_ms;

	if (!progress->is_terminal)
		return;
	now_ms = tm_clock_coarse_ms(tm_clock_system());
	if (now_ms - progress->shown_ms < REFRESH_MS)
		return;
	progress->shown_ms = now_ms;
	fprintf(stderr, "\r\033[K%s: ", progress->what);
	if (progress->total)
		print_bar(done < progress->total ? done : progress->total,
			  progress->total);
	fprintf(stderr, "%" PRIu64, done);
	if (progress->total)
		fprintf(stderr, " of %" PRIu64, progress->total);
	fflush(stderr);
}

void tm_progress_end(struct tm_progress *progress)
{
	if (progress->is_terminal)
		fputs("\r\033[K", stderr);
}
