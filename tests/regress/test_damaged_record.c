/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A record that is damaged while the store is open costs its page, no more.
 *
 * A get believed the descriptor: a flipped bit in its place led to an allocator
 * that does not exist, or freed somebody else's room, which is an assertion.
 * Whatever ended a page believed whose it was: a flipped bit in its object led
 * out of the arena, one in its index to a neighbour, while the page itself was
 * freed again and again.
 */
#include <config.h>

#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <tmem/tmem.h>

#include "layout.h"

#define PAGES 64

static const struct tmem_oid oid = { { 1, 2, 3 } };

static void fill(uint8_t *page, uint32_t n)
{
	for (uint32_t i = 0; i < TMEM_PAGE_SIZE; i++)
		page[i] = (uint8_t)(i % 7 < 4 ? i / 40 + n : n * i >> 6);
}

struct rig {
	char path[64];
	struct tmem_store_config config;
	struct tmem_store *store;
	struct tmem_client *client;
	int pool;
	uint8_t *arena;
	size_t size;
};

static void rig_open_with(struct rig *rig, uint64_t flags)
{
	struct tmem_store_config config;
	struct tmem_client_config client;
	uint8_t page[TMEM_PAGE_SIZE];
	int fd;

	snprintf(rig->path, sizeof(rig->path), "/dev/shm/tmem-test-%ld-damaged",
		 (long)getpid());
	unlink(rig->path);
	tmem_store_config_init(&config);
	config.memory_bytes = UINT64_C(4) << 20;
	config.memory_max_bytes = config.memory_bytes;
	config.arena = rig->path;
	config.flags = TMEM_STORE_NO_LOCK | TMEM_STORE_NO_THREADS | flags;
	config.allocator = "zsmalloc";
	rig->config = config;
	ck_assert_int_eq(tmem_store_open(&config, &rig->store), 0);
	tmem_client_config_init(&client);
	client.name = "a";
	ck_assert_int_eq(tmem_client_attach(rig->store, &client, &rig->client),
			 0);
	rig->pool = tmem_pool_create(rig->client, TMEM_POOL_PERSISTENT, NULL);
	for (uint32_t i = 0; i < PAGES; i++) {
		fill(page, i);
		ck_assert_int_eq(tmem_put(rig->client, rig->pool, &oid, i, page,
					  0),
				 TMEM_PUT_STORED);
	}
	fd = open(rig->path, O_RDWR);
	ck_assert_int_ge(fd, 0);
	rig->size = (size_t)lseek(fd, 0, SEEK_END);
	rig->arena = mmap(NULL, rig->size, PROT_READ | PROT_WRITE, MAP_SHARED,
			  fd, 0);
	ck_assert(rig->arena != MAP_FAILED);
	close(fd);
}

static void rig_open(struct rig *rig)
{
	rig_open_with(rig, 0);
}

static void rig_close(struct rig *rig)
{
	munmap(rig->arena, rig->size);
	tmem_client_detach(rig->client);
	tmem_store_close(rig->store);
	unlink(rig->path);
}

/* The record of page @index, as the store wrote it. */
static struct tm_descriptor *find(struct rig *rig, uint32_t index)
{
	struct tm_superblock *super = (struct tm_superblock *)rig->arena;
	struct tm_descriptor *d =
		(struct tm_descriptor *)(rig->arena +
					 super->descriptors.offset_bytes);

	for (uint32_t i = 1; i < (uint32_t)super->descriptors_high; i++)
		if (d[i].state && d[i].index == index)
			return &d[i];
	ck_abort_msg("page %u has no record", index);
	return NULL;
}

static void expect_damage(struct rig *rig, uint32_t index)
{
	uint8_t page[TMEM_PAGE_SIZE];
	int result = tmem_get(rig->client, rig->pool, &oid, index, page, 0);

	ck_assert_msg(result == -EBADMSG, "page %u: %d", index, result);
	ck_assert_int_eq(tmem_get(rig->client, rig->pool, &oid, index, page, 0),
			 TMEM_GET_MISS);
}

static void expect_others(struct rig *rig, uint32_t damaged)
{
	uint8_t page[TMEM_PAGE_SIZE], got[TMEM_PAGE_SIZE];

	for (uint32_t i = damaged; i < PAGES; i++) {
		fill(page, i);
		ck_assert_int_eq(tmem_get(rig->client, rig->pool, &oid, i, got,
					  0),
				 TMEM_GET_HIT);
		ck_assert_mem_eq(got, page, TMEM_PAGE_SIZE);
	}
}

