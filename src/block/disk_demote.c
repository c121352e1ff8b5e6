/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Demotion: a swap disk's coldest pages go to its backing file.
 *
 * Which are the coldest? A guest swaps out what it does not use and reads it
 * back once, so the order of access is all there is to go by, and keeping that
 * order exactly would cost memory for each block and a lock for each request.
 * The idea is CLOCK: a request sets its blocks' bits, a hand goes round; a
 * block whose bit is set is passed over and its bit cleared, one whose bit is
 * clear has not been touched for a whole round and goes.
 *
 * The bound: one call goes round twice at most, so it ends even where requests
 * set bits as fast as it clears them. Several calls at once share the hand.
 * The hand takes 64 blocks at a time; what a call leaves of them when it has
 * had enough waits for the next round.
 */
#include <config.h>

#include <errno.h>

#include "disk_swap.h"

/* 1: it went; 0: it is not there, or must stay. */
static int demote_block(struct tm_swap *swap, uint64_t block)
{
	uint8_t page[TM_BLOCK_SIZE];
	struct tm_range range;
	int place, err = 0, result = 0;

	tm_range_acquire(&swap->disk.ranges, &range, block, block + 1);
	place = tm_swap_find(swap, block, page);
	/* A lost block has nothing that a file could keep. */
	if (place >= 0 && !tm_swap_is_lost_page(swap, page)) {
		err = tm_backing_write(&swap->backing, block, page);
		if (err)
			/* tmem has it still, whatever is in the file. */
			tm_backing_punch(&swap->backing, block, block + 1);
		else
			err = tm_swap_drop(swap, block, place);
		result = !err;
	} else if (place < 0 && place != -ENOENT) {
		err = place;
	}
	tm_range_release(&swap->disk.ranges, &range);
	if (result)
		tm_disk_count(&swap->disk.blocks_demoted, 1);
	return err ? err : result;
}

/* Of the 64 blocks of a word: how many went, *@left at most. */
static int demote_word(struct tm_swap *swap, uint64_t word, uint64_t *left)
{
	uint64_t blocks = tm_bits_load(swap->maybe[0], word) |
			  tm_bits_load(swap->maybe[1], word);

	for (; blocks && *left; blocks &= blocks - 1) {
		uint64_t block = word * TM_BITMAP_WORD_BITS +
				 (uint64_t)__builtin_ctzll(blocks);
		int result;

		if (block >= swap->disk.blocks)
			break;
		if (tm_bits_clear(swap->touched, block))
			continue;
		result = demote_block(swap, block);
		if (result < 0)
			return result;
		*left -= (uint64_t)result;
	}
	return 0;
}

int64_t tm_swap_demote(struct tm_disk *disk, uint64_t blocks)
{
	struct tm_swap *swap = tm_swap_of(disk);
	uint64_t words = tm_bitmap_words(disk->blocks);
	uint64_t left = blocks;
	int err = 0;

	if (!swap->has_backing)
		return -EOPNOTSUPP;
	for (uint64_t i = 0; i < 2 * words && left && !err; i++)
		err = demote_word(
			swap, atomic_fetch_add(&swap->hand, 1) % words, &left);
	if (err && left == blocks)
		return err;
	return (int64_t)(blocks - left);
}
