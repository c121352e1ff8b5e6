/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A swap disk: blocks as persistent pages.
 *
 * Where a block may be is in disk_swap.h. These are the steps; after each, the
 * process may die, and whoever opens the disk next sees, of a request that was
 * not acknowledged, what was before or what was to be, and never anything
 * older:
 *
 *	write	put the new data in the place where the old are not
 *		punch the block out of the file
 *		flush the old place
 *	refused	write the new data to the file (tmem still has the old, if it
 *		had them: they count)
 *		flush the old place
 *	discard	punch the block out of the file
 *		flush place 1, then place 0 (which counts of the two)
 *	demote	write to the file
 *		flush the place
 *
 * A write that has nowhere to go loses the block: neither the new data nor,
 * because an old copy must not outlive a refused overwrite, the old ones. It
 * then answers -EIO until it is written or discarded. A page in tmem says so,
 * put by the same steps. Where even that is refused a bit says so, which lasts
 * until the disk is closed: after that, such a block reads as zeros. A block
 * that was not there before just stays so.
 *
 * A frozen client refuses puts. These wait, with their blocks locked, for
 * pause_ms at most; nothing has been lost by then.
 */
#include <config.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "disk_swap.h"

#define SECTOR_BYTES 512
#define FROZEN_POLL_NS 3000000
#define NS_PER_MS UINT64_C(1000000)
/* An answer of tm_disk_extent() looks at so many blocks, and asks tmem about
 * so many. */
#define EXTENT_BLOCKS_MAX 65536
#define EXTENT_GETS_MAX 64
/* A disk this full, of which nothing was ever discarded, has filled. */
#define FILLED_PCT 95

/* --- places --------------------------------------------------------------- */

static bool may_be_in(const struct tm_swap *swap, uint64_t block, int place)
{
	return tm_bits_test(swap->maybe[place], block);
}

bool tm_swap_is_lost_page(const struct tm_swap *swap, const void *page)
{
	uint64_t word;

	memcpy(&word, page, sizeof(word));
	return word == swap->label.lost_word &&
	       !memcmp(page, (const uint8_t *)page + sizeof(word),
		       TM_BLOCK_SIZE - sizeof(word));
}

static void touch(struct tm_swap *swap, uint64_t first, uint32_t count)
{
	if (!swap->has_backing)
		return;
	for (uint32_t i = 0; i < count; i++)
		tm_bits_set(swap->touched, first + i);
}

/* That there is no pool is not that it has no such page, which -ENOENT is in
 * this file: somebody ended the disk's client, or the daemon lost it. */
static int pool_result(int result)
{
	return result == -ENOENT ? -ENODEV : result;
}

static int get_place(struct tm_swap *swap, uint64_t block, int place,
		     void *page)
{
	struct tmem_oid oid = tm_swap_oid(block, place);

	return pool_result(tmem_get(swap->disk.client, swap->pool, &oid,
				    tm_swap_index(block), page, 0));
}

static int put_place(struct tm_swap *swap, uint64_t block, int place,
		     const void *page)
{
	struct tmem_oid oid = tm_swap_oid(block, place);

	return tmem_put(swap->disk.client, swap->pool, &oid,
			tm_swap_index(block), page,
			swap->disk.is_embedded ? TMEM_PUT_EXPLAIN : 0);
}

/* One that timed out is not done: the client makes it good before anything
 * else, but only for as long as it is there itself. */
static int flush_result(int result)
{
	return result >= 0 ? 0 : pool_result(result);
}

int tm_swap_drop(struct tm_swap *swap, uint64_t block, int place)
{
	struct tmem_oid oid = tm_swap_oid(block, place);
	int err;

	if (!may_be_in(swap, block, place))
		return 0;
	err = flush_result(tmem_flush_page(swap->disk.client, swap->pool, &oid,
					   tm_swap_index(block)));
	if (!err)
		tm_bits_clear(swap->maybe[place], block);
	return err;
}

/*
 * tmem had this block, and its bytes were damaged: it has dropped it. What the
 * file or the other place may have is older.
 */
