#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# Control groups that are trees of files: what the agent writes to memory.reclaim
# and memory.high.
. "${abs_top_srcdir:?}/tests/agent/agent_common.sh"
mib=1048576

# fake_cgroup FOLDER: 600 MiB of which 500 are clean page cache.
fake_cgroup()
{
	mkdir "$1"
	echo $((600 * mib)) >"$1/memory.current"
	echo $((1024 * mib)) >"$1/memory.max"
	echo $((1024 * mib)) >"$1/memory.peak"
	echo max >"$1/memory.high"
	echo nothing >"$1/memory.reclaim"
	cat >"$1/memory.stat" <<-END
	anon $((90 * mib))
	file $((510 * mib))
	kernel $((4 * mib))
	shmem $((5 * mib))
	file_mapped $((20 * mib))
	file_dirty $((4 * mib))
	file_writeback $((1 * mib))
	slab_reclaimable 0
	slab 12345
	workingset_refault_anon 0
	pgmajfault 100
	END
	echo 'some avg10=0.00 avg60=0.00 avg300=0.00 total=1000
full avg10=0.00 avg60=0.00 avg300=0.00 total=500' >"$1/memory.pressure"
}
holds()
{
	test "$(cat "$1")" = "$2"
}
fast='--selfballoon-interval 1 --selfballoon-downhysteresis 1'
agent_of()
{
	# shellcheck disable=SC2086
	agent_launch --source cgroup --cgroup "$scratch/group" \
		--state "$scratch/state" $fast "$@"
}

# The floor of 1 GiB is 128 MiB less 96 KiB; what it uses is below.
floor=$((99 * mib + (1024 - 99) * mib / 32 / 4096 * 4096))
fake_cgroup group
agent_of --actuator cgroup-reclaim
within 20 holds group/memory.reclaim $((256 * mib)) ||
	complain "reclaim: asks for $(cat group/memory.reclaim)"
put group/memory.current $((200 * mib))
put group/memory.stat "$(sed "s/^file .*/file $((110 * mib))/" group/memory.stat)"
within 20 holds group/memory.reclaim $((200 * mib - floor)) ||
	complain "reclaim: asks for $(cat group/memory.reclaim) of the rest"
test "$(cat group/memory.high)" = max || complain "reclaim: wrote memory.high"
# At its floor nothing is asked for any more, once it has seen that it is there.
current_is()
{
	test "$(value current_bytes)" = "$1"
}
put group/memory.current $floor
within 20 current_is $floor || complain "reclaim: $(value current_bytes) bytes are not the floor"
put group/memory.reclaim nothing
before=$(value targets_total)
within 20 is_at_least targets_total $((before + 2))
holds group/memory.reclaim nothing || complain "reclaim: below the floor"
agent_ends

# memory.high: the target and an eighth; as it was in the end, whatever it was.
rm -r group && fake_cgroup group
echo $((2048 * mib)) >group/memory.high
agent_of --actuator cgroup-high
high=$((floor / 4096 + floor / 4096 / 8))
within 20 holds group/memory.high $((high * 4096)) ||
	complain "high: $(cat group/memory.high)"
# Its processes wait for memory: it is raised at once.
put group/memory.current $((high * 4096))
put group/memory.stat "$(sed "s/^file .*/file $((20 * mib))/" group/memory.stat)"
within 20 is_at_least current_bytes $((high * 4096))
put group/memory.pressure \
	'some avg10=9.00 avg60=0.00 avg300=0.00 total=9000000'
within 20 is_at_least pressed_total 1 || complain "high: pressure is not seen"
test "$(cat group/memory.high)" -gt $((500 * mib)) ||
	complain "high: under pressure $(cat group/memory.high)"
agent_ends
holds group/memory.high $((2048 * mib)) ||
	complain "high: left at $(cat group/memory.high)"

# An agent that is killed leaves what it did; the next one knows what was before.
for before in max $((2048 * mib)); do
	rm -r group && fake_cgroup group
	echo "$before" >group/memory.high
	agent_of --actuator cgroup-high
	within 20 holds group/memory.high $((high * 4096)) ||
		complain "killed: $(cat group/memory.high)"
	within 20 is_at_least targets_total 1
	agent_dies
	agent_of --actuator cgroup-high
	agent_says 'target '
	agent_ends
	holds group/memory.high "$before" ||
		complain "killed: left at $(cat group/memory.high)"
done

# Even when it ends, or is killed itself, before it has driven.
# This one has written its state, and has not driven.
holds_no_target()
{
	test "$(value targets_total)" = 0
}
rm -r group && fake_cgroup group
agent_of --actuator cgroup-high
within 20 is_at_least targets_total 1
within 20 holds group/memory.high $((high * 4096)) ||
	complain "twice killed: $(cat group/memory.high)"
agent_dies
agent_of --actuator cgroup-high --selfballooning 0
within 20 holds_no_target || complain "twice killed: driven"
agent_dies
touch died
agent_of --actuator cgroup-high --selfballooning 0
within 20 test state -nt died
agent_ends
holds group/memory.high max ||
	complain "twice killed: left at $(cat group/memory.high)"

