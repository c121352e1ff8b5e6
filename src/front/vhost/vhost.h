/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A vhost-user-blk door: a disk of tmem as a virtio device of a virtual
 * machine.
 *
 * A door is a listening socket and a disk. One front end (QEMU, Cloud
 * Hypervisor, ...) is connected at a time; when it goes, or breaks the
 * protocol, the door waits for the next. Requests are carried out by threads of
 * the door's own, which poll for a while before they sleep.
 *
 * Functions may be called from any thread, one at a time for each door, except
 * tm_vhost_get_info(), which may be called at any time before tm_vhost_close().
 */
#ifndef TM_VHOST_H
#define TM_VHOST_H

#include <stdbool.h>
#include <stdint.h>

#include <tmem/tmem.h>

struct tm_disk;
struct tm_vhost;

/* What the kernel passes at once. */
#define TM_VHOST_GIVEN_FDS 253
#define TM_VHOST_RECORD_MAX 6144

/**
 * struct tm_vhost_given - a door as a predecessor left it
 * @fds: those that are the holder's to close; -1 where one was taken
 */
struct tm_vhost_given {
	uint32_t bytes;
	uint32_t fd_count;
	int fds[TM_VHOST_GIVEN_FDS];
	uint8_t record[TM_VHOST_RECORD_MAX];
};

/**
 * struct tm_vhost_config - how a door is opened
 * @disk: stays the caller's, who closes it after the door
 * @listen_fd: a listening stream socket; the door's own from then on
 * @name: what the guest reads as the disk's serial number; its first 20 bytes
 * @is_readonly: the guest is told so
 * @block_bytes: 512 or 4096, which divides the disk's size
 * @queues: how many there may be; 0: 16
 * @threads: that serve them; 0: as many as processors, 4 at most
 * @poll_us: how long a thread polls before it sleeps; 0: 50
 * @given: NULL, or what a predecessor's tm_vhost_give() said: the door goes on
 *	with its front end. What cannot be taken is hung up on.
 * @log: as in struct tmem_store_config, or NULL
 */
struct tm_vhost_config {
	struct tm_disk *disk;
	int listen_fd;
	const char *name;
	bool is_readonly;
	uint32_t block_bytes;
	uint32_t queues;
	uint32_t threads;
	uint32_t poll_us;
	struct tm_vhost_given *given;
	void (*log)(void *opaque, enum tmem_log_level level, const char *text);
	void *log_opaque;
};

/* 0, -EINVAL, -ENOMEM, -EAGAIN (no thread). On error listen_fd stays open. */
int tm_vhost_open(const struct tm_vhost_config *config, struct tm_vhost **door);

/* Requests under way are finished first; those not begun are left to whoever
 * serves the rings next. */
void tm_vhost_close(struct tm_vhost *door);

/* Stops serving, and says all that a successor needs to go on. The descriptors
 * stay the door's until it is closed, which is all that can be done with it
 * then. 0; -ENOTCONN: nobody is connected, or is in the middle of a message;
 * -E2BIG: more descriptors than can be passed. */
int tm_vhost_give(struct tm_vhost *door, struct tm_vhost_given *given);

/**
 * struct tm_vhost_info - a door, as its operator sees it
 * @is_connected: a front end is there
 * @is_broken: its rings were wrong; it has to reset the device
 * @connections: front ends so far
 * @dropped: of them, how many broke the protocol
 * @errors: requests that were answered an error
 */
struct tm_vhost_info {
	bool is_connected;
	bool is_broken;
	uint64_t connections;
	uint64_t dropped;
	uint64_t requests;
	uint64_t read_bytes;
	uint64_t written_bytes;
	uint64_t errors;
};

void tm_vhost_get_info(const struct tm_vhost *door, struct tm_vhost_info *info);

#endif
