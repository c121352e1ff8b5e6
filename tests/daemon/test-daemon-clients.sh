#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# Who is which client, with which limits, for how long; and what a reload
# changes.
. "${abs_top_srcdir:?}/tests/daemon/daemon_common.sh"
needs_json
user=$(id -u)

cat >tmem.conf <<E2
[daemon]
memory = 128M
user-cap = 4M
user-linger = 1s
[client web]
socket = $scratch/web.sock
weight = 7
cap = 8M
reservation = 2M
compress = off
[client open]
socket = $scratch/open.sock
mode = 0666
[client named]
cap = 16M
E2

# is CLIENT EXPRESSION: is it true of the client, which is $c in perl?
is()
{
	tmem list --json >out 2>err || complain "list: $(cat err)"
	perl -MJSON::PP -e 'local $/; my $j = decode_json(<STDIN>);
		$j = $j->{clients} if ref $j eq "HASH";
		my ($c) = grep { $_->{name} eq $ARGV[0] } @$j;
		exit !eval $ARGV[1];' "$1" "$2" <out
}

# of CLIENT EXPRESSION: it is.
of()
{
	is "$1" "$2" || complain "client $1: not so: $2: $(cat out)"
}

# soon CLIENT EXPRESSION: it is, after a while.
soon()
{
	for _ in $(seq 1200); do
		is "$1" "$2" && return
		sleep 0.05
	done
	complain "client $1: never so: $2: $(cat out)"
}

# goes CLIENT: there is no such client, soon.
goes()
{
	soon "$1" '!defined $c'
}

# memory_is MEBIBYTES: the store's limit.
memory_is()
{
	expect 0 stats --json
	grep -q "\"memory_bytes\": *$(($1 << 20))," out || complain "the limit is not $1 MiB: $(cat out)"
}

# attach SOCKET NAME: somebody is that client, until `leave`. Status 1: refused.
attach()
{
	local i
	rm -f go client.out
	mkfifo go
	"${as[@]}" "$test_programs/load_client" "$1" "$2" 64 0 <go >client.out 2>client.err &
	client=$!
	started="$started $client"
	exec 3>go
	for i in $(seq 1200); do
		grep -q ready client.out && return 0
		kill -0 $client 2>/dev/null || break
		sleep 0.05
	done
	exec 3>&-
	wait $client
	return 1
}

leave()
{
	exec 3>&-
	wait $client
	client_status=$?
}

may_not()
{
	attach "$1" "$2" && { complain "$3"; leave; }
	grep -qF "$4" client.err || complain "$3: it is told \"$(cat client.err)\""
}

as=(env)
start --config tmem.conf --arena "$arena"

# Nobody said anything about it: a default cap, and it does not stay.
attach "$TMEM_SOCKET" guest || complain "guest: $(cat client.err)"
of guest '$c->{cap_bytes} == 4 << 20 && $c->{attached} && $c->{weight} == 0'
may_second=$("$test_programs/load_client" "$TMEM_SOCKET" guest 8 1 2>&1 </dev/null) &&
	complain "two peers are one client: $may_second"
leave
goes guest
attach "$TMEM_SOCKET" "" || complain "no name: $(cat client.err)"
of "uid$user" '$c->{attached}'
leave

# Its own socket says who it is, whatever it says; it is to be had there alone.
attach "$scratch/web.sock" somebody || complain "web: $(cat client.err)"
of web '$c->{attached} && $c->{weight} == 7 && $c->{cap_bytes} == 8 << 20 &&
	$c->{reservation_bytes} == 2 << 20 && !$c->{compress}'
of somebody '!defined $c'
may_not "$TMEM_SOCKET" web "web is to be had at the common socket" "Permission denied"
leave
soon web '!$c->{attached}'
sleep 2
of web 'defined $c && !$c->{attached} && $c->{pages} > 0'

for name in 12 all a/b .x; do
	may_not "$TMEM_SOCKET" "$name" "a client is called \"$name\"" "Invalid argument"
done

# Other users: the file's mode, and then the peer's user.
if test "$user" = 0 && command -v setpriv >/dev/null; then
	chmod 711 "$scratch" "$scratch/control"
	as=(setpriv --reuid=65534 --clear-groups)
	may_not "$TMEM_SOCKET" other "another user may connect" "Permission denied"
	chmod 666 "$TMEM_SOCKET" "$scratch/web.sock" "$TMEM_CONTROL"
	may_not "$TMEM_SOCKET" other "another user is served" "Permission denied"
	may_not "$scratch/web.sock" "" "another user is web" "Permission denied"
	attach "$scratch/open.sock" "" || complain "open to all, but not: $(cat client.err)"
	of open '$c->{attached}'
	leave
	"${as[@]}" "$abs_top_builddir/tmem" destroy web >out 2>&1 &&
		complain "another user destroys a client"
	of web 'defined $c'
	chmod 600 "$TMEM_SOCKET" "$scratch/web.sock" "$TMEM_CONTROL"
	as=(env)
fi
# A guest's connection is no way to the operators' requests.
attach "$TMEM_SOCKET" named || complain "named: $(cat client.err)"
perl -MSocket -e '
	socket my $s, AF_UNIX, SOCK_SEQPACKET, 0 or die;
	connect $s, pack_sockaddr_un($ARGV[0]) or die;
	send $s, "POST /clients/named/destroy HTTP/1.1\r\nHost: x\r\n\r\n", 0;
	recv $s, my $answer, 4096, 0;
	exit 1 if $answer =~ /HTTP/;' "$TMEM_SOCKET" || complain "HTTP is spoken to guests"
of named '$c->{attached} && $c->{cap_bytes} == 16 << 20'

