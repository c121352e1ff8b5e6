/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The guest's memory, as its front end lends it: regions of files.
 *
 * Addresses are of two kinds. The guest's own stand in descriptors; the front
 * end's own name the rings, and are translated once.
 */
#ifndef TM_VHOST_MEMORY_H
#define TM_VHOST_MEMORY_H

#include <stddef.h>
#include <stdint.h>

#include "vhost_abi.h"

#define TM_VHOST_SLOTS_MAX 64

struct tm_vhost_memory;
struct tmem_guest_memory;

int tm_vhost_memory_new(struct tm_vhost_memory **memory);
void tm_vhost_memory_free(struct tm_vhost_memory *memory);

/**
 * tm_vhost_memory_add() - map a region
 * @fd: of the file it lies in; the memory's own from now on, errors or not
 * @why: set to what is wrong with it, on error
 *
 * Return: 0, -EPROTO (a region that cannot be: it wraps, overlaps another, is
 * not of whole pages, lies beyond the file's end), -ENOSPC (no slot left), what
 * mmap() answers.
 */
int tm_vhost_memory_add(struct tm_vhost_memory *memory,
			const struct tm_vhost_region *region, int fd,
			const char **why);

/* Takes back what was added with these addresses and size. 0, -ENOENT. */
int tm_vhost_memory_remove(struct tm_vhost_memory *memory,
			   const struct tm_vhost_region *region);

/* Where the guest has what the front end has there, if all @bytes of it lie in
 * one region. 0, -EFAULT. */
int tm_vhost_memory_translate(const struct tm_vhost_memory *memory,
			      uint64_t user_address, uint64_t bytes,
			      uint64_t *guest_address);

/* What copies go through. */
struct tmem_guest_memory *
tm_vhost_memory_guest(const struct tm_vhost_memory *memory);

/* The region of that number, and its descriptor, which stays the memory's;
 * -1: no more. For a successor. */
int tm_vhost_memory_region(const struct tm_vhost_memory *memory, size_t number,
			   struct tm_vhost_region *region);

#endif
