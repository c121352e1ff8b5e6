/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A client out of a store; see <tmem/save.h> for what it is and
 * save_stream.h for the bytes.
 *
 * A save is a generator: it makes a block when the one before has been read, and
 * holds nothing in between, so a reader may be as slow as it likes. In order:
 *
 *	HELLO, CLIENT, PAGES of pool 0, 1, ..., GONE, END
 *
 * The client is frozen and what goes is logged, in a plain save too: a page that
 * is flushed behind the walk's back would otherwise be there again after the
 * restore, which is stale data to its guest. Pages cannot come, so what is in
 * the log once never comes back, and GONE may all stand at the end.
 *
 * Pools can come and go meanwhile. So END lists them once more, and that list is
 * what the restored client has.
 *
 * Locks: none; a save belongs to one thread at a time, and what others set or
 * look at is atomic.
 */
#include <config.h>

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <tmem/save.h>

#include "client.h"
#include "save_stream.h"

enum phase {
	PHASE_HELLO,
	PHASE_CLIENT,
	PHASE_PAGES,
	PHASE_GONE,
	PHASE_END,
	PHASE_DONE,
};

struct tmem_save {
	/* set at creation, then constant */
	struct tmem_client *client;
	bool is_live;
	bool was_frozen;	/* what saving does to it apart */
	/* of the thread that reads */
	struct tm_save_out out;
	enum phase phase;
	uint32_t announced;	/* persistent pools: a bit for each id */
	int pool;		/* that is walked */
	uint64_t position;
	bool is_handed_over;
	struct tm_save_client_info end;
	/* for other threads */
	atomic_bool is_finishing;
	atomic_bool is_idle;
	_Atomic uint64_t pages;
	_Atomic uint64_t pages_expected;
	_Atomic uint64_t gone;
	_Atomic uint64_t lost;
	_Atomic uint64_t bytes;
	_Atomic enum phase phase_shown;
};

int tmem_save_open(struct tmem_client *client, uint32_t flags,
		   struct tmem_save **out)
{
	struct tmem_save *save;
	int err;

	if (!client || !out || flags & ~TMEM_SAVE_LIVE)
		return -EINVAL;
	if (!client->core)
		return -EOPNOTSUPP;
	save = calloc(1, sizeof(*save));
	if (!save)
		return -ENOMEM;
	save->client = client;
	save->is_live = flags & TMEM_SAVE_LIVE;
	err = tm_save_out_open(&save->out);
	if (!err)
		err = tm_client_begin_log(client->core);
	if (err) {
		tm_save_out_close(&save->out);
		free(save);
		return err;
	}
	save->was_frozen = tm_client_stays_frozen(client->core);
	*out = save;
	return 0;
}

void tmem_save_close(struct tmem_save *save)
{
	if (!save)
		return;
	tm_client_end_log(save->client->core, save->is_handed_over);
	tm_save_out_close(&save->out);
	free(save);
}

/* --- blocks ------------------------------------------------------------------- */

static int list_pools(struct tmem_client *client,
		      struct tm_save_client_info *info)
{
	info->pool_count = 0;
	for (int id = 0; id < TMEM_POOLS_MAX; id++) {
		struct tmem_pool_info pool = { .struct_size = sizeof(pool) };
		int err = tmem_pool_get_info(client, id, &pool);

		if (err == -ENOENT)
			continue;
		if (err)
			return err;
		info->pools[info->pool_count++] = (struct tm_save_pool_info){
			.id = (uint32_t)id,
			.flags = pool.flags,
			.uuid = pool.uuid,
			.pages = pool.flags & TMEM_POOL_PERSISTENT ?
					 pool.pages :
					 0,
		};
	}
	return 0;
}

static int make_client(struct tmem_save *save)
{
	struct tmem_client_info from = { .struct_size = sizeof(from) };
	struct tm_save_client_info info = { 0 };
	int err = tmem_client_get_info(save->client, &from);

	if (!err)
		err = list_pools(save->client, &info);
	if (err)
		return err;
	memcpy(info.name, from.name, sizeof(info.name));
	info.weight = from.weight;
	info.is_frozen = save->was_frozen;
	info.compresses = from.compress;
	info.reservation_bytes = from.reservation_bytes;
	info.cap_bytes = from.cap_bytes;
	for (unsigned i = 0; i < info.pool_count; i++) {
		atomic_fetch_add(&save->pages_expected, info.pools[i].pages);
		if (info.pools[i].flags & TMEM_POOL_PERSISTENT)
			save->announced |= UINT32_C(1) << info.pools[i].id;
	}
	tm_save_out_client(&save->out, &info);
	save->phase = PHASE_PAGES;
	return 0;
}

/* Pages of other pools are none that were sent: a pool that is new is empty, one
 * that went before CLIENT was made was never there. */
static bool is_announced(const struct tmem_save *save, uint32_t pool)
{
	return save->announced >> pool & 1;
}

/* The walk goes on with the next pool; false: that was the last one. */
static bool next_pool(struct tmem_save *save)
{
	save->position = 0;
	while (++save->pool < TMEM_POOLS_MAX)
		if (is_announced(save, (uint32_t)save->pool))
			return true;
	return false;
}

