/* SPDX-License-Identifier: BSD-2-Clause */
/* What the crash tests share; see crash.h. */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "crash.h"
#include "harness.h"

#define PROBES 6

const char *const crash_client_name[CLIENTS] = { "alpha", "beta", "gamma" };

void crash_log(void *opaque, enum tmem_log_level level, const char *text)
{
	const bool *quiet = opaque;

	if (level <= TMEM_LOG_WARNING && !(quiet && *quiet))
		printf("  log: %s\n", text);
}

struct tmem_oid crash_oid(uint64_t oid)
{
	return (struct tmem_oid){ { oid, oid * 3, 7 } };
}

void crash_fill(void *page, uint32_t content)
{
	uint64_t seed = content;
	uint64_t *words = page;
	uint8_t *bytes = page;

	switch (content % 4) {
	case CONTENT_SAME:
		for (unsigned i = 0; i < TMEM_PAGE_SIZE / 8; i++)
			words[i] = UINT64_C(0x0101010101010101) * content;
		return;
	case CONTENT_NOISE:
		for (unsigned i = 0; i < TMEM_PAGE_SIZE / 8; i++)
			words[i] = tm_test_random(&seed);
		return;
	case CONTENT_SPARSE:
		memset(page, 0, TMEM_PAGE_SIZE);
		for (unsigned i = 0; i < 8; i++)
			words[i * 61 + 2] = tm_test_random(&seed);
		return;
	default:
		for (unsigned i = 0; i < TMEM_PAGE_SIZE; i += 24) {
			uint64_t word = tm_test_random(&seed);

			memset(bytes + i, (int)(content & 0x7f),
			       TMEM_PAGE_SIZE - i < 24 ? TMEM_PAGE_SIZE - i
						       : 24);
			if (i + 8 <= TMEM_PAGE_SIZE)
				memcpy(bytes + i, &word, 6);
		}
	}
}

/* --- worlds --------------------------------------------------------------- */

struct world_page *world_at(struct world *world, int client, int pool,
			    uint64_t oid, uint32_t index)
{
	struct world_page *page = world->page;

	for (; page < world->page + world->count; page++)
		if (page->client == client && page->pool == pool &&
		    page->oid == oid && page->index == index)
			return page;
	if (world->count == PAGES_MAX)
		abort();
	world->count++;
	*page = (struct world_page){ client, pool, oid, index, ABSENT };
	return page;
}

void world_drop_object(struct world *world, int client, int pool, uint64_t oid)
{
	for (uint32_t i = 0; i < world->count; i++)
		if (world->page[i].client == client &&
		    world->page[i].pool == pool && world->page[i].oid == oid)
			world->page[i].content = ABSENT;
}

void world_drop_pool(struct world *world, int client, int pool)
{
	world->pool[client][pool] = false;
	for (uint32_t i = 0; i < world->count; i++)
		if (world->page[i].client == client &&
		    world->page[i].pool == pool)
			world->page[i].content = ABSENT;
}

void world_drop_client(struct world *world, int client)
{
	world->client[client] = false;
	for (int pool = 0; pool < POOLS; pool++)
		world_drop_pool(world, client, pool);
}

struct tm_client *crash_attach(struct tm_store *store, int client, int *result)
{
	struct tmem_client_config config = {
		.struct_size = sizeof(config),
		.name = crash_client_name[client],
	};
	struct tm_client *out = NULL;

	*result = tm_client_attach(store, &config, &out);
	return out;
}

/* --- images --------------------------------------------------------------- */

static bool next_extent(int fd, size_t *begin, size_t *end)
{
	off_t at = lseek(fd, (off_t)*end, SEEK_DATA);
	off_t hole;

	if (at < 0)
		return false;
	hole = lseek(fd, at, SEEK_HOLE);
	if (hole < 0)
		return false;
	*begin = (size_t)at;
	*end = (size_t)hole;
	return true;
}

bool image_differs(const struct image *image, int fd, const uint8_t *map)
{
	size_t begin, end = 0;
	uint32_t i = 0;

	for (; next_extent(fd, &begin, &end); i++)
		if (i >= image->extents || image->extent[i].begin != begin ||
		    image->extent[i].end != end ||
		    memcmp(image->bytes + begin, map + begin, end - begin))
			return true;
	return i != image->extents;
}

