/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The daemon's clients: who is there, by number and by name.
 *
 * The problem: rings, disks and the control socket all work on the same
 * clients, and a client may end under any of them. The idea: the daemon itself
 * is attached to every client of its store, from the start (those found in the
 * arena) or from the first connection, and everybody else borrows a member,
 * with a reference, for as long as it is used. A member that was destroyed is
 * out of the lists at once, and gone with its last reference.
 *
 * One live attachment for each client: a second one is refused. A client
 * without attachment lingers, if the configuration says so, and then ends.
 *
 * Limits: the configuration's when a client is met for the first time by this
 * daemon; from then on what an operator set, until a reload finds that the
 * client's own settings in the file have changed. Whoever changes settings, of
 * clients or of the store, reads what there is and writes it back with the
 * change, so it holds settings_lock meanwhile, and no change undoes another.
 *
 * A successor is given who is there: from before it is told of anybody, until it
 * serves or has failed, no operator ends a client. An operator's end of one is a
 * change like that of settings, so it is waited for.
 *
 * Locks: registry.lock guards lists, attachment and references; it is never
 * held while the store, a peer or a file is waited for, but for attaching to
 * the store and for its limits. registry.settings_lock comes before it.
 */
#ifndef TM_REGISTRY_H
#define TM_REGISTRY_H

#include <sys/types.h>

#include <tmem/tmem.h>

struct tmem_xen;
struct tmem_xen_domain;
struct tm_registry;
struct tm_daemon_config;
struct tm_config_client;

struct tm_member {
	/* set at creation, then constant */
	uint32_t number;	/* of the client's record; also its domain id */
	char name[TMEM_CLIENT_NAME_MAX + 1];
	struct tmem_client *client;
	struct tmem_xen_domain *domain;
	bool keeps_limits;	/* the file's were refused; with the settings
				 * locked */
	/* guarded by the registry's lock */
	uint32_t references;
	bool is_attached;	/* a live attachment: a channel, a disk */
	bool is_destroyed;
	bool keeps_settings; /* a disk's; the file's are not for it */
	pid_t peer_pid;		/* of that attachment; to be shown only */
	uid_t peer_uid;
	uint64_t linger_until_ns;	/* 0: does not end by itself */
};

/* What of a member is not constant, all of one moment. */
struct tm_member_state {
	bool is_attached;
	bool is_destroyed;
	pid_t peer_pid; /* 0 when not is_attached */
	uid_t peer_uid;
};

/* Whom it tells; all functions are called without a lock, from any thread. */
struct tm_registry_host {
	void *opaque;
	/* @member was destroyed: its peer is to go. */
	void (*drop)(void *opaque, struct tm_member *member);
	/* Somebody came or went: tm_registry_expire() may be due at another
	 * time. */
	void (*changed)(void *opaque);
	void (*log)(void *opaque, enum tmem_log_level level, const char *text);
};

/* Without members yet. @config outlives it, or the next tm_registry_reload().
 * 0 or a negative errno. */
int tm_registry_open(struct tmem_store *store, struct tmem_xen *xen,
		     const struct tm_daemon_config *config,
		     struct tm_registry **registry);
/* Nobody holds a member any more; clients stay in the store, detached. */
void tm_registry_close(struct tm_registry *registry);

/* Before anybody attaches. */
void tm_registry_set_host(struct tm_registry *registry,
			  const struct tm_registry_host *host);
/* Then: takes up every client that the store has. 0 or a negative errno. */
int tm_registry_take_up(struct tm_registry *registry);
/* One change of settings at a time: an operator's, a reload's, a disk's. To be
 * taken before anything that such a change looks at is read. */
void tm_registry_lock_settings(struct tm_registry *registry);
void tm_registry_unlock_settings(struct tm_registry *registry);
/* An operator has chosen the limits of @member: those of the file are tried again
 * when the file changes. The caller has locked the settings. */
void tm_registry_settle(struct tm_member *member);
/* Another configuration from now on; clients whose settings differ get the new
 * ones, and so do those who were refused theirs the last time. False: some keep
 * the limits they had, which was logged. The caller has locked the settings. */
bool tm_registry_reload(struct tm_registry *registry,
			const struct tm_daemon_config *config);
/* A copy of what the configuration says about client @name. */
void tm_registry_settings(struct tm_registry *registry, const char *name,
			  struct tm_config_client *settings);
/* How many members there are, and how many of them are attached. */
void tm_registry_count(struct tm_registry *registry, size_t *members,
		       size_t *attached);

/* A peer comes for client @name, which is made if it is not there, with the
 * limits that the configuration has for it. Holds it: tm_registry_detach() lets
 * go. 0, -EBUSY (attached already), or as tmem_client_attach(). */
int tm_registry_attach(struct tm_registry *registry, const char *name,
		       pid_t pid, uid_t uid, struct tm_member **member);
void tm_registry_detach(struct tm_registry *registry,
			struct tm_member *member);
/* From now on, and as long as it is attached, no reload changes its settings:
 * they are somebody else's. */
void tm_registry_keep_settings(struct tm_registry *registry,
			       struct tm_member *member);

/* A client that comes out of a stream: first, while it has no pools yet, what
 * the configuration says of @name and the stream does not bring; *@settings is
 * a copy of that. -EINVAL: not a name; or as tmem_client_set(). Then, when it is
 * whole: takes it over, with the limits it has unless the configuration has some
 * for it, and with what has changed since @prepared (NULL: it was not prepared);
 * on error it is still the caller's. */
int tm_registry_prepare(struct tm_registry *registry, const char *name,
			struct tmem_client *client,
			struct tm_config_client *settings);
int tm_registry_adopt(struct tm_registry *registry, struct tmem_client *client,
		      const struct tm_config_client *prepared);

/* By number or name, held until tm_registry_release(); NULL: there is none. */
struct tm_member *tm_registry_find(struct tm_registry *registry,
				   const char *number_or_name);
/* The one after number @after, in rising order; NULL at the end. Held. */
struct tm_member *tm_registry_next(struct tm_registry *registry,
				   uint32_t after);
void tm_registry_release(struct tm_registry *registry,
			 struct tm_member *member);

/* The caller holds @member. */
void tm_registry_state(struct tm_registry *registry,
		       const struct tm_member *member,
		       struct tm_member_state *state);

/* From now on no operator ends a client: nobody is at it when this returns.
 * Until tm_registry_go_on(). */
void tm_registry_hold(struct tm_registry *registry);
void tm_registry_go_on(struct tm_registry *registry);
/* Who ends one for an operator locks the settings, asks this first, and keeps
 * them locked until it is done. */
bool tm_registry_is_held(const struct tm_registry *registry);
/* What such an operator is told. */
#define TM_REGISTRY_HELD                                         \
	"a successor takes the clients over; ask it when it serves"

/* Ends the client, attached or not: its pages go at once, its peer's calls
 * answer -ENODEV from now on. The caller holds @member and still releases it. */
int tm_registry_destroy(struct tm_registry *registry,
			struct tm_member *member);

/* Ends who lingered long enough; the time at which it is next due, or 0. */
uint64_t tm_registry_expire(struct tm_registry *registry, uint64_t now_ns);

#endif
