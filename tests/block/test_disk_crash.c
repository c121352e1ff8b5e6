/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A process with a swap disk dies: at every step, and at any time.
 *
 * A child opens a store in an arena file, and a disk with or without a backing
 * file, and works. It says in shared memory what it is about to do to a block
 * and what came of it. The parent opens both after its death and requires of
 * each block what was acknowledged; of one that a request was under way for,
 * that or what the request would have made of it; and the same again at the
 * next opening. Then it discards all, and all must be zeros, at the next
 * opening too: nothing was left behind that comes back.
 *
 * *Every step*: whatever changes the pool or the file is wrapped (the linker's
 * --wrap), a batch call by call, and the child dies before its n-th such call,
 * for every n there is. The script leads blocks through all places: tmem, the
 * file, neither; with room and without.
 *
 * *Any time*: threads write, discard and demote at random under pressure, and
 * are killed after a random time, again and again on the same arena and file.
 *
 * Without a backing file a refused write loses a block, which must answer -EIO,
 * or be zeros where no mark could be put: never anything older.
 */
#include <config.h>

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "disk_rig.h"

#define BLOCKS 600
/* Those that the script is about. */
#define SCRIPT_BLOCKS 6
#define MEMORY (UINT64_C(1) << 20)
#define LOST UINT32_MAX
#define NEVER UINT64_MAX
#define RANDOM_ROUNDS 25
#define THREADS 2

struct block_state {
	_Atomic uint32_t acknowledged; /* a generation, 0, or LOST */
	_Atomic uint32_t pending;
	_Atomic bool is_pending;
};

/* What parent and child share. */
struct journal {
	_Atomic uint64_t step;
	_Atomic uint64_t die_before;
	_Atomic bool is_finished;
	struct block_state blocks[BLOCKS];
};

/* The wrappers are called by the disk, which knows nothing of this test. */
static struct journal *journal;

static void step(void)
{
	if (journal && atomic_fetch_add(&journal->step, 1) ==
			       atomic_load(&journal->die_before))
		kill(getpid(), SIGKILL);
}

int __real_tmem_put(struct tmem_client *client, int pool,
		    const struct tmem_oid *oid, uint32_t index,
		    const void *page, uint32_t flags);
int __wrap_tmem_put(struct tmem_client *client, int pool,
		    const struct tmem_oid *oid, uint32_t index,
		    const void *page, uint32_t flags);
int __real_tmem_flush_page(struct tmem_client *client, int pool,
			   const struct tmem_oid *oid, uint32_t index);
int __wrap_tmem_flush_page(struct tmem_client *client, int pool,
			   const struct tmem_oid *oid, uint32_t index);
int __real_tmem_flush_object(struct tmem_client *client, int pool,
			     const struct tmem_oid *oid);
int __wrap_tmem_flush_object(struct tmem_client *client, int pool,
			     const struct tmem_oid *oid);
int __real_tmem_batch(struct tmem_client *client, struct tmem_request *requests,
		      uint32_t count);
int __wrap_tmem_batch(struct tmem_client *client, struct tmem_request *requests,
		      uint32_t count);
ssize_t __real_pwrite(int fd, const void *bytes, size_t size, off_t offset);
ssize_t __wrap_pwrite(int fd, const void *bytes, size_t size, off_t offset);
int __real_fallocate(int fd, int mode, off_t offset, off_t size);
int __wrap_fallocate(int fd, int mode, off_t offset, off_t size);
int __real_ftruncate(int fd, off_t size);
int __wrap_ftruncate(int fd, off_t size);

int __wrap_tmem_put(struct tmem_client *client, int pool,
		    const struct tmem_oid *oid, uint32_t index,
		    const void *page, uint32_t flags)
{
	step();
	return __real_tmem_put(client, pool, oid, index, page, flags);
}

int __wrap_tmem_flush_page(struct tmem_client *client, int pool,
			   const struct tmem_oid *oid, uint32_t index)
{
	step();
	return __real_tmem_flush_page(client, pool, oid, index);
}

int __wrap_tmem_flush_object(struct tmem_client *client, int pool,
			     const struct tmem_oid *oid)
{
	step();
	return __real_tmem_flush_object(client, pool, oid);
}

int __wrap_tmem_batch(struct tmem_client *client, struct tmem_request *requests,
		      uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		if (requests[i].kind != TMEM_REQUEST_GET)
			step();
		__real_tmem_batch(client, &requests[i], 1);
	}
	return 0;
}

ssize_t __wrap_pwrite(int fd, const void *bytes, size_t size, off_t offset)
{
	step();
	return __real_pwrite(fd, bytes, size, offset);
}

int __wrap_fallocate(int fd, int mode, off_t offset, off_t size)
{
	/* The arena's own preparations are not the disk's. */
	if (mode)
		step();
	return __real_fallocate(fd, mode, offset, size);
}

