/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Guest memory: the one place where a guest's own bytes are touched.
 *
 * The problem: a guest, or the process that lent us its memory, can write to a
 * page while it is read, take a page out of the map while it is copied, and cut
 * the file under a mapping, which ends in SIGBUS whatever seals say. None of
 * this may reach a codec, a lock that is held, or another guest.
 *
 * The idea: bytes are copied in or out, once, and nothing else is ever done
 * with them. The map is a sorted table that never changes; whoever adds or
 * removes frames makes a new one, and waits until no copy uses the old (see
 * epoch.h). A copy says first, in a word of its thread, which addresses it is
 * about to touch; the signal handler, if the program asked for one, sees
 * whether the fault was there, and jumps back. A map that faulted once is
 * broken for good: whose memory comes and goes is no guest to go on with.
 *
 * The jump is from a synchronous signal out of memcpy(), which holds nothing.
 *
 * Two exceptions to the rule against file-scope state: what handlers there were
 * before (a property of the process), and the word that says where a thread is
 * copying.
 *
 * Locks: memory.lock for changing the map; copies take none.
 */
#include <config.h>

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#include "epoch.h"
#include "guest_memory.h"
#include "lock.h"

struct region {
	uint64_t first;		/* frame */
	uint64_t pages;
	char *address;
	bool is_writable;
};

/* Never changed once it is published. */
struct table {
	size_t count;
	struct region regions[];	/* by frame, apart from each other */
};

struct tmem_guest_memory {
	_Atomic(struct table *) table;
	_Atomic bool is_broken;
	struct tm_lock lock;
	struct tm_epoch epoch;
};

uint64_t tm_guest_memory_align_bytes(const struct stat *st)
{
	uint64_t align = (uint64_t)st->st_blksize;

	if (align < TMEM_PAGE_SIZE || align > TM_GUEST_MEMORY_ALIGN_MAX_BYTES ||
	    (align & (align - 1)))
		return TMEM_PAGE_SIZE;
	return align;
}

/* --- copying -------------------------------------------------------------- */

struct guard {
	sigjmp_buf env;
	uintptr_t begin;
	uintptr_t end;
};

/* Initial-exec: the handler must not be the first to touch it. */
static _Thread_local struct guard *volatile current_guard
	__attribute__((tls_model("initial-exec")));

static struct sigaction previous_bus;
static struct sigaction previous_segv;

/* Two aligned bytes, such as an index of a ring, are one access: memcpy() may
 * read or write them one by one, and show what never was. */
static void copy_bytes(void *to, const void *from, size_t size)
{
	if (size == 2 && (((uintptr_t)to | (uintptr_t)from) & 1) == 0)
		__atomic_store_n((uint16_t *)to,
				 __atomic_load_n((const uint16_t *)from,
						 __ATOMIC_RELAXED),
				 __ATOMIC_RELAXED);
	else
		memcpy(to, from, size);
}

/* False: a fault on the guest's side, whose address is @guest. */
__attribute__((noinline)) static bool guarded_copy(void *to, const void *from,
						   size_t size,
						   const void *guest)
{
	struct guard guard;

	guard.begin = (uintptr_t)guest;
	guard.end = (uintptr_t)guest + size;
	if (sigsetjmp(guard.env, 0)) {
		current_guard = NULL;
		return false;
	}
	current_guard = &guard;
	atomic_signal_fence(memory_order_seq_cst);
	copy_bytes(to, from, size);
	atomic_signal_fence(memory_order_seq_cst);
	current_guard = NULL;
	return true;
}

/* Somebody else's fault: as it would have gone without us. */
static void pass_on(int signal, siginfo_t *info, void *context)
{
	const struct sigaction *previous =
		signal == SIGBUS ? &previous_bus : &previous_segv;

	if (previous->sa_flags & SA_SIGINFO) {
		previous->sa_sigaction(signal, info, context);
		return;
	}
	if (previous->sa_handler == SIG_DFL || previous->sa_handler == SIG_IGN)
		/* On return it faults again, and ends the process. */
		sigaction(signal, &(struct sigaction){ .sa_handler = SIG_DFL },
			  NULL);
	else
		previous->sa_handler(signal);
}

