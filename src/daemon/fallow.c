/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Fallow memory: the store lives in what nobody else uses.
 *
 * The problem: memory that the store holds is memory that the host's programs
 * cannot have, and the host does not ask before it runs short. The idea: keep
 * a reserve free at all times, and look often enough that nobody can use it up
 * between two looks without being noticed.
 *
 *	spare = MemAvailable - reserve	(and the same for each cgroup above us,
 *					its memory.high or memory.max less what
 *					it uses)
 *	limit = used + spare
 *
 * When spare is negative, that much is given back: idle frames first, then
 * ephemeral pages, in the order eviction always has; never persistent ones.
 * The limit then stays at what is needed for those. It comes down first, or
 * guests who put meanwhile would have the memory, and not the host. A pressure
 * event (PSI) says that the host is short whatever MemAvailable says: then PRESSURE_BYTES
 * are given back too, and nothing grows for CALM_MS.
 *
 * Looking costs a read of /proc/meminfo each LOOK_MS, and only while there is
 * something to lose or somebody to grow: with nobody attached and less than
 * LITTLE_BYTES to give back, nothing is looked at until there is pressure.
 *
 * Bounds: a step gives back STEP_BYTES at most, so that its caller is not kept;
 * it is then called again at once. What others can take within LOOK_MS may
 * eat into the reserve.
 *
 * Used by the main thread only.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "fallow.h"

#define LOOK_MS 200
#define CALM_MS 1000
#define STEP_BYTES (UINT64_C(64) << 20)
#define PRESSURE_BYTES (UINT64_C(32) << 20)
#define LITTLE_BYTES (UINT64_C(8) << 20)
#define RESERVE_PCT 5
#define RESERVE_BYTES (UINT64_C(512) << 20)
#define CGROUP_DEPTH_MAX 16
#define PATH_SIZE 512
/* Limits closer than this are as good as equal. */
#define STEADY_BYTES (UINT64_C(1) << 20)

struct tm_fallow {
	struct tm_daemon_log *log;
	struct tm_config_memory memory;
	int meminfo_fd;
	int pressure_fd;
	uint64_t total_bytes;
	uint64_t calm_from_ms;
	uint64_t lacking_bytes;	/* after the last step */
	char cgroups[PATH_SIZE];
	char own_cgroup[PATH_SIZE];	/* below cgroups; "": none */
	bool is_held;	/* said that persistent pages keep the limit up */
};

/* --- what the host says ----------------------------------------------------------- */

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* "NAME:   123 kB"; false: there is no such line. */
static bool find_kib(const char *text, const char *name, uint64_t *bytes)
{
	const char *at = strstr(text, name);

	if (!at || (at != text && at[-1] != '\n'))
		return false;
	at += strlen(name);
	*bytes = strtoull(at, NULL, 10) << 10;
	return true;
}

static int read_meminfo(const struct tm_fallow *fallow, uint64_t *total,
			uint64_t *available)
{
	char text[1024];
	ssize_t size = pread(fallow->meminfo_fd, text, sizeof(text) - 1, 0);

	if (size < 0)
		return -errno;
	text[size] = '\0';
	if (!find_kib(text, "MemTotal:", total) ||
	    !find_kib(text, "MemAvailable:", available))
		return -EOPNOTSUPP;
	return 0;
}

/* A number in a file of a cgroup; false: none there, or "max". */
static bool read_cgroup(const struct tm_fallow *fallow, const char *group,
			const char *name, uint64_t *bytes)
{
	char path[2 * PATH_SIZE + 32], text[32];
	ssize_t size;
	int fd;

	snprintf(path, sizeof(path), "%s%s/%s", fallow->cgroups, group, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	size = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (size < 1 || *text < '0' || *text > '9')
		return false;
	text[size] = '\0';
	*bytes = strtoull(text, NULL, 10);
	return true;
}

/* What one cgroup leaves free; UINT64_MAX: it has no limit. */
static uint64_t cgroup_free(const struct tm_fallow *fallow, const char *group)
{
	uint64_t high = UINT64_MAX, max = UINT64_MAX, current;

	if (!read_cgroup(fallow, group, "memory.high", &high))
		high = UINT64_MAX;
	if (!read_cgroup(fallow, group, "memory.max", &max))
		max = UINT64_MAX;
	high = min_u64(high, max);
	if (high == UINT64_MAX ||
	    !read_cgroup(fallow, group, "memory.current", &current))
		return UINT64_MAX;
	return current < high ? high - current : 0;
}

/* The least that our cgroup and those above it leave free. */
static uint64_t cgroups_free(const struct tm_fallow *fallow)
{
	uint64_t least = UINT64_MAX;
	char group[PATH_SIZE];

	strcpy(group, fallow->own_cgroup);
	for (int depth = 0; *group && depth < CGROUP_DEPTH_MAX; depth++) {
		least = min_u64(least, cgroup_free(fallow, group));
		*strrchr(group, '/') = '\0';
	}
	return least;
}

static void find_own_cgroup(struct tm_fallow *fallow, const char *path)
{
	FILE *file = fopen(path, "re");
	char line[PATH_SIZE];

	if (!file)
		return;
	while (fgets(line, sizeof(line), file)) {
		line[strcspn(line, "\n")] = '\0';
		/* The one hierarchy of version 2; "/" itself has no limit. */
		if (!strncmp(line, "0::/", 4) && line[4])
			snprintf(fallow->own_cgroup,
				 sizeof(fallow->own_cgroup), "%s", line + 3);
	}
	fclose(file);
}

/* Stalls of a tenth of a second within one, or what a user may ask for. */
static int watch_pressure(const char *path)
{
	static const char *const triggers[] = { "some 100000 1000000",
						"some 200000 2000000" };

	for (size_t i = 0; i < 2; i++) {
		int fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);

		if (fd < 0)
			return -1;
		if (write(fd, triggers[i], strlen(triggers[i]) + 1) > 0)
			return fd;
		close(fd);
	}
	return -1;
}

