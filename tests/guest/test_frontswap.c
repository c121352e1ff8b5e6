/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Frontswap, rule by rule: over each way to a real store where the rule is
 * about pages, over a back end of the test's own where it must refuse, lose or
 * keep them at will.
 */
#include <config.h>

#include <pthread.h>

#include "guest_rig.h"

#define SLOTS 100

/* --- a back end that does as it is told ---------------------------------- */

struct fake {
	bool refuses; /* stores; and keeps what it had, as zswap did */
	bool loses; /* loads */
	bool has[2][SLOTS];
	uint64_t number[2][SLOTS]; /* first word of the page */
	int inits;
	int invalidations;
	int areas;
};

static void fake_init(void *opaque, unsigned type)
{
	(void)type;
	((struct fake *)opaque)->inits++;
}

static int fake_store(void *opaque, unsigned type, uint64_t offset,
		      const void *page)
{
	struct fake *f = opaque;

	if (f->refuses)
		return -1;
	f->has[type][offset] = true;
	memcpy(&f->number[type][offset], page, sizeof(uint64_t));
	return 0;
}

static int fake_load(void *opaque, unsigned type, uint64_t offset, void *page)
{
	struct fake *f = opaque;

	if (f->loses || !f->has[type][offset])
		return -1;
	tm_page_fill(page, TM_PAGE_SAME, f->number[type][offset]);
	return 0;
}

static void fake_invalidate_page(void *opaque, unsigned type, uint64_t offset)
{
	struct fake *f = opaque;

	f->has[type][offset] = false;
	f->invalidations++;
}

static void fake_invalidate_area(void *opaque, unsigned type)
{
	struct fake *f = opaque;

	memset(f->has[type], 0, sizeof(f->has[type]));
	f->areas++;
}

static const struct tmem_frontswap_ops fake_ops = {
	.struct_size = sizeof(fake_ops),
	.init = fake_init,
	.store = fake_store,
	.load = fake_load,
	.invalidate_page = fake_invalidate_page,
	.invalidate_area = fake_invalidate_area,
};

static struct tmem_frontswap *fake_swap(struct fake *fake)
{
	struct tmem_frontswap *swap;

	memset(fake, 0, sizeof(*fake));
	ck_assert_int_eq(tmem_frontswap_create(&swap), 0);
	ck_assert_int_eq(tmem_frontswap_register(swap, &fake_ops, fake), 0);
	ck_assert_int_eq(tmem_frontswap_swapon(swap, 0, SLOTS), 0);
	return swap;
}

static int store(struct tmem_frontswap *swap, uint64_t offset, uint64_t number)
{
	return guest_swap_store(swap, 0, offset, TM_PAGE_SAME, number);
}

static int load(struct tmem_frontswap *swap, uint64_t offset, uint64_t number)
{
	return guest_swap_load(swap, 0, offset, TM_PAGE_SAME, number);
}

/* --- pages --------------------------------------------------------------- */

START_TEST(f1_load_leaves_the_page)
{
	struct linux_guest g;

	linux_guest_begin(&g, _i);
	ck_assert_int_eq(tmem_frontswap_swapon(g.swap, 0, SLOTS), 0);
	ck_assert_int_eq(guest_swap_store(g.swap, 0, 5, TM_PAGE_HEAP, 1),
			 TMEM_FRONTSWAP_STORED);
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(guest_swap_load(g.swap, 0, 5, TM_PAGE_HEAP, 1),
				 TMEM_FRONTSWAP_HIT);
	ck_assert_uint_eq(guest_pages_stored(&g), 1);
	tmem_frontswap_invalidate_page(g.swap, 0, 5);
	ck_assert_uint_eq(guest_pages_stored(&g), 0);
	ck_assert_int_eq(guest_swap_load(g.swap, 0, 5, TM_PAGE_HEAP, 1),
			 TMEM_FRONTSWAP_MISS);
	linux_guest_end(&g);
}
END_TEST

