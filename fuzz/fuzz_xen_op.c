/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A hostile guest: any operations whatever, in its memory or out of it.
 *
 * The input is a row of { what, bytes }: what says whether the guest calls
 * (as a 64-bit or a 32-bit one, for Xen's answers or plain ones, from its
 * memory or by copy; with so many bytes of the input as operation) or the host
 * does something (freezes, balloons, takes frames away, saves, lists). The
 * guest's frames hold the input itself.
 *
 * Whatever it is: every answer is one that there is, another guest's page is
 * there afterwards, byte for byte, the page behind the guest's memory is as it
 * was, and all sums of the store are right.
 */
#include <config.h>

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tmem/xen.h>

#include "keep_modules.h"

#define FRAMES 4
#define MUST(x) ((x) ? (void)0 : fail(#x))

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct guest {
	struct tmem_xen_domain *domain;
	struct tmem_guest_memory *memory;
	/* A page more than there are frames. */
	uint8_t ram[(FRAMES + 1) * TMEM_PAGE_SIZE];
};

struct host {
	struct tmem_store *store;
	struct tmem_xen *xen;
	struct guest guests[2];	/* one that calls, one that was there before */
};

struct input {
	const uint8_t *data;
	size_t size;
};

static _Noreturn void fail(const char *what)
{
	fprintf(stderr, "fuzz_xen_op: not so: %s\n", what);
	abort();
}

static uint8_t byte(struct input *input)
{
	if (!input->size)
		return 0;
	input->size--;
	return *input->data++;
}

static void begin_guest(struct host *host, int number)
{
	struct guest *guest = &host->guests[number];
	struct tmem_xen_domain_config config;
	struct tmem_client_config client;

	MUST(!tmem_guest_memory_create(&guest->memory));
	MUST(!tmem_guest_memory_add(guest->memory, 0, FRAMES, guest->ram,
				    true));
	tmem_client_config_init(&client);
	client.name = number ? "neighbour" : "guest";
	tmem_xen_domain_config_init(&config);
	config.id = (uint16_t)number;
	config.client_config = &client;
	config.memory = guest->memory;
	MUST(!tmem_xen_domain_create(host->xen, &config, &guest->domain));
}

static void end_guest(struct guest *guest)
{
	tmem_xen_domain_end(guest->domain);
	tmem_xen_domain_close(guest->domain);
	tmem_guest_memory_destroy(guest->memory);
}

/* The neighbour's page; it asks for it under the number 0, which is also what
 * a guest's field that is left out reads. */
static int neighbour(struct host *host, uint32_t cmd)
{
	struct tmem_xen_op op = { .cmd = cmd };

	if (cmd == TMEM_XEN_NEW_POOL)
		op.u.creat.flags =
			(uint32_t)TMEM_XEN_SPEC_VERSION
				<< TMEM_XEN_POOL_VERSION_SHIFT |
			TMEM_XEN_POOL_PERSIST;
	return tmem_xen_op(host->guests[1].domain, &op, sizeof(op), 0);
}

static void begin(struct host *host)
{
	struct tmem_store_config store;
	struct tmem_xen_config config;

	tmem_store_config_init(&store);
	store.memory_bytes = UINT64_C(1) << 20;
	store.memory_max_bytes = store.memory_bytes;
	store.flags = TMEM_STORE_NO_THREADS | TMEM_STORE_NO_LOCK;
	MUST(!tmem_store_open(&store, &host->store));
	tmem_xen_config_init(&config);
	config.store = host->store;
	MUST(!tmem_xen_open(&config, &host->xen));
	begin_guest(host, 0);
	begin_guest(host, 1);
	memset(host->guests[1].ram, 0x42, TMEM_PAGE_SIZE);
	host->guests[1].ram[7] = 0;
	MUST(neighbour(host, TMEM_XEN_NEW_POOL) == 0);
	MUST(neighbour(host, TMEM_XEN_PUT_PAGE) == 1);
}

static void end(struct host *host)
{
	uint8_t *ram = host->guests[1].ram;

	memset(ram, 0, TMEM_PAGE_SIZE);
	MUST(neighbour(host, TMEM_XEN_GET_PAGE) == 1);
	for (int i = 0; i < TMEM_PAGE_SIZE; i++)
		MUST(ram[i] == (i == 7 ? 0 : 0x42));
	ram = host->guests[0].ram + FRAMES * TMEM_PAGE_SIZE;
	for (int i = 0; i < TMEM_PAGE_SIZE; i++)
		MUST(ram[i] == 0x77);
	MUST(!tmem_store_check(host->store));
	end_guest(&host->guests[0]);
	end_guest(&host->guests[1]);
	tmem_xen_close(host->xen);
	tmem_store_close(host->store);
}

