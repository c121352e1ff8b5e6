/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What messages do: the device's state, and its changes.
 *
 * A message has been checked for what can be seen from itself
 * (vhost_message.h); here it is held against what was said before: was the
 * feature offered and taken, is there memory, does the ring run. What does not
 * fit ends the connection, before anything has changed. Two things are answered
 * with a refusal instead, if the front end asked for answers: memory that
 * cannot be mapped, and a configuration that cannot be written; it can live
 * with both.
 *
 * A ring is started by the descriptor of its kicks, and stopped by asking where
 * it stands; in between it is served while it is enabled. Whether its addresses
 * lead anywhere is found out at the start: a ring that does not is broken,
 * which stops it and is logged, until the front end stops it.
 *
 * Memory that changes under a ring may go before it comes again: a front end
 * whose region changes removes it and adds it. A ring that was placed and is in
 * no region waits: nothing of it is touched until a change of memory has a
 * place for it, and there it starts once more.
 *
 * What was pushed before a ring began, or while another descriptor stood for
 * its calls, may never have been told: a back end died between the two, or a
 * front end masked them. The guest waits for it, and its event index says that
 * it has been. So a start and a new descriptor owe one call, which the worker
 * makes: a call too many harms nobody.
 *
 * Every change to a ring, and to what rings use, is made while the workers
 * concerned are parked; requests that have been taken are finished then. That
 * bounds a change by the time of a request.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "vhost_descriptor.h"
#include "vhost_device.h"

#define BIT(n) (UINT64_C(1) << (n))
#define PROTOCOL_FEATURES                                                      \
	(BIT(TM_VHOST_PROTOCOL_MQ) | BIT(TM_VHOST_PROTOCOL_REPLY_ACK) |        \
	 BIT(TM_VHOST_PROTOCOL_CONFIG) |                                       \
	 BIT(TM_VHOST_PROTOCOL_INFLIGHT_SHMFD) |                               \
	 BIT(TM_VHOST_PROTOCOL_CONFIGURE_MEM_SLOTS))

void tm_vhost_say(struct tm_vhost_device *device, enum tmem_log_level level,
		  const char *format, ...)
{
	char text[256];
	va_list args;
	int length;

	if (!device->log)
		return;
	length = snprintf(text, sizeof(text), "disk %s: ", device->name);
	va_start(args, format);
	vsnprintf(text + length, sizeof(text) - (size_t)length, format, args);
	va_end(args);
	device->log(device->log_opaque, level, text);
}

static bool has_protocol(const struct tm_vhost_device *device,
			 enum tm_vhost_protocol_feature feature)
{
	return device->protocol_features & BIT(feature);
}

static void park_all(struct tm_vhost_device *device)
{
	for (uint32_t i = 0; i < device->worker_count; i++)
		tm_vhost_worker_park(device->workers[i]);
}

