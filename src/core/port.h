/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A port: where a client's operations go.
 *
 * The same caller (a disk, a guest's front end, a test) works over a store in
 * its own process, over a daemon's ring, and over an encoder of historical
 * hypercalls. What they have in common is this table, and nothing else of the
 * store is visible to a caller that is written over it.
 *
 * The functions mean what the functions of the same name in <tmem/tmem.h> mean,
 * with the same results. They may be called from any thread, except close,
 * which comes last and frees the port.
 */
#ifndef TM_PORT_H
#define TM_PORT_H

#include <tmem/tmem.h>

struct tm_port;

struct tm_port_ops {
	int (*put)(struct tm_port *port, int pool, const struct tmem_oid *oid,
		   uint32_t index, const void *page, uint32_t flags);
	int (*get)(struct tm_port *port, int pool, const struct tmem_oid *oid,
		   uint32_t index, void *page, uint32_t flags);
	int (*flush_page)(struct tm_port *port, int pool,
			  const struct tmem_oid *oid, uint32_t index);
	int (*flush_object)(struct tm_port *port, int pool,
			    const struct tmem_oid *oid);
	int (*pool_create)(struct tm_port *port, uint32_t flags,
			   const struct tmem_uuid *uuid);
	int (*pool_destroy)(struct tm_port *port, int pool);
	/* All of them known to this version: the caller passes a whole one. */
	int (*pool_get_info)(struct tm_port *port, int pool,
			     struct tmem_pool_info *info);
	int (*get_counts)(struct tm_port *port, struct tmem_counts *counts);
	/* Kinds are known. NULL: one after the other. */
	int (*batch)(struct tm_port *port, struct tmem_request *requests,
		     uint32_t count);
	void (*close)(struct tm_port *port);
};

struct tm_port {
	const struct tm_port_ops *ops;
};

#endif
