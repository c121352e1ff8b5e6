#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# A disk's life in a running daemon: from the configuration, the command line and
# an operator; written, discarded, demoted, frozen, removed; over the death of the
# daemon and over a successor, with a front end that stays.
. "${abs_top_srcdir:?}/tests/daemon/daemon_common.sh"
peer=$abs_top_builddir/tests/vhost/disk_peer
serve="--memory 64M --arena $arena --vhost-user-blk name=vm1,socket=$scratch/vm1,kind=swap,size=64M"

# field NAME KEY: of a disk, as the daemon tells it.
field()
{
	tmem disk list --json | perl -MJSON::PP -0777 -e '
		my ($name, $key) = @ARGV;
		for (@{decode_json(<STDIN>)}) {
			print $_->{$key} // "null", "\n" if $_->{name} eq $name;
		}' "$1" "$2"
}

# shellcheck disable=SC2086
start $serve
test "$("$peer" vm1 size)" = $((64 << 20)) || complain "the size is another"
"$peer" vm1 write 1 1000 verify 1 1000 discard 500 zeros 500 ||
	complain "vm1 does not keep what is written"
test "$(field vm1 blocks_in_tmem)" = 500 ||
	complain "$(field vm1 blocks_in_tmem) blocks are held, not 500"
test "$(field vm1 blocks_discarded)" = 500 || complain "discards are not counted"

# Written in one daemon's life, read in the next.
"$peer" vm1 write 2 1000 || complain "vm1 cannot be written"
kill -9 "$daemon"
wait "$daemon" 2>/dev/null
# shellcheck disable=SC2086
start $serve
"$peer" vm1 verify 2 1000 || complain "what was written is gone"

# A front end in the middle of it when the daemon dies, and another comes.
for round in 3 4 5; do
	"$peer" vm1 write $round 16000 verify $round 16000 2>err &
	writer=$!
	until test "$(field vm1 writes)" -gt 100; do
		kill -0 "$writer" || break
	done
	kill -9 "$daemon"
	wait "$daemon" 2>/dev/null
	# shellcheck disable=SC2086
	start $serve
	wait "$writer" || complain "round $round: $(cat err)"
done

# An operator's disks, which a successor serves too.
tmem disk add "name=vm2,socket=$scratch/vm2,kind=swap,size=1M,backing=$scratch/vm2.file" ||
	complain "disk add: status $?"
tmem disk add "name=vm2,socket=$scratch/other,kind=swap,size=1M" 2>err &&
	complain "there are two of one name"
grep -q 'already' err || complain "a second one: $(cat err)"
"$peer" vm2 write 6 256 verify 6 256 || complain "vm2 does not keep its blocks"
old=$daemon
mkfifo go
"$peer" vm1 write 7 4000 verify 7 4000 hold verify 7 4000 write 8 100 verify 8 100 \
	stayed <go >held 2>err &
writer=$!
"$peer" vm2 write 8 256 hold verify 8 256 stayed <go >held2 2>err2 &
writer2=$!
exec 7>go
until grep -q held held2; do
	kill -0 "$writer2" || break
done
# shellcheck disable=SC2086
start --takeover $serve
wait "$old"
logged 'disk vm2: goes on with its front end'
exec 7>&-
wait "$writer" || complain "over a takeover: $(cat err)"
wait "$writer2" || complain "an operator's disk, over a takeover: $(cat err2)"
"$peer" vm2 verify 8 256 || complain "vm2 is not what it was, in the successor"
test "$(field vm2 connections)" -ge 1 || complain "vm2 is not listed"

# While a successor is about to take over, which this one never gets to, no disk
# comes or goes.
hello()
{
	rm -f spoken
	perl -MSocket -e '
		socket my $s, AF_UNIX, SOCK_SEQPACKET, 0 or die;
		connect $s, pack_sockaddr_un("$ARGV[0].takeover") or die;
		$SIG{TERM} = sub { shutdown $s, 1 };
		open(my $f, ">", "spoken"); close($f);
		1 until defined recv $s, my $answer, 4096, 0;' "$TMEM_CONTROL" &
	successor=$!
	until test -e spoken; do
		kill -0 "$successor" || break
	done
}
# goodbye: and the daemon has said so, too.
goodbye()
{
	kill "$successor"
	wait "$successor"
}
vm3()
{
	tmem disk "$@" 2>again
}
vm3_comes()
{
	within 30 vm3 add "name=vm3,socket=$scratch/vm3,kind=swap,size=1M" ||
		complain "vm3 does not come again: $(cat again)"
}
vm3_goes()
{
	within 30 vm3 remove vm3 || complain "vm3 does not go again: $(cat again)"
}
for _ in $(seq 50); do
	hello
	tmem disk add "name=vm3,socket=$scratch/vm3,kind=swap,size=1M" 2>err || break
	goodbye
	vm3_goes
