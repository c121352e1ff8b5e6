#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# Everybody's tools see an ordinary disk: nbdinfo, nbdcopy, qemu-io and
# qemu-img, over nbdkit's own filters, over TLS, and with nbdkit in the
# background.
. "${abs_top_srcdir:?}/tests/nbdkit/nbdkit_common.sh"
want nbdinfo libnbd-bin
want nbdcopy libnbd-bin
mib=24
real_pages $mib >pages
bytes=$(stat -c %s pages)

# --- what it says it can
serve size=64M memory=64M
must nbdinfo "$uri"
for line in 'export-size: 67108864' 'can_fast_zero: true' 'can_trim: true' \
	'can_fua: true' 'can_flush: true' 'can_cache: true' \
	'can_multi_conn: true' 'is_rotational: false' 'is_read_only: false' \
	'block_size_minimum: 1$' 'block_size_preferred: 4096' \
	'block_size_maximum: 67108864'; do
	grep -q "$line" out || complain "nbdinfo: no $line: $(cat out)"
done

# --- contents go round, and holes stay holes
must nbdinfo --map "$uri"
grep -q '^ *0 *67108864 *3 *hole,zero$' out ||
	complain "an empty disk is no hole: $(cat out)"
must nbdcopy --connections=4 pages "$uri"
must nbdcopy "$uri" back
cmp -n "$bytes" pages back || complain "nbdcopy: other bytes"
cmp -n $((67108864 - bytes)) -i "$bytes:0" back /dev/zero ||
	complain "what was not written is not zero"
must nbdinfo --map "$uri"
test "$(awk '/hole,zero/ { n += $2 } END { print n }' out)" -ge \
	$((67108864 - bytes - 4096)) || complain "holes are gone: $(cat out)"
must nbdcopy "$uri" "nbd+unix:///?socket=$socket"
leave

# --- a guest's own view of it
if command -v qemu-io >/dev/null; then
	serve size=64M memory=64M codec=none
	must qemu-io -f raw "$uri" -c 'write -P 0xa5 0 1M' \
		-c 'write -P 0x5a 4095 2' -c 'read -P 0x5a 4095 2' \
		-c 'read -P 0xa5 4097 1044479' -c 'read -P 0xa5 0 4095' \
		-c 'write -z 8K 16K' -c 'read -P 0 8K 16K' \
		-c 'discard 64K 64K' -c 'read -P 0 64K 64K' \
		-c 'write -f -P 1 512 512' -c 'read -P 1 512 512' \
		-c 'aio_write -P 7 32M 8M' -c 'aio_write -P 8 40M 8M' \
		-c aio_flush -c 'read -P 7 32M 8M' -c 'read -P 8 40M 8M' -c flush
	grep -iE 'fail|error|verif' out && complain "qemu-io: $(cat out)"
	leave
	serve size=64M memory=64M
	must qemu-img convert -f raw -O raw -W -m 8 pages "$uri" -n
	must qemu-img compare -f raw -F raw pages "$uri"
	leave
else
	echo "without qemu-io (Debian: qemu-utils)"
fi

# --- under filters
filter()
{
	local name=$1
	shift
	nbdkit_options=(--filter="$name")
	serve memory=64M "$@"
	must nbdcopy pages "$uri"
	must nbdcopy "$uri" back
	cmp -n "$bytes" pages back || complain "filter $name: other bytes"
	leave
	nbdkit_options=()
}
for name in cow fua noextents nozero noparallel readahead; do
	nbdkit --filter=$name null --dump-plugin >/dev/null 2>&1 || continue
	filter $name size=64M
done
filter blocksize size=64M minblock=512 maxdata=32K
filter offset size=64M offset=1M range=60M
filter limit size=64M limit=4

# The last block may be short.
serve size=67109376 memory=64M
must nbdcopy pages "$uri"
must nbdcopy "$uri" back
test "$(stat -c %s back)" = 67109376 || complain "a disk of another size"
cmp -n "$bytes" pages back || complain "a short last block: other bytes"
leave

# --- over TLS
if command -v psktool >/dev/null && nbdkit --dump-config | grep -q tls=yes; then
	psktool -u tester -p keys >/dev/null 2>&1
	nbdkit_options=(--tls=require --tls-psk="$scratch/keys")
	serve size=64M memory=64M
	tls="nbds+unix://tester@/?socket=$socket&tls-psk-file=$scratch/keys"
	nbdinfo --size "$uri" >out 2>&1 && complain "TLS was not required"
	must nbdcopy pages "$tls"
	must nbdcopy "$tls" back
	cmp -n "$bytes" pages back || complain "TLS: other bytes"
	leave
	nbdkit_options=()
else
	echo "without TLS (Debian: gnutls-bin)"
fi

# --- read-only
serve size=64M memory=64M readonly=yes
must nbdinfo "$uri"
grep -q 'is_read_only: true' out || complain "readonly= is not: $(cat out)"
nbdcopy pages "$uri" >out 2>&1 && complain "readonly= was written to"
leave

# --- in the background: the store is opened behind a fork
LD_PRELOAD=$preload nbdkit -U "$scratch/back.socket" -P "$scratch/back.pid" \
	"$plugin" size=64M memory=64M >out 2>&1 9<&- ||
	complain "in the background: status $?: $(cat out)"
for _ in $(seq 1200); do
	test -s back.pid && break
	sleep 0.05
done
caused=$(cat back.pid)
uri="nbd+unix:///?socket=$scratch/back.socket"
must nbdcopy pages "$uri"
must nbdcopy "$uri" back
cmp -n "$bytes" pages back || complain "in the background: other bytes"
finish
