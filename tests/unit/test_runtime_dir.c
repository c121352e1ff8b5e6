/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Default sockets (src/util/runtime_dir.c): the environment first, then the
 * user's own place, and nothing that does not fit a socket's address.
 */
#include <config.h>

#include "harness.h"
#include "runtime_dir.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

START_TEST(environment_names_the_sockets)
{
	char path[128];

	setenv("TMEM_SOCKET", "/here/s", 1);
	setenv("TMEM_CONTROL", "/there/c", 1);
	ck_assert_int_eq(tm_default_socket(path, sizeof(path)), 0);
	ck_assert_str_eq(path, "/here/s");
	ck_assert_int_eq(tm_default_control(path, sizeof(path)), 0);
	ck_assert_str_eq(path, "/there/c");
}
END_TEST

START_TEST(users_have_places_of_their_own)
{
	char path[128];

	unsetenv("TMEM_SOCKET");
	setenv("TMEM_CONTROL", "", 1);
	setenv("XDG_RUNTIME_DIR", "/run/user/77", 1);
	ck_assert_int_eq(tm_default_socket(path, sizeof(path)), 0);
	ck_assert_str_eq(path, geteuid() ? "/run/user/77/tmem/tmemd.sock" :
					   "/run/tmem/tmemd.sock");
	ck_assert_int_eq(tm_default_control(path, sizeof(path)), 0);
	ck_assert_str_eq(path, geteuid() ?
				       "/run/user/77/tmem/control/control.sock" :
				       "/run/tmem/control/control.sock");
}
END_TEST

START_TEST(what_fits_no_address_is_refused)
{
	char path[512], longer[200];

	memset(longer, 'x', sizeof(longer) - 1);
	longer[0] = '/';
	longer[sizeof(longer) - 1] = '\0';
	setenv("TMEM_SOCKET", longer, 1);
	ck_assert_int_eq(tm_default_socket(path, sizeof(path)), -ENAMETOOLONG);
	setenv("TMEM_SOCKET", "/run/short", 1);
	ck_assert_int_eq(tm_default_socket(path, 4), -ENAMETOOLONG);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("runtime_dir");
	TCase *tc = tcase_create("runtime_dir");

	tcase_add_test(tc, environment_names_the_sockets);
	tcase_add_test(tc, users_have_places_of_their_own);
	tcase_add_test(tc, what_fits_no_address_is_refused);
	suite_add_tcase(suite, tc);
	return tm_test_run(suite);
}