static void put(struct rig *rig, uint32_t index, uint32_t what)
{
	uint8_t page[TMEM_PAGE_SIZE];

	fill(page, what);
	ck_assert_int_eq(tmem_put(rig->client, rig->pool, &oid, index, page, 0),
			 TMEM_PUT_STORED);
}

static int get(struct rig *rig, uint32_t index, uint32_t what)
{
	uint8_t page[TMEM_PAGE_SIZE], got[TMEM_PAGE_SIZE];
	int result = tmem_get(rig->client, rig->pool, &oid, index, got, 0);

	fill(page, what);
	if (result == TMEM_GET_HIT)
		ck_assert_mem_eq(got, page, TMEM_PAGE_SIZE);
	return result;
}

START_TEST(a_flipped_place_costs_its_page)
{
	struct rig rig;

	rig_open(&rig);
	for (uint32_t bit = 0; bit < 64; bit++) {
		if (bit == PAGES - 1)
			break;
		find(&rig, bit)->place ^= UINT64_C(1) << bit;
		expect_damage(&rig, bit);
		expect_others(&rig, bit + 1);
	}
	rig_close(&rig);
}
END_TEST

/* Eviction asks the allocator that a place names for what lies beside it. */
START_TEST(a_flipped_place_does_not_lead_eviction_astray)
{
	const struct tmem_oid ephemeral = { { 4, 5, 6 } };
	uint8_t page[TMEM_PAGE_SIZE];
	struct rig rig;
	int pool;

	rig_open(&rig);
	pool = tmem_pool_create(rig.client, 0, NULL);
	for (uint32_t bit = 0; bit < 64; bit++) {
		for (uint32_t i = PAGES; i < PAGES + 8; i++) {
			fill(page, i);
			ck_assert_int_eq(tmem_put(rig.client, pool, &ephemeral,
						  i, page, 0),
					 TMEM_PUT_STORED);
		}
		/* The oldest goes first. */
		find(&rig, PAGES)->place ^= UINT64_C(1) << bit;
		ck_assert_int_gt(tmem_store_evict(rig.store, INT64_MAX), 0);
		ck_assert_int_eq(tmem_get(rig.client, pool, &ephemeral, PAGES,
					  page, 0),
				 TMEM_GET_MISS);
		expect_others(&rig, 0);
	}
	rig_close(&rig);
}
END_TEST

START_TEST(a_flipped_state_costs_its_page)
{
	struct rig rig;

	rig_open(&rig);
	for (uint32_t bit = 0; bit < 64; bit++) {
		if (bit == PAGES - 1)
			break;
		find(&rig, bit)->state ^= UINT64_C(1) << bit;
		expect_damage(&rig, bit);
		expect_others(&rig, bit + 1);
	}
	rig_close(&rig);
}
END_TEST

/* Readers are counted in the record. That one is there who is not costs room
 * until the store is reopened; that the page is on its way out, nothing. */
START_TEST(a_flipped_pin_costs_nothing)
{
	struct rig rig;

	rig_open(&rig);
	for (uint32_t bit = 0; bit < 32; bit++) {
		find(&rig, bit)->pins ^= UINT32_C(1) << bit;
		expect_others(&rig, bit);
	}
	rig_close(&rig);
}
END_TEST

struct tm_context;
void __real_tm_page_unpin(struct tm_context *context, uint32_t number,
			  uint64_t state);
void __wrap_tm_page_unpin(struct tm_context *context, uint32_t number,
			  uint64_t state);

/* What is doomed while it is read. */
static struct tm_descriptor *doomed;

void __wrap_tm_page_unpin(struct tm_context *context, uint32_t number,
			  uint64_t state)
{
	if (doomed)
		doomed->pins ^= TM_PIN_DOOMED;
	doomed = NULL;
	__real_tm_page_unpin(context, number, state);
}

