/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The daemon's clients (src/daemon/registry.c), while several change and look
 * at them at once: operators' requests (control_routes.c, without HTTP), a
 * reload, peers that come and go. poll() is ours (the linker's --wrap): who
 * only waits does so in no time, while that is what a test is about.
 */
#include <config.h>

#include "config.h"
#include "control_request.h"
#include "harness.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <tmem/save.h>

#define MIB (UINT64_C(1) << 20)
#define PAGES 20
#define ROUNDS 3000
#define RELOADS 10000
/* A machine that is busy with other things. */
#define LONG_MS 20000

static struct tm_control control;
static struct tm_registry *registry;
static struct tm_daemon_config *configs[8];
static size_t config_count;
static atomic_bool is_ending;
static atomic_uint sets;

static struct tm_daemon_config *config_of(const char *text)
{
	struct tm_daemon_config *config;
	char error[TM_CONFIG_ERROR_SIZE] = "";
	int err = tm_config_parse(text, strlen(text), &config, error,
				  sizeof(error));

	ck_assert_msg(!err, "%s", error);
	configs[config_count++] = config;
	return config;
}

static void setup(void)
{
	struct tmem_store_config config;
	struct tmem_xen_config xen;

	tmem_store_config_init(&config);
	config.memory_bytes = 16 * MIB;
	config.memory_max_bytes = 64 * MIB;
	/* What a reservation costs is for the allocator to say. */
	config.allocator = "zsmalloc";
	config.flags = TMEM_STORE_NO_LOCK | TMEM_STORE_NO_THREADS |
		       TMEM_STORE_DEDUP | TMEM_STORE_DEDUP_PERSISTENT;
	ck_assert_int_eq(tmem_store_open(&config, &control.host.store), 0);
	tmem_xen_config_init(&xen);
	xen.store = control.host.store;
	ck_assert_int_eq(tmem_xen_open(&xen, &control.host.xen), 0);
	tm_lock_init(&control.saves_lock, TM_RANK_SAVES);
}

static void open_registry(const struct tm_daemon_config *config)
{
	ck_assert_int_eq(tm_registry_open(control.host.store, control.host.xen,
					  config, &registry),
			 0);
	control.host.registry = registry;
}

static void teardown(void)
{
	tm_registry_close(registry);
	tmem_xen_close(control.host.xen);
	tmem_store_close(control.host.store);
	while (config_count)
		tm_config_free(configs[--config_count]);
}

static struct tm_member *attach(const char *name)
{
	struct tm_member *member;

	ck_assert_int_eq(tm_registry_attach(registry, name, 1, 1, &member), 0);
	return member;
}

static struct tmem_client_info info_of(const struct tm_member *member)
{
	struct tmem_client_info info = { .struct_size = sizeof(info) };

	ck_assert_int_eq(tmem_client_get_info(member->client, &info), 0);
	return info;
}

static void reload(const struct tm_daemon_config *config)
{
	tm_registry_lock_settings(registry);
	tm_registry_reload(registry, config);
	tm_registry_unlock_settings(registry);
}

static struct tm_request *send_request(const char *method, const char *path,
				       const char *body, size_t size)
{
	struct tm_request *request =
		tm_request_begin(&control, tm_control_routes, method, path);

	ck_assert_ptr_nonnull(request);
	tm_request_data(request, body, size);
	tm_request_end(request);
	return request;
}

/* The answer to a request, which succeeds. */
static json_t *ask_with(const char *method, const char *path, const char *body,
			size_t size)
{
	struct tm_request *request = send_request(method, path, body, size);
	json_t *json;

	ck_assert_msg(request->status == 200, "%s %s: %s", method, path,
		      request->text);
	json = json_loadb(request->text, request->text_size, 0, NULL);
	tm_request_free(request);
	return json;
}

static json_t *ask(const char *method, const char *path, const char *body)
{
	return ask_with(method, path, body, strlen(body));
}

/* One that is not carried out, since a successor takes over. */
static void ask_in_vain(const char *path)
{
	struct tm_request *request = send_request("POST", path, "", 0);

	ck_assert_uint_eq(request->status, 409);
	ck_assert_msg(memmem(request->text, request->text_size, "a successor",
			     strlen("a successor")),
		      "%.*s", (int)request->text_size, request->text);
	tm_request_free(request);
}

/* --- settings ------------------------------------------------------------- */

static void *set_weights(void *opaque)
{
	(void)opaque;
	while (!atomic_load(&is_ending)) {
		json_decref(ask("POST", "/clients/web/set", "{\"weight\": 5}"));
		atomic_fetch_add(&sets, 1);
	}
	return NULL;
}

/* Who is in the middle of one comes to its end. */
static void let_sets_end(void)
{
	unsigned before = atomic_load(&sets);

	while (atomic_load(&sets) - before < 2)
		sched_yield();
}

/* So that reloads fall into each part of a set. */
static void wait_a_little(int loops)
{
	while (loops--)
		atomic_load(&sets);
}

START_TEST(a_set_undoes_nothing_of_a_reload)
{
	static const char *const texts[] = {
		"[client web]\ncap = 1M\n",
		"[client web]\ncap = 2M\n",
	};
	const struct tm_daemon_config *now[] = { config_of(texts[0]),
						 config_of(texts[1]) };
	time_t start = time(NULL);
	const struct tm_member *web;
	pthread_t operator;

	open_registry(now[0]);
	web = attach("web");
	atomic_store(&is_ending, false);
	ck_assert_int_eq(pthread_create(&operator, NULL, set_weights, NULL), 0);
	for (int i = 1; !tm_test_is_enough((uint64_t)i, RELOADS, start); i++) {
		wait_a_little(i * 7 % 9973);
		reload(now[i % 2]);
		let_sets_end();
		ck_assert_uint_eq(info_of(web).cap_bytes,
				  (uint64_t)(i % 2 + 1) * MIB);
	}
	atomic_store(&is_ending, true);
	pthread_join(operator, NULL);
	json_decref(ask("POST", "/clients/web/set", "{\"weight\": 6}"));
	ck_assert_uint_eq(info_of(web).weight, 6);
}
END_TEST

START_TEST(a_reload_moves_a_reservation_from_one_to_another)
{
	const struct tm_daemon_config *before =
		config_of("[client a]\n[client b]\nreservation = 8M\n");
	const struct tm_daemon_config *now =
		config_of("[client a]\nreservation = 8M\n[client b]\n");
	const struct tm_member *a, *b;

	open_registry(before);
	a = attach("a");
	b = attach("b");
	reload(now);
	ck_assert_uint_eq(info_of(a).reservation_bytes, 8 * MIB);
	ck_assert_uint_eq(info_of(b).reservation_bytes, 0);
	reload(before);
	ck_assert_uint_eq(info_of(a).reservation_bytes, 0);
	ck_assert_uint_eq(info_of(b).reservation_bytes, 8 * MIB);
}
END_TEST

/* Somebody from before, whom the store knows by a page. */
static void leave_behind(const char *name, uint64_t reservation_bytes)
{
	static const uint8_t page[TMEM_PAGE_SIZE] = { 1, 2 };
	const struct tmem_oid oid = { { 1 } };
	struct tmem_client_config config;
	struct tmem_client *client;
	int pool;

	tmem_client_config_init(&config);
	config.name = name;
	config.reservation_bytes = reservation_bytes;
	ck_assert_int_eq(tmem_client_attach(control.host.store, &config,
					    &client),
			 0);
	pool = tmem_pool_create(client, TMEM_POOL_PERSISTENT, NULL);
	ck_assert_int_eq(tmem_put(client, pool, &oid, 0, page, 0),
			 TMEM_PUT_STORED);
	tmem_client_detach(client);
}

START_TEST(limits_refused_as_a_store_is_taken_up_are_tried_again)
{
	const struct tm_daemon_config *config =
		config_of("[client web]\nreservation = 8M\n");
	const struct tm_member *web;

	leave_behind("guest", 10 * MIB);
	leave_behind("web", 2 * MIB);
	open_registry(config);
	ck_assert_int_eq(tm_registry_take_up(registry), 0);
	web = attach("web");
	ck_assert_uint_eq(info_of(web).reservation_bytes, 2 * MIB);
	json_decref(ask("POST", "/clients/guest/set", "{\"reservation\": 0}"));
	reload(config);
	ck_assert_uint_eq(info_of(web).reservation_bytes, 8 * MIB);
}
END_TEST

START_TEST(a_reload_leaves_a_disk_what_it_was_described_with)
{
	const struct tm_daemon_config *before =
		config_of("[daemon]\nuser-cap = 1M\n");
	const struct tm_daemon_config *now =
		config_of("[daemon]\nuser-cap = 2M\n");
	struct tm_member *disk, *guest;

	open_registry(before);
	disk = attach("disk");
	guest = attach("guest");
	tm_registry_keep_settings(registry, disk);
	json_decref(ask("POST", "/clients/disk/set", "{\"cap\": 3145728}"));
	reload(now);
	ck_assert_uint_eq(info_of(disk).cap_bytes, 3 * MIB);
	ck_assert_uint_eq(info_of(guest).cap_bytes, 2 * MIB);
}
END_TEST

#define SHARED "abcdef01-2345-6789-1234-567890abcdef"
#define OTHER "abcdef01-2345-6789-1234-567890abcd00"

static bool may_share(struct tmem_client *client, uint64_t low)
{
	const struct tmem_uuid uuid = { { low, 0xabcdef0123456789 } };
	int pool = tmem_pool_create(client, TMEM_POOL_SHARED, &uuid);
	struct tmem_pool_info info = { .struct_size = sizeof(info) };
	bool is_shared = pool >= 0 &&
			 !tmem_pool_get_info(client, pool, &info) &&
			 info.flags & TMEM_POOL_SHARED;

	if (pool >= 0)
		tmem_pool_destroy(client, pool);
	return is_shared;
}

START_TEST(who_is_restored_during_a_reload_has_what_it_says)
{
	const struct tm_daemon_config *before =
		config_of("[client web]\nshared-auth = " OTHER "\n");
	const struct tm_daemon_config *now =
		config_of("[client web]\nshared-auth = " SHARED "\n");
	struct tm_config_client settings;
	struct tmem_client_config config;
	struct tmem_client *client;

	open_registry(before);
	tmem_client_config_init(&config);
	config.name = "web";
	ck_assert_int_ge(
		tmem_client_attach(control.host.store, &config, &client), 0);
	ck_assert_int_eq(
		tm_registry_prepare(registry, "web", client, &settings), 0);
	ck_assert(may_share(client, 0x1234567890abcd00));
	reload(now);
	ck_assert_int_eq(tm_registry_adopt(registry, client, &settings), 0);
	ck_assert(may_share(client, 0x1234567890abcdef));
	ck_assert(!may_share(client, 0x1234567890abcd00));
}
END_TEST

/* No two are alike, nor of one word. */
static void put_pages(struct tmem_client *client, uint32_t count)
{
	int pool = tmem_pool_create(client, TMEM_POOL_PERSISTENT, NULL);
	const struct tmem_oid oid = { { 1, 2, 3 } };
	char page[TMEM_PAGE_SIZE];

	ck_assert_int_ge(pool, 0);
	for (uint32_t i = 0; i < count; i++) {
		memset(page, 'x', sizeof(page));
		memcpy(page, &i, sizeof(i));
		ck_assert_int_eq(tmem_put(client, pool, &oid, i, page, 0),
				 TMEM_PUT_STORED);
	}
}

/* A client that is saved, and goes. */
static size_t make_stream(const char *name, char *stream, size_t room)
{
	struct tmem_client_config config;
	struct tmem_client *client;
	struct tmem_save *save;
	ssize_t more;
	size_t size = 0;

	tmem_client_config_init(&config);
	config.name = name;
	ck_assert_int_eq(
		tmem_client_attach(control.host.store, &config, &client), 0);
	put_pages(client, PAGES);
	ck_assert_int_eq(tmem_save_open(client, 0, &save), 0);
	while ((more = tmem_save_read(save, stream + size, room - size)) > 0)
		size += (size_t)more;
	ck_assert_int_eq(more, 0);
	ck_assert_uint_lt(size, room);
	tmem_save_close(save);
	ck_assert_int_eq(tmem_client_destroy(client), 0);
	return size;
}

static void restore(const char *path, const char *stream, size_t size)
{
	json_decref(ask_with("POST", path, stream, size));
}

static uint64_t copies_saved(void)
{
	struct tmem_store_stats stats = { .struct_size = sizeof(stats) };

	stats.counts.struct_size = sizeof(stats.counts);
	ck_assert_int_eq(tmem_store_get_stats(control.host.store, &stats), 0);
	return stats.counts.shared_copies;
}

static uint32_t domain_of(const char *name)
{
	struct tm_member *member = tm_registry_find(registry, name);
	uint32_t domain;

	ck_assert_ptr_nonnull(member);
	domain = info_of(member).trust_domain;
	tm_registry_release(registry, member);
	return domain;
}

START_TEST(who_is_restored_shares_with_its_domain)
{
	static char stream[2 * PAGES * TMEM_PAGE_SIZE];
	size_t size;

	open_registry(config_of("[client web]\ntrust-domain = 7\n"
				"[client db]\ntrust-domain = 7\n"
				"[client mail]\ntrust-domain = 8\n"));
	size = make_stream("other", stream, sizeof(stream));
	restore("/clients/web/restore", stream, size);
	ck_assert_uint_eq(copies_saved(), 0);
	restore("/clients/db/restore", stream, size);
	ck_assert_uint_eq(copies_saved(), PAGES);
	ck_assert_uint_eq(domain_of("db"), 7);
	restore("/clients/mail/restore", stream, size);
	restore("/clients/nobody/restore", stream, size);
	ck_assert_uint_eq(copies_saved(), PAGES);
	ck_assert_uint_eq(domain_of("nobody"), 0);
}
END_TEST

/* Whom it trusts is not in the stream: it is what the file says in the end. */
START_TEST(who_is_restored_during_a_reload_trusts_whom_it_says)
{
	const struct tm_daemon_config *before =
		config_of("[client web]\ntrust-domain = 7\nweight = 3\n");
	const struct tm_daemon_config *now = config_of("[daemon]\n");
	struct tm_config_client settings;
	struct tmem_client_config config;
	struct tmem_client *client;
	struct tm_member *member;

	open_registry(before);
	tmem_client_config_init(&config);
	config.name = "web";
	config.weight = 5;
	config.reservation_bytes = MIB;
	config.cap_bytes = 2 * MIB;
	ck_assert_int_eq(
		tmem_client_attach(control.host.store, &config, &client), 0);
	ck_assert_int_eq(
		tm_registry_prepare(registry, "web", client, &settings), 0);
	reload(now);
	ck_assert_int_eq(tm_registry_adopt(registry, client, &settings), 0);
	ck_assert_uint_eq(domain_of("web"), 0);
	/* The rest is what it came with. */
	member = tm_registry_find(registry, "web");
	ck_assert_uint_eq(info_of(member).weight, 5);
	ck_assert_uint_eq(info_of(member).reservation_bytes, MIB);
	ck_assert_uint_eq(info_of(member).cap_bytes, 2 * MIB);
	tm_registry_release(registry, member);
}
END_TEST

/* --- peers ---------------------------------------------------------------- */

static _Atomic unsigned attachments;

static void *come_and_go(void *opaque)
{
	struct tm_member *member;

	(void)opaque;
	for (int i = 1; !atomic_load(&is_ending); i = i % 100000 + 1) {
		if (tm_registry_attach(registry, "web", i, (uid_t)i, &member))
			abort();
		atomic_fetch_add(&attachments, 1);
		tm_registry_detach(registry, member);
	}
	return NULL;
}

static long number_in(json_t *object, const char *key)
{
	return (long)json_integer_value(json_object_get(object, key));
}

/* More often than anybody can ask. */
static void look_closely(void)
{
	struct tm_member *member = tm_registry_find(registry, "web");
	struct tm_member_state state;
	unsigned begin = atomic_load(&attachments);
	time_t start = time(NULL);

	ck_assert_ptr_nonnull(member);
	while (!tm_test_is_enough(atomic_load(&attachments) - begin,
				  10 * ROUNDS, start)) {
		tm_registry_state(registry, member, &state);
		if (state.is_attached != (state.peer_pid > 0) ||
		    (uid_t)state.peer_pid != state.peer_uid)
			ck_abort_msg("attached %d, process %d, user %u",
				     state.is_attached, (int)state.peer_pid,
				     (unsigned)state.peer_uid);
	}
	tm_registry_release(registry, member);
}

START_TEST(a_peer_is_shown_whole_or_not_at_all)
{
	pthread_t peer;

	open_registry(config_of("[client web]\n"));
	tm_registry_detach(registry, attach("web"));
	atomic_store(&is_ending, false);
	ck_assert_int_eq(pthread_create(&peer, NULL, come_and_go, NULL), 0);
	for (int i = 0; i < ROUNDS; i++) {
		json_t *web = ask("GET", "/clients/web", "");
		json_t *who = json_object_get(web, "peer");

		if (json_is_true(json_object_get(web, "attached")))
			ck_assert_int_gt(number_in(who, "pid"), 0);
		else
			ck_assert(json_is_null(who));
		ck_assert_int_eq(number_in(who, "pid"), number_in(who, "uid"));
		json_decref(web);
	}
	look_closely();
	atomic_store(&is_ending, true);
	pthread_join(peer, NULL);
}
END_TEST

/* --- streams -------------------------------------------------------------- */

/* All of it, by the thread of its connection, which has not ended then. */
static struct tm_request *read_all(const char *path)
{
	struct tm_request *request = send_request("GET", path, "", 0);
	char buffer[4096];
	ssize_t got;

	ck_assert_uint_eq(request->status, 200);
	do {
		got = tm_request_read(request, buffer, sizeof(buffer));
	} while (got > 0);
	ck_assert_int_eq(got, 0);
	return request;
}

START_TEST(who_has_all_of_a_save_can_save_again)
{
	struct tm_request *first, *second;
	struct tm_member *web;
	json_t *json;

	open_registry(config_of("[daemon]\n"));
	web = attach("web");
	put_pages(web->client, PAGES);
	first = read_all("/clients/web/save");
	json = ask("GET", "/clients/web", "");
	ck_assert(json_is_false(json_object_get(json, "frozen")));
	ck_assert(json_is_false(json_object_get(json, "migrating")));
	json_decref(json);
	second = read_all("/clients/web/save");
	tm_request_free(first);
	tm_request_free(second);
	tm_registry_detach(registry, web);
}
END_TEST

/* In its midst, since it is damaged, or at its end, since that is missing. */
START_TEST(who_is_refused_a_restore_can_restore_at_once)
{
	static char stream[2 * PAGES * TMEM_PAGE_SIZE];
	struct tm_request *refused;
	size_t size;

	open_registry(config_of("[daemon]\n"));
	size = make_stream("other", stream, sizeof(stream));
	stream[size / 2] ^= 1;
	refused = tm_request_begin(&control, tm_control_routes, "POST",
				   "/clients/web/restore");
	tm_request_data(refused, stream, size);
	ck_assert_uint_eq(refused->status, 400);
	stream[size / 2] ^= 1;
	restore("/clients/web/restore", stream, size);
	tm_request_free(refused);

	refused = send_request("POST", "/clients/db/restore", stream, size - 1);
	ck_assert_uint_eq(refused->status, 400);
	restore("/clients/db/restore", stream, size);
	tm_request_free(refused);
}
END_TEST

/* --- ends ----------------------------------------------------------------- */

START_TEST(while_a_successor_takes_over_no_operator_ends_a_client)
{
	struct tm_member *web;

	open_registry(config_of("[daemon]\n"));
	web = attach("web");
	attach("disk");
	tm_registry_hold(registry);
	ask_in_vain("/clients/web/destroy");
	ask_in_vain("/clients/all/destroy");
	json_decref(ask("GET", "/clients/web", ""));
	tm_registry_go_on(registry);
	json_decref(ask("POST", "/clients/web/destroy", ""));
	tm_registry_detach(registry, web);
}
END_TEST

/* A migration's stream, which its thread reads up to the hand-over. */
static struct stream {
	struct tm_request *request;
	pthread_t reader;
	int ends[2];
	ssize_t last;
	/* The reader stands still at the end, until others have waited for so
	 * long: that takes no time. */
	_Atomic int waits_left;
	sem_t go_on;
} stream;

int __real_poll(struct pollfd *fds, nfds_t count, int timeout_ms);
int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout_ms);

