/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Descriptors of a front end: what kind they are, and how others are closed.
 */
#ifndef TM_VHOST_DESCRIPTOR_H
#define TM_VHOST_DESCRIPTOR_H

#include <stdbool.h>
#include <stddef.h>

bool tm_vhost_is_eventfd(int fd);
/* Of tmpfs (memfd is that) or hugetlbfs. */
bool tm_vhost_is_memory(int fd);

struct tm_vhost_strangers;

/* Closes them, whenever that is done: at once, and the answer is NULL, only
 * where there is no thread for it. */
struct tm_vhost_strangers *tm_vhost_strangers_close(const int *fds,
						    size_t count);
bool tm_vhost_strangers_are_gone(const struct tm_vhost_strangers *strangers);
/* Waits for nobody. NULL is allowed. */
void tm_vhost_strangers_forget(struct tm_vhost_strangers *strangers);

#endif
