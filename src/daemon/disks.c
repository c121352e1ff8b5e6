/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Disks: each a client, a disk over its pages, and a door for its virtual
 * machine.
 *
 * The problem: they come and go while operators list them, demote their pages
 * and destroy clients, and each of these may take as long as a file or a
 * guest's request does. The idea: a list under a lock that is held to look and
 * to count only. Whoever works with a disk holds a reference; who removes one
 * takes it out of the list first, so that it is removed once, closes its door,
 * waits for those who hold it, and ends disk and client.
 *
 * Life of a disk: its client is attached in the registry like any peer's (so
 * nobody else can be), the door is opened last and closed first. When the
 * daemon ends, the client stays; when the disk is removed, it is destroyed. A
 * client that an operator destroys takes its disk along, from the main thread.
 *
 * When the host is short of memory, and what is held is persistent, a thread
 * writes pages of disks to their files, step by step, as long as that is so.
 *
 * A successor is given all of them, as they are: from before it is told how
 * many sockets there are no disk comes or goes, and who asks for that is told
 * so. Pages go to files a step at a time, so that who takes the disks over, or
 * ends one or all of them, waits for STEP_BYTES at most, and does so while
 * guests are served.
 *
 * Locks: disks.lock guards the list, references and what was dropped.
 */
#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config_client.h"
#include "disk.h"
#include "disks.h"
#include "lock.h"
#include "vhost.h"

#define STEP_BYTES (UINT64_C(16) << 20)

struct entry {
	/* set at creation, then constant */
	struct tm_disks *disks;
	struct tm_config_disk config;
	struct tm_member *member;
	struct tm_disk *disk;
	struct tm_vhost *door;
	/* guarded by disks.lock */
	struct entry *next;
	uint32_t references;
	bool is_dropped;
	bool is_to_end; /* its client, with it: it is out of the list */
	sem_t alone; /* and who ends it is the last who holds it */
	/* Why the disk says that it cannot be opened. The opener's. */
	_Atomic bool is_opening;
	pthread_t opener;
	char said[256];
};

struct tm_disks {
	/* set at creation, then constant */
	struct tm_disks_host host;
	/* guarded by lock */
	struct tm_lock lock;
	struct entry *first;
	unsigned changes; /* disks that come or go, steps of demotion */
	bool is_held; /* no more of them */
	bool has_presser;
	pthread_t presser; /* constant once it is there */
	sem_t settled; /* held, and the last change is over */
	/* the presser's */
	sem_t pressed;
	_Atomic uint64_t press_bytes; /* what the next step is to free */
	_Atomic bool is_closing;
};

__attribute__((format(printf, 3, 4))) static int
complain(const struct tm_complaint *complaint, int err, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(complaint->text, complaint->size, format, args);
	va_end(args);
	return err;
}

__attribute__((format(printf, 3, 4))) static void
say(const struct tm_disks *disks, enum tmem_log_level level, const char *format,
    ...)
{
	char text[512];
	va_list args;

	if (!disks->host.log)
		return;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	disks->host.log(disks->host.opaque, level, text);
}

/* --- one disk ------------------------------------------------------------ */

static int apply_limits_locked(const struct tm_config_client *settings,
			       struct tmem_client *client,
			       const struct tm_complaint *complaint)
{
	struct tmem_client_config limits;
	int err;

	tm_config_client_limits(settings, &limits);
	err = tmem_client_set(client, &limits);
	if (err)
		return complain(complaint, err,
				"disk %s: its limits do not fit the store's: "
				"%s",
				settings->name, strerror(-err));
	if (*settings->codec)
		err = tmem_client_set_codec(client, settings->codec);
	return err ? complain(complaint, err,
			      "disk %s: its codec \"%s\" cannot be used: %s",
			      settings->name, settings->codec, strerror(-err))
		   : 0;
}

/* What the disk was described with, and no reload changes. */
static int apply_limits(struct entry *entry,
			const struct tm_complaint *complaint)
{
	struct tm_registry *registry = entry->disks->host.registry;
	int err;

	tm_registry_lock_settings(registry);
	err = apply_limits_locked(&entry->config.client, entry->member->client,
				  complaint);
	tm_registry_keep_settings(registry, entry->member);
	tm_registry_unlock_settings(registry);
	return err;
}

