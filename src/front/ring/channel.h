/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One peer of the ring server: its memory, its rings, and who serves them.
 *
 * Life: accepted, it is *greeting* until its hello has come and its host has let
 * it in; *open* while threads serve its rings; *ending* from its hang-up, its
 * breach or our wish until the last of these threads has gone. Only the
 * acceptor changes the state. Ring threads tell it what they see through
 * `broken` and `threads`, and see `stop`.
 *
 * Of what is shared, only the counters of rings, submissions (once each) and
 * pages (by copy) are ever read.
 */
#ifndef TM_CHANNEL_H
#define TM_CHANNEL_H

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "doorbell.h"
#include "lock.h"
#include "ring.h"
#include "ring_abi.h"

#define TM_CHANNEL_PAGE_LOCKS 64

enum tm_channel_state {
	TM_CHANNEL_ARRIVING,	/* from a predecessor */
	TM_CHANNEL_GREETING,
	TM_CHANNEL_OPEN,
	TM_CHANNEL_ENDING,
};

enum tm_channel_pool_kind {
	TM_CHANNEL_POOL_UNKNOWN = 0,
	TM_CHANNEL_POOL_PERSISTENT,
	TM_CHANNEL_POOL_OTHER,
};

/* How long a ring's thread has shared its processor with the peer, in rounds. */
struct tm_company {
	uint32_t together;	/* in a row */
	uint32_t apart;		/* since they were together */
	uint32_t leave_after;	/* so many together */
};

/* One ring; its thread's alone, but for what is in shared memory. */
struct tm_ring {
	struct tm_channel *channel;
	struct tm_ring_head *head;
	const struct tm_ring_submission *submissions;
	struct tm_ring_completion *completions;
	uint32_t done;		/* completed, as we know it */
	struct tm_patience patience;
	struct tm_company company;
	pthread_t thread;
	bool has_thread;
} __attribute__((aligned(64)));

struct tm_channel {
	/* set at creation, then constant */
	struct tm_ring_server *server;
	char listener_name[TMEM_CLIENT_NAME_MAX + 1];
	int fd;
	struct tm_ring_record *record;	/* while it arrives */
	/* the acceptor's */
	struct tm_channel *next;
	enum tm_channel_state state;
	uint64_t deadline_ns;	/* while it greets */
	bool has_hello;
	short events;		/* of its socket, in this round */
	/* the acceptor's to change, under the server's lock */
	bool is_attached;
	/* set when it opens, then constant */
	struct tm_ring_hello hello;
	struct tm_ring_attachment attachment;
	int memory_fd;
	void *memory_at;
	size_t mapped_bytes;	/* to a huge page's end */
	struct tmem_guest_memory *memory;
	int rings_fd;
	uint8_t *rings_at;
	size_t ring_bytes;
	uint32_t entries;
	uint32_t ring_count;
	struct tm_ring *rings;
	/* atomic */
	_Atomic uint32_t stop;
	_Atomic uint32_t threads;
	const char *_Atomic broken;	/* what it did */
	_Atomic bool is_dropped;
	_Atomic uint8_t pool_kind[TMEM_POOLS_MAX];
	struct tm_lock calls;	/* held over a numbered call */
	/* Held over a put, and over the two halves of taking a page out. */
	struct tm_lock pages[TM_CHANNEL_PAGE_LOCKS];
};

/* --- channel.c: what a peer is made of ------------------------------------- */

/* Takes over @fd. NULL: no memory. */
struct tm_channel *tm_channel_new(struct tm_ring_server *server, int fd,
				  const char *listener_name);
/* No thread works for it. Closes everything; the host was told. */
void tm_channel_free(struct tm_channel *channel);

/* Reads and checks what the peer says; 0, -EAGAIN, or why it is refused. */
int tm_channel_read_hello(struct tm_channel *channel);
/* Maps the peer's memory, and makes it the domain's. */
int tm_channel_map_memory(struct tm_channel *channel);
/* The domain has it no more. */
void tm_channel_unmap_memory(struct tm_channel *channel);
/* Makes at most @rings_max rings, of what the hello wants. */
int tm_channel_make_rings(struct tm_channel *channel, uint32_t rings_max);
/* As many as ring_count says, in the memory that rings_fd has. */
int tm_channel_map_rings(struct tm_channel *channel);
/* Tells the peer; with the rings if @status is 0. */
int tm_channel_welcome(struct tm_channel *channel, int status,
		       const uint64_t host[2]);
/* Signals are for whoever expects them; faults stay one's own. */
void tm_channel_block_signals(sigset_t *before);
/* A thread for each ring; those made before a failure stop by themselves. */
int tm_channel_start(struct tm_channel *channel);
/* They end as soon as what they are at is done; tm_channel_join() is due when
 * `threads` is 0. */
void tm_channel_stop(struct tm_channel *channel);
void tm_channel_join(struct tm_channel *channel);
/* From a ring's thread: the peer broke the rules in this way. */
void tm_channel_break(struct tm_channel *channel, const char *what);

/* --- handover.c -------------------------------------------------------------- */

struct tm_ring_record;

/* No thread works for @channel. */
int tm_channel_give(struct tm_channel *channel, tm_ring_give_fn *give,
		    void *opaque);
/* A channel from what was given; NULL with *err. Takes over @fds. */
struct tm_channel *
tm_channel_arrive(struct tm_ring_server *server, const void *record,
		  size_t size, const int fds[TM_RING_RECORD_DESCRIPTORS],
		  int *err);
/* It is attached, and has its memory: rings and pools as they were. */
int tm_channel_settle(struct tm_channel *channel);

/* --- ring_thread.c ---------------------------------------------------------- */

void *tm_ring_serve(void *ring);

/* --- ring_op.c -------------------------------------------------------------- */

/* Carries out @s; the result for its completion, whose flags it may set. */
int tm_ring_execute(struct tm_ring *ring, const struct tm_ring_submission *s,
		    struct tm_ring_completion *completion);

/* --- ring_server.c ---------------------------------------------------------- */

/* The acceptor looks at everybody again. From any thread. */
void tm_ring_server_wake(struct tm_ring_server *server);

#endif
