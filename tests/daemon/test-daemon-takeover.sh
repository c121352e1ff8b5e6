#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# tmemd --takeover: a new daemon replaces a running one under load, and nobody
# loses a page or waits for a second; a successor that cannot is refused, or
# fails, and the old one serves on. TMEM_TAKEOVER_PAGES: how many pages.
. "${abs_top_srcdir:?}/tests/daemon/daemon_common.sh"
pages=${TMEM_TAKEOVER_PAGES:-65536}
memory=${TMEM_TAKEOVER_MEMORY:-512M}

launch --memory "$memory" --takeover
ends 1
logged "there is none; start without --takeover"

replace()
{
	local old=$daemon old_log=$log
	start "$@" --takeover
	new=$daemon
	daemon=$old
	log=$old_log
	ends 0
	logged "ends: a successor serves"
	daemon=$new
	log=log.$logs
}

# The one that runs goes on after a successor that ended with a failure.
goes_on()
{
	local says=$1 old=$daemon old_log=$log
	shift
	launch "$@" --takeover
	ends 1
	logged "$says"
	daemon=$old
	log=$old_log
	kill -0 "$daemon" || complain "the old daemon is gone"
	tmem stats >/dev/null || complain "the old daemon does not answer"
}

for where in anonymous "$arena"; do
	start --memory "$memory" --arena "$where"
	rm -f go
	mkfifo go
	"$test_programs/load_client" "$TMEM_SOCKET" load "$pages" 0 <go >out 2>err &
	client=$!
	started="$started $client"
	exec 3>go
	for _ in $(seq 1200); do
		grep -q ready out && break
		sleep 0.1
	done
	for _ in 1 2 3; do
		sleep 0.5
		replace --memory "$memory" --arena "$where"
	done
	goes_on "another arena" --memory "$memory" --arena "$arena_dir/elsewhere"
	goes_on "cannot be opened" --memory "$memory" --arena "$where" \
		--boot tmem_compress=nosuch
	logged "going on without it"
	sleep 0.5
	exec 3>&-
	wait "$client" || complain "$where: the client: status $?: $(cat err)"
	echo "$where: $(tail -n 1 out)"
	grep -q 'wrong 0 ' out || complain "$where: pages were lost: $(cat out)"
	longest=$(sed -n 's/.*longest_ms //p' out)
	test "$longest" -lt 1000 || complain "$where: a client waited for $longest ms"
	end
done
finish