static int attach(struct entry *entry, const struct tm_complaint *complaint)
{
	const struct tm_config_client *settings = &entry->config.client;
	struct tm_registry *registry = entry->disks->host.registry;
	int err = tm_registry_attach(registry, settings->name, getpid(),
				     geteuid(), &entry->member);

	if (err == -EBUSY)
		return complain(complaint, err,
				"disk %s: somebody is attached as that client",
				settings->name);
	return err ? complain(complaint, err, "disk %s: no client: %s",
			      settings->name, strerror(-err))
		   : 0;
}

static void hear(void *opaque, enum tmem_log_level level, const char *text)
{
	struct entry *entry = opaque;
	const struct tm_disks_host *host = &entry->disks->host;

	if (level == TMEM_LOG_ERROR && atomic_load(&entry->is_opening) &&
	    pthread_equal(entry->opener, pthread_self())) {
		text += strncmp(text, "disk: ", 6) ? 0 : 6;
		snprintf(entry->said, sizeof(entry->said), "%s", text);
	} else if (host->log) {
		host->log(host->opaque, level, text);
	}
}

/* The disk's own sentence, if it had one, says more than an error's number. */
static int refuse(struct entry *entry, int err,
		  const struct tm_complaint *complaint)
{
	const char *name = entry->config.client.name;

	if (*entry->said)
		return complain(complaint, err, "disk %s: %s", name,
				entry->said);
	return complain(complaint, err, "disk %s: cannot be opened: %s", name,
			strerror(-err));
}

static int open_disk(struct entry *entry, const struct tm_complaint *complaint)
{
	const struct tm_config_disk *config = &entry->config;
	const struct tm_disk_config how = {
		.kind = config->is_cache ? TM_DISK_CACHE : TM_DISK_SWAP,
		.client = entry->member->client,
		.size_bytes = config->size_bytes,
		.backing = *config->backing ? config->backing : NULL,
		.image = config->is_cache ? config->image : NULL,
		.share = *config->share ? config->share : NULL,
		.is_readonly = config->is_readonly,
		.log = hear,
		.log_opaque = entry,
	};
	int err;

	entry->opener = pthread_self();
	atomic_store(&entry->is_opening, true);
	err = tm_disk_open(&how, &entry->disk);
	atomic_store(&entry->is_opening, false);
	return err ? refuse(entry, err, complaint) : 0;
}

/* Swap has blocks of a page, which is what it is stored by; an image's tables
 * count in sectors. */
static uint32_t block_bytes(const struct entry *entry)
{
	if (entry->config.is_cache || entry->config.size_bytes % TM_BLOCK_SIZE)
		return 512;
	return TM_BLOCK_SIZE;
}

static int open_door(struct entry *entry, struct tm_vhost_given *given,
		     const struct tm_complaint *complaint)
{
	const struct tm_config_client *settings = &entry->config.client;
	struct tm_sockets *sockets = entry->disks->host.sockets;
	const struct tm_socket_how how = {
		.path = settings->socket,
		.is_stream = true,
		.mode = settings->mode,
		.owner = settings->owner,
		.group = settings->group,
	};
	struct tm_vhost_config config = {
		.disk = entry->disk,
		.name = settings->name,
		.is_readonly = entry->config.is_readonly,
		.block_bytes = block_bytes(entry),
		.queues = entry->config.queues,
		.given = given,
		.log = entry->disks->host.log,
		.log_opaque = entry->disks->host.opaque,
	};
	int err;

	config.listen_fd =
		tm_sockets_get(sockets, &how, complaint->text, complaint->size);
	if (config.listen_fd < 0)
		return config.listen_fd;
	err = tm_vhost_open(&config, &entry->door);
	if (!err)
		return 0;
	close(config.listen_fd);
	tm_sockets_drop(sockets, settings->socket);
	return complain(complaint, err, "disk %s: its door: %s", settings->name,
			strerror(-err));
}

