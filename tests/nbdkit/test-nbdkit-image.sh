#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# image=: a cache in front of an image, which has all that was written.
. "${abs_top_srcdir:?}/tests/nbdkit/nbdkit_common.sh"
want nbdcopy libnbd-bin
real_pages 12 >pages

cp pages image
truncate -s 16M image
serve image=image memory=8M
must nbdcopy "$uri" back
cmp image back || complain "cache: other bytes"
must nbdcopy "$uri" back
cmp image back || complain "cache, again: other bytes"
tac image | head -c 4M >other
must nbdcopy other "$uri"
cmp -n "$(stat -c %s other)" other image || complain "cache: the image has not what was written"
must nbdcopy "$uri" back
cmp image back || complain "cache, written: other bytes"
leave
chmod 400 image
serve image=image memory=8M readonly=on
must nbdcopy "$uri" back
cmp image back || complain "cache, read-only: other bytes"
leave
finish
