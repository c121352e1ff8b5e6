/* SPDX-License-Identifier: BSD-2-Clause */
/* The simulator: plays a scenario over a real store (see sim.c). */
#ifndef TM_SIM_H
#define TM_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "scenario.h"

enum tm_sim_mode {
	TM_SIM_OFF, /* no tmem, and so no selfballooning */
	TM_SIM_RAW, /* pages are stored as they are */
	TM_SIM_ON,
};

/**
 * struct tm_sim_config - one run
 * @scenario: stays where it is during the run
 * @mode: with or without
 * @pages: contents, @page_count times 4096 bytes; guests' pages are copies of
 *	these
 * @page_count: at least one
 * @codec: of mode TM_SIM_ON; NULL: the build's default
 */
struct tm_sim_config {
	const struct tm_sim_scenario *scenario;
	enum tm_sim_mode mode;
	const uint8_t *pages;
	size_t page_count;
	const char *codec;
};

/* Since the beginning. Pages are real ones: clusters times the grain. */
struct tm_sim_counts {
	uint64_t disk_reads; /* requests, of a cluster each */
	uint64_t disk_writes;
	uint64_t faults; /* accesses that had to wait for something */
	uint64_t fault_ns; /* how long they did */
	uint64_t cpu_ns; /* in programs */
	uint64_t tmem_ns; /* in calls of tmem */
	uint64_t reads_saved; /* clusters that tmem had */
	uint64_t puts; /* pages */
	uint64_t refused; /* pages for frontswap */
	uint64_t units; /* of work done */
	uint64_t finished_ns; /* when all of them were; 0: they are not */
	uint64_t out_of_memory; /* accesses that found no frame */
};

struct tm_sim_sample {
	uint64_t at_ns;
	uint64_t memory_bytes; /* the guest's reservation */
	uint64_t cache_bytes;
	uint64_t swapped_bytes; /* in tmem or on the disk */
	uint64_t tmem_pages;
	uint64_t tmem_bytes; /* what they take */
	uint64_t disk_reads;
	uint64_t disk_writes;
};

struct tm_sim_series {
	char name[40];
	struct tm_sim_sample *samples;
	size_t count;
	struct tm_sim_counts counts;
};

struct tm_sim_result {
	struct tm_sim_series *guests;
	size_t guest_count;
	struct tm_sim_counts totals;
	uint64_t *used_bytes; /* of the store, at each sample */
	size_t sample_count;
	uint64_t evicted; /* pages */
};

/**
 * tm_sim_run() - play it
 * @config: read during the call
 * @result: freed by tm_sim_result_free(), also after an error
 *
 * The same configuration gives the same result, whatever the machine.
 *
 * Return: 0; -EBADMSG: a page came back wrong; or a negative errno.
 */
int tm_sim_run(const struct tm_sim_config *config,
	       struct tm_sim_result *result);
void tm_sim_result_free(struct tm_sim_result *result);

#endif