START_TEST(f2_second_store_replaces)
{
	struct linux_guest g;

	linux_guest_begin(&g, _i);
	tmem_frontswap_swapon(g.swap, 0, SLOTS);
	for (uint64_t i = 0; i < 10; i++) {
		ck_assert_int_eq(
			guest_swap_store(g.swap, 0, 5, TM_PAGE_HEAP, i),
			TMEM_FRONTSWAP_STORED);
		ck_assert_int_eq(guest_swap_load(g.swap, 0, 5, TM_PAGE_HEAP, i),
				 TMEM_FRONTSWAP_HIT);
	}
	ck_assert_uint_eq(tmem_frontswap_pages(g.swap, 0), 1);
	ck_assert_uint_eq(guest_pages_stored(&g), 1);
	linux_guest_end(&g);
}
END_TEST

START_TEST(f3_refused_second_store_leaves_nothing)
{
	struct fake fake;
	struct tmem_frontswap *swap = fake_swap(&fake);

	store(swap, 5, 1);
	fake.refuses = true;
	ck_assert_int_eq(store(swap, 5, 2), TMEM_FRONTSWAP_REFUSED);
	ck_assert_int_eq(load(swap, 5, 1), TMEM_FRONTSWAP_MISS);
	ck_assert_int_eq(tmem_frontswap_is_stored(swap, 0, 5), 0);
	ck_assert_uint_eq(tmem_frontswap_pages(swap, 0), 0);
	/* Nor does a back end that would have kept it. */
	ck_assert(!fake.has[0][5]);
	tmem_frontswap_destroy(swap);
}
END_TEST

/* At a real store: small pages fill it, and then one that is not to be
 * compressed comes to a slot that is in use. */
START_TEST(f3_refused_by_a_full_store_leaves_nothing)
{
	struct linux_guest g;
	uint64_t at, refused = 0;

	guest_boot(&g, _i, 4 * TM_MIB);
	guest_load_driver(&g);
	tmem_frontswap_swapon(g.swap, 0, 100000);
	for (at = 0; at < 100000; at++)
		if (guest_swap_store(g.swap, 0, at, TM_PAGE_HEAP, at) !=
		    TMEM_FRONTSWAP_STORED)
			break;
	ck_assert_uint_lt(at, 100000);
	for (uint64_t i = 0; i < at; i++) {
		int result = guest_swap_store(g.swap, 0, i, TM_PAGE_NOISE, i);
		int is_stored = result == TMEM_FRONTSWAP_STORED;

		refused += !is_stored;
		ck_assert_int_eq(tmem_frontswap_is_stored(g.swap, 0, i),
				 is_stored);
		ck_assert_int_eq(
			guest_swap_load(g.swap, 0, i, TM_PAGE_NOISE, i),
			is_stored ? TMEM_FRONTSWAP_HIT : TMEM_FRONTSWAP_MISS);
	}
	ck_assert_uint_gt(refused, 0);
	ck_assert_uint_eq(tmem_frontswap_pages(g.swap, -1),
			  guest_pages_stored(&g));
	linux_guest_end(&g);
}
END_TEST

START_TEST(f4_write_through_stores_and_says_refused)
{
	struct fake fake;
	struct tmem_frontswap *swap = fake_swap(&fake);

	ck_assert_int_eq(
		tmem_frontswap_set_mode(swap, TMEM_FRONTSWAP_WRITETHROUGH), 0);
	ck_assert_int_eq(store(swap, 5, 1), TMEM_FRONTSWAP_REFUSED);
	ck_assert_int_eq(tmem_frontswap_is_stored(swap, 0, 5), 1);
	ck_assert_int_eq(load(swap, 5, 1), TMEM_FRONTSWAP_HIT);
	ck_assert_uint_eq(guest_swap_counts(swap).succ_stores, 1);
	/* The device has it too: who drops it does no harm. */
	fake.loses = true;
	ck_assert_int_eq(load(swap, 5, 1), TMEM_FRONTSWAP_MISS);
	ck_assert_int_eq(tmem_frontswap_is_stored(swap, 0, 5), 0);
	tmem_frontswap_destroy(swap);
}
END_TEST

START_TEST(write_through_is_not_for_pages_that_are_there)
{
	struct fake fake;
	struct tmem_frontswap *swap = fake_swap(&fake);

	store(swap, 5, 1);
	ck_assert_int_eq(
		tmem_frontswap_set_mode(swap, TMEM_FRONTSWAP_WRITETHROUGH),
		-EBUSY);
	ck_assert_int_eq(
		tmem_frontswap_set_mode(swap, TMEM_FRONTSWAP_EXCLUSIVE), 0);
	ck_assert_int_eq(tmem_frontswap_set_mode(swap, 4), -EINVAL);
	tmem_frontswap_destroy(swap);
}
END_TEST

