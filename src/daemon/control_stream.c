/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Clients in and out of the store, over the control socket.
 *
 * A save is the body of an answer, a restore the body of a request: the daemon
 * opens no path and connects to nobody. A migration is the two of them, with
 * somebody (`tmem migrate`) in between who tells the source what happens at the
 * target:
 *
 *	GET save?live=1		frozen from here on, and copied
 *	POST migration/finish	the guest has stopped: send what went, and the end
 *	POST migration/hand-over	the target has it: the client ends here
 *
 * The connection that carries the stream is the migration: it stays open until
 * the hand-over, and when it breaks, for whatever reason, the client goes on
 * here as it was before. So nobody can leave a client frozen by dying.
 *
 * While there is nothing to send the thread of the connection looks for news
 * every POLL_MS, and sends some bytes without meaning every IDLE_MS; no other
 * request waits for that.
 *
 * Locks: control.saves_lock guards the list of live saves and their states; a
 * hand-over, which ends the client, locks the registry's settings before it. The
 * save itself belongs to the connection's thread until is_waiting says that it
 * has come to its end; then to whoever takes it off the list, since the
 * client's name is free when a hand-over is answered, however late that thread
 * is.
 */
#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include <tmem/save.h>

#include "clock.h"
#include "config.h"
#include "control_request.h"

#define POLL_MS 10
#define IDLE_MS 1000
/* How long a hand-over waits for the stream's thread to see its own end: the
 * last bytes may have reached the target before. It comes back as soon as those
 * are sent or the connection breaks, on a busy machine too. */
#define END_MS 30000

struct tm_live_save {
	struct tm_control *control;
	struct tm_member *member;	/* held, while it is listed */
	struct tmem_save *save;		/* open, while it is listed */
	bool is_live;
	int peer_fd;
	/* of the connection's thread */
	uint64_t idle_at_ms;	/* 0: at once, to say that all is copied */
	/* live ones: guarded by control.saves_lock */
	struct tm_live_save *next;
	bool is_waiting;	/* for the target's word */
	bool is_over;		/* handed over */
	bool is_cancelled;
};

/* --- a client going out -------------------------------------------------------- */

/* Then it has no pools, and a stream that says so would be believed. */
static bool is_destroyed(const struct tm_live_save *live)
{
	struct tm_member_state state;

	tm_registry_state(live->control->host.registry, live->member, &state);
	return state.is_destroyed;
}

/* Nothing to do for a while. False: the peer has gone. */
static bool wait_a_while(const struct tm_live_save *live)
{
	struct pollfd peer = { .fd = live->peer_fd, .events = POLLRDHUP };

	return poll(&peer, 1, POLL_MS) <= 0;
}

static uint64_t now_ms(void)
{
	return tm_clock_now_ns(tm_clock_system()) / 1000000;
}

static void look(struct tm_live_save *live, bool *is_over, bool *is_cancelled)
{
	tm_lock_acquire(&live->control->saves_lock);
	*is_over = live->is_over;
	*is_cancelled = live->is_cancelled;
	tm_lock_release(&live->control->saves_lock);
}

/* The stream has been sent. 0: and the client is handed over. */
static ssize_t wait_for_hand_over(struct tm_live_save *live)
{
	bool is_over, is_cancelled;

	tm_lock_acquire(&live->control->saves_lock);
	live->is_waiting = true;
	tm_lock_release(&live->control->saves_lock);
	for (;;) {
		look(live, &is_over, &is_cancelled);
		if (is_over)
			return 0;
		if (is_cancelled || !wait_a_while(live))
			return -ECANCELED;
	}
}

