/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A guest as the agent sees it: what tells of it, what drives it, and what is
 * known and was decided (see guest.c).
 */
#ifndef TM_AGENT_GUEST_H
#define TM_AGENT_GUEST_H

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

#include "agent_config.h"
#include "balloon_guard.h"
#include "balloon_state.h"

#define TM_PAGE_BYTES UINT64_C(4096)
/* Descriptors that one guest waits on. */
#define TM_GUEST_FDS_MAX 2
#define TM_GUEST_WHY_SIZE 256
/* How long giving back may take. A monitor has five seconds for a command: one
 * may be under way, and the one that gives back comes after it. */
#define TM_GUEST_END_NS UINT64_C(10000000000)

struct tm_guest;

/* What a look came to. */
enum tm_look {
	TM_LOOK_NOTHING, /* there is no reading (yet) */
	TM_LOOK_READING,
	TM_LOOK_UNTRUSTED, /* there was one; guest->why says what is wrong
			    * with it */
};

/* What tells how a guest fares. Any but @look may be NULL. */
struct tm_source {
	/* 0 or a negative errno after a word in guest->why. */
	int (*open)(struct tm_guest *guest);
	void (*close)(struct tm_guest *guest);
	/* A new reading. Called when time has come, and after events. */
	enum tm_look (*look)(struct tm_guest *guest, uint64_t now_ns,
			     bool is_due, struct tm_guard_reading *reading);
	/* Fills in what to wait for; how many. */
	size_t (*wait_for)(struct tm_guest *guest, struct pollfd *fds);
	/* Of those. True: to be looked at, at once. */
	bool (*handle)(struct tm_guest *guest, const struct pollfd *fds,
		       size_t count, uint64_t now_ns);
};

/* What makes it smaller or larger. */
struct tm_actuator {
	int (*open)(struct tm_guest *guest);
	void (*close)(struct tm_guest *guest);
	/* 0; or a negative errno: refused. */
	int (*set)(struct tm_guest *guest, uint64_t target_pages,
		   uint64_t now_ns);
	/* What it had before the agent came: all of it again. */
	int (*restore)(struct tm_guest *guest, uint64_t now_ns);
	/* Is a command of restore() still under way? */
	bool (*is_busy)(struct tm_guest *guest);
	/* A target is an act, and not a state: it is repeated while it holds.
	 */
	bool repeats;
};

struct tm_guest {
	struct tm_guest *next;
	struct tm_agent_guest_config config; /* a copy */
	const struct tm_agent_log *log;
	const struct tm_source *source;
	const struct tm_actuator *actuator;
	struct tm_selfballoon law;
	struct tm_guard guard;
	uint64_t look_ns; /* when the next look is due */
	/* 0; or it gets back what it had, and is not driven any more: until
	 * when at the most (TM_GUEST_END_NS) */
	uint64_t end_ns;
	/* of the source and the actuator */
	int pressure_fd; /* -1: none */
	struct tm_qmp_guest *qmp;
	uint64_t peak_pages; /* of a cgroup */
	/* what it had been driven to, by an agent that was killed or before it
	 * was out of sight, until there is another target; 0: nothing */
	uint64_t left_pages;
	bool has_before; /* what the actuator found is known: */
	uint64_t before_pages; /* UINT64_MAX: no limit */
	/* what is known */
	bool is_trusted;
	char why[TM_GUEST_WHY_SIZE]; /* if not */
	struct tm_guard_reading reading;
	struct tm_guard_decision decision;
	uint64_t target_pages; /* the last one that was taken; 0: none */
	bool is_refused; /* the last one was not */
	/* what was */
	uint64_t looks;
	uint64_t untrusted;
	uint64_t targets;
	uint64_t refused;
	uint64_t pressed;
};

/* 0 and a guest; or a negative errno, which is logged. @left: NULL, or what an
 * agent that was killed had written of it. */
int tm_guest_open(const struct tm_agent_guest_config *config,
		  const struct tm_agent_log *log,
		  const struct tm_balloon_guest *left, uint64_t now_ns,
		  struct tm_guest **guest);
/* Nothing is given back: tm_guest_restore(). */
void tm_guest_close(struct tm_guest *guest);
/* Does it go on under @config, or is it another guest now? */
bool tm_guest_is_same(const struct tm_guest *guest,
		      const struct tm_agent_guest_config *config);
/* New tunables, and all else stays. */
void tm_guest_retune(struct tm_guest *guest,
		     const struct tm_agent_guest_config *config,
		     uint64_t now_ns);
/* Looks, if there is something to see, and acts on it. */
void tm_guest_work(struct tm_guest *guest, uint64_t now_ns);
/* All it had; tm_guest_is_busy() while that is under way. */
void tm_guest_restore(struct tm_guest *guest, uint64_t now_ns);
bool tm_guest_is_busy(struct tm_guest *guest);
/* It may be driven still, or not: there is no saying. */
void tm_guest_forget_target(struct tm_guest *guest);
/* Says so. */
void tm_guest_not_restored(const struct tm_guest *guest, const char *why);

/* For sources: what is wrong, in guest->why. */
enum tm_look tm_guest_doubt(struct tm_guest *guest, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* For sources that read files of the kernel: when it is time, or after an alarm
 * at once, calls @read_all with room for one of them and a reading of which
 * nothing is known yet. */
typedef enum tm_look tm_guest_read_fn(struct tm_guest *guest, char *text,
				      struct tm_guard_reading *reading);
enum tm_look tm_guest_look_at_files(struct tm_guest *guest, bool is_due,
				    tm_guest_read_fn *read_all,
				    struct tm_guard_reading *reading);

const struct tm_source *tm_source_meminfo(void);
const struct tm_source *tm_source_cgroup(void);
const struct tm_source *tm_source_qmp(void);
const struct tm_actuator *tm_actuator_dry_run(void);
const struct tm_actuator *tm_actuator_xen(void);
const struct tm_actuator *tm_actuator_cgroup_reclaim(void);
const struct tm_actuator *tm_actuator_cgroup_high(void);
const struct tm_actuator *tm_actuator_qmp(void);

/* Pages of a reservation that Xen says the guest has. 0 or -errno. */
int tm_xen_current(const struct tm_guest *guest, uint64_t *pages);

/* A source's pressure_fd, for those that have one. */
size_t tm_pressure_wait_for(struct tm_guest *guest, struct pollfd *fds);
bool tm_pressure_handle(struct tm_guest *guest, const struct pollfd *fds,
			size_t count, uint64_t now_ns);

#endif
