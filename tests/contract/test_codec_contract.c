/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What codec.h promises, held against every codec of the registry.
 *
 * Nothing here knows a codec by name: a new one is tested by being there, a
 * module by TMEM_PLUGIN_PATH. Each rule is run for each codec at its lowest,
 * default and highest level, and at 1, 2 and 5 where those are levels.
 *
 * Buffers lie between two pages that may not be touched, once against the
 * upper one and once against the lower one, so that a read or a write one
 * byte outside is a crash in every build.
 */
#include <config.h>

#include "harness.h"
#include "test_host.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include <tmem/tmem.h>

#define PAGE TMEM_PAGE_SIZE
/* Compressed forms are at most this long: bound() is checked by the loader. */
#define BOUND_MAX (PAGE + PAGE / 8 + 1024)

/* --- malloc() during compress and decompress is counted where it can be */

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) ||     \
	__has_feature(memory_sanitizer)
#define SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#endif

static _Thread_local unsigned mallocs;

#if defined(__GLIBC__) && !defined(SANITIZED)
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *ptr, size_t size);

void *malloc(size_t size)
{
	mallocs++;
	return __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
	mallocs++;
	return __libc_calloc(count, size);
}

void *realloc(void *ptr, size_t size)
{
	mallocs++;
	return __libc_realloc(ptr, size);
}
#endif

/* --- one codec, called directly: the checking layer is tested elsewhere */

struct rig {
	const struct tmem_codec *codec;
	int32_t level;
	struct tm_test_host test;
	void *params;
	void *context;
};

static struct tmem_plugins *plugins;

#define LEVELS_MAX 6

/* Levels worth testing, without repetition; answers how many. */
static int levels_of(const struct tmem_codec *codec, int32_t *levels)
{
	const int32_t wanted[LEVELS_MAX] = { codec->level_default,
					     codec->level_min,
					     codec->level_max,
					     1,
					     2,
					     5 };
	int count = 0;

	for (int i = 0; i < LEVELS_MAX; i++) {
		bool is_new = wanted[i] >= codec->level_min &&
			      wanted[i] <= codec->level_max;

		for (int j = 0; j < count; j++)
			is_new = is_new && levels[j] != wanted[i];
		if (is_new)
			levels[count++] = wanted[i];
	}
	return count;
}

/* Finds the codec and level of a loop's iteration; false past the last.
 * TMEM_TEST_CODEC names the only one to test. */
static bool rig_find(struct rig *rig, int iteration)
{
	const char *only = getenv("TMEM_TEST_CODEC");
	const struct tmem_codec *codec;
	int32_t levels[LEVELS_MAX];

	for (size_t n = 0; (codec = tmem_plugins_codec(plugins, n)); n++) {
		int count = levels_of(codec, levels);

		if (only && strcmp(codec->name, only) != 0)
			continue;
		if (iteration < count) {
			rig->codec = codec;
			rig->level = levels[iteration];
			return true;
		}
		iteration -= count;
	}
	return false;
}

static int params_open(struct rig *rig)
{
	const struct tmem_codec_config config = {
		.struct_size = sizeof(config),
		.level = rig->level,
		.page_size = PAGE,
	};

	return rig->codec->params_create(&rig->test.host, &config,
					 &rig->params);
}

static int context_open(struct rig *rig)
{
	return rig->codec->context_create(&rig->test.host, rig->params,
					  &rig->context);
}

static void rig_open(struct rig *rig, int iteration)
{
	memset(rig, 0, sizeof(*rig));
	ck_assert(rig_find(rig, iteration));
	printf("%s:%d\n", rig->codec->name, (int)rig->level);
	fflush(stdout);
	tm_test_host_init(&rig->test);
	ck_assert_int_eq(params_open(rig), 0);
	ck_assert_int_eq(context_open(rig), 0);
}

static void rig_close(struct rig *rig)
{
	rig->codec->context_destroy(&rig->test.host, rig->context);
	rig->codec->params_destroy(&rig->test.host, rig->params);
	ck_assert_uint_eq(atomic_load(&rig->test.used_bytes), 0);
}

