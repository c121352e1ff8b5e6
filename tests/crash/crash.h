/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the crash tests share: page contents, an arena's image, a world.
 *
 * A page's content is made from a number, so that whoever finds the page knows
 * byte for byte what it must be. A *world* is what a store must hold: which
 * clients and pools there are and, for every handle that the test ever uses,
 * the number of its content or none. After a crash the arena is copied, the
 * copy opened, and compared with the worlds that are allowed: all of one of
 * them, never a mixture.
 *
 * Only data extents are copied: an arena is mostly holes, and what a hole
 * turns into when it is read is part of the test.
 */
#ifndef TM_CRASH_H
#define TM_CRASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core.h"

#define CLIENTS 3
#define POOLS 3
#define PAGES_MAX 640
#define ABSENT 0

/* Content numbers: their remainder by 4 says what kind of page it is. */
enum content_kind {
	CONTENT_TEXT = 0, /* about 3:1 */
	CONTENT_SAME = 1, /* one word, repeated */
	CONTENT_NOISE = 2, /* cannot be compressed */
	CONTENT_SPARSE = 3, /* about 20:1 */
};

struct world_page {
	int client;
	int pool;
	uint64_t oid;
	uint32_t index;
	uint32_t content; /* or ABSENT */
};

/* Persistent things only: nothing else survives. */
struct world {
	bool client[CLIENTS];
	bool pool[CLIENTS][POOLS];
	uint32_t count;
	struct world_page page[PAGES_MAX];
};

/* An arena file as it was at one moment. */
struct image {
	uint8_t *bytes;
	size_t size;
	uint32_t extents;
	struct {
		size_t begin, end;
	} extent[256];
};

extern const char *const crash_client_name[CLIENTS];

void crash_fill(void *page, uint32_t content);
struct tmem_oid crash_oid(uint64_t oid);

/* The page of that handle, made ABSENT if the world does not know it. */
struct world_page *world_at(struct world *world, int client, int pool,
			    uint64_t oid, uint32_t index);
/* Everything at or below that level becomes absent. */
void world_drop_object(struct world *world, int client, int pool, uint64_t oid);
void world_drop_pool(struct world *world, int client, int pool);
void world_drop_client(struct world *world, int client);

/* Attaches client number @client under its name; its result is stored. */
struct tm_client *crash_attach(struct tm_store *store, int client, int *result);

/* Is the file's content other than the image's? Reads it through @map, a
 * shared mapping of it, and never makes a hole real. */
bool image_differs(const struct image *image, int fd, const uint8_t *map);
void image_take(struct image *image, int fd, const uint8_t *map, size_t size);
/* Makes @path hold the image, holes included. */
int image_write(const struct image *image, const char *path);
void image_free(struct image *image);

/*
 * Opens the arena at @path and compares it with @before (NULL: not allowed)
 * and @after; uses it further; and opens it once more. 0, or -1 after
 * printing what is wrong. *@matched gets 1 when it is @before, 2 @after, 3
 * when it is both.
 */
int crash_verify(const char *path, const struct tmem_store_config *config,
		 const struct tmem_plugins *plugins, const struct world *before,
		 const struct world *after, int *matched);

/* A name for a file on tmpfs that nobody else uses; false: there is none. */
bool crash_path(char *path, size_t size, const char *what);

void crash_log(void *opaque, enum tmem_log_level level, const char *text);

#endif