START_TEST(a_lost_page_is_an_error_and_not_a_miss)
{
	struct fake fake;
	struct tmem_frontswap *swap = fake_swap(&fake);

	store(swap, 5, 1);
	fake.loses = true;
	ck_assert_int_eq(load(swap, 5, 1), -EIO);
	/* A back end that did not answer may answer yet. */
	fake.loses = false;
	ck_assert_int_eq(load(swap, 5, 1), TMEM_FRONTSWAP_HIT);
	tmem_frontswap_destroy(swap);
}
END_TEST

START_TEST(f5_exclusive_load_takes_the_page_and_it_is_dirty)
{
	struct linux_guest g;

	linux_guest_begin(&g, _i);
	tmem_frontswap_swapon(g.swap, 0, SLOTS);
	tmem_frontswap_set_mode(g.swap, TMEM_FRONTSWAP_EXCLUSIVE);
	guest_swap_store(g.swap, 0, 5, TM_PAGE_HEAP, 1);
	ck_assert_int_eq(guest_swap_load(g.swap, 0, 5, TM_PAGE_HEAP, 1),
			 TMEM_FRONTSWAP_HIT_DIRTY);
	ck_assert_int_eq(tmem_frontswap_is_stored(g.swap, 0, 5), 0);
	ck_assert_uint_eq(tmem_frontswap_pages(g.swap, 0), 0);
	ck_assert_uint_eq(guest_pages_stored(&g), 0);
	ck_assert_int_eq(guest_swap_load(g.swap, 0, 5, TM_PAGE_HEAP, 1),
			 TMEM_FRONTSWAP_MISS);
	linux_guest_end(&g);
}
END_TEST

START_TEST(f6_swapoff_drops_that_area_and_no_other)
{
	struct linux_guest g;

	linux_guest_begin(&g, _i);
	tmem_frontswap_swapon(g.swap, 0, SLOTS);
	tmem_frontswap_swapon(g.swap, 3, SLOTS);
	for (uint64_t i = 0; i < SLOTS; i++) {
		guest_swap_store(g.swap, 0, i, TM_PAGE_HEAP, i);
		guest_swap_store(g.swap, 3, i, TM_PAGE_HEAP, 1000 + i);
	}
	ck_assert_uint_eq(guest_pages_stored(&g), 2 * SLOTS);
	tmem_frontswap_swapoff(g.swap, 0);
	ck_assert_uint_eq(guest_pages_stored(&g), SLOTS);
	ck_assert_int_eq(guest_swap_load(g.swap, 0, 5, TM_PAGE_HEAP, 5),
			 -EINVAL);
	ck_assert_int_eq(guest_swap_store(g.swap, 0, 5, TM_PAGE_HEAP, 5),
			 -EINVAL);
	for (uint64_t i = 0; i < SLOTS; i++)
		ck_assert_int_eq(
			guest_swap_load(g.swap, 3, i, TM_PAGE_HEAP, 1000 + i),
			TMEM_FRONTSWAP_HIT);
	/* Swapped on again it is empty. */
	tmem_frontswap_swapon(g.swap, 0, SLOTS);
	ck_assert_int_eq(guest_swap_load(g.swap, 0, 5, TM_PAGE_HEAP, 5),
			 TMEM_FRONTSWAP_MISS);
	linux_guest_end(&g);
}
END_TEST

