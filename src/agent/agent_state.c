/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What is known of each guest, as a file of OpenMetrics lines, for tmemd's
 * metrics, tmem top, and any other reader of such files.
 *
 * A file rather than one more socket: whoever reads it cannot keep the agent
 * waiting, and needs no rights but to read. It is written beside its place and
 * renamed, so that nobody reads half of one. A value that is not known has no
 * line. Nobody can tell a file that is old from one that is not: the last line
 * says when it was written, and the agent takes it away when it ends.
 *
 * It is also the only record of what guests had before they were driven, should
 * the agent be killed: the next one finds it, and gives that back. The problem:
 * what is found may be of an agent that lives, or of a guest that is another
 * one by now. The idea: beside it lies a file, PATH.lock, that whoever writes
 * it holds locked, so that who has the lock finds only what was left; that file
 * is never unlinked, since somebody may just be opening it. And what was left
 * is taken up only where its place is the same, a number made of the actuator
 * and what that drives. What nobody takes up is logged before it is written
 * over; dry runs, which can give nothing back, let go of it as it is.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "agent.h"

#define STATE_NS UINT64_C(1000000000)

/* --- places ------------------------------------------------------------ */

/* FNV-1a, of the text and its end. */
static uint64_t add_text(uint64_t hash, const char *text)
{
	do {
		hash ^= (unsigned char)*text;
		hash *= UINT64_C(0x100000001b3);
	} while (*text++);
	return hash;
}

/* What drives a guest, and where. 53 bits: as exact as readers are, to whom all
 * numbers are doubles. Other versions of the agent must come to the same. */
static uint64_t find_place(const struct tm_agent_guest_config *config)
{
	uint64_t hash = add_text(UINT64_C(0xcbf29ce484222325),
				 tm_agent_actuator_name(config->actuator));

	switch (config->actuator) {
	case TM_ACTUATOR_DRY_RUN:
	case TM_ACTUATOR_CGROUP_RECLAIM:
		return 0;
	case TM_ACTUATOR_XEN:
		hash = add_text(hash, config->sys);
		break;
	case TM_ACTUATOR_QMP:
		hash = add_text(add_text(hash, config->qmp), config->device);
		break;
	case TM_ACTUATOR_CGROUP_HIGH:
		hash = add_text(hash, config->cgroup);
		break;
	}
	hash >>= 11;
	return hash ? hash : 1;
}

/* --- writing ----------------------------------------------------------- */

static uint64_t bytes(uint64_t pages)
{
	return pages >= UINT64_MAX / TM_PAGE_BYTES ? UINT64_MAX
						   : pages * TM_PAGE_BYTES;
}

#define VALUE(name, expression)                                                \
	static uint64_t name##_of(const struct tm_guest *guest)                \
	{                                                                      \
		return expression;                                             \
	}
VALUE(current, bytes(guest->reading.law.current_pages))
VALUE(target,
      bytes(guest->left_pages ? guest->left_pages : guest->target_pages))
VALUE(goal, bytes(guest->decision.goal_pages))
VALUE(floor, bytes(guest->decision.floor_pages))
VALUE(most, bytes(guest->reading.law.max_pages))
VALUE(available, guest->reading.available_pages == TM_GUARD_UNKNOWN
			 ? UINT64_MAX
			 : bytes(guest->reading.available_pages))
/* Without a limit: 0, since the largest number is one that is not known. */
VALUE(before, !guest->has_before                  ? UINT64_MAX
	      : guest->before_pages == UINT64_MAX ? 0
						  : bytes(guest->before_pages))
/* Before the first look there is nothing to trust. */
VALUE(trusted, guest->is_trusted && guest->reading.law.current_pages)
VALUE(place, find_place(&guest->config))
VALUE(looks, guest->looks)
VALUE(pressed, guest->pressed)
VALUE(untrusted, guest->untrusted)
VALUE(targets, guest->targets)
VALUE(refused, guest->refused)

