#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# A guest of Xen that is a tree of files: what the agent writes to target_kb, and
# that nothing it reads wrongly makes it write.
. "${abs_top_srcdir:?}/tests/agent/agent_common.sh"
fake_proc proc
fake_xen sys 1048576
fast='--selfballoon-interval 1 --selfballoon-downhysteresis 1'
agent_of()
{
	# shellcheck disable=SC2086
	agent_launch --source meminfo --actuator xen --proc "$scratch/proc" \
		--sys "$scratch/sys" --state "$scratch/state" $fast "$@"
}
target()
{
	cat "$xen/target_kb"
}
current_is()
{
	test "$(value current_bytes)" = "$1"
}
target_is()
{
	test "$(target)" = "$1"
}

# What is committed, what the kernel keeps (248 pages of the first zone, 1800 of
# the second: 8192 KiB), and the 4096 KiB that are no usable memory.
# But the floor: U = max_pfn - reserve = 262144 - 2048 = 1016 MiB, so
# 99 + (1016 - 99) / 32 MiB above the reserve = 131000 KiB.
agent_of
floor=$((8192 + 4 * (99 * 256 + (1016 * 256 - 99 * 256) / 32) + 4096))
# It uses 4096 KiB of its 1048576 more than what is available in it.
used=$((1048576 - 921600))
least=$((used + used / 8 / 4 * 4))
expected=$((floor > least ? floor : least))
within 20 target_is $expected ||
	complain "the target is $(target), not $expected"
test "$(value trusted)" = 1 || complain "not trusted: $(cat state)"

# SIGHUP: a tunable changes, and the guest goes on from where it is.
kill -HUP $agent
agent_says 'was read again'
# The memory that it had is its own again.
agent_ends
target_is 1048576 || complain "ended with the target at $(target)"
test -e state && complain "the state is still there"

# --- readings that cannot be trusted: each of them a guest of the same agent

spoiled=
# spoil NAME FILE SED-SCRIPT: a guest whose FILE is like that.
spoil()
{
	mkdir "$1"
	cp -r proc "$1/proc"
	fake_xen "$1/sys" 1048576
	cp "$1/$2" good
	sed "$3" good >"$1/$2"
	cmp -s good "$1/$2" && complain "$1: nothing was spoiled"
	printf '[balloon %s]\nproc=%s\nsys=%s\n' "$1" "$scratch/$1/proc" \
		"$scratch/$1/sys" >>spoiled.conf
	spoiled="$spoiled $1"
}
xen_files=sys/devices/system/xen_memory/xen_memory0
printf '[balloon]\nsource=meminfo\nactuator=xen\n' >spoiled.conf
printf 'selfballoon-interval=1\nselfballoon-downhysteresis=1\n' >>spoiled.conf
spoil no-committed proc/meminfo '/^Committed_AS/d'
spoil negative proc/meminfo 's/^\(Committed_AS:\).*/\1 -5 kB/'
spoil no-unit proc/meminfo '/^Committed_AS/s/ kB//'
spoil two-totals proc/meminfo 's/^MemTotal.*/&\n&/'
spoil all-available proc/meminfo 's/^\(MemAvailable:\).*/\1 99999999 kB/'
spoil no-memory proc/meminfo 's/^\(MemTotal:\).*/\1 0 kB/'
spoil words proc/meminfo 's/^\(MemTotal:\).*/\1 plenty kB/'
spoil huge proc/meminfo 's/^\(Committed_AS:\).*/\1 99999999999999999999 kB/'
spoil no-zones proc/zoneinfo '1,$d'
spoil half-a-zone proc/zoneinfo '/DMA32/,$s/.*high .*//'
spoil zone-of-words proc/zoneinfo 's/managed .*/managed all/'
spoil no-faults proc/vmstat '/pgmajfault/d'
spoil no-stalls proc/pressure/memory 's/total=/sum=/'
spoil no-current $xen_files/info/current_kb 's/.*/soon/'
agent_launch --config "$scratch/spoiled.conf" --state "$scratch/state"
for name in $spoiled; do
	within 20 is_at_least untrusted_total 3 "$name" ||
		complain "$name: is not looked at"
	test "$(value trusted "$name")" = 0 || complain "$name: is trusted"
	test "$(cat "$name/$xen_files/target_kb")" = 1048576 ||
		complain "$name: ballooned"
	test "$(grep -c "guest=$name .*cannot be trusted" "$agent_log")" = 1 ||
		complain "$name: not said once"
done
agent_ends

# --- in another order, with lines of other kernels

tac proc/meminfo >turned && cp turned proc/meminfo
echo 'Unheard_Of: 17 kB' >>proc/meminfo
rm -r proc/pressure
fake_xen sys 1048576
agent_of
within 20 target_is $expected ||
	complain "in another order the target is $(target), not $expected"

# --- pressure: faster than the interval, and against every tuning

echo 300000 >"$xen/info/current_kb"
put proc/meminfo "$(sed 's/^MemTotal:.*/MemTotal: 295904 kB/
	s/^MemAvailable:.*/MemAvailable: 168928 kB/' proc/meminfo)"
within 20 current_is $((300000 * 1024)) || complain "not seen: $(cat state)"
before=$(target)
put proc/vmstat "$(sed 's/^pgmajfault.*/pgmajfault 9000/' proc/vmstat)"
within 20 is_at_least pressed_total 1 || complain "pressure is not seen"
test "$(target)" -gt $((300000 + (1048576 - 300000) / 3)) ||
	complain "under pressure the target is $(target), it was $before"
agent_ends

# --- who cannot be driven

echo 'control_d' >proc/capabilities
mkdir proc/xen && mv proc/capabilities proc/xen
refused 'this is dom0' --source meminfo --actuator xen \
	--proc "$scratch/proc" --sys "$scratch/sys"
refused 'no guest of Xen' --actuator xen --sys "$scratch"
rm -r proc/xen

# A target that is refused is said once, and tried again.
agent_of
within 20 is_at_least targets_total 1
rm "$xen/target_kb" && mkdir "$xen/target_kb"
put proc/meminfo "$(sed 's/^Committed_AS:.*/Committed_AS: 600000 kB/' proc/meminfo)"
agent_says 'is refused'
within 20 is_at_least refused_total 2 || complain "not tried again"
test "$(grep -c 'is refused' "$agent_log")" = 1 || complain "said more than once"
agent_ends

# Dry: nothing is written anywhere.
rmdir "$xen/target_kb" && echo 77 >"$xen/target_kb"
# shellcheck disable=SC2086
agent_launch --proc "$scratch/proc" --sys "$scratch/sys" $fast
within 20 grep -q '^self: .* MiB (goal .*, floor .*, calm)$' printed ||
	complain "a dry run prints: $(cat printed)"
agent_ends
target_is 77 || complain "a dry run wrote $(target)"
finish
