/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The daemon's configuration (src/daemon/config.c): what is right is taken,
 * what is not is an error that names the nearest, and nothing is half taken.
 */
#include <config.h>

#include "config_client.h"
#include "config_disk.h"
#include "harness.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static struct tm_daemon_config *config;
static char error[TM_CONFIG_ERROR_SIZE];

static void setup(void)
{
	unsetenv("TMEM_SOCKET");
	unsetenv("TMEM_CONTROL");
	config = NULL;
	*error = '\0';
}

static void teardown(void)
{
	tm_config_free(config);
}

static int parse(const char *text)
{
	return tm_config_parse(text, strlen(text), &config, error,
			       sizeof(error));
}

static const char *const metrics[] = {
	"127.0.0.1:9100", "[::1]:9100", "0.0.0.0:1", "/run/tmem/metrics",
};

START_TEST(metrics_have_an_address_in_numbers_or_a_path)
{
	char text[128];

	snprintf(text, sizeof(text), "[daemon]\nmetrics = %s\n", metrics[_i]);
	ck_assert_msg(!parse(text), "%s", error);
	ck_assert_str_eq(config->metrics, metrics[_i]);
}
END_TEST

START_TEST(sections_say_what_clients_get)
{
	const struct tm_config_client *web;

	ck_assert_int_eq(
		parse("[daemon]\n"
		      "memory = auto,max=8G,reserve=1G\n"
		      "user_cap = 64M\n"
		      "user-linger = forever\n"
		      "[client web]\n"
		      "weight = 7\n"
		      "reservation = 16M\n"
		      "cap = 32M\n"
		      "linger = 2h\n"
		      "compress = off\n"
		      "socket = /run/tmem/web.sock\n"
		      "owner = 0\n"
		      "mode = 0660\n"
		      "shared_auth = 0123456789abcdef0123456789ABCDEF, "
		      "01234567-89ab-cdef-0000-000000000001\n"
		      "[balloon]\n"
		      "anything = goes\n"),
		0);
	ck_assert(config->memory.is_auto);
	ck_assert_uint_eq(config->memory.max_bytes, UINT64_C(8) << 30);
	ck_assert_uint_eq(config->memory.reserve_bytes, UINT64_C(1) << 30);
	web = tm_config_client(config, "web");
	ck_assert_str_eq(web->name, "web");
	ck_assert_uint_eq(web->weight, 7);
	ck_assert_uint_eq(web->reservation_bytes, 16 << 20);
	ck_assert_uint_eq(web->cap_bytes, 32 << 20);
	ck_assert_uint_eq(web->linger_ns, UINT64_C(7200) * 1000000000);
	ck_assert(!web->compress);
	ck_assert_str_eq(web->socket, "/run/tmem/web.sock");
	ck_assert_uint_eq(web->owner, 0);
	ck_assert_uint_eq(web->mode, 0660);
	ck_assert_uint_eq(web->uuid_count, 2);
	ck_assert_uint_eq(web->uuids[0].word[1], UINT64_C(0x0123456789abcdef));
	ck_assert_uint_eq(web->uuids[1].word[0], 1);
	ck_assert_ptr_eq(tm_config_client(config, "other"), &config->user);
	ck_assert_uint_eq(config->user.cap_bytes, 64 << 20);
	ck_assert_uint_eq(config->user.linger_ns, 0);
}
END_TEST

