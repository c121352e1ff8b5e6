#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# kill -9 at any instant under load, start again: every acknowledged persistent
# page is there, byte for byte, and clients go on without an error.
. "${abs_top_srcdir:?}/tests/daemon/daemon_common.sh"
seconds=${TMEM_KILL_SECONDS:-8}
RANDOM=${TMEM_SEED:-$$}

start --memory 256M --arena "$arena"
mkfifo go
"$test_programs/load_client" "$TMEM_SOCKET" load 8192 0 <go >out 2>err &
client=$!
started="$started $client"
exec 3>go
for _ in $(seq 400); do
	grep -q ready out && break
	sleep 0.05
done
kills=0
until=$((SECONDS + seconds - 1))
while test $SECONDS -lt $until || test $kills -lt 3; do
	sleep "0.$((RANDOM % 700 + 100))"
	kill -9 "$daemon"
	wait "$daemon" 2>/dev/null
	start --memory 256M --arena "$arena"
	kills=$((kills + 1))
done
exec 3>&-
wait "$client" || complain "the client: status $?: $(cat err out)"
echo "$kills kills: $(tail -n 1 out)"
grep -q 'wrong 0 ' out || complain "pages were lost: $(cat out)"
tmem list --json >list 2>&1 || complain "does not answer after all that"
end
grep -l 'level=error' log.* | xargs -r cat
finish
