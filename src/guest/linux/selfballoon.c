/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Selfballooning and frontswap-selfshrinking: two loops with hysteresis by
 * which a guest makes itself small.
 *
 * The problem: an operating system uses all the memory it has, most of it for
 * clean page cache, and only it knows what it could do without. The idea:
 * Committed_AS does not count clean page cache, so a guest that balloons
 * towards it pushes that cache out, into tmem, where the host can share it out.
 *
 *	goal   = committed + reserve + reserved_mb + what frontswap holds
 *	target = usable - surplus / downhysteresis	(surplus: usable > goal)
 *	       = usable + deficit / uphysteresis	(deficit: goal > usable)
 *	target = max(target, floor), then usable -> reservation
 *
 * Shrinking is slow (an eighth of the surplus per pass) because a page that is
 * missed costs a disk read; growing is at once because one that is missed may
 * cost a process. The floor is piecewise, and jumps at 64 and 512 MiB: it was
 * so, and is kept so.
 *
 * Selfshrinking: what a guest has swapped out stays outside although nobody
 * wants it, since disk is cheap; memory is not. When what is held outside has
 * not grown for `inertia` passes, 1/hysteresis of it is pulled back per pass.
 *
 * Where the original's arithmetic could wrap (a reserve above max_pfn, a
 * reserved_mb of 2^32 pages) ours saturates; and a number that only its lower
 * 32 bits make valid is refused, or 2^32 would be a divisor of zero.
 *
 * Where it differs on purpose: doc/deviations.md. Nothing here keeps time or
 * locks: the caller says what time it is, one thread at a time.
 */
#include <config.h>

#include <errno.h>
#include <string.h>

#include "selfballoon.h"

#define NS_PER_S UINT64_C(1000000000)
#define MIB(mib) ((mib)*TM_PAGES_PER_MIB)

#define TUNABLE(field) offsetof(struct tm_selfballoon_tunables, field)
static const struct tm_selfballoon_tunable tunables[] = {
	{ "selfballooning", "0|1", "balloon towards what is committed",
	  TUNABLE(selfballooning), 1, true, true },
	{ "selfballoon_interval", "s", "time between two passes",
	  TUNABLE(selfballoon_interval_s), 5, false, false },
	{ "selfballoon_downhysteresis", "", "shrink by 1/N of the surplus",
	  TUNABLE(selfballoon_downhysteresis), 8, false, false },
	{ "selfballoon_uphysteresis", "", "grow by 1/N of the deficit",
	  TUNABLE(selfballoon_uphysteresis), 1, false, false },
	{ "selfballoon_min_usable_mb", "MiB",
	  "floor in place of the built-in one (0)",
	  TUNABLE(selfballoon_min_usable_mb), 0, false, true },
	{ "selfballoon_reserved_mb", "MiB", "head room above what is committed",
	  TUNABLE(selfballoon_reserved_mb), 0, false, true },
	{ "frontswap_selfshrinking", "0|1",
	  "pull back swapped pages that nobody wants",
	  TUNABLE(frontswap_selfshrinking), 1, true, true },
	{ "frontswap_hysteresis", "", "pull back 1/N of them",
	  TUNABLE(frontswap_hysteresis), 20, false, false },
	{ "frontswap_inertia", "passes", "without growth, before that begins",
	  TUNABLE(frontswap_inertia), 3, false, false },
};
#define TUNABLE_COUNT (sizeof(tunables) / sizeof(tunables[0]))

const struct tm_selfballoon_tunable *tm_selfballoon_tunables(size_t *count)
{
	*count = TUNABLE_COUNT;
	return tunables;
}

static uint32_t *value_of(struct tm_selfballoon_tunables *values,
			  const struct tm_selfballoon_tunable *row)
{
	return (uint32_t *)(void *)((char *)values + row->offset);
}

uint32_t
tm_selfballoon_tunable_get(const struct tm_selfballoon_tunables *values,
			   const struct tm_selfballoon_tunable *row)
{
	uint32_t value;

	memcpy(&value, (const char *)values + row->offset, sizeof(value));
	return value;
}

void tm_selfballoon_defaults(struct tm_selfballoon_tunables *values)
{
	for (size_t i = 0; i < TUNABLE_COUNT; i++)
		*value_of(values, &tunables[i]) = tunables[i].initial;
}

