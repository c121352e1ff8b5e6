# SPDX-License-Identifier: BSD-2-Clause
#
# TM_NBDKIT: the plugin of nbdkit is built where nbdkit's header is; a packager
# says where plugins go. libnbd is a client's library, for measuring only.
AC_DEFUN([TM_NBDKIT], [
AC_ARG_WITH([nbdkit],
	[AS_HELP_STRING([--without-nbdkit], [do not build the nbdkit plugin])],
	[], [with_nbdkit=check])
AS_IF([test "x$with_nbdkit" != xno],
	[PKG_CHECK_MODULES([NBDKIT], [nbdkit >= 1.30], [with_nbdkit=yes],
		[AS_IF([test "x$with_nbdkit" = xyes],
			[AC_MSG_ERROR([--with-nbdkit needs nbdkit >= 1.30 (Debian: nbdkit-plugin-dev)])])
		with_nbdkit=no])])
AM_CONDITIONAL([HAVE_NBDKIT], [test "x$with_nbdkit" = xyes])
AC_ARG_WITH([nbdkit-plugindir],
	[AS_HELP_STRING([--with-nbdkit-plugindir=DIR],
		[where the nbdkit plugin goes @<:@LIBDIR/nbdkit/plugins@:>@])],
	[nbdkitplugindir=$withval],
	[nbdkitplugindir='${libdir}/nbdkit/plugins'])
AC_SUBST([nbdkitplugindir])

PKG_CHECK_MODULES([LIBNBD], [libnbd], [have_libnbd=yes], [have_libnbd=no])
AM_CONDITIONAL([HAVE_LIBNBD], [test "x$have_libnbd" = xyes])
])