static void on_fault(int signal, siginfo_t *info, void *context)
{
	struct guard *guard = current_guard;
	uintptr_t at = (uintptr_t)info->si_addr;

	/* Sent by kill(), it has no address worth looking at. */
	if (guard && info->si_code > 0 && at >= guard->begin &&
	    at < guard->end) {
		const ucontext_t *faulted = context;

		/* The jump does not restore the mask; what handlers are called
		 * with may be more than what ours asks for. */
		pthread_sigmask(SIG_SETMASK, &faulted->uc_sigmask, NULL);
		siglongjmp(guard->env, 1);
	}
	pass_on(signal, info, context);
}

static pthread_once_t install_once = PTHREAD_ONCE_INIT;
static int install_error;

static void install(void)
{
	struct sigaction action = {
		.sa_sigaction = on_fault,
		.sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK,
	};

	sigemptyset(&action.sa_mask);
	if (sigaction(SIGBUS, &action, &previous_bus) ||
	    sigaction(SIGSEGV, &action, &previous_segv))
		install_error = -errno;
}

int tmem_guest_memory_catch_faults(void)
{
	pthread_once(&install_once, install);
	return install_error;
}

static const struct region *find(const struct table *table, uint64_t frame)
{
	size_t low = 0, high = table->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct region *region = &table->regions[middle];

		if (frame < region->first)
			high = middle;
		else if (frame - region->first >= region->pages)
			low = middle + 1;
		else
			return region;
	}
	return NULL;
}

/* Where @address is; and how many bytes of @size lie there in one piece. */
static char *locate(const struct table *table, uint64_t address,
		    bool for_writing, size_t *size)
{
	const struct region *region = find(table, address / TMEM_PAGE_SIZE);
	uint64_t offset, left;

	if (!region || (for_writing && !region->is_writable))
		return NULL;
	offset = address - region->first * TMEM_PAGE_SIZE;
	left = region->pages * TMEM_PAGE_SIZE - offset;
	if (left < *size)
		*size = (size_t)left;
	return region->address + offset;
}

static int copy(struct tmem_guest_memory *memory, uint64_t address,
		void *private, size_t size, bool for_writing)
{
	unsigned set;
	int err = 0;

	if (size && address + size - 1 < address)
		return -EFAULT;
	set = tm_epoch_enter(&memory->epoch);
	if (atomic_load_explicit(&memory->is_broken, memory_order_relaxed))
		err = -EFAULT;
	while (size && !err) {
		size_t piece = size;
		char *guest = locate(atomic_load(&memory->table), address,
				     for_writing, &piece);

		if (!guest) {
			err = -EFAULT;
		} else if (!guarded_copy(for_writing ? guest : private,
					 for_writing ? private : guest, piece,
					 guest)) {
			atomic_store(&memory->is_broken, true);
			err = -EFAULT;
		}
		address += piece;
		private = (char *)private + piece;
		size -= piece;
	}
	tm_epoch_leave(&memory->epoch, set);
	return err;
}

int tmem_guest_memory_read(struct tmem_guest_memory *memory, uint64_t address,
			   void *to, size_t size)
{
	return copy(memory, address, to, size, false);
}

int tmem_guest_memory_write(struct tmem_guest_memory *memory, uint64_t address,
			    const void *from, size_t size)
{
	return copy(memory, address, (void *)(uintptr_t)from, size, true);
}

static bool is_frame(uint64_t frame)
{
	return frame <= UINT64_MAX / TMEM_PAGE_SIZE;
}

int tm_guest_memory_read_page(struct tmem_guest_memory *memory, uint64_t frame,
			      void *to)
{
	if (!is_frame(frame))
		return -EFAULT;
	return copy(memory, frame * TMEM_PAGE_SIZE, to, TMEM_PAGE_SIZE, false);
}

int tm_guest_memory_write_page(struct tmem_guest_memory *memory,
			       uint64_t frame, const void *from)
{
	if (!is_frame(frame))
		return -EFAULT;
	return tmem_guest_memory_write(memory, frame * TMEM_PAGE_SIZE, from,
				       TMEM_PAGE_SIZE);
}

int tm_guest_memory_probe(struct tmem_guest_memory *memory, uint64_t frame,
			  bool for_writing)
{
	const struct region *region;
	unsigned set;
	bool is_there;

	set = tm_epoch_enter(&memory->epoch);
	region = find(atomic_load(&memory->table), frame);
	is_there = region && (region->is_writable || !for_writing) &&
		   !memory->is_broken;
	tm_epoch_leave(&memory->epoch, set);
	return is_there ? 0 : -EFAULT;
}

int tmem_guest_memory_is_broken(const struct tmem_guest_memory *memory)
{
	return atomic_load(&memory->is_broken);
}

