/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A disk over a client of a daemon: the same disk, with a channel between.
 *
 * There a refused put does not say why, so the disk must find out what is
 * memory and what is a frozen client; shared pools may not be allowed; and the
 * daemon can die.
 */
#include <config.h>

#include <pthread.h>

#include "disk_rig.h"
#include "ring_host.h"

#define BLOCKS 1024
#define SMALL (UINT64_C(1) << 20)
#define ROOMY (16 * TM_MIB)

/* The daemon that dies at that batch from now on: before it is sent, or when it
 * was carried out and is not answered. The linker's --wrap. */
static struct {
	pid_t daemon_pid;
	unsigned batch;
	bool is_done;
} death;

int __real_tmem_batch(struct tmem_client *client, struct tmem_request *requests,
		      uint32_t count);
int __wrap_tmem_batch(struct tmem_client *client, struct tmem_request *requests,
		      uint32_t count);

int __wrap_tmem_batch(struct tmem_client *client, struct tmem_request *requests,
		      uint32_t count)
{
	if (death.batch && !--death.batch) {
		if (death.is_done)
			__real_tmem_batch(client, requests, count);
		ring_host_kill(death.daemon_pid);
	}
	return __real_tmem_batch(client, requests, count);
}

static void connect_for(struct disk_rig *rig, struct ring_host *host,
			uint64_t blocks, uint32_t timeout_ms)
{
	struct tmem_connect_config config;
	int err;

	memset(rig, 0, sizeof(*rig));
	tmem_connect_config_init(&config);
	config.socket = host->socket;
	config.name = "vm";
	config.rings = 2;
	config.timeout_ms = timeout_ms;
	do
		err = tmem_connect(&config, &rig->t.client);
	while (err == -ETIMEDOUT);
	ck_assert_msg(!err, "connect: %d", err);
	rig->config.kind = TM_DISK_SWAP;
	rig->config.size_bytes = blocks * TM_BLOCK_SIZE;
	rig->config.log = rig_log;
	rig->config.log_opaque = rig;
}

static void connect_to(struct disk_rig *rig, struct ring_host *host,
		       uint64_t blocks)
{
	connect_for(rig, host, blocks, 0);
}

static void begin(struct ring_host *host, struct disk_rig *rig,
		  uint64_t memory_bytes)
{
	ring_host_init(host, memory_bytes);
	host->config.codec = TM_TEST_SMALL_CODEC;
	ring_host_open(host);
	connect_to(rig, host, BLOCKS);
}

static void end(struct ring_host *host, struct disk_rig *rig)
{
	tm_disk_close(rig->disk);
	tmem_client_detach(rig->t.client);
	while (atomic_load(&host->attached))
		usleep(1000);
	ring_host_close(host);
}

static struct tmem_client *client_in(struct ring_host *host)
{
	return ring_host_find(host, "vm")->client;
}

START_TEST(blocks_come_back_over_the_channel)
{
	struct ring_host host;
	struct disk_rig rig;

	begin(&host, &rig, ROOMY);
	rig_must_open(&rig);
	for (uint32_t g = 1; g < 3; g++)
		for (uint64_t b = 0; b < 300; b++)
			ck_assert_int_eq(rig_write(&rig, b, g), 0);
	rig_reopen(&rig);
	for (uint64_t b = 0; b < 300; b++)
		ck_assert_int_eq(rig_read(&rig, b, 2), 0);
	ck_assert_uint_eq(rig_info(&rig).blocks_in_tmem, 300);
	ck_assert_int_eq(tm_disk_discard(rig.disk, 0, 299 * 4096), 0);
	ck_assert_int_eq(rig_read(&rig, 0, 0), 0);
	ck_assert_int_eq(rig_read(&rig, 299, 2), 0);
	ck_assert_uint_eq(rig_info(&rig).blocks_in_tmem, 1);
	end(&host, &rig);
}
END_TEST

