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

# What the next start would refuse, --check-config refuses in the same words
# and with the same status, and neither leaves anything behind.
mkdir empty
echo 'not an arena' >none
: >nothing
# both STATUS SAYS ARGUMENT...
both()
{
	local status=$1 says=$2
	shift 2
	find "$scratch" "$arena_dir" ! -name 'log.*' | sort >there
	for check in --check-config ""; do
		# shellcheck disable=SC2086
		launch "$@" $check
		if serves; then
			complain "tmemd $*: starts"
			end
			continue
		fi
		ends "$status"
		logged "$says"
	done
	find "$scratch" "$arena_dir" ! -name 'log.*' | sort | diff there - >left ||
		complain "tmemd $*: leaves or takes away: $(cat left)"
}
: >left
: >there
both 2 'there is no codec "foo"' --boot tmem_compress=foo
both 2 'level 99' --boot tmem_compress=zstd:99
both 2 'there is no allocator "foo"' --boot tmem_allocator=foo
both 2 'a memory limit of 109951162777600 bytes' --memory 100T
both 2 'a memory limit of 109951162777600 bytes' --memory auto,max=100T
both 2 '"localhost:9100"' --metrics localhost:9100
both 2 'would let nobody in' --peers-max 0
both 2 'exclude each other' --daemon --foreground
both 1 'is not a tmem arena' --memory 64M --arena "$scratch/none"
both 1 'is not a regular file' --memory 64M --arena "$scratch/empty"
both 1 'it is a symbolic link' --memory 64M --arena /proc/self/exe
both 1 'No such file or directory' --memory 64M --arena "$scratch/no/such/arena"
both 1 'is there and is no socket' --socket "$scratch/empty"
both 1 'is there and is no socket' --control "$scratch/none"
both 1 'is there and is no socket' --metrics "$scratch/none"
both 1 'Not a directory' --metrics "$scratch/none/metrics"
disk=name=a,socket=$scratch/vm,kind
both 2 '[disk a]: reservation' --memory 64M \
	--vhost-user-blk "$disk=swap,size=1G,reservation=1T"
both 2 '[disk a]: reservation' --memory auto \
	--vhost-user-blk "$disk=swap,size=1G,reservation=1T"
both 2 '[disk a]: codec = foo: there is no codec' --memory 64M \
	--vhost-user-blk "$disk=swap,size=1G,codec=foo"

# A start does without a disk (tests/vhost/test-disk-refused.sh).
# without SAYS DISK
without()
{
	launch --check-config --memory 64M --vhost-user-blk "$2"
	ends 1
	logged "$1"
}
without "[disk a]: image = $scratch/nowhere: No such file" "$disk=cache,image=$scratch/nowhere"
without "[disk a]: image = $scratch/nothing: it is empty" "$disk=cache,image=$scratch/nothing"
without "[disk a]: backing = $scratch/empty: not a regular" "$disk=swap,size=1G,backing=$scratch/empty"
without "[disk a]: backing = $scratch/no/such: No such" "$disk=swap,size=1G,backing=$scratch/no/such"
printf '[daemon]\nmemory = 1G\n[client web]\nreservation = 2G\n' >bad.conf
both 2 '[client web]: reservation' --config bad.conf
printf '[client a]\nreservation = 40M\n[client b]\nreservation = 40M\n' >bad.conf
both 2 'reservation = 40960 KiB does not fit memory' --memory 64M --config bad.conf
printf '[client web]\ncodec = lz5\n' >bad.conf
both 2 '[client web]: codec = lz5: there is no codec' --config bad.conf
TMEM_SOCKET=here both 2 'TMEM_SOCKET: "here" is not a path' --memory 1M
TMEM_CONTROL=here both 2 'TMEM_CONTROL: "here" is not a path' --memory 1M
launch --memory 64M --plugin-path "$scratch/nowhere" --check-config
ends 0
logged "warning: plugin directory $scratch/nowhere: No such file"
test -e "$scratch/control" && complain "something was made: $(ls -R)"

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

# A path that is mistyped to a daemon that runs stays as it is, too.
tmem disk add "name=x,socket=$scratch/none,kind=swap,size=1M" 2>err &&
	complain "a disk whose socket is a file"
grep -q 'is there and is no socket' err || complain "disk add: $(cat err)"
test -e none.lock && complain "a lock is left beside a path that is a file"

# Whoever runs is not in the way of a question.
launch --memory 64M --check-config
ends 0
daemon=$(cat "$TMEM_SOCKET.lock")
log=log.$((logs - 1))

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
test -e "$TMEM_CONTROL" && complain "the control socket was made"
rm "$TMEM_SOCKET"
echo mine >mistyped
launch --memory 64M --control "$scratch/mistyped"
ends 1
logged "is there and is no socket"
test -e mistyped.lock && complain "a lock is left beside a mistyped path"

# An arena that is none is not touched.
echo 'not an arena, but somebody'"'"'s' >"$arena_dir/other"
cp "$arena_dir/other" before
launch --memory 64M --arena "$arena_dir/other"
ends 1
logged "is not a tmem arena"
cmp -s "$arena_dir/other" before || complain "the file was changed"

# Where pages go to a disk, or do not fit, the first start says so, too.
if test "$(stat -f -c %T "$scratch")" != tmpfs; then
	start --memory 64M --arena "$scratch/on-disk"
	logged "is not on tmpfs"
	end
fi
if test "$(stat -f -c %T "$arena_dir")" = tmpfs; then
	room=$(($(stat -f -c '%b * %S' "$arena_dir") / 1048576))
	start --memory $((room + 64))M --arena "$arena_dir/large"
	logged "its tmpfs holds $room MiB"
	end
	start --memory 64M --arena "$arena_dir/small"
	grep tmpfs "$log" && complain "complains of a tmpfs that is large enough"
	end
fi

# In the background: the caller waits until it serves, and learns if it fails. Its
# files are still where they were.
printf '[client web]\nweight = 3\n' >web.conf
"$abs_top_builddir/tmemd" --config web.conf --memory 64M --daemon ||
	complain "--daemon: status $?"
printf '[client web]\nsocket = %s/web.sock\n' "$scratch" >web.conf
kill -HUP "$(cat "$TMEM_SOCKET.lock")"
for _ in $(seq 600); do
	test -e web.sock && break
	sleep 0.05
done
test -e web.sock || complain "--daemon: does not read its file again"
tmem stats >/dev/null || complain "--daemon: does not answer once it has returned"
"$abs_top_builddir/tmemd" --config empty.conf --memory 64M --daemon 2>/dev/null &&
	complain "--daemon: a second one says that it serves"
kill "$(cat "$TMEM_SOCKET.lock")"
for _ in $(seq 600); do
	test -e "$TMEM_CONTROL" || break
	sleep 0.05
done
test -e "$TMEM_CONTROL" && complain "--daemon: does not end"
finish