# Destroyed while somebody works with it: its pages go, its peer is let go of.
expect 0 destroy named
logged 'client named: destroyed'
leave
soon named '!defined $c || !$c->{attached}'

# reloads SAYS: what the daemon says after a SIGHUP, which is then in ./since.
reloads()
{
	local seen i
	seen=$(wc -l <"$log")
	kill -HUP "$daemon"
	for i in $(seq 1200); do
		tail -n +$((seen + 1)) "$log" >since
		grep -q reloaded since && break
		sleep 0.05
	done
	grep -qF -- "$1" since || complain "SIGHUP: not \"$1\": $(cat since)"
}

# A reload: what changed in the file, and no more; nothing when it is wrong.
test "$user" != 0 || expect 0 set open --weight 5
sed -i 's/^weight = 7/weight = 9/; s/^cap = 8M/cap = 6M/' tmem.conf
reloads 'msg="reloaded"'
of web '$c->{weight} == 9 && $c->{cap_bytes} == 6 << 20'
test "$user" != 0 || of open '$c->{weight} == 5'
sed -i 's/^weight = 9/weight = lots/' tmem.conf
reloads 'nothing is reloaded, and all stays as it was'
of web '$c->{weight} == 9'
# Nor when each word is right and a start would refuse it all the same.
sed -i 's/^weight = lots/weight = 10/' tmem.conf
cp tmem.conf right.conf
# whole SAYS: the file that was made is refused, and nothing of it counts.
whole()
{
	reloads "all stays as it was: $1"
	grep -q 'msg="reloaded"' since && complain "$1: says that it is reloaded"
	of web '$c->{weight} == 9'
	cp right.conf tmem.conf
}
printf '[client extra]\nsocket = %s/extra.sock\nreservation = 1T\n' "$scratch" >>tmem.conf
whole '[client extra]: reservation'
test -e extra.sock && complain "a socket of what was refused"
printf '[client extra]\ncodec = lz5\n' >>tmem.conf
whole '[client extra]: codec = lz5'
printf '[boot]\ntmem_allocator = best\n' >>tmem.conf
whole 'there is no allocator'
printf '[disk extra]\nsocket = %s/extra.sock\nkind = cache\nimage = /no/such\n' "$scratch" >>tmem.conf
whole '[disk extra]: image = /no/such'
printf '[disk extra]\nsocket = %s\nkind = swap\nsize = 1M\n' "$scratch" >>tmem.conf
whole "$scratch is there and is no socket"
sed -i 's/^memory = 128M/memory = 100T/' tmem.conf
whole 'store: a memory limit of 109951162777600 bytes'
sed -i 's/^weight = 10/weight = 11/; s/^memory = 128M/memory = 64M/' tmem.conf
printf '[client late]\nsocket = %s/late.sock\n' "$scratch" >>tmem.conf
reloads 'msg="reloaded"'
of web '$c->{weight} == 11'
memory_is 64
attach "$scratch/late.sock" "" || complain "a client that came late: $(cat client.err)"
leave

# A limit and a reservation that needs it come together, and go together.
cp tmem.conf small.conf
sed -i 's/^memory = 64M/memory = 128M/; s/^cap = 6M/cap = 96M/
	s/^reservation = 2M/reservation = 96M/' tmem.conf
for conf in tmem.conf small.conf; do
	cp $conf new.conf
	mv new.conf tmem.conf
	reloads 'msg="reloaded"'
	test $conf = small.conf ||
		of web '$c->{reservation_bytes} == 96 << 20 && $c->{cap_bytes} == 96 << 20'
done
of web '$c->{reservation_bytes} == 2 << 20 && $c->{cap_bytes} == 6 << 20'
memory_is 64

# Another daemon on the same arena: clients, limits, and the time they stay.
attach "$TMEM_SOCKET" guest || complain "guest: $(cat client.err)"

# What an operator has given away cannot be had; the next SIGHUP asks again.
expect 0 set guest --cap 60M --reservation 40M
sed -i 's/^cap = 6M/cap = 30M/; s/^reservation = 2M/reservation = 30M/' tmem.conf
reloads 'reloaded, but for what was refused'
logged 'client web: keeps its limits'
of web '$c->{reservation_bytes} == 2 << 20'
expect 0 set guest --reservation 0
reloads 'msg="reloaded"'
of web '$c->{reservation_bytes} == 30 << 20'
expect 0 set guest --reservation 20M
sed -i 's/^memory = 64M/memory = 48M/' tmem.conf
reloads 'reloaded, but for what was refused'
logged 'the memory limit stays'
memory_is 64
expect 0 set guest --reservation 0
reloads 'msg="reloaded"'
memory_is 48
sed -i 's/^memory = 48M/memory = 64M/' tmem.conf
reloads 'msg="reloaded"'

# What waits for the next start is said.
grep -q 'next start' "$log" && complain "something waits for the next start: $(cat "$log")"
printf '[boot]\ntmem_dedup = on\n' >>tmem.conf
reloads '[boot], dedup-persistent'
of web '$c->{weight} == 11'

# As long as it takes to look.
sed -i 's/^user-linger = 1s/user-linger = 60s/' tmem.conf
kill -9 "$daemon"
wait "$daemon" 2>/dev/null
kill -9 "$client"
exec 3>&-
start --config tmem.conf --arena "$arena"
of guest 'defined $c && $c->{pages} > 0'
of web '$c->{weight} == 11'
sed -i 's/^user-linger = 60s/user-linger = 1s/' tmem.conf
reloads 'msg="reloaded"'
goes guest
end
test -e "$scratch/web.sock" && complain "a client's socket is left behind"
finish
