/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The daemon's life: opens everything in order, serves, and closes it in the
 * reverse; see daemon.h.
 *
 * The loop waits, without a time-out, for a signal, for a successor, for the
 * host's word that memory is short, for somebody who came or went (kick), or
 * for the one timer. The timer is set only while something is due: a client
 * that lingers, or a limit that follows the host while somebody uses the store.
 * So a daemon without clients does not wake up at all.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <tmem/xen.h>

#include "clock.h"
#include "config_check.h"
#include "daemon.h"
#include "layout.h"
#include "notify.h"

#define NS_PER_S UINT64_C(1000000000)

static int fail(struct tm_daemon *daemon, const char *what, int err)
{
	tm_daemon_log(daemon->log, TMEM_LOG_ERROR, "%s: %s", what,
		      strerror(-err));
	return err;
}

void tm_daemon_kick(struct tm_daemon *daemon)
{
	const uint64_t one = 1;

	if (write(daemon->kick_fd, &one, sizeof(one)) < 0)
		return; /* it counts already */
}

/* --- the store -------------------------------------------------------------------- */

/* What an arena that is there takes now, and can take; else *@max_bytes is 0. */
static void measure_arena(const char *path, uint64_t *bytes,
			  uint64_t *max_bytes)
{
	struct tm_superblock super = { .layout_version = 0 };
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat status;

	*bytes = 0;
	*max_bytes = 0;
	if (fd < 0)
		return;
	/* Whether it is one at all is for the store to say. */
	if (!fstat(fd, &status) && S_ISREG(status.st_mode) &&
	    pread(fd, &super, sizeof(super), 0) == (ssize_t)sizeof(super) &&
	    !memcmp(super.magic, TM_LAYOUT_MAGIC, sizeof(super.magic))) {
		*bytes = (uint64_t)status.st_blocks * 512;
		*max_bytes = super.memory_max_bytes;
	}
	close(fd);
}

/* "anonymous" is a memfd, so that a successor can be given it. */
static int name_arena(struct tm_daemon *daemon, char *name, size_t size)
{
	const char *path = daemon->config->arena;
	char directory[TM_CONFIG_PATH_SIZE];

	if (strcmp(path, "anonymous")) {
		snprintf(directory, sizeof(directory), "%.*s",
			 (int)(strrchr(path, '/') - path), path);
		if (*directory && mkdir(directory, 0700) && errno != EEXIST)
			return fail(daemon, directory, -errno);
		snprintf(name, size, "%s", path);
		return 0;
	}
	if (daemon->arena_fd < 0)
		daemon->arena_fd = memfd_create("tmem-arena", MFD_CLOEXEC);
	if (daemon->arena_fd < 0)
		return fail(daemon, "arena", -errno);
	snprintf(name, size, "fd:%d", daemon->arena_fd);
	return 0;
}

static int open_store(struct tm_daemon *daemon)
{
	char arena[TM_CONFIG_PATH_SIZE], path[64];
	uint64_t bytes, max_bytes;
	struct tm_config_store made;
	int err = name_arena(daemon, arena, sizeof(arena));

	if (err)
		return err;
	tm_config_make_store(daemon->config, tm_daemon_log_callback,
			     daemon->log, &made);
	made.store.arena = arena;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", daemon->arena_fd);
	measure_arena(daemon->arena_fd < 0 ? arena : path, &bytes, &max_bytes);
	err = tm_limit_begin(daemon, bytes, max_bytes, &made.store);
	if (!err)
		err = tmem_store_open(&made.store, &daemon->store);
	return err ? fail(daemon, "the store cannot be opened", err) : 0;
}

static void report_store(struct tm_daemon *daemon, uint64_t since_ns)
{
	struct tmem_store_stats stats = {
		.struct_size = sizeof(stats),
		.counts.struct_size = sizeof(stats.counts),
	};

	if (tmem_store_get_stats(daemon->store, &stats))
		return;
	tm_daemon_log(daemon->log, TMEM_LOG_INFO,
		      "store open: arena %s, limit %" PRIu64
		      " MiB%s, codec %s, allocator %s, %" PRIu64
		      " clients, %" PRIu64 " persistent pages, in %" PRIu64
		      " ms",
		      daemon->config->arena, stats.memory_bytes >> 20,
		      daemon->fallow ? " (follows the host)" : "", stats.codec,
		      stats.allocator, stats.clients, stats.recovered_pages,
		      (tm_clock_now_ns(tm_clock_system()) - since_ns) /
			      1000000);
}