START_TEST(refused_over_the_channel_goes_to_the_file)
{
	char path[RIG_PATH];
	struct ring_host host;
	struct disk_rig rig;

	begin(&host, &rig, SMALL);
	rig_path(path, "connected");
	rig.config.backing = path;
	rig_must_open(&rig);
	for (uint32_t g = 1; g < 3; g++)
		for (uint64_t b = 0; b < BLOCKS; b++)
			ck_assert_int_eq(rig_write(&rig, b, g), 0);
	ck_assert_uint_gt(rig_info(&rig).blocks_refused, 0);
	for (uint64_t b = 0; b < BLOCKS; b++)
		ck_assert_int_eq(rig_read(&rig, b, 2), 0);
	ck_assert_int_gt(tm_disk_demote(rig.disk, 40960), 0);
	for (uint64_t b = 0; b < BLOCKS; b++)
		ck_assert_int_eq(rig_read(&rig, b, 2), 0);
	end(&host, &rig);
	unlink(path);
}
END_TEST

struct slow_write {
	struct disk_rig *rig;
	int result;
	_Atomic bool is_done;
};

static void *write_slowly(void *opaque)
{
	struct slow_write *w = opaque;

	w->result = rig_write(w->rig, 3, 3);
	atomic_store(&w->is_done, true);
	return NULL;
}

START_TEST(a_frozen_client_is_not_a_full_one)
{
	struct slow_write w = { 0 };
	struct ring_host host;
	struct disk_rig rig;
	pthread_t thread;

	begin(&host, &rig, ROOMY);
	rig.config.pause_ms = 30;
	rig_must_open(&rig);
	ck_assert_int_eq(rig_write(&rig, 3, 1), 0);
	ck_assert_int_eq(tmem_client_set_frozen(client_in(&host), true), 0);
	ck_assert_int_eq(rig_write(&rig, 3, 2), -ETIMEDOUT);
	ck_assert_int_eq(rig_write(&rig, 4, 2), -ETIMEDOUT);
	ck_assert_int_eq(rig_read(&rig, 3, 1), 0);
	ck_assert_int_eq(rig_read(&rig, 4, 0), 0);
	tm_disk_close(rig.disk);
	rig.config.pause_ms = 60000;
	/* Opening needs no put. */
	rig_must_open(&rig);
	w.rig = &rig;
	ck_assert_int_eq(pthread_create(&thread, NULL, write_slowly, &w), 0);
	usleep(20000);
	ck_assert(!atomic_load(&w.is_done));
	ck_assert_int_eq(tmem_client_set_frozen(client_in(&host), false), 0);
	pthread_join(thread, NULL);
	ck_assert_int_eq(w.result, 0);
	ck_assert_int_eq(rig_read(&rig, 3, 3), 0);
	ck_assert_uint_eq(rig_info(&rig).blocks_refused, 0);
	end(&host, &rig);
}
END_TEST

/* As many as go in one batch. */
#define MANY 32

static int write_many(struct disk_rig *rig, uint32_t generation)
{
	static uint8_t pages[MANY][TM_BLOCK_SIZE];

	for (uint64_t b = 0; b < MANY; b++)
		rig_page(pages[b], b, generation);
	return tm_disk_write(rig->disk, pages, 0, sizeof(pages));
}

static void read_many(struct disk_rig *rig, uint32_t generation)
{
	for (uint64_t b = 0; b < MANY; b++)
		ck_assert_int_eq(rig_read(rig, b, generation), 0);
	ck_assert_uint_eq(rig_info(rig).blocks_refused, 0);
}

static void *write_many_slowly(void *opaque)
{
	struct slow_write *w = opaque;

	w->result = write_many(w->rig, 3);
	return NULL;
}

static uint64_t count_frozen(struct ring_host *host)
{
	struct tmem_counts counts = { .struct_size = sizeof(counts) };

	ck_assert_int_eq(tmem_client_get_counts(client_in(host), &counts), 0);
	return counts.refused_frozen;
}

