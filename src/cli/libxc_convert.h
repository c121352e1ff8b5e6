/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A domain's pages as Xen's tools saved them, made into a stream of our own
 * (see libxc_convert.c).
 */
#ifndef TM_LIBXC_CONVERT_H
#define TM_LIBXC_CONVERT_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <tmem/tmem.h>

struct tm_libxc;

/**
 * tm_libxc_open() - begin to convert
 * @name: of the client: the old stream does not say
 * @read: brings more bytes: how many, at most @size; 0: there are no more; or a
 *	negative errno
 * @opaque: passed to @read
 * @out: set on success
 *
 * Return: 0, -EINVAL (the name), -ENOMEM.
 */
int tm_libxc_open(const char *name,
		  ssize_t (*read)(void *opaque, void *buffer, size_t size),
		  void *opaque, struct tm_libxc **out);

/**
 * tm_libxc_read() - the next bytes of the stream that is made
 * @size: bytes at @buffer
 *
 * Return: how many; 0: that was all; -EBADMSG, -EPROTONOSUPPORT, or what the
 * source answered: tm_libxc_error() says it in a sentence.
 */
ssize_t tm_libxc_read(struct tm_libxc *libxc, void *buffer, size_t size);

const char *tm_libxc_error(const struct tm_libxc *libxc);
void tm_libxc_close(struct tm_libxc *libxc);

#endif
