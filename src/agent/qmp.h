/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One connection to QEMU's monitor: a command at a time (see qmp.c).
 */
#ifndef TM_QMP_H
#define TM_QMP_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The longest message of a peer that is read, in bytes. */
#define TM_QMP_LINE_MAX (64 << 10)

struct tm_qmp;

/* What becomes of it. None of these may close it. */
struct tm_qmp_handler {
	/* Commands can be sent now. */
	void (*ready)(void *opaque, uint64_t now_ns);
	/* To the command that was sent: @value is what it returned, borrowed;
	 * or NULL, and @error is what the peer said. */
	void (*reply)(void *opaque, const json_t *value, const char *error,
		      uint64_t now_ns);
	/* It is gone, and will be tried again. */
	void (*lost)(void *opaque, const char *why);
	void *opaque;
};

/* 0 or -ENOMEM. @path is copied. */
int tm_qmp_open(const char *path, const struct tm_qmp_handler *handler,
		struct tm_qmp **qmp);
void tm_qmp_close(struct tm_qmp *qmp);

/* -1: nothing to wait for but time. */
int tm_qmp_fd(const struct tm_qmp *qmp);
short tm_qmp_events(const struct tm_qmp *qmp);
/* What its descriptor has. */
void tm_qmp_handle(struct tm_qmp *qmp, uint64_t now_ns);
/* To be called every second: connects, and gives up on who does not answer. */
void tm_qmp_tick(struct tm_qmp *qmp, uint64_t now_ns);
/* Connects if it is not connected, however soon after the last attempt. */
void tm_qmp_connect(struct tm_qmp *qmp, uint64_t now_ns);

/* Can a command be sent? */
bool tm_qmp_is_idle(const struct tm_qmp *qmp);
bool tm_qmp_is_connected(const struct tm_qmp *qmp);
/* @arguments: taken over; NULL: none. 0; -EAGAIN: not idle; -ENOMEM. */
int tm_qmp_send(struct tm_qmp *qmp, const char *command, json_t *arguments,
		uint64_t now_ns);
/* The peer is of use: should it be lost, the first attempt comes soon. */
void tm_qmp_settle(struct tm_qmp *qmp);
/* The peer is of no use: ends the connection, to try again later. */
void tm_qmp_drop(struct tm_qmp *qmp, const char *why, uint64_t now_ns);

#endif
