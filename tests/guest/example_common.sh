# SPDX-License-Identifier: BSD-2-Clause
# Sourced by the tests of the examples of a Linux guest, in a scratch folder
# (see tests/cli/common.sh): build_example NAME [MAKE ARGUMENT...] makes
# ./NAME out of the example's source, against this build's library.
# shellcheck shell=bash
: "${abs_top_builddir:?run by make check}"
unset MAKEFLAGS MAKELEVEL MFLAGS

build_example()
{
	local name=$1
	shift
	case ${TM_SANITIZERS:-no} in
	no) ;;
	*) skip "the example is not built with sanitizers" ;;
	esac
	mkdir -p source
	cp -r "$abs_top_srcdir/examples/linux-guest" \
		"$abs_top_srcdir/examples/$name" source
	chmod -R u+w source
	"$MAKE" -s -C "source/$name" CC="$CC" \
		CFLAGS='-O2 -Wall -Wextra -Werror' \
		TMEM_CFLAGS="-I$abs_top_srcdir/include" \
		TMEM_LIBS="-L$abs_top_builddir/.libs -ltmem" "$@" >build.log 2>&1 ||
		{ complain "examples/$name does not build: $(cat build.log)"; finish; }
	cp "source/$name/$name" "./example"
	export LD_LIBRARY_PATH=$abs_top_builddir/.libs
}

# number WORD FILE: the number that follows WORD in FILE.
number()
{
	sed -n "s/.*$1 \([0-9][0-9]*\).*/\1/p" "$2" | head -n 1
}
