/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * kill -9 at random, again and again, on one arena.
 *
 * A child opens the arena and works: two threads, each with a client of its
 * own, put, overwrite, get, get and remove, and flush pages and objects, end
 * pools and make them anew, and fill the rest of the memory with ephemeral
 * pages, so that eviction never rests; codecs and allocators are switched
 * meanwhile, the library's own thread compacts. The parent kills it, opens the
 * arena, and requires of every persistent page
 *
 *	the content that was acknowledged last, byte for byte
 *	if the thread was inside an operation on it: that, or what the
 *	operation would have made of it; for several pages at once, the same
 *	of all
 *
 * and of the store that its sums are right. Then the next child goes on with
 * that arena.
 *
 * How the parent knows: before an operation a thread writes what it is about
 * to do into memory that both share, and afterwards what came of it; at death
 * these words stay as they were. Inside a move it is the same, by wrapping
 * what the store calls at its beginning and its end (see the linker's --wrap).
 * So a "kill inside" is counted from the words that the dead left, not from
 * what the parent hoped for.
 *
 * When it kills: after a random time; and in three rounds of four, then at the
 * first sight of some operation, drawn by lot. No kind of operation may be
 * without a kill inside it.
 *
 * TMEM_CRASH_SECONDS (10) is the time it takes, up to four times as much where
 * no kill was inside some operation by then. TMEM_SEED chooses the run.
 */
#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "crash.h"
#include "harness.h"
#include "store.h"

#define THREADS 2
/* The library's thread, and the one that opens the store. */
#define WATCHED (THREADS + 2)
#define MEMORY (UINT64_C(12) << 20)

/* A thread's pages: object o is pages o * OBJECT to (o + 1) * OBJECT - 1. The
 * last ones are those of the pool that is ended now and then. */
#define OBJECT 16
#define MAIN_PAGES (OBJECT * 56)
#define TEMP_PAGES (OBJECT * 2)
#define PAGES (MAIN_PAGES + TEMP_PAGES)
#define CACHE_PAGES 4096
/* Operations of one kind in a row. */
#define MANY 24

enum pools { POOL_MAIN, POOL_CACHE, POOL_TEMP };

enum phase {
	IDLE,
	OPENING,
	PUT,
	GET,
	GET_REMOVE,
	FLUSH,
	FLUSH_OBJECT,
	POOL_DESTROY,
	PHASES
};

static const char *const phase_name[PHASES] = {
	"nothing",        "opening", "put",          "get",
	"get-and-remove", "flush",   "flush-object", "pool-destroy",
};

/* What a thread says about itself. */
struct journal {
	_Atomic uint32_t phase;
	_Atomic uint32_t first; /* pages the operation is about */
	_Atomic uint32_t count;
	_Atomic uint32_t version; /* what they become; 0: absent */
	_Atomic uint32_t acknowledged[PAGES];
	uint32_t next_version;
	_Atomic uint64_t operations;
};

struct shared {
	struct journal journal[THREADS];
	_Atomic bool is_opening;
	_Atomic bool is_moving[WATCHED];
	_Atomic uint32_t watched;
	_Atomic uint64_t moves;
	_Atomic uint64_t evictions;
	_Atomic bool has_failed;
	char failure[256];
};

/* The wrappers are called by the store, which knows nothing of this test. */
static struct shared *shared;

static _Noreturn void give_up(const char *what, int result)
{
	snprintf(shared->failure, sizeof(shared->failure), "%s (%d)", what,
		 result);
	atomic_store(&shared->has_failed, true);
	_exit(1);
}

/* --- inside a move -------------------------------------------------------- */

struct watched {
	bool is_compacting;
	uint32_t number; /* looked at; 0: nothing yet */
	int slot; /* 0: none yet, else one more */
};
static __thread struct watched watched;

uint32_t __real_tm_compact(struct tm_context *context, uint32_t max);
uint32_t __wrap_tm_compact(struct tm_context *context, uint32_t max);
bool __real_tm_spot_lock(struct tm_context *context, uint32_t number,
			 struct tm_spot *spot);
bool __wrap_tm_spot_lock(struct tm_context *context, uint32_t number,
			 struct tm_spot *spot);
void __real_tm_place_free(struct tm_context *context, uint64_t place);
void __wrap_tm_place_free(struct tm_context *context, uint64_t place);

static void say_moving(bool is_moving)
{
	if (!shared)
		return;
	if (!watched.slot)
		watched.slot = (int)atomic_fetch_add(&shared->watched, 1) + 1;
	if (watched.slot <= WATCHED)
		atomic_store(&shared->is_moving[watched.slot - 1], is_moving);
}

uint32_t __wrap_tm_compact(struct tm_context *context, uint32_t max)
{
	uint32_t moved;

	watched.is_compacting = true;
	watched.number = 0;
	moved = __real_tm_compact(context, max);
	watched.is_compacting = false;
	if (shared)
		atomic_fetch_add(&shared->moves, moved);
	return moved;
}

/* A move looks at a page first, without keeping the lock, and finds room for
 * it; when it locks the same page again, it copies. */
bool __wrap_tm_spot_lock(struct tm_context *context, uint32_t number,
			 struct tm_spot *spot) TM_NO_THREAD_SAFETY_ANALYSIS
{
	if (watched.is_compacting) {
		if (watched.number == number)
			say_moving(true);
		watched.number = number;
	}
	return __real_tm_spot_lock(context, number, spot);
}

/* The last thing a move does is to free the room it came from. */
void __wrap_tm_place_free(struct tm_context *context, uint64_t place)
{
	__real_tm_place_free(context, place);
	if (watched.is_compacting && watched.number) {
		say_moving(false);
		watched.number = 0;
	}
}

/* --- contents ------------------------------------------------------------- */

/* Every page says whose it is, but for those that dedup is to find. */
static void fill(void *page, uint32_t thread, uint32_t number, uint32_t version)
{
	uint32_t name[4] = { 0x7e3a11, thread, number, version };
	uint64_t seed = (uint64_t)version << 32 | number << 1 | thread;

	if (number % 8 == 5) {
		crash_fill(page, 4 * (version % 16 + 1));
		return;
	}
	/* Text, sparse, same-filled or noise, as the draw says. */
	crash_fill(page, (uint32_t)tm_test_random(&seed) | (version & 1));
	if (seed % 16)
		memcpy(page, name, sizeof(name));
}

static struct tmem_oid oid_of(uint32_t number)
{
	return (struct tmem_oid){ { number / OBJECT, 0, 1 } };
}

static int pool_of(uint32_t number)
{
	return number < MAIN_PAGES ? POOL_MAIN : POOL_TEMP;
}

/* --- the child ------------------------------------------------------------ */

struct worker {
	struct tm_store *store;
	struct tm_client *client;
	struct journal *journal;
	uint32_t thread;
	uint64_t random;
	uint32_t cached[CACHE_PAGES]; /* version; 0: none */
	uint64_t page[TMEM_PAGE_SIZE / 8];
	uint64_t answer[TMEM_PAGE_SIZE / 8];
};

static uint32_t draw(struct worker *w, uint32_t below)
{
	return (uint32_t)(tm_test_random(&w->random) % below);
}

static void begin(struct worker *w, enum phase phase, uint32_t first,
		  uint32_t count, uint32_t version)
{
	struct journal *j = w->journal;

	atomic_store(&j->first, first);
	atomic_store(&j->count, count);
	atomic_store(&j->version, version);
	atomic_store(&j->phase, phase);
}

/* It has answered: this is how things are from now on. */
static void end(struct worker *w, uint32_t version)
{
	struct journal *j = w->journal;

	for (uint32_t i = 0; i < j->count; i++)
		atomic_store(&j->acknowledged[j->first + i], version);
	atomic_store(&j->phase, IDLE);
	atomic_fetch_add(&j->operations, 1);
}

static void do_put(struct worker *w, uint32_t number)
{
	uint32_t version = ++w->journal->next_version;
	struct tmem_oid oid = oid_of(number);
	int result;

	fill(w->page, w->thread, number, version);
	begin(w, PUT, number, 1, version);
	result = tm_put(w->client, pool_of(number), &oid, number % OBJECT,
			w->page, 0);
	end(w, result == TMEM_PUT_STORED ? version : 0);
	if (result < 0)
		give_up("a put failed", result);
}

static void do_get(struct worker *w, uint32_t number, bool remove)
{
	uint32_t have = w->journal->acknowledged[number];
	struct tmem_oid oid = oid_of(number);
	int result;

	begin(w, remove ? GET_REMOVE : GET, number, 1, remove ? 0 : have);
	result = tm_get(w->client, pool_of(number), &oid, number % OBJECT,
			w->answer, remove ? TMEM_GET_REMOVE : 0);
	end(w, remove ? 0 : have);
	if (result != (have ? TMEM_GET_HIT : TMEM_GET_MISS))
		give_up("a get does not find what was put, or what was not", 0);
	fill(w->page, w->thread, number, have);
	if (have && memcmp(w->page, w->answer, TMEM_PAGE_SIZE))
		give_up("a get brings the wrong page", 0);
}

static void do_flush(struct worker *w, uint32_t number)
{
	uint32_t have = w->journal->acknowledged[number];
	struct tmem_oid oid = oid_of(number);
	int result;

	begin(w, FLUSH, number, 1, 0);
	result = tm_flush_page(w->client, pool_of(number), &oid,
			       number % OBJECT);
	end(w, 0);
	if (result != (have != 0))
		give_up("a flush finds no page, or one too many", 0);
}

static void do_flush_object(struct worker *w, uint32_t number)
{
	struct tmem_oid oid = oid_of(number);

	begin(w, FLUSH_OBJECT, number / OBJECT * OBJECT, OBJECT, 0);
	if (tm_flush_object(w->client, pool_of(number), &oid) < 0)
		give_up("an object cannot be flushed", 0);
	end(w, 0);
}

static void do_end_pool(struct worker *w)
{
	int id;

	begin(w, POOL_DESTROY, MAIN_PAGES, TEMP_PAGES, 0);
	if (tm_pool_destroy(w->client, POOL_TEMP))
		give_up("a pool cannot be ended", 0);
	end(w, 0);
	id = tm_pool_create(w->client, TM_POOL_ANY, TMEM_POOL_PERSISTENT, NULL);
	if (id != POOL_TEMP)
		give_up("an ended pool cannot be made again", id);
}

/* Ephemeral pages, more than there is room for. */
static void do_cache(struct worker *w, uint32_t number)
{
	struct tmem_oid oid = { { number / 64, 5, 5 } };
	int result;

	if (draw(w, 3)) {
		fill(w->page, w->thread, number, ++w->journal->next_version);
		result = tm_put(w->client, POOL_CACHE, &oid, number % 64,
				w->page, 0);
		w->cached[number] = result == TMEM_PUT_STORED
					    ? w->journal->next_version
					    : 0;
		return;
	}
	result = tm_get(w->client, POOL_CACHE, &oid, number % 64, w->answer, 0);
	if (result == TMEM_GET_HIT) {
		fill(w->page, w->thread, number, w->cached[number]);
		if (!w->cached[number] ||
		    memcmp(w->page, w->answer, TMEM_PAGE_SIZE))
			give_up("an ephemeral page is stale or somebody else's",
				0);
	}
	w->cached[number] = 0;
}

static void do_switch(struct worker *w)
{
	static const char *const codec[] = { "lz4", "none", "zlib:1", "lzo" };
	static const char *const allocator[] = { "zsmalloc", "zbud" };

	/* What this build does not have is refused, and nothing changes; so is
	 * what finds no memory. */
	tm_store_evict(w->store, MEMORY / 8);
	if (draw(w, 3))
		tm_store_set_codec(w->store, codec[draw(w, 4)]);
	else
		tm_store_set_allocator(w->store, allocator[draw(w, 2)]);
}

/* The short ones come in a row: a kill takes longer than one of them. */
static void do_many(struct worker *w, uint32_t number, enum phase what)
{
	for (uint32_t i = 0; i < MANY; i++, number = (number + 7) % PAGES) {
		if (what == FLUSH)
			do_flush(w, number);
		else
			do_get(w, number, what == GET_REMOVE);
	}
}

static void *work(void *opaque)
{
	struct worker *w = opaque;

	for (;;) {
		uint32_t what = draw(w, 1000);
		uint32_t number = draw(w, PAGES);

		if (what < 600)
			do_put(w, number);
		else if (what < 620)
			do_many(w, number, GET);
		else if (what < 635)
			do_many(w, number, GET_REMOVE);
		else if (what < 650)
			do_many(w, number, FLUSH);
		else if (what < 660)
			do_flush_object(w, number);
		else if (what < 663)
			do_end_pool(w);
		else if (what < 664)
			do_switch(w);
		else
			do_cache(w, draw(w, CACHE_PAGES));
	}
	return NULL;
}

static struct tm_client *attach(struct tm_store *store, uint32_t thread)
{
	char name[16];
	struct tmem_client_config config = { .struct_size = sizeof(config),
					     .name = name };
	struct tm_client *client;

	snprintf(name, sizeof(name), "thread%" PRIu32, thread);
	return tm_client_attach(store, &config, &client) < 0 ? NULL : client;
}

static void make_pools(struct tm_client *client)
{
	static const uint32_t flags[] = { TMEM_POOL_PERSISTENT, 0,
					  TMEM_POOL_PERSISTENT };

	for (int id = POOL_MAIN; id <= POOL_TEMP; id++) {
		struct tmem_pool_info info = { .struct_size = sizeof(info) };

		int made = id;

		if (tm_pool_get_info(client, id, &info))
			made = tm_pool_create(client, TM_POOL_ANY, flags[id],
					      NULL);
		if (made != id)
			give_up("a pool cannot be made", made);
	}
}

static _Noreturn void live(const struct tmem_store_config *config,
			   const struct tmem_plugins *plugins, uint64_t seed)
{
	static struct worker workers[THREADS];
	struct tm_store *store;
	pthread_t threads[THREADS];

	atomic_store(&shared->is_opening, true);
	if (tm_store_open(config, plugins, &store))
		give_up("the child cannot open the arena", 0);
	atomic_store(&shared->is_opening, false);
	for (uint32_t i = 0; i < THREADS; i++) {
		struct worker *w = &workers[i];

		w->store = store;
		w->thread = i;
		w->journal = &shared->journal[i];
		w->random = seed + i;
		w->client = attach(store, i);
		if (!w->client)
			give_up("a client cannot attach", 0);
		make_pools(w->client);
	}
	for (uint32_t i = 0; i < THREADS; i++)
		if (pthread_create(&threads[i], NULL, work, &workers[i]))
			give_up("no thread", 0);
	for (;;) {
		struct tmem_store_stats stats = { .struct_size =
							  sizeof(stats) };

		usleep(1000);
		tm_store_get_stats(store, &stats);
		atomic_store(&shared->evictions, stats.counts.evicted);
	}
}

/* --- the parent ----------------------------------------------------------- */

struct tally {
	uint64_t rounds;
	uint64_t kills[PHASES];
	uint64_t kills_moving;
	uint64_t pages;
	uint64_t undecided; /* pages of operations under way */
	uint64_t done; /* of these, as after it */
	uint64_t moves;
	uint64_t evictions;
	uint64_t operations;
};

static bool is_version(const void *page, uint32_t thread, uint32_t number,
		       uint32_t version)
{
	uint64_t expected[TMEM_PAGE_SIZE / 8];

	if (!version)
		return false;
	fill(expected, thread, number, version);
	return !memcmp(page, expected, TMEM_PAGE_SIZE);
}

static _Noreturn void wrong(uint64_t round, uint32_t thread, uint32_t number,
			    const char *what)
{
	const struct journal *j = &shared->journal[thread];

	ck_abort_msg("round %" PRIu64 ", thread %" PRIu32 ", page %" PRIu32
		     ": %s; acknowledged version %" PRIu32
		     ", in %s of pages %" PRIu32 "+%" PRIu32
		     ", to version %" PRIu32,
		     round, thread, number, what, j->acknowledged[number],
		     phase_name[j->phase], j->first, j->count, j->version);
	abort();
}

/* What the arena has of a page: its old version, its new one, or neither. */
struct found {
	bool as_old;
	bool as_new;
	bool is_absent;
};

static struct found look(struct tm_client *client, uint32_t thread,
			 uint32_t number, uint32_t old, uint32_t new)
{
	uint64_t page[TMEM_PAGE_SIZE / 8];
	struct tmem_oid oid = oid_of(number);
	int result =
		tm_get(client, pool_of(number), &oid, number % OBJECT, page, 0);

	if (result == TMEM_GET_HIT)
		return (struct found){
			.as_old = is_version(page, thread, number, old),
			.as_new = is_version(page, thread, number, new),
		};
	if (result == TMEM_GET_MISS || result == -ENOENT)
		return (struct found){ !old, !new, true };
	return (struct found){ 0 };
}

static void verify_thread(struct tm_client *client, uint32_t thread,
			  struct tally *tally)
{
	struct journal *j = &shared->journal[thread];
	bool all_old = true, all_new = true, all_absent = true;

	for (uint32_t i = 0; i < PAGES; i++) {
		bool is_open = j->phase != IDLE && i >= j->first &&
			       i < j->first + j->count;
		uint32_t old = j->acknowledged[i];
		struct found found = look(client, thread, i, old,
					  is_open ? j->version : old);

		tally->pages += old != 0;
		if (is_open) {
			all_old &= found.as_old;
			all_new &= found.as_new;
			all_absent &= found.is_absent;
			tally->undecided++;
		} else if (!found.as_old) {
			wrong(tally->rounds, thread, i,
			      "an acknowledged page is not what it was");
		}
	}
	if (j->phase == IDLE)
		return;
	/* A put may have been refused: then the page is gone. */
	if (!all_old && !all_new && !(j->phase == PUT && all_absent))
		wrong(tally->rounds, thread, j->first,
		      "an operation was done by halves");
	tally->done += all_new;
	for (uint32_t i = 0; i < j->count && !all_old; i++)
		j->acknowledged[j->first + i] = all_new ? j->version : 0;
	j->phase = IDLE;
}

static void verify(const struct tmem_store_config *config,
		   const struct tmem_plugins *plugins, struct tally *tally)
{
	struct tmem_store_config again = *config;
	struct tm_store *store;
	int err;

	again.flags |= TMEM_STORE_NO_THREADS;
	err = tm_store_open(&again, plugins, &store);
	if (err)
		ck_abort_msg("round %" PRIu64 ": the arena does not open: %s",
			     tally->rounds, strerror(-err));
	for (uint32_t i = 0; i < THREADS; i++) {
		struct tm_client *client = attach(store, i);

		ck_assert_ptr_nonnull(client);
		verify_thread(client, i, tally);
		tm_client_detach(client);
	}
	ck_assert_msg(!tm_store_check(store),
		      "round %" PRIu64 ": the sums are wrong", tally->rounds);
	tm_store_close(store);
}

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static bool is_somebody_in(uint32_t target)
{
	if (target == PHASES) {
		for (unsigned i = 0; i < WATCHED; i++)
			if (atomic_load_explicit(&shared->is_moving[i],
						 memory_order_relaxed))
				return true;
		return false;
	}
	for (unsigned i = 0; i < THREADS; i++)
		if (atomic_load_explicit(&shared->journal[i].phase,
					 memory_order_relaxed) == target)
			return true;
	return false;
}

static void count_kill(struct tally *tally)
{
	bool is_moving = false;

	for (unsigned i = 0; i < WATCHED; i++)
		is_moving |= shared->is_moving[i];
	tally->kills_moving += is_moving;
	tally->kills[OPENING] += shared->is_opening;
	for (unsigned i = 0; i < THREADS; i++)
		tally->kills[shared->journal[i].phase]++;
	tally->moves += shared->moves;
	tally->evictions += shared->evictions;
	shared->moves = 0;
	shared->evictions = 0;
	shared->is_opening = false;
	shared->watched = 0;
	for (unsigned i = 0; i < WATCHED; i++)
		shared->is_moving[i] = false;
}

/* Whatever has had the fewest kills so far; PHASES: a move. */
static uint32_t rarest(const struct tally *tally)
{
	uint64_t fewest = tally->kills_moving;
	uint32_t target = PHASES;

	for (uint32_t i = PUT; i < PHASES; i++) {
		if (tally->kills[i] >= fewest)
			continue;
		fewest = tally->kills[i];
		target = i;
	}
	return target;
}

/* Sleeps, and then perhaps waits for somebody to be in the midst of it. */
static void wait_for_moment(uint64_t *random, const struct tally *tally)
{
	useconds_t sleep_us = (useconds_t)(tm_test_random(random) % 30000);
	uint32_t target = rarest(tally);
	uint64_t until;

	/* Opening takes a while: some never get beyond it. */
	if (tm_test_random(random) % 8 == 0)
		sleep_us /= 32;
	usleep(sleep_us);
	if (tm_test_random(random) % 4 == 0)
		return;
	until = now_ms() + 50;
	while (!is_somebody_in(target) && now_ms() < until)
		;
}

static void run_round(const struct tmem_store_config *config,
		      const struct tmem_plugins *plugins, uint64_t *random,
		      struct tally *tally)
{
	uint64_t seed = tm_test_random(random);
	int status;
	pid_t child = fork();

	if (!child)
		live(config, plugins, seed);
	wait_for_moment(random, tally);
	kill(child, SIGKILL);
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	if (shared->has_failed)
		ck_abort_msg("round %" PRIu64 ": %s", tally->rounds,
			     shared->failure);
	ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL,
		      "round %" PRIu64 ": the child ended by itself: %#x",
		      tally->rounds, status);
	count_kill(tally);
	verify(config, plugins, tally);
	tally->rounds++;
}

