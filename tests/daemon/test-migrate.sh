#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# A client moves from one daemon to another while its guest runs and flushes;
# and whatever breaks on the way, the source has it as before, and the target has
# nothing of it.
. "${abs_top_srcdir:?}/tests/daemon/daemon_common.sh"
needs_json
guest_program=$test_programs/migrating_guest
test -x "$guest_program" || skip "migrating_guest is not built"
PAGES=3000

# start_daemon N ARGUMENT...: daemon N of sN and cN/c.
start_daemon()
{
	local n=$1
	shift
	start --socket "$scratch/s$n" --control "$scratch/c$n/c" --memory 128M "$@"
	started="$started $daemon"
	eval "daemon$n=$daemon"
}

# at N ARGUMENT...: tmem at daemon N.
at()
{
	local n=$1
	shift
	tmem --control "$scratch/c$n/c" "$@"
}

# start_guest: one that flushes, at daemon 1; descriptors 7 to it and 8 from it.
start_guest()
{
	rm -f guest-in guest-out
	mkfifo guest-in guest-out
	"$guest_program" "$scratch/s1" guest $PAGES <guest-in >guest-out 2>guest-err &
	guest=$!
	started="$started $guest"
	exec 7>guest-in 8<guest-out
	read -r line <&8
	test "$line" = ready || { complain "the guest: $line $(cat guest-err)"; finish; }
}

end_guest()
{
	exec 7>&-
	wait "$guest" || complain "the guest ends with $?: $(cat guest-err)"
	exec 8<&-
	at 1 destroy guest 2>/dev/null
	at 2 destroy guest 2>/dev/null
}

# stop_guest: $left pages are there.
stop_guest()
{
	echo stop >&7
	read -r line left <&8
	test "$line" = stopped || complain "the guest says $line"
}

# guest_is_at N: whole, and nothing that was flushed.
guest_is_at()
{
	echo "check $scratch/s$1" >&7
	read -r line <&8
	test "$line" = "missing 0 stale 0 wrong 0" ||
		complain "$what: at daemon $1: $line (of $left)"
}

# state N EXPRESSION: true of the client "guest" at daemon N, or of no client.
state()
{
	at "$1" list guest --json >out 2>err || echo null >out
	called=$what
	json "$2"
}

source_has_it()
{
	at 1 list guest --json 2>/dev/null >out &&
		grep -q '"frozen": false' out && grep -q '"migrating": false' out
}
target_has_nothing()
{
	test "$(at 2 list --json | tr -d '[:space:]')" = '[]' &&
		at 2 stats --json | tr -d '[:space:]' |
		grep -q '"counts":{[^}]*"pages":0[,}]'
}

# The source has it thawed, as before, and the target has nothing of it, as soon
# as both have noticed.
nothing_happened()
{
	until_true source_has_it
	until_true target_has_nothing
}

# until COMMAND: for a while
until_true()
{
	local i
	for i in $(seq 1200); do
		"$@" && return
		sleep 0.05
	done
	complain "$what: never: $*"
}

start_daemon 1
start_daemon 2 --arena "$arena"

what="a migration"
start_guest
cat >stop-it <<-'END'
	echo stop >guest-in
	read -r line left <guest-out
	echo "$line $left" >stopped
END
at 1 migrate guest --to "unix:$scratch/c2/c" --stop "sh stop-it" --json >out 2>err ||
	complain "$what: $(cat err)"
called=$what
json '$j->{name} eq "guest" && $j->{pages} > 0 && $j->{gone} > 0 && !$j->{lost}'
read -r line left <stopped
guest_is_at 2
state 2 '$j && !$j->{frozen}'
end_guest

what="a migration through a command"
start_guest
at 1 migrate guest --stop "sh stop-it" \
	--to "exec:cat | tmem --control $scratch/c2/c restore --live -" >out 2>err ||
	complain "$what: $(cat err)"
read -r line left <stopped
guest_is_at 2
end_guest

what="a client that was frozen before"
start_guest
stop_guest
at 1 freeze guest
at 1 migrate guest --to "unix:$scratch/c2/c" >out 2>err || complain "$what: $(cat err)"
guest_is_at 2
state 2 '$j && $j->{frozen}'
end_guest

what="a guest that was not stopped"
start_guest
cat >flush-it <<-'END'
	echo flush >guest-in
	read -r line <guest-out
	test "$line" = flushed
END
at 1 migrate guest >out 2>err \
	--to "exec:tmem --control $scratch/c2/c restore --live - && sh flush-it" &&
	complain "$what: is handed over"
grep -q 'its guest was not stopped' err || complain "$what: $(cat err)"
at 2 destroy guest || complain "$what: the target has no client"
nothing_happened
stop_guest
guest_is_at 1
at 1 migrate guest --to "unix:$scratch/c2/c" >out 2>err || complain "$what: $(cat err)"
guest_is_at 2
end_guest

