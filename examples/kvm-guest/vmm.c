/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A hypervisor of one file, whose guest has transcendent memory: the smallest
 * thing that shows what a virtual machine monitor has to do for it.
 *
 *	- a store (tmem_store_open) and a Xen front end over it (tmem_xen_open)
 *	- for each guest, where its memory is (tmem_guest_memory_add), and a
 *	  domain with a name (tmem_xen_domain_create)
 *	- a hypercall page: the guest calls stub 38 of it with the address of
 *	  its operation in a register; the stub exits to the monitor
 *	- at that exit, one call: tmem_xen_hypercall(), whose result goes into
 *	  the guest's RAX
 *
 * The stubs leave the guest by a write to an I/O port. A real Xen's execute
 * VMCALL; the guest cannot tell, it only calls the page. Everything else here
 * is what any program over /dev/kvm needs to run 64-bit code.
 *
 * Usage: kvm-guest GUEST.bin. Exits with 77 where there is no KVM to use.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <tmem/xen.h>

#include "layout.h"

struct machine {
	int kvm;
	int vm;
	int vcpu;
	struct kvm_run *run;
	unsigned char *ram;

	struct tmem_store *store;
	struct tmem_xen *xen;
	struct tmem_guest_memory *memory;
	struct tmem_xen_domain *domain;
	unsigned long hypercalls;
};

static _Noreturn void fail(const char *what)
{
	perror(what);
	exit(EXIT_FAILURE);
}

/* --- tmem ---------------------------------------------------------------- */

static void check(int err, const char *what)
{
	if (err < 0) {
		errno = -err;
		fail(what);
	}
}

static void begin_tmem(struct machine *m)
{
	struct tmem_store_config store;
	struct tmem_xen_config xen;
	struct tmem_client_config client;
	struct tmem_xen_domain_config domain;

	tmem_store_config_init(&store);
	store.memory_bytes = 16 << 20;
	check(tmem_store_open(&store, &m->store), "tmem_store_open");
	tmem_xen_config_init(&xen);
	xen.store = m->store;
	check(tmem_xen_open(&xen, &m->xen), "tmem_xen_open");

	check(tmem_guest_memory_create(&m->memory), "guest memory");
	/* The guest may put from its code, and get no page into it. */
	check(tmem_guest_memory_add(m->memory, 0, ROM_FRAMES, m->ram, false),
	      "guest memory");
	check(tmem_guest_memory_add(m->memory, ROM_FRAMES,
				    RAM_FRAMES - ROM_FRAMES,
				    m->ram + ROM_FRAMES * PAGE, true),
	      "guest memory");

	tmem_client_config_init(&client);
	client.name = "the guest";
	tmem_xen_domain_config_init(&domain);
	domain.id = 1;
	domain.client_config = &client;
	domain.memory = m->memory;
	/* It has 1000 pages, and persistent ones may make that 2000. */
	domain.pages = 1000;
	domain.pages_max = 2000;
	check(tmem_xen_domain_create(m->xen, &domain, &m->domain),
	      "tmem_xen_domain_create");
}

static void end_tmem(struct machine *m)
{
	char text[4096];

	if (!tmem_xen_list(m->xen, 1, true, text, sizeof(text)))
		printf("host: %lu hypercalls; the domain and its pools:\n%s",
		       m->hypercalls, text);
	tmem_xen_domain_end(m->domain);
	tmem_xen_domain_close(m->domain);
	tmem_guest_memory_destroy(m->memory);
	tmem_xen_close(m->xen);
	tmem_store_close(m->store);
}

/* Stub number n is at n * 32: mov $n, %eax; out %eax, $port; ret */
static void fill_hypercall_page(unsigned char *page)
{
	for (unsigned n = 0; n < PAGE / 32; n++) {
		unsigned char *stub = page + (size_t)n * 32;

		stub[0] = 0xb8;
		memcpy(stub + 1, &n, sizeof(n));
		stub[5] = 0xe7;
		stub[6] = HYPERCALL_PORT;
		stub[7] = 0xc3;
	}
}

static void hypercall(struct machine *m, unsigned number)
{
	struct kvm_regs regs;

	if (ioctl(m->vcpu, KVM_GET_REGS, &regs))
		fail("KVM_GET_REGS");
	m->hypercalls++;
	/* The guest's addresses are its physical ones: see begin_paging(). */
	regs.rax = number == TMEM_XEN_HYPERCALL ?
			   (unsigned long long)tmem_xen_hypercall(m->domain,
								  regs.rdi, 0) :
			   (unsigned long long)-ENOSYS;
	if (ioctl(m->vcpu, KVM_SET_REGS, &regs))
		fail("KVM_SET_REGS");
}

/* --- the machine --------------------------------------------------------- */

static _Noreturn void skip(const char *why)
{
	printf("%s: %s\n", why, strerror(errno));
	exit(77);
}

