/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An example allocator: pieces of 256, 512, 1024, 2048 or 4096 bytes.
 *
 * A frame is cut into equal pieces of one of five classes, so that everything
 * an allocator must do can be seen in a few hundred lines; it wastes a quarter
 * of the memory, so use it to learn from and not to store with.
 *
 * It shows:
 *
 *  - a handle that says everything by itself: the frame, the class, which
 *    piece, which kind. address() is arithmetic, and adopt() can rebuild all
 *    the state there is from handles alone.
 *  - bookkeeping that is volatile and beside the frames, from the host's
 *    memory, a slab of entries at a time.
 *  - runs of their own for ephemeral objects: each list is there twice.
 *  - victims(): a sparse frame is taken off its list first, so that what is
 *    moved from it does not come back to it.
 *  - adopt() that believes nothing.
 *
 * One lock for everything: simple. tmem's own allocators have one per heap.
 */
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#include <tmem/allocator.h>

#define CLASSES 5u
#define KINDS 2u
#define PIECES_MAX 16u
#define SLAB_FRAMES 512u
#define NOBODY UINT64_MAX
/* victims() compares so many frames to find a sparse one. */
#define LOOK_MAX 64u

/* What is known of a frame. */
struct entry {
	uint32_t owners[PIECES_MAX];
	uint64_t next, prev;	/* frames on the same list, a ring */
	uint16_t used;		/* bit i: piece i is allocated */
	uint8_t class;
	uint8_t kind;
	bool is_held;
	bool is_listed;
};

/* Of one class and kind. */
struct shelf {
	uint64_t list;		/* first frame with a free piece, or NOBODY */
	uint64_t draining;	/* frame that is being emptied, or NOBODY */
	uint64_t free;		/* pieces in listed frames */
};

struct pow2 {
	const struct tmem_host *host;
	const struct tmem_frames *frames;
	size_t slab_count;
	pthread_mutex_t lock;
	/* Guarded by lock. */
	struct entry **slabs;
	size_t slabs_made;
	struct shelf shelves[KINDS][CLASSES];
	unsigned cursor;	/* shelf where victims() goes on */
	uint64_t frames_held;
	uint64_t objects;
	uint64_t bytes;		/* of allocated pieces */
};

/* --- handles: piece 4 | class 3 | kind 1 | frame 32 << 8 | mark, bit 55 -- */

struct place {
	uint64_t frame;
	unsigned class;
	unsigned kind;
	unsigned piece;
};

#define MARK (UINT64_C(1) << 55)

static uint64_t handle_make(const struct place *at)
{
	return MARK | at->frame << 8 | at->kind << 7 | at->class << 4 |
	       at->piece;
}

static struct place handle_read(uint64_t handle)
{
	return (struct place){
		.piece = handle & 15,
		.class = handle >> 4 & 7,
		.kind = handle >> 7 & 1,
		.frame = handle >> 8 & UINT32_MAX,
	};
}

static uint32_t piece_bytes(unsigned class)
{
	return 256u << class;
}

static unsigned pieces(unsigned class)
{
	return TMEM_FRAME_SIZE / piece_bytes(class);
}

static unsigned class_of(uint32_t size)
{
	unsigned class = 0;

	while (piece_bytes(class) < size)
		class++;
	return class;
}

/* --- entries and lists (with the lock) ----------------------------------- */

static struct entry *entry_at(const struct pow2 *p, uint64_t frame)
{
	return &p->slabs[frame / SLAB_FRAMES][frame % SLAB_FRAMES];
}

/* NULL: never used, or out of range. */
static struct entry *entry_find(const struct pow2 *p, uint64_t frame)
{
	if (frame >= p->frames->frame_count || !p->slabs[frame / SLAB_FRAMES])
		return NULL;
	return entry_at(p, frame);
}

static struct entry *entry_make(struct pow2 *p, uint64_t frame)
{
	struct entry **slab = &p->slabs[frame / SLAB_FRAMES];

	if (!*slab) {
		*slab = p->host->alloc(p->host->opaque,
				       SLAB_FRAMES * sizeof(**slab), 64);
		p->slabs_made += *slab != NULL;
	}
	return *slab ? entry_at(p, frame) : NULL;
}

static struct shelf *shelf_of(struct pow2 *p, const struct entry *entry)
{
	return &p->shelves[entry->kind][entry->class];
}

static unsigned free_pieces(const struct entry *entry)
{
	return pieces(entry->class) -
	       (unsigned)__builtin_popcount(entry->used);
}