static const struct {
	const char *name;
	const char *type;
	const char *help;
	bool needs_reading;
	uint64_t (*value)(const struct tm_guest *guest); /* 2^64-1: unknown */
} metrics[] = {
	{ "current_bytes", "gauge", "What the guest has.", true, current_of },
	{ "target_bytes", "gauge", "What it was last told to have; 0: nothing.",
	  false, target_of },
	{ "goal_bytes", "gauge", "What it would be content with.", true,
	  goal_of },
	{ "floor_bytes", "gauge", "What it always keeps.", true, floor_of },
	{ "max_bytes", "gauge", "The most it can have.", true, most_of },
	{ "available_bytes", "gauge", "What it could use without swapping.",
	  true, available_of },
	{ "before_bytes", "gauge",
	  "What it was limited to before it was driven; 0: nothing.", false,
	  before_of },
	{ "trusted", "gauge", "Whether its last reading could be trusted.",
	  false, trusted_of },
	{ "place", "gauge",
	  "A number made of what drives it and where; 0: it is to get nothing "
	  "back.",
	  false, place_of },
	{ "looks", "counter", "Readings that were taken.", false, looks_of },
	{ "pressed", "counter", "Looks at which it was short of memory.", false,
	  pressed_of },
	{ "untrusted", "counter", "Readings that could not be trusted.", false,
	  untrusted_of },
	{ "targets", "counter", "Targets that were set.", false, targets_of },
	{ "refused", "counter", "Targets that were refused.", false,
	  refused_of },
};

static void print_metrics(FILE *file, const struct tm_guest *guests)
{
	for (size_t i = 0; i < sizeof(metrics) / sizeof(metrics[0]); i++) {
		fprintf(file,
			"# HELP tmem_balloon_%s %s\n"
			"# TYPE tmem_balloon_%s %s\n",
			metrics[i].name, metrics[i].help, metrics[i].name,
			metrics[i].type);
		for (const struct tm_guest *guest = guests; guest;
		     guest = guest->next) {
			uint64_t value = metrics[i].value(guest);

			if (guest->end_ns || value == UINT64_MAX ||
			    (metrics[i].needs_reading &&
			     !guest->reading.law.current_pages))
				continue;
			fprintf(file,
				"tmem_balloon_%s%s{guest=\"%s\"} %" PRIu64 "\n",
				metrics[i].name,
				*metrics[i].type == 'c' ? "_total" : "",
				guest->config.name, value);
		}
	}
	fprintf(file,
		"# HELP tmem_balloon_written_seconds When this was written.\n"
		"# TYPE tmem_balloon_written_seconds gauge\n"
		"tmem_balloon_written_seconds %lld\n",
		(long long)time(NULL));
}

int tm_agent_state_write(const char *path, const struct tm_guest *guests)
{
	char beside[TM_AGENT_PATH_SIZE + 8];
	FILE *file;
	int err = 0;

	snprintf(beside, sizeof(beside), "%s.new", path);
	file = fopen(beside, "we");
	if (!file)
		return -errno;
	fchmod(fileno(file), 0644);
	print_metrics(file, guests);
	if (ferror(file))
		err = -EIO;
	if (fclose(file))
		err = -errno;
	if (!err && rename(beside, path))
		err = -errno;
	if (err)
		unlink(beside);
	return err;
}

/* --- what was left ----------------------------------------------------- */

static bool is_driven(const struct tm_balloon_guest *left)
{
	return left->place && left->target_bytes;
}

static bool is_any_driven(const struct tm_agent_state *state)
{
	for (size_t i = 0; i < state->left_count; i++)
		if (is_driven(&state->left[i]))
			return true;
	return false;
}

/* An agent that ends takes its state away, and one that lives holds the lock.
 * What is there, of whatever age, is of one that was killed. */
static int read_left(struct tm_agent_state *state)
{
	char *text;
	int err = tm_balloon_state_read_file(state->path, 0, &text);

	if (err)
		return err == -ENOENT ? 0 : err;
	state->left = calloc(TM_AGENT_GUESTS_MAX, sizeof(*state->left));
	if (state->left)
		state->left_count = tm_balloon_state_parse(text, state->left,
							   TM_AGENT_GUESTS_MAX);
	free(text);
	return state->left ? 0 : -ENOMEM;
}

const struct tm_balloon_guest *
tm_agent_state_find(const struct tm_agent_state *state,
		    const struct tm_agent_guest_config *config)
{
	uint64_t place = find_place(config);

	for (size_t i = 0; place && i < state->left_count; i++)
		if (state->left[i].place == place &&
		    !strcmp(state->left[i].name, config->name))
			return &state->left[i];
	return NULL;
}

void tm_agent_state_take_up(struct tm_agent_state *state,
			    const struct tm_balloon_guest *left)
{
	state->left[left - state->left] = state->left[--state->left_count];
}

static void forget_left(struct tm_agent_state *state)
{
	free(state->left);
	state->left = NULL;
	state->left_count = 0;
}

