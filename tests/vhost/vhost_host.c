/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vhost_host SOCKET: a door over a disk of plain memory, until its standard
 * input ends. What it logs goes to standard error; ends with status 1 if
 * descriptors were lost over all its front ends.
 */
#include <config.h>

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "plain_disk.h"
#include "vhost.h"

static int count_fds(void)
{
	DIR *folder = opendir("/proc/self/fd");
	int count = 0;

	while (folder && readdir(folder))
		count++;
	if (folder)
		closedir(folder);
	return count;
}

static void log_line(void *opaque, enum tmem_log_level level, const char *text)
{
	(void)opaque;
	(void)level;
	fprintf(stderr, "%s\n", text);
}

static int listen_at(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (strlen(path) >= sizeof(address.sun_path))
		return -1;
	strcpy(address.sun_path, path);
	unlink(path);
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) ||
	    listen(fd, 8))
		return -1;
	return fd;
}

int main(int argc, char **argv)
{
	struct tm_disk *disk = plain_disk_new(16 << 20);
	struct tm_vhost_config config = {
		.disk = disk,
		.name = "vhost-host",
		.block_bytes = 4096,
		.log = log_line,
	};
	struct tm_vhost *door;
	int before = count_fds();
	char byte;

	if (argc != 2)
		return 2;
	config.listen_fd = listen_at(argv[1]);
	if (config.listen_fd < 0 || tm_vhost_open(&config, &door))
		return 2;
	while (read(STDIN_FILENO, &byte, 1) > 0)
		;
	tm_vhost_close(door);
	tm_disk_close(disk);
	if (count_fds() != before) {
		fprintf(stderr, "%d descriptors are lost\n",
			count_fds() - before);
		return 1;
	}
	return 0;
}