/* Its door is closed, and nobody uses it any more. */
static void free_entry(struct entry *entry)
{
	struct tm_registry *registry = entry->disks->host.registry;

	tm_disk_close(entry->disk);
	if (entry->is_to_end)
		tm_registry_destroy(registry, entry->member);
	tm_registry_detach(registry, entry->member);
	sem_destroy(&entry->alone);
	free(entry);
}

static bool is_client(struct tm_registry *registry, const char *name)
{
	struct tm_member *member = tm_registry_find(registry, name);

	if (member)
		tm_registry_release(registry, member);
	return member;
}

static int open_entry(struct entry *entry, struct tm_vhost_given *given,
		      const struct tm_complaint *complaint)
{
	struct tm_registry *registry = entry->disks->host.registry;
	bool was_there = is_client(registry, entry->config.client.name);
	int err = attach(entry, complaint);

	if (err)
		return err;
	err = apply_limits(entry, complaint);
	if (err)
		goto out_detach;
	err = open_disk(entry, complaint);
	if (err)
		goto out_detach;
	err = open_door(entry, given, complaint);
	if (err)
		goto out_close;
	return 0;

out_close:
	tm_disk_close(entry->disk);
out_detach:
	/* A client that came for this disk has nothing yet. */
	if (!was_there)
		tm_registry_destroy(registry, entry->member);
	tm_registry_detach(registry, entry->member);
	return err;
}

/* --- the list ------------------------------------------------------------ */

static struct entry *find_locked(struct tm_disks *disks, const char *name)
{
	for (struct entry *e = disks->first; e; e = e->next)
		if (!strcmp(e->config.client.name, name))
			return e;
	return NULL;
}

static struct entry *hold(struct tm_disks *disks, const char *name)
{
	struct entry *entry;

	tm_lock_acquire(&disks->lock);
	entry = find_locked(disks, name);
	if (entry)
		entry->references++;
	tm_lock_release(&disks->lock);
	return entry;
}

static struct entry *hold_nth(struct tm_disks *disks, size_t n)
{
	struct entry *entry;

	tm_lock_acquire(&disks->lock);
	for (entry = disks->first; entry && n; entry = entry->next)
		n--;
	if (entry)
		entry->references++;
	tm_lock_release(&disks->lock);
	return entry;
}

static void release(struct tm_disks *disks, struct entry *entry)
{
	bool is_last;

	tm_lock_acquire(&disks->lock);
	is_last = !--entry->references;
	if (entry->is_to_end && entry->references == 1)
		sem_post(&entry->alone);
	tm_lock_release(&disks->lock);
	if (is_last)
		free_entry(entry);
}

/* It is out of the list, so that nobody comes. */
static void wait_until_alone(struct tm_disks *disks, struct entry *entry)
{
	bool is_alone;

	tm_lock_acquire(&disks->lock);
	is_alone = entry->references == 1;
	tm_lock_release(&disks->lock);
	while (!is_alone && sem_wait(&entry->alone) && errno == EINTR)
		;
}

/* Takes an entry out: by name, or (NULL) one that was dropped. */
static struct entry *take_out(struct tm_disks *disks, const char *name)
{
	struct entry **link, *entry;

	tm_lock_acquire(&disks->lock);
	for (link = &disks->first; *link; link = &(*link)->next)
		if (name ? !strcmp((*link)->config.client.name, name)
			 : (*link)->is_dropped)
			break;
	entry = *link;
	if (entry) {
		*link = entry->next;
		entry->is_to_end = true;
	}
	tm_lock_release(&disks->lock);
	return entry;
}

/* It is out of the list. */
static void end_disk(struct tm_disks *disks, struct entry *entry)
{
	say(disks, TMEM_LOG_INFO, "disk %s: removed",
	    entry->config.client.name);
	tm_vhost_close(entry->door);
	entry->door = NULL;
	tm_sockets_drop(disks->host.sockets, entry->config.client.socket);
	wait_until_alone(disks, entry);
	release(disks, entry);
}

