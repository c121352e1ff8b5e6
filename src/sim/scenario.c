/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Scenario files.
 *
 * A scenario is an INI file: [scenario], [host], a [guest NAME] for each kind
 * of guest, and [change WHAT] for what a guest does differently later. Every
 * number is one row of the tables below, with its kind and bounds, so that a
 * wrong word or value is named with its line, and no check stands elsewhere.
 *
 *	[guest db]
 *	memory = 2G
 *	[change the database starts]
 *	guest = db
 *	at = 60s
 *	anon = 4G
 *
 * A trace is lines of numbers: seconds; KiB of Committed_AS, of anonymous
 * memory; KiB per second touched of it, and read of the page cache. # begins a
 * comment.
 */
#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ini.h"
#include "nearest.h"
#include "scenario.h"
#include "size.h"

#define TRACE_ROWS_MAX 100000
#define HOUR_NS (3600 * TM_SIM_NS_PER_S)
#define TIB (UINT64_C(1) << 40)
#define NAME_CHARACTERS                                                      \
	"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._:@+-"

enum kind { SIZE, TIME, NUMBER, SWITCH };

struct row {
	const char *name; /* first, for tm_nearest() */
	size_t offset;
	enum kind kind;
	uint64_t min;
	uint64_t max;
	uint64_t initial;
	bool may_change;
};

#define OF(field) offsetof(struct tm_sim_scenario, field)
static const struct row scenario_rows[] = {
	{ "seed", OF(seed), NUMBER, 0, UINT64_MAX, 1, false },
	{ "duration", OF(duration_ns), TIME, TM_SIM_NS_PER_S, 24 * HOUR_NS,
	  600 * TM_SIM_NS_PER_S, false },
	{ "sample", OF(sample_ns), TIME, TM_SIM_NS_PER_S, HOUR_NS,
	  5 * TM_SIM_NS_PER_S, false },
	{ "grain", OF(grain), NUMBER, 1, 1024, 16, false },
};

static const struct row host_rows[] = {
	{ "memory", OF(memory_bytes), SIZE, 64 << 20, 64 * TIB,
	  UINT64_C(8) << 30, false },
	{ "disk_latency", OF(disk_latency_ns), TIME, 0, HOUR_NS, 8000000,
	  false },
	{ "disk_rate", OF(disk_bytes_per_s), SIZE, 1 << 20, TIB, 58 << 20,
	  false },
	{ "put", OF(put_ns), TIME, 0, TM_SIM_NS_PER_S, 8000, false },
	{ "get", OF(get_ns), TIME, 0, TM_SIM_NS_PER_S, 2500, false },
	{ "raw_put", OF(raw_put_ns), TIME, 0, TM_SIM_NS_PER_S, 1200, false },
	{ "raw_get", OF(raw_get_ns), TIME, 0, TM_SIM_NS_PER_S, 900, false },
	{ "fault", OF(fault_ns), TIME, 0, TM_SIM_NS_PER_S, 500, false },
};
#undef OF

#define OF(field) offsetof(struct tm_sim_guest_spec, field)
static const struct row guest_rows[] = {
	{ "count", OF(count), NUMBER, 1, TM_SIM_GUESTS_MAX, 1, false },
	{ "memory", OF(memory_bytes), SIZE, 64 << 20, TIB, 512 << 20, false },
	{ "maxmem", OF(maxmem_bytes), SIZE, 0, TIB, 0, false },
	{ "floor_of_maxmem", OF(floor_of_maxmem), SWITCH, 0, 1, 0, false },
	{ "kernel", OF(kernel_bytes), SIZE, 0, TIB, 48 << 20, false },
	{ "swap", OF(swap_bytes), SIZE, 0, TIB, 0, false },
	{ "files", OF(files_bytes), SIZE, 0, TIB, 0, false },
	{ "cached", OF(cached_bytes), SIZE, 0, TIB, 0, false },
	{ "shared", OF(shared), SWITCH, 0, 1, 0, false },
	{ "vcpus", OF(vcpus), NUMBER, 1, 64, 1, false },
	{ "weight", OF(weight), NUMBER, 0, UINT32_MAX, 0, false },
	{ "reservation", OF(reservation_bytes), SIZE, 0, TIB, 0, false },
	{ "cap", OF(cap_bytes), SIZE, 0, TIB, 0, false },
	{ "selfballooning", OF(selfballooning), SWITCH, 0, 1, 1, false },
	{ "start", OF(start_ns), TIME, 0, 24 * HOUR_NS, 0, false },
	{ "anon", OF(anon_bytes), SIZE, 0, TIB, 0, true },
	{ "committed", OF(committed_bytes), SIZE, 0, TIB, 0, true },
	{ "rate", OF(rate), NUMBER, 0, 1000000, 0, true },
	{ "units", OF(units), NUMBER, 0, UINT64_MAX, 0, true },
	{ "reads", OF(reads), NUMBER, 0, 100000, 0, true },
	{ "touches", OF(touches), NUMBER, 0, 100000, 0, true },
	{ "writes", OF(writes), NUMBER, 0, 100000, 0, true },
	{ "cpu", OF(cpu_ns), TIME, 1000, HOUR_NS, 1000000, true },
	{ "hot", OF(hot_pct), NUMBER, 1, 100, 20, true },
	{ "hot_refs", OF(hot_refs_pct), NUMBER, 0, 100, 80, true },
};
#undef OF
#define ROWS(table) (sizeof(table) / sizeof((table)[0]))

