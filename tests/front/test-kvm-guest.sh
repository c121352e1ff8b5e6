#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# examples/kvm-guest: a guest on real hardware virtualisation makes hypercalls,
# decent ones and others, and must get these very answers.
set -u
: "${abs_top_srcdir:?run by make check}" "${abs_top_builddir:?}"
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
unset MAKEFLAGS MAKELEVEL MFLAGS

case $(uname -m) in
x86_64) ;;
*) echo "the guest is x86-64 code"; exit 77 ;;
esac
test -w /dev/kvm || { echo "no /dev/kvm to use"; exit 77; }
case ${TM_SANITIZERS:-no} in
no) ;;
*) echo "the example is not built with sanitizers"; exit 77 ;;
esac

cp "$abs_top_srcdir"/examples/kvm-guest/* "$dir"
chmod -R u+w "$dir"
"$MAKE" -s -C "$dir" CC="$CC" CFLAGS='-O2 -Wall -Wextra -Werror' \
	TMEM_CFLAGS="-I$abs_top_srcdir/include" \
	TMEM_LIBS="-L$abs_top_builddir/.libs -ltmem" >"$dir/log" 2>&1 ||
	{ cat "$dir/log"; echo "the example does not build"; exit 1; }

LD_LIBRARY_PATH=$abs_top_builddir/.libs timeout 60 "$dir/kvm-guest" \
	"$dir/guest.bin" >"$dir/out"
status=$?
test $status = 77 && { cat "$dir/out"; exit 77; }
test $status = 0 || { cat "$dir/out"; echo "exit status $status"; exit 1; }

grep '^guest:' "$dir/out" >"$dir/guest"
diff "$dir/guest" - <<'END' || { echo "the guest got (<) other answers"; exit 1; }
guest: new ephemeral pool: 0
guest: new persistent pool: 1
guest: pages put: 100
guest: pages got back, byte for byte: 100
guest: flush of a page: 1
guest: get of a page that was flushed: 0
guest: flush of the object: 1
guest: get from a pool that is empty: -1001
guest: put of a page of the cache: 1
guest: get of it: 1
guest: get of it again: -1001
guest: put from a frame it does not have: -14
guest: put from a frame beyond all addresses: -14
guest: put from its code: 1
guest: get into its code: -14
guest: get from pool -1: -19
guest: get from pool 16: -19
guest: a pool of another version: -1
guest: a privileged operation: -95
guest: letting itself in somewhere: -95
guest: a command that there is not: -38
guest: an operation that is nowhere: -14
guest: an operation half out of memory: -14
guest: still here: 1
END
grep -q '^P=CI:1,PI:1,PT:PP,.*,ps:101,' "$dir/out" ||
	{ cat "$dir/out"; echo "the host has counted something else"; exit 1; }
