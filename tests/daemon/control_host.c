/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Something to control: a store with clients that have put pages, and the
 * daemon's registry and control socket in front of it, without the daemon.
 *
 *	control_host SOCKET [--metrics SOCKET] [--busy] [--pages N]
 *		[--memory SIZE] NAME...
 *
 * Each NAME is a client: "web" one with an ephemeral and a persistent pool and
 * N pages (default 100) in each. One whose name the daemon gives to nobody is
 * there all the same, as it can be in an old arena. --busy: a thread puts, gets
 * and flushes pages of the first client all the time. Prints "ready", and ends
 * cleanly when its standard input does.
 */
#include <config.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "config.h"
#include "control.h"
#include "registry.h"

#include <tmem/xen.h>

/* The first client's own memory: 1 GiB of 2. */
#define FIRST_PAGES (UINT64_C(1) << 18)

struct host {
	const char *socket;
	const char *metrics;
	bool is_busy;
	uint32_t pages;
	uint64_t memory_bytes;
	struct tmem_store *store;
	struct tmem_xen *xen;
	struct tm_daemon_config *config;
	struct tm_registry *registry;
	struct tm_control *control;
	struct tmem_client *first;
	atomic_bool is_ending;
	pthread_t busy_thread;
};

static void die(const char *what, int err)
{
	fprintf(stderr, "control_host: %s: %s\n", what, strerror(-err));
	exit(1);
}

static int listen_at(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	if (fd < 0 ||
	    bind(fd, (struct sockaddr *)&address, sizeof(address)) ||
	    listen(fd, 16))
		die(path, -errno);
	return fd;
}

static void make_page(char *page, uint32_t seed)
{
	for (uint32_t i = 0; i < TMEM_PAGE_SIZE; i++) {
		seed = seed * 1103515245 + 12345;
		page[i] = (char)(i % 3 ? 'x' : seed >> 16);
	}
}

/* Who was attached here lets go; but the busy thread goes on with its client. */
static void drop(void *opaque, struct tm_member *member)
{
	struct host *host = opaque;

	if (member->is_attached &&
	    !(host->is_busy && member->client == host->first))
		tm_registry_detach(host->registry, member);
}

static int adopt(struct host *host, const char *name, struct tm_member **member)
{
	struct tmem_client_config config;
	struct tmem_client *client;
	int err;

	tmem_client_config_init(&config);
	config.name = name;
	err = tmem_client_attach(host->store, &config, &client);
	if (err >= 0)
		err = tm_registry_adopt(host->registry, client, NULL);
	if (!err)
		*member = tm_registry_find(host->registry, name);
	return err;
}

static void add_client(struct host *host, const char *name)
{
	struct tmem_oid oid = { { 1, 2, 3 } };
	struct tm_member *member;
	char page[TMEM_PAGE_SIZE];
	int err;

	if (tm_config_is_name(name))
		err = tm_registry_attach(host->registry, name, getpid(),
					 getuid(), &member);
	else
		err = adopt(host, name, &member);
	if (err < 0)
		die(name, err);
	if (!host->first) {
		host->first = member->client;
		tmem_xen_domain_set_pages(member->domain, FIRST_PAGES,
					  2 * FIRST_PAGES);
	}
	for (int pool = 0; pool < 2; pool++) {
		uint32_t flags = pool ? TMEM_POOL_PERSISTENT : 0;
		int id = tmem_pool_create(member->client, flags, NULL);

		if (id < 0)
			die("pool", id);
		for (uint32_t i = 0; i < host->pages; i++) {
			make_page(page, i);
			tmem_put(member->client, id, &oid, i, page, 0);
		}
	}
	if (!member->is_attached)
		tm_registry_release(host->registry, member);
}

