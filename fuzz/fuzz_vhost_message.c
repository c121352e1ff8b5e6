/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The parser of a vhost-user front end's messages.
 *
 * An input is the number of descriptors (one byte), a header of three words and
 * a payload. What is let through must be what the device counts on: a queue
 * below the most there are, sizes within their arrays, as many descriptors as
 * the request takes.
 */
#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "vhost_message.h"

#define MUST(condition)                                                        \
	do {                                                                   \
		if (!(condition))                                              \
			abort();                                               \
	} while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct tm_vhost_message *message, size_t fd_count)
{
	MUST(message->queue < TM_VHOST_QUEUES_MAX);
	MUST(fd_count <= TM_VHOST_FDS_MAX);
	switch (message->request) {
	case TM_VHOST_SET_MEM_TABLE:
		MUST(message->u.table.count == fd_count);
		break;
	case TM_VHOST_SET_VRING_NUM:
		MUST(message->number &&
		     message->number <= TM_VHOST_ENTRIES_MAX);
		break;
	case TM_VHOST_GET_CONFIG:
	case TM_VHOST_SET_CONFIG:
		MUST(message->u.config.offset <= TM_VHOST_CONFIG_MAX);
		MUST(message->u.config.offset + message->u.config.size_bytes <=
		     TM_VHOST_CONFIG_MAX);
		break;
	case TM_VHOST_GET_INFLIGHT_FD:
	case TM_VHOST_SET_INFLIGHT_FD:
		MUST(message->u.inflight.queue_size <= TM_VHOST_ENTRIES_MAX);
		MUST(message->u.inflight.queues <= TM_VHOST_QUEUES_MAX);
		MUST(fd_count ==
		     (message->request == TM_VHOST_SET_INFLIGHT_FD));
		break;
	case TM_VHOST_ADD_MEM_REG:
		MUST(fd_count == 1);
		break;
	case TM_VHOST_SET_VRING_KICK:
	case TM_VHOST_SET_VRING_CALL:
	case TM_VHOST_SET_VRING_ERR:
		MUST(message->has_fd == (fd_count == 1));
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tm_vhost_header header;
	struct tm_vhost_message message;
	const char *why = NULL;
	uint8_t *payload;
	size_t fd_count;

	if (size < 1 + sizeof(header))
		return 0;
	fd_count = data[0] % (TM_VHOST_FDS_MAX + 1);
	memcpy(&header, data + 1, sizeof(header));
	data += 1 + sizeof(header);
	size -= 1 + sizeof(header);
	/* As the server reads it: a header that is none has no payload. */
	if (tm_vhost_header_check(&header) || size < header.size_bytes)
		return 0;
	/* Of exactly that size, so that a byte too far is seen. */
	payload = malloc(header.size_bytes ? header.size_bytes : 1);
	MUST(payload);
	memcpy(payload, data, header.size_bytes);
	if (tm_vhost_message_parse(&header, payload, fd_count, &message, &why))
		MUST(why);
	else
		check(&message, fd_count);
	free(payload);
	return 0;
}
