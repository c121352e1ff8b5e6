/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The agent's loop: many guests, one thread, nothing that waits for one of
 * them.
 *
 * Each guest is looked at once a second, and at once when a descriptor of its
 * source says so. SIGHUP reads the configuration again: guests that are in it
 * as before go on, with its tunables; others come and go; if anything is wrong
 * with it, nothing changes. SIGTERM and SIGINT end the agent. A guest that
 * goes, alone or with the agent, gets back what it had, since nobody will see
 * it when it is short; it stays in the list while that is under way, for
 * TM_GUEST_END_NS at most, and nothing is decided for it any more.
 *
 * One process may drive 1024 guests: a look at each costs some tens of
 * microseconds a second.
 */
#include <config.h>

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "agent.h"
#include "clock.h"

#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_S UINT64_C(1000000000)

/* What to wait for: signals, then each guest's. */
struct waiting {
	struct pollfd *fds;
	size_t *counts; /* of each guest, in their order */
	size_t fd_count;
};

static uint64_t now(void)
{
	return tm_clock_now_ns(tm_clock_system());
}

/* --- guests ------------------------------------------------------------ */

/* One that is in the configuration: taken over, or made. 0 or a negative
 * errno. */
static int list_guest(struct tm_agent *agent, struct tm_guest **old,
		      struct tm_guest ***end,
		      const struct tm_agent_guest_config *config)
{
	const struct tm_balloon_guest *left;
	struct tm_guest *guest = NULL;
	int err;

	for (struct tm_guest **at = old; *at; at = &(*at)->next) {
		if (!tm_guest_is_same(*at, config))
			continue;
		guest = *at;
		*at = guest->next;
		tm_guest_retune(guest, config, now());
		break;
	}
	if (!guest) {
		left = tm_agent_state_find(&agent->state, config);
		err = tm_guest_open(config, &agent->log, left, now(), &guest);
		if (err)
			return err;
		if (left)
			tm_agent_state_take_up(&agent->state, left);
	}
	guest->next = NULL;
	**end = guest;
	*end = &guest->next;
	return 0;
}

static bool is_listed(const struct tm_agent *agent,
		      const struct tm_guest *guest)
{
	for (const struct tm_agent_guest_config *config = agent->config->guests;
	     config; config = config->next)
		if (tm_guest_is_same(guest, config))
			return true;
	return false;
}

static void end_guest(struct tm_guest *guest)
{
	guest->end_ns = now() + TM_GUEST_END_NS;
	tm_guest_restore(guest, now());
}

/* Those that have ended, and have what they had or never get it. */
static void close_ended(struct tm_agent *agent)
{
	struct tm_guest **at = &agent->guests, *guest;
	bool is_busy;

	while ((guest = *at)) {
		is_busy = tm_guest_is_busy(guest);
		if (!guest->end_ns || (is_busy && now() < guest->end_ns)) {
			at = &guest->next;
			continue;
		}
		if (is_busy)
			tm_guest_not_restored(guest, strerror(ETIMEDOUT));
		*at = guest->next;
		tm_guest_close(guest);
	}
}

/* Those that are no longer in the configuration. */
static void end_guests(struct tm_agent *agent)
{
	for (struct tm_guest *guest = agent->guests; guest; guest = guest->next)
		if (!guest->end_ns && !is_listed(agent, guest))
			end_guest(guest);
	close_ended(agent);
}

/* How many of those in the configuration there are now. Who goes gives back
 * before anybody comes, who may drive the same under another name: what is
 * found then is what was there before either of them. */
static size_t list_guests(struct tm_agent *agent)
{
	struct tm_guest *old, **end = &agent->guests;
	size_t count = 0;

	end_guests(agent);
	old = agent->guests;
	agent->guests = NULL;
	for (const struct tm_agent_guest_config *config = agent->config->guests;
	     config; config = config->next)
		count += !list_guest(agent, &old, &end, config);
	/* Those to whom something is still given back. */
	*end = old;
	return count;
}

/* With another state, or one that was not to be had before. The new one is
 * written before the old one goes: who is killed leaves one. */
static void list_guests_anew(struct tm_agent *agent)
{
	struct tm_agent_state old = agent->state;

	if (old.lock_fd >= 0 && !strcmp(old.path, agent->config->state)) {
		list_guests(agent);
		return;
	}
	tm_agent_state_open(&agent->state, &agent->log, agent->config);
	list_guests(agent);
	tm_agent_state_keep(&agent->state, agent->guests, now());
	tm_agent_state_close(&old);
}

