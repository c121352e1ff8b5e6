/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What swapregion and cachefs have in common: this process as a Linux guest
 * with cleancache, frontswap and their driver, over a store of its own (by
 * hypercalls) or a daemon's (by its channel).
 */
#ifndef EXAMPLE_GUEST_H
#define EXAMPLE_GUEST_H

#include <tmem/linux.h>

struct guest {
	/* one of the two */
	struct tmem_store *store;
	struct tmem_client *client;
	struct tmem_xen *xen;
	struct tmem_hypercall *hypercall;
	struct tmem_cleancache *cleancache;
	struct tmem_frontswap *frontswap;
	struct tmem_driver *driver;
};

struct guest_options {
	const char *name; /* of the program, and of the client */
	const char *socket; /* of a daemon; NULL: a store of our own */
	uint64_t store_bytes; /* its memory; 0: no tmem at all */
};

/* 0, or a negative errno after a line that says why. */
int guest_open(struct guest *guest, const struct guest_options *options);
/* After all that was mounted and swapped on. */
void guest_close(struct guest *guest);

/* A size such as 64M from the command line; ends the program if it is none. */
uint64_t guest_size(const char *program, const char *text);

#endif