static void warn_of_left(const struct tm_agent_state *state,
			 const struct tm_balloon_guest *left)
{
	char before[48] = "what it had before is not known";

	if (left->has_before && left->before_bytes)
		snprintf(before, sizeof(before),
			 "it had %" PRIu64 " MiB before",
			 left->before_bytes >> 20);
	else if (left->has_before)
		snprintf(before, sizeof(before), "it had no limit before");
	tm_agent_log(state->log, TM_AGENT_WARNING, left->name,
		     "left at %" PRIu64 " MiB by an agent that was killed, and "
		     "taken up by no guest of this one, by name and place: %s, "
		     "and nobody will give that back",
		     left->target_bytes >> 20, before);
}

static bool are_dry_runs(const struct tm_guest *guests)
{
	for (; guests; guests = guests->next)
		if (!guests->end_ns &&
		    guests->config.actuator != TM_ACTUATOR_DRY_RUN)
			return false;
	return true;
}

/* Guests have taken up what is theirs. */
static void warn_of_rest(struct tm_agent_state *state)
{
	for (size_t i = 0; i < state->left_count; i++)
		if (is_driven(&state->left[i]))
			warn_of_left(state, &state->left[i]);
	forget_left(state);
}

/* --- the file, from its lock on --------------------------------------- */

static int take_lock(struct tm_agent_state *state)
{
	char name[TM_AGENT_PATH_SIZE + 8];
	int fd, err;

	snprintf(name, sizeof(name), "%s.lock", state->path);
	fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	if (flock(fd, LOCK_EX | LOCK_NB)) {
		err = -errno;
		close(fd);
		return err;
	}
	state->lock_fd = fd;
	return 0;
}

/* 0: it is ours now; or a negative errno. */
static int take(struct tm_agent_state *state)
{
	int err = take_lock(state);

	if (err)
		return err;
	err = read_left(state);
	if (err)
		tm_agent_log(state->log, TM_AGENT_WARNING, NULL,
			     "%s cannot be read, and what an agent that was "
			     "killed has left is not known: %s",
			     state->path, strerror(-err));
	return 0;
}

/* Says once that it is not written, if so. */
static void note(struct tm_agent_state *state, int err)
{
	if (err == -EWOULDBLOCK) {
		state->is_others = true;
		tm_agent_log(state->log, TM_AGENT_WARNING, NULL,
			     "%s: another tmem-balloon writes it, so this one "
			     "keeps no state, and nobody gives back what it "
			     "took if it is killed; name another with --state",
			     state->path);
	} else if (err && (err != -ENOENT || state->is_asked_for) &&
		   !state->is_refused) {
		/* Without a folder at the usual place nobody looks for it. */
		tm_agent_log(state->log, TM_AGENT_WARNING, NULL,
			     "%s cannot be written: %s", state->path,
			     strerror(-err));
	}
	state->is_refused = err;
}

void tm_agent_state_open(struct tm_agent_state *state,
			 const struct tm_agent_log *log,
			 const struct tm_agent_config *config)
{
	*state = (struct tm_agent_state){
		.log = log,
		.is_asked_for = config->is_state_asked_for,
		.lock_fd = -1,
	};
	strcpy(state->path, config->state);
	if (*state->path)
		note(state, take(state));
}

void tm_agent_state_leave(struct tm_agent_state *state)
{
	forget_left(state);
	if (state->lock_fd >= 0)
		close(state->lock_fd);
	state->lock_fd = -1;
}

/* To one that can give back what is in it: it may come at any time. */
static void leave_to_others(struct tm_agent_state *state)
{
	tm_agent_state_leave(state);
	state->is_others = true;
	tm_agent_log(state->log, TM_AGENT_WARNING, NULL,
		     "%s stays as an agent that was killed has left it, for "
		     "one that gives back what its guests had: this is a dry "
		     "run",
		     state->path);
}

void tm_agent_state_keep(struct tm_agent_state *state,
			 const struct tm_guest *guests, uint64_t now_ns)
{
	int err;

	if (!*state->path || state->is_others ||
	    (state->written_ns && now_ns - state->written_ns < STATE_NS))
		return;
	state->written_ns = now_ns;
	err = state->lock_fd < 0 ? take(state) : 0;
	if (!err && is_any_driven(state) && are_dry_runs(guests)) {
		leave_to_others(state);
		return;
	}
	if (!err) {
		warn_of_rest(state);
		err = tm_agent_state_write(state->path, guests);
	}
	note(state, err);
}

void tm_agent_state_close(struct tm_agent_state *state)
{
	if (state->lock_fd >= 0)
		unlink(state->path);
	tm_agent_state_leave(state);
}