/* --- values ------------------------------------------------------------------
 */

static int parse_time(const char *text, uint64_t *ns)
{
	static const struct {
		const char *unit;
		uint64_t ns;
	} units[] = { { "ns", 1 },
		      { "us", 1000 },
		      { "ms", 1000000 },
		      { "s", TM_SIM_NS_PER_S },
		      { "m", 60 * TM_SIM_NS_PER_S },
		      { "h", HOUR_NS } };
	uint64_t number;
	char *end;

	if (*text < '0' || *text > '9')
		return -EINVAL;
	errno = 0;
	number = strtoull(text, &end, 10);
	for (size_t i = 0; i < ROWS(units); i++)
		if (!strcmp(end, units[i].unit) && !errno &&
		    number <= UINT64_MAX / units[i].ns) {
			*ns = number * units[i].ns;
			return 0;
		}
	return -EINVAL;
}

static int parse_number(const char *text, uint64_t *number)
{
	char *end;

	errno = 0;
	*number = strtoull(text, &end, 10);
	return errno || *text < '0' || *text > '9' || *end ? -EINVAL : 0;
}

static int parse_switch(const char *text, uint64_t *value)
{
	*value = !strcmp(text, "on");
	return *value || !strcmp(text, "off") ? 0 : -EINVAL;
}

static int parse_value(const struct row *row, const char *text, uint64_t *value,
		       char *error, size_t size)
{
	static const char *const wanted[] = { "a size such as 64M",
					      "a time such as 8ms", "a number",
					      "\"on\" or \"off\"" };
	static int (*const parse[])(const char *, uint64_t *) = {
		tm_size_parse, parse_time, parse_number, parse_switch
	};

	if (parse[row->kind](text, value)) {
		snprintf(error, size, "%s: \"%.40s\" is not %s", row->name,
			 text, wanted[row->kind]);
		return -EINVAL;
	}
	if (*value >= row->min && *value <= row->max)
		return 0;
	snprintf(error, size, "%s: %.40s is too %s", row->name, text,
		 *value < row->min ? "little" : "much");
	return -ERANGE;
}

static void set(void *object, size_t offset, uint64_t value)
{
	memcpy((char *)object + offset, &value, sizeof(value));
}

static void set_defaults(void *object, const struct row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++)
		set(object, rows[i].offset, rows[i].initial);
}

static const struct row *find_row(const struct row *rows, size_t count,
				  const char *key, char *error, size_t size)
{
	for (size_t i = 0; i < count; i++)
		if (!strcmp(rows[i].name, key))
			return &rows[i];
	snprintf(error, size, "unknown word \"%.40s\"; the nearest is \"%s\"",
		 key, tm_nearest(key, rows, count, sizeof(*rows)));
	return NULL;
}

static int set_row(void *object, const struct row *rows, size_t count,
		   const struct tm_ini_entry *e, char *error, size_t size)
{
	const struct row *row = find_row(rows, count, e->key, error, size);
	uint64_t value;
	int err =
		row ? parse_value(row, e->value, &value, error, size) : -EINVAL;

	if (!err)
		set(object, row->offset, value);
	return err;
}

/* --- traces --------------------------------------------------------------- */

static int read_trace_line(const char *line, struct tm_sim_trace_row *row)
{
	unsigned long long s, committed, anon, touched, read;
	int end = 0;

	if (sscanf(line, "%llu %llu %llu %llu %llu %n", &s, &committed, &anon,
		   &touched, &read, &end) != 5 ||
	    line[end] || strchr(line, '-') || s > 86400 || committed > TIB ||
	    anon > TIB || touched > TIB || read > TIB)
		return -EINVAL;
	*row = (struct tm_sim_trace_row){ s * TM_SIM_NS_PER_S, committed << 10,
					  anon << 10, touched << 10,
					  read << 10 };
	return 0;
}

