/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A client of a daemon's store: the port whose calls go over a channel.
 *
 * The problem: the daemon may be killed at any instant, and its clients are to
 * go on without an error. The idea: nothing that matters is in a link (see
 * link.h). Whoever finds the link down makes a new one, while all others wait,
 * and sets things up there before anybody else's call goes over it:
 *
 *	1. ephemeral pools are made again, under their ids;
 *	2. flushes that were given up on are carried out (a put that was given
 *	   up on counts as one: it was refused);
 *	3. each lane sends again, in order, what was not answered.
 *
 * That is right because all of it may be done twice. A put stores the same
 * page again, a get changes nothing, or says that the page was taken (link.h),
 * a flush finds nothing left. Only pools are not like that: making and ending
 * them carries a number, one above the last that the daemon has recorded, and
 * the same number has the same effect as once. So there is one such call at a
 * time.
 *
 * What is not promised: two calls for one page that run at the same time as
 * the daemon dies may be repeated in either order, as they might have run.
 *
 * Locks: calls (over a numbered call), then a lane's (over each call), then
 * link_lock, which guards the link, the pools' list and the kept flushes, and is
 * held while a new link is made.
 */
#include <config.h>

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "client.h"
#include "link.h"
#include "runtime_dir.h"

#define TIMEOUT_MS_DEFAULT 30000
#define RINGS_DEFAULT_MAX 16
#define BATCH TM_LANE_ENTRIES
#define BACKOFF_FIRST_MS 1
#define BACKOFF_LAST_MS 100
#define CLOSINGS_MAX 3
/* Flushes that were given up on; more than that, and all is given up. */
#define KEPT_MAX (1u << 20)

struct known_pool {
	bool is_there;
	uint32_t flags;
	struct tmem_uuid uuid;
};

struct connected {
	struct tmem_client client;	/* first: it is what callers hold */
	/* set at creation, then constant */
	char *socket;
	char name[TMEM_CLIENT_NAME_MAX + 1];
	uint64_t timeout_ns;
	void (*log)(void *opaque, enum tmem_log_level level, const char *text);
	void *log_opaque;
	volatile uint32_t *alive;	/* 0 in a forked child */
	struct tm_lane *lanes;
	uint32_t lane_count;
	/* guarded by calls */
	struct tm_lock calls;
	uint64_t last_call;
	/* guarded by link_lock */
	struct tm_lock link_lock;
	struct tm_link *link;		/* NULL: down */
	struct known_pool pools[TMEM_POOLS_MAX];
	struct tm_ring_op *kept;
	uint32_t kept_count;		/* 0 while there is a link */
	uint32_t kept_max;
	/* atomic */
	_Atomic bool is_lost;
};

static struct connected *connected_of(struct tm_port *port)
{
	return (struct connected *)tm_client_of_port(port);
}

static void say(struct connected *c, enum tmem_log_level level,
		const char *what, int err)
{
	char text[256];

	if (!c->log)
		return;
	snprintf(text, sizeof(text), "%s: %s%s%s", c->socket, what,
		 err ? ": " : "", err ? strerror(-err) : "");
	c->log(c->log_opaque, level, text);
}

/* --- setting up a new link -------------------------------------------------- */

/* One call over @lane, which is on a new link that nobody else knows. */
static int setup_call(struct connected *c, struct tm_lane *lane,
		      struct tm_call *call)
{
	uint32_t done = 0;

	return tm_lane_run(lane, call, 1, &done, c->timeout_ns);
}

static int query_pool(struct connected *c, struct tm_lane *lane, int id,
		      struct tm_ring_pool_info *info)
{
	struct tm_call call = {
		.op = { .command = TM_RING_POOL_INFO, .pool = id },
		.out = info,
		.out_bytes = sizeof(*info),
	};
	int err = setup_call(c, lane, &call);

	return err ? err : call.result;
}

static int make_pool_again(struct connected *c, struct tm_lane *lane, int id)
{
	const struct known_pool *pool = &c->pools[id];
	struct tm_call call = {
		.op = { .command = TM_RING_NEW_POOL_AT,
			.pool = id,
			.create = { .uuid = { pool->uuid.word[0],
					      pool->uuid.word[1] },
				    .flags = pool->flags |
					     TM_RING_POOL_VERSION } },
	};
	int err = setup_call(c, lane, &call);

	/* That it cannot be made is for its next user to hear. */
	if (!err && call.result < 0 && call.result != -EEXIST)
		say(c, TMEM_LOG_WARNING, "an ephemeral pool was lost",
		    call.result);
	return err;
}

