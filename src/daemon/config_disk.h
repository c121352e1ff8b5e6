/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A disk, as the configuration or an operator describes it (see
 * config_disk.c).
 */
#ifndef TM_CONFIG_DISK_H
#define TM_CONFIG_DISK_H

#include "config_value.h"

#define TM_CONFIG_SHARE_SIZE 128
/* As one line: key=value,key=value,... */
#define TM_CONFIG_DISK_TEXT_MAX 3072

struct tm_config_disk {
	struct tm_config_disk *next;
	/* Its name, limits, codec and socket. */
	struct tm_config_client client;
	bool has_kind;
	bool has_group; /* named for itself, not after its owner */
	bool is_cache;
	bool is_readonly;
	uint32_t queues; /* 0: the door's own choice */
	uint64_t size_bytes;
	char backing[TM_CONFIG_PATH_SIZE]; /* "": none */
	char image[TM_CONFIG_PATH_SIZE];
	char share[TM_CONFIG_SHARE_SIZE]; /* "": shared with nobody */
};

struct tm_config_disk_key {
	const char *name; /* first, for tm_nearest() */
	const char *argument;
	const char *help;
	int (*set)(struct tm_config_disk *disk, const char *value,
		   const struct tm_complaint *complaint);
};

const struct tm_config_disk_key *tm_config_disk_keys(size_t *count);

/* With nothing set but defaults. -EINVAL: not a name. */
int tm_config_disk_init(struct tm_config_disk *disk, const char *name,
			const struct tm_complaint *complaint);
int tm_config_disk_set(struct tm_config_disk *disk, const char *key,
		       const char *value, const struct tm_complaint *complaint);
/* What no key alone can say. */
int tm_config_disk_check(const struct tm_config_disk *disk,
			 const struct tm_complaint *complaint);

/* "name=vm1,socket=/run/...,kind=swap,size=4G", checked. A value has no comma
 * in it. */
int tm_config_disk_parse(const char *text, struct tm_config_disk *disk,
			 const struct tm_complaint *complaint);
/* The same text again, into TM_CONFIG_DISK_TEXT_MAX bytes: for a successor. */
int tm_config_disk_print(const struct tm_config_disk *disk, char *text,
			 size_t size);

#endif