/* --- opening ------------------------------------------------------------------------ */

int tm_fallow_open(const struct tm_config_memory *memory,
		   const struct tm_fallow_host *host,
		   struct tm_daemon_log *log, struct tm_fallow **out)
{
	const char *meminfo = host->meminfo ? host->meminfo : "/proc/meminfo";
	struct tm_fallow *fallow = calloc(1, sizeof(*fallow));
	uint64_t available;
	int err;

	if (!fallow)
		return -ENOMEM;
	fallow->log = log;
	fallow->memory = *memory;
	fallow->pressure_fd = -1;
	fallow->meminfo_fd = open(meminfo, O_RDONLY | O_CLOEXEC);
	err = fallow->meminfo_fd < 0 ? -errno :
				       read_meminfo(fallow,
						    &fallow->total_bytes,
						    &available);
	if (err) {
		tm_daemon_log(log, TMEM_LOG_ERROR,
			      "%s does not say how much memory is available: "
			      "%s; give --memory a size",
			      meminfo, strerror(-err));
		tm_fallow_close(fallow);
		return err;
	}
	snprintf(fallow->cgroups, sizeof(fallow->cgroups), "%s",
		 host->cgroups ? host->cgroups : "/sys/fs/cgroup");
	find_own_cgroup(fallow, host->own_cgroup ? host->own_cgroup :
						   "/proc/self/cgroup");
	fallow->pressure_fd = watch_pressure(
		host->pressure ? host->pressure : "/proc/pressure/memory");
	if (fallow->pressure_fd < 0)
		tm_daemon_log(log, TMEM_LOG_INFO,
			      "the host does not tell of memory pressure (%s); "
			      "only MemAvailable is watched",
			      strerror(errno));
	*out = fallow;
	return 0;
}

void tm_fallow_close(struct tm_fallow *fallow)
{
	if (!fallow)
		return;
	if (fallow->meminfo_fd >= 0)
		close(fallow->meminfo_fd);
	if (fallow->pressure_fd >= 0)
		close(fallow->pressure_fd);
	free(fallow);
}

void tm_fallow_configure(struct tm_fallow *fallow,
			 const struct tm_config_memory *memory)
{
	fallow->memory = *memory;
}

int tm_fallow_pressure_fd(const struct tm_fallow *fallow)
{
	return fallow->pressure_fd;
}

/* --- the limit ------------------------------------------------------------------------ */

static uint64_t reserve_bytes(const struct tm_fallow *fallow)
{
	uint64_t part = fallow->total_bytes / 100 * RESERVE_PCT;

	if (fallow->memory.reserve_bytes)
		return fallow->memory.reserve_bytes;
	return part > RESERVE_BYTES ? part : RESERVE_BYTES;
}

/* What may still be taken; negative: what is to be given back. A host that no
 * longer answers has nothing to spare. */
static int64_t spare_bytes(struct tm_fallow *fallow)
{
	uint64_t total, available = 0;
	int64_t spare, own;

	if (read_meminfo(fallow, &total, &available))
		available = 0;
	spare = (int64_t)available - (int64_t)reserve_bytes(fallow);
	own = (int64_t)min_u64(cgroups_free(fallow), INT64_MAX);
	/* Of a cgroup's own share an eighth of the reserve is enough. */
	if (own != INT64_MAX)
		own -= (int64_t)(reserve_bytes(fallow) / 8);
	return own < spare ? own : spare;
}

