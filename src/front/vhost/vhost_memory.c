/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Regions of guest memory: checked, mapped, looked up.
 *
 * The problem: a region is four numbers and a descriptor, all chosen by the
 * peer. Numbers can wrap and overlap; the file can be shorter than they say, or
 * get shorter later; and a file that another process serves (FUSE) can keep
 * whoever touches it waiting for ever.
 *
 * The idea: what can be checked is checked before anything is mapped. Memory is
 * taken from where only the kernel serves it: tmpfs (memfd is that) and
 * hugetlbfs. What happens later is for the guarded copies of guest_memory.h,
 * which all go through: a fault breaks the map, not the process.
 *
 * Files can be sparse, so that a region's size costs its owner nothing, and us
 * addresses, which all doors share: a front end has ALL_MAX_BYTES of them.
 *
 * Regions overlap in neither kind of address:
 *	for all i != j:  [guest_i, guest_i + size_i) and [guest_j, ...) are
 *	apart, and [user_i, ...) and [user_j, ...) are apart
 *
 * Nothing here is locked: whoever changes it has parked those who look.
 */
#include <config.h>

#include <errno.h>
#include <linux/magic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "guest_memory.h"
#include "vhost_descriptor.h"
#include "vhost_memory.h"

#define ALL_MAX_BYTES (UINT64_C(1) << 42)

struct mapping {
	struct tm_vhost_region region;
	int fd;
	char *base; /* as mapped: from a huge page's beginning on */
	size_t mapped_bytes;
};

struct tm_vhost_memory {
	struct tmem_guest_memory *guest;
	size_t count;
	struct mapping mappings[TM_VHOST_SLOTS_MAX];
};

int tm_vhost_memory_new(struct tm_vhost_memory **out)
{
	struct tm_vhost_memory *memory = calloc(1, sizeof(*memory));
	int err;

	if (!memory)
		return -ENOMEM;
	err = tmem_guest_memory_create(&memory->guest);
	if (err) {
		free(memory);
		return err;
	}
	*out = memory;
	return 0;
}

static void unmap(struct mapping *mapping)
{
	munmap(mapping->base, mapping->mapped_bytes);
	close(mapping->fd);
}

void tm_vhost_memory_free(struct tm_vhost_memory *memory)
{
	if (!memory)
		return;
	tmem_guest_memory_destroy(memory->guest);
	for (size_t i = 0; i < memory->count; i++)
		unmap(&memory->mappings[i]);
	free(memory);
}

static bool wraps(uint64_t begin, uint64_t bytes)
{
	return begin > UINT64_MAX - bytes;
}

static bool overlap(uint64_t a, uint64_t a_bytes, uint64_t b, uint64_t b_bytes)
{
	return a < b + b_bytes && b < a + a_bytes;
}

static const char *check_numbers(const struct tm_vhost_memory *memory,
				 const struct tm_vhost_region *region)
{
	uint64_t bytes = region->size_bytes, others_bytes = 0;

	if (!bytes || (bytes | region->guest_address | region->user_address |
		       region->map_offset) %
			      TMEM_PAGE_SIZE)
		return "a memory region that is not of whole pages";
	if (wraps(region->guest_address, bytes) ||
	    wraps(region->user_address, bytes) ||
	    wraps(region->map_offset, bytes) ||
	    region->map_offset + bytes >
		    INT64_MAX - TM_GUEST_MEMORY_ALIGN_MAX_BYTES)
		return "a memory region that wraps";
	for (size_t i = 0; i < memory->count; i++) {
		const struct tm_vhost_region *other =
			&memory->mappings[i].region;

		if (overlap(region->guest_address, bytes, other->guest_address,
			    other->size_bytes) ||
		    overlap(region->user_address, bytes, other->user_address,
			    other->size_bytes))
			return "memory regions that overlap";
		others_bytes += other->size_bytes;
	}
	if (bytes > ALL_MAX_BYTES - others_bytes)
		return "more memory than a front end may lend";
	return NULL;
}

