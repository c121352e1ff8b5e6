/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tmem dom0-mem: what does dom0 get, where did the rest go, and what to type?
 *
 * Who sets dom0_mem=2G and sees 1.5 GiB in dom0 asks where the rest is; the
 * answer depends on the machine's map of memory and on two versions. Here they
 * are options, or are read from the dom0 this runs in; dom0_account.c counts,
 * and this file says it to people, programs and gnuplot.
 */
#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "dom0_account.h"
#include "dom0_running.h"
#include "plot.h"
#include "report.h"

#define KIB_PER_PAGE 4
#define PAGE_BYTES 4096
#define NOTES_MAX 8
#define BALLOON_FILE "/sys/devices/system/xen_memory/xen_memory0/target_kb"

struct dom0 {
	uint64_t host_bytes;
	const char *dom0_mem;
	const char *e820;
	const char *root;
	bool has_xen, has_linux, has_kernel;
	bool is_json;
	bool is_running;
	const char *plot_path;
	struct tm_dom0_running running;
	struct tm_dom0_machine machine;
	struct tm_dom0_string string;
	struct tm_dom0_account account;
	struct tm_e820 map;
	char advice[80];
	char command[160];
	char notes[NOTES_MAX][240];
	size_t note_count;
};

/* --- options -------------------------------------------------------------- */

static int set_host(void *target, const char *value)
{
	struct dom0 *d = target;

	if (tm_cli_set_size(&d->host_bytes, "host", value))
		return -EINVAL;
	if (d->host_bytes >= UINT64_C(16) << 20 &&
	    d->host_bytes < TM_E820_LIMIT_BYTES / 2)
		return 0;
	return tm_cli_error("--host: \"%s\" is not the memory of a machine",
			    value);
}

static int set_dom0_mem(void *target, const char *value)
{
	((struct dom0 *)target)->dom0_mem = value;
	return 0;
}

static int set_e820(void *target, const char *value)
{
	((struct dom0 *)target)->e820 = value;
	return 0;
}

static int set_version(uint32_t *version, const char *option, const char *value)
{
	if (!tm_version_parse(value, version))
		return 0;
	return tm_cli_error("--%s: \"%s\" is not a version such as 4.12",
			    option, value);
}

static int set_xen(void *target, const char *value)
{
	struct dom0 *d = target;

	d->has_xen = true;
	return set_version(&d->machine.xen, "xen", value);
}

static int set_linux(void *target, const char *value)
{
	struct dom0 *d = target;

	d->has_linux = true;
	return set_version(&d->machine.linux_version, "linux", value);
}

static int set_kernel(void *target, const char *value)
{
	struct dom0 *d = target;

	d->has_kernel = true;
	d->machine.is_classic = !strcmp(value, "classic");
	if (d->machine.is_classic || !strcmp(value, "pvops"))
		return 0;
	return tm_cli_error("--kernel: \"%s\" is neither \"classic\" nor "
			    "\"pvops\"",
			    value);
}

static int set_root(void *target, const char *value)
{
	((struct dom0 *)target)->root = value;
	return 0;
}

static int set_plot(void *target, const char *value)
{
	((struct dom0 *)target)->plot_path = value;
	return 0;
}

static int set_json(void *target, const char *value)
{
	(void)value;
	((struct dom0 *)target)->is_json = true;
	return 0;
}

static const struct tm_cli_option options[] = {
	{ "host", "SIZE", "memory of the machine, such as 64G", set_host },
	{ "dom0-mem", "STRING", "Xen's option, such as \"2G,max:2G\"",
	  set_dom0_mem },
	{ "e820", "FILE|none", "the machine's map, from a boot log", set_e820 },
	{ "xen", "VERSION", "of Xen [4.12]", set_xen },
	{ "linux", "VERSION", "of dom0's kernel [5.2]", set_linux },
	{ "kernel", "classic|pvops", "which kind of kernel that is [pvops]",
	  set_kernel },
	{ "root", "DIR", "read /proc and /sys of a dom0 copied to here",
	  set_root },
	{ "plot", "FILE.svg", "draw the map and what becomes of it", set_plot },
	{ "json", NULL, "print the result as JSON", set_json },
	{ NULL, NULL, NULL, NULL },
};

