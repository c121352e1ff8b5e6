#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# Every attack of vhost-user-hostile is survived by a door, which then lets its
# descriptors and its memory go.
. "${abs_top_srcdir:?}/tests/cli/common.sh"
programs=$abs_top_builddir/tests/vhost
hostile=$programs/vhost-user-hostile
test -x "$hostile" || skip "vhost-user-hostile is not built"
mkfifo input
"$programs/vhost_host" "$scratch/disk" <input 2>log &
host=$!
started="$started $host"
exec 5>input

"$hostile" disk >out 2>err
status=$?
test $status = 0 ||
	complain "status $status: $(cat err) $(grep -v ' survived$' out): $(tail -n 5 log)"
count=$("$hostile" --list | wc -l)
test "$(grep -c ' survived$' out)" = "$count" ||
	complain "of $count attacks: $(cat out)"
# What was done to it is in its log, once it had the time to look.
for words in 'regions that overlap' 'region that wraps' 'descriptors without end' \
	'indirect table in another' 'ring outside' 'memory that is not there' \
	'without header or status' 'can be read after'; do
	for _ in $(seq 10); do
		grep -q "$words" log && break
		"$hostile" disk >out 2>err
	done
	grep -q "$words" log || complain "the log does not say \"$words\""
done
exec 5>&-
wait "$host" || complain "the door: status $?: $(tail -n 20 log)"

# The page has the same list.
"$hostile" --list | sed 's/ .*//' >in-list
sed -n 's/^=item B<\([a-z0-9-]*\)>$/\1/p' \
	"$abs_top_srcdir/doc/vhost-user-hostile.pod" | grep -v '^--' >in-page
diff in-list in-page >difference ||
	complain "--list (<) and vhost-user-hostile.pod (>) differ: $(cat difference)"

"$hostile" disk 2>err && complain "nobody is there, and that is all right"
"$hostile" --help >out 2>err || complain "--help: status $?"
grep -q '^usage: .*--list' out || complain "--help says $(cat out err)"
"$hostile" --nonsense 2>err
test $? = 2 || complain "--nonsense is understood"
finish
