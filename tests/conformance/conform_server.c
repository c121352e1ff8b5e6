/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The other end of port_program.c: this library, behind the text protocol. An
 * example for whoever writes that for something else, and the suite's test of
 * its own port.
 */
#include <config.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conform.h"

#define LINE_BYTES (2 * TMEM_PAGE_SIZE + 64)

static bool from_hex(void *bytes, const char *hex, size_t size)
{
	unsigned byte;

	if (strlen(hex) != 2 * size)
		return false;
	for (size_t i = 0; i < size; i++) {
		if (sscanf(hex + 2 * i, "%2x", &byte) != 1)
			return false;
		((uint8_t *)bytes)[i] = (uint8_t)byte;
	}
	return true;
}

static void answer_page(const uint8_t *page)
{
	printf("page ");
	for (size_t i = 0; i < TMEM_PAGE_SIZE; i++)
		printf("%02x", page[i]);
	putchar('\n');
}

static void answer(int err)
{
	puts(!err ? "ok" : err == -ENOTSUP ? "unsupported" : "error");
}

static bool call(struct conform_port *port, int guest, const char *hex)
{
	struct tmem_xen_op op = { 0 };
	bool is_compat = strlen(hex) == 2 * sizeof(struct tmem_xen_op_compat);

	if (!from_hex(&op, hex,
		      is_compat ? sizeof(struct tmem_xen_op_compat) :
				  sizeof(op)))
		return false;
	printf("result %d\n", port->ops->call(port, guest, &op, is_compat));
	return true;
}

static bool frame_line(struct conform_port *port, const char *verb, int guest,
		       const char *rest)
{
	static char hex[LINE_BYTES];
	uint8_t page[TMEM_PAGE_SIZE];
	uint64_t frame;
	int words;

	words = sscanf(rest, "%" SCNu64 " %8192s", &frame, hex);
	if (words < 1 || frame >= CONFORM_FRAMES)
		return false;
	if (!strcmp(verb, "write")) {
		if (words < 2 || !from_hex(page, hex, sizeof(page)))
			return false;
		port->ops->write_frame(port, guest, frame, page);
		answer(0);
	} else if (!strcmp(verb, "read")) {
		port->ops->read_frame(port, guest, frame, page);
		answer_page(page);
	} else {
		answer(port->ops->set_frame(port, guest, frame,
					    strcmp(verb, "hole"),
					    !strcmp(verb, "ram")));
	}
	return true;
}

static bool guest_line(struct conform_port *port, const char *verb, int guest,
		       const char *rest)
{
	uint64_t low, high;

	if (!strcmp(verb, "freeze") || !strcmp(verb, "thaw")) {
		answer(port->ops->freeze(port, guest, *verb == 'f'));
	} else if (!strcmp(verb, "authorise") ||
		   !strcmp(verb, "deauthorise")) {
		if (sscanf(rest, "%" SCNx64 " %" SCNx64, &low, &high) != 2)
			return false;
		answer(port->ops->authorise(port, guest, low, high,
					    *verb == 'a'));
	} else if (!strcmp(verb, "end")) {
		answer(port->ops->end(port, guest));
	} else if (!strcmp(verb, "call")) {
		return call(port, guest, rest);
	} else {
		return false;
	}
	return true;
}

static bool line_of(struct conform_port *port, const char *line)
{
	static const char *const of_frames[] = { "write", "read", "hole", "rom",
						 "ram" };
	char verb[32];
	int guest, at = 0;

	if (!strcmp(line, "tmem-conformance 1")) {
		puts(line);
		return true;
	}
	if (!strcmp(line, "evict")) {
		answer(port->ops->evict(port));
		return true;
	}
	if (sscanf(line, "%31s %d %n", verb, &guest, &at) < 2 || guest < 0 ||
	    guest >= CONFORM_GUESTS || !at)
		return false;
	for (size_t i = 0; i < sizeof(of_frames) / sizeof(*of_frames); i++)
		if (!strcmp(verb, of_frames[i]))
			return frame_line(port, verb, guest, line + at);
	return guest_line(port, verb, guest, line + at);
}

int main(int argc, char **argv)
{
	struct conform_port *port = conform_process_port.open(argv + argc);
	static char line[LINE_BYTES];

	if (!port)
		return EXIT_FAILURE;
	while (fgets(line, sizeof(line), stdin)) {
		line[strcspn(line, "\n")] = 0;
		if (!line_of(port, line))
			puts("error");
		fflush(stdout);
	}
	conform_process_port.close(port);
	return EXIT_SUCCESS;
}