static int lose_damaged(struct tm_swap *swap, uint64_t block, int place)
{
	uint64_t page[TM_BLOCK_SIZE / sizeof(uint64_t)];

	for (size_t i = 0; i < TM_BLOCK_SIZE / sizeof(uint64_t); i++)
		page[i] = swap->label.lost_word;
	tm_bits_set(swap->lost, block);
	put_place(swap, block, place, page);
	return -EIO;
}

int tm_swap_find(struct tm_swap *swap, uint64_t block, void *page)
{
	for (int place = 0; place < 2; place++) {
		int result;

		if (!may_be_in(swap, block, place))
			continue;
		result = get_place(swap, block, place, page);
		if (result == -EBADMSG)
			return lose_damaged(swap, block, place);
		if (result < 0)
			return result;
		if (result == TMEM_GET_HIT) {
			/* Left by a write that was not finished. */
			int err = place ? 0 : tm_swap_drop(swap, block, 1);

			return err ? err : place;
		}
		tm_bits_clear(swap->maybe[place], block);
	}
	return -ENOENT;
}

/* As tm_swap_find(), but a bit that is set alone is believed. */
static int locate(struct tm_swap *swap, uint64_t block)
{
	uint8_t page[TM_BLOCK_SIZE];
	bool in_0 = may_be_in(swap, block, 0);
	bool in_1 = may_be_in(swap, block, 1);

	if (in_0 && in_1)
		return tm_swap_find(swap, block, page);
	return in_0 ? 0 : in_1 ? 1 : -ENOENT;
}

/* --- batches -------------------------------------------------------------- */

/* Calls on pages of blocks, and which block each is about. */
struct batch {
	uint32_t count;
	uint64_t blocks[2 * TM_PIECE_BLOCKS];
	struct tmem_request requests[2 * TM_PIECE_BLOCKS];
};

static void add(const struct tm_swap *swap, struct batch *batch,
		enum tmem_request_kind kind, uint64_t block, int place,
		void *page)
{
	bool explains = kind == TMEM_REQUEST_PUT && swap->disk.is_embedded;

	batch->blocks[batch->count] = block;
	batch->requests[batch->count++] = (struct tmem_request){
		.kind = kind,
		.flags = explains ? TMEM_PUT_EXPLAIN : 0,
		.pool = swap->pool,
		.index = tm_swap_index(block),
		.oid = tm_swap_oid(block, place),
		.page = page,
	};
}

static int place_in(const struct batch *batch, uint32_t i)
{
	return (int)batch->requests[i].oid.word[1];
}

static int run(const struct tm_swap *swap, struct batch *batch)
{
	return batch->count ? tmem_batch(swap->disk.client, batch->requests,
					 batch->count)
			    : 0;
}

/* A batch of flushes. */
static int run_drops(struct tm_swap *swap, struct batch *batch)
{
	int err = run(swap, batch);

	for (uint32_t i = 0; i < batch->count && !err; i++) {
		err = flush_result(batch->requests[i].result);
		if (!err)
			tm_bits_clear(swap->maybe[place_in(batch, i)],
				      batch->blocks[i]);
	}
	batch->count = 0;
	return err;
}

/* --- read ----------------------------------------------------------------- */

/* What tmem does not have. */
static int read_elsewhere(struct tm_swap *swap, uint64_t block, void *page)
{
	if (swap->has_backing && tm_backing_has(&swap->backing, block))
		return tm_backing_read(&swap->backing, block, page);
	memset(page, 0, TM_BLOCK_SIZE);
	return 0;
}

static int read_block(struct tm_swap *swap, uint64_t block, void *page)
{
	int place;

	if (tm_bits_test(swap->lost, block))
		return -EIO;
	place = tm_swap_find(swap, block, page);
	if (place == -ENOENT)
		return read_elsewhere(swap, block, page);
	if (place < 0)
		return place;
	return tm_swap_is_lost_page(swap, page) ? -EIO : 0;
}