static const struct {
	const char *text;
	const char *says;
} wrong[] = {
	{ "[deamon]\n", "the nearest is \"daemon\"" },
	{ "[daemon]\nmemroy = 1G\n", "the nearest is \"memory\"" },
	{ "[daemon]\nboot = x\n", "unknown key" },
	{ "[daemon x]\n", "without a name" },
	{ "[daemon]\nmemory = 1Q\n", "not a size" },
	{ "[daemon]\nmemory = 1k\n", "at least" },
	{ "[daemon]\nmemory = 1G,reserve=1M\n", "neither max=SIZE" },
	{ "[daemon]\nmemory = 2G,max=1G\n", "above its max" },
	{ "[daemon]\nmemory =\n", "not a size" },
	{ "[daemon]\narena = relative\n", "begins with" },
	{ "[daemon]\nsocket = s\n", "begins with" },
	{ "[daemon]\nsocket = /a\ncontrol = /a\n", "same path" },
	{ "[daemon]\nmetrics = here\n", "neither ADDRESS:PORT" },
	{ "[daemon]\nmetrics = 127.0.0.1:65536\n", "neither ADDRESS:PORT" },
	{ "[daemon]\nmetrics = localhost:9100\n", "in numbers" },
	{ "[daemon]\nmetrics = [::1:9100\n", "in numbers" },
	{ "[daemon]\npeers-max = 0\n", "would let nobody in" },
	{ "[daemon]\nrings-max = 0\n", "would let nobody in" },
	{ "[daemon]\nrings-per-peer = 0\n", "would let nobody in" },
	{ "[daemon]\npeer-memory = 1\n", "no page" },
	{ "[daemon]\nlog-level = loud\n", "unknown level" },
	{ "[daemon]\npeers-max = -1\n", "not a number" },
	{ "[daemon]\nuser-linger = 5 m\n", "not a time" },
	{ "[daemon]\nuser-linger = 0\n", "not a time" },
	{ "[client]\n", "cannot be a client's name" },
	{ "[client 12]\n", "cannot be a client's name" },
	{ "[client all]\n", "cannot be a client's name" },
	{ "[client a/b]\n", "cannot be a client's name" },
	{ "[client web]\nwieght = 1\n", "the nearest is \"weight\"" },
	{ "[client web]\nweight = 4294967296\n", "not a number" },
	{ "[client web]\nweight = 99999999999999999999\n", "not a number" },
	{ "[client web]\nreservation = 2M\ncap = 1M\n", "above its cap" },
	{ "[client web]\nmode = 0888\n", "not a mode" },
	{ "[client web]\nmode = 7777\n", "not a mode" },
	{ "[client web]\nowner = no-such-user\n", "no user" },
	{ "[client web]\nowner = 0\n", "an owner is of a socket" },
	{ "[client web]\nshared-auth = 123\n", "not a UUID" },
	{ "[client a]\nsocket = /s\n[client b]\nsocket = /s\n",
	  "have the same socket" },
	{ "[client a]\nallocator = zbud\n", "unknown key \"allocator\"" },
	{ "[client a]\ncompress = perhaps\n", "neither on nor off" },
};

START_TEST(what_is_wrong_is_named)
{
	ck_assert_int_eq(parse(wrong[_i].text), -EINVAL);
	ck_assert_ptr_null(config);
	ck_assert_msg(strstr(error, wrong[_i].says), "%s", error);
}
END_TEST

static int load(int argc, const char **argv)
{
	return tm_config_load(argc, (char **)(uintptr_t)argv, NULL, &config, error,
			      sizeof(error));
}

static void write_file(char *path, const char *text)
{
	int fd = mkstemp(path);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, text, strlen(text)), (int)strlen(text));
	close(fd);
}

START_TEST(the_command_line_overrides_the_file)
{
	char path[] = "/tmp/tmem-config-XXXXXX";
	const char *argv[] = { "tmemd", "--memory=32M", "--config", path,
			       "--takeover" };

	write_file(path, "[daemon]\nmemory = 64M\npeers-max = 3\n");
	ck_assert_msg(!load(5, argv), "%s", error);
	unlink(path);
	ck_assert(!config->memory.is_auto);
	ck_assert_uint_eq(config->memory.bytes, 32 << 20);
	ck_assert_uint_eq(config->peers_max, 3);
	ck_assert(config->is_takeover && !config->is_check);
}
END_TEST

static const struct {
	const char *argument;
	const char *says;
} wrong_options[] = {
	{ "--memroy=1", "the nearest is \"memory\"" },
	{ "--memory", "--memory wants SIZE" },
	{ "--memory=", "not a size" },
	{ "--takeover=1", "takes no value" },
	{ "serve", "is no option" },
	{ "--", "is no option" },
	{ "--config=/no/such/file", "cannot read /no/such/file" },
	{ "--config=/", "cannot read" },
};

START_TEST(a_wrong_option_is_named)
{
	const char *argv[] = { "tmemd", wrong_options[_i].argument };

	ck_assert_int_lt(load(2, argv), 0);
	ck_assert_msg(strstr(error, wrong_options[_i].says), "%s", error);
}
END_TEST

