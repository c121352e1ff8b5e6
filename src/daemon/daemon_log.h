/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The daemon's log: structured lines, at a bounded rate (see daemon_log.c).
 */
#ifndef TM_DAEMON_LOG_H
#define TM_DAEMON_LOG_H

#include <stdarg.h>

#include <tmem/tmem.h>

struct tm_daemon_log;

/* To standard error. 0 or -ENOMEM. */
int tm_daemon_log_open(enum tmem_log_level level, struct tm_daemon_log **log);
void tm_daemon_log_close(struct tm_daemon_log *log);
void tm_daemon_log_set_level(struct tm_daemon_log *log,
			     enum tmem_log_level level);
/* From now on to syslog: standard error leads nowhere. */
void tm_daemon_log_use_syslog(struct tm_daemon_log *log);

void tm_daemon_log_text(struct tm_daemon_log *log, enum tmem_log_level level,
			const char *text);
void tm_daemon_log(struct tm_daemon_log *log, enum tmem_log_level level,
		   const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* In the shape that stores, rings and the control socket want; @opaque is the
 * log. */
void tm_daemon_log_callback(void *opaque, enum tmem_log_level level,
			    const char *text);

#endif