/* What came of a get of a block whose place was known. */
static int take_got(struct tm_swap *swap, uint64_t block, int place,
		    const struct tmem_request *request)
{
	if (request->result == TMEM_GET_HIT)
		return tm_swap_is_lost_page(swap, request->page) ? -EIO : 0;
	if (request->result == TMEM_GET_MISS)
		return read_block(swap, block, request->page);
	/* Asked again, it would be a miss. */
	if (request->result == -EBADMSG)
		return lose_damaged(swap, block, place);
	return request->result;
}

/* Blocks whose place is known, all at once; the rest one by one. */
static int read_locked(struct tm_swap *swap, struct tm_piece *piece)
{
	struct batch batch;
	int err = 0;

	batch.count = 0;
	for (uint32_t i = 0; i < piece->count && !err; i++) {
		uint64_t block = piece->first + i;
		bool in_0 = may_be_in(swap, block, 0);
		bool in_1 = may_be_in(swap, block, 1);

		if (in_0 == in_1 || tm_bits_test(swap->lost, block))
			err = read_block(swap, block, piece->pages[i]);
		else
			add(swap, &batch, TMEM_REQUEST_GET, block, in_1,
			    piece->pages[i]);
	}
	if (!err)
		err = run(swap, &batch);
	for (uint32_t i = 0; i < batch.count && !err; i++)
		err = take_got(swap, batch.blocks[i], place_in(&batch, i),
			       &batch.requests[i]);
	return err;
}

static int swap_read(struct tm_disk *disk, struct tm_piece *piece)
{
	struct tm_swap *swap = tm_swap_of(disk);
	struct tm_range range;
	int err;

	tm_range_acquire_shared(&disk->ranges, &range, piece->first,
				piece->first + piece->count);
	touch(swap, piece->first, piece->count);
	err = read_locked(swap, piece);
	tm_range_release(&disk->ranges, &range);
	return err;
}

/* --- put ------------------------------------------------------------------ */

/* What the client has counted of its refused puts; the connected cannot be told
 * the reason of each. */
struct refusals {
	uint64_t all;
	uint64_t frozen;
};

static struct refusals count_refusals(struct tm_swap *swap)
{
	struct tmem_counts counts = { .struct_size = sizeof(counts) };

	if (tmem_client_get_counts(swap->disk.client, &counts))
		return (struct refusals){ 0 };
	atomic_store(&swap->refused_seen, counts.puts_refused);
	atomic_store(&swap->frozen_seen, counts.refused_frozen);
	return (struct refusals){
		.all = counts.puts_refused,
		.frozen = counts.refused_frozen,
	};
}

static bool is_refusal(int result)
{
	return result == TMEM_PUT_REFUSED || result == -ENOSPC ||
	       result == -EDQUOT || result == -ENOMEM;
}

/* How long puts wait for a client to thaw; one for all puts of a piece. */
struct patience {
	struct refusals before; /* as they were seen last */
	uint64_t deadline_ns; /* 0: nothing has waited yet */
};

static struct patience new_patience(struct tm_swap *swap)
{
	return (struct patience){
		.before = { .all = atomic_load(&swap->refused_seen),
			    .frozen = atomic_load(&swap->frozen_seen) },
	};
}

/*
 * Was it the client being frozen that refused a put with this result? @before:
 * of a time before the put; set to what is now.
 *
 * A daemon that was started anew counts from 0. Where there are no more
 * refusals than before, this one's reason is not known: put it again.
 */
static bool is_frozen_refusal(struct tm_swap *swap, int result,
			      struct refusals *before)
{
	const struct refusals was = *before;

	if (swap->disk.is_embedded || result != TMEM_PUT_REFUSED)
		return result == -EBUSY;
	*before = count_refusals(swap);
	return before->frozen != was.frozen || before->all <= was.all;
}

/*
 * A put, as far as it depends on the client being frozen. @result: of a first
 * attempt.
 *
 * Return: enum tmem_put_result, or a negative errno; -ETIMEDOUT when it stays
 * frozen, or the daemon stays away. Nothing is in that place unless it is
 * stored, or perhaps when the daemon stays away.
 */