static void begin_vm(struct machine *m)
{
	struct kvm_userspace_memory_region region = {
		.memory_size = RAM_FRAMES * (unsigned long long)PAGE,
	};
	int size;

	m->kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (m->kvm < 0)
		skip("/dev/kvm");
	m->vm = ioctl(m->kvm, KVM_CREATE_VM, 0);
	if (m->vm < 0)
		skip("KVM_CREATE_VM");
	m->ram = mmap(NULL, region.memory_size, PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (m->ram == MAP_FAILED)
		fail("guest memory");
	region.userspace_addr = (unsigned long)m->ram;
	if (ioctl(m->vm, KVM_SET_USER_MEMORY_REGION, &region))
		fail("KVM_SET_USER_MEMORY_REGION");
	m->vcpu = ioctl(m->vm, KVM_CREATE_VCPU, 0);
	size = ioctl(m->kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (m->vcpu < 0 || size < 0)
		skip("KVM_CREATE_VCPU");
	m->run = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED,
		      m->vcpu, 0);
	if (m->run == MAP_FAILED)
		fail("vcpu");
}

/* Linear addresses are physical ones, for the first 1 GiB: 512 large pages. */
static void begin_paging(struct machine *m, struct kvm_sregs *sregs)
{
	unsigned long long *pml4 = (void *)(m->ram + PML4_FRAME * PAGE);
	unsigned long long *pdpt = (void *)(m->ram + PDPT_FRAME * PAGE);
	unsigned long long *pd = (void *)(m->ram + PD_FRAME * PAGE);

	pml4[0] = PDPT_FRAME * PAGE | 3;	/* present, writable */
	pdpt[0] = PD_FRAME * PAGE | 3;
	for (unsigned long long i = 0; i < 512; i++)
		pd[i] = i << 21 | 0x83;		/* and large */
	sregs->cr3 = PML4_FRAME * PAGE;
	sregs->cr4 = 1 << 5;			/* PAE */
	sregs->cr0 = 0x80000001;		/* PG, PE */
	sregs->efer = 0x500;			/* LMA, LME */
}

static void begin_cpu(struct machine *m)
{
	struct kvm_segment code = {
		.limit = 0xffffffff, .selector = 8, .type = 11, .present = 1,
		.s = 1, .l = 1, .g = 1,
	};
	struct kvm_segment data = {
		.limit = 0xffffffff, .selector = 16, .type = 3, .present = 1,
		.s = 1, .db = 1, .g = 1,
	};
	struct kvm_regs regs = {
		.rip = CODE_FRAME * PAGE,
		.rsp = STACK_END,
		.rflags = 2,
	};
	struct kvm_sregs sregs;

	if (ioctl(m->vcpu, KVM_GET_SREGS, &sregs))
		fail("KVM_GET_SREGS");
	begin_paging(m, &sregs);
	sregs.cs = code;
	sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = data;
	if (ioctl(m->vcpu, KVM_SET_SREGS, &sregs) ||
	    ioctl(m->vcpu, KVM_SET_REGS, &regs))
		fail("KVM_SET_REGS");
}

static void load(struct machine *m, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || read(fd, m->ram + CODE_FRAME * PAGE,
			   (RODATA_END_FRAME - CODE_FRAME) * PAGE) <= 0)
		fail(path);
	close(fd);
	fill_hypercall_page(m->ram + HYPERCALL_FRAME * PAGE);
}

static void on_port(struct machine *m)
{
	const unsigned char *data =
		(unsigned char *)m->run + m->run->io.data_offset;
	unsigned number;

	if (m->run->io.direction != KVM_EXIT_IO_OUT)
		return;
	if (m->run->io.port == CONSOLE_PORT) {
		fwrite(data, m->run->io.size, m->run->io.count, stdout);
	} else if (m->run->io.port == HYPERCALL_PORT &&
		   m->run->io.size == sizeof(number)) {
		memcpy(&number, data, sizeof(number));
		hypercall(m, number);
	}
}

/* Until the guest halts. */
static int run(struct machine *m)
{
	for (;;) {
		if (ioctl(m->vcpu, KVM_RUN, 0) && errno != EINTR)
			fail("KVM_RUN");
		switch (m->run->exit_reason) {
		case KVM_EXIT_IO:
			on_port(m);
			break;
		case KVM_EXIT_HLT:
			return EXIT_SUCCESS;
		case KVM_EXIT_INTR:
			break;
		default:
			printf("the guest has crashed: exit reason %u\n",
			       m->run->exit_reason);
			return EXIT_FAILURE;
		}
	}
}

int main(int argc, char **argv)
{
	struct machine m = { 0 };
	int status;

	if (argc != 2) {
		fprintf(stderr, "usage: kvm-guest GUEST.bin\n");
		return 2;
	}
	begin_vm(&m);
	load(&m, argv[1]);
	begin_cpu(&m);
	begin_tmem(&m);
	status = run(&m);
	end_tmem(&m);
	return status;
}
