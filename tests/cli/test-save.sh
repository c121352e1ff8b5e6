#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# save and restore from outside: into a file and back, by curl as well; what is
# damaged, cut, or not wanted; and files that Xen's tools have written.
. "${abs_top_srcdir:?}/tests/cli/common.sh"
. "$abs_top_srcdir/tests/cli/control.sh"
needs_json
needs_curl
start_host --pages 300 web db

# pages NAME: how many persistent pages the client has.
pages()
{
	tmem list "$1" --json >out 2>err || { echo none; return; }
	perl -MJSON::PP -e 'local $/; my $n = 0;
		$n += $_->{pages} for grep { $_->{persistent} }
			@{decode_json(<STDIN>)->{pools}};
		print "$n\n"' <out
}

# has_pages NAME N
has_pages()
{
	local got
	got=$(pages "$1")
	test "$got" = "$2" || complain "$1 has $got persistent pages, not $2"
}

# records FILE: each page with its name, in some order that is always the same.
records()
{
	perl -MDigest::MD5=md5_hex -e '
		local $/;
		binmode STDIN;
		my $all = <STDIN>;
		my ($at, @pages) = (32);
		while ($at < length $all) {
			my ($type, $count, $length) =
				unpack "L<3", substr $all, $at, 12;
			my $from = $at += 24;
			while ($type == 3 && $from < $at + $length) {
				my $size = vec($all, $from + 29, 8) ? 8 : 4096;
				push @pages, md5_hex(substr $all, $from,
					32 + $size);
				$from += 32 + $size;
			}
			$at += $length;
		}
		print map { "$_\n" } sort @pages;' <"$1"
}

# --- a file, and a client out of it
had=$(pages web)
expect 0 save web web.save
grep -q "^$had pages, " out || complain "save says \"$(cat out)\""
test "$(stat -c %a web.save)" = 600 || complain "a saved client is for its owner"
expect 0 list web --json
json '!$j->{frozen} && !$j->{migrating}'
expect 1 restore web.save
says 'there is a client "web" already'
has_pages web "$had"
expect 0 restore web.save --name copy
grep -q "\"copy\": $had pages\$" out || complain "restore says \"$(cat out)\""
has_pages copy "$had"
expect 0 list copy --json
json '!$j->{attached} && !$j->{frozen}'
json '@{$j->{pools}} == 2 && $j->{pools}[0]{pages} == 0'
# What comes out of the copy is what came out of the first.
expect 0 save copy copy.save
records web.save >1
records copy.save >2
test "$(wc -l <1)" = "$had" || complain "web.save has $(wc -l <1) pages"
cmp -s 1 2 || complain "a copy's pages differ"
expect 0 destroy web
expect 0 restore --json web.save
json '$j->{name} eq "web" && $j->{pages} == '"$had"' && !$j->{lost}'
has_pages web "$had"

# --- limits and state; twice in a row; frozen before
expect 0 set web --weight 7 --reservation 512K --cap 16M --compress 0
expect 0 freeze web
expect 0 save web frozen.save
expect 0 save web frozen.save --json
json 'keys_are($j, "name", "pages", "gone", "lost", "bytes")'
expect 0 list web --json
json '$j->{frozen} && !$j->{migrating}'
expect 0 restore frozen.save --name frozen
grep -q ', frozen$' out || complain "restore says \"$(cat out)\""
expect 0 list frozen --json
json '$j->{frozen} && $j->{weight} == 7 && !$j->{compress}'
json '$j->{reservation_bytes} == 512 << 10 && $j->{cap_bytes} == 16 << 20'
expect 0 thaw frozen
expect 0 destroy frozen

# is_migrating NAME. The daemon may learn a little later that its peer has gone.
is_migrating()
{
	tmem list "$1" --json | grep -q '"migrating": true'
}

# --- frozen while it is saved, which lasts: the save's own freeze is another
curl -sS --unix-socket control 'http://tmem/clients/copy/save?live=1' \
	-o live.save 2>live.err &
