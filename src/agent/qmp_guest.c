/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A guest of QEMU with a virtio balloon, from outside, over QMP.
 *
 *	once		find the balloon, have the guest report each second
 *	each second	query-balloon, query-memory-size-summary, guest-stats
 *	when told to	balloon
 *
 * The problem: the balloon's statistics know nothing of Committed_AS, and what
 * they say was true when the guest wrote it. The idea: what the guest cannot
 * do without is what it has less what is available, which holds whether or not
 * a ballooned page still counts in the guest's total (it does where the balloon
 * deflates on OOM). A quarter of what its processes use on top stands for what
 * is promised and not used yet: without it a guest could not be seen to want
 * more. Not a quarter of all: what is available is free memory and page cache
 * less the kernel's watermarks, and these do not grow with its processes (they
 * are 120 MiB in a guest of 1 GiB with huge pages).
 *
 * "What it has" is the most of the last three seconds: while the balloon is
 * inflating, statistics are older than its size, and what is used would come
 * out too small. This errs towards giving.
 *
 * What it can have at the most is asked each time: memory can be plugged. A
 * guest of which that is not known is left alone, since nobody could tell how
 * much it is to get back.
 *
 * Statistics count only while they are renewed: QEMU says when the last ones
 * came, and a guest that is stopped, hung, or has no driver sends none. What a
 * guest does not report is 2^64 - 1. Clocks are not compared.
 *
 * The source owns the connection; the actuator sends over it.
 */
#include <config.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guest.h"
#include "qmp.h"

#define NS_PER_S UINT64_C(1000000000)
/* Statistics that were not renewed for so long are stale. */
#define FRESH_NS (5 * NS_PER_S)
#define RECENT 3
#define POLL_S 1
#define PATH_SIZE 160
/* What is wanted for a guest that ends. */
#define ALL_IT_CAN_HAVE UINT64_MAX
/* Above this doubles are not exact. */
#define EXACT_MAX 9007199254740992.0

/* What is under way. */
enum step {
	STEP_NONE,
	STEP_LIST, /* the balloon, among devices with a name */
	STEP_LIST_UNNAMED,
	STEP_POLL,
	STEP_BALLOON,
	STEP_SIZE,
	STEP_STATS,
	STEP_SET,
};

struct tm_qmp_guest {
	struct tm_qmp *qmp;
	enum step step;
	char path[PATH_SIZE]; /* of the balloon; "": not known yet */
	bool is_set_up;
	bool has_look; /* a reading, or a doubt, to be taken */
	bool is_doubtful;
	struct tm_guard_reading reading;
	uint64_t max_pages; /* as last heard; 0: not yet */
	uint64_t recent_pages[RECENT]; /* sizes of the balloon, newest first */
	double update_s; /* of the statistics; 0: none yet */
	bool was_renewed; /* since this connection */
	uint64_t renewed_ns;
	/* a target to be sent; 0: none */
	uint64_t wanted_pages;
	bool is_refused;
};

static void go_on(struct tm_guest *guest, uint64_t now_ns);

static void doubt(struct tm_guest *guest)
{
	guest->qmp->has_look = true;
	guest->qmp->is_doubtful = true;
}

static void lost(void *opaque, const char *why)
{
	struct tm_guest *guest = opaque;
	struct tm_qmp_guest *q = guest->qmp;

	if (guest->end_ns && (q->wanted_pages || q->step == STEP_SET))
		tm_guest_not_restored(guest, why);
	q->step = STEP_NONE;
	q->is_set_up = false;
	q->was_renewed = false;
	q->update_s = 0;
	memset(q->recent_pages, 0, sizeof(q->recent_pages));
	q->max_pages = 0;
	*q->path = '\0';
	/* Whoever answers next time knows nothing of it, and may be another. */
	tm_guest_forget_target(guest);
	q->wanted_pages = 0;
	tm_guest_doubt(guest, "%s: %s", guest->config.qmp, why);
	doubt(guest);
}

