/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The map of a guest's memory, and memory that goes away.
 */
#include <config.h>

#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "xen_rig.h"

#define PAGE ((size_t)TMEM_PAGE_SIZE)

static struct tmem_guest_memory *memory;
static uint8_t ram[8 * TMEM_PAGE_SIZE];
static uint8_t page[2 * TMEM_PAGE_SIZE];

static void begin(void)
{
	ck_assert_int_eq(tmem_guest_memory_create(&memory), 0);
	for (size_t i = 0; i < sizeof(ram); i++)
		ram[i] = (uint8_t)(i / PAGE + 1);
}

static void end(void)
{
	tmem_guest_memory_destroy(memory);
}

static int read_byte(uint64_t address)
{
	uint8_t byte;

	return tmem_guest_memory_read(memory, address, &byte, 1) ?: byte;
}

START_TEST(frames_lead_where_they_were_put_and_holes_nowhere)
{
	ck_assert_int_eq(tmem_guest_memory_add(memory, 100, 2, ram, true), 0);
	ck_assert_int_eq(
		tmem_guest_memory_add(memory, 10, 1, ram + 4 * PAGE, true), 0);
	ck_assert_int_eq(read_byte(100 * PAGE), 1);
	ck_assert_int_eq(read_byte(102 * PAGE - 1), 2);
	ck_assert_int_eq(read_byte(10 * PAGE + 17), 5);
	ck_assert_int_eq(read_byte(102 * PAGE), -EFAULT);
	ck_assert_int_eq(read_byte(100 * PAGE - 1), -EFAULT);
	ck_assert_int_eq(read_byte(11 * PAGE), -EFAULT);
	ck_assert_int_eq(read_byte(0), -EFAULT);
	ck_assert_int_eq(read_byte(UINT64_MAX), -EFAULT);
}
END_TEST

START_TEST(a_copy_may_go_on_in_the_next_piece)
{
	tmem_guest_memory_add(memory, 1, 1, ram, true);
	tmem_guest_memory_add(memory, 2, 1, ram + 6 * PAGE, true);
	ck_assert_int_eq(tmem_guest_memory_read(memory, 2 * PAGE - 3, page, 6),
			 0);
	ck_assert_mem_eq(page, "\1\1\1\7\7\7", 6);
	/* Into a hole it does not, nor around the end of all addresses. */
	ck_assert_int_eq(tmem_guest_memory_read(memory, 3 * PAGE - 3, page, 6),
			 -EFAULT);
	ck_assert_int_eq(
		tmem_guest_memory_read(memory, UINT64_MAX - 2, page, PAGE),
		-EFAULT);
	ck_assert_int_eq(tmem_guest_memory_read(memory, 7, page, 0), 0);
}
END_TEST

START_TEST(what_is_read_only_is_not_written)
{
	tmem_guest_memory_add(memory, 0, 1, ram, false);
	ck_assert_int_eq(tmem_guest_memory_write(memory, 0, "x", 1), -EFAULT);
	ck_assert_int_eq(ram[0], 1);
	ck_assert_int_eq(read_byte(0), 1);
}
END_TEST

START_TEST(frames_are_not_added_twice)
{
	ck_assert_int_eq(tmem_guest_memory_add(memory, 10, 4, ram, true), 0);
	for (uint64_t first = 7; first < 14; first++)
		ck_assert_int_eq(
			tmem_guest_memory_add(memory, first, 4, ram, true),
			-EEXIST);
	ck_assert_int_eq(tmem_guest_memory_add(memory, 0, 100, ram, true),
			 -EEXIST);
	ck_assert_int_eq(tmem_guest_memory_add(memory, 6, 4, ram, true), 0);
	ck_assert_int_eq(tmem_guest_memory_add(memory, 14, 4, ram, true), 0);
}
END_TEST