static const struct tm_selfballoon_tunable *find_tunable(const char *name)
{
	for (size_t i = 0; i < TUNABLE_COUNT; i++)
		if (!strcmp(tunables[i].name, name))
			return &tunables[i];
	return NULL;
}

/* Decimal, all of it, 32 bits. */
static int parse_number(const char *text, uint32_t *number)
{
	uint64_t value = 0;
	size_t length = strlen(text);

	if (length && text[length - 1] == '\n')
		length--;
	if (!length)
		return -EINVAL;
	for (size_t i = 0; i < length; i++) {
		if (text[i] < '0' || text[i] > '9')
			return -EINVAL;
		value = value * 10 + (uint64_t)(text[i] - '0');
		if (value > UINT32_MAX)
			return -EINVAL;
	}
	*number = (uint32_t)value;
	return 0;
}

static int set_tunable(struct tm_selfballoon_tunables *values,
		       const struct tm_selfballoon_tunable *row,
		       const char *text, bool zero_is_fine)
{
	uint32_t number;

	if (parse_number(text, &number))
		return -EINVAL;
	if (row->is_switch ? number > 1 : !number && !zero_is_fine)
		return -EINVAL;
	*value_of(values, row) = number;
	return 0;
}

int tm_selfballoon_configure(struct tm_selfballoon_tunables *values,
			     const char *name, const char *text)
{
	const struct tm_selfballoon_tunable *row = find_tunable(name);

	if (!row)
		return -ENOENT;
	return set_tunable(values, row, text, row->may_be_zero);
}

/* --- coming up --------------------------------------------------------- */

static void schedule(struct tm_selfballoon *sb, uint64_t now_ns)
{
	sb->is_scheduled = true;
	sb->due_ns = now_ns + sb->tunables.selfballoon_interval_s * NS_PER_S;
}

int tm_selfballoon_init(struct tm_selfballoon *sb,
			const struct tm_selfballoon_boot *boot, uint64_t now_ns)
{
	bool is_wanted;

	*sb = (struct tm_selfballoon){ 0 };
	tm_selfballoon_defaults(&sb->tunables);
	sb->tunables.selfballooning = 0;
	sb->tunables.frontswap_selfshrinking = 0;
	sb->inertia_left = sb->tunables.frontswap_inertia;
	if (!boot->is_guest || !boot->has_balloon)
		return -ENODEV;
	sb->is_present = true;
	/* Pages driven to swap must go somewhere better than a disk. */
	is_wanted = boot->is_frontswap_built ? boot->is_frontswap_enabled &&
						       !boot->noselfballooning
					     : boot->selfballooning;
	sb->tunables.selfballooning = boot->is_tmem_enabled && is_wanted;
	sb->tunables.frontswap_selfshrinking =
		boot->is_tmem_enabled && boot->is_frontswap_built &&
		boot->is_frontswap_enabled && !boot->noselfshrink;
	if (sb->tunables.selfballooning || sb->tunables.frontswap_selfshrinking)
		schedule(sb, now_ns);
	return 0;
}

/* Only going from 0 to 1 starts the worker, and of two only the first. */
static bool starts_worker(const struct tm_selfballoon_tunables *old,
			  const struct tm_selfballoon_tunables *now)
{
	if (!old->selfballooning && now->selfballooning)
		return true;
	return !old->frontswap_selfshrinking && now->frontswap_selfshrinking &&
	       !now->selfballooning;
}

int tm_selfballoon_write(struct tm_selfballoon *sb, bool may_write,
			 const char *name, const char *text, uint64_t now_ns)
{
	const struct tm_selfballoon_tunables old = sb->tunables;
	const struct tm_selfballoon_tunable *row;
	int err;

	if (!may_write)
		return -EPERM;
	if (!sb->is_present)
		return -ENODEV;
	row = find_tunable(name);
	if (!row)
		return -ENOENT;
	err = set_tunable(&sb->tunables, row, text, false);
	if (err)
		return err;
	if (row->offset == TUNABLE(frontswap_inertia))
		sb->inertia_left = sb->tunables.frontswap_inertia;
	/* What is pending stays when it is. */
	if (starts_worker(&old, &sb->tunables) && !sb->is_scheduled)
		schedule(sb, now_ns);
	return 0;
}

/* --- the law ----------------------------------------------------------- */

