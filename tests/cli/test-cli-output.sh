#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# What is printed arrives, or the status says that it did not: on a full disk
# with one line about it, before a reader that has gone without one.
. "${abs_top_srcdir:?}/tests/cli/common.sh"
. "$abs_top_srcdir/tests/cli/control.sh"
test -c /dev/full || skip "no /dev/full"
start_host web
make_dump 20 >dump

# full PROGRAM ARGUMENT...: its standard output is a full disk.
full()
{
	called="$* >/dev/full"
	"$@" >/dev/full 2>err </dev/null
	got=$?
	test $got = 1 || complain "$called: status $got instead of 1"
	says "${1##*/}: standard output cannot be written"
}

for option in --help --version; do
	full tmem $option
	full "$abs_top_builddir/tmem-balloon" $option
	if test -x "$abs_top_builddir/tmemd"; then
		full "$abs_top_builddir/tmemd" $option
	fi
done
full tmem list --help
full tmem plugins
full tmem list
grep -q "No space left on device" err || complain "no reason: $(cat err)"
full tmem list --raw
full tmem stats --json
full tmem freeable
full tmem top --batch --count 1 --delay 0.1
full tmem estimate --pages dump --codec none --json
# What was wrong before stays what it was.
tmem list nobody >/dev/full 2>err
test $? = 1 || complain "list nobody: another status"
says 'no client "nobody"'

# Nobody reads; the signal of it is ignored, as some callers have it.
mkfifo gone
for verb in plugins "top --batch --count 2 --delay 0.1"; do
	# shellcheck disable=SC2086
	(trap '' PIPE; exec 8<>gone; exec 9>gone 8>&-; exec tmem $verb >&9) 2>err
	got=$?
	test $got = 1 || complain "$verb, nobody reads: status $got"
	test -s err && complain "$verb, nobody reads: says \"$(cat err)\""
done
# Closed from the beginning: what has nothing to say does not mind.
tmem freeze web >&- 2>err || complain "freeze without an output: $(cat err)"
tmem list >&- 2>err && complain "list without an output works"
stop_host
finish
