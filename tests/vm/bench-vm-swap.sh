#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# What a guest's swap costs over tmemd, beside qemu-storage-daemon serving a
# plain file in memory: the same guest, the same pages, in turns. Prints the
# times of each run, the best of both, and what the pages take on the host.
#
#	make bench-vm		[TMEM_BENCH_RUNS=3] [TMEM_GUEST_MIB=512]
#
# Promised: at most 1.1 times the time, and half of the memory. Status 1 if that
# is not so.
. "${abs_top_srcdir:?}/tests/vm/vm.sh"
mib=${TMEM_GUEST_MIB:-512}
runs=${TMEM_BENCH_RUNS:-3}
tmemd_bytes=0 tmemd_ms=0 reference_ms=0 plain_bytes=0

# guest NAME COUNT: a run; sets $ms, and $bytes as COUNT counts them.
guest()
{
	local name=$1 count=$2 empty
	empty=$("$count" "$name")
	# shellcheck disable=SC2046
	vm_start "$name" 192 $(vm_disk "$name.disk") <<END_OF_JOB
swap_on /dev/vda
guest_load $mib 1 0 verify verify change verify out wait
END_OF_JOB
	vm_awaits "$name" || finish
	bytes=$(($("$count" "$name") - empty))
	vm_tell "$name"
	vm_ends "$name"
	vm_verified "$name" 3
	ms=$(($(vm_ms "$name" fill) + $(vm_ms "$name" change) +
		$(vm_ms "$name" verify)))
}

# best OLD NEW: the smaller; 0 is none yet.
best()
{
	if test "$1" = 0 || test "$2" -lt "$1"; then
		echo "$2"
	else
		echo "$1"
	fi
}

printf '%-6s %22s %22s\n' run 'plain file ms' 'tmemd ms'
for run in $(seq "$runs"); do
	reference_start "plain$run" 1G
	guest "plain$run" reference_bytes
	kill "$reference"
	wait "$reference" 2>/dev/null
	rm -f "${arena_dir:?}/plain$run"
	plain_bytes=$bytes
	plain_run_ms=$ms
	reference_ms=$(best "$reference_ms" "$ms")

	# shellcheck disable=SC2046
	start --memory 1G --arena "$arena" $(swap_disk "tmem$run" 1G)
	guest "tmem$run" arena_bytes
	end
	rm -f "$arena"
	tmemd_bytes=$bytes
	tmemd_ms=$(best "$tmemd_ms" "$ms")
	printf '%-6s %22s %22s\n' "$run" "$plain_run_ms" "$ms"
done
printf '%-6s %22s %22s\n' best "$reference_ms" "$tmemd_ms"
printf '%-6s %22s %22s\n' memory "$((plain_bytes >> 20)) MiB" \
	"$((tmemd_bytes >> 20)) MiB"
time_ratio=$((tmemd_ms * 100 / reference_ms))
memory_ratio=$((plain_bytes * 100 / tmemd_bytes))
printf 'time x %d.%02d, memory / %d.%02d (%s)\n' \
	$((time_ratio / 100)) $((time_ratio % 100)) \
	$((memory_ratio / 100)) $((memory_ratio % 100)) "$vm_accel"
test $time_ratio -le 110 || complain "more than 1.1 times the time"
test $memory_ratio -ge 200 || complain "more than half of the memory"
finish