static int put_on(struct tm_swap *swap, uint64_t block, int place,
		  const void *page, struct patience *patience, int result)
{
	const struct timespec pause = { .tv_nsec = FROZEN_POLL_NS };
	/* Each block's own: the first to look sees the refusals of them all. */
	struct refusals before = patience->before;

	while (is_frozen_refusal(swap, result, &before)) {
		uint64_t now_ns = tm_clock_system_now_ns(NULL);

		if (!patience->deadline_ns)
			patience->deadline_ns =
				now_ns + swap->disk.pause_ms * NS_PER_MS;
		if (now_ns >= patience->deadline_ns)
			return -ETIMEDOUT;
		nanosleep(&pause, NULL);
		result = put_place(swap, block, place, page);
	}
	if (is_refusal(result))
		return TMEM_PUT_REFUSED;
	/* It may have been stored, and a discard must flush it then. */
	if (result == -ETIMEDOUT)
		tm_bits_set(swap->maybe[place], block);
	return result > 0 ? TMEM_PUT_STORED : result;
}

static int put_once(struct tm_swap *swap, uint64_t block, int place,
		    const void *page)
{
	struct patience patience = new_patience(swap);

	return put_on(swap, block, place, page, &patience,
		      put_place(swap, block, place, page));
}

/* --- write ---------------------------------------------------------------- */

static int punch(struct tm_swap *swap, uint64_t first, uint64_t end)
{
	return swap->has_backing ? tm_backing_punch(&swap->backing, first, end)
				 : 0;
}

static int other_place(int place)
{
	return place == 0 ? 1 : 0;
}

/* It is in its new place: the file's copy goes. The old place is the
 * caller's business. */
static int settle_stored(struct tm_swap *swap, uint64_t block, int place)
{
	tm_bits_set(swap->maybe[place], block);
	tm_bits_clear(swap->lost, block);
	return punch(swap, block, block + 1);
}

/* Nothing of the block is to be shown until it is written or discarded. */
static void lose(struct tm_swap *swap, uint64_t block, int old)
{
	uint64_t page[TM_BLOCK_SIZE / sizeof(uint64_t)];
	int place = other_place(old);

	for (size_t i = 0; i < TM_BLOCK_SIZE / sizeof(uint64_t); i++)
		page[i] = swap->label.lost_word;
	if (put_once(swap, block, place, page) == TMEM_PUT_STORED) {
		settle_stored(swap, block, place);
		if (old >= 0)
			tm_swap_drop(swap, block, old);
		return;
	}
	tm_bits_set(swap->lost, block);
	punch(swap, block, block + 1);
	if (old < 0)
		return;
	/* What that frees may be what the mark needs. The bit stays: two words
	 * for it do no harm. */
	tm_swap_drop(swap, block, old);
	if (put_once(swap, block, place, page) == TMEM_PUT_STORED)
		tm_bits_set(swap->maybe[place], block);
}

/*
 * tmem refused it, and still has the old data if it had them. The file takes
 * it; else nothing of the block may be shown, unless there was nothing.
 */
static int settle_refused(struct tm_swap *swap, uint64_t block, int old,
			  const void *page)
{
	bool was_there = tm_bits_test(swap->lost, block);
	uint8_t scratch[TM_BLOCK_SIZE];
	int err = -ENOSPC;

	tm_disk_count(&swap->disk.blocks_refused, 1);
	if (swap->has_backing) {
		was_there |= tm_backing_has(&swap->backing, block);
		err = tm_backing_write(&swap->backing, block, page);
		if (!err) {
			tm_bits_clear(swap->lost, block);
			return old < 0 ? 0 : tm_swap_drop(swap, block, old);
		}
	}
	if (was_there || tm_swap_find(swap, block, scratch) != -ENOENT)
		lose(swap, block, old);
	else if (punch(swap, block, block + 1))
		/* The write may have begun before it failed. */
		tm_bits_set(swap->lost, block);
	return tm_disk_error(err);
}

