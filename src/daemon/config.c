/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the daemon was told: defaults, then the configuration file, then the
 * command line, each overriding what came before.
 *
 * The problem: a limit or a guarantee that was spelt wrong and silently
 * ignored is found out when it is needed. So whatever is not known is an error
 * that names the nearest known word, and nothing is half applied: a load makes
 * a new configuration or none.
 *
 * One table of options serves the command line, [daemon], --help, and the test
 * that compares it with the manual. A key is spelt as its option; where that
 * has "-", "_" will do. [boot] is checked by the parser of boot options.
 * [balloon] belongs to another program, which checks it.
 */
#include <config.h>

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/socket.h>

#include "config_client.h"
#include "config_disk.h"
#include "ini.h"
#include "nearest.h"
#include "runtime_dir.h"

#define FILE_DEFAULT "/etc/tmem/tmem.conf"
#define USER_CAP_BYTES (UINT64_C(1) << 30)
#define USER_LINGER_NS (UINT64_C(300) * 1000000000)
#define PEER_MEMORY_BYTES (UINT64_C(64) << 20)

/* --- values of this table only ------------------------------------------------ */

static int set_memory_word(struct tm_config_memory *memory, const char *word,
			   bool is_first, const struct tm_complaint *complaint)
{
	if (is_first && !strcmp(word, "auto")) {
		memory->is_auto = true;
		return 0;
	}
	if (is_first)
		return tm_value_size(word, &memory->bytes, complaint);
	if (!strncmp(word, "max=", 4))
		return tm_value_size(word + 4, &memory->max_bytes, complaint);
	if (!strncmp(word, "reserve=", 8) && memory->is_auto)
		return tm_value_size(word + 8, &memory->reserve_bytes,
				     complaint);
	return tm_complain(complaint,
			   "\"%.64s\" is neither max=SIZE nor, after auto, "
			   "reserve=SIZE",
			   word);
}

static int check_memory(const struct tm_config_memory *memory,
			const struct tm_complaint *complaint)
{
	uint64_t least = memory->is_auto ? memory->max_bytes : memory->bytes;

	if ((!memory->is_auto || least) && least < TMEM_MEMORY_MIN)
		return tm_complain(complaint,
				   "a memory limit is at least %u KiB",
				   (unsigned)(TMEM_MEMORY_MIN >> 10));
	if (memory->max_bytes && memory->bytes > memory->max_bytes)
		return tm_complain(complaint,
				   "the memory limit is above its max");
	return 0;
}

int tm_config_parse_memory(const char *text, struct tm_config_memory *memory,
			   char *error, size_t error_size)
{
	const struct tm_complaint complaint = { error, error_size };
	struct tm_config_memory parsed = { 0 };
	char words[128], *word, *rest = words;
	bool is_first = true;

	if (strlen(text) >= sizeof(words))
		return tm_complain(&complaint, "\"%.64s...\" is too long",
				   text);
	strcpy(words, text);
	while ((word = strsep(&rest, ","))) {
		if (set_memory_word(&parsed, word, is_first, &complaint))
			return -EINVAL;
		is_first = false;
	}
	if (check_memory(&parsed, &complaint))
		return -EINVAL;
	parsed.is_given = true;
	*memory = parsed;
	return 0;
}

static int set_memory(struct tm_daemon_config *config, const char *value,
		      char *error, size_t error_size)
{
	return tm_config_parse_memory(value, &config->memory, error,
				      error_size);
}

static int set_arena(struct tm_daemon_config *config, const char *value,
		     char *error, size_t error_size)
{
	const struct tm_complaint complaint = { error, error_size };

	if (strcmp(value, "anonymous") && *value != '/')
		return tm_complain(&complaint,
				   "\"%.64s\" is neither a path that begins "
				   "with \"/\" nor anonymous",
				   value);
	return tm_value_text(value, config->arena, sizeof(config->arena), false,
			     &complaint);
}

