/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The privileged operations, in the shape of Xen's sysctl 24 of 4.12.
 *
 * They are apart from what guests can call, down to the function: Xen had two
 * of them in the guests' hypercall for nine years, unchecked. A client is named
 * by its domain's number here and nowhere else.
 *
 * What Xen returned -1 for is -EPERM, the same number. Where its code did not
 * do what it was documented to do (DESTROY only thawed; SET_POOLS and SET_AUTH
 * returned the last inner result instead of a count), this does: see
 * doc/deviations.md.
 *
 * Locks: xen.lock for the length of an operation, but for FLUSH and
 * QUERY_FREEABLE_MB, which concern no domain and may take their time.
 */
#include <config.h>

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "xen_front.h"

static_assert(sizeof(struct tmem_xen_sysctl) == 56, "sysctl");
static_assert(offsetof(struct tmem_xen_sysctl, cli_id) == 8, "sysctl");
static_assert(offsetof(struct tmem_xen_sysctl, pad) == 20, "sysctl");
static_assert(offsetof(struct tmem_xen_sysctl, oid) == 24, "sysctl");
static_assert(offsetof(struct tmem_xen_sysctl, buffer) == 48, "sysctl");
static_assert(sizeof(struct tmem_xen_client_info) == 20, "client info");
static_assert(_Alignof(struct tmem_xen_client_info) == 4, "client info");
static_assert(sizeof(struct tmem_xen_pool_info) == 32, "pool info");
static_assert(offsetof(struct tmem_xen_pool_info, uuid) == 16, "pool info");

static void *buffer_of(const struct tmem_xen_sysctl *op)
{
	return (void *)(uintptr_t)op->buffer;
}

static bool is_all(const struct tmem_xen_sysctl *op)
{
	return (uint16_t)op->cli_id == TMEM_XEN_ALL_CLIENTS;
}

/* The one domain, or all, that have a client. */
static int each_client(struct tmem_xen *xen, const struct tmem_xen_sysctl *op,
		       int (*work)(struct tmem_xen_domain *domain,
				   const void *argument),
		       const void *argument) TM_REQUIRES(xen->lock)
{
	struct tmem_xen_domain *domain;
	int err = 0;

	if (!is_all(op)) {
		domain = tm_xen_domain_find(xen, op->cli_id);
		return domain && domain->client ? work(domain, argument) :
						  -EPERM;
	}
	for (domain = xen->domains; domain; domain = domain->next) {
		int one = domain->client ? work(domain, argument) : 0;

		if (!err)
			err = one;
	}
	return err;
}

static int set_frozen(struct tmem_xen_domain *domain, const void *argument)
{
	tm_xen_is_locked(domain);
	return tm_xen_save_set_frozen(domain, *(const bool *)argument);
}

static int destroy(struct tmem_xen_domain *domain, const void *argument)
{
	(void)argument;
	tm_xen_is_locked(domain);
	for (uint32_t slot = 0; slot < TMEM_XEN_POOLS_MAX; slot++)
		tm_xen_pool_end(domain, slot);
	return 0;
}

static int64_t clamp(int64_t value)
{
	return value > INT32_MAX ? INT32_MAX : value;
}

static int flush(struct tmem_xen *xen, const struct tmem_xen_sysctl *op)
{
	int64_t bytes;

	if (!is_all(op))
		return -EPERM;
	bytes = tmem_store_evict(xen->store, (uint64_t)op->arg * 1024);
	if (bytes < 0)
		return (int)bytes;
	atomic_fetch_add(&xen->flushed_kib, (uint64_t)bytes / 1024);
	return (int)clamp(bytes / 1024);
}

static int query_freeable_mib(struct tmem_xen *xen)
{
	struct tmem_store_stats stats = { .struct_size = sizeof(stats) };
	int err;

	stats.counts.struct_size = sizeof(stats.counts);
	err = tmem_store_get_stats(xen->store, &stats);
	return err ? err : (int)clamp((int64_t)(stats.freeable_bytes >> 20));
}

