#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# tmem top: tables, JSON and the screen show what clients do.
. "${abs_top_srcdir:?}/tests/cli/common.sh"
. "$abs_top_srcdir/tests/cli/control.sh"
needs_json
start_host --busy busy idle "$(printf 'esc\033[2Jape\377')"

expect 0 top -b -n 2 -d 0.2
test "$(grep -c '^CLIENT ' out)" = 2 || complain "two samples: $(cat out)"
test "$(grep -c '^esc?\[2Jape?' out)" = 2 || complain "names are cleaned"
grep -q "$(printf '\033')" out && complain "an escape comes through"
# Until its thread had a turn that was long enough: of 300 pages in a row it gets
# some miss.
was_busy()
{
	perl -MJSON::PP -e 'local $/;
		exit !(decode_json(<STDIN>)->{clients}[0]{gets} > 3000)' <out
}
until=$((SECONDS + 60))
while :; do
	expect 0 top --json --count 1 --delay 0.3
	if was_busy || test $failed = 1 || test $SECONDS -ge $until; then
		break
	fi
done
json 'keys_are($j, qw(used_bytes memory_bytes freeable_bytes clients))'
json 'keys_are($j->{clients}[0], qw(name number mem maxmem pages compressed
	ratio puts gets flushes hits evicted refused put-p50 put-p99 get-p50
	get-p99))'
json '$j->{clients}[0]{name} eq "busy" && $j->{clients}[0]{puts} > 0'
json '$j->{clients}[0]{hits} > 0 && $j->{clients}[0]{hits} < 100'
json '$j->{clients}[0]{mem} == 1 << 20 && $j->{clients}[0]{maxmem} == 2 << 20'
json '!defined $j->{clients}[1]{mem}'
json '$j->{clients}[1]{puts} == 0 && !defined $j->{clients}[1]{hits}'
expect 0 top --json --count 1 --delay 0.1 --sort name
json '$j->{clients}[2]{name} eq "idle"'
expect 0 top --json --count 1 --delay 0.1 --sort put-p99
expect 2 top --sort naem
says 'the nearest is "name"'
expect 2 top --delay 0
expect 2 top
says '--batch'

if ! type tmux >/dev/null 2>&1; then
	echo "no tmux (Debian: tmux): the screen is not looked at"
	stop_host
	finish
fi
# screen PATTERN: within 5 seconds the screen shows it.
screen()
{
	local i
	for i in $(seq 600); do
		tmux -S tmux capture-pane -p >shown 2>/dev/null
		grep -q -- "$1" shown && return
		sleep 0.1
	done
	complain "the screen does not show \"$1\": $(cat shown)"
}
trap 'tmux -S tmux kill-server 2>/dev/null; stop' EXIT
TERM=xterm tmux -f /dev/null -S tmux new-session -d -x 100 -y 12 \
	"tmem top -d 0.2 2>top-err; echo ended \$?; cat top-err; sleep 60" 9>&-
if ! tmux -S tmux list-sessions >/dev/null 2>&1 ||
	{ sleep 0.5; tmux -S tmux capture-pane -p | grep -q 'no screen'; }; then
	echo "no screen here: it is not looked at"
	tmux -S tmux kill-server 2>/dev/null
	stop_host
	finish
fi
screen '^busy  *1 .* [1-9][0-9]* '
screen '^tmem top: 3 clients'
tmux -S tmux send-keys n
screen 'by name;'
tmux -S tmux send-keys R
screen 'by name, reversed'
tmux -S tmux send-keys '?'
screen 'sort by maxmem'
tmux -S tmux send-keys x
screen '^CLIENT .* MEM(k) MAXMEM(k)'
# The daemon ends, between two answers or amid one: the terminal is itself again,
# and the reason is readable.
stop_host
screen 'ended 1'
screen 'no daemon at\|hung up before'
finish