static ssize_t read_save(void *opaque, void *buffer, size_t size)
{
	struct tm_live_save *live = opaque;
	bool is_over, is_cancelled;
	ssize_t result;

	for (;;) {
		result = tmem_save_read(live->save, buffer, size);
		if (is_destroyed(live))
			return -ECANCELED;
		if (!result && live->is_live)
			return wait_for_hand_over(live);
		if (result != -EAGAIN)
			return result;
		if (now_ms() >= live->idle_at_ms) {
			live->idle_at_ms = now_ms() + IDLE_MS;
			tmem_save_idle(live->save);
			continue;
		}
		look(live, &is_over, &is_cancelled);
		if (is_cancelled || !wait_a_while(live))
			return -ECANCELED;
	}
}

static void list_save(struct tm_live_save *live)
{
	tm_lock_acquire(&live->control->saves_lock);
	live->next = live->control->saves;
	live->control->saves = live;
	tm_lock_release(&live->control->saves_lock);
}

/* False: it is not there any more. */
static bool unlist_save_locked(struct tm_live_save *live)
{
	struct tm_live_save **at = &live->control->saves;

	while (*at && *at != live)
		at = &(*at)->next;
	if (!*at)
		return false;
	*at = live->next;
	return true;
}

static void close_save(void *opaque, bool is_complete)
{
	struct tm_live_save *live = opaque;
	bool is_ours;

	(void)is_complete;
	tm_lock_acquire(&live->control->saves_lock);
	is_ours = unlist_save_locked(live);
	tm_lock_release(&live->control->saves_lock);
	if (is_ours) {
		tmem_save_close(live->save);
		tm_registry_release(live->control->host.registry, live->member);
	}
	free(live);
}

static const struct tm_stream_ops save_ops = {
	.read = read_save,
	.close = close_save,
};

/* Takes over @member. */
static struct tm_live_save *open_save(struct tm_request *request,
				      struct tm_member *member)
{
	struct tm_live_save *live = calloc(1, sizeof(*live));
	bool is_live = tm_request_flag(request, "live");
	int err = -ENOMEM;

	if (live)
		err = tmem_save_open(member->client,
				     is_live ? TMEM_SAVE_LIVE : 0, &live->save);
	if (err == -EBUSY)
		tm_answer_error(request, 409,
				"client \"%s\" is being saved or migrated "
				"already",
				member->name);
	else if (err)
		tm_answer_error(request, 503, "client \"%s\": %s", member->name,
				strerror(-err));
	if (err) {
		free(live);
		tm_registry_release(request->control->host.registry, member);
		return NULL;
	}
	live->control = request->control;
	live->member = member;
	live->is_live = is_live;
	live->peer_fd = request->peer_fd;
	return live;
}

void tm_stream_save(struct tm_request *request)
{
	struct tm_member *member = tm_request_member(request);
	struct tm_live_save *live;

	if (!member)
		return;
	live = open_save(request, member);
	if (!live)
		return;
	list_save(live);
	tm_answer_stream(request, &save_ops, live);
}

/* --- its migration ------------------------------------------------------------- */

static struct tm_live_save *live_save_of(const struct tm_control *control,
					 const struct tm_member *member)
{
	struct tm_live_save *live;

	for (live = control->saves; live; live = live->next)
		if (live->is_live && live->member == member)
			break;
	return live;
}

/* All of the stream has been made, and its thread has not come to know. */
static bool is_ending(struct tm_request *request)
{
	struct tm_registry *registry = request->control->host.registry;
	struct tmem_save_progress p = { .struct_size = sizeof(p) };
	struct tm_member *member =
		tm_registry_find(registry, request->argument);
	const struct tm_live_save *live;
	bool answer = false;

	if (!member)
		return false;
	tm_lock_acquire(&request->control->saves_lock);
	live = live_save_of(request->control, member);
	if (live && !live->is_waiting && !live->is_cancelled) {
		tmem_save_get_progress(live->save, &p);
		answer = p.is_ended;
	}
	tm_lock_release(&request->control->saves_lock);
	tm_registry_release(registry, member);
	return answer;
}

