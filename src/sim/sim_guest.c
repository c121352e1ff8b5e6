/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A guest: page cache, anonymous memory, swap, reclaim and a balloon.
 *
 * Memory is clusters of a few pages (the grain), each of a file or anonymous.
 * Resident ones are on one of four lists, active and inactive, as Linux has
 * them: a first use makes a cluster inactive, a second one active; reclaim
 * takes the oldest inactive one that was not used since, files first while
 * most of them are inactive, else by size and a swappiness of 60. What is
 * reclaimed goes through cleancache or frontswap of include/tmem/linux.h, the
 * driver and the Xen front end to the store, and is compared byte for byte when
 * it comes back.
 *
 *	frames = kept by the kernel + listed + free
 *
 * What the kernel keeps: 64 bytes for each page that it may ever have, its
 * image, slabs (a parameter), and the free memory of its watermarks.
 *
 * The bound: no dirty page cache (a write goes to the disk at once, without
 * waiting), no swap cache, and no readahead but the cluster.
 */
#include <config.h>

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sim_guest.h"

#define SWAPPINESS 60
#define SCAN_MAX 32
#define IMAGE_BYTES (UINT64_C(24) << 20)
#define STRUCT_PAGE_BYTES 64
/* A writer is stopped when the disk is so far behind. */
#define BACKLOG_NS TM_SIM_NS_PER_S
static const struct tmem_cleancache_file image_file = { .inode = 1 };

uint64_t tm_sim_guest_random(struct tm_sim_guest *g, uint64_t below)
{
	g->random = tm_sim_mix(g->random);
	return below ? g->random % below : 0;
}

static uint64_t to_clusters(const struct tm_sim_guest *g, uint64_t bytes)
{
	uint64_t cluster_bytes = TMEM_PAGE_SIZE * g->host->scenario->grain;

	return (bytes + cluster_bytes - 1) / cluster_bytes;
}

static bool is_file(const struct tm_sim_guest *g, uint32_t n)
{
	return n < g->file_clusters;
}

/* --- lists ---------------------------------------------------------------- */

static uint32_t head_of(const struct tm_sim_guest *g, unsigned list)
{
	return g->file_clusters + g->anon_room + list;
}

static void unlist(struct tm_sim_guest *g, uint32_t n)
{
	struct tm_sim_cluster *c = &g->clusters[n];

	g->clusters[c->prev].next = c->next;
	g->clusters[c->next].prev = c->prev;
	g->listed[c->list]--;
}

static void list_first(struct tm_sim_guest *g, uint32_t n, unsigned list)
{
	struct tm_sim_cluster *c = &g->clusters[n];
	uint32_t head = head_of(g, list);

	c->list = (uint8_t)list;
	c->prev = head;
	c->next = g->clusters[head].next;
	g->clusters[c->next].prev = n;
	g->clusters[head].next = n;
	g->listed[list]++;
}

static void mark_used(struct tm_sim_guest *g, uint32_t n)
{
	struct tm_sim_cluster *c = &g->clusters[n];

	if (c->is_referenced && !(c->list & 1)) {
		unlist(g, n);
		list_first(g, n, c->list | 1u);
		c->is_referenced = 0;
	} else {
		c->is_referenced = 1;
	}
}

static uint64_t resident(const struct tm_sim_guest *g)
{
	return g->listed[0] + g->listed[1] + g->listed[2] + g->listed[3];
}

/* --- going out ------------------------------------------------------------ */

static const uint8_t *contents(const struct tm_sim_guest *g, uint32_t n)
{
	bool is_common = g->spec.shared && is_file(g, n);

	return tm_sim_host_page(g->host, is_common ? 0 : g->number + 1, n,
				g->clusters[n].version);
}

static void charge(struct tm_sim_guest *g, uint64_t raw_ns, uint64_t ns,
		   uint64_t *now_ns)
{
	bool is_raw = g->host->config->mode == TM_SIM_RAW;
	uint64_t cost_ns = (is_raw ? raw_ns : ns) * g->host->scenario->grain;

	if (!g->host->store)
		return;
	g->series->counts.tmem_ns += cost_ns;
	*now_ns += cost_ns;
}

