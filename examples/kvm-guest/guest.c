/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The guest: 64-bit code without a system under it, which uses transcendent
 * memory as Linux did, by calling Xen's hypercall page, and says what it got.
 * Then it tries what it should not.
 *
 * It is linked to run at the beginning of frame CODE_FRAME, and has nothing but
 * constants; what it changes is on the stack, or at DATA_FRAME.
 */
#include <tmem/xen.h>

#include "layout.h"

typedef long hypercall_fn(const void *argument);

/* First in the file: the linker puts .start there. */
__attribute__((section(".start"), used, naked)) void start(void)
{
	__asm__("call guest_main\n1: hlt\n jmp 1b");
}

static void put_char(char c)
{
	const unsigned short port = CONSOLE_PORT;

	__asm__ volatile("outb %0, %1" : : "a"(c), "Nd"(port));
}

static void print(const char *text)
{
	while (*text)
		put_char(*text++);
}

static void print_number(long number)
{
	char digits[24];
	int n = 0;

	if (number < 0) {
		put_char('-');
		number = -number;
	}
	do
		digits[n++] = (char)('0' + number % 10);
	while (number /= 10);
	while (n)
		put_char(digits[--n]);
}

/* What the compiler may call by itself. */
void *memset(void *to, int byte, size_t size);
void *memset(void *to, int byte, size_t size)
{
	char *bytes = to;

	for (size_t i = 0; i < size; i++) {
		bytes[i] = (char)byte;
		__asm__ volatile("" : : : "memory");
	}
	return to;
}

static void say(const char *what, long result)
{
	print("guest: ");
	print(what);
	print(": ");
	print_number(result);
	print("\n");
}

/* --- hypercalls ---------------------------------------------------------- */

static long hypercall(const void *op)
{
	hypercall_fn *stub = (hypercall_fn *)(HYPERCALL_FRAME * PAGE +
					      TMEM_XEN_HYPERCALL * 32);

	return (int)stub(op);
}

static long new_pool(unsigned flags)
{
	struct tmem_xen_op op = { .cmd = TMEM_XEN_NEW_POOL };

	op.u.creat.flags = flags | TMEM_XEN_SPEC_VERSION
					   << TMEM_XEN_POOL_VERSION_SHIFT;
	return hypercall(&op);
}

static long page_op(unsigned cmd, int pool, unsigned index,
		    unsigned long frame)
{
	struct tmem_xen_op op = { .cmd = cmd, .pool_id = pool };

	op.u.gen.oid[0] = 42;
	op.u.gen.index = index;
	op.u.gen.cmfn = frame;
	return hypercall(&op);
}

static unsigned char *frame(unsigned long number)
{
	return (unsigned char *)(number * PAGE);
}

static void fill(unsigned long number, unsigned seed)
{
	for (unsigned long i = 0; i < PAGE; i++)
		frame(number)[i] = (unsigned char)(i / 16 + seed);
}

static int is_filled(unsigned long number, unsigned seed)
{
	for (unsigned long i = 0; i < PAGE; i++)
		if (frame(number)[i] != (unsigned char)(i / 16 + seed))
			return 0;
	return 1;
}

static void as_linux_did(void)
{
	long cache, swap, put = 0, got = 0;

	cache = new_pool(0);
	say("new ephemeral pool", cache);
	swap = new_pool(TMEM_XEN_POOL_PERSIST);
	say("new persistent pool", swap);

	for (unsigned i = 0; i < 100; i++) {
		fill(DATA_FRAME, i);
		put += page_op(TMEM_XEN_PUT_PAGE, (int)swap, i, DATA_FRAME);
	}
	say("pages put", put);
	for (unsigned i = 0; i < 100; i++) {
		fill(DATA_FRAME + 1, 255);
		if (page_op(TMEM_XEN_GET_PAGE, (int)swap, i, DATA_FRAME + 1) ==
			    1 &&
		    is_filled(DATA_FRAME + 1, i))
			got++;
	}
	say("pages got back, byte for byte", got);
	say("flush of a page",
	    page_op(TMEM_XEN_FLUSH_PAGE, (int)swap, 7, 0));
	say("get of a page that was flushed",
	    page_op(TMEM_XEN_GET_PAGE, (int)swap, 7, DATA_FRAME));
	say("flush of the object",
	    page_op(TMEM_XEN_FLUSH_OBJECT, (int)swap, 0, 0));
	say("get from a pool that is empty",
	    page_op(TMEM_XEN_GET_PAGE, (int)swap, 1, DATA_FRAME));

	fill(DATA_FRAME, 3);
	say("put of a page of the cache",
	    page_op(TMEM_XEN_PUT_PAGE, (int)cache, 1, DATA_FRAME));
	say("get of it",
	    page_op(TMEM_XEN_GET_PAGE, (int)cache, 1, DATA_FRAME));
	say("get of it again",
	    page_op(TMEM_XEN_GET_PAGE, (int)cache, 1, DATA_FRAME));
}

static void as_it_should_not(void)
{
	struct tmem_xen_op op = { .cmd = TMEM_XEN_CONTROL };

	say("put from a frame it does not have",
	    page_op(TMEM_XEN_PUT_PAGE, 1, 1, 1ul << 40));
	say("put from a frame beyond all addresses",
	    page_op(TMEM_XEN_PUT_PAGE, 1, 1, ~0ul));
	say("put from its code",
	    page_op(TMEM_XEN_PUT_PAGE, 1, 1, CODE_FRAME));
	say("get into its code",
	    page_op(TMEM_XEN_GET_PAGE, 1, 1, CODE_FRAME));
	say("get from pool -1",
	    page_op(TMEM_XEN_GET_PAGE, -1, 1, DATA_FRAME));
	say("get from pool 16",
	    page_op(TMEM_XEN_GET_PAGE, 16, 1, DATA_FRAME));
	say("a pool of another version", new_pool(0xff000000u));
	say("a privileged operation", hypercall(&op));
	op.cmd = TMEM_XEN_AUTH;
	say("letting itself in somewhere", hypercall(&op));
	op.cmd = 12345;
	op.pool_id = 1;
	say("a command that there is not", hypercall(&op));
	say("an operation that is nowhere", hypercall((void *)~7ul));
	say("an operation half out of memory",
	    hypercall((void *)(RAM_FRAMES * PAGE - 20)));
}

__attribute__((used)) void guest_main(void)
{
	as_linux_did();
	as_it_should_not();
	say("still here", page_op(TMEM_XEN_FLUSH_PAGE, 1, 1, 0));
}