static size_t compress_into(struct rig *rig, const void *src, size_t n,
			    void *dst, size_t limit)
{
	size_t len = rig->codec->compress(rig->context, src, n, dst, limit, 0);

	ck_assert_uint_le(len, limit);
	return len;
}

static int decompress_into(struct rig *rig, const void *src, size_t len,
			   void *dst, size_t n)
{
	int error = rig->codec->decompress(rig->context, src, len, dst, n, 0);

	ck_assert(error == 0 || error == -EBADMSG);
	return error;
}

/* --- guarded memory */

enum side { LOW, HIGH };

struct guarded {
	uint8_t *map;
	size_t room; /* between the two guards */
};

static struct guarded guarded_make(void)
{
	struct guarded guarded = { .room = 2 * PAGE };
	size_t whole = guarded.room + 2 * PAGE;

	guarded.map = mmap(NULL, whole, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS,
			   -1, 0);
	ck_assert_ptr_ne(guarded.map, MAP_FAILED);
	ck_assert_int_eq(mprotect(guarded.map + PAGE, guarded.room,
				  PROT_READ | PROT_WRITE),
			 0);
	return guarded;
}

static void guarded_free(struct guarded *guarded)
{
	munmap(guarded->map, guarded->room + 2 * PAGE);
}

/* @size bytes against one of the guards. */
static uint8_t *guarded_at(const struct guarded *guarded, enum side side,
			   size_t size)
{
	uint8_t *low = guarded->map + PAGE;

	ck_assert_uint_le(size, guarded->room);
	return side == LOW ? low : low + guarded->room - size;
}

/* --- pages */

enum kind {
	ZERO,
	RANDOM,
	TEXT,
	POINTERS,
	SPARSE,
	PATTERN,
	PROGRAM,
	KINDS,
};

static void fill_text(uint8_t *page, uint64_t *seed)
{
	static const char words[] =
		"the page of a client is put into its pool and got back by "
		"copy unless it was flushed or evicted meanwhile ";
	size_t at = 0;

	for (size_t i = 0; i < PAGE; i++) {
		page[i] = (uint8_t)words[at++ % (sizeof(words) - 1)];
		if (page[i] == ' ')
			at = tm_test_random(seed);
	}
}

static void fill_words(uint8_t *page, uint64_t *seed, enum kind kind)
{
	uint64_t base = UINT64_C(0x00007f0000000000) |
			(tm_test_random(seed) & UINT64_C(0xffff0000));
	uint64_t pattern = tm_test_random(seed);

	for (size_t i = 0; i < PAGE; i += 8) {
		uint64_t chance = tm_test_random(seed), word = pattern;

		if (kind == POINTERS)
			word = chance & 3 ? base + (chance >> 52 << 4) : 0;
		else if (kind == SPARSE)
			word = chance % 50 ? 0 : chance >> 40;
		memcpy(page + i, &word, 8);
	}
}

/* A page of this very program. */
static void fill_program(uint8_t *page, uint64_t *seed)
{
	int fd = open("/proc/self/exe", O_RDONLY);
	off_t size = fd < 0 ? 0 : lseek(fd, 0, SEEK_END);
	off_t at = size > PAGE ? (off_t)(tm_test_random(seed) %
					 (uint64_t)(size - PAGE))
			       : 0;

	memset(page, 0, PAGE);
	if (fd < 0)
		return;
	ck_assert_int_ge(pread(fd, page, PAGE, at), 0);
	close(fd);
}

static void fill(uint8_t *page, enum kind kind, uint64_t *seed)
{
	switch (kind) {
	case ZERO:
		memset(page, 0, PAGE);
		break;
	case RANDOM:
		for (size_t i = 0; i < PAGE; i++)
			page[i] = (uint8_t)tm_test_random(seed);
		break;
	case TEXT:
		fill_text(page, seed);
		break;
	case PROGRAM:
		fill_program(page, seed);
		break;
	default:
		fill_words(page, seed, kind);
		break;
	}
}