static void charge_put(struct tm_sim_guest *g, uint64_t *now_ns)
{
	charge(g, g->host->scenario->raw_put_ns, g->host->scenario->put_ns,
	       now_ns);
	g->series->counts.puts += g->host->scenario->grain;
}

static void charge_get(struct tm_sim_guest *g, uint64_t *now_ns)
{
	charge(g, g->host->scenario->raw_get_ns, g->host->scenario->get_ns,
	       now_ns);
}

static void write_to_disk(struct tm_sim_guest *g, uint64_t *now_ns)
{
	uint64_t done_ns = tm_sim_host_io(g->host, *now_ns);

	g->series->counts.disk_writes++;
	if (done_ns > *now_ns + BACKLOG_NS)
		*now_ns = done_ns - BACKLOG_NS;
}

static void drop_file(struct tm_sim_guest *g, uint32_t n, uint64_t *now_ns)
{
	unlist(g, n);
	g->clusters[n].place = TM_SIM_NOWHERE;
	if (!g->host->store)
		return;
	tmem_cleancache_put(g->fs, &image_file, n, contents(g, n));
	charge_put(g, now_ns);
}

static void swap_out(struct tm_sim_guest *g, uint32_t n, uint64_t *now_ns)
{
	uint32_t slot = n - g->file_clusters;

	unlist(g, n);
	g->clusters[n].place = TM_SIM_SWAPPED;
	g->swapped++;
	if (g->host->store) {
		charge_put(g, now_ns);
		if (tmem_frontswap_store(g->frontswap, 0, slot,
					 contents(g, n)) ==
		    TMEM_FRONTSWAP_STORED)
			return;
		g->series->counts.refused += g->host->scenario->grain;
	}
	write_to_disk(g, now_ns);
}

/* Makes the oldest active ones inactive until there are as many of these. */
static void balance(struct tm_sim_guest *g, unsigned inactive)
{
	while (g->listed[inactive] < g->listed[inactive + 1]) {
		uint32_t n = g->clusters[head_of(g, inactive + 1)].prev;

		unlist(g, n);
		list_first(g, n, inactive);
		g->clusters[n].is_referenced = 0;
	}
}

/* The oldest that was not used since, or after some tries the oldest. */
static uint32_t find_victim(struct tm_sim_guest *g, unsigned inactive)
{
	uint32_t head = head_of(g, inactive);

	for (unsigned i = 0; i < SCAN_MAX; i++) {
		uint32_t n = g->clusters[head].prev;

		if (n == head || !g->clusters[n].is_referenced)
			return n;
		g->clusters[n].is_referenced = 0;
		unlist(g, n);
		list_first(g, n, inactive + 1);
		balance(g, inactive);
	}
	return g->clusters[head].prev;
}

static bool picks_file(struct tm_sim_guest *g)
{
	uint64_t files =
		g->listed[TM_SIM_FILE_INACTIVE] + g->listed[TM_SIM_FILE_ACTIVE];
	uint64_t anons =
		g->listed[TM_SIM_ANON_INACTIVE] + g->listed[TM_SIM_ANON_ACTIVE];
	uint64_t file_weight = files * (200 - SWAPPINESS);

	if (!files || !anons || g->swapped >= g->swap_clusters)
		return files;
	if (g->listed[TM_SIM_FILE_INACTIVE] > g->listed[TM_SIM_FILE_ACTIVE])
		return true;
	return tm_sim_guest_random(g, file_weight + anons * SWAPPINESS) <
	       file_weight;
}

/* One cluster goes. False: there is none that could. */
static bool reclaim(struct tm_sim_guest *g, uint64_t *now_ns)
{
	bool is_file_wanted = picks_file(g);
	unsigned inactive =
		is_file_wanted ? TM_SIM_FILE_INACTIVE : TM_SIM_ANON_INACTIVE;
	uint32_t n;

	if (!is_file_wanted && g->swapped >= g->swap_clusters)
		return false;
	balance(g, inactive);
	n = find_victim(g, inactive);
	if (n == head_of(g, inactive))
		return false;
	if (is_file_wanted)
		drop_file(g, n, now_ns);
	else
		swap_out(g, n, now_ns);
	return true;
}