START_TEST(a_socket_must_have_an_address)
{
	char longer[200];

	memset(longer, 'x', sizeof(longer) - 1);
	longer[0] = '/';
	longer[sizeof(longer) - 1] = '\0';
	setenv("TMEM_SOCKET", longer, 1);
	ck_assert_int_eq(parse(""), -EINVAL);
	ck_assert_msg(strstr(error, "TMEM_SOCKET"), "%s", error);
}
END_TEST

START_TEST(a_socket_of_the_environment_begins_with_a_slash)
{
	static const char *const variables[] = { "TMEM_SOCKET",
						 "TMEM_CONTROL" };
	const char *overridden[] = { "tmemd", "--socket=/s", "--control=/c",
				     "--config=/dev/null" };
	const char *help[] = { "tmemd", "--help" };

	setenv(variables[_i], "here", 1);
	ck_assert_int_eq(parse(""), -EINVAL);
	ck_assert_msg(strstr(error, variables[_i]), "%s", error);
	ck_assert_msg(strstr(error, "\"here\""), "%s", error);
	ck_assert_int_eq(load(4, overridden), 0);
	tm_config_free(config);
	ck_assert_int_eq(load(2, help), 0);
}
END_TEST

START_TEST(background_and_foreground_exclude_each_other)
{
	const char *argv[] = { "tmemd", "--config=/dev/null", "--daemon",
			       "--foreground" };

	ck_assert_int_eq(load(4, argv), -EINVAL);
	ck_assert_msg(strstr(error, "--daemon and --foreground"), "%s", error);
	ck_assert_int_eq(load(3, argv), 0);
	ck_assert(config->is_background);
}
END_TEST

/* --- disks ------------------------------------------------------------------
 */

START_TEST(a_section_and_a_word_describe_the_same_disk)
{
	const struct tm_complaint complaint = { error, sizeof(error) };
	struct tm_config_disk word, again;
	const struct tm_config_disk *disk;
	char text[TM_CONFIG_DISK_TEXT_MAX];

	ck_assert_int_eq(parse("[disk vm1]\n"
			       "kind = swap\n"
			       "size = 4G\n"
			       "socket = /run/vm1\n"
			       "cap = 1G\n"
			       "group = 0\n"
			       "mode = 0660\n"
			       "backing = /var/lib/vm1\n"
			       "[disk vm2]\n"
			       "kind = swap\n"
			       "size = 1G\n"
			       "socket = /run/vm2\n"
			       "owner = 1:2\n"
			       "[disk base]\n"
			       "kind = cache\n"
			       "image = /srv/base.raw\n"
			       "socket = /run/base\n"
			       "share = base\n"
			       "readonly = on\n"),
			 0);
	disk = config->disks;
	ck_assert_int_eq(
		tm_config_disk_parse("name=vm1,socket=/run/vm1,kind=swap,"
				     "size=4G,cap=1G,group=0,mode=0660,"
				     "backing=/var/lib/vm1",
				     &word, &complaint),
		0);
	ck_assert_uint_eq(disk->size_bytes, UINT64_C(4) << 30);
	ck_assert_str_eq(disk->next->client.name, "vm2");
	ck_assert_uint_eq(disk->next->client.group, 2);
	ck_assert_str_eq(disk->next->next->client.name, "base");
	ck_assert(disk->next->next->is_cache);
	ck_assert(disk->next->next->is_readonly);
	word.next = disk->next;
	ck_assert_mem_eq(disk, &word, sizeof(word));
	for (; disk; disk = disk->next) {
		ck_assert_int_eq(tm_config_disk_print(disk, text, sizeof(text)),
				 0);
		ck_assert_int_eq(tm_config_disk_parse(text, &again, &complaint),
				 0);
		again.next = disk->next;
		ck_assert_mem_eq(disk, &again, sizeof(again));
	}
}
END_TEST

