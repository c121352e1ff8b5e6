# SPDX-License-Identifier: BSD-2-Clause

# TM_TRY_CFLAG(FLAG, VARIABLE)
# Append FLAG to VARIABLE if the compiler takes it without a word. An unknown
# -Wno-... only shows with another warning, and clang merely warns about
# what it does not know: hence -Werror and the positive form.
AC_DEFUN([TM_TRY_CFLAG], [
	AS_VAR_PUSHDEF([tm_cv], [tm_cv_cflag_$1])
	AC_CACHE_CHECK([whether $CC accepts $1], [tm_cv], [
		tm_save_CFLAGS=$CFLAGS
		CFLAGS="$CFLAGS -Werror $1"
		AC_COMPILE_IFELSE([AC_LANG_PROGRAM([], [])],
			[AS_VAR_SET([tm_cv], [yes])],
			[AS_VAR_SET([tm_cv], [no])])
		CFLAGS=$tm_save_CFLAGS
	])
	AS_VAR_IF([tm_cv], [yes], [AS_VAR_APPEND([$2], [" $1"])])
	AS_VAR_POPDEF([tm_cv])
])

# TM_TRY_CFLAGS(VARIABLE, FLAGS...): each of them, one by one
AC_DEFUN([TM_TRY_CFLAGS],
	[m4_foreach([tm_flag], m4_cdr($@), [TM_TRY_CFLAG(tm_flag, [$1])])])

# TM_REQUIRE_LINK(FLAGS, WHAT)
# Stop with one sentence unless the compiler links a program with FLAGS.
AC_DEFUN([TM_REQUIRE_LINK], [
	AC_MSG_CHECKING([whether $CC links with $1])
	tm_save_CFLAGS=$CFLAGS
	CFLAGS="$CFLAGS $1"
	AC_LINK_IFELSE([AC_LANG_PROGRAM([], [])],
		[AC_MSG_RESULT([yes])],
		[AC_MSG_RESULT([no])
		AC_MSG_ERROR([$2])])
	CFLAGS=$tm_save_CFLAGS
])
