/* SPDX-License-Identifier: BSD-2-Clause */
/* What the simulator plays: a host, its guests, and what they do (see
 * scenario.c and tmem-sim(1)). */
#ifndef TM_SCENARIO_H
#define TM_SCENARIO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TM_SIM_GUESTS_MAX 64
#define TM_SIM_CHANGES_MAX 256
#define TM_SIM_NS_PER_S UINT64_C(1000000000)

/* One row of a recorded trace. */
struct tm_sim_trace_row {
	uint64_t at_ns;
	uint64_t committed_bytes;
	uint64_t anon_bytes;
	uint64_t touched_bytes; /* per second, of anonymous memory */
	uint64_t read_bytes; /* per second, of the page cache */
};

/* What a guest is and does; every number has a row in scenario.c's table. */
struct tm_sim_guest_spec {
	char name[32];
	uint64_t count;
	uint64_t memory_bytes;
	uint64_t maxmem_bytes;
	uint64_t floor_of_maxmem; /* 1: as the original */
	uint64_t kernel_bytes;
	uint64_t swap_bytes;
	uint64_t files_bytes;
	uint64_t cached_bytes;
	uint64_t shared;
	uint64_t vcpus;
	uint64_t weight;
	uint64_t reservation_bytes;
	uint64_t cap_bytes;
	uint64_t selfballooning;
	uint64_t start_ns;
	/* work: may change on the way */
	uint64_t anon_bytes;
	uint64_t committed_bytes; /* 0: as anon_bytes */
	uint64_t rate; /* units per second; 0: as many as can be */
	uint64_t units; /* and no more than these; 0: no end */
	uint64_t reads;
	uint64_t touches;
	uint64_t writes;
	uint64_t cpu_ns;
	uint64_t hot_pct;
	uint64_t hot_refs_pct;
	struct tm_sim_trace_row *trace;
	size_t trace_count;
};

/* From @at_ns on a number of a guest is another. */
struct tm_sim_change {
	char guest[32];
	uint64_t at_ns;
	size_t offset;
	uint64_t value;
};

struct tm_sim_scenario {
	char name[64];
	char about[200];
	uint64_t seed;
	uint64_t duration_ns;
	uint64_t sample_ns;
	uint64_t grain;
	/* the host */
	uint64_t memory_bytes;
	uint64_t disk_latency_ns;
	uint64_t disk_bytes_per_s;
	/* what a call costs its guest, per page */
	uint64_t put_ns;
	uint64_t get_ns;
	uint64_t raw_put_ns;
	uint64_t raw_get_ns;
	uint64_t fault_ns;
	struct tm_sim_guest_spec guests[TM_SIM_GUESTS_MAX];
	size_t guest_count;
	struct tm_sim_change changes[TM_SIM_CHANGES_MAX];
	size_t change_count;
};

/**
 * tm_sim_scenario_load() - read one
 * @scenario: freed by tm_sim_scenario_free(), also after an error
 * @path: the file; traces it names lie beside it
 * @error: takes "file:line: what is wrong"
 * @size: of @error
 *
 * Return: 0, or a negative errno.
 */
int tm_sim_scenario_load(struct tm_sim_scenario *scenario, const char *path,
			 char *error, size_t size);
void tm_sim_scenario_free(struct tm_sim_scenario *scenario);

#endif
