/* SPDX-License-Identifier: BSD-2-Clause */
/* The arena's half that deals in frames; private to arena.c and frames.c. */
#ifndef TM_FRAMES_H
#define TM_FRAMES_H

#include "arena.h"

/* Needs base and super; 0 or -ENOMEM. */
int tm_frames_init(struct tm_arena *arena);
void tm_frames_destroy(struct tm_arena *arena);

#endif
