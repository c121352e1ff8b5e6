/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The screen of tmem top.
 *
 * Columns that do not fit the terminal are left out from the right; rows that
 * do not fit, from the bottom, which says how many. A key sorts at once, with
 * the last sample; a new one is taken after each delay. What ends the screen
 * (q, Ctrl-C, the daemon's end) leaves the terminal as it was, and only then
 * are messages printed, so that they can be read: meanwhile standard error is a
 * memfd.
 */
#include <config.h>

#include "top.h"

#ifdef HAVE_NCURSES
#include <curses.h>
#include <fcntl.h>
#include <inttypes.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "clock.h"
#include "report.h"

#define HEADER_LINES 4

struct screen {
	struct tm_top *top;
	bool is_ended;
	bool is_help;
};

static void draw_columns(int y, const struct tm_top *top,
			 const struct tm_top_row *row)
{
	int x = 0;

	for (size_t i = 0; i < TM_TOP_COLUMNS; i++) {
		const struct tm_top_column *column = &tm_top_columns[i];
		bool is_sorted = !row && i == top->sort;
		char text[80];

		if (x + column->width > COLS)
			break;
		if (row)
			tm_top_cell(row, column, text, sizeof(text));
		else
			snprintf(text, sizeof(text), "%s", column->title);
		if (is_sorted)
			attron(A_UNDERLINE);
		/* Only the name is flush left, and cut. */
		if (!column->value)
			mvprintw(y, x, "%-*.*s", column->width, column->width,
				 text);
		else
			mvprintw(y, x, "%*s", column->width, text);
		if (is_sorted)
			attroff(A_UNDERLINE);
		x += column->width + 1;
	}
}

static void draw_head(const struct tm_top *top)
{
	char used[16], limit[16];

	mvprintw(0, 0,
		 "tmem top: %zu clients, %s of %s in use, %" PRIu64
		 "k freeable",
		 top->row_count,
		 tm_report_size(top->used_bytes, used, sizeof(used)),
		 tm_report_size(top->memory_bytes, limit, sizeof(limit)),
		 top->freeable_bytes >> 10);
	mvprintw(1, 0, "every %g s, by %s%s; q quits, ? lists keys",
		 top->delay_s, tm_top_columns[top->sort].key,
		 top->is_reversed ? ", reversed" : "");
	attron(A_REVERSE);
	mvhline(3, 0, ' ', COLS);
	draw_columns(3, top, NULL);
	attroff(A_REVERSE);
}

/* One line: as many guests as it holds. */
static void draw_balloon(int y)
{
	struct tm_balloon_guest guests[TM_TOP_BALLOON_MAX];
	size_t count = tm_top_balloon(guests, TM_TOP_BALLOON_MAX);
	char text[96];
	int x = 0;

	for (size_t i = 0; i < count; i++) {
		const struct tm_balloon_guest *g = &guests[i];
		int width = snprintf(text, sizeof(text),
				     "%s%s %" PRIu64 " of %" PRIu64 " MiB%s",
				     i ? ", " : "guests: ", g->name,
				     g->current_bytes >> 20, g->max_bytes >> 20,
				     g->is_trusted ? "" : " (?)");

		if (width < 0 || x + width > COLS)
			return;
		mvprintw(y, x, "%s", text);
		x += width;
	}
}

static void draw_help(void)
{
	int y = 2;

	mvprintw(0, 0, "tmem top: keys");
	mvprintw(y++, 2, "q  quit");
	mvprintw(y++, 2, "R  reverse the order");
	for (size_t i = 0; i < TM_TOP_COLUMNS; i++)
		if (tm_top_columns[i].letter)
			mvprintw(y++, 2, "%c  sort by %s",
				 tm_top_columns[i].letter,
				 tm_top_columns[i].key);
	mvprintw(y + 1, 2, "any other key goes back");
}

static void draw(const struct screen *screen)
{
	const struct tm_top *top = screen->top;
	int room = LINES - HEADER_LINES;

	erase();
	if (screen->is_help) {
		draw_help();
		refresh();
		return;
	}
	draw_head(top);
	draw_balloon(2);
	if (room > 0 && top->row_count > (size_t)room)
		room--;
	for (size_t i = 0; i < top->row_count && (int)i < room; i++)
		draw_columns(HEADER_LINES + (int)i, top, &top->rows[i]);
	if (room > 0 && top->row_count > (size_t)room)
		mvprintw(LINES - 1, 0, "and %zu more",
			 top->row_count - (size_t)room);
	refresh();
}

static void on_key(struct screen *screen, int key)
{
	struct tm_top *top = screen->top;

	if (screen->is_help && key != 'q') {
		screen->is_help = false;
		return;
	}
	if (key == 'q')
		screen->is_ended = true;
	else if (key == '?')
		screen->is_help = true;
	else if (key == 'R')
		top->is_reversed = !top->is_reversed;
	for (size_t i = 0; i < TM_TOP_COLUMNS; i++)
		if (tm_top_columns[i].letter &&
		    key == tm_top_columns[i].letter)
			top->sort = i;
	tm_top_sort(top);
}

static uint64_t now_ms(void)
{
	return tm_clock_now_ns(tm_clock_system()) / 1000000;
}

/* Keys until the next sample is due. */
static void wait_for_keys(struct screen *screen)
{
	uint64_t until_ms =
		now_ms() + (uint64_t)(screen->top->delay_s * 1000);

	while (!screen->is_ended) {
		uint64_t now = now_ms();
		int key;

		if (now >= until_ms)
			return;
		timeout((int)(until_ms - now));
		key = getch();
		if (key == ERR)
			continue;
		if (key != KEY_RESIZE)
			on_key(screen, key);
		draw(screen);
	}
}

/* Keeps messages. Where they would have gone, or -1. */
static int hold_messages(void)
{
	int held = memfd_create("messages", MFD_CLOEXEC);
	int was = held < 0 ? -1 : fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);

	if (was >= 0)
		dup2(held, STDERR_FILENO);
	if (held >= 0)
		close(held);
	return was;
}

static void print_messages(int was)
{
	char block[4096];
	ssize_t size;

	if (was < 0)
		return;
	lseek(STDERR_FILENO, 0, SEEK_SET);
	while ((size = read(STDERR_FILENO, block, sizeof(block))) > 0)
		if (write(was, block, (size_t)size) != size)
			break;
	dup2(was, STDERR_FILENO);
	close(was);
}

int tm_top_screen(struct tm_top *top)
{
	struct screen screen = { .top = top };
	uint64_t shown = 0;
	int err = 0, messages;

	setlocale(LC_CTYPE, "");
	if (!initscr()) {
		tm_cli_error("top: this terminal has no screen; --batch prints "
			     "tables");
		return TM_CLI_FAILED;
	}
	cbreak();
	noecho();
	keypad(stdscr, TRUE);
	curs_set(0);
	messages = hold_messages();
	while (!screen.is_ended && !err) {
		draw(&screen);
		if (top->count && shown++ == top->count)
			break;
		wait_for_keys(&screen);
		if (!screen.is_ended)
			err = tm_top_sample(top);
	}
	endwin();
	print_messages(messages);
	return err ? TM_CLI_FAILED : TM_CLI_OK;
}

#else

int tm_top_screen(struct tm_top *top)
{
	(void)top;
	tm_cli_error("top: this build has no screen (it had no ncurses); "
		     "--batch prints tables");
	return TM_CLI_FAILED;
}
#endif