/* As sockets.c makes one: it resolves no names. */
static bool is_internet_address(const char *value)
{
	const struct addrinfo hints = {
		.ai_socktype = SOCK_STREAM,
		.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
	};
	const char *colon = strrchr(value, ':');
	const struct tm_complaint unheard = { NULL, 0 };
	struct addrinfo *found;
	char host[64];
	uint32_t port;
	size_t length;

	if (!colon || colon == value || colon - value >= (int)sizeof(host) ||
	    tm_value_number(colon + 1, 65535, &port, &unheard))
		return false;
	length = (size_t)(colon - value);
	if (length >= 2 && *value == '[' && colon[-1] == ']') {
		value++;
		length -= 2;
	}
	snprintf(host, sizeof(host), "%.*s", (int)length, value);
	if (getaddrinfo(host, colon + 1, &hints, &found))
		return false;
	freeaddrinfo(found);
	return true;
}

static int set_metrics(struct tm_daemon_config *config, const char *value,
		       char *error, size_t error_size)
{
	const struct tm_complaint complaint = { error, error_size };

	if (*value != '/' && !is_internet_address(value))
		return tm_complain(&complaint,
				   "\"%.64s\" is neither ADDRESS:PORT, in "
				   "numbers, nor a path that begins with \"/\"",
				   value);
	return tm_value_text(value, config->metrics, sizeof(config->metrics),
			     false, &complaint);
}

static int set_log_level(struct tm_daemon_config *config, const char *value,
			 char *error, size_t error_size)
{
	const struct tm_complaint complaint = { error, error_size };
	static const struct {
		const char *name;
		enum tmem_log_level level;
	} levels[] = {
		{ "error", TMEM_LOG_ERROR },
		{ "warning", TMEM_LOG_WARNING },
		{ "info", TMEM_LOG_INFO },
		{ "debug", TMEM_LOG_DEBUG },
	};

	for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++)
		if (!strcmp(value, levels[i].name)) {
			config->log_level = levels[i].level;
			return 0;
		}
	return tm_complain_unknown(&complaint, "level", value, levels, 4,
				   sizeof(levels[0]));
}

/* None at all would be a daemon that serves nobody. */
static int set_count(const char *value, uint32_t *count,
		     const struct tm_complaint *complaint)
{
	uint32_t number;

	if (tm_value_number(value, 1000000, &number, complaint))
		return -EINVAL;
	if (!number)
		return tm_complain(complaint,
				   "0 would let nobody in; at least 1");
	*count = number;
	return 0;
}

static int set_peer_memory(struct tm_daemon_config *config, const char *value,
			   char *error, size_t error_size)
{
	const struct tm_complaint complaint = { error, error_size };
	uint64_t bytes;

	if (tm_value_size(value, &bytes, &complaint))
		return -EINVAL;
	if (bytes < TMEM_PAGE_SIZE)
		return tm_complain(&complaint,
				   "\"%.64s\" would hold no page of a peer's",
				   value);
	config->peer_memory_bytes = bytes;
	return 0;
}

/* Fields that are plain text, numbers, sizes: one setter each, all alike. */
#define SETTER(name, call)                                                 \
	static int set_##name(struct tm_daemon_config *config,             \
			      const char *value, char *error, size_t size) \
	{                                                                  \
		const struct tm_complaint complaint = { error, size };     \
		return call;                                               \
	}
#define TEXT(field, is_path)                                          \
	tm_value_text(value, config->field, sizeof(config->field), is_path, \
		      &complaint)
#define COUNT(field) set_count(value, &config->field, &complaint)
#define SIZE(field) tm_value_size(value, &config->field, &complaint)

SETTER(boot, TEXT(boot, false))
SETTER(control, TEXT(control, true))
SETTER(dedup_persistent,
       tm_value_switch(value, &config->dedups_persistent, &complaint))
SETTER(file, TEXT(file, false))
SETTER(peers, COUNT(peers_max))
SETTER(plugin_path, TEXT(plugin_path, true))
SETTER(rings, COUNT(rings_max))
SETTER(rings_per_peer, COUNT(rings_per_peer_max))
SETTER(socket, TEXT(socket, true))
SETTER(user_cap, SIZE(user.cap_bytes))
SETTER(user_linger,
       tm_value_duration(value, &config->user.linger_ns, &complaint))

static void free_disks(struct tm_daemon_config *config)
{
	while (config->disks) {
		struct tm_config_disk *disk = config->disks;

		config->disks = disk->next;
		free(disk);
	}
}

