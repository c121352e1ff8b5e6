#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# Each examples/allocator-NAME is built by its own Makefile against *installed*
# headers and pkg-config alone, found by its name, and held to the contract.
set -u
: "${abs_top_srcdir:?run by make check}" "${abs_top_builddir:?}"
contract=$abs_top_builddir/tests/contract/test_allocator_contract
test -x "$contract" || { echo "no libcheck: the contract test is not built"; exit 77; }
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
unset MAKEFLAGS MAKELEVEL MFLAGS DESTDIR
cd "$abs_top_builddir" || exit 1

fail()
{
	cat "$dir/log"
	echo "$*"
	exit 1
}

pkgconfigdir=
eval "$("$MAKE" -s print-directories)"
# libtool links a module again, and takes the old one away meanwhile: one at a
# time, and while nobody uses it (nbdkit_common.sh).
exec 9<config.status
flock 9
$MAKE -s install DESTDIR="$dir/root" >"$dir/log" 2>&1 || fail "make install failed"
exec 9<&-
PKG_CONFIG_PATH=$dir/root$pkgconfigdir
PKG_CONFIG_SYSROOT_DIR=$dir/root
export PKG_CONFIG_PATH PKG_CONFIG_SYSROOT_DIR

for example in "$abs_top_srcdir"/examples/allocator-*; do
	name=${example##*/allocator-}
	cp -r "$example" "$dir/$name"
	chmod -R u+w "$dir/$name"
	$MAKE -C "$dir/$name" CC="$CC" CFLAGS="-O2 -Wall -Wextra -Werror" \
		>"$dir/log" 2>&1 || fail "$name: does not build"
	TMEM_TEST_ALLOCATOR=$name TMEM_PLUGIN_PATH=$dir/$name "$contract" \
		>"$dir/log" 2>&1 || fail "$name: does not keep the contract"
	echo "$name: built, loaded, and keeps the contract"
done
