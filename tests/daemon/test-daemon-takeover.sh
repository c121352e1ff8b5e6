#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# tmemd --takeover: a new daemon replaces a running one under load, and nobody
# loses a page or waits for long (a second, on a machine that is idle); a
# successor that cannot is refused, or fails, and the old one serves on.
# TMEM_TAKEOVER_PAGES: how many pages; TMEM_TAKEOVER_MS: the longest that a
# client may wait.
. "${abs_top_srcdir:?}/tests/daemon/daemon_common.sh"
pages=${TMEM_TAKEOVER_PAGES:-65536}
memory=${TMEM_TAKEOVER_MEMORY:-512M}
# A machine that is busy with other things may take longer than is promised, and
# instrumented code promises nothing.
limit_ms=${TMEM_TAKEOVER_MS:-5000}
test "${TM_SANITIZERS:-no}" = no || limit_ms=60000

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
	logged "to a successor (peers: 1,"
	logged "ends: a successor serves"
	daemon=$new
	log=log.$logs
	grep -q 'must connect again' "$log" && complain "a peer was lost: $(cat "$log")"
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
	kill -0 "$daemon" && tmem stats >/dev/null && return
	complain "the old daemon is gone, or does not answer: $(cat "$log")"
	finish
}

# attach PAGES: a client with so many, until `leave`, which looks whether they are right.
attach()
{
	rm -f go
	mkfifo go
	"$test_programs/load_client" "$TMEM_SOCKET" load "$1" 0 <go >out 2>err &
	client=$!
	started="$started $client"
	exec 3>go
	for _ in $(seq 1200); do
		grep -q ready out && return
		sleep 0.1
	done
}

leave()
{
	exec 3>&-
	wait "$client" || complain "$1: the client: status $?: $(cat err)"
	grep -q 'wrong 0 ' out || complain "$1: pages were lost: $(cat out)"
}

# What somebody says who is no successor, or one of another age: a version, the
# layouts that it opens, how many bytes of that are sent (0: it hangs up), and
# how many seconds after it came. Prints the answer.
speak()
{
	perl -MSocket -e '
		my ($path, $magic, $version, $min, $max, $bytes, $late) = @ARGV;
		socket my $s, AF_UNIX, SOCK_SEQPACKET, 0 or die;
		connect $s, pack_sockaddr_un("$path.takeover") or die;
		my $hello = pack "a8 L L L L Q a1024", $magic, $version, 1,
			$min, $max, 0, "anonymous";
		sleep $late if $late;
		$bytes ? send $s, substr($hello, 0, $bytes), 0 : shutdown $s, 1;
		recv $s, my $answer, 4096, 0;
		my (undef, undef, undef, $status, undef, $text) =
			unpack "Q L L l L Z256", $answer;
		print "$status $text\n" if length $answer;
	' "$TMEM_CONTROL" "$@" >answer
}
start --memory "$memory"
"$test_programs/load_client" "$TMEM_SOCKET" load 1000 5 >out 2>err &
client=$!
started="$started $client"
speak tmemover 2 2 9 1056
grep -q 'the arena has layout 1, and the successor opens 2 to 9' answer ||
	complain "other layouts: it is told \"$(cat answer)\""
logged "a successor is refused: the arena has layout 1"
speak tmemover 3 1 1 1056
grep -q 'another language' answer || complain "another version: $(cat answer)"
speak somebody 2 1 1 1056
grep -q 'another language' answer || complain "another magic: $(cat answer)"
for bytes in 1 15 16 24 1055; do
	speak tmemover 2 1 1 $bytes
	grep -q 'another language' answer || complain "$bytes bytes: $(cat answer)"
done
speak tmemover 2 1 1 0
grep -q 'another language' answer || complain "no bytes: $(cat answer)"
# One that has to wait for its turn.
speak tmemover 2 2 9 1056 2
grep -q 'the arena has layout 1' answer || complain "late: $(cat answer)"
wait "$client" || complain "the client: status $?: $(cat err)"
grep -q 'wrong 0 ' out || complain "pages were lost: $(cat out)"
end

for where in anonymous "$arena"; do
	start --memory "$memory" --arena "$where"
	attach "$pages"
	for _ in 1 2 3; do
		sleep 0.5
		replace --memory "$memory" --arena "$where"
	done
	goes_on "another arena" --memory "$memory" --arena "$arena_dir/elsewhere"
	# An address of no machine: the last thing that is opened.
	goes_on "203.0.113.1:9" --memory "$memory" --arena "$where" \
		--metrics 203.0.113.1:9
	logged "going on without it"
	sleep 0.5
	leave "$where"
	echo "$where: $(tail -n 1 out)"
	longest=$(sed -n 's/.*longest_ms //p' out)
	test "$longest" -lt "$limit_ms" || complain "$where: a client waited for $longest ms"
	end
done

# reload TEXT: and the log says so.
reload()
{
	local seen
	seen=$(wc -l <"$log")
	kill -HUP "$daemon"
	for _ in $(seq 1200); do
		tail -n +$((seen + 1)) "$log" | grep -qF -- "$1" && return
		sleep 0.05
	done
	complain "a reload does not say \"$1\": $(cat "$log")"
}

# What a reload could not bring into force is not what there is to take over.
printf '[daemon]\narena = anonymous\nmemory = 32M,max=64M\n' >tmem.conf
start --config tmem.conf
attach 500
sed -i "s,anonymous,$arena_dir/elsewhere," tmem.conf
reload 'until the next start'
goes_on "another arena than anonymous" --config tmem.conf
sed -i "s,^arena.*,arena = anonymous,; s/32M,max=64M/128M/" tmem.conf
reload 'the memory limit stays'
goes_on "was made for at most 64 MiB" --config tmem.conf
logged "going on without it"
# Nor is a socket that another program has.
perl -MSocket -e 'socket my $s, AF_UNIX, SOCK_STREAM, 0; bind $s, pack_sockaddr_un("theirs");
	listen $s, 1; open my $f, ">", "listens"; sleep 600' 3>&- &
other=$!
started="$started $other"
until test -e listens; do
	kill -0 $other || break
	sleep 0.05
done
sed -i "s/128M/32M,max=64M/" tmem.conf
printf '[client other]\nsocket = %s/theirs\n' "$scratch" >>tmem.conf
reload 'another program listens'
goes_on "another program listens" --config tmem.conf
logged "going on without it"
leave "what was not in force"

# holder: the process that the socket's lock names, which it does at any time.
holder()
{
	head -n 1 "$TMEM_SOCKET.lock"
}

# Wherever a successor fails, the sockets stay those of the old one.
attach 500
tmem disk add "name=vm,socket=$scratch/vm,kind=swap,size=1M" || complain "disk add: status $?"
sed -i '/^.client other/,$d' tmem.conf
limit=$(ulimit -S -n)
for files in $(seq 14 2 30); do
	ulimit -S -n "$files"
	old=$daemon old_log=$log
	launch --config tmem.conf --takeover
	ulimit -S -n "$limit"
	if serves; then
		break
	fi
	daemon=$old log=$old_log
	for _ in $(seq 1200); do
		test "$(holder)" = "$daemon" && break
		sleep 0.05
	done
	test -S "$TMEM_SOCKET" && test -S vm && tmem stats >/dev/null &&
		test "$(holder)" = "$daemon" && continue
	complain "with $files files: the old daemon's sockets are not: $(ls -l) $(cat "$log")"
	kill -9 "$client" "$daemon"
	finish
done
leave "few files"
end
finish