/* Disks keep their order; a name that is there already is refused. */
static int add_disk(struct tm_daemon_config *config,
		    const struct tm_config_disk *disk,
		    const struct tm_complaint *complaint)
{
	struct tm_config_disk **link = &config->disks, *copy;

	for (; *link; link = &(*link)->next)
		if (!strcmp((*link)->client.name, disk->client.name))
			return tm_complain(complaint,
					   "there are two disks \"%s\"",
					   disk->client.name);
	copy = malloc(sizeof(*copy));
	if (!copy)
		return -ENOMEM;
	*copy = *disk;
	copy->next = NULL;
	*link = copy;
	return 0;
}

static int set_vhost_user_blk(struct tm_daemon_config *config,
			      const char *value, char *error, size_t error_size)
{
	const struct tm_complaint complaint = { error, error_size };
	struct tm_config_disk disk;
	int err = tm_config_disk_parse(value, &disk, &complaint);

	return err ? err : add_disk(config, &disk, &complaint);
}

#define SWITCH(name, statement)                                            \
	static int set_##name(struct tm_daemon_config *config,             \
			      const char *value, char *error, size_t size) \
	{                                                                  \
		(void)value;                                               \
		(void)error;                                               \
		(void)size;                                                \
		statement;                                                 \
		return 0;                                                  \
	}
SWITCH(check_config, config->is_check = true)
SWITCH(background, config->is_background = true)
SWITCH(foreground, config->is_foreground = true)
SWITCH(help, config->is_help = true)
SWITCH(takeover, config->is_takeover = true)
SWITCH(version, config->is_version = true)

static const struct tm_config_option options[] = {
	{ "memory", "SIZE|auto[,max=SIZE][,reserve=SIZE]", true,
	  "how much to hold [auto]", set_memory },
	{ "arena", "PATH|anonymous", true, "where to hold it [anonymous]",
	  set_arena },
	{ "socket", "PATH", true, "where clients connect", set_socket },
	{ "control", "PATH", true, "where operators connect", set_control },
	{ "metrics", "ADDRESS:PORT|PATH", true, "where metrics can be read",
	  set_metrics },
	{ "boot", "WORDS", false, "boot options, see tmem-boot(7)", set_boot },
	{ "config", "FILE", false, "read this file [" FILE_DEFAULT "]",
	  set_file },
	{ "check-config", NULL, false, "say whether all that is right, and end",
	  set_check_config },
	{ "foreground", NULL, false, "stay in the foreground (the default)",
	  set_foreground },
	{ "daemon", NULL, false, "go to the background once it serves",
	  set_background },
	{ "takeover", NULL, false, "replace the daemon that runs there",
	  set_takeover },
	{ "user-cap", "SIZE", true, "the most a client without a section holds",
	  set_user_cap },
	{ "user-linger", "TIME|forever", true,
	  "how long it stays when nobody is attached", set_user_linger },
	{ "peers-max", "COUNT", true, "peers attached at once, in all",
	  set_peers },
	{ "rings-max", "COUNT", true, "rings, each a thread, in all",
	  set_rings },
	{ "rings-per-peer", "COUNT", true, "rings of one peer",
	  set_rings_per_peer },
	{ "peer-memory", "SIZE", true, "memory that a peer may pass",
	  set_peer_memory },
	{ "dedup-persistent", "on|off", true,
	  "dedup takes persistent pages too [off]", set_dedup_persistent },
	{ "vhost-user-blk", "name=NAME,socket=PATH,KEY=VALUE...", false,
	  "serve a disk to a virtual machine", set_vhost_user_blk },
	{ "plugin-path", "DIR[:DIR]...", true, "where else plugins are",
	  set_plugin_path },
	{ "log-level", "error|warning|info|debug", true, "what is logged [info]",
	  set_log_level },
	{ "help", NULL, false, "this list", set_help },
	{ "version", NULL, false, "which tmem this is", set_version },
};
#define OPTION_COUNT (sizeof(options) / sizeof(options[0]))

const struct tm_config_option *tm_config_options(size_t *count)
{
	*count = OPTION_COUNT;
	return options;
}

static const struct tm_config_option *find_option(const char *name)
{
	for (size_t i = 0; i < OPTION_COUNT; i++)
		if (!strcmp(options[i].name, name))
			return &options[i];
	return NULL;
}

/* --- clients -------------------------------------------------------------------- */

