/* SPDX-License-Identifier: BSD-2-Clause */
/* The host of a simulation: memory, one disk, one store (see sim_host.c). */
#ifndef TM_SIM_HOST_H
#define TM_SIM_HOST_H

#include <tmem/linux.h>

#include "sim.h"

struct tm_sim_host {
	const struct tm_sim_config *config;
	const struct tm_sim_scenario *scenario;
	struct tmem_store *store; /* NULL: no tmem */
	struct tmem_xen *xen;
	uint64_t clusters; /* of the machine */
	uint64_t given_clusters; /* to guests */
	uint64_t disk_free_ns;
};

int tm_sim_host_open(struct tm_sim_host *host,
		     const struct tm_sim_config *config,
		     uint64_t guest_clusters);
void tm_sim_host_close(struct tm_sim_host *host);

/* Guests want @clusters more: how many they get. What is not theirs is the
 * store's, and ephemeral pages make room. */
uint64_t tm_sim_host_give(struct tm_sim_host *host, uint64_t clusters);
void tm_sim_host_take_back(struct tm_sim_host *host, uint64_t clusters);

/* A request to the disk at @now_ns, of one cluster: when it is done. */
uint64_t tm_sim_host_io(struct tm_sim_host *host, uint64_t now_ns);

/* The contents of a cluster's one stored page. */
const uint8_t *tm_sim_host_page(const struct tm_sim_host *host, uint64_t guest,
				uint64_t cluster, uint64_t version);

/* splitmix64: numbers by chance that everybody's machine agrees upon. */
static inline uint64_t tm_sim_mix(uint64_t x)
{
	x += UINT64_C(0x9e3779b97f4a7c15);
	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

#endif