static const struct {
	const char *text;
	const char *says;
} bad_disks[] = {
	{ "", "name=NAME" },
	{ "socket=/x", "name=NAME" },
	{ "name=", "cannot be a disk's name" },
	{ "name=all,kind=swap", "cannot be a disk's name" },
	{ "name=a,socket=/x,size=1G", "kind is missing" },
	{ "name=a,kind=swap,size=1G", "socket is missing" },
	{ "name=a,socket=/x,kind=swap", "size is missing" },
	{ "name=a,socket=/x,kind=cache", "image is missing" },
	{ "name=a,socket=/x,kind=floppy", "neither swap nor" },
	{ "name=a,socket=/x,kind=swap,size=1000", "multiple of 512" },
	{ "name=a,socket=/x,kind=swap,size=32T", "16 TiB" },
	{ "name=a,socket=/x,kind=swap,size=0", "multiple of 512" },
	{ "name=a,socket=/x,kind=swap,size=1G,image=/i", "of cache disks" },
	{ "name=a,socket=/x,kind=cache,image=/i,size=1G", "of swap disks" },
	{ "name=a,socket=/x,kind=swap,size=1G,readonly=on", "of no use" },
	{ "name=a,socket=/x,kind=swap,size=1G,name=b", "comes first" },
	{ "name=a,sockt=/x", "\"socket\"" },
	{ "name=a,socket", "KEY=VALUE" },
	{ "name=a,socket=x,kind=swap,size=1G", "\"/\"" },
	{ "name=a,socket=/x,kind=swap,size=1G,queues=65", "65" },
	{ "name=a,socket=/x,kind=cache,image=/i,share=s", "readonly" },
	{ "name=a,socket=/x,kind=swap,size=1M,group=0", "mode=0660" },
	{ "name=a,socket=/x,kind=swap,size=1M,mode=600,group=0,owner=0",
	  "mode=0660" },
	{ "name=a,socket=/x,kind=swap,size=1M,cap=1M,reservation=2M",
	  "above its cap" },
};

START_TEST(a_disk_that_cannot_be_is_refused_with_a_reason)
{
	const struct tm_complaint complaint = { error, sizeof(error) };
	struct tm_config_disk disk;

	ck_assert_int_eq(
		tm_config_disk_parse(bad_disks[_i].text, &disk, &complaint),
		-EINVAL);
	ck_assert_msg(strstr(error, bad_disks[_i].says), "\"%s\": %s",
		      bad_disks[_i].text, error);
}
END_TEST

START_TEST(two_disks_do_not_share_what_is_one_disks)
{
	ck_assert_int_eq(parse("[disk a]\nkind=swap\nsize=1M\nsocket=/x\n"
			       "[disk b]\nkind=swap\nsize=1M\nsocket=/x\n"),
			 -EINVAL);
	ck_assert_ptr_nonnull(strstr(error, "its socket is that of a"));
	ck_assert_int_eq(parse("[disk a]\nkind=swap\nsize=1M\nsocket=/x\n"
			       "[client a]\nweight=1\n"),
			 -EINVAL);
	ck_assert_ptr_nonnull(strstr(error, "same client"));
	ck_assert_int_eq(parse("[disk a]\nkind=swap\nsize=1M\nsocket=/x\n"
			       "backing=/b\n"
			       "[disk b]\nkind=swap\nsize=1M\nsocket=/y\n"
			       "backing=/b\n"),
			 -EINVAL);
	ck_assert_ptr_nonnull(strstr(error, "same backing"));
	ck_assert_int_eq(parse("[disk a]\nkind=cache\nimage=/i\nsocket=/x\n"
			       "readonly=on\n"
			       "[disk b]\nkind=cache\nimage=/i\nsocket=/y\n"),
			 -EINVAL);
	ck_assert_ptr_nonnull(strstr(error, "same image"));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("config");
	TCase *tc = tcase_create("config");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, sections_say_what_clients_get);
	tcase_add_loop_test(tc, metrics_have_an_address_in_numbers_or_a_path, 0,
			    COUNT(metrics));
	tcase_add_loop_test(tc, what_is_wrong_is_named, 0, COUNT(wrong));
	tcase_add_test(tc, the_command_line_overrides_the_file);
	tcase_add_loop_test(tc, a_wrong_option_is_named, 0,
			    COUNT(wrong_options));
	tcase_add_test(tc, a_socket_must_have_an_address);
	tcase_add_loop_test(tc, a_socket_of_the_environment_begins_with_a_slash,
			    0, 2);
	tcase_add_test(tc, background_and_foreground_exclude_each_other);
	tcase_add_test(tc, a_section_and_a_word_describe_the_same_disk);
	tcase_add_loop_test(tc, a_disk_that_cannot_be_is_refused_with_a_reason,
			    0, COUNT(bad_disks));
	tcase_add_test(tc, two_disks_do_not_share_what_is_one_disks);
	suite_add_tcase(suite, tc);
	return tm_test_run(suite);
}
