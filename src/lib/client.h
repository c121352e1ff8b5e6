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

static inline struct tmem_client *tm_client_of_port(struct tm_port *port)
{
	return (struct tmem_client *)port;
}

#endif