START_TEST(ranges_that_overflow_are_refused)
{
	static const uint64_t huge = UINT64_MAX / TMEM_PAGE_SIZE;

	ck_assert_int_eq(tmem_guest_memory_add(memory, 0, 0, ram, true),
			 -EINVAL);
	ck_assert_int_eq(
		tmem_guest_memory_add(memory, 1, UINT64_MAX, ram, true),
		-EINVAL);
	ck_assert_int_eq(tmem_guest_memory_add(memory, huge, 2, ram, true),
			 -EINVAL);
	ck_assert_int_eq(tmem_guest_memory_add(memory, huge + 1, 1, ram, true),
			 -EINVAL);
	ck_assert_int_eq(tmem_guest_memory_add(memory, 0, huge, ram, true),
			 -EINVAL);
	ck_assert_int_eq(tmem_guest_memory_add(memory, 0, 1, NULL, true),
			 -EINVAL);
	ck_assert_int_eq(tmem_guest_memory_remove(memory, 1, UINT64_MAX),
			 -EINVAL);
	/* The last frame of all is one. */
	ck_assert_int_eq(tmem_guest_memory_add(memory, huge, 1, ram, true), 0);
	ck_assert_int_eq(read_byte(UINT64_MAX), 1);
}
END_TEST

START_TEST(removing_leaves_what_is_beside)
{
	tmem_guest_memory_add(memory, 0, 8, ram, true);
	ck_assert_int_eq(tmem_guest_memory_remove(memory, 3, 2), 0);
	ck_assert_int_eq(read_byte(3 * PAGE - 1), 3);
	ck_assert_int_eq(read_byte(3 * PAGE), -EFAULT);
	ck_assert_int_eq(read_byte(5 * PAGE - 1), -EFAULT);
	ck_assert_int_eq(read_byte(5 * PAGE), 6);
	ck_assert_int_eq(read_byte(8 * PAGE - 1), 8);
	/* Over several pieces and holes at once. */
	ck_assert_int_eq(tmem_guest_memory_remove(memory, 1, 6), 0);
	ck_assert_int_eq(read_byte(1 * PAGE - 1), 1);
	ck_assert_int_eq(read_byte(1 * PAGE), -EFAULT);
	ck_assert_int_eq(read_byte(7 * PAGE - 1), -EFAULT);
	ck_assert_int_eq(read_byte(7 * PAGE), 8);
	ck_assert_int_eq(tmem_guest_memory_remove(memory, 0, 100), 0);
	ck_assert_int_eq(read_byte(0), -EFAULT);
}
END_TEST

static uint8_t *map_file(int *fd, size_t bytes)
{
	uint8_t *map;

	*fd = memfd_create("guest", 0);
	ck_assert_int_ge(*fd, 0);
	ck_assert_int_eq(ftruncate(*fd, (off_t)bytes), 0);
	map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, *fd, 0);
	ck_assert_ptr_ne(map, MAP_FAILED);
	return map;
}

START_TEST(a_file_that_is_cut_short_breaks_the_map_and_nothing_else)
{
	uint8_t *map;
	int fd;

	ck_assert_int_eq(tmem_guest_memory_catch_faults(), 0);
	ck_assert_int_eq(tmem_guest_memory_catch_faults(), 0);
	map = map_file(&fd, 4 * PAGE);
	tmem_guest_memory_add(memory, 0, 4, map, true);
	ck_assert_int_eq(read_byte(3 * PAGE), 0);
	ck_assert_int_eq(ftruncate(fd, (off_t)PAGE), 0);
	ck_assert_int_eq(tmem_guest_memory_is_broken(memory), 0);
	/* More than once: the signal must not stay blocked. */
	for (int i = 0; i < 3; i++) {
		struct tmem_guest_memory *another;

		ck_assert_int_eq(tmem_guest_memory_create(&another), 0);
		tmem_guest_memory_add(another, 0, 4, map, true);
		ck_assert_int_eq(
			tmem_guest_memory_read(another, PAGE - 1, page, 2),
			-EFAULT);
		ck_assert_int_eq(tmem_guest_memory_is_broken(another), 1);
		/* For good, also where there still is something. */
		ck_assert_int_eq(tmem_guest_memory_read(another, 0, page, 1),
				 -EFAULT);
		tmem_guest_memory_destroy(another);
	}
	ck_assert_int_eq(tmem_guest_memory_write(memory, 2 * PAGE, page, PAGE),
			 -EFAULT);
	ck_assert_int_eq(tmem_guest_memory_is_broken(memory), 1);
	munmap(map, 4 * PAGE);
	close(fd);
}
END_TEST

