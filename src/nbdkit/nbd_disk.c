/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Opening a disk for nbdkit, twice.
 *
 * The problem: nbdkit reads its command line, then goes into the background by
 * fork(), and then serves. A store has threads and is useless in a forked
 * child, so that it can only be opened afterwards, when nobody sees messages
 * any more and a failure looks as if the server had just died.
 *
 * The idea: everything is opened and closed once before the fork, with its
 * messages, and opened for good after it. What the attempt must not do is leave
 * something behind: an arena file that was not there goes again, and the disk
 * is then tried without its backing file, which would be labelled for a store
 * that is gone at once. That a store which begins empty cannot own a backing
 * file with something in it is checked by looking.
 *
 * An arena with pages in it is therefore recovered twice at start.
 *
 * nbdkit --swap locks all memory that there is and will be, between the two. A
 * store reserves much more addresses than it will ever use memory, and all of
 * it would be filled in at once: see lock_on_use().
 *
 * No lock: one thread of nbdkit opens, and closes when requests have ended.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>

#include "nbd_disk.h"

#define NAME_DEFAULT "nbd"
/* The daemon may still be busy letting go of the attempt's connection. */
#define REATTACH_MS 5000
#define REATTACH_STEP_MS 5

static void log_line(void *opaque, enum tmem_log_level level, const char *text)
{
	struct tm_nbd_disk *nbd = opaque;

	if (level == TMEM_LOG_ERROR) {
		nbd->was_explained = true;
		nbdkit_error("%s", text);
	} else if (level == TMEM_LOG_WARNING && !nbd->is_quiet) {
		nbdkit_error("warning: %s", text);
	} else {
		nbdkit_debug("tmem: %s", text);
	}
}

/* Says what failed, unless the library has said it better. */
static int explain(const struct tm_nbd_disk *nbd, const char *what,
		   const char *name, int err)
{
	if (err < 0 && !nbd->was_explained)
		nbdkit_error("%s%s%s: %s", what, name ? " " : "",
			     name ? name : "", strerror(-err));
	return err < 0 ? err : 0;
}

static bool is_there(const char *path)
{
	return !access(path, F_OK);
}

/* Whatever is in a file now, this store has no part in it. */
static bool begins_empty(const struct tm_nbd_options *options)
{
	const char *arena = options->value[TM_NBD_arena];

	return options->value[TM_NBD_memory] && (!arena || !is_there(arena));
}

static int open_store(const struct tm_nbd_options *options,
		      struct tm_nbd_disk *nbd)
{
	struct tmem_store_config config;

	tmem_store_config_init(&config);
	config.memory_bytes = options->memory_bytes;
	config.codec = options->value[TM_NBD_codec];
	config.allocator = options->value[TM_NBD_allocator];
	config.arena = options->value[TM_NBD_arena];
	if (options->dedup)
		config.flags = TMEM_STORE_DEDUP | TMEM_STORE_DEDUP_PERSISTENT;
	/* Nobody raises the limit of a running server; an arena file may be
	 * opened with another one next time. */
	if (!config.arena)
		config.memory_max_bytes = options->memory_bytes;
	config.log = log_line;
	config.log_opaque = nbd;
	return explain(nbd, "the store cannot be opened", NULL,
		       tmem_store_open(&config, &nbd->store));
}

static int attach(const struct tm_nbd_options *options, struct tm_nbd_disk *nbd)
{
	const char *name = options->value[TM_NBD_name];
	struct tmem_client_config config;

	tmem_client_config_init(&config);
	config.name = name ? name : NAME_DEFAULT;
	return explain(nbd, "client", config.name,
		       tmem_client_attach(nbd->store, &config, &nbd->client));
}

static int connect_once(const struct tm_nbd_options *options,
			struct tm_nbd_disk *nbd)
{
	struct tmem_connect_config config;

	tmem_connect_config_init(&config);
	config.socket = options->value[TM_NBD_socket];
	config.name = options->value[TM_NBD_name];
	config.timeout_ms = options->timeout_ms;
	config.log = log_line;
	config.log_opaque = nbd;
	return tmem_connect(&config, &nbd->client);
}

static int connect_client(const struct tm_nbd_options *options,
			  struct tm_nbd_disk *nbd)
{
	const struct timespec step = { .tv_nsec = REATTACH_STEP_MS * 1000000 };
	int err = connect_once(options, nbd);

	for (int ms = 0; err == -EBUSY && nbd->is_quiet && ms < REATTACH_MS;
	     ms += REATTACH_STEP_MS) {
		nanosleep(&step, NULL);
		err = connect_once(options, nbd);
	}
	if (err == -EBUSY && !nbd->was_explained) {
		nbdkit_error("socket=%s: somebody is attached to this client; "
			     "name=CLIENT chooses another",
			     options->value[TM_NBD_socket]);
		return err;
	}
	return explain(nbd, "no tmemd at", options->value[TM_NBD_socket], err);
}

