/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What `tmem bench channel` shares between its parts: see bench_channel.c.
 */
#ifndef TM_BENCH_CHANNEL_H
#define TM_BENCH_CHANNEL_H

#include <sys/types.h>

#include "bench.h"

/* How many requests are under way in the second comparison. */
#define TM_BENCH_DEPTH 32

/* --- results (bench_channel_report.c) ------------------------------------- */

struct tm_bench_pair {			/* of puts and of gets */
	double put;
	double get;
};

struct tm_bench_channel_result {
	const struct tm_chosen_codec *codec;
	const char *allocator;
	/* ns per call */
	struct tm_bench_pair embedded;
	struct tm_bench_pair channel;
	struct tm_bench_pair deep;	/* TM_BENCH_DEPTH under way */
	struct tm_bench_pair extra;	/* channel less embedded, of each round */
	struct tm_bench_pair ratio;
	/* puts and gets per second, and their ratio; 0: no memcached */
	double rate_one, rate_deep;
	double memcached_one, memcached_deep;
	double ratio_one, ratio_deep;
	/* calls per second: alone, and of the slower of two */
	struct tm_bench_pair alone;
	struct tm_bench_pair slower;
	struct tm_bench_pair share;
};

int tm_bench_channel_report(struct tm_bench *bench,
			    const struct tm_bench_channel_result *results,
			    size_t count);

/* --- a program of one's own (bench_server.c) ------------------------------- */

struct tm_bench_server {
	pid_t pid;		/* 0: none */
	char socket[128];
	char log[140];		/* what it says, beside the socket */
};

/* Starts argv[0], found as a shell would. What it says goes to a file. 0, or a
 * negative errno: -ENOENT, there is no such program. */
int tm_bench_server_start(struct tm_bench_server *server, const char *const argv[]);
/* Has it ended by itself? */
bool tm_bench_server_is_gone(struct tm_bench_server *server);
/* The last thing it said, or "". */
void tm_bench_server_last_words(const struct tm_bench_server *server,
				char *text, size_t size);
/* While others are measured that its threads would disturb. */
void tm_bench_server_pause(const struct tm_bench_server *server);
void tm_bench_server_resume(const struct tm_bench_server *server);
void tm_bench_server_stop(struct tm_bench_server *server);

/* --- memcached (bench_memcached.c) ---------------------------------------- */

struct tm_bench_memcached {
	struct tm_bench_server server;
	int fd;
	char *out;		/* requests */
	size_t out_bytes;
	char *in;		/* answers, not yet looked at */
	size_t in_begin;
	size_t in_end;
};

/* 0, or a negative errno; -ENOENT: there is no such program. */
int tm_bench_memcached_open(struct tm_bench_memcached *memcached,
			    const char *program, const char *folder,
			    uint64_t memory_bytes);
void tm_bench_memcached_close(struct tm_bench_memcached *memcached);
/* @count pages of @order, @depth requests under way at once; what is gotten
 * goes to @page. 0, or a negative errno: -EIO, an answer that it should not
 * have given. */
int tm_bench_memcached_set(struct tm_bench_memcached *memcached,
			   const struct tm_bench_pages *pages,
			   const uint32_t *order, uint32_t count,
			   uint32_t depth);
int tm_bench_memcached_get(struct tm_bench_memcached *memcached,
			   const uint32_t *order, uint32_t count,
			   uint32_t depth, uint8_t *page);

#endif
