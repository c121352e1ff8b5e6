#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# The conformance suite over the daemon's channel, and through its text protocol
# to this library; and what it says about a program that does not conform, or
# ends.
set -u
cd "${abs_top_builddir:?run by make check}/tests/conformance" || exit 1
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT

./conformance program ./conform_server >"$dir/log" ||
	{ grep -v '^ok' "$dir/log"; echo "the library does not conform"; exit 1; }
grep -q SKIP "$dir/log" && { echo "a rule was skipped"; exit 1; }

./conformance ring >"$dir/log" ||
	{ grep -v '^ok' "$dir/log"; echo "the channel does not conform"; exit 1; }
test "$(grep -c '^ok.*SKIP' "$dir/log")" -le 10 ||
	{ cat "$dir/log"; echo "the channel skips too much"; exit 1; }

# Everything is a success: many rules must fail, and the suite with them.
cat >"$dir/yes" <<'END'
while read -r verb rest; do
	case $verb in
	tmem-conformance) echo "$verb $rest" ;;
	call) echo result 1 ;;
	read) printf 'page %08192d\n' 0 ;;
	evict) echo unsupported ;;
	*) echo ok ;;
	esac
done
END
./conformance program sh "$dir/yes" >"$dir/log" &&
	{ echo "a program that knows nothing conforms"; exit 1; }
grep -q '^not ok .* page_1' "$dir/log" || { echo "page_1 has not failed"; exit 1; }
grep -q '^ok .* page_9.*SKIP' "$dir/log" || { echo "page_9 was not skipped"; exit 1; }

for program in true 'echo nonsense'; do
	# shellcheck disable=SC2086
	if ./conformance program $program >"$dir/log" 2>&1; then
		echo "$program conforms"
		exit 1
	fi
	grep -q '^Bail out!' "$dir/log" || { cat "$dir/log"; exit 1; }
done
exit 0
