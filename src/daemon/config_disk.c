/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The keys of [disk NAME], which are also what --vhost-user-blk and `tmem disk
 * add` take, separated by commas: one table, which the parser and the test of
 * the manual page read.
 *
 * A disk is a client with a door of another kind, so what a client may be told
 * (limits, codec, socket) is kept as a client's settings, and set by the same
 * functions.
 */
#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "config_client.h"
#include "config_disk.h"
#include "disk.h"
#include "nearest.h"

#define SECTOR_BYTES 512
#define QUEUES_MAX 64

static int set_backing(struct tm_config_disk *disk, const char *value,
		       const struct tm_complaint *complaint)
{
	return tm_value_text(value, disk->backing, sizeof(disk->backing), true,
			     complaint);
}

static int set_cap(struct tm_config_disk *disk, const char *value,
		   const struct tm_complaint *complaint)
{
	return tm_config_client_set(&disk->client, "cap", value, complaint);
}

static int set_codec(struct tm_config_disk *disk, const char *value,
		     const struct tm_complaint *complaint)
{
	return tm_config_client_set(&disk->client, "codec", value, complaint);
}

static int set_domain(struct tm_config_disk *disk, const char *value,
		      const struct tm_complaint *complaint)
{
	return tm_config_client_set(&disk->client, "trust-domain", value,
				    complaint);
}

/* By name or number, like an owner's. */
static int set_group(struct tm_config_disk *disk, const char *value,
		     const struct tm_complaint *complaint)
{
	char text[96];
	uid_t nobody;

	disk->has_group = true;
	if (snprintf(text, sizeof(text), "0:%s", value) >= (int)sizeof(text))
		return tm_complain(complaint, "there is no group \"%.64s\"",
				   value);
	return tm_value_owner(text, &nobody, &disk->client.group, complaint);
}

static int set_image(struct tm_config_disk *disk, const char *value,
		     const struct tm_complaint *complaint)
{
	return tm_value_text(value, disk->image, sizeof(disk->image), true,
			     complaint);
}

static int set_kind(struct tm_config_disk *disk, const char *value,
		    const struct tm_complaint *complaint)
{
	disk->is_cache = !strcmp(value, "cache");
	disk->has_kind = true;
	if (!disk->is_cache && strcmp(value, "swap"))
		return tm_complain(complaint,
				   "\"%.64s\" is neither swap nor "
				   "cache",
				   value);
	return 0;
}

static int set_mode(struct tm_config_disk *disk, const char *value,
		    const struct tm_complaint *complaint)
{
	return tm_config_client_set(&disk->client, "mode", value, complaint);
}

static int set_owner(struct tm_config_disk *disk, const char *value,
		     const struct tm_complaint *complaint)
{
	return tm_config_client_set(&disk->client, "owner", value, complaint);
}

static int set_queues(struct tm_config_disk *disk, const char *value,
		      const struct tm_complaint *complaint)
{
	return tm_value_number(value, QUEUES_MAX, &disk->queues, complaint);
}

static int set_readonly(struct tm_config_disk *disk, const char *value,
			const struct tm_complaint *complaint)
{
	return tm_value_switch(value, &disk->is_readonly, complaint);
}

static int set_reservation(struct tm_config_disk *disk, const char *value,
			   const struct tm_complaint *complaint)
{
	return tm_config_client_set(&disk->client, "reservation", value,
				    complaint);
}

static int set_share(struct tm_config_disk *disk, const char *value,
		     const struct tm_complaint *complaint)
{
	return tm_value_text(value, disk->share, sizeof(disk->share), false,
			     complaint);
}

static int set_size(struct tm_config_disk *disk, const char *value,
		    const struct tm_complaint *complaint)
{
	if (tm_value_size(value, &disk->size_bytes, complaint))
		return -EINVAL;
	if (disk->size_bytes > TM_DISK_SWAP_MAX_BYTES)
		return tm_complain(complaint,
				   "\"%.64s\": a swap disk has 16 TiB at most",
				   value);
	if (!disk->size_bytes || disk->size_bytes % SECTOR_BYTES)
		return tm_complain(complaint, "a disk's size is a multiple of "
					      "512 bytes");
	return 0;
}