START_TEST(a_flipped_doom_frees_no_page)
{
	struct rig rig;

	rig_open(&rig);
	find(&rig, 0)->pins ^= TM_PIN_DOOMED;
	ck_assert_int_eq(get(&rig, 0, 0), TMEM_GET_HIT);
	put(&rig, 1000, 1000);
	ck_assert_int_eq(get(&rig, 0, 0), TMEM_GET_HIT);
	ck_assert_int_eq(get(&rig, 1000, 1000), TMEM_GET_HIT);
	ck_assert_int_eq(tmem_store_check(rig.store), 0);
	doomed = find(&rig, 1);
	ck_assert_int_eq(get(&rig, 1, 1), TMEM_GET_HIT);
	ck_assert_ptr_null(doomed);
	put(&rig, 1001, 1001);
	ck_assert_int_eq(get(&rig, 1, 1), TMEM_GET_HIT);
	ck_assert_int_eq(get(&rig, 1001, 1001), TMEM_GET_HIT);
	ck_assert_int_eq(tmem_store_check(rig.store), 0);
	/* Nor does it keep one whose time has come. */
	find(&rig, 0)->pins ^= TM_PIN_DOOMED;
	ck_assert_int_eq(tmem_flush_page(rig.client, rig.pool, &oid, 0), 1);
	ck_assert_int_eq(tmem_store_check(rig.store), 0);
	expect_others(&rig, 1);
	rig_close(&rig);
}
END_TEST

/* --- shared pages ----------------------------------------------------------- */

/* Groups of equal pages, each a link to one content. */
#define GROUPS 8u
#define LINKS 3u

static uint32_t link_index(uint32_t group, uint32_t link)
{
	return 10000 + group * LINKS + link;
}

static void put_groups(struct rig *rig, uint32_t first)
{
	for (uint32_t group = first; group < first + GROUPS; group++)
		for (uint32_t link = 0; link < LINKS; link++)
			put(rig, link_index(group, link), 1000 + group);
}

static int get_link(struct rig *rig, uint32_t group, uint32_t link)
{
	return get(rig, link_index(group, link), 1000 + group);
}

static void flush_link(struct rig *rig, uint32_t group, uint32_t link)
{
	ck_assert_int_eq(tmem_flush_page(rig->client, rig->pool, &oid,
					 link_index(group, link)),
			 1);
}

static struct tm_descriptor *content_of(struct rig *rig, uint32_t group)
{
	struct tm_superblock *super = (struct tm_superblock *)rig->arena;
	struct tm_descriptor *d =
		(struct tm_descriptor *)(rig->arena +
					 super->descriptors.offset_bytes);
	uint64_t state = find(rig, link_index(group, 0))->state;

	ck_assert_int_eq(tm_state_kind(state), TM_KIND_LINK);
	d += tm_state_content(state);
	ck_assert_int_eq(tm_state_kind(d->state), TM_KIND_CONTENT);
	return d;
}

enum shared_field { LINK_STATE, CONTENT_OBJECT, CONTENT_INDEX, CONTENT_CHECK };

static void flip_shared(struct rig *rig, enum shared_field field, uint32_t bit)
{
	struct tm_descriptor *d = content_of(rig, 0);

	switch (field) {
	case LINK_STATE:
		find(rig, link_index(0, 0))->state ^= UINT64_C(1) << bit;
		break;
	case CONTENT_OBJECT:
		d->object ^= UINT32_C(1) << bit;
		break;
	case CONTENT_INDEX:
		d->index ^= UINT32_C(1) << bit;
		break;
	case CONTENT_CHECK:
		d->check ^= UINT32_C(1) << bit;
		break;
	}
}

/* Then most links go, others come, and each of the rest has its bytes. */
static void go_on_sharing(struct rig *rig, enum shared_field field)
{
	ck_assert_int_eq(get_link(rig, 0, 0),
			 field == LINK_STATE ? -EBADMSG : TMEM_GET_HIT);
	for (uint32_t group = 0; group < GROUPS; group++) {
		if (group || field != LINK_STATE)
			flush_link(rig, group, 0);
		flush_link(rig, group, 1);
	}
	put_groups(rig, GROUPS);
	for (uint32_t group = 0; group < GROUPS; group++) {
		ck_assert_int_eq(get_link(rig, group, LINKS - 1), TMEM_GET_HIT);
		flush_link(rig, group, LINKS - 1);
	}
	put_groups(rig, 2 * GROUPS);
	for (uint32_t group = GROUPS; group < 3 * GROUPS; group++)
		for (uint32_t link = 0; link < LINKS; link++)
			ck_assert_int_eq(get_link(rig, group, link),
					 TMEM_GET_HIT);
	if (field == CONTENT_CHECK)
		ck_assert_int_eq(tmem_store_check(rig->store), 0);
}

