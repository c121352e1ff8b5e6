#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# nbdkit --swap locks all its memory: the store's pages are locked too, but not
# before they are used, however many addresses a store reserves.
. "${abs_top_srcdir:?}/tests/nbdkit/nbdkit_common.sh"
want nbdcopy libnbd-bin
# The sanitizers' own reservations would be locked as well.
test -z "$preload" || skip "sanitizers reserve too many addresses to lock"
# What nbdkit takes by itself, which is much.
# shellcheck disable=SC2016
nbdkit --swap -U - -P alone null 1M --run \
	'for i in $(seq 200); do test -s alone && break; sleep 0.05; done
	cat "/proc/$(cat alone)/status"' >status 2>out ||
	skip "memory cannot be locked: $(cat out)"
alone=$(awk '$1 == "VmRSS:" { print $2 }' status)
# What this process may not lock the test must not try to.
if test "$(ulimit -l)" != unlimited && ! grep -q '^CapEff:.*[4567cdef]...$' /proc/self/status; then
	skip "memory cannot be locked without limit"
fi

field()
{
	awk -v name="$1:" '$1 == name { print $2 }' "/proc/$server/status"
}

nbdkit_options=(--swap)
serve size=256M memory=128M
test "$(field VmLck)" -gt 131072 || complain "not locked: $(field VmLck) KiB"
before=$(field VmRSS)
test "$before" -lt $((alone + 65536)) ||
	complain "takes $before KiB before it is used, and nbdkit alone $alone"
real_pages 8 >pages
must nbdcopy pages "$uri"
must nbdcopy "$uri" back
cmp -n "$(stat -c %s pages)" pages back || complain "locked: other bytes"
test "$(field VmSwap)" = 0 || complain "swapped: $(field VmSwap) KiB"
leave
finish