/* --- client and pools ----------------------------------------------------- */

static int get_client_info(struct tmem_xen *xen,
			   const struct tmem_xen_sysctl *op)
	TM_REQUIRES(xen->lock)
{
	struct tmem_xen_client_info out = {
		.version = TMEM_XEN_SPEC_VERSION,
		.maxpools = TMEM_XEN_POOLS_MAX,
	};
	struct tmem_client_info info = { .struct_size = sizeof(info) };
	struct tmem_xen_domain *domain =
		is_all(op) ? NULL : tm_xen_domain_find(xen, op->cli_id);

	if (!op->buffer)
		return -EFAULT;
	if (domain && domain->client &&
	    !tmem_client_get_info(domain->client, &info)) {
		bool frozen = tm_xen_save_is_frozen(domain);

		for (uint32_t slot = 0; slot < TMEM_XEN_POOLS_MAX; slot++)
			out.nr_pools += !tm_xen_pool_exists(
				domain, domain->client, slot);
		out.flags = (frozen ? TMEM_XEN_CLIENT_IS_FROZEN : 0) |
			    (info.compress ? TMEM_XEN_CLIENT_COMPRESSES : 0) |
			    (domain->is_saved && domain->is_saved_live ?
				     TMEM_XEN_CLIENT_MIGRATES :
				     0);
		out.weight = info.weight;
	}
	memcpy(buffer_of(op), &out, sizeof(out));
	return 0;
}

static int set_client_info(struct tmem_xen_domain *domain,
			   const void *argument)
{
	const struct tmem_xen_client_info *in = argument;
	struct tmem_client_info info = { .struct_size = sizeof(info) };
	struct tmem_client_config config;
	bool compress = in->flags & TMEM_XEN_CLIENT_COMPRESSES;
	int err;

	err = tmem_client_get_info(domain->client, &info);
	if (err)
		return err;
	tmem_client_config_init(&config);
	config.weight = in->weight;
	config.trust_domain = info.trust_domain;
	config.reservation_bytes = info.reservation_bytes;
	config.cap_bytes = info.cap_bytes;
	err = tmem_client_set(domain->client, &config);
	/* A codec that the host chose for it stays. */
	if (!err && compress != info.compress)
		err = tmem_client_set_compress(domain->client, compress);
	return err;
}

static int set_client(struct tmem_xen *xen, const struct tmem_xen_sysctl *op)
	TM_REQUIRES(xen->lock)
{
	struct tmem_xen_client_info in;
	int err;

	if (!op->buffer)
		return -EFAULT;
	memcpy(&in, buffer_of(op), sizeof(in));
	if (in.version != TMEM_XEN_SPEC_VERSION)
		return -EOPNOTSUPP;
	if (in.maxpools > TMEM_XEN_POOLS_MAX)
		return -ERANGE;
	if (is_all(op) && !xen->domains)
		return -ENOENT;
	err = each_client(xen, op, set_client_info, &in);
	return err == -EPERM ? -ENOENT : err;
}

/* An array of pools' infos: how many, or an error. */
static int count_infos(const struct tmem_xen_sysctl *op)
{
	if (op->len % sizeof(struct tmem_xen_pool_info))
		return -EINVAL;
	if (op->len / sizeof(struct tmem_xen_pool_info) > TMEM_XEN_POOLS_MAX)
		return -E2BIG;
	if (op->len && !op->buffer)
		return -EINVAL;
	return (int)(op->len / sizeof(struct tmem_xen_pool_info));
}