bool tm_config_is_name(const char *name)
{
	size_t length = strlen(name);
	bool is_number = true;

	if (!length || length > TMEM_CLIENT_NAME_MAX || !strcmp(name, "all"))
		return false;
	for (const char *c = name; *c; c++) {
		bool is_digit = *c >= '0' && *c <= '9';

		if (!is_digit && !(*c >= 'a' && *c <= 'z') &&
		    !(*c >= 'A' && *c <= 'Z') && !strchr("._:@+-", *c))
			return false;
		is_number &= is_digit;
	}
	return !is_number && *name != '.' && *name != '-';
}

const struct tm_config_client *
tm_config_client(const struct tm_daemon_config *config, const char *name)
{
	for (const struct tm_config_client *c = config->clients; c; c = c->next)
		if (!strcmp(c->name, name))
			return c;
	return &config->user;
}

uint64_t tm_config_linger_ns(const struct tm_daemon_config *config,
			     const char *name)
{
	for (const struct tm_config_disk *d = config->disks; d; d = d->next)
		if (!strcmp(d->client.name, name))
			return 0;
	return tm_config_client(config, name)->linger_ns;
}

static int add_client(struct tm_daemon_config *config, const char *name,
		      const struct tm_complaint *complaint)
{
	struct tm_config_client *client;

	if (!tm_config_is_name(name))
		return tm_complain(complaint,
				   "\"%.64s\" cannot be a client's name: 1 to "
				   "%d letters, digits and any of ._:@+- (not "
				   "digits alone, not \"all\", and not . or - "
				   "first)",
				   name, TMEM_CLIENT_NAME_MAX);
	client = malloc(sizeof(*client));
	if (!client)
		return -ENOMEM;
	*client = (struct tm_config_client){
		.next = config->clients,
		.compress = true,
		.owner = TM_CONFIG_NOBODY,
		.group = (gid_t)-1,
		.mode = 0600,
	};
	strcpy(client->name, name);
	config->clients = client;
	return 0;
}

/* Is @path somebody's already, up to but not including @before? */
static const char *user_of(const struct tm_daemon_config *config,
			   const struct tm_config_disk *before,
			   const char *path)
{
	if (!strcmp(path, config->socket) || !strcmp(path, config->control))
		return "the daemon";
	for (const struct tm_config_client *c = config->clients; c; c = c->next)
		if (!strcmp(path, c->socket))
			return c->name;
	for (const struct tm_config_disk *d = config->disks; d != before;
	     d = d->next)
		if (!strcmp(path, d->client.socket))
			return d->client.name;
	return NULL;
}

static int check_disks(const struct tm_daemon_config *config,
		       const struct tm_complaint *complaint)
{
	for (const struct tm_config_disk *d = config->disks; d; d = d->next) {
		const char *user = user_of(config, d, d->client.socket);

		if (tm_config_disk_check(d, complaint))
			return -EINVAL;
		if (user)
			return tm_complain(complaint,
					   "disk %s: its socket is that of %s",
					   d->client.name, user);
		if (*tm_config_client(config, d->client.name)->name)
			return tm_complain(complaint,
					   "[disk %s] and [client %s] are the "
					   "same client; a disk's settings are "
					   "its own",
					   d->client.name, d->client.name);
	}
	return 0;
}

/* A disk has its files alone, but for images that all only read. */
static int check_files(const struct tm_daemon_config *config,
		       const struct tm_complaint *complaint)
{
	const struct tm_config_disk *a, *b;

	for (a = config->disks; a; a = a->next)
		for (b = a->next; b; b = b->next) {
			if (*a->backing && !strcmp(a->backing, b->backing))
				return tm_complain(complaint,
						   "[disk %s] and [disk %s] "
						   "have the same backing file",
						   a->client.name,
						   b->client.name);
			if (*a->image && !strcmp(a->image, b->image) &&
			    !(a->is_readonly && b->is_readonly))
				return tm_complain(complaint,
						   "[disk %s] and [disk %s] "
						   "have the same image, and "
						   "not readonly = on both",
						   a->client.name,
						   b->client.name);
		}
	return 0;
}

