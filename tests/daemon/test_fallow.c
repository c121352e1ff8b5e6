/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A limit that follows the host (src/daemon/fallow.c), over a host that is made
 * of files.
 */
#include <config.h>

#include "clock.h"
#include "fallow.h"
#include "harness.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MIB (UINT64_C(1) << 20)
#define PAGES 2048
/* fallow.c's. */
#define CALM_MS 1000

static char folder[64];
static char meminfo[96], cgroup[96], pressure[96];
static struct tm_fallow_host host;
static struct tm_daemon_log *daemon_log;
static struct tm_fallow *fallow;
static struct tmem_store *store;
static struct tmem_client *client;

__attribute__((format(printf, 2, 3))) static void
write_file(const char *path, const char *format, ...)
{
	FILE *file = fopen(path, "w");
	va_list args;

	ck_assert_ptr_nonnull(file);
	va_start(args, format);
	vfprintf(file, format, args);
	va_end(args);
	fclose(file);
}

static void set_available(uint64_t mib)
{
	write_file(meminfo,
		   "MemTotal: 16777216 kB\nMemFree: 1 kB\n"
		   "MemAvailable: %" PRIu64 " kB\n",
		   mib << 10);
}

static void setup(void)
{
	strcpy(folder, "/tmp/tmem-fallow-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(folder));
	snprintf(meminfo, sizeof(meminfo), "%s/meminfo", folder);
	snprintf(cgroup, sizeof(cgroup), "%s/cgroup", folder);
	snprintf(pressure, sizeof(pressure), "%s/pressure", folder);
	host = (struct tm_fallow_host){ .meminfo = meminfo,
					.pressure = pressure,
					.own_cgroup = cgroup,
					.cgroups = folder };
	set_available(4096);
	write_file(cgroup, "1:cpu:/x\n0::/\n");
	ck_assert_int_eq(tm_daemon_log_open(TMEM_LOG_ERROR, &daemon_log), 0);
}

static void teardown(void)
{
	char command[96];

	tmem_client_detach(client);
	tmem_store_close(store);
	tm_fallow_close(fallow);
	tm_daemon_log_close(daemon_log);
	snprintf(command, sizeof(command), "rm -r %s", folder);
	ck_assert_int_eq(system(command), 0);
}

static void open_fallow(const struct tm_config_memory *memory)
{
	ck_assert_int_eq(tm_fallow_open(memory, &host, daemon_log, &fallow), 0);
}

static void open_store(void)
{
	struct tmem_store_config config;
	struct tmem_client_config limits;

	tmem_store_config_init(&config);
	config.flags = TMEM_STORE_NO_LOCK | TMEM_STORE_NO_THREADS;
	config.memory_bytes = 64 * MIB;
	config.memory_max_bytes = 128 * MIB;
	ck_assert_int_eq(tmem_store_open(&config, &store), 0);
	tmem_client_config_init(&limits);
	limits.name = "client";
	ck_assert_int_eq(tmem_client_attach(store, &limits, &client), 0);
}

static int fill(uint32_t flags)
{
	struct tmem_oid oid = { { 1, 0, 0 } };
	uint64_t page[TMEM_PAGE_SIZE / 8], state = 1;
	int pool = tmem_pool_create(client, flags, NULL);

	ck_assert_int_ge(pool, 0);
	for (uint32_t i = 0; i < PAGES; i++) {
		for (size_t w = 0; w < TMEM_PAGE_SIZE / 8; w++)
			page[w] = tm_test_random(&state);
		ck_assert_int_eq(tmem_put(client, pool, &oid, i, page, 0),
				 TMEM_PUT_STORED);
	}
	return pool;
}

static struct tmem_store_stats stats(void)
{
	struct tmem_store_stats s = { .struct_size = sizeof(s),
				      .counts.struct_size = sizeof(s.counts) };

	ck_assert_int_eq(tmem_store_get_stats(store, &s), 0);
	return s;
}

START_TEST(the_limit_leaves_the_reserve)
{
	const struct tm_config_memory by_default = { .is_auto = true };
	const struct tm_config_memory given = {
		.is_auto = true,
		.reserve_bytes = 1024 * MIB,
		.max_bytes = 2048 * MIB,
	};

	/* 5 % of 16 GiB is more than 512 MiB. */
	open_fallow(&by_default);
	ck_assert_uint_eq((tm_fallow_limit(fallow, 0, UINT64_MAX) + MIB - 1) /
				  MIB,
			  4096 - 16384 / 20);
	tm_fallow_configure(fallow, &given);
	ck_assert_uint_eq(tm_fallow_limit(fallow, 0, UINT64_MAX), 2048 * MIB);
	ck_assert_uint_eq(tm_fallow_limit(fallow, 0, 100 * MIB), 100 * MIB);
	set_available(1000);
	ck_assert_uint_eq(tm_fallow_limit(fallow, 100 * MIB, UINT64_MAX),
			  76 * MIB);
	ck_assert_uint_eq(tm_fallow_limit(fallow, 10 * MIB, UINT64_MAX),
			  TMEM_MEMORY_MIN);
}
END_TEST

START_TEST(the_tightest_cgroup_counts)
{
	const struct tm_config_memory given = { .is_auto = true,
						.reserve_bytes = 8 * MIB };
	char path[128];

	write_file(cgroup, "0::/a/b\n");
	snprintf(path, sizeof(path), "%s/a", folder);
	ck_assert_int_eq(mkdir(path, 0700), 0);
	snprintf(path, sizeof(path), "%s/a/b", folder);
	ck_assert_int_eq(mkdir(path, 0700), 0);
	snprintf(path, sizeof(path), "%s/a/memory.max", folder);
	write_file(path, "%" PRIu64 "\n", 300 * MIB);
	snprintf(path, sizeof(path), "%s/a/memory.current", folder);
	write_file(path, "%" PRIu64 "\n", 200 * MIB);
	snprintf(path, sizeof(path), "%s/a/b/memory.high", folder);
	write_file(path, "max\n");
	snprintf(path, sizeof(path), "%s/a/b/memory.current", folder);
	write_file(path, "%" PRIu64 "\n", 50 * MIB);
	open_fallow(&given);
	/* An eighth of the reserve is kept free there. */
	ck_assert_uint_eq(tm_fallow_limit(fallow, 20 * MIB, UINT64_MAX),
			  119 * MIB);
	snprintf(path, sizeof(path), "%s/a/b/memory.high", folder);
	write_file(path, "%" PRIu64 "\n", 60 * MIB);
	ck_assert_uint_eq(tm_fallow_limit(fallow, 20 * MIB, UINT64_MAX),
			  29 * MIB);
}
END_TEST

START_TEST(a_host_that_says_nothing_is_refused)
{
	const struct tm_config_memory given = { .is_auto = true };

	write_file(meminfo, "MemTotal: 100 kB\n");
	ck_assert_int_eq(tm_fallow_open(&given, &host, daemon_log, &fallow),
			 -EOPNOTSUPP);
	unlink(meminfo);
	ck_assert_int_eq(tm_fallow_open(&given, &host, daemon_log, &fallow), -ENOENT);
}
END_TEST

static const struct tm_config_memory reserve_100 = {
	.is_auto = true,
	.reserve_bytes = 100 * MIB,
};

START_TEST(a_short_host_gets_ephemeral_pages_back)
{
	uint64_t before;

	open_fallow(&reserve_100);
	open_store();
	fill(0);
	before = stats().used_bytes;
	set_available(96);
	tm_fallow_step(fallow, store, false, true);
	ck_assert_uint_le(stats().used_bytes, before - 4 * MIB);
	ck_assert_uint_gt(stats().used_bytes, before - 5 * MIB);
	ck_assert_uint_eq(stats().memory_bytes, stats().used_bytes);
	/* It has enough again: the limit rises, up to what there is. */
	set_available(120);
	tm_fallow_step(fallow, store, false, true);
	ck_assert_uint_eq(stats().memory_bytes,
			  stats().used_bytes + 20 * MIB);
}
END_TEST

/* What is reserved and held by nobody keeps the limit up, but not the pages. */
START_TEST(a_reservation_that_is_not_used_keeps_no_pages)
{
	struct tmem_client_config limits;
	struct tmem_client *other;
	uint64_t before;

	open_fallow(&reserve_100);
	open_store();
	tmem_client_config_init(&limits);
	limits.name = "other";
	limits.reservation_bytes = 30 * MIB;
	ck_assert_int_eq(tmem_client_attach(store, &limits, &other), 0);
	fill(0);
	before = stats().used_bytes;
	set_available(96);
	tm_fallow_step(fallow, store, false, true);
	ck_assert_uint_le(stats().used_bytes, before - 4 * MIB);
	ck_assert_uint_eq(tm_fallow_lacking_bytes(fallow), 0);
	tmem_client_detach(other);
}
END_TEST

START_TEST(persistent_pages_stay_whatever_the_host_lacks)
{
	struct tmem_pool_info info = { .struct_size = sizeof(info) };
	int pool;

	open_fallow(&reserve_100);
	open_store();
	pool = fill(TMEM_POOL_PERSISTENT);
	set_available(1);
	for (int i = 0; i < 4; i++)
		tm_fallow_step(fallow, store, true, true);
	ck_assert_int_eq(tmem_pool_get_info(client, pool, &info), 0);
	ck_assert_uint_eq(info.pages, PAGES);
	ck_assert_uint_ge(stats().memory_bytes, stats().needed_bytes);
}
END_TEST

static uint64_t now_ms(void)
{
	return tm_clock_now_ns(tm_clock_system()) / 1000000;
}

START_TEST(pressure_is_believed_whatever_else_is_said)
{
	uint64_t before, limit, start_ms;

	open_fallow(&reserve_100);
	open_store();
	fill(0);
	before = stats().used_bytes;
	tm_fallow_step(fallow, store, true, true);
	ck_assert_uint_lt(stats().used_bytes, before);
	/* And nothing grows for a while, in which both are to be. */
	do {
		start_ms = now_ms();
		tm_fallow_step(fallow, store, true, true);
		limit = stats().memory_bytes;
		tm_fallow_step(fallow, store, false, true);
	} while (now_ms() - start_ms >= CALM_MS);
	ck_assert_uint_le(stats().memory_bytes, limit);
}
END_TEST

START_TEST(nobody_looks_when_there_is_nothing_to_see)
{
	open_fallow(&reserve_100);
	open_store();
	ck_assert_int_eq(tm_fallow_step(fallow, store, false, false), -1);
	ck_assert_int_gt(tm_fallow_step(fallow, store, false, true), 0);
	fill(0);
	fill(0);
	ck_assert_int_gt(tm_fallow_step(fallow, store, false, false), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("fallow");
	TCase *tc = tcase_create("fallow");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, the_limit_leaves_the_reserve);
	tcase_add_test(tc, the_tightest_cgroup_counts);
	tcase_add_test(tc, a_host_that_says_nothing_is_refused);
	tcase_add_test(tc, a_short_host_gets_ephemeral_pages_back);
	tcase_add_test(tc, a_reservation_that_is_not_used_keeps_no_pages);
	tcase_add_test(tc, persistent_pages_stay_whatever_the_host_lacks);
	tcase_add_test(tc, pressure_is_believed_whatever_else_is_said);
	tcase_add_test(tc, nobody_looks_when_there_is_nothing_to_see);
	suite_add_tcase(suite, tc);
	return tm_test_run(suite);
}
