/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The host of a simulation.
 *
 *	machine = what guests have + what the store may have
 *
 * so that the store's limit follows the balloons: a guest that gives memory up
 * makes it larger, and one that wants memory back makes it smaller, down to
 * what persistent pages need. Then the guest gets less.
 *
 * One page of each cluster is really stored and stands for all of it, so the
 * store's limit is the real one divided by the grain. What a store needs once
 * (codec contexts, a frame begun in each size class) weighs the more for it:
 * the model's store holds rather less than the machine's would.
 *
 * The disk does one request after another: latency and transfer.
 */
#include <config.h>

#include <errno.h>
#include <string.h>

#include "sim_host.h"

static uint64_t store_limit(const struct tm_sim_host *host)
{
	uint64_t bytes =
		(host->clusters - host->given_clusters) * TMEM_PAGE_SIZE;

	return bytes > TMEM_MEMORY_MIN ? bytes : TMEM_MEMORY_MIN;
}

static int open_store(struct tm_sim_host *host,
		      const struct tm_sim_config *config)
{
	struct tmem_store_config store;
	struct tmem_xen_config xen;
	int err;

	tmem_store_config_init(&store);
	store.flags = TMEM_STORE_NO_LOCK | TMEM_STORE_NO_THREADS |
		      TMEM_STORE_SHARED_OPEN;
	store.memory_bytes = store_limit(host);
	store.memory_max_bytes = host->clusters * TMEM_PAGE_SIZE;
	if (store.memory_max_bytes < store.memory_bytes)
		store.memory_max_bytes = store.memory_bytes;
	store.codec = config->mode == TM_SIM_RAW ? "none" : config->codec;
	err = tmem_store_open(&store, &host->store);
	if (err)
		return err;
	tmem_xen_config_init(&xen);
	xen.store = host->store;
	return tmem_xen_open(&xen, &host->xen);
}

int tm_sim_host_open(struct tm_sim_host *host,
		     const struct tm_sim_config *config,
		     uint64_t guest_clusters)
{
	const struct tm_sim_scenario *s = config->scenario;

	memset(host, 0, sizeof(*host));
	host->config = config;
	host->scenario = s;
	host->clusters = s->memory_bytes / TMEM_PAGE_SIZE / s->grain;
	host->given_clusters = guest_clusters;
	return config->mode == TM_SIM_OFF ? 0 : open_store(host, config);
}

void tm_sim_host_close(struct tm_sim_host *host)
{
	tmem_xen_close(host->xen);
	tmem_store_close(host->store);
	memset(host, 0, sizeof(*host));
}

uint64_t tm_sim_host_give(struct tm_sim_host *host, uint64_t clusters)
{
	uint64_t free_clusters = host->clusters - host->given_clusters;

	if (clusters > free_clusters)
		clusters = free_clusters;
	/* A step less until what is persistent fits. */
	for (; clusters; clusters /= 2) {
		host->given_clusters += clusters;
		if (!host->store ||
		    !tmem_store_set_memory(host->store, store_limit(host)))
			return clusters;
		host->given_clusters -= clusters;
	}
	return 0;
}

void tm_sim_host_take_back(struct tm_sim_host *host, uint64_t clusters)
{
	host->given_clusters -= clusters;
	if (host->store)
		tmem_store_set_memory(host->store, store_limit(host));
}

uint64_t tm_sim_host_io(struct tm_sim_host *host, uint64_t now_ns)
{
	const struct tm_sim_scenario *s = host->scenario;
	uint64_t began_ns =
		host->disk_free_ns > now_ns ? host->disk_free_ns : now_ns;

	host->disk_free_ns = began_ns + s->disk_latency_ns +
			     s->grain * TMEM_PAGE_SIZE * TM_SIM_NS_PER_S /
				     s->disk_bytes_per_s;
	return host->disk_free_ns;
}

const uint8_t *tm_sim_host_page(const struct tm_sim_host *host, uint64_t guest,
				uint64_t cluster, uint64_t version)
{
	uint64_t n = tm_sim_mix(guest << 48 ^ version << 40 ^ cluster);

	return host->config->pages +
	       n % host->config->page_count * TMEM_PAGE_SIZE;
}