/* The live save of the client that is named, or NULL after an answer. */
static struct tm_live_save *find_save(struct tm_request *request)
{
	struct tm_control *control = request->control;
	struct tm_member *member = tm_request_member(request);
	struct tm_live_save *live;

	if (!member)
		return NULL;
	live = live_save_of(control, member);
	if (!live)
		tm_answer_error(request, 409, "client \"%s\" does not migrate",
				member->name);
	tm_registry_release(control->host.registry, member);
	return live;
}

static void answer_one(struct tm_request *request)
{
	tm_answer_json(request, json_pack("{s:i}", "clients", 1));
}

void tm_stream_migration(struct tm_request *request)
{
	struct tmem_save_progress p = { .struct_size = sizeof(p) };
	struct tm_live_save *live;

	tm_lock_acquire(&request->control->saves_lock);
	live = find_save(request);
	if (live) {
		tmem_save_get_progress(live->save, &p);
		tm_answer_json(
			request,
			json_pack("{s:I, s:I, s:I, s:I, s:I, s:b, s:b}",
				  "pages", (json_int_t)p.pages,
				  "pages_expected",
				  (json_int_t)p.pages_expected, "gone",
				  (json_int_t)p.gone, "lost",
				  (json_int_t)p.lost, "bytes",
				  (json_int_t)p.bytes, "copied", p.is_copied,
				  "ended", p.is_ended));
	}
	tm_lock_release(&request->control->saves_lock);
}

void tm_stream_finish(struct tm_request *request)
{
	struct tm_live_save *live;

	if (tm_body_check(request, NULL, 0))
		return;
	tm_lock_acquire(&request->control->saves_lock);
	live = find_save(request);
	if (live) {
		tmem_save_finish(live->save);
		answer_one(request);
	}
	tm_lock_release(&request->control->saves_lock);
}

/* Takes it from its thread, and answers with the member to be destroyed, held;
 * or NULL. */
static struct tm_member *hand_over_locked(struct tm_request *request,
					  struct tmem_save **save)
{
	struct tm_registry *registry = request->control->host.registry;
	struct tm_live_save *live = find_save(request);
	int err = -EINVAL;

	if (!live)
		return NULL;
	if (tm_registry_is_held(registry)) {
		tm_answer_error(request, 409, "client \"%s\": %s",
				live->member->name, TM_REGISTRY_HELD);
		return NULL;
	}
	if (live->is_waiting && !live->is_cancelled)
		err = tmem_save_hand_over(live->save);
	if (!err) {
		live->is_over = unlist_save_locked(live);
		*save = live->save;
		return live->member;
	}
	if (err == -EBUSY)
		tm_answer_error(request, 409,
				"client \"%s\" has lost pages since the end of "
				"its stream, so its guest was not stopped: what "
				"the target has is out of date",
				live->member->name);
	else
		tm_answer_error(request, 409,
				"the stream of client \"%s\" has not come to "
				"its end",
				live->member->name);
	return NULL;
}

void tm_stream_hand_over(struct tm_request *request)
{
	struct tm_registry *registry = request->control->host.registry;
	struct tm_member *member;
	struct tmem_save *save = NULL;

	if (tm_body_check(request, NULL, 0))
		return;
	for (int i = 0; i < END_MS && is_ending(request); i++)
		poll(NULL, 0, 1);
	tm_registry_lock_settings(registry);
	tm_lock_acquire(&request->control->saves_lock);
	member = hand_over_locked(request, &save);
	tm_lock_release(&request->control->saves_lock);
	if (member)
		tm_registry_destroy(registry, member);
	tm_registry_unlock_settings(registry);
	if (!member)
		return;
	tmem_save_close(save);
	tm_registry_release(registry, member);
	answer_one(request);
}

void tm_stream_cancel(struct tm_request *request)
{
	struct tm_live_save *live;

	if (tm_body_check(request, NULL, 0))
		return;
	tm_lock_acquire(&request->control->saves_lock);
	live = find_save(request);
	if (live) {
		live->is_cancelled = true;
		answer_one(request);
	}
	tm_lock_release(&request->control->saves_lock);
}

