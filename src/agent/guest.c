/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A guest: looked at once a second, driven by law and guard.
 *
 *	source -> reading -> law, guard -> target -> actuator
 *
 * The problem: a reading can be wrong in more ways than it can be right, and
 * acting on a wrong one costs a guest. The idea: what is not a reading that all
 * checks let pass changes nothing: the last target stays, and the guard begins
 * anew, so that the first reading that can be trusted shrinks nothing.
 *
 * A target is told to the actuator only when it differs from the last one that
 * was taken (an actuator that reclaims by command is told as long as it holds);
 * a refusal is counted, logged once, and tried again at the next step.
 *
 * One thread.
 */
#include <config.h>

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "guest.h"
#include "kernel_file.h"

#define NS_PER_S UINT64_C(1000000000)
#define LOOK_NS NS_PER_S

static const struct tm_source *find_source(enum tm_agent_source source)
{
	switch (source) {
	case TM_SOURCE_MEMINFO:
		return tm_source_meminfo();
	case TM_SOURCE_QMP:
		return tm_source_qmp();
	case TM_SOURCE_CGROUP:
		return tm_source_cgroup();
	}
	return NULL;
}

static const struct tm_actuator *find_actuator(enum tm_agent_actuator actuator)
{
	switch (actuator) {
	case TM_ACTUATOR_DRY_RUN:
		return tm_actuator_dry_run();
	case TM_ACTUATOR_XEN:
		return tm_actuator_xen();
	case TM_ACTUATOR_QMP:
		return tm_actuator_qmp();
	case TM_ACTUATOR_CGROUP_RECLAIM:
		return tm_actuator_cgroup_reclaim();
	case TM_ACTUATOR_CGROUP_HIGH:
		return tm_actuator_cgroup_high();
	}
	return NULL;
}

enum tm_look tm_guest_doubt(struct tm_guest *guest, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(guest->why, sizeof(guest->why), format, args);
	va_end(args);
	return TM_LOOK_UNTRUSTED;
}

enum tm_look tm_guest_look_at_files(struct tm_guest *guest, bool is_due,
				    tm_guest_read_fn *read_all,
				    struct tm_guard_reading *reading)
{
	enum tm_look look;
	char *text;

	if (!is_due && !guest->guard.is_alarmed)
		return TM_LOOK_NOTHING;
	*reading = (struct tm_guard_reading){
		.available_pages = TM_GUARD_UNKNOWN,
		.stalled_us = TM_GUARD_UNKNOWN,
		.major_faults = TM_GUARD_UNKNOWN,
		.swapped_pages = TM_GUARD_UNKNOWN,
	};
	text = malloc(TM_KERNEL_FILE_MAX);
	if (!text)
		return TM_LOOK_NOTHING;
	look = read_all(guest, text, reading);
	free(text);
	return look;
}

/* --- coming and going -------------------------------------------------- */

/* The law, as in a guest where everything it needs is there. */
static void start_law(struct tm_guest *guest, uint64_t now_ns)
{
	const struct tm_selfballoon_boot boot = {
		.is_guest = true,
		.has_balloon = true,
		.is_tmem_enabled = true,
		.is_frontswap_built = true,
		.is_frontswap_enabled = true,
	};

	if (tm_selfballoon_init(&guest->law, &boot, now_ns))
		return;
	guest->law.tunables = guest->config.tunables;
	guest->law.is_scheduled = guest->config.tunables.selfballooning;
	guest->law.due_ns =
		now_ns +
		guest->config.tunables.selfballoon_interval_s * NS_PER_S;
}

int tm_guest_open(const struct tm_agent_guest_config *config,
		  const struct tm_agent_log *log,
		  const struct tm_balloon_guest *left, uint64_t now_ns,
		  struct tm_guest **out)
{
	struct tm_guest *guest = calloc(1, sizeof(*guest));
	int err = 0;