/* At the end of the ring. */
static void list_add(struct pow2 *p, uint64_t frame)
{
	struct entry *entry = entry_at(p, frame);
	struct shelf *shelf = shelf_of(p, entry);

	entry->is_listed = true;
	shelf->free += free_pieces(entry);
	entry->next = entry->prev = frame;
	if (shelf->list == NOBODY) {
		shelf->list = frame;
		return;
	}
	entry->next = shelf->list;
	entry->prev = entry_at(p, shelf->list)->prev;
	entry_at(p, entry->prev)->next = frame;
	entry_at(p, entry->next)->prev = frame;
}

static void list_remove(struct pow2 *p, uint64_t frame)
{
	struct entry *entry = entry_at(p, frame);
	struct shelf *shelf = shelf_of(p, entry);

	entry->is_listed = false;
	shelf->free -= free_pieces(entry);
	entry_at(p, entry->prev)->next = entry->next;
	entry_at(p, entry->next)->prev = entry->prev;
	if (shelf->list == frame)
		shelf->list = entry->next == frame ? NOBODY : entry->next;
}

/* A piece is taken or given back: @used is the frame's new map. */
static void set_used(struct pow2 *p, uint64_t frame, unsigned used)
{
	struct entry *entry = entry_at(p, frame);
	struct shelf *shelf = shelf_of(p, entry);
	bool is_more = used > entry->used;

	if (entry->is_listed)
		list_remove(p, frame);
	entry->used = (uint16_t)used;
	if (free_pieces(entry) && shelf->draining != frame)
		list_add(p, frame);
	p->objects += is_more ? 1 : -UINT64_C(1);
	p->bytes += is_more ? piece_bytes(entry->class) :
			      -(uint64_t)piece_bytes(entry->class);
}

static void frame_enter(struct pow2 *p, const struct place *at)
{
	struct entry *entry = entry_at(p, at->frame);

	memset(entry, 0, sizeof(*entry));
	entry->class = (uint8_t)at->class;
	entry->kind = (uint8_t)at->kind;
	entry->is_held = true;
	p->frames_held++;
	list_add(p, at->frame);
}

static void frame_leave(struct pow2 *p, uint64_t frame)
{
	struct entry *entry = entry_at(p, frame);
	struct shelf *shelf = shelf_of(p, entry);

	if (entry->is_listed)
		list_remove(p, frame);
	if (shelf->draining == frame)
		shelf->draining = NOBODY;
	entry->is_held = false;
	p->frames_held--;
	p->frames->put(p->frames->opaque, frame, 1);
}

static void undrain(struct pow2 *p, struct shelf *shelf)
{
	uint64_t frame = shelf->draining;

	shelf->draining = NOBODY;
	if (frame != NOBODY)
		list_add(p, frame);
}

/* --- the functions of the table ------------------------------------------ */

static void pow2_destroy(void *instance)
{
	struct pow2 *p = instance;
	const struct tmem_host *host = p->host;

	for (uint64_t f = 0; f < p->frames->frame_count; f++) {
		if (!p->slabs[f / SLAB_FRAMES])
			f |= SLAB_FRAMES - 1;
		else if (entry_at(p, f)->is_held)
			p->frames->put(p->frames->opaque, f, 1);
	}
	for (size_t i = 0; i < p->slab_count; i++)
		if (p->slabs[i])
			host->free(host->opaque, p->slabs[i],
				   SLAB_FRAMES * sizeof(struct entry));
	host->free(host->opaque, p->slabs, p->slab_count * sizeof(*p->slabs));
	pthread_mutex_destroy(&p->lock);
	host->free(host->opaque, p, sizeof(*p));
}

static int pow2_create(const struct tmem_host *host,
		       const struct tmem_frames *frames,
		       const int64_t *options, void **instance)
{
	struct pow2 *p = host->alloc(host->opaque, sizeof(*p), 64);

	(void)options;
	if (!p)
		return -ENOMEM;
	p->host = host;
	p->frames = frames;
	p->slab_count = (size_t)(frames->frame_count / SLAB_FRAMES + 1);
	p->slabs = host->alloc(host->opaque, p->slab_count * sizeof(*p->slabs),
			       sizeof(*p->slabs));
	if (!p->slabs) {
		host->free(host->opaque, p, sizeof(*p));
		return -ENOMEM;
	}
	pthread_mutex_init(&p->lock, NULL);
	for (unsigned kind = 0; kind < KINDS; kind++)
		for (unsigned class = 0; class < CLASSES; class++)
			p->shelves[kind][class] = (struct shelf){
				.list = NOBODY,
				.draining = NOBODY,
			};
	*instance = p;
	return 0;
}

static uint32_t pow2_max_size(const void *instance)
{
	(void)instance;
	return TMEM_FRAME_SIZE;
}

