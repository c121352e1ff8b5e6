#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# --memory auto: the store lives in what the host has to spare. Another process
# allocates: the arena shrinks, and nothing persistent is lost; it ends: the arena
# grows again. And a daemon without clients sleeps.
# TMEM_FALLOW_MS: the longest that shrinking may take (it is promised within a
# second on a machine that is idle).
. "${abs_top_srcdir:?}/tests/daemon/daemon_common.sh"
needs_json
limit_ms=${TMEM_FALLOW_MS:-5000}
test "${TM_SANITIZERS:-no}" = no || limit_ms=60000

available_kib()
{
	sed -n 's/^MemAvailable: *\([0-9]*\).*/\1/p' /proc/meminfo
}
mib=$(($(available_kib) / 1024))
test "$mib" -gt 2048 || skip "less than 2 GiB of memory available: $mib MiB"

# Only this much of it is for us, so that the test is small on any machine.
spare=600

# expect_not TAKEN WHAT: complains, unless it is the others' doing: what they have
# taken or given back since the beginning is not ours to say.
expect_not()
{
	others=$((mib - $1 - $(available_kib) / 1024 - $(field used_bytes)))
	test "${others#-}" -lt $((spare / 4)) ||
		skip "others on this machine took $others MiB meanwhile"
	complain "$2"
}
start --memory "auto,max=1G,reserve=$((mib - spare))M" --user-cap 2G

# field NAME: of the store, in MiB
field()
{
	tmem stats --json >out 2>err || complain "stats: $(cat err)"
	perl -MJSON::PP -e 'local $/; my $j = decode_json(<STDIN>);
		$j = $j->{store} if $j->{store};
		print int($j->{$ARGV[0]} >> 20);' "$1" <out
}

mkfifo go
"$test_programs/fallow_client" "$TMEM_SOCKET" 12800 204800 <go >client.out &
client=$!
started="$started $client"
exec 3>go
for _ in $(seq 600); do
	grep -q ready client.out && break
	sleep 0.1
done
sleep 0.5
full=$(field used_bytes)
echo "full: $full MiB, limit $(field memory_bytes) MiB of $spare MiB"
test "$full" -gt 150 || skip "others on this machine leave too little: $full MiB"

# Somebody takes two thirds of that, and keeps it.
mkfifo taken
perl -e '
	my $m = ""; vec($m, ($ARGV[0] << 20) - 1, 8) = 1;
	open my $taken, ">", "taken" or die;
	print $taken "taken\n";
	close $taken;
	sleep 600;' $((full * 2 / 3)) 3>&- &
taker=$!
started="$started $taker"
read -r _ <taken
now_ms()
{
	echo $(($(date +%s%N) / 1000000))
}
since_ms=$(now_ms)
while :; do
	small=$(field used_bytes)
	took_ms=$(($(now_ms) - since_ms))
	test "$small" -lt $((full - full / 3)) && break
	test "$took_ms" -lt "$limit_ms" || break
	sleep 0.05
done
echo "$took_ms ms after another process took $((full * 2 / 3)) MiB: $small MiB"
test "$small" -lt $((full - full / 3)) || expect_not $((full * 2 / 3)) "the arena did not shrink: $full to $small MiB"
test "$small" -gt 40 || complain "persistent pages cannot be there any more: $small MiB"

kill "$taker"
wait "$taker" 2>/dev/null
for seconds in $(seq 30); do
	sleep 1
	again=$(field used_bytes)
	test "$again" -gt $((small + full / 8)) && break
done
echo "$seconds seconds after it ended: $again MiB"
left=$(($(available_kib) / 1024 - (mib - spare)))
test "$again" -gt $((small + full / 8)) || test "$left" -lt $((full / 4)) ||
	expect_not 0 "the arena did not grow again: $again MiB, where $left more are free"

exec 3>&-
wait "$client" || complain "persistent pages were lost: $(cat client.out)"
end
start --memory auto

# Nobody there: small, and asleep.
rss=$(sed -n 's/^VmRSS:[[:space:]]*\([0-9]*\).*/\1/p' "/proc/$daemon/status")
echo "idle: $rss KiB"
test "$TM_SANITIZERS" != no || test "$rss" -lt 10240 || complain "idle, and takes $rss KiB"
switches()
{
	cat "/proc/$daemon"/task/*/status |
		sed -n 's/^[a-z_]*ctxt_switches:[[:space:]]*//p' | awk "{ n += \$1 } END { print n }"
}
test "$(switches)" -gt 0 || complain "cannot tell whether it sleeps"
# The host may press once or twice; who polls wakes in each of these.
for _ in 1 2 3 4 5 6; do
	before=$(switches)
	sleep 5
	woke=$(($(switches) - before))
	test "$woke" = 0 && break
done
test "$woke" = 0 || complain "idle, and woke up $woke times in 5 s"
end
finish