START_TEST(a_flipped_bit_is_not_shared)
{
	enum shared_field field = (enum shared_field)_i;

	for (uint32_t bit = 0; bit < (field == LINK_STATE ? 64 : 32); bit++) {
		struct rig rig;

		rig_open_with(&rig,
			      TMEM_STORE_DEDUP | TMEM_STORE_DEDUP_PERSISTENT);
		put_groups(&rig, 0);
		flip_shared(&rig, field, bit);
		go_on_sharing(&rig, field);
		expect_others(&rig, 0);
		rig_close(&rig);
	}
}
END_TEST

/* --- records that are free -------------------------------------------------- */

#define FEW 150u

/* Pages that have all their records to themselves. */
static struct tmem_oid own_oid(uint32_t n)
{
	return (struct tmem_oid){ { 1, n, 3 } };
}

static void put_own_page(struct rig *rig, uint32_t n)
{
	struct tmem_oid own = own_oid(n);
	uint8_t page[TMEM_PAGE_SIZE];

	fill(page, n);
	ck_assert_int_eq(tmem_put(rig->client, rig->pool, &own, 0, page, 0),
			 TMEM_PUT_STORED);
}

static void put_own(struct rig *rig, uint32_t first)
{
	for (uint32_t n = first; n < first + FEW; n++)
		put_own_page(rig, n);
}

static void flush_own(struct rig *rig, uint32_t first)
{
	for (uint32_t n = first; n < first + FEW; n++) {
		struct tmem_oid own = own_oid(n);

		ck_assert_int_eq(tmem_flush_page(rig->client, rig->pool, &own,
						 0),
				 1);
	}
}

static void expect_own(struct rig *rig, uint32_t first)
{
	uint8_t page[TMEM_PAGE_SIZE], got[TMEM_PAGE_SIZE];

	for (uint32_t n = first; n < first + FEW; n++) {
		struct tmem_oid own = own_oid(n);

		fill(page, n);
		ck_assert_int_eq(tmem_get(rig->client, rig->pool, &own, 0, got,
					  0),
				 TMEM_GET_HIT);
		ck_assert_mem_eq(got, page, TMEM_PAGE_SIZE);
	}
}

static void flip_word(uint8_t *record, uint32_t bit)
{
	record[bit / 8] ^= (uint8_t)(1u << bit % 8);
}

/* In each free record of the pages' and objects' tables; but not that it is
 * free. */
static void flip_free(struct rig *rig, uint32_t bit)
{
	struct tm_superblock *super = (struct tm_superblock *)rig->arena;
	struct tm_descriptor *d =
		(struct tm_descriptor *)(rig->arena +
					 super->descriptors.offset_bytes);
	struct tm_object_record *o =
		(struct tm_object_record *)(rig->arena +
					    super->objects.offset_bytes);

	for (uint32_t i = 1; i < (uint32_t)super->descriptors_high; i++)
		if (!d[i].state && bit >= 64)
			flip_word((uint8_t *)&d[i], bit);
	for (uint32_t i = 1; i < (uint32_t)super->objects_high; i++)
		if (!o[i].state && bit < 224)
			flip_word((uint8_t *)&o[i], bit);
}

START_TEST(a_flipped_free_record_leads_to_no_live_one)
{
	/* Eight at a time, each in another store. */
	for (uint32_t bit = 8 * (uint32_t)_i; bit < 8 * (uint32_t)_i + 8;
	     bit++) {
		struct rig rig;

		rig_open(&rig);
		put_own(&rig, 1000);
		put_own(&rig, 2000);
		flush_own(&rig, 1000);
		flip_free(&rig, bit);
		put_own(&rig, 3000);
		expect_own(&rig, 2000);
		expect_own(&rig, 3000);
		expect_others(&rig, 0);
		ck_assert_int_eq(tmem_store_check(rig.store), 0);
		/* What comes free from now on is used again. */
		flush_own(&rig, 2000);
		put_own(&rig, 4000);
		expect_own(&rig, 3000);
		expect_own(&rig, 4000);
		rig_close(&rig);
	}
}
END_TEST

/* --- whose page it is ------------------------------------------------------- */

enum end {
	END_GET,
	END_FLUSH_PAGE,
	END_PUT,
	END_FLUSH_OBJECT,
	END_POOL,
	END_EVICTION,
	END_COMPACTION,
	END_WALK,
	ENDS
};

