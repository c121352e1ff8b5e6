/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A vhost-user-blk front end that does, step by step, whatever it is told to.
 *
 * It has one region of memory, in a memfd, with rings at its beginning and room
 * for requests after them. peer_setup() does what a well-behaved front end
 * does; every step of it is a function too, and so is every field of every
 * descriptor: what no virtual machine monitor would send is sent from here. It
 * knows vhost_abi.h and nothing else of the project, so that it can be pointed
 * at anybody's back end.
 *
 * Functions answer 0 or more, or a negative errno: -ETIMEDOUT after
 * PEER_WAIT_MS without an answer, -ECONNRESET when the back end hung up. One
 * thread.
 */
#ifndef TM_VHOST_PEER_H
#define TM_VHOST_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vhost_abi.h"

#define PEER_WAIT_MS 10000
#define PEER_MEMORY_BYTES (4u << 20)
#define PEER_GUEST UINT64_C(0x40000000) /* where the guest has its memory */
#define PEER_QUEUES 4
#define PEER_ENTRIES 64u
#define PEER_QUEUE_BYTES 0x10000u /* of memory, for a queue's rings */
#define PEER_AVAILABLE 0x4000u /* in those */
#define PEER_USED 0x8000u
#define PEER_SCRATCH 0x80000u /* offset of what is not rings */

struct vhost_peer {
	int fd;
	int memory_fd;
	uint8_t *memory;
	uint64_t offered; /* features */
	uint64_t protocol_offered;
	uint64_t features; /* to take, of those */
	uint64_t protocol;
	uint32_t queues; /* set up by peer_setup() */
	unsigned setups; /* so far */
	uint64_t size_bytes; /* of the disk, after peer_setup() */
	struct {
		int kick_fd;
		int call_fd;
		uint16_t available; /* our index */
		uint16_t seen_used;
		uint16_t base; /* to begin with */
	} queue[PEER_QUEUES];
	/* Kept over connections, as a monitor does; -1: none. */
	bool wants_inflight;
	int inflight_fd;
	struct tm_vhost_inflight inflight;
};

/* Its memory, and no connection. Takes features that a block device needs,
 * event indices, and all of the protocol's that we know. */
void peer_init(struct vhost_peer *peer);
/* Hangs up; memory stays. */
void peer_hang_up(struct vhost_peer *peer);
void peer_close(struct vhost_peer *peer);

int peer_connect(struct vhost_peer *peer, const char *path);

/* --- messages ------------------------------------------------------------ */

int peer_send(struct vhost_peer *peer, uint32_t request, uint32_t flags,
	      const void *payload, uint32_t size_bytes, const int *fds,
	      size_t fd_count);
/* With a header of its own making. */
int peer_send_raw(struct vhost_peer *peer, const void *bytes, size_t size,
		  const int *fds, size_t fd_count);
/* What there is of it: how many bytes. @fd: what came with it, if any did. */
int peer_receive_some(struct vhost_peer *peer, void *to, size_t size, int *fd);
/* What comes: the payload's size. @fd: -1, or what came with it. */
int peer_receive(struct vhost_peer *peer, struct tm_vhost_header *header,
		 void *payload, size_t max_bytes, int *fd);
int peer_set_number(struct vhost_peer *peer, uint32_t request, uint64_t number);
int peer_get_number(struct vhost_peer *peer, uint32_t request,
		    uint64_t *number);
int peer_set_state(struct vhost_peer *peer, uint32_t request, uint32_t index,
		   uint32_t value);
/* Has it hung up on us, within PEER_WAIT_MS? */
bool peer_is_dropped(struct vhost_peer *peer);

/* At once: nothing is to be read from it but its end. */
bool peer_has_hung_up(struct vhost_peer *peer);

/* --- the steps of a set-up ----------------------------------------------- */

int peer_negotiate(struct vhost_peer *peer);
int peer_get_config(struct vhost_peer *peer,
		    struct tm_virtio_blk_config *config);
/* Its memory as it is. */
struct tm_vhost_region peer_region(const struct vhost_peer *peer);
int peer_set_table(struct vhost_peer *peer,
		   const struct tm_vhost_region *regions, const int *fds,
		   uint32_t count);
int peer_set_memory(struct vhost_peer *peer);
int peer_set_inflight(struct vhost_peer *peer);
struct tm_vhost_vring_addr peer_ring_address(const struct vhost_peer *peer,
					     uint32_t queue);
int peer_set_event(struct vhost_peer *peer, uint32_t request, uint32_t queue,
		   int fd);
int peer_start_queue(struct vhost_peer *peer, uint32_t queue);
/* GET_VRING_BASE: the base, and the queue is stopped. */
int peer_stop_queue(struct vhost_peer *peer, uint32_t queue);
/* All of it, for that many queues. */
int peer_setup(struct vhost_peer *peer, const char *path, uint32_t queues);

/* --- rings --------------------------------------------------------------- */

uint64_t peer_guest(size_t offset);
void peer_describe(struct vhost_peer *peer, uint32_t queue, uint16_t index,
		   uint64_t address, uint32_t bytes, uint16_t flags,
		   uint16_t next);
/* Makes it available, without a kick. */
void peer_offer(struct vhost_peer *peer, uint32_t queue, uint16_t head);
void peer_set_available(struct vhost_peer *peer, uint32_t queue,
			uint16_t index);
uint16_t peer_used_index(struct vhost_peer *peer, uint32_t queue);
struct tm_virtio_used peer_used(struct vhost_peer *peer, uint32_t queue,
				uint16_t index);
void peer_kick(struct vhost_peer *peer, uint32_t queue);
/* Until the used ring's index is @index. 0, -ETIMEDOUT. */
int peer_wait_used(struct vhost_peer *peer, uint32_t queue, uint16_t index,
		   int wait_ms);

/* --- requests ------------------------------------------------------------ */

/* The three descriptors of a request, from @head on, in slot @slot of the
 * scratch space (64 KiB of data each). */
void peer_build(struct vhost_peer *peer, uint32_t queue, uint16_t head,
		uint32_t slot, uint32_t type, uint64_t sector, uint32_t bytes);
void *peer_slot_data(struct vhost_peer *peer, uint32_t slot);
uint8_t peer_slot_status(struct vhost_peer *peer, uint32_t slot);
/* One request, there and back. Its status, or a negative errno. */
int peer_request(struct vhost_peer *peer, uint32_t queue, uint32_t type,
		 uint64_t sector, void *data, uint32_t bytes);
/* A set-up, the disk's first block, and away: does it still serve? */
int peer_probe(const char *path);

#endif
