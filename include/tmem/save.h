/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A client as a stream of bytes: saved, restored, migrated while it lives.
 *
 * What is saved is what its guest cannot do without: its pools with their ids,
 * and every page of the persistent ones; and its limits. Ephemeral pages are
 * not: the pools come back empty. The stream names no codec and no allocator
 * (doc/save-format.md), so that it may go into any store.
 *
 * A client that is saved is frozen meanwhile: pages can only go. What went after
 * it was sent is said in the same stream, which so ends with what was there at
 * its end. A plain save goes on to the end by itself; a live one waits, while the
 * guest runs and flushes, until tmem_save_finish() says that it does not any
 * more. Afterwards either the client is handed over (it is the other side's
 * now, and is destroyed here), or it goes on as it was before. Who freezes it
 * meanwhile has it frozen afterwards; the stream says what it was before.
 *
 * Neither side holds more than a block of 256 KiB.
 *
 * Since: 0.1
 */
#ifndef TMEM_SAVE_H
#define TMEM_SAVE_H

#include <sys/types.h>

#include <tmem/tmem.h>

#ifdef __cplusplus
extern "C" {
#endif

struct tmem_save;
struct tmem_restore;

/* ------------------------------------------------------------------------
 * Out of a store
 */

/* The client's guest runs on: the end waits for tmem_save_finish(). */
#define TMEM_SAVE_LIVE (UINT32_C(1) << 0)

/**
 * tmem_save_open() - begin to save a client
 * @client: of a store in this process; must not be detached or destroyed before
 *	tmem_save_close()
 * @flags: TMEM_SAVE_*
 * @save: set on success
 *
 * Freezes the client. When it returns no put is under way any more.
 *
 * Return: 0, -EBUSY (it is being saved already), -EINVAL, -EOPNOTSUPP (of a
 * daemon's store), -ENOMEM; on error the client is as it was.
 */
int tmem_save_open(struct tmem_client *client, uint32_t flags,
		   struct tmem_save **save);

/**
 * tmem_save_read() - the next bytes of the stream
 * @save: used by one thread at a time, tmem_save_finish() apart
 * @buffer: receives them
 * @size: bytes at @buffer
 *
 * Return: how many, at most @size; 0: that was the end, or
 * -EAGAIN: of a live save, everything there is to say has been said; more comes
 *	when the guest flushes, or after tmem_save_finish().
 * -ENOMEM: the list of pages that went did not fit the store's memory. The
 *	stream is of no use.
 */
ssize_t tmem_save_read(struct tmem_save *save, void *buffer, size_t size);

/**
 * tmem_save_finish() - the guest does not run any more: come to the end
 * @save: a live one; from any thread
 */
void tmem_save_finish(struct tmem_save *save);

/**
 * tmem_save_idle() - make a sign of life
 * @save: tmem_save_read() answered -EAGAIN
 *
 * The next tmem_save_read() brings some bytes that say nothing, so that whoever
 * sends them learns whether the other side is still there.
 */
void tmem_save_idle(struct tmem_save *save);

/**
 * struct tmem_save_progress - how far it is
 * @pages: sent
 * @pages_expected: when it began; some may go before they are sent
 * @gone: pages that were said to have gone
 * @lost: damaged pages, which were dropped
 * @bytes: of the stream
 * @is_copied: what was there has been sent
 * @is_ended: and so has the end
 */
struct tmem_save_progress {
	size_t struct_size;
	uint64_t pages;
	uint64_t pages_expected;
	uint64_t gone;
	uint64_t lost;
	uint64_t bytes;
	bool is_copied;
	bool is_ended;
};

/**
 * tmem_save_get_progress() - how far is it?
 * @save: from any thread
 * @progress: struct_size set by the caller
 *
 * Return: 0, -EINVAL.
 */
int tmem_save_get_progress(struct tmem_save *save,
			   struct tmem_save_progress *progress);

/**
 * tmem_save_hand_over() - the other side has it
 * @save: all of it has been read
 *
 * Whether the client may be ended here: a page that went since the stream's end
 * is still there on the other side, which is then worth nothing. It means that
 * the guest was not stopped.
 *
 * Return: 0: tmem_save_close() leaves the client frozen, and the caller destroys
 * it. -EBUSY: pages have gone. -EINVAL: the end was not read.
 */
int tmem_save_hand_over(struct tmem_save *save);

/**
 * tmem_save_close() - end it
 * @save: NULL is allowed
 *
 * The client is as frozen as tmem_client_set_frozen() had it, before or meanwhile,
 * unless it was handed over.
 */
void tmem_save_close(struct tmem_save *save);

/* ------------------------------------------------------------------------
 * Into a store
 */

/**
 * struct tmem_restore_config - where to
 * @struct_size: set by tmem_restore_config_init()
 * @store: where to
 * @name: of the new client; NULL: as it was called. Copied.
 * @prepare: called with the client when it is made, before it has pools, for
 *	what a stream does not bring (which shared pools it may join, what codec
 *	it uses, its trust domain, by tmem_client_set(); the other limits are the
 *	stream's in the end); NULL: nothing. Answers 0 or a negative errno, which
 *	ends it.
 * @opaque: passed to @prepare
 */
struct tmem_restore_config {
	size_t struct_size;
	struct tmem_store *store;
	const char *name;
	int (*prepare)(void *opaque, struct tmem_client *client);
	void *opaque;
};

void tmem_restore_config_init(struct tmem_restore_config *config);

/**
 * tmem_restore_open() - begin to restore a client
 * @config: read during the call only
 * @restore: set on success
 *
 * Return: 0, -EINVAL, -ENOMEM.
 */
int tmem_restore_open(const struct tmem_restore_config *config,
		      struct tmem_restore **restore);

/**
 * tmem_restore_write() - the next bytes of the stream
 * @restore: used by one thread at a time
 * @bytes: trusted to be nothing
 * @size: any number
 *
 * Return: 0, or an error, which is final (tmem_restore_error() says it in a
 * sentence): -EBADMSG (damaged, or no stream), -EPROTONOSUPPORT (of another
 * version), -EEXIST (there is a client of that name), -ENOSPC (the store has no
 * room for its pages or its reservation), or as tmem_client_attach() and
 * tmem_pool_create_at().
 */
int tmem_restore_write(struct tmem_restore *restore, const void *bytes,
		       size_t size);

/**
 * tmem_restore_commit() - that was all: have the client
 * @restore: the stream has been written
 * @client: set on success; attached, and the caller's
 *
 * Until here the client is not whole: should this process die, a reopening of
 * the arena ends it.
 *
 * Return: 0, or as tmem_restore_write(), -EBADMSG also when the end is missing.
 */
int tmem_restore_commit(struct tmem_restore *restore,
			struct tmem_client **client);

/* One sentence about the last error; "" without one. Lives as long as
 * @restore. */
const char *tmem_restore_error(const struct tmem_restore *restore);

/**
 * struct tmem_restore_progress - how far it is
 * @name: of the client; "" until the stream has said it
 * @pages: restored
 * @pages_expected: as the stream said
 * @gone: taken back
 * @lost: pages that were damaged where the stream was made, known at its end
 */
struct tmem_restore_progress {
	size_t struct_size;
	uint64_t pages;
	uint64_t pages_expected;
	uint64_t gone;
	uint64_t lost;
	char name[TMEM_CLIENT_NAME_MAX + 1];
};

/* 0, -EINVAL. */
int tmem_restore_get_progress(const struct tmem_restore *restore,
			      struct tmem_restore_progress *progress);

/**
 * tmem_restore_close() - end it
 * @restore: NULL is allowed
 *
 * Unless it was committed, nothing is left in the store.
 */
void tmem_restore_close(struct tmem_restore *restore);

#ifdef __cplusplus
}
#endif
#endif