/* A store, and a bit of page VICTIM's record that has flipped. */
#define VICTIM 5u
#define MANY 20u
struct flip {
	struct rig rig;
	uint32_t pages;
	uint32_t flags;
	enum end end;
};

static uint64_t pages_of(struct rig *rig)
{
	struct tmem_counts counts = { .struct_size = sizeof(counts) };

	ck_assert_int_eq(tmem_client_get_counts(rig->client, &counts), 0);
	return counts.pages;
}

static void settle(struct rig *rig)
{
	for (int i = 0; i < 10000; i++)
		if (!tmem_store_step(rig->store))
			return;
	ck_abort_msg("background work does not end");
}

static uint32_t first_of(const struct flip *flip)
{
	return flip->pages == 1 ? VICTIM : 0;
}

static void put_all(struct flip *flip)
{
	for (uint32_t i = 0; i < flip->pages; i++)
		put(&flip->rig, first_of(flip) + i, first_of(flip) + i);
}

/* All but the victim. */
static void expect_rest(struct flip *flip, uint32_t step)
{
	for (uint32_t i = 0; i < flip->pages; i += step)
		if (first_of(flip) + i != VICTIM)
			ck_assert_int_eq(get(&flip->rig, i, i), TMEM_GET_HIT);
}

static void walk(struct flip *flip)
{
	uint8_t page[TMEM_PAGE_SIZE];
	struct tmem_handle handle;
	uint64_t position = 0;
	uint32_t met = 0;
	int result;

	while ((result = tmem_client_walk(flip->rig.client, flip->rig.pool,
					  &position, &handle, page)))
		met += result == 1;
	ck_assert_uint_eq(met, flip->pages - 1);
}

static void compact(struct flip *flip)
{
	for (uint32_t i = 0; i < flip->pages; i++)
		if (i % 8 && i != VICTIM)
			tmem_flush_page(flip->rig.client, flip->rig.pool, &oid,
					i);
	settle(&flip->rig);
	expect_rest(flip, 8);
}

/* What becomes of the victim, and of the others meanwhile. */
static void meet(struct flip *flip)
{
	struct rig *rig = &flip->rig;
	int result;

	switch (flip->end) {
	case END_GET:
		result = get(rig, VICTIM, VICTIM);
		/* It is found by its index in the tree; but the only page of a
		 * slice by what it says. */
		ck_assert(result == -EBADMSG || result == TMEM_GET_HIT ||
			  (result == TMEM_GET_MISS && flip->pages == 1));
		break;
	case END_FLUSH_PAGE:
		result = tmem_flush_page(rig->client, rig->pool, &oid, VICTIM);
		ck_assert(result == 1 || flip->pages == 1);
		break;
	case END_PUT:
		put(rig, VICTIM, 1000);
		ck_assert_int_eq(get(rig, VICTIM, 1000), TMEM_GET_HIT);
		break;
	case END_EVICTION:
		tmem_store_evict(rig->store, UINT64_MAX);
		ck_assert_uint_le(pages_of(rig), 1);
		return;
	case END_COMPACTION:
		compact(flip);
		return;
	case END_WALK:
		walk(flip);
		break;
	default:
		return;
	}
	if (flip->flags & TMEM_POOL_PERSISTENT)
		expect_rest(flip, 1);
}

/* All is gone, accounts are right, and no number was given back twice. */
static void expect_nothing_left(struct flip *flip)
{
	struct rig *rig = &flip->rig;

	settle(rig);
	ck_assert_uint_eq(pages_of(rig), 0);
	ck_assert_int_eq(tmem_store_check(rig->store), 0);
	for (uint32_t i = 0; i < MANY; i++)
		put(rig, i, i);
	for (uint32_t i = 0; i < MANY; i++)
		ck_assert_int_eq(get(rig, i, i), TMEM_GET_HIT);
	tmem_flush_object(rig->client, rig->pool, &oid);
	settle(rig);
	ck_assert_int_eq(tmem_store_check(rig->store), 0);
}

