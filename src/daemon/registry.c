/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The daemon's clients; see registry.h.
 *
 * Members are an array in rising order of their numbers: hundreds, looked at
 * when somebody comes or goes and by operators, never by an operation. The
 * array's reference and that of a live attachment count like anybody's.
 *
 * A destroyed client's struct tmem_client must outlive whoever still works
 * with it. So destroying freezes it and ends its pools, which takes its pages
 * at once, and the client itself ends with the member's last reference.
 */
#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tmem/xen.h>

#include "clock.h"
#include "config.h"
#include "config_client.h"
#include "lock.h"
#include "registry.h"

struct tm_registry {
	/* set at creation, then constant */
	struct tmem_store *store;
	struct tmem_xen *xen;
	struct tm_registry_host host;
	/* guarded by lock */
	struct tm_lock lock;
	const struct tm_daemon_config *config;
	struct tm_member **members;
	size_t count;
	size_t room;
	/* held around changes of settings, and around operators' ends of clients;
	 * guards is_held */
	struct tm_lock settings_lock;
	bool is_held;
};

__attribute__((format(printf, 3, 4))) static void
say(const struct tm_registry *registry, enum tmem_log_level level,
    const char *format, ...)
{
	char text[256];
	va_list args;

	if (!registry->host.log)
		return;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	registry->host.log(registry->host.opaque, level, text);
}

static void tell_changed(const struct tm_registry *registry)
{
	if (registry->host.changed)
		registry->host.changed(registry->host.opaque);
}

/* --- settings --------------------------------------------------------------- */

/* NULL: nothing is said of it. */
static const char *codec_of(const struct tm_config_client *settings)
{
	if (!settings->compress)
		return "none";
	return *settings->codec ? settings->codec : NULL;
}

/* What the arena does not keep. */
static void apply_to_client(const struct tm_registry *registry,
			    const char *name, struct tmem_client *client,
			    const struct tm_config_client *settings)
{
	const char *codec = codec_of(settings);
	int err = codec ? tmem_client_set_codec(client, codec) : 0;

	if (err)
		say(registry, TMEM_LOG_ERROR,
		    "client %s: its codec \"%s\" cannot be used: %s", name,
		    codec, strerror(-err));
	for (size_t i = 0; i < settings->uuid_count; i++)
		tmem_client_set_shared_auth(client, &settings->uuids[i], true);
}

static void apply_settings(const struct tm_registry *registry,
			   const struct tm_member *member,
			   const struct tm_config_client *settings)
{
	apply_to_client(registry, member->name, member->client, settings);
}

static void limits_of(const struct tmem_client_info *info,
		      struct tmem_client_config *limits)
{
	tmem_client_config_init(limits);
	limits->weight = info->weight;
	limits->trust_domain = info->trust_domain;
	limits->reservation_bytes = info->reservation_bytes;
	limits->cap_bytes = info->cap_bytes;
}

/* Its other limits are those of the stream that it comes out of. */
static int set_trust_domain(struct tmem_client *client, uint32_t domain)
{
	struct tmem_client_info info = { .struct_size = sizeof(info) };
	struct tmem_client_config limits;
	int err = tmem_client_get_info(client, &info);

	if (err)
		return err;
	limits_of(&info, &limits);
	limits.trust_domain = domain;
	return tmem_client_set(client, &limits);
}

static bool has_uuid(const struct tm_config_client *settings,
		     const struct tmem_uuid *uuid)
{
	for (size_t i = 0; i < settings->uuid_count; i++)
		if (!memcmp(&settings->uuids[i], uuid, sizeof(*uuid)))
			return true;
	return false;
}

/* What @before said and @now does not. Pools that both allow are allowed all
 * the time. */
static void withdraw(struct tmem_client *client,
		     const struct tm_config_client *before,
		     const struct tm_config_client *now)
{
	if (codec_of(before) && !codec_of(now))
		tmem_client_set_codec(client, NULL);
	for (size_t i = 0; i < before->uuid_count; i++)
		if (!has_uuid(now, &before->uuids[i]))
			tmem_client_set_shared_auth(client, &before->uuids[i],
						    false);
}

