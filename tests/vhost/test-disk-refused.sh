#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# Disks that cannot be had: the others are served all the same, the operator
# learns why, no client is left behind, and nobody's socket is taken away.
. "${abs_top_srcdir:?}/tests/daemon/daemon_common.sh"
peer=$abs_top_builddir/tests/vhost/disk_peer

# refused TEXT DISK: cannot be added, because of that.
refused()
{
	tmem disk add "$2" 2>err && complain "$2: is added"
	grep -qF -- "$1" err || complain "$2: $(cat err), not \"$1\""
	tmem list --json >list
	grep -q '"vm2"' list && complain "$2: leaves a client"
}

cat >disks.conf <<EOF
[disk vm1]
socket=$scratch/vm1
kind=swap
size=1M
[disk bad]
socket=$scratch/bad
kind=cache
image=$scratch/nowhere
EOF
start --memory 16M --arena anonymous --config disks.conf
logged 'disk bad: image'
logged 'this disk is not served, the others are'
"$peer" vm1 write 1 100 verify 1 100 || complain "vm1 is not served"

for path in "$scratch/vm1" "$TMEM_SOCKET" "$TMEM_CONTROL"; do
	refused 'served by this daemon already' "name=vm2,socket=$path,kind=swap,size=1M"
done
refused 'serves' "name=vm2,socket=$scratch//vm1,kind=swap,size=1M"
refused "$scratch/nowhere" "name=vm2,socket=$scratch/vm2,kind=cache,image=$scratch/nowhere"
"$peer" vm1 verify 1 100 || complain "vm1 is no longer what it was"

# Another program's, of either type; and a dead one's, which is taken.
for type in SOCK_STREAM SOCK_SEQPACKET; do
	rm -f other listens
	perl -MSocket -e '
		socket(my $s, AF_UNIX, eval(shift), 0) or die;
		bind($s, pack_sockaddr_un("other")) or die; listen($s, 5) or die;
		open(my $f, ">", "listens"); close($f); sleep(60);' $type &
	other=$!
	until test -e listens; do
		kill -0 $other || break
	done
	before=$(stat -c %i other)
	refused 'another program listens' "name=vm2,socket=$scratch/other,kind=swap,size=1M"
	test "$before" = "$(stat -c %i other)" || complain "its socket was taken away"
	kill $other
	wait $other 2>/dev/null
done
tmem disk add "name=vm2,socket=$scratch/other,kind=swap,size=1M" ||
	complain "nobody's socket is in the way"
"$peer" other write 2 100 verify 2 100 || complain "vm2 is not served"

end

# Opened again when what is wrong with it has been mended: its pages wait, longer
# than those of somebody who is not in the configuration.
cat >disks.conf <<EOF
[daemon]
user-linger=1s
[disk vm1]
socket=$scratch/vm1
kind=swap
size=1M
backing=$scratch/file
EOF
start --memory 16M --arena "$arena" --config disks.conf
tmem disk add "name=vm2,socket=$scratch/vm2,kind=swap,size=1M" || complain "vm2 is not added"
"$peer" vm1 write 3 100 verify 3 100 || complain "vm1 does not keep its blocks"
"$peer" vm2 write 3 100 || complain "vm2 cannot be written"
end
mv file kept
mkdir file
start --memory 16M --arena "$arena" --config disks.conf
logged 'disk vm1: backing'
for _ in $(seq 1200); do
	tmem list --json | grep -q '"vm2"' || break
	sleep 0.05
done
tmem list --json | grep -q '"vm2"' && complain "an operator's disk of before stays"
tmem list --json | grep -q '"vm1"' || complain "a disk that was not opened has lost its pages"
rmdir file
mv kept file
tmem disk add "name=vm1,socket=$scratch/vm1,kind=swap,size=1M,backing=$scratch/file" ||
	complain "the mended disk is not added"
"$peer" vm1 verify 3 100 || complain "the mended disk is not what it was"
end
finish