	if (!guest)
		return -ENOMEM;
	guest->config = *config;
	guest->config.next = NULL;
	guest->log = log;
	guest->source = find_source(config->source);
	guest->actuator = find_actuator(config->actuator);
	guest->pressure_fd = -1;
	guest->is_trusted = true; /* so that the first doubt is logged */
	guest->look_ns = now_ns;
	if (left)
		guest->left_pages = left->target_bytes / TM_PAGE_BYTES;
	if (left && left->has_before) {
		guest->has_before = true;
		guest->before_pages =
			left->before_bytes ? left->before_bytes / TM_PAGE_BYTES
					   : UINT64_MAX;
	}
	start_law(guest, now_ns);
	if (guest->source->open)
		err = guest->source->open(guest);
	if (!err && guest->actuator->open)
		err = guest->actuator->open(guest);
	if (err) {
		tm_agent_log(log, TM_AGENT_ERROR, config->name, "%s",
			     *guest->why ? guest->why : strerror(-err));
		tm_guest_close(guest);
		return err;
	}
	*out = guest;
	return 0;
}

void tm_guest_close(struct tm_guest *guest)
{
	if (guest->actuator->close)
		guest->actuator->close(guest);
	if (guest->source->close)
		guest->source->close(guest);
	if (guest->pressure_fd >= 0)
		close(guest->pressure_fd);
	free(guest);
}

bool tm_guest_is_same(const struct tm_guest *guest,
		      const struct tm_agent_guest_config *config)
{
	const struct tm_agent_guest_config *mine = &guest->config;

	return !guest->end_ns && !strcmp(mine->name, config->name) &&
	       mine->source == config->source &&
	       mine->actuator == config->actuator &&
	       !strcmp(mine->qmp, config->qmp) &&
	       !strcmp(mine->device, config->device) &&
	       !strcmp(mine->cgroup, config->cgroup) &&
	       !strcmp(mine->proc, config->proc) &&
	       !strcmp(mine->sys, config->sys);
}

void tm_guest_retune(struct tm_guest *guest,
		     const struct tm_agent_guest_config *config,
		     uint64_t now_ns)
{
	const char *is_on = config->tunables.selfballooning ? "1" : "0";

	/* The switch starts a worker that rests; the rest is just there. */
	tm_selfballoon_write(&guest->law, true, "selfballooning", is_on,
			     now_ns);
	guest->law.tunables = config->tunables;
	guest->config.tunables = config->tunables;
}

/* --- pressure events --------------------------------------------------- */

size_t tm_pressure_wait_for(struct tm_guest *guest, struct pollfd *fds)
{
	if (guest->pressure_fd < 0)
		return 0;
	fds[0] = (struct pollfd){ .fd = guest->pressure_fd, .events = POLLPRI };
	return 1;
}

bool tm_pressure_handle(struct tm_guest *guest, const struct pollfd *fds,
			size_t count, uint64_t now_ns)
{
	(void)now_ns;
	if (!count || !fds[0].revents)
		return false;
	if (fds[0].revents & POLLPRI && !(fds[0].revents & POLLERR)) {
		tm_guard_alarm(&guest->guard);
		return true;
	}
	/* What it watched is gone; the counters are still read. */
	close(guest->pressure_fd);
	guest->pressure_fd = -1;
	return false;
}

/* --- looking ----------------------------------------------------------- */

static bool is_sane(struct tm_guest *guest,
		    const struct tm_guard_reading *reading)
{
	const struct tm_selfballoon_reading *law = &reading->law;
	const char *what = NULL;

	if (!law->usable_pages || !law->current_pages)
		what = "no memory at all";
	else if (law->usable_pages > TM_PAGES_MAX ||
		 law->current_pages > TM_PAGES_MAX ||
		 law->max_pages > TM_PAGES_MAX ||
		 law->reserve_pages > TM_PAGES_MAX)
		what = "more memory than any machine has";
	else if (law->usable_pages > law->max_pages)
		what = "more memory than it can have";
	else if (reading->available_pages != TM_GUARD_UNKNOWN &&
		 reading->available_pages > law->max_pages)
		what = "more available than it can have";
	else if (reading->available_pages == TM_GUARD_UNKNOWN &&
		 reading->stalled_us == TM_GUARD_UNKNOWN &&
		 reading->major_faults == TM_GUARD_UNKNOWN &&
		 reading->swapped_pages == TM_GUARD_UNKNOWN)
		what = "nothing that would show it is short";
	if (what)
		tm_guest_doubt(guest, "it tells of %s", what);
	return !what;
}

