/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sentences: why a plugin was refused, and what one was caught at.
 *
 * A broken codec is broken for every page, so what is caught on the hot path
 * is counted always and logged at most once a second, by whichever thread
 * wins the exchange of the time of the last message. No lock.
 */
#include <config.h>

#include "plug_private.h"

#include <stdarg.h>

#define LOG_INTERVAL_NS UINT64_C(1000000000)

int tm_reason_set(struct tm_reason *reason, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(reason->text, sizeof(reason->text), format, args);
	va_end(args);
	return -EINVAL;
}

void tm_host_log(const struct tmem_host *host, enum tmem_log_level level,
		 const char *format, ...)
{
	char text[512];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	host->log(host->opaque, level, text);
}

bool tm_caught(const struct tmem_host *host, _Atomic uint64_t *errors,
	       _Atomic uint64_t *logged_ns)
{
	uint64_t now_ns = host->now_ns(host->opaque);
	uint64_t last_ns =
		atomic_load_explicit(logged_ns, memory_order_relaxed);

	atomic_fetch_add_explicit(errors, 1, memory_order_relaxed);
	if (last_ns && now_ns - last_ns < LOG_INTERVAL_NS)
		return false;
	/* 0 means never: a clock that begins at 0 must not look like it. */
	return atomic_compare_exchange_strong(logged_ns, &last_ns, now_ns | 1);
}