/* --- coming in ------------------------------------------------------------ */

static bool make_room(struct tm_sim_guest *g, uint64_t *now_ns)
{
	while (resident(g) + g->kept_clusters >= g->frames)
		if (!reclaim(g, now_ns)) {
			g->series->counts.out_of_memory++;
			return false;
		}
	return true;
}

static void settle(struct tm_sim_guest *g, uint32_t n, unsigned list)
{
	g->clusters[n].place = TM_SIM_RESIDENT;
	g->clusters[n].is_referenced = 1;
	list_first(g, n, list);
}

static void compare(struct tm_sim_guest *g, uint32_t n, const uint8_t *page)
{
	if (memcmp(page, contents(g, n), TMEM_PAGE_SIZE))
		g->error = -EBADMSG;
}

static void read_from_disk(struct tm_sim_guest *g, uint64_t *now_ns)
{
	g->series->counts.disk_reads++;
	*now_ns = tm_sim_host_io(g->host, *now_ns);
}

static void fetch_file(struct tm_sim_guest *g, uint32_t n, uint64_t *now_ns)
{
	uint8_t page[TMEM_PAGE_SIZE];

	if (g->host->store) {
		charge_get(g, now_ns);
		if (tmem_cleancache_get(g->fs, &image_file, n, page) ==
		    TMEM_GET_HIT) {
			compare(g, n, page);
			g->series->counts.reads_saved++;
			return;
		}
	}
	read_from_disk(g, now_ns);
}

static void fetch_swapped(struct tm_sim_guest *g, uint32_t n, uint64_t *now_ns)
{
	uint32_t slot = n - g->file_clusters;
	uint8_t page[TMEM_PAGE_SIZE];
	int result = TMEM_FRONTSWAP_MISS;

	g->swapped--;
	if (g->host->store && tmem_frontswap_is_stored(g->frontswap, 0, slot)) {
		charge_get(g, now_ns);
		result = tmem_frontswap_load(g->frontswap, 0, slot, page);
		/* It was acknowledged. */
		if (result != TMEM_FRONTSWAP_HIT)
			g->error = -EBADMSG;
	}
	if (result == TMEM_FRONTSWAP_HIT) {
		compare(g, n, page);
		g->series->counts.reads_saved++;
		tmem_frontswap_invalidate_page(g->frontswap, 0, slot);
		return;
	}
	read_from_disk(g, now_ns);
}

void tm_sim_guest_read(struct tm_sim_guest *g, uint32_t n, uint64_t *now_ns)
{
	uint64_t began_ns = *now_ns;

	if (g->clusters[n].place == TM_SIM_RESIDENT) {
		mark_used(g, n);
		return;
	}
	if (make_room(g, now_ns)) {
		fetch_file(g, n, now_ns);
		settle(g, n, TM_SIM_FILE_INACTIVE);
	}
	g->series->counts.faults++;
	g->series->counts.fault_ns += *now_ns - began_ns;
}

void tm_sim_guest_write(struct tm_sim_guest *g, uint32_t n, uint64_t *now_ns)
{
	if (g->clusters[n].place == TM_SIM_RESIDENT) {
		mark_used(g, n);
	} else if (make_room(g, now_ns)) {
		settle(g, n, TM_SIM_FILE_INACTIVE);
	}
	/* Others have the image too: what one writes is its own, elsewhere. */
	if (!g->spec.shared) {
		if (g->host->store)
			tmem_cleancache_invalidate_page(g->fs, &image_file, n);
		g->clusters[n].version++;
	}
	write_to_disk(g, now_ns);
}

void tm_sim_guest_touch(struct tm_sim_guest *g, uint32_t anon, uint64_t *now_ns)
{
	uint32_t n = g->file_clusters + anon;
	uint64_t began_ns = *now_ns;

	if (g->clusters[n].place == TM_SIM_RESIDENT) {
		mark_used(g, n);
		return;
	}
	if (!make_room(g, now_ns))
		return;
	if (g->clusters[n].place == TM_SIM_SWAPPED) {
		fetch_swapped(g, n, now_ns);
		g->series->counts.faults++;
		g->series->counts.fault_ns += *now_ns - began_ns;
	} else {
		*now_ns +=
			g->host->scenario->fault_ns * g->host->scenario->grain;
	}
	g->clusters[n].version++;
	settle(g, n, TM_SIM_ANON_ACTIVE);
}

