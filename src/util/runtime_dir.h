/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where a daemon listens when nobody says otherwise (see runtime_dir.c).
 */
#ifndef TM_RUNTIME_DIR_H
#define TM_RUNTIME_DIR_H

#include <stddef.h>

/*
 * The path of the socket that clients connect to, or of the control socket.
 * 0, or -ENAMETOOLONG: it does not fit @size bytes, or no socket's address.
 */
int tm_default_socket(char *path, size_t size);
int tm_default_control(char *path, size_t size);
/* Where tmem-balloon says how its guests are. The same answers. */
int tm_default_balloon(char *path, size_t size);

#endif