/* The parts of blocks that the request does not cover. */
static int fill_parts(struct tm_swap *swap, struct tm_piece *piece)
{
	int err = 0;

	for (uint32_t i = 0; i < piece->part_count && !err; i++) {
		const struct tm_part *part = &piece->parts[i];

		if (part->is_all)
			memset(part->page, 0, TM_BLOCK_SIZE);
		else
			err = read_block(swap, piece->first + part->block,
					 part->page);
		memcpy(part->page + part->from_bytes, part->buffer,
		       part->bytes);
	}
	return err;
}

/* What came of the puts; *drops: what is to be flushed for it. */
static int settle(struct tm_swap *swap, struct batch *puts,
		  const int old[TM_PIECE_BLOCKS], struct patience *patience,
		  struct batch *drops)
{
	int first_err = 0;

	for (uint32_t i = 0; i < puts->count; i++) {
		const struct tmem_request *request = &puts->requests[i];
		uint64_t block = puts->blocks[i];
		int place = place_in(puts, i);
		int err = put_on(swap, block, place, request->page, patience,
				 request->result);

		if (err == TMEM_PUT_STORED) {
			err = settle_stored(swap, block, place);
			if (old[i] >= 0)
				add(swap, drops, TMEM_REQUEST_FLUSH_PAGE, block,
				    old[i], NULL);
		} else if (err == TMEM_PUT_REFUSED) {
			err = settle_refused(swap, block, old[i],
					     request->page);
		}
		/* What ends the request, at once, goes first. */
		if (err && (!first_err || err == -ETIMEDOUT))
			first_err = err;
	}
	return first_err;
}

static int write_locked(struct tm_swap *swap, struct tm_piece *piece)
{
	struct patience patience = new_patience(swap);
	struct batch puts, drops;
	int old[TM_PIECE_BLOCKS];
	int err = fill_parts(swap, piece);
	int drop_err;

	if (err)
		return err;
	puts.count = 0;
	drops.count = 0;
	for (uint32_t i = 0; i < piece->count; i++) {
		uint64_t block = piece->first + i;

		old[i] = locate(swap, block);
		/* One that was damaged is lost now; this write mends it. */
		if (old[i] == -EIO)
			old[i] = locate(swap, block);
		if (old[i] < 0 && old[i] != -ENOENT)
			return old[i];
		add(swap, &puts, TMEM_REQUEST_PUT, block, other_place(old[i]),
		    piece->pages[i]);
	}
	err = run(swap, &puts);
	if (err)
		return err;
	err = settle(swap, &puts, old, &patience, &drops);
	drop_err = run_drops(swap, &drops);
	return err ? err : drop_err;
}

static int swap_write(struct tm_disk *disk, struct tm_piece *piece)
{
	struct tm_swap *swap = tm_swap_of(disk);
	struct tm_range range;
	int err;

	tm_range_acquire(&disk->ranges, &range, piece->first,
			 piece->first + piece->count);
	touch(swap, piece->first, piece->count);
	err = write_locked(swap, piece);
	tm_range_release(&disk->ranges, &range);
	return err;
}

/* --- discard -------------------------------------------------------------- */

/* Both objects of it, at once. */
static int drop_object(struct tm_swap *swap, uint64_t first, uint64_t end)
{
	int err = 0;

	for (int place = 1; place >= 0 && !err; place--) {
		struct tmem_oid oid = tm_swap_oid(first, place);

		if (tm_bits_next_set(swap->maybe[place], first, end) == end)
			continue;
		err = flush_result(
			tmem_flush_object(swap->disk.client, swap->pool, &oid));
		if (!err)
			tm_bits_clear_range(swap->maybe[place], first, end);
	}
	return err;
}

static uint64_t next_maybe(const struct tm_swap *swap, uint64_t from,
			   uint64_t end)
{
	end = tm_bits_next_set(swap->maybe[0], from, end);
	return tm_bits_next_set(swap->maybe[1], from, end);
}

