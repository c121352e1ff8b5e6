#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# One agent and two dozen monitors of QEMU, most of which are none: those that
# can be trusted are driven, nobody else gets a target, and nobody keeps the
# agent from the others.
. "${abs_top_srcdir:?}/tests/agent/agent_common.sh"
python=$(command -v python3) || skip "no python3"
{
	echo '[balloon]'
	echo 'source = qmp'
	echo 'actuator = qmp'
	echo 'selfballoon-interval = 1'
	echo 'selfballoon-downhysteresis = 1'
} >all.conf

# monitor NAME MODE [KEY=VALUE...]: a guest with such a monitor.
declare -A process
monitor()
{
	local name=$1
	shift
	"$python" "$abs_top_srcdir/tests/agent/fake_qmp.py" "$scratch/$name" \
		"$@" >"$name.said" 2>"$name.err" &
	process[$name]=$!
	started="$started $!"
	grep -q "\[balloon $name\]" all.conf ||
		printf '[balloon %s]\nqmp = %s\n' "$name" "$scratch/$name" \
			>>all.conf
}
targets()
{
	grep -c '^target' "$1.said"
}
last_target()
{
	sed -n 's/^target //p' "$1.said" | tail -n 1
}
target_is()
{
	test "$(last_target "$1")" = "$2"
}

good='good half hang-up'
untrusted='mute deaf chatter no-json no-qmp other-id unasked no-reply deep
	stale unset liar words negative no-balloon no-stats no-size no-base'
others='refuses stalls press plugs'
for mode in $good $untrusted $others; do
	monitor "$mode" "$mode"
done
monitor large good max_mib=65536 used_mib=3000
monitor full good used_mib=1000
# Only what its processes use counts a quarter more.
monitor cached good used_mib=400 caches=1
# Nobody listens there yet.
printf '[balloon late]\nqmp = %s/late\n' "$scratch" >>all.conf
for mode in $good $untrusted $others; do
	within 30 test -S "$mode" || skip "python3 serves no socket: $(cat "$mode.err")"
done
agent_launch --config "$scratch/all.conf" --state "$scratch/state"

# 1 GiB that uses 100 MiB: 100 and a quarter is below the floor of 128 MiB less
# 96 KiB, as the law has it.
floor=$((99 * 1048576 + (1024 - 99) * 1048576 / 32 / 4096 * 4096))
for name in $good; do
	within 90 target_is "$name" $floor ||
		complain "$name: the last target is $(last_target "$name")"
	within 20 is_at_least current_bytes $floor "$name"
done
within 90 target_is large $((3750 * 1048576)) ||
	complain "large: $(last_target large)"
within 90 target_is cached $((400 * 1048576 + 350 * 262144)) ||
	complain "cached: $(last_target cached)"
# What uses nearly everything keeps it.
within 20 is_at_least trusted 1 full
test "$(targets full)" = 0 || within 5 target_is full $((1024 * 1048576)) ||
	complain "full: $(last_target full)"
# Memory that was plugged is the guest's as well.
plugged_floor=$((99 * 1048576 + (2048 - 99) * 1048576 / 32 / 4096 * 4096))
within 60 target_is plugs $plugged_floor ||
	complain "plugs: $(last_target plugs)"
# Who is not there is tried again.
test "$(value trusted late)" = 0 || complain "late: trusted"
monitor late good
within 60 target_is late $floor || complain "late: is not driven"

# Shrinking stops when statistics do; what there was stays. At the first look they
# are not renewed yet either.
has_stalled()
{
	test "$(grep -c 'guest=stalls .*not renewed' "$agent_log")" -ge 2
}
within 90 has_stalled || complain "stalls: its statistics are believed"
before=$(targets stalls)
test "$before" -ge 1 || complain "stalls: was never driven"

# The target is refused: said once, with what it said on one line.
within 20 is_at_least refused_total 2 refuses || complain "refuses: not tried"
test "$(grep -c 'guest=refuses .*is refused: not.x0atoday' "$agent_log")" = 1 ||
	complain "refuses: $(grep guest=refuses "$agent_log")"