static void log_text(void *opaque, enum tmem_log_level level,
			     const char *text)
{
	const struct tm_daemon *daemon = opaque;

	tm_daemon_log_text(daemon->log, level, text);
}

/* --- listening ----------------------------------------------------------------------- */

static int get_socket(struct tm_daemon *daemon, const struct tm_socket_how *how)
{
	char error[TM_CONFIG_ERROR_SIZE];
	int fd = tm_sockets_get(daemon->sockets, how, error, sizeof(error));

	if (fd < 0)
		tm_daemon_log_text(daemon->log, TMEM_LOG_ERROR, error);
	return fd;
}

static int listen_for(struct tm_daemon *daemon, const char *path,
		      const struct tm_config_client *client)
{
	const struct tm_socket_how how = {
		.path = path,
		.mode = client ? client->mode : 0600,
		.owner = client ? client->owner : (uid_t)-1,
		.group = client ? client->group : (gid_t)-1,
	};
	int fd = get_socket(daemon, &how);
	int err;

	if (fd < 0)
		return fd;
	err = tm_ring_server_listen(daemon->ring, fd,
				    client ? client->name : NULL);
	if (err)
		close(fd);
	return err;
}

static int open_ring(struct tm_daemon *daemon)
{
	const struct tm_daemon_config *config = daemon->config;
	const struct tm_ring_host host = {
		.opaque = daemon,
		.attach = tm_admission_attach,
		.detach = tm_admission_detach,
		.log = log_text,
	};
	const struct tm_ring_limits limits = {
		.peers_max = config->peers_max,
		.rings_max = config->rings_max,
		.rings_per_peer_max = config->rings_per_peer_max,
		.memory_per_peer_max_bytes = config->peer_memory_bytes,
	};
	int err = tm_ring_server_open(&host, &limits, &daemon->ring);

	if (err)
		return fail(daemon, "the channel", err);
	tm_takeover_import(daemon);
	err = listen_for(daemon, config->socket, NULL);
	for (const struct tm_config_client *c = config->clients; c && !err;
	     c = c->next) {
		if (*c->socket)
			err = listen_for(daemon, c->socket, c);
		/* What a reload could not have is not what to end for. */
		if (daemon->has_served)
			err = 0;
	}
	return err;
}

/* --- disks ------------------------------------------------------------------------------- */

static void disks_changed(void *opaque)
{
	tm_daemon_kick(opaque);
}

static void add_disk(struct tm_daemon *daemon,
		     const struct tm_config_disk *config)
{
	char error[TM_CONFIG_ERROR_SIZE];
	int err = tm_disks_add(daemon->disks, config,
			       tm_takeover_door(daemon, config->client.name),
			       error, sizeof(error));

	if (err)
		tm_daemon_log(daemon->log, TMEM_LOG_ERROR,
			      "%s; this disk is not served, the others are; "
			      "`tmem disk add` when it is mended",
			      error);
}

/* What the configuration has, and what a predecessor had besides. A disk that
 * cannot be had is no reason to leave all other guests without theirs. */
static int open_disks(struct tm_daemon *daemon)
{
	const struct tm_disks_host host = {
		.registry = daemon->registry,
		.sockets = daemon->sockets,
		.opaque = daemon,
		.changed = disks_changed,
		.log = log_text,
	};
	int err = tm_disks_open(&host, &daemon->disks);

	if (err)
		return fail(daemon, "disks", err);
	for (const struct tm_config_disk *d = daemon->config->disks; d;
	     d = d->next)
		add_disk(daemon, d);
	tm_takeover_import_disks(daemon);
	/* Whose disk is not served any more is not to wait for it. */
	tm_takeover_forget(daemon);
	return 0;
}

static void add_new_disks(struct tm_daemon *daemon,
			  const struct tm_daemon_config *before)
{
	for (const struct tm_config_disk *d = daemon->config->disks; d;
	     d = d->next) {
		const struct tm_config_disk *old = before->disks;

		while (old && strcmp(old->client.name, d->client.name))
			old = old->next;
		if (!old)
			add_disk(daemon, d);
	}
}

static int open_metrics(struct tm_daemon *daemon)
{
	const struct tm_socket_how how = {
		.path = daemon->config->metrics,
		.is_stream = true,
		.mode = 0666,
		.owner = (uid_t)-1,
		.group = (gid_t)-1,
	};
	int fd, err;

	if (!*how.path)
		return 0;
	fd = get_socket(daemon, &how);
	if (fd < 0)
		return fd;
	err = tm_control_add_metrics_listener(daemon->control, fd);
	if (err)
		close(fd);
	return err ? fail(daemon, "metrics", err) : 0;
}