static void go_on_all(struct tm_vhost_device *device)
{
	for (uint32_t i = 0; i < device->worker_count; i++)
		tm_vhost_worker_go_on(device->workers[i]);
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void reset_ring(struct tm_vhost_ring *ring, uint32_t number)
{
	close_fd(&ring->kick_fd);
	close_fd(&ring->call_fd);
	close_fd(&ring->error_fd);
	memset(&ring->queue, 0, sizeof(ring->queue));
	ring->queue.number = number;
	ring->has_addr = ring->is_enabled = ring->is_started = false;
	ring->is_placed = ring->owes_call = false;
	atomic_store(&ring->is_broken, false);
}

void tm_vhost_device_reset(struct tm_vhost_device *device)
{
	park_all(device);
	for (uint32_t i = 0; i < TM_VHOST_QUEUES_MAX; i++)
		reset_ring(&device->rings[i], i);
	tm_vhost_memory_free(device->memory);
	tm_vhost_area_close(device->area);
	device->memory = NULL;
	device->area = NULL;
	device->features = device->protocol_features = 0;
	device->has_features = false;
	go_on_all(device);
}

/* --- features ------------------------------------------------------------ */

static const char *set_features(struct tm_vhost_device *device,
				uint64_t features)
{
	if (features & ~tm_vhost_blk_features(&device->blk))
		return "features that were not offered";
	park_all(device);
	device->features = features;
	device->has_features = true;
	for (uint32_t i = 0; i < device->blk.queues; i++) {
		struct tm_vhost_ring *ring = &device->rings[i];

		if (ring->is_started)
			continue;
		ring->queue.uses_event_index =
			features & BIT(TM_VIRTIO_F_EVENT_IDX);
		/* Without the protocol's features nobody enables rings. */
		if (!(features & BIT(TM_VIRTIO_F_PROTOCOL_FEATURES)))
			ring->is_enabled = true;
	}
	go_on_all(device);
	return NULL;
}

static const char *set_protocol_features(struct tm_vhost_device *device,
					 uint64_t features)
{
	if (features & ~PROTOCOL_FEATURES)
		return "protocol features that were not offered";
	device->protocol_features = features;
	return NULL;
}

/* --- memory -------------------------------------------------------------- */

static void move_ring(struct tm_vhost_device *device,
		      struct tm_vhost_ring *ring)
{
	bool was_placed = ring->is_placed;

	ring->is_placed =
		!tm_vhost_queue_move(&ring->queue, device->memory, &ring->addr);
	if (ring->is_placed && !was_placed)
		tm_vhost_ring_start(device, ring);
	else if (was_placed && !ring->is_placed)
		tm_vhost_say(device, TMEM_LOG_INFO, "queue %u waits: %s",
			     ring->queue.number, ring->queue.why);
}

/* Memory has changed: the rings are looked for in it once more. */
static void move_rings(struct tm_vhost_device *device)
{
	for (uint32_t i = 0; i < device->blk.queues; i++) {
		struct tm_vhost_ring *ring = &device->rings[i];

		if (ring->is_started && !atomic_load(&ring->is_broken))
			move_ring(device, ring);
	}
}

static const char *set_table(struct tm_vhost_device *device,
			     const struct tm_vhost_mem_table *table, int *fds)
{
	struct tm_vhost_memory *memory = NULL, *old = device->memory;
	const char *why = "no memory for a memory table";
	int err = tm_vhost_memory_new(&memory);

	for (uint32_t i = 0; i < table->count && !err; i++) {
		err = tm_vhost_memory_add(memory, &table->regions[i], fds[i],
					  &why);
		fds[i] = -1;
	}
	if (err) {
		tm_vhost_memory_free(memory);
		return why;
	}
	park_all(device);
	device->memory = memory;
	move_rings(device);
	go_on_all(device);
	tm_vhost_memory_free(old);
	return NULL;
}

static int add_region(struct tm_vhost_device *device,
		      const struct tm_vhost_region *region, int *fd,
		      const char **why)
{
	int err = 0;

	*why = "no memory for a memory table";
	if (!device->memory)
		err = tm_vhost_memory_new(&device->memory);
	if (err)
		return err;
	/* Regions that are there stay where they are: nobody need be parked
	 * for the map, but somebody may be looking at the list, and rings may
	 * be waiting for this one. */
	park_all(device);
	err = tm_vhost_memory_add(device->memory, region, *fd, why);
	if (!err)
		move_rings(device);
	go_on_all(device);
	*fd = -1;
	return err;
}

static int remove_region(struct tm_vhost_device *device,
			 const struct tm_vhost_region *region)
{
	int err;

	if (!device->memory)
		return -ENOENT;
	park_all(device);
	err = tm_vhost_memory_remove(device->memory, region);
	if (!err)
		move_rings(device);
	go_on_all(device);
	return err;
}

/* --- rings --------------------------------------------------------------- */

void tm_vhost_ring_start(struct tm_vhost_device *device,
			 struct tm_vhost_ring *ring)
{
	int err = tm_vhost_queue_start(&ring->queue, device->memory,
				       &ring->addr, device->area);

	ring->is_started = ring->is_placed = true;
	ring->owes_call = true;
	atomic_store(&ring->is_broken, err);
	if (err)
		tm_vhost_say(device, TMEM_LOG_WARNING, "queue %u stopped: %s",
			     ring->queue.number, ring->queue.why);
	else if (ring->queue.resubmit_count)
		tm_vhost_say(device, TMEM_LOG_INFO,
			     "queue %u: %u requests once more",
			     ring->queue.number, ring->queue.resubmit_count);
}

/* An event is an eventfd: of a pipe or a file we could be made to wait. */
static bool is_event(int fd)
{
	return tm_vhost_is_eventfd(fd) &&
	       !fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK);
}

static const char *set_kick(struct tm_vhost_device *device,
			    struct tm_vhost_ring *ring, int *fd)
{
	if (!device->memory || !ring->has_addr || !ring->queue.entries ||
	    !device->has_features)
		return "a ring that is started before it is set up";
	close_fd(&ring->kick_fd);
	ring->kick_fd = *fd;
	*fd = -1;
	if (!ring->is_started)
		tm_vhost_ring_start(device, ring);
	return NULL;
}