static int open_disk(const struct tm_nbd_options *options,
		     struct tm_nbd_disk *nbd)
{
	struct tm_disk_config config = {
		.kind = options->value[TM_NBD_image] ? TM_DISK_CACHE
						     : TM_DISK_SWAP,
		.client = nbd->client,
		.size_bytes = options->size_bytes,
		.backing = nbd->backing,
		.image = options->value[TM_NBD_image],
		.share = options->value[TM_NBD_share],
		.client_name = options->value[TM_NBD_name],
		.is_readonly = options->is_readonly,
		.log = log_line,
		.log_opaque = nbd,
	};

	return explain(nbd, "the disk cannot be opened",
		       config.image ? config.image : config.backing,
		       tm_disk_open(&config, &nbd->disk));
}

/* After an error, what was opened is still open. */
static int open_all(const struct tm_nbd_options *options,
		    struct tm_nbd_disk *nbd)
{
	int err;

	if (options->value[TM_NBD_socket]) {
		err = connect_client(options, nbd);
	} else {
		err = open_store(options, nbd);
		if (!err)
			err = attach(options, nbd);
	}
	return err ? err : open_disk(options, nbd);
}

/* Can there be such a backing file for a store that begins empty? */
static int try_backing(const char *path)
{
	bool was_there = is_there(path);
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	int err = fd < 0 ? -errno : 0;
	struct stat status;

	if (!err && fstat(fd, &status))
		err = -errno;
	if (fd >= 0)
		close(fd);
	if (fd >= 0 && !was_there)
		unlink(path);
	if (err) {
		nbdkit_error("backing=%s: %s", path, strerror(-err));
	} else if (!S_ISREG(status.st_mode)) {
		nbdkit_error("backing=%s is not a regular file", path);
		err = -EMEDIUMTYPE;
	} else if (status.st_size) {
		nbdkit_error("backing=%s holds part of another disk, whose "
			     "other part was in memory: remove it, or keep the "
			     "memory too with arena=FILE",
			     path);
		err = -EMEDIUMTYPE;
	}
	return err;
}

int tm_nbd_disk_try(const struct tm_nbd_options *options)
{
	struct tm_nbd_disk nbd = { .backing = options->value[TM_NBD_backing] };
	const char *arena = options->value[TM_NBD_arena];
	bool is_new = begins_empty(options);
	int err = 0;

	if (is_new) {
		if (nbd.backing)
			err = try_backing(nbd.backing);
		nbd.backing = NULL;
	}
	if (!err)
		err = open_all(options, &nbd);
	/* While it is locked, so that it is nobody else's. */
	if (is_new && arena && nbd.store)
		unlink(arena);
	tm_nbd_disk_close(&nbd);
	return err;
}

/* Is memory of this process locked already? Before a store is open that is
 * nbdkit's doing. */
static bool is_locked(void)
{
	FILE *file = fopen("/proc/self/status", "re");
	unsigned long kib = 0;
	char line[128];

	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "VmLck: %lu kB", &kib) == 1)
			break;
	if (file)
		fclose(file);
	return kib > 0;
}

/* What is locked stays so; what comes is locked when it is first used. */
static void lock_on_use(void)
{
	if (is_locked() && mlockall(MCL_FUTURE | MCL_ONFAULT))
		nbdkit_error("warning: memory cannot be locked on use: %m");
}

int tm_nbd_disk_open(const struct tm_nbd_options *options,
		     struct tm_nbd_disk *nbd)
{
	int err;

	*nbd = (struct tm_nbd_disk){
		.backing = options->value[TM_NBD_backing],
		.is_quiet = true,
	};
	if (nbd->backing && options->value[TM_NBD_memory] &&
	    !options->value[TM_NBD_arena]) {
		err = try_backing(nbd->backing);
		if (err)
			return err;
		nbd->is_backing_ours = true;
	}
	lock_on_use();
	err = open_all(options, nbd);
	if (err)
		tm_nbd_disk_close(nbd);
	nbd->is_quiet = false;
	return err;
}

void tm_nbd_disk_close(struct tm_nbd_disk *nbd)
{
	if (nbd->disk)
		tm_disk_close(nbd->disk);
	tmem_client_detach(nbd->client);
	tmem_store_close(nbd->store);
	if (nbd->is_backing_ours)
		unlink(nbd->backing);
	nbd->is_backing_ours = false;
	nbd->disk = NULL;
	nbd->client = NULL;
	nbd->store = NULL;
}
