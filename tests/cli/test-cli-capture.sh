#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# A dump is the pages and nothing else, and there is all of it or none.
. "${abs_top_srcdir:?}/tests/cli/common.sh"

# Files: whole, in order, the last page filled up with zeros.
make_dump 5 >a
head -c 100 a >b
expect 0 capture --file a b --output dump
{ cat a b; head -c 3996 /dev/zero; } | cmp - dump || complain "dump is not a and b"
test "$(stat -c %a dump)" = 600 || complain "a dump may be read by others"
mkdir -p tree/1 && mv a tree/1 && mv b tree && : >tree/empty
expect 0 capture --file tree --output dump
test "$(stat -c %s dump)" = $((6 * 4096)) || complain "not all files of a tree"
expect 0 capture --file tree --most 8K --output -
cmp -n 8192 out tree/1/a && test "$(stat -c %s out)" = 8192 || complain "--most 8K to -"

# A process: what is in its memory is in the dump.
start_sample
expect 0 capture --pid "$sample" --output process
if test -s process; then
	test $(($(stat -c %s process) % 4096)) = 0 || complain "a part of a page"
	grep -qa 'key19999' process || complain "the process's data are not in the dump"
fi

# Nothing half done: what had the name before is as it was.
before=$(sha256sum process)
files=$(ls -A)
unchanged()
{
	test "$before" = "$(sha256sum process)" || complain "$called: the old dump is gone"
	test "$files" = "$(ls -A)" || complain "$called: left behind:" $(ls -A)
}
: >empty
files=$(ls -A)
expect 1 capture --file empty --output process
says "empty: is empty"
unchanged
expect 1 capture --pid 2147483647 --output process
says "there is no such process"
unchanged
expect 1 capture --file tree no-such-file --output process
says "no-such-file: cannot be opened"
unchanged
expect 1 capture --file tree --output no-such-folder/dump
says "no-such-folder/dump: cannot be written"
unchanged
if test -c /dev/full; then
	expect 1 capture --file tree --output /dev/full
	says "No space left on device"
	test -c /dev/full || complain "a device was replaced"
fi

# A process that has ended, waited for or not, has no memory.
sh -c 'echo $$ >pid' & wait $!
expect 1 capture --pid "$(cat pid)" --output process
says "there is no such process"
mkfifo zombie
perl -e '$| = 1; my $pid = fork; exit unless $pid; print "$pid\n"; sleep 300' >zombie &
started="$started $!"
read -r pid <zombie
while test -e "/proc/$pid" && ! grep -q ') Z ' "/proc/$pid/stat"; do
	sleep 0.01
done
files=$(ls -A)
expect 1 capture --pid "$pid" --output process
says "process $pid"
unchanged

# Nor has one that runs another program when some of its pages have been written.
mkfifo go dump-pipe
perl -e '
	my $pages = "page" x 4194304;
	$| = 1;
	print "ready\n";
	<STDIN>;
	exec "sleep", 300' <go >ready &
pid=$!
started="$started $pid"
exec 6>go
read -r _ <ready
called="capture of a process that runs another program"
tmem capture --pid "$pid" --output dump-pipe 2>err >out &
job=$!
exec 5<dump-pipe
head -c 4096 <&5 >/dev/null
echo >&6
while kill -0 "$pid" && ! grep -q sleep "/proc/$pid/comm"; do
	sleep 0.01
done
cat <&5 >/dev/null
wait $job && complain "$called: status 0"
says "process $pid: ended, or began to run another program"
exec 5<&- 6>&-
rm dump-pipe

# Interrupted: who says so leaves the old dump. A signal that comes when the dump
# has its name, or before any of it was written, ends the program as it ends any.
head -c 4194304 /dev/zero >zeros
set -- --file zeros --file zeros --file zeros --file zeros
set -- "$@" "$@" "$@" "$@"
complete=$(for i in $(seq 16); do cat zeros; done | sha256sum)
files=$(ls -A)
for i in 1 2 3 4 5 6 7 8; do
	tmem capture "$@" --output process 2>err >out &
	job=$!
	sleep 0.0$i
	kill -TERM $job 2>/dev/null
	wait $job
	status=$?
	called="capture, interrupted"
	case $status in
	0) before="${complete%-}process" ;;
	143)
		if test -s err; then
			says "interrupted; process was not written"
			interrupted=yes
		elif test "$(sha256sum <process)" = "$complete"; then
			before="${complete%-}process"
		fi ;;
	*) complain "an interrupted capture: $status, $(cat err)" ;;
	esac
	unchanged
done
test -n "${interrupted:-}" || echo "(too fast to be interrupted)"

expect 2 capture --file tree
says "Name an --output"
expect 2 capture --output x
says "nothing to capture"
expect 2 capture --pid 1 --file tree --output x
says "not both"
expect 2 capture --pid none --output x
says '"none" is not a number'
if test "$(id -u)" != 0; then
	chmod 0 tree/b
	expect 1 capture --file tree/b --output x
	says "tree/b: cannot be opened: Permission denied"
	expect 1 capture --pid 1 --output x
	says "may not be read"
fi
finish
