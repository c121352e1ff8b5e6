/* SPDX-License-Identifier: BSD-2-Clause */
/* What an operator should know of disks (see disk_verb.c). */
#ifndef TM_DISK_NOTES_H
#define TM_DISK_NOTES_H

#include <jansson.h>

/* A line for each of @disks, as GET /disks has them, that needs attention. */
void tm_cli_disk_notes(const json_t *disks);

#endif