/* One that this codec at this level makes smaller. */
static void fill_compressible(uint8_t *page, struct rig *rig, uint64_t *seed)
{
	static const enum kind kinds[] = { TEXT, POINTERS, SPARSE, ZERO };
	uint8_t dst[BOUND_MAX];

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		fill(page, kinds[i], seed);
		if (rig->codec->compress(rig->context, page, PAGE, dst, PAGE,
					 0))
			return;
	}
	if (rig->codec->flags & TMEM_CODEC_STORES_RAW)
		return;
	ck_abort_msg("%s:%d compresses nothing", rig->codec->name,
		     (int)rig->level);
}

/* Every size up to 300, then some, and the ones around a page. */
static size_t size_after(size_t size, uint64_t *seed)
{
	if (size < 300)
		return size + 1;
	if (size < PAGE - 3) {
		size += 1 + tm_test_random(seed) % 400;
		return size < PAGE - 3 ? size : PAGE - 3;
	}
	return size + 1;
}

static uint64_t seed_start;

/* --- rules */

static void round_trip(struct rig *rig, const uint8_t *page, size_t n,
		       enum side side)
{
	struct guarded in = guarded_make(), out = guarded_make();
	uint8_t *src = guarded_at(&in, side, n);
	uint8_t *dst = guarded_at(&out, side, rig->codec->bound(n));
	size_t len;

	memcpy(src, page, n);
	len = compress_into(rig, src, n, dst, n);
	ck_assert_mem_eq(src, page, n);
	if (len) {
		/* The compressed form now lies against the guard, and what
		 * it is unpacked to as well. */
		uint8_t *packed = guarded_at(&in, side, len), *back;

		memcpy(packed, dst, len);
		back = guarded_at(&out, side, n);
		memset(back, 0xa5, n);
		ck_assert_int_eq(decompress_into(rig, packed, len, back, n), 0);
		ck_assert_mem_eq(back, page, n);
	}
	guarded_free(&in);
	guarded_free(&out);
}

START_TEST(every_page_of_every_size_comes_back)
{
	uint64_t seed = seed_start;
	uint8_t page[PAGE];
	struct rig rig;

	rig_open(&rig, _i);
	for (size_t n = 1; n <= PAGE; n = size_after(n, &seed)) {
		enum kind kind = (enum kind)(tm_test_random(&seed) % KINDS);

		fill(page, kind, &seed);
		round_trip(&rig, page, n, LOW);
		round_trip(&rig, page, n, HIGH);
	}
	for (enum kind kind = ZERO; kind < KINDS; kind++) {
		fill(page, kind, &seed);
		round_trip(&rig, page, PAGE, LOW);
		round_trip(&rig, page, PAGE, HIGH);
	}
	rig_close(&rig);
}
END_TEST

START_TEST(no_alignment_is_needed)
{
	uint64_t seed = seed_start;
	uint8_t page[PAGE];
	struct rig rig;

	rig_open(&rig, _i);
	fill_compressible(page, &rig, &seed);
	for (size_t skew = 0; skew < 16; skew++) {
		static uint8_t src[PAGE + 16], dst[BOUND_MAX + 16];
		static uint8_t back[PAGE + 16];
		size_t len;

		memcpy(src + skew, page, PAGE);
		len = compress_into(&rig, src + skew, PAGE, dst + 15 - skew,
				    PAGE);
		ck_assert_uint_gt(len, 0);
		ck_assert_int_eq(decompress_into(&rig, dst + 15 - skew, len,
						 back + skew, PAGE),
				 0);
		ck_assert_mem_eq(back + skew, page, PAGE);
	}
	rig_close(&rig);
}
END_TEST

START_TEST(what_is_longer_than_the_limit_is_not_worth_it)
{
	uint64_t seed = seed_start;
	uint8_t page[PAGE], dst[BOUND_MAX];
	struct rig rig;
	size_t full;

	rig_open(&rig, _i);
	fill_compressible(page, &rig, &seed);
	full = compress_into(&rig, page, PAGE, dst, PAGE);
	ck_assert_uint_gt(full, 0);
	ck_assert_uint_eq(compress_into(&rig, page, PAGE, dst, full), full);
	for (size_t limit = 1; limit < full; limit += 1 + full / 50)
		ck_assert_uint_eq(compress_into(&rig, page, PAGE, dst, limit),
				  0);
	ck_assert_uint_eq(compress_into(&rig, page, PAGE, dst, full - 1), 0);
	rig_close(&rig);
}
END_TEST