# Under another name it is the same group: what was before either came is what it
# has in the end.
rm -r group && fake_cgroup group
: >named.conf
agent_of --actuator cgroup-high --config named.conf
for name in a b; do
	within 20 holds group/memory.high $((high * 4096)) ||
		complain "renamed: $(cat group/memory.high)"
	echo "[balloon $name]" >named.conf
	kill -HUP "$agent"
	within 20 is_at_least targets_total 1 $name ||
		complain "renamed: $name is not driven"
done
test "$(value before_bytes b)" = 0 ||
	complain "renamed: had $(value before_bytes b) before"
agent_ends
holds group/memory.high max ||
	complain "renamed: left at $(cat group/memory.high)"

# What one that was killed has left is for its guests alone: the same name, and the
# same group. Two that run at once have a state each, or one of them none.
for group in one other; do
	fake_cgroup $group
done
echo $((2048 * mib)) >one/memory.high
# agent_on GROUP ARGUMENT...: until it is driven.
agent_on()
{
	# shellcheck disable=SC2086
	agent_launch --source cgroup --cgroup "$scratch/$1" \
		--actuator cgroup-high --state "$scratch/state" $fast "${@:2}"
	within 30 holds "$1/memory.high" $((high * 4096)) ||
		complain "$*: $(cat "$1/memory.high")"
}
agent_on one
within 30 is_at_least targets_total 1
first=$agent first_log=$agent_log
agent_on other
agent_says '/state: another tmem-balloon writes it'
agent_ends
holds other/memory.high max ||
	complain "two at once: left at $(cat other/memory.high)"
agent=$first agent_log=$first_log
test "$(value before_bytes)" = $((2048 * mib)) ||
	complain "two at once: the state of the first is gone"
agent_ends
test -e state && complain "two at once: a state is left"

# left_by_killed: the group `one`, as the state says of `self`.
left_by_killed()
{
	agent_on one
	within 30 is_at_least targets_total 1
	agent_dies
	cp state left
}
lost="left at .* MiB by an agent that was killed.*nobody will give that back"
left_by_killed
agent_on other
agent_says "guest=self .*$lost"
agent_says "it had 2048 MiB before"
agent_ends
holds other/memory.high max ||
	complain "another group: left at $(cat other/memory.high)"
echo $((2048 * mib)) >one/memory.high
left_by_killed
echo '[balloon renamed]' >named.conf
agent_on one --config named.conf
agent_says "guest=self .*$lost"
agent_ends
echo $((2048 * mib)) >one/memory.high

# A dry run gives nothing back, and leaves that to who can.
left_by_killed
printf '[balloon]\nactuator = dry-run\n' >dry.conf
dry_run()
{
	rm -f printed
	# shellcheck disable=SC2086
	agent_launch --source cgroup --cgroup "$scratch/one" \
		--state "$scratch/state" $fast "$@"
	within 30 grep -q '^self: ' printed || complain "dry run: prints nothing"
}
is_its_own()
{
	! cmp -s state left
}
restored()
{
	holds one/memory.high $((2048 * mib)) ||
		complain "$*: left at $(cat one/memory.high)"
}
dry_run
agent_says 'this is a dry run'
agent_ends
cmp -s state left || complain "dry run: the state is not as it was left"
# Whether it still runs,
dry_run
agent_says 'this is a dry run'
first=$agent first_log=$agent_log
agent_on one
within 30 is_its_own || complain "beside a dry run: writes no state"
agent_ends
restored "beside a dry run"
agent=$first agent_log=$first_log
agent_ends
# or is none any more.
left_by_killed
dry_run --config dry.conf
agent_says 'this is a dry run'
printf '[balloon]\nactuator = cgroup-high\n' >dry.conf
kill -HUP "$agent"
within 30 is_its_own || complain "dry run no more: writes no state"
agent_ends
restored "dry run no more"
# Itself it leaves nothing that anybody would have to give back.
dry_run
within 30 is_at_least target_bytes 1
agent_dies
agent_on one
within 30 is_at_least before_bytes $((2048 * mib))
grep -q "$lost" "$agent_log" && complain "dry run: $(grep "$lost" "$agent_log")"
agent_ends

# What cannot be read is said.
echo 'something else' >state
agent_on one
agent_says '/state cannot be read'
agent_ends

# Readings that cannot be trusted.
for change in '/^file /d' 's/^pgmajfault.*/pgmajfault many/' 's/^shmem.*/&\n&/'; do
	rm -r group && fake_cgroup group
	put group/memory.stat "$(sed "$change" group/memory.stat)"
	agent_of --actuator cgroup-high
	agent_says 'cannot be trusted'
	within 20 is_at_least untrusted_total 2
	holds group/memory.high max || complain "$change: was driven"
	agent_ends
done
refused 'no folder of cgroup 2' --source cgroup --cgroup "$scratch" \
	--actuator cgroup-high
finish
