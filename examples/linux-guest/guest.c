/* SPDX-License-Identifier: BSD-2-Clause */
/* A process as a Linux guest; see guest.h. */
#include "guest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void say(void *opaque, enum tmem_log_level level, const char *text)
{
	const struct guest_options *options = opaque;

	if (level <= TMEM_LOG_INFO)
		fprintf(stderr, "%s: %s\n", options->name, text);
}

/* What an earlier run has left in the daemon is nobody's. */
static void destroy_old_pools(struct tmem_client *client)
{
	for (int pool = 0; pool < TMEM_POOLS_MAX; pool++)
		tmem_pool_destroy(client, pool);
}

static int open_daemon(struct guest *guest, const struct guest_options *options)
{
	struct tmem_connect_config config;
	int err;

	tmem_connect_config_init(&config);
	config.socket = options->socket;
	config.name = options->name;
	err = tmem_connect(&config, &guest->client);
	if (err)
		return err;
	destroy_old_pools(guest->client);
	return tmem_hypercall_open_client(guest->client, &guest->hypercall);
}

static int open_store(struct guest *guest, const struct guest_options *options)
{
	struct tmem_store_config store;
	struct tmem_client_config client;
	struct tmem_xen_config xen;
	struct tmem_xen_domain_config domain;
	int err;

	tmem_store_config_init(&store);
	store.memory_bytes = options->store_bytes;
	err = tmem_store_open(&store, &guest->store);
	if (err)
		return err;
	tmem_xen_config_init(&xen);
	xen.store = guest->store;
	err = tmem_xen_open(&xen, &guest->xen);
	if (err)
		return err;
	tmem_client_config_init(&client);
	client.name = options->name;
	tmem_xen_domain_config_init(&domain);
	domain.id = 1;
	domain.client_config = &client;
	return tmem_hypercall_open_domain(guest->xen, &domain,
					  &guest->hypercall);
}

static int load_driver(struct guest *guest, const struct guest_options *options)
{
	struct tmem_driver_config config;

	tmem_driver_config_init(&config);
	config.hypercall = guest->hypercall;
	config.cleancache = guest->cleancache;
	config.frontswap = guest->frontswap;
	config.log = say;
	config.opaque = (void *)options;
	tmem_driver_parse(&config, TMEM_DRIVER_MODULE, "");
	return tmem_driver_open(&config, &guest->driver);
}

int guest_open(struct guest *guest, const struct guest_options *options)
{
	int err;

	memset(guest, 0, sizeof(*guest));
	err = tmem_cleancache_create(&guest->cleancache);
	if (!err)
		err = tmem_frontswap_create(&guest->frontswap);
	if (!err && options->socket)
		err = open_daemon(guest, options);
	else if (!err && options->store_bytes)
		err = open_store(guest, options);
	if (!err)
		err = load_driver(guest, options);
	if (err) {
		fprintf(stderr, "%s: %s: %s\n", options->name,
			options->socket ? options->socket : "store",
			strerror(-err));
		guest_close(guest);
	}
	return err;
}

void guest_close(struct guest *guest)
{
	tmem_cleancache_destroy(guest->cleancache);
	tmem_frontswap_destroy(guest->frontswap);
	tmem_driver_close(guest->driver);
	tmem_hypercall_close(guest->hypercall);
	tmem_xen_close(guest->xen);
	tmem_client_detach(guest->client);
	tmem_store_close(guest->store);
}

uint64_t guest_size(const char *program, const char *text)
{
	uint64_t bytes;

	if (tmem_size_parse(text, &bytes)) {
		fprintf(stderr, "%s: %s is not a size (64M, 1G, ...)\n",
			program, text);
		exit(EXIT_FAILURE);
	}
	return bytes;
}