void image_take(struct image *image, int fd, const uint8_t *map, size_t size)
{
	size_t begin, end = 0;

	if (image->size != size) {
		image_free(image);
		image->bytes = mmap(NULL, size, PROT_READ | PROT_WRITE,
				    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
				    -1, 0);
		image->size = size;
		if (image->bytes == MAP_FAILED)
			abort();
	}
	image->extents = 0;
	while (next_extent(fd, &begin, &end)) {
		if (image->extents == 256)
			abort();
		memcpy(image->bytes + begin, map + begin, end - begin);
		image->extent[image->extents].begin = begin;
		image->extent[image->extents++].end = end;
	}
}

int image_write(const struct image *image, const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0 || ftruncate(fd, (off_t)image->size)) {
		perror(path);
		exit(EXIT_FAILURE);
	}
	for (uint32_t i = 0; i < image->extents; i++) {
		size_t begin = image->extent[i].begin;
		size_t size = image->extent[i].end - begin;

		if (pwrite(fd, image->bytes + begin, size, (off_t)begin) !=
		    (ssize_t)size) {
			perror(path);
			exit(EXIT_FAILURE);
		}
	}
	close(fd);
	return 0;
}

void image_free(struct image *image)
{
	if (image->bytes)
		munmap(image->bytes, image->size);
	image->bytes = NULL;
	image->size = 0;
}

bool crash_path(char *path, size_t size, const char *what)
{
	struct stat st;

	if (stat("/dev/shm", &st) || access("/dev/shm", W_OK))
		return false;
	snprintf(path, size, "/dev/shm/tmem-test-%ld-%s", (long)getpid(), what);
	unlink(path);
	return true;
}

/* --- comparing ------------------------------------------------------------ */

struct view {
	struct tm_store *store;
	struct tm_client *client[CLIENTS];
	const struct world *before;
	const struct world *after;
	bool is_before;
	bool is_after;
	bool is_wrong;
	bool attached[CLIENTS];
	uint64_t pages[CLIENTS][POOLS];
};

static void complain(struct view *view, const char *what, int client, int pool,
		     uint64_t oid, uint32_t index)
{
	view->is_wrong = true;
	printf("  %s: client %d pool %d oid %" PRIu64 " index %" PRIu32 "\n",
	       what, client, pool, oid, index);
}

/* One fact: true in one of the worlds, or in both, or the arena is wrong. */
static void fact(struct view *view, bool in_before, bool in_after,
		 const char *what, const struct world_page *page)
{
	view->is_before &= in_before;
	view->is_after &= in_after;
	if (!in_before && !in_after)
		complain(view, what, page->client, page->pool, page->oid,
			 page->index);
}

static void look_at_clients(struct view *view)
{
	struct world_page where = { 0 };

	for (int c = 0; c < CLIENTS; c++) {
		int result;

		view->client[c] = crash_attach(view->store, c, &result);
		where = (struct world_page){ .client = c };
		view->attached[c] = result >= 0;
		/* A full store has no room for one that was not there. */
		if (result == -ENOMEM)
			result = 0;
		if (result < 0) {
			complain(view, "a client cannot attach", c, 0, 0, 0);
			continue;
		}
		fact(view, view->before && view->before->client[c] == result,
		     view->after->client[c] == result,
		     "a client is there or not, wrongly", &where);
		for (int p = 0; p < POOLS; p++) {
			struct tmem_pool_info info = { .struct_size =
							       sizeof(info) };
			bool is_there =
				view->client[c] &&
				!tm_pool_get_info(view->client[c], p, &info);

			where.pool = p;
			fact(view,
			     view->before &&
				     view->before->pool[c][p] == is_there,
			     view->after->pool[c][p] == is_there,
			     "a pool is there or not, wrongly", &where);
		}
	}
}

/* Both worlds list the same handles in the same order; one may go on. */
static uint32_t content_in(const struct world *world, uint32_t i)
{
	if (!world)
		return UINT32_MAX;
	return i < world->count ? world->page[i].content : ABSENT;
}

static bool is_content(const void *page, uint32_t content)
{
	uint64_t expected[TMEM_PAGE_SIZE / 8];

	if (content == ABSENT || content == UINT32_MAX)
		return false;
	crash_fill(expected, content);
	return !memcmp(page, expected, TMEM_PAGE_SIZE);
}

