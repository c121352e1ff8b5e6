# SPDX-License-Identifier: BSD-2-Clause
#
# TM_DAEMON: what the daemon and the screen of `tmem top` need. Each is built
# when its library is there; asking for one whose library is missing fails.
AC_DEFUN([TM_DAEMON], [
AC_ARG_ENABLE([daemon],
	[AS_HELP_STRING([--disable-daemon],
		[do not build tmemd; it needs libmicrohttpd])],
	[], [enable_daemon=check])
AS_IF([test "x$enable_daemon" != xno],
	[PKG_CHECK_MODULES([MICROHTTPD], [libmicrohttpd >= 0.9.71],
		[enable_daemon=yes],
		[AS_IF([test "x$enable_daemon" = xyes],
			[AC_MSG_ERROR([--enable-daemon needs libmicrohttpd (Debian: libmicrohttpd-dev)])])
		enable_daemon=no])])
AM_CONDITIONAL([HAVE_DAEMON], [test "x$enable_daemon" = xyes])

AC_ARG_WITH([systemd],
	[AS_HELP_STRING([--without-systemd],
		[tmemd neither notifies systemd nor takes its sockets])],
	[], [with_systemd=check])
AS_IF([test "x$with_systemd" != xno],
	[PKG_CHECK_MODULES([SYSTEMD], [libsystemd],
		[with_systemd=yes
		AC_DEFINE([HAVE_SYSTEMD], [1], [libsystemd is there.])],
		[AS_IF([test "x$with_systemd" = xyes],
			[AC_MSG_ERROR([--with-systemd needs libsystemd (Debian: libsystemd-dev)])])
		with_systemd=no])])
AC_ARG_WITH([systemdsystemunitdir],
	[AS_HELP_STRING([--with-systemdsystemunitdir=DIR],
		[where tmemd.service goes @<:@PREFIX/lib/systemd/system@:>@])],
	[systemdsystemunitdir=$withval],
	[systemdsystemunitdir='${prefix}/lib/systemd/system'])
AC_SUBST([systemdsystemunitdir])

AC_ARG_WITH([ncurses],
	[AS_HELP_STRING([--without-ncurses], [no `tmem top` on a screen])],
	[], [with_ncurses=check])
AS_IF([test "x$with_ncurses" != xno],
	[PKG_CHECK_MODULES([NCURSES], [ncursesw],
		[with_ncurses=yes
		AC_DEFINE([HAVE_NCURSES], [1], [ncurses is there.])],
		[AS_IF([test "x$with_ncurses" = xyes],
			[AC_MSG_ERROR([--with-ncurses needs ncurses (Debian: libncurses-dev)])])
		with_ncurses=no])])
])