int __wrap_ftruncate(int fd, off_t size)
{
	step();
	return __real_ftruncate(fd, size);
}

/* --- a world -------------------------------------------------------------- */

struct world {
	struct disk_rig rig;
	char arena[RIG_PATH];
	char backing[RIG_PATH];
	bool has_backing;
};

static void begin_world(struct world *world, bool has_backing)
{
	rig_path(world->arena, "crash-arena");
	rig_path(world->backing, "crash-backing");
	world->has_backing = has_backing;
	for (int i = 0; i < BLOCKS; i++) {
		atomic_store(&journal->blocks[i].acknowledged, 0);
		atomic_store(&journal->blocks[i].is_pending, false);
	}
	atomic_store(&journal->step, 0);
	atomic_store(&journal->die_before, NEVER);
	atomic_store(&journal->is_finished, false);
}

static void end_world(struct world *world)
{
	unlink(world->arena);
	unlink(world->backing);
}

static void open_world(struct world *world)
{
	rig_init(&world->rig, MEMORY, BLOCKS);
	world->rig.t.config.arena = world->arena;
	if (world->has_backing)
		world->rig.config.backing = world->backing;
	tm_test_open(&world->rig.t);
	rig_must_open(&world->rig);
}

static void close_world(struct world *world)
{
	tm_disk_close(world->rig.disk);
	tm_test_end(&world->rig.t);
}