static void flip_and_end(struct flip *flip, bool is_object, uint32_t bit)
{
	struct rig *rig = &flip->rig;
	struct tm_descriptor *victim;

	put_all(flip);
	victim = find(rig, VICTIM);
	if (is_object)
		victim->object ^= UINT32_C(1) << bit;
	else
		victim->index ^= UINT32_C(1) << bit;
	meet(flip);
	if (flip->end == END_POOL) {
		ck_assert_int_eq(tmem_pool_destroy(rig->client, rig->pool), 0);
		settle(rig);
		rig->pool = tmem_pool_create(rig->client, flip->flags, NULL);
		ck_assert_int_ge(rig->pool, 0);
	} else {
		tmem_flush_object(rig->client, rig->pool, &oid);
	}
	expect_nothing_left(flip);
}

/* In both kinds of pools, of an object of one page and of many. */
static void flip_each_bit(bool is_object, enum end end)
{
	for (int i = 0; i < 4; i++) {
		struct flip flip = {
			.pages = i & 1 ? MANY : 1,
			.flags = i & 2 ? TMEM_POOL_PERSISTENT : 0,
			.end = end,
		};
		struct rig *rig = &flip.rig;

		if (end == END_EVICTION && flip.flags)
			continue;
		rig_open(rig);
		ck_assert_int_eq(tmem_pool_destroy(rig->client, rig->pool), 0);
		settle(rig);
		rig->pool = tmem_pool_create(rig->client, flip.flags, NULL);
		for (uint32_t bit = 0; bit < 32; bit++)
			flip_and_end(&flip, is_object, bit);
		rig_close(rig);
	}
}

START_TEST(a_flipped_object_costs_its_page)
{
	flip_each_bit(true, (enum end)_i);
}
END_TEST

START_TEST(a_flipped_index_costs_its_page)
{
	flip_each_bit(false, (enum end)_i);
}
END_TEST

/* --- an object's record ------------------------------------------------------ */

struct tm_store;
uint64_t __real_tm_object_hash(const struct tm_store *store,
			       const struct tmem_oid *oid);
uint64_t __wrap_tm_object_hash(const struct tm_store *store,
			       const struct tmem_oid *oid);
uint64_t __real_tm_slice_hash(const struct tm_store *store,
			      const struct tmem_oid *oid, uint32_t high);
uint64_t __wrap_tm_slice_hash(const struct tm_store *store,
			      const struct tmem_oid *oid, uint32_t high);

/* All oids have one hash. */
static bool collides;

uint64_t __wrap_tm_object_hash(const struct tm_store *store,
			       const struct tmem_oid *name)
{
	return __real_tm_object_hash(store, collides ? &oid : name);
}

uint64_t __wrap_tm_slice_hash(const struct tm_store *store,
			      const struct tmem_oid *name, uint32_t high)
{
	return __real_tm_slice_hash(store, collides ? &oid : name, high);
}

/* Bits of an oid; then come those of the pool. */
#define OID_BITS 192u
#define OBJECT_BITS 224u

static struct tm_object_record *find_object(struct rig *rig, uint64_t second)
{
	struct tm_superblock *super = (struct tm_superblock *)rig->arena;
	struct tm_object_record *o =
		(struct tm_object_record *)(rig->arena +
					    super->objects.offset_bytes);

	for (uint32_t i = 1; i < (uint32_t)super->objects_high; i++)
		if (o[i].state && o[i].oid[0] == 1 && o[i].oid[1] == second &&
		    o[i].oid[2] == 3)
			return &o[i];
	ck_abort_msg("there is no such object");
	return NULL;
}

static void flip_record(struct rig *rig, uint64_t second, uint32_t bit)
{
	flip_word((uint8_t *)find_object(rig, second), bit);
}

static void reopen(struct rig *rig)
{
	struct tmem_client_config client;

	tmem_client_detach(rig->client);
	tmem_store_close(rig->store);
	ck_assert_int_eq(tmem_store_open(&rig->config, &rig->store), 0);
	tmem_client_config_init(&client);
	client.name = "a";
	ck_assert_int_ge(tmem_client_attach(rig->store, &client, &rig->client),
			 0);
}

START_TEST(a_flipped_object_record_costs_nothing)
{
	struct rig rig;

	rig_open(&rig);
	for (uint32_t bit = 0; bit < OBJECT_BITS; bit++) {
		flip_record(&rig, oid.word[1], bit);
		ck_assert_int_eq(get(&rig, bit % PAGES, bit % PAGES),
				 TMEM_GET_HIT);
		expect_others(&rig, 0);
		if (bit < OID_BITS)
			ck_assert_int_eq(tmem_store_check(rig.store), 0);
		else
			flip_record(&rig, oid.word[1], bit);
	}
	rig_close(&rig);
}
END_TEST