/* Any sequence of calls, a back end with moods, and a model beside it. */
START_TEST(f7_pages_are_bits_are_what_the_back_end_has)
{
	uint64_t state = tm_test_seed();
	uint64_t number[SLOTS] = { 0 }; /* 0: not there */
	struct fake fake;
	struct tmem_frontswap *swap = fake_swap(&fake);

	for (int i = 0; i < 20000; i++) {
		uint64_t r = tm_test_random(&state);
		uint64_t at = r % SLOTS, bits = 0, kept = 0, wrong = 0;

		fake.refuses = r >> 62 == 0;
		if (r >> 20 & 1)
			number[at] = store(swap, at, (uint64_t)i + 1) ==
						     TMEM_FRONTSWAP_STORED
					     ? (uint64_t)i + 1
					     : 0;
		else if (r >> 21 & 1)
			ck_assert_int_eq(load(swap, at, number[at]),
					 number[at] ? TMEM_FRONTSWAP_HIT
						    : TMEM_FRONTSWAP_MISS);
		else
			tmem_frontswap_invalidate_page(swap, 0, at),
				number[at] = 0;
		for (uint64_t n = 0; n < SLOTS; n++) {
			bits += (uint64_t)tmem_frontswap_is_stored(swap, 0, n);
			kept += fake.has[0][n];
			wrong += fake.has[0][n] != (number[n] != 0);
		}
		ck_assert_uint_eq(wrong, 0);
		ck_assert_uint_eq(tmem_frontswap_pages(swap, 0), bits);
		ck_assert_uint_eq(kept, bits);
	}
	tmem_frontswap_destroy(swap);
}
END_TEST

/* --- shrinking ----------------------------------------------------------- */

struct vm {
	struct tmem_frontswap *swap;
	uint64_t room_pages;
	int unused;
	int stop_after; /* 0: never */
	uint64_t asked_pages;
};

static bool may_commit(void *opaque, uint64_t pages)
{
	struct vm *vm = opaque;

	vm->asked_pages = pages;
	return pages <= vm->room_pages;
}

static int unuse_page(void *opaque, unsigned type, uint64_t offset)
{
	struct vm *vm = opaque;

	if (vm->stop_after && vm->unused == vm->stop_after)
		return -EINTR;
	ck_assert_int_eq(guest_swap_load(vm->swap, type, offset, TM_PAGE_HEAP,
					 type * 1000 + offset),
			 TMEM_FRONTSWAP_HIT);
	tmem_frontswap_invalidate_page(vm->swap, type, offset);
	vm->unused++;
	return 0;
}

static const struct tmem_frontswap_vm vm_ops = {
	.struct_size = sizeof(vm_ops),
	.may_commit = may_commit,
	.unuse_page = unuse_page,
};

static void fill(struct linux_guest *g, unsigned type, uint64_t pages)
{
	tmem_frontswap_swapon(g->swap, type, SLOTS);
	for (uint64_t i = 0; i < pages; i++)
		ck_assert_int_eq(guest_swap_store(g->swap, type, i,
						  TM_PAGE_HEAP,
						  type * 1000 + i),
				 TMEM_FRONTSWAP_STORED);
}

START_TEST(f8_shrink_takes_exactly_what_is_too_much_from_one_device)
{
	struct vm vm = { .room_pages = UINT64_MAX };
	struct linux_guest g;

	linux_guest_begin(&g, _i);
	vm.swap = g.swap;
	fill(&g, 0, 80);
	fill(&g, 1, 60);
	ck_assert_int_eq(tmem_frontswap_shrink(g.swap, 140, &vm_ops, &vm), 0);
	ck_assert_int_eq(
		tmem_frontswap_shrink(g.swap, UINT64_MAX, &vm_ops, &vm), 0);
	ck_assert_int_eq(tmem_frontswap_shrink(g.swap, 100, &vm_ops, &vm), 40);
	ck_assert_uint_eq(tmem_frontswap_pages(g.swap, 0), 40);
	ck_assert_uint_eq(tmem_frontswap_pages(g.swap, 1), 60);
	ck_assert_uint_eq(guest_pages_stored(&g), 100);
	linux_guest_end(&g);
}
END_TEST

START_TEST(f8_shrink_takes_all_of_a_device_that_does_not_suffice)
{
	struct vm vm = { .room_pages = UINT64_MAX };
	struct linux_guest g;

	linux_guest_begin(&g, _i);
	vm.swap = g.swap;
	/* One that has no pages is passed over. */
	tmem_frontswap_swapon(g.swap, 0, SLOTS);
	fill(&g, 1, 30);
	fill(&g, 2, 60);
	ck_assert_int_eq(tmem_frontswap_shrink(g.swap, 10, &vm_ops, &vm), 30);
	ck_assert_uint_eq(tmem_frontswap_pages(g.swap, 1), 0);
	ck_assert_uint_eq(tmem_frontswap_pages(g.swap, 2), 60);
	ck_assert_int_eq(tmem_frontswap_shrink(g.swap, 10, &vm_ops, &vm), 50);
	ck_assert_uint_eq(tmem_frontswap_pages(g.swap, -1), 10);
	linux_guest_end(&g);
}
END_TEST

