#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# fio writes and verifies, from several threads, blocks of many sizes.
. "${abs_top_srcdir:?}/tests/nbdkit/nbdkit_common.sh"
want fio fio
fio --enghelp=nbd >/dev/null 2>&1 || skip "fio has no engine nbd"
seed=${TMEM_SEED:-$RANDOM}
echo "seed $seed (TMEM_SEED)"

# run ARGUMENT...: fio finds what it wrote.
run()
{
	must fio --name=pages --ioengine=nbd --uri="$uri" --randseed="$seed" \
		--verify=crc32c --verify_fatal=1 --buffer_compress_percentage=50 \
		--iodepth=32 --group_reporting "$@"
	grep -q 'err= 0' out || complain "fio: $(cat out)"
}
for codec in lz4 none; do
	serve size=48M memory=96M codec=$codec
	run --rw=randwrite --bs=4k --size=16M
	run --rw=randwrite --bsrange=512-64k --bs_unaligned=0 --size=16M \
		--verify_backlog=64
	run --rw=randrw --bs=4k --size=8M --numjobs=3 --offset_increment=8M \
		--verify_backlog=32
	leave
done

# Most of it in a file.
serve size=48M memory=4M backing=over
run --rw=randwrite --bsrange=512-64k --size=16M --verify_backlog=64
run --rw=randrw --bs=4k --size=8M --numjobs=3 --offset_increment=8M \
	--verify_backlog=32
leave
finish