static int drop_blocks(struct tm_swap *swap, uint64_t first, uint64_t end)
{
	struct batch drops;
	int err = 0;

	drops.count = 0;
	for (uint64_t b = next_maybe(swap, first, end); b < end && !err;
	     b = next_maybe(swap, b + 1, end)) {
		for (int place = 1; place >= 0; place--)
			if (may_be_in(swap, b, place))
				add(swap, &drops, TMEM_REQUEST_FLUSH_PAGE, b,
				    place, NULL);
		if (drops.count > 2 * TM_PIECE_BLOCKS - 2)
			err = run_drops(swap, &drops);
	}
	return err ? err : run_drops(swap, &drops);
}

static int discard_locked(struct tm_swap *swap, uint64_t first, uint64_t end)
{
	bool is_object =
		!tm_swap_index(first) && (end == swap->disk.blocks ||
					  end - first == TM_SWAP_OBJECT_BLOCKS);
	int err = punch(swap, first, end);

	if (!err)
		err = is_object ? drop_object(swap, first, end)
				: drop_blocks(swap, first, end);
	if (err)
		return err;
	tm_bits_clear_range(swap->lost, first, end);
	tm_disk_count(&swap->disk.blocks_discarded, end - first);
	return 0;
}

static int swap_discard(struct tm_disk *disk, uint64_t first, uint64_t end)
{
	int err = 0;

	while (first < end && !err) {
		uint64_t next = (first | (TM_SWAP_OBJECT_BLOCKS - 1)) + 1;
		struct tm_range range;

		if (next > end)
			next = end;
		tm_range_acquire(&disk->ranges, &range, first, next);
		err = discard_locked(tm_swap_of(disk), first, next);
		tm_range_release(&disk->ranges, &range);
		first = next;
	}
	return err;
}

/* --- extents, information ------------------------------------------------- */

static int ask_whether_data(struct tm_swap *swap, uint64_t block)
{
	uint8_t page[TM_BLOCK_SIZE];
	struct tm_range range;
	int place;

	tm_range_acquire_shared(&swap->disk.ranges, &range, block, block + 1);
	place = tm_swap_find(swap, block, page);
	tm_range_release(&swap->disk.ranges, &range);
	return place == -ENOENT ? 0 : place < 0 && place != -EIO ? place : 1;
}

/* 1, 0, or an error. *@gets: how many more times tmem may be asked; -EAGAIN
 * when there are none left. */
static int is_data(struct tm_swap *swap, uint64_t block, uint32_t *gets)
{
	bool in_0 = may_be_in(swap, block, 0);
	bool in_1 = may_be_in(swap, block, 1);

	if ((swap->has_backing && tm_backing_has(&swap->backing, block)) ||
	    tm_bits_test(swap->lost, block))
		return 1;
	if (in_0 != in_1)
		return 1;
	if (!in_0)
		return 0;
	if (!*gets)
		return -EAGAIN;
	--*gets;
	return ask_whether_data(swap, block);
}

static int swap_extent(struct tm_disk *disk, uint64_t offset, uint64_t *end)
{
	struct tm_swap *swap = tm_swap_of(disk);
	uint64_t block = offset / TM_BLOCK_SIZE;
	uint64_t last = block + EXTENT_BLOCKS_MAX;
	uint32_t gets = EXTENT_GETS_MAX;
	int result = is_data(swap, block, &gets);

	if (result < 0)
		return result;
	do
		block++;
	while (block < disk->blocks && block < last &&
	       is_data(swap, block, &gets) == result);
	*end = block < disk->blocks ? block * TM_BLOCK_SIZE : disk->size_bytes;
	return result;
}

static int swap_flush(struct tm_disk *disk)
{
	struct tm_swap *swap = tm_swap_of(disk);

	return swap->has_backing ? tm_backing_sync(&swap->backing) : 0;
}

static void swap_get_info(struct tm_disk *disk, struct tm_disk_info *info)
{
	struct tm_swap *swap = tm_swap_of(disk);
	struct tmem_pool_info pool = { .struct_size = sizeof(pool) };

	/* All but the label. */
	if (!tmem_pool_get_info(disk->client, swap->pool, &pool) && pool.pages)
		info->blocks_in_tmem = pool.pages - 1;
	if (swap->has_backing)
		info->blocks_in_file = atomic_load(&swap->backing.count);
	info->was_filled =
		!info->blocks_discarded &&
		(info->blocks_in_tmem + info->blocks_in_file) * 100 >=
			disk->blocks * FILLED_PCT;
}

