/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a running dom0 says of itself.
 *
 * /sys/hypervisor names Xen's version, /proc/xen/capabilities tells dom0 from
 * other domains, and sysfs has the balloon and the machine's map. Xen's command
 * line is known to the toolstack only: `xl info`. Without xl, or with a Xen
 * that was booted without dom0_mem, what dom0 has now is taken for what it was
 * given.
 *
 * Nothing is written. Everything can be read from a copy of another machine's
 * files as well, with the output of `xl info` as xl-info beside /proc and /sys.
 */
#include <config.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "dom0_running.h"
#include "dom0_string.h"

#define BALLOON "sys/devices/system/xen_memory/xen_memory0"

static FILE *open_below(const char *root, const char *path)
{
	char full[600];

	snprintf(full, sizeof(full), "%s/%s", root, path);
	return fopen(full, "re");
}

static int read_line(const char *root, const char *path, char *line,
		     size_t size)
{
	FILE *file = open_below(root, path);
	bool is_read;

	if (!file)
		return -errno;
	is_read = fgets(line, (int)size, file);
	fclose(file);
	if (!is_read)
		return -EINVAL;
	line[strcspn(line, "\n")] = '\0';
	return 0;
}

static uint64_t read_number(const char *root, const char *path)
{
	char line[64];

	if (read_line(root, path, line, sizeof(line)) || *line < '0' ||
	    *line > '9')
		return 0;
	return strtoull(line, NULL, 10);
}

static int check_dom0(const char *root)
{
	char line[64];

	if (*root && access(root, R_OK | X_OK))
		return tm_cli_error("--root: %s: %s", root, strerror(errno));
	if (read_line(root, "sys/hypervisor/type", line, sizeof(line)) ||
	    strcmp(line, "xen"))
		return tm_cli_error("this machine does not run under Xen; name "
				    "--host and --dom0-mem");
	if (read_line(root, "proc/xen/capabilities", line, sizeof(line)) ||
	    !strstr(line, "control_d"))
		return tm_cli_error("this is a domain of Xen, but not dom0; "
				    "name --host and --dom0-mem");
	return 0;
}

static int read_versions(struct tm_dom0_running *running, const char *root)
{
	char line[128], extra[64] = "";
	uint64_t major = read_number(root, "sys/hypervisor/version/major");
	uint64_t minor = read_number(root, "sys/hypervisor/version/minor");

	if (!major || major > 1023 || minor > 1023)
		return tm_cli_error("/sys/hypervisor/version is no version");
	/* ".2", "-rc1" */
	read_line(root, "sys/hypervisor/version/extra", extra, sizeof(extra));
	snprintf(line, sizeof(line), "%u.%u%s", (unsigned)major,
		 (unsigned)minor, extra);
	if (tm_version_parse(line, &running->xen))
		running->xen = TM_VERSION(major, minor, 0);
	if (read_line(root, "proc/sys/kernel/osrelease", line, sizeof(line)) ||
	    tm_version_parse(line, &running->linux_version))
		return tm_cli_error("/proc/sys/kernel/osrelease is no version");
	running->is_classic = running->linux_version < TM_VERSION(2, 6, 30) ||
			      strstr(line, "-xen");
	return 0;
}

static void read_total(struct tm_dom0_running *running, const char *root)
{
	FILE *file = open_below(root, "proc/meminfo");
	char line[256];

	while (file && fgets(line, sizeof(line), file))
		if (!strncmp(line, "MemTotal:", 9))
			running->total_kib = strtoull(line + 9, NULL, 10);
	if (file)
		fclose(file);
}

/* Of "xen_commandline : placeholder dom0_mem=2G loglvl=all" the last one. */
static void read_command_line(struct tm_dom0_running *running, FILE *info)
{
	char line[4096];

	while (fgets(line, sizeof(line), info)) {
		char *word, *rest = line;

		if (strncmp(line, "xen_commandline", 15))
			continue;
		while ((word = strtok_r(NULL, " \t\n", &rest))) {
			size_t length = strlen(word);

			if (strncmp(word, "dom0_mem=", 9) ||
			    length >= sizeof(running->dom0_mem))
				continue;
			memcpy(running->dom0_mem, word, length + 1);
		}
	}
}

int tm_dom0_running_read(struct tm_dom0_running *running, const char *root)
{
	bool is_copy = strcmp(root, "");
	FILE *info;

	*running = (struct tm_dom0_running){ .xen = 0 };
	if (check_dom0(root) || read_versions(running, root))
		return -EINVAL;
	running->current_kib = read_number(root, BALLOON "/info/current_kb");
	running->target_kib = read_number(root, BALLOON "/target_kb");
	read_total(running, root);
	info = is_copy ? open_below(root, "xl-info")
		       : popen("xl info 2>/dev/null", "re");
	if (info) {
		read_command_line(running, info);
		if (is_copy)
			fclose(info);
		else
			pclose(info);
	}
	if (!running->dom0_mem[0] && !running->current_kib)
		return tm_cli_error("neither xl nor %s/%s says how much memory "
				    "dom0 has",
				    root, BALLOON);
	return 0;
}
