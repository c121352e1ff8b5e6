/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A door's parts, shared by the files of this folder.
 *
 *	server	one thread: accepts, reads messages, answers them
 *	device	what messages change: features, memory, rings
 *	worker	threads that serve the rings
 *
 * Who owns what: everything in struct tm_vhost_device is the server's thread's,
 * except that a worker uses what its rings need. The server changes such a
 * thing only while the worker is parked. So no lock is held while a request is
 * carried out, and none is needed to look at a ring.
 */
#ifndef TM_VHOST_DEVICE_H
#define TM_VHOST_DEVICE_H

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

#include "vhost.h"
#include "vhost_blk.h"
#include "vhost_queue.h"

struct tm_vhost_device;

/* A ring, and what the front end has said of it so far. */
struct tm_vhost_ring {
	struct tm_vhost_queue queue;
	struct tm_vhost_vring_addr addr;
	bool has_addr;
	bool is_enabled;
	bool is_started;
	bool is_placed; /* since it was started: its memory is there */
	int kick_fd; /* -1: it is polled */
	int call_fd;
	int error_fd;
	bool owes_call; /* whoever was called before may not have heard it */
	/* set by the worker: it serves it no more */
	_Atomic bool is_broken;
};

/* Serves the rings whose number modulo the number of workers is its own. */
struct tm_vhost_worker {
	struct tm_vhost_device *device;
	uint32_t number;
	pthread_t thread;
	int wake_fd;
	bool reads_may_wait; /* of events; constant */
	_Atomic bool is_parking;
	_Atomic bool is_stopping;
	sem_t parked;
	sem_t go_on;
	/* the thread's own */
	uint32_t idle_kicks; /* since the last request */
	struct tm_vhost_chain chain;
	struct tm_vhost_blk_counts counts;
	uint8_t buffer[TM_VHOST_BUFFER_BYTES];
};

struct tm_vhost_device {
	struct tm_vhost_blk blk; /* constant */
	uint64_t poll_ns;
	uint32_t worker_count;
	struct tm_vhost_worker **workers;
	void (*log)(void *opaque, enum tmem_log_level level, const char *text);
	void *log_opaque;
	char name[64];
	/* of the front end that is connected */
	uint64_t features;
	uint64_t protocol_features;
	bool has_features;
	struct tm_vhost_memory *memory; /* or NULL */
	struct tm_vhost_area *area; /* or NULL */
	struct tm_vhost_ring rings[TM_VHOST_QUEUES_MAX];
};

/* What is sent back: nothing, or a payload and perhaps a descriptor. */
struct tm_vhost_reply {
	bool is_due;
	uint32_t size_bytes;
	int fd; /* -1, or closed once it is sent */
	union {
		uint64_t number;
		struct tm_vhost_vring_state state;
		struct tm_vhost_config_space config;
		struct tm_vhost_inflight inflight;
	} u;
};

__attribute__((format(printf, 3, 4))) void
tm_vhost_say(struct tm_vhost_device *device, enum tmem_log_level level,
	     const char *format, ...);

/* Starts a thread that is sent no signals. */
int tm_vhost_thread(pthread_t *thread, void *(*run)(void *), void *opaque);

/* Nobody is connected any more: all is as it was at first. */
void tm_vhost_device_reset(struct tm_vhost_device *device);

/**
 * tm_vhost_device_act() - do what a message says
 * @fds: the descriptors that came with it; those that are kept are set to -1
 * @why: set on error
 *
 * Return: 0, or -EPROTO: the connection is to be ended.
 */
int tm_vhost_device_act(struct tm_vhost_device *device,
			const struct tm_vhost_message *message, int *fds,
			struct tm_vhost_reply *reply, const char **why);

/* Its rings are set up, and are served from now on; or are broken, which is
 * logged. Their worker is parked. */
void tm_vhost_ring_start(struct tm_vhost_device *device,
			 struct tm_vhost_ring *ring);

/* The device's part of a struct tm_vhost_given; the connection is its first
 * descriptor already. See vhost_handover.c. */
int tm_vhost_device_give(struct tm_vhost_device *device,
			 struct tm_vhost_given *given);
/* Before its workers run. On error it is to be reset. */
int tm_vhost_device_take(struct tm_vhost_device *device,
			 struct tm_vhost_given *given);

/* --- workers ------------------------------------------------------------- */

int tm_vhost_worker_start(struct tm_vhost_device *device, uint32_t number);
/* Also frees it. */
void tm_vhost_worker_stop(struct tm_vhost_worker *worker);
/* On return it is between requests and stays there. */
void tm_vhost_worker_park(struct tm_vhost_worker *worker);
void tm_vhost_worker_go_on(struct tm_vhost_worker *worker);

static inline struct tm_vhost_worker *
tm_vhost_worker_of(struct tm_vhost_device *device, uint32_t ring)
{
	return device->workers[ring % device->worker_count];
}

#endif
