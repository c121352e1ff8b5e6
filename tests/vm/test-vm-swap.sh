#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# A guest of 192 MiB fills 512 MiB and twice reads back what it wrote, through a
# swap disk of tmemd; and what the guest frees is free on the host soon after
# (within 10 s, on a machine that is idle).
# TMEM_GUEST_SECONDS: how long that may take.
. "${abs_top_srcdir:?}/tests/vm/vm.sh"
# Builds that are tested in short have less to read back.
mib=${TMEM_GUEST_MIB:-$((${TM_SHORT_CHECK:-0} ? 256 : 512))}

# shellcheck disable=SC2046
start --memory 512M --arena "$arena" $(swap_disk vm1 1G)
empty=$(arena_bytes)
# shellcheck disable=SC2046
vm_start vm1 192 $(vm_disk vm1.disk) <<END_OF_JOB
swap_on /dev/vda
guest_load $mib 1 0 verify verify out wait free wait
END_OF_JOB
vm_awaits vm1 || finish
full=$(($(arena_bytes) - empty))
echo "$mib MiB of the guest's pages take $((full >> 20)) MiB"
test "$full" -gt 0 || complain "nothing was swapped"
test "$full" -lt $((mib << 19)) || complain "that is half of it or more"
vm_tell vm1
vm_says vm1 '^guest-load: free ok'
seconds=${TMEM_GUEST_SECONDS:-60}
within $seconds is_below $((empty + full / 10)) arena_bytes ||
	complain "$seconds s after the guest freed its pages, they take" \
		"$((($(arena_bytes) - empty) >> 20)) MiB"
vm_tell vm1
vm_ends vm1
vm_verified vm1 2
end
finish
