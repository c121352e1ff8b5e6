/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a start would refuse, asked without starting (see config_check.c).
 */
#ifndef TM_CONFIG_CHECK_H
#define TM_CONFIG_CHECK_H

#include "config.h"

/* A store's configuration points into it: it stays where it is. */
struct tm_config_store {
	struct tmem_store_config store;
	char codec[TM_CONFIG_CODEC_SIZE];
};

/* What was configured as a store's configuration, but for arena and limit. @log
 * may be NULL. */
void tm_config_make_store(const struct tm_daemon_config *config,
			  void (*log)(void *opaque, enum tmem_log_level level,
				      const char *text),
			  void *opaque, struct tm_config_store *store);

struct tm_config_verdict {
	/* set by the caller: hears of what is odd, and no reason to refuse;
	 * NULL: nobody does */
	void (*warn)(void *opaque, const char *text);
	void *opaque;
	/* set when it is refused */
	bool is_configuration; /* is wrong; else what the host has */
	char error[TM_CONFIG_ERROR_SIZE];
};

/* Would a daemon start with @config? Makes, takes and changes nothing, and what
 * a running daemon holds is not in the way. 0, or a negative errno. */
int tm_config_check_start(const struct tm_daemon_config *config,
			  struct tm_config_verdict *verdict);
/* Likewise: would it serve all of its disks? */
int tm_config_check_disks(const struct tm_daemon_config *config,
			  struct tm_config_verdict *verdict);

#endif
