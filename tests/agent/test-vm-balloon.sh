#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# Two guests of 1 GiB, whose memory is full of page cache, and then idle. One is
# driven by the agent, with the usual tunables; the other one is only looked at.
# Within three minutes the first has less than a quarter, and the host has what
# it gave up; the second one has everything. Then a program in the first takes
# most of it back and finds in it what it wrote, and nothing is killed.
. "${abs_top_srcdir:?}/tests/vm/vm.sh"
. "${abs_top_srcdir:?}/tests/agent/agent_common.sh"
# Where tmem top looks.
export TMEM_BALLOON=$scratch/state
mib=1048576
cache_mib=500
program_mib=700
seconds=180

# Swap, which they need: on tmemd, where that has disks for guests. disk NAME
# prints arguments for QEMU.
if "$abs_top_builddir/tmemd" --help | grep -q vhost-user-blk; then
	# shellcheck disable=SC2046
	start --memory 1G $(swap_disk driven 1G) $(swap_disk left 1G)
	disk()
	{
		vm_disk "$1.disk"
	}
else
	start --memory 1G
	disk()
	{
		truncate -s 1G "$1.swap"
		echo "-drive file=$1.swap,format=raw,if=none,id=swap,cache=unsafe" \
			"-device virtio-blk-pci,drive=swap"
	}
fi

# guest NAME: reads its disk, which swap keeps open, so that what was read stays;
# says each five seconds what it has.
guest()
{
	# shellcheck disable=SC2046
	vm_start "$1" 1024 $(disk "$1") -device virtio-balloon-pci,id=b \
		-qmp "unix:$scratch/$1.qmp,server=on,wait=off" <<END_OF_JOB
swap_on /dev/vda
dd if=/dev/vda of=/dev/null bs=1M count=$cache_mib 2>/dev/null
( while :; do
	say "free -m: \$(free -m | sed -n 's/^Mem: *//p')"
	sleep 5
done ) &
await
guest_load $program_mib 1 0 verify free
await
END_OF_JOB
}
guest driven
guest left
vm_awaits driven && vm_awaits left || finish

printf '[balloon]\nsource=qmp\n' >agent.conf
printf '[balloon driven]\nactuator=qmp\nqmp=%s/driven.qmp\n' "$scratch" >>agent.conf
printf '[balloon left]\nactuator=dry-run\nqmp=%s/left.qmp\n' "$scratch" >>agent.conf
agent_launch --config "$scratch/agent.conf" --state "$scratch/state"
within 60 is_at_least trusted 1 driven && within 60 is_at_least trusted 1 left ||
	{ complain "no statistics: $(tail "$agent_log")"; finish; }

# host_mib NAME: what the guest takes of the host's memory.
host_mib()
{
	awk '/^Rss:/ { kib = $2 } END { print int(kib / 1024) }' \
		"/proc/${vm_process[$1]}/smaps_rollup"
}
is_small()
{
	local now
	now=$(value current_bytes driven)
	test -n "$now" && test "$now" -lt $((256 * mib))
}
show()
{
	echo "--- $1"
	for name in driven left; do
		echo "$name: has $(($(value current_bytes $name) / mib)) MiB," \
			"takes $(host_mib $name) MiB of the host's"
		vm_line $name '^guest: free -m:'
	done
	"$abs_top_builddir/tmem" top -b -n 1 -d 1 2>/dev/null
}
host_before=$(host_mib driven)
show 'before'
since=$SECONDS
within $seconds is_small ||
	complain "after $seconds s it has $(value current_bytes driven) bytes"
show "idle, after $((SECONDS - since)) s"
vm_says driven '^guest: free -m:'
cached=$(vm_line driven '^guest: free -m:' | awk '{ print $8 }')
test "$cached" -ge 20 || complain "of its page cache $cached MiB are left"
test "$(host_mib driven)" -lt $((host_before - cache_mib / 2)) ||
	complain "the host has nothing of it: $host_before MiB before," \
		"$(host_mib driven) now"
test "$(value current_bytes left)" = $((1024 * mib)) ||
	complain "without the agent: $(value current_bytes left)"
test "$(value pressed_total driven)" = 0 ||
	complain "it was short on the way: $(grep short "$agent_log")"

vm_tell driven
vm_says driven '^guest-load: free ok' 120 || complain "$(tail "$agent_log")"
show 'a program has had most of it'
vm_verified driven 1
vm_tell driven
# It says, before it ends, what its kernel killed.
agent_ends
vm_ends driven
grep -i 'out of memory' driven.console && complain "something was killed"
vm_kill left
kill -9 "$daemon"
wait "$daemon" 2>/dev/null
finish
