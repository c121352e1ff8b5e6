/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A client into a store; see <tmem/save.h> for what it is and save_stream.h
 * for the bytes.
 *
 * The stream is hostile: what it says is checked by its reader
 * (save_stream.c) and by the store's own functions, which is all that it
 * reaches. The client is made from the stream's first block and marked as
 * unfinished in the arena, so that neither an error nor the death of this
 * process leaves half of it; its name is taken meanwhile, and nobody else can
 * attach to it.
 *
 * Limits that could refuse a page come last (the cap), as what fits at the source
 * may take more bytes here, by another codec; so does frozen. The reservation
 * comes first: it is what makes sure that the pages have room.
 *
 * A shared pool that may not be joined here becomes a private one, which is what
 * its guest would have got here in the first place. Trust domains and what shared
 * pools may be joined are a host's own decisions and not in the stream.
 *
 * Locks: none; a restore belongs to one thread at a time.
 */
#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <tmem/save.h>

#include "client.h"
#include "save_stream.h"

struct tmem_restore {
	struct tmem_restore_config config;
	char name[TMEM_CLIENT_NAME_MAX + 1];	/* "": the stream's */
	struct tm_save_in in;
	struct tmem_client *client;	/* ours until it is committed */
};

void tmem_restore_config_init(struct tmem_restore_config *config)
{
	*config =
		(struct tmem_restore_config){ .struct_size = sizeof(*config) };
}

static const char *name_of(const struct tmem_restore *restore)
{
	return *restore->name ? restore->name : restore->in.client.name;
}

/* --- limits ------------------------------------------------------------------- */

static void limits_of(const struct tm_save_client_info *info,
		      struct tmem_client_config *limits)
{
	tmem_client_config_init(limits);
	limits->weight = info->weight;
	limits->reservation_bytes = info->reservation_bytes;
}

static int explain_attach(struct tmem_restore *restore, int err)
{
	const char *name = name_of(restore);

	if (err == -EEXIST)
		return tm_save_in_fail(&restore->in, err,
				       "there is a client \"%s\" already: "
				       "destroy it, or restore under another "
				       "name",
				       name);
	if (err == -ENOSPC)
		return tm_save_in_fail(
			&restore->in, err,
			"the reservation of client \"%s\" (%llu bytes) does "
			"not fit the store: give it more memory",
			name,
			(unsigned long long)
				restore->in.client.reservation_bytes);
	return tm_save_in_fail(&restore->in, err,
			       "client \"%s\" cannot be made: %s", name,
			       strerror(-err));
}

/* --- what the stream says ----------------------------------------------------- */

static int make_pool(void *opaque, struct tm_save_in *in,
		     const struct tm_save_pool_info *pool)
{
	struct tmem_restore *restore = opaque;
	bool is_shared = pool->flags & TMEM_POOL_SHARED;
	int id = (int)pool->id;
	int result = tmem_pool_create_at(restore->client, id, pool->flags,
					 is_shared ? &pool->uuid : NULL);

	if (is_shared && (result == -EACCES || result == -EEXIST))
		result = tmem_pool_create_at(restore->client, id, 0, NULL);
	if (result >= 0)
		return 0;
	return tm_save_in_fail(in, result,
			       "pool %d of client \"%s\" cannot be made: %s",
			       id, name_of(restore), strerror(-result));
}

static int begin_client(void *opaque, struct tm_save_in *in)
{
	struct tmem_restore *restore = opaque;
	struct tmem_client_config limits;
	int err;

	limits_of(&in->client, &limits);
	limits.name = name_of(restore);
	err = tm_client_open_unfinished(restore->config.store, &limits,
					&restore->client);
	if (err)
		return explain_attach(restore, err);
	if (!in->client.compresses)
		err = tmem_client_set_compress(restore->client, false);
	if (!err && restore->config.prepare)
		err = restore->config.prepare(restore->config.opaque,
					      restore->client);
	return err ? explain_attach(restore, err) : 0;
}

static int put_page(void *opaque, struct tm_save_in *in,
		    const struct tmem_handle *handle, const void *page)
{
	struct tmem_restore *restore = opaque;
	int result = tmem_put(restore->client, (int)handle->pool, &handle->oid,
			      handle->index, page, 0);

	if (result == TMEM_PUT_STORED)
		return 0;
	if (!result)
		return tm_save_in_fail(
			in, -ENOSPC,
			"the store has no room for more than %llu of the %llu "
			"pages of client \"%s\": give it more memory",
			(unsigned long long)in->pages - 1,
			(unsigned long long)in->pages_expected,
			name_of(restore));
	return tm_save_in_fail(in, result,
			       "a page of client \"%s\" cannot be put: %s",
			       name_of(restore), strerror(-result));
}