static int read_trace(struct tm_sim_guest_spec *guest, FILE *file,
		      const char *path, char *error, size_t size)
{
	unsigned number = 0;
	char line[256];

	while (fgets(line, sizeof(line), file)) {
		struct tm_sim_trace_row row;
		bool is_later;

		number++;
		if (*line == '#' || *line == '\n')
			continue;
		is_later = !read_trace_line(line, &row) &&
			   (!guest->trace_count ||
			    row.at_ns >
				    guest->trace[guest->trace_count - 1].at_ns);
		if (!is_later || guest->trace_count == TRACE_ROWS_MAX) {
			snprintf(error, size,
				 "%s:%u: five numbers are wanted, the first of "
				 "them rising",
				 path, number);
			return -EINVAL;
		}
		guest->trace[guest->trace_count++] = row;
	}
	if (guest->trace_count)
		return 0;
	snprintf(error, size, "%s: there is nothing in it", path);
	return -EINVAL;
}

static int load_trace(struct tm_sim_guest_spec *guest, const char *scenario,
		      const char *name, char *error, size_t size)
{
	const char *slash = strrchr(scenario, '/');
	char path[512];
	FILE *file;
	int err;

	snprintf(path, sizeof(path), "%.*s%s",
		 slash && *name != '/' ? (int)(slash - scenario + 1) : 0,
		 scenario, name);
	file = fopen(path, "re");
	if (!file) {
		snprintf(error, size, "trace %s: %s", path, strerror(errno));
		return -EINVAL;
	}
	free(guest->trace);
	guest->trace_count = 0;
	guest->trace = calloc(TRACE_ROWS_MAX, sizeof(*guest->trace));
	err = guest->trace ? read_trace(guest, file, path, error, size)
			   : -ENOMEM;
	fclose(file);
	return err;
}

/* --- sections ------------------------------------------------------------- */

struct loader {
	struct tm_sim_scenario *scenario;
	const char *path;
	char guest[32]; /* of the change that is read */
	uint64_t at_ns;
};

static struct tm_sim_guest_spec *find_guest(struct tm_sim_scenario *scenario,
					    const char *name)
{
	for (size_t i = 0; i < scenario->guest_count; i++)
		if (!strcmp(scenario->guests[i].name, name))
			return &scenario->guests[i];
	return NULL;
}

static int begin_guest(struct tm_sim_scenario *s, const char *name, char *error,
		       size_t size)
{
	struct tm_sim_guest_spec *guest = &s->guests[s->guest_count];

	/* It stands in plots and reports as it is. */
	if (s->guest_count == TM_SIM_GUESTS_MAX || !*name ||
	    strlen(name) >= sizeof(guest->name) - 3 ||
	    name[strspn(name, NAME_CHARACTERS)]) {
		snprintf(error, size,
			 "a guest needs a name, of at most 28 letters, digits "
			 "and any of ._:@+-, and there may be %d",
			 TM_SIM_GUESTS_MAX);
		return -EINVAL;
	}
	if (find_guest(s, name)) {
		snprintf(error, size, "there is a guest \"%s\" already", name);
		return -EEXIST;
	}
	memset(guest, 0, sizeof(*guest));
	set_defaults(guest, guest_rows, ROWS(guest_rows));
	strcpy(guest->name, name);
	s->guest_count++;
	return 0;
}

static int read_guest(struct loader *loader, const struct tm_ini_entry *e,
		      char *error, size_t size)
{
	struct tm_sim_scenario *s = loader->scenario;

	if (!e->key)
		return begin_guest(s, e->name, error, size);
	if (!strcmp(e->key, "trace"))
		return load_trace(&s->guests[s->guest_count - 1], loader->path,
				  e->value, error, size);
	return set_row(&s->guests[s->guest_count - 1], guest_rows,
		       ROWS(guest_rows), e, error, size);
}

static int add_change(struct loader *loader, const struct tm_ini_entry *e,
		      char *error, size_t size)
{
	struct tm_sim_scenario *s = loader->scenario;
	const struct row *row =
		find_row(guest_rows, ROWS(guest_rows), e->key, error, size);
	struct tm_sim_change *change = &s->changes[s->change_count];
	int err;

	if (!row)
		return -EINVAL;
	if (!row->may_change || !loader->guest[0] ||
	    s->change_count == TM_SIM_CHANGES_MAX) {
		snprintf(error, size, "%s: %s", row->name,
			 !row->may_change    ? "does not change on the way"
			 : !loader->guest[0] ? "of which guest? guest and at "
					       "come first"
					     : "too many changes");
		return -EINVAL;
	}
	err = parse_value(row, e->value, &change->value, error, size);
	if (err)
		return err;
	strcpy(change->guest, loader->guest);
	change->at_ns = loader->at_ns;
	change->offset = row->offset;
	s->change_count++;
	return 0;
}