/* A whole number of JSON, exact and not negative. */
static bool read_number(const json_t *object, const char *key, double *number)
{
	const json_t *value = json_object_get(object, key);

	if (!json_is_number(value))
		return false;
	*number = json_number_value(value);
	return *number >= 0 && *number < EXACT_MAX &&
	       *number == (double)(uint64_t)*number;
}

static bool read_pages(const json_t *object, const char *key, uint64_t *pages)
{
	double bytes;

	if (!read_number(object, key, &bytes))
		return false;
	*pages = (uint64_t)bytes / TM_PAGE_BYTES;
	return true;
}

/* --- setting up -------------------------------------------------------- */

static void found(struct tm_qmp_guest *q, const char *folder, const char *name)
{
	int length = snprintf(q->path, sizeof(q->path), "%s/%s", folder, name);

	if (length < 0 || (size_t)length >= sizeof(q->path))
		*q->path = '\0';
}

/* Among the children of a folder of QEMU's, the first balloon. */
static void find_balloon(struct tm_qmp_guest *q, const char *folder,
			 const json_t *list)
{
	static const char prefix[] = "child<virtio-balloon";
	size_t i;
	json_t *child;

	json_array_foreach(list, i, child)
	{
		const char *type =
			json_string_value(json_object_get(child, "type"));
		const char *name =
			json_string_value(json_object_get(child, "name"));

		if (type && name &&
		    !strncmp(type, prefix, sizeof(prefix) - 1)) {
			found(q, folder, name);
			return;
		}
	}
}

/* --- readings ---------------------------------------------------------- */

static bool take_balloon(struct tm_guest *guest, const json_t *value)
{
	struct tm_qmp_guest *q = guest->qmp;
	uint64_t pages;

	if (!read_pages(value, "actual", &pages) || !pages) {
		tm_guest_doubt(guest, "query-balloon does not say how large "
				      "the guest is");
		doubt(guest);
		return false;
	}
	memmove(q->recent_pages + 1, q->recent_pages,
		(RECENT - 1) * sizeof(q->recent_pages[0]));
	q->recent_pages[0] = pages;
	return true;
}

static bool take_size(struct tm_guest *guest, const json_t *value,
		      const char *error)
{
	uint64_t base_pages = 0, plugged_pages = 0;

	if (!read_pages(value, "base-memory", &base_pages) || !base_pages) {
		tm_guest_doubt(guest,
			       "query-memory-size-summary does not say how "
			       "much memory the guest can have%s%s",
			       value ? "" : ": ", value ? "" : error);
		doubt(guest);
		return false;
	}
	/* Machines without slots for more do not say so. */
	read_pages(value, "plugged-memory", &plugged_pages);
	guest->qmp->max_pages = base_pages + plugged_pages;
	return true;
}

/* Have they been renewed lately? */
static bool is_fresh(struct tm_guest *guest, double update_s, uint64_t now_ns)
{
	struct tm_qmp_guest *q = guest->qmp;

	if (update_s > q->update_s) {
		/* The first ones seen may be of any age. */
		q->was_renewed = q->update_s > 0;
		q->renewed_ns = now_ns;
	}
	if (update_s < q->update_s)
		q->was_renewed = false;
	q->update_s = update_s;
	return q->was_renewed && now_ns - q->renewed_ns <= FRESH_NS;
}

static uint64_t counter(const json_t *stats, const char *key)
{
	double value;

	return read_number(stats, key, &value) ? (uint64_t)value
					       : TM_GUARD_UNKNOWN;
}

/* What it could use at once; false: it does not say. */
static bool read_available(const json_t *stats, uint64_t *pages)
{
	uint64_t free_pages, cache_pages;

	if (read_pages(stats, "stat-available-memory", pages))
		return true;
	if (!read_pages(stats, "stat-free-memory", &free_pages) ||
	    !read_pages(stats, "stat-disk-caches", &cache_pages))
		return false;
	*pages = free_pages + cache_pages;
	return true;
}

