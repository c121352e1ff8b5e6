#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# examples/swapregion over a store of its own: 32 MiB in 8 MiB, with room for
# all, with room for a part, and without tmem; nonsense on its command line.
. "${abs_top_srcdir:?run by make check}/tests/cli/common.sh"
. "$abs_top_srcdir/tests/guest/example_common.sh"
export TMPDIR=$scratch
build_example swapregion

# run ARGUMENT...: it must find all of its pages as they were.
run()
{
	called="swapregion $*"
	timeout 120 ./example --size 32M --memory 8M --steps 10000 "$@" \
		>out 2>err </dev/null
	status=$?
	test $status = 77 && skip "$(cat err)"
	test $status = 0 || complain "$called: status $status: $(cat out err)"
	grep -q '^all pages are as they were written$' out ||
		complain "$called: $(cat out err)"
}

run --store 64M
grep -q '^memory: 32 MiB in 8 MiB' out ||
	complain "$called: keeps another amount: $(cat out)"
grep -q 'file: writes 0 reads 0' out || complain "$called: refused: $(cat out)"
test "$(number loads out)" -gt 0 || complain "$called: no loads: $(cat out)"

run --store 6M
for count in stores refused loads writes reads; do
	test "$(number $count out)" -gt 0 ||
		complain "$called: no $count: $(cat out)"
done

run --store 0
grep -q 'frontswap: stores 0 refused 0 loads 0' out ||
	complain "$called: has a back end: $(cat out)"
grep -q tmem err && complain "$called: says that something was enabled"

# So little memory that pages go while they are written to.
run --store 64M --size 2M --memory 256K --threads 4
run --store 1M --size 2M --memory 64K --threads 8

for bad in '--size 1' '--size x' '--memory 1k' '--threads 0' '--threads 99' \
	'--socket /nowhere' '--store 1' 'extra' '--nonsense'; do
	# shellcheck disable=SC2086
	timeout 60 ./example $bad >out 2>err </dev/null
	test $? = 1 || complain "swapregion $bad: goes on: $(cat out err)"
	test -s err || complain "swapregion $bad: says nothing"
done
grep -q '^usage: swapregion ' err || complain "no usage: $(cat err)"
finish
