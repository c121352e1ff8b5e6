#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# The nbdkit plugin beside nbdkit's own: `null`, which is what NBD costs by
# itself, and `memory allocator=zstd`, which compresses in blocks of 32 KiB.
# Same pages, same program, one run; run by `make bench-nbd`.
#
#	bench-nbd.sh [DUMP]
#
# Without a dump (tmem capture) the pages are those of small processes of our
# own, and of libraries. BENCH_NBD_ROUNDS: how many rounds, 7 by default.
# Status 1: a budget was missed.
set -u
: "${abs_top_builddir:?}" "${abs_top_srcdir:?}"
rounds=${BENCH_NBD_ROUNDS:-7}
plugin=$abs_top_builddir/.libs/nbdkit-tmem-plugin.so
load=$abs_top_builddir/bench/nbd_load
for file in "$plugin" "$load"; do
	test -e "$file" || { echo "$file is not built"; exit 77; }
done
command -v nbdkit >/dev/null || { echo "no nbdkit"; exit 77; }
scratch=$(mktemp -d) || exit 1
servers=()
children=()
trap 'kill "${servers[@]}" "${children[@]}" 2>/dev/null; rm -rf "$scratch"' EXIT

fail()
{
	echo "bench-nbd: $*" >&2
	exit 1
}

# capture MEBIBYTES: what programs have in memory, and what is in libraries.
capture()
{
	local folder="" part=$((${1} / 3))
	for folder in $(perl -e 'print "$_\n" for grep m{^/} && -d, @INC'); do
		break
	done
	for kind in words files; do
		mkfifo "$scratch/stdin.$kind"
		perl "$abs_top_srcdir/examples/process-$kind.pl" \
			"$scratch/ready.$kind" $((part + 8)) "$folder" /usr/share/perl \
			<"$scratch/stdin.$kind" >/dev/null 2>&1 &
		children+=($!)
		exec {keep}>"$scratch/stdin.$kind"
		for _ in $(seq 1200); do
			test -e "$scratch/ready.$kind" && break
			sleep 0.1
		done
		tmem capture --pid "${children[-1]}" --most "${part}M" \
			--output "$scratch/$kind" >/dev/null || return
		cat "$scratch/$kind"
		eval "exec $keep>&-"
	done
	find /usr/lib -name '*.so*' -type f -size +64k 2>/dev/null | sort |
		head -n 200 | tr '\n' '\0' | xargs -0 cat 2>/dev/null |
		head -c "${part}M"
}

# serve NAME ARGUMENT...
serve()
{
	local name=$1
	shift
	nbdkit -f -U "$scratch/$name" -P "$scratch/$name.pid" "$@" \
		2>"$scratch/$name.log" &
	servers+=($!)
	for _ in $(seq 200); do
		test -s "$scratch/$name.pid" && return
		sleep 0.05
	done
	fail "nbdkit $*: $(cat "$scratch/$name.log")"
}

uri()
{
	echo "$1=nbd+unix:///?socket=$scratch/$1"
}

# What a server has in memory that is its own, in KiB.
resident()
{
	awk '/^Anonymous:/ { print $2 }' \
		"/proc/$(cat "$scratch/$1.pid")/smaps_rollup"
}

pages=${1:-$scratch/pages}
if test $# = 0; then
	capture 48 >"$pages" || fail "no pages could be captured"
fi
bytes=$(stat -c %s "$pages")
size=$(((bytes / 65536 + 1) * 65536))
serve null null $size
serve zstd memory $size allocator=zstd
serve tmem "$plugin" size=$size memory=$((size * 2 + (64 << 20))) codec=lz4
serve tmem-zstd "$plugin" size=$size memory=$((size * 2 + (64 << 20))) codec=zstd
zstd_empty=$(resident zstd)
tmem_empty=$(resident tmem-zstd)
"$load" "$pages" "$rounds" "$(uri null)" "$(uri zstd)" "$(uri tmem)" \
	"$(uri tmem-zstd)" >"$scratch/result" || fail "nothing was measured"
zstd_kib=$(($(resident zstd) - zstd_empty))
tmem_kib=$(($(resident tmem-zstd) - tmem_empty))
awk -v zstd_kib="$zstd_kib" -v tmem_kib="$tmem_kib" -v kib=$((bytes >> 10)) '
function least(a, b) { return a < b ? a : b }
function budget(what, value, limit, at_least) {
	met = at_least ? value >= limit : value <= limit
	printf "  %-44s %6.2f  %s %5.2f  %s\n", what, value,
		at_least ? "at least" : "at most ", limit, met ? "met" : "MISSED"
	missed += !met
}
BEGIN {
	printf "%-12s %5s %10s %10s %12s %12s\n", "", "depth", "writes/s",
		"reads/s", "writes:null", "reads:null"
}
{
	name = $1
	sub(/!$/, "", name)
	printf "%-12s %5d %10d %10d %12.2f %12.2f\n", name, $2, $3, $4, $5, $6
	write[name, $2] = $5
	read[name, $2] = $6
}
END {
	printf "\n%d MiB of pages; memory: zstd of nbdkit %d MiB, tmem with zstd %d MiB\n\n",
		kib / 1024, zstd_kib / 1024, tmem_kib / 1024
	for (depth = 1; depth <= 32; depth += 31) {
		z = read["zstd", depth]
		budget("reads, depth " depth ", of null (or 4 x zstd: " \
			sprintf("%.2f", 4 * z) ")", read["tmem", depth],
			least(0.85, 4 * z), 1)
		z = write["zstd", depth]
		budget("writes, depth " depth ", of null (or 8 x zstd: " \
			sprintf("%.2f", 8 * z) ")", write["tmem", depth],
			least(0.55, 8 * z), 1)
	}
	budget("memory with zstd, of nbdkit\047s zstd", tmem_kib / zstd_kib, 1.25, 0)
	exit missed > 0
}' "$scratch/result"
