#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# examples/cachefs over a daemon. When that is killed the pages are gone, and
# the files are as they were.
. "${abs_top_srcdir:?run by make check}/tests/daemon/daemon_common.sh"
. "$abs_top_srcdir/tests/guest/example_common.sh"
. "$abs_top_srcdir/tests/guest/cachefs_common.sh"
trap 'unmount_all; stop_all' EXIT

make_dump 512 >src/f
start --memory 32M --arena "$arena"
mount --cache 256K --socket "$TMEM_SOCKET"
same f f
kill -9 "$daemon"
wait "$daemon" 2>/dev/null
start --memory 32M --arena "$arena"
same f f
printf changed | dd of=mnt/f bs=1 seek=100000 conv=notrunc 2>err.dd
same f
tmem list --json >list 2>&1
grep -q cachefs list || complain "the daemon has no such client: $(cat list)"
unmount
hits=$(sed -n 's/^cleancache: hits \([0-9]*\).*/\1/p' out)
test "$hits" -gt 512 || complain "no help: $(cat out)"
echo "$(grep cleancache: out); $(grep source: out)"
end
finish
