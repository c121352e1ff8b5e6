/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a successor and the daemon that it replaces say to each other, over a
 * SOCK_SEQPACKET socket beside the control socket (its path with ".takeover").
 *
 *	successor		daemon
 *	hello			
 *				answer: refused, and that is all; or agreed
 *				socket, once for each, with its descriptors
 *				disk, once for each, as it is described
 *				peer, once for each, with its descriptors:
 *				nothing is done for it from here on
 *				door, once for each disk whose virtual
 *				machine is there, with its descriptors
 *				arena, with its descriptor if it has no path;
 *				nothing is open in the store any more
 *	end: serves, or not
 *
 * Both are on one machine, so numbers are in its byte order. A message is
 * exactly as long as its structure; new fields come at the end with another
 * version, and a daemon that does not know a successor's version refuses it.
 */
#ifndef TM_TAKEOVER_ABI_H
#define TM_TAKEOVER_ABI_H

#include <stdint.h>

#define TM_TAKEOVER_MAGIC UINT64_C(0x7265766f6d656d74)	/* "tmemover" */
#define TM_TAKEOVER_VERSION 2
#define TM_TAKEOVER_RECORD_MAX 4096
#define TM_TAKEOVER_DOOR_MAX 6144
#define TM_TAKEOVER_SUFFIX ".takeover"

enum tm_takeover_kind {
	TM_TAKEOVER_HELLO = 1,
	TM_TAKEOVER_ANSWER,
	TM_TAKEOVER_SOCKET,
	TM_TAKEOVER_PEER,
	TM_TAKEOVER_ARENA,
	TM_TAKEOVER_END,
	TM_TAKEOVER_DISK,
	TM_TAKEOVER_DOOR,
};

struct tm_takeover_head {
	uint64_t magic;
	uint32_t version;
	uint32_t kind;
};

/* Which arenas the successor opens. */
struct tm_takeover_hello {
	struct tm_takeover_head head;
	uint32_t layout_min;
	uint32_t layout_max;
	uint64_t features_incompat;	/* that it knows */
	char arena[1024];		/* as configured */
};

struct tm_takeover_answer {
	struct tm_takeover_head head;
	int32_t status;		/* 0 or a negative errno */
	uint32_t sockets;	/* how many follow */
	char text[256];		/* why not */
};

/* With one descriptor, or two: the second is its lock. */
struct tm_takeover_socket {
	struct tm_takeover_head head;
	char path[128];
};

/* As the channel describes it (ring.h), with the descriptors it names. */
struct tm_takeover_peer {
	struct tm_takeover_head head;
	uint32_t size;
	uint32_t reserved;
	uint8_t record[TM_TAKEOVER_RECORD_MAX];
};

/* As --vhost-user-blk would describe it. */
struct tm_takeover_disk {
	struct tm_takeover_head head;
	char text[TM_TAKEOVER_RECORD_MAX];
};

/* A disk's door, as vhost.h describes it, with the descriptors it names. */
struct tm_takeover_door {
	struct tm_takeover_head head;
	char name[64];
	uint32_t size;
	uint32_t reserved;
	uint8_t record[TM_TAKEOVER_DOOR_MAX];
};

struct tm_takeover_arena {
	struct tm_takeover_head head;
};

struct tm_takeover_end {
	struct tm_takeover_head head;
	int32_t status;		/* 0: the successor serves */
	uint32_t reserved;
};

#endif