START_TEST(memory_that_is_unmapped_is_a_fault_too)
{
	uint8_t *map =
		mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ck_assert_int_eq(tmem_guest_memory_catch_faults(), 0);
	tmem_guest_memory_add(memory, 0, 1, map, true);
	ck_assert_int_eq(read_byte(9), -EFAULT);
	ck_assert_int_eq(tmem_guest_memory_is_broken(memory), 1);
	munmap(map, PAGE);
}
END_TEST

/* A fault of the program's own: in a child, which must die of it. */
START_TEST(faults_elsewhere_end_the_program_as_before)
{
	int status;
	pid_t child;

	fflush(stdout);
	child = fork();
	if (child == 0) {
		volatile uint8_t *map =
			mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS,
			     -1, 0);

		/* A sanitizer would make a report of it. */
		signal(SIGSEGV, SIG_DFL);
		tmem_guest_memory_catch_faults();
		*map = 1;
		_exit(0);
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
}
END_TEST

static void exit_with_7(int signal)
{
	(void)signal;
	_exit(7);
}

START_TEST(a_handler_that_was_there_gets_what_is_not_ours)
{
	int status;
	pid_t child;

	fflush(stdout);
	child = fork();
	if (child == 0) {
		volatile uint8_t *map =
			mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS,
			     -1, 0);

		signal(SIGSEGV, exit_with_7);
		tmem_guest_memory_catch_faults();
		*map = 1;
		_exit(0);
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 7);
}
END_TEST

static _Atomic bool stop;

/* So many that a removal finds somebody in the middle of a copy. */
#define PIECE_PAGES 256
#define PIECE (PIECE_PAGES * PAGE)

static void *copy_all_the_time(void *argument)
{
	uint8_t *copy = malloc(PIECE);
	uint64_t *copies = argument;

	while (!stop) {
		int err = tmem_guest_memory_read(memory, 0, copy, PIECE);

		/* All of one map or all of the other. A ck_assert writes a message
		 * each time. */
		if (err && err != -EFAULT)
			ck_abort_msg("a copy: %d", err);
		if (!err && copy[0] != copy[PIECE - 1])
			ck_abort_msg("a copy of two maps");
		*copies += !err;
	}
	free(copy);
	return NULL;
}

START_TEST(what_was_removed_is_not_touched_any_more)
{
	uint64_t copies[2] = { 0, 0 };
	pthread_t threads[2];

	stop = false;
	for (int i = 0; i < 2; i++)
		pthread_create(&threads[i], NULL, copy_all_the_time,
			       &copies[i]);
	for (int i = 0; i < 1000; i++) {
		uint8_t *map = mmap(NULL, PIECE, PROT_READ | PROT_WRITE,
				    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		memset(map, i & 0xff, PIECE);
		tmem_guest_memory_add(memory, 0, PIECE_PAGES, map, true);
		tmem_guest_memory_remove(memory, 0, PIECE_PAGES);
		/* Whoever still read it would die: faults are not caught. */
		munmap(map, PIECE);
	}
	stop = true;
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
}
END_TEST

#define rig_add(suite, test, times)                                            \
	rig_add_case(suite, #test, test, times, begin, end)

int main(void)
{
	Suite *suite = suite_create("xen_guest_memory");

	rig_add(suite, frames_lead_where_they_were_put_and_holes_nowhere, 1);
	rig_add(suite, a_copy_may_go_on_in_the_next_piece, 1);
	rig_add(suite, what_is_read_only_is_not_written, 1);
	rig_add(suite, frames_are_not_added_twice, 1);
	rig_add(suite, ranges_that_overflow_are_refused, 1);
	rig_add(suite, removing_leaves_what_is_beside, 1);
	rig_add(suite, a_file_that_is_cut_short_breaks_the_map_and_nothing_else,
		1);
	rig_add(suite, memory_that_is_unmapped_is_a_fault_too, 1);
	rig_add(suite, faults_elsewhere_end_the_program_as_before, 1);
	rig_add(suite, a_handler_that_was_there_gets_what_is_not_ours, 1);
	rig_add(suite, what_was_removed_is_not_touched_any_more, 1);
	return tm_test_run(suite);
}
