#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# What the agent knows of its guests is in tmem top and in the daemon's metrics,
# for as long as the agent runs, and the metrics are OpenMetrics with it.
. "${abs_top_srcdir:?}/tests/agent/agent_common.sh"
. "$abs_top_srcdir/tests/cli/control.sh"
needs_json
needs_curl
export TMEM_BALLOON=$scratch/state
start_host web

fake_proc proc
printf '[balloon]\nproc=%s/proc\n[balloon web]\n[balloon db]\n' "$scratch" >two.conf
expect 0 top --json --count 1 --delay 0.1
json '!exists $j->{balloon}'
expect 0 top -b -n 1 -d 0.1
grep -q GUEST out && complain "guests before there is an agent: $(cat out)"

agent_launch --config "$scratch/two.conf"
within 20 is_at_least current_bytes 1 db || complain "no state: $(cat "$agent_log")"
expect 0 top --json --count 1 --delay 0.1
json '@{$j->{balloon}} == 2 && $j->{balloon}[1]{guest} eq "db"'
json '$j->{balloon}[0]{current_bytes} == 1044480 << 10'
json '$j->{balloon}[0]{max_bytes} == 1 << 30 && $j->{balloon}[0]{trusted}'
expect 0 top -b -n 1 -d 0.1
grep -q '^web *1044480 *1048576 ' out || complain "no guest: $(cat out)"

ask 200 GET /metrics
for name in current_bytes floor_bytes trusted looks_total; do
	grep -q "^tmem_balloon_$name{guest=\"web\"} [1-9]" out ||
		complain "no $name in the metrics"
done
test "$(tail -n 1 out)" = '# EOF' || complain "metrics end with $(tail -n 1 out)"
if python3 -c 'import prometheus_client.openmetrics.parser' 2>/dev/null; then
	python3 -c '
from prometheus_client.openmetrics.parser import text_string_to_metric_families
names = {f.name for f in text_string_to_metric_families(open("out").read())}
assert "tmem_balloon_current_bytes" in names and "tmem_balloon_pressed" in names
' || complain "the metrics are no OpenMetrics"
fi

agent_ends
# A folder that is not there: said once, and only if somebody asked for it.
agent_launch --config "$scratch/two.conf" --state "$scratch/nodir/state"
agent_says "nodir/state cannot be written: No such file"
sleep 2.2
test "$(grep -c 'nodir/state' "$agent_log")" = 1 ||
	complain "said more than once: $(cat "$agent_log")"
agent_ends
TMEM_BALLOON=$scratch/nodir/state agent_launch --config "$scratch/two.conf"
sleep 1.2
# It is heard when it has got as far as that, too.
mkdir nodir
within 30 test -s nodir/state || complain "no state where a folder has come"
agent_ends
grep -q nodir "$agent_log" && complain "the usual place: $(cat "$agent_log")"
# Another state: the new one is there when the old one goes, and both locks are
# as their files.
is_locked()
{
	! flock -n "$1" true
}
# state_is FILE: what two.conf says.
state_is()
{
	sed "2s|.*|state = $scratch/$1|" moved.conf >moved.new &&
		mv moved.new moved.conf
}
sed '1a state = ' two.conf >moved.conf
state_is old
agent_launch --config "$scratch/moved.conf"
within 30 test -s old || complain "old: no state: $(cat "$agent_log")"
state_is new
kill -HUP "$agent"
agent_says 'was read again'
test -s new || complain "new: not written when it is read again"
test -e old && complain "old: still there"
is_locked new.lock || complain "new: not locked"
is_locked old.lock && complain "old: still locked"
test "$(stat -c %a new.lock)" = 600 || complain "new: others may lock it"
# One that another agent has is left to it.
first=$agent first_log=$agent_log
state_is old
agent_launch --config "$scratch/moved.conf"
within 30 test -s old || complain "second: no state: $(cat "$agent_log")"
state_is new
kill -HUP "$agent"
agent_says "/new: another tmem-balloon writes it"
agent_says 'was read again'
test -e old && complain "second: its state is still there"
# Until that has ended, and it is told so.
other=$agent other_log=$agent_log
agent=$first agent_log=$first_log
agent_ends
test -e new && complain "new: left behind"
agent=$other agent_log=$other_log
kill -HUP "$agent"
within 30 test -s new || complain "second: does not take what is free"
agent_ends
test -e new && complain "second: leaves its state behind"
test -e new.lock || complain "second: takes the lock's file away"

test -e state && complain "the agent leaves its state behind"
ask 200 GET /metrics
grep -q tmem_balloon out && complain "metrics of an agent that has ended"
stop_host
finish