static int set_socket(struct tm_config_disk *disk, const char *value,
		      const struct tm_complaint *complaint)
{
	return tm_config_client_set(&disk->client, "socket", value, complaint);
}

static int set_weight(struct tm_config_disk *disk, const char *value,
		      const struct tm_complaint *complaint)
{
	return tm_config_client_set(&disk->client, "weight", value, complaint);
}

static const struct tm_config_disk_key keys[] = {
	{ "backing", "FILE", "swap: for what tmem refuses", set_backing },
	{ "cap", "SIZE", "the most it may hold in memory", set_cap },
	{ "codec", "CODEC[:LEVEL]", "how its pages are compressed", set_codec },
	{ "domain", "NUMBER", "with whom it shares identical pages",
	  set_domain },
	{ "group", "GROUP", "of its socket", set_group },
	{ "image", "FILE", "cache: what it stands before", set_image },
	{ "kind", "swap|cache", "what it is", set_kind },
	{ "mode", "MODE", "of its socket", set_mode },
	{ "owner", "USER[:GROUP]", "of its socket", set_owner },
	{ "queues", "NUMBER", "how many a guest may have", set_queues },
	{ "readonly", "on|off", "may it be written", set_readonly },
	{ "reservation", "SIZE", "memory that it is guaranteed",
	  set_reservation },
	{ "share", "NAME", "cache: with disks of the same image and name",
	  set_share },
	{ "size", "SIZE", "swap: what the guest sees", set_size },
	{ "socket", "PATH", "where its virtual machine connects", set_socket },
	{ "weight", "NUMBER", "cache: its share of ephemeral memory",
	  set_weight },
};
#define KEY_COUNT (sizeof(keys) / sizeof(keys[0]))

const struct tm_config_disk_key *tm_config_disk_keys(size_t *count)
{
	*count = KEY_COUNT;
	return keys;
}

int tm_config_disk_init(struct tm_config_disk *disk, const char *name,
			const struct tm_complaint *complaint)
{
	*disk = (struct tm_config_disk){
		.client = {
			.compress = true,
			.owner = TM_CONFIG_NOBODY,
			.group = (gid_t)-1,
			.mode = 0600,
		},
	};
	if (!tm_config_is_name(name))
		return tm_complain(complaint,
				   "\"%.64s\" cannot be a disk's name, which "
				   "is a client's: 1 to %d letters, digits and "
				   "any of ._:@+- (not digits alone, and not "
				   "\"all\")",
				   name, TMEM_CLIENT_NAME_MAX);
	strcpy(disk->client.name, name);
	return 0;
}

int tm_config_disk_set(struct tm_config_disk *disk, const char *key,
		       const char *value, const struct tm_complaint *complaint)
{
	for (size_t i = 0; i < KEY_COUNT; i++)
		if (!strcmp(keys[i].name, key))
			return keys[i].set(disk, value, complaint);
	return tm_complain_unknown(complaint, "key", key, keys, KEY_COUNT,
				   sizeof(keys[0]));
}

static const char *what_is_wrong(const struct tm_config_disk *disk)
{
	if (!disk->has_kind)
		return "its kind is missing: swap or cache";
	if (!*disk->client.socket)
		return "its socket is missing";
	if (disk->is_cache && !*disk->image)
		return "its image is missing";
	if (disk->is_cache && (disk->size_bytes || *disk->backing))
		return "size and backing are of swap disks; a cache has its "
		       "image's size";
	if (!disk->is_cache && !disk->size_bytes)
		return "its size is missing";
	if (!disk->is_cache && (*disk->image || *disk->share))
		return "image and share are of cache disks";
	if (!disk->is_cache && disk->is_readonly)
		return "a swap disk that cannot be written is of no use";
	if (*disk->share && !disk->is_readonly)
		return "an image whose pool is shared must be readonly";
	if (disk->has_group && !(disk->client.mode & 0070))
		return "its group is let in by a mode such as mode=0660 only";
	if (strchr(disk->backing, ',') || strchr(disk->image, ',') ||
	    strchr(disk->share, ',') || strchr(disk->client.socket, ',') ||
	    strchr(disk->client.codec, ','))
		return "none of its settings may have a comma in it";
	return NULL;
}

