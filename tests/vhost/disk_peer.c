/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * disk_peer SOCKET COMMAND...: a guest's disk from outside, for scripts.
 *
 *	write SEED BLOCKS	blocks of 4 KiB from the first on
 *	verify SEED BLOCKS	they are what write would write
 *	zeros BLOCKS		they are zeros
 *	discard BLOCKS
 *	stayed			it never had to connect again
 *	size			prints the disk's size in bytes
 *	hold			prints "held", and answers nothing more until
 *				its standard input ends: a front end that stays
 *
 * Commands are done in order over one connection. Where that breaks in the
 * middle of a request, disk_peer connects again, with the memory of requests in
 * flight that it keeps, and waits for the request to be answered: what a
 * virtual machine monitor does.
 */
#include <config.h>

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vhost_peer.h"

#define BLOCK 4096
#define SECTORS (BLOCK / 512)
#define PATIENCE_MS 30000
#define STEP_MS 20

static _Noreturn void fail(const char *what, int err)
{
	fprintf(stderr, "disk_peer: %s: %s\n", what,
		err < 0 ? strerror(-err) : "an error of the disk");
	exit(1);
}

/* A page that compresses to about half, and is like no other. */
static void fill(uint64_t seed, uint64_t number, uint8_t *block)
{
	uint64_t state = (seed << 32) + number;

	memset(block, 0x5a, BLOCK);
	for (size_t i = 0; i < BLOCK; i += 16) {
		state = state * UINT64_C(6364136223846793005) +
			1442695040888963407;
		memcpy(block + i, &state, 8);
	}
}

/* The back end may be away for a while. */
static void connect_patiently(struct vhost_peer *peer, const char *path)
{
	int err = -ECONNREFUSED;

	for (int ms = 0; ms < PATIENCE_MS; ms += STEP_MS) {
		peer->protocol = UINT64_MAX;
		err = peer_setup(peer, path, 1);
		if (!err)
			return;
		peer_hang_up(peer);
		usleep(STEP_MS * 1000);
	}
	fail(path, err);
}

static int request(struct vhost_peer *peer, const char *path, uint32_t type,
		   uint64_t sector, void *data, uint32_t bytes)
{
	uint16_t index;
	int waited_ms = 0;

	if (type != TM_VIRTIO_BLK_IN && bytes)
		memcpy(peer_slot_data(peer, 0), data, bytes);
	peer_build(peer, 0, 0, 0, type, sector, bytes);
	peer_offer(peer, 0, 0);
	peer_kick(peer, 0);
	index = peer->queue[0].available;
	while (peer_wait_used(peer, 0, index, STEP_MS * 5)) {
		waited_ms += STEP_MS * 5;
		if (waited_ms >= PATIENCE_MS)
			return -ETIMEDOUT;
		if (!peer_has_hung_up(peer))
			continue;
		peer_hang_up(peer);
		peer->queue[0].base = peer_used_index(peer, 0);
		connect_patiently(peer, path);
	}
	if (type == TM_VIRTIO_BLK_IN)
		memcpy(data, peer_slot_data(peer, 0), bytes);
	return peer_slot_status(peer, 0);
}

static void must(const char *what, int status)
{
	if (status)
		fail(what, status);
}

static void discard(struct vhost_peer *peer, const char *path, uint64_t blocks)
{
	struct tm_virtio_blk_range range = {
		.sectors = htole32((uint32_t)(blocks * SECTORS)),
	};

	must("discard", request(peer, path, TM_VIRTIO_BLK_DISCARD, 0, &range,
				sizeof(range)));
}

static void each_block(struct vhost_peer *peer, const char *path,
		       const char *command, uint64_t seed, uint64_t blocks)
{
	bool is_write = !strcmp(command, "write");
	uint8_t block[BLOCK], expected[BLOCK] = { 0 };

	for (uint64_t i = 0; i < blocks; i++) {
		if (strcmp(command, "zeros"))
			fill(seed, i, expected);
		memcpy(block, expected, BLOCK);
		must(command,
		     request(peer, path,
			     is_write ? TM_VIRTIO_BLK_OUT : TM_VIRTIO_BLK_IN,
			     i * SECTORS, block, BLOCK));
		if (memcmp(block, expected, BLOCK)) {
			fprintf(stderr,
				"disk_peer: block %" PRIu64 " is wrong\n", i);
			exit(1);
		}
	}
}

static void hold(void)
{
	char byte;

	puts("held");
	fflush(stdout);
	while (read(STDIN_FILENO, &byte, 1) > 0)
		;
}

/* How many words the command was. */
static int run(struct vhost_peer *peer, const char *path, char **words)
{
	const char *command = words[0];

	if (!strcmp(command, "size")) {
		printf("%" PRIu64 "\n", peer->size_bytes);
		return 1;
	}
	if (!strcmp(command, "stayed")) {
		if (peer->setups != 1)
			fail("it was hung up on", -ECONNRESET);
		return 1;
	}
	if (!strcmp(command, "hold")) {
		hold();
		return 1;
	}
	if (words[1] && !strcmp(command, "discard")) {
		discard(peer, path, strtoull(words[1], NULL, 0));
		return 2;
	}
	if (words[1] && !strcmp(command, "zeros")) {
		each_block(peer, path, command, 0, strtoull(words[1], NULL, 0));
		return 2;
	}
	if (!words[1] || !words[2])
		fail(command, -EINVAL);
	each_block(peer, path, command, strtoull(words[1], NULL, 0),
		   strtoull(words[2], NULL, 0));
	return 3;
}

int main(int argc, char **argv)
{
	struct vhost_peer peer;

	if (argc < 3)
		fail("usage: disk_peer SOCKET COMMAND...", -EINVAL);
	peer_init(&peer);
	peer.wants_inflight = true;
	connect_patiently(&peer, argv[1]);
	for (char **word = argv + 2; *word;)
		word += run(&peer, argv[1], word);
	peer_close(&peer);
	return 0;
}