static void free_anon(struct tm_sim_guest *g, uint32_t anon)
{
	struct tm_sim_cluster *c = &g->clusters[g->file_clusters + anon];

	if (c->place == TM_SIM_RESIDENT)
		unlist(g, g->file_clusters + anon);
	if (c->place == TM_SIM_SWAPPED) {
		g->swapped--;
		if (g->host->store)
			tmem_frontswap_invalidate_page(g->frontswap, 0, anon);
	}
	c->place = TM_SIM_NOWHERE;
}

void tm_sim_guest_set_anon(struct tm_sim_guest *g, uint64_t bytes,
			   uint64_t *now_ns)
{
	uint64_t wanted = to_clusters(g, bytes);

	if (wanted > g->anon_room)
		wanted = g->anon_room;
	while (g->anon_clusters > wanted)
		free_anon(g, --g->anon_clusters);
	while (g->anon_clusters < wanted)
		tm_sim_guest_touch(g, g->anon_clusters++, now_ns);
}

/* --- the balloon ---------------------------------------------------------- */

static size_t take_frames(void *opaque, uint64_t *frames, size_t max)
{
	struct tm_sim_guest *g = opaque;
	size_t count = 0;

	/* NORETRY: reclaims what is easy, kills nobody. */
	while (count < max) {
		if (resident(g) + g->kept_clusters >= g->frames &&
		    !reclaim(g, &g->wall_ns))
			break;
		g->frames--;
		frames[count++] = g->next_frame++;
	}
	return count;
}

static void give_frames(void *opaque, const uint64_t *frames, size_t count)
{
	struct tm_sim_guest *g = opaque;

	(void)frames;
	g->frames += count;
}

static int64_t populate(void *opaque, const uint64_t *frames, size_t count)
{
	struct tm_sim_guest *g = opaque;
	uint64_t given = tm_sim_host_give(g->host, count);

	(void)frames;
	return given ? (int64_t)given : -ENOMEM;
}

static int64_t release(void *opaque, const uint64_t *frames, size_t count)
{
	struct tm_sim_guest *g = opaque;

	(void)frames;
	tm_sim_host_take_back(g->host, count);
	return (int64_t)count;
}

static bool may_commit(void *opaque, uint64_t clusters)
{
	const struct tm_sim_guest *g = opaque;

	return resident(g) + g->kept_clusters + clusters <= g->frames;
}

static int unuse(void *opaque, unsigned type, uint64_t slot)
{
	struct tm_sim_guest *g = opaque;

	(void)type;
	tm_sim_guest_touch(g, (uint32_t)slot, &g->wall_ns);
	return g->clusters[g->file_clusters + slot].place == TM_SIM_RESIDENT
		       ? 0
		       : -ENOMEM;
}

/* What the kernel would read of itself, in pages. */
static void read_guest(const struct tm_sim_guest *g,
		       struct tm_selfballoon_reading *reading)
{
	const struct tm_sim_guest_spec *s = &g->spec;
	uint64_t grain = g->host->scenario->grain;
	uint64_t committed_bytes =
		s->committed_bytes ? s->committed_bytes : s->anon_bytes;
	uint64_t image_pages =
		(IMAGE_BYTES + s->maxmem_bytes / 4096 * STRUCT_PAGE_BYTES) /
		TMEM_PAGE_SIZE;

	memset(reading, 0, sizeof(*reading));
	reading->usable_pages = g->frames * grain - image_pages;
	reading->committed_pages = committed_bytes / TMEM_PAGE_SIZE;
	reading->reserve_pages = g->reserve_pages;
	if (g->frontswap)
		reading->frontswap_pages =
			tmem_frontswap_pages(g->frontswap, -1) * grain;
	reading->max_pages =
		(s->floor_of_maxmem ? s->maxmem_bytes : s->memory_bytes) /
		TMEM_PAGE_SIZE;
	reading->current_pages = g->balloon.current_pages * grain;
}