static const char *set_event(struct tm_vhost_device *device,
			     const struct tm_vhost_message *message, int *fd)
{
	struct tm_vhost_ring *ring = &device->rings[message->queue];
	int *place = message->request == TM_VHOST_SET_VRING_CALL
			     ? &ring->call_fd
			     : &ring->error_fd;

	if (message->has_fd && !is_event(*fd))
		return "an event that is no eventfd";
	/* Where none came, what came once still stands. */
	if (!message->has_fd)
		*fd = -1;
	if (message->request == TM_VHOST_SET_VRING_KICK)
		return set_kick(device, ring, fd);
	close_fd(place);
	*place = *fd;
	*fd = -1;
	if (message->request == TM_VHOST_SET_VRING_CALL)
		ring->owes_call = true;
	return NULL;
}

static const char *set_address(struct tm_vhost_device *device,
			       const struct tm_vhost_message *message)
{
	struct tm_vhost_ring *ring = &device->rings[message->queue];

	ring->addr = message->u.addr;
	ring->has_addr = true;
	if (!ring->is_started || !device->memory)
		return NULL;
	if (tm_vhost_queue_move(&ring->queue, device->memory, &ring->addr))
		return "a ring that moves outside the guest's memory";
	if (!ring->is_placed)
		tm_vhost_ring_start(device, ring);
	return NULL;
}

/* With the ring's worker parked. */
static const char *change_ring(struct tm_vhost_device *device,
			       const struct tm_vhost_message *message, int *fds)
{
	struct tm_vhost_ring *ring = &device->rings[message->queue];

	switch (message->request) {
	case TM_VHOST_SET_VRING_NUM:
		if (ring->is_started)
			return "a ring that changes its size while it runs";
		ring->queue.entries = (uint16_t)message->number;
		return NULL;
	case TM_VHOST_SET_VRING_BASE:
		if (ring->is_started)
			return "a ring that jumps while it runs";
		ring->queue.next_available = (uint16_t)message->number;
		return NULL;
	case TM_VHOST_SET_VRING_ADDR:
		return set_address(device, message);
	case TM_VHOST_SET_VRING_ENABLE:
		ring->is_enabled = message->number;
		return NULL;
	case TM_VHOST_GET_VRING_BASE:
		ring->is_started = ring->is_placed = false;
		atomic_store(&ring->is_broken, false);
		close_fd(&ring->kick_fd);
		return NULL;
	}
	return set_event(device, message, &fds[0]);
}

static const char *act_on_ring(struct tm_vhost_device *device,
			       const struct tm_vhost_message *message, int *fds,
			       struct tm_vhost_reply *reply)
{
	struct tm_vhost_worker *worker;
	const char *why;

	if (message->queue >= device->blk.queues)
		return "a queue that is not there";
	worker = tm_vhost_worker_of(device, message->queue);
	tm_vhost_worker_park(worker);
	why = change_ring(device, message, fds);
	tm_vhost_worker_go_on(worker);
	if (message->request != TM_VHOST_GET_VRING_BASE || why)
		return why;
	reply->is_due = true;
	reply->size_bytes = sizeof(reply->u.state);
	reply->u.state = (struct tm_vhost_vring_state){
		.index = message->queue,
		.value = device->rings[message->queue].queue.next_available,
	};
	return NULL;
}

/* --- what is asked ------------------------------------------------------- */

static void answer_number(struct tm_vhost_reply *reply, uint64_t number)
{
	reply->is_due = true;
	reply->size_bytes = sizeof(reply->u.number);
	reply->u.number = number;
}

static void get_config(struct tm_vhost_device *device,
		       const struct tm_vhost_config_space *asked,
		       struct tm_vhost_reply *reply)
{
	uint8_t space[TM_VHOST_CONFIG_MAX];

	tm_vhost_blk_config(&device->blk, space);
	reply->is_due = true;
	reply->size_bytes = TM_VHOST_CONFIG_HEADER + asked->size_bytes;
	reply->u.config.offset = asked->offset;
	reply->u.config.size_bytes = asked->size_bytes;
	reply->u.config.flags = asked->flags;
	memcpy(reply->u.config.bytes, space + asked->offset, asked->size_bytes);
}

static const char *get_inflight(struct tm_vhost_device *device,
				const struct tm_vhost_message *message,
				struct tm_vhost_reply *reply)
{
	struct tm_vhost_inflight inflight = message->u.inflight;
	int fd;

	if (inflight.queues > device->blk.queues)
		return "requests in flight of queues that are not there";
	fd = tm_vhost_area_make(&inflight);
	if (fd < 0)
		return "no memory for requests in flight";
	reply->is_due = true;
	/* As long as it was asked: with or without padding. */
	reply->size_bytes = message->size_bytes;
	reply->u.inflight = inflight;
	reply->fd = fd;
	return NULL;
}