static bool are_equal(const struct tm_config_client *a,
		      const struct tm_config_client *b)
{
	return a->weight == b->weight && a->trust_domain == b->trust_domain &&
	       a->reservation_bytes == b->reservation_bytes &&
	       a->cap_bytes == b->cap_bytes && a->compress == b->compress &&
	       !strcmp(a->codec, b->codec) && a->uuid_count == b->uuid_count &&
	       !memcmp(a->uuids, b->uuids,
		       a->uuid_count * sizeof(a->uuids[0]));
}

static void set_linger(const struct tm_registry *registry,
		       struct tm_member *member)
{
	uint64_t ns = tm_config_linger_ns(registry->config, member->name);

	member->linger_until_ns =
		ns && !member->is_attached ?
			tm_clock_now_ns(tm_clock_system()) + ns :
			0;
}

/* --- the list (lock held) ---------------------------------------------------- */

static bool make_room(struct tm_registry *registry)
{
	size_t room = registry->room ? 2 * registry->room : 16;
	struct tm_member **more;

	if (registry->count < registry->room)
		return true;
	more = reallocarray(registry->members, room, sizeof(*more));
	if (!more)
		return false;
	registry->members = more;
	registry->room = room;
	return true;
}

static void insert(struct tm_registry *registry, struct tm_member *member)
{
	size_t at = registry->count++;

	for (; at && registry->members[at - 1]->number > member->number; at--)
		registry->members[at] = registry->members[at - 1];
	registry->members[at] = member;
}

static void take_out(struct tm_registry *registry,
		     const struct tm_member *member)
{
	size_t at = 0;

	while (registry->members[at] != member)
		at++;
	registry->count--;
	memmove(&registry->members[at], &registry->members[at + 1],
		(registry->count - at) * sizeof(registry->members[0]));
}

static struct tm_member *find_name(const struct tm_registry *registry,
				   const char *name)
{
	for (size_t i = 0; i < registry->count; i++)
		if (!strcmp(registry->members[i]->name, name))
			return registry->members[i];
	return NULL;
}

static struct tm_member *find_number(const struct tm_registry *registry,
				     const char *text)
{
	char *end;
	unsigned long number = strtoul(text, &end, 10);

	if (*text < '0' || *text > '9' || *end || number > UINT32_MAX)
		return NULL;
	for (size_t i = 0; i < registry->count; i++)
		if (registry->members[i]->number == number)
			return registry->members[i];
	return NULL;
}

/* What a peer's historical operations are carried out for. */
static int add_domain(struct tm_registry *registry, struct tm_member *member)
{
	struct tmem_xen_domain_config config;

	tmem_xen_domain_config_init(&config);
	config.id = (uint16_t)member->number;
	config.client = member->client;
	return tmem_xen_domain_create(registry->xen, &config, &member->domain);
}

/* Lists a client that is attached already; on error it is still the caller's. */
static int list_client(struct tm_registry *registry, struct tmem_client *client,
		       struct tm_member **out)
{
	struct tmem_client_info info = { .struct_size = sizeof(info) };
	struct tm_member *member = calloc(1, sizeof(*member));
	int err = -ENOMEM;

	if (!member || !make_room(registry))
		goto out_free;
	err = tmem_client_get_info(client, &info);
	if (err)
		goto out_free;
	member->client = client;
	member->number = info.number;
	memcpy(member->name, info.name, sizeof(member->name));
	err = add_domain(registry, member);
	if (err)
		goto out_free;
	member->references = 1;
	insert(registry, member);
	*out = member;
	return 0;

out_free:
	free(member);
	return err;
}

/* Attaches to the client that @limits names, and lists it. */
static int add_member(struct tm_registry *registry,
		      const struct tmem_client_config *limits,
		      struct tm_member **out)
{
	struct tmem_client *client;
	int err = tmem_client_attach(registry->store, limits, &client);

