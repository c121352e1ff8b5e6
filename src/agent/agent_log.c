/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The agent's log: one line for each message, as key=value.
 *
 *	time=2026-01-31T12:00:00Z level=info guest=web msg="connected"
 *
 * Under systemd, which keeps time and level itself, "<6>" stands in place of
 * the time. What a peer or a file said may hold anything: quotes, backslashes
 * and what is not printable are escaped, so that nobody can forge a line.
 *
 * There is no limit on the rate: callers log changes of state, not states, and
 * a guest changes its state once a second at most.
 *
 * Each line is a single write; no state, no locks.
 */
#include <config.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "agent_log.h"

#define LINE_SIZE 1024

static const struct {
	const char *name;
	int priority; /* of syslog */
} levels[] = {
	[TM_AGENT_ERROR] = { "error", 3 },
	[TM_AGENT_WARNING] = { "warning", 4 },
	[TM_AGENT_INFO] = { "info", 6 },
	[TM_AGENT_DEBUG] = { "debug", 7 },
};

/* Returns how long the line is now; leaves room for its end. */
static size_t add_quoted(char *line, size_t used, const char *text)
{
	for (; *text && used < LINE_SIZE - 16; text++) {
		unsigned char c = (unsigned char)*text;

		if (c == '"' || c == '\\') {
			line[used++] = '\\';
			line[used++] = (char)c;
		} else if (c < 0x20 || c == 0x7f) {
			used += (size_t)sprintf(line + used, "\\x%02x", c);
		} else {
			line[used++] = (char)c;
		}
	}
	return used;
}

void tm_agent_log(const struct tm_agent_log *log, enum tm_agent_log_level level,
		  const char *guest, const char *format, ...)
{
	char line[LINE_SIZE], text[LINE_SIZE / 2], when[32];
	time_t now = time(NULL);
	struct tm parts;
	size_t used;
	va_list args;

	if (level > log->level)
		return;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (getenv("JOURNAL_STREAM")) {
		used = (size_t)snprintf(line, sizeof(line), "<%d>",
					levels[level].priority);
	} else {
		gmtime_r(&now, &parts);
		strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &parts);
		used = (size_t)snprintf(line, sizeof(line), "time=%s ", when);
	}
	used += (size_t)snprintf(line + used, sizeof(line) - used, "level=%s ",
				 levels[level].name);
	if (guest)
		used += (size_t)snprintf(line + used, sizeof(line) - used,
					 "guest=%.64s ", guest);
	used += (size_t)snprintf(line + used, sizeof(line) - used, "msg=\"");
	used = add_quoted(line, used, text);
	line[used++] = '"';
	line[used++] = '\n';
	/* There is nobody to tell that it could not be told. */
	if (write(STDERR_FILENO, line, used) < 0)
		return;
}
