#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# Every seed, and every input that ever crashed, goes through its target once,
# whatever the compiler: without libFuzzer, fuzz/fuzz_replay.c is the main().
set -u
cd "${abs_top_builddir:?run by make check}" || exit 1
failed=0
runs=0
for target in $TM_FUZZ_TARGETS; do
	name=$(echo "${target#fuzz/fuzz_}" | tr _ -)
	seeds=$abs_top_srcdir/fuzz/corpus/$name
	if ! test -d "$seeds"; then
		echo "$target: there are no seeds in fuzz/corpus/$name"
		failed=1
		continue
	fi
	runs=$((runs + 1))
	# libFuzzer takes files, and so does fuzz_replay.c.
	find "$seeds" -type f | sort | xargs "./$target" ||
		{ echo "$target: an input failed"; failed=1; }
done
test $runs != 0 || test $failed != 0 ||
	{ echo "there are no fuzz targets"; exit 77; }
exit $failed