START_TEST(what_compresses_is_compressed)
{
	uint64_t seed = seed_start;
	uint8_t page[PAGE], dst[BOUND_MAX];
	struct rig rig;

	rig_open(&rig, _i);
	fill(page, ZERO, &seed);
	if (!(rig.codec->flags & TMEM_CODEC_STORES_RAW)) {
		size_t len = compress_into(&rig, page, PAGE, dst, PAGE);

		ck_assert_uint_gt(len, 0);
		ck_assert_uint_lt(len, PAGE / 4);
	}
	fill(page, RANDOM, &seed);
	ck_assert_uint_eq(compress_into(&rig, page, PAGE, dst, PAGE - 64), 0);
	rig_close(&rig);
}
END_TEST

static void hurt(struct rig *rig, const uint8_t *packed, size_t len, size_t n)
{
	struct guarded in = guarded_make(), out = guarded_make();

	for (enum side side = LOW; side <= HIGH; side++) {
		uint8_t *src = guarded_at(&in, side, len);

		memcpy(src, packed, len);
		decompress_into(rig, src, len, guarded_at(&out, side, n), n);
	}
	guarded_free(&in);
	guarded_free(&out);
}

START_TEST(any_bytes_may_be_decompressed)
{
	uint64_t seed = seed_start;
	uint8_t page[PAGE], packed[BOUND_MAX], bad[BOUND_MAX];
	struct rig rig;

	rig_open(&rig, _i);
	for (int round = 0; round < 300; round++) {
		size_t n = 1 + tm_test_random(&seed) % PAGE, len;
		size_t flips = 1 + tm_test_random(&seed) % 4;

		/* Noise of any length. */
		len = 1 + tm_test_random(&seed) % rig.codec->bound(n);
		for (size_t i = 0; i < len; i++)
			bad[i] = (uint8_t)tm_test_random(&seed);
		hurt(&rig, bad, len, n);

		/* A real form, cut, lengthened, and with bits flipped. */
		fill(page, (enum kind)(round % KINDS), &seed);
		len = compress_into(&rig, page, n, packed, n);
		if (!len)
			continue;
		hurt(&rig, packed, 1 + tm_test_random(&seed) % len, n);
		memcpy(bad, packed, len);
		while (flips--)
			bad[tm_test_random(&seed) % len] ^=
				(uint8_t)(1 << tm_test_random(&seed) % 8);
		hurt(&rig, bad, len, n);
		/* And the codec still works after all that. */
		ck_assert_int_eq(decompress_into(&rig, packed, len, bad, n), 0);
		ck_assert_mem_eq(bad, page, n);
	}
	rig_close(&rig);
}
END_TEST

/* With up to 9 bytes more than it has. */
static void lengthened(struct rig *rig, const uint8_t *packed, size_t len,
		       size_t n, uint64_t *seed)
{
	struct guarded in = guarded_make(), out = guarded_make();

	for (size_t more = 1; more < 10; more++) {
		uint8_t *src = guarded_at(&in, HIGH, len + more);

		if (len + more > rig->codec->bound(n))
			break;
		memcpy(src, packed, len);
		for (size_t i = 0; i < more; i++)
			src[len + i] = (uint8_t)tm_test_random(seed) &
				       (more & 1 ? 0xff : 0);
		ck_assert_int_eq(decompress_into(rig, src, len + more,
						 guarded_at(&out, HIGH, n), n),
				 -EBADMSG);
	}
	guarded_free(&in);
	guarded_free(&out);
}

/* Every cut, and every other page size: never anything but exactly n. */
START_TEST(a_form_is_of_exactly_one_length)
{
	uint64_t seed = seed_start;
	uint8_t page[PAGE], packed[BOUND_MAX];
	static uint8_t back[PAGE * 2];
	struct rig rig;
	size_t len;

	rig_open(&rig, _i);
	for (size_t n = 20; n <= PAGE; n += 679) {
		fill(page, TEXT, &seed);
		len = compress_into(&rig, page, n, packed, n);
		if (!len)
			continue;
		for (size_t other = 1; other <= PAGE; other += 1 + other / 9)
			if (other != n)
				ck_assert_int_eq(decompress_into(&rig, packed,
								 len, back,
								 other),
						 -EBADMSG);
		ck_assert_int_eq(
			decompress_into(&rig, packed, len, back, n - 1),
			-EBADMSG);
		ck_assert_int_eq(
			decompress_into(&rig, packed, len, back, n + 1),
			-EBADMSG);
		lengthened(&rig, packed, len, n, &seed);
		for (size_t cut = 1; cut < len; cut += 1 + len / 40)
			ck_assert_int_eq(decompress_into(&rig, packed,
							 len - cut, back, n),
					 -EBADMSG);
	}
	rig_close(&rig);
}
END_TEST

