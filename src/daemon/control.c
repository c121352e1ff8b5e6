/* SPDX-License-Identifier: BSD-2-Clause */
/* The control socket: its life; see control.h and control_request.h. */
#include <config.h>

#include <errno.h>
#include <stdlib.h>

#include "control_request.h"

int tm_control_open(const struct tm_control_host *host, int listen_fd,
		    struct tm_control **out)
{
	struct tm_control *control = calloc(1, sizeof(*control));
	int err;

	if (!control)
		return -ENOMEM;
	control->host = *host;
	tm_lock_init(&control->saves_lock, TM_RANK_SAVES);
	err = tm_control_server_open(control, tm_control_routes, listen_fd,
				     true, &control->server);
	if (err) {
		free(control);
		return err;
	}
	*out = control;
	return 0;
}

int tm_control_add_metrics_listener(struct tm_control *control, int listen_fd)
{
	if (control->metrics)
		return -EBUSY;
	return tm_control_server_open(control, tm_metrics_routes, listen_fd,
				      false, &control->metrics);
}

void tm_control_close(struct tm_control *control)
{
	if (!control)
		return;
	tm_control_server_close(control->metrics);
	tm_control_server_close(control->server);
	free(control);
}