/* What processes and kernel use, of @used_pages that are not available. */
static uint64_t busy_pages(const struct tm_qmp_guest *q, const json_t *stats,
			   uint64_t used_pages)
{
	uint64_t total_pages, free_pages, cache_pages, idle_pages;

	if (!read_pages(stats, "stat-total-memory", &total_pages) ||
	    !read_pages(stats, "stat-free-memory", &free_pages) ||
	    !read_pages(stats, "stat-disk-caches", &cache_pages))
		return used_pages;
	idle_pages = free_pages + cache_pages;
	/* More than it has: what is ballooned counts. */
	if (total_pages > q->recent_pages[0])
		idle_pages += total_pages - q->recent_pages[0];
	total_pages -= total_pages < idle_pages ? total_pages : idle_pages;
	return total_pages < used_pages ? total_pages : used_pages;
}

static void make_reading(struct tm_qmp_guest *q, const json_t *stats,
			 uint64_t available_pages)
{
	struct tm_guard_reading *reading = &q->reading;
	uint64_t current_pages = 0, used_pages;
	uint64_t swapped_bytes = tm_guard_sum(counter(stats, "stat-swap-in"),
					      counter(stats, "stat-swap-out"));

	for (size_t i = 0; i < RECENT; i++)
		if (q->recent_pages[i] > current_pages)
			current_pages = q->recent_pages[i];
	used_pages = current_pages > available_pages
			     ? current_pages - available_pages
			     : 0;
	*reading = (struct tm_guard_reading){
		.law = {
			.usable_pages = q->recent_pages[0],
			.current_pages = q->recent_pages[0],
			.committed_pages =
				used_pages +
				busy_pages(q, stats, used_pages) / 4,
			.max_pages = q->max_pages,
		},
		.stalled_us = TM_GUARD_UNKNOWN,
		.major_faults = counter(stats, "stat-major-faults"),
		.swapped_pages = TM_GUARD_UNKNOWN,
	};
	/* As much as it would have now, were it used as it was then. */
	reading->available_pages = q->recent_pages[0] > used_pages
					   ? q->recent_pages[0] - used_pages
					   : 0;
	/* In bytes, unlike the faults. */
	if (swapped_bytes != TM_GUARD_UNKNOWN)
		reading->swapped_pages = swapped_bytes / TM_PAGE_BYTES;
}

static void take_stats(struct tm_guest *guest, const json_t *value,
		       uint64_t now_ns)
{
	struct tm_qmp_guest *q = guest->qmp;
	const json_t *stats = json_object_get(value, "stats");
	uint64_t available_pages, total_pages;
	double update_s;

	doubt(guest);
	if (!json_is_object(stats) ||
	    !read_number(value, "last-update", &update_s))
		tm_guest_doubt(guest, "guest-stats are none");
	else if (!is_fresh(guest, update_s, now_ns))
		tm_guest_doubt(guest, "its statistics are not renewed (it may "
				      "be starting, be stopped, or have no "
				      "driver of the balloon)");
	else if (!read_available(stats, &available_pages) ||
		 !read_pages(stats, "stat-total-memory", &total_pages))
		tm_guest_doubt(guest, "its statistics do not say what is "
				      "available");
	else if (available_pages > total_pages)
		tm_guest_doubt(guest, "its statistics say that more is "
				      "available than there is");
	else if (counter(stats, "stat-major-faults") == TM_GUARD_UNKNOWN &&
		 counter(stats, "stat-swap-in") == TM_GUARD_UNKNOWN)
		tm_guest_doubt(guest, "its statistics do not say whether it is "
				      "short");
	else {
		make_reading(q, stats, available_pages);
		q->is_doubtful = false;
	}
}

/* --- what is next ------------------------------------------------------ */

static void send_step(struct tm_guest *guest, enum step step,
		      const char *command, json_t *arguments, uint64_t now_ns)
{
	struct tm_qmp_guest *q = guest->qmp;

	/* Before sending: that may lose the connection, and say so. */
	q->step = step;
	if (tm_qmp_send(q->qmp, command, arguments, now_ns))
		tm_qmp_drop(q->qmp, strerror(ENOMEM), now_ns);
}

static void list(struct tm_guest *guest, enum step step, const char *folder,
		 uint64_t now_ns)
{
	send_step(guest, step, "qom-list", json_pack("{s:s}", "path", folder),
		  now_ns);
}

