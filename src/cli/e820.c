/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A machine's map of physical memory, from a boot log.
 *
 * The problem: everybody prints it differently, and a whole log has much else.
 * The idea: a line is one of the map's if it has one of the marks below; any
 * other is passed over, and one with a mark must be read to its end or is an
 * error, with its number. So a table cut by an editor is never half believed.
 *
 *	BIOS-e820: [mem 0x0000000000000000-0x000000000009fbff] usable
 *	BIOS-e820: 0000000000000000 - 000000000009fc00 (usable)
 *	Xen: [mem 0x0000000000000000-0x000000000009ffff] usable
 *	(XEN)  0000000000000000 - 000000000009fc00 (usable)
 *	(XEN)  [0000000000000000, 000000000009fbff] (usable)
 *
 * Ends are inclusive within brackets and exclusive without. Each range must be
 * above the one before it: firmware may say otherwise, but a log of a kernel
 * that has sorted them does not.
 *
 * The bound: 1024 ranges, and lines of 1000 bytes.
 */
#include <config.h>

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "dom0_string.h"
#include "e820.h"

#define PAGE_BYTES UINT64_C(4096)
#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

static const struct kind_word {
	const char *word;
	enum tm_e820_kind kind;
} kind_words[] = {
	{ "usable", TM_E820_RAM },
	{ "System RAM", TM_E820_RAM },
	{ "reserved", TM_E820_RESERVED },
	{ "Reserved", TM_E820_RESERVED },
	{ "device reserved", TM_E820_RESERVED },
	{ "soft reserved", TM_E820_RESERVED },
	{ "ACPI data", TM_E820_ACPI },
	{ "ACPI NVS", TM_E820_ACPI },
	{ "ACPI Tables", TM_E820_ACPI },
	{ "ACPI Non-volatile Storage", TM_E820_ACPI },
	{ "unusable", TM_E820_UNUSABLE },
	{ "Unusable memory", TM_E820_UNUSABLE },
};
#define KIND_WORDS (sizeof(kind_words) / sizeof(kind_words[0]))

static int kind_of(const char *word)
{
	for (size_t i = 0; i < KIND_WORDS; i++)
		if (!strcmp(kind_words[i].word, word))
			return (int)kind_words[i].kind;
	/* "type 20", "persistent (type 12)": numbers that the kernel knows no
	 * name for, or memory that is not for programs. */
	if (!strncmp(word, "type ", 5) || !strncmp(word, "persistent", 10) ||
	    !strncmp(word, "Persistent Memory", 17) ||
	    !strncmp(word, "Unknown", 7))
		return TM_E820_RESERVED;
	return -EINVAL;
}

const char *tm_e820_kind_name(enum tm_e820_kind kind)
{
	static const char *const names[] = { "memory", "reserved", "ACPI",
					     "unusable" };

	return names[kind];
}

bool tm_e820_is_ram(const struct tm_e820_range *range)
{
	return range->kind == TM_E820_RAM || range->kind == TM_E820_UNUSABLE;
}

uint64_t tm_e820_ram_pages(const struct tm_e820 *map, uint64_t from_page,
			   uint64_t to_page)
{
	uint64_t pages = 0;

	for (size_t i = 0; i < map->count; i++) {
		const struct tm_e820_range *r = &map->ranges[i];
		uint64_t start = (r->start_bytes + PAGE_BYTES - 1) / PAGE_BYTES;
		uint64_t end = r->end_bytes / PAGE_BYTES;

		if (start < from_page)
			start = from_page;
		if (end > to_page)
			end = to_page;
		if (tm_e820_is_ram(r) && start < end)
			pages += end - start;
	}
	return pages;
}

void tm_e820_free(struct tm_e820 *map)
{
	free(map->ranges);
	*map = (struct tm_e820){ .ranges = NULL };
}

static int make_room(struct tm_e820 *map)
{
	*map = (struct tm_e820){ .ranges = NULL };
	map->ranges = calloc(TM_E820_MAX, sizeof(*map->ranges));
	return map->ranges ? 0 : -ENOMEM;
}

static void append(struct tm_e820 *map, uint64_t start, uint64_t end,
		   enum tm_e820_kind kind)
{
	if (start < end)
		map->ranges[map->count++] =
			(struct tm_e820_range){ start, end, kind };
}

int tm_e820_flat(struct tm_e820 *map, uint64_t memory_bytes)
{
	if (make_room(map))
		return -ENOMEM;
	append(map, 0, memory_bytes, TM_E820_RAM);
	return 0;
}

/* The BIOS below 1 MiB, devices below 4 GiB, and the memory that had to make
 * room for them above. */
