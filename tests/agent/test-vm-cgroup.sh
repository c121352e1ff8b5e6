#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# The agent inside a real guest, whatever the host has: a control group of
# version 2 loses its page cache and keeps what it uses, by memory.reclaim and by
# memory.high, which is as it was afterwards; and the guest's own proc is a
# reading that can be trusted.
. "${abs_top_srcdir:?}/tests/vm/vm.sh"
program=$abs_top_builddir/tmem-balloon

# The guest's archive, and the agent with its libraries behind it.
mkdir -p with/bin guest
cp "$program" with/bin/
for library in $(ldd "$program" | grep -o '/[^ ]*'); do
	mkdir -p "with$(dirname "$library")"
	cp "$library" "with$library"
done
ln -s "$(readlink -f "$vm_folder/kernel")" guest/kernel
(cat "$vm_folder/initramfs" &&
	cd with && find . | cpio --quiet -o -H newc -R 0:0) >guest/initramfs
vm_folder=$scratch/guest

truncate -s 512M disk
vm_start inside 512 -drive file=disk,format=raw,if=none,id=disk,cache=unsafe \
	-device virtio-blk-pci,drive=disk <<'END_OF_JOB'
mkdir /group
mount -t cgroup2 none /group && echo +memory >/group/cgroup.subtree_control
swap_on /dev/vda
fast='--selfballoon-interval 1 --selfballoon-downhysteresis 2'

# group NAME: 200 MiB of page cache, and 48 MiB that a program uses.
group()
{
	mkdir /group/$1
	( echo 0 >/group/$1/cgroup.procs
	dd if=/dev/vda of=/dev/null bs=1M count=200 2>/dev/null
	exec guest_load 48 1 0 wait verify </fifo >/dev/console ) &
	for _ in $(seq 200); do
		test $(cat /group/$1/memory.current) -lt 251658240 || break
		sleep 0.2
	done
	say "$1 begins with $(cat /group/$1/memory.current)"
}
# drive NAME ACTUATOR: until it has less than 100 MiB, or a minute has gone by.
drive()
{
	tmem-balloon --source cgroup --cgroup /group/$1 --actuator $2 $fast &
	for _ in $(seq 120); do
		test $(cat /group/$1/memory.current) -gt 104857600 || break
		sleep 0.5
	done
	say "$1 has $(cat /group/$1/memory.current)"
	say "$1 high $(cat /group/$1/memory.high)"
	kill $! && wait $!
	say "$1 status $?"
	say "$1 leaves $(cat /group/$1/memory.high)"
}
mkfifo /fifo
exec 8<>/fifo
group a
drive a cgroup-reclaim
echo 3 >/proc/sys/vm/drop_caches
group b
echo 400M >/group/b/memory.high
drive b cgroup-high
echo >&8
echo >&8
wait_for_loads()
{
	for _ in $(seq 100); do
		test -n "$(pidof guest_load)" || return
		sleep 0.2
	done
}
wait_for_loads
tmem-balloon --selfballoon-interval 1 >/printed &
for _ in $(seq 120); do
	test -s /printed && break
	sleep 0.5
done
kill $! && wait $!
say "dry: $(tail -n 1 /printed)"
END_OF_JOB
vm_ends inside

# number PATTERN: what follows it.
number()
{
	vm_line inside "^guest: $1" | sed "s/^guest: $1 *//; s/ .*//"
}
for name in a b; do
	echo "$name: $(($(number "$name begins with") >> 20)) ->" \
		"$(($(number "$name has") >> 20)) MiB"
	test "$(number "$name begins with")" -gt $((200 << 20)) ||
		complain "$name: had no page cache to lose"
	test "$(number "$name has")" -lt $((100 << 20)) ||
		complain "$name: keeps $(number "$name has") bytes"
	test "$(number "$name has")" -gt $((48 << 20)) ||
		complain "$name: has lost what it uses"
	test "$(number "$name status")" = 0 || complain "$name: the agent's status"
done
test "$(number 'a high')" = max || complain "a: memory.high was written"
test "$(number 'b high')" -lt $((120 << 20)) || complain "b: is not held"
test "$(number 'b leaves')" = $((400 << 20)) ||
	complain "b: memory.high is left at $(number 'b leaves')"
vm_verified inside 2
vm_line inside '^guest: dry: self: .* MiB (goal .*, floor .*)' | grep . ||
	complain "dry run: $(vm_tail inside)"
finish
