#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# Every header compiles alone: whoever includes it need not know what else it
# wants. Public ones also as C++, if there is a compiler for it.
set -u
cd "${abs_top_srcdir:?run by make check}" || exit 1
failed=0

compile()
{
	compiler=$1 file=$2
	shift 2
	# shellcheck disable=SC2086
	printf '#include "%s"\n' "$PWD/$file" |
		$compiler -fsyntax-only -Wall -Werror "$@" - ||
		{ echo "$file does not compile alone ($compiler)"; failed=1; }
}

for file in include/tmem/*.h; do
	compile "$CC" "$file" -xc -std=c11 -pedantic -Iinclude
	if test -n "$(command -v c++)"; then
		compile c++ "$file" -xc++ -Iinclude
	fi
done
for file in src/*/*.h src/front/*/*.h src/guest/*/*.h tests/harness/*.h; do
	test -e "$file" || continue
	set -- -xc -std=gnu11 -include "$abs_top_builddir/config.h" -Iinclude
	# What it may include is for test-floors.sh to say.
	for floor in src/*/ src/front/*/ src/guest/*/; do
		set -- "$@" -iquote "$floor"
	done
	case $file in
	src/cli/*) set -- "$@" $(pkg-config --cflags jansson) ;;
	esac
	compile "$CC" "$file" -Wno-unused-function "$@"
done
exit $failed
