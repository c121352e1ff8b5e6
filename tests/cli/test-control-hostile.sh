#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# The control socket under requests that no good client sends, and the program
# under answers that no good daemon gives: each ends, soon, with a message or a
# closed connection, and who comes next is served.
. "${abs_top_srcdir:?}/tests/cli/common.sh"
. "$abs_top_srcdir/tests/cli/control.sh"
needs_json
needs_curl
perl -MIO::Socket::UNIX -e 1 2>/dev/null || skip "perl has no IO::Socket::UNIX"

# --- the daemon's side
start_host --metrics metrics web db

# talk CODE: perl with $s connected; what came back is in ./out.
talk()
{
	called="talk $1"
	timeout 60 perl -MIO::Socket::UNIX -e '
		$SIG{PIPE} = "IGNORE";
		sub connected { IO::Socket::UNIX->new(Peer => "control") || die }
		my $s = connected();
		eval shift; die $@ if $@;
		shutdown $s, 1;
		local $/; print <$s> // "";' "$1" >out 2>err ||
		complain "$called: ends with $?: $(cat err)"
}

status_is()
{
	grep -q "^HTTP/1\.[01] $1 " out || complain "$called: $(head -c 300 out)"
}

talk 'print $s "GET /clients HTTP/1.1\r\nHost: x\r\n\r\n"'
status_is 200
talk 'print $s "\0\1\2\3 garbage\r\n\r\n"'
talk 'print $s "x" x 100_000'
talk 'print $s "GET / HTTP/1.1\r\n" . "A: b\r\n" x 100_000 . "\r\n"'
talk 'print $s "GET /" . "a" x 60_000 . " HTTP/1.1\r\nHost: x\r\n\r\n"'
talk 'print $s "GET / HTTP/1.1\r\nHost: x\r\n"'
talk 'print $s "POST /flush HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n{}"'
talk 'print $s "POST /flush HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n{}"'
talk 'print $s "POST /flush HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n"'
talk 'print $s "POST /flush HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{}"'
# What is too long is refused before it is all there.
talk 'print $s "POST /flush HTTP/1.1\r\nHost: x\r\nContent-Length: 70000\r\n\r\n"'
status_is 413
talk 'print $s "POST /flush HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
	for (1 .. 10_000) { print $s "10000\r\n" . "x" x 65536 . "\r\n" or last }'
status_is 413
talk 'print $s "POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n"'
status_is 404
# Deep JSON, JSON with zeros, JSON of another encoding.
ask 400 POST /flush "$(printf '[%.0s' $(seq 60000))"
ask 400 POST /flush "$(printf '{"a":%.0s' $(seq 10000))"
talk 'my $j = "{\"bytes\":\"\\u0000\"}"; print $s "POST /flush HTTP/1.1\r\nHost: x\r\nContent-Length: " . length($j) . "\r\n\r\n$j"'
status_is 400
talk 'my $j = "{\"by\xfftes\":1}"; print $s "POST /flush HTTP/1.1\r\nHost: x\r\nContent-Length: " . length($j) . "\r\n\r\n$j"'
status_is 400
# Who never reads, who comes and goes, who asks for more on one connection.
talk 'for (1 .. 200) { my $t = connected(); print $t "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"; close $t }'
talk 'for (1 .. 1000) { close connected() }'
talk 'print $s "GET /store HTTP/1.1\r\nHost: x\r\n\r\n" x 50'
test "$(grep -c '^HTTP/1.1 200' out)" = 1 || complain "more than one answer"
talk 'my @many = map { my $t = connected(); print $t "POST /flush"; $t } 1 .. 15;
	print $s "GET /store HTTP/1.1\r\nHost: x\r\n\r\n"'
status_is 200
# Of another user: refused, if the directory's mode did not.
if test "$(id -u)" = 0 && type setpriv >/dev/null 2>&1; then
	chmod 711 .
	chmod 777 control
	setpriv --reuid 65534 --clear-groups curl -sS --unix-socket \
		"$scratch/control" http://x/clients >out 2>err
	grep -q "only root and the daemon's own user" out ||
		complain "another user gets $(cat out err)"
fi
expect 0 list --json
json '@$j == 2 && $j->[0]{pages} == 200'
stop_host

# --- the program's side

# answered STATUS TEXT: `tmem list` ends so when that is what it is answered.
answered()
{
	rm -f bad listening
	mkfifo listening
	perl -MIO::Socket::UNIX -e '
		$SIG{PIPE} = "IGNORE";
		my $l = IO::Socket::UNIX->new(Local => "bad", Listen => 1) || die;
		open my $f, ">", "listening"; close $f;
		my $s = $l->accept; my $line = <$s>;
		alarm 120; eval "\$s->print($ARGV[0])"; die $@ if $@' "$2" &
	read -r _ <listening
	expect "$1" --control bad list
	wait $!
}

answered 1 '""'
says 'hung up'
answered 1 '"SSH-2.0-x\r\n"'
says 'no HTTP'
answered 1 '"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n[]"'
says 'hung up'
answered 1 '"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n[]"'
says 'no HTTP'
answered 1 '"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999\r\n\r\n" . "x" x 70_000_000'
says 'Message too long'
answered 1 '"HTTP/1.1 200 OK\r\n" . "A: b\r\n" x 1_000_000'
says 'no HTTP'
answered 1 '"A" x 10_000_000'
says 'no HTTP'
answered 1 '"HTTP/1.1 100 Continue\r\n\r\n" x 100_000'
says 'no HTTP'
answered 1 '"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[]xx\r\n"'
says 'no HTTP'
answered 1 '"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-2\r\n[]"'
says 'no HTTP'
answered 1 '"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[]\r\n"'
says 'hung up'
answered 1 '"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[x"'
says 'not JSON'
answered 1 '"HTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\n{}"'
says 'status 500'
answered 1 '"HTTP/1.1 500 Oh\r\nContent-Length: 24\r\n\r\n{\"error\":\"\\u001b[2Jhello\"}"'
answered 0 '"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;ext=1\r\n[\r\n1\r\n]\r\n0\r\n\r\n"'
answered 0 '"HTTP/1.0 200 OK\r\n\r\n[]"'
# JSON of shapes that nobody expects.
for json in '{}' '[1, "x", null, [], {}]' '[{"name": 1, "pages": "x", "pools": 7}]' \
	'[{"pages": -1, "same_filled": 9, "put": []}]'; do
	answered 0 "\"HTTP/1.0 200 OK\\r\\n\\r\\n\" . q($json)"
done
answered 1 '"HTTP/1.0 200 OK\r\n\r\nnull"'
says 'not JSON'
finish