int tm_e820_typical(struct tm_e820 *map, uint64_t memory_bytes)
{
	const uint64_t devices = 3 * GIB, acpi = devices - 2 * MIB;
	uint64_t low = memory_bytes < acpi ? memory_bytes : acpi;

	if (make_room(map))
		return -ENOMEM;
	append(map, 0, 0x9fc00, TM_E820_RAM);
	append(map, 0x9fc00, 0xa0000, TM_E820_RESERVED);
	append(map, 0xf0000, MIB, TM_E820_RESERVED);
	append(map, MIB, low, TM_E820_RAM);
	append(map, low, low + MIB, TM_E820_ACPI);
	append(map, low + MIB, low + 2 * MIB, TM_E820_RESERVED);
	append(map, 0xe0000000, 0xf0000000, TM_E820_RESERVED);
	append(map, 0xfec00000, 0xfec10000, TM_E820_RESERVED);
	append(map, 0xfee00000, 0xfee01000, TM_E820_RESERVED);
	append(map, 0xff000000, 4 * GIB, TM_E820_RESERVED);
	append(map, 4 * GIB, 4 * GIB + memory_bytes - low, TM_E820_RAM);
	return 0;
}

/* --- boot logs ---------------------------------------------------------------
 */

struct log_reader {
	const char *path;
	size_t line;
	struct tm_e820 *map;
};

static int refuse(const struct log_reader *reader, const char *why)
{
	return tm_cli_error("%s, line %zu: %s", reader->path, reader->line,
			    why);
}

static int add_checked(const struct log_reader *reader, uint64_t start,
		       uint64_t end, enum tm_e820_kind kind)
{
	struct tm_e820 *map = reader->map;
	const struct tm_e820_range *last =
		map->count ? &map->ranges[map->count - 1] : NULL;

	if (start >= end)
		return refuse(reader, "the range ends before it begins");
	if (end > TM_E820_LIMIT_BYTES)
		return refuse(reader, "no processor has such an address");
	if (last && start < last->start_bytes)
		return refuse(reader, "it begins below the range before it: "
				      "the table is not sorted");
	if (last && start < last->end_bytes)
		return refuse(reader, "it overlaps the range before it");
	if (map->count == TM_E820_MAX)
		return refuse(reader, "more than 1024 ranges");
	append(map, start, end, kind);
	return 0;
}

static const char *skip_blanks(const char *text)
{
	return text + strspn(text, " \t");
}

/* Does a range begin here? A date or a name of a file must not look like one.
 */
static bool is_range(const char *text)
{
	if (!strncmp(text, "[mem ", 5))
		return true;
	text += *text == '[';
	if (!strncmp(text, "0x", 2))
		text += 2;
	return strspn(text, "0123456789abcdefABCDEF") >= 8;
}

/* Where in @line the range begins; NULL: it is no line of the map. */
static const char *find_range(const char *line)
{
	static const char *const marks[] = { "BIOS-e820:", "Xen:", "(XEN)" };
	const char *found;

	found = strstr(line, marks[0]);
	if (found)
		return skip_blanks(found + strlen(marks[0]));
	for (size_t i = 1; i < sizeof(marks) / sizeof(marks[0]); i++) {
		found = strstr(line, marks[i]);
		if (!found)
			continue;
		found = skip_blanks(found + strlen(marks[i]));
		/* "(XEN) [2020-01-01 10:00:00] " in front of it */
		if (*found == '[' && strchr(found, ']') && !is_range(found))
			found = skip_blanks(strchr(found, ']') + 1);
		return is_range(found) ? found : NULL;
	}
	return NULL;
}

static const char *read_hex(const char *text, uint64_t *number)
{
	char *end;

	errno = 0;
	*number = strtoull(text, &end, 16);
	if (end == text || errno || *text == '-' || *text == '+')
		return NULL;
	return end;
}

static int read_kind(const struct log_reader *reader, const char *text)
{
	char word[40];
	size_t length;
	int kind;

	text = skip_blanks(text);
	length = strcspn(text, "\r\n");
	/* "(usable)", but "persistent (type 12)" */
	if (*text == '(' && length > 1 && text[length - 1] == ')') {
		text++;
		length -= 2;
	}
	while (length && text[length - 1] == ' ')
		length--;
	if (length >= sizeof(word))
		return refuse(reader, "what kind of memory that is nobody "
				      "knows");
	memcpy(word, text, length);
	word[length] = '\0';
	kind = kind_of(word);
	return kind >= 0 ? kind
			 : refuse(reader, "what kind of memory that is nobody "
					  "knows");
}

