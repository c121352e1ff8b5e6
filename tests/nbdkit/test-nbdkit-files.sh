#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# arena=: the disk survives kill -9 of its server. backing=: what memory refuses
# is in a file, and a file of another disk is refused.
# dedup=: what is there twice takes memory once.
. "${abs_top_srcdir:?}/tests/nbdkit/nbdkit_common.sh"
want nbdcopy libnbd-bin
real_pages 12 >pages
bytes=$(stat -c %s pages)
arena=$(mktemp -u -p /dev/shm tmem-nbd-XXXXXX 2>/dev/null || echo "$scratch/arena")
trap 'rm -f "$arena"; stop' EXIT

# round ARGUMENT...: what goes in comes out.
round()
{
	must nbdcopy pages "$uri"
	must nbdcopy "$uri" back
	cmp -n "$bytes" pages back || complain "$*: other bytes"
}

# --- an arena
serve size=32M memory=64M arena="$arena"
round arena
kill -9 "$server"
wait "$server" 2>/dev/null
serve size=32M memory=64M arena="$arena" codec=none
must nbdcopy "$uri" back
cmp -n "$bytes" pages back || complain "after kill -9: other bytes"
refused 'arena' size=32M memory=64M arena="$arena"
leave
serve size=32M memory=64M arena="$arena"
must nbdcopy "$uri" back
cmp -n "$bytes" pages back || complain "once more: other bytes"

# --- a backing file, behind memory that is much too small
leave
serve size=32M memory=2M backing=over
round backing
test "$(du -k over | cut -f1)" -gt 4096 || complain "nothing is in the file: $(ls -ls over)"
leave
test ! -e over || complain "half a disk was left behind"
serve size=32M memory=2M backing=over
must nbdcopy pages "$uri"
kill -9 "$server"
wait "$server" 2>/dev/null
refused 'holds part of another disk' size=32M memory=2M backing=over
rm -f over "$arena"

# With the arena it is whole again.
serve size=32M memory=2M arena="$arena" backing=over
must nbdcopy pages "$uri"
kill -9 "$server"
wait "$server" 2>/dev/null
serve size=32M memory=2M arena="$arena" backing=over
must nbdcopy "$uri" back
cmp -n "$bytes" pages back || complain "arena and file: other bytes"
leave

# --- the same twice: only with dedup= does it fit
head -c 8M /dev/urandom >half
cat half half >twice
serve size=32M memory=13M
# One request at a time: nbdkit 1.32 does not survive who hangs up amid several.
nbdcopy --synchronous --connections=1 twice "$uri" >out 2>&1 &&
	complain "16 MiB of noise fit 13"
leave
serve size=32M memory=13M dedup=on
must nbdcopy twice "$uri"
must nbdcopy "$uri" back
cmp -n $((16 << 20)) twice back || complain "dedup: other bytes"
leave
finish