static int check_sockets(const struct tm_daemon_config *config,
			 const struct tm_complaint *complaint)
{
	if (!strcmp(config->socket, config->control))
		return tm_complain(complaint,
				   "socket and control are the same path");
	for (const struct tm_config_client *c = config->clients; c;
	     c = c->next) {
		if (!*c->socket)
			continue;
		if (!strcmp(c->socket, config->socket) ||
		    !strcmp(c->socket, config->control))
			return tm_complain(complaint,
					   "[client %s]: its socket is the "
					   "daemon's",
					   c->name);
		for (const struct tm_config_client *d = c->next; d; d = d->next)
			if (!strcmp(c->socket, d->socket))
				return tm_complain(complaint,
						   "[client %s] and [client "
						   "%s] have the same socket",
						   d->name, c->name);
	}
	return 0;
}

/* The environment says where, unless something overrides it; so this can be
 * asked of the whole only. */
static int check_path(const char *path, const char *variable,
		      const struct tm_complaint *complaint)
{
	if (*path == '/')
		return 0;
	return tm_complain(complaint,
			   "%s: \"%.64s\" is not a path that begins with "
			   "\"/\"",
			   variable, path);
}

static int check(const struct tm_daemon_config *config,
		 const struct tm_complaint *complaint)
{
	if (check_path(config->socket, "TMEM_SOCKET", complaint) ||
	    check_path(config->control, "TMEM_CONTROL", complaint))
		return -EINVAL;
	if (config->is_background && config->is_foreground)
		return tm_complain(complaint,
				   "--daemon and --foreground exclude each "
				   "other");
	for (const struct tm_config_client *c = config->clients; c;
	     c = c->next)
		if (tm_config_client_check(c, complaint))
			return -EINVAL;
	if (check_disks(config, complaint) || check_files(config, complaint))
		return -EINVAL;
	return check_sockets(config, complaint);
}

/* --- the file --------------------------------------------------------------------- */

static int set_daemon_key(struct tm_daemon_config *config, const char *key,
			  const char *value, const struct tm_complaint *c)
{
	const char *known[OPTION_COUNT];
	char spelt[64];
	size_t count = 0, i;

	for (i = 0; i + 1 < sizeof(spelt) && key[i]; i++)
		spelt[i] = key[i] == '_' ? '-' : key[i];
	spelt[i] = '\0';
	for (i = 0; i < OPTION_COUNT; i++) {
		if (!options[i].is_in_file)
			continue;
		if (!strcmp(options[i].name, spelt))
			return options[i].set(config, value, c->text, c->size);
		known[count++] = options[i].name;
	}
	return tm_complain_unknown(c, "key", key, known, count,
				   sizeof(known[0]));
}

static int take_disk_entry(struct tm_daemon_config *config,
			   const struct tm_ini_entry *entry,
			   const struct tm_complaint *complaint)
{
	struct tm_config_disk disk, *last = config->disks;
	char key[64];

	if (!entry->key) {
		int err = tm_config_disk_init(&disk, entry->name, complaint);

		return err ? err : add_disk(config, &disk, complaint);
	}
	while (last->next)
		last = last->next;
	snprintf(key, sizeof(key), "%s", entry->key);
	for (char *c = key; *c; c++)
		*c = *c == '_' ? '-' : *c;
	return tm_config_disk_set(last, key, entry->value, complaint);
}

static int take_entry(void *opaque, const struct tm_ini_entry *entry,
		      char *error, size_t error_size)
{
	static const char *const sections[] = { "boot", "daemon", "client",
						"disk", "balloon" };
	const struct tm_complaint complaint = { error, error_size };
	struct tm_daemon_config *config = opaque;
	bool is_daemon = !strcmp(entry->section, "daemon");
	char key[64];

	if (!strcmp(entry->section, "client")) {
		if (!entry->key)
			return add_client(config, entry->name, &complaint);
		snprintf(key, sizeof(key), "%s", entry->key);
		for (char *c = key; *c; c++)
			*c = *c == '_' ? '-' : *c;
		return tm_config_client_set(config->clients, key, entry->value,
					    &complaint);
	}
	if (!strcmp(entry->section, "disk"))
		return take_disk_entry(config, entry, &complaint);
	if (is_daemon && *entry->name)
		return tm_complain(&complaint,
				   "[daemon] is written without a name");
	if (is_daemon)
		return entry->key ? set_daemon_key(config, entry->key,
						   entry->value, &complaint) :
				    0;
	for (size_t i = 0; i < 5; i++)
		if (!strcmp(entry->section, sections[i]))
			return 0;
	return tm_complain_unknown(&complaint, "section", entry->section,
				   sections, 5, sizeof(sections[0]));
}