START_TEST(a_page_does_not_depend_on_the_page_before)
{
	uint64_t seed = seed_start;
	uint8_t page[PAGE], other[PAGE], noise[PAGE];
	uint8_t first[BOUND_MAX], again[BOUND_MAX];
	struct rig rig, fresh;
	size_t len;

	rig_open(&rig, _i);
	for (int round = 0; round < 40; round++) {
		fill(page, (enum kind)(round % KINDS), &seed);
		rig_open(&fresh, _i);
		len = compress_into(&fresh, page, PAGE, first, PAGE);
		rig_close(&fresh);
		/* Before it: another page, the same page, one that is given up
		 * half way, or a damaged one. */
		fill(other, (enum kind)(tm_test_random(&seed) % KINDS), &seed);
		if (round & 1)
			memcpy(other + 100, page, PAGE / 2);
		compress_into(&rig, other, PAGE, again, round & 2 ? 10 : PAGE);
		if (round & 4)
			decompress_into(&rig, other, 500, noise, PAGE);
		ck_assert_uint_eq(compress_into(&rig, page, PAGE, again, PAGE),
				  len);
		if (len)
			ck_assert_mem_eq(first, again, len);
	}
	rig_close(&rig);
}
END_TEST

START_TEST(every_level_decompresses_what_any_level_made)
{
	uint64_t seed = seed_start;
	uint8_t page[PAGE], packed[BOUND_MAX], back[PAGE];
	struct rig rig, other;
	int32_t levels[LEVELS_MAX];
	int count;

	rig_open(&rig, _i);
	count = levels_of(rig.codec, levels);
	for (int i = 0; i < count; i++) {
		memset(&other, 0, sizeof(other));
		other.codec = rig.codec;
		other.level = levels[i];
		tm_test_host_init(&other.test);
		ck_assert_int_eq(params_open(&other), 0);
		ck_assert_int_eq(context_open(&other), 0);
		for (enum kind kind = ZERO; kind < KINDS; kind++) {
			size_t len;

			fill(page, kind, &seed);
			len = compress_into(&rig, page, PAGE, packed, PAGE);
			if (!len)
				continue;
			ck_assert_int_eq(decompress_into(&other, packed, len,
							 back, PAGE),
					 0);
			ck_assert_mem_eq(page, back, PAGE);
		}
		rig_close(&other);
	}
	rig_close(&rig);
}
END_TEST

/* --- threads: a context is handed from one to the next */

struct errand {
	struct rig *rig;
	uint64_t seed;
	bool done;
};

static void *run_errand(void *arg)
{
	struct errand *errand = arg;
	uint8_t page[PAGE], packed[BOUND_MAX], back[PAGE];

	for (int round = 0; round < 20; round++) {
		size_t len;

		fill(page, (enum kind)(round % KINDS), &errand->seed);
		len = errand->rig->codec->compress(errand->rig->context, page,
						   PAGE, packed, PAGE, 0);
		if (len && (errand->rig->codec->decompress(errand->rig->context,
							   packed, len, back,
							   PAGE, 0) ||
			    memcmp(page, back, PAGE)))
			return NULL;
	}
	errand->done = true;
	return NULL;
}

START_TEST(a_context_may_move_between_threads)
{
	struct rig rig;

	rig_open(&rig, _i);
	for (int round = 0; round < 4; round++) {
		struct errand errand = { .rig = &rig,
					 .seed = seed_start + (unsigned)round };
		pthread_t thread;

		ck_assert_int_eq(
			pthread_create(&thread, NULL, run_errand, &errand), 0);
		ck_assert_int_eq(pthread_join(thread, NULL), 0);
		ck_assert(errand.done);
	}
	rig_close(&rig);
}
END_TEST