static int open_control(struct tm_daemon *daemon)
{
	const struct tm_socket_how how = {
		.path = daemon->config->control,
		.is_stream = true,
		.is_private = true,
		.mode = 0600,
		.owner = (uid_t)-1,
		.group = (gid_t)-1,
	};
	const struct tm_control_host host = {
		.store = daemon->store,
		.registry = daemon->registry,
		.xen = daemon->xen,
		.opaque = daemon,
		.disk_ops = tm_disks_control(),
		.disks = daemon->disks,
		.set_memory = tm_limit_set,
		.log = log_text,
	};
	int fd = get_socket(daemon, &how);
	int err;

	if (fd < 0)
		return fd;
	if (!tm_sockets_is_private(how.path))
		tm_daemon_log(daemon->log, TMEM_LOG_WARNING,
			      "the directory of %s is open to others; only its "
			      "mode keeps them from it: chmod 700 the directory",
			      how.path);
	err = tm_control_open(&host, fd, &daemon->control);
	if (err) {
		close(fd);
		return fail(daemon, "control", err);
	}
	return open_metrics(daemon);
}

/* --- the engine ------------------------------------------------------------------------ */

static void drop_peer(void *opaque, struct tm_member *member)
{
	struct tm_daemon *daemon = opaque;

	if (daemon->ring)
		tm_ring_server_drop(daemon->ring, member);
	tm_disks_drop(daemon->disks, member);
}

static void clients_changed(void *opaque)
{
	tm_daemon_kick(opaque);
}

static int open_registry(struct tm_daemon *daemon)
{
	const struct tm_registry_host host = {
		.opaque = daemon,
		.drop = drop_peer,
		.changed = clients_changed,
		.log = log_text,
	};
	struct tmem_xen_config xen;
	int err;

	tmem_xen_config_init(&xen);
	xen.store = daemon->store;
	err = tmem_xen_open(&xen, &daemon->xen);
	if (!err)
		err = tm_registry_open(daemon->store, daemon->xen,
				       daemon->config, &daemon->registry);
	if (!err) {
		tm_registry_set_host(daemon->registry, &host);
		err = tm_registry_take_up(daemon->registry);
	}
	return err ? fail(daemon, "the clients cannot be taken up", err) : 0;
}

int tm_engine_open(struct tm_daemon *daemon)
{
	uint64_t since_ns = tm_clock_now_ns(tm_clock_system());
	int err = open_store(daemon);

	if (!err)
		err = open_registry(daemon);
	if (!err)
		report_store(daemon, since_ns);
	/* Clients wait for the store; operators only look. */
	if (!err)
		err = open_ring(daemon);
	if (!err)
		err = open_disks(daemon);
	if (!err)
		err = open_control(daemon);
	if (err)
		tm_engine_close(daemon);
	return err;
}

void tm_engine_close(struct tm_daemon *daemon)
{
	/* What operators have asked for is waited for: it is to end soon. */
	tm_disks_hold(daemon->disks);
	tm_control_close(daemon->control);
	daemon->control = NULL;
	tm_disks_close(daemon->disks);
	daemon->disks = NULL;
	tm_ring_server_close(daemon->ring);
	daemon->ring = NULL;
	tm_sockets_take_back(daemon->sockets);
	tm_limit_end(daemon);
	tm_registry_close(daemon->registry);
	daemon->registry = NULL;
	tmem_xen_close(daemon->xen);
	daemon->xen = NULL;
	tmem_store_close(daemon->store);
	daemon->store = NULL;
}

/* --- opening and closing ------------------------------------------------------------------ */

static int watch(struct tm_daemon *daemon, int fd)
{
	struct epoll_event event = { .events = EPOLLIN, .data.fd = fd };

	return epoll_ctl(daemon->epoll_fd, EPOLL_CTL_ADD, fd, &event) ? -errno :
									0;
}

static int open_loop(struct tm_daemon *daemon)
{
	sigset_t signals;
	int err;

	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGHUP);
	daemon->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	daemon->signal_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
	daemon->timer_fd = timerfd_create(CLOCK_MONOTONIC,
					  TFD_CLOEXEC | TFD_NONBLOCK);
	daemon->kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (daemon->epoll_fd < 0 || daemon->signal_fd < 0 ||
	    daemon->timer_fd < 0 || daemon->kick_fd < 0)
		return -errno;
	err = watch(daemon, daemon->signal_fd);
	if (!err)
		err = watch(daemon, daemon->timer_fd);
	return err ? err : watch(daemon, daemon->kick_fd);
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void close_all(struct tm_daemon *daemon, bool is_handed_on)
{
	tm_engine_close(daemon);
	tm_takeover_forget(daemon);
	close_fd(&daemon->takeover_fd);
	tm_sockets_close(daemon->sockets, is_handed_on);
	daemon->sockets = NULL;
	close_fd(&daemon->arena_fd);
	close_fd(&daemon->kick_fd);
	close_fd(&daemon->timer_fd);
	close_fd(&daemon->signal_fd);
	close_fd(&daemon->epoll_fd);
}