START_TEST(shrink_goes_by_what_can_be_committed_and_stops_when_told)
{
	struct vm vm = { .room_pages = 40 };
	struct linux_guest g;

	linux_guest_begin(&g, _i);
	vm.swap = g.swap;
	fill(&g, 0, 80);
	fill(&g, 1, 30);
	/* 80 would not fit; the second's 30 do. */
	ck_assert_int_eq(tmem_frontswap_shrink(g.swap, 0, &vm_ops, &vm), 30);
	ck_assert_uint_eq(tmem_frontswap_pages(g.swap, 0), 80);
	vm.room_pages = 0;
	ck_assert_int_eq(tmem_frontswap_shrink(g.swap, 0, &vm_ops, &vm), 0);
	vm = (struct vm){ g.swap, UINT64_MAX, 0, 7, 0 };
	ck_assert_int_eq(tmem_frontswap_shrink(g.swap, 0, &vm_ops, &vm),
			 -EINTR);
	ck_assert_uint_eq(tmem_frontswap_pages(g.swap, 0), 73);
	ck_assert_int_eq(tmem_frontswap_shrink(g.swap, 0, NULL, &vm), -EINVAL);
	linux_guest_end(&g);
}
END_TEST

/* --- limits and counters ------------------------------------------------- */

START_TEST(f9_offset_beyond_32_bits_is_refused)
{
	const uint64_t beyond = UINT64_C(1) << 32;
	struct linux_guest g;

	linux_guest_begin(&g, _i);
	/* The map of 2^32 + 2 slots is 512 MiB that nobody touches. */
	if (tmem_frontswap_swapon(g.swap, 0, beyond + 2) == 0) {
		ck_assert_int_eq(guest_swap_store(g.swap, 0, beyond + 1,
						  TM_PAGE_HEAP, 1),
				 TMEM_FRONTSWAP_REFUSED);
		ck_assert_int_eq(guest_swap_store(g.swap, 0, beyond - 1,
						  TM_PAGE_HEAP, 2),
				 TMEM_FRONTSWAP_STORED);
		ck_assert_int_eq(guest_swap_load(g.swap, 0, 1, TM_PAGE_HEAP, 1),
				 TMEM_FRONTSWAP_MISS);
		ck_assert_int_eq(
			guest_swap_load(g.swap, 0, beyond - 1, TM_PAGE_HEAP, 2),
			TMEM_FRONTSWAP_HIT);
		tmem_frontswap_invalidate_page(g.swap, 0, beyond - 1);
	}
	linux_guest_end(&g);
}
END_TEST

START_TEST(f10_counters)
{
	struct tmem_frontswap_counts n;
	struct tmem_frontswap *swap;
	struct fake fake = { 0 };

	ck_assert_int_eq(tmem_frontswap_create(&swap), 0);
	tmem_frontswap_swapon(swap, 0, SLOTS);
	/* Without a back end nothing counts. */
	ck_assert_int_eq(store(swap, 1, 1), TMEM_FRONTSWAP_REFUSED);
	tmem_frontswap_invalidate_page(swap, 0, 1);
	n = guest_swap_counts(swap);
	ck_assert_uint_eq(
		n.loads + n.succ_stores + n.failed_stores + n.invalidates, 0);
	ck_assert_int_eq(tmem_frontswap_register(swap, &fake_ops, &fake), 0);
	store(swap, 1, 1);
	store(swap, 1, 2);
	fake.refuses = true;
	store(swap, 2, 2);
	load(swap, 1, 2);
	load(swap, 2, 2); /* a miss: not counted */
	tmem_frontswap_invalidate_page(swap, 0, 2); /* not there: neither */
	tmem_frontswap_invalidate_page(swap, 0, 1);
	tmem_frontswap_invalidate_page(swap, 0, 1);
	n = guest_swap_counts(swap);
	ck_assert_uint_eq(n.loads, 1);
	ck_assert_uint_eq(n.succ_stores, 2);
	ck_assert_uint_eq(n.failed_stores, 1);
	ck_assert_uint_eq(n.invalidates, 1);
	tmem_frontswap_destroy(swap);
}
END_TEST

