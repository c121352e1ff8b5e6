#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# examples/swapregion over a daemon, whose pages lose nothing when it is killed
# and started again under way.
. "${abs_top_srcdir:?run by make check}/tests/daemon/daemon_common.sh"
. "$abs_top_srcdir/tests/guest/example_common.sh"
export TMPDIR=$scratch
build_example swapregion

start --memory 64M --arena "$arena"
timeout 600 ./example --socket "$TMEM_SOCKET" --size 32M --memory 8M \
	--steps 60000 >out 2>err </dev/null &
example=$!
# As soon as it is there, and before it is over.
for _ in $(seq 6000); do
	grep -q 'client swapregion: attached' "$log" && break
	kill -0 $example 2>/dev/null || break
	sleep 0.01
done
kills=0
for _ in 1 2 3; do
	kill -0 $example 2>/dev/null || break
	kill -9 "$daemon"
	wait "$daemon" 2>/dev/null
	start --memory 64M --arena "$arena"
	kills=$((kills + 1))
	sleep 0.2
done
wait $example
status=$?
test $status = 77 && skip "$(cat err)"
test $status = 0 || complain "status $status: $(cat out err)"
grep -q '^all pages are as they were written$' out ||
	complain "lost pages: $(cat out err)"
test "$(number stores out)" -gt 0 || complain "no stores: $(cat out)"
echo "$kills kills; $(grep frontswap: out)"
test $kills -gt 0 || complain "was never killed"
end
finish
