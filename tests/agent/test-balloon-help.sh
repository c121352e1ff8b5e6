#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# tmem-balloon --help, its manual, and the list of keys in tmem.conf(5) say the
# same; the manual's example is one; what is wrong with a configuration is said
# with its place; the unit is well-formed.
. "${abs_top_srcdir:?}/tests/agent/agent_common.sh"
doc=$abs_top_srcdir/doc
: >empty.conf

"$abs_top_builddir/tmem-balloon" --help >out || complain "--help: status $?"
sed -n 's/^  --\([a-z-]*\( [^ ]*\)\{0,1\}\).*/\1/p' out | sed "s, *$,," | sort >in-help
sed -n 's/^=item B<--\([a-z-]*\)>/\1/p' "$doc/tmem-balloon.pod" |
	sed 's/I<\([^>]*\)>/\1/g' | sort >in-page
diff in-help in-page >difference ||
	complain "--help (<) and tmem-balloon.pod (>) differ: $(cat difference)"
grep -qxF "tmem-balloon - $(sed -n 2p out)" "$doc/tmem-balloon.pod" ||
	complain "--help says \"$(sed -n 2p out)\", the page something else"

perl -0777 -ne 'print "$1\n" while /=item B<--([a-z-]+)>[^\n]*\n\n\(\*/g' \
	"$doc/tmem-balloon.pod" | sort >marked
perl -0777 -ne '/=head2 \[balloon\](.*?)=head[12]/s and print map "$_\n", $1 =~ /B<([a-z-]+)>/g' \
	"$doc/tmem.conf.pod" | sort >listed
diff marked listed >difference ||
	complain "tmem-balloon.pod (<) and tmem.conf.pod (>) differ: $(cat difference)"
while read -r key; do
	printf '[balloon]\n%s = \n' "$key" >one.conf
	"$abs_top_builddir/tmem-balloon" --config one.conf --check-config 2>err &&
		complain "$key: nothing is a value"
	grep -q 'unknown key' err && complain "$key is no key: $(cat err)"
done <marked

# The tunables are those of the law, with its defaults.
for name in $(sed -n 's/^  --\(selfballoon[a-z-]*\) .*/\1/p' out); do
	grep -q "\"$(echo "$name" | tr - _)\"" \
		"$abs_top_srcdir/src/guest/linux/selfballoon.c" ||
		complain "$name is no tunable of the law"
	default=$(sed -n "s/^  --$name .*\[\(.*\)\]$/\1/p" out)
	table=$(grep -A 3 "{ \"$(echo "$name" | tr - _)\"" \
		"$abs_top_srcdir/src/guest/linux/selfballoon.c" | tr -d '\n\t' |
		sed 's/TUNABLE([a-z_]*), *\([0-9]*\).*/:\1/; s/.*://')
	test "$default" = "$table" ||
		complain "$name: --help says $default, the law $table"
done

perl -0777 -ne '/=head1 CONFIGURATION(.*?)=head1/s and print $1 =~ /^ (.*\n)/mg' \
	"$doc/tmem-balloon.pod" >example.conf
"$abs_top_builddir/tmem-balloon" --config example.conf --check-config 2>err ||
	complain "the manual's example is wrong: $(cat err)"

# wrong PATTERN CONFIGURATION: is refused, with the place.
wrong()
{
	printf '%b' "$2" >wrong.conf
	"$abs_top_builddir/tmem-balloon" --config wrong.conf --check-config 2>err
	status=$?
	test $status = 2 || complain "$2: status $status"
	grep -q -- "$1" err || complain "$2: does not say \"$1\" but $(cat err)"
}
wrong 'wrong.conf:2: unknown key "sorce"; the nearest is "source"' \
	'[balloon]\nsorce = qmp\n'
wrong 'unknown source "qpm"; the nearest is "qmp"' '[balloon]\nsource = qpm\n'
for value in 0 -1 five 5.0 '5 5' 4294967296 99999999999999999999999; do
	wrong 'wrong.conf:3: .* is not a whole number' \
		"[balloon]\nsource = meminfo\nselfballoon_interval = $value\n"
done
wrong 'is not a whole number' '[balloon]\nselfballooning = 2\n'
wrong 'needs qmp' '[balloon x]\nsource = qmp\n'
wrong 'needs cgroup' '[balloon x]\nsource = cgroup\n'
wrong 'of another guest' '[balloon]\nactuator = qmp\n'
wrong 'are one and the same' \
	'[balloon]\nsource=qmp\nactuator=qmp\n[balloon a]\nqmp=/q\n[balloon b]\nqmp=/q\n'
wrong 'guests a and b are one' \
	'[balloon]\nsource=qmp\n[balloon a]\nqmp=/q\n[balloon b]\nqmp=/q\n'
wrong 'belongs to \[balloon\]' '[balloon x]\nstate = /x\n'
wrong "cannot be a guest's name" '[balloon a b]\n'
wrong 'is not a path' '[balloon]\nproc = here\n'
wrong 'longer than 107' "[balloon]\nqmp = /$(printf '%0200d' 0)\n"
refused 'unknown option "sauce"' --sauce meminfo
refused 'needs PATH' --qmp
refused 'is no option' qmp
refused 'takes no value' --help=yes
# Others' sections are not ours.
printf '[daemon]\nmemory = 1G\n[balloon]\n[client x]\nweight = 3\n' >fine.conf
"$abs_top_builddir/tmem-balloon" --config fine.conf --check-config ||
	complain "refuses other programs' sections"

if command -v systemd-analyze >/dev/null; then
	sed "s,@sbindir@/tmem-balloon,/bin/true," \
		"$abs_top_srcdir/data/tmem-balloon.service.in" \
		>tmem-balloon.service
	SYSTEMD_LOG_LEVEL=warning systemd-analyze verify --man=no \
		./tmem-balloon.service >err 2>&1
	grep -E 'Unknown|rror|Invalid' err | grep balloon &&
		complain "the unit: $(cat err)"
fi
finish
