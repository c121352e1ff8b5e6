/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The driver: which hypercalls it makes, bit by bit, and what is enabled when.
 * The host here is a recorder that answers what it is told to.
 */
#include <config.h>

#include "guest_rig.h"
#include "swizzle.h"

#define OPS_MAX 64

struct recorder {
	struct tmem_hypercall hypercall; /* first */
	unsigned count;
	struct tmem_xen_op op[OPS_MAX];
	void *page[OPS_MAX];
	int answer[16]; /* by command */
};

static int record(struct tmem_hypercall *hypercall,
		  const struct tmem_xen_op *op, void *page)
{
	struct recorder *r = (struct recorder *)hypercall;

	ck_assert_uint_lt(r->count, OPS_MAX);
	r->op[r->count] = *op;
	r->page[r->count++] = page;
	return r->answer[op->cmd];
}

/* A guest on a recorder; everything succeeds. */
struct recorded {
	struct recorder r;
	struct linux_guest g;
};

static void begin(struct recorded *t)
{
	memset(t, 0, sizeof(*t));
	t->r.hypercall.struct_size = sizeof(t->r.hypercall);
	t->r.hypercall.call = record;
	for (int i = 0; i < 16; i++)
		t->r.answer[i] = 1;
	ck_assert_int_eq(tmem_cleancache_create(&t->g.cache), 0);
	ck_assert_int_eq(tmem_frontswap_create(&t->g.swap), 0);
	t->g.hypercall = &t->r.hypercall;
}

static void end(struct recorded *t)
{
	tmem_cleancache_destroy(t->g.cache);
	tmem_frontswap_destroy(t->g.swap);
	tmem_driver_close(t->g.driver);
	tmem_hypercall_close(&t->r.hypercall);
}

static void is_op(const struct tmem_xen_op *op, uint32_t cmd, int pool,
		  uint64_t oid, uint32_t index)
{
	ck_assert_uint_eq(op->cmd, cmd);
	ck_assert_int_eq(op->pool_id, pool);
	ck_assert_uint_eq(op->u.gen.oid[0], oid);
	ck_assert_uint_eq(op->u.gen.oid[1], 0);
	ck_assert_uint_eq(op->u.gen.oid[2], 0);
	ck_assert_uint_eq(op->u.gen.index, index);
	ck_assert_uint_eq(op->u.gen.tmem_offset, 0);
	ck_assert_uint_eq(op->u.gen.pfn_offset, 0);
	ck_assert_uint_eq(op->u.gen.len, 0);
}

/* --- calls --------------------------------------------------------------- */

START_TEST(swizzle_vectors)
{
	static const struct {
		unsigned type, bits;
		uint64_t offset, oid;
		uint32_t index;
	} vectors[] = {
		{ 0, 4, 0x12345, 0x5, 0x1234 },
		{ 3, 4, 0x12345, 0x35, 0x1234 },
		{ 3, 8, 0x12345, 0x345, 0x123 },
		{ 28, 4, UINT32_MAX, 0x1cf, 0xfffffff },
	};
	uint64_t state = tm_test_seed();

	for (size_t i = 0; i < sizeof(vectors) / sizeof(*vectors); i++) {
		struct tmem_oid oid = tm_swizzle_oid(
			vectors[i].type, vectors[i].offset, vectors[i].bits);

		ck_assert_uint_eq(oid.word[0], vectors[i].oid);
		ck_assert_uint_eq(oid.word[1] | oid.word[2], 0);
		ck_assert_uint_eq(
			tm_swizzle_index(vectors[i].offset, vectors[i].bits),
			vectors[i].index);
	}
	for (int i = 0; i < 1000; i++) {
		uint64_t offset = (uint32_t)tm_test_random(&state);
		unsigned type = offset % TMEM_FRONTSWAP_TYPES_MAX;
		unsigned bits = i % 2 ? 4 : 8;
		struct tmem_oid oid = tm_swizzle_oid(type, offset, bits);

		ck_assert_uint_eq(tm_swizzle_type(&oid, bits), type);
		ck_assert_uint_eq(
			tm_swizzle_offset(&oid, tm_swizzle_index(offset, bits),
					  bits),
			offset);
	}
}
END_TEST