static int get_pools(struct tmem_xen *xen, const struct tmem_xen_sysctl *op)
	TM_REQUIRES(xen->lock)
{
	struct tmem_xen_domain *domain = tm_xen_domain_find(xen, op->cli_id);
	struct tmem_xen_pool_info *out = buffer_of(op);
	int room = count_infos(op), count = 0;

	if (room < 0)
		return room;
	if (!domain || !domain->client)
		return -EINVAL;
	for (uint32_t slot = 0; slot < TMEM_XEN_POOLS_MAX && count < room;
	     slot++) {
		struct tmem_pool_info info = { .struct_size = sizeof(info) };
		int id = tm_xen_pool_id(domain, slot);

		if (tmem_pool_get_info(domain->client, id, &info))
			continue;
		out[count++] = (struct tmem_xen_pool_info){
			.flags = (info.flags & TMEM_POOL_PERSISTENT ?
					  TMEM_XEN_POOL_PERSIST :
					  0) |
				 (info.flags & TMEM_POOL_SHARED ?
					  TMEM_XEN_POOL_SHARED :
					  0) |
				 TMEM_XEN_SPEC_VERSION
					 << TMEM_XEN_POOL_VERSION_SHIFT,
			.id = slot,
			.n_pages = info.pages,
			.uuid = { info.uuid.word[0], info.uuid.word[1] },
		};
	}
	return count;
}

static int set_pools(struct tmem_xen *xen, const struct tmem_xen_sysctl *op)
	TM_REQUIRES(xen->lock)
{
	struct tmem_xen_domain *domain = tm_xen_domain_find(xen, op->cli_id);
	struct tmem_xen_pool_info *infos = buffer_of(op);
	int count = count_infos(op), err;

	if (count < 0)
		return count;
	if (!domain)
		return -ENOMEM;
	tm_xen_is_locked(domain);
	if (tm_xen_client_make(domain))
		return -ENOMEM;
	for (int i = 0; i < count; i++) {
		struct tmem_xen_pool_info info = infos[i];
		struct tmem_uuid uuid = { { info.uuid[0], info.uuid[1] } };

		if (info.n_pages)
			return -EINVAL;
		err = tm_xen_pool_create_at(domain, info.id, info.flags,
					    &uuid);
		if (err < 0)
			return err;
		infos[i].id = (uint32_t)err;
	}
	return count;
}

/* --- authorisation -------------------------------------------------------- */

static int set_auth(struct tmem_xen_domain *domain,
		    const struct tmem_xen_pool_info *info)
	TM_REQUIRES(domain->xen->lock)
{
	bool is_allowed = info->flags & TMEM_XEN_POOL_AUTH;
	const struct tmem_uuid uuid = { { info->uuid[0], info->uuid[1] } };
	uint32_t i = 0;

	if ((!uuid.word[0] && !uuid.word[1]) ||
	    (uuid.word[0] == UINT64_MAX && uuid.word[1] == UINT64_MAX))
		return -EINVAL;
	while (i < domain->auth_count &&
	       memcmp(&domain->auth[i], &uuid, sizeof(uuid)))
		i++;
	if (!is_allowed && i < domain->auth_count)
		domain->auth[i] = domain->auth[--domain->auth_count];
	if (!is_allowed || i < domain->auth_count)
		return 0;
	if (i == TMEM_XEN_SHARED_POOLS_MAX)
		return -ENOMEM;
	domain->auth[domain->auth_count++] = uuid;
	return 0;
}

static int set_auths(struct tmem_xen *xen, const struct tmem_xen_sysctl *op)
	TM_REQUIRES(xen->lock)
{
	struct tmem_xen_domain *domain = tm_xen_domain_find(xen, op->cli_id);
	const struct tmem_xen_pool_info *infos = buffer_of(op);
	int count = count_infos(op), err;

	if (count < 0)
		return count;
	if (!is_all(op) && !domain)
		return -ENOMEM;
	for (int i = 0; i < count; i++) {
		if (is_all(op)) {
			xen->all_may_share = infos[i].flags &
					     TMEM_XEN_POOL_AUTH;
			continue;
		}
		tm_xen_is_locked(domain);
		err = set_auth(domain, &infos[i]);
		if (err)
			return err;
	}
	return count;
}

