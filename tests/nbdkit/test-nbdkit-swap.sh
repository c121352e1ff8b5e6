#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# nbdkit --swap locks all its memory: the store's pages are locked too, but not
# before they are used, however many addresses a store reserves.
. "${abs_top_srcdir:?}/tests/nbdkit/nbdkit_common.sh"
want nbdcopy libnbd-bin
# The sanitizers' own reservations would be locked as well.
test -z "$preload" || skip "sanitizers reserve too many addresses to lock"
nbdkit --swap -f -U - null 1M --run true >out 2>&1 ||
	skip "memory cannot be locked: $(cat out)"
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
test "$before" -lt 65536 || complain "takes $before KiB before it is used"
real_pages 8 >pages
must nbdcopy pages "$uri"
must nbdcopy "$uri" back
cmp -n "$(stat -c %s pages)" pages back || complain "locked: other bytes"
test "$(field VmSwap)" = 0 || complain "swapped: $(field VmSwap) KiB"
leave
finish
