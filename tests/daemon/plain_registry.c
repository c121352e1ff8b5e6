/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A registry of clients for tests: registry.h with an array, and no
 * configuration, lingering or limits. Clients are those that the test attached
 * by name.
 */
#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "registry.h"

#include <tmem/xen.h>

#define MEMBERS_MAX 256

struct tm_registry {
	struct tmem_store *store;
	struct tmem_xen *xen;	/* NULL: members have no domain */
	pthread_mutex_t lock;
	struct tm_member *members[MEMBERS_MAX];	/* by number, rising */
	size_t count;
};

int tm_registry_open(struct tmem_store *store, struct tmem_xen *xen,
		     const struct tm_daemon_config *config,
		     struct tm_registry **out)
{
	struct tm_registry *registry = calloc(1, sizeof(*registry));

	(void)config;
	if (!registry)
		return -ENOMEM;
	registry->store = store;
	registry->xen = xen;
	pthread_mutex_init(&registry->lock, NULL);
	*out = registry;
	return 0;
}

static void end(struct tm_member *member)
{
	if (member->domain) {
		tmem_xen_domain_end(member->domain);
		tmem_xen_domain_close(member->domain);
	}
	if (member->is_destroyed)
		tmem_client_destroy(member->client);
	else
		tmem_client_detach(member->client);
	free(member);
}

void tm_registry_close(struct tm_registry *registry)
{
	for (size_t i = 0; i < registry->count; i++)
		end(registry->members[i]);
	pthread_mutex_destroy(&registry->lock);
	free(registry);
}

static int make_domain(struct tm_registry *registry, struct tm_member *member)
{
	struct tmem_xen_domain_config config;

	if (!registry->xen)
		return 0;
	tmem_xen_domain_config_init(&config);
	config.id = (uint16_t)member->number;
	config.client = member->client;
	return tmem_xen_domain_create(registry->xen, &config, &member->domain);
}

static void insert(struct tm_registry *registry, struct tm_member *member)
{
	size_t at = registry->count++;

	while (at && registry->members[at - 1]->number > member->number) {
		registry->members[at] = registry->members[at - 1];
		at--;
	}
	registry->members[at] = member;
}

int tm_registry_attach(struct tm_registry *registry, const char *name,
		       pid_t pid, uid_t uid, struct tm_member **out)
{
	struct tmem_client_info info = { .struct_size = sizeof(info) };
	struct tm_member *member = calloc(1, sizeof(*member));
	struct tmem_client_config config;
	int err;

	if (!member || registry->count == MEMBERS_MAX) {
		free(member);
		return -ENOMEM;
	}
	tmem_client_config_init(&config);
	config.name = name;
	err = tmem_client_attach(registry->store, &config, &member->client);
	if (err < 0) {
		free(member);
		return err;
	}
	tmem_client_get_info(member->client, &info);
	member->number = info.number;
	err = make_domain(registry, member);
	if (err) {
		tmem_client_detach(member->client);
		free(member);
		return err;
	}
	snprintf(member->name, sizeof(member->name), "%s", name);
	member->is_attached = true;
	member->peer_pid = pid;
	member->peer_uid = uid;
	member->references = 1;
	pthread_mutex_lock(&registry->lock);
	insert(registry, member);
	pthread_mutex_unlock(&registry->lock);
	*out = member;
	return 0;
}

void tm_registry_detach(struct tm_registry *registry, struct tm_member *member)
{
	pthread_mutex_lock(&registry->lock);
	member->is_attached = false;
	pthread_mutex_unlock(&registry->lock);
}

int tm_registry_prepare(struct tm_registry *registry, const char *name,
			struct tmem_client *client)
{
	(void)registry;
	(void)client;
	return *name ? 0 : -EINVAL;
}

int tm_registry_adopt(struct tm_registry *registry, struct tmem_client *client)
{
	struct tmem_client_info info = { .struct_size = sizeof(info) };
	struct tm_member *member = calloc(1, sizeof(*member));
	int err;

	if (!member || registry->count == MEMBERS_MAX) {
		free(member);
		return -ENOMEM;
	}
	tmem_client_get_info(client, &info);
	member->client = client;
	member->number = info.number;
	memcpy(member->name, info.name, sizeof(member->name));
	err = make_domain(registry, member);
	if (err) {
		free(member);
		return err;
	}
	member->references = 1;
	pthread_mutex_lock(&registry->lock);
	insert(registry, member);
	pthread_mutex_unlock(&registry->lock);
	return 0;
}

static bool is_called(const struct tm_member *member, const char *name)
{
	char number[16];

	snprintf(number, sizeof(number), "%" PRIu32, member->number);
	return !strcmp(member->name, name) || !strcmp(number, name);
}

struct tm_member *tm_registry_find(struct tm_registry *registry,
				   const char *number_or_name)
{
	struct tm_member *found = NULL;

	pthread_mutex_lock(&registry->lock);
	for (size_t i = 0; i < registry->count && !found; i++)
		if (is_called(registry->members[i], number_or_name))
			found = registry->members[i];
	if (found)
		found->references++;
	pthread_mutex_unlock(&registry->lock);
	return found;
}

struct tm_member *tm_registry_next(struct tm_registry *registry,
				   uint32_t after)
{
	struct tm_member *found = NULL;

	pthread_mutex_lock(&registry->lock);
	for (size_t i = 0; i < registry->count && !found; i++)
		if (registry->members[i]->number > after)
			found = registry->members[i];
	if (found)
		found->references++;
	pthread_mutex_unlock(&registry->lock);
	return found;
}

void tm_registry_release(struct tm_registry *registry,
			 struct tm_member *member)
{
	bool is_last;

	pthread_mutex_lock(&registry->lock);
	is_last = !--member->references;
	pthread_mutex_unlock(&registry->lock);
	if (is_last)
		end(member);
}

int tm_registry_destroy(struct tm_registry *registry, struct tm_member *member)
{
	pthread_mutex_lock(&registry->lock);
	for (size_t i = 0; i < registry->count; i++)
		if (registry->members[i] == member) {
			memmove(&registry->members[i],
				&registry->members[i + 1],
				(--registry->count - i) *
					sizeof(registry->members[0]));
			member->is_destroyed = true;
			member->references--;
			break;
		}
	pthread_mutex_unlock(&registry->lock);
	return 0;
}

uint64_t tm_registry_expire(struct tm_registry *registry, uint64_t now_ns)
{
	(void)registry;
	(void)now_ns;
	return 0;
}
