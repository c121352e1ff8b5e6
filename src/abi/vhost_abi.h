/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What stands on the wire and in shared memory of a vhost-user-blk device.
 *
 * Three public specifications: the vhost-user protocol (messages on a UNIX
 * socket, in the machine's own byte order, descriptors beside them), virtio 1.1
 * section 2.6 (the split virtqueue) and 5.2 (the block device), both little
 * endian. Only what a block device without migration log, postcopy and IOMMU
 * needs is here; what a front end can send besides is refused by number.
 */
#ifndef TM_VHOST_ABI_H
#define TM_VHOST_ABI_H

#include <stddef.h>
#include <stdint.h>

/* --- messages ---------------------------------------------------------------
 */

enum tm_vhost_request {
	TM_VHOST_GET_FEATURES = 1,
	TM_VHOST_SET_FEATURES = 2,
	TM_VHOST_SET_OWNER = 3,
	TM_VHOST_RESET_OWNER = 4,
	TM_VHOST_SET_MEM_TABLE = 5,
	TM_VHOST_SET_VRING_NUM = 8,
	TM_VHOST_SET_VRING_ADDR = 9,
	TM_VHOST_SET_VRING_BASE = 10,
	TM_VHOST_GET_VRING_BASE = 11,
	TM_VHOST_SET_VRING_KICK = 12,
	TM_VHOST_SET_VRING_CALL = 13,
	TM_VHOST_SET_VRING_ERR = 14,
	TM_VHOST_GET_PROTOCOL_FEATURES = 15,
	TM_VHOST_SET_PROTOCOL_FEATURES = 16,
	TM_VHOST_GET_QUEUE_NUM = 17,
	TM_VHOST_SET_VRING_ENABLE = 18,
	TM_VHOST_GET_CONFIG = 24,
	TM_VHOST_SET_CONFIG = 25,
	TM_VHOST_GET_INFLIGHT_FD = 31,
	TM_VHOST_SET_INFLIGHT_FD = 32,
	TM_VHOST_GET_MAX_MEM_SLOTS = 36,
	TM_VHOST_ADD_MEM_REG = 37,
	TM_VHOST_REM_MEM_REG = 38,
};

#define TM_VHOST_VERSION 1u
#define TM_VHOST_VERSION_MASK 3u
#define TM_VHOST_IS_REPLY 4u
#define TM_VHOST_NEED_REPLY 8u

struct tm_vhost_header {
	uint32_t request;
	uint32_t flags;
	uint32_t size_bytes; /* of what follows */
};

/* Bits of the protocol's own features. */
enum tm_vhost_protocol_feature {
	TM_VHOST_PROTOCOL_MQ = 0,
	TM_VHOST_PROTOCOL_REPLY_ACK = 3,
	TM_VHOST_PROTOCOL_CONFIG = 9,
	TM_VHOST_PROTOCOL_INFLIGHT_SHMFD = 12,
	TM_VHOST_PROTOCOL_CONFIGURE_MEM_SLOTS = 15,
};

struct tm_vhost_region {
	uint64_t guest_address;
	uint64_t size_bytes;
	uint64_t user_address; /* where the front end has it */
	uint64_t map_offset;
};

#define TM_VHOST_TABLE_REGIONS 8

struct tm_vhost_mem_table {
	uint32_t count;
	uint32_t padding;
	struct tm_vhost_region regions[TM_VHOST_TABLE_REGIONS];
};

struct tm_vhost_one_region {
	uint64_t padding;
	struct tm_vhost_region region;
};

struct tm_vhost_vring_state {
	uint32_t index;
	uint32_t value;
};

struct tm_vhost_vring_addr {
	uint32_t index;
	uint32_t flags;
	uint64_t descriptors; /* user addresses */
	uint64_t used;
	uint64_t available;
	uint64_t log;
};

/* Of the number that comes with an event's descriptor. */
#define TM_VHOST_VRING_INDEX_MASK 0xffu
#define TM_VHOST_VRING_NO_FD 0x100u

#define TM_VHOST_CONFIG_MAX 256

struct tm_vhost_config_space {
	uint32_t offset;
	uint32_t size_bytes;
	uint32_t flags;
	uint8_t bytes[TM_VHOST_CONFIG_MAX];
};

#define TM_VHOST_CONFIG_HEADER 12

struct tm_vhost_inflight {
	uint64_t map_bytes;
	uint64_t map_offset;
	uint16_t queues;
	uint16_t queue_size;
	uint32_t padding;
};

/* The last field is not on the wire. */
#define TM_VHOST_INFLIGHT_BYTES 20

/* --- requests in flight, in memory that outlives us --------------------------
 */

struct tm_vhost_inflight_entry {
	uint8_t is_inflight;
	uint8_t padding[5];
	uint16_t next;
	uint64_t counter;
};

struct tm_vhost_inflight_queue {
	uint64_t features;
	uint16_t version; /* 1; 0: never used */
	uint16_t entries;
	uint16_t last_batch_head;
	uint16_t used_index;
	struct tm_vhost_inflight_entry entry[];
};

#define TM_VHOST_INFLIGHT_VERSION 1
#define TM_VHOST_INFLIGHT_ALIGN 64

/* --- the split virtqueue ------------------------------------------------- */

#define TM_VIRTIO_NEXT 1u
#define TM_VIRTIO_WRITE 2u
#define TM_VIRTIO_INDIRECT 4u

#define TM_VIRTIO_NO_INTERRUPT 1u
#define TM_VIRTIO_NO_NOTIFY 1u

struct tm_virtio_descriptor {
	uint64_t address;
	uint32_t bytes;
	uint16_t flags;
	uint16_t next;
};

struct tm_virtio_used {
	uint32_t id;
	uint32_t bytes;
};

/* Both rings: flags, index, the entries, and an event index after them. */
#define TM_VIRTIO_RING_FLAGS 0
#define TM_VIRTIO_RING_INDEX 2
#define TM_VIRTIO_RING_ENTRIES 4

/* Bits of virtio's features. */
enum tm_virtio_feature {
	TM_VIRTIO_BLK_F_SIZE_MAX = 1,
	TM_VIRTIO_BLK_F_SEG_MAX = 2,
	TM_VIRTIO_BLK_F_RO = 5,
	TM_VIRTIO_BLK_F_BLK_SIZE = 6,
	TM_VIRTIO_BLK_F_FLUSH = 9,
	TM_VIRTIO_BLK_F_TOPOLOGY = 10,
	TM_VIRTIO_BLK_F_MQ = 12,
	TM_VIRTIO_BLK_F_DISCARD = 13,
	TM_VIRTIO_BLK_F_WRITE_ZEROES = 14,
	TM_VIRTIO_F_INDIRECT_DESC = 28,
	TM_VIRTIO_F_EVENT_IDX = 29,
	TM_VIRTIO_F_PROTOCOL_FEATURES = 30,
	TM_VIRTIO_F_VERSION_1 = 32,
};

/* --- the block device ---------------------------------------------------- */

#define TM_VIRTIO_SECTOR 512

enum tm_virtio_blk_type {
	TM_VIRTIO_BLK_IN = 0,
	TM_VIRTIO_BLK_OUT = 1,
	TM_VIRTIO_BLK_FLUSH = 4,
	TM_VIRTIO_BLK_GET_ID = 8,
	TM_VIRTIO_BLK_DISCARD = 11,
	TM_VIRTIO_BLK_WRITE_ZEROES = 13,
};

enum tm_virtio_blk_status {
	TM_VIRTIO_BLK_OK = 0,
	TM_VIRTIO_BLK_IOERR = 1,
	TM_VIRTIO_BLK_UNSUPP = 2,
};

#define TM_VIRTIO_BLK_ID_BYTES 20

struct tm_virtio_blk_header {
	uint32_t type;
	uint32_t reserved;
	uint64_t sector;
};

#define TM_VIRTIO_BLK_UNMAP 1u

struct tm_virtio_blk_range {
	uint64_t sector;
	uint32_t sectors;
	uint32_t flags;
};

struct tm_virtio_blk_config {
	uint64_t capacity_sectors;
	uint32_t size_max_bytes;
	uint32_t seg_max;
	uint16_t cylinders;
	uint8_t heads;
	uint8_t track_sectors;
	uint32_t block_bytes;
	uint8_t physical_block_exp;
	uint8_t alignment_offset;
	uint16_t min_io_blocks;
	uint32_t opt_io_blocks;
	uint8_t writeback;
	uint8_t unused0;
	uint16_t queues;
	uint32_t discard_sectors_max;
	uint32_t discard_ranges_max;
	uint32_t discard_alignment_sectors;
	uint32_t zeroes_sectors_max;
	uint32_t zeroes_ranges_max;
	uint8_t zeroes_may_unmap;
	uint8_t unused1[3];
};

_Static_assert(sizeof(struct tm_vhost_header) == 12, "a message's header");
_Static_assert(sizeof(struct tm_vhost_mem_table) == 264, "memory table");
_Static_assert(sizeof(struct tm_vhost_one_region) == 40, "one region");
_Static_assert(sizeof(struct tm_vhost_vring_addr) == 40, "addresses");
_Static_assert(sizeof(struct tm_vhost_inflight_queue) == 16, "in flight");
_Static_assert(sizeof(struct tm_vhost_inflight_entry) == 16, "in flight");
_Static_assert(sizeof(struct tm_virtio_descriptor) == 16, "descriptor");
_Static_assert(offsetof(struct tm_virtio_blk_config, zeroes_may_unmap) == 56,
	       "configuration");

#endif
