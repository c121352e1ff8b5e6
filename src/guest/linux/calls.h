/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A guest's operations on pools and pages, as its kernel makes them.
 *
 * Results are a hypercall's: 1 done, 0 not, negative an error; a new pool's is
 * its id. Whole pages only, and nothing is locked.
 */
#ifndef TM_GUEST_CALLS_H
#define TM_GUEST_CALLS_H

#include <tmem/linux.h>

/* @flags: TMEM_XEN_POOL_* but for the version; @uuid: of a shared one. */
int tm_call_new_pool(struct tmem_hypercall *hypercall, uint32_t flags,
		     const uint8_t *uuid);
void tm_call_destroy_pool(struct tmem_hypercall *hypercall, int pool);

int tm_call_put(struct tmem_hypercall *hypercall, int pool,
		const struct tmem_oid *oid, uint32_t index, const void *page);
/*
 * For ephemeral pages, whose owner does not hear what became of them: a put
 * that failed otherwise than by being refused (its frame could not be read, its
 * answer did not come) may have left an older page where it was, which goes.
 */
void tm_call_put_or_drop(struct tmem_hypercall *hypercall, int pool,
			 const struct tmem_oid *oid, uint32_t index,
			 const void *page);
int tm_call_get(struct tmem_hypercall *hypercall, int pool,
		const struct tmem_oid *oid, uint32_t index, void *page);
void tm_call_flush_page(struct tmem_hypercall *hypercall, int pool,
			const struct tmem_oid *oid, uint32_t index);
void tm_call_flush_object(struct tmem_hypercall *hypercall, int pool,
			  const struct tmem_oid *oid);

#endif
