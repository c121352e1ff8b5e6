#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# Old plugins keep loading: for each tests/abi/vN, the codecs and allocators
# there, compiled against the headers as they were then, are loaded and held to
# the contract, and no field of the ABI's structures has moved since.
set -u
: "${abs_top_srcdir:?run by make check}" "${abs_top_builddir:?}"
contracts=$abs_top_builddir/tests/contract
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT

fail()
{
	test -e "$dir/log" && cat "$dir/log"
	echo "$*"
	exit 1
}

for old in "$abs_top_srcdir"/tests/abi/v*; do
	version=${old##*/}
	$CC -o "$dir/then" -I"$old/include" "$old/layout.c" >"$dir/log" 2>&1 ||
		fail "$version: layout.c does not compile"
	$CC -o "$dir/now" -I"$abs_top_srcdir/include" "$old/layout.c" \
		>"$dir/log" 2>&1 ||
		fail "$version: layout.c does not compile with today's headers"
	"$dir/then" | grep -v '^sizeof' >"$dir/then.txt"
	"$dir/now" | grep -v '^sizeof' >"$dir/now.txt"
	test -s "$dir/then.txt" || fail "$version: layout.c prints nothing"
	diff "$dir/then.txt" "$dir/now.txt" >"$dir/log" ||
		fail "$version: these fields of the ABI have moved"
	# Structures only grow.
	"$dir/then" | sed -n 's/^sizeof //p' | while read -r type least; do
		now=$("$dir/now" | sed -n "s/^sizeof $type //p")
		test "$now" -ge "$least" || { echo "$version: $type has shrunk"; exit 1; }
	done || exit 1
	echo "$version: no field has moved"

	for source in "$old"/codec_*.c "$old"/allocator_*.c; do
		kind=${source##*/}
		kind=${kind%%_*}
		name=${source##*/"$kind"_}
		name=${name%.c}
		contract=$contracts/test_${kind}_contract
		mkdir -p "$dir/$version"
		$CC -O1 -fPIC -shared -I"$old/include" -o "$dir/$version/$name.so" \
			"$source" -pthread >"$dir/log" 2>&1 ||
			fail "$version: $kind $name does not compile"
		test -x "$contract" ||
			{ echo "no libcheck: the contract test is not built"; exit 77; }
		TMEM_TEST_CODEC=$name TMEM_TEST_ALLOCATOR=$name \
			TMEM_PLUGIN_PATH=$dir/$version "$contract" \
			>"$dir/log" 2>&1 ||
			fail "$version: $kind $name does not work any more"
		echo "$version: $kind $name is loaded and works"
	done
done
