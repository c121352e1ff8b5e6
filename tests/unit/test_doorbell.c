/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Two that wait for each other in turn (src/lib/doorbell.h): no wake-up is
 * lost, and the spin that ends a time of sleeping, or comes after the other was
 * woken, is long enough to see that it is there. That they then do stay awake is
 * up to the machine: on a busy one sleeping is right. On one processor, neither
 * keeps the other from running.
 */
#include <config.h>

#include <pthread.h>
#include <stdarg.h>

#include "doorbell.h"
#include "harness.h"

#define NAP_NS UINT64_C(100000000)
#define TURNS 1000u

struct side {
	struct tm_ring_line line;
	struct tm_patience patience;
	bool forgets;		/* begins each wait as if it were the first */
};

struct pair {
	struct side ping, pong;
	_Atomic bool is_over; /* after this turn */
};

/* @side waits until @other has counted past @seen. */
static void wait_past(struct side *side, struct side *other, uint32_t seen)
{
	if (side->forgets)
		side->patience = (struct tm_patience){
			.may_spin = true,
			.next_skip = TM_SPIN_SKIP_FIRST,
		};
	if (tm_doorbell_spin(&other->line, seen, &side->patience))
		return;
	atomic_store(&side->line.wake_at, seen + 1);
	while (atomic_load(&other->line.count) == seen)
		tm_doorbell_sleep(&other->line, seen, &side->line, NAP_NS);
	tm_patience_learn(&side->patience);
}

static void count_up(struct side *side, struct side *other, uint32_t count)
{
	tm_doorbell_ring(&side->line, count, &other->line, &side->patience);
}

static void *answer(void *opaque)
{
	struct pair *pair = opaque;
	bool is_over = false;

	for (uint32_t n = 0; !is_over; n++) {
		wait_past(&pair->pong, &pair->ping, n);
		is_over = atomic_load(&pair->is_over);
		count_up(&pair->pong, &pair->ping, n + 1);
	}
	return NULL;
}

static void play(struct pair *pair, uint32_t turns)
{
	pthread_t thread;

	ck_assert_int_eq(pthread_create(&thread, NULL, answer, pair), 0);
	for (uint32_t n = 0; n < turns; n++) {
		atomic_store(&pair->is_over, n + 1 == turns);
		count_up(&pair->ping, &pair->pong, n + 1);
		wait_past(&pair->ping, &pair->pong, n);
	}
	pthread_join(thread, NULL);
}

/* Both sides have @skip waits to go in which they sleep at once. */
static void begin(struct pair *pair, uint32_t skip)
{
	*pair = (struct pair){ .is_over = false };
	tm_patience_init(&pair->ping.patience);
	tm_patience_init(&pair->pong.patience);
	pair->ping.patience.skip = pair->pong.patience.skip = skip;
	pair->ping.patience.is_long = pair->pong.patience.is_long = skip > 0;
}

START_TEST(each_waits_for_the_other)
{
	/* Awake, and asleep. */
	static const uint32_t skips[] = { 0, TURNS };
	struct pair pair;

	begin(&pair, skips[_i]);
	play(&pair, TURNS);
	ck_assert_uint_eq(atomic_load(&pair.pong.line.count), TURNS);
}
END_TEST

/* Who runs beside us must not make a spin long. */
static bool yields_to_nobody;

int __real_sched_yield(void);
int __wrap_sched_yield(void);

int __wrap_sched_yield(void)
{
	return yields_to_nobody ? 0 : __real_sched_yield();
}

/* The next spin of @patience, for what never comes, outlasts a wake-up; and only
 * that one. */
static void check_long(struct tm_ring_line *theirs,
		       struct tm_patience *patience)
{
	uint64_t begin_ns = tm_clock_system_now_ns(NULL);

	ck_assert(patience->is_long);
	yields_to_nobody = true;
	ck_assert(!tm_doorbell_spin(theirs, 0, patience));
	yields_to_nobody = false;
	ck_assert_uint_ge(tm_clock_system_now_ns(NULL) - begin_ns,
			  4 * TM_SPIN_NS);
	ck_assert(!patience->is_long);
}

/* Something else may make one of them long: 20. */
START_TEST(the_spin_after_a_rest_outlasts_a_wake_up)
{
	struct pair pair;
	struct tm_patience *patience = &pair.ping.patience;

	begin(&pair, 1);
	if (!patience->may_spin)
		return;
	ck_assert(!tm_doorbell_spin(&pair.pong.line, 0, patience));
	ck_assert_uint_eq(patience->skip, 0);
	check_long(&pair.pong.line, patience);
}
END_TEST