START_TEST(cleancache_as_hypercalls)
{
	static const uint8_t volume[16] = { 1, 2,  3,  4,  5,  6,  7,  8,
					    9, 10, 11, 12, 13, 14, 15, 16 };
	const struct tmem_cleancache_file file = guest_file(42);
	struct tmem_cleancache_fs *fs, *shared;
	uint8_t page[TMEM_PAGE_SIZE] = { 0 };
	struct recorded t;

	begin(&t);
	guest_load_driver(&t.g);
	ck_assert_uint_eq(t.r.count, 0);
	t.r.answer[TMEM_XEN_NEW_POOL] = 5;
	fs = guest_mount(&t.g, NULL);
	ck_assert_int_eq(tmem_cleancache_fs_pool(fs), 5);
	ck_assert_uint_eq(t.r.op[0].cmd, 1);
	ck_assert_uint_eq(t.r.op[0].u.creat.flags, 0x01000000);
	ck_assert_uint_eq(t.r.op[0].u.creat.uuid[0], 0);
	ck_assert_uint_eq(t.r.op[0].u.creat.uuid[1], 0);
	shared = guest_mount(&t.g, volume);
	ck_assert_uint_eq(t.r.op[1].u.creat.flags, 0x01000002);
	ck_assert_mem_eq(t.r.op[1].u.creat.uuid, volume, 16);
	t.r.count = 0;
	tmem_cleancache_put(fs, &file, 7, page);
	is_op(&t.r.op[0], 4, 5, 42, 7);
	ck_assert_ptr_eq(t.r.page[0], page);
	ck_assert_int_eq(tmem_cleancache_get(fs, &file, 7, page), TMEM_GET_HIT);
	is_op(&t.r.op[1], 5, 5, 42, 7);
	ck_assert_ptr_eq(t.r.page[1], page);
	tmem_cleancache_invalidate_page(fs, &file, 7);
	is_op(&t.r.op[2], 6, 5, 42, 7);
	tmem_cleancache_invalidate_inode(fs, &file);
	is_op(&t.r.op[3], 7, 5, 42, 0);
	tmem_cleancache_unmount(fs);
	is_op(&t.r.op[4], 2, 5, 0, 0);
	tmem_cleancache_unmount(shared);
	ck_assert_uint_eq(t.r.count, 6);
	end(&t);
}
END_TEST

START_TEST(frontswap_as_hypercalls)
{
	uint8_t page[TMEM_PAGE_SIZE] = { 0 };
	struct recorded t;

	begin(&t);
	guest_load_driver(&t.g);
	t.r.answer[TMEM_XEN_NEW_POOL] = 9;
	tmem_frontswap_swapon(t.g.swap, 0, 0x20000);
	tmem_frontswap_swapon(t.g.swap, 3, 0x20000);
	/* One pool for both. */
	ck_assert_uint_eq(t.r.count, 1);
	ck_assert_uint_eq(t.r.op[0].cmd, 1);
	ck_assert_uint_eq(t.r.op[0].u.creat.flags, 0x01000001);
	t.r.count = 0;
	tmem_frontswap_store(t.g.swap, 3, 0x12345, page);
	is_op(&t.r.op[0], 4, 9, 0x35, 0x1234);
	tmem_frontswap_load(t.g.swap, 3, 0x12345, page);
	is_op(&t.r.op[1], 5, 9, 0x35, 0x1234);
	tmem_frontswap_invalidate_page(t.g.swap, 3, 0x12345);
	is_op(&t.r.op[2], 6, 9, 0x35, 0x1234);
	t.r.count = 0;
	tmem_frontswap_swapoff(t.g.swap, 3);
	ck_assert_uint_eq(t.r.count, 16);
	for (unsigned i = 0; i < 16; i++)
		is_op(&t.r.op[i], 7, 9, 0x30 + 15 - i, 0);
	end(&t);
}
END_TEST

