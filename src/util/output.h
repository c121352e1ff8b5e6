/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Whether what a program has printed arrived (see output.c).
 */
#ifndef TM_OUTPUT_H
#define TM_OUTPUT_H

/*
 * The last thing that a program does with its standard output: it is flushed
 * and closed. @status, or 1 after a message on standard error if something did
 * not arrive and @status was 0.
 */
int tm_output_finish(const char *program, int status);

#endif