static void ask_size(struct tm_guest *guest, uint64_t now_ns)
{
	send_step(guest, STEP_SIZE, "query-memory-size-summary", NULL, now_ns);
}

static void ask_poll(struct tm_guest *guest, uint64_t now_ns)
{
	send_step(guest, STEP_POLL, "qom-set",
		  json_pack("{s:s, s:s, s:i}", "path", guest->qmp->path,
			    "property", "guest-stats-polling-interval", "value",
			    POLL_S),
		  now_ns);
}

static void ask_stats(struct tm_guest *guest, uint64_t now_ns)
{
	send_step(guest, STEP_STATS, "qom-get",
		  json_pack("{s:s, s:s}", "path", guest->qmp->path, "property",
			    "guest-stats"),
		  now_ns);
}

static void ready(void *opaque, uint64_t now_ns)
{
	struct tm_guest *guest = opaque;

	if (*guest->config.device) {
		found(guest->qmp, "/machine/peripheral", guest->config.device);
		ask_poll(guest, now_ns);
		return;
	}
	list(guest, STEP_LIST, "/machine/peripheral", now_ns);
}

/* The reply to a command of setting up. */
static void take_setup(struct tm_guest *guest, enum step step,
		       const json_t *value, const char *error, uint64_t now_ns)
{
	struct tm_qmp_guest *q = guest->qmp;

	switch (step) {
	case STEP_LIST:
		find_balloon(q, "/machine/peripheral", value);
		if (*q->path)
			ask_poll(guest, now_ns);
		else
			list(guest, STEP_LIST_UNNAMED,
			     "/machine/peripheral-anon", now_ns);
		return;
	case STEP_LIST_UNNAMED:
		find_balloon(q, "/machine/peripheral-anon", value);
		if (*q->path)
			ask_poll(guest, now_ns);
		else
			tm_qmp_drop(q->qmp, "it has no virtio balloon", now_ns);
		return;
	default:
		if (!value) {
			tm_qmp_drop(q->qmp, error, now_ns);
			return;
		}
		q->is_set_up = true;
		tm_qmp_settle(q->qmp);
	}
}

static void take_set(struct tm_guest *guest, const json_t *value,
		     const char *error)
{
	if (value)
		return;
	if (guest->end_ns && !guest->qmp->wanted_pages) {
		tm_guest_not_restored(guest, error);
		return;
	}
	/* It was counted as taken when it was sent. */
	guest->refused++;
	tm_guest_forget_target(guest);
	if (!guest->qmp->is_refused)
		tm_agent_log(guest->log, TM_AGENT_WARNING, guest->config.name,
			     "a target is refused: %s", error);
	guest->qmp->is_refused = true;
}

static void reply(void *opaque, const json_t *value, const char *error,
		  uint64_t now_ns)
{
	struct tm_guest *guest = opaque;
	enum step step = guest->qmp->step;

	guest->qmp->step = STEP_NONE;
	switch (step) {
	case STEP_BALLOON:
		if (!value) {
			tm_guest_doubt(guest, "query-balloon: %s", error);
			doubt(guest);
		} else if (take_balloon(guest, value)) {
			ask_size(guest, now_ns);
		}
		break;
	case STEP_SIZE:
		if (take_size(guest, value, error))
			ask_stats(guest, now_ns);
		break;
	case STEP_STATS:
		if (value) {
			take_stats(guest, value, now_ns);
		} else {
			tm_guest_doubt(guest, "guest-stats: %s", error);
			doubt(guest);
		}
		break;
	case STEP_SET:
		take_set(guest, value, error);
		if (value)
			guest->qmp->is_refused = false;
		break;
	default:
		take_setup(guest, step, value, error, now_ns);
	}
	go_on(guest, now_ns);
}

/* A target that waits is next. */
static void go_on(struct tm_guest *guest, uint64_t now_ns)
{
	struct tm_qmp_guest *q = guest->qmp;
	uint64_t pages = q->wanted_pages;

	/* Which is not known before the first look. */
	if (pages == ALL_IT_CAN_HAVE)
		pages = q->max_pages;
	if (!q->is_set_up || !pages || !tm_qmp_is_idle(q->qmp))
		return;
	q->wanted_pages = 0;
	/* Who was told is not given up, however late that was. */
	if (guest->end_ns)
		guest->end_ns = now_ns + TM_GUEST_END_NS;
	send_step(guest, STEP_SET, "balloon",
		  json_pack("{s:I}", "value",
			    (json_int_t)(pages * TM_PAGE_BYTES)),
		  now_ns);
}