int tm_config_disk_check(const struct tm_config_disk *disk,
			 const struct tm_complaint *complaint)
{
	const char *wrong = what_is_wrong(disk);

	if (wrong)
		return tm_complain(complaint, "disk %s: %s", disk->client.name,
				   wrong);
	return tm_config_client_check(&disk->client, complaint);
}

static int take_word(struct tm_config_disk *disk, char *word,
		     const struct tm_complaint *complaint)
{
	char *equals = strchr(word, '=');

	if (!equals)
		return tm_complain(complaint, "\"%.64s\" is not KEY=VALUE",
				   word);
	*equals = '\0';
	for (char *c = word; *c; c++)
		*c = *c == '_' ? '-' : *c;
	if (!strcmp(word, "name"))
		return tm_complain(complaint,
				   "name=NAME comes first, and once");
	return tm_config_disk_set(disk, word, equals + 1, complaint);
}

int tm_config_disk_parse(const char *text, struct tm_config_disk *disk,
			 const struct tm_complaint *complaint)
{
	char words[TM_CONFIG_DISK_TEXT_MAX], *word, *rest = words;
	int err;

	if (strlen(text) >= sizeof(words))
		return tm_complain(complaint, "\"%.64s...\" is too long", text);
	strcpy(words, text);
	word = strsep(&rest, ",");
	if (strncmp(word, "name=", 5))
		return tm_complain(complaint,
				   "a disk is described as name=NAME,"
				   "socket=PATH,kind=swap,size=SIZE or "
				   "name=NAME,socket=PATH,kind=cache,"
				   "image=FILE");
	err = tm_config_disk_init(disk, word + 5, complaint);
	while (!err && (word = strsep(&rest, ",")))
		err = take_word(disk, word, complaint);
	return err ? err : tm_config_disk_check(disk, complaint);
}

/* --- and back ------------------------------------------------------------ */

struct printed {
	char *text;
	size_t size;
	size_t length;
};

__attribute__((format(printf, 2, 3))) static void print(struct printed *printed,
							const char *format, ...)
{
	size_t left = printed->size - printed->length;
	va_list args;
	int length;

	va_start(args, format);
	length = vsnprintf(printed->text + printed->length, left, format, args);
	va_end(args);
	printed->length +=
		length < 0 || (size_t)length >= left ? left : (size_t)length;
}

static void print_text(struct printed *printed, const char *key,
		       const char *value)
{
	if (*value)
		print(printed, ",%s=%s", key, value);
}

static void print_number(struct printed *printed, const char *key,
			 uint64_t value)
{
	if (value)
		print(printed, ",%s=%" PRIu64, key, value);
}

int tm_config_disk_print(const struct tm_config_disk *disk, char *text,
			 size_t size)
{
	const struct tm_config_client *client = &disk->client;
	struct printed printed = { text, size, 0 };

	print(&printed, "name=%s,kind=%s,mode=%o", client->name,
	      disk->is_cache ? "cache" : "swap", (unsigned)client->mode);
	print_text(&printed, "socket", client->socket);
	/* A group that came with an owner may be one that is not let in. */
	if (client->owner != TM_CONFIG_NOBODY && client->group != (gid_t)-1)
		print(&printed, ",owner=%u:%u", (unsigned)client->owner,
		      (unsigned)client->group);
	else if (client->owner != TM_CONFIG_NOBODY)
		print(&printed, ",owner=%u", (unsigned)client->owner);
	else if (client->group != (gid_t)-1)
		print(&printed, ",group=%u", (unsigned)client->group);
	print_text(&printed, "codec", client->codec);
	print_number(&printed, "weight", client->weight);
	print_number(&printed, "domain", client->trust_domain);
	print_number(&printed, "reservation", client->reservation_bytes);
	print_number(&printed, "cap", client->cap_bytes);
	print_number(&printed, "queues", disk->queues);
	print_number(&printed, "size", disk->size_bytes);
	print_text(&printed, "backing", disk->backing);
	print_text(&printed, "image", disk->image);
	print_text(&printed, "share", disk->share);
	if (disk->is_readonly)
		print(&printed, ",readonly=on");
	return printed.length < size ? 0 : -ENAMETOOLONG;
}
