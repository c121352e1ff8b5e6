/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The keys of [client NAME] (see config_client.c).
 */
#ifndef TM_CONFIG_CLIENT_H
#define TM_CONFIG_CLIENT_H

#include "config_value.h"

struct tm_config_client_key {
	const char *name;	/* first, for tm_nearest() */
	const char *argument;
	const char *help;
	int (*set)(struct tm_config_client *client, const char *value,
		   const struct tm_complaint *complaint);
};

const struct tm_config_client_key *tm_config_client_keys(size_t *count);
int tm_config_client_set(struct tm_config_client *client, const char *key,
			 const char *value,
			 const struct tm_complaint *complaint);
/* What no key alone can say. */
int tm_config_client_check(const struct tm_config_client *client,
			   const struct tm_complaint *complaint);
/* The limits in it; nothing else of @limits is set. */
void tm_config_client_limits(const struct tm_config_client *client,
			     struct tmem_client_config *limits);

#endif