static void *map_journal(void)
{
	void *map = mmap(NULL, sizeof(struct journal), PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	ck_assert_ptr_ne(map, MAP_FAILED);
	return map;
}

/* --- the child's part ----------------------------------------------------- */

static void announce(uint64_t block, uint32_t generation)
{
	struct block_state *state = &journal->blocks[block];

	atomic_store(&state->pending, generation);
	atomic_store(&state->is_pending, true);
}

static void acknowledge(uint64_t block, int err)
{
	struct block_state *state = &journal->blocks[block];

	/* Where there was nothing, a failure leaves nothing. */
	if (!err)
		atomic_store(&state->acknowledged,
			     atomic_load(&state->pending));
	else if (atomic_load(&state->acknowledged))
		atomic_store(&state->acknowledged, LOST);
	atomic_store(&state->is_pending, false);
}

/* One request for all of them; if it fails, each one by itself, to know. */
static void child_write(struct world *world, uint64_t first, uint32_t count,
			uint32_t generation)
{
	uint8_t pages[SCRIPT_BLOCKS][TM_BLOCK_SIZE] = { { 0 } };
	int err;

	for (uint32_t i = 0; i < count; i++) {
		rig_page(pages[i], first + i, generation);
		announce(first + i, generation);
	}
	err = tm_disk_write(world->rig.disk, pages, first * TM_BLOCK_SIZE,
			    count * TM_BLOCK_SIZE);
	if (err && world->has_backing)
		_exit(2);
	for (uint32_t i = 0; i < count; i++) {
		uint8_t got[TM_BLOCK_SIZE];
		int failed = err ? tm_disk_read(world->rig.disk, got,
						(first + i) * TM_BLOCK_SIZE,
						TM_BLOCK_SIZE)
				 : 0;

		if (err && !failed && memcmp(got, pages[i], sizeof(got)))
			failed = -ENOSPC;
		acknowledge(first + i, failed);
	}
}

static void child_discard(struct world *world, uint64_t first, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		announce(first + i, 0);
	if (tm_disk_discard(world->rig.disk, first * TM_BLOCK_SIZE,
			    count * TM_BLOCK_SIZE))
		_exit(3);
	for (uint32_t i = 0; i < count; i++)
		acknowledge(first + i, 0);
}

static void child_demote(struct world *world, uint64_t blocks)
{
	if (world->has_backing &&
	    tm_disk_demote(world->rig.disk, blocks * TM_BLOCK_SIZE) < 0)
		_exit(4);
}

/* Somebody else takes all memory there is; or gives it back. */
static void child_squeeze(struct world *world, bool is_full)
{
	struct tmem_oid oid = { { 9, 9, 9 } };
	struct tmem_client *other = tm_test_attach(world->rig.t.store, "other");
	uint8_t page[TM_BLOCK_SIZE];
	int pool = 0;

	if (is_full)
		pool = tm_test_pool(other, TMEM_POOL_PERSISTENT);
	for (uint32_t i = 0;; i++) {
		int result = 0;

		tm_page_fill(page, TM_PAGE_NOISE, i);
		if (is_full)
			result = __real_tmem_put(other, pool, &oid, i, page, 0);
		if (result <= 0)
			break;
	}
	if (is_full) {
		tmem_client_detach(other);
		return;
	}
	tmem_client_destroy(other);
	while (tmem_store_step(world->rig.t.store))
		;
}

static void play_script(struct world *world)
{
	open_world(world);
	child_write(world, 0, SCRIPT_BLOCKS, 1);
	child_write(world, 0, 3, 2);
	child_discard(world, 3, 1);
	child_demote(world, 4);
	child_write(world, 1, 1, 3);
	child_discard(world, 2, 1);
	child_demote(world, BLOCKS);
	child_write(world, 0, 2, 4);
	child_squeeze(world, true);
	child_write(world, 0, SCRIPT_BLOCKS, 5);
	child_write(world, 0, SCRIPT_BLOCKS, 6);
	child_discard(world, 4, 1);
	child_write(world, 1, 4, 7);
	if (!rig_info(&world->rig).blocks_refused)
		_exit(6);
	child_squeeze(world, false);
	child_write(world, 2, 3, 8);
	child_demote(world, 2);
	child_write(world, 0, SCRIPT_BLOCKS, 9);
	child_discard(world, 0, SCRIPT_BLOCKS);
	child_write(world, 1, 2, 10);
	close_world(world);
	atomic_store(&journal->is_finished, true);
	_exit(0);
}

/* --- the parent's part ---------------------------------------------------- */

/* Which of the allowed it is: a generation, or LOST; else fails. */
static uint32_t what_is_there(struct world *world, uint64_t block)
{
	const struct block_state *state = &journal->blocks[block];
	uint32_t allowed[3] = { atomic_load(&state->acknowledged) };
	uint8_t page[TM_BLOCK_SIZE], want[TM_BLOCK_SIZE];
	int count = 1;
	int err = tm_disk_read(world->rig.disk, page, block * TM_BLOCK_SIZE,
			       TM_BLOCK_SIZE);

	if (atomic_load(&state->is_pending))
		allowed[count++] = atomic_load(&state->pending);
	/* Documented: without a mark, zeros. */
	if (allowed[0] == LOST)
		allowed[count++] = 0;
	if (err == -EIO && !world->has_backing)
		return LOST;
	ck_assert_int_eq(err, 0);
	for (int i = 0; i < count; i++) {
		if (allowed[i] == LOST)
			continue;
		rig_page(want, block, allowed[i]);
		if (!memcmp(page, want, sizeof(page)))
			return allowed[i];
	}
	ck_abort_msg("step %" PRIu64 ", block %" PRIu64
		     ": neither generation %" PRIu32 " nor %" PRIu32,
		     atomic_load(&journal->die_before), block, allowed[0],
		     count > 1 ? allowed[1] : allowed[0]);
}

static void check_world(struct world *world)
{
	uint32_t seen[BLOCKS];

	open_world(world);
	for (uint64_t b = 0; b < BLOCKS; b++) {
		seen[b] = what_is_there(world, b);
		ck_assert_msg(
			seen[b] != LOST ||
				atomic_load(&journal->blocks[b].acknowledged) ||
				atomic_load(&journal->blocks[b].is_pending),
			"block %" PRIu64 " was lost for nothing", b);
	}
	close_world(world);
	open_world(world);
	for (uint64_t b = 0; b < BLOCKS; b++)
		ck_assert_uint_eq(what_is_there(world, b), seen[b]);
	close_world(world);
	/* What the next child finds acknowledged. */
	for (uint64_t b = 0; b < BLOCKS; b++) {
		atomic_store(&journal->blocks[b].acknowledged, seen[b]);
		atomic_store(&journal->blocks[b].is_pending, false);
	}
}

static void check_nothing_comes_back(struct world *world)
{
	open_world(world);
	ck_assert_int_eq(
		tm_disk_discard(world->rig.disk, 0, BLOCKS / 2 * TM_BLOCK_SIZE),
		0);
	ck_assert_int_eq(
		tm_disk_discard(world->rig.disk, 0, BLOCKS * TM_BLOCK_SIZE), 0);
	for (int round = 0; round < 2; round++) {
		for (uint64_t b = 0; b < BLOCKS; b++)
			ck_assert_int_eq(rig_read(&world->rig, b, 0), 0);
		rig_reopen(&world->rig);
	}
	close_world(world);
}

static int wait_for(pid_t child)
{
	int status;

	ck_assert_int_eq(waitpid(child, &status, 0), child);
	return status;
}

/* Every second run has a backing file. */
START_TEST(death_at_every_step_loses_nothing_and_resurrects_nothing)
{
	struct world world;
	uint64_t steps = 0;

	for (uint64_t n = 0;; n++) {
		pid_t child;
		int status;

		journal = journal ? journal : map_journal();
		begin_world(&world, _i);
		atomic_store(&journal->die_before, n);
		child = fork();
		if (!child)
			play_script(&world);
		status = wait_for(child);
		/* The parent's own calls are not counted. */
		atomic_store(&journal->step, UINT64_MAX / 2);
		ck_assert_msg(WIFSIGNALED(status) || !WEXITSTATUS(status),
			      "the child has given up: %d",
			      WEXITSTATUS(status));
		check_world(&world);
		check_nothing_comes_back(&world);
		end_world(&world);
		if (atomic_load(&journal->is_finished))
			break;
		steps++;
	}
	printf("%" PRIu64 " deaths\n", steps);
	ck_assert_uint_gt(steps, 60);
}
END_TEST

/* Dies before another step, after so many of them. */
static void die_after(uint64_t steps)
{
	atomic_store(&journal->die_before, atomic_load(&journal->step) + steps);
}

static _Noreturn void overwrite_and_die(struct world *world)
{
	open_world(world);
	child_write(world, 0, 1, 1);
	child_write(world, 0, 1, 2);
	/* The third is put, the second not yet dropped. */
	die_after(1);
	child_write(world, 0, 1, 3);
	_exit(7);
}

static _Noreturn void discard_and_die(struct world *world, uint64_t steps)
{
	open_world(world);
	die_after(steps);
	child_discard(world, 0, 1);
	_exit(8);
}

/* What the first left behind must not come back in the middle of the second. */
START_TEST(death_in_a_discard_after_a_death_in_a_write)
{
	struct world world;

	journal = map_journal();
	for (uint64_t steps = 0; steps < 2; steps++) {
		pid_t child;

		begin_world(&world, false);
		child = fork();
		if (!child)
			overwrite_and_die(&world);
		ck_assert(WIFSIGNALED(wait_for(child)));
		atomic_store(&journal->blocks[0].acknowledged, 3);
		child = fork();
		if (!child)
			discard_and_die(&world, steps);
		ck_assert(WIFSIGNALED(wait_for(child)));
		atomic_store(&journal->die_before, NEVER);
		check_world(&world);
		end_world(&world);
	}
}
END_TEST

/* --- at any time ---------------------------------------------------------- */

struct player {
	struct world *world;
	uint64_t random;
	int number;
	uint32_t generation;
};

/* Each thread has blocks of its own, every second run of them. */
static void *play(void *opaque)
{
	struct player *p = opaque;

	for (;;) {
		uint64_t r = tm_test_random(&p->random);
		uint32_t count = 1 + r % SCRIPT_BLOCKS;
		uint64_t runs = BLOCKS / SCRIPT_BLOCKS / THREADS;
		uint64_t first =
			((r >> 8) % runs * THREADS + (uint64_t)p->number) *
			SCRIPT_BLOCKS;

		switch (r >> 32 & 7) {
		case 0:
			child_discard(p->world, first, count);
			break;
		case 1:
			child_demote(p->world, count);
			break;
		default:
			child_write(p->world, first, count, ++p->generation);
		}
	}
	return NULL;
}

static _Noreturn void play_at_random(struct world *world, uint64_t seed,
				     int round)
{
	struct player players[THREADS];
	pthread_t thread;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	open_world(world);
	for (int i = 0; i < THREADS; i++)
		players[i] = (struct player){
			.world = world,
			.random = tm_test_random(&seed),
			.number = i,
			.generation = (uint32_t)round << 16,
		};
	pthread_create(&thread, NULL, play, &players[1]);
	/* From here on it may be killed. */
	atomic_store(&journal->is_finished, true);
	play(&players[0]);
	_exit(5);
}

START_TEST(death_at_any_time_loses_nothing_and_resurrects_nothing)
{
	uint64_t seed = tm_test_seed();
	struct world world;

	journal = map_journal();
	begin_world(&world, _i);
	for (int round = 1; round <= RANDOM_ROUNDS; round++) {
		uint64_t r = tm_test_random(&seed);
		int status;
		pid_t child;

		atomic_store(&journal->is_finished, false);
		child = fork();
		if (!child)
			play_at_random(&world, r, round);
		while (!atomic_load(&journal->is_finished) &&
		       !waitpid(child, &status, WNOHANG))
			usleep(500);
		usleep((useconds_t)(r % 30000));
		kill(child, SIGKILL);
		status = wait_for(child);
		ck_assert(WIFSIGNALED(status));
		check_world(&world);
	}
	check_nothing_comes_back(&world);
	end_world(&world);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("disk_crash");
	TCase *tc = tcase_create("crash");

	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(
		tc, death_at_every_step_loses_nothing_and_resurrects_nothing, 0,
		2);
	tcase_add_test(tc, death_in_a_discard_after_a_death_in_a_write);
	tcase_add_loop_test(
		tc, death_at_any_time_loses_nothing_and_resurrects_nothing, 0,
		2);
	suite_add_tcase(suite, tc);
	return tm_test_run(suite);
}