static int read_change(struct loader *loader, const struct tm_ini_entry *e,
		       char *error, size_t size)
{
	if (!e->key) {
		loader->guest[0] = '\0';
		loader->at_ns = 0;
		return 0;
	}
	if (!strcmp(e->key, "at")) {
		if (!parse_time(e->value, &loader->at_ns))
			return 0;
		snprintf(error, size, "at: \"%.40s\" is not a time such as 60s",
			 e->value);
		return -EINVAL;
	}
	if (strcmp(e->key, "guest"))
		return add_change(loader, e, error, size);
	if (!find_guest(loader->scenario, e->value)) {
		snprintf(error, size, "there is no guest \"%.40s\"", e->value);
		return -EINVAL;
	}
	strcpy(loader->guest, e->value);
	return 0;
}

static int read_scenario(struct loader *loader, const struct tm_ini_entry *e,
			 char *error, size_t size)
{
	struct tm_sim_scenario *s = loader->scenario;

	if (!e->key)
		return 0;
	if (!strcmp(e->key, "about")) {
		snprintf(s->about, sizeof(s->about), "%s", e->value);
		return 0;
	}
	return set_row(s, scenario_rows, ROWS(scenario_rows), e, error, size);
}

static int read_host(struct loader *loader, const struct tm_ini_entry *e,
		     char *error, size_t size)
{
	return e->key ? set_row(loader->scenario, host_rows, ROWS(host_rows), e,
				error, size)
		      : 0;
}

static int read_entry(void *opaque, const struct tm_ini_entry *e, char *error,
		      size_t size)
{
	static const struct section {
		const char *name;
		int (*read)(struct loader *, const struct tm_ini_entry *,
			    char *, size_t);
	} sections[] = { { "scenario", read_scenario },
			 { "host", read_host },
			 { "guest", read_guest },
			 { "change", read_change } };

	for (size_t i = 0; i < ROWS(sections); i++)
		if (!strcmp(sections[i].name, e->section))
			return sections[i].read(opaque, e, error, size);
	snprintf(error, size, "unknown section [%.40s]; the nearest is [%s]",
		 e->section,
		 tm_nearest(e->section, sections, ROWS(sections),
			    sizeof(*sections)));
	return -EINVAL;
}

/* --- what only the whole can tell ----------------------------------------- */

static int check_guest(struct tm_sim_guest_spec *g, const char *path,
		       char *error, size_t size)
{
	const char *wrong = NULL;

	if (!g->maxmem_bytes)
		g->maxmem_bytes = g->memory_bytes;
	if (g->maxmem_bytes < g->memory_bytes)
		wrong = "maxmem is below memory";
	else if (g->kernel_bytes + (g->maxmem_bytes >> 6) >=
		 g->memory_bytes / 2)
		wrong = "its kernel takes half of its memory";
	else if (g->cached_bytes > g->files_bytes)
		wrong = "more is cached than there are files";
	else if (g->reads && !g->files_bytes)
		wrong = "it reads, but has no files";
	if (!wrong)
		return 0;
	snprintf(error, size, "%s: guest %s: %s", path, g->name, wrong);
	return -EINVAL;
}

static int check(struct tm_sim_scenario *s, const char *path, char *error,
		 size_t size)
{
	uint64_t guests = 0, memory_bytes = 0;

	for (size_t i = 0; i < s->guest_count; i++) {
		if (check_guest(&s->guests[i], path, error, size))
			return -EINVAL;
		guests += s->guests[i].count;
		memory_bytes += s->guests[i].count * s->guests[i].memory_bytes;
	}
	if (guests && guests <= TM_SIM_GUESTS_MAX &&
	    memory_bytes <= s->memory_bytes)
		return 0;
	snprintf(error, size, "%s: %s", path,
		 !guests                      ? "there is no guest"
		 : guests > TM_SIM_GUESTS_MAX ? "more than 64 guests"
					      : "the host has less "
						"memory than its guests "
						"boot with");
	return -EINVAL;
}

static void name_it(struct tm_sim_scenario *scenario, const char *path)
{
	const char *slash = strrchr(path, '/');
	const char *base = slash ? slash + 1 : path;
	size_t length = strcspn(base, ".");

	snprintf(scenario->name, sizeof(scenario->name), "%.*s", (int)length,
		 base);
}

int tm_sim_scenario_load(struct tm_sim_scenario *scenario, const char *path,
			 char *error, size_t size)
{
	struct loader loader = { .scenario = scenario, .path = path };
	struct tm_ini ini = { path, read_entry, &loader };
	int err;

	memset(scenario, 0, sizeof(*scenario));
	set_defaults(scenario, scenario_rows, ROWS(scenario_rows));
	set_defaults(scenario, host_rows, ROWS(host_rows));
	name_it(scenario, path);
	err = tm_ini_load(&ini, error, size);
	return err ? err : check(scenario, path, error, size);
}

void tm_sim_scenario_free(struct tm_sim_scenario *scenario)
{
	for (size_t i = 0; i < scenario->guest_count; i++)
		free(scenario->guests[i].trace);
	scenario->guest_count = 0;
}