int tm_daemon_open(struct tm_daemon *daemon)
{
	int connection = -1, err;

	daemon->epoll_fd = daemon->signal_fd = daemon->timer_fd = -1;
	daemon->kick_fd = daemon->takeover_fd = daemon->arena_fd = -1;
	tm_lock_init(&daemon->limit_lock, TM_RANK_LIMIT);
	err = open_loop(daemon);
	if (!err)
		err = tm_sockets_open(&daemon->sockets);
	if (err)
		fail(daemon, "starting", err);
	if (!err && daemon->config->is_takeover)
		err = tm_takeover_take(daemon, &connection);
	if (!err)
		err = tm_engine_open(daemon);
	if (!err)
		err = tm_takeover_listen(daemon);
	if (err) {
		close_all(daemon, false);
	} else {
		tm_sockets_claim(daemon->sockets);
		daemon->has_served = true;
		tm_notify_ready(daemon->is_successor);
	}
	/* The old one goes on with what it has, or ends. */
	if (connection >= 0)
		tm_takeover_confirm(connection, !err);
	if (err)
		return err;
	/* Where the old one listened, and we are not to; it needs them no more. */
	if (daemon->is_successor)
		tm_sockets_end_spare(daemon->sockets);
	tm_daemon_log(daemon->log, TMEM_LOG_INFO,
		      "serving clients at %s and operators at %s",
		      daemon->config->socket, daemon->config->control);
	return 0;
}

/* --- reloading -------------------------------------------------------------------------------- */

static bool are_equal_memory(const struct tm_config_memory *a,
			     const struct tm_config_memory *b)
{
	return a->is_auto == b->is_auto && a->bytes == b->bytes &&
	       a->max_bytes == b->max_bytes &&
	       a->reserve_bytes == b->reserve_bytes;
}

static void listen_for_new(struct tm_daemon *daemon,
			   const struct tm_daemon_config *before)
{
	for (const struct tm_config_client *c = daemon->config->clients; c;
	     c = c->next)
		if (*c->socket && strcmp(c->socket,
					 tm_config_client(before, c->name)
						 ->socket))
			listen_for(daemon, c->socket, c);
}

/* Reservations that shrink may be what a smaller limit needs, and a larger
 * limit what those need that grow: whichever of the two can go first, does.
 * False: not all that the file says holds now, which was logged. */
static bool reload_limits(struct tm_daemon *daemon,
			  const struct tm_daemon_config *before)
{
	const struct tm_config_memory *memory = &daemon->config->memory;
	char error[TM_CONFIG_ERROR_SIZE];
	bool are_taken;
	int err = 0;

	tm_registry_lock_settings(daemon->registry);
	if (atomic_load(&daemon->keeps_limit) ||
	    !are_equal_memory(&before->memory, memory))
		err = tm_limit_apply(daemon, memory, error, sizeof(error));
	are_taken = tm_registry_reload(daemon->registry, daemon->config);
	if (err)
		err = tm_limit_apply(daemon, memory, error, sizeof(error));
	tm_registry_unlock_settings(daemon->registry);
	if (err)
		tm_daemon_log(daemon->log, TMEM_LOG_ERROR,
			      "the memory limit stays: %s", error);
	atomic_store(&daemon->keeps_limit, err);
	return are_taken && !err;
}

/* What a start would refuse is refused whole, and so is what it would do
 * without: here there is somebody to be told. */
static int load_again(struct tm_daemon *daemon, struct tm_daemon_config **now)
{
	struct tm_config_verdict verdict = { .warn = NULL };
	int err = tm_config_load(daemon->argc, daemon->argv,
				 daemon->config->file, now, verdict.error,
				 sizeof(verdict.error));

	if (!err) {
		err = tm_config_check_start(*now, &verdict);
		if (!err)
			err = tm_config_check_disks(*now, &verdict);
		if (err)
			tm_config_free(*now);
	}
	if (err)
		tm_daemon_log(daemon->log, TMEM_LOG_ERROR,
			      "nothing is reloaded, and all stays as it was: "
			      "%s",
			      verdict.error);
	return err;
}