static void *keep_busy(void *opaque)
{
	struct host *host = opaque;
	struct tmem_oid oid = { { 9, 9, 9 } };
	char page[TMEM_PAGE_SIZE];
	uint32_t i = 0;

	while (!atomic_load(&host->is_ending)) {
		make_page(page, i);
		tmem_put(host->first, 1, &oid, i % 256, page, 0);
		tmem_get(host->first, 1, &oid, i % 300, page, 0);
		if (i % 4 == 0)
			tmem_flush_page(host->first, 1, &oid, i % 256);
		if (++i % 64 == 0)
			usleep(1000);
	}
	return NULL;
}

static void log_line(void *opaque, enum tmem_log_level level, const char *text)
{
	(void)opaque;
	(void)level;
	fprintf(stderr, "control_host: %s\n", text);
}

static int parse(struct host *host, int argc, char **argv)
{
	int i = 2;

	host->pages = 100;
	host->memory_bytes = UINT64_C(64) << 20;
	host->socket = argv[1];
	for (; i < argc && !strncmp(argv[i], "--", 2); i++) {
		if (!strcmp(argv[i], "--busy"))
			host->is_busy = true;
		else if (!strcmp(argv[i], "--metrics") && i + 1 < argc)
			host->metrics = argv[++i];
		else if (!strcmp(argv[i], "--pages") && i + 1 < argc)
			host->pages = (uint32_t)atoi(argv[++i]);
		else if (!strcmp(argv[i], "--memory") && i + 1 < argc &&
			 !tmem_size_parse(argv[i + 1], &host->memory_bytes))
			i++;
		else
			die(argv[i], -EINVAL);
	}
	return i;
}

static void open_all(struct host *host)
{
	const struct tm_registry_host told = { .opaque = host, .drop = drop };
	static const char settings[] = "[daemon]\nuser-cap = 0\n";
	char error[TM_CONFIG_ERROR_SIZE];
	struct tmem_store_config config;
	struct tmem_xen_config xen;
	int err;

	tmem_store_config_init(&config);
	config.memory_bytes = host->memory_bytes;
	config.memory_max_bytes = 2 * host->memory_bytes;
	config.flags = TMEM_STORE_NO_LOCK;
	config.log = log_line;
	err = tmem_store_open(&config, &host->store);
	if (err)
		die("store", err);
	tmem_xen_config_init(&xen);
	xen.store = host->store;
	err = tmem_xen_open(&xen, &host->xen);
	if (err)
		die("xen", err);
	if (tm_config_parse(settings, strlen(settings), &host->config, error,
			    sizeof(error)))
		die(error, -EINVAL);
	err = tm_registry_open(host->store, host->xen, host->config,
			       &host->registry);
	if (err)
		die("registry", err);
	tm_registry_set_host(host->registry, &told);
}

static void serve(struct host *host)
{
	struct tm_control_host what = {
		.store = host->store,
		.registry = host->registry,
		.xen = host->xen,
		.log = log_line,
	};
	int err = tm_control_open(&what, listen_at(host->socket),
				  &host->control);

	if (err)
		die("control", err);
	if (!host->metrics)
		return;
	err = tm_control_add_metrics_listener(host->control,
					      listen_at(host->metrics));
	if (err)
		die("metrics", err);
}

int main(int argc, char **argv)
{
	struct host host = { 0 };
	char ignored;
	int at;

	if (argc < 2)
		die("wants a socket", -EINVAL);
	signal(SIGPIPE, SIG_IGN);
	at = parse(&host, argc, argv);
	open_all(&host);
	while (at < argc)
		add_client(&host, argv[at++]);
	serve(&host);
	if (host.is_busy && host.first)
		pthread_create(&host.busy_thread, NULL, keep_busy, &host);
	puts("ready");
	fflush(stdout);
	while (read(STDIN_FILENO, &ignored, 1) > 0)
		;
	atomic_store(&host.is_ending, true);
	if (host.is_busy && host.first)
		pthread_join(host.busy_thread, NULL);
	tm_control_close(host.control);
	tm_registry_close(host.registry);
	tm_config_free(host.config);
	tmem_xen_close(host.xen);
	tmem_store_close(host.store);
	return 0;
}
