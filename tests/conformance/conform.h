/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The conformance suite's view of an implementation of doc/tmem-spec.md: a
 * port. Whoever has another hypervisor, transport or language writes one, or
 * speaks the text protocol of port_program.c.
 *
 * Guests are numbered from 0 to CONFORM_GUESTS - 1 and are there from the
 * beginning, each with CONFORM_FRAMES frames of memory, from frame 0, all
 * writable. A call of the host's side that an implementation does not have is
 * answered -ENOTSUP, and the rule that needs it is skipped.
 */
#ifndef TM_CONFORM_H
#define TM_CONFORM_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>

#include <tmem/xen.h>

#define CONFORM_GUESTS 3
#define CONFORM_FRAMES 8

struct conform_port;

struct conform_port_ops {
	const char *name;
	/* Answers are those of <tmem/tmem.h> (TMEM_XEN_OP_PLAIN). */
	bool is_plain;
	/* There are no 32-bit guests. */
	bool has_no_compat;
	/* A new host, without a page; @argument: what follows the name on the
	 * command line, NULL at its end. NULL, after a line that says why. */
	struct conform_port *(*open)(char *const argument[]);
	void (*close)(struct conform_port *port);

	/* The guest's side. */
	void (*write_frame)(struct conform_port *port, int guest,
			    uint64_t frame, const void *page);
	void (*read_frame)(struct conform_port *port, int guest,
			   uint64_t frame, void *page);
	/* The hypercall's result. */
	int (*call)(struct conform_port *port, int guest,
		    const struct tmem_xen_op *op, bool is_compat);

	/* The host's: 0, or -ENOTSUP. */
	/* A frame is taken away, or the guest may only read it. */
	int (*set_frame)(struct conform_port *port, int guest, uint64_t frame,
			 bool is_there, bool is_writable);
	int (*freeze)(struct conform_port *port, int guest, bool is_frozen);
	int (*authorise)(struct conform_port *port, int guest, uint64_t low,
			 uint64_t high, bool is_allowed);
	/* All ephemeral pages go. */
	int (*evict)(struct conform_port *port);
	/* The guest dies. */
	int (*end)(struct conform_port *port, int guest);
};

struct conform_port {
	const struct conform_port_ops *ops;
};

extern const struct conform_port_ops conform_process_port;
extern const struct conform_port_ops conform_program_port;
extern const struct conform_port_ops conform_ring_port;
extern const struct conform_port_ops conform_daemon_port;

#endif
