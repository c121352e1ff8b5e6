/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Messages of a vhost-user front end: bytes in, something to act upon out.
 *
 * The problem: each request has a size, a number of descriptors and ranges of
 * its own, and every field is the peer's to choose. Checked where they are
 * used, one is forgotten; and a check after half the work is done has that to
 * undo.
 *
 * The idea: a table says for each request how long its payload is, what is in
 * it and how many descriptors come with it; one pass over it either fills in a
 * message, or names what is wrong. It allocates nothing, closes nothing, and
 * knows no device: a fuzzer needs nothing else to call it.
 *
 * A request that is not in the table was not negotiated. The protocol says to
 * close the connection then, since the length of an answer is not known.
 */
#include <config.h>

#include <errno.h>
#include <string.h>

#include "vhost_message.h"

enum shape {
	SHAPE_NOTHING,
	SHAPE_NUMBER,
	SHAPE_TABLE,
	SHAPE_REGION,
	SHAPE_STATE,
	SHAPE_ADDR,
	SHAPE_EVENT,
	SHAPE_CONFIG,
	SHAPE_INFLIGHT,
};

struct rule {
	uint8_t request;
	uint8_t shape;
	uint8_t fds_min;
	uint8_t fds_max;
};

/* The table of regions and events say themselves how many descriptors. */
static const struct rule rules[] = {
	{ TM_VHOST_GET_FEATURES, SHAPE_NOTHING, 0, 0 },
	{ TM_VHOST_SET_FEATURES, SHAPE_NUMBER, 0, 0 },
	{ TM_VHOST_SET_OWNER, SHAPE_NOTHING, 0, 0 },
	{ TM_VHOST_RESET_OWNER, SHAPE_NOTHING, 0, 0 },
	{ TM_VHOST_SET_MEM_TABLE, SHAPE_TABLE, 0, TM_VHOST_TABLE_REGIONS },
	{ TM_VHOST_SET_VRING_NUM, SHAPE_STATE, 0, 0 },
	{ TM_VHOST_SET_VRING_ADDR, SHAPE_ADDR, 0, 0 },
	{ TM_VHOST_SET_VRING_BASE, SHAPE_STATE, 0, 0 },
	{ TM_VHOST_GET_VRING_BASE, SHAPE_STATE, 0, 0 },
	{ TM_VHOST_SET_VRING_KICK, SHAPE_EVENT, 0, 1 },
	{ TM_VHOST_SET_VRING_CALL, SHAPE_EVENT, 0, 1 },
	{ TM_VHOST_SET_VRING_ERR, SHAPE_EVENT, 0, 1 },
	{ TM_VHOST_GET_PROTOCOL_FEATURES, SHAPE_NOTHING, 0, 0 },
	{ TM_VHOST_SET_PROTOCOL_FEATURES, SHAPE_NUMBER, 0, 0 },
	{ TM_VHOST_GET_QUEUE_NUM, SHAPE_NOTHING, 0, 0 },
	{ TM_VHOST_SET_VRING_ENABLE, SHAPE_STATE, 0, 0 },
	{ TM_VHOST_GET_CONFIG, SHAPE_CONFIG, 0, 0 },
	{ TM_VHOST_SET_CONFIG, SHAPE_CONFIG, 0, 0 },
	{ TM_VHOST_GET_INFLIGHT_FD, SHAPE_INFLIGHT, 0, 0 },
	{ TM_VHOST_SET_INFLIGHT_FD, SHAPE_INFLIGHT, 1, 1 },
	{ TM_VHOST_GET_MAX_MEM_SLOTS, SHAPE_NOTHING, 0, 0 },
	{ TM_VHOST_ADD_MEM_REG, SHAPE_REGION, 1, 1 },
	/* Front ends pass the region's descriptor again, and need not. */
	{ TM_VHOST_REM_MEM_REG, SHAPE_REGION, 0, 1 },
};

static const struct rule *find_rule(uint32_t request)
{
	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++)
		if (rules[i].request == request)
			return &rules[i];
	return NULL;
}

/* What a payload of that shape has at least and at most. */
static void shape_bounds(enum shape shape, uint32_t *min, uint32_t *max)
{
	static const uint16_t bounds[][2] = {
		[SHAPE_NOTHING] = { 0, 0 },
		[SHAPE_NUMBER] = { 8, 8 },
		[SHAPE_TABLE] = { 8, sizeof(struct tm_vhost_mem_table) },
		[SHAPE_REGION] = { sizeof(struct tm_vhost_one_region),
				   sizeof(struct tm_vhost_one_region) },
		[SHAPE_STATE] = { sizeof(struct tm_vhost_vring_state),
				  sizeof(struct tm_vhost_vring_state) },
		[SHAPE_ADDR] = { sizeof(struct tm_vhost_vring_addr),
				 sizeof(struct tm_vhost_vring_addr) },
		[SHAPE_EVENT] = { 8, 8 },
		[SHAPE_CONFIG] = { TM_VHOST_CONFIG_HEADER,
				   TM_VHOST_PAYLOAD_MAX },
		/* Some pad it as their compiler does. */
		[SHAPE_INFLIGHT] = { TM_VHOST_INFLIGHT_BYTES,
				     sizeof(struct tm_vhost_inflight) },
	};

	*min = bounds[shape][0];
	*max = bounds[shape][1];
}

int tm_vhost_header_check(const struct tm_vhost_header *header)
{
	const struct rule *rule = find_rule(header->request);
	uint32_t min, max;

	if (!rule ||
	    (header->flags & TM_VHOST_VERSION_MASK) != TM_VHOST_VERSION ||
	    (header->flags & TM_VHOST_IS_REPLY))
		return -EPROTO;
	shape_bounds(rule->shape, &min, &max);
	return header->size_bytes < min || header->size_bytes > max ? -EPROTO
								    : 0;
}