	if (err < 0)
		return err;
	err = list_client(registry, client, out);
	if (err)
		tmem_client_detach(client);
	return err;
}

/* --- opening and closing ------------------------------------------------------ */

/* A client that the store has already: with the file's limits when there is a
 * section for it, else, or when those are impossible, with its own. */
static int take_up(struct tm_registry *registry,
		   const struct tmem_client_info *info)
{
	const struct tm_config_client *settings =
		tm_config_client(registry->config, info->name);
	struct tmem_client_config limits;
	struct tm_member *member;
	bool keeps_limits = false;
	int err = -ENOENT;

	tm_config_client_limits(settings, &limits);
	limits.name = info->name;
	if (*settings->name) {
		err = add_member(registry, &limits, &member);
		keeps_limits = err == -ENOSPC || err == -EINVAL;
		if (keeps_limits)
			say(registry, TMEM_LOG_ERROR,
			    "client %s: keeps its old limits: the "
			    "configuration's do not fit the store (%s)",
			    info->name, strerror(-err));
	}
	limits_of(info, &limits);
	limits.name = info->name;
	if (err)
		err = add_member(registry, &limits, &member);
	if (err == -ENOSPC) {
		limits.reservation_bytes = 0;
		say(registry, TMEM_LOG_ERROR,
		    "client %s: loses its reservation, which does not fit the "
		    "memory limit",
		    info->name);
		err = add_member(registry, &limits, &member);
	}
	if (err)
		return err;
	member->keeps_limits = keeps_limits;
	apply_settings(registry, member, settings);
	set_linger(registry, member);
	return 0;
}

int tm_registry_take_up(struct tm_registry *registry)
{
	struct tmem_client_info info = { .struct_size = sizeof(info) };
	uint32_t position = 0;
	int more, err = 0;

	while (!err && (more = tmem_store_walk_clients(registry->store,
						       &position, &info)) > 0)
		err = take_up(registry, &info);
	if (!err && more < 0 && more != -ENODEV)
		err = more; /* a store that is disabled has no clients */
	return err;
}

int tm_registry_open(struct tmem_store *store, struct tmem_xen *xen,
		     const struct tm_daemon_config *config,
		     struct tm_registry **out)
{
	struct tm_registry *registry = calloc(1, sizeof(*registry));

	if (!registry)
		return -ENOMEM;
	registry->store = store;
	registry->xen = xen;
	registry->config = config;
	tm_lock_init(&registry->lock, TM_RANK_REGISTRY);
	tm_lock_init(&registry->settings_lock, TM_RANK_SET);
	*out = registry;
	return 0;
}

static void end_member(struct tm_member *member)
{
	tmem_xen_domain_end(member->domain);
	tmem_xen_domain_close(member->domain);
	if (member->is_destroyed)
		tmem_client_destroy(member->client);
	else
		tmem_client_detach(member->client);
	free(member);
}

void tm_registry_close(struct tm_registry *registry)
{
	if (!registry)
		return;
	for (size_t i = 0; i < registry->count; i++)
		end_member(registry->members[i]);
	tm_lock_destroy(&registry->settings_lock);
	tm_lock_destroy(&registry->lock);
	free(registry->members);
	free(registry);
}

void tm_registry_set_host(struct tm_registry *registry,
			  const struct tm_registry_host *host)
{
	registry->host = *host;
}

/* The caller keeps this up to its unlocking, which clang cannot follow. */
void tm_registry_lock_settings(struct tm_registry *registry)
	TM_NO_THREAD_SAFETY_ANALYSIS
{
	tm_lock_acquire(&registry->settings_lock);
}

void tm_registry_unlock_settings(struct tm_registry *registry)
	TM_NO_THREAD_SAFETY_ANALYSIS
{
	tm_lock_release(&registry->settings_lock);
}

void tm_registry_settle(struct tm_member *member)
{
	member->keeps_limits = false;
}