static int restore_pools(struct connected *c, struct tm_lane *lane)
{
	struct tm_ring_pool_info info;

	for (int id = 0; id < TMEM_POOLS_MAX; id++) {
		int err;

		if (!c->pools[id].is_there ||
		    c->pools[id].flags & TMEM_POOL_PERSISTENT)
			continue;
		err = query_pool(c, lane, id, &info);
		if (err == -ENOENT)
			err = make_pool_again(c, lane, id);
		if (err == -EPIPE || err == -ETIMEDOUT)
			return err;
	}
	return 0;
}

static int flush_kept(struct connected *c, struct tm_lane *lane)
{
	while (c->kept_count) {
		struct tm_call call = { .op = c->kept[c->kept_count - 1] };
		int err = setup_call(c, lane, &call);

		if (err)
			return err;
		c->kept_count--;
	}
	return 0;
}

/* What pools this client has from before. */
static int learn_pools(struct connected *c, struct tm_lane *lane)
{
	for (int id = 0; id < TMEM_POOLS_MAX; id++) {
		struct tm_ring_pool_info info;
		int err = query_pool(c, lane, id, &info);

		if (err == -ENOENT)
			continue;
		if (err)
			return err;
		c->pools[id].is_there = true;
		c->pools[id].flags = info.flags;
		memcpy(&c->pools[id].uuid, info.uuid, sizeof(info.uuid));
	}
	return 0;
}

static int set_up(struct connected *c, struct tm_link *link, bool is_first)
{
	struct tm_lane lane;
	int err;

	tm_lane_init(&lane, 0);
	tm_lane_move(&lane, link);
	err = is_first ? learn_pools(c, &lane) : restore_pools(c, &lane);
	if (!err)
		err = flush_kept(c, &lane);
	link->first_count = lane.submitted;
	tm_lane_move(&lane, NULL);
	return err;
}

static int try_link(struct connected *c, uint32_t rings, bool is_first,
		    uint64_t deadline_ns)
{
	const struct tm_link_config config = {
		.socket = c->socket,
		.name = c->name,
		.rings = rings,
		.is_exact = !is_first,
	};
	struct tm_link *link;
	int err;

	err = tm_link_open(&config, deadline_ns, &link);
	if (err)
		return err;
	err = set_up(c, link, is_first);
	if (err) {
		tm_link_down(link);
		tm_link_release(link);
		return err;
	}
	c->link = link;
	return 0;
}

/* A daemon that was there comes back. So does one that goes while it talks to
 * us for the first time; but what closes again and again is no daemon. */
struct trust {
	bool is_known;
	unsigned closings;
};

/* Is @err nothing that will not pass? */
static bool may_pass(struct trust *trust, int err)
{
	if (trust->is_known)
		return true;
	if (err == -EPIPE || err == -ECONNRESET)
		return ++trust->closings < CLOSINGS_MAX;
	if (err == -ENOENT || err == -ECONNREFUSED)
		return trust->closings;
	return err == -EAGAIN;
}

/* The caller holds link_lock, or nobody else knows @c yet. */
static int make_link(struct connected *c, uint32_t rings, bool is_first,
		     uint64_t deadline_ns)
{
	struct trust trust = { .is_known = !is_first };
	int backoff_ms = BACKOFF_FIRST_MS;

	for (;;) {
		int err = try_link(c, rings, is_first, deadline_ns);

		if (!err || !may_pass(&trust, err))
			return err;
		if (tm_clock_system_now_ns(NULL) +
			    (uint64_t)backoff_ms * 1000000 >
		    deadline_ns) {
			say(c, TMEM_LOG_ERROR, "the daemon does not come back",
			    err);
			return -ETIMEDOUT;
		}
		poll(NULL, 0, backoff_ms);
		backoff_ms = backoff_ms * 2 < BACKOFF_LAST_MS ?
				     backoff_ms * 2 :
				     BACKOFF_LAST_MS;
	}
}

/* --- when the daemon has gone ----------------------------------------------- */

static void put_down(struct connected *c, struct tm_link *link)
{
	tm_link_down(link);
	if (c->link == link) {
		c->link = NULL;
		tm_link_release(link);
	}
}