static int drop_page(void *opaque, struct tm_save_in *in,
		     const struct tmem_handle *handle)
{
	struct tmem_restore *restore = opaque;
	int result = tmem_flush_page(restore->client, (int)handle->pool,
				     &handle->oid, handle->index);

	/* It may have gone before it was sent. */
	if (result >= 0)
		return 0;
	return tm_save_in_fail(in, result,
			       "a page of client \"%s\" cannot be dropped: %s",
			       name_of(restore), strerror(-result));
}

static bool are_same(const struct tm_save_pool_info *a,
		     const struct tm_save_pool_info *b)
{
	return a->id == b->id && a->flags == b->flags &&
	       !memcmp(&a->uuid, &b->uuid, sizeof(a->uuid));
}

static bool has(const struct tm_save_client_info *client,
		const struct tm_save_pool_info *pool)
{
	for (unsigned i = 0; i < client->pool_count; i++)
		if (are_same(&client->pools[i], pool))
			return true;
	return false;
}

/* Pools that went or came while the client was saved. */
static int mend_pools(void *opaque, struct tm_save_in *in)
{
	struct tmem_restore *restore = opaque;
	int err = 0;

	for (unsigned i = 0; i < in->client.pool_count; i++)
		if (!has(&in->end, &in->client.pools[i]))
			tmem_pool_destroy(restore->client,
					  (int)in->client.pools[i].id);
	for (unsigned i = 0; i < in->end.pool_count && !err; i++)
		if (!has(&in->client, &in->end.pools[i]))
			err = make_pool(restore, in, &in->end.pools[i]);
	return err;
}

static const struct tm_save_in_ops ops = {
	.client = begin_client,
	.pool = make_pool,
	.page = put_page,
	.gone = drop_page,
	.end = mend_pools,
};

/* --- life ------------------------------------------------------------------- */

int tmem_restore_open(const struct tmem_restore_config *config,
		      struct tmem_restore **out)
{
	struct tmem_restore *restore;

	if (!config || config->struct_size < sizeof(*config) ||
	    !config->store || !out)
		return -EINVAL;
	if (config->name &&
	    (!*config->name || strnlen(config->name, TMEM_CLIENT_NAME_MAX + 1) >
				       TMEM_CLIENT_NAME_MAX))
		return -EINVAL;
	restore = calloc(1, sizeof(*restore));
	if (!restore)
		return -ENOMEM;
	restore->config = *config;
	if (config->name)
		strcpy(restore->name, config->name);
	if (tm_save_in_open(&restore->in, &ops, restore)) {
		free(restore);
		return -ENOMEM;
	}
	*out = restore;
	return 0;
}

int tmem_restore_write(struct tmem_restore *restore, const void *bytes,
		       size_t size)
{
	return tm_save_in_push(&restore->in, bytes, size);
}

/* What would have stood in the way of the pages. */
static int set_limits(struct tmem_restore *restore)
{
	const struct tm_save_client_info *info = &restore->in.client;
	struct tmem_client_info made = { .struct_size = sizeof(made) };
	struct tmem_client_config limits;
	int err = tmem_client_get_info(restore->client, &made);

	limits_of(info, &limits);
	limits.cap_bytes = info->cap_bytes;
	/* Not the stream's: what it was prepared with. */
	limits.trust_domain = made.trust_domain;
	if (!err)
		err = tmem_client_set(restore->client, &limits);
	if (!err && info->is_frozen)
		err = tmem_client_set_frozen(restore->client, true);
	return err ? explain_attach(restore, err) : 0;
}

int tmem_restore_commit(struct tmem_restore *restore,
			struct tmem_client **client)
{
	int err = tm_save_in_finish(&restore->in);

	if (!err && !restore->client)
		err = -EINVAL;
	if (!err)
		err = set_limits(restore);
	if (err)
		return err;
	tm_client_finish(restore->client->core);
	*client = restore->client;
	restore->client = NULL;
	return 0;
}

const char *tmem_restore_error(const struct tmem_restore *restore)
{
	return restore->in.error;
}

int tmem_restore_get_progress(const struct tmem_restore *restore,
			      struct tmem_restore_progress *progress)
{
	if (progress->struct_size < sizeof(*progress))
		return -EINVAL;
	progress->pages = restore->in.pages;
	progress->pages_expected = restore->in.pages_expected;
	progress->gone = restore->in.gone;
	progress->lost = restore->in.lost;
	memset(progress->name, 0, sizeof(progress->name));
	if (restore->in.has_client)
		strcpy(progress->name, name_of(restore));
	return 0;
}

void tmem_restore_close(struct tmem_restore *restore)
{
	if (!restore)
		return;
	if (restore->client)
		tmem_client_destroy(restore->client);
	tm_save_in_close(&restore->in);
	free(restore);
}
