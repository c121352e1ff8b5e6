# SPDX-License-Identifier: BSD-2-Clause
# Sourced by the tests of the nbdkit plugin, after which ./ is a scratch folder:
# servers of the test's own, on sockets of its own.
# shellcheck shell=bash
. "$abs_top_srcdir/tests/cli/common.sh"
# Not while it is installed, which takes it away for a moment.
exec 9<"$abs_top_builddir/config.status"
flock -s 9
plugin=${TM_NBDKIT_PLUGIN:-$abs_top_builddir/.libs/nbdkit-tmem-plugin.so}
test -e "$plugin" ||
	skip "the nbdkit plugin is not built (Debian: nbdkit-plugin-dev)"
command -v nbdkit >/dev/null || skip "no nbdkit (Debian: nbdkit)"

# nbdkit itself is not instrumented: the runtime goes in before the plugin. With
# it nbdkit may hang when it exits after any strerror(), in the destructor of
# another library, with any plugin: see end_of.
preload=
case ${TM_SANITIZERS:-no} in
*thread*) skip "nbdkit is not built with ThreadSanitizer" ;;
*address*)
	preload=$($CC -print-file-name=libasan.so)
	case $preload in
	/*) ;;
	*) skip "$CC has no shared AddressSanitizer to load into nbdkit" ;;
	esac
	# What nbdkit and its libraries leave is theirs.
	ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0
	export ASAN_OPTIONS
esac

# want PROGRAM PACKAGE: or the test is skipped.
want()
{
	command -v "$1" >/dev/null || skip "no $1 (Debian: $2)"
}

# want_python: $python has the module nbd.
want_python()
{
	for python in python3 /usr/bin/python3; do
		"$python" -c 'import nbd' 2>/dev/null && return
	done
	skip "no Python with the module nbd (Debian: python3-libnbd)"
}

# plain_nbdkit ARGUMENT...: in the foreground, with the runtime it may need.
plain_nbdkit()
{
	LD_PRELOAD=$preload nbdkit "$@"
}

# end_of PROCESS COMMAND...: waits for an nbdkit to end, and answers its status.
# Where it may hang as it exits it is killed some seconds after COMMAND succeeds:
# by then it has done all that is the plugin's.
end_of()
{
	local process=$1 looks=1200
	shift
	while is_running "$process" && test $looks -gt 0; do
		if test -n "$preload" -a $looks -gt 100 && "$@"; then
			looks=100
		fi
		looks=$((looks - 1))
		sleep 0.05
	done
	! is_running "$process" || kill -9 "$process" 2>/dev/null
	wait "$process" 2>/dev/null
}

# has_unloaded PROCESS: the plugin is no longer in it.
has_unloaded()
{
	! grep -qF "${plugin##*/}" "/proc/$1/maps" 2>/dev/null
}

# refused TEXT ARGUMENT...: nbdkit does not start, and says TEXT.
refused()
{
	local text=$1 status
	shift
	LD_PRELOAD=$preload nbdkit -f -U "$scratch/never" "$plugin" "$@" \
		>out 2>err </dev/null &
	started="$started $!"
	end_of $! grep -qF -- "$text" err
	status=$?
	called="nbdkit tmem $*"
	test $status = 1 -o "${preload:+$status}" = 137 ||
		complain "$called: status $status: $(cat err)"
	grep -qF -- "$text" err ||
		complain "$called: does not say \"$text\": $(cat err)"
	test "$(grep -vc 'warning:' err)" = 1 ||
		complain "$called: not one line: $(cat err)"
}

# serve ARGUMENT...: a server of the plugin; $server is its process, $uri where
# it listens, $log what it says. Options of nbdkit go to $nbdkit_options.
servers=0
nbdkit_options=()
serve()
{
	local i
	servers=$((servers + 1))
	socket=$scratch/nbd.$servers
	uri="nbd+unix:///?socket=$socket"
	log=$scratch/nbd-log.$servers
	LD_PRELOAD=$preload nbdkit -f -U "$socket" -P "$socket.pid" \
		"${nbdkit_options[@]}" "$plugin" "$@" >"$log" 2>&1 </dev/null &
	server=$!
	started="$started $server"
	for i in $(seq 600); do
		test -s "$socket.pid" && break
		kill -0 "$server" 2>/dev/null || break
		sleep 0.05
	done
	# It writes that before it opens the disk, and answers afterwards.
	! command -v nbdinfo >/dev/null ||
		timeout 60 nbdinfo --size "$uri" >/dev/null 2>&1
	kill -0 "$server" 2>/dev/null && test -s "$socket.pid" && return 0
	complain "nbdkit tmem $*: does not serve: $(cat "$log")"
	finish
}

# leave: the server ends when it is asked to, with nothing amiss.
leave()
{
	local status
	kill "$server"
	end_of "$server" has_unloaded "$server"
	status=$?
	test $status = 0 -o "${preload:+$status}" = 137 || complain "nbdkit ended with $status: $(cat "$log")"
	grep -E 'Sanitizer|runtime error' "$log" && complain "$(cat "$log")"
}

# is_said TEXT: the server's log has it.
is_said()
{
	grep -qF -- "$1" "$log" ||
		complain "the server does not say \"$1\": $(cat "$log")"
}

# must COMMAND...: which succeeds; its output is in ./out.
must()
{
	"$@" >out 2>&1 </dev/null || complain "$*: status $?: $(cat out)"
}

# Real pages: $1 MiB of the machine's own libraries, at most.
real_pages()
{
	find /usr/lib /lib -type f -name '*.so*' -size +64k 2>/dev/null |
		sort | head -n 400 | tr '\n' '\0' | xargs -0 cat 2>/dev/null |
		head -c "${1}M"
}