static bool may_change(struct tm_disks *disks)
{
	bool is_held;

	tm_lock_acquire(&disks->lock);
	is_held = disks->is_held;
	disks->changes += !is_held;
	tm_lock_release(&disks->lock);
	return !is_held;
}

static int begin_change(struct tm_disks *disks,
			const struct tm_complaint *complaint)
{
	return may_change(disks)
		       ? 0
		       : complain(complaint, -EBUSY,
				  "a successor takes the disks over; ask it "
				  "when it serves");
}

static void end_change(struct tm_disks *disks)
{
	bool is_last;

	tm_lock_acquire(&disks->lock);
	is_last = !--disks->changes && disks->is_held;
	tm_lock_release(&disks->lock);
	if (is_last)
		sem_post(&disks->settled);
}

void tm_disks_hold(struct tm_disks *disks)
{
	bool is_changing;

	if (!disks)
		return;
	tm_lock_acquire(&disks->lock);
	disks->is_held = true;
	is_changing = disks->changes;
	tm_lock_release(&disks->lock);
	while (is_changing && sem_wait(&disks->settled) && errno == EINTR)
		;
}

void tm_disks_go_on(struct tm_disks *disks)
{
	tm_lock_acquire(&disks->lock);
	disks->is_held = false;
	tm_lock_release(&disks->lock);
}

int tm_disks_remove(struct tm_disks *disks, const char *name, char *error,
		    size_t error_size)
{
	const struct tm_complaint complaint = { error, error_size };
	int err = begin_change(disks, &complaint);
	struct entry *entry;

	if (err)
		return err;
	entry = take_out(disks, name);
	if (entry)
		end_disk(disks, entry);
	else
		err = complain(&complaint, -ENOENT,
			       "there is no disk \"%.80s\"; `tmem disk list` "
			       "shows those there are",
			       name);
	end_change(disks);
	return err;
}

void tm_disks_drop(struct tm_disks *disks, const struct tm_member *member)
{
	bool is_ours = false;

	if (!disks)
		return;
	tm_lock_acquire(&disks->lock);
	for (struct entry *e = disks->first; e; e = e->next)
		if (e->member == member)
			is_ours = e->is_dropped = true;
	tm_lock_release(&disks->lock);
	if (is_ours && disks->host.changed)
		disks->host.changed(disks->host.opaque);
}

void tm_disks_end_dropped(struct tm_disks *disks)
{
	struct entry *entry;

	while ((entry = take_out(disks, NULL)))
		end_disk(disks, entry);
}

/* --- demotion ------------------------------------------------------------ */

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static int64_t demote_step(struct entry *entry, uint64_t bytes,
			   const struct tm_complaint *complaint)
{
	const char *name = entry->config.client.name;
	int64_t demoted = begin_change(entry->disks, complaint);

	if (demoted)
		return demoted;
	demoted = tm_disk_demote(entry->disk, bytes);
	end_change(entry->disks);
	if (demoted == -EOPNOTSUPP)
		complain(complaint, 0,
			 "disk %s has no backing file to write pages to", name);
	else if (demoted < 0)
		complain(complaint, 0, "disk %s: %s", name,
			 strerror((int)-demoted));
	return demoted;
}

static bool is_to_end(struct entry *entry)
{
	bool is_to_end;

	tm_lock_acquire(&entry->disks->lock);
	is_to_end = entry->is_to_end;
	tm_lock_release(&entry->disks->lock);
	return is_to_end;
}

/* As much as the disk has, at most: its guest may fill it as fast. */
static int64_t demote(struct entry *entry, uint64_t bytes,
		      const struct tm_complaint *complaint)
{
	uint64_t most = min_u64(bytes, tm_disk_size_bytes(entry->disk));
	uint64_t step, total = 0;
	int64_t demoted;

	do {
		step = min_u64(most - total, STEP_BYTES);
		demoted = demote_step(entry, step, complaint);
		if (demoted < 0)
			return total ? (int64_t)total : demoted;
		total += (uint64_t)demoted;
	} while (total < most && (uint64_t)demoted >= step &&
		 !is_to_end(entry));
	return (int64_t)total;
}

