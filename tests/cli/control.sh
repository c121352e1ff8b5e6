# SPDX-License-Identifier: BSD-2-Clause
# Sourced by tests of the control socket, after common.sh: something to control.
# shellcheck shell=bash
host=$abs_top_builddir/tests/daemon/control_host
test -x "$host" || skip "control_host is not built (it needs libmicrohttpd)"
export TMEM_CONTROL=$scratch/control

# start_host ARGUMENT...: serves $TMEM_CONTROL until stop_host.
start_host()
{
	rm -f host-in control
	mkfifo host-in host-out
	"$host" control "$@" <host-in >host-out 2>host-err &
	host_pid=$!
	started="$started $host_pid"
	exec 9>host-in
	read -r line <host-out || { cat host-err; skip "no host"; }
	test "$line" = ready || complain "the host says \"$line\""
	rm -f host-out
}

# It must end by itself, and well: a sanitizer's complaint is its status too.
stop_host()
{
	exec 9>&-
	wait "$host_pid" || complain "the host ends with status $?: $(cat host-err)"
}

needs_curl()
{
	type curl >/dev/null 2>&1 || skip "no curl (Debian: curl)"
}

# ask STATUS METHOD PATH [BODY]: what came is in ./out.
ask()
{
	local want=$1 method=$2 path=$3 got
	shift 3
	called="$method $path $*"
	got=$(curl -sS -o out -w '%{http_code}' --max-time 60 -X "$method" \
		--unix-socket control ${1+--data-binary "$1"} \
		"http://tmem$path" 2>err) ||
		complain "$called: curl: $(cat err)"
	test "$got" = "$want" ||
		complain "$called: status $got instead of $want: $(cat out)"
}

# explains TEXT: the last answer is an error with TEXT in its sentence.
explains()
{
	json 'keys_are($j, "error")'
	sed 's/\\"/"/g' out | grep -qF -- "$1" || complain "$called: does not say \"$1\": $(cat out)"
}