/* --- the inputs ----------------------------------------------------------- */

static uint64_t pages_of_map(const struct tm_e820 *map)
{
	return tm_e820_ram_pages(map, 0, UINT64_MAX);
}

/* Firmware keeps some of a machine's memory, but not an eighth. */
static int check_host(const struct dom0 *d)
{
	uint64_t mapped_bytes = pages_of_map(&d->map) * PAGE_BYTES;
	uint64_t difference = d->host_bytes > mapped_bytes
				      ? d->host_bytes - mapped_bytes
				      : mapped_bytes - d->host_bytes;
	char mapped[16], host[16];

	if (!d->host_bytes || difference <= mapped_bytes / 8)
		return 0;
	return tm_cli_error(
		"%s is of a machine with %s, not %s", d->e820,
		tm_report_size(mapped_bytes, mapped, sizeof(mapped)),
		tm_report_size(d->host_bytes, host, sizeof(host)));
}

static int read_map(struct dom0 *d)
{
	int err;

	if (d->is_running && !d->e820 && !d->host_bytes)
		err = tm_e820_read_sysfs(&d->map, d->root ? d->root : "");
	else if (d->e820 && strcmp(d->e820, "none"))
		err = tm_e820_read(&d->map, d->e820) || check_host(d) ? -EINVAL
								      : 0;
	else if (!d->host_bytes)
		return tm_cli_error(
			"dom0-mem: how much memory has the machine? "
			"--host SIZE or --e820 FILE says it");
	else
		err = d->e820 ? tm_e820_flat(&d->map, d->host_bytes)
			      : tm_e820_typical(&d->map, d->host_bytes);
	d->machine.map = &d->map;
	d->machine.host_pages = pages_of_map(&d->map);
	return err;
}

/* What the options do not say, the running dom0 does. */
static int read_running(struct dom0 *d)
{
	struct tm_dom0_running *r = &d->running;

	if (!d->root && (d->host_bytes || d->dom0_mem || d->e820))
		return 0;
	d->is_running = true;
	if (tm_dom0_running_read(r, d->root ? d->root : ""))
		return -EINVAL;
	if (!d->has_xen)
		d->machine.xen = r->xen;
	if (!d->has_linux)
		d->machine.linux_version = r->linux_version;
	if (!d->has_kernel)
		d->machine.is_classic = r->is_classic;
	if (d->dom0_mem)
		return 0;
	if (!r->dom0_mem[0])
		snprintf(r->dom0_mem, sizeof(r->dom0_mem), "%" PRIu64 "K",
			 r->current_kib);
	d->dom0_mem = r->dom0_mem;
	return 0;
}

static int read_string(struct dom0 *d)
{
	struct tm_dom0_account *a = &d->account;
	char error[200];

	a->available_pages =
		tm_dom0_available_pages(d->machine.host_pages, &a->xen_pages);
	if (!d->dom0_mem)
		d->string = (struct tm_dom0_string){ .stopped_at = NULL };
	else if (tm_dom0_string_parse(&d->string, d->dom0_mem, d->machine.xen,
				      error, sizeof(error)))
		return tm_cli_error("dom0_mem: %s", error);
	/* An ignored max: is not there at all. */
	if (d->string.max.is_set && d->machine.xen < TM_VERSION(4, 1, 2))
		d->string.max.is_set = false;
	if (tm_dom0_string_resolve(&d->string, a->available_pages, &a->share,
				   error, sizeof(error)))
		return tm_cli_error("dom0_mem: %s", error);
	return 0;
}

/* --- what to say about it ------------------------------------------------- */