/* 1 is success; 0, negative numbers and other positive ones are not. */
START_TEST(only_one_is_success)
{
	static const int answers[] = {
		1, 0, -1, -12, -1000, -1001, 2, INT32_MIN
	};
	const struct tmem_cleancache_file file = guest_file(42);
	struct tmem_cleancache_fs *fs;
	uint8_t page[TMEM_PAGE_SIZE] = { 0 };
	struct recorded t;

	begin(&t);
	guest_load_driver(&t.g);
	fs = guest_mount(&t.g, NULL);
	tmem_frontswap_swapon(t.g.swap, 0, 16);
	for (size_t i = 0; i < sizeof(answers) / sizeof(*answers); i++) {
		bool is_success = i == 0;

		t.r.count = 0;
		t.r.answer[TMEM_XEN_PUT_PAGE] = answers[i];
		t.r.answer[TMEM_XEN_GET_PAGE] = answers[i];
		ck_assert_int_eq(tmem_cleancache_get(fs, &file, 0, page),
				 is_success);
		ck_assert_int_eq(tmem_frontswap_store(t.g.swap, 0, 0, page),
				 is_success);
		tmem_frontswap_invalidate_page(t.g.swap, 0, 0);
	}
	tmem_cleancache_unmount(fs);
	end(&t);
}
END_TEST

/* The caller hears nothing, and the page before it must not be found. */
START_TEST(c3_put_that_fails_is_followed_by_a_flush)
{
	const struct tmem_cleancache_file file = guest_file(42);
	struct tmem_cleancache_fs *fs;
	uint8_t page[TMEM_PAGE_SIZE] = { 0 };
	struct recorded t;

	begin(&t);
	guest_load_driver(&t.g);
	fs = guest_mount(&t.g, NULL);
	t.r.count = 0;
	t.r.answer[TMEM_XEN_PUT_PAGE] = -EFAULT;
	tmem_cleancache_put(fs, &file, 7, page);
	ck_assert_uint_eq(t.r.count, 2);
	is_op(&t.r.op[1], 6, 1, 42, 7);
	/* A refusal has dropped it at the host. */
	t.r.answer[TMEM_XEN_PUT_PAGE] = 0;
	tmem_cleancache_put(fs, &file, 7, page);
	ck_assert_uint_eq(t.r.count, 3);
	tmem_cleancache_unmount(fs);
	end(&t);
}
END_TEST

START_TEST(a_host_without_pools_refuses_all)
{
	struct tmem_cleancache_fs *fs;
	uint8_t page[TMEM_PAGE_SIZE] = { 0 };
	struct recorded t;

	begin(&t);
	guest_load_driver(&t.g);
	t.r.answer[TMEM_XEN_NEW_POOL] = -ENODEV;
	fs = guest_mount(&t.g, NULL);
	ck_assert_int_eq(tmem_cleancache_fs_pool(fs), -1);
	tmem_frontswap_swapon(t.g.swap, 0, 16);
	t.r.count = 0;
	ck_assert_int_eq(tmem_frontswap_store(t.g.swap, 0, 0, page),
			 TMEM_FRONTSWAP_REFUSED);
	ck_assert_uint_eq(t.r.count, 0);
	/* The next swap device may have more luck. */
	t.r.answer[TMEM_XEN_NEW_POOL] = 0;
	tmem_frontswap_swapon(t.g.swap, 1, 16);
	ck_assert_int_eq(tmem_frontswap_store(t.g.swap, 0, 0, page),
			 TMEM_FRONTSWAP_STORED);
	tmem_cleancache_unmount(fs);
	end(&t);
}
END_TEST

/* --- what is on ---------------------------------------------------------- */

struct loaded {
	struct linux_guest g;
	uint32_t enabled;
	int selfballoon_inits;
	bool balloons, shrinks;
	bool no_balloon;
};

static int selfballoon_init(void *opaque, bool balloons, bool shrinks)
{
	struct loaded *l = opaque;

	l->selfballoon_inits++;
	l->balloons = balloons;
	l->shrinks = shrinks;
	return l->no_balloon ? -ENODEV : 0;
}

/* What comes of a command line. */
static uint32_t load_with(struct loaded *l, enum tmem_driver_words kind,
			  const char *words, bool is_guest, bool has_frontswap)
{
	struct tmem_driver_config config;
	struct recorded t;

	begin(&t);
	memset(l, 0, sizeof(*l));
	tmem_driver_config_init(&config);
	config.hypercall = is_guest ? &t.r.hypercall : NULL;
	config.cleancache = t.g.cache;
	config.frontswap = has_frontswap ? t.g.swap : NULL;
	config.selfballoon_init = selfballoon_init;
	config.log = guest_log;
	config.opaque = l;
	ck_assert_int_eq(tmem_driver_parse(&config, kind, words), 0);
	ck_assert_int_eq(tmem_driver_open(&config, &t.g.driver), 0);
	l->enabled = tmem_driver_enabled(t.g.driver);
	end(&t);
	return l->enabled;
}