static void distrust(struct tm_guest *guest)
{
	guest->untrusted++;
	tm_guard_forget(&guest->guard);
	if (!guest->is_trusted)
		return;
	guest->is_trusted = false;
	tm_agent_log(guest->log, TM_AGENT_WARNING, guest->config.name,
		     "not ballooned, since it cannot be trusted: %s",
		     guest->why);
}

static void trust(struct tm_guest *guest)
{
	if (!guest->is_trusted)
		tm_agent_log(guest->log, TM_AGENT_INFO, guest->config.name,
			     "can be trusted");
	guest->is_trusted = true;
	*guest->why = '\0';
}

static void act(struct tm_guest *guest, uint64_t now_ns)
{
	const struct tm_guard_decision *decision = &guest->decision;
	int err;

	if (!decision->has_target ||
	    (decision->target_pages == guest->target_pages &&
	     !guest->actuator->repeats && !guest->is_refused))
		return;
	err = guest->actuator->set(guest, decision->target_pages, now_ns);
	if (err) {
		guest->refused++;
		if (!guest->is_refused)
			tm_agent_log(
				guest->log, TM_AGENT_WARNING,
				guest->config.name,
				"a target of %llu MiB is refused: %s",
				(unsigned long long)decision->target_pages /
					TM_PAGES_PER_MIB,
				strerror(-err));
		guest->is_refused = true;
		return;
	}
	guest->is_refused = false;
	guest->targets++;
	guest->left_pages = 0;
	guest->target_pages = decision->target_pages;
	tm_agent_log(guest->log, TM_AGENT_DEBUG, guest->config.name,
		     "target %llu MiB (%s)",
		     (unsigned long long)decision->target_pages /
			     TM_PAGES_PER_MIB,
		     tm_guard_verdict_name(decision->verdict));
}

static void decide(struct tm_guest *guest, uint64_t now_ns)
{
	enum tm_guard_verdict before = guest->decision.verdict;

	tm_guard_tick(&guest->guard, &guest->law, &guest->reading, now_ns,
		      &guest->decision);
	if (guest->decision.verdict == TM_GUARD_PRESSED) {
		guest->pressed++;
		if (before != TM_GUARD_PRESSED)
			tm_agent_log(guest->log, TM_AGENT_INFO,
				     guest->config.name,
				     "is short of memory, and is given some");
	}
	act(guest, now_ns);
}

void tm_guest_work(struct tm_guest *guest, uint64_t now_ns)
{
	struct tm_guard_reading reading;
	bool is_due = now_ns >= guest->look_ns;
	enum tm_look look;

	if (is_due)
		guest->look_ns = now_ns + LOOK_NS;
	look = guest->source->look(guest, now_ns, is_due, &reading);
	if (look == TM_LOOK_NOTHING)
		return;
	guest->looks++;
	if (look == TM_LOOK_UNTRUSTED || !is_sane(guest, &reading)) {
		distrust(guest);
		return;
	}
	trust(guest);
	guest->reading = reading;
	/* Who was given everything is not asked for some of it again. */
	if (!guest->end_ns)
		decide(guest, now_ns);
}

/* --- giving back ------------------------------------------------------- */

void tm_guest_forget_target(struct tm_guest *guest)
{
	if (guest->target_pages)
		guest->left_pages = guest->target_pages;
	guest->target_pages = 0;
}

void tm_guest_not_restored(const struct tm_guest *guest, const char *why)
{
	tm_agent_log(guest->log, TM_AGENT_WARNING, guest->config.name,
		     "its memory could not be given back: %s", why);
}

void tm_guest_restore(struct tm_guest *guest, uint64_t now_ns)
{
	int err;

	/* Who was never driven, by whomever, has all it had. */
	if ((!guest->targets && !guest->left_pages) ||
	    !guest->actuator->restore)
		return;
	err = guest->actuator->restore(guest, now_ns);
	if (err)
		tm_guest_not_restored(guest, strerror(-err));
}

bool tm_guest_is_busy(struct tm_guest *guest)
{
	return guest->actuator->is_busy && guest->actuator->is_busy(guest);
}
