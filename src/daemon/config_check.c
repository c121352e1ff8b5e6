/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a start would refuse, asked without starting: by --check-config, by
 * every start before it touches anything, and by a reload before it changes
 * anything.
 *
 * The problem: a second list of what is right differs from the first one day.
 * The idea: what depends on the configuration alone is rehearsed. A store is
 * opened as the daemon's would be, but in private memory and without a thread,
 * and every client and disk of the configuration is made in it, with its limits
 * and codec. What refuses there, refuses in the daemon; and the store's log has
 * the reason.
 *
 * What depends on the host (sockets, the arena's file, disks' files) is looked
 * at, with the functions that the start uses where they can look without
 * touching. A start does without a disk whose files or socket are not right, for
 * the sake of the others; --check-config and a reload say so.
 *
 * Bound: an arena's header is read, not what it holds; whoever holds a file or
 * a socket is not asked for, since the daemon that is to be reloaded or
 * replaced does. A limit that follows the host counts as the highest it can
 * become.
 */
#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "arena.h"
#include "config_check.h"
#include "config_client.h"
#include "config_disk.h"
#include "makeable.h"
#include "sockets.h"

void tm_config_make_store(const struct tm_daemon_config *config,
			  void (*log)(void *opaque, enum tmem_log_level level,
				      const char *text),
			  void *opaque, struct tm_config_store *made)
{
	tmem_store_config_init(&made->store);
	made->store.log = log;
	made->store.log_opaque = opaque;
	tmem_boot_apply(&config->options, &made->store, made->codec,
			sizeof(made->codec));
	if (config->dedups_persistent)
		made->store.flags |= TMEM_STORE_DEDUP_PERSISTENT;
	if (*config->plugin_path)
		made->store.plugin_path = config->plugin_path;
}

/* --- rehearsal ----------------------------------------------------------- */

struct rehearsal {
	struct tm_config_verdict *verdict;
	uint64_t memory_bytes;
	char said[512]; /* the last error that was logged */
};

static void hear(void *opaque, enum tmem_log_level level, const char *text)
{
	struct rehearsal *rehearsal = opaque;
	const struct tm_config_verdict *verdict = rehearsal->verdict;

	if (level == TMEM_LOG_ERROR)
		snprintf(rehearsal->said, sizeof(rehearsal->said), "%s", text);
	else if (level == TMEM_LOG_WARNING && verdict->warn)
		verdict->warn(verdict->opaque, text);
}

static const char *reason(const struct rehearsal *rehearsal, int err)
{
	return *rehearsal->said ? rehearsal->said : strerror(-err);
}

static uint64_t machine_bytes(void)
{
	long pages = sysconf(_SC_PHYS_PAGES);

	return (uint64_t)(pages < 1 ? 1 : pages) *
	       (uint64_t)sysconf(_SC_PAGESIZE);
}

/* The limit; of one that follows the host, the highest it can be. */
static uint64_t limit_bytes(const struct tm_daemon_config *config)
{
	const struct tm_config_memory *memory = &config->memory;
	uint64_t most = machine_bytes();

	if (!memory->is_auto)
		return memory->bytes;
	return memory->max_bytes && memory->max_bytes < most ? memory->max_bytes
							     : most;
}

static int refuse_reservation(const struct rehearsal *rehearsal,
			      const char *section,
			      const struct tm_config_client *settings)
{
	struct tm_config_verdict *verdict = rehearsal->verdict;

	snprintf(verdict->error, sizeof(verdict->error),
		 "[%s %s]: reservation = %" PRIu64
		 " KiB does not fit memory, which is %" PRIu64
		 " KiB for all reservations and what it costs to keep them",
		 section, settings->name, settings->reservation_bytes >> 10,
		 rehearsal->memory_bytes >> 10);
	return -ENOSPC;
}

static int rehearse_client(struct rehearsal *rehearsal,
			   struct tmem_store *store, const char *section,
			   const struct tm_config_client *settings)
{
	struct tm_config_verdict *verdict = rehearsal->verdict;
	struct tmem_client_config limits;
	struct tmem_client *client;
	int err;

	tm_config_client_limits(settings, &limits);
	limits.name = settings->name;
	*rehearsal->said = '\0';
	err = tmem_client_attach(store, &limits, &client);
	if (err == -ENOSPC)
		return refuse_reservation(rehearsal, section, settings);
	if (err < 0) {
		snprintf(verdict->error, sizeof(verdict->error), "[%s %s]: %s",
			 section, settings->name, reason(rehearsal, err));
		return err;
	}
	/* With compress = off, too: who turns it on wants to get it. */
	err = *settings->codec ? tmem_client_set_codec(client, settings->codec)
			       : 0;
	tmem_client_detach(client);
	if (err)
		snprintf(verdict->error, sizeof(verdict->error),
			 "[%s %s]: codec = %s: %s", section, settings->name,
			 settings->codec, reason(rehearsal, err));
	return err;
}

static int rehearse_clients(struct rehearsal *rehearsal,
			    struct tmem_store *store,
			    const struct tm_daemon_config *config)
{
	int err = 0;

	for (const struct tm_config_client *c = config->clients; c && !err;
	     c = c->next)
		err = rehearse_client(rehearsal, store, "client", c);
	for (const struct tm_config_disk *d = config->disks; d && !err;
	     d = d->next)
		err = rehearse_client(rehearsal, store, "disk", &d->client);
	return err;
}