#define ALL 15u

START_TEST(enabling_rules)
{
	static const struct {
		enum tmem_driver_words kind;
		const char *words;
		bool is_guest, has_frontswap;
		uint32_t enabled;
	} rules[] = {
		{ TMEM_DRIVER_KERNEL, "", true, true, 0 },
		{ TMEM_DRIVER_KERNEL, "root=/dev/xvda1 quiet", true, true, 0 },
		{ TMEM_DRIVER_KERNEL, "notmem tmem_compress xtmem", true, true,
		  0 },
		{ TMEM_DRIVER_KERNEL, "quiet tmem ro", true, true, ALL },
		{ TMEM_DRIVER_KERNEL, "tmem", false, true, 0 },
		{ TMEM_DRIVER_KERNEL, "tmem.frontswap=1", true, true, 0 },
		{ TMEM_DRIVER_KERNEL, "tmem tmem.frontswap=0", true, true,
		  TMEM_DRIVER_CLEANCACHE },
		{ TMEM_DRIVER_MODULE, "", true, true, ALL },
		{ TMEM_DRIVER_MODULE, "", false, true, 0 },
		{ TMEM_DRIVER_MODULE, " cleancache=N\n", true, true,
		  ALL & ~TMEM_DRIVER_CLEANCACHE },
		{ TMEM_DRIVER_MODULE, "selfshrinking=off selfballooning", true,
		  true, ALL & ~TMEM_DRIVER_SELFSHRINKING },
		{ TMEM_DRIVER_MODULE, "selfballooning=no", true, true,
		  ALL & ~TMEM_DRIVER_SELFBALLOONING },
		/* Pages driven to swap would not go anywhere. */
		{ TMEM_DRIVER_MODULE, "frontswap=0 selfballooning=1", true,
		  true, TMEM_DRIVER_CLEANCACHE },
		{ TMEM_DRIVER_MODULE, "frontswap=0 cleancache=0", true, true,
		  0 },
		{ TMEM_DRIVER_MODULE, "", true, false, TMEM_DRIVER_CLEANCACHE },
	};
	struct loaded l;

	for (size_t i = 0; i < sizeof(rules) / sizeof(*rules); i++) {
		uint32_t enabled =
			load_with(&l, rules[i].kind, rules[i].words,
				  rules[i].is_guest, rules[i].has_frontswap);

		ck_assert_msg(enabled == rules[i].enabled, "%s: %x",
			      rules[i].words, enabled);
		ck_assert_int_eq(l.balloons,
				 !!(enabled & TMEM_DRIVER_SELFBALLOONING));
		ck_assert_int_eq(l.shrinks,
				 !!(enabled & TMEM_DRIVER_SELFSHRINKING));
		ck_assert_int_eq(l.selfballoon_inits, l.balloons || l.shrinks);
	}
}
END_TEST

START_TEST(it_says_so_in_this_order)
{
	static const char *const lines[] = {
		"xen:tmem: frontswap enabled, RAM provided by Xen Transcendent "
		"Memory",
		"xen:tmem: cleancache enabled, RAM provided by Xen "
		"Transcendent "
		"Memory",
		"xen_selfballoon: Initializing Xen selfballooning driver",
		"xen_selfballoon: Initializing frontswap selfshrinking driver",
	};
	struct loaded l;

	load_with(&l, TMEM_DRIVER_KERNEL, "tmem", true, true);
	ck_assert_uint_eq(l.g.lines, 4);
	for (int i = 0; i < 4; i++)
		ck_assert_str_eq(l.g.line[i], lines[i]);
	load_with(&l, TMEM_DRIVER_MODULE, "frontswap=0", true, true);
	ck_assert_uint_eq(l.g.lines, 1);
	ck_assert_str_eq(l.g.line[0], lines[1]);
	load_with(&l, TMEM_DRIVER_KERNEL, "", true, true);
	ck_assert_uint_eq(l.g.lines, 0);
}
END_TEST

