/* SPDX-License-Identifier: BSD-2-Clause */
/* A guest of a simulation (see sim_guest.c). */
#ifndef TM_SIM_GUEST_H
#define TM_SIM_GUEST_H

#include <tmem/linux.h>

#include "balloon.h"
#include "selfballoon.h"
#include "sim_host.h"

enum tm_sim_place { TM_SIM_NOWHERE, TM_SIM_RESIDENT, TM_SIM_SWAPPED };

/* Lists, in the order of tm_sim_guest.heads. */
enum tm_sim_list {
	TM_SIM_FILE_INACTIVE,
	TM_SIM_FILE_ACTIVE,
	TM_SIM_ANON_INACTIVE,
	TM_SIM_ANON_ACTIVE,
	TM_SIM_LISTS
};

/* Some pages next to each other, which the model moves as one. */
struct tm_sim_cluster {
	uint32_t prev;
	uint32_t next;
	uint8_t place;
	uint8_t list;
	uint8_t is_referenced;
	uint8_t version;
};

/* A virtual CPU: how far it is, and how much of its share it did. */
struct tm_sim_vcpu {
	uint64_t now_ns;
	uint64_t units;
};

struct tm_sim_guest {
	struct tm_sim_host *host;
	struct tm_sim_guest_spec spec; /* changes on the way */
	struct tm_sim_series *series;
	unsigned number;
	uint64_t random;
	struct tm_sim_cluster *clusters; /* files, anonymous, heads */
	uint32_t file_clusters;
	uint32_t anon_room;
	uint32_t anon_clusters; /* in use now */
	uint64_t listed[TM_SIM_LISTS];
	uint64_t frames; /* that it has */
	uint64_t kept_clusters; /* by the kernel, of these */
	uint64_t reserve_pages; /* totalreserve */
	uint64_t swapped;
	uint64_t swap_clusters;
	uint64_t next_frame; /* names for the balloon's list */
	size_t trace_at;
	struct tm_sim_vcpu vcpus[64];
	struct tmem_client *client;
	struct tmem_hypercall *hypercall;
	struct tmem_cleancache *cleancache;
	struct tmem_cleancache_fs *fs;
	struct tmem_frontswap *frontswap;
	struct tmem_driver *driver;
	struct tm_balloon balloon;
	struct tm_selfballoon selfballoon;
	uint64_t wall_ns; /* the tick's time, for what the balloon does */
	int error;
};

int tm_sim_guest_boot(struct tm_sim_guest *guest, struct tm_sim_host *host,
		      const struct tm_sim_guest_spec *spec, unsigned number,
		      struct tm_sim_series *series);
void tm_sim_guest_end(struct tm_sim_guest *guest);

/* The program's memory is so large from now on. */
void tm_sim_guest_set_anon(struct tm_sim_guest *guest, uint64_t bytes,
			   uint64_t *now_ns);
/* Each moves *now_ns to when it is done. */
void tm_sim_guest_read(struct tm_sim_guest *guest, uint32_t file_cluster,
		       uint64_t *now_ns);
void tm_sim_guest_write(struct tm_sim_guest *guest, uint32_t file_cluster,
			uint64_t *now_ns);
void tm_sim_guest_touch(struct tm_sim_guest *guest, uint32_t anon_cluster,
			uint64_t *now_ns);

/* Balloon and selfballooning, once a second or so. */
void tm_sim_guest_tick(struct tm_sim_guest *guest, uint64_t now_ns);

uint64_t tm_sim_guest_random(struct tm_sim_guest *guest, uint64_t below);

#endif
