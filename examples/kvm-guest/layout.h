/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the monitor and its guest agree on: where things are, by frame, and
 * which ports there are. Linear addresses are physical ones.
 */
#ifndef LAYOUT_H
#define LAYOUT_H

#define PAGE 4096ul
#define RAM_FRAMES 1024ul

#define PML4_FRAME 1ul
#define PDPT_FRAME 2ul
#define PD_FRAME 3ul
#define HYPERCALL_FRAME 4ul
#define CODE_FRAME 16ul
#define RODATA_END_FRAME 64ul
/* Up to here the map of the guest's memory is read-only. */
#define ROM_FRAMES 64ul
#define DATA_FRAME 64ul
#define STACK_END (256 * PAGE)

#define HYPERCALL_PORT 0x38
#define CONSOLE_PORT 0xe9

#endif