/* dom0, or no balloon to drive. */
START_TEST(without_a_balloon_nothing_balloons)
{
	struct tmem_driver_config config;
	struct loaded l = { .no_balloon = true };
	struct recorded t;

	begin(&t);
	tmem_driver_config_init(&config);
	config.hypercall = &t.r.hypercall;
	config.cleancache = t.g.cache;
	config.frontswap = t.g.swap;
	config.is_enabled = true;
	config.selfballoon_init = selfballoon_init;
	config.log = guest_log;
	config.opaque = &l;
	ck_assert_int_eq(tmem_driver_open(&config, &t.g.driver), 0);
	ck_assert_int_eq(l.selfballoon_inits, 1);
	ck_assert_uint_eq(tmem_driver_enabled(t.g.driver),
			  TMEM_DRIVER_FRONTSWAP | TMEM_DRIVER_CLEANCACHE);
	ck_assert_uint_eq(l.g.lines, 2);
	end(&t);
}
END_TEST

START_TEST(words_that_are_none_change_nothing)
{
	static const char *const bad[] = {
		"frontswap=",
		"frontswap=x",
		"frontswap=2",
		"frontswapp=1",
		"front",
		"=1",
		"=",
		"cleancache=o",
		"cleancache=0 nonsense",
		"selfballooning==1",
	};
	struct tmem_driver_config config, before;

	tmem_driver_config_init(&config);
	before = config;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		ck_assert_msg(tmem_driver_parse(&config, TMEM_DRIVER_MODULE,
						bad[i]) == -EINVAL,
			      "%s", bad[i]);
		ck_assert_mem_eq(&config, &before, sizeof(config));
	}
	ck_assert_int_eq(tmem_driver_parse(&config, TMEM_DRIVER_KERNEL,
					   "tmem tmem.frontswap=7"),
			 -EINVAL);
	ck_assert_mem_eq(&config, &before, sizeof(config));
	ck_assert_int_eq(tmem_driver_parse(&config, TMEM_DRIVER_KERNEL, NULL),
			 -EINVAL);
	ck_assert_int_eq(tmem_driver_parse(&config, 7, ""), -EINVAL);
	ck_assert_int_eq(
		tmem_driver_parse(&config, TMEM_DRIVER_KERNEL, "tmem.=1"),
		-EINVAL);
}
END_TEST

START_TEST(without_swap_cleancache_alone_helps)
{
	struct linux_guest g;
	struct tmem_cleancache_fs *fs;

	linux_guest_begin(&g, _i);
	fs = guest_mount(&g, NULL);
	guest_cache_put(fs, 7, 3, 1);
	ck_assert_int_eq(guest_cache_get(fs, 7, 3, 1), TMEM_GET_HIT);
	ck_assert_int_eq(guest_swap_store(g.swap, 0, 0, TM_PAGE_HEAP, 1),
			 -EINVAL);
	tmem_cleancache_unmount(fs);
	linux_guest_end(&g);
}
END_TEST

/* A second driver finds the front ends taken. */
START_TEST(a_cleancache_that_is_taken_is_no_error_beside_frontswap)
{
	struct tmem_driver_config config;
	struct tmem_driver *second;
	struct recorded t;

	begin(&t);
	guest_load_driver(&t.g);
	tmem_driver_config_init(&config);
	config.hypercall = &t.r.hypercall;
	config.cleancache = t.g.cache;
	config.is_enabled = true;
	ck_assert_int_eq(tmem_driver_open(&config, &second), -EBUSY);
	config.frontswap = t.g.swap;
	ck_assert_int_eq(tmem_driver_open(&config, &second), 0);
	ck_assert_uint_eq(tmem_driver_enabled(second) & TMEM_DRIVER_CLEANCACHE,
			  0);
	tmem_cleancache_destroy(t.g.cache);
	tmem_frontswap_destroy(t.g.swap);
	t.g.cache = NULL;
	t.g.swap = NULL;
	tmem_driver_close(second);
	end(&t);
}
END_TEST

/* --- transports ---------------------------------------------------------- */