/* --- opening -------------------------------------------------------------- */

static void free_swap(struct tm_swap *swap)
{
	free(swap->maybe[0]);
	free(swap->maybe[1]);
	free(swap->lost);
	free(swap->touched);
	free(swap);
}

static void swap_close(struct tm_disk *disk)
{
	struct tm_swap *swap = tm_swap_of(disk);

	if (swap->has_backing)
		tm_backing_close(&swap->backing);
	free_swap(swap);
}

static const struct tm_disk_ops swap_ops = {
	.read = swap_read,
	.write = swap_write,
	.discard = swap_discard,
	.flush = swap_flush,
	.extent = swap_extent,
	.demote = tm_swap_demote,
	.get_info = swap_get_info,
	.close = swap_close,
};

static struct tm_swap *new_swap(const struct tm_disk_config *config)
{
	struct tm_swap *swap = calloc(1, sizeof(*swap));

	if (!swap)
		return NULL;
	tm_disk_init(&swap->disk, config, &swap_ops, config->size_bytes);
	swap->maybe[0] = tm_bits_new(swap->disk.blocks);
	swap->maybe[1] = tm_bits_new(swap->disk.blocks);
	swap->lost = tm_bits_new(swap->disk.blocks);
	swap->touched = tm_bits_new(swap->disk.blocks);
	if (swap->maybe[0] && swap->maybe[1] && swap->lost && swap->touched)
		return swap;
	free_swap(swap);
	return NULL;
}

static int open_backing(struct tm_swap *swap, const char *path)
{
	bool had_one = swap->label.flags & TM_LABEL_BACKING;
	int err;

	if (!path && had_one) {
		tm_disk_log(&swap->disk, TMEM_LOG_ERROR,
			    "disk: it has a backing file, and blocks may be in "
			    "it; name it, or destroy the disk's client to "
			    "begin anew");
		return -EINVAL;
	}
	if (!path)
		return 0;
	err = tm_backing_open(&swap->backing, &swap->disk, &swap->label, path,
			      !had_one);
	if (err)
		return err;
	swap->has_backing = true;
	if (had_one)
		return 0;
	swap->label.flags |= TM_LABEL_BACKING;
	return tm_label_update(&swap->disk, swap->pool, &swap->label);
}

static int check_config(const struct tm_disk_config *config)
{
	const char *why = NULL;

	if (!config->size_bytes || config->size_bytes % SECTOR_BYTES)
		why = "its size is not a multiple of 512";
	else if (config->size_bytes > TM_DISK_SWAP_MAX_BYTES)
		why = "a swap disk has 16 TiB at most";
	else if (config->image || config->share)
		why = "a swap disk has no image";
	if (why && config->log) {
		char text[64];

		snprintf(text, sizeof(text), "disk: %s", why);
		config->log(config->log_opaque, TMEM_LOG_ERROR, text);
	}
	return why ? -EINVAL : 0;
}

int tm_swap_open(const struct tm_disk_config *config, struct tm_disk **disk)
{
	int err = check_config(config);
	struct tm_swap *swap;
	bool is_new;

	if (err)
		return err;
	swap = new_swap(config);
	if (!swap)
		return -ENOMEM;
	swap->pool = tm_label_find(&swap->disk, &swap->label, &is_new);
	if (swap->pool < 0) {
		err = swap->pool;
		free_swap(swap);
		return err;
	}
	err = open_backing(swap, config->backing);
	if (err) {
		/* A file that is open is of this disk, so it is as new. */
		if (is_new && swap->has_backing)
			unlink(config->backing);
		if (is_new)
			tmem_pool_destroy(config->client, swap->pool);
		swap_close(&swap->disk);
		return err;
	}
	if (!is_new)
		for (int place = 0; place < 2; place++)
			tm_bits_set_range(swap->maybe[place], 0,
					  swap->disk.blocks);
	count_refusals(swap);
	*disk = &swap->disk;
	return 0;
}
