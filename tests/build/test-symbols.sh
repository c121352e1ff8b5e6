#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# Three lists of the public functions must agree: what the headers declare,
# what src/lib/tmem.map names, and what the shared library exports.
set -u
: "${abs_top_srcdir:?run by make check}"
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
failed=0

perl "$abs_top_srcdir/tests/build/public-functions.pl" \
	"$abs_top_srcdir"/include/tmem/*.h >"$dir/headers" || exit 1
sed -n 's/^	\(tmem_[a-z0-9_]*\);$/\1/p' "$abs_top_srcdir/src/lib/tmem.map" |
	sort >"$dir/map"
nm -D --defined-only "$abs_top_builddir/.libs/libtmem.so" |
	awk '$2 != "A" { sub(/@.*/, "", $3); print $3 }' | sort >"$dir/library"

test -s "$dir/headers" || { echo "found no function in the headers"; exit 1; }
for list in map library; do
	if ! diff "$dir/headers" "$dir/$list" >"$dir/diff"; then
		echo "the headers (<) and the $list (>) differ:"
		cat "$dir/diff"
		failed=1
	fi
done
exit $failed