/* --- the source -------------------------------------------------------- */

static int qmp_open(struct tm_guest *guest)
{
	const struct tm_qmp_handler handler = {
		.ready = ready, .reply = reply, .lost = lost, .opaque = guest
	};
	int err;

	guest->qmp = calloc(1, sizeof(*guest->qmp));
	if (!guest->qmp)
		return -ENOMEM;
	err = tm_qmp_open(guest->config.qmp, &handler, &guest->qmp->qmp);
	if (err) {
		free(guest->qmp);
		guest->qmp = NULL;
	}
	return err;
}

static void qmp_close(struct tm_guest *guest)
{
	if (!guest->qmp)
		return;
	tm_qmp_close(guest->qmp->qmp);
	free(guest->qmp);
	guest->qmp = NULL;
}

static enum tm_look qmp_look(struct tm_guest *guest, uint64_t now_ns,
			     bool is_due, struct tm_guard_reading *reading)
{
	struct tm_qmp_guest *q = guest->qmp;

	if (is_due) {
		tm_qmp_tick(q->qmp, now_ns);
		go_on(guest, now_ns);
		if (q->is_set_up && tm_qmp_is_idle(q->qmp))
			send_step(guest, STEP_BALLOON, "query-balloon", NULL,
				  now_ns);
	}
	if (!q->has_look)
		return TM_LOOK_NOTHING;
	q->has_look = false;
	*reading = q->reading;
	return q->is_doubtful ? TM_LOOK_UNTRUSTED : TM_LOOK_READING;
}

static size_t qmp_wait_for(struct tm_guest *guest, struct pollfd *fds)
{
	int fd = tm_qmp_fd(guest->qmp->qmp);

	if (fd < 0)
		return 0;
	fds[0] = (struct pollfd){ .fd = fd,
				  .events = tm_qmp_events(guest->qmp->qmp) };
	return 1;
}

static bool qmp_handle(struct tm_guest *guest, const struct pollfd *fds,
		       size_t count, uint64_t now_ns)
{
	if (!count || !fds[0].revents)
		return false;
	tm_qmp_handle(guest->qmp->qmp, now_ns);
	return guest->qmp->has_look;
}

const struct tm_source *tm_source_qmp(void)
{
	static const struct tm_source source = {
		.open = qmp_open,
		.close = qmp_close,
		.look = qmp_look,
		.wait_for = qmp_wait_for,
		.handle = qmp_handle,
	};

	return &source;
}

/* --- the actuator ------------------------------------------------------ */

static int qmp_set(struct tm_guest *guest, uint64_t target_pages,
		   uint64_t now_ns)
{
	if (!tm_qmp_is_connected(guest->qmp->qmp))
		return -ENOTCONN;
	guest->qmp->wanted_pages = target_pages;
	go_on(guest, now_ns);
	return 0;
}

static int qmp_restore(struct tm_guest *guest, uint64_t now_ns)
{
	struct tm_qmp_guest *q = guest->qmp;

	/* An agent that was killed may have driven it, and this one not even
	 * have connected yet; or it was out of sight, and is back before the
	 * next attempt, which would come too late. */
	tm_qmp_connect(q->qmp, now_ns);
	if (tm_qmp_fd(q->qmp) < 0)
		return -ENOTCONN;
	q->wanted_pages = ALL_IT_CAN_HAVE;
	go_on(guest, now_ns);
	return 0;
}

static bool qmp_is_busy(struct tm_guest *guest)
{
	return guest->qmp->wanted_pages || guest->qmp->step == STEP_SET;
}

const struct tm_actuator *tm_actuator_qmp(void)
{
	static const struct tm_actuator actuator = {
		.set = qmp_set,
		.restore = qmp_restore,
		.is_busy = qmp_is_busy,
	};

	return &actuator;
}