static void look_at_page(struct view *view, uint32_t i)
{
	const struct world_page *page = &view->after->page[i];
	uint32_t before = content_in(view->before, i);
	uint32_t after = content_in(view->after, i);
	uint64_t bytes[TMEM_PAGE_SIZE / 8];
	struct tmem_oid oid = crash_oid(page->oid);
	struct tm_client *client = view->client[page->client];
	int result =
		client ? tm_get(client, page->pool, &oid, page->index, bytes, 0)
		       : -ENOENT;

	if (result == -ENOENT || result == TMEM_GET_MISS) {
		fact(view, before == ABSENT, after == ABSENT, "a page is lost",
		     page);
		return;
	}
	if (result != TMEM_GET_HIT) {
		complain(view, "a page is damaged", page->client, page->pool,
			 page->oid, page->index);
		return;
	}
	view->pages[page->client][page->pool]++;
	fact(view, is_content(bytes, before), is_content(bytes, after),
	     "a page has the wrong content", page);
}

static void look_at_pages(struct view *view)
{
	memset(view->pages, 0, sizeof(view->pages));
	for (uint32_t i = 0; i < view->after->count; i++)
		look_at_page(view, i);
	/* Nothing but what was looked at may be there. */
	for (int c = 0; c < CLIENTS; c++) {
		for (int p = 0; p < POOLS; p++) {
			struct tmem_pool_info info = { .struct_size =
							       sizeof(info) };

			if (view->client[c] &&
			    !tm_pool_get_info(view->client[c], p, &info) &&
			    info.pages != view->pages[c][p])
				complain(view, "a pool has more pages", c, p, 0,
					 (uint32_t)info.pages);
		}
	}
}

/* What was recovered must not be in the way of what comes after. */
static void use_further(struct view *view)
{
	struct tmem_client_config config = { .struct_size = sizeof(config),
					     .name = "probe" };
	struct tmem_oid oid = crash_oid(1);
	uint64_t bytes[TMEM_PAGE_SIZE / 8];
	struct tm_client *client;
	bool stored[PROBES];
	int pool;

	if (tm_client_attach(view->store, &config, &client) < 0)
		return;
	pool = tm_pool_create(client, TM_POOL_ANY, TMEM_POOL_PERSISTENT, NULL);
	for (uint32_t i = 0; pool >= 0 && i < PROBES; i++) {
		crash_fill(bytes, 1000 + i);
		stored[i] = tm_put(client, pool, &oid, i, bytes, 0) ==
			    TMEM_PUT_STORED;
	}
	while (tm_store_step(view->store))
		;
	for (uint32_t i = 0; pool >= 0 && i < PROBES; i++)
		if (stored[i] &&
		    (tm_get(client, pool, &oid, i, bytes, 0) != TMEM_GET_HIT ||
		     !is_content(bytes, 1000 + i)))
			complain(view, "a later page is lost", -1, pool, 1, i);
	look_at_pages(view);
	tm_client_destroy(client);
}

static int open_and_look(const char *path,
			 const struct tmem_store_config *config,
			 const struct tmem_plugins *plugins, struct view *view,
			 bool further)
{
	struct tmem_store_config again = *config;
	int err;

	again.arena = path;
	again.flags |= TMEM_STORE_MUST_EXIST | TMEM_STORE_NO_THREADS |
		       TMEM_STORE_NO_LOCK;
	err = tm_store_open(&again, plugins, &view->store);
	if (err) {
		printf("  the arena does not open: %s\n", strerror(-err));
		return -1;
	}
	view->is_before = view->before;
	view->is_after = true;
	look_at_clients(view);
	if (!view->is_wrong)
		look_at_pages(view);
	if (!view->is_wrong && !view->is_before && !view->is_after) {
		view->is_wrong = true;
		printf("  neither as before nor as after, but a mixture\n");
	}
	if (!view->is_wrong && further)
		use_further(view);
	if (tm_store_check(view->store)) {
		view->is_wrong = true;
		printf("  the sums are wrong\n");
	}
	tm_store_close(view->store);
	return view->is_wrong ? -1 : 0;
}

int crash_verify(const char *path, const struct tmem_store_config *config,
		 const struct tmem_plugins *plugins, const struct world *before,
		 const struct world *after, int *matched)
{
	struct view view = { .before = before, .after = after };
	static struct world settled;

	if (open_and_look(path, config, plugins, &view, true))
		return -1;
	*matched = (view.is_before ? 1 : 0) | (view.is_after ? 2 : 0);
	/* Once more: what a recovered store left. By attaching, looking has
	 * made the clients that were not there. */
	settled = view.is_after ? *after : *before;
	memcpy(settled.client, view.attached, sizeof(settled.client));
	view = (struct view){ .after = &settled };
	return open_and_look(path, config, plugins, &view, false);
}