int64_t tm_disks_demote(struct tm_disks *disks, const char *name,
			uint64_t bytes, char *error, size_t error_size)
{
	const struct tm_complaint complaint = { error, error_size };
	struct entry *entry = hold(disks, name);
	int64_t demoted;

	if (!entry)
		return complain(&complaint, -ENOENT,
				"there is no disk \"%.80s\"; `tmem disk list` "
				"shows those there are",
				name);
	demoted = demote(entry, bytes, &complaint);
	release(disks, entry);
	return demoted;
}

static uint64_t demote_any(struct tm_disks *disks, uint64_t bytes)
{
	uint64_t total = 0;
	struct entry *entry;

	if (!may_change(disks))
		return 0;
	for (size_t n = 0; total < bytes && (entry = hold_nth(disks, n)); n++) {
		int64_t demoted = 0;

		if (*entry->config.backing)
			demoted = tm_disk_demote(entry->disk, bytes - total);
		release(disks, entry);
		total += demoted > 0 ? (uint64_t)demoted : 0;
	}
	end_change(disks);
	return total;
}

/* Writing takes as long as files do: not the main thread's work. One step for
 * each time that the host is found short. */
static void *run_presser(void *opaque)
{
	struct tm_disks *disks = opaque;

	for (;;) {
		uint64_t bytes, demoted;

		while (sem_wait(&disks->pressed) && errno == EINTR)
			;
		if (atomic_load(&disks->is_closing))
			return NULL;
		bytes = atomic_exchange(&disks->press_bytes, 0);
		demoted = bytes ? demote_any(disks, bytes) : 0;
		if (demoted)
			say(disks, TMEM_LOG_INFO,
			    "the host is short of memory: %" PRIu64
			    " KiB of disks went to their files",
			    demoted >> 10);
	}
}

/* The first disk with a file brings it (lock held). */
static int start_presser(struct tm_disks *disks)
{
	sigset_t all, before;
	int err;

	if (disks->has_presser)
		return 0;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	err = pthread_create(&disks->presser, NULL, run_presser, disks);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	disks->has_presser = !err;
	return -err;
}

void tm_disks_press(struct tm_disks *disks, uint64_t bytes)
{
	uint64_t none = 0;

	if (!disks)
		return;
	if (bytes > STEP_BYTES)
		bytes = STEP_BYTES;
	/* While one step is under way there is one more to come at most. */
	if (atomic_compare_exchange_strong(&disks->press_bytes, &none, bytes))
		sem_post(&disks->pressed);
}

static void stop_presser(struct tm_disks *disks)
{
	atomic_store(&disks->is_closing, true);
	sem_post(&disks->pressed);
	if (disks->has_presser)
		pthread_join(disks->presser, NULL);
	sem_destroy(&disks->pressed);
}

/* --- another disk -------------------------------------------------------- */

/* At the end, so that the order is that of the configuration. */
static void append(struct tm_disks *disks, struct entry *entry)
{
	struct entry **link;
	int err = 0;

	tm_lock_acquire(&disks->lock);
	for (link = &disks->first; *link; link = &(*link)->next)
		;
	*link = entry;
	if (*entry->config.backing && start_presser(disks))
		err = -EAGAIN;
	tm_lock_release(&disks->lock);
	if (err)
		say(disks, TMEM_LOG_WARNING,
		    "no thread: a host that is short of memory gets none of "
		    "disk %s back by itself",
		    entry->config.client.name);
}

static int add(struct tm_disks *disks, const struct tm_config_disk *config,
	       struct tm_vhost_given *given,
	       const struct tm_complaint *complaint)
{
	struct entry *entry = hold(disks, config->client.name);
	int err;

	if (entry) {
		release(disks, entry);
		return complain(complaint, -EEXIST,
				"there is a disk \"%s\" already",
				config->client.name);
	}
	entry = calloc(1, sizeof(*entry));
	if (!entry)
		return complain(complaint, -ENOMEM, "no memory for a disk");
	entry->disks = disks;
	entry->config = *config;
	entry->references = 1;
	sem_init(&entry->alone, 0, 0);
	err = open_entry(entry, given, complaint);
	if (err) {
		sem_destroy(&entry->alone);
		free(entry);
		return err;
	}
	append(disks, entry);
	say(disks, TMEM_LOG_INFO, "disk %s: served at %s", config->client.name,
	    config->client.socket);
	return 0;
}

