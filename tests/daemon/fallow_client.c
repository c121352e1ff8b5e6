/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A client with much that may vanish, and a little that may not.
 *
 *	fallow_client SOCKET PERSISTENT EPHEMERAL
 *
 * Puts so many pages that do not compress, then goes on putting ephemeral ones,
 * some thousands a second, until its standard input ends. Then compares all
 * persistent pages and prints "lost N". Status 0 only if none was lost.
 */
#include <config.h>

#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <tmem/tmem.h>

static void make_page(uint8_t *page, uint64_t state)
{
	for (size_t at = 0; at < TMEM_PAGE_SIZE; at += 8) {
		uint64_t z = state += UINT64_C(0x9e3779b97f4a7c15);

		z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
		z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
		z ^= z >> 31;
		memcpy(page + at, &z, 8);
	}
}

static uint32_t fill(struct tmem_client *client, int pool, uint32_t first,
		     uint32_t count)
{
	_Alignas(8) uint8_t page[TMEM_PAGE_SIZE];
	struct tmem_oid oid = { { 1, 2, 3 } };
	uint32_t stored = 0;

	for (uint32_t i = first; i < first + count; i++) {
		make_page(page, (uint64_t)pool << 32 | i);
		stored += tmem_put(client, pool, &oid, i, page, 0) ==
			  TMEM_PUT_STORED;
	}
	return stored;
}

static uint32_t count_lost(struct tmem_client *client, int pool,
			   uint32_t count)
{
	_Alignas(8) uint8_t page[TMEM_PAGE_SIZE], want[TMEM_PAGE_SIZE];
	struct tmem_oid oid = { { 1, 2, 3 } };
	uint32_t lost = 0;

	for (uint32_t i = 0; i < count; i++) {
		make_page(want, (uint64_t)pool << 32 | i);
		lost += tmem_get(client, pool, &oid, i, page, 0) !=
				TMEM_GET_HIT ||
			memcmp(page, want, sizeof(page));
	}
	return lost;
}

int main(int argc, char **argv)
{
	struct pollfd input = { .fd = STDIN_FILENO, .events = POLLIN };
	struct tmem_connect_config config;
	struct tmem_client *client;
	int persistent, ephemeral;
	uint32_t count, most, at = 0, lost;

	if (argc != 4)
		return 2;
	count = (uint32_t)strtoul(argv[2], NULL, 10);
	most = (uint32_t)strtoul(argv[3], NULL, 10);
	tmem_connect_config_init(&config);
	config.socket = argv[1];
	config.name = "fallow";
	if (tmem_connect(&config, &client))
		return 1;
	persistent = tmem_pool_create(client, TMEM_POOL_PERSISTENT, NULL);
	ephemeral = tmem_pool_create(client, 0, NULL);
	if (persistent < 0 || ephemeral < 0 ||
	    fill(client, persistent, 0, count) != count)
		return 1;
	while (at < most) {
		fill(client, ephemeral, at, 4096);
		at += 4096;
		/* The limit follows; it is not there beforehand. */
		poll(&input, 1, 10);
	}
	puts("ready");
	fflush(stdout);
	while (poll(&input, 1, 10) == 0) {
		fill(client, ephemeral, at % most, 256);
		at += 256;
	}
	lost = count_lost(client, persistent, count);
	printf("lost %u\n", lost);
	tmem_client_detach(client);
	return lost != 0;
}