live=$!
started="$started $live"
until is_migrating copy || ! kill -0 $live; do sleep 0.01; done
expect 0 freeze copy
expect 1 thaw copy
says 'stays frozen'
ask 200 POST /clients/copy/migration/cancel
wait $live
while is_migrating copy; do sleep 0.01; done
expect 0 list copy --json
json '$j->{frozen} && !$j->{migrating}'
expect 0 thaw copy

# --- interrupted while the daemon keeps it waiting
perl -MIO::Socket::UNIX -e '
	$SIG{PIPE} = "IGNORE";
	my $l = IO::Socket::UNIX->new(Local => "slow", Listen => 1) || die;
	open my $ready, ">", "listening" or die; close $ready;
	open my $f, "<", "web.save" or die; read $f, my $b, 50_000;
	while (my $s = $l->accept) {
		print $s "HTTP/1.1 200 OK\r\n\r\n", $b; $s->flush;
		1 while <$s>;
	}' &
slow=$!
started="$started $slow"
until test -e listening; do
	kill -0 $slow || break
	sleep 0.01
done
echo precious >interrupted
for signal in INT TERM HUP; do
	called="save, SIG$signal"
	# A shell starts its jobs with SIGINT ignored, and nohup us with SIGHUP.
	perl -e '$SIG{INT} = $SIG{HUP} = "DEFAULT"; exec @ARGV' \
		tmem --control slow save web interrupted 2>err >out &
	job=$!
	for i in $(seq 6000); do
		test -n "$(find . -name 'interrupted.*' -size +24k)" && break
		sleep 0.01
	done
	kill -$signal $job
	wait $job 2>/dev/null
	got=$?
	test $got = $((128 + $(kill -l $signal))) || complain "$called: status $got"
	says 'interrupted; interrupted was not written'
	test "$(ls -d interrupted*)" = interrupted || complain "$called: left:" interrupted*
	test "$(cat interrupted)" = precious || complain "$called: took the old file"
done
kill $slow

# --- pipes
tmem save web - 2>err | tmem restore --name piped - >out 2>>err ||
	complain "a pipe from save to restore: $(cat err)"
has_pages piped "$had"
expect 0 destroy piped
mkfifo pipe
cat pipe >from-pipe &
expect 0 save web pipe
wait $!
cmp -s from-pipe frozen.save || complain "what went through a pipe differs"

