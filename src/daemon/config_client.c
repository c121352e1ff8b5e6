/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The keys of [client NAME]: one table, which the parser and the test of the
 * manual page read.
 */
#include <config.h>

#include <errno.h>
#include <string.h>

#include "config_client.h"
#include "nearest.h"

static int set_weight(struct tm_config_client *client, const char *value,
		      const struct tm_complaint *complaint)
{
	return tm_value_number(value, UINT32_MAX, &client->weight, complaint);
}

static int set_trust_domain(struct tm_config_client *client, const char *value,
			    const struct tm_complaint *complaint)
{
	return tm_value_number(value, UINT32_MAX, &client->trust_domain,
			       complaint);
}

static int set_reservation(struct tm_config_client *client, const char *value,
			   const struct tm_complaint *complaint)
{
	return tm_value_size(value, &client->reservation_bytes, complaint);
}

static int set_cap(struct tm_config_client *client, const char *value,
		   const struct tm_complaint *complaint)
{
	return tm_value_size(value, &client->cap_bytes, complaint);
}

static int set_linger(struct tm_config_client *client, const char *value,
		      const struct tm_complaint *complaint)
{
	return tm_value_duration(value, &client->linger_ns, complaint);
}

static int set_compress(struct tm_config_client *client, const char *value,
			const struct tm_complaint *complaint)
{
	return tm_value_switch(value, &client->compress, complaint);
}

static int set_codec(struct tm_config_client *client, const char *value,
		     const struct tm_complaint *complaint)
{
	return tm_value_text(value, client->codec, sizeof(client->codec), false,
			     complaint);
}

static int set_socket(struct tm_config_client *client, const char *value,
		      const struct tm_complaint *complaint)
{
	return tm_value_text(value, client->socket, sizeof(client->socket),
			     true, complaint);
}

static int set_owner(struct tm_config_client *client, const char *value,
		     const struct tm_complaint *complaint)
{
	return tm_value_owner(value, &client->owner, &client->group, complaint);
}

static int set_mode(struct tm_config_client *client, const char *value,
		    const struct tm_complaint *complaint)
{
	return tm_value_mode(value, &client->mode, complaint);
}

static int set_shared_auth(struct tm_config_client *client, const char *value,
			   const struct tm_complaint *complaint)
{
	const char *blank = " \t,";

	for (value += strspn(value, blank); *value;
	     value += strspn(value, blank)) {
		size_t size = strcspn(value, blank);

		if (client->uuid_count == TM_CONFIG_UUIDS_MAX)
			return tm_complain(complaint, "more than %d UUIDs",
					   TM_CONFIG_UUIDS_MAX);
		if (tm_value_uuid(value, size,
				  &client->uuids[client->uuid_count],
				  complaint))
			return -EINVAL;
		client->uuid_count++;
		value += size;
	}
	return 0;
}

static const struct tm_config_client_key keys[] = {
	{ "cap", "SIZE", "the most it may hold", set_cap },
	{ "codec", "CODEC[:LEVEL]", "how its pages are compressed", set_codec },
	{ "compress", "on|off", "are its pages compressed", set_compress },
	{ "linger", "TIME|forever", "how long it stays when nobody is attached",
	  set_linger },
	{ "mode", "MODE", "of its socket", set_mode },
	{ "owner", "USER[:GROUP]", "of its socket; who else may connect",
	  set_owner },
	{ "reservation", "SIZE", "what it is guaranteed", set_reservation },
	{ "shared-auth", "UUID...", "shared pools that it may join",
	  set_shared_auth },
	{ "socket", "PATH", "a socket of its own", set_socket },
	{ "trust-domain", "NUMBER", "with whom it shares identical pages",
	  set_trust_domain },
	{ "weight", "NUMBER", "its share of ephemeral memory", set_weight },
};
#define KEY_COUNT (sizeof(keys) / sizeof(keys[0]))

const struct tm_config_client_key *tm_config_client_keys(size_t *count)
{
	*count = KEY_COUNT;
	return keys;
}

int tm_config_client_set(struct tm_config_client *client, const char *key,
			 const char *value,
			 const struct tm_complaint *complaint)
{
	for (size_t i = 0; i < KEY_COUNT; i++)
		if (!strcmp(keys[i].name, key))
			return keys[i].set(client, value, complaint);
	return tm_complain_unknown(complaint, "key", key, keys, KEY_COUNT,
				   sizeof(keys[0]));
}

int tm_config_client_check(const struct tm_config_client *client,
			   const struct tm_complaint *complaint)
{
	if (client->cap_bytes && client->reservation_bytes > client->cap_bytes)
		return tm_complain(complaint,
				   "[client %s]: its reservation is above its "
				   "cap",
				   client->name);
	if (client->owner != TM_CONFIG_NOBODY && !*client->socket)
		return tm_complain(complaint,
				   "[client %s]: an owner is of a socket, and "
				   "none is named",
				   client->name);
	return 0;
}

void tm_config_client_limits(const struct tm_config_client *client,
			     struct tmem_client_config *limits)
{
	tmem_client_config_init(limits);
	limits->weight = client->weight;
	limits->trust_domain = client->trust_domain;
	limits->reservation_bytes = client->reservation_bytes;
	limits->cap_bytes = client->cap_bytes;
}