void tm_registry_keep_settings(struct tm_registry *registry,
			       struct tm_member *member)
{
	tm_lock_acquire(&registry->lock);
	member->keeps_settings = true;
	tm_lock_release(&registry->lock);
}

/* --- reloading ------------------------------------------------------------ */

static void reload_linger(struct tm_registry *registry,
			  const struct tm_daemon_config *before)
{
	tm_lock_acquire(&registry->lock);
	for (size_t i = 0; i < registry->count; i++) {
		struct tm_member *member = registry->members[i];
		const char *name = member->name;

		if (tm_config_linger_ns(before, name) !=
		    tm_config_linger_ns(registry->config, name))
			set_linger(registry, member);
	}
	tm_lock_release(&registry->lock);
}

static bool keeps_settings(struct tm_registry *registry,
			   const struct tm_member *member)
{
	bool keeps;

	tm_lock_acquire(&registry->lock);
	keeps = member->keeps_settings;
	tm_lock_release(&registry->lock);
	return keeps;
}

static bool is_raised(const struct tm_member *member,
		      const struct tm_config_client *now)
{
	struct tmem_client_info info = { .struct_size = sizeof(info) };

	tmem_client_get_info(member->client, &info);
	return now->reservation_bytes > info.reservation_bytes;
}

static void reload_member(struct tm_registry *registry,
			  struct tm_member *member,
			  const struct tm_config_client *before,
			  const struct tm_config_client *now)
{
	struct tmem_client_config limits;
	int err;

	tm_config_client_limits(now, &limits);
	err = tmem_client_set(member->client, &limits);
	if (err)
		say(registry, TMEM_LOG_ERROR,
		    "client %s: keeps its limits: the new ones do not fit the "
		    "store (%s)",
		    member->name, strerror(-err));
	member->keeps_limits = err;
	withdraw(member->client, before, now);
	/* An operator may have chosen one meanwhile. */
	if (!codec_of(now))
		tmem_client_set_codec(member->client, NULL);
	apply_settings(registry, member, now);
}

/* Those whose reservation rises, or the others. */
static bool reload_members(struct tm_registry *registry,
			   const struct tm_daemon_config *before,
			   const struct tm_daemon_config *now, bool raises)
{
	struct tm_member *member;
	uint32_t number = 0;
	bool are_taken = true;

	while ((member = tm_registry_next(registry, number))) {
		const struct tm_config_client *a =
			tm_config_client(before, member->name);
		const struct tm_config_client *b =
			tm_config_client(now, member->name);

		number = member->number;
		if ((!are_equal(a, b) || member->keeps_limits) &&
		    is_raised(member, b) == raises &&
		    !keeps_settings(registry, member)) {
			reload_member(registry, member, a, b);
			are_taken &= !member->keeps_limits;
		}
		tm_registry_release(registry, member);
	}
	return are_taken;
}

bool tm_registry_reload(struct tm_registry *registry,
			const struct tm_daemon_config *config)
{
	const struct tm_daemon_config *before;
	bool are_taken;

	tm_lock_acquire(&registry->lock);
	before = registry->config;
	registry->config = config;
	tm_lock_release(&registry->lock);
	reload_linger(registry, before);
	/* What one gives up another may be to have. */
	are_taken = reload_members(registry, before, config, false);
	are_taken &= reload_members(registry, before, config, true);
	tell_changed(registry);
	return are_taken;
}

void tm_registry_settings(struct tm_registry *registry, const char *name,
			  struct tm_config_client *settings)
{
	tm_lock_acquire(&registry->lock);
	*settings = *tm_config_client(registry->config, name);
	settings->next = NULL;
	tm_lock_release(&registry->lock);
}

void tm_registry_count(struct tm_registry *registry, size_t *members,
		       size_t *attached)
{
	*attached = 0;
	tm_lock_acquire(&registry->lock);
	*members = registry->count;
	for (size_t i = 0; i < registry->count; i++)
		*attached += registry->members[i]->is_attached;
	tm_lock_release(&registry->lock);
}

