#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# Where this machine lets us make a control group of version 2 with the memory
# controller: its page cache is taken, and its processes keep what they use.
. "${abs_top_srcdir:?}/tests/agent/agent_common.sh"
mib=1048576

# The folder to make one in, if there is any.
real_parent()
{
	local mount
	for mount in $(sed -n 's/^[^ ]* \([^ ]*\) cgroup2 .*/\1/p' /proc/mounts); do
		if grep -qw memory "$mount/cgroup.subtree_control" 2>/dev/null; then
			echo "$mount"
			return
		fi
	done
}
parent=$(real_parent)
group=$parent/tmem-balloon-$$
if test -z "$parent" || ! mkdir "$group" 2>/dev/null; then
	skip "no cgroup v2 with the memory controller can be made here"
fi
leave()
{
	# shellcheck disable=SC2086
	kill $started 2>/dev/null
	sleep 0.2
	rmdir "$group"
	stop
}
trap leave EXIT
test -e "$group/memory.reclaim" || skip "no memory.reclaim (Linux 5.19)"
truncate -s 400M file || finish
sync file
# 64 MiB of its own, and 400 MiB of clean page cache.
sh -c 'echo $$ >"$1/cgroup.procs"
	cat file file >/dev/null
	exec perl -e "\$x = q(x) x (64 << 20); sleep 600"' - "$group" &
started="$started $!"
is_above()
{
	test "$(cat "$group/memory.current")" -gt "$1"
}
is_below()
{
	! is_above "$1"
}
within 30 is_above $((300 * mib)) || skip "page cache is not charged here"
# shellcheck disable=SC2086
agent_launch --source cgroup --actuator cgroup-reclaim --cgroup "$group" --selfballoon-interval 1 \
	--selfballoon-downhysteresis 1
within 60 is_below $((200 * mib)) ||
	complain "a real group keeps $(cat "$group/memory.current")"
is_above $((64 * mib)) || complain "a real group has lost what it uses"
agent_ends
finish
