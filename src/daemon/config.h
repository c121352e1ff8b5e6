/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the daemon was told: command line and configuration file (see
 * config.c). Constant once loaded; a reload makes a new one.
 */
#ifndef TM_CONFIG_H
#define TM_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <tmem/tmem.h>

/* As long as the address of a socket can be, with its end. */
#define TM_CONFIG_SOCKET_SIZE 108
#define TM_CONFIG_PATH_SIZE 1024
#define TM_CONFIG_CODEC_SIZE (TMEM_PLUGIN_NAME_MAX + 16)
#define TM_CONFIG_UUIDS_MAX 16
#define TM_CONFIG_ERROR_SIZE 1024
/* No owner is asked for. */
#define TM_CONFIG_NOBODY ((uid_t)-1)

struct tm_config_disk;

/* `memory`: "SIZE", "SIZE,max=SIZE" or "auto[,max=SIZE][,reserve=SIZE]". */
struct tm_config_memory {
	bool is_given;		/* neither the default nor a boot word's */
	bool is_auto;
	uint64_t bytes;		/* 0: not given (when not is_auto) */
	uint64_t max_bytes;	/* 0: the machine's memory */
	uint64_t reserve_bytes;	/* 0: see fallow.c */
};

/* One [client NAME], or what holds for clients without a section. */
struct tm_config_client {
	struct tm_config_client *next;
	char name[TMEM_CLIENT_NAME_MAX + 1];
	uint32_t weight;
	uint32_t trust_domain;
	uint64_t reservation_bytes;
	uint64_t cap_bytes;
	uint64_t linger_ns;	/* 0: does not end by itself */
	bool compress;
	char codec[TM_CONFIG_CODEC_SIZE];	/* "": the store's */
	/* Its own socket, or "": it comes to the common one. */
	char socket[TM_CONFIG_SOCKET_SIZE];
	uid_t owner;		/* TM_CONFIG_NOBODY: the daemon's user */
	gid_t group;
	mode_t mode;
	size_t uuid_count;
	struct tmem_uuid uuids[TM_CONFIG_UUIDS_MAX];
};

struct tm_daemon_config {
	/* from the command line alone */
	bool is_help;
	bool is_version;
	bool is_check;
	bool is_background;
	bool is_foreground;	/* said so; it is the default */
	bool is_takeover;
	char file[TM_CONFIG_PATH_SIZE];	/* "": the usual one, if it is there */
	char boot[TM_CONFIG_PATH_SIZE];
	/* from [daemon] too */
	struct tm_config_memory memory;
	char arena[TM_CONFIG_PATH_SIZE];	/* "anonymous" */
	char socket[TM_CONFIG_SOCKET_SIZE];
	char control[TM_CONFIG_SOCKET_SIZE];
	char metrics[TM_CONFIG_SOCKET_SIZE];	/* "": none */
	char plugin_path[TM_CONFIG_PATH_SIZE];	/* "": none */
	enum tmem_log_level log_level;
	uint32_t peers_max;
	uint32_t rings_max;
	uint32_t rings_per_peer_max;
	uint64_t peer_memory_bytes;
	bool dedups_persistent;	/* where dedup is on */
	struct tmem_boot options;	/* boot words of all sources */
	struct tm_config_client user;	/* of clients without a section */
	struct tm_config_client *clients;
	struct tm_config_disk *disks;	/* in the order they came */
};

/* A row of the table of options, which documents read as well. */
struct tm_config_option {
	const char *name;	/* first, for tm_nearest() */
	const char *argument;	/* NULL: a switch */
	bool is_in_file;	/* also a key of [daemon] */
	const char *help;
	int (*set)(struct tm_daemon_config *config, const char *value,
		   char *error, size_t error_size);
};

const struct tm_config_option *tm_config_options(size_t *count);

/*
 * Defaults, then the file, then the command line. @file: that of the last time,
 * since the command line's may begin elsewhere than we are now; NULL the first
 * time. 0; or a negative errno after one sentence in @error
 * (TM_CONFIG_ERROR_SIZE bytes hold any), and no config.
 */
int tm_config_load(int argc, char **argv, const char *file,
		   struct tm_daemon_config **config, char *error,
		   size_t error_size);
/* As tm_config_load(), of @size bytes at @text instead of a file, and without
 * a command line; boot words are not looked at. */
int tm_config_parse(const char *text, size_t size,
		    struct tm_daemon_config **config, char *error,
		    size_t error_size);
void tm_config_free(struct tm_daemon_config *config);

/* Gives @now what a daemon that runs with @before cannot change. True: it had
 * asked for something else. */
bool tm_config_keep_fixed(struct tm_daemon_config *now,
			  const struct tm_daemon_config *before);

/* The settings of client @name; never NULL. */
const struct tm_config_client *
tm_config_client(const struct tm_daemon_config *config, const char *name);
/* How long client @name stays when nobody is attached; 0: it does not end by
 * itself. A disk does not, or one that cannot be opened today would be empty
 * when it can. */
uint64_t tm_config_linger_ns(const struct tm_daemon_config *config,
			     const char *name);
/* Is it a name that a client may have here? */
bool tm_config_is_name(const char *name);

int tm_config_parse_memory(const char *text, struct tm_config_memory *memory,
			   char *error, size_t error_size);

#endif