static void note(struct dom0 *d, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
static void note(struct dom0 *d, const char *format, ...)
{
	va_list args;

	if (d->note_count == NOTES_MAX)
		return;
	va_start(args, format);
	vsnprintf(d->notes[d->note_count++], sizeof(d->notes[0]), format, args);
	va_end(args);
}

static double mib(uint64_t pages)
{
	return (double)pages / TM_DOM0_PAGES_PER_MIB;
}

static double mib_of_bytes(uint64_t bytes)
{
	return (double)bytes / (1 << 20);
}

/* "2G", "1536M" or "131073K": as it would be typed. */
static void write_size(uint64_t pages, char *text, size_t size)
{
	if (pages % (1024 * TM_DOM0_PAGES_PER_MIB) == 0)
		snprintf(text, size, "%" PRIu64 "G",
			 pages / (1024 * TM_DOM0_PAGES_PER_MIB));
	else if (pages % TM_DOM0_PAGES_PER_MIB == 0)
		snprintf(text, size, "%" PRIu64 "M",
			 pages / TM_DOM0_PAGES_PER_MIB);
	else
		snprintf(text, size, "%" PRIu64 "K", pages * KIB_PER_PAGE);
}

static void note_versions(struct dom0 *d)
{
	const struct tm_dom0_machine *m = &d->machine;

	if (d->string.stopped_at)
		note(d,
		     "Xen before 4.10 stops reading at \"%.80s\", without a "
		     "word.",
		     d->string.stopped_at);
	if (m->is_classic)
		note(d, "A classic kernel pays for the pages it has, not for "
			"those it may get.");
	else if (!tm_dom0_knows_max(m))
		note(d, "max: does nothing below Xen 4.1.2 or Linux 3.0.5: use "
			"newer ones.");
	if (!m->is_classic && d->account.released_pages)
		note(d,
		     m->linux_version < TM_VERSION(3, 5, 0)
			     ? "Before Linux 3.5 what lies behind holes is "
			       "given back to Xen; writing target_kb brings "
			       "it back."
			     : "There is no memory above to move to: dom0 has "
			       "less than it was given.");
}

static void make_notes(struct dom0 *d)
{
	const struct tm_dom0_account *a = &d->account;
	char size[32];

	write_size(a->share.base_pages, size, sizeof(size));
	snprintf(d->advice, sizeof(d->advice), "dom0_mem=%s,max:%s", size,
		 size);
	snprintf(d->command, sizeof(d->command),
		 "echo %" PRIu64 " > " BALLOON_FILE,
		 a->share.base_pages * KIB_PER_PAGE);
	note_versions(d);
	if (a->beyond_pages)
		note(d, "This kernel cannot have more than %.0f MiB.",
		     mib(a->share.base_pages - a->beyond_pages));
	if (a->waste_bytes && tm_dom0_knows_max(&d->machine))
		note(d,
		     "With max: as below, %.0f MiB more are left for "
		     "programs.",
		     mib_of_bytes(a->waste_bytes));
	if (a->waste_bytes && a->total_pages < a->share.base_pages / 2)
		note(d, "What is left may be too little to boot.");
	note(d, "Switch the toolstack's ballooning of dom0 off: "
		"autoballoon=\"auto\" or \"off\" in xl.conf.");
}

/* --- for people ----------------------------------------------------------- */

static const char *bound_text(enum tm_dom0_bound bound)
{
	static const char *const texts[] = {
		"as far as max: allows",
		"ten times its memory, the kernel's limit",
		"all other memory of the machine",
		"a classic kernel prepares none",
	};

	return texts[bound];
}

static void row(struct tm_report *report, const char *what, double value,
		const char *why)
{
	tm_report_cell(report, "%s", what);
	tm_report_cell(report, "%.1f", value);
	tm_report_cell(report, "%s", why);
}

static void add_rows(const struct dom0 *d, struct tm_report *t)
{
	const struct tm_dom0_account *a = &d->account;

	row(t, "the machine's memory", mib(d->machine.host_pages), "");
	row(t, "Xen's own tables", mib(a->xen_pages), "");
	row(t, "dom0 at boot", mib(a->share.base_pages), "");
	if (a->beyond_pages)
		row(t, "- more than it can have", mib(a->beyond_pages), "");
	row(t, "behind holes of the map", mib(a->hole_pages), "");
	row(t, "  moved above them", mib(a->moved_pages), "");
	row(t, "- released to Xen", mib(a->released_pages), "");
	row(t, "- struct pages", mib_of_bytes(a->struct_page_bytes), "");
	row(t, "- page tables", mib_of_bytes(a->page_table_bytes), "");
	row(t, "- p2m list", mib_of_bytes(a->p2m_bytes), "");
	row(t, "  of these, for the balloon", mib_of_bytes(a->waste_bytes), "");
	row(t, "- swiotlb", mib_of_bytes(a->swiotlb_bytes), "");
	row(t, "left for programs, about", mib(a->total_pages), "");
	row(t, "the balloon", mib(a->extra_pages), bound_text(a->bound));
}

static void print_table(const struct dom0 *d)
{
	static const char *const titles[] = { "", "MiB", "" };
	struct tm_report report;

	tm_report_begin(&report, titles, 3);
	add_rows(d, &report);
	if (d->is_running) {
		row(&report, "now: dom0 has",
		    (double)d->running.current_kib / 1024, "");
		row(&report, "now: MemTotal",
		    (double)d->running.total_kib / 1024, "");
	}
	tm_report_end(&report, stdout);
	putchar('\n');
	for (size_t i = 0; i < d->note_count; i++)
		puts(d->notes[i]);
	printf("\nTo Xen's command line, for the next boot:\n  %s\n"
	       "In dom0, now (needs CONFIG_XEN_BALLOON):\n  %s\n",
	       d->advice, d->command);
}

/* --- for programs --------------------------------------------------------- */

static const char *use_name(enum tm_dom0_use use)
{
	static const char *const names[] = { "memory", "hole", "moved",
					     "balloon", "not-dom0" };

	return names[use];
}

static json_t *json_of_map(const struct dom0 *d)
{
	json_t *map = json_array();

	for (size_t i = 0; i < d->account.stretch_count; i++) {
		const struct tm_dom0_stretch *s = &d->account.stretches[i];

		json_array_append_new(map,
				      json_pack("{sf sf ss}", "start_mib",
						mib(s->start_page), "end_mib",
						mib(s->end_page), "use",
						use_name(s->use)));
	}
	return map;
}

static json_t *json_of_notes(const struct dom0 *d)
{
	json_t *notes = json_array();

	for (size_t i = 0; i < d->note_count; i++)
		json_array_append_new(notes, json_string(d->notes[i]));
	return notes;
}

static json_t *json_of_sums(const struct dom0 *d)
{
	static const char *const bounds[] = { "ceiling", "ratio", "memory",
					      "classic" };
	const struct tm_dom0_account *a = &d->account;
	bool is_limited = a->share.max_pages != TM_DOM0_UNLIMITED_PAGES;

	return json_pack(
		"{sf sf sf sf so sf ss sf sf sf sf s{sf sf sf} sf sf sf sf sI}",
		"host_mib", mib(d->machine.host_pages), "xen_mib",
		mib(a->xen_pages), "available_mib", mib(a->available_pages),
		"base_mib", mib(a->share.base_pages), "max_mib",
		is_limited ? json_real(mib(a->share.max_pages)) : json_null(),
		"extra_mib", mib(a->extra_pages), "extra_bound",
		bounds[a->bound], "hole_mib", mib(a->hole_pages), "moved_mib",
		mib(a->moved_pages), "released_mib", mib(a->released_pages),
		"metadata_mib", mib_of_bytes(a->metadata_bytes), "metadata",
		"struct_page_mib", mib_of_bytes(a->struct_page_bytes),
		"page_table_mib", mib_of_bytes(a->page_table_bytes), "p2m_mib",
		mib_of_bytes(a->p2m_bytes), "waste_mib",
		mib_of_bytes(a->waste_bytes), "waste_pct",
		100 * mib_of_bytes(a->waste_bytes) / mib(a->share.base_pages),
		"swiotlb_mib", mib_of_bytes(a->swiotlb_bytes), "mem_total_mib",
		mib(a->total_pages), "target_kb",
		(json_int_t)(a->share.base_pages * KIB_PER_PAGE));
}

static int print_json(const struct dom0 *d)
{
	json_t *json = json_of_sums(d);

	json_object_set_new(
		json, "advice",
		json_pack("{ss ss}", "xen", d->advice, "dom0", d->command));
	json_object_set_new(json, "notes", json_of_notes(d));
	json_object_set_new(json, "map", json_of_map(d));
	if (d->is_running)
		json_object_set_new(
			json, "running",
			json_pack("{ss sI sI sI}", "dom0_mem",
				  d->running.dom0_mem, "current_kb",
				  (json_int_t)d->running.current_kib,
				  "target_kb",
				  (json_int_t)d->running.target_kib,
				  "mem_total_kb",
				  (json_int_t)d->running.total_kib));
	json_dumpf(json, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(10));
	putchar('\n');
	json_decref(json);
	return 0;
}

/* --- drawn ---------------------------------------------------------------- */

static void draw_box(FILE *file, double from_gib, double to_gib, double bottom,
		     const char *colour)
{
	fprintf(file,
		"set object rectangle from %.6f,%.2f to %.6f,%.2f "
		"fillcolor rgb '%s' fillstyle solid border rgb '#404040'\n",
		from_gib, bottom, to_gib, bottom + 0.6, colour);
}

/* Two bars over the same addresses: the machine's map above, dom0's below. */
static int draw(const struct dom0 *d)
{
	static const char *const kinds[] = { "#4e79a7", "#bab0ac", "#f28e2b",
					     "#76b7b2" };
	static const char *const uses[] = { "#4e79a7", "#bab0ac", "#59a14f",
					    "#edc948", "#ffffff" };
	const struct tm_dom0_account *a = &d->account;
	struct tm_plot plot;
	double end = 0;
	int err = tm_plot_open(&plot, d->plot_path,
			       "Memory of the machine, and of dom0");

	if (err)
		return err;
	for (size_t i = 0; i < d->map.count; i++) {
		const struct tm_e820_range *r = &d->map.ranges[i];

		draw_box(plot.file, mib_of_bytes(r->start_bytes) / 1024,
			 mib_of_bytes(r->end_bytes) / 1024, 1.2,
			 kinds[r->kind]);
		end = mib_of_bytes(r->end_bytes) / 1024;
	}
	for (size_t i = 0; i < a->stretch_count; i++)
		draw_box(plot.file, mib(a->stretches[i].start_page) / 1024,
			 mib(a->stretches[i].end_page) / 1024, 0.2,
			 uses[a->stretches[i].use]);
	fprintf(plot.file,
		"set xrange [0:%.6f]\nset yrange [0:2.4]\n"
		"set xlabel 'address, GiB'\n"
		"set ytics ('dom0' 0.5, 'machine' 1.5)\nset style data boxes\n"
		"set style fill solid\nset key horizontal\n"
		"plot NaN title 'memory' lc rgb '%s', "
		"NaN title 'hole, reserved' lc rgb '%s', "
		"NaN title 'ACPI' lc rgb '%s', "
		"NaN title 'moved here' lc rgb '%s', "
		"NaN title 'balloon' lc rgb '%s'\n",
		end, uses[0], uses[1], kinds[2], uses[2], uses[3]);
	return tm_plot_close(&plot);
}

/* --- the verb ------------------------------------------------------------- */

static int tell(struct dom0 *d)
{
	if (tm_dom0_account_make(&d->account, &d->machine))
		return tm_cli_error("no memory");
	make_notes(d);
	if (d->is_json)
		print_json(d);
	else
		print_table(d);
	return d->plot_path ? draw(d) : 0;
}

static int run(const struct tm_cli_verb *verb, int argc, char **argv)
{
	struct dom0 *d = calloc(1, sizeof(*d));
	int operands, err;

	if (!d)
		return TM_CLI_FAILED;
	d->machine.xen = TM_VERSION(4, 12, 0);
	d->machine.linux_version = TM_VERSION(5, 2, 0);
	err = tm_cli_parse(verb, argc, argv, d, &operands);
	if (!err && operands)
		err = tm_cli_error("dom0-mem: \"%s\" is one argument too many",
				   argv[0]);
	if (err) {
		free(d);
		return err > 0 ? TM_CLI_OK : TM_CLI_USAGE;
	}
	err = read_running(d);
	if (!err)
		err = read_map(d);
	if (!err)
		err = read_string(d);
	if (!err)
		err = tell(d);
	tm_dom0_account_free(&d->account);
	tm_e820_free(&d->map);
	free(d);
	return err ? TM_CLI_FAILED : TM_CLI_OK;
}

const struct tm_cli_verb tm_cli_dom0_mem = {
	.name = "dom0-mem",
	.summary = "where did dom0's memory go, and what to type?",
	.usage = "[--host SIZE] [--dom0-mem STRING] [OPTION]...",
	.options = options,
	.run = run,
};
