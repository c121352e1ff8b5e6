/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A message of a vhost-user front end, read and checked.
 */
#ifndef TM_VHOST_MESSAGE_H
#define TM_VHOST_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vhost_abi.h"

#define TM_VHOST_QUEUES_MAX 64
#define TM_VHOST_ENTRIES_MAX 1024

/* The longest payload there is; more in a header is a lie. */
#define TM_VHOST_PAYLOAD_MAX (TM_VHOST_CONFIG_HEADER + TM_VHOST_CONFIG_MAX)
#define TM_VHOST_FDS_MAX TM_VHOST_TABLE_REGIONS

/**
 * struct tm_vhost_message - one that can be acted upon
 * @queue: the queue that it is about; below TM_VHOST_QUEUES_MAX
 * @size_bytes: of its payload
 * @has_fd: of kick, call, error: a descriptor came with it
 * @number: features, a count, a base, or whether to enable
 */
struct tm_vhost_message {
	uint32_t request;
	uint32_t size_bytes;
	bool needs_reply;
	bool has_fd;
	uint32_t queue;
	uint64_t number;
	union {
		struct tm_vhost_mem_table table;
		struct tm_vhost_region region;
		struct tm_vhost_vring_addr addr;
		struct tm_vhost_config_space config;
		struct tm_vhost_inflight inflight;
	} u;
};

/* Is there to be a payload of @header->size_bytes? 0, or -EPROTO. */
int tm_vhost_header_check(const struct tm_vhost_header *header);

/**
 * tm_vhost_message_parse() - what a message says, if it can be said
 * @payload: header->size_bytes of them
 * @fd_count: descriptors that came with it
 * @why: set to what is wrong with it
 *
 * Total, and without side effects: whatever comes in, what it lets through has
 * the size, the descriptors and the ranges that its request wants. What only
 * the device knows (is the ring there, does the memory overlap) is not checked.
 *
 * Return: 0, or -EPROTO.
 */
int tm_vhost_message_parse(const struct tm_vhost_header *header,
			   const void *payload, size_t fd_count,
			   struct tm_vhost_message *message, const char **why);

#endif
