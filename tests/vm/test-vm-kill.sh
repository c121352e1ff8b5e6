#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# kill -9 of tmemd while a guest swaps, start again: the guest waits, comes back
# by itself, and finds every page as it was. Its kernel sees no error.
. "${abs_top_srcdir:?}/tests/vm/vm.sh"
RANDOM=${TMEM_SEED:-$$}

serve()
{
	# shellcheck disable=SC2046
	start --memory 512M --arena "$arena" $(swap_disk vm1 1G)
}

serve
# shellcheck disable=SC2046
vm_start vm1 128 $(vm_disk vm1.disk) <<'END_OF_JOB'
swap_on /dev/vda
guest_load 256 1 0 verify change verify change verify
END_OF_JOB
kills=0
# One in each of fill, verify and change at least, as far as time tells.
for stage in 'up after' 'fill ok' 'verify ok' 'change ok' 'verify ok'; do
	vm_says vm1 "$stage" || break
	sleep "$((RANDOM % 2)).$((RANDOM % 1000 + 1000))"
	kill -9 "$daemon"
	wait "$daemon" 2>/dev/null
	kills=$((kills + 1))
	serve
done
vm_ends vm1
vm_verified vm1 3
echo "$kills kills: $(vm_line vm1 'verify ok')"
test "$(stat -c %b "$arena")" -gt 1000 || complain "hardly a page was swapped"
end
finish