START_TEST(bad_slots_and_types_are_refused)
{
	struct fake fake;
	struct tmem_frontswap *swap = fake_swap(&fake);

	ck_assert_int_eq(tmem_frontswap_swapon(swap, 0, SLOTS), -EBUSY);
	ck_assert_int_eq(tmem_frontswap_swapon(swap, 29, SLOTS), -EINVAL);
	ck_assert_int_eq(tmem_frontswap_swapon(swap, UINT32_MAX, SLOTS),
			 -EINVAL);
	ck_assert_int_eq(tmem_frontswap_swapon(swap, 1, 0), -EINVAL);
	ck_assert_int_ne(tmem_frontswap_swapon(swap, 1, UINT64_MAX), 0);
	ck_assert_int_eq(store(swap, SLOTS, 1), -EINVAL);
	ck_assert_int_eq(store(swap, UINT64_MAX, 1), -EINVAL);
	ck_assert_int_eq(load(swap, SLOTS, 1), -EINVAL);
	ck_assert_int_eq(guest_swap_store(swap, 1, 0, TM_PAGE_SAME, 1),
			 -EINVAL);
	ck_assert_int_eq(guest_swap_store(swap, 29, 0, TM_PAGE_SAME, 1),
			 -EINVAL);
	tmem_frontswap_invalidate_page(swap, 29, 0);
	tmem_frontswap_invalidate_page(swap, 0, UINT64_MAX);
	tmem_frontswap_swapoff(swap, 29);
	tmem_frontswap_swapoff(swap, 5);
	ck_assert_int_eq(fake.areas, 0);
	ck_assert_int_eq(fake.invalidations, 0);
	tmem_frontswap_destroy(NULL);
	tmem_frontswap_destroy(swap);
	ck_assert_int_eq(fake.areas, 1);
}
END_TEST

/* --- several back ends --------------------------------------------------- */

START_TEST(newest_back_end_is_asked_first_and_no_copy_is_left_behind)
{
	struct fake old, new = { 0 };
	struct tmem_frontswap *swap = fake_swap(&old);

	ck_assert_int_eq(tmem_frontswap_register(swap, &fake_ops, &new), 0);
	ck_assert_int_eq(new.inits, 1);
	new.refuses = true;
	ck_assert_int_eq(store(swap, 5, 1), TMEM_FRONTSWAP_STORED);
	ck_assert(old.has[0][5] && !new.has[0][5]);
	new.refuses = false;
	ck_assert_int_eq(store(swap, 5, 2), TMEM_FRONTSWAP_STORED);
	ck_assert(!old.has[0][5] && new.has[0][5]);
	new.refuses = true;
	ck_assert_int_eq(store(swap, 5, 3), TMEM_FRONTSWAP_STORED);
	ck_assert(old.has[0][5] && !new.has[0][5]);
	ck_assert_int_eq(load(swap, 5, 3), TMEM_FRONTSWAP_HIT);
	tmem_frontswap_invalidate_page(swap, 0, 5);
	ck_assert(!old.has[0][5]);
	ck_assert_int_eq(tmem_frontswap_register(swap, &fake_ops, &new), 0);
	ck_assert_int_eq(tmem_frontswap_register(swap, &fake_ops, &new), 0);
	ck_assert_int_eq(tmem_frontswap_register(swap, &fake_ops, &new),
			 -EBUSY);
	tmem_frontswap_destroy(swap);
}
END_TEST

START_TEST(late_back_end_is_told_of_each_device_once)
{
	struct tmem_frontswap *swap;
	struct fake fake = { 0 };

	ck_assert_int_eq(tmem_frontswap_create(&swap), 0);
	tmem_frontswap_swapon(swap, 0, SLOTS);
	tmem_frontswap_swapon(swap, 1, SLOTS);
	tmem_frontswap_register(swap, &fake_ops, &fake);
	ck_assert_int_eq(fake.inits, 2);
	tmem_frontswap_swapon(swap, 2, SLOTS);
	ck_assert_int_eq(fake.inits, 3);
	tmem_frontswap_destroy(swap);
	ck_assert_int_eq(fake.areas, 3);
}
END_TEST