static const char *parse_table(struct tm_vhost_message *message,
			       const void *payload, size_t size_bytes,
			       size_t fd_count)
{
	struct tm_vhost_mem_table *table = &message->u.table;

	memcpy(table, payload, size_bytes);
	if (!table->count || table->count > TM_VHOST_TABLE_REGIONS)
		return "a memory table of so many regions";
	if (size_bytes < 8 + table->count * sizeof(table->regions[0]))
		return "a memory table that is cut short";
	if (fd_count != table->count)
		return "a memory table with other descriptors than regions";
	return NULL;
}

static const char *parse_state(struct tm_vhost_message *message,
			       const void *payload)
{
	struct tm_vhost_vring_state state;

	memcpy(&state, payload, sizeof(state));
	message->queue = state.index;
	message->number = state.value;
	if (state.index >= TM_VHOST_QUEUES_MAX)
		return "a queue that is not there";
	switch (message->request) {
	case TM_VHOST_SET_VRING_NUM:
		if (!state.value || state.value > TM_VHOST_ENTRIES_MAX ||
		    (state.value & (state.value - 1)))
			return "a queue of such a size";
		break;
	case TM_VHOST_SET_VRING_BASE:
		if (state.value > UINT16_MAX)
			return "a queue's base that is no index";
		break;
	case TM_VHOST_SET_VRING_ENABLE:
		if (state.value > 1)
			return "neither enabled nor disabled";
		break;
	}
	return NULL;
}

static const char *parse_addr(struct tm_vhost_message *message,
			      const void *payload)
{
	struct tm_vhost_vring_addr *addr = &message->u.addr;

	memcpy(addr, payload, sizeof(*addr));
	message->queue = addr->index;
	if (addr->index >= TM_VHOST_QUEUES_MAX)
		return "a queue that is not there";
	if (addr->flags)
		return "a ring that is to be logged";
	if (addr->descriptors % 16 || addr->available % 2 || addr->used % 4)
		return "a ring that is not aligned";
	return NULL;
}

static const char *parse_event(struct tm_vhost_message *message,
			       const void *payload, size_t fd_count)
{
	uint64_t number;

	memcpy(&number, payload, sizeof(number));
	message->queue = number & TM_VHOST_VRING_INDEX_MASK;
	message->has_fd = fd_count;
	if (message->queue >= TM_VHOST_QUEUES_MAX)
		return "a queue that is not there";
	if ((number & TM_VHOST_VRING_NO_FD ? 0u : 1u) != fd_count)
		return "an event with more or fewer descriptors than it says";
	return NULL;
}

static const char *parse_config(struct tm_vhost_message *message,
				const void *payload, size_t size_bytes)
{
	struct tm_vhost_config_space *config = &message->u.config;

	memcpy(config, payload, size_bytes);
	if (config->size_bytes > TM_VHOST_CONFIG_MAX ||
	    config->offset > TM_VHOST_CONFIG_MAX - config->size_bytes)
		return "configuration beyond its end";
	if (size_bytes != TM_VHOST_CONFIG_HEADER + config->size_bytes)
		return "configuration of another size than it says";
	return NULL;
}

static const char *parse_inflight(struct tm_vhost_message *message,
				  const void *payload, size_t size_bytes)
{
	struct tm_vhost_inflight *inflight = &message->u.inflight;

	memcpy(inflight, payload, size_bytes);
	if (!inflight->queues || inflight->queues > TM_VHOST_QUEUES_MAX ||
	    !inflight->queue_size ||
	    inflight->queue_size > TM_VHOST_ENTRIES_MAX)
		return "requests in flight of such queues";
	return NULL;
}

static const char *parse_payload(const struct rule *rule,
				 struct tm_vhost_message *message,
				 const void *payload, size_t size_bytes,
				 size_t fd_count)
{
	struct tm_vhost_one_region one;

	switch ((enum shape)rule->shape) {
	case SHAPE_NOTHING:
		return NULL;
	case SHAPE_NUMBER:
		memcpy(&message->number, payload, 8);
		return NULL;
	case SHAPE_TABLE:
		return parse_table(message, payload, size_bytes, fd_count);
	case SHAPE_REGION:
		memcpy(&one, payload, sizeof(one));
		message->u.region = one.region;
		return NULL;
	case SHAPE_STATE:
		return parse_state(message, payload);
	case SHAPE_ADDR:
		return parse_addr(message, payload);
	case SHAPE_EVENT:
		return parse_event(message, payload, fd_count);
	case SHAPE_CONFIG:
		return parse_config(message, payload, size_bytes);
	case SHAPE_INFLIGHT:
		return parse_inflight(message, payload, size_bytes);
	}
	return "a request that is none";
}

int tm_vhost_message_parse(const struct tm_vhost_header *header,
			   const void *payload, size_t fd_count,
			   struct tm_vhost_message *message, const char **why)
{
	const struct rule *rule = find_rule(header->request);

	memset(message, 0, sizeof(*message));
	*why = "a header that is none";
	if (tm_vhost_header_check(header))
		return -EPROTO;
	*why = "more or fewer descriptors than the request has";
	if (fd_count < rule->fds_min || fd_count > rule->fds_max)
		return -EPROTO;
	message->request = header->request;
	message->size_bytes = header->size_bytes;
	message->needs_reply = header->flags & TM_VHOST_NEED_REPLY;
	*why = parse_payload(rule, message, payload, header->size_bytes,
			     fd_count);
	return *why ? -EPROTO : 0;
}