START_TEST(so_does_the_spin_of_who_has_woken_the_other)
{
	struct pair pair;
	struct tm_patience *patience = &pair.ping.patience;

	begin(&pair, 0);
	if (!patience->may_spin)
		return;
	count_up(&pair.ping, &pair.pong, 1);
	ck_assert(!patience->is_long);
	atomic_store(&pair.pong.line.sleeps, 1);
	atomic_store(&pair.pong.line.wake_at, 3);
	count_up(&pair.ping, &pair.pong, 2);
	ck_assert(!patience->is_long);
	count_up(&pair.ping, &pair.pong, 3);
	check_long(&pair.pong.line, patience);
}
END_TEST

static uint64_t burnt_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * UINT64_C(1000000000) +
	       (uint64_t)now.tv_nsec;
}

/* Spinning, each would keep the other from coming, for a spin a wait. The best
 * of some rounds: something else may run there too. */
START_TEST(who_shares_a_processor_lets_the_other_run)
{
	const uint64_t most_ns = 2 * TURNS * TM_SPIN_NS / 2;
	uint64_t best_ns = UINT64_MAX;
	struct pair pair;
	cpu_set_t one;

	begin(&pair, 0);
	if (!pair.ping.patience.may_spin)
		return;
	CPU_ZERO(&one);
	CPU_SET(sched_getcpu(), &one);
	ck_assert_int_eq(sched_setaffinity(0, sizeof(one), &one), 0);
	for (int i = 0; i < 20 && best_ns > most_ns; i++) {
		uint64_t begin_ns = burnt_ns(), round_ns;

		begin(&pair, 0);
		pair.ping.forgets = pair.pong.forgets = true;
		play(&pair, TURNS);
		round_ns = burnt_ns() - begin_ns;
		if (round_ns < best_ns)
			best_ns = round_ns;
	}
	ck_assert_uint_le(best_ns, most_ns);
}
END_TEST

/* Takes its flag from who is about to sleep, and wakes it, too early: as one
 * does that saw the flag of the sleep before and was held up since. */
static struct {
	struct tm_ring_line *sleeper;
	_Atomic uint32_t *word;
} late;

long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);

long __wrap_syscall(long number, ...)
{
	long a[6];
	va_list list;

	va_start(list, number);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(list, long);
	va_end(list);
	if (late.sleeper && number == SYS_futex_waitv &&
	    atomic_exchange(&late.sleeper->sleeps, 0))
		__real_syscall(SYS_futex, late.word, FUTEX_WAKE, 1, NULL, NULL,
			       0);
	return __real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

struct alarm {
	_Atomic uint32_t stop;
	_Atomic bool is_over;
};

static void *stop_late(void *opaque)
{
	struct alarm *alarm = opaque;

	for (int i = 0; i < 3000 && !atomic_load(&alarm->is_over); i++)
		usleep(10000);
	tm_doorbell_stop(&alarm->stop);
	return NULL;
}

/* Or, where a kernel cannot wait for several words, a second. */
START_TEST(who_was_woken_too_early_does_not_sleep)
{
	struct alarm alarm = { .stop = 0 };
	struct pair pair;
	pthread_t thread;

	begin(&pair, 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, stop_late, &alarm), 0);
	late.sleeper = &pair.ping.line;
	late.word = &pair.pong.line.count;
	tm_doorbell_sleep_until(&pair.pong.line, 0, &pair.ping.line,
				&alarm.stop);
	late.sleeper = NULL;
	ck_assert_uint_eq(atomic_load(&alarm.stop), 0);
	atomic_store(&alarm.is_over, true);
	pthread_join(thread, NULL);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("doorbell");
	TCase *tc = tcase_create("doorbell");

	tcase_add_loop_test(tc, each_waits_for_the_other, 0, 2);
	tcase_add_loop_test(tc, the_spin_after_a_rest_outlasts_a_wake_up, 0, 20);
	tcase_add_loop_test(tc, so_does_the_spin_of_who_has_woken_the_other, 0,
			    20);
	tcase_add_test(tc, who_shares_a_processor_lets_the_other_run);
	tcase_add_test(tc, who_was_woken_too_early_does_not_sleep);
	suite_add_tcase(suite, tc);
	return tm_test_run(suite);
}
