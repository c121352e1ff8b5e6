/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where a daemon listens when nobody says otherwise.
 *
 * The daemon, the library's tmem_connect() and the command line must all come
 * to the same place without having been told, for root and for others:
 *
 *	the environment		TMEM_SOCKET, TMEM_CONTROL, TMEM_BALLOON
 *	root			/run/tmem/
 *	others			$XDG_RUNTIME_DIR/tmem/, or /run/user/UID/tmem/
 *				when that variable is not set
 *
 * Never a place that another user could have made before us, such as /tmp.
 * What the environment says does not count in a program that runs with more
 * rights than its caller has.
 */
#include <config.h>

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/un.h>
#include <unistd.h>

#include "runtime_dir.h"

__attribute__((format(printf, 3, 4))) static int
print(char *path, size_t size, const char *format, ...)
{
	const size_t most = sizeof(((struct sockaddr_un *)0)->sun_path);
	va_list args;
	int length;

	va_start(args, format);
	length = vsnprintf(path, size, format, args);
	va_end(args);
	if (length < 0 || (size_t)length >= size || (size_t)length >= most)
		return -ENAMETOOLONG;
	return 0;
}

static int find(const char *variable, const char *name, char *path, size_t size)
{
	const char *given = secure_getenv(variable);
	const char *runtime = secure_getenv("XDG_RUNTIME_DIR");

	if (given && *given)
		return print(path, size, "%s", given);
	if (!geteuid())
		return print(path, size, "/run/tmem/%s", name);
	if (runtime && *runtime == '/')
		return print(path, size, "%s/tmem/%s", runtime, name);
	return print(path, size, "/run/user/%lu/tmem/%s",
		     (unsigned long)geteuid(), name);
}

int tm_default_socket(char *path, size_t size)
{
	return find("TMEM_SOCKET", "tmemd.sock", path, size);
}

int tm_default_balloon(char *path, size_t size)
{
	return find("TMEM_BALLOON", "balloon.prom", path, size);
}

int tm_default_control(char *path, size_t size)
{
	return find("TMEM_CONTROL", "control/control.sock", path, size);
}
