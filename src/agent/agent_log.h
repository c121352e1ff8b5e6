/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The agent's log: lines of key=value on standard error (see agent_log.c).
 */
#ifndef TM_AGENT_LOG_H
#define TM_AGENT_LOG_H

enum tm_agent_log_level {
	TM_AGENT_ERROR,
	TM_AGENT_WARNING,
	TM_AGENT_INFO,
	TM_AGENT_DEBUG,
};

/* Whoever logs has one; there is nothing to open. */
struct tm_agent_log {
	enum tm_agent_log_level level;
};

/* @guest: NULL, or whom it is about. */
void tm_agent_log(const struct tm_agent_log *log, enum tm_agent_log_level level,
		  const char *guest, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

#endif
