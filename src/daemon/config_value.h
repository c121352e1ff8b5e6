/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Values of the configuration, from text (see config_value.c).
 */
#ifndef TM_CONFIG_VALUE_H
#define TM_CONFIG_VALUE_H

#include "config.h"

/* Where one sentence goes when a value is wrong. */
struct tm_complaint {
	char *text;
	size_t size;
};

/* Writes the sentence; -EINVAL. */
int tm_complain(const struct tm_complaint *complaint, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* "WHAT "TYPED" is not known; the nearest is "NEAR"". -EINVAL. @words as for
 * tm_nearest(). */
int tm_complain_unknown(const struct tm_complaint *complaint, const char *what,
			const char *typed, const void *words, size_t count,
			size_t stride);

/* All: 0, or -EINVAL after a complaint. */
int tm_value_size(const char *text, uint64_t *bytes,
		  const struct tm_complaint *complaint);
int tm_value_number(const char *text, uint32_t max, uint32_t *number,
		    const struct tm_complaint *complaint);
int tm_value_switch(const char *text, bool *value,
		    const struct tm_complaint *complaint);
/* "90", "90s", "5m", "2h", "7d"; "forever" is 0. */
int tm_value_duration(const char *text, uint64_t *ns,
		      const struct tm_complaint *complaint);
/* @size bytes at @to; @is_path: begins with "/". */
int tm_value_text(const char *text, char *to, size_t size, bool is_path,
		  const struct tm_complaint *complaint);
int tm_value_mode(const char *text, mode_t *mode,
		  const struct tm_complaint *complaint);
/* "USER", "USER:GROUP", by name or number. */
int tm_value_owner(const char *text, uid_t *owner, gid_t *group,
		   const struct tm_complaint *complaint);
int tm_value_uuid(const char *text, size_t size, struct tmem_uuid *uuid,
		  const struct tm_complaint *complaint);

#endif