/* A link that is not the one that @lane had, and failed. */
static int next_link(struct connected *c, struct tm_lane *lane,
		     struct tm_link **link)
{
	uint64_t deadline_ns = tm_clock_system_now_ns(NULL) + c->timeout_ns;
	int err = 0;

	tm_lock_acquire(&c->link_lock);
	if (lane->link && atomic_load(&lane->link->is_down))
		put_down(c, lane->link);
	if (!c->link) {
		say(c, TMEM_LOG_WARNING, "the daemon has gone; calls wait", 0);
		err = make_link(c, c->lane_count, false, deadline_ns);
		if (!err)
			say(c, TMEM_LOG_INFO, "the daemon is back", 0);
	}
	*link = c->link;
	if (!err)
		tm_link_hold(*link);
	tm_lock_release(&c->link_lock);
	return err;
}

static bool keep(struct connected *c, const struct tm_call *call)
{
	struct tm_ring_op op = call->op;

	switch (op.command) {
	case TM_RING_PUT_PAGE:
		op.command = TM_RING_FLUSH_PAGE;
		break;
	case TM_RING_FLUSH_PAGE:
	case TM_RING_FLUSH_OBJECT:
		break;
	default:
		return true;
	}
	if (c->kept_count == c->kept_max) {
		uint32_t max = c->kept_max ? 2 * c->kept_max : 16;
		struct tm_ring_op *more = NULL;

		if (max <= KEPT_MAX)
			more = realloc(c->kept, max * sizeof(*more));
		if (!more)
			return false;
		c->kept = more;
		c->kept_max = max;
	}
	c->kept[c->kept_count++] = op;
	return true;
}

/* These were not carried out in time. What must not be forgotten is kept; the
 * lane's next call must not take their answers for its own. */
static void give_up(struct connected *c, struct tm_lane *lane,
		    struct tm_call *calls, uint32_t count, int err)
{
	tm_lock_acquire(&c->link_lock);
	if (lane->link)
		put_down(c, lane->link);
	tm_lane_forget(lane);
	for (uint32_t i = 0; i < count; i++) {
		calls[i].result = calls[i].is_taken ? TMEM_GET_HIT : err;
		if (!keep(c, &calls[i]))
			atomic_store(&c->is_lost, true);
	}
	/* Another lane may have made a link meanwhile. These come before all
	 * that is called once we have answered, so on the next one. */
	if (c->kept_count && c->link)
		put_down(c, c->link);
	tm_lock_release(&c->link_lock);
}

/* --- calls ------------------------------------------------------------------ */

static void run_calls(struct connected *c, struct tm_lane *lane,
		      struct tm_call *calls, uint32_t count)
{
	struct tm_link *link;
	uint32_t done = 0;
	int err = 0;

	if (!lane->link || atomic_load(&lane->link->is_down))
		err = -EPIPE;
	for (;;) {
		if (!err)
			err = tm_lane_run(lane, calls, count, &done,
					  c->timeout_ns);
		if (!err)
			return;
		if (err == -EPIPE) {
			if (lane->link)
				tm_link_down(lane->link);
			err = next_link(c, lane, &link);
		}
		if (err) {
			give_up(c, lane, calls + done, count - done, err);
			return;
		}
		if (lane->link)
			tm_lane_salvage(lane, calls, count, &done);
		tm_lane_move(lane, link);
		tm_link_release(link);
	}
}

/* A thread keeps to one lane while it is alone there. */
static struct tm_lane *take_lane(struct connected *c)
	TM_NO_THREAD_SAFETY_ANALYSIS
{
	uint64_t self = (uint64_t)(uintptr_t)pthread_self();
	uint32_t first = (uint32_t)((self * UINT64_C(0x9e3779b97f4a7c15)) >>
				    32) % c->lane_count;

	for (uint32_t i = 0; i < c->lane_count; i++) {
		uint32_t n = first + i < c->lane_count ?
				     first + i : first + i - c->lane_count;

		if (tm_lock_try(&c->lanes[n].lock))
			return &c->lanes[n];
	}
	tm_lock_acquire(&c->lanes[first].lock);
	return &c->lanes[first];
}

static int check_usable(struct connected *c)
{
	if (!*c->alive)
		return -EOWNERDEAD;
	return atomic_load_explicit(&c->is_lost, memory_order_relaxed) ?
		       -ENOTRECOVERABLE : 0;
}

