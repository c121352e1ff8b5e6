# SPDX-License-Identifier: BSD-2-Clause
# Sourced by the tests of tmem-balloon, after which ./ is a scratch folder: an
# agent of the test's own, and trees of files that look like a kernel's.
# shellcheck shell=bash
test -n "${scratch-}" || . "${abs_top_srcdir:?}/tests/cli/common.sh"
agent=
runs=0
# Where it says how its guests are, unless told otherwise: no place that others
# read.
export TMEM_BALLOON=$scratch/default.prom

# agent_launch ARGUMENT...: starts an agent; $agent is its process, $agent_log its
# log, and what it prints is in ./printed.
agent_launch()
{
	: >>empty.conf
	runs=$((runs + 1))
	agent_log=agent.log.$runs
	"$abs_top_builddir/tmem-balloon" --config empty.conf --log-level debug \
		"$@" >printed 2>"$agent_log" </dev/null &
	agent=$!
	started="$started $agent"
}

# agent_says PATTERN: within seconds, its log has such a line.
agent_says()
{
	within 30 grep -q -- "$1" "$agent_log" ||
		complain "the log has no \"$1\": $(tail -n 5 "$agent_log")"
}

# agent_ends [STATUS]: it is told to end, and does with that status.
agent_ends()
{
	local status
	kill "$agent"
	wait "$agent"
	status=$?
	started=${started/ $agent/}
	test $status = "${1:-0}" ||
		complain "ended with $status: $(tail -n 5 "$agent_log")"
	# Sanitizers speak on standard error.
	grep -E 'Sanitizer|runtime error' "$agent_log" && complain "see above"
	agent=
}

# agent_dies: it is killed, and leaves what it did.
agent_dies()
{
	kill -9 "$agent"
	wait "$agent" 2>/dev/null
	started=${started/ $agent/}
}

# refused PATTERN ARGUMENT...: it does not start, and says why.
refused()
{
	local pattern=$1
	shift
	if timeout 20 "$abs_top_builddir/tmem-balloon" --config empty.conf "$@" \
		>/dev/null 2>err; then
		complain "started with $*"
	elif ! grep -q -- "$pattern" err; then
		complain "$*: does not say \"$pattern\" but $(cat err)"
	fi
}

# value METRIC [GUEST]: of ./state, which is its --state.
value()
{
	sed -n "s/^tmem_balloon_$1{guest=\"${2:-self}\"} //p" state 2>/dev/null
}

# is_at_least METRIC NUMBER [GUEST]
is_at_least()
{
	local now
	now=$(value "$1" "${3:-self}")
	test -n "$now" && test "$now" -ge "$2"
}

# fake_proc FOLDER: a guest of 1 GiB, 4 MiB of it the kernel's own, which has
# promised 100 MiB and has 900 to spare. Zone by zone it keeps 8 MiB.
fake_proc()
{
	mkdir -p "$1/pressure"
	cat >"$1/meminfo" <<-END
	MemTotal:        1044480 kB
	MemFree:          600000 kB
	MemAvailable:     921600 kB
	Buffers:           12345 kB
	Cached:           300000 kB
	SwapTotal:             0 kB
	Committed_AS:     102400 kB
	HugePages_Total:       0
	END
	cat >"$1/zoneinfo" <<-END
	Node 0, zone      DMA
	  per-node stats
	      nr_inactive_anon 15365
	  pages free     3840
	        min      10
	        low      13
	        high     16
	        spanned  4095
	        present  3998
	        managed  3840
	        protection: (0, 232, 232, 232)
	  pagesets
	    cpu: 0
	              count:    0
	              high:     999999
	  start_pfn:           1
	Node 0, zone    DMA32
	  pages free     200000
	        min      900
	        low      1300
	        high     1800
	        spanned  258048
	        present  258048
	        managed  257280
	        protection: (0, 0, 0, 0)
	  start_pfn:           4096
	Node 0, zone   Normal
	  pages free     0
	        min      0
	        low      0
	        high     0
	        spanned  0
	        present  0
	        managed  0
	        protection: (0, 0, 0, 0)
	END
	cat >"$1/vmstat" <<-END
	nr_free_pages 150000
	pswpin 0
	pswpout 0
	pgmajfault 5000
	END
	echo 'some avg10=0.00 avg60=0.00 avg300=0.00 total=1000
full avg10=0.00 avg60=0.00 avg300=0.00 total=500' >"$1/pressure/memory"
}

# fake_xen FOLDER KIB: sysfs of a guest of Xen that has so much.
fake_xen()
{
	xen=$1/devices/system/xen_memory/xen_memory0
	mkdir -p "$xen/info"
	echo "$2" >"$xen/target_kb"
	echo "$2" >"$xen/info/current_kb"
}

# put FILE TEXT: in one go, as a kernel's files change.
put()
{
	printf '%s\n' "$2" >"$1.put" && mv "$1.put" "$1"
}
