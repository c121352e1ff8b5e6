#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# Records how a Linux guest uses its memory, for a trace of `tmem sim`:
#
#	record-trace.sh SECONDS [SCALE] >x.trace
#
# as root, within the guest. Every 5 seconds one line: seconds; KiB of
# Committed_AS, of anonymous memory; KiB per second touched of it, and used of
# the page cache. Touched and used are what the kernel marked as referenced since
# the line before (clear_refs, smaps), of all processes but this one, and for the
# page cache what was read from disks. SCALE multiplies all but the seconds: the
# ratio of the memory of the guest that plays it to that of the one that is
# recorded. Needs a shell, awk and sleep: busybox has them.
set -u
seconds=${1:?usage: record-trace.sh SECONDS [SCALE]}
scale=${2:-1}
interval=5

# Referenced KiB: anonymous, and of files. A range that is both is split as its
# memory is, and what several processes have mapped counts once (Pss).
referenced()
{
	for process in /proc/[0-9]*; do
		test "$process" = "/proc/$$" || cat "$process/smaps" 2>/dev/null
	done | awk '
		/^Rss:/ { rss = $2 }
		/^Pss:/ { own = rss ? $2 / rss : 0 }
		/^Referenced:/ { used = $2 }
		/^Anonymous:/ {
			part = rss ? $2 / rss : 0
			anon += used * part * own
			file += used * (1 - part) * own
		}
		END { printf "%d %d", anon, file }'
}

forget()
{
	for process in /proc/[0-9]*; do
		echo 1 2>/dev/null >"$process/clear_refs"
	done 2>/dev/null
}

field()
{
	awk -v name="$1" '$1 == name { print $2 }' "$2"
}

echo "# $(uname -s -r -m), $(field MemTotal: /proc/meminfo) KiB, scaled by $scale"
echo "# s committed_kib anon_kib touched_kib_per_s read_kib_per_s"
t=0
forget
paged_in=$(field pgpgin /proc/vmstat)
while test $t -lt "$seconds"; do
	sleep $interval
	used=$(referenced)
	forget
	now=$(field pgpgin /proc/vmstat)
	echo "$t $(field Committed_AS: /proc/meminfo) $(field AnonPages: /proc/meminfo)" \
		"$used $((now - paged_in))" |
		awk -v s="$scale" -v i=$interval '{
			printf "%d %d %d %d %d\n", $1, s * $2, s * $3, s * $4 / i,
				s * ($5 + $6) / i }'
	paged_in=$now
	t=$((t + interval))
done