static void run(struct connected *c, struct tm_call *calls, uint32_t count)
	TM_NO_THREAD_SAFETY_ANALYSIS
{
	struct tm_lane *lane = take_lane(c);

	run_calls(c, lane, calls, count);
	tm_lock_release(&lane->lock);
}

static int run_one(struct tm_port *port, struct tm_call *call)
{
	struct connected *c = connected_of(port);
	int err = check_usable(c);

	if (err)
		return err;
	run(c, call, 1);
	return call->result;
}

static struct tm_call page_call(uint32_t command, int pool,
				const struct tmem_oid *oid, uint32_t index)
{
	return (struct tm_call){
		.op = { .command = command,
			.pool = pool,
			.page = { .oid = { oid->word[0], oid->word[1],
					   oid->word[2] },
				  .index = index } },
	};
}

/* --- the port ---------------------------------------------------------------- */

/* Every page is copied before it is looked at, so none is unstable. */
static int prepare_put(struct tm_call *call, const void *page, uint32_t flags)
{
	call->in = page;
	return flags & ~TMEM_PUT_UNSTABLE ? -EINVAL : 0;
}

static int prepare_get(struct tm_call *call, void *page, uint32_t flags)
{
	call->out = page;
	call->out_bytes = TMEM_PAGE_SIZE;
	call->flags = flags & TMEM_GET_REMOVE ? TM_RING_REMOVE : 0;
	return flags & ~TMEM_GET_REMOVE ? -EINVAL : 0;
}

static int connected_put(struct tm_port *port, int pool,
			 const struct tmem_oid *oid, uint32_t index,
			 const void *page, uint32_t flags)
{
	struct tm_call call = page_call(TM_RING_PUT_PAGE, pool, oid, index);
	int err = prepare_put(&call, page, flags);

	return err ? err : run_one(port, &call);
}

static int connected_get(struct tm_port *port, int pool,
			 const struct tmem_oid *oid, uint32_t index, void *page,
			 uint32_t flags)
{
	struct tm_call call = page_call(TM_RING_GET_PAGE, pool, oid, index);
	int err = prepare_get(&call, page, flags);

	return err ? err : run_one(port, &call);
}

static int connected_flush_page(struct tm_port *port, int pool,
				const struct tmem_oid *oid, uint32_t index)
{
	struct tm_call call = page_call(TM_RING_FLUSH_PAGE, pool, oid, index);

	return run_one(port, &call);
}

static int connected_flush_object(struct tm_port *port, int pool,
				  const struct tmem_oid *oid)
{
	struct tm_call call = page_call(TM_RING_FLUSH_OBJECT, pool, oid, 0);

	return run_one(port, &call);
}

/* Calls of requests from @first on, as far as there is room and none is
 * wrong; how many requests that took. */
static uint32_t gather(struct tmem_request *requests, uint32_t first,
		       uint32_t count, struct tm_call calls[BATCH],
		       uint32_t *called)
{
	static const uint32_t commands[] = {
		[TMEM_REQUEST_PUT] = TM_RING_PUT_PAGE,
		[TMEM_REQUEST_GET] = TM_RING_GET_PAGE,
		[TMEM_REQUEST_FLUSH_PAGE] = TM_RING_FLUSH_PAGE,
		[TMEM_REQUEST_FLUSH_OBJECT] = TM_RING_FLUSH_OBJECT,
	};
	uint32_t n = 0;

	while (first + n < count && n < BATCH) {
		struct tmem_request *r = &requests[first + n];
		struct tm_call *call = &calls[n];

		*call = page_call(commands[r->kind], r->pool, &r->oid,
				  r->index);
		r->result = 0;
		if (r->kind == TMEM_REQUEST_PUT)
			r->result = prepare_put(call, r->page, r->flags);
		else if (r->kind == TMEM_REQUEST_GET)
			r->result = prepare_get(call, r->page, r->flags);
		if (r->result)
			break;
		n++;
	}
	*called = n;
	/* One that is wrong has its result. */
	return first + n < count && n < BATCH ? n + 1 : n;
}

static int connected_batch(struct tm_port *port, struct tmem_request *requests,
			   uint32_t count)
{
	struct connected *c = connected_of(port);
	struct tm_call calls[BATCH];
	int err = check_usable(c);

	for (uint32_t first = 0; first < count;) {
		uint32_t called, taken;

		taken = gather(requests, first, count, calls, &called);
		if (!err && called)
			run(c, calls, called);
		for (uint32_t i = 0; i < called; i++)
			requests[first + i].result =
				err ? err : calls[i].result;
		first += taken;
	}
	return 0;
}