/* What a guest was told stays true when the store is opened anew. */
START_TEST(a_flipped_object_record_brings_nothing_back)
{
	struct rig rig;

	rig_open(&rig);
	for (uint32_t bit = 0; bit < OBJECT_BITS; bit += 5) {
		for (uint32_t i = 0; i < 8; i++)
			put(&rig, i, i);
		flip_record(&rig, oid.word[1], bit);
		ck_assert_int_eq(tmem_flush_page(rig.client, rig.pool, &oid, 0),
				 1);
		put(&rig, 1, 1001);
		flip_record(&rig, oid.word[1], bit);
		put(&rig, 2, 1002);
		flip_record(&rig, oid.word[1], bit);
		reopen(&rig);
		ck_assert_int_eq(get(&rig, 0, 0), TMEM_GET_MISS);
		ck_assert_int_eq(get(&rig, 1, 1001), TMEM_GET_HIT);
		ck_assert_int_eq(get(&rig, 2, 1002), TMEM_GET_HIT);
		ck_assert_int_eq(get(&rig, 3, 3), TMEM_GET_HIT);
		flip_record(&rig, oid.word[1], bit);
		ck_assert_int_eq(tmem_flush_object(rig.client, rig.pool, &oid),
				 1);
		reopen(&rig);
		ck_assert_int_eq(get(&rig, 3, 3), TMEM_GET_MISS);
		ck_assert_int_eq(tmem_store_check(rig.store), 0);
	}
	rig_close(&rig);
}
END_TEST

START_TEST(a_flipped_object_record_is_reaped)
{
	struct rig rig;

	rig_open(&rig);
	for (uint32_t bit = 0; bit < OBJECT_BITS; bit++) {
		put(&rig, 0, 0);
		flip_record(&rig, oid.word[1], bit);
		if (bit % 2) {
			ck_assert_int_eq(tmem_flush_object(rig.client, rig.pool,
							   &oid),
					 1);
		} else {
			ck_assert_int_eq(tmem_pool_destroy(rig.client,
							   rig.pool),
					 0);
			settle(&rig);
			rig.pool = tmem_pool_create(rig.client,
						    TMEM_POOL_PERSISTENT, NULL);
		}
		settle(&rig);
		ck_assert_uint_eq(pages_of(&rig), 0);
		ck_assert_int_eq(tmem_store_check(rig.store), 0);
	}
	rig_close(&rig);
}
END_TEST

/* How many of the pages of an object were moved when those between them went. */
static uint32_t count_moved(struct rig *rig, uint32_t bit)
{
	uint64_t place[PAGES];
	uint32_t moved = 0;

	/* Those of the other objects have index 0. */
	for (uint32_t i = 1; i < PAGES; i++)
		place[i] = find(rig, i)->place;
	flip_record(rig, oid.word[1], bit);
	flush_own(rig, 1000);
	settle(rig);
	for (uint32_t i = 1; i < PAGES; i++)
		moved += find(rig, i)->place != place[i];
	return moved;
}

/* Whoever comes upon a page by its number would lock another one's shard. */
START_TEST(a_flipped_oid_is_left_alone)
{
	for (uint32_t bit = 0; bit < OBJECT_BITS; bit++) {
		struct rig rig;
		uint32_t moved;

		rig_open(&rig);
		for (uint32_t i = 0; i < PAGES; i++)
			ck_assert_int_eq(tmem_flush_page(rig.client, rig.pool,
							 &oid, i),
					 1);
		for (uint32_t n = 0; n < FEW; n++) {
			if (n < PAGES)
				put(&rig, n, n);
			put_own_page(&rig, 1000 + n);
		}
		moved = count_moved(&rig, bit);
		if (bit < OID_BITS)
			ck_assert_uint_eq(moved, 0);
		else
			ck_assert_uint_gt(moved, 0);
		expect_others(&rig, 0);
		rig_close(&rig);
	}
}
END_TEST