START_TEST(all_blocks_of_a_write_wait_for_a_frozen_client)
{
	struct slow_write w = { 0 };
	struct ring_host host;
	struct disk_rig rig;
	pthread_t thread;
	uint64_t before;

	begin(&host, &rig, ROOMY);
	rig.config.pause_ms = 30;
	rig_must_open(&rig);
	ck_assert_int_eq(write_many(&rig, 1), 0);
	ck_assert_int_eq(tmem_client_set_frozen(client_in(&host), true), 0);
	ck_assert_int_eq(write_many(&rig, 2), -ETIMEDOUT);
	read_many(&rig, 1);
	tm_disk_close(rig.disk);
	rig.config.pause_ms = 60000;
	rig_must_open(&rig);
	w.rig = &rig;
	before = count_frozen(&host);
	ck_assert_int_eq(pthread_create(&thread, NULL, write_many_slowly, &w),
			 0);
	/* All were refused, and one was tried again. */
	while (count_frozen(&host) < before + MANY + 1)
		usleep(1000);
	ck_assert_int_eq(tmem_client_set_frozen(client_in(&host), false), 0);
	pthread_join(thread, NULL);
	ck_assert_int_eq(w.result, 0);
	read_many(&rig, 3);
	end(&host, &rig);
}
END_TEST

/* It counts from 0 again, and comes to the very number it had. */
START_TEST(a_frozen_client_is_not_a_full_one_after_a_restart)
{
	char arena[RIG_PATH];
	struct ring_host host;
	struct disk_rig rig;

	ring_host_init(&host, ROOMY);
	rig_path(arena, "connected-arena");
	host.config.arena = arena;
	ring_host_open(&host);
	connect_to(&rig, &host, BLOCKS);
	/* Less than one turn: all writes are refused equally often. */
	rig.config.pause_ms = 1;
	rig_must_open(&rig);
	ck_assert_int_eq(write_many(&rig, 1), 0);
	for (int life = 0; life < 3; life++) {
		ck_assert_int_eq(tmem_client_set_frozen(client_in(&host), true),
				 0);
		for (int i = 0; i <= life; i++)
			ck_assert_int_eq(write_many(&rig, 2), -ETIMEDOUT);
		read_many(&rig, 1);
		ring_host_close(&host);
		memset(host.clients, 0, sizeof(host.clients));
		ring_host_open(&host);
		read_many(&rig, 1);
	}
	ck_assert_int_eq(tmem_client_set_frozen(client_in(&host), false), 0);
	ck_assert_int_eq(write_many(&rig, 3), 0);
	read_many(&rig, 3);
	end(&host, &rig);
	unlink(arena);
}
END_TEST

START_TEST(the_disk_outlives_the_daemon)
{
	char arena[RIG_PATH];
	struct ring_host host;
	struct disk_rig rig;
	pid_t daemon_pid;

	ring_host_init(&host, ROOMY);
	rig_path(arena, "connected-arena");
	host.config.arena = arena;
	daemon_pid = ring_host_fork(&host);
	connect_to(&rig, &host, BLOCKS);
	rig_must_open(&rig);
	for (uint32_t g = 1; g < 4; g++) {
		for (uint64_t b = 0; b < 200; b++)
			ck_assert_int_eq(rig_write(&rig, b, g), 0);
		ring_host_kill(daemon_pid);
		daemon_pid = ring_host_fork(&host);
		for (uint64_t b = 0; b < 200; b++)
			ck_assert_int_eq(rig_read(&rig, b, g), 0);
	}
	tm_disk_close(rig.disk);
	tmem_client_detach(rig.t.client);
	ring_host_kill(daemon_pid);
	unlink(arena);
	unlink(host.socket);
}
END_TEST

/* --- calls that time out -------------------------------------------------- */

/* Short, to wait for a daemon that is not there; one that is may be late, and is
 * asked again. */
#define TIMEOUT_MS 1000

/* A disk whose daemon is going to die. */
struct mortal {
	char arena[RIG_PATH];
	struct ring_host host;
	struct disk_rig rig;
	pid_t daemon_pid;
};

static void must_open(struct mortal *m)
{
	int err;

	while ((err = rig_open_disk(&m->rig)) == -ETIMEDOUT)
		;
	ck_assert_msg(!err, "open: %d: %s", err, m->rig.disk_error);
}