/* --- coming and going --------------------------------------------------------- */

static int attach_locked(struct tm_registry *registry, const char *name,
			 struct tm_member **out)
{
	const struct tm_config_client *settings =
		tm_config_client(registry->config, name);
	struct tmem_client_config limits;
	int err;

	*out = find_name(registry, name);
	if (*out)
		return (*out)->is_attached ? -EBUSY : 0;
	tm_config_client_limits(settings, &limits);
	limits.name = name;
	err = add_member(registry, &limits, out);
	if (!err)
		apply_settings(registry, *out, settings);
	return err;
}

int tm_registry_attach(struct tm_registry *registry, const char *name,
		       pid_t pid, uid_t uid, struct tm_member **out)
{
	struct tm_member *member;
	int err;

	if (!tm_config_is_name(name))
		return -EINVAL;
	tm_lock_acquire(&registry->lock);
	err = attach_locked(registry, name, &member);
	if (!err) {
		member->is_attached = true;
		member->peer_pid = pid;
		member->peer_uid = uid;
		member->linger_until_ns = 0;
		member->references++;
	}
	tm_lock_release(&registry->lock);
	if (err)
		return err;
	say(registry, TMEM_LOG_INFO,
	    "client %s: attached (number %" PRIu32 ", pid %ld, uid %ld)", name,
	    member->number, (long)pid, (long)uid);
	tell_changed(registry);
	*out = member;
	return 0;
}

void tm_registry_detach(struct tm_registry *registry, struct tm_member *member)
{
	say(registry, TMEM_LOG_INFO, "client %s: detached", member->name);
	tm_lock_acquire(&registry->lock);
	member->is_attached = false;
	member->peer_pid = 0;
	member->peer_uid = 0;
	member->keeps_settings = false;
	set_linger(registry, member);
	tm_lock_release(&registry->lock);
	tm_registry_release(registry, member);
	tell_changed(registry);
}

/* --- restored clients --------------------------------------------------------- */

int tm_registry_prepare(struct tm_registry *registry, const char *name,
			struct tmem_client *client,
			struct tm_config_client *settings)
{
	if (!tm_config_is_name(name))
		return -EINVAL;
	tm_registry_settings(registry, name, settings);
	apply_to_client(registry, name, client, settings);
	/* Pages are shared as they are put, and afterwards not any more. */
	return set_trust_domain(client, settings->trust_domain);
}

/* As take_up(): the file's limits when it has some for this client. */
int tm_registry_adopt(struct tm_registry *registry, struct tmem_client *client,
		      const struct tm_config_client *prepared)
{
	const struct tm_config_client *settings;
	struct tmem_client_config limits;
	struct tm_member *member;
	int err;

	tm_lock_acquire(&registry->lock);
	err = list_client(registry, client, &member);
	if (!err) {
		settings = tm_config_client(registry->config, member->name);
		tm_config_client_limits(settings, &limits);
		if (*settings->name && tmem_client_set(client, &limits))
			say(registry, TMEM_LOG_ERROR,
			    "client %s: keeps the limits it came with: the "
			    "configuration's do not fit the store",
			    member->name);
		/* A reload does not see who is on the way. */
		if (prepared && !are_equal(prepared, settings)) {
			withdraw(client, prepared, settings);
			apply_settings(registry, member, settings);
			if (set_trust_domain(client, settings->trust_domain))
				say(registry, TMEM_LOG_ERROR,
				    "client %s: keeps the trust domain that "
				    "the configuration had when it came",
				    member->name);
		}
		set_linger(registry, member);
		say(registry, TMEM_LOG_INFO,
		    "client %s: restored (number %" PRIu32 ")", member->name,
		    member->number);
	}
	tm_lock_release(&registry->lock);
	if (!err)
		tell_changed(registry);
	return err;
}

struct tm_member *tm_registry_find(struct tm_registry *registry,
				   const char *number_or_name)
{
	struct tm_member *found;

	tm_lock_acquire(&registry->lock);
	found = find_number(registry, number_or_name);
	if (!found)
		found = find_name(registry, number_or_name);
	if (found)
		found->references++;
	tm_lock_release(&registry->lock);
	return found;
}

