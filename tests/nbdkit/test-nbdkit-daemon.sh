#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# socket=: the disk is in tmemd. Another server finds it again; kill -9 of tmemd
# under load, and the disk's user notices nothing; without a daemon requests
# fail when the time is up.
. "${abs_top_srcdir:?}/tests/nbdkit/nbdkit_common.sh"
want nbdcopy libnbd-bin
want_python
nbd_plugin=$plugin
. "$abs_top_srcdir/tests/daemon/daemon_common.sh"
plugin=$nbd_plugin
tmemd()
{
	start --memory 128M --arena "$arena"
}
# Both parts have a log.
serve_disk()
{
	local daemon_log=$log
	serve "$@"
	nbd_log=$log
	log=$daemon_log
}
leave_disk()
{
	local daemon_log=$log
	log=$nbd_log
	leave
	log=$daemon_log
}
real_pages 12 >pages
bytes=$(stat -c %s pages)

tmemd
serve_disk size=32M socket="$TMEM_SOCKET" name=disk1
must nbdcopy pages "$uri"
tmem list >list 2>&1 || complain "tmem list: $(cat list)"
grep -q disk1 list || complain "tmemd does not know disk1: $(cat list)"
refused 'somebody is attached to this client' size=32M \
	socket="$TMEM_SOCKET" name=disk1
leave_disk

# Another life of the server: the same disk.
serve_disk size=32M socket="$TMEM_SOCKET" name=disk1
must nbdcopy "$uri" back
cmp -n "$bytes" pages back || complain "another server: other bytes"

# Many requests under way over the channel.
if fio --enghelp=nbd >out 2>&1; then
	must fio --name=pages --ioengine=nbd --uri="$uri" --verify=crc32c \
		--verify_fatal=1 --buffer_compress_percentage=50 --iodepth=32 \
		--rw=randrw --bsrange=512-64k --size=8M --offset=16M
fi

# kill -9 under load.
cat >load.py <<'END'
import os, random, sys, nbd
h = nbd.NBD()
h.connect_uri(sys.argv[1])
chance = random.Random(int(sys.argv[2]))
want, count = {}, 0
while not os.path.exists("enough"):
    block = chance.randrange(2048)
    want[block] = ((b"%d " % chance.randrange(10 ** 9)) * 2048)[:4096]
    h.pwrite(want[block], block * 4096)
    block = chance.choice(list(want)[:64])
    assert h.pread(4096, block * 4096) == want[block], block
    if count == 0:
        print("going", flush=True)
    count += 1
for block, data in want.items():
    assert h.pread(4096, block * 4096) == data, block
print("requests", count)
END
seed=${TMEM_SEED:-$RANDOM}
echo "seed $seed (TMEM_SEED)"
: >load.out
"$python" load.py "$uri" "$seed" >load.out 2>&1 &
load=$!
started="$started $load"
for _ in $(seq 400); do
	grep -q going load.out && break
	sleep 0.05
done
for _ in 1 2 3; do
	sleep 0.4
	kill -9 "$daemon" || complain "tmemd had ended: $(cat "$log")"
	wait "$daemon" 2>/dev/null
	tmemd
done
: >enough
wait "$load" || complain "under kill -9: $(cat load.out)"
cat load.out
leave_disk

# Nobody comes back.
serve_disk size=32M socket="$TMEM_SOCKET" name=disk1 timeout=5
kill -9 "$daemon"
wait "$daemon" 2>/dev/null
cat >alone.py <<'END'
import errno, sys, nbd
h = nbd.NBD()
h.connect_uri(sys.argv[1])
try:
    h.pread(4096, 0)
    sys.exit("a read was answered")
except nbd.Error as error:
    assert error.errnum == errno.EIO, error
END
"$python" alone.py "$uri" >out 2>&1 || complain "without tmemd: $(cat out)"
tmemd
must nbdcopy "$uri" back
leave_disk
end

# Two servers in front of one image share its pages, when they may.
rm -f "$arena"
truncate -s 8M pages
start --memory 64M --arena anonymous --boot tmem_shared_auth=1
refused 'tmem shared-auth one --uuid' image=pages readonly=on share=base \
	socket="$TMEM_SOCKET" name=one
end
start --memory 64M --arena anonymous --boot tmem_shared_auth=0
for name in one two; do
	serve_disk image=pages readonly=on share=base socket="$TMEM_SOCKET" \
		name=$name
	must nbdcopy --connections=1 "$uri" back
	cmp pages back || complain "shared: other bytes"
	eval "server_$name=\$server nbd_log_$name=\$nbd_log"
done
tmem list >list 2>&1
awk '$1 == "two" { found = 1; if ($(NF - 1) != 2048) exit 1 }
	END { exit !found }' list ||
	complain "the second did not read what the first had put: $(cat list)"
for name in one two; do
	eval "server=\$server_$name nbd_log=\$nbd_log_$name"
	leave_disk
done
end
finish