static int make_pages(struct tmem_save *save)
{
	struct tm_save_out *out = &save->out;
	struct tmem_handle handle;
	int result = 1;

	if (!is_announced(save, (uint32_t)save->pool) && !next_pool(save)) {
		save->phase = PHASE_GONE;
		return 0;
	}
	tm_save_out_begin(out, TM_SAVE_PAGES);
	while (tm_save_out_has_room(out)) {
		result = tmem_client_walk(save->client, save->pool,
					  &save->position, &handle,
					  tm_save_out_page(out));
		if (result == 1)
			tm_save_out_add(out, &handle);
		else if (result == -EBADMSG)
			out->lost++;
		else if (result && result != -ENOENT)
			return result;
		else if (!next_pool(save))
			break;
	}
	if (save->pool == TMEM_POOLS_MAX)
		save->phase = PHASE_GONE;
	tm_save_out_finish(out);
	return 0;
}

static int make_gone(struct tmem_save *save)
{
	struct tm_save_out *out = &save->out;
	/* Looked at first: what went before that was said is in the log. */
	bool is_last = !save->is_live || atomic_load(&save->is_finishing);
	struct tmem_handle handle;
	int result = 1;

	tm_save_out_begin(out, TM_SAVE_GONE);
	while (result > 0 && tm_save_out_has_room(out)) {
		result = tmem_client_next_invalidation(save->client, &handle);
		if (result > 0 && is_announced(save, handle.pool))
			tm_save_out_add(out, &handle);
	}
	tm_save_out_finish(out);
	if (result < 0)
		return result;
	if (!tm_save_out_is_empty(out))
		return 0;
	if (is_last) {
		save->phase = PHASE_END;
		return 0;
	}
	if (!atomic_exchange(&save->is_idle, false))
		return -EAGAIN;
	tm_save_out_idle(out);
	return 0;
}

static int make_end(struct tmem_save *save)
{
	int err = list_pools(save->client, &save->end);

	if (err)
		return err;
	tm_save_out_end(&save->out, &save->end);
	save->phase = PHASE_DONE;
	return 0;
}

static int make_block(struct tmem_save *save)
{
	switch (save->phase) {
	case PHASE_HELLO:
		tm_save_out_hello(&save->out, save->is_live ? TM_SAVE_LIVE : 0);
		save->phase = PHASE_CLIENT;
		return 0;
	case PHASE_CLIENT:
		return make_client(save);
	case PHASE_PAGES:
		return make_pages(save);
	case PHASE_GONE:
		return make_gone(save);
	case PHASE_END:
		return make_end(save);
	case PHASE_DONE:
		break;
	}
	return 0;
}

static void show_progress(struct tmem_save *save)
{
	atomic_store(&save->pages, save->out.pages);
	atomic_store(&save->gone, save->out.gone);
	atomic_store(&save->lost, save->out.lost);
	atomic_store(&save->phase_shown,
		     tm_save_out_is_empty(&save->out) ? save->phase :
							PHASE_HELLO);
}

ssize_t tmem_save_read(struct tmem_save *save, void *buffer, size_t size)
{
	size_t taken;

	while (tm_save_out_is_empty(&save->out) && save->phase != PHASE_DONE) {
		int err = make_block(save);

		if (err) {
			show_progress(save);
			return err;
		}
	}
	taken = tm_save_out_take(&save->out, buffer, size);
	atomic_fetch_add(&save->bytes, taken);
	show_progress(save);
	return (ssize_t)taken;
}

void tmem_save_finish(struct tmem_save *save)
{
	atomic_store(&save->is_finishing, true);
}

void tmem_save_idle(struct tmem_save *save)
{
	atomic_store(&save->is_idle, true);
}

int tmem_save_get_progress(struct tmem_save *save,
			   struct tmem_save_progress *progress)
{
	enum phase phase = atomic_load(&save->phase_shown);

	if (progress->struct_size < sizeof(*progress))
		return -EINVAL;
	progress->pages = atomic_load(&save->pages);
	progress->pages_expected = atomic_load(&save->pages_expected);
	progress->gone = atomic_load(&save->gone);
	progress->lost = atomic_load(&save->lost);
	progress->bytes = atomic_load(&save->bytes);
	progress->is_copied = phase >= PHASE_GONE;
	progress->is_ended = phase == PHASE_DONE;
	return 0;
}

int tmem_save_hand_over(struct tmem_save *save)
{
	struct tm_save_client_info now = { 0 };
	struct tmem_handle handle;
	int result;

	if (save->phase != PHASE_DONE || !tm_save_out_is_empty(&save->out))
		return -EINVAL;
	result = tmem_client_next_invalidation(save->client, &handle);
	if (!result)
		result = list_pools(save->client, &now);
	if (result < 0)
		return result;
	if (result || now.pool_count != save->end.pool_count ||
	    memcmp(now.pools, save->end.pools, sizeof(now.pools)))
		return -EBUSY;
	save->is_handed_over = true;
	return 0;
}