/* --- the command line ---------------------------------------------------------------- */

static int take_option(struct tm_daemon_config *config, int argc, char **argv,
		       int *at, const struct tm_complaint *complaint)
{
	const char *word = argv[(*at)++] + 2;
	const char *equals = strchr(word, '=');
	const char *value = equals ? equals + 1 : NULL;
	const struct tm_config_option *option;
	char name[64], why[512] = "";
	int err;

	snprintf(name, sizeof(name), "%.*s",
		 equals ? (int)(equals - word) : (int)sizeof(name), word);
	option = find_option(name);
	if (!option)
		return tm_complain_unknown(complaint, "option", name, options,
					   OPTION_COUNT, sizeof(options[0]));
	if (!option->argument && value)
		return tm_complain(complaint, "--%s takes no value", name);
	if (option->argument && !value && *at < argc)
		value = argv[(*at)++];
	if (option->argument && !value)
		return tm_complain(complaint, "--%s wants %s", name,
				   option->argument);
	err = option->set(config, value, why, sizeof(why));
	if (err)
		tm_complain(complaint, "--%s: %s", name, why);
	return err;
}

static int take_arguments(struct tm_daemon_config *config, int argc,
			  char **argv, const struct tm_complaint *complaint)
{
	int at = 1, err = 0;

	while (!err && at < argc) {
		if (strncmp(argv[at], "--", 2) || !argv[at][2])
			return tm_complain(complaint,
					   "\"%.64s\" is no option; tmemd "
					   "--help lists them",
					   argv[at]);
		err = take_option(config, argc, argv, &at, complaint);
	}
	return err;
}

/* --- all of it -------------------------------------------------------------------------- */

static int set_defaults(struct tm_daemon_config *config,
			const struct tm_complaint *complaint)
{
	*config = (struct tm_daemon_config){
		.memory.is_auto = true,
		.arena = "anonymous",
		.log_level = TMEM_LOG_INFO,
		.peers_max = 256,
		.rings_max = 1024,
		.rings_per_peer_max = 16,
		.peer_memory_bytes = PEER_MEMORY_BYTES,
		.user = {
			.cap_bytes = USER_CAP_BYTES,
			.linger_ns = USER_LINGER_NS,
			.compress = true,
			.owner = TM_CONFIG_NOBODY,
			.group = (gid_t)-1,
			.mode = 0600,
		},
	};
	tmem_boot_init(&config->options, TMEM_BOOT_DEFAULTS_TMEM);
	if (tm_default_socket(config->socket, sizeof(config->socket)) ||
	    tm_default_control(config->control, sizeof(config->control)))
		return tm_complain(complaint,
				   "TMEM_SOCKET, TMEM_CONTROL or "
				   "XDG_RUNTIME_DIR is longer than a socket's "
				   "path can be");
	return 0;
}

/* A path that stays right when the daemon goes elsewhere. */
static int make_absolute(const char *path, char *absolute, size_t size,
			 const struct tm_complaint *complaint)
{
	char here[TM_CONFIG_PATH_SIZE] = "";
	int length;

	if (*path && *path != '/' && !getcwd(here, sizeof(here)))
		return tm_complain(complaint,
				   "--config: \"%.64s\" begins at a directory "
				   "that cannot be named: %s",
				   path, strerror(errno));
	length = snprintf(absolute, size, "%s%s%s", here, *here ? "/" : "",
			  path);
	return length < (int)size ? 0
				  : tm_complain(complaint,
						"--config: the path is too long");
}

static int load_boot(struct tm_daemon_config *config,
		     const struct tm_complaint *complaint)
{
	return tmem_boot_load(&config->options,
			      *config->file ? config->file : NULL,
			      *config->boot ? config->boot : NULL,
			      TMEM_BOOT_KERNEL, complaint->text,
			      complaint->size);
}

/* tmem_memory= counts where `memory` does not say otherwise. */
static void resolve_memory(struct tm_daemon_config *config)
{
	if (config->memory.is_given)
		return;
	config->memory.bytes = config->options.memory_bytes;
	config->memory.is_auto = !config->memory.bytes;
}