# --- curl
curl -sS --unix-socket control http://tmem/clients/web/save -o curl.save
cmp -s curl.save frozen.save || complain "what curl saved differs"
got=$(curl -sS --unix-socket control -o out -w '%{http_code}' -T web.save \
	-X POST http://tmem/clients/curl/restore)
test "$got" = 200 || complain "curl restores: $got: $(cat out)"
has_pages curl "$had"
expect 0 destroy curl

# --- what is not right leaves nothing
clients=$(tmem list --json | perl -MJSON::PP -e 'local $/; print scalar @{decode_json(<STDIN>)}')
size=$(stat -c %s web.save)
for cut in 0 1 31 32 100 5000 $((size / 2)) $((size - 1)); do
	head -c $cut web.save >cut.save
	expect 1 restore cut.save --name broken
	test -s err || complain "a file cut at $cut: no message"
	got=$(curl -sS --unix-socket control -o out -w '%{http_code}' \
		-T cut.save -X POST http://tmem/clients/broken/restore)
	test "$got" = 400 || complain "curl, cut at $cut: $got: $(cat out)"
done
for at in 0 9 40 90 5000 $((size / 2)) $((size - 1)); do
	perl -e 'local $/; binmode STDIN; binmode STDOUT; $_ = <STDIN>;
		substr($_, $ARGV[0], 1) ^= "\x10"; print' $at <web.save >bad.save
	expect 1 restore bad.save --name broken
	got=$(curl -sS --unix-socket control -o out -w '%{http_code}' \
		-T bad.save -X POST http://tmem/clients/broken/restore)
	test "$got" = 400 || complain "curl, byte $at: $got: $(cat out)"
done
expect 1 restore /dev/zero --name broken
says 'this is no saved client'
printf x >>web.save
expect 1 restore web.save --name broken
says 'bytes behind its end'
expect 1 restore no-such-file
says 'No such file'
expect 0 list --json
json '@$j == '"$clients"

# --- files appear whole or not at all
echo precious >kept.save
expect 1 save nobody kept.save
says 'no client "nobody"'
test "$(cat kept.save)" = precious || complain "a save that failed took the old file"
expect 1 save web no-such-folder/x
says 'No such file'
expect 1 save web /dev/full
says 'No space left'
test -z "$(ls -- *.save.?????? 2>/dev/null)" || complain "temporary files stay:" *.save.*
while is_migrating web; do sleep 0.01; done
expect 0 list web --json
json '$j->{frozen} && !$j->{migrating}'
expect 2 save web
expect 2 save web - --json
expect 2 restore
expect 2 migrate web
expect 2 migrate web --to tcp:1
says 'neither unix:PATH'
for name in 12 all ''; do
	expect 2 restore web.save --name "$name"
	says '--name: '
	expect 2 migrate web --to unix:nowhere --name "$name"
	says '--name: '
done
for own in control ./control "$scratch/control"; do
	expect 1 migrate web --to "unix:$own"
	says 'is the daemon that has the client already'
done

# --- a migration's command that ends well and has taken nothing, or not all
expect 0 thaw web
for command in true 'head -c 1000 >/dev/null' 'exec <&-; sleep 0.1'; do
	expect 1 migrate web --to "exec:$command"
	says 'ended without taking the client, which stays where it is'
	while is_migrating web; do sleep 0.01; done
	expect 0 list web --json
	json '!$j->{frozen} && !$j->{migrating}'
	has_pages web "$had"
done

# --- of Xen's tools
make_libxc()
{
	perl -e '
		my ($flags, $extra) = @ARGV;
		binmode STDOUT;
		print pack("l<L<*", -5, 1, 16, 0xffffffff, $flags, 5, 77,
			0xffffffff);
		# ephemeral; persistent, with a list that ends early; empty
		print pack("L<3Q<2", 0, 1 << 24, 0, 0, 0);
		print pack("L<3Q<2", 3, 1 | 1 << 24, 10, 0, 0);
		print pack("Q<3L<", $_, 2, 3, 100 + $_), chr(65 + $_) x 4096
			for 0 .. 3;
		print "\xff" x 24;
		print pack("L<3Q<2", 4, 1 | 1 << 24, 2, 0, 0);
		print pack("Q<3L<", 9, 9, 9, $_), "ab" x 2048 for 1 .. 2;
		print pack("L<3Q<2", 5, 1 | 1 << 24, 0, 0, 0);
		print pack("L<", 0xffffffff);
		print pack("l<", -6), pack("L<Q<3L<", 3, 0, 2, 3, 100),
			pack("L<", 0xffffffff) if $extra;' "$@"
}
make_libxc 1 0 >old
expect 2 restore --from-libxc old
says 'wants --name'
expect 0 restore --from-libxc --name old old
has_pages old 6
expect 0 list old --json
json '$j->{weight} == 5 && $j->{compress} && !$j->{frozen}'
json 'join(" ", map { $_->{id} } @{$j->{pools}}) eq "0 3 4 5"'
json '!$j->{pools}[0]{persistent} && $j->{pools}[1]{pages} == 4'
# So small that all of it fits the pipe to a command that reads none of it.
expect 1 migrate old --to 'exec:sleep 0.5'
says 'ended without taking the client'
has_pages old 6
expect 0 destroy old
# The first page of the pool went while the domain moved; it was frozen before.
make_libxc 2 1 >old
tmem restore --from-libxc --name old - <old >out 2>err ||
	complain "from a pipe: $(cat err)"
has_pages old 5
expect 0 list old --json
json '$j->{frozen} && !$j->{compress} && $j->{pools}[1]{pages} == 3'
expect 0 destroy old
size=$(stat -c %s old)
for cut in $(seq 0 7 100) 200 4000 10000 $((size - 1)) $((size - 5)); do
	head -c "$cut" old >cut
	expect 1 restore --from-libxc --name old cut
	test -s err || complain "an old file cut at $cut: no message"
done
has_pages old none

stop_host
finish