START_TEST(oids_of_one_hash_stay_apart)
{
	const struct tmem_oid other = { { 1, 2, 2 } };
	uint8_t page[TMEM_PAGE_SIZE], got[TMEM_PAGE_SIZE];
	struct rig rig;

	rig_open(&rig);
	tmem_flush_object(rig.client, rig.pool, &oid);
	settle(&rig);
	collides = true;
	fill(page, 7);
	for (uint32_t bit = 0; bit < OBJECT_BITS; bit++) {
		put(&rig, 0, 0);
		ck_assert_int_eq(tmem_put(rig.client, rig.pool, &other, 0, page,
					  0),
				 TMEM_PUT_STORED);
		/* Bit 128 makes it the other one's. */
		flip_record(&rig, oid.word[1], bit);
		ck_assert_int_eq(tmem_get(rig.client, rig.pool, &other, 0, got,
					  0),
				 TMEM_GET_HIT);
		ck_assert_mem_eq(got, page, TMEM_PAGE_SIZE);
		ck_assert_int_eq(get(&rig, 0, 0), TMEM_GET_HIT);
		ck_assert_int_eq(tmem_flush_object(rig.client, rig.pool, &oid),
				 1);
		ck_assert_int_eq(get(&rig, 0, 0), TMEM_GET_MISS);
		ck_assert_int_eq(tmem_get(rig.client, rig.pool, &other, 0, got,
					  0),
				 TMEM_GET_HIT);
		ck_assert_int_eq(tmem_flush_object(rig.client, rig.pool,
						   &other),
				 1);
		settle(&rig);
	}
	collides = false;
	rig_close(&rig);
}
END_TEST

/* Of two objects of one oid there is no telling which is the newer one. */
START_TEST(twins_both_go)
{
	struct tm_object_record *objects, *from, *to;
	struct tm_superblock *super;
	struct rig rig;
	uint64_t seed, hash;

	rig_open(&rig);
	super = (struct tm_superblock *)rig.arena;
	objects = (struct tm_object_record *)(rig.arena +
					      super->objects.offset_bytes);
	put_own(&rig, 1000);
	from = find_object(&rig, 1005);
	to = find_object(&rig, 1010);
	memcpy(to->oid, from->oid, sizeof(to->oid));
	seed = super->hash_seed + (uint64_t)(to - objects);
	hash = XXH3_64bits_withSeed(
		to, offsetof(struct tm_object_record, state), seed);
	to->state = tm_record_word(TM_RECORD_LIVE, (uint32_t)hash);
	reopen(&rig);
	for (uint32_t n = 1000; n < 1000 + FEW; n++) {
		struct tmem_oid own = own_oid(n);
		uint8_t page[TMEM_PAGE_SIZE];

		ck_assert_int_eq(tmem_get(rig.client, rig.pool, &own, 0, page,
					  0),
				 n == 1005 || n == 1010 ? TMEM_GET_MISS :
							  TMEM_GET_HIT);
	}
	expect_others(&rig, 0);
	ck_assert_int_eq(tmem_store_check(rig.store), 0);
	rig_close(&rig);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("damaged-record");
	TCase *tcase = tcase_create("open");

	if (access("/dev/shm", W_OK)) {
		printf("skipped: no /dev/shm\n");
		return 77;
	}
	tcase_add_test(tcase, a_flipped_place_costs_its_page);
	tcase_add_test(tcase, a_flipped_place_does_not_lead_eviction_astray);
	tcase_add_test(tcase, a_flipped_state_costs_its_page);
	tcase_add_test(tcase, a_flipped_pin_costs_nothing);
	tcase_add_test(tcase, a_flipped_doom_frees_no_page);
	tcase_add_loop_test(tcase, a_flipped_bit_is_not_shared, LINK_STATE,
			    CONTENT_CHECK + 1);
	tcase_add_loop_test(tcase, a_flipped_free_record_leads_to_no_live_one,
			    0, 256 / 8);
	tcase_add_loop_test(tcase, a_flipped_object_costs_its_page, 0, ENDS);
	tcase_add_loop_test(tcase, a_flipped_index_costs_its_page, 0, ENDS);
	tcase_add_test(tcase, a_flipped_object_record_costs_nothing);
	tcase_add_test(tcase, a_flipped_object_record_brings_nothing_back);
	tcase_add_test(tcase, a_flipped_object_record_is_reaped);
	tcase_add_test(tcase, a_flipped_oid_is_left_alone);
	tcase_add_test(tcase, oids_of_one_hash_stay_apart);
	tcase_add_test(tcase, twins_both_go);
	tcase_set_timeout(tcase, 60);
	suite_add_tcase(suite, tcase);
	return tm_test_run(suite);
}
