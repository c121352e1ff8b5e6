#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# A guest that is destroyed gives its memory back: tmemd's resident memory and
# the blocks of its arena fall soon after the end of its disk (within 2 s, on a
# machine that is idle). Another guest's pages stay.
# TMEM_GUEST_SECONDS: how long each may take.
. "${abs_top_srcdir:?}/tests/vm/vm.sh"
seconds=${TMEM_GUEST_SECONDS:-30}

resident_bytes()
{
	awk '/^VmRSS:/ { print $2 * 1024 }' "/proc/$daemon/status"
}

guest()
{
	# shellcheck disable=SC2046
	vm_start "$1" 128 $(vm_disk "$1.disk") <<END_OF_JOB
swap_on /dev/vda
guest_load $2 $3 0 out wait verify free
END_OF_JOB
}

# shellcheck disable=SC2046
start --memory 512M --arena "$arena" $(swap_disk vm1 512M) $(swap_disk vm2 512M)
guest vm2 32 2
vm_awaits vm2 || finish
arena_before=$(arena_bytes)
resident_before=$(resident_bytes)
guest vm1 256 1
vm_awaits vm1 || finish
arena_full=$(arena_bytes)
resident_full=$(resident_bytes)
echo "arena: $((arena_before >> 20)) MiB, with the guest $((arena_full >> 20));" \
	"resident: $((resident_before >> 20)), with the guest $((resident_full >> 20))"
test "$arena_full" -gt $((arena_before + (32 << 20))) || complain "hardly a page was swapped"

vm_kill vm1
expect 0 disk remove vm1
# A tenth of it may stay: frames that are kept ready, tables.
within "$seconds" is_below \
	$((arena_before + (arena_full - arena_before) / 10)) arena_bytes ||
	complain "the arena still has $(($(arena_bytes) >> 20)) MiB"
within "$seconds" is_below \
	$((resident_before + (resident_full - resident_before) / 10)) \
	resident_bytes ||
	complain "tmemd still has $(($(resident_bytes) >> 20)) MiB resident"
expect 0 list
grep -q vm1 out && complain "vm1 is there still: $(cat out)"
vm_tell vm2
vm_ends vm2
vm_verified vm2 1
end
finish
