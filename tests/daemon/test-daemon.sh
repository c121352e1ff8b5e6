#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# The daemon starts, says what is wrong, keeps others out, and ends cleanly.
. "${abs_top_srcdir:?}/tests/daemon/daemon_common.sh"

# What is wrong is said before anything is opened, with status 2.
refused()
{
	local says=$1
	shift
	launch "$@"
	ends 2
	logged "$says"
	test -e "$TMEM_SOCKET" && complain "tmemd $*: left a socket"
}
refused 'the nearest is "memory"' --memroy 1G
refused 'cannot read' --config nowhere
refused 'is not a size' --memory lots
printf '[client web]\nwieght = 1\n' >bad.conf
refused 'bad.conf:2: unknown key "wieght"; the nearest is "weight"' --config bad.conf
refused 'tmem_' --boot tmem_compres=on
printf '[boot]\ntmem_dedup = perhaps\n' >bad.conf
refused 'bad.conf:2' --config bad.conf --check-config
printf '[daemon]\nmemory = 64M\n[client web]\nweight = 3\n' >good.conf
launch --config good.conf --check-config
ends 0
test -s "$log" && complain "--check-config says: $(cat "$log")"
"$abs_top_builddir/tmemd" --version | grep -q '^tmemd [0-9]' || complain "--version"

# What the test itself holds open is not the daemon's.
exec 5>held 12>held
start --memory 64M
find "/proc/$daemon/fd" -lname '*/held' | grep -q . &&
	complain "the daemon has what the test holds open"
exec 5>&- 12>&-

# Sockets have the modes that keep others out.
mode()
{
	test "$(stat -c %a "$1")" = "$2" || complain "$1 has mode $(stat -c %a "$1")"
}
mode "$TMEM_SOCKET" 600
mode "$TMEM_CONTROL" 600
mode "$scratch/control" 700

# A second daemon is refused, by socket and by arena, and harms nobody.
first=$daemon
launch --memory 64M
ends 1
logged "another tmemd (process $first) serves"
tmem stats >/dev/null || complain "the first daemon does not answer any more"
daemon=$first
end
test -e "$TMEM_SOCKET" && complain "the socket is left behind"
test -e "$TMEM_CONTROL" && complain "the control socket is left behind"

start --memory 64M --arena "$arena"
first=$daemon
first_log=$log
launch --memory 64M --arena "$arena" --socket "$scratch/s2" --control "$scratch/c2/c"
ends 1
logged "is open already; one process at a time can use it"
daemon=$first
log=$first_log

# Killed, it leaves sockets behind; the next one takes their place.
kill -9 "$daemon"
wait "$daemon" 2>/dev/null
test -e "$TMEM_SOCKET" || complain "this test tests nothing"
start --memory 64M --arena "$arena"
end

# What is in the way and is no socket is left alone.
echo mine >"$TMEM_SOCKET"
launch --memory 64M
ends 1
logged "is there and is no socket"
test "$(cat "$TMEM_SOCKET")" = mine || complain "a file was taken away"
rm "$TMEM_SOCKET"

# An arena that is none is not touched.
echo 'not an arena, but somebody'"'"'s' >"$arena_dir/other"
cp "$arena_dir/other" before
launch --memory 64M --arena "$arena_dir/other"
ends 1
logged "is not a tmem arena"
cmp -s "$arena_dir/other" before || complain "the file was changed"

# In the background: the caller waits until it serves, and learns if it fails.
"$abs_top_builddir/tmemd" --config empty.conf --memory 64M --daemon ||
	complain "--daemon: status $?"
tmem stats >/dev/null || complain "--daemon: does not answer once it has returned"
"$abs_top_builddir/tmemd" --config empty.conf --memory 64M --daemon 2>/dev/null &&
	complain "--daemon: a second one says that it serves"
kill "$(cat "$TMEM_SOCKET.lock")"
for _ in $(seq 100); do
	test -e "$TMEM_CONTROL" || break
	sleep 0.05
done
test -e "$TMEM_CONTROL" && complain "--daemon: does not end"
finish
