#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# Help and man pages say the same: verbs, and options with their arguments.
# What is not known is refused with the nearest name and status 2.
. "${abs_top_srcdir:?}/tests/cli/common.sh"

expect 0 --help
test -s err && complain "help goes to standard output"
verbs=$(sed -n 's/^  \([a-z0-9-]*\)  *[^ ].*/\1/p' out)
test -n "$verbs" || complain "--help lists no verb"
documented=$(sed -n 's/^=item B<\([a-z0-9-]*\)>$/\1/p' "$abs_top_srcdir/doc/tmem.pod")
test "$verbs" = "$documented" ||
	complain "verbs of --help:" $verbs "and of doc/tmem.pod:" $documented

for verb in $verbs; do
	expect 0 "$verb" --help
	grep -q ' $' out && complain "$verb: blanks at the end of a line"
	pod=$abs_top_srcdir/doc/tmem-$verb.pod
	# "weight N -w": option, argument, old spelling.
	sed -n -e 's/^  --\([a-z0-9-]*\( [^ ]*\)\{0,1\}\) .* (\(-.\))$/\1 \3/p; t' \
		-e 's/^  --\([a-z0-9-]*\( [^ ]*\)\{0,1\}\) .*/\1/p' out |
		sed 's/  */ /; s/ *$//' | sort >in-help
	sed -n 's/^=item B<--\([a-z0-9-]*\)>/\1/p' "$pod" |
		sed 's/, B<\(-.\)>.*/ \1/; s/I<\([^>]*\)>/\1/g' |
		sort >in-page
	diff in-help in-page >difference ||
		complain "$verb: --help (<) and its page (>) differ: $(cat difference)"
	summary=$(sed -n 2p out)
	grep -qiF "tmem-$verb - $summary" "$pod" ||
		complain "$verb: --help says \"$summary\", the page something else"
	expect 2 "$verb" --no-such-option
	says "unknown option --no-such-option"
done

expect 0 --version
grep -q '^tmem [0-9]' out || complain "--version says \"$(cat out)\""
expect 2
expect 2 estimte
says 'the nearest is "estimate"'
expect 2 frobnicate
says 'unknown verb "frobnicate" (`'
expect 2 replay --memmory 1M
says 'the nearest is --memory'
expect 2 replay --memory
says '--memory wants SIZE'
expect 2 replay --json=yes
says '--json takes no value'
finish