static void open_mortal(struct mortal *m)
{
	m->daemon_pid = ring_host_fork(&m->host);
	connect_for(&m->rig, &m->host, BLOCKS, TIMEOUT_MS);
	must_open(m);
}

static void begin_mortal(struct mortal *m)
{
	ring_host_init(&m->host, ROOMY);
	rig_path(m->arena, "connected-arena");
	m->host.config.arena = m->arena;
	open_mortal(m);
}

/* The daemon is dead: now its client goes too, and what that remembered. */
static void restart_both(struct mortal *m)
{
	tm_disk_close(m->rig.disk);
	tmem_client_detach(m->rig.t.client);
	open_mortal(m);
}

static void end_mortal(struct mortal *m)
{
	tm_disk_close(m->rig.disk);
	tmem_client_detach(m->rig.t.client);
	ring_host_kill(m->daemon_pid);
	unlink(m->arena);
	unlink(m->host.socket);
}

static int discard_3(struct disk_rig *rig, int how)
{
	switch (how) {
	case 0:
		return tm_disk_discard(rig->disk, 3 * 4096, 4096);
	case 1:
		return tm_disk_discard(rig->disk, 0, BLOCKS * 4096);
	default:
		return tm_disk_write_zeroes(rig->disk, 3 * 4096, 4096);
	}
}

static void must_write(struct mortal *m, uint64_t block, uint32_t generation)
{
	int err;

	while ((err = rig_write(&m->rig, block, generation)) == -ETIMEDOUT)
		;
	ck_assert_int_eq(err, 0);
}

static void must_read(struct mortal *m, uint64_t block, uint32_t generation)
{
	int err;

	while ((err = rig_read(&m->rig, block, generation)) == -ETIMEDOUT)
		;
	ck_assert_int_eq(err, 0);
}

static void must_discard_3(struct mortal *m, int how)
{
	int err;

	while ((err = discard_3(&m->rig, how)) == -ETIMEDOUT)
		;
	ck_assert_int_eq(err, 0);
}

static void must_reopen(struct mortal *m)
{
	tm_disk_close(m->rig.disk);
	m->rig.disk = NULL;
	must_open(m);
}

START_TEST(a_discard_that_timed_out_is_not_acknowledged)
{
	struct mortal m;

	begin_mortal(&m);
	must_write(&m, 3, 1);
	ring_host_kill(m.daemon_pid);
	ck_assert_int_eq(discard_3(&m.rig, _i), -ETIMEDOUT);
	restart_both(&m);
	must_read(&m, 3, 1);
	must_discard_3(&m, _i);
	must_reopen(&m);
	must_read(&m, 3, 0);
	end_mortal(&m);
}
END_TEST

/* The new data are stored, the old not flushed: a client that stays makes that
 * good before it answers a read, and the old are not seen again. */
START_TEST(a_write_whose_flush_timed_out_is_not_acknowledged)
{
	struct mortal m;

	begin_mortal(&m);
	must_write(&m, 3, 1);
	death.daemon_pid = m.daemon_pid;
	death.batch = 2;
	ck_assert_int_eq(rig_write(&m.rig, 3, 2), -ETIMEDOUT);
	if (_i) {
		restart_both(&m);
		must_read(&m, 3, 1);
	} else {
		ck_assert_int_eq(rig_read(&m.rig, 3, 2), -ETIMEDOUT);
		m.daemon_pid = ring_host_fork(&m.host);
		must_read(&m, 3, 2);
		must_reopen(&m);
		must_read(&m, 3, 2);
	}
	must_write(&m, 3, 3);
	must_reopen(&m);
	must_read(&m, 3, 3);
	end_mortal(&m);
}
END_TEST

/* What nobody knows to be stored is discarded all the same. */
START_TEST(a_put_that_timed_out_may_be_there)
{
	struct mortal m;

	begin_mortal(&m);
	death.daemon_pid = m.daemon_pid;
	death.batch = 1;
	death.is_done = true;
	ck_assert_int_eq(rig_write(&m.rig, 3, 1), -ETIMEDOUT);
	ck_assert_int_eq(discard_3(&m.rig, 0), -ETIMEDOUT);
	restart_both(&m);
	must_read(&m, 3, 1);
	must_discard_3(&m, 0);
	must_reopen(&m);
	must_read(&m, 3, 0);
	end_mortal(&m);
}
END_TEST