static void reload(struct tm_daemon *daemon)
{
	struct tm_daemon_config *before = daemon->config, *now;
	bool are_taken;

	tm_notify_reloading();
	if (load_again(daemon, &now)) {
		tm_notify("READY=1");
		return;
	}
	if (tm_config_keep_fixed(now, before))
		tm_daemon_log(daemon->log, TMEM_LOG_WARNING,
			      "[boot], dedup-persistent, plugin-path, arena, "
			      "sockets and what peers may have stay as they are "
			      "until the next start");
	daemon->config = now;
	tm_daemon_log_set_level(daemon->log, now->log_level);
	are_taken = reload_limits(daemon, before);
	listen_for_new(daemon, before);
	add_new_disks(daemon, before);
	tm_config_free(before);
	tm_daemon_log(daemon->log,
		      are_taken ? TMEM_LOG_INFO : TMEM_LOG_WARNING,
		      are_taken ? "reloaded" :
				  "reloaded, but for what was refused: the "
				  "next SIGHUP tries that again");
	tm_notify("READY=1");
}

/* --- the loop ------------------------------------------------------------------------------------ */

struct seen {
	bool is_asked;
	bool is_reload;
	bool is_successor;
	bool is_pressed;
};

static void drain(int fd)
{
	uint64_t ignored;

	if (read(fd, &ignored, sizeof(ignored)) < 0)
		return; /* nothing there, then */
}

static void read_signals(struct tm_daemon *daemon, struct seen *seen)
{
	struct signalfd_siginfo info;

	while (read(daemon->signal_fd, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo == SIGHUP) {
			seen->is_reload = true;
			continue;
		}
		seen->is_asked = true;
		tm_daemon_log(daemon->log, TMEM_LOG_INFO, "ends: signal %s",
			      strsignal((int)info.ssi_signo));
	}
}

static void see(struct tm_daemon *daemon, const struct epoll_event *event,
		struct seen *seen)
{
	int fd = event->data.fd;

	if (fd == daemon->signal_fd)
		read_signals(daemon, seen);
	else if (fd == daemon->timer_fd || fd == daemon->kick_fd)
		drain(fd);
	else if (fd == daemon->takeover_fd)
		seen->is_successor = true;
	else
		seen->is_pressed |= !!(event->events & EPOLLPRI);
}

/* At @when, or, 0, never. */
static void set_timer(struct tm_daemon *daemon, uint64_t when_ns)
{
	const struct itimerspec at = {
		.it_value.tv_sec = (time_t)(when_ns / NS_PER_S),
		.it_value.tv_nsec = (long)(when_ns % NS_PER_S),
	};

	timerfd_settime(daemon->timer_fd, TFD_TIMER_ABSTIME, &at, NULL);
}

/* Everything that is due; sets the timer for what will be. */
static void do_due(struct tm_daemon *daemon, bool is_pressed)
{
	uint64_t expire_ns, look_ns;
	size_t members, attached;

	tm_disks_end_dropped(daemon->disks);
	expire_ns = tm_registry_expire(daemon->registry,
				       tm_clock_now_ns(tm_clock_system()));
	tm_registry_count(daemon->registry, &members, &attached);
	look_ns = tm_limit_look(daemon, is_pressed, attached > 0);
	if (!look_ns || (expire_ns && expire_ns < look_ns))
		look_ns = expire_ns;
	set_timer(daemon, look_ns);
}

static enum tm_daemon_end serve(struct tm_daemon *daemon)
{
	struct epoll_event events[8];
	struct seen seen = { .is_asked = false };

	for (;;) {
		int count;

		do_due(daemon, seen.is_pressed);
		seen = (struct seen){ .is_asked = false };
		count = epoll_wait(daemon->epoll_fd, events, 8, -1);
		for (int i = 0; i < count; i++)
			see(daemon, &events[i], &seen);
		if (seen.is_asked)
			return TM_DAEMON_ASKED;
		if (seen.is_reload)
			reload(daemon);
		if (seen.is_successor && tm_takeover_give(daemon))
			return TM_DAEMON_REPLACED;
		/* A successor failed, and so did going on without it. */
		if (!daemon->store)
			return TM_DAEMON_FAILED;
	}
}

enum tm_daemon_end tm_daemon_run(struct tm_daemon *daemon)
{
	enum tm_daemon_end end = serve(daemon);

	if (end != TM_DAEMON_REPLACED)
		tm_notify("STOPPING=1");
	/* If we could not go on, it may be since a successor has the arena. */
	close_all(daemon, end != TM_DAEMON_ASKED);
	return end;
}