int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout_ms)
{
	if (fds || !atomic_load(&stream.waits_left))
		return __real_poll(fds, count, timeout_ms);
	if (atomic_fetch_sub(&stream.waits_left, timeout_ms) == timeout_ms)
		sem_post(&stream.go_on);
	return 0;
}

static bool has_ended(void)
{
	json_t *json = ask("GET", "/clients/web/migration", "");
	bool has_ended = json_is_true(json_object_get(json, "ended"));

	json_decref(json);
	return has_ended;
}

static void *read_stream(void *opaque)
{
	struct tm_request *request = stream.request;
	char buffer[4096];

	(void)opaque;
	do {
		stream.last = request->stream->read(request->stream_opaque,
						    buffer, sizeof(buffer));
		if (atomic_load(&stream.waits_left) && has_ended())
			sem_wait(&stream.go_on);
	} while (stream.last > 0);
	return NULL;
}

/* Its reader has all of it, or will have. */
static void open_stream(int waits)
{
	atomic_store(&stream.waits_left, waits);
	sem_init(&stream.go_on, 0, 0);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, stream.ends), 0);
	stream.request = tm_request_begin(&control, tm_control_routes, "GET",
					  "/clients/web/save?live=1");
	stream.request->peer_fd = stream.ends[0];
	tm_request_end(stream.request);
	ck_assert_ptr_nonnull(stream.request->stream);
	ck_assert_int_eq(
		pthread_create(&stream.reader, NULL, read_stream, NULL), 0);
	json_decref(ask("POST", "/clients/web/migration/finish", ""));
	while (!has_ended())
		usleep(1000);
}