START_TEST(contexts_of_the_same_parameters_work_at_once)
{
	struct rig rigs[3];
	struct errand errands[3];
	pthread_t threads[3];

	rig_open(&rigs[0], _i);
	for (int i = 0; i < 3; i++) {
		if (i) {
			rigs[i] = rigs[0];
			ck_assert_int_eq(rigs[0].codec->context_create(
						 &rigs[0].test.host,
						 rigs[0].params,
						 &rigs[i].context),
					 0);
		}
		errands[i] =
			(struct errand){ .rig = &rigs[i], .seed = seed_start };
		ck_assert_int_eq(pthread_create(&threads[i], NULL, run_errand,
						&errands[i]),
				 0);
	}
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
		ck_assert(errands[i].done);
		if (i)
			rigs[0].codec->context_destroy(&rigs[0].test.host,
						       rigs[i].context);
	}
	rig_close(&rigs[0]);
}
END_TEST

/* --- memory */

START_TEST(pages_cost_no_memory_once_the_context_is_there)
{
	uint64_t seed = seed_start;
	uint8_t page[PAGE], packed[BOUND_MAX], back[PAGE];
	struct rig rig;
	size_t allocs;
	unsigned before;

	rig_open(&rig, _i);
	allocs = atomic_load(&rig.test.allocs);
	for (int round = 0; round < 3 * KINDS; round++) {
		const struct tmem_codec *codec = rig.codec;
		size_t len;

		fill(page, (enum kind)(round % KINDS), &seed);
		before = mallocs;
		len = codec->compress(rig.context, page, PAGE, packed, PAGE, 0);
		if (len) {
			codec->decompress(rig.context, packed, len, back, PAGE,
					  0);
			packed[len / 2] ^= 0x5a;
			codec->decompress(rig.context, packed, len, back, PAGE,
					  0);
			codec->decompress(rig.context, packed, len / 2 + 1,
					  back, PAGE, 0);
		}
		ck_assert_uint_eq(mallocs, before);
	}
	ck_assert_uint_eq(atomic_load(&rig.test.allocs), allocs);
	rig_close(&rig);
}
END_TEST

START_TEST(no_memory_at_any_point_is_no_memory_and_no_leak)
{
	struct rig rig;
	int error = -ENOMEM;

	memset(&rig, 0, sizeof(rig));
	ck_assert(rig_find(&rig, _i));
	tm_test_host_init(&rig.test);
	for (size_t n = 0; error; n++) {
		ck_assert_uint_lt(n, 50);
		atomic_store(&rig.test.allocs_left, n);
		error = params_open(&rig);
		if (!error) {
			error = context_open(&rig);
			if (!error)
				rig.codec->context_destroy(&rig.test.host,
							   rig.context);
			rig.codec->params_destroy(&rig.test.host, rig.params);
		}
		ck_assert(error == 0 || error == -ENOMEM);
		ck_assert_uint_eq(atomic_load(&rig.test.used_bytes), 0);
	}
}
END_TEST

/* --- memory that changes, for codecs that say they can bear it */

struct scribbler {
	uint8_t *page;
	atomic_bool stop;
};

static void *scribble(void *arg)
{
	struct scribbler *scribbler = arg;
	uint64_t seed = 1;

	while (!atomic_load(&scribbler->stop))
		((volatile uint8_t *)
			 scribbler->page)[tm_test_random(&seed) % PAGE] ^= 0xff;
	return NULL;
}