# Each of these leaves everything as it was.
start_guest
fails()
{
	what=$1
	shift
	at 1 migrate guest "$@" >out 2>err && complain "$what: works"
	test -s err || complain "$what: no message"
	nothing_happened
}
fails "nobody at the target" --to "unix:$scratch/nowhere"
fails "a command that is not there" --to exec:no-such-command
fails "a command that reads nothing" --to 'exec:true <&-; exit 1'
fails "a command that ends well and reads nothing" --to exec:true
grep -q 'ended without taking the client' err || complain "$what: $(cat err)"
fails "a command that ends well and reads a little" --to 'exec:head -c 2000000 >/dev/null'
grep -q 'ended without taking the client' err || complain "$what: $(cat err)"
fails "a command that reads a little" --to 'exec:head -c 100000 >/dev/null; exit 1'
fails "a command that loses the end" \
	--to "exec:head -c -20 | tmem --control $scratch/c2/c restore --live -"
fails "a command that loses the middle" \
	--to "exec:perl -e 'binmode STDIN; local \$/; \$_ = <STDIN>; substr(\$_, 200000, 5000) = qw(); print' | tmem --control $scratch/c2/c restore --live -"
fails "a guest that cannot be stopped" --to "unix:$scratch/c2/c" --stop false
at 2 set --memory 1M || complain "less memory"
fails "a target without room" --to "unix:$scratch/c2/c"
at 2 set --memory 128M

# A guest that takes until go_on to stop; everything else is copied.
cat >hold-it <<-'END'
	touch copied
	for i in $(seq 600); do
		test -e hold || exit 0
		sleep 0.1
	done
END
hold="sh hold-it"
go_on()
{
	rm -f hold
}

# in_the_midst TO STOP: begins a migration that stays where it is; $migration.
in_the_midst()
{
	rm -f copied
	touch hold
	# Not through a function: that would be a shell between it and us.
	tmem --control "$scratch/c1/c" migrate guest --to "$1" --stop "$2" \
		>out 2>migrate-err &
	migration=$!
	started="$started $migration"
}
is_migrating()
{
	at 1 list guest --json 2>/dev/null | grep -q '"migrating": true'
}
is_thawed()
{
	at 1 list guest --json 2>/dev/null | grep -q '"frozen": false'
}
is_left()
{
	at 1 list guest --json 2>/dev/null | grep -q '"attached": false'
}
# The program alone, not those that it has started: that is the caller's.
kill_migration()
{
	kill -9 $migration
	wait $migration 2>/dev/null
}

what="the program is killed while it copies"
in_the_midst 'exec:echo $$ >copier; exec sleep 60' true
until_true test -s copier
until_true is_migrating
kill_migration
until_true is_thawed
kill "$(cat copier)"
nothing_happened

what="the program is killed when all is copied"
in_the_midst "unix:$scratch/c2/c" "$hold"
until_true test -e copied
kill_migration
until_true is_thawed
nothing_happened
go_on

what="thawing and saving while it migrates"
in_the_midst "unix:$scratch/c2/c" "$hold"
until_true test -e copied
at 1 thaw guest 2>err && complain "$what: thaws"
grep -q 'migrates' err || complain "$what: $(cat err)"
at 1 save guest x.save 2>err && complain "$what: saves"
grep -q 'saved or migrated already' err || complain "$what: $(cat err)"
curl -sS --unix-socket c1/c -X POST http://tmem/clients/guest/migration/cancel >/dev/null
go_on
wait $migration && complain "$what: a migration that was cancelled succeeds"
until_true is_thawed
nothing_happened

what="the target is killed"
in_the_midst "unix:$scratch/c2/c" "$hold"
until_true test -e copied
kill -9 "$daemon2"
wait "$daemon2" 2>/dev/null
go_on
wait $migration && complain "$what: succeeds"
until_true is_thawed
# What it had of the client in its arena is gone when it comes back.
start_daemon 2 --arena "$arena"
nothing_happened
stop_guest
guest_is_at 1
end_guest

what="the guest is killed"
start_guest
in_the_midst "unix:$scratch/c2/c" "$hold"
until_true test -e copied
kill -9 "$guest"
wait "$guest" 2>/dev/null
exec 7>&- 8<&-
# What it asked for last is done.
until_true is_left
go_on
wait $migration || complain "$what: $(cat migrate-err)"
at 2 list guest --json >out 2>err
called=$what
json '$j->{pages} > 0 && !$j->{attached} && !$j->{frozen}'
at 2 destroy guest

what="the client is destroyed"
start_guest
in_the_midst "unix:$scratch/c2/c" "$hold"
until_true test -e copied
at 1 destroy guest
go_on
wait $migration && complain "$what: succeeds"
at 2 list --json >out 2>err
called=$what
json '!@$j'
kill -9 "$guest"
wait "$guest" 2>/dev/null
exec 7>&- 8<&-
at 1 destroy guest 2>/dev/null

what="the source is killed"
start_guest
in_the_midst "unix:$scratch/c2/c" "$hold"
until_true test -e copied
kill -9 "$daemon1"
go_on
wait $migration && complain "$what: succeeds"
at 2 list --json >out 2>err
called=$what
json '!@$j'
kill -9 "$guest"
wait "$guest" 2>/dev/null
exec 7>&- 8<&-

# Both have gone through all this without losing their sums.
daemon=$daemon2
log=log.$logs
end
finish