static int read_range(const struct log_reader *reader, const char *text)
{
	bool is_inclusive = *text == '[';
	uint64_t start, end;
	int kind;

	if (!strncmp(text, "[mem ", 5))
		text += 5;
	else
		text += is_inclusive;
	text = read_hex(skip_blanks(text), &start);
	if (text)
		text = skip_blanks(text);
	if (!text || (*text != '-' && *text != ','))
		return refuse(reader, "that is no range of addresses");
	text = read_hex(skip_blanks(text + 1), &end);
	if (!text || (is_inclusive && *text++ != ']'))
		return refuse(reader, "that is no range of addresses");
	if (is_inclusive && ++end == 0)
		return refuse(reader, "no processor has such an address");
	kind = read_kind(reader, text);
	return kind < 0 ? kind
			: add_checked(reader, start, end,
				      (enum tm_e820_kind)kind);
}

/* Of a line what fits; bytes of zero are blanks. False: there is none. */
static bool read_log_line(FILE *file, char *line, size_t size)
{
	size_t length = 0;
	int c = fgetc(file);

	if (c == EOF)
		return false;
	for (; c != EOF && c != '\n'; c = fgetc(file))
		if (length + 1 < size)
			line[length++] = (char)(c ? c : ' ');
	line[length] = '\0';
	return true;
}

static int read_log(struct log_reader *reader, FILE *file)
{
	char line[1000];

	while (read_log_line(file, line, sizeof(line))) {
		const char *range;

		reader->line++;
		range = find_range(line);
		if (range && read_range(reader, range))
			return -EINVAL;
	}
	if (ferror(file))
		return tm_cli_error("%s: %s", reader->path, strerror(errno));
	if (!tm_e820_ram_pages(reader->map, 0, UINT64_MAX))
		return tm_cli_error("%s: there is no memory in it; lines such "
				    "as \"BIOS-e820: [mem 0x0-0x9ffff] "
				    "usable\" are wanted",
				    reader->path);
	return 0;
}

int tm_e820_read(struct tm_e820 *map, const char *path)
{
	struct log_reader reader = { path, 0, map };
	FILE *file = fopen(path, "re");
	int err;

	if (!file)
		return tm_cli_error("%s: %s", path, strerror(errno));
	err = make_room(map);
	if (!err)
		err = read_log(&reader, file);
	fclose(file);
	if (err)
		tm_e820_free(map);
	return err;
}

/* --- the running system --------------------------------------------------- */

static int read_line(const char *root, const char *entry, const char *name,
		     char *line, size_t size)
{
	char path[600];
	FILE *file;
	bool is_read;

	snprintf(path, sizeof(path), "%s/sys/firmware/memmap/%s/%s", root,
		 entry, name);
	file = fopen(path, "re");
	if (!file)
		return -errno;
	is_read = fgets(line, (int)size, file);
	fclose(file);
	if (!is_read)
		return -EINVAL;
	line[strcspn(line, "\n")] = '\0';
	return 0;
}

static int read_entry(struct tm_e820 *map, const char *root, const char *entry)
{
	char start[64], end[64], type[64];
	struct tm_e820_range *r = &map->ranges[map->count];
	int kind;

	if (map->count == TM_E820_MAX ||
	    read_line(root, entry, "start", start, sizeof(start)) ||
	    read_line(root, entry, "end", end, sizeof(end)) ||
	    read_line(root, entry, "type", type, sizeof(type)) ||
	    !read_hex(start, &r->start_bytes) || !read_hex(end, &r->end_bytes))
		return -EINVAL;
	kind = kind_of(type);
	r->kind = kind < 0 ? TM_E820_RESERVED : (enum tm_e820_kind)kind;
	r->end_bytes++;
	if (r->end_bytes <= r->start_bytes ||
	    r->end_bytes > TM_E820_LIMIT_BYTES)
		return -EINVAL;
	map->count++;
	return 0;
}

static int by_start(const void *a, const void *b)
{
	const struct tm_e820_range *x = a, *y = b;

	return (x->start_bytes > y->start_bytes) -
	       (x->start_bytes < y->start_bytes);
}

int tm_e820_read_sysfs(struct tm_e820 *map, const char *root)
{
	char path[600];
	struct dirent *entry;
	int err = 0;
	DIR *folder;

	snprintf(path, sizeof(path), "%s/sys/firmware/memmap", root);
	folder = opendir(path);
	if (!folder)
		return tm_cli_error("%s: %s (name --host and --dom0-mem "
				    "instead)",
				    path, strerror(errno));
	err = make_room(map);
	while (!err && (entry = readdir(folder)))
		if (entry->d_name[0] != '.')
			err = read_entry(map, root, entry->d_name);
	closedir(folder);
	if (map->ranges)
		qsort(map->ranges, map->count, sizeof(*map->ranges), by_start);
	for (size_t i = 1; !err && i < map->count; i++)
		if (map->ranges[i].start_bytes < map->ranges[i - 1].end_bytes)
			err = -EINVAL;
	if (!err && tm_e820_ram_pages(map, 0, UINT64_MAX))
		return 0;
	tm_e820_free(map);
	return tm_cli_error("%s: that is no map of memory", path);
}
