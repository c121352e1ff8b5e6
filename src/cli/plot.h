/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Drawings: a gnuplot program of ours, drawn into an SVG file.
 *
 * gnuplot reads the program, data included ("$data << EOD"), from a pipe. The
 * file appears under its name only when it is complete.
 */
#ifndef TM_PLOT_H
#define TM_PLOT_H

#include <stdio.h>
#include <sys/types.h>

struct tm_plot {
	FILE *file;		/* the program goes here */
	pid_t pid;
	const char *path;
	char *unfinished;	/* what gnuplot writes to */
};

/* 0, or a negative errno after a message. @path outlives the plot. */
int tm_plot_open(struct tm_plot *plot, const char *path, const char *title);
/* Waits for gnuplot: 0, or a negative errno after a message. */
int tm_plot_close(struct tm_plot *plot);

#endif