static uint64_t limit_for(const struct tm_fallow *fallow, uint64_t used,
			  int64_t spare, uint64_t max)
{
	uint64_t back = spare < 0 ? (uint64_t)-spare : 0;
	uint64_t limit = spare > 0 ? used + (uint64_t)spare :
			 used > back ? used - back :
				       0;

	if (fallow->memory.max_bytes)
		max = min_u64(max, fallow->memory.max_bytes);
	limit = min_u64(limit, max);
	return limit < TMEM_MEMORY_MIN ? TMEM_MEMORY_MIN : limit;
}

uint64_t tm_fallow_limit(struct tm_fallow *fallow, uint64_t used_bytes,
			 uint64_t max_bytes)
{
	return limit_for(fallow, used_bytes, spare_bytes(fallow), max_bytes);
}

/* --- steps -------------------------------------------------------------------------------- */

/* Persistent pages and reservations stay, whatever the host lacks. */
static void set_limit(struct tm_fallow *fallow, struct tmem_store *store,
		      const struct tmem_store_stats *stats, uint64_t limit)
{
	uint64_t floor = stats->needed_bytes;
	int err = tmem_store_set_memory(store, limit);

	/* They may grow meanwhile: a little more room than was counted. */
	for (int i = 0; err == -EBUSY && i < 8; i++) {
		err = tmem_store_set_memory(store, floor);
		floor += STEADY_BYTES << i;
		if (!fallow->is_held)
			tm_daemon_log(fallow->log, TMEM_LOG_WARNING,
				      "the host is short of memory, and what "
				      "is held now (%" PRIu64 " MiB) is "
				      "persistent or guaranteed: it stays",
				      stats->needed_bytes >> 20);
		fallow->is_held = true;
	}
	if (limit > stats->needed_bytes)
		fallow->is_held = false;
}

static bool differ(uint64_t a, uint64_t b)
{
	return a > b ? a - b >= STEADY_BYTES : b - a >= STEADY_BYTES;
}

static void read_stats(struct tmem_store *store, struct tmem_store_stats *stats)
{
	*stats = (struct tmem_store_stats){
		.struct_size = sizeof(*stats),
		.counts.struct_size = sizeof(stats->counts),
	};
	tmem_store_get_stats(store, stats);
}

/* Is more to be given back than a step does? Lowered first, the limit keeps
 * guests from taking at once what goes. It cannot be lowered below what is
 * reserved, though nobody may hold that yet; pages go all the same. */
static bool give_back(struct tm_fallow *fallow, struct tmem_store *store,
		      struct tmem_store_stats *stats, int64_t spare)
{
	uint64_t back = (uint64_t)-spare, before = stats->used_bytes;
	int64_t step = (int64_t)min_u64(back, STEP_BYTES);
	bool has_freed;

	set_limit(fallow, store, stats,
		  limit_for(fallow, before, -step, UINT64_MAX));
	read_stats(store, stats);
	if (stats->used_bytes + (uint64_t)step > before) {
		tmem_store_evict(store, stats->used_bytes + (uint64_t)step -
						before);
		read_stats(store, stats);
	}
	has_freed = stats->used_bytes < before;
	if (!has_freed)
		fallow->lacking_bytes = back;
	return has_freed && back > STEP_BYTES;
}

uint64_t tm_fallow_lacking_bytes(const struct tm_fallow *fallow)
{
	return fallow->lacking_bytes;
}

int tm_fallow_step(struct tm_fallow *fallow, struct tmem_store *store,
		   bool is_pressed, bool is_in_use)
{
	uint64_t now_ms = tm_clock_now_ns(tm_clock_system()) / 1000000;
	int64_t spare = spare_bytes(fallow);
	struct tmem_store_stats stats;
	uint64_t limit;

	fallow->lacking_bytes = 0;
	read_stats(store, &stats);
	if (is_pressed) {
		fallow->calm_from_ms = now_ms + CALM_MS;
		spare = (spare < 0 ? spare : 0) - (int64_t)PRESSURE_BYTES;
	}
	if (spare > 0 && now_ms < fallow->calm_from_ms)
		spare = 0;
	if (spare < 0) {
		if (give_back(fallow, store, &stats, spare))
			return 0;
	} else {
		limit = limit_for(fallow, stats.used_bytes, spare,
				  stats.memory_max_bytes);
		if (differ(limit, stats.memory_bytes))
			set_limit(fallow, store, &stats, limit);
	}
	if (is_in_use || stats.freeable_bytes - stats.idle_bytes >= LITTLE_BYTES)
		return LOOK_MS;
	/* What is kept ready for the next put is kept for nobody now. */
	if (stats.idle_bytes >= LITTLE_BYTES / 8)
		tmem_store_evict(store, 1);
	return -1;
}