/* --- a client coming in -------------------------------------------------------- */

struct arrival {
	struct tm_control *control;
	struct tmem_restore *restore;
	/* What the configuration said when it began. */
	struct tm_config_client settings;
};

static unsigned status_of(int err)
{
	switch (-err) {
	case EINVAL:
	case EBADMSG:
	case EPROTONOSUPPORT:
		return 400;
	case EEXIST:
	case EBUSY:
	case ENOSPC:
	case EUSERS:
	case ENODEV:
		return 409;
	case ENOMEM:
		return 503;
	default:
		return 500;
	}
}

static int write_restore(void *opaque, struct tm_request *request,
			 const void *data, size_t size)
{
	struct arrival *arrival = opaque;
	int err = tmem_restore_write(arrival->restore, data, size);

	if (err)
		tm_answer_error(request, status_of(err), "%s",
				tmem_restore_error(arrival->restore));
	return err;
}

static void answer_restored(struct tm_request *request,
			    const struct arrival *arrival,
			    struct tmem_client *client)
{
	struct tmem_restore_progress p = { .struct_size = sizeof(p) };
	struct tmem_client_info info = { .struct_size = sizeof(info) };

	tmem_restore_get_progress(arrival->restore, &p);
	tmem_client_get_info(client, &info);
	tm_answer_json(request,
		       json_pack("{s:I, s:o, s:I, s:I, s:I, s:b}", "number",
				 (json_int_t)info.number, "name",
				 tm_json_text(info.name), "pages",
				 (json_int_t)p.pages, "gone",
				 (json_int_t)p.gone, "lost",
				 (json_int_t)p.lost, "frozen", info.frozen));
}

static void finish_restore(void *opaque, struct tm_request *request)
{
	struct arrival *arrival = opaque;
	struct tmem_client *client;
	int err = tmem_restore_commit(arrival->restore, &client);

	if (err) {
		tm_answer_error(request, status_of(err), "%s",
				tmem_restore_error(arrival->restore));
		return;
	}
	/* Afterwards it may be destroyed at any time. */
	answer_restored(request, arrival, client);
	err = tm_registry_adopt(arrival->control->host.registry, client,
				&arrival->settings);
	if (err) {
		tmem_client_destroy(client);
		tm_answer_error(request, status_of(err),
				"the client cannot be taken over: %s",
				strerror(-err));
	}
}

static void close_restore(void *opaque, bool is_complete)
{
	struct arrival *arrival = opaque;

	(void)is_complete;
	tmem_restore_close(arrival->restore);
	free(arrival);
}

static const struct tm_stream_ops restore_ops = {
	.write = write_restore,
	.finish = finish_restore,
	.close = close_restore,
};

static int prepare(void *opaque, struct tmem_client *client)
{
	struct tmem_client_info info = { .struct_size = sizeof(info) };
	struct arrival *arrival = opaque;
	int err = tmem_client_get_info(client, &info);

	if (err)
		return err;
	return tm_registry_prepare(arrival->control->host.registry, info.name,
				   client, &arrival->settings);
}

void tm_stream_restore(struct tm_request *request)
{
	struct arrival *arrival = calloc(1, sizeof(*arrival));
	struct tmem_restore_config config;
	int err = -ENOMEM;

	tmem_restore_config_init(&config);
	config.store = request->control->host.store;
	config.name = request->argument;
	config.prepare = prepare;
	config.opaque = arrival;
	if (arrival)
		err = tmem_restore_open(&config, &arrival->restore);
	if (err) {
		free(arrival);
		tm_answer_error(request, status_of(err),
				"no client can be called \"%.80s\": %s",
				request->argument, strerror(-err));
		return;
	}
	arrival->control = request->control;
	tm_request_take(request, &restore_ops, arrival);
}