static const char *set_inflight(struct tm_vhost_device *device,
				const struct tm_vhost_inflight *inflight,
				int *fd)
{
	struct tm_vhost_area *area;
	int err = -EPROTO;

	for (uint32_t i = 0; i < device->blk.queues; i++)
		if (device->rings[i].is_started)
			return "requests in flight while a ring runs";
	if (inflight->queues <= device->blk.queues) {
		err = tm_vhost_area_open(inflight, *fd, &area);
		*fd = -1;
	}
	if (err)
		return "requests in flight in memory that cannot hold them";
	tm_vhost_area_close(device->area);
	device->area = area;
	return NULL;
}

/* --- all of them --------------------------------------------------------- */

/* What needs a feature of the protocol that was taken. */
static bool is_negotiated(const struct tm_vhost_device *device,
			  uint32_t request)
{
	switch (request) {
	case TM_VHOST_GET_QUEUE_NUM:
		return has_protocol(device, TM_VHOST_PROTOCOL_MQ);
	case TM_VHOST_GET_CONFIG:
	case TM_VHOST_SET_CONFIG:
		return has_protocol(device, TM_VHOST_PROTOCOL_CONFIG);
	case TM_VHOST_GET_INFLIGHT_FD:
	case TM_VHOST_SET_INFLIGHT_FD:
		return has_protocol(device, TM_VHOST_PROTOCOL_INFLIGHT_SHMFD);
	case TM_VHOST_GET_MAX_MEM_SLOTS:
	case TM_VHOST_ADD_MEM_REG:
	case TM_VHOST_REM_MEM_REG:
		return has_protocol(device,
				    TM_VHOST_PROTOCOL_CONFIGURE_MEM_SLOTS);
	}
	return true;
}

/* Sets @refused where the front end can live with it. */
static const char *act(struct tm_vhost_device *device,
		       const struct tm_vhost_message *message, int *fds,
		       struct tm_vhost_reply *reply, bool *is_refused)
{
	const char *why = NULL;

	switch (message->request) {
	case TM_VHOST_GET_FEATURES:
		answer_number(reply, tm_vhost_blk_features(&device->blk));
		return NULL;
	case TM_VHOST_SET_FEATURES:
		return set_features(device, message->number);
	case TM_VHOST_SET_OWNER:
		return NULL;
	case TM_VHOST_RESET_OWNER:
		tm_vhost_device_reset(device);
		return NULL;
	case TM_VHOST_GET_PROTOCOL_FEATURES:
		answer_number(reply, PROTOCOL_FEATURES);
		return NULL;
	case TM_VHOST_SET_PROTOCOL_FEATURES:
		return set_protocol_features(device, message->number);
	case TM_VHOST_GET_QUEUE_NUM:
		answer_number(reply, device->blk.queues);
		return NULL;
	case TM_VHOST_GET_MAX_MEM_SLOTS:
		answer_number(reply, TM_VHOST_SLOTS_MAX);
		return NULL;
	case TM_VHOST_SET_MEM_TABLE:
		return set_table(device, &message->u.table, fds);
	case TM_VHOST_ADD_MEM_REG:
		*is_refused =
			add_region(device, &message->u.region, &fds[0], &why);
		return *is_refused ? why : NULL;
	case TM_VHOST_REM_MEM_REG:
		return remove_region(device, &message->u.region)
			       ? "a memory region that is not there"
			       : NULL;
	case TM_VHOST_GET_CONFIG:
		get_config(device, &message->u.config, reply);
		return NULL;
	case TM_VHOST_SET_CONFIG:
		/* Nothing in it can be written. */
		*is_refused = true;
		return "a configuration that is to change";
	case TM_VHOST_GET_INFLIGHT_FD:
		return get_inflight(device, message, reply);
	case TM_VHOST_SET_INFLIGHT_FD:
		return set_inflight(device, &message->u.inflight, &fds[0]);
	}
	return act_on_ring(device, message, fds, reply);
}

int tm_vhost_device_act(struct tm_vhost_device *device,
			const struct tm_vhost_message *message, int *fds,
			struct tm_vhost_reply *reply, const char **why)
{
	bool is_refused = false;
	bool wants_ack;

	memset(reply, 0, sizeof(*reply));
	reply->fd = -1;
	*why = "a request that was not negotiated";
	if (!is_negotiated(device, message->request))
		return -EPROTO;
	*why = act(device, message, fds, reply, &is_refused);
	/* As it is after the message: the one that takes it is acknowledged. */
	wants_ack = message->needs_reply &&
		    has_protocol(device, TM_VHOST_PROTOCOL_REPLY_ACK);
	if (*why && !(is_refused && wants_ack))
		return -EPROTO;
	if (*why)
		tm_vhost_say(device, TMEM_LOG_WARNING, "refused: %s", *why);
	if (wants_ack && !reply->is_due)
		answer_number(reply, is_refused);
	return 0;
}
