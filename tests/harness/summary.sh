#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
#	summary.sh BUILD-FOLDER...
#
# What the tests of these builds said, which Automake keeps in files: each
# libcheck line, why each skipped test was skipped, and as the last line the
# sum. A libcheck program counts as its checks, a script as one. A program
# that failed beside its checks (it crashed, or a sanitizer spoke up) counts
# as one failure more.
set -u
for build; do
	# fuzz/, break/ and what distcheck leaves are builds of their own.
	find "$build" -name '*.trs' ! -path "$build/fuzz/*/*" \
		! -path "$build/break/*" ! -path "$build/tmem-*" | sort
done | {
	passed=0 failed=0 skipped=0
	while read -r trs; do
		log=${trs%.trs}.log
		result=$(sed -n 's/^:test-result: *//p' "$trs" | head -n 1)
		test -n "$result" || result=FAIL
		name=${log#./}
		name=${name%.log}
		line=$(grep -E '^[0-9]+%: Checks: ' "$log" |
			awk -F '[:, ]+' '{ c += $3; f += $5; e += $7 }
				END { if (NR) print c, f + e }')
		case $result,$line in
		SKIP,*)
			skipped=$((skipped + 1))
			printf 'skipped %s: %s\n' "$name" \
				"$(grep -v '^SKIP ' "$log" | grep . | tail -n 1)"
			;;
		*,?*)
			bad=${line#* }
			passed=$((passed + ${line% *} - bad))
			failed=$((failed + bad))
			if test "$result" != PASS && test "$bad" = 0; then
				failed=$((failed + 1))
				echo "failed $name: beside its checks ($result)"
			fi
			grep -E '^[0-9]+%: Checks: ' "$log" |
				while read -r text; do
					echo "$text ($name)"
				done
			;;
		PASS,)
			passed=$((passed + 1))
			;;
		*)
			failed=$((failed + 1))
			echo "failed $name"
			;;
		esac
	done
	echo "$passed passed, $failed failed, $skipped skipped"
	test $failed = 0
}
