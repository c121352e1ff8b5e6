#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# The specification, run against a daemon: guests are its clients, and what the
# host does is done with `tmem`.
. "${abs_top_srcdir:?}/tests/daemon/daemon_common.sh"

start --memory 64M
"$abs_top_builddir/tests/conformance/conformance" daemon "$TMEM_SOCKET" \
	"$TMEM_CONTROL" >out 2>err || complain "$(grep -v '^ok' out) $(cat err)"
skipped=$(grep -c '^ok.*SKIP' out)
test "$skipped" -le 10 || complain "$skipped rules are skipped: $(cat out)"
test "$(grep -c '^ok' out)" -gt 20 || complain "hardly a rule: $(cat out)"
tmem list --json >out
called="when all have gone"
json '!@$j'
end
finish