/* --- threads ------------------------------------------------------------- */

struct swapper {
	struct tmem_frontswap *swap;
	uint64_t number;
};

/* Every third slot is its own: words of the map are everybody's. */
static void *swap_slots(void *argument)
{
	struct swapper *s = argument;
	uint64_t state = tm_test_seed() + s->number;

	for (int i = 0; i < 4000; i++) {
		uint64_t r = tm_test_random(&state);
		uint64_t at = (r >> 8) % 33 * 3 + s->number;

		if (r & 1)
			guest_swap_store(s->swap, 0, at, TM_PAGE_SAME, at);
		else if (r & 2)
			ck_assert_int_ge(guest_swap_load(s->swap, 0, at,
							 TM_PAGE_SAME, at),
					 0);
		else
			tmem_frontswap_invalidate_page(s->swap, 0, at);
	}
	return NULL;
}

START_TEST(f7_pages_are_bits_for_several_threads_too)
{
	struct swapper swappers[3];
	pthread_t threads[3];
	struct linux_guest g;
	uint64_t bits = 0;

	linux_guest_begin(&g, _i);
	tmem_frontswap_swapon(g.swap, 0, SLOTS);
	for (uint64_t i = 0; i < 3; i++) {
		swappers[i] = (struct swapper){ g.swap, i };
		ck_assert_int_eq(pthread_create(&threads[i], NULL, swap_slots,
						&swappers[i]),
				 0);
	}
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	for (uint64_t i = 0; i < SLOTS; i++)
		bits += (uint64_t)tmem_frontswap_is_stored(g.swap, 0, i);
	ck_assert_uint_eq(tmem_frontswap_pages(g.swap, 0), bits);
	ck_assert_uint_eq(guest_pages_stored(&g), bits);
	linux_guest_end(&g);
}
END_TEST

#define EACH_WAY(test) tcase_add_loop_test(tcase, test, 0, GUEST_WAYS)

int main(void)
{
	Suite *suite = suite_create("frontswap");
	TCase *tcase = tcase_create("pages");

	EACH_WAY(f1_load_leaves_the_page);
	EACH_WAY(f2_second_store_replaces);
	tcase_add_test(tcase, f3_refused_second_store_leaves_nothing);
	EACH_WAY(f3_refused_by_a_full_store_leaves_nothing);
	tcase_add_test(tcase, f4_write_through_stores_and_says_refused);
	tcase_add_test(tcase, write_through_is_not_for_pages_that_are_there);
	tcase_add_test(tcase, a_lost_page_is_an_error_and_not_a_miss);
	EACH_WAY(f5_exclusive_load_takes_the_page_and_it_is_dirty);
	EACH_WAY(f6_swapoff_drops_that_area_and_no_other);
	tcase_add_test(tcase, f7_pages_are_bits_are_what_the_back_end_has);
	suite_add_tcase(suite, tcase);
	tcase = tcase_create("shrinking");
	EACH_WAY(f8_shrink_takes_exactly_what_is_too_much_from_one_device);
	EACH_WAY(f8_shrink_takes_all_of_a_device_that_does_not_suffice);
	EACH_WAY(shrink_goes_by_what_can_be_committed_and_stops_when_told);
	suite_add_tcase(suite, tcase);
	tcase = tcase_create("limits");
	EACH_WAY(f9_offset_beyond_32_bits_is_refused);
	tcase_add_test(tcase, f10_counters);
	tcase_add_test(tcase, bad_slots_and_types_are_refused);
	suite_add_tcase(suite, tcase);
	tcase = tcase_create("back ends");
	tcase_add_test(
		tcase,
		newest_back_end_is_asked_first_and_no_copy_is_left_behind);
	tcase_add_test(tcase, late_back_end_is_told_of_each_device_once);
	suite_add_tcase(suite, tcase);
	tcase = tcase_create("threads");
	EACH_WAY(f7_pages_are_bits_for_several_threads_too);
	suite_add_tcase(suite, tcase);
	return tm_test_run(suite);
}