/* Was it made on a link whose successor did not hear of it? Again, then. */
static void note_pool(struct connected *c, int id, uint32_t flags,
		      const struct tmem_uuid *uuid)
{
	struct tm_call call = {
		.op = { .command = TM_RING_NEW_POOL_AT,
			.pool = id,
			.create = { .flags = flags | TM_RING_POOL_VERSION } },
	};

	tm_lock_acquire(&c->link_lock);
	c->pools[id] = (struct known_pool){ .is_there = true, .flags = flags };
	if (uuid) {
		c->pools[id].uuid = *uuid;
		memcpy(call.op.create.uuid, uuid, sizeof(*uuid));
	}
	tm_lock_release(&c->link_lock);
	if (!(flags & TMEM_POOL_PERSISTENT))
		run(c, &call, 1);
}

static int connected_pool_create(struct tm_port *port, uint32_t flags,
				 const struct tmem_uuid *uuid)
{
	struct connected *c = connected_of(port);
	struct tm_call call = {
		.op = { .command = TM_RING_NEW_POOL,
			.create = { .flags = flags | TM_RING_POOL_VERSION } },
	};
	int result;

	if ((flags & TMEM_POOL_SHARED) ? !uuid : !!uuid)
		return flags == (TMEM_POOL_SHARED | TMEM_POOL_PERSISTENT) ?
			       -EPERM : -EINVAL;
	if (flags & ~(TMEM_POOL_SHARED | TMEM_POOL_PERSISTENT))
		return -EINVAL;
	if (uuid)
		memcpy(call.op.create.uuid, uuid, sizeof(*uuid));
	tm_lock_acquire(&c->calls);
	call.op.call = ++c->last_call;
	result = run_one(port, &call);
	if (result >= 0 && result < TMEM_POOLS_MAX)
		note_pool(c, result, flags, uuid);
	tm_lock_release(&c->calls);
	return result;
}

static int connected_pool_destroy(struct tm_port *port, int pool)
{
	struct connected *c = connected_of(port);
	struct tm_call call = {
		.op = { .command = TM_RING_DESTROY_POOL, .pool = pool },
	};
	struct known_pool before;
	int result;

	if (pool < 0 || pool >= TMEM_POOLS_MAX)
		return -ENOENT;
	tm_lock_acquire(&c->calls);
	call.op.call = ++c->last_call;
	/* Whoever makes a new link meanwhile is not to make it again. */
	tm_lock_acquire(&c->link_lock);
	before = c->pools[pool];
	c->pools[pool].is_there = false;
	tm_lock_release(&c->link_lock);
	result = run_one(port, &call);
	/* Ephemeral, and gone with the daemon that it was made in. */
	if (result == -ENOENT && before.is_there)
		result = 0;
	if (result && result != -ENOENT) {
		tm_lock_acquire(&c->link_lock);
		c->pools[pool] = before;
		tm_lock_release(&c->link_lock);
	}
	tm_lock_release(&c->calls);
	return result;
}

static int connected_pool_get_info(struct tm_port *port, int pool,
				   struct tmem_pool_info *info)
{
	struct tm_ring_pool_info answer = { 0 };
	struct tm_call call = {
		.op = { .command = TM_RING_POOL_INFO, .pool = pool },
		.out = &answer,
		.out_bytes = sizeof(answer),
	};
	int err = run_one(port, &call);

	if (err)
		return err;
	info->flags = answer.flags;
	info->members = answer.members;
	memcpy(&info->uuid, answer.uuid, sizeof(info->uuid));
	info->pages = answer.pages;
	info->objects = answer.objects;
	return 0;
}

static int connected_get_counts(struct tm_port *port,
				struct tmem_counts *counts)
{
	const size_t begin = offsetof(struct tmem_counts, pages);
	struct tm_ring_counts answer = { 0 };
	struct tm_call call = {
		.op = { .command = TM_RING_COUNTS },
		.out = &answer,
		.out_bytes = sizeof(answer),
	};
	size_t size = sizeof(*counts) - begin;
	int err = run_one(port, &call);

	if (err)
		return err;
	if (answer.words * sizeof(uint64_t) < size)
		size = (size_t)answer.words * sizeof(uint64_t);
	memcpy((char *)counts + begin, answer.word, size);
	return 0;
}

