#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# tmemd --help and its manual say the same, and so do the configuration's keys
# and theirs. The shipped units are well-formed.
. "${abs_top_srcdir:?}/tests/daemon/daemon_common.sh"
doc=$abs_top_srcdir/doc

"$abs_top_builddir/tmemd" --help >out || complain "--help: status $?"
sed -n 's/^  --\([a-z-]*\( [^ ]*\)\{0,1\}\).*/\1/p' out | sed "s, *$,," | sort >in-help
sed -n 's/^=item B<--\([a-z-]*\)>/\1/p' "$doc/tmemd.pod" |
	sed 's/I<\([^>]*\)>/\1/g' | sort >in-page
diff in-help in-page >difference ||
	complain "--help (<) and tmemd.pod (>) differ: $(cat difference)"
summary=$(sed -n 2p out)
grep -qxF "tmemd - $summary" "$doc/tmemd.pod" ||
	complain "--help says \"$summary\", the page something else"

# What is a key of [daemon] is marked, and listed in tmem.conf(5).
perl -0777 -ne 'print "$1\n" while /=item B<--([a-z-]+)>[^\n]*\n\n\(\*\)/g' \
	"$doc/tmemd.pod" | sort >marked
perl -0777 -ne '/=head2 \[daemon\](.*?)=head2/s and print map "$_\n", $1 =~ /B<([a-z-]+)>/g' \
	"$doc/tmem.conf.pod" | sort >listed
diff marked listed >difference ||
	complain "tmemd.pod (<) and tmem.conf.pod (>) differ: $(cat difference)"
while read -r key; do
	printf '[daemon]\n%s = \n' "$key" >one.conf
	"$abs_top_builddir/tmemd" --config one.conf --check-config 2>err &&
		complain "$key: nothing is a value"
	grep -q 'unknown key' err && complain "$key is no key: $(cat err)"
done <marked

# The keys of a client, from both sides.
perl -0777 -ne '/=head2 \[client NAME\](.*?)=head2/s and print map "$_\n", $1 =~ /=item B<([a-z-]+)>/g' \
	"$doc/tmem.conf.pod" >keys
for key in $(cat keys); do
	printf '[client x]\n%s = *\n' "$key" >one.conf
	"$abs_top_builddir/tmemd" --config one.conf --check-config 2>err
	grep -q 'unknown key' err && complain "$key is no key: $(cat err)"
done
sed -n '/^static const struct tm_config_client_key keys/,/^};/s/^	{ "\([a-z-]*\)".*/\1/p' \
	"$abs_top_srcdir/src/daemon/config_client.c" | sort >in-table
sort keys | diff in-table - >difference ||
	complain "config_client.c (<) and tmem.conf.pod (>) differ: $(cat difference)"

# Those of a disk.
perl -0777 -ne '/=head2 \[disk NAME\](.*?)=head2/s and print map "$_\n", $1 =~ /=item B<([a-z-]+)>/g' \
	"$doc/tmem.conf.pod" | sort >keys
sed -n '/^static const struct tm_config_disk_key keys/,/^};/s/^	{ "\([a-z-]*\)".*/\1/p' \
	"$abs_top_srcdir/src/daemon/config_disk.c" | sort >in-table
diff keys in-table >difference ||
	complain "tmem.conf.pod (<) and config_disk.c (>) differ: $(cat difference)"

# The example of the manual is one.
perl -0777 -ne '/=head1 EXAMPLE(.*?)=head1/s and print $1 =~ s/^ //mgr' \
	"$doc/tmem.conf.pod" | sed "s/www-data/0/; s,/run/tmem,$scratch,; s,/dev/shm/tmem,$arena_dir," \
	>example.conf
"$abs_top_builddir/tmemd" --config example.conf --check-config 2>err ||
	complain "the manual's example is wrong: $(cat err)"

if command -v systemd-analyze >/dev/null; then
	mkdir units
	sed "s,@sbindir@/tmemd,/bin/true," "$abs_top_srcdir/data/tmemd.service.in" \
		>units/tmemd.service
	cp "$abs_top_srcdir"/data/*.socket units
	SYSTEMD_LOG_LEVEL=warning systemd-analyze verify --man=no \
		units/tmemd.service units/tmemd.socket \
		units/tmemd-control.socket >err 2>&1
	grep -E 'Unknown|rror|Invalid' err | grep tmemd && complain "units: $(cat err)"
fi
finish