static void run_selfballoon(struct tm_sim_guest *g, uint64_t now_ns)
{
	static const struct tmem_frontswap_vm vm = { sizeof(vm), may_commit,
						     unuse };
	uint64_t grain = g->host->scenario->grain;
	struct tm_selfballoon_reading reading;
	struct tm_selfballoon_step step;

	if (!tm_selfballoon_is_due(&g->selfballoon, now_ns))
		return;
	read_guest(g, &reading);
	tm_selfballoon_pass(&g->selfballoon, &reading, now_ns, &step);
	if (step.has_target)
		tm_balloon_set_target(&g->balloon,
				      (step.target_pages + grain - 1) / grain,
				      now_ns);
	if (step.has_shrink)
		tmem_frontswap_shrink(g->frontswap,
				      step.frontswap_pages / grain, &vm, g);
}

void tm_sim_guest_tick(struct tm_sim_guest *g, uint64_t now_ns)
{
	g->wall_ns = now_ns;
	run_selfballoon(g, now_ns);
	tm_balloon_work(&g->balloon, now_ns);
}

/* --- coming up ------------------------------------------------------------ */

/*
 * Watermarks and lowmem reserves, as kernels of the time compute them from
 * what a guest booted with: min = 4 * sqrt(KiB) KiB, high = 1.5 of it; the
 * zones below 16 MiB and 4 GiB are kept from those above by 1/256 of these.
 */
static uint64_t reserve_pages(uint64_t memory_bytes)
{
	double kib = (double)(memory_bytes >> 10);
	double high_kib = 1.5 * 4 * sqrt(kib);
	double dma_kib = kib / 256 < 16384 ? kib / 256 : 16384;
	double dma32_kib = kib > 4194304 ? (kib - 4194304) / 256 : 0;

	return (uint64_t)((high_kib + dma_kib + dma32_kib) / 4);
}

static int lay_out(struct tm_sim_guest *g)
{
	const struct tm_sim_guest_spec *s = &g->spec;
	const struct tm_sim_scenario *scenario = g->host->scenario;
	uint64_t anon_bytes = s->anon_bytes, total;
	double high_bytes =
		1.5 * 4 * sqrt((double)(s->memory_bytes >> 10)) * 1024;

	for (size_t i = 0; i < scenario->change_count; i++)
		if (scenario->changes[i].value > anon_bytes &&
		    scenario->changes[i].offset ==
			    offsetof(struct tm_sim_guest_spec, anon_bytes))
			anon_bytes = scenario->changes[i].value;
	for (size_t i = 0; i < s->trace_count; i++)
		if (s->trace[i].anon_bytes > anon_bytes)
			anon_bytes = s->trace[i].anon_bytes;
	g->file_clusters = (uint32_t)to_clusters(g, s->files_bytes);
	g->anon_room = (uint32_t)to_clusters(g, anon_bytes);
	total = to_clusters(g, s->files_bytes) + to_clusters(g, anon_bytes) +
		TM_SIM_LISTS;
	if (total >= UINT32_MAX)
		return -EINVAL;
	g->clusters = calloc(total, sizeof(*g->clusters));
	if (!g->clusters)
		return -ENOMEM;
	for (unsigned i = 0; i < TM_SIM_LISTS; i++)
		g->clusters[head_of(g, i)].next =
			g->clusters[head_of(g, i)].prev = head_of(g, i);
	g->frames = to_clusters(g, s->memory_bytes);
	g->kept_clusters = to_clusters(
		g, IMAGE_BYTES + s->kernel_bytes + (uint64_t)high_bytes +
			   s->maxmem_bytes / 4096 * STRUCT_PAGE_BYTES);
	g->reserve_pages = reserve_pages(s->memory_bytes);
	g->swap_clusters = to_clusters(g, s->swap_bytes);
	return 0;
}

static int mount(struct tm_sim_guest *g)
{
	static const uint8_t image[16] = "tmem sim image.";
	struct tmem_cleancache_fs_config config;
	int err;

	tmem_cleancache_fs_config_init(&config);
	if (g->spec.shared)
		config.uuid = image;
	err = tmem_cleancache_mount(g->cleancache, &config, &g->fs);
	/* Every slot of the model's swap is its cluster's own. */
	if (!err && g->anon_room)
		err = tmem_frontswap_swapon(g->frontswap, 0, g->anon_room);
	return err;
}