/* Is there a kind of operation that nobody was killed in, or something that did
 * not happen at all? */
static bool is_missing(const struct tally *tally)
{
	bool missing =
		!tally->kills_moving || !tally->evictions || !tally->moves;

	for (unsigned i = PUT; i < PHASES; i++)
		missing |= !tally->kills[i];
	return missing;
}

static void report(const struct tally *tally)
{
	printf("%" PRIu64 " kills, %" PRIu64 " operations, %" PRIu64
	       " evictions, %" PRIu64 " moves; %" PRIu64
	       " acknowledged pages verified\n",
	       tally->rounds, tally->operations, tally->evictions, tally->moves,
	       tally->pages);
	printf("threads killed inside: ");
	for (unsigned i = OPENING; i < PHASES; i++)
		printf("%s %" PRIu64 ", ", phase_name[i], tally->kills[i]);
	printf("move %" PRIu64 "\n", tally->kills_moving);
	printf("of %" PRIu64 " pages of operations under way; %" PRIu64
	       " operations were found done\n",
	       tally->undecided, tally->done);
}

START_TEST(acknowledged_pages_survive_kill_9)
{
	const char *text = getenv("TMEM_CRASH_SECONDS");
	uint64_t random = tm_test_seed();
	uint64_t span_ms = 1000 * (text ? strtoull(text, NULL, 0) : 10);
	uint64_t end_ms = now_ms() + span_ms;
	char path[64];
	bool quiet = !getenv("TMEM_CRASH_LOG");
	struct tmem_store_config config = {
		.struct_size = sizeof(config),
		.memory_bytes = MEMORY,
		.memory_max_bytes = 2 * MEMORY,
		.codec = tmem_default_codec(),
		.allocator = tmem_default_allocator(),
		.arena = path,
		.log = crash_log,
		.log_opaque = &quiet,
	};
	struct tmem_plugins *plugins;
	struct tally tally = { 0 };

	crash_path(path, sizeof(path), "kill");
	ck_assert_int_eq(tmem_plugins_open(NULL, NULL, NULL, &plugins), 0);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne(shared, MAP_FAILED);
	/* Somewhat longer where the lot has left something out. */
	while (now_ms() < end_ms ||
	       (is_missing(&tally) && now_ms() < end_ms + 30 * span_ms)) {
		/* With dedup and without, on the same arena. */
		config.flags =
			tally.rounds / 4 % 2
				? TMEM_STORE_DEDUP | TMEM_STORE_DEDUP_PERSISTENT
				: 0;
		run_round(&config, plugins, &random, &tally);
	}
	for (unsigned i = 0; i < THREADS; i++)
		tally.operations += shared->journal[i].operations;
	report(&tally);
	ck_assert_uint_gt(tally.evictions, 0);
	ck_assert_uint_gt(tally.moves, 0);
	ck_assert_msg(!is_missing(&tally), "no kill inside some operation");
	tmem_plugins_close(plugins);
	unlink(path);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("crash-kill");
	TCase *tcase = tcase_create("kill");
	char path[64];

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (!crash_path(path, sizeof(path), "kill")) {
		printf("skipped: no /dev/shm\n");
		return 77;
	}
	tcase_set_timeout(tcase, 0);
	tcase_add_test(tcase, acknowledged_pages_survive_kill_9);
	suite_add_tcase(suite, tcase);
	return tm_test_run(suite);
}
