#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# Sockets that systemd passes are used and left in place, and it is told what
# the daemon does. Perl stands in for systemd.
. "${abs_top_srcdir:?}/tests/daemon/daemon_common.sh"
grep -q '^#define HAVE_SYSTEMD 1' "$abs_top_builddir/config.h" ||
	skip "built without libsystemd"

perl -MSocket -e '
	socket my $s, AF_UNIX, SOCK_DGRAM, 0 or die;
	bind $s, pack_sockaddr_un("notify") or die;
	open my $ready, ">", "listening" or die;
	close $ready;
	$| = 1;
	while (defined recv $s, my $state, 4096, 0) {
		print "$state\n";
	}' >told &
started="$started $!"
until test -e listening; do
	kill -0 $! || break
	sleep 0.05
done

# told_of LINE SAYS: systemd is told so, soon.
told_of()
{
	for _ in $(seq 600); do
		grep -q "^$1" told && return
		sleep 0.05
	done
	complain "systemd is not told $2: $(cat told)"
}

cat >pass.pl <<'E2'
use Socket;
use POSIX ();
my @program = @ARGV;
my @paths = ($ENV{TMEM_SOCKET}, $ENV{TMEM_CONTROL}, "$ENV{TMEM_SOCKET}.vm");
for my $i (0 .. 2) {
	socket my $s, AF_UNIX, $i ? SOCK_STREAM : SOCK_SEQPACKET, 0 or die;
	bind $s, pack_sockaddr_un($paths[$i]) or die "$paths[$i]: $!";
	listen $s, 8 or die;
	POSIX::dup2(fileno $s, 10 + $i) or die;
}
# It listens there itself for as long as the unit is active.
if (!fork) {
	open my $file, ">", "systemd" or die;
	print $file "$$\n";
	close $file;
	sleep 600;
	exit;
}
POSIX::dup2(10 + $_, 3 + $_) for 0 .. 2;
$ENV{LISTEN_PID} = $$;
$ENV{LISTEN_FDS} = 3;
exec @program or die;
E2
mkdir -m 700 control
: >empty.conf
log=log.1
export NOTIFY_SOCKET=$scratch/notify
perl pass.pl "$abs_top_builddir/tmemd" \
	--config empty.conf --memory 64M 2>$log </dev/null &
daemon=$!
serves || { complain "does not serve: $(cat $log)"; finish; }
until test -s systemd; do sleep 0.05; done
caused=$(cat systemd)
told_of READY=1 "that it serves"
test -e "$TMEM_SOCKET.lock" && complain "a passed socket is locked"
expect 0 stats
"$test_programs/load_client" "$TMEM_SOCKET" load 100 1 >out 2>err ||
	complain "a client: $(cat err)"
kill -HUP "$daemon"
told_of RELOADING=1 "of a reload"

# succeed: to a daemon that systemd did not start.
succeed()
{
	old=$daemon
	start --memory 64M --takeover
	new=$daemon
	told_of "MAINPID=$new" "of the successor"
	daemon=$old
	ends 0
	daemon=$new
}

# It has those, too, that nobody has used yet.
succeed
expect 0 disk add "name=vm,socket=$TMEM_SOCKET.vm,kind=swap,size=1M"
end
told_of STOPPING=1 "of the end"
test -S "$TMEM_SOCKET" || complain "systemd's socket was taken away"

# A successor is the service from then on.
rm -f "$TMEM_SOCKET" "$TMEM_CONTROL"
start --memory 64M
: >told
succeed
end
finish
