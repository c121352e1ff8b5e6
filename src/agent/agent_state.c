/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What is known of each guest, as a file of OpenMetrics lines, for tmemd's
 * metrics, tmem top, and any other reader of such files.
 *
 * A file rather than one more socket: whoever reads it cannot keep the agent
 * waiting, and needs no rights but to read. It is written beside its place and
 * renamed, so that nobody reads half of one. An agent that follows one that was
 * killed finds in it what its guests had before they were driven. A value that
 * is not known has no line. Nobody can tell a file that is old from one that is
 * not: the last line says when it was written, and the agent takes it away when
 * it ends.
 */
#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "agent.h"

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