/* A frame with a free piece, on the list; NOBODY: none is to be had. */
static uint64_t find_frame(struct pow2 *p, const struct place *want,
			   uint32_t flags)
{
	struct shelf *shelf = &p->shelves[want->kind][want->class];
	struct place at = *want;
	int64_t frame;

	if (shelf->list == NOBODY && !(flags & TMEM_ALLOC_MOVE))
		undrain(p, shelf);
	if (shelf->list != NOBODY || flags & TMEM_ALLOC_MOVE)
		return shelf->list;
	frame = p->frames->get(p->frames->opaque, 1, 0);
	if (frame < 0)
		return NOBODY;
	at.frame = (uint64_t)frame;
	if (!entry_make(p, at.frame)) {
		p->frames->put(p->frames->opaque, at.frame, 1);
		return NOBODY;
	}
	frame_enter(p, &at);
	return at.frame;
}

static uint64_t pow2_alloc(void *instance, uint32_t size, uint32_t owner,
			   uint32_t flags)
{
	struct pow2 *p = instance;
	struct place at = { .kind = flags & TMEM_ALLOC_EPHEMERAL ? 1 : 0 };
	uint64_t handle = 0;

	if (!size || size > TMEM_FRAME_SIZE)
		return 0;
	at.class = class_of(size);
	pthread_mutex_lock(&p->lock);
	at.frame = find_frame(p, &at, flags);
	if (at.frame != NOBODY) {
		struct entry *entry = entry_at(p, at.frame);

		at.piece = (unsigned)__builtin_ctz(~(unsigned)entry->used);
		entry->owners[at.piece] = owner;
		set_used(p, at.frame, entry->used | 1u << at.piece);
		handle = handle_make(&at);
	}
	pthread_mutex_unlock(&p->lock);
	return handle;
}

static uint32_t pow2_free(void *instance, uint64_t handle, uint32_t flags)
{
	struct pow2 *p = instance;
	struct place at = handle_read(handle);
	struct shelf *shelf = &p->shelves[at.kind][at.class];
	uint32_t moves = 0;
	struct entry *entry;

	(void)flags;
	pthread_mutex_lock(&p->lock);
	entry = entry_at(p, at.frame);
	set_used(p, at.frame, entry->used & ~(1u << at.piece));
	if (!entry->used)
		frame_leave(p, at.frame);
	else if (shelf->free > 4 * pieces(at.class))
		moves = pieces(at.class) - free_pieces(entry);
	pthread_mutex_unlock(&p->lock);
	return moves;
}

static void *pow2_address(const void *instance, uint64_t handle)
{
	const struct pow2 *p = instance;
	struct place at = handle_read(handle);

	return p->frames->base + at.frame * TMEM_FRAME_SIZE +
	       at.piece * piece_bytes(at.class);
}

static void pow2_set_owner(void *instance, uint64_t handle, uint32_t owner)
{
	struct pow2 *p = instance;
	struct place at = handle_read(handle);

	pthread_mutex_lock(&p->lock);
	entry_at(p, at.frame)->owners[at.piece] = owner;
	pthread_mutex_unlock(&p->lock);
}

/* The objects of a frame, but that in piece @but. */
static uint32_t list_objects(const struct pow2 *p, uint64_t frame, unsigned but,
			     struct tmem_victim *out, uint32_t max)
{
	const struct entry *entry = entry_at(p, frame);
	uint32_t count = 0;

	for (unsigned i = 0; i < PIECES_MAX && count < max; i++) {
		struct place at = { frame, entry->class, entry->kind, i };

		if (i == but || !(entry->used >> i & 1))
			continue;
		out[count++] = (struct tmem_victim){
			.handle = handle_make(&at),
			.owner = entry->owners[i],
		};
	}
	return count;
}

/* The first frame of a list that is half empty, or else the sparsest that was
 * looked at, off the list; NOBODY: the others have no room for what is in it.
 * Whoever was not emptied goes to the end: everybody's turn comes. */
static uint64_t drain(struct pow2 *p, struct shelf *shelf)
{
	uint64_t frame = shelf->list;
	uint64_t best = frame;

	if (frame == NOBODY)
		return NOBODY;
	for (unsigned i = 0; i < LOOK_MAX; i++) {
		if (free_pieces(entry_at(p, frame)) >
		    free_pieces(entry_at(p, best)))
			best = frame;
		frame = entry_at(p, frame)->next;
		if (frame == shelf->list ||
		    free_pieces(entry_at(p, best)) * 2 >=
			    pieces(entry_at(p, best)->class))
			break;
	}
	/* All its pieces, used and free, must be free elsewhere. */
	if (shelf->free < pieces(entry_at(p, best)->class))
		return NOBODY;
	list_remove(p, best);
	shelf->draining = best;
	return best;
}

