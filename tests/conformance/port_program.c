/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The port that leads to somebody's program: lines on its standard input, one
 * line of its standard output for each (see "The text protocol" in
 * doc/tmem-spec.md). It may be a simulator, a hypervisor's test harness, or a
 * script that talks to a machine elsewhere.
 *
 * The program is started for every rule, so that each begins with a new host.
 * A program that ends or answers nonsense ends the suite: there is nothing to
 * go on with.
 */
#include <config.h>

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "conform.h"

#define LINE_BYTES (2 * TMEM_PAGE_SIZE + 64)

struct program_port {
	struct conform_port port;
	pid_t child;
	FILE *to;
	FILE *from;
	char line[LINE_BYTES];
};

static struct program_port *program_of(struct conform_port *port)
{
	return (struct program_port *)port;
}

/* Sends a line; answers what came back, without its end. */
__attribute__((format(printf, 2, 3))) static const char *
ask(struct program_port *p, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vfprintf(p->to, format, arguments);
	va_end(arguments);
	fputc('\n', p->to);
	fflush(p->to);
	if (!fgets(p->line, sizeof(p->line), p->from)) {
		printf("Bail out! The program has ended.\n");
		exit(EXIT_FAILURE);
	}
	p->line[strcspn(p->line, "\n")] = 0;
	return p->line;
}

static void nonsense(const char *answer)
{
	printf("Bail out! The program's answer is nonsense: %.60s\n", answer);
	exit(EXIT_FAILURE);
}

static int number_of(const char *answer, const char *word)
{
	size_t length = strlen(word);
	char *end;
	long number;

	if (strncmp(answer, word, length) || answer[length] != ' ')
		nonsense(answer);
	number = strtol(answer + length + 1, &end, 10);
	if (*end || end == answer + length + 1)
		nonsense(answer);
	return (int)number;
}

static int ok(const char *answer)
{
	if (!strcmp(answer, "unsupported"))
		return -ENOTSUP;
	if (strcmp(answer, "ok"))
		nonsense(answer);
	return 0;
}

static void to_hex(char *hex, const void *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++)
		sprintf(hex + 2 * i, "%02x", ((const uint8_t *)bytes)[i]);
}

static void from_hex(void *bytes, const char *hex, size_t size)
{
	unsigned byte;

	if (strlen(hex) != 2 * size)
		nonsense(hex);
	for (size_t i = 0; i < size; i++) {
		if (sscanf(hex + 2 * i, "%2x", &byte) != 1)
			nonsense(hex);
		((uint8_t *)bytes)[i] = (uint8_t)byte;
	}
}

static void run_child(int fd, char *const argument[])
{
	dup2(fd, STDIN_FILENO);
	dup2(fd, STDOUT_FILENO);
	execvp(argument[0], argument);
	perror(argument[0]);
	_exit(127);
}

static struct conform_port *program_open(char *const argument[])
{
	struct program_port *p = calloc(1, sizeof(*p));
	int ends[2];

	if (!p || !argument[0] ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends)) {
		fprintf(stderr, "which program?\n");
		free(p);
		return NULL;
	}
	signal(SIGPIPE, SIG_IGN);
	fflush(stdout);
	p->port.ops = &conform_program_port;
	p->child = fork();
	if (!p->child)
		run_child(ends[1], argument);
	close(ends[1]);
	p->to = fdopen(ends[0], "w");
	p->from = fdopen(dup(ends[0]), "r");
	if (number_of(ask(p, "tmem-conformance 1"), "tmem-conformance") != 1)
		nonsense(p->line);
	return &p->port;
}

static void program_close(struct conform_port *port)
{
	struct program_port *p = program_of(port);

	/* The end of its input is the end of it. */
	shutdown(fileno(p->to), SHUT_RDWR);
	fclose(p->to);
	fclose(p->from);
	waitpid(p->child, NULL, 0);
	free(p);
}

static void program_write(struct conform_port *port, int guest, uint64_t frame,
			  const void *page)
{
	char hex[2 * TMEM_PAGE_SIZE + 1];

	to_hex(hex, page, TMEM_PAGE_SIZE);
	if (ok(ask(program_of(port), "write %d %llu %s", guest,
		   (unsigned long long)frame, hex)))
		nonsense("unsupported");
}

static void program_read(struct conform_port *port, int guest, uint64_t frame,
			 void *page)
{
	const char *answer = ask(program_of(port), "read %d %llu", guest,
				 (unsigned long long)frame);

	if (strncmp(answer, "page ", 5))
		nonsense(answer);
	from_hex(page, answer + 5, TMEM_PAGE_SIZE);
}

static int program_call(struct conform_port *port, int guest,
			const struct tmem_xen_op *op, bool is_compat)
{
	size_t size = is_compat ? sizeof(struct tmem_xen_op_compat) :
				  sizeof(*op);
	char hex[2 * sizeof(*op) + 1];

	to_hex(hex, op, size);
	return number_of(ask(program_of(port), "call %d %s", guest, hex),
			 "result");
}

static int program_set_frame(struct conform_port *port, int guest,
			     uint64_t frame, bool is_there, bool is_writable)
{
	const char *kind = !is_there ? "hole" : is_writable ? "ram" : "rom";

	return ok(ask(program_of(port), "%s %d %llu", kind, guest,
		      (unsigned long long)frame));
}

static int program_freeze(struct conform_port *port, int guest, bool is_frozen)
{
	return ok(ask(program_of(port), "%s %d",
		      is_frozen ? "freeze" : "thaw", guest));
}

static int program_authorise(struct conform_port *port, int guest,
			     uint64_t low, uint64_t high, bool is_allowed)
{
	return ok(ask(program_of(port), "%s %d %llx %llx",
		      is_allowed ? "authorise" : "deauthorise", guest,
		      (unsigned long long)low, (unsigned long long)high));
}

static int program_evict(struct conform_port *port)
{
	return ok(ask(program_of(port), "evict"));
}

static int program_end(struct conform_port *port, int guest)
{
	return ok(ask(program_of(port), "end %d", guest));
}

const struct conform_port_ops conform_program_port = {
	.name = "program",
	.open = program_open,
	.close = program_close,
	.write_frame = program_write,
	.read_frame = program_read,
	.call = program_call,
	.set_frame = program_set_frame,
	.freeze = program_freeze,
	.authorise = program_authorise,
	.evict = program_evict,
	.end = program_end,
};
