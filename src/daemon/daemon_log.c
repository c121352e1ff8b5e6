/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The daemon's log: one line for each message, as key=value, at a bounded rate.
 *
 *	time=2026-01-31T12:00:00Z level=info msg="client web: attached"
 *
 * Under systemd, which keeps time and level itself, "<6>" stands in place of
 * the time. What comes from a peer may hold anything: quotes, backslashes and
 * what is not printable are escaped, so that nobody can forge a line.
 *
 * The problem: a peer that can cause a message can cause a million. The idea:
 * messages that differ in their digits only are of one kind, and of each kind
 * BURST are written in WINDOW_MS, of all kinds ALL_BURST. How many were left
 * out is said with the first message of that kind that gets through again, and
 * at the end. No timer.
 *
 * Bound: KINDS kinds are told apart; more share.
 *
 * Locks: log.lock guards the counts; lines are single writes, made without it.
 */
#include <config.h>

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "daemon_log.h"
#include "lock.h"

#define BURST 10
#define ALL_BURST 100
#define WINDOW_MS 10000
#define KINDS 64
#define LINE_SIZE 1024

struct kind {
	uint64_t window_ms;	/* when it began */
	uint32_t count;
	uint32_t left_out;
};

struct tm_daemon_log {
	bool is_journal;	/* set at creation, then constant */
	_Atomic int level;
	_Atomic bool is_syslog;
	struct tm_lock lock;
	/* guarded by lock */
	struct kind kinds[KINDS];
	struct kind all;
};

static const struct {
	const char *name;
	int priority;
} levels[] = {
	[TMEM_LOG_ERROR] = { "error", LOG_ERR },
	[TMEM_LOG_WARNING] = { "warning", LOG_WARNING },
	[TMEM_LOG_INFO] = { "info", LOG_INFO },
	[TMEM_LOG_DEBUG] = { "debug", LOG_DEBUG },
};

int tm_daemon_log_open(enum tmem_log_level level, struct tm_daemon_log **out)
{
	struct tm_daemon_log *log = calloc(1, sizeof(*log));

	if (!log)
		return -ENOMEM;
	log->level = (int)level;
	log->is_journal = getenv("JOURNAL_STREAM");
	tm_lock_init(&log->lock, TM_RANK_LOG);
	*out = log;
	return 0;
}

void tm_daemon_log_set_level(struct tm_daemon_log *log,
			     enum tmem_log_level level)
{
	atomic_store(&log->level, (int)level);
}

void tm_daemon_log_use_syslog(struct tm_daemon_log *log)
{
	openlog("tmemd", LOG_PID | LOG_NDELAY, LOG_DAEMON);
	atomic_store(&log->is_syslog, true);
}

/* --- the rate -------------------------------------------------------------- */

static struct kind *kind_of(struct tm_daemon_log *log, const char *text)
{
	uint32_t hash = 2166136261u;

	for (; *text; text++)
		if (*text < '0' || *text > '9')
			hash = (hash ^ (unsigned char)*text) * 16777619u;
	return &log->kinds[(hash ^ hash >> 16) % KINDS];
}

static bool has_room(struct kind *kind, uint32_t burst, uint64_t now_ms)
{
	if (!kind->window_ms || now_ms - kind->window_ms >= WINDOW_MS) {
		kind->window_ms = now_ms;
		kind->count = 0;
	}
	return kind->count < burst;
}

/* May it be written? *@left_out: how many of its kind were not. */
static bool admit(struct tm_daemon_log *log, const char *text,
		  uint32_t *left_out)
{
	uint64_t now_ms = tm_clock_coarse_ms(tm_clock_system()) + 1;
	struct kind *kind = kind_of(log, text);
	bool may;

	tm_lock_acquire(&log->lock);
	may = has_room(kind, BURST, now_ms);
	may &= has_room(&log->all, ALL_BURST, now_ms);
	if (may) {
		kind->count++;
		log->all.count++;
		*left_out = kind->left_out;
		kind->left_out = 0;
	} else {
		kind->left_out++;
	}
	tm_lock_release(&log->lock);
	return may;
}

/* --- lines ------------------------------------------------------------------ */

struct line {
	char text[LINE_SIZE];
	size_t used;
};

__attribute__((format(printf, 2, 3))) static void
add(struct line *line, const char *format, ...)
{
	size_t room = sizeof(line->text) - line->used;
	va_list args;
	int more;

	va_start(args, format);
	more = vsnprintf(line->text + line->used, room, format, args);
	va_end(args);
	if (more > 0)
		line->used += (size_t)more < room ? (size_t)more : room - 1;
}

/* Leaves room for what comes after it. */
static void add_quoted(struct line *line, const char *text)
{
	add(line, "\"");
	for (; *text && line->used < LINE_SIZE - 64; text++) {
		unsigned char c = (unsigned char)*text;

		if (c == '"' || c == '\\')
			add(line, "\\%c", c);
		else if (c < 0x20 || c == 0x7f)
			add(line, "\\x%02x", c);
		else
			add(line, "%c", c);
	}
	add(line, "%s\"", *text ? "..." : "");
}

static void add_time(struct line *line)
{
	time_t now = time(NULL);
	struct tm parts;
	char text[32];

	gmtime_r(&now, &parts);
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &parts);
	add(line, "time=%s ", text);
}

static void write_line(struct tm_daemon_log *log, int level, const char *text,
		       uint32_t left_out)
{
	bool is_syslog = atomic_load(&log->is_syslog);
	struct line line = { .used = 0 };

	if (!is_syslog && log->is_journal)
		add(&line, "<%d>", levels[level].priority);
	else if (!is_syslog)
		add_time(&line);
	add(&line, "level=%s msg=", levels[level].name);
	add_quoted(&line, text);
	if (left_out)
		add(&line, " left_out=%u", left_out);
	if (is_syslog) {
		syslog(levels[level].priority, "%s", line.text);
		return;
	}
	add(&line, "\n");
	if (write(STDERR_FILENO, line.text, line.used) < 0)
		return;	/* there is nobody to tell */
}

void tm_daemon_log_text(struct tm_daemon_log *log, enum tmem_log_level level,
			const char *text)
{
	uint32_t left_out = 0;

	if ((int)level < TMEM_LOG_ERROR || level > TMEM_LOG_DEBUG)
		level = TMEM_LOG_ERROR;
	if ((int)level <= atomic_load(&log->level) &&
	    admit(log, text, &left_out))
		write_line(log, (int)level, text, left_out);
}

void tm_daemon_log(struct tm_daemon_log *log, enum tmem_log_level level,
		   const char *format, ...)
{
	char text[LINE_SIZE];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	tm_daemon_log_text(log, level, text);
}

void tm_daemon_log_callback(void *opaque, enum tmem_log_level level,
			    const char *text)
{
	tm_daemon_log_text(opaque, level, text);
}

void tm_daemon_log_close(struct tm_daemon_log *log)
{
	uint32_t left_out = 0;

	if (!log)
		return;
	for (int i = 0; i < KINDS; i++)
		left_out += log->kinds[i].left_out;
	if (left_out)
		write_line(log, TMEM_LOG_INFO, "messages were left out",
			   left_out);
	tm_lock_destroy(&log->lock);
	free(log);
}