static void close_stream(void)
{
	pthread_join(stream.reader, NULL);
	ck_assert_int_eq(stream.last, 0);
	tm_request_free(stream.request);
	close(stream.ends[0]);
	close(stream.ends[1]);
}

START_TEST(a_hand_over_waits_for_the_streams_thread)
{
	struct tm_member *web;

	open_registry(config_of("[daemon]\n"));
	web = attach("web");
	open_stream(LONG_MS);
	json_decref(ask("POST", "/clients/web/migration/hand-over", ""));
	close_stream();
	tm_registry_detach(registry, web);
}
END_TEST

START_TEST(while_a_successor_takes_over_no_client_is_handed_over)
{
	struct tm_member *web;
	json_t *json;

	open_registry(config_of("[daemon]\n"));
	web = attach("web");
	open_stream(0);
	tm_registry_hold(registry);
	ask_in_vain("/clients/web/migration/hand-over");
	json = ask("GET", "/clients/web", "");
	ck_assert(json_is_true(json_object_get(json, "migrating")));
	json_decref(json);
	tm_registry_go_on(registry);
	json_decref(ask("POST", "/clients/web/migration/hand-over", ""));
	close_stream();
	tm_registry_detach(registry, web);
}
END_TEST

START_TEST(the_name_of_who_was_handed_over_is_free)
{
	static char saved[2 * PAGES * TMEM_PAGE_SIZE];

	open_registry(config_of("[daemon]\n"));
	restore("/clients/web/restore", saved,
		make_stream("other", saved, sizeof(saved)));
	open_stream(0);
	json_decref(ask("POST", "/clients/web/migration/hand-over", ""));
	tm_registry_detach(registry, attach("web"));
	close_stream();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("registry");
	TCase *tc = tcase_create("registry");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, a_set_undoes_nothing_of_a_reload);
	tcase_add_test(tc, a_reload_moves_a_reservation_from_one_to_another);
	tcase_add_test(tc,
		       limits_refused_as_a_store_is_taken_up_are_tried_again);
	tcase_add_test(tc, a_reload_leaves_a_disk_what_it_was_described_with);
	tcase_add_test(tc, who_is_restored_during_a_reload_has_what_it_says);
	tcase_add_test(tc, who_is_restored_shares_with_its_domain);
	tcase_add_test(tc, who_is_restored_during_a_reload_trusts_whom_it_says);
	tcase_add_test(tc, a_peer_is_shown_whole_or_not_at_all);
	tcase_add_test(tc, who_has_all_of_a_save_can_save_again);
	tcase_add_test(tc, who_is_refused_a_restore_can_restore_at_once);
	tcase_add_test(tc,
		       while_a_successor_takes_over_no_operator_ends_a_client);
	tcase_add_test(tc, a_hand_over_waits_for_the_streams_thread);
	tcase_add_test(tc,
		       while_a_successor_takes_over_no_client_is_handed_over);
	tcase_add_test(tc, the_name_of_who_was_handed_over_is_free);
	suite_add_tcase(suite, tc);
	return tm_test_run(suite);
}