/* What it says to type helps. */
static void must_be_authorised(struct ring_host *host, struct disk_rig *rig)
{
	unsigned a, b, c, d;
	struct tmem_uuid uuid;
	uint64_t low;
	char *typed;

	rig->config.client_name = "vm";
	ck_assert_int_eq(rig_open_disk(rig), -EACCES);
	typed = strstr(rig->disk_error, "tmem shared-auth");
	ck_assert_ptr_nonnull(typed);
	ck_assert_int_eq(sscanf(typed,
				"tmem shared-auth vm --uuid %8x-%4x-%4x-%4x-"
				"%12" SCNx64 " --auth 1",
				&a, &b, &c, &d, &low),
			 5);
	uuid = (struct tmem_uuid){ { (uint64_t)d << 48 | low,
				     (uint64_t)a << 32 | b << 16 | c } };
	ck_assert_int_eq(
		tmem_client_set_shared_auth(client_in(host), &uuid, true), 0);
	ck_assert_int_eq(rig_open_disk(rig), 0);
}

/* The pool may be shared or not: hits stay hits. */
START_TEST(a_cache_works_whatever_pool_it_may_have)
{
	uint8_t page[TM_BLOCK_SIZE];
	char path[RIG_PATH];
	struct ring_host host;
	struct disk_rig rig;
	int fd;

	ring_host_init(&host, ROOMY);
	if (_i)
		host.config.flags |= TMEM_STORE_SHARED_OPEN;
	ring_host_open(&host);
	connect_to(&rig, &host, 0);
	rig_path(path, "connected-image");
	fd = open(path, O_WRONLY | O_CREAT, 0600);
	for (uint64_t b = 0; b < 100; b++) {
		rig_page(page, b, 1);
		ck_assert_int_eq(write(fd, page, sizeof(page)), sizeof(page));
	}
	close(fd);
	rig.config.kind = TM_DISK_CACHE;
	rig.config.image = path;
	rig_must_open(&rig);
	for (int round = 0; round < 3; round++)
		for (uint64_t b = 0; b < 100; b++)
			ck_assert_int_eq(rig_read(&rig, b, 1), 0);
	ck_assert_uint_eq(rig_info(&rig).image_reads, 100);
	ck_assert_uint_eq(rig_info(&rig).hits, 200);
	ck_assert_int_eq(rig_write(&rig, 5, 2), 0);
	ck_assert_int_eq(rig_read(&rig, 5, 2), 0);
	tm_disk_close(rig.disk);
	rig.disk = NULL;
	rig.config.is_readonly = true;
	rig.config.share = "base";
	if (_i)
		ck_assert_int_eq(rig_open_disk(&rig), 0);
	else
		must_be_authorised(&host, &rig);
	end(&host, &rig);
	unlink(path);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("disk_connected");
	TCase *tc = tcase_create("connected");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, blocks_come_back_over_the_channel);
	tcase_add_test(tc, refused_over_the_channel_goes_to_the_file);
	tcase_add_test(tc, a_frozen_client_is_not_a_full_one);
	tcase_add_test(tc, all_blocks_of_a_write_wait_for_a_frozen_client);
	tcase_add_test(tc, a_frozen_client_is_not_a_full_one_after_a_restart);
	tcase_add_test(tc, the_disk_outlives_the_daemon);
	tcase_add_loop_test(tc, a_discard_that_timed_out_is_not_acknowledged, 0,
			    3);
	tcase_add_loop_test(
		tc, a_write_whose_flush_timed_out_is_not_acknowledged, 0, 2);
	tcase_add_test(tc, a_put_that_timed_out_may_be_there);
	tcase_add_loop_test(tc, a_cache_works_whatever_pool_it_may_have, 0, 2);
	suite_add_tcase(suite, tc);
	return tm_test_run(suite);
}
