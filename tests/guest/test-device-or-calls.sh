#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# bench/device_or_calls, small: each way of swapping brings back what went out
# (it compares), all but the bare device without an error, and each has been
# refused pages.
. "${abs_top_srcdir:?run by make check}/tests/cli/common.sh"
export TMPDIR=$scratch
bench=${abs_top_builddir:?}/bench/device_or_calls
make_dump 300 >dump
for pages in '' dump; do
	# shellcheck disable=SC2086
	timeout 60 "$bench" -s 2048 -m 2 $pages >out 2>err ||
		complain "status $?: $(cat out err)"
	for way in calls device 'queued device'; do
		sed -n "s/^$way  *[0-9]/&/p" out |
			awk '{ exit !($(NF - 1) > 0 && $NF == 0) }' ||
			complain "$way: $(cat out)"
	done
	awk '/^bare/ { exit !($(NF - 1) == 0 && $NF > 0) }' out ||
		complain "bare device: $(cat out)"
done
test "$(ls)" = "$(printf 'dump\nerr\nout')" || complain "left behind: $(ls)"
timeout 20 "$bench" -s 0 >out 2>err && complain "takes no slots"
timeout 20 "$bench" -x >out 2>err && complain "takes any option"
finish
