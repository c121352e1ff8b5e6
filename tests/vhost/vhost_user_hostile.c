/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vhost-user-hostile: a vhost-user-blk front end that lies.
 *
 *	vhost-user-hostile --list
 *	vhost-user-hostile SOCKET [ATTACK...]
 *	vhost-user-hostile --help
 *
 * The problem: a back end reads what a virtual machine and its monitor wrote,
 * and either may be somebody's enemy. The idea: the ways to lie to it are
 *known, and few enough to have names. Each is done on a connection of its own;
 *then a front end that tells the truth asks for the disk's first block. If that
 *is answered, the back end survived.
 *
 * Whether an answer was wise is not judged: to drop the connection, to stop the
 * queue and to answer an error are all right. What an attack writes it writes
 *to memory of its own, and to the disk's first blocks at most.
 */
#include <config.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "hostile.h"

#define LOOK_MS 50
#define PROBE_MS 30000
#define PROBE_STEP_MS 50

static const struct hostile_attack *const groups[] = {
	hostile_messages,
	hostile_memory,
	hostile_rings,
	hostile_requests,
};
#define GROUPS (sizeof(groups) / sizeof(groups[0]))

void hostile_wait(struct vhost_peer *peer)
{
	uint16_t index = peer_used_index(peer, 0);

	peer_wait_used(peer, 0, (uint16_t)(index + 1), LOOK_MS);
}

void hostile_offer(struct vhost_peer *peer, uint16_t head)
{
	peer_offer(peer, 0, head);
	peer_kick(peer, 0);
	hostile_wait(peer);
}

/* One that is busy with its losses may need a moment. */
static int probe(const char *path)
{
	int err = -ETIMEDOUT;

	for (int ms = 0; ms < PROBE_MS; ms += PROBE_STEP_MS) {
		err = peer_probe(path);
		if (!err)
			return 0;
		usleep(PROBE_STEP_MS * 1000);
	}
	return err;
}

static int run(const char *path, const struct hostile_attack *attack)
{
	struct vhost_peer peer;
	int err;

	peer_init(&peer);
	err = attack->wants_setup ? peer_setup(&peer, path, 1)
				  : peer_connect(&peer, path);
	if (!err)
		attack->run(&peer);
	peer_close(&peer);
	if (err) {
		printf("%-24s cannot begin: %s\n", attack->name,
		       strerror(-err));
		return err;
	}
	err = probe(path);
	printf("%-24s %s%s\n", attack->name,
	       err ? "NOT SURVIVED: a front end that tells the truth gets "
		   : "survived",
	       err ? strerror(-err) : "");
	fflush(stdout);
	return err;
}

static const struct hostile_attack *find(const char *name)
{
	for (size_t i = 0; i < GROUPS; i++)
		for (const struct hostile_attack *a = groups[i]; a->name; a++)
			if (!strcmp(a->name, name))
				return a;
	return NULL;
}

static int list(void)
{
	for (size_t i = 0; i < GROUPS; i++)
		for (const struct hostile_attack *a = groups[i]; a->name; a++)
			printf("%-24s %s\n", a->name, a->tells);
	return 0;
}

/* One after the other, as long as the back end is there. */
static int run_all(const char *path)
{
	int failed = 0;

	for (size_t i = 0; i < GROUPS; i++)
		for (const struct hostile_attack *a = groups[i]; a->name; a++) {
			if (!run(path, a))
				continue;
			failed = 1;
			if (probe(path))
				return 1;
		}
	return failed;
}

static int run_named(const char *path, char **names)
{
	int failed = 0;

	for (; *names; names++) {
		const struct hostile_attack *attack = find(*names);

		if (!attack) {
			fprintf(stderr,
				"vhost-user-hostile: there is no attack "
				"\"%s\"; "
				"--list shows those there are\n",
				*names);
			return 2;
		}
		failed |= !!run(path, attack);
	}
	return failed;
}

static int usage(FILE *file, int status)
{
	fputs("usage: vhost-user-hostile --list\n"
	      "       vhost-user-hostile SOCKET [ATTACK...]\n",
	      file);
	return status;
}

int main(int argc, char **argv)
{
	int err;

	if (argc == 2 && !strcmp(argv[1], "--list"))
		return list();
	if (argc == 2 && !strcmp(argv[1], "--help"))
		return usage(stdout, 0);
	if (argc < 2 || argv[1][0] == '-')
		return usage(stderr, 2);
	signal(SIGPIPE, SIG_IGN);
	/* Memory of ours that we cut off ourselves. */
	signal(SIGBUS, SIG_DFL);
	err = probe(argv[1]);
	if (err) {
		fprintf(stderr,
			"vhost-user-hostile: %s: nobody serves a disk there: "
			"%s\n",
			argv[1], strerror(-err));
		return 2;
	}
	return argc > 2 ? run_named(argv[1], argv + 2) : run_all(argv[1]);
}