# Pressure: half of what is lacking, then all.
within 30 is_at_least pressed_total 3 press || complain "press: not seen"
within 20 target_is press $((1024 * 1048576)) || within 20 is_at_least \
	current_bytes $((1000 * 1048576)) press ||
	complain "press: the last target is $(last_target press)"

for name in $untrusted; do
	within 20 is_at_least untrusted_total 1 "$name" ||
		complain "$name: was not looked at"
	test "$(value trusted "$name")" = 0 || complain "$name: is trusted"
	test "$(targets "$name")" = 0 || complain "$name: was given targets"
done
# Every one of those that hung up came back.
came_back()
{
	test "$(grep -c connected hang-up.said)" -gt 1
}
within 30 came_back || complain "hang-up: stays away"
test "$(targets stalls)" -le $((before + 1)) ||
	complain "stalls: is driven without statistics"

# A guest whose QEMU is started again begins anew.
kill "${process[late]}"
within 20 grep -q 'guest=late .*hung up' "$agent_log" || complain "late: not missed"
monitor late good used_mib=200
within 60 target_is late $((250 * 1048576)) ||
	complain "late: started again, has $(last_target late)"

# A guest leaves the configuration: it gets its memory back, others go on.
sed '/\[balloon large\]/,+1d' all.conf >less.conf && mv less.conf all.conf
kill -HUP $agent
agent_says 'was read again'
# What is wrong changes nothing.
echo 'nonsense' >>all.conf
kill -HUP $agent
agent_says 'stays as it was'
test "$(value trusted good)" = 1 || complain "good: lost by a reload"

# Ended, everybody who was driven has everything again.
agent_ends
for name in good half late; do
	within 20 target_is "$name" $((1024 * 1048576)) ||
		complain "$name: left with $(last_target "$name")"
done
within 20 target_is plugs $((2048 * 1048576)) ||
	complain "plugs: left with $(last_target plugs)"

# Giving back is carried through: a command that is under way is waited for, and
# nothing is taken again meanwhile, in whatever way the guest fares.
all=$((1024 * 1048576))
alone()
{
	sed '/^\[balloon ./,$d' all.conf
	printf '[balloon %s]\nqmp=%s/%s\n' "$1" "$scratch" "$2"
	# So slowly that it is not short at once.
	echo 'selfballoon-downhysteresis = 8'
}
# held NAME: a guest that was driven, and whose monitor does not answer now.
held()
{
	monitor "$1" holds
	within 30 test -S "$1"
	alone "$1" "$1" >one.conf
	agent_launch --config "$scratch/one.conf" --state "$scratch/state"
	within 60 grep -q holds "$1.said" || complain "$1: is not driven"
}
held gone
alone here good >one.conf
kill -HUP "$agent"
agent_says 'was read again'
touch gone.go
within 30 grep -q closed gone.said && within 20 target_is gone $all ||
	complain "gone: left with $(last_target gone)"
within 20 is_at_least looks_total 1 here
test -z "$(value looks_total gone)" || complain "gone: still there"
# The same monitor, for a guest of another name.
within 60 is_at_least targets_total 2 here || complain "here: is not driven"
alone there good >one.conf
kill -HUP "$agent"
within 60 is_at_least targets_total 1 there || complain "there: is not driven"
agent_ends
within 20 target_is good $all || complain "there: left with $(last_target good)"

held ended
{ sleep 0.2 && touch ended.go; } &
agent_ends
within 20 target_is ended $all || complain "ended: left with $(last_target ended)"

# But not for ever.
held never
agent_ends
grep -q 'guest=never .*could not be given back' "$agent_log" ||
	complain "never: nobody says that it was left small"

# Who follows an agent that was killed, and ends before it has looked, gives back
# what the other one took.
monitor left good
within 30 test -S left
alone left left >one.conf
agent_launch --config "$scratch/one.conf" --state "$scratch/state"
within 60 is_at_least targets_total 2 left || complain "left: is not driven"
agent_dies
agent_launch --config "$scratch/one.conf" --state "$scratch/state"
connected_again()
{
	test "$(grep -c connected left.said)" = 2
}
within 30 connected_again
agent_ends
within 20 target_is left $all || complain "left: left with $(last_target left)"
finish