/* Sets what mappings of the file are to be aligned to. */
static const char *check_file(const struct tm_vhost_region *region, int fd,
			      uint64_t *align_bytes)
{
	struct statfs fs;
	struct stat st;

	if (!tm_vhost_is_memory(fd))
		return "memory that is neither tmpfs, memfd nor hugetlbfs";
	if (fstat(fd, &st) || fstatfs(fd, &fs) || !S_ISREG(st.st_mode))
		return "memory that is no file";
	if (fs.f_type != TMPFS_MAGIC && fs.f_type != HUGETLBFS_MAGIC)
		return "memory that is neither tmpfs, memfd nor hugetlbfs";
	if (st.st_size < 0 ||
	    (uint64_t)st.st_size < region->map_offset + region->size_bytes)
		return "a memory region beyond the end of its file";
	*align_bytes = tm_guest_memory_align_bytes(&st);
	return NULL;
}

static int map(struct tm_vhost_memory *memory, struct mapping *mapping,
	       uint64_t align_bytes)
{
	const struct tm_vhost_region *region = &mapping->region;
	uint64_t skip = region->map_offset % align_bytes;
	uint64_t bytes = skip + region->size_bytes;
	int err;

	bytes = (bytes + align_bytes - 1) / align_bytes * align_bytes;
	mapping->mapped_bytes = (size_t)bytes;
	mapping->base = mmap(NULL, mapping->mapped_bytes,
			     PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE,
			     mapping->fd, (off_t)(region->map_offset - skip));
	if (mapping->base == MAP_FAILED)
		return -errno;
	/* The guest's secrets are in no dump of ours, and in no child. */
	madvise(mapping->base, mapping->mapped_bytes, MADV_DONTDUMP);
	madvise(mapping->base, mapping->mapped_bytes, MADV_DONTFORK);
	err = tmem_guest_memory_add(memory->guest,
				    region->guest_address / TMEM_PAGE_SIZE,
				    region->size_bytes / TMEM_PAGE_SIZE,
				    mapping->base + skip, true);
	if (err)
		munmap(mapping->base, mapping->mapped_bytes);
	return err;
}

int tm_vhost_memory_add(struct tm_vhost_memory *memory,
			const struct tm_vhost_region *region, int fd,
			const char **why)
{
	struct mapping *mapping = &memory->mappings[memory->count];
	uint64_t align_bytes;
	int err = -EPROTO;

	*why = "more memory regions than there are slots";
	if (memory->count == TM_VHOST_SLOTS_MAX)
		err = -ENOSPC;
	else if (!(*why = check_numbers(memory, region)) &&
		 !(*why = check_file(region, fd, &align_bytes))) {
		mapping->region = *region;
		mapping->fd = fd;
		*why = "a memory region that cannot be mapped";
		err = map(memory, mapping, align_bytes);
	}
	if (err)
		close(fd);
	else
		memory->count++;
	return err;
}

int tm_vhost_memory_remove(struct tm_vhost_memory *memory,
			   const struct tm_vhost_region *region)
{
	for (size_t i = 0; i < memory->count; i++) {
		struct mapping *mapping = &memory->mappings[i];
		int err;

		if (mapping->region.guest_address != region->guest_address ||
		    mapping->region.user_address != region->user_address ||
		    mapping->region.size_bytes != region->size_bytes)
			continue;
		err = tmem_guest_memory_remove(
			memory->guest, region->guest_address / TMEM_PAGE_SIZE,
			region->size_bytes / TMEM_PAGE_SIZE);
		if (err)
			return err;
		unmap(mapping);
		*mapping = memory->mappings[--memory->count];
		return 0;
	}
	return -ENOENT;
}

int tm_vhost_memory_translate(const struct tm_vhost_memory *memory,
			      uint64_t user_address, uint64_t bytes,
			      uint64_t *guest_address)
{
	for (size_t i = 0; i < memory->count; i++) {
		const struct tm_vhost_region *region =
			&memory->mappings[i].region;
		uint64_t offset = user_address - region->user_address;

		if (user_address < region->user_address ||
		    offset >= region->size_bytes ||
		    bytes > region->size_bytes - offset)
			continue;
		*guest_address = region->guest_address + offset;
		return 0;
	}
	return -EFAULT;
}

struct tmem_guest_memory *
tm_vhost_memory_guest(const struct tm_vhost_memory *memory)
{
	return memory->guest;
}

int tm_vhost_memory_region(const struct tm_vhost_memory *memory, size_t number,
			   struct tm_vhost_region *region)
{
	if (number >= memory->count)
		return -1;
	*region = memory->mappings[number].region;
	return memory->mappings[number].fd;
}