static uint32_t pow2_victims(void *instance, uint64_t near,
			     struct tmem_victim *out, uint32_t max)
{
	struct pow2 *p = instance;
	struct place at = handle_read(near);
	uint32_t count = 0;

	pthread_mutex_lock(&p->lock);
	if (near) {
		const struct entry *entry = entry_find(p, at.frame);

		if (entry && entry->is_held && entry->kind == at.kind &&
		    entry->class == at.class)
			count = list_objects(p, at.frame, at.piece, out, max);
		goto out_unlock;
	}
	for (unsigned i = 0; i < KINDS * CLASSES && max && !count; i++) {
		unsigned n = (p->cursor + i) % (KINDS * CLASSES);
		struct shelf *shelf = &p->shelves[n / CLASSES][n % CLASSES];
		uint64_t frame;

		/* What could not be moved since the last time goes back. */
		undrain(p, shelf);
		frame = drain(p, shelf);
		if (frame == NOBODY)
			continue;
		count = list_objects(p, frame, PIECES_MAX, out, max);
		p->cursor = n + 1;
	}
out_unlock:
	pthread_mutex_unlock(&p->lock);
	return count;
}

/* Whether alloc() could have made this handle for @size bytes. */
static bool is_ours(const struct pow2 *p, uint64_t handle, uint32_t size)
{
	struct place at = handle_read(handle);

	return size && size <= TMEM_FRAME_SIZE && at.class == class_of(size) &&
	       at.piece < pieces(at.class) &&
	       at.frame < p->frames->frame_count && handle == handle_make(&at);
}

static int adopt_locked(struct pow2 *p, const struct place *at, uint32_t owner)
{
	struct entry *entry = entry_make(p, at->frame);
	int err;

	if (!entry)
		return -ENOMEM;
	if (entry->is_held) {
		if (entry->class != at->class || entry->kind != at->kind ||
		    entry->used >> at->piece & 1)
			return -EBADMSG;
	} else {
		err = p->frames->claim(p->frames->opaque, at->frame, 1);
		if (err)
			return err;
		frame_enter(p, at);
	}
	entry->owners[at->piece] = owner;
	set_used(p, at->frame, entry->used | 1u << at->piece);
	return 0;
}

static int pow2_adopt(void *instance, uint64_t handle, uint32_t size,
		      uint32_t owner)
{
	struct pow2 *p = instance;
	struct place at = handle_read(handle);
	int err;

	if (!is_ours(p, handle, size))
		return -EBADMSG;
	pthread_mutex_lock(&p->lock);
	err = adopt_locked(p, &at, owner);
	pthread_mutex_unlock(&p->lock);
	return err;
}

static void pow2_stats(void *instance, struct tmem_allocator_stats *stats)
{
	struct pow2 *p = instance;
	struct tmem_allocator_stats all = {
		.struct_size = stats->struct_size,
	};
	size_t size = stats->struct_size;

	pthread_mutex_lock(&p->lock);
	all.frames = all.runs = p->frames_held;
	all.objects = p->objects;
	all.object_bytes = all.slot_bytes = p->bytes;
	all.metadata_bytes = sizeof(*p) + p->slab_count * sizeof(*p->slabs) +
			     p->slabs_made * SLAB_FRAMES * sizeof(struct entry);
	for (unsigned kind = 0; kind < KINDS; kind++)
		for (unsigned class = 0; class < CLASSES; class++)
			all.reclaimable_frames +=
				p->shelves[kind][class].free / pieces(class);
	pthread_mutex_unlock(&p->lock);
	/* Only as much as the caller knows. */
	memcpy(stats, &all, size < sizeof(all) ? size : sizeof(all));
}

static const struct tmem_allocator pow2 = {
	.abi_version = TMEM_PLUGIN_ABI_VERSION,
	.struct_size = sizeof(struct tmem_allocator),
	.name = "pow2",
	.description = "powers of two within a frame: an example",
	.format = 1,
	.create = pow2_create,
	.destroy = pow2_destroy,
	.max_size = pow2_max_size,
	.alloc = pow2_alloc,
	.free = pow2_free,
	.address = pow2_address,
	.set_owner = pow2_set_owner,
	.victims = pow2_victims,
	.adopt = pow2_adopt,
	.stats = pow2_stats,
};

tmem_allocator_entry_fn tmem_allocator_entry;

const struct tmem_allocator *
tmem_allocator_entry(const struct tmem_host *host)
{
	(void)host;
	return &pow2;
}
