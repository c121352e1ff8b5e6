#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# Two real guests share a host that is too small for them:
#
#	demo-vm.sh [BUILD-FOLDER]
#
# Starts tmemd, boots two Linux guests that each work on three times the memory
# they have, shows how that goes (tmem top on a terminal, else a line a second),
# and ends with a table of what was saved and verified. Status 77, after a line
# that says why, where guests cannot be run. Everything it starts ends with it; nothing is left behind.
top=$(cd "$(dirname "$0")/../.." && pwd)
export abs_top_srcdir=$top abs_top_builddir=${1:-$top/build}
export PATH=$abs_top_builddir:$PATH
. "$top/tests/harness/env.sh"
. "$top/tests/vm/vm.sh"
guest_mib=160
work_mib=480
peak_pages=0 peak_bytes=0 peak_same=0

# count FIELD: of the answer in ./stats, whose lines have one field each.
count()
{
	sed -n "s/^ *\"$1\": \([0-9]*\).*/\1/p" stats | head -n 1
}

mib()
{
	echo $((($1 + (1 << 19)) >> 20))
}

# A ratio, to one place.
ratio()
{
	local tenths
	test "$2" -gt 0 || { echo -; return; }
	tenths=$((($1 * 10 + $2 / 2) / $2))
	echo $((tenths / 10)).$((tenths % 10))
}

# What a guest does now.
doing()
{
	local verified
	verified=$(grep -c '^guest-load: verify ok' "$1.console")
	if grep -q '^guest: ends' "$1.console"; then
		echo "off"
	elif grep -q '^guest-load: .* wrong' "$1.console"; then
		echo "READS WRONG PAGES"
	elif grep -q '^guest-load: free ok' "$1.console"; then
		echo "has freed all"
	elif test "$verified" -ge 2; then
		echo "frees it"
	elif grep -q '^guest-load: fill ok' "$1.console"; then
		echo "reads again, $((verified + 1)) of 2"
	elif grep -q '^guest: up' "$1.console"; then
		echo "fills its memory"
	else
		echo "boots"
	fi
}

guest()
{
	# shellcheck disable=SC2046
	vm_start "$1" $guest_mib $(vm_disk "$1.disk") <<END_OF_JOB
swap_on /dev/vda
guest_load $work_mib $2 0 verify verify free
# Linux tells the disk what is free when it gets round to it.
sleep 3
END_OF_JOB
}

line()
{
	local pages bytes
	tmem stats --json >stats 2>/dev/null || return 0
	pages=$(count pages)
	bytes=$(arena_bytes)
	if test "$pages" -gt $peak_pages; then
		peak_pages=$pages
		peak_same=$(count same_filled)
		peak_bytes=$bytes
	fi
	printf '%5s  %-20s %-20s %8s MiB %7s MiB %6s\n' \
		$((SECONDS - began)) "$(doing one)" "$(doing two)" \
		$((pages >> 8)) "$(mib "$bytes")" \
		"$(ratio $((pages * 4096)) "$bytes")"
}

are_running()
{
	kill -0 "${vm_process[one]}" 2>/dev/null ||
		kill -0 "${vm_process[two]}" 2>/dev/null
}

# On a screen: tmem top, until the guests have ended or somebody types q.
watch_screen()
{
	local top
	# The shell would give it no terminal.
	exec 4<&0
	tmem top --delay 1 <&4 &
	top=$!
	started="$started $top"
	while are_running && kill -0 $top 2>/dev/null; do
		line >/dev/null
		sleep 1
	done
	kill $top 2>/dev/null
	wait $top 2>/dev/null
	started=${started/ $top/}
}

watch_lines()
{
	printf '%5s  %-20s %-20s %12s %11s %6s\n' \
		s "guest one" "guest two" "swapped" "on host" ratio
	while are_running; do
		line
		test $((SECONDS - began)) -lt 600 ||
			{ complain "the guests do not end"; finish; }
		sleep 1
	done
	line
}

row()
{
	printf '    %-44s %s\n' "$1" "$2"
}

table()
{
	local pages=0
	for name in one two; do
		pages=$((pages + $(grep -c '^guest-load: verify ok' "$name.console") *
			work_mib * 256))
	done
	echo
	row "memory that the guests have" "2 x $guest_mib MiB"
	row "memory that they worked on" "2 x $work_mib MiB"
	row "of it with tmemd, at most" \
		"$((peak_pages >> 8)) MiB, $peak_pages pages, $peak_same same-filled"
	row "for which the host gave" \
		"$(mib "$peak_bytes") MiB, tables included"
	row "saved" "$(((peak_pages >> 8) - $(mib "$peak_bytes"))) MiB, a ratio of $(
		ratio $((peak_pages * 4096)) "$peak_bytes")"
	row "left with tmemd after the guests freed theirs" \
		"$(mib "$(arena_bytes)") MiB"
	row "pages read back and compared by the guests" "$pages"
	row "errors in the guests' logs" "$(($(errors one) + $(errors two)))"
}

errors()
{
	vm_line "$1" '^guest: errors' | tr -dc 0-9
}

case $vm_accel in
*tcg*)
	echo "KVM cannot be used here: the guests are emulated, many times slower;"
	echo "this takes a minute or two."
	;;
esac
# shellcheck disable=SC2046
start --memory 768M --arena "$arena" $(swap_disk one 1G) $(swap_disk two 1G)
began=$SECONDS
guest one 1
guest two 2
if test -t 0 && test -t 1 && test "${TERM:-dumb}" != dumb; then
	watch_screen
fi
watch_lines
vm_ends one
vm_ends two
vm_verified one 2
vm_verified two 2
test $failed = 0 || finish
table
end
finish
