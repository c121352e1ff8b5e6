/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How much memory the store may have: a size, or what the host has to spare.
 *
 * The configuration says which at the start and at each reload, an operator in
 * between; "auto" is carried out by fallow.c, here it is begun and ended.
 *
 * Operators' threads come here as well as the main thread: limit_lock is held
 * while the limit changes, which is bounded by what one eviction step takes.
 */
#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "clock.h"
#include "daemon.h"

#define NS_PER_MS UINT64_C(1000000)

static uint64_t machine_bytes(void)
{
	long pages = sysconf(_SC_PHYS_PAGES);

	return (uint64_t)(pages < 1 ? 1 : pages) *
	       (uint64_t)sysconf(_SC_PAGESIZE);
}

/* --- the host's pressure in the main thread's poll (lock held) ------------------- */

static int begin_auto(struct tm_daemon *daemon,
		      const struct tm_config_memory *memory)
{
	const struct tm_fallow_host host = { NULL, NULL, NULL, NULL };
	struct epoll_event event = { .events = EPOLLPRI };
	int err;

	if (daemon->fallow) {
		tm_fallow_configure(daemon->fallow, memory);
		return 0;
	}
	err = tm_fallow_open(memory, &host, daemon->log, &daemon->fallow);
	if (err)
		return err;
	event.data.fd = tm_fallow_pressure_fd(daemon->fallow);
	if (event.data.fd >= 0)
		epoll_ctl(daemon->epoll_fd, EPOLL_CTL_ADD, event.data.fd,
			  &event);
	return 0;
}

static void end_auto(struct tm_daemon *daemon)
{
	/* Closing takes it out of the poll, too. */
	tm_fallow_close(daemon->fallow);
	daemon->fallow = NULL;
}

/* A store that is opened again has what was in force, not what a file asked for
 * in vain (lock held). */
static void know_limit(struct tm_daemon *daemon,
		       const struct tm_config_memory *memory)
{
	daemon->memory = *memory;
	daemon->memory.is_given = true;
}

/* --- the store's birth -------------------------------------------------------------- */

int tm_limit_begin(struct tm_daemon *daemon, uint64_t arena_bytes,
		   uint64_t arena_max_bytes, struct tmem_store_config *config)
{
	struct tm_config_memory memory = daemon->memory.is_given ?
						 daemon->memory :
						 daemon->config->memory;
	uint64_t max = arena_max_bytes ? arena_max_bytes : machine_bytes();
	int err = 0;

	config->memory_max_bytes = arena_max_bytes ? 0 : memory.max_bytes;
	if (arena_max_bytes && memory.max_bytes > arena_max_bytes)
		tm_daemon_log(daemon->log, TMEM_LOG_WARNING,
			      "memory: max=%" PRIu64 " MiB does not count: this "
			      "arena was made for at most %" PRIu64 " MiB",
			      memory.max_bytes >> 20, arena_max_bytes >> 20);
	tm_lock_acquire(&daemon->limit_lock);
	if (!memory.is_auto) {
		end_auto(daemon);
		config->memory_bytes = memory.bytes;
	} else {
		err = begin_auto(daemon, &memory);
		if (!err)
			config->memory_bytes = tm_fallow_limit(
				daemon->fallow, arena_bytes, max);
	}
	if (!err)
		know_limit(daemon, &memory);
	tm_lock_release(&daemon->limit_lock);
	return err;
}

void tm_limit_end(struct tm_daemon *daemon)
{
	tm_lock_acquire(&daemon->limit_lock);
	end_auto(daemon);
	tm_lock_release(&daemon->limit_lock);
}

/* --- from time to time ----------------------------------------------------------------- */

uint64_t tm_limit_look(struct tm_daemon *daemon, bool is_pressed,
		       bool is_in_use)
{
	uint64_t lacking_bytes = 0;
	int again_ms = -1;

	tm_lock_acquire(&daemon->limit_lock);
	if (daemon->fallow) {
		again_ms = tm_fallow_step(daemon->fallow, daemon->store,
					  is_pressed, is_in_use);
		lacking_bytes = tm_fallow_lacking_bytes(daemon->fallow);
	}
	tm_lock_release(&daemon->limit_lock);
	/* Persistent pages can go to where a disk has a file for them. */
	if (lacking_bytes)
		tm_disks_press(daemon->disks, lacking_bytes);
	return again_ms < 0 ? 0 :
			      tm_clock_now_ns(tm_clock_system()) +
				      (uint64_t)again_ms * NS_PER_MS;
}

/* --- changes ------------------------------------------------------------------------------ */

static int explain(struct tm_daemon *daemon, int err, char *error, size_t size)
{
	struct tmem_store_stats stats = {
		.struct_size = sizeof(stats),
		.counts.struct_size = sizeof(stats.counts),
	};

	tmem_store_get_stats(daemon->store, &stats);
	if (err == -EBUSY)
		snprintf(error, size,
			 "persistent pages and reservations need %" PRIu64
			 " MiB; flush or destroy some, or set a higher limit",
			 (stats.needed_bytes >> 20) + 1);
	else if (err == -EINVAL)
		snprintf(error, size,
			 "the limit is from %u KiB to %" PRIu64
			 " MiB, which was fixed when the arena was made "
			 "(--memory SIZE,max=SIZE)",
			 (unsigned)(TMEM_MEMORY_MIN >> 10),
			 stats.memory_max_bytes >> 20);
	else
		snprintf(error, size, "%s", strerror(-err));
	return err;
}

int tm_limit_apply(struct tm_daemon *daemon,
		   const struct tm_config_memory *memory, char *error,
		   size_t error_size)
{
	int err;

	tm_lock_acquire(&daemon->limit_lock);
	if (memory->is_auto) {
		err = begin_auto(daemon, memory);
	} else {
		err = tmem_store_set_memory(daemon->store, memory->bytes);
		if (!err)
			end_auto(daemon);
	}
	if (!err)
		know_limit(daemon, memory);
	tm_lock_release(&daemon->limit_lock);
	if (err)
		return explain(daemon, err, error, error_size);
	tm_daemon_kick(daemon);
	return 0;
}

int tm_limit_set(void *opaque, const char *memory, char *error,
		 size_t error_size)
{
	struct tm_daemon *daemon = opaque;
	struct tm_config_memory parsed;
	int err = tm_config_parse_memory(memory, &parsed, error, error_size);

	if (!err)
		err = tm_limit_apply(daemon, &parsed, error, error_size);
	if (err)
		return err;
	/* The file's is tried again when the file changes. */
	atomic_store(&daemon->keeps_limit, false);
	tm_daemon_log(daemon->log, TMEM_LOG_INFO,
		      "memory is %s now, as an operator says", memory);
	return 0;
}