done
grep -q 'a successor takes the disks over' err || complain "a disk may come: $(cat err)"
goodbye
vm3_comes
# Nor does its client end: the successor would make another, without a page.
for _ in $(seq 50); do
	hello
	tmem destroy vm3 2>err || break
	goodbye
	vm3_comes
done
grep -q 'a successor takes the clients over' err || complain "a client may end: $(cat err)"
goodbye
vm3_goes

# Demotion, by hand.
tmem disk demote vm2 512K >out || complain "disk demote: status $?"
in_file=$(field vm2 blocks_in_file)
test "$in_file" -ge 128 || complain "$in_file blocks were demoted, not 128"
"$peer" vm2 verify 8 256 || complain "what was demoted reads as something else"
tmem disk demote vm1 1M 2>err && complain "vm1 has no backing file"
grep -q 'no backing file' err || complain "no backing file: $(cat err)"

# And because the host is short, which is what a reserve beyond all measure says.
"$peer" vm2 write 9 256 || complain "vm2 cannot be written"
before=$(field vm2 blocks_in_tmem)
tmem set --memory auto,max=64M,reserve=1000T || complain "set: status $?"
for _ in $(seq 1200); do
	test "$(field vm2 blocks_in_tmem)" -lt 64 && break
	sleep 0.05
done
test "$before" -gt 200 || complain "vm2 had $before blocks in memory"
test "$(field vm2 blocks_in_tmem)" -lt 64 ||
	complain "of $before blocks $(field vm2 blocks_in_tmem) stay in memory"
tmem set --memory 64M || complain "set: status $?"
"$peer" vm2 verify 9 256 || complain "what the host took reads as something else"

# A frozen client's requests wait.
tmem freeze vm1
"$peer" vm1 write 9 10 2>err &
writer=$!
sleep 0.3
kill -0 "$writer" 2>/dev/null || complain "a frozen disk answers: $(cat err)"
tmem thaw vm1
wait "$writer" || complain "after the thaw: $(cat err)"

# The end of a disk is that of its client, and the other way round.
tmem disk remove vm2 || complain "disk remove: status $?"
test -e vm2 && complain "its socket is still there"
tmem list | grep -q vm2 && complain "its client is still there"
tmem disk remove vm2 2>err && complain "it is removed twice"
tmem destroy vm1
for _ in $(seq 1200); do
	test -z "$(field vm1 name)" && break
	sleep 0.05
done
test -z "$(field vm1 name)" || complain "a destroyed client leaves its disk"
end

# A client is destroyed, and before the daemon has come to end its disk, there is
# a successor: it is not told of that disk.
: >busy.conf
start --config busy.conf --memory 64M
tmem disk add "name=vm4,socket=$scratch/vm4,kind=swap,size=1M" || complain "disk add: status $?"
tmem disk add "name=vm5,socket=$scratch/vm5,kind=swap,size=1M" || complain "disk add: status $?"
# keep_busy: who reads the configuration next waits until descriptor 8 is another.
keep_busy()
{
	mkfifo pipe
	mv pipe busy.conf
	exec 8<>busy.conf
}
is_busy()
{
	for _ in $(seq 600); do
		readlink "/proc/$daemon/fd"/* | grep -q 'busy.conf$' && return
		sleep 0.05
	done
	complain "the daemon does not reload: $(cat "$log")"
	finish
}
keep_busy
kill -HUP "$daemon"
is_busy
kill -HUP "$daemon"
rm -f spoken
perl -MSocket -e '
	socket my $s, AF_UNIX, SOCK_SEQPACKET, 0 or die;
	connect $s, pack_sockaddr_un("$ARGV[0].takeover") or die;
	send $s, pack("a8 L L L L Q a1024", "tmemover", 2, 1, 1, 1, ~0, "anonymous"), 0;
	open(my $f, ">", "spoken"); close($f);
	my $message;
	while (defined(recv $s, $message, 8192, 0) && length $message) {
		print "$1\n" while $message =~ /(name=\w+)/g;
		last if unpack("x12 L", $message) == 5;
	}' "$TMEM_CONTROL" >given 8>&- &
successor=$!
until test -e spoken; do
	kill -0 "$successor" || break
done
# It ends this reload, and begins the next one when it knows of the successor.
until grep -q reloaded "$log"; do
	keep_busy
	is_busy
done
tmem destroy vm4 || complain "destroy: status $?"
rm busy.conf
: >busy.conf
exec 8>&-
wait "$successor"
test "$(cat given)" = name=vm5 || complain "a successor is told of $(cat given)"
for _ in $(seq 600); do
	grep -q 'going on without it' "$log" && test -n "$(field vm5 name)" && break
	sleep 0.05
done
logged 'going on without it'
test "$(field vm4 name),$(field vm5 name)" = ,vm5 || complain "not vm5 alone is served"
end

# What cannot be is said before anything is served.
launch --vhost-user-blk "name=vm1,socket=$scratch/vm1,kind=swap"
ends 2
logged 'its size is missing'
finish
