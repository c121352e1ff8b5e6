#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# examples/swapregion over a daemon, whose pages lose nothing when it is killed
# and started again under way.
. "${abs_top_srcdir:?run by make check}/tests/daemon/daemon_common.sh"
. "$abs_top_srcdir/tests/guest/example_common.sh"
export TMPDIR=$scratch
build_example swapregion

attached()
{
	grep -c 'client swapregion: attached' "$log"
}
# run: the daemon is killed as soon as the example is there, and before it is over.
run()
{
	local before example status
	before=$(attached)
	timeout 600 ./example --socket "$TMEM_SOCKET" --size 32M --memory 8M \
		--steps 60000 >out 2>err </dev/null &
	example=$!
	for _ in $(seq 6000); do
		test "$(attached)" -gt "$before" && break
		kill -0 $example 2>/dev/null || break
		sleep 0.01
	done
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
}

start --memory 64M --arena "$arena"
# It is over in half a second, if it has a processor and we have none.
kills=0
for _ in $(seq 10); do
	run
	test $kills = 0 || break
done
echo "$kills kills; $(grep frontswap: out)"
test $kills -gt 0 || complain "was never killed"
end
finish