/* --- the map -------------------------------------------------------------- */

static struct table *new_table(size_t count)
{
	struct table *table = calloc(1, sizeof(*table) +
						count * sizeof(struct region));

	return table;
}

int tmem_guest_memory_create(struct tmem_guest_memory **out)
{
	/* Its counters want cache lines of their own. */
	struct tmem_guest_memory *memory =
		aligned_alloc(_Alignof(struct tmem_guest_memory),
			      sizeof(*memory));
	struct table *table = new_table(0);

	if (!memory || !table) {
		free(memory);
		free(table);
		return -ENOMEM;
	}
	memset(memory, 0, sizeof(*memory));
	atomic_init(&memory->table, table);
	tm_lock_init(&memory->lock, TM_RANK_GUEST_MEMORY);
	tm_epoch_init(&memory->epoch);
	*out = memory;
	return 0;
}

void tmem_guest_memory_destroy(struct tmem_guest_memory *memory)
{
	if (!memory)
		return;
	tm_lock_destroy(&memory->lock);
	free(memory->table);
	free(memory);
}

static bool is_range(uint64_t first, uint64_t pages)
{
	return pages && is_frame(first) &&
	       pages - 1 <= UINT64_MAX / TMEM_PAGE_SIZE - first;
}

/* Copies use it from now on, and the old one no more. */
static void publish(struct tmem_guest_memory *memory, struct table *table)
	TM_REQUIRES(memory->lock)
{
	struct table *old = atomic_exchange(&memory->table, table);

	tm_epoch_wait(&memory->epoch);
	free(old);
}

static int add(struct tmem_guest_memory *memory, const struct region *region)
	TM_REQUIRES(memory->lock)
{
	const struct table *old = memory->table;
	struct table *table;
	size_t at = 0;

	while (at < old->count && old->regions[at].first < region->first)
		at++;
	if (at && old->regions[at - 1].first + old->regions[at - 1].pages >
			  region->first)
		return -EEXIST;
	if (at < old->count &&
	    region->first + region->pages > old->regions[at].first)
		return -EEXIST;
	table = new_table(old->count + 1);
	if (!table)
		return -ENOMEM;
	table->count = old->count + 1;
	memcpy(table->regions, old->regions, at * sizeof(*region));
	table->regions[at] = *region;
	memcpy(&table->regions[at + 1], &old->regions[at],
	       (old->count - at) * sizeof(*region));
	publish(memory, table);
	return 0;
}

int tmem_guest_memory_add(struct tmem_guest_memory *memory, uint64_t first,
			  uint64_t pages, void *address, bool writable)
{
	struct region region = { first, pages, address, writable };
	int err;

	if (!is_range(first, pages) || !address ||
	    pages > SIZE_MAX / TMEM_PAGE_SIZE ||
	    (uintptr_t)address + (pages * TMEM_PAGE_SIZE - 1) <
		    (uintptr_t)address)
		return -EINVAL;
	tm_lock_acquire(&memory->lock);
	err = add(memory, &region);
	tm_lock_release(&memory->lock);
	return err;
}

/* What is left of @region before and after the frames from @first to @end. */
static size_t cut(const struct region *region, uint64_t first, uint64_t end,
		  struct region *left)
{
	uint64_t region_end = region->first + region->pages;
	size_t count = 0;

	if (end <= region->first || first >= region_end) {
		left[0] = *region;
		return 1;
	}
	if (first > region->first) {
		left[count] = *region;
		left[count++].pages = first - region->first;
	}
	if (end < region_end) {
		left[count] = *region;
		left[count].first = end;
		left[count].pages = region_end - end;
		left[count++].address +=
			(end - region->first) * TMEM_PAGE_SIZE;
	}
	return count;
}

int tmem_guest_memory_remove(struct tmem_guest_memory *memory, uint64_t first,
			     uint64_t pages)
{
	struct table *table;

	if (!is_range(first, pages))
		return -EINVAL;
	tm_lock_acquire(&memory->lock);
	/* At most one region falls in two. */
	table = new_table(memory->table->count + 1);
	for (size_t i = 0; table && i < memory->table->count; i++)
		table->count += cut(&memory->table->regions[i], first,
				    first + pages,
				    &table->regions[table->count]);
	if (table)
		publish(memory, table);
	tm_lock_release(&memory->lock);
	return table ? 0 : -ENOMEM;
}
