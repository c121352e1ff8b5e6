/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Who may attach, and to which client.
 *
 * A client's identity is the socket that its peer came to: [client NAME] gives
 * it a path, an owner and a mode, and the file system decides who reaches it.
 * The peer's user is a second check, against a mode that is wider than was
 * meant; where the mode lets a group or everybody in, that was meant.
 *
 * At the common socket only root and the daemon's own user are served. There a
 * peer says which client it is; a client with a socket of its own is not to be
 * had there, and who says nothing is the client of its user, "uidN".
 *
 * Called from the ring server's acceptor, which may be while the main thread
 * takes a new configuration: settings are copies, from the registry.
 */
#include <config.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon.h"

static bool is_trusted(uid_t uid)
{
	return uid == 0 || uid == geteuid();
}

static int admit_named(const struct tm_config_client *settings,
		       const struct tm_ring_peer *peer)
{
	/* A socket that is no longer in the configuration. */
	if (!*settings->socket)
		return is_trusted(peer->uid) ? 0 : -EACCES;
	if (settings->mode & 077)
		return 0;
	if (settings->owner != TM_CONFIG_NOBODY &&
	    peer->uid == settings->owner)
		return 0;
	return is_trusted(peer->uid) ? 0 : -EACCES;
}

static int admit_user(const struct tm_config_client *settings,
		      const struct tm_ring_peer *peer)
{
	if (!is_trusted(peer->uid))
		return -EACCES;
	return *settings->socket ? -EACCES : 0;
}

int tm_admission_attach(void *opaque, const struct tm_ring_peer *peer,
			struct tm_ring_attachment *attachment)
{
	struct tm_daemon *daemon = opaque;
	bool is_named = *peer->listener_name;
	char name[TMEM_CLIENT_NAME_MAX + 1];
	struct tm_config_client settings;
	struct tm_member *member;
	int err;

	if (is_named)
		snprintf(name, sizeof(name), "%s", peer->listener_name);
	else if (*peer->name)
		snprintf(name, sizeof(name), "%s", peer->name);
	else
		snprintf(name, sizeof(name), "uid%lu",
			 (unsigned long)peer->uid);
	tm_registry_settings(daemon->registry, name, &settings);
	err = is_named ? admit_named(&settings, peer) :
			 admit_user(&settings, peer);
	if (!err)
		err = tm_registry_attach(daemon->registry, name, peer->pid,
					 peer->uid, &member);
	if (err == -EACCES)
		tm_daemon_log(daemon->log, TMEM_LOG_WARNING,
			      "client %s: user %ld (process %ld) may not "
			      "attach to it",
			      name, (long)peer->uid, (long)peer->pid);
	if (err)
		return err;
	attachment->client = member->client;
	attachment->domain = member->domain;
	attachment->opaque = member;
	return 0;
}

void tm_admission_detach(void *opaque, struct tm_ring_attachment *attachment)
{
	struct tm_daemon *daemon = opaque;

	tm_registry_detach(daemon->registry, attachment->opaque);
}
