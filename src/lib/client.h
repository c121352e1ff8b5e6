/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a struct tmem_client is: a port, and behind it either a client of a
 * store in this process or something else (see connect.c). What only the
 * owner of a store may do (limits, freezing, walking) wants the former.
 */
#ifndef TM_LIB_CLIENT_H
#define TM_LIB_CLIENT_H

#include "core.h"
#include "port.h"

struct tmem_client {
	struct tm_port port;
	struct tm_client *core;	/* NULL: not in this process */
};

/* A client that is made bit by bit (see tm_client_begin()). As
 * tmem_client_attach(). */
int tm_client_open_unfinished(struct tmem_store *store,
			      const struct tmem_client_config *config,
			      struct tmem_client **client);

static inline struct tmem_client *tm_client_of_port(struct tm_port *port)
{
	return (struct tmem_client *)port;
}

#endif