static int rehearse(const struct tm_daemon_config *config,
		    struct tm_config_verdict *verdict)
{
	struct rehearsal rehearsal = { .verdict = verdict };
	struct tm_config_store made;
	struct tmem_store *store;
	int err;

	tm_config_make_store(config, hear, &rehearsal, &made);
	made.store.memory_bytes = rehearsal.memory_bytes =
		limit_bytes(config);
	made.store.memory_max_bytes = config->memory.max_bytes;
	made.store.flags |= TMEM_STORE_NO_THREADS | TMEM_STORE_NO_LOCK;
	err = tmem_store_open(&made.store, &store);
	if (err) {
		snprintf(verdict->error, sizeof(verdict->error), "%s",
			 reason(&rehearsal, err));
		return err;
	}
	if (!(made.store.flags & TMEM_STORE_DISABLED))
		err = rehearse_clients(&rehearsal, store, config);
	tmem_store_close(store);
	return err;
}

/* --- the host ------------------------------------------------------------ */

static int check_socket(const char *path, struct tm_config_verdict *verdict)
{
	const struct tm_socket_how how = { .path = path };

	return *path ? tm_sockets_check(&how, verdict->error,
					sizeof(verdict->error))
		     : 0;
}

static int check_sockets(const struct tm_daemon_config *config,
			 struct tm_config_verdict *verdict)
{
	int err = check_socket(config->socket, verdict);

	if (!err)
		err = check_socket(config->control, verdict);
	if (!err)
		err = check_socket(config->metrics, verdict);
	for (const struct tm_config_client *c = config->clients; c && !err;
	     c = c->next)
		err = check_socket(c->socket, verdict);
	return err;
}

static int check_arena(const struct tm_daemon_config *config,
		       struct tm_config_verdict *verdict)
{
	struct rehearsal rehearsal = { .verdict = verdict };
	struct tm_memory memory;
	const struct tm_arena_config arena = {
		.memory = &memory,
		.path = config->arena,
		.memory_bytes =
			config->memory.is_auto ? 0 : config->memory.bytes,
	};
	char at[TM_CONFIG_PATH_SIZE];
	int err;

	if (!strcmp(config->arena, "anonymous"))
		return 0;
	tm_memory_init(&memory, 0);
	memory.log = hear;
	memory.log_opaque = &rehearsal;
	err = tm_arena_check(&arena);
	if (err && err != -ENOENT) {
		snprintf(verdict->error, sizeof(verdict->error), "%s",
			 reason(&rehearsal, err));
		return err;
	}
	/* Its directory is made, too. */
	err = err ? tm_makeable(config->arena, 1, at, sizeof(at)) : 0;
	if (err)
		snprintf(verdict->error, sizeof(verdict->error),
			 "arena %.400s cannot be made: %.400s: %s",
			 config->arena, at, strerror(-err));
	return err;
}

static int refuse_file(const struct tm_config_disk *disk, const char *key,
		       const char *path, const char *why,
		       struct tm_config_verdict *verdict)
{
	snprintf(verdict->error, sizeof(verdict->error),
		 "[disk %s]: %s = %.512s: %s", disk->client.name, key, path,
		 why);
	return -EINVAL;
}

static int check_image(const struct tm_config_disk *disk,
		       struct tm_config_verdict *verdict)
{
	const char *path = disk->image;
	struct stat status;

	if (stat(path, &status) ||
	    access(path, disk->is_readonly ? R_OK : R_OK | W_OK))
		return refuse_file(disk, "image", path, strerror(errno),
				   verdict);
	if (!S_ISREG(status.st_mode) && !S_ISBLK(status.st_mode))
		return refuse_file(disk, "image", path,
				   "neither a regular file nor a block device",
				   verdict);
	if (S_ISREG(status.st_mode) && !status.st_size)
		return refuse_file(disk, "image", path, "it is empty", verdict);
	return 0;
}

static int check_backing(const struct tm_config_disk *disk,
			 struct tm_config_verdict *verdict)
{
	const char *path = disk->backing;
	char at[TM_CONFIG_PATH_SIZE];
	struct stat status;
	int err;

	if (!stat(path, &status)) {
		if (!S_ISREG(status.st_mode))
			return refuse_file(disk, "backing", path,
					   "not a regular file", verdict);
		err = access(path, R_OK | W_OK) ? -errno : 0;
	} else {
		err = errno == ENOENT ? tm_makeable(path, 0, at, sizeof(at))
				      : -errno;
	}
	return err ? refuse_file(disk, "backing", path, strerror(-err), verdict)
		   : 0;
}

int tm_config_check_disks(const struct tm_daemon_config *config,
			  struct tm_config_verdict *verdict)
{
	int err = 0;

	for (const struct tm_config_disk *d = config->disks; d && !err;
	     d = d->next) {
		if (*d->image)
			err = check_image(d, verdict);
		if (!err && *d->backing)
			err = check_backing(d, verdict);
		if (!err)
			err = check_socket(d->client.socket, verdict);
	}
	return err;
}

int tm_config_check_start(const struct tm_daemon_config *config,
			  struct tm_config_verdict *verdict)
{
	int err = rehearse(config, verdict);

	/* What the system would not give is not what was written wrongly. */
	verdict->is_configuration = err && err != -ENOMEM;
	if (!err)
		err = check_arena(config, verdict);
	return err ? err : check_sockets(config, verdict);
}
