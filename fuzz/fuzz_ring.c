/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Any bytes from a peer of the ring server.
 *
 * A server runs in this process, with two peers: one that behaves, and one that
 * is played by the input. The first byte says how it begins: with its own idea
 * of a hello, or with a right one; each further instruction is a byte and its
 * operands:
 *
 *	0	64 bytes into the next submission, and count it
 *	1	a number into the counter
 *	2	bytes anywhere into the ring
 *	3	a size for its memory
 *	4	a hole in its memory
 *	5	a hole in the rings
 *	6	bytes to the socket
 *	7	wait for what is under way
 *	8	a request with fields near their edges
 *
 * Afterwards it hangs up, the server must let go of it, the peer that behaves
 * gets its page, and everything is closed, with the sums of the store checked.
 */
#include <config.h>

#include "keep_modules.h"
#include "ring_host.h"
#include "raw_peer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(expr) ring_host_must(expr)
#define STEPS_MAX 200

struct input {
	const uint8_t *data;
	size_t size;
};

static struct ring_host host;
static struct raw_peer good;
static int good_pool;

static uint8_t take_byte(struct input *input)
{
	if (!input->size)
		return 0;
	input->size--;
	return *input->data++;
}

static uint32_t take_number(struct input *input)
{
	uint32_t number = 0;

	for (int i = 0; i < 4; i++)
		number = number << 8 | take_byte(input);
	return number;
}

static void take_bytes(struct input *input, void *to, size_t size)
{
	uint8_t *bytes = to;

	while (size--)
		*bytes++ = take_byte(input);
}

static void check_good(void)
{
	struct tm_ring_op get = raw_op(TM_RING_GET_PAGE, good_pool, 1, 1);

	good.memory[TMEM_PAGE_SIZE + 99] = 0;
	MUST(raw_call(&good, &get, 0) == TMEM_GET_HIT);
	MUST(good.memory[TMEM_PAGE_SIZE + 99] == 0x5a);
}

static void start(void)
{
	struct tm_ring_op put;

	ring_host_init(&host, 4 << 20);
	host.config.codec = "none";
	host.config.flags |= TMEM_STORE_NO_THREADS;
	host.limits.memory_per_peer_max_bytes = 1 << 20;
	ring_host_open(&host);
	raw_init(&good, "good");
	MUST(raw_attach(&good, host.socket) == 0);
	good_pool = raw_pool(&good, TMEM_POOL_PERSISTENT, 0);
	memset(good.memory, 0x5a, TMEM_PAGE_SIZE);
	good.memory[0] = 0;
	put = raw_op(TM_RING_PUT_PAGE, good_pool, 1, 0);
	MUST(raw_call(&good, &put, 0) == TMEM_PUT_STORED);
}

/* --- instructions ----------------------------------------------------------- */

static struct tm_ring_submission *next_submission(struct raw_peer *peer)
{
	return (struct tm_ring_submission *)(peer->rings +
					     tm_ring_submissions_at()) +
	       peer->submitted % peer->hello.entries;
}

static void submit_bytes(struct raw_peer *peer, struct input *input)
{
	take_bytes(input, next_submission(peer),
		   sizeof(struct tm_ring_submission));
	raw_count(peer, ++peer->submitted);
}

static void submit_edges(struct raw_peer *peer, struct input *input)
{
	static const uint32_t commands[] = {
		1, 2, 4, 5, 6, 7, 0x10000, 0x10001, 0x10002, 0
	};
	uint8_t choice = take_byte(input);
	struct tm_ring_op op = raw_op(commands[choice % 10],
				      (int)(choice >> 4) - 1,
				      take_byte(input),
				      take_byte(input) % (RAW_PAGES + 2));

	op.page.oid[0] = take_byte(input);
	if (op.command <= TM_RING_DESTROY_POOL)
		op.create.flags = take_byte(input) | TM_RING_POOL_VERSION;
	raw_submit(peer, &op, choice >> 7);
}

static void overwrite(struct raw_peer *peer, struct input *input)
{
	size_t at = take_number(input) % peer->welcome.ring_bytes;
	size_t size = take_byte(input);

	if (size > peer->welcome.ring_bytes - at)
		size = peer->welcome.ring_bytes - at;
	take_bytes(input, peer->rings + at, size);
}

static void punch(int fd, struct input *input, size_t size)
{
	size_t at = take_number(input) % size;

	fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)at,
		  TMEM_PAGE_SIZE);
}

static void step(struct raw_peer *peer, struct input *input)
{
	uint8_t bytes[16];

	switch (take_byte(input) % 9) {
	case 0:
		submit_bytes(peer, input);
		break;
	case 1:
		raw_count(peer, peer->submitted = take_number(input));
		break;
	case 2:
		overwrite(peer, input);
		break;
	case 3:
		MUST(!ftruncate(peer->memory_fd,
				take_byte(input) * (off_t)1000));
		break;
	case 4:
		punch(peer->memory_fd, input, RAW_PAGES * TMEM_PAGE_SIZE);
		break;
	case 5:
		punch(peer->rings_fd, input, peer->welcome.ring_bytes);
		break;
	case 6:
		take_bytes(input, bytes, sizeof(bytes));
		send(peer->fd, bytes, sizeof(bytes),
		     MSG_NOSIGNAL | MSG_DONTWAIT);
		break;
	case 7:
		raw_is_answered(peer, 1);
		break;
	case 8:
		submit_edges(peer, input);
		break;
	}
}

/* --- one input --------------------------------------------------------------- */

static void greet_strangely(struct raw_peer *peer, struct input *input)
{
	uint8_t bytes[128];
	size_t size = sizeof(peer->hello);
	uint8_t at = take_byte(input);

	memcpy(bytes, &peer->hello, size);
	/* Some of it is right, or the first check would be the last. */
	if (at & 1)
		size = at >> 1;
	else
		take_bytes(input, bytes + (at >> 1) % size, 8);
	MUST(!raw_connect(peer, host.socket));
	raw_say(peer, bytes, size ? size : 1, peer->memory_fd,
		take_byte(input) % 3);
	raw_listen(peer);
}

static void wait_until_gone(void)
{
	for (int i = 0; i < 600000 && host.attached > 1; i++)
		usleep(100);
	MUST(host.attached == 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = { data, size };
	struct raw_peer peer;
	int steps = 0;

	keep_modules();
	start();
	raw_init(&peer, "bad");
	if (take_byte(&input) % 8 == 0)
		greet_strangely(&peer, &input);
	else
		MUST(!raw_attach(&peer, host.socket));
	while (peer.rings && input.size && steps++ < STEPS_MAX)
		step(&peer, &input);
	raw_close(&peer);
	wait_until_gone();
	check_good();
	raw_close(&good);
	/* Checks the store's sums. */
	ring_host_close(&host);
	return 0;
}
