#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# A client that sends what it must not gets an error and changes nothing; one
# that sends everything at once, of any size and alignment, over several
# connections, finds what it wrote. A disk that is full says so, and forgets
# nothing.
. "${abs_top_srcdir:?}/tests/nbdkit/nbdkit_common.sh"
want_python
seed=${TMEM_SEED:-$RANDOM}
requests=$abs_top_srcdir/tests/nbdkit/nbd_requests.py

serve size=8388096 memory=16M
"$python" "$requests" "$uri" "$seed" || complain "requests: see above"
leave

# More than memory holds: refused with ENOSPC, a line in the log, and what was
# acknowledged is there.
serve size=64M memory=2M
cat >full.py <<'END'
import errno, random, sys, nbd
h = nbd.NBD()
h.connect_uri(sys.argv[1])
chance = random.Random(int(sys.argv[2]))
kept, refused = {}, 0
for block in range(1500):
    data = chance.randbytes(4096)
    try:
        h.pwrite(data, block * 4096)
        kept[block] = data
    except nbd.Error as error:
        assert error.errnum == errno.ENOSPC, error
        refused += 1
assert refused > 500 and len(kept) > 200, (refused, len(kept))
for block, data in kept.items():
    assert h.pread(4096, block * 4096) == data, block
# A refused overwrite must not leave the old data behind as if it had worked.
block = max(kept)
try:
    h.pwrite(b"q" * 100, block * 4096)
except nbd.Error:
    pass
h.trim(6 << 20, 0)
h.pwrite(chance.randbytes(4096), 7 << 20)
END
"$python" full.py "$uri" "$seed" >out 2>&1 || complain "full: $(cat out)"
is_said 'tmem refused a page, and no backing file has room for it'
test "$(wc -l <"$log")" -lt 30 || complain "a client fills the log: $(wc -l <"$log")"
leave
finish