int tm_disks_add(struct tm_disks *disks, const struct tm_config_disk *config,
		 struct tm_vhost_given *given, char *error, size_t error_size)
{
	const struct tm_complaint complaint = { error, error_size };
	int err = begin_change(disks, &complaint);

	if (err)
		return err;
	err = add(disks, config, given, &complaint);
	end_change(disks);
	return err;
}

/* --- reports ------------------------------------------------------------- */

bool tm_disks_report(struct tm_disks *disks, size_t n,
		     struct tm_disk_report *report)
{
	struct entry *entry = hold_nth(disks, n);
	struct tm_disk_info *info = &report->disk;

	if (!entry)
		return false;
	memset(report, 0, sizeof(*report));
	strcpy(report->name, entry->config.client.name);
	strcpy(report->socket, entry->config.client.socket);
	strcpy(report->file, entry->config.is_cache ? entry->config.image
						    : entry->config.backing);
	tm_disk_get_info(entry->disk, info);
	/* A door that closes meanwhile is waited for by nobody but its closer.
	 */
	tm_lock_acquire(&disks->lock);
	if (find_locked(disks, report->name) == entry)
		tm_vhost_get_info(entry->door, &report->door);
	tm_lock_release(&disks->lock);
	release(disks, entry);
	return true;
}

bool tm_disks_describe(struct tm_disks *disks, size_t n,
		       struct tm_config_disk *config)
{
	struct entry *entry = hold_nth(disks, n);

	if (!entry)
		return false;
	*config = entry->config;
	release(disks, entry);
	return true;
}

int tm_disks_give(struct tm_disks *disks, size_t n,
		  struct tm_vhost_given *given)
{
	struct entry *entry = hold_nth(disks, n);
	int err;

	if (!entry)
		return -ENOENT;
	err = tm_vhost_give(entry->door, given);
	release(disks, entry);
	return err;
}

static int control_add(void *disks, const char *text, char *error,
		       size_t error_size)
{
	const struct tm_complaint complaint = { error, error_size };
	struct tm_config_disk config;
	int err = tm_config_disk_parse(text, &config, &complaint);

	return err ? err
		   : tm_disks_add(disks, &config, NULL, error, error_size);
}

static int control_remove(void *disks, const char *name, char *error,
			  size_t error_size)
{
	return tm_disks_remove(disks, name, error, error_size);
}

static int64_t control_demote(void *disks, const char *name, uint64_t bytes,
			      char *error, size_t error_size)
{
	return tm_disks_demote(disks, name, bytes, error, error_size);
}

static bool control_report(void *disks, size_t n, struct tm_disk_report *report)
{
	return tm_disks_report(disks, n, report);
}

const struct tm_control_disks *tm_disks_control(void)
{
	static const struct tm_control_disks table = {
		.add = control_add,
		.remove = control_remove,
		.demote = control_demote,
		.report = control_report,
	};

	return &table;
}

/* --- opening and closing ------------------------------------------------- */

int tm_disks_open(const struct tm_disks_host *host, struct tm_disks **out)
{
	struct tm_disks *disks = calloc(1, sizeof(*disks));

	if (!disks)
		return -ENOMEM;
	disks->host = *host;
	tm_lock_init(&disks->lock, TM_RANK_DISKS);
	sem_init(&disks->pressed, 0, 0);
	sem_init(&disks->settled, 0, 0);
	*out = disks;
	return 0;
}

void tm_disks_close(struct tm_disks *disks)
{
	if (!disks)
		return;
	stop_presser(disks);
	while (disks->first) {
		struct entry *entry = disks->first;

		disks->first = entry->next;
		tm_vhost_close(entry->door);
		free_entry(entry);
	}
	sem_destroy(&disks->settled);
	tm_lock_destroy(&disks->lock);
	free(disks);
}