static int load(struct tm_daemon_config *config, int argc, char **argv,
		const char *known_file, const struct tm_complaint *complaint)
{
	struct tm_ini ini = { .entry = take_entry, .opaque = config };
	char file[TM_CONFIG_PATH_SIZE];
	int err = take_arguments(config, argc, argv, complaint);

	if (err || config->is_help || config->is_version)
		return err;
	err = make_absolute(known_file ? known_file : config->file, file,
			    sizeof(file), complaint);
	if (err)
		return err;
	free_disks(config);
	err = set_defaults(config, complaint);
	if (err)
		return err;
	ini.file = *file ? file : FILE_DEFAULT;
	err = tm_ini_load(&ini, complaint->text, complaint->size);
	if (err == -ENOENT && !*file)
		err = 0;
	if (!err)
		err = take_arguments(config, argc, argv, complaint);
	strcpy(config->file, file);
	if (!err)
		err = check(config, complaint);
	if (!err)
		err = load_boot(config, complaint);
	if (!err)
		resolve_memory(config);
	return err;
}

static struct tm_daemon_config *make(int *err,
				     const struct tm_complaint *complaint)
{
	struct tm_daemon_config *config = calloc(1, sizeof(*config));

	*err = config ? set_defaults(config, complaint) : -ENOMEM;
	return config;
}

static int finish(struct tm_daemon_config *config, int err,
		  struct tm_daemon_config **out,
		  const struct tm_complaint *complaint)
{
	if (err == -ENOMEM)
		tm_complain(complaint, "out of memory");
	if (err)
		tm_config_free(config);
	else
		*out = config;
	return err;
}

int tm_config_load(int argc, char **argv, const char *file,
		   struct tm_daemon_config **out, char *error,
		   size_t error_size)
{
	const struct tm_complaint complaint = { error, error_size };
	struct tm_daemon_config *config;
	int err;

	config = make(&err, &complaint);
	if (!err)
		err = load(config, argc, argv, file, &complaint);
	return finish(config, err, out, &complaint);
}

int tm_config_parse(const char *text, size_t size,
		    struct tm_daemon_config **out, char *error,
		    size_t error_size)
{
	const struct tm_complaint complaint = { error, error_size };
	struct tm_ini ini = { .file = "configuration", .entry = take_entry };
	struct tm_daemon_config *config;
	int err;

	config = make(&err, &complaint);
	ini.opaque = config;
	if (!err)
		err = tm_ini_parse(&ini, text, size, error, error_size);
	if (!err)
		err = check(config, &complaint);
	return finish(config, err, out, &complaint);
}

/* --- a reload ------------------------------------------------------------------------ */

static bool keep(void *now, const void *before, size_t size)
{
	bool differs = memcmp(now, before, size);

	memcpy(now, before, size);
	return differs;
}

/* Behind its end a text has what it held before. */
static bool keep_text(char *now, const char *before)
{
	bool differs = strcmp(now, before);

	strcpy(now, before);
	return differs;
}

static bool keep_options(struct tmem_boot *now, const struct tmem_boot *before)
{
	bool differs = now->enabled != before->enabled ||
		       now->compress != before->compress ||
		       now->dedup != before->dedup ||
		       now->shared_auth != before->shared_auth ||
		       now->has_level != before->has_level ||
		       now->level != before->level ||
		       now->memory_bytes != before->memory_bytes ||
		       strcmp(now->codec, before->codec) ||
		       strcmp(now->allocator, before->allocator);

	*now = *before;
	return differs;
}

#define KEEP(field) keep(&now->field, &before->field, sizeof(now->field))
#define KEEP_TEXT(field) keep_text(now->field, before->field)

bool tm_config_keep_fixed(struct tm_daemon_config *now,
			  const struct tm_daemon_config *before)
{
	int differences = KEEP_TEXT(arena) + KEEP_TEXT(socket) +
			  KEEP_TEXT(control) + KEEP_TEXT(metrics) +
			  KEEP_TEXT(plugin_path) + KEEP(peers_max) +
			  KEEP(rings_max) + KEEP(rings_per_peer_max) +
			  KEEP(peer_memory_bytes) + KEEP(dedups_persistent) +
			  keep_options(&now->options, &before->options);

	resolve_memory(now);
	return differences > 0;
}

void tm_config_free(struct tm_daemon_config *config)
{
	if (!config)
		return;
	while (config->clients) {
		struct tm_config_client *client = config->clients;

		config->clients = client->next;
		free(client);
	}
	free_disks(config);
	free(config);
}