static int open_tmem(struct tm_sim_guest *g)
{
	uint64_t grain = g->host->scenario->grain;
	struct tmem_xen_domain_config domain;
	struct tmem_client_config client;
	struct tmem_driver_config driver;
	int err;

	tmem_client_config_init(&client);
	client.name = g->series->name;
	client.weight = (uint32_t)g->spec.weight;
	client.reservation_bytes = g->spec.reservation_bytes / grain;
	client.cap_bytes = g->spec.cap_bytes / grain;
	err = tmem_client_attach(g->host->store, &client, &g->client);
	if (err < 0)
		return err;
	tmem_xen_domain_config_init(&domain);
	domain.id = (uint16_t)(g->number + 1);
	domain.client = g->client;
	err = tmem_hypercall_open_domain(g->host->xen, &domain, &g->hypercall);
	if (!err)
		err = tmem_cleancache_create(&g->cleancache);
	if (!err)
		err = tmem_frontswap_create(&g->frontswap);
	if (err)
		return err;
	tmem_driver_config_init(&driver);
	driver.hypercall = g->hypercall;
	driver.cleancache = g->cleancache;
	driver.frontswap = g->frontswap;
	driver.is_enabled = true;
	err = tmem_driver_open(&driver, &g->driver);
	return err ? err : mount(g);
}

static int open_balloon(struct tm_sim_guest *g)
{
	const struct tm_balloon_ops ops = {
		take_frames, give_frames, populate, release, NULL, NULL, g
	};
	uint64_t extra = to_clusters(g, g->spec.maxmem_bytes) - g->frames;
	const struct tm_selfballoon_boot boot = {
		.is_guest = true,
		.has_balloon = true,
		.is_tmem_enabled = g->host->store,
		.is_frontswap_built = true,
		.is_frontswap_enabled = g->host->store,
		.noselfballooning = !g->spec.selfballooning,
		.noselfshrink = !g->spec.selfballooning,
	};

	tm_balloon_init(&g->balloon, &ops, TM_BALLOON_BATCH_64BIT, g->frames);
	while (extra--) {
		int err = tm_balloon_add_extra(&g->balloon, &g->next_frame, 1);

		if (err)
			return err;
		g->next_frame++;
	}
	return tm_selfballoon_init(&g->selfballoon, &boot, g->spec.start_ns);
}

int tm_sim_guest_boot(struct tm_sim_guest *g, struct tm_sim_host *host,
		      const struct tm_sim_guest_spec *spec, unsigned number,
		      struct tm_sim_series *series)
{
	uint64_t cached, now_ns;
	int err;

	memset(g, 0, sizeof(*g));
	g->host = host;
	g->spec = *spec;
	g->series = series;
	g->number = number;
	g->random = tm_sim_mix(host->scenario->seed) ^ number;
	err = lay_out(g);
	if (!err && host->store)
		err = open_tmem(g);
	if (!err)
		err = open_balloon(g);
	if (err)
		return err;
	/* What was there before the beginning was free of charge. */
	now_ns = 0;
	tm_sim_guest_set_anon(g, spec->anon_bytes, &now_ns);
	cached = to_clusters(g, spec->cached_bytes);
	for (uint32_t n = 0; n < cached; n++)
		if (resident(g) + g->kept_clusters < g->frames)
			settle(g, n, TM_SIM_FILE_INACTIVE);
	memset(&series->counts, 0, sizeof(series->counts));
	for (size_t i = 0; i < spec->vcpus; i++)
		g->vcpus[i].now_ns = spec->start_ns;
	return 0;
}

void tm_sim_guest_end(struct tm_sim_guest *g)
{
	tmem_cleancache_unmount(g->fs);
	tmem_cleancache_destroy(g->cleancache);
	tmem_frontswap_destroy(g->frontswap);
	tmem_driver_close(g->driver);
	tmem_hypercall_close(g->hypercall);
	tmem_client_detach(g->client);
	tm_balloon_destroy(&g->balloon);
	free(g->clusters);
	memset(g, 0, sizeof(*g));
}
