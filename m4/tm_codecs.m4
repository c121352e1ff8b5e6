# SPDX-License-Identifier: BSD-2-Clause

# Everything that configure does with a codec's library follows from one row
# of the list in configure.ac:
#
#	[NAME, PKG-CONFIG MODULE, DEBIAN PACKAGE]
#
# TM_CODECS(ROWS) makes of each row the switch --without-NAME, the check for
# the library, the substitutions NAME_CFLAGS and NAME_LIBS, HAVE_NAME in
# config.h, the conditional HAVE_NAME, and a word in $tm_codecs. A library
# that is neither there nor switched off is an error: a build that silently
# lacks a codec fails much later, when an arena needs it.

AC_DEFUN([TM_CODECS], [
	AC_ARG_WITH([codec],
		[AS_HELP_STRING([--with-codec=NAME],
			[the default codec @<:@lz4@:>@])],
		[], [with_codec=lz4])
	AS_CASE([$with_codec], [yes|no|''],
		[AC_MSG_ERROR([--with-codec needs a name, such as --with-codec=lz4])])
	tm_codecs=none
	tm_codecs_known=none
	m4_foreach([tm_row], [$1], [TM_CODEC(tm_row)])
	AS_CASE([" $tm_codecs_known "],
		[*" $with_codec "*], [],
		[AC_MSG_ERROR([--with-codec=$with_codec: there is no such codec (there are: $tm_codecs_known)])])
	AC_DEFINE_UNQUOTED([TM_DEFAULT_CODEC], ["$with_codec"],
		[The codec of stores that do not name one.])
])

# TM_CODEC(NAME, MODULE, DEBIAN)
AC_DEFUN([TM_CODEC], [
	m4_pushdef([TM_UP], m4_toupper([$1]))
	AS_VAR_APPEND([tm_codecs_known], [" $1"])
	AC_ARG_WITH([$1],
		[AS_HELP_STRING([--without-$1], [leave out the codec $1])],
		[], [with_$1=yes])
	AS_IF([test "x$with_$1" = xno], [
		AS_IF([test "x$with_codec" = x$1],
			[AC_MSG_ERROR([the default codec $1 is disabled: leave out --without-$1, or choose another one with --with-codec=NAME])])
	], [
		PKG_CHECK_MODULES(TM_UP, [$2], [], [
			AS_IF([test "x$with_codec" = x$1],
				[AC_MSG_ERROR([the default codec $1 needs $2 (Debian: $3), which is missing: install it, or choose another default with --without-$1 --with-codec=NAME])],
				[AC_MSG_ERROR([the codec $1 needs $2 (Debian: $3), which is missing: install it, or leave the codec out with --without-$1])])
		])
		AC_DEFINE([HAVE_]TM_UP, [1], [Build the codec $1.])
		AS_VAR_APPEND([tm_codecs], [" $1"])
	])
	AM_CONDITIONAL([HAVE_]TM_UP, [test "x$with_$1" != xno])
	m4_popdef([TM_UP])
])

# TM_ALLOCATORS([NAME, NAME...]): they need no library, so only the default
# is to be chosen.
AC_DEFUN([TM_ALLOCATORS], [
	AC_ARG_WITH([allocator],
		[AS_HELP_STRING([--with-allocator=NAME],
			[the default allocator @<:@zsmalloc@:>@])],
		[], [with_allocator=zsmalloc])
	tm_allocators="m4_join([ ], $1)"
	AS_CASE([" $tm_allocators "],
		[*" $with_allocator "*], [],
		[AC_MSG_ERROR([--with-allocator=$with_allocator: there is no such allocator (there are: $tm_allocators)])])
	AC_DEFINE_UNQUOTED([TM_DEFAULT_ALLOCATOR], ["$with_allocator"],
		[The allocator of stores that do not name one.])
])