static bool is_xens(int result)
{
	switch (result) {
	case -EPERM:
	case -ENOMEM:
	case -EFAULT:
	case -ENODEV:
	case -ENOSPC:
	case -ENOSYS:
	case -EOPNOTSUPP:
	case -TMEM_XEN_EFROZEN:
	case -TMEM_XEN_EEMPTY:
		return true;
	}
	return result >= 0 && result < TMEM_XEN_POOLS_MAX;
}

#define IS_COMPAT 1
#define IS_PLAIN 2
#define REMOVES 4
#define IN_MEMORY 8
#define OF_THE_HOST 128

static void call(struct host *host, uint8_t what, struct input *input)
{
	struct guest *guest = &host->guests[0];
	uint8_t op[sizeof(struct tmem_xen_op)] = { 0 };
	size_t size = what & IS_COMPAT ? sizeof(struct tmem_xen_op_compat) :
					 sizeof(op);
	uint32_t flags = (what & IS_COMPAT ? TMEM_XEN_OP_COMPAT : 0) |
			 (what & IS_PLAIN ? TMEM_XEN_OP_PLAIN : 0) |
			 (what & REMOVES ? TMEM_XEN_OP_REMOVE : 0);
	int result;

	for (size_t i = 0; i < size; i++)
		op[i] = byte(input);
	if (what & IN_MEMORY) {
		/* Anywhere, also over the end. */
		uint64_t address = (uint64_t)byte(input) * 67;

		if (address + size <= FRAMES * TMEM_PAGE_SIZE)
			memcpy(guest->ram + address, op, size);
		result = tmem_xen_hypercall(guest->domain, address, flags);
	} else {
		result = tmem_xen_op(guest->domain, op, size, flags);
	}
	MUST(result >= -TMEM_XEN_EEMPTY && result < TMEM_XEN_POOLS_MAX);
	MUST((what & IS_PLAIN) || is_xens(result));
}

static void control(struct host *host, struct input *input)
{
	static uint8_t buffer[8192];
	struct tmem_xen_sysctl op = { 0 };

	op.cmd = byte(input) % 40;
	op.pool_id = (int8_t)byte(input);
	op.cli_id = byte(input) % 3;	/* one of them is nobody */
	/* The neighbour keeps what it has. */
	if (op.cli_id == 1)
		op.cli_id = 0;
	op.len = (uint32_t)byte(input) * 32;
	op.arg = byte(input);
	op.oid[0] = byte(input);
	for (size_t i = 0; i < 64; i++)
		buffer[i] = byte(input);
	op.buffer = (uintptr_t)buffer;
	if (op.cmd != TMEM_XEN_OP_RESTORE_PUT_PAGE &&
	    op.cmd != TMEM_XEN_OP_SAVE_GET_NEXT_PAGE && op.len > 4096)
		op.len = 4096;
	tmem_xen_control(host->xen, &op);
}

static void of_the_host(struct host *host, uint8_t what, struct input *input)
{
	struct guest *guest = &host->guests[0];
	uint8_t value = byte(input);
	int result;

	switch (what % 8) {
	case 0:
		tmem_guest_memory_remove(guest->memory, value % 8, 1);
		break;
	case 1:
		result = tmem_guest_memory_add(
			guest->memory, value % FRAMES, 1,
			guest->ram + value % FRAMES * TMEM_PAGE_SIZE,
			value & 16);
		MUST(!result || result == -EEXIST);
		break;
	case 2:
		tmem_xen_domain_set_pages(guest->domain, value,
					  byte(input) * UINT64_C(2));
		break;
	case 3:
		tmem_store_evict(host->store, value * UINT64_C(4096));
		break;
	case 4:
		tmem_store_step(host->store);
		break;
	case 5:
		if (value & 1)
			tmem_xen_domain_end(guest->domain);
		break;
	default:
		control(host, input);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct host host;
	struct input input = { data, size };
	uint8_t *ram = host.guests[0].ram;

	keep_modules();
	for (size_t i = 0; i < FRAMES * TMEM_PAGE_SIZE; i++)
		ram[i] = size ? data[i % size] : 0;
	memset(ram + FRAMES * TMEM_PAGE_SIZE, 0x77, TMEM_PAGE_SIZE);
	begin(&host);
	for (int i = 0; input.size && i < 200; i++) {
		uint8_t what = byte(&input);

		if (what & OF_THE_HOST)
			of_the_host(&host, what, &input);
		else
			call(&host, what, &input);
	}
	end(&host);
	return 0;
}