static void free_connected(struct connected *c)
{
	for (uint32_t i = 0; c->lanes && i < c->lane_count; i++)
		tm_lane_move(&c->lanes[i], NULL);
	tm_link_release(c->link);
	if (c->alive)
		munmap((void *)c->alive, TMEM_PAGE_SIZE);
	free(c->kept);
	free(c->lanes);
	free(c->socket);
	free(c);
}

static void connected_close(struct tm_port *port)
{
	struct connected *c = connected_of(port);

	/* In a forked child, the parent goes on with it. */
	if (*c->alive && c->link)
		tm_link_down(c->link);
	free_connected(c);
}

static const struct tm_port_ops connected_ops = {
	.put = connected_put,
	.get = connected_get,
	.flush_page = connected_flush_page,
	.flush_object = connected_flush_object,
	.pool_create = connected_pool_create,
	.pool_destroy = connected_pool_destroy,
	.pool_get_info = connected_pool_get_info,
	.get_counts = connected_get_counts,
	.batch = connected_batch,
	.close = connected_close,
};

/* --- connecting ------------------------------------------------------------- */

void tmem_connect_config_init(struct tmem_connect_config *config)
{
	*config =
		(struct tmem_connect_config){ .struct_size = sizeof(*config) };
}

static uint32_t default_rings(void)
{
	cpu_set_t cpus;
	uint32_t count = 1;

	if (!sched_getaffinity(0, sizeof(cpus), &cpus))
		count = (uint32_t)CPU_COUNT(&cpus);
	return count < RINGS_DEFAULT_MAX ? count : RINGS_DEFAULT_MAX;
}

static volatile uint32_t *make_alive(void)
{
	uint32_t *at = mmap(NULL, TMEM_PAGE_SIZE, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED)
		return NULL;
	madvise(at, TMEM_PAGE_SIZE, MADV_WIPEONFORK);
	*at = 1;
	return at;
}

static int make_lanes(struct connected *c)
{
	size_t size;

	c->lane_count = c->link->rings;
	size = c->lane_count * sizeof(*c->lanes);
	size = (size + 63) & ~(size_t)63;
	c->lanes = aligned_alloc(64, size);
	if (!c->lanes)
		return -ENOMEM;
	for (uint32_t i = 0; i < c->lane_count; i++) {
		tm_lane_init(&c->lanes[i], i);
		tm_lane_move(&c->lanes[i], c->link);
	}
	c->last_call = c->link->last_call;
	return 0;
}

static int take_config(struct connected *c,
		       const struct tmem_connect_config *config)
{
	char path[PATH_MAX];
	int err;

	if (!config->socket) {
		err = tm_default_socket(path, sizeof(path));
		if (err)
			return err;
	}
	c->socket = strdup(config->socket ? config->socket : path);
	c->alive = make_alive();
	if (!c->socket || !c->alive)
		return -ENOMEM;
	if (config->name && strlen(config->name) > TMEM_CLIENT_NAME_MAX)
		return -EINVAL;
	if (config->name)
		strcpy(c->name, config->name);
	c->timeout_ns = UINT64_C(1000000) *
			(config->timeout_ms ? config->timeout_ms :
					      TIMEOUT_MS_DEFAULT);
	c->log = config->log;
	c->log_opaque = config->log_opaque;
	tm_lock_init(&c->calls, TM_RANK_CALLS);
	tm_lock_init(&c->link_lock, TM_RANK_LINK);
	c->client.port.ops = &connected_ops;
	return 0;
}

static int connect_with(const struct tmem_connect_config *config,
			struct tmem_client **client)
{
	struct connected *c = calloc(1, sizeof(*c));
	uint32_t rings = config->rings ? config->rings : default_rings();
	int err;

	if (!c)
		return -ENOMEM;
	if (rings > TM_RING_RINGS_MAX)
		rings = TM_RING_RINGS_MAX;
	err = take_config(c, config);
	if (!err)
		err = make_link(c, rings, true,
				tm_clock_system_now_ns(NULL) + c->timeout_ns);
	if (!err)
		err = make_lanes(c);
	if (err)
		free_connected(c);
	else
		*client = &c->client;
	return err;
}

int tmem_connect(const struct tmem_connect_config *config,
		 struct tmem_client **client)
{
	struct tmem_connect_config known;

	tmem_connect_config_init(&known);
	if (!client || (config && config->struct_size < sizeof(known)))
		return -EINVAL;
	return connect_with(config ? config : &known, client);
}