START_TEST(pages_may_have_any_address)
{
	_Alignas(4096) uint8_t room[3 * TMEM_PAGE_SIZE];
	uint8_t want[TMEM_PAGE_SIZE];
	struct linux_guest g;

	linux_guest_begin(&g, _i);
	tmem_frontswap_swapon(g.swap, 0, 16);
	for (size_t at = 0; at <= TMEM_PAGE_SIZE; at += 511) {
		tm_page_fill(want, TM_PAGE_NOISE, at);
		memset(room, 0, sizeof(room));
		memcpy(room + at, want, sizeof(want));
		ck_assert_int_eq(tmem_frontswap_store(g.swap, 0, 1, room + at),
				 TMEM_FRONTSWAP_STORED);
		memset(room, 0xee, sizeof(room));
		ck_assert_int_eq(tmem_frontswap_load(g.swap, 0, 1, room + at),
				 TMEM_FRONTSWAP_HIT);
		ck_assert_mem_eq(room + at, want, sizeof(want));
		for (size_t i = 0; i < sizeof(room); i++)
			if (i < at || i >= at + sizeof(want))
				ck_assert_uint_eq(room[i], 0xee);
	}
	linux_guest_end(&g);
}
END_TEST

START_TEST(operations_that_are_none_are_answered)
{
	struct tmem_xen_op op = { 0 };
	struct linux_guest g;

	linux_guest_begin(&g, _i);
	for (uint32_t cmd = 0; cmd < 200; cmd++) {
		int result;

		op.cmd = cmd;
		op.pool_id = -1;
		result = g.hypercall->call(g.hypercall, &op, NULL);
		/* To Xen, ending a pool that is not there was no error. */
		ck_assert(result < 0 ||
			  (!result && cmd == TMEM_XEN_DESTROY_POOL));
	}
	op.cmd = TMEM_XEN_NEW_POOL;
	op.u.creat.flags = UINT32_MAX;
	ck_assert_int_lt(g.hypercall->call(g.hypercall, &op, NULL), 0);
	ck_assert_int_lt(g.hypercall->call(g.hypercall, NULL, NULL), 0);
	linux_guest_end(&g);
}
END_TEST

START_TEST(bad_configurations_are_refused)
{
	struct tmem_xen_domain_config domain;
	struct tmem_driver_config config;
	struct tmem_hypercall bad = { 0 }, *h;
	struct tmem_driver *driver;

	tmem_driver_config_init(&config);
	ck_assert_int_eq(tmem_driver_open(NULL, &driver), -EINVAL);
	ck_assert_int_eq(tmem_driver_open(&config, NULL), -EINVAL);
	config.hypercall = &bad;
	ck_assert_int_eq(tmem_driver_open(&config, &driver), -EINVAL);
	config.struct_size = 8;
	ck_assert_int_eq(tmem_driver_open(&config, &driver), -EINVAL);
	tmem_xen_domain_config_init(&domain);
	ck_assert_int_eq(tmem_hypercall_open_domain(NULL, &domain, &h),
			 -EINVAL);
	ck_assert_int_eq(tmem_hypercall_open_client(NULL, &h), -EINVAL);
	tmem_driver_close(NULL);
	tmem_hypercall_close(NULL);
}
END_TEST

#define EACH_WAY(test) tcase_add_loop_test(tcase, test, 0, GUEST_WAYS)

int main(void)
{
	Suite *suite = suite_create("driver");
	TCase *tcase = tcase_create("calls");

	tcase_add_test(tcase, swizzle_vectors);
	tcase_add_test(tcase, cleancache_as_hypercalls);
	tcase_add_test(tcase, frontswap_as_hypercalls);
	tcase_add_test(tcase, only_one_is_success);
	tcase_add_test(tcase, c3_put_that_fails_is_followed_by_a_flush);
	tcase_add_test(tcase, a_host_without_pools_refuses_all);
	suite_add_tcase(suite, tcase);
	tcase = tcase_create("enabling");
	tcase_add_test(tcase, enabling_rules);
	tcase_add_test(tcase, it_says_so_in_this_order);
	tcase_add_test(tcase, without_a_balloon_nothing_balloons);
	tcase_add_test(tcase, words_that_are_none_change_nothing);
	EACH_WAY(without_swap_cleancache_alone_helps);
	tcase_add_test(tcase,
		       a_cleancache_that_is_taken_is_no_error_beside_frontswap);
	suite_add_tcase(suite, tcase);
	tcase = tcase_create("transports");
	EACH_WAY(pages_may_have_any_address);
	EACH_WAY(operations_that_are_none_are_answered);
	tcase_add_test(tcase, bad_configurations_are_refused);
	suite_add_tcase(suite, tcase);
	return tm_test_run(suite);
}