/* --- all of them ---------------------------------------------------------- */

static int list(struct tmem_xen *xen, const struct tmem_xen_sysctl *op)
{
	if (!op->buffer)
		return -EFAULT;
	return tmem_xen_list(xen, op->cli_id, op->arg, buffer_of(op), op->len);
}

/* What concerns one domain: it, or how Xen says that there is none. */
static int control_domain(struct tmem_xen_domain *domain,
			  const struct tmem_xen_sysctl *op)
	TM_REQUIRES(domain->xen->lock)
{
	switch (op->cmd) {
	case TMEM_XEN_OP_SAVE_BEGIN:
		return tm_xen_save_begin(domain, op->arg);
	case TMEM_XEN_OP_SAVE_GET_NEXT_PAGE:
		return tm_xen_save_next_page(domain, op);
	case TMEM_XEN_OP_SAVE_GET_NEXT_INV:
		return tm_xen_save_next_invalidation(domain, op);
	case TMEM_XEN_OP_SAVE_END:
		return tm_xen_save_end(domain);
	case TMEM_XEN_OP_RESTORE_BEGIN:
		return tm_xen_restore_begin(domain);
	case TMEM_XEN_OP_RESTORE_PUT_PAGE:
		return tm_xen_restore_put_page(domain, op);
	case TMEM_XEN_OP_RESTORE_FLUSH_PAGE:
		return tm_xen_restore_flush_page(domain, op);
	}
	return -EPERM;
}

static int control_nobody(const struct tmem_xen_sysctl *op)
{
	switch (op->cmd) {
	case TMEM_XEN_OP_SAVE_BEGIN:
	case TMEM_XEN_OP_SAVE_END:
		return -ENOENT;
	case TMEM_XEN_OP_SAVE_GET_NEXT_INV:
		return 0;
	case TMEM_XEN_OP_RESTORE_BEGIN:
		return -ENOMEM;
	}
	return -EPERM;
}

static int control(struct tmem_xen *xen, const struct tmem_xen_sysctl *op)
	TM_REQUIRES(xen->lock)
{
	static const bool yes = true, no = false;
	struct tmem_xen_domain *domain;

	switch (op->cmd) {
	case TMEM_XEN_OP_THAW:
		return each_client(xen, op, set_frozen, &no);
	case TMEM_XEN_OP_FREEZE:
		return each_client(xen, op, set_frozen, &yes);
	case TMEM_XEN_OP_DESTROY:
		return each_client(xen, op, destroy, NULL);
	case TMEM_XEN_OP_GET_CLIENT_INFO:
		return get_client_info(xen, op);
	case TMEM_XEN_OP_SET_CLIENT_INFO:
		return set_client(xen, op);
	case TMEM_XEN_OP_GET_POOLS:
		return get_pools(xen, op);
	case TMEM_XEN_OP_SET_POOLS:
		return set_pools(xen, op);
	case TMEM_XEN_OP_SET_AUTH:
		return set_auths(xen, op);
	}
	domain = tm_xen_domain_find(xen, op->cli_id);
	if (!domain)
		return control_nobody(op);
	tm_xen_is_locked(domain);
	return control_domain(domain, op);
}

int tmem_xen_control(struct tmem_xen *xen, const struct tmem_xen_sysctl *op)
{
	int result;

	if (xen->is_disabled)
		return -ENODEV;
	if (op->pad)
		return -EINVAL;
	switch (op->cmd) {
	case TMEM_XEN_OP_FLUSH:
		return flush(xen, op);
	case TMEM_XEN_OP_LIST:
		return list(xen, op);
	case TMEM_XEN_OP_QUERY_FREEABLE_MB:
		return query_freeable_mib(xen);
	}
	tm_lock_acquire(&xen->lock);
	result = control(xen, op);
	tm_lock_release(&xen->lock);
	return result;
}