struct tm_member *tm_registry_next(struct tm_registry *registry,
				   uint32_t after)
{
	struct tm_member *found = NULL;

	tm_lock_acquire(&registry->lock);
	for (size_t i = 0; i < registry->count && !found; i++)
		if (registry->members[i]->number > after)
			found = registry->members[i];
	if (found)
		found->references++;
	tm_lock_release(&registry->lock);
	return found;
}

void tm_registry_release(struct tm_registry *registry,
			 struct tm_member *member)
{
	bool is_last;

	tm_lock_acquire(&registry->lock);
	is_last = !--member->references;
	tm_lock_release(&registry->lock);
	if (is_last)
		end_member(member);
}

void tm_registry_state(struct tm_registry *registry,
		       const struct tm_member *member,
		       struct tm_member_state *state)
{
	tm_lock_acquire(&registry->lock);
	*state = (struct tm_member_state){
		.is_attached = member->is_attached,
		.is_destroyed = member->is_destroyed,
		.peer_pid = member->peer_pid,
		.peer_uid = member->peer_uid,
	};
	tm_lock_release(&registry->lock);
}

/* From here on nobody finds it; the array's reference goes. (lock held) */
static void disown(struct tm_registry *registry, struct tm_member *member)
{
	take_out(registry, member);
	member->is_destroyed = true;
	member->linger_until_ns = 0;
	member->references--;
}

static void end_client(struct tm_registry *registry, struct tm_member *member)
{
	tmem_client_set_frozen(member->client, true);
	for (int pool = 0; pool < TMEM_POOLS_MAX; pool++)
		tmem_pool_destroy(member->client, pool);
	say(registry, TMEM_LOG_INFO, "client %s: destroyed", member->name);
	if (registry->host.drop)
		registry->host.drop(registry->host.opaque, member);
}

static void set_held(struct tm_registry *registry, bool is_held)
{
	tm_registry_lock_settings(registry);
	registry->is_held = is_held;
	tm_registry_unlock_settings(registry);
}

void tm_registry_hold(struct tm_registry *registry)
{
	set_held(registry, true);
}

void tm_registry_go_on(struct tm_registry *registry)
{
	set_held(registry, false);
}

bool tm_registry_is_held(const struct tm_registry *registry)
{
	return registry->is_held;
}

int tm_registry_destroy(struct tm_registry *registry, struct tm_member *member)
{
	bool is_ours;

	tm_lock_acquire(&registry->lock);
	is_ours = !member->is_destroyed;
	if (is_ours)
		disown(registry, member);
	tm_lock_release(&registry->lock);
	if (is_ours)
		end_client(registry, member);
	tell_changed(registry);
	return 0;
}

/* The next one that is due, disowned and held; else *@next is when the next
 * one will be. */
static struct tm_member *take_due(struct tm_registry *registry,
				  uint64_t now_ns, uint64_t *next)
{
	struct tm_member *due = NULL;

	*next = 0;
	tm_lock_acquire(&registry->lock);
	for (size_t i = 0; i < registry->count && !due; i++) {
		struct tm_member *member = registry->members[i];
		uint64_t until = member->linger_until_ns;

		if (!until)
			continue;
		if (until <= now_ns)
			due = member;
		else if (!*next || until < *next)
			*next = until;
	}
	if (due) {
		due->references++;
		disown(registry, due);
	}
	tm_lock_release(&registry->lock);
	return due;
}

uint64_t tm_registry_expire(struct tm_registry *registry, uint64_t now_ns)
{
	struct tm_member *member;
	uint64_t next;

	while ((member = take_due(registry, now_ns, &next))) {
		say(registry, TMEM_LOG_INFO,
		    "client %s: nobody came back for it", member->name);
		end_client(registry, member);
		tm_registry_release(registry, member);
	}
	return next;
}
