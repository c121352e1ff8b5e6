/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * memcached over its UNIX socket: what people use to keep pages in another
 * process, as a measure for the channel.
 *
 * Its text protocol, written and read by hand: a client library would add what
 * is not memcached's. Requests of a group go out in as few writes as the socket
 * takes, and all answers of the group are read before the next one.
 *
 *	set KEY 0 0 4096\r\n<page>\r\n	STORED\r\n
 *	get KEY\r\n			VALUE KEY 0 4096\r\n<page>\r\nEND\r\n
 */
#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "bench_channel.h"

#define HEAD_MAX 64
#define BUFFER_BYTES ((TMEM_PAGE_SIZE + 2 * HEAD_MAX) * TM_BENCH_DEPTH)
#define START_MS 5000

/* --- the socket ------------------------------------------------------------ */

static int send_all(struct tm_bench_memcached *m)
{
	size_t sent = 0;

	while (sent < m->out_bytes) {
		ssize_t bytes = send(m->fd, m->out + sent, m->out_bytes - sent,
				     MSG_NOSIGNAL);

		if (bytes < 0 && errno != EINTR)
			return -errno;
		sent += bytes > 0 ? (size_t)bytes : 0;
	}
	m->out_bytes = 0;
	return 0;
}

/* At least @bytes of answers are in the buffer. */
static int receive(struct tm_bench_memcached *m, size_t bytes)
{
	if (m->in_begin == m->in_end)
		m->in_begin = m->in_end = 0;
	if (BUFFER_BYTES - m->in_begin < bytes) {
		memmove(m->in, m->in + m->in_begin, m->in_end - m->in_begin);
		m->in_end -= m->in_begin;
		m->in_begin = 0;
	}
	while (m->in_end - m->in_begin < bytes) {
		ssize_t got = recv(m->fd, m->in + m->in_end,
				   BUFFER_BYTES - m->in_end, 0);

		if (got == 0)
			return -ECONNRESET;
		if (got < 0 && errno != EINTR)
			return -errno;
		m->in_end += got > 0 ? (size_t)got : 0;
	}
	return 0;
}

static int expect(struct tm_bench_memcached *m, const char *text, size_t size)
{
	int err = receive(m, size);

	if (!err && memcmp(m->in + m->in_begin, text, size))
		err = -EIO;
	m->in_begin += size;
	return err;
}

/* --- requests -------------------------------------------------------------- */

static void add_set(struct tm_bench_memcached *m, uint32_t number,
		    const uint8_t *page)
{
	char *at = m->out + m->out_bytes;
	int head = snprintf(at, HEAD_MAX, "set %" PRIx32 " 0 0 %d\r\n", number,
			    TMEM_PAGE_SIZE);

	memcpy(at + head, page, TMEM_PAGE_SIZE);
	memcpy(at + head + TMEM_PAGE_SIZE, "\r\n", 2);
	m->out_bytes += (size_t)head + TMEM_PAGE_SIZE + 2;
}

int tm_bench_memcached_set(struct tm_bench_memcached *m,
			   const struct tm_bench_pages *pages,
			   const uint32_t *order, uint32_t count,
			   uint32_t depth)
{
	int err = 0;

	for (uint32_t i = 0; i < count && !err; i += depth) {
		uint32_t group = count - i < depth ? count - i : depth;

		for (uint32_t k = 0; k < group; k++)
			add_set(m, order[i + k],
				tm_bench_page(pages, order[i + k]));
		err = send_all(m);
		for (uint32_t k = 0; k < group && !err; k++)
			err = expect(m, "STORED\r\n", 8);
	}
	return err;
}

static int take_page(struct tm_bench_memcached *m, uint32_t number,
		     uint8_t *page)
{
	char head[HEAD_MAX];
	int size = snprintf(head, sizeof(head), "VALUE %" PRIx32 " 0 %d\r\n",
			    number, TMEM_PAGE_SIZE);
	int err = expect(m, head, (size_t)size);

	if (!err)
		err = receive(m, TMEM_PAGE_SIZE);
	if (err)
		return err;
	memcpy(page, m->in + m->in_begin, TMEM_PAGE_SIZE);
	m->in_begin += TMEM_PAGE_SIZE;
	return expect(m, "\r\nEND\r\n", 7);
}

int tm_bench_memcached_get(struct tm_bench_memcached *m, const uint32_t *order,
			   uint32_t count, uint32_t depth, uint8_t *page)
{
	int err = 0;

	for (uint32_t i = 0; i < count && !err; i += depth) {
		uint32_t group = count - i < depth ? count - i : depth;

		for (uint32_t k = 0; k < group; k++)
			m->out_bytes += (size_t)snprintf(
				m->out + m->out_bytes, HEAD_MAX,
				"get %" PRIx32 "\r\n", order[i + k]);
		err = send_all(m);
		for (uint32_t k = 0; k < group && !err; k++)
			err = take_page(m, order[i + k], page);
	}
	return err;
}

/* --- the server ------------------------------------------------------------ */

static int connect_to(struct tm_bench_memcached *m)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	strcpy(address.sun_path, m->server.socket);
	m->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (m->fd < 0)
		return -errno;
	for (int ms = 0; ms < START_MS; ms += 10) {
		if (!connect(m->fd, (struct sockaddr *)&address,
			     sizeof(address)))
			return 0;
		if (tm_bench_server_is_gone(&m->server))
			return -ENOENT;
		poll(NULL, 0, 10);
	}
	return -ETIMEDOUT;
}

int tm_bench_memcached_open(struct tm_bench_memcached *m, const char *program,
			    const char *folder, uint64_t memory_bytes)
{
	char mib[24];
	/* One thread serves one connection; -u: as whoever we are. */
	const char *argv[] = { program, "-s", m->server.socket, "-m", mib,
			       "-t", "1", "-u", "root", NULL };
	int err;

	*m = (struct tm_bench_memcached){ .fd = -1 };
	if (geteuid() != 0)
		argv[7] = NULL;
	snprintf(mib, sizeof(mib), "%" PRIu64, memory_bytes >> 20);
	snprintf(m->server.socket, sizeof(m->server.socket), "%s/memcached",
		 folder);
	m->out = malloc(BUFFER_BYTES);
	m->in = malloc(BUFFER_BYTES);
	err = m->in && m->out ? tm_bench_server_start(&m->server, argv) :
				-ENOMEM;
	if (!err)
		err = connect_to(m);
	if (err)
		tm_bench_memcached_close(m);
	return err;
}

void tm_bench_memcached_close(struct tm_bench_memcached *m)
{
	if (m->fd >= 0)
		close(m->fd);
	tm_bench_server_stop(&m->server);
	free(m->in);
	free(m->out);
	*m = (struct tm_bench_memcached){ .fd = -1 };
}
