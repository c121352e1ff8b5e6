# SPDX-License-Identifier: BSD-2-Clause
# Sourced by the tests of the daemon, after which ./ is a scratch folder: a
# daemon of the test's own, with sockets and arena of its own.
# shellcheck shell=bash
. "$abs_top_srcdir/tests/cli/common.sh"
test -x "$abs_top_builddir/tmemd" || skip "tmemd is not built: libmicrohttpd"
test_programs=$abs_top_builddir/tests/daemon
export TMEM_SOCKET=$scratch/s TMEM_CONTROL=$scratch/control/c
arena_dir=$(mktemp -d -p /dev/shm 2>/dev/null || mktemp -d)
arena=$arena_dir/arena
unset TMEM_BOOT
daemon=
logs=0

stop_all()
{
	! is_running "$daemon" || kill -9 "$daemon" 2>/dev/null
	rm -rf "$arena_dir"
	stop
}
trap stop_all EXIT

# close_all: all descriptors but the standard ones, of a shell that ends with
# one more command. (Its own are closed by that.)
close_all()
{
	local fd
	for fd in "/proc/$BASHPID/fd"/*; do
		fd=${fd##*/}
		test "$fd" -le 2 || eval "exec $fd>&-"
	done
}

# launch ARGUMENT...: starts a daemon; $daemon is its process, $log its log.
# Of what the test holds open it has the standard output alone: a pipe to a
# client ends when the test closes it.
# Where a file of another machine's would be read, none is.
launch()
{
	: >>empty.conf
	logs=$((logs + 1))
	log=log.$logs
	: >"$log"
	(
		close_all
		exec "$abs_top_builddir/tmemd" --config empty.conf "$@" 2>"$log" </dev/null
	) &
	daemon=$!
}

# serves: waits for what was launched to serve; status 1: it ended.
serves()
{
	local i
	for i in $(seq 600); do
		grep -q 'serving clients' "$log" && return 0
		kill -0 "$daemon" 2>/dev/null || return 1
		sleep 0.05
	done
	return 1
}

# start ARGUMENT...: launch, and it must serve.
start()
{
	launch "$@"
	serves || { complain "tmemd $*: does not serve: $(cat "$log")"; finish; }
}

# ends STATUS: the daemon launched last ends by itself, soon, with that status.
ends()
{
	local i got
	for i in $(seq 1200); do
		is_running "$daemon" || break
		sleep 0.05
	done
	! is_running "$daemon" || kill -9 "$daemon" 2>/dev/null
	wait "$daemon"
	got=$?
	test $got = "$1" || complain "tmemd ended with $got, not $1: $(cat "$log")"
}

# end: asks it to, and it must.
end()
{
	kill -TERM "$daemon"
	ends 0
}

# logged TEXT: the log has it.
logged()
{
	grep -qF -- "$1" "$log" || complain "the log does not say \"$1\": $(cat "$log")"
}