START_TEST(memory_may_change_where_the_flags_say_so)
{
	const uint64_t flags =
		TMEM_CODEC_INPUT_MAY_CHANGE | TMEM_CODEC_OUTPUT_MAY_CHANGE;
	struct guarded both = guarded_make(), out = guarded_make();
	struct scribbler scribbler = { .page = guarded_at(&both, HIGH, PAGE) };
	uint64_t seed = seed_start;
	uint8_t page[PAGE], packed[BOUND_MAX];
	struct rig rig;
	pthread_t thread;
	size_t len;

	rig_open(&rig, _i);
	fill_compressible(page, &rig, &seed);
	fill(scribbler.page, TEXT, &seed);
	len = compress_into(&rig, page, PAGE, packed, PAGE);
#ifndef SANITIZED /* it is a race, and meant to be one */
	if (rig.codec->flags & flags) {
		ck_assert_int_eq(
			pthread_create(&thread, NULL, scribble, &scribbler), 0);
		for (int i = 0; i < 2000; i++) {
			uint8_t *dst =
				guarded_at(&out, HIGH, rig.codec->bound(PAGE));

			if (rig.codec->flags & TMEM_CODEC_INPUT_MAY_CHANGE)
				compress_into(&rig, scribbler.page, PAGE, dst,
					      PAGE);
			if (rig.codec->flags & TMEM_CODEC_OUTPUT_MAY_CHANGE)
				ck_assert_int_eq(
					decompress_into(&rig, packed, len,
							scribbler.page, PAGE),
					0);
		}
		atomic_store(&scribbler.stop, true);
		ck_assert_int_eq(pthread_join(thread, NULL), 0);
	}
#else
	(void)flags, (void)len, (void)thread, (void)scribble;
#endif
	rig_close(&rig);
	guarded_free(&both);
	guarded_free(&out);
}
END_TEST

/* --- the table itself */

START_TEST(bound_holds_for_every_size)
{
	struct rig rig;

	rig_open(&rig, _i);
	for (size_t n = 1; n <= PAGE; n++) {
		size_t bound = rig.codec->bound(n);

		ck_assert_uint_le(bound, n + n / 8 + 1024);
		ck_assert_uint_ge(bound, 1);
		ck_assert_uint_ge(rig.codec->bound(n + 1), bound);
	}
	rig_close(&rig);
}
END_TEST

START_TEST(library_has_a_name_and_a_version)
{
	struct rig rig;

	ck_assert(rig_find(&rig, _i));
	ck_assert_uint_gt(strlen(rig.codec->library()), 2);
	ck_assert_ptr_null(strchr(rig.codec->library(), '\n'));
}
END_TEST

START_TEST(the_default_codec_is_there)
{
	const struct tmem_codec *codec;
	bool found = false;

	for (size_t n = 0; (codec = tmem_plugins_codec(plugins, n)); n++)
		found = found || !strcmp(codec->name, tmem_default_codec());
	ck_assert(found);
	ck_assert_ptr_nonnull(tmem_plugins_origin(plugins, "none"));
}
END_TEST

static void complain(void *opaque, enum tmem_log_level level, const char *text)
{
	(void)opaque, (void)level;
	fprintf(stderr, "%s\n", text);
}

int main(void)
{
	const TTest *const rules[] = {
		every_page_of_every_size_comes_back,
		no_alignment_is_needed,
		what_is_longer_than_the_limit_is_not_worth_it,
		what_compresses_is_compressed,
		any_bytes_may_be_decompressed,
		a_form_is_of_exactly_one_length,
		a_page_does_not_depend_on_the_page_before,
		every_level_decompresses_what_any_level_made,
		a_context_may_move_between_threads,
		contexts_of_the_same_parameters_work_at_once,
		pages_cost_no_memory_once_the_context_is_there,
		no_memory_at_any_point_is_no_memory_and_no_leak,
		memory_may_change_where_the_flags_say_so,
		bound_holds_for_every_size,
		library_has_a_name_and_a_version,
	};
	Suite *suite = suite_create("codec_contract");
	TCase *each = tcase_create("each");
	TCase *all = tcase_create("all");
	struct rig rig;
	int count = 0;

	seed_start = tm_test_seed();
	if (tmem_plugins_open(NULL, complain, NULL, &plugins))
		return EXIT_FAILURE;
	while (rig_find(&rig, count))
		count++;
	if (!count) {
		fprintf(stderr, "there is no codec to test\n");
		return EXIT_FAILURE;
	}
	tcase_set_timeout(each, 60);
	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++)
		tcase_add_loop_test(each, rules[i], 0, count);
	tcase_add_test(all, the_default_codec_is_there);
	suite_add_tcase(suite, each);
	suite_add_tcase(suite, all);
	return tm_test_run(suite);
}