static uint64_t add(uint64_t a, uint64_t b)
{
	return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

uint64_t tm_selfballoon_floor(uint64_t max_pages, uint64_t reserve_pages,
			      uint32_t min_usable_mb)
{
	uint64_t usable_pages =
		max_pages > reserve_pages ? max_pages - reserve_pages : 0;
	uint64_t floor_pages;

	if (min_usable_mb)
		floor_pages = MIB((uint64_t)min_usable_mb);
	else if (usable_pages < MIB(16))
		return max_pages; /* not worth ballooning */
	else if (usable_pages < MIB(64))
		floor_pages = MIB(16) + (usable_pages - MIB(16)) / 2;
	else if (usable_pages < MIB(512))
		floor_pages = MIB(40) + (usable_pages - MIB(40)) / 8;
	else
		floor_pages = MIB(99) + (usable_pages - MIB(99)) / 32;
	return add(reserve_pages, floor_pages);
}

uint64_t tm_selfballoon_goal(const struct tm_selfballoon_tunables *values,
			     const struct tm_selfballoon_reading *reading)
{
	uint64_t goal_pages =
		add(reading->committed_pages, reading->reserve_pages);

	goal_pages =
		add(goal_pages, MIB((uint64_t)values->selfballoon_reserved_mb));
	/* What is to be pulled back needs room. */
	if (values->frontswap_selfshrinking)
		goal_pages = add(goal_pages, reading->frontswap_pages);
	return goal_pages;
}

/* Usable pages -> reservation: what the kernel keeps for itself comes on top.
 */
static uint64_t to_reservation(const struct tm_selfballoon_reading *reading,
			       uint64_t usable_pages)
{
	if (reading->current_pages >= reading->usable_pages)
		return add(usable_pages,
			   reading->current_pages - reading->usable_pages);
	if (usable_pages < reading->usable_pages - reading->current_pages)
		return 0;
	return usable_pages - (reading->usable_pages - reading->current_pages);
}

uint64_t tm_selfballoon_target(const struct tm_selfballoon_tunables *values,
			       const struct tm_selfballoon_reading *reading)
{
	uint64_t now_pages = reading->usable_pages;
	uint64_t goal_pages = tm_selfballoon_goal(values, reading);
	uint64_t floor_pages =
		tm_selfballoon_floor(reading->max_pages, reading->reserve_pages,
				     values->selfballoon_min_usable_mb);
	uint64_t target_pages = now_pages;

	if (now_pages > goal_pages)
		target_pages =
			now_pages - (now_pages - goal_pages) /
					    values->selfballoon_downhysteresis;
	else if (now_pages < goal_pages)
		target_pages =
			now_pages + (goal_pages - now_pages) /
					    values->selfballoon_uphysteresis;
	if (target_pages < floor_pages)
		target_pages = floor_pages;
	return to_reservation(reading, target_pages);
}

static void shrink_frontswap(struct tm_selfballoon *sb, uint64_t held_pages,
			     struct tm_selfballoon_step *step)
{
	uint64_t last_pages = sb->last_frontswap_pages;
	uint32_t divisor = sb->tunables.frontswap_hysteresis;

	sb->last_frontswap_pages = held_pages;
	if (!held_pages || held_pages > last_pages) {
		sb->inertia_left = sb->tunables.frontswap_inertia;
		return;
	}
	if (sb->inertia_left && --sb->inertia_left)
		return;
	step->has_shrink = true;
	step->frontswap_pages =
		held_pages <= divisor ? 0 : held_pages - held_pages / divisor;
}

bool tm_selfballoon_is_due(const struct tm_selfballoon *sb, uint64_t now_ns)
{
	return sb->is_scheduled && now_ns >= sb->due_ns;
}

void tm_selfballoon_pass(struct tm_selfballoon *sb,
			 const struct tm_selfballoon_reading *reading,
			 uint64_t now_ns, struct tm_selfballoon_step *step)
{
	*step = (struct tm_selfballoon_step){ 0 };
	if (sb->tunables.selfballooning) {
		step->has_target = true;
		step->target_pages =
			tm_selfballoon_target(&sb->tunables, reading);
	}
	if (sb->tunables.frontswap_selfshrinking)
		shrink_frontswap(sb, reading->frontswap_pages, step);
	sb->is_scheduled = false;
	if (sb->tunables.selfballooning || sb->tunables.frontswap_selfshrinking)
		schedule(sb, now_ns);
}