static void reload(struct tm_agent *agent)
{
	char error[TM_AGENT_ERROR_SIZE];
	struct tm_agent_config *config;

	if (tm_agent_config_load(agent->argc, agent->argv, &config, error,
				 sizeof(error))) {
		tm_agent_log(&agent->log, TM_AGENT_ERROR, NULL,
			     "the configuration stays as it was: %s", error);
		return;
	}
	tm_agent_config_free(agent->config);
	agent->config = config;
	agent->log.level = config->log_level;
	list_guests_anew(agent);
	tm_agent_log(&agent->log, TM_AGENT_INFO, NULL,
		     "the configuration was read again");
}

/* --- waiting ----------------------------------------------------------- */

static size_t count_guests(const struct tm_agent *agent)
{
	size_t count = 0;

	for (const struct tm_guest *guest = agent->guests; guest;
	     guest = guest->next)
		count++;
	return count;
}

static int prepare(struct tm_agent *agent, struct waiting *waiting)
{
	size_t guests = count_guests(agent), i = 0;

	waiting->fds =
		calloc(1 + guests * TM_GUEST_FDS_MAX, sizeof(*waiting->fds));
	waiting->counts = calloc(guests + 1, sizeof(*waiting->counts));
	if (!waiting->fds || !waiting->counts)
		return -ENOMEM;
	waiting->fds[0] =
		(struct pollfd){ .fd = agent->signal_fd, .events = POLLIN };
	waiting->fd_count = 1;
	for (struct tm_guest *guest = agent->guests; guest;
	     guest = guest->next) {
		if (guest->source->wait_for)
			waiting->counts[i] = guest->source->wait_for(
				guest, waiting->fds + waiting->fd_count);
		waiting->fd_count += waiting->counts[i++];
	}
	return 0;
}

static int timeout_ms(const struct tm_agent *agent)
{
	uint64_t now_ns = now(), due_ns = now_ns + NS_PER_S;

	for (const struct tm_guest *guest = agent->guests; guest;
	     guest = guest->next)
		if (guest->look_ns < due_ns)
			due_ns = guest->look_ns;
	return due_ns <= now_ns ? 0 : (int)((due_ns - now_ns) / NS_PER_MS) + 1;
}

static void handle_guests(struct tm_agent *agent, const struct waiting *waiting)
{
	size_t at = 1, i = 0;

	for (struct tm_guest *guest = agent->guests; guest;
	     guest = guest->next) {
		size_t count = waiting->counts[i++];
		uint64_t now_ns = now();
		bool is_urgent = guest->source->handle &&
				 guest->source->handle(guest, waiting->fds + at,
						       count, now_ns);

		at += count;
		if (is_urgent || now_ns >= guest->look_ns)
			tm_guest_work(guest, now_ns);
	}
}

/* One turn. True: a signal has come. */
static bool turn(struct tm_agent *agent)
{
	struct waiting waiting = { 0 };
	bool has_signal = false;

	if (prepare(agent, &waiting)) {
		/* Memory is short here too: later. */
		usleep(100 * 1000);
	} else if (poll(waiting.fds, waiting.fd_count, timeout_ms(agent)) >=
		   0) {
		has_signal = waiting.fds[0].revents;
		handle_guests(agent, &waiting);
	}
	free(waiting.fds);
	free(waiting.counts);
	close_ended(agent);
	return has_signal;
}

/* --- running ----------------------------------------------------------- */

/* The signal that has come, or 0. */
static int take_signal(struct tm_agent *agent)
{
	struct signalfd_siginfo info;

	if (read(agent->signal_fd, &info, sizeof(info)) !=
	    (ssize_t)sizeof(info))
		return 0;
	return (int)info.ssi_signo;
}

static void end(struct tm_agent *agent)
{
	for (struct tm_guest *guest = agent->guests; guest; guest = guest->next)
		end_guest(guest);
	close_ended(agent);
	while (agent->guests)
		if (turn(agent))
			take_signal(agent); /* it does what it can already */
	tm_agent_state_close(&agent->state);
}

static int open_signals(struct tm_agent *agent)
{
	sigset_t signals;

	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGHUP);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	agent->signal_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
	return agent->signal_fd < 0 ? -errno : 0;
}

int tm_agent_run(struct tm_agent *agent)
{
	int err = open_signals(agent);
	size_t count;

	if (err) {
		tm_agent_log(&agent->log, TM_AGENT_ERROR, NULL, "signals: %s",
			     strerror(-err));
		return err;
	}
	tm_agent_state_open(&agent->state, &agent->log, agent->config);
	count = list_guests(agent);
	/* Who drives nobody has nothing to do, and nothing to say. */
	if (!count) {
		tm_agent_state_leave(&agent->state);
		close(agent->signal_fd);
		return -ENODEV;
	}
	for (int signal = 0; signal != SIGTERM && signal != SIGINT;) {
		signal = turn(agent) ? take_signal(agent) : 0;
		if (signal == SIGHUP)
			reload(agent);
		tm_agent_state_keep(&agent->state, agent->guests, now());
	}
	end(agent);
	close(agent->signal_fd);
	return 0;
}
